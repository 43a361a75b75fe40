// HTML as plain text.
package main

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"strings"
)

// HTMLText reads HTML in UTF-8 and gives its text: one line for each block, blanks collapsed as a browser does, "> "
// before what is in a blockquote, "- " before a list item; scripts, styles and comments left out. It streams with a few
// KiB of memory, in linear time, whatever the tags hold (a picture may sit in an attribute).
//
// It is for search, previews and replies. It is no sanitiser: the result is plain text.
func HTMLText(r io.Reader) io.Reader {
	return &htmlReader{src: bufio.NewReader(r)}
}

type htmlReader struct {
	src    *bufio.Reader
	buf    []byte
	out    []byte // ready, not yet read
	err    error
	breaks int  // line ends to write before the next text
	blank  bool // a space to write before the next text
	begun  bool // some text was written
	quote  int  // depth of blockquotes
	pre    int  // depth of pre
}

// maxQuote is how deep quoting is shown.
const maxQuote = 10

func (h *htmlReader) Read(p []byte) (int, error) {
	if len(h.out) == 0 {
		h.buf = h.buf[:0]
		for len(h.buf) < bodyBuffer && h.err == nil {
			h.step()
		}
		h.out = h.buf
		if len(h.out) == 0 {
			return 0, h.err
		}
	}
	n := copy(p, h.out)
	h.out = h.out[n:]
	return n, nil
}

// step takes one tag, entity, run of blanks or octet of text.
func (h *htmlReader) step() {
	c, err := h.src.ReadByte()
	if err != nil {
		h.err = err
		if h.begun && err == io.EOF {
			h.buf = append(h.buf, '\n')
		}
		return
	}
	switch {
	case c == '<':
		h.markup()
	case c == '&':
		h.entity()
	case c == '\n' && h.pre > 0:
		h.breaks++
	case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f':
		h.space(c)
	default:
		h.text(c)
	}
}

func (h *htmlReader) space(c byte) {
	if h.pre > 0 && (c == ' ' || c == '\t') {
		h.text(c)
		return
	}
	h.blank = true
}

// text writes octets of text after the breaks or the space that wait.
func (h *htmlReader) text(s ...byte) {
	if h.breaks > 0 || !h.begun {
		if h.begun {
			h.buf = append(h.buf, "\n\n"[:min(h.breaks, 2)]...)
		}
		for range min(h.quote, maxQuote) {
			h.buf = append(h.buf, "> "...)
		}
	} else if h.blank {
		h.buf = append(h.buf, ' ')
	}
	h.begun, h.blank, h.breaks = true, false, 0
	h.buf = append(h.buf, s...)
}

// entity writes a character reference, or the "&" that begins none.
func (h *htmlReader) entity() {
	const longest = 34 // the longest name of HTML has 31 letters
	ahead, _ := h.src.Peek(longest)
	n := 0
	for n < len(ahead) && (ahead[n] == '#' || isAlnum(ahead[n])) {
		n++
	}
	if n < len(ahead) && ahead[n] == ';' {
		n++
	}
	name := "&" + string(ahead[:n])
	s := html.UnescapeString(name)
	if s == name {
		h.text('&')
		return
	}
	h.src.Discard(n) // just peeked
	if strings.Trim(s, " \t\r\n\u00A0") == "" {
		h.blank = true
		return
	}
	h.text([]byte(s)...)
}

func isAlnum(c byte) bool {
	return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9')
}

// markup takes what begins with "<": a tag, a comment, a declaration, or plain text.
func (h *htmlReader) markup() {
	ahead, _ := h.src.Peek(3)
	closing := len(ahead) > 1 && ahead[0] == '/' && isAlnum(ahead[1])
	switch {
	case string(ahead) == "!--":
		h.src.Discard(1) // "<!-->" is a whole comment
		h.skipPast("-->")
	case len(ahead) > 0 && (ahead[0] == '!' || ahead[0] == '?' || (ahead[0] == '/' && !closing)):
		h.skipPast(">")
	case closing || (len(ahead) > 0 && isAlnum(ahead[0]) && ahead[0] > '9'):
		h.tag(closing)
	default:
		h.text('<')
	}
}

// tag reads a tag to its end and does what its name asks for.
func (h *htmlReader) tag(closing bool) {
	if closing {
		h.src.Discard(1)
	}
	var name []byte
	for {
		c, err := h.src.ReadByte()
		if err != nil {
			return // the next step meets the error again
		}
		if !isAlnum(c) {
			h.src.UnreadByte()
			break
		}
		if len(name) < 16 {
			name = append(name, c)
		}
	}
	h.skipAttributes()
	h.element(strings.ToLower(string(name)), closing)
}

// skipAttributes goes to the ">" of a tag. Only a quote that follows "=" hides a ">".
func (h *htmlReader) skipAttributes() {
	quote, last := byte(0), byte(0)
	for {
		c, err := h.src.ReadByte()
		switch {
		case err != nil:
			return
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return
		case (c == '"' || c == '\'') && last == '=':
			quote = c
		}
		if c > ' ' {
			last = c
		}
	}
}

// element says how the text around a tag is set.
func (h *htmlReader) element(name string, closing bool) {
	switch name {
	case "script", "style", "title", "iframe", "noembed", "xmp", "template":
		if !closing {
			h.skipPast("</" + name)
			h.skipAttributes()
		}
	case "br":
		h.breaks = min(h.breaks+1, 2)
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table":
		h.breaks = 2
	case "pre":
		h.breaks = 2
		h.pre = depth(h.pre, closing)
	case "blockquote":
		h.breaks = 2
		h.quote = depth(h.quote, closing)
	case "div", "tr", "dt", "dd", "section", "article", "header", "footer", "form", "fieldset", "address", "center", "hr", "body":
		h.breaks = max(h.breaks, 1)
	case "li":
		h.breaks = max(h.breaks, 1)
		if !closing {
			h.text('-')
			h.blank = true
		}
	case "td", "th":
		h.blank = true
	}
}

func depth(n int, closing bool) int {
	if closing {
		return max(n-1, 0)
	}
	return n + 1
}

// skipPast reads until end (in lower case) has been read, or the input ends.
func (h *htmlReader) skipPast(end string) {
	matched := make([]byte, 0, len(end))
	for {
		c, err := h.src.ReadByte()
		if err != nil {
			return
		}
		if len(matched) == len(end) {
			matched = append(matched[:0], matched[1:]...)
		}
		matched = append(matched, c)
		if len(matched) == len(end) && bytes.EqualFold(matched, []byte(end)) {
			return
		}
	}
}
