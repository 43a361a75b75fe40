// HTML as plain text.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"html"
	"io"
	"strings"

	xhtml "golang.org/x/net/html"
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
	breaks int    // line ends to write before the next text
	blank  bool   // a space to write before the next text
	begun  bool   // some text was written
	quote  int    // depth of blockquotes
	pre    int    // depth of pre
	option int    // options of the list at hand
	end    string // what ends an element in which all is text, "" for none
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
	case c == '<' && h.end != "" && !h.ends():
		h.text('<')
	case c == '<':
		h.markup()
	case c == '&' && (h.end == "" || h.end == "/textarea"):
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

// ends says whether the end of the element in which all is text comes next.
func (h *htmlReader) ends() bool {
	ahead, _ := h.src.Peek(len(h.end))
	return strings.EqualFold(string(ahead), h.end)
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
	tag := strings.ToLower(string(name))
	if !closing && (tag == "input" || tag == "option" || tag == "optgroup") {
		h.control(tag)
		return
	}
	h.skipAttributes(nil)
	h.element(tag, closing)
}

// control writes what a form control says in its attributes.
func (h *htmlReader) control(tag string) {
	var attributes []byte
	h.skipAttributes(&attributes)
	z := xhtml.NewTokenizer(strings.NewReader("<" + tag + string(attributes) + ">"))
	z.Next()
	says := HTMLControl(z.Token())
	if tag == "option" {
		says = HTMLOption(h.option) + says
		h.option++
	}
	h.words(says)
}

// words writes text with its blanks collapsed.
func (h *htmlReader) words(s string) {
	for i := range len(s) {
		if strings.IndexByte(" \t\r\n\f", s[i]) >= 0 {
			h.blank = true
		} else {
			h.text(s[i])
		}
	}
}

// HTMLOption is what stands between an option of a list and the n in front of it.
func HTMLOption(n int) string {
	if n == 0 {
		return " "
	}
	return " · "
}

// HTMLControl is what an input, option or optgroup says in its attributes, as text with blanks around it. What is hidden or secret, or
// a file, says nothing.
func HTMLControl(t xhtml.Token) string {
	has := map[string]string{}
	for _, a := range t.Attr {
		if _, again := has[a.Key]; !again {
			has[a.Key] = a.Val
		}
	}
	_, checked := has["checked"]
	says := strings.TrimSpace(has["label"])
	if t.Data == "input" {
		says = strings.TrimSpace(has["value"])
		switch strings.ToLower(strings.TrimSpace(has["type"])) {
		case "hidden", "password", "file":
			return ""
		case "checkbox", "radio":
			if checked {
				return " ☑ "
			}
			return " ☐ "
		case "image":
			says = cmp.Or(strings.TrimSpace(has["alt"]), says)
			if has["src"] != "" { // it is a picture
				says = ""
			}
		case "submit", "reset", "button":
			if says != "" {
				says = "[" + says + "]"
			}
		default:
			says = cmp.Or(says, strings.TrimSpace(has["placeholder"]))
		}
	}
	if says == "" {
		return ""
	}
	return " " + says + " "
}

// maxControl is how many octets of a control's attributes are read.
const maxControl = 4 << 10

// skipAttributes goes to the ">" of a tag, and copies what is in front of that to kept, if there is one. Only quotes around a value hide
// a ">": a value begins behind a name and "=", and one without quotes ends at a blank, whatever is in it.
func (h *htmlReader) skipAttributes(kept *[]byte) {
	const name, begin, bare = 0, 1, 2
	state, named, quote := name, false, byte(0)
	for {
		c, err := h.src.ReadByte()
		blank := c <= ' '
		switch {
		case err != nil:
			return
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return
		case state == begin && (c == '"' || c == '\''):
			quote, state, named = c, name, false
		case state == begin && !blank:
			state, named = bare, false
		case state == bare && blank:
			state = name
		case state == name && c == '=' && named:
			state = begin
		case state == name && !blank && c != '/':
			named = true
		}
		if kept != nil && len(*kept) < maxControl {
			*kept = append(*kept, c)
		}
	}
}

// element says how the text around a tag is set.
func (h *htmlReader) element(name string, closing bool) {
	switch name {
	case "script", "style", "title", "iframe", "template":
		if !closing {
			h.skipPast("</" + name)
			h.skipAttributes(nil)
		}
	case "textarea", "xmp", "plaintext":
		h.breaks = 2
		h.pre = depth(h.pre, closing)
		h.end = ""
		if !closing {
			h.end = "/" + name
		}
	case "select", "datalist":
		h.option = 0
		h.blank = true
	case "option", "optgroup", "button":
		h.blank = true
	case "br":
		h.breaks = min(h.breaks+1, 2)
	case "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "dir", "menu", "table":
		h.breaks = 2
	case "pre", "listing":
		h.breaks = 2
		h.pre = depth(h.pre, closing)
	case "blockquote":
		h.breaks = 2
		h.quote = depth(h.quote, closing)
	case "div", "tr", "dt", "dd", "section", "article", "header", "footer", "form", "fieldset", "legend", "nav", "dialog", "search", "hgroup", "address", "center", "hr", "body":
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
