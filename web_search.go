// Search on the pages: what people type becomes what the store is asked for.
package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (q *webReq) getSearch() error {
	s := strings.TrimSpace(q.r.URL.Query().Get("q"))
	if s == "" {
		return q.redirect("/mail")
	}
	return q.searchPage(0, s)
}

// searchPage shows what a search found in one folder, or with 0 in all of them. Its pages go by number. No more is looked
// for than the page shows and whether there is another one.
func (q *webReq) searchPage(id MailboxID, text string) error {
	l := webList{Query: text, All: id == 0, Self: q.r.URL.RequestURI()}
	page, _ := strconv.Atoi(q.r.URL.Query().Get("p"))
	page = min(max(page, 0), webMaxFound/webPageSize-1)
	behind := q.s.store.IndexBehind() // before the search, which does something about it
	r, err := q.search(id, text, (page+1)*webPageSize+1)
	if err != nil {
		return err
	}
	from := min(page*webPageSize, len(r.hits))
	to := min(from+webPageSize, len(r.hits))
	err = q.s.store.Read(func(tx *Tx) error {
		var err error
		l.Rows = nil
		if id != 0 {
			l.Mailbox, err = q.mailbox(tx, id)
			if err != nil {
				return err
			}
		}
		return q.foundRows(tx, r.hits[from:to], &l)
	})
	if err != nil {
		return err
	}
	l.Hint = r.hint
	if behind && r.reads {
		l.Hint = strings.TrimSpace(l.Hint + " " + q.lang.T("The search index is not complete yet; a search takes longer until it is."))
	}
	l.Total, l.More = max(r.total, int64(len(r.hits))), r.more && r.total == 0
	if len(l.Rows) > 0 {
		l.First, l.Last = int64(from+1), int64(to)
	}
	at := func(p int) string { return fmt.Sprintf("%s?q=%s&p=%d", q.r.URL.Path, webEscape(text), p) }
	if page > 0 {
		l.Newer = at(page - 1)
	}
	if to < len(r.hits) && (page+1)*webPageSize < webMaxFound {
		l.Older = at(page + 1)
	}
	l.found = fmt.Sprintf("&p=%d", page)
	if id != 0 {
		l.found += fmt.Sprintf("&in=%d", id)
	}
	if err := q.finish(&l); err != nil {
		return err
	}
	return q.page("list", "Search", l)
}

const (
	webSearchTime  = 10 * time.Second // a search gives what it has found by then
	webSearchFirst = 250              // messages looked at in the first step, the newest
	webSearchStep  = 8000             // and at most in one
	webMaxSearches = 16               // results kept in memory, at most 24 octets for each of webMaxFound
	webMaxWords    = 30               // conditions of one search
)

// webQuery is what was typed, understood.
type webQuery struct {
	q      *Query
	clip   bool   // only with attachments, which the store's query has no word for
	noClip bool   // only without
	in     string // a folder's name
	any    bool   // there is a condition at all
	flags  bool   // one is on flags
	unread bool   // all must be unread
	odd    string // a word with a colon that means nothing here
}

// webWords splits a search at spaces, but not inside quotes.
func webWords(s string) []string {
	var words []string
	var b strings.Builder
	quoted := false
	end := func() {
		if b.Len() > 0 {
			words = append(words, b.String())
		}
		b.Reset()
	}
	for _, r := range s {
		switch {
		case r == '"' || r == '“' || r == '”':
			quoted = !quoted
		case !quoted && (r == ' ' || r == '\t' || r == '\u3000'):
			end()
		default:
			b.WriteRune(r)
		}
	}
	end()
	return words[:min(len(words), webMaxWords)]
}

// webParseQuery understands from: to: cc: subject: body: has:attachment is:unread is:starred before: after: on: larger:
// smaller: in: and words, all of which must hold; a minus in front means not.
func webParseQuery(s string, now time.Time) *webQuery {
	w := &webQuery{q: &Query{Op: QueryAnd}}
	for _, word := range webWords(s) {
		not := strings.HasPrefix(word, "-") && len(word) > 1
		if not {
			word = word[1:]
		}
		k := w.condition(word, not, now)
		if k == nil {
			continue
		}
		if not {
			k = &Query{Op: QueryNot, Kids: []*Query{k}}
		}
		w.q.Kids, w.any = append(w.q.Kids, k), true
	}
	return w
}

