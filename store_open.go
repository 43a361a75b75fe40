// Opening and closing the file.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	logTemporary = ".wal-*"  // a log that is being made
	logFill      = 256 << 10 // octets of zeros written at once
	filePage     = 2048      // octets of a page of a new file: what a commit changes is a few octets on each of eight pages, and all of them are written

	writeAgain = 15 * time.Second // between looks whether a file that could only be read can be written
)

// storeDSN names the file for SQLite, with parameters of its own or of the driver's.
func storeDSN(path string, params ...string) string {
	return "file:" + strings.NewReplacer("?", "%3f", "#", "%23", "%", "%25").Replace(path) + "?" + strings.Join(params, "&")
}

// The ways to open the file, best first.
var (
	openWriting = []string{"_auto_vacuum=INCREMENTAL", "_journal_mode=WAL", "_synchronous=FULL", "_busy_timeout=10000", "_foreign_keys=1",
		"_pragma=wal_autocheckpoint(0)", "_pragma=temp_store(2)", "_pragma=journal_size_limit(-1)"}
	openReading   = []string{"mode=ro", "_busy_timeout=10000", "_pragma=temp_store(2)"}
	openImmutable = []string{"mode=ro", "immutable=1", "_pragma=temp_store(2)"} // where not even the files beside it can be had; its log is not read
	openStandIn   = []string{"vfs=memdb", "_pragma=temp_store(2)"}
)

// prepareFile creates the database, readable by its owner only.
func prepareFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if fi.Size() > 0 {
		return nil
	}
	// SQLite deletes the log of an empty database: make it a database first. The size of its pages comes before all else, and the driver would put it last.
	db, err := sql.Open("sqlite", storeDSN(path, "_busy_timeout=10000"))
	if err == nil {
		_, err = db.ExecContext(noCancel, fmt.Sprintf(`PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
			CREATE TABLE IF NOT EXISTS settings(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID`, filePage))
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

// prepareLog gives the database a log full of zeros. A log that is there already may hold acknowledged mail, and another process may be
// writing to it: what it lacks is only appended.
func prepareLog(path string) error {
	log := path + "-wal"
	if _, err := os.Lstat(log); err == nil {
		return fillLog(log)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), logTemporary)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(make([]byte, walBytes))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("prepare %s: %w", log, err)
	}
	// Link and not rename: if another process was faster, its log stays. Without hard links SQLite makes its own.
	if os.Link(tmp.Name(), log) != nil {
		return nil
	}
	return syncDir(path)
}

// fillLog appends zeros to a log that is shorter than a fresh one. The kernel sees to it that what another process writes at the end
// meanwhile comes before them or over them.
func fillLog(log string) error {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	zeros := make([]byte, logFill)
	for err == nil {
		var fi os.FileInfo
		fi, err = f.Stat()
		if err != nil || fi.Size() >= walBytes {
			break
		}
		_, err = f.Write(zeros[:min(logFill, walBytes-fi.Size())])
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in the file's folder last.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// sweep removes what runs that were killed have left beside the file: logs and backups that were being made.
func sweep(path string) {
	for _, pattern := range []string{logTemporary, backupTemporary} {
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), pattern))
		for _, name := range left {
			os.RemoveAll(name)
		}
	}
}

// open finds the best way to open the file. A service is open whatever the file is like, so that it can say so.
func (s *Store) open() error {
	err := whose(s.path)
	if err == nil {
		err = s.openForWriting()
	}
	if err == nil {
		return nil
	}
	s.disconnect()
	if cantBeWritten(err) || errors.Is(err, errHeader) {
		rerr := s.openForReading(err)
		if rerr == nil {
			return nil
		}
		s.disconnect()
		err = rerr
	}
	fi, serr := os.Stat(s.path)
	if !s.opt.Service || !s.opt.StandIn || serr != nil || !fi.Mode().IsRegular() || errors.Is(err, fs.ErrPermission) {
		return err // a matter of the configuration, or of who runs this
	}
	return s.openNothing(err)
}

// cantBeWritten says whether an error is of a file system or a file that may only be read, or has no room for what belongs beside
// the file.
func cantBeWritten(err error) bool {
	return errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) ||
		errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, fs.ErrPermission)
}

func (s *Store) openForWriting() error {
	if s.opt.Service {
		sweep(s.path)
	}
	err := prepareFile(s.path)
	if err == nil && s.opt.Service {
		err = prepareLog(s.path)
	}
	if errors.Is(err, syscall.ENOSPC) && s.giveUpReserve() {
		err = nil // a log that is not filled beforehand does, and the room for deleting is there
	}
	if err == nil {
		err = s.connectAll(storeDSN(s.path, openWriting...))
	}
	if err == nil {
		err = diskError(s.migrate())
	}
	if err != nil {
		return err
	}
	s.salts, err = s.logSalts()
	if err != nil {
		return err
	}
	return s.startClock()
}

// openForReading opens a file that can't be written, because of why. Its mail can be read.
func (s *Store) openForReading(why error) error {
	err := s.connectAll(storeDSN(s.path, openReading...))
	if err == nil {
		err = s.sameSchema()
	}
	if err != nil {
		s.disconnect()
		err = s.connectAll(storeDSN(s.path, openImmutable...))
		if err == nil {
			err = s.sameSchema()
		}
		if err == nil {
			l, lerr := readLog(s.path+"-wal", nil)
			if lerr != nil || len(l.frames) > 0 {
				s.log.Error("store: the newest mail is in the log, which can't be read beside a file that can't be written", "file", s.path, "err", lerr)
			}
		}
	}
	if err != nil {
		return errors.Join(err, why)
	}
	if errors.Is(why, errHeader) {
		s.damagedBy(why)
	} else {
		s.forbid(fmt.Errorf("%w: %s can't be written (%w); mail is neither taken nor sent until it can be", ErrReadOnly, s.path, why))
		s.log.Error("store: the file can only be read", "file", s.path, "err", why)
		s.canBeWritten = make(chan struct{})
		s.crew.Keep(&s.bg, "store waiting to write", s.quit, s.waitToWrite)
	}
	s.reading = true
	return s.startClock()
}

