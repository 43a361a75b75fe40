package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// testCA signs certificates.
type testCA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestCA(t testing.TB) *testCA {
	ca := &testCA{t: t}
	ca.cert, ca.key = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return ca
}

// sign makes a certificate that is valid in the years of the tests. The first one signs itself.
func (ca *testCA) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}

// pair is a certificate for names with its key and chain.
func (ca *testCA) pair(names ...string) tls.Certificate {
	cert, key := ca.sign(&x509.Certificate{DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (ca *testCA) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// files are the [tls] lines for a certificate.
func tlsFiles(t testing.TB, pair tls.Certificate) []string {
	t.Helper()
	dir := t.TempDir()
	var chain []byte
	for _, der := range pair.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	os.WriteFile(cert, chain, 0o600)
	os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	return []string{"[tls]", fmt.Sprintf("cert = %q", cert), fmt.Sprintf("key = %q", key)}
}

// proofDNS is a testDNS that proves what it says but for some names, and fails for others.
type proofDNS struct {
	*testDNS
	loose []string // names whose answers are not proved
	fail  []string // "NAME TYPE"
}

func (d *proofDNS) Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	d.asked = append(d.asked, name)
	for _, f := range d.fail {
		if f == name || strings.HasPrefix(name, f) {
			return DNSAnswer{}, dnsError(name, false)
		}
	}
	a, err := d.testDNS.Ask(ctx, name, kind)
	for _, l := range d.loose {
		a.Secure = a.Secure && l != name
	}
	return a, err
}

// proofTest sends mail to example.org, whose hosts all are one server with a certificate.
type proofTest struct {
	*queueTest
	ca     *testCA
	far    *testServer
	names  *proofDNS
	policy string // what mta-sts.example.org says
	kind   string // and its type
	serve  func(w http.ResponseWriter, r *http.Request)
	asked  int // times that the policy was fetched
}

const proofZone = `
	example.org MX 10 mx.example.org
	mx.example.org A 192.0.2.1
`

func newProofTest(t *testing.T, zone string, pair func(*testCA) tls.Certificate, config ...string) *proofTest {
	t.Helper()
	p := &proofTest{ca: newTestCA(t), kind: "text/plain; charset=utf-8"}
	lines := append(tlsFiles(t, pair(p.ca)), "[smtp]", `local_senders = "any"`)
	p.far = startServer(t, append([]string{`domains = ["example.org", "home.arpa"]`}, lines...)...)
	p.queueTest = newQueueTest(t, newPeer(t, nil), config...)
	p.cfg.Routes = nil
	p.cfg.Domains = append(p.cfg.Domains, "sender.example")
	p.names = &proofDNS{testDNS: &testDNS{zone: newTestZone(t, proofZone+zone),
		hosts: map[string][]string{"mx.example.org": {"192.0.2.1"}, "alias.example.org": {"192.0.2.1"}, "mta-sts.example.org": {"192.0.2.2"}}}}
	p.Server.dns = p.names
	p.Server.health.good = time.Now()
	p.Server.roots = p.ca.pool()
	p.Server.dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", p.far.addr["smtp"]) }
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked++
		if p.serve != nil {
			p.serve(w, r)
			return
		}
		if r.Host != "mta-sts.example.org" || r.URL.Path != "/.well-known/mta-sts.txt" || p.policy == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", p.kind)
		w.Write([]byte(p.policy))
	}))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{p.ca.pair("mta-sts.example.org")}}
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	web.StartTLS()
	t.Cleanup(web.Close)
	p.Server.world = func(_ context.Context, _, addr string) (net.Conn, error) {
		if addr != "192.0.2.2:443" {
			return nil, fmt.Errorf("dialled %s", addr)
		}
		return net.Dial("tcp", web.Listener.Addr().String())
	}
	return p
}

// plain has the hosts be one that knows no TLS.
func (p *proofTest) plain(t *testing.T) *peer {
	other := newPeer(t, nil)
	p.Server.dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", other.addr()) }
	return other
}

