// Room on the disk: what may be taken, the reserve for times of need, and what deleted mail gives back.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	diskReserve  = 16 << 20        // octets kept free on the disk, whatever the caller asks for
	diskLeast    = 4 << 20         // of them, those that must be free on the disk itself and not only in the file
	needReserve  = 4 << 20         // octets of the file that is given up when nothing else is left, see giveUpReserve
	reserveAgain = 5 * time.Minute // before a reserve that was given up is made again, at least
	spooledPart  = 2               // times what is still free beyond the reserve, which incoming spools may have on the disk
	copyRow      = 256             // octets that a copied message takes, about: its content is shared
	giveBackRoom = 4 * diskReserve // free on the disk, below which it is short
	giveBackStep = 128             // pages given back to the disk in one transaction
	giveBackFrom = 1024            // free pages that a file may keep for the next mail
	giveBackPart = 4               // and the part of all pages from which on it gives back although the disk has room
	logTooLong   = 3               // times walBytes from which on a log is cut, where the disk has room
	logCalm      = time.Minute     // for how long it has been that long
)

// diskSpace says how much of the file's disk is free for this user, and how much there is; an error where the system does not say.
func diskSpace(path string) (free, total int64, err error) {
	var disk syscall.Statfs_t
	err = syscall.Statfs(filepath.Dir(path), &disk)
	if err != nil {
		return 0, 0, err
	}
	return int64(disk.Bavail) * int64(disk.Bsize), int64(disk.Blocks) * int64(disk.Bsize), nil
}

// Room returns nil when a message of the given size can be stored and the disk then still holds half as much again
// and a reserve; otherwise ErrDiskFull. Pages that deleted mail has left in the file count as room, because they are used first.
// Deleting needs no room.
func (s *Store) Room(size int64) error { return s.roomBut(size, diskReserve) }

// RoomToCopy is Room for copies of so many messages, which may take half of the reserve: many mail programs delete by copying to Trash.
func (s *Store) RoomToCopy(messages int) error {
	return s.roomBut(int64(messages)*copyRow, diskReserve/2)
}

// RoomFromSpool is Room for content that is on the disk already, in a spool that goes away when it has been stored: until then it is there twice.
// All incoming spools together leave a third of what is free beyond the reserve, so that those who send and don't end keep nobody else's mail away.
func (s *Store) RoomFromSpool(size int64) error {
	disk, inFile, err := s.space()
	full := disk+inFile < size+size/16+diskLeast || s.spooled.Load() > spooledPart*(disk+inFile-diskReserve)
	if err == nil && full {
		return fmt.Errorf("%w: %d MB free on the disk and %d MB in the file", ErrDiskFull, disk>>20, inFile>>20)
	}
	return s.roomBut(size-size/3*2, diskReserve)
}

// space says how many octets are free on the disk and in the file.
func (s *Store) space() (disk, inFile int64, err error) {
	disk, _, err = diskSpace(s.path)
	return disk, s.pageSize * s.freePages.Load(), err
}

func (s *Store) roomBut(size, reserve int64) error {
	disk, inFile, err := s.space()
	if err != nil {
		return nil // a file system that can't say: the commit will
	}
	if disk+inFile < size+size/2+reserve || disk < min(diskLeast, reserve) {
		return fmt.Errorf("%w: %d MB free on the disk and %d MB in the file", ErrDiskFull, disk>>20, inFile>>20)
	}
	return nil
}

// countFree notes how many pages of the file are free. It runs in the writer, and before that at the start.
func (s *Store) countFree() {
	var pages int64
	tx := Tx{s: s, c: s.w}
	err := tx.one(`PRAGMA freelist_count`, nil, &pages)
	if err == nil {
		s.freePages.Store(pages)
	}
}

// giveBack has the file give free pages back to the disk, some at a time: where the disk is short of room all but a few, else
// only when much of the file is free, because each page costs two writes.
func (tx *Tx) giveBack() (func() error, error) {
	var free, all int64
	err := tx.one(`SELECT freelist_count,page_count FROM pragma_freelist_count,pragma_page_count`, nil, &free, &all)
	if err != nil {
		return nil, err
	}
	disk, _, err := diskSpace(tx.s.path)
	short := err == nil && disk < giveBackRoom
	if free <= giveBackFrom || (!short && free < all/giveBackPart) {
		return nil, nil
	}
	pages := min(free-giveBackFrom, giveBackStep)
	return func() error {
		return tx.each(fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, pages), nil, func(func(...any) error) error { return nil })
	}, nil
}

func (s *Store) reserveName() string { return s.path + "-reserve" }

// keepReserve makes the file that is given up in need, of zeros, as soon as the disk has room for it and all that Room keeps.
func (s *Store) keepReserve() {
	if !s.opt.Service || s.Damaged() != nil {
		return
	}
	s.trouble.mu.Lock()
	soon := !s.gaveUp.IsZero() && time.Since(s.gaveUp) < reserveAgain
	s.trouble.mu.Unlock()
	fi, err := os.Lstat(s.reserveName())
	if soon || (err == nil && fi.Size() >= needReserve) {
		return
	}
	free, _, err := diskSpace(s.path)
	if err != nil || free < needReserve+diskReserve {
		return
	}
	err = writeReserve(s.reserveName())
	if err != nil {
		s.crew.Complain("store: the reserve can't be made", err)
	}
}

func writeReserve(name string) error {
	err := os.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, logFill)
	for n := 0; n < needReserve && err == nil; n += len(zeros) {
		_, err = f.Write(zeros)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// giveUpReserve frees the reserve and says whether there was one: what is being written then can be tried again. New mail does not get
// that far, because Room refuses it long before; what does is deleting, logging in and the like.
func (s *Store) giveUpReserve() bool {
	if !s.opt.Service || os.Remove(s.reserveName()) != nil {
		return false
	}
	s.trouble.mu.Lock()
	s.gaveUp = time.Now()
	s.trouble.mu.Unlock()
	s.log.Warn("the disk is full; the reserve is given up so that mail can be deleted", "file", s.path)
	return true
}

// cutLog makes a log short again that a long reader has made grow, when it has been far too long for a while and is not needed.
func (s *Store) cutLog() {
	most := int64(logTooLong * walBytes)
	if disk, _, err := diskSpace(s.path); err == nil && disk < giveBackRoom {
		most = walBytes + walBytes/4
	}
	fi, err := os.Stat(s.path + "-wal")
	if err != nil || fi.Size() <= most || s.Damaged() != nil {
		s.logLong = time.Time{}
		return
	}
	if s.logLong.IsZero() {
		s.logLong = time.Now()
	}
	if time.Since(s.logLong) < s.opt.calm() {
		return
	}
	s.checkpoint.Lock()
	defer s.checkpoint.Unlock()
	var busy, frames, done int
	err = (&Tx{s: s, c: s.ck}).one(`PRAGMA wal_checkpoint(TRUNCATE)`, nil, &busy, &frames, &done)
	if err != nil || busy != 0 {
		return // somebody is reading or writing: the next look will do
	}
	s.logLong = time.Time{}
	err = fillLog(s.path + "-wal")
	if err != nil {
		s.crew.Complain("store: the log can't be filled", err)
	}
	s.log.Info("the log was too long and is short again", "file", s.path, "from", fi.Size())
}

func (o *StoreOptions) calm() time.Duration {
	if o.LogCalm > 0 {
		return o.LogCalm
	}
	return logCalm
}
