// From 8-bit to 7-bit: messages rewritten for a next hop that cannot take them as they are.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// ErrNotConvertible is the error for a message that would be broken by conversion: what is signed or encrypted has to
// stay as it is (RFC 1847 §2.1). The sender should get a report that says so.
var ErrNotConvertible = errors.New("message cannot be converted to 7 bits without breaking it")

// PeerCan says what the next hop can take, by the extensions that it offered. The zero value takes 7-bit lines only.
type PeerCan struct {
	EightBit bool // 8BITMIME (RFC 6152)
	Binary   bool // BINARYMIME (RFC 3030)
	UTF8     bool // SMTPUTF8 (RFC 6531)

	reader bool // it is no server but somebody's program: it takes lines of any length, and wants signed parts whole, too
}

// Takes says whether the peer can take the message as it is. That goes by the octets that are in it, not by its labels.
func (can PeerCan) Takes(p *Part) bool {
	return can.takesHeaders(p) && !p.HeaderUgly && (can.Binary || (can.takesBody(p) && !p.BareLF))
}

// takesHeaders looks for raw text in the header blocks, those of parts and of messages inside too. What is signed or
// encrypted is passed over: it cannot be changed anyway.
func (can PeerCan) takesHeaders(p *Part) bool {
	if can.UTF8 {
		return true
	}
	if p.Header8bit {
		return false
	}
	for _, c := range p.Parts {
		if !p.isSealed() && !can.takesHeaders(c) {
			return false
		}
	}
	return true
}

// takesBody looks at all but the form of the line ends.
func (can PeerCan) takesBody(p *Part) bool {
	if can.reader {
		return !p.HasBinary()
	}
	return can.Binary || ((can.EightBit || !p.Has8bit) && !p.HasNUL && !p.LongLine && !p.BareCR)
}

// Convert writes the message so that the peer takes it (RFC 6152 §3); one that it takes already octet for octet.
//
// Leaves that it cannot take become quoted-printable or base64; a multipart or message is converted inside and never
// encoded itself (RFC 2045 §6.4). Text keeps its charset label; unlabelled text is labelled utf-8 when it is that. Raw
// header text becomes encoded words and RFC 2231 parameters, domains become A-labels. Line ends become CRLF. It reads
// each leaf twice and keeps one header block and a few KiB in memory. p must be the tree of the message in r.
// ErrNotConvertible comes before the first octet is written.
func (can PeerCan) Convert(w io.Writer, p *Part, r io.ReaderAt) error {
	if can.Takes(p) {
		_, err := io.Copy(w, io.NewSectionReader(r, p.HeaderOff, p.HeaderLen+p.BodyLen))
		return err
	}
	if err := can.check(p); err != nil {
		return err
	}
	if p.CRLines {
		r = crReader{r}
	}
	buf := bufio.NewWriter(w)
	c := converter{peer: can, w: &lineWriter{w: buf}, r: r}
	if err := c.part(p, true); err != nil {
		return err
	}
	if c.w.err != nil {
		return c.w.err
	}
	return buf.Flush()
}

// check finds what must not be converted but would have to be.
func (can PeerCan) check(p *Part) error {
	if p.HeaderLen > maxPartHeader {
		return fmt.Errorf("%w: header of %d octets", ErrNotConvertible, p.HeaderLen)
	}
	switch {
	case p.IsMultipart() && !isASCII(p.Param("boundary")):
		return fmt.Errorf("%w: its boundary is not ASCII", ErrNotConvertible)
	case can.takesBody(p):
	case p.isSealed() && !can.reader:
		return fmt.Errorf("%w: it is %s", ErrNotConvertible, p.Subtype)
	case p.Opaque && !p.isEncoded():
		return fmt.Errorf("%w: too many parts", ErrNotConvertible)
	}
	for _, c := range p.Parts {
		if err := can.check(c); err != nil {
			return err
		}
	}
	return nil
}

