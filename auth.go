// Checking a name and a password: against what, and what a check costs.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What a login can fail with; test with errors.Is, because the name that was tried is wrapped around it for the log. A
// wrong name and a wrong password are the same, and no protocol may tell its client more than these words.
var (
	ErrAuth          = errors.New("wrong name or password")
	ErrAuthRate      = errors.New("too many failed logins, wait a while")
	ErrAuthSyntax    = errors.New("malformed authentication exchange")
	ErrAuthCancelled = errors.New("authentication cancelled")
	ErrAuthPrivacy   = errors.New("this mechanism needs TLS")
	ErrMechanism     = errors.New("no such mechanism")
)

const (
	checkTime     = 100 * time.Millisecond // what a password check shall cost on this machine
	minIterations = 4096                   // RFC 7677 §4
	maxIterations = 1 << 16                // Cyrus SASL, which mbsync and others use, refuses more; a slow client would take long, too
	checksAtOnce  = 2                      // derivations that run side by side; others wait

	rememberFor = 10 * time.Minute // a successful login need not be derived again
	rememberMax = 1000             // of them
)

// Auth checks names and passwords for every protocol and counts failures over all of them.
//
// A password check is expensive on purpose, so a successful one is remembered for ten minutes: under a keyed MAC over the
// user, the stored secret and the password, whose key is made at start. A changed password changes the secret and voids it.
//
// An unknown name costs as much time as a wrong password and looks the same, in SCRAM too, where it gets a salt that
// depends on nothing but the name. No account is ever locked: who is over a limit waits longer, see auth_limit.go.
type Auth struct {
	cfg   *Config
	store *Store
	stop  <-chan struct{}  // closed when the server is stopping; ends all delays. nil never stops
	now   func() time.Time // monotonic

	slots   chan struct{} // one for each derivation that may run
	key     []byte        // of the MACs in memory
	seed    maphash.Seed  // of what failures count against
	began   time.Time
	turns   [64]sync.Mutex         // equal guesses take turns, so that five connections at once pay once
	derived atomic.Int64           // derivations so far
	mu      sync.Mutex             // all below
	good    map[[32]byte]time.Time // successful logins, until when
	limits  *loginLimits
	places  map[string][]netip.Prefix // by name: where it was logged in to, the last used last
	params  *scramParams
}

func NewAuth(cfg *Config, store *Store) *Auth {
	a := &Auth{cfg: cfg, store: store, now: time.Now, slots: make(chan struct{}, checksAtOnce), key: make([]byte, 32),
		good: map[[32]byte]time.Time{}, limits: newLoginLimits(), places: map[string][]netip.Prefix{}, seed: maphash.MakeSeed(), began: time.Now()}
	rand.Read(a.key)
	return a
}

// Password checks a name (an address, or the local part of one in the first domain) and a password, the user's own or
// one for a device, for the mail protocols. It may take some seconds: failures are answered ever more slowly. ErrAuth,
// ErrAuthRate, or what the store says.
func (a *Auth) Password(from netip.Addr, name, password string) (User, error) {
	return a.login(loginOrigin{addr: from}, name, password, false)
}

// PagePassword does the same for the web pages: they take the user's own password and nothing else, and ask for the
// second factor themselves. They call beenHere once the person is in.
func (a *Auth) PagePassword(origin loginOrigin, name, password string) (User, error) {
	return a.login(origin, name, password, true)
}

func (a *Auth) login(origin loginOrigin, name, password string, page bool) (User, error) {
	if err := a.store.Unreadable(); err != nil { // nobody shall be told that a password is wrong
		return User{}, err
	}
	u, known, err := a.user(name, page)
	if err != nil {
		return User{}, err
	}
	if known && !page { // it can't be guessed, so nobody is in its way
		app, err := a.appPassword(u, password)
		if err != nil {
			return User{}, err
		}
		if app != 0 {
			u.App = app
			a.beenHere(origin, u.Name)
			return u, nil
		}
	}
	password = saslPrep(password)
	guess := a.mac(u, password)
	t := a.newTry(origin, name, true)
	ok, err := a.check(t, u, password, guess)
	if password == "" {
		guess = [32]byte{} // not even a guess
	}
	switch over := a.over(t) > 0; {
	case err != nil:
		return User{}, err
	case ok && known:
		if !page { // on the pages a second factor may still be asked for
			a.beenHere(origin, u.Name)
		}
		return u, nil
	case over:
		a.failed(t, binary.BigEndian.Uint64(guess[:]))
		return User{}, authError(name, ErrAuthRate)
	}
	a.failed(t, binary.BigEndian.Uint64(guess[:]))
	return User{}, authError(name, ErrAuth)
}

