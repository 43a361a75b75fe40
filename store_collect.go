// The collector: clears away in the background what nobody needs any more.
package main

import (
	"errors"
	"slices"
	"time"
)

const (
	collectStep  = 64               // messages or blobs cleared away in one transaction
	collectRows  = 250              // tombstones, which are only a row
	collectBytes = 16 << 20         // octets of content cleared away in one transaction, about
	collectEvery = 10 * time.Second // between looks for something to clear away
)

// collectSteps are done in this order. Each only reads, and returns what there is to do, nil if there is nothing. Called in the
// same transaction, if that may write, what it returned does it, for at most collectStep or collectRows items, so that others
// can write in between.
var collectSteps = []func(tx *Tx) (func() error, error){
	(*Tx).emptyTombstones, (*Tx).pruneTombstones, (*Tx).clearMailboxes, (*Tx).clearBlobs, (*Tx).packIndex, (*Tx).giveBack, (*Tx).sumOld,
}

func (s *Store) collector() {
	s.every(collectEvery, func() {
		s.cutLog()
		s.keepReserve()
		s.forgetFlags(time.Now())
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
	if err := s.sizeOld(); err != nil {
		return err
	}
	before := s.freePages.Load()
	defer func() {
		if s.freePages.Load() < before { // the file is shorter when that is copied into it
			s.askForCheckpoint()
		}
	}()
	for _, step := range collectSteps {
		for more := true; more; {
			var err error
			more, err = s.collectStep(step)
			if err != nil {
				return err
			}
			before = max(before, s.freePages.Load())
			select {
			case <-s.quit:
				return nil
			default:
			}
		}
	}
	return nil
}

// collectStep does a step once, and says whether there was something to do.
func (s *Store) collectStep(step func(tx *Tx) (func() error, error)) (bool, error) {
	found, err := read(s, func(tx *Tx) (bool, error) {
		work, err := step(tx)
		return work != nil, err
	})
	if err != nil || !found {
		return false, err
	}
	s.waitForCheckpoint()
	return write(s, func(tx *Tx) (bool, error) {
		work, err := step(tx)
		if err != nil || work == nil {
			return false, err
		}
		return true, work()
	})
}

// boxesOf lists the mailboxes that a query finds which looks for the first one after the one it is given. With an index
// that costs a look-up for each mailbox, and not a pass over all their tombstones.
func (tx *Tx) boxesOf(query string) ([]MailboxID, error) {
	var boxes []MailboxID
	for last := MailboxID(0); ; boxes = append(boxes, last) {
		switch err := tx.one(query, []any{last}, &last); {
		case errors.Is(err, ErrNotFound):
			return boxes, nil
		case err != nil:
			return nil, err
		}
	}
}

// emptyTombstones gives up the content of tombstones that every session has told its client of.
func (tx *Tx) emptyTombstones() (func() error, error) {
	boxes, err := tx.boxesOf(`SELECT mailbox FROM messages INDEXED BY messages_full WHERE gone=1 AND blob<>0 AND mailbox>? ORDER BY mailbox LIMIT 1`)
	if err != nil {
		return nil, err
	}
	type tombstone struct {
		box  MailboxID
		uid  UID
		blob BlobID
	}
	var full []tombstone
	for _, box := range boxes {
		some, err := rows(tx, `SELECT mailbox,uid,blob FROM messages INDEXED BY messages_full WHERE gone=1 AND mailbox=? AND modseq<=? AND blob<>0 LIMIT ?`,
			[]any{box, tx.s.toldAll(box), collectRows - len(full)}, func(t *tombstone) []any { return []any{&t.box, &t.uid, &t.blob} })
		if err != nil {
			return nil, err
		}
		full = append(full, some...)
		if len(full) >= collectRows {
			break
		}
	}
	if len(full) == 0 {
		return nil, nil
	}
	return func() error {
		for _, t := range full {
			if err := tx.release(t.blob); err != nil {
				return err
			}
			if _, err := tx.exec(`UPDATE messages SET blob=0 WHERE mailbox=? AND uid=?`, t.box, t.uid); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// pruneTombstones forgets the oldest tombstones of mailboxes that have too many.
func (tx *Tx) pruneTombstones() (func() error, error) {
	boxes, err := tx.boxesOf(`SELECT mailbox FROM messages INDEXED BY messages_gone WHERE gone=1 AND blob=0 AND mailbox>? ORDER BY mailbox LIMIT 1`)
	if err != nil {
		return nil, err
	}
	var crowded []MailboxID
	for _, box := range boxes {
		more, err := tx.ints(`SELECT modseq FROM messages INDEXED BY messages_gone WHERE gone=1 AND mailbox=? AND blob=0 ORDER BY modseq LIMIT 1 OFFSET ?`, box, maxTombstones)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 {
			crowded = append(crowded, box)
		}
	}
	if len(crowded) == 0 {
		return nil, nil
	}
	return func() error {
		for _, box := range crowded {
			if err := tx.pruneMailbox(box); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// pruneMailbox forgets the oldest collectRows tombstones of a mailbox.
func (tx *Tx) pruneMailbox(box MailboxID) error {
	mods, err := tx.ints(`SELECT modseq FROM messages INDEXED BY messages_gone WHERE gone=1 AND mailbox=? AND blob=0 ORDER BY modseq LIMIT ?`, box, collectRows)
	if err != nil || len(mods) == 0 {
		return err
	}
	last := mods[len(mods)-1]
	if _, err := tx.exec(`DELETE FROM messages INDEXED BY messages_gone WHERE gone=1 AND mailbox=? AND blob=0 AND modseq<=?`, box, last); err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE mailboxes SET pruned=max(pruned,?) WHERE id=?`, last, box)
	return err
}

// clearMailboxes removes the messages of deleted mailboxes, and then the mailboxes.
func (tx *Tx) clearMailboxes() (func() error, error) {
	boxes, err := column[MailboxID](tx, `SELECT id FROM mailboxes WHERE owner IS NULL LIMIT 1`)
	if err != nil || len(boxes) == 0 {
		return nil, err
	}
	return func() error { return tx.clearMailbox(boxes[0]) }, nil
}

func (tx *Tx) clearMailbox(box MailboxID) error {
	some, err := tx.list(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? LIMIT ?`, box, collectStep)
	if err != nil {
		return err
	}
	for _, m := range some {
		if m.Blob != 0 {
			if err := tx.release(m.Blob); err != nil {
				return err
			}
		}
		if _, err := tx.exec(`DELETE FROM messages WHERE mailbox=? AND uid=?`, box, m.UID); err != nil {
			return err
		}
	}
	if len(some) > 0 {
		return nil
	}
	for _, q := range []string{`DELETE FROM acl WHERE mailbox=?`, `DELETE FROM metadata WHERE mailbox=?`, `DELETE FROM junk_notes WHERE mailbox=?`, `DELETE FROM mailboxes WHERE id=?`} {
		if _, err := tx.exec(q, box); err != nil {
			return err
		}
	}
	return nil
}

// clearBlobs removes content without references. The newest row always stays, so that IDs are never reused.
func (tx *Tx) clearBlobs() (func() error, error) {
	type content struct {
		id   BlobID
		size int64
	}
	all, err := rows(tx, `SELECT b.id,b.size FROM refs r JOIN blobs b ON b.id=r.blob
		WHERE r.n=0 AND r.blob<(SELECT max(id) FROM blobs) LIMIT ?`, []any{collectStep}, func(c *content) []any { return []any{&c.id, &c.size} })
	all = slices.DeleteFunc(all, func(c content) bool { return tx.s.isStaged(c.id) })
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return func() error {
		var bytes int64
		for i, c := range all {
			bytes += c.size
			if i > 0 && bytes > collectBytes {
				break
			}
			if err := tx.clearBlob(c.id); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (tx *Tx) clearBlob(id BlobID) error {
	first := int64(id) << chunkBits
	if _, err := tx.exec(`DELETE FROM chunks WHERE id BETWEEN ? AND ?`, first, first|(1<<chunkBits-1)); err != nil {
		return err
	}
	for _, q := range []string{`DELETE FROM blobs WHERE id=?`, `DELETE FROM refs WHERE blob=?`, `DELETE FROM content_sums WHERE blob=?`} {
		if _, err := tx.exec(q, id); err != nil {
			return err
		}
	}
	return tx.unindex(id)
}
