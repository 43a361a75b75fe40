package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pebblePrograms builds the ACME test server and its DNS once.
var pebblePrograms = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "postino-pebble-")
	if err != nil {
		return "", err
	}
	for _, p := range []string{"pebble", "pebble-challtestsrv"} {
		c := exec.Command("go", "build", "-o", filepath.Join(dir, p), "github.com/letsencrypt/pebble/v2/cmd/"+p)
		c.Dir = "testdata/pebble"
		c.Env = append(os.Environ(), "GOARCH=", "GOARM=", "CGO_ENABLED=0", "GOFLAGS=")
		out, err := c.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("pebble can't be built: %w: %s", err, out)
		}
	}
	return dir, nil
})

// pebble is a CA with a DNS of its own, on loopback.
type pebble struct {
	dir, manage, dns string
	roots            *x509.CertPool // of its web server
	httpPort, tls    string         // where it looks at proofs
}

func startPebble(t *testing.T) *pebble {
	t.Helper()
	if testing.Short() {
		skip(t, "another program waits for nobody's emulation")
	}
	bin, err := pebblePrograms()
	if err != nil {
		skip(t, err)
	}
	folder := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble"}, NotAfter: time.Now().Add(24 * time.Hour), NotBefore: time.Now().Add(-time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	pair, err := signPair(tmpl, tmpl, key, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, private, _ := bytes.Cut(pair, []byte("-----BEGIN PRIVATE"))
	p := &pebble{roots: x509.NewCertPool(), httpPort: freePort(t), tls: freePort(t)}
	p.roots.AppendCertsFromPEM(cert)
	listen, dns, manage := freeAddr(t), freeAddr(t), freeAddr(t)
	p.dir, p.dns, p.manage = "https://"+listen+"/dir", dns, "http://"+manage
	config := fmt.Sprintf(`{"pebble":{"listenAddress":%q,"managementListenAddress":"","certificate":%q,"privateKey":%q,"httpPort":%s,"tlsPort":%s,
		"keyAlgorithm":"ecdsa","retryAfter":{"authz":1,"order":1},"profiles":{"default":{"description":"x","validityPeriod":7776000}}}}`,
		listen, folder+"/cert.pem", folder+"/key.pem", p.httpPort, p.tls)
	for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": append([]byte("-----BEGIN PRIVATE"), private...), "pebble.json": []byte(config)} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"pebble-challtestsrv", "-dnsserver", dns, "-management", manage, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""},
		{"pebble", "-config", folder + "/pebble.json", "-dnsserver", dns, "-strict"}} {
		c := exec.Command(filepath.Join(bin, args[0]), args[1:]...)
		c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5", "PEBBLE_AUTHZREUSE=0") // what was proved before would be refused no more
		var log bytes.Buffer
		c.Stdout, c.Stderr = &log, &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c.Process.Kill()
			c.Wait()
			if t.Failed() {
				t.Logf("%s:\n%s", args[0], log.Bytes())
			}
		})
	}
	waitFor(t, "pebble", func() bool {
		for _, a := range []string{listen, manage} {
			nc, err := net.Dial("tcp", a)
			if err != nil {
				return false
			}
			nc.Close()
		}
		return true
	})
	return p
}

// say tells pebble's DNS something.
func (p *pebble) say(t *testing.T, path string, what any) {
	t.Helper()
	b, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(p.manage+path, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("%s: %s", path, res.Status)
	}
}

// txt publishes a TXT record.
func (p *pebble) txt(t *testing.T, name, text string) {
	t.Helper()
	p.say(t, "/set-txt", map[string]string{"host": name + ".", "value": text})
}

// acmeServer is an appliance that has its certificates from pebble.
func (p *pebble) server(t *testing.T, method string, more ...string) *testServer {
	t.Helper()
	config := []string{`domains = ["postino.example"]`, "[dns]", fmt.Sprintf("servers = [%q]", p.dns), "[tls]", fmt.Sprintf("acme = %q", p.dir), fmt.Sprintf("acme_challenge = %q", method)}
	s := startServer(t, append(config, more...)...)
	s.tls.acmeRoots = p.roots
	for port, secure := range map[string]bool{p.httpPort: false, p.tls: true} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		s.wg.Go(func() { s.serveHTTP(s.web, l, secure) })
		s.addr[map[bool]string{false: "http2", true: "https"}[secure]] = l.Addr().String()
	}
	return s
}

