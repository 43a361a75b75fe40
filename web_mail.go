// Mail pages: the list of a folder, by page, by conversation and by search.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	webPageSize   = 50   // messages on a page of a list
	webThreadScan = 400  // messages that are looked through for a page of conversations
	webMaxRows    = 3000 // summaries kept in memory, about 400 octets each
	webSnippet    = 140  // characters of a message in a list
	webMaxFound   = 5000 // messages that a search shows, on all its pages
	webMaxSubject = 300  // characters of a subject that are shown
	webMaxPeople  = 200  // addresses of a message that are shown
	webBeside     = 30   // messages in the list beside an open one
)

func webMailRoutes() []webRoute {
	return []webRoute{
		{"GET /mail", webLoggedIn, (*webReq).getMail},
		{"GET /box/{box}", webLoggedIn, (*webReq).getBox},
		{"GET /search", webLoggedIn, (*webReq).getSearch},
		{"GET /box/{box}/{uid}", webLoggedIn, (*webReq).getMessage},
		{"GET /box/{box}/{uid}/html", webLoggedIn, (*webReq).getHTML},
		{"GET /box/{box}/{uid}/print", webLoggedIn, (*webReq).getPrint},
		{"GET /box/{box}/{uid}/part/{path}", webLoggedIn, (*webReq).getPart},
		{"GET /box/{box}/{uid}/all.zip", webLoggedIn, (*webReq).getZip},
		{"GET /box/{box}/{uid}/eml", webLoggedIn, (*webReq).getEML},
		{"GET /box/{box}/{uid}/source", webLoggedIn, (*webReq).getSource},
		{"GET /box/{box}/{uid}/header", webLoggedIn, (*webReq).getHeader},
		{"GET /inline/{blob}/{path}/{mac}", webPublic, (*webReq).getInline},
		{"POST /act", webLoggedIn, (*webReq).postAct},
		{"POST /undo", webLoggedIn, (*webReq).postUndo},
		{"POST /pictures", webLoggedIn, (*webReq).postPictures},
		{"POST /threads", webLoggedIn, (*webReq).postThreads},
		{"GET /folders", webLoggedIn, (*webReq).getFolders},
		{"POST /folders", webLoggedIn, (*webReq).postFolders},
	}
}

// mailbox finds a folder whose mail the user may read: their own, or one that is shared with them.
func (q *webReq) mailbox(tx *Tx, id MailboxID) (Mailbox, error) {
	m, _, err := q.access(tx, id, RightRead)
	return m, err
}

// access finds a folder with which the user may do all of need. Without even the right to see it, it is ErrNotFound.
func (q *webReq) access(tx *Tx, id MailboxID, need Rights) (Mailbox, Rights, error) {
	m, err := tx.MailboxByID(id)
	if err != nil {
		return m, 0, err
	}
	have, err := tx.RightsOf(q.user, m)
	switch {
	case err != nil:
	case have&RightLookup == 0:
		err = ErrNotFound
	case have&need != need:
		err = webFault(http.StatusForbidden, "You may not do this in this folder.")
	}
	return m, have, err
}

// webID reads an id of some kind from an address or a form; 0, which no row has, for what is none.
func webID[T ~int64](s string) T {
	n, _ := strconv.ParseInt(s, 10, 64)
	return T(n)
}

func webUID(s string) UID {
	n, _ := strconv.ParseUint(s, 10, 32)
	return UID(n)
}

func (q *webReq) getMail() error {
	var m Mailbox
	if err := q.s.store.Read(func(tx *Tx) (err error) { m, err = tx.MailboxByName(q.user.ID, "INBOX"); return err }); err != nil {
		return err
	}
	return q.redirect(fmt.Sprintf("/box/%d", m.ID))
}

// webList is the page of a list.
type webList struct {
	Mailbox Mailbox // zero for a search in all folders
	Rows    []*webRow
	Query   string
	All     bool // the search is in all folders
	Threads bool
	First   int64 // number of the first line, counted from 1
	Last    int64
	Total   int64
	More    bool // the search found more than it shows
	Newer   string
	Older   string
	Self    string
	Targets []webFolder // where messages can be moved
	Hint    string
	ModSeq  ModSeq
}

func (l webList) inBox() (MailboxID, string) { return l.Mailbox.ID, l.Query }

// Name is the folder's name for the title.
func (l webList) Trash() bool { return l.Mailbox.Special == `\Trash` }

// Junk says whether the page is that of the junk folder.
func (l webList) Junk() bool { return l.Mailbox.Special == `\Junk` }

func (q *webReq) getBox() error {
	if s := strings.TrimSpace(q.r.URL.Query().Get("q")); s != "" {
		return q.searchPage(webID[MailboxID](q.r.PathValue("box")), s)
	}
	l, err := q.boxList(webID[MailboxID](q.r.PathValue("box")), q.r.URL.Query())
	if err != nil {
		return err
	}
	if q.r.URL.Query().Get("part") == "list" {
		return q.page("rows", "", l)
	}
	return q.page("list", q.lang.folderName(l.Mailbox), l)
}

