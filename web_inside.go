// What is packed in a part: the message inside opaque-signed S/MIME, and the files in a winmail.dat.
package main

import (
	"cmp"
	"io"
	"strconv"
	"strings"
)

// A place in a message is an IMAP part number. "s" behind it means the message that was signed in that part, and what
// follows is a place in that one; "t3" means the fourth file of a winmail.dat.
const (
	webInSigned   = "s"
	webInTNEF     = "t"
	webMaxInside  = 4 // signed messages inside each other
	webMaxOpening = 200
)

// find goes to a place: the content it is in, which is another one inside what was signed, and the part. The content is
// good until the request is over.
func (q *webReq) find(c *Content, at string) (*Content, *Part, error) {
	for range webMaxInside {
		outer, inner, signed := strings.Cut(at, webInSigned)
		path := webPath(outer)
		if path == nil {
			return nil, nil, ErrNotFound
		}
		p := c.Tree().Find(path)
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

// signed opens the message inside a signed part.
func (q *webReq) signed(c *Content, p *Part) (*Content, error) {
	if p == nil || !p.MayBeSigned() || len(q.spools) >= webMaxOpening {
		return nil, ErrNotFound
	}
	r, err := p.Signed(c)
	if err != nil {
		return nil, ErrNotFound
	}
	sp := q.s.store.NewSpool(int64(q.s.cfg.Limits.Message))
	q.spools = append(q.spools, sp)
	if _, err := io.Copy(sp, r); err != nil {
		return nil, ErrNotFound
	}
	return sp.asContent(c.ID)
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
	part       *Part // nil for a file in a winmail.dat
}

// packed opens the file at a place of a message.
func (q *webReq) packed(m *webMessage, at string) (webPacked, error) {
	place, number, inTNEF := strings.Cut(at, webInTNEF)
	c, p, err := q.find(m.stored, place)
	switch {
	case err != nil:
		return webPacked{}, err
	case p == nil || p.IsMultipart():
		return webPacked{}, ErrNotFound
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