// shown is the certificate that a service shows to who asks for a name.
func (s *testServer) shown(t *testing.T, service, name string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", s.addr[service], &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("%s for %s: %v", service, name, err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// TestACME gets certificates from pebble in each of the three ways, and sees that all services show them at once, for the names that they
// are for and no others.
func TestACME(t *testing.T) {
	for _, method := range []string{ACMEHTTP, ACMEALPN, ACMEPersist} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := startPebble(t)
			s := p.server(t, method)
			own := s.shown(t, "imaps", "mail.postino.example")
			names := []string{"mail.postino.example", "mta-sts.postino.example", "autoconfig.postino.example"}
			if method == ACMEPersist {
				names = append(names, "*.postino.example", "postino.example")
				s.tls.acmeTurn(t.Context(), s.dns)
				st := s.tls.ACMEStatus()
				if s.tls.Public() != nil || !strings.Contains(st.Error, "_validation-persist.postino.example") || st.Account.Failures != 0 {
					t.Fatalf("without the record: %+v", st)
				}
				owner, text, ok := st.Account.PersistRecord("postino.example", true)
				if !ok {
					t.Fatalf("no record: %+v", st.Account)
				}
				p.txt(t, owner, text)
				s.tls.AskACME()
			}
			s.tls.acmeTurn(t.Context(), s.dns)
			if s.tls.Public() == nil {
				t.Fatalf("no certificate: %+v", s.tls.ACMEStatus())
			}
			for _, n := range names {
				for _, service := range []string{"imaps", "submissions", "pop3s", "https"} {
					got := s.shown(t, service, strings.Replace(n, "*.", "mail.", 1))
					if got.Equal(own) || !slices.Contains(got.DNSNames, n) {
						if method != ACMEPersist || !acmeCovers(got, n) {
							t.Errorf("%s shows for %s a certificate for %q", service, n, got.DNSNames)
						}
					}
				}
			}
			for _, n := range []string{"mx.home.arpa", "localhost", ""} {
				if got := s.shown(t, "imaps", n); !got.Equal(own) {
					t.Errorf("for %q a certificate for %q is shown", n, got.DNSNames)
				}
			}
			before := s.tls.Public()
			s.tls.AskACME()
			s.tls.acmeTurn(t.Context(), s.dns)
			after := s.tls.Public()
			if before.Equal(after) || !bytes.Equal(before.RawSubjectPublicKeyInfo, after.RawSubjectPublicKeyInfo) {
				t.Error("renewed: the same certificate, or another key")
			}
			s.tls.askRenewal(t.Context(), s.dns, s.cfg.ACMENow())
			if pick := s.tls.acmePick; pick.Before(after.NotBefore) || pick.After(after.NotAfter) {
				t.Errorf("the CA wants it renewed at %v, of a certificate from %v until %v", pick, after.NotBefore, after.NotAfter)
			}
			again, err := LoadTLS(s.cfg, s.store, s.log)
			if err != nil || again.Public() == nil || !again.Public().Equal(after) {
				t.Errorf("after another start: %v", err)
			}
		})
	}
}

