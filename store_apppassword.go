// Passwords for single devices and programs.
package main

import (
	"fmt"
	"time"
)

// AppPassword is a password for one program or device of a user. It opens mail, but not the web pages.
type AppPassword struct {
	ID      int64
	Name    string
	Secret  string // as NewAppPassword makes it
	Created time.Time
}

const appPasswordColumns = `name,secret,created`

func appPasswordRow(p *AppPassword) []any { return []any{&p.Name, &p.Secret, (*unixTime)(&p.Created)} }

// AddAppPassword stores an app password. ErrTooMany.
func (tx *Tx) AddAppPassword(user UserID, name, secret string) error {
	var n int
	if err := tx.one(`SELECT count(*) FROM device_passwords WHERE user=?`, []any{user}, &n); err != nil {
		return err
	}
	if n >= maxDevices {
		return fmt.Errorf("%w app passwords: there are %d", ErrTooMany, n)
	}
	p := AppPassword{Name: name, Secret: secret, Created: tx.s.Now()}
	_, err := tx.exec(insertInto("device_passwords", `user,`+appPasswordColumns), append([]any{user}, appPasswordRow(&p)...)...)
	tx.Touch(user)
	return err
}

// AppPasswords lists a user's app passwords.
func (tx *Tx) AppPasswords(user UserID) ([]AppPassword, error) {
	return rows(tx, `SELECT id,`+appPasswordColumns+` FROM device_passwords WHERE user=? ORDER BY id`, []any{user},
		func(p *AppPassword) []any { return append([]any{&p.ID}, appPasswordRow(p)...) })
}

// RemoveAppPassword makes an app password void; sessions that were opened with it end before their next command. ErrNotFound.
func (tx *Tx) RemoveAppPassword(user UserID, id int64) error {
	tx.usersChanged = true
	tx.Touch(user)
	return tx.changeOne(`DELETE FROM device_passwords WHERE user=? AND id=?`, user, id)
}

// RemoveAppPasswords makes all app passwords of a user void.
func (tx *Tx) RemoveAppPasswords(user UserID) error {
	tx.usersChanged = true
	tx.Touch(user)
	_, err := tx.exec(`DELETE FROM device_passwords WHERE user=?`, user)
	return err
}
