package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// admin makes a user an administrator.
func (s *testServer) admin(t testing.TB, user string) {
	t.Helper()
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName(user + "@home.arpa")
		u.Admin = true
		if err == nil {
			err = tx.UpdateUser(u)
		}
		return err
	})
}

// hasty takes away the waits after failed logins.
func (s *testServer) hasty() *testServer {
	done := make(chan struct{})
	close(done)
	s.auth.stop = done
	return s
}

// tryLogin says whether a password opens a mail protocol.
func (s *testServer) tryLogin(t testing.TB, service, user, password string) bool {
	t.Helper()
	c, r, _ := dialService(t, s, service)
	defer c.Close()
	ask := func(format string, args ...any) string {
		fmt.Fprintf(c, format+"\r\n", args...)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(service, err)
			}
			if service != "imap" && !(len(line) > 3 && line[3] == '-' && line[0] == '2') || strings.HasPrefix(line, "a ") {
				return line
			}
		}
	}
	switch service {
	case "imap":
		return strings.HasPrefix(ask("a LOGIN %s@home.arpa %s", user, password), "a OK")
	case "pop3":
		ask("USER %s@home.arpa", user)
		return strings.HasPrefix(ask("PASS %s", password), "+OK")
	}
	ask("EHLO x")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "@home.arpa\x00" + password))
	return strings.HasPrefix(ask("AUTH PLAIN %s", plain), "235")
}

// TestWebSecondFactor goes through all of it: setting it up, codes right, wrong and used twice, codes on paper, mail
// programs, and the ways back in.
func TestWebSecondFactor(t *testing.T) {
	var clock webClock
	s := startServerAt(t, &clock)
	s.hasty()
	s.admin(t, "bob")
	ann := newWebClient(t, s).login("ann")
	ann.get("/settings/security")
	ann.post("/settings/totp", "do", "start")
	secret := ann.find(`name="secret" value="([A-Z2-7]{32})"`)
	ann.want(`class="qr"`)
	code := func() string {
		c, err := webCode(secret, s.store.Now().Unix()/webCodeStep)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ann.post("/settings/totp", "do", "confirm", "secret", secret, "code", "000000x", "old", "secret")
	ann.want("That code is wrong.")
	ann.post("/settings/totp", "do", "confirm", "secret", secret, "code", code(), "old", "wrong")
	ann.want("Your current password is not right.")
	ann.get("/settings/security")
	ann.want("Set it up")
	ann.post("/settings/totp", "do", "confirm", "secret", secret, "code", code(), "old", "secret")
	spare := ann.find(`<li>([a-z2-7]{5}-[a-z2-7]{5})</li>`)
	if n := len(regexp.MustCompile(`<li>[a-z2-7]{5}-[a-z2-7]{5}</li>`).FindAllString(ann.page, -1)); n != webSpareCodes {
		t.Errorf("%d codes on paper", n)
	}
	door := func() *webClient {
		t.Helper()
		c := newWebClient(t, s)
		c.get("/login")
		c.post("/login", "name", "ann", "password", "secret")
		c.want(`name="code"`)
		if c.get("/mail"); !strings.HasPrefix(c.at, "/login") {
			t.Fatal("the password alone opened ", c.at)
		}
		return c
	}
	try := func(c *webClient, code string, want bool) {
		t.Helper()
		if c.post("/login/code", "code", code); strings.HasPrefix(c.at, "/box/") != want {
			t.Errorf("code %q: %d at %s", code, c.code, c.at)
		}
	}
	used := code()
	try(door(), used, false) // it was used to set it up
	clock.forward(webCodeStep * time.Second)
	try(door(), code()[:3]+" "+code()[3:], true)
	try(door(), code(), false) // once is enough
	try(door(), spare, true)
	try(door(), spare, false)
	for service := range map[string]bool{"imap": true, "pop3": true, "submission": true} {
		if s.tryLogin(t, service, "ann", "secret") {
			t.Errorf("%s takes the password alone although there is a second factor", service)
		}
	}
	bob := newWebClient(t, s).login("bob")
	bob.get("/admin/users")
	user := bob.find(`href="(/admin/users/\d+)">ann@`)
	bob.get(user)
	bob.want("second factor is on")
	bob.post(user, "do", "second")
	newWebClient(t, s).login("ann")

	s.setRule(t, "ann", PrefTOTP, webTOTP{Secret: secret}) // and the way in for whoever has the machine
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		t.Fatal(err)
	}
	_, setup, _ := strings.Cut(links[0], "#")
	c := newWebClient(t, s)
	c.get("/setup")
	c.post("/setup", "name", "ann", "domain", "home.arpa", "password", "new secret", "again", "new secret", "code", setup)
	c.want("Your mail is ready.")
	c = newWebClient(t, s)
	c.get("/login")
	c.post("/login", "name", "ann", "password", "new secret")
	if !strings.HasPrefix(c.at, "/box/") {
		t.Errorf("after a new set-up link the second factor is still asked for: %s", c.at)
	}
}

