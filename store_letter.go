// Letters: what people are writing, and what waits for its time.
package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	maxSessions     = 100    // of one user; beyond, the one that was not used for longest ends
	maxContacts     = 10_000 // of one user; beyond, the oldest that are not in the address book go
	maxPreference   = 256 << 10
	maxDevices      = 20  // app passwords of one user: a wrong password is compared with each
	maxLetters      = 500 // letters of one user being written or waiting
	maxLetterFiles  = 100 // attachments of one letter
	maxLetterFields = 4 << 20
	letterAlways    = 64 << 10            // octets of a letter's text that are kept for somebody without room, too
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
	ContentID  string // of a picture that the letter's HTML shows
	Size       int64  // of the file
	Blob       BlobID
}

const (
	letterColumns     = `user,fields,mailbox,uid,due,changed,fault`
	letterFileColumns = `name,type,size,blob,cid`
)

func letterRow(l *Letter) []any {
	return []any{&l.User, &l.Fields, &l.Mailbox, &l.UID, (*unixTime)(&l.Due), (*unixTime)(&l.Changed), &l.Fault}
}

func letterFileRow(f *LetterFile) []any {
	return []any{&f.Name, &f.Type, &f.Size, &f.Blob, &f.ContentID}
}

// letters reads letters without their files.
func (tx *Tx) letters(where string, args ...any) ([]Letter, error) {
	return rows(tx, `SELECT id,`+letterColumns+` FROM letters WHERE `+where, args,
		func(l *Letter) []any { return append([]any{&l.ID}, letterRow(l)...) })
}

// letter finds the one letter with its files. ErrNotFound.
func (tx *Tx) letter(where string, args ...any) (Letter, error) {
	found, err := tx.letters(where, args...)
	if err != nil {
		return Letter{}, err
	}
	if len(found) == 0 {
		return Letter{}, ErrNotFound
	}
	l := found[0]
	l.Files, err = rows(tx, `SELECT id,`+letterFileColumns+` FROM letter_files WHERE letter=? ORDER BY id`, []any{l.ID},
		func(f *LetterFile) []any { return append([]any{&f.ID}, letterFileRow(f)...) })
	return l, err
}

// Letter finds a user's letter with its files. ErrNotFound.
func (tx *Tx) Letter(user UserID, id int64) (Letter, error) {
	return tx.letter(`id=? AND user=? AND ticket=''`, id, user)
}

// LetterOf finds the letter whose copy in Drafts is the message. ErrNotFound.
func (tx *Tx) LetterOf(user UserID, box MailboxID, uid UID) (Letter, error) {
	return tx.letter(`user=? AND mailbox=? AND uid=? LIMIT 1`, user, box, uid)
}

// SaveLetter stores a letter without its files; one with ID 0 gets its ID. ErrTooBig, ErrTooMany; ErrQuota when the user has no
// room for a long one.
func (tx *Tx) SaveLetter(l *Letter) error {
	if len(l.Fields) > maxLetterFields {
		return ErrTooBig
	}
	if len(l.Fields) > letterAlways {
		var had int64
		err := tx.one(`SELECT octet_length(fields) FROM letters WHERE id=? AND user=?`, []any{l.ID, l.User}, &had)
		if err == nil || errors.Is(err, ErrNotFound) {
			err = tx.Room(l.User, max(int64(len(l.Fields))-had, 0), 0)
		}
		if err != nil {
			return err
		}
	}
	l.Changed = tx.s.Now()
	if l.ID != 0 {
		return tx.changeOne(`UPDATE letters SET (`+letterColumns+`)=(?,?,?,?,?,?,?) WHERE id=? AND user=?`,
			append(letterRow(l), l.ID, l.User)...)
	}
	if err := tx.forgetStrayLetters(l.User); err != nil {
		return err
	}
	var n int
	if err := tx.one(`SELECT count(*) FROM letters WHERE user=?`, []any{l.User}, &n); err != nil {
		return err
	}
	if n >= maxLetters {
		return fmt.Errorf("%w letters: there are %d", ErrTooMany, n)
	}
	return tx.one(insertInto("letters", letterColumns)+` RETURNING id`, letterRow(l), &l.ID)
}