// CanBeWritten returns a channel that is closed when a file that could only be read can be written again: then open it anew. It is nil, and so
// never ready, for every other file.
func (s *Store) CanBeWritten() <-chan struct{} { return s.canBeWritten }

// waitToWrite looks now and then whether the file, and one beside it, can be written.
func (s *Store) waitToWrite() {
	s.every(writeAgain, func() {
		f, err := os.OpenFile(s.path, os.O_RDWR, 0)
		if err != nil {
			return
		}
		f.Close()
		f, err = os.CreateTemp(filepath.Dir(s.path), logTemporary)
		if err != nil {
			return
		}
		_, err = f.Write(make([]byte, logFill)) // and there is room, too
		f.Close()
		os.Remove(f.Name())
		if err != nil {
			return
		}
		select {
		case <-s.canBeWritten:
		default:
			close(s.canBeWritten)
		}
	})
}

// openNothing puts an empty database in memory in the place of a file that can't be opened, because of why. Nothing is read from the
// file and nothing is written to it, but the appliance runs and says so.
func (s *Store) openNothing(why error) error {
	err := s.connectAll(storeDSN(fmt.Sprintf("/postino-%x", rand.Int64()), openStandIn...))
	if err == nil {
		err = s.migrate()
	}
	if err != nil {
		return errors.Join(why, err)
	}
	s.unreadable = fmt.Errorf("%w: %s (%w; %w)", ErrUnreadable, s.path, ErrReadOnly, why)
	s.forbid(s.unreadable)
	s.log.Error("store: the file can't be opened, and nothing is written into it; `postino rescue` brings back what is in it, `postino restore` puts a backup in its place",
		"file", s.path, "err", why)
	return s.startClock()
}

// Unreadable says why nothing of the file can be read, or nil. Then the store is empty, and whoever looks for a user or for mail
// in it would give a wrong answer. It wraps ErrUnreadable and ErrReadOnly.
func (s *Store) Unreadable() error { return s.unreadable }

// connectAll makes the connections: the writer's, the checkpointer's and the readers'.
func (s *Store) connectAll(dsn string) error {
	var err error
	s.db, err = sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	s.db.SetMaxIdleConns(0)
	s.w, err = s.connect(dsn, "PRAGMA cache_size=-4000")
	if err != nil {
		return err
	}
	s.ck, err = s.connect(dsn, "PRAGMA cache_size=-64", "PRAGMA busy_timeout=0")
	if err != nil {
		return err
	}
	err = s.w.one(`SELECT page_size FROM pragma_page_size`, nil, &s.pageSize)
	if err != nil {
		return err
	}
	s.countFree()
	for range s.opt.Readers {
		r, err := s.connect(dsn, "PRAGMA cache_size=-1000", "PRAGMA query_only=1")
		if err != nil {
			return err
		}
		s.all = append(s.all, r)
		s.readers <- r
	}
	return nil
}

// disconnect closes what connectAll has made, for another try.
func (s *Store) disconnect() {
	for range s.all {
		<-s.readers
	}
	if s.db == nil {
		return
	}
	for _, c := range append(s.all, s.ck, s.w) {
		if c != nil {
			c.Close()
		}
	}
	s.db.Close()
	s.db, s.w, s.ck, s.all = nil, nil, nil, nil
}

// noCancel is the context of every statement: a cancelable context costs a goroutine for each statement.
var noCancel = context.Background()

func (s *Store) connect(dsn string, pragmas ...string) (*dbConn, error) {
	c, err := openConn(dsn)
	if err != nil {
		return nil, diskError(err)
	}
	err = c.keepLog(true)
	for _, p := range pragmas {
		if err == nil {
			err = c.run(p)
		}
	}
	if err != nil {
		c.Close()
		return nil, diskError(err)
	}
	return c, nil
}

// Close waits for what is under way, writes down the time and that the file is whole, and closes it. If nobody else has the file open, its
// log is then copied into it and removed: a copy of the one file is whole, and a file that is put in its place finds no log.
// A damaged file is left as it is, with its log.
func (s *Store) Close() error {
	s.closing.Lock()
	if s.closed {
		s.closing.Unlock()
		return nil
	}
	s.closed = true
	close(s.quit)
	close(s.jobs)
	s.closing.Unlock()
	<-s.stopped
	s.bg.Wait()
	damaged := s.Damaged() != nil && !s.reading && s.unreadable == nil // what is only read is not written to at the end either
	var err error
	if s.Damaged() == nil && s.opt.Service {
		err = s.w.run(`INSERT OR REPLACE INTO settings(key,value) VALUES('clean','1'),('clock',?)`, s.clockText(s.Now()))
	}
	if s.wal != nil {
		s.wal.Close()
	}
	for range s.all {
		<-s.readers // nobody is reading any more
	}
	conns := append(s.all, s.w)
	if !damaged {
		conns = append(conns, s.ck)
	} // else it stays open till the end of the process: SQLite copies the log when the last connection is closed
	for _, c := range conns {
		if s.Damaged() == nil {
			err = errors.Join(err, c.keepLog(false))
		}
		err = errors.Join(err, c.Close())
	}
	if damaged {
		return err
	}
	return errors.Join(err, s.db.Close())
}
