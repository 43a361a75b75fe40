package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What somebody has sent counts for a day, over all ways of sending and over a restart, and then no more. An alias is one recipient; what goes out
// by itself does not count.
func TestShareOfADay(t *testing.T) {
	var clock webClock
	opt := StoreOptions{Now: func() time.Time { return time.Now().Add(time.Duration(clock.ahead.Load())) }}
	limits := []string{"[limits]", "messages_day = 4", "recipients_day = 6"}
	path := filepath.Join(t.TempDir(), "mail.db")
	s := startServerOn(t, path, opt, limits...)
	s.write(t, func(tx *Tx) error { return tx.AddAlias("all@home.arpa", "bob@home.arpa", "ann@home.arpa") })
	sent := func() string {
		x, err := read(s.store, func(tx *Tx) (Sending, error) {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return Sending{}, err
			}
			return tx.Sending(u.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(x.Messages, " to ", x.Recipients)
	}
	want := func(step, want string) {
		t.Helper()
		if got := sent(); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	send := func() error { return s.acceptAs(t, "ann@home.arpa", "Subject: x\r\n\r\nx\r\n") } // to bob
	if err := send(); err != nil {
		t.Fatal(err)
	}
	want("one message", "1 to 1")

	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(nil, "to", "all@home.arpa, bob@home.arpa", "subject", "s", "text", "t", "do", "send")
	s.hurry(t)
	waitFor(t, "the letter", func() bool { return sent() == "2 to 3" })

	clock.forward(time.Hour)
	s.Shutdown()
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	s = startServerOn(t, path, opt, limits...)
	want("after a restart", "2 to 3")
	ann = newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(nil, "to", "a@home.arpa, b@home.arpa, c@home.arpa, d@home.arpa", "subject", "s", "text", "t", "do", "send")
	ann.want("There is nobody")
	ann.get("/compose")
	ann.letter(nil, "to", "all@home.arpa, bob@home.arpa, ann+1@home.arpa, ann+2@home.arpa", "subject", "s", "text", "t", "do", "send")
	ann.want("This would be more than the 4 messages or 6 recipients that one person may send to in a day. Send it after ")

	// A letter that has been written already waits until it may go.
	ann.get("/compose")
	ann.letter(nil, "to", "bob@home.arpa", "subject", "patient", "text", "t", "do", "send")
	for range 2 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	err := send()
	if !errors.Is(err, errSentMuch) || !strings.Contains(err.Error(), "4 messages to 5 recipients") {
		t.Errorf("the fifth: %v", err)
	}
	want("what was refused does not count", "4 to 5")
	s.hurry(t)
	waitFor(t, "the letter waits", func() bool {
		due, next, err := read2(s.store, func(tx *Tx) ([]Letter, time.Time, error) { return tx.DueLetters(s.store.Now(), 10) })
		return err == nil && len(due) == 0 && next.Sub(s.store.Now()) > 20*time.Hour && next.Sub(s.store.Now()) < 24*time.Hour
	})
	uid := s.put(t, "ann", "INBOX", "From: x@example.com\nSubject: on\n\nx\n", 0)
	ann.get("/mail")
	ann.post("/redirect", "m", fmt.Sprintf("%d.%d", s.folder(t, "ann", "INBOX").ID, uid), "to", "bob@home.arpa")
	ann.want("one person may send to in a day")

	clock.forward(24 * time.Hour)
	s.web.wakeSender()
	waitFor(t, "the letter goes", func() bool { return strings.Contains(strings.Join(s.inbox(t, "bob@home.arpa"), "\n"), "patient") })
	want("the next day", "1 to 1")
}

// read2 is read for two results.
func read2[A, B any](s *Store, fn func(*Tx) (A, B, error)) (A, B, error) {
	var a A
	var b B
	err := s.Read(func(tx *Tx) error {
		var err error
		a, b, err = fn(tx)
		return err
	})
	return a, b, err
}
