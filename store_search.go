// Search: which messages of a mailbox satisfy a condition, at the least cost; and how text is compared.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
)

// QueryOp is what a Query asks.
type QueryOp uint8

const (
	QueryAll QueryOp = iota // every message
	QueryAnd                // all of Kids; every message if there are none
	QueryOr                 // one of Kids at least
	QueryNot                // not its only kid

	// Answered by a message's row.
	QueryUIDs     // its UID is in UIDs
	QueryUIDRange // its UID is in Lo to Hi
	QueryFlags    // it has all of Flags
	QueryInternal // INTERNALDATE in seconds is in Lo to Hi
	QuerySaved    // the time it came into the mailbox, likewise
	QuerySize     // octets in Lo to Hi
	QueryModSeq   // modseq in Lo to Hi
	QueryThread   // Thread is Lo
	QueryBlob     // Blob is Lo

	// Answered by the header block.
	QuerySent   // the day that the Date field names (midnight UTC of it, in seconds) is in Lo to Hi
	QueryHeader // a field called Field contains Text; any such field, if Text is ""

	// Answered by the body.
	QueryBody // the text of the body contains Text
	QueryText // the body or the header does
)

// Query is a condition on messages: a tree whose leaves ask one thing each. Text is compared as Fold has it, with
// substring semantics (RFC 9051 §6.4.4), over text as people read it: encoded words, transfer encodings and charsets
// undone, HTML without its tags. Lo and Hi are both included.
type Query struct {
	Op     QueryOp
	Kids   []*Query
	UIDs   []UID // sorted
	Flags  Flags
	Lo, Hi int64
	Field  string
	Text   string

	fact int // which of a message's facts it asks for, for leaves that the row does not answer
}

// verdict is a truth value: and is min, or is max, not is yes minus it.
type verdict int8

const (
	isFalse verdict = iota
	isOpen
	isTrue
)

// search evaluates a Query over a mailbox, in slices of it. Each message passes up to four stages, the cheaper first, and
// leaves as soon as what is known decides the whole query, whatever the order of its conditions: its slim row; the text
// index, when it covers the message; its header block; its body.
//
// What a stage learns of a message is kept as facts, one for each leaf that a row can't answer.
type search struct {
	s     *Store
	box   MailboxID
	query *Query
	want  Want       // how much of each row it needs
	leafs []*Query   // that need facts
	folds [][]byte   // their Text folded
	names [][]byte   // and their Field, as index text has it
	grams [][]uint64 // letter groups of folds
	gone  []bool     // which leafs can't be true in the block in hand

	// Of the slice in hand, in memory that the next one uses again.
	found []Found
	open  []candidate
	facts []verdict
	text  textScan
}

// Found is a message that satisfies a Query. Its ModSeq is only there if the query asks for more than UIDs and flags.
type Found struct {
	UID    UID
	ModSeq ModSeq
}

const (
	searchSlice   = 2000 // messages that pass the stages together
	searchWorkers = 2    // slices that one search works on at the same time
	SearchLeaves  = 100  // conditions on content in one Query, at most (see Query.Leaves)
)

// Leaves counts the conditions that need more than a message's row.
func (q *Query) Leaves() int {
	n := 0
	if q.Op >= QuerySent {
		n = 1
	}
	for _, k := range q.Kids {
		n += k.Leaves()
	}
	return n
}

// Narrow leaves those of the sorted uids that the query's own UID sets allow.
func (q *Query) Narrow(uids []UID) []UID {
	switch q.Op {
	case QueryAnd:
		for _, k := range q.Kids {
			uids = k.Narrow(uids)
		}
	case QueryUIDs, QueryUIDRange:
		var in []UID
		for _, u := range uids {
			if q.rowVerdict(&Message{UID: u}) == isTrue {
				in = append(in, u)
			}
		}
		return in
	}
	return uids
}

