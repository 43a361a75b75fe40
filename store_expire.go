// Mailboxes whose messages stay for some days only.
package main

import (
	"errors"
	"time"
)

const expireLook = time.Hour // between looks for what is too old

// keepSchema: messages of a mailbox are deleted so many days after they were put there; 0 is never.
const keepSchema = `ALTER TABLE mailboxes ADD COLUMN keep INTEGER NOT NULL DEFAULT 0;`

// SetKeep has messages of a mailbox deleted so many days after they were put there; 0 is never. ErrNotFound.
func (tx *Tx) SetKeep(m Mailbox, days int) error {
	tx.Touch(m.Owner)
	return tx.changeOne(`UPDATE mailboxes SET keep=? WHERE id=?`, days, m.ID)
}

// Overdue lists the messages, up to a number, that have been in the mailbox for so many days by the store's clock, without what that has
// jumped ahead since the file was opened. Those with \Flagged stay.
func (tx *Tx) Overdue(m Mailbox, days, most int) ([]UID, error) {
	before := tx.s.Now().Add(-tx.s.JumpedSince() - time.Duration(days)*24*time.Hour)
	return column[UID](tx, `SELECT uid FROM messages WHERE mailbox=? AND NOT gone AND saved<=? AND flags&?=0 ORDER BY uid LIMIT ?`,
		m.ID, before.Unix(), FlagFlagged, most)
}

// watchExpiry deletes what is too old, from an hour after the start on.
func (s *Store) watchExpiry() {
	s.every(expireLook, func() {
		if err := s.Expire(); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReadOnly) {
			s.crew.Complain("store: messages that are too old", err)
		}
	})
}

// Expire deletes what has been in its mailbox for longer than the mailbox keeps it. Nothing happens while the time is not sure: the
// system's clock must be synchronised, and not be behind ours.
func (s *Store) Expire() error {
	if !s.ClockTrusted() || !s.opt.synchronised() {
		return nil
	}
	boxes, err := read(s, func(tx *Tx) ([]Mailbox, error) {
		return rows(tx, `SELECT id,`+mailboxColumns+` FROM mailboxes WHERE keep>0 AND owner IS NOT NULL`, nil, mailboxDest)
	})
	if err != nil {
		return err
	}
	for _, m := range boxes {
		if err := s.expire(m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) expire(m Mailbox) error {
	for {
		old, err := read(s, func(tx *Tx) ([]UID, error) { return tx.Overdue(m, m.Keep, listRows) })
		if err != nil || len(old) == 0 {
			return err
		}
		err = s.InSteps(old, func(tx *Tx, step []UID) error {
			now, err := tx.MailboxByID(m.ID)
			if err != nil || now.Keep != m.Keep { // it was changed meanwhile
				return errors.Join(err, errKeepChanged)
			}
			_, err = tx.Expunge(now, step)
			return err
		}, nil)
		if errors.Is(err, errKeepChanged) {
			return nil
		}
		if err != nil {
			return err
		}
		s.log.Info("messages deleted that the mailbox keeps no longer", "user", m.Owner, "mailbox", m.Name, "days", m.Keep, "messages", len(old))
	}
}

var errKeepChanged = errors.New("the mailbox keeps its messages for another time now")
