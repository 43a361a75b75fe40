// Addresses of the hosts that the configuration names, remembered for a while.
package main

import (
	"context"
	"sync"
	"time"
)

const (
	partnerKeep  = 10 * time.Minute // that addresses are remembered
	partnerAgain = time.Minute      // that a name without an answer is not asked for again
	partnerWait  = 2 * time.Second  // for an answer
)

// partnerNames remembers the addresses of names. There are as many as the configuration has.
type partnerNames struct {
	mu   sync.Mutex
	have map[string]partnerEntry
}

type partnerEntry struct {
	addrs []string
	err   error
	until time.Time
}

// addresses are those of a name, asked for at most partnerWait, and now and then.
func (p *partnerNames) addresses(ctx context.Context, r Resolver, name string) ([]string, error) {
	p.mu.Lock()
	e, ok := p.have[name]
	p.mu.Unlock()
	if ok && time.Now().Before(e.until) {
		return e.addrs, e.err
	}
	ctx, cancel := context.WithTimeout(ctx, partnerWait)
	defer cancel()
	e.addrs, e.err = hostAddresses(ctx, r, name)
	e.until = time.Now().Add(partnerKeep)
	if e.err != nil {
		e.until = time.Now().Add(partnerAgain)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have == nil {
		p.have = map[string]partnerEntry{}
	}
	p.have[name] = e
	return e.addrs, e.err
}
