package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBundle carries mail from one appliance to another as a file, twice, and brings the receipt back.
func TestBundle(t *testing.T) {
	p := newPeer(t, nil)
	a := newQueueTest(t, p)
	a.cfg.Routes = map[string]Route{"far.arpa": {Hosts: []string{p.addr()}, Intermittent: true}, ".": {Hosts: []string{p.addr()}, Intermittent: true}}
	b := startServer(t, `domains = ["far.arpa", "home.arpa"]`)
	b.write(t, func(tx *Tx) error { return tx.AddAlias("x@far.arpa", "bob@home.arpa") })
	a.submit("ann@home.arpa", "x@far.arpa", "no@far.arpa", "y@other.example")
	a.submit("ann@home.arpa", "x@far.arpa")
	a.step()

	var file, again bytes.Buffer
	if n, err := a.exportBundle("far.arpa", &file); n != 2 || err != nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	if n, err := a.exportBundle("far.arpa", &again); n != 2 || err != nil {
		t.Fatalf("again %d messages, %v", n, err)
	}
	a.write(t, func(tx *Tx) error { _, err := tx.QueueAsk("far.arpa"); return err })
	a.step()
	if p.count("RCPT") != 0 {
		t.Errorf("what is in the bundle went out: %q", p.said())
	}

	for cut := 1; cut < file.Len(); cut += 7 {
		if res, err := b.importBundle(bytes.NewReader(file.Bytes()[:cut])); !errors.Is(err, errBundle) {
			t.Fatalf("cut at %d: %+v, %v", cut, res, err)
		}
	}
	damaged := bytes.Replace(file.Bytes(), []byte("hi\r\n"), []byte("ho\r\n"), 1)
	if res, err := b.importBundle(bytes.NewReader(damaged)); !errors.Is(err, errBundleSum) {
		t.Fatalf("damaged: %+v, %v", res, err)
	}
	if n := len(b.inbox(t, "bob@home.arpa")); n != 0 {
		t.Fatalf("bob got %d messages of damaged bundles", n)
	}

	res, err := b.importBundle(bytes.NewReader(file.Bytes()))
	if err != nil || res.Taken != 2 || res.Known != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if res, err := b.importBundle(bytes.NewReader(again.Bytes())); err != nil || res.Taken != 0 || res.Known != 2 {
		t.Fatalf("again %+v, %v", res, err)
	}
	got := b.inbox(t, "bob@home.arpa")
	if len(got) != 2 || !strings.Contains(got[0], "\r\n.dot\r\n") || !strings.Contains(got[0], "via bundle") {
		t.Errorf("bob got %q", got)
	}
	// ann@home.arpa lives there, too, in this test: the report about no@far.arpa.
	if box := b.inbox(t, "ann@home.arpa"); len(box) != 1 || !strings.Contains(box[0], "Final-Recipient: rfc822; no@far.arpa") {
		t.Errorf("reports %q", box)
	}

	if _, err := a.importBundle(strings.NewReader(strings.Replace(res.Receipt, "a", "b", 1))); !errors.Is(err, errBundleSum) {
		t.Errorf("forged receipt: %v", err)
	}
	back, err := a.importBundle(strings.NewReader(res.Receipt))
	if err != nil || back.Confirmed != 2 {
		t.Errorf("receipt: %+v, %v", back, err)
	}
	items := a.queue()
	if len(items) != 1 || len(items[0].Rcpts) != 1 || items[0].Rcpts[0].Address != "y@other.example" {
		t.Errorf("queue %+v", items)
	}
}

// TestBundleRelease gives up on a bundle: its mail goes by the link again.
func TestBundleRelease(t *testing.T) {
	p := newPeer(t, nil)
	a := newQueueTest(t, p)
	a.submit("ann@home.arpa", "x@far.arpa")
	var file bytes.Buffer
	if n, err := a.exportBundle("far.arpa", &file); n != 1 || err != nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	a.step()
	a.wantQueue(1)
	a.write(t, func(tx *Tx) error { _, err := tx.QueueHold("far.arpa", false); return err })
	a.step()
	a.wantQueue(0)
	if n := fmt.Sprint(p.count("RCPT")); n != "1" {
		t.Errorf("sent %s times", n)
	}
}

