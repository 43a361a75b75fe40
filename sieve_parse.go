// Sieve's words and grammar (RFC 5228 §8): source → commands with arguments, tests and blocks, each with its place.
package main

import (
	"strings"
	"unicode/utf8"
)

// What a script may have of each. RFC 5228 §2.10.6 wants 15 levels at least.
const (
	sieveMaxSource = 256 << 10 // octets of a script
	sieveMaxDepth  = 32        // levels of blocks, and of tests within tests
	sieveMaxNodes  = 20_000    // commands and tests
	sieveMaxNumber = 1 << 40
)

// sievePos is a place in a script, both counted from 1; columns are characters.
type sievePos struct{ line, col int }

// sieveNode is a command or a test. What stands below the empty line is set by the compiler.
type sieveNode struct {
	sievePos
	name  string // in small letters
	args  []sieveArg
	tests []*sieveNode
	block []*sieveNode
	paren bool // the tests were in parentheses
	body  bool // it has a block

	cmd   *sieveCommand
	tags  map[string]*sieveArg // by name; a tag's value follows it in args, and is here
	pos   []*sieveArg          // arguments without a tag
	match *sieveMatch
	wrong string // ihave: why it can't be run
}

// sieveKind is what an argument is.
type sieveKind byte

const (
	sieveTagArg  sieveKind = 't'
	sieveNumArg  sieveKind = 'n'
	sieveStrArg  sieveKind = 's' // one string
	sieveListArg sieveKind = 'S' // a list in brackets
)

// sieveArg is one argument as it was written.
type sieveArg struct {
	sievePos
	kind sieveKind
	num  int64
	tag  string
	strs []sieveString

	consts []string // the strings, if none has a variable in it
}

// sieveString is a string of a script; parts is nil without variables in it.
type sieveString struct {
	sievePos
	text  string
	parts []sievePiece
}

// sieveToken is a word of the language: kind is a letter for words and the character itself for punctuation, 0 at the end.
type sieveToken struct {
	sievePos
	kind byte // i identifier, t tag, n number, s string
	text string
	num  int64
}

// sieveLexer gives the words one after the other. After an error it gives none.
type sieveLexer struct {
	src  string
	at   int
	line int
	bol  int // where the line begins
	err  *sieveFault
}

func (l *sieveLexer) here() sievePos {
	return sievePos{l.line, utf8.RuneCountInString(l.src[l.bol:l.at]) + 1}
}

func (l *sieveLexer) fail(p sievePos, text string) sieveToken {
	if l.err == nil {
		l.err = &sieveFault{p, text}
	}
	l.at = len(l.src)
	return sieveToken{sievePos: p}
}

// step goes on by n octets and counts lines.
func (l *sieveLexer) step(n int) {
	for range n {
		if l.src[l.at] == '\n' {
			l.line++
			l.bol = l.at + 1
		}
		l.at++
	}
}

// blanks passes over white space and comments; false if a comment has no end.
func (l *sieveLexer) blanks() bool {
	for l.at < len(l.src) {
		rest := l.src[l.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.step(1)
		case rest[0] == '#':
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.step(n)
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				l.fail(l.here(), "this comment has no end")
				return false
			}
			l.step(n + 4)
		default:
			return true
		}
	}
	return true
}

func sieveIsWord(c byte) bool { return isAlnum(c) || c == '_' }

func (l *sieveLexer) word() string {
	from := l.at
	for l.at < len(l.src) && sieveIsWord(l.src[l.at]) {
		l.at++
	}
	return l.src[from:l.at]
}

