// The DNS, as far as mail needs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
)

// Resolver stands for the DNS, so that tests need none.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) // see dnsStub.Ask
}

// NewResolver asks the DNS servers of the machine, or those that are named (host:port), and the neighbours for names that end in
// .local. trustAD believes what they say of DNSSEC though they are elsewhere.
func NewResolver(servers []string, trustAD bool) Resolver {
	hosts := net.DefaultResolver
	if len(servers) > 0 {
		hosts = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, servers[rand.IntN(len(servers))])
		}}
	}
	return &lanResolver{dnsBoth{hosts, &dnsStub{given: servers, trustAD: trustAD, file: dnsConfig}}, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}}
}

// dnsBoth is Go's resolver, which reads the machine's hosts file and knows its search domains, and ours for all else.
type dnsBoth struct {
	*net.Resolver
	*dnsStub
}

const (
	dnsBudget   = 30 * time.Second        // for all questions about one destination
	maxMailHost = 5                       // hosts of a domain that are tried in one go (RFC 5321 §5.1 wants at least two)
	maxHostAddr = 4                       // addresses of one host
	lanAsk      = 1500 * time.Millisecond // for neighbours to answer to their name
	lanMore     = 100 * time.Millisecond  // … and for other addresses, once one is there
)

// What the DNS says when it will say the same tomorrow. Everything else (no answer, no server, nonsense) passes.
var (
	errNoDomain = errors.New("there is no such domain")
	errNullMX   = errors.New("the domain takes no mail")
	errMXSelf   = errors.New("the domain's mail would come back to this machine, which does not know the domain")
)

// errAway is for names of the local network, which go and come back with their machines.
var errAway = errors.New("nobody on the local network answers to this name just now")

// MailHosts are the hosts that take mail for a domain.
type MailHosts struct {
	Domain string   // in A-labels
	Hosts  []string // the best first
	Secure bool     // DNSSEC proves that they are the domain's
}

// mailHosts lists the hosts that take mail for a domain (RFC 5321 §5.1): its MX hosts, those that are equally good in any order, or
// without any the domain itself. self is our own name: hosts that are no better than we are left out. The domain may have U-labels.
func mailHosts(ctx context.Context, r Resolver, domain, self string) (MailHosts, error) {
	name, err := DomainToASCII(domain)
	if err != nil {
		return MailHosts{}, fmt.Errorf("%w: %s (%w)", errNoDomain, domain, err)
	}
	all := MailHosts{Domain: name}
	if lanName(name) {
		all.Hosts = []string{name}
		return all, nil
	}
	a, err := r.Ask(ctx, name, dnsmessage.TypeMX)
	if err != nil && !dnsNotFound(err) {
		return all, fmt.Errorf("DNS: %w", err)
	}
	all.Secure = a.Secure && err == nil
	mxs := a.MX()
	if len(mxs) == 0 {
		all.Hosts = []string{name}
		return all, nil
	}
	if len(mxs) == 1 && (mxs[0].Host == "." || mxs[0].Host == "") { // RFC 7505 §3
		return all, fmt.Errorf("%w: %s", errNullMX, domain)
	}
	rand.Shuffle(len(mxs), func(i, j int) { mxs[i], mxs[j] = mxs[j], mxs[i] })
	slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	for _, mx := range mxs {
		host := strings.ToLower(strings.TrimSuffix(mx.Host, "."))
		if host == self {
			break
		}
		if len(all.Hosts) < maxMailHost && host != "" {
			all.Hosts = append(all.Hosts, host)
		}
	}
	if len(all.Hosts) == 0 {
		return all, fmt.Errorf("%w: %s", errMXSelf, domain)
	}
	return all, nil
}

