// Sums of content: what tells octets that a card has changed from those that were stored.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"slices"
	"strings"
	"time"
)

// sumSchema holds the sums of content with codecRaw, 64 bits each: of its header block, of its tree, and of its chunks in their order. Content from before
// this step gets them in the background: sums_upto is the last that may lack them. Pieces have their own sums.
const sumSchema = `
CREATE TABLE content_sums(blob INTEGER PRIMARY KEY, sums BLOB NOT NULL);
INSERT INTO settings(key,value) SELECT 'sums_upto',max(id) FROM blobs HAVING max(id)>0;
`

const (
	settingSumsUpto = "sums_upto"
	sumSize         = 8
	sumStep         = 1 << 20 // octets of content that are summed in one transaction, about
	sumRest         = 50 * time.Millisecond
	sumsNamed       = 100 // damaged messages that are named one by one
)

// ErrContentDamaged is what reading content ends with whose octets are not those that were stored.
var ErrContentDamaged = errors.New("the content is damaged on the disk")

// contentSum is the sum of some octets: CRC-64 finds all damage of up to 64 bits in a row, and of any other all but 1 in 10^19.
func contentSum(b []byte) uint64 { return crc64.Checksum(b, sumTable) }

var sumTable = crc64.MakeTable(crc64.ECMA)

func appendSum(sums, b []byte) []byte { return binary.LittleEndian.AppendUint64(sums, contentSum(b)) }

// sumIs says whether the nth sum is that of b. Where there is none, nothing is known and all is well.
func sumIs(sums []byte, n int64, b []byte) bool {
	at := n * sumSize
	return at+sumSize > int64(len(sums)) || binary.LittleEndian.Uint64(sums[at:]) == contentSum(b)
}

// putSums stores the sums of content when all of it is there.
func (tx *Tx) putSums(id BlobID, sums []byte) error {
	_, err := tx.exec(`INSERT OR REPLACE INTO content_sums(blob,sums) VALUES(?,?)`, id, sums)
	return err
}

// readSums reads the sums of the content, once.
func (c *Content) readSums() error {
	if c.sums != nil {
		return nil
	}
	err := c.s.readOne(`SELECT sums FROM content_sums WHERE blob=?`, []any{c.ID}, &c.sums)
	if errors.Is(err, ErrNotFound) {
		c.sums, err = []byte{}, nil
	}
	return err
}

// checkHead compares the header block with its sum, once.
func (c *Content) checkHead() error {
	if c.headGood {
		return nil
	}
	if c.headFault != nil {
		return fmt.Errorf("content %d: header: %w", c.ID, c.headFault)
	}
	if c.headPacked {
		return nil
	}
	err := c.readSums()
	if err == nil && !sumIs(c.sums, 0, c.Head) {
		err = fmt.Errorf("content %d: header: %w", c.ID, ErrContentDamaged)
	}
	c.headGood = err == nil
	return err
}

// checkChunk opens the chunk that is in hand and compares it with its sum, once.
func (c *Content) checkChunk() error {
	if c.chunkGood {
		return nil
	}
	octets, err := c.openedChunk(c.roomFor, c.chunk, c.at, c.chunkCodec)
	if err != nil {
		return err
	}
	c.chunk, c.chunkGood = octets, true
	return nil
}

// roomFor is memory for one chunk, that of the last one.
func (c *Content) roomFor(n int) []byte {
	if cap(c.room) < n {
		c.room = make([]byte, 0, n)
	}
	return c.room[:0]
}

// Begin checks the beginning of the content, its first 64 KiB and more, which is all of most messages: an error is better known before
// anything is said than in the middle.
func (c *Content) Begin() error {
	if c.spool != nil {
		return nil
	}
	err := c.checkHead()
	if err == nil && c.Size > c.headHere() {
		_, err = c.from(c.headHere())
	}
	return err
}

