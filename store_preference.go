// Preferences: what a user has chosen.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Names of preferences.
const (
	PrefLook     = "look"       // language and colours of the pages
	PrefTOTP     = "totp"       // the second factor
	PrefIdentity = "identities" // names and addresses that the user writes under
	PrefForward  = "forward"    // where mail goes on to
	PrefVacation = "vacation"   // the automatic answer
	PrefJunkOff  = "junkoff"    // nothing is put into Junk
	PrefPictures = "pictures"   // senders whose remote pictures are always shown
)

// Preference reads one of a user's preferences into v (JSON). One that was never set leaves v alone.
func (tx *Tx) Preference(user UserID, key string, v any) error {
	var b []byte
	err := tx.one(`SELECT value FROM preferences WHERE user=? AND key=?`, []any{user, key}, &b)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("preference %s of user %d: %w", key, user, err)
	}
	return nil
}

// HasPreference says whether the user has set the preference at all.
func (tx *Tx) HasPreference(user UserID, key string) (bool, error) {
	var n int
	err := tx.one(`SELECT count(*) FROM preferences WHERE user=? AND key=?`, []any{user, key}, &n)
	return n > 0, err
}

// SetPreference stores one of a user's preferences (as JSON); nil removes it.
func (tx *Tx) SetPreference(user UserID, key string, v any) error {
	tx.usersChanged = true
	if v == nil {
		_, err := tx.exec(`DELETE FROM preferences WHERE user=? AND key=?`, user, key)
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("preference %s: %w", key, err)
	}
	if len(b) > maxPreference {
		return fmt.Errorf("preference %s: %w", key, ErrTooBig)
	}
	_, err = tx.exec(`INSERT OR REPLACE INTO preferences(user,key,value) VALUES(?,?,?)`, user, key, b)
	return err
}
