// Whether the file is whole: a cheap look at each start, and all of it in the background.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

const (
	checkPatience = 2 * time.Second     // how long the start, or whoever connects, waits for the check of a file that was not closed
	lookAgain     = 30 * 24 * time.Hour // between two looks through the whole file in the background
	checkAgain    = time.Minute         // between two checks because something looked malformed
	checkPause    = time.Second         // after a check that failed, before the next; it doubles up to checkAgain
	checkTwice    = 2                   // checks that must find damage: a page that came wrong once may come right
)

// errChecking is why a file that was not closed is only read until it is known to be whole.
var errChecking = fmt.Errorf("%w: it was not closed, and is being checked", ErrReadOnly)

// IntegrityCheck reads the whole file and checks every page and index; it returns what is wrong, at most 100 lines.
func (s *Store) IntegrityCheck() ([]string, error) {
	lines, err := read(s, func(tx *Tx) ([]string, error) { return column[string](tx, `PRAGMA integrity_check(100)`) })
	return slices.DeleteFunc(lines, func(line string) bool { return line == "ok" }), err
}

// quickCheck reads the whole file once (about 200 MB/s) and compares its pages and counts, not its indexes.
func quickCheck(ctx context.Context, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) error {
	var said string
	err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&said)
	if err == nil && said != "ok" {
		err = errors.New(said)
	}
	return err
}

// firstLook finds, without reading much, that a file is short or that one of its tables has no beginning or end.
func (s *Store) firstLook() error {
	err := s.fileLength()
	if err != nil {
		return err
	}
	tx := &Tx{s: s, c: s.ck}
	tables, err := rows(tx, `SELECT name FROM sqlite_schema WHERE type='table' AND rootpage>0`, nil, func(v *string) []any { return []any{v} })
	for _, table := range tables {
		for _, order := range []string{"", " DESC"} {
			if err == nil {
				err = tx.firstRow(table, order)
			}
		}
	}
	for _, table := range []string{"users", "mailboxes", "settings"} { // all else hangs on these
		if err == nil {
			err = tx.tableCheck(table)
		}
	}
	return err
}

// fileLength compares the length of the file with what it should be, as far as no log makes up for it.
func (s *Store) fileLength() error {
	var pages, size int64
	tx := &Tx{s: s, c: s.ck}
	err := tx.one(`SELECT page_count,page_size FROM pragma_page_count,pragma_page_size`, nil, &pages, &size)
	if err != nil {
		return err
	}
	fi, err := os.Stat(s.path)
	if err != nil || fi.Size() >= pages*size {
		return err
	}
	have := fi.Size() / size
	logged := map[uint32]bool{}
	l, err := readLog(s.path+"-wal", nil)
	if err != nil {
		return err
	}
	for _, f := range l.frames {
		if int64(f.page) > have {
			logged[f.page] = true
		}
	}
	if missing := pages - have - int64(len(logged)); missing > 0 {
		return fmt.Errorf("the file ends %d pages of %d octets too early", missing, size)
	}
	return nil
}

// firstRow reads the first row of a table in the order of its key.
func (tx *Tx) firstRow(table, order string) error {
	var keys []string
	keys, err := rows(tx, `SELECT name FROM pragma_table_info(?) WHERE pk>0 ORDER BY pk`, []any{table}, func(v *string) []any { return []any{v} })
	if err != nil || len(keys) == 0 {
		return err
	}
	var one int
	err = tx.one(`SELECT 1 FROM "`+table+`" ORDER BY "`+keys[0]+`"`+order+` LIMIT 1`, nil, &one)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return err
}

// tableCheck reads one table and its indexes.
func (tx *Tx) tableCheck(table string) error {
	var said string
	err := tx.one(`PRAGMA quick_check('`+table+`')`, nil, &said)
	if err == nil && said != "ok" {
		err = errors.New(said)
	}
	return err
}