// goes sends a message and says what it waits for, "" if it was taken.
func (p *proofTest) goes(t *testing.T) string {
	t.Helper()
	p.submit("ann@home.arpa", "postmaster@example.org")
	p.step()
	p.q.mu.Lock()
	clear(p.q.pauses)
	p.q.mu.Unlock()
	items := p.queue()
	if len(items) == 0 {
		if box := p.inbox(t, "ann@home.arpa"); len(box) > 0 {
			return box[len(box)-1]
		}
		return ""
	}
	said := p.destinationError(t)
	p.write(t, func(tx *Tx) error { _, err := tx.QueueRemove(""); return err })
	return said
}

func namedPair(names ...string) func(*testCA) tls.Certificate {
	return func(ca *testCA) tls.Certificate { return ca.pair(names...) }
}

// foreign is a certificate of somebody whom nobody knows.
func foreignPair(names ...string) func(*testCA) tls.Certificate {
	return func(ca *testCA) tls.Certificate { return newTestCA(ca.t).pair(names...) }
}

const stsTestRecord = "_mta-sts.example.org TXT v=STSv1; id=20160831085700Z;\n"

func stsTestPolicy(mode string, hosts ...string) string {
	text := "version: STSv1\nmode: " + mode + "\n"
	for _, h := range hosts {
		text += "mx: " + h + "\n"
	}
	return text + "max_age: 604800\n"
}

// What a domain's policy demands is kept: mail waits in the mode enforce, and goes in testing.
func TestSTS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, policy string
		pair         func(*testCA) tls.Certificate
		want         string
	}{
		{"good", stsTestPolicy("enforce", "mx.example.org"), namedPair("mx.example.org"), ""},
		{"good, by a pattern", stsTestPolicy("enforce", "*.example.org"), namedPair("*.example.org"), ""},
		{"another name", stsTestPolicy("enforce", "mx.example.org"), namedPair("mx.example.com"), "demands (MTA-STS): the server's certificate can't be trusted"},
		{"nobody knows who signed", stsTestPolicy("enforce", "mx.example.org"), foreignPair("mx.example.org"), "TLS failed: the server's certificate is not what the domain's policy demands (MTA-STS): the server's certificate can't be trusted"},
		{"not named", stsTestPolicy("enforce", "other.example.org"), namedPair("mx.example.org"), "the domain's policy does not name the server (MTA-STS): mx.example.org"},
		{"testing", stsTestPolicy("testing", "other.example.org"), foreignPair("mx.example.com"), ""},
		{"none", stsTestPolicy("none", "other.example.org"), foreignPair("mx.example.com"), ""},
		{"nonsense", "version: STSv2\n", foreignPair("mx.example.com"), ""},
	} {
		p := newProofTest(t, stsTestRecord, c.pair)
		p.names.insecure = true
		p.policy = c.policy
		if got := p.goes(t); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// A host without TLS gets nothing from who keeps to the policy, and the message is not lost.
func TestSTSPlain(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, stsTestRecord, namedPair("mx.example.org"))
	p.names.insecure = true
	other := p.plain(t)
	p.policy = stsTestPolicy("enforce", "mx.example.org")
	if got := p.goes(t); got != "TLS failed: mx.example.org does not offer STARTTLS" {
		t.Errorf("%q", got)
	}
	for _, line := range other.said() {
		if strings.HasPrefix(line, "MAIL") {
			t.Error("the mail went out in plain text")
		}
	}
	p.forward(time.Hour)
	p.policy = stsTestPolicy("testing", "mx.example.org")
	p.names.zone = newTestZone(t, proofZone+"_mta-sts.example.org TXT v=STSv1; id=2;")
	if got := p.goes(t); got != "" {
		t.Errorf("testing: %q", got)
	}
}

