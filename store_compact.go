// Compacting: content and index from before there were pieces are made pieces.
package main

import (
	"errors"
	"fmt"
)

const (
	compactStep  = 512 << 10 // octets of content in one transaction, about
	compactItems = 64        // and messages
	compactLook  = 500       // messages looked at in one read
)

// Compacted is how far Compact has come.
type Compacted struct {
	Seen, All     int64 // of the content in the file; what was compact already counts as seen
	Changed       int64
	Before, After int64 // octets of what was changed, as stored
	Blocks        int64 // of the index that were changed
	Damaged       []DamagedMessage
}

// Compact makes pieces of all that is stored as it was before there were any, in short transactions, while everybody goes on. tell hears after each how far it
// is, and may end it by returning false: what is done is done, and the next time goes on from there. Content that is not as it was stored is left
// as it is, and named.
func (s *Store) Compact(tell func(Compacted) bool) (Compacted, error) {
	x := &compacting{s: s, tell: tell, bad: map[BlobID]error{}}
	err := x.content()
	if err == nil {
		err = x.index()
	}
	if errors.Is(err, errCompactEnough) {
		err = nil
	}
	if err == nil {
		for more := true; more && err == nil; {
			more, err = s.collectStep((*Tx).giveBack)
		}
	}
	damaged, derr := s.messagesWith(x.bad)
	x.done.Damaged = damaged
	return x.done, errors.Join(err, derr)
}

var errCompactEnough = errors.New("enough")

// compacting is a Compact under way.
type compacting struct {
	s    *Store
	tell func(Compacted) bool
	done Compacted
	bad  map[BlobID]error
}

func (x *compacting) say() error {
	if !x.tell(x.done) {
		return errCompactEnough
	}
	return nil
}

// oldContent is content that is not compact.
type oldContent struct {
	id          BlobID
	size, codec int64
}

func (x *compacting) content() error {
	err := x.s.Read(func(tx *Tx) error { return tx.one(`SELECT count(*) FROM blobs`, nil, &x.done.All) })
	for last := BlobID(0); err == nil; {
		var some []oldContent
		var seen, end int64
		some, err = read(x.s, func(tx *Tx) ([]oldContent, error) {
			err := tx.one(`SELECT count(*),coalesce(max(id),0) FROM (SELECT id FROM blobs WHERE id>? ORDER BY id LIMIT ?)`, []any{last, compactLook}, &seen, &end)
			if err != nil {
				return nil, err
			}
			return rows(tx, `SELECT id,size,codec FROM blobs WHERE id>? AND id<=? AND codec<>? ORDER BY id`, []any{last, end, codecPiece},
				func(c *oldContent) []any { return []any{&c.id, &c.size, &c.codec} })
		})
		if err != nil || seen == 0 {
			return err
		}
		before := x.done.Seen
		for len(some) > 0 && err == nil {
			n, octets := 0, int64(0)
			for n < len(some) && n < compactItems && (n == 0 || octets+some[n].size <= compactStep) {
				octets += some[n].size
				n++
			}
			if octets > compactStep {
				err = x.large(some[0])
			} else {
				err = x.small(some[:n])
			}
			some = some[n:]
			if err == nil {
				x.done.Seen += int64(n)
				err = x.say()
			}
		}
		x.done.Seen, last = before+seen, BlobID(end)
	}
	return err
}

// packedContent is what is to be stored of content that was not compact.
type packedContent struct {
	oldContent
	headLen    int64
	head, tree piece
	chunks     []piece
	before     int64 // octets as they were stored
}

