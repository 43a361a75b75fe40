package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// testTLS loads the certificates of a file, at a time.
func testTLS(tb testing.TB, path string, now *time.Time, config string) *TLS {
	tb.Helper()
	cfg, err := parseConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := OpenStore(path, StoreOptions{Now: func() time.Time { return *now }})
	if err != nil {
		tb.Fatal(err)
	}
	defer st.Close()
	t, err := LoadTLS(cfg, st, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// TestPrivateCA checks that a client which trusts the CA trusts the server under all its names, whatever its clock says
// within a year of ours.
func TestPrivateCA(t *testing.T) {
	now := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	tl := testTLS(t, filepath.Join(t.TempDir(), "mail.db"), &now, `
hostname = "pi.example.org"
domains = ["home.arpa", "bücher.example"]`)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(tl.RootPEM()) {
		t.Fatal("no root")
	}
	leaf := tl.Leaf()
	for _, name := range []string{"pi.example.org", "pi.local", "pi", "mail.home.arpa", "home.arpa", "localhost", "mail.xn--bcher-kva.example", "127.0.0.1", "::1"} {
		for _, off := range []time.Duration{-360 * 24 * time.Hour, 0, 360 * 24 * time.Hour} {
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now.Add(off)}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if d := leaf.NotAfter.Sub(leaf.NotBefore); d > 825*24*time.Hour {
		t.Errorf("valid for %v, more than Apple takes", d)
	}
	if leaf.IsCA {
		t.Error("the server certificate is a CA")
	}
	if tl.ca.Leaf.NotBefore.After(time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)) || tl.ca.Leaf.NotAfter.Before(now.AddDate(19, 0, 0)) {
		t.Errorf("the CA is valid from %v to %v", tl.ca.Leaf.NotBefore, tl.ca.Leaf.NotAfter)
	}
}

// TestLeafReissue checks what replaces the certificate, what the CA too, and what neither; the key stays always.
func TestLeafReissue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	now := time.Date(1970, 1, 1, 0, 0, 5, 0, time.UTC) // a board without a clock
	config := `hostname = "pi.local"`
	first := testTLS(t, path, &now, config)
	last, root := first.Leaf(), first.RootPEM()
	if built := buildTime(); built.Before(last.NotBefore) || built.After(last.NotAfter) {
		t.Errorf("made in 1970, valid from %v to %v", last.NotBefore, last.NotAfter)
	}
	step := func(what string, want bool, newCA ...bool) {
		t.Helper()
		tl := testTLS(t, path, &now, config)
		leaf := tl.Leaf()
		if got := !leaf.Equal(last); got != want {
			t.Errorf("%s: replaced is %v", what, got)
		}
		if same := bytes.Equal(tl.RootPEM(), root); same == (len(newCA) > 0) {
			t.Errorf("%s: the same CA: %v", what, same)
		}
		root = tl.RootPEM()
		if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, last.RawSubjectPublicKeyInfo) {
			t.Errorf("%s: another key", what)
		}
		last = leaf
	}
	step("nothing has changed", false)
	now = buildTime().AddDate(0, 6, 0)
	step("the clock is half a year ahead", false)
	now = buildTime().AddDate(3, 0, 0)
	step("the clock became sane three years later", true)
	now = buildTime().AddDate(60, 0, 0)
	step("the clock jumped 60 years ahead", true)
	now = buildTime().AddDate(3, 0, 0)
	step("and back", true)
	config = `hostname = "box.local"`
	step("the machine has another name in .local", true)
	config = "hostname = \"pi.local\"\ndomains = [\"example.org\"]"
	step("a domain is new that the CA may not sign for", true, true)
	config = "hostname = \"pi.local\"\ndomains = [\"example.org\", \"lab.example.org\", \"school.lan\"]"
	step("domains are new that it may sign for", true)
	config = `hostname = "pi.local"`
	step("and gone: home.arpa is new again", true)
}

// TestLeafAddresses checks that a new address of the machine makes a new certificate while it runs, unless it is a
// public IPv6 address.
func TestLeafAddresses(t *testing.T) {
	s := startServer(t)
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	s.tls.addrs = func() []netip.Addr { return addrs }
	for _, c := range []struct {
		addr string
		want bool
	}{{"2001:db8::7", false}, {"192.168.7.7", true}, {"fd00::7", true}} {
		addrs = append(addrs, netip.MustParseAddr(c.addr))
		s.tls.looked = time.Time{}
		leaf := s.tls.Leaf()
		has := slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool { return ip.String() == c.addr })
		if has != c.want {
			t.Errorf("%s in the certificate: %v", c.addr, has)
		}
	}
}

