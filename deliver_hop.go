// Next hops: where mail for other domains goes, by [routes], to the smarthost, or as the DNS says.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// nextHopKind is how a domain is reached.
type nextHopKind int

const (
	nextHopLocal  nextHopKind = iota // its mail lives here
	nextHopRoute                     // [routes] names hosts
	nextHopSmart                     // the smarthost takes it
	nextHopDirect                    // the DNS or the address literal says it
	nextHopNone                      // nothing in the configuration leads there
)

// nextHop is how the mail of one or many domains leaves; domains with equal keys share connections.
type nextHop struct {
	kind  nextHopKind
	key   string
	hosts []string // of a route, host:port
	route Route
}

// waits says whether the next hop is behind an intermittent link that is closed now, and until when; zero is until somebody asks.
func (hop nextHop) waits(now time.Time) (until time.Time, yes bool) {
	if !hop.route.Intermittent {
		return time.Time{}, false
	}
	next := hop.route.Window.Next(now.Local())
	return next, !next.Equal(now)
}

// hopTLS is what a hop does about TLS.
type hopTLS int

const (
	hopTLSMaybe hopTLS = iota // STARTTLS if offered, plain text if that fails
	hopTLSMust                // STARTTLS, or nothing
	hopTLSFirst               // from the first octet on
	hopPlain                  // none
)

// hopAddr is one address of a host to try.
type hopAddr struct {
	host           string // its name, for TLS, reports and the log
	addr           string // what to dial
	tls            hopTLS
	verify         bool // the certificate must name the host and be signed by somebody the machine knows
	user, password string

	named bool       // the administrator names the host: it takes the mail, whatever the DNS says
	proof *hostProof // what it has to show; nil is nothing
	fault error      // why it may not be used; nil it may

	crowded func() bool   // whether others wait for this connection's place; nil is never
	hurry   time.Duration // how long the host may be silent then
}

// nextHop says how mail for a domain leaves, without asking the DNS.
func (s *Server) nextHop(domain string) nextHop {
	if s.isLocal(domain) {
		return nextHop{kind: nextHopLocal, key: "local"}
	}
	r, ok := s.cfg.Routes[domain]
	if !ok {
		r, ok = s.cfg.Routes["."]
	}
	switch {
	case ok:
		return nextHop{kind: nextHopRoute, key: "route " + r.String(), hosts: r.Hosts, route: r}
	case s.cfg.Outbound.Mode == OutboundSmarthost:
		return nextHop{kind: nextHopSmart, key: "smarthost", hosts: []string{s.cfg.Outbound.Smarthost}}
	case s.cfg.Outbound.Mode == OutboundDirect:
		return nextHop{kind: nextHopDirect, key: "domain " + domain}
	}
	return nextHop{kind: nextHopNone, key: "none"}
}

// hops lists the addresses to try for a next hop, in order. domain is one of its domains. dnsPermanent tells errors that
// will not pass.
func (s *Server) hops(ctx context.Context, hop nextHop, domain string) ([]hopAddr, error) {
	switch hop.kind {
	case nextHopRoute:
		var all []hopAddr
		for _, h := range hop.hosts {
			all = append(all, s.routeHops(ctx, h)...)
		}
		if len(all) == 0 {
			return nil, errCaller
		}
		return all, nil
	case nextHopSmart:
		h, err := s.smartHop(hop.hosts[0])
		return []hopAddr{h}, err
	case nextHopNone:
		return nil, errForeign
	}
	if ip, ok := LiteralIP(domain); ok {
		return []hopAddr{{host: domain, addr: net.JoinHostPort(ip.String(), "25")}}, nil
	}
	return s.directHops(ctx, domain)
}