// small makes some content compact in one transaction. The rows are taken out and put in anew: what only becomes shorter where it is leaves its page half empty.
func (x *compacting) small(old []oldContent) error {
	var packed []packedContent
	for _, o := range old {
		p, err := x.pack(o)
		switch {
		case err == nil:
			packed = append(packed, *p)
		case errors.Is(err, ErrContentDamaged):
			x.bad[o.id] = err
		case !errors.Is(err, ErrNotFound): // it was cleared away
			return err
		}
	}
	x.s.waitForCheckpoint()
	done, err := write(x.s, func(tx *Tx) (Compacted, error) {
		var done Compacted
		var there []packedContent
		for _, p := range packed {
			n, err := tx.exec(`DELETE FROM blobs WHERE id=? AND codec=?`, p.id, p.codec)
			if err == nil && n == 1 {
				there = append(there, p)
				_, err = tx.exec(`DELETE FROM chunks WHERE id BETWEEN ? AND ?`, placeOfChunk(p.id, 0), placeOfChunk(p.id, 1<<chunkBits-1))
			}
			if err != nil {
				return done, err
			}
		}
		for _, p := range there {
			after, err := tx.putPacked(&p)
			if err != nil {
				return done, err
			}
			done.Changed, done.Before, done.After = done.Changed+1, done.Before+p.before, done.After+after
		}
		return done, nil
	})
	x.add(done)
	return err
}

func (x *compacting) add(done Compacted) {
	x.done.Changed, x.done.Before, x.done.After = x.done.Changed+done.Changed, x.done.Before+done.Before, x.done.After+done.After
}

// pack reads content, compares it with its sums and makes pieces of it.
func (x *compacting) pack(o oldContent) (*packedContent, error) {
	c, p, err := x.packHead(o)
	for k := int64(0); err == nil && c.headHere()+k*chunkSize < c.Size; k++ {
		var chunk piece
		chunk, err = x.packChunk(c, k)
		p.chunks = append(p.chunks, chunk)
		p.before += int64(len(c.chunk))
	}
	return p, err
}

func (x *compacting) packHead(o oldContent) (*Content, *packedContent, error) {
	c, err := x.s.Content(o.id)
	if err == nil {
		err = c.checkHead()
	}
	if err == nil {
		err = c.checkTree()
	}
	if err == nil && int64(len(c.Head)) != c.headHere() {
		err = fmt.Errorf("content %d: header: %w", c.ID, ErrContentDamaged)
	}
	if err != nil {
		return nil, nil, err
	}
	p := &packedContent{oldContent: o, headLen: c.HeadLen, before: int64(len(c.Head) + len(c.tree))}
	p.head, err = x.s.packer.pack(c.Head)
	if err == nil {
		p.tree, err = x.s.packer.pack(c.tree)
	}
	return c, p, err
}

// packChunk makes a piece of the kth chunk.
func (x *compacting) packChunk(c *Content, k int64) (piece, error) {
	err := c.fetch(k)
	if errors.Is(err, ErrNotFound) {
		_, again := x.s.Content(c.ID)
		if again == nil {
			err = fmt.Errorf("content %d: chunk %d is missing: %w", c.ID, k, ErrContentDamaged)
		}
	}
	if err == nil {
		err = c.checkChunk()
	}
	if err == nil && int64(len(c.chunk)) != min(c.Size-c.headHere()-k*chunkSize, chunkSize) {
		err = fmt.Errorf("content %d: chunk %d: %w", c.ID, k, ErrContentDamaged)
	}
	if err != nil {
		return piece{}, err
	}
	return x.s.packer.pack(c.chunk)
}

// putPacked stores content whose rows are gone, and returns how many octets it takes.
func (tx *Tx) putPacked(p *packedContent) (int64, error) {
	after := int64(len(p.head.stored) + len(p.tree.stored))
	_, err := tx.exec(`INSERT INTO blobs(id,size,headlen,codec,head,tree) VALUES(?,?,?,?,?,?)`,
		p.id, p.size, p.headLen, codecPiece, p.head.at(placeOfHead(p.id)), p.tree.at(placeOfTree(p.id)))
	for k, chunk := range p.chunks {
		if err == nil {
			place := placeOfChunk(p.id, int64(k))
			_, err = tx.exec(`INSERT INTO chunks(id,data) VALUES(?,?)`, place, chunk.at(place))
			after += int64(len(chunk.stored))
		}
	}
	if err == nil {
		_, err = tx.exec(`DELETE FROM content_sums WHERE blob=?`, p.id)
	}
	return after, err
}

