// Users, their credentials, and aliases.
package main

import (
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
