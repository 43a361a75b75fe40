// Deadlines: when something has to be done about a queued message that is not a try, and what.
package main

import (
	"time"
)

const (
	queueTries     = 20               // failed tries that every recipient gets before a message is given back, whatever its age
	queueLookPause = 10 * time.Second // between looks at deadlines that have passed
)

// queueVerdict is what is to be done about one recipient of a queued message.
type queueVerdict int

const (
	verdictKeep queueVerdict = iota // nothing: it waits for its next try
	verdictWarn                     // the sender is told, once, that it is late
	verdictFail                     // it is given back
)

// queuePolicy says when a sender is told of a delay and when the message is given back. An age counts only after so many
// failed tries: it alone proves nothing, since a board without a clock may jump by years.
type queuePolicy struct {
	warn, giveUp           time.Duration
	warnTries, giveUpTries int
	patient                bool // the link is there only sometimes: nobody is warned
}

// queuePolicy is the policy for mail to a domain. An intermittent route is tried too seldom for the schedule to measure
// anything: what waits for it has failed queueTries times before it is given back.
func (s *Server) queuePolicy(domain string) queuePolicy {
	p := queuePolicy{warn: time.Duration(s.cfg.Queue.Warn), giveUp: time.Duration(s.cfg.Queue.GiveUp)}
	p.warnTries, p.giveUpTries = s.minTries(p.warn), s.minTries(p.giveUp)
	if s.nextHop(domain).route.Intermittent {
		p.patient, p.giveUpTries = true, queueTries
	}
	return p
}

// retryAfter is the time before the next try after so many that failed: [queue] retry, growing by half up to retry_max.
func (s *Server) retryAfter(failures int) time.Duration {
	d, most := time.Duration(s.cfg.Queue.Retry), time.Duration(s.cfg.Queue.RetryMax)
	for ; failures > 1 && d < most; failures-- {
		d += d / 2
	}
	return min(d, most)
}

// minTries is how many failed tries a message needs before its age counts: half of what the schedule fits into that age, at
// most queueTries.
func (s *Server) minTries(age time.Duration) int {
	n := 0
	for t := time.Duration(0); t < age && n < 2*queueTries; {
		n++
		t += s.retryAfter(n)
	}
	return max(1, n/2)
}

// verdict says what is to be done about a recipient now. It depends on nothing but its arguments.
func (p queuePolicy) verdict(q *QueueItem, r *QueueRcpt, now time.Time) queueVerdict {
	age := now.Sub(q.Since)
	switch {
	case r.Hold:
		return verdictKeep
	case q.overdue(now) && q.ByMode == "R":
		return verdictFail
	case q.overdue(now) && !r.Warned:
		return verdictWarn
	case age >= p.giveUp && r.Tries >= p.giveUpTries:
		return verdictFail
	case age >= p.warn && r.Tries >= p.warnTries && !r.Warned && !p.patient:
		return verdictWarn
	}
	return verdictKeep
}

// deadline is the next time at which the verdict on a recipient may be another one though nothing happens to it; zero is
// never. An age that has been reached before there were tries enough counts again after the next try.
func (p queuePolicy) deadline(q *QueueItem, r *QueueRcpt, now time.Time) time.Time {
	if r.Hold {
		return time.Time{}
	}
	times := []time.Time{q.Since.Add(p.giveUp)}
	if !r.Warned && !p.patient {
		times = append(times, q.Since.Add(p.warn))
	}
	if !q.Due.IsZero() && (!r.Warned || q.ByMode == "R") {
		times = append(times, q.Due)
	}
	var first time.Time
	for _, t := range times {
		if !t.After(now) {
			t = now.Add(queueLookPause)
			if r.Next.After(t) {
				t = r.Next
			}
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}

// deadline is the earliest one of all recipients of a message; zero is none.
func (s *Server) deadline(q *QueueItem, now time.Time) time.Time {
	var first time.Time
	policies := map[string]queuePolicy{}
	for i := range q.Rcpts {
		r := &q.Rcpts[i]
		p, ok := policies[r.Addr.Domain]
		if !ok {
			p = s.queuePolicy(r.Addr.Domain)
			policies[r.Addr.Domain] = p
		}
		t := p.deadline(q, r, now)
		if first.IsZero() || (!t.IsZero() && t.Before(first)) {
			first = t
		}
	}
	return first
}

// renewDeadline stores a message's deadline anew. Whatever changes something about a queued message calls it at the end of
// the same transaction; a message that has gone is no error.
func (s *Server) renewDeadline(tx *Tx, id int64) error {
	q, err := tx.QueueMessage(id)
	if err != nil || len(q.Rcpts) == 0 {
		return err
	}
	at := s.deadline(&q, tx.s.Now())
	if at.Unix() == q.Deadline.Unix() {
		return nil
	}
	return tx.SetQueueDeadline(id, at)
}
