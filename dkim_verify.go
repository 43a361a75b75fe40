// Checking signatures (RFC 6376 §6): of one message, all of them in one reading of its body.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dkimMost  = 8               // signatures of a message that are looked at, from the top
	dkimNames = 200             // names in h=
	dkimSkew  = 5 * time.Minute // that clocks may differ by
	keyMost   = 20              // keys that are asked for because of one message
	dkimTexts = 4               // TXT records under a key's name that are tried
)

// Results of checks, as Authentication-Results has them (RFC 8601 §2.7.1).
const (
	resultPass  = "pass"
	resultFail  = "fail"      // there is a signature, and it is wrong
	resultNone  = "none"      // there is nothing to check
	resultTemp  = "temperror" // it could not be checked just now
	resultPerm  = "permerror" // it can't be checked ever: no key, an unknown kind
	resultWeak  = "policy"    // it is right and proves too little
	resultPlain = "neutral"
)

// dkimResult is what became of one signature.
type dkimResult struct {
	result   string
	why      string // a few words, "" for a pass
	domain   string // d=
	selector string // s=
	user     string // i=, or "@" and the domain
	names    []string
	b        string // the first characters of b=, which tell signatures of one domain apart
	testing  bool   // the domain only tries it out
}

// dkimSig is a signature, taken apart. ARC's are of the same build.
type dkimSig struct {
	field     dkimField
	domain    string
	selector  string
	user      string
	kind      string // rsa, ed25519
	names     []string
	canon     dkimCanon
	bodyHash  []byte
	signature []byte
	length    int64 // l=, or -1
}

// errDKIMForm is the error of a signature that can't be read, with the reason behind it.
var errDKIMForm = errors.New("the signature can't be read")

func dkimForm(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errDKIMForm, fmt.Sprintf(format, a...))
}

// parseDKIMSig reads a DKIM-Signature field. now is for x=.
func parseDKIMSig(f dkimField, now time.Time) (*dkimSig, error) {
	tags, err := dkimTagList(f.value())
	if err != nil {
		return nil, dkimForm("%v", err)
	}
	s := &dkimSig{field: f}
	if tags["v"] != "1" {
		return s, dkimForm("version %.10q", tags["v"])
	}
	err = s.common(tags)
	if err != nil {
		return s, err
	}
	s.user = "@" + s.domain
	if i, ok := tags["i"]; ok {
		s.user = dkimSqueeze(i)
		_, host, ok := strings.Cut(s.user, "@")
		if !ok || !isUnder(strings.ToLower(host), s.domain) {
			return s, dkimForm("i= is not of d=")
		}
	}
	if q, ok := tags["q"]; ok && !dkimListed(q, "dns/txt") {
		return s, dkimForm("q=%.20s", q)
	}
	if x, ok := tags["x"]; ok {
		n, err := strconv.ParseInt(dkimSqueeze(x), 10, 64)
		if err != nil {
			return s, dkimForm("x=%.20s", x)
		}
		if n < now.Add(-dkimSkew).Unix() {
			return s, dkimForm("it has expired")
		}
	}
	return s, nil
}

// common reads the tags that DKIM-Signature and ARC-Message-Signature share.
func (s *dkimSig) common(tags map[string]string) error {
	for _, t := range []string{"a", "b", "bh", "d", "h", "s"} {
		if tags[t] == "" {
			return dkimForm("%s= is missing", t)
		}
	}
	s.domain, s.selector = strings.ToLower(dkimSqueeze(tags["d"])), strings.ToLower(dkimSqueeze(tags["s"]))
	var ok bool
	s.canon, ok = parseCanon(dkimSqueeze(tags["c"]))
	if !ok {
		return dkimForm("c=%.30s", tags["c"])
	}
	s.names = strings.Split(dkimSqueeze(tags["h"]), ":")
	if len(s.names) > dkimNames {
		return dkimForm("h= has more than %d names", dkimNames)
	}
	s.length = -1
	if l, there := tags["l"]; there {
		n, err := strconv.ParseUint(dkimSqueeze(l), 10, 62)
		if err != nil {
			return dkimForm("l=%.20s", l)
		}
		s.length = int64(n)
	}
	if !dkimListed(strings.Join(s.names, ":"), "from") {
		return dkimForm("From is not signed")
	}
	return s.sealed(tags)
}

