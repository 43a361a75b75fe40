// Who is at the other end: login, second factor, logout, the first start, language and look.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	webMaxSecond    = 200             // logins waiting for a code
	webSecondTime   = 5 * time.Minute // for the code to be typed
	webSecondTries  = 5
	webMinPassword  = 8
	webSettingSetup = "setup" // hash of the set-up link's token; not there when there is no link
	webLookLifetime = 365 * 24 * time.Hour
	webMaxAddresses = 3 // by which the set-up page is offered beside the name
)

func webSessionRoutes() []webRoute {
	return []webRoute{
		{"GET /{$}", webPublic, (*webReq).getHome},
		{"GET /login", webPublic, (*webReq).getLogin},
		{"POST /login", webPublic, (*webReq).postLogin},
		{"POST /login/code", webPublic, (*webReq).postCode},
		{"POST /logout", webUser, (*webReq).postLogout},
		{"POST /look", webPublic, (*webReq).postLook},
		{"GET /setup", webPublic, (*webReq).getSetup},
		{"POST /setup", webPublic, (*webReq).postSetup},
	}
}

// webToken makes 256 random bits as text.
func webToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func webHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// secure says whether the request came over TLS.
func (q *webReq) secure() bool { return q.r.TLS != nil }

// cookieName has the prefix that makes browsers refuse the cookie from anywhere but this host over TLS.
func (q *webReq) cookieName(name string) string {
	if q.secure() {
		return "__Host-postino-" + name
	}
	return "postino-" + name
}

func (q *webReq) cookie(name string) string {
	c, err := q.r.Cookie(q.cookieName(name))
	if err != nil || len(c.Value) > 100 {
		return ""
	}
	return c.Value
}

// setCookie sets a cookie that scripts can't read and other sites can't send. A lifetime of zero is until the browser
// closes, a negative one removes it.
func (q *webReq) setCookie(name, value string, life time.Duration) {
	age := int(life / time.Second)
	if life < 0 {
		age = -1
	}
	http.SetCookie(q.w, &http.Cookie{Name: q.cookieName(name), Value: value, Path: "/", HttpOnly: true, Secure: q.secure(),
		SameSite: http.SameSiteStrictMode, MaxAge: age})
}

// findSession looks the browser's session up. A browser without one gets a token of its own, so that forms before login
// are protected too; it is set with the first page that has a form.
func (q *webReq) findSession() error {
	q.token = q.cookie("session")
	if q.token != "" {
		err := q.s.store.Read(func(tx *Tx) (err error) { q.session, q.user, err = tx.WebSession(webHash(q.token)); return err })
		if err == nil {
			return q.keepSession()
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		q.session, q.user = WebSession{}, User{}
	}
	if q.token = q.cookie("visit"); q.token == "" {
		q.token, q.fresh = webToken(), true
	}
	return nil
}

// keepSession writes down now and then that the session is in use, and lets the cookie live on.
func (q *webReq) keepSession() error {
	if q.s.store.Now().Sub(q.session.Seen) < min(webSeeEvery, q.session.Lasts/2) {
		return nil
	}
	if q.session.Lasts > webShortSession {
		q.setCookie("session", q.token, q.session.Lasts)
	}
	err := q.s.store.Write(func(tx *Tx) error { return tx.SeeWebSession(q.session.Hash) })
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		return nil
	}
	return err
}

