package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// smtpStates is how a connection gets into each state before the fuzzed octets come.
var smtpStates = []struct{ service, say string }{
	{"smtp", ""},
	{"smtp", "EHLO c\r\n"},
	{"smtp", "HELO c\r\n"},
	{"smtp", "EHLO c\r\nMAIL FROM:<x@example.com>\r\n"},
	{"smtp", "EHLO c\r\nMAIL FROM:<x@example.com> SMTPUTF8\r\nRCPT TO:<ann@home.arpa>\r\n"},
	{"smtp", "EHLO c\r\nMAIL FROM:<x@example.com>\r\nRCPT TO:<ann@home.arpa>\r\nDATA\r\n"},
	{"smtp", "EHLO c\r\nMAIL FROM:<x@example.com>\r\nRCPT TO:<ann@home.arpa>\r\nBDAT 3\r\nabc"},
	{"submission", "EHLO c\r\nAUTH LOGIN\r\n"},
	{"submission", "EHLO c\r\nAUTH SCRAM-SHA-256\r\n"},
	{"submission", "EHLO c\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"},
	{"lmtp", "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<ann@home.arpa>\r\nRCPT TO:<bob@home.arpa>\r\nDATA\r\n"},
}

// FuzzSMTPServer throws octets at the server in each state. Whatever comes, all replies are well-formed lines, and the
// connection ends when the client has said all.
func FuzzSMTPServer(f *testing.F) {
	for i := range smtpStates {
		for _, s := range []string{"QUIT\r\n", "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME\r\nRCPT TO:<ann@home.arpa>\r\n", "Subject: x\r\n\r\n..\r\n.\r\nNOOP\r\n",
			"BDAT 5 LAST\r\nhello\r\n", "\n.\n", "STARTTLS\r\n", "*\r\n", "biwsbj1hbm4scj1hYmM=\r\n", "\x00\xff\r\r\n", "ETRN @lab.arpa\r\nETRN #x\r\nETRN far.arpa\r\n", "ATRN\r\n", "ATRN lab.arpa, b.lab.arpa\r\n", "MAIL FROM:<a@b> BY=+9;RT HOLDFOR=5 REQUIRETLS RET=FULL ENVID=x\r\nRCPT TO:<ann@home.arpa> NOTIFY=DELAY ORCPT=rfc822;a+2B\r\n", "VRFY \"a b\"\r\nHELP\r\nEXPN\r\n"} {
			f.Add(uint8(i), []byte(s))
		}
	}
	s := startServer(f, "[limits]", "connections = 100000", "per_address = 100000", "per_user = 100000", "logins_minute = 100000000", "logins_day = 100000000", `message = "64KB"`,
		"[routes]", `"lab.arpa" = { caller = "ann@home.arpa" }`, `"b.lab.arpa" = { caller = "ann@home.arpa" }`, `"far.arpa" = "127.0.0.1:9"`)
	s.auth.stop = closedChannel() // no growing delays
	f.Fuzz(func(t *testing.T, state uint8, in []byte) {
		st := smtpStates[int(state)%len(smtpStates)]
		ours, theirs := net.Pipe()
		for i := range services {
			if services[i].name == st.service {
				s.admit(theirs, &services[i])
			}
		}
		ours.SetDeadline(time.Now().Add(testPatience))
		said := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(ours)
			said <- string(b)
		}()
		for _, part := range []string{st.say, string(in)} {
			for _, line := range strings.SplitAfter(part, "\n") {
				io.WriteString(ours, line)
			}
		}
		io.WriteString(ours, "\r\n.\r\nQUIT\r\n")
		var out string
		select {
		case out = <-said:
		case <-time.After(time.Second): // it waits for more: a chunk, an answer
			ours.Close()
			out = <-said
		}
		ours.Close()
		for _, l := range strings.SplitAfter(out, "\r\n") {
			if l == "" || strings.Contains(strings.ToUpper(string(in)), "STARTTLS") {
				continue
			}
			text := strings.TrimSuffix(l, "\r\n")
			if text == l && strings.HasSuffix(out, l) {
				continue // cut off by us
			}
			if len(text) < 4 || text[0] < '2' || text[0] > '5' || text[3] != ' ' && text[3] != '-' || strings.ContainsAny(text, "\r\n\x00") {
				t.Fatalf("reply %q to %q after %q", l, in, st.say)
			}
		}
	})
}

