package main

import (
	"strings"
	"testing"
)

// TestPasswordRule holds the rule, and that verbs, set-up, administration and settings follow it.
func TestPasswordRule(t *testing.T) {
	ann := Addr{"Ann.Miller", "home.arpa"}
	for password, want := range map[string]string{
		"abc": "at least 8", "你好吗": "at least 8", "你好吗你好吗你好": "", "password": "guessed first", "PASSWORD": "guessed first", " 12345678 ": "guessed first",
		"        ": "Blanks", "ann.miller@home.arpa": "address", "ann.miller": "address", "home.arpa": "guessed first", "correct horse": "",
	} {
		got := PasswordFault(password, ann, passwordLeast)
		if (got == "") != (want == "") || (!strings.Contains(got, want) && password != "home.arpa") {
			t.Errorf("%q: %q", password, got)
		}
	}
	if n := strings.Count(worstPasswords, "\n"); n != 1001 {
		t.Errorf("%d lines of bad passwords", n)
	}
	c := newTestCommand(t, "")
	c.want(1, "at least 6", "abc\n", "user", "add", "ann@home.arpa")
	c.want(1, "guessed first", "password\n", "user", "add", "ann@home.arpa")
	c.want(0, "", "secret\n", "user", "add", "ann@home.arpa")
	c.want(1, "The address", "ann@home.arpa\n", "user", "passwd", "ann@home.arpa")

	s := startServer(t, "[limits]", "logins_minute = 1000", "logins_day = 1000").hasty()
	s.admin(t, "ann")
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(links[0], "#")
	w := newWebClient(t, s).login("ann")
	w.get("/admin/users")
	bob := w.find(`href="(/admin/users/\d+)">bob@`)
	for _, bad := range []string{"password", "你好吗", "        "} {
		for _, form := range [][]string{
			{"/settings/security", "/settings/password", "old", "secret", "password", bad, "again", bad},
			{"/admin/users", "/admin/users", "name", "eve", "password", bad},
			{bob, bob, "do", "password", "password", bad},
			{"/setup", "/setup", "name", "eve", "domain", "home.arpa", "password", bad, "again", bad, "code", code},
		} {
			w.get(form[0])
			if w.post(form[1], form[2:]...); w.code != 422 && w.code != 400 {
				t.Errorf("%s takes %q: %d", form[1], bad, w.code)
			}
		}
	}
}
