package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// endSessions ends all web sessions of a person, as their time does.
func (s *testServer) endSessions(t testing.TB, name string) {
	t.Helper()
	err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName(name + "@home.arpa")
		if err != nil {
			return err
		}
		return tx.EndWebSessions(u.ID, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// aside counts the letters that are put aside.
func (s *testServer) aside() int {
	s.web.mu.Lock()
	defer s.web.mu.Unlock()
	return len(s.web.parked)
}

// TestWebParked: without a script, a letter whose writer was logged out at Send is there after the login, with its files; it goes
// to nobody else, and is sent only when its writer presses Send again.
func TestWebParked(t *testing.T) {
	s := startServer(t)
	write := func(c *webClient, text, do string) {
		t.Helper()
		writer := c.find(`name="writer" value="(\d+)"`)
		c.letter(map[string]string{"map 地图.txt": "the map"}, "writer", writer, "id", "", "to", "bob", "subject", "Boat 划船", "text", text, "do", do)
	}
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	s.endSessions(t, "ann")
	write(ann, "first words", "send")
	if !strings.HasPrefix(ann.at, "/login?to=%2Fcompose%3Fkept%3D") || s.aside() != 1 {
		t.Fatalf("Send without a session led to %s (%d)", ann.at, ann.code)
	}
	to := ann.find(`name="to" value="([^"]+)"`)
	ann.post("/login", "name", "ann", "password", "wrong", "to", to)
	ann.want("The name or the password is wrong.", to)
	ann.post("/login", "name", "ann", "password", "secret", "to", to)
	ann.want("You had been logged out. Here is your letter; it has not been sent yet.", "first words", "Boat 划船", "map 地图.txt", `value="bob"`)
	if n, _ := s.in(t, "bob", "INBOX"); n != 0 || s.aside() != 0 {
		t.Fatalf("%d letters were sent, %d are put aside", n, s.aside())
	}
	ann.letter(nil, "id", ann.find(`name="id" value="(\d+)"`), "to", "bob", "subject", "Boat 划船", "text", "first words", "do", "send")
	ann.want("Sending")
	s.hurry(t)
	newWebClient(t, s).login("bob").waitFor("/mail", "Boat 划船")

	t.Run("logged in again elsewhere", func(t *testing.T) { // the page has the token of the login before
		ann.get("/compose")
		old := *ann
		ann.get("/login")
		s.endSessions(t, "ann")
		ann.login("ann")
		write(&old, "second words", "send")
		old.want("it has not been sent yet", "second words", "map 地图.txt")
	})
	t.Run("somebody else logs in", func(t *testing.T) {
		ann.get("/compose")
		s.endSessions(t, "ann")
		write(ann, "private words", "save")
		at := ann.at
		ann.post("/login", "name", "bob", "password", "secret", "to", ann.find(`name="to" value="([^"]+)"`))
		ann.want("no longer there, or it is somebody else")
		if strings.Contains(ann.page, "private words") || s.aside() != 1 {
			t.Errorf("Bob sees Ann's letter, or it is gone; %d at %s", s.aside(), at)
		}
		s.web.mu.Lock()
		s.web.parked[0].until = time.Now().Add(-time.Second)
		s.web.mu.Unlock()
		if s.web.dropParked(); s.aside() != 0 {
			t.Error("it is still there when its time is over")
		}
	})
	t.Run("strangers", func(t *testing.T) {
		ann := newWebClient(t, s).login("ann")
		ann.get("/compose")
		writer := ann.find(`name="writer" value="(\d+)"`)
		c := newWebClient(t, s)
		c.get("/login")
		c.letter(map[string]string{"x": "y"}, "writer", writer, "text", "z", "do", "send")
		if c.code != 401 || s.aside() != 0 {
			t.Errorf("a stranger's letter: %d, %d put aside", c.code, s.aside())
		}
		bob := newWebClient(t, s).login("bob")
		bob.get("/compose")
		bob.page = strings.ReplaceAll(bob.page, bob.token(), "wrong")
		bob.letter(nil, "writer", writer, "text", "z", "do", "send")
		if bob.code != 403 || s.aside() != 0 {
			t.Errorf("another one's letter with a wrong token: %d, %d put aside", bob.code, s.aside())
		}
	})
	t.Run("limits", func(t *testing.T) {
		for u := range webMaxParked + 3 {
			for i := range webOwnParked + 1 {
				sp := s.store.NewSpool(webParkedSize)
				s.web.keepParked(&webParked{ticket: fmt.Sprint(u, i), user: UserID(1000 + u), fields: sp, until: time.Now().Add(webParkedTime)})
			}
		}
		s.web.mu.Lock()
		defer s.web.mu.Unlock()
		own := map[UserID]int{}
		for _, p := range s.web.parked {
			own[p.user]++
		}
		if len(s.web.parked) != webMaxParked || own[1000+webMaxParked+2] != webOwnParked || own[1000] != 0 {
			t.Errorf("%d are put aside, by person %v", len(s.web.parked), own)
		}
	})
}

// TestWebLetterGone: what is written in a letter that was sent or discarded elsewhere is kept as a new one, and not sent.
func TestWebLetterGone(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(nil, "id", "", "to", "bob", "subject", "one", "text", "one", "do", "save")
	id := ann.find(`name="id" value="(\d+)"`)
	ann.letter(nil, "id", id, "to", "bob", "subject", "one", "text", "one", "do", "send")
	ann.get("/compose")
	ann.letter(nil, "id", id, "to", "bob", "subject", "two", "text", "two", "do", "send")
	ann.want("This letter is on its way already.")
	s.hurry(t)
	newWebClient(t, s).login("bob").waitFor("/mail", `class="subj">one`)
	ann.get("/compose")
	ann.letter(nil, "id", id, "to", "bob", "subject", "two", "text", "two words", "do", "send")
	ann.want("This letter was sent or discarded meanwhile.", "two words")
	if again := ann.find(`name="id" value="(\d+)"`); again == id {
		t.Error("it has the number of the one that is gone")
	}
	s.hurry(t)
	if n, _ := s.in(t, "bob", "INBOX"); n != 1 {
		t.Errorf("Bob has %d letters", n)
	}
}
