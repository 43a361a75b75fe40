// Pages of a mailbox, newest first, and conversations.
package main

import (
	"encoding/json"
	"slices"
	"time"
)

// Newest lists at most limit messages of a mailbox whose UIDs are below before, the newest first. It seeks, so that page
// 2,000 of a mailbox costs no more than the first one.
func (tx *Tx) Newest(id MailboxID, before UID, limit int) ([]Message, error) {
	return tx.list(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND uid<? AND NOT gone ORDER BY uid DESC LIMIT ?`, id, before, limit)
}

// NewestUIDs is Newest without the rows, in ascending order.
func (tx *Tx) NewestUIDs(id MailboxID, before UID, limit int) ([]UID, error) {
	uids, err := column[UID](tx, `SELECT uid FROM messages WHERE mailbox=? AND uid<? AND NOT gone ORDER BY uid DESC LIMIT ?`, id, before, limit)
	slices.Reverse(uids)
	return uids, err
}

// After lists at most limit messages whose UIDs are above after, the oldest first.
func (tx *Tx) After(id MailboxID, after UID, limit int) ([]Message, error) {
	return tx.list(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND uid>? AND NOT gone ORDER BY uid LIMIT ?`, id, after, limit)
}

// threadWindow is how many UIDs of a mailbox a conversation is looked for in: an index of threads would cost a page written
// for each message, and the messages of a conversation come within weeks of each other.
const threadWindow = 20_000

// Conversation lists the messages of some threads in a mailbox that arrived around a time, at most limit.
func (tx *Tx) Conversation(m Mailbox, threads []int64, around time.Time, limit int) ([]Message, error) {
	list, err := json.Marshal(threads)
	if err != nil {
		return nil, err
	}
	from, to := UID(0), ^UID(0)
	if m.UIDNext > threadWindow {
		mid, err := tx.uidAt(m, around)
		if err != nil {
			return nil, err
		}
		from = mid - min(mid, threadWindow/2)
		if from < m.UIDNext-threadWindow {
			to = from + threadWindow
		} else {
			from = m.UIDNext - threadWindow
		}
	}
	return tx.list(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? AND NOT gone
		AND thread IN (SELECT value FROM json_each(?)) ORDER BY uid LIMIT ?`, m.ID, from, to, string(list), limit)
}

// UIDsAround lists at most limit messages of a mailbox, in ascending order, most of which arrived before a time.
func (tx *Tx) UIDsAround(m Mailbox, at time.Time, limit int) ([]UID, error) {
	mid := m.UIDNext
	if mid > UID(limit) {
		var err error
		mid, err = tx.uidAt(m, at)
		if err != nil {
			return nil, err
		}
		mid += UID(limit / 4)
	}
	return tx.NewestUIDs(m.ID, mid, limit)
}

// uidAt is about the UID that a message got which arrived at a time. It halves the mailbox until it is there, as if
// messages had come in the order of their dates.
func (tx *Tx) uidAt(m Mailbox, at time.Time) (UID, error) {
	lo, hi := UID(1), m.UIDNext
	for lo < hi {
		mid := lo + (hi-lo)/2
		some, err := tx.After(m.ID, mid-1, 1)
		if err != nil {
			return 0, err
		}
		if len(some) == 0 || !some[0].Internal.Before(at) {
			hi = mid
		} else {
			lo = some[0].UID + 1
		}
	}
	return lo, nil
}

func (tx *Tx) list(query string, args ...any) ([]Message, error) {
	var all []Message
	err := tx.eachMessage(query, args, func(m *Message) error {
		all = append(all, *m)
		return nil
	})
	return all, err
}
