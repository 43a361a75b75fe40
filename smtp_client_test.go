package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// testDNS is a Resolver with everything it knows in two maps; a nil list is an answer that there is nothing, and a name
// that begins with "servfail" gets none.
type testDNS struct {
	mx    map[string][]*net.MX
	hosts map[string][]string
	zone  testZone // what Ask answers from
	asked []string

	insecure bool // what Ask says is not proved by DNSSEC
}

func (d *testDNS) Ask(_ context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	if strings.HasPrefix(name, "servfail") {
		return DNSAnswer{}, dnsError(name, false)
	}
	if kind == dnsmessage.TypeMX && d.mx != nil {
		return d.lookupMX(name)
	}
	return d.zone.ask(name, kind, !d.insecure)
}

func dnsError(name string, notFound bool) error {
	return &net.DNSError{Err: "test", Name: name, IsNotFound: notFound, IsTemporary: !notFound}
}

// lookupMX answers from the map, without DNSSEC.
func (d *testDNS) lookupMX(name string) (DNSAnswer, error) {
	d.asked = append(d.asked, name)
	a := DNSAnswer{Name: name + "."}
	for _, mx := range d.mx[name] {
		host := dnsmessage.MustNewName(mx.Host)
		a.Records = append(a.Records, dnsmessage.Resource{Body: &dnsmessage.MXResource{Pref: mx.Pref, MX: host}})
	}
	if len(a.Records) == 0 {
		return a, dnsError(name, true)
	}
	return a, nil
}

func (d *testDNS) LookupHost(_ context.Context, name string) ([]string, error) {
	d.asked = append(d.asked, name)
	if strings.HasPrefix(name, "servfail") {
		return nil, dnsError(name, false)
	}
	if a := d.hosts[strings.TrimSuffix(name, ".")]; len(a) > 0 {
		return a, nil
	}
	return nil, dnsError(name, true)
}

// directTest is a queueTest without routes: DNS and dialling are ours. Every address leads to the peer except those in dead.
func directTest(t *testing.T, p *peer, dns *testDNS, dead ...string) (qt *queueTest, dialled func() []string) {
	qt = newQueueTest(t, p)
	qt.cfg.Routes = nil
	qt.dns = dns
	ch := make(chan string, 100)
	qt.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ch <- addr
		for _, d := range dead {
			if addr == d {
				return nil, fmt.Errorf("dial %s: connection refused", addr)
			}
		}
		return net.Dial("tcp", p.addr())
	}
	return qt, func() (all []string) {
		for len(ch) > 0 {
			all = append(all, <-ch)
		}
		return all
	}
}

func TestMXRoutes(t *testing.T) {
	t.Parallel()
	mx := func(list ...any) (all []*net.MX) {
		for i := 0; i < len(list); i += 2 {
			all = append(all, &net.MX{Host: list[i].(string), Pref: uint16(list[i+1].(int))})
		}
		return all
	}
	dns := &testDNS{
		mx: map[string][]*net.MX{
			"two.example":           mx("b.example.", 20, "a.example.", 10),
			"null.example":          mx(".", 0),
			"self.example":          mx("a.example.", 20, "MX.home.arpa.", 10),
			"backup.example":        mx("a.example.", 5, "mx.home.arpa.", 10, "b.example.", 20),
			"lost.example":          mx("gone.example.", 10),
			"half.example":          mx("servfail.example.", 10, "gone.example.", 20),
			"xn--bcher-kva.example": mx("a.example.", 1),
		},
		hosts: map[string][]string{"a.example": {"192.0.2.1", "2001:db8::1"}, "b.example": {"192.0.2.2"}, "plain.example": {"192.0.2.3"}},
	}
	for _, c := range []struct{ domain, dialled, status, queued string }{
		{"two.example", "192.0.2.1:25 [2001:db8::1]:25 192.0.2.2:25", "", ""},
		{"plain.example", "192.0.2.3:25", "", ""},
		{"bücher.example", "192.0.2.1:25 [2001:db8::1]:25", "", ""},
		{"[192.0.2.9]", "192.0.2.9:25", "", ""},
		{"[IPv6:2001:db8::9]", "[2001:db8::9]:25", "", ""},
		{"backup.example", "192.0.2.1:25 [2001:db8::1]:25", "", ""},
		{"null.example", "", "5.1.10", ""},
		{"gone.example", "", "5.1.2", ""},
		{"self.example", "", "5.4.6", ""},
		{"lost.example", "", "5.1.2", ""},
		{"servfail.example", "", "", "DNS: "},
		{"half.example", "", "", "DNS: "},
	} {
		p := newPeer(t, nil)
		dead := strings.Fields(c.dialled)
		if len(dead) > 0 {
			dead = dead[:len(dead)-1] // the last one answers
		}
		qt, dialled := directTest(t, p, dns, dead...)
		qt.submit("ann@home.arpa", "x@"+c.domain)
		qt.step()
		if got := strings.Join(dialled(), " "); got != c.dialled {
			t.Errorf("%s: dialled %q", c.domain, got)
		}
		box := strings.Join(qt.inbox(t, "ann@home.arpa"), "")
		if c.status == "" && box != "" || c.status != "" && !strings.Contains(box, "\r\nStatus: "+c.status+"\r\n") {
			t.Errorf("%s: report %q", c.domain, box)
		}
		items := qt.queue()
		if c.queued == "" && len(items) > 0 {
			t.Errorf("%s: queue %+v", c.domain, items)
		}
		if c.queued != "" {
			var ds []Destination
			qt.store.Read(func(tx *Tx) (err error) { ds, err = tx.Destinations(); return err })
			if len(items) != 1 || len(ds) != 1 || !strings.HasPrefix(ds[0].Error, c.queued) {
				t.Errorf("%s: queue %+v, %+v", c.domain, items, ds)
			}
		}
	}
}

