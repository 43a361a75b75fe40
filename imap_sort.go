// SORT: messages in the order of their dates, sizes, subjects and addresses.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sort"
	"strings"
	"time"
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

// imapSortNumber writes a number in as few octets as it needs, after one that says how many and its sign: a date takes five,
// so that what follows it comes into the first pass, too.
func imapSortNumber(b []byte, n int64) []byte {
	size := (bits.Len64(uint64(max(n, ^n))) + 7) / 8
	kind := 0x80 + size
	if n < 0 {
		kind = 0x7f - size // the longer, the less
	}
	b = binary.BigEndian.AppendUint64(append(b, byte(kind)), uint64(n))
	return slices.Delete(b, len(b)-8, len(b)-size)
}

// imapSortText ends a text with a NUL, which no text holds, so that "ab" comes before "abc" whatever follows.
func imapSortText(b, text []byte) []byte { return append(append(b, text...), 0) }

// imapCriterion is one criterion of a SORT.
type imapCriterion struct {
	name    string
	reverse bool
}

// sortCriteria reads sort-criteria = "(" sort-criterion *(SP sort-criterion) ")".
func (p *imapParser) sortCriteria() []imapCriterion {
	var all []imapCriterion
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
	s.returns.read(p)
	criteria := p.sortCriteria()
	p.space()
	s.readProgram(p, true)
	return s.answer(p.end(), func(found []UID) error { return c.sort(found, criteria) })
}

// imapSorter puts messages in order and never holds all of their keys, which may be hundreds of octets each. It needs 16
// octets a message beside the UIDs, however long the keys are and however many begin alike:
//
// The first pass keeps the first eight octets of every key and a hash of the rest, and sorts by them. Messages with equal
// keys (the answers in a conversation, the daily reports of a machine) are then one run, of which only the first message
// is ever looked at again. Runs that begin alike are tied: further passes read their keys once more, and sort each group
// of them by the octets that follow, as many as fit where the first pass had its own. Mail of people takes two passes. No
// mail takes more than one for every eight octets of the longest key, so the time grows with the mailbox, not its square.
//
// The alternatives are worse on a board: all keys in memory grow with the mailbox, and keys in a temporary table are
// written to the card for every SORT.
//
// Keys never change between the passes: content is immutable, and the view keeps that of expunged messages.
type imapSorter struct {
	c        *imapConn
	criteria []imapCriterion
	uids     []UID
	progress *imapProgress
	key      []byte // of the message in hand
	longest  int    // octets of a key
	done     int    // messages read

	runs  imapBits // which of uids begins a run of messages with equal keys
	heads []uint32 // the runs in order: where in uids each begins
	tied  imapBits // which of heads are, as far as is known, the same as the one before
}

const (
	imapSortEach  = 28      // octets of memory for a message, its UID and how lists grow included
	imapSortFirst = 8       // octets of a key that the first pass keeps, and a later one at least
	imapSortSpace = 1 << 18 // octets that a later pass may take however small the mailbox is
	imapSortStep  = 2000    // messages between looks whether the client is still there
)

// imapBits has a bit for each of many things.
type imapBits []uint64

func (b imapBits) has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 != 0 }

func (b imapBits) put(i int, on bool) {
	b[i/64] &^= 1 << (i % 64)
	if on {
		b[i/64] |= 1 << (i % 64)
	}
}

// sort puts messages in order; those that are equal stay as they are (RFC 5256 §3).
func (c *imapConn) sort(uids []UID, criteria []imapCriterion) error {
	release, err := c.srv.store.HoldResult(c.user.ID, len(uids), imapSortEach)
	if err != nil {
		return err
	}
	defer release()
	s := &imapSorter{c: c, criteria: criteria, uids: uids, progress: c.progressReading(len(uids))}
	if err := s.begin(); err != nil || s.heads == nil {
		return err
	}
	return s.finish(max(2*imapSortFirst*len(uids), imapSortSpace))
}

