// Copies of the file, and whether it is whole.
package main

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
)

// Backup writes a consistent copy to path, which must not exist, while everybody goes on reading and writing.
func (s *Store) Backup(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w; name a new file", path, ErrExists)
	}
	c, err := s.db.Conn(noCancel)
	if errors.Is(err, driver.ErrBadConn) {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.ExecContext(noCancel, `VACUUM INTO ?`, path); err != nil {
		return fmt.Errorf("backup to %s: %w", path, storeError(err))
	}
	return os.Chmod(path, 0o600)
}

// IntegrityCheck reads the whole file and checks every page and index; it returns what is wrong, at most 100 lines.
func (s *Store) IntegrityCheck() (faults []string, err error) {
	err = s.Read(func(tx *Tx) error {
		return tx.each(`PRAGMA integrity_check(100)`, nil, func(scan func(...any) error) error {
			var line string
			if err := scan(&line); err != nil {
				return err
			}
			if line != "ok" {
				faults = append(faults, line)
			}
			return nil
		})
	})
	return faults, err
}
