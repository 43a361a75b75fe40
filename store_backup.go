// Copies of the file: a backup while everybody goes on, and a backup put back in its place.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	backupTemporary = ".backup-*"                       // a folder for a copy on its way to a browser
	backupPart      = ".part"                           // behind the name of a copy that is being made
	restoreAside    = ".before-restore-20060102-150405" // behind the name of a file that a backup has taken the place of
	validityStep    = 1 << 20                           // what a copy's UIDVALIDITYs are ahead of those that the file can have given meanwhile
)

// settingCopy is in every copy: the first appliance that runs on it gives all mailboxes new UIDVALIDITYs, because the file that it
// takes the place of may have given the same UIDs to other messages.
const settingCopy = "copy"

// Backup writes a consistent copy to path, which must not exist, while everybody goes on reading and writing. It is made under another
// name, readable by its owner only, checked, and has its name when it is whole: after an error there is nothing at path.
func (s *Store) Backup(path string) error { return s.BackupWith(path, nil) }

// BackupWith is Backup of a file that has other values of some settings; of what they were nothing is left in the copy.
func (s *Store) BackupWith(path string, settings map[string][]byte) error {
	if s.unreadable != nil {
		return s.unreadable
	}
	st, err := s.Stat()
	if err != nil {
		return err
	}
	c, err := s.db.Conn(noCancel)
	if errors.Is(err, driver.ErrBadConn) {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	defer c.Close()
	return writeCopy(c, path, st.File-st.FileFree, settings)
}

// writeCopy writes what a connection sees into a new file. It needs about so many octets.
func writeCopy(c *sql.Conn, path string, size int64, settings map[string][]byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w; name a new file", path, ErrExists)
	}
	var disk syscall.Statfs_t
	err := syscall.Statfs(filepath.Dir(path), &disk)
	if free := int64(disk.Bavail) * int64(disk.Bsize); err == nil && free < size+size/16+diskReserve {
		return fmt.Errorf("%w: the copy takes about %d MB, and where %s is to be there are %d MB free, of which %d stay so", ErrDiskFull, size>>20, path, free>>20, diskReserve>>20)
	}
	part := path + backupPart
	lock, err := newPart(part)
	if err != nil {
		return err
	}
	defer lock.Close()
	_, err = c.ExecContext(noCancel, `VACUUM INTO ?`, part)
	if err == nil {
		err = finishCopy(part, settings)
	}
	if err == nil {
		err = lock.Sync()
	}
	if err == nil {
		err = os.Link(part, path) // and not rename, which would take the place of a file that has come meanwhile
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) {
			return errors.Join(os.Rename(part, path), syncDir(path))
		}
	}
	for _, name := range []string{part, part + "-journal"} {
		rerr := os.Remove(name)
		if !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	if err != nil {
		return fmt.Errorf("copy to %s: %w", path, storeError(err))
	}
	return syncDir(path)
}

