package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
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
	stopped := make(chan struct{})
	close(stopped) // no delays
	a.stop = stopped
	now := time.Now()
	a.now = func() time.Time { return now }
	return a, &now
}

var testFrom = netip.MustParseAddr("192.0.2.7")

// scramClient answers as a client of SCRAM would, for tests.
type scramClient struct {
	gs2, name, nonce, password string
	binding                    []byte
	first, server              string
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
