// Content: a spool on its way in, chunks at rest, a reader out, and the collector of what nobody refers to.
package main

import (
	"fmt"
)

// BlobID identifies content that is stored once, however many mailboxes and queue items refer to it. IDs are never reused.
type BlobID int64

const (
	chunkSize   = 64 << 10 // octets of content in one row
	chunkBits   = 14       // chunk id = blob<<chunkBits | n, which allows 1 GiB a message
	headMax     = 64 << 10 // octets of the header block kept beside the tree
	spoolMemory = 256 << 10
)

// Blob is content that has been added in this transaction or before.
type Blob struct {
	ID     BlobID
	Size   int64
	Thread int64
	Form   Form
	Shown  int64 // octets that whoever does not take binary gets, where it has binary parts; 0 for Size
}

// AddBlob stores the spooled content once. If the transaction ends without anything referring to it, it is cleared away.
func (tx *Tx) AddBlob(sp *Spool) (Blob, error) {
	if sp.staged.ID != 0 {
		n, err := tx.exec(`DELETE FROM refs WHERE blob=? AND n=0`, sp.staged.ID)
		if err == nil && n > 0 {
			tx.unreferenced[sp.staged.ID] = true
		}
		return sp.staged, err
	}
	b, at, err := tx.addHead(sp)
	if err == nil {
		_, err = tx.addChunks(sp, b, at, b.Size)
	}
	return b, err
}

// blobRow is content's row in blobs, without its ID.
type blobRow struct {
	Blob
	headLen    int64
	headHere   int64 // octets of the header block that are in the row
	head, tree piece
}

// describe makes the content's row, once.
func (sp *Spool) describe() (*blobRow, error) {
	if sp.row != nil {
		return sp.row, nil
	}
	head, err := sp.Head()
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	form, err := sp.form()
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	if sp.Size() >= chunkSize<<chunkBits {
		return nil, ErrTooBig
	}
	row := &blobRow{Blob: Blob{Size: sp.Size(), Thread: threadOf(ParseHeader(head)), Form: form}, headLen: sp.Tree().HeaderLen, headHere: int64(len(head))}
	if form&FormBinary != 0 {
		row.Shown, err = encodedSize(sp.Tree(), sp)
		if err != nil {
			return nil, fmt.Errorf("read spool: %w", err)
		}
	}
	row.head, err = sp.s.packer.pack(head)
	if err == nil {
		row.tree, err = sp.s.packer.pack(sp.Tree().Marshal())
	}
	if err != nil {
		return nil, fmt.Errorf("pack content: %w", err)
	}
	sp.row = row
	return row, nil
}

// addHead stores the content's row and returns how much of the content is in it.
func (tx *Tx) addHead(sp *Spool) (Blob, int64, error) {
	row, err := sp.describe()
	if err != nil {
		return Blob{}, 0, err
	}
	b := row.Blob
	err = tx.one(`SELECT coalesce(max(id),0)+1 FROM blobs`, nil, &b.ID)
	if err == nil {
		_, err = tx.exec(`INSERT INTO blobs(id,size,headlen,codec,head,tree) VALUES(?,?,?,?,?,?)`,
			b.ID, b.Size, row.headLen, codecPiece, row.head.at(placeOfHead(b.ID)), row.tree.at(placeOfTree(b.ID)))
	}
	if err != nil {
		return Blob{}, 0, fmt.Errorf("add content: %w", err)
	}
	tx.unreferenced[b.ID] = true
	return b, row.headHere, nil
}

// addChunks stores chunks of the content from offset at up to end or a little further, and returns where it stopped.
func (tx *Tx) addChunks(sp *Spool, b Blob, at, end int64) (int64, error) {
	head := min(sp.Tree().HeaderLen, headMax)
	for at < end {
		k := (at - head) / chunkSize
		p, packed := sp.packed[k]
		if !packed {
			var err error
			p, err = sp.pack(at, b.Size)
			if err != nil {
				return at, err
			}
		}
		place := placeOfChunk(b.ID, k)
		if _, err := tx.exec(`INSERT INTO chunks(id,data) VALUES(?,?)`, place, p.at(place)); err != nil {
			return at, fmt.Errorf("add content: %w", err)
		}
		n := min(chunkSize, b.Size-at)
		at += n
		tx.wrote += n
	}
	return at, nil
}

// pack makes a piece of the chunk that begins at an offset.
func (sp *Spool) pack(at, size int64) (piece, error) {
	octets, err := sp.piece(sp.buf, at, min(chunkSize, size-at))
	if err != nil {
		return piece{}, fmt.Errorf("read spool: %w", err)
	}
	if sp.file != nil {
		sp.buf = octets
	}
	p, err := sp.s.packer.pack(octets)
	if err != nil {
		return piece{}, fmt.Errorf("pack content: %w", err)
	}
	return p, nil
}

// packAhead makes pieces of the chunks from offset at up to end, outside of any transaction, as far as there is memory for them: addChunks
// makes the others.
func (sp *Spool) packAhead(at, end int64) error {
	head, size := min(sp.Tree().HeaderLen, headMax), sp.Size()
	if sp.packed == nil {
		sp.packed = map[int64]piece{}
	}
	for ; at < end; at += chunkSize {
		k := (at - head) / chunkSize
		if _, have := sp.packed[k]; have {
			continue
		}
		p, err := sp.pack(at, size)
		if err != nil {
			return err
		}
		n := int64(len(p.stored))
		if !sp.s.coming.take(sp.charge, n, comingContent) {
			return nil
		}
		sp.charge += n
		sp.packed[k] = p
	}
	return nil
}

// dropPacked gives up what packAhead has made.
func (sp *Spool) dropPacked() {
	for _, p := range sp.packed {
		n := int64(len(p.stored))
		sp.s.coming.give(n)
		sp.charge -= n
	}
	sp.packed = nil
}

// refer takes a reference to content. The first one to fresh content is the one it was stored with.
func (tx *Tx) refer(id BlobID) error {
	if tx.unreferenced[id] {
		delete(tx.unreferenced, id)
		return nil
	}
	var here int
	if err := tx.one(`SELECT 1 FROM blobs WHERE id=?`, []any{id}, &here); err != nil {
		return fmt.Errorf("content %d: %w", id, err)
	}
	return tx.share(id)
}

// share takes one more reference to content that a row of this transaction has, so that it must be there.
func (tx *Tx) share(id BlobID) error {
	_, err := tx.exec(`INSERT INTO refs(blob,n) VALUES(?,2) ON CONFLICT(blob) DO UPDATE SET n=n+1`, id)
	return err
}

// release gives a reference up; the collector clears away what has none left.
func (tx *Tx) release(id BlobID) error {
	_, err := tx.exec(`INSERT INTO refs(blob,n) VALUES(?,0) ON CONFLICT(blob) DO UPDATE SET n=n-1`, id)
	return err
}

// ThreadFrom is the thread that a message begins whose id has this hash in MailKeys.
func ThreadFrom(id uint64) int64 { return int64(id >> 1) }

// threadOf names a conversation by its first message: the head of References, else In-Reply-To, else itself. Nothing has
// to be looked up, and all answers that name their roots find each other (RFC 5256 does no better without them).
func threadOf(h Header) int64 {
	for _, name := range []string{"References", "In-Reply-To", "Message-ID"} {
		if ids := MessageIDs(h.Get(name)); len(ids) > 0 {
			return ThreadFrom(idHash(ids[0]))
		}
	}
	return 0
}
