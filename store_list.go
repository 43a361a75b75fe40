// Listing: many messages at once, read in batches, each with as much of its content as was asked for.
package main

import (
	"errors"
	"strings"
	"time"
)

// Want says how much a listing reads of each message beside its row.
type Want uint8

const (
	WantFlags Want = iota // UID, Flags and Gone, nothing else of the row
	WantBrief             // UID, ModSeq, Flags, Gone and Blob, nothing else of the row
	WantRow               // the row: no content is touched
	WantHead              // and the header block
	WantTree              // and the MIME tree
	WantBody              // and what follows the header block, as far as a batch has room for it
	WantKeys              // UID, Blob, Size and Internal only: what sorting needs of the row, in half the time
)

const (
	listRows  = 500                  // messages read in one transaction, at most
	listBytes = 512 << 10            // octets of content read in one transaction, about; fewer when many read
	listRow   = listBytes / listRows // octets of content for which a row is read
	listBlock = 64 << 10             // octets of memory that a batch takes at a time, at least
	listGap   = 64                   // UIDs that are read over rather than skipped with a query of their own
)

// listQueries are indexed by Want. They touch no table that is not needed.
var listQueries = [...]string{
	WantBrief: `SELECT uid,modseq,flags,keywords,gone,blob FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
	WantRow:   `SELECT ` + messageColumns + ` FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
	WantKeys:  `SELECT uid,blob,size,internal FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
	WantHead: `SELECT ` + listColumns + `,b.size,b.headlen,b.codec,b.head FROM messages m
		LEFT JOIN blobs b ON b.id=m.blob WHERE m.mailbox=? AND m.uid BETWEEN ? AND ? ORDER BY m.uid`,
	WantTree: listWithTree,
	WantBody: listWithTree, // and listChunks for each
}

const (
	listChunks = `SELECT data FROM chunks WHERE id BETWEEN ? AND ? ORDER BY id`
	listSums   = `SELECT sums FROM content_sums WHERE blob=?`
)

var listWithTree = `SELECT ` + listColumns + `,b.size,b.headlen,b.codec,b.head,b.tree FROM messages m
		LEFT JOIN blobs b ON b.id=m.blob WHERE m.mailbox=? AND m.uid BETWEEN ? AND ? ORDER BY m.uid`

var listColumns = "m." + strings.ReplaceAll(messageColumns, ",", ",m.")

// Listed is a message of a listing. Content is nil up to WantRow, and for a tombstone that has none any more.
type Listed struct {
	Message
	Content *Content
}

// List reads the messages with the given UIDs, which must be sorted, and calls fn for each that has a row, tombstones
// included. fn runs outside of any transaction and may take as long as it likes, or write to a socket. The Listed and its
// Content are fn's until it returns. What is held in memory is a batch, and the next one, which is read meanwhile, however many
// there are; the more Lists are under way, the smaller they are.
func (s *Store) List(id MailboxID, uids []UID, want Want, fn func(*Listed) error) error {
	if want == WantFlags {
		return s.listFlags(id, uids, fn)
	}
	room, end := s.gates.beginList()
	defer end()
	l := &listing{s: s, box: id, want: want}
	b, err := l.batch(uids, room())
	for err == nil && len(b.left) > 0 {
		var ahead *listBatch
		read := s.crew.Result("list", func() error {
			var err error
			ahead, err = l.batch(b.left, room())
			return err
		})
		given := b.each(fn)
		err = <-read
		if given != nil {
			err = given
		}
		s.listed.Put(b)
		b = ahead
	}
	if err != nil {
		return err
	}
	defer s.listed.Put(b)
	return b.each(fn)
}

// listing is one List.
type listing struct {
	s    *Store
	box  MailboxID
	want Want
}

// listBatch is what a listing reads at a time. It comes from Store.listed and goes back there.
type listBatch struct {
	list  []Listed
	left  []UID      // that are still to be read
	made  []*Content // for list, and for lists before
	bytes int        // of content
	most  int        // and how many there may be, about
	words string     // the last message's keywords

	blocks  [][]byte // memory for content
	block   int      // the one in use
	filled  int      // octets of it
	blocked int      // octets of all of them
}

// each gives the messages to fn.
func (b *listBatch) each(fn func(*Listed) error) error {
	for i := range b.list {
		if err := fn(&b.list[i]); err != nil {
			return err
		}
	}
	return nil
}

// batch reads the next messages, for about so many octets of content. What has to be opened is opened after the transaction.
func (l *listing) batch(uids []UID, most int) (*listBatch, error) {
	b, _ := l.s.listed.Get().(*listBatch)
	if b == nil {
		b = &listBatch{}
	}
	err := l.s.Read(func(tx *Tx) error { return l.read(tx, b, uids, most) })
	if err != nil {
		return nil, err
	}
	for i := range b.list {
		if c := b.list[i].Content; c != nil {
			b.open(c)
		}
	}
	return b, nil
}

// room is memory of the batch, good until the batch is used again: an empty slice that can take n octets.
func (b *listBatch) room(n int) []byte {
	for ; b.block < len(b.blocks); b.block, b.filled = b.block+1, 0 {
		if free := b.blocks[b.block][b.filled:]; len(free) >= n {
			b.filled += n
			return free[:0:n]
		}
	}
	b.blocks = append(b.blocks, make([]byte, max(n, listBlock)))
	b.blocked += max(n, listBlock)
	b.filled = n
	return b.blocks[b.block][:0:n]
}

// keep is a copy of octets in the batch's memory.
func (b *listBatch) keep(octets []byte) []byte {
	if len(octets) == 0 {
		return nil
	}
	return append(b.room(len(octets)), octets...)
}

// empty makes the batch ready to be filled.
func (b *listBatch) empty(most int) {
	clear(b.list)
	b.list, b.left, b.bytes, b.most = b.list[:0], nil, 0, most
	b.block, b.filled = 0, 0
	if b.blocked > 2*listBytes { // one large message shall not be held for ever
		b.blocks, b.blocked = nil, 0
	}
}

// errListFull ends a query whose batch is full.
var errListFull = errors.New("the batch is full")

// read fills the batch. Neighbouring UIDs share a query.
func (l *listing) read(tx *Tx, b *listBatch, uids []UID, most int) error {
	b.empty(most)
	rows := max(most/listRow, 1)
	if cap(b.list) < min(len(uids), rows) {
		b.list = make([]Listed, 0, min(len(uids), rows))
	}
	for at := 0; at < len(uids) && len(b.list) < rows && b.bytes < most; {
		end := at + 1
		for end < len(uids) && end-at < rows-len(b.list) && uids[end]-uids[end-1] <= listGap {
			end++
		}
		err := tx.eachRow(listQueries[l.want], []any{l.box, uids[at], uids[end-1]}, func(row *dbStmt) error {
			uid := UID(row.int(0))
			for at < end && uids[at] < uid {
				at++
			}
			if at == end || uids[at] != uid {
				return nil
			}
			if l.want == WantBody && b.crowds(row.int(messageColumnCount)) {
				return errListFull
			}
			at++
			b.list = append(b.list, Listed{Message: l.message(b, row)})
			if err := l.content(tx, b, row); err != nil {
				return err
			}
			if b.bytes >= most {
				return errListFull
			}
			return nil
		})
		switch {
		case err == nil:
			at = end
		case errors.Is(err, errListFull):
			b.left = uids[at:]
			return nil
		default:
			return err
		}
		b.left = uids[at:]
	}
	return nil
}

// message is the row's message, or what is wanted of it.
func (l *listing) message(b *listBatch, row *dbStmt) Message {
	if l.want == WantKeys {
		return Message{UID: UID(row.int(0)), Blob: BlobID(row.int(1)), Size: row.int(2), Internal: time.Unix(row.int(3), 0)}
	}
	var m Message
	m.readBrief(row, &b.words)
	if l.want != WantBrief {
		m.readRest(row)
	}
	return m
}

// content reads what is wanted of the content of the last message. It stays as it is stored.
func (l *listing) content(tx *Tx, b *listBatch, row *dbStmt) error {
	const first = messageColumnCount
	if l.want < WantHead || l.want == WantKeys || row.isNull(first) {
		return nil
	}
	m := &b.list[len(b.list)-1]
	c := b.fresh(len(b.list) - 1)
	c.ID, c.s, c.at = m.Blob, tx.s, -1
	c.Size, c.HeadLen, c.treeCodec, c.Head = row.int(first), row.int(first+1), row.int(first+2), b.keep(row.octets(first+3))
	if l.want >= WantTree {
		c.tree = b.keep(row.octets(first + 4))
	}
	m.Content = c
	b.bytes += int(c.headHere()) + len(c.tree)
	if l.want == WantBody {
		return l.body(tx, b, c)
	}
	return nil
}

// body reads chunks of the content, one at least and all if there is room for them, and where they are no pieces, their sums.
func (l *listing) body(tx *Tx, b *listBatch, c *Content) error {
	size := c.Size - c.headHere()
	if size <= 0 {
		return nil
	}
	most := max(min((size+chunkSize-1)/chunkSize, int64(b.most-b.bytes)/chunkSize), 1)
	b.bytes += int(min(size, most*chunkSize))
	err := tx.eachRow(listChunks, []any{placeOfChunk(c.ID, 0), placeOfChunk(c.ID, most-1)}, func(row *dbStmt) error {
		c.ready = append(c.ready, b.keep(row.octets(0)))
		return nil
	})
	if err != nil || c.treeCodec == codecPiece {
		return err
	}
	err = tx.one(listSums, []any{c.ID}, &c.sums)
	if errors.Is(err, ErrNotFound) {
		c.sums, err = []byte{}, nil
	}
	return err
}

// crowds says whether content of that size is better read as the beginning of the next batch.
func (b *listBatch) crowds(size int64) bool {
	return len(b.list) > 0 && int64(b.bytes)+size > int64(b.most) && size <= int64(b.most)
}

// fresh is Content for the ith message of the batch.
func (b *listBatch) fresh(i int) *Content {
	for len(b.made) <= i {
		b.made = append(b.made, &Content{})
	}
	c := b.made[i]
	*c = Content{ready: c.ready[:0]}
	return c
}

// open undoes what was done to store the content, as far as it was read. A chunk that is not as it was stored is left out, and
// those after it: whoever wants it reads it again, and is told.
func (b *listBatch) open(c *Content) {
	c.openHead(b.room)
	for k, stored := range c.ready {
		octets, err := c.openedChunk(b.room, stored, int64(k), c.treeCodec)
		if err != nil {
			c.ready = c.ready[:k]
			return
		}
		c.ready[k] = octets
	}
}
