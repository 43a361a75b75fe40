package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// smtpTalk is a client for tests.
type smtpTalk struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (s *testServer) talk(t testing.TB, service string) *smtpTalk {
	t.Helper()
	c, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := newTalk(t, c)
	k.want(220)
	return k
}

func newTalk(t testing.TB, c net.Conn) *smtpTalk { return &smtpTalk{t, c, bufio.NewReader(c)} }

// reply reads a reply; 0 when the connection has ended.
func (k *smtpTalk) reply() (code int, text string) {
	k.SetReadDeadline(time.Now().Add(testPatience))
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			return 0, ""
		}
		text += line[4:]
		if line[3] == ' ' {
			fmt.Sscanf(line, "%d", &code)
			return code, text
		}
	}
}

func (k *smtpTalk) want(code int) string {
	k.t.Helper()
	got, text := k.reply()
	if got != code {
		k.t.Fatalf("reply %d %s, not %d", got, text, code)
	}
	return text
}

func (k *smtpTalk) cmd(line string, code int) string {
	k.t.Helper()
	io.WriteString(k, line+"\r\n")
	return k.want(code)
}

// begin goes up to the 354.
func (k *smtpTalk) begin(from string, to ...string) {
	k.t.Helper()
	k.cmd("EHLO client.example", 250)
	k.cmd("MAIL FROM:<"+from+">", 250)
	for _, a := range to {
		k.cmd("RCPT TO:<"+a+">", 250)
	}
	k.cmd("DATA", 354)
}

// smuggled are the ends that some server somewhere took for the end of a message.
var smuggled = []string{"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n"}

// TestSMTPSmuggling sends a false end and a second envelope behind it, cut into two writes at every place: there must
// never be two messages, and never one for bob.
func TestSMTPSmuggling(t *testing.T) {
	s := startServer(t, "[limits]", "per_address = 200")
	for _, v := range smuggled {
		content := "Subject: a\r\n\r\nbody" + v + "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@home.arpa>\r\nDATA\r\nSubject: b\r\n\r\nevil\r\n.\r\nQUIT\r\n"
		cut := strings.Index(content, v)
		for at := cut; at <= cut+len(v); at++ {
			before := len(s.inbox(t, "ann@home.arpa"))
			k := s.talk(t, "smtp")
			k.begin("x@example.com", "ann@home.arpa")
			io.WriteString(k, content[:at])
			time.Sleep(time.Millisecond)
			io.WriteString(k, content[at:])
			io.ReadAll(k.r)
			k.Close()
			if n := len(s.inbox(t, "ann@home.arpa")) - before; n > 1 || n == 1 && !strings.ContainsRune(v, 0) {
				t.Errorf("%q cut at %d: %d messages", v, at, n)
			}
		}
	}
	if n := len(s.inbox(t, "bob@home.arpa")); n != 0 {
		t.Errorf("bob got %d smuggled messages", n)
	}
}

// TestSMTPDots feeds dot-stuffed text in pieces of every size.
func TestSMTPDots(t *testing.T) {
	const text = "..a\r\n.b\r\n\r\n...\r\nc.\r\n.\r\nRSET\r\n"
	const want = ".a\r\nb\r\n\r\n..\r\nc.\r\n"
	s := startServer(t)
	for size := 1; size < len(text); size++ {
		in := &smtpIncoming{spool: s.store.NewSpool(1000)}
		d := smtpDots{in: in, start: true}
		used, end := 0, smtpNoEnd
		for used < len(text) && end == smtpNoEnd {
			var n int
			n, end = d.feed([]byte(text[used:min(len(text), used+size)]))
			used += n
		}
		got, _ := io.ReadAll(io.NewSectionReader(in.spool, 0, in.spool.Size()))
		if string(got) != want || end != smtpTrueEnd || text[used:] != "RSET\r\n" || in.bare {
			t.Fatalf("size %d: %q, end %d, rest %q", size, got, end, text[used:])
		}
	}
}