// formToken is what every form carries: it proves that the form came from a page that this browser was given.
func (q *webReq) formToken() string {
	mac := hmac.New(sha256.New, []byte(q.token))
	mac.Write([]byte("form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

func (q *webReq) checkToken(got string) error {
	if subtle.ConstantTimeCompare([]byte(got), []byte(q.formToken())) != 1 {
		return webFault(http.StatusForbidden, "This form is out of date. Go back, reload the page and try again.")
	}
	return nil
}

func (q *webReq) getHome() error {
	if q.user.ID != 0 {
		return q.redirect("/mail")
	}
	var users []User
	if err := q.s.store.Read(func(tx *Tx) (err error) { users, err = tx.Users(); return err }); err != nil {
		return err
	}
	if len(users) == 0 {
		return q.redirect("/setup")
	}
	return q.redirect("/login")
}

// webLoginPage is the login form, or the reason why there is none.
type webLoginPage struct {
	Name, To string
	Error    string
	Code     bool   // the password was right and the second factor is asked for
	HTTPS    string // where to log in instead, when passwords may not cross this connection
}

func (q *webReq) getLogin() error {
	if q.user.ID != 0 {
		return q.redirect("/mail")
	}
	p := webLoginPage{To: webLocal(q.r.URL.Query().Get("to"))}
	if !q.mayLogIn() {
		p.HTTPS = q.secureAddress("/login")
	}
	return q.page("login", "Log in", p)
}

// mayLogIn is the same rule that the mail protocols follow: under TLS, or from a [auth] plaintext network.
func (q *webReq) mayLogIn() bool {
	return q.secure() || contains(q.s.cfg.Auth.Plaintext, q.remote)
}

// secureAddress is the address of a page under https, as this browser can reach it; "-" when there is no https listener.
func (q *webReq) secureAddress(path string) string {
	if len(q.s.cfg.Listen.HTTPS) == 0 {
		return "-"
	}
	host := q.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if _, port, err := net.SplitHostPort(q.s.cfg.Listen.HTTPS[0]); err == nil && port != "443" {
		return "https://" + net.JoinHostPort(host, port) + path
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "https://" + host + path
}

// webLocal lets through only addresses on this site.
func webLocal(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/mail"
	}
	return to
}

func webEscape(s string) string { return url.QueryEscape(s) }

func (q *webReq) postLogin() error {
	f := q.r.PostForm
	p := webLoginPage{Name: strings.TrimSpace(f.Get("name")), To: webLocal(f.Get("to"))}
	if !q.mayLogIn() {
		p.HTTPS = q.secureAddress("/login")
		return q.status(http.StatusForbidden, "login", "Log in", p)
	}
	u, err := q.s.auth.PagePassword(q.remote, p.Name, f.Get("password"))
	switch {
	case errors.Is(err, ErrAuthRate):
		p.Error = "Too many failed logins. Wait a minute and try again."
		return q.status(http.StatusTooManyRequests, "login", "Log in", p)
	case errors.Is(err, ErrAuth):
		q.log.Info("login failed", "remote", q.remote, "err", err)
		p.Error = "The name or the password is wrong."
		return q.status(http.StatusUnauthorized, "login", "Log in", p)
	case err != nil:
		return err
	}
	var totp webTOTP
	if err := q.s.store.Read(func(tx *Tx) error { return tx.Preference(u.ID, PrefTOTP, &totp) }); err != nil {
		return err
	}
	if totp.Secret == "" {
		return q.logIn(u, p.To, f.Get("remember") != "")
	}
	q.askCode(webSecond{user: u, to: p.To, remember: f.Get("remember") != "", until: time.Now().Add(webSecondTime)})
	p.Code = true
	return q.page("login", "Log in", p)
}

// webSecond is a login that still needs a code.
type webSecond struct {
	user     User
	to       string
	remember bool
	until    time.Time
	tries    int
}

// askCode remembers for this browser that the password was right.
func (q *webReq) askCode(w webSecond) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for k, s := range q.second {
		if len(q.second) >= webMaxSecond || time.Now().After(s.until) {
			delete(q.second, k)
		}
	}
	q.second[q.token] = w
}

func (q *webReq) postCode() error {
	q.mu.Lock()
	w, ok := q.second[q.token]
	w.tries++
	q.second[q.token] = w
	if !ok || time.Now().After(w.until) || w.tries > webSecondTries {
		ok = false
		delete(q.second, q.token)
	}
	q.mu.Unlock()
	if !ok {
		return q.page("login", "Log in", webLoginPage{Error: "That took too long or too many tries. Start again."})
	}
	err := q.s.auth.Guess(q.remote, w.user.Name, func() (good bool, err error) {
		err = q.s.store.Write(func(tx *Tx) (err error) { good, err = webUseCode(tx, w.user.ID, q.r.PostForm.Get("code")); return err })
		return good, err
	})
	switch {
	case errors.Is(err, ErrAuthRate):
		return q.status(http.StatusTooManyRequests, "login", "Log in", webLoginPage{Code: true, Error: "Too many failed logins. Wait a minute and try again."})
	case errors.Is(err, ErrAuth):
		q.log.Info("login code wrong", "remote", q.remote, "user", w.user.Name)
		return q.status(http.StatusUnauthorized, "login", "Log in", webLoginPage{Code: true, Error: "That code is wrong."})
	case err != nil:
		return err
	}
	q.mu.Lock()
	delete(q.second, q.token)
	q.mu.Unlock()
	return q.logIn(w.user, w.to, w.remember)
}

// logIn gives the browser a new session. The token it had before is never used again.
func (q *webReq) logIn(u User, to string, remember bool) error {
	now := q.s.store.Now()
	token := webToken()
	w := WebSession{Hash: webHash(token), User: u.ID, Created: now, Seen: now, Lasts: webShortSession,
		Remote: q.remote.String(), Agent: webCut(q.r.UserAgent(), 200)}
	life := time.Duration(0)
	if remember {
		w.Lasts, life = webLongSession, webLongSession
	}
	if err := q.s.store.Write(func(tx *Tx) error { return tx.AddWebSession(w) }); err != nil {
		return err
	}
	q.setCookie("session", token, life)
	q.setCookie("visit", "", -1)
	q.log.Info("login", "user", u.Name, "remote", q.remote)
	return q.redirect(to)
}

func webCut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

func (q *webReq) postLogout() error {
	if err := q.s.store.Write(func(tx *Tx) error { return tx.EndWebSession(q.session.Hash) }); err != nil {
		return err
	}
	q.setCookie("session", "", -1)
	q.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return q.redirect("/login")
}

// postLook switches the language or the colours, for this browser and for the user.
func (q *webReq) postLook() error {
	f := q.r.PostForm
	look := webLook{Lang: q.cookie("lang"), Theme: q.cookie("theme")}
	if q.user.ID != 0 {
		look = q.look()
	}
	if l := f.Get("lang"); l == "en" || l == "zh" {
		look.Lang = l
		q.setCookie("lang", l, webLookLifetime)
	}
	if t := f.Get("theme"); t == "auto" || t == "light" || t == "dark" {
		look.Theme = t
		q.setCookie("theme", t, webLookLifetime)
	}
	if q.user.ID != 0 {
		if err := q.s.store.Write(func(tx *Tx) error { return tx.SetPreference(q.user.ID, PrefLook, look) }); err != nil {
			return err
		}
	}
	return q.redirect(webLocal(f.Get("to")))
}

// webLook is how a user wants the pages.
type webLook struct {
	Lang    string `json:"lang,omitempty"`
	Theme   string `json:"theme,omitempty"`
	Threads bool   `json:"threads,omitempty"`
}

// look is what the user has chosen, or this browser before login.
func (q *webReq) look() webLook {
	l := webLook{Lang: q.cookie("lang"), Theme: q.cookie("theme")}
	if q.user.ID != 0 {
		if err := q.s.store.Read(func(tx *Tx) error { return tx.Preference(q.user.ID, PrefLook, &l) }); err != nil {
			q.log.Error("preferences", "user", q.user.Name, "err", err)
		}
	}
	return l
}

// languageWanted is the language that was chosen, else the first that the browser asks for and we have.
func (q *webReq) languageWanted() string {
	if l := q.look().Lang; l != "" {
		return l
	}
	for _, part := range strings.Split(q.r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		for _, have := range []string{"en", "zh"} {
			if tag == have || strings.HasPrefix(tag, have+"-") {
				return have
			}
		}
	}
	return "en"
}

// webSetupLinks makes a fresh one-time link to the set-up page and voids the one before: by the machine's name, and by its
// addresses for networks where the name is not known. Its token is in the fragment, which browsers never send to a server
// or write into a log.
func webSetupLinks(cfg *Config, st *Store) (links []string, err error) {
	raw := make([]byte, 10)
	rand.Read(raw)
	code := base32.StdEncoding.EncodeToString(raw)
	code = code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:]
	sum := webHash(code)
	if err = st.Write(func(tx *Tx) error { return tx.SetSetting(webSettingSetup, sum) }); err != nil {
		return nil, err
	}
	for _, site := range webSiteAddresses(cfg, webOwnAddresses()) {
		links = append(links, site+"/setup#"+code)
	}
	return links, nil
}

// webOwnAddresses are the addresses by which others in the house reach this machine, a few at most.
func webOwnAddresses() (all []netip.Addr) {
	list, _ := net.InterfaceAddrs() // without them there is the name
	for _, x := range list {
		p, err := netip.ParsePrefix(x.String())
		if a := p.Addr().Unmap(); err == nil && a.IsPrivate() && a.Is4() && len(all) < webMaxAddresses {
			all = append(all, a)
		}
	}
	return all
}

// webSiteAddresses are the site's addresses by the machine's name and by number: plain HTTP if it is served, because a
// browser that does not know the private CA yet would warn.
func webSiteAddresses(cfg *Config, own []netip.Addr) []string {
	for _, try := range []struct {
		scheme, usual string
		listen        []string
	}{{"http", "80", cfg.Listen.HTTP}, {"https", "443", cfg.Listen.HTTPS}} {
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
				if names[i] = try.scheme + "://" + net.JoinHostPort(name, port); port == try.usual && !strings.Contains(name, ":") {
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
	p := webSetupPage{Domain: q.s.cfg.Domains[0], Domains: q.s.cfg.Domains}
	err := q.s.store.Read(func(tx *Tx) error {
		users, err := tx.Users()
		if p.Others = len(users) > 0; err == nil {
			_, err = tx.Setting(webSettingSetup)
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = webFault(http.StatusNotFound, "This link has been used. The command postino setup-link prints another one.")
	}
	if !q.secure() {
		p.HTTPS = q.secureAddress("/setup")
	}
	return p, err
}

// getSetup is there only while there is a link that nobody has used.
func (q *webReq) getSetup() error {
	p, err := q.setupPage()
	if err != nil {
		return err
	}
	if !q.setupAllowed() {
		return webFault(http.StatusForbidden, "For the first start, open this page from the same network, or over https.")
	}
	return q.page("setup", "Set up your mail", p)
}

// setupAllowed keeps the first password off plain connections that leave the house.
func (q *webReq) setupAllowed() bool {
	return q.secure() || q.remote.IsPrivate() || q.remote.IsLoopback() || q.remote.IsLinkLocalUnicast()
}

func (q *webReq) postSetup() error {
	p, err := q.setupPage()
	if err != nil {
		return err
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
	case len(f.Get("password")) < webMinPassword:
		return again(http.StatusBadRequest, "The password needs at least 8 characters.")
	case f.Get("password") != f.Get("again"):
		return again(http.StatusBadRequest, "The two passwords are not the same.")
	}
	var u User
	err = q.s.auth.Guess(q.remote, "", func() (bool, error) {
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
func (q *webReq) claim(p *webSetupPage, addr Addr, password string) (u User, err error) {
	code := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '2' && r <= '7' {
			return r
		}
		return -1
	}, p.Code)
	if len(code) != 16 {
		return u, ErrAuth
	}
	sum := webHash(code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:])
	check := func(tx *Tx) error {
		have, err := tx.Setting(webSettingSetup)
		if errors.Is(err, ErrNotFound) || err == nil && !hmac.Equal(have, sum) {
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
			if u, err = tx.AddUser(addr, secret, true); err != nil {
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
		if err := tx.EndWebSessions(u.ID, nil); err != nil {
			return err
		}
		return tx.UpdateUser(u)
	})
	if err != nil {
		return u, fmt.Errorf("set up %s: %w", addr, err)
	}
	return u, nil
}
