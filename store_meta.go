// Annotations of mailboxes and of the server (RFC 5464), and how much of a quota is used.
package main

import (
	"errors"
	"fmt"
)

// Annotation is a named value. A nil Value is one that was removed; it is remembered so that watchers can be told.
type Annotation struct {
	Entry  string // in lower case, such as /shared/comment
	Value  []byte
	ModSeq ModSeq
}

const (
	maxAnnotation       = 64 << 10 // octets of a value
	maxAnnotationName   = 200      // octets of an entry's name
	maxAnnotations      = 100      // of a mailbox or the server, shared or one user's
	maxAnnotationGraves = 100      // removed ones that are remembered
)

// ErrTooMany is for more of something than there may be.
var ErrTooMany = errors.New("too many")

// Annotations calls fn for those of a mailbox (0 is the server) that are shared and the user's own, by name. Values are read
// only where want says so.
func (tx *Tx) Annotations(id MailboxID, user UserID, since ModSeq, fn func(a Annotation, value func() ([]byte, error)) error) error {
	var all []Annotation
	var users []UserID
	err := tx.each(`SELECT user,entry,modseq,value IS NULL FROM metadata WHERE mailbox=? AND user IN (0,?) AND modseq>? ORDER BY entry`,
		[]any{id, user, since}, func(scan func(...any) error) error {
			var a Annotation
			var u UserID
			var gone bool
			if err := scan(&u, &a.Entry, &a.ModSeq, &gone); err != nil {
				return err
			}
			if !gone {
				a.Value = []byte{}
			}
			all, users = append(all, a), append(users, u)
			return nil
		})
	if err != nil {
		return err
	}
	for i, a := range all {
		value := func() (b []byte, err error) {
			err = tx.one(`SELECT value FROM metadata WHERE mailbox=? AND user=? AND entry=?`, []any{id, users[i], a.Entry}, &b)
			return b, err
		}
		if err := fn(a, value); err != nil {
			return err
		}
	}
	return nil
}

// SetAnnotation sets a value, or removes it if it is nil. user is 0 for what all may see. owner's modseq stamps the change.
// ErrTooBig, ErrTooMany.
func (tx *Tx) SetAnnotation(owner UserID, id MailboxID, user UserID, entry string, value []byte) error {
	if len(value) > maxAnnotation || len(entry) > maxAnnotationName {
		return fmt.Errorf("annotation %s: %w", entry, ErrTooBig)
	}
	mod, err := tx.bump(owner)
	if err != nil {
		return err
	}
	var have, graves int
	err = tx.one(`SELECT coalesce(sum(value IS NOT NULL),0), coalesce(sum(value IS NULL),0) FROM metadata WHERE mailbox=? AND user=? AND entry<>?`,
		[]any{id, user, entry}, &have, &graves)
	switch {
	case err != nil:
		return err
	case value != nil && have >= maxAnnotations:
		return fmt.Errorf("annotation %s: %w", entry, ErrTooMany)
	case graves >= maxAnnotationGraves:
		if _, err := tx.exec(`DELETE FROM metadata WHERE mailbox=? AND user=? AND value IS NULL`, id, user); err != nil {
			return err
		}
	}
	var v any
	if value != nil {
		v = value
	}
	_, err = tx.exec(`INSERT OR REPLACE INTO metadata(mailbox,user,entry,value,modseq) VALUES(?,?,?,?,?)`, id, user, entry, v, mod)
	return err
}

// DeletedBytes is how much expunging a mailbox would free.
func (tx *Tx) DeletedBytes(m Mailbox) (n int64, err error) {
	if m.Deleted == 0 {
		return 0, nil
	}
	err = tx.one(`SELECT coalesce(sum(size),0) FROM messages WHERE mailbox=? AND NOT gone AND flags&?<>0`, []any{m.ID, FlagDeleted}, &n)
	return n, err
}
