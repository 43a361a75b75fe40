// App passwords, one for each device or program: random, so that a quick check is enough, and each can be taken back alone.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"strings"
)

// NewAppPassword makes a password of 80 random bits, in groups that can be typed into a phone, and what is stored of
// it. Guessing is hopeless at any speed, so it needs no slow derivation: a printer logs in for each page it scans.
func NewAppPassword() (password, secret string) {
	b := make([]byte, 10)
	rand.Read(b)
	s := strings.ToLower(base32.StdEncoding.EncodeToString(b))
	password = s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
	return password, appSecret(password)
}

// appSecret is what is stored of an app password. Dashes, spaces and capitals do not matter.
func appSecret(password string) string {
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(password))
	sum := sha256.Sum256([]byte(plain))
	return hex.EncodeToString(sum[:])
}

// appPassword returns which of the user's app passwords a password is; 0 is none of them. It takes as long for each.
func (a *Auth) appPassword(u User, password string) (int64, error) {
	all, err := read(a.store, func(tx *Tx) ([]AppPassword, error) { return tx.AppPasswords(u.ID) })
	if err != nil {
		return 0, err
	}
	guess, found := []byte(appSecret(password)), int64(0)
	for _, p := range all {
		if subtle.ConstantTimeCompare(guess, []byte(p.Secret)) == 1 {
			found = p.ID
		}
	}
	return found, nil
}
