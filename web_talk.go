// Conversations: which messages of a folder belong together, by Message-ID, References and In-Reply-To.
package main

import (
	"errors"
	"slices"
)

const (
	webTalkScan     = 5_000  // messages of a folder, the newest, that are put into conversations
	webTalkIDs      = 80_000 // identifiers that these may name
	webMaxTalkShown = 200    // messages of a conversation that its line acts on
	webMaxTalkActs  = 100    // conversations of which one action finds the messages in other folders
	webNearTalks    = 10     // of which so many are looked for among what came at about their time, too
)

// webTalks are the conversations among the first messages of an order by date.
type webTalks struct {
	scanned int     // so many of the order's messages were looked at
	all     [][]UID // by their newest messages; each the newest first
}

// talks puts messages into conversations: all that name each other, or the same message, directly or by others, as THREAD's
// REFERENCES links them. A client that sends only In-Reply-To, or cuts References short, breaks none.
func (q *webReq) talks(box MailboxID, o *webOrder) (*webTalks, error) {
	if o.talks != nil {
		return o.talks, nil
	}
	first := o.uids[:min(len(o.uids), webTalkScan)]
	sorted := slices.Clone(first)
	slices.Sort(sorted)
	u := webUnion{root: make([]int32, len(sorted)), of: map[uint64]int32{}}
	at := map[UID]int32{}
	for i, uid := range sorted {
		u.root[i] = int32(i)
		at[uid] = int32(i)
	}
	err := q.s.store.MailKeys(box, sorted, func(m *Message, k *MailKeys) error {
		u.name(at[m.UID], k.ID)
		for _, id := range k.Refs {
			u.name(at[m.UID], id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t := &webTalks{scanned: len(first)}
	line := map[int32]int{}
	for _, uid := range first {
		root := u.find(at[uid])
		i, ok := line[root]
		if !ok {
			i = len(t.all)
			line[root] = i
			t.all = append(t.all, nil)
		}
		t.all[i] = append(t.all[i], uid)
	}
	known := *o
	known.talks = t
	q.keepOrder(webOrderKey{box, "date"}, &known)
	return t, nil
}

// webUnion joins messages that name the same identifiers.
type webUnion struct {
	root []int32          // of each message: another of its set, or itself
	of   map[uint64]int32 // identifier → a message that names it
}

func (u *webUnion) find(i int32) int32 {
	for u.root[i] != i {
		u.root[i] = u.root[u.root[i]]
		i = u.root[i]
	}
	return i
}

// name notes that a message has an identifier, or refers to it. 0 is none.
func (u *webUnion) name(i int32, id uint64) {
	if id == 0 {
		return
	}
	other, ok := u.of[id]
	switch {
	case ok:
		u.root[u.find(i)] = u.find(other)
	case len(u.of) < webTalkIDs:
		u.of[id] = i
	}
}

// webReaches says whether an action on a conversation is for its messages in another folder than that of the list, too. It is where people
// of Gmail and Fastmail expect that: deleting takes all of it, with what was answered, but a draft is no part of a conversation yet. Archiving is
// for what lies in the inbox; moving for that and what was archived, and what somebody has put into a folder stays there. Nobody's own
// answers are junk, or unread. Beside the lists of drafts, of junk and of Trash, and in another's folder, an action is for what is in
// there: what a stranger wrote names whatever ids he likes, and emptying the junk must not take a conversation along.
func webReaches(do string, from, m Mailbox) bool {
	if from.Owner != m.Owner || from.Special == `\Drafts` || from.Special == `\Junk` || from.Special == `\Trash` {
		return false
	}
	inbox, own := m.Name == "INBOX", m.Special == `\Sent` || m.Special == `\Drafts`
	switch do {
	case "archive":
		return inbox
	case "move", "copy":
		return inbox || m.Special == `\Archive`
	case "junk", "unread":
		return !own
	case "delete", "read", "star", "unstar":
		return m.Special != `\Drafts`
	}
	return false
}

// wholeTalks adds to what was chosen on a list of conversations the messages that these have in other folders, where the action is for them.
func (q *webReq) wholeTalks(c webChosen, do string, lines []string) error {
	for i, line := range lines[:min(len(lines), webMaxTalkActs)] {
		one, err := q.readKeys(webChosen{}, line)
		if err != nil {
			return err
		}
		for box, uids := range one {
			hits, from, err := q.talkAround(box, uids, i < webNearTalks)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			for _, h := range hits {
				if webReaches(do, from, h.Box) && from.Owner == q.user.ID && h.Box.ID != box && !slices.Contains(c[h.Box.ID], h.M.UID) {
					c[h.Box.ID] = append(c[h.Box.ID], h.M.UID)
				}
			}
		}
	}
	for box := range c {
		slices.Sort(c[box])
	}
	return nil
}

// talkAround finds the conversation of which a line has some messages, from all folders.
func (q *webReq) talkAround(box MailboxID, uids []UID, near bool) ([]webTalkHit, Mailbox, error) {
	m, err := read(q.s.store, func(tx *Tx) (*webMessage, error) {
		b, err := q.mailbox(tx, box)
		if err != nil {
			return &webMessage{}, err
		}
		row, err := tx.Message(box, uids[0])
		return &webMessage{Box: b, M: row}, err
	})
	if err != nil {
		return nil, m.Box, err
	}
	hits, err := q.talkHits(m, uids, near)
	return hits, m.Box, err
}
