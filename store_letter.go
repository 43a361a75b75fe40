// Letters: what people are writing, and what waits for its time.
package main

import (
	"fmt"
	"time"
)

// webSchema holds the tables of the web pages.
//
//	web_sessions       a browser that is logged in; only the hash of its token is kept
//	preferences        one value for each user and key: language, signature, forwarding, …
//	contacts           kept=1 is in the address book, kept=0 was met in mail that the user sent
//	device_passwords   passwords for single programs; they are random, and their hashes are quick ones
//	letters            letters being written, or waiting until due; the copy in Drafts is at (mailbox,uid)
//	letter_files       their attachments, each as content of its own
//	sent               what became of letters from the web pages, for each recipient; blob is the copy in Sent
const webSchema = `
CREATE TABLE web_sessions(
  hash BLOB PRIMARY KEY, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, created INTEGER NOT NULL,
  seen INTEGER NOT NULL, lasts INTEGER NOT NULL, remote TEXT NOT NULL, agent TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE preferences(
  user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, key TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY(user,key)) WITHOUT ROWID;

CREATE TABLE contacts(
  user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, address TEXT NOT NULL, name TEXT NOT NULL,
  kept INTEGER NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0, times INTEGER NOT NULL DEFAULT 0,
  phone TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', PRIMARY KEY(user,address)) WITHOUT ROWID;

CREATE TABLE device_passwords(
  id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name TEXT NOT NULL, secret TEXT NOT NULL, created INTEGER NOT NULL);
CREATE INDEX device_passwords_user ON device_passwords(user);

CREATE TABLE letters(
  id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  fields TEXT NOT NULL, mailbox INTEGER NOT NULL DEFAULT 0, uid INTEGER NOT NULL DEFAULT 0,
  due INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL, fault TEXT NOT NULL DEFAULT '');
CREATE INDEX letters_user ON letters(user);
CREATE INDEX letters_due ON letters(due) WHERE due<>0;

CREATE TABLE letter_files(
  id INTEGER PRIMARY KEY AUTOINCREMENT, letter INTEGER NOT NULL REFERENCES letters(id) ON DELETE CASCADE,
  name TEXT NOT NULL, type TEXT NOT NULL, size INTEGER NOT NULL, blob INTEGER NOT NULL);
CREATE INDEX letter_files_letter ON letter_files(letter);

CREATE TABLE sent(
  mail TEXT NOT NULL, rcpt TEXT NOT NULL, user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, blob INTEGER NOT NULL,
  state INTEGER NOT NULL, at INTEGER NOT NULL, said TEXT NOT NULL DEFAULT '', PRIMARY KEY(mail,rcpt)) WITHOUT ROWID;
CREATE INDEX sent_blob ON sent(blob);
CREATE INDEX sent_user ON sent(user,at);
`

const (
	maxSessions     = 100    // of one user; beyond, the one that was not used for longest ends
	maxContacts     = 10_000 // of one user; beyond, the oldest that are not in the address book go
	maxPreference   = 256 << 10
	maxDevices      = 20  // app passwords of one user: a wrong password is compared with each
	maxLetters      = 500 // letters of one user being written or waiting
	maxLetterFiles  = 100 // attachments of one letter
	maxLetterFields = 4 << 20
	letterStray     = 7 * 24 * time.Hour  // a letter without a copy in Drafts is kept so long
	sentKept        = 90 * 24 * time.Hour // for so long it is remembered what became of a letter
)

// Letter is a letter that is being written, or that waits until it is due.
type Letter struct {
	ID      int64
	User    UserID
	Fields  []byte // JSON, the web pages' business
	Mailbox MailboxID
	UID     UID       // its copy in Drafts; 0 none
	Due     time.Time // zero: being written
	Changed time.Time
	Fault   string // why it could not be sent when it was due
	Files   []LetterFile
}

// LetterFile is an attachment of a letter. Its content begins after a header block of its own.
type LetterFile struct {
	ID         int64
	Name, Type string
	Size       int64 // of the file
	Blob       BlobID
}

const letterColumns = `id,user,fields,mailbox,uid,due,changed,fault`

func letterDest(l *Letter) []any {
	return []any{&l.ID, &l.User, &l.Fields, &l.Mailbox, &l.UID, (*dueTime)(&l.Due), (*unixTime)(&l.Changed), &l.Fault}
}

// dueTime scans seconds since 1970, 0 as the zero time.
type dueTime time.Time

func (t *dueTime) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is %T", v)
	}
	*t = dueTime{}
	if n != 0 {
		*t = dueTime(time.Unix(n, 0))
	}
	return nil
}

// Letter finds a user's letter with its files.
func (tx *Tx) Letter(user UserID, id int64) (l Letter, err error) {
	err = tx.one(`SELECT `+letterColumns+` FROM letters WHERE id=? AND user=?`, []any{id, user}, letterDest(&l)...)
	if err == nil {
		l.Files, err = tx.letterFiles(id)
	}
	return l, err
}

// LetterOf finds the letter whose copy in Drafts is the message.
func (tx *Tx) LetterOf(user UserID, box MailboxID, uid UID) (l Letter, err error) {
	var id int64
	if err = tx.one(`SELECT id FROM letters WHERE user=? AND mailbox=? AND uid=?`, []any{user, box, uid}, &id); err != nil {
		return l, err
	}
	return tx.Letter(user, id)
}

