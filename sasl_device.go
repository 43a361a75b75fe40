// Passwords for single devices: random, so that a quick check is enough, and each can be taken back alone.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"strings"
)

// NewDevicePassword makes a password of 80 random bits, in groups that can be typed into a phone, and what is stored of
// it. Guessing is hopeless at any speed, so it needs no slow derivation: a printer logs in for each page it scans.
func NewDevicePassword() (password, secret string) {
	b := make([]byte, 10)
	rand.Read(b)
	s := strings.ToLower(base32.StdEncoding.EncodeToString(b))
	password = s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
	return password, deviceSecret(password)
}

// deviceSecret is what is stored of a device password. Dashes, spaces and capitals do not matter.
func deviceSecret(password string) string {
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(password))
	sum := sha256.Sum256([]byte(plain))
	return hex.EncodeToString(sum[:])
}

// devicePassword says whether the password is that of one of the user's devices.
func (a *Auth) devicePassword(u User, password string) (ok bool, err error) {
	var all []Device
	if err := a.store.Read(func(tx *Tx) error { all, err = tx.Devices(u.ID); return err }); err != nil {
		return false, err
	}
	guess := []byte(deviceSecret(password))
	for _, d := range all {
		if subtle.ConstantTimeCompare(guess, []byte(d.Secret)) == 1 {
			ok = true
		}
	}
	return ok, nil
}
