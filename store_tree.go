// Trees of mailboxes: made with those above them, renamed with those inside, as far as somebody's rights go.
package main

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// The names under which people are shown mailboxes that are not their own. They are names of no mailbox.
const (
	SharedRoot = "Shared"      // Shared/NAME belongs to nobody in particular
	OthersRoot = "Other Users" // Other Users/ADDRESS/NAME belongs to another user
)

// What can't be done with a mailbox of whatever name; all of them are ErrMailboxName, too.
var (
	ErrInbox      = fmt.Errorf("%w: INBOX can't be removed or renamed", ErrMailboxName)
	ErrOtherOwner = fmt.Errorf("%w: a mailbox can't change its owner", ErrMailboxName)
	ErrIntoItself = fmt.Errorf("%w: a mailbox can't become its own child", ErrMailboxName)
)

// ErrChildren is for a mailbox that has others inside.
var ErrChildren = errors.New("there are mailboxes inside")

// RightsError is what a user lacks for what was asked. It tells nothing about mailboxes that the user may not know of.
type RightsError struct {
	Lacks Rights
	Where string // such as "on this mailbox"
}

func (e *RightsError) Error() string { return fmt.Sprintf("no right %q %s", e.Lacks, e.Where) }

// Place is where a user's name for a mailbox leads. The mailbox need not exist.
type Place struct {
	Owner  UserID
	Name   string // as its owner knows it
	Prefix string // what the user puts before it
}

// Visible is the user's name.
func (p Place) Visible() string { return p.Prefix + p.Name }

// PlaceOf is the place of a mailbox as the user sees it.
func (tx *Tx) PlaceOf(u User, m Mailbox) (Place, error) {
	switch m.Owner {
	case u.ID:
		return Place{m.Owner, m.Name, ""}, nil
	case SharedOwner:
		return Place{m.Owner, m.Name, SharedRoot + "/"}, nil
	}
	owner, err := tx.UserByID(m.Owner)
	return Place{m.Owner, m.Name, OthersRoot + "/" + owner.Name + "/"}, err
}

// CanonicalName is how a mailbox's name is stored: in NFC, with INBOX in capitals, also as a parent (RFC 9051 §5.1).
func CanonicalName(name string) string {
	name = norm.NFC.String(name)
	first, rest, more := strings.Cut(name, "/")
	switch {
	case !strings.EqualFold(first, "INBOX"):
		return name
	case more:
		return "INBOX/" + rest
	}
	return "INBOX"
}

// inTree says whether a name is the top of a tree or inside.
func inTree(name, top string) bool { return strings.HasPrefix(name+"/", top+"/") }

// MailboxAs finds the mailbox at a place if the user may know of it and has all rights of need. Otherwise it is ErrNotFound, or
// a *RightsError.
func (tx *Tx) MailboxAs(u User, at Place, need Rights) (Mailbox, error) {
	m, err := tx.MailboxByName(at.Owner, at.Name)
	if err != nil {
		return Mailbox{}, err
	}
	have, err := tx.RightsOf(u, m)
	switch {
	case err != nil:
		return Mailbox{}, err
	case have&RightsKnown == 0:
		return Mailbox{}, ErrNotFound
	case have&need != need:
		return Mailbox{}, &RightsError{need &^ have, "on this mailbox"}
	}
	return m, nil
}

// CreateTree makes a mailbox and those above it that are missing, and subscribes the user to each. In others' trees that takes
// RightCreate on the nearest mailbox above, at the top of Shared/ an administrator. There the rights on the mailbox above hold
// for the new one, too, its maker may do all with it, and what is new at the top of Shared/ gets RightsShared.
//
// It fails with a *RightsError, ErrMailboxName, ErrExists or ErrTooMany; a user without rights is not told what exists.
func (tx *Tx) CreateTree(u User, at Place) (Mailbox, error) {
	at.Name = CanonicalName(at.Name)
	if err := tx.mayCreate(u, at); err != nil {
		return Mailbox{}, err
	}
	if err := CheckMailboxName(at.Name); err != nil {
		return Mailbox{}, err
	}
	if err := tx.isFree(at); err != nil {
		return Mailbox{}, err
	}
	return tx.createWithParents(at, &u)
}