// forgetStrayLetters removes letters whose copy in Drafts was deleted or replaced, by a mail program or on a list: nobody
// can see them any more, and their attachments take room. A page that still has one open gets some days.
func (tx *Tx) forgetStrayLetters(user UserID) error {
	if !tx.s.ClockTrusted() {
		return nil
	}
	ids, err := tx.ints(`SELECT id FROM letters l WHERE user=? AND due=0 AND fault='' AND ticket='' AND changed<? AND NOT EXISTS
		(SELECT 1 FROM messages m WHERE m.mailbox=l.mailbox AND m.uid=l.uid AND NOT m.gone) LIMIT 50`, user, tx.s.Now().Add(-letterStray).Unix())
	for _, id := range ids {
		if err == nil {
			err = tx.RemoveLetter(user, id)
		}
	}
	return err
}

// AppendDraft puts a letter's copy into Drafts, and notes in l where it is; the one before must be gone. The letter's files and
// what they are in the copy count once. ErrQuota.
func (tx *Tx) AppendDraft(m Mailbox, b Blob, l *Letter) error {
	size := int64(len(l.Fields))
	for _, f := range l.Files {
		size += f.Size
	}
	if err := tx.Room(m.Owner, max(b.Size-size, 0), 1); err != nil {
		return err
	}
	msg, err := tx.add(m, b, Flags{Bits: FlagDraft | FlagSeen}, tx.s.Now())
	if err != nil {
		return err
	}
	l.Mailbox, l.UID = m.ID, msg.UID
	return tx.SaveLetter(l)
}

// AddLetterFile attaches content to a letter: f.Blob, which is stored already, of f.Size octets. ErrTooMany, ErrQuota.
func (tx *Tx) AddLetterFile(l *Letter, f LetterFile) error {
	letter := l.ID
	var n int
	if err := tx.one(`SELECT count(*) FROM letter_files WHERE letter=?`, []any{letter}, &n); err != nil {
		return err
	}
	if n >= maxLetterFiles {
		return fmt.Errorf("%w attachments: there are %d", ErrTooMany, n)
	}
	if err := tx.Room(l.User, f.Size, 0); err != nil {
		return err
	}
	return tx.insertLetterFile(letter, &f)
}

func (tx *Tx) insertLetterFile(letter int64, f *LetterFile) error {
	if err := tx.refer(f.Blob); err != nil {
		return err
	}
	_, err := tx.exec(insertInto("letter_files", `letter,`+letterFileColumns), append([]any{letter}, letterFileRow(f)...)...)
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
	l, err := tx.letter(`id=? AND user=?`, id, user)
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
func (tx *Tx) WaitingLetters(user UserID) ([]Letter, error) {
	return tx.letters(`user=? AND (due<>0 OR fault<>'') ORDER BY due`, user)
}

// RecallLetters makes drafts again of a user's letters that wait to be sent.
func (tx *Tx) RecallLetters(user UserID) error {
	_, err := tx.exec(`UPDATE letters SET due=0 WHERE user=? AND due<>0`, user)
	return err
}

// DueLetters lists letters that are due at now, at most limit, and when the next one will be due (zero: none). Those of people
// who are disabled wait until they are not.
func (tx *Tx) DueLetters(now time.Time, limit int) ([]Letter, time.Time, error) {
	all, err := tx.letters(`due<>0 AND user IN (SELECT id FROM users WHERE disabled=0) ORDER BY due LIMIT ?`, limit+1)
	if err != nil {
		return nil, time.Time{}, err
	}
	n := 0
	for n < min(len(all), limit) && !all[n].Due.After(now) {
		n++
	}
	if n == len(all) {
		return all, time.Time{}, nil
	}
	return all[:n], all[n].Due, nil
}
