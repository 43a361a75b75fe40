// Addresses of the internet, where strangers' names may lead us.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errNotPublic is why a server is not asked that a stranger names: its address is in a network that strangers have no business in.
var errNotPublic = errors.New("not a public address")

// onlyPublic keeps a net.Dialer from all other addresses.
func onlyPublic(_, to string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil || !isPublic(at.Addr()) {
		return fmt.Errorf("%s: %w", to, errNotPublic)
	}
	return nil
}

// notPublic are networks that netip does not know as private: shared, of documentation, of benchmarks, translated.
var notPublic = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0:0/96")}

// isPublic says whether an address is one of the internet's.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate()
}