// Search calls fn with those of uids, which must be sorted, that are in the mailbox (tombstones of which the caller has not
// been told included) and satisfy the query, some at a time and in order; fn must copy what it keeps. An error of fn ends it. Memory is bounded by a
// slice, whatever the size of mailbox and messages. fn may take as long as it likes. ErrBusy.
func (s *Store) Search(box MailboxID, uids []UID, q *Query, fn func([]Found) error) error {
	x := &search{s: s, box: box, query: q, want: WantFlags}
	x.number(q)
	workers := 1
	if len(x.leafs) > 0 {
		workers = min(searchWorkers, runtime.GOMAXPROCS(0))
	}
	work := int64(searchRows)
	if len(x.leafs) > 0 {
		work = searchWork
	}
	parts := make([]search, workers)
	for i := range parts {
		parts[i] = *x
	}
	done := make([]<-chan error, workers)
	for len(uids) > 0 {
		release, err := s.gates.work.Take(0, work, gateWait)
		if err != nil {
			return err
		}
		for i := range parts {
			slice := uids[:min(len(uids), searchSlice)]
			uids = uids[len(slice):]
			work := func() error { return parts[i].slice(slice) }
			if workers > 1 {
				done[i] = s.crew.Result("search", work)
				continue
			}
			here := make(chan error, 1) // a goroutine of its own costs more than many a slice
			here <- s.crew.Guard("search", work)
			done[i] = here
		}
		errs := make([]error, workers)
		for i := range done { // all of them, so that none is at work when this returns
			errs[i] = <-done[i]
		}
		release()
		for i := range parts {
			if errs[i] != nil {
				return errs[i]
			}
			if err := fn(parts[i].found); err != nil {
				return err
			}
		}
	}
	return nil
}

// number gives the leaves that need facts their places.
func (x *search) number(q *Query) {
	switch q.Op {
	case QueryModSeq, QueryBlob:
		x.want = max(x.want, WantBrief)
	case QueryInternal, QuerySaved, QuerySize, QueryThread:
		x.want = WantRow
	}
	if q.Op >= QuerySent {
		x.want = max(x.want, WantBrief)
		q.fact = len(x.leafs)
		x.leafs = append(x.leafs, q)
		text := foldPhrase(nil, q.Text)
		x.folds = append(x.folds, text)
		x.names = append(x.names, append(Fold(nil, q.Field), ": "...))
		var grams []uint64
		letterGroups(text, func(h uint64) { grams = append(grams, h) })
		x.grams = append(x.grams, grams)
	}
	for _, k := range q.Kids {
		x.number(k)
	}
}

// candidate is a message about which the query is not decided yet.
type candidate struct {
	Message
	facts []verdict
}

// slice runs the stages over some messages and leaves what it found in order. Several may run at a time, each on a search of its own.
func (x *search) slice(uids []UID) error {
	x.found, x.text, x.gone = x.found[:0], textScan{}, nil
	err := x.stages(uids)
	slices.SortFunc(x.found, func(a, b Found) int { return cmp.Compare(a.UID, b.UID) })
	return err
}

func (x *search) stages(uids []UID) error {
	open := x.open[:0]
	err := x.s.List(x.box, uids, x.want, func(m *Listed) error {
		if v := x.eval(x.query, &m.Message, nil); v == isTrue {
			x.found = append(x.found, Found{m.UID, m.ModSeq})
		} else if v == isOpen {
			open = append(open, candidate{Message: m.Message})
		}
		return nil
	})
	x.open = open
	if err != nil || len(open) == 0 {
		return err
	}
	need := len(open) * len(x.leafs)
	x.facts = slices.Grow(x.facts[:0], need)[:need]
	for i := range x.facts {
		x.facts[i] = isOpen
	}
	for i := range open {
		open[i].facts = x.facts[i*len(x.leafs) : (i+1)*len(x.leafs)]
	}
	err = x.s.indexWhatIsRead(len(open), func(i int) BlobID { return open[i].Blob })
	if err != nil {
		return err
	}
	open, err = x.indexStage(open)
	if err != nil || len(open) == 0 {
		return err
	}
	for _, stage := range []struct {
		want  Want
		learn func(*candidate, *Content) error
		ops   []QueryOp
	}{
		{WantHead, x.learnHeader, []QueryOp{QuerySent, QueryHeader, QueryText}},
		{WantBody, x.learnBody, []QueryOp{QueryBody, QueryText}},
	} {
		if !x.hasOp(stage.ops...) {
			continue
		}
		open, err = x.stage(open, stage.want, stage.learn)
		if err != nil || len(open) == 0 {
			return err
		}
	}
	return nil
}

