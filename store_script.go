// Scripts: what people have written for their filters, and what those have to remember from one mail to the next.
package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxScripts    = 50        // of one user
	maxScriptName = 512       // octets; RFC 5804 §1.6 wants 128 characters
	maxScriptSize = 256 << 10 // octets of one
	maxScriptSum  = 1 << 20   // and of all of a user
	maxRemembered = 5_000     // of one user
)

// ErrScriptActive refuses to delete the script that is in use.
var ErrScriptActive = errors.New("the script is active")

// scriptSchema has everybody's Sieve scripts, one of which may be active, and what they remember until when. The ID of a script
// is a new one with each change. The filters of the page before become a script that the page can read.
const scriptSchema = `
CREATE TABLE scripts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, name TEXT NOT NULL,
  source TEXT NOT NULL, active INTEGER NOT NULL DEFAULT 0, UNIQUE(user,name));
CREATE TABLE remembered(
  user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, what TEXT NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY(user,what)) WITHOUT ROWID;
INSERT INTO scripts(user,name,active,source)
  SELECT user, 'filters', 1, '# The filters page keeps its rules here.' || char(13,10) ||
    'require ["body", "copy", "fileinto", "imap4flags", "mailboxid", "mime", "regex", "reject"];' || char(13,10) || group_concat(rule, '')
  FROM (SELECT p.user AS user, char(13,10) || 'if allof (' || substr(
      CASE WHEN f.value->>'from'<>'' THEN ',' || char(13,10) || '    header :contains "from" "' || replace(replace(f.value->>'from','\','\\'),'"','\"') || '"' ELSE '' END ||
      CASE WHEN f.value->>'to'<>'' THEN ',' || char(13,10) || '    header :contains ["to", "cc"] "' || replace(replace(f.value->>'to','\','\\'),'"','\"') || '"' ELSE '' END ||
      CASE WHEN f.value->>'subject'<>'' THEN ',' || char(13,10) || '    header :contains "subject" "' || replace(replace(f.value->>'subject','\','\\'),'"','\"') || '"' ELSE '' END ||
      CASE WHEN f.value->>'clip' THEN ',' || char(13,10) || '    header :mime :anychild :contains "content-disposition" "attachment"' ELSE '' END, 2) ||
      char(13,10) || ') {' || char(13,10) ||
      CASE WHEN f.value->>'read' THEN '    addflag "\\Seen";' || char(13,10) ELSE '' END ||
      CASE WHEN f.value->>'star' THEN '    addflag "\\Flagged";' || char(13,10) ELSE '' END ||
      coalesce((SELECT '    fileinto :mailboxid "F' || m.id || '" "' || replace(replace(m.name,'\','\\'),'"','\"') || '";' || char(13,10)
        FROM mailboxes m WHERE m.id=f.value->>'folder' AND m.owner=p.user), '') ||
      '    stop;' || char(13,10) || '}' || char(13,10) AS rule
    FROM preferences p, json_each(p.value) f WHERE p.key='filters' ORDER BY p.user, f.key) GROUP BY user;
DELETE FROM preferences WHERE key='filters';
`

// Script is one of a user's scripts.
type Script struct {
	ID     int64 // another one with each change
	Name   string
	Source string
	Active bool
}

func scriptRow(s *Script) []any { return []any{&s.ID, &s.Name, &s.Source, &s.Active} }

// Scripts lists a user's scripts by name.
func (tx *Tx) Scripts(user UserID) ([]Script, error) {
	return rows(tx, `SELECT id,name,source,active FROM scripts WHERE user=? ORDER BY name`, []any{user}, scriptRow)
}

// Script reads one. ErrNotFound.
func (tx *Tx) Script(user UserID, name string) (Script, error) {
	var s Script
	err := tx.one(`SELECT id,name,source,active FROM scripts WHERE user=? AND name=?`, []any{user, name}, scriptRow(&s)...)
	return s, err
}

// ActiveScript reads the one that mail goes through. ErrNotFound.
func (tx *Tx) ActiveScript(user UserID) (Script, error) {
	var s Script
	err := tx.one(`SELECT id,name,source,active FROM scripts WHERE user=? AND active`, []any{user}, scriptRow(&s)...)
	return s, err
}