// TestSMTPDotWriter never lets a bare CR or LF out, whatever it is fed and however the pieces are cut (CVE-2023-51764).
func TestSMTPDotWriter(t *testing.T) {
	for _, v := range append(smuggled, "\r\n.\r\n", ".", "", "a", "a\r", "a\n", "\n", "\r", "\r\r\n", "..", "\r\n") {
		text := "x" + v + "y"
		for cut := 0; cut <= len(text); cut++ {
			var b bytes.Buffer
			d := smtpDotWriter{w: bufio.NewWriter(&b)}
			d.Write([]byte(text[:cut]))
			d.Write([]byte(text[cut:]))
			d.end()
			d.w.Flush()
			out := b.String()
			if rest := strings.ReplaceAll(out, "\r\n", ""); strings.ContainsAny(rest, "\r\n") || strings.Count(out, "\r\n.\r\n") != 1 || !strings.HasSuffix(out, "\r\n.\r\n") {
				t.Errorf("%q cut at %d became %q", text, cut, out)
			}
		}
	}
}

// TestSMTPStored looks at what reaches the mailbox.
func TestSMTPStored(t *testing.T) {
	s := startServer(t)
	k := s.talk(t, "submission")
	k.cmd("EHLO [127.0.0.1]", 250)
	k.cmd("AUTH PLAIN AGFubgBzZWNyZXQ=", 235)
	k.cmd("MAIL FROM:<ann@home.arpa>", 250)
	k.cmd("RCPT TO:<bob+x@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd("Subject: bare\r\n\r\n..\r\n.", 250)
	k.cmd("QUIT", 221)
	got := s.inbox(t, "bob@home.arpa")
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	for _, want := range []string{"Return-Path: <ann@home.arpa>\r\nReceived: from [127.0.0.1] ([127.0.0.1])\r\n\tby mx.home.arpa with ESMTPA id ",
		"\r\n\tfor <bob+x@home.arpa>; ", "\r\nMessage-ID: <", "\r\nDate: ", "\r\nFrom: ann@home.arpa\r\n", "\r\nTo: undisclosed-recipients:;\r\n",
		"\r\nSubject: bare\r\n\r\n.\r\n"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %q in %q", want, got[0])
		}
	}
}

// TestSMTPNoHeader: a message that is only a body stays one, below our fields.
func TestSMTPNoHeader(t *testing.T) {
	s := startServer(t)
	k := s.talk(t, "smtp")
	k.begin("x@example.com", "ann@home.arpa")
	k.cmd("just words: or are they\r\nand more words\r\n.", 250)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd(".", 250)
	got := s.inbox(t, "ann@home.arpa")
	if len(got) != 2 || !strings.HasSuffix(got[0], "\r\n\r\njust words: or are they\r\nand more words\r\n") {
		t.Errorf("stored %q", got)
	}
}

func (s *testServer) write(t testing.TB, fn func(*Tx) error) {
	t.Helper()
	if err := s.store.Write(fn); err != nil {
		t.Fatal(err)
	}
}