// TestWebDevicePassword makes one on its page and takes it back.
func TestWebDevicePassword(t *testing.T) {
	s := startServer(t, "[limits]", "logins_minute = 100")
	s.hasty()
	ann := newWebClient(t, s).login("ann")
	ann.get("/devices")
	ann.post("/devices", "do", "add", "name", " ")
	if ann.code != 422 {
		t.Errorf("a device without a name: %d", ann.code)
	}
	ann.get("/devices")
	ann.post("/devices", "do", "add", "name", "My phone", "old", "secret")
	password := ann.find(`class="secret">([^<]+)<`)
	if ann.get("/devices"); strings.Contains(ann.page, password) {
		t.Error("the password is shown a second time")
	}
	services := []string{"imap", "pop3", "submission"}
	for _, x := range services {
		if !s.tryLogin(t, x, "ann", password) {
			t.Errorf("%s refuses a app password", x)
		}
		if s.tryLogin(t, x, "bob", password) {
			t.Errorf("%s takes ann's app password for bob", x)
		}
	}
	c := newWebClient(t, s)
	c.get("/login")
	if c.post("/login", "name", "ann", "password", password); c.code != 401 {
		t.Errorf("the pages took a app password: %d at %s", c.code, c.at)
	}
	id := ann.find(`name="id" value="(\d+)"`)
	bob := newWebClient(t, s).login("bob")
	bob.get("/devices")
	if bob.post("/devices", "do", "drop", "id", id); bob.code != 404 {
		t.Errorf("bob removed ann's device: %d", bob.code)
	}
	ann.post("/devices", "do", "drop", "id", id)
	ann.want("The password is void now.")
	for _, x := range services {
		if s.tryLogin(t, x, "ann", password) {
			t.Errorf("%s takes a app password that was taken back", x)
		}
		if !s.tryLogin(t, x, "ann", "secret") {
			t.Errorf("%s refuses the user's own password", x)
		}
	}
}

// TestWebEvents hears of new mail as it comes, of nobody else's, and nothing after logging out.
func TestWebEvents(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	res, err := ann.c.Get(ann.base + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatal("events are ", got)
	}
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		return ""
	}
	if first := next(); !strings.Contains(first, `"unseen":0`) || strings.Contains(first, `"new"`) {
		t.Errorf("at first: %s", first)
	}
	s.put(t, "bob", "INBOX", "From: x@y\nSubject: not hers\n\nx\n", 0)
	s.put(t, "ann", "INBOX", "From: Bob <bob@home.arpa>\nSubject: 新 <b>\n\nx\n", 0)
	if news := next(); !strings.Contains(news, `"subject":"新 \u003cb\u003e"`) || !strings.Contains(news, `"unseen":1`) || strings.Contains(news, "not hers") {
		t.Errorf("news: %s", news)
	}
	ann.get("/mail")
	ann.post("/logout")
	s.put(t, "ann", "INBOX", "From: x@y\nSubject: later\n\nx\n", 0)
	if news := next(); news != "" {
		t.Errorf("after logging out: %s", news)
	}
}

// TestWebSetupAtOnce claims the set-up link from eight browsers at the same time.
func TestWebSetupAtOnce(t *testing.T) {
	s := startServer(t, "[limits]", "logins_minute = 100")
	s.hasty()
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(links[0], "#")
	var all []*webClient
	for range 8 {
		c := newWebClient(t, s)
		c.get("/setup")
		all = append(all, c)
	}
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			c.post("/setup", "name", fmt.Sprint("root", i), "domain", "home.arpa", "password", "good secret", "again", "good secret", "code", strings.ToLower(code))
		})
	}
	wg.Wait()
	won := 0
	for _, c := range all {
		if strings.Contains(c.page, "Your mail is ready.") {
			won++
		} else if c.code != 403 && c.code != 404 {
			t.Errorf("a loser got %d", c.code)
		}
	}
	admins := 0
	s.write(t, func(tx *Tx) error {
		users, err := tx.Users()
		admins = 0
		for _, u := range users {
			if u.Admin {
				admins++
			}
		}
		return err
	})
	if won != 1 || admins != 1 {
		t.Errorf("%d claims succeeded and made %d administrators", won, admins)
	}
	if c := newWebClient(t, s); !strings.Contains(c.get("/setup"), "postino setup-link") || c.code != 404 {
		t.Errorf("the link is still there: %d", c.code)
	}
	if _, err := webSetupLinks(s.cfg, s.store); err != nil {
		t.Fatal(err)
	}
	if c := newWebClient(t, s); !strings.Contains(c.get("/setup"), "This makes another administrator.") {
		t.Errorf("a second link's page: %d %s", c.code, c.page)
	}
}

