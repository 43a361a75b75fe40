// RETURN: what a search tells and keeps of its result, and how that is written (RFC 4731, RFC 5182, RFC 9394).
package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// imapReturn is what RETURN asks for (RFC 4731 §3.1). Without RETURN the answer is the old one.
type imapReturn struct {
	extended                   bool
	min, max, all, count, save bool
	update                     bool         // RFC 5267 §4.3
	fetch                      *imapFetch   // what to tell of messages that come to match, nil for nothing (RFC 5465 §7)
	partial                    *imapPartial // RFC 9394
}

// read reads ["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP], with which SEARCH, SORT and ESEARCH begin.
// An empty list means ALL (RFC 4731 §3.1).
func (r *imapReturn) read(p *imapParser) {
	if !p.take("RETURN ") {
		return
	}
	r.extended = true
	empty, pages := true, 0
	p.list(func() {
		empty = false
		switch name := strings.ToUpper(p.atom()); name {
		case "MIN":
			r.min = true
		case "MAX":
			r.max = true
		case "ALL":
			pages++
			r.all = true
		case "COUNT":
			r.count = true
		case "SAVE":
			r.save = true
		case "UPDATE":
			r.update = true
			if strings.HasPrefix(p.rest, " (") {
				p.space()
				r.fetch = p.readUnasked()
			}
		case "CONTEXT": // a hint that the client will ask again; nothing has to be prepared for that
		case "PARTIAL":
			pages++
			p.space()
			r.partial = p.partial()
		default:
			p.fail("Unknown RETURN option %.30q", name)
		}
	})
	r.all = r.all || empty
	if pages > 1 {
		p.fail("Only one PARTIAL or ALL") // RFC 9394 §3.1
	}
	p.space()
}

// ends says whether nothing is told but MIN, MAX or both: then MODSEQ is that of these messages only (RFC 4731 §3.2).
func (r *imapReturn) ends() bool { return (r.min || r.max) && !r.all && !r.count && r.partial == nil }

// kept is what SAVE keeps of a result: with MIN, MAX or PARTIAL and nothing that needs them all, only those messages (RFC
// 5182 §2.4, RFC 9394).
func (r *imapReturn) kept(found []UID) []UID {
	var kept []UID
	if r.all || r.count || (!r.min && !r.max && r.partial == nil) || len(found) == 0 {
		kept = slices.Clone(found)
		slices.Sort(kept)
		return kept
	}
	if r.min {
		kept = append(kept, found[0])
	}
	if r.partial != nil {
		kept = append(kept, r.partial.of(found)...)
	}
	if r.max {
		kept = append(kept, found[len(found)-1])
	}
	slices.Sort(kept)
	return slices.Compact(kept)
}

// tell writes the result: ESEARCH if the client asked with RETURN or has enabled IMAP4rev2, else SEARCH.
func (s *imapSearch) tell(found []UID, highest ModSeq) {
	c := s.c
	if c.rev2 && s.name == "SEARCH" && !s.returns.extended {
		s.returns.extended, s.returns.all = true, true
	}
	if s.returns.extended {
		s.tellExtended(found, highest)
		return
	}
	c.w.WriteString("* " + s.name)
	for _, n := range s.numbers(found) {
		c.w.WriteByte(' ')
		c.putInt(int64(n))
	}
	if s.modseq && len(found) > 0 {
		c.putf(" (MODSEQ %d)", highest)
	}
	c.w.WriteString("\r\n")
}

// numbers turns UIDs into what the command counts in.
func (s *imapSearch) numbers(uids []UID) []UID {
	if s.c.uid {
		return uids
	}
	return s.c.seqs(uids)
}

// tellExtended writes the ESEARCH response (RFC 4731 §3.1, RFC 9051 §7.3.4). The tag is a quoted string even where an
// atom would do: Outlook understands nothing else.
//
//	esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)
func (s *imapSearch) tellExtended(found []UID, highest ModSeq) {
	c, r := s.c, &s.returns
	if r.save && !r.min && !r.max && !r.all && !r.count && r.partial == nil {
		return // SAVE alone has nothing to tell (RFC 5182 §2.1)
	}
	nums := s.numbers(found)
	c.putf("* ESEARCH (TAG %q", c.tag)
	if s.mailbox != nil {
		c.w.WriteString(" MAILBOX ")
		c.putMailbox(s.mailbox.Name)
		c.putf(" UIDVALIDITY %d", s.mailbox.UIDValidity)
	}
	c.w.WriteByte(')')
	if c.uid {
		c.w.WriteString(" UID")
	}
	r.put(c, nums)
	if s.modseq && len(nums) > 0 {
		c.putf(" MODSEQ %d", highest)
	}
	c.w.WriteString("\r\n")
}

// put writes what is asked for of a result.
func (r *imapReturn) put(c *imapConn, nums []UID) {
	if n := len(nums); n > 0 {
		if r.min {
			c.putf(" MIN %d", nums[0])
		}
		if r.max {
			c.putf(" MAX %d", nums[n-1])
		}
		if r.all {
			c.putf(" ALL %s", imapSet(nums))
		}
	}
	if r.partial != nil {
		c.putf(" PARTIAL (%s %s)", r.partial, cmp.Or(imapSet(r.partial.of(nums)), "NIL"))
	}
	if r.count {
		c.putf(" COUNT %d", len(nums))
	}
}

// imapPartial is a window on a result (RFC 9394): positions counted from 1, or negative ones from the end.
type imapPartial struct{ first, last int64 }

// partial reads partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number.
func (p *imapParser) partial() *imapPartial {
	negative := p.take("-")
	a := p.number()
	p.need(":")
	if negative {
		p.need("-")
	}
	b := p.number()
	if (a == 0 || b == 0) && p.err == nil {
		p.fail("0 in a PARTIAL range")
	}
	if negative {
		return &imapPartial{-int64(min(a, b)), -int64(max(a, b))}
	}
	return &imapPartial{int64(min(a, b)), int64(max(a, b))}
}

// String is the range as it is repeated in the answer, the number nearer to its end of the result first: 4:2 is 2:4 there
// (RFC 9394 §4), which imaptest expects.
func (r *imapPartial) String() string { return fmt.Sprintf("%d:%d", r.first, r.last) }

// of cuts the window out of a result.
func (r *imapPartial) of(uids []UID) []UID {
	n := int64(len(uids))
	first, last := r.first-1, r.last
	if r.first < 0 {
		first, last = n+r.last, n+r.first+1
	}
	first, last = max(first, 0), min(last, n)
	if first >= last {
		return nil
	}
	return uids[first:last]
}
