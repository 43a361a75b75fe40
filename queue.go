// The queue at work: what is due goes to its next hop, and what became of it is stored before anything else goes out.
package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	queueParallel  = 16                    // next hops served at once
	queueFailing   = 8                     // of queueParallel, at most this many whose last try failed, so that dead hosts' timeouts leave room for others
	queueBatch     = 50                    // messages looked up in one go
	queueConns     = 8                     // connections to one host at once
	queueMore      = 50                    // messages that a connection carries before it gets company
	queueLull      = 20 * time.Millisecond // how long the store's next commit may wait for this delivery's outcome (Store.Announce)
	queueRcpts     = 100                   // recipients in one transaction (RFC 5321 §4.5.3.1.8)
	queueUnproven  = 12                    // of queueParallel, at most this many that have not taken mail lately, so that silent hosts leave room for the others
	queueProven    = 24 * time.Hour        // how long a next hop that took mail counts as one that does
	queueHurry     = 15 * time.Second      // how long a host may be silent while others wait for its place
	queueCuts      = 2                     // connections cut one after the other before the destination counts as dead
	queueTakeTries = 20                    // looks whether a next hop is free for a caller
	queueTakePause = 100 * time.Millisecond
	queueErrorText = 1000 // octets of an error that are stored
	queuePauses    = 1000 // next hops whose pause, or success, is remembered
)

// queueRunner hands waiting mail over. One goroutine looks for what is due; each next hop that is served has a goroutine of
// its own, and never two.
//
// Times in the queue are the store's, which never runs backwards; a clock that jumps ahead makes things due early and
// nothing else, because a message is only given back when it is old and has been tried often enough too.
type queueRunner struct {
	s     *Server
	wg    sync.WaitGroup
	freed chan struct{} // capacity one: a next hop has been served

	hurry time.Duration // queueHurry but in tests

	jumped time.Duration // how far the clock had jumped when the queue's times were last moved
	policy string        // [queue] as the deadlines in the file were computed from it; "" not known yet

	mu      sync.Mutex
	looking bool                 // somebody looks at deadlines
	looked  time.Time            // when that began last
	busy    map[string]hopPlace  // keys of the next hops that are served now
	proven  map[string]time.Time // next hops that took mail, and when last, by the monotonic clock
	crowded bool                 // some next hop is due and has no place
	pauses  map[string]hopPause  // next hops that are not to be tried for a while
	ledger  queueLedger          // outcomes that could not be stored
}

// hopPlace is the place that a next hop takes while it is served.
type hopPlace struct {
	failing  bool // it failed at its last try
	unproven bool // it has not taken mail lately
}

// hopPause keeps the runner from a next hop until a time by the monotonic clock.
type hopPause struct {
	until time.Time
	noted bool // the file says so too: only domains that come to share the next hop need to be told
}

func newQueueRunner(s *Server) *queueRunner {
	return &queueRunner{s: s, freed: make(chan struct{}, 1), busy: map[string]hopPlace{}, proven: map[string]time.Time{}, pauses: map[string]hopPause{}, hurry: queueHurry,
		ledger: queueLedger{doubt: true}}
}

// runQueue starts the queue. It ends when the server stops, and Shutdown waits for it.
func (s *Server) runQueue() {
	q := newQueueRunner(s)
	s.mu.Lock()
	s.turn = q.turn
	s.mu.Unlock()
	s.crew.Keep(&s.wg, "queue", s.stop.Done(), q.run)
	s.runReports()
}

// turn hands a caller's mail over on its own connection (RFC 2645). It returns false when the mail is on its way by another
// one, or can't be handed over now.
func (q *queueRunner) turn(nc net.Conn, host string, domains []string) bool {
	hop := q.s.nextHop(domains[0])
	if q.halted() > 0 || !q.take(hop.key) {
		return false
	}
	defer q.unlock(hop.key)
	c, err := q.s.smtpTurned(nc, host)
	if err == nil {
		_, err = newQueueJob(q, hop, domains).carry(c, nil)
		if err == nil {
			c.quit()
			err = q.s.store.Write(func(tx *Tx) error { return tx.DestinationWorked(domains) })
		}
	}
	if err != nil {
		q.s.log.Warn("ATRN", "host", host, "err", err)
	}
	return true
}

func (q *queueRunner) run() {
	defer q.wg.Wait()
	wake, stop := q.s.store.Watch(QueueTopic)
	defer stop()
	for {
		var timer <-chan time.Time
		wait, waits := q.pass()
		if waits {
			timer = time.After(wait)
		}
		select {
		case <-wake:
		case <-q.freed:
		case <-timer:
		case <-q.s.stop.Done():
			return
		}
	}
}

// pass starts what is due and says how long until the next is, if anything waits.
func (q *queueRunner) pass() (wait time.Duration, waits bool) {
	now := q.s.store.Now()
	next, err := q.begin(now)
	if err != nil {
		q.s.crew.Complain("queue", err)
		return q.s.retryAfter(1), true
	}
	turn, err := q.lookAtDeadlines(now)
	if err != nil {
		q.s.crew.Complain("queue deadlines", err)
	}
	if next.IsZero() || (!turn.IsZero() && turn.Before(next)) {
		next = turn
	}
	pause, paused := q.nextPause()
	if next.IsZero() || (paused && pause < next.Sub(now)) {
		return pause, paused
	}
	return next.Sub(now), true
}

