// The queue's deadlines: warnings, giving back and DELIVERBY come at their own time, not at the next try.
package main

import (
	"cmp"
	"errors"
	"time"
)

// lookAtDeadlines starts a look at the messages whose deadline has passed, unless one is under way. It returns when the next
// look is due; zero is when something changes.
func (q *queueRunner) lookAtDeadlines(now time.Time) (time.Time, error) {
	next, err := read(q.s.store, (*Tx).NextQueueDeadline)
	if err != nil || next.IsZero() {
		return next, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	again := q.looked.Add(queueLookPause)
	if next.Before(again) {
		next = again
	}
	if q.looking || next.After(now) {
		return next, nil
	}
	q.looking, q.looked = true, now
	q.s.crew.Go(&q.wg, "queue deadlines", func() {
		defer func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.looking = false
			q.wakeUp()
		}()
		err := q.applyDeadlines(now)
		if err != nil {
			q.s.crew.Complain("queue deadlines", err)
		}
	})
	return now.Add(queueLookPause), nil
}

// applyDeadlines handles every message whose deadline is not after now. A message that is being delivered keeps its deadline
// and is found by the next look; so is one that a fault of ours stands in the way of, later.
func (q *queueRunner) applyDeadlines(now time.Time) error {
	var last QueueItem
	for q.s.stop.Err() == nil {
		items, err := read(q.s.store, func(tx *Tx) ([]QueueItem, error) { return tx.QueueOverdue(now, last) })
		if err != nil || len(items) == 0 {
			return err
		}
		var done []int64
		for i := range items {
			free, err := q.applyDeadline(&items[i], now)
			if err != nil {
				return err
			}
			if free {
				done = append(done, items[i].ID)
			}
		}
		err = q.s.store.Write(func(tx *Tx) error {
			for _, id := range done {
				if err := q.s.renewDeadline(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		last = items[len(items)-1]
	}
	return nil
}

// applyDeadline handles one message, next hop by next hop, because each next hop has its own lock. It returns false when one
// of them is being served.
func (q *queueRunner) applyDeadline(m *QueueItem, now time.Time) (bool, error) {
	parts := map[string]*QueueItem{}
	var order []nextHop
	for _, r := range m.Rcpts {
		hop := q.s.nextHop(r.Addr.Domain)
		if parts[hop.key] == nil {
			part := *m
			part.Rcpts = nil
			parts[hop.key] = &part
			order = append(order, hop)
		}
		parts[hop.key].Rcpts = append(parts[hop.key].Rcpts, r)
	}
	free := true
	for _, hop := range order {
		if !q.lock(hop.key) {
			free = false
			continue
		}
		err := q.s.crew.Guard("queue deadline", func() error { return newQueueJob(q, hop, nil).judge(parts[hop.key], now) })
		q.unlock(hop.key)
		var fault *PanicError
		if errors.As(err, &fault) {
			later := now.Add(time.Duration(q.s.cfg.Queue.RetryMax))
			return false, q.s.store.Write(func(tx *Tx) error { return tx.SetQueueDeadline(m.ID, later) })
		}
		if err != nil {
			return false, err
		}
	}
	return free, nil
}

// judge gives back, or warns of, those recipients of a message for whom it is time.
func (j *queueJob) judge(q *QueueItem, now time.Time) error {
	var out []outcome
	for _, r := range q.Rcpts {
		switch j.s.queuePolicy(r.Addr.Domain).verdict(q, &r, now) {
		case verdictFail:
			o := outcome{rcpt: r, action: ActionFailed, status: "5.4.1", said: r.Error}
			if q.overdue(now) && q.ByMode == "R" {
				o.status, o.said = "5.4.7", errLate.Error()
			}
			out = append(out, o)
		case verdictWarn:
			out = append(out, outcome{rcpt: r, action: ActionDelayed, status: "4.4.1", said: cmp.Or(r.Error, "it has not been its turn yet"),
				untried: true, warn: true})
		}
	}
	return j.record(q, out)
}
