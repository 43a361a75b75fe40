// Content: a spool on its way in, chunks at rest, a reader out, and the collector of what nobody refers to.
package main

import (
	"fmt"
	"hash/fnv"
	"io"
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
	headLen int64
	head    []byte
	tree    []byte
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
	sp.row = &blobRow{Blob{Size: sp.Size(), Thread: threadOf(ParseHeader(head)), Form: form}, sp.Tree().HeaderLen, head, sp.Tree().Marshal()}
	return sp.row, nil
}

// addHead stores the content's row and returns how much of the content is in it.
func (tx *Tx) addHead(sp *Spool) (Blob, int64, error) {
	row, err := sp.describe()
	if err != nil {
		return Blob{}, 0, err
	}
	b := row.Blob
	err = tx.one(`INSERT INTO blobs(id,size,headlen,head,tree) VALUES((SELECT coalesce(max(id),0)+1 FROM blobs),?,?,?,?) RETURNING id`,
		[]any{b.Size, row.headLen, row.head, row.tree}, &b.ID)
	if err != nil {
		return Blob{}, 0, fmt.Errorf("add content: %w", err)
	}
	tx.unreferenced[b.ID] = true
	sp.sums = appendSum(appendSum(nil, row.head), row.tree)
	if b.Size == int64(len(row.head)) {
		err = tx.putSums(b.ID, sp.sums)
	}
	return b, int64(len(row.head)), err
}

// addChunks stores chunks of the content from offset at up to end or a little further, and returns where it stopped.
func (tx *Tx) addChunks(sp *Spool, b Blob, at, end int64) (int64, error) {
	head := min(sp.Tree().HeaderLen, headMax)
	var buf []byte
	for at < end {
		var err error
		buf, err = sp.piece(buf, at, min(chunkSize, b.Size-at))
		if err != nil {
			return at, fmt.Errorf("read spool: %w", err)
		}
		if _, err := tx.exec(`INSERT INTO chunks(id,data) VALUES(?,?)`, int64(b.ID)<<chunkBits|(at-head)/chunkSize, buf); err != nil {
			return at, fmt.Errorf("add content: %w", err)
		}
		sp.sums = appendSum(sp.sums[:sumSize*(2+(at-head)/chunkSize)], buf)
		at += int64(len(buf))
		tx.wrote += int64(len(buf))
		if at == b.Size {
			return at, tx.putSums(b.ID, sp.sums)
		}
	}
	return at, nil
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

// threadOf names a conversation by its first message: the head of References, else In-Reply-To, else itself. Nothing has
// to be looked up, and all answers that name their roots find each other (RFC 5256 does no better without them).
func threadOf(h Header) int64 {
	for _, name := range []string{"References", "In-Reply-To", "Message-ID"} {
		if ids := MessageIDs(h.Get(name)); len(ids) > 0 {
			sum := fnv.New64a()
			io.WriteString(sum, ids[0])
			return int64(sum.Sum64() >> 1)
		}
	}
	return 0
}
