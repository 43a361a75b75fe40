// BODY[…]: which octets of a message a section of FETCH means, and sending them.
package main

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// imapSection says which octets of a message are meant (RFC 9051 §6.4.5 section-spec).
type imapSection struct {
	path    []int    // part numbers; none is the message itself
	text    string   // "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME
	fields  []string // of HEADER.FIELDS
	partial bool     // <off.n>
	off, n  int64
	picked  []byte // memory for HEADER.FIELDS, used again for the next message
}

const (
	imapPathMax   = 100     // numbers in a section
	imapHeaderMax = 1 << 20 // octets of a header block that HEADER.FIELDS looks at
	imapCopySize  = 32 << 10
)

// section reads what follows "BODY[": section-spec "]" ["<" number "." nz-number ">"].
func (p *imapParser) section() imapSection {
	s := imapSection{path: p.sectionPath()}
	if !p.next("]") && (len(s.path) == 0 || p.take(".")) {
		s.text = strings.ToUpper(p.span("a section", func(b byte) bool { return b == '.' || ('A' <= b&^0x20 && b&^0x20 <= 'Z') }))
	}
	switch s.text {
	case "", "HEADER", "TEXT":
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		p.space()
		p.list(func() { s.fields = append(s.fields, p.astring()) })
		if len(s.fields) == 0 {
			p.fail("No header fields are named")
		}
	case "MIME":
		if len(s.path) == 0 {
			p.fail("MIME needs a part number")
		}
	default:
		p.fail("Unknown section %.30q", s.text)
	}
	p.need("]")
	p.sectionPartial(&s)
	return s
}

// sectionPath reads part numbers: nz-number *("." nz-number). A dot before a word is left.
func (p *imapParser) sectionPath() []int {
	var path []int
	for p.next("123456789") {
		n := p.number()
		path = append(path, int(min(n, 1<<30)))
		if len(path) > imapPathMax {
			p.fail("The part number is too long")
		}
		if len(p.rest) < 2 || p.rest[0] != '.' || p.rest[1] < '0' || p.rest[1] > '9' {
			break
		}
		p.need(".")
	}
	return path
}

// sectionPartial reads "<" number "." nz-number ">". RFC 9051 wants a length above zero; some clients ask for none.
func (p *imapParser) sectionPartial(s *imapSection) {
	if !p.take("<") {
		return
	}
	s.partial = true
	s.off = p.number64()
	p.need(".")
	s.n = p.number64()
	p.need(">")
}

// String is the section as the answer names it, in brackets and with the origin of a partial.
func (s *imapSection) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range s.path {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.Itoa(n))
	}
	if s.text != "" && len(s.path) > 0 {
		b.WriteByte('.')
	}
	b.WriteString(s.text)
	for i, f := range s.fields {
		b.WriteString([...]string{" (", " "}[min(i, 1)])
		if strings.ContainsFunc(f, func(r rune) bool { return r >= 0x80 || !imapAtomChar(byte(r)) }) || f == "" {
			f = strconv.QuoteToASCII(f)
		}
		b.WriteString(f)
	}
	if len(s.fields) > 0 {
		b.WriteByte(')')
	}
	b.WriteByte(']')
	if s.partial {
		b.WriteString("<" + strconv.FormatInt(s.off, 10) + ">")
	}
	return b.String()
}

// want is how much of a message the section needs: only part numbers need the tree.
func (s *imapSection) want() Want {
	switch {
	case len(s.path) > 0:
		return WantTree
	case strings.HasPrefix(s.text, "HEADER"):
		return WantHead
	}
	return WantBody
}

