// SPF (RFC 7208): may this address send for that domain? And iprev (RFC 8601 §3): has it a name that leads back to it?
package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"blitiri.com.ar/go/spf"
	"golang.org/x/net/dns/dnsmessage"
)

// spfResolver asks what an SPF record calls for. The library counts the questions.
type spfResolver struct {
	dns Resolver
	six bool // the client's address is one of IPv6: AAAA records are asked for, too
}

func spfNone(name string) error {
	return &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
}

func (r spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.dns.Ask(ctx, name, dnsmessage.TypeTXT)
	if err == nil && len(a.Records) == 0 {
		err = spfNone(name)
	}
	return a.TXT(), err
}

func (r spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a, err := r.dns.Ask(ctx, name, dnsmessage.TypeMX)
	if err == nil && len(a.Records) == 0 {
		err = spfNone(name)
	}
	return a.MX(), err
}

func (r spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	a, err := r.dns.Ask(ctx, host, dnsmessage.TypeA)
	if err != nil {
		return nil, err
	}
	found := a.Addrs()
	if r.six {
		a, err = r.dns.Ask(ctx, host, dnsmessage.TypeAAAA)
		if err != nil {
			return nil, err
		}
		found = append(found, a.Addrs()...)
	}
	if len(found) == 0 {
		return nil, spfNone(host)
	}
	var all []net.IPAddr
	for _, ip := range found {
		all = append(all, net.IPAddr{IP: net.IP(ip.AsSlice())})
	}
	return all, nil
}

func (r spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	a, err := r.dns.Ask(ctx, reverseName(ip), dnsmessage.TypePTR)
	if err == nil && len(a.Records) == 0 {
		err = spfNone(addr)
	}
	return a.PTR(), err
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
	sender := from.String()
	if from.IsZero() { // RFC 7208 §2.4
		r.helo, r.domain, sender = true, strings.TrimSuffix(strings.ToLower(helo), "."), "postmaster@"+helo
	}
	ascii, err := DomainToASCII(r.domain)
	if err != nil || skip(r.domain) || !strings.Contains(ascii, ".") {
		return r
	}
	r.domain = ascii
	if !from.IsZero() && !isASCII(from.Local) { // RFC 8616 §4: macros with such a local part match nothing
		sender = "postmaster@" + ascii
	} else if i := strings.LastIndexByte(sender, '@'); i >= 0 {
		sender = sender[:i+1] + ascii
	}
	res, err := spf.CheckHostWithSender(net.IP(addr.AsSlice()), helo, sender, spf.WithContext(ctx), spf.WithResolver(spfResolver{dns, addr.Is6()}))
	r.result = string(res)
	if res == spf.PermError && err != nil {
		r.why = err.Error()
	}
	if ctx.Err() != nil { // whatever the library makes of it
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
