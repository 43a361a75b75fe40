// MIME: bytes become a tree of parts with offsets, learned while they stream past.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// Limits of a tree. A message that exceeds one is never refused: what is beyond becomes the opaque body of the part
// that holds it.
const (
	maxMIMEDepth  = 100     // multiparts and messages inside each other
	maxMIMEParts  = 10000   // in one message
	maxBoundary   = 500     // octets; RFC 2046 §5.1.1 allows 70
	maxPartHeader = 1 << 20 // octets of one header block that are looked at
	maxTreeText   = 1 << 20 // octets of all the names, parameters and envelopes in one tree
	maxDashes     = 8       // lines of one header block that may be a boundary of its own
	maxLine       = 998     // octets of a line without its CRLF (RFC 5322 §2.1.1)
)

// Part is one node of a message's MIME tree (RFC 2045). Offsets count octets from the start of the message.
//
// Every tree that MIMEReader or UnmarshalPart gives keeps these promises:
//
//   - BodyOff = HeaderOff + HeaderLen; the Parts lie inside their parent's body, in order,
//     without overlap. A message/rfc822 body is exactly its inner message.
//   - Type is "multipart" if and only if Parts is not empty: a multipart without a usable
//     boundary, or in which none was found, is shown as text/plain (RFC 2045 §5.2).
//   - Type/Subtype is message/rfc822 or message/global if and only if Envelope is set, and
//     then Parts is the one inner message.
//   - An Opaque part hides structure that was not looked into, because of a limit or
//     because a message/rfc822 came in base64. An opaque leaf is shown as
//     application/octet-stream.
type Part struct {
	HeaderOff, HeaderLen int64 // the header block with its final empty line
	BodyOff, BodyLen     int64
	Lines                int64 // line ends in the body (and one for an unfinished last line)

	Type, Subtype string // lower case; text/plain unless said otherwise
	Params        []Param
	ID, Desc      string // Content-ID, Content-Description, raw (valid UTF-8)
	Encoding      string // Content-Transfer-Encoding, lower case; "7bit" unless said
	MD5           string
	Disp          string // Content-Disposition, lower case; "" none
	DispParams    []Param
	Lang          []string
	Location      string

	// What was seen in the body, for a multipart or message in everything inside it.
	Has8bit  bool // an octet above 127
	HasNUL   bool
	LongLine bool // a line over 998 octets
	BareCR   bool // a CR that no LF follows
	BareLF   bool // a line end without its CR
	CRLines  bool // the whole message has no LF, and CRs end its lines

	Header8bit bool // an octet above 127 in the part's own header block
	HeaderUgly bool // a NUL, a long line, a bare CR or LF there
	Opaque     bool

	Envelope *Envelope // of the message inside, for message/rfc822 and message/global
	Parts    []*Part   // of a multipart; the one inner message of a message/rfc822
}

// IsMessage says whether p holds an inner message, p.Parts[0].
func (p *Part) IsMessage() bool { return p.Envelope != nil }

// IsMultipart says whether p is a multipart; it has parts then.
func (p *Part) IsMultipart() bool { return p.Type == "multipart" }

// Is says whether the part is of that media type, both halves in lower case.
func (p *Part) Is(typ, subtype string) bool { return p.Type == typ && p.Subtype == subtype }

// Param is the value of the Content-Type parameter of that (lower case) name, or "".
func (p *Part) Param(name string) string { return findParam(p.Params, name) }

// MIMEReader is an io.Writer that learns the tree of the message written to it.
//
// It works line by line and keeps only the header block it is in, or the start of a line that may be a boundary; memory
// is bounded by the limits above, and time is linear. Lines end in CRLF or LF; a CR anywhere else is data, but in a message
// that has no LF at all: there it is what ends lines, as on old Macs, if the message is at hand (maxPartHeader). An outer
// boundary ends the parts inside (RFC 2046 §5.1.2), and so does the end of the message: damaged mail has a tree too.
type MIMEReader struct {
	root  *Part
	stack []mimeFrame // from root to the part in hand

	off     int64 // octets seen
	lines   int64 // line ends seen
	lineOff int64 // where the line in hand begins
	line    []byte
	eol     int        // octets of its line end: 2, 1, or 0 for an unfinished last line
	lastCR  bool       // the octet before this one was a CR
	seen    octetFlags // in the line in hand
	prevOff int64      // where the line before began
	prevEnd int64      // and ended, without its line end

	inHeader bool
	head     []byte
	headSeen octetFlags
	guess    string // the line before may be the boundary that this says
	dashes   int    // lines in the header in hand that were asked whether they are a boundary

	parts    int
	full     bool   // maxMIMEParts is reached, or no room is left: boundaries mean nothing any more
	textLeft int    // of maxTreeText
	charset  string // of the first text that is not in UTF-8
	done     bool

	room    func(octets int64) bool // nil: always
	paid    int                     // octets of head and line that room was found for
	held    int64
	refused bool
}