func TestRouteAliases(t *testing.T) {
	s := startServer(t, "domains = [\"home.arpa\", \"two.arpa\"]")
	s.write(t, func(tx *Tx) error {
		err := errors.Join(
			tx.AddAlias("all@home.arpa", "ann@home.arpa", "bob@home.arpa", "x@far.example"),
			tx.AddAlias("nested@home.arpa", "all@home.arpa", "ann+n@home.arpa", "gone@home.arpa"),
			tx.AddAlias("loop@home.arpa", "pool@home.arpa"), tx.AddAlias("pool@home.arpa", "loop@home.arpa"),
			tx.AddAlias("dead@home.arpa", "gone@home.arpa"),
			tx.AddAlias("@two.arpa", "bob@home.arpa"))
		for i := range 12 {
			err = errors.Join(err, tx.AddAlias(fmt.Sprintf("d%d@home.arpa", i), fmt.Sprintf("d%d@home.arpa", i+1)))
		}
		err = errors.Join(err, tx.AddAlias("d12@home.arpa", "ann@home.arpa"))
		for i := range maxAliasTargets + 1 {
			err = errors.Join(err, tx.AddAlias("many@home.arpa", fmt.Sprintf("m%d@far.example", i)))
		}
		u, e := tx.AddUser(Addr{"off", "home.arpa"}, "", false)
		u.Disabled = true
		return errors.Join(err, e, tx.UpdateUser(u))
	})
	for _, c := range []struct{ addr, want string }{
		{"ann@home.arpa", "ann@home.arpa"},
		{"ann+a+b@home.arpa", "ann@home.arpa"},
		{"ANN@HOME.ARPA", "ann@home.arpa"},
		{"all+tag@home.arpa", "ann@home.arpa bob@home.arpa x@far.example"},
		{"nested@home.arpa", "ann@home.arpa bob@home.arpa x@far.example"},
		{"anything@two.arpa", "bob@home.arpa"},
		{"ann@mx.home.arpa", "ann@home.arpa"},
		{"ann@[127.0.0.1]", "ann@home.arpa"},
		{"postmaster@two.arpa", "bob@home.arpa"},
		{"postmaster@home.arpa", "ann@home.arpa"},
		{"POSTMASTER@home.arpa", "ann@home.arpa"},
		{"d3@home.arpa", "ann@home.arpa"},
		{"x@far.example", "x@far.example"},
		{"d0@home.arpa", errAliasLoop.Error()},
		{"loop@home.arpa", errAliasLoop.Error()},
		{"dead@home.arpa", errNoUser.Error()},
		{"+x@home.arpa", errNoUser.Error()},
		{"many@home.arpa", errAliasMany.Error()},
		{"off@home.arpa", errDisabled.Error()},
	} {
		r, err := s.resolve(mustAddr(t, c.addr))
		var got []string
		if err != nil {
			got = append(got, err.Error())
		} else {
			for _, u := range r.users {
				got = append(got, u.Name)
			}
			for _, a := range r.remote {
				got = append(got, a.String())
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s leads to %q, not %q", c.addr, got, c.want)
		}
	}
}

// TestRouteFollows: where an address leads is remembered, and forgotten with every change to what it depends on; what
// another process changes counts soon.
func TestRouteFollows(t *testing.T) {
	s := startServer(t)
	leads := func(addr string) string {
		r, err := s.resolve(mustAddr(t, addr))
		if err != nil {
			return err.Error()
		}
		got := ""
		for _, u := range r.users {
			got += fmt.Sprintf("%s/%d/%v ", u.Name, u.Quota, r.rules[u.ID] != nil)
		}
		for _, a := range r.remote {
			got += a.String() + " "
		}
		return got
	}
	var eve User
	for _, step := range []struct {
		what string
		do   func(tx *Tx) error
		addr string
		want string
	}{
		{"no user", nil, "eve@home.arpa", errNoUser.Error()},
		{"an alias", func(tx *Tx) error { return tx.AddAlias("eve@home.arpa", "ann@home.arpa") }, "eve@home.arpa", "ann@home.arpa/0/false "},
		{"a second target", func(tx *Tx) error { return tx.AddAlias("eve@home.arpa", "bob@home.arpa") }, "eve@home.arpa", "ann@home.arpa/0/false bob@home.arpa/0/false "},
		{"one target less", func(tx *Tx) error { return tx.RemoveAlias("eve@home.arpa", "ann@home.arpa") }, "eve@home.arpa", "bob@home.arpa/0/false "},
		{"no alias", func(tx *Tx) error { return tx.RemoveAlias("eve@home.arpa") }, "eve@home.arpa", errNoUser.Error()},
		{"a catch-all", func(tx *Tx) error { return tx.AddAlias("@home.arpa", "ann@home.arpa") }, "eve@home.arpa", "ann@home.arpa/0/false "},
		{"a user", func(tx *Tx) (err error) { eve, err = tx.AddUser(Addr{"eve", "home.arpa"}, "", false); return err }, "eve@home.arpa", "eve@home.arpa/0/false "},
		{"a failed change", func(tx *Tx) error { return errors.Join(tx.RemoveUser(eve.ID), errNothing) }, "eve@home.arpa", "eve@home.arpa/0/false "},
		{"a quota", func(tx *Tx) error { eve.Quota = 1000; return tx.UpdateUser(eve) }, "eve@home.arpa", "eve@home.arpa/1000/false "},
		{"forwarding", func(tx *Tx) error {
			return tx.SetPreference(eve.ID, PrefForward, Forward{To: []string{"x@far.example"}, Keep: true})
		}, "eve@home.arpa", "eve@home.arpa/1000/true x@far.example "},
		{"no forwarding", func(tx *Tx) error { return tx.SetPreference(eve.ID, PrefForward, nil) }, "eve+x@home.arpa", "eve@home.arpa/1000/false "},
		{"disabled", func(tx *Tx) error { eve.Disabled = true; return tx.UpdateUser(eve) }, "eve+x@home.arpa", errDisabled.Error()},
		{"removed", func(tx *Tx) error { return tx.RemoveUser(eve.ID) }, "eve+x@home.arpa", "ann@home.arpa/0/false "},
	} {
		if step.do != nil {
			if err := s.store.Write(step.do); err != nil && !errors.Is(err, errNothing) {
				t.Fatalf("%s: %v", step.what, err)
			}
		}
		for range 2 { // found, and remembered
			if got := leads(step.addr); got != step.want {
				t.Errorf("after %s %s leads to %q, not %q", step.what, step.addr, got, step.want)
			}
		}
	}
	other, err := OpenStore(s.store.path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	mustWrite(t, other, func(tx *Tx) error { return tx.RemoveAlias("@home.arpa") })
	waitFor(t, "what another process has changed to count", func() bool { return leads("eve@home.arpa") == errNoUser.Error() })
	for i := range maxKnown + 10 {
		leads(fmt.Sprintf("ann+%d@home.arpa", i))
	}
	if n := len(s.store.known); n == 0 || n > maxKnown {
		t.Errorf("%d addresses are remembered", n)
	}
}

func (s *testServer) setQuota(t *testing.T, user string, quota int64) {
	t.Helper()
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName(user)
		u.Quota = quota
		return errors.Join(err, tx.UpdateUser(u))
	})
}

