// Secrets: what is stored instead of a password (RFC 5803), what making one costs, and how passwords are prepared.
package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// scramParams belong to the file: they are made once and then never change, or unknown names could be told from known
// ones by comparing what they got before.
type scramParams struct {
	iterations int
	key        []byte // what the salts of unknown names are made from
}

// Names in the settings table.
const (
	settingIterations = "scram_iterations"
	settingSaltKey    = "scram_salt_key"
)

// parameters reads the file's parameters; the first use measures how many iterations this machine does in checkTime.
func (a *Auth) parameters() (*scramParams, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.params != nil {
		return a.params, nil
	}
	p, err := read(a.store, loadParams)
	if err != nil {
		return nil, err
	}
	if p.iterations == 0 || p.key == nil {
		measured, key := calibrate(), make([]byte, 32)
		rand.Read(key)
		p, err = write(a.store, func(tx *Tx) (*scramParams, error) {
			p, err := loadParams(tx)
			if err == nil {
				err = p.complete(tx, measured, key)
			}
			return p, err
		})
		if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) { // people shall get at their mail all the same
			p, err = &scramParams{measured, key}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	a.params = p
	return p, nil
}

func loadParams(tx *Tx) (*scramParams, error) {
	p := &scramParams{}
	v, err := tx.Setting(settingIterations)
	if err == nil {
		p.iterations, err = strconv.Atoi(string(v))
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		p.key, err = tx.Setting(settingSaltKey)
	}
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return p, err
}

// complete stores what another process has not stored meanwhile.
func (p *scramParams) complete(tx *Tx, iterations int, key []byte) error {
	if p.iterations == 0 {
		p.iterations = iterations
	}
	if p.key == nil {
		p.key = key
	}
	if err := tx.SetSetting(settingIterations, []byte(strconv.Itoa(p.iterations))); err != nil {
		return err
	}
	return tx.SetSetting(settingSaltKey, p.key)
}

// calibrate returns the iterations that take about checkTime here. The fastest of three runs counts, because the
// machine may be busy with its start.
func calibrate() int {
	best := time.Duration(1<<63 - 1)
	for range 3 {
		start := time.Now()
		pbkdf2.Key(sha256.New, "calibration", make([]byte, 16), minIterations, sha256.Size)
		best = min(best, time.Since(start))
	}
	n := int(float64(minIterations) * float64(checkTime) / float64(max(best, time.Microsecond)))
	return min(max(n, minIterations), maxIterations)
}

// fake makes the secret of a name that can't log in. It depends on the name alone, and no password is known for it.
func (p *scramParams) fake(name string) string {
	return scramSecret{p.iterations, hmacSHA256(p.key, "salt "+name)[:16],
		hmacSHA256(p.key, "stored "+name), hmacSHA256(p.key, "server "+name)}.String()
}

// Secret derives what is stored for a new password, with as many iterations as the file uses.
func (a *Auth) Secret(password string) (string, error) {
	p, err := a.parameters()
	if err != nil {
		return "", err
	}
	return MakeSecret(password, p.iterations)
}

// scramSecret is what is stored for a password: SCRAM-SHA-256 credentials (RFC 5802 §3, RFC 7677).
type scramSecret struct {
	iterations              int
	salt, stored, serverKey []byte
}

// String is the form of RFC 5803.
func (s scramSecret) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", s.iterations, b64(s.salt), b64(s.stored), b64(s.serverKey))
}

func parseSecret(text string) (scramSecret, error) {
	var s scramSecret
	scheme, rest, _ := strings.Cut(text, "$")
	params, keys, _ := strings.Cut(rest, "$")
	count, salt, _ := strings.Cut(params, ":")
	stored, server, _ := strings.Cut(keys, ":")
	if !strings.EqualFold(scheme, "SCRAM-SHA-256") {
		return s, errors.New("not a SCRAM-SHA-256 secret")
	}
	var err error
	s.iterations, err = strconv.Atoi(count)
	if err != nil || s.iterations < 1 {
		return s, errors.New("secret with a bad iteration count")
	}
	for _, f := range []struct {
		to   *[]byte
		text string
	}{{&s.salt, salt}, {&s.stored, stored}, {&s.serverKey, server}} {
		*f.to, err = base64.StdEncoding.DecodeString(f.text)
		if err != nil {
			return s, fmt.Errorf("secret: %w", err)
		}
	}
	return s, nil
}

// MakeSecret derives what is stored for a password, in the form of RFC 5803. Use Auth.Secret, which knows the iterations.
func MakeSecret(password string, iterations int) (string, error) {
	if password == "" {
		return "", errors.New("a password can't be empty")
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	stored, server, err := deriveKeys(saslPrep(password), salt, iterations)
	if err != nil {
		return "", err
	}
	return scramSecret{iterations, salt, stored, server}.String(), nil
}

// deriveKeys is the expensive part: StoredKey and ServerKey of RFC 5802 §3.
func deriveKeys(password string, salt []byte, iterations int) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("derive keys: %w", err)
	}
	sum := sha256.Sum256(hmacSHA256(salted, "Client Key"))
	return sum[:], hmacSHA256(salted, "Server Key"), nil
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// saslPrep is the mapping of RFC 4013 §2.1 and §2.2, so that a password means the same whichever keyboard it was typed
// on: spaces of all kinds become one kind, invisible characters vanish, full-width letters become plain ones. It refuses
// nothing: the tables of what is prohibited have aged, and a device that sends odd octets sends them always. Clients of
// SCRAM map before they hash, which is why this is not the newer OpaqueString of RFC 8265: it knows no full-width forms.
func saslPrep(s string) string {
	if !utf8.ValidString(s) {
		return s
	}
	mapped := strings.Map(func(r rune) rune {
		switch {
		case r == 0xad, r == 0x34f, r == 0x1806, r >= 0x180b && r <= 0x180d, r >= 0x200b && r <= 0x200d, r == 0x2060,
			r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff: // RFC 3454 table B.1
			return -1
		case r > 0x7f && unicode.Is(unicode.Zs, r): // table C.1.2
			return ' '
		}
		return r
	}, s)
	return norm.NFKC.String(mapped)
}
