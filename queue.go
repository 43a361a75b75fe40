// The queue at work: what is due goes to its host, and the outcome is stored; retry, expiry, when to report.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	queueParallel   = 16                    // destinations served at once
	queueStruggling = 8                     // of them, such as failed at their last try: the others must not wait for their timeouts
	queueBatch      = 50                    // messages looked up in one go
	queueConns      = 8                     // connections to one host at once
	queueMore       = 50                    // messages that a connection carries before it gets company
	queueLull       = 20 * time.Millisecond // how long other commits are patient with a peer that takes a message
	queueRcpts      = 100                   // recipients in one transaction (RFC 5321 §4.5.3.1.8)
	queueAgePause   = 10 * time.Second      // between looks at what has come of age
	queueCuts       = 2                     // connections cut one after the other before the destination counts as dead
	queueTakeTries  = 20                    // looks whether a way is free for a caller
	queueTakePause  = 100 * time.Millisecond
	queueTries      = 20        // failed tries that every recipient gets before a message is given back, whatever its age
	queueReportSize = 100 << 10 // octets of a message that is given back whole when the sender did not say (RET)
	queueErrorText  = 1000      // octets of an error that are stored
)

// queueRunner hands waiting mail over. One goroutine looks for what is due; each destination that is served has
// a goroutine of its own, and never two.
//
// Times in the queue are the store's, which never runs backwards; a clock that jumps ahead makes things due early and
// nothing else, because a message is only given back when it is old and has been tried often enough too.
type queueRunner struct {
	s     *Server
	wg    sync.WaitGroup
	freed chan struct{} // capacity one: a destination has been served

	jumped time.Duration // how far the clock had, when the queue's times were last moved

	mu     sync.Mutex
	aging  bool                 // somebody looks at ages
	aged   time.Time            // what came of age until then has been seen to
	looked time.Time            // when somebody last looked
	busy   map[string]bool      // keys of the ways that are served now, and whether they were struggling
	dead   map[string]time.Time // ways that failed, until when (monotonic): domains that come to share one wait with the others
}

func newQueueRunner(s *Server) *queueRunner {
	return &queueRunner{s: s, aged: time.Unix(0, 0), freed: make(chan struct{}, 1), busy: map[string]bool{}, dead: map[string]time.Time{}}
}

// runQueue starts the queue. It ends when the server stops, and Shutdown waits for it.
func (s *Server) runQueue() {
	q := newQueueRunner(s)
	s.mu.Lock()
	s.turn = q.turn
	s.mu.Unlock()
	s.crew.Keep(&s.wg, "queue", s.stop.Done(), q.run)
}