// TestSMTPQuota: a full mailbox is refused in the session, and never makes the others of a message wait.
func TestSMTPQuota(t *testing.T) {
	s := startServer(t)
	s.setQuota(t, "ann@home.arpa", 3000)
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 35)
	k := s.talk(t, "smtp")
	k.begin("x@example.com", "ann@home.arpa")
	k.cmd("Subject: fits\r\n\r\n"+body+".", 250)
	k.cmd("MAIL FROM:<x@example.com> SIZE=2600", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 452)
	k.cmd("RCPT TO:<bob@home.arpa>", 250)
	k.cmd("RSET", 250)
	k.cmd("MAIL FROM:<x@example.com> SIZE=5000", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 552)
	k.cmd("RSET", 250)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd("Subject: no room\r\n\r\n"+body+".", 452)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 250)
	k.cmd("RCPT TO:<bob@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd("Subject: room for one\r\n\r\n"+body+".", 250)
	if a, b := len(s.inbox(t, "ann@home.arpa")), len(s.inbox(t, "bob@home.arpa")); a != 1 || b != 1 {
		t.Errorf("ann has %d, bob %d", a, b)
	}
	var items []QueueItem
	s.store.Read(func(tx *Tx) (err error) { items, err = tx.Queue(""); return err })
	if len(items) != 1 || len(items[0].Rcpts) != 1 || items[0].Rcpts[0].Address != "ann@home.arpa" {
		t.Fatalf("queue %+v", items)
	}
	// Room is made, and the waiting copy comes in.
	s.setQuota(t, "ann@home.arpa", 0)
	s.write(t, func(tx *Tx) error { _, err := tx.QueueRetry(""); return err })
	waitFor(t, "the waiting copy", func() bool { return len(s.inbox(t, "ann@home.arpa")) == 2 })
}

// TestLMTPQuota: in LMTP the full mailbox gets its own reply, and nothing waits.
func TestLMTPQuota(t *testing.T) {
	s := startServer(t)
	s.deliver(t, "ann@home.arpa", "Subject: first\r\n\r\n"+strings.Repeat("y", 200)+"\r\n")
	s.setQuota(t, "ann@home.arpa", 500) // enough for each of two, and not for both
	k := s.talk(t, "lmtp")
	k.cmd("LHLO front", 250)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 250)
	k.cmd("RCPT TO:<bob@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd("Subject: x\r\n\r\n"+strings.Repeat("y", 200)+"\r\n.", 452) // full for now: it would fit into an empty one
	k.want(250)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd("Subject: can never fit\r\n\r\n"+strings.Repeat(strings.Repeat("y", 70)+"\r\n", 10)+".", 552)
	var n int
	s.store.Read(func(tx *Tx) (err error) { n, err = tx.QueueLength(); return err })
	if n != 0 || len(s.inbox(t, "bob@home.arpa")) != 1 {
		t.Errorf("%d in the queue, bob has %d", n, len(s.inbox(t, "bob@home.arpa")))
	}
}

