// Search on the pages: what people type becomes what the store is asked for.
package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	webSearchTime = 10 * time.Second // a search gives what it has found by then
	webSearchStep = 4000             // messages looked at in one go, the newest first
	webMaxWords   = 30               // conditions of one search
)

// webQuery is what was typed, understood.
type webQuery struct {
	q      *Query
	clip   bool   // only with attachments, which the store's query has no word for
	noClip bool   // only without
	in     string // a folder's name
	any    bool   // there is a condition at all
	odd    string // a word with a colon that means nothing here
}

// webWords splits a search at spaces, but not inside quotes.
func webWords(s string) (words []string) {
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
		return webIs(strings.ToLower(value))
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

// webDay understands 2026-12-01, 2026-12, 2026, today, yesterday.
func webDay(name, value string, now time.Time) *Query {
	var lo, hi time.Time
	for _, f := range []struct {
		layout  string
		y, m, d int
	}{{"2006-1-2", 0, 0, 1}, {"2006/1/2", 0, 0, 1}, {"2006-1", 0, 1, 0}, {"2006", 1, 0, 0}} {
		if t, err := time.ParseInLocation(f.layout, value, time.Local); err == nil {
			lo, hi = t, t.AddDate(f.y, f.m, f.d)
			break
		}
	}
	y, m, d := now.Local().Date()
	switch value {
	case "today", "今天":
		lo = time.Date(y, m, d, 0, 0, 0, 0, time.Local)
		hi = lo.AddDate(0, 0, 1)
	case "yesterday", "昨天":
		hi = time.Date(y, m, d, 0, 0, 0, 0, time.Local)
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

// search finds messages in one folder, or with 0 in all folders but Junk and Trash, at most webMaxFound. hint says what
// the reader should know: a word that was not understood, or that time ran out.
func (q *webReq) search(id MailboxID, text string) (hits []webHit, hint string, err error) {
	w := webParseQuery(text, q.s.store.Now())
	if w.odd != "" {
		hint = q.lang.F("%s: means nothing here and was taken as a word.", w.odd)
	}
	boxes, err := q.searchIn(id, w.in)
	if err != nil || !w.any {
		return nil, hint, err
	}
	until := time.Now().Add(webSearchTime)
	for _, m := range boxes {
		var uids []UID
		if err := q.s.store.Read(func(tx *Tx) (err error) { uids, _, err = tx.UIDs(m.ID, nil); return err }); err != nil {
			return nil, "", err
		}
		for end := len(uids); end > 0; end -= webSearchStep {
			if len(hits) >= webMaxFound {
				return hits[:webMaxFound], hint, nil
			}
			if time.Now().After(until) || q.r.Context().Err() != nil {
				return hits, q.lang.T("The search was ended after ten seconds; there may be more."), nil
			}
			found, err := q.searchSome(m, uids[max(end-webSearchStep, 0):end], w)
			if err != nil {
				return nil, "", err
			}
			hits = append(hits, found...)
		}
	}
	return hits, hint, nil
}

// searchIn lists the folders to search.
func (q *webReq) searchIn(id MailboxID, in string) (boxes []Mailbox, err error) {
	var folders []webFolder
	if err := q.s.store.Read(func(tx *Tx) (err error) { folders, err = q.folders(tx); return err }); err != nil {
		return nil, err
	}
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

func (q *webReq) searchSome(m Mailbox, uids []UID, w *webQuery) (hits []webHit, err error) {
	var found []UID
	err = q.s.store.Search(m.ID, uids, w.q, func(some []Found) error {
		for _, f := range some {
			found = append(found, f.UID)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	err = q.s.store.Read(func(tx *Tx) error {
		hits = hits[:0]
		for _, u := range found {
			x, err := tx.Message(m.ID, u)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if w.clip || w.noClip {
				c, err := tx.Content(x.Blob)
				if err != nil {
					return err
				}
				if (len(c.Tree().Attachments()) > 0) != w.clip {
					continue
				}
			}
			hits = append(hits, webHit{m, x})
		}
		return nil
	})
	slices.Reverse(hits)
	return hits, err
}