// condition is one word of a search; nil for what is kept in w.
func (w *webQuery) condition(word string, not bool, now time.Time) *Query {
	name, value, ok := strings.Cut(strings.Replace(word, "：", ":", 1), ":")
	if !ok || value == "" {
		return &Query{Op: QueryText, Text: word}
	}
	header := func(field string) *Query { return &Query{Op: QueryHeader, Field: field, Text: value} }
	switch strings.ToLower(name) {
	case "from":
		return header("From")
	case "to":
		return &Query{Op: QueryOr, Kids: []*Query{header("To"), header("Cc")}}
	case "cc":
		return header("Cc")
	case "subject":
		return header("Subject")
	case "body":
		return &Query{Op: QueryBody, Text: value}
	case "is":
		k := webIs(strings.ToLower(value))
		w.flags = w.flags || k != nil
		w.unread = w.unread || (k != nil && k.Op == QueryNot && !not)
		return k
	case "before", "after", "since", "on":
		return webDay(strings.ToLower(name), value, now)
	case "larger", "smaller":
		return webSized(strings.ToLower(name), value)
	case "has":
		if strings.HasPrefix(strings.ToLower(value), "attach") {
			w.clip, w.noClip, w.any = !not, not, true
			return nil
		}
	case "in":
		w.in, w.any = value, true
		return nil
	case "http", "https": // an address is a word
	default:
		w.odd = name
	}
	return &Query{Op: QueryText, Text: word}
}

func webIs(value string) *Query {
	flag := func(b FlagBits) *Query { return &Query{Op: QueryFlags, Flags: Flags{Bits: b}} }
	switch value {
	case "unread", "unseen":
		return &Query{Op: QueryNot, Kids: []*Query{flag(FlagSeen)}}
	case "read", "seen":
		return flag(FlagSeen)
	case "starred", "flagged":
		return flag(FlagFlagged)
	case "answered", "replied":
		return flag(FlagAnswered)
	}
	return nil
}

// webDay understands 2026-12-01, 2026-12, 2026, today, yesterday, in now's zone.
func webDay(name, value string, now time.Time) *Query {
	var lo, hi time.Time
	for _, f := range []struct {
		layout  string
		y, m, d int
	}{{"2006-1-2", 0, 0, 1}, {"2006/1/2", 0, 0, 1}, {"2006-1", 0, 1, 0}, {"2006", 1, 0, 0}} {
		if t, err := time.ParseInLocation(f.layout, value, now.Location()); err == nil {
			lo, hi = t, t.AddDate(f.y, f.m, f.d)
			break
		}
	}
	y, m, d := now.Date()
	switch value {
	case "today", "今天":
		lo = time.Date(y, m, d, 0, 0, 0, 0, now.Location())
		hi = lo.AddDate(0, 0, 1)
	case "yesterday", "昨天":
		hi = time.Date(y, m, d, 0, 0, 0, 0, now.Location())
		lo = hi.AddDate(0, 0, -1)
	}
	if lo.IsZero() {
		return nil
	}
	const far = 1 << 40
	switch name {
	case "before":
		return &Query{Op: QueryInternal, Lo: -far, Hi: lo.Unix() - 1}
	case "on":
		return &Query{Op: QueryInternal, Lo: lo.Unix(), Hi: hi.Unix() - 1}
	}
	return &Query{Op: QueryInternal, Lo: lo.Unix(), Hi: far}
}

