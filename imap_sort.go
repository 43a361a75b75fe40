// SORT: messages in the order of their dates, sizes, subjects and addresses.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"slices"
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
