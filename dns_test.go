package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// testZone is all of a DNS: the records of each name, in small letters with the dot at its end.
type testZone map[string][]dnsmessage.Resource

// newTestZone reads lines such as
//
//	example.org MX 10 mx.example.org
//	_25._tcp.mx.example.org TLSA 3 1 1 0123…
//	example.org TXT v=spf1 mx -all
//
// A text is the rest of its line. Names need no dot at their end.
func newTestZone(t testing.TB, text string) testZone {
	t.Helper()
	z := testZone{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			z.add(t, line)
		}
	}
	return z
}

func (z testZone) add(t testing.TB, line string) {
	t.Helper()
	f := strings.Fields(line)
	if len(f) < 3 {
		t.Fatalf("no record: %q", line)
	}
	name := strings.ToLower(strings.TrimSuffix(f[0], ".")) + "."
	of := func(s string) dnsmessage.Name {
		n, err := dnsmessage.NewName(strings.TrimSuffix(s, ".") + ".")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	h := dnsmessage.ResourceHeader{Name: of(name), Class: dnsmessage.ClassINET, TTL: 300}
	var b dnsmessage.ResourceBody
	switch kind := f[1]; kind {
	case "A":
		h.Type, b = dnsmessage.TypeA, &dnsmessage.AResource{A: netip.MustParseAddr(f[2]).As4()}
	case "AAAA":
		h.Type, b = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(f[2]).As16()}
	case "MX":
		n, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatal(err)
		}
		h.Type, b = dnsmessage.TypeMX, &dnsmessage.MXResource{Pref: uint16(n), MX: of(f[3])}
	case "PTR":
		h.Type, b = dnsmessage.TypePTR, &dnsmessage.PTRResource{PTR: of(f[2])}
	case "CNAME":
		h.Type, b = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: of(f[2])}
	case "TXT":
		_, rest, _ := strings.Cut(line, " TXT ")
		h.Type, b = dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: dnsStrings(strings.TrimSpace(rest))}
	case "TLSA":
		data, err := hex.DecodeString(f[5])
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			n, err := strconv.ParseUint(f[4-i], 10, 8)
			if err != nil {
				t.Fatal(err)
			}
			data = append([]byte{byte(n)}, data...)
		}
		h.Type, b = TypeTLSA, &dnsmessage.UnknownResource{Type: TypeTLSA, Data: data}
	default:
		t.Fatalf("no kind of record: %q", line)
	}
	z[name] = append(z[name], dnsmessage.Resource{Header: h, Body: b})
}

// dnsStrings cuts a text into the strings of at most 255 octets that a TXT record has.
func dnsStrings(s string) []string {
	var all []string
	for len(s) > 255 {
		all, s = append(all, s[:255]), s[255:]
	}
	return append(all, s)
}

// answer is what a server says: the records, and for aliases the way to them. Below a name that is there "no such name" is not said.
func (z testZone) answer(q dnsmessage.Question) (all []dnsmessage.Resource, code dnsmessage.RCode) {
	name := strings.ToLower(q.Name.String())
	for range dnsAliases + 2 {
		next := ""
		for _, r := range z[name] {
			alias, ok := r.Body.(*dnsmessage.CNAMEResource)
			switch {
			case r.Header.Type == q.Type:
				all = append(all, r)
			case ok:
				all = append(all, r)
				next = strings.ToLower(alias.CNAME.String())
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	for have := range z {
		if have == name || strings.HasSuffix(have, "."+name) {
			return all, dnsmessage.RCodeSuccess
		}
	}
	return all, dnsmessage.RCodeNameError
}

// ask answers without a server between.
func (z testZone) ask(name string, kind dnsmessage.Type, secure bool) (DNSAnswer, error) {
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return DNSAnswer{}, dnsError(name, true)
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{AuthenticData: secure}}
	m.Answers, m.RCode = z.answer(dnsmessage.Question{Name: n, Type: kind})
	return dnsRead(&m, n, kind, true)
}

// testNameserver is a DNS server on the loopback interface, by UDP and TCP.
type testNameserver struct {
	addr   string
	mu     sync.Mutex
	zone   testZone
	change func(*dnsmessage.Message) // of each answer; nil leaves it
	asked  atomic.Int64
	mute   atomic.Bool // reads and answers nothing
}

func newTestNameserver(t testing.TB, zone testZone) *testNameserver {
	return newTestNameserverAt(t, zone, "127.0.0.1:0")
}

func newTestNameserverAt(t testing.TB, zone testZone, addr string) *testNameserver {
	t.Helper()
	ns := &testNameserver{zone: zone}
	var pc net.PacketConn
	var l net.Listener
	for range 20 { // a port that is free for both
		var err error
		pc, err = net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		l, err = net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			break
		}
		pc.Close()
	}
	if l == nil {
		t.Fatal("no port is free for UDP and TCP")
	}
	ns.addr = pc.LocalAddr().String()
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		defer wg.Done()
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if b := ns.respond(buf[:n], dnsPacket); b != nil {
				pc.WriteTo(b, from)
			}
		}
	}()
	go func() {
		defer wg.Done()
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(time.Minute))
			var size [2]byte
			if _, err := io.ReadFull(nc, size[:]); err == nil {
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(nc, b); err == nil {
					if b = ns.respond(b, 1<<16-1); b != nil {
						nc.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
					}
				}
			}
			nc.Close()
		}
	}()
	t.Cleanup(func() { pc.Close(); l.Close(); wg.Wait() })
	return ns
}

