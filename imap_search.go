// SEARCH: the table of keys, and the search itself.
package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// imapSearchKeys is every search key (RFC 9051 §6.4.4, RFC 3501 §6.4.4); sequence sets and lists in parentheses have no
// name. Each reads its arguments and returns the condition. The rows with other keys in them are in imapSearchJoins.
var imapSearchKeys = map[string]func(*imapParser, *imapSearch) *Query{
	"ALL":        func(*imapParser, *imapSearch) *Query { return &Query{} },
	"ANSWERED":   imapKeyFlag(FlagAnswered, true),
	"DELETED":    imapKeyFlag(FlagDeleted, true),
	"DRAFT":      imapKeyFlag(FlagDraft, true),
	"FLAGGED":    imapKeyFlag(FlagFlagged, true),
	"SEEN":       imapKeyFlag(FlagSeen, true),
	"UNANSWERED": imapKeyFlag(FlagAnswered, false),
	"UNDELETED":  imapKeyFlag(FlagDeleted, false),
	"UNDRAFT":    imapKeyFlag(FlagDraft, false),
	"UNFLAGGED":  imapKeyFlag(FlagFlagged, false),
	"UNSEEN":     imapKeyFlag(FlagSeen, false),
	"KEYWORD":    imapKeyKeyword,
	"UNKEYWORD":  func(p *imapParser, s *imapSearch) *Query { return imapNot(imapKeyKeyword(p, s)) },
	"RECENT":     func(_ *imapParser, s *imapSearch) *Query { return s.recent() },
	"OLD":        func(_ *imapParser, s *imapSearch) *Query { return imapNot(s.recent()) },
	"NEW": func(_ *imapParser, s *imapSearch) *Query {
		return &Query{Op: QueryAnd, Kids: []*Query{s.recent(), imapNot(&Query{Op: QueryFlags, Flags: Flags{Bits: FlagSeen}})}}
	},

	"BCC":     imapKeyField("Bcc"),
	"CC":      imapKeyField("Cc"),
	"FROM":    imapKeyField("From"),
	"SUBJECT": imapKeyField("Subject"),
	"TO":      imapKeyField("To"),
	"HEADER":  imapKeyHeader,
	"BODY":    imapKeyText(QueryBody),
	"TEXT":    imapKeyText(QueryText),

	"BEFORE":     imapKeyDay(QueryInternal, -1),
	"ON":         imapKeyDay(QueryInternal, 0),
	"SINCE":      imapKeyDay(QueryInternal, 1),
	"SENTBEFORE": imapKeyDay(QuerySent, -1),
	"SENTON":     imapKeyDay(QuerySent, 0),
	"SENTSINCE":  imapKeyDay(QuerySent, 1),
	"LARGER": func(p *imapParser, _ *imapSearch) *Query {
		return &Query{Op: QuerySize, Lo: imapKeyNumber(p) + 1, Hi: math.MaxInt64}
	},
	"SMALLER": func(p *imapParser, _ *imapSearch) *Query {
		return &Query{Op: QuerySize, Lo: 0, Hi: imapKeyNumber(p) - 1}
	},
	"OLDER":   func(p *imapParser, s *imapSearch) *Query { return s.within(p, true) },  // RFC 5032
	"YOUNGER": func(p *imapParser, s *imapSearch) *Query { return s.within(p, false) }, // RFC 5032

	"UID": imapKeyUID,
	"UIDAFTER": func(p *imapParser, _ *imapSearch) *Query {
		return &Query{Op: QueryUIDRange, Lo: imapKeyUniqueID(p) + 1, Hi: math.MaxInt64}
	}, // RFC 9738 §3.2
	"UIDBEFORE": func(p *imapParser, _ *imapSearch) *Query {
		return &Query{Op: QueryUIDRange, Lo: 0, Hi: imapKeyUniqueID(p) - 1}
	},
	"MODSEQ": imapKeyModSeq, // RFC 7162 §3.1.5

	"SAVEDBEFORE":       imapKeyDay(QuerySaved, -1), // RFC 8514 §4.3
	"SAVEDON":           imapKeyDay(QuerySaved, 0),
	"SAVEDSINCE":        imapKeyDay(QuerySaved, 1),
	"SAVEDATESUPPORTED": func(*imapParser, *imapSearch) *Query { return &Query{} },
	"EMAILID":           imapKeyObject(QueryBlob, "M", 10), // RFC 8474 §6
	"THREADID":          imapKeyObject(QueryThread, "T", 16),
}

