package main

import (
	"bufio"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testAuth is an Auth on a file of its own with the users ann and bob, and a clock that the test moves.
func testAuth(tb testing.TB) (*Auth, *time.Time) {
	tb.Helper()
	cfg, err := parseConfig(`hostname = "mx.home.arpa"`)
	if err != nil {
		tb.Fatal(err)
	}
	st, err := OpenStore(filepath.Join(tb.TempDir(), "mail.db"), StoreOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { st.Close() })
	err = st.Write(func(tx *Tx) error {
		for _, name := range []string{"ann", "bob"} {
			if _, err := tx.AddUser(Addr{name, "home.arpa"}, testSecret(), false); err != nil {
				return err
			}
		}
		return tx.SetSetting(settingIterations, []byte("4096"))
	})
	if err != nil {
		tb.Fatal(err)
	}
	a := NewAuth(cfg, st)
	a.stop = noDelay()
	now := time.Now()
	a.now = func() time.Time { return now }
	return a, &now
}

// noDelay is for Auth.stop: failures are answered at once.
func noDelay() <-chan struct{} {
	stopped := make(chan struct{})
	close(stopped)
	return stopped
}

var testFrom = netip.MustParseAddr("192.0.2.7")

// scramClient answers as a client of SCRAM would, for tests.
type scramClient struct {
	gs2, name, nonce, password string
	binding                    []byte
	first                      string
	want                       string // server signature, in base64
}

func (c *scramClient) firstMessage() string {
	c.first = "n=" + c.name + ",r=" + c.nonce
	return c.gs2 + c.first
}

func (c *scramClient) finalMessage(challenge string) (string, error) {
	var iterations int
	f := strings.SplitN(challenge, ",", 3)
	if len(f) != 3 || !strings.HasPrefix(f[0], "r="+c.nonce) {
		return "", fmt.Errorf("challenge %q", challenge)
	}
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f[1], "s="))
	if _, serr := fmt.Sscanf(f[2], "i=%d", &iterations); err != nil || serr != nil {
		return "", fmt.Errorf("challenge %q", challenge)
	}
	salted, err := pbkdf2.Key(sha256.New, saslPrep(c.password), salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	bare := "c=" + base64.StdEncoding.EncodeToString(append([]byte(c.gs2), c.binding...)) + "," + f[0]
	message := c.first + "," + challenge + "," + bare
	clientKey := hmacSHA256(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := hmacSHA256(stored[:], message)
	subtle.XORBytes(proof, proof, clientKey)
	c.want = "v=" + base64.StdEncoding.EncodeToString(hmacSHA256(hmacSHA256(salted, "Server Key"), message))
	return bare + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// login runs the exchange against a.
func (c *scramClient) login(a *Auth, from loginFrom, mech string) (User, error) {
	step := 0
	return a.Login(from, mech, "", func(challenge string) (string, error) {
		text, _ := base64.StdEncoding.DecodeString(challenge)
		answer := ""
		var err error
		switch step++; step {
		case 1:
			answer = c.firstMessage()
		case 2:
			answer, err = c.finalMessage(string(text))
		case 3:
			if string(text) != c.want {
				err = fmt.Errorf("server says %q and not %q", text, c.want)
			}
		}
		return base64.StdEncoding.EncodeToString([]byte(answer)), err
	})
}

// TestSCRAMExample is the exchange of RFC 7677 §3.
func TestSCRAMExample(t *testing.T) {
	a, _ := testAuth(t)
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	stored, server, err := deriveKeys("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	err = a.store.Write(func(tx *Tx) error {
		_, err := tx.AddUser(Addr{"user", "home.arpa"}, scramSecret{4096, salt, stored, server}.String(), false)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	x, _, err := a.begin(loginFrom{addr: testFrom}, "scram-sha-256")
	if err != nil {
		t.Fatal(err)
	}
	x.serverNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	for i, step := range []struct{ client, server string }{
		{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"},
		{"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		{"", ""},
	} {
		challenge, done, err := x.next([]byte(step.client))
		if err != nil || string(challenge) != step.server || done != (i == 2) {
			t.Fatalf("step %d: %q, %v, %v", i, challenge, done, err)
		}
	}
	if x.user.Name != "user@home.arpa" {
		t.Errorf("logged in as %q", x.user.Name)
	}
}

// TestMechanisms runs exchanges of PLAIN and LOGIN as clients speak them, good and bad. The lines of the client are
// joined by "|", in the clear here; "!" is sent as it is.
func TestMechanisms(t *testing.T) {
	a, _ := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 1000, 1000
	smtp := loginFrom{addr: testFrom, plain: true, login: true}
	pop := loginFrom{addr: testFrom, plain: true}
	clear := loginFrom{addr: testFrom, login: true}
	for _, c := range []struct {
		from          loginFrom
		mech, initial string
		lines         string
		asked         string // the challenges
		want          error
	}{
		{pop, "PLAIN", "\x00ann\x00secret", "", "", nil},
		{pop, "plain", "", "\x00ann@home.arpa\x00secret", "", nil},
		{pop, "PLAIN", "ann\x00ann\x00secret", "", "", nil},
		{pop, "PLAIN", "ANN@home.arpa\x00ann\x00secret", "", "", nil},
		{pop, "PLAIN", "\x00Ann@HOME.arpa\x00secret", "", "", nil},
		{pop, "PLAIN", "bob\x00ann\x00secret", "", "", ErrAuth},
		{pop, "PLAIN", "\x00ann\x00Secret", "", "", ErrAuth},
		{pop, "PLAIN", "\x00ann\x00", "", "", ErrAuth},
		{pop, "PLAIN", "\x00ann+x@home.arpa\x00secret", "", "", ErrAuth},
		{pop, "PLAIN", "\x00ann@elsewhere.arpa\x00secret", "", "", ErrAuth},
		{pop, "PLAIN", "\x00@@\x00secret", "", "", ErrAuth},
		{pop, "PLAIN", "\x00\x00secret", "", "", ErrAuthSyntax},
		{pop, "PLAIN", "ann\x00secret", "", "", ErrAuthSyntax},
		{pop, "PLAIN", "\x00ann\x00secret\x00", "", "", ErrAuthSyntax},
		{pop, "PLAIN", "!=", "", "", ErrAuthSyntax},
		{pop, "PLAIN", "!???", "", "", ErrAuthSyntax},
		{pop, "PLAIN", "", "!*", "", ErrAuthCancelled},
		{pop, "LOGIN", "", "", "", ErrMechanism},
		{smtp, "LOGIN", "", "ann|secret", "Username:|Password:", nil},
		{smtp, "login", "ann", "secret", "Password:", nil},
		{smtp, "LOGIN", "ann", "wrong", "Password:", ErrAuth},
		{smtp, "LOGIN", "ann", "!*", "Password:", ErrAuthCancelled},
		{clear, "PLAIN", "\x00ann\x00secret", "", "", ErrAuthPrivacy},
		{clear, "LOGIN", "", "", "", ErrAuthPrivacy},
		{pop, "SCRAM-SHA-256-PLUS", "", "", "", ErrMechanism},
		{pop, "SCRAM-SHA-1", "", "", "", ErrMechanism},
		{pop, "", "", "", "", ErrMechanism},
		{pop, "SCRAM-SHA-256", "n,a=bob,n=ann,r=x", "", "", ErrAuth},
		{pop, "SCRAM-SHA-256", "n,,n=a=2dnn,r=x", "", "", ErrAuthSyntax},
		{pop, "SCRAM-SHA-256", "n,,n=,r=x", "", "", ErrAuthSyntax},
		{pop, "SCRAM-SHA-256", "n,,n=ann,r=", "", "", ErrAuthSyntax},
		{pop, "SCRAM-SHA-256", "n,x=1,n=ann,r=x", "", "", ErrAuthSyntax},
		{pop, "SCRAM-SHA-256", "x", "", "", ErrAuthSyntax},
	} {
		encode := func(s string) string {
			if raw, ok := strings.CutPrefix(s, "!"); ok || s == "" {
				return raw
			}
			return base64.StdEncoding.EncodeToString([]byte(s))
		}
		lines := strings.Split(c.lines, "|")
		var asked []string
		u, err := a.Login(c.from, c.mech, encode(c.initial), func(challenge string) (string, error) {
			text, _ := base64.StdEncoding.DecodeString(challenge)
			asked = append(asked, string(text))
			if len(asked) > len(lines) {
				return "", io.EOF
			}
			return encode(lines[len(asked)-1]), nil
		})
		if !errors.Is(err, c.want) || (err == nil) != (u.Name == "ann@home.arpa") || strings.Join(asked, "|") != c.asked {
			t.Errorf("%s %q %q: %v, user %q, asked %q", c.mech, c.initial, c.lines, err, u.Name, asked)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %q: the error has the password: %v", c.mech, c.initial, err)
		}
	}
}

// TestSCRAM runs whole exchanges: names, bindings and what is refused.
func TestSCRAM(t *testing.T) {
	a, _ := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 1000, 1000
	binding := []byte("0123456789abcdef0123456789abcdef")
	plain, bound := loginFrom{addr: testFrom}, loginFrom{addr: testFrom, binding: binding}
	for _, c := range []struct {
		what string
		from loginFrom
		mech string
		c    scramClient
		want error
	}{
		{"plain", plain, mechScram, scramClient{gs2: "n,,", name: "ann", password: "secret"}, nil},
		{"address", plain, mechScram, scramClient{gs2: "n,,", name: "ann@home.arpa", password: "secret"}, nil},
		{"for oneself", plain, mechScram, scramClient{gs2: "n,a=ann@home.arpa,", name: "ann", password: "secret"}, nil},
		{"could bind", plain, mechScram, scramClient{gs2: "y,,", name: "ann", password: "secret"}, nil},
		{"won't bind", bound, mechScram, scramClient{gs2: "n,,", name: "ann", password: "secret"}, nil},
		{"bound", bound, mechScramPlus, scramClient{gs2: "p=tls-exporter,,", name: "ann", password: "secret", binding: binding}, nil},
		{"wrong password", plain, mechScram, scramClient{gs2: "n,,", name: "ann", password: "secrets"}, ErrAuth},
		{"bob's", plain, mechScram, scramClient{gs2: "n,,", name: "nobody", password: "secret"}, ErrAuth},
		{"escaped name", plain, mechScram, scramClient{gs2: "n,,", name: "a=2Cb=3Dc", password: "secret"}, ErrAuth},
		{"the mechanism was taken out of the list", bound, mechScram, scramClient{gs2: "y,,", name: "ann", password: "secret"}, ErrAuthSyntax},
		{"bound to another connection", bound, mechScramPlus, scramClient{gs2: "p=tls-exporter,,", name: "ann", password: "secret", binding: []byte("another")}, ErrAuth},
		{"not bound", bound, mechScramPlus, scramClient{gs2: "n,,", name: "ann", password: "secret"}, ErrAuthSyntax},
		{"another binding", bound, mechScramPlus, scramClient{gs2: "p=tls-unique,,", name: "ann", password: "secret", binding: binding}, ErrAuthSyntax},
		{"PLUS without", bound, mechScram, scramClient{gs2: "p=tls-exporter,,", name: "ann", password: "secret", binding: binding}, ErrAuthSyntax},
	} {
		c.c.nonce = "fyko+d2lbbFgONRv9qkxdawL"
		u, err := c.c.login(a, c.from, c.mech)
		if !errors.Is(err, c.want) || (err == nil) != (u.Name == "ann@home.arpa") {
			t.Errorf("%s: %v, user %q", c.what, err, u.Name)
		}
	}
}

// TestUnknownName checks that nothing tells an unknown name from a wrong password: the cost, the words, the salt.
func TestUnknownName(t *testing.T) {
	a, _ := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 1000, 1000
	err := a.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName("bob@home.arpa")
		if err != nil {
			return err
		}
		u.Disabled = true
		if _, err := tx.AddUser(Addr{"robot", "home.arpa"}, "", false); err != nil {
			return err
		}
		return tx.UpdateUser(u)
	})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"ann", "bob", "robot", "ghost", "ann@elsewhere.example", "@", "", strings.Repeat("x", 300)}
	for _, name := range names {
		before := a.derived.Load()
		if _, err := a.Password(testFrom, name, "wrong"); !errors.Is(err, ErrAuth) || err.Error() != authError(name, ErrAuth).Error() {
			t.Errorf("%q: %v", name, err)
		}
		if n := a.derived.Load() - before; n != 1 {
			t.Errorf("%q costs %d derivations", name, n)
		}
	}
	restarted := NewAuth(a.cfg, a.store)
	for _, name := range names[1:6] {
		var first string
		for _, auth := range []*Auth{a, a, restarted} {
			x, _, err := auth.begin(loginFrom{addr: testFrom}, mechScram)
			if err != nil {
				t.Fatal(err)
			}
			x.serverNonce = "nonce"
			challenge, _, err := x.next([]byte("n,,n=" + name + ",r=x"))
			if err != nil || !strings.HasSuffix(string(challenge), ",i=4096") {
				t.Errorf("%q: %q, %v", name, challenge, err)
			}
			if first == "" {
				first = string(challenge)
			} else if string(challenge) != first {
				t.Errorf("%q: first %q and then %q", name, first, challenge)
			}
		}
	}
}

// TestRemembered checks the memory of successful logins: what it saves, how long, and what voids it.
func TestRemembered(t *testing.T) {
	a, now := testAuth(t)
	cost := func(what string, want int64, name, password string, ok bool) {
		t.Helper()
		before := a.derived.Load()
		if _, err := a.Password(testFrom, name, password); (err == nil) != ok {
			t.Errorf("%s: %v", what, err)
		}
		if n := a.derived.Load() - before; n != want {
			t.Errorf("%s: %d derivations", what, n)
		}
	}
	cost("first", 1, "ann", "secret", true)
	cost("again", 0, "ann", "secret", true)
	cost("by address", 0, "ANN@home.arpa", "secret", true)
	cost("wrong", 1, "ann", "Secret", false)
	cost("somebody else with the same password", 1, "bob", "secret", true)
	*now = now.Add(rememberFor - 1)
	cost("nine minutes later", 0, "ann", "secret", true)
	*now = now.Add(1)
	cost("ten minutes later", 1, "ann", "secret", true)
	secret, err := a.Secret("other")
	if err != nil {
		t.Fatal(err)
	}
	change := func(fn func(*User)) {
		t.Helper()
		err := a.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			fn(&u)
			return tx.UpdateUser(u)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(func(u *User) { u.Secret = secret })
	cost("the old password", 1, "ann", "secret", false)
	cost("the new password", 1, "ann", "other", true)
	change(func(u *User) { u.Disabled = true })
	cost("disabled", 1, "ann", "other", false)

	for i := range 3 * rememberMax {
		*now = now.Add(time.Millisecond)
		a.remember([32]byte{byte(i), byte(i >> 8)})
	}
	if len(a.good) > rememberMax {
		t.Errorf("%d logins in memory", len(a.good))
	}
	if last := 3*rememberMax - 1; !a.remembered([32]byte{byte(last), byte(last >> 8)}) || a.remembered([32]byte{}) {
		t.Error("not the oldest are forgotten")
	}
}

// TestLoginsAtOnce checks that a client which opens five connections pays once, that a user's session is never
// another's, and that no more derivations run side by side than may.
func TestLoginsAtOnce(t *testing.T) {
	a, _ := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 1000, 1000
	var wg sync.WaitGroup
	for range 5 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := a.Password(testFrom, "ann", "secret"); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if n := a.derived.Load(); n != 1 {
		t.Errorf("five connections cost %d derivations", n)
	}
	for i := range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name, password := []string{"ann", "bob"}[i%2], []string{"secret", "wrong"}[i/2%2]
			u, err := a.Password(testFrom, name, password)
			if (err == nil) != (password == "secret") || err == nil && u.Name != name+"@home.arpa" {
				t.Errorf("%s with %q: %q, %v", name, password, u.Name, err)
			}
		}()
	}
	wg.Wait()

	for range checksAtOnce {
		a.slots <- struct{}{}
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.Password(testFrom, "bob", "another")
		done <- err
	}()
	select {
	case <-done:
		t.Error("a derivation more than may run side by side")
	case <-time.After(50 * time.Millisecond):
	}
	<-a.slots
	if err := <-done; !errors.Is(err, ErrAuth) {
		t.Error(err)
	}
}

// TestFailureLimits checks what failed logins lead to: wrong passwords from over a limit are told to wait, the right one is taken.
func TestFailureLimits(t *testing.T) {
	a, now := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 3, 7
	n := 0
	try := func(what, from, password string, want error) {
		t.Helper()
		if password == "" {
			n++
			password = fmt.Sprint("guess ", n)
		}
		if _, err := a.Password(netip.MustParseAddr(from), "ann", password); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range 3 {
		try("guess", "192.0.2.7", "", ErrAuth)
	}
	try("the fourth in a minute", "192.0.2.7", "", ErrAuthRate)
	try("IPv4 in IPv6", "::ffff:192.0.2.7", "", ErrAuthRate)
	try("from elsewhere", "192.0.2.8", "", ErrAuth)
	c := scramClient{gs2: "n,,", name: "ann", password: "wrong", nonce: "x"}
	if _, err := c.login(a, loginFrom{addr: netip.MustParseAddr("192.0.2.7")}, mechScram); !errors.Is(err, ErrAuthRate) {
		t.Errorf("by SCRAM: %v", err)
	}
	c.password = "secret"
	if _, err := c.login(a, loginFrom{addr: netip.MustParseAddr("192.0.2.7")}, mechScram); err != nil {
		t.Errorf("the right one by SCRAM: %v", err)
	}
	*now = now.Add(time.Minute)
	for range 3 {
		try("guess", "192.0.2.17", "", ErrAuth)
	}
	*now = now.Add(time.Minute)
	for range 3 {
		try("guess", "192.0.2.17", "", ErrAuth)
	}
	*now = now.Add(time.Minute)
	try("the seventh today", "192.0.2.17", "", ErrAuth)
	try("the eighth today", "192.0.2.17", "", ErrAuthRate)
	*now = now.Add(23 * time.Hour)
	try("hours later", "192.0.2.17", "", ErrAuthRate)
	try("the right password", "192.0.2.17", "secret", nil)
	*now = now.Add(2 * time.Hour)
	try("tomorrow", "192.0.2.17", "", ErrAuth)

	for i := range 30 { // a phone with an old password
		*now = now.Add(10 * time.Minute)
		try(fmt.Sprint("phone ", i), "192.0.2.9", "old password", ErrAuth)
	}
	for range 2 {
		try("the phone in a hurry", "192.0.2.9", "old password", ErrAuth)
	}
	try("the phone in a hurry", "192.0.2.9", "old password", ErrAuthRate)
	if _, err := a.Password(netip.MustParseAddr("192.0.2.9"), "bob", "wrong"); !errors.Is(err, ErrAuth) {
		t.Errorf("somebody else behind the same router: %v", err)
	}
	*now = now.Add(time.Minute)
	for range 3 {
		if _, err := a.PagePassword(loginOrigin{addr: netip.MustParseAddr("192.0.2.10")}, "", ""); !errors.Is(err, ErrAuth) {
			t.Errorf("neither name nor password: %v", err)
		}
	}
	try("what has no password is never a repetition", "192.0.2.10", "", ErrAuthRate)
	for range 3 {
		try("loopback", "127.0.0.1", "", ErrAuth)
	}
	try("loopback has no privilege", "127.0.0.1", "", ErrAuthRate)
}

// TestNobodyLockedOut: whatever strangers guess, beside a person or all over the world, their right password is taken, and an app
// password too, at once and the next day.
func TestNobodyLockedOut(t *testing.T) {
	for _, place := range []struct{ bad, ann string }{
		{"fe80::bad", "fe80::a11"}, {"2001:db8:1:2::bad", "2001:db8:1:2::a11"}, {"192.0.2.7", "192.0.2.7"}, {"127.0.0.1", "127.0.0.1"},
	} {
		a, now := testAuth(t)
		password, secret := NewAppPassword()
		err := a.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			return tx.AddAppPassword(u.ID, "phone", secret)
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 130 {
			name := []string{"ann", "nobody", fmt.Sprint("x", i)}[i%3]
			a.Password(netip.MustParseAddr(place.bad), name, fmt.Sprint("guess ", i))
		}
		for _, wait := range []time.Duration{0, 5 * time.Minute, 20 * time.Hour} {
			*now = now.Add(wait)
			for _, p := range []string{password, "secret"} {
				if _, err := a.Password(netip.MustParseAddr(place.ann), "ann", p); err != nil {
					t.Errorf("ann at %s, %v after guesses of %s: %v", place.ann, wait, place.bad, err)
				}
			}
		}
	}
}

// TestKnownPlace: where somebody has logged in before, and with that browser, others' failures do not hold them up; their own do.
func TestKnownPlace(t *testing.T) {
	a, _ := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 3, 7
	home, away := loginOrigin{addr: netip.MustParseAddr("2001:db8:1:2::1")}, loginOrigin{addr: netip.MustParseAddr("198.51.100.1")}
	if _, err := a.Password(home.addr, "ann", "secret"); err != nil {
		t.Fatal(err)
	}
	proof, err := a.browserProof("ann@home.arpa")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 { // from everywhere
		a.Password(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), "ann", fmt.Sprint("guess ", i))
	}
	neighbour := loginOrigin{addr: netip.MustParseAddr("2001:db8:1:2:ffff::9")}
	browser := loginOrigin{addr: away.addr, browser: proof}
	for name, c := range map[string]struct {
		origin loginOrigin
		who    string
		over   bool
	}{
		"at home":              {home, "ann", false},
		"in the same /64":      {neighbour, "ann", false},
		"elsewhere":            {away, "ann", true},
		"with her browser":     {browser, "ann", false},
		"bob with her browser": {browser, "bob", false},
		"bob":                  {away, "bob", false},
	} {
		if got := a.over(a.newTry(c.origin, c.who, true)) > 0; got != c.over {
			t.Errorf("%s: over %v", name, got)
		}
	}
	if forged := (loginOrigin{addr: away.addr, browser: "AAAA.AAAA"}); a.over(a.newTry(forged, "ann", true)) == 0 {
		t.Error("a forged browser is known")
	}
	for i := range 4 {
		a.Password(neighbour.addr, "ann", fmt.Sprint("guess at home ", i))
	}
	if a.over(a.newTry(home, "ann", true)) == 0 {
		t.Error("guesses at home do not count")
	}
	if a.over(a.newTry(browser, "ann", true)) != 0 {
		t.Error("guesses at home hold her browser up")
	}
}

// TestFailureMemory: nothing that strangers do makes the counts forget, and nothing takes more memory.
func TestFailureMemory(t *testing.T) {
	a, now := testAuth(t)
	attacker := netip.MustParseAddr("2001:db8:7:7::1")
	for i := range 60 {
		a.count(a.newTry(loginOrigin{addr: attacker}, fmt.Sprint("a", i), true), uint64(i+1))
	}
	for i := range 20_000 { // all the /64s of a /48, and more of other networks
		from := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 14), 7, byte(i >> 8), byte(i), 15: 1})
		a.count(a.newTry(loginOrigin{addr: from}, fmt.Sprint("name", i), true), uint64(i+1000))
		*now = now.Add(time.Millisecond)
	}
	if a.over(a.newTry(loginOrigin{addr: attacker}, "zoe", true)) == 0 {
		t.Error("the first network was forgotten")
	}
	if a.over(a.newTry(loginOrigin{addr: netip.MustParseAddr("2001:db8:7:ffff::5")}, "zoe", true)) == 0 {
		t.Error("the /48 has no limit of its own")
	}
	if a.over(a.newTry(loginOrigin{addr: netip.MustParseAddr("192.0.2.200")}, "zoe", true)) != 0 {
		t.Error("the failures of others fill everybody's counts")
	}
	for i := range 100 {
		a.beenHere(loginOrigin{addr: netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})}, "ann@home.arpa")
	}
	if n := len(a.places["ann@home.arpa"]); n != maxPlaces {
		t.Errorf("%d places", n)
	}
}