// TestLANNames: names of the local network are not looked up as mail domains, and that one is not there passes.
func TestLANNames(t *testing.T) {
	for _, domain := range []string{"printer", "lab.lan", "lab.internal", "lab.local", "lab.home.arpa"} {
		dns := &testDNS{hosts: map[string][]string{}}
		p := newPeer(t, nil)
		qt, dialled := directTest(t, p, dns)
		qt.submit("ann@home.arpa", "x@"+domain)
		qt.step()
		qt.wantQueue(1)
		if e := qt.destinationError(t); !strings.HasPrefix(e, errAway.Error()) || len(qt.inbox(t, "ann@home.arpa")) > 0 {
			t.Errorf("%s: %q", domain, e)
		}
		dns.hosts[domain] = []string{"192.0.2.7"}
		qt.forward(3 * time.Minute)
		qt.step()
		qt.wantQueue(0)
		if got := strings.Join(dialled(), " "); got != "192.0.2.7:25" {
			t.Errorf("%s: dialled %q", domain, got)
		}
		for _, q := range dns.asked {
			if strings.TrimSuffix(q, ".") != domain || len(dns.asked) != 2 {
				t.Errorf("%s: asked %q", domain, dns.asked)
			}
		}
	}
	for _, domain := range []string{"local.example", "lan.example.org", "plan", "a.plan", "home.arpa.example"} {
		if lanName(domain) != (domain == "plan") {
			t.Errorf("%s: %v", domain, lanName(domain))
		}
	}
}

