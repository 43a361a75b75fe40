package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is a scripted mail server on the far side of the queue.
type peer struct {
	t    *testing.T
	l    net.Listener
	ehlo string // lines of the answer to EHLO after the first, divided by "\n"

	// answer gives the reply to a line ("<data>" stands for the end of the content, "<connect>" for the connection).
	// "" is the usual one, "cut" closes the connection.
	answer func(line string) string

	mu    sync.Mutex
	conns int
	lines []string // all commands, "<data>" for content
	mails []string // content as it came, dots and all
}

func newPeer(t *testing.T, answer func(string) string) *peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &peer{t: t, l: l, answer: answer, ehlo: "PIPELINING\n8BITMIME\nSIZE 1000000"}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *peer) addr() string { return p.l.Addr().String() }

func (p *peer) say(line string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	if p.answer != nil {
		return p.answer(line)
	}
	return ""
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	p.conns++
	p.mu.Unlock()
	r := bufio.NewReader(c)
	reply := func(line, usual string) (sent string) {
		a := p.say(line)
		if a == "" {
			a = usual
		}
		if a != "cut" {
			io.WriteString(c, a+"\r\n")
		}
		return a
	}
	last := reply("<connect>", "220 peer.example ready")
	for last != "cut" && !strings.HasPrefix(last, "421") {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			ext := strings.Split("peer.example\n"+p.ehlo, "\n")
			usual := ""
			for _, e := range ext[:len(ext)-1] {
				usual += "250-" + e + "\r\n"
			}
			last = reply(line, usual+"250 "+ext[len(ext)-1])
		case "DATA":
			if last = reply(line, "354 go"); !strings.HasPrefix(last, "354") {
				continue
			}
			body, err := readUntilDot(r)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.mails = append(p.mails, body)
			p.mu.Unlock()
			last = reply("<data>", "250 2.0.0 taken")
		case "QUIT":
			reply(line, "221 bye")
			return
		default:
			last = reply(line, "250 2.0.0 OK")
		}
	}
}

func readUntilDot(r *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		l, err := r.ReadString('\n')
		if err != nil || l == ".\r\n" {
			return body.String(), err
		}
		body.WriteString(l)
	}
}

