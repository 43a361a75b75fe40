// BODY and BODYSTRUCTURE: what a message consists of, from its stored tree.
package main

import (
	"strconv"
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

// putBody writes BODY, which has no extension fields (RFC 9051 §7.5.2).
func (c *imapConn) putBody(p *Part) { imapStructure{imapConn: c}.put(p) }

// putBodyStructure writes BODYSTRUCTURE (RFC 9051 §7.5.2). All extension fields are always there: the Gmail app shows
// attachments as text without them.
func (c *imapConn) putBodyStructure(p *Part) { imapStructure{c, true}.put(p) }

// imapStructure writes what a message consists of.
type imapStructure struct {
	*imapConn
	extended bool
}

// put writes a part:
//
//	body            = "(" (body-type-1part / body-type-mpart) ")"
//	body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
func (c imapStructure) put(p *Part) {
	c.w.WriteByte('(')
	defer c.w.WriteByte(')')
	if !p.IsMultipart() {
		c.putLeaf(p)
		return
	}
	for _, kid := range p.Parts {
		c.put(kid)
	}
	c.w.WriteByte(' ')
	c.putString(p.Subtype)
	if c.extended { // body-ext-mpart = body-fld-param SP body-fld-dsp SP body-fld-lang SP body-fld-loc
		c.w.WriteByte(' ')
		c.putParams(p.Params)
		c.putExtension(p)
	}
}

// putLeaf writes what is not a multipart.
//
//	body-type-1part = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]
//	body-fields     = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
func (c imapStructure) putLeaf(p *Part) {
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
		c.put(p.Parts[0])
		c.w.WriteByte(' ')
		c.putInt(p.Lines)
	case p.Type == "text":
		c.w.WriteByte(' ')
		c.putInt(p.Lines)
	}
	if c.extended { // body-ext-1part = body-fld-md5 SP body-fld-dsp SP body-fld-lang SP body-fld-loc
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
