// The tree at rest and in use: its binary form, part numbers, and which part is what.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Shift moves the tree for n octets of header fields put in front of the message: the root's header grows, and
// everything behind it moves.
func (p *Part) Shift(n int64) {
	p.HeaderLen += n
	p.BodyOff += n
	for _, c := range p.Parts {
		c.move(n)
	}
}

func (p *Part) move(n int64) {
	p.HeaderOff += n
	p.BodyOff += n
	for _, c := range p.Parts {
		c.move(n)
	}
}

// Find goes down by IMAP part numbers (RFC 9051 §6.4.5.1). The empty path is p, which must
// be a message. The parts of a multipart are counted from 1; a message that is no
// multipart has one part, 1, which is its own body; the numbers below a message/rfc822 part
// are those of the message inside. nil when there is no such part.
//
// So Find(2) of a multipart/mixed with a forwarded message is the message/rfc822 part, its
// header fields those of the MIME part, and Find(2).Parts[0] is the message inside, whose
// header BODY[2.HEADER] means.
func (p *Part) Find(path []int) *Part {
	atMessage := true // p stands for a message, not for a part of one
	for _, n := range path {
		if !atMessage && p.IsMessage() {
			p, atMessage = p.Parts[0], true
		}
		switch {
		case p.IsMultipart() && n >= 1 && n <= len(p.Parts):
			p, atMessage = p.Parts[n-1], false
		case !p.IsMultipart() && atMessage && n == 1:
			atMessage = false
		default:
			return nil
		}
	}
	return p
}

// Walk calls fn for every part that has an IMAP part number, in the order of the message,
// and first for the message itself when it is a multipart, with an empty path. When fn
// returns false, what is inside the part is passed over. The path is good until fn returns.
func (p *Part) Walk(fn func(path []int, p *Part) bool) { p.walkMessage(nil, fn) }

func (p *Part) walkMessage(path []int, fn func([]int, *Part) bool) {
	switch {
	case !p.IsMultipart():
		p.walkPart(append(path, 1), fn)
	case len(path) > 0: // a message/rfc822, which has had its call, has this path
		p.walkParts(path, fn)
	case fn(path, p):
		p.walkParts(path, fn)
	}
}

func (p *Part) walkPart(path []int, fn func([]int, *Part) bool) {
	switch {
	case !fn(path, p):
	case p.IsMessage():
		p.Parts[0].walkMessage(path, fn)
	default:
		p.walkParts(path, fn)
	}
}

func (p *Part) walkParts(path []int, fn func([]int, *Part) bool) {
	for i, c := range p.Parts {
		c.walkPart(append(path, i+1), fn)
	}
}

// Any8bitHeader says whether a header block has raw 8-bit text: the message's, a part's, or
// that of a message inside, which Walk does not show when it is a multipart.
func (p *Part) Any8bitHeader() bool {
	for _, c := range p.Parts {
		if c.Any8bitHeader() {
			return true
		}
	}
	return p.Header8bit
}

// TextPart is the body that a person should read, text/plain or text/html as asked for;
// nil when there is none. It looks where readers look: not into attachments, not into
// forwarded messages, and in a multipart/related only at the root (RFC 2387 §3.2).
func (p *Part) TextPart(subtype string) *Part {
	switch {
	case p.IsMessage():
		return nil
	case !p.IsMultipart():
		if p.Is("text", subtype) && !p.isAttached() {
			return p
		}
		return nil
	case p.Subtype == "related":
		return p.relatedRoot().TextPart(subtype)
	}
	for _, c := range p.Parts {
		if t := c.TextPart(subtype); t != nil {
			return t
		}
	}
	return nil
}

// relatedRoot is the part that the others of a multipart/related belong to.
func (p *Part) relatedRoot() *Part {
	if start := p.Param("start"); start != "" {
		for _, c := range p.Parts {
			if c.ID == start {
				return c
			}
		}
	}
	return p.Parts[0]
}

// isAttached says whether the sender meant the part as a file. Mailers that know no
// Content-Disposition give the file a name and nothing else.
func (p *Part) isAttached() bool {
	return p.Disp == "attachment" || p.Filename() != ""
}

// Attachments lists what a reader offers as files, in order: named or attached parts, and
// every part that is neither text to read, nor a picture belonging to the HTML (a child of
// a multipart/related with a Content-ID), nor a signature over the rest. A forwarded
// message is one attachment.
func (p *Part) Attachments() []*Part {
	var list []*Part
	p.attachments(nil, &list)
	return list
}

func (p *Part) attachments(parent *Part, list *[]*Part) {
	if p.IsMultipart() {
		for _, c := range p.Parts {
			c.attachments(p, list)
		}
		return
	}
	switch {
	case p.isSignature(parent), p.isInline(parent):
		return
	case !p.isAttached() && (p.Is("text", "plain") || p.Is("text", "html") || p.Is("text", "enriched")):
		return
	}
	*list = append(*list, p)
}

