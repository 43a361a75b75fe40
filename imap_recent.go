// \Recent: which messages are new to this session and to no other (RFC 3501 §2.3.2).
package main

import (
	"slices"
)

// takeRecent makes new messages \Recent for this session and no other (RFC 3501 §2.3.2). EXAMINE takes none away.
func (c *imapConn) takeRecent() {
	if c.uids.len() == 0 || c.rev2 {
		return
	}
	next := c.uids.last() + 1
	first := next
	if c.readonly {
		first = c.srv.store.FirstRecent(c.mbox.ID, next)
	} else {
		first = c.srv.store.TakeRecent(c.mbox.ID, next)
	}
	if first >= next {
		return
	}
	if n := len(c.recent); n > 0 && c.recent[n-1].hi+1 >= uint32(first) {
		c.recent[n-1].hi = uint32(next - 1)
	} else {
		c.recent = append(c.recent, imapRange{uint32(first), uint32(next - 1)})
	}
	if len(c.recent) > imapRecentMax {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
}

func (c *imapConn) countRecent() int {
	n := 0
	for _, r := range c.recent {
		lo, _ := c.uids.find(UID(r.lo))
		hi, found := c.uids.find(UID(r.hi))
		n += hi - lo
		if found {
			n++
		}
	}
	return n
}

// isRecent says whether the message is \Recent in this session.
func (c *imapConn) isRecent(u UID) bool {
	return slices.ContainsFunc(c.recent, func(r imapRange) bool { return r.lo <= uint32(u) && uint32(u) <= r.hi })
}

// flagList is a message's flags as FETCH shows them.
func (c *imapConn) flagList(u UID, f Flags) string {
	return string(f.appendList(nil, !c.rev2 && c.isRecent(u)))
}
