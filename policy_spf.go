// SPF (RFC 7208): may this address send for that domain? And iprev (RFC 8601 §3): has it a name that leads back to it?
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of one check (RFC 7208 §4.6.4).
const (
	spfTerms  = 10 // mechanisms and modifiers that ask the DNS
	spfVoids  = 2  // questions that lead to nothing
	spfHosts  = 10 // MX hosts of one domain
	spfNames  = 10 // of an address that are looked at
	spfDomain = 253
)

// spfCheck is one check with all that it includes.
type spfCheck struct {
	ctx   context.Context
	dns   Resolver
	skip  func(domain string) bool
	addr  netip.Addr
	helo  string
	local string // the sender's local part
	from  string // and domain

	terms, voids int
	why          error     // of a permerror
	names        *[]string // that lead back to the address; nil before they were asked for
}

var (
	errSPFTerms = errors.New("it asks for more than 10 things")
	errSPFVoids = errors.New("it asks for too much that is not there")
	errSPFHosts = errors.New("a domain has more than 10 MX hosts")
	errSPFTwo   = errors.New("there are several")
	errSPFNone  = errors.New("a domain that it names has none")
	errSPFAway  = errors.New("the DNS does not answer")
	errSPFLocal = errors.New("a macro has no text in ASCII") // RFC 8616 §4: what it stands in matches nothing
)

// host is check_host (RFC 7208 §4).
func (c *spfCheck) host(domain string) string {
	if c.skip(domain) || !strings.Contains(strings.Trim(domain, "."), ".") {
		return resultNone
	}
	a, err := c.dns.Ask(c.ctx, domain, dnsmessage.TypeTXT)
	switch {
	case dnsNotFound(err):
		return resultNone
	case err != nil:
		return resultTemp
	}
	text := ""
	for _, t := range a.TXT() {
		if !isSPF(t) {
			continue
		}
		if text != "" {
			return c.broken(errSPFTwo)
		}
		text = t
	}
	if text == "" {
		return resultNone
	}
	r, err := parseSPF(text)
	if err != nil {
		return c.broken(err)
	}
	for _, t := range r.terms {
		ok, err := c.matches(t, domain)
		switch {
		case errors.Is(err, errSPFAway):
			return resultTemp
		case err != nil && !errors.Is(err, errSPFLocal):
			return c.broken(err)
		case err == nil && ok:
			return t.result
		}
	}
	if r.redirect == nil {
		return resultPlain
	}
	return c.redirect(r.redirect, domain)
}

// broken is permerror, and why.
func (c *spfCheck) broken(err error) string {
	if c.why == nil {
		c.why = err
	}
	return resultPerm
}

// redirect is what another domain's record says (RFC 7208 §6.1).
func (c *spfCheck) redirect(spec spfSpec, domain string) string {
	err := c.asks()
	if err != nil {
		return c.broken(err)
	}
	other, err := c.expand(spec, domain)
	if err != nil {
		return resultPlain
	}
	result := c.host(other)
	if result == resultNone {
		return c.broken(errSPFNone)
	}
	return result
}

// asks counts a term that asks the DNS.
func (c *spfCheck) asks() error {
	c.terms++
	if c.terms > spfTerms {
		return errSPFTerms
	}
	return nil
}

// look asks for something. Nothing found counts.
func (c *spfCheck) look(name string, kind dnsmessage.Type) (DNSAnswer, error) {
	var a DNSAnswer
	var err error
	if !c.skip(strings.ToLower(strings.TrimSuffix(name, "."))) {
		a, err = c.dns.Ask(c.ctx, name, kind)
	}
	if err != nil && !dnsNotFound(err) {
		return a, errSPFAway
	}
	if err != nil || len(a.Records) == 0 {
		c.voids++
		if c.voids > spfVoids {
			return DNSAnswer{}, errSPFVoids
		}
		return DNSAnswer{}, nil
	}
	return a, nil
}

