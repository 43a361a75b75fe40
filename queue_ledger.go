// The ledger: nothing goes out while what becomes of it can't be stored.
package main

import (
	"errors"
	"time"
)

const (
	queueHalt    = time.Second // until the next look whether outcomes can be stored; doubled each time
	queueMaxHalt = time.Minute // at most
)

// queueLedger keeps the outcomes that could not be stored, so that no message goes out again because of that. It belongs to
// a queueRunner and is guarded by its lock.
type queueLedger struct {
	doubt    bool           // something could not be stored, or nothing has been tried yet: look before mail goes out
	failures int            // looks in a row that found that nothing can be stored
	until    time.Time      // no look before, by the monotonic clock; zero is at once
	open     []queueEntry   // what became of messages
	stuck    map[int64]bool // messages whose outcome can't be stored though other things can: they stay here
}

// queueEntry is what became of some recipients of a message.
type queueEntry struct {
	job *queueJob
	q   QueueItem
	out []outcome
}

// halted stores what could not be stored, and returns zero if mail may go out, or the time until the next look.
func (q *queueRunner) halted() time.Duration {
	q.mu.Lock()
	doubt, wait := q.ledger.doubt || q.s.store.Writable() != nil, time.Until(q.ledger.until)
	open := q.ledger.open
	q.mu.Unlock()
	switch {
	case !doubt:
		return 0
	case wait > 0:
		return wait
	}
	err := q.s.store.ProveWritable()
	if err == nil {
		q.balance(open)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.ledger.doubt, q.ledger.failures, q.ledger.until = false, 0, time.Time{}
		q.ledger.open = q.ledger.open[len(open):]
		return 0
	}
	wait = min(queueHalt<<min(q.ledger.failures, 10), queueMaxHalt)
	q.ledger.failures++
	q.ledger.until = time.Now().Add(wait)
	q.s.crew.Complain("nothing goes out, because what becomes of it can't be stored", err, "next", wait)
	return wait
}

// balance stores outcomes now that something can be stored. A message for which that fails all the same is held, or at least
// not sent again by this process.
func (q *queueRunner) balance(open []queueEntry) {
	for _, e := range open {
		err := q.s.crew.Guard("outcome", func() error { return e.job.record(&e.q, e.out) })
		if err == nil {
			continue
		}
		q.s.log.Error("outcome", "msg", e.q.Name, "err", err)
		q.mu.Lock()
		if q.ledger.stuck == nil {
			q.ledger.stuck = map[int64]bool{}
		}
		q.ledger.stuck[e.q.ID] = true
		q.mu.Unlock()
		err = q.s.store.Write(func(tx *Tx) error {
			return tx.QueueHoldRcpts(e.q.Rcpts, "held: it may have been delivered, and that could not be stored")
		})
		if err != nil {
			q.s.crew.Complain("queue outcome", err)
		}
	}
}

// owe takes an outcome that could not be stored. Until halted has stored it nothing more goes out.
func (q *queueRunner) owe(e queueEntry, err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	q.s.crew.Complain("queue outcome", err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ledger.doubt = true
	q.ledger.open = append(q.ledger.open, e)
}

// owes says whether a message is not to go out because something about it could not be stored.
func (q *queueRunner) owes(id int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.ledger.open {
		if e.q.ID == id {
			return true
		}
	}
	return q.ledger.stuck[id]
}

// notNoted is called when it could not be stored that a next hop is to wait: it does so in memory.
func (q *queueRunner) notNoted(key string, failures int, err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	q.s.crew.Complain("queue next hop", err)
	q.pause(key, hopPause{time.Now().Add(q.s.retryAfter(failures)), false})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ledger.doubt = true
}