// forgeLeaf signs a server certificate for a name or address with the key of a CA.
func forgeLeaf(t *testing.T, ca *tls.Certificate, name string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "a forged one"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{name}}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	text, err := signPair(template, ca.Leaf, key, ca.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCAConstraints: whoever has the key of the private CA can stand in for this machine, its domains and what belongs to nobody, and for
// nobody else: so say Go and openssl. The server's own certificate passes with all that it names.
func TestCAConstraints(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	public := netip.MustParseAddr("203.0.113.7")
	tl := testTLS(t, filepath.Join(dir, "mail.db"), &now, "hostname = \"cloud.example.org\"\ndomains = [\"example.net\", \"bücher.example\"]")
	tl.addrs = func() []netip.Addr { return append(interfaceAddrs(), public) }
	text, err := tl.makeCA()
	if err != nil {
		t.Fatal(err)
	}
	tl.ca, err = parsePair(text)
	if err != nil {
		t.Fatal(err)
	}
	openssl, noOpenssl := exec.LookPath("openssl")
	root := filepath.Join(dir, "root.pem")
	err = os.WriteFile(root, tl.RootPEM(), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(tl.ca.Leaf)
	passes := func(name string, text []byte) {
		t.Helper()
		cert, err := parsePair(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	fails := func(name string) {
		t.Helper()
		text := forgeLeaf(t, tl.ca, name)
		cert, err := parsePair(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		var invalid x509.CertificateInvalidError
		if !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
			t.Errorf("%s: %v", name, err)
		}
		if noOpenssl != nil {
			return
		}
		file := filepath.Join(dir, "leaf.pem")
		err = os.WriteFile(file, text, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(openssl, "verify", "-CAfile", root, "-purpose", "sslserver", file).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "permitted subtree violation") {
			t.Errorf("openssl takes %s: %s %v", name, out, err)
		}
	}
	for _, name := range []string{"cloud.example.org", "mail.example.net", "example.net", "autoconfig.xn--bcher-kva.example", "other.local", "x.home.arpa",
		"nas.lan", "git.internal", "localhost", "192.168.7.7", "10.9.8.7", "172.31.0.1", "100.64.3.2", "169.254.1.1", "127.0.0.9", "fd00::9", "fe80::1", "::1",
		public.String()} {
		text := forgeLeaf(t, tl.ca, name)
		passes(name, text)
		if noOpenssl == nil {
			file := filepath.Join(dir, "leaf.pem")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(openssl, "verify", "-CAfile", root, "-purpose", "sslserver", file).CombinedOutput()
			if err != nil {
				t.Errorf("openssl refuses %s: %s", name, out)
			}
		}
	}
	for _, name := range []string{"bank.example", "www.bank.example", "example.org", "notexample.net", "app.cloud", "cloud", "com", "203.0.113.8", "8.8.8.8", "2001:db8::1",
		"172.32.0.1", "xlocal"} {
		fails(name)
	}
	cert := tl.cert.Leaf
	for _, n := range cert.DNSNames {
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: n, Roots: roots}); n == "cloud" || err == nil {
			t.Errorf("%s is in a certificate of another CA: %v", n, err)
		}
	}
	// The machine has moved: its public addresses are not in the certificate, and all else is taken.
	tl.addrs = func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), public, netip.MustParseAddr("198.51.100.3"), netip.MustParseAddr("2001:db8::3")}
	}
	tl.store, err = OpenStore(filepath.Join(dir, "mail.db"), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tl.store.Close()
	err = tl.issue()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range append(slices.Clone(tl.cert.Leaf.DNSNames), "127.0.0.1", public.String()) {
		if _, err := tl.cert.Leaf.Verify(x509.VerifyOptions{DNSName: n, Roots: roots}); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	if why := tl.leafFault(tl.cert.Leaf); why != "" || len(tl.cert.Leaf.IPAddresses) != 2 {
		t.Errorf("%q, %v", why, tl.cert.Leaf.IPAddresses)
	}
}

// TestCAWithoutConstraints: the CA of an older file stays, whatever the domains, since people have installed it.
func TestCAWithoutConstraints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "old"}, NotBefore: caFrom, NotAfter: now.AddDate(caYears, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	old, err := signPair(template, template, key, key)
	if err != nil {
		t.Fatal(err)
	}
	st, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Write(func(tx *Tx) error { return tx.SetSetting(settingCA, old) })
	err = errors.Join(err, st.Close())
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"example.org", "example.net"} {
		tl := testTLS(t, path, &now, "hostname = \"pi.example.com\"\ndomains = [\""+domain+"\"]")
		roots := x509.NewCertPool()
		if !bytes.HasPrefix(old, tl.RootPEM()) || !roots.AppendCertsFromPEM(tl.RootPEM()) {
			t.Fatal("another CA")
		}
		for _, n := range []string{"mail." + domain, "pi", "pi.example.com"} {
			if _, err := tl.Leaf().Verify(x509.VerifyOptions{DNSName: n, Roots: roots}); err != nil {
				t.Errorf("%s: %v", n, err)
			}
		}
	}
}