// isSealed says whether the part's octets are covered by a signature or are a cipher's.
func (p *Part) isSealed() bool {
	return p.IsMultipart() && (p.Subtype == "signed" || p.Subtype == "encrypted")
}

type converter struct {
	peer PeerCan
	w    *lineWriter
	r    io.ReaderAt
}

// part writes p with its header. A message, not only the outermost, is a root.
func (c *converter) part(p *Part, root bool) error {
	switch {
	case p.HeaderLen+p.BodyLen == 0: // the message ends in a boundary
		return nil
	case p.isSealed() && !(c.peer.reader && p.HasBinary()), p.Opaque && c.peer.takesBody(p):
		if err := c.header(p, leafPlan{}, root); err != nil {
			return err
		}
		return c.lines(p.BodyOff, p.BodyLen)
	case p.IsMultipart():
		return c.multipart(p, root)
	case p.IsMessage():
		if err := c.header(p, leafPlan{encoding: c.label(p)}, root); err != nil {
			return err
		}
		return c.part(p.Parts[0], true)
	}
	plan, err := c.plan(p)
	if err != nil {
		return err
	}
	if err := c.header(p, plan, root); err != nil {
		return err
	}
	return c.leaf(p, plan)
}

// label is what a multipart or message, or a leaf that is not encoded, is now: "" when its own label still holds.
func (c *converter) label(p *Part) string {
	switch {
	case c.peer.Binary, p.Encoding != "8bit" && p.Encoding != "binary", p.Encoding == "8bit" && c.peer.EightBit:
		return ""
	case c.peer.EightBit && p.Has8bit:
		return "8bit"
	}
	return "7bit"
}

// multipart converts the parts, and passes what lies between them.
func (c *converter) multipart(p *Part, root bool) error {
	if err := c.header(p, leafPlan{encoding: c.label(p)}, root); err != nil {
		return err
	}
	at := p.BodyOff
	for _, child := range p.Parts {
		if err := c.gap(at, child.HeaderOff); err != nil {
			return err
		}
		if err := c.part(child, false); err != nil {
			return err
		}
		at = child.BodyOff + child.BodyLen
	}
	return c.gap(at, p.BodyOff+p.BodyLen)
}

// gap copies boundaries, preamble and epilogue. Nobody reads the text there: what the peer cannot take becomes "?", or
// is cut off with the end of an overlong line.
func (c *converter) gap(from, to int64) error {
	br := bufio.NewReader(io.NewSectionReader(c.r, from, to-from))
	for {
		line, err := br.ReadSlice('\n')
		text := bytes.TrimRight(line, "\r\n")
		text = bytes.Clone(text[:min(len(text), maxLine)])
		for i, b := range text {
			switch {
			case b == '\r':
				text[i] = ' ' // blanks may follow a boundary
			case b == 0, b >= utf8.RuneSelf && !c.peer.EightBit:
				text[i] = '?'
			}
		}
		c.w.Write(text)
		for err == bufio.ErrBufferFull {
			line, err = br.ReadSlice('\n')
		}
		if bytes.HasSuffix(line, []byte("\n")) {
			c.w.str("\r\n")
		}
		if err == io.EOF {
			return c.w.err
		}
		if err != nil {
			return err
		}
	}
}

// lines copies octets that are well but for bare LFs.
func (c *converter) lines(off, size int64) error {
	_, err := io.Copy(&crlfWriter{w: c.w}, io.NewSectionReader(c.r, off, size))
	return err
}

// leafPlan is what is to become of a leaf.
type leafPlan struct {
	encoding string // the new label, "" for the old one
	encode   bool   // the body is encoded anew, not copied
	text     bool   // its bare LFs are line ends
	charset  string // the label to put in, "" to leave it
	fields   bool   // the body is header fields (message/delivery-status)
}

