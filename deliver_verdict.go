// Whether a message from somebody whom nobody here knows is taken, and what is noted of its sender.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// errLocalSender refuses mail that says it is from one of our people and was brought by somebody who has not logged in.
var errLocalSender = errors.New("an address of this machine is for those who log in here")

// errDisowned refuses mail from a domain that asks to refuse what it does not stand for.
var errDisowned = errors.New("the domain in From does not stand for this message, and asks to refuse such (DMARC)")

// MailPeer is who brings a message.
type MailPeer struct {
	Addr netip.Addr
	Helo string // what it calls itself
}

// judge looks at a message that a stranger brings before it is accepted, and leaves what it finds in m.Verdict. Its errors refuse the
// message. It waits for others at most policyBudget.
func (s *Server) judge(m *Mail, peer MailPeer) error {
	ctx, cancel := context.WithTimeout(s.stop, policyBudget)
	defer cancel()
	header, err := s.headerOf(m.Body)
	if err != nil {
		return err
	}
	v := &Verdict{}
	err = s.atHome(ctx, v, m, peer, header)
	if err != nil {
		return err
	}
	if s.cfg.SMTP.CheckSenders != CheckOff && isWorld(peer.Addr) && s.health.answers(ctx, s.dns) && !s.isPartner(ctx, peer.Addr) {
		err = s.checkSender(ctx, v, m, peer, header)
	}
	if err != nil || len(v.Results) == 0 {
		return err
	}
	m.Verdict = v
	by, _ := v.vouched()
	if by != "" {
		s.hear(m, by)
	}
	return nil
}

// checkSender asks the DNS about the sender of a message from the internet and adds what it finds to v. errDisowned if it is to be
// refused.
func (s *Server) checkSender(ctx context.Context, v *Verdict, m *Mail, peer MailPeer, header string) error {
	skip := func(domain string) bool { return !s.isForeign(domain) }
	dns := dnsRemembering{s.dns, s.answers, loginOrigin{addr: peer.Addr}.house().String()}
	now, fields := s.store.Now(), dkimFields(header)
	froms := slices.DeleteFunc(fromDomains(fields), skip)
	dns.ahead(ctx, dnsmessage.TypeTXT, senderNames(fields, froms, skip))
	var spf spfResult
	var iprev, name string
	others := s.crew.Result("checking a sender", func() error {
		spf = checkSPF(ctx, dns, peer.Addr, peer.Helo, m.From, skip)
		iprev, name = checkIPRev(ctx, dns, peer.Addr)
		return nil
	})
	forms := bodyForms(fields, now)
	err := forms.read(bodyOf(m.Body))
	keys := &keyAsker{dns: dns, own: s.ring.public, skip: skip}
	sums := forms.end()
	dkim := verifyDKIM(ctx, fields, sums, keys, now)
	arc := checkARC(ctx, fields, sums, keys)
	fault := <-others // its results are there from here on
	if err != nil {
		return err
	}
	if fault != nil { // ours, which the crew has noted: no verdict, and not the sender's loss
		spf, iprev = spfResult{result: resultTemp, domain: m.From.Domain}, resultTemp
	}
	w := &dmarcWalker{ctx: ctx, dns: dns, skip: skip}
	var dmarc []dmarcResult
	for _, d := range froms {
		dmarc = append(dmarc, w.checkDMARC(d, spf, dkim))
	}
	if ctx.Err() != nil {
		s.health.doubt()
	}
	v.note(peer, name, iprev, m.From, spf, dkim, arc, dmarc)
	disowned := ""
	for _, d := range dmarc {
		did, why := d.policy, ""
		switch {
		case d.result == resultPass && d.record.p != dmarcNothing:
			did = resultPass
		case d.result != resultFail:
			did = dmarcNothing
		case d.policy != dmarcReject:
		case arc.speaksFor(d.from, s.cfg.SMTP.TrustedSealers):
			did, why = dmarcNothing, "trusted_forwarder"
		case listSpeaks(fields, spf, dkim):
			did, why = dmarcNothing, "mailing_list"
		case s.cfg.SMTP.CheckSenders != CheckReject:
			did, why = dmarcNothing, "local_policy"
		default:
			disowned = cmp.Or(disowned, d.from)
		}
		s.countJudged(m, peer, d, spf, dkim, did, why)
	}
	if disowned != "" {
		return fmt.Errorf("%w: %s", errDisowned, disowned)
	}
	return nil
}

// senderNames are the names of TXT records that a message makes us ask for in any case: policies of the domains in From, and keys.
func senderNames(fields []dkimField, froms []string, skip func(string) bool) []string {
	var all []string
	for _, d := range froms {
		all = append(all, "_dmarc."+d)
	}
	for _, f := range fields {
		if f.name != "dkim-signature" || len(all) >= dnsAhead {
			continue
		}
		tags, err := dkimTagList(f.value())
		if err != nil {
			continue
		}
		d := strings.ToLower(dkimSqueeze(tags["d"]))
		if !skip(d) {
			all = append(all, strings.ToLower(dkimSqueeze(tags["s"]))+"._domainkey."+d)
		}
	}
	return all
}