// count says how many commands began with prefix.
func (p *peer) count(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// queueTest is a server without a running queue, a clock to turn, and a runner to step.
type queueTest struct {
	*testServer
	t   *testing.T
	q   *queueRunner
	mu  sync.Mutex
	off time.Duration
}

func newQueueTest(t *testing.T, p *peer, config ...string) *queueTest {
	qt := &queueTest{t: t}
	start := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	opt := StoreOptions{Now: func() time.Time {
		qt.mu.Lock()
		defer qt.mu.Unlock()
		return start.Add(qt.off)
	}}
	config = append([]string{"[routes]", fmt.Sprintf(`"." = %q`, p.addr())}, config...)
	qt.testServer = openServer(t, filepath.Join(t.TempDir(), "mail.db"), opt, config...)
	qt.q = newQueueRunner(qt.Server)
	return qt
}

// forward turns the clock.
func (qt *queueTest) forward(d time.Duration) {
	qt.mu.Lock()
	defer qt.mu.Unlock()
	qt.off += d
}

// step does what is due and waits until it is done.
func (qt *queueTest) step() {
	qt.t.Helper()
	qt.q.pass()
	qt.q.wg.Wait()
}

// submit has ann send a message.
func (qt *queueTest) submit(from string, to ...string) string {
	qt.t.Helper()
	m := &Mail{Body: qt.store.NewSpool(1 << 20), Submitted: true}
	if from != "" {
		m.From = mustAddr(qt.t, from)
	}
	for _, a := range to {
		m.To = append(m.To, Rcpt{Addr: mustAddr(qt.t, a)})
	}
	defer m.Body.Close()
	io.WriteString(m.Body, "Subject: hello\r\nFrom: ann@home.arpa\r\n\r\nhi\r\n.dot\r\n")
	if err := qt.accept(m); err != nil {
		qt.t.Fatal(err)
	}
	return m.ID
}

func mustAddr(t testing.TB, s string) Addr {
	t.Helper()
	a, err := ParseAddr(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}

// queue lists what waits.
func (qt *queueTest) queue() (items []QueueItem) {
	qt.t.Helper()
	if err := qt.store.Read(func(tx *Tx) (err error) { items, err = tx.Queue(""); return err }); err != nil {
		qt.t.Fatal(err)
	}
	return items
}

// inbox returns the texts of a user's INBOX.
func (s *testServer) inbox(t testing.TB, user string) (mails []string) {
	t.Helper()
	var blobs []BlobID
	err := s.store.Read(func(tx *Tx) error {
		blobs = nil
		u, err := tx.UserByName(user)
		if err != nil {
			return err
		}
		m, err := tx.MailboxByName(u.ID, "INBOX")
		if err != nil {
			return err
		}
		return tx.Messages(m.ID, 1, ^UID(0), func(m *Message) error { blobs = append(blobs, m.Blob); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range blobs {
		c, err := s.store.Content(id)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c.Reader())
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, string(b))
	}
	return mails
}

func (qt *queueTest) wantQueue(n int) {
	qt.t.Helper()
	if items := qt.queue(); len(items) != n {
		qt.t.Fatalf("%d messages in the queue, not %d: %+v", len(items), n, items)
	}
}

func TestQueueOneConnection(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	for i := range 5 {
		qt.submit("ann@home.arpa", fmt.Sprintf("x%d@far.example", i), "y@other.example")
	}
	qt.step()
	qt.wantQueue(0)
	if p.conns != 1 || p.count("QUIT") != 1 || p.count("MAIL") != 5 || p.count("RCPT") != 10 {
		t.Errorf("%d connections, commands %q", p.conns, p.lines)
	}
	for _, m := range p.mails {
		if !strings.Contains(m, "\r\n..dot\r\n") || strings.HasPrefix(m, "Return-Path") || !strings.Contains(m, "Message-ID: <") {
			t.Errorf("sent %q", m)
		}
	}
}

func TestQueueRetrySchedule(t *testing.T) {
	p := newPeer(t, func(l string) string {
		if l == "<connect>" {
			return "421 not today"
		}
		return ""
	})
	qt := newQueueTest(t, p, "[queue]", `retry = "4m"`, `retry_max = "10m"`, `warn = "1h"`, `give_up = "3h"`)
	qt.submit("ann@home.arpa", "x@far.example")
	var at []string
	for m := 0; m <= 60; m++ {
		before := p.conns
		qt.step()
		if p.conns > before {
			at = append(at, fmt.Sprint(m))
		}
		qt.forward(time.Minute)
	}
	if got := strings.Join(at, " "); got != "0 4 10 19 29 39 49 59" {
		t.Errorf("tried at minutes %s", got)
	}
	items := qt.queue()
	if len(items) != 1 || items[0].Rcpts[0].Tries != len(at) {
		t.Errorf("queue %+v", items)
	}
}

// TestQueueOfflineDestination has many messages wait for a dead host: the host is tried, not each of them.
func TestQueueOfflineDestination(t *testing.T) {
	down := true
	p := newPeer(t, func(l string) string {
		if l == "<connect>" && down {
			return "cut"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	for range 120 {
		qt.submit("ann@home.arpa", "x@far.example")
	}
	for range 3 {
		qt.step()
		qt.forward(time.Hour)
	}
	if p.conns != 3 {
		t.Errorf("%d connections in 3 tries", p.conns)
	}
	// Another domain behind the same dead host waits with the others.
	qt.submit("ann@home.arpa", "z@new.example")
	qt.step()
	p.mu.Lock()
	down, p.conns = false, 0
	p.mu.Unlock()
	qt.forward(time.Hour)
	qt.step()
	qt.forward(time.Hour)
	qt.step()
	qt.wantQueue(0)
	if p.count("MAIL") != 121 || p.conns > 2 {
		t.Errorf("%d connections, %d MAIL", p.conns, p.count("MAIL"))
	}
}
