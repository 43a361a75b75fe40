package main

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"
	"testing"
)

// wantIn fails unless a user's mailbox has so many messages.
func (s *testServer) wantIn(t *testing.T, user, box string, want int64) Flags {
	t.Helper()
	n, f := s.in(t, user, box)
	if n != want {
		t.Errorf("%d messages in %s, not %d", n, box, want)
	}
	return f
}

// press sends a form of the page that came last, which must be taken.
func (c *webClient) press(path string, fields ...string) {
	c.t.Helper()
	c.post(path, fields...)
	if c.code != 200 {
		c.t.Fatalf("%s %q: %d\n%.2000s", path, fields, c.code, c.page)
	}
}

// TestWebActs presses each button over a list once and looks into the mailboxes afterwards.
func TestWebActs(t *testing.T) {
	s := startServer(t)
	for i := range 3 {
		s.put(t, "ann", "INBOX", fmt.Sprintf("From: bob@home.arpa\nSubject: no %d\n\nx\n", i), 0)
	}
	ann := newWebClient(t, s).login("ann")
	list := ann.at
	box := ann.find(`name="box" value="(\d+)"`)
	ann.get("/folders")
	ann.press("/folders", "do", "create", "name", "Kept")
	kept := fmt.Sprint(s.folder(t, "ann", "Kept").ID)
	key := func() string { return ann.find(`name="m" value="([0-9.]+)"`) } // of the newest
	act := func(path, do string, more ...string) {
		t.Helper()
		ann.get(path)
		ann.press("/act", append([]string{"do", do, "m", key(), "back", list}, more...)...)
	}
	for _, x := range []struct {
		do    string
		bits  FlagBits
		words string
	}{
		{"read", FlagSeen, "1 message marked as read."}, {"star", FlagSeen | FlagFlagged, "1 message starred."},
		{"unread", FlagFlagged, "1 message marked as unread."}, {"unstar", 0, "1 star removed."},
	} {
		act(list, x.do)
		ann.want(x.words)
		if f := s.wantIn(t, "ann", "INBOX", 3); f.Bits != x.bits {
			t.Errorf("after %s the flags are %v", x.do, f)
		}
	}
	act(list, "copy", "dest", kept)
	ann.want("1 message copied. → Kept")
	s.wantIn(t, "ann", "INBOX", 3)
	s.wantIn(t, "ann", "Kept", 1)
	act(list, "move", "dest", kept)
	ann.want("1 message moved. → Kept")
	s.wantIn(t, "ann", "INBOX", 2)
	s.wantIn(t, "ann", "Kept", 2)
	ann.press("/undo", "u", html.UnescapeString(ann.find(`name="u" value="([^"]+)"`)), "back", list)
	ann.want("1 message brought back.")
	s.wantIn(t, "ann", "INBOX", 3)
	act(list, "junk")
	junk := fmt.Sprint("/box/", s.folder(t, "ann", "Junk").ID)
	if f := s.wantIn(t, "ann", "Junk", 1); f.Bits&FlagJunk == 0 {
		t.Errorf("what is in Junk has the flags %v", f)
	}
	act(junk, "notjunk")
	s.wantIn(t, "ann", "Junk", 0)
	if f := s.wantIn(t, "ann", "INBOX", 3); f.Bits&FlagJunk != 0 {
		t.Errorf("what is no junk has the flags %v", f)
	}
	ann.get(list)
	ann.press("/act", "do", "delete", "all", "1", "box", box, "back", list)
	ann.want("3 messages moved to Trash.")
	s.wantIn(t, "ann", "Trash", 3)
	trash := fmt.Sprint("/box/", s.folder(t, "ann", "Trash").ID)
	act(trash, "delete") // asks first
	ann.want("Delete 1 message for good?")
	s.wantIn(t, "ann", "Trash", 3)
	ann.press("/act", "do", "purge", "m", ann.find(`name="m" value="([0-9.]+)"`), "sure", "1", "back", trash)
	ann.want("1 message deleted.")
	s.wantIn(t, "ann", "Trash", 2)
	ann.get(list)
	ann.press("/act", "do", "archive", "back", list)
	ann.want("No message was selected.")
}

// TestWebEmptyAndRemove empties a folder and removes one, each after asking.
func TestWebEmptyAndRemove(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	for range 2 {
		s.put(t, "ann", "Trash", "Subject: x\n\nx\n", 0)
	}
	ann.get("/folders")
	ann.press("/folders", "do", "create", "name", "Old/Older")
	for _, x := range []struct{ do, name, words string }{
		{"empty", "Trash", "Delete everything in Trash for good?"}, {"remove", "Old/Older", "Remove the folder Older with everything in it?"},
	} {
		id := fmt.Sprint(s.folder(t, "ann", x.name).ID)
		ann.get("/folders")
		ann.press("/folders", "do", x.do, "box", id)
		ann.want(x.words)
		s.folder(t, "ann", x.name)
		ann.press("/folders", "do", x.do, "box", id, "sure", "1")
	}
	s.wantIn(t, "ann", "Trash", 0)
	if ann.get("/folders"); strings.Contains(ann.page, "Old/Older") {
		t.Error("a folder that was removed is still there")
	}
	ann.post("/folders", "do", "remove", "box", fmt.Sprint(s.folder(t, "ann", "INBOX").ID), "sure", "1")
	ann.want("This folder is needed and can&#39;t be removed.")
}

