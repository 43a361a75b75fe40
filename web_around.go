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
	p.List = webList{Mailbox: p.Box, Self: fmt.Sprintf("/box/%d", p.Box.ID), Total: int64(lines.len())}
	var open *webRow
	err = q.s.store.Read(func(tx *Tx) error {
		p.List.Rows, err = q.rowsOf(tx, p.Box, lines, at-webBesideTop, at+webBeside)
		if err == nil {
			open, err = q.rowOf(tx, p.Box, here)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := q.finish(&p.List); err != nil {
		return err
	}
	for _, r := range p.List.Rows {
		r.Open = slices.Contains(here, r.M.UID)
		r.Unread = r.Unread && !r.Open
	}
	if open != nil {
		p.All = open.Key
	}
	talk := here
	if lines.talks == nil { // the page shows the conversation also where the list does not
		o, err := q.order(p.Box, "date")
		if err != nil {
			return err
		}
		t, err := q.talks(p.Box.ID, o)
		if err != nil {
			return err
		}
		if i := (webListLines{o, t}).find(p.M.UID); i >= 0 {
			talk = webListLines{o, t}.line(i)
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

// readTalk marks the messages of a conversation as read, whose texts are on the page with that of the open one.
func (q *webReq) readTalk(box Mailbox, uids []UID) error {
	if len(uids) < 2 || q.r.Header.Get("Sec-Purpose") != "" {
		return nil
	}
	uids = slices.Clone(uids[:min(len(uids), webMaxWhole)])
	slices.Sort(uids)
	err := q.setFlags(webChosen{box.ID: uids}, webFlags('+', FlagSeen))
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		return nil
	}
	return err
}

// conversation gathers the messages of a thread from all folders but Junk and Trash, oldest first, each once. The newest
// ones are shown in full; nothing is shown for a message that is alone.
// here are those of the message's own folder that its list knows of.
func (q *webReq) conversation(m *webMessage, here []UID) ([]*webMessage, error) {
	type hit struct {
		Box Mailbox
		M   Message
	}
	var hits []hit
	err := q.s.store.Read(func(tx *Tx) error {
		hits = hits[:0]
		threads := map[int64]bool{}
		for _, uid := range here[:min(len(here), webMaxTalk)] {
			x, err := tx.Message(m.Box.ID, uid)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			hits = append(hits, hit{m.Box, x})
			threads[x.Thread] = true
		}
		folders, err := q.folders(tx)
		for _, f := range folders {
			if err != nil || (f.ID != m.Box.ID && (f.Special == `\Junk` || f.Special == `\Trash`)) {
				continue
			}
			for thread := range threads {
				if thread == 0 {
					continue
				}
				msgs, err := tx.Conversation(f.Mailbox, thread, m.M.Internal, webMaxTalk)
				if err != nil {
					return err
				}
				for _, x := range msgs {
					if f.ID != m.Box.ID || !slices.ContainsFunc(hits, func(h hit) bool { return h.Box.ID == f.ID && h.M.UID == x.UID }) {
						hits = append(hits, hit{f.Mailbox, x})
					}
				}
			}
		}
		return err
	})
	if err != nil || len(hits) < 2 {
		return nil, err
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(a.M.Internal.Unix(), b.M.Internal.Unix()) })
	if len(hits) > webMaxTalk {
		hits = hits[len(hits)-webMaxTalk:]
	}
	var talk []*webMessage
	ids := map[string]bool{}
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
		if id != "" && (ids[id] || id == m.header.Get("Message-ID")) { // a letter to myself is in Sent and in the inbox
			continue
		}
		ids[id] = true
		q.describe(x)
		x.Snippet = webClean(Preview(x.root, x.content, webSnippet))
		if i >= len(hits)-webMaxWhole {
			if err := q.body(x); err != nil {
				return nil, err
			}
		}
		talk = append(talk, x)
	}
	if len(talk) < 2 {
		return nil, nil
	}
	return talk, nil
}
