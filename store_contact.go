// The address book.
package main

import (
	"fmt"
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

// KeepContact puts a contact into the address book, or changes it there. When it was used stays as it is.
func (tx *Tx) KeepContact(user UserID, c Contact) error {
	if err := tx.contactRoom(user); err != nil {
		return err
	}
	c.Kept = true
	return tx.putContact(user, c, `name=excluded.name, kept=1, phone=excluded.phone, note=excluded.note`)
}

// putContact stores a contact; change says what becomes of a row that is there already.
func (tx *Tx) putContact(user UserID, c Contact, change string) error {
	_, err := tx.exec(insertInto("contacts", `user,`+contactColumns)+` ON CONFLICT(user,address) DO UPDATE SET `+change,
		append([]any{user}, contactRow(&c)...)...)
	return err
}

// MeetContact notes that the user has written to somebody. A name in the address book stays as it is.
func (tx *Tx) MeetContact(user UserID, address, name string) error {
	if err := tx.contactRoom(user); err != nil {
		return err
	}
	return tx.putContact(user, Contact{Address: address, Name: name, Used: tx.s.Now(), Times: 1},
		`used=excluded.used, times=times+1, name=CASE WHEN kept OR excluded.name='' THEN name ELSE excluded.name END`)
}

// contactRoom makes room for one more contact by forgetting those that were only met, longest ago first.
func (tx *Tx) contactRoom(user UserID) error {
	var n, kept int64
	if err := tx.one(`SELECT count(*), coalesce(sum(kept),0) FROM contacts WHERE user=?`, []any{user}, &n, &kept); err != nil || n < maxContacts {
		return err
	}
	if kept >= maxContacts {
		return fmt.Errorf("%w contacts: there are %d", ErrTooMany, kept)
	}
	_, err := tx.exec(`DELETE FROM contacts WHERE user=? AND address IN
		(SELECT address FROM contacts WHERE user=? AND NOT kept ORDER BY used LIMIT 100)`, user, user)
	return err
}

// ForgetContact removes a contact.
func (tx *Tx) ForgetContact(user UserID, address string) error {
	_, err := tx.exec(`DELETE FROM contacts WHERE user=? AND address=?`, user, address)
	return err
}