// ScriptRoom says whether a script of that size may be stored: ErrTooBig, ErrTooMany, ErrQuota.
func (tx *Tx) ScriptRoom(user UserID, name string, size int64) error {
	var n, sum int64
	err := tx.one(`SELECT count(*), coalesce(sum(length(CAST(source AS BLOB))),0) FROM scripts WHERE user=? AND name<>?`, []any{user, name}, &n, &sum)
	switch {
	case err != nil:
		return err
	case size > maxScriptSize:
		return fmt.Errorf("script: %w", ErrTooBig)
	case n >= maxScripts:
		return fmt.Errorf("scripts: %w", ErrTooMany)
	case sum+size > maxScriptSum:
		return fmt.Errorf("scripts: %w", ErrQuota)
	}
	return nil
}

// PutScript stores a script under its name, in the place of one that is there, and leaves which is active alone.
func (tx *Tx) PutScript(user UserID, name, source string) error {
	if err := tx.ScriptRoom(user, name, int64(len(source))); err != nil {
		return err
	}
	old, err := tx.Script(user, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	tx.usersChanged = true
	_, err = tx.exec(`INSERT OR REPLACE INTO scripts(user,name,source,active) VALUES(?,?,?,?)`, user, name, source, old.Active)
	return err
}

// ActivateScript makes a script the active one, "" none. ErrNotFound.
func (tx *Tx) ActivateScript(user UserID, name string) error {
	if name != "" {
		if _, err := tx.Script(user, name); err != nil {
			return err
		}
	}
	tx.usersChanged = true
	_, err := tx.exec(`UPDATE scripts SET active=(name=?) WHERE user=?`, name, user)
	return err
}

// DeleteScript forgets a script. ErrNotFound, ErrScriptActive.
func (tx *Tx) DeleteScript(user UserID, name string) error {
	s, err := tx.Script(user, name)
	switch {
	case err != nil:
		return err
	case s.Active:
		return ErrScriptActive
	}
	tx.usersChanged = true
	return tx.changeOne(`DELETE FROM scripts WHERE id=?`, s.ID)
}

// RenameScript gives a script another name. ErrNotFound, ErrExists.
func (tx *Tx) RenameScript(user UserID, from, to string) error {
	s, err := tx.Script(user, from)
	if err != nil {
		return err
	}
	_, err = tx.Script(user, to)
	switch {
	case err == nil:
		return ErrExists
	case !errors.Is(err, ErrNotFound):
		return err
	}
	tx.usersChanged = true
	return tx.changeOne(`UPDATE scripts SET name=? WHERE id=?`, to, s.ID)
}

// Remembered says whether something is remembered for a user.
func (tx *Tx) Remembered(user UserID, what string) (bool, error) {
	var n int
	err := tx.one(`SELECT count(*) FROM remembered WHERE user=? AND what=? AND until>?`, []any{user, what, tx.s.Now().Unix()}, &n)
	return n > 0, err
}

// Keep remembers something for a user for so long. What is over is forgotten then, and of too many those that end first.
func (tx *Tx) Keep(user UserID, what string, d time.Duration) error {
	now := tx.s.Now()
	_, err := tx.exec(`INSERT OR REPLACE INTO remembered(user,what,until) VALUES(?,?,?)`, user, what, now.Add(d).Unix())
	if err == nil {
		_, err = tx.exec(`DELETE FROM remembered WHERE user=? AND until<=?`, user, now.Unix())
	}
	if err == nil {
		_, err = tx.exec(`DELETE FROM remembered WHERE user=? AND what IN (SELECT what FROM remembered WHERE user=? ORDER BY until DESC LIMIT -1 OFFSET ?)`,
			user, user, maxRemembered)
	}
	return err
}

// Once is Keep for what is not remembered yet; false if it is.
func (tx *Tx) Once(user UserID, what string, d time.Duration) (bool, error) {
	had, err := tx.Remembered(user, what)
	if err != nil || had {
		return false, err
	}
	return true, tx.Keep(user, what, d)
}