func closedChannel() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// FuzzSMTPClient has a hostile server answer our client: it must end with an error or with replies, and soon.
func FuzzSMTPClient(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-x\r\n250-PIPELINING\r\n250 SIZE 10\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n221 bye\r\n",
		"220 hi\r\n500 what\r\n250 helo\r\n250 ok\r\n550 no\r\n250 rset\r\n",
		"220-a\r\n220-b\r\n221 c\r\n", "421 bye\r\n", "220 hi\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n", "99\r\n", "2\r\n", "\r\n", "220",
		"220 hi\r\n250-x\r\n250 PIPELINING\r\n250 ok\r\n550 no\r\n354 go\r\n554 empty\r\n250 rset\r\n",
		"220 hi\r\n" + strings.Repeat("250-x\r\n", 200),
		"220 " + strings.Repeat("x", 5000) + "\r\n",
	} {
		f.Add([]byte(s))
	}
	st := startServer(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		go func() {
			theirs.SetDeadline(time.Now().Add(testPatience / 4))
			theirs.Write(in)
			theirs.Close()
		}()
		s := &Server{cfg: st.cfg, store: st.store, log: st.log, stop: st.stop,
			dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := s.smtpSession(hopAddr{host: "peer.example", addr: "192.0.2.1:25"}, false)
			if err != nil {
				return
			}
			defer c.quit()
			m := &smtpOut{mail: "MAIL FROM:<a@b>", rcpts: []string{"RCPT TO:<c@d>", "RCPT TO:<e@f>"},
				body: func(w io.Writer) error { _, err := io.WriteString(w, "Subject: x\r\n\r\n.x\r\n"); return err }}
			replies, _ := c.send(m)
			if len(replies) != 2 {
				t.Errorf("%d replies", len(replies))
			}
			for _, r := range replies {
				if r.code != 0 && (r.code < 200 || r.code > 599) || len(r.text) > smtpReplyText || strings.ContainsAny(r.text, "\r\x00") {
					t.Errorf("reply %d %q", r.code, r.text)
				}
				if e := r.enhanced(); r.code != 0 && (len(e) < 5 || len(e) > 9) {
					t.Errorf("enhanced %q", e)
				}
			}
		}()
		select {
		case <-done:
		case <-time.After(testPatience):
			t.Fatalf("the client hangs at %q", in)
		}
	})
}

// FuzzSMTPDots: what is read back from what was written is the same, and ends where it should.
func FuzzSMTPDots(f *testing.F) {
	for _, s := range append(smuggled, "", "a\r\n.b\r\n", "\r\n.\r\n", "...") {
		f.Add([]byte(s), 3)
	}
	st := startServer(f)
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		d := smtpDotWriter{w: w}
		size = max(1, size)
		for rest := content; len(rest) > 0; {
			n := min(size, len(rest))
			d.Write(rest[:n])
			rest = rest[n:]
		}
		d.end()
		w.WriteString("NEXT")
		w.Flush()
		in := &smtpIncoming{spool: st.store.NewSpool(1 << 20)}
		defer in.spool.Close()
		r := smtpDots{in: in, start: true}
		n, end := r.feed([]byte(b.String()))
		if end != smtpTrueEnd || b.String()[n:] != "NEXT" || in.bare {
			t.Fatalf("%q was sent as %q: end %d, rest %q", content, b.String(), end, b.String()[n:])
		}
		got, _ := io.ReadAll(io.NewSectionReader(in.spool, 0, in.spool.Size()))
		want := strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(string(content), "\r\n", "\n"), "\r", "\n"), "\n", "\r\n")
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if string(got) != want {
			t.Fatalf("%q came as %q", content, got)
		}
	})
}
