// When another certificate is due from the public CA, for which names, and what the file keeps of it.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
)

const (
	acmeLook     = time.Minute        // between looks whether something is due, in memory
	acmeSoon     = 2 * time.Minute    // before another try when nothing was asked of the CA; doubled up to acmeSoonMost
	acmeSoonMost = 30 * time.Minute   // which is also how long a record waits to be seen
	acmeLater    = 10 * time.Minute   // before another try after an order that failed; doubled up to acmeLatest
	acmeLatest   = 12 * time.Hour     // CAs count failures by the hour
	acmeAgain    = 3 * 24 * time.Hour // after a certificate, before time alone is a reason for another one: a clock may be wrong
	acmeDay      = 24 * time.Hour     // the longest that a CA may put us off by a limit of its own
	acmeInsist   = 5                  // tries in which all names of today's certificate must be in the next one
	acmeInfo     = 6 * time.Hour      // between questions to the CA when it wants to renew (RFC 9773 §4.3.2)
)

// Names in the settings table. A copy of the file that goes away has both empty.
const (
	settingAccount = "acme_account" // acmeAccount
	settingPublic  = "acme_cert"    // the chain and its key in PEM form
)

// acmeAccount is our account with the CA, and how the last tries went.
type acmeAccount struct {
	Directory  string   `json:"directory"`
	Key        []byte   `json:"key"` // PKCS #8
	URL        string   `json:"url"`
	Issuers    []string `json:"issuers,omitempty"` // names of the CA in records
	HashPrefix string   `json:"hash_prefix,omitempty"`

	Refused  []string  `json:"refused,omitempty"` // names that the CA would not put into the last certificate
	Got      time.Time `json:"got,omitzero"`
	Tried    time.Time `json:"tried,omitzero"` // when an order failed last
	Failures int       `json:"failures,omitempty"`
	Error    string    `json:"error,omitempty"` // of the last try
}

// signer is the account's key.
func (a acmeAccount) signer() (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(a.Key)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the account's key is not an ECDSA key")
	}
	return k, nil
}

// account is what the file has; zero for nothing.
func (t *TLS) account() acmeAccount {
	var a acmeAccount
	text, err := read(t.store, func(tx *Tx) ([]byte, error) { return tx.Setting(settingAccount) })
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &a)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.log.Error("the account with the CA", "err", err)
		return acmeAccount{}
	}
	return a
}

// keepAccount stores it, if it is not what the file has.
func (t *TLS) keepAccount(a acmeAccount) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	old, err := read(t.store, func(tx *Tx) ([]byte, error) { return tx.Setting(settingAccount) })
	if err == nil && string(old) == string(text) {
		return nil
	}
	return t.store.Write(func(tx *Tx) error { return tx.SetSetting(settingAccount, text) })
}

