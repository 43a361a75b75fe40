// The text index: what search and sorting need of each message's content, kept so that it can be read at once.
package main

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// The index is a table of blocks. A block covers a range of content ids and holds, for each message in it, its sort keys
// and its decoded and folded text: the header fields and, in a column of its own, the body as people read them. A filter of the block's letter
// groups says of most blocks that a word is not in them; the text of the others is searched, so the answer is exact, and a
// common word takes no longer than reading the text once.
//
// Blocks are written once, when there is enough new text to fill one, by a goroutine that works in small steps while no
// mail is arriving. Content after the last block is searched as it lies in the mail. So nothing has to be written when a
// message is delivered, and every search is right at any moment.
//
// Letter groups are pairs of neighbours in scripts that write words with one or two characters (Chinese, Japanese), and
// triples in all others. Shorter words are looked for in every block, which is a scan of text ready for it.
//
// Why not FTS5 with its trigrams: it keeps no text, so the messages in which a common word may be have all to be decoded
// again; it does not find words of two characters; it writes its index about six times over; and it takes some twenty
// times the computing.
const indexSchema = `
CREATE TABLE search(
  id INTEGER PRIMARY KEY, last INTEGER NOT NULL, n INTEGER NOT NULL, dead INTEGER NOT NULL DEFAULT 0,
  keys BLOB NOT NULL, grams BLOB NOT NULL, heads BLOB NOT NULL, text BLOB NOT NULL);
CREATE INDEX search_dead ON search(dead,n) WHERE dead>0;
`

// indexPieces: the texts of a block are pieces where codec says so. Programs from before do not know the file any more, nor what is in blobs.
const indexPieces = `ALTER TABLE search ADD COLUMN codec INTEGER NOT NULL DEFAULT 0;`

const (
	indexBlock  = 64 << 10               // octets of text that fill a block
	indexText   = 256 << 10              // octets of one message's body text that are kept; the rest is searched in the mail
	indexHead   = 64 << 10               // and of its header text
	indexMember = 1000                   // messages in one block, at most
	indexStep   = 8                      // blocks written in one transaction
	indexEvery  = time.Minute            // between looks for new content, when there is some
	indexRest   = 100 * time.Millisecond // between two steps, at least
	indexRead   = 250                    // messages without an index that a step of a search reads, from which on it indexes them
	indexShare  = 4                      // and the part of all content up to the last of them that they must be
	indexBehind = 2 * indexMember        // content after the last block from which on people are told that a search takes longer
	indexGap    = 2                      // blocks that are read over rather than skipped with a query of their own
	indexJoin   = 8                      // blocks that are made one when most of their messages are gone
	gramBits    = 8                      // bits of filter for each different letter group
	gramHashes  = 4                      // bits set for each: about 1 in 40 blocks is read for nothing
	wideFrom    = 0x2e80                 // the first character of the scripts that are indexed by pairs
)

// indexEntry is one message of a block.
type indexEntry struct {
	blob       BlobID
	head, body int  // octets of text
	cut        bool // there is more text than is kept
	keys       []byte
}

// indexWriter makes one block.
type indexWriter struct {
	entries []indexEntry
	heads   []byte   // header text of all entries
	text    []byte   // body text of all entries
	seen    []uint64 // a bit for each hash of a letter group
	hashes  []uint64 // of all groups
}

