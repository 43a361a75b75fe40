// Places: where people have logged in before. What others do elsewhere does not hold them up there.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
)

const maxPlaces = 32 // networks remembered for one account; beyond, the one that was not used for longest goes

// beenHere notes that somebody has logged in completely, by the name as in Auth.loginKey. Only people who are here have places, so
// strangers can't fill the memory.
func (a *Auth) beenHere(origin loginOrigin, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.DeleteFunc(a.places[name], func(p netip.Prefix) bool { return p == origin.place() })
	if len(all) >= maxPlaces {
		all = all[1:]
	}
	a.places[name] = append(all, origin.place())
}

// wasHere says whether the account was logged in to from this network since the start, or ever with this browser.
func (a *Auth) wasHere(origin loginOrigin, name string) bool {
	if a.browserIs(origin.browser, name) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.places[name], origin.place())
}

// browserProof makes what a browser keeps to show later that somebody has logged in with it. It opens nothing.
func (a *Auth) browserProof(name string) (string, error) {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	text := base64.RawURLEncoding.EncodeToString(nonce)
	mac, err := a.browserMAC(name, text)
	return text + "." + mac, err
}

func (a *Auth) browserIs(proof, name string) bool {
	nonce, mac, ok := strings.Cut(proof, ".")
	if !ok {
		return false
	}
	want, err := a.browserMAC(name, nonce)
	return err == nil && hmac.Equal([]byte(mac), []byte(want))
}

func (a *Auth) browserMAC(name, nonce string) (string, error) {
	p, err := a.parameters()
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(hmacSHA256(p.key, "browser "+nonce+" "+name)[:18]), nil
}
