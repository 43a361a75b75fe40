// TLS: a private CA and its server certificate, or files that are read again when they change.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	lookEvery  = 5 * time.Second // between looks whether the files, the names or the clock have changed
	caYears    = 20
	leafBefore = 365 * 24 * time.Hour // how far behind the clock of a client may be
	leafAfter  = 455 * 24 * time.Hour // Apple's systems refuse certificates that are valid for more than 825 days in all
	leafRenew  = 90 * 24 * time.Hour  // before its end a certificate is replaced
	maxLeafIPs = 64                   // addresses in the certificate
)

// caFrom is when every private CA begins to be valid: long ago, because boards without a clock start in the past.
var caFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Names in the settings table. Each value is a certificate and its key in PEM form.
const (
	settingCA   = "tls_ca"
	settingLeaf = "tls_leaf"
	settingOld  = "tls_old"
)

// TLS gives every listener its certificate: the files of [tls], or one signed by the appliance's own CA.
//
// The CA is made at first start, and people install it on their phones by hand, so another one is made only when there is a name
// that it may not sign for: its constraints list those of the machine and the domains when it was made, and what belongs to nobody
// on the internet (makeCA). A CA from before it had constraints stays as it is. It may sign nothing but TLS servers, and no other CAs.
// The server certificate follows the machine's names and addresses. It is replaced no more often than it must be: many people
// accept it as an exception instead of installing the CA, and such an exception ends with the certificate.
type TLS struct {
	cfg   *Config
	store *Store
	log   *slog.Logger
	addrs func() []netip.Addr // of the machine's interfaces

	web, mail, peer *tls.Config

	old func() (*tls.Certificate, error) // made when the first device asks for it

	mu     sync.Mutex
	looked time.Time // when we last looked for changes
	cert   *tls.Certificate
	stamp  string           // of the files, as last seen
	ca     *tls.Certificate // nil with files; without its key where the file is a backup that was downloaded
	denied string           // a name for which a new CA was needed and could not be stored: it is done at the next start

	public     *tls.Certificate     // of the public CA; nil for none
	proofs     map[string]acmeProof // that it is asked to look at just now
	acmeRoots  *x509.CertPool       // a test's; nil are the system's
	acmeAsk    chan struct{}        // wakes RunACME
	acmeForce  bool                 // somebody wants a certificate now
	acmeBusy   bool
	acmeNext   time.Time // before which nothing is tried
	acmeTries  int       // in a row that asked nothing of the CA
	acmeError  string    // of the last try
	acmeInfoAt time.Time // when the CA is asked next when it wants to renew
	acmeWindow acmeWindow
	acmePick   time.Time // the moment in that window
}

// LoadTLS reads or makes the certificates. An error names the file and what to do.
func LoadTLS(cfg *Config, store *Store, log *slog.Logger) (*TLS, error) {
	t := &TLS{cfg: cfg, store: store, log: log, addrs: interfaceAddrs, acmeAsk: make(chan struct{}, 1)}
	t.old = sync.OnceValues(t.makeOld)
	t.configs()
	t.loadPublic()
	if cfg.TLS.Cert != "" {
		t.stamp = t.fileStamp()
		cert, err := t.readFiles()
		t.cert = cert
		return t, err
	}
	if err := t.loadPrivate(); err != nil {
		return nil, fmt.Errorf("private certificates: %w", err)
	}
	return t, nil
}

// Config is for HTTPS. It is shared: clone it to change it.
func (t *TLS) Config() *tls.Config { return t.web }

// MailConfig is for a mail service. Port 25 gives no session tickets: there is a sender that stumbles over those that
// Go makes (golang.org/issue/70232), and servers gain nothing from them.
func (t *TLS) MailConfig(service string) *tls.Config {
	if service == "smtp" {
		return t.peer
	}
	return t.mail
}

// OldConfig is a configuration for devices of another time: TLS 1.0, the ciphers that were good then, and for those that
// know no elliptic curves an RSA certificate that nobody signed.
func (t *TLS) OldConfig(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion, cfg.CipherSuites = tls.VersionTLS10, nil
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		cfg.CipherSuites = append(cfg.CipherSuites, s.ID)
	}
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := t.certificate(hello)
		if err != nil || hello.SupportsCertificate(cert) == nil {
			return cert, err
		}
		return t.old()
	}
	return cfg
}