// chainServer is one of several appliances, on a loopback address of its own. Who lives there is an alias for bob.
func chainServer(t *testing.T, ip, domain, who string) *testServer {
	t.Helper()
	s := openServer(t, filepath.Join(t.TempDir(), "mail.db"), StoreOptions{}, `domains = ["`+domain+`", "home.arpa"]`, "[relay]", `networks = ["127.0.0.0/8"]`)
	s.cfg.Hostname = "mx." + domain
	s.write(t, func(tx *Tx) error { return tx.AddAlias(who+"@"+domain, "bob@home.arpa") })
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		skip(t, fmt.Sprintf("no address %s here: %v", ip, err))
	}
	t.Cleanup(func() { l.Close() })
	s.addr["smtp"] = l.Addr().String()
	go s.serve(l, &services[slices.IndexFunc(services, func(v service) bool { return v.name == "smtp" })])
	return s
}

// waiting counts the messages in a server's queue.
func (s *testServer) waiting() (n int) {
	s.store.Read(func(tx *Tx) (err error) { n, err = tx.QueueLength(); return err })
	return n
}

// chain is a lab at each end and one between them, whose links are all up now and then only.
type chain struct {
	t       *testing.T
	a, b, c *testServer
}

func newChain(t *testing.T) *chain {
	k := &chain{t, chainServer(t, "127.0.0.2", "a.arpa", "ann"), chainServer(t, "127.0.0.3", "b.arpa", "bea"), chainServer(t, "127.0.0.4", "c.arpa", "carl")}
	link := func(to *testServer) Route { return Route{Hosts: []string{to.addr["smtp"]}, Intermittent: true} }
	k.a.cfg.Routes = map[string]Route{".": link(k.b), "b.arpa": link(k.b), "c.arpa": link(k.b)}
	k.b.cfg.Routes = map[string]Route{"a.arpa": link(k.a), "c.arpa": link(k.c)}
	k.c.cfg.Routes = map[string]Route{".": link(k.b), "a.arpa": link(k.b), "b.arpa": link(k.b)}
	for _, s := range []*testServer{k.a, k.b, k.c} {
		s.runQueue()
	}
	return k
}

// send has ann write to carl, who exists, and to a person who does not.
func (k *chain) send() {
	k.t.Helper()
	for _, to := range []string{"carl@c.arpa", "nobody@c.arpa"} {
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(k.t, "ann@a.arpa")}, To: []Rcpt{{Recipient: Recipient{Addr: mustAddr(k.t, to), Notify: NotifySuccess | NotifyFailure}}}, Body: k.a.store.NewSpool(1 << 20)}
		fmt.Fprintf(m.Body, "From: ann@a.arpa\r\nSubject: 你好 %s\r\n\r\nhi\r\n", to)
		if err := k.a.accept(m); err != nil {
			k.t.Fatal(err)
		}
		m.Body.Close()
	}
}

// queues wants so many messages to wait in each lab, soon and for a while.
func (k *chain) queues(a, b, c int) {
	k.t.Helper()
	want, got := fmt.Sprint(a, b, c), ""
	waitFor(k.t, "queues of "+want, func() bool {
		got = fmt.Sprint(k.a.waiting(), k.b.waiting(), k.c.waiting())
		return got == want
	})
	time.Sleep(50 * time.Millisecond)
	if got = fmt.Sprint(k.a.waiting(), k.b.waiting(), k.c.waiting()); got != want {
		k.t.Fatalf("the queues hold %s messages, not %s", got, want)
	}
}

