// DKIM (RFC 6376): what signing, checking and ARC have in common: fields, tags, canonical forms and hashes.
//
// It is ours and not a library's because one reading of the body has to serve all signatures, because ARC needs the same pieces, and
// because everything that a stranger sends has a bound here: signatures, tags, picked fields, keys.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// dkimField is one field of a header, as it stands there with its line end.
type dkimField struct {
	name string // in small letters
	raw  string
}

// value is what is behind the colon, raw.
func (f dkimField) value() string {
	_, v, _ := strings.Cut(f.raw, ":")
	return v
}

// dkimFields takes a header block apart, up to its empty line.
func dkimFields(header string) []dkimField {
	var all []dkimField
	for rest := header; rest != ""; {
		var raw string
		raw, rest = cutField(rest)
		if isBlankLine(raw) {
			break
		}
		name, _, ok := splitField(raw)
		if ok {
			all = append(all, dkimField{strings.ToLower(name), raw})
		}
	}
	return all
}

// dkimCanon is a pair of canonical forms (RFC 6376 §3.4): true is relaxed, false simple.
type dkimCanon struct{ header, body bool }

func (c dkimCanon) String() string {
	word := map[bool]string{true: "relaxed", false: "simple"}
	return word[c.header] + "/" + word[c.body]
}

// parseCanon reads the tag c=; what is missing is simple.
func parseCanon(s string) (dkimCanon, bool) {
	header, body, _ := strings.Cut(s, "/")
	known := func(s string) bool { return s == "" || s == "simple" || s == "relaxed" }
	return dkimCanon{header == "relaxed", body == "relaxed"}, known(header) && known(body)
}

// canonField is a field in its canonical form with CRLF (RFC 6376 §3.4.1, §3.4.2).
func canonField(raw string, relaxed bool) string {
	if !relaxed {
		return strings.TrimRight(raw, "\r\n") + "\r\n"
	}
	name, value, _ := strings.Cut(raw, ":")
	var b strings.Builder
	b.Grow(len(raw) + 2)
	b.WriteString(strings.ToLower(strings.TrimRight(name, " \t")))
	b.WriteByte(':')
	blank := false
	start := b.Len()
	for i := range len(value) {
		switch c := value[i]; c {
		case '\r', '\n':
		case ' ', '\t':
			blank = b.Len() > start
		default:
			if blank {
				b.WriteByte(' ')
				blank = false
			}
			b.WriteByte(c)
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

// dkimBody hashes a body in a canonical form (RFC 6376 §3.4.3, §3.4.4) as it is written to it, and keeps nothing of it but counts.
// Line ends are CRLF; a CR or LF alone is an octet as others are.
type dkimBody struct {
	relaxed bool
	sum     hash.Hash
	n       int64 // octets of the canonical form
	out     []byte

	cr    bool // the last octet was a CR
	lines int  // line ends that count only if something follows
	blank bool // WSP before what comes next; relaxed only
	some  bool // the line has something that counts
}

func newDKIMBody(relaxed bool) *dkimBody {
	return &dkimBody{relaxed: relaxed, sum: sha256.New()}
}

func (b *dkimBody) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		c := p[0]
		if b.cr {
			b.cr = false
			if c == '\n' {
				b.lines++
				b.blank = false
				p = p[1:]
				continue
			}
			b.put('\r')
		}
		switch {
		case c == '\r':
			b.cr = true
			p = p[1:]
		case b.relaxed && (c == ' ' || c == '\t'):
			b.blank = true
			p = p[1:]
		default:
			b.put(c)
			run := b.plain(p[1:])
			b.out = append(b.out, p[1:1+run]...)
			p = p[1+run:]
		}
		if len(b.out) > 4096 {
			b.flush()
		}
	}
	b.flush()
	return n, nil
}

// plain is how many octets of p are hashed as they are, behind one that counts.
func (b *dkimBody) plain(p []byte) int {
	if !b.relaxed {
		if i := bytes.IndexByte(p, '\r'); i >= 0 {
			return i
		}
		return len(p)
	}
	for i, c := range p {
		if c == '\r' || c == ' ' || c == '\t' {
			return i
		}
	}
	return len(p)
}

// put takes an octet that counts, behind the line ends and blanks that count with it.
func (b *dkimBody) put(c byte) {
	for ; b.lines > 0; b.lines-- {
		b.out = append(b.out, '\r', '\n')
		if len(b.out) > 4096 {
			b.flush()
		}
	}
	if b.blank {
		b.out = append(b.out, ' ')
		b.blank = false
	}
	b.out = append(b.out, c)
	b.some = true
}

func (b *dkimBody) flush() {
	b.sum.Write(b.out)
	b.n += int64(len(b.out))
	b.out = b.out[:0]
}

// end is the hash of the whole body and how many octets its canonical form has. Nothing may be written behind it.
func (b *dkimBody) end() ([]byte, int64) {
	if b.cr {
		b.cr = false
		b.put('\r')
	}
	if b.relaxed && b.blank && b.lines == 0 { // blanks at the end of a last line without its end
		b.blank = false
	}
	b.lines, b.blank = 0, false
	if b.some || !b.relaxed { // an empty body is one empty line, or nothing (§3.4.3, §3.4.4)
		b.out = append(b.out, '\r', '\n')
	}
	b.flush()
	return b.sum.Sum(nil), b.n
}

const (
	dkimTags    = 64   // of a signature or a key record
	dkimSigSize = 8192 // octets of a signature or key record that are read
)

var errTags = errors.New("it is no list of tags")

// dkimTagList reads a list of tags (RFC 6376 §3.2). Blanks around names and values are gone, and for the values in squeeze all blanks.
func dkimTagList(s string) (map[string]string, error) {
	if len(s) > dkimSigSize {
		return nil, fmt.Errorf("%w: it has %d octets", errTags, len(s))
	}
	tags := map[string]string{}
	for s != "" {
		var one string
		one, s, _ = strings.Cut(s, ";")
		name, value, ok := strings.Cut(one, "=")
		name = dkimTrim(name)
		switch {
		case !ok && name == "" && dkimTrim(s) == "": // behind the last ;
			return tags, nil
		case !ok || !isTagName(name):
			return nil, fmt.Errorf("%w: %.20q", errTags, one)
		case len(tags) >= dkimTags:
			return nil, fmt.Errorf("%w: there are too many", errTags)
		}
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("%w: %s stands there twice", errTags, name)
		}
		tags[name] = dkimTrim(value)
	}
	return tags, nil
}

