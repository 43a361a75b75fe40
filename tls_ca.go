// The private CA: made at first start, and certificates from it.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// caZones are the names that a private CA may always sign for: nobody on the internet owns one of them (RFC 6762, RFC 8375, RFC 6761,
// and ICANN's resolution of 29 July 2024 on .internal; .lan is what many routers call their network).
var caZones = []string{"local", "home.arpa", "lan", "internal", "localhost"}

// caNetworks are the addresses that it may always sign for: private, link-local and loopback ones, and those behind a provider's NAT
// (RFC 1918, RFC 6598, RFC 3927, RFC 1122, RFC 4193, RFC 4291).
var caNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

// loadPrivate reads the CA and the server certificate from the file, and makes what is missing. A file that can't be
// written gets them in memory, so that people can still read their mail.
func (t *TLS) loadPrivate() error {
	var ca, leaf []byte
	load := func(tx *Tx) error {
		var err error
		ca, err = tx.Setting(settingCA)
		if err == nil || errors.Is(err, ErrNotFound) {
			leaf, err = tx.Setting(settingLeaf)
		}
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return err
	}
	if err := t.store.Read(load); err != nil {
		return err
	}
	if ca == nil {
		made, err := t.makeCA()
		if err != nil {
			return err
		}
		err = t.store.Write(func(tx *Tx) error {
			if err := load(tx); err != nil || ca != nil { // another process was faster
				return err
			}
			return tx.SetSetting(settingCA, made)
		})
		if err != nil && !errors.Is(err, ErrReadOnly) {
			return err
		}
		if ca == nil {
			ca = made
		}
	}
	var err error
	t.ca, err = parseCA(ca)
	if err != nil {
		return fmt.Errorf("setting %s: %w", settingCA, err)
	}
	if leaf != nil {
		t.cert, err = parsePair(leaf)
		if err != nil {
			t.log.Error("stored certificate", "err", err)
		}
	}
	if t.cert == nil || t.leafFault(t.cert.Leaf) != "" {
		return t.issue()
	}
	return nil
}

// Fingerprint is the SHA-256 of the private CA's certificate as browsers and phones show it, "" when certificates come from files.
// Who compares it knows that nobody has put another one in its place.
func (t *TLS) Fingerprint() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ca == nil {
		return ""
	}
	var pairs []string
	for _, b := range sha256.Sum256(t.ca.Certificate[0]) {
		pairs = append(pairs, fmt.Sprintf("%02X", b))
	}
	return strings.Join(pairs, ":")
}

// parsePair reads a certificate and its key from one PEM text.
func parsePair(text []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(text, text)
	return &c, err
}

// parseCA reads the CA, which may be without its key.
func parseCA(text []byte) (*tls.Certificate, error) {
	block, rest := pem.Decode(text)
	if next, _ := pem.Decode(rest); block == nil || next != nil {
		return parsePair(text)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, Leaf: leaf}, err
}

// settingsAway are the settings that differ in a copy of the file which goes away from this machine: the CA is without its key there, because
// whoever has that can stand in for this machine to all who trust it, and so are the account with the public CA and the certificate of
// that. Somebody who downloads a backup wants their mail back.
func settingsAway(store *Store) (map[string][]byte, error) {
	away := map[string][]byte{}
	err := store.Read(func(tx *Tx) error {
		for _, name := range []string{settingCA, settingAccount, settingPublic} {
			text, err := tx.Setting(name)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			away[name] = []byte{}
			if name != settingCA {
				continue
			}
			block, _ := pem.Decode(text)
			if block == nil {
				return fmt.Errorf("setting %s: no certificate", settingCA)
			}
			away[name] = pem.EncodeToMemory(block)
		}
		return nil
	})
	return away, err
}

