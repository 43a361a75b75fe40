// Sequence sets: reading them, and which messages of the selected mailbox they mean.
package main

import (
	"cmp"
	"slices"
)

// imapRange is a range of numbers, both ends included, lo not above hi.
type imapRange struct{ lo, hi uint32 }

// ranges reads a sequence set (RFC 9051 §9 sequence-set) as it is, with star for "*".
func (p *imapParser) ranges(star uint32) []imapRange {
	var set []imapRange
	for more := true; more && p.err == nil; more = p.take(",") {
		r := imapRange{lo: p.setNumber(star)}
		r.hi = r.lo
		if p.take(":") {
			r.hi = p.setNumber(star)
		}
		set = append(set, imapRange{min(r.lo, r.hi), max(r.lo, r.hi)})
	}
	return set
}

func (p *imapParser) setNumber(star uint32) uint32 {
	if p.take("*") {
		return star
	}
	n := p.number()
	if n == 0 && p.err == nil {
		p.fail("0 in a set")
	}
	return n
}

// set reads the set of messages that the command is about: UIDs for a UID command, otherwise sequence numbers.
func (p *imapParser) set() []UID { return p.setOf(p.c.uid) }

// setOf reads a set of UIDs or sequence numbers, or "$" (RFC 5182), and resolves it against what the client knows. UIDs
// that are not there are left out; a sequence number that is not there is an error (RFC 9051 §9 seq-number).
func (p *imapParser) setOf(uid bool) []UID {
	c := p.c
	if p.take("$") {
		return c.known(&c.saved)
	}
	if !uid && c.uidonly {
		p.refuse(&imapError{"BAD", "UIDREQUIRED", "Sequence numbers are switched off"})
		return nil
	}
	var star uint32
	if n := c.uids.len(); n > 0 && uid {
		star = uint32(c.uids.last())
	} else {
		star = uint32(n)
	}
	set := p.ranges(star)
	for i, r := range set {
		if uid {
			lo, _ := c.uids.find(UID(r.lo))
			hi, found := c.uids.find(UID(r.hi))
			if !found {
				hi--
			}
			set[i] = imapRange{uint32(lo + 1), uint32(hi + 1)} // empty if lo > hi
		} else if p.lenient {
			set[i] = imapRange{max(r.lo, 1), min(r.hi, uint32(c.uids.len()))}
		} else if r.lo == 0 || r.hi > uint32(c.uids.len()) {
			p.fail("There is no message %d", r.hi)
			return nil
		}
	}
	return c.pick(set)
}

// pick returns the UIDs of ranges of sequence numbers, in order and without doubles.
func (c *imapConn) pick(set []imapRange) []UID {
	slices.SortFunc(set, func(a, b imapRange) int { return cmp.Compare(a.lo, b.lo) })
	most := 0
	for _, r := range set {
		most += int(min(int64(r.hi)-int64(r.lo)+1, int64(c.uids.len())))
	}
	picked := make([]UID, 0, min(max(most, 0), c.uids.len())) // growing into it would take twice as much
	next := uint32(1)
	for _, r := range set {
		if lo := max(r.lo, next); lo <= r.hi {
			picked = c.uids.appendTo(picked, int(lo-1), int(r.hi))
			next = r.hi + 1
		}
	}
	return picked
}

// known lists those of a set that the client still knows.
func (c *imapConn) known(set *imapUIDs) []UID {
	return slices.DeleteFunc(set.all(), func(u UID) bool { return !c.uids.has(u) })
}

// seqs turns UIDs that the client knows into sequence numbers.
func (c *imapConn) seqs(uids []UID) []UID {
	nums := make([]UID, len(uids))
	for i, u := range uids {
		n, _ := c.seq(u)
		nums[i] = UID(n)
	}
	return nums
}

// seq is the sequence number of a message that the client knows.
func (c *imapConn) seq(u UID) (int, bool) {
	i, ok := c.uids.find(u)
	return i + 1, ok
}
