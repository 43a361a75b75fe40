package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// endLine is an open connection of a mail program.
type endLine struct {
	net.Conn
	r       *bufio.Reader
	service string
}

// endLogin opens a connection and logs ann in.
func endLogin(t *testing.T, s *testServer, service, password string) *endLine {
	t.Helper()
	nc, r, _ := dialService(t, s, service)
	l := &endLine{nc, r, service}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00ann@home.arpa\x00" + password))
	for _, x := range map[string][][2]string{
		"imap": {{"a AUTHENTICATE PLAIN " + plain, "a OK"}}, "pop3": {{"AUTH PLAIN " + plain, "+OK"}},
		"submission": {{"EHLO x", "250 "}, {"AUTH PLAIN " + plain, "235"}},
	}[service] {
		if got := l.say(x[0]); !strings.HasPrefix(got, x[1]) {
			t.Fatalf("%s: %q", service, got)
		}
	}
	return l
}

// say sends a line and returns the last line of the answer, "" if the connection ended.
func (l *endLine) say(text string) string {
	l.SetDeadline(time.Now().Add(testPatience))
	fmt.Fprintf(l, "%s\r\n", text)
	for {
		line, err := l.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if (l.service == "imap" && !strings.HasPrefix(line, "a ")) || (l.service == "submission" && len(line) > 3 && line[3] == '-') {
			continue
		}
		return line
	}
}

// alive says whether the next command is still carried out.
func (l *endLine) alive() bool {
	return strings.HasPrefix(l.say(map[string]string{"imap": "a NOOP", "pop3": "LIST", "submission": "MAIL FROM:<ann@home.arpa>"}[l.service]),
		map[string]string{"imap": "a OK", "pop3": "+OK", "submission": "250"}[l.service])
}

// TestEnding walks the table of HACKING.md: what ends what, each with live sessions and before their next command.
func TestEnding(t *testing.T) {
	const all = "asks other stream picture imap imap-app imap-app2 pop3 smtp smtp-app app app2 letter"
	for _, c := range []struct {
		what, ends string
		do         func(*testing.T, *ending)
	}{
		{"nothing", "", func(*testing.T, *ending) {}},
		{"own password", "other stream imap imap-app imap-app2 pop3 smtp smtp-app", func(t *testing.T, e *ending) {
			e.post(e.asks, "/settings/security", "/settings/password", "old", "secret", "password", "another one", "again", "another one")
		}},
		{"own password and app passwords", "other stream imap imap-app imap-app2 pop3 smtp smtp-app app app2", func(t *testing.T, e *ending) {
			e.post(e.asks, "/settings/security", "/settings/password", "old", "secret", "password", "another one", "again", "another one", "apps", "1")
		}},
		{"password by an administrator", all, func(t *testing.T, e *ending) { e.admin(t, "do", "password", "password", "another one") }},
		{"password by verb", all, func(t *testing.T, e *ending) { e.verb(t, "another one\n", "user", "passwd", "ann@home.arpa") }},
		{"set-up link", all, func(t *testing.T, e *ending) {
			links, err := webSetupLinks(e.s.cfg, e.s.store)
			if err != nil {
				t.Fatal(err)
			}
			_, code, _ := strings.Cut(links[0], "#")
			e.post(newWebClient(t, e.s), "/setup", "/setup", "name", "ann", "domain", "home.arpa", "password", "another one", "again", "another one", "code", code)
		}},
		{"app password taken back", "imap-app smtp-app app", func(t *testing.T, e *ending) {
			e.post(e.asks, "/devices", "/devices", "do", "drop", "id", e.appID)
		}},
		{"app password taken back by an administrator", "imap-app smtp-app app", func(t *testing.T, e *ending) {
			e.post(e.boss, "/admin/devices", "/admin/devices", "user", fmt.Sprint(e.ann), "id", e.appID)
		}},
		{"second factor on", "other stream imap imap-app imap-app2 pop3 smtp smtp-app", func(t *testing.T, e *ending) { e.factor(t) }},
		{"second factor off by an administrator", "other asks stream picture imap-app imap-app2 imap pop3 smtp smtp-app", func(t *testing.T, e *ending) {
			e.factor(t)
			e.admin(t, "do", "second")
		}},
		{"disabled", "asks other stream picture imap imap-app imap-app2 pop3 smtp smtp-app app app2", func(t *testing.T, e *ending) {
			e.admin(t, "do", "save", "disabled", "1")
		}},
		{"removed", all, func(t *testing.T, e *ending) { e.admin(t, "do", "remove", "sure", "1") }},
		{"removed by verb", all, func(t *testing.T, e *ending) { e.verb(t, "", "user", "rm", "ann@home.arpa") }},
		{"logged out elsewhere", "other stream", func(t *testing.T, e *ending) {
			e.post(e.asks, "/settings/security", "/settings/sessions", "end", "all")
		}},
		{"logged out", "asks picture", func(t *testing.T, e *ending) { e.post(e.asks, "/settings", "/logout") }},
		{"logged out by an administrator", "asks other stream picture imap imap-app imap-app2 pop3 smtp smtp-app", func(t *testing.T, e *ending) {
			e.admin(t, "do", "logout")
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			e := newEnding(t)
			c.do(t, e)
			ended := e.ended(t)
			for _, x := range strings.Fields(all) {
				if want := strings.Contains(" "+c.ends+" ", " "+x+" "); ended[x] != want {
					t.Errorf("%s ended: %v, want %v", x, ended[x], want)
				}
			}
		})
	}
}

