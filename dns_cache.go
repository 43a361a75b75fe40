// Answers about the senders of mail, remembered for a while.
package main

import (
	"container/list"
	"context"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsKeep      = 15 * time.Minute // that an answer is remembered at most, whatever its TTL
	dnsKeepNone  = time.Minute      // that it is remembered that there is nothing
	dnsKept      = 2000             // answers
	dnsKeptSize  = 1 << 20          // octets of all of them
	dnsKeptOne   = 16 << 10         // octets of one that is remembered at all
	dnsKeptOwner = 8                // part of all that one who brings mail may fill: an eighth
	dnsAhead     = 8                // questions that are asked before somebody waits for them
)

// dnsCache remembers what the DNS says about domains that strangers name. Each answer belongs to the network whose mail made us ask: who
// has filled their part gets no more in until theirs run out. What is remembered says nothing of DNSSEC, and what the DNS did not answer
// is not remembered.
type dnsCache struct {
	crew *Crew

	mu     sync.Mutex
	have   map[dnsKey]*list.Element
	order  list.List // of *dnsEntry, the oldest first
	size   int
	owners map[string]int           // octets by owner
	asking map[dnsKey]chan struct{} // closed when the answer is there
}

type dnsKey struct {
	name string
	kind dnsmessage.Type
}

type dnsEntry struct {
	key    dnsKey
	owner  string
	answer DNSAnswer
	err    error // not found, or nil
	until  time.Time
	size   int
}

func newDNSCache(crew *Crew) *dnsCache {
	return &dnsCache{crew: crew, have: map[dnsKey]*list.Element{}, owners: map[string]int{}, asking: map[dnsKey]chan struct{}{}}
}

// dnsRemembering is a resolver whose answers are remembered for an owner.
type dnsRemembering struct {
	Resolver
	cache *dnsCache
	owner string
}

// Ask answers from memory, waits for the same question that is on its way, or asks.
func (r dnsRemembering) Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	key := dnsKey{strings.ToLower(strings.TrimSuffix(name, ".")), kind}
	done, e := r.cache.enter(key)
	if done != nil && e == nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
		done, e = r.cache.enter(key)
	}
	if e != nil {
		return e.answer, e.err
	}
	mine := done == nil
	if mine {
		defer r.cache.leave(key)
	}
	a, err := r.Resolver.Ask(ctx, name, kind)
	if err == nil || dnsNotFound(err) {
		a.Secure = false
		r.cache.put(key, r.owner, a, err)
	}
	return a, err
}

// ahead asks for names without waiting, so that the answers are on their way when somebody wants them.
func (r dnsRemembering) ahead(ctx context.Context, kind dnsmessage.Type, names []string) {
	for i, name := range names {
		if i >= dnsAhead {
			return
		}
		r.cache.crew.Go(nil, "a question to the DNS", func() { r.Ask(ctx, name, kind) })
	}
}

// enter is what is remembered for a key, or the channel of the question that is on its way; neither says that the caller asks, and leaves.
func (c *dnsCache) enter(key dnsKey) (chan struct{}, *dnsEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.have[key]; el != nil {
		e := el.Value.(*dnsEntry)
		if time.Now().Before(e.until) {
			return nil, e
		}
		c.drop(el)
	}
	if done := c.asking[key]; done != nil {
		return done, nil
	}
	c.asking[key] = make(chan struct{})
	return nil, nil
}

func (c *dnsCache) leave(key dnsKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.asking[key])
	delete(c.asking, key)
}

// put remembers an answer, if it is worth it and its owner has room.
func (c *dnsCache) put(key dnsKey, owner string, a DNSAnswer, err error) {
	keep := min(a.TTL, dnsKeep)
	if err != nil || len(a.Records) == 0 {
		keep = dnsKeepNone
	}
	e := &dnsEntry{key: key, owner: owner, answer: a, err: err, until: time.Now().Add(keep), size: a.size() + 2*len(key.name) + len(owner) + 200}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.have[key]; el != nil {
		c.drop(el)
	}
	now := time.Now()
	for el := c.order.Front(); el != nil && now.After(el.Value.(*dnsEntry).until); el = c.order.Front() {
		c.drop(el)
	}
	if keep <= 0 || e.size > dnsKeptOne || c.owners[owner]+e.size > dnsKeptSize/dnsKeptOwner {
		return
	}
	for len(c.have) >= dnsKept || c.size+e.size > dnsKeptSize {
		c.drop(c.order.Front())
	}
	c.have[key] = c.order.PushBack(e)
	c.size += e.size
	c.owners[owner] += e.size
}

func (c *dnsCache) drop(el *list.Element) {
	e := c.order.Remove(el).(*dnsEntry)
	delete(c.have, e.key)
	c.size -= e.size
	c.owners[e.owner] -= e.size
	if c.owners[e.owner] == 0 {
		delete(c.owners, e.owner)
	}
}

// size is about how much memory an answer takes.
func (a DNSAnswer) size() int {
	n := 0
	for _, r := range a.Records {
		n += 400 // names have room for 255 octets, whatever they are
		if t, ok := r.Body.(*dnsmessage.TXTResource); ok {
			for _, s := range t.TXT {
				n += len(s) + 16
			}
		}
	}
	return n
}
