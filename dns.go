// The DNS, as far as mail needs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Resolver stands for the DNS, so that tests need none.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// NewResolver asks the DNS servers of the machine.
func NewResolver() Resolver { return net.DefaultResolver }

const (
	dnsBudget   = 30 * time.Second // for all questions about one destination
	maxMailHost = 5                // hosts of a domain that are tried in one go (RFC 5321 §5.1 wants at least two)
	maxHostAddr = 4                // addresses of one host
)

// What the DNS says when it will say the same tomorrow. Everything else (no answer, no server, nonsense) passes.
var (
	errNoDomain = errors.New("there is no such domain")
	errNullMX   = errors.New("the domain takes no mail")
	errMXSelf   = errors.New("the domain's mail would come back to this machine, which does not know the domain")
)

// mailHosts lists the hosts that take mail for a domain, the best first (RFC 5321 §5.1): its MX hosts, or without any
// the domain itself. self is our own name: hosts that are no better than we are left out. The domain may have U-labels.
func mailHosts(ctx context.Context, r Resolver, domain, self string) ([]string, error) {
	name, err := DomainToASCII(domain)
	if err != nil {
		return nil, fmt.Errorf("%w: %s (%w)", errNoDomain, domain, err)
	}
	mxs, err := r.LookupMX(ctx, name+".")
	if err != nil && !dnsNotFound(err) && len(mxs) == 0 {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	if len(mxs) == 0 {
		return []string{name}, nil
	}
	if len(mxs) == 1 && (mxs[0].Host == "." || mxs[0].Host == "") { // RFC 7505 §3
		return nil, fmt.Errorf("%w: %s", errNullMX, domain)
	}
	slices.SortStableFunc(mxs, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	var hosts []string
	for _, mx := range mxs {
		host := strings.ToLower(strings.TrimSuffix(mx.Host, "."))
		if host == self {
			break
		}
		if len(hosts) < maxMailHost && host != "" {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w: %s", errMXSelf, domain)
	}
	return hosts, nil
}

// hostAddresses lists the addresses of a host. errNoDomain when it has none.
func hostAddresses(ctx context.Context, r Resolver, host string) ([]string, error) {
	addrs, err := r.LookupHost(ctx, host+".")
	if dnsNotFound(err) {
		return nil, fmt.Errorf("%w: %s", errNoDomain, host)
	}
	if err != nil {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	return addrs[:min(len(addrs), maxHostAddr)], nil
}

// dnsNotFound says whether the DNS has answered that there is nothing.
func dnsNotFound(err error) bool {
	var de *net.DNSError
	return errors.As(err, &de) && de.IsNotFound && !de.IsTimeout && !de.IsTemporary
}