// indexStage answers what the text index can answer, which is nearly all for messages that it covers.
func (x *search) indexStage(open []candidate) ([]candidate, error) {
	slices.SortFunc(open, func(a, b candidate) int { return cmp.Compare(a.Blob, b.Blob) })
	ids := make([]BlobID, len(open))
	for i := range open {
		ids[i] = open[i].Blob
	}
	err := x.s.Read(func(tx *Tx) error {
		return tx.blockFilters(ids, func(b *block, lo, hi int) error { return x.searchBlock(tx, b, open[lo:hi]) })
	})
	if err != nil {
		return nil, err
	}
	var left []candidate
	for _, c := range open {
		if v := x.eval(x.query, &c.Message, c.facts); v == isTrue {
			x.found = append(x.found, Found{c.UID, c.ModSeq})
		} else if v == isOpen {
			left = append(left, c)
		}
	}
	slices.SortFunc(left, func(a, b candidate) int { return cmp.Compare(a.UID, b.UID) })
	return left, nil
}

// searchBlock answers for the candidates that a block covers, with its text only if the filter leaves something open.
func (x *search) searchBlock(tx *Tx, b *block, open []candidate) error {
	x.gone = x.gone[:0]
	for i := range x.leafs {
		x.gone = append(x.gone, !gramsHave(b.grams, x.grams[i]))
	}
	undecided := false
	eachInBlock(b, open, func(c *candidate, r *indexReader) {
		x.learnKeys(c, r)
		undecided = undecided || x.eval(x.query, &c.Message, c.facts) == isOpen
	})
	if !undecided {
		return nil
	}
	// Most searches are for subjects and senders; the header text decides many of the others, too.
	learn := func(c *candidate, r *indexReader, heads []byte) bool {
		if r.headEnd > len(heads) || x.eval(x.query, &c.Message, c.facts) != isOpen {
			return false
		}
		x.learnHeads(c, r, heads[r.headEnd-r.head:r.headEnd])
		return x.eval(x.query, &c.Message, c.facts) == isOpen
	}
	if x.hasOp(QueryHeader, QueryText) {
		undecided = false
		err := tx.blockHeads(b, func(heads []byte) {
			eachInBlock(b, open, func(c *candidate, r *indexReader) {
				if learn(c, r, heads) {
					undecided = true
				}
			})
		})
		if err != nil {
			return err
		}
	}
	if !undecided || !x.hasOp(QueryBody, QueryText) {
		return nil
	}
	return tx.blockText(b, func(heads, text []byte) {
		eachInBlock(b, open, func(c *candidate, r *indexReader) {
			if r.bodyEnd <= len(text) && learn(c, r, heads) {
				x.learnText(c, r, text[r.bodyEnd-r.body:r.bodyEnd])
			}
		})
	})
}

// hasOp says whether a leaf asks one of these things.
func (x *search) hasOp(ops ...QueryOp) bool {
	return slices.ContainsFunc(x.leafs, func(q *Query) bool { return slices.Contains(ops, q.Op) })
}

// eachInBlock pairs candidates, sorted by content, with their entries.
func eachInBlock(b *block, open []candidate, fn func(*candidate, *indexReader)) {
	r := indexReader{keys: b.keys}
	for i := 0; i < len(open) && r.next(); {
		for i < len(open) && open[i].Blob < r.blob {
			i++
		}
		for ; i < len(open) && open[i].Blob == r.blob; i++ {
			fn(&open[i], &r)
		}
	}
}

