// Around an open message: its conversation, its neighbours, the list beside it, and the way back.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
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
		p.Whole, here = true, lines.line(at)
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
	hits, err := q.talkHits(m, here, true)
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

// webGathering is the search for a conversation in all folders.
type webGathering struct {
	q       *webReq
	around  time.Time
	folders []webFolder // the message's own first
	hits    []webTalkHit
	fresh   map[MailboxID][]UID // hits whose ids are not noted yet
	ids     map[uint64]bool     // that the hits have or name
	threads []int64             // that these may have begun, and that were not looked for yet
}

// webNear is a message that came at about the time of the open one.
type webNear struct {
	folder int
	uid    UID
}

const (
	webTalkNames   = 500 // ids that are looked for
	webTalkFolders = 4   // folders, its own and the first ones of the list, of which all that is near the message is compared,
	webTalkNear    = 500 // so many messages of each
	webMaxGathered = 500 // messages that are gathered before the newest are chosen
)

// talkHits finds the messages of a conversation, which may be more than are shown: those of the message's own folder (here, as far as
// its list knows), what is near them in the first folders, and in all folders those that begin where one of these does, or with
// a message that one of these names. Without near, what is near them is not compared: it takes the most time.
func (q *webReq) talkHits(m *webMessage, here []UID, near bool) ([]webTalkHit, error) {
	g := webGathering{q: q, around: m.M.Internal, fresh: map[MailboxID][]UID{}, ids: map[uint64]bool{}}
	err := q.s.store.Read(func(tx *Tx) error { return g.begin(tx, m.Box, here) })
	steps := []func() error{g.note, g.join, g.note, g.search, g.note, g.search} // the last one for what was named in between
	if !near {
		steps = []func() error{g.note, g.search, g.note, g.search}
	}
	for _, step := range steps {
		if err != nil {
			return nil, err
		}
		err = step()
	}
	return g.hits, err
}

// begin adds the messages that are known, and notes the folders that may have others.
func (g *webGathering) begin(tx *Tx, box Mailbox, here []UID) error {
	for _, uid := range here[:min(len(here), webMaxTalk)] {
		if err := g.add(tx, box, uid); err != nil {
			return err
		}
	}
	folders, err := g.q.folders(tx)
	for _, f := range folders {
		switch {
		case f.ID == box.ID:
			g.folders = slices.Insert(g.folders, 0, f)
		case f.Special != `\Junk` && f.Special != `\Trash`:
			g.folders = append(g.folders, f)
		}
	}
	return err
}

// add adds a message to what was found, once.
func (g *webGathering) add(tx *Tx, box Mailbox, uid UID) error {
	if len(g.hits) >= webMaxGathered || slices.ContainsFunc(g.hits, func(h webTalkHit) bool { return h.Box.ID == box.ID && h.M.UID == uid }) {
		return nil
	}
	m, err := tx.Message(box.ID, uid)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		g.hits = append(g.hits, webTalkHit{box, m})
		g.fresh[box.ID] = append(g.fresh[box.ID], uid)
	}
	return err
}

// note reads which ids the messages that are new have and name.
func (g *webGathering) note() error {
	for box, uids := range g.fresh {
		slices.Sort(uids)
		err := g.q.s.store.MailKeys(box, uids, func(_ *Message, k *MailKeys) error {
			for _, id := range append(k.Refs, k.ID) {
				if id == 0 || g.ids[id] || len(g.ids) >= webTalkNames {
					continue
				}
				g.ids[id] = true
				g.threads = append(g.threads, ThreadFrom(id))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	clear(g.fresh)
	return nil
}

// join adds what belongs to the messages among those that are near: all that name each other or the same one, as in the list.
func (g *webGathering) join() error {
	if len(g.ids) == 0 {
		return nil
	}
	u := webUnion{root: []int32{0}, of: map[uint64]int32{}} // the first one stands for all that are known
	for id := range g.ids {
		u.name(0, id)
	}
	near := []webNear{{}}
	for i, f := range g.folders[:min(len(g.folders), webTalkFolders)] {
		uids, err := read(g.q.s.store, func(tx *Tx) ([]UID, error) { return tx.UIDsAround(f.Mailbox, g.around, webTalkNear) })
		if err != nil {
			return err
		}
		err = g.q.s.store.MailKeys(f.ID, uids, func(m *Message, k *MailKeys) error {
			at := int32(len(near))
			near = append(near, webNear{i, m.UID})
			u.root = append(u.root, at)
			for _, id := range append(k.Refs, k.ID) {
				u.name(at, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return g.q.s.store.Read(func(tx *Tx) error {
		for at := 1; at < len(near); at++ {
			if u.find(int32(at)) != u.find(0) {
				continue
			}
			if err := g.add(tx, g.folders[near[at].folder].Mailbox, near[at].uid); err != nil {
				return err
			}
		}
		return nil
	})
}

// search looks in all folders for messages of threads that were not looked for yet.
func (g *webGathering) search() error {
	threads := g.threads
	g.threads = nil
	if len(threads) == 0 {
		return nil
	}
	return g.q.s.store.Read(func(tx *Tx) error {
		for _, f := range g.folders {
			found, err := tx.Conversation(f.Mailbox, threads, g.around, webMaxTalk)
			if err != nil {
				return err
			}
			for _, x := range found {
				if err := g.add(tx, f.Mailbox, x.UID); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
