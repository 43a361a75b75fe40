package main

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestExpire lets days pass: messages of a mailbox that keeps them for a week go after a week and tell other sessions, starred ones and
// those of other mailboxes stay, and nothing goes while the clock is not set, is behind, or has just jumped.
func TestExpire(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	var up, wrong atomic.Int64
	var synced atomic.Bool
	st := openTestStore(t, StoreOptions{Uptime: func() time.Duration { return time.Duration(up.Load()) }, Synchronised: synced.Load,
		Now: func() time.Time { return begin.Add(time.Duration(up.Load() + wrong.Load())) }})
	_, inbox := addTestUser(t, st, "ann")
	var trash Mailbox
	mustWrite(t, st, func(tx *Tx) error {
		var err error
		trash, err = tx.MailboxByName(inbox.Owner, "Trash")
		if err != nil {
			return err
		}
		return tx.SetKeep(trash, 7)
	})
	const day = int64(24 * time.Hour)
	put := func(m Mailbox, f FlagBits) { appendText(t, st, m, "Subject: x\r\n\r\n", Flags{Bits: f}) }
	left := func(m Mailbox) []UID {
		t.Helper()
		if err := st.Expire(); err != nil {
			t.Fatal(err)
		}
		uids, err := read(st, func(tx *Tx) ([]UID, error) { uids, _, err := tx.UIDs(m.ID, nil); return uids, err })
		if err != nil {
			t.Fatal(err)
		}
		return uids
	}
	put(inbox, 0)
	put(trash, 0)
	put(trash, FlagFlagged|FlagSeen)
	st.Now()
	up.Add(3 * day)
	put(trash, FlagSeen)
	up.Add(4*day - int64(time.Minute))
	want := func(why string, uids ...UID) {
		t.Helper()
		if got := left(trash); !slices.Equal(got, uids) {
			t.Errorf("%s: %v, want %v", why, got, uids)
		}
	}
	synced.Store(true)
	want("a minute too early", 1, 2, 3)
	up.Add(int64(2 * time.Minute))
	synced.Store(false)
	want("nobody sets the clock", 1, 2, 3)
	synced.Store(true)
	wrong.Store(-day)
	want("the clock is behind", 1, 2, 3)
	wrong.Store(0)
	want("after a week", 2, 3)
	wrong.Store(365 * day)
	want("the clock has jumped", 2, 3)
	up.Add(3 * day)
	want("three days after that", 2)
	if n := len(left(inbox)); n != 1 {
		t.Errorf("%d messages in a mailbox that keeps all", n)
	}
	mustWrite(t, st, func(tx *Tx) error { return tx.SetKeep(trash, 0) })
	up.Add(30 * day)
	put(trash, 0)
	up.Add(30 * day)
	want("kept for ever", 2, 4)
}

// TestWebKeep sets on the page how long messages stay: it asks before some of today's go, and nobody sets it for somebody else.
func TestWebKeep(t *testing.T) {
	s := startServer(t)
	trash := s.folder(t, "ann", "Trash")
	s.put(t, "ann", "Trash", "Subject: old\n\nx\n", 0)
	s.write(t, func(tx *Tx) error { _, err := tx.exec(`UPDATE messages SET saved=saved-10*86400`); return err })
	ann := newWebClient(t, s).login("ann")
	keep := func(c *webClient, days string, more ...string) {
		c.get("/folders")
		c.post("/folders", append([]string{"do", "keep", "box", fmt.Sprint(trash.ID), "days", days}, more...)...)
	}
	days := func() int { return s.folder(t, "ann", "Trash").Keep }
	keep(ann, "7")
	ann.want("1 message in this folder is older than that")
	if days() != 0 {
		t.Error("it did not wait for the answer")
	}
	keep(ann, "7", "sure", "1")
	ann.want("Saved.", `<option value="7" selected>for 7 days</option>`)
	keep(ann, "30")
	if days() != 30 {
		t.Errorf("kept for %d days", days())
	}
	for _, bad := range []string{"", "-1", "8", "99999999999999999999"} {
		keep(ann, bad)
		ann.want("That button is not known here.")
	}
	bob := newWebClient(t, s).login("bob")
	keep(bob, "7", "sure", "1")
	if bob.code != 404 || days() != 30 || !strings.Contains(bob.page, "There is nothing at this address.") {
		t.Errorf("somebody else: %d, %d days", bob.code, days())
	}
}
