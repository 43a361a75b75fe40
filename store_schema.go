// The schema of the file: its tables, as numbered steps that are never changed once released.
package main

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// migrations are applied in order; PRAGMA user_version is how many of them a file has seen.
var migrations = []string{schema1, userEpochs, queueDeadlines, noteSchema, letterPictures, formBinary, queueAccounts, sumSchema, indexPieces, sendingSchema, queueForwarded, metadataUser, maskSchema, heardSchema, keepSchema, stsSchema, tlsSchema, pieceKinds, unsizedSchema, scriptSchema, parkedSchema, dmarcSchema, arrivedColumn, junkSchema}

// What the tables hold:
//
//	settings       counters, the clock, keys: whatever is one value
//	users          id 1 owns the shared mailboxes and can't log in; modseq is one counter for all of a user's mail
//	mailboxes      counts are kept here so that STATUS and LIST need no scan; owner NULL is a deleted mailbox whose
//	               messages are still to be cleared away
//	acl            what others than the owner may do with a mailbox; who is a user's name or "anyone"
//	metadata       annotations (RFC 5464) of a mailbox, or of the server (mailbox 0); private ones name their user, and
//	               one with value NULL was removed
//	messages       one slim row for each message of a mailbox, clustered by (mailbox, uid); gone=1 is a tombstone,
//	               blob=0 one whose content is no longer needed
//	blobs, chunks  content, stored once: the header block (its first 64 KiB) and the MIME tree in blobs, the rest in
//	               chunks of 64 KiB with id = blob<<14 | n; codec says whether these are pieces, see store_piece.go
//	refs           how many refer to content; without a row here it is one. It is apart from blobs so that COPY and MOVE do
//	               not rewrite pages full of headers
//	unfinished     messages that a command has added which is to add more: all of them are removed if it does not end well
//	search         blocks of text and sort keys, see indexSchema; all of it can be made again from the mail
const schema1 = `
CREATE TABLE IF NOT EXISTS settings(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE users(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, secret TEXT NOT NULL DEFAULT '',
  admin INTEGER NOT NULL DEFAULT 0, disabled INTEGER NOT NULL DEFAULT 0, quota INTEGER NOT NULL DEFAULT 0,
  quota_messages INTEGER NOT NULL DEFAULT 0,
  modseq INTEGER NOT NULL DEFAULT 1, created INTEGER NOT NULL DEFAULT 0);
INSERT INTO users(id,name,disabled) VALUES(1,'',1);

CREATE TABLE aliases(address TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY(address,target)) WITHOUT ROWID;

CREATE TABLE mailboxes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER REFERENCES users(id), name TEXT NOT NULL,
  uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL DEFAULT 1, highestmodseq INTEGER NOT NULL DEFAULT 1,
  pruned INTEGER NOT NULL DEFAULT 0, special TEXT NOT NULL DEFAULT '', keywords TEXT NOT NULL DEFAULT '',
  n_exists INTEGER NOT NULL DEFAULT 0, n_unseen INTEGER NOT NULL DEFAULT 0, n_deleted INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL DEFAULT 0,
  UNIQUE(owner,name));
CREATE INDEX mailboxes_dead ON mailboxes(id) WHERE owner IS NULL;

CREATE TABLE subscriptions(user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, name TEXT NOT NULL,
  PRIMARY KEY(user,name)) WITHOUT ROWID;

CREATE TABLE acl(mailbox INTEGER NOT NULL, who TEXT NOT NULL, rights INTEGER NOT NULL, PRIMARY KEY(mailbox,who)) WITHOUT ROWID;
CREATE INDEX acl_who ON acl(who,mailbox);

CREATE TABLE metadata(mailbox INTEGER NOT NULL, user INTEGER NOT NULL, entry TEXT NOT NULL, value BLOB,
  modseq INTEGER NOT NULL, PRIMARY KEY(mailbox,user,entry)) WITHOUT ROWID;

CREATE TABLE messages(
  mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL, flags INTEGER NOT NULL, keywords TEXT,
  gone INTEGER NOT NULL DEFAULT 0, blob INTEGER NOT NULL, size INTEGER NOT NULL, internal INTEGER NOT NULL,
  saved INTEGER NOT NULL, thread INTEGER NOT NULL, form INTEGER NOT NULL,
  PRIMARY KEY(mailbox,uid)) WITHOUT ROWID;
CREATE INDEX messages_modseq ON messages(mailbox,modseq);
CREATE INDEX messages_full ON messages(mailbox,modseq) WHERE gone=1 AND blob<>0;
CREATE INDEX messages_gone ON messages(mailbox,modseq) WHERE gone=1 AND blob=0;

CREATE TABLE unfinished(task INTEGER NOT NULL, mailbox INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,
  PRIMARY KEY(task,mailbox,lo)) WITHOUT ROWID;

CREATE TABLE blobs(
  id INTEGER PRIMARY KEY, size INTEGER NOT NULL, headlen INTEGER NOT NULL,
  codec INTEGER NOT NULL DEFAULT 0, head BLOB NOT NULL, tree BLOB NOT NULL);
CREATE TABLE refs(blob INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE INDEX refs_none ON refs(blob) WHERE n=0;
CREATE TABLE chunks(id INTEGER PRIMARY KEY, data BLOB NOT NULL);
` + indexSchema + queueSchema + webSchema + rulesSchema