// next is the next word.
func (l *sieveLexer) next() sieveToken {
	if !l.blanks() {
		return sieveToken{sievePos: l.here()}
	}
	p := l.here()
	if l.at == len(l.src) {
		return sieveToken{sievePos: p}
	}
	switch c := l.src[l.at]; {
	case isDigit(c):
		return l.number(p)
	case sieveIsWord(c):
		w := l.word()
		if strings.EqualFold(w, "text") && l.at < len(l.src) && l.src[l.at] == ':' {
			l.at++
			return l.multiline(p)
		}
		return sieveToken{p, 'i', strings.ToLower(w), 0}
	case c == ':':
		l.at++
		if l.at == len(l.src) || !sieveIsWord(l.src[l.at]) || isDigit(l.src[l.at]) {
			return l.fail(p, "a tag's name must follow the colon at once")
		}
		return sieveToken{p, 't', strings.ToLower(l.word()), 0}
	case c == '"':
		return l.quoted(p)
	case strings.IndexByte("()[]{},;", c) >= 0:
		l.at++
		return sieveToken{p, c, string(c), 0}
	default:
		r, _ := utf8.DecodeRuneInString(l.src[l.at:])
		return l.fail(p, "unexpected character "+sieveQuote(string(r)))
	}
}

func (l *sieveLexer) number(p sievePos) sieveToken {
	n := int64(0)
	from := l.at
	for l.at < len(l.src) && isDigit(l.src[l.at]) {
		n = min(n*10+int64(l.src[l.at]-'0'), sieveMaxNumber+1)
		l.at++
	}
	if l.at < len(l.src) {
		shift := strings.IndexByte("KMG", l.src[l.at]&^0x20)
		if shift >= 0 {
			shift = 10 * (shift + 1)
			if n > sieveMaxNumber>>shift {
				n = 2 * sieveMaxNumber >> shift
			}
			n <<= shift
			l.at++
		}
		if l.at < len(l.src) && sieveIsWord(l.src[l.at]) {
			return l.fail(p, "a number is digits, and K, M or G at its end")
		}
	}
	if n > sieveMaxNumber {
		return l.fail(p, "the number "+l.src[from:l.at]+" is too big")
	}
	return sieveToken{p, 'n', l.src[from:l.at], n}
}

func (l *sieveLexer) quoted(p sievePos) sieveToken {
	var b strings.Builder
	l.step(1)
	for l.at < len(l.src) {
		switch c := l.src[l.at]; c {
		case '"':
			l.step(1)
			return sieveToken{p, 's', b.String(), 0}
		case 0:
			return l.fail(l.here(), "a NUL in a string")
		case '\\':
			l.step(1)
			if l.at < len(l.src) {
				b.WriteByte(l.src[l.at])
				l.step(1)
			}
		case '\n':
			if !strings.HasSuffix(b.String(), "\r") { // lines end in CRLF, whatever the script was written with
				b.WriteByte('\r')
			}
			b.WriteByte('\n')
			l.step(1)
		default:
			b.WriteByte(c)
			l.step(1)
		}
	}
	return l.fail(p, "this string has no end")
}

// multiline is text: with its lines up to a dot alone (RFC 5228 §2.4.2).
func (l *sieveLexer) multiline(p sievePos) sieveToken {
	line, rest, ok := strings.Cut(l.src[l.at:], "\n")
	head := strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t")
	if !ok || (head != "" && head[0] != '#') {
		return l.fail(l.here(), "only a comment may follow text: on its line")
	}
	l.step(len(line) + 1)
	var b strings.Builder
	for rest != "" {
		line, rest, ok = strings.Cut(rest, "\n")
		n := len(line)
		if ok {
			n++
		}
		line = strings.TrimSuffix(line, "\r")
		if strings.IndexByte(line, 0) >= 0 {
			return l.fail(l.here(), "a NUL in a string")
		}
		l.step(n)
		if line == "." {
			return sieveToken{p, 's', b.String(), 0}
		}
		if strings.HasPrefix(line, "..") { // a dot alone in front stays (RFC 5228 §2.4.2)
			line = line[1:]
		}
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return l.fail(p, "text: has no end: a line with only a dot is missing")
}

// sieveParser reads the grammar. It holds one word ahead.
type sieveParser struct {
	lex   sieveLexer
	tok   sieveToken
	nodes int
}

// sieveParse reads a script's commands. The fault is where the grammar was left.
func sieveParse(source string) ([]*sieveNode, *sieveFault) {
	p := &sieveParser{lex: sieveLexer{src: strings.TrimPrefix(source, "\ufeff"), line: 1}}
	switch {
	case len(source) > sieveMaxSource:
		return nil, &sieveFault{sievePos{1, 1}, "the script is too long"}
	case !utf8.ValidString(source):
		p.lex.step(len(sieveValid(source)))
		return nil, &sieveFault{p.lex.here(), "this is not UTF-8"}
	}
	p.tok = p.lex.next()
	all := p.commands(0)
	if p.lex.err == nil && p.tok.kind != 0 {
		p.fail("a command is expected here, and not " + p.say())
	}
	if p.lex.err != nil {
		return nil, p.lex.err
	}
	return all, nil
}

// sieveValid is the part of s that is UTF-8.
func sieveValid(s string) string {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return s[:i]
		}
		i += n
	}
	return s
}

