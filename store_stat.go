// Figures about the file and the disk it is on.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// StoreStat is how big everything is.
type StoreStat struct {
	File, WAL           int64 // octets
	FileFree            int64 // of the file: what deleted mail has left in it, which is used again
	DiskFree, DiskTotal int64 // octets; 0 where the system does not say
	Users, Mailboxes    int64
	Messages, Bytes     int64 // of all mailboxes; content that several share counts for each
}

// Stat counts. It reads the mailboxes' counters and no message.
func (s *Store) Stat() (st StoreStat, err error) {
	if fi, err := os.Stat(s.path); err == nil {
		st.File = fi.Size()
	}
	if fi, err := os.Stat(s.path + "-wal"); err == nil {
		st.WAL = fi.Size()
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(s.path), &fs); err == nil {
		st.DiskFree, st.DiskTotal = int64(fs.Bavail)*int64(fs.Bsize), int64(fs.Blocks)*int64(fs.Bsize)
	}
	err = s.Read(func(tx *Tx) error {
		err := tx.one(`SELECT freelist_count*page_size FROM pragma_freelist_count,pragma_page_size`, nil, &st.FileFree)
		if err != nil {
			return err
		}
		if err := tx.one(`SELECT count(*) FROM users WHERE id<>1`, nil, &st.Users); err != nil {
			return err
		}
		return tx.one(`SELECT count(*), coalesce(sum(n_exists),0), coalesce(sum(bytes),0) FROM mailboxes WHERE owner IS NOT NULL`, nil,
			&st.Mailboxes, &st.Messages, &st.Bytes)
	})
	return st, err
}

// Room returns nil when a message of the given size can be stored and the disk then still holds half as much again
// and a reserve; otherwise ErrDiskFull. Deleting needs no room.
func (s *Store) Room(size int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(s.path), &fs); err != nil {
		return nil // a file system that can't say: the commit will
	}
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < size+size/2+diskReserve {
		return fmt.Errorf("%w: %d MB free", ErrDiskFull, free>>20)
	}
	return nil
}