// mimeFrame is a part that is still open.
type mimeFrame struct {
	part     *Part
	boundary []byte // of a multipart; nil for anything else
	shorter  []byte // what it is if its field had to be quoted and was not: the first line that is one of them decides
	startNo  int64  // MIMEReader.lines at the start of the body
	ended    bool   // the closing boundary was seen
	seen     octetFlags
}

// octetFlags says what has been seen in a stretch of octets.
type octetFlags struct{ high, nul, long, cr, lf bool }

func (f *octetFlags) or(g octetFlags) {
	f.high, f.nul, f.long = f.high || g.high, f.nul || g.nul, f.long || g.long
	f.cr, f.lf = f.cr || g.cr, f.lf || g.lf
}

// NewMIMEReader is ready for the first octet of a message's header.
func NewMIMEReader() *MIMEReader { return NewMIMEReaderWithin(nil) }

// NewMIMEReaderWithin is NewMIMEReader with a budget: room is asked before the reader or its tree grows by so many
// octets, and says whether they may be held. They are held until the caller drops reader and tree; Held says how many
// to give back.
//
// Where room says no, the reader goes on with what it has: what is left of a header is not looked at, and what is left
// of the message is the opaque body of the part in hand, just as beyond the limits above. Refused tells, and a caller
// that has kept the message can learn it again when there is room.
func NewMIMEReaderWithin(room func(octets int64) bool) *MIMEReader {
	m := &MIMEReader{root: &Part{}, textLeft: maxTreeText, room: room}
	m.take(partCost)
	m.open(m.root)
	return m
}

// Octets in memory of a part, beside its strings, and steps in which room for a header is asked for.
const (
	partCost = 320
	headStep = 8 << 10
)

// take asks for n more octets.
func (m *MIMEReader) take(n int64) bool {
	if m.room != nil && !m.room(n) {
		m.refused = true
		return false
	}
	m.held += n
	return true
}

// headRoom says how many of n more octets of a header, or of a line that is not over, may be kept.
func (m *MIMEReader) headRoom(n int) int {
	n = min(n, maxPartHeader-len(m.head)-len(m.line))
	for m.paid < len(m.head)+len(m.line)+n {
		if !m.take(headStep) {
			return max(0, m.paid-len(m.head)-len(m.line))
		}
		m.paid += headStep
	}
	return n
}

// Held is how many octets room was asked for and found.
func (m *MIMEReader) Held() int64 { return m.held }

// Refused says whether the tree is poorer than the message because there was no room.
func (m *MIMEReader) Refused() bool { return m.refused }

// Write never fails.
func (m *MIMEReader) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n') + 1
		if i == 0 {
			m.piece(p, false)
			break
		}
		m.piece(p[:i], true)
		p = p[i:]
	}
	return n, nil
}

// Tree ends the message and returns its tree. Nothing may be written after it.
func (m *MIMEReader) Tree() *Part {
	if m.done {
		return m.root
	}
	m.done = true
	if m.hasCRLines() {
		m.rereadLines()
		return m.root
	}
	if m.off > m.lineOff {
		m.seen.cr = m.seen.cr || m.lastCR
		m.eol = 0
		m.endLine(m.line)
	}
	for m.inHeader {
		m.endHeader(m.off, false)
	}
	lines := m.lines
	if m.prevEnd == m.off && m.prevOff < m.off {
		lines++
	}
	for len(m.stack) > 0 {
		m.closeTop(m.off, lines)
	}
	return m.root
}

// hasCRLines says whether all of the message is one line with CRs in it.
func (m *MIMEReader) hasCRLines() bool {
	return m.lines == 0 && m.off == int64(len(m.line)) && bytes.IndexByte(m.line, '\r') >= 0
}