func webSized(name, value string) *Query {
	unit := int64(1)
	v := strings.ToUpper(value)
	for i, u := range []string{"K", "M", "G"} {
		if t, ok := strings.CutSuffix(strings.TrimSuffix(v, "B"), u); ok {
			v, unit = t, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return nil
	}
	if name == "larger" {
		return &Query{Op: QuerySize, Lo: int64(n*float64(unit)) + 1, Hi: 1 << 60}
	}
	return &Query{Op: QuerySize, Hi: int64(n*float64(unit)) - 1}
}

// webHit is a message that a search found.
type webHit struct {
	box MailboxID
	uid UID
	at  int64 // INTERNALDATE
}

// webResult is what a search has found: the newest arrivals of each folder, and of several folders the newest first.
type webResult struct {
	hits  []webHit
	more  bool   // there may be more
	late  bool   // because time ran out
	reads bool   // it looked into messages
	total int64  // how many there are, where that is known without looking; else 0
	hint  string // what the reader should know: a word that was not understood, or that time ran out
	state string // of the folders; another state makes the result void
}

// search finds messages in one folder, or with 0 in all folders but Junk and Trash. It ends when it has most of them, and
// remembers them for the other pages and for whoever comes back from a message.
func (q *webReq) search(id MailboxID, text string, most int) (*webResult, error) {
	now := q.lang.here(q.s.store.Now())
	w := webParseQuery(text, now)
	boxes, err := q.searchIn(id, w.in)
	if err != nil || !w.any {
		return &webResult{hint: q.oddWord(w)}, err
	}
	r := &webResult{hint: q.oddWord(w), reads: w.q.Leaves() > 0}
	for _, m := range boxes {
		r.state += fmt.Sprintf("%d %d %d ", m.ID, m.UIDNext, m.Exists)
		if w.flags {
			r.state += fmt.Sprint(m.HighestModSeq, " ")
		}
	}
	key := fmt.Sprintf("%d %d %s %s", q.user.ID, id, now.Format("2006-01-02 MST"), text)
	if old := q.found.get(key); old != nil && old.state == r.state && (!old.more || len(old.hits) >= most) {
		return old, nil
	}
	until := time.Now().Add(webSearchTime)
	for _, m := range boxes {
		if err := q.searchBox(r, m, w, most, until, len(boxes) == 1); err != nil {
			return nil, err
		}
	}
	if len(boxes) > 1 {
		slices.SortStableFunc(r.hits, func(a, b webHit) int { return cmp.Compare(b.at, a.at) })
		r.more = r.more || len(r.hits) > most
		r.hits = r.hits[:min(len(r.hits), most)]
	} else if len(boxes) == 1 && w.unread && len(w.q.Kids) == 1 && !w.clip && !w.noClip {
		r.total = boxes[0].Unseen
	}
	if !r.late && len(r.hits) <= webMaxFound {
		q.found.put(key, r)
	}
	return r, nil
}

func (q *webReq) oddWord(w *webQuery) string {
	if w.odd == "" {
		return ""
	}
	return q.lang.F("%s: means nothing here and was taken as a word.", w.odd)
}

// searchBox looks through one folder, which is the only one or one of many, from its newest message on, in steps that grow: what people look for is mostly new.
func (q *webReq) searchBox(r *webResult, m Mailbox, w *webQuery, most int, until time.Time, alone bool) error {
	room := most
	if w.unread { // when the last unread message is found, the older ones need not be looked at
		room = int(min(int64(most), m.Unseen))
	}
	next, err := q.searchOrder(m, alone)
	if err != nil {
		return err
	}
	found := 0
	for step := webSearchFirst; found < room; step = min(2*step, webSearchStep) {
		if time.Now().After(until) || q.r.Context().Err() != nil {
			r.hint, r.late, r.more = q.lang.T("The search was ended after ten seconds; there may be more."), true, true
			break
		}
		if step == webSearchStep && w.q.Leaves() > 0 { // it will look at much more
			if err := q.s.store.IndexFor(m.Exists, until); err != nil {
				return err
			}
		}
		uids, err := next(step)
		if err != nil || len(uids) == 0 {
			return err
		}
		some, err := q.searchSome(m, uids, w)
		if err != nil {
			return err
		}
		slices.SortStableFunc(some, func(a, b webHit) int { return cmp.Compare(b.at, a.at) })
		some = some[:min(len(some), room-found)]
		r.hits, found = append(r.hits, some...), found+len(some)
	}
	r.more = r.more || found == most
	return nil
}

// searchOrder returns what gives a folder's next UIDs to search, so many at a time, sorted: of the only folder those that are
// first in its list by date, of each of many those that arrived last, for which nothing has to be known of it.
func (q *webReq) searchOrder(m Mailbox, alone bool) (func(step int) ([]UID, error), error) {
	if !alone {
		before := ^UID(0)
		return func(step int) ([]UID, error) {
			uids, err := read(q.s.store, func(tx *Tx) ([]UID, error) { return tx.NewestUIDs(m.ID, before, step) })
			if len(uids) > 0 {
				before = uids[0]
			}
			return uids, err
		}, nil
	}
	o, err := q.order(m, "date")
	if err != nil {
		return nil, err
	}
	left := o.uids
	return func(step int) ([]UID, error) {
		uids := slices.Clone(left[:min(step, len(left))])
		left = left[len(uids):]
		slices.Sort(uids)
		return uids, nil
	}, nil
}

// searchIn lists the folders to search.
func (q *webReq) searchIn(id MailboxID, in string) ([]Mailbox, error) {
	folders, err := read(q.s.store, q.folders)
	if err != nil {
		return nil, err
	}
	var boxes []Mailbox
	for _, f := range folders {
		switch {
		case in != "":
			if strings.EqualFold(f.Name, in) || strings.EqualFold(q.lang.folderName(f.Mailbox), in) {
				boxes = append(boxes, f.Mailbox)
			}
		case id == f.ID, id == 0 && f.Special != `\Junk` && f.Special != `\Trash`:
			boxes = append(boxes, f.Mailbox)
		}
	}
	if id != 0 && in == "" && len(boxes) == 0 {
		return nil, ErrNotFound
	}
	return boxes, nil
}

// searchSome searches among some messages of a folder, whose UIDs are sorted, and returns what it found newest first.
func (q *webReq) searchSome(m Mailbox, uids []UID, w *webQuery) ([]webHit, error) {
	var found []UID
	err := q.s.store.Search(m.ID, uids, w.q, func(some []Found) error {
		for _, f := range some {
			found = append(found, f.UID)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var hits []webHit
	want := WantRow
	if w.clip || w.noClip {
		want = WantTree
	}
	err = q.s.store.List(m.ID, found, want, func(x *Listed) error {
		if !x.Gone && (want == WantRow || (x.Content != nil && (len(x.Content.Tree().Attachments()) > 0) == w.clip)) {
			hits = append(hits, webHit{m.ID, x.UID, x.Internal.Unix()})
		}
		return nil
	})
	slices.Reverse(hits)
	return hits, err
}