// arrived wants carl to have one message and ann a report about each of hers, each once.
func (k *chain) arrived() {
	k.t.Helper()
	if box := k.c.inbox(k.t, "bob@home.arpa"); len(box) != 1 || !strings.HasSuffix(box[0], "\r\n\r\nhi\r\n") || ParseHeader([]byte(box[0])).Text("Subject") != "你好 carl@c.arpa" {
		k.t.Errorf("carl has %q", box)
	}
	var got []string
	for _, m := range k.a.inbox(k.t, "bob@home.arpa") {
		_, groups, _ := parseReport(k.t, m)
		got = append(got, groups[1].Get("Final-Recipient")+" "+groups[1].Get("Action")+" "+groups[1].Get("Status"))
	}
	slices.Sort(got)
	if want := []string{"rfc822; carl@c.arpa delivered 2.1.5", "rfc822; nobody@c.arpa failed 5.1.1"}; !slices.Equal(got, want) {
		k.t.Errorf("ann has the reports %q", got)
	}
}

// TestChainETRN carries mail over two links by ETRN, and the reports back.
func TestChainETRN(t *testing.T) {
	k := newChain(t)
	call := func(who, server *testServer, domain string) {
		t.Helper()
		who.mustFetch(t, &Fetch{Protocol: "etrn", Server: server.addr["smtp"], Domains: []string{domain}}, 0)
	}
	k.send()
	k.queues(2, 0, 0)
	call(k.b, k.a, "c.arpa")
	k.queues(0, 2, 0)
	call(k.c, k.b, "c.arpa") // carl's report begins its way there, the other one here
	k.queues(0, 1, 1)
	call(k.b, k.c, "a.arpa")
	k.queues(0, 2, 0)
	call(k.a, k.b, "a.arpa")
	k.queues(0, 0, 0)
	k.arrived()
}

// TestChainATRN has both ends call the one in the middle, which can't reach them.
func TestChainATRN(t *testing.T) {
	k := newChain(t)
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("secret"), 0o600)
	k.b.cfg.Routes = map[string]Route{"a.arpa": {Caller: "ann@home.arpa", Intermittent: true}, "c.arpa": {Caller: "bob@home.arpa", Intermittent: true}}
	call := func(who *testServer, user, domain string) {
		t.Helper()
		who.mustFetch(t, &Fetch{Protocol: "atrn", Server: k.b.addr["submission"], AnyCert: true, User: user, PasswordFile: pass, Domains: []string{domain}}, 0)
	}
	push := func(s *testServer, domain string) { // what `postino queue retry` does when the link is up
		t.Helper()
		s.write(t, func(tx *Tx) error { _, err := tx.QueueRetry(domain); return err })
	}
	k.send()
	k.queues(2, 0, 0)
	push(k.a, "c.arpa")
	k.queues(0, 2, 0)
	call(k.c, "bob@home.arpa", "c.arpa")
	k.queues(0, 1, 1)
	push(k.c, "a.arpa")
	k.queues(0, 2, 0)
	call(k.a, "ann@home.arpa", "a.arpa")
	k.queues(0, 0, 0)
	k.arrived()
}

// TestChainBundle carries the same mail on sticks, every stick twice, and the receipts back.
func TestChainBundle(t *testing.T) {
	k := newChain(t)
	carry := func(from, to *testServer, domain string, n int) {
		t.Helper()
		var file bytes.Buffer
		if got, err := from.exportBundle(domain, &file); got != n || err != nil {
			t.Fatalf("%d messages exported, not %d: %v", got, n, err)
		}
		first, err := to.importBundle(bytes.NewReader(file.Bytes()))
		if err != nil || first.Taken != n {
			t.Fatalf("imported %+v, not %d: %v", first, n, err)
		}
		if again, err := to.importBundle(bytes.NewReader(file.Bytes())); err != nil || again.Taken != 0 || again.Known != n || again.Receipt != first.Receipt {
			t.Fatalf("again %+v, %v", again, err)
		}
		for _, want := range []int{n, 0} {
			if back, err := from.importBundle(strings.NewReader(first.Receipt)); err != nil || back.Confirmed != want {
				t.Fatalf("the receipt confirmed %+v, not %d: %v", back, want, err)
			}
		}
	}
	k.send()
	k.queues(2, 0, 0)
	carry(k.a, k.b, "c.arpa", 2)
	k.queues(0, 2, 0)
	carry(k.b, k.c, "c.arpa", 2)
	k.queues(0, 0, 2)
	carry(k.c, k.b, "a.arpa", 2)
	k.queues(0, 2, 0)
	carry(k.b, k.a, "a.arpa", 2)
	k.queues(0, 0, 0)
	k.arrived()
}

