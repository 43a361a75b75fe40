// The appliance's name and services on the local network, without any DNS: multicast DNS (RFC 6762) and DNS-based service
// discovery (RFC 6763). Browsers then find http://NAME.local, and network browsers list it.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	mdnsPort      = 5353
	mdnsHostTTL   = 120  // seconds, for records with a host name in them (RFC 6762 §10)
	mdnsOtherTTL  = 4500 // for all others
	mdnsLegacyTTL = 10   // for askers that know only ordinary DNS (RFC 6762 §6.7)
	mdnsMaxPacket = 9000 // octets (RFC 6762 §17)
	mdnsPerSecond = 20   // answers on one interface; beyond, questions are dropped
	mdnsRescan    = 30 * time.Second
	mdnsProbes    = 3
	mdnsProbeWait = 250 * time.Millisecond // RFC 6762 §8.1
	mdnsMaxNames  = 20                     // names that are tried when the name is taken

	mdnsFlush   = dnsmessage.Class(1 << 15) // in an answer: forget older records of that name and type (RFC 6762 §10.2)
	mdnsUnicast = dnsmessage.Class(1 << 15) // in a question: the answer may be unicast (RFC 6762 §5.4)
)

var (
	mdnsGroup4 = netip.MustParseAddr("224.0.0.251")
	mdnsGroup6 = netip.MustParseAddr("ff02::fb")
)

// mdnsService is one service that is announced.
type mdnsService struct {
	kind string // "_http._tcp"
	port uint16
	txt  []string
}

// mdns answers for one name. The socket readers hand packets to handle; the state is guarded by mu.
//
// If another responder runs on this machine (avahi), both share the port. It answers for the machine's own name, so we
// leave that name to it and announce our services only.
type mdns struct {
	log      *slog.Logger
	services []mdnsService
	hostOurs bool // we answer for the addresses of the name
	conns    []*mdnsConn
	port     int
	stop     <-chan struct{}
	again    chan struct{} // the name has to be probed for again

	mu       sync.Mutex
	host     string // "postino", without .local
	probing  bool
	conflict bool // somebody else has the name
	lost     bool // somebody else probes for it at the same time, and comes first
	links    map[int]*mdnsLink
}

// mdnsLink is an interface with its addresses.
type mdnsLink struct {
	name   string
	addrs  []netip.Prefix
	budget int // answers left in this second
	second int64
}

// mdnsConn is a socket of one family.
type mdnsConn struct {
	v6    bool
	udp   *net.UDPConn
	p4    *ipv4.PacketConn
	p6    *ipv6.PacketConn
	group *net.UDPAddr
}

// runMDNS announces the appliance until the server stops. On a machine where that can't be done it says so and ends.
func (s *Server) runMDNS() {
	if !s.cfg.MDNS.Enabled {
		return
	}
	host, _, _ := strings.Cut(s.cfg.Hostname, ".")
	m := &mdns{log: s.log.With("proto", "mdns"), host: mdnsLabel(host), services: mdnsServices(s.cfg), hostOurs: true, port: mdnsPort,
		stop: s.stop.Done(), again: make(chan struct{}, 1), links: map[int]*mdnsLink{}}
	if mdnsShared() {
		own, err := os.Hostname()
		own, _, _ = strings.Cut(own, ".")
		m.hostOurs = err == nil && !strings.EqualFold(own, m.host)
	}
	if err := m.open(); err != nil {
		m.log.Info("not announced on the network", "err", err)
		return
	}
	m.run()
}

// mdnsShared says whether somebody else on this machine has the port.
func mdnsShared() bool {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: mdnsPort})
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.EADDRINUSE)
}

// mdnsLabel makes one label of a name.
func mdnsLabel(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(s))
	if s = strings.Trim(s, "-"); s == "" {
		return "postino"
	}
	return s[:min(len(s), 60)]
}

