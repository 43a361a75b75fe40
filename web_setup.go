// The first user: set-up with a code that the console shows.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
)

const (
	webSettingSetup = "setup"   // the last code that was printed, as webSetupCode
	webSetupTime    = time.Hour // for a code to be used
)

// webSetupCode is a code that opens the set-up page once. One of the first start is void as soon as there is a user: it stands
// in a log that others may read.
type webSetupCode struct {
	Hash  []byte    `json:"hash"`
	Made  time.Time `json:"made"`
	First bool      `json:"first,omitempty"` // there was no user then

	// On a board that starts without a clock the hour must not end when the clock is set. Run is then the process that made the
	// code, and Jumped what its clock had jumped by then.
	Run    int           `json:"run,omitempty"`
	Jumped time.Duration `json:"jumped,omitempty"`
}

// webSetupRun is this process, if the clock can't be trusted; else 0.
func webSetupRun(st *Store) int {
	if st.ClockTrusted() {
		return 0
	}
	return os.Getpid()
}

// webSetupOpen returns the code that is good now. ErrNotFound: there is none.
func webSetupOpen(tx *Tx) (webSetupCode, error) {
	var c webSetupCode
	b, err := tx.Setting(webSettingSetup)
	if err != nil {
		return c, err
	}
	if json.Unmarshal(b, &c) != nil {
		return c, ErrNotFound // of an earlier version
	}
	age := tx.s.Now().Sub(c.Made)
	if c.Run == os.Getpid() {
		age -= tx.s.Jumped() - c.Jumped
	}
	if age < -clockStep || age > webSetupTime {
		return c, ErrNotFound
	}
	if !c.First {
		return c, nil
	}
	users, err := tx.Users()
	if err == nil && len(users) > 0 {
		err = ErrNotFound
	}
	return c, err
}

// webSetupLinks makes a fresh one-time link to the set-up page and voids the one before: by the machine's name, and by its
// addresses for networks where the name is not known. Its token is in the fragment, which browsers never send to a server
// or write into a log.
func webSetupLinks(cfg *Config, st *Store) ([]string, error) {
	var links []string
	raw := make([]byte, 10)
	rand.Read(raw)
	code := base32.StdEncoding.EncodeToString(raw)
	code = code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:]
	err := st.Write(func(tx *Tx) error {
		users, err := tx.Users()
		if err != nil {
			return err
		}
		b, err := json.Marshal(webSetupCode{Hash: webHash(code), First: len(users) == 0, Made: st.Now(), Run: webSetupRun(st), Jumped: st.Jumped()})
		if err != nil {
			return err
		}
		return tx.SetSetting(webSettingSetup, b)
	})
	if err != nil {
		return nil, err
	}
	for _, site := range webSiteAddresses(cfg, webOwnAddresses()) {
		links = append(links, site+"/setup#"+code)
	}
	return links, nil
}

// webOwnAddresses are the addresses by which others in the house reach this machine, a few at most.
func webOwnAddresses() []netip.Addr {
	var all []netip.Addr
	list, _ := net.InterfaceAddrs() // without them there is the name
	for _, x := range list {
		p, err := netip.ParsePrefix(x.String())
		if a := p.Addr().Unmap(); err == nil && a.IsPrivate() && a.Is4() && len(all) < webMaxAddresses {
			all = append(all, a)
		}
	}
	return all
}

// webSiteAddresses are the site's addresses by the machine's name and by number: https if it is served, because the first thing
// that is typed there is a password. The browser warns as long as it does not know the private CA.
func webSiteAddresses(cfg *Config, own []netip.Addr) []string {
	for _, try := range []struct {
		scheme, usual string
		listen        []string
	}{{"https", "443", cfg.Listen.HTTPS}, {"http", "80", cfg.Listen.HTTP}} {
		for _, l := range try.listen {
			host, port, err := net.SplitHostPort(l)
			if err != nil {
				continue
			}
			names := []string{cfg.Hostname}
			if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
				names = []string{a.String()}
			} else {
				for _, a := range own {
					names = append(names, a.String())
				}
			}
			for i, name := range names {
				names[i] = try.scheme + "://" + net.JoinHostPort(name, port)
				if port == try.usual && !strings.Contains(name, ":") {
					names[i] = try.scheme + "://" + name
				}
			}
			return names
		}
	}
	return []string{"http://" + cfg.Hostname}
}

// webSetupPage is the first page that anybody sees.
type webSetupPage struct {
	Name, Domain, Code string
	Shown              string // the name that letters carry
	Domains            []string
	Error              string
	HTTPS              string
	Others             bool // there are users already
}

