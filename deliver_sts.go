// Policies of other domains on their hosts (MTA-STS): asked for when mail goes there, kept in the file, and renewed before they end.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/publicsuffix"
)

const (
	stsAsk    = 5 * time.Second  // for the DNS to say whether there is a policy
	stsFetch  = 20 * time.Second // for a policy to be fetched, in all
	stsSoon   = 72 * time.Hour   // before its end a policy is renewed, and in the second half of its time
	stsRounds = 50               // policies that are renewed in one go
)

// stsPolicy is the policy that holds for a domain, nil for none. A policy that is known holds until its end, whatever the DNS or the
// domain's server say meanwhile (RFC 8461 §3.3), and as long as the clock can't be trusted.
func (s *Server) stsPolicy(ctx context.Context, domain string) (*STSPolicy, error) {
	now := s.store.Now()
	have, known, err := s.stsKnown(domain, now)
	if err != nil {
		return nil, err
	}
	ask, cancel := context.WithTimeout(ctx, stsAsk)
	defer cancel()
	id := ""
	a, err := s.dns.Ask(ask, "_mta-sts."+domain, dnsmessage.TypeTXT)
	if err == nil {
		id = stsRecord(a.TXT())
	}
	if known != nil && now.Sub(have.Used) >= stsDay {
		err = s.store.Write(func(tx *Tx) error { return tx.UseSTS(domain, now) })
		if err != nil {
			s.crew.Complain("MTA-STS: the use of a policy is not noted", err)
		}
	}
	if id == "" || (known != nil && have.ID == id) || s.stsFailed.lately(domain) {
		return known, nil
	}
	fresh, err := s.renewSTS(ctx, domain, id, now)
	if err != nil {
		s.log.Info("a policy is not fetched", "domain", domain, "err", err)
		return known, nil
	}
	return fresh, nil
}

// stsKnown is the policy in the file, nil without one and when it has ended.
func (s *Server) stsKnown(domain string, now time.Time) (STSStored, *STSPolicy, error) {
	have, err := read(s.store, func(tx *Tx) (STSStored, error) { return tx.STS(domain) })
	if errors.Is(err, ErrNotFound) || (err == nil && s.store.ClockTrusted() && now.After(have.Until)) {
		return have, nil, nil
	}
	if err != nil {
		return have, nil, err
	}
	p, err := parseSTS(have.Policy)
	if err != nil { // nothing of ours: it is fetched again
		return have, nil, nil
	}
	return have, p, nil
}

// renewSTS fetches a domain's policy and keeps it. used is when mail went by it last.
func (s *Server) renewSTS(ctx context.Context, domain, id string, used time.Time) (*STSPolicy, error) {
	p, err := s.fetchSTS(ctx, domain)
	if err != nil {
		s.stsFailed.note(domain)
		result := tlsFetchError
		if errors.Is(err, errSTS) {
			result = tlsNoPolicy
		}
		s.countTLS(TLSCount{Domain: domain, Policy: tlsBySTS, Result: result})
		return nil, err
	}
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		org = domain
	}
	keep := STSStored{Domain: domain, Org: org, ID: id, Policy: p.String(), Until: s.store.Now().Add(p.MaxAge), Used: used}
	err = s.store.Write(func(tx *Tx) error { return tx.KeepSTS(keep) })
	if err != nil { // it holds for this mail all the same
		s.crew.Complain("MTA-STS: a policy is not kept", err)
	}
	return p, nil
}

// fetchSTS asks a domain's server for its policy (RFC 8461 §3.3): with a good certificate, and without going where it points to.
func (s *Server) fetchSTS(ctx context.Context, domain string) (*STSPolicy, error) {
	ctx, cancel := context.WithTimeout(ctx, stsFetch)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+stsPath, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.worldClient().Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the server of the policy answers %s", res.Status)
	case kind != "text/plain":
		return nil, fmt.Errorf("%w: its type is not text/plain", errSTS)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, stsSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > stsSize {
		return nil, fmt.Errorf("%w: it has more than %d octets", errSTS, stsSize)
	}
	return parseSTS(string(b))
}

// renewPolicies fetches policies again that end soon and were used lately.
func (s *Server) renewPolicies(ctx context.Context) error {
	now := s.store.Now()
	all, err := read(s.store, func(tx *Tx) ([]STSStored, error) { return tx.STSEnding(now.Add(stsSoon), now, stsRounds) })
	for _, have := range all {
		p, perr := parseSTS(have.Policy)
		if ctx.Err() != nil || (perr == nil && have.Until.Sub(now) > p.MaxAge/2) || s.stsFailed.lately(have.Domain) || !s.health.answers(ctx, s.dns) {
			continue
		}
		a, aerr := s.dns.Ask(ctx, "_mta-sts."+have.Domain, dnsmessage.TypeTXT)
		if aerr != nil || stsRecord(a.TXT()) == "" {
			s.stsFailed.note(have.Domain)
			continue
		}
		_, rerr := s.renewSTS(ctx, have.Domain, stsRecord(a.TXT()), have.Used)
		if rerr != nil {
			s.log.Info("a policy is not renewed", "domain", have.Domain, "err", rerr)
		}
	}
	return err
}

// countTLS counts a session, or what kept one from being what it should, for the domain's report of today.
func (s *Server) countTLS(c TLSCount) {
	if s.cfg.SMTP.TLSReports && s.publicDomain() != "" {
		c.Day = s.store.Now().Unix() / tlsSecDay
		s.tally.note(c)
	}
}

// worldClient asks servers of the internet by https: at public addresses only, whose names the resolver knows that all mail goes by,
// with a good certificate, and without following redirects. Who asks sets a limit in its context, and to what it reads.
func (s *Server) worldClient() *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		addrs, err := hostAddresses(ctx, s.dns, host)
		for _, a := range addrs {
			var nc net.Conn
			nc, err = s.world(ctx, network, net.JoinHostPort(a, port))
			if err == nil {
				return nc, nil
			}
		}
		return nil, err
	}
	t := &http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: stsSize, TLSClientConfig: &tls.Config{RootCAs: s.roots, Time: s.store.Now, MinVersion: tls.VersionTLS12}}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
