// DANE: certificates that the DNS names, where DNSSEC proves what it says (RFC 7672).
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// errDANE is why a host is not trusted with a domain's mail.
var errDANE = errors.New("the server's certificate is none of those that the DNS names (DANE)")

// The usages of TLSA records that mean something between mail servers (RFC 7672 §3.1).
const (
	daneTA = 2 // the certificate of somebody who signs the host's
	daneEE = 3 // the host's own
)

// daneProof is what the DNS demands of a host's certificate.
type daneProof struct {
	records []TLSARecord // that can be used; none demands TLS with whatever certificate (RFC 7672 §2.2)
	base    string       // the name whose they are, which the host is told (§8.1)
	names   []string     // one of which a certificate must have that is signed by daneTA (§3.2.2)
}

// askDANE asks what the DNS demands of a host of a domain; nil is nothing. That the host is one of the domain's is proved already. An
// error means that it could not be found out, and then the host may not be used: somebody may hold the answer back (§2.1.2).
func askDANE(ctx context.Context, r Resolver, domain, host string) (*daneProof, error) {
	bases, err := daneBases(ctx, r, host)
	if err != nil {
		return nil, err
	}
	for _, base := range bases {
		a, err := r.Ask(ctx, "_25._tcp."+base, TypeTLSA)
		if err != nil && !dnsNotFound(err) {
			return nil, fmt.Errorf("DNS: %w", err)
		}
		if err != nil || !a.Secure || len(a.Records) == 0 {
			continue
		}
		p := &daneProof{base: base, names: []string{base}}
		for _, name := range []string{host, domain} {
			if name != base {
				p.names = append(p.names, name)
			}
		}
		p.records = daneUsable(a.TLSA())
		return p, nil
	}
	return nil, nil
}

// daneBases are the names that TLSA records of a host may be at, the best first: what its CNAMEs lead to, and its own; none where its
// addresses are not proved (§2.2.2).
func daneBases(ctx context.Context, r Resolver, host string) ([]string, error) {
	a, err := r.Ask(ctx, host, dnsmessage.TypeA)
	if dnsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	end := strings.ToLower(strings.TrimSuffix(a.Name, "."))
	switch {
	case end == host && a.Secure:
		return []string{host}, nil
	case end == host:
		return nil, nil
	case a.Secure:
		return []string{end, host}, nil
	}
	alias, err := r.Ask(ctx, host, dnsmessage.TypeCNAME)
	if err != nil && !dnsNotFound(err) {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	if err != nil || !alias.Secure {
		return nil, nil
	}
	return []string{host}, nil
}

// daneUsable are the records that mean something between mail servers. Where there are better digests of the same kind, SHA-256 is left
// out (RFC 7671 §9).
func daneUsable(all []TLSARecord) []TLSARecord {
	type kind struct{ usage, selector uint8 }
	better := map[kind]bool{}
	var some []TLSARecord
	for _, r := range all {
		size := map[uint8]int{1: sha256.Size, 2: sha512.Size}[r.Matching]
		if (r.Usage != daneTA && r.Usage != daneEE) || r.Selector > 1 || r.Matching > 2 || (size > 0 && len(r.Data) != size) {
			continue
		}
		if r.Matching == 2 {
			better[kind{r.Usage, r.Selector}] = true
		}
		some = append(some, r)
	}
	var best []TLSARecord
	for _, r := range some {
		if r.Matching != 1 || !better[kind{r.Usage, r.Selector}] {
			best = append(best, r)
		}
	}
	return best
}

// check says whether the certificates that a host has shown are what the DNS demands. For its own nothing counts but that it is named:
// neither names nor dates (RFC 7672 §3.1.1). now is for those of others.
func (p *daneProof) check(certs []*x509.Certificate, now time.Time) error {
	if len(p.records) == 0 {
		return nil
	}
	if len(certs) == 0 {
		return errDANE
	}
	anchors := x509.NewCertPool()
	some := false
	forms := make([]daneForms, len(certs))
	for _, r := range p.records {
		if r.Usage == daneEE && forms[0].match(r, certs[0]) {
			return nil
		}
		if r.Usage != daneTA {
			continue
		}
		for i, c := range certs[1:] {
			if forms[i+1].match(r, c) {
				anchors.AddCert(c)
				some = true
			}
		}
		if r.Selector == 0 && r.Matching == 0 { // the host need not send it
			c, err := x509.ParseCertificate(r.Data)
			if err == nil {
				anchors.AddCert(c)
				some = true
			}
		}
	}
	if !some {
		return errDANE
	}
	opts := x509.VerifyOptions{Roots: anchors, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := certs[0].Verify(opts)
	if err != nil {
		return fmt.Errorf("%w: %w", errDANE, err)
	}
	for _, name := range p.names {
		err = certs[0].VerifyHostname(name)
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", errDANE, err)
}

// daneForms are the forms of a certificate that records have, each made once: there may be a thousand records.
type daneForms map[[2]uint8][]byte

// match says whether a record is of a certificate.
func (f *daneForms) match(r TLSARecord, c *x509.Certificate) bool {
	if *f == nil {
		*f = daneForms{}
	}
	key := [2]uint8{r.Selector, r.Matching}
	form, ok := (*f)[key]
	if !ok {
		form = c.Raw
		if r.Selector == 1 {
			form = c.RawSubjectPublicKeyInfo
		}
		switch r.Matching {
		case 1:
			sum := sha256.Sum256(form)
			form = sum[:]
		case 2:
			sum := sha512.Sum512(form)
			form = sum[:]
		}
		(*f)[key] = form
	}
	return bytes.Equal(form, r.Data)
}
