package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// treeStore is a store with two people, for what the tests of trees ask.
type treeStore struct {
	*Store
	t        *testing.T
	ann, bob User
}

func newTreeStore(t *testing.T) *treeStore {
	t.Helper()
	s := &treeStore{Store: openTestStore(t, StoreOptions{}), t: t}
	mustWrite(t, s.Store, func(tx *Tx) error {
		var err error
		s.ann, err = tx.AddUser(Addr{"ann", "home.arpa"}, "", true)
		if err != nil {
			return err
		}
		s.bob, err = tx.AddUser(Addr{"bob", "home.arpa"}, "", false)
		return err
	})
	return s
}

// own is a place among somebody's own mailboxes.
func own(u User, name string) Place { return Place{Owner: u.ID, Name: name} }

// of is a place among ann's, as bob sees it.
func (s *treeStore) of(name string) Place {
	return Place{s.ann.ID, name, OthersRoot + "/" + s.ann.Name + "/"}
}

// names are those of an owner that are not made with every user.
func (s *treeStore) names(owner UserID) string {
	s.t.Helper()
	boxes, err := read(s.Store, func(tx *Tx) ([]Mailbox, error) { return tx.Mailboxes(owner) })
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, m := range boxes {
		if m.Special == "" && m.Name != "INBOX" {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, " ")
}

func (s *treeStore) create(u User, at Place) {
	s.t.Helper()
	mustWrite(s.t, s.Store, func(tx *Tx) error {
		_, err := tx.CreateTree(u, at)
		return err
	})
}

func (s *treeStore) give(at Place, rights Rights) {
	s.t.Helper()
	mustWrite(s.t, s.Store, func(tx *Tx) error {
		m, err := tx.MailboxByName(at.Owner, at.Name)
		if err != nil {
			return err
		}
		return tx.SetACL(m, ACLEntry{s.bob.Name, rights})
	})
}

// TestTreeNames: what is missing above is made, and what is inside goes along.
func TestTreeNames(t *testing.T) {
	s := newTreeStore(t)
	s.create(s.ann, own(s.ann, "A/B"))
	s.create(s.ann, own(s.ann, "A/BC"))
	s.create(s.ann, own(s.ann, "inbox/In"))
	rename := func(from, to string) error {
		return s.Write(func(tx *Tx) error { return tx.RenameTree(s.ann, own(s.ann, from), own(s.ann, to)) })
	}
	for _, x := range []struct {
		from, to, want string
		err            error
	}{
		{"A/B", "X/Y/Z", "A A/BC INBOX/In X X/Y X/Y/Z", nil},
		{"X", "W", "A A/BC INBOX/In W W/Y W/Y/Z", nil},
		{"W", "W/V", "A A/BC INBOX/In W W/Y W/Y/Z", ErrIntoItself},
		{"W", "A", "A A/BC INBOX/In W W/Y W/Y/Z", ErrExists},
		{"W", "inbox", "A A/BC INBOX/In W W/Y W/Y/Z", ErrExists},
		{"Inbox", "B", "A A/BC INBOX/In W W/Y W/Y/Z", ErrInbox},
		{"none", "B", "A A/BC INBOX/In W W/Y W/Y/Z", ErrNotFound},
		{"W", "Drafts/W", "A A/BC Drafts/W Drafts/W/Y Drafts/W/Y/Z INBOX/In", nil},
		{"A", "B//C", "A A/BC Drafts/W Drafts/W/Y Drafts/W/Y/Z INBOX/In", ErrMailboxName},
		{"A", "e\u0301", "Drafts/W Drafts/W/Y Drafts/W/Y/Z INBOX/In é é/BC", nil},
	} {
		if err := rename(x.from, x.to); !errors.Is(err, x.err) || (err == nil) != (x.err == nil) {
			t.Errorf("%s to %s: %v, not %v", x.from, x.to, err, x.err)
		}
		if got := s.names(s.ann.ID); got != x.want {
			t.Errorf("%s to %s: there is %s, not %s", x.from, x.to, got, x.want)
		}
	}
	subscribed, err := read(s.Store, func(tx *Tx) ([]string, error) { return tx.Subscriptions(s.ann.ID) })
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(s.names(s.ann.ID)) {
		if !slices.Contains(subscribed, name) {
			t.Errorf("nobody is subscribed to %s", name)
		}
	}
	for _, old := range []string{"A", "A/B", "W", "X/Y"} {
		if slices.Contains(subscribed, old) {
			t.Errorf("the subscription to %s is left", old)
		}
	}
}

// TestTreeRights: nobody makes, renames or deletes in others' trees without the rights on each mailbox, and nobody learns of
// what they may not know.
func TestTreeRights(t *testing.T) {
	s := newTreeStore(t)
	for _, name := range []string{"Private", "Team/Hidden", "Open/Door"} {
		s.create(s.ann, own(s.ann, name))
	}
	s.give(s.of("Team"), RightLookup|RightCreate|RightDelete)
	s.give(s.of("Open"), RightLookup|RightCreate|RightDelete)
	s.give(s.of("Open/Door"), RightLookup)
	all := s.names(s.ann.ID)
	var lacks *RightsError
	for _, x := range []struct {
		what string
		do   func(*Tx) error
		want error // nil: a RightsError
	}{
		{"create at the top", func(tx *Tx) error { _, err := tx.CreateTree(s.bob, s.of("New")); return err }, nil},
		{"create what is there", func(tx *Tx) error { _, err := tx.CreateTree(s.bob, s.of("Private")); return err }, nil},
		{"create in Shared", func(tx *Tx) error {
			_, err := tx.CreateTree(s.bob, Place{SharedOwner, "New", SharedRoot + "/"})
			return err
		}, nil},
		{"rename hidden", func(tx *Tx) error { return tx.RenameTree(s.bob, s.of("Private"), s.of("Team/P")) }, ErrNotFound},
		{"rename nothing", func(tx *Tx) error { return tx.RenameTree(s.bob, s.of("Nothing"), s.of("Team/P")) }, ErrNotFound},
		{"rename hidden inside", func(tx *Tx) error { return tx.RenameTree(s.bob, s.of("Team"), s.of("Open/Team")) }, nil},
		{"rename without x inside", func(tx *Tx) error { return tx.RenameTree(s.bob, s.of("Open"), s.of("Team/Open")) }, nil},
		{"rename onto hidden", func(tx *Tx) error { return tx.RenameTree(s.bob, s.of("Nothing"), s.of("Private")) }, ErrNotFound},
		{"rename to another owner", func(tx *Tx) error { return tx.RenameTree(s.bob, s.of("Open"), own(s.bob, "Open")) }, ErrOtherOwner},
		{"delete hidden", func(tx *Tx) error { _, err := tx.DeleteAlone(s.bob, s.of("Private")); return err }, ErrNotFound},
		{"delete without x", func(tx *Tx) error { _, err := tx.DeleteAlone(s.bob, s.of("Open/Door")); return err }, nil},
		{"delete INBOX", func(tx *Tx) error { _, err := tx.DeleteAlone(s.ann, own(s.ann, "Inbox")); return err }, ErrInbox},
		{"delete with children", func(tx *Tx) error { return tx.DeleteLeaf(s.ann, own(s.ann, "Open")) }, ErrChildren},
	} {
		err := s.Write(x.do)
		if (x.want != nil && !errors.Is(err, x.want)) || (x.want == nil && !errors.As(err, &lacks)) {
			t.Errorf("%s: %v", x.what, err)
		}
		if got := s.names(s.ann.ID); got != all {
			t.Fatalf("%s: there is %s", x.what, got)
		}
	}
}

// TestTreeShared: whoever makes it, a new top of Shared/ is everybody's in the same way, and what is inside has the same rights.
func TestTreeShared(t *testing.T) {
	s := newTreeStore(t)
	mustWrite(t, s.Store, func(tx *Tx) error {
		_, err := tx.CreateShared("Club/Minutes")
		return err
	})
	s.create(s.ann, Place{SharedOwner, "House/Bills", SharedRoot + "/"})
	for _, name := range []string{"Club", "Club/Minutes", "House", "House/Bills"} {
		have, err := read(s.Store, func(tx *Tx) (Rights, error) {
			m, err := tx.MailboxByName(SharedOwner, name)
			if err != nil {
				return 0, err
			}
			return tx.RightsOf(s.bob, m)
		})
		if err != nil || have != RightsShared {
			t.Errorf("bob has %s on %s: %v", have, name, err)
		}
	}
}

// TestTreeOldNames: a mailbox from before its name was refused can be used, renamed with what is inside, and deleted.
func TestTreeOldNames(t *testing.T) {
	s := newTreeStore(t)
	s.create(s.ann, own(s.ann, "A"))
	s.create(s.ann, own(s.ann, "B"))
	mustWrite(t, s.Store, func(tx *Tx) error {
		for old, name := range map[string]string{"A": "..", "B": "C/."} {
			m, err := tx.MailboxByName(s.ann.ID, old)
			if err == nil {
				err = tx.renameMailbox(m, name)
			}
			if err != nil {
				return err
			}
		}
		return tx.Subscribe(s.ann.ID, "..")
	})
	mustWrite(t, s.Store, func(tx *Tx) error {
		if err := tx.RenameTree(s.ann, own(s.ann, ".."), own(s.ann, "D")); err != nil {
			return err
		}
		return tx.RenameTree(s.ann, own(s.ann, "C"), own(s.ann, "E"))
	})
	if got := s.names(s.ann.ID); got != "D E/." {
		t.Errorf("there is %s", got)
	}
	if err := s.Write(func(tx *Tx) error { return tx.RenameTree(s.ann, own(s.ann, "D"), own(s.ann, "F/..")) }); !errors.Is(err, ErrMailboxName) {
		t.Error(err)
	}
	mustWrite(t, s.Store, func(tx *Tx) error { return tx.DeleteLeaf(s.ann, own(s.ann, "E/.")) })
}
