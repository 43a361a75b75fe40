// Header fields: splitting a block, finding a field, unfolding its value.
package main

import (
	"bytes"
	"strings"
)

// maxHeaderFields is how many fields of one block are looked at; a block of 1 MiB could hold 350,000. Those beyond are
// kept in the message, but nobody asks for them.
const maxHeaderFields = 10000

// maxUnfolded is how long a value may be to which lines are joined that have lost the blanks in front of them.
const maxUnfolded = 8 << 10

// Field is one header field. Value is everything after the colon, folding kept, without the final line end.
type Field struct{ Name, Value string }

// Header is a header block in its order.
type Header []Field

// ParseHeader splits a header block (RFC 5322 §2.2), with or without its final empty line. Lines end in CRLF or LF, or in
// CRs where there is no LF at all.
// What is no field (a "From " line of mbox, junk) is passed over, unless it goes on with the field before it. The fields share one copy of b. Time and memory are
// linear in len(b).
func ParseHeader(b []byte) Header {
	b = crLines(b)
	s := string(b)
	h := make(Header, 0, min(bytes.Count(b, []byte("\n"))+1, 64))
	for s != "" && len(h) < maxHeaderFields {
		var raw string
		raw, s = cutField(s)
		if isBlankLine(raw) {
			break
		}
		name, value, ok := splitField(raw)
		switch {
		case ok:
			h = append(h, Field{name, strings.TrimRight(value, "\r\n")})
		case len(h) > 0 && wasFolded(h[len(h)-1].Value, raw) && len(h[len(h)-1].Value) < maxUnfolded:
			h[len(h)-1].Value += "\r\n " + strings.TrimRight(raw, "\r\n")
		}
	}
	return h
}

// cutField takes one field with its continuation lines and its line end off the front of s.
func cutField(s string) (raw, rest string) {
	end := 0
	for {
		i := strings.IndexByte(s[end:], '\n')
		if i < 0 {
			return s, ""
		}
		first := end == 0
		end += i + 1
		if (first && isBlankLine(s[:end])) || end == len(s) || (s[end] != ' ' && s[end] != '\t') {
			return s[:end], s[end:]
		}
	}
}

// isBlankLine says whether the line has nothing but its end. CR CR LF is seen in the wild.
func isBlankLine[T string | []byte](line T) bool {
	for i := 0; i < len(line); i++ {
		if line[i] != '\r' && line[i] != '\n' {
			return false
		}
	}
	return true
}

// splitField separates name and value. Blanks before the colon are obsolete syntax (RFC 5322 §4.5) and are dropped.
func splitField(raw string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(raw, ":")
	if !ok {
		return "", "", false
	}
	name = strings.TrimRight(name, " \t")
	return name, value, isFieldName(name)
}

// isFieldName is ftext of RFC 5322 §3.6.8: printable ASCII without the colon.
func isFieldName(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7F || name[i] == ':' {
			return false
		}
	}
	return name != ""
}

// Get is the first field of that name, unfolded, trimmed and raw; "" when there is none.
func (h Header) Get(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return unfold(h[i].Value)
		}
	}
	return ""
}

// Has says whether there is a field of that name, be it empty.
func (h Header) Has(name string) bool {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}

// All is every field of that name in order, unfolded, trimmed and raw.
func (h Header) All(name string) []string {
	var all []string
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			all = append(all, unfold(h[i].Value))
		}
	}
	return all
}

// Text is Get for people: encoded words and raw charsets decoded to UTF-8, no control characters. Raw octets that are
// not UTF-8 are in the charset of the same block's Content-Type, as old scripts write them, or else windows-1252.
func (h Header) Text(name string) string {
	v := h.Get(name)
	if isPlain(v) {
		return DecodeWords(v)
	}
	return decodeWords(v, h.charset())
}

// Readable is Get in valid UTF-8: raw octets are decoded as Text does it, encoded words are left to the reader. It is
// for address lists, whose words must be decoded after the list is taken apart.
func (h Header) Readable(name string) string {
	v := h.Get(name)
	if isPlain(v) {
		return v
	}
	return decodeAround(v, h.charset())
}

// charset is the charset parameter of the block's Content-Type, or "".
func (h Header) charset() string {
	_, _, params, _ := parseMediaType(h.Get("Content-Type"))
	return findParam(params, "charset")
}

// unfold removes the line ends of folding (RFC 5322 §2.2.3), stray CRs, LFs and NULs, and the blanks around the value.
func unfold(s string) string {
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 && strings.IndexByte(s, 0) < 0 {
		return strings.Trim(s, " \t")
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '\r' && c != '\n' && c != 0 {
			b.WriteByte(c)
		}
	}
	return strings.Trim(b.String(), " \t")
}