// turn hands a caller's mail over on its own connection (RFC 2645). false when it is on its way by another one.
func (q *queueRunner) turn(nc net.Conn, host string, domains []string) bool {
	w := q.s.nextHop(domains[0])
	if !q.take(w) {
		return false
	}
	defer func() {
		q.mu.Lock()
		delete(q.busy, w.key)
		q.mu.Unlock()
	}()
	c, err := q.s.smtpTurned(nc, host)
	if err == nil {
		_, err = newQueueJob(q.s, w, domains).carry(c, nil)
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
		if wait, any := q.pass(); any {
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
func (q *queueRunner) pass() (wait time.Duration, any bool) {
	var due []Destination
	var next time.Time
	err := q.followClock()
	now := q.s.store.Now()
	if err == nil {
		err = q.s.store.Read(func(tx *Tx) (err error) { due, next, err = tx.DueDestinations(now); return err })
	}
	if err != nil {
		q.s.log.Error("queue", "err", err)
		return q.s.retryAfter(1), true
	}
	groups, order := map[string][]Destination{}, []nextHop(nil)
	for _, d := range due {
		w := q.s.nextHop(d.Domain)
		if groups[w.key] == nil {
			order = append(order, w)
		}
		groups[w.key] = append(groups[w.key], d)
	}
	for _, w := range order {
		q.start(w, groups[w.key])
	}
	turn, err := q.age(now)
	if err != nil {
		q.s.log.Error("queue", "err", err)
	}
	if next.IsZero() || (!turn.IsZero() && turn.Before(next)) {
		next = turn
	}
	if next.IsZero() {
		return 0, false
	}
	return next.Sub(now), true
}

// followClock keeps a clock that has jumped ahead from making messages older than they are.
func (q *queueRunner) followClock() error {
	jumped := q.s.store.Jumped()
	by := jumped - q.jumped
	if by == 0 {
		return nil
	}
	var messages int64
	err := q.s.store.Write(func(tx *Tx) (err error) { messages, err = tx.QueueJumped(by); return err })
	if err != nil {
		return err
	}
	q.jumped = jumped
	if messages > 0 { // at a first start it has always jumped, and nobody minds
		q.s.log.Info("the clock has jumped, and what waits is no older for it", "by", by, "messages", messages)
	}
	return nil
}

// queueAge is a moment of a message and how long after it something has to be done.
type queueAge struct {
	moment QueueMoment
	age    time.Duration
	do     func(*queueJob, *QueueItem) error
}

// ages are what a warning, the end and the sender's own time count from.
func (q *queueRunner) ages() []queueAge {
	give, warn := time.Duration(q.s.cfg.Queue.GiveUp), time.Duration(q.s.cfg.Queue.Warn)
	return []queueAge{{QueueOwn, 0, (*queueJob).late},
		{QueueSince, give, func(j *queueJob, m *QueueItem) error { return j.giveBack(m, give) }},
		{QueueSince, warn, func(j *queueJob, m *QueueItem) error { return j.warn(m, warn) }}}
}

// age sees to messages that have come of age since it last looked: what has to be done then does not wait for the next
// try. It says when to look again; zero is when something changes.
func (q *queueRunner) age(now time.Time) (next time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if again := q.looked.Add(queueAgePause); q.aging || now.Before(again) {
		return again, nil
	}
	err = q.s.store.Read(func(tx *Tx) error {
		next = time.Time{}
		for _, a := range q.ages() {
			at, err := tx.QueueTurns(a.moment, q.aged.Add(-a.age))
			if err != nil {
				return err
			}
			if first := at.Add(a.age); !at.IsZero() && (next.IsZero() || first.Before(next)) {
				next = first
			}
		}
		return nil
	})
	if err != nil || next.IsZero() || next.After(now) {
		return next, err
	}
	q.aging, q.looked = true, now
	from := q.aged
	q.s.crew.Go(&q.wg, "queue deadlines", func() {
		all, err := q.comeOfAge(from, now)
		if err != nil {
			q.s.log.Error("queue", "err", err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.aging = false
		if all && err == nil {
			q.aged = now
		}
		q.wakeUp()
	})
	return now.Add(queueAgePause), nil
}

// comeOfAge does what is due for messages whose moment came after from. false: some are on their way just now.
func (q *queueRunner) comeOfAge(from, now time.Time) (all bool, err error) {
	all = true
	for _, a := range q.ages() {
		for after := int64(0); q.s.stop.Err() == nil; {
			var items []QueueItem
			err := q.s.store.Read(func(tx *Tx) (err error) {
				items, err = tx.QueueTurned(a.moment, from.Add(-a.age), now.Add(-a.age), after)
				return err
			})
			if err != nil || len(items) == 0 {
				if err != nil {
					return false, err
				}
				break
			}
			for i := range items {
				ok, err := q.oneOfAge(&items[i], a.do)
				if err != nil {
					return false, err
				}
				all, after = all && ok, items[i].ID
			}
		}
	}
	return all, nil
}

// oneOfAge does it for one message, for the recipients of one way after the other.
func (q *queueRunner) oneOfAge(m *QueueItem, do func(*queueJob, *QueueItem) error) (all bool, err error) {
	parts, order := map[string]*QueueItem{}, []nextHop(nil)
	for _, r := range m.Rcpts {
		w := q.s.nextHop(r.Addr.Domain)
		if parts[w.key] == nil {
			part := *m
			part.Rcpts = nil
			parts[w.key], order = &part, append(order, w)
		}
		parts[w.key].Rcpts = append(parts[w.key].Rcpts, r)
	}
	all = true
	for _, w := range order {
		q.mu.Lock()
		_, busy := q.busy[w.key]
		if !busy {
			q.busy[w.key] = false
		}
		q.mu.Unlock()
		if busy {
			all = false
			continue
		}
		err := do(newQueueJob(q.s, w, nil), parts[w.key])
		q.mu.Lock()
		delete(q.busy, w.key)
		q.mu.Unlock()
		if err != nil {
			return false, err
		}
	}
	return all, nil
}

// wakeUp has run look again.
func (q *queueRunner) wakeUp() {
	select {
	case q.freed <- struct{}{}:
	default:
	}
}

// start serves a way unless it is served already, or all places are taken; then a later pass will find it.
func (q *queueRunner) start(w nextHop, group []Destination) {
	var domains []string
	struggling, fresh, asked := false, true, false
	for _, d := range group {
		domains = append(domains, d.Domain)
		struggling = struggling || d.Failures > 0
		fresh = fresh && d.Failures == 0 && d.Error == "" && !d.Asked
		asked = asked || d.Asked
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.busy[w.key]; ok || q.full(struggling) || q.s.stop.Err() != nil {
		return
	}
	dead, ok := q.dead[w.key]
	if ok && !fresh {
		delete(q.dead, w.key)
	}
	q.busy[w.key] = struggling
	q.s.crew.Go(&q.wg, "destination", func() {
		until, closed := w.waits(q.s.store.Now())
		switch wait := time.Until(dead); {
		case closed && (!asked || len(w.hosts) == 0):
			q.postpone(domains, until)
		case ok && fresh && wait > 0:
			q.postpone(domains, q.s.store.Now().Add(wait))
		default:
			q.serve(w, domains)
		}
		q.mu.Lock()
		delete(q.busy, w.key)
		q.mu.Unlock()
		q.wakeUp()
	})
}

// full says whether there is no place for another destination.
func (q *queueRunner) full(struggling bool) bool {
	n := 0
	for _, b := range q.busy {
		if b {
			n++
		}
	}
	return len(q.busy) >= queueParallel || (struggling && n >= queueStruggling)
}

// retryAfter is the time before the next try after so many that failed: [queue] retry, growing by half up to retry_max.
func (s *Server) retryAfter(failures int) time.Duration {
	d, most := time.Duration(s.cfg.Queue.Retry), time.Duration(s.cfg.Queue.RetryMax)
	for ; failures > 1 && d < most; failures-- {
		d += d / 2
	}
	return min(d, most)
}

// triesIn is how often a recipient must have been tried before an age counts: half as often as the schedule tries in
// that time, and queueTries at most. An age alone proves nothing where the clock may have jumped (DESIGN §9).
func (s *Server) triesIn(age time.Duration) int {
	n, t := 0, time.Duration(0)
	for t < age && n < 2*queueTries {
		n++
		t += s.retryAfter(n)
	}
	return max(1, n/2)
}

// triesIn is the server's, but an intermittent link is tried so seldom that its tries count for themselves: mail for it
// waits, without a word to its sender, until it has failed queueTries times.
func (j *queueJob) triesIn(age time.Duration) int {
	if j.way.route.Intermittent {
		return queueTries
	}
	return j.s.triesIn(age)
}

// take marks a way as served, for turn; it waits a moment for a pass that only looks at it.
func (q *queueRunner) take(w nextHop) bool {
	for range queueTakeTries {
		q.mu.Lock()
		_, busy := q.busy[w.key]
		if !busy {
			q.busy[w.key] = false
		}
		q.mu.Unlock()
		if !busy {
			return true
		}
		time.Sleep(queueTakePause)
	}
	return false
}

// postpone has domains wait without a try: new ones of a dead way as long as the others, those behind an intermittent
// link for its window, or until somebody asks.
func (q *queueRunner) postpone(domains []string, next time.Time) {
	err := q.s.store.Write(func(tx *Tx) error { return tx.DestinationWaits(domains, next) })
	if err != nil {
		q.s.log.Error("queue", "err", err)
	}
}

// serve tries a way once: it goes through its hosts until one takes the mail.
func (q *queueRunner) serve(w nextHop, domains []string) {
	s := q.s
	j := newQueueJob(s, w, domains)
	var err error
	if w.kind == nextHopLocal {
		err = j.each(j.local)
	} else {
		err = j.remote()
	}
	switch {
	case errors.Is(err, ErrClosed):
		return
	case s.stop.Err() != nil:
		return // everything is as it was, and is due when the server starts again
	case err == nil:
		if err = s.store.Write(func(tx *Tx) error { return tx.DestinationWorked(domains) }); err != nil {
			s.log.Error("queue", "err", err)
		}
		return
	}
	q.failed(j, err)
}

// failed puts a way off, and looks whether somebody has to be told.
func (q *queueRunner) failed(j *queueJob, cause error) {
	s, text := q.s, queueText(cause)
	var failures int
	err := s.store.Write(func(tx *Tx) error {
		all, err := tx.Destinations()
		if err != nil {
			return err
		}
		failures = 0
		for _, d := range all {
			for _, mine := range j.domains {
				if d.Domain == mine {
					failures = max(failures, d.Failures)
				}
			}
		}
		next := tx.s.Now().Add(s.retryAfter(failures + 1))
		if until, closed := j.way.waits(next); closed {
			next = until
		}
		return tx.DestinationFailed(j.domains, next, text)
	})
	wait := s.retryAfter(failures + 1)
	s.log.Warn("destination failed", "way", j.way.key, "failures", failures+1, "next", wait, "err", text)
	q.mu.Lock()
	q.dead[j.way.key] = time.Now().Add(wait)
	q.mu.Unlock()
	if err == nil {
		err = j.expire()
	}
	if err != nil {
		s.log.Error("queue", "err", err)
	}
}

func queueText(err error) string {
	text := smtpPrintable([]byte(err.Error()))
	return text[:min(len(text), queueErrorText)]
}

// outcome is what became of one recipient in one try.
type outcome struct {
	rcpt   QueueRcpt
	action ReportAction // ActionRelayed (done), ActionDelayed (try again) or ActionFailed
	status string       // enhanced code
	remote string       // the host that said so
	said   string
	soon   bool // try again at once
	dsn    bool // the host sends reports itself when the sender wants them
}

func queueFailAll(q *QueueItem, status, said string) (out []outcome) {
	for _, r := range q.Rcpts {
		out = append(out, outcome{rcpt: r, action: ActionFailed, status: status, said: said})
	}
	return out
}

// queueStatus is the enhanced status code for an error of ours (RFC 3463).
func queueStatus(err error) string {
	for _, e := range []struct {
		err  error
		code string
	}{{errNoDomain, "5.1.2"}, {errNullMX, "5.1.10"}, {errMXSelf, "5.4.6"}, {errForeign, "5.4.4"}, {errNoUser, "5.1.1"},
		{errDisabled, "5.2.1"}, {errAliasLoop, "5.4.6"}, {errAliasMany, "5.2.4"}, {ErrQuota, "4.2.2"}, {smtpErrTLS, "4.7.5"}, {errLate, "5.4.7"}} {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return "4.4.1"
}

// local delivers what waits for people here: their mailbox was full, or their domain was somebody else's when it came.
func (j *queueJob) local(q *QueueItem) error {
	var out []outcome
	for _, r := range q.Rcpts {
		err := j.s.deliverQueued(q, r)
		if err == nil {
			continue
		}
		o := outcome{rcpt: r, action: ActionDelayed, status: queueStatus(err), said: err.Error()}
		if strings.HasPrefix(o.status, "5") {
			o.action = ActionFailed
		}
		out = append(out, o)
	}
	return j.settle(q, out)
}

// deliverQueued gives a message of the queue to somebody who lives here, and takes them off the queue, in one commit.
func (s *Server) deliverQueued(q *QueueItem, r QueueRcpt) error {
	m := &Mail{SMTPEnvelope: q.SMTPEnvelope, EachAlone: true, ID: q.Name, To: []Rcpt{{Recipient: r.Recipient}}}
	var err error
	m.To[0].resolved, err = s.resolve(r.Addr)
	if err != nil {
		return err
	}
	report, err := s.report(q, ActionDelivered, []outcome{{rcpt: r, status: "2.1.5"}})
	if err != nil {
		return err
	}
	if report != nil {
		defer report.Body.Close()
	}
	return s.store.Write(func(tx *Tx) error {
		p := placement{m: m, b: q.Blob, full: map[UserID]error{}}
		if err := p.deliver(tx, &m.To[0]); err != nil {
			return err
		}
		if p.quota != nil {
			return p.quota
		}
		if err := s.enqueue(tx, &p); err != nil {
			return err
		}
		if err := tx.SentOutcome(q.Name, r.Addr.String(), SentDelivered, ""); err != nil {
			return err
		}
		if report != nil {
			if _, err := s.place(tx, report); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
		return tx.QueueDone(q.ID, r)
	})
}

// settle stores the outcomes of one try of one message, together with the reports that they call for.
func (j *queueJob) settle(q *QueueItem, out []outcome) error {
	if len(out) == 0 {
		return nil
	}
	s := j.s
	now := s.store.Now()
	byAction := map[ReportAction][]outcome{}
	for i := range out {
		o := &out[i]
		if o.soon {
			continue
		}
		old := now.Sub(q.Since)
		if o.action == ActionDelayed {
			o.rcpt.Error = queueText(errors.New(o.said))
			o.rcpt.Next = now.Add(s.retryAfter(o.rcpt.Tries + 1))
			switch give, warn := time.Duration(s.cfg.Queue.GiveUp), time.Duration(s.cfg.Queue.Warn); {
			case q.late(now) && q.ByMode == "R":
				o.action, o.status = ActionFailed, "5.4.7"
			case q.late(now) && !o.rcpt.Warned:
				o.rcpt.Warned = true
				byAction[ActionDelayed] = append(byAction[ActionDelayed], *o)
			case old >= give && o.rcpt.Tries+1 >= j.triesIn(give):
				o.action = ActionFailed
				o.status = queueGaveUp(o.status)
			case old >= warn && !o.rcpt.Warned && !j.way.route.Intermittent && o.rcpt.Tries+1 >= j.triesIn(warn):
				o.rcpt.Warned = true
				byAction[ActionDelayed] = append(byAction[ActionDelayed], *o)
			}
		}
		if o.action != ActionDelayed {
			byAction[o.action] = append(byAction[o.action], *o)
		}
	}
	var reports []*Mail
	for _, a := range []ReportAction{ActionFailed, ActionDelayed, ActionRelayed} {
		if len(byAction[a]) > 0 {
			m, err := s.report(q, a, byAction[a])
			if err != nil {
				return err
			}
			if m != nil {
				defer m.Body.Close()
				reports = append(reports, m)
			}
		}
	}
	return s.store.Write(func(tx *Tx) error {
		for _, o := range out {
			if err := settleOne(tx, q, o); err != nil {
				return err
			}
			if j.domains == nil { // no try is under way that would do it
				if err := tx.tidyDestinations([]string{o.rcpt.Addr.Domain}); err != nil {
					return err
				}
			}
		}
		for _, m := range reports {
			if _, err := s.place(tx, m); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
		return nil
	})
}

func settleOne(tx *Tx, q *QueueItem, o outcome) error {
	switch {
	case o.soon:
		return nil
	case o.action != ActionDelayed:
		state := SentDelivered
		if o.action == ActionFailed {
			state = SentFailed
		}
		if err := tx.SentOutcome(q.Name, o.rcpt.Addr.String(), state, o.said); err != nil {
			return err
		}
		return tx.QueueDone(q.ID, o.rcpt)
	}
	if o.rcpt.Warned {
		if err := tx.QueueWarned(o.rcpt); err != nil {
			return err
		}
	}
	return tx.QueueDefer(o.rcpt)
}

// queueGaveUp turns the status of a passing failure into the one of a message that has waited long enough: the class
// changes, the reason stays (RFC 3463 §2).
func queueGaveUp(status string) string {
	if rest, ok := strings.CutPrefix(status, "4."); ok {
		return "5." + rest
	}
	return "5.4.7"
}

// expire gives back what has waited too long for a way that has just failed, and warns of what has waited long: what
// came of age before it had been tried often enough.
func (j *queueJob) expire() error {
	give, warn, now := time.Duration(j.s.cfg.Queue.GiveUp), time.Duration(j.s.cfg.Queue.Warn), j.s.store.Now()
	err := j.old(QueuePick{Moment: QueueOwn, Before: now}, j.late)
	if err == nil {
		err = j.old(QueuePick{QueueSince, now.Add(-give), j.triesIn(give), false}, func(q *QueueItem) error { return j.giveBack(q, give) })
	}
	if err == nil && !j.way.route.Intermittent {
		err = j.old(QueuePick{QueueSince, now.Add(-warn), j.triesIn(warn), true}, func(q *QueueItem) error { return j.warn(q, warn) })
	}
	return err
}

// old calls fn for messages that wait for the way.
func (j *queueJob) old(p QueuePick, fn func(*QueueItem) error) error {
	for after := int64(0); ; {
		var items []QueueItem
		err := j.s.store.Read(func(tx *Tx) (err error) { items, err = tx.QueueOld(j.domains, p, after); return err })
		if err != nil || len(items) == 0 {
			return err
		}
		for i := range items {
			if err := fn(&items[i]); err != nil {
				return err
			}
			after = items[i].ID
		}
	}
}

// giveBack gives a message back to its sender for those recipients who have been tried often enough for that age.
func (j *queueJob) giveBack(q *QueueItem, age time.Duration) error {
	var out []outcome
	for _, r := range q.Rcpts {
		if r.Tries >= j.triesIn(age) {
			out = append(out, outcome{rcpt: r, action: ActionFailed, status: "5.4.1", said: r.Error})
		}
	}
	return j.settle(q, out)
}

// late sees to a message whose own time has passed, tried or not (RFC 2852): it is given back, or its sender told.
func (j *queueJob) late(q *QueueItem) error {
	if q.ByMode == "R" {
		return j.settle(q, queueFailAll(q, "5.4.7", errLate.Error()))
	}
	return j.tell(q, q.Rcpts)
}

// warn tells the sender that a message is late. Mail for an intermittent link is not: it waits.
func (j *queueJob) warn(q *QueueItem, age time.Duration) error {
	var rcpts []QueueRcpt
	for _, r := range q.Rcpts {
		if r.Tries >= j.triesIn(age) && !j.way.route.Intermittent {
			rcpts = append(rcpts, r)
		}
	}
	return j.tell(q, rcpts)
}

// tell reports a delay to the sender, once.
func (j *queueJob) tell(q *QueueItem, rcpts []QueueRcpt) error {
	var out []outcome
	for _, r := range rcpts {
		if !r.Warned {
			out = append(out, outcome{rcpt: r, action: ActionDelayed, status: "4.4.1", said: cmp.Or(r.Error, "it has not been its turn yet")})
		}
	}
	if len(out) == 0 {
		return nil
	}
	m, err := j.s.report(q, ActionDelayed, out)
	if err != nil {
		return err
	}
	if m != nil {
		defer m.Body.Close()
	}
	return j.s.store.Write(func(tx *Tx) error {
		for _, o := range out {
			if err := tx.QueueWarned(o.rcpt); err != nil {
				return err
			}
		}
		if m == nil {
			return nil
		}
		_, err := j.s.place(tx, m)
		return err
	})
}

// report writes the delivery report that the sender of a message in the queue gets; nil when nobody wants it.
func (s *Server) report(q *QueueItem, action ReportAction, out []outcome) (*Mail, error) {
	r := &Report{Action: action, To: q.From, Arrived: q.Created, EnvID: envID(q.EnvID), UTF8: q.Flags&MailUTF8 != 0, Eight: q.Flags&Mail8Bit != 0}
	for _, o := range out {
		if action == ActionFailed || action == ActionDelayed {
			s.log.Info("undelivered", "msg", q.Name, "from", q.From, "rcpt", o.rcpt.Addr, "action", string(action), "err", o.said)
		}
		if !wantsReport(o.rcpt.Notify, action) || (action == ActionRelayed && o.dsn) {
			continue
		}
		rc := ReportRcpt{Final: o.rcpt.Addr, Original: originalRecipient(o.rcpt.ORcpt), Status: o.status, Remote: o.remote, Said: o.said, Last: s.store.Now()}
		if action == ActionDelayed {
			rc.Until = q.Since.Add(time.Duration(s.cfg.Queue.GiveUp))
		}
		r.Rcpts = append(r.Rcpts, rc)
	}
	if len(r.Rcpts) == 0 || q.From.IsZero() {
		return nil, nil
	}
	content, err := s.store.Content(q.Blob.ID)
	if err != nil {
		return nil, err
	}
	skip := returnPathLen(content.Head)
	r.Message = io.NewSectionReader(content, skip, content.Size-skip)
	r.Header = content.Head[skip:]
	r.Whole = action == ActionFailed && (q.Ret == "FULL" || (q.Ret == "" && content.Size <= queueReportSize))
	return s.makeReport(r, q.Name)
}