// large makes one big message compact, some chunks at a time: codec says how far it has come, and the header block comes last.
func (x *compacting) large(o oldContent) error {
	c, p, err := x.packHead(o)
	if errors.Is(err, ErrContentDamaged) {
		x.bad[o.id] = err
		return nil
	}
	for k := max(-o.codec, 0); err == nil && c.headHere()+k*chunkSize < c.Size; {
		before, from := int64(0), k
		var chunks []piece
		for ; err == nil && len(chunks) < compactStep/chunkSize && c.headHere()+k*chunkSize < c.Size; k++ {
			var chunk piece
			chunk, err = x.packChunk(c, k)
			chunks = append(chunks, chunk)
			before += int64(len(c.chunk))
		}
		if err != nil {
			break
		}
		x.s.waitForCheckpoint()
		var done Compacted
		done, err = write(x.s, func(tx *Tx) (Compacted, error) { return tx.putChunks(o.id, from, chunks) })
		done.Before = before
		x.add(done)
		if err == nil {
			err = x.say()
		}
	}
	switch {
	case errors.Is(err, ErrContentDamaged):
		x.bad[o.id] = err
		return nil
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	done, err := write(x.s, func(tx *Tx) (Compacted, error) {
		n, err := tx.exec(`UPDATE blobs SET codec=?,head=?,tree=? WHERE id=? AND codec<>?`, codecPiece, p.head.at(placeOfHead(o.id)), p.tree.at(placeOfTree(o.id)), o.id, codecPiece)
		if err == nil {
			_, err = tx.exec(`DELETE FROM content_sums WHERE blob=?`, o.id)
		}
		return Compacted{Changed: n, Before: p.before, After: int64(len(p.head.stored) + len(p.tree.stored))}, err
	})
	x.add(done)
	return err
}

// putChunks puts pieces in the place of chunks from the one with number from on.
func (tx *Tx) putChunks(id BlobID, from int64, chunks []piece) (Compacted, error) {
	var done Compacted
	err := tx.changeOne(`UPDATE blobs SET codec=? WHERE id=? AND codec=?`, -(from + int64(len(chunks))), id, -from)
	for i, chunk := range chunks {
		if err == nil {
			place := placeOfChunk(id, from+int64(i))
			err = tx.changeOne(`UPDATE chunks SET data=? WHERE id=?`, chunk.at(place), place)
			done.After += int64(len(chunk.stored))
		}
	}
	return done, err
}

// index makes the texts of blocks pieces.
func (x *compacting) index() error {
	for last := BlobID(0); ; {
		blocks, err := read(x.s, func(tx *Tx) ([]block, error) {
			return rows(tx, `SELECT id,last,heads,text FROM search WHERE id>? AND codec<>? ORDER BY id LIMIT ?`, []any{last, codecPiece, indexStep},
				func(b *block) []any { return []any{&b.first, &b.last, &b.heads, &b.text} })
		})
		if err != nil || len(blocks) == 0 {
			return err
		}
		last = blocks[len(blocks)-1].first
		for i := range blocks {
			blocks[i], err = blocks[i].pack(x.s.packer)
			if err != nil {
				return err
			}
		}
		x.s.waitForCheckpoint()
		n, err := write(x.s, func(tx *Tx) (int64, error) {
			var all int64
			for i := range blocks {
				b := &blocks[i]
				n, err := tx.exec(`UPDATE search SET heads=?,text=?,codec=? WHERE id=? AND last=? AND codec<>?`,
					b.packed[0].at(b.placeOfHeads()), b.packed[1].at(b.placeOfText()), codecPiece, b.first, b.last, codecPiece)
				if err != nil {
					return 0, err
				}
				all += n
			}
			return all, nil
		})
		if err != nil {
			return err
		}
		x.done.Blocks += n
		if err := x.say(); err != nil {
			return err
		}
	}
}
