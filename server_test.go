package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dialService connects and reads the greeting.
func dialService(tb testing.TB, s *testServer, service string) (net.Conn, *bufio.Reader, string) {
	tb.Helper()
	nc, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testPatience))
	r := bufio.NewReader(nc)
	line, err := r.ReadString('\n')
	if err != nil {
		tb.Fatalf("%s: %v", service, err)
	}
	return nc, r, line
}

// greeting connects and returns the first line, "" if the connection had to go again at once.
func greeting(t *testing.T, s *testServer, service string) string {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testPatience))
	line, _ := bufio.NewReader(nc).ReadString('\n')
	return line
}

// Too many connections are turned away in the protocol's own words, and there is room again when one ends.
func TestConnectionLimits(t *testing.T) {
	for _, config := range []string{"connections = 3", "per_address = 3"} {
		s := startServer(t, "[limits]", config)
		var open []net.Conn
		for range 3 {
			nc, _, _ := dialService(t, s, "imap")
			open = append(open, nc)
		}
		for service, want := range map[string]string{"smtp": "421 4.7.0 Too many", "pop3": "-ERR [SYS/TEMP] Too many", "imap": "* BYE [UNAVAILABLE] Too many"} {
			_, r, line := dialService(t, s, service)
			if !strings.HasPrefix(line, want) {
				t.Errorf("%s, %s: %q", config, service, line)
			}
			if _, err := r.ReadString('\n'); err != io.EOF {
				t.Errorf("%s, %s: the connection stays open: %v", config, service, err)
			}
		}
		open[0].Close()
		waitFor(t, config+": room after one ended", func() bool {
			_, _, line := dialService(t, s, "smtp")
			return strings.HasPrefix(line, "220")
		})
	}
}

// silentFrom opens a connection from one of loopback's other addresses, sends what is given, and says no more.
func silentFrom(t *testing.T, from int, to, text string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(from))}}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		skip(t, err) // only Linux has all of 127.0.0.0/8
	}
	t.Cleanup(func() { nc.Close() })
	io.WriteString(nc, text)
}

