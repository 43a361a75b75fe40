// Figures about the file and the disk it is on.
package main

import (
	"os"
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
func (s *Store) Stat() (StoreStat, error) {
	var st StoreStat
	if fi, err := os.Stat(s.path); err == nil {
		st.File = fi.Size()
	}
	if fi, err := os.Stat(s.path + "-wal"); err == nil {
		st.WAL = fi.Size()
	}
	st.DiskFree, st.DiskTotal, _ = diskSpace(s.path)
	err := s.Read(func(tx *Tx) error {
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
