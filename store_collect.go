// The collector: clears away in the background what nobody needs any more.
package main

import (
	"errors"
	"time"
)

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
				s.waitForCheckpoint()
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
	boxes = full
	if !act {
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
		bytes += sizes[i]
		if i > 0 && bytes > collectBytes {
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
