// Listing: many messages at once, read in batches, each with as much of its content as was asked for.
package main

import (
	"database/sql"
	"errors"
	"strings"
)

// Want says how much a listing reads of each message beside its row.
type Want uint8

const (
	WantBrief Want = iota // UID, ModSeq, Flags, Gone and Blob, nothing else of the row
	WantRow               // the row: no content is touched
	WantHead              // and the header block
	WantTree              // and the MIME tree
	WantBody              // and the first chunk of what follows the header block, which is all of most messages
	WantKeys              // UID, Blob, Size and Internal only: what sorting needs of the row, in half the time
)

const (
	listRows  = 500                  // messages read in one transaction, at most
	listBytes = 1 << 20              // octets of content read in one transaction, about; fewer when many read
	listRow   = listBytes / listRows // octets of content for which a row is read
	listGap   = 64                   // UIDs that are read over rather than skipped with a query of their own
)

// listQueries are indexed by Want. They touch no table that is not needed.
var listQueries = [...]string{
	WantBrief: `SELECT uid,modseq,flags,keywords,gone,blob FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
	WantRow:   `SELECT ` + messageColumns + ` FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
	WantKeys:  `SELECT uid,blob,size,internal FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
	WantHead: `SELECT ` + listColumns + `,b.size,b.headlen,b.codec,b.head FROM messages m
		LEFT JOIN blobs b ON b.id=m.blob WHERE m.mailbox=? AND m.uid BETWEEN ? AND ? ORDER BY m.uid`,
	WantTree: `SELECT ` + listColumns + `,b.size,b.headlen,b.codec,b.head,b.tree FROM messages m
		LEFT JOIN blobs b ON b.id=m.blob WHERE m.mailbox=? AND m.uid BETWEEN ? AND ? ORDER BY m.uid`,
	WantBody: `SELECT ` + listColumns + `,b.size,b.headlen,b.codec,b.head,b.tree,c.data,s.sums FROM messages m
		LEFT JOIN blobs b ON b.id=m.blob LEFT JOIN chunks c ON c.id=b.id<<14 LEFT JOIN content_sums s ON s.blob=b.id
		WHERE m.mailbox=? AND m.uid BETWEEN ? AND ? ORDER BY m.uid`,
}

var listColumns = "m." + strings.ReplaceAll(messageColumns, ",", ",m.")

// Listed is a message of a listing. Content is nil up to WantRow, and for a tombstone that has none any more.
type Listed struct {
	Message
	Content *Content
}

// List reads the messages with the given UIDs, which must be sorted, and calls fn for each that has a row, tombstones
// included. fn runs outside of any transaction and may take as long as it likes, or write to a socket. The Listed is
// fn's until it returns; its Content may be kept. What is held in memory is a batch, however many there are; the more Lists are
// under way, the smaller it is.
func (s *Store) List(id MailboxID, uids []UID, want Want, fn func(*Listed) error) error {
	l := listing{want: want}
	room, end := s.gates.beginList()
	defer end()
	for len(uids) > 0 {
		l.most = room()
		left, err := read(s, func(tx *Tx) ([]UID, error) { return l.read(tx, id, uids) })
		if err != nil {
			return err
		}
		uids = left
		for i := range l.batch {
			if err := fn(&l.batch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// listing is the state of one List.
type listing struct {
	want  Want
	batch []Listed
	bytes int
	most  int // octets in a batch

	// What a row is scanned into.
	row                  messageRow
	size, headlen, codec sql.NullInt64
	stored               storedContent
	dest                 []any
}

// errListFull ends a query whose batch is full.
var errListFull = errors.New("the batch is full")

// read fills the batch and returns the UIDs that are still to be read. Neighbouring UIDs share a query.
func (l *listing) read(tx *Tx, id MailboxID, uids []UID) ([]UID, error) {
	clear(l.batch)
	l.batch, l.bytes = l.batch[:0], 0
	most := max(l.most/listRow, 1)
	if l.batch == nil {
		l.batch = make([]Listed, 0, min(len(uids), most))
	}
	for at := 0; ; {
		if at == len(uids) || len(l.batch) >= most || l.bytes >= l.most {
			return uids[at:], nil
		}
		end := at + 1
		for end < len(uids) && end-at < most-len(l.batch) && uids[end]-uids[end-1] <= listGap {
			end++
		}
		err := tx.each(listQueries[l.want], []any{id, uids[at], uids[end-1]}, func(scan func(...any) error) error {
			if err := l.scan(scan); err != nil {
				return err
			}
			m := l.row.message()
			for at < end && uids[at] < m.UID {
				at++
			}
			if at == end || uids[at] != m.UID {
				return nil
			}
			at++
			l.batch = append(l.batch, Listed{m, l.content(tx, m.Blob)})
			if l.bytes >= l.most {
				return errListFull
			}
			return nil
		})
		switch {
		case err == nil:
			at = end
		case !errors.Is(err, errListFull):
			return nil, err
		}
	}
}

// scan reads a row of the query into the fields.
func (l *listing) scan(scan func(...any) error) error {
	if l.dest == nil {
		l.dest = l.row.dest()
		switch l.want {
		case WantBrief:
			l.dest = l.dest[:6]
		case WantKeys:
			l.dest = []any{l.dest[0], l.dest[5], l.dest[6], l.dest[7]}
		}
		more := []any{&l.size, &l.headlen, &l.codec, &l.stored.head, &l.stored.tree, &l.stored.chunk, &l.stored.sums}
		l.dest = append(l.dest, more[:[...]int{WantHead: 4, WantTree: 5, WantBody: 7, WantKeys: 0}[l.want]]...)
	}
	l.stored = storedContent{}
	return scan(l.dest...)
}

func (l *listing) content(tx *Tx, id BlobID) *Content {
	if !l.size.Valid {
		return nil
	}
	r := &l.stored
	r.size, r.headLen, r.codec = l.size.Int64, l.headlen.Int64, l.codec.Int64
	c := r.open(tx.s, id)
	l.bytes += c.held()
	return c
}
