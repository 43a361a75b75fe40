// SORT: messages in the order of their dates, sizes, subjects and addresses.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
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
	imapSortFirst = 8       // octets of a key that the first pass keeps, and a later one at least
	imapSortSpace = 1 << 20 // octets that a later pass may take however small the mailbox is
	imapSortStep  = 2000    // messages between looks whether the client is still there
)

// imapBits has a bit for each of many things.
type imapBits []uint64

func (b imapBits) has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 != 0 }

func (b imapBits) put(i int, on bool) {
	if b[i/64] &^= 1 << (i % 64); on {
		b[i/64] |= 1 << (i % 64)
	}
}

// sort puts messages in order; those that are equal stay as they are (RFC 5256 §3).
func (c *imapConn) sort(uids []UID, criteria []imapCriterion) error {
	s := &imapSorter{c: c, criteria: criteria, uids: uids, progress: c.progress(len(uids))}
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
			if crit.reverse {
				for i := start; i < len(s.key); i++ {
					s.key[i] = ^s.key[i]
				}
			}
		}
		s.longest = max(s.longest, len(s.key))
		fn(m.UID, s.key)
		if s.done++; s.done%imapSortStep == 0 {
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
	tied, runs, open := make(imapBits, n/64+1), 0, false
	for i := range n {
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
	if n == 0 {
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
	whose := func(i uint32) UID { return UID(binary.NativeEndian.Uint32(t.slot(int(i)))) }
	order := make([]uint32, len(t.slots)/t.width)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return cmp.Compare(whose(a), whose(b)) })
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
	return d < 0 || d == 0 && g.uids[g.heads[i]] < g.uids[g.heads[j]]
}

func (g *imapSortGroup) Swap(i, j int) {
	g.heads[i], g.heads[j] = g.heads[j], g.heads[i]
	copy(g.spare, g.slot(i))
	copy(g.slot(i), g.slot(j))
	copy(g.slot(j), g.spare)
}

// THREAD: messages as conversations.

// imapThreads is every threading algorithm.
var imapThreads = map[string]func(*imapThread){
	"ORDEREDSUBJECT": (*imapThread).bySubject,    // RFC 5256 §3
	"REFERENCES":     (*imapThread).byReferences, // RFC 5256 §3
	"REFS":           (*imapThread).byRefs,       // draft-ietf-morg-inthread: REFERENCES without subjects, newest last
}

// imapThread is one THREAD command. It holds about a hundred octets for each message.
type imapThread struct {
	msgs  []imapThreadMsg
	nodes []imapThreadNode
	ids   map[uint64]int32 // message id → node
	roots []int32
}

// imapThreadMsg is what threading keeps of a message.
type imapThreadMsg struct {
	uid      UID
	reply    bool   // by its subject
	subject  uint64 // hash of the base subject, 0 for an empty one
	sent     int64
	internal int64
}

// imapThreadNode is a message in the tree, or the place of one that is not here. Node numbers are one more than indexes, so
// that 0 is none.
type imapThreadNode struct {
	msg                 int32 // index in msgs, -1 for none
	parent, first, next int32
}

const imapThreadDepth = 1000 // generations that are looked through for a cycle; longer chains are cut

// cmdThread is THREAD and UID THREAD (RFC 5256 §3).
//
//	thread = "THREAD" SP thread-algorithm SP charset 1*(SP search-key)
func (c *imapConn) cmdThread(p *imapParser) error {
	s := &imapSearch{c: c}
	p.space()
	name := strings.ToUpper(p.atom())
	algorithm, ok := imapThreads[name]
	if !ok {
		p.fail("Unknown algorithm %.30q", name)
	}
	p.space()
	s.readCharset(p)
	p.space()
	s.query = s.keys(p)
	s.check(p)
	if err := p.end(); err != nil {
		return err
	}
	if !c.uid && c.uidonly {
		return &imapError{"BAD", "UIDREQUIRED", "Sequence numbers are switched off"}
	}
	found, _, err := s.run()
	if err != nil {
		return err
	}
	t := &imapThread{ids: map[uint64]int32{}}
	refs := name != "ORDEREDSUBJECT"
	err = c.srv.store.MailKeys(c.mbox.ID, found, func(m *Message, k *MailKeys) error {
		t.add(m, k, refs)
		return nil
	})
	if err != nil {
		return err
	}
	algorithm(t)
	c.w.WriteString("* THREAD")
	if len(t.roots) > 0 {
		c.w.WriteByte(' ')
	}
	for _, r := range t.roots {
		t.put(c, r)
	}
	c.w.WriteString("\r\n")
	return nil
}

