// Content: a spool on its way in, chunks at rest, a reader out, and the collector of what nobody refers to.
package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"time"
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
			tx.fresh[sp.staged.ID] = true
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
func (tx *Tx) addHead(sp *Spool) (b Blob, stored int64, err error) {
	row, err := sp.describe()
	if err != nil {
		return b, 0, err
	}
	b = row.Blob
	err = tx.one(`INSERT INTO blobs(id,size,headlen,head,tree) VALUES((SELECT coalesce(max(id),0)+1 FROM blobs),?,?,?,?) RETURNING id`,
		[]any{b.Size, row.headLen, row.head, row.tree}, &b.ID)
	if err != nil {
		return b, 0, fmt.Errorf("add content: %w", err)
	}
	tx.fresh[b.ID] = true
	return b, int64(len(row.head)), nil
}

// addChunks stores chunks of the content from offset at up to end or a little further, and returns where it stopped.
func (tx *Tx) addChunks(sp *Spool, b Blob, at, end int64) (int64, error) {
	head := min(sp.Tree().HeaderLen, headMax)
	var buf []byte
	for at < end {
		var err error
		if buf, err = sp.piece(buf, at, min(chunkSize, b.Size-at)); err != nil {
			return at, fmt.Errorf("read spool: %w", err)
		}
		if _, err := tx.exec(`INSERT INTO chunks(id,data) VALUES(?,?)`, int64(b.ID)<<chunkBits|(at-head)/chunkSize, buf); err != nil {
			return at, fmt.Errorf("add content: %w", err)
		}
		at += int64(len(buf))
		tx.wrote += int64(len(buf))
	}
	return at, nil
}