// TestSMTPLimits: recipients, Received fields, header size, and too many refusals.
func TestSMTPLimits(t *testing.T) {
	s := startServer(t, "[limits]", "recipients = 3", "received = 5")
	k := s.talk(t, "smtp")
	k.cmd("EHLO c", 250)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	for range 3 {
		k.cmd("RCPT TO:<ann@home.arpa>", 250)
	}
	k.cmd("RCPT TO:<bob@home.arpa>", 452)
	k.cmd("DATA", 354)
	k.cmd(strings.Repeat("Received: by x\r\n", 5)+"\r\nloop\r\n.", 554)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	k.cmd("RCPT TO:<ann@home.arpa>", 250)
	k.cmd("DATA", 354)
	k.cmd("Subject: x\r\n"+strings.Repeat("X-Big: "+strings.Repeat("y", 900)+"\r\n", 1200)+"\r\nbody\r\n.", 552)
	k.cmd("MAIL FROM:<x@example.com>", 250)
	for range smtpMaxRefused - 2 { // the header was one
		k.cmd("RCPT TO:<no@home.arpa>", 550)
	}
	k.cmd("RCPT TO:<no@home.arpa>", 421)
	if code, _ := k.reply(); code != 0 {
		t.Errorf("still there: %d", code)
	}
	if n := len(s.inbox(t, "ann@home.arpa")); n != 0 {
		t.Errorf("ann got %d", n)
	}
}

// TestSMTPBreaksOff: what a client had sent when its connection broke is no message, wherever that is: it sends all of it again.
func TestSMTPBreaksOff(t *testing.T) {
	s := startServer(t, "[limits]", "per_address = 200")
	const dots = "DATA\r\nSubject: x\r\n\r\nhalf of it\r\n.\r\n"
	const chunks = "BDAT 15\r\nSubject: x\r\n\r\nyBDAT 12 LAST\r\nhalf of it\r\n"
	for _, content := range []string{dots, chunks} {
		for cut := range len(content) {
			k := s.talk(t, "smtp")
			k.cmd("EHLO c", 250)
			k.cmd("MAIL FROM:<x@example.com>", 250)
			k.cmd("RCPT TO:<ann@home.arpa>", 250)
			if now := min(cut, len("DATA\r\n")); content == dots {
				io.WriteString(k, content[:now])
				if now == len("DATA\r\n") {
					k.want(354)
					io.WriteString(k, content[now:cut])
				}
			} else {
				io.WriteString(k, content[:cut])
			}
			k.Conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, k.r)
			if n := len(s.inbox(t, "ann@home.arpa")); n != 0 {
				t.Fatalf("%q became a message", content[:cut])
			}
		}
	}
}

// TestSMTPOneCopy: a recipient named twice, and by an alias too, gets one copy.
func TestSMTPOneCopy(t *testing.T) {
	s := startServer(t)
	s.write(t, func(tx *Tx) error { return tx.AddAlias("us@home.arpa", "ann@home.arpa", "bob@home.arpa") })
	k := s.talk(t, "smtp")
	k.begin("x@example.com", "ann@home.arpa", "us@home.arpa", "ann+x@home.arpa")
	k.cmd("Subject: x\r\n\r\nx\r\n.", 250)
	if a, b := len(s.inbox(t, "ann@home.arpa")), len(s.inbox(t, "bob@home.arpa")); a != 1 || b != 1 {
		t.Errorf("ann has %d, bob %d", a, b)
	}
}

// TestSMTPLongLine: a command without end does not fill the memory, and one that ends goes by.
func TestSMTPLongLine(t *testing.T) {
	s := startServer(t)
	k := s.talk(t, "smtp")
	k.cmd("EHLO c", 250)
	k.cmd("NOOP "+strings.Repeat("x", 2*smtpLine), 500)
	k.cmd("NOOP", 250)
	go func() {
		chunk := bytes.Repeat([]byte("y"), 64<<10)
		for range 1000 {
			if _, err := k.Write(chunk); err != nil {
				return
			}
		}
	}()
	k.want(500)
	if code, _ := k.reply(); code != 0 {
		t.Errorf("still there: %d", code)
	}
}