func (p *sieveParser) fail(text string) {
	p.lex.fail(p.tok.sievePos, text)
	p.tok = sieveToken{sievePos: p.tok.sievePos}
}

// say is the word that stands here, for people.
func (p *sieveParser) say() string {
	switch p.tok.kind {
	case 0:
		return "the end"
	case 's':
		return "a string"
	case 't':
		return ":" + p.tok.text
	}
	return sieveQuote(p.tok.text)
}

func (p *sieveParser) take(kind byte) bool {
	if p.tok.kind != kind {
		return false
	}
	p.tok = p.lex.next()
	return true
}

func (p *sieveParser) want(kind byte, text string) {
	if !p.take(kind) {
		p.fail(text + " is expected here, and not " + p.say())
	}
}

// node begins a command or a test with its arguments.
func (p *sieveParser) node(depth int) *sieveNode {
	n := &sieveNode{sievePos: p.tok.sievePos, name: p.tok.text}
	p.nodes++
	switch {
	case depth > sieveMaxDepth:
		p.fail("too many levels")
	case p.nodes > sieveMaxNodes:
		p.fail("too many commands")
	}
	p.take('i')
	for {
		a := sieveArg{sievePos: p.tok.sievePos}
		switch p.tok.kind {
		case 't':
			a.kind, a.tag = sieveTagArg, p.tok.text
		case 'n':
			a.kind, a.num = sieveNumArg, p.tok.num
		case 's':
			a.kind, a.strs = sieveStrArg, []sieveString{{sievePos: p.tok.sievePos, text: p.tok.text}}
		case '[':
			a.kind = sieveListArg
			p.take('[')
			for p.lex.err == nil {
				if p.tok.kind == 's' {
					a.strs = append(a.strs, sieveString{sievePos: p.tok.sievePos, text: p.tok.text})
				}
				p.want('s', "a string")
				if !p.take(',') {
					break
				}
			}
			if p.tok.kind != ']' {
				p.fail("a comma or ] is expected here, and not " + p.say())
			}
		default:
			return n
		}
		n.args = append(n.args, a)
		p.tok = p.lex.next()
	}
}

func (p *sieveParser) commands(depth int) []*sieveNode {
	var all []*sieveNode
	for p.tok.kind == 'i' {
		n := p.node(depth)
		p.testsOf(n, depth)
		switch {
		case p.take(';'):
		case p.take('{'):
			n.body = true
			n.block = p.commands(depth + 1)
			p.want('}', "} or a command")
		default:
			p.fail("a semicolon or a block is expected here, and not " + p.say())
		}
		all = append(all, n)
	}
	return all
}

// testsOf reads the test, or the tests in parentheses, that follow the arguments.
func (p *sieveParser) testsOf(n *sieveNode, depth int) {
	one := func() {
		if p.tok.kind != 'i' {
			p.fail("a test is expected here, and not " + p.say())
			return
		}
		t := p.node(depth)
		p.testsOf(t, depth+1)
		n.tests = append(n.tests, t)
	}
	switch {
	case p.tok.kind == 'i':
		one()
	case p.take('('):
		n.paren = true
		one()
		for p.take(',') {
			one()
		}
		p.want(')', "a comma or )")
	}
}
