package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func (s *testServer) setRule(t *testing.T, user, key string, v any) {
	t.Helper()
	err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName(user + "@home.arpa")
		if err != nil {
			return err
		}
		return tx.SetPreference(u.ID, key, v)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *testServer) mail(t *testing.T, from, to, raw string) {
	t.Helper()
	sp := s.store.NewSpool(1 << 20)
	defer sp.Close()
	io.WriteString(sp, strings.ReplaceAll(raw, "\n", "\r\n"))
	m := &Mail{Body: sp}
	if from != "" {
		m.From, _ = ParseAddr(from)
	}
	a, err := ParseAddr(to)
	if err != nil {
		t.Fatal(err)
	}
	m.To = rcptsTo(a)
	if err := s.accept(m); err != nil {
		t.Fatal(err)
	}
}

// in counts the messages of a user's mailbox and returns the flags of the last one.
func (s *testServer) in(t *testing.T, user, box string) (n int64, f Flags) {
	t.Helper()
	err := s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByName(user + "@home.arpa")
		if err != nil {
			return err
		}
		m, err := tx.MailboxByName(u.ID, box)
		if err != nil {
			return err
		}
		n = m.Exists
		all, err := tx.Newest(m.ID, ^UID(0), 1)
		if len(all) > 0 {
			f = all[0].Flags
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, f
}

// setScript makes a script a user's active one.
func (s *testServer) setScript(t *testing.T, user, source string) {
	t.Helper()
	if _, faults := sieveCompile(source); len(faults) > 0 {
		t.Fatal(faults[0])
	}
	err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName(user + "@home.arpa")
		if err == nil {
			err = tx.PutScript(u.ID, "mine", source)
		}
		if err == nil {
			err = tx.ActivateScript(u.ID, "mine")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRulesFilter(t *testing.T) {
	s := startServer(t)
	archive := s.folder(t, "ann", "Archive").ID
	rules := []sieveRule{
		{Tests: []sieveRuleTest{{Field: "subject", Op: "contains", Value: "CAMERA"}, {Field: "from", Op: "contains", Value: "door"}}, Folder: fmt.Sprintf("F%d", archive), Name: "Archive", Read: true},
		{Tests: []sieveRuleTest{{Field: "clip"}}, Star: true},
		{Tests: []sieveRuleTest{{Field: "subject", Op: "contains", Value: "gone"}}, Folder: "F1099511627776", Name: "Gone"}}
	s.setScript(t, "ann", sieveWriteRules(rules))
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "From: Front Door <x@lab.arpa>\nSubject: camera says hello\n\nx\n")
	if n, f := s.in(t, "ann", "Archive"); n != 1 || f.Bits != FlagSeen {
		t.Errorf("the filtered message: %d in Archive, flags %v", n, f)
	}
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: camera of others\n\nx\n")
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: gone\n\nx\n")
	if n, _ := s.in(t, "ann", "INBOX"); n != 3 { // the third says that a filter has failed
		t.Errorf("%d in INBOX", n)
	}
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: file\nContent-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment; filename=a.pdf\n\nx\n")
	if _, f := s.in(t, "ann", "INBOX"); f.Bits != FlagFlagged {
		t.Errorf("flags %v for an attachment", f)
	}
}

// TestRulesForward sends mail on, and round in a circle.
func TestRulesForward(t *testing.T) {
	s := startServer(t)
	count := func(ann, bob int64) {
		t.Helper()
		a, _ := s.in(t, "ann", "INBOX")
		b, _ := s.in(t, "bob", "INBOX")
		if a != ann || b != bob {
			t.Errorf("ann has %d and bob %d, want %d and %d", a, b, ann, bob)
		}
	}
	s.setRule(t, "ann", PrefForward, Forward{To: []string{"bob@home.arpa"}})
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: 1\n\nx\n")
	count(0, 1)
	s.setRule(t, "ann", PrefForward, Forward{To: []string{"bob@home.arpa"}, Keep: true})
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: 2\n\nx\n")
	count(1, 2)
	s.setRule(t, "ann", PrefForward, Forward{To: []string{"bob@home.arpa"}})
	s.setRule(t, "bob", PrefForward, Forward{To: []string{"ann@home.arpa"}})
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: 3\n\nx\n")
	count(1, 3)
	s.setRule(t, "bob", PrefForward, Forward{To: []string{"nobody@home.arpa"}})
	s.mail(t, "x@lab.arpa", "bob@home.arpa", "Subject: 4\n\nx\n")
	count(1, 4)
}

// TestRulesVacation answers people once and machines never (RFC 3834 §2); two who are away do not talk for ever.
func TestRulesVacation(t *testing.T) {
	s := startServer(t)
	s.setRule(t, "ann", PrefVacation, Vacation{On: true, Subject: "Away", Text: "Back on Monday."})
	for _, h := range []string{"Auto-Submitted: auto-generated", "Precedence: bulk", "List-Id: <x.y>", "To: someone@else.arpa"} {
		to := "To: ann@home.arpa\n"
		if strings.HasPrefix(h, "To:") {
			to = ""
		}
		s.mail(t, "bob@home.arpa", "ann@home.arpa", fmt.Sprintf("From: bob@home.arpa\n%s%s\nSubject: x\n\nx\n", to, h))
	}
	for _, from := range []string{"", "owner-list@home.arpa", "noreply@home.arpa", "MAILER-DAEMON@home.arpa", "ann@home.arpa"} {
		s.mail(t, from, "ann@home.arpa", "To: ann@home.arpa\nSubject: x\n\nx\n")
	}
	if n, _ := s.in(t, "bob", "INBOX"); n != 0 {
		t.Fatalf("%d answers to machines", n)
	}
	s.setRule(t, "bob", PrefVacation, Vacation{On: true, Text: "Away too."})
	for range 3 {
		s.mail(t, "bob@home.arpa", "ann@home.arpa", "From: bob@home.arpa\nTo: ann@home.arpa\nSubject: Lunch\nMessage-ID: <l@x>\n\nx\n")
	}
	if n, _ := s.in(t, "bob", "INBOX"); n != 1 {
		t.Errorf("bob got %d answers, want 1", n)
	}
	bob := newWebClient(t, s).login("bob")
	bob.get(bob.find(`href="(/box/\d+/\d+)`) + "/source")
	bob.want("Auto-Submitted: auto-replied", "In-Reply-To: <l@x>", "Return-Path: <>", "Subject: Away", "Back on Monday.")
	evening := time.Date(2026, 5, 1, 20, 0, 0, 0, time.UTC)
	for zone, want := range map[string]bool{"Asia/Shanghai": true, "UTC": false, "America/Bogota": false} { // where it is the second already
		if v := (Vacation{On: true, From: "2026-05-02", Zone: zone}); v.Active(evening) != want {
			t.Errorf("in %s the second of May has begun: %v", zone, !want)
		}
	}
	if v := (Vacation{On: true, From: "2000-01-01", Until: "2000-01-02"}); v.Active(s.store.Now()) {
		t.Error("a vacation that is long over still answers")
	}
}
