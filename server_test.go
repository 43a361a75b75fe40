package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(nc)
	line, err := r.ReadString('\n')
	if err != nil {
		tb.Fatalf("%s: %v", service, err)
	}
	return nc, r, line
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
		for i := 0; ; i++ {
			_, _, line := dialService(t, s, "smtp")
			if strings.HasPrefix(line, "220") {
				break
			}
			if i > 100 {
				t.Fatalf("%s: no room after one ended: %q", config, line)
			}
			time.Sleep(20 * time.Millisecond)
		}
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
		line := ""
		for i := 0; i < 20 && !strings.HasPrefix(line, want); i++ { // those that went have to be gone
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			var nc net.Conn
			nc, _, line = dialService(t, s, service)
			nc.Close()
		}
		if !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q", service, line)
		}
	}
	fmt.Fprintf(user, "c NOOP\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "c OK") {
		t.Errorf("who was logged in heard %q, %v", line, err)
	}
	for i := range 2 * webMaxConns {
		silentFrom(t, 2+i%100, s.addr["http"], "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	}
	nc, err := net.Dial("tcp", s.addr["http"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(webHeaderTimeout / 2))
	fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if line, err := bufio.NewReader(nc).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Errorf("http: %q, %v", line, err)
	}
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
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		block := bytes.Repeat([]byte("A"), 64<<10)
		sent := 0
		for ; sent < 256<<20; sent += len(block) {
			nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := nc.Write(block); err != nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if sent >= 256<<20 {
			t.Errorf("%s took %d octets without a line end", service, sent)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
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