// A policy holds until its end, whatever becomes of its server or its record, and longer where nobody knows the time.
func TestSTSKept(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, stsTestRecord, foreignPair("mx.example.org"))
	p.names.insecure = true
	p.policy = stsTestPolicy("enforce", "mx.example.org")
	waits := func(what string) {
		t.Helper()
		p.forward(time.Hour) // the pause of the last failure is over
		if got := p.goes(t); !strings.Contains(got, "MTA-STS") {
			t.Errorf("%s: %q", what, got)
		}
	}
	waits("at first")
	waits("again")
	if p.asked != 1 {
		t.Errorf("fetched %d times", p.asked)
	}
	p.names.zone = newTestZone(t, proofZone+"_mta-sts.example.org TXT v=STSv1; id=2;")
	p.policy = ""
	waits("the server has it no more")
	p.names.zone = newTestZone(t, proofZone)
	waits("the record is gone")
	p.names.fail = []string{"_mta-sts."}
	waits("the DNS says nothing")
	p.forward(8 * 24 * time.Hour)
	if got := p.goes(t); got != "" {
		t.Errorf("after its end: %q", got)
	}
	p.wrong(-400 * 24 * time.Hour)
	waits("the clock is wrong")
	p.wrong(0)

	p.write(t, func(tx *Tx) error { // strangers' names push out no others
		for i := range 100 {
			err := tx.KeepSTS(STSStored{Domain: fmt.Sprintf("x%d.evil.example", i), Org: "evil.example", Policy: p.policy, Used: p.store.Now()})
			if err != nil {
				return err
			}
		}
		return nil
	})
	var n, first int
	mustRead(t, p.store, func(tx *Tx) error {
		err := tx.one(`SELECT count(*) FROM sts WHERE org='evil.example'`, nil, &n)
		if err == nil {
			err = tx.one(`SELECT count(*) FROM sts WHERE domain='example.org'`, nil, &first)
		}
		return err
	})
	if n != stsOfOrg || first != 1 {
		t.Errorf("%d policies of one organization, %d of another", n, first)
	}
}

// A policy is fetched again before it ends, and not when nobody has needed it for long.
func TestSTSRenew(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, stsTestRecord, namedPair("mx.example.org"))
	p.names.insecure = true
	p.policy = stsTestPolicy("enforce", "mx.example.org")
	if got := p.goes(t); got != "" {
		t.Fatal(got)
	}
	for day, want := range []int{1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3} { // a week's policy: in its last three days
		if err := p.renewPolicies(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.asked != want {
			t.Errorf("day %d: fetched %d times, not %d", day, p.asked, want)
		}
		p.forward(24 * time.Hour)
	}
	p.forward((stsUnused + 1) * 24 * time.Hour)
	p.renewPolicies(t.Context())
	if p.asked != 3 {
		t.Errorf("nobody needs it, and it was fetched")
	}
}