// sound checks the octets of a message that the item is made of. What BODYSTRUCTURE and the like tell comes from the tree.
func (it *imapWish) sound(m *Content) error {
	s := &it.section
	switch {
	case it.name == "ENVELOPE":
		return m.Sound(0, m.HeadLen)
	case it.put != nil && !it.binary && it.want < WantTree:
		return nil
	case it.put != nil && !it.binary:
		return m.SoundTree()
	}
	root := &Part{HeaderLen: m.HeadLen, BodyOff: m.HeadLen, BodyLen: m.Size - m.HeadLen}
	p := root
	if len(s.path) > 0 {
		err := m.SoundTree()
		if err != nil {
			return err
		}
		p = m.Tree().Find(s.path)
	}
	if p != nil && p != root && p.IsMessage() && s.text != "" && s.text != "MIME" {
		p = p.Parts[0]
	}
	switch {
	case p == nil:
		return nil
	case it.binary && p == root:
		return m.Sound(0, m.Size)
	case it.binary: // decoded from its beginning, whatever is cut out of it
		return m.Sound(p.BodyOff, p.BodyLen)
	case s.text == "" && p == root:
		off, n := s.cut(m.Size)
		return m.Sound(off, n)
	case s.text == "" || s.text == "TEXT":
		off, n := s.cut(p.BodyLen)
		return m.Sound(p.BodyOff+off, n)
	}
	return m.Sound(p.HeaderOff, p.HeaderLen)
}

// imapOctets are those that a section means: n from an offset on, of a message, or made for this client and good until the section is
// opened again.
type imapOctets struct {
	content *Content
	made    []byte // if content is nil
	off, n  int64
}

// each gives the octets to fn, in pieces that are fn's until it returns, and that it must not change.
func (o imapOctets) each(fn func([]byte) error) error {
	if o.content == nil {
		return fn(o.made[o.off : o.off+o.n])
	}
	return o.content.Each(o.off, o.n, fn)
}

// open finds the section in a message, false if the message has no such part. Header blocks are ASCII unless the client has
// enabled UTF-8, with encoded words for raw text (RFC 6857); a whole message stays as it is, octet for octet.
func (s *imapSection) open(m *Content, utf8 bool) (imapOctets, bool) {
	if len(s.path) == 0 {
		return s.openIn(m, utf8, &Part{HeaderLen: m.HeadLen, BodyOff: m.HeadLen, BodyLen: m.Size - m.HeadLen}), true
	}
	p := m.Tree().Find(s.path)
	switch {
	case p == nil:
		return imapOctets{}, false
	case s.text == "":
		return s.part(imapOctets{m, nil, p.BodyOff, p.BodyLen}), true
	case s.text == "MIME":
		return s.part(imapHeaderBlock(m, utf8, p)), true
	case !p.IsMessage(): // HEADER and TEXT are those of a message inside
		return imapOctets{}, false
	}
	return s.openIn(m, utf8, p.Parts[0]), true
}

// openIn finds the section of a message that begins at p.
func (s *imapSection) openIn(m *Content, utf8 bool, p *Part) imapOctets {
	switch s.text {
	case "":
		return s.part(imapOctets{m, nil, p.HeaderOff, p.HeaderLen + p.BodyLen})
	case "TEXT":
		return s.part(imapOctets{m, nil, p.BodyOff, p.BodyLen})
	case "HEADER":
		return s.part(imapHeaderBlock(m, utf8, p))
	}
	s.picked = imapPickFields(s.picked[:0], imapHeaderBytes(m, p.HeaderOff, p.HeaderLen), s.fields, s.text == "HEADER.FIELDS")
	return s.part(imapHeaderText(s.picked, utf8))
}

// imapHeaderBlock is a whole header block.
func imapHeaderBlock(m *Content, utf8 bool, p *Part) imapOctets {
	if utf8 || p.HeaderLen > imapHeaderMax {
		return imapOctets{m, nil, p.HeaderOff, p.HeaderLen}
	}
	return imapHeaderText(imapHeaderBytes(m, p.HeaderOff, p.HeaderLen), utf8)
}

// imapHeaderText is header fields as the client can have them.
func imapHeaderText(b []byte, utf8 bool) imapOctets {
	if !utf8 && !isASCIIBytes(b) {
		b = Header7Bit(b)
	}
	return imapOctets{made: b, n: int64(len(b))}
}