// rereadLines learns the tree again with each CR as a line end. No octet moves, so its offsets are the message's.
func (m *MIMEReader) rereadLines() {
	again := NewMIMEReaderWithin(m.room)
	for i, b := range m.line { // in its place: it may be long
		if b == '\r' {
			m.line[i] = '\n'
		}
	}
	again.Write(m.line)
	m.root = again.Tree()
	m.root.markCRLines()
	m.held += again.held
	m.refused = m.refused || again.refused
}

// markCRLines says of a part and those in it that their bare LFs are CRs in the message.
func (p *Part) markCRLines() {
	p.BareCR, p.BareLF, p.CRLines = p.BareLF, false, true
	for _, c := range p.Parts {
		c.markCRLines()
	}
}

// crLines gives a copy of b with LFs for CRs if there is no LF in it, else b itself.
func crLines(b []byte) []byte {
	if bytes.IndexByte(b, '\n') >= 0 || bytes.IndexByte(b, '\r') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
}

func (m *MIMEReader) top() *mimeFrame { return &m.stack[len(m.stack)-1] }

// open begins a part whose header comes next.
func (m *MIMEReader) open(p *Part) {
	p.HeaderOff = m.off
	m.stack = append(m.stack, mimeFrame{part: p})
	m.parts++
	m.inHeader, m.head, m.headSeen, m.dashes = true, m.head[:0], octetFlags{}, 0
}

// piece takes a line, or a part of one when a Write ends inside it.
func (m *MIMEReader) piece(p []byte, ended bool) {
	m.eol = 0
	if ended {
		m.eol = 1
		if n := len(p); (n > 1 && p[n-2] == '\r') || (n == 1 && m.lastCR) {
			m.eol = 2
		}
	}
	m.scan(p, ended)
	before := m.off - m.lineOff
	m.off += int64(len(p))
	m.lastCR = p[len(p)-1] == '\r'
	if before == 0 && ended {
		m.endLine(p) // the usual case copies nothing
		return
	}
	if keep := m.lineRoom(before, p); keep > 0 {
		m.line = append(m.line, p[:m.headRoom(min(keep, len(p)))]...)
	}
	if ended {
		m.endLine(m.line)
	}
}

// lineRoom says how many octets of an unfinished line must still be remembered.
func (m *MIMEReader) lineRoom(before int64, p []byte) int {
	switch {
	case m.inHeader:
		return maxPartHeader - len(m.line)
	case m.guess != "" && before == int64(len(m.line)) && (len(m.line) < len(guessHead) || isGuessHead(m.line)):
		return maxPartHeader - len(m.line) // it may be a header's
	case before == 0 && p[0] != '-', before > 0 && len(m.line) == 0:
		return 0 // no boundary begins like this
	}
	return maxBoundary + 100 - len(m.line)
}

// scan notes what p holds.
func (m *MIMEReader) scan(p []byte, ended bool) {
	f := &m.seen
	f.cr = f.cr || (m.lastCR && p[0] != '\n')
	f.lf = f.lf || m.eol == 1
	text := p[:len(p)-min(m.eol, len(p))]
	length := m.off + int64(len(p)-m.eol) - m.lineOff
	if !ended && p[len(p)-1] == '\r' { // the next Write tells what it is
		text = p[:len(p)-1]
		length--
	}
	f.long = f.long || length > maxLine
	f.cr = f.cr || bytes.IndexByte(text, '\r') >= 0
	f.nul = f.nul || bytes.IndexByte(text, 0) >= 0
	f.high = f.high || !isASCIIFast(text)
}

// isASCIIFast looks at eight octets at a time.
func isASCIIFast(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
	}
	return isASCIIBytes(b)
}

// endLine acts on a whole line, of which line is all or, when it is long, the first octets.
func (m *MIMEReader) endLine(line []byte) {
	if m.eol > 0 {
		m.lines++
	}
	m.tryGuess(line)
	switch {
	case m.boundaryLine(line):
	case m.inHeader && m.boundaryInHeader(line):
	case m.inHeader:
		m.headSeen.or(m.seen)
		m.line = m.line[:0] // line lies in it, or in what the caller has
		m.head = append(m.head, line[:m.headRoom(len(line))]...)
		if isBlankLine(line) && m.eol > 0 {
			m.endHeader(m.off, true)
		}
	default:
		m.top().seen.or(m.seen)
		m.noteGuess(line)
	}
	m.prevOff, m.prevEnd = m.lineOff, m.off-int64(m.eol)
	m.lineOff, m.line, m.seen, m.eol = m.off, m.line[:0], octetFlags{}, 0
}

