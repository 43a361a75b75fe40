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
	"sync"
	"syscall"
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

// noiseText is text of so many octets that compression makes little smaller.
func noiseText(n int) string { return base64.StdEncoding.EncodeToString(noise(n))[:n] }

// A file whose mail was deleted gives its pages back although the disk has room, and an idle collector writes nothing.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	for range 300 {
		appendText(t, st, inbox, "Subject: x\r\n\r\n"+noiseText(48000), Flags{})
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
	giveBack := sync.OnceFunc(func() { st.readers <- r })
	t.Cleanup(giveBack) // or the store waits for it when the test has failed
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
		appendText(t, st, inbox, "Subject: x\r\n\r\n"+noiseText(400000), Flags{})
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
	giveBack()
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

// takeAll writes a file that leaves so many octets of a small card to others, and returns its name.
func takeAll(t *testing.T, dir string, but int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "others"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	free, _, err := diskSpace(f.Name())
	for block := make([]byte, 4096); err == nil && free > but; free -= int64(len(block)) {
		_, err = f.Write(block)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return f.Name()
}

// TestSmallCard: a card on which the largest message has no room takes all others, also of senders who do not say how large they are. What is
// too large after all is put off, and the reserve stays.
func TestSmallCard(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, 64<<20)
	s := startServerOn(t, filepath.Join(dir, "mail.db"), StoreOptions{})
	takeAll(t, dir, diskReserve+6<<20)
	k := s.talk(t, "smtp")
	k.begin("x@example.com", "ann@home.arpa")
	k.cmd("Subject: small\r\n\r\nx\r\n.", 250)
	k.cmd("MAIL FROM:<x@example.com> SIZE=40000000", 452)
	k.begin("x@example.com", "ann@home.arpa")
	k.cmd("Subject: large\r\n\r\n"+strings.Repeat(strings.Repeat("y", 78)+"\r\n", 5<<20/80)+".", 452)
	k.begin("x@example.com", "ann@home.arpa")
	k.cmd("Subject: small again\r\n\r\nx\r\n.", 250)
	var half []*smtpTalk // of those who send and don't end
	for range 10 {
		k := s.talk(t, "smtp")
		k.begin("x@example.com", "ann@home.arpa")
		io.WriteString(k, strings.Repeat(strings.Repeat("y", 78)+"\r\n", 1<<20/80))
		half = append(half, k)
	}
	k.begin("x@example.com", "ann@home.arpa")
	k.cmd("Subject: small beside half ones\r\n\r\nx\r\n.", 250)
	refused := 0
	for _, k := range half {
		io.WriteString(k, ".\r\n")
		switch code, text := k.reply(); code {
		case 250:
		case 452:
			refused++
		default:
			t.Errorf("%d %s", code, text)
		}
	}
	if refused == 0 {
		t.Error("more than there is room for was taken")
	}
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(map[string]string{"a.bin": strings.Repeat("z", 100_000)}, "do", "attach", "to", "bob@home.arpa")
	ann.want("a.bin")
}

// TestStartOnFullCard: what starts on a card on which nothing is free gives its reserve up, so that mail can be deleted.
func TestStartOnFullCard(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, 64<<20)
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	_, inbox := addTestUser(t, st, "ann")
	for i := range 100 {
		appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("x", 5000)), Flags{})
	}
	st.keepReserve()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	others := takeAll(t, dir, 0)
	st, err = OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Writable(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, st, func(tx *Tx) error { _, err := tx.Expunge(inbox, nil); return err })
	if st.Room(0) == nil {
		t.Error("there is room on a full card")
	}
	os.Remove(others)
	if err := st.Room(0); err != nil {
		t.Error(err)
	}
	appendText(t, st, inbox, "Subject: again\r\n\r\nx", Flags{})
	checkStore(t, st)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
