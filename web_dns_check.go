// Asking the DNS what is there, and judging it: a light and a sentence for each record.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	webZoneProbe = 2 * time.Second  // for the DNS to say anything at all
	webZoneTime  = 20 * time.Second // for all questions about one domain; what is open then stays grey
	webZoneFound = 10               // records of a name that are shown
)

// webDNSZone is a domain of ours in the DNS.
type webDNSZone struct {
	cfg    *Config
	tls    *TLS
	dns    Resolver
	keys   []DKIMKey
	domain string // in A-labels
	host   string // that its mail goes to
	ours   bool   // the host is called so

	ctx   context.Context
	addrs []netip.Addr // of the host, as the DNS has them; set by its records, which come first
}

// webNewZone prepares what is known here of a domain of ours.
func webNewZone(cfg *Config, store *Store, t *TLS, dns Resolver, domain string) (*webDNSZone, error) {
	ascii, err := DomainToASCII(domain)
	if err != nil {
		return nil, err
	}
	z := &webDNSZone{cfg: cfg, tls: t, dns: dns, domain: ascii}
	z.host, z.ours = webMailHost(cfg, ascii)
	z.keys, err = read(store, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys(ascii) })
	return z, err
}

// check lists the records with what the DNS has of them. alive is false, and all is grey, if no DNS answers: that is known after
// webZoneProbe.
func (z *webDNSZone) check(ctx context.Context) (all []*webRecord, alive bool) {
	all = z.records()
	probe, cancel := context.WithTimeout(ctx, webZoneProbe)
	defer cancel()
	_, err := z.dns.Ask(probe, z.domain, dnsmessage.TypeNS)
	if err != nil && !dnsNotFound(err) {
		return all, false
	}
	z.ctx, cancel = context.WithTimeout(ctx, webZoneTime)
	defer cancel()
	for _, r := range all {
		if r.judge != nil {
			r.judge(z, r)
		}
	}
	return all, true
}

// look asks for what is at the record's name. ok is false, and the light grey, if the DNS does not say.
func (z *webDNSZone) look(r *webRecord, name string, kind dnsmessage.Type) (DNSAnswer, bool) {
	a, err := z.dns.Ask(z.ctx, name, kind)
	if err != nil && !dnsNotFound(err) {
		r.lit(webGrey, "The DNS does not say: %s", err)
		return a, false
	}
	if err != nil {
		a = DNSAnswer{Name: name}
	}
	return a, true
}

// found notes what the DNS has, for people.
func (r *webRecord) found(all ...string) {
	r.Found = append(r.Found, all[:min(len(all), max(webZoneFound-len(r.Found), 0))]...)
}

// lookAddrs asks for the host's addresses of both kinds.
func (z *webDNSZone) lookAddrs(r *webRecord, name string) ([]netip.Addr, bool) {
	var all []netip.Addr
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		a, ok := z.look(r, name, kind)
		if !ok {
			return nil, false
		}
		all = append(all, a.Addrs()...)
	}
	return all[:min(len(all), 2*webZoneFound)], true
}

func (z *webDNSZone) judgeHost(r *webRecord) {
	addrs, ok := z.lookAddrs(r, z.host)
	if !ok {
		return
	}
	z.addrs = addrs
	own := webPublicAddrs(z.tls.addrs())
	for _, a := range addrs {
		r.found(a.String())
	}
	private := slices.IndexFunc(addrs, func(a netip.Addr) bool { return !webIsPublic(a) })
	switch {
	case !z.ours:
		r.lit(webRed, "This machine calls itself %s, which means nothing on the internet: write hostname = %q into mail.toml and start anew.", z.cfg.Hostname, z.host)
	case len(addrs) == 0 && len(own) == 0:
		r.lit(webRed, "Nobody finds this machine. It has no public address itself: put in that of your router, and have it pass the ports on.")
	case len(addrs) == 0:
		r.lit(webRed, "Nobody finds this machine.")
	case private >= 0:
		r.lit(webRed, "%s can't be reached from the internet: take it out.", addrs[private].String())
	case slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(own, a) }):
		r.lit(webGreen, "It leads to this machine.")
	case len(own) == 0:
		r.lit(webGreen, "It leads to %s. This machine has no public address itself: that must be your router, and pass the ports on.", addrs[0].String())
	default:
		r.lit(webAmber, "It leads to %s, which is no address of this machine.", addrs[0].String())
	}
}