// note adds all results, in the order in which they were found out.
func (v *Verdict) note(peer MailPeer, name, iprev string, from Addr, spf spfResult, dkim []dkimResult, arc arcResult, dmarc []dmarcResult) {
	v.add("iprev", iprev, "", "policy.iprev", peer.Addr.String(), "policy.name", name)
	sender := strings.Trim(from.Path(), "<>")
	if ascii, ok := from.ASCIIPath(); ok {
		sender = strings.Trim(ascii, "<>")
	}
	if spf.helo {
		v.add("spf", spf.result, spf.why, "smtp.helo", spf.domain)
	} else {
		v.add("spf", spf.result, spf.why, "smtp.mailfrom", sender)
	}
	if len(dkim) == 0 {
		v.add("dkim", resultNone, "")
	}
	for _, d := range dkim {
		why := d.why
		if d.testing && why == "" {
			why = "the domain tries it out"
		}
		v.add("dkim", d.result, why, "header.d", d.domain, "header.s", d.selector, "header.b", d.b)
	}
	if arc.result != resultNone {
		v.add("arc", arc.result, arc.why, "header.d", arc.sealer)
	}
	for _, d := range dmarc {
		v.add("dmarc", d.result, "", "header.from", d.from, "policy.dmarc", d.policy, "policy.by", d.by)
	}
}

// listSpeaks says whether a list, which may have changed the message, stands for it: it names itself, and SPF or a signature is of its
// domain.
func listSpeaks(fields []dkimField, spf spfResult, dkim []dkimResult) bool {
	for _, f := range fields {
		if f.name != "list-id" { // RFC 2919
			continue
		}
		id := f.value()
		id = strings.ToLower(dkimTrim(id[strings.LastIndexByte(id, '<')+1:]))
		id = strings.TrimSuffix(id, ">")
		_, host, _ := strings.Cut(id, ".")
		if !strings.Contains(host, ".") {
			return false
		}
		if spf.result == resultPass && (isUnder(host, spf.domain) || isUnder(spf.domain, host)) {
			return true
		}
		for _, d := range dkim {
			if d.result == resultPass && (isUnder(host, d.domain) || isUnder(d.domain, host)) {
				return true
			}
		}
		return false
	}
	return false
}

// headerOf is the whole header block of a message, "" if it has none.
func (s *Server) headerOf(sp *Spool) (string, error) {
	head, err := sp.Head()
	if err != nil || !startsHeader(head) {
		return "", err
	}
	if sp.Tree().HeaderLen > maxHeaderBlock {
		return "", errHeaderSize
	}
	return wholeHeader(sp, head)
}

// atHome keeps [smtp] local_senders.
func (s *Server) atHome(ctx context.Context, v *Verdict, m *Mail, peer MailPeer, header string) error {
	mode := s.cfg.SMTP.LocalSenders
	if mode == LocalAny {
		return nil
	}
	claim, who := claimChecker{own: s.isLocal, domains: s.cfg.DomainsNow()}.header(header)
	local := !m.From.IsZero() && s.isLocal(m.From.Domain)
	if (claim == claimNone && !local) || s.isPartner(ctx, peer.Addr) {
		return nil
	}
	if local {
		if mode == LocalLogin {
			return fmt.Errorf("%w: %s", errLocalSender, m.From)
		}
		v.add(methodLocal, resultFail, errLocalSender.Error(), "smtp.mailfrom", m.From.String())
	}
	switch {
	case claim == claimNone:
	case claim == claimLooks:
		v.add(methodLocal, resultWeak, "it looks like one of ours", "header.from", who)
	case s.ownSignature(ctx, m.Body, header, who):
		// somebody sends on what was sent from here
	case mode == LocalLogin:
		return fmt.Errorf("%w: the header says %s", errLocalSender, who)
	default:
		v.add(methodLocal, resultFail, errLocalSender.Error(), "header.from", who)
	}
	return nil
}

// ownSignature says whether a message has a signature of ours for a domain, as what a list sends back to us has. Nobody is asked for
// the key.
func (s *Server) ownSignature(ctx context.Context, sp *Spool, header, domain string) bool {
	domain, err := DomainToASCII(strings.ToLower(strings.Trim(domain, ".")))
	if err != nil {
		return false
	}
	fields := dkimFields(header)
	ours := false
	for _, f := range fields {
		if f.name == "dkim-signature" {
			tags, err := dkimTagList(f.value())
			ours = ours || (err == nil && strings.EqualFold(dkimSqueeze(tags["d"]), domain))
		}
	}
	if !ours {
		return false
	}
	now := s.store.Now()
	forms := bodyForms(fields, now)
	err = forms.read(bodyOf(sp))
	if err != nil {
		return false
	}
	keys := &keyAsker{dns: s.dns, own: s.ring.public, skip: func(string) bool { return true }}
	for _, r := range verifyDKIM(ctx, fields, forms.end(), keys, now) {
		if r.result == resultPass && r.domain == domain {
			return true
		}
	}
	return false
}

// bodyOf reads what is behind a message's header.
func bodyOf(sp *Spool) io.Reader {
	tree := sp.Tree()
	from := tree.HeaderOff + tree.HeaderLen
	return io.NewSectionReader(sp, from, sp.Size()-from)
}

// isPartner says whether an address is that of a server which [routes] or [[fetch]] names: it brings the mail of many, ours among them.
// Names are looked up.
func (s *Server) isPartner(ctx context.Context, addr netip.Addr) bool {
	var hosts []string
	for _, r := range s.cfg.Routes {
		hosts = append(hosts, r.Hosts...)
	}
	for _, f := range s.cfg.Fetch {
		hosts = append(hosts, f.Server)
	}
	var names []string
	for _, h := range hosts {
		host, _, err := net.SplitHostPort(h)
		if err != nil {
			host = h
		}
		ip, err := netip.ParseAddr(host)
		if err == nil && ip.Unmap().WithZone("") == addr {
			return true
		}
		if err != nil {
			names = append(names, host)
		}
	}
	for _, name := range names {
		all, err := s.partners.addresses(ctx, s.dns, name)
		if err != nil {
			continue
		}
		for _, a := range all {
			ip, err := netip.ParseAddr(a)
			if err == nil && ip.Unmap().WithZone("") == addr {
				return true
			}
		}
	}
	return false
}