// finish does the passes after the first, in so many octets of memory.
func (s *imapSorter) finish(space int) error {
	for from := imapSortFirst; from < s.longest; {
		width, err := s.untie(from, space)
		if err != nil {
			return err
		}
		from += width
	}
	sorted := make([]UID, 0, len(s.uids))
	for _, h := range s.heads {
		sorted = append(sorted, s.uids[h])
		for i := int(h) + 1; i < len(s.uids) && !s.runs.has(i); i++ {
			sorted = append(sorted, s.uids[i])
		}
	}
	copy(s.uids, sorted)
	return nil
}

// read makes the keys of messages and hands them to fn, both in the order of their UIDs. It passes over messages whose
// content can't be read; they count as having nothing in their keys.
func (s *imapSorter) read(uids []UID, fn func(UID, []byte)) error {
	put := func(m *Message, k *MailKeys) error {
		s.key = s.key[:0]
		for _, crit := range s.criteria {
			start := len(s.key)
			s.key = imapSortKeys[crit.name].put(s.key, m, k)
			if crit.reverse { // what was last is first now, and a text before those that it begins
				for i := start; i < len(s.key); i++ {
					s.key[i] = ^s.key[i]
				}
			}
		}
		s.longest = max(s.longest, len(s.key))
		fn(m.UID, s.key)
		s.done++
		if s.done%imapSortStep == 0 {
			return s.progress.step(imapSortStep, time.Now())
		}
		return nil
	}
	store, content := s.c.srv.store, slices.ContainsFunc(s.criteria, func(k imapCriterion) bool { return !imapSortKeys[k.name].row })
	if content {
		return store.MailKeys(s.c.mbox.ID, uids, put)
	}
	return store.List(s.c.mbox.ID, uids, WantKeys, func(m *Listed) error { return put(&m.Message, nil) })
}

// imapSortBegin is what the first pass keeps of each message, in three parallel lists.
type imapSortBegin struct {
	uids  []UID
	first []uint64 // octets of the key
	rest  []uint64 // hash of those that follow, 0 if there are none; nil if all keys are numbers and so short
}

func (b *imapSortBegin) Len() int { return len(b.uids) }

func (b *imapSortBegin) Less(i, j int) bool {
	if b.first[i] != b.first[j] {
		return b.first[i] < b.first[j]
	}
	if b.rest != nil && b.rest[i] != b.rest[j] {
		return b.rest[i] < b.rest[j]
	}
	// The sequence number decides last, also where all criteria are reversed (RFC 5256 §3).
	return b.uids[i] < b.uids[j]
}

func (b *imapSortBegin) Swap(i, j int) {
	b.uids[i], b.uids[j] = b.uids[j], b.uids[i]
	b.first[i], b.first[j] = b.first[j], b.first[i]
	if b.rest != nil {
		b.rest[i], b.rest[j] = b.rest[j], b.rest[i]
	}
}

// begin is the first pass. It leaves heads nil if that was enough.
func (s *imapSorter) begin() error {
	n := len(s.uids)
	b := &imapSortBegin{uids: s.uids, first: make([]uint64, n)}
	seed := maphash.MakeSeed() // so that nobody can write two subjects that have the same hash
	at := 0
	err := s.read(s.uids, func(u UID, key []byte) {
		for s.uids[at] != u {
			at++
		}
		var first [imapSortFirst]byte
		if copy(first[:], key) < len(key) {
			if b.rest == nil {
				b.rest = make([]uint64, n)
			}
			b.rest[at] = maphash.Bytes(seed, key[imapSortFirst:])
		}
		b.first[at] = binary.BigEndian.Uint64(first[:])
	})
	if err != nil {
		return err
	}
	sort.Sort(b)
	if b.rest == nil {
		return nil
	}
	s.runs = make(imapBits, n/64+1)
	tied := make(imapBits, n/64+1)
	runs, open := 0, false
	for i := range n {
		// Texts end with a NUL and numbers say their length, so no key is the beginning of another: messages that are alike
		// in all that is kept are equal, and stay in the order of their UIDs.
		alike := i > 0 && b.first[i] == b.first[i-1]
		if alike && b.rest[i] == b.rest[i-1] {
			continue
		}
		s.runs.put(i, true)
		tied.put(runs, alike)
		runs, open = runs+1, open || alike
	}
	if !open {
		return nil
	}
	b.first, b.rest = nil, nil // what comes takes their place
	s.tied, s.heads = tied, make([]uint32, 0, runs)
	for i := range n {
		if s.runs.has(i) {
			s.heads = append(s.heads, uint32(i))
		}
	}
	return nil
}