func (z *webDNSZone) judgeHost6(r *webRecord) {
	a, ok := z.look(r, z.host, dnsmessage.TypeAAAA)
	if !ok {
		return
	}
	for _, a := range a.Addrs() {
		r.found(a.String())
	}
	switch {
	case len(a.Addrs()) == 0:
		r.lit(webGrey, "Without it all goes by IPv4, which is enough.")
	case slices.ContainsFunc(a.Addrs(), func(a netip.Addr) bool { return slices.Contains(z.tls.addrs(), a) }):
		r.lit(webGreen, "It leads to this machine.")
	default:
		r.lit(webAmber, "It leads to %s, which is no address of this machine.", a.Addrs()[0].String())
	}
}

func (z *webDNSZone) judgeMX(r *webRecord) {
	a, ok := z.look(r, z.domain, dnsmessage.TypeMX)
	if !ok {
		return
	}
	best, ours := 1<<16, 1<<16
	for _, mx := range a.MX() {
		r.found(fmt.Sprint(mx.Pref, " ", mx.Host))
		best = min(best, int(mx.Pref))
		if strings.EqualFold(strings.TrimSuffix(mx.Host, "."), z.host) {
			ours = int(mx.Pref)
		}
	}
	switch {
	case len(a.MX()) == 0:
		r.lit(webRed, "Mail for the domain does not come here.")
	case ours == 1<<16:
		r.lit(webRed, "Mail for the domain goes to other hosts.")
	case ours > best:
		r.lit(webAmber, "Other hosts are asked first.")
	default:
		r.lit(webGreen, "Mail for the domain comes to this machine.")
	}
}

func (z *webDNSZone) judgePTR(r *webRecord) {
	var addr netip.Addr
	for _, a := range z.addrs {
		if webIsPublic(a) {
			addr = a
			break
		}
	}
	if !addr.IsValid() {
		r.lit(webGrey, "It belongs to the address, which the DNS does not have yet.")
		return
	}
	name := webReverse(addr)
	a, ok := z.look(r, name, dnsmessage.TypePTR)
	if !ok {
		return
	}
	r.Name, r.Value = strings.TrimSuffix(name, "."), z.host+"."
	r.found(a.PTR()...)
	switch {
	case len(a.PTR()) == 0:
		r.lit(webRed, "The address %s has no name. Most others refuse mail from such ones: ask whoever gives you the address.", addr.String())
	case slices.ContainsFunc(a.PTR(), func(n string) bool { return strings.EqualFold(strings.TrimSuffix(n, "."), z.host) }):
		r.lit(webGreen, "The address %s has this machine's name.", addr.String())
	default:
		r.lit(webAmber, "The address %s has another name. Some others trust it less.", addr.String())
	}
}

// webReverse is the name under which the DNS has the name of an address (RFC 1035 §3.5, RFC 3596 §2.5).
func webReverse(a netip.Addr) string {
	var parts []string
	if a.Is4() {
		for _, b := range a.As4() {
			parts = append(parts, fmt.Sprint(b))
		}
		slices.Reverse(parts)
		return strings.Join(parts, ".") + ".in-addr.arpa."
	}
	for _, b := range a.As16() {
		parts = append(parts, fmt.Sprintf("%x", b>>4), fmt.Sprintf("%x", b&15))
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".") + ".ip6.arpa."
}

func (z *webDNSZone) judgeSPF(r *webRecord) {
	a, ok := z.look(r, z.domain, dnsmessage.TypeTXT)
	if !ok {
		return
	}
	for _, t := range a.TXT() {
		if isSPF(t) {
			r.found(t)
		}
	}
	switch {
	case len(r.Found) == 0:
		r.lit(webRed, "Without it others can't tell your mail from a forger's.")
		return
	case len(r.Found) > 1:
		r.lit(webRed, "There are several: others take that for none. Make one of them.")
		return
	case z.cfg.Outbound.Mode == OutboundSmarthost:
		r.lit(webAmber, "Your mail leaves through %s: the record must name what that asks for.", z.cfg.Outbound.Smarthost)
		return
	}
	for _, addr := range z.addrs {
		if !webIsPublic(addr) {
			continue
		}
		c := &spfCheck{ctx: z.ctx, dns: z.dns, skip: func(string) bool { return false }, addr: addr, helo: z.host, local: "postmaster", from: z.domain}
		switch got := c.host(z.domain); got {
		case resultPass:
		case resultTemp:
			r.lit(webGrey, "What it leads to can't be asked for now.")
			return
		case resultPerm:
			r.lit(webRed, "It can't be read: %s", c.why)
			return
		default:
			r.lit(webRed, "Mail from %s, where it leads to this machine, would be disowned.", addr.String())
			return
		}
	}
	r.lit(webGreen, "It speaks for this machine.")
}