// TestLANAsk has a neighbour answer to its name, after one who talks nonsense, and nobody to another.
func TestLANAsk(t *testing.T) {
	t.Parallel()
	nc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	go func() {
		buf := make([]byte, 1500)
		for asked := 0; ; asked++ {
			n, from, err := nc.ReadFromUDP(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 || asked < 2 { // the first packets are lost
				continue
			}
			q := m.Questions[0]
			h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
			other := h
			other.Name = dnsmessage.MustNewName("other.local.")
			m.Response = true
			m.Answers = []dnsmessage.Resource{{Header: other, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
			if q.Name.String() == "lab.local." && q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}})
			} else if q.Name.String() == "lab.local." {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0xfe, 0x80, 15: 1}}},
					dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}})
			}
			b, _ := m.Pack()
			nc.WriteToUDP([]byte("nonsense"), from)
			nc.WriteToUDP(b, from)
			m.ID++ // somebody's answer to another question
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 66}}}}
			b, _ = m.Pack()
			nc.WriteToUDP(b, from)
		}
	}()
	r := &lanResolver{&testDNS{}, nc.LocalAddr().(*net.UDPAddr)}
	for host, want := range map[string]string{"Lab.local.": "192.0.2.7 2001:db8::1", "nobody.local": "", "lab.lan": ""} {
		got, err := r.LookupHost(t.Context(), host)
		if strings.Join(got, " ") != want || (err == nil) != (want != "") || err != nil && !dnsNotFound(err) {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
	p := newPeer(t, nil)
	qt, dialled := directTest(t, p, &testDNS{hosts: map[string][]string{"lab.local": {"192.0.2.7"}}})
	qt.cfg.Routes = map[string]Route{".": {Hosts: []string{"lab.local:2525"}}}
	qt.submit("ann@home.arpa", "x@far.example")
	qt.step()
	if got := strings.Join(dialled(), " "); got != "192.0.2.7:2525" {
		t.Errorf("dialled %q", got)
	}
}

// TestNoDNSForRoutes: a routed domain, a local one and a literal need no DNS.
func TestNoDNSForRoutes(t *testing.T) {
	dns := &testDNS{}
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.dns = dns
	qt.submit("ann@home.arpa", "x@far.example", "bob@home.arpa", "y@lab.internal")
	qt.step()
	qt.wantQueue(0)
	if len(dns.asked) > 0 {
		t.Errorf("asked for %q", dns.asked)
	}
}

func (qt *queueTest) destinationError(t *testing.T) string {
	t.Helper()
	var ds []Destination
	qt.store.Read(func(tx *Tx) (err error) { ds, err = tx.Destinations(); return err })
	if len(ds) != 1 {
		t.Fatalf("destinations %+v", ds)
	}
	return ds[0].Error
}

// TestSTARTTLSOutbound sends to a server of our own, whose certificate nobody signed: encrypted all the same.
func TestSTARTTLSOutbound(t *testing.T) {
	far := startServer(t, `domains = ["far.example", "home.arpa"]`, "[smtp]", `local_senders = "any"`) // both have home.arpa
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.cfg.Routes = map[string]Route{".": {Hosts: []string{far.addr["smtp"]}}}
	qt.submit("ann@home.arpa", "postmaster@far.example")
	qt.step()
	qt.wantQueue(0)
	got := far.inbox(t, "ann@home.arpa")
	if len(got) != 1 || !strings.Contains(got[0], " with ESMTPS id ") {
		t.Errorf("came %q", got)
	}
}

// TestSTARTTLSBroken: a handshake that fails is followed by a new connection without TLS; octets in front of the
// handshake are an attack, and the host is left alone.
func TestSTARTTLSBroken(t *testing.T) {
	for _, answer := range []string{"220 go\r\nthis is no TLS record, and long enough for one", "454 4.7.0 not now"} {
		p := newPeer(t, func(l string) string {
			if l == "STARTTLS" {
				return answer
			}
			return ""
		})
		p.ehlo = "STARTTLS\nPIPELINING"
		qt := newQueueTest(t, p)
		qt.submit("ann@home.arpa", "x@far.example")
		qt.step()
		if strings.HasPrefix(answer, "220") { // both lines came in one write
			qt.wantQueue(1)
			if e := qt.destinationError(t); !strings.Contains(e, "in front of the TLS handshake") {
				t.Errorf("error %q", e)
			}
			continue
		}
		qt.wantQueue(0)
		if p.connections() != 2 {
			t.Errorf("%d connections", p.connections())
		}
	}
	p := newPeer(t, func(l string) string {
		if l == "STARTTLS" {
			return "220 go"
		}
		return ""
	})
	p.ehlo = "STARTTLS"
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "x@far.example")
	qt.step()
	qt.wantQueue(0)
	if p.connections() != 2 {
		t.Errorf("%d connections", p.connections())
	}
}

