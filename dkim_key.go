// Keys of DKIM: our own, which sign, and those of others in the DNS (RFC 6376 §3.6.1, RFC 8463).
package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

const (
	dkimRSABits = 2048
	dkimRSALow  = 1024 // RFC 8301 §3.2: shorter ones prove nothing
	dkimRSAHigh = 4096 // longer ones need not be understood, and cost
	dkimSetting = "dkim "
)

// The states of a key.
const (
	DKIMNext   = "next"   // its record is to be published; it does not sign yet
	DKIMActive = "active" // it signs
	DKIMOld    = "old"    // its record stays for mail that is still on its way
)

// DKIMKey is a key of a domain of ours.
type DKIMKey struct {
	Selector string `json:"selector"`
	State    string `json:"state"`
	Private  []byte `json:"private"` // PKCS #8
}

// signer is the key itself.
func (k DKIMKey) signer() (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, fmt.Errorf("DKIM key %s: %w", k.Selector, err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("DKIM key %s is neither RSA nor Ed25519", k.Selector)
}

// Record is the text of the TXT record with which others check what the key signs.
func (k DKIMKey) Record() (string, error) {
	s, err := k.signer()
	if err != nil {
		return "", err
	}
	if pub, ok := s.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub), nil
	}
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), err
}

// NewDKIMKeys makes a pair of keys, RSA for everybody and Ed25519 for those who know it. n tells them from earlier ones.
func NewDKIMKeys(n int, state string) ([]DKIMKey, error) {
	r, err := rsa.GenerateKey(rand.Reader, dkimRSABits)
	if err != nil {
		return nil, err
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var all []DKIMKey
	for _, k := range []struct {
		selector string
		key      any
	}{{fmt.Sprintf("postino%d", n), r}, {fmt.Sprintf("postino%de", n), e}} {
		der, err := x509.MarshalPKCS8PrivateKey(k.key)
		if err != nil {
			return nil, err
		}
		all = append(all, DKIMKey{k.selector, state, der})
	}
	return all, nil
}

// DKIMKeys are the keys of a domain, the oldest first; none if it has none. They are in the settings under the domain's name in
// A-labels, private parts and all.
func (tx *Tx) DKIMKeys(domain string) ([]DKIMKey, error) {
	text, err := tx.Setting(dkimSetting + domain)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseDKIMKeys(text)
}

// dkimKeyNames are the settings that hold keys. In a copy of the file that goes away from this machine they are empty.
func dkimKeyNames(store *Store) ([]string, error) {
	return read(store, func(tx *Tx) ([]string, error) { return tx.SettingNames(dkimSetting) })
}

// parseDKIMKeys reads a setting. An empty one, of a copy that went away, has none.
func parseDKIMKeys(text []byte) ([]DKIMKey, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var all []DKIMKey
	err := json.Unmarshal(text, &all)
	if err != nil {
		return nil, fmt.Errorf("DKIM keys: %w", err)
	}
	return all, nil
}

// SetDKIMKeys keeps a domain's keys.
func (tx *Tx) SetDKIMKeys(domain string, keys []DKIMKey) error {
	text, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return tx.SetSetting(dkimSetting+domain, text)
}

// Why a key in the DNS proves nothing.
var (
	errDKIMNoKey    = errors.New("there is no such key")
	errDKIMRevoked  = errors.New("the key was taken back")
	errDKIMKeyBad   = errors.New("the key can't be read")
	errDKIMKeySize  = fmt.Errorf("the key has not between %d and %d bits", dkimRSALow, dkimRSAHigh)
	errDKIMKeyKind  = errors.New("the key is of another kind than the signature")
	errDKIMKeyMail  = errors.New("the key is not for mail")
	errDKIMKeyExact = errors.New("the key is not for subdomains")
)

// dkimPublic is a key in the DNS.
type dkimPublic struct {
	key     crypto.PublicKey
	kind    string // rsa, ed25519
	testing bool   // t=y: it is tried out
	exact   bool   // t=s: i= has to name d= itself
}

// parseDKIMRecord reads the text of a key record (RFC 6376 §3.6.1).
func parseDKIMRecord(text string) (*dkimPublic, error) {
	tags, err := dkimTagList(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDKIMKeyBad, err)
	}
	p64, there := tags["p"]
	if v, ok := tags["v"]; (ok && v != "DKIM1") || !there {
		return nil, errDKIMKeyBad
	}
	if h, ok := tags["h"]; ok && !dkimListed(h, "sha256") {
		return nil, errDKIMKeyKind
	}
	if s, ok := tags["s"]; ok && !dkimListed(s, "email") && !dkimListed(s, "*") {
		return nil, errDKIMKeyMail
	}
	k := &dkimPublic{kind: "rsa", testing: dkimListed(tags["t"], "y"), exact: dkimListed(tags["t"], "s")}
	if kind := tags["k"]; kind != "" {
		k.kind = kind
	}
	p64 = dkimSqueeze(p64)
	if p64 == "" {
		return nil, errDKIMRevoked
	}
	der, err := base64.StdEncoding.DecodeString(p64)
	if err != nil {
		return nil, errDKIMKeyBad
	}
	k.key, err = parseDKIMPublic(k.kind, der)
	return k, err
}