// mdnsServices lists what the configuration lets others reach.
func mdnsServices(cfg *Config) (all []mdnsService) {
	for _, x := range []struct {
		kind  string
		addrs []string
		txt   []string
	}{
		{"_http._tcp", cfg.Listen.HTTP, []string{"path=/"}},
		{"_https._tcp", cfg.Listen.HTTPS, []string{"path=/"}},
		{"_imaps._tcp", cfg.Listen.IMAPS, nil},
		{"_pop3s._tcp", cfg.Listen.POP3S, nil},
		{"_submissions._tcp", cfg.Listen.Submissions, nil},
	} {
		for _, a := range x.addrs {
			host, port, err := net.SplitHostPort(a)
			n, perr := strconv.ParseUint(port, 10, 16)
			if ip, ierr := netip.ParseAddr(host); err != nil || perr != nil || ierr == nil && ip.IsLoopback() || host == "localhost" {
				continue
			}
			all = append(all, mdnsService{x.kind, uint16(n), x.txt})
			break
		}
	}
	return all
}

// open makes the sockets. One family is enough.
func (m *mdns) open() error {
	var errs []error
	for _, g := range []netip.Addr{mdnsGroup4, mdnsGroup6} {
		network := "udp4"
		if g.Is6() {
			network = "udp6"
		}
		group := &net.UDPAddr{IP: g.AsSlice(), Port: m.port}
		// Not ListenMulticastUDP: it joins the group on the way to the internet, and fails where there is none.
		pc, err := net.ListenPacket(network, group.String())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		udp := pc.(*net.UDPConn)
		c := &mdnsConn{v6: g.Is6(), udp: udp, group: group}
		if c.v6 {
			c.p6 = ipv6.NewPacketConn(udp)
			err = errors.Join(c.p6.SetControlMessage(ipv6.FlagInterface, true), c.p6.SetMulticastHopLimit(255), c.p6.SetMulticastLoopback(true))
		} else {
			c.p4 = ipv4.NewPacketConn(udp)
			err = errors.Join(c.p4.SetControlMessage(ipv4.FlagInterface, true), c.p4.SetMulticastTTL(255), c.p4.SetMulticastLoopback(true))
		}
		if err != nil {
			udp.Close()
			errs = append(errs, err)
			continue
		}
		m.conns = append(m.conns, c)
	}
	if len(m.conns) == 0 {
		return errors.Join(errs...)
	}
	return nil
}

// run probes for the name, announces, answers, and says goodbye at the end.
func (m *mdns) run() {
	var wg sync.WaitGroup
	m.scan()
	for _, c := range m.conns {
		wg.Go(func() { m.read(c) })
	}
	if m.hostOurs && !m.claim() {
		m.log.Warn("all names are taken on this network", "host", m.host)
	} else {
		m.announce(false)
		m.log.Info("announced on the network", "host", m.name(), "services", len(m.services))
	}
	tick := time.NewTicker(mdnsRescan)
	defer tick.Stop()
	again := 0 // and no more often than mdnsMaxNames, or one liar could keep us busy
	for done := false; !done; {
		select {
		case <-m.stop:
			done = true
		case <-m.again: // somebody else says that the name is theirs (RFC 6762 §9)
			if again++; again <= mdnsMaxNames && m.claim() {
				m.announce(false)
			}
		case <-tick.C:
			if m.scan() {
				m.announce(false)
			}
		}
	}
	m.announce(true)
	for _, c := range m.conns {
		c.udp.Close()
	}
	wg.Wait()
}

func (m *mdns) name() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.host + ".local."
}

// scan looks at the interfaces, joins the group on new ones, and says whether anything has changed: boards get their
// addresses long after they have started.
func (m *mdns) scan() (changed bool) {
	ifs, err := net.Interfaces()
	if err != nil {
		m.log.Warn("interfaces", "err", err)
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[int]bool{}
	for _, ifi := range ifs {
		if ifi.Flags&net.FlagUp == 0 || ifi.Flags&net.FlagMulticast == 0 || ifi.Flags&net.FlagLoopback != 0 || ifi.Flags&net.FlagPointToPoint != 0 {
			continue
		}
		addrs, err := ifi.Addrs()
		if err != nil || len(addrs) == 0 {
			continue
		}
		l := &mdnsLink{name: ifi.Name}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.addrs = append(l.addrs, netip.PrefixFrom(p.Addr().Unmap().WithZone(""), p.Bits()))
			}
		}
		seen[ifi.Index] = true
		if old := m.links[ifi.Index]; old != nil && slices.Equal(old.addrs, l.addrs) {
			continue
		}
		m.links[ifi.Index], changed = l, true
		for _, c := range m.conns {
			c.join(&ifi) // fails harmlessly where it has joined before, or the family is not there
		}
	}
	for i := range m.links {
		if !seen[i] {
			delete(m.links, i)
		}
	}
	return changed
}