// TestSMTPLoop has two servers whose aliases lead to each other: the sender gets one report, and it stops.
func TestSMTPLoop(t *testing.T) {
	t.Run("rounds", testSMTPRounds)
	a, b := startPair(t, "[limits]", "received = 6")
	a.write(t, func(tx *Tx) error { return tx.AddAlias("ping@a.arpa", "pong@b.arpa") })
	b.write(t, func(tx *Tx) error { return tx.AddAlias("pong@b.arpa", "ping@a.arpa") })
	k := a.talk(t, "smtp")
	k.begin("ann@home.arpa", "ping@a.arpa")
	k.cmd("Subject: round\r\n\r\nx\r\n.", 250)
	waitFor(t, "the report, and for the end of it", func() bool { return len(a.inbox(t, "ann@home.arpa")) > 0 && a.waiting()+b.waiting() == 0 })
	got := a.inbox(t, "ann@home.arpa")
	if len(got) != 1 || !strings.Contains(got[0], "Status: 5.4.6") {
		t.Errorf("ann got %q", got)
	}
}

// startPair starts two servers, for a.arpa (and home.arpa) and for b.arpa, with routes to each other.
func startPair(t *testing.T, config ...string) (a, b *testServer) {
	t.Helper()
	la, lb := freeAddr(t), freeAddr(t)
	a = startServer(t, append([]string{"domains = [\"a.arpa\", \"home.arpa\"]", "[routes]", fmt.Sprintf("\"b.arpa\" = %q", lb)}, config...)...)
	b = startServer(t, append([]string{"domains = [\"b.arpa\"]", "[routes]", fmt.Sprintf("\".\" = %q", la)}, config...)...)
	a.listenOn(t, la)
	b.listenOn(t, lb)
	return a, b
}

// Two people who forward to each other and keep a copy get a message three times, and not thirty.
func testSMTPRounds(t *testing.T) {
	a, b := startPair(t)
	forward := func(s *testServer, who, to string) {
		s.write(t, func(tx *Tx) error {
			u, err := tx.UserByName(who)
			return errors.Join(err, tx.SetPreference(u.ID, PrefForward, Forward{To: []string{to}, Keep: true}))
		})
	}
	b.write(t, func(tx *Tx) error { _, err := tx.AddUser(Addr{"eve", "b.arpa"}, "", false); return err })
	forward(a, "ann@home.arpa", "eve@b.arpa")
	forward(b, "eve@b.arpa", "ann@home.arpa")
	k := a.talk(t, "smtp")
	k.begin("bob@home.arpa", "ann@home.arpa")
	k.cmd("Subject: round\r\n\r\nx\r\n.", 250)
	waitFor(t, "the report", func() bool { return len(a.inbox(t, "bob@home.arpa")) > 0 })
	// Other servers' hops for the same person do not count.
	k.begin("x@far.example", "bob@home.arpa")
	k.cmd(strings.Repeat("Received: from q by mx.far.example with ESMTP id 1\r\n\tfor <bob@home.arpa>; Tue, 24 Nov 2026 10:00:00 +0000\r\n", 5)+"Subject: hops\r\n\r\nx\r\n.", 250)
	report, ann, eve := a.inbox(t, "bob@home.arpa"), a.inbox(t, "ann@home.arpa"), b.inbox(t, "eve@b.arpa")
	if len(report) != 2 || !strings.Contains(report[0], "Status: 5.4.6") {
		t.Errorf("bob got %q", report)
	}
	if len(ann) != maxRounds || len(eve) != maxRounds {
		t.Errorf("ann has %d copies, eve %d", len(ann), len(eve))
	}
}

// freeAddr returns an address where nobody listens yet. It is none of those that the kernel gives to whoever asks for any, or for
// none, or a connection of somebody else could have it before it is used.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 14000+rand.IntN(6000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// listenOn has a server take mail on one more address.
func (s *testServer) listenOn(t *testing.T, addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range services {
		if services[i].name == "smtp" {
			go s.serve(l, &services[i])
		}
	}
}

