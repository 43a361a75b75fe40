// The second factor: time-based codes (RFC 6238) that an authenticator app shows.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	webCodeStep   = 30 // seconds (RFC 6238 §4.1)
	webSecretSize = 20 // octets of a secret (RFC 4226 §4)
	webCodeSkew   = 1  // steps that the app's clock may be off (RFC 6238 §5.2)

	webSpareCodes = 8 // on paper, for a lost phone
)

// webTOTP is a user's second factor. The zero value is none.
type webTOTP struct {
	Secret string   `json:"secret,omitempty"` // base32
	Last   int64    `json:"last,omitempty"`   // the step of the last code that was used: each works once (RFC 6238 §5.2)
	Spare  []string `json:"spare,omitempty"`  // hashes of codes on paper, each good once, for a phone that is lost
}

// spareCodes makes new codes to be kept on paper, of 50 bits each, and returns them.
func (t *webTOTP) spareCodes() []string {
	var codes []string
	t.Spare = nil
	for range webSpareCodes {
		b := make([]byte, 7)
		rand.Read(b)
		c := strings.ToLower(base32.StdEncoding.EncodeToString(b))[:10]
		codes, t.Spare = append(codes, c[:5]+"-"+c[5:]), append(t.Spare, webSpareHash(c))
	}
	return codes
}

func webSpareHash(code string) string {
	return base64.RawStdEncoding.EncodeToString(webHash("spare " + code))
}

// useSpare takes a code off the list, if it is on it.
func (t *webTOTP) useSpare(code string) bool {
	code = strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '2' && r <= '7') {
			return r
		}
		return -1
	}, strings.ToLower(code))
	n := len(t.Spare)
	t.Spare = slices.DeleteFunc(t.Spare, func(have string) bool { return hmac.Equal([]byte(have), []byte(webSpareHash(code))) })
	return len(t.Spare) < n
}

// webNewSecret makes a secret.
func webNewSecret() string {
	b := make([]byte, webSecretSize)
	rand.Read(b)
	return base32.StdEncoding.EncodeToString(b)
}

// webCode is the code of a step (RFC 4226 §5.3).
func webCode(secret string, step int64) (string, error) {
	key, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		return "", fmt.Errorf("second factor: %w", err)
	}
	mac := hmac.New(sha1.New, key)
	binary.Write(mac, binary.BigEndian, step)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000), nil
}

// match finds the step whose code was typed, and only one after the last that was used.
func (t webTOTP) match(code string, now time.Time) (int64, bool, error) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	at := now.Unix() / webCodeStep
	for s := at - webCodeSkew; s <= at+webCodeSkew; s++ {
		want, err := webCode(t.Secret, s)
		if err != nil {
			return 0, false, err
		}
		if s > t.Last && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			return s, true, nil
		}
	}
	return 0, false, nil
}

// webGoodSecret says whether a secret can be kept: one that is empty or short would be no secret.
func webGoodSecret(secret string) bool {
	key, err := base32.StdEncoding.DecodeString(secret)
	return err == nil && len(key) == webSecretSize
}

// webSetFactor stores a user's second factor, nil for none, and ends what goes with the change. spare is the session that
// asked.
func webSetFactor(tx *Tx, user UserID, t *webTOTP, spare []byte) error {
	if t == nil {
		if err := tx.SetPreference(user, PrefTOTP, nil); err != nil {
			return err
		}
		return endLogins(tx, user, EndFactorOff, spare)
	}
	if err := tx.SetPreference(user, PrefTOTP, *t); err != nil {
		return err
	}
	return endLogins(tx, user, EndFactorOn, spare)
}

// use checks a code and uses it up.
func (t *webTOTP) use(code string, now time.Time) (bool, error) {
	step, ok, err := t.match(code, now)
	if err != nil {
		return false, err
	}
	if ok {
		t.Last = step
		return true, nil
	}
	return t.useSpare(code), nil
}

// useCode checks a code of somebody's second factor, which is used up. While the file can't be written, people shall read their mail all the
// same: what was used is remembered in memory then, by at most as many as have a second factor, and noted with the next code.
func (a *webApp) useCode(user UserID, code string) (bool, error) {
	a.mu.Lock()
	passing := a.usedUp[user]
	a.mu.Unlock()
	use := func(tx *Tx) (webTOTP, bool, error) {
		var t webTOTP
		err := tx.Preference(user, PrefTOTP, &t)
		if err != nil {
			return t, false, err
		}
		if passing.Secret == t.Secret && passing.Secret != "" { // and no other factor since
			t = passing
		}
		ok, err := t.use(code, a.s.store.Now())
		return t, ok, err
	}
	ok, err := write(a.s.store, func(tx *Tx) (bool, error) {
		t, ok, err := use(tx)
		if err != nil || !ok {
			return false, err
		}
		return true, tx.SetPreference(user, PrefTOTP, t)
	})
	if err == nil {
		if ok {
			a.mu.Lock()
			delete(a.usedUp, user)
			a.mu.Unlock()
		}
		return ok, nil
	}
	if !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrDiskFull) {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	passing = a.usedUp[user] // a code that is given twice at once is good once
	t, err := read(a.s.store, func(tx *Tx) (webTOTP, error) {
		t, used, err := use(tx)
		ok = used
		return t, err
	})
	if err != nil || !ok {
		return false, err
	}
	a.usedUp[user] = t
	return true, nil
}

// webKeyAddress is what the QR code of a secret says to an authenticator app.
func webKeyAddress(host, user, secret string) string {
	v := url.Values{"secret": {secret}, "issuer": {"Postino " + host}}
	return "otpauth://totp/" + url.PathEscape("Postino:"+user) + "?" + strings.ReplaceAll(v.Encode(), "+", "%20") // apps show a plus as it is
}