// plan decides, reading the leaf once if it has to be encoded.
func (c *converter) plan(p *Part) (leafPlan, error) {
	wide := p.Type == "text" && isWide(p.Param("charset"))
	exact := p.Encoding == "binary" || wide
	switch {
	case c.peer.takesBody(p) && (!p.BareLF || !exact || c.peer.Binary || c.peer.reader):
		return leafPlan{encoding: c.label(p)}, nil
	case p.isFields():
		return leafPlan{encoding: "7bit", fields: true}, nil
	case p.Type == "text", p.Type == "message": // such as message/global-headers (RFC 6533)
		plan := leafPlan{encode: true, text: !exact && !p.isEncoded(), encoding: "base64"}
		if wide {
			return plan, nil
		}
		return c.textPlan(p, plan)
	}
	return leafPlan{encode: true, encoding: "base64"}, nil
}

// isFields says whether the body is header fields in lines, such as those of a delivery report.
func (p *Part) isFields() bool {
	return p.Type == "message" && !p.isEncoded() && (p.Subtype == "delivery-status" || p.Subtype == "disposition-notification")
}

// textPlan reads a text, and chooses its label and the shorter encoding.
func (c *converter) textPlan(p *Part, plan leafPlan) (leafPlan, error) {
	var m measure
	qp := &lineWriter{w: io.Discard}
	if err := writeQP(qp, io.TeeReader(p.Decoded(c.r), &m), plan.text); err != nil {
		return plan, err
	}
	if p.Type == "text" {
		plan.charset = newCharset(p, &m)
	}
	if qp.n <= base64Size(m.n) {
		plan.encoding = "quoted-printable"
	}
	return plan, nil
}

// newCharset labels text that has no label, or is labelled us-ascii and is not: utf-8 if it is that, else unknown-8bit
// (RFC 1428 §3).
func newCharset(p *Part, m *measure) string {
	switch cleanLabel(p.Param("charset")) {
	case "", "us-ascii", "ascii":
	default:
		return ""
	}
	switch {
	case !m.high:
		return ""
	case m.isUTF8():
		return "utf-8"
	}
	return "unknown-8bit"
}

// leaf writes the body as planned.
func (c *converter) leaf(p *Part, plan leafPlan) error {
	switch {
	case plan.fields:
		b, err := io.ReadAll(io.LimitReader(p.Raw(c.r), maxPartHeader))
		if err != nil {
			return err
		}
		c.fields(string(b), "")
		return c.w.err
	case !plan.encode && c.peer.Binary:
		_, err := io.Copy(c.w, p.Raw(c.r))
		return err
	case !plan.encode:
		return c.lines(p.BodyOff, p.BodyLen)
	case plan.encoding == "quoted-printable":
		return writeQP(c.w, p.Decoded(c.r), plan.text)
	case plan.text:
		return writeBase64(c.w, newCRLFReader(p.Decoded(c.r)))
	}
	return writeBase64(c.w, p.Decoded(c.r))
}

// newCRLFReader is r with CRLF for its bare LFs.
func newCRLFReader(r io.Reader) io.Reader { return &crlfReader{src: bufio.NewReader(r)} }

type crlfReader struct {
	src  *bufio.Reader
	last byte
	lf   bool // a CR was given out for the LF that comes next
}

func (c *crlfReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if c.lf {
			c.lf, c.last, p[n] = false, '\n', '\n'
			n++
			continue
		}
		b, err := c.src.ReadByte()
		if err != nil {
			if n > 0 {
				err = nil
			}
			return n, err
		}
		if b == '\n' && c.last != '\r' {
			b, c.lf = '\r', true
		}
		p[n], c.last = b, b
		n++
	}
	return n, nil
}

