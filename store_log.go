// The log beside the file (SQLite's WAL), read without SQLite: which pages are in it, and whether it belongs to the file at all.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

const (
	logHeader  = 32                                     // octets of the WAL's header
	logFrame   = 24                                     // octets in front of each page
	logMagic   = 0x377f0682                             // of a WAL with little-endian sums; one more is big-endian
	noteMark   = "postino note "                        // what a note begins with
	noteLength = len(noteMark) + 16 + 1 + 16            // octets of a note
	noteNobody = "0000000000000000"                     // the log before the first one
	logAside   = "-wal-of-another-file-20060102-150405" // how a log that is not the file's is called
)

// noteSchema holds the file's note of its log: the salts of the log that is in use, and of the one before. Each life of a log begins
// with other salts, and with a change of this row. The page with the row is in the file itself as it was when the log began, or
// later, because a log begins anew only when all of the one before is in the file. So a log whose first note does not follow that
// of the file was written for another file: somebody has put a copy in its place, and to play the log would ruin it.
//
// The application_id says that the file is ours.
const noteSchema = `
CREATE TABLE log_note(id INTEGER PRIMARY KEY, note TEXT NOT NULL);
INSERT INTO log_note(id,note) VALUES(1,'postino note '||hex(randomblob(8))||' 0000000000000000');
PRAGMA application_id=1349481332;
`

// applicationID is "Post", in the header of every file of ours.
const applicationID = 0x506f7374

// logNote is a note of a log: its salts, and those of the log before it.
type logNote struct{ salts, before string }

func parseNote(text string) (logNote, bool) {
	if len(text) != noteLength || !strings.HasPrefix(text, noteMark) {
		return logNote{}, false
	}
	salts, before, ok := strings.Cut(text[len(noteMark):], " ")
	return logNote{salts, before}, ok && len(salts) == 16
}

// pageNote is the note on a page of the database, if it is the page with the note: a leaf of a table with one row of one text and
// its rowid. No content can look like it: where content fills a page, its first octet is part of a page number.
func pageNote(page []byte) (logNote, bool) {
	if len(page) < 512 || page[0] != 0x0d || binary.BigEndian.Uint16(page[3:]) != 1 {
		return logNote{}, false
	}
	at := int(binary.BigEndian.Uint16(page[8:]))
	// the cell: octets of payload, rowid 1, then the record: its header's length, NULL for the id, the text's type, the text
	want := []byte{byte(noteLength + 3), 1, 3, 0, byte(13 + 2*noteLength)}
	if at+len(want)+noteLength > len(page) || !bytes.Equal(page[at:at+len(want)], want) {
		return logNote{}, false
	}
	at += len(want)
	return parseNote(string(page[at : at+noteLength]))
}

// walLog is what is in a log: the frames up to the last commit, as SQLite would play them.
type walLog struct {
	pageSize int
	salts    string // of its header
	frames   []walFrame
	pages    int64 // of the database after the last commit
}

type walFrame struct {
	page   uint32
	offset int64 // of its octets in the log
}