// TestSmarthost logs in at a submission port of our own, under TLS; the certificate is only taken when any_cert says so.
func TestSmarthost(t *testing.T) {
	for _, service := range []string{"submission", "submissions"} {
		for _, anyCert := range []bool{false, true} {
			hub := startServer(t)
			pass := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(pass, []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			qt := newQueueTest(t, newPeer(t, nil))
			qt.cfg.Domains, qt.cfg.Routes = []string{"lab.arpa"}, nil
			o := &qt.cfg.Outbound
			o.Mode, o.Smarthost, o.User, o.PasswordFile, o.AnyCert = OutboundSmarthost, hub.addr[service], "ann", pass, anyCert
			if service == "submissions" { // known by its port number in real life
				addr := hub.addr[service]
				o.Smarthost = "127.0.0.1:465"
				qt.dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", addr) }
			}
			qt.submit("ann@home.arpa", "bob@home.arpa")
			qt.step()
			if !anyCert {
				qt.wantQueue(1)
				if e := qt.destinationError(t); !strings.Contains(e, "certificate") {
					t.Errorf("error %q", e)
				}
				continue
			}
			qt.wantQueue(0)
			got := hub.inbox(t, "bob@home.arpa")
			if len(got) != 1 || !strings.Contains(got[0], " with ESMTPSA id ") {
				t.Errorf("%s: came %q", service, got)
			}
		}
	}
}

// TestSmarthostPassword: it is not sent where no TLS is offered, and a wrong one costs no mail.
func TestSmarthostPassword(t *testing.T) {
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("wrong"), 0o600)
	p := newPeer(t, nil)
	p.ehlo = "AUTH PLAIN LOGIN"
	hub := startServer(t)
	for _, c := range []struct{ host, want string }{{p.addr(), "does not offer STARTTLS"}, {hub.addr["submission"], "after AUTH: 535"}} {
		qt := newQueueTest(t, p)
		qt.cfg.Domains, qt.cfg.Routes = []string{"lab.arpa"}, nil
		o := &qt.cfg.Outbound
		o.Mode, o.Smarthost, o.User, o.PasswordFile, o.AnyCert = OutboundSmarthost, c.host, "ann", pass, true
		qt.submit("ann@home.arpa", "bob@home.arpa")
		qt.step()
		qt.wantQueue(1)
		if e := qt.destinationError(t); !strings.Contains(e, c.want) {
			t.Errorf("error %q", e)
		}
	}
	if p.count("AUTH") != 0 {
		t.Errorf("said %q", p.said())
	}
}

// TestSMTPClientLimits: replies without end, without sense and without hurry.
func TestSMTPClientLimits(t *testing.T) {
	for name, greeting := range map[string]string{
		"many lines":   strings.Repeat("220-x\r\n", smtpReplyLines+1) + "220 x",
		"long line":    "220 " + strings.Repeat("x", 2*smtpReplyLine),
		"changes code": "220-x\r\n221 y",
		"no number":    "hello",
		"1xx":          "120 wait",
		"6xx":          "600 what",
	} {
		p := newPeer(t, func(l string) string {
			if l == "<connect>" {
				return greeting
			}
			return ""
		})
		qt := newQueueTest(t, p)
		qt.submit("ann@home.arpa", "x@far.example")
		qt.step()
		if e := qt.destinationError(t); !strings.Contains(e, smtpErrReply.Error()) { // and not that of a silent peer
			t.Errorf("%s: error %q", name, e)
		}
	}
}

// cutter passes connections on and cuts each after so many octets in one direction.
type cutter struct {
	addr, to string

	mu     sync.Mutex
	after  int  // octets; -1 never cuts
	answer bool // of what the server says, not the client
	said   int  // octets that the client said in all, and
	heard  int  // that it heard
}

func newCutter(t *testing.T, to string) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := &cutter{addr: l.Addr().String(), to: to, after: -1}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.pass(c)
		}
	}()
	return k
}

func (k *cutter) set(after int, answer bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.after, k.answer, k.said, k.heard = after, answer, 0, 0
}

// count says how many octets passed since set.
func (k *cutter) count() (said, heard int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.said, k.heard
}

// pass waits until what was let through has been read, so that only the octets beyond are lost.
func (k *cutter) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer s.Close()
	k.mu.Lock()
	after, answer := k.after, k.answer
	k.mu.Unlock()
	var wg sync.WaitGroup
	copyTo := func(to, from net.Conn, cut bool, n *int) {
		var r io.Reader = from
		if cut {
			r = io.LimitReader(from, int64(after))
		}
		buf := make([]byte, 4096)
		for {
			got, err := r.Read(buf)
			to.Write(buf[:got])
			k.mu.Lock()
			*n += got
			k.mu.Unlock()
			if err != nil {
				break
			}
		}
		to.(*net.TCPConn).CloseWrite()
		if cut {
			to.SetReadDeadline(time.Now().Add(5 * time.Millisecond)) // the other direction ends soon
			from.SetReadDeadline(time.Now())
		}
	}
	wg.Go(func() { copyTo(s, c, after >= 0 && !answer, &k.said) })
	wg.Go(func() { copyTo(c, s, after >= 0 && answer, &k.heard) })
	wg.Wait()
}