// TestACMERefused has the CA not believe one of the names: the others get their certificate, and what is in today's certificate is not lost.
func TestACMERefused(t *testing.T) {
	p := startPebble(t)
	s := p.server(t, ACMEHTTP)
	p.say(t, "/add-a", map[string]any{"host": "autodiscover.postino.example.", "addresses": []string{"127.0.0.77"}})
	s.tls.acmeTurn(t.Context(), s.dns)
	pub := s.tls.Public()
	if pub == nil {
		t.Fatalf("no certificate: %+v", s.tls.ACMEStatus())
	}
	if slices.Contains(pub.DNSNames, "autodiscover.postino.example") || !slices.Contains(pub.DNSNames, "mail.postino.example") {
		t.Errorf("a certificate for %q", pub.DNSNames)
	}
	if why := s.tls.acmeDue(s.tls.account(), time.Now().Add(time.Hour)); why != "" {
		t.Errorf("due again: %s", why)
	}
	p.say(t, "/add-a", map[string]any{"host": "mail.postino.example.", "addresses": []string{"127.0.0.77"}})
	s.tls.AskACME()
	s.tls.acmeTurn(t.Context(), s.dns)
	st := s.tls.ACMEStatus()
	if !s.tls.Public().Equal(pub) || st.Account.Failures != 1 || !strings.Contains(st.Error, "mail.postino.example") {
		t.Errorf("a name of today's certificate was refused: %+v", st)
	}
}

