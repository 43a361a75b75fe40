package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
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
			if known := here.fetched(t, f); len(known) > 1 {
				t.Errorf("remembered %v", known)
			}
		})
	}
}

// fetched lists the names that are remembered of an account.
func (s *testServer) fetched(t *testing.T, f *Fetch) []string {
	t.Helper()
	var names []string
	err := s.store.Read(func(tx *Tx) error {
		return tx.EachFetched(f.Name(), "", func(name string) error { names = append(names, name); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
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
		here.deliver(t, "bob@home.arpa", "Subject: first\r\n\r\n"+strings.Repeat("z", 500)+"\r\n")
		here.setQuota(t, "bob@home.arpa", 1000) // enough for each, and not for both
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
		if a, b := len(away.left(t, "ann@home.arpa")), len(here.inbox(t, "bob@home.arpa")); a != 0 || b != 2 {
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
				waitFor(t, fmt.Sprintf("all to come after a cut at %d (answer %v)", after, answer), func() bool {
					if len(away.left(t, "ann@home.arpa")) == 0 {
						return true
					}
					here.fetch(f) // the old session may hold the maildrop for a moment
					return false
				})
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
		if len(got) != 2 || !strings.Contains(got[1], "Subject: small") {
			t.Fatalf("%s: bob has %q", protocol, got)
		}
		_, body, _ := strings.Cut(got[0], "\r\n\r\n")
		text, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\r\n", ""))
		if err != nil || !strings.Contains(string(text), "Böb") || !strings.Contains(string(text), "    photos\r\n") {
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
	lab := startServer(t, `domains = ["lab.arpa", "home.arpa"]`, "[smtp]", `local_senders = "any"`) // both have home.arpa
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
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Flags: MailRequireTLS}, To: rcptsTo(mustAddr(t, "x@lab.arpa")), Body: hub.store.NewSpool(1 << 20)}
	m.Body.Write([]byte("Subject: checked\r\n\r\nx\r\n"))
	if err := hub.accept(m); err != nil {
		t.Fatal(err)
	}
	m.Body.Close()
	hub.step()
	lab.mustFetch(t, f, 0) // who calls has shown by their login who they are
	hub.wantQueue(0)
	if n := len(lab.inbox(t, "bob@home.arpa")); n != 4 {
		t.Errorf("mail that asks for checked TLS did not go: %d messages", n)
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

// fetchFake is a server that somebody else wrote: say answers each line.
func fetchFake(t *testing.T, greeting string, say func(line string) string) (addr string, heard func() string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var all strings.Builder
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				fmt.Fprint(nc, greeting)
				for sc := bufio.NewScanner(nc); sc.Scan(); {
					mu.Lock()
					all.WriteString(sc.Text() + "\n")
					mu.Unlock()
					answer := say(sc.Text())
					if _, err := io.WriteString(nc, answer); err != nil || answer == "" {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

func fakeMessage(n int, extra string) string {
	return fmt.Sprintf("From: Ann <ann@far.example>\r\nSubject: m%d\r\nMessage-ID: <m%d@far.example>\r\n%s\r\nHello\r\n", n, n, extra)
}

// TestFetchIMAPServers fetches messages 1 to 3 from servers that answer in their own way. No message stops the others, what
// is not here whole is not deleted there, and the person hears once of what stays there.
func TestFetchIMAPServers(t *testing.T) {
	literal := func(name, m string) string { return fmt.Sprintf("%s {%d}\r\n%s", name, len(m), m) }
	second := func(answer string) func(string, int, string) string { // of message 2
		return func(tag string, uid int, m string) string {
			if uid == 2 {
				return strings.ReplaceAll(answer, "TAG", tag)
			}
			return fmt.Sprintf("* %d FETCH (UID %d %s)\r\n%s OK\r\n", uid, uid, literal("BODY[]", m), tag)
		}
	}
	each := func(format string) func(string, int, string) string {
		return func(tag string, uid int, m string) string {
			return strings.NewReplacer("NUM", fmt.Sprint(uid), "LEN", fmt.Sprint(len(m)), "MSG", m, "TAG", tag).Replace(format)
		}
	}
	loop := strings.Repeat("Received: from a by b; Mon, 1 Jun 2026 10:00:00 +0000\r\n", 120)
	for _, c := range []struct {
		name   string
		answer func(tag string, uid int, m string) string
		want   string // subjects that come
		told   int    // notices
		again  int    // times that message 2 is asked for in six sessions
	}{
		{"plain", each("* NUM FETCH (UID NUM BODY[] {LEN}\r\nMSG)\r\nTAG OK\r\n"), "m1 m2 m3", 0, 1},
		{"peek", each("* NUM FETCH (UID NUM BODY.PEEK[] {LEN}\r\nMSG)\r\nTAG OK\r\n"), "m1 m2 m3", 0, 1},
		{"lower", each("* NUM fetch (uid NUM body[] {LEN}\r\nMSG)\r\nTAG ok\r\n"), "m1 m2 m3", 0, 1},
		{"rfc822", each("* NUM FETCH (RFC822 {LEN+}\r\nMSG UID NUM)\r\nTAG OK\r\n"), "m1 m2 m3", 0, 1},
		{"noise", each("* 9 EXISTS\r\n* 1 FETCH (FLAGS (\\Seen) UID 7)\r\n* 5 FETCH (UID 99 BODY[] {3}\r\nabc)\r\n* NUM FETCH (X-NEW (a (b \"c)\") {2}\r\n)( d) UID NUM BODY[] {LEN}\r\nMSG FLAGS ())\r\n* OK {2}\r\nhi there\r\nTAG OK\r\n"), "m1 m2 m3", 0, 1},
		{"quoted", second("* 2 FETCH (UID 2 BODY[] \"Subject: m2\r\n\r\na \\\"b\\\"\r\n\")\r\nTAG OK\r\n"), "m1 m2 m3", 0, 1},
		{"NO", second("TAG NO Server error while fetching messages\r\n"), "m1 m3", 1, fetchTries},
		{"BAD", second("TAG BAD what\r\n"), "m1 m3", 1, fetchTries},
		{"NIL", second("* 2 FETCH (UID 2 BODY[] NIL)\r\nTAG OK\r\n"), "m1 m3", 1, fetchTries},
		{"empty", second("* 2 FETCH (UID 2 BODY[] {0}\r\n)\r\nTAG OK\r\n"), "m1 m3", 1, fetchTries},
		{"empty string", second("* 2 FETCH (UID 2 BODY[] \"\")\r\nTAG OK\r\n"), "m1 m3", 1, fetchTries},
		{"nothing", second("TAG OK done\r\n"), "m1 m3", 1, fetchTries},
		{"another's", second("* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\nTAG OK done\r\n"), "m1 m3", 1, fetchTries},
		{"nonsense", second("* 2 FETCH (UID 2 BODY[] }{)\r\n* 2 FETCH BODY\r\nTAG OK done\r\n"), "m1 m3", 1, fetchTries},
		{"loop", second("* 2 FETCH (UID 2 " + literal("BODY[]", fakeMessage(2, loop)) + ")\r\nTAG OK\r\n"), "m1 m3", 1, 1},
		{"too big", second("* 2 FETCH (UID 2 BODY[] {9999999999}\r\n"), "m1 m3", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := startServer(t)
			addr, heard := fetchFake(t, "* OK\r\n", func(line string) string {
				tag, cmd, _ := strings.Cut(line, " ")
				var uid int
				switch {
				case strings.HasPrefix(cmd, "SELECT"):
					return "* OK [UIDVALIDITY 77] x\r\n" + tag + " OK [READ-WRITE]\r\n"
				case cmd == "CAPABILITY":
					return "* CAPABILITY IMAP4rev1 UIDPLUS\r\n" + tag + " OK\r\n"
				case strings.HasPrefix(cmd, "UID SEARCH"):
					fmt.Sscanf(cmd, "UID SEARCH UID %d:*", &uid)
					found := "* SEARCH"
					for n := max(1, min(uid, 3)); n <= 3; n++ {
						found += fmt.Sprint(" ", n)
					}
					return found + " (MODSEQ 9)\r\n" + tag + " OK\r\n"
				case strings.HasPrefix(cmd, "UID FETCH"):
					fmt.Sscanf(cmd, "UID FETCH %d", &uid)
					return c.answer(tag, uid, fakeMessage(uid, ""))
				}
				return tag + " OK\r\n"
			})
			pass := filepath.Join(t.TempDir(), "password")
			os.WriteFile(pass, []byte("secret"), 0o600)
			f := &Fetch{Protocol: "imap", Server: addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Mailbox: "Entwürfe", Delete: true}
			for range 6 {
				here.fetch(f)
			}
			got, told := "", 0
			for _, m := range here.inbox(t, "bob@home.arpa") {
				if strings.Contains(m, "Auto-Submitted:") {
					told++
					continue
				}
				_, subject, _ := strings.Cut(m, "Subject: ")
				got += strings.TrimSpace(subject[:2]) + " "
			}
			if strings.TrimSpace(got) != c.want || told != c.told {
				t.Errorf("came %q, and %d notices; want %q and %d", got, told, c.want, c.told)
			}
			deletes := map[int64]bool{}
			for _, said := range strings.Split(heard(), "UID STORE ")[1:] {
				set, _, _ := strings.Cut(said, " +FLAGS")
				for _, uid := range fakeSet(set) {
					deletes[uid] = true
				}
			}
			for uid := 1; uid <= 3; uid++ {
				deleted := deletes[int64(uid)]
				if here := strings.Contains(c.want, fmt.Sprint("m", uid)); deleted != here {
					t.Errorf("message %d is here: %v, deleted there: %v", uid, here, deleted)
				}
			}
			if n := strings.Count(heard(), "UID FETCH 2 "); n != c.again {
				t.Errorf("message 2 was asked for %d times, want %d", n, c.again)
			}
			for _, want := range []string{`SELECT "Entw&APw-rfe"`, ` ID ("name" "Postino")`} {
				if !strings.Contains(heard(), want) {
					t.Errorf("never said %q", want)
				}
			}
		})
	}
}

// TestFetchIMAPKept: flags and the date of arrival stay, and other people's marks are not expunged.
func TestFetchIMAPKept(t *testing.T) {
	here := startServer(t)
	addr, heard := fetchFake(t, "* OK\r\n", func(line string) string {
		tag, cmd, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(cmd, "SELECT"):
			return "* OK [UIDVALIDITY 77] x\r\n" + tag + " OK [READ-WRITE]\r\n"
		case cmd == "CAPABILITY":
			return "* CAPABILITY IMAP4rev1 UIDPLUS\r\n" + tag + " OK\r\n"
		case strings.HasPrefix(cmd, "UID SEARCH DELETED"):
			return "* SEARCH 4 5\r\n" + tag + " OK\r\n"
		case strings.HasPrefix(cmd, "UID SEARCH"):
			return "* SEARCH 5\r\n" + tag + " OK\r\n"
		case strings.HasPrefix(cmd, "UID EXPUNGE"):
			return tag + " BAD unknown\r\n"
		case strings.HasPrefix(cmd, "UID FETCH"):
			return "* 1 FETCH (UID 5 FLAGS (\\Seen $Forwarded work \\Recent \\Deleted) INTERNALDATE \" 3-Feb-2020 04:05:06 +0100\" BODY[] {14}\r\nSubject: x\r\n\r\n)\r\n" + tag + " OK\r\n"
		}
		return tag + " OK\r\n"
	})
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("secret"), 0o600)
	here.mustFetch(t, &Fetch{Protocol: "imap", Server: addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Mailbox: "INBOX", Delete: true}, 1)
	if strings.Contains(heard(), " EXPUNGE\n") && !strings.Contains(heard(), "UID EXPUNGE") {
		t.Error("what others had marked was expunged")
	}
	if got := strings.Count(heard(), "EXPUNGE"); got != 1 {
		t.Errorf("EXPUNGE was said %d times, want once, as UID EXPUNGE", got)
	}
	err := here.store.Read(func(tx *Tx) error {
		u, err := tx.UserByName("bob@home.arpa")
		if err != nil {
			return err
		}
		box, err := tx.MailboxByName(u.ID, "INBOX")
		if err != nil {
			return err
		}
		all, err := tx.Newest(box.ID, ^UID(0), 1)
		if err != nil || len(all) != 1 {
			return fmt.Errorf("%d messages, %v", len(all), err)
		}
		flags, date := all[0].Flags.String(), all[0].Internal
		if flags != `(\Seen $Forwarded work)` || date.Unix() != time.Date(2020, 2, 3, 3, 5, 6, 0, time.UTC).Unix() {
			t.Errorf("flags %q, date %v", flags, date)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFetchEndless: a hostile server can't fill the memory, and a long list is read to its end.
func TestFetchEndless(t *testing.T) {
	here := startServer(t)
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("secret"), 0o600)
	f := &Fetch{Protocol: "imap", TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Mailbox: "INBOX"}
	var long strings.Builder
	long.WriteString("* SEARCH")
	for i := range 300_000 {
		fmt.Fprint(&long, " ", int64(4_000_000_000)-int64(i))
	}
	f.Server, _ = fetchFake(t, "* OK\r\n", func(line string) string {
		tag, cmd, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(cmd, "SELECT"):
			return "* OK [UIDVALIDITY 77] x\r\n" + tag + " OK [READ-WRITE]\r\n"
		case strings.HasPrefix(cmd, "UID SEARCH"):
			return long.String() + "\r\n" + tag + " OK\r\n"
		case strings.HasPrefix(cmd, "UID FETCH 3999700"):
			return "* 1 FETCH (BODY[] {14}\r\nSubject: x\r\n\r\n)\r\n" + tag + " OK\r\n"
		case strings.HasPrefix(cmd, "UID FETCH"):
			t.Errorf("asked for %q", cmd)
		}
		return tag + " OK\r\n"
	})
	here.mustFetch(t, f, fetchMost)
	for _, hostile := range []string{"* X " + strings.Repeat("y", 60_000) + "\r\n", "* 1 FETCH (" + strings.Repeat("(", 60_000), "* OK " + strings.Repeat("{", 60_000) + "\r\n"} {
		f.Server, _ = fetchFake(t, "* OK\r\n", func(line string) string {
			return strings.Repeat(hostile, (fetchAnswers+fetchAnswers/2)/len(hostile))
		})
		if n, err := here.fetch(f); n != 0 || err == nil {
			t.Errorf("%.20q: %d, %v", hostile, n, err)
		}
	}
}

// TestFetchPOPServers is the same for POP3.
func TestFetchPOPServers(t *testing.T) {
	plain := map[string]string{"UIDL": "+OK\r\n1 uid1\r\n2 uid2\r\n3 uid3\r\n.\r\n"}
	with := func(cmd, answer string) map[string]string {
		m := maps.Clone(plain)
		m[cmd] = answer
		return m
	}
	for _, c := range []struct {
		name   string
		answer map[string]string
		want   string
		told   int
	}{
		{"plain", plain, "m1 m2 m3", 0},
		{"tabs", with("UIDL", "+OK\r\n1\tuid1\r\n2  uid2\r\n 3 uid3 \r\n.\r\n"), "m1 m2 m3", 0},
		{"bare LF", with("UIDL", "+OK\n1 uid1\n2 uid2\n3 uid3\n.\n"), "m1 m2 m3", 0},
		{"the same id", with("UIDL", "+OK\r\n1 same\r\n2 same\r\n3 same\r\n.\r\n"), "m1 m2 m3", 0},
		{"no id", with("UIDL", "+OK\r\n1 uid1\r\n2\r\n3 \r\n.\r\n"), "m1 m2 m3", 0},
		{"long ids", with("UIDL", "+OK\r\n1 "+strings.Repeat("a", 3000)+"1\r\n2 "+strings.Repeat("a", 3000)+"2\r\n3 uid3\r\n.\r\n"), "m1 m2 m3", 0},
		{"no UIDL", with("UIDL", "-ERR not implemented\r\n"), "m1 m2 m3", 0},
		{"no messages", map[string]string{"UIDL": "-ERR no messages\r\n", "LIST": "-ERR no messages\r\n"}, "", 0},
		{"refused", with("RETR 2", "-ERR internal error\r\n"), "m1 m3", 1},
		{"empty", with("RETR 2", "+OK\r\n.\r\n"), "m1 m3", 1},
		{"loop", with("RETR 2", "+OK\r\n"+fakeMessage(2, strings.Repeat("Received: from a by b; Mon, 1 Jun 2026 10:00:00 +0000\r\n", 120))+".\r\n"), "m1 m3", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := startServer(t)
			addr, heard := fetchFake(t, "+OK\r\n", func(line string) string {
				var n int
				answer, ok := c.answer[line]
				switch {
				case ok:
					return answer
				case line == "LIST":
					return "+OK\r\n1 100\r\n2 100\r\n3 100\r\n.\r\n"
				case strings.HasPrefix(line, "TOP "):
					fmt.Sscanf(line, "TOP %d", &n)
					return "+OK\r\n" + strings.TrimSuffix(fakeMessage(n, ""), "Hello\r\n") + ".\r\n"
				case strings.HasPrefix(line, "RETR "):
					fmt.Sscanf(line, "RETR %d", &n)
					return "+OK\r\n" + fakeMessage(n, "") + ".\r\n"
				}
				return "+OK\r\n"
			})
			pass := filepath.Join(t.TempDir(), "password")
			os.WriteFile(pass, []byte("secret"), 0o600)
			f := &Fetch{Protocol: "pop3", Server: addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa"}
			for range 6 {
				if _, err := here.fetch(f); err != nil {
					t.Fatal(err)
				}
			}
			f.Delete = true
			if _, err := here.fetch(f); err != nil {
				t.Fatal(err)
			}
			got, told := "", 0
			for _, m := range here.inbox(t, "bob@home.arpa") {
				if strings.Contains(m, "Auto-Submitted:") {
					told++
					continue
				}
				_, subject, _ := strings.Cut(m, "Subject: ")
				got += strings.TrimSpace(subject[:2]) + " "
			}
			if strings.TrimSpace(got) != c.want || told != c.told {
				t.Errorf("came %q, and %d notices; want %q and %d", got, told, c.want, c.told)
			}
			for n := 1; n <= 3; n++ {
				deleted := strings.Contains(heard(), fmt.Sprintf("DELE %d\n", n))
				if here := strings.Contains(c.want, fmt.Sprint("m", n)); deleted != here {
					t.Errorf("message %d is here: %v, deleted there: %v", n, here, deleted)
				}
			}
		})
	}
}