// changes has each answer changed from now on.
func (ns *testNameserver) changes(change func(*dnsmessage.Message)) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.change = change
}

func (ns *testNameserver) respond(b []byte, most int) []byte {
	var m dnsmessage.Message
	ns.asked.Add(1)
	if m.Unpack(b) != nil || len(m.Questions) != 1 || ns.mute.Load() {
		return nil
	}
	r := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, AuthenticData: m.AuthenticData}, Questions: m.Questions}
	ns.mu.Lock()
	r.Answers, r.RCode = ns.zone.answer(m.Questions[0])
	if ns.change != nil {
		ns.change(&r)
	}
	ns.mu.Unlock()
	out, err := r.Pack()
	if err != nil || len(out) > most {
		r.Answers, r.Truncated = nil, true
		out, _ = r.Pack()
	}
	return out
}

func TestAsk(t *testing.T) {
	long := strings.Repeat("x", 3000)
	ns := newTestNameserver(t, newTestZone(t, `
		example.org MX 10 mx.example.org
		mx.example.org A 192.0.2.1
		mx.example.org AAAA 2001:db8::1
		_25._tcp.mx.example.org TLSA 3 1 1 00ff
		1.2.0.192.in-addr.arpa PTR mx.example.org
		alias.example.org CNAME other.example.org
		other.example.org TXT v=spf1 -all
		other.example.org TXT another one
		loop.example.org CNAME pool.example.org
		pool.example.org CNAME loop.example.org
		dangling.example.org CNAME gone.example.org
		long.example.org TXT `+long))
	r := NewResolver([]string{ns.addr}, false)
	ask := func(name string, kind dnsmessage.Type) DNSAnswer {
		t.Helper()
		a, err := r.Ask(t.Context(), name, kind)
		if err != nil {
			t.Errorf("%s %s: %v", name, kind, err)
		}
		if !a.Secure {
			t.Errorf("%s: a resolver on this machine is not believed", name)
		}
		return a
	}
	got := fmt.Sprintln(ask("example.org", dnsmessage.TypeMX).MX()[0].Host, ask("mx.example.org.", dnsmessage.TypeA).Addrs(), ask("MX.example.org.", dnsmessage.TypeAAAA).Addrs(),
		ask("_25._tcp.mx.example.org", TypeTLSA).TLSA(), ask("1.2.0.192.in-addr.arpa", dnsmessage.TypePTR).PTR(),
		ask("alias.example.org", dnsmessage.TypeTXT).TXT(), ask("alias.example.org", dnsmessage.TypeTXT).Name, ask("example.org", dnsmessage.TypeA).Records)
	want := "mx.example.org. [192.0.2.1] [2001:db8::1] [{3 1 1 [0 255]}] [mx.example.org.] [v=spf1 -all another one] other.example.org. []\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if a := ask("long.example.org", dnsmessage.TypeTXT); a.TXT()[0] != long || a.TTL != 300*time.Second { // by TCP
		t.Errorf("a long text came as %d octets, TTL %v", len(a.TXT()[0]), a.TTL)
	}
	for name, notFound := range map[string]bool{"gone.example.org": true, "dangling.example.org": true, "loop.example.org": false,
		strings.Repeat("x", 64) + ".org": true, strings.Repeat("x.", 200): true, "a..b": true} {
		_, err := r.Ask(t.Context(), name, dnsmessage.TypeTXT)
		if err == nil || dnsNotFound(err) != notFound {
			t.Errorf("%s: %v, not found is to be %v", name, err, notFound)
		}
	}
	if addrs, err := r.LookupHost(t.Context(), "mx.example.org."); err != nil || !slices.Contains(addrs, "192.0.2.1") {
		t.Errorf("Go's resolver asks the servers of mail.toml, too: %v %v", addrs, err)
	}

	ns.changes(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure })
	_, err := r.Ask(t.Context(), "example.org", dnsmessage.TypeMX)
	var de *net.DNSError
	if !errors.As(err, &de) || !de.IsTemporary || de.IsTimeout || !strings.Contains(de.Err, "ServerFailure") {
		t.Errorf("SERVFAIL: %v", err)
	}
	ns.changes(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeNS }) // an answer to something else
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = r.Ask(ctx, "example.org", dnsmessage.TypeMX); !errors.As(err, &de) || !de.IsTimeout {
		t.Errorf("somebody else's answer: %v", err)
	}
}

// Resolvers of resolv.conf are asked in turn; what they say of DNSSEC is believed if they are here, or trusted by name.
func TestResolvConf(t *testing.T) {
	c := parseResolvConf("# nameserver 9.9.9.9\nsearch lan\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver 192.0.2.54\noptions edns0 trust-add\n")
	if got, want := fmt.Sprint(c.servers), "[192.0.2.53:53 [fe80::1%eth0]:53 [::1]:53]"; got != want {
		t.Errorf("servers %s, not %s", got, want)
	}
	if c.trusts(c.servers[0]) || !c.trusts(c.servers[2]) {
		t.Error("who is trusted")
	}
	if c = parseResolvConf("nameserver 192.0.2.53\noptions edns0 trust-ad\n"); !c.trusts("192.0.2.53:53") {
		t.Error("trust-ad means nothing")
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	d := &dnsStub{file: file}
	if _, err := d.Ask(t.Context(), "example.org", dnsmessage.TypeMX); err == nil || dnsNotFound(err) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.looked = d.looked.Add(-dnsReload)
	if c := d.config(); len(c.servers) != 1 {
		t.Errorf("the file came later: %v", c)
	}
}
