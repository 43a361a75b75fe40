package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fetchTest is an account elsewhere, ann's, and a server that fetches from it for bob.
func fetchTest(t *testing.T, protocol, service, tls string) (away, here *testServer, f *Fetch) {
	away, here = startServer(t), startServer(t)
	pass := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(pass, []byte("secret\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = &Fetch{Protocol: protocol, Server: away.addr[service], TLS: tls, AnyCert: true, User: "ann", PasswordFile: pass, To: "bob@home.arpa"}
	if err := f.check(here.cfg); err != nil {
		t.Fatal(err)
	}
	return away, here, f
}

func (s *testServer) deliver(t *testing.T, to, content string) {
	t.Helper()
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "x@example.com")}, To: rcptsTo(mustAddr(t, to)), Body: s.store.NewSpool(1 << 20)}
	defer m.Body.Close()
	fmt.Fprint(m.Body, content)
	if err := s.accept(m); err != nil {
		t.Fatal(err)
	}
}

func (s *testServer) mustFetch(t *testing.T, f *Fetch, want int) {
	t.Helper()
	if n, err := s.fetch(f); n != want || err != nil {
		t.Fatalf("fetched %d, not %d: %v", n, want, err)
	}
}

func TestFetch(t *testing.T) {
	for _, c := range []struct{ protocol, service, tls string }{
		{"pop3", "pop3", "starttls"}, {"pop3", "pop3s", "tls"}, {"pop3", "pop3", "none"}, {"imap", "imap", ""}, {"imap", "imaps", "tls"}, {"imap", "imap", "none"},
	} {
		if testing.Short() && c.tls == "none" {
			continue
		}
		t.Run(c.service+c.tls, func(t *testing.T) {
			away, here, f := fetchTest(t, c.protocol, c.service, c.tls)
			for i := range 3 {
				away.deliver(t, "ann@home.arpa", fmt.Sprintf("Subject: %d {5}\r\n\r\n.dot\r\n..\r\n* 1 FETCH (BODY[] {3}\r\nend\r\n", i))
			}
			here.mustFetch(t, f, 3)
			here.mustFetch(t, f, 0)
			got := here.inbox(t, "bob@home.arpa")
			if len(got) != 3 || !strings.HasSuffix(got[2], "Subject: 2 {5}\r\n\r\n.dot\r\n..\r\n* 1 FETCH (BODY[] {3}\r\nend\r\n") || !strings.HasPrefix(got[0], "Return-Path: <x@example.com>\r\n") {
				t.Errorf("bob has %q", got)
			}
			f.Delete = true
			away.deliver(t, "ann@home.arpa", "Subject: last\r\n\r\n")
			here.mustFetch(t, f, 1)
			if n := len(away.left(t, "ann@home.arpa")); c.protocol == "pop3" && n != 0 || c.protocol == "imap" && n != 3 {
				t.Errorf("%d left there", n)
			}
			here.mustFetch(t, f, 0)
			var known map[string]bool
			here.store.Read(func(tx *Tx) (err error) { known, err = tx.Fetched(f.Name()); return err })
			if len(known) > 1 {
				t.Errorf("remembered %v", known)
			}
		})
	}
}