// imapSearch is one search, of SEARCH, SORT or THREAD.
type imapSearch struct {
	c       *imapConn
	name    string // of the answer: SEARCH or SORT
	charset string
	query   *Query
	returns imapReturn
	modseq  bool // the MODSEQ key was used, so the highest modseq is told

	scope   *imapScope // of ESEARCH, where more than the selected mailbox may be searched
	box     Mailbox    // the one in hand
	uids    []UID      // and the messages in it
	perBox  []func()   // what is to be done when they have changed
	mailbox *Mailbox   // is named in the answer
}

func imapNot(q *Query) *Query { return &Query{Op: QueryNot, Kids: []*Query{q}} }

func imapKeyFlag(bit FlagBits, set bool) func(*imapParser, *imapSearch) *Query {
	return func(*imapParser, *imapSearch) *Query {
		q := &Query{Op: QueryFlags, Flags: Flags{Bits: bit}}
		if !set {
			return imapNot(q)
		}
		return q
	}
}

// imapKeyKeyword reads flag-keyword. One that could not be set is on no message.
func imapKeyKeyword(p *imapParser, _ *imapSearch) *Query {
	p.space()
	f, ok := Flags{}.ParseFlag(p.astring())
	if !ok {
		return &Query{Op: QueryOr}
	}
	return &Query{Op: QueryFlags, Flags: f}
}

// recent is the messages that are \Recent in this session.
func (s *imapSearch) recent() *Query {
	q := &Query{Op: QueryUIDs}
	s.always(func() {
		q.UIDs = nil
		if s.c.state == imapSelected && s.box.ID == s.c.mbox.ID {
			q.UIDs = imapWithin(s.uids, s.c.recent)
		}
	})
	return q
}

// always does something now for the selected mailbox, and again for each other one that is searched.
func (s *imapSearch) always(fn func()) {
	if s.scope == nil {
		s.bindSelected()
	}
	s.perBox = append(s.perBox, fn)
	fn()
}

// bindSelected has the search look at what the client knows of the selected mailbox.
func (s *imapSearch) bindSelected() {
	if s.uids == nil {
		s.box = s.c.mbox
		s.uids = s.c.uids.all()
	}
}

// imapWithin are the UIDs that lie in ranges, sorted.
func imapWithin(uids []UID, set []imapRange) []UID {
	var in []UID
	for _, r := range imapSorted(set) {
		lo, _ := slices.BinarySearch(uids, UID(r.lo))
		hi, found := slices.BinarySearch(uids, UID(r.hi))
		if found {
			hi++
		}
		in = append(in, uids[lo:max(lo, hi)]...)
	}
	return in
}

func imapKeyField(name string) func(*imapParser, *imapSearch) *Query {
	return func(p *imapParser, s *imapSearch) *Query {
		return &Query{Op: QueryHeader, Field: name, Text: s.text(p)}
	}
}

func imapKeyHeader(p *imapParser, s *imapSearch) *Query {
	p.space()
	name := p.astring()
	return &Query{Op: QueryHeader, Field: name, Text: s.text(p)}
}

func imapKeyText(op QueryOp) func(*imapParser, *imapSearch) *Query {
	return func(p *imapParser, s *imapSearch) *Query { return &Query{Op: op, Text: s.text(p)} }
}

// text reads SP astring in the charset of the command.
func (s *imapSearch) text(p *imapParser) string {
	p.space()
	return decodeBytes(s.charset, []byte(p.astring()))
}

// imapKeyDay reads a date; when is -1 for before that day, 0 for on it, 1 for on it or later. Days are those of UTC, as
// INTERNALDATE is shown.
func imapKeyDay(op QueryOp, when int) func(*imapParser, *imapSearch) *Query {
	return func(p *imapParser, _ *imapSearch) *Query {
		p.space()
		day := p.date().Unix()
		q := &Query{Op: op, Lo: math.MinInt64, Hi: math.MaxInt64}
		if when >= 0 {
			q.Lo = day
		}
		if when < 0 {
			q.Hi = day - 1
		} else if when == 0 {
			q.Hi = day + 24*60*60 - 1
		}
		return q
	}
}

func imapKeyNumber(p *imapParser) int64 {
	p.space()
	return p.number64()
}

// imapKeyUniqueID reads SP uniqueid.
func imapKeyUniqueID(p *imapParser) int64 {
	n := imapKeyNumber(p)
	if (n == 0 || n > math.MaxUint32) && p.err == nil {
		p.fail("No UID: %d", n)
	}
	return n
}