// boundaryLine acts on a delimiter of one of the open multiparts (RFC 2046 §5.1.1: "--", the boundary, "--" after the
// last part, blanks) and says whether the line was one. The whole line is compared, so a boundary may be the prefix of
// another.
func (m *MIMEReader) boundaryLine(line []byte) bool {
	if m.full || !bytes.HasPrefix(line, []byte("--")) || int64(len(line)) < m.off-m.lineOff {
		return false
	}
	token := bytes.TrimRight(line[2:], " \t\r\n")
	i, last := m.delimited(token, false)
	if i < 0 {
		i, last = m.delimited(token, true)
	}
	switch {
	case i < 0, last && m.stack[i].ended:
		return false
	case !last && (m.parts >= maxMIMEParts || !m.take(partCost)):
		m.full = true
		m.top().part.Opaque = true
		return false
	}
	m.closeAbove(i)
	m.top().seen.or(m.seen)
	m.top().ended = last
	if !last {
		m.open(m.child(m.top().part))
	}
	return true
}

// guessHead begins the first line of a part's header.
const guessHead = "content-"

func isGuessHead(line []byte) bool {
	return hasPrefixFold(string(line[:min(len(line), len(guessHead))]), guessHead)
}

// noteGuess remembers a line that may be a delimiter of the multipart in hand, of which no part was found yet: some programs
// write another boundary into the header than between the parts.
func (m *MIMEReader) noteGuess(line []byte) {
	f := m.top()
	if f.boundary == nil || f.ended || len(f.part.Parts) > 0 || !bytes.HasPrefix(line, []byte("--")) || len(line) > maxBoundary {
		return
	}
	if token := bytes.TrimRight(line[2:], " \t\r\n"); len(bytes.Trim(token, "-")) > 0 {
		m.guess = string(token)
	}
}

// tryGuess takes the line before this one for the first delimiter when this one is the first of a part's header.
func (m *MIMEReader) tryGuess(line []byte) {
	boundary := m.guess
	m.guess = ""
	if boundary == "" || m.inHeader || m.full || m.parts >= maxMIMEParts || !isGuessHead(line) || !m.take(partCost) {
		return
	}
	f := m.top()
	f.boundary, f.shorter = []byte(boundary), nil
	f.part.setBoundary(boundary)
	m.open(m.child(f.part))
	m.top().part.HeaderOff = m.lineOff
}

// delimited finds the innermost open multipart that the token delimits, and whether it ends it; -1 for none. Those that
// have ended are asked last: some programs put parts behind the end.
func (m *MIMEReader) delimited(token []byte, ended bool) (frame int, last bool) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		f := &m.stack[i]
		if f.boundary == nil || f.ended != ended {
			continue
		}
		if is, last := f.isDelimiter(token); is {
			return i, last
		}
	}
	return -1, false
}

// boundaryInHeader acts on the first delimiter of a multipart that stands where its header should have ended, for the empty
// line is not there or holds blanks, and says whether the line was one.
func (m *MIMEReader) boundaryInHeader(line []byte) bool {
	if m.dashes >= maxDashes || m.full || !bytes.HasPrefix(line, []byte("--")) || int64(len(line)) < m.off-m.lineOff {
		return false
	}
	m.dashes++ // each of them reads the header again
	typ, _, params, _ := parseMediaType(ParseHeader(m.head).Get("Content-Type"))
	boundary := strings.TrimRight(findParam(params, "boundary"), " ")
	if typ != "multipart" || boundary == "" || string(bytes.TrimRight(line[2:], " \t\r\n")) != boundary {
		return false
	}
	m.endHeader(m.lineOff, false)
	return m.boundaryLine(line)
}

// isDelimiter says whether the token is the frame's boundary, and whether it is the one that ends the multipart. The
// first that is decides between the two that an unquoted boundary may be.
func (f *mimeFrame) isDelimiter(token []byte) (is, last bool) {
	for _, boundary := range [][]byte{f.boundary, f.shorter} {
		rest, ok := bytes.CutPrefix(token, boundary)
		last = string(rest) == "--"
		if boundary == nil || !ok || (len(rest) > 0 && !last) {
			continue
		}
		if f.shorter != nil {
			f.boundary, f.shorter = boundary, nil
			f.part.setBoundary(string(boundary))
		}
		return true, last
	}
	return false, false
}

