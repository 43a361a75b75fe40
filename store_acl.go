// Access rights: what others may do with a mailbox (RFC 4314).
package main

import (
	"errors"
	"fmt"
	"strings"
)

// Rights are what somebody may do with a mailbox (RFC 4314 §2.1).
type Rights uint16

const (
	RightLookup  Rights = 1 << iota // l: see its name
	RightRead                       // r: select it, read its mail
	RightSeen                       // s: change \Seen
	RightWrite                      // w: change all other flags but \Deleted
	RightInsert                     // i: append, copy into it
	RightPost                       // p: send mail to its address; nothing here uses it
	RightCreate                     // k: create children, rename something to be one
	RightDelete                     // x: delete or rename it
	RightTrash                      // t: change \Deleted
	RightExpunge                    // e: expunge
	RightAdmin                      // a: change these rights
	RightsAll    Rights = 1<<iota - 1

	RightsShared = RightsAll &^ (RightDelete | RightAdmin) // everybody's on a new folder of everybody
	// RightsKnown are those of which any lets somebody know that a mailbox is there (RFC 4314 §4).
	RightsKnown = RightLookup | RightRead | RightInsert | RightCreate | RightDelete | RightAdmin
)

// rightLetters give the rights their names, lowest bit first.
const rightLetters = "lrswipkxtea"

const (
	anyone    = "anyone" // the identifier that everybody has
	maxACL    = 100      // entries of one mailbox
	maxShared = 10_000   // mailboxes of others that one user is shown
)

// ParseRights reads a list of letters. The old c and d stand for what they once included (RFC 4314 §2.1.1).
func ParseRights(s string) (Rights, bool) {
	var r Rights
	for _, b := range s {
		switch i := strings.IndexRune(rightLetters, b); {
		case i >= 0:
			r |= 1 << i
		case b == 'c':
			r |= RightCreate | RightDelete
		case b == 'd':
			r |= RightTrash | RightExpunge
		default:
			return 0, false
		}
	}
	return r, true
}

func (r Rights) String() string {
	var sb strings.Builder
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			sb.WriteByte(rightLetters[i])
		}
	}
	return sb.String()
}

// touch changes flags from old to want as far as the rights go (RFC 4314 §4); none at all is all of them.
func (r Rights) touch(old, want Flags) Flags {
	if r == 0 || r == RightsAll {
		return want
	}
	keep := FlagBits(0)
	if r&RightSeen == 0 {
		keep |= FlagSeen
	}
	if r&RightTrash == 0 {
		keep |= FlagDeleted
	}
	if r&RightWrite == 0 {
		keep |= ^(FlagSeen | FlagDeleted)
		want.Words = old.Words
	}
	want.Bits = want.Bits&^keep | old.Bits&keep
	return want
}

// ACLEntry is the rights of one user (an address as Addr.Key) or of anyone.
type ACLEntry struct {
	Who    string
	Rights Rights
}

// ACL lists who but its owner has rights on a mailbox.
func (tx *Tx) ACL(id MailboxID) ([]ACLEntry, error) {
	return rows(tx, `SELECT who,rights FROM acl WHERE mailbox=? ORDER BY who`, []any{id}, func(e *ACLEntry) []any { return []any{&e.Who, &e.Rights} })
}

// SetACL gives somebody exactly these rights; none removes the entry. ErrNotFound for an unknown user, ErrTooMany when there
// are too many entries.
func (tx *Tx) SetACL(m Mailbox, e ACLEntry) error {
	tx.Touch(m.Owner)
	if e.Who != anyone {
		u, err := tx.UserByName(e.Who)
		switch {
		case err == nil:
			tx.Touch(u.ID)
		case !errors.Is(err, ErrNotFound) || e.Rights != 0:
			return fmt.Errorf("user %s: %w", e.Who, err)
		}
	}
	if e.Rights == 0 {
		_, err := tx.exec(`DELETE FROM acl WHERE mailbox=? AND who=?`, m.ID, e.Who)
		return err
	}
	var n int
	if err := tx.one(`SELECT count(*) FROM acl WHERE mailbox=?`, []any{m.ID}, &n); err != nil {
		return err
	}
	if n >= maxACL {
		return fmt.Errorf("%w entries: there are %d", ErrTooMany, n)
	}
	_, err := tx.exec(`INSERT OR REPLACE INTO acl(mailbox,who,rights) VALUES(?,?,?)`, m.ID, e.Who, e.Rights)
	return err
}

// RightsOf returns what a user may do with a mailbox. An owner may do all; so may administrators with the mailboxes that
// belong to nobody, or else nobody could share them out.
func (tx *Tx) RightsOf(u User, m Mailbox) (Rights, error) {
	if m.Owner == u.ID || (m.Owner == SharedOwner && u.Admin) {
		return RightsAll, nil
	}
	given, err := column[Rights](tx, `SELECT rights FROM acl WHERE mailbox=? AND who IN (?,?)`, m.ID, u.Name, anyone)
	var have Rights
	for _, r := range given {
		have |= r
	}
	return have, err
}

// SharedMailbox is somebody else's mailbox that a user can see.
type SharedMailbox struct {
	Mailbox
	OwnerName string // "" for SharedOwner
	Rights    Rights
}

// SharedMailboxes lists the mailboxes of others on which the user has the right to look them up.
func (tx *Tx) SharedMailboxes(u User) ([]SharedMailbox, error) {
	all, err := rows(tx, `SELECT id,`+mailboxColumns+`,(SELECT u.name FROM users u WHERE u.id=owner) FROM mailboxes
		WHERE owner<>? AND (id IN (SELECT mailbox FROM acl WHERE who IN (?,?)) OR ? AND owner=?) ORDER BY owner,name LIMIT ?`,
		[]any{u.ID, u.Name, anyone, u.Admin, SharedOwner, maxShared},
		func(m *SharedMailbox) []any { return append(mailboxDest(&m.Mailbox), &m.OwnerName) })
	if err != nil {
		return nil, err
	}
	visible := all[:0]
	for _, m := range all {
		m.Rights, err = tx.RightsOf(u, m.Mailbox)
		if err != nil {
			return nil, err
		}
		if m.Rights&RightLookup != 0 {
			visible = append(visible, m)
		}
	}
	return visible, nil
}

// parentName is the name of the level above, "" at the top.
func parentName(name string) string {
	return name[:max(strings.LastIndexByte(name, '/'), 0)]
}