// within is OLDER and YOUNGER: seconds from now.
func (s *imapSearch) within(p *imapParser, older bool) *Query {
	at := s.c.srv.store.Now().Add(-time.Duration(min(imapKeyNumber(p), math.MaxInt32)) * time.Second).Unix()
	if older {
		return &Query{Op: QueryInternal, Lo: math.MinInt64, Hi: at}
	}
	return &Query{Op: QueryInternal, Lo: at, Hi: math.MaxInt64}
}

// imapKeyUID reads SP sequence-set. "*" is the highest UID of the mailbox, which differs from one to the next.
func imapKeyUID(p *imapParser, s *imapSearch) *Query {
	p.space()
	if p.next("$") {
		return s.sequence(p)
	}
	const star = 0 // no number in a set is
	set := p.ranges(star)
	q := &Query{Op: QueryUIDs}
	s.always(func() {
		var last uint32
		if n := len(s.uids); n > 0 {
			last = uint32(s.uids[n-1])
		}
		now := slices.Clone(set)
		for i, r := range now {
			if r.hi == star { // "*" alone
				now[i] = imapRange{last, last}
			} else if r.lo == star { // "*:5" is the same as "5:*"
				now[i] = imapRange{min(r.hi, last), max(r.hi, last)}
			}
		}
		q.UIDs = imapWithin(s.uids, now)
	})
	return q
}

// sequence reads a set of sequence numbers or "$", which only the selected mailbox has. Numbers beyond its end match nothing,
// as in most servers: an answer is more use to a client that has not yet heard of an EXPUNGE than BAD.
func (s *imapSearch) sequence(p *imapParser) *Query {
	if s.scope != nil && !s.scope.onlySelected() {
		p.fail("Sequence numbers are for the selected mailbox only")
	}
	p.lenient = true
	defer func() { p.lenient = false }()
	return &Query{Op: QueryUIDs, UIDs: p.setOf(false)}
}

// imapKeyModSeq reads "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer. We keep one modseq for all flags
// of a message, so the entry makes no difference, as RFC 7162 allows.
func imapKeyModSeq(p *imapParser, s *imapSearch) *Query {
	p.space()
	if p.next(`"`) {
		p.string()
		p.space()
		p.atom()
		p.space()
	}
	s.modseq = true
	return &Query{Op: QueryModSeq, Lo: p.number64(), Hi: math.MaxInt64}
}

// imapKeyObject reads an object id as FETCH shows it. One that it never shows is on no message.
func imapKeyObject(op QueryOp, prefix string, base int) func(*imapParser, *imapSearch) *Query {
	return func(p *imapParser, _ *imapSearch) *Query {
		p.space()
		id, ok := strings.CutPrefix(p.astring(), prefix)
		n, err := strconv.ParseInt(id, base, 64)
		if !ok || err != nil || n == 0 {
			return &Query{Op: QueryOr}
		}
		return &Query{Op: op, Lo: n}
	}
}

// keys reads search-key *(SP search-key): all of them must hold.
func (s *imapSearch) keys(p *imapParser) *Query {
	all := &Query{Op: QueryAnd, Kids: []*Query{s.key(p)}}
	for p.err == nil && p.take(" ") {
		all.Kids = append(all.Kids, s.key(p))
	}
	if len(all.Kids) == 1 {
		return all.Kids[0]
	}
	return all
}

// key reads one search-key.
//
//	search-key = … / "NOT" SP search-key / "OR" SP search-key SP search-key / sequence-set /
//	             "(" search-key *(SP search-key) ")"
func (s *imapSearch) key(p *imapParser) *Query {
	p.depth++
	if p.depth > imapNesting {
		p.fail("The search is nested too deeply")
	}
	defer func() { p.depth-- }()
	switch {
	case p.err != nil:
		return &Query{}
	case p.take("("):
		q := s.keys(p)
		p.need(")")
		return q
	case p.next("0123456789*$"):
		return s.sequence(p)
	}
	name := strings.ToUpper(p.atom())
	switch name {
	case "NOT":
		p.space()
		return imapNot(s.key(p))
	case "OR":
		p.space()
		a := s.key(p)
		p.space()
		return &Query{Op: QueryOr, Kids: []*Query{a, s.key(p)}}
	}
	read, ok := imapSearchKeys[name]
	if !ok {
		p.fail("Unknown search key %.30q", name)
		return &Query{}
	}
	return read(p, s)
}

