package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
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
	// "" is the usual one, "cut" closes the connection. It is called with mu held.
	answer func(line string) string

	mu    sync.Mutex
	conns int
	open  int      // of them, such as are there now
	lines []string // all commands, "<data>" for content
	mails []string // content as it came, dots and all
	drop  bool     // … but only its Message-ID
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
	p.open++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}()
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
			p.take(body)
			last = reply("<data>", "250 2.0.0 taken")
		case "BDAT":
			n := 0
			fmt.Sscanf(line, "BDAT %d", &n)
			body := make([]byte, n)
			if _, err := io.ReadFull(r, body); err != nil {
				return
			}
			p.take(string(body))
			last = reply("<data>", "250 2.0.0 taken")
		case "QUIT":
			reply(line, "221 bye")
			return
		default:
			last = reply(line, "250 2.0.0 OK")
		}
	}
}

func (p *peer) take(body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drop {
		p.lines, body = p.lines[:0], strings.Clone(ParseHeader([]byte(body)).Get("Message-ID"))
	}
	p.mails = append(p.mails, body)
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

func (p *peer) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// connected counts the connections that are open now.
func (p *peer) connected() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

func (p *peer) received() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.mails...)
}

func (p *peer) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
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

// queueTest is a server without a running queue, clocks to turn, and a runner to step.
type queueTest struct {
	*testServer
	t   *testing.T
	q   *queueRunner
	mu  sync.Mutex
	off time.Duration // how much time has passed
	rtc time.Duration // how wrong the system's clock is
}

func newQueueTest(t *testing.T, p *peer, config ...string) *queueTest {
	qt := &queueTest{t: t}
	qt.start(filepath.Join(t.TempDir(), "mail.db"), p, config...)
	return qt
}

// start opens the server on a file that may be there already.
func (qt *queueTest) start(path string, p *peer, config ...string) {
	start := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	passed := func() (off, rtc time.Duration) {
		qt.mu.Lock()
		defer qt.mu.Unlock()
		return qt.off, qt.rtc
	}
	opt := StoreOptions{
		Now:    func() time.Time { off, rtc := passed(); return start.Add(off + rtc) },
		Uptime: func() time.Duration { off, _ := passed(); return off },
	}
	config = append([]string{"[routes]", fmt.Sprintf(`"." = %q`, p.addr())}, config...)
	qt.testServer = openServer(qt.t, path, opt, config...)
	qt.q = newQueueRunner(qt.Server)
}

// forward has time pass.
func (qt *queueTest) forward(d time.Duration) {
	qt.mu.Lock()
	defer qt.mu.Unlock()
	qt.off += d
}

