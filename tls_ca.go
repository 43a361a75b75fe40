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
	"strings"
	"time"
)

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
		made, err := makeCA(t.cfg.Hostname, t.now())
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
	t.ca, err = parsePair(ca)
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

// makeCA makes the private CA. Its name says whose it is, for the list of authorities on a phone.
func makeCA(hostname string, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Postino private CA " + hostname, Organization: []string{"Postino private CA"}},
		NotBefore: caFrom, NotAfter: now.AddDate(caYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return signPair(template, template, key, key)
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
	caKey, ok := t.ca.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("setting %s: not an ECDSA key", settingCA)
	}
	var key *ecdsa.PrivateKey
	if t.cert != nil {
		key, _ = t.cert.PrivateKey.(*ecdsa.PrivateKey)
	}
	if key == nil {
		var err error
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
	}
	names, addrs := t.names(), t.addrs()
	now := t.now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: names[0], Organization: []string{"Postino"}},
		NotBefore: now.Add(-leafBefore), NotAfter: now.Add(leafAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names,
	}
	for _, a := range addrs[:min(len(addrs), maxLeafIPs)] {
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