// TestSlowLane: logins over their limits are tried one after the other, a few wait, and the others are told to come back.
func TestSlowLane(t *testing.T) {
	a, _ := testAuth(t)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 1, 1
	try := func() *loginTry { return a.newTry(loginOrigin{addr: testFrom}, "ann", true) }
	a.count(try(), 1)
	first, err := a.slowly(try())
	if err != nil {
		t.Fatal(err)
	}
	passed := make(chan func(), slowAtOnce)
	for range slowLane - 1 {
		go func() {
			done, err := a.slowly(try())
			if err != nil {
				t.Error(err)
			}
			passed <- done
		}()
	}
	waiting := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.limits.waiting
	}
	for waiting() < slowLane {
		time.Sleep(time.Millisecond)
	}
	if _, err := a.slowly(try()); !errors.Is(err, ErrAuthRate) {
		t.Errorf("one more than may wait: %v", err)
	}
	if len(passed) != 0 {
		t.Error("two were let through at once")
	}
	first()
	for range slowLane - 1 {
		(<-passed)()
	}
	if waiting() != 0 || len(a.limits.lanes) != 0 || len(a.limits.networks) != 0 {
		t.Errorf("after all: %d wait, %d lanes, %d networks", waiting(), len(a.limits.lanes), len(a.limits.networks))
	}
}

