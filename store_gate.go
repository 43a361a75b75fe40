// Gates: how much memory what people ask of the store may take at the same time, in octets.
package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrBusy is for what has to wait too long for others. It can be asked again.
var ErrBusy = errors.New("too much is being done at the same time")

const (
	memoryUnknown = 96 << 20 // octets of Go's heap where nobody has said how many there may be

	// Parts of the heap that the gates let through, as divisors. With what is there anyway they leave room for one collection
	// to come late.
	gateWork    = 6  // steps of searches and of what sorts: each is short, and nobody outside is waited for in it
	gateResults = 8  // what SORT and THREAD hold of all their messages until they have answered
	gateViews   = 5  // the lists of messages that sessions hold of mailboxes
	gateFlags   = 24 // flag tables
	gateLists   = 8  // batches of List, which the reader of a message may hold for long

	gatePerson = 2           // one person has at most this part of a gate, as a divisor
	gateWait   = time.Minute // for others, at most
	viewFree   = 16 << 10    // octets that a view may always have: as IMAP holds them, 65,000 messages that came one after the other
	searchWork = 4 << 20     // octets that a step of a search takes which looks into content
	searchRows = 512 << 10   // and of one that does not
	keysWork   = 1 << 20     // of a step of MailKeys
	batchLeast = 64 << 10    // octets of content in a batch of List, however many read
)

// Gate lets through what takes memory, so much at a time, in the order in which it came. A person has at most a part of it: what
// others need does not wait for one who takes all.
type Gate struct {
	mu      sync.Mutex
	size    int64
	free    int64
	held    map[UserID]int64
	waiting []*gateWaiter
}

type gateWaiter struct {
	who  UserID
	n    int64
	open chan struct{}
}

func newGate(size int64) *Gate { return &Gate{size: size, free: size, held: map[UserID]int64{}} }

// Take takes n octets for somebody, 0 for nobody in particular, and waits for them, at most so long. Whoever has them calls
// what it returns, in any case; a second time does nothing. ErrBusy. Something that is too big for the gate gets through alone.
func (g *Gate) Take(who UserID, n int64, wait time.Duration) (func(), error) {
	g.mu.Lock()
	n = min(n, g.most(who))
	w := &gateWaiter{who, n, make(chan struct{})}
	if len(g.waiting) == 0 && g.fits(w) {
		g.let(w)
		g.mu.Unlock()
		return g.release(w), nil
	}
	if wait > 0 {
		g.waiting = append(g.waiting, w)
		g.pass()
	}
	g.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-w.open:
			return g.release(w), nil
		case <-timer.C:
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.open: // just now
		return g.release(w), nil
	default:
	}
	for i, x := range g.waiting {
		if x == w {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			break
		}
	}
	g.pass()
	return nil, fmt.Errorf("%w; try again later", ErrBusy)
}

func (g *Gate) release(w *gateWaiter) func() { return sync.OnceFunc(func() { g.back(w) }) }

// most is what somebody may have.
func (g *Gate) most(who UserID) int64 {
	if who == 0 {
		return g.size
	}
	return g.size / gatePerson
}

func (g *Gate) fits(w *gateWaiter) bool { return w.n <= g.free && g.held[w.who]+w.n <= g.most(w.who) }

func (g *Gate) let(w *gateWaiter) {
	g.free -= w.n
	g.held[w.who] += w.n
	close(w.open)
}

// pass lets those through that fit. One who has a share already is passed by, one for whom there is not enough is waited for.
func (g *Gate) pass() {
	for i := 0; i < len(g.waiting); {
		w := g.waiting[i]
		switch {
		case g.fits(w):
			g.let(w)
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
		case w.n > g.free:
			return
		default:
			i++
		}
	}
}

func (g *Gate) back(w *gateWaiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free += w.n
	g.held[w.who] -= w.n
	if g.held[w.who] == 0 {
		delete(g.held, w.who)
	}
	g.pass()
}

// gates are the store's.
type gates struct {
	work, results, views *Gate
	lists                int64 // octets for all batches of List
	flags                int64 // and for all flag tables

	mu      sync.Mutex
	listing int64 // Lists that are under way
}

func newGates(memory int64) *gates {
	if memory <= 0 {
		memory = memoryUnknown
	}
	return &gates{work: newGate(memory / gateWork), results: newGate(memory / gateResults), views: newGate(memory / gateViews), lists: memory / gateLists, flags: memory / gateFlags}
}

// HoldResult takes memory for what somebody's command holds of that many messages, so many octets of each, until its answer is
// written; it waits for that. ErrBusy; otherwise what it returns must be called.
func (s *Store) HoldResult(who UserID, messages, each int) (func(), error) {
	return s.gates.results.Take(who, int64(messages)*int64(each), gateWait)
}

// holdView takes octets for a session's list of messages. ErrBusy if there are none.
func (s *Store) holdView(who UserID, octets int64) (func(), error) {
	if octets <= viewFree {
		return func() {}, nil
	}
	return s.gates.views.Take(who, octets, 0)
}

// beginList says how much a batch may hold: the more read at the same time, the less. Each has two. end must be called.
func (g *gates) beginList() (batch func() int, end func()) {
	g.count(1)
	return func() int {
			return int(min(max(g.lists/max(2*g.count(0), 1), batchLeast), listBytes))
		}, func() {
			g.count(-1)
		}
}

func (g *gates) count(n int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listing += n
	return g.listing
}