// Servers of policies may be anybody's.
func TestSTSHostile(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, stsTestRecord, foreignPair("mx.example.org"))
	p.names.insecure = true
	good := stsTestPolicy("enforce", "mx.example.org")
	for _, c := range []struct {
		name, want string
		serve      func(w http.ResponseWriter, r *http.Request)
	}{
		{"a redirect", "301", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		}},
		{"not there", "404", http.NotFound},
		{"HTML", "text/plain", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte(good))
		}},
		{"1 MB", "more than", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte(good + strings.Repeat("x: y\n", 200_000)))
		}},
		{"without end", "context deadline exceeded", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte(good))
			http.NewResponseController(w).Flush()
			<-t.Context().Done()
		}},
		{"a header without end", "", func(w http.ResponseWriter, r *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1000))
			}
			w.Write([]byte(good))
		}},
		{"10,000 hosts", "more than 64 hosts", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte(good + strings.Repeat("mx:a.b\n", 8000)))
		}},
	} {
		p.serve = c.serve
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if c.name != "without end" {
			ctx = t.Context()
		}
		got, err := p.fetchSTS(ctx, "example.org")
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	p.serve, p.policy = nil, good
	p.Server.roots = newTestCA(t).pool()
	if _, err := p.fetchSTS(t.Context(), "example.org"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("whose certificate nobody signed: %v", err)
	}
	p.Server.roots = p.ca.pool()
	p.names.hosts["mta-sts.other.example"] = []string{"192.0.2.2"}
	if _, err := p.fetchSTS(t.Context(), "other.example"); err == nil || !strings.Contains(err.Error(), "mta-sts.other.example") {
		t.Errorf("with a certificate for another name: %v", err)
	}
	if _, err := p.fetchSTS(t.Context(), "example.org"); err != nil {
		t.Errorf("at last a good one: %v", err)
	}
	s := startServer(t)
	for _, a := range []string{"127.0.0.1", "192.168.1.1", "::1", "169.254.169.254"} {
		s.dns = &testDNS{hosts: map[string][]string{"mta-sts.example.org": {a}}}
		if _, err := s.fetchSTS(t.Context(), "example.org"); err == nil || !strings.Contains(err.Error(), errNotPublic.Error()) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// What a policy and its record may look like (RFC 8461 §3.1, §3.2, and its examples).
func TestSTSParse(t *testing.T) {
	for text, want := range map[string]string{"v=STSv1; id=20160831085700Z;": "20160831085700Z", "v=STSv1;id=a": "a", "v=STSv1; x=y; id=b": "b", "v=STSv2; id=c": "",
		"v=STSv1": "", "v=STSv1; id=": "", "v=STSv1; id=a-b": "", "v=STSv1; id=123456789012345678901234567890123": "", "v=spf1 -all": ""} {
		if got := stsRecord([]string{"other", text}); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := stsRecord([]string{"v=STSv1; id=a", "v=STSv1; id=b"}); got != "" {
		t.Errorf("two records: %q", got)
	}
	p, err := parseSTS("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n")
	if err != nil || fmt.Sprint(*p) != "{enforce [mail.example.com *.example.net backupmx.example.com] 168h0m0s}" {
		t.Errorf("%+v, %v", p, err)
	}
	for host, want := range map[string]bool{"mail.example.com": true, "a.example.net": true, "example.net": false, "a.b.example.net": false, "mail.example.com.evil": false, "": false} {
		if p.names(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
	again, err := parseSTS(p.String())
	if err != nil || again.String() != p.String() {
		t.Errorf("%q", p)
	}
	for _, bad := range []string{"", "mode: enforce\nmx: a.b\nmax_age: 1", "version: STSv1\nmode: enforce\nmax_age: 1", "version: STSv1\nmode: x\nmx: a.b\nmax_age: 1",
		"version: STSv1\nmode: enforce\nmx: a.b\n", "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: -1", "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1",
		"version: STSv1\nmode: enforce\nmx: *.*.b\nmax_age: 1", "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 99999999999"} {
		if p, err := parseSTS(bad); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
	p, err = parseSTS("version: STSv1\nversion: STSv2\nmode: none\nmax_age: 9999999999\nnew: thing\nnonsense")
	if err != nil || p.MaxAge != stsMaxAge {
		t.Errorf("%+v, %v", p, err)
	}
}

// tlsaOf is a TLSA record of a certificate.
func tlsaOf(name string, usage, selector, matching int, c *x509.Certificate) string {
	form := c.Raw
	if selector == 1 {
		form = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(form)
		form = sum[:]
	case 2:
		sum := sha512.Sum512(form)
		form = sum[:]
	}
	return fmt.Sprintf("_25._tcp.%s TLSA %d %d %d %s\n", name, usage, selector, matching, hex.EncodeToString(form))
}

// What the DNS demands of a host's certificate is kept, where it proves what it says (RFC 7672).
func TestDANE(t *testing.T) {
	t.Parallel()
	other := newTestCA(t)
	nobody := other.pair("x.example")
	leaf := func(usage, selector, matching int) func(string, tls.Certificate, *testCA) string {
		return func(name string, p tls.Certificate, _ *testCA) string {
			return tlsaOf(name, usage, selector, matching, p.Leaf)
		}
	}
	anchor := func(usage, selector, matching int) func(string, tls.Certificate, *testCA) string {
		return func(name string, p tls.Certificate, ca *testCA) string {
			c, err := x509.ParseCertificate(p.Certificate[1])
			if err != nil {
				t.Fatal(err)
			}
			return tlsaOf(name, usage, selector, matching, c)
		}
	}
	wrong := func(usage, selector, matching int) func(string, tls.Certificate, *testCA) string {
		return func(name string, _ tls.Certificate, _ *testCA) string {
			return tlsaOf(name, usage, selector, matching, nobody.Leaf)
		}
	}
	type record = func(string, tls.Certificate, *testCA) string
	expired := func(ca *testCA) tls.Certificate {
		c, key := newTestCA(ca.t).sign(&x509.Certificate{NotBefore: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2002, 1, 1, 0, 0, 0, 0, time.UTC)})
		return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
	}
	const waits = "is none of those that the DNS names (DANE)"
	for _, c := range []struct {
		name    string
		pair    func(*testCA) tls.Certificate
		at      string
		records []record
		more    string // of the zone
		loose   string
		fail    string
		alone   bool // the host shows its own certificate only
		want    string
	}{
		{name: "3 1 1", pair: expired, at: "mx.example.org", records: []record{leaf(3, 1, 1)}},
		{name: "3 0 2 and one that is out of date", pair: foreignPair("x.example"), at: "mx.example.org", records: []record{wrong(3, 0, 2), leaf(3, 0, 2)}},
		{name: "3 1 0", pair: foreignPair("x.example"), at: "mx.example.org", records: []record{leaf(3, 1, 0)}},
		{name: "another", pair: namedPair("mx.example.org"), at: "mx.example.org", records: []record{wrong(3, 1, 1)}, want: waits},
		{name: "a weaker digest beside a better one", pair: namedPair("mx.example.org"), at: "mx.example.org", records: []record{leaf(3, 1, 1), wrong(3, 1, 2)}, want: waits},
		{name: "2 1 1", pair: foreignPair("mx.example.org"), at: "mx.example.org", records: []record{anchor(2, 1, 1)}},
		{name: "2 0 1, for the domain", pair: foreignPair("example.org"), at: "mx.example.org", records: []record{anchor(2, 0, 1)}},
		{name: "2 0 1 with another name", pair: foreignPair("mx.example.com"), at: "mx.example.org", records: []record{anchor(2, 0, 1)}, want: "(DANE): the server's certificate can't be trusted"},
		{name: "2 0 0 of a certificate that is not sent", pair: foreignPair("mx.example.org"), alone: true, at: "mx.example.org", records: []record{anchor(2, 0, 0)}},
		{name: "2 1 1 of the host's own", pair: foreignPair("mx.example.org"), at: "mx.example.org", records: []record{leaf(2, 1, 1)}, want: waits},
		{name: "usages 0 and 1 only", pair: foreignPair("x.example"), at: "mx.example.org", records: []record{wrong(0, 0, 1), wrong(1, 1, 1)}},
		{name: "usage 1 beside a wrong 3", pair: foreignPair("x.example"), at: "mx.example.org", records: []record{leaf(1, 1, 1), wrong(3, 1, 1)}, want: waits},
		{name: "not proved", pair: namedPair("x"), at: "mx.example.org", records: []record{wrong(3, 1, 1)}, loose: "_25._tcp.mx.example.org"},
		{name: "addresses not proved", pair: namedPair("x"), at: "mx.example.org", records: []record{wrong(3, 1, 1)}, loose: "mx.example.org"},
		{name: "MX not proved", pair: namedPair("x"), at: "mx.example.org", records: []record{wrong(3, 1, 1)}, loose: "example.org"},
		{name: "no answer", pair: namedPair("x"), at: "mx.example.org", records: []record{leaf(3, 1, 1)}, fail: "_25._tcp.", want: "DNS: "},
		{name: "none", pair: namedPair("x")},
		{name: "an alias, at its end", pair: foreignPair("x"), at: "real.example.net", records: []record{leaf(3, 1, 1)}, more: "mx.example.org CNAME real.example.net\nreal.example.net A 192.0.2.1"},
		{name: "an alias, at its beginning", pair: foreignPair("x"), at: "mx.example.org", records: []record{wrong(3, 1, 1)}, more: "mx.example.org CNAME real.example.net\nreal.example.net A 192.0.2.1", want: waits},
		{name: "TLSA of an alias", pair: foreignPair("x"), at: "mx.example.org", records: []record{func(_ string, p tls.Certificate, _ *testCA) string {
			return strings.Replace(tlsaOf("x", 3, 1, 1, p.Leaf), "_25._tcp.x", "tlsa.example.net", 1) + "_25._tcp.mx.example.org CNAME tlsa.example.net\n"
		}}},
		{name: "an alias without end", pair: namedPair("x"), at: "mx.example.org", more: "_25._tcp.mx.example.org CNAME _25._tcp.mx.example.org", want: ""},
		{name: "aliases in a ring", pair: namedPair("x"), at: "mx.example.org", more: "_25._tcp.mx.example.org CNAME a.example\na.example CNAME _25._tcp.mx.example.org", want: "DNS: "},
	} {
		var pair tls.Certificate
		p := newProofTest(t, "", func(ca *testCA) tls.Certificate {
			pair = c.pair(ca)
			shown := pair
			if c.alone {
				shown.Certificate = pair.Certificate[:1]
			}
			return shown
		})
		zone := proofZone
		if strings.Contains(c.more, "mx.example.org CNAME real") {
			zone = "example.org MX 10 mx.example.org\n"
		}
		zone += c.more + "\n"
		for _, r := range c.records {
			zone += r(c.at, pair, p.ca)
		}
		p.names.zone = newTestZone(t, zone)
		p.names.loose = []string{c.loose}
		if c.fail != "" {
			p.names.fail = []string{c.fail}
		}
		if got := p.goes(t); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
		if (len(c.records) == 0 && c.more == "") || c.loose != "" || c.fail != "" {
			continue
		}
		p.plain(t)
		p.forward(time.Hour)
		if got := p.goes(t); got == "" && len(c.records) > 0 {
			t.Errorf("%s: it went without TLS", c.name)
		}
	}
}

// Ten thousand records cost a digest of each certificate, and no more.
func TestDANEMany(t *testing.T) {
	ca := newTestCA(t)
	pair := ca.pair("mx.example.org")
	sum := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	var all []TLSARecord
	for i := range 10_000 {
		all = append(all, TLSARecord{uint8(i % 5), uint8(i % 3), uint8(i % 4), []byte(strings.Repeat("x", 32))})
	}
	all = append(all, TLSARecord{3, 1, 1, sum[:]}, TLSARecord{2, 0, 0, nil})
	p := &daneProof{records: daneUsable(all)}
	if err := p.check([]*x509.Certificate{pair.Leaf, ca.cert}, time.Now()); err != nil {
		t.Error(err)
	}
	p.records = p.records[:len(p.records)-2]
	if err := p.check([]*x509.Certificate{pair.Leaf, ca.cert}, time.Now()); err == nil {
		t.Error("it is not named")
	}
}

// DANE goes before MTA-STS: what the policy finds missing does not matter then, and what the DNS demands is not made up for by it.
func TestDANEBeforeSTS(t *testing.T) {
	t.Parallel()
	var pair tls.Certificate
	p := newProofTest(t, "", func(ca *testCA) tls.Certificate { pair = foreignPair("x.example")(ca); return pair })
	p.policy = stsTestPolicy("enforce", "other.example.org")
	p.names.zone = newTestZone(t, proofZone+stsTestRecord+tlsaOf("mx.example.org", 3, 1, 1, pair.Leaf))
	if got := p.goes(t); got != "" {
		t.Error(got)
	}
	good := newProofTest(t, "", namedPair("mx.example.org"))
	good.policy = stsTestPolicy("enforce", "mx.example.org")
	good.names.zone = newTestZone(t, proofZone+stsTestRecord+tlsaOf("mx.example.org", 3, 1, 1, pair.Leaf))
	if got := good.goes(t); !strings.Contains(got, "DANE") {
		t.Error(got)
	}
}

// Mail that is to go over checked TLS only goes where somebody proves that the host is the one that is meant: the administrator, DNSSEC or
// MTA-STS (RFC 8689 §4.2.1).
func TestRequireTLSProof(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		pair   func(*testCA) tls.Certificate
		dnssec bool
		sts    string
		route  bool
		want   string // in the report
	}{
		{"nothing but the DNS", namedPair("mx.example.org"), false, "", false, "neither DNSSEC nor MTA-STS proves that mx.example.org takes this domain's mail"},
		{"DNSSEC", namedPair("mx.example.org"), true, "", false, ""},
		{"DNSSEC and a certificate that nobody signed", foreignPair("mx.example.org"), true, "", false, "does not offer"},
		{"MTA-STS", namedPair("mx.example.org"), false, stsTestPolicy("enforce", "mx.example.org"), false, ""},
		{"MTA-STS that is tried out", namedPair("mx.example.org"), false, stsTestPolicy("testing", "mx.example.org"), false, ""},
		{"MTA-STS that names another", namedPair("mx.example.org"), false, stsTestPolicy("testing", "x.example.org"), false, "neither DNSSEC nor MTA-STS"},
		{"a route", namedPair("mx.example.org"), false, "", true, ""},
	} {
		p := newProofTest(t, stsTestRecord, c.pair)
		p.names.insecure = !c.dnssec
		p.policy = c.sts
		if c.route {
			p.cfg.Routes = map[string]Route{"example.org": {Hosts: []string{"mx.example.org:25"}}}
		}
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Flags: MailRequireTLS}, To: rcptsTo(mustAddr(t, "postmaster@example.org")), Body: p.store.NewSpool(1 << 20)}
		m.Body.Write([]byte("Subject: x\r\n\r\nx\r\n"))
		if err := p.accept(m); err != nil {
			t.Fatal(err)
		}
		m.Body.Close()
		p.step()
		box := strings.Join(p.inbox(t, "ann@home.arpa"), "")
		box = strings.Join(strings.Fields(box), " ")
		if (c.want == "") != (box == "") || !strings.Contains(box, c.want) || len(p.queue()) > 0 {
			t.Errorf("%s: %q", c.name, box)
		}
	}
}

// Mail whose sender says so goes whatever the hosts have to show, and nothing else goes with it (RFC 8689 §3).
func TestTLSRequiredNo(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{stsTestPolicy("enforce", "mx.example.org"), stsTestPolicy("enforce", "other.example.org")} {
		p := newProofTest(t, stsTestRecord, foreignPair("mx.example.org"))
		p.names.insecure = true
		p.policy = policy
		send := func(header string, flags int) {
			m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Flags: flags}, To: rcptsTo(mustAddr(t, "bob@example.org")), Body: p.store.NewSpool(1 << 20)}
			m.Body.Write([]byte(header + "Subject: x\r\n\r\nx\r\n"))
			if err := p.accept(m); err != nil {
				t.Fatal(err)
			}
			m.Body.Close()
		}
		p.far.write(t, func(tx *Tx) error {
			_, err := tx.AddUser(mustAddr(t, "bob@example.org"), testSecret(), false)
			return err
		})
		send("X: 1\r\n", 0)
		send("X: 2\r\nTLS-Required: No\r\n", 0)
		send("X: 3\r\nTLS-Required: Yes\r\n", 0)
		send("X: 4\r\nTLS-Required: No\r\nTLS-Required: Yes\r\n", 0)
		send("X: 5\r\ntls-required:\r\n no\r\n", 0)
		send("X: 6\r\nTLS-Required: No\r\n", MailRequireTLS)
		p.step()
		p.wantQueue(4)
		got := strings.Join(p.far.inbox(t, "bob@example.org"), "")
		if strings.Count(got, "\r\nX: ") != 2 || !strings.Contains(got, "X: 2") || !strings.Contains(got, "X: 5") || !strings.Contains(got, "tls TLS") && !strings.Contains(got, "ESMTPS") {
			t.Errorf("%s", got)
		}
		if said := p.destinationError(t); !strings.Contains(said, "MTA-STS") {
			t.Error(said)
		}
	}
}

