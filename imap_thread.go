// THREAD: messages as conversations.
package main

import (
	"cmp"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// imapThreading is a threading algorithm and what it asks of the messages.
type imapThreading struct {
	refs, subjects bool
	arrival        bool // it counts when a message came and not when it was sent
	run            func(*imapThread)
}

// imapThreads is every threading algorithm.
var imapThreads = map[string]imapThreading{
	"ORDEREDSUBJECT": {subjects: true, run: (*imapThread).bySubject},                // RFC 5256 §3
	"REFERENCES":     {refs: true, subjects: true, run: (*imapThread).byReferences}, // RFC 5256 §3
	"REFS":           {refs: true, arrival: true, run: (*imapThread).byRefs},        // draft-ietf-morg-inthread: without subjects, newest last
}

// imapThread is one THREAD command. Beside its UID it holds 40 octets for each message: 16 of date and subject, 16 of the
// node, and up to 8 for finding nodes by their ids or, after that, for lists of them. A message that is not here but was
// answered costs 24. It can't be much less: References may turn the tree round until the last message is read, so all
// links have to be at hand, and what is to be sorted needs its dates.
type imapThread struct {
	how      imapThreading
	uids     []UID    // the messages, in order
	dates    []int64  // of each message, seconds
	subjects []uint64 // hash of each base subject, without its lowest bit, which says that it is a reply; 0 and 1 are empty
	at       int      // the message in hand
	nodes    [][]imapThreadNode
	count    int     // of nodes
	places   int     // how many more may be made for messages that are not here
	ids      []int32 // while messages are added: a hash table of the nodes that have ids
	named    int     // how many those are
	odd      uint64  // sets this table apart from others, so that nobody can write ids that all collide in it
	roots    []int32
}

// imapThreadNode is a message in the tree, or the place of one that is not here. Node numbers are one more than indexes, so
// that 0 is none.
//
// While messages are added only parents are known, first and next are the halves of the id's hash, and msg is shifted up by
// a bit that says whether the node has ever had children. grow makes that a tree.
type imapThreadNode struct {
	msg         int32 // index of the message, -1 for none
	parent      int32
	first, next int32
}

const (
	imapThreadEach   = 52      // octets of memory for a message, its UID and how lists grow included
	imapThreadDepth  = 1000    // generations that are looked through for a cycle; longer chains are cut
	imapThreadBlock  = 1 << 12 // nodes made at a time; one list of all would have to be copied to grow
	imapThreadPlaces = 2       // places for messages that are not here, for each that is,
	imapThreadMore   = 1 << 15 // and beside these; References to still others are passed over
)

// cmdThread is THREAD and UID THREAD (RFC 5256 §3).
//
//	thread = "THREAD" SP thread-algorithm SP charset 1*(SP search-key)
func (c *imapConn) cmdThread(p *imapParser) error {
	s := &imapSearch{c: c}
	p.space()
	name := strings.ToUpper(p.atom())
	if _, ok := imapThreads[name]; !ok {
		p.fail("Unknown algorithm %.30q", name)
	}
	p.space()
	s.readProgram(p, true)
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
	release, err := c.srv.store.HoldResult(c.user.ID, len(found), imapThreadEach)
	if err != nil {
		return err
	}
	defer release()
	t := imapThreadOf(found, name)
	progress, read := c.progressReading(len(found)), 0
	err = c.srv.store.MailKeys(c.mbox.ID, found, func(m *Message, k *MailKeys) error {
		read++
		if read%imapSortStep == 0 {
			if err := progress.step(imapSortStep, time.Now()); err != nil {
				return err
			}
		}
		return t.add(m, k)
	})
	if err != nil {
		return err
	}
	t.finish()
	// One line, however long, as the grammar has it; it goes to the socket while it is written.
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

// imapThreadOf begins to thread messages, whose UIDs are sorted.
func imapThreadOf(uids []UID, algorithm string) *imapThread {
	t := &imapThread{how: imapThreads[algorithm], uids: uids, dates: make([]int64, len(uids)),
		places: imapThreadPlaces*len(uids) + imapThreadMore, odd: rand.Uint64() | 1}
	if t.how.subjects {
		t.subjects = make([]uint64, len(uids))
	}
	return t
}

// add takes a message in: step (1) of REFERENCES.
func (t *imapThread) add(m *Message, k *MailKeys) error {
	for t.uids[t.at] != m.UID { // the content of those that are passed over is gone
		t.at++
	}
	t.dates[t.at] = imapSent(m, k)
	if t.how.arrival {
		t.dates[t.at] = m.Internal.Unix()
	}
	if t.how.subjects {
		t.subjects[t.at] = imapThreadSubject(k)
	}
	if !t.how.refs {
		t.newNode(t.at, 0)
		return nil
	}
	// Each message that was referred to is the parent of the next one, unless that has a parent already (step 1 A).
	n, last := t.own(k.ID), int32(0)
	for _, id := range k.Refs {
		r := t.place(id)
		if r == 0 {
			continue
		}
		if last != 0 && t.node(r).parent == 0 {
			t.link(last, r)
		}
		last = r
	}
	// The message's own word on its parent counts for more than that of others, who may have cut their References short (step
	// 1 B).
	if x := t.node(n); x.parent != last { // one that others' references made its parent is not, even where a loop forbids the new one
		x.parent = 0
	}
	if last != 0 && last != n {
		t.link(last, n)
	}
	return nil
}

// imapThreadSubject is what subjects holds of a message.
func imapThreadSubject(k *MailKeys) uint64 {
	var subject uint64
	if len(k.Subject) > 0 {
		h := fnv.New64a()
		h.Write(k.Subject)
		subject = max(h.Sum64()&^1, 2)
	}
	if k.Reply {
		subject |= 1
	}
	return subject
}

// subject is the base subject of a message, 0 if that is empty.
func (t *imapThread) subject(msg int32) uint64 { return t.subjects[msg] &^ 1 }

func (t *imapThread) isReply(msg int32) bool { return t.subjects[msg]&1 != 0 }

func (t *imapThread) node(n int32) *imapThreadNode {
	return &t.nodes[(n-1)/imapThreadBlock][(n-1)%imapThreadBlock]
}

func (t *imapThread) newNode(msg int, id uint64) int32 {
	if t.count%imapThreadBlock == 0 {
		t.nodes = append(t.nodes, make([]imapThreadNode, imapThreadBlock))
	}
	t.count++
	n := int32(t.count)
	*t.node(n) = imapThreadNode{msg: int32(msg) << 1, first: int32(id >> 32), next: int32(id)}
	return n
}

// id is the hash of a node's message id while messages are added, 0 if it has none.
func (t *imapThread) id(n int32) uint64 {
	return uint64(uint32(t.node(n).first))<<32 | uint64(uint32(t.node(n).next))
}

// find returns where in the table the node with an id is, or is to be put.
func (t *imapThread) find(id uint64) *int32 {
	if 5*t.named >= 4*len(t.ids) { // nearly full: make a larger one, of what the nodes know
		t.ids = make([]int32, max(5*t.named/4, len(t.uids))*5/4+8)
		for n := int32(1); int(n) <= t.count; n++ {
			if have := t.id(n); have != 0 {
				*t.find(have) = n
			}
		}
	}
	at, _ := bits.Mul64(id*t.odd, uint64(len(t.ids)))
	for t.ids[at] != 0 && t.id(t.ids[at]) != id {
		at++
		if at == uint64(len(t.ids)) {
			at = 0
		}
	}
	return &t.ids[at] // good until the next find
}

// own is the node of the message in hand. One without an id, or with one that another message has, stands for itself.
func (t *imapThread) own(id uint64) int32 {
	if id == 0 {
		return t.newNode(t.at, 0)
	}
	at := t.find(id)
	switch {
	case *at == 0:
		*at = t.newNode(t.at, id)
		t.named++
	case t.node(*at).msg < 0: // others have answered it
		t.node(*at).msg = int32(t.at)<<1 | t.node(*at).msg&1
	default:
		return t.newNode(t.at, 0)
	}
	return *at
}

// place is the node of a message that was referred to, 0 if there are too many that are not here.
func (t *imapThread) place(id uint64) int32 {
	at := t.find(id)
	if *at == 0 && t.places > 0 {
		t.places--
		t.named++
		*at = t.newNode(-1, id)
	}
	return *at
}

// link makes kid a child of parent, unless it is one of its ancestors.
func (t *imapThread) link(parent, kid int32) {
	if t.node(kid).parent == parent {
		return
	}
	if t.node(kid).msg&1 != 0 || parent == kid {
		steps := 0
		for n := parent; n != 0; n = t.node(n).parent {
			steps++
			if n == kid || steps > imapThreadDepth {
				return
			}
		}
	}
	t.node(kid).parent = parent
	t.node(parent).msg |= 1
}

// finish runs the algorithm when all messages are there. Then nodes and uids are all that is needed.
func (t *imapThread) finish() {
	t.ids = nil
	for n := int32(1); int(n) <= t.count; n++ {
		x := t.node(n)
		*x = imapThreadNode{msg: x.msg >> 1, parent: x.parent}
	}
	for n := int32(t.count); n > 0; n-- {
		if p := t.node(n).parent; p != 0 {
			t.adopt(p, n)
		} else {
			t.roots = append(t.roots, n)
		}
	}
	t.how.run(t)
	t.dates, t.subjects = nil, nil
}

// adopt puts a node in front of the children of another.
func (t *imapThread) adopt(parent, kid int32) {
	p, k := t.node(parent), t.node(kid)
	k.parent, k.next = parent, p.first
	p.first = kid
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
	t.node(n).first = 0
	for _, k := range slices.Backward(kids) {
		t.adopt(n, k)
	}
}

// byReferences does steps (2) to (6) of REFERENCES.
func (t *imapThread) byReferences() {
	t.prune()
	t.joinSubjects()
	for _, r := range t.roots { // joining has touched no more than two generations
		for k := t.node(r).first; k != 0; k = t.node(k).next {
			t.sortKids(k)
		}
		t.sortKids(r)
	}
	slices.SortFunc(t.roots, t.compare)
}

// sortKids puts the children of a node in order.
func (t *imapThread) sortKids(n int32) {
	if first := t.node(n).first; first == 0 || t.node(first).next == 0 {
		return
	}
	kids := t.kids(n, nil)
	slices.SortFunc(kids, t.compare)
	t.setKids(n, kids)
}

// byRefs sorts siblings by arrival, and conversations by the newest message in them.
func (t *imapThread) byRefs() {
	t.prune()
	// Siblings are in order, so a message's own date may give way to that of the newest one below it.
	for _, n := range slices.Backward(t.order()) {
		if p := t.node(n).parent; p != 0 {
			of := &t.dates[t.message(p)]
			*of = max(*of, t.dates[t.message(n)])
		}
	}
	slices.SortStableFunc(t.roots, func(a, b int32) int { return cmp.Compare(t.dates[t.message(a)], t.dates[t.message(b)]) })
}

// order lists all nodes under the roots, parents before their children.
func (t *imapThread) order() []int32 {
	all := make([]int32, 0, t.count)
	all = append(all, t.roots...)
	for i := 0; i < len(all); i++ {
		all = t.kids(all[i], all)
	}
	return all
}

// prune is steps (2) to (4): it takes out places without a message, and sorts siblings.
func (t *imapThread) prune() {
	var kids, kept []int32
	for _, n := range slices.Backward(t.order()) { // children before their parents
		kids, kept = t.kids(n, kids[:0]), kept[:0]
		for _, k := range kids {
			if t.node(k).msg >= 0 {
				kept = append(kept, k)
			} else {
				kept = t.kids(k, kept)
			}
		}
		slices.SortFunc(kept, t.compare)
		t.setKids(n, kept)
	}
	roots := t.roots[:0]
	for _, r := range t.roots {
		first := t.node(r).first
		switch {
		case t.node(r).msg >= 0 || (first != 0 && t.node(first).next != 0):
			roots = append(roots, r)
		case first != 0: // an only child takes the place
			t.node(first).parent = 0
			roots = append(roots, first)
		}
	}
	t.roots = roots
	slices.SortFunc(t.roots, t.compare)
}

// message is the message that stands for a node: its own, or that of its first child.
func (t *imapThread) message(n int32) int32 {
	for t.node(n).msg < 0 {
		n = t.node(n).first
	}
	return t.node(n).msg
}

// compare puts nodes in the order of their dates, and of their numbers where these are the same.
func (t *imapThread) compare(a, b int32) int {
	x, y := t.message(a), t.message(b)
	return cmp.Or(cmp.Compare(t.dates[x], t.dates[y]), cmp.Compare(x, y))
}

// eachSubject calls fn with the nodes of each subject, in the order of compare.
func (t *imapThread) eachSubject(nodes []int32, fn func(same []int32)) {
	subject := func(n int32) uint64 { return t.subject(t.message(n)) }
	slices.SortFunc(nodes, func(a, b int32) int {
		if d := cmp.Compare(subject(a), subject(b)); d != 0 {
			return d
		}
		return t.compare(a, b)
	})
	for lo, hi := 0, 0; lo < len(nodes); lo = hi {
		for hi = lo + 1; hi < len(nodes) && subject(nodes[hi]) == subject(nodes[lo]); hi++ {
		}
		fn(nodes[lo:hi])
	}
}

// joinSubjects is step (5): conversations with the same base subject become one. Children that come together by it are
// in no order.
func (t *imapThread) joinSubjects() {
	t.eachSubject(slices.Clone(t.roots), func(same []int32) {
		if t.subject(t.message(same[0])) == 0 {
			return
		}
		// The beginning is most likely a place without a message, whose children have the subject; else what is no reply; else
		// the oldest (step 5 B).
		first := same[0]
		for _, r := range same[1:] {
			if f := t.node(first).msg; f >= 0 && (t.node(r).msg < 0 || (t.isReply(f) && !t.isReply(t.node(r).msg))) {
				first = r
			}
		}
		for _, r := range same {
			if r != first {
				first = t.join(first, r)
			}
		}
	})
	t.roots = slices.DeleteFunc(t.roots, func(r int32) bool { return t.node(r).parent != 0 })
}

// join makes a conversation part of another one with its subject, and returns what stands at the top of them.
func (t *imapThread) join(top, r int32) int32 {
	a, b := t.node(top), t.node(r)
	switch {
	case a.msg < 0 && b.msg < 0: // both have lost the message that began them, and it may well be the same one
		for k := b.first; k != 0; {
			next := t.node(k).next
			t.adopt(top, k)
			k = next
		}
		b.parent = top // it is gone
	case a.msg < 0 || (t.isReply(t.message(r)) && !t.isReply(a.msg)):
		t.adopt(top, r)
	default: // neither is the other's answer: both get a place above them
		above := t.newNode(-1, 0)
		t.node(above).msg = -1 // not shifted any more
		t.adopt(above, r)
		t.adopt(above, top)
		t.roots = append(t.roots, above)
		return above
	}
	return top
}

// bySubject is ORDEREDSUBJECT: the first message of a subject, and all others below it.
func (t *imapThread) bySubject() {
	var tops []int32
	// There is no telling who answered whom, so all others are children of the first one, and conversations come in the
	// order of their first messages.
	t.eachSubject(t.roots, func(same []int32) {
		t.setKids(same[0], same[1:])
		tops = append(tops, same[0])
	})
	t.roots = tops
	slices.SortFunc(t.roots, t.compare)
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
	uid := t.uids[t.node(n).msg]
	if c.uid {
		return int64(uid)
	}
	seq, _ := c.seq(uid)
	return int64(seq)
}
