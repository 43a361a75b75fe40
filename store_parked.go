// Letters put aside: what somebody has sent whose session was over, until that person logs in and gets it back.
package main

import (
	"errors"
	"time"
)

const (
	maxParked  = 8              // letters put aside, in all; the oldest makes room
	ownParked  = 2              // of one person
	parkedTime = 24 * time.Hour // for their writers to log in
)

// parkedSchema: a letter with a ticket is put aside. It is nobody's draft, and only its ticket leads to it.
const parkedSchema = `
ALTER TABLE letters ADD COLUMN ticket TEXT NOT NULL DEFAULT '';
CREATE INDEX letters_parked ON letters(changed) WHERE ticket<>'';
`

// Park puts a letter with files that are stored already aside under a ticket. It takes room of its writer's quota, but needs none: there are
// few, and what was written is worth more.
func (tx *Tx) Park(l *Letter, ticket string) error {
	if len(l.Fields) > maxLetterFields {
		return ErrTooBig
	}
	if err := tx.makeParkingRoom(l.User); err != nil {
		return err
	}
	l.Changed = tx.s.Now()
	err := tx.one(insertInto("letters", letterColumns+`,ticket`)+` RETURNING id`, append(letterRow(l), ticket), &l.ID)
	for i := range l.Files {
		if err == nil {
			err = tx.insertLetterFile(l.ID, &l.Files[i])
		}
	}
	return err
}

// makeParkingRoom removes the oldest letters that are too many when another one comes.
func (tx *Tx) makeParkingRoom(user UserID) error {
	all, err := tx.letters(`ticket<>'' ORDER BY changed DESC, id DESC`)
	kept, own := 0, 0
	for _, l := range all {
		if l.User == user {
			own++
		}
		switch {
		case err != nil:
		case kept >= maxParked-1, l.User == user && own >= ownParked:
			err = tx.RemoveLetter(l.User, l.ID)
		default:
			kept++
		}
	}
	return err
}

// Parked finds a letter that its writer has put aside. ErrNotFound, also when its time is over.
func (tx *Tx) Parked(user UserID, ticket string) (Letter, error) {
	l, err := tx.letter(`ticket=? AND ticket<>'' AND user=?`, ticket, user)
	if err == nil && tx.parkedUntil().After(l.Changed) {
		err = ErrNotFound
	}
	return l, err
}

// parkedUntil is the time from before which nothing that was put aside is kept.
func (tx *Tx) parkedUntil() time.Time {
	if !tx.s.ClockTrusted() {
		return time.Time{}
	}
	return tx.s.Now().Add(-parkedTime)
}

// DropParked removes letters that nobody has come for. It writes only when there are some.
func (s *Store) DropParked() error {
	late := func(tx *Tx) ([]Letter, error) {
		return tx.letters(`ticket<>'' AND changed<?`, max(tx.parkedUntil().Unix(), 0))
	}
	found, err := read(s, late)
	if err != nil || len(found) == 0 {
		return err
	}
	err = s.Write(func(tx *Tx) error {
		found, err := late(tx)
		for _, l := range found {
			if err == nil {
				err = tx.RemoveLetter(l.User, l.ID)
			}
		}
		return err
	})
	if errors.Is(err, ErrReadOnly) {
		return nil
	}
	return err
}