// Sound checks the content from off on, n octets and the chunks that they are in, before somebody is told that they come: who has been told
// a length, or that a message follows, takes what comes for it. All of a content that was found whole is not read twice until others were
// (soundMost of them): what a card changes meanwhile is found while it is read.
func (c *Content) Sound(off, n int64) error {
	if c.spool != nil || n <= 0 {
		return nil
	}
	end := min(off+n, c.Size)
	whole := off <= 0 && end == c.Size
	if c.s.wasSound(c.ID) {
		return nil
	}
	var err error
	if off < c.headHere() {
		err = c.checkHead()
	}
	for k := max(off-c.headHere(), 0) / chunkSize; err == nil && c.headHere()+k*chunkSize < end; k++ {
		var one [1]byte
		_, err = c.ReadAt(one[:], c.headHere()+k*chunkSize)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, io.ErrUnexpectedEOF) {
		_, gone := c.s.Content(c.ID) // it may have been cleared away meanwhile
		if gone == nil {
			err = fmt.Errorf("%w: %s", ErrContentDamaged, strings.ReplaceAll(err.Error(), "not found", "is missing"))
		}
	}
	if err == nil && whole && c.Size > c.headHere()+chunkSize {
		c.s.noteSound(c.ID)
	}
	return err
}

// soundMost is how many contents are remembered as whole.
const soundMost = 10_000

// wasSound says whether content was found whole since the start, as far as that is remembered.
func (s *Store) wasSound(id BlobID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sound[id]
}

func (s *Store) noteSound(id BlobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sound) >= soundMost || s.sound == nil {
		s.sound = map[BlobID]bool{}
	}
	s.sound[id] = true
}

// SoundTree is an error when the tree, which says where the parts are, is not as it was stored.
func (c *Content) SoundTree() error {
	if c.part != nil || c.spool != nil {
		return nil
	}
	if c.tree == nil {
		err := c.s.readOne(`SELECT tree,codec FROM blobs WHERE id=?`, []any{c.ID}, &c.tree, &c.treeCodec)
		if err != nil {
			return err
		}
	}
	if c.treeCodec != codecPiece {
		return c.checkTree()
	}
	var err error
	c.part, err = c.readTree()
	return err
}

// Ready is an error when what a listing has read of the content is damaged. It waits for the disk only with WantBody, as Begin.
func (c *Content) Ready(want Want) error {
	if want == WantBody {
		return c.Begin()
	}
	if c.headFault != nil {
		return fmt.Errorf("content %d: header: %w", c.ID, c.headFault)
	}
	return nil
}

// Check reads all of the content and compares it with its sums.
func (c *Content) Check() error {
	err := c.checkHead()
	if err == nil && c.tree != nil {
		err = c.checkTree()
	}
	for k := int64(0); err == nil && c.headHere()+k*chunkSize < c.Size; k++ {
		err = c.fetch(k)
		if err == nil {
			err = c.checkChunk()
		}
	}
	return err
}

func (c *Content) checkTree() error {
	if c.treeCodec == codecPiece {
		_, err := c.openTree()
		return err
	}
	err := c.readSums()
	if err == nil && !sumIs(c.sums, 1, c.tree) {
		err = fmt.Errorf("content %d: tree: %w", c.ID, ErrContentDamaged)
	}
	return err
}

// sumOld gives some content from before there were sums its own, for the collector.
func (tx *Tx) sumOld() (func() error, error) {
	var upto int64
	err := tx.one(`SELECT CAST(value AS INTEGER) FROM settings WHERE key=?`, []any{settingSumsUpto}, &upto)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error {
		for octets := int64(0); octets < sumStep; {
			var id BlobID
			var size int64
			err := tx.one(`SELECT id,size FROM blobs WHERE id<=? AND codec=? ORDER BY id DESC LIMIT 1`, []any{upto, codecRaw}, &id, &size)
			if errors.Is(err, ErrNotFound) {
				return tx.SetSetting(settingSumsUpto, nil)
			}
			if err == nil {
				err = tx.sumAgain(id)
			}
			if err != nil {
				return err
			}
			octets, upto = octets+size+1000, int64(id)-1
		}
		_, err := tx.exec(`UPDATE settings SET value=? WHERE key=?`, upto, settingSumsUpto)
		return err
	}, nil
}