// newPart makes the file that a copy is written to, empty, and locks it, so that another copy to the same place does not take it for one
// that was left over.
func newPart(part string) (*os.File, error) {
	old, err := os.OpenFile(part, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err == nil {
		err = syscall.Flock(int(old.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			err = os.Remove(part)
		}
		old.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: another copy is being made: %w", part, err)
		}
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// finishCopy makes a copy a file of its own: no log is its own, and it knows that it is a copy. Then it reads all of it.
func finishCopy(part string, settings map[string][]byte) error {
	db, err := sql.Open("sqlite", storeDSN(part, "_busy_timeout=1000", "_journal_mode=DELETE", "_synchronous=FULL"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(noCancel, `INSERT OR REPLACE INTO settings(key,value) VALUES(?,'1'),('clean','1')`, settingCopy)
	if err == nil && len(settings) > 0 {
		_, err = db.ExecContext(noCancel, `PRAGMA secure_delete=ON`)
	}
	for key, value := range settings {
		if err == nil {
			_, err = db.ExecContext(noCancel, `UPDATE settings SET value=? WHERE key=?`, value, key)
		}
	}
	var notes int // of an older program there are none
	if err == nil {
		err = db.QueryRowContext(noCancel, `SELECT count(*) FROM sqlite_schema WHERE name='log_note'`).Scan(&notes)
	}
	if err == nil && notes > 0 {
		_, err = db.ExecContext(noCancel, `UPDATE log_note SET note='`+noteMark+`'||hex(randomblob(8))||' '||hex(randomblob(8)) WHERE id=1`)
	}
	if err == nil {
		err = quickCheck(context.Background(), db)
	}
	return errors.Join(err, db.Close())
}

// renewCopy gives the mailboxes of a copy new UIDVALIDITYs when an appliance opens it for the first time.
func (tx *Tx) renewCopy() error {
	_, err := tx.Setting(settingCopy)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	boxes, err := tx.ints(`SELECT id FROM mailboxes ORDER BY id`)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE settings SET value=value+? WHERE key='uidvalidity'`, validityStep); err != nil {
		return err
	}
	for _, id := range boxes {
		validity, err := tx.counter("uidvalidity", 1)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE mailboxes SET uidvalidity=? WHERE id=?`, validity, id); err != nil {
			return err
		}
	}
	return tx.SetSetting(settingCopy, nil)
}

// Restored is what Restore did.
type Restored struct {
	Aside    string // the name that the file of before has now, "" if there was none; its log is beside it as always
	Users    int64
	Messages int64
	Waiting  int64 // messages in the queue of the backup, which go out again
}

// Restore puts a copy of a backup in the place of the file at path, which nobody may have open. The backup is checked first and stays as it is. What is at
// path, with its log, gets another name beside it. Whenever it is cut short, at path is either the file of before or
// the restored one, whole. Of a setting named in cut the backup may have only the beginning (see BackupWith): it is completed from the
// file of before, if that has the same one.
func Restore(path, backup string, now time.Time, cut ...string) (Restored, error) {
	r, err := lookAtBackup(backup)
	if err != nil {
		return r, err
	}
	fresh := path + ".restored"
	err = os.Remove(fresh) // of a try that was cut short
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	err = withBackup(backup, func(c *sql.Conn) error {
		var size int64
		err := c.QueryRowContext(noCancel, `SELECT (page_count-freelist_count)*page_size FROM pragma_page_count,pragma_freelist_count,pragma_page_size`).Scan(&size)
		if err != nil {
			return err
		}
		return writeCopy(c, fresh, size, wholeSettings(c, path, cut))
	})
	if err != nil {
		return r, err
	}
	if _, err := os.Lstat(path); err == nil {
		r.Aside = path + now.Format(restoreAside)
		for _, ext := range []string{"-wal", ""} {
			err := alsoNamed(path+ext, r.Aside+ext)
			if err != nil {
				return r, fmt.Errorf("keep the file of before: %w", err)
			}
		}
		err = syncDir(path)
		if err != nil {
			return r, err
		}
	}
	err = os.Rename(fresh, path) // from here on the old log is that of another file, and is never played (see noteSchema)
	if err == nil {
		err = syncDir(path)
	}
	for _, ext := range []string{"-wal", "-shm"} {
		if err == nil {
			err = os.Remove(path + ext)
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	return r, errors.Join(err, syncDir(path))
}

// wholeSettings are the settings in the file at path that go on where those of the backup end. A file that is not there or can't be read has
// none: it is why there is a restore.
func wholeSettings(backup *sql.Conn, path string, keys []string) map[string][]byte {
	all := map[string][]byte{}
	if _, err := os.Lstat(path); err != nil || whose(path) != nil {
		return nil
	}
	const ask = `SELECT value FROM settings WHERE key=?`
	for _, key := range keys {
		var part, whole []byte
		err := backup.QueryRowContext(noCancel, ask, key).Scan(&part)
		if err != nil {
			continue
		}
		err = withBackup(path, func(c *sql.Conn) error { return c.QueryRowContext(noCancel, ask, key).Scan(&whole) })
		if err == nil && len(whole) > len(part) && bytes.HasPrefix(whole, part) {
			all[key] = whole
		}
	}
	return all
}

// alsoNamed gives a file a second name, or where there are no such, a copy. A file that is not there has none.
func alsoNamed(name, also string) error {
	err := os.Link(name, also)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(also, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = to.ReadFrom(from)
	return errors.Join(err, to.Sync(), to.Close())
}

// withBackup opens a backup for reading. Nothing is written beside it unless it has a log, which belongs to it.
func withBackup(backup string, fn func(*sql.Conn) error) error {
	how := openImmutable
	l, err := readLog(backup+"-wal", nil)
	if err != nil {
		return err
	}
	if len(l.frames) > 0 {
		how = openReading
	}
	db, err := sql.Open("sqlite", storeDSN(backup, how...))
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := db.Conn(noCancel)
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(c)
}

// lookAtBackup refuses what is no whole file of ours.
func lookAtBackup(backup string) (Restored, error) {
	fi, err := os.Stat(backup)
	if err != nil {
		return Restored{}, err
	}
	if !fi.Mode().IsRegular() || fi.Size() == 0 {
		return Restored{}, fmt.Errorf("%s is no backup: name the file that `postino backup` wrote", backup)
	}
	err = whose(backup)
	if err != nil {
		return Restored{}, fmt.Errorf("%s: %w", backup, err)
	}
	foreign, err := foreignLog(backup)
	if err != nil {
		return Restored{}, err
	}
	if foreign {
		return Restored{}, fmt.Errorf("%s-wal was written for another file; take it away first", backup)
	}
	var r Restored
	err = withBackup(backup, func(c *sql.Conn) error {
		err := quickCheck(context.Background(), c)
		if err != nil {
			return fmt.Errorf("%s is damaged (%w); nothing was changed; `postino rescue %s NEW` brings back what is in it", backup, err, backup)
		}
		return c.QueryRowContext(noCancel, `SELECT (SELECT count(*) FROM users WHERE id<>1), (SELECT coalesce(sum(n_exists),0) FROM mailboxes WHERE owner IS NOT NULL),
			(SELECT count(*) FROM queue)`).Scan(&r.Users, &r.Messages, &r.Waiting)
	})
	return r, err
}