// TestBundleKey: with a bundle_key only what was made with it is taken, bundles and receipts.
func TestBundleKey(t *testing.T) {
	a := newQueueTest(t, newPeer(t, nil))
	b := newQueueTest(t, newPeer(t, nil), `"lab.arpa" = { bundle_key = "what both know" }`)
	with := func(key string) { a.cfg.Routes = map[string]Route{"home.arpa": {BundleKey: key, Intermittent: true}} }
	a.cfg.Domains = []string{"lab.arpa"}
	with("")
	a.submit("ann@home.arpa", "bob@home.arpa")
	export := func() *bytes.Reader {
		t.Helper()
		var file bytes.Buffer
		if n, err := a.exportBundle("home.arpa", &file); n != 1 || err != nil {
			t.Fatalf("%d messages, %v", n, err)
		}
		return bytes.NewReader(file.Bytes())
	}
	plain := export()
	if res, err := b.importBundle(plain); !errors.Is(err, errBundleKey) {
		t.Errorf("without a key: %+v, %v", res, err)
	}
	with("another")
	if res, err := b.importBundle(export()); !errors.Is(err, errBundleKey) {
		t.Errorf("with another key: %+v, %v", res, err)
	}
	with("what both know")
	good := export()
	res, err := b.importBundle(good)
	if err != nil || res.Taken != 1 {
		t.Fatalf("with the key: %+v, %v", res, err)
	}
	b.cfg.Routes = nil
	good.Seek(0, io.SeekStart)
	if res, err := b.importBundle(good); !errors.Is(err, errBundleNew) {
		t.Errorf("where nobody has a key: %+v, %v", res, err)
	}
	text := res.Receipt[:strings.LastIndexByte(strings.TrimSpace(res.Receipt), '\n')]
	sum := newBundleSums(nil)
	fmt.Fprint(sum, text)
	if _, err := a.importBundle(strings.NewReader(text + "\n" + sum.proof() + "\n")); !errors.Is(err, errBundleKey) {
		t.Errorf("a forged receipt: %v", err)
	}
	a.wantQueue(1)
	if back, err := a.importBundle(strings.NewReader(strings.ReplaceAll(res.Receipt, "\n", "\r\n"))); err != nil || back.Confirmed != 1 {
		t.Errorf("the receipt: %+v, %v", back, err)
	}
	a.wantQueue(0)
	if n := len(b.inbox(t, "bob@home.arpa")); n != 1 {
		t.Errorf("%d messages came", n)
	}
}

