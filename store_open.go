// Opening and closing the file.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// prepareFiles creates the database, readable by its owner only, and gives it a WAL full of zeros. A WAL that is there
// already is left alone: it may hold acknowledged mail, or another process may have it open.
func prepareFiles(path, dsn string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if fi.Size() == 0 { // SQLite deletes the WAL of an empty database: make it a database first
		db, err := sql.Open("sqlite", dsn)
		if err == nil {
			_, err = db.ExecContext(noCancel, `CREATE TABLE IF NOT EXISTS settings(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID`)
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return fmt.Errorf("create %s: %w", path, err)
		}
	}
	wal := path + "-wal"
	if _, err := os.Lstat(wal); err == nil {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".wal-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(make([]byte, walBytes))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("prepare %s: %w", wal, err)
	}
	// Link and not rename: if another process was faster, its WAL stays. Without hard links SQLite makes its own.
	if os.Link(tmp.Name(), wal) != nil {
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// open makes the connections, migrates, checks a file that was not closed cleanly, and starts the clock.
func (s *Store) open() error {
	var err error
	s.w, err = s.connect("PRAGMA cache_size=-4000")
	if err != nil {
		return err
	}
	s.ck, err = s.connect("PRAGMA cache_size=-64")
	if err != nil {
		return err
	}
	if err := s.migrate(); err != nil {
		return err
	}
	var clean []byte
	if err := s.w.QueryRowContext(noCancel, `SELECT value FROM settings WHERE key='clean'`).Scan(&clean); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.opt.Service && string(clean) == "0" {
		if err := s.quickCheck(); err != nil {
			s.forbid(fmt.Errorf("%w: %s is damaged (%w); rescue the mail with `postino export`, then restore a backup", ErrReadOnly, s.path, err))
			s.log.Error("store damaged", "file", s.path, "err", err)
		}
	}
	for range s.opt.Readers {
		r, err := s.connect("PRAGMA cache_size=-1000", "PRAGMA query_only=1")
		if err != nil {
			return err
		}
		s.all = append(s.all, r)
		s.readers <- r
	}
	return s.startClock()
}

// noCancel is the context of every statement: a cancelable context costs a goroutine for each statement.
var noCancel = context.Background()

func (s *Store) connect(pragmas ...string) (*dbConn, error) {
	c, err := s.db.Conn(noCancel)
	if err != nil {
		return nil, err
	}
	err = c.Raw(func(dc any) error {
		_, err := dc.(sqlite.FileControl).FileControlPersistWAL("main", 1)
		return err
	})
	for _, p := range pragmas {
		if err == nil {
			_, err = c.ExecContext(noCancel, p)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &dbConn{c, map[string]*sql.Stmt{}}, nil
}

// quickCheck reads the whole file once (about 200 MB/s) and compares its pages and counts, not its indexes.
func (s *Store) quickCheck() error {
	var said string
	if err := s.w.QueryRowContext(noCancel, `PRAGMA quick_check(1)`).Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return errors.New(said)
	}
	return nil
}

// Close waits for what is under way, writes down the time and that the file is whole, and closes it.
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
	var err error
	if s.Damaged() == nil && s.opt.Service {
		_, err = s.w.ExecContext(noCancel, `INSERT OR REPLACE INTO settings(key,value) VALUES('clean','1'),('clock',?)`, s.clockText(s.Now()))
	}
	for range s.all {
		<-s.readers // nobody is reading any more
	}
	for _, c := range append(s.all, s.ck, s.w) {
		for _, st := range c.stmts {
			st.Close()
		}
		c.Close()
	}
	return errors.Join(err, s.db.Close())
}