// TestWebLook changes language, colours and grouping, before login and after it.
func TestWebLook(t *testing.T) {
	s := startServer(t)
	out := newWebClient(t, s)
	out.get("/login")
	out.press("/look", "lang", "zh", "theme", "dark", "to", "/login")
	out.want(`<html lang="zh-Hans" data-theme="dark">`, "登录")
	if out.post("/look", "lang", "xx", "theme", "pink", "to", "/login"); out.code != 400 {
		t.Errorf("an unknown language: %d", out.code)
	}
	out.get("/login")
	out.want(`<html lang="zh-Hans" data-theme="dark">`)
	for range 2 {
		s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: talk\nMessage-ID: <1@x>\n\nx\n", 0)
	}
	ann := newWebClient(t, s).login("ann")
	ann.press("/look", "theme", "light", "to", "/mail")
	list := ann.at
	if n := strings.Count(ann.page, `class="subj"`); n != 2 {
		t.Errorf("%d rows", n)
	}
	ann.press("/threads", "back", list)
	if n := strings.Count(ann.page, `class="subj"`); n != 1 {
		t.Errorf("%d rows of conversations", n)
	}
	again := newWebClient(t, s).login("ann") // another browser of hers
	again.want(`data-theme="light"`, `class="talk"`)
	again.press("/threads", "back", list)
	if n := strings.Count(again.page, `class="subj"`); n != 2 {
		t.Errorf("%d rows", n)
	}
}

// TestWebFilterOrder moves a filter up and takes one away; the first that fits decides where mail goes.
func TestWebFilterOrder(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	ann.get("/settings/rules")
	for _, name := range []string{"Junk", "Archive"} {
		ann.press("/settings/filters", "do", "add", "field", "from", "op", "contains", "value", "bob", "folder", fmt.Sprint(s.folder(t, "ann", name).ID))
	}
	mail := func() { s.mail(t, "bob@home.arpa", "ann@home.arpa", "From: bob@home.arpa\r\nSubject: x\r\n\r\nx\r\n") }
	mail()
	s.wantIn(t, "ann", "Junk", 1)
	ann.press("/settings/filters", "do", "up", "n", "1")
	mail()
	s.wantIn(t, "ann", "Archive", 1)
	ann.press("/settings/filters", "do", "drop", "n", "0")
	ann.press("/settings/filters", "do", "drop", "n", "0")
	mail()
	s.wantIn(t, "ann", "INBOX", 1)
	ann.post("/settings/filters", "do", "drop", "n", "0")
	if ann.code != 404 {
		t.Errorf("a filter that is not there: %d", ann.code)
	}
}

// TestWebPictures remembers a sender whose pictures are shown, and forgets.
func TestWebPicturesKept(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	ann.press("/pictures", "from", "shop@x.example", "back", "/mail")
	ann.get("/settings/security")
	ann.want("shop@x.example")
	ann.press("/settings/pictures")
	if ann.get("/settings/security"); strings.Contains(ann.page, "shop@x.example") {
		t.Error("the sender is still there")
	}
}

// TestWebPeople completes addresses: contacts first, then people of this house.
func TestWebPeople(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	ann.get("/contacts")
	ann.press("/contacts", "do", "add", "name", "Bobby Tables", "address", "tables@x.example")
	ask := func(part string) (all []string) {
		if err := json.Unmarshal([]byte(ann.get("/people?q="+part)), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := fmt.Sprint(ask("bob")); got != "[Bobby Tables <tables@x.example> bob@home.arpa]" {
		t.Errorf("bob: %s", got)
	}
	if got := ask("nobody"); got == nil || len(got) != 0 {
		t.Errorf("nobody: %v", got)
	}
}

// TestWebSessionsEnd logs another browser out, by name.
func TestWebSessionsEnd(t *testing.T) {
	s := startServer(t)
	ann, other := newWebClient(t, s).login("ann"), newWebClient(t, s).login("ann")
	ann.get("/settings/security")
	ann.press("/settings/sessions", "end", ann.find(`name="end" value="([^"]{4,})"`))
	ann.want("Logged out there.")
	if other.get("/mail"); !strings.HasPrefix(other.at, "/login") {
		t.Error("the other browser is still in: ", other.at)
	}
	if ann.get("/mail"); !strings.HasPrefix(ann.at, "/box/") {
		t.Error("this browser is out: ", ann.at)
	}
}

// TestWebMadeForPrograms asks on all addresses where set-up programs look.
func TestWebMadeForPrograms(t *testing.T) {
	s := startServer(t)
	out := newWebClient(t, s)
	for _, p := range []string{"/autodiscover/autodiscover.xml"} {
		if out.get(p + "?Email=ann@home.arpa"); out.code >= 500 {
			t.Errorf("GET %s: %d", p, out.code)
		}
		out.get("/login")
		out.post(p, "x", "y")
		if out.code != 400 {
			t.Errorf("POST %s of a form: %d", p, out.code)
		}
	}
	out.get("/autodiscover/autodiscover.json?Email=ann@home.arpa&Protocol=AutodiscoverV1")
	out.want("autodiscover.xml")
	out.get("/help/keys")
	out.want(`id="keys"`)
}