// matches says whether a mechanism of a domain's record matches (RFC 7208 §5).
func (c *spfCheck) matches(t spfTerm, domain string) (bool, error) {
	switch t.kind {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return t.net.Contains(c.addr), nil
	}
	err := c.asks()
	if err != nil {
		return false, err
	}
	target := domain
	if t.spec != nil {
		target, err = c.expand(t.spec, domain)
		if err != nil {
			return false, err
		}
	}
	switch t.kind {
	case "include":
		return c.included(target)
	case "a":
		return c.hasAddr(target, t)
	case "mx":
		a, err := c.look(target, dnsmessage.TypeMX)
		if err != nil {
			return false, err
		}
		if len(a.MX()) > spfHosts {
			return false, errSPFHosts
		}
		for _, mx := range a.MX() {
			ok, err := c.hasAddr(mx.Host, t)
			if ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case "ptr":
		for _, n := range c.validated() {
			if isUnder(n, strings.ToLower(strings.TrimSuffix(target, "."))) {
				return true, nil
			}
		}
		return false, nil
	}
	a, err := c.look(target, dnsmessage.TypeA) // exists, for IPv6 too (§5.7)
	return len(a.Records) > 0, err
}

// included is what an included record says (RFC 7208 §5.2).
func (c *spfCheck) included(domain string) (bool, error) {
	switch c.host(domain) {
	case resultPass:
		return true, nil
	case resultTemp:
		return false, errSPFAway
	case resultPerm:
		return false, c.why
	case resultNone:
		return false, errSPFNone
	}
	return false, nil
}

// hasAddr says whether a host has the client's address, as far as the prefix reaches.
func (c *spfCheck) hasAddr(host string, t spfTerm) (bool, error) {
	kind, bits := dnsmessage.TypeA, t.bits4
	if c.addr.Is6() {
		kind, bits = dnsmessage.TypeAAAA, t.bits6
	}
	a, err := c.look(host, kind)
	if err != nil {
		return false, err
	}
	for _, ip := range a.Addrs() {
		if netip.PrefixFrom(ip, bits).Masked().Contains(c.addr) {
			return true, nil
		}
	}
	return false, nil
}

// validated are the names of the client's address that have it (RFC 7208 §5.5). What can't be asked is not there.
func (c *spfCheck) validated() []string {
	if c.names != nil {
		return *c.names
	}
	c.names = &[]string{}
	a, err := c.dns.Ask(c.ctx, reverseName(c.addr), dnsmessage.TypePTR)
	if err != nil {
		return nil
	}
	kind := dnsmessage.TypeA
	if c.addr.Is6() {
		kind = dnsmessage.TypeAAAA
	}
	for i, n := range a.PTR() {
		if i >= spfNames {
			break
		}
		has, err := c.dns.Ask(c.ctx, n, kind)
		if err == nil && slices.Contains(has.Addrs(), c.addr) {
			*c.names = append(*c.names, strings.ToLower(strings.TrimSuffix(n, ".")))
		}
	}
	return *c.names
}

// expand is a domain with its macros expanded (RFC 7208 §7.3), cut at its left if it is too long for one.
func (c *spfCheck) expand(spec spfSpec, domain string) (string, error) {
	var b strings.Builder
	for _, p := range spec {
		if p.letter == 0 {
			b.WriteString(p.text)
			continue
		}
		text, err := c.macro(p.letter, domain)
		if err != nil {
			return "", err
		}
		parts := spfSplit(text, p.split)
		if p.reverse {
			slices.Reverse(parts)
		}
		if p.keep > 0 && p.keep < len(parts) {
			parts = parts[len(parts)-p.keep:]
		}
		text = strings.Join(parts, ".")
		if p.escape {
			text = spfEscape(text)
		}
		b.WriteString(text)
	}
	s := strings.TrimSuffix(b.String(), ".")
	for len(s) > spfDomain {
		_, rest, ok := strings.Cut(s, ".")
		if !ok {
			return s, nil
		}
		s = rest
	}
	return s, nil
}

// spfSplit cuts a text at each of some characters.
func spfSplit(s, at string) []string {
	var parts []string
	for {
		i := strings.IndexAny(s, at)
		if i < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:i])
		s = s[i+1:]
	}
}

