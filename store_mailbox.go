// Mailboxes: the tree of names, subscriptions, special use, counts.
package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

type (
	MailboxID int64
	UID       uint32
	ModSeq    int64
)

// Mailbox is one folder of its owner's.
type Mailbox struct {
	ID            MailboxID
	Owner         UserID
	Name          string // UTF-8, levels divided by "/"; INBOX in capitals
	UIDValidity   uint32
	UIDNext       UID
	HighestModSeq ModSeq
	Pruned        ModSeq // tombstones up to here are forgotten: QRESYNC from before must be told everything
	Special       string // special-use attribute, such as \Sent, or ""
	Keywords      string // at least those of its messages, as Flags.Words
	Exists        int64
	Unseen        int64
	Deleted       int64 // messages marked \Deleted
	Bytes         int64
	Created       time.Time
	Keep          int // days after which its messages are deleted; 0 is never
}

const (
	maxMailboxName  = 1000   // octets
	maxMailboxDepth = 32     // levels
	maxMailboxLevel = 255    // octets of a level: what a file system takes for a name, since clients make folders of them
	maxMailboxes    = 10_000 // of one owner
)

const mailboxColumns = `owner,name,uidvalidity,uidnext,highestmodseq,pruned,special,keywords,n_exists,n_unseen,n_deleted,bytes,created,keep`

func mailboxRow(m *Mailbox) []any {
	return []any{&m.Owner, &m.Name, &m.UIDValidity, &m.UIDNext, &m.HighestModSeq, &m.Pruned, &m.Special, &m.Keywords,
		&m.Exists, &m.Unseen, &m.Deleted, &m.Bytes, (*unixTime)(&m.Created), &m.Keep}
}

func mailboxDest(m *Mailbox) []any { return append([]any{&m.ID}, mailboxRow(m)...) }

func (tx *Tx) mailbox(where string, args ...any) (Mailbox, error) {
	var m Mailbox
	err := tx.one(`SELECT id,`+mailboxColumns+` FROM mailboxes WHERE `+where, args, mailboxDest(&m)...)
	return m, err
}

// ErrMailboxName is wrapped by what is wrong with a mailbox's name.
var ErrMailboxName = errors.New("bad mailbox name")

// CheckMailboxName refuses names that no client could show, keep in a file system or ask for; it never touches the disk. A
// mailbox that got such a name before it was refused can be used, renamed and deleted.
func CheckMailboxName(name string) error {
	if err := checkStoredName(name); err != nil {
		return err
	}
	for level := range strings.SplitSeq(name, "/") {
		switch {
		case level == "." || level == "..":
			// mbsync stops with everything undone when it is listed one, and others can be shown it.
			return fmt.Errorf("%w: a level can't be %s", ErrMailboxName, level)
		case len(level) > maxMailboxLevel:
			return fmt.Errorf("%w: a level is longer than %d octets", ErrMailboxName, maxMailboxLevel)
		}
	}
	return nil
}

// checkStoredName is CheckMailboxName for a name that is there already, as a part of another.
func checkStoredName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrMailboxName)
	case len(name) > maxMailboxName:
		return fmt.Errorf("%w: longer than %d octets", ErrMailboxName, maxMailboxName)
	case strings.Count(name, "/") >= maxMailboxDepth:
		return fmt.Errorf("%w: more than %d levels", ErrMailboxName, maxMailboxDepth)
	case strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//"):
		return fmt.Errorf("%w: an empty level", ErrMailboxName)
	case strings.ContainsAny(name, "*%"):
		return fmt.Errorf("%w: * and %% are wildcards", ErrMailboxName)
	}
	return checkNameRunes(name)
}

func checkNameRunes(name string) error {
	for _, r := range name {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' || r == '\ufffd' {
			return fmt.Errorf("%w: control or invalid characters", ErrMailboxName)
		}
	}
	return nil
}

// MailboxByName finds an owner's mailbox. The name must have INBOX in capitals; names are stored and compared in NFC.
func (tx *Tx) MailboxByName(owner UserID, name string) (Mailbox, error) {
	return tx.mailbox(`owner=? AND name=?`, owner, norm.NFC.String(name))
}

// MailboxByID finds a mailbox; a deleted one is ErrNotFound.
func (tx *Tx) MailboxByID(id MailboxID) (Mailbox, error) {
	return tx.mailbox(`id=? AND owner IS NOT NULL`, id)
}

// MailboxBySpecial finds the owner's mailbox with that special use, such as \Trash.
func (tx *Tx) MailboxBySpecial(owner UserID, special string) (Mailbox, error) {
	return tx.mailbox(`owner=? AND special=? ORDER BY id LIMIT 1`, owner, special)
}

