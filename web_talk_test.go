// Conversations of web mail beside THREAD.
package main

import (
	"cmp"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// webTalkCases are mails, numbered from 1, of which it matters how they name each other.
var webTalkCases = []struct {
	name   string
	mails  []string // their fields
	talks  string   // numbers of those that belong together, in web mail
	thread string   // what THREAD=REFERENCES says, where it is something else
}{
	{"only In-Reply-To", []string{"Message-ID: <a1@x>", "Message-ID: <a2@x>\nIn-Reply-To: <a1@x>", "Message-ID: <a3@x>\nIn-Reply-To: <a2@x>",
		"Message-ID: <a4@x>\nIn-Reply-To: <a3@x>"}, "1 2 3 4", ""},
	{"References cut short", []string{"Message-ID: <a1@x>", "Message-ID: <a2@x>\nReferences: <a1@x>", "Message-ID: <a3@x>\nReferences: <a1@x> <a2@x>",
		"Message-ID: <a4@x>\nReferences: <a2@x> <a3@x>", "Message-ID: <a5@x>\nReferences: <a4@x>"}, "1 2 3 4 5", ""},
	{"a parent that is not here", []string{"Message-ID: <a2@x>\nReferences: <a1@x>", "Message-ID: <a3@x>\nReferences: <a1@x>"}, "1 2", ""},
	{"In-Reply-To to one that is not here", []string{"Message-ID: <a2@x>\nIn-Reply-To: <a1@x>", "Message-ID: <a3@x>\nIn-Reply-To: <a1@x>"}, "1 2", ""},
	{"an answer before what it answers", []string{"Message-ID: <a3@x>\nIn-Reply-To: <a2@x>", "Message-ID: <a2@x>\nIn-Reply-To: <a1@x>", "Message-ID: <a1@x>"}, "1 2 3", ""},
	{"two that a later one joins", []string{"Message-ID: <a1@x>", "Message-ID: <b1@x>", "Message-ID: <a2@x>\nIn-Reply-To: <a1@x>",
		"Message-ID: <c1@x>\nReferences: <b1@x> <a2@x>"}, "1 2 3 4", "1 3 4|2"},
	{"two without a beginning that a later one joins", []string{"Message-ID: <a1@x>\nIn-Reply-To: <x@x>", "Message-ID: <b1@x>\nReferences: <y@x>",
		"Message-ID: <c1@x>\nReferences: <x@x> <y@x>"}, "1 2 3", ""},
	{"the same subject", []string{"Message-ID: <a1@x>\nSubject: apples", "Message-ID: <a2@x>\nSubject: Re: apples", "Message-ID: <a3@x>\nSubject: [list] apples (fwd)"}, "1|2|3", "1 2 3"},
	{"a Message-ID twice", []string{"Message-ID: <a1@x>", "Message-ID: <a2@x>\nIn-Reply-To: <a1@x>", "Message-ID: <a2@x>\nIn-Reply-To: <a1@x>"}, "1 2 3", ""},
	{"a Message-ID twice, without References", []string{"Message-ID: <a1@x>", "Message-ID: <a1@x>"}, "1 2", "1|2"},
	{"no Message-ID", []string{"Message-ID: <a1@x>", "In-Reply-To: <a1@x>", "X: 1"}, "1 2|3", ""},
	{"In-Reply-To with words", []string{"Message-ID: <a1@x>", "Message-ID: <a2@x>\nIn-Reply-To: Your message of \"Mon, 1 Jan\" <a1@x> (Bob's)"}, "1 2", ""},
	{"In-Reply-To with several", []string{"Message-ID: <a1@x>", "Message-ID: <b1@x>", "Message-ID: <a2@x>\nIn-Reply-To: <a1@x> <b1@x>"}, "1 3|2", ""},
	{"quotes and blanks in ids", []string{"Message-ID: <\"a1\"@x>", "Message-ID: <a2@x>\nIn-Reply-To: < a1@x >"}, "1 2", ""},
	{"another word on who is whose answer", []string{"Message-ID: <a1@x>", "Message-ID: <b1@x>", "Message-ID: <c1@x>\nReferences: <a1@x> <b1@x>"}, "1 2 3", ""},
	{"one that names itself", []string{"Message-ID: <a1@x>\nReferences: <a1@x>", "Message-ID: <a2@x>\nReferences: <a1@x> <a2@x>"}, "1 2", "1|2"},
	{"a circle", []string{"Message-ID: <a1@x>\nReferences: <a2@x>", "Message-ID: <a2@x>\nReferences: <a1@x>"}, "1 2", ""},
}

// webTalkSets writes groups of numbers, each sorted, by their first ones.
func webTalkSets(sets [][]int) string {
	var all []string
	for _, s := range sets {
		slices.Sort(s)
	}
	slices.SortFunc(sets, func(a, b []int) int { return a[0] - b[0] })
	for _, s := range sets {
		all = append(all, strings.Trim(fmt.Sprint(s), "[]"))
	}
	return strings.Join(all, "|")
}

// threadSets reads an answer to THREAD as groups.
func threadSets(line string) string {
	var sets [][]int
	depth := 0
	for _, token := range regexp.MustCompile(`[()]|\d+`).FindAllString(line, -1) {
		switch token {
		case "(":
			if depth == 0 {
				sets = append(sets, nil)
			}
			depth++
		case ")":
			depth--
		default:
			n, _ := strconv.Atoi(token)
			sets[len(sets)-1] = append(sets[len(sets)-1], n)
		}
	}
	return webTalkSets(sets)
}

// TestWebTalkCases holds the conversations of web mail against THREAD's: the list of a folder that has all of them, and what is shown
// of each of them when they are in two folders in turn. They differ where web mail knows more than a tree can say: a message that
// answers two joins both, the same message twice is one conversation, and so is one that names itself; and in that equal
// subjects alone join nothing, because whoever deletes a conversation of invoices means one of them.
func TestWebTalkCases(t *testing.T) {
	s := startServer(t)
	c := dialIMAP(t, s, "ann")
	q := &webReq{webApp: s.web}
	err := s.store.Read(func(tx *Tx) error {
		var err error
		q.user, err = tx.UserByName("ann@home.arpa")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	hits := func(box string, uid UID) []webTalkHit {
		t.Helper()
		m := s.folder(t, "ann", box)
		here, err := q.talkOf(m, uid)
		if err != nil {
			t.Fatal(err)
		}
		x, err := read(s.store, func(tx *Tx) (Message, error) { return tx.Message(m.ID, uid) })
		if err != nil {
			t.Fatal(err)
		}
		all, err := q.talkHits(&webMessage{Box: m, M: x}, here, true)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i, test := range webTalkCases {
		boxes := []string{fmt.Sprintf("case%d", i), "INBOX", "Sent"}
		c.ok("CREATE " + boxes[0])
		at := map[string]int{}
		var apart []UID
		for j, fields := range test.mails {
			if !strings.Contains(fields, "Subject:") {
				fields += fmt.Sprintf("\nSubject: %d", j)
			}
			fields = strings.ReplaceAll(fields, "@x", fmt.Sprintf("@%d.x", i))
			for _, box := range []string{boxes[0], boxes[1+j%2]} {
				own := fields
				if box != boxes[0] {
					own = strings.ReplaceAll(own, ".x", ".y")
				}
				raw := fmt.Sprintf("From: bob@home.arpa\nDate: Mon, %d Jan 2024 10:00:00 +0000\n%s\n\nhi\n", j+1, own)
				uid := s.putAt(t, "ann", box, raw, time.Unix(int64(1_700_000_000+j*1000), 0))
				at[fmt.Sprint(box, uid)] = j + 1
				if box != boxes[0] {
					apart = append(apart, uid)
				}
			}
		}
		c.ok("SELECT " + boxes[0])
		var thread string
		for _, line := range c.ok("THREAD REFERENCES UTF-8 ALL") {
			if rest, ok := strings.CutPrefix(line, "* THREAD"); ok {
				thread = threadSets(rest)
			}
		}
		if want := cmp.Or(test.thread, test.talks); thread != want {
			t.Errorf("%s: THREAD says %s, not %s", test.name, thread, want)
		}
		talk := func(box string, uid UID) string {
			var set []int
			for _, h := range hits(box, uid) {
				set = append(set, at[fmt.Sprint(h.Box.Name, h.M.UID)])
			}
			return webTalkSets([][]int{set})
		}
		for j := range test.mails {
			for _, got := range []string{talk(boxes[0], UID(j+1)), talk(boxes[1+j%2], apart[j])} {
				if !slices.Contains(strings.Split(test.talks, "|"), got) || !slices.Contains(strings.Fields(got), fmt.Sprint(j+1)) {
					t.Errorf("%s: %d is in a conversation of %s, not %s", test.name, j+1, got, test.talks)
				}
			}
		}
	}
}

// TestWebTalkActs does each thing to a conversation whose messages are in many folders, over the list and over the open message, takes it
// back where that can be done, and looks into the folders after each.
func TestWebTalkActs(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	list := ann.at
	ann.get("/folders")
	ann.press("/folders", "do", "create", "name", "Kept")
	mail := func(box, id string, bits FlagBits) {
		s.put(t, "ann", box, fmt.Sprintf("From: bob@home.arpa\nSubject: pears %s\nMessage-ID: <%s@x>\nReferences: <p1@x>\n\nx\n", id, id), bits)
	}
	mail("Archive", "p1", FlagSeen)
	mail("Sent", "p2", FlagSeen)
	mail("INBOX", "p3", 0)
	mail("Kept", "p4", 0)
	mail("INBOX", "p5", FlagSeen)
	mail("Drafts", "p6", FlagSeen|FlagDraft)
	s.put(t, "ann", "INBOX", "From: eve@home.arpa\nSubject: apples\nMessage-ID: <a1@x>\n\nx\n", FlagSeen)
	mail("Junk", "p7", FlagSeen)
	boxes := []string{"INBOX", "Archive", "Sent", "Kept", "Drafts", "Junk", "Trash"}
	where := func() string {
		var all []string
		for _, box := range boxes {
			n, _ := s.in(t, "ann", box)
			all = append(all, fmt.Sprint(n))
		}
		return strings.Join(all, " ")
	}
	count := func(bit FlagBits) string {
		var all []string
		for _, box := range boxes {
			n, m := 0, s.folder(t, "ann", box)
			s.store.Read(func(tx *Tx) error {
				uids, _, err := tx.UIDs(m.ID, nil)
				for _, u := range uids {
					if x, _ := tx.Message(m.ID, u); x.Flags.Bits&bit != 0 {
						n++
					}
				}
				return err
			})
			all = append(all, fmt.Sprint(n))
		}
		return strings.Join(all, " ")
	}
	const whole = "3 1 1 1 1 1 0"
	open := func(subject string) string { return ann.find(`(?s)value="([0-9.,]+)" aria-label="Select: ` + subject) }
	act := func(opened bool, do string, more ...string) {
		t.Helper()
		ann.get(list)
		keys := open("pears p5")
		fields := []string{"do", do, "m", keys, "back", list}
		if opened {
			key, _, _ := strings.Cut(keys, ",")
			box, uid, _ := strings.Cut(key, ".")
			ann.get("/box/" + box + "/" + uid)
			fields[3] = ann.find(`name="m" value="([0-9.,]+)"`)
		}
		if strings.Contains(ann.page, `name="talk" value="1"`) {
			fields = append(fields, "talk", "1")
		}
		ann.press("/act", append(fields, more...)...)
	}
	undo := func() {
		t.Helper()
		fields := []string{"back", list}
		for _, m := range regexp.MustCompile(`name="u" value="([^"]+)"`).FindAllStringSubmatch(ann.page, -1) {
			fields = append(fields, "u", html.UnescapeString(m[1]))
		}
		ann.press("/undo", fields...)
		if got := where(); got != whole {
			t.Fatalf("what was brought back is in %s", got)
		}
	}
	kept := fmt.Sprint(s.folder(t, "ann", "Kept").ID)
	act(false, "archive") // each message for itself
	if got := where(); got != "2 2 1 1 1 1 0" {
		t.Errorf("one message archived: %s", got)
	}
	undo()
	ann.press("/threads", "back", list)
	for _, opened := range []bool{false, true} {
		for _, x := range []struct{ do, want, words string }{
			{"archive", "1 3 1 1 1 1 0", "2 messages archived."},
			{"move", "1 0 1 4 1 1 0", "3 messages moved. → Kept"},
			{"junk", "1 0 1 0 1 5 0", "4 messages moved to Junk."},
			{"delete", "1 0 0 0 1 1 5", "5 messages moved to Trash."},
		} {
			act(opened, x.do, "dest", kept)
			ann.want(x.words)
			if got := where(); got != x.want {
				t.Errorf("after %s, opened %v, it is in %s, not %s", x.do, opened, got, x.want)
			}
			undo()
		}
		for _, x := range []struct {
			do   string
			bit  FlagBits
			want string
		}{
			{"read", FlagSeen, "3 1 1 1 1 1 0"}, {"unread", FlagSeen, "1 0 1 0 1 1 0"},
			{"star", FlagFlagged, "2 1 1 1 0 0 0"}, {"unstar", FlagFlagged, "0 0 0 0 0 0 0"},
		} {
			act(opened, x.do)
			if got := count(x.bit); got != x.want {
				t.Errorf("after %s, opened %v, the flags are in %s, not %s", x.do, opened, got, x.want)
			}
		}
	}
	// What names the ids of a conversation in Junk takes nothing along, and a draft neither.
	for _, box := range []string{"Junk", "Drafts"} {
		m := s.folder(t, "ann", box)
		ann.get(fmt.Sprintf("/box/%d", m.ID))
		ann.press("/act", "do", "delete", "talk", "1", "m", ann.find(`name="m" value="([0-9.,]+)"`), "back", list)
		ann.want("1 message moved to Trash.")
		undo()
	}
	// In Trash only what is there is deleted for good.
	act(false, "delete")
	trash := fmt.Sprintf("/box/%d", s.folder(t, "ann", "Trash").ID)
	mail("INBOX", "p8", 0)
	ann.get(trash)
	ann.press("/act", "do", "delete", "talk", "1", "m", ann.find(`name="m" value="([0-9.,]+)"`), "sure", "1", "back", trash)
	ann.want("5 messages deleted.")
	if got := where(); got != "2 0 0 0 1 1 0" {
		t.Errorf("after emptying: %s", got)
	}
}
