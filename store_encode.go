// Content in another form than it is stored in: with its binary parts encoded.
package main

import (
	"errors"
	"io"
)

// unsizedSchema finds the messages from before FormSized.
const unsizedSchema = `CREATE INDEX messages_unsized ON messages(blob) WHERE form&20=4 AND gone=0;`

// WithoutBinary returns the content with its binary parts encoded, as whoever does not take binary can have it (EncodeBinary):
// with a tree, a header and a size of its own, all of which agree. It is made anew each time and held in memory or a temporary
// file: the caller must close it. Content that has no such parts comes back as it is, as does what is too odd to be encoded.
func (c *Content) WithoutBinary() (*Content, error) {
	tree := c.Tree()
	if !tree.HasBinary() {
		return c, nil
	}
	sp := c.s.NewSpool(3*c.Size + chunkSize) // quoted-printable is chosen where it takes less than base64
	err := EncodeBinary(sp, tree, c, true)
	var head []byte
	if err == nil {
		head, err = sp.Head()
	}
	if err != nil {
		sp.Close()
		if errors.Is(err, ErrNotConvertible) {
			return c, nil
		}
		return nil, err
	}
	return &Content{ID: c.ID, Size: sp.Size(), HeadLen: sp.Tree().HeaderLen, Head: head, part: sp.Tree(), s: c.s, at: -1, spool: sp}, nil
}

// Close gives back what WithoutBinary has taken; other content holds nothing.
func (c *Content) Close() error {
	if c.spool == nil {
		return nil
	}
	return c.spool.Close()
}

// encodedSize is the size of a message as WithoutBinary gives it.
func encodedSize(tree *Part, r io.ReaderAt) (int64, error) {
	n := countWriter(0)
	err := EncodeBinary(&n, tree, r, true)
	if errors.Is(err, ErrNotConvertible) {
		return tree.HeaderLen + tree.BodyLen, nil
	}
	return int64(n), err
}

// countWriter counts octets.
type countWriter int64

func (n *countWriter) Write(p []byte) (int, error) {
	*n += countWriter(len(p))
	return len(p), nil
}

// sizeOld gives messages from before FormSized the size that all of IMAP and POP3 say of them: until then lists and sums said what is stored,
// and FETCH what is sent. A damaged one keeps what it has.
func (s *Store) sizeOld() error {
	for {
		var id BlobID
		err := s.Read(func(tx *Tx) error {
			return tx.one(`SELECT blob FROM messages INDEXED BY messages_unsized WHERE form&20=4 AND gone=0 LIMIT 1`, nil, &id)
		})
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		var size int64
		if err == nil {
			size, err = s.sizeWithoutBinary(id)
		}
		if err == nil {
			err = s.Write(func(tx *Tx) error { return tx.resize(id, size) })
		}
		if err != nil {
			return err
		}
	}
}

// sizeWithoutBinary is the size of content as WithoutBinary gives it, 0 if it can't be read.
func (s *Store) sizeWithoutBinary(id BlobID) (int64, error) {
	c, err := s.Content(id)
	if err == nil {
		var n int64
		n, err = encodedSize(c.Tree(), c)
		if err == nil {
			return n, nil
		}
	}
	if errors.Is(err, ErrContentDamaged) || errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return 0, err
}

// resize gives the messages with content another size, 0 for the one that they have, and their mailboxes another sum.
func (tx *Tx) resize(id BlobID, size int64) error {
	if size > 0 {
		_, err := tx.exec(`UPDATE mailboxes SET bytes=bytes+d.n FROM (SELECT mailbox, sum(?-size) n FROM messages INDEXED BY messages_unsized
			WHERE blob=? AND form&20=4 AND gone=0 GROUP BY mailbox) d WHERE d.mailbox=mailboxes.id`, size, id)
		if err != nil {
			return err
		}
	}
	_, err := tx.exec(`UPDATE messages INDEXED BY messages_unsized SET size=iif(?>0,?,size), form=form|16 WHERE blob=? AND form&20=4 AND gone=0`, size, size, id)
	return err
}