// webSchema has the tables of what people have beside their mail.
//
//	web_sessions       a browser that is logged in; only the hash of its token is kept
//	preferences        one value for each user and key: language, signature, forwarding, …
//	contacts           kept=1 is in the address book, kept=0 was met in mail that the user sent
//	device_passwords   passwords for single programs; they are random, and their hashes are quick ones
//	letters            letters being written, put aside, or waiting until due; the copy in Drafts is at (mailbox,uid)
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

// rulesSchema has the senders that the automatic answer went to, and when.
const rulesSchema = `
CREATE TABLE answered(
  user INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, address TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(user,address)) WITHOUT ROWID;
`

// userEpochs counts how often a user's logins were ended: a session that began under another number is over.
const userEpochs = `ALTER TABLE users ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;`

// letterPictures: a picture that a letter's HTML shows has its Content-ID.
const letterPictures = `ALTER TABLE letter_files ADD COLUMN cid TEXT NOT NULL DEFAULT '';`

// formBinary marks messages with a NUL in their bodies as FormBinary: the second octet of a tree has the flags of the whole
// message, in which 2 is partNUL.
const formBinary = `
UPDATE messages SET form=form|4 WHERE blob IN (
  SELECT id FROM blobs WHERE (instr('0123456789ABCDEF', substr(hex(substr(tree,2,1)),2,1))-1)&2<>0);
`

// arrivedColumn is the modseq with which a message came into its mailbox. It grows with the UID, so that what came after some modseq is found by
// UID, and only what changed since it came is in the index: a delivery and the first flag write a page less each. What was there before has 0, and is in the
// index as it was.
const arrivedColumn = `
ALTER TABLE messages ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;
DROP INDEX messages_modseq;
CREATE INDEX messages_modseq ON messages(mailbox,modseq) WHERE modseq<>arrived;
`

// pieceKinds changes nothing: from here on pieces have two sums and lines of base64 taken apart, which an older program would take for damage.
const pieceKinds = `SELECT 1;`