// add takes a message in: step (1) of REFERENCES.
func (t *imapThread) add(m *Message, k *MailKeys, refs bool) {
	x := imapThreadMsg{uid: m.UID, reply: k.Reply, sent: imapSent(m, k), internal: m.Internal.Unix()}
	if len(k.Subject) > 0 {
		h := fnv.New64a()
		h.Write(k.Subject)
		x.subject = max(h.Sum64(), 1)
	}
	t.msgs = append(t.msgs, x)
	at := int32(len(t.msgs) - 1)
	if !refs {
		return
	}
	n := t.ids[k.ID]
	if k.ID == 0 || n != 0 && t.node(n).msg >= 0 { // no id, or one that another message has: it stands for itself
		n = t.newNode(at)
	} else if n == 0 {
		n = t.newNode(at)
		t.ids[k.ID] = n
	} else {
		t.node(n).msg = at
	}
	last := int32(0)
	for _, id := range k.Refs {
		r := t.ids[id]
		if r == 0 {
			r = t.newNode(-1)
			t.ids[id] = r
		}
		if last != 0 && t.node(r).parent == 0 {
			t.link(last, r)
		}
		last = r
	}
	if t.node(n).parent != last { // one that others' references made its parent is not, even where a loop forbids the new one
		t.unlink(n)
	}
	if last != 0 && last != n {
		t.link(last, n)
	}
}

func (t *imapThread) node(n int32) *imapThreadNode { return &t.nodes[n-1] }

func (t *imapThread) newNode(msg int32) int32 {
	t.nodes = append(t.nodes, imapThreadNode{msg: msg})
	return int32(len(t.nodes))
}

// link makes kid a child of parent, unless it is one of its ancestors.
func (t *imapThread) link(parent, kid int32) {
	if t.node(kid).parent == parent {
		return
	}
	if t.node(kid).first != 0 || parent == kid {
		steps := 0
		for n := parent; n != 0; n = t.node(n).parent {
			if steps++; n == kid || steps > imapThreadDepth {
				return
			}
		}
	}
	t.unlink(kid)
	t.node(kid).parent = parent
	t.node(kid).next = t.node(parent).first
	t.node(parent).first = kid
}

func (t *imapThread) unlink(kid int32) {
	p := t.node(kid).parent
	if p == 0 {
		return
	}
	at := &t.node(p).first
	for *at != kid {
		at = &t.node(*at).next
	}
	*at = t.node(kid).next
	t.node(kid).parent, t.node(kid).next = 0, 0
}

// kids lists a node's children.
func (t *imapThread) kids(n int32, into []int32) []int32 {
	for k := t.node(n).first; k != 0; k = t.node(k).next {
		into = append(into, k)
	}
	return into
}

// setKids makes the nodes the children of n, in that order.
func (t *imapThread) setKids(n int32, kids []int32) {
	at := &t.node(n).first
	for _, k := range kids {
		*at = k
		t.node(k).parent = n
		at = &t.node(k).next
	}
	*at = 0
}

// byReferences does steps (2) to (6) of REFERENCES.
func (t *imapThread) byReferences() {
	date := func(m *imapThreadMsg) int64 { return m.sent }
	t.prune(date)
	t.joinSubjects()
	t.sortNodes(t.roots, date)
	for _, r := range t.roots { // joining has only touched the first generation
		kids := t.kids(r, nil)
		t.sortNodes(kids, date)
		t.setKids(r, kids)
	}
	t.sortNodes(t.roots, date)
}