// imapSortSlots is what a later pass keeps of the runs that are tied: octets of their keys, in the order of heads.
type imapSortSlots struct {
	width int
	slots []byte
	spare []byte // for swapping
}

func (t *imapSortSlots) slot(i int) []byte { return t.slots[i*t.width:][:t.width] }

// untie is a later pass: it sorts the runs that are the same so far by what their keys have from an octet on, and returns
// how many octets it looked at.
func (s *imapSorter) untie(from, space int) (int, error) {
	open := func(j int) bool { return s.tied.has(j) || s.tied.has(j+1) }
	n := 0
	for j := range s.heads {
		if open(j) {
			n++
		}
	}
	if n == 0 { // all is in order
		return s.longest, nil
	}
	space -= 4 * (len(s.heads) + n) // heads, and the order in which the slots are filled
	t := &imapSortSlots{width: min(max(space/n, imapSortFirst), max(s.longest-from, 4))}
	t.slots, t.spare = make([]byte, n*t.width), make([]byte, t.width)
	n = 0
	for j, h := range s.heads {
		if open(j) {
			binary.NativeEndian.PutUint32(t.slot(n), uint32(s.uids[h])) // so that fill knows what to read
			n++
		}
	}
	if err := s.fill(t, from); err != nil {
		return 0, err
	}
	// Runs that are tied stand together, so each group is sorted where it is.
	at := 0
	for lo, hi := 0, 1; lo < len(s.heads); lo, hi = hi, hi+1 {
		for s.tied.has(hi) {
			hi++
		}
		if hi == lo+1 {
			continue
		}
		g := &imapSortGroup{*t, s.uids, s.heads[lo:hi]}
		g.slots = t.slots[at*t.width:]
		sort.Sort(g)
		for j := lo + 1; j < hi; j++ {
			s.tied.put(j, bytes.Equal(g.slot(j-lo-1), g.slot(j-lo)))
		}
		at += hi - lo
	}
	return t.width, nil
}

// fill reads into the slots what follows in the keys of the messages whose UIDs are in them now.
func (s *imapSorter) fill(t *imapSortSlots, from int) error {
	whose := func(i int32) UID { return UID(binary.NativeEndian.Uint32(t.slot(int(i)))) }
	order := make([]int32, len(t.slots)/t.width)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(whose(a), whose(b)) })
	for part := range slices.Chunk(order, imapSortStep) {
		uids := make([]UID, 0, len(part))
		for _, i := range part {
			uids = append(uids, whose(i))
			clear(t.slot(int(i)))
		}
		at := 0
		err := s.read(uids, func(u UID, key []byte) {
			for uids[at] != u {
				at++
			}
			copy(t.slot(int(part[at])), key[min(from, len(key)):])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// imapSortGroup is a group of runs that are the same so far, and their slots.
type imapSortGroup struct {
	imapSortSlots
	uids  []UID
	heads []uint32
}

func (g *imapSortGroup) Len() int { return len(g.heads) }

func (g *imapSortGroup) Less(i, j int) bool {
	d := bytes.Compare(g.slot(i), g.slot(j))
	return d < 0 || (d == 0 && g.uids[g.heads[i]] < g.uids[g.heads[j]])
}

func (g *imapSortGroup) Swap(i, j int) {
	g.heads[i], g.heads[j] = g.heads[j], g.heads[i]
	copy(g.spare, g.slot(i))
	copy(g.slot(i), g.slot(j))
	copy(g.slot(j), g.spare)
}
