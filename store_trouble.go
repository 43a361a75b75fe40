// Trouble: why the file can't be written, for good or just now, and when it can again.
package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

const (
	proveFirst = time.Second // after a commit that failed, until a small one is tried
	proveMost  = time.Minute // and at most between two such tries; it doubles
)

// settingProof is written to see whether anything can be.
const settingProof = "proof"

// trouble is why the file can't be written.
type trouble struct {
	mu     sync.Mutex
	reason error // for as long as the file is open, or until it has been checked: an ErrReadOnly
	failed error // of the last commit, nil when it worked
	next   time.Time
	pause  time.Duration // until next
}

// Damaged says why the file is only read, whatever is tried, or nil. It wraps ErrReadOnly.
func (s *Store) Damaged() error {
	s.trouble.mu.Lock()
	defer s.trouble.mu.Unlock()
	return s.trouble.reason
}

// forbid has every Write fail with the reason from now on, which wraps ErrReadOnly; nil allows them again.
func (s *Store) forbid(reason error) {
	s.trouble.mu.Lock()
	defer s.trouble.mu.Unlock()
	s.trouble.reason = reason
}

// Writable says why the file can't be written as far as is known, or nil: it may only be read (ErrReadOnly), or the last commit
// failed because of the disk (ErrReadOnly, ErrDiskFull). It writes nothing and waits for nobody. After a failure the store itself tries again
// with growing pauses, so that nobody else has to. Who is about to do what must be noted afterwards uses ProveWritable.
func (s *Store) Writable() error {
	s.trouble.mu.Lock()
	defer s.trouble.mu.Unlock()
	if s.trouble.reason != nil {
		return s.trouble.reason
	}
	return s.trouble.failed
}

// ProveWritable commits one small row and returns the error of that, so that nothing goes out to others which could not be
// noted here. It costs a commit. While it is known that the file can't be written, it says so without a try.
func (s *Store) ProveWritable() error {
	err := s.Writable()
	if err != nil {
		return err
	}
	return s.prove()
}

func (s *Store) prove() error {
	return s.Write(func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO settings(key,value) VALUES(?,1) ON CONFLICT(key) DO UPDATE SET value=(value+1)%1000`, settingProof)
		return err
	})
}

// committed notes what became of a commit. Only failures of the disk count, not those of a closure.
func (s *Store) committed(err error) {
	t := &s.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.failed, t.pause = nil, 0
		return
	}
	s.suspect(err)
	if !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrDiskFull) {
		return
	}
	t.failed = err
	t.pause = min(max(2*t.pause, proveFirst), proveMost)
	t.next = time.Now().Add(t.pause)
}

// prover tries from time to time whether a file that could not be written can be again. As long as all is well it does nothing.
func (s *Store) prover() {
	s.every(proveFirst, func() {
		t := &s.trouble
		t.mu.Lock()
		due := t.reason == nil && t.failed != nil && !time.Now().Before(t.next)
		t.mu.Unlock()
		if !due {
			return
		}
		err := s.prove()
		if err != nil && !errors.Is(err, ErrClosed) {
			s.crew.Complain("store: still can't be written", err)
		}
	})
}

// diskError marks an error of SQLite that the disk or the file system is to blame for, so that callers need not know its codes.
func diskError(err error) error {
	code := sqliteCode(err)
	switch code & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case sqlite3.SQLITE_IOERR:
		if code == sqlite3.SQLITE_IOERR_SHMSIZE { // the file beside it that can't grow
			return fmt.Errorf("%w: %w", ErrDiskFull, err)
		}
	}
	return err
}

// commitError is diskError for a transaction that should have been written: what could not be read in it, or is malformed, keeps it
// from being written just as well.
func commitError(err error) error {
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		return err
	}
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}