// CreateShared is CreateTree at the top of Shared/ for nobody in particular.
func (tx *Tx) CreateShared(name string) (Mailbox, error) {
	at := Place{SharedOwner, CanonicalName(name), SharedRoot + "/"}
	if err := CheckMailboxName(at.Name); err != nil {
		return Mailbox{}, err
	}
	if err := tx.isFree(at); err != nil {
		return Mailbox{}, err
	}
	return tx.createWithParents(at, nil)
}

// isFree returns ErrExists when there is a mailbox at the place.
func (tx *Tx) isFree(at Place) error {
	_, err := tx.MailboxByName(at.Owner, at.Name)
	switch {
	case err == nil:
		return fmt.Errorf("mailbox %s: %w", at.Visible(), ErrExists)
	case errors.Is(err, ErrNotFound):
		return nil
	}
	return err
}

// mayCreate asks for the right to make children of the nearest mailbox above. At the top of Shared/ only administrators have it.
func (tx *Tx) mayCreate(u User, at Place) error {
	if at.Owner == u.ID || (at.Owner == SharedOwner && u.Admin) {
		return nil
	}
	above, err := tx.nearestAbove(at)
	if err == nil {
		have, err := tx.RightsOf(u, above)
		if err != nil || have&RightCreate != 0 {
			return err
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return &RightsError{RightCreate, "there"}
}

// nearestAbove finds the mailbox that a place is in, however many levels above. ErrNotFound.
func (tx *Tx) nearestAbove(at Place) (Mailbox, error) {
	for name := parentName(at.Name); name != ""; name = parentName(name) {
		m, err := tx.MailboxByName(at.Owner, name)
		if !errors.Is(err, ErrNotFound) {
			return m, err
		}
	}
	return Mailbox{}, ErrNotFound
}

// createWithParents makes what is missing of a tree, from the top down, and returns the mailbox at the place. maker is nil for
// nobody in particular.
func (tx *Tx) createWithParents(at Place, maker *User) (Mailbox, error) {
	var m Mailbox
	for i := range len(at.Name) + 1 {
		if i < len(at.Name) && at.Name[i] != '/' {
			continue
		}
		level := Place{at.Owner, at.Name[:i], at.Prefix}
		var err error
		m, err = tx.MailboxByName(level.Owner, level.Name)
		if errors.Is(err, ErrNotFound) {
			m, err = tx.createLevel(level, maker)
		}
		if err != nil {
			return Mailbox{}, err
		}
	}
	return m, nil
}

func (tx *Tx) createLevel(at Place, maker *User) (Mailbox, error) {
	m, err := tx.CreateMailbox(at.Owner, at.Name, "")
	if err != nil {
		return Mailbox{}, err
	}
	if err := tx.inheritACL(at, m); err != nil {
		return Mailbox{}, err
	}
	if at.Owner == SharedOwner && parentName(at.Name) == "" {
		if err := tx.SetACL(m, ACLEntry{anyone, RightsShared}); err != nil {
			return Mailbox{}, err
		}
	}
	if maker == nil {
		return m, nil
	}
	if at.Owner != maker.ID {
		if err := tx.SetACL(m, ACLEntry{maker.Name, RightsAll}); err != nil {
			return Mailbox{}, err
		}
	}
	return m, tx.Subscribe(maker.ID, at.Visible())
}

// inheritACL gives a new mailbox the entries of the nearest mailbox above it.
func (tx *Tx) inheritACL(at Place, m Mailbox) error {
	above, err := tx.nearestAbove(at)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO acl(mailbox,who,rights) SELECT ?,who,rights FROM acl WHERE mailbox=?`, m.ID, above.ID)
	return err
}

// RenameTree renames a mailbox with all inside it, also when the name itself only holds others; what is missing above its new
// name is made as CreateTree does. It takes RightDelete on each of them. Subscriptions go along, everybody's.
//
// It fails with ErrNotFound, a *RightsError, ErrExists, ErrTooMany, or ErrMailboxName, of which ErrInbox, ErrOtherOwner and
// ErrIntoItself are kinds. What the user may not know of is as if it were not there.
func (tx *Tx) RenameTree(u User, from, to Place) error {
	from.Name, to.Name = CanonicalName(from.Name), CanonicalName(to.Name)
	switch {
	case from.Owner != to.Owner:
		return ErrOtherOwner
	case from.Name == "INBOX":
		return ErrInbox
	case inTree(to.Name, from.Name):
		return ErrIntoItself
	}
	tree, err := tx.treeAs(u, from, RightDelete)
	if err != nil {
		return err
	}
	if err := tx.mayCreate(u, to); err != nil {
		return err
	}
	if err := CheckMailboxName(to.Name); err != nil {
		return err
	}
	if err := tx.isFree(to); err != nil {
		return err
	}
	if parent := parentName(to.Name); parent != "" {
		if _, err := tx.createWithParents(Place{to.Owner, parent, to.Prefix}, &u); err != nil {
			return err
		}
	}
	for _, m := range tree {
		if err := tx.renameMailbox(m, to.Name+strings.TrimPrefix(m.Name, from.Name)); err != nil {
			return err
		}
	}
	return tx.moveSubscriptions(from, to)
}

// treeAs lists the mailboxes of a tree, on each of which the user must have the rights. ErrNotFound if the user may not know of
// any of them.
func (tx *Tx) treeAs(u User, top Place, need Rights) ([]Mailbox, error) {
	all, err := tx.Mailboxes(top.Owner)
	if err != nil {
		return nil, err
	}
	var tree []Mailbox
	var lacks Rights
	known := false
	for _, m := range all {
		if !inTree(m.Name, top.Name) {
			continue
		}
		have, err := tx.RightsOf(u, m)
		if err != nil {
			return nil, err
		}
		known = known || have&RightsKnown != 0
		lacks |= need &^ have
		tree = append(tree, m)
	}
	switch {
	case !known:
		return nil, ErrNotFound
	case lacks != 0:
		return nil, &RightsError{lacks, "on this mailbox or on one inside it"}
	}
	return tree, nil
}

// moveSubscriptions has everybody who is subscribed to names of a tree subscribed to the new ones.
func (tx *Tx) moveSubscriptions(from, to Place) error {
	owners, others := `user=?`, `user<>?`
	prefix := SharedRoot + "/"
	if from.Owner != SharedOwner {
		owner, err := tx.UserByID(from.Owner)
		if err != nil {
			return err
		}
		prefix = OthersRoot + "/" + owner.Name + "/"
	}
	for _, x := range []struct{ who, old, new string }{{owners, from.Name, to.Name}, {others, prefix + from.Name, prefix + to.Name}} {
		users, err := column[UserID](tx, `UPDATE OR REPLACE subscriptions SET name=?||substr(name,length(?)+1)
			WHERE `+x.who+` AND (name=? OR substr(name,1,length(?)+1)=?||'/') RETURNING user`, x.new, x.old, from.Owner, x.old, x.old, x.old)
		if err != nil {
			return err
		}
		for _, id := range users {
			tx.Touch(id)
		}
	}
	return nil
}

// DeleteAlone deletes the mailbox at a place for a user with RightDelete, and returns what it was. Those inside stay, and the
// name lives on as one that only holds them. Subscriptions stay (RFC 9051 §6.3.7). ErrNotFound, *RightsError, ErrInbox.
func (tx *Tx) DeleteAlone(u User, at Place) (Mailbox, error) {
	at.Name = CanonicalName(at.Name)
	m, err := tx.MailboxAs(u, at, RightDelete)
	if err != nil {
		return Mailbox{}, err
	}
	if m.Name == "INBOX" {
		return Mailbox{}, ErrInbox
	}
	return m, tx.DeleteMailbox(m)
}

// DeleteLeaf is DeleteAlone for a mailbox with none inside (ErrChildren), and ends the user's subscription.
func (tx *Tx) DeleteLeaf(u User, at Place) error {
	m, err := tx.DeleteAlone(u, at)
	if err != nil {
		return err
	}
	all, err := tx.Mailboxes(m.Owner)
	if err != nil {
		return err
	}
	for _, b := range all {
		if inTree(b.Name, m.Name) {
			return ErrChildren
		}
	}
	return tx.Unsubscribe(u.ID, at.Prefix+m.Name)
}