// TestBundleParams: what the sender asked for, and content without lines, go on as they were.
func TestBundleParams(t *testing.T) {
	a, b := newQueueTest(t, newPeer(t, nil)), newQueueTest(t, newPeer(t, nil))
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Ret: "HDRS", EnvID: "e+2Bx", Flags: MailRequireTLS | MailUTF8,
		Due: a.store.Now().Add(time.Hour), ByMode: "N"}, Body: a.store.NewSpool(1 << 20), To: []Rcpt{{Recipient: Recipient{Addr: mustAddr(t, "x@far.arpa"), Notify: NotifyDelay, ORcpt: "rfc822;y@far.arpa"}}}}
	body := "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\n.\n\r\r\n.\r\n" + strings.Repeat("z", 20_000)
	fmt.Fprint(m.Body, body)
	if err := a.accept(m); err != nil {
		t.Fatal(err)
	}
	m.Body.Close()
	later := &Mail{SMTPEnvelope: SMTPEnvelope{From: m.From, Hold: a.store.Now().Add(24 * time.Hour)}, Body: a.store.NewSpool(1 << 20), To: rcptsTo(mustAddr(t, "x@far.arpa"))}
	fmt.Fprint(later.Body, "Subject: later\r\n\r\n")
	if err := a.accept(later); err != nil {
		t.Fatal(err)
	}
	later.Body.Close()
	var first, second bytes.Buffer
	for _, f := range []*bytes.Buffer{&first, &second} {
		if n, err := a.exportBundle("far.arpa", f); n != 1 || err != nil { // what is held until tomorrow is not in it
			t.Fatalf("%d messages, %v", n, err)
		}
		a.forward(time.Minute)
	}
	b.forward(10 * time.Minute)
	for i, f := range []*bytes.Buffer{&second, &first} { // the same message, whatever is left of its time
		if res, err := b.importBundle(bytes.NewReader(f.Bytes())); err != nil || res.Taken != 1-i || res.Known != i {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	items := b.queue()
	if len(items) != 1 || len(items[0].Rcpts) != 1 {
		t.Fatalf("queue %+v", items)
	}
	q := items[0]
	r := q.Rcpts[0]
	if q.Ret != "HDRS" || q.EnvID != "e+2Bx" || q.ByMode != "N" || q.Flags != Mail8Bit|MailUTF8|MailBinary|MailRequireTLS || r.Notify != NotifyDelay || r.ORcpt != "rfc822;y@far.arpa" {
		t.Errorf("came as %+v", q)
	}
	if left := q.Due.Sub(b.store.Now()); left < 50*time.Minute-3*time.Second || left > 50*time.Minute {
		t.Errorf("%s are left", left)
	}
	c, err := b.store.Content(q.Blob.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c.Reader())
	if err != nil || !strings.HasSuffix(string(got), body) {
		t.Errorf("content %.200q, %v", got, err)
	}

	m = &Mail{SMTPEnvelope: SMTPEnvelope{From: m.From, Due: a.store.Now().Add(time.Minute), ByMode: "R"}, Body: a.store.NewSpool(1 << 20), To: rcptsTo(mustAddr(t, "bob@late.arpa"))}
	fmt.Fprint(m.Body, "Subject: late\r\n\r\n")
	if err := a.accept(m); err != nil {
		t.Fatal(err)
	}
	m.Body.Close()
	first.Reset()
	if _, err := a.exportBundle("late.arpa", &first); err != nil {
		t.Fatal(err)
	}
	if res, err := b.importBundle(bytes.NewReader(first.Bytes())); err != nil || res.Taken != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if box := b.inbox(t, "ann@home.arpa"); len(box) != 1 || !strings.Contains(box[0], "Status: 5.4.7") || len(b.queue()) != 1 {
		t.Errorf("what was late: %q, %+v", box, b.queue())
	}
}

// FuzzBundle puts commands into a bundle whose checksum is right. What is refused leaves nothing behind, what is taken is
// taken once, and a receipt of the same octets never confirms anything.
func FuzzBundle(f *testing.F) {
	for _, s := range []string{"MAIL FROM:<a@b.example> BODY=8BITMIME BY=60;N\r\nRCPT TO:<ann@home.arpa> NOTIFY=NEVER\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\n",
		"NOOP made:2026-01-01T00:00:00Z\r\nMAIL FROM:<>\r\nRCPT TO:<no@home.arpa>\r\nBDAT 5 LAST\r\nhello", "EHLO x\r\nRCPT TO:<ann@home.arpa>\r\nDATA\r\n.\r\n",
		"MAIL FROM:<a b\r\n\n", "BDAT 99999999999999999999 LAST\r\n", "DATA\r\n\n.\n", "NOOP sha256:00\r\nQUIT\r\n"} {
		f.Add([]byte(s))
	}
	s := openServer(f, filepath.Join(f.TempDir(), "mail.db"), StoreOptions{}, "[limits]", `message = "64KB"`)
	stored := func(t *testing.T) (n int) {
		mustRead(t, s.store, func(tx *Tx) error {
			st, err := tx.s.Stat()
			n = int(st.Messages)
			return err
		})
		return n + s.waiting()
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		body := "EHLO a.example\r\n" + string(in)
		sum := newBundleSums(nil)
		fmt.Fprint(sum, body)
		file := "Content-Type: application/batch-SMTP\r\n\r\n" + body + "NOOP " + sum.proof() + "\r\nQUIT\r\n"
		before := stored(t)
		res, err := s.importBundle(strings.NewReader(file))
		after := stored(t)
		if errors.Is(err, errBundle) && after != before {
			t.Fatalf("refused (%v), and %d messages more", err, after-before)
		}
		if err == nil {
			if again, err := s.importBundle(strings.NewReader(file)); err != nil || again.Taken != 0 || stored(t) != after {
				t.Fatalf("first %+v, again %+v, %v", res, again, err)
			}
		}
		if res, err := s.importBundle(strings.NewReader(bundleReceipt + string(in))); err == nil && res.Confirmed > 0 {
			t.Fatalf("confirmed %+v", res)
		}
	})
}

