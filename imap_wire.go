// IMAP's grammar as a client writes it: the parser of one command's arguments.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	imapLiteralBefore = 1 << 10         // octets of a literal before login
	imapLiteralMax    = 100 << 10       // octets of a literal that is not a message
	imapCommandMax    = 1 << 20         // octets of all lines and literals of a command, messages not counted
	imapLiteralWait   = 5 * time.Minute // for 32 KiB of a literal
	imapNesting       = 50              // parentheses in parentheses
	imapListMax       = 10_000          // items of one list
	imapFlagsMax      = 500             // keywords in one command; a message keeps maxMsgKeywords
	imapHeldAll       = 8 << 20         // octets of commands that have not ended, of all sessions together
	imapHeldFree      = 32 << 10        // of one command that do not count, or else one person's commands would be everybody's
)

// imapParser reads the arguments of one command. It keeps the first error and then yields zero values, so a command
// reads straight through and asks end at the end.
type imapParser struct {
	c     *imapConn
	line  string // the line being read; after a literal, the one that follows it
	rest  string // what is left of it
	took  int    // octets of earlier lines and literals
	held  int64  // of them, what counts among all that is held
	depth int    // of parentheses
	err   error

	lenient bool // sequence numbers beyond the end are left out
}

// fail notes the first thing that is wrong.
func (p *imapParser) fail(format string, a ...any) {
	if p.err == nil {
		p.err = imapBad(imapText(fmt.Sprintf(format, a...)))
	}
	p.rest = ""
}

// refuse notes a failure that is not the client's grammar.
func (p *imapParser) refuse(err error) {
	if p.err == nil {
		p.err = err
	}
	p.rest = ""
}

// end checks that the command ends here, and returns the first error.
func (p *imapParser) end() error {
	if p.err == nil && p.rest != "" {
		p.fail("Unexpected %.20q", p.rest)
	}
	return p.err
}

// take reads s, whatever its case, if it comes next.
func (p *imapParser) take(s string) bool {
	if p.err == nil && len(p.rest) >= len(s) && strings.EqualFold(p.rest[:len(s)], s) {
		p.rest = p.rest[len(s):]
		return true
	}
	return false
}

// need reads s, which must come next.
func (p *imapParser) need(s string) {
	if !p.take(s) {
		p.fail("Expected %q at %.20q", s, p.rest)
	}
}

// space reads the blank between two words. Some clients send several.
func (p *imapParser) space() {
	p.need(" ")
	p.blanks()
}

// blanks passes over blanks, and says whether there were any.
func (p *imapParser) blanks() bool {
	n := len(p.rest)
	p.rest = strings.TrimLeft(p.rest, " ")
	return len(p.rest) < n
}

// next says whether one of the octets comes next, without reading it.
func (p *imapParser) next(octets string) bool {
	return p.err == nil && p.rest != "" && strings.IndexByte(octets, p.rest[0]) >= 0
}

// span reads the octets up to the first that ok refuses; there must be one.
func (p *imapParser) span(what string, ok func(b byte) bool) string {
	i := 0
	for i < len(p.rest) && ok(p.rest[i]) {
		i++
	}
	if i == 0 {
		p.fail("Expected %s at %.20q", what, p.rest)
		return ""
	}
	s := p.rest[:i]
	p.rest = p.rest[i:]
	return s
}

// imapAtomChar is ATOM-CHAR (RFC 9051 §9), and octets above 127, which some clients send unasked.
func imapAtomChar(b byte) bool {
	return b > ' ' && b != 0x7f && strings.IndexByte(`(){%*"\]`, b) < 0
}

func (p *imapParser) atom() string { return p.span("an atom", imapAtomChar) }

// tag reads a command's tag; without one, the answer is tagged with "*".
func (p *imapParser) tag() string {
	t := p.span("a tag", func(b byte) bool { return (imapAtomChar(b) || b == ']') && b != '+' && b < 0x80 })
	p.space()
	if p.err != nil {
		return "*"
	}
	return t
}

// commandName reads the command's name in capitals, two words if it begins with UID.
func (p *imapParser) commandName() string {
	name := strings.ToUpper(p.atom())
	if name == "UID" {
		p.space()
		name, p.c.uid = "UID "+strings.ToUpper(p.atom()), true
	}
	return name
}

// astring reads an atom (in which "]" is allowed) or a string.
func (p *imapParser) astring() string {
	if p.next(`"{`) {
		return p.string()
	}
	return p.span("a string", func(b byte) bool { return imapAtomChar(b) || b == ']' })
}