// loadPublic reads the certificate of the public CA from the file, and forgets it where none is wanted any more.
func (t *TLS) loadPublic() {
	text, err := read(t.store, func(tx *Tx) ([]byte, error) { return tx.Setting(settingPublic) })
	var pair *tls.Certificate
	if err == nil && len(text) > 0 {
		pair, err = parsePair(text)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.log.Error("the certificate of the public CA", "err", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.public = pair
}

// Public is the certificate of the public CA, nil if there is none.
func (t *TLS) Public() *x509.Certificate {
	if pair := t.publicPair(); pair != nil {
		return pair.Leaf
	}
	return nil
}

// ACMEStatus is how things are with the public CA, for people.
type ACMEStatus struct {
	Account acmeAccount
	Method  string    // how names are proved
	Names   []string  // that we want
	Error   string    // of the last try, "" if it went well or nothing was tried
	Next    time.Time // before which nothing is tried; by the system's clock
	Busy    bool
}

// ACMEStatus is for the page and for `postino check`.
func (t *TLS) ACMEStatus() ACMEStatus {
	a := t.account()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := ACMEStatus{Account: a, Method: t.acmeMethod(), Error: a.Error, Next: t.acmeNext, Busy: t.acmeBusy}
	if t.acmeError != "" {
		s.Error = t.acmeError
	}
	for _, n := range t.acmeNames() {
		s.Names = append(s.Names, n.names()...)
	}
	return s
}

// acmeMethod is how names are proved: as mail.toml says, or by the ports that are ours.
func (t *TLS) acmeMethod() string {
	m := t.cfg.ACMENow().Challenge
	switch {
	case m != "":
		return m
	case hasPort(t.cfg.Listen.HTTPS, 443):
		return ACMEALPN
	case hasPort(t.cfg.Listen.HTTP, 80):
		return ACMEHTTP
	}
	return ACMEPersist
}

// hasPort says whether others can reach us at a port.
func hasPort(addrs []string, port int) bool {
	return slices.ContainsFunc(addrs, func(a string) bool {
		host, p, err := net.SplitHostPort(a)
		ip := net.ParseIP(host)
		return err == nil && p == strconv.Itoa(port) && host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

// acmeName is a name to be proved. wide is one whose record holds for the names below, too.
type acmeName struct {
	name string
	wide bool
}

// names are those in the certificate.
func (n acmeName) names() []string {
	if n.wide {
		return []string{n.name, "*." + n.name}
	}
	return []string{n.name}
}

// acmeNames are the names that the certificate should have, the machine's own first. With records in the DNS a domain needs one
// record for all of its names; else each name is looked at by itself.
func (t *TLS) acmeNames() []acmeName {
	var all []acmeName
	persist := t.acmeMethod() == ACMEPersist
	var wide []string
	add := func(n string) {
		ascii, err := DomainToASCII(n)
		if err != nil || !publicName(ascii) || len(all) >= maxACMENames/2 {
			return
		}
		_, parent, _ := strings.Cut(ascii, ".")
		if slices.Contains(wide, ascii) || slices.Contains(wide, parent) || slices.Contains(all, acmeName{ascii, false}) {
			return
		}
		all = append(all, acmeName{ascii, false})
	}
	if persist {
		for _, d := range t.cfg.DomainsNow() {
			ascii, err := DomainToASCII(d)
			if err == nil && publicName(ascii) && len(all) < maxACMENames/4 && !slices.Contains(wide, ascii) {
				wide = append(wide, ascii)
				all = append(all, acmeName{ascii, true})
			}
		}
	}
	add(t.cfg.Hostname)
	for _, d := range t.cfg.DomainsNow() {
		for _, p := range []string{"mail.", "mta-sts.", "autoconfig.", "autodiscover."} {
			add(p + d)
		}
	}
	for _, n := range t.cfg.ACMENow().Names {
		add(n)
	}
	return all
}

// acmeMissing is a name that we want and that the certificate in use does not have, "" for none.
func (t *TLS) acmeMissing(refused []string) string {
	for _, n := range t.acmeNames() {
		for _, name := range n.names() {
			if !slices.Contains(refused, name) && !acmeCovers(t.public.Leaf, name) {
				return name
			}
		}
	}
	return ""
}

// acmeCovers says whether a certificate is for a name, or for all names below one ("*.").
func acmeCovers(leaf *x509.Certificate, name string) bool {
	return leaf.VerifyHostname(strings.Replace(name, "*.", "x.", 1)) == nil
}

// RunACME has a certificate made whenever one is due, until stop is done.
func (t *TLS) RunACME(stop context.Context, dns func() Resolver) {
	tick := time.NewTicker(acmeLook)
	defer tick.Stop()
	for {
		t.acmeTurn(stop, dns())
		select {
		case <-stop.Done():
			return
		case <-tick.C:
		case <-t.acmeAsk:
		}
	}
}

// AskACME has a certificate made now.
func (t *TLS) AskACME() {
	t.mu.Lock()
	t.acmeForce = true
	t.mu.Unlock()
	t.AskAgain()
}

// AskAgain has what is due done now, and not after the pause that a try before it has led to.
func (t *TLS) AskAgain() {
	t.mu.Lock()
	t.acmeNext, t.looked = time.Time{}, time.Time{}
	t.mu.Unlock()
	select {
	case t.acmeAsk <- struct{}{}:
	default:
	}
}

// acmeTurn makes one try if one is due.
func (t *TLS) acmeTurn(stop context.Context, dns Resolver) {
	cfg := t.cfg.ACMENow()
	if cfg.Directory == "" || t.store.Writable() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(stop, acmeRoundTime)
	defer cancel()
	t.askRenewal(ctx, dns, cfg)
	why := t.acmeDue(t.account(), time.Now())
	if why == "" {
		return
	}
	t.log.Debug("certificate", "ca", cfg.URL(), "why", why)
	t.mu.Lock()
	t.acmeBusy, t.acmeForce = true, false
	t.mu.Unlock()
	err := t.acmeRound(ctx, dns, cfg, why == acmeNewName)
	t.mu.Lock()
	t.acmeBusy = false
	t.mu.Unlock()
	if stop.Err() == nil {
		t.acmeNote(err)
	}
}

// acmeNote notes how a try ended, and when the next one may be. An order that failed is noted in the file: a board that is switched
// on again and again must not ask each time.
func (t *TLS) acmeNote(err error) {
	a := t.account()
	t.mu.Lock()
	t.acmeError = ""
	var wait time.Duration
	switch {
	case err == nil:
		t.acmeTries = 0
	case errors.Is(err, errACMEWaits):
		wait = min(acmeSoon<<min(t.acmeTries, 10), acmeSoonMost)
		t.acmeTries++
		t.acmeError = strings.TrimPrefix(err.Error(), errACMEWaits.Error()+": ")
	default:
		a.Failures, a.Tried = a.Failures+1, t.store.Now()
		wait = a.backoff()
		t.acmeError = err.Error()
		a.Error = t.acmeError[:min(len(t.acmeError), 1000)]
		var ce *acme.Error
		if errors.As(err, &ce) {
			later, _ := acme.RateLimit(ce)
			wait = max(wait, min(later, acmeDay))
		}
	}
	t.acmeNext = time.Now().Add(wait)
	words := t.acmeError
	t.mu.Unlock()
	if err == nil {
		return
	}
	t.log.Warn("no certificate yet", "err", words, "next", wait)
	if a.Error != "" && !errors.Is(err, errACMEWaits) {
		if err := t.keepAccount(a); err != nil {
			t.log.Error("the account with the CA", "err", err)
		}
	}
}

// backoff is the time after the last order that failed.
func (a acmeAccount) backoff() time.Duration {
	if a.Failures == 0 {
		return 0
	}
	return min(acmeLater<<min(a.Failures-1, 10), acmeLatest)
}

// acmeNewName is a reason that waits for the DNS to have the name.
const acmeNewName = "a name is new"

// acmeDue says why a certificate is due, "" if none is. now is for what this process has measured itself. What depends on the clock
// waits while nobody knows whether it is right; a clock that is wrong all the same costs a certificate every acmeAgain, and nothing
// ever takes one away that is in use.
func (t *TLS) acmeDue(a acmeAccount, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.acmeForce {
		return "somebody asks for it"
	}
	if now.Before(t.acmeNext) {
		return ""
	}
	clock := t.store.Now()
	if left := a.backoff() - clock.Sub(a.Tried); a.Failures > 0 && left > 0 && left <= a.backoff() {
		return ""
	}
	switch {
	case t.public == nil:
		return "there is none"
	case a.Directory != t.cfg.ACMENow().URL():
		return "the CA is another one"
	case t.acmeMissing(a.Refused) != "":
		return acmeNewName
	case !t.store.ClockTrusted():
		return ""
	}
	since := clock.Sub(a.Got)
	if since >= 0 && since < acmeAgain {
		return ""
	}
	if !t.acmePick.IsZero() && clock.After(t.acmePick) {
		return "the CA says so"
	}
	leaf := t.public.Leaf
	if clock.After(leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)) {
		return "it nears its end"
	}
	return ""
}

// acmeRound gets a certificate and has all services use it from the next handshake on. newer has it wait until there is a name to win.
func (t *TLS) acmeRound(ctx context.Context, dns Resolver, cfg ACME, newer bool) error {
	k := &acmeTalk{t: t, dns: dns, http: t.acmeHTTP(dns), acct: t.account()}
	defer k.http.CloseIdleConnections()
	method := t.acmeMethod()
	if k.acct.Directory != cfg.URL() || k.acct.URL == "" { // the records name the account
		err := k.start(ctx, cfg)
		if err != nil {
			return err
		}
	}
	names, err := k.ready(ctx, t.acmeNames(), method)
	if err != nil {
		return err
	}
	if newer && !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(k.acct.Refused, n) && !acmeCovers(t.public.Leaf, n) }) {
		return acmeWait("the DNS does not have %s yet, which is not in the certificate", t.acmeMissing(k.acct.Refused))
	}
	if k.client == nil {
		err = k.start(ctx, cfg)
		if err != nil {
			return err
		}
	}
	key, err := t.publicKey()
	if err != nil {
		return err
	}
	var without []string
	chain, refused, err := k.order(ctx, names, method, key)
	for _, r := range refused {
		if t.mustHave(r.name, k.acct.Failures) {
			return fmt.Errorf("%s: %w", r.name, r.err)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == r.name })
		without = append(without, r.name)
		t.log.Warn("a name will not be in the certificate", "name", r.name, "err", r.err)
	}
	if len(refused) > 0 && len(names) == 0 {
		return fmt.Errorf("%s: %w", refused[0].name, refused[0].err)
	}
	if len(refused) > 0 {
		chain, refused, err = k.order(ctx, names, method, key)
	}
	if err == nil && len(refused) > 0 {
		err = fmt.Errorf("%s: %w", refused[0].name, refused[0].err)
	}
	if err != nil {
		return err
	}
	text, err := acmeCheck(chain, key, names)
	if err != nil {
		return err
	}
	a := k.acct
	a.Refused, a.Got, a.Failures, a.Error, a.Tried = without, t.store.Now(), 0, "", time.Time{}
	state, err := json.Marshal(a)
	if err != nil {
		return err
	}
	err = t.store.Write(func(tx *Tx) error {
		err := tx.SetSetting(settingPublic, text)
		if err != nil {
			return err
		}
		return tx.SetSetting(settingAccount, state)
	})
	if err != nil {
		return err
	}
	t.loadPublic()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acmePick, t.acmeInfoAt, t.acmeWindow = time.Time{}, time.Time{}, acmeWindow{}
	t.log.Info("new certificate", "names", names, "until", t.public.Leaf.NotAfter)
	return nil
}

// ready are those of the names that the CA can see, as far as we can tell: names that are not in the DNS would spoil it for the others.
func (k *acmeTalk) ready(ctx context.Context, all []acmeName, method string) ([]string, error) {
	var names []string
	fault := acmeWait("neither the host's name nor one of the domains is known on the internet: a public CA signs for such names only")
	for i, n := range all {
		var err error
		switch method {
		case ACMEPersist:
			err = k.persists(ctx, n.name, n.wide)
		default:
			_, err = hostAddresses(ctx, k.dns, n.name)
			if err != nil && !errors.Is(err, errNoDomain) {
				err = nil // nobody to ask: the CA will know
			}
			if err != nil {
				err = acmeWait("%s has no address in the DNS", n.name)
			}
		}
		if err == nil {
			names = append(names, n.names()...)
		} else if i == 0 {
			fault = err
		}
	}
	if len(names) == 0 {
		return nil, fault
	}
	for _, n := range all {
		if !slices.Contains(names, n.name) && k.t.mustHave(n.name, k.acct.Failures) {
			return nil, acmeWait("%s is in today's certificate, and its records are not in the DNS now", n.name)
		}
	}
	return names, nil
}

// mustHave says whether a certificate without the name would be worse than the one in use.
func (t *TLS) mustHave(name string, failures int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name == t.cfg.Hostname {
		return true
	}
	return t.public != nil && failures < acmeInsist && slices.Contains(t.public.Leaf.DNSNames, name)
}

// publicKey is the key of the certificate in use, or a new one. It stays, so that TLSA records in the DNS stay true.
func (t *TLS) publicKey() (crypto.Signer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.public != nil {
		if key, ok := t.public.PrivateKey.(*ecdsa.PrivateKey); ok {
			return key, nil
		}
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// acmeWindow is what the CA says of a certificate's renewal (RFC 9773 §4.2).
type acmeWindow struct {
	Window struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	} `json:"suggestedWindow"`
}

// askRenewal asks the CA now and then when it wants the certificate renewed, and picks a moment of that. Without an answer a third of the
// time before the end has to do.
func (t *TLS) askRenewal(ctx context.Context, dns Resolver, cfg ACME) {
	t.mu.Lock()
	pair, due := t.public, !time.Now().Before(t.acmeInfoAt)
	if due {
		t.acmeInfoAt = time.Now().Add(acmeInfo)
	}
	t.mu.Unlock()
	if pair == nil || !due {
		return
	}
	id := acmeCertID(pair.Leaf)
	k := &acmeTalk{t: t, dns: dns, http: t.acmeHTTP(dns)}
	defer k.http.CloseIdleConnections()
	err := k.get(ctx, cfg.URL(), &k.dir)
	if err != nil || k.dir.Renewal == "" || id == "" {
		return
	}
	var w acmeWindow
	h, err := k.getAfter(ctx, strings.TrimSuffix(k.dir.Renewal, "/")+"/"+id, &w)
	if err != nil {
		t.log.Debug("renewal information", "err", err)
		return
	}
	after, _ := strconv.Atoi(h.Get("Retry-After"))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acmeInfoAt = time.Now().Add(min(max(time.Duration(after)*time.Second, time.Hour), 24*time.Hour))
	if !w.Window.End.After(w.Window.Start) || w.Window.Start.After(pair.Leaf.NotAfter) || w.Window == t.acmeWindow.Window {
		return // nonsense, or known
	}
	t.acmeWindow = w
	t.acmePick = w.Window.Start.Add(time.Duration(mathrand.Int64N(int64(w.Window.End.Sub(w.Window.Start)))))
}

// acmeCertID names a certificate to its CA (RFC 9773 §4.1): its issuer's key and its serial number.
func acmeCertID(leaf *x509.Certificate) string {
	if len(leaf.AuthorityKeyId) == 0 || leaf.SerialNumber.Cmp(new(big.Int)) <= 0 {
		return ""
	}
	serial := leaf.SerialNumber.Bytes()
	if serial[0] > 0x7f {
		serial = append([]byte{0}, serial...) // as DER has it
	}
	return base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial)
}
