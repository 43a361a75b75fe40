// What FETCH shows of a message's content: ENVELOPE, BODYSTRUCTURE, and the octets of a section.
package main

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// putInt writes a number.
func (c *imapConn) putInt(n int64) { c.w.Write(strconv.AppendInt(c.w.AvailableBuffer(), n, 10)) }

// putText writes text of a header, or NIL for "": as it is where the client can have it, and in encoded words where it is
// not ASCII and the client has not enabled UTF-8 (RFC 6855 §3). Raw 8-bit text in an ENVELOPE breaks clients.
func (c *imapConn) putText(s string) {
	if !c.utf8 && !isASCII(s) {
		s = EncodeWords(DecodeWords(s))
	}
	c.putNString(s)
}

// putEnvelope writes an envelope (RFC 9051 §7.5.2):
//
//	envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc SP
//	           env-in-reply-to SP env-message-id ")"
func (c *imapConn) putEnvelope(e *Envelope) {
	c.w.WriteByte('(')
	c.putText(e.Date)
	c.w.WriteByte(' ')
	c.putText(e.Subject)
	for _, list := range [...][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		c.w.WriteByte(' ')
		c.putAddresses(list)
	}
	c.w.WriteByte(' ')
	c.putText(e.InReplyTo)
	c.w.WriteByte(' ')
	c.putText(e.MessageID)
	c.w.WriteByte(')')
}

// putAddresses writes "(" 1*address ")" or NIL. The marks of a group have a NIL host, so nothing else may have one.
//
//	address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
func (c *imapConn) putAddresses(list []Address) {
	if len(list) == 0 {
		c.w.WriteString("NIL")
		return
	}
	c.w.WriteByte('(')
	for _, a := range list {
		if !c.utf8 && !isASCII(a.Local) && a.Domain != "" {
			// Nobody without UTF-8 could answer to it: an empty group whose name shows it (RFC 6857).
			c.putAddress(Address{Local: strings.TrimSpace(a.DisplayName() + " " + a.Local + "@" + a.Domain)})
			c.putAddress(Address{})
			continue
		}
		c.putAddress(a)
	}
	c.w.WriteByte(')')
}

func (c *imapConn) putAddress(a Address) {
	c.w.WriteByte('(')
	c.putText(a.Name)
	c.w.WriteString(" NIL ")
	c.putText(a.Local)
	c.w.WriteByte(' ')
	c.putNString(c.domain(a.Domain))
	c.w.WriteByte(')')
}

// domain is a domain as the client can have it: with A-labels unless it has enabled UTF-8.
func (c *imapConn) domain(d string) string {
	if c.utf8 || isASCII(d) {
		return d
	}
	if a, err := DomainToASCII(d); err == nil {
		return a
	}
	return EncodeWords(d)
}

// putStructure writes BODY, or with ext BODYSTRUCTURE (RFC 9051 §7.5.2). All extension fields are always there: the Gmail
// app shows attachments as text without them.
//
//	body            = "(" (body-type-1part / body-type-mpart) ")"
//	body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
func (c *imapConn) putStructure(p *Part, ext bool) {
	c.w.WriteByte('(')
	defer c.w.WriteByte(')')
	if !p.IsMultipart() {
		c.putLeaf(p, ext)
		return
	}
	for _, kid := range p.Parts {
		c.putStructure(kid, ext)
	}
	c.w.WriteByte(' ')
	c.putString(p.Subtype)
	if ext { // body-ext-mpart = body-fld-param SP body-fld-dsp SP body-fld-lang SP body-fld-loc
		c.w.WriteByte(' ')
		c.putParams(p.Params)
		c.putExtension(p)
	}
}

// putLeaf writes what is not a multipart.
//
//	body-type-1part = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]
//	body-fields     = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
func (c *imapConn) putLeaf(p *Part, ext bool) {
	c.putString(p.Type)
	c.w.WriteByte(' ')
	c.putString(p.Subtype)
	c.w.WriteByte(' ')
	c.putParams(p.Params)
	c.w.WriteByte(' ')
	c.putText(p.ID)
	c.w.WriteByte(' ')
	c.putText(p.Desc)
	c.w.WriteByte(' ')
	c.putString(p.Encoding)
	c.w.WriteByte(' ')
	c.putInt(p.BodyLen)
	switch {
	case c.nests(p): // SP envelope SP body SP body-fld-lines
		c.w.WriteByte(' ')
		c.putEnvelope(p.Envelope)
		c.w.WriteByte(' ')
		c.putStructure(p.Parts[0], ext)
		c.w.WriteByte(' ')
		c.putInt(p.Lines)
	case p.Type == "text":
		c.w.WriteByte(' ')
		c.putInt(p.Lines)
	}
	if ext { // body-ext-1part = body-fld-md5 SP body-fld-dsp SP body-fld-lang SP body-fld-loc
		c.w.WriteByte(' ')
		c.putText(p.MD5)
		c.putExtension(p)
	}
}

// nests says whether the structure of the message inside p is shown. RFC 3501 knows that only of message/rfc822, RFC 9051
// also of message/global.
func (c *imapConn) nests(p *Part) bool {
	return p.IsMessage() && (p.Subtype == "rfc822" || c.rev2 || c.utf8)
}