func (c *mdnsConn) join(ifi *net.Interface) error {
	if c.v6 {
		return c.p6.JoinGroup(ifi, c.group)
	}
	return c.p4.JoinGroup(ifi, c.group)
}

// read hands packets over until the socket is closed.
func (m *mdns) read(c *mdnsConn) {
	buf := make([]byte, mdnsMaxPacket)
	for {
		var n, link int
		var from net.Addr
		var err error
		if c.v6 {
			var cm *ipv6.ControlMessage
			if n, cm, from, err = c.p6.ReadFrom(buf); cm != nil {
				link = cm.IfIndex
			}
		} else {
			var cm *ipv4.ControlMessage
			if n, cm, from, err = c.p4.ReadFrom(buf); cm != nil {
				link = cm.IfIndex
			}
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(time.Second)
			continue
		}
		if udp, ok := from.(*net.UDPAddr); ok {
			m.handle(c, link, udp.AddrPort(), buf[:n])
		}
	}
}

// handle answers one packet. Packets from beyond the link are not for us (RFC 6762 §11).
func (m *mdns) handle(c *mdnsConn, link int, from netip.AddrPort, packet []byte) {
	m.mu.Lock()
	l := m.links[link]
	if l == nil || !l.near(from.Addr()) || !l.allow() {
		m.mu.Unlock()
		return
	}
	reply, unicast, shared := m.respond(l, from.Port(), packet)
	m.mu.Unlock()
	if reply == nil {
		return
	}
	if shared && !unicast { // others may answer, too (RFC 6762 §6)
		time.Sleep(20*time.Millisecond + rand.N(100*time.Millisecond))
	}
	to := c.group
	if unicast {
		to = net.UDPAddrFromAddrPort(from)
	}
	c.send(link, to, reply)
}

func (l *mdnsLink) near(a netip.Addr) bool {
	a = a.Unmap()
	if a.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(l.addrs, func(p netip.Prefix) bool { return p.Masked().Contains(a.WithZone("")) })
}

// allow keeps us from being made to shout.
func (l *mdnsLink) allow() bool {
	if now := time.Now().Unix(); now != l.second {
		l.second, l.budget = now, mdnsPerSecond
	}
	l.budget--
	return l.budget >= 0
}

func (c *mdnsConn) send(link int, to *net.UDPAddr, packet []byte) {
	if c.v6 {
		c.p6.WriteTo(packet, &ipv6.ControlMessage{IfIndex: link}, to)
		return
	}
	c.p4.WriteTo(packet, &ipv4.ControlMessage{IfIndex: link}, to)
}

// claim asks three times whether anybody has the name (RFC 6762 §8.1), and goes on to name-2, name-3, … while somebody has.
// Twenty boards that start together with the same name end up with twenty names.
func (m *mdns) claim() bool {
	base := m.name()
	for n := 0; n < 3*mdnsMaxNames; n++ {
		taken, lost, stopped := m.tryName()
		if stopped {
			return false
		}
		switch {
		case lost && !taken: // the other one will have announced itself by then (RFC 6762 §8.2)
			if !m.sleep(time.Second) {
				return false
			}
		case taken:
			m.mu.Lock()
			m.host = mdnsNext(m.host)
			m.mu.Unlock()
		default:
			if m.name() != base {
				m.log.Warn("the name is taken on this network, another is used", "host", m.name())
			}
			return true
		}
	}
	return false
}

// mdnsNext is the name to try next: postino, postino-2, postino-3.
func mdnsNext(host string) string {
	n := 1
	if base, tail, ok := mdnsCutLast(host); ok {
		if k, err := strconv.Atoi(tail); err == nil && k > 1 && k < 1000 {
			host, n = base, k
		}
	}
	return fmt.Sprintf("%s-%d", host[:min(len(host), 56)], n+1)
}

func mdnsCutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 1 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// tryName probes for the name once.
func (m *mdns) tryName() (taken, lost, stopped bool) {
	m.mu.Lock()
	m.probing, m.conflict, m.lost = true, false, false
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		taken, lost, m.probing = m.conflict, m.lost, false
		m.mu.Unlock()
	}()
	if !m.sleep(rand.N(mdnsProbeWait)) {
		return false, false, true
	}
	for range mdnsProbes {
		m.each(func(l *mdnsLink) []byte { return m.probe(l) })
		if !m.sleep(mdnsProbeWait) {
			return false, false, true
		}
	}
	return false, false, false
}