// noBoundary stands for the boundary of a multipart that does not say which, until one is guessed. No line is it.
const noBoundary = "\n"

// setBoundary corrects what was kept of the boundary.
func (p *Part) setBoundary(boundary string) {
	for i := range p.Params {
		if p.Params[i].Name == "boundary" {
			p.Params[i].Value = boundary
			return
		}
	}
	p.Params = append(p.Params, Param{"boundary", boundary})
}

// shortBoundary is the boundary as a reader has it that takes a field by the letter: an unquoted value ends at a blank
// or a comment, and single quotes are no quotes. nil when that is the same.
func shortBoundary(field, boundary string) []byte {
	if strings.Contains(field, `"`+boundary) {
		return nil
	}
	short := boundary
	if i := strings.IndexAny(short, " \t("); i > 0 {
		short = short[:i]
	}
	if n := len(short); n > 2 && short[0] == '\'' && short[n-1] == '\'' {
		short = short[1 : n-1]
	}
	if short == boundary {
		return nil
	}
	return []byte(short)
}

// child adds a part to a multipart or message.
func (m *MIMEReader) child(parent *Part) *Part {
	p := &Part{}
	parent.Parts = append(parent.Parts, p)
	return p
}

// closeAbove ends every part inside frame i at the delimiter line in hand. The line end before a delimiter belongs to
// it, unless that is the end of a header.
func (m *MIMEReader) closeAbove(i int) {
	for m.inHeader {
		m.endHeader(m.lineOff, false)
	}
	lines := m.lines
	if m.eol > 0 {
		lines--
	}
	end := m.lineOff
	if len(m.stack) > i+1 && m.prevEnd >= m.top().part.BodyOff {
		end = m.prevEnd
		if m.prevOff == m.prevEnd { // an empty line: nothing of it is left
			lines--
		}
	}
	for len(m.stack) > i+1 {
		m.closeTop(end, lines)
	}
}

// closeTop ends the part in hand: its body stops at end, before which there are so many lines, an unfinished one
// counted.
func (m *MIMEReader) closeTop(end, lines int64) {
	f := m.top()
	p := f.part
	p.BodyLen = end - p.BodyOff
	if p.BodyLen > 0 { // a header that the end cuts short has no line in its body
		p.Lines = lines - f.startNo
	}
	p.Has8bit, p.HasNUL, p.LongLine = f.seen.high, f.seen.nul, f.seen.long
	p.BareCR, p.BareLF = f.seen.cr, f.seen.lf
	switch {
	case len(p.Parts) > 0:
	case p.Opaque:
		p.Type, p.Subtype = "application", "octet-stream"
	case p.Type == "multipart": // no part in it: RFC 2045 §5.2
		p.Type, p.Subtype, p.Params = "text", "plain", nil
	}
	seen := f.seen
	m.stack = m.stack[:len(m.stack)-1]
	if len(m.stack) > 0 {
		m.top().seen.or(seen)
	}
}

// endHeader learns what the header block that stops at end says of its part, and opens the inner message of a
// message/rfc822. Only a complete block has its empty line.
func (m *MIMEReader) endHeader(end int64, complete bool) {
	m.inHeader = false
	f := m.top()
	p := f.part
	p.HeaderLen, p.BodyOff, f.startNo = end-p.HeaderOff, end, m.lines
	if m.eol > 0 && end < m.off { // a delimiter ended it; its line end is counted already
		f.startNo--
	}
	p.Header8bit = m.headSeen.high
	p.HeaderUgly = m.headSeen != octetFlags{high: m.headSeen.high}
	parent := m.parent()
	digest := parent != nil && parent.part.Is("multipart", "digest")
	h := ParseHeader(m.head)
	h = m.bodyInHeader(f, h, digest, complete)
	if parent != nil {
		parent.seen.or(m.headSeen)
		if parent.part.IsMessage() {
			parent.part.Envelope = m.keepEnvelope(ParseEnvelope(h))
		}
	}
	boundary := m.describe(p, h, digest)
	if p.nests() {
		m.nest(f, boundary, h.Get("Content-Type"))
	}
}

