package main

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func mdnsTest(t *testing.T) (*mdns, *mdnsLink) {
	cfg, err := parseConfig("[listen]\nhttp = [\":8080\"]\nimaps = [\"127.0.0.1:993\", \"0.0.0.0:2993\"]\nsubmissions = [\"localhost:465\"]")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Hostname = "Post Box.local" // as a machine may be called that nobody gave a proper name
	host, _, _ := strings.Cut(cfg.Hostname, ".")
	l := &mdnsLink{name: "test", addrs: []netip.Prefix{netip.MustParsePrefix("192.168.7.5/24"), netip.MustParsePrefix("fe80::5/64")}}
	return &mdns{log: slog.New(slog.DiscardHandler), host: mdnsLabel(host), services: mdnsServices(cfg), hostOurs: true, crew: NewCrew(slog.New(slog.DiscardHandler), nil), port: mdnsPort, again: make(chan struct{}, 1),
		links: map[int]*mdnsLink{1: l}}, l
}

// mdnsAsk makes a question, with records that the asker knows.
func mdnsAsk(t *testing.T, name string, kind dnsmessage.Type, class dnsmessage.Class, known ...dnsmessage.Resource) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77}, Answers: known,
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: class}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mdnsRead(t *testing.T, b []byte) (m dnsmessage.Message) {
	t.Helper()
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMDNS asks for everything that is announced, in each way that RFC 6762 knows.
func TestMDNS(t *testing.T) {
	m, l := mdnsTest(t)
	if m.host != "postbox" || len(m.services) != 2 {
		t.Fatalf("host %q, services %v", m.host, m.services)
	}
	ask := func(name string, kind dnsmessage.Type, class dnsmessage.Class, port uint16, known ...dnsmessage.Resource) (msg dnsmessage.Message, unicast, shared bool) {
		t.Helper()
		b, unicast, shared := m.respond(l, port, mdnsAsk(t, name, kind, class, known...))
		if b == nil {
			return msg, unicast, shared
		}
		return mdnsRead(t, b), unicast, shared
	}
	r, unicast, shared := ask("POSTBOX.local.", dnsmessage.TypeA, dnsmessage.ClassINET, mdnsPort)
	if len(r.Answers) != 1 || unicast || shared || r.ID != 0 || !r.Response || !r.Authoritative || len(r.Questions) != 0 {
		t.Fatalf("address: %+v unicast %v shared %v", r, unicast, shared)
	}
	if a := r.Answers[0]; a.Header.Class != dnsmessage.ClassINET|mdnsFlush || a.Header.TTL != mdnsHostTTL || a.Body.(*dnsmessage.AResource).A != [4]byte{192, 168, 7, 5} {
		t.Errorf("address record %+v", a)
	}
	if r, _, _ := ask("postbox.local.", dnsmessage.TypeALL, dnsmessage.ClassANY, mdnsPort); len(r.Answers) != 2 {
		t.Errorf("any: %d answers", len(r.Answers))
	}
	if _, unicast, _ := ask("postbox.local.", dnsmessage.TypeAAAA, dnsmessage.ClassINET|mdnsUnicast, mdnsPort); !unicast {
		t.Error("a question for a unicast answer (RFC 6762 §5.4) got none")
	}
	r, unicast, shared = ask("_http._tcp.local.", dnsmessage.TypePTR, dnsmessage.ClassINET, mdnsPort)
	if len(r.Answers) != 1 || unicast || !shared || len(r.Additionals) != 4 {
		t.Fatalf("service: %d answers, %d more, unicast %v shared %v", len(r.Answers), len(r.Additionals), unicast, shared)
	}
	if p := r.Answers[0]; p.Body.(*dnsmessage.PTRResource).PTR.String() != "Mail on postbox._http._tcp.local." || p.Header.Class != dnsmessage.ClassINET {
		t.Errorf("pointer %+v", p)
	}
	known := r.Answers[0]
	if r, _, _ := ask("_http._tcp.local.", dnsmessage.TypePTR, dnsmessage.ClassINET, mdnsPort, known); r.Response {
		t.Error("an answer that was known already (RFC 6762 §7.1)")
	}
	known.Header.TTL = mdnsOtherTTL/2 - 1
	if r, _, _ := ask("_http._tcp.local.", dnsmessage.TypePTR, dnsmessage.ClassINET, mdnsPort, known); !r.Response {
		t.Error("no answer although what is known is about to run out")
	}
	if r, _, _ := ask(mdnsAll, dnsmessage.TypePTR, dnsmessage.ClassINET, mdnsPort); len(r.Answers) != 2 {
		t.Errorf("%d kinds of services", len(r.Answers))
	}
	r, _, _ = ask("Mail on postbox._imaps._tcp.local.", dnsmessage.TypeSRV, dnsmessage.ClassINET, mdnsPort)
	if s := r.Answers[0].Body.(*dnsmessage.SRVResource); s.Port != 2993 || s.Target.String() != "postbox.local." {
		t.Errorf("service %+v", s)
	}
	r, unicast, _ = ask("postbox.local.", dnsmessage.TypeA, dnsmessage.ClassINET, 40000)
	if !unicast || r.ID != 77 || len(r.Questions) != 1 || r.Answers[0].Header.TTL != mdnsLegacyTTL || r.Answers[0].Header.Class != dnsmessage.ClassINET {
		t.Errorf("an ordinary resolver (RFC 6762 §6.7) got %+v", r)
	}
	for _, name := range []string{"other.local.", "local.", "_smb._tcp.local."} {
		if r, _, _ := ask(name, dnsmessage.TypeALL, dnsmessage.ClassINET, mdnsPort); r.Response {
			t.Errorf("an answer for %s", name)
		}
	}
	m.hostOurs = false
	if r, _, _ := ask("postbox.local.", dnsmessage.TypeA, dnsmessage.ClassINET, mdnsPort); r.Response {
		t.Error("an answer for a name that another responder of this machine has")
	}
}

// TestMDNSProbe sees that we ask before we take a name, hear who has it, and do not take ourselves for another.
func TestMDNSProbe(t *testing.T) {
	m, l := mdnsTest(t)
	m.links[2] = &mdnsLink{addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/8")}}
	p := mdnsRead(t, m.probe(l))
	if p.Response || len(p.Questions) != 1 || len(p.Authorities) != 2 || p.Questions[0].Type != dnsmessage.TypeALL || p.Authorities[0].Header.Class != dnsmessage.ClassINET {
		t.Errorf("probe %+v", p)
	}
	m.probing = true
	say := func(ip [4]byte) {
		t.Helper()
		msg := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("PostBox.local."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET | mdnsFlush, TTL: 120},
			Body:   &dnsmessage.AResource{A: ip}}}}
		b, err := msg.Pack()
		if err != nil {
			t.Fatal(err)
		}
		m.respond(l, mdnsPort, b)
	}
	if say([4]byte{192, 168, 7, 5}); m.conflict {
		t.Error("our own address is a conflict")
	}
	if say([4]byte{10, 0, 0, 9}); m.conflict {
		t.Error("our address on another link is a conflict")
	}
	if b, _, _ := m.respond(l, mdnsPort, mdnsAsk(t, "postbox.local.", dnsmessage.TypeA, dnsmessage.ClassINET)); b != nil {
		t.Error("an answer while probing")
	}
	if say([4]byte{192, 168, 7, 99}); !m.conflict {
		t.Error("another's address is no conflict")
	}
	m.probing = false
	if say([4]byte{192, 168, 7, 5}); len(m.again) != 0 {
		t.Error("our own announcement makes us probe again")
	}
	if say([4]byte{192, 168, 7, 99}); len(m.again) != 1 {
		t.Error("another has our name and nothing happens (RFC 6762 §9)")
	}
}

