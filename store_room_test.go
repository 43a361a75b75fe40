package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tmpfs mounts a file system of so many octets in memory; without the right to, the test is skipped.
func tmpfs(t *testing.T, size int64) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root may mount a file system of its own")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no tmpfs can be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}

// A card that is full of mail takes mail again when the mail is deleted, and gives the room back to others. Until then the reserve is kept
// by mail, imports, copies and the index; and when others have taken all of it, deleting still works.
func TestFullCard(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, 64<<20)
	st, err := OpenStore(filepath.Join(dir, "mail.db"), StoreOptions{Service: true, LogCalm: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, inbox := addTestUser(t, st, "ann")
	st.keepReserve()
	if fi, err := os.Stat(st.reserveName()); err != nil || fi.Size() != needReserve || fi.Mode().Perm() != 0o600 {
		t.Fatalf("the reserve: %v, %v", fi, err)
	}
	text := "Subject: x\r\n\r\n" + base64.StdEncoding.EncodeToString(noise(36_000)) + "\r\n" // which a file keeps in 36,000 octets
	n := 0
	for ; st.Room(int64(len(text))) == nil && n < 5000; n++ {
		appendText(t, st, inbox, text+fmt.Sprint(n), Flags{})
	}
	if n < 100 || n == 5000 {
		t.Fatalf("%d messages", n)
	}
	if err := st.Index(); err != nil {
		t.Error(err)
	}
	im := &importer{st: st, limit: 1 << 20, box: inbox, tell: func(int) {}}
	if err := im.add(importItem{spool: spoolOf(t, st, text), date: st.Now()}); err == nil {
		err = im.flush()
		if !errors.Is(err, ErrDiskFull) {
			t.Errorf("an import on a full card: %v", err)
		}
	}
	if _, _, err := st.CopyAll(inbox, []UID{1, 2}, inbox, func(*Tx, []UID) error { return nil }); err != nil {
		t.Errorf("copies as for Trash: %v", err)
	}
	if err := st.Backup(filepath.Join(dir, "copy.db")); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a backup on the same card: %v", err)
	}

	f, err := os.Create(filepath.Join(dir, "others"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, strings.NewReader(strings.Repeat("z", 64<<20)))
	f.Close()
	if err == nil {
		t.Fatal("the card is not full")
	}
	if _, _, err := st.CopyAll(inbox, []UID{1, 2}, inbox, func(*Tx, []UID) error { return nil }); !errors.Is(err, ErrDiskFull) {
		t.Errorf("copies on a card that others have filled: %v", err)
	}
	// The log has to grow, because a reader holds it: the reserve is needed.
	r, err := st.db.Conn(noCancel)
	if err != nil {
		t.Fatal(err)
	}
	r.ExecContext(noCancel, `BEGIN; SELECT count(*) FROM messages`)
	for i := range 3 * walBytes / 4096 / 40 {
		mustWrite(t, st, func(tx *Tx) error {
			for k := range 40 {
				if err := tx.SetSetting(fmt.Sprint("filler ", i*40+k), []byte(strings.Repeat("q", 3000))); err != nil {
					return err
				}
			}
			return nil
		})
		if _, err := os.Stat(st.reserveName()); err != nil {
			break // it has been needed
		}
	}
	if _, err := os.Stat(st.reserveName()); err == nil {
		t.Error("the reserve was not needed")
	}
	mustWrite(t, st, func(tx *Tx) error { _, err := tx.Expunge(inbox, nil); return err })
	r.ExecContext(noCancel, `ROLLBACK`)
	r.Close()
	if err := st.Writable(); err != nil {
		t.Error(err)
	}

	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, st, func(tx *Tx) error { _, err := tx.exec(`DELETE FROM settings WHERE key LIKE 'filler %'`); return err })
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "room, as all mail is deleted", func() bool {
		st.cutLog() // as the collector does
		return st.Room(int64(len(text))) == nil
	})
	onWriter(t, st, `PRAGMA wal_checkpoint(PASSIVE)`)
	s, err := st.Stat()
	if err != nil || s.File > 12<<20 {
		t.Errorf("the file has %d MB and %d MB of them are free, %v", s.File>>20, s.FileFree>>20, err)
	}
	appendText(t, st, inbox, text, Flags{})
	st.trouble.mu.Lock()
	st.gaveUp = time.Time{}
	st.trouble.mu.Unlock()
	st.keepReserve()
	if _, err := os.Stat(st.reserveName()); err != nil {
		t.Errorf("the reserve is not there again: %v", err)
	}
	checkStore(t, st)
}

// A file whose mail was deleted gives its pages back although the disk has room, and an idle collector writes nothing.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	text := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 3000)
	for i := range 300 {
		appendText(t, st, inbox, text+fmt.Sprint(i), Flags{})
	}
	pages := func(what string) (n int64) {
		t.Helper()
		mustRead(t, st, func(tx *Tx) error { return tx.one(`PRAGMA `+what, nil, &n) })
		return n
	}
	full := pages("page_count")
	mustWrite(t, st, func(tx *Tx) error { _, err := tx.Expunge(inbox, nil); return err })
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	now, free := pages("page_count"), pages("freelist_count")
	if now > full/2 || free > now/giveBackPart+giveBackFrom {
		t.Errorf("%d pages before, %d after all was deleted, %d of them free", full, now, free)
	}
	mustRead(t, st, func(tx *Tx) error {
		for _, step := range collectSteps {
			if work, err := step(tx); work != nil || err != nil {
				t.Errorf("there is still something to collect: %v", err)
			}
		}
		return nil
	})
	checkStore(t, st)
}

// A log that a long reader has made grow is short again after a while, full of zeros, and loses nothing.
func TestLogShrinks(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true, LogCalm: time.Nanosecond})
	_, inbox := addTestUser(t, st, "ann")
	r, err := st.reader()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.run(`BEGIN; SELECT count(*) FROM messages`); err != nil {
		t.Fatal(err)
	}
	n := 0
	size := func() int64 {
		s, err := st.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return s.WAL
	}
	for ; size() <= logTooLong*walBytes && n < 200; n++ {
		appendText(t, st, inbox, "Subject: x\r\n\r\n"+strings.Repeat("y", 400000), Flags{})
	}
	if n == 200 {
		t.Fatal("the log does not grow")
	}
	st.cutLog()
	if size() <= logTooLong*walBytes {
		t.Error("the log was cut under a reader")
	}
	if err := r.run(`ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	st.readers <- r
	waitFor(t, "the log to be short", func() bool {
		st.cutLog()
		return size() == walBytes
	})
	if got := len(storedUIDs(t, st)); got != n {
		t.Errorf("%d messages of %d", got, n)
	}
	appendText(t, st, inbox, "Subject: x\r\n\r\n", Flags{})
	checkStore(t, st)
}
