// Conversations: which messages of a folder belong together, by Message-ID, References and In-Reply-To.
package main

import (
	"slices"
)

const (
	webTalkScan     = 5_000  // messages of a folder, the newest, that are put into conversations
	webTalkIDs      = 80_000 // identifiers that these may name
	webMaxTalkShown = 200    // messages of a conversation that its line acts on
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
	if len(o.uids) <= webMaxOrdered {
		q.orders.put(webOrderKey{box, "date"}, &known)
	}
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