// startChecks looks at the file as the appliance starts. What is wrong at first sight makes it a file that is only read. One that was
// not closed is only read until all of it is checked; for a small one the start waits, unless it is AtOnce.
func (s *Store) startChecks() {
	if s.Damaged() != nil {
		return
	}
	unclean, err := s.wasNotClosed()
	if err == nil {
		err = s.firstLook()
	}
	if err != nil {
		s.damagedBy(err)
		return
	}
	first := make(chan struct{})
	s.firstCheck, s.patient = first, time.Now().Add(checkPatience)
	checked := sync.OnceFunc(func() { close(first) })
	if unclean {
		s.forbid(errChecking)
	} else {
		s.begin()
		checked()
	}
	s.crew.Keep(&s.bg, "store checker", s.quit, func() {
		if errors.Is(s.Damaged(), errChecking) {
			s.recheck()
		}
		checked()
		if s.Damaged() == nil {
			s.checker()
		}
	})
	s.crew.Keep(&s.bg, "store content check", s.quit, func() {
		<-first
		s.lookThrough()
	})
	if !s.opt.AtOnce {
		s.AwaitCheck()
	}
}

// AwaitCheck returns when a file that was not closed is known to be whole, or some time has passed since it was opened; at once mostly.
// Who waits so is spared words about a file that is only read while a small one is being checked.
func (s *Store) AwaitCheck() {
	if s.firstCheck == nil {
		return
	}
	select {
	case <-s.firstCheck:
		return
	default:
	}
	select {
	case <-s.firstCheck:
	case <-s.quit:
	case <-time.After(time.Until(s.patient)):
		s.crew.Complain("the file was not closed and is being checked; until that is done it is only read", errChecking, "file", s.path)
	}
}

// Looked is what the look through the whole file in the background has found, which begins after each start and is done again after lookAgain.
type Looked struct {
	Done     time.Time // when the last one ended; zero while the first one is under way
	Messages int64     // whose content is damaged, at most sumsNamed
	Tables   []string  // what is wrong with tables and their indexes, in SQLite's words
}

// Looked is what the last look through the file has found.
func (s *Store) Looked() Looked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looked
}

// lookThrough reads all of the file, gently: tables with their indexes first, then all content.
func (s *Store) lookThrough() {
	for {
		l := Looked{Tables: s.lookAtTables()}
		l.Messages = s.lookAtContent()
		l.Done = s.Now()
		select {
		case <-s.quit:
			return
		default:
		}
		s.mu.Lock()
		s.looked = l
		s.mu.Unlock()
		select {
		case <-s.quit:
			return
		case <-time.After(lookAgain):
		}
	}
}

// rest pauses for as long as was worked since a time, and says whether to go on.
func (s *Store) rest(began time.Time) bool {
	select {
	case <-s.quit:
		return false
	case <-time.After(time.Since(began)):
		return true
	}
}

// lookAtTables reads each table and compares it with its indexes, one after the other on a connection of its own, so that nobody waits for
// it. The text index can be made again, and the trees of content are walked when that is read.
func (s *Store) lookAtTables() []string {
	tables, err := read(s, func(tx *Tx) ([]string, error) {
		return column[string](tx, `SELECT name FROM sqlite_schema WHERE type='table' AND rootpage>0 AND name NOT IN ('blobs','chunks','search') ORDER BY name`)
	})
	ctx, cancel := s.untilQuit()
	defer cancel()
	var wrong []string
	for _, table := range tables {
		began := time.Now()
		var bad []string
		if err == nil {
			bad, err = s.lookAtTable(ctx, table)
		}
		if err != nil {
			break
		}
		for _, line := range bad {
			s.log.Error("a table of the file is damaged; `postino check` says more", "table", table, "err", line)
		}
		wrong = append(wrong, bad...)
		if !s.rest(began) {
			return wrong
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) && !errors.Is(err, driver.ErrBadConn) {
		s.crew.Complain("store: the tables can't be checked", err)
		s.suspect(err)
	}
	if len(wrong) > 0 {
		s.suspectNow() // what makes the file unsafe to write to is found by a check of all of it
	}
	return wrong
}

// lookAtTable is what is wrong with a table and its indexes, at most ten lines.
func (s *Store) lookAtTable(ctx context.Context, table string) ([]string, error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, err := c.QueryContext(ctx, `SELECT integrity_check FROM pragma_integrity_check(?)`, table)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var bad []string
	for r.Next() && len(bad) < 10 {
		var line string
		err := r.Scan(&line)
		if err != nil {
			return nil, err
		}
		if line != "ok" {
			bad = append(bad, line)
		}
	}
	return bad, r.Err()
}

// lookAtContent reads all content and logs the messages of which it is damaged, and returns how many there are. They are not given out; all
// else goes on.
func (s *Store) lookAtContent() int64 {
	began := time.Now()
	damaged, err := s.DamagedContent(func() bool {
		if time.Since(began) < sumRest {
			return true
		}
		more := s.rest(began)
		began = time.Now()
		return more
	})
	for _, m := range damaged {
		s.log.Error("a message is damaged on the disk", "user", m.User, "mailbox", m.Mailbox, "uid", m.UID, "err", m.Why)
	}
	if err != nil && !errors.Is(err, ErrClosed) {
		s.crew.Complain("store: content can't be checked", err)
		s.suspect(err)
	}
	return int64(len(damaged))
}

// wasNotClosed says whether the appliance that had the file last ended without closing it.
func (s *Store) wasNotClosed() (bool, error) {
	v, err := read(s, func(tx *Tx) ([]byte, error) { return tx.Setting("clean") })
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return string(v) == "0", err
}

// begin marks a file that is known to be whole as open, and takes back what was under way when it was last.
func (s *Store) begin() {
	err := s.Write(func(tx *Tx) error {
		err := tx.renewCopy()
		if err != nil {
			return err
		}
		v, err := tx.Setting("clean")
		if err == nil && string(v) == "0" {
			return errNothing // and a copy was never open
		}
		return tx.SetSetting("clean", []byte("0"))
	})
	if err == nil || errors.Is(err, errNothing) {
		err = s.takeBack()
	}
	if err != nil && !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrClosed) {
		s.log.Error("store: start", "err", err)
	}
}