// TestQueueIntermittent has mail wait for a link's window, or until somebody asks: no tries, no delay report, no giving back.
func TestQueueIntermittent(t *testing.T) {
	up := false
	p := newPeer(t, func(l string) string {
		if l == "<connect>" && !up {
			return "cut"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	noon := qt.store.Now().Local() // the test's clock starts at any hour of this zone
	w := Window{time.Duration(noon.Hour()+2) * time.Hour % (24 * time.Hour), time.Duration(noon.Hour()+3) * time.Hour % (24 * time.Hour)}
	qt.cfg.Routes = map[string]Route{"win.example": {Hosts: []string{p.addr()}, Intermittent: true, Window: w},
		"ask.example": {Hosts: []string{p.addr()}, Intermittent: true}}
	qt.submit("ann@home.arpa", "x@win.example", "y@ask.example")
	for range 12 { // an hour
		qt.step()
		qt.forward(5 * time.Minute)
	}
	if p.connections() != 0 {
		t.Fatalf("%d connections outside the window", p.connections())
	}
	qt.forward(time.Hour)
	for range 24 {
		qt.step()
		qt.forward(5 * time.Minute)
	}
	n := p.connections()
	if n < 3 || n > 8 {
		t.Errorf("%d connections in the window", n)
	}
	qt.forward(10 * 24 * time.Hour)
	qt.step()
	qt.step()
	if box := qt.inbox(t, "ann@home.arpa"); len(box) != 0 || len(qt.queue()) != 1 {
		t.Fatalf("reports %q, queue %+v", box, qt.queue())
	}
	p.mu.Lock()
	up = true
	p.mu.Unlock()
	qt.write(t, func(tx *Tx) error {
		n, err := tx.QueueAsk("ask.example")
		if n != 1 {
			t.Errorf("%d messages", n)
		}
		return err
	})
	qt.step()
	if p.count("RCPT TO:<y@ask.example>") != 1 {
		t.Errorf("asking did not help: %q", p.said())
	}
	qt.forward(24 * time.Hour)
	qt.step()
	for range 288 {
		qt.step()
		qt.forward(5 * time.Minute)
	}
	qt.wantQueue(0)
}

func TestWindow(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", "2027-05-05 "+s, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ window, now, want string }{
		{"02:00-04:00", "01:00", "02:00"}, {"02:00-04:00", "02:00", "02:00"}, {"02:00-04:00", "03:59", "03:59"},
		{"02:00-04:00", "04:00", "02:00"}, {"23:00-01:00", "23:30", "23:30"}, {"23:00-01:00", "00:30", "00:30"}, {"23:00-01:00", "12:00", "23:00"},
	} {
		w, err := parseWindow(c.window)
		if err != nil {
			t.Fatal(err)
		}
		next := w.Next(at(c.now))
		if next.Format("15:04") != c.want || next.Before(at(c.now)) || next.Sub(at(c.now)) >= 24*time.Hour {
			t.Errorf("%s at %s: %v", c.window, c.now, next)
		}
	}
	for _, s := range []string{"", "2-4", "02:00", "02:00-02:00", "25:00-26:00"} {
		if w, err := parseWindow(s); err == nil {
			t.Errorf("%q is %v", s, w)
		}
	}
}