// TestMDNSTie lets two boards probe for one name at the same time: one of them has to step back, and only one.
func TestMDNSTie(t *testing.T) {
	a, la := mdnsTest(t)
	b, lb := mdnsTest(t)
	a.probing, b.probing = true, true
	lb.addrs = []netip.Prefix{netip.MustParsePrefix("192.168.7.6/24")}
	a.respond(la, mdnsPort, b.probe(lb))
	b.respond(lb, mdnsPort, a.probe(la))
	if a.lost == b.lost || a.lost != (slices.Compare([]string{"\x00\x01\xc0\xa8\x07\x05"}, []string{"\x00\x01\xc0\xa8\x07\x06"}) < 0) {
		t.Errorf("lost: %v and %v", a.lost, b.lost)
	}
	a.lost = false
	if a.respond(la, mdnsPort, a.probe(la)); a.lost {
		t.Error("lost against our own voice")
	}
	for host, want := range map[string]string{"postino": "postino-2", "postino-2": "postino-3", "post-box": "post-box-2", "lab-1": "lab-1-2", "lab-9999": "lab-9999-2", "-7": "-7-2"} {
		if got := mdnsNext(host); got != want {
			t.Errorf("after %s comes %s, want %s", host, got, want)
		}
	}
}

// TestMDNSLink sees that strangers are not answered and nobody can make us shout.
func TestMDNSLink(t *testing.T) {
	_, l := mdnsTest(t)
	for addr, want := range map[string]bool{"192.168.7.200": true, "192.168.8.1": false, "8.8.8.8": false, "fe80::1%eth0": true, "169.254.3.4": true, "::ffff:192.168.7.3": true} {
		if l.near(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: near is not %v", addr, want)
		}
	}
	loud, others := 0, 0
	for i := range 1000 {
		if l.allow(netip.MustParseAddr("192.168.7.66"), 5) {
			loud++
		}
		if l.allow(netip.AddrFrom4([4]byte{192, 168, 7, byte(i)}), 5) {
			others++
		}
	}
	if loud != mdnsPerAsker || others+loud != mdnsPerSecond || len(l.asked) > mdnsPerSecond {
		t.Errorf("%d answers to one, %d to others in a second, %d askers", loud, others, len(l.asked))
	}
	if !l.allow(netip.MustParseAddr("192.168.7.66"), 6) {
		t.Error("no answer in the next second")
	}
}