// learnKeys answers what the filter and the sort keys can answer.
func (x *search) learnKeys(c *candidate, r *indexReader) {
	for i, q := range x.leafs {
		switch {
		case q.Op == QuerySent:
			var k MailKeys
			if k.parse(r.indexEntry.keys) {
				c.facts[i] = truth(k.Day != noDay && q.in(k.Day))
			}
		case x.gone[i] && !r.cut && !isSignature(q.Field):
			c.facts[i] = isFalse
		}
	}
}

// learnHeads answers from a message's header text. What is not in text that was cut may be in the rest.
func (x *search) learnHeads(c *candidate, r *indexReader, text []byte) {
	for i, q := range x.leafs {
		switch {
		case c.facts[i] != isOpen || isSignature(q.Field):
		case q.Op == QueryText && bytes.Contains(text, x.folds[i]):
			c.facts[i] = isTrue
		case q.Op == QueryHeader:
			if has := linesHave(text, x.names[i], x.folds[i]); has || !r.cut {
				c.facts[i] = truth(has)
			}
		}
	}
}

// learnText answers from a message's body text, after learnHeads.
func (x *search) learnText(c *candidate, r *indexReader, text []byte) {
	for i, q := range x.leafs {
		if c.facts[i] == isOpen && (q.Op == QueryBody || q.Op == QueryText) {
			if has := bytes.Contains(text, x.folds[i]); has || !r.cut {
				c.facts[i] = truth(has)
			}
		}
	}
}

// linesHave looks for a text in the lines that begin with a name.
func linesHave(lines, name, text []byte) bool {
	for len(lines) > 0 {
		line := lines
		if i := bytes.IndexByte(lines, '\n'); i >= 0 {
			line, lines = lines[:i], lines[i+1:]
		} else {
			lines = nil
		}
		if bytes.HasPrefix(line, name) && bytes.Contains(line[len(name):], text) {
			return true
		}
	}
	return false
}

// stage learns more of the open candidates and returns those that stay open.
func (x *search) stage(open []candidate, want Want, learn func(*candidate, *Content) error) ([]candidate, error) {
	uids := make([]UID, len(open))
	for i := range open {
		uids[i] = open[i].UID
	}
	left, next := open[:0], 0
	err := x.s.List(x.box, uids, want, func(m *Listed) error {
		for next < len(open) && open[next].UID < m.UID {
			next++
		}
		if next == len(open) || m.Content == nil {
			return nil
		}
		c := open[next]
		next++
		err := x.s.crew.Guard("search message", func() error { return learn(&c, m.Content) })
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil { // one message that can't be read does not spoil the search of all others
			x.s.log.Error("search", "blob", c.Blob, "err", err)
			return nil
		}
		if v := x.eval(x.query, &c.Message, c.facts); v == isTrue {
			x.found = append(x.found, Found{c.UID, c.ModSeq})
		} else if v == isOpen {
			left = append(left, c)
		}
		return nil
	})
	return left, err
}

// eval is what is known so far of a query about a message.
func (x *search) eval(q *Query, m *Message, facts []verdict) verdict {
	switch q.Op {
	case QueryAll:
		return isTrue
	case QueryNot:
		return isTrue - x.eval(q.Kids[0], m, facts)
	case QueryAnd, QueryOr:
		end := isFalse
		if q.Op == QueryOr {
			end = isTrue
		}
		v := isTrue - end
		for _, k := range q.Kids {
			switch got := x.eval(k, m, facts); {
			case got == end:
				return end
			case got == isOpen:
				v = isOpen
			}
		}
		return v
	}
	if q.Op < QuerySent {
		return q.rowVerdict(m)
	}
	if facts == nil {
		return isOpen
	}
	return facts[q.fact]
}