// readLog reads the log of a file that nobody writes to. A log that is not there or was never used has no frames. calls fn, if
// it is not nil, with each page of it that is committed or not; fn must not keep the page.
func readLog(path string, fn func(pgno uint32, page []byte)) (*walLog, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &walLog{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &walLog{}
	head := make([]byte, logHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return l, nil
	}
	magic := binary.BigEndian.Uint32(head)
	if magic&^1 != logMagic {
		return l, nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	sum := logSum{}.add(order, head[:24])
	l.pageSize = int(binary.BigEndian.Uint32(head[8:]))
	if l.pageSize < 512 || l.pageSize > 65536 || l.pageSize&(l.pageSize-1) != 0 || sum != (logSum{binary.BigEndian.Uint32(head[24:]), binary.BigEndian.Uint32(head[28:])}) {
		return &walLog{}, nil
	}
	l.salts = logSalts(head)
	var open []walFrame // of a transaction whose commit has not come yet
	frame := make([]byte, logFrame+l.pageSize)
	for off := int64(logHeader); ; off += int64(len(frame)) {
		if _, err := f.ReadAt(frame, off); err != nil || !bytes.Equal(frame[8:16], head[16:24]) {
			return l, nil
		}
		sum = sum.add(order, frame[:8]).add(order, frame[logFrame:])
		if sum != (logSum{binary.BigEndian.Uint32(frame[16:]), binary.BigEndian.Uint32(frame[20:])}) {
			return l, nil
		}
		pgno := binary.BigEndian.Uint32(frame)
		if fn != nil {
			fn(pgno, frame[logFrame:])
		}
		open = append(open, walFrame{pgno, off + logFrame})
		if size := binary.BigEndian.Uint32(frame[4:]); size != 0 {
			l.frames, open = append(l.frames, open...), open[:0]
			l.pages = int64(size)
		}
	}
}

func logSalts(head []byte) string { return fmt.Sprintf("%016X", head[16:24]) }

// logSum is the sum that runs through a log.
type logSum [2]uint32

func (s logSum) add(order binary.ByteOrder, b []byte) logSum {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}

// foreignLog says whether the log beside the file was written for another file: it has notes, and the file's is neither one of
// them nor the one that they follow. Only a file that is whole without the log is said to have a foreign one.
func foreignLog(path string) (bool, error) {
	var notes []logNote
	var at uint32
	_, err := readLog(path+"-wal", func(pgno uint32, page []byte) {
		if n, ok := pageNote(page); ok {
			notes, at = append(notes, n), pgno
		}
	})
	if err != nil || len(notes) == 0 {
		return false, err
	}
	follows := func(n logNote) bool {
		for _, x := range notes {
			if n.salts == x.salts || n.salts == x.before {
				return true
			}
		}
		return false
	}
	if n, ok := noteAt(path, at); ok && follows(n) {
		return false, nil
	}
	db, err := sql.Open("sqlite", storeDSN(path, "mode=ro", "immutable=1"))
	if err != nil {
		return false, err
	}
	defer db.Close()
	ctx := context.Background()
	var text string
	err = db.QueryRowContext(ctx, `SELECT note FROM log_note WHERE id=1`).Scan(&text)
	n, ok := parseNote(text)
	switch {
	case err == nil && ok && follows(n):
		return false, nil
	case err != nil && notes[0].before == noteNobody: // the first log that has notes at all
		return false, nil
	}
	return quickCheck(ctx, db) == nil, nil
}

// noteAt is the note on a page of the file itself.
func noteAt(path string, pgno uint32) (logNote, bool) {
	f, err := os.Open(path)
	if err != nil {
		return logNote{}, false
	}
	defer f.Close()
	head := make([]byte, 100)
	if _, err := f.ReadAt(head, 0); err != nil {
		return logNote{}, false
	}
	size := int64(binary.BigEndian.Uint16(head[16:]))
	if size == 1 {
		size = 65536
	}
	page := make([]byte, size)
	if _, err := f.ReadAt(page, size*(int64(pgno)-1)); err != nil {
		return logNote{}, false
	}
	return pageNote(page)
}

// setAsideLog gives a log that was written for another file another name, so that nobody plays it. It returns the name, or "" if the log is
// the file's own. Nobody else may have the file open.
func setAsideLog(path string, now time.Time) (string, error) {
	foreign, err := foreignLog(path)
	if err != nil || !foreign {
		return "", err
	}
	name := path + now.Format(logAside)
	err = os.Rename(path+"-wal", name)
	if err != nil {
		return "", err
	}
	err = os.Remove(path + "-shm")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return name, errors.Join(err, syncDir(path))
}

// noteLog has the note name the log's salts, when the last commit began a new log. It runs in the writer after that commit and
// before anybody hears of it.
func (s *Store) noteLog() error {
	salts, err := s.logSalts()
	if err != nil || salts == s.salts {
		return err
	}
	s.salts = salts
	_, err = (&Tx{s: s, c: s.w}).exec(`UPDATE log_note SET note='`+noteMark+`'||?||' '||substr(note,?,16) WHERE id=1 AND substr(note,?,16)<>?`,
		salts, len(noteMark)+1, len(noteMark)+1, salts)
	return err
}

// logSalts reads the salts of the log in use; "" while there is none.
func (s *Store) logSalts() (string, error) {
	if s.wal == nil {
		f, err := os.Open(s.path + "-wal")
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		s.wal = f
	}
	head := make([]byte, logHeader)
	_, err := s.wal.ReadAt(head, 0)
	if err != nil || binary.BigEndian.Uint32(head)&^1 != logMagic {
		return "", nil
	}
	return logSalts(head), nil
}
