package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestJunk has ann call some mail junk, by the ways that programs have, and sees where what comes then goes: strangers' junk into Junk with a
// reason, those she writes to and those who log in never, bob's as before, and all of it is the same after what was learned is stored.
func TestJunk(t *testing.T) {
	s := startServer(t)
	good := []string{"the meeting about school on monday", "grandma sends greetings and a cake", "homework for the physics class", "shopping list: bread, milk, cheese"}
	junk := []string{"cheap pills, click now for a discount", "you won a lottery prize, click now", "earn money at home, discount pills", "casino bonus, click now and win"}
	for i := range junkLeast {
		s.mail(t, "x@far.example", "ann@home.arpa", junkText(fmt.Sprintf("friend%d@far.example", i), "hello", good[i%4]))
		s.mail(t, "x@far.example", "ann@home.arpa", junkText(fmt.Sprintf("seller%d@far.example", i), "offer", junk[i%4]))
	}
	boxes := func(box string) int64 { n, _ := s.in(t, "ann", box); return n }
	if boxes("INBOX") != 2*junkLeast {
		t.Fatalf("%d in INBOX before anything was taught", boxes("INBOX"))
	}
	c := dialIMAP(t, s, "ann@home.arpa")
	c.ok("SELECT INBOX")
	c.ok("UID MOVE 2,4,6,8,10,12,14,16,18,20 Junk")
	c.ok(`UID STORE 22,24,26,28,30 +FLAGS ($Junk)`)
	c.ok(`UID STORE 32,34,36,38,40 +FLAGS (Junk)`)
	c.ok(`UID STORE 1,3,5,7,9 +FLAGS (NonJunk)`)
	c.ok(`UID MOVE 11,13,15,17,19 Archive`)
	c.ok(`UID STORE 1:* +FLAGS (\Seen)`) // the other good ones were read, a day ago
	s.write(t, func(tx *Tx) error { _, err := tx.exec(`UPDATE messages SET saved=saved-2*86400`); return err })
	learn := func() {
		t.Helper()
		if err := s.learnAllJunk(); err != nil {
			t.Fatal(err)
		}
	}
	learn()
	try := func(why, from, text string, in string) {
		t.Helper()
		n := boxes(in)
		s.mail(t, "y@far.example", "ann@home.arpa", junkText(from, "hi", text))
		if boxes(in) != n+1 {
			t.Errorf("%s: not in %s", why, in)
		}
	}
	const offer = "you won: earn money at home, click now for a casino bonus, a lottery prize and a discount on cheap pills"
	try("junk", "new@other.example", offer, "Junk")
	try("good", "new@other.example", "the school has a meeting with cake on monday", "INBOX")
	state, err := read(s.store, func(tx *Tx) (JunkState, error) {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return JunkState{}, err
		}
		return tx.JunkState(u.ID)
	})
	if err != nil || state.Good != junkLeast || state.Junk != junkLeast {
		t.Errorf("stored: %d good, %d junk, %v", state.Good, state.Junk, err)
	}
	clear(s.junk.minds) // as after a start
	learn()
	try("junk again", "new2@other.example", offer, "Junk")

	ann := newWebClient(t, s).login("ann")
	ann.get("/folders")
	ann.get(ann.find(`href="(/box/\d+)">Junk`) + "/11") // behind those that she has put there
	ann.want("This message was put into Junk because of words that junk mail has:", "pills")
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		return tx.MeetContacts(u.ID, []Contact{{Address: "seller1@far.example"}})
	})
	try("somebody she writes to", "Seller <seller1@far.example>", offer, "INBOX")
	bob, err := read(s.store, func(tx *Tx) (User, error) { return tx.UserByName("bob@home.arpa") })
	if err != nil {
		t.Fatal(err)
	}
	n := boxes("INBOX")
	sp := s.store.NewSpool(1 << 20)
	defer sp.Close()
	fmt.Fprint(sp, strings.ReplaceAll(junkText("bob@home.arpa", "hi", offer), "\n", "\r\n"))
	if err := s.accept(&Mail{Login: &bob, Body: sp, To: rcptsTo(mustAddr(t, "ann@home.arpa"))}); err != nil || boxes("INBOX") != n+1 {
		t.Errorf("from somebody here: %v", err)
	}
	s.mail(t, "y@far.example", "bob@home.arpa", junkText("new@other.example", "hi", offer))
	if n, _ := s.in(t, "bob", "INBOX"); n != 1 {
		t.Error("ann's judgement is bob's")
	}

	ann.get("/settings/rules")
	ann.want("20 messages that are junk and 20 that are not")
	ann.post("/settings/junk", "do", "keep")
	try("switched off", "new3@other.example", offer, "INBOX")
	ann.get("/settings/rules")
	ann.post("/settings/junk", "do", "keep", "on", "1")
	try("switched on", "new4@other.example", offer, "Junk")
	ann.get("/settings/rules")
	ann.post("/settings/junk", "do", "forget")
	try("forgotten", "new5@other.example", offer, "INBOX")
}

// TestJunkLessons: the last thing that was done counts, nothing counts twice, Trash says nothing, and lessons of whoever calls nothing junk
// only wait.
func TestJunkLessons(t *testing.T) {
	s := startServer(t)
	for i := range 6 {
		s.mail(t, "x@far.example", "ann@home.arpa", junkText("a@far.example", fmt.Sprint(i), "some words"))
	}
	ann, err := read(s.store, func(tx *Tx) (User, error) { return tx.UserByName("ann@home.arpa") })
	if err != nil {
		t.Fatal(err)
	}
	taught := func() [2]uint32 {
		t.Helper()
		if err := s.learnAllJunk(); err != nil {
			t.Fatal(err)
		}
		s.junk.mu.Lock()
		defer s.junk.mu.Unlock()
		m, err := s.junk.mind(s.store, ann.ID, false)
		if err != nil || m == nil {
			return [2]uint32{}
		}
		return m.model.Messages
	}
	want := func(why string, good, junk uint32) {
		t.Helper()
		if got := taught(); got != [2]uint32{good, junk} {
			t.Errorf("%s: %v, want %d and %d", why, got, good, junk)
		}
	}
	c := dialIMAP(t, s, "ann@home.arpa")
	c.ok("SELECT INBOX")
	c.ok("UID MOVE 6 Archive")
	want("nothing is junk yet", 0, 0)
	c.ok("UID MOVE 1 Trash")
	c.ok("UID STORE 2 +FLAGS ($Junk)")
	want("one of each", 1, 1)
	c.ok("UID STORE 2 -FLAGS ($Junk)")
	c.ok("UID STORE 2 +FLAGS ($Junk)")
	c.ok("UID MOVE 2 Junk")
	want("the same again", 1, 1)
	c.ok("SELECT Junk")
	c.ok("UID MOVE 1 INBOX")
	want("it was none", 2, 0)
	s.junk.mu.Lock()
	for _, m := range s.junk.minds {
		m.since = m.since.Add(-2 * junkKeep)
	}
	s.junk.mu.Unlock()
	want("stored", 2, 0)
	clear(s.junk.minds)
	c.ok("SELECT INBOX")
	c.ok("UID STORE 3 +FLAGS ($Junk)")
	want("after a start", 2, 1)
	c.ok(`UID STORE 1:* +FLAGS (\Seen)`)
	s.write(t, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE messages SET saved=?`, s.store.Now().Add(-48*time.Hour).Unix())
		return err
	})
	want("read a while ago: 4 and 5 are good, and 3 stays what it was called", 4, 1)
	want("and not twice", 4, 1)
}
