// Who is at the other end: login, second factor, logout, the first start, language and look.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	webMaxSecond    = 200             // logins waiting for a code
	webSecondTime   = 5 * time.Minute // for the code to be typed
	webSecondTries  = 5
	webMaxAddresses = 3 // by which the set-up page is offered beside the name
)

func webSessionRoutes() []webRoute {
	return []webRoute{
		{"GET /{$}", webPublic, (*webReq).getHome},
		{"GET /login", webPublic, (*webReq).getLogin},
		{"POST /login", webPublic, (*webReq).postLogin},
		{"POST /login/code", webPublic, (*webReq).postCode},
		{"POST /logout", webLoggedIn, (*webReq).postLogout},
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

// secure says whether the request came over TLS, to us or to a proxy that we know.
func (q *webReq) secure() bool {
	return q.r.TLS != nil || (q.proxied && q.r.Header.Get("X-Forwarded-Proto") == "https")
}

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
	if q.token != "" && q.mayLogIn() { // a session is worth a password, and may not go where that may not
		err := q.s.store.Read(func(tx *Tx) error {
			var err error
			q.session, q.user, err = tx.WebSession(webHash(q.token))
			return err
		})
		if err == nil {
			return q.keepSession()
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		q.session, q.user = WebSession{}, User{}
	}
	q.token = q.cookie("visit")
	if q.token == "" {
		q.token, q.visitor = webToken(), true
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
		return webErrOldForm
	}
	return nil
}

func (q *webReq) getHome() error {
	if q.user.ID != 0 {
		return q.redirect("/mail")
	}
	users, err := read(q.s.store, (*Tx).Users)
	if err != nil {
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
	u, err := q.s.auth.PagePassword(q.origin(), p.Name, f.Get("password"))
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
	err := q.s.auth.Guess(q.origin(), w.user.Name, func() (bool, error) { return q.useCode(w.user.ID, q.r.PostForm.Get("code")) })
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

// origin is where a login by this browser comes from.
func (q *webReq) origin() loginOrigin { return loginOrigin{addr: q.remote, browser: q.cookie("known")} }

// logIn gives the browser a new session. The token it had before is never used again.
func (q *webReq) logIn(u User, to string, remember bool) error {
	if !q.mayLogIn() { // after a set-up without https: the page says what can be done
		return q.redirect("/login")
	}
	now := q.s.store.Now()
	token := webToken()
	w := WebSession{Hash: webHash(token), User: u.ID, Created: now, Seen: now, Lasts: webShortSession,
		Remote: q.remote.String(), Agent: webCut(q.r.UserAgent(), 200)}
	life := time.Duration(0)
	if remember {
		w.Lasts, life = webLongSession, webLongSession
	}
	err := q.s.store.Write(func(tx *Tx) error { return tx.AddWebSession(w) })
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		q.s.store.AddPassingSession(w)
		err = nil
	}
	if err != nil {
		return err
	}
	q.s.auth.beenHere(q.origin(), u.Name)
	if !q.s.auth.browserIs(q.cookie("known"), u.Name) {
		proof, err := q.s.auth.browserProof(u.Name)
		if err != nil {
			return err
		}
		q.setCookie("known", proof, webLookLifetime)
	}
	q.setCookie("session", token, life)
	q.setCookie("visit", "", -1)
	q.log.Info("login", "user", u.Name, "remote", q.remote)
	return q.redirect(to)
}

// checkOwn asks for the person's own password again, in the field "old" of the form, before something that lasts: a thief of a
// session must not be able to do it. An error is what to answer.
func (q *webReq) checkOwn() error {
	_, err := q.s.auth.PagePassword(loginOrigin{addr: q.remote}, q.user.Name, q.r.PostForm.Get("old"))
	switch {
	case errors.Is(err, ErrAuthRate):
		return webFault(http.StatusTooManyRequests, "Too many failed logins. Wait a minute and try again.")
	case errors.Is(err, ErrAuth):
		return webFault(http.StatusUnprocessableEntity, "Your current password is not right.")
	}
	return err
}

// checkFactor asks for the own password, and in the field "now" for a code of the second factor that is on, which is used up.
func (q *webReq) checkFactor() error {
	if err := q.checkOwn(); err != nil {
		return err
	}
	err := q.s.auth.Guess(loginOrigin{addr: q.remote}, q.user.Name, func() (bool, error) {
		on, err := read(q.s.store, func(tx *Tx) (bool, error) { return tx.HasPreference(q.user.ID, PrefTOTP) })
		if err != nil || !on {
			return true, err
		}
		return q.useCode(q.user.ID, q.r.PostForm.Get("now"))
	})
	switch {
	case errors.Is(err, ErrAuthRate):
		return webFault(http.StatusTooManyRequests, "Too many failed logins. Wait a minute and try again.")
	case errors.Is(err, ErrAuth):
		return webFault(http.StatusUnprocessableEntity, "That code is wrong.")
	}
	return err
}

func webCut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

func (q *webReq) postLogout() error {
	err := q.s.store.Write(func(tx *Tx) error { return tx.EndWebSession(q.session.Hash) })
	ended := q.s.store.EndPassingSession(q.session.Hash)
	if err != nil && !ended {
		return err
	}
	q.setCookie("session", "", -1)
	q.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return q.redirect("/login")
}