// Nothing of all this is asked for mail at home, on a LAN, to an address or by a route; and with a DNS that never answers nothing beyond
// what was asked before.
func TestProofAsksNobody(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, stsTestRecord, namedPair("mx.example.org"))
	p.cfg.Routes = map[string]Route{"routed.example": {Hosts: []string{"mx.example.org:25"}}}
	p.names.hosts["printer.lan"] = []string{"192.0.2.3"}
	for _, to := range []string{"bob@home.arpa", "x@printer.lan", "x@[192.0.2.9]", "x@routed.example", "x@nobody.example"} {
		p.submit("ann@home.arpa", to)
	}
	p.step()
	for _, name := range p.names.asked {
		if strings.HasPrefix(name, "_") {
			t.Errorf("asked for %s", name)
		}
	}
	if p.asked > 0 {
		t.Error("a policy was fetched")
	}

	ns := newTestNameserver(t, testZone{})
	ns.mute.Store(true)
	s := startServer(t, "[dns]", "servers = [\""+ns.addr+"\"]")
	if _, err := s.hops(t.Context(), s.nextHop("example.org"), "example.org"); err == nil || !strings.HasPrefix(err.Error(), "DNS: ") {
		t.Error(err)
	}
	if n := ns.asked.Load(); n != dnsRounds {
		t.Errorf("%d questions to a resolver that is silent, about MX and nothing else", n)
	}
}