// makeOld makes the certificate for such devices, which takes a board some seconds, and keeps it.
func (t *TLS) makeOld() (*tls.Certificate, error) {
	text, err := read(t.store, func(tx *Tx) ([]byte, error) { return tx.Setting(settingOld) })
	if !errors.Is(err, ErrNotFound) {
		if err != nil {
			return nil, err
		}
		return parsePair(text)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	names := t.names()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, NotBefore: caFrom, NotAfter: caFrom.AddDate(caYears, 0, 0), DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	text, err = signPair(template, template, key, key)
	if err != nil {
		return nil, err
	}
	err = t.store.Write(func(tx *Tx) error { return tx.SetSetting(settingOld, text) })
	if err != nil && !errors.Is(err, ErrReadOnly) {
		return nil, err
	}
	return parsePair(text)
}

// configs makes the shared configurations. No client is asked for a certificate; one that has one and would send it
// gets in all the same.
func (t *TLS) configs() {
	t.web = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.certificate}
	t.mail = t.web.Clone()
	t.mail.GetConfigForClient = tlsRefuseBrowsers
	t.peer = t.mail.Clone()
	t.peer.SessionTicketsDisabled = true
	t.peer.GetCertificate = t.peerCertificate
	t.web.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return t.proofConfig(hello), nil }
}

// tlsRefuseBrowsers ends the handshake of a browser that was led to a mail port: a page could make it speak our
// protocol there, in the name of a web server with the same certificate (ALPACA).
func tlsRefuseBrowsers(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	for _, p := range hello.SupportedProtos {
		if p == "h2" || strings.HasPrefix(p, "http/") {
			return nil, fmt.Errorf("a client that speaks %s on a mail port", p)
		}
	}
	return nil, nil
}

// RootPEM is the private CA's certificate for people to install, nil when certificates come from files.
func (t *TLS) RootPEM() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ca == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: t.ca.Certificate[0]})
}

// Leaf is the certificate that clients are shown now.
func (t *TLS) Leaf() *x509.Certificate {
	c, _ := t.certificate(nil)
	return c.Leaf
}

// hasName says whether the certificate in use is for the name. One of the public CA may be for all names of a domain, which are not
// all ours.
func (t *TLS) hasName(host string) bool {
	leaf := t.Leaf()
	if pair := t.publicPair(); pair != nil && slices.Contains(pair.Leaf.DNSNames, host) {
		return true
	}
	return leaf != nil && leaf.VerifyHostname(host) == nil
}

// certificate is asked for in every handshake. Who asks for a name that the public CA has signed for gets that certificate, whatever our
// clock thinks of it; who asks for another one, or by an address, gets the private CA's. It never fails.
func (t *TLS) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello != nil && hello.ServerName != "" {
		if pair := t.publicPair(); pair != nil && pair.Leaf.VerifyHostname(hello.ServerName) == nil {
			return pair, nil
		}
	}
	return t.own()
}

// peerCertificate is certificate for other mail servers, many of which name nobody: they look at no address either.
func (t *TLS) peerCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := t.publicPair(); pair != nil && hello.ServerName == "" {
		return pair, nil
	}
	return t.certificate(hello)
}

// publicPair is the certificate of the public CA, nil if there is none or it is not wanted.
func (t *TLS) publicPair() *tls.Certificate {
	if t.cfg.ACMENow().Directory == "" {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.public
}

// own is the certificate of the private CA or of the files. Now and then it looks whether another one is due. What goes wrong
// then is logged, and the old one kept.
func (t *TLS) own() (*tls.Certificate, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) < lookEvery {
		return t.cert, nil
	}
	t.looked = time.Now()
	if t.cfg.TLS.Cert == "" {
		if why := t.leafFault(t.cert.Leaf); why != "" {
			t.log.Info("new certificate", "why", why)
			if err := t.issue(); err != nil {
				t.log.Error("new certificate", "err", err)
			}
		}
		return t.cert, nil
	}
	stamp := t.fileStamp()
	if stamp == t.stamp {
		return t.cert, nil
	}
	t.stamp = stamp
	cert, err := t.readFiles()
	if err != nil {
		t.log.Error("the new certificate is not used", "err", err)
		return t.cert, nil
	}
	t.cert = cert
	t.log.Info("new certificate", "file", t.cfg.Path(t.cfg.TLS.Cert), "until", cert.Leaf.NotAfter)
	return t.cert, nil
}

