// Mail pages: the list of a folder, by page, by conversation and by search.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	webPageSize   = 50   // messages on a page of a list
	webThreadScan = 400  // messages that are looked through for a page of conversations
	webMaxRows    = 3000 // summaries kept in memory, about 400 octets each
	webSnippet    = 140  // characters of a message in a list
	webMaxFound   = 5000 // messages that a search may find
	webMaxSubject = 300  // characters of a subject that are shown
	webMaxPeople  = 200  // addresses of a message that are shown
	webBeside     = 30   // messages in the list beside an open one
)

func webMailRoutes() []webRoute {
	return []webRoute{
		{"GET /mail", webUser, (*webReq).getMail},
		{"GET /box/{box}", webUser, (*webReq).getBox},
		{"GET /search", webUser, (*webReq).getSearch},
		{"GET /box/{box}/{uid}", webUser, (*webReq).getMessage},
		{"GET /box/{box}/{uid}/html", webUser, (*webReq).getHTML},
		{"GET /box/{box}/{uid}/print", webUser, (*webReq).getPrint},
		{"GET /box/{box}/{uid}/part/{path}", webUser, (*webReq).getPart},
		{"GET /box/{box}/{uid}/all.zip", webUser, (*webReq).getZip},
		{"GET /box/{box}/{uid}/eml", webUser, (*webReq).getEML},
		{"GET /box/{box}/{uid}/source", webUser, (*webReq).getSource},
		{"GET /box/{box}/{uid}/header", webUser, (*webReq).getHeader},
		{"GET /inline/{blob}/{path}/{mac}", webPublic, (*webReq).getInline},
		{"POST /act", webUser, (*webReq).postAct},
		{"POST /undo", webUser, (*webReq).postUndo},
		{"POST /pictures", webUser, (*webReq).postPictures},
		{"POST /threads", webUser, (*webReq).postThreads},
		{"GET /folders", webUser, (*webReq).getFolders},
		{"POST /folders", webUser, (*webReq).postFolders},
	}
}

// webPerson is an address as it is shown.
type webPerson struct{ Name, Address string }

// Label is the name, or the address where there is none.
func (p webPerson) Label() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Address
}

// webPeople turns an address list into what is shown: names decoded, groups flattened.
func webPeople(list []Address) []webPerson {
	var all []webPerson
	for _, a := range list {
		if a.Domain == "" {
			continue
		}
		addr := Address{Local: a.Local, Domain: a.Domain}.String()
		all = append(all, webPerson{webClean(a.DisplayName()), webClean(strings.Trim(addr, "<>"))})
		if len(all) == webMaxPeople {
			break
		}
	}
	return all
}

// webSummary is what a list shows of a message's content. Content never changes, so it is kept by the content's ID.
type webSummary struct {
	From    webPerson
	To      string // names of the recipients, for Sent and Drafts
	Subject string
	Snippet string
	Date    time.Time
	Clip    bool
	ID      string // Message-ID
}

// webRowCache keeps the summaries that were used last.
type webRowCache struct {
	mu   sync.Mutex
	rows map[BlobID]*webSummary
	ring []BlobID
	next int
}

func webNewRowCache() *webRowCache {
	return &webRowCache{rows: map[BlobID]*webSummary{}, ring: make([]BlobID, webMaxRows)}
}

func (c *webRowCache) get(id BlobID) *webSummary {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows[id]
}

func (c *webRowCache) put(id BlobID, s *webSummary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.rows[id]; !ok {
		delete(c.rows, c.ring[c.next])
		c.ring[c.next] = id
		c.next = (c.next + 1) % len(c.ring)
	}
	c.rows[id] = s
}

// webRow is a line of a list.
type webRow struct {
	Box Mailbox
	M   Message
	*webSummary
	Who                        string // whom the line names: the sender, or in Sent and Drafts the recipients
	Key                        string // "box.uid", with commas for a conversation
	Href                       string
	Count                      int // messages of the conversation
	Unread                     bool
	Flagged                    bool
	Open                       bool
	Answered, Forwarded, Draft bool
}

// summaries reads what is not in memory yet. Content is opened in one transaction and read after it.
func (q *webReq) summaries(rows []*webRow) error {
	var open []*Content
	var todo []*webRow
	err := q.s.store.Read(func(tx *Tx) error {
		open, todo = open[:0], todo[:0]
		for _, r := range rows {
			if r.webSummary = q.rows.get(r.M.Blob); r.webSummary != nil {
				continue
			}
			c, err := tx.Content(r.M.Blob)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			open, todo = append(open, c), append(todo, r)
		}
		return nil
	})
	for i, r := range todo {
		if open[i] == nil {
			r.webSummary = &webSummary{Date: r.M.Internal}
			continue
		}
		r.webSummary = webSummarize(open[i])
		q.rows.put(r.M.Blob, r.webSummary)
	}
	return err
}