// TestWebLoginLimits sees that wrong passwords, codes and set-up codes are limited before they are tried, and that
// failures on the pages count for the mail protocols and the other way round.
func TestWebLoginLimits(t *testing.T) {
	limits := []string{"[limits]", "logins_minute = 2"}
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, limits...).hasty()
		s.tryLogin(t, "imap", "ann", "wrong")
		c := newWebClient(t, s)
		c.get("/login")
		if c.post("/login", "name", "ann", "password", "wrong too"); c.code != 401 {
			t.Errorf("the second failure: %d", c.code)
		}
		if c.post("/login", "name", "ann", "password", "wrong three"); c.code != 429 {
			t.Errorf("a third failure: %d", c.code)
		}
		if c.post("/login", "name", "ann", "password", "secret"); !strings.HasPrefix(c.at, "/box/") {
			t.Errorf("the right one after that: %d at %s", c.code, c.at)
		}
		if !s.tryLogin(t, "pop3", "ann", "secret") {
			t.Error("the right password is refused because of others' failures")
		}
	})
	t.Run("set-up code", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, limits...).hasty()
		links, err := webSetupLinks(s.cfg, s.store)
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(links[0], "#")
		c := newWebClient(t, s)
		c.get("/setup")
		for i, x := range []struct {
			code string
			want int
		}{{"AAAA-AAAA-AAAA-AAAA", 403}, {"short", 403}, {code, 429}} {
			c.post("/setup", "name", "root", "domain", "home.arpa", "password", "good secret", "again", "good secret", "code", x.code)
			if c.code != x.want {
				t.Errorf("try %d: %d, want %d", i, c.code, x.want)
			}
		}
		if !s.tryLogin(t, "imap", "ann", "secret") {
			t.Error("wrong set-up codes lock IMAP")
		}
	})
	t.Run("second factor", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, limits...).hasty()
		secret := webNewSecret()
		s.setRule(t, "ann", PrefTOTP, webTOTP{Secret: secret})
		c := newWebClient(t, s)
		c.get("/login")
		c.post("/login", "name", "ann", "password", "secret")
		for range 2 {
			if c.post("/login/code", "code", "12345"); c.code != 401 {
				t.Errorf("a wrong code: %d", c.code)
			}
		}
		right, _ := webCode(secret, s.store.Now().Unix()/webCodeStep)
		if c.post("/login/code", "code", right); c.code != 429 {
			t.Errorf("the right code after too many wrong ones: %d at %s", c.code, c.at)
		}
		var wg sync.WaitGroup // many at once are no way around
		a := NewAuth(s.cfg, s.store)
		a.stop = make(chan struct{})
		tried := make(chan bool, 100)
		for range 30 {
			wg.Go(func() {
				origin := loginOrigin{addr: netip.MustParseAddr("192.0.2.1")}
				a.guess(a.newTry(origin, "ann", true), func() (bool, error) { tried <- true; return false, nil })
			})
		}
		wg.Wait()
		if len(tried) != 2 {
			t.Errorf("%d guesses were tried at once", len(tried))
		}
	})
}

// TestWebUnknownUser sees that a name that is not there gets the same answer for the same work.
func TestWebUnknownUser(t *testing.T) {
	s := startServer(t, "[limits]", "logins_minute = 100")
	s.hasty()
	answer := func(name string) (string, int64) {
		c := newWebClient(t, s)
		c.get("/login")
		token := c.token()
		before := s.auth.derived.Load()
		c.post("/login", "name", name, "password", "wrong "+name)
		if c.code != 401 {
			t.Errorf("%s: %d", name, c.code)
		}
		return strings.NewReplacer(name, "NAME", token, "TOKEN").Replace(c.page), s.auth.derived.Load() - before
	}
	known, work := answer("ann")
	for _, name := range []string{"nobody", "ann@elsewhere.example", "x y z"} {
		if page, w := answer(name); page != known || w != work {
			t.Errorf("%s can be told from a user: %d derivations, not %d\n%s", name, w, work, page)
		}
	}
	for _, path := range []string{"/mail/config-v1.1.xml?emailaddress=%s", "/apple.mobileconfig?address=%s"} {
		c := newWebClient(t, s)
		a := c.get(fmt.Sprintf(path, "ann@home.arpa"))
		b := c.get(fmt.Sprintf(path, "bobby@home.arpa"))
		clean := regexp.MustCompile(`(?:ann|bobby)@|<string>[0-9A-F-]{36}</string>`)
		if clean.ReplaceAllString(a, "") != clean.ReplaceAllString(b, "") {
			t.Errorf("%s tells who lives here", path)
		}
	}
}