// isInline says whether the part is a resource of an HTML body.
func (p *Part) isInline(parent *Part) bool {
	return parent != nil && parent.Subtype == "related" && p.ID != "" && p.Disp != "attachment" && p != parent.relatedRoot()
}

// isSignature knows the second part of a multipart/signed (RFC 1847 §2.1).
func (p *Part) isSignature(parent *Part) bool {
	return parent != nil && parent.Subtype == "signed" && len(parent.Parts) > 1 && p == parent.Parts[1]
}

// treeVersion begins the binary form. Change it when the form changes; UnmarshalPart reads
// every version that was ever released.
const treeVersion = 1

// treeWords are written as one octet. Only append.
var treeWords = []string{
	"", "text", "plain", "html", "multipart", "mixed", "alternative", "related", "message", "rfc822",
	"application", "octet-stream", "image", "jpeg", "png", "gif", "pdf", "7bit", "8bit", "binary",
	"base64", "quoted-printable", "charset", "utf-8", "us-ascii", "iso-8859-1", "boundary", "name",
	"filename", "attachment", "inline", "format", "flowed", "delsp", "yes", "signed", "report", "UTF-8",
	"type", "size", "protocol", "micalg", "delivery-status", "calendar", "zip", "US-ASCII", "gb2312", "gb18030",
}

// Marshal is the tree in a compact binary form: a version, then each part in pre-order as
// varints, offsets relative to where they can begin. An ordinary mail takes 20 octets.
func (p *Part) Marshal() []byte {
	w := treeWriter{treeVersion}
	w.part(p, 0)
	return w
}

type treeWriter []byte

func (w *treeWriter) num(n int64) { *w = binary.AppendUvarint(*w, uint64(n)) }

// text writes a word of the table as an odd number, another string as its even length and
// its octets.
func (w *treeWriter) text(s string) {
	for i, word := range treeWords {
		if s == word {
			w.num(int64(i)<<1 | 1)
			return
		}
	}
	w.num(int64(len(s)) << 1)
	*w = append(*w, s...)
}

func (w *treeWriter) params(params []Param) {
	w.num(int64(len(params)))
	for _, p := range params {
		w.text(p.Name)
		w.text(p.Value)
	}
}

func (w *treeWriter) addresses(list []Address) {
	w.num(int64(len(list)))
	for _, a := range list {
		w.text(a.Name)
		w.text(a.Local)
		w.text(a.Domain)
	}
}

// Bits of a part's flags. The last three say which of the rarer fields follow.
const (
	part8bit = 1 << iota
	partNUL
	partLong
	partCR
	partLF
	partHeader8bit
	partHeaderUgly
	partOpaque
	partRare // ID, description, MD5, location, languages
	partDisp
	partEnvelope
)

func (p *Part) flags() int64 {
	flags := int64(0)
	set := func(bit int64, on bool) {
		if on {
			flags |= bit
		}
	}
	set(part8bit, p.Has8bit)
	set(partNUL, p.HasNUL)
	set(partLong, p.LongLine)
	set(partCR, p.BareCR)
	set(partLF, p.BareLF)
	set(partHeader8bit, p.Header8bit)
	set(partHeaderUgly, p.HeaderUgly)
	set(partOpaque, p.Opaque)
	set(partRare, p.ID != "" || p.Desc != "" || p.MD5 != "" || p.Location != "" || len(p.Lang) > 0)
	set(partDisp, p.Disp != "" || len(p.DispParams) > 0)
	set(partEnvelope, p.Envelope != nil)
	return flags
}

// part writes a part whose header can begin at from, and returns where the next one can.
func (w *treeWriter) part(p *Part, from int64) int64 {
	flags := p.flags()
	for _, n := range []int64{flags, p.HeaderOff - from, p.HeaderLen, p.BodyLen, p.Lines} {
		w.num(n)
	}
	w.text(p.Type)
	w.text(p.Subtype)
	w.text(p.Encoding)
	w.params(p.Params)
	if flags&partRare != 0 {
		for _, s := range []string{p.ID, p.Desc, p.MD5, p.Location} {
			w.text(s)
		}
		w.num(int64(len(p.Lang)))
		for _, s := range p.Lang {
			w.text(s)
		}
	}
	if flags&partDisp != 0 {
		w.text(p.Disp)
		w.params(p.DispParams)
	}
	if e := p.Envelope; e != nil {
		for _, s := range []string{e.Date, e.Subject, e.InReplyTo, e.MessageID} {
			w.text(s)
		}
		for _, list := range [][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
			w.addresses(list)
		}
	}
	w.num(int64(len(p.Parts)))
	from = p.BodyOff
	for _, c := range p.Parts {
		from = w.part(c, from)
	}
	return p.BodyOff + p.BodyLen
}