// ending is ann with everything that can be open.
type ending struct {
	s                 *testServer
	ann               UserID
	asks, other, boss *webClient
	stream            *http.Response
	picture           string
	lines             map[string]*endLine
	apps              [2]string
	appID             string
	letter            int64
}

func newEnding(t *testing.T) *ending {
	s := startServer(t, "[limits]", "logins_minute = 1000", "logins_day = 1000").hasty()
	s.admin(t, "bob")
	e := &ending{s: s, asks: newWebClient(t, s).login("ann"), other: newWebClient(t, s).login("ann"), boss: newWebClient(t, s).login("bob")}
	for i, name := range []string{"phone", "tablet"} {
		e.post(e.asks, "/devices", "/devices", "do", "add", "name", name, "old", "secret")
		e.apps[i] = e.asks.find(`class="secret">([^<]+)<`)
	}
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		e.ann = u.ID
		apps, err := tx.AppPasswords(u.ID)
		if err != nil {
			return err
		}
		e.appID = fmt.Sprint(apps[0].ID)
		l := Letter{User: u.ID, Fields: []byte(`{}`), Due: tx.s.Now().Add(24 * time.Hour)}
		err = tx.SaveLetter(&l)
		e.letter = l.ID
		return err
	})
	s.put(t, "ann", "INBOX", "Subject: p\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b\n"+
		"Content-Type: image/png; name=p.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b--\n", 0)
	e.asks.get("/mail")
	e.asks.get(e.asks.find(`href="(/box/\d+/\d+)`))
	e.picture = e.asks.find(`"(/inline/[^"]+)"`)
	res, err := e.other.c.Get(e.other.base + "/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	e.stream = res
	e.lines = map[string]*endLine{}
	for name, x := range map[string][2]string{"imap": {"imap", "secret"}, "imap-app": {"imap", e.apps[0]}, "imap-app2": {"imap", e.apps[1]},
		"pop3": {"pop3", "secret"}, "smtp": {"submission", "secret"}, "smtp-app": {"submission", e.apps[0]}} {
		e.lines[name] = endLogin(t, s, x[0], x[1])
	}
	return e
}

func (e *ending) post(c *webClient, page, to string, fields ...string) {
	c.t.Helper()
	c.get(page)
	if c.post(to, fields...); c.code != 200 {
		c.t.Fatalf("%s: %d %s", to, c.code, c.page)
	}
}

func (e *ending) admin(t *testing.T, fields ...string) {
	t.Helper()
	at := fmt.Sprintf("/admin/users/%d", e.ann)
	e.post(e.boss, at, at, fields...)
}

// factor turns a second factor on.
func (e *ending) factor(t *testing.T) {
	t.Helper()
	e.post(e.asks, "/settings/security", "/settings/totp", "do", "start")
	secret := e.asks.find(`name="secret" value="([A-Z2-7]{32})"`)
	code, err := webCode(secret, e.s.store.Now().Unix()/webCodeStep)
	if err != nil {
		t.Fatal(err)
	}
	if e.asks.post("/settings/totp", "do", "confirm", "secret", secret, "code", code, "old", "secret"); e.asks.code != 200 {
		t.Fatal(e.asks.page)
	}
}

