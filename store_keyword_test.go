package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// words are n keywords that begin with a prefix.
func words(prefix string, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%03d", prefix, i)
	}
	return strings.Join(all, " ")
}

// TestKeywordLimits: at a limit nothing is dropped and nothing changes, in whatever way keywords come, and what no message has
// any more makes room.
func TestKeywordLimits(t *testing.T) {
	s := newTreeStore(t)
	inbox := s.box(s.ann, "INBOX")
	archive := s.box(s.ann, "Archive")
	n := maxKeywords / maxMsgKeywords
	for i := range n {
		s.append(inbox, Flags{Words: words(string(rune('a'+i)), maxMsgKeywords)})
	}
	plain := s.append(inbox, Flags{})
	before := s.flags(inbox)
	change := func(m Mailbox, op byte, u UID, w string) error {
		return s.Write(func(tx *Tx) error {
			_, err := tx.SetFlags(m, []UID{u}, FlagChange{Op: op, Flags: Flags{Words: w}, Unchanged: -1})
			return err
		})
	}
	full := func(m Mailbox) bool {
		t.Helper()
		is, err := read(s.Store, func(tx *Tx) (bool, error) {
			m, err := tx.MailboxByID(m.ID)
			if err != nil {
				return false, err
			}
			return tx.KeywordsFull(m)
		})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if !full(inbox) {
		t.Fatal("the mailbox is not full")
	}
	other := s.append(archive, Flags{Words: "other"})
	for what, err := range map[string]error{
		"a new one":              change(inbox, '+', plain, "new"),
		"a new one instead":      change(inbox, '=', 1, "new"),
		"too many on a message":  change(inbox, '+', 1, "b000"),
		"too many in one change": change(inbox, '=', plain, words("x", maxMsgKeywords+1)),
		"append": s.Write(func(tx *Tx) error {
			_, err := s.tryAppend(tx, inbox, Flags{Words: "new"})
			return err
		}),
		"copy": s.Write(func(tx *Tx) error {
			_, _, err := tx.Copy(archive, []UID{other}, inbox)
			return err
		}),
		"move": s.Write(func(tx *Tx) error {
			_, _, err := tx.Move(archive, []UID{other}, inbox)
			return err
		}),
	} {
		if !errors.Is(err, ErrTooMany) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := s.flags(inbox); got != before {
		t.Errorf("flags have changed from %s to %s", before, got)
	}
	if err := change(inbox, '+', plain, "A000"); err != nil { // which it has, in small letters
		t.Error(err)
	}
	// One that goes makes room for one.
	if err := change(inbox, '-', 1, "a001"); err != nil {
		t.Fatal(err)
	}
	if full(inbox) {
		t.Error("the mailbox is still full")
	}
	if err := change(inbox, '+', plain, "new"); err != nil {
		t.Error(err)
	}
	if err := change(inbox, '+', plain, "newer"); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	// So does a message.
	mustWrite(t, s.Store, func(tx *Tx) error {
		_, err := tx.Expunge(inbox, []UID{2})
		return err
	})
	if err := change(inbox, '+', plain, "newer"); err != nil {
		t.Error(err)
	}
}

// TestKeywordSteps: what takes several steps is refused before the first.
func TestKeywordSteps(t *testing.T) {
	s := newTreeStore(t)
	inbox, archive := s.box(s.ann, "INBOX"), s.box(s.ann, "Archive")
	var uids []UID
	for range stepFirst {
		uids = append(uids, s.append(inbox, Flags{}))
	}
	uids = append(uids, s.append(inbox, Flags{Words: words("a", maxMsgKeywords)}))
	change := FlagChange{Op: '+', Flags: Flags{Words: "new"}, Unchanged: -1}
	if err := s.FlagsFit(inbox, uids, change); !errors.Is(err, ErrTooMany) {
		t.Errorf("flags: %v", err)
	}
	change.Flags.Words = "a000"
	if err := s.FlagsFit(inbox, uids, change); err != nil {
		t.Errorf("flags that it has: %v", err)
	}
	for i := range maxKeywords / maxMsgKeywords {
		s.append(archive, Flags{Words: words(string(rune('b'+i)), maxMsgKeywords)})
	}
	if err := s.MoveFits(inbox, uids, archive); !errors.Is(err, ErrTooMany) {
		t.Errorf("move: %v", err)
	}
	none := func(*Tx, []UID) error { return nil }
	if _, _, err := s.CopyAll(inbox, uids, archive, none); !errors.Is(err, ErrTooMany) {
		t.Errorf("copy: %v", err)
	}
	if m := s.box(s.ann, "Archive"); m.Exists != maxKeywords/maxMsgKeywords {
		t.Errorf("%d messages", m.Exists)
	}
}

// TestKeywordForm: new keywords are atoms; one from before can be used and taken away.
func TestKeywordForm(t *testing.T) {
	s := newTreeStore(t)
	inbox := s.box(s.ann, "INBOX")
	for _, bad := range []string{"ünï", "工作", "a(b", "a]b", "a*", `a"b`, "\x7f", "a\x01"} {
		if err := s.Write(func(tx *Tx) error { _, err := s.tryAppend(tx, inbox, Flags{Words: bad}); return err }); !errors.Is(err, ErrKeyword) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s.append(inbox, Flags{Words: "$Label1 a.b [Gmail"})
	mustWrite(t, s.Store, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE mailboxes SET keywords='ünï' WHERE id=?`, inbox.ID)
		return err
	})
	u := s.append(inbox, Flags{Words: "ünï"})
	mustWrite(t, s.Store, func(tx *Tx) error {
		_, err := tx.SetFlags(inbox, []UID{u}, FlagChange{Op: '-', Flags: Flags{Words: "ünï"}, Unchanged: -1})
		return err
	})
}

func (s *treeStore) box(u User, name string) Mailbox {
	s.t.Helper()
	m, err := read(s.Store, func(tx *Tx) (Mailbox, error) { return tx.MailboxByName(u.ID, name) })
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *treeStore) tryAppend(tx *Tx, m Mailbox, f Flags) (UID, error) {
	sp := s.NewSpool(1 << 20)
	defer sp.Close()
	if _, err := sp.Write([]byte("Subject: x\r\n\r\nx\r\n")); err != nil {
		return 0, err
	}
	b, err := tx.AddBlob(sp)
	if err != nil {
		return 0, err
	}
	msg, err := tx.Append(m, b, f, time.Unix(1e9, 0))
	return msg.UID, err
}

func (s *treeStore) append(m Mailbox, f Flags) UID {
	s.t.Helper()
	u, err := write(s.Store, func(tx *Tx) (UID, error) { return s.tryAppend(tx, m, f) })
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// flags are those of all messages of a mailbox.
func (s *treeStore) flags(m Mailbox) string {
	s.t.Helper()
	var all []string
	err := s.Read(func(tx *Tx) error {
		return tx.Messages(m.ID, 1, ^UID(0), func(x *Message) error {
			all = append(all, x.Flags.String())
			return nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(all, "\n")
}
