// The tree in use: part numbers, and which part is the text, the root, a file or a signature.
package main

import "strings"

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

// Find goes down by IMAP part numbers (RFC 9051 §6.4.5.1). The empty path is p, which must be a message. The parts of a
// multipart are counted from 1; a message that is no multipart has one part, 1, which is its own body; the numbers
// below a message/rfc822 part are those of the message inside. nil when there is no such part.
//
// So Find(2) of a multipart/mixed with a forwarded message is the message/rfc822 part, its header fields those of the
// MIME part, and Find(2).Parts[0] is the message inside, whose header BODY[2.HEADER] means.
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

// Walk calls fn for every part that has an IMAP part number, in the order of the message, and first for the message
// itself when it is a multipart, with an empty path. When fn returns false, what is inside the part is passed over. The
// path is good until fn returns.
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

// Any8bitHeader says whether a header block has raw 8-bit text: the message's, a part's, or that of a message inside,
// which Walk does not show when it is a multipart.
func (p *Part) Any8bitHeader() bool {
	for _, c := range p.Parts {
		if c.Any8bitHeader() {
			return true
		}
	}
	return p.Header8bit
}

// TextPart is the first text that a person should read, text/plain or text/html as asked for; nil when there is none.
// It looks where readers look: not into attachments, and not into forwarded messages. A page that shows the message
// asks for all Leaves instead.
func (p *Part) TextPart(subtype string) *Part {
	for _, l := range p.Leaves(nil, Reading{}) {
		if l.Part.Is("text", subtype) && (l.Fate == LeafShown || l.Fate == LeafAlternative) {
			return l.Part
		}
	}
	return nil
}

// isAttached says whether the sender meant the part as a file. Mailers that know no Content-Disposition give the file a
// name and nothing else.
func (p *Part) isAttached() bool {
	return p.Disp == "attachment" || p.Filename() != ""
}

// Attachments lists what a reader offers as files, in order, as far as the tree alone can tell: the leaves of the fate
// LeafFile. A forwarded message is one attachment.
func (p *Part) Attachments() []*Part {
	var list []*Part
	for _, l := range p.Leaves(nil, Reading{}) {
		if l.Fate == LeafFile {
			list = append(list, l.Part)
		}
	}
	return list
}

// isSignature knows the second part of a multipart/signed (RFC 1847 §2.1). List programs put other parts there.
func (p *Part) isSignature(parent *Part) bool {
	if parent.Subtype != "signed" || len(parent.Parts) < 2 || p != parent.Parts[1] || p.IsMultipart() || p.IsMessage() {
		return false
	}
	return p.Type != "text" || strings.EqualFold(parent.Param("protocol"), p.Type+"/"+p.Subtype)
}
