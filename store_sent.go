// What became of letters that were sent.
package main

import (
	"time"
)

// What became of a letter for one of its recipients.
const (
	SentWaiting = iota
	SentDelivered
	SentFailed
)

// Sent is what became of a letter for one of its recipients.
type Sent struct {
	Mail, Rcpt string // Mail is the name in the log and in the queue
	State      int
	At         time.Time
	Said       string // by the server that took or refused it
}

const sentColumns = `mail,rcpt,state,at,said`

func sentRow(x *Sent) []any { return []any{&x.Mail, &x.Rcpt, &x.State, (*unixTime)(&x.At), &x.Said} }

// NoteSent begins to remember a letter; blob is the content of its copy in Sent.
func (tx *Tx) NoteSent(user UserID, blob BlobID, all []Sent) error {
	if tx.s.ClockTrusted() {
		if _, err := tx.exec(`DELETE FROM sent WHERE user=? AND at<?`, user, tx.s.Now().Add(-sentKept).Unix()); err != nil {
			return err
		}
	}
	for _, x := range all {
		x.At = tx.s.Now()
		_, err := tx.exec(insertInto("sent", `user,blob,`+sentColumns)+` ON CONFLICT DO UPDATE SET user=excluded.user, blob=excluded.blob,
			state=excluded.state, at=excluded.at, said=excluded.said`, append([]any{user, blob}, sentRow(&x)...)...)
		if err != nil {
			return err
		}
	}
	return nil
}

// SentOutcome notes how it ended for a recipient. Most mail is not from the web pages and has no row.
func (tx *Tx) SentOutcome(mail, rcpt string, state int, said string) error {
	_, err := tx.exec(`UPDATE sent SET state=?, at=?, said=? WHERE mail=? AND rcpt=?`, state, tx.s.Now().Unix(), said, mail, rcpt)
	return err
}

// SentOf lists what became of the letter whose copy in Sent has this content.
func (tx *Tx) SentOf(user UserID, blob BlobID) ([]Sent, error) {
	return rows(tx, `SELECT `+sentColumns+` FROM sent WHERE blob=? AND user=? ORDER BY rcpt`, []any{blob, user}, sentRow)
}