func (q *Query) rowVerdict(m *Message) verdict {
	ok := false
	switch q.Op {
	case QueryUIDs:
		_, ok = slices.BinarySearch(q.UIDs, m.UID)
	case QueryUIDRange:
		ok = q.in(int64(m.UID))
	case QueryFlags:
		ok = m.Flags.Has(q.Flags)
	case QueryInternal:
		ok = q.in(m.Internal.Unix())
	case QuerySaved:
		ok = q.in(m.Saved.Unix())
	case QuerySize:
		ok = q.in(m.Size)
	case QueryModSeq:
		ok = q.in(int64(m.ModSeq))
	case QueryThread:
		ok = m.Thread == q.Lo
	case QueryBlob:
		ok = int64(m.Blob) == q.Lo
	}
	return truth(ok)
}

func (q *Query) in(n int64) bool { return q.Lo <= n && n <= q.Hi }

func truth(ok bool) verdict {
	if ok {
		return isTrue
	}
	return isFalse
}

// learnHeader answers what the header block can answer.
func (x *search) learnHeader(c *candidate, m *Content) error {
	h, err := m.WholeHeader()
	if err != nil {
		return err
	}
	charset := h.charset()
	for i, q := range x.leafs {
		switch {
		case c.facts[i] != isOpen:
		case q.Op == QuerySent:
			day := mailDay(h)
			c.facts[i] = truth(day != noDay && q.in(day))
		case q.Op == QueryHeader:
			c.facts[i] = truth(x.headerHas(h, charset, q.Field, x.folds[i]))
		case q.Op == QueryText:
			if x.headerHas(h, charset, "", x.folds[i]) {
				c.facts[i] = isTrue
			}
		}
	}
	return nil
}

// headerHas looks for folded text in the fields of a name, or in all fields that people read.
func (x *search) headerHas(h Header, charset, name string, text []byte) bool {
	var buf []byte
	for i := range h {
		switch {
		case name != "" && !strings.EqualFold(h[i].Name, name), name == "" && isSignature(h[i].Name):
			continue
		case len(text) == 0:
			return true
		}
		buf = searchField(buf[:0], h[i], charset, name == "")
		if bytes.Contains(buf, text) {
			return true
		}
	}
	return false
}

// searchField appends a field's decoded value folded, with its name in front if that is wanted. Addresses with comments or
// blanks inside follow once more as an envelope has them, which is what FROM and the like search (RFC 9051 §6.4.4).
func searchField(dst []byte, f Field, charset string, named bool) []byte {
	if named {
		dst = append(Fold(dst, f.Name), ": "...)
	}
	v := unfold(f.Value)
	if isASCII(v) {
		dst = foldPhrase(dst, DecodeWords(v))
	} else {
		dst = foldPhrase(dst, decodeWords(v, charset))
	}
	if hasAddresses(f.Name) && (strings.Contains(v, "(") || strings.Contains(v, "@ ") || strings.Contains(v, " @")) {
		for _, a := range ParseAddressList(v) {
			if a.Domain != "" {
				dst = Fold(append(dst, ' '), a.Local+"@"+a.Domain)
			}
		}
	}
	return dst
}

func hasAddresses(field string) bool {
	switch strings.ToLower(field) {
	case "from", "to", "cc", "bcc", "sender", "reply-to":
		return true
	}
	return false
}

// isSignature says whether the field holds only what machines check: base64 that would match any short word.
func isSignature(name string) bool {
	return hasPrefixFold(name, "ARC-") || hasPrefixFold(name, "X-Google-") || strings.EqualFold(name, "DKIM-Signature") ||
		strings.EqualFold(name, "X-MS-Exchange-AntiSpam-MessageData-0")
}