// Mailboxes lists an owner's mailboxes by name.
func (tx *Tx) Mailboxes(owner UserID) ([]Mailbox, error) {
	return rows(tx, `SELECT id,`+mailboxColumns+` FROM mailboxes WHERE owner=? ORDER BY name`, []any{owner}, mailboxDest)
}

// CreateMailbox makes one mailbox and nothing else; see CreateTree. ErrExists, ErrTooMany, or ErrMailboxName and why.
func (tx *Tx) CreateMailbox(owner UserID, name, special string) (Mailbox, error) {
	name = norm.NFC.String(name)
	if err := CheckMailboxName(name); err != nil {
		return Mailbox{}, err
	}
	var n int
	if err := tx.one(`SELECT count(*) FROM mailboxes WHERE owner=?`, []any{owner}, &n); err != nil {
		return Mailbox{}, err
	}
	if n >= maxMailboxes {
		return Mailbox{}, fmt.Errorf("%w mailboxes: there are %d", ErrTooMany, n)
	}
	// UIDVALIDITY never comes from a clock. It starts at random, so that a client that knew an older file of the same
	// name does not take the new one for it.
	validity, err := tx.counter("uidvalidity", rand.Int64N(1<<30))
	if err != nil {
		return Mailbox{}, err
	}
	mod, err := tx.bump(owner)
	if err != nil {
		return Mailbox{}, err
	}
	m := Mailbox{Owner: owner, Name: name, UIDValidity: uint32(validity), UIDNext: 1, HighestModSeq: mod, Special: special, Created: tx.s.Now()}
	err = tx.one(insertInto("mailboxes", mailboxColumns)+` RETURNING id`, mailboxRow(&m), &m.ID)
	return m, err
}

// SetSpecial gives a mailbox its special use, or takes it away with "".
func (tx *Tx) SetSpecial(m Mailbox, special string) error {
	if _, err := tx.bump(m.Owner); err != nil {
		return err
	}
	_, err := tx.exec(`UPDATE mailboxes SET special=? WHERE id=?`, special, m.ID)
	return err
}

// renameMailbox renames one mailbox and nothing else; see RenameTree, which has checked what is new of the name. ErrExists, or
// ErrMailboxName and why.
func (tx *Tx) renameMailbox(m Mailbox, name string) error {
	name = norm.NFC.String(name)
	if err := checkStoredName(name); err != nil {
		return err
	}
	if _, err := tx.bump(m.Owner); err != nil {
		return err
	}
	_, err := tx.exec(`UPDATE mailboxes SET name=? WHERE id=?`, name, m.ID)
	return err
}

// DeleteMailbox takes a mailbox and its messages out of sight at once; the collector clears them away later, in steps.
func (tx *Tx) DeleteMailbox(m Mailbox) error {
	if _, err := tx.bump(m.Owner); err != nil {
		return err
	}
	_, err := tx.exec(`UPDATE mailboxes SET owner=NULL, name='', special='' WHERE id=?`, m.ID)
	return err
}

// Subscribe adds a name to the user's subscriptions. The mailbox need not exist (RFC 9051 §6.3.7). ErrMailboxName,
// ErrTooMany.
func (tx *Tx) Subscribe(user UserID, name string) error {
	name = norm.NFC.String(name)
	if err := checkStoredName(name); err != nil {
		return err
	}
	var n int
	if err := tx.one(`SELECT count(*) FROM subscriptions WHERE user=?`, []any{user}, &n); err != nil {
		return err
	}
	if n >= maxMailboxes {
		return fmt.Errorf("%w subscriptions: there are %d", ErrTooMany, n)
	}
	tx.Touch(user)
	_, err := tx.exec(`INSERT OR IGNORE INTO subscriptions(user,name) VALUES(?,?)`, user, name)
	return err
}

// Unsubscribe removes a name from the user's subscriptions, if it is there.
func (tx *Tx) Unsubscribe(user UserID, name string) error {
	tx.Touch(user)
	_, err := tx.exec(`DELETE FROM subscriptions WHERE user=? AND name=?`, user, norm.NFC.String(name))
	return err
}

// Subscriptions lists the names a user is subscribed to.
func (tx *Tx) Subscriptions(user UserID) ([]string, error) {
	return column[string](tx, `SELECT name FROM subscriptions WHERE user=? ORDER BY name`, user)
}

// DeletedBytes is how much expunging a mailbox would free.
func (tx *Tx) DeletedBytes(m Mailbox) (int64, error) {
	if m.Deleted == 0 {
		return 0, nil
	}
	var n int64
	err := tx.one(`SELECT coalesce(sum(size),0) FROM messages WHERE mailbox=? AND NOT gone AND flags&?<>0`, []any{m.ID, FlagDeleted}, &n)
	return n, err
}
