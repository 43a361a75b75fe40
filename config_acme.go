// [tls] acme: certificates from a CA that everybody trusts, and what of the configuration changes while the appliance runs.
package main

import (
	"net/url"
	"slices"
)

// ACME are the keys of [tls] on certificates from a public CA (RFC 8555).
type ACME struct {
	Directory string   `toml:"acme"`           // "letsencrypt" or the https address of a directory; "" is no public CA
	Contact   string   `toml:"acme_contact"`   // an address that the CA may write to
	Names     []string `toml:"acme_names"`     // more names, beside those that we know of
	Challenge string   `toml:"acme_challenge"` // how the names are proved; "" is by the ports that are ours
}

// The ways to prove a name.
const (
	ACMEHTTP    = "http-01"
	ACMEALPN    = "tls-alpn-01"
	ACMEPersist = "dns-persist-01"
)

const maxACMENames = 40 // of one certificate

// acmeLetsEncrypt is what "letsencrypt" means.
const acmeLetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// URL is the address of the directory, "" where there is none.
func (a ACME) URL() string {
	if a.Directory == "letsencrypt" {
		return acmeLetsEncrypt
	}
	return a.Directory
}

// checkACME refuses what no CA would take, and brings names into A-labels.
func (c *Config) checkACME() error {
	a := &c.TLS.ACME
	u, err := url.Parse(a.URL())
	switch {
	case a.Directory == "":
	case err != nil || u.Scheme != "https" || u.Host == "":
		return keyFault("tls.acme", "%q is no CA; write \"letsencrypt\", or the https address of a directory", a.Directory)
	case c.TLS.Cert != "":
		return keyFault("tls.acme", "certificates come from files, by cert and key above; leave out one of the two")
	}
	if a.Contact != "" {
		if _, err := ParseAddr(a.Contact); err != nil {
			return keyFault("tls.acme_contact", "%q is no address: %v", a.Contact, err)
		}
	}
	if !slices.Contains([]string{"", ACMEHTTP, ACMEALPN, ACMEPersist}, a.Challenge) {
		return keyFault("tls.acme_challenge", "%q is none of tls-alpn-01, http-01, dns-persist-01; leave it empty to have one chosen by the ports", a.Challenge)
	}
	if len(a.Names) > maxACMENames {
		return keyFault("tls.acme_names", "at most %d", maxACMENames)
	}
	for i, n := range a.Names {
		d, err := ParseDomain(n)
		if err == nil {
			d, err = DomainToASCII(d)
		}
		if err != nil || !publicName(d) {
			return keyFault("tls.acme_names", "%q is no name that the internet knows; a private CA is for the others", n)
		}
		a.Names[i] = d
	}
	return nil
}

// configLive is what changes while the appliance runs.
type configLive struct {
	domains []string
	acme    ACME
}

// DomainsNow are the domains whose mail lives here, at least one. The slice never changes.
func (c *Config) DomainsNow() []string {
	if l := c.live.Load(); l != nil {
		return l.domains
	}
	return c.Domains
}

// ACMENow is what mail.toml says of the public CA.
func (c *Config) ACMENow() ACME {
	if l := c.live.Load(); l != nil {
		return l.acme
	}
	return c.TLS.ACME
}

// Adopt takes over what may change while the appliance runs, from a configuration that was read anew, and says whether it differs.
func (c *Config) Adopt(fresh *Config) bool {
	a, b := c.ACMENow(), fresh.TLS.ACME
	same := slices.Equal(c.DomainsNow(), fresh.Domains) && slices.Equal(a.Names, b.Names)
	same = same && a.Directory == b.Directory && a.Contact == b.Contact && a.Challenge == b.Challenge
	c.live.Store(&configLive{fresh.Domains, b})
	return !same
}
