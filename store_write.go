// The writer: transactions that share a commit.
package main

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Announce says that a Write is coming soon, until the caller calls the returned function, which it must do in any case and
// may do twice. A commit waits for announced writes up to maxPatience. SMTP announces when a mail transaction begins and ends
// that smtpLull after the reply: clients with more to send share the next commit, too.
func (s *Store) Announce() (done func()) {
	s.inflight.Add(1)
	return sync.OnceFunc(func() { s.inflight.Add(-1) })
}

// writer is the only goroutine that writes to the file. It ends when jobs is closed.
func (s *Store) writer() {
	for j := range s.jobs {
		if j.between != nil {
			s.runBetween(j)
			continue
		}
		b := batch{began: time.Now()}
		if err := s.crew.Guard("store commit", func() error { s.commit(&b, j, s.join); return nil }); err != nil {
			s.abandon(&b, j, err)
		}
		if b.next != nil {
			s.runBetween(b.next)
		}
	}
	close(s.stopped)
}

func (s *Store) runBetween(j *job) {
	j.err = s.crew.Guard("store between commits", func() error { return storeError(j.between(s.w)) })
	close(j.done)
}

// abandon answers those whose transaction ended in a panic outside of their own closures.
func (s *Store) abandon(b *batch, j *job, err error) {
	s.w.run(`ROLLBACK`)
	if len(b.jobs) == 0 {
		b.jobs = append(b.jobs, j)
	}
	for _, j := range b.jobs {
		select {
		case <-j.done: // it had its answer before
		default:
			j.err = err
			close(j.done)
		}
	}
}

// batch is what shares a transaction.
type batch struct {
	jobs  []*job
	wrote int64
	began time.Time
	over  <-chan time.Time // the end of the writer's patience, nil as long as it did not have to wait
	next  *job             // what has come that is no part of it, and ends it
}

// commit runs a closure and those that join gives it in one transaction. Their callers hear of it when all of that is on
// the disk.
func (s *Store) commit(b *batch, j *job, join func(*batch) *job) {
	if _, err := (&Tx{s: s, c: s.w}).exec(`BEGIN IMMEDIATE`); err != nil {
		j.err = commitError(storeError(err))
		s.committed(j.err)
		close(j.done)
		return
	}
	for ; j != nil; j = join(b) {
		s.runJob(j, len(b.jobs) > 0)
		b.jobs = append(b.jobs, j)
		b.wrote += j.tx.wrote
		if j.err != nil && len(b.jobs) == 1 { // the first needs no savepoint: so far the transaction is its own
			s.w.run(`ROLLBACK`)
			if errors.Is(j.err, ErrDiskFull) && s.giveUpReserve() {
				s.commit(&batch{began: time.Now()}, j, onlyOne)
				return
			}
			j.err = commitError(j.err)
			s.committed(j.err)
			close(j.done)
			return
		}
	}
	start := time.Now()
	if s.opt.CommitDelay > 0 {
		time.Sleep(s.opt.CommitDelay)
	}
	if _, err := (&Tx{s: s, c: s.w}).exec(`COMMIT`); err != nil {
		s.w.run(`ROLLBACK`)
		s.alone(b.jobs, commitError(storeError(err)))
		return
	}
	s.committed(nil)
	if err := s.noteLog(); err != nil {
		s.crew.Complain("store: the log can't be noted", err)
	}
	s.flush.Store(int64(time.Since(start)))
	defer s.tendWAL()
	s.dirty.Store(true)
	if b.wrote > 0 {
		s.contentAdded.Store(true)
	}
	for _, j := range b.jobs {
		if j.err == nil {
			if j.tx.usersChanged {
				s.usersChanged.Add(1)
			}
			s.wake(j.tx.touched)
		}
	}
	again := refusedByDisk(b.jobs)
	for _, j := range b.jobs {
		if !slices.Contains(again, j) {
			close(j.done)
		}
	}
	for _, j := range again {
		s.commit(&batch{began: time.Now()}, j, onlyOne)
	}
}

