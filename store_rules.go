// Users, their credentials, and aliases.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// UserID identifies a user; SharedOwner owns the mailboxes that belong to nobody and can't log in.
type UserID int64

const SharedOwner UserID = 1

// User is somebody who has mail here.
type User struct {
	ID       UserID
	Name     string // the address, as Addr.Key
	Secret   string // SCRAM-SHA-256 credentials in the form of RFC 5803; "" can't log in
	Admin    bool
	Disabled bool
	Quota    int64 // octets; 0 is no limit
	Messages int64 // how many there may be; 0 is no limit
	Created  time.Time
	Inbox    MailboxID
	Ruled    bool // there are Rules
}

const userColumns = `id,name,secret,admin,disabled,quota,quota_messages,created,
	coalesce((SELECT m.id FROM mailboxes m WHERE m.owner=users.id AND m.name='INBOX'),0),
	EXISTS(SELECT 1 FROM preferences WHERE user=users.id AND key IN (` + ruleKeys + `))`

// specialMailboxes are made with every user, subscribed; INBOX first.
var specialMailboxes = []struct{ name, special string }{
	{"INBOX", ""}, {"Drafts", `\Drafts`}, {"Sent", `\Sent`}, {"Junk", `\Junk`}, {"Trash", `\Trash`}, {"Archive", `\Archive`},
}

// AddUser makes a user with the mailboxes everybody has. ErrExists if the address is a user's or an alias's already.
func (tx *Tx) AddUser(addr Addr, secret string, admin bool) (User, error) {
	u := User{Name: addr.Key(), Secret: secret, Admin: admin, Created: tx.s.Now()}
	if targets, err := tx.AliasTargets(u.Name); err != nil || len(targets) > 0 {
		return User{}, errors.Join(err, fmt.Errorf("%s is an alias: %w", u.Name, ErrExists))
	}
	tx.people = true
	err := tx.one(`INSERT INTO users(name,secret,admin,created) VALUES(?,?,?,?) RETURNING id`,
		[]any{u.Name, secret, admin, u.Created.Unix()}, &u.ID)
	if err != nil {
		return User{}, fmt.Errorf("add user %s: %w", u.Name, err)
	}
	for _, m := range specialMailboxes {
		box, err := tx.CreateMailbox(u.ID, m.name, m.special)
		if err != nil {
			return User{}, err
		}
		if u.Inbox == 0 {
			u.Inbox = box.ID
		}
		if err := tx.Subscribe(u.ID, m.name, true); err != nil {
			return User{}, err
		}
	}
	return u, nil
}

// UserByName looks a user up by address (as Addr.Key).
func (tx *Tx) UserByName(name string) (u User, err error) {
	err = tx.one(`SELECT `+userColumns+` FROM users WHERE name=? AND id<>1`, []any{name}, userDest(&u)...)
	return u, err
}

// UserByID looks a user up.
func (tx *Tx) UserByID(id UserID) (u User, err error) {
	err = tx.one(`SELECT `+userColumns+` FROM users WHERE id=? AND id<>1`, []any{id}, userDest(&u)...)
	return u, err
}

func userDest(u *User) []any {
	return []any{&u.ID, &u.Name, &u.Secret, &u.Admin, &u.Disabled, &u.Quota, &u.Messages, (*unixTime)(&u.Created), &u.Inbox, &u.Ruled}
}

// unixTime scans seconds since 1970.
type unixTime time.Time

func (t *unixTime) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is %T", v)
	}
	*t = unixTime(time.Unix(n, 0))
	return nil
}

// Users lists everybody by name.
func (tx *Tx) Users() (all []User, err error) {
	err = tx.each(`SELECT `+userColumns+` FROM users WHERE id<>1 ORDER BY name`, nil, func(scan func(...any) error) error {
		var u User
		err := scan(userDest(&u)...)
		all = append(all, u)
		return err
	})
	return all, err
}

// UpdateUser stores the user's secret, rights and quota. The name and the ID can't change.
func (tx *Tx) UpdateUser(u User) error {
	tx.people = true
	n, err := tx.exec(`UPDATE users SET secret=?, admin=?, disabled=?, quota=?, quota_messages=? WHERE id=? AND id<>1`,
		u.Secret, u.Admin, u.Disabled, u.Quota, u.Messages, u.ID)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	tx.Touch(u.ID)
	return err
}

// RemoveUser forgets a user and all mail of theirs; the content is cleared away in the background.
func (tx *Tx) RemoveUser(id UserID) error {
	boxes, err := tx.Mailboxes(id)
	if err != nil {
		return err
	}
	for _, q := range []string{`DELETE FROM acl WHERE who=(SELECT name FROM users WHERE id=?)`, `DELETE FROM metadata WHERE user=?`} {
		if _, err := tx.exec(q, id); err != nil {
			return err
		}
	}
	for _, m := range boxes {
		if err := tx.DeleteMailbox(m); err != nil {
			return err
		}
	}
	if err := tx.removeLetters(id); err != nil {
		return err
	}
	tx.people = true
	n, err := tx.exec(`DELETE FROM users WHERE id=? AND id<>1`, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

const (
	maxForwards  = 10                 // addresses that a user's mail goes on to
	maxFilters   = 100                // of one user
	answeredKept = 7 * 24 * time.Hour // between two automatic answers to one sender (RFC 5230 §4.1)
	maxAnswered  = 5_000              // senders that are remembered for one user
)

const rulesSchema = `
CREATE TABLE answered(
  user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, address TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(user,address)) WITHOUT ROWID;
`

// ruleKeys are the preferences that Rules are made of.
const ruleKeys = `'filters','forward','vacation'`

// Rules are what a user wants done with new mail.
type Rules struct {
	Forward  Forward
	Vacation Vacation
	Filters  []Filter
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
}

// Active says whether answers go out at that time.
func (v Vacation) Active(now time.Time) bool {
	day := now.Local().Format(time.DateOnly)
	return v.On && (v.From == "" || day >= v.From) && (v.Until == "" || day <= v.Until)
}

// Filter is a rule for messages to which everything applies that is filled in. Texts are looked for anywhere in the
// field, without regard to case.
type Filter struct {
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"` // To, Cc
	Subject string `json:"subject,omitempty"`
	Clip    bool   `json:"clip,omitempty"` // it has attachments

	Folder MailboxID `json:"folder,omitempty"` // where it goes; 0 stays in the inbox
	Read   bool      `json:"read,omitempty"`
	Star   bool      `json:"star,omitempty"`
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
			to := map[string]any{PrefForward: &r.Forward, PrefVacation: &r.Vacation, PrefFilters: &r.Filters}[key]
			if err := json.Unmarshal(value, to); err != nil {
				return fmt.Errorf("%s of user %d: %w", key, user, err)
			}
			return nil
		})
	return r, err
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