// TestSMTPForgives: errors between good mails do not add up, and what is pipelined behind a MAIL that was put off is no error.
func TestSMTPForgives(t *testing.T) {
	s := startServer(t)
	say := func(nc net.Conn, r *bufio.Reader, text string, want ...string) {
		t.Helper()
		io.WriteString(nc, text)
		for _, w := range want {
			line, err := r.ReadString('\n')
			for err == nil && len(line) > 3 && line[3] == '-' {
				line, err = r.ReadString('\n')
			}
			if !strings.HasPrefix(line, w) {
				t.Fatalf("%q: %q, %v; want %s", text, line, err, w)
			}
		}
	}
	nc, r, _ := dialService(t, s, "smtp")
	say(nc, r, "EHLO x\r\n", "250")
	for range 4 {
		for range smtpMaxBad - 1 {
			say(nc, r, "MAIL FROM:<x@elsewhere.example> XUNKNOWN=1\r\n", "555")
		}
		say(nc, r, "MAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<nobody@home.arpa>\r\nRCPT TO:<ann@home.arpa>\r\nDATA\r\n", "250", "550", "250", "354")
		say(nc, r, "Subject: x\r\n\r\nx\r\n.\r\n", "250")
	}
	for range smtpMaxBad - 1 {
		say(nc, r, "BOO\r\n", "500")
	}
	say(nc, r, "BOO\r\n", "421")

	c := &smtpConn{conn: &conn{srv: s.Server, log: s.log}}
	for range 3 * smtpMaxBad {
		c.judge("MAIL", smtpReply{code: 452})
		for _, verb := range []string{"RCPT", "RCPT", "DATA"} {
			if got := c.judge(verb, smtpReply{code: 503}); got.code != 503 {
				t.Fatalf("%s behind a MAIL that was put off: %v", verb, got)
			}
		}
	}
	if got := (&smtpConn{role: smtpLMTP}).noRecipient(); got.code != 503 { // RFC 2033 §4.2
		t.Errorf("LMTP's content for nobody: %v", got)
	}
	c.judge("MAIL", smtpReply{code: 501})
	for range 3 * smtpMaxBad {
		c.judge("RCPT", smtpReply{code: 503})
	}
	if !c.quit {
		t.Error("nonsense behind a MAIL that was refused is never enough")
	}
}

// TestSMTPOddSenders: what telephones and old scanners call themselves is taken, and who logs in may name the machine by its address.
func TestSMTPOddSenders(t *testing.T) {
	s := startServer(t, "[[device]]", `name = "scanner"`, `network = "127.0.0.9"`, `[[device]]`, `name = "camera"`, `network = "127.0.0.10"`, `sender = "camera@home.arpa"`)
	for _, c := range []struct{ ip, from, to, want string }{
		{"127.0.0.1", "a..b@docomo.example", "ann@home.arpa", "250"},
		{"127.0.0.1", "a.@docomo.example", "ann@home.arpa", "250"},
		{"127.0.0.1", ".a@docomo.example", "ann@home.arpa", "250"},
		{"127.0.0.1", "scanner", "ann@home.arpa", "501"},
		{"127.0.0.9", "scanner", "ann", "250"},
		{"127.0.0.10", "HP LaserJet", "ann", "501"},
		{"127.0.0.10", "camera", "ann", "250"},
	} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.ip)}}
		nc, err := d.Dial("tcp", s.addr["smtp"])
		if err != nil {
			skip(t, err)
		}
		fmt.Fprintf(nc, "HELO x\r\n")
		r := bufio.NewReader(nc)
		got := ""
		for i, text := range []string{"", "", "MAIL FROM:<" + c.from + ">", "RCPT TO:<" + c.to + ">"} {
			if i > 1 {
				fmt.Fprintf(nc, "%s\r\n", text)
			}
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got = line
			if i > 1 && line[0] != '2' {
				break
			}
		}
		nc.Close()
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s from %s: %q, want %s", c.from, c.ip, got, c.want)
		}
	}
	if a, _, err := ParsePath("<a..b@docomo.example>"); err != nil || a.Path() != `<"a..b"@docomo.example>` {
		t.Errorf("as a path: %s, %v", a.Path(), err)
	}
	for name, want := range map[string]string{"ann@[127.0.0.1]": "ann@home.arpa", "ann@[192.0.2.77]": "ann@[192.0.2.77]"} {
		if got, _ := s.auth.loginKey(name); got != want {
			t.Errorf("login as %s: %s", name, got)
		}
	}
}
