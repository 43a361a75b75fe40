// Annotations of mailboxes and of the server (RFC 5464).
package main

import (
	"fmt"
)

// Annotation is a named value of a mailbox or of the server.
type Annotation struct {
	Mailbox MailboxID // 0 is the server
	User    UserID    // whose it is, 0 for one that all may see
	Entry   string    // in lower case, such as /shared/comment
	Gone    bool      // removed; it is remembered so that watchers can be told
	ModSeq  ModSeq
}

const (
	maxAnnotation       = 64 << 10 // octets of a value
	maxAnnotationName   = 200      // octets of an entry's name
	maxAnnotations      = 100      // of a mailbox or the server, shared or one user's
	maxAnnotationGraves = 100      // removed ones that are remembered
	maxAnnotationTotal  = 2 << 20  // octets of all values that one user has, and of the shared ones in one owner's mailboxes: no quota counts them
)

// metadataUser finds all that one user has.
const metadataUser = `CREATE INDEX metadata_user ON metadata(user);`

// annotationColumns are all but the value, which is written with them and read alone.
const annotationColumns = `mailbox,user,entry,modseq`

func annotationRow(a *Annotation) []any { return []any{&a.Mailbox, &a.User, &a.Entry, &a.ModSeq} }

// Annotations lists those of a mailbox that are shared or the user's own and changed after since, by name.
func (tx *Tx) Annotations(id MailboxID, user UserID, since ModSeq) ([]Annotation, error) {
	return rows(tx, `SELECT `+annotationColumns+`,value IS NULL FROM metadata WHERE mailbox=? AND user IN (0,?) AND modseq>? ORDER BY entry`,
		[]any{id, user, since}, func(a *Annotation) []any { return append(annotationRow(a), &a.Gone) })
}

// AnnotationValue reads a value. ErrNotFound.
func (tx *Tx) AnnotationValue(a Annotation) ([]byte, error) {
	var value []byte
	err := tx.one(`SELECT value FROM metadata WHERE mailbox=? AND user=? AND entry=? AND value IS NOT NULL`, []any{a.Mailbox, a.User, a.Entry}, &value)
	return value, err
}

// SetAnnotation sets a value, or removes it if it is nil. owner's modseq stamps the change. ErrTooBig, ErrTooMany.
func (tx *Tx) SetAnnotation(owner UserID, a Annotation, value []byte) error {
	if len(value) > maxAnnotation || len(a.Entry) > maxAnnotationName {
		return fmt.Errorf("annotation %s: %w", a.Entry, ErrTooBig)
	}
	modseq, err := tx.bump(owner)
	if err != nil {
		return err
	}
	a.ModSeq = modseq
	var have, graves int
	err = tx.one(`SELECT coalesce(sum(value IS NOT NULL),0), coalesce(sum(value IS NULL),0) FROM metadata WHERE mailbox=? AND user=? AND entry<>?`,
		[]any{a.Mailbox, a.User, a.Entry}, &have, &graves)
	switch {
	case err != nil:
		return err
	case value != nil && have >= maxAnnotations:
		return fmt.Errorf("annotation %s: %w", a.Entry, ErrTooMany)
	case value != nil:
		if err := tx.annotationRoom(owner, a, len(value)); err != nil {
			return err
		}
	}
	if graves >= maxAnnotationGraves {
		if _, err := tx.exec(`DELETE FROM metadata WHERE mailbox=? AND user=? AND value IS NULL`, a.Mailbox, a.User); err != nil {
			return err
		}
	}
	var v any
	if value != nil {
		v = value
	}
	_, err = tx.exec(insertInto("metadata", annotationColumns+`,value`)+
		` ON CONFLICT DO UPDATE SET modseq=excluded.modseq, value=excluded.value`, append(annotationRow(&a), v)...)
	return err
}

// annotationRoom returns ErrTooMany when all values of a user, or the shared ones of an owner's mailboxes, would take too much with
// this one.
func (tx *Tx) annotationRoom(owner UserID, a Annotation, size int) error {
	question, who := `SELECT coalesce(sum(octet_length(value)),0) FROM metadata WHERE user=? AND NOT (mailbox=? AND entry=?)`, a.User
	if a.User == 0 {
		question, who = `SELECT coalesce(sum(octet_length(m.value)),0) FROM mailboxes b CROSS JOIN metadata m ON m.mailbox=b.id AND m.user=0
			WHERE b.owner=? AND NOT (m.mailbox=? AND m.entry=?)`, owner
	}
	var used int
	if err := tx.one(question, []any{who, a.Mailbox, a.Entry}, &used); err != nil {
		return err
	}
	if used+size > maxAnnotationTotal {
		return fmt.Errorf("annotation %s: %w octets: there are %d", a.Entry, ErrTooMany, used)
	}
	return nil
}