// verb runs a verb on the server's file, beside the server, which looks for it at once and not within a second.
func (e *ending) verb(t *testing.T, stdin string, args ...string) {
	t.Helper()
	newTestCommand(t, fmt.Sprintf("database = %q", e.s.path)).want(0, "", stdin, args...)
	e.s.store.noticeOthers()
}

// ended says of everything whether it is over.
func (e *ending) ended(t *testing.T) map[string]bool {
	t.Helper()
	over := map[string]bool{}
	for name, l := range e.lines {
		over[name] = !l.alive()
	}
	for name, c := range map[string]*webClient{"asks": e.asks, "other": e.other} {
		c.get("/settings")
		over[name] = strings.HasPrefix(c.at, "/login")
	}
	stranger := newWebClient(t, e.s)
	stranger.get(e.picture)
	over["picture"] = stranger.code == 404
	for i, name := range []string{"app", "app2"} {
		over[name] = !e.s.tryLogin(t, "imap", "ann", e.apps[i])
	}
	var l Letter
	err := e.s.store.Read(func(tx *Tx) error {
		var err error
		l, err = tx.Letter(e.ann, e.letter)
		return err
	})
	over["letter"] = err != nil || l.Due.IsZero()
	if over["other"] { // then the stream ends by itself, or the test hangs here
		_, err := io.Copy(io.Discard, e.stream.Body)
		over["stream"] = err == nil
	}
	return over
}

// TestEndingPOP3 sees that a session which has been ended deletes nothing on its way out.
func TestEndingPOP3(t *testing.T) {
	s := startServer(t).hasty()
	s.put(t, "ann", "INBOX", "Subject: kept\n\nx\n", 0)
	l := endLogin(t, s, "pop3", "secret")
	if got := l.say("DELE 1"); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		return endLogins(tx, u.ID, EndEverywhere, nil)
	})
	if got := l.say("QUIT"); !strings.HasPrefix(got, "-ERR") {
		t.Errorf("QUIT: %q", got)
	}
	if mails := s.inbox(t, "ann@home.arpa"); len(mails) != 1 {
		t.Errorf("%d messages are left", len(mails))
	}
}

// TestDisabledLetters: what a person has put into the queue of waiting letters is not sent while the account is locked.
func TestDisabledLetters(t *testing.T) {
	s := startServer(t)
	for _, disabled := range []bool{true, false} {
		due := 0
		s.write(t, func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			u.Disabled = disabled
			if err := tx.UpdateUser(u); err != nil {
				return err
			}
			if disabled {
				if err := tx.SaveLetter(&Letter{User: u.ID, Fields: []byte(`{`), Due: tx.s.Now().Add(-time.Minute)}); err != nil {
					return err
				}
			}
			all, _, err := tx.DueLetters(tx.s.Now(), 10)
			due = len(all)
			return err
		})
		if (due == 0) != disabled {
			t.Errorf("disabled %v: %d letters are due", disabled, due)
		}
	}
}

