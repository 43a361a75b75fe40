// Whether a message from somebody whom nobody here knows is taken, and what is noted of its sender.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// errLocalSender refuses mail that says it is from one of our people and was brought by somebody who has not logged in.
var errLocalSender = errors.New("an address of this machine is for those who log in here")

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
	if len(v.Results) > 0 {
		m.Verdict = v
	}
	return nil
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
	claim, who := claimChecker{own: s.isLocal, domains: s.cfg.Domains}.header(header)
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