func (q *webReq) setupPage() (webSetupPage, error) {
	p := webSetupPage{Domain: q.s.cfg.DomainsNow()[0], Domains: q.s.cfg.DomainsNow()}
	err := q.s.store.Read(func(tx *Tx) error {
		users, err := tx.Users()
		p.Others = len(users) > 0
		if err == nil {
			_, err = webSetupOpen(tx)
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = webFault(http.StatusNotFound, "This link has been used or is old. The command postino setup-link prints another one.")
	}
	if !q.secure() {
		p.HTTPS = q.secureAddress("/setup")
	}
	return p, err
}

// getSetup is there only while there is a link that nobody has used. Where a password may not go in clear it leads to https; the
// browser takes the code behind the # along.
func (q *webReq) getSetup() error {
	p, err := q.setupPage()
	if err != nil {
		return err
	}
	if q.leadsToSecure() {
		return q.redirect(p.HTTPS)
	}
	if !q.setupAllowed() {
		return webFault(http.StatusForbidden, "For the first start, open this page from the same network, or over https.")
	}
	return q.page("setup", "Set up your mail", p)
}

// leadsToSecure says whether this connection is no place for a password and there is a better one.
func (q *webReq) leadsToSecure() bool { return !q.mayLogIn() && q.secureAddress("/") != "-" }

// setupAllowed keeps the first password off plain connections that leave the house.
func (q *webReq) setupAllowed() bool {
	return q.secure() || q.remote.IsPrivate() || q.remote.IsLoopback() || q.remote.IsLinkLocalUnicast()
}

func (q *webReq) postSetup() error {
	p, err := q.setupPage()
	if err != nil {
		return err
	}
	if q.leadsToSecure() { // the password was sent in clear, so it is none
		return q.redirect(p.HTTPS)
	}
	f := q.r.PostForm
	p.Shown = webClean(f.Get("shown"))
	p.Name, p.Code = strings.TrimSpace(f.Get("name")), strings.ToUpper(strings.TrimSpace(f.Get("code")))
	if d := f.Get("domain"); q.s.cfg.Local(d) {
		p.Domain = d
	}
	again := func(status int, text string) error {
		p.Error = text
		return q.status(status, "setup", "Set up your mail", p)
	}
	local, _, _ := strings.Cut(p.Name, "@")
	addr, err := ParseAddr(local + "@" + p.Domain)
	switch {
	case !q.setupAllowed():
		return webFault(http.StatusForbidden, "For the first start, open this page from the same network, or over https.")
	case err != nil || local == "":
		return again(http.StatusBadRequest, "This name can't be used in an address. Use letters, digits, dots and dashes.")
	case PasswordFault(f.Get("password"), addr, passwordLeast) != "":
		return again(http.StatusBadRequest, PasswordFault(f.Get("password"), addr, passwordLeast))
	case f.Get("password") != f.Get("again"):
		return again(http.StatusBadRequest, "The two passwords are not the same.")
	}
	var u User
	err = q.s.auth.Guess(loginOrigin{addr: q.remote}, "", func() (bool, error) {
		u, err = q.claim(&p, addr, f.Get("password"))
		if errors.Is(err, ErrAuth) {
			return false, nil
		}
		return true, err
	})
	switch {
	case errors.Is(err, ErrAuthRate):
		return again(http.StatusTooManyRequests, "Too many failed logins. Wait a minute and try again.")
	case errors.Is(err, ErrAuth):
		return again(http.StatusForbidden, "The code is wrong. It is in the link that the server has printed.")
	case err != nil:
		return err
	}
	q.log.Info("set-up done", "user", u.Name, "remote", q.remote)
	return q.logIn(u, "/welcome", false)
}

// claim makes the administrator, if the code is right. Only one of several that come at the same time finds it. If the
// address is a user's already, somebody with access to the machine has asked for a new link to get in again.
func (q *webReq) claim(p *webSetupPage, addr Addr, password string) (User, error) {
	var u User
	code := strings.Map(func(r rune) rune {
		if (r >= 'A' && r <= 'Z') || (r >= '2' && r <= '7') {
			return r
		}
		return -1
	}, p.Code)
	if len(code) != 16 {
		return u, ErrAuth
	}
	sum := webHash(code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:])
	check := func(tx *Tx) error {
		have, err := webSetupOpen(tx)
		if errors.Is(err, ErrNotFound) || (err == nil && !hmac.Equal(have.Hash, sum)) {
			return ErrAuth
		}
		return err
	}
	if err := q.s.store.Read(check); err != nil { // before the work of deriving a secret
		return u, err
	}
	secret, err := q.s.auth.Secret(password)
	if err != nil {
		return u, err
	}
	err = q.s.store.Write(func(tx *Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		if err := tx.SetSetting(webSettingSetup, nil); err != nil {
			return err
		}
		u, err = tx.UserByName(addr.Key())
		if errors.Is(err, ErrNotFound) {
			u, err = tx.AddUser(addr, secret, true)
			if err != nil {
				return err
			}
			return webNameUser(tx, u, p.Shown)
		}
		if err != nil {
			return err
		}
		u.Secret, u.Admin, u.Disabled = secret, true, false
		if err := tx.SetPreference(u.ID, PrefTOTP, nil); err != nil { // it may be the second factor that was lost
			return err
		}
		if err := tx.UpdateUser(u); err != nil {
			return err
		}
		return endLogins(tx, u.ID, EndReset, nil)
	})
	if err != nil {
		return u, fmt.Errorf("set up %s: %w", addr, err)
	}
	return u, nil
}
