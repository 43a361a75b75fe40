// Certificates that everybody trusts: the conversation with a public CA (ACME, RFC 8555).
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	acmeRoundTime = 10 * time.Minute // for all that one certificate takes
	acmeProofTime = 2 * time.Minute  // for the CA to look at one name
	acmeTalkTime  = 30 * time.Second // for one request and its answer
	acmeAnswer    = 1 << 20          // octets of one answer
	acmeRequests  = 1000             // of one round: an honest CA needs a dozen and four for each name
	acmeRetries   = 3                // of one request that the CA puts off
	acmeIssuers   = 10               // names that a CA may have (draft-ietf-acme-dns-persist-02 §3.1)
	acmeProtocol  = "acme-tls/1"     // RFC 8737 §4
)

// acmeDirectory is what a directory says beside what the library reads of it.
type acmeDirectory struct {
	Renewal string `json:"renewalInfo"` // RFC 9773 §4.1
	Meta    struct {
		CAA        []string `json:"caaIdentities"`
		Issuers    []string `json:"issuerDomainNames"`
		HashPrefix string   `json:"accountHashPrefix"`
	} `json:"meta"`
}

// acmeTalk is one round of talk with the CA.
type acmeTalk struct {
	t      *TLS
	dns    Resolver
	client *acme.Client
	http   *http.Client
	dir    acmeDirectory
	acct   acmeAccount
}

// errACMEWaits are reasons to try again soon: nothing was asked of the CA that it counts.
var errACMEWaits = errors.New("waiting")

// acmeWait is such a reason in words.
func acmeWait(format string, a ...any) error {
	return fmt.Errorf("%w: %w", errACMEWaits, fmt.Errorf(format, a...))
}

// acmeBounded lets one round make so many requests, by https only, and cuts off answers that are too long.
type acmeBounded struct {
	http.RoundTripper
	left int
}

func (b *acmeBounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("the CA leads to %s, which is not https", r.URL.Redacted())
	}
	b.left--
	if b.left < 0 {
		return nil, errors.New("the CA wants more requests than a certificate needs")
	}
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &acmeBody{res.Body, acmeAnswer}
	}
	return res, err
}

// acmeBody is an answer of bounded length.
type acmeBody struct {
	io.ReadCloser
	left int
}

func (b *acmeBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the CA's answer has no end")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// acmeHTTP is a client for one round. It follows no redirects, and finds hosts by our resolver.
func (t *TLS) acmeHTTP(dns Resolver) *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		addrs := []string{host}
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			addrs, err = hostAddresses(ctx, dns, host)
			if err != nil {
				return nil, err
			}
		}
		var fault error
		for _, a := range addrs {
			nc, err := (&net.Dialer{Timeout: acmeTalkTime / 3}).DialContext(ctx, network, net.JoinHostPort(a, port))
			if err == nil {
				return nc, nil
			}
			fault = err
		}
		return nil, fault
	}
	tr := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dial, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{Time: t.now, RootCAs: t.acmeRoots}}
	return &http.Client{Transport: &acmeBounded{tr, acmeRequests}, Timeout: acmeTalkTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// start opens a round: the directory, and our account, which is made if there is none with this CA.
func (k *acmeTalk) start(ctx context.Context, cfg ACME) error {
	err := k.get(ctx, cfg.URL(), &k.dir)
	if err != nil {
		return acmeWait("the CA's directory: %w", err)
	}
	a := k.acct
	if a.Directory != cfg.URL() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		a = acmeAccount{Directory: cfg.URL()}
		a.Key, err = x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
	}
	signer, err := a.signer()
	if err != nil {
		return err
	}
	k.client = &acme.Client{Key: signer, HTTPClient: k.http, DirectoryURL: cfg.URL(), UserAgent: "postino", KID: acme.KeyID(a.URL), RetryBackoff: acmeBackoff}
	if a.URL == "" {
		a.URL, err = k.register(ctx, cfg.Contact)
		if err != nil {
			return err
		}
	}
	if acmeOdd(a.URL) {
		return fmt.Errorf("the CA calls our account %.100q", a.URL)
	}
	a.Issuers, a.HashPrefix = k.dir.issuers(), k.dir.Meta.HashPrefix
	k.acct = a
	return k.t.keepAccount(a)
}