// sleep waits, and says false if the server stops meanwhile.
func (m *mdns) sleep(d time.Duration) bool {
	select {
	case <-m.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// announce sends all records without being asked, twice (RFC 6762 §8.3); with bye it takes them back (§10.1).
func (m *mdns) announce(bye bool) {
	for i := range 2 {
		if i > 0 && !bye {
			select {
			case <-m.stop:
				return
			case <-time.After(time.Second):
			}
		}
		m.each(func(l *mdnsLink) []byte {
			b := mdnsReply{bye: bye}
			for _, r := range m.records(l) {
				b.add(r)
			}
			return b.pack()
		})
	}
}

// each sends a packet of its own on every link.
func (m *mdns) each(make func(*mdnsLink) []byte) {
	m.mu.Lock()
	packets := map[int][]byte{}
	for i, l := range m.links {
		packets[i] = make(l)
	}
	m.mu.Unlock()
	for i, p := range packets {
		for _, c := range m.conns {
			if p != nil {
				c.send(i, c.group, p)
			}
		}
	}
}

// The records of the responder, and which of them answer a question.

// mdnsRecord is a record that we may send. Only shared ones may others have, too.
type mdnsRecord struct {
	name   string
	body   dnsmessage.ResourceBody
	kind   dnsmessage.Type
	ttl    uint32
	shared bool
}

// mdnsAll is the name under which all kinds of services are listed (RFC 6763 §9).
const mdnsAll = "_services._dns-sd._udp.local."

// instance is the service's name as people read it. A dot would end a label.
func (m *mdns) instance(kind string) string { return "Mail on " + m.host + "." + kind + ".local." }

// records are all that we say on a link: its own addresses, and the services. m.mu is held.
func (m *mdns) records(l *mdnsLink) (all []mdnsRecord) {
	host := m.host + ".local."
	if m.hostOurs {
		for _, p := range l.addrs {
			switch a := p.Addr(); {
			case a.Is4():
				all = append(all, mdnsRecord{host, &dnsmessage.AResource{A: a.As4()}, dnsmessage.TypeA, mdnsHostTTL, false})
			case a.Is6():
				all = append(all, mdnsRecord{host, &dnsmessage.AAAAResource{AAAA: a.As16()}, dnsmessage.TypeAAAA, mdnsHostTTL, false})
			}
		}
	}
	for _, s := range m.services {
		kind, inst := s.kind+".local.", m.instance(s.kind)
		txt := s.txt
		if len(txt) == 0 {
			txt = []string{""} // a TXT record is never empty (RFC 6763 §6.1)
		}
		all = append(all,
			mdnsRecord{mdnsAll, &dnsmessage.PTRResource{PTR: mdnsName(kind)}, dnsmessage.TypePTR, mdnsOtherTTL, true},
			mdnsRecord{kind, &dnsmessage.PTRResource{PTR: mdnsName(inst)}, dnsmessage.TypePTR, mdnsOtherTTL, true},
			mdnsRecord{inst, &dnsmessage.SRVResource{Port: s.port, Target: mdnsName(host)}, dnsmessage.TypeSRV, mdnsHostTTL, false},
			mdnsRecord{inst, &dnsmessage.TXTResource{TXT: txt}, dnsmessage.TypeTXT, mdnsOtherTTL, false})
	}
	return all
}

// mdnsName is a name that we made ourselves and know to fit.
func mdnsName(s string) dnsmessage.Name {
	n, err := dnsmessage.NewName(s)
	if err != nil {
		return dnsmessage.Name{}
	}
	return n
}

// mdnsReply collects records for a packet.
type mdnsReply struct {
	id       uint16
	legacy   *dnsmessage.Question // of an asker that knows only ordinary DNS; it gets its question back
	bye      bool
	answers  []mdnsRecord
	extras   []mdnsRecord
	question []dnsmessage.Question // of a probe
	authors  []mdnsRecord          // and what it wants to have
}

func (b *mdnsReply) add(r mdnsRecord) {
	if !mdnsHas(b.answers, r) {
		b.answers = append(b.answers, r)
	}
}

func mdnsHas(list []mdnsRecord, r mdnsRecord) bool {
	for _, x := range list {
		if x.kind == r.kind && strings.EqualFold(x.name, r.name) && mdnsSame(x.body, r.body) {
			return true
		}
	}
	return false
}

// mdnsSame compares two bodies by how they print, which shows all of them.
func mdnsSame(a, b dnsmessage.ResourceBody) bool {
	return strings.EqualFold(a.GoString(), b.GoString())
}

// pack writes the packet; nil if there is nothing to say.
func (b *mdnsReply) pack() []byte {
	if len(b.answers)+len(b.question) == 0 {
		return nil
	}
	h := dnsmessage.Header{ID: b.id, Response: len(b.question) == 0, Authoritative: len(b.question) == 0}
	msg := dnsmessage.Message{Header: h, Questions: b.question}
	if b.legacy != nil {
		msg.Questions = []dnsmessage.Question{*b.legacy}
	}
	for _, part := range []struct {
		from []mdnsRecord
		to   *[]dnsmessage.Resource
	}{{b.answers, &msg.Answers}, {b.authors, &msg.Authorities}, {b.extras, &msg.Additionals}} {
		for _, r := range part.from {
			*part.to = append(*part.to, b.resource(r, part.to == &msg.Authorities))
		}
	}
	out, err := msg.Pack()
	if err != nil || len(out) > mdnsMaxPacket {
		return nil
	}
	return out
}

func (b *mdnsReply) resource(r mdnsRecord, probe bool) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: mdnsName(r.name), Type: r.kind, Class: dnsmessage.ClassINET, TTL: r.ttl}
	switch {
	case b.bye:
		h.TTL = 0
	case b.legacy != nil:
		h.TTL = mdnsLegacyTTL
	}
	if !r.shared && b.legacy == nil && !probe {
		h.Class |= mdnsFlush
	}
	return dnsmessage.Resource{Header: h, Body: r.body}
}