func parseDKIMPublic(kind string, der []byte) (crypto.PublicKey, error) {
	switch kind {
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return nil, errDKIMKeyBad
		}
		return ed25519.PublicKey(der), nil
	case "rsa":
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil { // RFC 6376 §3.6.1 says RSAPublicKey and shows SubjectPublicKeyInfo: both are in use
			key, err = x509.ParsePKCS1PublicKey(der)
		}
		r, ok := key.(*rsa.PublicKey)
		if err != nil || !ok {
			return nil, errDKIMKeyBad
		}
		if n := r.N.BitLen(); n < dkimRSALow || n > dkimRSAHigh {
			return nil, errDKIMKeySize
		}
		return r, nil
	}
	return nil, errDKIMKeyKind
}

// dkimListed says whether a word is in a list with colons.
func dkimListed(list, word string) bool {
	for one := range strings.SplitSeq(list, ":") {
		if strings.EqualFold(dkimTrim(one), word) {
			return true
		}
	}
	return false
}

var errDKIMSignature = errors.New("the signature is not one of this key over this message")

// verify checks a signature over a hash by SHA-256.
func (k *dkimPublic) verify(sum, sig []byte) error {
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum, sig) != nil {
			return errDKIMSignature
		}
		return nil
	case ed25519.PublicKey: // RFC 8463 §3: over the hash
		if !ed25519.Verify(key, sum, sig) {
			return errDKIMSignature
		}
		return nil
	}
	return errDKIMKeyKind
}

// dkimSeal signs a hash by SHA-256.
func dkimSeal(key crypto.Signer, sum [sha256.Size]byte) ([]byte, error) {
	if _, ok := key.(ed25519.PrivateKey); ok {
		return key.Sign(rand.Reader, sum[:], crypto.Hash(0))
	}
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// dkimRing has the keys that sign, ready to use: reading an RSA key takes a board longer than a small message.
type dkimRing struct {
	store *Store
	mu    sync.Mutex
	have  map[string]dkimRingEntry // by domain; no more than we have domains
}

type dkimRingEntry struct {
	text []byte // the setting they were read from
	keys []dkimSigner
}

// signers are the active keys of a domain of ours, none if it has none. What another process changes counts at once.
func (r *dkimRing) signers(domain string) ([]dkimSigner, error) {
	text, err := read(r.store, func(tx *Tx) ([]byte, error) { return tx.Setting(dkimSetting + domain) })
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.have[domain]; ok && bytes.Equal(e.text, text) {
		return e.keys, nil
	}
	all, err := parseDKIMKeys(text)
	if err != nil {
		return nil, err
	}
	e := dkimRingEntry{text: text}
	for _, k := range all {
		if k.State != DKIMActive {
			continue
		}
		key, err := k.signer()
		if err != nil {
			return nil, err
		}
		e.keys = append(e.keys, dkimSigner{domain, k.Selector, key})
	}
	if r.have == nil {
		r.have = map[string]dkimRingEntry{}
	}
	r.have[domain] = e
	return e.keys, nil
}

// public is the key with which others check a selector of ours, whatever its state; nil if there is none.
func (r *dkimRing) public(selector, domain string) *dkimPublic {
	all, err := read(r.store, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys(domain) })
	if err != nil {
		return nil
	}
	for _, k := range all {
		if k.Selector != selector {
			continue
		}
		text, err := k.Record()
		if err != nil {
			return nil
		}
		pub, err := parseDKIMRecord(text)
		if err == nil {
			return pub
		}
	}
	return nil
}