// TestSetupEnds: a code of the first start is void once there is a user, every code after an hour, and one that was asked for
// beside users is good until then.
func TestSetupEnds(t *testing.T) {
	var clock webClock
	s := startServerAt(t, &clock).hasty()
	open := func() int {
		c := newWebClient(t, s)
		c.get("/setup")
		return c.code
	}
	remove := func() {
		s.write(t, func(tx *Tx) error {
			all, err := tx.Users()
			for _, u := range all {
				if err == nil {
					err = tx.RemoveUser(u.ID)
				}
			}
			return err
		})
	}
	links := func() {
		if _, err := webSetupLinks(s.cfg, s.store); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	links()
	if got := open(); got != 200 {
		t.Errorf("without users: %d", got)
	}
	if err := addTestUsers(s.store); err != nil {
		t.Fatal(err)
	}
	if got := open(); got != 404 {
		t.Errorf("the first start's code, once there are users: %d", got)
	}
	links()
	if got := open(); got != 200 {
		t.Errorf("beside users: %d", got)
	}
	clock.forward(webSetupTime + time.Minute)
	if got := open(); got != 404 {
		t.Errorf("after an hour: %d", got)
	}
}

// TestOwnPasswordAgain: a thief of a session gets nothing that lasts.
func TestOwnPasswordAgain(t *testing.T) {
	s := startServer(t, "[limits]", "logins_minute = 1000", "logins_day = 1000").hasty()
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	ann.get("/admin/users")
	self, bob := ann.find(`href="(/admin/users/\d+)">ann@`), ann.find(`href="(/admin/users/\d+)">bob@`)
	for _, c := range [][]string{
		{"/admin", "/admin/backup"},
		{self, self, "do", "password", "password", "a new secret"},
		{bob, bob, "do", "save", "admin", "1"},
		{"/admin/users", "/admin/users", "name", "eve", "password", "a new secret", "admin", "1"},
		{"/devices", "/devices", "do", "add", "name", "phone"},
		{"/settings/rules", "/settings/forward", "to", "eve@elsewhere.example"},
		{"/settings/security", "/settings/password", "password", "a new secret", "again", "a new secret"},
		{"/settings/security", "/settings/totp", "do", "off"},
	} {
		for _, old := range []string{"", "guessed"} {
			ann.get(c[0])
			if ann.post(c[1], append(c[2:], "old", old)...); ann.code != 422 {
				t.Errorf("%s with %q: %d", c[1], old, ann.code)
			}
		}
	}
	ann.get(self)
	if ann.post(self, "do", "second"); ann.code != 422 {
		t.Errorf("the own second factor by the administrator's page: %d", ann.code)
	}
	for _, secret := range []string{"", "AA======", "not base32"} {
		code, _ := webCode(secret, s.store.Now().Unix()/webCodeStep)
		ann.get("/settings/security")
		if ann.post("/settings/totp", "do", "confirm", "secret", secret, "code", code, "old", "secret"); ann.code != 400 {
			t.Errorf("the secret %q: %d", secret, ann.code)
		}
	}
	secret := webNewSecret()
	s.setRule(t, "ann", PrefTOTP, webTOTP{Secret: secret})
	code, _ := webCode(secret, s.store.Now().Unix()/webCodeStep)
	other := webNewSecret()
	otherCode, _ := webCode(other, s.store.Now().Unix()/webCodeStep)
	ann.get("/settings/security")
	if ann.post("/settings/totp", "do", "confirm", "secret", other, "code", otherCode, "old", "secret"); ann.code != 409 {
		t.Errorf("a second factor was replaced: %d", ann.code)
	}
	for now, want := range map[string]int{"": 422, "000000": 422} {
		ann.get("/settings/security")
		if ann.post("/settings/totp", "do", "off", "old", "secret", "now", now); ann.code != want {
			t.Errorf("off with the code %q: %d", now, ann.code)
		}
	}
	ann.get("/settings/security")
	if ann.post("/settings/totp", "do", "off", "old", "secret", "now", code); ann.code != 200 {
		t.Errorf("off with the right code: %d", ann.code)
	}
}

// TestSessionMost: a session ends at last, however often it is used, and only our own names are ours.
func TestSessionMost(t *testing.T) {
	var clock webClock
	s := startServerAt(t, &clock).hasty()
	c := newWebClient(t, s)
	c.get("/login")
	c.post("/login", "name", "ann", "password", "secret", "remember", "1")
	for used := time.Duration(0); used < sessionMost-webLongSession; used += webLongSession / 2 {
		clock.forward(webLongSession / 2)
		if c.get("/settings"); c.at != "/settings" {
			t.Fatalf("after %v: %s", used, c.at)
		}
	}
	clock.forward(webLongSession - time.Hour)
	c.get("/settings")
	clock.forward(webLongSession - time.Hour)
	if c.get("/settings"); !strings.HasPrefix(c.at, "/login") {
		t.Errorf("a session has no end: %s", c.at)
	}
	for host, want := range map[string]bool{"mx.local": true, "mx-2.local": true, "mx.home.arpa": true, "localhost": true, "192.168.1.5:8080": true,
		"evil.local": false, "mx-x.local": false, "mxx.local": false} {
		if got := s.web.knownHost(host); got != want {
			t.Errorf("%s is ours: %v", host, got)
		}
	}
}