// string reads a quoted string or a literal. A backslash makes the next octet literal, whatever it is.
func (p *imapParser) string() string {
	if p.next("{") {
		return p.stringLiteral()
	}
	p.need(`"`)
	var sb strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch b := p.rest[i]; {
		case b == '"':
			p.rest = p.rest[i+1:]
			return sb.String()
		case b == '\\' && i+1 < len(p.rest):
			i++
			sb.WriteByte(p.rest[i])
		case b == 0:
			p.fail("NUL in a string")
			return ""
		default:
			sb.WriteByte(b)
		}
	}
	p.fail("A string has no end")
	return ""
}

// nstring reads a string or NIL, which becomes "".
func (p *imapParser) nstring() string {
	if p.take("NIL") {
		return ""
	}
	return p.string()
}

// literal8 reads "~{n}", which may hold NULs (RFC 3516 §4.2).
func (p *imapParser) literal8() string { return p.smallLiteral(true) }

func (p *imapParser) stringLiteral() string { return p.smallLiteral(false) }

// smallLiteral reads a literal that is no message into memory.
func (p *imapParser) smallLiteral(nul bool) string {
	n, sync, _ := p.literalSize()
	limit := int64(imapLiteralMax)
	if p.c.state == imapNotAuth {
		limit = imapLiteralBefore
	}
	if p.err != nil {
		return ""
	}
	if n > limit || int64(p.took)+n > imapCommandMax {
		p.refuse(imapNo("TOOBIG", "The literal is too big"))
		return ""
	}
	if !p.hold(n) {
		return ""
	}
	var buf bytes.Buffer
	p.readLiteral(&buf, n, sync)
	if !nul && bytes.IndexByte(buf.Bytes(), 0) >= 0 {
		p.fail("NUL in a string")
	}
	p.took += int(n)
	return buf.String()
}

// hold counts octets that are kept until the command ends. It refuses them when all sessions together hold too much, and says
// so in words that let the client try again.
func (p *imapParser) hold(n int64) bool {
	all := &p.c.srv.told
	more := int64(p.took) + n - imapHeldFree - p.held
	switch {
	case more <= 0:
		return true
	case all.Load()+more > imapHeldAll:
		p.refuse(imapNo("UNAVAILABLE", "Too many long commands at once, try again later"))
		return false
	}
	all.Add(more)
	p.held += more
	return true
}

// letGo ends what hold counts.
func (p *imapParser) letGo() {
	p.c.srv.told.Add(-p.held)
	p.held = 0
}

// literalSize reads "{n}", "{n+}" or "~{n}" (RFC 9051 §4.3, RFC 7888) at the end of the line. The literal itself stays
// unread; whoever refuses it just returns.
func (p *imapParser) literalSize() (n int64, sync, binary bool) {
	binary = p.take("~")
	n, sync, ok := imapLiteralAt(p.rest)
	if !ok || p.err != nil {
		p.fail("Expected a literal at %.20q", p.rest)
		return 0, false, false
	}
	return n, sync, binary
}

// imapLiteralAt parses a literal's announcement that is all of s.
func imapLiteralAt(s string) (n int64, sync, ok bool) {
	s, ok = strings.CutPrefix(s, "{")
	s, ok2 := strings.CutSuffix(s, "}")
	s, plus := strings.CutSuffix(s, "+")
	n, err := strconv.ParseInt(s, 10, 64)
	return n, !plus, ok && ok2 && err == nil && s[0] != '-' && s[0] != '+'
}

// readLiteral copies a literal to w, and reads the line that follows it. An error of w is kept as the command's, after
// the whole literal has been read.
func (p *imapParser) readLiteral(w io.Writer, n int64, sync bool) {
	if sync {
		p.c.putf("+ Ready for %d octets\r\n", n)
		if p.c.w.Flush() != nil {
			p.refuse(imapErrLost)
			return
		}
	}
	var failed error
	buf := make([]byte, min(n, 32<<10))
	for left := n; left > 0; {
		p.c.wait(p.c.timeLimit(imapLiteralWait))
		k, err := io.ReadFull(p.c.r, buf[:min(left, int64(len(buf)))])
		if err != nil {
			p.refuse(cmp.Or(p.c.lost(err), imapErrLost))
			return
		}
		left -= int64(k)
		if failed == nil {
			_, failed = w.Write(buf[:k])
		}
	}
	p.nextLine()
	if failed != nil {
		p.refuse(failed)
	}
}

// nextLine reads on after a literal.
func (p *imapParser) nextLine() {
	p.took += len(p.line)
	line, err := p.c.nextLine()
	p.line, p.rest = line, line
	switch {
	case err != nil:
		p.refuse(cmp.Or(p.c.lost(err), imapErrLost))
	case p.took > imapCommandMax:
		p.refuse(imapNo("TOOBIG", "The command is too long"))
	default:
		p.hold(int64(len(line)))
	}
}