// header writes the part's header block: fields as they are when the peer takes them, the labels as planned.
func (c *converter) header(p *Part, plan leafPlan, root bool) error {
	b, err := io.ReadAll(p.RawHeader(c.r))
	if err != nil {
		return err
	}
	h := ParseHeader(b)
	s := string(b)
	complete := isBlankLine(b[bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n')+1:])
	hc := headerConverter{peer: c.peer, w: c.w, charset: h.charset(), labels: c.newLabels(p, plan, h, complete)}
	if len(hc.labels) > 0 && root && !h.Has("MIME-Version") {
		hc.labels = append(hc.labels, newLabel{"MIME-Version", "MIME-Version: 1.0\r\n", false})
	}
	for s != "" {
		var raw string
		raw, s = cutField(s)
		if isBlankLine(raw) {
			hc.missing()
			c.w.str("\r\n")
			return c.w.err
		}
		hc.field(raw)
	}
	hc.missing()
	if p.BodyLen > 0 { // the header of a leaf that had no end
		c.w.str("\r\n")
	}
	return c.w.err
}

// newLabel replaces the first field of its name; others of that name are dropped.
type newLabel struct {
	name, field string
	done        bool
}

// newLabels are the Content-* fields that must change. A header is complete when it has its empty line.
func (c *converter) newLabels(p *Part, plan leafPlan, h Header, complete bool) []newLabel {
	var labels []newLabel
	typ, subtype, params, ok := parseMediaType(h.Get("Content-Type"))
	switch {
	case p.Is("message", "global") && !c.peer.UTF8: // what was global in it is gone (RFC 6532 §3.7)
		labels = append(labels, newLabel{name: "Content-Type", field: contentType("message/rfc822", params)})
	case (plan.encode || !complete) && p.Type == "text" && ok && typ == "multipart": // no part was found in it
		params = nil
		if plan.charset != "" {
			params = []Param{{"charset", plan.charset}}
		}
		labels = append(labels, newLabel{name: "Content-Type", field: contentType("text/plain", params)})
	case plan.charset != "":
		if !ok {
			typ, subtype, params = p.Type, p.Subtype, nil
		}
		params = append(withoutParam(params, "charset"), Param{"charset", plan.charset})
		labels = append(labels, newLabel{name: "Content-Type", field: contentType(typ+"/"+subtype, params)})
	}
	if plan.encoding != "" {
		labels = append(labels, newLabel{name: "Content-Transfer-Encoding", field: "Content-Transfer-Encoding: " + plan.encoding + "\r\n"})
	}
	return labels
}

func withoutParam(params []Param, name string) []Param {
	var kept []Param
	for _, p := range params {
		if p.Name != name {
			kept = append(kept, p)
		}
	}
	return kept
}

// fields writes header fields (and blank lines) that are a body.
func (c *converter) fields(s, charset string) {
	hc := headerConverter{peer: c.peer, w: c.w, charset: charset}
	var last strings.Builder
	for s != "" {
		var raw string
		switch raw, s = cutField(s); {
		case isBlankLine(raw):
			c.w.str("\r\n")
		case strings.HasSuffix(raw, "\n"):
			hc.field(raw)
		default: // the end of the body needs no line end
			hc.w = &lineWriter{w: &last}
			hc.field(raw)
			c.w.str(strings.TrimSuffix(last.String(), "\r\n"))
		}
	}
}

// Header7Bit is a header block with raw text in ASCII, as Convert writes it for a peer without extensions; fields that need
// nothing stay octet for octet.
func Header7Bit(block []byte) []byte {
	var b bytes.Buffer
	c := converter{w: &lineWriter{w: &b}}
	c.fields(string(block), ParseHeader(block).charset())
	return b.Bytes()
}

// headerConverter writes the fields of one block.
type headerConverter struct {
	peer    PeerCan
	w       *lineWriter
	charset string // of the body, and so perhaps of raw text in the header
	labels  []newLabel
}

// missing writes the labels that had no field to take the place of.
func (hc *headerConverter) missing() {
	for i := range hc.labels {
		if l := &hc.labels[i]; !l.done {
			l.done = true
			hc.w.str(l.field)
		}
	}
}

// field writes one field, given with its folding and line end.
func (hc *headerConverter) field(raw string) {
	name, value, ok := splitField(raw)
	for i := range hc.labels {
		if l := &hc.labels[i]; ok && strings.EqualFold(name, l.name) {
			if !l.done {
				l.done = true
				hc.w.str(l.field)
			}
			return
		}
	}
	switch {
	case hc.isFine(raw):
		hc.w.str(raw)
	case ok:
		hc.w.str(hc.convert(name, value))
	default: // no field at all; keep what can be kept
		hc.w.str(foldField("X-Unparsable", hardBreak(EncodeWords(decodeRaw(unfold(raw), hc.charset)))...))
	}
}

// isFine says whether the field's octets and lines can go as they are.
func (hc *headerConverter) isFine(raw string) bool {
	if !isASCII(raw) && !(hc.peer.UTF8 && utf8.ValidString(raw)) {
		return false
	}
	lines := strings.Split(raw, "\r\n")
	for i, line := range lines {
		if len(line) > maxLine || strings.ContainsAny(line, "\r\n\x00") || (line == "" && i < len(lines)-1) {
			return false
		}
	}
	return strings.HasSuffix(raw, "\r\n")
}

// convert writes a field anew.
func (hc *headerConverter) convert(name, value string) string {
	v := unfold(value)
	onlyLines := isASCII(v) || (hc.peer.UTF8 && utf8.ValidString(v))
	switch key := strings.ToLower(name); key {
	case "subject", "comments", "content-description": // a word too long for a line can be encoded
	default:
		if onlyLines {
			return foldField(name, hardBreak(v)...)
		}
		if field := hc.structured(name, key, v); field != "" {
			return field
		}
	}
	return foldField(name, hardBreak(EncodeWords(decodeWords(v, hc.charset)))...)
}

// structured writes a field whose syntax says where encoded words may stand; "" for one that is not known or cannot be
// read.
func (hc *headerConverter) structured(name, key, v string) string {
	switch key {
	case "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-reply-to",
		"resent-to", "resent-cc", "resent-bcc", "disposition-notification-to", "return-receipt-to", "errors-to", "return-path":
		if list := ParseAddressList(decodeRaw(v, hc.charset)); len(list) > 0 {
			return foldAddresses7Bit(name, list)
		}
	case "content-type":
		if typ, subtype, params, ok := parseMediaTypeIn(v, hc.charset); ok {
			return contentType(typ+"/"+subtype, params)
		}
		return contentType("text/plain", nil) // which is what it meant (RFC 2045 §5.2)
	case "content-disposition":
		if disp, params := parseDisposition(v, hc.charset); disp != "" {
			return paramField(name, disp, params)
		}
	}
	return ""
}

// hardBreak splits at spaces, and a token too long for a line wherever that comes.
func hardBreak(v string) []string {
	var pieces []string
	for _, token := range strings.Split(v, " ") {
		for len(token) > maxToken {
			pieces = append(pieces, token[:maxToken])
			token = token[maxToken:]
		}
		pieces = append(pieces, token)
	}
	return pieces
}

// foldAddresses7Bit writes a list in ASCII. An address that has no ASCII form becomes an empty group whose name shows
// it, as RFC 6857 does for old readers: nobody can answer to it, but everybody can see it. Inside a group, where no
// other can be, it becomes a name.
func foldAddresses7Bit(name string, list []Address) string {
	ascii := make([]Address, 0, len(list))
	inGroup := false
	for _, a := range list {
		mark := a.IsGroupStart() || a.IsGroupEnd()
		if mark || isASCII(a.String()) {
			inGroup = (mark && a.IsGroupStart()) || (!mark && inGroup)
			ascii = append(ascii, a)
			continue
		}
		shown := strings.Trim(a.DisplayName()+" "+a.Local+"@"+a.Domain, " ")
		if inGroup {
			ascii = append(ascii, Address{shown, missingLocal, missingDomain})
		} else {
			ascii = append(ascii, Address{Local: shown}, Address{})
		}
	}
	return foldAddresses(name, ascii)
}