// TestUnknownInPrograms sees the same for mail programs, over each protocol, and that neither a second factor nor device
// passwords can be told from a name that is nobody's.
func TestUnknownInPrograms(t *testing.T) {
	s := startServer(t, "[limits]", "logins_minute = 100")
	s.hasty()
	ann := newWebClient(t, s).login("ann")
	ann.get("/devices")
	ann.post("/devices", "do", "add", "name", "My phone", "old", "secret")
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("bob@home.arpa")
		if err != nil {
			return err
		}
		return tx.SetPreference(u.ID, PrefTOTP, webTOTP{Secret: webNewSecret()})
	})
	for _, service := range []string{"imap", "pop3", "submission"} {
		for _, name := range []string{"ann", "bob", "nobody"} {
			before := s.auth.derived.Load()
			if s.tryLogin(t, service, name, "wrong-"+name) {
				t.Errorf("%s: %s is in", service, name)
			}
			if n := s.auth.derived.Load() - before; n != 1 {
				t.Errorf("%s: %s costs %d derivations", service, name, n)
			}
		}
	}
}

// webPathOf fills the blanks of a route's pattern.
func webPathOf(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	path = strings.ReplaceAll(path, "{$}", "")
	return method, regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "1")
}

// TestWebRoutes walks all addresses of the site: who may ask, with which method, and that no form works without its token.
func TestWebRoutes(t *testing.T) {
	s := startServer(t)
	s.hasty()
	s.admin(t, "bob")
	out, ann, bob := newWebClient(t, s), newWebClient(t, s).login("ann"), newWebClient(t, s).login("bob")
	ask := func(c *webClient, method, path, kind, body string) int {
		r, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Accept", "application/json")
		c.do(r)
		return c.code
	}
	const plain, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
	const files = "--x\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nwrong\r\n--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\nA\r\n--x--\r\n"
	routes := webRoutes()
	methods := map[string][]string{}
	for _, rt := range routes {
		m, path := webPathOf(rt.pattern)
		methods[path] = append(methods[path], m)
	}
	for _, rt := range routes {
		method, path := webPathOf(rt.pattern)
		if method != "GET" && method != "POST" {
			t.Errorf("%s has no method", rt.pattern)
		}
		if rt.access&(webLoggedIn|webAdmin) != 0 {
			if got := ask(out, method, path, plain, ""); got != 401 {
				t.Errorf("%s without login: %d", rt.pattern, got)
			}
		}
		if rt.access&webAdmin != 0 {
			if got := ask(ann, method, path, plain, "csrf="+url.QueryEscape(ann.token())); got != 404 {
				t.Errorf("%s for somebody who is no administrator: %d", rt.pattern, got)
			}
			ann.get("/mail")
		}
		if method == "POST" && rt.access&webForeign == 0 {
			for _, x := range [][2]string{{plain, ""}, {plain, "csrf=wrong"}, {plain, "csrf=" + url.QueryEscape(ann.token())}, {multi, files}, {multi, "--x--\r\n"}, {"text/plain", "csrf=x"}} {
				if got := ask(bob, method, path, x[0], x[1]); got != 403 {
					t.Errorf("%s with %s %q: %d", rt.pattern, x[0], x[1], got)
				}
			}
		}
		for _, m := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if !slices.Contains(methods[path], m) && path != "/" {
				if got := ask(bob, m, path, plain, ""); got != 405 && !(m == "GET" && strings.HasPrefix(path, "/settings/")) {
					t.Errorf("%s %s: %d", m, path, got)
				}
			}
		}
	}
	if bob.get("/mail"); !strings.HasPrefix(bob.at, "/box/") {
		t.Error("some form without a token logged bob out")
	}
}

