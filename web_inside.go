// What is packed in a part: the message inside opaque-signed S/MIME, and the files in a winmail.dat or inside a text.
package main

import (
	"cmp"
	"io"
	"path"
	"strconv"
	"strings"
)

// A place in a message is an IMAP part number. "s" behind it means the message that was signed in that part, and what
// follows is a place in that one; "t3" means the fourth file of a winmail.dat, "u3" the fourth file inside a text.
const (
	webInSigned   = "s"
	webInTNEF     = "t"
	webInText     = "u"
	webMaxInside  = 4 // signed messages inside each other
	webMaxOpening = 200
)

// find goes to a place: the content it is in, which is another one inside what was signed, and the part. The content is
// good until the request is over.
func (q *webReq) find(c *Content, at string) (*Content, *Part, error) {
	for range webMaxInside {
		outer, inner, signed := strings.Cut(at, webInSigned)
		numbers := webPath(outer)
		if numbers == nil {
			return nil, nil, ErrNotFound
		}
		p := c.Tree().Find(numbers)
		if p == nil || !signed {
			return c, p, nil
		}
		var err error
		c, err = q.signed(c, p)
		if err != nil || inner == "" {
			return c, c.root(), err
		}
		at = inner
	}
	return nil, nil, ErrNotFound
}

// root is the tree, nil of no content.
func (c *Content) root() *Part {
	if c == nil {
		return nil
	}
	return c.Tree()
}

// signed opens the message inside a signed part, or inside one that is encoded although no message should be.
func (q *webReq) signed(c *Content, p *Part) (*Content, error) {
	if p == nil || len(q.spools) >= webMaxOpening {
		return nil, ErrNotFound
	}
	var r io.Reader
	switch {
	case webHoldsMessage(p, c):
		r = p.Decoded(c)
	case p.MayBeSigned():
		var err error
		r, err = p.Signed(c)
		if err != nil {
			return nil, ErrNotFound
		}
	default:
		return nil, ErrNotFound
	}
	sp := q.s.store.NewSpool(int64(q.s.cfg.Limits.Message))
	q.spools = append(q.spools, sp)
	if _, err := io.Copy(sp, r); err != nil {
		return nil, ErrNotFound
	}
	return sp.asContent(c.ID)
}

// webHoldsMessage says whether the part is a message/rfc822 in base64, whose inside no tree knows (RFC 2046 §5.2.1 forbids
// it), or one without that label.
func webHoldsMessage(p *Part, c *Content) bool {
	if !p.isEncoded() || (!p.Opaque && !strings.EqualFold(path.Ext(p.Filename()), ".eml")) {
		return false
	}
	head := make([]byte, 4<<10)
	n, _ := io.ReadFull(p.Decoded(c), head)
	return looksLikeMail(head[:n], 2)
}

// closeSpools gives back what was opened for the request.
func (q *webReq) closeSpools() {
	for _, sp := range q.spools {
		sp.Close()
	}
}

// openSigned reads a message that is signed as a whole, and so has its text inside the signature, as what was signed.
func (q *webReq) openSigned(m *webMessage) {
	if m.root.IsMultipart() || !m.root.MayBeSigned() {
		return
	}
	at := webJoinPlace(m.At, "1") + webInSigned
	c, root, err := q.find(m.stored, at)
	if err == nil && root != nil {
		m.content, m.root, m.inside = c, root, at
	}
}

// webJoinPlace is a place below another.
func webJoinPlace(at, below string) string {
	if at == "" || strings.HasSuffix(at, webInSigned) {
		return at + below
	}
	return at + "." + below
}

// webPacked is a file at a place, however it is packed.
type webPacked struct {
	name, kind string
	body       io.Reader
	part       *Part // nil for a file in a winmail.dat or a text
}

// packed opens the file at a place of a message.
func (q *webReq) packed(m *webMessage, at string) (webPacked, error) {
	place, number, inTNEF := strings.Cut(at, webInTNEF)
	place, textNumber, inText := strings.Cut(place, webInText)
	c, p, err := q.find(m.stored, place)
	switch {
	case err != nil:
		return webPacked{}, err
	case p == nil || p.IsMultipart():
		return webPacked{}, ErrNotFound
	case inText:
		return webTextFile(p, c, textNumber)
	case !inTNEF:
		return webPacked{webPartName(p), p.Type + "/" + p.Subtype, p.Decoded(c), p}, nil
	}
	t, err := p.TNEF(c)
	n, nerr := strconv.Atoi(number)
	if err != nil || nerr != nil || n < 0 || n >= len(t.Files) {
		return webPacked{}, ErrNotFound
	}
	body, err := t.Files[n].Open(p, c)
	return webPacked{webTNEFName(t.Files[n]), t.Files[n].Type, body, nil}, err
}

// webTextFile is a file inside a text.
func webTextFile(p *Part, c *Content, number string) (webPacked, error) {
	n, err := strconv.Atoi(number)
	files := p.TextFiles(c)
	if err != nil || n < 0 || n >= len(files) {
		return webPacked{}, ErrNotFound
	}
	return webPacked{webInsideName(files[n].Name), "application/octet-stream", files[n].Open(p, c), nil}, nil
}

// textFiles lists the files inside the text at a place.
func (q *webReq) textFiles(m *webMessage, l webLeaf) []webFile {
	var all []webFile
	for i, f := range l.Part.TextFiles(m.content) {
		at := l.At + webInText + strconv.Itoa(i)
		all = append(all, webFile{Name: webInsideName(f.Name), Kind: "application/octet-stream", Size: f.Size, Path: at, Href: m.Href + "/part/" + at})
	}
	return all
}

func webInsideName(name string) string { return cmp.Or(webFileName(decodeRaw(name, "")), "file") }

func webTNEFName(f TNEFFile) string { return cmp.Or(webFileName(f.Name), "file") }

// tnefFiles lists the files in the winmail.dat at a place.
func (q *webReq) tnefFiles(m *webMessage, l webLeaf) []webFile {
	t, err := l.Part.TNEF(m.content)
	if err != nil {
		return nil
	}
	var all []webFile
	for i, f := range t.Files {
		at := l.At + webInTNEF + strconv.Itoa(i)
		all = append(all, webFile{Name: webTNEFName(f), Kind: f.Type, Size: f.Size, Path: at, Href: m.Href + "/part/" + at})
	}
	return all
}

// tnefText is the text in a winmail.dat, for a message that has no other.
func (q *webReq) tnefText(m *webMessage) string {
	for _, l := range m.leaves {
		if l.Fate == LeafFile && l.Part.IsTNEF() {
			if t, err := l.Part.TNEF(m.content); err == nil && t.Text != "" {
				return t.Text
			}
		}
	}
	return ""
}
