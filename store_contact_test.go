package main

import (
	"errors"
	"fmt"
	"testing"
)

// A whole file of contacts is stored in steps, all or none; a full address book can still be changed.
func TestKeepContacts(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	var user User
	mustWrite(t, st, func(tx *Tx) (err error) { user, err = tx.AddUser(Addr{"ann", "home.arpa"}, "", false); return err })
	var all []Contact
	for i := range maxContacts {
		all = append(all, Contact{Address: fmt.Sprintf("a%d@b.example", i), Name: "n"})
	}
	if err := st.KeepContacts(user.ID, append(all, Contact{Address: "one@b.example"})); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	book := func() []Contact {
		got, err := read(st, func(tx *Tx) ([]Contact, error) { return tx.Contacts(user.ID) })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if n := len(book()); n != 0 {
		t.Errorf("%d stored of a file that has too many", n)
	}
	some := all[:len(all)-200]
	for range 2 { // the second time nothing is new
		if err := st.KeepContacts(user.ID, some); err != nil {
			t.Fatal(err)
		}
	}
	met := []Contact{{Address: "met@b.example"}, {Address: "met2@b.example"}}
	mustWrite(t, st, func(tx *Tx) error { return tx.MeetContacts(user.ID, met) })
	if err := st.KeepContacts(user.ID, all); err != nil { // those that were only met make room
		t.Fatal(err)
	}
	if n := len(book()); n != maxContacts {
		t.Errorf("%d in the book", n)
	}
	mustWrite(t, st, func(tx *Tx) error {
		return errors.Join(tx.KeepContact(user.ID, Contact{Address: "a7@b.example", Name: "changed"}), tx.MeetContacts(user.ID, met))
	})
	err := st.Write(func(tx *Tx) error { return tx.KeepContact(user.ID, Contact{Address: "new@b.example"}) })
	if c := book(); !errors.Is(err, ErrTooMany) || c[0].Name != "changed" || len(c) != maxContacts {
		t.Errorf("%v, %+v, %d", err, c[0], len(c))
	}
}