// TestSMTPCut cuts sessions that carry two messages after every octet, either way. When the line is whole again each
// message comes, and only those come twice whose last reply was lost.
func TestSMTPCut(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{"SIZE", "PIPELINING", "CHUNKING\nPIPELINING"} {
		p := newPeer(t, nil)
		p.ehlo = ext
		k := newCutter(t, p.addr())
		qt := newQueueTest(t, p)
		qt.cfg.Routes = map[string]Route{".": {Hosts: []string{k.addr}}}
		var said, heard int
		round := func(after int, answer bool) (twice int) {
			k.set(after, answer)
			p.mu.Lock()
			p.mails = nil
			p.mu.Unlock()
			names := []string{qt.submit("ann@home.arpa", "x@far.example"), qt.submit("ann@home.arpa", "y@far.example")}
			qt.step()
			said, heard = k.count()
			k.set(-1, false)
			qt.forward(2 * time.Hour)
			qt.step()
			qt.wantQueue(0)
			came := strings.Join(p.received(), "")
			for _, n := range names {
				switch got := strings.Count(came, "Message-ID: <"+n+"@"); got {
				case 1:
				case 2:
					twice++
				default:
					t.Errorf("%q: cut after %d (answer %v): %s came %d times", ext, after, answer, n, got)
				}
			}
			return twice
		}
		round(-1, false)
		step := 1
		if ext != "PIPELINING" {
			step = 3
		}
		if testing.Short() {
			step = 17
		}
		for _, c := range []struct {
			answer bool
			octets int
			most   int // times that one of the messages may come twice
		}{{false, said, 2 * 8}, {true, heard, 2 * 3 * (len("250 2.0.0 taken\r\n") + 2)}} {
			twice := 0
			for n := 0; n < c.octets; n += step {
				twice += round(n, c.answer)
			}
			if twice > c.most {
				t.Errorf("%q (answer %v): %d messages came twice in %d cuts", ext, c.answer, twice, c.octets)
			}
			t.Logf("%q (answer %v): %d messages came twice in %d cuts", ext, c.answer, twice, c.octets)
		}
		if box := qt.inbox(t, "ann@home.arpa"); len(box) > 0 {
			t.Errorf("%d reports", len(box))
		}
	}
}

// TestSMTPNonsense has a peer answer every command with nonsense once: no message is lost or given back for that, and none
// comes twice but when the nonsense was the answer to its content.
func TestSMTPNonsense(t *testing.T) {
	t.Parallel()
	qt := newQueueTest(t, newPeer(t, nil))
	for i, nonsense := range []string{" ", "hello", "250-OK\r\n251 not", "250_OK", "99 x", "999 x", "2x0 x", "\x00\xff\xfe", "150 wait", "354 go", "250", "220 what", "334 x",
		"250 one\r\n250 two", strings.Repeat("9", 5000), "250-" + strings.Repeat("x\r\n250-", 200) + "x", "cut"} {
		if testing.Short() && i%4 > 0 {
			continue
		}
		for k, at := range []string{"<connect>", "EHLO", "MAIL", "RCPT", "DATA", "<data>", "QUIT"} {
			for _, ext := range []string{"SIZE", "PIPELINING"}[(i+k)%2:] {
				once := true
				p := newPeer(t, func(l string) string {
					if once && strings.HasPrefix(l, at) {
						once = false
						return nonsense
					}
					return ""
				})
				p.ehlo = ext
				qt.cfg.Routes = map[string]Route{".": {Hosts: []string{p.addr()}}}
				names := []string{qt.submit("ann@home.arpa", "x@far.example"), qt.submit("ann@home.arpa", "y@far.example")}
				for range 3 {
					qt.step()
					qt.forward(2 * time.Hour)
				}
				came := strings.Join(p.received(), "")
				for _, n := range names {
					if got := strings.Count(came, "Message-ID: <"+n+"@"); got != 1 && !(got == 2 && at == "<data>") {
						t.Errorf("%s answered by %.20q (%s): %s came %d times", at, nonsense, ext, n, got)
					}
				}
				if n, box := len(qt.queue()), qt.inbox(t, "ann@home.arpa"); n > 0 || len(box) > 0 {
					t.Errorf("%s answered by %.20q (%s): %d in the queue, reports %q", at, nonsense, ext, n, box)
				}
			}
		}
	}
}

// TestSMTPSizeLimit: a message that the peer's SIZE does not allow is not sent to it.
func TestSMTPSizeLimit(t *testing.T) {
	p := newPeer(t, nil)
	p.ehlo = "SIZE 100"
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "x@far.example")
	qt.step()
	qt.wantQueue(0)
	if box := qt.inbox(t, "ann@home.arpa"); len(box) != 1 || !strings.Contains(box[0], "Status: 5.3.4") || p.count("MAIL") != 0 {
		t.Errorf("report %q, said %q", box, p.said())
	}
}
