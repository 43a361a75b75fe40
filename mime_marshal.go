// The tree of a message as octets, as the store keeps it.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// treeVersion begins the binary form. Change it when the form changes; UnmarshalPart reads every version that was ever
// released.
const treeVersion = 1

// treeWords are written as one octet. Only append.
var treeWords = []string{
	"", "text", "plain", "html", "multipart", "mixed", "alternative", "related", "message", "rfc822",
	"application", "octet-stream", "image", "jpeg", "png", "gif", "pdf", "7bit", "8bit", "binary",
	"base64", "quoted-printable", "charset", "utf-8", "us-ascii", "iso-8859-1", "boundary", "name",
	"filename", "attachment", "inline", "format", "flowed", "delsp", "yes", "signed", "report", "UTF-8",
	"type", "size", "protocol", "micalg", "delivery-status", "calendar", "zip", "US-ASCII", "gb2312", "gb18030",
}

// Marshal is the tree in a compact binary form: a version, then each part in pre-order as varints, offsets relative to
// where they can begin. An ordinary mail takes 20 octets.
func (p *Part) Marshal() []byte {
	w := treeWriter{treeVersion}
	w.part(p, 0)
	return w
}

type treeWriter []byte

func (w *treeWriter) num(n int64) { *w = binary.AppendUvarint(*w, uint64(n)) }

// text writes a word of the table as an odd number, another string as its even length and its octets.
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

// Bits of a part's flags. Those from partRare to partEnvelope say which of the rarer fields follow.
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
	partCRLines
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
	set(partCRLines, p.CRLines)
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

// UnmarshalPart reads what Marshal wrote. Damaged input gives an error and never a tree that breaks the promises made
// at Part.
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
	p.CRLines = flags&partCRLines != 0
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
	if n > r.partsLeft || (n > 0 && depth > maxMIMEDepth) || (n > 0) != p.nests() ||
		(p.Envelope != nil) != message || (message && n != 1) {
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