// sumAgain sums content as it is now.
func (tx *Tx) sumAgain(id BlobID) error {
	var head, tree []byte
	err := tx.one(`SELECT head,tree FROM blobs WHERE id=?`, []any{id}, &head, &tree)
	if err != nil {
		return err
	}
	sums := appendSum(appendSum(nil, head), tree)
	err = tx.each(`SELECT data FROM chunks WHERE id BETWEEN ? AND ? ORDER BY id`, []any{int64(id) << chunkBits, int64(id)<<chunkBits | (1<<chunkBits - 1)}, func(scan func(...any) error) error {
		var data []byte
		err := scan(&data)
		sums = appendSum(sums, data)
		return err
	})
	if err != nil {
		return err
	}
	return tx.putSums(id, sums)
}

// DamagedMessage is a message whose content is not as it was stored.
type DamagedMessage struct {
	User, Mailbox string
	UID           UID
	Why           error
}

// DamagedContent reads all content and names the messages of which it is damaged, the first hundred of them. Between two pieces it calls rest, unless that is nil; when it returns
// false, that is all.
func (s *Store) DamagedContent(rest func() bool) ([]DamagedMessage, error) {
	bad := map[BlobID]error{}
	for last := int64(0); len(bad) < sumsNamed; {
		ids, err := read(s, func(tx *Tx) ([]int64, error) {
			return tx.ints(`SELECT b.id FROM blobs b WHERE b.id>? AND NOT EXISTS(SELECT 1 FROM refs r WHERE r.blob=b.id AND r.n=0) ORDER BY b.id LIMIT 100`, last)
		})
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			err := s.checkContent(BlobID(id))
			if errors.Is(err, ErrClosed) {
				return nil, err
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				bad[BlobID(id)] = err
			}
			if rest != nil && !rest() {
				return nil, nil
			}
		}
		last = ids[len(ids)-1]
	}
	return s.messagesWith(bad)
}

func (s *Store) checkContent(id BlobID) error {
	c, err := s.Content(id)
	if err != nil {
		return err
	}
	err = c.Check()
	if errors.Is(err, ErrNotFound) {
		_, again := s.Content(id) // or it was cleared away meanwhile
		if again == nil {
			return fmt.Errorf("%w: %s", ErrContentDamaged, strings.ReplaceAll(err.Error(), "not found", "is missing"))
		}
	}
	return err
}

// messagesWith names the messages that have one of these contents.
func (s *Store) messagesWith(bad map[BlobID]error) ([]DamagedMessage, error) {
	if len(bad) == 0 {
		return nil, nil
	}
	type place struct {
		DamagedMessage
		blob BlobID
	}
	all, err := read(s, func(tx *Tx) ([]place, error) {
		return rows(tx, `SELECT coalesce(u.name,''),b.name,m.uid,m.blob FROM messages m JOIN mailboxes b ON b.id=m.mailbox LEFT JOIN users u ON u.id=b.owner
			WHERE NOT m.gone AND m.blob BETWEEN ? AND ? ORDER BY u.name,b.name,m.uid`, []any{slices.Min(keysOf(bad)), slices.Max(keysOf(bad))},
			func(p *place) []any { return []any{&p.User, &p.Mailbox, &p.UID, &p.blob} })
	})
	var found []DamagedMessage
	for _, p := range all {
		if why := bad[p.blob]; why != nil {
			p.Why = why
			found = append(found, p.DamagedMessage)
		}
	}
	return found, err
}

func keysOf(m map[BlobID]error) []BlobID {
	var all []BlobID
	for id := range m {
		all = append(all, id)
	}
	return all
}