// begin starts what is due, unless nothing may go out because what becomes of it can't be stored. It returns when the next
// destination is due.
func (q *queueRunner) begin(now time.Time) (time.Time, error) {
	err := q.followClock()
	if err == nil {
		err = q.followPolicy()
	}
	if err != nil {
		return time.Time{}, err
	}
	var due []Destination
	var next time.Time
	err = q.s.store.Read(func(tx *Tx) error {
		var err error
		due, next, err = tx.DueDestinations(now)
		return err
	})
	if err != nil || len(due) == 0 || q.halted() > 0 {
		return next, err
	}
	groups := map[string][]Destination{}
	var order []nextHop
	for _, d := range due {
		hop := q.s.nextHop(d.Domain)
		if groups[hop.key] == nil {
			order = append(order, hop)
		}
		groups[hop.key] = append(groups[hop.key], d)
	}
	crowded := false
	for _, hop := range order {
		placed := q.start(newHopGroup(hop, groups[hop.key]))
		crowded = crowded || !placed
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.crowded = crowded
	return next, nil
}

// followClock keeps a clock that has jumped ahead from making messages older than they are.
func (q *queueRunner) followClock() error {
	jumped := q.s.store.Jumped()
	by := jumped - q.jumped
	if by == 0 {
		return nil
	}
	messages, err := write(q.s.store, func(tx *Tx) (int64, error) { return tx.QueueClockJumped(by) })
	if err != nil {
		return err
	}
	q.jumped = jumped
	if messages > 0 { // at a first start it has always jumped, and nobody minds
		q.s.log.Info("the clock has jumped, and what waits is no older for it", "by", by, "messages", messages)
	}
	return nil
}

// followPolicy has all deadlines looked at again when [queue] is not what they were computed from.
func (q *queueRunner) followPolicy() error {
	c := q.s.cfg.Queue
	policy := fmt.Sprint(time.Duration(c.Warn), " ", time.Duration(c.GiveUp), " ", time.Duration(c.Retry), " ", time.Duration(c.RetryMax))
	if policy == q.policy {
		return nil
	}
	known, err := read(q.s.store, (*Tx).QueuePolicy)
	if err == nil && known != policy {
		err = q.s.store.Write(func(tx *Tx) error { return tx.SetQueuePolicy(policy) })
	}
	if err == nil {
		q.policy = policy
	}
	return err
}

// wakeUp has run look again.
func (q *queueRunner) wakeUp() {
	select {
	case q.freed <- struct{}{}:
	default:
	}
}

// lock marks a next hop as served; false if it is already.
func (q *queueRunner) lock(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, busy := q.busy[key]
	if !busy {
		q.busy[key] = hopPlace{}
	}
	return !busy
}

func (q *queueRunner) unlock(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, key)
}

// take is lock for turn; it waits a moment for a look at deadlines to end.
func (q *queueRunner) take(key string) bool {
	for range queueTakeTries {
		if q.lock(key) {
			return true
		}
		time.Sleep(queueTakePause)
	}
	return false
}

// isCrowded says whether some next hop is due and has no place.
func (q *queueRunner) isCrowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.crowded
}

// hopGroup is a next hop with its domains that are due.
type hopGroup struct {
	hop     nextHop
	domains []string
	failing bool // one of them failed at its last try
	fresh   bool // none of them was tried or asked for yet
	asked   bool // somebody wants one of them tried, whatever its route says
}

func newHopGroup(hop nextHop, due []Destination) hopGroup {
	g := hopGroup{hop: hop, fresh: true}
	for _, d := range due {
		g.domains = append(g.domains, d.Domain)
		g.failing = g.failing || d.Failures > 0
		g.fresh = g.fresh && d.Failures == 0 && d.Error == "" && !d.Asked
		g.asked = g.asked || d.Asked
	}
	return g
}

// start serves a next hop unless it is served already, is to be left alone, or there is no place; a later pass finds it. It returns
// false if only the place is missing.
func (q *queueRunner) start(g hopGroup) (placed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	pause, paused := q.pauses[g.hop.key]
	wait := time.Until(pause.until)
	_, busy := q.busy[g.hop.key]
	if busy || (paused && !pause.noted && wait > 0) || q.s.stop.Err() != nil {
		return true
	}
	place := hopPlace{g.failing, q.isUnproven(g.hop)}
	if q.full(place) {
		return false
	}
	if !g.fresh || wait <= 0 {
		delete(q.pauses, g.hop.key)
		wait = 0
	}
	q.busy[g.hop.key] = place
	q.s.crew.Go(&q.wg, "next hop", func() {
		defer q.wakeUp()
		defer q.unlock(g.hop.key)
		q.visit(g, wait)
	})
	return true
}

