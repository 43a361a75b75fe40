// What a host has to show before it gets a domain's mail.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Why a host is not trusted with a domain's mail.
var (
	errSTSHost = errors.New("the domain's policy does not name the server (MTA-STS)")
	errSTSCert = errors.New("the server's certificate is not what the domain's policy demands (MTA-STS)")
)

// hostProof is what a host of a domain has to show. DANE goes before MTA-STS: who has both demands what the DNS says (RFC 8461 §2).
type hostProof struct {
	domain string     // in A-labels
	dane   *daneProof // nil without
	sts    *STSPolicy // in the mode enforce or testing; nil without
	proved bool       // that the host is one of the domain's: by DNSSEC, or by the policy
}

// strict says whether mail has to wait when the host does not show what it has to.
func (p *hostProof) strict() bool {
	return p != nil && (p.dane != nil || (p.sts != nil && p.sts.Mode == stsEnforce))
}

// kind is the policy in the words of RFC 8460 §4.2.
func (p *hostProof) kind() string {
	switch {
	case p.dane != nil:
		return tlsByDNS
	case p.sts != nil:
		return tlsBySTS
	}
	return tlsByNone
}

// hostProofs finds out what the hosts of a domain have to show.
type hostProofs struct {
	of  MailHosts
	sts *STSPolicy // nil without one
}

// host is what one host has to show. errSTSHost, or the DNS's error, when it may not be used.
func (a hostProofs) host(ctx context.Context, r Resolver, host string) (*hostProof, error) {
	p := &hostProof{domain: a.of.Domain, proved: a.of.Secure}
	if a.of.Secure && !lanName(host) {
		var err error
		p.dane, err = askDANE(ctx, r, a.of.Domain, host)
		if err != nil {
			return p, err
		}
	}
	if a.sts == nil || a.sts.Mode == stsNone {
		return p, nil
	}
	p.sts = a.sts
	if a.sts.names(host) {
		p.proved = true
		return p, nil
	}
	if p.strict() && p.dane == nil {
		return p, fmt.Errorf("%w: %s", errSTSHost, host)
	}
	return p, nil
}

// checkSTS says whether the certificates that a host has shown are what its domain's policy demands (RFC 8461 §4.1).
func (p *hostProof) checkSTS(certs []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) error {
	if !p.sts.names(host) {
		return fmt.Errorf("%w: %s", errSTSHost, host)
	}
	err := checkChain(certs, host, roots, now)
	if err != nil {
		return fmt.Errorf("%w: %w", errSTSCert, err)
	}
	return nil
}

// checkChain says whether certificates name a host and are signed by somebody in roots, for nil by somebody the machine knows.
func checkChain(certs []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) error {
	if len(certs) == 0 {
		return errors.New("it shows no certificate")
	}
	opts := x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := certs[0].Verify(opts)
	return err
}