// TestFailureDelay checks that answers come ever later, and that a stopping server does not wait for that.
func TestFailureDelay(t *testing.T) {
	last := time.Duration(0)
	for n := 1; n < 100; n++ {
		d := failureDelay(n)
		if d < last || d > maxDelay || n == 1 && d != firstDelay {
			t.Errorf("failure %d waits %v, the one before %v", n, d, last)
		}
		last = d
	}
	if last != maxDelay {
		t.Errorf("at last %v", last)
	}
	a, _ := testAuth(t)
	a.stop = nil
	start := time.Now()
	if _, err := a.Password(testFrom, "ann", "wrong"); !errors.Is(err, ErrAuth) || time.Since(start) < firstDelay {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	stop := make(chan struct{})
	a.stop = stop
	late := a.newTry(loginOrigin{addr: testFrom}, "ann", true)
	for i := range 9 {
		a.count(late, uint64(i+100))
	}
	time.AfterFunc(20*time.Millisecond, func() { close(stop) })
	waited := maxDelay
	for range 3 { // the machine may have been busy, but not always
		start = time.Now()
		a.failed(late, 1)
		waited = min(waited, time.Since(start))
	}
	if waited > maxDelay/2 {
		t.Errorf("stopped, and waits %v", waited)
	}
}

// TestCalibration checks that the iterations are measured once for each file and stay, and that they fit the machine.
func TestCalibration(t *testing.T) {
	a, _ := testAuth(t)
	err := a.store.Write(func(tx *Tx) error { return tx.SetSetting(settingIterations, nil) })
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.Secret("x")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSecret(first)
	if err != nil || s.iterations < minIterations || s.iterations > maxIterations {
		t.Errorf("%d iterations, %v", s.iterations, err)
	}
	for range 3 {
		p, err := NewAuth(a.cfg, a.store).parameters()
		if err != nil || p.iterations != s.iterations {
			t.Errorf("%d iterations and then %d, %v", s.iterations, p.iterations, err)
		}
	}
	if n := calibrate(); n < minIterations || n > maxIterations {
		t.Errorf("%d iterations", n)
	}
}

func TestSASLPrep(t *testing.T) {
	for _, c := range []struct{ in, want string }{ // the first five are the examples of RFC 4013 §3
		{"I\u00adX", "IX"},
		{"user", "user"},
		{"USER", "USER"},
		{"\u00aa", "a"},
		{"\u2168", "IX"},
		{"pass word", "pass word"},
		{"pass\u00a0word", "pass word"},
		{"pass\u3000word", "pass word"},
		{"\uff11\uff12\uff13\uff41", "123a"},
		{"密码", "密码"},
		{"e\u0301", "\u00e9"},
		{"\u7c73\ufe0f", "\u7c73"},
		{"caf\xe9", "caf\xe9"}, // Latin-1 of an old device is left alone
		{"\x07", "\x07"},
	} {
		if got := saslPrep(c.in); got != c.want {
			t.Errorf("%q becomes %q", c.in, got)
		}
	}
}

func TestSecretForms(t *testing.T) {
	text, err := MakeSecret("pässword", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSecret(text)
	if err != nil || s.String() != text || s.iterations != minIterations || len(s.salt) != 16 {
		t.Errorf("%q: %v, %q", text, err, s)
	}
	if other, _ := MakeSecret("pässword", minIterations); other == text {
		t.Error("the same salt twice")
	}
	if _, err := MakeSecret("", minIterations); err == nil {
		t.Error("an empty password")
	}
	for _, bad := range []string{"", "x", "SCRAM-SHA-256", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:AA==$AA==:AA==", "SCRAM-SHA-256$-1:AA==$AA==:AA==",
		"SCRAM-SHA-256$x:AA==$AA==:AA==", "SCRAM-SHA-256$4096:?$AA==:AA==", "SCRAM-SHA-256$4096:AA==$?:AA==", "SCRAM-SHA-1$4096:AA==$AA==:AA=="} {
		if _, err := parseSecret(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzSASL says anything in any mechanism. Nobody gets in, and an error is one that the protocols know.
func FuzzSASL(f *testing.F) {
	f.Add("PLAIN", "AGFubgB3cm9uZw==", "", "")
	f.Add("LOGIN", "", "YW5u", "d3Jvbmc=")
	f.Add("SCRAM-SHA-256", "biwsbj1hbm4scj1hYmM=", "Yz1iaXdzLHI9YWJjZCxwPUFBQUE=", "")
	f.Add("SCRAM-SHA-256-PLUS", "cD10bHMtZXhwb3J0ZXIsLG49YW5uLHI9YWJj", "*", "=")
	a, now := testAuth(f)
	a.cfg.Limits.LoginsMinute, a.cfg.Limits.LoginsDay = 1<<30, 1<<30
	f.Fuzz(func(t *testing.T, mech, initial, second, third string) {
		*now = now.Add(time.Second)
		lines := []string{second, third}
		u, err := a.Login(loginFrom{addr: testFrom, plain: true, login: true, binding: []byte("x")}, mech, initial, func(string) (string, error) {
			if len(lines) == 0 {
				return "", io.EOF
			}
			line := lines[0]
			lines = lines[1:]
			return line, nil
		})
		if u.ID != 0 || err == nil {
			t.Fatalf("%q %q %q %q: %q got in", mech, initial, second, third, u.Name)
		}
		for _, known := range []error{ErrAuth, ErrAuthSyntax, ErrAuthCancelled, ErrMechanism, io.EOF} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Errorf("%q %q %q %q: %v", mech, initial, second, third, err)
	})
}

// TestSCRAMEverywhere logs in with channel binding over real TLS, by each protocol in its own words, with and without an
// initial response, and fails when the binding is of another connection.
func TestSCRAMEverywhere(t *testing.T) {
	s := startServer(t)
	s.auth.stop = noDelay()
	for _, p := range []struct{ service, hello, command, ask, ok, refused, bye, gone string }{
		{"pop3s", "", "AUTH SCRAM-SHA-256-PLUS", "+ ", "+OK", "-ERR [AUTH]", "QUIT\r\n", "+OK"},
		{"imaps", "", "a AUTHENTICATE SCRAM-SHA-256-PLUS", "+ ", "a OK", "a NO [AUTHENTICATIONFAILED]", "b LOGOUT\r\n", "b OK"},
		{"submissions", "EHLO [127.0.0.1]\r\n", "AUTH SCRAM-SHA-256-PLUS", "334 ", "235", "535", "QUIT\r\n", "221"},
	} {
		for _, initial := range []bool{true, false} {
			for _, bound := range []bool{true, false} {
				tc, err := tls.Dial("tcp", s.addr[p.service], &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				tc.SetDeadline(time.Now().Add(testPatience))
				r := bufio.NewReader(tc)
				read := func(prefix string) string {
					t.Helper()
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							t.Fatalf("%s: %v, waiting for %q", p.service, err, prefix)
						}
						if rest, ok := strings.CutPrefix(line, prefix); ok {
							text, _ := base64.StdEncoding.DecodeString(strings.TrimRight(rest, "\r\n"))
							return string(text)
						}
					}
				}
				st := tc.ConnectionState()
				binding, err := st.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
				if err != nil {
					t.Fatal(err)
				}
				if !bound {
					binding[0] ^= 1
				}
				c := scramClient{gs2: "p=tls-exporter,,", name: "ann", password: "secret", nonce: "fyko", binding: binding}
				first := base64.StdEncoding.EncodeToString([]byte(c.firstMessage()))
				io.WriteString(tc, p.hello)
				if initial {
					fmt.Fprintf(tc, "%s %s\r\n", p.command, first)
				} else {
					fmt.Fprintf(tc, "%s\r\n", p.command)
					read(p.ask)
					fmt.Fprintf(tc, "%s\r\n", first)
				}
				final, err := c.finalMessage(read(p.ask))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(tc, "%s\r\n", base64.StdEncoding.EncodeToString([]byte(final)))
				if !bound {
					read(p.refused)
				} else {
					if got := read(p.ask); got != c.want {
						t.Errorf("%s: the server proves itself with %q and not %q", p.service, got, c.want)
					}
					io.WriteString(tc, "\r\n")
					read(p.ok)
				}
				if io.WriteString(tc, p.bye); bound {
					read(p.gone) // and with it the lock on the maildrop
				}
				tc.Close()
			}
		}
	}
}