// Many silent connections from many addresses keep nobody out: the newcomer gets the place of one of them, and never of
// somebody who is logged in.
func TestRoomForNewcomers(t *testing.T) {
	s := startServer(t, "[limits]", "connections = 20", "per_address = 3")
	user, in, _ := dialService(t, s, "imap")
	for _, text := range []string{"a LOGIN ann@home.arpa secret", "b NOOP"} {
		fmt.Fprintf(user, "%s\r\n", text)
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line[1:], " OK") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	for i := range 60 {
		silentFrom(t, 2+i%30, s.addr[[]string{"smtp", "pop3", "imap", "imaps", "submission"}[i%5]], "")
	}
	for service, want := range map[string]string{"smtp": "220 ", "pop3": "+OK ", "imap": "* OK "} {
		waitFor(t, "a place on "+service, func() bool { return strings.HasPrefix(greeting(t, s, service), want) }) // those that went have to be gone
	}
	fmt.Fprintf(user, "c NOOP\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "c OK") {
		t.Errorf("who was logged in heard %q, %v", line, err)
	}
	waitFor(t, "a place on http", func() bool { // a busy machine may take longer for one answer
		for i := range 2 * webMaxConns {
			silentFrom(t, 2+i%100, s.addr["http"], "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		}
		nc, err := net.Dial("tcp", s.addr["http"])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(webHeaderTimeout / 2)) // or it would be theirs that makes room
		fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		line, _ := bufio.NewReader(nc).ReadString('\n')
		return strings.HasPrefix(line, "HTTP/1.1 200")
	})
}

// On the ports where people log in, silence ends after a minute, however many commands came before it.
func TestLoginTime(t *testing.T) {
	s := startServer(t)
	at := time.Now().Add(-loginTimeout + time.Second)
	sub := &smtpConn{conn: &conn{srv: s.Server, started: at}, role: smtpSubmit}
	mx := &smtpConn{conn: sub.conn}
	imap := &imapConn{conn: sub.conn, state: imapNotAuth}
	for name, c := range map[string]struct {
		got  time.Duration
		long bool
	}{"submission": {sub.patience(), false}, "smtp": {mx.patience(), true}, "imap": {imap.timeLimit(imapIdle), false}} {
		if long := c.got > time.Second; long != c.long {
			t.Errorf("%s waits for %v", name, c.got)
		}
	}
	sub.user = &User{}
	if d := sub.patience(); d != smtpIdle {
		t.Errorf("who has logged in is given %v", d)
	}
}

// A stranger who says something all the time and never brings mail is sent away, and only them.
func TestSMTPBarren(t *testing.T) {
	s := startServer(t)
	now := time.Now()
	for name, c := range map[string]struct {
		c    smtpConn
		idle bool
	}{
		"at first":    {smtpConn{conn: &conn{srv: s.Server, started: now}}, true},
		"barren":      {smtpConn{conn: &conn{srv: s.Server, started: now.Add(-smtpBarren)}}, false},
		"brought":     {smtpConn{conn: &conn{srv: s.Server, started: now.Add(-smtpBarren)}, brought: now}, true},
		"long ago":    {smtpConn{conn: &conn{srv: s.Server, started: now.Add(-2 * smtpBarren)}, brought: now.Add(-smtpBarren)}, false},
		"in front":    {smtpConn{conn: &conn{srv: s.Server, started: now.Add(-smtpBarren)}, role: smtpLMTP}, true},
		"our own":     {smtpConn{conn: &conn{srv: s.Server, started: now.Add(-smtpBarren)}, user: &User{}}, true},
		"not yet our": {smtpConn{conn: &conn{srv: s.Server, started: now}, role: smtpSubmit}, false},
	} {
		if d := c.c.patience(); d > smtpIdle-time.Minute != c.idle {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// Somebody who is logged in does not count against the address: a family behind one router has many phones.
func TestPerAddressLoggedIn(t *testing.T) {
	s := startServer(t, "[limits]", "per_address = 2")
	for i := range 6 {
		nc, r, line := dialService(t, s, "imap")
		if !strings.HasPrefix(line, "* OK") {
			t.Fatalf("connection %d: %q", i, line)
		}
		fmt.Fprintf(nc, "a LOGIN ann@home.arpa secret\r\n")
		for !strings.HasPrefix(line, "a ") {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.HasPrefix(line, "a OK") {
			t.Fatal(line)
		}
	}
}

// A line without end costs no memory and ends the connection.
func TestEndlessLine(t *testing.T) {
	s := startServer(t)
	for _, service := range []string{"smtp", "pop3", "imap"} {
		nc, r, _ := dialService(t, s, service)
		block := bytes.Repeat([]byte("A"), 64<<10)
		sent := 0
		grown := heapPeak(func() {
			for ; sent < 256<<20; sent += len(block) {
				nc.SetWriteDeadline(time.Now().Add(testPatience))
				if _, err := nc.Write(block); err != nil {
					break
				}
			}
		})
		if sent >= 256<<20 {
			t.Errorf("%s took %d octets without a line end", service, sent)
		}
		if grown > 8<<20 {
			t.Errorf("%s: %d octets of heap", service, grown)
		}
		io.Copy(io.Discard, r)
	}
}

// Stopping ends idle connections at once, and what is under way is finished.
func TestShutdown(t *testing.T) {
	s := startServer(t)
	var readers []*bufio.Reader
	for _, service := range []string{"smtp", "pop3", "imap"} {
		_, r, _ := dialService(t, s, service)
		readers = append(readers, r)
	}
	start := time.Now()
	s.Shutdown()
	if d := time.Since(start); d > stopTimeout {
		t.Errorf("it took %v", d)
	}
	for _, r := range readers {
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("after the stop: %v", err)
		}
	}
}

// Deliveries, readers and a backup at the same time never see a busy or locked file.
func TestContention(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	until := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for n := 0; time.Now().Before(until); n++ {
				appendText(t, st, inbox, fmt.Sprintf("Subject: %d.%d\r\n\r\n%s", i, n, strings.Repeat("x", 4000)), Flags{})
			}
		})
	}
	for range 20 {
		wg.Go(func() {
			for time.Now().Before(until) {
				var last BlobID
				mustRead(t, st, func(tx *Tx) error {
					return tx.Messages(inbox.ID, 1, ^UID(0), func(m *Message) error { last = m.Blob; return nil })
				})
				if last == 0 {
					continue
				}
				c, err := st.Content(last)
				if err == nil {
					_, err = io.Copy(io.Discard, c.Reader())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := 0; time.Now().Before(until); i++ {
			path := filepath.Join(t.TempDir(), fmt.Sprint(i))
			if err := st.Backup(path); err != nil {
				t.Error(err)
			}
			os.Remove(path)
		}
	})
	wg.Wait()
	checkStore(t, st)
}

// logIMAP opens a connection and logs a user in; the answer is the tagged one.
func logIMAP(t *testing.T, s *testServer, user string) (net.Conn, *bufio.Reader, string) {
	t.Helper()
	nc, r, line := dialService(t, s, "imap")
	fmt.Fprintf(nc, "a LOGIN %s@home.arpa secret\r\n", user)
	for !strings.HasPrefix(line, "a ") {
		var err error
		line, err = r.ReadString('\n')
		if err != nil {
			return nc, r, ""
		}
	}
	return nc, r, line
}

// TestPerUser: one person has only so many connections; a silent one of theirs makes room, and nobody else's.
func TestPerUser(t *testing.T) {
	s := startServer(t, "[limits]", "per_user = 3").hasty()
	first, in, _ := logIMAP(t, s, "ann")
	for range 2 {
		if _, _, line := logIMAP(t, s, "ann"); !strings.HasPrefix(line, "a OK") {
			t.Fatal(line)
		}
	}
	if _, _, line := logIMAP(t, s, "ann"); !strings.HasPrefix(line, "a NO [LIMIT]") {
		t.Errorf("a fourth while all are busy: %q", line)
	}
	if s.tryLogin(t, "pop3", "ann", "secret") || s.tryLogin(t, "submission", "ann", "secret") {
		t.Error("POP3 and SMTP do not count")
	}
	if _, _, line := logIMAP(t, s, "bob"); !strings.HasPrefix(line, "a OK") {
		t.Errorf("somebody else: %q", line)
	}
	s.mu.Lock()
	for c := range s.conns {
		if c.raw.RemoteAddr().String() == first.LocalAddr().String() {
			c.asked = time.Now().Add(-roomSilent - time.Second)
		}
	}
	s.mu.Unlock()
	if _, _, line := logIMAP(t, s, "ann"); !strings.HasPrefix(line, "a OK") {
		t.Errorf("a fourth beside a silent one: %q", line)
	}
	if _, err := io.Copy(io.Discard, in); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent one: %v", err)
	}
}

// TestRoomForStrangers: those who are logged in leave places on port 25, and the one with the most makes room for others.
func TestRoomForStrangers(t *testing.T) {
	s := startServer(t, "[limits]", "connections = 10", "per_user = 100").hasty()
	for range 30 {
		logIMAP(t, s, "ann")
	}
	for _, service := range []string{"smtp", "imap"} {
		waitFor(t, "a place on "+service, func() bool {
			line := greeting(t, s, service)
			return strings.HasPrefix(line, "220") || strings.HasPrefix(line, "* OK")
		})
	}
	waitFor(t, "a place for bob beside ann's thirty", func() bool {
		_, _, line := logIMAP(t, s, "bob")
		return strings.HasPrefix(line, "a OK")
	})
}

// TestProxyHeader: a proxy's word on where a connection comes from is believed, nobody else's is, and nonsense ends it.
func TestProxyHeader(t *testing.T) {
	v2 := func(family byte, body string) string {
		return string(proxySignature) + "\x21" + string([]byte{family, 0, byte(len(body))}) + body
	}
	for name, c := range map[string]struct{ send, want string }{
		"version 1":        {"PROXY TCP4 192.0.2.7 10.0.0.1 1234 25\r\n", "192.0.2.7"},
		"version 1, IPv6":  {"PROXY TCP6 2001:db8::7 2001:db8::1 1234 25\r\n", "2001:db8::7"},
		"unknown":          {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"version 2":        {v2(0x11, "\xc0\x00\x02\x08\x0a\x00\x00\x01\x04\xd2\x00\x19"), "192.0.2.8"},
		"with more":        {v2(0x11, "\xc0\x00\x02\x09\x0a\x00\x00\x01\x04\xd2\x00\x19\x03\x00\x01x"), "192.0.2.9"},
		"version 2, local": {string(proxySignature) + "\x20\x00\x00\x00", "127.0.0.1"},
		"none":             {"EHLO x\r\n", "127.0.0.1"},
		"silent":           {"", "127.0.0.1"},
		"a command":        {"PING\r\n", "127.0.0.1"},
		"nonsense":         {"PROXY TCP4 here there 1 2\r\n", ""},
		"long":             {"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		"cut":              {string(proxySignature) + "\x21\x11\xff\xff", ""},
	} {
		ours, theirs := net.Pipe()
		go func() {
			io.WriteString(theirs, c.send)
		}()
		from := netip.MustParseAddrPort("127.0.0.1:5")
		got := ""
		if nc, err := behindProxy(&proxiedConn{Conn: ours, r: bufio.NewReader(ours), from: net.TCPAddrFromAddrPort(from)}); err == nil {
			got = remoteAddr(nc).String()
		}
		if got != c.want {
			t.Errorf("%s: from %q, want %q", name, got, c.want)
		}
		ours.Close()
		theirs.Close()
	}
	s := startServer(t, "[http]", `proxies = ["127.0.0.1"]`, "[relay]", `networks = ["192.0.2.7"]`)
	nc, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testPatience))
	io.WriteString(nc, "PROXY TCP4 192.0.2.7 10.0.0.1 1234 25\r\n")
	r := bufio.NewReader(nc)
	for _, x := range [][2]string{{"", "220"}, {"HELO x", "250"}, {"MAIL FROM:<a@elsewhere.example>", "250"}, {"RCPT TO:<b@elsewhere.example>", "250"}} {
		if x[0] != "" {
			fmt.Fprintf(nc, "%s\r\n", x[0])
		}
		if line, err := r.ReadString('\n'); !strings.HasPrefix(line, x[1]) {
			t.Errorf("%s: %q, %v", x[0], line, err)
		}
	}
}

// TestForwardedFor: only what our own proxies add counts.
func TestForwardedFor(t *testing.T) {
	s := startServer(t, "[http]", `proxies = ["127.0.0.1", "10.0.0.0/8"]`)
	for _, c := range []struct{ from, field, want string }{
		{"192.0.2.1", "203.0.113.5", "192.0.2.1"},
		{"127.0.0.1", "", "127.0.0.1"},
		{"127.0.0.1", "203.0.113.5", "203.0.113.5"},
		{"127.0.0.1", "198.51.100.1, 203.0.113.5", "203.0.113.5"},
		{"127.0.0.1", "198.51.100.1, 203.0.113.5, 10.1.2.3", "203.0.113.5"},
		{"127.0.0.1", "203.0.113.5:4711", "203.0.113.5"},
		{"127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"},
		{"127.0.0.1", "unknown", "127.0.0.1"},
	} {
		if got := s.forwardedFor(netip.MustParseAddr(c.from), []string{c.field}).String(); got != c.want {
			t.Errorf("%s for %q: %s, want %s", c.from, c.field, got, c.want)
		}
	}
}

// TestLogFlood: what one network causes fills no log, others' lines go on, and so do those of mail that was taken.
func TestLogFlood(t *testing.T) {
	var out bytes.Buffer
	floods := newLogFloods()
	bad := slog.New(floods.of(slog.NewTextHandler(&out, nil), netip.MustParsePrefix("192.0.2.7/32"))).With("conn", 1)
	for range 10 * floodLines {
		bad.Info("nonsense")
	}
	bad.Info("message taken")
	slog.New(floods.of(slog.NewTextHandler(&out, nil), netip.MustParsePrefix("192.0.2.8/32"))).Info("another")
	if n := strings.Count(out.String(), "nonsense"); n < floodLines || n > 2*floodLines { // a minute may end in between
		t.Errorf("%d lines", n)
	}
	for _, want := range []string{"left out", "message taken", "another"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line with %q", want)
		}
	}
}