// makeCA makes the private CA. Its name says whose it is, for the list of authorities on a phone. What it may sign for is written into it
// (RFC 5280 §4.2.1.10): the names of this machine and of the domains, the zones and networks that nobody else owns, and of public
// addresses those that the machine has now. So whoever gets hold of its key can't stand in for a bank.
func (t *TLS) makeCA() ([]byte, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Postino private CA " + t.cfg.Hostname, Organization: []string{"Postino private CA"}},
		NotBefore: caFrom, NotAfter: t.now().AddDate(caYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: slices.Clone(caZones),
	}
	for _, n := range t.names() {
		if !caPermits(template, n) && !isTopLevel(n) {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, n)
		}
	}
	for _, n := range caNetworks {
		template.PermittedIPRanges = append(template.PermittedIPRanges, ipNet(n))
	}
	addrs := t.addrs()
	for _, a := range addrs[:min(len(addrs), maxLeafIPs)] {
		if !caPermitsAddr(template, a) {
			template.PermittedIPRanges = append(template.PermittedIPRanges, ipNet(netip.PrefixFrom(a, a.BitLen())))
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return signPair(template, template, key, key)
}

// isTopLevel says whether a name without a dot ends names of the internet. A CA that may sign for a machine called "cloud" may
// sign for all of .cloud.
func isTopLevel(name string) bool {
	_, icann := publicsuffix.PublicSuffix(name)
	return icann && !strings.Contains(name, ".")
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// caPermits says whether clients take a certificate for the name from the CA. One that was made before CAs had constraints may sign for all.
func caPermits(ca *x509.Certificate, name string) bool {
	return len(ca.PermittedDNSDomains) == 0 || slices.ContainsFunc(ca.PermittedDNSDomains, func(zone string) bool {
		return name == zone || strings.HasSuffix(name, "."+zone)
	})
}

// caPermitsAddr says the same of an address.
func caPermitsAddr(ca *x509.Certificate, a netip.Addr) bool {
	return len(ca.PermittedIPRanges) == 0 || slices.ContainsFunc(ca.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(a.AsSlice()) })
}

// permittedNames are the machine's names that the CA may sign for. One name outside makes clients refuse the whole certificate.
func (t *TLS) permittedNames() []string {
	return slices.DeleteFunc(t.names(), func(n string) bool { return !caPermits(t.ca.Leaf, n) })
}

// permittedAddrs are the machine's addresses that the CA may sign for, at most as many as a certificate has.
func (t *TLS) permittedAddrs() []netip.Addr {
	var all []netip.Addr
	for _, a := range t.addrs() {
		if caPermitsAddr(t.ca.Leaf, a) && len(all) < maxLeafIPs {
			all = append(all, a)
		}
	}
	return all
}

// outside is a name that the certificate must have and the CA may not sign for, "" if there is none. Names without a dot are no
// reason for another CA, which everybody would have to install: there is a longer one for each of them.
func (t *TLS) outside() string {
	for _, n := range t.names() {
		if strings.Contains(n, ".") && !caPermits(t.ca.Leaf, n) {
			return n
		}
	}
	return ""
}

// renewCA makes another CA when there is a name that this one may not sign for. While the file can't be written the old one stays, and the
// certificate is without that name.
func (t *TLS) renewCA() error {
	why := ""
	if name := t.outside(); name != "" {
		why = "the old one may not sign for " + name
	} else if t.ca.PrivateKey == nil {
		why = "the file was a backup that was downloaded, which has no key of the old one"
	}
	if why == "" {
		return nil
	}
	text, err := t.makeCA()
	if err != nil {
		return err
	}
	err = t.store.Write(func(tx *Tx) error { return tx.SetSetting(settingCA, text) })
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		t.log.Warn("a new private CA is due and can't be stored now", "why", why, "err", err)
		t.denied = t.outside()
		if t.ca.PrivateKey != nil {
			return nil
		}
	} else if err != nil {
		return err
	}
	t.ca, err = parsePair(text)
	t.log.Warn("a new private CA: phones and computers that trusted the old one must install it", "why", why)
	return err
}

// signPair signs a certificate and returns it with its key in PEM form.
func signPair(template, parent *x509.Certificate, key, parentKey crypto.Signer) ([]byte, error) {
	var err error
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

// issue signs and stores a server certificate for today's names. It keeps the key of the one before.
func (t *TLS) issue() error {
	err := t.renewCA()
	if err != nil {
		return err
	}
	caKey, ok := t.ca.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("setting %s: not an ECDSA key", settingCA)
	}
	var key *ecdsa.PrivateKey
	if t.cert != nil {
		key, _ = t.cert.PrivateKey.(*ecdsa.PrivateKey)
	}
	if key == nil {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
	}
	names, now := t.permittedNames(), t.now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: names[0], Organization: []string{"Postino"}},
		NotBefore: now.Add(-leafBefore), NotAfter: now.Add(leafAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names,
	}
	for _, a := range t.permittedAddrs() {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	text, err := signPair(template, t.ca.Leaf, key, caKey)
	if err != nil {
		return err
	}
	t.cert, err = parsePair(text)
	if err != nil {
		return err
	}
	err = t.store.Write(func(tx *Tx) error { return tx.SetSetting(settingLeaf, text) })
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		return nil
	}
	return err
}
