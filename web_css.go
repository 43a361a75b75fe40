// Style sheets as browsers read them: tokens, with escapes and comments resolved.
package main

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// webCSSToken is a piece of a style sheet: a mark of one character is its own kind.
type webCSSToken struct {
	kind byte
	text string // of names, strings and hashes with their escapes resolved; of numbers as written
	unit string // of a number, in small letters
}

const (
	webCSSEnd      byte = 0
	webCSSName     byte = 'a'
	webCSSFunction byte = 'f' // a name with "(" behind it
	webCSSString   byte = '"'
	webCSSNumber   byte = '0'
	webCSSComment  byte = 'c'
	webCSSBad      byte = 'x' // what never stays: addresses, strings without an end
)

// plainNumber says whether a number may stay: not too large, in a unit that is known, and negative only where it may be.
func (t webCSSToken) plainNumber(belowZero bool) bool {
	digits := strings.TrimPrefix(t.text, "+")
	if belowZero {
		digits = strings.TrimPrefix(digits, "-")
	}
	whole, part, _ := strings.Cut(digits, ".")
	if len(part) > 6 || strings.Trim(whole+part, "0123456789") != "" || whole+part == "" {
		return false
	}
	n, err := strconv.Atoi("0" + whole)
	return err == nil && n <= webMaxNumber && slices.Contains(webUnits, t.unit)
}

func webCSSTrim(t []webCSSToken) []webCSSToken {
	blank := func(x webCSSToken) bool { return x.kind == ' ' || x.kind == webCSSComment }
	for len(t) > 0 && blank(t[0]) {
		t = t[1:]
	}
	for len(t) > 0 && blank(t[len(t)-1]) {
		t = t[:len(t)-1]
	}
	return t
}

// webCSSSolid leaves blanks and comments out.
func webCSSSolid(t []webCSSToken) []webCSSToken {
	return slices.DeleteFunc(slices.Clone(t), func(x webCSSToken) bool { return x.kind == ' ' || x.kind == webCSSComment })
}

// webCSSIsWord says whether a name has only letters, digits, "-" and "_".
func webCSSIsWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !webCSSWordRune(r) })
}

// webCSSIsIdent says whether a name can be written as it is: with escapes "-20px" can be the text of one.
func webCSSIsIdent(s string) bool {
	first := strings.TrimPrefix(s, "-")
	return webCSSIsWord(s) && first != "" && first[0] != '-' && (first[0] < '0' || first[0] > '9')
}

func webCSSWordRune(r rune) bool {
	return (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || r == '-' || r == '_'
}

func webCSSIsHex(s string) bool {
	return len(s) >= 3 && len(s) <= 8 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func webCSSIsFontName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !webCSSWordRune(r) && r != ' ' && r != '.' && r != ',' })
}

// webCSSReader gives the tokens of a style sheet (CSS Syntax Level 3, §4), in linear time.
type webCSSReader struct {
	s string
	i int
}

// peek is the octet at distance n, 0 behind the end.
func (r *webCSSReader) peek(n int) byte {
	if r.i+n < len(r.s) {
		return r.s[r.i+n]
	}
	return 0
}

func (r *webCSSReader) next() webCSSToken {
	if r.i >= len(r.s) {
		return webCSSToken{}
	}
	c := r.s[r.i]
	switch {
	case webCSSIsBlank(c):
		for r.i < len(r.s) && webCSSIsBlank(r.s[r.i]) {
			r.i++
		}
		return webCSSToken{kind: ' '}
	case c == '/' && r.peek(1) == '*':
		r.skipComment()
		return webCSSToken{kind: webCSSComment}
	case c == '"' || c == '\'':
		return r.readString(c)
	case strings.HasPrefix(r.s[r.i:], "<!--"):
		r.i += 4
		return webCSSToken{kind: ' '}
	case strings.HasPrefix(r.s[r.i:], "-->"):
		r.i += 3
		return webCSSToken{kind: ' '}
	case r.startsNumber():
		return r.readNumber()
	case r.startsName(0):
		return r.readWord()
	case c == '@' && r.startsName(1):
		r.i++
		return webCSSToken{kind: '@', text: strings.ToLower(r.readName())}
	case c == '#' && (r.startsName(1) || isAlnum(r.peek(1)) || r.peek(1) == '-' || r.peek(1) == '_'):
		r.i++
		return webCSSToken{kind: '#', text: r.readName()}
	case strings.IndexByte("{}()[]:;,./*>+~=!&|", c) >= 0:
		r.i++
		return webCSSToken{kind: c}
	}
	r.i++
	return webCSSToken{kind: webCSSBad}
}

func webCSSIsBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func (r *webCSSReader) skipComment() {
	if n := strings.Index(r.s[r.i+2:], "*/"); n >= 0 {
		r.i += n + 4
		return
	}
	r.i = len(r.s)
}

