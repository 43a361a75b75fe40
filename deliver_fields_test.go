package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// acceptAs has ann, who has logged in, send a message with a header to bob.
func (s *testServer) acceptAs(t *testing.T, user, raw string) error {
	t.Helper()
	u, err := read(s.store, func(tx *Tx) (User, error) { return tx.UserByName(user) })
	if err != nil {
		t.Fatal(err)
	}
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, user)}, Submitted: true, Login: &u, To: rcptsTo(mustAddr(t, "bob@home.arpa")), Body: s.store.NewSpool(4 << 20)}
	defer m.Body.Close()
	io.WriteString(m.Body, raw)
	return s.accept(m)
}

// Who logs in writes as themselves, wherever in the header and in whatever form the From field stands.
func TestFromIsOwn(t *testing.T) {
	s := startServer(t)
	long := strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\r\n", 100)
	many := strings.Repeat("X: y\r\n", 11_000)
	for header, want := range map[string]error{
		"From: Ann <ann@home.arpa>\r\n":                              nil,
		"From: ann+work@home.arpa\r\n":                               nil,
		"Subject: without\r\n":                                       nil,
		"From: bob@home.arpa\r\n":                                    errNotSender,
		"From: friends: ann@home.arpa;\r\n":                          nil,
		"From: \"Bob <bob@home.arpa>\":;\r\n":                        errFromNobody,
		"From: undisclosed:;\r\n":                                    errFromNobody,
		"From: \r\n":                                                 nil, // an empty field is filled in
		"From: friends: ann@home.arpa, bob@home.arpa;\r\n":           errNotSender,
		"From: ann@home.arpa, bob@home.arpa\r\n":                     errNotSender,
		"From: ann@home.arpa\r\nFrom: ann@home.arpa\r\n":             errFromTwice,
		"From: ann@home.arpa\r\nfrom : bob@home.arpa\r\n":            errNotSender,
		"From: ann@home.arpa\r\n" + long + "From: bob@home.arpa\r\n": errNotSender,
		"From: ann@home.arpa\r\n" + many + "From: bob@home.arpa\r\n": errNotSender,
		long + many + "From: ann@home.arpa\r\n":                      nil,
		"From: ann@home.arpa\r\nSubject: \r\n\tx\r\n" + long + many + "X-From: bob@home.arpa\r\n": nil,
	} {
		err := s.acceptAs(t, "ann@home.arpa", header+"\r\nbody\r\nFrom: bob@home.arpa\r\n")
		if want == nil && err != nil || !errors.Is(err, want) {
			t.Errorf("%.60q…: %v, not %v", header, err, want)
		}
	}
}

// A verdict that came with the message and claims to be ours is made one of nobody's; others stay as they are.
func TestForgedVerdict(t *testing.T) {
	s := startServer(t)
	forged := []string{"mx.home.arpa; dkim=pass", " MX.Home.ARPA ; spf=pass", "home.arpa; dmarc=pass", "\"mx.home.arpa\" 1; dkim=pass", "(a (b) ; c) mx.home.arpa. (d); dkim=pass",
		"\r\n\tmx.home.arpa;\r\n\tdkim=pass", "mx.home.arpa/1; none", "mx.home.arpa"}
	kept := []string{"mx.example.com; dkim=pass", "mx.home.arpa.example.com; dkim=pass", "x.mx.home.arpa; dkim=pass", ""}
	raw := "Subject: x\r\n"
	for i, f := range append(forged, kept...) {
		name := []string{"Authentication-Results", "authentication-results", "AUTHENTICATION-RESULTS "}[i%3]
		raw += name + ":" + f + "\r\n"
	}
	raw += strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\r\n", 100) + "Authentication-Results: mx.home.arpa; arc=pass\r\n\r\nAuthentication-Results: mx.home.arpa; body\r\n"
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "x@example.com")}, To: rcptsTo(mustAddr(t, "bob@home.arpa")), Body: s.store.NewSpool(4 << 20), Stranger: true}
	defer m.Body.Close()
	io.WriteString(m.Body, raw)
	if err := s.accept(m); err != nil {
		t.Fatal(err)
	}
	got := s.inbox(t, "bob@home.arpa")[0]
	if n := strings.Count(got, verdictHidden); n != len(forged)+1 {
		t.Errorf("%d fields were hidden, not %d:\n%.1500s", n, len(forged)+1, got)
	}
	header, body, _ := strings.Cut(got, "\r\n\r\n")
	if n := strings.Count(strings.ToLower(header), "\r\nauthentication-results"); n != len(kept) || !strings.HasPrefix(body, "Authentication-Results: mx.home.arpa; body") {
		t.Errorf("%d fields were kept, not %d; body %q", n, len(kept), body)
	}
	if len(verdictField) != len(verdictHidden) {
		t.Error("the names have different lengths")
	}
}