// issuers are the CA's names in records; none if it has none that can be used.
func (d acmeDirectory) issuers() []string {
	all := d.Meta.Issuers
	if len(all) == 0 || len(all) > acmeIssuers { // a CA of an earlier draft
		all = d.Meta.CAA
	}
	odd := d.Meta.HashPrefix != "" && acmeOdd(d.Meta.HashPrefix)
	if odd || len(all) > acmeIssuers || slices.ContainsFunc(all, acmeOdd) {
		return nil
	}
	return all
}

// acmeOdd says whether a text of the CA could not stand in a record.
func acmeOdd(s string) bool {
	return s == "" || len(s) > 300 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' || r == '"' || r == '\\' })
}

// register makes the account. Asking for it is agreeing to the CA's terms, which mail.toml and the page say.
func (k *acmeTalk) register(ctx context.Context, contact string) (string, error) {
	a := &acme.Account{}
	if contact != "" {
		a.Contact = []string{"mailto:" + contact}
	}
	made, err := k.client.Register(ctx, a, acme.AcceptTOS)
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		return string(k.client.KID), nil
	}
	if err != nil {
		return "", fmt.Errorf("the CA gives us no account: %w", err)
	}
	return made.URI, nil
}

// acmeBackoff is how long a request that was put off waits: a bounded number of times, whatever the CA says.
func acmeBackoff(n int, _ *http.Request, _ *http.Response) time.Duration {
	if n > acmeRetries {
		return -1
	}
	return time.Duration(n) * time.Second
}

// get reads a JSON document that anybody may read.
func (k *acmeTalk) get(ctx context.Context, url string, into any) error {
	_, err := k.getAfter(ctx, url, into)
	return err
}

// getAfter is get, with the header.
func (k *acmeTalk) getAfter(ctx context.Context, url string, into any) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := k.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, res.Status)
	}
	return res.Header, json.NewDecoder(res.Body).Decode(into)
}

// acmeRefused is a name that the CA does not believe to be ours.
type acmeRefused struct {
	name string
	err  error
}

// order asks for a certificate for the names. With refused there is no certificate and no error.
func (k *acmeTalk) order(ctx context.Context, names []string, method string, key crypto.Signer) (chain [][]byte, refused []acmeRefused, err error) {
	order, err := k.client.AuthorizeOrder(ctx, acme.DomainIDs(names...))
	if err != nil {
		return nil, nil, err
	}
	if len(order.AuthzURLs) > len(names) {
		return nil, nil, errors.New("the CA wants more proofs than there are names")
	}
	proof, cancel := context.WithTimeout(ctx, acmeProofTime)
	defer cancel()
	asked := map[string]string{} // name, by URL
	for _, url := range order.AuthzURLs {
		name, done, err := k.prove(proof, url, method)
		defer done()
		if err != nil {
			return nil, nil, err
		}
		if name != "" {
			asked[url] = name
		}
	}
	for url, name := range asked {
		_, err := k.client.WaitAuthorization(proof, url)
		var no *acme.AuthorizationError
		switch {
		case errors.As(err, &no):
			refused = append(refused, acmeRefused{name, err})
		case errors.Is(err, context.DeadlineExceeded):
			return nil, nil, fmt.Errorf("the CA has not looked at %s within %v", name, acmeProofTime)
		case err != nil:
			return nil, nil, err
		}
	}
	if len(refused) > 0 {
		return nil, refused, nil
	}
	uri := order.URI
	order, err = k.client.WaitOrder(ctx, uri)
	if err != nil {
		return nil, nil, err
	}
	order.URI = uri
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{}, DNSNames: names}, key)
	if err != nil {
		return nil, nil, err
	}
	chain, _, err = k.client.CreateCertFromOrder(ctx, order, csr, true)
	return chain, nil, err
}

// prove answers one challenge: the CA will look at it until done is called. name is what it is about, "" if the CA knows already.
func (k *acmeTalk) prove(ctx context.Context, url, method string) (name string, done func(), err error) {
	done = func() {}
	z, err := k.client.GetAuthorization(ctx, url)
	if err != nil || z.Status == acme.StatusValid {
		return "", done, err
	}
	name = z.Identifier.Value
	if z.Wildcard {
		name = "*." + name
	}
	i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == method })
	if i < 0 {
		return name, done, fmt.Errorf("the CA does not know %s for %s; choose another acme_challenge", method, name)
	}
	c := z.Challenges[i]
	switch method {
	case ACMEHTTP:
		answer, err := k.client.HTTP01ChallengeResponse(c.Token)
		if err != nil {
			return name, done, err
		}
		done = k.t.answer(c.Token, answer, nil)
	case ACMEALPN:
		cert, err := k.client.TLSALPN01ChallengeCert(c.Token, z.Identifier.Value)
		if err != nil {
			return name, done, err
		}
		done = k.t.answer(strings.ToLower(z.Identifier.Value), "", &cert)
	}
	_, err = k.client.Accept(ctx, c)
	return name, done, err
}