// byRefs sorts siblings by arrival, and conversations by the newest message in them.
func (t *imapThread) byRefs() {
	t.prune(func(m *imapThreadMsg) int64 { return m.internal })
	root := make([]int32, len(t.nodes)+1)
	newest := make(map[int32]int64, len(t.roots))
	for _, n := range t.order() {
		if root[n] = n; t.node(n).parent != 0 {
			root[n] = root[t.node(n).parent]
		}
		if m := t.node(n).msg; m >= 0 {
			newest[root[n]] = max(newest[root[n]], t.msgs[m].internal)
		}
	}
	slices.SortStableFunc(t.roots, func(a, b int32) int { return cmp.Compare(newest[a], newest[b]) })
}

// order lists all nodes under the roots, parents before their children.
func (t *imapThread) order() []int32 {
	all := make([]int32, 0, len(t.nodes))
	all = append(all, t.roots...)
	for i := 0; i < len(all); i++ {
		all = t.kids(all[i], all)
	}
	return all
}

// prune is steps (2) to (4): it finds the roots, takes out places without a message, and sorts siblings.
func (t *imapThread) prune(date func(*imapThreadMsg) int64) {
	t.ids = nil
	for n := int32(1); int(n) <= len(t.nodes); n++ {
		if t.node(n).parent == 0 {
			t.roots = append(t.roots, n)
		}
	}
	var kids, kept []int32
	all := t.order()
	for i := len(all) - 1; i >= 0; i-- { // children before their parents
		n := all[i]
		kids, kept = t.kids(n, kids[:0]), kept[:0]
		for _, k := range kids {
			if t.node(k).msg >= 0 {
				kept = append(kept, k)
			} else {
				kept = t.kids(k, kept)
			}
		}
		t.sortNodes(kept, date)
		t.setKids(n, kept)
	}
	roots := t.roots[:0]
	for _, r := range t.roots {
		first := t.node(r).first
		switch {
		case t.node(r).msg >= 0 || first != 0 && t.node(first).next != 0:
			roots = append(roots, r)
		case first != 0: // an only child takes the place
			t.node(first).parent = 0
			roots = append(roots, first)
		}
	}
	t.roots = roots
	t.sortNodes(t.roots, date)
}

// message is what stands for a node: its message, or that of its first child.
func (t *imapThread) message(n int32) *imapThreadMsg {
	for t.node(n).msg < 0 {
		n = t.node(n).first
	}
	return &t.msgs[t.node(n).msg]
}

// sortNodes sorts by date, and by number where that is the same.
func (t *imapThread) sortNodes(nodes []int32, date func(*imapThreadMsg) int64) {
	if len(nodes) < 2 {
		return
	}
	slices.SortFunc(nodes, func(a, b int32) int {
		x, y := t.message(a), t.message(b)
		return cmp.Or(cmp.Compare(date(x), date(y)), cmp.Compare(x.uid, y.uid))
	})
}

// joinSubjects is step (5): conversations with the same base subject become one.
func (t *imapThread) joinSubjects() {
	table := map[uint64]int32{}
	for _, r := range t.roots {
		m := t.message(r)
		if m.subject == 0 {
			continue
		}
		old := table[m.subject]
		if old == 0 || t.node(r).msg < 0 && t.node(old).msg >= 0 || t.message(old).reply && !m.reply && t.node(old).msg >= 0 {
			table[m.subject] = r
		}
	}
	roots := t.roots[:0]
	gone := make(map[int32]bool)
	for _, r := range slices.Clone(t.roots) {
		m := t.message(r)
		first := table[m.subject]
		if m.subject == 0 || first == r {
			continue
		}
		gone[r] = true
		switch a, b := t.node(first), t.node(r); {
		case a.msg < 0 && b.msg < 0:
			t.setKids(first, t.kids(r, t.kids(first, nil)))
		case a.msg < 0 || m.reply && !t.message(first).reply:
			t.setKids(first, append(t.kids(first, nil), r))
		default: // neither is the other's answer: both get a place above them
			top := t.newNode(-1)
			t.setKids(top, []int32{first, r})
			gone[first] = true
			table[m.subject] = top
			t.roots = append(t.roots, top)
		}
	}
	roots = roots[:0]
	for _, r := range t.roots {
		if !gone[r] {
			roots = append(roots, r)
		}
	}
	t.roots = roots
}

