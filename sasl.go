// Names and passwords: one function for all mechanisms and protocols.
package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// What a login can fail with. A wrong name and a wrong password are the same.
var (
	ErrAuth     = errors.New("wrong name or password")
	ErrAuthRate = errors.New("too many failed logins, wait a while")
)

// Auth checks names and passwords for every protocol and counts failures over all of them.
type Auth struct {
	cfg   *Config
	store *Store
}

func NewAuth(cfg *Config, store *Store) *Auth { return &Auth{cfg: cfg, store: store} }

// Password checks a name (an address, or the local part of one in the first domain) and a password.
func (a *Auth) Password(from netip.Addr, name, password string) (User, error) {
	if !strings.Contains(name, "@") {
		name += "@" + a.cfg.Domains[0]
	}
	addr, err := ParseAddr(name)
	if err != nil {
		return User{}, ErrAuth
	}
	var u User
	err = a.store.Read(func(tx *Tx) error { u, err = tx.UserByName(addr.Key()); return err })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, err
	}
	if err != nil || u.Disabled || !checkSecret(u.Secret, password) {
		return User{}, ErrAuth
	}
	return u, nil
}

// MakeSecret derives what is stored for a password: SCRAM-SHA-256 credentials in the form of RFC 5803.
func MakeSecret(password string, iterations int) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	stored, server := scramKeys(salted)
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored), b64(server)), nil
}

func scramKeys(salted []byte) (stored, server []byte) {
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	sum := sha256.Sum256(mac(salted, "Client Key"))
	return sum[:], mac(salted, "Server Key")
}

func checkSecret(secret, password string) bool {
	var iterations int
	var rest string
	if n, _ := fmt.Sscanf(secret, "SCRAM-SHA-256$%d:%s", &iterations, &rest); n != 2 {
		return false
	}
	saltText, keys, _ := strings.Cut(rest, "$")
	storedText, _, _ := strings.Cut(keys, ":")
	salt, err1 := base64.StdEncoding.DecodeString(saltText)
	want, err2 := base64.StdEncoding.DecodeString(storedText)
	if err1 != nil || err2 != nil {
		return false
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return false
	}
	stored, _ := scramKeys(salted)
	return subtle.ConstantTimeCompare(stored, want) == 1
}
