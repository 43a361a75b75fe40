package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestWebLanguagesBounded asks for pages in languages that nobody speaks: nothing is kept for them.
func TestWebLanguagesBounded(t *testing.T) {
	s := startServer(t)
	for i := range 20 {
		r, err := http.NewRequest("GET", "http://"+s.addr["http"]+"/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", fmt.Sprintf("postino-lang=x%d; postino-theme=\"><%d", i, i))
		if page := newWebClient(t, s).do(r); !strings.Contains(page, `<html lang="en"`) {
			t.Fatalf("an unknown language is answered with %.200q", page)
		}
	}
	s.web.mu.Lock()
	defer s.web.mu.Unlock()
	if len(s.web.pages) > len(webLanguages) {
		t.Errorf("%d languages are kept", len(s.web.pages))
	}
}

// TestWebCodesBounded calls the help page by many names of this machine: QR codes are kept, but not all of them.
func TestWebCodesBounded(t *testing.T) {
	s := startServer(t)
	out := newWebClient(t, s)
	for i := range 2 * webMaxCodes {
		r, err := http.NewRequest("GET", out.base+"/help", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = fmt.Sprintf("127.0.0.%d", i+1)
		if out.do(r); out.code != 200 {
			t.Fatal(out.code)
		}
	}
	if n := len(s.web.codes.all); n == 0 || n > webMaxCodes {
		t.Errorf("%d codes are kept", n)
	}
}

// TestWebFormBudget holds forms open with as much text as one person may have in memory. The same person's next form is put
// off, another person's is taken, and when the first ones end there is room again. A stranger's form is small anyway.
func TestWebFormBudget(t *testing.T) {
	s := startServer(t)
	ann, bob := newWebClient(t, s).login("ann"), newWebClient(t, s).login("bob")
	cookie := ""
	for _, c := range ann.c.Jar.Cookies(mustURL(t, ann.base)) {
		cookie += c.Name + "=" + c.Value + "; "
	}
	piece := strings.Repeat("x", webMaxForm/2)
	var held []net.Conn
	for range webOwnFormsRoom / (webMaxForm / 2) {
		nc, err := net.Dial("tcp", s.addr["http"])
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
		fmt.Fprintf(nc, "POST /contacts HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", cookie, webMaxForm)
		io.WriteString(nc, piece)
	}
	waitFor(t, "the forms to be counted", func() bool {
		s.web.forms.mu.Lock()
		defer s.web.forms.mu.Unlock()
		return s.web.forms.all >= webOwnFormsRoom-1000
	})
	add := func(c *webClient) int {
		c.get("/contacts")
		c.post("/contacts", "do", "add", "name", "y", "address", "z@x.example", "more", strings.Repeat("y", 2000))
		return c.code
	}
	if got := add(ann); got != 503 {
		t.Errorf("one more form of the same person: %d", got)
	}
	if got := add(bob); got != 200 {
		t.Errorf("another person's form: %d", got)
	}
	for _, nc := range held {
		nc.Close()
	}
	waitFor(t, "the room to be given back", func() bool {
		s.web.forms.mu.Lock()
		defer s.web.forms.mu.Unlock()
		return s.web.forms.all == 0 && len(s.web.forms.own) == 0
	})
	if got := add(ann); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
	out := newWebClient(t, s)
	out.get("/login")
	if out.post("/login", "name", strings.Repeat("n", webMaxStrangersForm), "password", "x"); out.code != 413 {
		t.Errorf("a stranger's long form: %d", out.code)
	}
}

// TestWebStreams opens more event streams than one person may have: the oldest makes room, and another person's stays.
func TestWebStreams(t *testing.T) {
	s := startServer(t)
	listen := func(c *webClient) *bufio.Scanner {
		res, err := c.c.Get(c.base + "/events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		}
		return lines
	}
	bob := listen(newWebClient(t, s).login("bob"))
	ann := newWebClient(t, s).login("ann")
	first := listen(ann)
	for range webMaxOwnStreams {
		listen(ann)
	}
	last := ""
	for first.Scan() {
		if first.Text() != "" {
			last = first.Text()
		}
	}
	if last != fmt.Sprintf("retry: %d", webLater.Milliseconds()) {
		t.Errorf("the oldest stream ended with %q", last)
	}
	s.put(t, "bob", "INBOX", "Subject: for bob\n\nx\n", 0)
	for bob.Scan() && !strings.Contains(bob.Text(), "for bob") {
	}
	if bob.Err() != nil || !strings.Contains(bob.Text(), "for bob") {
		t.Errorf("bob's stream: %v", bob.Err())
	}
}

// TestWebStreamsShared fills all places: whoever has the most streams makes room for somebody who has none.
func TestWebStreamsShared(t *testing.T) {
	ended := map[UserID]int{}
	s := &webStreams{}
	join := func(u UserID) { s.join(&webStream{u, func() { ended[u]++ }}) }
	for i := range webMaxStreams {
		join(UserID(1 + i%5))
	}
	join(1) // 11 of 51
	join(9)
	if s.count() != webMaxStreams || ended[9] != 0 || ended[1] != 1 || ended[2] != 1 {
		t.Errorf("%d streams, ended %v", s.count(), ended)
	}
}

// TestWebNoPrefetch sees that browsers are told not to look up the hosts of links in advance, on every kind of page.
func TestWebNoPrefetch(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "From: x@y\nContent-Type: text/html\n\n<a href=https://tracker.example/>x</a>\n", 0)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	for _, path := range []string{"/login", "/mail", fmt.Sprintf("/box/%s/%d", box, uid), fmt.Sprintf("/box/%s/%d/html", box, uid)} {
		if ann.get(path); ann.head.Get("X-DNS-Prefetch-Control") != "off" {
			t.Errorf("%s lets browsers look up hosts: %v", path, ann.head)
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
