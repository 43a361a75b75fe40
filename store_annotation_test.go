package main

import (
	"errors"
	"fmt"
	"testing"
)

// No quota counts annotations, so one person's have a limit of their own, over all mailboxes.
func TestAnnotationsTotal(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	var users [2]User
	var boxes [2]MailboxID
	mustWrite(t, st, func(tx *Tx) error {
		for i, name := range []string{"ann", "bob"} {
			u, err := tx.AddUser(Addr{name, "home.arpa"}, "", false)
			if err != nil {
				return err
			}
			m, err := tx.CreateMailbox(u.ID, "Box", "")
			if err != nil {
				return err
			}
			users[i], boxes[i] = u, m.ID
		}
		return nil
	})
	ann, value := users[0].ID, make([]byte, maxAnnotation)
	set := func(user UserID, box MailboxID, n int, value []byte) error {
		name := fmt.Sprintf("/private/vendor/x/%d", n)
		return st.Write(func(tx *Tx) error {
			return tx.SetAnnotation(ann, Annotation{Mailbox: box, User: user, Entry: name}, value)
		})
	}
	fill := func(user UserID) (n int) {
		for ; n < 2*maxAnnotationTotal/maxAnnotation; n++ {
			err := set(user, []MailboxID{0, users[0].Inbox, boxes[0], users[1].Inbox}[n%4], n, value)
			if errors.Is(err, ErrTooMany) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := fill(ann); n != maxAnnotationTotal/maxAnnotation {
		t.Errorf("ann has %d", n)
	}
	if err := set(ann, 0, 0, value); err != nil { // in the place of another
		t.Error(err)
	}
	if err := set(ann, 0, 0, nil); err != nil {
		t.Error(err)
	}
	if err := set(ann, boxes[0], 1000, value); err != nil { // in the room of one that was removed
		t.Error(err)
	}
	if err := set(users[1].ID, boxes[0], 0, value); err != nil { // another's
		t.Error(err)
	}
	shared := 0
	for ; set(0, []MailboxID{users[0].Inbox, boxes[0]}[shared%2], shared, value) == nil && shared < 100; shared++ {
	}
	if shared != maxAnnotationTotal/maxAnnotation {
		t.Errorf("%d shared ones", shared)
	}
}