// boxList reads one page of a folder. Pages are found by UID: "before" goes on to older messages, "after" back to newer.
// "n" is how many lines came before, only for showing.
func (q *webReq) boxList(id MailboxID, v url.Values) (webList, error) {
	l := webList{Threads: q.look().Threads}
	limit := webPageSize + 1
	if l.Threads {
		limit = webThreadScan + 1
	}
	var msgs []Message
	after := webUID(v.Get("after"))
	err := q.s.store.Read(func(tx *Tx) (err error) {
		l.Mailbox, err = q.mailbox(tx, id)
		if err != nil {
			return err
		}
		if after > 0 {
			msgs, err = tx.After(id, after, limit)
			return err
		}
		before := webUID(v.Get("before"))
		if before == 0 {
			before = ^UID(0)
		}
		msgs, err = tx.Newest(id, before, limit)
		return err
	})
	if err != nil {
		return l, err
	}
	l.Total, l.ModSeq = l.Mailbox.Exists, l.Mailbox.HighestModSeq
	more := len(msgs) == limit
	if after > 0 {
		slices.Reverse(msgs)
	}
	l.Rows, more = q.group(l, msgs, more, after > 0)
	n, _ := strconv.ParseInt(v.Get("n"), 10, 64)
	l.pages(n, more, after > 0)
	return l, q.finish(&l)
}

// pages makes the links to the pages before and after.
func (l *webList) pages(n int64, more, back bool) {
	base := fmt.Sprintf("/box/%d", l.Mailbox.ID)
	l.Self = base
	if len(l.Rows) == 0 {
		return
	}
	l.First = max(n, 0) + 1
	if back && !more {
		l.First = 1
	}
	l.Last = min(l.First+int64(len(l.Rows))-1, l.Total)
	top, bottom := l.Rows[0].M.UID, l.Rows[len(l.Rows)-1].M.UID
	if l.First > 1 || (back && more) {
		l.Newer = fmt.Sprintf("%s?after=%d&n=%d", base, top, max(l.First-1-webPageSize, 0))
	}
	if back || more {
		l.Older = fmt.Sprintf("%s?before=%d&n=%d", base, bottom, l.Last)
	}
	if l.First > 1 {
		l.Self = fmt.Sprintf("%s?before=%d&n=%d", base, top+1, l.First-1)
	}
}

// group makes lines of messages: one for each, or one for each conversation with its newest message. A conversation is
// looked for only on this stretch of the folder.
func (q *webReq) group(l webList, msgs []Message, more, back bool) ([]*webRow, bool) {
	var rows []*webRow
	seen := map[int64]*webRow{}
	for i := range msgs {
		m := msgs[i]
		if r := seen[m.Thread]; l.Threads && r != nil && m.Thread != 0 {
			r.Count++
			r.Unread = r.Unread || m.Flags.Bits&FlagSeen == 0
			r.Flagged = r.Flagged || m.Flags.Bits&FlagFlagged != 0
			if r.Count <= 50 {
				r.Key += "," + webKey(l.Mailbox.ID, m.UID)
			}
			continue
		}
		if len(rows) == webPageSize && !back {
			return rows, true
		}
		r := &webRow{Box: l.Mailbox, M: m, Key: webKey(l.Mailbox.ID, m.UID), Count: 1}
		seen[m.Thread] = r
		rows = append(rows, r)
	}
	if back && len(rows) > webPageSize {
		return rows[len(rows)-webPageSize:], true
	}
	return rows, more
}

// finish reads the lines' texts and where messages can be moved to.
func (q *webReq) finish(l *webList) error {
	if err := q.summaries(l.Rows); err != nil {
		return err
	}
	for _, r := range l.Rows {
		r.fill(q.lang)
		if l.Query != "" {
			r.Href += "?q=" + webEscape(l.Query)
		} else if _, tail, ok := strings.Cut(l.Self, "?"); ok {
			r.Href += "?" + tail
		}
	}
	return q.s.store.Read(func(tx *Tx) (err error) { l.Targets, err = q.folders(tx); return err })
}

// foundRows reads the messages of one page of a search. What was deleted since it was found is left out.
func (q *webReq) foundRows(tx *Tx, hits []webHit, l *webList) error {
	boxes := map[MailboxID]Mailbox{}
	for _, h := range hits {
		m, ok := boxes[h.box]
		if !ok {
			var err error
			m, err = q.mailbox(tx, h.box)
			if err != nil {
				return err
			}
			boxes[h.box] = m
		}
		x, err := tx.Message(h.box, h.uid)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		l.Rows = append(l.Rows, &webRow{Box: m, M: x, Count: 1})
	}
	return nil
}
