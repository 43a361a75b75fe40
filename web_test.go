package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// webClient is a browser without scripts: it keeps cookies, follows redirects and fills in forms.
type webClient struct {
	t    testing.TB
	s    *testServer
	c    *http.Client
	base string
	page string // what came last
	code int
	at   string // its address
	head http.Header
}

func newWebClient(t testing.TB, s *testServer) *webClient {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &webClient{t: t, s: s, c: &http.Client{Jar: jar, Timeout: testPatience}, base: "http://" + s.addr["http"]}
}

func (c *webClient) do(r *http.Request) string {
	c.t.Helper()
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "text/html")
	}
	res, err := c.c.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.page, c.code, c.at, c.head = string(b), res.StatusCode, res.Request.URL.RequestURI(), res.Header
	return c.page
}

func (c *webClient) get(path string) string {
	c.t.Helper()
	r, err := http.NewRequest("GET", c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(r)
}

var webTokenField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// token is the form token of the page that came last.
func (c *webClient) token() string {
	m := webTokenField.FindStringSubmatch(c.page)
	if m == nil {
		c.t.Helper()
		c.t.Fatalf("no form on %s: %.300s", c.at, c.page)
	}
	return m[1]
}

// post sends a form with the token of the page that came last; fields are name, value, name, value.
func (c *webClient) post(path string, fields ...string) string {
	c.t.Helper()
	v := url.Values{"csrf": {c.token()}}
	for i := 0; i < len(fields); i += 2 {
		v.Add(fields[i], fields[i+1])
	}
	r, err := http.NewRequest("POST", c.base+path, strings.NewReader(v.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

// letter sends the form of a letter, with files as name → content.
func (c *webClient) letter(files map[string]string, fields ...string) string {
	c.t.Helper()
	return c.upload("/compose", "files", func(add func(name string, content io.Reader)) {
		for name, content := range files {
			add(name, strings.NewReader(content))
		}
	}, fields...)
}

// letterFile is letter with one file that need not be in memory.
func (c *webClient) letterFile(name string, content io.Reader, fields ...string) string {
	c.t.Helper()
	return c.upload("/compose", "files", func(add func(string, io.Reader)) { add(name, content) }, fields...)
}

// upload sends a form with files in the given field.
func (c *webClient) upload(path, field string, files func(add func(name string, content io.Reader)), fields ...string) string {
	c.t.Helper()
	pr, pw := io.Pipe()
	mw := multipart.NewWriter(pw)
	token := c.token()
	go func() {
		mw.WriteField("csrf", token)
		for i := 0; i < len(fields); i += 2 {
			mw.WriteField(fields[i], fields[i+1])
		}
		files(func(name string, content io.Reader) {
			if w, err := mw.CreateFormFile(field, name); err == nil {
				io.Copy(w, content)
			}
		})
		pw.CloseWithError(mw.Close())
	}()
	r, err := http.NewRequest("POST", c.base+path, pr)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", mw.FormDataContentType())
	return c.do(r)
}

func (c *webClient) login(name string) *webClient {
	c.t.Helper()
	c.get("/login")
	c.post("/login", "name", name, "password", "secret")
	if c.code != 200 || !strings.HasPrefix(c.at, "/box/") {
		c.t.Fatalf("login as %s: %d at %s", name, c.code, c.at)
	}
	return c
}

// want fails unless the page that came last has all the texts.
func (c *webClient) want(texts ...string) {
	c.t.Helper()
	for _, x := range texts {
		if !strings.Contains(c.page, x) {
			c.t.Fatalf("%s (%d) lacks %q:\n%.3000s", c.at, c.code, x, c.page)
		}
	}
}

// find returns the first group of a pattern on the page that came last.
func (c *webClient) find(pattern string) string {
	c.t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(c.page)
	if m == nil {
		c.t.Fatalf("%s (%d) has no %s:\n%.3000s", c.at, c.code, pattern, c.page)
	}
	return m[1]
}

// put puts a message into a mailbox of a user.
func (s *testServer) put(t testing.TB, user, box, raw string, f FlagBits) UID {
	t.Helper()
	return s.putFlagged(t, user, box, raw, f, s.store.Now())
}

// putAt puts a message that came at some time.
func (s *testServer) putAt(t testing.TB, user, box, raw string, at time.Time) UID {
	t.Helper()
	return s.putFlagged(t, user, box, raw, 0, at)
}

func (s *testServer) putFlagged(t testing.TB, user, box, raw string, f FlagBits, at time.Time) UID {
	t.Helper()
	sp := s.store.NewSpool(100 << 20)
	defer sp.Close()
	io.WriteString(sp, strings.ReplaceAll(raw, "\n", "\r\n"))
	var m Message
	err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName(user + "@home.arpa")
		if err != nil {
			return err
		}
		mb, err := tx.MailboxByName(u.ID, box)
		if err != nil {
			return err
		}
		b, err := tx.AddBlob(sp)
		if err == nil {
			m, err = tx.Append(mb, b, Flags{Bits: f}, at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m.UID
}

// waitFor tries until the page has the text.
func (c *webClient) waitFor(path, text string) {
	c.t.Helper()
	waitFor(c.t, path+" to show "+text, func() bool { return strings.Contains(c.get(path), text) })
}

// TestWebFlow is the main way through the pages without any script: log in, read, answer with an attachment, find it with
// its receiver, move and bring back.
func TestWebFlow(t *testing.T) {
	s := startServer(t)
	s.put(t, "ann", "INBOX", "From: Bob <bob@home.arpa>\nTo: ann@home.arpa\nSubject: =?utf-8?B?5L2g5aW9?= boat\nMessage-ID: <1@x>\n\nShall we go <b>out</b>?\n", 0)
	ann := newWebClient(t, s).login("ann")
	ann.want("你好 boat", "Bob", "Shall we go &lt;b&gt;out&lt;/b&gt;?", `class="mail unread"`)
	href := ann.find(`href="(/box/\d+/\d+)`)
	ann.get(href)
	ann.want("你好 boat", "&lt;b&gt;out&lt;/b&gt;")
	ann.get("/mail")
	if strings.Contains(ann.page, "mail unread") {
		t.Error("still unread after reading")
	}
	ann.get("/compose?reply=" + strings.Replace(href[5:], "/", ".", 1))
	ann.want(`value="Bob &lt;bob@home.arpa&gt;"`, "Re: 你好 boat", "&gt; Shall we go")
	fields := []string{"to", "Bob <bob@home.arpa>", "subject", "Re: 你好 boat", "text", "Yes!\n", "source", ann.find(`name="source" value="([^"]+)"`),
		"kind", "reply", "inreplyto", "<1@x>", "references", "<1@x>"}
	ann.letter(map[string]string{"日历.txt": "hello file"}, append(fields, "do", "attach")...)
	ann.want("日历.txt")
	id := ann.find(`name="id" value="(\d+)"`)
	ann.letter(nil, append(fields, "id", id, "do", "send")...)
	ann.want("Sending")
	bob := newWebClient(t, s).login("bob")
	s.hurry(t)
	bob.waitFor("/mail", "Re: 你好 boat")
	bob.get(bob.find(`href="(/box/\d+/\d+)`))
	bob.want("Yes!", "日历.txt", "ann@home.arpa")
	file := bob.find(`class="file" href="([^"]+)"`)
	if got := bob.get(file); got != "hello file" {
		t.Errorf("the attachment is %q", got)
	}
	for k, want := range map[string]string{"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": `attachment; filename="__.txt"; filename*=UTF-8''%E6%97%A5%E5%8E%86.txt`} {
		if got := bob.head.Get(k); got != want {
			t.Errorf("%s of an attachment is %q", k, got)
		}
	}
	ann.get(href)
	ann.get("/mail")
	ann.want("Answered")
	key := ann.find(`name="m" value="([^"]+)"`)
	ann.post("/act", "m", key, "do", "archive", "back", "/mail")
	ann.want("1 message archived.", "There is nothing here.")
	ann.post("/undo", "u", strings.ReplaceAll(ann.find(`name="u" value="([^"]+)"`), "&gt;", ">"), "back", "/mail")
	ann.want("1 message brought back.", "你好 boat")
}

// hurry makes every letter that waits due now.
func (s *testServer) hurry(t testing.TB) {
	t.Helper()
	err := s.store.Write(func(tx *Tx) error {
		due, _, err := tx.DueLetters(s.store.Now().Add(time.Hour), 100)
		for i := range due {
			due[i].Due = s.store.Now()
			if err == nil {
				err = tx.SaveLetter(&due[i])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.web.wakeSender()
}

// TestWebForms sees that no form works without its token, from another site, under another name, or without login.
func TestWebForms(t *testing.T) {
	s := startServer(t)
	c := newWebClient(t, s).login("ann")
	try := func(name string, want int, change func(*http.Request)) {
		t.Helper()
		r, _ := http.NewRequest("POST", c.base+"/folders", strings.NewReader("do=create&name=X&csrf="+url.QueryEscape(c.token())))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(r)
		keep := c.page
		c.do(r)
		if c.code != want {
			t.Errorf("%s: %d, want %d", name, c.code, want)
		}
		c.page = keep
	}
	body := func(s string) func(*http.Request) {
		return func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader(s)), int64(len(s)) }
	}
	try("no token", 403, body("do=create&name=X"))
	try("wrong token", 403, body("do=create&name=X&csrf=abc"))
	try("another site", 403, func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") })
	try("another site, newer browser", 403, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	try("another name", 421, func(r *http.Request) { r.Host = "evil.example" })
	try("too long", 413, body("csrf="+strings.Repeat("a", 2<<20)))
	try("good", 200, func(r *http.Request) {})
	out := newWebClient(t, s)
	out.get("/login")
	out.post("/folders", "do", "create", "name", "Y")
	if out.code != 401 {
		t.Errorf("a form without login: %d", out.code)
	}
	for _, path := range []string{"/mail", "/outbox", "/box/1", "/box/1/1/eml"} {
		if out.get(path); !strings.HasPrefix(out.at, "/login?to=") {
			t.Errorf("%s without login led to %s", path, out.at)
		}
	}
}

// TestWebLoginLeads: the login leads back to where one was, and nowhere else.
func TestWebLoginLeads(t *testing.T) {
	s := startServer(t)
	for to, want := range map[string]string{
		"/search?q=x": "/search?q=x", "//evil.example": "/mail", "/\\evil.example": "/mail", "https://evil.example/": "/mail", "javascript:x": "/mail",
		"/\t/evil.example": "/mail", "/a\r\nX-Evil: y": "/mail", "": "/mail",
	} {
		c := newWebClient(t, s)
		c.c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c.get("/login?to=" + url.QueryEscape(to))
		c.post("/login", "name", "ann", "password", "secret", "to", to)
		if at := c.head.Get("Location"); c.code != 303 || at != want || c.head.Get("X-Evil") != "" {
			t.Errorf("%q leads to %q", to, at)
		}
	}
}

// TestWebPassword: a thief of a session can't change the password, and a new one ends all other sessions.
func TestWebPassword(t *testing.T) {
	s := startServer(t)
	c, other := newWebClient(t, s).login("ann"), newWebClient(t, s).login("ann")
	c.get("/settings/security")
	c.post("/settings/password", "password", "new secret", "again", "new secret", "old", "guessed")
	if c.code != 422 {
		t.Errorf("with a wrong password: %d", c.code)
	}
	if other.get("/settings"); other.at != "/settings" {
		t.Errorf("a password that was not changed ended a session: %s", other.at)
	}
	c.get("/settings/security")
	c.post("/settings/password", "password", "new secret", "again", "new secret", "old", "secret")
	c.want("The password is changed.")
	if other.get("/settings"); !strings.HasPrefix(other.at, "/login") {
		t.Errorf("the other session goes on at %s", other.at)
	}
}

// TestWebDownloads: whatever a file is called and says it is, it is saved under a harmless name and shown by no browser.
func TestWebDownloads(t *testing.T) {
	s := startServer(t)
	kinds := []string{"text/html", "image/svg+xml", "application/xml", "application/xhtml+xml", "text/javascript", "application/pdf", "application/x-\"<b>"}
	names := []string{`a\"; filename=b.html`, "..\\\\..\\\\x", "../../x", "a\u202egpj.exe", "a\x00b", "=?utf-8?q?a=0D=0AX-Evil:_y?=", "=?utf-8?q?=E2=80=AEgpj?=", " . ", "a\tb;c"}
	var b strings.Builder
	b.WriteString("Subject: =?utf-8?q?a=0D=0AX-Evil:_y?= ../../z\nContent-Type: multipart/mixed; boundary=b\n\n")
	for i, n := range names {
		fmt.Fprintf(&b, "--b\nContent-Type: %s\nContent-Disposition: inline; filename=\"%s\"\n\n<script>\n", kinds[i%len(kinds)], n)
	}
	uid := s.put(t, "ann", "INBOX", b.String()+"--b--\n", 0)
	c := newWebClient(t, s).login("ann")
	at := fmt.Sprintf("%s/%d", c.find(`(/box/\d+)`), uid)
	paths := []string{at + "/all.zip", at + "/eml"}
	for i := range names {
		paths = append(paths, fmt.Sprintf("%s/part/%d", at, i+1))
	}
	for _, p := range paths {
		c.get(p)
		kind, params, err := mime.ParseMediaType(c.head.Get("Content-Disposition"))
		if name := params["filename"]; c.code != 200 || err != nil || kind != "attachment" || name == "" || len(params) != 1 || strings.ContainsAny(name, "/\\\r\n\x00\u202e") ||
			strings.HasPrefix(name, ".") {
			t.Errorf("%s: %d, %q, %v", p, c.code, c.head.Get("Content-Disposition"), err)
		}
		if k := c.head.Get("Content-Type"); !slices.Contains([]string{"application/octet-stream", "application/zip", "message/rfc822", "application/pdf", "text/plain"}, k) ||
			c.head.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(c.head.Get("Content-Security-Policy"), "sandbox") || c.head.Get("X-Evil") != "" {
			t.Errorf("%s: %v", p, c.head)
		}
	}
}

// TestWebOthersMail sees that nobody reaches another's mail by its address, and that picture addresses can't be made up.
func TestWebOthersMail(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "Subject: secret\n\nx\n", 0)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	bob := newWebClient(t, s).login("bob")
	for _, tail := range []string{"", "/html", "/eml", "/source", "/header", "/print", "/part/1", "/all.zip"} {
		if bob.get(fmt.Sprintf("/box/%s/%d%s", box, uid, tail)); bob.code != 404 {
			t.Errorf("%s of another's message: %d", tail, bob.code)
		}
	}
	for _, path := range []string{"/box/" + box, "/box/" + box + "?q=secret", "/compose?reply=" + box + ".1", "/admin", "/inline/1/1/AAAA"} {
		if bob.get(path); bob.code != 404 {
			t.Errorf("%s: %d", path, bob.code)
		}
	}
	bob.get("/mail")
	bob.post("/act", "m", fmt.Sprintf("%s.%d", box, uid), "do", "delete")
	if bob.code != 404 {
		t.Errorf("deleting another's message: %d", bob.code)
	}
	bob.get("/mail")
	bob.post("/undo", "u", fmt.Sprintf("%s>%s 00 1:1", box, box))
	if bob.code != 404 {
		t.Errorf("undo on another's mail: %d", bob.code)
	}
}

// TestWebSearch tries every operator on a few messages.
func TestWebSearch(t *testing.T) {
	s := startServer(t)
	add := func(from, subject, body, extra string, f FlagBits) {
		s.put(t, "ann", "INBOX", fmt.Sprintf("From: %s\nTo: ann@home.arpa\nSubject: %s\n%s\n%s\n", from, subject, extra, body), f)
	}
	add("Bob <bob@lab.arpa>", "boat trip", "the big boat", "", 0)
	add("Rose <rose@home.arpa>", "lunch", "soup on sunday with a boat of sauce", "", FlagSeen|FlagFlagged)
	add("Bob <bob@lab.arpa>", "numbers", "see the file", "Content-Type: application/pdf\nContent-Disposition: attachment; filename=n.pdf\n", FlagSeen)
	add("王 <wang@lab.arpa>", "=?utf-8?B?5a6e6aqM?=", "周五的实验", "Content-Type: text/plain; charset=utf-8\n", FlagSeen)
	ann := newWebClient(t, s).login("ann")
	for q, want := range map[string]string{
		"boat": "boat trip|lunch", "from:bob": "boat trip|numbers", "from:bob boat": "boat trip", "subject:boat": "boat trip",
		"has:attachment": "numbers", "-has:attachment from:bob": "boat trip", "is:unread": "boat trip", "is:starred": "lunch",
		"-from:bob is:read": "lunch|实验", "实验": "实验", "周五": "实验", `"big boat"`: "boat trip", "before:2000-01-01": "",
		"after:2000-01-01 soup": "lunch", "on:today sauce": "lunch", "larger:1M": "", "smaller:1M from:rose": "lunch", "in:Trash boat": "",
		"to:ann body:soup": "lunch", "colour:red": "",
	} {
		ann.get("/search?q=" + url.QueryEscape(q))
		var got []string
		for _, m := range regexp.MustCompile(`<span class="subj">([^<]*)</span>`).FindAllStringSubmatch(ann.page, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		if strings.Join(got, "|") != want {
			t.Errorf("%s found %q, want %q", q, strings.Join(got, "|"), want)
		}
	}
	ann.get("/search?q=" + url.QueryEscape("colour:red"))
	ann.want("colour: means nothing here")
}

// webClock is a system clock that a test can put forward.
type webClock struct{ ahead atomic.Int64 }

func (c *webClock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// startServerAt is startServer under a clock.
func startServerAt(t testing.TB, c *webClock, config ...string) *testServer {
	t.Helper()
	now := func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }
	return startServerOn(t, filepath.Join(t.TempDir(), "mail.db"), StoreOptions{Now: now}, config...)
}

// TestWebOldConversation opens a message that lies far behind the newest ones: its conversation is that of its own time.
func TestWebOldConversation(t *testing.T) {
	var clock webClock
	s := startServerAt(t, &clock)
	first := s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: the roof\nMessage-ID: <1@x>\n\nbody one\n", 0)
	s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: Re: the roof\nMessage-ID: <2@x>\nReferences: <1@x>\n\nbody two\n", 0)
	s.write(t, func(tx *Tx) error { // as if 50,000 messages had come
		_, err := tx.exec(`UPDATE mailboxes SET uidnext=uidnext+50000 WHERE name='INBOX'`)
		return err
	})
	clock.forward(90 * 24 * time.Hour)
	for range 3 {
		s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: news\n\nx\n", 0)
	}
	ann := newWebClient(t, s).login("ann")
	ann.get(fmt.Sprintf("%s/%d", ann.find(`href="(/box/\d+)"`), first))
	ann.want("body one", "body two", "earlier")
}

// TestWebSearchPages goes through the pages of a search, whose result is remembered, while mail comes and goes.
func TestWebSearchPages(t *testing.T) {
	s := startServer(t)
	for i := range 120 {
		s.put(t, "ann", "INBOX", fmt.Sprintf("From: bob@home.arpa\nSubject: boat %d\n\nx\n", i), FlagSeen*FlagBits(i%2))
	}
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`href="(/box/\d+)"`)
	count := func() int { return strings.Count(ann.page, `<span class="subj">`) }
	ann.get(box + "?q=boat")
	ann.want("boat 119", "boat 70<", `1–50 of 51+`)
	ann.get(box + "?q=boat&p=2")
	ann.want("boat 0<", "101–120 of 120")
	if strings.Contains(ann.page, `rel="next"`) || count() != 20 {
		t.Errorf("the last page has %d messages", count())
	}
	ann.get(box + "?q=is:unread")
	ann.want("1–50 of 60<", "boat 118")
	ann.get(box + "?q=is:unread&p=1")
	ann.want("51–60 of 60<", "boat 0<")
	ann.get("/search?q=boat&p=99999")
	if ann.code != 200 || count() != 0 {
		t.Errorf("a page beyond the end: %d with %d messages", ann.code, count())
	}
	s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: boat new\n\nx\n", 0)
	ann.get(box + "?q=boat")
	ann.want("boat new")
	ann.post("/act", "all", "1", "box", strings.TrimPrefix(box, "/box/"), "q", "boat", "do", "read", "back", box)
	ann.want("121 messages marked as read.")
	ann.get(box + "?q=is:unread")
	ann.want("Nothing was found.")
	ann.get("/search?q=boat")
	ann.post("/act", "all", "1", "box", "0", "q", "boat", "do", "delete", "back", box)
	ann.want("121 messages moved to Trash.", "There is nothing here.")
	ann.post("/undo", "u", strings.ReplaceAll(ann.find(`name="u" value="([^"]+)"`), "&gt;", ">"), "back", box)
	ann.want("121 messages brought back.")
}

// TestWebAddresses reads address fields as people fill them in.
func TestWebAddresses(t *testing.T) {
	s := startServer(t)
	for field, want := range map[string]string{
		"bob":                            "bob@home.arpa",
		"bob, ann@lab.arpa；rose，wang、":   "bob@home.arpa ann@lab.arpa rose@home.arpa wang@home.arpa",
		`"Smith, Bob" <bob@lab.arpa>; x`: "bob@lab.arpa x@home.arpa",
		"team: ann, bob@lab.arpa;":       "ann@home.arpa bob@lab.arpa",
		"Bob Smith":                      "bad: Bob Smith",
		"Bob <>":                         "bad: Bob",
		"bob@":                           "bob@home.arpa",
		"@lab.arpa":                      "bad: @lab.arpa",
		"bob@lab..arpa":                  "bad: bob@lab..arpa",
		" , ;":                           "",
	} {
		list, bad := s.web.addresses(field)
		got := strings.TrimSpace("bad: " + bad)
		if bad == "" {
			var all []string
			for _, a := range list {
				all = append(all, a.Local+"@"+a.Domain)
			}
			got = strings.Join(all, " ")
		}
		if got != want {
			t.Errorf("%q is %q, want %q", field, got, want)
		}
	}
}

// TestWebDraftElsewhere has a mail program change and delete drafts that a page has open: nothing is lost, and nothing is
// left behind that nobody can see.
func TestWebDraftElsewhere(t *testing.T) {
	var clock webClock
	s := startServerAt(t, &clock)
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(map[string]string{"a.txt": "x"}, "to", "bob@home.arpa", "subject", "half", "text", "from the page", "do", "attach")
	id := ann.find(`name="id" value="(\d+)"`)
	replace := func(body string) {
		t.Helper()
		s.write(t, func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			m, err := tx.MailboxBySpecial(u.ID, `\Drafts`)
			if err != nil {
				return err
			}
			uids, _, err := tx.UIDs(m.ID, nil)
			if err == nil {
				_, err = tx.Expunge(m, uids)
			}
			return err
		})
		if body != "" {
			s.put(t, "ann", "Drafts", body, FlagDraft|FlagSeen)
		}
	}
	replace("From: ann@home.arpa\nTo: bob@home.arpa\nSubject: half\n\nfrom the phone\n")
	drafts := func() (n int64) { n, _ = s.in(t, "ann", "Drafts"); return n }
	ann.get("/compose?id=" + id)
	ann.letter(nil, "id", id, "to", "bob@home.arpa", "subject", "half", "text", "from the page, more", "do", "auto")
	if drafts() != 2 {
		t.Fatalf("%d drafts: the phone's and the page's are both wanted", drafts())
	}
	replace("")
	ann.get("/compose?id=" + id)
	ann.want("from the page, more", "a.txt")
	letters := func() (n int) {
		s.write(t, func(tx *Tx) error { return tx.one(`SELECT count(*) FROM letters`, nil, &n) })
		return n
	}
	ann.letter(nil, "subject", "another", "text", "x", "do", "save")
	if letters() != 2 {
		t.Errorf("%d letters", letters())
	}
	clock.forward(letterStray + time.Hour)
	ann.login("ann").get("/compose")
	ann.letter(nil, "subject", "third", "text", "x", "do", "save")
	if n := letters(); n != 2 || drafts() != 2 {
		t.Errorf("%d letters and %d drafts: the one that was deleted elsewhere is still kept", n, drafts())
	}
}

// webTexts are functions whose string arguments people read, and which of them: from the first or from the second on.
var webTexts = map[string]int{"T": 0, "F": 0, "N": 1, "say": 0, "sayBad": 0, "sayCount": 1, "webFault": 1, "page": 1, "guidePage": 1, "again": 0, "againDomains": 1, "lit": 1}

// TestWebWords sees that every text of the pages is there in Chinese, with the same blanks to fill in.
func TestWebWords(t *testing.T) {
	used := map[string]string{"Incoming mail": "web_autoconfig.go", "Outgoing mail": "web_autoconfig.go"}
	for _, m := range specialMailboxes[1:] {
		used[m.name] = "the folders that everybody has"
	}
	inTemplate := regexp.MustCompile(`\b(?:t|f|n [^"{}]*?)\s*"((?:[^"\\]|\\.)*)"(?:\s+"((?:[^"\\]|\\.)*)")?`)
	files, _ := filepath.Glob("web/*.html")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range regexp.MustCompile(`\{\{[^}]*\}\}`).FindAllString(string(b), -1) {
			for _, m := range inTemplate.FindAllStringSubmatch(action, -1) {
				for _, s := range m[1:] {
					if s != "" {
						used[s] = f
					}
				}
			}
		}
	}
	sources, _ := filepath.Glob("web*.go")
	for _, f := range append(sources, "auth_password.go") {
		if !strings.HasSuffix(f, "_test.go") {
			webTextsOf(t, f, used)
		}
	}
	if len(used) < 300 {
		t.Fatalf("only %d texts were found", len(used))
	}
	table, err := os.ReadFile("web/zh.txt")
	if err != nil {
		t.Fatal(err)
	}
	chinese, faults := webReadWords(string(table))
	for _, f := range faults {
		t.Error("web/zh.txt: ", f)
	}
	blanks := regexp.MustCompile(`%[a-z]`)
	for text, where := range used {
		zh, ok := chinese[text]
		if !ok {
			t.Errorf("%s: %q is not there in Chinese", where, text)
		} else if strings.Join(blanks.FindAllString(text, -1), "") != strings.Join(blanks.FindAllString(zh, -1), "") {
			t.Errorf("%q has other blanks in Chinese: %q", text, zh)
		}
	}
	for text := range chinese {
		if used[text] == "" {
			t.Errorf("%q is nowhere used", text)
		}
	}
}

// TestWebIcons sees that every icon that is asked for is drawn, and every drawing asked for.
func TestWebIcons(t *testing.T) {
	used := map[string]bool{}
	for _, o := range webFolderOrder {
		used[o.icon] = true
	}
	files, _ := filepath.Glob("web/*.html")
	files = append(files, "web_page.go")
	asked := regexp.MustCompile(`\{\{-? ?icon [^}]*\}\}|Icon: +"[a-z]+"`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range asked.FindAllString(string(b), -1) {
			for _, m := range regexp.MustCompile(`"([a-z]+)"`).FindAllStringSubmatch(action, -1) {
				used[m[1]] = true
			}
		}
	}
	for name := range used {
		if !strings.Contains(string(webIcon(name)), "<path ") {
			t.Errorf("the icon %q is not drawn in web/icons.svg", name)
		}
	}
	for name := range webIcons() {
		if !used[name] {
			t.Errorf("nothing shows the icon %q", name)
		}
	}
	if len(used) < 30 {
		t.Errorf("only %d icons were found", len(used))
	}
}

// webTextsOf collects the texts of a source file: arguments of webTexts, and literals in tables and fields that are
// translated later.
func webTextsOf(t *testing.T, file string, used map[string]string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil && s != "" {
				used[s] = file
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch fn := n.Fun.(type) {
			case *ast.Ident:
				name = fn.Name
			case *ast.SelectorExpr:
				name = fn.Sel.Name
			}
			from, ok := webTexts[name]
			if name == "status" {
				from, ok = 2, true
			}
			if name == "again" && len(n.Args) == 2 && file == "web_setup.go" {
				from = 1
			}
			if name == "say" && len(n.Args) == 3 { // the lights of the overview
				from = 1
			}
			for i, a := range n.Args {
				if ok && i >= from && (i == from || name == "N" || name == "sayCount" || name == "say") {
					add(a)
				}
			}
		case *ast.CompositeLit:
			webTextsIn(n, add)
		case *ast.AssignStmt:
			if s, ok := n.Lhs[0].(*ast.SelectorExpr); ok && (s.Sel.Name == "Error" || s.Sel.Name == "Title") {
				add(n.Rhs[0])
			}
		case *ast.FuncDecl:
			if n.Name.Name == "webReason" || n.Name.Name == "PasswordFault" {
				ast.Inspect(n, func(n ast.Node) bool {
					if r, ok := n.(*ast.ReturnStmt); ok {
						add(r.Results[0])
					}
					return true
				})
			}
		}
		return true
	})
}

// webTextsIn collects from tables: {"read", "Texts"}, Error: "Text", and {status, "Text"}.
func webTextsIn(n *ast.CompositeLit, add func(ast.Expr)) {
	kind := ""
	switch x := n.Type.(type) {
	case *ast.Ident:
		kind = x.Name
	case *ast.ArrayType:
		if id, ok := x.Elt.(*ast.Ident); ok && id.Name == "string" {
			kind = "strings"
		}
		if _, ok := x.Elt.(*ast.ArrayType); ok {
			for _, e := range n.Elts { // the tabs
				if c, ok := e.(*ast.CompositeLit); ok && len(c.Elts) == 2 {
					if l, ok := c.Elts[0].(*ast.BasicLit); ok && (l.Value == `""` || l.Value == strings.ToLower(l.Value)) {
						if r, ok := c.Elts[1].(*ast.BasicLit); ok && r.Kind == token.STRING && r.Value[1] >= 'A' && r.Value[1] <= 'Z' {
							add(r)
						}
					}
					if l, ok := c.Elts[0].(*ast.BasicLit); ok && l.Value == `"From"` {
						add(c.Elts[0])
					}
				}
			}
		}
		if s, ok := x.Elt.(*ast.StructType); ok && len(s.Fields.List) == 2 && len(n.Elts) == 4 { // webLevels
			for _, e := range n.Elts {
				if c, ok := e.(*ast.CompositeLit); ok && len(c.Elts) == 2 {
					add(c.Elts[0])
				}
			}
		}
	}
	for i, e := range n.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if ok {
			if id, isID := kv.Key.(*ast.Ident); isID && (id.Name == "Error" || id.Name == "Title") {
				add(kv.Value)
			}
			continue
		}
		if kind == "webError" && i == 1 {
			add(e)
		}
		if kind == "strings" && len(n.Elts) == 2 {
			if l, isLit := e.(*ast.BasicLit); isLit && strings.Contains(l.Value, "%s") {
				add(e)
			}
		}
	}
}