// learnBody answers what the body can answer, which is all that is left.
func (x *search) learnBody(c *candidate, m *Content) error {
	x.text.reset()
	for i, q := range x.leafs {
		if c.facts[i] == isOpen && (q.Op == QueryBody || q.Op == QueryText) {
			x.text.add(i, x.folds[i])
		}
	}
	err := bodyText(m, func(folded []byte) error {
		if x.text.feed(folded) {
			return errListFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errListFull) {
		return err
	}
	for i, fact := range c.facts {
		if fact == isOpen {
			c.facts[i] = isFalse
		}
	}
	for _, i := range x.text.found {
		c.facts[i] = isTrue
	}
	return nil
}

// textScan looks for several words in text that comes in pieces.
type textScan struct {
	words [][]byte
	ids   []int
	found []int
	keep  int // octets at the end of a piece that a word may begin in
	buf   []byte
}

func (t *textScan) reset() {
	t.words, t.ids, t.found, t.keep, t.buf = t.words[:0], t.ids[:0], t.found[:0], 0, t.buf[:0]
}

// add has a word looked for; the empty one is in every text.
func (t *textScan) add(id int, word []byte) {
	if len(word) == 0 {
		t.found = append(t.found, id)
		return
	}
	t.words, t.ids, t.keep = append(t.words, word), append(t.ids, id), max(t.keep, len(word)-1)
}

// feed looks at the next piece, and says whether all words have been found.
func (t *textScan) feed(piece []byte) bool {
	t.buf = append(t.buf, piece...)
	for i := 0; i < len(t.words); {
		if !bytes.Contains(t.buf, t.words[i]) {
			i++
			continue
		}
		t.found = append(t.found, t.ids[i])
		t.words, t.ids = slices.Delete(t.words, i, i+1), slices.Delete(t.ids, i, i+1)
	}
	t.buf = append(t.buf[:0], t.buf[max(0, len(t.buf)-t.keep):]...)
	return len(t.words) == 0
}

// bodyText gives the folded text of a message's body to fn, in pieces: every text part, the headers of messages inside,
// and the names of attachments. A line end divides what does not belong together.
func bodyText(m *Content, fn func(folded []byte) error) error {
	return partText(m, m.Tree(), fn)
}

func partText(m *Content, p *Part, fn func([]byte) error) error {
	line, err := partLines(m, p)
	if err != nil {
		return err
	}
	if len(line) > 0 {
		if err := fn(line); err != nil {
			return err
		}
	}
	for _, kid := range p.Parts {
		if err := partText(m, kid, fn); err != nil {
			return err
		}
	}
	if p.Type != "text" {
		return nil
	}
	text := p.Text(m)
	if p.Subtype == "html" {
		text = HTMLText(text)
	}
	return eachFolded(text, p.BodyLen, fn)
}

// partLines is what a part says beside its body: its file's name, its description, the header of a message inside; each line
// folded.
func partLines(m *Content, p *Part) ([]byte, error) {
	var line []byte
	if name := p.Filename(); name != "" {
		line = append(Fold(line, name), '\n')
	}
	if p.Desc != "" {
		line = append(Fold(line, DecodeWords(p.Desc)), '\n')
	}
	if !p.IsMessage() {
		return line, nil
	}
	inner := p.Parts[0]
	h := make([]byte, min(inner.HeaderLen, headMax))
	n, err := io.ReadFull(io.NewSectionReader(m, inner.HeaderOff, int64(len(h))), h)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return line, err
	}
	fields := ParseHeader(h[:n])
	charset := fields.charset()
	for i := range fields {
		if !isSignature(fields[i].Name) {
			line = append(searchField(line, fields[i], charset, true), '\n')
		}
	}
	return line, nil
}

// eachFolded gives text of about so many octets folded to fn, in pieces, and a line end after it.
func eachFolded(text io.Reader, about int64, fn func([]byte) error) error {
	f := newFoldReader(text, about)
	for {
		piece, err := f.next()
		if err == io.EOF {
			return fn([]byte("\n"))
		}
		if err != nil {
			return err
		}
		if err := fn(piece); err != nil {
			return err
		}
	}
}
