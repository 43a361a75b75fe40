// The tree at rest and in use: its binary form, part numbers, and which part is what.
package main

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