// add takes a message's text and keys into the block.
func (w *indexWriter) add(m *Content) error {
	h, err := m.WholeHeader()
	if errors.Is(err, ErrClosed) {
		return err
	}
	e := indexEntry{blob: m.ID, keys: mailKeys(h).append(nil), cut: err != nil}
	start := len(w.heads)
	charset := h.charset()
	for _, f := range h {
		if isSignature(f.Name) {
			continue
		}
		w.heads = append(searchField(w.heads, f, charset, true), '\n')
		if len(w.heads)-start > indexHead {
			e.cut, w.heads = true, w.heads[:start+indexHead]
			break
		}
	}
	e.head = len(w.heads) - start
	start = len(w.text)
	err = bodyText(m, func(piece []byte) error {
		w.text = append(w.text, piece...)
		if len(w.text)-start > indexText {
			w.text = w.text[:start+indexText]
			return errListFull
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case err != nil: // too long, or it can't be read: whoever searches it has to look at the mail
		e.cut = true
	}
	e.body = len(w.text) - start
	w.entries = append(w.entries, e)
	return nil
}

// full says whether the block should be written.
func (w *indexWriter) full() bool {
	return len(w.heads)+len(w.text) >= indexBlock || len(w.entries) >= indexMember
}

// keys is the block's first column.
func (w *indexWriter) keys() []byte {
	var b []byte
	prev := BlobID(0)
	for _, e := range w.entries {
		b = binary.AppendUvarint(b, uint64(e.blob-prev))
		b = binary.AppendUvarint(b, uint64(e.head))
		n := uint64(e.body) << 1
		if e.cut {
			n |= 1
		}
		b = binary.AppendUvarint(b, n)
		b = binary.AppendUvarint(b, uint64(len(e.keys)))
		b = append(b, e.keys...)
		prev = e.blob
	}
	return b
}

// grams is the block's filter (a Bloom filter), as large as the number of different letter groups demands.
func (w *indexWriter) grams() []byte {
	if w.seen == nil {
		w.seen = make([]uint64, 1<<20/64)
	}
	clear(w.seen)
	w.hashes = w.hashes[:0]
	different := 0 // about: two groups with the same 20 bits count as one
	add := func(h uint64) {
		if at, bit := h>>6&(1<<14-1), uint64(1)<<(h&63); w.seen[at]&bit == 0 {
			w.seen[at] |= bit
			different++
		}
		w.hashes = append(w.hashes, h)
	}
	heads, text := w.heads, w.text
	for _, e := range w.entries {
		letterGroups(heads[:e.head], add)
		letterGroups(text[:e.body], add)
		heads, text = heads[e.head:], text[e.body:]
	}
	filter := make([]byte, different*gramBits/8+8)
	for _, h := range w.hashes {
		gramSet(filter, h)
	}
	return filter
}

// gramAt is the ith bit of a letter group in a filter.
func gramAt(filter []byte, h uint64, i int) (octet int, bit byte) {
	x := uint32(h) + uint32(i)*uint32(h>>32)
	pos := uint64(x) * uint64(len(filter)*8) >> 32
	return int(pos >> 3), 1 << (pos & 7)
}

func gramSet(filter []byte, h uint64) {
	for i := range gramHashes {
		octet, bit := gramAt(filter, h, i)
		filter[octet] |= bit
	}
}

// gramsHave says whether all the letter groups may be in the block. A filter that is missing excludes nothing.
func gramsHave(filter []byte, groups []uint64) bool {
	if len(filter) == 0 {
		return true
	}
	for _, h := range groups {
		for i := range gramHashes {
			if octet, bit := gramAt(filter, h, i); filter[octet]&bit == 0 {
				return false
			}
		}
	}
	return true
}

// letterGroups calls fn with a hash of each letter group of a folded text.
func letterGroups(text []byte, fn func(h uint64)) {
	var a, b uint32 // the two characters before, 0 for none
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		i += n
		c := uint32(r)
		switch {
		case c < wideFrom && b != 0 && b < wideFrom && a != 0 && a < wideFrom:
			fn(gramHash(uint64(a)<<42 ^ uint64(b)<<21 ^ uint64(c)))
		case c >= wideFrom && b >= wideFrom:
			fn(gramHash(uint64(b)<<21 ^ uint64(c)))
		}
		a, b = b, c
	}
}

// gramHash mixes the bits of a letter group.
func gramHash(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// indexer fills the index until the store is closed.
func (s *Store) indexer() {
	s.every(indexEvery, func() {
		if !s.contentAdded.Swap(false) {
			return
		}
		if s.Room(indexStep*indexBlock) != nil { // mail needs what is left more than searching does
			s.contentAdded.Store(true)
			return
		}
		if err := s.indexGently(); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReadOnly) {
			s.log.Error("store index", "err", err)
		}
	})
}

// Index takes new content into the index, as far as it fills blocks.
func (s *Store) Index() error {
	for {
		more, err := s.indexStep()
		if err != nil || !more {
			return err
		}
	}
}

// indexGently is Index that rests as long as it works, and gives way to mail that is arriving.
func (s *Store) indexGently() error {
	for {
		began := time.Now()
		more, err := s.indexStep()
		if err != nil || !more {
			return err
		}
		if s.Room(indexStep*indexBlock) != nil {
			s.contentAdded.Store(true)
			return nil
		}
		for rest := time.Since(began); rest > 0 || s.inflight.Load() > 0; rest = 0 {
			select {
			case <-s.quit:
				return nil
			case <-time.After(max(rest, indexRest)):
			}
		}
	}
}

// indexStep writes a few blocks, and says whether there may be more to write. Where no index is to be kept, it takes a few
// away.
func (s *Store) indexStep() (bool, error) {
	if s.opt.NoIndex {
		return s.dropIndex()
	}
	if s.Room(indexStep*indexBlock) != nil { // mail needs what is left more than searching does
		s.contentAdded.Store(true)
		return false, nil
	}
	s.indexing.Lock() // or two would make the same blocks
	defer s.indexing.Unlock()
	upto, err := read(s, (*Tx).indexEnd)
	if err != nil {
		return false, err
	}
	blocks, err := s.indexBlocks(upto)
	if err != nil || len(blocks) == 0 {
		return false, err
	}
	err = s.Write(func(tx *Tx) error {
		for _, b := range blocks {
			if err := tx.putBlock(b); err != nil {
				return err
			}
		}
		return nil
	})
	return true, err
}

// indexWhatIsRead is told of n contents that are about to be read, and indexes those that are in no block first, so that they are read in this way
// once and not each time. It leaves them alone where they are few, or a small part of what would have to be indexed with them, and where nothing can be
// written. Never call it inside Read or Write.
func (s *Store) indexWhatIsRead(n int, blob func(i int) BlobID) error {
	for !s.opt.NoIndex {
		end, err := read(s, (*Tx).indexEnd)
		if err != nil {
			return err
		}
		lacks, last := int64(0), end
		for i := range n {
			if b := blob(i); b > end {
				lacks, last = lacks+1, max(last, b)
			}
		}
		if lacks < indexRead || lacks*indexShare < int64(last-end) {
			return nil
		}
		more, err := s.indexStep()
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil || !more {
			return nil
		}
	}
	return nil
}

// IndexFor indexes what is in no block yet, until a moment, for a search that begins with the newest of n messages: unless that is much more
// than reading them would be.
func (s *Store) IndexFor(n int64, until time.Time) error {
	for time.Now().Before(until) && !s.opt.NoIndex {
		lacks, err := s.indexLacks()
		if err != nil || lacks <= indexBehind || n*indexShare < lacks {
			return err
		}
		more, err := s.indexStep()
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil || !more {
			return nil
		}
	}
	return nil
}

// indexLacks is how much content may be in no block.
func (s *Store) indexLacks() (int64, error) {
	return read(s, func(tx *Tx) (int64, error) {
		end, err := tx.indexEnd()
		if err != nil {
			return 0, err
		}
		ids, err := tx.ints(`SELECT id FROM blobs ORDER BY id DESC LIMIT 1`)
		if err != nil || len(ids) == 0 {
			return 0, err
		}
		return ids[0] - int64(end), nil
	})
}

// IndexBehind says that a search has much to read that the index has not got yet.
func (s *Store) IndexBehind() bool {
	if s.opt.NoIndex {
		return false
	}
	lacks, err := s.indexLacks()
	return err == nil && lacks > indexBehind
}

// dropIndex takes a few blocks away, and says whether there may be more.
func (s *Store) dropIndex() (bool, error) {
	first, err := read(s, func(tx *Tx) ([]int64, error) { return tx.ints(`SELECT id FROM search ORDER BY id LIMIT ?`, indexStep) })
	if err != nil || len(first) == 0 {
		return false, err
	}
	return true, s.Write(func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM search WHERE id<=?`, first[len(first)-1])
		return err
	})
}

// blockColumns are read a few at a time: text only when the filter does not exclude a block.
const blockColumns = `id,last,n,keys,grams,heads,text,codec`

// block is a row of the table.
type block struct {
	first, last              BlobID
	n                        int
	keys, grams, heads, text []byte
	packed                   [2]piece // of heads and text
}

// indexBlocks reads content after upto until enough blocks are full, or there is no more. While one is filled, the one before is finished.
func (s *Store) indexBlocks(upto BlobID) ([]block, error) {
	blocks := make([]block, 0, indexStep)
	w, last := &indexWriter{}, &indexWriter{}
	var finished <-chan error
	finish := func() error {
		if finished == nil {
			return nil
		}
		err := <-finished
		finished = nil
		return err
	}
	for len(blocks) < indexStep {
		some, err := read(s, func(tx *Tx) ([]*Content, error) { return tx.contentsAfter(upto) })
		if err != nil || len(some) == 0 {
			return blocks, errors.Join(err, finish())
		}
		for _, m := range some {
			if err := s.indexMessage(w, m); err != nil {
				return nil, errors.Join(err, finish())
			}
			upto = m.ID
			if !w.full() {
				continue
			}
			if err := finish(); err != nil {
				return nil, err
			}
			w, last = last, w
			blocks = append(blocks, block{})
			full, into := last, &blocks[len(blocks)-1]
			finished = s.crew.Result("index block", func() (err error) {
				*into, err = full.block().pack(s.packer)
				full.entries, full.heads, full.text = nil, nil, nil
				return err
			})
			if len(blocks) == indexStep {
				break
			}
		}
	}
	return blocks, finish()
}

// indexMessage takes a message into the block. One whose text can't be made is noted and gets an entry without any, so that
// those after it are indexed: a search looks at it as it lies in the mail.
func (s *Store) indexMessage(w *indexWriter, m *Content) error {
	before := *w
	err := s.crew.Guard("index message", func() error { return w.add(m) })
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	s.log.Warn("a message could not be indexed; searches read it each time", "blob", m.ID, "err", err)
	*w = before
	w.entries = append(w.entries, indexEntry{blob: m.ID, keys: (&MailKeys{Day: noDay}).append(nil), cut: true})
	return nil
}

// contentsAfter opens the content that follows upto and that something refers to: a batch of it, with first chunks.
func (tx *Tx) contentsAfter(upto BlobID) ([]*Content, error) {
	var all []*Content
	size := 0
	err := tx.each(`SELECT b.id,b.size,b.headlen,b.codec,b.head,b.tree,c.data FROM blobs b LEFT JOIN chunks c ON c.id=b.id<<14
		WHERE b.id>? AND b.id<? AND NOT EXISTS(SELECT 1 FROM refs r WHERE r.blob=b.id AND r.n=0) ORDER BY b.id LIMIT ?`, []any{upto, tx.s.firstStaged(), listRows}, func(scan func(...any) error) error {
		var id BlobID
		var r storedContent
		var chunk []byte
		if err := scan(&id, &r.size, &r.headLen, &r.codec, &r.head, &r.tree, &chunk); err != nil {
			return err
		}
		c := r.open(tx.s, id)
		size += len(c.Head) + len(c.tree)
		if chunk != nil {
			c.at, c.chunk, c.chunkCodec = 0, chunk, r.codec
			size += int(max(min(c.Size-c.headHere(), chunkSize), int64(len(chunk))))
		}
		all = append(all, c)
		if size >= listBytes {
			return errListFull
		}
		return nil
	})
	if errors.Is(err, errListFull) {
		err = nil
	}
	return all, err
}

func (w *indexWriter) block() block {
	return block{first: w.entries[0].blob, last: w.entries[len(w.entries)-1].blob, n: len(w.entries), keys: w.keys(), grams: w.grams(), heads: w.heads, text: w.text}
}

// pack makes pieces of a block's texts, which are not needed any more then.
func (b block) pack(k *packer) (block, error) {
	var err error
	b.packed[0], err = k.pack(b.heads)
	if err == nil {
		b.packed[1], err = k.pack(b.text)
	}
	b.heads, b.text = nil, nil
	return b, err
}

// The places of a block's pieces.
func (b *block) placeOfHeads() int64 { return int64(b.first) << 1 }
func (b *block) placeOfText() int64  { return int64(b.first)<<1 | 1 }

// putBlock stores a block that is packed.
func (tx *Tx) putBlock(b block) error {
	_, err := tx.exec(insertInto("search", blockColumns), b.first, b.last, b.n, b.keys, b.grams, b.packed[0].at(b.placeOfHeads()), b.packed[1].at(b.placeOfText()), codecPiece)
	return err
}

// unindex counts content that is cleared away as dead in its block.
func (tx *Tx) unindex(id BlobID) error {
	_, err := tx.exec(`UPDATE search SET dead=dead+1 WHERE id=(SELECT id FROM search WHERE id<=? ORDER BY id DESC LIMIT 1) AND last>=?`, id, id)
	return err
}

// packIndex rewrites a block of which half or more is dead, together with blocks after it that fit into one with it. The
// text of deleted mail is gone from the index then; before, it is no more to be found than in other freed pages of the
// file.
func (tx *Tx) packIndex() (func() error, error) {
	ids, err := tx.ints(`SELECT id FROM search WHERE dead>0 AND dead*2>=n LIMIT 1`)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return func() error { return tx.packFrom(ids[0]) }, nil
}

func (tx *Tx) packFrom(first int64) error {
	w := &indexWriter{}
	var old []int64
	err := tx.each(`SELECT id,keys,heads,text,codec FROM search WHERE id>=? ORDER BY id LIMIT ?`, []any{first, indexJoin}, func(scan func(...any) error) error {
		var id, codec int64
		var b block
		if err := scan(&id, &b.keys, &b.heads, &b.text, &codec); err != nil {
			return err
		}
		b.first = BlobID(id)
		heads, text, err := tx.openTexts(&b, b.heads, b.text, codec)
		if err != nil { // its messages are searched in the mail from now on
			tx.s.crew.Complain("store: a block of the text index is damaged and left out", err, "block", id)
			b.keys = nil
		}
		b.heads, b.text = heads, text
		before := *w
		if err := tx.packBlock(w, &b); err != nil {
			return err
		}
		if len(old) > 0 && w.full() && len(w.entries) > len(before.entries) {
			*w = before
			return errListFull
		}
		old = append(old, id)
		return nil
	})
	if err != nil && !errors.Is(err, errListFull) {
		return err
	}
	for _, id := range old {
		if _, err := tx.exec(`DELETE FROM search WHERE id=?`, id); err != nil {
			return err
		}
	}
	if len(w.entries) == 0 {
		return nil
	}
	b, err := w.block().pack(tx.s.packer)
	if err != nil {
		return err
	}
	return tx.putBlock(b)
}

// packBlock adds what is still there of a block.
func (tx *Tx) packBlock(w *indexWriter, b *block) error {
	r := indexReader{keys: b.keys}
	for r.next() && r.headEnd <= len(b.heads) && r.bodyEnd <= len(b.text) {
		var here int
		err := tx.one(`SELECT 1 FROM blobs WHERE id=?`, []any{r.blob}, &here)
		if err == nil {
			e := r.indexEntry
			e.keys = bytes.Clone(e.keys)
			w.entries = append(w.entries, e)
			w.heads = append(w.heads, b.heads[r.headEnd-r.head:r.headEnd]...)
			w.text = append(w.text, b.text[r.bodyEnd-r.body:r.bodyEnd]...)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// indexReader goes through the messages of a block.
type indexReader struct {
	indexEntry
	keys             []byte // what is left of the column
	headEnd, bodyEnd int    // where the entry's texts end
}

// next steps to the next message. What is damaged ends the block: the messages are searched in the mail then.
func (r *indexReader) next() bool {
	blob, head, body, keys := r.num(), r.num(), r.num(), r.num()
	if r.keys == nil || keys > uint64(len(r.keys)) || head > indexHead || body>>1 > indexText {
		return false
	}
	r.blob += BlobID(blob)
	r.head, r.body, r.cut = int(head), int(body>>1), body&1 != 0
	r.headEnd, r.bodyEnd = r.headEnd+r.head, r.bodyEnd+r.body
	r.indexEntry.keys, r.keys = r.keys[:keys], r.keys[keys:]
	return true
}

func (r *indexReader) num() uint64 {
	n, size := binary.Uvarint(r.keys)
	if size <= 0 {
		r.keys = nil
		return 0
	}
	r.keys = r.keys[size:]
	return n
}

// indexEnd is the last content that a block covers, 0 if there is none.
func (tx *Tx) indexEnd() (BlobID, error) {
	var last BlobID
	err := tx.one(`SELECT last FROM search ORDER BY id DESC LIMIT 1`, nil, &last)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return last, err
}

// blockHeads calls fn with the header text of a block, which is good until it returns. For a damaged block it does not call it.
func (tx *Tx) blockHeads(b *block, fn func(heads []byte)) error {
	return tx.each(`SELECT heads,codec FROM search WHERE id=?`, []any{b.first}, func(scan func(...any) error) error {
		var stored sql.RawBytes
		var codec int64
		err := scan(&stored, &codec)
		if err != nil {
			return err
		}
		heads, _, err := tx.openTexts(b, stored, nil, codec)
		if err != nil {
			tx.s.crew.Complain("store: a block of the text index is damaged; its messages are searched in the mail", err, "block", b.first)
			return nil
		}
		fn(heads)
		return nil
	})
}

// blockText calls fn with the header text and the body text of a block, which are good until it returns. For a damaged block it does not call it.
func (tx *Tx) blockText(b *block, fn func(heads, text []byte)) error {
	return tx.each(`SELECT heads,text,codec FROM search WHERE id=?`, []any{b.first}, func(scan func(...any) error) error {
		var stored, storedText sql.RawBytes
		var codec int64
		err := scan(&stored, &storedText, &codec)
		if err != nil {
			return err
		}
		heads, text, err := tx.openTexts(b, stored, storedText, codec)
		if err != nil {
			tx.s.crew.Complain("store: a block of the text index is damaged; its messages are searched in the mail", err, "block", b.first)
			return nil
		}
		fn(heads, text)
		return nil
	})
}

// openTexts undoes pack. A text that was not read stays out. What it returns is good until the transaction's next block.
func (tx *Tx) openTexts(b *block, heads, text []byte, codec int64) ([]byte, []byte, error) {
	if codec != codecPiece {
		return heads, text, nil
	}
	for i, p := range []struct {
		stored []byte
		place  int64
	}{{heads, b.placeOfHeads()}, {text, b.placeOfText()}} {
		if p.stored == nil {
			continue
		}
		got, err := tx.s.packer.openInto(tx.texts[i], p.stored, p.place, pieceMost)
		if err != nil {
			return nil, nil, err
		}
		if cap(got) > cap(tx.texts[i]) && p.stored[sumSize]&^pieceTwoSums != 0 { // which is a part of the row
			tx.texts[i] = got
		}
		if i == 0 {
			heads = got
		} else {
			text = got
		}
	}
	return heads, text, nil
}

// blockKeys calls fn for each block, without its filter, and the part of ids, which must be sorted, that it covers. What is in
// the block is good until fn returns.
func (tx *Tx) blockKeys(ids []BlobID, fn func(b *block, lo, hi int) error) error {
	return tx.byBlock(ids, `id,last,keys`, fn)
}

// blockFilters is blockKeys with the filter.
func (tx *Tx) blockFilters(ids []BlobID, fn func(b *block, lo, hi int) error) error {
	return tx.byBlock(ids, `id,last,keys,grams`, fn)
}

// byBlock reads the first columns of blocks. One query serves neighbouring ones: each would take as long to ask for as to read.
func (tx *Tx) byBlock(ids []BlobID, columns string, fn func(b *block, lo, hi int) error) error {
	// Not max(id): SQLite would walk the table for that.
	query := `SELECT ` + columns + ` FROM search WHERE id>=coalesce((SELECT id FROM search WHERE id<=? ORDER BY id DESC LIMIT 1),0) ORDER BY id`
	count := strings.Count(columns, ",") + 1
	for lo := 0; lo < len(ids); {
		empty := 0
		err := tx.each(query, []any{ids[lo]}, func(scan func(...any) error) error {
			var b block
			var keys, grams sql.RawBytes
			dest := []any{&b.first, &b.last, &keys, &grams}
			if err := scan(dest[:count]...); err != nil {
				return err
			}
			b.keys, b.grams = keys, grams
			for lo < len(ids) && ids[lo] < b.first { // in no block
				lo++
			}
			hi := lo
			for hi < len(ids) && ids[hi] <= b.last {
				hi++
			}
			empty++
			if hi > lo {
				if err := fn(&b, lo, hi); err != nil {
					return err
				}
				lo, empty = hi, 0
			}
			if lo == len(ids) || empty > indexGap {
				return errListFull
			}
			return nil
		})
		if !errors.Is(err, errListFull) {
			return err // or nil: there are no more blocks
		}
	}
	return nil
}
