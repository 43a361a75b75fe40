package main

import (
	"fmt"
	"html"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var webSubjects = regexp.MustCompile(`class="subj">([^<]*)<`)

// subjects are those of the list on the page that came last, as one text.
func (c *webClient) subjects() string {
	var all []string
	for _, m := range webSubjects.FindAllStringSubmatch(c.page, -1) {
		all = append(all, m[1])
	}
	return strings.Join(all, " ")
}

// TestWebOrder lists by date whatever the order of arrival, brings back where it was what was moved away, and sorts otherwise on
// request.
func TestWebOrder(t *testing.T) {
	s := startServer(t)
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, x := range []struct{ day, who, size int }{{1, 3, 10}, {2, 1, 500}, {3, 2, 20}, {4, 1, 30}, {0, 5, 40}} { // the last one is an old mail that was imported
		raw := fmt.Sprintf("From: p%d@x.example\nSubject: d%d\n\n%s\n", x.who, x.day, strings.Repeat("x", x.size))
		s.putAt(t, "ann", "INBOX", raw, day.AddDate(0, 0, x.day))
	}
	ann := newWebClient(t, s).login("ann")
	list := ann.at
	want := func(order string) {
		t.Helper()
		ann.get(list)
		if got := ann.subjects(); got != order {
			t.Errorf("the list is %s, not %s", got, order)
		}
	}
	want("d4 d3 d2 d1 d0")
	if ann.get(list + "?q=subject:d"); ann.subjects() != "d4 d3 d2 d1 d0" {
		t.Errorf("a search lists %s", ann.subjects())
	}
	var keys []string
	ann.get(list)
	for _, m := range regexp.MustCompile(`name="m" value="([0-9.]+)"`).FindAllStringSubmatch(ann.page, -1) {
		keys = append(keys, m[1])
	}
	ann.press("/act", "do", "archive", "m", keys[1], "m", keys[2], "back", list)
	undo := html.UnescapeString(ann.find(`name="u" value="([^"]+)"`))
	want("d4 d1 d0")
	ann.press("/undo", "u", undo, "back", list)
	want("d4 d3 d2 d1 d0")
	for _, x := range [][2]string{{"oldest", "d0 d1 d2 d3 d4"}, {"size", "d2 d0 d4 d3 d1"}, {"from", "d4 d2 d3 d1 d0"}, {"subject", "d0 d1 d2 d3 d4"}} {
		ann.press("/order", "order", x[0], "back", list)
		want(x[1])
	}
	ann.press("/order", "order", "from", "back", list)
	s.putAt(t, "ann", "INBOX", "From: p2@x.example\nSubject: new\n\nx\n", day.AddDate(0, 0, 9))
	want("d4 d2 new d3 d1 d0")
}

// TestWebBack opens messages of several pages of a list and of a search, and comes back to the page and the row each time.
func TestWebBack(t *testing.T) {
	s := startServer(t)
	n := 2*webPageSize + 20
	for i := range n {
		s.putAt(t, "ann", "INBOX", fmt.Sprintf("Subject: boat %d\n\nx\n", i), time.Unix(int64(1_700_000_000-i*100), 0))
	}
	ann := newWebClient(t, s).login("ann")
	for _, first := range []string{ann.at, ann.at + fmt.Sprintf("?n=%d", webPageSize), ann.at + "?q=boat", "/search?q=boat", "/search?q=boat&p=2"} {
		ann.get(first)
		rows := regexp.MustCompile(`<li class="mail[^"]*" id="([^"]+)"[^>]*>`).FindAllStringSubmatch(ann.page, -1)
		hrefs := regexp.MustCompile(`<a href="(/box/\d+/\d+[^"]*)">\s*<span class="who">`).FindAllStringSubmatch(ann.page, -1)
		if len(rows) < 20 || len(rows) != len(hrefs) {
			t.Fatalf("%s: %d rows, %d links", first, len(rows), len(hrefs))
		}
		anchor := rows[17][1]
		ann.get(html.UnescapeString(hrefs[17][1]))
		if !strings.Contains(ann.page, `aria-current="true"`) {
			t.Errorf("%s: the open message is not marked in the list beside it", first)
		}
		above, _, _ := strings.Cut(ann.page[strings.Index(ann.page, `class="beside`):], `aria-current="true"`)
		if k := strings.Count(above, `class="subj"`); k > webBesideTop {
			t.Errorf("%s: %d lines are above the open message", first, k)
		}
		back, err := url.Parse(html.UnescapeString(ann.find(`href="([^"]+)" id="back"`)))
		if err != nil || back.Fragment != anchor {
			t.Errorf("%s: back leads to %v, want the row %s", first, back, anchor)
		}
		if ann.get(back.RequestURI()); !strings.Contains(ann.page, `id="`+anchor+`"`) {
			t.Errorf("%s: back leads to %s, which does not have the row %s", first, ann.at, anchor)
		}
	}
}

// TestWebTalks puts messages into conversations by whatever links they have, and acts on all of one, in the list and in the
// open message.
func TestWebTalks(t *testing.T) {
	s := startServer(t)
	at := 0
	put := func(id, refs, subject string) {
		at++
		raw := fmt.Sprintf("From: bob@home.arpa\nTo: ann@home.arpa\nSubject: %s\nMessage-ID: <%s@x>\n%s\nhi\n", subject, id, refs)
		s.putAt(t, "ann", "INBOX", raw, time.Unix(int64(1_700_000_000+at*1000), 0))
	}
	put("a1", "", "replies")
	put("other", "", "other")
	for i := 2; i <= 5; i++ { // as Outlook and many phones: no References
		put(fmt.Sprintf("a%d", i), fmt.Sprintf("In-Reply-To: <a%d@x>\n", i-1), "Re: replies")
	}
	var refs []string
	for i := 1; i <= 20; i++ { // only the last twelve
		field := ""
		if len(refs) > 0 {
			field = "References: " + strings.Join(refs[max(0, len(refs)-12):], " ") + "\n"
		}
		put(fmt.Sprintf("b%d", i), field, "long")
		refs = append(refs, fmt.Sprintf("<b%d@x>", i))
	}
	ann := newWebClient(t, s).login("ann")
	list := ann.at
	ann.press("/threads", "back", list)
	if got := ann.subjects(); got != "long Re: replies other" {
		t.Fatalf("conversations: %s", got)
	}
	ann.want("1–3 of 3", ">20</span>", ">5</span>")
	href := html.UnescapeString(regexp.MustCompile(`<a href="(/box/\d+/\d+)">`).FindAllStringSubmatch(ann.page, -1)[1][1])
	ann.get(href)
	if k := strings.Count(ann.page, `class="earlier`); k != 4 {
		t.Errorf("%d earlier messages are on the page", k)
	}
	keys := ann.find(`name="m" value="([^"]+)"`)
	ann.press("/act", "do", "archive", "m", keys, "back", list)
	ann.want("5 messages archived.")
	if got := ann.subjects(); got != "long other" {
		t.Errorf("after archiving a conversation from the open message: %s", got)
	}
	ann.press("/act", "do", "archive", "m", ann.find(`name="m" value="([^"]+)"`), "back", list)
	ann.want("20 messages archived.")
	if n, _ := s.in(t, "ann", "INBOX"); n != 1 {
		t.Errorf("%d messages are left", n)
	}
}

// TestWebTalkRead: whoever opens a conversation has its texts on the page, and they count as read.
func TestWebTalkRead(t *testing.T) {
	s := startServer(t)
	for i := range 3 {
		s.putAt(t, "ann", "INBOX", fmt.Sprintf("From: bob@home.arpa\nSubject: x\nMessage-ID: <%d@x>\nIn-Reply-To: <%d@x>\n\nhi\n", i, i-1), time.Unix(int64(1_700_000_000+i), 0))
	}
	ann := newWebClient(t, s).login("ann")
	list := ann.at
	ann.press("/threads", "back", list)
	ann.get(ann.find(`<a href="(/box/\d+/\d+)">`))
	if box := s.folder(t, "ann", "INBOX"); box.Unseen != 0 {
		t.Errorf("%d are unread", box.Unseen)
	}
}

// TestWebOrderKept sees that an order that is remembered is the one that would be made anew, whatever happens to the folder.
func TestWebOrderKept(t *testing.T) {
	s := startServer(t)
	q := &webReq{webApp: s.web}
	box := func() Mailbox { return s.folder(t, "ann", "INBOX") }
	check := func(what string) {
		t.Helper()
		for _, by := range webOrderNames {
			got, err := q.order(box(), by[0])
			if err != nil {
				t.Fatal(err)
			}
			fresh := &webReq{webApp: &webApp{s: s.Server, orders: webNewCache[webOrderKey, webOrder](1)}}
			want, err := fresh.order(box(), by[0])
			if err != nil || fmt.Sprint(got.uids) != fmt.Sprint(want.uids) {
				t.Fatalf("%s, by %s: %v, want %v (%v)", what, by[0], got.uids, want.uids, err)
			}
		}
	}
	for i := range 30 {
		s.putAt(t, "ann", "INBOX", fmt.Sprintf("From: p%d@x\nSubject: s%d\n\n%s\n", i%7, i%5, strings.Repeat("x", i%11*100)), time.Unix(int64(1_700_000_000+i*7919%1000), 0))
		if i%3 == 0 {
			check(fmt.Sprint("after message ", i))
		}
	}
	s.write(t, func(tx *Tx) error { _, err := tx.Expunge(box(), []UID{3, 4, 20}); return err })
	check("after three were deleted")
	s.write(t, func(tx *Tx) error { _, err := tx.SetFlags(box(), []UID{5, 6}, webFlags('+', FlagSeen)); return err })
	check("after two were read")
	s.putAt(t, "ann", "INBOX", "From: a@x\nSubject: last\n\nx\n", time.Unix(1_600_000_000, 0))
	s.write(t, func(tx *Tx) error { _, err := tx.Expunge(box(), []UID{1}); return err })
	check("after one came and one went")
}

// TestWebOrdersShrink: orders have a budget, and those that came first make room; one is always kept.
func TestWebOrdersShrink(t *testing.T) {
	c := webNewCache[string, webOrder](webMaxOrders)
	for i, name := range []string{"a", "b", "c", "d"} {
		c.put(name, &webOrder{uids: make([]UID, i+1)})
	}
	left := func(most int) string {
		c.shrink(func(all []*webOrder) bool {
			n := 0
			for _, o := range all {
				n += len(o.uids)
			}
			return n > most
		})
		return strings.Join(slices.Sorted(maps.Keys(c.all)), "")
	}
	for _, want := range []struct {
		most int
		left string
	}{{10, "abcd"}, {9, "bcd"}, {5, "d"}, {1, "d"}} {
		if got := left(want.most); got != want.left {
			t.Errorf("of %d messages %q are left, not %q", want.most, got, want.left)
		}
	}
}

// TestWebRefreshReadsNothing: what the script fetches for the list beside a message does not count as reading it.
func TestWebRefreshReadsNothing(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "Subject: x\n\nx\n", 0)
	ann := newWebClient(t, s).login("ann")
	href := fmt.Sprintf("%s/%d", ann.at, uid)
	ann.get(href + "?part=list")
	ann.want(`class="beside`)
	if box := s.folder(t, "ann", "INBOX"); box.Unseen != 1 {
		t.Error("it counts as read")
	}
	if ann.get(href); s.folder(t, "ann", "INBOX").Unseen != 0 {
		t.Error("it does not count as read")
	}
}
