// Masked addresses: addresses at random that lead to one person, to be given away and switched off again.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	maxMasks   = 500 // of one person
	maskLetter = "abcdefghjkmnpqrstuvwxyz"
	maskSigns  = maskLetter + "23456789" // nothing that looks like something else
	maskLength = 8
)

// maskSchema keeps who gave which address away, and to whom.
const maskSchema = `
CREATE TABLE masks(address TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, label TEXT NOT NULL, off INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX masks_user ON masks(user);
`

// Mask is a masked address of a user: mail to it is theirs while it is not Off, and then refused as for somebody who is not there.
type Mask struct {
	Address string
	Label   string // what it was made for, in the user's words
	Off     bool
	Created time.Time
}

const maskColumns = `address,label,off,created`

func maskRow(m *Mask) []any { return []any{&m.Address, &m.Label, &m.Off, (*unixTime)(&m.Created)} }

// AddMask makes an address that nobody has, in the domain. ErrTooMany.
func (tx *Tx) AddMask(user UserID, domain, label string) (Mask, error) {
	var n int
	if err := tx.one(`SELECT count(*) FROM masks WHERE user=?`, []any{user}, &n); err != nil {
		return Mask{}, err
	}
	if n >= maxMasks {
		return Mask{}, fmt.Errorf("%w masked addresses: there are %d", ErrTooMany, n)
	}
	m := Mask{Label: label, Created: tx.s.Now()}
	for {
		m.Address = Addr{randomMask(), domain}.Key()
		free, err := tx.addressFree(m.Address)
		if err != nil {
			return Mask{}, err
		}
		if free {
			break
		}
	}
	tx.usersChanged = true
	_, err := tx.exec(insertInto("masks", `user,`+maskColumns), append([]any{user}, maskRow(&m)...)...)
	return m, err
}

// addressFree says whether an address is no user's, no alias and no mask.
func (tx *Tx) addressFree(address string) (bool, error) {
	if _, err := tx.UserByName(address); !errors.Is(err, ErrNotFound) {
		return false, err
	}
	targets, err := tx.AliasTargets(address)
	if err != nil || len(targets) > 0 {
		return false, err
	}
	_, _, err = tx.Masked(address)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return false, err
}

// randomMask is a local part: a letter, and seven letters and digits, some 10^11 of them.
func randomMask() string {
	var b [maskLength]byte
	rand.Read(b[:])
	for i := range b {
		signs := maskSigns
		if i == 0 {
			signs = maskLetter
		}
		b[i] = signs[int(b[i])%len(signs)]
	}
	return string(b[:])
}

// Masks lists the masked addresses of a user, the newest first.
func (tx *Tx) Masks(user UserID) ([]Mask, error) {
	return rows(tx, `SELECT `+maskColumns+` FROM masks WHERE user=? ORDER BY created DESC, address`, []any{user}, maskRow)
}

// Masked returns whose masked address it is, and whether it is switched on. ErrNotFound if it is none.
func (tx *Tx) Masked(address string) (User, bool, error) {
	var user UserID
	var off bool
	if err := tx.one(`SELECT user,off FROM masks WHERE address=?`, []any{address}, &user, &off); err != nil {
		return User{}, false, err
	}
	u, err := tx.UserByID(user)
	return u, !off, err
}

// SetMask stores label and switch of a masked address. ErrNotFound if the user has no such one.
func (tx *Tx) SetMask(user UserID, m Mask) error {
	tx.usersChanged = true
	return tx.changeOne(`UPDATE masks SET label=?, off=? WHERE user=? AND address=?`, m.Label, m.Off, user, m.Address)
}

// RemoveMask forgets a masked address. ErrNotFound if the user has no such one.
func (tx *Tx) RemoveMask(user UserID, address string) error {
	tx.usersChanged = true
	return tx.changeOne(`DELETE FROM masks WHERE user=? AND address=?`, user, address)
}