// probe asks for anything under our name, and says what we want to put there (RFC 6762 §8.1). m.mu is held.
func (m *mdns) probe(l *mdnsLink) []byte {
	host := m.host + ".local."
	b := mdnsReply{question: []dnsmessage.Question{{Name: mdnsName(host), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET | mdnsUnicast}}}
	for _, r := range m.records(l) {
		if r.name == host {
			b.authors = append(b.authors, r)
		}
	}
	return b.pack()
}

// respond reads a packet that came over the link and returns what to say to it, whether to the asker alone, and whether
// others may answer as well. m.mu is held.
func (m *mdns) respond(l *mdnsLink, port uint16, packet []byte) (reply []byte, unicast, shared bool) {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.OpCode != 0 || h.RCode != dnsmessage.RCodeSuccess {
		return nil, false, false
	}
	questions, err := p.AllQuestions()
	if err != nil {
		return nil, false, false
	}
	if h.Response {
		m.hear(&p, l)
		return nil, false, false
	}
	known, _ := p.AllAnswers() // what the asker has already (RFC 6762 §7.1)
	if m.probing {
		m.tie(&p, questions, l)
	}
	b := mdnsReply{}
	legacy := port != mdnsPort
	if legacy {
		if len(questions) != 1 {
			return nil, false, false
		}
		q := questions[0]
		b.id, b.legacy = h.ID, &q
	}
	unicast = true
	all := m.records(l)
	for _, q := range questions {
		if m.answers(&b, all, q, known) && q.Class&mdnsUnicast == 0 {
			unicast = false
		}
	}
	for _, r := range b.answers {
		shared = shared || r.shared
	}
	b.help(all)
	return b.pack(), unicast || legacy, shared
}

// answers adds what answers one question and the asker does not know. While we are probing for the name we don't have it.
func (m *mdns) answers(b *mdnsReply, all []mdnsRecord, q dnsmessage.Question, known []dnsmessage.Resource) (any bool) {
	if c := q.Class &^ mdnsUnicast; m.probing || c != dnsmessage.ClassINET && c != dnsmessage.ClassANY {
		return false
	}
	name := q.Name.String()
	for _, r := range all {
		if !strings.EqualFold(r.name, name) || q.Type != dnsmessage.TypeALL && q.Type != r.kind || mdnsKnown(known, r) {
			continue
		}
		b.add(r)
		any = true
	}
	return any
}

