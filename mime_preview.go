// Text for people: previews, and HTML as plain text.
package main

import (
	"bufio"
	"bytes"
	"html"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// previewWindow is how many octets of a body, still encoded, a preview looks at.
const previewWindow = 128 << 10

// Preview is the beginning of what the message says, at most n characters on one line, as
// RFC 8970 wants it: text/plain before HTML, blanks collapsed, quoted text and the
// signature left out if something else remains. It is valid UTF-8 without control
// characters; "" when there is no text. Work is bounded whatever the size of the body.
func Preview(p *Part, r io.ReaderAt, n int) string {
	for _, subtype := range []string{"plain", "html"} {
		t := p.TextPart(subtype)
		if t == nil {
			continue
		}
		head := *t
		head.BodyLen = min(head.BodyLen, previewWindow)
		text := head.Text(r)
		if subtype == "html" {
			text = HTMLText(text)
		}
		b, _ := io.ReadAll(text) // a preview of what can be read
		if s := previewLine(string(b), n); s != "" {
			return s
		}
	}
	return ""
}

// previewLine collapses text to one line of at most n characters.
func previewLine(text string, n int) string {
	if s := collapse(unquotedText(text), n); s != "" {
		return s
	}
	return collapse(text, n)
}

// unquotedText drops quoted lines, the line that introduces them ("On Monday Ann wrote:"),
// and all from the signature or the copy of an original message on.
func unquotedText(text string) string {
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ">"):
			for len(kept) > 0 && kept[len(kept)-1] == "" {
				kept = kept[:len(kept)-1]
			}
			if n := len(kept); n > 0 && (strings.HasSuffix(kept[n-1], ":") || strings.HasSuffix(kept[n-1], "：")) {
				kept = kept[:n-1]
			}
			continue
		case line == "-- ", strings.HasPrefix(trimmed, "-----Original"):
			return strings.Join(kept, " ")
		}
		kept = append(kept, trimmed)
	}
	return strings.Join(kept, " ")
}

// collapse makes one line of the first n characters: blanks become one space, and what has
// no width (newsletters pad their previews with it) or controls is left out. A character
// is never parted from its accents.
func collapse(text string, n int) string {
	var b strings.Builder
	count, start, blank := 0, 0, false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || r == '\u00A0':
			blank = b.Len() > 0
			continue
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != '\u200D',
			r == '\u034F', r == '\u2800':
			continue
		}
		if !unicode.Is(unicode.M, r) {
			start = b.Len() // of a character with all that modifies it
		}
		width := 1
		if blank {
			width = 2
		}
		if count+width > n {
			if unicode.Is(unicode.M, r) {
				return strings.TrimRight(b.String()[:start], " ")
			}
			break
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteRune(r)
		count += width
	}
	return b.String()
}

// HTMLText reads HTML in UTF-8 and gives its text: one line for each block, blanks
// collapsed as a browser does, "> " before what is in a blockquote, "- " before a list
// item; scripts, styles and comments left out. It streams with a few KiB of memory, in
// linear time, whatever the tags hold (a picture may sit in an attribute).
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
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// markup takes what begins with "<": a tag, a comment, a declaration, or plain text.
func (h *htmlReader) markup() {
	ahead, _ := h.src.Peek(3)
	closing := len(ahead) > 1 && ahead[0] == '/' && isAlnum(ahead[1])
	switch {
	case string(ahead) == "!--":
		h.src.Discard(1) // "<!-->" is a whole comment
		h.skipPast("-->")
	case len(ahead) > 0 && (ahead[0] == '!' || ahead[0] == '?' || ahead[0] == '/' && !closing):
		h.skipPast(">")
	case closing || len(ahead) > 0 && isAlnum(ahead[0]) && ahead[0] > '9':
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
	case "script", "style", "title", "iframe", "noframes", "noembed", "xmp", "template":
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
