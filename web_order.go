// The order of a folder's list: by date, or as the reader wants it.
package main

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sort"
	"strings"
)

const (
	webMaxOrders  = 6       // orders that are kept in memory
	webMaxOrdered = 1 << 20 // and messages in all of them, 8 octets each; the order of a folder with more is found for each page
	webMaxByText  = 50_000  // messages up to which a folder is sorted by names or subjects; a larger one is by date
)

// webOrderNames are the orders that can be chosen, with their words.
var webOrderNames = [][2]string{{"date", "Newest first"}, {"oldest", "Oldest first"}, {"size", "Largest first"}, {"from", "By sender"}, {"subject", "By subject"}}

// webOrder is a folder's messages in the order of its list. It is not changed any more once it is made.
type webOrder struct {
	now   ModSeq // of the folder's owner, up to which it is right
	uids  []UID
	keys  []uint32 // what the messages are sorted by, the largest first; nil if that is text
	talks *webTalks
}

// webOrderKey names an order in the cache.
type webOrderKey struct {
	box MailboxID
	by  string
}

// webSortKey is what an order compares of a message. Dates before 1970, and messages of 4 GiB, are all the same to it.
func webSortKey(by string, m *Message) uint32 {
	at := uint32(min(max(m.Internal.Unix(), 0), math.MaxUint32))
	switch by {
	case "oldest":
		return ^at
	case "size":
		return uint32(min(m.Size, math.MaxUint32))
	}
	return at
}

// order gives a folder's messages in an order. It is remembered, and only what has changed since is read.
func (q *webReq) order(box Mailbox, by string) (*webOrder, error) {
	text := by == "from" || by == "subject"
	if text && box.Exists > webMaxByText {
		by, text = "date", false
	}
	key := webOrderKey{box.ID, by}
	if known := q.orders.get(key); known != nil {
		o, err := q.catchUp(key, known)
		if o != nil || err != nil {
			return o, err
		}
	}
	var o *webOrder
	var err error
	if text {
		o, err = q.orderByText(key)
	} else {
		o, err = q.orderByNumber(key)
	}
	if err == nil {
		q.keepOrder(key, o)
	}
	return o, err
}

// keepOrder remembers an order, and forgets others until all of them together are small enough.
func (q *webReq) keepOrder(key webOrderKey, o *webOrder) {
	if len(o.uids) <= webMaxOrdered {
		q.orders.put(key, o)
	}
	q.orders.shrink(func(all []*webOrder) bool {
		n := 0
		for _, o := range all {
			n += len(o.uids)
		}
		return n > webMaxOrdered
	})
}