// authError wraps the name that was tried around what came of it.
func authError(name string, err error) error {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return fmt.Errorf("login as %q: %w", name, err)
}

// user finds who may log in under a name. For everybody else it returns a user with a secret that nothing matches and
// that costs as much to check, and so it does for users with a second factor unless page is true: mail programs can't
// show a code, so theirs are the app passwords.
func (a *Auth) user(name string, page bool) (User, bool, error) {
	p, err := a.parameters()
	if err != nil {
		return User{}, false, err
	}
	key, ok := a.loginKey(name)
	nobody := User{Name: key, Secret: p.fake(key)}
	if !ok {
		return nobody, false, nil
	}
	second := false
	u, err := read(a.store, func(tx *Tx) (User, error) {
		u, err := tx.UserByName(key)
		if err == nil && !page {
			second, err = tx.HasPreference(u.ID, PrefTOTP)
		}
		return u, err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return nobody, false, nil
	case err != nil:
		return User{}, false, fmt.Errorf("look up user: %w", err)
	case u.Disabled || u.Secret == "":
		return nobody, false, nil
	case second:
		u.Secret = nobody.Secret
	}
	return u, true, nil
}

// loginKey is the address that a login name stands for, as Addr.Key.
func (a *Auth) loginKey(name string) (string, bool) {
	name = strings.TrimSpace(name)
	if !strings.Contains(name, "@") {
		name += "@" + a.cfg.DomainsNow()[0]
	}
	addr, err := ParseAddr(name)
	if err != nil {
		return strings.ToLower(name), false
	}
	if ip, literal := addr.IP(); literal && isOwnAddress(ip) { // as some programs fill it in: user@[192.168.1.5]
		addr.Domain = a.cfg.DomainsNow()[0]
	}
	return addr.Key(), true
}

// isOwnAddress says whether one of the machine's interfaces has the address.
func isOwnAddress(ip netip.Addr) bool {
	all, _ := net.InterfaceAddrs() // without them nothing is
	for _, x := range all {
		p, err := netip.ParsePrefix(x.String())
		if err == nil && p.Addr().Unmap() == ip.Unmap() {
			return true
		}
	}
	return false
}

// check compares a prepared password, whose mac is guess, with a user's secret. A try over its limits waits for its turn among
// the slow ones; whether it is over is asked for again when it is our turn to derive, since many guesses may have been waiting
// side by side.
func (a *Auth) check(t *loginTry, u User, password string, guess [32]byte) (bool, error) {
	if a.remembered(guess) {
		return true, nil
	}
	ok, over, err := false, a.over(t) > 0, error(nil)
	if !over {
		ok, over, err = a.derive(t, u, password, guess)
	}
	if !over || err != nil {
		return ok, err
	}
	done, err := a.slowly(t)
	if err != nil {
		return false, err
	}
	defer done()
	ok, _, err = a.derive(nil, u, password, guess)
	return ok, err
}

// derive does the expensive part of check. It returns true for over, and has done nothing, if t is over its limits by now.
func (a *Auth) derive(t *loginTry, u User, password string, guess [32]byte) (ok, over bool, err error) {
	turn := &a.turns[guess[0]%byte(len(a.turns))]
	turn.Lock()
	defer turn.Unlock()
	if a.remembered(guess) {
		return true, false, nil
	}
	a.slots <- struct{}{}
	defer func() { <-a.slots }()
	if t != nil && a.over(t) > 0 {
		return false, true, nil
	}
	s, err := parseSecret(u.Secret)
	if err != nil {
		return false, false, fmt.Errorf("secret of user %d: %w", u.ID, err)
	}
	a.derived.Add(1)
	stored, _, err := deriveKeys(password, s.salt, s.iterations)
	if err != nil {
		return false, false, err
	}
	if subtle.ConstantTimeCompare(stored, s.stored) == 1 {
		a.remember(guess)
		return true, false, nil
	}
	return false, false, nil
}

// mac names a guess in memory, bound to the user and to the secret that is stored now.
func (a *Auth) mac(u User, password string) [32]byte {
	h := hmac.New(sha256.New, a.key)
	fmt.Fprintf(h, "%d %q %q %q", u.ID, u.Name, u.Secret, password)
	return [32]byte(h.Sum(nil))
}

func (a *Auth) remembered(key [32]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.good[key]
	return ok && a.now().Before(until)
}

func (a *Auth) remember(key [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if len(a.good) >= rememberMax {
		var oldest [32]byte
		for k, until := range a.good {
			if !until.After(now) {
				delete(a.good, k)
			} else if t, ok := a.good[oldest]; !ok || until.Before(t) {
				oldest = k
			}
		}
		if len(a.good) >= rememberMax {
			delete(a.good, oldest)
		}
	}
	a.good[key] = now.Add(rememberFor)
}