// hostAddresses lists the addresses of a host. errNoDomain when it has none, errAway when it may have some later.
func hostAddresses(ctx context.Context, r Resolver, host string) ([]string, error) {
	full := host + "."
	if !strings.Contains(host, ".") {
		full = host // in the domain of this network, as resolv.conf has it
	}
	addrs, err := r.LookupHost(ctx, full)
	if dnsNotFound(err) && lanName(host) {
		return nil, fmt.Errorf("%w: %s", errAway, host)
	}
	if dnsNotFound(err) {
		return nil, fmt.Errorf("%w: %s", errNoDomain, host)
	}
	if err != nil {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	return addrs[:min(len(addrs), maxHostAddr)], nil
}

// dnsNotFound says whether the DNS has answered that there is nothing.
func dnsNotFound(err error) bool {
	var de *net.DNSError
	return errors.As(err, &de) && de.IsNotFound && !de.IsTimeout && !de.IsTemporary
}

// lanResolver finds names that end in .local, which no DNS server knows (RFC 6762 §3), in the machine's hosts file or by
// asking everybody on the local network.
type lanResolver struct {
	Resolver
	group *net.UDPAddr
}

func (r *lanResolver) LookupHost(ctx context.Context, host string) ([]string, error) {
	if !strings.HasSuffix(strings.TrimSuffix(host, "."), ".local") {
		return r.Resolver.LookupHost(ctx, host)
	}
	file := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errAway }}
	if addrs, err := file.LookupHost(ctx, host); err == nil {
		return addrs, nil
	}
	addrs, err := r.ask(ctx, strings.ToLower(strings.TrimSuffix(host, "."))+".")
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: errAway.Error(), Name: host, IsNotFound: true}
	}
	return addrs, err
}

// ask is a one-shot query (RFC 6762 §5.1): from a port of our own, on every interface, and again after half of the time.
func (r *lanResolver) ask(ctx context.Context, host string) ([]string, error) {
	name, err := dnsmessage.NewName(host)
	if err != nil {
		return nil, err
	}
	nc, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	id := uint16(rand.Uint32())
	end := time.Now().Add(lanAsk)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	var addrs []string
	buf := make([]byte, 9000)
	for range 2 {
		r.send(nc, id, name)
		nc.SetReadDeadline(time.Now().Add(lanAsk / 2))
		for time.Now().Before(end) && ctx.Err() == nil {
			n, from, err := nc.ReadFromUDP(buf)
			if err != nil {
				break
			}
			more := lanAnswer(buf[:n], id, name)
			if from.Port != r.group.Port || len(more) == 0 {
				continue
			}
			if len(addrs) == 0 {
				nc.SetReadDeadline(time.Now().Add(lanMore))
			}
			addrs = append(addrs, more...)
		}
		if len(addrs) > 0 {
			break
		}
	}
	slices.Sort(addrs)
	return slices.Compact(addrs), nil
}

// send asks for both kinds of addresses, in a packet each for responders that read one question only.
func (r *lanResolver) send(nc *net.UDPConn, id uint16, name dnsmessage.Name) {
	var packets [][]byte
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: id}, Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}}}
		if b, err := m.Pack(); err == nil {
			packets = append(packets, b)
		}
	}
	links, err := net.Interfaces()
	if !r.group.IP.IsMulticast() || err != nil {
		links = []net.Interface{{}}
	}
	pc := ipv4.NewPacketConn(nc)
	for _, l := range links {
		if l.Index > 0 && (l.Flags&net.FlagUp == 0 || l.Flags&net.FlagMulticast == 0 || pc.SetMulticastInterface(&l) != nil) {
			continue
		}
		for _, p := range packets {
			nc.WriteToUDP(p, r.group) // an interface without a network has no answer
		}
	}
}

// lanAnswer reads the addresses out of an answer. Those that need an interface's name beside them are left out.
func lanAnswer(packet []byte, id uint16, name dnsmessage.Name) []string {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || !m.Response || m.ID != id {
		return nil
	}
	var addrs []string
	for _, a := range m.Answers {
		if !strings.EqualFold(a.Header.Name.String(), name.String()) {
			continue
		}
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			addrs = append(addrs, net.IP(b.A[:]).String())
		case *dnsmessage.AAAAResource:
			if ip := net.IP(b.AAAA[:]); !ip.IsLinkLocalUnicast() {
				addrs = append(addrs, ip.String())
			}
		}
	}
	return addrs
}
