// Around an open message: its conversation, its neighbours, the list beside it, and the way back.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// around finds the conversation, the neighbours and the list beside the message.
func (q *webReq) around(p *webReading) error {
	lines, err := q.lines(p.Box)
	if err != nil {
		return err
	}
	at := lines.find(p.M.UID)
	if at < 0 {
		return ErrNotFound // it was deleted since it was opened
	}
	here := []UID{p.M.UID}
	if lines.talks != nil {
		here = lines.line(at)
	}
	p.neighbours(lines, at)
	if err := q.wayBack(p, lines, at); err != nil {
		return err
	}
	open, err := q.beside(p, lines, at, here)
	if err != nil {
		return err
	}
	if open != nil {
		p.All = open.Key
	}
	talk := here
	if lines.talks == nil { // the page shows the conversation also where the list does not
		talk, err = q.talkOf(p.Box, p.M.UID)
		if err != nil {
			return err
		}
	}
	p.Talk, err = q.conversation(p.webMessage, talk)
	if err != nil {
		return err
	}
	if err := q.readTalk(p.Box, here); err != nil {
		return err
	}
	p.Report, err = q.deliveries(p.webMessage)
	return err
}

// beside lists the lines around the open message. It returns the row of the open one with all that its line has.
func (q *webReq) beside(p *webReading, lines webListLines, at int, here []UID) (*webRow, error) {
	p.List = webList{Mailbox: p.Box, Self: fmt.Sprintf("/box/%d", p.Box.ID), Total: int64(lines.len())}
	var open *webRow
	err := q.s.store.Read(func(tx *Tx) error {
		rows, err := q.rowsOf(tx, p.Box, lines, at-webBesideTop, at+webBeside)
		if err != nil {
			return err
		}
		p.List.Rows = rows
		open, err = q.rowOf(tx, p.Box, here)
		return err
	})
	if err == nil {
		err = q.finish(&p.List)
	}
	for _, r := range p.List.Rows {
		r.Open = slices.Contains(here, r.M.UID)
		r.Unread = r.Unread && !r.Open
	}
	return open, err
}

// talkOf gives the messages of a folder that are in a conversation with one of it.
func (q *webReq) talkOf(box Mailbox, uid UID) ([]UID, error) {
	o, err := q.order(box, "date")
	if err != nil {
		return nil, err
	}
	t, err := q.talks(box.ID, o)
	if err != nil {
		return nil, err
	}
	lines := webListLines{o, t}
	at := lines.find(uid)
	if at < 0 {
		return []UID{uid}, nil
	}
	return lines.line(at), nil
}

// neighbours are what the keys j and k lead to.
func (p *webReading) neighbours(lines webListLines, at int) {
	if at > 0 {
		p.Newer = webHref(p.Box.ID, lines.line(at - 1)[0])
	}
	if at+1 < lines.len() {
		p.Older = webHref(p.Box.ID, lines.line(at + 1)[0])
	}
}

// wayBack leads to the page of the list, or of the search, that has the message, and to its row there.
func (q *webReq) wayBack(p *webReading, lines webListLines, at int) error {
	page := webPageAt(p.Box.ID, at/webPageSize*webPageSize)
	if v := q.r.URL.Query(); p.Query != "" {
		page = "/search?q=" + webEscape(p.Query)
		if in := webID[MailboxID](v.Get("in")); in != 0 {
			page = fmt.Sprintf("/box/%d?q=%s", in, webEscape(p.Query))
		}
		if n := webID[int64](v.Get("p")); n > 0 {
			page += fmt.Sprintf("&p=%d", n)
		}
	}
	p.Back = page + "#" + webAnchor(p.Box.ID, lines.line(at)[0])
	p.After = page
	if at+1 < lines.len() && p.Query == "" {
		p.After += "#" + webAnchor(p.Box.ID, lines.line(at + 1)[0])
	}
	return nil
}

// isRead says whether somebody looks at the message: a browser that only fetches it in advance does not, nor does the script when
// it wants the list beside it.
func (q *webReq) isRead() bool {
	return q.r.Header.Get("Sec-Purpose") == "" && q.r.URL.Query().Get("part") == ""
}

// readTalk marks the messages of a conversation as read, whose texts are on the page with that of the open one.
func (q *webReq) readTalk(box Mailbox, uids []UID) error {
	if len(uids) < 2 || !q.isRead() {
		return nil
	}
	uids = slices.Clone(uids[:min(len(uids), webMaxWhole)])
	slices.Sort(uids)
	_, err := q.setFlags(webChosen{box.ID: uids}, webFlags('+', FlagSeen), 0)
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		return nil
	}
	return err
}

// webTalkHit is a message of a conversation and the folder that it is in.
type webTalkHit struct {
	Box Mailbox
	M   Message
}

// conversation gathers the messages of a thread from all folders but Junk and Trash, oldest first, each once. The newest
// are shown in full, the others as a line. here are those of the message's own folder that its list knows of.
func (q *webReq) conversation(m *webMessage, here []UID) ([]*webMessage, error) {
	hits, err := read(q.s.store, func(tx *Tx) ([]webTalkHit, error) { return q.talkHits(tx, m, here) })
	if err != nil || len(hits) < 2 {
		return nil, err
	}
	slices.SortStableFunc(hits, func(a, b webTalkHit) int { return cmp.Compare(a.M.Internal.Unix(), b.M.Internal.Unix()) })
	hits = hits[max(len(hits)-webMaxTalk, 0):]
	var talk []*webMessage
	ids := map[string]bool{m.header.Get("Message-ID"): true}
	for i, h := range hits {
		if h.M.UID == m.M.UID && h.Box.ID == m.Box.ID {
			talk = append(talk, m)
			continue
		}
		x, err := q.openMessage(h.Box.ID, h.M.UID, "")
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		id := x.header.Get("Message-ID")
		if id != "" && ids[id] { // a letter to myself is in Sent and in the inbox
			continue
		}
		ids[id] = true
		if err := q.inTalk(x, i >= len(hits)-webMaxWhole); err != nil {
			return nil, err
		}
		talk = append(talk, x)
	}
	if len(talk) < 2 {
		return nil, nil
	}
	return talk, nil
}

// inTalk reads what a conversation shows of a message: the whole of it, or a line.
func (q *webReq) inTalk(m *webMessage, whole bool) error {
	q.describe(m)
	m.Snippet = webClean(Preview(m.root, m.content, webSnippet))
	if !whole {
		return nil
	}
	return q.body(m)
}

// talkHits finds the messages of a conversation: those of the message's own folder, and in the others those that belong to the
// same threads.
func (q *webReq) talkHits(tx *Tx, m *webMessage, here []UID) ([]webTalkHit, error) {
	var hits []webTalkHit
	threads := map[int64]bool{}
	for _, uid := range here[:min(len(here), webMaxTalk)] {
		x, err := tx.Message(m.Box.ID, uid)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		hits = append(hits, webTalkHit{m.Box, x})
		threads[x.Thread] = true
	}
	delete(threads, 0)
	folders, err := q.folders(tx)
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		if f.ID != m.Box.ID && (f.Special == `\Junk` || f.Special == `\Trash`) {
			continue
		}
		for thread := range threads {
			found, err := tx.Conversation(f.Mailbox, thread, m.M.Internal, webMaxTalk)
			if err != nil {
				return nil, err
			}
			for _, x := range found {
				if !slices.ContainsFunc(hits, func(h webTalkHit) bool { return h.Box.ID == f.ID && h.M.UID == x.UID }) {
					hits = append(hits, webTalkHit{f.Mailbox, x})
				}
			}
		}
	}
	return hits, nil
}