func webSummarize(c *Content) *webSummary {
	h := c.Header()
	e := ParseEnvelope(h)
	s := &webSummary{Subject: webCut(webClean(h.Text("Subject")), webMaxSubject), ID: e.MessageID}
	if p := webPeople(e.From); len(p) > 0 {
		s.From = p[0]
	}
	var to []string
	for i, p := range webPeople(append(append(e.To[:len(e.To):len(e.To)], e.Cc...), e.Bcc...)) {
		if i == 4 {
			to = append(to, "…")
			break
		}
		to = append(to, p.Label())
	}
	s.To = strings.Join(to, ", ")
	s.Date, _ = ParseDate(e.Date)
	tree := c.Tree()
	s.Clip = len(tree.Attachments()) > 0
	s.Snippet = webClean(Preview(tree, c, webSnippet))
	return s
}

// dress fills in what follows from the message's row and its summary.
func (r *webRow) dress() {
	f := r.M.Flags.Bits
	r.Unread = r.Unread || f&FlagSeen == 0
	r.Flagged = r.Flagged || f&FlagFlagged != 0
	r.Answered, r.Forwarded, r.Draft = f&FlagAnswered != 0, f&FlagForwarded != 0, f&FlagDraft != 0
	if r.Who == "" {
		r.Who = r.From.Label()
		if r.Box.Special == `\Sent` || r.Box.Special == `\Drafts` || r.Draft {
			r.Who = r.To
		}
	}
	if r.Key == "" {
		r.Key = webKey(r.Box.ID, r.M.UID)
	}
	if r.Href == "" {
		r.Href = webHref(r.Box.ID, r.M.UID)
	}
}

func webKey(box MailboxID, uid UID) string { return fmt.Sprintf("%d.%d", box, uid) }

func webHref(box MailboxID, uid UID) string { return fmt.Sprintf("/box/%d/%d", box, uid) }

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

func webMailboxID(s string) MailboxID {
	n, _ := strconv.ParseInt(s, 10, 64)
	return MailboxID(n)
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
		return q.searchPage(webMailboxID(q.r.PathValue("box")), s)
	}
	l, err := q.boxList(webMailboxID(q.r.PathValue("box")), q.r.URL.Query())
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
		if l.Mailbox, err = q.mailbox(tx, id); err != nil {
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
	if l.First > 1 || back && more {
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
		r.dress()
		if l.Query != "" {
			r.Href += "?q=" + webEscape(l.Query)
		} else if _, tail, ok := strings.Cut(l.Self, "?"); ok {
			r.Href += "?" + tail
		}
	}
	return q.s.store.Read(func(tx *Tx) (err error) { l.Targets, err = q.folders(tx); return err })
}

// webHit is a message that a search found.
type webHit struct {
	Box Mailbox
	M   Message
}

func (q *webReq) getSearch() error {
	s := strings.TrimSpace(q.r.URL.Query().Get("q"))
	if s == "" {
		return q.redirect("/mail")
	}
	return q.searchPage(0, s)
}

// searchPage shows what a search found in one folder, or with 0 in all of them. Its pages go by number: the whole list
// is found each time, which the search's own limit bounds.
func (q *webReq) searchPage(id MailboxID, text string) error {
	l := webList{Query: text, All: id == 0, Self: q.r.URL.RequestURI()}
	hits, hint, err := q.search(id, text)
	if err != nil {
		return err
	}
	if id != 0 {
		if err := q.s.store.Read(func(tx *Tx) (err error) { l.Mailbox, err = q.mailbox(tx, id); return err }); err != nil {
			return err
		}
	}
	slices.SortFunc(hits, func(a, b webHit) int {
		return cmp.Or(-cmp.Compare(a.M.Internal.Unix(), b.M.Internal.Unix()), cmp.Compare(b.M.UID, a.M.UID))
	})
	l.Hint, l.Total, l.More = hint, int64(len(hits)), len(hits) >= webMaxFound
	page, _ := strconv.Atoi(q.r.URL.Query().Get("p"))
	from := min(max(page, 0)*webPageSize, len(hits))
	to := min(from+webPageSize, len(hits))
	for _, h := range hits[from:to] {
		l.Rows = append(l.Rows, &webRow{Box: h.Box, M: h.M, Count: 1})
	}
	if to > from {
		l.First, l.Last = int64(from+1), int64(to)
	}
	at := func(p int) string { return fmt.Sprintf("%s?q=%s&p=%d", q.r.URL.Path, webEscape(text), p) }
	if page > 0 {
		l.Newer = at(page - 1)
	}
	if to < len(hits) {
		l.Older = at(page + 1)
	}
	if err := q.finish(&l); err != nil {
		return err
	}
	return q.page("list", "Search", l)
}
