// What people have taught about junk, and what is still to be learned from what they did.
package main

import (
	"errors"
	"slices"
	"time"
)

const (
	maxLessons = 2000 // that wait, of one person
	lessonMost = 200  // messages that somebody moves at once are lessons, up to so many
	maxLearned = 5000 // messages of a person whose lesson is remembered, so that it can be taken back
	junkNotes  = 2000 // of a mailbox's messages, counted back from the newest, it is known why they are there
)

// junkSchema: lessons are what is to be learned, junk_learned what was, and may be taken back; junk_notes say why a message was put into Junk.
// seen is the UID in INBOX up to which read messages were learned.
const junkSchema = `
CREATE TABLE lessons(user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, blob INTEGER NOT NULL, junk INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(user,blob)) WITHOUT ROWID;
CREATE TABLE junk_learned(user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, blob INTEGER NOT NULL, junk INTEGER NOT NULL,
  PRIMARY KEY(user,blob)) WITHOUT ROWID;
CREATE TABLE junk_models(user INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE, seen INTEGER NOT NULL, good INTEGER NOT NULL, junk INTEGER NOT NULL,
  model BLOB NOT NULL);
CREATE TABLE junk_notes(mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, why TEXT NOT NULL, PRIMARY KEY(mailbox,uid)) WITHOUT ROWID;
`

// Keywords that say what somebody takes a message for: those of RFC 8457's registry, and those that programs used before.
var (
	junkKeywords = []string{"$Junk", "Junk"}
	goodKeywords = []string{"$NotJunk", "NonJunk", "NotJunk"}
)

// Lesson is what somebody did with a message that says what they take it for.
type Lesson struct {
	Blob BlobID
	Junk bool
	At   time.Time
}

const lessonColumns = `blob,junk,at`

func lessonRow(l *Lesson) []any { return []any{&l.Blob, &l.Junk, (*unixTime)(&l.At)} }

// teach notes lessons, of which a later one about the same content counts.
func (tx *Tx) teach(user UserID, blobs []BlobID, junk bool) error {
	if user == SharedOwner || len(blobs) == 0 {
		return nil
	}
	var n int
	if err := tx.one(`SELECT count(*) FROM lessons WHERE user=?`, []any{user}, &n); err != nil {
		return err
	}
	if over := n + len(blobs) - maxLessons; over > 0 {
		_, err := tx.exec(`DELETE FROM lessons WHERE user=? AND blob IN (SELECT blob FROM lessons WHERE user=? ORDER BY at,blob LIMIT ?)`, user, user, over)
		if err != nil {
			return err
		}
	}
	for _, b := range blobs {
		l := Lesson{b, junk, tx.s.Now()}
		if _, err := tx.exec(`INSERT OR REPLACE INTO lessons(user,`+lessonColumns+`) VALUES(?,?,?,?)`, append([]any{user}, lessonRow(&l)...)...); err != nil {
			return err
		}
	}
	return nil
}

// teachMove notes what it says of messages that somebody has put them into a mailbox: into Junk is junk, and into any other is not,
// except into Trash, where everything goes, and where one's own letters are.
func (tx *Tx) teachMove(rows []Message, to Mailbox) error {
	switch to.Special {
	case `\Trash`, `\Sent`, `\Drafts`, `\All`:
		return nil
	}
	var blobs []BlobID
	for i := range rows[:min(len(rows), lessonMost)] {
		blobs = append(blobs, rows[i].Blob)
	}
	return tx.teach(to.Owner, blobs, to.Special == `\Junk`)
}

// teachFlags notes what it says of a message that its flags were changed.
func (tx *Tx) teachFlags(m Mailbox, row Message, f Flags) error {
	gained := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return f.HasWord(w) && !row.Flags.HasWord(w) })
	}
	switch {
	case gained(junkKeywords):
		return tx.teach(m.Owner, []BlobID{row.Blob}, true)
	case gained(goodKeywords):
		return tx.teach(m.Owner, []BlobID{row.Blob}, false)
	}
	return nil
}

// Lessons lists what is to be learned of one person's, the oldest first.
func (tx *Tx) Lessons(user UserID) ([]Lesson, error) {
	return rows(tx, `SELECT `+lessonColumns+` FROM lessons WHERE user=? ORDER BY at,blob`, []any{user}, lessonRow)
}