// migrate brings the file to the newest schema, all steps in one transaction. A file of a newer program is refused.
func (s *Store) migrate() error {
	var version int
	if err := s.w.one(`PRAGMA user_version`, nil, &version); err != nil {
		return err
	}
	if err := knownSchema(version); err != nil {
		return err
	}
	if version == len(migrations) {
		return nil
	}
	if err := s.w.run(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	for i := version; i < len(migrations); i++ {
		if err := s.w.run(migrations[i]); err != nil {
			return errors.Join(fmt.Errorf("schema step %d: %w", i+1, err), s.w.run(`ROLLBACK`))
		}
	}
	if err := s.w.run(fmt.Sprintf(`PRAGMA user_version=%d`, len(migrations))); err != nil {
		return err
	}
	return s.w.run(`COMMIT`)
}

// What keeps a file from being opened that is whole otherwise.
var (
	errNotOurs = errors.New("it is a file of another program, and is left alone; change database in mail.toml")
	errNewer   = errors.New("it was written by a newer postino: use that")
	errHeader  = errors.New("its header is damaged")
)

// knownSchema says whether this program knows the schema of a file.
func knownSchema(version int) error {
	switch {
	case version < 0:
		return fmt.Errorf("%w: schema %d", errHeader, version)
	case version > len(migrations):
		return fmt.Errorf("%w (the file has schema %d and this program knows only %d)", errNewer, version, len(migrations))
	}
	return nil
}

// sameSchema says whether a file that can't be written has the schema that this program reads. A schema that can't be is that of
// the newest step, with damage in the header; if it is not, reading says so.
func (s *Store) sameSchema() error {
	var version int
	err := s.w.one(`PRAGMA user_version`, nil, &version)
	if err == nil && version >= 0 {
		err = knownSchema(version)
	}
	if err == nil && version >= 0 && version < len(migrations) {
		err = fmt.Errorf("it was written by an older postino and can't be brought up to date: it has schema %d of %d", version, len(migrations))
	}
	if err == nil {
		var one int
		err = s.w.one(`SELECT count(*) FROM users`, nil, &one)
	}
	return err
}

// whose looks at a file before anything is written to it. It returns errNotOurs for another program's, errNewer for one of a later schema
// and errHeader for damage that can be seen in its first octets. A file that is empty or not there is nobody's yet.
func whose(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 100)
	switch n, err := io.ReadFull(f, head); {
	case n == 0:
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case n < len(head):
		return errNotOurs
	}
	fault := headerFault(head)
	if fault == "" && binary.BigEndian.Uint32(head[68:]) == applicationID {
		return knownSchema(int(int32(binary.BigEndian.Uint32(head[60:]))))
	}
	tables, err := tableNames(path)
	ours := 0
	for _, want := range []string{"users", "mailboxes", "messages", "blobs", "chunks"} {
		if slices.Contains(tables, want) {
			ours++
		}
	}
	switch {
	case fault != "" && (ours > 0 || binary.BigEndian.Uint32(head[68:]) == applicationID):
		return fmt.Errorf("%w: %s", errHeader, fault)
	case fault != "":
		return fmt.Errorf("%w, or it is no database at all: %s", errHeader, fault)
	case err != nil:
		return err
	case len(tables) == 0 || (len(tables) == 1 && tables[0] == "settings"): // the start was cut short
		return nil
	case ours < 5:
		return errNotOurs
	}
	return knownSchema(int(int32(binary.BigEndian.Uint32(head[60:]))))
}

// headerFault says what in a database's header can't be.
func headerFault(head []byte) string {
	size := int(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 65536
	}
	switch {
	case string(head[:16]) != "SQLite format 3\x00":
		return "it does not begin like a database"
	case size < 512 || size&(size-1) != 0:
		return fmt.Sprintf("pages of %d octets", size)
	case head[18] != head[19] || head[18] < 1 || head[18] > 2:
		return fmt.Sprintf("format %d and %d", head[18], head[19])
	case head[20] != 0 || head[21] != 64 || head[22] != 32 || head[23] != 32:
		return fmt.Sprintf("payloads %d, %d, %d, %d", head[20], head[21], head[22], head[23])
	case binary.BigEndian.Uint32(head[44:]) > 4 || binary.BigEndian.Uint32(head[56:]) > 3:
		return fmt.Sprintf("schema format %d, encoding %d", binary.BigEndian.Uint32(head[44:]), binary.BigEndian.Uint32(head[56:]))
	}
	return ""
}

// tableNames lists the tables of a file that may be anybody's.
func tableNames(path string) ([]string, error) {
	db, err := sql.Open("sqlite", storeDSN(path, openReading...))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	found, err := db.QueryContext(noCancel, `SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%'`)
	if err != nil {
		return nil, storeError(err)
	}
	defer found.Close()
	var all []string
	for found.Next() {
		var name string
		err = found.Scan(&name)
		if err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, found.Err()
}