func dkimTrim(s string) string { return strings.Trim(s, " \t\r\n") }

// dkimSqueeze takes all folding white space out of a value.
func dkimSqueeze(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, s)
}

func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || ((s[i] < '0' || s[i] > '9') && s[i] != '_')) {
			return false
		}
	}
	return s != ""
}

// dkimPicker gives a header's fields by name from the last one up (RFC 6376 §5.4.2). Each is found in one step, so that a long list of
// names and a long header cost their sum and not their product.
type dkimPicker map[string][]string

func newDKIMPicker(fields []dkimField) dkimPicker {
	p := dkimPicker{}
	for _, f := range fields {
		p[f.name] = append(p[f.name], f.raw)
	}
	return p
}

// hashFields writes the fields that h= names, in their canonical form; a name without another field adds nothing.
func (p dkimPicker) hashFields(w io.Writer, names []string, relaxed bool) {
	taken := map[string]int{}
	for _, n := range names {
		n = strings.ToLower(n)
		all := p[n]
		taken[n]++
		if i := len(all) - taken[n]; i >= 0 {
			io.WriteString(w, canonField(all[i], relaxed))
		}
	}
}

// withoutSignature is a signature's field with its b= empty, as it is hashed (RFC 6376 §3.7). Only the tag of that name is meant.
func withoutSignature(raw string) string {
	name, value, _ := strings.Cut(raw, ":")
	var b bytes.Buffer
	b.WriteString(name + ":")
	for i, one := range strings.Split(value, ";") {
		if i > 0 {
			b.WriteByte(';')
		}
		tag, _, ok := strings.Cut(one, "=")
		if ok && dkimTrim(tag) == "b" {
			one = tag + "="
		}
		b.WriteString(one)
	}
	return b.String()
}

// dkimSplit writes what comes to it to body, but for the header block in front of it, which it keeps up to a bound.
type dkimSplit struct {
	header []byte
	done   bool
	body   io.Writer
	most   int
}

var errDKIMHeader = errors.New("the header is too long to be signed")

func (s *dkimSplit) Write(p []byte) (int, error) {
	if s.done {
		return s.body.Write(p)
	}
	from := max(len(s.header)-3, 0)
	s.header = append(s.header, p...)
	i := bytes.Index(s.header[from:], []byte("\r\n\r\n"))
	switch {
	case bytes.HasPrefix(s.header, []byte("\r\n")):
		i, from = 0, -2
	case i < 0 && len(s.header) > s.most:
		return 0, errDKIMHeader
	case i < 0:
		return len(p), nil
	}
	s.done = true
	rest := s.header[from+i+4:]
	_, err := s.body.Write(rest)
	s.header = s.header[:from+i+4]
	return len(p), err
}