// Mail for the postmaster and for root finds the first administrator, whatever names they have.
func TestPostmasterAndRoot(t *testing.T) {
	s := startServer(t)
	for _, to := range []string{"postmaster@home.arpa", "Postmaster@mx.home.arpa", "root@home.arpa", "root@mx.home.arpa", "ROOT@home.arpa"} {
		r, err := s.resolve(mustAddr(t, to))
		if err != nil || len(r.users) != 1 {
			t.Errorf("%s: %+v, %v", to, r, err)
		}
	}
	if _, err := s.resolve(mustAddr(t, "toor@home.arpa")); !errors.Is(err, errNoUser) {
		t.Errorf("toor: %v", err)
	}
	s.write(t, func(tx *Tx) error { return tx.AddAlias("root@home.arpa", "bob@home.arpa") })
	r, err := s.resolve(mustAddr(t, "root@home.arpa"))
	if err != nil || len(r.users) != 1 || r.users[0].Name != "bob@home.arpa" {
		t.Errorf("root with an alias: %+v, %v", r, err)
	}
}

// Marks of mail that no person wrote, and such as look like them.
func TestAutomaticMarks(t *testing.T) {
	for field, want := range map[string]bool{
		"Auto-Submitted: auto-generated": true, "auto-submitted:  Auto-Replied; x=y": true, "Auto-Submitted: no": false, "Auto-Submitted: No (really)": false,
		"Auto-Submitted: auto-notified": true, "Precedence: bulk": true, "Precedence: first-class": false, "Precedence: list": true, "Precedence: JUNK": true,
		"X-Auto-Response-Suppress: All": true, "X-Auto-Response-Suppress: DR, OOF, AutoReply": true, "X-Auto-Response-Suppress: None": false,
		"X-Auto-Response-Suppress: DR": false, "List-Id: <a.b>": true, "List-Unsubscribe: <mailto:x@y>": true, "X-List-Administrivia: no": true, "Listen: x": false,
		"X-Loop: ann@home.arpa": true, "X-Autoreply: yes": true, "X-Autorespond: on": true, "X-Mailing-List: x": true, "X-BeenThere: x@y": true,
		"Content-Type: multipart/report; report-type=delivery-status": true, "Content-Type: multipart/mixed": false, "Return-Path: <>": true, "Return-Path: <a@b>": false,
		"X-Failed-Recipients: a@b": true, "X-FC-MachineGenerated: true": true, "Feedback-ID: a:b": true, "X-Cron-Env: <SHELL=/bin/sh>": true, "Subject: bulk": false,
		"X-Spam-Flag: YES": true, "X-Spam-Flag: NO": false, "Auto-Submitted:\r\n auto-replied": true,
	} {
		name, value, _ := strings.Cut(field, ":")
		if got := isAutomatic(strings.ToLower(name), value); got != want {
			t.Errorf("%q: %v", field, got)
		}
	}
	for local, want := range map[string]bool{
		"ann": false, "owner-list": true, "list-owner": true, "list-request": true, "noreply": true, "No-Reply": true, "do_not_reply": true, "donotreply+x": true,
		"bounces+ann=home.arpa": true, "list-bounces": true, "list-bounces+ann=home.arpa": true, "mailer-daemon": true, "postmaster": true, "root": true, "rootsy": false,
		"news-noreply": true, "requested": false, "MAILER-DAEMON": true, "cron": true, "cronin": false, "list-confirm+abc": true, "ann.owner": false, "owner": false,
	} {
		if got := isMachine(local); got != want {
			t.Errorf("%q: %v", local, got)
		}
	}
}

// All mail of a device with a sender is from there, in the header as in the envelope, however its From field is written.
func TestDeviceSender(t *testing.T) {
	s := startServer(t)
	for i, header := range []string{"From: Boss <boss@bank.test>\r\n", "Subject: x\r\nfrom : bob@home.arpa\r\nFROM: \"camera@home.arpa\" <x@y.test>\r\n", "Subject: x\r\n",
		"From: camera@home.arpa\r\n", strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\r\n", 100) + "From: boss@bank.test\r\n", ""} {
		a := mustAddr(t, "camera@home.arpa")
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: a}, Submitted: true, Sender: a, To: rcptsTo(mustAddr(t, "bob@home.arpa")), Body: s.store.NewSpool(4 << 20)}
		io.WriteString(m.Body, header+"\r\nFrom: body\r\n")
		err := s.accept(m)
		m.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := s.inbox(t, "bob@home.arpa")[i]
		h, body, _ := strings.Cut(got, "\r\n\r\n")
		from, n := "", 0
		eachField(h+"\r\n", func(_ int, name, value string) error {
			if strings.EqualFold(name, "From") {
				from, n = strings.TrimSpace(value), n+1
			}
			return nil
		})
		if n != 1 || from != "camera@home.arpa" || body != "From: body\r\n" {
			t.Errorf("%.60q: %d From fields, the last is %q; body %q", header, n, from, body)
		}
	}
}
