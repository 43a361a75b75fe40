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
	Ruled    bool  // there are Rules
	Epoch    int64 // how often the user's logins were ended: a session that began in another one is over
	App      int64 // of a login: the ID of the app password that it was made with; 0 is the user's own
}

const userColumns = `name,secret,admin,disabled,quota,quota_messages,created`

func userRow(u *User) []any {
	return []any{&u.Name, &u.Secret, &u.Admin, &u.Disabled, &u.Quota, &u.Messages, (*unixTime)(&u.Created)}
}

// users reads users with what else is in User.
func (tx *Tx) users(where string, args ...any) ([]User, error) {
	return rows(tx, `SELECT id,coalesce((SELECT m.id FROM mailboxes m WHERE m.owner=users.id AND m.name='INBOX'),0),
		EXISTS(SELECT 1 FROM preferences WHERE user=users.id AND key IN (`+ruleKeys+`)) OR EXISTS(SELECT 1 FROM scripts WHERE user=users.id AND active),epoch,`+userColumns+` FROM users WHERE id<>1`+where,
		args, func(u *User) []any { return append([]any{&u.ID, &u.Inbox, &u.Ruled, &u.Epoch}, userRow(u)...) })
}

func (tx *Tx) user(where string, arg any) (User, error) {
	found, err := tx.users(where, arg)
	if err != nil {
		return User{}, err
	}
	if len(found) == 0 {
		return User{}, ErrNotFound
	}
	return found[0], nil
}

// specialMailboxes are made with every user, subscribed; INBOX first.
var specialMailboxes = []struct{ name, special string }{
	{"INBOX", ""}, {"Drafts", `\Drafts`}, {"Sent", `\Sent`}, {"Junk", `\Junk`}, {"Trash", `\Trash`}, {"Archive", `\Archive`},
}

// AddUser makes a user with the mailboxes everybody has. ErrExists if the address is a user's, an alias's or a mask's already.
func (tx *Tx) AddUser(addr Addr, secret string, admin bool) (User, error) {
	u := User{Name: addr.Key(), Secret: secret, Admin: admin, Created: tx.s.Now()}
	if targets, err := tx.AliasTargets(u.Name); err != nil || len(targets) > 0 {
		return User{}, errors.Join(err, fmt.Errorf("%s is an alias: %w", u.Name, ErrExists))
	}
	if _, _, err := tx.Masked(u.Name); !errors.Is(err, ErrNotFound) {
		return User{}, errors.Join(err, fmt.Errorf("%s is somebody's masked address: %w", u.Name, ErrExists))
	}
	tx.usersChanged = true
	err := tx.one(insertInto("users", userColumns)+` RETURNING id`, userRow(&u), &u.ID)
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
		if err := tx.Subscribe(u.ID, m.name); err != nil {
			return User{}, err
		}
	}
	return u, nil
}

// UserByName looks a user up by address (as Addr.Key). ErrNotFound.
func (tx *Tx) UserByName(name string) (User, error) { return tx.user(` AND name=?`, name) }

// UserByID looks a user up. ErrNotFound, also for SharedOwner.
func (tx *Tx) UserByID(id UserID) (User, error) { return tx.user(` AND id=?`, id) }

// Users lists everybody by name.
func (tx *Tx) Users() ([]User, error) { return tx.users(` ORDER BY name`) }

// UpdateUser stores the user's secret, rights and quota. The name and the ID can't change. Another secret, or being disabled,
// ends the sessions of mail programs.
func (tx *Tx) UpdateUser(u User) error {
	tx.usersChanged = true
	tx.Touch(u.ID)
	return tx.changeOne(`UPDATE users SET epoch=epoch+(secret<>? OR disabled<>?), secret=?, admin=?, disabled=?, quota=?, quota_messages=?
		WHERE id=? AND id<>1`, u.Secret, u.Disabled, u.Secret, u.Admin, u.Disabled, u.Quota, u.Messages, u.ID)
}

// EndPrograms ends the sessions of the user's mail programs, before their next command.
func (tx *Tx) EndPrograms(id UserID) error {
	tx.usersChanged = true
	tx.Touch(id)
	_, err := tx.exec(`UPDATE users SET epoch=epoch+1 WHERE id=?`, id)
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
	tx.usersChanged = true
	tx.Touch(id)
	return tx.changeOne(`DELETE FROM users WHERE id=? AND id<>1`, id)
}
