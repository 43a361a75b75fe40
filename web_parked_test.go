package main

import (
	"errors"
	"fmt"
	"path/filepath"
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
	n := 0
	s.store.Read(func(tx *Tx) error { return tx.one(`SELECT count(*) FROM letters WHERE ticket<>''`, nil, &n) })
	return n
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
		if err := s.store.DropParked(); err != nil || s.aside() != 1 {
			t.Errorf("%d are left before the time is over, %v", s.aside(), err)
		}
		err := s.store.Write(func(tx *Tx) error {
			_, err := tx.exec(`UPDATE letters SET changed=? WHERE ticket<>''`, s.store.Now().Add(-parkedTime-time.Second).Unix())
			return err
		})
		if err == nil {
			err = s.store.DropParked()
		}
		if err != nil || s.aside() != 0 {
			t.Errorf("it is still there when its time is over: %v", err)
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
		own := func(name string) (n int) {
			s.store.Read(func(tx *Tx) error {
				return tx.one(`SELECT count(*) FROM letters WHERE ticket<>'' AND user=(SELECT id FROM users WHERE name=?)`, []any{name}, &n)
			})
			return n
		}
		for i := range maxParked + 3 {
			name := fmt.Sprintf("parked%d@home.arpa", i)
			for k := range ownParked + 1 {
				err := s.store.Write(func(tx *Tx) error {
					u, err := tx.UserByName(name)
					if errors.Is(err, ErrNotFound) {
						u, err = tx.AddUser(Addr{Local: strings.TrimSuffix(name, "@home.arpa"), Domain: "home.arpa"}, "x", false)
					}
					if err != nil {
						return err
					}
					return tx.Park(&Letter{User: u.ID, Fields: []byte("{}")}, fmt.Sprint(i, k))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		first, last := own("parked0@home.arpa"), own(fmt.Sprintf("parked%d@home.arpa", maxParked+2))
		if s.aside() != maxParked || first != 0 || last != ownParked {
			t.Errorf("%d are put aside, %d of the first and %d of the last", s.aside(), first, last)
		}
		checkStore(t, s.store)
	})
}

// TestWebParkedRestart: a letter that was put aside is there after a restart, with its files, whole; and the file of who was removed holds
// nothing of it.
func TestWebParkedRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	var at, user string
	t.Run("before", func(t *testing.T) {
		s := startServerOn(t, path, StoreOptions{})
		for _, name := range []string{"ann", "bob"} {
			c := newWebClient(t, s).login(name)
			c.get("/compose")
			s.endSessions(t, name)
			c.letter(map[string]string{"map.txt": "the map of " + name}, "writer", c.find(`name="writer" value="(\d+)"`), "id", "", "to", "ann", "subject", "Boat", "text", "words of "+name, "do", "send")
			user, at = name, c.find(`name="to" value="([^"]+)"`)
		}
		if s.aside() != 2 {
			t.Fatalf("%d are put aside", s.aside())
		}
	})
	s := startServerOn(t, path, StoreOptions{})
	c := newWebClient(t, s)
	c.get("/login")
	c.post("/login", "name", user, "password", "secret", "to", at)
	c.want("You had been logged out. Here is your letter; it has not been sent yet.", "words of "+user, "map.txt")
	if s.aside() != 1 {
		t.Errorf("%d are put aside", s.aside())
	}
	c.letter(nil, "id", c.find(`name="id" value="(\d+)"`), "to", "ann", "subject", "Boat", "text", "words of "+user, "do", "send")
	s.hurry(t)
	newWebClient(t, s).login("ann").waitFor("/mail", "Boat")
	if raw := s.newest(t, "ann", "INBOX"); !strings.Contains(webContents(raw), "the map of "+user) {
		t.Errorf("the file is not in\n%s", raw)
	}
	err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			err = tx.RemoveUser(u.ID)
		}
		return err
	})
	if err != nil || s.aside() != 0 {
		t.Errorf("%d are left of somebody who was removed, %v", s.aside(), err)
	}
	checkStore(t, s.store)
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