// TestBackupWithoutKey: a copy that goes away has no octet of the CA's key; restored where the key is it has it again, elsewhere the certificate
// serves on until there must be another one.
func TestBackupWithoutKey(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	path, away := filepath.Join(dir, "mail.db"), filepath.Join(dir, "away.db")
	config := `hostname = "pi.local"`
	first := testTLS(t, path, &now, config)
	st, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := read(st, func(tx *Tx) ([]byte, error) { return tx.Setting(settingCA) })
	if err != nil {
		t.Fatal(err)
	}
	settings, err := settingsAway(st)
	if err == nil {
		err = st.BackupWith(away, settings)
	}
	err = errors.Join(err, st.Close())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(away)
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Split(whole, []byte("\n"))
	if secret := key[len(key)-3]; len(secret) < 20 || bytes.Contains(b, secret) || !bytes.Contains(b, key[2]) {
		t.Fatal("the key is in the copy, or the certificate is not")
	}
	other := filepath.Join(dir, "other.db")
	if _, err := Restore(other, away, now, settingCA); err != nil {
		t.Fatal(err)
	}
	tl := testTLS(t, other, &now, config)
	if !tl.Leaf().Equal(first.Leaf()) || tl.Fingerprint() != first.Fingerprint() {
		t.Error("another certificate where it was restored")
	}
	tl.addrs = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.168.33.44")} }
	if why := tl.leafFault(tl.cert.Leaf); why != "" {
		t.Errorf("another CA only for this: %s", why)
	}
	now = now.AddDate(2, 0, 0)
	tl = testTLS(t, other, &now, config)
	if tl.Fingerprint() == first.Fingerprint() || tl.Leaf().CheckSignatureFrom(tl.ca.Leaf) != nil {
		t.Error("no new CA though the certificate has ended")
	}
	if _, err := Restore(path, away, now, settingCA); err != nil {
		t.Fatal(err)
	}
	tl = testTLS(t, path, &now, config)
	if tl.Fingerprint() != first.Fingerprint() || tl.ca.PrivateKey == nil {
		t.Error("the key was not taken from the file of before")
	}
}

// writeTestPair writes a certificate with a name into two files.
func writeTestPair(tb testing.TB, dir, name string) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "Postino private CA " + name}, NotBefore: caFrom, NotAfter: caFrom.AddDate(caYears, 0, 0)}
	text, err := signPair(template, template, key, key)
	if err != nil {
		tb.Fatal(err)
	}
	at := bytes.Index(text, []byte("-----BEGIN PRIVATE"))
	for file, b := range map[string][]byte{"cert.pem": text[:at], "key.pem": text[at:]} {
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestCertFiles checks that changed files are used, and broken ones not.
func TestCertFiles(t *testing.T) {
	dir := t.TempDir()
	writeTestPair(t, dir, "one")
	config := "[tls]\ncert = \"" + dir + "/cert.pem\"\nkey = \"" + dir + "/key.pem\""
	s := startServer(t, config)
	if s.tls.RootPEM() != nil {
		t.Error("a private CA beside files")
	}
	expect := func(what, name string) {
		t.Helper()
		s.tls.looked = time.Time{}
		if cn := s.tls.Leaf().Subject.CommonName; !strings.HasSuffix(cn, name) {
			t.Errorf("%s: the certificate is for %q", what, cn)
		}
	}
	expect("at start", "one")
	writeTestPair(t, dir, "second")
	expect("both files are new", "second")
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("the key is broken", "second")
	if err := os.Remove(filepath.Join(dir, "cert.pem")); err != nil {
		t.Fatal(err)
	}
	expect("a file is gone", "second")
	writeTestPair(t, dir, "the third")
	expect("repaired", "the third")

	cfg, err := parseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "key.pem"), []byte("nonsense"), 0o600)
	if _, err := LoadTLS(cfg, s.store, s.log); err == nil || !strings.Contains(err.Error(), "key.pem") {
		t.Errorf("broken at start: %v", err)
	}
	os.Remove(filepath.Join(dir, "key.pem"))
	if _, err := LoadTLS(cfg, s.store, s.log); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "key.pem") {
		t.Errorf("missing at start: %v", err)
	}
}