// refusedByDisk returns those of a batch that failed because of the disk, although the commit worked. They get a try of their own: with
// the reserve, if that is what they lack, and with its end noted for Writable, which the others' commit says nothing about.
func refusedByDisk(jobs []*job) (refused []*job) {
	for _, j := range jobs {
		err := commitError(j.err)
		if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
			refused = append(refused, j)
		}
	}
	return refused
}

// join returns the next job of this transaction, or nil to commit. It commits when the batch is full, when nobody else is
// announced, so that a client that is alone never waits, or when the patience is over. Half of those announced are enough once
// their jobs have taken half as long as the last flush: the others get ready while the disk works, which is faster than that
// all work and then all wait. Where a flush takes long, all are taken.
func (s *Store) join(b *batch) *job {
	took := time.Since(b.began)
	if len(b.jobs) >= batchMessages || b.wrote >= batchBytes || took >= batchTime {
		return nil
	}
	have, coming, flush := int64(len(b.jobs)), s.inflight.Load(), time.Duration(s.flush.Load())
	if have < coming && have >= coming/2 && took >= flush/2 {
		return nil
	}
	select {
	case j := <-s.jobs:
		return b.take(j)
	default:
	}
	if have >= coming {
		return nil
	}
	if b.over == nil {
		b.over = time.After(min(max(flush/2, patience), maxPatience))
	}
	select {
	case j := <-s.jobs:
		return b.take(j)
	case <-b.over:
		return nil
	}
}

// take returns the job if it can be part of the transaction; otherwise that ends, and the job is the next.
func (b *batch) take(j *job) *job {
	if j != nil && j.between != nil {
		b.next = j
		return nil
	}
	return j
}

// alone handles a batch whose commit failed: its members get another try one by one, and one that was alone already gets
// the error.
func (s *Store) alone(jobs []*job, err error) {
	if len(jobs) == 1 {
		if jobs[0].err == nil && errors.Is(err, ErrDiskFull) && s.giveUpReserve() {
			s.commit(&batch{began: time.Now()}, jobs[0], onlyOne)
			return
		}
		if jobs[0].err == nil {
			jobs[0].err = err
		}
		s.committed(err)
		close(jobs[0].done)
		return
	}
	s.crew.Complain("store: a commit failed, trying one by one", err, "batch", len(jobs))
	for _, j := range jobs {
		j.err = nil
		s.commit(&batch{began: time.Now()}, j, onlyOne)
	}
}

// onlyOne is join for a transaction that nobody is to share.
func onlyOne(*batch) *job { return nil }

// runJob runs one closure. A panic in it rolls it back like an error: the writer serves everybody.
func (s *Store) runJob(j *job, savepoint bool) {
	j.tx = &Tx{s: s, c: s.w, changed: map[UserID]account{}, touched: map[UserID]bool{}, unreferenced: map[BlobID]bool{}}
	j.err = nil
	if savepoint {
		_, j.err = j.tx.exec(`SAVEPOINT job`)
		if j.err != nil {
			return
		}
	}
	j.err = s.crew.Guard("store transaction", func() error {
		if err := j.fn(j.tx); err != nil {
			return err
		}
		return j.tx.finish()
	})
	if !savepoint {
		return
	}
	if j.err != nil {
		j.tx.exec(`ROLLBACK TO job`)
	}
	if _, err := j.tx.exec(`RELEASE job`); err != nil && j.err == nil {
		j.err = err
	}
}

// finish settles what a closure left open: content that nothing refers to is free.
func (tx *Tx) finish() error {
	if err := tx.persistClock(); err != nil {
		return err
	}
	for id := range tx.unreferenced {
		if _, err := tx.exec(`INSERT OR REPLACE INTO refs(blob,n) VALUES(?,0)`, id); err != nil {
			return err
		}
	}
	return nil
}