// sealed reads the tags of the signature itself.
func (s *dkimSig) sealed(tags map[string]string) error {
	kind, sum, _ := strings.Cut(strings.ToLower(dkimSqueeze(tags["a"])), "-")
	if sum != "sha256" || (kind != "rsa" && kind != "ed25519") { // RFC 8301 §3.1: rsa-sha1 proves nothing
		return dkimForm("a=%.20s", tags["a"])
	}
	s.kind = kind
	var err error
	s.signature, err = base64.StdEncoding.DecodeString(dkimSqueeze(tags["b"]))
	if err != nil {
		return dkimForm("b= is no base64")
	}
	s.bodyHash, err = base64.StdEncoding.DecodeString(dkimSqueeze(tags["bh"]))
	if err != nil {
		return dkimForm("bh= is no base64")
	}
	return nil
}

// isUnder says whether a name is a domain or one below it. Both are in small letters.
func isUnder(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

// dkimBodies are the hashes of a body in the canonical forms that somebody asks for.
type dkimBodies map[bool]*dkimBody // by relaxed

// read reads the body through all of them.
func (b dkimBodies) read(body io.Reader) error {
	var all []io.Writer
	for _, one := range b {
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil
	}
	_, err := io.Copy(io.MultiWriter(all...), body)
	return err
}

// dkimSums are the hashes of the bodies that were read, and their lengths.
type dkimSums map[bool]struct {
	sum []byte
	n   int64
}

func (b dkimBodies) end() dkimSums {
	sums := dkimSums{}
	for relaxed, one := range b {
		sum, n := one.end()
		sums[relaxed] = struct {
			sum []byte
			n   int64
		}{sum, n}
	}
	return sums
}

// bodyFault compares the body's hash. A signature over a part of the body only (l=) lets everybody write below it, so it proves
// nothing unless that part is all (RFC 6376 §8.2).
func (s *dkimSig) bodyFault(sums dkimSums) (result, why string) {
	have := sums[s.canon.body]
	switch {
	case s.length >= 0 && s.length < have.n:
		return resultWeak, "a part of the body is not signed"
	case s.length > have.n, !bytes.Equal(have.sum, s.bodyHash):
		return resultFail, "the body was changed"
	}
	return resultPass, ""
}

// headerSum is the hash that the signature is over.
func (s *dkimSig) headerSum(p dkimPicker) []byte {
	h := sha256.New()
	p.hashFields(h, s.names, s.canon.header)
	io.WriteString(h, strings.TrimSuffix(canonField(withoutSignature(s.field.raw), s.canon.header), "\r\n"))
	return h.Sum(nil)
}

// keyAsker looks keys up, each once. skip says for which domains nothing is asked.
type keyAsker struct {
	dns  Resolver
	own  func(selector, domain string) *dkimPublic // keys that nobody has to be asked for; nil knows none
	skip func(domain string) bool
	have map[string]keyAnswer
}

type keyAnswer struct {
	key *dkimPublic
	err error
}

var errKeyMany = fmt.Errorf("more than %d keys", keyMost)

var errKeySkipped = errors.New("nothing is asked about this domain")

// key is the key of a selector. An error that dnsPasses is one of the moment.
func (a *keyAsker) key(ctx context.Context, selector, domain string) (*dkimPublic, error) {
	name := selector + "._domainkey." + domain
	if k, ok := a.have[name]; ok {
		return k.key, k.err
	}
	var got keyAnswer
	got.err = errKeyMany
	if len(a.have) < keyMost {
		got.key, got.err = a.ask(ctx, name, domain)
	}
	if a.have == nil {
		a.have = map[string]keyAnswer{}
	}
	a.have[name] = got
	return got.key, got.err
}

func (a *keyAsker) ask(ctx context.Context, name, domain string) (*dkimPublic, error) {
	if a.own != nil {
		selector, _, _ := strings.Cut(name, "._domainkey.")
		if k := a.own(selector, domain); k != nil {
			return k, nil
		}
	}
	if a.skip(domain) {
		return nil, errKeySkipped
	}
	ans, err := a.dns.Ask(ctx, name, dnsmessage.TypeTXT)
	if dnsNotFound(err) {
		return nil, errDKIMNoKey
	}
	if err != nil {
		return nil, err
	}
	err = errDKIMNoKey
	for i, text := range ans.TXT() {
		if i >= dkimTexts {
			break
		}
		var k *dkimPublic
		k, err = parseDKIMRecord(text)
		if err == nil {
			return k, nil
		}
	}
	return nil, err
}

// keyResult says what an error of key means.
func keyResult(err error) (result, why string) {
	switch {
	case errors.Is(err, errDKIMKeySize):
		return resultWeak, err.Error()
	case errors.Is(err, errKeySkipped), errors.Is(err, errKeyMany):
		return resultPlain, err.Error()
	}
	for _, perm := range []error{errDKIMNoKey, errDKIMRevoked, errDKIMKeyBad, errDKIMKeyKind, errDKIMKeyMail, errDKIMKeyExact} {
		if errors.Is(err, perm) {
			return resultPerm, perm.Error()
		}
	}
	return resultTemp, "the DNS does not answer"
}

// verifyDKIM checks the signatures of a message with that header, from the top, at most dkimMost; sums has the hashes of its body in
// the forms that bodyForms asked for.
func verifyDKIM(ctx context.Context, fields []dkimField, sums dkimSums, keys *keyAsker, now time.Time) []dkimResult {
	var all []dkimResult
	picker := newDKIMPicker(fields)
	for _, f := range fields {
		if f.name != "dkim-signature" {
			continue
		}
		if len(all) >= dkimMost {
			break
		}
		s, err := parseDKIMSig(f, now)
		if err != nil {
			r := dkimResult{result: resultPerm, why: err.Error()}
			if s != nil {
				r.domain, r.selector = s.domain, s.selector
			}
			all = append(all, r)
			continue
		}
		all = append(all, s.check(ctx, picker, sums, keys))
	}
	return all
}

func (s *dkimSig) check(ctx context.Context, picker dkimPicker, sums dkimSums, keys *keyAsker) dkimResult {
	r := dkimResult{domain: s.domain, selector: s.selector, user: s.user, names: s.names, b: base64.StdEncoding.EncodeToString(s.signature)}
	r.b = r.b[:min(8, len(r.b))]
	r.result, r.why = s.bodyFault(sums)
	if r.result != resultPass {
		return r
	}
	key, err := keys.key(ctx, s.selector, s.domain)
	if err == nil && key.kind != s.kind {
		err = errDKIMKeyKind
	}
	if err == nil && key.exact {
		if _, host, _ := strings.Cut(s.user, "@"); !strings.EqualFold(host, s.domain) {
			err = errDKIMKeyExact
		}
	}
	if err != nil {
		r.result, r.why = keyResult(err)
		return r
	}
	r.testing = key.testing
	err = key.verify(s.headerSum(picker), s.signature)
	if err != nil {
		r.result, r.why = resultFail, err.Error()
	}
	return r
}

// bodyForms are the canonical forms of the body that the message's first signatures need, ARC's among them.
func bodyForms(fields []dkimField, now time.Time) dkimBodies {
	b := dkimBodies{}
	n := 0
	for _, f := range fields {
		if f.name != "dkim-signature" && f.name != "arc-message-signature" {
			continue
		}
		n++
		if n > dkimMost+arcMost {
			break
		}
		tags, err := dkimTagList(f.value())
		if err != nil {
			continue
		}
		c, ok := parseCanon(dkimSqueeze(tags["c"]))
		if ok && b[c.body] == nil {
			b[c.body] = newDKIMBody(c.body)
		}
	}
	return b
}

// arcMost is how many sets an ARC chain may have (RFC 8617 §5).
const arcMost = 50