// checker checks the file again whenever something in it looked malformed: a card that could not be read for a moment looks like
// that, too. It is only read meanwhile.
func (s *Store) checker() {
	for {
		select {
		case <-s.quit:
			return
		case <-s.suspected:
		}
		if s.Damaged() != nil {
			continue
		}
		s.forbid(errChecking)
		s.log.Warn("something in the file is malformed; it is being checked, and only read until that is done", "file", s.path)
		s.recheck()
		select {
		case <-s.quit:
			return
		case <-time.After(checkAgain):
		}
	}
}

// untilQuit is a context that ends when the file is closed, or by what it returns.
func (s *Store) untilQuit() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	s.crew.Go(nil, "store check's end", func() {
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// recheck reads all of a file that is only read because of that, and lets it be written if it is whole.
func (s *Store) recheck() {
	ctx, cancel := s.untilQuit()
	defer cancel()
	for pause, bad := checkPause, 0; ; pause = min(2*pause, checkAgain) {
		err := s.quickCheckAll(ctx)
		switch {
		case ctx.Err() != nil: // it is being closed
			return
		case err == nil:
			s.forbid(nil)
			s.begin()
			return
		case unreadable(err): // what can't be read just now is no verdict on what is there
			bad = 0
			s.crew.Complain("store: the file can't be checked", err)
		default:
			bad++
		}
		if bad == checkTwice {
			s.damagedBy(err)
			return
		}
		select {
		case <-s.quit:
			return
		case <-time.After(pause):
		}
	}
}

// unreadable says whether a check ended because the disk did not give what it was asked for.
func unreadable(err error) bool {
	if code := sqliteCode(err); code != 0 {
		return code&0xff == sqlite3.SQLITE_IOERR
	}
	return strings.Contains(err.Error(), "unable to get the page") || strings.Contains(err.Error(), "failed to get page")
}

// quickCheckAll reads the whole file once (about 200 MB/s) and compares its pages and counts, not its indexes.
func (s *Store) quickCheckAll(ctx context.Context) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return quickCheck(ctx, c)
}

// damagedBy makes the file one that is only read.
func (s *Store) damagedBy(err error) {
	s.forbid(fmt.Errorf("%w: %s is damaged (%w); `postino check` says what, `postino rescue` brings back what is in it, `postino restore` puts a backup in its place",
		ErrReadOnly, s.path, err))
	s.log.Error("store damaged", "file", s.path, "err", err)
}

// suspect notes an error that damage may be the reason of.
func (s *Store) suspect(err error) {
	if err == nil || !s.opt.Service {
		return
	}
	if code := sqliteCode(err) & 0xff; code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB {
		s.suspectNow()
	}
}

// suspectNow has the whole file checked.
func (s *Store) suspectNow() {
	select {
	case s.suspected <- struct{}{}:
	default:
	}
}