// startsName says whether a name begins at distance n.
func (r *webCSSReader) startsName(n int) bool {
	c := r.peek(n)
	if c == '-' {
		n++
		c = r.peek(n)
		if c == '-' {
			return true
		}
	}
	return (isAlnum(c) && c > '9') || c == '_' || c >= utf8.RuneSelf || (c == '\\' && r.peek(n+1) != '\n' && r.peek(n+1) != 0)
}

func (r *webCSSReader) startsNumber() bool {
	n := 0
	if c := r.peek(0); c == '+' || c == '-' {
		n = 1
	}
	c := r.peek(n)
	if c == '.' {
		c = r.peek(n + 1)
	}
	return c >= '0' && c <= '9'
}

func (r *webCSSReader) readNumber() webCSSToken {
	start := r.i
	r.i++
	for c := r.peek(0); (c >= '0' && c <= '9') || c == '.'; c = r.peek(0) {
		r.i++
	}
	t := webCSSToken{kind: webCSSNumber, text: r.s[start:r.i]}
	switch {
	case r.peek(0) == '%':
		r.i++
		t.unit = "%"
	case r.startsName(0):
		t.unit = strings.ToLower(r.readName())
	}
	return t
}

// readWord reads a name, or what begins with one: a function, or an address without quotes, which never stays.
func (r *webCSSReader) readWord() webCSSToken {
	name := r.readName()
	if r.peek(0) != '(' {
		return webCSSToken{kind: webCSSName, text: name}
	}
	r.i++
	if strings.EqualFold(name, "url") {
		if n := strings.IndexByte(r.s[r.i:], ')'); n >= 0 {
			r.i += n + 1
		} else {
			r.i = len(r.s)
		}
		return webCSSToken{kind: webCSSBad}
	}
	return webCSSToken{kind: webCSSFunction, text: name}
}

func (r *webCSSReader) readName() string {
	var b strings.Builder
	for r.i < len(r.s) {
		c := r.s[r.i]
		switch {
		case isAlnum(c) || c == '-' || c == '_' || c >= utf8.RuneSelf:
			b.WriteByte(c)
			r.i++
		case c == '\\' && r.peek(1) != '\n' && r.peek(1) != 0:
			b.WriteString(r.readEscape())
		default:
			return b.String()
		}
	}
	return b.String()
}

// readEscape reads "\" and what it stands for: up to six hexadecimal digits with a blank behind them, or any character.
func (r *webCSSReader) readEscape() string {
	r.i++
	n := 0
	for n < 6 && strings.IndexByte("0123456789abcdefABCDEF", r.peek(n)) >= 0 && r.peek(n) != 0 {
		n++
	}
	if n == 0 {
		_, size := utf8.DecodeRuneInString(r.s[r.i:])
		r.i += size
		return r.s[r.i-size : r.i]
	}
	v, _ := strconv.ParseInt(r.s[r.i:r.i+n], 16, 32)
	r.i += n
	if webCSSIsBlank(r.peek(0)) {
		r.i++
	}
	if v == 0 || v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
		return "\uFFFD"
	}
	return string(rune(v))
}

func (r *webCSSReader) readString(quote byte) webCSSToken {
	r.i++
	var b strings.Builder
	for r.i < len(r.s) {
		c := r.s[r.i]
		switch {
		case c == quote:
			r.i++
			return webCSSToken{kind: webCSSString, text: b.String()}
		case c == '\n':
			return webCSSToken{kind: webCSSBad}
		case c == '\\' && r.peek(1) == '\n':
			r.i += 2
		case c == '\\' && r.i+1 < len(r.s):
			b.WriteString(r.readEscape())
		default:
			b.WriteByte(c)
			r.i++
		}
	}
	return webCSSToken{kind: webCSSBad}
}

// until collects tokens up to one of two marks that is in no brackets, and takes the mark, which it
// returns too: webCSSEnd when the marks never come. first is in front of them, unless it is the zero token; what is in braces
// is not collected.
func (r *webCSSReader) until(first webCSSToken, a, b byte) ([]webCSSToken, byte) {
	var all []webCSSToken
	deep := 0
	for t := first; ; t = r.next() {
		switch {
		case t.kind == webCSSEnd && r.i >= len(r.s):
			return all, webCSSEnd
		case t.kind == webCSSEnd: // no first token
			continue
		case deep == 0 && (t.kind == a || (t.kind == b && b != 0)):
			return all, t.kind
		case t.kind == '{':
			r.skipBlock()
			t.kind = webCSSBad
		case t.kind == '(' || t.kind == '[' || t.kind == webCSSFunction:
			deep++
		case (t.kind == ')' || t.kind == ']') && deep > 0:
			deep--
		}
		if len(all) < 1000 {
			all = append(all, t)
		}
	}
}

// skipBlock reads past the brace that ends the block at hand.
func (r *webCSSReader) skipBlock() {
	for deep := 1; deep > 0; {
		switch t := r.next(); t.kind {
		case webCSSEnd:
			return
		case '{':
			deep++
		case '}':
			deep--
		}
	}
}