// TestMDNSSocket asks a responder on the loopback interface over real sockets, as an ordinary resolver does.
func TestMDNSSocket(t *testing.T) {
	m, _ := mdnsTest(t)
	lo, err := net.InterfaceByIndex(1)
	if err != nil || lo.Flags&net.FlagLoopback == 0 {
		skip(t, "no loopback interface: ", err)
	}
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.port = free.LocalAddr().(*net.UDPAddr).Port
	free.Close()
	if err := m.open(); err != nil {
		skip(t, "no multicast here: ", err)
	}
	m.links = map[int]*mdnsLink{lo.Index: {name: "lo", addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}}
	for _, c := range m.conns {
		defer c.udp.Close()
		go m.read(c)
	}
	probe.WriteTo(mdnsAsk(t, "postbox.local.", dnsmessage.TypeA, dnsmessage.ClassINET), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: m.port})
	probe.SetReadDeadline(time.Now().Add(testPatience))
	buf := make([]byte, 1500)
	n, _, err := probe.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if r := mdnsRead(t, buf[:n]); len(r.Answers) != 1 || r.ID != 77 {
		t.Errorf("%+v", r)
	}
}

func FuzzMDNS(f *testing.F) {
	f.Add([]byte{0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0}, uint16(5353))
	f.Fuzz(func(t *testing.T, packet []byte, port uint16) {
		l := &mdnsLink{addrs: []netip.Prefix{netip.MustParsePrefix("192.168.7.5/24")}}
		m := &mdns{host: "x", hostOurs: true, probing: port%2 == 0, services: []mdnsService{{"_http._tcp", 80, nil}}, links: map[int]*mdnsLink{1: l}}
		if b, _, _ := m.respond(l, port, packet); len(b) > mdnsMaxPacket {
			t.Errorf("%d octets", len(b))
		}
	})
}