// LessonsWait lists those of whom something is to be learned, and those who have taught something earlier.
func (tx *Tx) LessonsWait() ([]UserID, error) {
	return column[UserID](tx, `SELECT user FROM junk_models UNION SELECT user FROM lessons`)
}

// Learned says what was learned from a message: ErrNotFound for nothing.
func (tx *Tx) Learned(user UserID, blob BlobID) (junk bool, err error) {
	err = tx.one(`SELECT junk FROM junk_learned WHERE user=? AND blob=?`, []any{user, blob}, &junk)
	return junk, err
}

// JunkState is what somebody has taught.
type JunkState struct {
	Good, Junk int64  // messages
	Seen       UID    // in INBOX, up to which read messages were learned
	Model      []byte // as JunkModel.Octets makes it
}

// JunkState of somebody; zero if it is nothing.
func (tx *Tx) JunkState(user UserID) (JunkState, error) {
	var st JunkState
	err := tx.one(`SELECT good,junk,seen,model FROM junk_models WHERE user=?`, []any{user}, &st.Good, &st.Junk, &st.Seen, &st.Model)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return st, err
}

// KeepJunkState stores what has been learned, from these lessons among others, which are done then.
func (tx *Tx) KeepJunkState(user UserID, st JunkState, done []Lesson) error {
	_, err := tx.exec(`INSERT OR REPLACE INTO junk_models(user,good,junk,seen,model) VALUES(?,?,?,?,?)`, user, st.Good, st.Junk, st.Seen, st.Model)
	if err != nil {
		return err
	}
	for _, l := range done {
		if _, err := tx.exec(`DELETE FROM lessons WHERE user=? AND blob=? AND junk=?`, user, l.Blob, l.Junk); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT OR REPLACE INTO junk_learned(user,blob,junk) VALUES(?,?,?)`, user, l.Blob, l.Junk); err != nil {
			return err
		}
	}
	_, err = tx.exec(`DELETE FROM junk_learned WHERE user=? AND blob<=(SELECT blob FROM junk_learned WHERE user=? ORDER BY blob DESC LIMIT 1 OFFSET ?)`, user, user, maxLearned)
	return err
}

// ForgetJunk forgets all that somebody has taught.
func (tx *Tx) ForgetJunk(user UserID) error {
	for _, table := range []string{"lessons", "junk_learned", "junk_models"} {
		if _, err := tx.exec(`DELETE FROM `+table+` WHERE user=?`, user); err != nil {
			return err
		}
	}
	return nil
}

// ReadSince lists messages of a mailbox above a UID that have been there since before a time, and how many of those that were read: their content.
func (tx *Tx) ReadSince(m MailboxID, above UID, before time.Time, most int) (last UID, read []BlobID, err error) {
	last = above
	err = tx.each(`SELECT uid,blob,flags FROM messages WHERE mailbox=? AND uid>? AND NOT gone AND saved<=? ORDER BY uid LIMIT ?`,
		[]any{m, above, before.Unix(), most}, func(scan func(...any) error) error {
			var blob BlobID
			var flags FlagBits
			if err := scan(&last, &blob, &flags); err != nil {
				return err
			}
			if flags&FlagSeen != 0 && flags&(FlagDeleted|FlagDraft) == 0 {
				read = append(read, blob)
			}
			return nil
		})
	return last, read, err
}

// NoteJunk keeps why a message is in Junk.
func (tx *Tx) NoteJunk(box MailboxID, uid UID, why string) error {
	_, err := tx.exec(`INSERT OR REPLACE INTO junk_notes(mailbox,uid,why) VALUES(?,?,?)`, box, uid, why)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM junk_notes WHERE mailbox=? AND uid<?`, box, int64(uid)-junkNotes)
	return err
}

// JunkNote says why a message is in Junk, "" if nobody has noted it.
func (tx *Tx) JunkNote(box MailboxID, uid UID) (string, error) {
	var why string
	err := tx.one(`SELECT why FROM junk_notes WHERE mailbox=? AND uid=?`, []any{box, uid}, &why)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return why, err
}

// junkOf is somebody's mailbox for junk, or INBOX if they have none.
func (tx *Tx) junkOf(u User) (Mailbox, error) {
	m, err := tx.MailboxBySpecial(u.ID, `\Junk`)
	if errors.Is(err, ErrNotFound) {
		return Mailbox{ID: u.Inbox, Owner: u.ID}, nil
	}
	return m, err
}
