// Whatever takes long is done in pieces, so that nobody has to wait for it: large changes, and what SQLite does with its WAL.
package main

import (
	"errors"
	"math/rand/v2"
	"time"
)

const (
	stepTime  = 5 * time.Millisecond  // of work in one step, about
	stepSlow  = 20 * time.Millisecond // and at most, where a commit takes that long, too
	stepFirst = 64                    // messages of the first step
	stepLeast = 16                    // and of any
	stepMost  = 1000
)

// InSteps hands the UIDs to fn in order, in as many transactions as it takes, and calls then (unless it is nil) after the
// commit of each. How many messages a step has follows from how long the last one took; on a slow disk a step is as long
// as a commit, or else there would be hardly anything but commits. An error ends it; the steps before have happened.
func (s *Store) InSteps(uids []UID, fn func(tx *Tx, step []UID) error, then func(step []UID) error) error {
	for n := stepFirst; len(uids) > 0; {
		step := uids[:min(n, len(uids))]
		uids = uids[len(step):]
		next, err := s.Step(n, step, fn)
		if err == nil && then != nil {
			err = then(step)
		}
		if err != nil {
			return err
		}
		n = next
	}
	return nil
}

// Step is one step of InSteps, for those who have other work between two of them. It returns how many UIDs the next one
// should have, if this one could have had n.
func (s *Store) Step(n int, step []UID, fn func(tx *Tx, step []UID) error) (int, error) {
	s.waitForCheckpoint()
	var work time.Duration
	err := s.Write(func(tx *Tx) error {
		began := time.Now()
		defer func() { work = time.Since(began) }()
		return fn(tx, step)
	})
	fits := int64(len(step)) * min(max(int64(stepTime), s.flush.Load()), int64(stepSlow)) / int64(work+1)
	return int(min(max(fits, int64(n/2), stepLeast), int64(2*n), stepMost)), err
}

// CopyAll copies messages in steps, all of them or none (RFC 9051 §6.4.7), whatever happens in between. also may do more
// with the copies of a step. The answers pair up; messages that are not there are left out.
func (s *Store) CopyAll(from Mailbox, uids []UID, to Mailbox, also func(tx *Tx, dst []UID) error) (src, dst []UID, err error) {
	if err := s.RoomToCopy(len(uids)); err != nil {
		return nil, nil, err
	}
	if err := s.CopyFits(from, uids, to); err != nil {
		return nil, nil, err
	}
	src, dst = make([]UID, 0, len(uids)), make([]UID, 0, len(uids))
	var srcStep, dstStep []UID // of the step that is not committed yet
	err = s.AllOrNone(uids, to, func(tx *Tx, step []UID) ([]UID, error) {
		var err error
		srcStep, dstStep, err = tx.Copy(from, step, to)
		if err != nil {
			return nil, err
		}
		return dstStep, also(tx, dstStep)
	}, func() { src, dst = append(src, srcStep...), append(dst, dstStep...) })
	return src, dst, err
}

// CopyFits looks beforehand whether quota and keywords allow a copy, so that much of it is not done in vain. ErrQuota,
// ErrTooMany. It asks only about what takes several steps.
func (s *Store) CopyFits(from Mailbox, uids []UID, to Mailbox) error {
	if len(uids) <= stepFirst {
		return nil
	}
	l, err := s.sumUp(from, uids)
	if err != nil {
		return err
	}
	return s.Read(func(tx *Tx) error {
		return errors.Join(tx.Room(to.Owner, l.bytes, l.messages), tx.wordsFit(to, l.words))
	})
}

// MoveFits is CopyFits for a MOVE, which takes no more room among the mailboxes of one owner. Without it a MOVE that can't be
// done to its end moves a part.
func (s *Store) MoveFits(from Mailbox, uids []UID, to Mailbox) error {
	if from.Owner != to.Owner {
		return s.CopyFits(from, uids, to)
	}
	if len(uids) <= stepFirst {
		return nil
	}
	l, err := s.sumUp(from, uids)
	if err != nil {
		return err
	}
	return s.Read(func(tx *Tx) error { return tx.wordsFit(to, l.words) })
}

