// What is counted for those who ask for reports; and how TLS to the hosts of others went (RFC 8460).
package main

import (
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// The policies of RFC 8460 §4.2, and the results of §4.3 that we give.
const (
	tlsByDNS  = "tlsa"
	tlsBySTS  = "sts"
	tlsByNone = "no-policy-found"

	tlsNotOffered = "starttls-not-supported"
	tlsMismatch   = "certificate-host-mismatch"
	tlsExpired    = "certificate-expired"
	tlsUntrusted  = "certificate-not-trusted"
	tlsInvalid    = "validation-failure"
	tlsFetchError = "sts-policy-fetch-error"
	tlsNoPolicy   = "sts-policy-invalid"
)

// errNoSTARTTLS is why there was no TLS at all.
var errNoSTARTTLS = errors.New("does not offer STARTTLS")

// tallyMost is how many different counts wait in memory to be stored; others are not counted.
const tallyMost = 2000

// countTally counts since it was last taken.
type countTally[K comparable] struct {
	mu     sync.Mutex
	counts map[K]int64
}

// tlsTally counts sessions.
type tlsTally struct {
	countTally[TLSCount]
	from string // our address as the last host that was reached saw it, "" unknown
}

// note counts one.
func (t *countTally[K]) note(c K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[K]int64{}
	}
	_, have := t.counts[c]
	if have || len(t.counts) < tallyMost {
		t.counts[c]++
	}
}

// back counts again what could not be stored.
func (t *countTally[K]) back(counts map[K]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c, n := range t.counts {
		counts[c] += n
	}
	t.counts = counts
}

// sentFrom notes our address, if it is one that others see.
func (t *tlsTally) sentFrom(a net.Addr) {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil || !isPublic(ap.Addr()) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from = ap.Addr().Unmap().String()
}

// sender is what sentFrom noted.
func (t *tlsTally) sender() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.from
}

// take returns what was counted and begins anew.
func (t *countTally[K]) take() map[K]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.counts
	t.counts = nil
	return all
}

// tlsResult is an error of a handshake in the words of RFC 8460 §4.3.
func tlsResult(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errNoSTARTTLS):
		return tlsNotOffered
	case errors.As(err, &name):
		return tlsMismatch
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsExpired
	case errors.As(err, &unknown):
		return tlsUntrusted
	}
	return tlsInvalid
}