func (tx *Tx) letterFiles(id int64) (all []LetterFile, err error) {
	err = tx.each(`SELECT id,name,type,size,blob FROM letter_files WHERE letter=? ORDER BY id`, []any{id}, func(scan func(...any) error) error {
		var f LetterFile
		err := scan(&f.ID, &f.Name, &f.Type, &f.Size, &f.Blob)
		all = append(all, f)
		return err
	})
	return all, err
}

// SaveLetter stores a letter without its files; one with ID 0 gets its ID.
func (tx *Tx) SaveLetter(l *Letter) error {
	if len(l.Fields) > maxLetterFields {
		return ErrTooBig
	}
	due := int64(0)
	if !l.Due.IsZero() {
		due = l.Due.Unix()
	}
	l.Changed = tx.s.Now()
	if l.ID != 0 {
		n, err := tx.exec(`UPDATE letters SET fields=?, mailbox=?, uid=?, due=?, changed=?, fault=? WHERE id=? AND user=?`,
			l.Fields, l.Mailbox, l.UID, due, l.Changed.Unix(), l.Fault, l.ID, l.User)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	}
	if err := tx.forgetStrayLetters(l.User); err != nil {
		return err
	}
	var n int
	if err := tx.one(`SELECT count(*) FROM letters WHERE user=?`, []any{l.User}, &n); err != nil {
		return err
	}
	if n >= maxLetters {
		return fmt.Errorf("%d letters: %w", n, ErrQuota)
	}
	return tx.one(`INSERT INTO letters(user,fields,mailbox,uid,due,changed,fault) VALUES(?,?,?,?,?,?,?) RETURNING id`,
		[]any{l.User, l.Fields, l.Mailbox, l.UID, due, l.Changed.Unix(), l.Fault}, &l.ID)
}

// forgetStrayLetters removes letters whose copy in Drafts was deleted or replaced, by a mail program or on a list: nobody
// can see them any more, and their attachments take room. A page that still has one open gets some days.
func (tx *Tx) forgetStrayLetters(user UserID) error {
	if !tx.s.ClockTrusted() {
		return nil
	}
	ids, err := tx.ints(`SELECT id FROM letters l WHERE user=? AND due=0 AND fault='' AND changed<? AND NOT EXISTS
		(SELECT 1 FROM messages m WHERE m.mailbox=l.mailbox AND m.uid=l.uid AND NOT m.gone) LIMIT 50`, user, tx.s.Now().Add(-letterStray).Unix())
	for _, id := range ids {
		if err == nil {
			err = tx.RemoveLetter(user, id)
		}
	}
	return err
}

// AddLetterFile attaches content to a letter: f.Blob, which is stored already.
func (tx *Tx) AddLetterFile(letter int64, f LetterFile) error {
	var n int
	if err := tx.one(`SELECT count(*) FROM letter_files WHERE letter=?`, []any{letter}, &n); err != nil {
		return err
	}
	if n >= maxLetterFiles {
		return fmt.Errorf("%d attachments: %w", n, ErrQuota)
	}
	if err := tx.refer(f.Blob); err != nil {
		return err
	}
	_, err := tx.exec(`INSERT INTO letter_files(letter,name,type,size,blob) VALUES(?,?,?,?,?)`, letter, f.Name, f.Type, f.Size, f.Blob)
	return err
}

// RemoveLetterFile takes an attachment off.
func (tx *Tx) RemoveLetterFile(letter, id int64) error {
	var blob BlobID
	if err := tx.one(`DELETE FROM letter_files WHERE letter=? AND id=? RETURNING blob`, []any{letter, id}, &blob); err != nil {
		return err
	}
	return tx.release(blob)
}

// RemoveLetter forgets a letter and gives its files up.
func (tx *Tx) RemoveLetter(user UserID, id int64) error {
	l, err := tx.Letter(user, id)
	if err != nil {
		return err
	}
	for _, f := range l.Files {
		if err := tx.release(f.Blob); err != nil {
			return err
		}
	}
	_, err = tx.exec(`DELETE FROM letters WHERE id=?`, id)
	return err
}

// removeLetters is for a user who is removed: the rows would go by themselves, their content would not.
func (tx *Tx) removeLetters(user UserID) error {
	ids, err := tx.ints(`SELECT id FROM letters WHERE user=?`, user)
	for _, id := range ids {
		if err == nil {
			err = tx.RemoveLetter(user, id)
		}
	}
	return err
}

// WaitingLetters lists a user's letters that wait to be sent, the next one first, without files.
func (tx *Tx) WaitingLetters(user UserID) (all []Letter, err error) {
	err = tx.each(`SELECT `+letterColumns+` FROM letters WHERE user=? AND (due<>0 OR fault<>'') ORDER BY due`, []any{user},
		func(scan func(...any) error) error {
			var l Letter
			err := scan(letterDest(&l)...)
			all = append(all, l)
			return err
		})
	return all, err
}

// DueLetters lists letters that are due at now, at most limit, and when the next one will be due (zero: none).
func (tx *Tx) DueLetters(now time.Time, limit int) (due []Letter, next time.Time, err error) {
	err = tx.each(`SELECT `+letterColumns+` FROM letters WHERE due<>0 ORDER BY due LIMIT ?`, []any{limit + 1}, func(scan func(...any) error) error {
		var l Letter
		if err := scan(letterDest(&l)...); err != nil {
			return err
		}
		switch {
		case l.Due.After(now) || len(due) >= limit:
			if next.IsZero() {
				next = l.Due
			}
		default:
			due = append(due, l)
		}
		return nil
	})
	return due, next, err
}
