// Binary content: BINARY sends parts without their transfer encoding, and all other items describe and send what came without
// one as if it had one (RFC 3516).
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// imapTextual is the content that textual has made last.
type imapTextual struct {
	id      BlobID
	content *Content
}

// textual is content as all items but BINARY show it: "as though the binary-encoded sections are encoded in a CTE acceptable to
// the IMAP4 base specification" (RFC 3516 §6). It stays there until another message's is made or the mailbox is left, so that
// a client can read it in parts.
func (c *imapConn) textual(form Form, content *Content) (*Content, error) {
	if form&FormBinary == 0 || content == nil {
		return content, nil
	}
	if c.shown.content != nil && c.shown.id == content.ID {
		return c.shown.content, nil
	}
	c.shown.close()
	text, err := content.WithoutBinary()
	if err != nil {
		return nil, err
	}
	if text == content { // it could not be made
		return text, nil
	}
	c.shown = imapTextual{content.ID, text}
	c.srv.sent.put(sentForm{id: content.ID, encoded: true}, text.Size)
	return text, nil
}

// textualSize is the size of the whole message as textual shows it.
func (c *imapConn) textualSize(m *Listed) (int64, error) {
	if n, ok := c.srv.sent.get(sentForm{id: m.Blob, encoded: true}); ok {
		return n, nil
	}
	content := m.Content
	if content == nil {
		var err error
		content, err = c.srv.store.Content(m.Blob)
		if errors.Is(err, ErrNotFound) { // expunged, and cleared away
			return m.Size, nil
		}
		if err != nil {
			return 0, err
		}
	}
	text, err := c.textual(m.Form, content)
	if err != nil {
		return 0, err
	}
	return text.Size, nil
}

// close gives back what it holds.
func (t *imapTextual) close() {
	if t.content != nil {
		t.content.Close()
	}
	*t = imapTextual{}
}

func imapMaskNUL(b []byte) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return
		}
		b[i] = '?'
		b = b[i+1:]
	}
}

// imapMeasure counts octets and looks for NUL.
type imapMeasure struct {
	n   int64
	nul bool
}

func (m *imapMeasure) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	m.nul = m.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}

// binaryPart is the part that BINARY means; the message itself has no transfer encoding.
func (it *imapWish) binaryPart(m *Content) *Part {
	if len(it.section.path) == 0 {
		return &Part{BodyLen: m.Size, Encoding: "binary"}
	}
	return m.Tree().Find(it.section.path)
}

// undecodable says whether an item wants the message in a form that it can't be given (RFC 3516 §4.3).
func (f *imapFetch) undecodable(m *Listed) bool {
	for i := range f.items {
		if it := &f.items[i]; it.binary {
			if p := it.binaryPart(m.Content); p != nil && !p.KnownEncoding() {
				f.unknown = true
				return true
			}
		}
	}
	return false
}

// putBinary writes a part without its transfer encoding (RFC 3516 §4.2). Its length has to be known first, so it is
// decoded twice rather than held in memory.
func (f *imapFetch) putBinary(m *Content, it *imapWish) error {
	p := it.binaryPart(m)
	if p == nil {
		f.c.w.WriteString("NIL")
		return nil
	}
	var all imapMeasure
	if _, err := io.Copy(&all, p.Decoded(m)); err != nil {
		return f.c.unreadable(err)
	}
	off, n := it.section.cut(all.n)
	r := p.Decoded(m)
	if _, err := io.CopyN(io.Discard, r, off); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", imapErrLost, err)
	}
	return f.putLiteral(r, n, all.nul)
}

// fetchBinarySize writes BINARY.SIZE (RFC 3516 §4.3).
func (c *imapConn) fetchBinarySize(m *Listed, it *imapWish) error {
	var all imapMeasure
	if p := it.binaryPart(m.Content); p != nil {
		if _, err := io.Copy(&all, p.Decoded(m.Content)); err != nil {
			return fmt.Errorf("%w: %w", imapErrLost, err)
		}
	}
	c.putInt(all.n)
	return nil
}
