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

	ready [][]byte // the first chunks, opened and compared with their sums, where a listing has read them
	old   []byte   // memory for a chunk as it is stored
	room  []byte   // and for what it stands for
}

// storedContent is what a query reads of content. What is not asked for stays empty.
type storedContent struct {
	size, headLen, codec int64
	head, tree           []byte
}

// open makes Content of it, to be read with the store.
func (r *storedContent) open(s *Store, id BlobID) *Content {
	c := &Content{ID: id, Size: r.size, HeadLen: r.headLen, Head: r.head, tree: r.tree, treeCodec: r.codec, s: s, at: -1}
	c.openHead(func(n int) []byte { return make([]byte, 0, n) })
	return c
}

// openHead undoes what was done to store the header block, with memory from room.
func (c *Content) openHead(room func(int) []byte) {
	if c.treeCodec != codecPiece {
		return
	}
	want := c.headHere()
	stored := c.Head
	c.headPacked = true
	c.Head, c.headFault = c.s.packer.openInto(room(int(want)), stored, placeOfHead(c.ID), want)
	if c.headFault == nil && int64(len(c.Head)) != want {
		c.headFault = fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(c.Head), want)
	}
	if c.headFault != nil {
		c.Head = nil
	}
}

// openedChunk undoes what was done to store the kth chunk of content with a codec, with memory from room.
func (c *Content) openedChunk(room func(int) []byte, stored []byte, k, codec int64) ([]byte, error) {
	if !chunkIsPiece(codec, k) {
		err := c.readSums()
		if err == nil && !sumIs(c.sums, 2+k, stored) {
			err = fmt.Errorf("content %d: chunk %d: %w", c.ID, k, ErrContentDamaged)
		}
		return stored, err
	}
	want := min(c.Size-c.headHere()-k*chunkSize, chunkSize)
	octets, err := c.s.packer.openInto(room(int(max(want, 0))), stored, placeOfChunk(c.ID, k), want)
	if err == nil && int64(len(octets)) != want {
		err = fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(octets), want)
	}
	if err != nil {
		return nil, fmt.Errorf("content %d: chunk %d: %w", c.ID, k, err)
	}
	return octets, nil
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
		some, err := c.from(off + int64(n))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], some)
	}
	return n, nil
}

// Each gives n octets from an offset on to fn, in the pieces in which they are in memory: nothing is copied. They must not be
// changed, and are fn's until it returns. ErrContentDamaged, and io.EOF for what is beyond the end.
func (c *Content) Each(off, n int64, fn func([]byte) error) error {
	if c.spool != nil {
		_, err := io.Copy(writerFunc(fn), io.NewSectionReader(c.spool, off, n))
		return err
	}
	end := off + n
	for off < end {
		if k := (off - c.headHere()) / chunkSize; off >= c.headHere() && k >= int64(len(c.ready)) && end-off > chunkSize {
			return c.eachAhead(off, end, fn)
		}
		some, err := c.from(off)
		if err != nil {
			return err
		}
		some = some[:min(end-off, int64(len(some)))]
		if err := fn(some); err != nil {
			return err
		}
		off += int64(len(some))
	}
	return nil
}

// eachAhead is Each for several chunks that are to be read: while fn has one, the next is read and opened.
func (c *Content) eachAhead(off, end int64, fn func([]byte) error) error {
	if end > c.Size {
		return io.EOF
	}
	if err := c.readSums(); err != nil && c.treeCodec != codecPiece {
		return err
	}
	var rooms [2]Content // each with a chunk of its own
	next := func(k int64) <-chan error {
		r := &rooms[k%2]
		r.ID, r.Size, r.HeadLen, r.s, r.sums = c.ID, c.Size, c.HeadLen, c.s, c.sums
		return c.s.crew.Result("content", func() error {
			err := r.fetch(k)
			if err == nil {
				err = r.checkChunk()
			}
			return err
		})
	}
	head := c.headHere()
	k := (off - head) / chunkSize
	for coming := next(k); off < end; k++ {
		err := <-coming
		if err != nil {
			return err
		}
		from := head + k*chunkSize
		octets := rooms[k%2].chunk
		upto := min(end, from+chunkSize)
		if int64(len(octets)) < upto-from {
			return fmt.Errorf("content %d: chunk %d is short: %w", c.ID, k, io.ErrUnexpectedEOF)
		}
		if upto < end {
			coming = next(k + 1)
		}
		err = fn(octets[off-from : upto-from])
		if err != nil {
			if upto < end {
				<-coming
			}
			return err
		}
		off = upto
	}
	return nil
}

// writerFunc is a function to write with.
type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// from is content from an offset on, as much as is in memory together, good until the next chunk is asked for.
func (c *Content) from(off int64) ([]byte, error) {
	if off >= c.Size {
		return nil, io.EOF
	}
	if off < c.headHere() {
		if err := c.checkHead(); err != nil {
			return nil, err
		}
		return c.Head[off:], nil
	}
	body := off - c.headHere()
	k := body / chunkSize
	var octets []byte
	if k < int64(len(c.ready)) {
		octets = c.ready[k]
	} else {
		if k != c.at {
			if err := c.fetch(k); err != nil {
				return nil, err
			}
		}
		if err := c.checkChunk(); err != nil {
			return nil, err
		}
		octets = c.chunk
	}
	if body%chunkSize >= int64(len(octets)) {
		return nil, fmt.Errorf("content %d: chunk %d is short: %w", c.ID, k, io.ErrUnexpectedEOF)
	}
	return octets[body%chunkSize:], nil
}

// fetch reads a chunk as it is stored. The memory of the last one is used again.
func (c *Content) fetch(k int64) error {
	c.at = -1
	db, err := c.s.reader()
	if err != nil {
		return err
	}
	defer func() { c.s.readers <- db }()
	found := false
	var codec int64 // it may have changed since the rest was read, see Compact
	err = (&Tx{s: c.s, c: db}).eachRow(`SELECT data,(SELECT codec FROM blobs WHERE id=?) FROM chunks WHERE id=?`, []any{c.ID, placeOfChunk(c.ID, k)}, func(row *dbStmt) error {
		found = !row.isNull(1)
		c.old, codec = append(c.old[:0], row.octets(0)...), row.int(1)
		return nil
	})
	c.s.suspect(err)
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("content %d: chunk %d: %w", c.ID, k, err)
	}
	c.at, c.chunk, c.chunkGood, c.chunkCodec = k, c.old, false, codec
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