// left lists the messages that are not expunged.
func (s *testServer) left(t *testing.T, user string) (uids []UID) {
	t.Helper()
	err := s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByName(user)
		if err != nil {
			return err
		}
		m, err := tx.MailboxByName(u.ID, "INBOX")
		if err == nil {
			uids, _, err = tx.UIDs(m.ID, nil)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return uids
}

// TestFetchFaults: a full mailbox or a wrong password loses nothing, and the password needs TLS.
func TestFetchFaults(t *testing.T) {
	for _, protocol := range []string{"pop3", "imap"} {
		away, here, f := fetchTest(t, protocol, protocol, "starttls")
		f.Delete = true
		away.deliver(t, "ann@home.arpa", "Subject: x\r\n\r\n"+strings.Repeat("y", 500)+"\r\n")
		here.setQuota(t, "bob@home.arpa", 100)
		if n, err := here.fetch(f); n != 0 || !errors.Is(err, ErrQuota) {
			t.Errorf("%s: %d, %v", protocol, n, err)
		}
		here.setQuota(t, "bob@home.arpa", 0)
		f.AnyCert = false
		if n, err := here.fetch(f); n != 0 || err == nil || !strings.Contains(err.Error(), "TLS: ") {
			t.Errorf("%s: %d, %v", protocol, n, err)
		}
		f.AnyCert = true
		os.WriteFile(f.PasswordFile, []byte("wrong"), 0o600)
		var no *fetchRefusal
		if n, err := here.fetch(f); n != 0 || !errors.As(err, &no) {
			t.Errorf("%s: %d, %v", protocol, n, err)
		}
		os.WriteFile(f.PasswordFile, []byte("secret"), 0o600)
		here.mustFetch(t, f, 1)
		if a, b := len(away.left(t, "ann@home.arpa")), len(here.inbox(t, "bob@home.arpa")); a != 0 || b != 1 {
			t.Errorf("%s: %d there, %d here", protocol, a, b)
		}
	}
}

var fetchCutStep = flag.Int("cutstep", 7, "octets from one cut of TestFetchCut to the next")

// TestFetchCut cuts sessions that bring two messages and delete them, after any octet of what the server says and of what
// it is told: nothing comes twice and nothing is lost. With `-cutstep 1` after every octet.
func TestFetchCut(t *testing.T) {
	for _, protocol := range []string{"pop3", "imap"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			away, here, f := fetchTest(t, protocol, protocol, "none")
			f.Delete = true
			k := newCutter(t, f.Server)
			f.Server = k.addr
			var all []string
			round := func(after int, answer bool) (said, heard int) {
				for range 2 {
					all = append(all, fmt.Sprintf("<%d@cut>", len(all)))
					away.deliver(t, "ann@home.arpa", "Message-ID: "+all[len(all)-1]+"\r\n\r\n.x\r\n")
				}
				k.set(after, answer)
				_, err := here.fetch(f)
				if said, heard = k.count(); after < 0 && err != nil {
					t.Fatal(err)
				}
				k.set(-1, false)
				for tries := 0; len(away.left(t, "ann@home.arpa")) > 0; tries++ {
					if _, err := here.fetch(f); tries > 20 { // the old session may hold the maildrop for a moment
						t.Fatalf("after a cut at %d (answer %v): %v", after, answer, err)
					}
				}
				return said, heard
			}
			said, heard := round(-1, false)
			step := *fetchCutStep
			if testing.Short() {
				step = 61
			}
			for n := 0; n < said; n += step {
				round(n, false)
			}
			for n := 0; n < heard; n += step {
				round(n, true)
			}
			have := storedIDs(t, here.store)
			for _, id := range all {
				if have[id] != 1 {
					t.Errorf("%s came %d times", id, have[id])
				}
			}
			t.Logf("%d octets said, %d heard, %d messages", said, heard, len(all))
		})
	}
}

// TestFetchBig: a message that is too big here stays there, is told of once, and does not keep the others back; neither does
// one that the server does not give.
func TestFetchBig(t *testing.T) {
	for _, protocol := range []string{"pop3", "imap"} {
		away, here, f := fetchTest(t, protocol, protocol, "starttls")
		f.Delete = true
		here.cfg.Limits.Message = 100_000
		away.deliver(t, "ann@home.arpa", "From: =?utf-8?Q?B=C3=B6b?= <b@far.example>\r\nSubject: photos\r\n\r\n"+strings.Repeat(strings.Repeat("y", 78)+"\r\n", 2000)+"\r\n")
		away.deliver(t, "ann@home.arpa", "Subject: small\r\n\r\n")
		for range 3 {
			if _, err := here.fetch(f); err != nil {
				t.Fatal(err)
			}
		}
		got := here.inbox(t, "bob@home.arpa")
		if len(got) != 2 || !strings.Contains(got[0], "Böb") || !strings.Contains(got[0], "    photos\r\n") || !strings.Contains(got[1], "Subject: small") {
			t.Errorf("%s: bob has %q", protocol, got)
		}
		if left := away.left(t, "ann@home.arpa"); len(left) != 1 || left[0] != 1 {
			t.Errorf("%s: left there %v", protocol, left)
		}
	}
}