// parent is the frame around the one in hand; nil for the message itself.
func (m *MIMEReader) parent() *mimeFrame {
	if len(m.stack) < 2 {
		return nil
	}
	return &m.stack[len(m.stack)-2]
}

// nest gets ready for what is inside a multipart or message, unless that is more than the limits allow.
func (m *MIMEReader) nest(f *mimeFrame, boundary, field string) {
	p := f.part
	switch {
	case p.Opaque, len(m.stack) >= maxMIMEDepth, m.full:
		p.Opaque = true
	case p.Type == "multipart":
		if len(boundary) <= maxBoundary {
			f.boundary, f.shorter = []byte(cmp.Or(boundary, noBoundary)), shortBoundary(field, boundary)
		}
	case m.parts >= maxMIMEParts, p.isEncoded(), !m.take(partCost):
		p.Opaque = true
	default:
		p.Envelope = &Envelope{}
		m.openInner(p, p.BodyOff)
	}
}

// bodyInHeader finds the text that stands in a header block, because the empty line before it is not there, or holds
// blanks. A line that is no field begins the body: where the block has no end at once, else where no field that mail
// uses follows it, for damaged headers go on behind such lines. What follows a semicolon, a comma or looks like a
// parameter was a folded line. A part which holds a message keeps its block. It returns the fields that remain.
func (m *MIMEReader) bodyInHeader(f *mimeFrame, h Header, digest, complete bool) Header {
	if len(m.head) == maxPartHeader {
		return h
	}
	at := -1 // where the body may begin
	before := ""
	for s, off := string(m.head), 0; s != ""; {
		raw, rest := cutField(s)
		name, _, ok := splitField(raw)
		switch {
		case complete && isBlankLine(raw):
			rest = ""
		case !ok && off == 0 && strings.HasPrefix(strings.TrimPrefix(raw, ">"), "From "): // mbox
		case !ok && complete && wasFolded(before, raw):
		case !ok && at < 0:
			at = off
		case ok && at >= 0 && isUsualField(name):
			at = -1
		}
		if at >= 0 && !complete {
			break
		}
		before, s, off = raw, rest, off+len(raw)
	}
	if at < 0 {
		return h
	}
	fields := ParseHeader(m.head[:at])
	typ, _, _, _ := parseMediaType(fields.Get("Content-Type"))
	if typ == "message" || (digest && typ == "") || (complete && typ == "multipart") {
		return h
	}
	f.part.HeaderLen = int64(at)
	f.part.BodyOff = f.part.HeaderOff + int64(at)
	f.startNo -= int64(bytes.Count(m.head[at:], []byte("\n")))
	f.seen.or(m.headSeen)
	return fields
}

// wasFolded says whether a line that is no field belongs to the one before it: blanks in front of it are lost.
func wasFolded(before, line string) bool {
	before = strings.TrimRight(before, " \t\r\n")
	name, _, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
	return strings.HasSuffix(before, ";") || strings.HasSuffix(before, ",") || (ok && isMIMEToken(name))
}

// usualFields are names that say that a header goes on; so do those that begin with usualPrefixes.
var usualFields = map[string]bool{
	"from": true, "to": true, "cc": true, "bcc": true, "date": true, "subject": true, "sender": true, "reply-to": true, "message-id": true,
	"in-reply-to": true, "references": true, "mime-version": true, "return-path": true, "received": true, "received-spf": true,
	"delivered-to": true, "user-agent": true, "status": true, "lines": true, "priority": true, "precedence": true, "importance": true,
	"errors-to": true, "organization": true, "autocrypt": true, "feedback-id": true, "thread-topic": true, "thread-index": true,
}

var usualPrefixes = []string{"content-", "x-", "list-", "resent-", "dkim-", "arc-", "authentication-", "auto-", "domainkey-", "disposition-"}

