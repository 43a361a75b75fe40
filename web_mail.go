// Mail pages: the list of a folder, by page, by conversation and by search.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	webPageSize   = 50   // messages on a page of a list
	webMaxRows    = 3000 // summaries kept in memory, about 400 octets each
	webSnippet    = 140  // characters of a message in a list
	webMaxFound   = 5000 // messages that a search shows, on all its pages
	webMaxSubject = 300  // characters of a subject that are shown
	webMaxPeople  = 200  // addresses of a message that are shown
	webBeside     = 30   // lines in the list beside an open message
	webBesideTop  = 3    // of them above it: it is in sight without a script
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
		{"POST /order", webLoggedIn, (*webReq).postOrder},
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
	m, err := read(q.s.store, func(tx *Tx) (Mailbox, error) { return tx.MailboxByName(q.user.ID, "INBOX") })
	if err != nil {
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
	Threads bool // lines are conversations
	Order   string
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
	found   string // what an address of a message that was found ends with, to lead back
}

func (l webList) inBox() (MailboxID, string) { return l.Mailbox.ID, l.Query }

// Orders are those that can be chosen.
func (webList) Orders() [][2]string { return webOrderNames }

// Talks says whether each line stands for its conversation.
func (l webList) Talks() bool { return l.Threads && l.Order == "date" && l.Query == "" }

// Trash says whether the page is that of the trash.
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
	kind := "list"
	if q.r.URL.Query().Get("part") == "list" {
		kind = "rows"
	}
	return q.page(kind, q.lang.folderName(l.Mailbox), l)
}

// boxList reads one page of a folder: webPageSize lines from "n" on.
func (q *webReq) boxList(id MailboxID, v url.Values) (webList, error) {
	look := q.look()
	box, err := read(q.s.store, func(tx *Tx) (Mailbox, error) { return q.mailbox(tx, id) })
	l := webList{Mailbox: box, Threads: look.Threads, Order: look.order()}
	if err != nil {
		return l, err
	}
	lines, err := q.lines(l.Mailbox)
	if err != nil {
		return l, err
	}
	n, _ := strconv.Atoi(v.Get("n"))
	n = min(max(n, 0), max(lines.len()-1, 0))
	l.Rows, err = read(q.s.store, func(tx *Tx) ([]*webRow, error) { return q.rowsOf(tx, l.Mailbox, lines, n, n+webPageSize) })
	if err != nil {
		return l, err
	}
	l.Total, l.ModSeq, l.Self = int64(lines.len()), l.Mailbox.HighestModSeq, webPageAt(id, n)
	if len(l.Rows) > 0 {
		l.First, l.Last = int64(n+1), int64(min(n+webPageSize, lines.len()))
	}
	if n > 0 {
		l.Newer = webPageAt(id, max(n-webPageSize, 0))
	}
	if n+webPageSize < lines.len() {
		l.Older = webPageAt(id, n+webPageSize)
	}
	return l, q.finish(&l)
}

// webPageAt is the address of the page of a folder that begins with the line after n.
func webPageAt(id MailboxID, n int) string {
	if n == 0 {
		return fmt.Sprintf("/box/%d", id)
	}
	return fmt.Sprintf("/box/%d?n=%d", id, n)
}

// finish reads the lines' texts and where messages can be moved to.
func (q *webReq) finish(l *webList) error {
	if err := q.summaries(l.Rows); err != nil {
		return err
	}
	for _, r := range l.Rows {
		r.fill(q.lang)
		if l.Query != "" {
			r.Href += "?q=" + webEscape(l.Query) + l.found
		}
	}
	targets, err := read(q.s.store, q.folders)
	l.Targets = targets
	return err
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
