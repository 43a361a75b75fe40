package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// storedAfter is the file as it is at a moment, with its log, in a folder of its own: what a kill leaves.
func storedAfter(t *testing.T, path, dir string) string {
	t.Helper()
	copied := filepath.Join(dir, "mail.db")
	for _, ext := range []string{"", "-wal"} {
		// Another process copies it: closing a second descriptor here would drop this process's locks.
		if out, err := exec.Command("cp", path+ext, copied+ext).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return copied
}

func fileSum(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// A backup that is put in the place of the file, by the verb or by hand, is what is there afterwards: never the file of before, never a
// mixture, and the backup itself is as it was. However much came after the backup, and whether the appliance was stopped or killed.
func TestRestore(t *testing.T) {
	t.Parallel()
	later := []int{5, 60, 400, 1500}
	if testing.Short() {
		later = []int{5, 400}
	}
	const before = 40
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, inbox := addTestUser(t, st, "ann")
	text := func(i int) string {
		return fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("0123456789abcde\r\n", 120))
	}
	count := 0
	add := func(upto int) {
		for ; count < upto; count++ {
			appendText(t, st, inbox, text(count), Flags{})
		}
	}
	add(before)
	backup := filepath.Join(dir, "backup.db")
	if err := st.Backup(backup); err != nil {
		t.Fatal(err)
	}
	whole := fileSum(t, backup)
	for _, n := range later {
		add(before + n)
		for _, stopped := range []bool{false, true} {
			for _, how := range []string{"cp", "mv", "restore"} {
				t.Run(fmt.Sprintf("%s %d stopped %v", how, n, stopped), func(t *testing.T) {
					restoreOnce(t, storedAfter(t, path, t.TempDir()), backup, how, stopped, inbox.UIDValidity, before, before+n)
				})
				if fileSum(t, backup) != whole {
					t.Fatal("the backup has changed")
				}
			}
		}
	}
}

func restoreOnce(t *testing.T, path, backup, how string, stopped bool, validity uint32, before, after int) {
	if stopped {
		st, err := OpenStore(path, StoreOptions{Service: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	aside := ""
	switch how {
	case "restore":
		r, err := Restore(path, backup, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if r.Messages != int64(before) {
			t.Errorf("restore says %+v", r)
		}
		aside = r.Aside
	default: // mv is cp to another name and a rename: the backup itself is wanted again
		to := path
		if how == "mv" {
			to += ".new"
		}
		if out, err := exec.Command("cp", backup, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if how == "mv" {
			if err := os.Rename(to, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	restored, validities := path, map[uint32]bool{}
	messages := func(path string) int {
		t.Helper()
		st, err := OpenStore(path, StoreOptions{Service: true, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if err := st.Damaged(); err != nil {
			t.Fatal(err)
		}
		checkStore(t, st)
		mustRead(t, st, func(tx *Tx) error {
			boxes, err := tx.Mailboxes(2)
			if err == nil && path == restored {
				validities[boxes[0].UIDValidity] = true
			}
			return err
		})
		return len(storedUIDs(t, st))
	}
	if n := messages(path); n != before {
		t.Errorf("%d messages, %d were in the backup", n, before)
	}
	if n := messages(path); n != before {
		t.Errorf("at the second start: %d messages", n)
	}
	if len(validities) != 1 || validities[validity] {
		t.Errorf("UIDVALIDITY was %d, and is %v: it should change once", validity, validities)
	}
	if aside != "" {
		if n := messages(aside); n != after {
			t.Errorf("the file of before has %d messages, it had %d", n, after)
		}
	}
}

// storedUIDs lists the messages of all INBOXes.
func storedUIDs(t *testing.T, st *Store) (all []string) {
	t.Helper()
	mustRead(t, st, func(tx *Tx) error {
		all = nil
		users, err := tx.Users()
		if err != nil {
			return err
		}
		for _, u := range users {
			inbox, err := tx.MailboxByName(u.ID, "INBOX")
			if err != nil {
				return err
			}
			err = tx.Messages(inbox.ID, 1, ^UID(0), func(m *Message) error { all = append(all, fmt.Sprint(m.UID)); return nil })
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all
}

// A log that is the file's own is always played: after each commit, in the middle of a copy of the log into the file, and beside a verb.
func TestOwnLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, inbox := addTestUser(t, st, "ann")
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds {
		appendText(t, st, inbox, "Subject: x\r\n\r\n"+noiseText(400000), Flags{}) // some 100 pages: the log begins anew now and then
		if i%7 == 3 {
			verb, err := OpenStore(path, StoreOptions{})
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, verb, func(tx *Tx) error { return tx.SetSetting("x", fmt.Append(nil, i)) })
			verb.Close()
		}
		copied := storedAfter(t, path, t.TempDir())
		foreign, err := foreignLog(copied)
		if foreign || err != nil {
			t.Fatalf("after %d messages the file's own log is said to be foreign: %v, %v", i+1, foreign, err)
		}
		if i%5 == 0 {
			again, err := OpenStore(copied, StoreOptions{Service: true, Alone: true})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(storedUIDs(t, again)); n != i+1 {
				t.Errorf("%d messages of %d", n, i+1)
			}
			again.Close()
		}
	}
	waitFor(t, "a note in the log", func() bool { // it may just begin anew, for the index
		notes := 0
		_, err := readLog(path+"-wal", func(_ uint32, page []byte) {
			if _, ok := pageNote(page); ok {
				notes++
			}
		})
		return notes > 0 && err == nil
	})
}

// text is the note as it stands in the log.
func (n logNote) text() string { return noteMark + n.salts + " " + n.before }

// TestNoteForged: no mail can look like a note.
func TestNoteForged(t *testing.T) {
	t.Parallel()
	page := make([]byte, 4096)
	n := logNote{"0123456789ABCDEF", noteNobody}
	copy(page[8:], bytes.Repeat([]byte(n.text()), 80))
	if _, ok := pageNote(page); ok {
		t.Error("content was taken for a note")
	}
	if got, ok := parseNote(n.text()); !ok || got != n {
		t.Errorf("%v", got)
	}
}

// A backup is not there before it is whole, and neither follows links nor takes the place of anything.
func TestBackupNames(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	appendText(t, st, inbox, "Subject: x\r\n\r\nbody", Flags{})
	dir := t.TempDir()
	path := filepath.Join(dir, "b.db")
	os.WriteFile(path+".part", []byte("half of a backup that was killed"), 0o644)
	if err := st.Backup(path); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 1 {
		t.Errorf("beside the backup: %v", left)
	}
	victim := filepath.Join(dir, "victim")
	os.WriteFile(victim, []byte("mine"), 0o600)
	os.Symlink(victim, filepath.Join(dir, "c.db.part"))
	if err := st.Backup(filepath.Join(dir, "c.db")); err == nil {
		t.Error("a link was followed")
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" {
		t.Errorf("the victim is %q", b)
	}
	os.Symlink(victim, filepath.Join(dir, "d.db"))
	if err := st.Backup(filepath.Join(dir, "d.db")); err == nil {
		t.Error("a link was replaced")
	}
}