// routeHops are the addresses of a route's host. A name that ends in .local is asked for on the network, which the machine's
// own resolver may not do; who does not answer is left to it.
func (s *Server) routeHops(ctx context.Context, hostport string) []hopAddr {
	h := routeHop(hostport)
	host, port, _ := net.SplitHostPort(h.addr)
	if strings.HasSuffix(host, ".local") {
		addrs, err := hostAddresses(ctx, s.dns, host)
		var all []hopAddr
		for _, a := range addrs {
			h.addr = net.JoinHostPort(a, port)
			all = append(all, h)
		}
		if err == nil {
			return all
		}
	}
	return []hopAddr{h}
}

// routeHop makes a hop of "host:port"; on port 465 TLS comes first (RFC 8314 §3.3).
func routeHop(hostport string) hopAddr {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port, hostport = hostport, "25", net.JoinHostPort(hostport, "25")
	}
	h := hopAddr{host: host, addr: hostport, named: true}
	if port == "465" {
		h.tls = hopTLSFirst
	}
	return h
}

// smartHop is the smarthost. A password is only sent over TLS, and only to a host whose certificate is good.
func (s *Server) smartHop(hostport string) (hopAddr, error) {
	o := s.cfg.Outbound
	if !strings.Contains(hostport, ":") {
		hostport += ":587"
	}
	h := routeHop(hostport)
	if o.User == "" {
		return h, nil
	}
	b, err := os.ReadFile(s.cfg.Path(o.PasswordFile))
	if err != nil {
		return h, fmt.Errorf("the smarthost's password: %w", err)
	}
	h.user, h.password = o.User, strings.TrimRight(string(b), "\r\n")
	h.verify = !o.AnyCert
	if h.tls == hopTLSMaybe {
		h.tls = hopTLSMust
	}
	return h, nil
}

// directHops asks the DNS. A host that can't be found does not matter while another one can. What the hosts have to show is asked for
// only when there are some: where no resolver answers, nothing waits longer for that.
func (s *Server) directHops(ctx context.Context, domain string) ([]hopAddr, error) {
	budget, cancel := context.WithTimeout(ctx, dnsBudget)
	defer cancel()
	mail, err := mailHosts(budget, s.dns, domain, s.asciiHost())
	if err != nil {
		return nil, err
	}
	var all []hopAddr
	var fault error
	for _, host := range mail.Hosts {
		addrs, err := hostAddresses(budget, s.dns, host)
		if err != nil && (fault == nil || !dnsPermanent(err)) {
			fault = err
		}
		for _, a := range addrs {
			all = append(all, hopAddr{host: host, addr: net.JoinHostPort(a, "25")})
		}
	}
	if len(all) == 0 || lanName(mail.Domain) {
		return all, fault
	}
	return s.proveHops(ctx, mail, all)
}

// proveHops adds to each hop of a domain what its host has to show, or why it may not be used.
func (s *Server) proveHops(ctx context.Context, mail MailHosts, hops []hopAddr) ([]hopAddr, error) {
	policy, err := s.stsPolicy(ctx, mail.Domain)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dnsBudget)
	defer cancel()
	proofs := hostProofs{of: mail, sts: policy}
	for i := range hops {
		h := &hops[i]
		if i > 0 && hops[i-1].host == h.host {
			h.proof, h.fault, h.tls = hops[i-1].proof, hops[i-1].fault, hops[i-1].tls
			continue
		}
		h.proof, h.fault = proofs.host(ctx, s.dns, h.host)
		if h.fault != nil {
			s.countTLS(TLSCount{Domain: mail.Domain, Policy: h.proof.kind(), Host: h.host, Result: tlsInvalid})
		}
		if h.proof.strict() {
			h.tls = hopTLSMust
		}
	}
	return hops, nil
}

// anyTLS is the hop for mail that goes whatever the host has to show.
func (h hopAddr) anyTLS() hopAddr {
	if h.proof != nil {
		h.proof, h.fault, h.tls = nil, nil, hopTLSMaybe
	}
	return h
}

// dnsPermanent says whether an error of hops means that a message can be given back at once.
func dnsPermanent(err error) bool {
	return errors.Is(err, errNoDomain) || errors.Is(err, errNullMX) || errors.Is(err, errMXSelf) || errors.Is(err, errForeign)
}