func (z *webDNSZone) judgeDKIM(r *webRecord, k DKIMKey) {
	a, ok := z.look(r, r.Name, dnsmessage.TypeTXT)
	if !ok {
		return
	}
	r.found(a.TXT()...)
	there := k.among(a.TXT())
	switch {
	case there && k.State == DKIMNext:
		r.lit(webGreen, "It is there: the next keys can sign now.")
	case there && k.State == DKIMOld:
		r.lit(webGreen, "It has signed. Keep it for a week, for mail that is on its way.")
	case there:
		r.lit(webGreen, "Others can check what this key signs.")
	case k.State == DKIMActive && len(a.TXT()) > 0:
		r.lit(webRed, "Another key is there: what this one signs is disowned.")
	case k.State == DKIMActive:
		r.lit(webRed, "This key signs, and nobody can check it.")
	case k.State == DKIMNext:
		r.lit(webAmber, "Publish it, so that the next keys can sign.")
	default:
		r.lit(webGrey, "It has signed before, and is not needed any more.")
	}
}

func (z *webDNSZone) judgeDMARC(r *webRecord) {
	a, ok := z.look(r, r.Name, dnsmessage.TypeTXT)
	if !ok {
		return
	}
	var all []*dmarcRecord
	for _, t := range a.TXT() {
		if d := parseDMARC(t, z.domain); d != nil {
			all = append(all, d)
			r.found(t)
		}
	}
	switch {
	case len(all) == 0:
		r.lit(webRed, "The big mail houses take no mail from domains without it.")
	case len(all) > 1:
		r.lit(webRed, "There are several: others take that for none. Make one of them.")
	case all[0].void:
		r.lit(webRed, "Its policy makes no sense to others.")
	case all[0].p == dmarcNothing || all[0].p == "":
		r.lit(webGreen, "It is there. When the reports of some weeks are good, write p=quarantine, and then p=reject: forgers have no luck then.")
	default:
		r.lit(webGreen, "Forged mail under your name is put aside or refused by others.")
	}
}

func (z *webDNSZone) judgeSTS(r *webRecord) {
	a, ok := z.look(r, r.Name, dnsmessage.TypeTXT)
	if !ok {
		return
	}
	r.found(a.TXT()...)
	mine := func(t string) bool { return strings.HasPrefix(dkimSqueeze(t), "v=STSv1;") }
	switch {
	case !slices.ContainsFunc(a.TXT(), mine):
		r.lit(webRed, "Nobody asks for the policy that this machine has (MTA-STS).")
	case !slices.ContainsFunc(a.TXT(), func(t string) bool { return mine(t) && strings.Contains(dkimSqueeze(t), "id="+webSTSID(z.cfg)) }):
		r.lit(webAmber, "The policy has changed since: with the new id others fetch it.")
	case z.tls.Public() == nil && z.cfg.TLS.Cert == "":
		r.lit(webRed, "Others can't fetch the policy: that needs a certificate that everybody trusts.")
	default:
		r.lit(webGreen, "Others ask for the policy of this machine, and heed it.")
	}
}

func (z *webDNSZone) judgeTLSRPT(r *webRecord) {
	a, ok := z.look(r, r.Name, dnsmessage.TypeTXT)
	if !ok {
		return
	}
	r.found(a.TXT()...)
	if !slices.ContainsFunc(a.TXT(), func(t string) bool { return strings.HasPrefix(dkimSqueeze(t), "v=TLSRPTv1;") }) {
		r.lit(webAmber, "With it others report when TLS to this machine fails.")
		return
	}
	r.lit(webGreen, "Others report when TLS to this machine fails.")
}

func (z *webDNSZone) judgeTLSA(r *webRecord) {
	a, ok := z.look(r, r.Name, TypeTLSA)
	if !ok {
		return
	}
	match := false
	for _, x := range a.TLSA() {
		text := fmt.Sprintf("%d %d %d %s", x.Usage, x.Selector, x.Matching, hex.EncodeToString(x.Data))
		r.found(text)
		match = match || text == r.Value
	}
	switch {
	case len(a.TLSA()) == 0 && r.Value == "":
		r.lit(webGrey, "It is about the certificate of the public CA, which is not there yet.")
	case len(a.TLSA()) == 0:
		r.lit(webGrey, "Nobody needs it. Where the zone is signed (DNSSEC), others know this machine by it (DANE).")
	case !match:
		r.lit(webRed, "It is about another key: who checks it can't send here.")
	case !a.Secure:
		r.lit(webAmber, "It is right, but nothing that we believe says that the zone is signed (DNSSEC): without that nobody heeds it.")
	default:
		r.lit(webGreen, "Others know this machine by it (DANE). Its key stays when the certificate is renewed.")
	}
}