// wrong sets how wrong the system's clock is.
func (qt *queueTest) wrong(by time.Duration) {
	qt.mu.Lock()
	defer qt.mu.Unlock()
	qt.rtc = by
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
		m.To = append(m.To, rcptsTo(mustAddr(qt.t, a))...)
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
	if p.connections() != 1 || p.count("QUIT") != 1 || p.count("MAIL") != 5 || p.count("RCPT") != 10 {
		t.Errorf("%d connections, commands %q", p.connections(), p.said())
	}
	for _, m := range p.received() {
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
		before := p.connections()
		qt.step()
		if p.connections() > before {
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
	if p.connections() != 3 {
		t.Errorf("%d connections in 3 tries", p.connections())
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
	if p.count("MAIL") != 121 || p.connections() > 2 {
		t.Errorf("%d connections, %d MAIL", p.connections(), p.count("MAIL"))
	}
}

var queueMessages = flag.Int("queued", 2000, "messages that TestQueueManyMessages has wait")

// TestQueueManyMessages has a great many messages wait for a host that is down, then up: one connection for each try, a few
// to carry them all, each once, and no more memory for many than for few. `go test -run ManyMessages -queued 10000 .`
func TestQueueManyMessages(t *testing.T) {
	if testing.Short() {
		*queueMessages = 600
	}
	down := true
	p := newPeer(t, func(l string) string {
		if l == "<connect>" && down {
			return "421 not yet"
		}
		return ""
	})
	p.drop = true
	qt := newQueueTest(t, p)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	fillQueue(t, qt.testServer, *queueMessages)
	before := heap()
	for range 5 {
		qt.step()
		qt.forward(time.Hour)
	}
	if p.connections() != 5 {
		t.Errorf("%d connections in 5 tries", p.connections())
	}
	p.mu.Lock()
	down, p.conns = false, 0
	p.mu.Unlock()
	most, start := int64(0), time.Now()
	qt.q.pass()
	done := make(chan bool)
	go func() { qt.q.wg.Wait(); close(done) }()
	for busy := true; busy; {
		select {
		case <-done:
			busy = false
		case <-time.After(100 * time.Millisecond):
		}
		most = max(most, heap()-before)
	}
	t.Logf("%d messages in %v, %d connections, at most %d KB more on the heap", *queueMessages, time.Since(start).Round(time.Millisecond), p.connections(), most>>10)
	qt.wantQueue(0)
	ids := map[string]bool{}
	for _, id := range p.received() {
		ids[id] = true
	}
	if len(ids) != *queueMessages || len(p.received()) != len(ids) {
		t.Errorf("%d messages came, %d different ones", len(p.received()), len(ids))
	}
	if p.connections() > queueConns {
		t.Errorf("%d connections", p.connections())
	}
	if ours := int64(len(ids)) * 100; most-ours > 8<<20 { // the peer keeps the names
		t.Errorf("%d octets more on the heap", most)
	}
}

// TestQueueEachRecipientAlone has one transaction with a good, a deferred and a refused recipient.
func TestQueueEachRecipientAlone(t *testing.T) {
	later := true
	p := newPeer(t, func(l string) string {
		switch {
		case strings.Contains(l, "no@") && strings.HasPrefix(l, "RCPT"):
			return "550-5.1.1 Nobody\r\n550 5.1.1 of that name"
		case strings.Contains(l, "later@") && strings.HasPrefix(l, "RCPT") && later:
			return "451 4.7.1 Greylisted"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "ok@far.example", "no@far.example", "later@far.example")
	qt.step()
	items := qt.queue()
	if len(items) != 1 || len(items[0].Rcpts) != 1 || items[0].Rcpts[0].Address != "later@far.example" ||
		items[0].Rcpts[0].Tries != 1 || items[0].Rcpts[0].Error != "451 4.7.1 Greylisted" {
		t.Fatalf("queue %+v", items)
	}
	if len(p.received()) != 1 {
		t.Errorf("%d mails sent", len(p.received()))
	}
	box := qt.inbox(t, "ann@home.arpa")
	if len(box) != 1 || !strings.Contains(box[0], "Final-Recipient: rfc822; no@far.example\r\nAction: failed\r\nStatus: 5.1.1\r\n") ||
		!strings.Contains(box[0], "Diagnostic-Code: smtp; 550 5.1.1 Nobody 5.1.1 of that name\r\n") ||
		strings.Contains(box[0], "later@") {
		t.Errorf("report %q", box)
	}
	later = false
	qt.forward(3 * time.Minute)
	qt.step()
	qt.wantQueue(0)
	if got := len(p.received()); got != 2 {
		t.Errorf("%d mails sent", got)
	}
	if went, refused := qt.went.Load(), qt.refused.Load(); went != 2 || refused != 1 {
		t.Errorf("counted %d that took mail and %d that refused", went, refused)
	}
}

// TestQueueRefusedMail: a 5xx to MAIL or to the content is every recipient's.
func TestQueueRefusedMail(t *testing.T) {
	for _, at := range []string{"MAIL", "DATA", "<data>"} {
		p := newPeer(t, func(l string) string {
			if strings.HasPrefix(l, at) {
				return "554 5.7.1 Not from you"
			}
			return ""
		})
		for _, ext := range []string{"PIPELINING\nSIZE", "SIZE"} {
			p.ehlo = ext
			qt := newQueueTest(t, p)
			qt.submit("ann@home.arpa", "a@far.example", "b@far.example")
			qt.step()
			qt.wantQueue(0)
			box := qt.inbox(t, "ann@home.arpa")
			if len(box) != 1 || strings.Count(box[0], "Status: 5.7.1\r\n") != 2 {
				t.Errorf("%s: report %q", at, box)
			}
		}
	}
}

// TestQueueWarnAndGiveUp walks through the life of a message that can't be delivered.
func TestQueueWarnAndGiveUp(t *testing.T) {
	for _, dead := range []bool{true, false} { // the host is dead, or only the recipient is put off
		p := newPeer(t, func(l string) string {
			if dead && l == "<connect>" {
				return "cut"
			}
			if strings.HasPrefix(l, "RCPT") {
				return "450 4.2.0 Busy"
			}
			return ""
		})
		qt := newQueueTest(t, p)
		qt.submit("ann@home.arpa", "x@far.example")
		var reports []string
		for h := 0; h < 80; h++ {
			qt.step()
			for range 4 {
				qt.forward(15 * time.Minute)
				qt.step()
			}
			if n := len(qt.inbox(t, "ann@home.arpa")); n > len(reports) {
				reports = append(reports, fmt.Sprintf("%dh", h+1))
			}
		}
		if got := strings.Join(reports, " "); got != "4h 72h" { // and not at the next try
			t.Errorf("dead %v: reports after %s", dead, got)
		}
		qt.wantQueue(0)
		box := qt.inbox(t, "ann@home.arpa")
		if !strings.Contains(box[0], "Action: delayed") || !strings.Contains(box[0], "Will-Retry-Until: ") || !strings.Contains(box[1], "Action: failed") {
			t.Errorf("reports %q", box)
		}
	}
}

const queue1970 = -57 * 365 * 24 * time.Hour

// TestQueueClockJump: a board that starts in 1970 and learns the time later gives nothing back for that. When its clock is
// wrong again afterwards, tries and ages go on with the time that passes.
func TestQueueClockJump(t *testing.T) {
	p := newPeer(t, func(l string) string {
		if l == "<connect>" {
			return "cut"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	qt.wrong(queue1970)
	qt.submit("ann@home.arpa", "x@far.example")
	hours := func(n int) {
		for range 12 * n {
			qt.step()
			qt.forward(5 * time.Minute)
		}
	}
	reports := func(at string, want int) {
		t.Helper()
		if n := len(qt.inbox(t, "ann@home.arpa")); n != want {
			t.Errorf("%d reports %s, not %d", n, at, want)
		}
	}
	hours(3)
	qt.wrong(0)
	qt.step()
	reports("after the clock was put right", 0)
	qt.wrong(queue1970)
	before := p.connections()
	hours(2)
	if n := p.connections() - before; n < 2 || n > 3 {
		t.Errorf("%d tries in the two hours after the clock went back", n)
	}
	reports("after five hours", 1)
	hours(60)
	qt.wrong(0)
	hours(6)
	reports("after 71 hours", 1)
	qt.wantQueue(1)
	hours(2)
	reports("after 73 hours", 2)
	qt.wantQueue(0)
}

// TestQueueClocks puts the system's clock wrong and right at random moments, and starts the appliance anew in between. Of the
// time that it runs, no message gets less, and none waits much longer.
func TestQueueClocks(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 1))
		dead := seed%2 == 0
		p := newPeer(t, func(l string) string {
			if dead && l == "<connect>" || !dead && strings.HasPrefix(l, "RCPT") {
				return "421 not today"
			}
			return ""
		})
		qt := &queueTest{t: t}
		path := filepath.Join(t.TempDir(), "mail.db")
		if seed%3 != 0 {
			qt.wrong(queue1970)
		}
		qt.start(path, p)
		var came []time.Duration // when each message came, and when each report did
		var reports []time.Duration
		var jumps, restarts int
		for qt.off < 90*time.Hour {
			if len(came) < 3 && rnd.IntN(20) == 0 {
				qt.submit("ann@home.arpa", fmt.Sprintf("x%d@far.example", len(came)))
				came = append(came, qt.off)
			}
			switch rnd.IntN(60) {
			case 0:
				qt.wrong(queue1970)
				jumps++
			case 1, 2:
				qt.wrong(0)
				jumps++
			case 3:
				qt.Shutdown()
				if err := qt.store.Close(); err != nil {
					t.Fatal(err)
				}
				qt.start(path, p)
				restarts++
			}
			qt.step()
			for n := len(qt.inbox(t, "ann@home.arpa")); len(reports) < n; {
				reports = append(reports, qt.off)
			}
			qt.forward(5 * time.Minute)
		}
		// Each message is warned of after 4 hours and given back after 72, in the order they came.
		slack := 15*time.Minute + time.Duration(restarts)*(clockEvery+5*time.Minute)
		if len(reports) != 2*len(came) {
			t.Errorf("seed %d: %d messages, %d reports", seed, len(came), len(reports))
			continue
		}
		for i, c := range came {
			for _, w := range []struct{ due, got time.Duration }{{4 * time.Hour, reports[i] - c}, {72 * time.Hour, reports[len(came)+i] - c}} {
				if w.got < w.due-2*time.Minute || w.got > w.due+slack {
					t.Errorf("seed %d: a report after %v instead of %v; %d jumps, %d restarts", seed, w.got, w.due, jumps, restarts)
				}
			}
		}
		t.Logf("seed %d: messages at %v, reports at %v, %d jumps, %d restarts", seed, came, reports, jumps, restarts)
		qt.wantQueue(0)
	}
}

// TestQueueCut: the connection is cut after the content, before the reply. The message is sent again later, and those
// behind it go at once in a new connection.
func TestQueueCut(t *testing.T) {
	var p *peer
	p = newPeer(t, func(l string) string {
		if l == "<data>" && len(p.mails) == 1 {
			return "cut"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	for range 3 {
		qt.submit("ann@home.arpa", "x@far.example")
	}
	qt.step()
	qt.wantQueue(1)
	if p.connections() != 2 || p.count("QUIT") != 1 {
		t.Errorf("%d connections, %q", p.connections(), p.said())
	}
	qt.forward(3 * time.Minute)
	qt.step()
	qt.wantQueue(0)
	if len(p.received()) != 4 {
		t.Errorf("%d mails came", len(p.received()))
	}
}

// TestQueue421 says goodbye in the middle of a session, always at the same message.
func TestQueue421(t *testing.T) {
	var p *peer
	bad := "x1@far.example"
	p = newPeer(t, func(l string) string {
		if strings.HasPrefix(l, "RCPT") && strings.Contains(l, bad) {
			return "421 4.3.2 Closing"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	for i := range 4 {
		qt.submit("ann@home.arpa", fmt.Sprintf("x%d@far.example", i))
	}
	qt.step()
	items := qt.queue()
	if len(items) != 1 || !strings.Contains(items[0].Rcpts[0].Error, "421 4.3.2 Closing") {
		t.Errorf("queue %+v", items)
	}
	if p.connections() != 2 {
		t.Errorf("%d connections", p.connections())
	}
}

func TestQueueNullSender(t *testing.T) {
	p := newPeer(t, func(l string) string {
		if strings.HasPrefix(l, "RCPT") {
			return "550 no"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	qt.submit("", "x@far.example")
	qt.step()
	qt.wantQueue(0)
	if p.count("MAIL FROM:<> ") != 1 {
		t.Errorf("said %q", p.said())
	}
	// A report for somebody far away goes out with the null sender, and when it is refused nobody hears of it.
	qt.submit("stranger@far.example", "x@far.example")
	qt.step()
	qt.step()
	qt.wantQueue(0)
	if p.count("MAIL FROM:<> ") != 2 || p.count("RCPT TO:<stranger@far.example>") != 1 {
		t.Errorf("said %q", p.said())
	}
	for _, u := range []string{"ann@home.arpa", "bob@home.arpa"} {
		if n := len(qt.inbox(t, u)); n > 0 {
			t.Errorf("%s got %d mails", u, n)
		}
	}
}

func TestQueueVerbs(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	a := qt.submit("ann@home.arpa", "x@far.example")
	b := qt.submit("ann@home.arpa", "x@far.example", "y@other.example")
	do := func(fn func(*Tx) (int, error), want int) {
		t.Helper()
		var n int
		if err := qt.store.Write(func(tx *Tx) (err error) { n, err = fn(tx); return err }); err != nil || n != want {
			t.Fatalf("%d messages, %v", n, err)
		}
	}
	do(func(tx *Tx) (int, error) { return tx.QueueHold("far.example", true) }, 2)
	qt.step()
	if p.count("RCPT") != 1 || p.count("RCPT TO:<y@other.example>") != 1 {
		t.Errorf("held mail went: %q", p.said())
	}
	do(func(tx *Tx) (int, error) { return tx.QueueHold(b, false) }, 1)
	qt.step()
	if p.count("RCPT TO:<x@far.example>") != 1 {
		t.Errorf("released mail stayed: %q", p.said())
	}
	do(func(tx *Tx) (int, error) { return tx.QueueRemove(a) }, 1)
	do(func(tx *Tx) (int, error) { return tx.QueueRetry("") }, 0)
	qt.wantQueue(0)
	var ds []Destination
	qt.store.Read(func(tx *Tx) (err error) { ds, err = tx.Destinations(); return err })
	if len(ds) != 0 {
		t.Errorf("destinations left: %+v", ds)
	}
}

// TestQueueRetryByHand: retry forgets that a host is dead.
func TestQueueRetryByHand(t *testing.T) {
	p := newPeer(t, func(l string) string {
		if l == "<connect>" {
			return "cut"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "x@far.example")
	qt.step()
	qt.step()
	if p.connections() != 1 {
		t.Fatalf("%d connections", p.connections())
	}
	qt.store.Write(func(tx *Tx) error { _, err := tx.QueueRetry("far.example"); return err })
	qt.step()
	if p.connections() != 2 {
		t.Errorf("%d connections", p.connections())
	}
}

// TestQueueManyRecipients splits what one transaction can't hold, and follows a peer that takes fewer.
func TestQueueManyRecipients(t *testing.T) {
	var p *peer
	n := 0
	p = newPeer(t, func(l string) string {
		switch {
		case strings.HasPrefix(l, "MAIL"):
			n = 0
		case strings.HasPrefix(l, "RCPT"):
			if n++; n > 30 {
				return "452 4.5.3 Too many"
			}
		}
		return ""
	})
	qt := newQueueTest(t, p)
	var to []string
	for i := range 150 {
		to = append(to, fmt.Sprintf("x%d@far.example", i))
	}
	qt.submit("ann@home.arpa", to...)
	qt.step()
	qt.wantQueue(0)
	if len(p.received()) < 5 || p.connections() != 1 {
		t.Errorf("%d mails in %d connections", len(p.received()), p.connections())
	}
}

// TestQueueLimits follows a peer's LIMITS (RFC 9422): recipients and their domains in a transaction, transactions in a
// connection.
func TestQueueLimits(t *testing.T) {
	p := newPeer(t, nil)
	p.ehlo = "PIPELINING\nLIMITS MAILMAX=2 RCPTMAX=3 RCPTDOMAINMAX=1 OTHER=x"
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "a@one.example", "b@one.example", "c@one.example", "d@one.example", "e@two.example", "f@two.example")
	qt.step()
	qt.wantQueue(0)
	if p.connections() != 2 || p.count("MAIL") != 3 || p.count("RCPT") != 6 || p.count("QUIT") != 2 {
		t.Errorf("%d connections, said %q", p.connections(), p.said())
	}
}
