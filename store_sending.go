// How much each person has sent lately.
package main

import (
	"errors"
	"time"
)

// sendingSchema: since is when the day began that the counts are of. A row is written with a message, and never when nobody sends.
const sendingSchema = `
CREATE TABLE sending(
  user INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE, since INTEGER NOT NULL, messages INTEGER NOT NULL, recipients INTEGER NOT NULL);
`

// sendingDay is how long what was sent counts, from the first message on.
const sendingDay = 24 * time.Hour

// Sending is what a person has sent since a time, which is at most sendingDay ago. Since is now if that is nothing.
type Sending struct {
	Since      time.Time
	Messages   int64
	Recipients int64
}

// Until is when it counts no more.
func (s Sending) Until() time.Time { return s.Since.Add(sendingDay) }

// Sending is what a person has sent lately. A clock that was ahead when the day began makes a new day.
func (tx *Tx) Sending(user UserID) (Sending, error) {
	var since int64
	var s Sending
	now := tx.s.Now()
	err := tx.one(`SELECT since,messages,recipients FROM sending WHERE user=?`, []any{user}, &since, &s.Messages, &s.Recipients)
	s.Since = time.Unix(since, 0)
	if errors.Is(err, ErrNotFound) || (err == nil && (s.Since.After(now) || !s.Until().After(now))) {
		return Sending{Since: now}, nil
	}
	return s, err
}

// NoteSending stores what a person has sent.
func (tx *Tx) NoteSending(user UserID, s Sending) error {
	_, err := tx.exec(`INSERT OR REPLACE INTO sending(user,since,messages,recipients) VALUES(?,?,?,?)`, user, s.Since.Unix(), s.Messages, s.Recipients)
	return err
}