// TestFetchNonsense: servers that talk rubbish are an error, soon.
func TestFetchNonsense(t *testing.T) {
	for _, c := range []struct{ protocol, say string }{
		{"pop3", ""}, {"pop3", "-ERR no\r\n"}, {"pop3", "+OK\r\n+OK\r\n+OK\r\n+OK\r\nx y\r\n.\r\n"}, {"pop3", strings.Repeat("x", 100_000)},
		{"imap", "* BYE\r\n"}, {"imap", "* OK\r\nf1 NO\r\n"}, {"imap", "* OK\r\nf1 OK\r\nf2 OK\r\n"}, {"imap", "* OK {99999999999}\r\n"},
		{"imap", "* OK\r\nf1 OK\r\n* OK [UIDVALIDITY 1]\r\nf2 OK\r\n* SEARCH 1\r\nf3 OK\r\n* 1 FETCH (BODY[] {9}\r\nabc"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			nc, err := l.Accept()
			if err == nil {
				fmt.Fprint(nc, c.say)
				nc.Close()
			}
		}()
		_, here, f := fetchTest(t, c.protocol, c.protocol, "none")
		f.Server = l.Addr().String()
		if n, err := here.fetch(f); n != 0 || err == nil {
			t.Errorf("%s %q: %d, %v", c.protocol, c.say, n, err)
		}
		l.Close()
	}
}

// TestATRN has a board behind a link call for its mail, and ETRN have it sent.
func TestATRN(t *testing.T) {
	p := newPeer(t, nil)
	hub := newQueueTest(t, p)
	lab := startServer(t, `domains = ["lab.arpa", "home.arpa"]`)
	lab.write(t, func(tx *Tx) error { return tx.AddAlias("x@lab.arpa", "bob@home.arpa") })
	hub.cfg.Routes = map[string]Route{"lab.arpa": {Caller: "ann@home.arpa", Intermittent: true}, "etrn.arpa": {Hosts: []string{p.addr()}, Intermittent: true}}
	hub.Server.mu.Lock()
	hub.turn = hub.q.turn
	hub.Server.mu.Unlock()
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("secret"), 0o600)
	f := &Fetch{Protocol: "atrn", Server: hub.addr["submission"], AnyCert: true, User: "ann", PasswordFile: pass, Domains: []string{"lab.arpa"}}
	lab.mustFetch(t, f, 0) // nothing waits
	for range 3 {
		hub.submit("ann@home.arpa", "x@lab.arpa")
	}
	hub.submit("ann@home.arpa", "no@lab.arpa")
	hub.step()
	hub.wantQueue(4)
	lab.mustFetch(t, f, 0)
	if n := len(lab.inbox(t, "bob@home.arpa")); n != 3 {
		t.Errorf("%d messages came", n)
	}
	hub.wantQueue(0)
	if box := hub.inbox(t, "ann@home.arpa"); len(box) != 1 || !strings.Contains(box[0], "Status: 5.1.1") {
		t.Errorf("reports %q", box)
	}
	f.Domains = []string{"other.arpa"}
	if _, err := lab.fetch(f); err == nil || !strings.Contains(err.Error(), "450 4.7.1") {
		t.Errorf("another's mail: %v", err)
	}

	hub.submit("ann@home.arpa", "x@etrn.arpa")
	hub.step()
	f = &Fetch{Protocol: "etrn", Server: hub.addr["smtp"], Domains: []string{"etrn.arpa"}}
	lab.mustFetch(t, f, 0)
	hub.step()
	hub.wantQueue(0)
	if p.count("RCPT TO:<x@etrn.arpa>") != 1 {
		t.Errorf("ETRN did not help: %q", p.said())
	}
}