// acmeProof is what we show to a CA that looks whether a name is ours.
type acmeProof struct {
	text string           // http-01, by token
	cert *tls.Certificate // tls-alpn-01, by name
}

// answer has us show a proof until the returned function is called.
func (t *TLS) answer(key, text string, cert *tls.Certificate) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.proofs == nil {
		t.proofs = map[string]acmeProof{}
	}
	t.proofs[key] = acmeProof{text, cert}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.proofs, key)
	}
}

// ACMEAnswer is what stands at /.well-known/acme-challenge/TOKEN just now, "" for nothing (RFC 8555 §8.3).
func (t *TLS) ACMEAnswer(token string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.proofs[token].text
}

// proofConfig is for a connection of a CA that looks at tls-alpn-01 (RFC 8737 §3): it offers that protocol alone. nil for all others.
func (t *TLS) proofConfig(hello *tls.ClientHelloInfo) *tls.Config {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acmeProtocol {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	cert := t.proofs[strings.ToLower(hello.ServerName)].cert
	if cert == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{acmeProtocol}, Certificates: []tls.Certificate{*cert}}
}

// acmeCheck reads a chain that the CA has given, and sees that it is of use: for our key and at least these names.
func acmeCheck(chain [][]byte, key crypto.Signer, names []string) ([]byte, error) {
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	pair, err := parsePair(text)
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate is of no use: %w", err)
	}
	for _, n := range names {
		if !acmeCovers(pair.Leaf, n) {
			return nil, fmt.Errorf("the CA's certificate is not for %s", n)
		}
	}
	return text, nil
}

// PersistRecord is the name and the text of the TXT record with which a CA knows for good that a name is ours (dns-persist-01,
// draft-ietf-acme-dns-persist-02 §4.1). wide has it hold for the names below, too. ok is false while there is no account.
func (a acmeAccount) PersistRecord(name string, wide bool) (owner, text string, ok bool) {
	signer, err := a.signer()
	if err != nil || a.URL == "" || len(a.Issuers) == 0 || len(name) > 253 {
		return "", "", false
	}
	uri := a.URL
	if a.HashPrefix != "" { // draft 02; before, the URL itself stood there
		thumb, err := acme.JWKThumbprint(signer.Public())
		if err != nil {
			return "", "", false
		}
		uri = a.HashPrefix + "sha-256/" + acmeHash(name, thumb, a.URL)
	}
	text = a.Issuers[0] + "; accounturi=" + uri
	if wide {
		text += "; policy=wildcard"
	}
	return "_validation-persist." + name, text, true
}

// acmeHash binds an account to a name without telling which account.
func acmeHash(name, thumb, url string) string {
	sum := sha256.Sum256([]byte(string([]byte{byte(len(name))}) + name + thumb + url))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Persists says whether one of a name's texts is our record, however it is spaced and whatever else it says.
func (a acmeAccount) Persists(texts []string, name string, wide bool) bool {
	_, want, ok := a.PersistRecord(name, wide)
	if !ok {
		return false
	}
	return slices.ContainsFunc(texts, func(t string) bool {
		have := strings.Split(t, ";")
		for i, part := range strings.Split(want, ";") {
			part = strings.TrimSpace(part)
			if (i == 0 && strings.TrimSpace(have[0]) != part) || !slices.ContainsFunc(have, func(h string) bool { return strings.TrimSpace(h) == part }) {
				return false
			}
		}
		return true
	})
}

// persists asks the DNS for a name's record. A DNS that can't be asked is no reason to wait: the CA has its own.
func (k *acmeTalk) persists(ctx context.Context, name string, wide bool) error {
	owner, _, ok := k.acct.PersistRecord(name, wide)
	if !ok {
		return fmt.Errorf("the CA does not say how its records look (dns-persist-01); choose another acme_challenge")
	}
	a, err := k.dns.Ask(ctx, owner, dnsmessage.TypeTXT)
	if err != nil && !dnsNotFound(err) {
		return nil
	}
	if !k.acct.Persists(a.TXT(), name, wide) {
		return acmeWait("the DNS does not have the TXT record of %s yet; the DNS page shows it", owner)
	}
	return nil
}