// macro is what a letter stands for (RFC 7208 §7.2).
func (c *spfCheck) macro(letter byte, domain string) (string, error) {
	switch letter {
	case 's', 'l':
		if !isASCII(c.local) {
			return "", errSPFLocal
		}
		if letter == 'l' {
			return c.local, nil
		}
		return c.local + "@" + c.from, nil
	case 'o':
		return c.from, nil
	case 'd':
		return domain, nil
	case 'i':
		if c.addr.Is4() {
			return c.addr.String(), nil
		}
		nibbles := strings.Split(strings.TrimSuffix(reverseName(c.addr), ".ip6.arpa."), ".")
		slices.Reverse(nibbles)
		return strings.Join(nibbles, "."), nil
	case 'p':
		return c.name(domain), nil
	case 'v':
		if c.addr.Is4() {
			return "in-addr", nil
		}
		return "ip6", nil
	}
	return c.helo, nil
}

// name is the macro p: a name of the address, the domain itself or one below it if there is such a one.
func (c *spfCheck) name(domain string) string {
	all := c.validated()
	if len(all) == 0 {
		return "unknown"
	}
	best := all[0]
	for _, n := range all {
		if n == domain {
			return n
		}
		if isUnder(n, domain) && !isUnder(best, domain) {
			best = n
		}
	}
	return best
}

// spfEscape writes all but unreserved characters as URIs do (RFC 3986 §2.3).
func spfEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if (c|0x20 >= 'a' && c|0x20 <= 'z') || strings.ContainsRune("0123456789-._~", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// spfResult is what came of SPF.
type spfResult struct {
	result string
	why    string
	domain string // that was asked
	helo   bool   // it is the client's name: there was no sender
}

// checkSPF asks whether an address may send for the domain of a sender, or of the client's name without one. skip says about which
// domains nothing is asked.
func checkSPF(ctx context.Context, dns Resolver, addr netip.Addr, helo string, from Addr, skip func(string) bool) spfResult {
	r := spfResult{result: resultNone, domain: from.Domain}
	local := from.Local
	if from.IsZero() { // RFC 7208 §2.4
		r.helo, r.domain = true, strings.TrimSuffix(strings.ToLower(helo), ".")
	}
	if local == "" {
		local = "postmaster"
	}
	ascii, err := DomainToASCII(r.domain)
	if err != nil {
		return r
	}
	r.domain = ascii
	c := &spfCheck{ctx: ctx, dns: dns, skip: skip, addr: addr, helo: helo, local: local, from: ascii}
	r.result = c.host(ascii)
	if r.result == resultPerm && c.why != nil {
		r.why = c.why.Error()
	}
	if ctx.Err() != nil { // whatever came of it
		r.result = resultTemp
	}
	return r
}

const iprevNames = 5 // of an address that are looked at

// checkIPRev looks for a name of an address that has it. The name is "" without one.
func checkIPRev(ctx context.Context, dns Resolver, addr netip.Addr) (result, name string) {
	a, err := dns.Ask(ctx, reverseName(addr), dnsmessage.TypePTR)
	if err != nil && !dnsNotFound(err) {
		return resultTemp, ""
	}
	kind := dnsmessage.TypeA
	if addr.Is6() {
		kind = dnsmessage.TypeAAAA
	}
	result = resultFail
	for i, n := range a.PTR() {
		if i >= iprevNames {
			break
		}
		has, err := dns.Ask(ctx, n, kind)
		if err != nil && !dnsNotFound(err) {
			result = resultTemp
		}
		for _, ip := range has.Addrs() {
			if ip == addr {
				return resultPass, strings.ToLower(strings.TrimSuffix(n, "."))
			}
		}
	}
	return result, ""
}

// reverseName is the name of an address in in-addr.arpa or ip6.arpa.
func reverseName(addr netip.Addr) string {
	const hex = "0123456789abcdef"
	b := addr.Unmap().AsSlice()
	var s strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		if addr.Unmap().Is6() {
			s.WriteString(string([]byte{hex[b[i]&15], '.', hex[b[i]>>4], '.'}))
			continue
		}
		s.WriteString(strconv.Itoa(int(b[i])) + ".")
	}
	if addr.Unmap().Is6() {
		return s.String() + "ip6.arpa."
	}
	return s.String() + "in-addr.arpa."
}

// isWorld says whether an address is one of the internet's, and not of a network at home.
func isWorld(a netip.Addr) bool {
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10) // RFC 6598
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}
