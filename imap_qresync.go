// QRESYNC: a client that comes back is told what it missed (RFC 7162).
package main

import (
	"cmp"
	"errors"
	"slices"
)

// imapResync is what a client that comes back says it knows (RFC 7162 §3.2.5).
type imapResync struct {
	validity uint32
	modseq   ModSeq
	known    []imapRange // UIDs; nil is all that there ever were
	seqs     []imapRange // a sample of sequence numbers
	uids     []imapRange // and their UIDs
}

// resync reads the QRESYNC parameter of SELECT.
//
//	"QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP "(" known-sequence-set SP known-uid-set ")"] ")"
func (p *imapParser) resync() *imapResync {
	p.need("QRESYNC (")
	if !p.c.qresync {
		p.fail("Say ENABLE QRESYNC first")
	}
	q := &imapResync{validity: p.number()}
	p.space()
	q.modseq = ModSeq(p.number64())
	if p.take(" ") && !p.next("(") {
		q.known = p.ranges(^uint32(0))
		p.take(" ")
	}
	if p.take("(") {
		if p.c.uidonly {
			p.refuse(&imapError{"BAD", "UIDREQUIRED", "Sequence numbers are switched off"}) // RFC 9586
		}
		q.seqs = p.ranges(^uint32(0))
		p.space()
		q.uids = p.ranges(^uint32(0))
		p.need(")")
	}
	p.need(")")
	return q
}

// resync tells a client that comes back what it missed: first what is gone, then what changed (RFC 7162 §3.2.5.1). That is
// as of the moment that EXISTS and HIGHESTMODSEQ are of: nothing newer is told before the tagged OK, when clients don't look
// for news of the mailbox yet. A message that has changed or gone since is told of with a modseq of that moment, so that the
// client knows the UID of all that EXISTS counts; sync tells the rest.
func (c *imapConn) resync(q *imapResync) error {
	if q.known == nil {
		q.known = []imapRange{{1, uint32(max(c.mbox.UIDNext, 1) - 1)}}
	}
	vanished, err := c.vanishedSince(q.modseq, q.known, c.matched(q))
	if err != nil {
		return err
	}
	c.putVanished("(EARLIER) ", vanished)
	known := imapSorted(q.known)
	_, err = c.eachChange(q.modseq, func(changed []imapChange) error {
		for _, m := range changed {
			n, ok := c.seq(m.uid)
			if ok && imapInRanges(known, uint32(m.uid)) {
				if err := c.tellWords(m.flags.Words); err != nil {
					return err
				}
				m.modseq = min(m.modseq, c.seen)
				c.tellOne(n, m)
			}
		}
		return nil
	})
	return err
}

// matched is the highest UID up to which the client's sample of sequence numbers is right: up to there it knows of all
// expunges (RFC 7162 §3.2.5.2).
func (c *imapConn) matched(q *imapResync) uint32 {
	var u uint32
	seqs, uids := q.seqs, q.uids
	for len(seqs) > 0 && len(uids) > 0 {
		n, v := seqs[0].lo, uids[0].lo
		if n == 0 || uint64(n) > uint64(c.uids.len()) || c.uids.at(int(n-1)) != UID(v) {
			break
		}
		u = v
		seqs[0].lo++
		if seqs[0].lo > seqs[0].hi {
			seqs = seqs[1:]
		}
		uids[0].lo++
		if uids[0].lo > uids[0].hi {
			uids = uids[1:]
		}
	}
	return u
}

// vanishedSince lists which of the known UIDs were expunged after a modseq, sorted. If so old expunges are forgotten, it is
// all of them above matched that are not there (RFC 7162 §3.2.6). A message that the client has not been told of losing is
// not among them: sync will do that.
func (c *imapConn) vanishedSince(since ModSeq, known []imapRange, matched uint32) ([]imapRange, error) {
	known = imapSorted(known)
	var pruned ModSeq
	gone, err := read(c.srv.store, func(tx *Tx) ([]imapRange, error) {
		m, err := tx.MailboxByID(c.mbox.ID)
		if err != nil {
			return nil, err
		}
		pruned = m.Pruned
		if since < pruned {
			return nil, nil
		}
		var gone []imapRange
		_, err = tx.Changes(c.mbox.ID, since, 0, func(m *Message) error {
			if _, here := c.seq(m.UID); m.Gone && !here && imapInRanges(known, uint32(m.UID)) {
				gone = imapAddRange(gone, imapRange{uint32(m.UID), uint32(m.UID)})
			}
			return nil
		})
		return gone, err
	})
	if errors.Is(err, ErrNotFound) {
		return nil, imapErrGone
	}
	if err != nil || since >= pruned {
		return gone, err
	}
	last := uint32(c.mbox.UIDNext) - 1
	last = max(last, uint32(c.uids.last()))
	for _, r := range known {
		gone = c.missing(gone, imapRange{max(r.lo, matched+1), min(r.hi, last)})
	}
	return gone, nil
}

// missing adds to gone what of r is not in uids.
func (c *imapConn) missing(gone []imapRange, r imapRange) []imapRange {
	i, _ := c.uids.find(UID(r.lo))
	for ; r.lo <= r.hi && i < c.uids.len(); i++ {
		next := uint32(c.uids.at(i))
		if next > r.hi {
			break
		}
		if r.lo < next {
			gone = imapAddRange(gone, imapRange{r.lo, next - 1})
		}
		r.lo = next + 1
	}
	if r.lo <= r.hi {
		gone = imapAddRange(gone, r)
	}
	return gone
}

// imapSorted sorts ranges and joins those that overlap.
func imapSorted(set []imapRange) []imapRange {
	var sorted []imapRange
	set = slices.Clone(set)
	slices.SortFunc(set, func(a, b imapRange) int { return cmp.Compare(a.lo, b.lo) })
	for _, r := range set {
		sorted = imapAddRange(sorted, r)
	}
	return sorted
}

// imapInRanges says whether n is in sorted ranges.
func imapInRanges(set []imapRange, n uint32) bool {
	i, _ := slices.BinarySearchFunc(set, n, func(r imapRange, n uint32) int { return cmp.Compare(r.hi, n) })
	return i < len(set) && set[i].lo <= n
}