// TestWebCookies looks at the cookies under TLS and without.
func TestWebCookies(t *testing.T) {
	s := startServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.wg.Go(func() { s.serveHTTP(s.web, l, true) })
	for _, secure := range []bool{true, false} {
		c := newWebClient(t, s)
		prefix := "postino-"
		if secure {
			c.base, prefix = "https://"+l.Addr().String(), "__Host-postino-"
			c.c.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the certificate is another test's
		}
		c.c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c.get("/login")
		all := c.head["Set-Cookie"]
		c.post("/login", "name", "ann", "password", "secret", "remember", "1")
		all = append(all, c.head["Set-Cookie"]...)
		if len(all) != 4 { // one of them remembers that this browser was let in
			t.Fatalf("%d cookies: %q", len(all), all)
		}
		for _, x := range all {
			ck, err := http.ParseSetCookie(x)
			if err != nil || !strings.HasPrefix(ck.Name, prefix) || !ck.HttpOnly || ck.Secure != secure || ck.SameSite != http.SameSiteStrictMode || ck.Path != "/" || ck.Domain != "" {
				t.Errorf("secure %v: %s", secure, x)
			}
			if strings.HasSuffix(ck.Name, "session") {
				if b, err := base64.RawURLEncoding.DecodeString(ck.Value); err != nil || len(b) != 32 || ck.MaxAge != int(webLongSession/time.Second) {
					t.Errorf("session cookie %s", x)
				}
				s.write(t, func(tx *Tx) error {
					if _, _, err := tx.WebSession([]byte(ck.Value)); !errors.Is(err, ErrNotFound) {
						t.Error("the file holds the token itself")
					}
					return nil
				})
			}
		}
	}
}

// webEvil is what a field says that wants to be more than text.
const webEvil = `"'><img src=x onerror=alert(1)><script>alert(2)</script>{{.}}javascript:alert(3)`

