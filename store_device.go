// Passwords for single devices and programs.
package main

import (
	"fmt"
	"time"
)

// Device is a password for one program or device of a user. It opens mail, but not the web pages.
type Device struct {
	ID      int64
	Name    string
	Secret  string // of a device password, as sasl makes it
	Created time.Time
}

// AddDevice stores a device password.
func (tx *Tx) AddDevice(user UserID, name, secret string) error {
	var n int
	if err := tx.one(`SELECT count(*) FROM device_passwords WHERE user=?`, []any{user}, &n); err != nil {
		return err
	}
	if n >= maxDevices {
		return fmt.Errorf("%d device passwords: %w", n, ErrQuota)
	}
	_, err := tx.exec(`INSERT INTO device_passwords(user,name,secret,created) VALUES(?,?,?,?)`, user, name, secret, tx.s.Now().Unix())
	tx.Touch(user)
	return err
}

// Devices lists a user's device passwords.
func (tx *Tx) Devices(user UserID) (all []Device, err error) {
	err = tx.each(`SELECT id,name,secret,created FROM device_passwords WHERE user=? ORDER BY id`, []any{user}, func(scan func(...any) error) error {
		var d Device
		err := scan(&d.ID, &d.Name, &d.Secret, (*unixTime)(&d.Created))
		all = append(all, d)
		return err
	})
	return all, err
}

// RemoveDevice makes a device password void.
func (tx *Tx) RemoveDevice(user UserID, id int64) error {
	n, err := tx.exec(`DELETE FROM device_passwords WHERE user=? AND id=?`, user, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	tx.Touch(user)
	return err
}