// visit serves a next hop, or puts it off: behind a link that is closed, and for as long as domains that are new here have to wait
// with the others of a next hop that failed.
func (q *queueRunner) visit(g hopGroup, wait time.Duration) {
	now := q.s.store.Now()
	until, closed := g.hop.waits(now)
	switch {
	case closed && (!g.asked || len(g.hop.hosts) == 0):
		q.postpone(g.hop, g.domains, until)
	case wait > 0:
		q.postpone(g.hop, g.domains, now.Add(wait))
	default:
		q.serve(g.hop, g.domains)
	}
}

// isUnproven says whether a next hop has not taken mail lately. The caller holds the lock.
func (q *queueRunner) isUnproven(hop nextHop) bool {
	took, ok := q.proven[hop.key]
	return hop.kind != nextHopLocal && (!ok || time.Since(took) > queueProven)
}

// full says whether there is no place of that kind for another next hop.
func (q *queueRunner) full(p hopPlace) bool {
	failing, unproven := 0, 0
	for _, b := range q.busy {
		if b.failing {
			failing++
		}
		if b.unproven {
			unproven++
		}
	}
	return len(q.busy) >= queueParallel || (p.failing && failing >= queueFailing) || (p.unproven && unproven >= queueUnproven)
}

// took remembers that a next hop takes mail.
func (q *queueRunner) took(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for k, at := range q.proven {
		if len(q.proven) >= queuePauses && time.Since(at) > queueProven/24 {
			delete(q.proven, k)
		}
	}
	if len(q.proven) < queuePauses {
		q.proven[key] = time.Now()
	}
}

// postpone has domains wait without a try: new ones of a dead next hop as long as the others, those behind an intermittent
// link for its window, or until somebody asks. Who asked since the runner looked is not overruled, but for mail that can only be called for.
func (q *queueRunner) postpone(hop nextHop, domains []string, next time.Time) {
	onlyCalled := hop.kind == nextHopRoute && len(hop.hosts) == 0
	err := q.s.store.Write(func(tx *Tx) error { return tx.DestinationWaits(domains, next, onlyCalled) })
	if err != nil {
		q.notNoted(hop.key, 1, err)
	}
}

// errInternal stands for a fault of ours in the reasons that people read.
var errInternal = errors.New("internal error")

// serve tries a next hop once: it goes through its hosts until one takes the mail. A fault of ours is a failed try.
func (q *queueRunner) serve(hop nextHop, domains []string) {
	j := newQueueJob(q, hop, domains)
	err := q.s.crew.Guard("destination", j.run)
	var fault *PanicError
	switch {
	case errors.Is(err, ErrClosed):
		return
	case q.s.stop.Err() != nil:
		return // everything is as it was, and is due when the server starts again
	case errors.As(err, &fault):
		err = errInternal
	case err == nil:
		err = q.s.store.Write(func(tx *Tx) error { return tx.DestinationWorked(domains) })
		if err != nil {
			q.notNoted(hop.key, 1, err)
		}
		return
	}
	q.failed(j, err)
}

// failed notes a failed try and puts the next one off.
func (q *queueRunner) failed(j *queueJob, cause error) {
	text := queueText(cause)
	failures, err := write(q.s.store, func(tx *Tx) (int, error) {
		failures, err := tx.DestinationFailures(j.domains)
		if err != nil {
			return 0, err
		}
		failures++
		next := tx.s.Now().Add(q.s.retryAfter(failures))
		if until, closed := j.hop.waits(next); closed {
			next = until
		}
		return failures, tx.DestinationFailed(j.domains, next, text)
	})
	if err != nil {
		q.notNoted(j.hop.key, failures, err)
		return
	}
	wait := q.s.retryAfter(failures)
	q.s.log.Warn("destination failed", "hop", j.hop.key, "failures", failures, "next", wait, "err", text)
	q.pause(j.hop.key, hopPause{time.Now().Add(wait), true})
}

// pause has the runner leave a next hop alone for a while.
func (q *queueRunner) pause(key string, p hopPause) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for k, old := range q.pauses {
		if len(q.pauses) >= queuePauses && time.Until(old.until) <= 0 {
			delete(q.pauses, k)
		}
	}
	q.pauses[key] = p
}

// nextPause is the time until the first next hop may be tried again whose pause the file knows nothing of, or until the next
// look whether outcomes can be stored; false if nothing is to be waited for.
func (q *queueRunner) nextPause() (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	times := []time.Time{q.ledger.until}
	for _, p := range q.pauses {
		if !p.noted {
			times = append(times, p.until)
		}
	}
	var wait time.Duration
	paused := false
	for _, t := range times {
		left := time.Until(t) // what is over has been seen to by begin
		if left > 0 && (!paused || left < wait) {
			wait, paused = left, true
		}
	}
	return wait, paused
}

// queueText is an error as it is kept in the queue and told to people.
func queueText(err error) string {
	text := smtpPrintable([]byte(reasonText(err)))
	return text[:min(len(text), queueErrorText)]
}