// imapPickFields appends those fields of a header block whose names are in the list, or those whose names are not, octet
// for octet, and the empty line at the end that RFC 9051 §6.4.5 wants always.
func imapPickFields(out, head []byte, names []string, in bool) []byte {
	keep := false
	if bytes.IndexByte(head, '\n') < 0 { // CRs end its lines
		head = bytes.ReplaceAll(head, []byte("\r"), []byte("\r\n"))
	}
	for len(head) > 0 {
		line := head
		if i := bytes.IndexByte(head, '\n'); i >= 0 {
			line = head[:i+1]
		}
		head = head[len(line):]
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, found := bytes.Cut(line, []byte(":"))
			keep = found && in == imapHasName(names, string(bytes.TrimRight(name, " \t")))
		}
		if keep {
			out = append(out, line...)
		}
	}
	return append(out, "\r\n"...)
}

func imapHasName(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// imapHeaderBytes is a header block, or as much of it as can be read.
func imapHeaderBytes(m *Content, off, n int64) []byte {
	if off == 0 && n == int64(len(m.Head)) {
		return m.Head
	}
	b := make([]byte, min(n, imapHeaderMax))
	k, _ := io.ReadFull(io.NewSectionReader(m, off, int64(len(b))), b)
	return b[:k]
}

// cut applies the partial to n octets. A partial beyond the end is empty and not an error: Thunderbird reads on until it
// gets an empty answer.
func (s *imapSection) cut(n int64) (off, length int64) {
	if !s.partial {
		return 0, n
	}
	off = min(s.off, n)
	return off, min(s.n, n-off)
}

// part is what the partial leaves of a section.
func (s *imapSection) part(o imapOctets) imapOctets {
	off, n := s.cut(o.n)
	o.off, o.n = o.off+off, n
	return o
}

// putSection writes the octets of a section, or NIL where the message has no such part.
func (f *imapFetch) putSection(m *Listed, it *imapWish) error {
	content, err := f.c.textual(m.Form, m.Content)
	if err != nil {
		return f.c.unreadable(err)
	}
	o, ok := it.section.open(content, f.c.utf8)
	switch {
	case !ok:
		f.c.w.WriteString("NIL")
		return nil
	case o.n == 0:
		f.c.w.WriteString(`""`)
		return nil
	}
	f.c.putLiteralSize(o.n)
	lost := false
	err = o.each(func(some []byte) error {
		if bytes.IndexByte(some, 0) >= 0 {
			some = bytes.Clone(some)
			imapMaskNUL(some)
		}
		_, err := f.c.w.Write(some)
		lost = err != nil
		return err
	})
	switch {
	case lost:
		return imapErrLost
	case err != nil:
		return f.c.unreadable(err)
	}
	return nil
}

// putLiteralSize begins a literal.
func (c *imapConn) putLiteralSize(n int64) {
	c.w.WriteByte('{')
	c.putInt(n)
	c.w.WriteString("}\r\n")
}

// putLiteral writes n octets of r as a literal, a buffer at a time. With binary it may hold NUL (RFC 3516 §4.2); without,
// a NUL is written as "?", since no literal may have one (RFC 9051 §4.3.1); it stands in a header, or in what is too odd to be
// encoded. The length is on its way before the octets are read, so if they can't be, the connection has to end.
func (f *imapFetch) putLiteral(r io.Reader, n int64, binary bool) error {
	w := f.c.w
	if n == 0 {
		w.WriteString(`""`)
		return nil
	}
	if binary {
		w.WriteByte('~')
	}
	w.WriteByte('{')
	f.c.putInt(n)
	w.WriteString("}\r\n")
	if f.buf == nil {
		f.buf = make([]byte, imapCopySize)
	}
	for n > 0 {
		k, err := io.ReadFull(r, f.buf[:min(n, int64(len(f.buf)))])
		if err != nil {
			return f.c.unreadable(err)
		}
		n -= int64(k)
		if !binary {
			imapMaskNUL(f.buf[:k])
		}
		if _, err := w.Write(f.buf[:k]); err != nil {
			return imapErrLost
		}
	}
	return nil
}