func isUsualField(name string) bool {
	name = strings.ToLower(name)
	return usualFields[name] || slices.ContainsFunc(usualPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// nests says whether the part's type holds other parts.
func (p *Part) nests() bool {
	return p.Type == "multipart" || p.Is("message", "rfc822") || p.Is("message", "global")
}

// openInner begins the message inside a message/rfc822, whose header starts at once.
func (m *MIMEReader) openInner(p *Part, at int64) {
	m.open(m.child(p))
	m.top().part.HeaderOff = at
}

// describe fills in what the header says, and returns the boundary.
func (m *MIMEReader) describe(p *Part, h Header, digest bool) string {
	charset, boundary := "", ""
	if p.Header8bit {
		charset = cmp.Or(h.charset(), m.charset)
	}
	typ, subtype, params, ok := parseMediaTypeIn(h.Get("Content-Type"), charset)
	switch {
	case ok && len(typ)+len(subtype) < 200:
		p.Type, p.Subtype = strings.Clone(typ), strings.Clone(subtype)
		boundary = strings.TrimRight(findParam(params, "boundary"), " ")
		p.Params = m.keepParams(params)
		m.noteCharset(p)
	case digest && !h.Has("Content-Type"): // RFC 2046 §5.1.5
		p.Type, p.Subtype = "message", "rfc822"
	default:
		p.Type, p.Subtype = "text", "plain"
	}
	p.Encoding, _ = cutToken(strings.TrimLeft(skipCFWS(strings.ToLower(h.Get("Content-Transfer-Encoding"))), `"'= `), ";\"'")
	p.Encoding = strings.Clone(p.Encoding)
	if !isMIMEToken(p.Encoding) || len(p.Encoding) > 40 {
		p.Encoding = "7bit"
	}
	p.ID = m.keepField(h, "Content-ID", charset)
	p.Desc = m.keepField(h, "Content-Description", charset)
	p.MD5 = m.keepField(h, "Content-MD5", charset)
	p.Location = m.keepField(h, "Content-Location", charset)
	if v := h.Get("Content-Disposition"); v != "" {
		var params []Param
		p.Disp, params = parseDisposition(v, charset)
		p.Disp = m.keepText(p.Disp)
		p.DispParams = m.keepParams(params)
	}
	for _, lang := range strings.Split(h.Get("Content-Language"), ",") {
		lang = strings.Trim(lang, " \t")
		if lang != "" && isPrintableASCII(lang) && len(p.Lang) < maxParams {
			p.Lang = append(p.Lang, m.keepText(lang))
		}
	}
	return boundary
}

// keepText is a copy that does not hold on to the header block; "" once maxTreeText is used up.
func (m *MIMEReader) keepText(s string) string {
	if len(s) > m.textLeft || (s != "" && !m.take(int64(len(s)+textCost))) {
		m.textLeft = 0
		return ""
	}
	m.textLeft -= len(s)
	return strings.Clone(s)
}

func (m *MIMEReader) keepField(h Header, name, charset string) string {
	v := h.Get(name)
	if v == "" {
		return ""
	}
	return m.keepText(decodeAround(v, charset))
}

// noteCharset remembers the charset of the first text that has one of its own.
func (m *MIMEReader) noteCharset(p *Part) {
	if m.charset != "" || p.Type != "text" {
		return
	}
	if name := charsetName(p.Param("charset")); name != "utf-8" {
		m.charset = name
	}
}

const paramCost, addressCost, textCost = 32, 48, 16 // octets of the structs, beside their strings, and what a string takes at least

func (m *MIMEReader) keepParams(params []Param) []Param {
	for i, p := range params {
		if m.textLeft < len(p.Name)+len(p.Value)+paramCost || !m.take(paramCost) {
			m.textLeft = 0
			return slices.Clone(params[:i]) // without the room of the others
		}
		m.textLeft -= paramCost
		params[i] = Param{m.keepText(p.Name), m.keepText(p.Value)}
	}
	return slices.Clone(params)
}

func (m *MIMEReader) keepEnvelope(e *Envelope) *Envelope {
	for _, s := range []*string{&e.Date, &e.Subject, &e.InReplyTo, &e.MessageID} {
		*s = m.keepText(*s)
	}
	for _, list := range []*[]Address{&e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc} {
		*list = m.keepAddresses(*list)
	}
	return e
}

func (m *MIMEReader) keepAddresses(list []Address) []Address {
	kept := make([]Address, 0, min(len(list), m.textLeft/addressCost))
	for _, a := range list {
		if m.textLeft < addressCost+len(a.Name)+len(a.Local)+len(a.Domain) || !m.take(addressCost) {
			m.textLeft = 0
			break
		}
		m.textLeft -= addressCost
		kept = append(kept, Address{m.keepText(a.Name), m.keepText(a.Local), m.keepText(a.Domain)})
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}