func (z *webDNSZone) judgeSRV(r *webRecord) {
	a, ok := z.look(r, r.Name, dnsmessage.TypeSRV)
	if !ok {
		return
	}
	match := false
	for _, rec := range a.Records {
		if s, ok := rec.Body.(*dnsmessage.SRVResource); ok {
			r.found(fmt.Sprintf("%d %d %d %s", s.Priority, s.Weight, s.Port, s.Target.String()))
			match = match || strings.HasSuffix(strings.ToLower(r.Value), strings.ToLower(fmt.Sprintf(" %d %s", s.Port, s.Target.String())))
		}
	}
	switch {
	case match:
		r.lit(webGreen, "Mail programs find their server.")
	case len(r.Found) > 0:
		r.lit(webAmber, "Mail programs are led elsewhere.")
	default:
		r.lit(webAmber, "With it some mail programs find their server by themselves.")
	}
}

func (z *webDNSZone) judgeAlias(r *webRecord) {
	addrs, ok := z.lookAddrs(r, r.Name)
	if !ok {
		return
	}
	for _, a := range addrs {
		r.found(a.String())
	}
	needed := strings.HasPrefix(r.Name, "mta-sts.")
	switch {
	case len(addrs) == 0 && needed:
		r.lit(webRed, "Others look there for the policy (MTA-STS), and find nobody.")
	case len(addrs) == 0:
		r.lit(webAmber, "With it mail programs set themselves up.")
	case !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(z.addrs, a) }):
		r.lit(webAmber, "It leads to another machine.")
	case z.tls.Public() != nil && z.tls.Public().VerifyHostname(r.Name) != nil:
		r.lit(webAmber, "It leads to this machine, whose certificate is not for that name yet.")
	default:
		r.lit(webGreen, "It leads to this machine.")
	}
}

// judgeCAA looks for who may sign for the domain and the host: the records of the nearest name upwards that has any (RFC 8659 §3).
func (z *webDNSZone) judgeCAA(r *webRecord) {
	var issue []string
	for name := z.domain; strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
		a, ok := z.look(r, name, webTypeCAA)
		if !ok {
			return
		}
		for _, rec := range a.Records {
			b, ok := rec.Body.(*dnsmessage.UnknownResource)
			if !ok || len(b.Data) < 2 || len(b.Data) < 2+int(b.Data[1]) {
				continue
			}
			tag, value := strings.ToLower(string(b.Data[2:2+int(b.Data[1])])), string(b.Data[2+int(b.Data[1]):])
			r.found(fmt.Sprintf("%d %s %q", b.Data[0], tag, value))
			if tag == "issue" {
				ca, _, _ := strings.Cut(value, ";")
				issue = append(issue, strings.ToLower(strings.TrimSpace(ca)))
			}
		}
		if len(r.Found) > 0 {
			break
		}
	}
	ours := z.tls.ACMEStatus().Account.Issuers
	switch {
	case len(issue) == 0:
		r.lit(webGrey, "Every CA may sign for the domain. Nobody needs this record; it keeps the others from it.")
	case z.cfg.ACMENow().Directory == "" || len(ours) == 0:
		r.lit(webGreen, "Only these CAs may sign for the domain.")
	case slices.ContainsFunc(ours, func(ca string) bool { return slices.Contains(issue, strings.ToLower(ca)) }):
		r.lit(webGreen, "Our CA may sign for the domain.")
	default:
		r.lit(webRed, "Our CA may not sign for the domain: add it.")
	}
}

func (z *webDNSZone) judgePersist(r *webRecord, acct acmeAccount, n acmeName) {
	if r.Value == "" {
		r.lit(webGrey, "The account with the CA is not there yet, and the record names it. Look again in a minute.")
		return
	}
	a, ok := z.look(r, r.Name, dnsmessage.TypeTXT)
	if !ok {
		return
	}
	r.found(a.TXT()...)
	if !acct.Persists(a.TXT(), n.name, n.wide) {
		r.lit(webRed, "The CA waits for it: then it signs for the domain, now and at each renewal.")
		return
	}
	r.lit(webGreen, "The CA knows by it that the domain is yours.")
}