// load is what messages bring into a mailbox.
type load struct {
	bytes, messages int64
	words           string // keywords
}

func (s *Store) sumUp(from Mailbox, uids []UID) (load, error) {
	var l load
	last := ""
	err := s.List(from.ID, uids, WantRow, func(m *Listed) error {
		if m.Gone {
			return nil
		}
		l.bytes, l.messages = l.bytes+m.Size, l.messages+1
		if m.Flags.Words != last {
			last = m.Flags.Words
			l.words = mergeWords(l.words, last)
		}
		return nil
	})
	return l, err
}

// AllOrNone is InSteps for what adds messages to one mailbox: when a step fails, or the power, all that was added is removed
// again. fn returns the UIDs of what it added, which follow each other; then is called after each commit. Until the last
// one the table unfinished says what is to be removed.
func (s *Store) AllOrNone(work []UID, to Mailbox, fn func(tx *Tx, step []UID) (added []UID, err error), then func()) error {
	task, left := rand.Int64(), len(work)
	s.taskBegins(task)
	err := s.InSteps(work, func(tx *Tx, step []UID) error {
		added, err := fn(tx, step)
		switch {
		case err != nil:
		case len(step) == left:
			_, err = tx.exec(`DELETE FROM unfinished WHERE task=?`, task)
		case len(added) > 0:
			p := unfinishedPart{task, to.ID, added[0], added[len(added)-1]}
			_, err = tx.exec(insertInto("unfinished", unfinishedColumns), unfinishedRow(&p)...)
		}
		return err
	}, func(step []UID) error {
		left -= len(step)
		then()
		return nil
	})
	s.taskEnds(task)
	if err != nil {
		err = errors.Join(err, s.takeBack())
	}
	return err
}

func (s *Store) taskBegins(task int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks[task] = true
}

func (s *Store) taskEnds(task int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, task)
}

func (s *Store) isRunning(task int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[task]
}

// unfinishedPart is what one step of a task has added, as the table unfinished says.
type unfinishedPart struct {
	task   int64
	box    MailboxID
	lo, hi UID
}

const unfinishedColumns = `task,mailbox,lo,hi`

func unfinishedRow(p *unfinishedPart) []any { return []any{&p.task, &p.box, &p.lo, &p.hi} }

// takeBack removes what tasks have added that did not end well, in this life of the file or in one before.
func (s *Store) takeBack() error {
	parts, err := s.unfinished()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := s.takeBackPart(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) unfinished() ([]unfinishedPart, error) {
	return read(s, func(tx *Tx) ([]unfinishedPart, error) {
		return rows(tx, `SELECT `+unfinishedColumns+` FROM unfinished`, nil, unfinishedRow)
	})
}

// takeBackPart removes a part, unless its task is under way, or has ended well since somebody looked: whether the part is
// unfinished is only sure in the transaction that removes it, because the task's last one says that it no longer is.
func (s *Store) takeBackPart(p unfinishedPart) error {
	var uids []UID
	for u := p.lo; u <= p.hi; u++ {
		uids = append(uids, u)
	}
	removed := false
	err := s.InSteps(uids, func(tx *Tx, step []UID) error {
		left, err := tx.ints(`SELECT 1 FROM unfinished WHERE task=? AND mailbox=? AND lo=?`, p.task, p.box, p.lo)
		removed = err == nil && len(left) > 0 && !s.isRunning(p.task)
		if !removed {
			return err
		}
		if step[len(step)-1] == p.hi {
			if _, err := tx.exec(`DELETE FROM unfinished WHERE task=? AND mailbox=? AND lo=?`, p.task, p.box, p.lo); err != nil {
				return err
			}
		}
		m, err := tx.MailboxByID(p.box)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err == nil {
			_, err = tx.Expunge(m, step)
		}
		return err
	}, nil)
	if err == nil && removed {
		s.log.Info("took back what an unfinished command had added", "mailbox", p.box, "messages", len(uids))
	}
	return err
}
