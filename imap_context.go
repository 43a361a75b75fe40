// CONTEXT=SEARCH: searches that live on (RFC 5267).
package main

import (
	"slices"
)

// imapContext is a search whose changes the client wants to hear of.
type imapContext struct {
	tag   string
	uid   bool // it counts in UIDs
	query *Query
	found imapUIDs   // what the client knows to match
	fetch *imapFetch // what to tell of those that come to match
}

// imapContextMax is how many contexts a session may have; each costs a quarter of an octet for every message, at most.
const imapContextMax = 8

// keepContext makes a search live on, or tells the client that it will not (RFC 5267 §4.3.1). Sorted ones never do: where
// a message comes to lie depends on all others.
func (s *imapSearch) keepContext(found []UID) {
	c := s.c
	if s.name != "SEARCH" || len(c.contexts) >= imapContextMax {
		c.putf("* NO [NOUPDATE %q] Changes will not be told\r\n", c.tag)
		return
	}
	c.contexts = append(c.contexts, &imapContext{tag: c.tag, uid: c.uid, query: s.query, found: imapUIDsOf(slices.Sorted(slices.Values(found))), fetch: s.returns.fetch})
}

// tagTaken says whether a context has the tag of the command; it could not be told apart.
func (c *imapConn) tagTaken() bool {
	return slices.ContainsFunc(c.contexts, func(x *imapContext) bool { return x.tag == c.tag })
}

// cmdCancelUpdate is CANCELUPDATE (RFC 5267 §4.3.5).
//
//	cancelupdate = "CANCELUPDATE" 1*(SP quoted)
func (c *imapConn) cmdCancelUpdate(p *imapParser) error {
	var tags []string
	for p.err == nil && (len(tags) == 0 || p.rest != "") {
		p.space()
		tags = append(tags, p.astring())
	}
	if err := p.end(); err != nil {
		return err
	}
	c.contexts = slices.DeleteFunc(c.contexts, func(x *imapContext) bool { return slices.Contains(tags, x.tag) })
	return nil
}

// contextsLose tells of results that are expunged, while their sequence numbers are still good (RFC 5267 §4.3.4).
func (c *imapConn) contextsLose(changed []imapChange) {
	for _, x := range c.contexts {
		var lost []UID
		for _, m := range changed {
			if m.gone && x.has(m.uid) {
				lost = append(lost, m.uid)
			}
		}
		x.tell(c, "REMOVEFROM", lost)
	}
}

// contextsFollow tells which of the new and changed messages match now, and which no longer do.
func (c *imapConn) contextsFollow(changed []imapChange) error {
	if len(c.contexts) == 0 {
		return nil
	}
	var uids []UID
	for _, m := range changed {
		if _, known := c.seq(m.uid); known && !m.gone && m.modseq > c.seen {
			uids = append(uids, m.uid)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	for _, x := range c.contexts {
		var match []UID
		err := c.srv.store.Search(c.mbox.ID, uids, x.query, func(f []Found) error {
			for _, m := range f {
				match = append(match, m.UID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		var come, lost []UID
		for _, u := range uids {
			if _, now := slices.BinarySearch(match, u); now != x.has(u) {
				if now {
					come = append(come, u)
				} else {
					lost = append(lost, u)
				}
			}
		}
		x.tell(c, "REMOVEFROM", lost)
		if err := x.fetch.tell(come); err != nil { // before ESEARCH, says RFC 5465 §7; §5.2 has it the other way round (erratum 4833)
			return err
		}
		x.tell(c, "ADDTO", come)
	}
	return nil
}

func (x *imapContext) has(u UID) bool {
	return x.found.has(u)
}

// tell writes an update and keeps it in mind. The position is always 0: the client keeps the results in mailbox order.
//
//	ret-data-addto = "ADDTO" SP "(" context-position SP sequence-set *(SP context-position SP sequence-set) ")"
func (x *imapContext) tell(c *imapConn, what string, uids []UID) {
	if len(uids) == 0 {
		return
	}
	if what == "ADDTO" {
		x.found.insert(uids)
	} else {
		x.found.remove(uids)
	}
	c.putf("* ESEARCH (TAG %q)", x.tag)
	if x.uid {
		c.w.WriteString(" UID")
	} else {
		uids = c.seqs(uids)
	}
	c.putf(" %s (0 %s)\r\n", what, imapSet(uids))
}