// TestWebFieldsAreText fills every field that is shown anywhere with HTML and walks all pages.
func TestWebFieldsAreText(t *testing.T) {
	s := startServer(t, "[routes]", `"lab2.arpa" = "127.0.0.1:1"`)
	s.admin(t, "ann")
	q := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(webEvil) + `"`
	s.put(t, "ann", "INBOX", "From: "+q+" <x@evil.example>\nTo: "+q+" <y@evil.example>\nCc: "+q+" <ann@home.arpa>\nReply-To: "+q+" <z@evil.example>\nSubject: "+webEvil+
		"\nMessage-ID: <1@"+webEvil+">\nDate: "+webEvil+"\nList-Unsubscribe: <javascript:alert(1)>, <https://x/"+webEvil+">\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"+
		"Content-Type: text/plain\n\n"+webEvil+" http://x/"+webEvil+"\n> "+webEvil+"\n--b\nContent-Type: image/png; name="+q+"\nContent-Disposition: attachment; filename="+q+"\n\nx\n--b\n"+
		"Content-Type: message/rfc822\n\nSubject: "+webEvil+"\nFrom: "+q+" <x@evil.example>\n\nx\n--b--\n", 0)
	ann := newWebClient(t, s)
	ann.get("/login")
	r, _ := http.NewRequest("POST", ann.base+"/login", strings.NewReader(url.Values{"csrf": {ann.token()}, "name": {"ann"}, "password": {"secret"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", webEvil)
	ann.do(r)
	post := func(path string, fields ...string) {
		t.Helper()
		if ann.post(path, fields...); ann.code != 200 {
			t.Errorf("%s: %d %.300s", path, ann.code, ann.page)
		}
		ann.get("/mail")
	}
	name := strings.ReplaceAll(webEvil, "/", "-")
	post("/folders", "do", "create", "name", name)
	post("/settings/identities", "name", webEvil, "address", "ann@home.arpa", "signature", webEvil)
	post("/settings/vacation", "subject", webEvil, "text", webEvil)
	post("/settings/filters", "do", "add", "field", "from", "op", "contains", "value", webEvil, "field", "subject", "op", "is", "value", webEvil, "reject", webEvil, "folder", "0")
	post("/contacts", "do", "add", "name", webEvil, "address", "z@evil.example", "phone", webCut(webEvil, 50), "note", webEvil)
	post("/pictures", "from", webEvil)
	post("/devices", "do", "add", "name", webCut(webEvil, 60), "old", "secret")
	post("/admin/shared", "do", "create", "name", name)
	post("/admin/aliases", "do", "add", "address", `"<b>x</b>"@home.arpa`, "targets", `"<i>y</i>"@evil.example`)
	ann.get("/compose")
	ann.letter(map[string]string{webEvil: "x"}, "to", webEvil, "cc", webEvil, "bcc", webEvil, "subject", webEvil, "text", webEvil, "do", "save")
	ann.get("/compose")
	ann.letter(map[string]string{webEvil: "x"}, "to", q+" <x@lab2.arpa>", "subject", webEvil, "text", webEvil, "do", "send")
	s.hurry(t)
	ann.waitFor("/outbox", "x@lab2.arpa")
	ann.get("/compose")
	ann.letter(nil, "to", "bob@home.arpa", "subject", webEvil, "text", "x", "when", s.store.Now().Add(48*time.Hour).Format("2006-01-02T15:04"), "do", "later")
	pages := webCrawl(t, ann, "/mail", "/search?q="+url.QueryEscape(webEvil), "/login?to="+url.QueryEscape(webEvil), "/admin/log?text="+url.QueryEscape(webEvil),
		"/compose?to="+url.QueryEscape(webEvil)+"&subject="+url.QueryEscape(webEvil)+"&body="+url.QueryEscape(webEvil), "/settings", "/admin", "/contacts", "/outbox", "/"+url.QueryEscape(webEvil))
	if pages < 50 {
		t.Errorf("only %d pages were found", pages)
	}
}

// webCrawl follows every link of the site and looks for elements that no page of ours has.
func webCrawl(t *testing.T, c *webClient, from ...string) (pages int) {
	seen := map[string]bool{}
	for len(from) > 0 && pages < 400 {
		at := from[0]
		from = from[1:]
		if seen[at] || strings.HasPrefix(at, "/admin/backup") || strings.HasPrefix(at, "/settings/export") {
			continue
		}
		seen[at] = true
		if c.get(at); !strings.HasPrefix(c.head.Get("Content-Type"), "text/html") {
			continue
		}
		pages++
		if c.code >= 500 {
			t.Errorf("%s: %d", at, c.code)
		}
		z := html.NewTokenizer(strings.NewReader(c.page))
		for tt := z.Next(); tt != html.ErrorToken; tt = z.Next() {
			if tt != html.StartTagToken && tt != html.SelfClosingTagToken {
				continue
			}
			k := z.Token()
			src := webAttr(k, "src")
			if k.Data == "script" && !strings.HasPrefix(src, "/static/script.js?") || k.Data == "img" && src == "x" {
				t.Fatalf("%s has %s", at, k)
			}
			for _, a := range k.Attr {
				link := strings.ToLower(strings.TrimSpace(a.Val))
				if strings.HasPrefix(a.Key, "on") || (a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "formaction") && strings.HasPrefix(link, "javascript:") {
					t.Fatalf("%s has %s", at, k)
				}
				if a.Key == "href" && strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//") {
					from = append(from, a.Val)
				}
			}
		}
	}
	return pages
}

// TestWebHeaderInjection puts line ends and NULs into every field of a letter, of a redirected message and of what
// answers by itself: no field may become two.
func TestWebHeaderInjection(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: x\nMessage-ID: <1@x>\n\nx\n", 0)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	fields := []string{"from", "to", "cc", "bcc", "subject", "inreplyto", "references", "source", "kind", "draft", "id", "file"}
	sent := int64(0)
	for _, end := range []string{"\r\n", "\n", "\r", "\x00", "\r\n "} {
		for _, evil := range fields {
			v := map[string]string{"from": "ann@home.arpa", "to": "bob@home.arpa", "subject": "s", "inreplyto": "<1@x>", "references": "<1@x>", "text": "t"}
			files := map[string]string{"a.txt": "x"}
			if evil == "file" {
				files = map[string]string{"a" + end + "X-Evil: yes" + end + end + "b": "x"}
			} else if v[evil] += end + "X-Evil: yes"; evil == "to" || evil == "cc" || evil == "bcc" {
				v[evil] = "\"a" + end + "X-Evil: yes\" <bob@home.arpa>"
			}
			var list []string
			for k, x := range v {
				list = append(list, k, x)
			}
			ann.get("/compose")
			ann.letter(files, append(list, "do", "send")...)
			if ann.code >= 500 {
				t.Errorf("%q in %s: %d", end, evil, ann.code)
			}
			if strings.Contains(ann.page, "Sending") {
				sent++
			}
		}
		ann.get("/compose")
		ann.post("/redirect", "m", fmt.Sprintf("%s.%d", box, uid), "to", "\"a"+end+"X-Evil: yes\" <bob@home.arpa>"+end+"X-Evil: yes")
		ann.get("/settings/rules")
		ann.post("/settings/vacation", "on", "1", "subject", "away"+end+"X-Evil: yes", "text", "x")
		ann.get("/settings")
		ann.post("/settings/identities", "name", "Ann"+end+"X-Evil: yes", "address", "ann@home.arpa", "signature", "")
	}
	s.hurry(t)
	waitFor(t, fmt.Sprint(sent, " letters"), func() bool {
		n, _ := s.in(t, "bob", "INBOX")
		return n >= sent
	})
	s.mail(t, "bob@home.arpa", "ann@home.arpa", "From: bob@home.arpa\nTo: ann@home.arpa\nSubject: hello\n\nx\n")
	mails := slices.Concat(s.inbox(t, "bob@home.arpa"), s.inbox(t, "ann@home.arpa"))
	if len(mails) < int(sent) || sent < 20 {
		t.Errorf("%d letters were sent, %d looked at", sent, len(mails))
	}
	for _, m := range mails {
		head, _, _ := strings.Cut(m, "\r\n\r\n")
		if regexp.MustCompile(`(?m)^X-Evil`).MatchString(m) || strings.ContainsRune(m, 0) || strings.Contains(strings.ReplaceAll(head, "\r\n", ""), "\r") {
			t.Fatalf("a field became two:\n%s", m)
		}
	}
}

// TestWebOthersLetters sees that nobody reaches another's letters, drafts or devices by number.
func TestWebOthersLetters(t *testing.T) {
	s := startServer(t)
	ann, bob := newWebClient(t, s).login("ann"), newWebClient(t, s).login("bob")
	ann.get("/compose")
	ann.letter(map[string]string{"a.txt": "secret file"}, "to", "bob@home.arpa", "subject", "secret plan", "text", "x", "do", "save")
	id := ann.find(`name="id" value="(\d+)"`)
	file := ann.find(`data-file="(\d+)"`)
	ann.get("/folders")
	drafts := ann.find(`href="/box/(\d+)">Drafts`)
	for _, path := range []string{"/compose?id=" + id, "/compose?draft=" + drafts + ".1", "/compose?forward=" + drafts + ".1", "/compose?redirect=" + drafts + ".1", "/box/" + drafts + "/1"} {
		if bob.get(path); bob.code != 404 || strings.Contains(bob.page, "secret") {
			t.Errorf("%s: %d", path, bob.code)
		}
	}
	bob.get("/compose")
	for _, do := range []string{"send", "save", "auto", "drop:" + file} {
		bob.letter(nil, "id", id, "to", "bob@home.arpa", "subject", "mine now", "text", "x", "do", do) // a letter of his own, at most
		if strings.Contains(bob.page, "secret") || strings.Contains(bob.page, "a.txt") || strings.Contains(bob.page, `name="id" value="`+id+`"`) {
			t.Errorf("%s with another's letter: %d", do, bob.code)
		}
		bob.get("/compose")
	}
	bob.letter(nil, "to", "bob@home.arpa", "subject", "s", "text", "x", "source", drafts+".1", "keep", "2", "keep", "whole", "do", "save")
	if strings.Contains(bob.page, "a.txt") || strings.Contains(bob.page, "data-file") {
		t.Error("bob's letter took an attachment from ann's draft")
	}
	for _, path := range []string{"/compose/recall", "/outbox"} {
		bob.get("/compose")
		bob.post(path, "id", id)
	}
	bob.get("/compose")
	bob.letter(nil, "id", id, "do", "discard")
	bob.post("/redirect", "m", drafts+".1", "to", "bob@home.arpa")
	if bob.code != 404 {
		t.Errorf("redirecting another's draft: %d", bob.code)
	}
	ann.get("/compose?id=" + id)
	ann.want("secret plan", "a.txt")
	if n, _ := s.in(t, "bob", "INBOX"); n != 0 {
		t.Errorf("%d letters were sent", n)
	}
}

// TestWebSlowForms ends requests whose form never comes.
func TestWebSlowForms(t *testing.T) {
	s := startServer(t)
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", io.MultiReader(bytes.NewReader([]byte("name=ann")), webStuck{}))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Host = "mx.home.arpa"
	d := &webDeadlines{ResponseRecorder: rec}
	s.web.ServeHTTP(d, r)
	if d.read.IsZero() || time.Until(d.read) > webStallTimeout || rec.Code == http.StatusOK {
		t.Errorf("a form without an end: deadline %v, %d", d.read, rec.Code)
	}
}

// webStuck is a body that ends only by its deadline.
type webStuck struct{}

func (webStuck) Read([]byte) (int, error) { return 0, errors.New("i/o timeout") }

// webDeadlines notes the first deadline that is set.
type webDeadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *webDeadlines) SetReadDeadline(t time.Time) error {
	if d.read.IsZero() {
		d.read = t
	}
	return nil
}

func (d *webDeadlines) SetWriteDeadline(time.Time) error { return nil }

// TestWebSiteAddresses makes links to the site as a browser in the house can open them.
func TestWebSiteAddresses(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.168.7.5"), netip.MustParseAddr("10.0.0.5")}
	for listen, want := range map[string]string{
		`http = [":8080"]`:                        "http://mx.local:8080 http://192.168.7.5:8080 http://10.0.0.5:8080",
		`http = ["0.0.0.0:80"]`:                   "http://mx.local http://192.168.7.5 http://10.0.0.5",
		`http = ["127.0.0.1:8080"]`:               "http://127.0.0.1:8080",
		`https = ["[::]:443"]`:                    "https://mx.local https://192.168.7.5 https://10.0.0.5",
		`http = ["[fd00::1]:80"]`:                 "http://[fd00::1]:80",
		"http = [\":8080\"]\nhttps = [\":8443\"]": "https://mx.local:8443 https://192.168.7.5:8443 https://10.0.0.5:8443",
	} {
		cfg, err := parseConfig("hostname = \"mx.local\"\n[listen]\n" + listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(webSiteAddresses(cfg, own), " "); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

// TestWebHugeForms sees that the fields of a form with files have a limit together: they are held in memory.
func TestWebHugeForms(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	for _, path := range []string{"/compose", "/settings/import", "/contacts/import"} {
		for _, x := range []struct {
			fields, size, want int
		}{{5, 860_000, 413}, {1, 1_200_000, 413}, {300, 1, 400}} {
			var fields []string
			for range x.fields {
				fields = append(fields, "text", strings.Repeat("a", x.size))
			}
			ann.get("/compose")
			ann.upload(path, "file", func(func(string, io.Reader)) {}, fields...)
			if ann.code != x.want {
				t.Errorf("%s with %d fields of %d octets: %d", path, x.fields, x.size, ann.code)
			}
		}
	}
}

// TestSecureSessions: where a password may not go in clear, no session is given or taken in clear, and set-up leads to https.
func TestSecureSessions(t *testing.T) {
	s := startServer(t, "[listen]", `http = [":8080"]`, `https = [":8443"]`).hasty()
	ask := func(method, path, body, from, cookie string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://mx.home.arpa:8080"+path, strings.NewReader(body))
		r.RemoteAddr = from + ":4711"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		s.web.ServeHTTP(w, r)
		return w
	}
	token := webToken()
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		return tx.AddWebSession(WebSession{Hash: webHash(token), User: u.ID, Created: tx.s.Now(), Seen: tx.s.Now(), Lasts: webShortSession})
	})
	for from, want := range map[string]int{"127.0.0.1": 200, "192.168.1.5": 303, "203.0.113.5": 303} {
		if w := ask("GET", "/settings", "", from, "postino-session="+token); w.Code != want {
			t.Errorf("a session in clear from %s: %d", from, w.Code)
		}
	}
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(links[0], "https://mx.home.arpa:8443/setup#") {
		t.Errorf("the link is %s", links[0])
	}
	_, code, _ := strings.Cut(links[0], "#")
	q := &webReq{webApp: s.web, token: "visit"}
	form := url.Values{"csrf": {q.formToken()}, "name": {"root"}, "domain": {"home.arpa"}, "password": {"a new secret"}, "again": {"a new secret"}, "code": {code}}
	for _, w := range []*httptest.ResponseRecorder{ask("GET", "/setup", "", "192.168.1.5", ""), ask("POST", "/setup", form.Encode(), "192.168.1.5", "postino-visit=visit")} {
		if w.Code != 303 || w.Header().Get("Location") != "https://mx.home.arpa:8443/setup" {
			t.Errorf("set-up in clear: %d to %s, %.200s", w.Code, w.Header().Get("Location"), w.Body)
		}
		for _, ck := range w.Result().Cookies() {
			if strings.HasSuffix(ck.Name, "session") {
				t.Errorf("set-up in clear gives a session: %s", ck)
			}
		}
	}
	s.write(t, func(tx *Tx) error {
		if _, err := tx.UserByName("root@home.arpa"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a user was made with a password that went in clear: %v", err)
		}
		return nil
	})
	for header, want := range map[string]int{"": 200, "X-Forwarded-For": 404, "Via": 404, "Host": 404} {
		r := httptest.NewRequest("GET", "http://127.0.0.1:8080/metrics", nil)
		r.RemoteAddr = "127.0.0.1:4711"
		r.Header.Set(header, "203.0.113.5")
		if header == "Host" {
			r.Host = "mx.home.arpa"
		}
		w := httptest.NewRecorder()
		if s.web.ServeHTTP(w, r); w.Code != want {
			t.Errorf("figures, asked for with %s: %d", header, w.Code)
		}
	}
}
