// The appliance's name and services on the local network, without any DNS: multicast DNS (RFC 6762) and DNS-based service
// discovery (RFC 6763). Browsers then find http://NAME.local, and network browsers list it.
package main

import (
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
	mdnsPerSecond = 100  // answers on one interface; beyond, questions are dropped
	mdnsPerAsker  = 10   // of them to one asker
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
	crew     *Crew
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
	second int64              // for which the answers below are counted
	asked  map[netip.Addr]int // how many each asker had
	total  int
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
	m := &mdns{log: s.log.With("proto", "mdns"), crew: s.crew, host: mdnsLabel(host), services: mdnsServices(s.cfg), hostOurs: true, port: mdnsPort,
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
		if r == '-' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') {
			return r
		}
		return -1
	}, strings.ToLower(s))
	s = strings.Trim(s, "-")
	if s == "" {
		return "postino"
	}
	return s[:min(len(s), 60)]
}

// mdnsServices lists what the configuration lets others reach.
func mdnsServices(cfg *Config) []mdnsService {
	var all []mdnsService
	for _, x := range []struct {
		kind  string
		addrs []string
		txt   []string
	}{
		{"_http._tcp", cfg.Listen.HTTP, []string{"path=/"}},
		{"_https._tcp", cfg.Listen.HTTPS, []string{"path=/"}},
		{"_imaps._tcp", cfg.Listen.IMAPS, nil},
		{"_pop3s._tcp", cfg.Listen.POP3S, nil},
		{"_sieve._tcp", cfg.Listen.Sieve, nil},
		{"_submissions._tcp", cfg.Listen.Submissions, nil},
	} {
		for _, a := range x.addrs {
			host, port, err := net.SplitHostPort(a)
			n, perr := strconv.ParseUint(port, 10, 16)
			if ip, ierr := netip.ParseAddr(host); err != nil || perr != nil || (ierr == nil && ip.IsLoopback()) || host == "localhost" {
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
		m.crew.Keep(&wg, "mdns reader", m.stop, func() { m.read(c) })
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
			again++
			if again <= mdnsMaxNames && m.claim() {
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
func (m *mdns) scan() bool {
	changed := false
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
			n, cm, from, err = c.p6.ReadFrom(buf)
			if cm != nil {
				link = cm.IfIndex
			}
		} else {
			var cm *ipv4.ControlMessage
			n, cm, from, err = c.p4.ReadFrom(buf)
			if cm != nil {
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
	if l == nil || !l.near(from.Addr()) {
		m.mu.Unlock()
		return
	}
	reply, unicast, shared := m.respond(l, from.Port(), packet)
	allowed := reply != nil && l.allow(from.Addr(), time.Now().Unix())
	m.mu.Unlock()
	if !allowed {
		return
	}
	to := c.group
	if unicast {
		to = net.UDPAddrFromAddrPort(from)
	}
	if !shared || unicast {
		c.send(link, to, reply)
		return
	}
	m.crew.Go(nil, "mdns answer", func() { // others may answer, too, so it waits for a moment (RFC 6762 §6)
		if m.sleep(20*time.Millisecond + rand.N(100*time.Millisecond)) {
			c.send(link, to, reply)
		}
	})
}

func (l *mdnsLink) near(a netip.Addr) bool {
	a = a.Unmap()
	if a.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(l.addrs, func(p netip.Prefix) bool { return p.Masked().Contains(a.WithZone("")) })
}

// allow counts an answer to an asker in a second, and says whether it may be given: nobody makes us shout, and what is asked about
// others' names costs nobody's share.
func (l *mdnsLink) allow(asker netip.Addr, second int64) bool {
	if second != l.second || l.asked == nil {
		l.second, l.total, l.asked = second, 0, map[netip.Addr]int{}
	}
	if l.total >= mdnsPerSecond || l.asked[asker] >= mdnsPerAsker {
		return false
	}
	l.total++
	l.asked[asker]++
	return true
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
func (m *mdns) each(packet func(*mdnsLink) []byte) {
	m.mu.Lock()
	packets := map[int][]byte{}
	for i, l := range m.links {
		packets[i] = packet(l)
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