// orderByNumber sorts a whole folder by what is in its messages' rows.
func (q *webReq) orderByNumber(key webOrderKey) (*webOrder, error) {
	o := &webOrder{}
	var uids []UID
	err := q.s.store.Read(func(tx *Tx) error {
		var err error
		uids, o.now, err = tx.UIDs(key.box, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	o.uids, o.keys = make([]UID, 0, len(uids)), make([]uint32, 0, len(uids))
	err = q.s.store.List(key.box, uids, WantKeys, func(m *Listed) error {
		o.uids, o.keys = append(o.uids, m.UID), append(o.keys, webSortKey(key.by, &m.Message))
		return nil
	})
	sort.Sort(webByKey{o})
	return o, err
}

// webByKey sorts UIDs beside their keys, the largest first, and of equals the newest.
type webByKey struct{ *webOrder }

func (o webByKey) Len() int { return len(o.uids) }

func (o webByKey) Less(i, j int) bool {
	return o.keys[i] > o.keys[j] || (o.keys[i] == o.keys[j] && o.uids[i] > o.uids[j])
}

func (o webByKey) Swap(i, j int) {
	o.uids[i], o.uids[j] = o.uids[j], o.uids[i]
	o.keys[i], o.keys[j] = o.keys[j], o.keys[i]
}

// orderByText sorts a folder by senders or subjects, as SORT compares them; what is the same is by date.
func (q *webReq) orderByText(key webOrderKey) (*webOrder, error) {
	type line struct {
		uid  UID
		text string
		at   int64
	}
	o := &webOrder{}
	var uids []UID
	err := q.s.store.Read(func(tx *Tx) error {
		var err error
		uids, o.now, err = tx.UIDs(key.box, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	lines := make([]line, 0, len(uids))
	err = q.s.store.MailKeys(key.box, uids, func(m *Message, k *MailKeys) error {
		text := k.ShowFrom
		if key.by == "subject" {
			text = k.Subject
		}
		lines = append(lines, line{m.UID, string(text), m.Internal.Unix()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(strings.Compare(a.text, b.text), cmp.Compare(b.at, a.at), cmp.Compare(b.uid, a.uid))
	})
	for _, x := range lines {
		o.uids = append(o.uids, x.uid)
	}
	return o, nil
}

// catchUp brings an order up to date, or returns nil if it must be made anew.
func (q *webReq) catchUp(key webOrderKey, known *webOrder) (*webOrder, error) {
	next := &webOrder{}
	var gone map[UID]bool
	var exists int64
	err := q.s.store.Read(func(tx *Tx) error {
		gone = map[UID]bool{}
		*next = webOrder{}
		var last UID
		for _, u := range known.uids {
			last = max(last, u)
		}
		var err error
		next.now, err = tx.Changes(key.box, known.now, 0, func(m *Message) error {
			switch {
			case m.Gone:
				gone[m.UID] = true
			case m.UID > last:
				next.uids, next.keys = append(next.uids, m.UID), append(next.keys, webSortKey(key.by, m))
			}
			return nil
		})
		if err != nil {
			return err
		}
		m, err := tx.MailboxByID(key.box)
		exists = m.Exists
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(gone) == 0 && len(next.uids) == 0 && int64(len(known.uids)) == exists:
		return known, nil
	case known.keys == nil:
		return nil, nil // texts are not at hand
	}
	next = next.merged(known, gone)
	if int64(len(next.uids)) != exists {
		return nil, nil // tombstones have been cleared away
	}
	q.keepOrder(key, next)
	return next, nil
}

// merged is an order with what a few messages, in no order yet, and another order have, without those that are gone.
func (o *webOrder) merged(known *webOrder, gone map[UID]bool) *webOrder {
	sort.Sort(webByKey{o})
	all := &webOrder{now: o.now, uids: make([]UID, 0, len(o.uids)+len(known.uids)), keys: make([]uint32, 0, len(o.uids)+len(known.uids))}
	add := func(from *webOrder, i int) {
		if u := from.uids[i]; !gone[u] {
			all.uids, all.keys = append(all.uids, u), append(all.keys, from.keys[i])
		}
	}
	at := 0
	for i, k := range known.keys {
		for at < len(o.uids) && o.keys[at] >= k { // of equals the newest comes first, and these are all newer
			add(o, at)
			at++
		}
		add(known, i)
	}
	for ; at < len(o.uids); at++ {
		add(o, at)
	}
	return all
}

// webListLines are the lines of a list: a message each, or of the first ones a conversation each.
type webListLines struct {
	order *webOrder
	talks *webTalks // nil for messages
}

func (l webListLines) len() int {
	if l.talks == nil {
		return len(l.order.uids)
	}
	return len(l.talks.all) + len(l.order.uids) - l.talks.scanned
}

// line gives the messages of a line, the newest first.
func (l webListLines) line(i int) []UID {
	if l.talks == nil {
		return l.order.uids[i : i+1]
	}
	if i < len(l.talks.all) {
		return l.talks.all[i]
	}
	i += l.talks.scanned - len(l.talks.all)
	return l.order.uids[i : i+1]
}

// find gives the line that a message is on, -1 if it is on none.
func (l webListLines) find(uid UID) int {
	at := slices.Index(l.order.uids, uid)
	if at < 0 || l.talks == nil {
		return at
	}
	if at >= l.talks.scanned {
		return at - l.talks.scanned + len(l.talks.all)
	}
	return slices.IndexFunc(l.talks.all, func(uids []UID) bool { return slices.Contains(uids, uid) })
}

// lines gives the lines of a folder, as its reader wants them.
func (q *webReq) lines(box Mailbox) (webListLines, error) {
	look := q.look()
	by := look.order()
	o, err := q.order(box, by)
	if err != nil || !look.Threads || by != "date" {
		return webListLines{order: o}, err
	}
	t, err := q.talks(box.ID, o)
	return webListLines{o, t}, err
}

// rowsOf makes a row of each of the lines from lo to hi. Messages that are gone meanwhile are left out.
func (q *webReq) rowsOf(tx *Tx, box Mailbox, l webListLines, lo, hi int) ([]*webRow, error) {
	var rows []*webRow
	for i := max(lo, 0); i < min(hi, l.len()); i++ {
		r, err := q.rowOf(tx, box, l.line(i))
		if err != nil {
			return nil, err
		}
		if r != nil {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// rowOf makes a row of a line: its newest message, and what holds for any of them.
func (q *webReq) rowOf(tx *Tx, box Mailbox, uids []UID) (*webRow, error) {
	var r *webRow
	for i, uid := range uids {
		if i == webMaxTalkShown {
			break
		}
		m, err := tx.Message(box.ID, uid)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		key := webKey(box.ID, uid)
		if r == nil {
			r = &webRow{Box: box, M: m, Key: key}
		} else {
			r.Key += "," + key
		}
		r.Count++
		r.Unread = r.Unread || m.Flags.Bits&FlagSeen == 0
		r.Flagged = r.Flagged || m.Flags.Bits&FlagFlagged != 0
	}
	return r, nil
}
