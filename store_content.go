// Reading content: its tree, its header, its octets.
package main

import (
	"database/sql"
	"fmt"
	"io"
)

// Content is stored content: header block and tree in memory, the rest read chunk by chunk, each with a query of its
// own. It holds no transaction. One goroutine may use it at a time.
type Content struct {
	ID      BlobID
	Size    int64
	HeadLen int64  // octets of the whole header block
	Head    []byte // its first 64 KiB; nil if they are damaged
	tree    []byte // as it is stored
	part    *Part
	s       *Store
	at      int64  // which chunk is in chunk
	chunk   []byte // as it is stored, until checkChunk
	sums    []byte // of head, tree and chunks with codecRaw; nil as long as they are not read, empty where there are none

	treeCodec, chunkCodec int64
	headPacked            bool   // it was a piece, with its sum
	headFault             error  // why Head can't be read
	headGood              bool   // it was compared with its sum
	chunkGood             bool   // and so was the chunk, and opened
	spool                 *Spool // holds it instead of chunks, see WithoutBinary
}

// storedContent is what a query reads of content. What is not asked for stays empty.
type storedContent struct {
	size, headLen, codec    int64
	head, tree, chunk, sums []byte // chunk is the first one
}

// open makes Content of it, to be read with the store.
func (r *storedContent) open(s *Store, id BlobID) *Content {
	c := &Content{ID: id, Size: r.size, HeadLen: r.headLen, Head: r.head, tree: r.tree, treeCodec: r.codec, s: s, at: -1, sums: r.sums}
	if r.codec == codecPiece {
		c.headPacked = true
		c.Head, c.headFault = s.packer.open(r.head, placeOfHead(id), c.headHere())
		if c.headFault == nil && int64(len(c.Head)) != c.headHere() {
			c.headFault = fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(c.Head), c.headHere())
		}
		if c.headFault != nil {
			c.Head = nil
		}
	}
	if r.chunk != nil {
		c.at, c.chunk, c.chunkCodec = 0, r.chunk, r.codec
	}
	return c
}

// held is how many octets of memory the content takes, when its chunk is opened.
func (c *Content) held() int {
	n := len(c.Head) + len(c.tree)
	if c.at >= 0 {
		n += int(max(min(c.Size-c.headHere(), chunkSize), int64(len(c.chunk))))
	}
	return n
}

// headHere is how many octets of the header block are in Head, unless they are damaged.
func (c *Content) headHere() int64 { return min(c.HeadLen, headMax) }

// Content opens stored content.
func (s *Store) Content(id BlobID) (*Content, error) {
	return read(s, func(tx *Tx) (*Content, error) { return tx.Content(id) })
}

// Content opens stored content; its ReadAt must wait until the transaction is over.
func (tx *Tx) Content(id BlobID) (*Content, error) {
	var r storedContent
	err := tx.one(`SELECT size,headlen,codec,head,tree FROM blobs WHERE id=?`, []any{id}, &r.size, &r.headLen, &r.codec, &r.head, &r.tree)
	if err != nil {
		return nil, fmt.Errorf("content %d: %w", id, err)
	}
	return r.open(tx.s, id), nil
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
		err := c.s.readOne(`SELECT tree,codec FROM blobs WHERE id=?`, []any{c.ID}, &c.tree, &c.treeCodec)
		if err != nil {
			return nil, err
		}
	}
	tree, err := c.openTree()
	if err != nil {
		return nil, err
	}
	return UnmarshalPart(tree)
}

// openTree undoes what was done to store the tree.
func (c *Content) openTree() ([]byte, error) {
	if c.treeCodec != codecPiece {
		return c.tree, nil
	}
	tree, err := c.s.packer.open(c.tree, placeOfTree(c.ID), pieceMost)
	if err != nil {
		return nil, fmt.Errorf("content %d: tree: %w", c.ID, err)
	}
	return tree, nil
}

// Header is the parsed top header block.
func (c *Content) Header() Header { return ParseHeader(c.Head) }

// WholeHeader is the parsed top header block, read from the chunks where it is longer than what Head has of it.
func (c *Content) WholeHeader() (Header, error) {
	if c.HeadLen <= headMax && c.headFault == nil {
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
		if at < c.headHere() {
			if err := c.checkHead(); err != nil {
				return n, err
			}
			n += copy(p[n:], c.Head[at:])
			continue
		}
		body := at - c.headHere()
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
	var codec sql.NullInt64 // it may have changed since the rest was read, see Compact
	err := c.s.readOne(`SELECT data,(SELECT codec FROM blobs WHERE id=?) FROM chunks WHERE id=?`, []any{c.ID, placeOfChunk(c.ID, k)}, &c.chunk, &codec)
	if err != nil {
		return fmt.Errorf("content %d: chunk %d: %w", c.ID, k, err)
	}
	if !codec.Valid {
		return fmt.Errorf("content %d: %w", c.ID, ErrNotFound)
	}
	c.at, c.chunkGood, c.chunkCodec = k, false, codec.Int64
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