// refer takes a reference to content. The first one to fresh content is the one it was stored with.
func (tx *Tx) refer(id BlobID) error {
	if tx.fresh[id] {
		delete(tx.fresh, id)
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

const (
	collectStep  = 64               // messages or blobs cleared away in one transaction
	collectRows  = 250              // tombstones, which are only a row
	collectBytes = 16 << 20         // octets of content cleared away in one transaction, about
	collectEvery = 10 * time.Second // between looks for something to clear away
)

// collectSteps are done in this order. Each returns how much it found to do; with act it does it, for at most
// collectStep or collectRows items, so that others can write in between.
var collectSteps = []func(tx *Tx, act bool) (int, error){
	(*Tx).emptyTombstones, (*Tx).pruneTombstones, (*Tx).clearMailboxes, (*Tx).clearBlobs, (*Tx).packIndex,
}

func (s *Store) collector() {
	s.every(collectEvery, func() {
		if !s.dirty.Swap(false) {
			return
		}
		if err := s.Collect(); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReadOnly) {
			s.log.Error("store collect", "err", err)
		}
	})
}

// Collect clears away all that can be. It looks with a reader first, so that having nothing to do takes no lock.
func (s *Store) Collect() error {
	if s.opt.Service { // a verb beside it does not know which tasks are running
		if err := s.takeBack(); err != nil {
			return err
		}
	}
	for _, step := range collectSteps {
		for {
			var n int
			err := s.Read(func(tx *Tx) (err error) { n, err = step(tx, false); return err })
			if err == nil && n > 0 {
				s.checkpointed()
				err = s.Write(func(tx *Tx) (err error) { n, err = step(tx, true); return err })
			}
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			select {
			case <-s.quit:
				return nil
			default:
			}
		}
	}
	return nil
}

// ints reads a column of integers.
func (tx *Tx) ints(query string, args ...any) (all []int64, err error) {
	err = tx.each(query, args, func(scan func(...any) error) error {
		var n int64
		err := scan(&n)
		all = append(all, n)
		return err
	})
	return all, err
}

// boxesOf lists the mailboxes that a query finds which looks for the first one after the one it is given. With an index
// that costs a look-up for each mailbox, and not a pass over all their tombstones.
func (tx *Tx) boxesOf(query string) (boxes []int64, err error) {
	for last := int64(0); ; boxes = append(boxes, last) {
		switch err := tx.one(query, []any{last}, &last); {
		case errors.Is(err, ErrNotFound):
			return boxes, nil
		case err != nil:
			return nil, err
		}
	}
}

// emptyTombstones gives up the content of tombstones that every session has told its client of.
func (tx *Tx) emptyTombstones(act bool) (n int, err error) {
	boxes, err := tx.boxesOf(`SELECT mailbox FROM messages INDEXED BY messages_full WHERE gone=1 AND blob<>0 AND mailbox>? ORDER BY mailbox LIMIT 1`)
	if err != nil {
		return 0, err
	}
	for _, box := range boxes {
		var uids, blobs []int64
		err := tx.each(`SELECT uid,blob FROM messages INDEXED BY messages_full WHERE gone=1 AND mailbox=? AND modseq<=? AND blob<>0 LIMIT ?`,
			[]any{box, tx.s.toldAll(MailboxID(box)), collectRows - n}, func(scan func(...any) error) error {
				var u, b int64
				err := scan(&u, &b)
				uids, blobs = append(uids, u), append(blobs, b)
				return err
			})
		if err != nil {
			return n, err
		}
		n += len(uids)
		for i := 0; act && i < len(uids); i++ {
			if err := tx.release(BlobID(blobs[i])); err != nil {
				return n, err
			}
			if _, err := tx.exec(`UPDATE messages SET blob=0 WHERE mailbox=? AND uid=?`, box, uids[i]); err != nil {
				return n, err
			}
		}
		if n >= collectRows {
			break
		}
	}
	return n, nil
}

// pruneTombstones forgets the oldest tombstones of a mailbox that has too many.
func (tx *Tx) pruneTombstones(act bool) (n int, err error) {
	boxes, err := tx.boxesOf(`SELECT mailbox FROM messages INDEXED BY messages_gone WHERE gone=1 AND blob=0 AND mailbox>? ORDER BY mailbox LIMIT 1`)
	if err != nil {
		return 0, err
	}
	full := boxes[:0]
	for _, box := range boxes {
		more, err := tx.ints(`SELECT modseq FROM messages INDEXED BY messages_gone WHERE gone=1 AND mailbox=? AND blob=0 ORDER BY modseq LIMIT 1 OFFSET ?`, box, maxTombstones)
		if err != nil {
			return 0, err
		}
		if len(more) > 0 {
			full = append(full, box)
		}
	}
	if boxes = full; !act {
		return len(boxes), nil
	}
	for _, box := range boxes {
		mods, err := tx.ints(`SELECT modseq FROM messages INDEXED BY messages_gone WHERE gone=1 AND mailbox=? AND blob=0 ORDER BY modseq LIMIT ?`, box, collectRows)
		if err != nil || len(mods) == 0 {
			return len(boxes), err
		}
		last := mods[len(mods)-1]
		if _, err := tx.exec(`DELETE FROM messages INDEXED BY messages_gone WHERE gone=1 AND mailbox=? AND blob=0 AND modseq<=?`, box, last); err != nil {
			return 0, err
		}
		if _, err := tx.exec(`UPDATE mailboxes SET pruned=max(pruned,?) WHERE id=?`, last, box); err != nil {
			return 0, err
		}
	}
	return len(boxes), nil
}

// clearMailboxes removes the messages of deleted mailboxes, and then the mailboxes.
func (tx *Tx) clearMailboxes(act bool) (n int, err error) {
	boxes, err := tx.ints(`SELECT id FROM mailboxes WHERE owner IS NULL LIMIT 1`)
	if err != nil || !act || len(boxes) == 0 {
		return len(boxes), err
	}
	box := boxes[0]
	var rows []Message
	err = tx.each(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? LIMIT ?`, []any{box, collectStep}, func(scan func(...any) error) error {
		var m Message
		err := scanMessage(&m, scan)
		rows = append(rows, m)
		return err
	})
	for _, r := range rows {
		if err == nil && r.Blob != 0 {
			err = tx.release(r.Blob)
		}
		if err == nil {
			_, err = tx.exec(`DELETE FROM messages WHERE mailbox=? AND uid=?`, box, r.UID)
		}
	}
	if err == nil && len(rows) == 0 {
		for _, q := range []string{`DELETE FROM acl WHERE mailbox=?`, `DELETE FROM metadata WHERE mailbox=?`, `DELETE FROM mailboxes WHERE id=?`} {
			if err == nil {
				_, err = tx.exec(q, box)
			}
		}
	}
	return 1, err
}

// clearBlobs removes content without references. The newest row always stays, so that IDs are never reused.
func (tx *Tx) clearBlobs(act bool) (n int, err error) {
	var ids, sizes []int64
	err = tx.each(`SELECT b.id,b.size FROM refs r JOIN blobs b ON b.id=r.blob
		WHERE r.n=0 AND r.blob<(SELECT max(id) FROM blobs) LIMIT ?`, []any{collectStep}, func(scan func(...any) error) error {
		var id, size int64
		err := scan(&id, &size)
		if !tx.s.isStaged(BlobID(id)) {
			ids, sizes = append(ids, id), append(sizes, size)
		}
		return err
	})
	if err != nil || !act {
		return len(ids), err
	}
	var bytes int64
	for i, id := range ids {
		if bytes += sizes[i]; i > 0 && bytes > collectBytes {
			break
		}
		if _, err := tx.exec(`DELETE FROM chunks WHERE id BETWEEN ? AND ?`, id<<chunkBits, id<<chunkBits|(1<<chunkBits-1)); err != nil {
			return n, err
		}
		for _, q := range []string{`DELETE FROM blobs WHERE id=?`, `DELETE FROM refs WHERE blob=?`} {
			if _, err := tx.exec(q, id); err != nil {
				return n, err
			}
		}
		if err := tx.unindex(BlobID(id)); err != nil {
			return n, err
		}
	}
	return len(ids), nil
}