// bySubject is ORDEREDSUBJECT: the first message of a subject, and all others below it.
func (t *imapThread) bySubject() {
	for i := range t.msgs {
		t.roots = append(t.roots, t.newNode(int32(i)))
	}
	sent := func(m *imapThreadMsg) int64 { return m.sent }
	t.sortNodes(t.roots, sent)
	top := map[uint64]int32{}
	last := map[int32]int32{} // the last child of each root
	roots := t.roots[:0]
	for _, n := range t.roots {
		subject := t.msgs[t.node(n).msg].subject
		r := top[subject]
		if r == 0 {
			top[subject] = n
			roots = append(roots, n)
			continue
		}
		if l := last[r]; l == 0 {
			t.node(r).first = n
		} else {
			t.node(l).next = n
		}
		t.node(n).parent, last[r] = r, n
	}
	t.roots = roots
}

// put writes one conversation. Chains can be as long as a mailbox, so it does not recurse.
//
//	thread-list   = "(" (thread-members / thread-nested) ")"
//	thread-members = nz-number *(SP nz-number) [SP thread-nested]
//	thread-nested  = 2*thread-list
func (t *imapThread) put(c *imapConn, root int32) {
	stack := []int32{root}
	var kids []int32
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if n == 0 {
			c.w.WriteByte(')')
			continue
		}
		c.w.WriteByte('(')
		stack = append(stack, 0)
		for space := false; ; space = true {
			if t.node(n).msg >= 0 {
				if space {
					c.w.WriteByte(' ')
				}
				c.putInt(t.number(c, n))
			}
			kids = t.kids(n, kids[:0])
			if len(kids) == 1 {
				n = kids[0]
				continue
			}
			break
		}
		if len(kids) > 0 && t.node(n).msg >= 0 {
			c.w.WriteByte(' ')
		}
		slices.Reverse(kids)
		stack = append(stack, kids...)
	}
}

func (t *imapThread) number(c *imapConn, n int32) int64 {
	uid := t.msgs[t.node(n).msg].uid
	if c.uid {
		return int64(uid)
	}
	seq, _ := c.seq(uid)
	return int64(seq)
}

// Word of commands that take long (RFC 9585).

// imapProgress tells a waiting client from time to time how far a command has come (RFC 9585), so that neither it nor a
// router on the way takes the connection for dead; and it notices when nobody waits any more.
type imapProgress struct {
	c           *imapConn
	done, total int
	told        time.Time
	looked      time.Time
}

const (
	imapProgressEvery = 10 * time.Second // between words to the client
	imapHangUpEvery   = time.Second      // between looks whether it is still there
)

// progress begins a command that works on so many messages.
func (c *imapConn) progress(total int) *imapProgress {
	now := time.Now()
	return &imapProgress{c: c, total: total, told: now, looked: now}
}

// step says that more messages are done, at a time. An error means that the command should stop.
func (p *imapProgress) step(more int, now time.Time) error {
	p.done = min(p.done+more, p.total)
	if now.Sub(p.looked) >= imapHangUpEvery {
		p.looked = now
		if err := p.c.hungUp(); err != nil {
			return err
		}
	}
	if now.Sub(p.told) < imapProgressEvery {
		return nil
	}
	p.told = now
	tag := "NIL"
	if !strings.ContainsAny(p.c.tag, `]"\`) {
		tag = `"` + p.c.tag + `"`
	}
	p.c.putf("* OK [INPROGRESS (%s %d %d)] Still at it\r\n", tag, p.done, p.total)
	return p.c.w.Flush()
}

// hungUp returns an error if the client is gone, or the server is stopping. It takes a millisecond when nothing is wrong.
func (c *imapConn) hungUp() error {
	if c.r.Buffered() > 0 {
		return nil
	}
	c.net.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.r.Peek(1); err != nil && !errors.Is(err, errIdle) {
		return errors.Join(imapErrLost, err)
	}
	return nil
}