// TestTLSVersions checks who gets in: TLS 1.2 and 1.3, with a certificate nobody asked for too, and no browser on a mail
// port (ALPACA).
func TestTLSVersions(t *testing.T) {
	s := startServer(t)
	text, err := s.tls.makeCA()
	if err != nil {
		t.Fatal(err)
	}
	own, err := parsePair(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		cfg  *tls.Config
		ok   bool
	}{
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"with a certificate", &tls.Config{Certificates: []tls.Certificate{*own}}, true},
		{"ALPN imap", &tls.Config{NextProtos: []string{"imap"}}, true},
		{"a browser", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, false},
	} {
		c.cfg.InsecureSkipVerify = true
		nc, err := tls.Dial("tcp", s.addr["imaps"], c.cfg)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
		if err == nil {
			nc.Close()
		}
	}
}

// TestSessionTickets checks that port 25 gives none, which a Microsoft server can't take, and that others do.
func TestSessionTickets(t *testing.T) {
	s := startServer(t)
	for service, want := range map[string]bool{"smtp": false, "submission": true} {
		cache := &countingCache{tls.NewLRUClientSessionCache(4), 0}
		client, server := net.Pipe()
		go func() {
			tc := tls.Server(server, s.tls.MailConfig(service))
			io.WriteString(tc, "x")
			tc.Close()
		}()
		tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "x"})
		if _, err := io.ReadAll(tc); err != nil {
			t.Fatal(err)
		}
		if (cache.puts > 0) != want {
			t.Errorf("%s: %d tickets", service, cache.puts)
		}
	}
}

// countingCache counts the tickets a client is given.
type countingCache struct {
	tls.ClientSessionCache
	puts int
}

func (c *countingCache) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.puts++
	}
	c.ClientSessionCache.Put(key, s)
}

// TestOldDevices: a printer that knows nothing newer than TLS 1.0 and RSA sends its mail when its [[device]] says old_tls,
// on either port, and shakes hands in vain otherwise.
func TestOldDevices(t *testing.T) {
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}}
	for _, on := range []bool{false, true} {
		s := startServer(t, "[[device]]", `name = "printer"`, `network = "127.0.0.1"`, `sender = "bob@home.arpa"`, fmt.Sprint("old_tls = ", on))
		for i, service := range []string{"submissions", "submission"} {
			nc, err := net.Dial("tcp", s.addr[service])
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if service == "submission" {
				k := newTalk(t, nc)
				k.want(220)
				k.cmd("EHLO printer", 250)
				k.cmd("STARTTLS", 220)
			}
			tc := tls.Client(nc, old)
			if err := tc.Handshake(); (err == nil) != on {
				t.Errorf("%s, old_tls %v: %v", service, on, err)
			}
			if !on {
				continue
			}
			k := newTalk(t, tc)
			if service == "submissions" {
				k.want(220)
			}
			k.cmd("EHLO printer", 250)
			k.cmd("MAIL FROM:<printer@nowhere>", 250)
			k.cmd("RCPT TO:<ann@home.arpa>", 250)
			k.cmd("DATA", 354)
			k.cmd("Subject: scan\r\n\r\n.", 250)
			if got := s.inbox(t, "ann@home.arpa"); len(got) != i+1 || !strings.HasPrefix(got[i], "Return-Path: <bob@home.arpa>") {
				t.Errorf("ann has %q", got)
			}
		}
	}
}