// TestACMEDue walks through the reasons for another certificate, with clocks of all kinds.
func TestACMEDue(t *testing.T) {
	now := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "mail.db")
	cfg, err := parseConfig("hostname = \"mail.postino.example\"\ndomains = [\"postino.example\"]\n[tls]\nacme = \"https://ca.example/dir\"\nacme_challenge = \"dns-persist-01\"")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	st, err := OpenStore(path, StoreOptions{Now: func() time.Time { return now }, Uptime: func() time.Duration { return time.Since(start) }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	tl, err := LoadTLS(cfg, st, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a := acmeAccount{Directory: "https://ca.example/dir", Got: now}
	due := func(what, want string) {
		t.Helper()
		if got := tl.acmeDue(a, time.Now()); got != want {
			t.Errorf("%s: %q, not %q", what, got, want)
		}
	}
	due("at first", "there is none")
	a.Failures, a.Tried = 3, st.Now()
	due("just refused", "")
	now = now.Add(41 * time.Minute)
	due("40 minutes later", "there is none")
	a.Tried = now.Add(1000 * time.Hour)
	due("the clock was ahead when it was refused", "there is none")
	a.Failures = 0
	tl.public = testPair(t, now.Add(-time.Hour), now.Add(90*24*time.Hour), "postino.example", "*.postino.example")
	a.Got = now
	due("fresh", "")
	cfg.Adopt(mustConfig(t, "hostname = \"mail.postino.example\"\ndomains = [\"postino.example\", \"other.example\"]\n[tls]\nacme = \"https://ca.example/dir\"\nacme_challenge = \"dns-persist-01\""))
	due("another domain", acmeNewName)
	a.Refused = []string{"other.example", "*.other.example"}
	due("which the CA refused", "")
	now = now.Add(61 * 24 * time.Hour)
	due("a third before its end", "it nears its end")
	tl.acmePick = now.Add(time.Hour)
	due("whatever the CA said", "it nears its end")
	a.Got = now.Add(-time.Hour)
	due("an hour after another one: the clock has jumped", "")
	now = now.AddDate(10, 0, 0)
	due("ten years ahead", "the CA says so")
	if tl.Public() == nil {
		t.Error("the certificate was dropped")
	}
	a.Got = st.Now()
	due("and again at once", "")
	now = time.Date(1970, 1, 1, 0, 0, 5, 0, time.UTC)
	due("a board without a clock", "")
	pair, err := tl.certificate(&tls.ClientHelloInfo{ServerName: "mail.postino.example"})
	if err != nil || pair != tl.public {
		t.Error("what it shows then is another certificate")
	}
	now = st.Now().Add(time.Hour)
	tl.public = testPair(t, now.Add(-time.Hour), now.Add(90*24*time.Hour), "postino.example", "*.postino.example")
	a.Got = now.Add(-10 * 24 * time.Hour)
	tl.acmePick = now.Add(-time.Minute)
	due("the CA wants it back", "the CA says so")
}

func mustConfig(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testPair is a certificate that signs itself.
func testPair(t *testing.T, from, to time.Time, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, DNSNames: names}
	text, err := signPair(tmpl, tmpl, key, key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := parsePair(text)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// TestACMEHostile has directories that mean no good: each try ends, in bounded time and memory, with words, and the certificate stays.
func TestACMEHostile(t *testing.T) {
	var asked atomic.Int64
	nonce := func(w http.ResponseWriter) { w.Header().Set("Replay-Nonce", fmt.Sprint(asked.Add(1))) }
	directory := func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host
		nonce(w)
		fmt.Fprintf(w, `{"newNonce":"%s/nonce","newAccount":"%s/account","newOrder":"%s/order","meta":{"caaIdentities":["ca.example"]}}`, base, base, base)
	}
	created := func(w http.ResponseWriter, r *http.Request, where, text string) {
		nonce(w)
		w.Header().Set("Location", "https://"+r.Host+where)
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, strings.ReplaceAll(text, "BASE", "https://"+r.Host))
	}
	endless := func(w http.ResponseWriter) {
		for range 4096 {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
				return
			}
		}
	}
	for name, site := range map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request) bool // false for what is usual
		want  string
	}{
		"an endless directory": {func(w http.ResponseWriter, r *http.Request) bool { endless(w); return true }, "has no end"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return true
		}, "302"},
		"no JSON": {func(w http.ResponseWriter, r *http.Request) bool { io.WriteString(w, "<html>"); return true }, "invalid character"},
		"plain http": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/dir" {
				nonce(w)
				fmt.Fprintf(w, `{"newNonce":"http://%s/nonce","newAccount":"http://%s/account","newOrder":"http://%s/order"}`, r.Host, r.Host, r.Host)
			}
			return r.URL.Path == "/dir"
		}, "not https"},
		"an endless refusal": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/account" {
				nonce(w)
				w.WriteHeader(http.StatusForbidden)
				endless(w)
			}
			return r.URL.Path == "/account"
		}, "no account"},
		"an account that is no address": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/account" {
				nonce(w)
				w.Header().Set("Location", `https://ca.example/"; policy=wildcard; x`)
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, `{"status":"valid"}`)
			}
			return r.URL.Path == "/account"
		}, "calls our account"},
		"a thousand proofs": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/order" {
				created(w, r, "/order/1", `{"status":"pending","authorizations":[`+strings.Repeat(`"BASE/z",`, 1000)+`"BASE/z"]}`)
			}
			return r.URL.Path == "/order"
		}, "more proofs"},
		"a way that we do not know": {func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/order":
				created(w, r, "/order/1", `{"status":"pending","authorizations":["BASE/z"]}`)
			case "/z":
				nonce(w)
				io.WriteString(w, `{"status":"pending","identifier":{"type":"dns","value":"mail.postino.example"},"challenges":[{"type":"pigeon-01","url":"x"}]}`)
			default:
				return false
			}
			return true
		}, "does not know http-01"},
		"always busy": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/order" {
				nonce(w)
				w.Header().Set("Retry-After", "86400")
				http.Error(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}`, http.StatusTooManyRequests)
			}
			return r.URL.Path == "/order"
		}, "too many"},
		"somebody else's certificate": {func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/order":
				created(w, r, "/order/1", `{"status":"ready","authorizations":[],"finalize":"BASE/end"}`)
			case "/order/1", "/end":
				nonce(w)
				fmt.Fprintf(w, `{"status":"%s","finalize":"https://%s/end","certificate":"https://%s/cert"}`, map[bool]string{true: "valid", false: "ready"}[r.URL.Path == "/end"], r.Host, r.Host)
			case "/cert":
				nonce(w)
				pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: testPair(t, time.Now(), time.Now().Add(time.Hour), "mail.postino.example").Certificate[0]})
			default:
				return false
			}
			return true
		}, "of no use"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case site.serve(w, r):
				case r.URL.Path == "/dir":
					directory(w, r)
				case r.URL.Path == "/account":
					created(w, r, "/account/1", `{"status":"valid"}`)
				default:
					nonce(w)
				}
			}))
			defer ca.Close()
			s := startServer(t, `domains = ["postino.example"]`, "[tls]", fmt.Sprintf("acme = %q", ca.URL+"/dir"), `acme_challenge = "http-01"`)
			s.tls.acmeRoots = x509.NewCertPool()
			s.tls.acmeRoots.AddCert(ca.Certificate())
			s.tls.public = testPair(t, time.Now(), time.Now().Add(time.Hour), "mail.postino.example")
			have := s.tls.public
			s.dns = &testDNS{hosts: map[string][]string{"mail.postino.example": {"127.0.0.1"}}}
			s.tls.AskACME()
			s.tls.acmeTurn(t.Context(), s.dns)
			if st := s.tls.ACMEStatus(); !strings.Contains(st.Error, site.want) || len(st.Error) > acmeAnswer+1000 {
				t.Errorf("it ends with %.300q, not %q", st.Error, site.want)
			}
			if s.tls.publicPair() != have {
				t.Error("the certificate was dropped")
			}
			if s.tls.acmeDue(s.tls.account(), time.Now()) != "" {
				t.Error("the next try is due at once")
			}
		})
	}
	slow := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	s := startServer(t, `domains = ["postino.example"]`, "[tls]", fmt.Sprintf("acme = %q", slow.URL+"/dir"))
	s.tls.acmeRoots = x509.NewCertPool()
	s.tls.acmeRoots.AddCert(slow.Certificate())
	ctx, cancel := context.WithCancel(t.Context())
	done := s.crew.Result("certificates", func() error { s.tls.acmeTurn(ctx, s.dns); return nil })
	cancel() // the appliance stops
	<-done
	b := &acmeBounded{http.DefaultTransport, 0}
	r, _ := http.NewRequest("GET", slow.URL, nil)
	if _, err := b.RoundTrip(r); err == nil || !strings.Contains(err.Error(), "more requests") {
		t.Errorf("a request too many: %v", err)
	}
}

// TestACMERecord compares with the example of draft-ietf-acme-dns-persist-02 §10.2, and knows its own record among others.
func TestACMERecord(t *testing.T) {
	if got := acmeHash("example.com", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "https://ca.example/acct/123"); got != "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw" {
		t.Errorf("hashed to %s", got)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := acmeAccount{URL: "https://ca.example/acct/123", Issuers: []string{"authority.example"}}
	a.Key, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	owner, text, ok := a.PersistRecord("example.com", true)
	if !ok || owner != "_validation-persist.example.com" || text != "authority.example; accounturi=https://ca.example/acct/123; policy=wildcard" {
		t.Errorf("%v %q %q", ok, owner, text)
	}
	a.HashPrefix = "https://ca.example/account-hash/"
	_, text, _ = a.PersistRecord("example.com", false)
	if !strings.HasPrefix(text, "authority.example; accounturi=https://ca.example/account-hash/sha-256/") || len(text) != len("authority.example; accounturi=https://ca.example/account-hash/sha-256/")+43 {
		t.Errorf("%q", text)
	}
	for have, want := range map[string]bool{text: true, strings.ReplaceAll(text, "; ", " ;\t"): true, text + "; persistUntil=99999999999; x=y": true, "x" + text: false, text + "x": false, "": false} {
		if a.Persists([]string{"v=spf1 -all", have}, "example.com", false) != want {
			t.Errorf("%q: not %v", have, want)
		}
	}
}

// TestACMEAway sees that neither the account nor the certificate is in a backup that goes away.
func TestACMEAway(t *testing.T) {
	s := startServer(t)
	s.write(t, func(tx *Tx) error {
		return tx.SetSetting(settingAccount, []byte(`{"directory":"x"}`))
	})
	s.write(t, func(tx *Tx) error { return tx.SetSetting(settingPublic, []byte("secret")) })
	away, err := settingsAway(s.store)
	if err != nil || away[settingAccount] == nil || len(away[settingAccount]) > 0 || away[settingPublic] == nil || len(away[settingPublic]) > 0 || bytes.Contains(away[settingCA], []byte("PRIVATE")) {
		t.Errorf("%v %q", err, away)
	}
}

// TestACMEChallenge: without an order there is nothing to prove, and nobody learns what was.
func TestACMEChallenge(t *testing.T) {
	c := newWebClient(t, startServer(t))
	if c.get("/.well-known/acme-challenge/token"); c.code != 404 {
		t.Errorf("a token of nobody: %d", c.code)
	}
}
