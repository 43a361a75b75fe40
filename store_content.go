// Reading content: its tree, its header, its octets.
package main

import (
	"fmt"
	"io"
)

// Content is stored content: header block and tree in memory, the rest read chunk by chunk, each with a query of its
// own. It holds no transaction. One goroutine may use it at a time.
type Content struct {
	ID      BlobID
	Size    int64
	HeadLen int64  // octets of the whole header block
	Head    []byte // its first 64 KiB
	tree    []byte
	part    *Part
	s       *Store
	at      int64 // which chunk is in chunk
	chunk   []byte
	sums    []byte // of head, tree and chunks; nil as long as they are not read, empty where there are none

	headGood  bool   // it was compared with its sum
	chunkGood bool   // and so was the chunk
	spool     *Spool // holds it instead of chunks, see WithoutBinary
}

// Content opens stored content.
func (s *Store) Content(id BlobID) (*Content, error) {
	return read(s, func(tx *Tx) (*Content, error) { return tx.Content(id) })
}

// Content opens stored content; its ReadAt must wait until the transaction is over.
func (tx *Tx) Content(id BlobID) (*Content, error) {
	c := &Content{ID: id, s: tx.s, at: -1}
	err := tx.one(`SELECT size,headlen,head,tree FROM blobs WHERE id=?`, []any{id}, &c.Size, &c.HeadLen, &c.Head, &c.tree)
	if err != nil {
		return nil, fmt.Errorf("content %d: %w", id, err)
	}
	return c, nil
}

// Tree is the MIME tree, read now if the listing left it out. A damaged one is replaced by a single opaque part.
func (c *Content) Tree() *Part {
	if c.part != nil {
		return c.part
	}
	p, err := c.readTree()
	if err != nil {
		c.s.log.Error("stored MIME tree", "blob", c.ID, "err", err)
		p = &Part{HeaderLen: c.HeadLen, BodyOff: c.HeadLen, BodyLen: c.Size - c.HeadLen, Type: "application", Subtype: "octet-stream", Encoding: "binary"}
	}
	c.part, c.tree = p, nil
	return p
}

func (c *Content) readTree() (*Part, error) {
	if c.tree == nil {
		err := c.s.readOne(`SELECT tree FROM blobs WHERE id=?`, []any{c.ID}, &c.tree)
		if err != nil {
			return nil, err
		}
	}
	return UnmarshalPart(c.tree)
}

// Header is the parsed top header block.
func (c *Content) Header() Header { return ParseHeader(c.Head) }

// WholeHeader is the parsed top header block, read from the chunks where it is longer than what Head has of it.
func (c *Content) WholeHeader() (Header, error) {
	if c.HeadLen <= int64(len(c.Head)) {
		return c.Header(), nil
	}
	b := make([]byte, min(c.HeadLen, maxPartHeader))
	_, err := io.ReadFull(io.NewSectionReader(c, 0, int64(len(b))), b)
	return ParseHeader(b), err
}

// Reader reads the whole message.
func (c *Content) Reader() *io.SectionReader { return io.NewSectionReader(c, 0, c.Size) }

// ReadAt reads content; only the chunks that it touches are fetched, and the last one is kept.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	if c.spool != nil {
		return c.spool.ReadAt(p, off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= c.Size {
			return n, io.EOF
		}
		if at < int64(len(c.Head)) {
			if err := c.checkHead(); err != nil {
				return n, err
			}
			n += copy(p[n:], c.Head[at:])
			continue
		}
		body := at - int64(len(c.Head))
		if k := body / chunkSize; k != c.at {
			if err := c.fetch(k); err != nil {
				return n, err
			}
		}
		if err := c.checkChunk(); err != nil {
			return n, err
		}
		if body%chunkSize >= int64(len(c.chunk)) {
			return n, fmt.Errorf("content %d: chunk %d is short: %w", c.ID, c.at, io.ErrUnexpectedEOF)
		}
		n += copy(p[n:], c.chunk[body%chunkSize:])
	}
	return n, nil
}

func (c *Content) fetch(k int64) error {
	c.at = -1
	err := c.s.readOne(`SELECT data FROM chunks WHERE id=?`, []any{int64(c.ID)<<chunkBits | k}, &c.chunk)
	if err != nil {
		return fmt.Errorf("content %d: chunk %d: %w", c.ID, k, err)
	}
	c.at, c.chunkGood = k, false
	return nil
}

// readOne reads one row outside a transaction.
func (s *Store) readOne(query string, args []any, dest ...any) error {
	c, err := s.reader()
	if err != nil {
		return err
	}
	defer func() { s.readers <- c }()
	err = (&Tx{s: s, c: c}).one(query, args, dest...)
	s.suspect(err)
	return err
}

// asContent makes the spool's octets readable like stored content with that id. They are good until the spool is closed.
func (sp *Spool) asContent(id BlobID) (*Content, error) {
	head, err := sp.Head()
	if err != nil {
		return nil, err
	}
	tree := sp.Tree()
	return &Content{ID: id, Size: sp.Size(), HeadLen: tree.HeaderLen, Head: head, part: tree, s: sp.s, at: -1, spool: sp}, nil
}