// lost is err if the client should hear of it before the connection ends.
func (c *imapConn) lost(err error) error {
	if errors.Is(err, errIdle) || errors.Is(err, errStopping) || errors.Is(err, errLineTooLong) {
		return fmt.Errorf("in a literal: %w", err)
	}
	return nil
}

// drain reads what is left of a command that ended before all its lines were read: a client that uses LITERAL+ sends the
// literal and the rest of the command without waiting, and they must not be taken for commands. One that waits is told
// by the tagged answer not to send it.
func (p *imapParser) drain() error {
	for {
		if p.err != nil && p.c.clientError("", p.err) == nil {
			return p.err
		}
		i := strings.LastIndexByte(p.line, '{')
		if i < 0 {
			return nil
		}
		n, sync, ok := imapLiteralAt(p.line[i:])
		if !ok || sync {
			return nil
		}
		limit := int64(imapLiteralBefore)
		if p.c.state != imapNotAuth {
			limit = 2 * int64(p.c.srv.cfg.Limits.Message)
		}
		if n > limit {
			p.c.putf("* BYE [TOOBIG] The literal is too big\r\n")
			return imapErrLost
		}
		skip := &imapParser{c: p.c, line: p.line, took: p.took}
		skip.readLiteral(io.Discard, n, false)
		p.line, p.took = skip.line, skip.took
		p.err = cmp.Or(skip.err, p.err)
	}
}

// number reads a number of at most 32 bits.
func (p *imapParser) number() uint32 {
	s := p.digits()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil && p.err == nil {
		p.fail("Bad number %.20q", s)
	}
	return uint32(n)
}

// number64 reads a number of at most 63 bits (RFC 9051 §9 number64; mod-sequences are such).
func (p *imapParser) number64() int64 {
	s := p.digits()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && p.err == nil {
		p.fail("Bad number %.20q", s)
	}
	return n
}

func (p *imapParser) digits() string {
	return p.span("a number", func(b byte) bool { return '0' <= b && b <= '9' })
}

// list reads items in parentheses, divided by blanks; there may be none. Blanks inside of the parentheses, which some clients
// send, mean nothing. item must read something.
func (p *imapParser) list(item func()) {
	p.enter()
	for n := 0; p.err == nil; n++ {
		apart := p.blanks()
		if p.take(")") {
			break
		}
		if n > 0 && !apart {
			p.need(" ")
		}
		if n >= imapListMax {
			p.fail("The list is too long")
		}
		item()
	}
	p.depth--
}

// enter reads an opening parenthesis and limits how deep they may be nested; whoever reads the closing one takes one
// from depth.
func (p *imapParser) enter() {
	p.need("(")
	p.depth++
	if p.depth > imapNesting {
		p.fail("Too many parentheses")
	}
}

// date reads a date, quoted or not: date = date-text / DQUOTE date-text DQUOTE. It is midnight UTC of that day.
func (p *imapParser) date() time.Time {
	quoted := p.take(`"`)
	s := p.span("a date", func(b byte) bool { return b != ' ' && b != '"' && b != ')' && b > ' ' })
	if quoted {
		p.need(`"`)
	}
	t, err := time.Parse("2-Jan-2006", s)
	if err != nil {
		p.fail("Bad date %.20q", s)
	}
	return t
}

// datetime reads date-time (RFC 9051 §9): "dd-Mon-yyyy hh:mm:ss +zzzz", the day with a space or a zero in front.
func (p *imapParser) datetime() time.Time {
	s := p.string()
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		p.fail("Bad date and time %.30q", s)
	}
	return t
}

// flag reads one flag or keyword into f. Unknown system flags are refused, also \Recent, which only the server may set.
func (p *imapParser) flag(f Flags) Flags {
	start := p.rest
	p.take(`\`)
	p.atom()
	if p.err != nil {
		return f
	}
	if strings.Count(f.Words, " ") >= imapFlagsMax { // sorting each in costs more the more there are
		p.fail("Too many flags")
		return f
	}
	f, ok := f.ParseFlag(start[:len(start)-len(p.rest)])
	if !ok {
		p.fail("Unknown flag %.30q", start[:len(start)-len(p.rest)])
	}
	return f
}

// flags reads a list of flags, with parentheses or, as STORE allows, without.
func (p *imapParser) flags() Flags {
	var f Flags
	if p.next("(") {
		p.list(func() { f = p.flag(f) })
		return f
	}
	f = p.flag(f)
	for p.take(" ") {
		f = p.flag(f)
	}
	return f
}