// fileStamp changes when one of the files does.
func (t *TLS) fileStamp() string {
	stamp := ""
	for _, f := range []string{t.cfg.TLS.Cert, t.cfg.TLS.Key} {
		if st, err := os.Stat(t.cfg.Path(f)); err == nil {
			stamp += fmt.Sprint(st.ModTime().UnixNano(), " ", st.Size(), ";")
		}
	}
	return stamp
}

// readFiles reads the pair of files from [tls].
func (t *TLS) readFiles() (*tls.Certificate, error) {
	certFile, keyFile := t.cfg.Path(t.cfg.TLS.Cert), t.cfg.Path(t.cfg.TLS.Key)
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("[tls] cert: %w; correct the path, or remove cert and key to use a private CA", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("[tls] key: %w; correct the path, or remove cert and key to use a private CA", err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("[tls] cert %s and key %s do not work: %w; give a PEM file with the server's certificate first and then its chain, and the key that belongs to it",
			certFile, keyFile, err)
	}
	return &cert, nil
}

// now is the time for certificates: the system's as soon as that can be right. The store's time never goes back, but a
// certificate has to when the clock had jumped ahead.
func (t *TLS) now() time.Time {
	if now := t.store.opt.Now(); !now.Before(t.store.built) {
		return now
	}
	return t.store.Now()
}

// leafFault says why the certificate has to be replaced, or "". Public IPv6 addresses are no reason: privacy extensions
// change them every day, and nobody types them.
func (t *TLS) leafFault(leaf *x509.Certificate) string {
	now := t.now()
	switch {
	case now.Before(leaf.NotBefore):
		return "the clock was wrong when it was made"
	case now.After(leaf.NotAfter.Add(-leafRenew)):
		return "it nears its end"
	case leaf.CheckSignatureFrom(t.ca.Leaf) != nil:
		return "the CA has changed"
	}
	name := t.outside()
	if name != "" && name != t.denied {
		return "the CA may not sign for " + name
	}
	keyless := t.ca.PrivateKey == nil // then only what can't be done without is worth another CA
	for _, n := range t.permittedNames() {
		if keyless && !strings.Contains(n, ".") {
			continue
		}
		if !slices.Contains(leaf.DNSNames, n) {
			return "the name " + n + " is new"
		}
	}
	if keyless {
		return ""
	}
	for _, a := range t.permittedAddrs() {
		has := slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool { return ip.Equal(net.IP(a.AsSlice())) })
		if !has && (a.Is4() || a.IsPrivate()) {
			return "the address " + a.String() + " is new"
		}
	}
	return ""
}

// names are what clients may call this machine, as A-labels; the host name comes first.
func (t *TLS) names() []string {
	var names []string
	short, _, _ := strings.Cut(t.cfg.Hostname, ".")
	all := []string{t.cfg.Hostname, short + ".local", short}
	for _, d := range t.cfg.DomainsNow() {
		all = append(all, "mail."+d, d, "autoconfig."+d)
		if t.cfg.servesSTS(d) {
			all = append(all, "mta-sts."+d)
		}
	}
	for _, n := range append(all, "localhost") {
		ascii, err := DomainToASCII(n)
		odd := strings.ContainsFunc(ascii, func(r rune) bool { return r > 0x7e || r <= ' ' || r == '[' })
		if err == nil && ascii != "" && !odd && !slices.Contains(names, ascii) {
			names = append(names, ascii)
		}
	}
	return names
}

// servesSTS says whether there is a policy of ours for those who send to a domain (MTA-STS), at the host mta-sts.DOMAIN.
func (c *Config) servesSTS(domain string) bool { return c.SMTP.MTASTS != "" && !lanName(domain) }

// interfaceAddrs lists the machine's addresses without link-local ones, which nobody can use without a zone. IPv4
// comes first.
func interfaceAddrs() []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	addrs, _ := net.InterfaceAddrs() // without them loopback has to do
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap().WithZone("")
		if !ip.IsLinkLocalUnicast() && !slices.Contains(all, ip) {
			all = append(all, ip)
		}
	}
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return all
}