// mdnsKnown says whether the asker has the record, with at least half of its life left.
func mdnsKnown(known []dnsmessage.Resource, r mdnsRecord) bool {
	for _, k := range known {
		if k.Header.Type == r.kind && k.Header.TTL >= r.ttl/2 && strings.EqualFold(k.Header.Name.String(), r.name) && mdnsSame(k.Body, r.body) {
			return true
		}
	}
	return false
}

// help adds what will be asked next: the services behind pointers, the addresses behind services (RFC 6763 §12).
func (b *mdnsReply) help(all []mdnsRecord) {
	want := map[string]bool{}
	for _, list := range [][]mdnsRecord{b.answers, all} {
		for _, r := range list {
			switch body := r.body.(type) {
			case *dnsmessage.PTRResource:
				if mdnsHas(b.answers, r) && r.name != mdnsAll {
					want[strings.ToLower(body.PTR.String())] = true
				}
			case *dnsmessage.SRVResource:
				if mdnsHas(b.answers, r) || want[strings.ToLower(r.name)] {
					want[strings.ToLower(body.Target.String())] = true
				}
			}
		}
	}
	for _, r := range all {
		if want[strings.ToLower(r.name)] && !mdnsHas(b.answers, r) {
			b.extras = append(b.extras, r)
		}
	}
}

// tie decides between two that probe for one name at the same time: the records that come later in the order of their
// octets win (RFC 6762 §8.2). Our own probe comes back to us, too, and is a draw.
func (m *mdns) tie(p *dnsmessage.Parser, questions []dnsmessage.Question, l *mdnsLink) {
	host := m.host + ".local."
	if !slices.ContainsFunc(questions, func(q dnsmessage.Question) bool { return strings.EqualFold(q.Name.String(), host) }) {
		return
	}
	authors, err := p.AllAuthorities()
	if err != nil {
		return
	}
	var theirs, ours []string
	for _, r := range authors {
		if strings.EqualFold(r.Header.Name.String(), host) {
			if m.elsewhere(r.Body) {
				return
			}
			theirs = append(theirs, mdnsOrder(r.Body))
		}
	}
	for _, r := range m.records(l) {
		if r.name == host {
			ours = append(ours, mdnsOrder(r.body))
		}
	}
	slices.Sort(theirs)
	slices.Sort(ours)
	m.lost = m.lost || len(theirs) > 0 && slices.Compare(ours, theirs) < 0
}

// mdnsOrder is a record's type and data as octets to be compared.
func mdnsOrder(body dnsmessage.ResourceBody) string {
	switch x := body.(type) {
	case *dnsmessage.AResource:
		return "\x00\x01" + string(x.A[:])
	case *dnsmessage.AAAAResource:
		return "\x00\x1c" + string(x.AAAA[:])
	}
	return "\xff"
}

// hear looks in others' answers for our name with an address that is not ours. While we are probing, the name is theirs;
// later both have to probe again, and one of them will find it taken (RFC 6762 §9).
func (m *mdns) hear(p *dnsmessage.Parser, l *mdnsLink) {
	if !m.hostOurs {
		return
	}
	answers, err := p.AllAnswers()
	if err != nil {
		return
	}
	host := m.host + ".local."
	own := m.records(l)
	for _, a := range answers {
		if !strings.EqualFold(a.Header.Name.String(), host) || a.Header.TTL == 0 {
			continue
		}
		if !mdnsHas(own, mdnsRecord{name: host, kind: a.Header.Type, body: a.Body}) && !m.elsewhere(a.Body) {
			if m.conflict = true; !m.probing {
				select {
				case m.again <- struct{}{}:
				default:
				}
			}
		}
	}
}

// elsewhere says whether an address is one of ours on another link: our own voice may come back over a bridge.
func (m *mdns) elsewhere(body dnsmessage.ResourceBody) bool {
	for _, l := range m.links {
		for _, p := range l.addrs {
			var b []byte
			switch x := body.(type) {
			case *dnsmessage.AResource:
				b = x.A[:]
			case *dnsmessage.AAAAResource:
				b = x.AAAA[:]
			}
			if a, ok := netip.AddrFromSlice(b); ok && bytes.Equal(a.AsSlice(), p.Addr().AsSlice()) {
				return true
			}
		}
	}
	return false
}
