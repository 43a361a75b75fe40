// What users want done with their new mail: forwarding, an automatic answer, and the script that filters it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	maxForwards  = 10                 // addresses that a user's mail goes on to
	answeredKept = 7 * 24 * time.Hour // between two automatic answers to one sender (RFC 5230 §4.1)
	maxAnswered  = 5_000              // senders that are remembered for one user
)

// ruleKeys are the preferences that Rules are made of.
const ruleKeys = `'forward','vacation'`

// Rules are what a user wants done with new mail.
type Rules struct {
	Forward  Forward
	Vacation Vacation
	Script   *Script // nil without
}

// Forward sends mail on.
type Forward struct {
	To   []string `json:"to,omitempty"`
	Keep bool     `json:"keep,omitempty"` // a copy stays here
}

// Vacation answers by itself (RFC 3834).
type Vacation struct {
	On      bool   `json:"on,omitempty"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text,omitempty"`
	From    string `json:"from,omitempty"`  // 2006-01-02, "" any day
	Until   string `json:"until,omitempty"` // the last day
	Zone    string `json:"zone,omitempty"`  // in which the days begin, a name of the time zone database; "" is the server's
}

// Active says whether answers go out at that time.
func (v Vacation) Active(now time.Time) bool {
	zone := time.Local
	if v.Zone != "" {
		z, err := time.LoadLocation(v.Zone)
		if err == nil {
			zone = z
		}
	}
	day := now.In(zone).Format(time.DateOnly)
	return v.On && (v.From == "" || day >= v.From) && (v.Until == "" || day <= v.Until)
}

// Rules reads a user's rules; nil if there are none.
func (tx *Tx) Rules(user UserID) (*Rules, error) {
	var r *Rules
	err := tx.each(`SELECT key,value FROM preferences WHERE user=? AND key IN (`+ruleKeys+`)`, []any{user},
		func(scan func(...any) error) error {
			var key string
			var value []byte
			if err := scan(&key, &value); err != nil {
				return err
			}
			if r == nil {
				r = &Rules{}
			}
			to := map[string]any{PrefForward: &r.Forward, PrefVacation: &r.Vacation}[key]
			if err := json.Unmarshal(value, to); err != nil {
				return fmt.Errorf("%s of user %d: %w", key, user, err)
			}
			return nil
		})
	if err != nil {
		return r, err
	}
	script, err := tx.ActiveScript(user)
	switch {
	case errors.Is(err, ErrNotFound):
		return r, nil
	case err != nil:
		return r, err
	case r == nil:
		r = &Rules{}
	}
	r.Script = &script
	return r, nil
}

// Answer notes that a sender is being answered; false if they were not long ago.
func (tx *Tx) Answer(user UserID, address string) (bool, error) {
	now := tx.s.Now()
	n, err := tx.exec(`INSERT INTO answered(user,address,at) VALUES(?,?,?)
		ON CONFLICT(user,address) DO UPDATE SET at=excluded.at WHERE at<?`, user, address, now.Unix(), now.Add(-answeredKept).Unix())
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.exec(`DELETE FROM answered WHERE user=? AND address IN
		(SELECT address FROM answered WHERE user=? ORDER BY at DESC LIMIT -1 OFFSET ?)`, user, user, maxAnswered)
	return true, err
}

// ForgetAnswered begins a new vacation: everybody is answered again.
func (tx *Tx) ForgetAnswered(user UserID) error {
	_, err := tx.exec(`DELETE FROM answered WHERE user=?`, user)
	return err
}
