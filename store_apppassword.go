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
	Secret  string // of a app password, as sasl makes it
	Created time.Time
}

// AddAppPassword stores a app password.
func (tx *Tx) AddAppPassword(user UserID, name, secret string) error {
	var n int
	if err := tx.one(`SELECT count(*) FROM device_passwords WHERE user=?`, []any{user}, &n); err != nil {
		return err
	}
	if n >= maxDevices {
		return fmt.Errorf("%d app passwords: %w", n, ErrQuota)
	}
	_, err := tx.exec(`INSERT INTO device_passwords(user,name,secret,created) VALUES(?,?,?,?)`, user, name, secret, tx.s.Now().Unix())
	tx.Touch(user)
	return err
}

// AppPasswords lists a user's app passwords.
func (tx *Tx) AppPasswords(user UserID) (all []AppPassword, err error) {
	err = tx.each(`SELECT id,name,secret,created FROM device_passwords WHERE user=? ORDER BY id`, []any{user}, func(scan func(...any) error) error {
		var d AppPassword
		err := scan(&d.ID, &d.Name, &d.Secret, (*unixTime)(&d.Created))
		all = append(all, d)
		return err
	})
	return all, err
}

// RemoveAppPassword makes a app password void.
func (tx *Tx) RemoveAppPassword(user UserID, id int64) error {
	n, err := tx.exec(`DELETE FROM device_passwords WHERE user=? AND id=?`, user, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	tx.Touch(user)
	return err
}