// imapCharsets are named when the client asks for one that is not known (RFC 9051 §7.1 BADCHARSET). Others are known, too.
const imapCharsets = "(UTF-8 US-ASCII ISO-8859-1 WINDOWS-1252 KOI8-R GBK GB18030 BIG5 ISO-2022-JP SHIFT_JIS EUC-JP EUC-KR)"

// readProgram reads what to search for. SORT and THREAD have to name a charset, without the word before it (RFC 5256 §3);
// SEARCH may, since clients that send nothing but ASCII know of none.
//
//	search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
func (s *imapSearch) readProgram(p *imapParser, charset bool) {
	if charset || p.take("CHARSET ") {
		s.charset = p.astring()
		if p.err == nil && !KnownCharset(s.charset) {
			p.refuse(imapNo("BADCHARSET "+imapCharsets, "That charset is not known"))
		}
		p.space()
	}
	s.query = s.keys(p)
	if p.err == nil && s.query.Leaves() > SearchLeaves {
		p.refuse(imapNo("LIMIT", fmt.Sprintf("More than %d conditions on content", SearchLeaves)))
	}
	if s.modseq && p.err == nil {
		s.c.enableCondstore()
	}
}

// cmdSearch is SEARCH and UID SEARCH (RFC 9051 §6.4.4).
//
//	search = "SEARCH" [search-return-opts] SP search-program
func (c *imapConn) cmdSearch(p *imapParser) error {
	s := &imapSearch{c: c, name: "SEARCH"}
	p.space()
	s.returns.read(p)
	s.readProgram(p, false)
	return s.answer(p.end(), nil)
}

// answer searches and writes the result, after order has put it in order. err is what the command has failed with before.
// A search that was to set "$" and ends in NO leaves nothing in it, so that a STORE that was sent behind it does not act on
// the result of an earlier one; after BAD it stays (RFC 5182 §2.1).
func (s *imapSearch) answer(err error, order func([]UID) error) error {
	if err == nil {
		err = s.runOrdered(order)
	}
	var ie *imapError
	if bad := errors.As(err, &ie) && ie.status == "BAD"; err != nil && !bad && s.returns.save {
		s.c.saved = imapUIDs{}
	}
	return err
}

// runOrdered is answer for a command that could be read.
func (s *imapSearch) runOrdered(order func([]UID) error) error {
	c := s.c
	if !c.uid && c.uidonly {
		return &imapError{"BAD", "UIDREQUIRED", "Sequence numbers are switched off"}
	}
	if s.returns.update && c.tagTaken() {
		return imapBad("A search that is being updated has this tag")
	}
	found, highest, err := s.run()
	if err == nil && s.returns.update {
		s.keepContext(found)
	}
	if err == nil && order != nil {
		err = order(found)
	}
	if err == nil && s.modseq && s.returns.ends() && len(found) > 0 {
		highest, err = s.modseqOf(s.returns.kept(found))
	}
	if err != nil {
		return err
	}
	if s.returns.save {
		c.saved = imapUIDsOf(s.returns.kept(found))
	}
	s.tell(found, highest)
	return nil
}

// run searches the selected mailbox, and returns the highest modseq of what was found, too.
func (s *imapSearch) run() ([]UID, ModSeq, error) {
	if s.scope == nil {
		s.bindSelected()
	}
	uids := s.query.Narrow(s.uids)
	if s.name == "SEARCH" { // what is searched counts, not what is found; SORT and THREAD make no sense of a part (RFC 9738, §3.3)
		uids = s.c.takeHighest(uids)
	}
	progress := s.c.progress(len(uids))
	if s.query.Leaves() > 0 {
		progress = s.c.progressReading(len(uids))
	}
	var found []UID
	var highest ModSeq
	err := s.c.srv.store.Search(s.box.ID, uids, s.query, func(f []Found) error {
		for _, m := range f {
			found = append(found, m.UID)
			highest = max(highest, m.ModSeq)
		}
		return progress.step(searchSlice, time.Now())
	})
	return found, highest, err
}

// modseqOf is the highest modseq of a few messages.
func (s *imapSearch) modseqOf(uids []UID) (ModSeq, error) {
	var highest ModSeq
	err := s.c.srv.store.Search(s.box.ID, uids, &Query{Op: QueryModSeq, Hi: math.MaxInt64}, func(f []Found) error {
		for _, m := range f {
			highest = max(highest, m.ModSeq)
		}
		return nil
	})
	return highest, err
}
