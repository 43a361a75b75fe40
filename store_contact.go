// The address book.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Contact is somebody that a user writes to.
type Contact struct {
	Address     string // as Addr.Key
	Name        string
	Kept        bool // in the address book; otherwise only met
	Used        time.Time
	Times       int64 // how often the user wrote to them
	Phone, Note string
}

const contactStep = 100 // contacts that are stored, or forgotten, at once

const contactColumns = `address,name,kept,used,times,phone,note`

func contactRow(c *Contact) []any {
	return []any{&c.Address, &c.Name, &c.Kept, (*unixTime)(&c.Used), &c.Times, &c.Phone, &c.Note}
}

// Contacts lists a user's address book by name.
func (tx *Tx) Contacts(user UserID) ([]Contact, error) {
	return rows(tx, `SELECT `+contactColumns+` FROM contacts WHERE user=? AND kept ORDER BY name COLLATE NOCASE, address`, []any{user}, contactRow)
}

// Contact finds one of a user's contacts.
func (tx *Tx) Contact(user UserID, address string) (Contact, error) {
	var c Contact
	err := tx.one(`SELECT `+contactColumns+` FROM contacts WHERE user=? AND address=?`, []any{user, address}, contactRow(&c)...)
	return c, err
}

// FindContacts completes what somebody has begun to type: contacts whose name or address contains it, the ones that the
// user writes to most first.
func (tx *Tx) FindContacts(user UserID, part string, limit int) ([]Contact, error) {
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part) + "%"
	return rows(tx, `SELECT `+contactColumns+` FROM contacts WHERE user=? AND (address LIKE ? ESCAPE '\' OR name LIKE ? ESCAPE '\')
		ORDER BY times DESC, used DESC, kept DESC LIMIT ?`, []any{user, like, like, limit}, contactRow)
}

// KeepContact puts a contact into the address book, or changes it there. When it was used stays as it is. ErrTooMany.
func (tx *Tx) KeepContact(user UserID, c Contact) error { return tx.keepContacts(user, []Contact{c}) }

func (tx *Tx) keepContacts(user UserID, some []Contact) error {
	if err := tx.contactRoom(user, some); err != nil {
		return err
	}
	for _, c := range some {
		c.Kept = true
		err := tx.putContact(user, c, `name=excluded.name, kept=1, phone=excluded.phone, note=excluded.note`)
		if err != nil {
			return err
		}
	}
	return nil
}

// KeepContacts is KeepContact for a whole file of them, in steps, so that others' mail need not wait for it. ErrTooMany before the
// first step when there is no room for all.
func (s *Store) KeepContacts(user UserID, all []Contact) error {
	kept, err := read(s, func(tx *Tx) ([]string, error) {
		return column[string](tx, `SELECT address FROM contacts WHERE user=? AND kept`, user)
	})
	if err != nil {
		return err
	}
	book := map[string]bool{}
	for _, address := range kept {
		book[address] = true
	}
	for _, c := range all {
		book[c.Address] = true
	}
	if len(book) > maxContacts {
		return fmt.Errorf("%w contacts: there would be %d", ErrTooMany, len(book))
	}
	for step := range slices.Chunk(all, contactStep) {
		s.waitForCheckpoint()
		err := s.Write(func(tx *Tx) error { return tx.keepContacts(user, step) })
		if err != nil {
			return err
		}
	}
	return nil
}

// putContact stores a contact; change says what becomes of a row that is there already.
func (tx *Tx) putContact(user UserID, c Contact, change string) error {
	_, err := tx.exec(insertInto("contacts", `user,`+contactColumns)+` ON CONFLICT(user,address) DO UPDATE SET `+change,
		append([]any{user}, contactRow(&c)...)...)
	return err
}

// MeetContacts notes that the user has written to some people, as many as there is room for. A name in the address book stays as
// it is.
func (tx *Tx) MeetContacts(user UserID, some []Contact) error {
	err := tx.contactRoom(user, some)
	if errors.Is(err, ErrTooMany) {
		return nil
	}
	for _, c := range some {
		if err != nil {
			return err
		}
		c.Used, c.Times = tx.s.Now(), 1
		err = tx.putContact(user, c, `used=excluded.used, times=times+1, name=CASE WHEN kept OR excluded.name='' THEN name ELSE excluded.name END`)
	}
	return err
}

// contactRoom makes room for those of some contacts that are not there yet, by forgetting those that were only met, longest ago
// first. ErrTooMany. It counts all that the user has: ask for many at once.
func (tx *Tx) contactRoom(user UserID, some []Contact) error {
	fresh := map[string]bool{}
	for _, c := range some {
		var there int
		err := tx.one(`SELECT 1 FROM contacts WHERE user=? AND address=?`, []any{user, c.Address}, &there)
		if errors.Is(err, ErrNotFound) {
			fresh[c.Address], err = true, nil
		}
		if err != nil {
			return err
		}
	}
	var n, kept int
	if err := tx.one(`SELECT count(*), coalesce(sum(kept),0) FROM contacts WHERE user=?`, []any{user}, &n, &kept); err != nil {
		return err
	}
	switch {
	case len(fresh) == 0 || n+len(fresh) <= maxContacts:
		return nil
	case kept+len(fresh) > maxContacts:
		return fmt.Errorf("%w contacts: there are %d", ErrTooMany, kept)
	}
	_, err := tx.exec(`DELETE FROM contacts WHERE user=? AND address IN
		(SELECT address FROM contacts WHERE user=? AND NOT kept ORDER BY used LIMIT ?)`, user, user, max(n+len(fresh)-maxContacts, contactStep))
	return err
}

// ForgetContact removes a contact.
func (tx *Tx) ForgetContact(user UserID, address string) error {
	_, err := tx.exec(`DELETE FROM contacts WHERE user=? AND address=?`, user, address)
	return err
}
