package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// bringFor has somebody send a message with what set says of it.
func (s *testServer) bringFor(t *testing.T, to []Rcpt, set func(*Mail)) error {
	t.Helper()
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "bob@home.arpa")}, To: to, Body: s.store.NewSpool(1 << 20)}
	defer m.Body.Close()
	io.WriteString(m.Body, "Subject: hello\r\n\r\nhi\r\n")
	set(m)
	return s.accept(m)
}

// However many recipients a message has, its sender gets one report of success; and none where nobody vouches for the sender.
func TestReportsOfSuccess(t *testing.T) {
	for _, stranger := range []bool{false, true} {
		s := startServer(t)
		var to []Rcpt
		for i := range 30 {
			to = append(to, Rcpt{Recipient: Recipient{Addr: mustAddr(t, fmt.Sprintf("ann+%d@home.arpa", i)), Notify: NotifySuccess}})
		}
		if err := s.bringFor(t, to, func(m *Mail) { m.Stranger = stranger }); err != nil {
			t.Fatal(err)
		}
		box := s.inbox(t, "bob@home.arpa")
		switch {
		case stranger && len(box) != 0:
			t.Errorf("a stranger's address got %d reports", len(box))
		case !stranger && (len(box) != 1 || strings.Count(box[0], "Action: delivered") != 30):
			t.Errorf("%d reports: %q", len(box), box)
		}
	}
}

// In LMTP some recipients may not get it: the one report is about the others.
func TestReportsOfSome(t *testing.T) {
	s := startServer(t)
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		u.Quota = 1
		if err != nil {
			return err
		}
		return tx.UpdateUser(u)
	})
	to := rcptsTo(mustAddr(t, "ann@home.arpa"), mustAddr(t, "bob+1@home.arpa"))
	for i := range to {
		to[i].Notify = NotifySuccess
	}
	if err := s.bringFor(t, to, func(m *Mail) { m.EachAlone = true }); err != nil {
		t.Fatal(err)
	}
	box := s.inbox(t, "bob@home.arpa")
	if len(box) != 2 || strings.Contains(box[1], "Final-Recipient: rfc822; ann") || !strings.Contains(box[1], "Final-Recipient: rfc822; bob+1@home.arpa") {
		t.Errorf("bob has %q", box)
	}
}

// Nobody has all places in the queue, and neither do reports.
func TestQueuePlaces(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p, "[limits]", "queue_messages = 10", "queue_person = 5", "queue_stranger = 3", "queue_reports = 4")
	to := rcptsTo(mustAddr(t, "x@far.example"))
	fill := func(account string, report bool) (n int) {
		for range 20 {
			err := qt.bringFor(t, to, func(m *Mail) {
				m.Account, m.Report = account, report
				if report {
					m.From = Addr{}
				}
			})
			switch {
			case err == nil:
				n++
			case !errors.Is(err, ErrQueueFull):
				t.Fatal(err)
			}
		}
		return n
	}
	if n := fill("ann@home.arpa", false); n != 5 {
		t.Errorf("one person has %d places", n)
	}
	if n := fill("net 192.0.2.0/24", false); n != 3 {
		t.Errorf("strangers of one network have %d places", n)
	}
	before := len(qt.queue())
	fill("net 192.0.2.0/24", true)
	fill("net 198.51.100.0/24", true)
	if n := len(qt.queue()) - before; n != 2 { // a twentieth of the places each, and one at least
		t.Errorf("%d reports wait", n)
	}
	for i := range 20 {
		fill(fmt.Sprintf("net 203.0.113.%d/32", i), true)
	}
	if n := len(qt.queue()) - before; n != 4 {
		t.Errorf("%d reports wait", n)
	}
	if n := fill("bob@home.arpa", false); n != 2 {
		t.Errorf("with reports waiting another one has %d places", n)
	}
}

// A copy that does not fit into one of the mailboxes behind an alias is not reported to an address that a stranger gave.
func TestReportsNotToStrangers(t *testing.T) {
	for _, stranger := range []bool{false, true} {
		p := newPeer(t, nil)
		qt := newQueueTest(t, p)
		qt.write(t, func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err == nil {
				u.Quota = 1
				err = tx.UpdateUser(u)
			}
			if err == nil {
				err = tx.AddAlias("all@home.arpa", "ann@home.arpa", "bob@home.arpa")
			}
			return err
		})
		err := qt.bringFor(t, rcptsTo(mustAddr(t, "all@home.arpa")), func(m *Mail) {
			m.Stranger, m.From = stranger, mustAddr(t, "victim@far.example")
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			qt.step()
			qt.forward(time.Hour)
		}
		if got := len(p.received()) > 0; got == stranger {
			t.Errorf("stranger %v: reports %q", stranger, p.received())
		}
		if n := len(qt.inbox(t, "bob@home.arpa")); n != 1 {
			t.Errorf("bob has %d", n)
		}
	}
}

// Reports and automatic answers to what may only go over checked TLS ask for the same. They are not thrown away where the next server
// does not offer it (RFC 8689 §5), so they tell nobody on the way what the message was about.
func TestReportsRequireTLS(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.setRule(t, "bob", PrefVacation, Vacation{On: true, Text: "Away."})
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "x@far.example"), Flags: MailRequireTLS}, To: rcptsTo(mustAddr(t, "bob@home.arpa")), Body: qt.store.NewSpool(1 << 20)}
	m.To[0].Notify = NotifySuccess
	defer m.Body.Close()
	io.WriteString(m.Body, "From: Ann <x@far.example>\r\nTo: bob@home.arpa\r\nMessage-ID: <secretly@far.example>\r\nSubject: secret\r\n\r\nhi\r\n")
	if err := qt.accept(m); err != nil {
		t.Fatal(err)
	}
	items := qt.queue()
	if len(items) != 2 {
		t.Fatalf("queue %+v", items)
	}
	for _, q := range items {
		if q.Flags&MailRequireTLS == 0 {
			t.Errorf("%+v does not ask for TLS", q)
		}
	}
	qt.step()
	all := strings.Join(p.received(), "")
	if len(p.received()) != 2 || strings.Contains(all, "Subject: secret") || strings.Contains(all, "Ann") || strings.Count(all, "<secretly@far.example>") < 2 {
		t.Errorf("went without TLS: %q", p.received())
	}
	if said := strings.Join(p.said(), "\n"); strings.Contains(said, "REQUIRETLS") {
		t.Errorf("a peer without TLS was asked for it: %q", said)
	}
	qt.wantQueue(0)
	m.From = mustAddr(t, "ann@home.arpa") // who is told everything, because nothing leaves
	if err := qt.accept(m); err != nil {
		t.Fatal(err)
	}
	box := qt.inbox(t, "ann@home.arpa")
	if len(box) != 2 || !strings.Contains(strings.Join(box, ""), "Subject: secret") {
		t.Errorf("ann has %q", box)
	}
}