// putExtension writes SP body-fld-dsp SP body-fld-lang SP body-fld-loc.
func (c *imapConn) putExtension(p *Part) {
	if p.Disp == "" {
		c.w.WriteString(" NIL ")
	} else {
		c.w.WriteString(" (")
		c.putText(p.Disp)
		c.w.WriteByte(' ')
		c.putParams(p.DispParams)
		c.w.WriteString(") ")
	}
	switch len(p.Lang) {
	case 0:
		c.w.WriteString("NIL")
	case 1:
		c.putText(p.Lang[0])
	default:
		c.w.WriteByte('(')
		for i, l := range p.Lang {
			if i > 0 {
				c.w.WriteByte(' ')
			}
			c.putString(EncodeWords(l))
		}
		c.w.WriteByte(')')
	}
	c.w.WriteByte(' ')
	c.putText(p.Location)
}

// putParams writes body-fld-param: "(" name SP value … ")" or NIL. A value that is not ASCII is sent in the extended form
// of RFC 2231 §4 ("filename*"), as it stands in the mail, to a client that has not enabled UTF-8.
func (c *imapConn) putParams(params []Param) {
	if len(params) == 0 {
		c.w.WriteString("NIL")
		return
	}
	c.w.WriteByte('(')
	for i, p := range params {
		if !c.utf8 {
			p = p.ASCII()
		}
		if i > 0 {
			c.w.WriteByte(' ')
		}
		c.putString(p.Name)
		c.w.WriteByte(' ')
		c.putString(p.Value)
	}
	c.w.WriteByte(')')
}

// imapSection says which octets of a message are meant (RFC 9051 §6.4.5 section-spec).
type imapSection struct {
	path    []int    // part numbers; none is the message itself
	text    string   // "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME
	fields  []string // of HEADER.FIELDS
	partial bool     // <off.n>
	off, n  int64
}

const (
	imapPathMax   = 100     // numbers in a section
	imapHeaderMax = 1 << 20 // octets of a header block that HEADER.FIELDS looks at
	imapCopySize  = 32 << 10
)

// section reads what follows "BODY[": section-spec "]" ["<" number "." nz-number ">"].
func (p *imapParser) section() (s imapSection) {
	s.path = p.sectionPath()
	if !p.next("]") && (len(s.path) == 0 || p.take(".")) {
		s.text = strings.ToUpper(p.span("a section", func(b byte) bool { return b == '.' || 'A' <= b&^0x20 && b&^0x20 <= 'Z' }))
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
func (p *imapParser) sectionPath() (path []int) {
	for p.next("123456789") {
		n := p.number()
		if path = append(path, int(min(n, 1<<30))); len(path) > imapPathMax {
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

// open finds the section in a message, nil if the message has no such part: octets off to off+n of r. Header blocks are
// ASCII unless the client has enabled UTF-8, with encoded words for raw text (RFC 6857); a whole message stays as it is,
// octet for octet.
func (s *imapSection) open(m *Content, utf8 bool) (r io.ReaderAt, off, n int64) {
	if len(s.path) == 0 {
		return s.openIn(m, utf8, &Part{HeaderLen: m.HeadLen, BodyOff: m.HeadLen, BodyLen: m.Size - m.HeadLen})
	}
	p := m.Tree().Find(s.path)
	switch {
	case p == nil:
		return nil, 0, 0
	case s.text == "":
		return m, p.BodyOff, p.BodyLen
	case s.text == "MIME":
		return imapHeaderBlock(m, utf8, p)
	case !p.IsMessage(): // HEADER and TEXT are those of a message inside
		return nil, 0, 0
	}
	return s.openIn(m, utf8, p.Parts[0])
}

// openIn finds the section of a message that begins at p.
func (s *imapSection) openIn(m *Content, utf8 bool, p *Part) (r io.ReaderAt, off, n int64) {
	switch s.text {
	case "":
		return m, p.HeaderOff, p.HeaderLen + p.BodyLen
	case "TEXT":
		return m, p.BodyOff, p.BodyLen
	case "HEADER":
		return imapHeaderBlock(m, utf8, p)
	}
	b := imapPickFields(imapHeaderBytes(m, p.HeaderOff, p.HeaderLen), s.fields, s.text == "HEADER.FIELDS")
	if !utf8 && !isASCIIBytes(b) {
		b = Header7Bit(b)
	}
	return bytes.NewReader(b), 0, int64(len(b))
}

// imapHeaderBlock is a whole header block.
func imapHeaderBlock(m *Content, utf8 bool, p *Part) (r io.ReaderAt, off, n int64) {
	if utf8 || p.HeaderLen > imapHeaderMax {
		return m, p.HeaderOff, p.HeaderLen
	}
	b := imapHeaderBytes(m, p.HeaderOff, p.HeaderLen)
	if !isASCIIBytes(b) {
		b = Header7Bit(b)
	}
	return bytes.NewReader(b), 0, int64(len(b))
}

// imapPickFields returns those fields of a header block whose names are in the list, or those whose names are not, octet
// for octet, and the empty line at the end that RFC 9051 §6.4.5 wants always.
func imapPickFields(head []byte, names []string, in bool) []byte {
	var out []byte
	keep := false
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

// putSection writes the octets of a section, or NIL where the message has no such part.
func (f *imapFetch) putSection(m *Content, it *imapWish) error {
	r, start, n := it.section.open(m, f.c.utf8)
	if r == nil {
		f.c.w.WriteString("NIL")
		return nil
	}
	off, n := it.section.cut(n)
	return f.putLiteral(io.NewSectionReader(r, start+off, n), n, false)
}

// putLiteral writes n octets of r as a literal, a buffer at a time. With binary it may hold NUL (RFC 3516 §4.2); without,
// a NUL is written as "?", since no literal may have one (RFC 9051 §4.3.1). The length is on its way before the octets are
// read, so if they can't be, the connection has to end.
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
			f.c.log.Error("imap fetch", "user", f.c.user.Name, "err", err)
			return imapErrLost
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