var errTree = errors.New("damaged MIME tree")

// UnmarshalPart reads what Marshal wrote. Damaged input gives an error and never a tree
// that breaks the promises made at Part.
func UnmarshalPart(b []byte) (*Part, error) {
	if len(b) == 0 || b[0] != treeVersion {
		return nil, fmt.Errorf("%w: unknown version", errTree)
	}
	r := treeReader{b: b[1:], partsLeft: maxMIMEParts}
	p := r.part(0, 1<<62, 1)
	if r.bad || len(r.b) > 0 {
		return nil, errTree
	}
	return p, nil
}

// treeReader reads until something is wrong, and then only zeros.
type treeReader struct {
	b         []byte
	bad       bool
	partsLeft int
}

// num reads a number up to most.
func (r *treeReader) num(most int64) int64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(most) {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return int64(n)
}

// count reads how many things follow, each of so many octets at least.
func (r *treeReader) count(size int) int { return int(r.num(int64(len(r.b) / size))) }

func (r *treeReader) text() string {
	n := r.num(1 << 31)
	if n&1 == 1 {
		if n>>1 < int64(len(treeWords)) {
			return treeWords[n>>1]
		}
		n = 1 << 31
	}
	if n>>1 > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n>>1])
	r.b = r.b[n>>1:]
	return s
}

func (r *treeReader) params() []Param {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	params := make([]Param, n)
	for i := range params {
		params[i] = Param{r.text(), r.text()}
	}
	return params
}

func (r *treeReader) addresses() []Address {
	n := r.count(3)
	if n == 0 {
		return nil
	}
	list := make([]Address, n)
	for i := range list {
		list[i] = Address{r.text(), r.text(), r.text()}
	}
	return list
}

// part reads a part that lies between from and to.
func (r *treeReader) part(from, to int64, depth int) *Part {
	p := &Part{}
	flags := r.num(1<<16 - 1)
	p.HeaderOff = from + r.num(to-from)
	p.HeaderLen = r.num(to - p.HeaderOff)
	p.BodyOff = p.HeaderOff + p.HeaderLen
	p.BodyLen = r.num(to - p.BodyOff)
	p.Lines = r.num(p.BodyLen)
	p.Has8bit, p.HasNUL, p.LongLine = flags&part8bit != 0, flags&partNUL != 0, flags&partLong != 0
	p.BareCR, p.BareLF, p.Opaque = flags&partCR != 0, flags&partLF != 0, flags&partOpaque != 0
	p.Header8bit, p.HeaderUgly = flags&partHeader8bit != 0, flags&partHeaderUgly != 0
	p.Type, p.Subtype, p.Encoding = r.text(), r.text(), r.text()
	p.Params = r.params()
	if flags&partRare != 0 {
		p.ID, p.Desc, p.MD5, p.Location = r.text(), r.text(), r.text(), r.text()
		for n := r.count(1); n > 0 && !r.bad; n-- {
			p.Lang = append(p.Lang, r.text())
		}
	}
	if flags&partDisp != 0 {
		p.Disp = r.text()
		p.DispParams = r.params()
	}
	if flags&partEnvelope != 0 {
		p.Envelope = r.envelope()
	}
	r.children(p, depth)
	return p
}

func (r *treeReader) envelope() *Envelope {
	e := &Envelope{Date: r.text(), Subject: r.text(), InReplyTo: r.text(), MessageID: r.text()}
	for _, list := range []*[]Address{&e.From, &e.Sender, &e.ReplyTo, &e.To, &e.Cc, &e.Bcc} {
		*list = r.addresses()
	}
	return e
}

// children reads the parts of p and checks that p's type agrees with them.
func (r *treeReader) children(p *Part, depth int) {
	n := r.count(1)
	r.partsLeft--
	message := p.Is("message", "rfc822") || p.Is("message", "global")
	if n > r.partsLeft || n > 0 && depth > maxMIMEDepth || (n > 0) != p.nests() ||
		(p.Envelope != nil) != message || message && n != 1 {
		r.bad, r.b = true, nil
		return
	}
	from := p.BodyOff
	for ; n > 0 && !r.bad; n-- {
		c := r.part(from, p.BodyOff+p.BodyLen, depth+1)
		p.Parts = append(p.Parts, c)
		from = c.BodyOff + c.BodyLen
	}
	if message && !r.bad && (p.Parts[0].HeaderOff != p.BodyOff || from != p.BodyOff+p.BodyLen) {
		r.bad, r.b = true, nil
	}
}
