// Whether a resolver answers at all: where none does, nothing waits for one.
package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	healthTry   = time.Second      // for a resolver to say something about the root, which it knows or learns in one step
	healthFresh = time.Minute      // that a resolver which answered is believed to answer still
	healthDead  = 30 * time.Second // before one that did not is tried again; doubled each time
	healthMost  = 15 * time.Minute // at most
)

// dnsHealth remembers whether the resolver answers. One try at a time is made, and only when somebody wants to know: who wants to know
// about a resolver that was silent does not wait for the next try.
type dnsHealth struct {
	crew *Crew

	mu      sync.Mutex
	good    time.Time     // when it answered last; zero never
	until   time.Time     // while it is taken for dead
	pause   time.Duration // after the next failure
	running chan struct{} // closed when the try that is on its way has ended; nil for none
}

// answers says whether the resolver answers. It waits at most healthTry, and not at all for one that was found dead.
func (h *dnsHealth) answers(ctx context.Context, r Resolver) bool {
	h.mu.Lock()
	now := time.Now()
	if !h.good.IsZero() && now.Sub(h.good) < healthFresh {
		h.mu.Unlock()
		return true
	}
	dead := !h.until.IsZero()
	if h.running == nil && now.After(h.until) {
		h.running = make(chan struct{})
		done := h.running
		h.crew.Go(nil, "resolver", func() { h.try(r, done) })
	}
	done := h.running
	h.mu.Unlock()
	if done == nil || dead {
		return false
	}
	select {
	case <-done:
	case <-ctx.Done():
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until.IsZero()
}

// try asks about the root. Whatever it hears of it, the resolver is alive.
func (h *dnsHealth) try(r Resolver, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTry)
	defer cancel()
	err := errors.New("the try has ended early") // a panic of ours, too
	defer func() { h.tried(err, done) }()
	_, err = r.Ask(ctx, ".", dnsmessage.TypeNS)
}

// tried notes how a try ended.
func (h *dnsHealth) tried(err error, done chan struct{}) {
	defer close(done)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = nil
	if err == nil || dnsNotFound(err) {
		h.good, h.until, h.pause = time.Now(), time.Time{}, 0
		return
	}
	h.pause = min(max(2*h.pause, healthDead), healthMost)
	h.good, h.until = time.Time{}, time.Now().Add(h.pause)
}

// doubt has the next one who asks find out again: a budget has run out without an answer.
func (h *dnsHealth) doubt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.good = time.Time{}
}
