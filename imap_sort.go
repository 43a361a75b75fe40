// SORT: messages in the order of their dates, sizes, subjects and addresses.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// imapSortKeys is every sort criterion (RFC 5256 §3, RFC 5957 §3): it appends what the comparison of octets puts in order.
var imapSortKeys = map[string]struct {
	row bool // the message's row is enough
	put func(b []byte, m *Message, k *MailKeys) []byte
}{
	"ARRIVAL":     {true, func(b []byte, m *Message, _ *MailKeys) []byte { return imapSortNumber(b, m.Internal.Unix()) }},
	"SIZE":        {true, func(b []byte, m *Message, _ *MailKeys) []byte { return imapSortNumber(b, m.Size) }},
	"DATE":        {false, func(b []byte, m *Message, k *MailKeys) []byte { return imapSortNumber(b, imapSent(m, k)) }},
	"CC":          {false, func(b []byte, _ *Message, k *MailKeys) []byte { return imapSortText(b, k.Cc) }},
	"FROM":        {false, func(b []byte, _ *Message, k *MailKeys) []byte { return imapSortText(b, k.From) }},
	"SUBJECT":     {false, func(b []byte, _ *Message, k *MailKeys) []byte { return imapSortText(b, k.Subject) }},
	"TO":          {false, func(b []byte, _ *Message, k *MailKeys) []byte { return imapSortText(b, k.To) }},
	"DISPLAYFROM": {false, func(b []byte, _ *Message, k *MailKeys) []byte { return imapSortText(b, k.ShowFrom) }},
	"DISPLAYTO":   {false, func(b []byte, _ *Message, k *MailKeys) []byte { return imapSortText(b, k.ShowTo) }},
}

// imapSent is the date of sending, or of arrival for a message that does not say (RFC 5256 §2.2).
func imapSent(m *Message, k *MailKeys) int64 {
	if k.Day == noDay {
		return m.Internal.Unix()
	}
	return k.Sent
}

func imapSortNumber(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^1<<63)
}

// imapSortText ends a text with a NUL, which no text holds, so that "ab" comes before "abc" whatever follows.
func imapSortText(b, text []byte) []byte { return append(append(b, text...), 0) }

// imapCriterion is one criterion of a SORT.
type imapCriterion struct {
	name    string
	reverse bool
}

// sortCriteria reads sort-criteria = "(" sort-criterion *(SP sort-criterion) ")".
func (p *imapParser) sortCriteria() (all []imapCriterion) {
	p.list(func() {
		var k imapCriterion
		for p.take("REVERSE ") {
			k.reverse = !k.reverse
		}
		k.name = strings.ToUpper(p.atom())
		if _, ok := imapSortKeys[k.name]; !ok {
			p.fail("Unknown sort criterion %.30q", k.name)
		}
		// A criterion that was given before decides nothing more.
		if !slices.ContainsFunc(all, func(c imapCriterion) bool { return c.name == k.name }) {
			all = append(all, k)
		}
	})
	if len(all) == 0 {
		p.fail("No sort criteria")
	}
	return all
}

// cmdSort is SORT and UID SORT (RFC 5256 §3), with RETURN (RFC 5267 §3.1).
//
//	sort = "SORT" [search-return-opts] SP sort-criteria SP charset 1*(SP search-key)
func (c *imapConn) cmdSort(p *imapParser) error {
	s := &imapSearch{c: c, name: "SORT"}
	p.space()
	if p.take("RETURN ") {
		s.returns.read(p)
		p.space()
	}
	criteria := p.sortCriteria()
	p.space()
	s.readCharset(p)
	p.space()
	s.query = s.keys(p)
	s.check(p)
	if err := p.end(); err != nil {
		return err
	}
	return s.answer(func(found []UID) error { return c.sort(found, criteria) })
}

// imapSortItem is a message on its way to its place. The first octets of its key decide most comparisons.
type imapSortItem struct {
	first uint64
	uid   UID
	at    uint32 // where the key begins
}

// sort puts messages in order; those that are equal stay as they are. It holds 16 octets and the key of each message in
// memory, some fifty octets with SUBJECT.
func (c *imapConn) sort(uids []UID, criteria []imapCriterion) error {
	items := make([]imapSortItem, 0, len(uids))
	var keys []byte
	add := func(m *Message, k *MailKeys) error {
		at := len(keys)
		for _, crit := range criteria {
			start := len(keys)
			keys = imapSortKeys[crit.name].put(keys, m, k)
			if crit.reverse {
				for i := start; i < len(keys); i++ {
					keys[i] = ^keys[i]
				}
			}
		}
		keys = binary.BigEndian.AppendUint32(keys, uint32(m.UID)) // no two are equal, so no comparison runs on into the next key
		var first [8]byte
		copy(first[:], keys[at:])
		items = append(items, imapSortItem{binary.BigEndian.Uint64(first[:]), m.UID, uint32(at)})
		return nil
	}
	var err error
	if slices.ContainsFunc(criteria, func(k imapCriterion) bool { return !imapSortKeys[k.name].row }) {
		err = c.srv.store.MailKeys(c.mbox.ID, uids, add)
	} else {
		err = c.srv.store.List(c.mbox.ID, uids, WantRow, func(m *Listed) error { return add(&m.Message, nil) })
	}
	if err != nil {
		return err
	}
	slices.SortFunc(items, func(a, b imapSortItem) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return bytes.Compare(keys[a.at:], keys[b.at:])
	})
	for i, it := range items {
		uids[i] = it.uid
	}
	return nil
}
