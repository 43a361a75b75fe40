package main

import (
	"crypto/sha256"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rescueFile makes a closed file with so many mails in three mailboxes of ann and one of bob, and returns the sums of their contents by
// the mailbox's name.
func rescueFile(t *testing.T, path string, mails int, seed uint64) map[string]map[[32]byte]bool {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, 1))
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	ann, inbox := addTestUser(t, st, "ann")
	_, bobs := addTestUser(t, st, "bob")
	var archive Mailbox
	mustWrite(t, st, func(tx *Tx) error {
		archive, err = tx.MailboxByName(ann.ID, "Archive")
		return err
	})
	all := map[string]map[[32]byte]bool{}
	for i := range mails {
		box := []Mailbox{inbox, inbox, archive, bobs}[i%4]
		size := 200 + dice.IntN(9000)
		if i%20 == 0 {
			size = 100000
		}
		body := ""
		for range size / 20 {
			body += fmt.Sprintf("%d ", dice.Int64())
		}
		text := fmt.Sprintf("From: a@b\r\nMessage-ID: <%d@rescue>\r\nSubject: %d\r\n\r\n%s\r\n", i, i, body)
		appendText(t, st, box, text, Flags{Bits: FlagBits(i % 3)})
		if all[box.Name+fmt.Sprint(box.Owner)] == nil {
			all[box.Name+fmt.Sprint(box.Owner)] = map[[32]byte]bool{}
		}
		all[box.Name+fmt.Sprint(box.Owner)][sha256.Sum256([]byte(text))] = true
	}
	mustWrite(t, st, func(tx *Tx) error { return tx.unpackContent(BlobID(mails / 3)) })
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// rescuedWhole counts the mails of a rescued file that are whole and where they were, and those that are whole elsewhere. What is not as it
// was stored must be marked.
func rescuedWhole(t *testing.T, path string, want map[string]map[[32]byte]bool) (placed, elsewhere int) {
	t.Helper()
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Damaged(); err != nil {
		t.Fatal(err)
	}
	checkStore(t, st)
	known := map[[32]byte]bool{}
	for _, sums := range want {
		for sum := range sums {
			known[sum] = true
		}
	}
	var rows []Message
	var names []string
	mustRead(t, st, func(tx *Tx) error {
		users, err := tx.Users()
		for _, u := range users {
			boxes, err := tx.Mailboxes(u.ID)
			if err != nil {
				return err
			}
			for _, b := range boxes {
				err := tx.Messages(b.ID, 1, ^UID(0), func(m *Message) error {
					if !m.Gone {
						rows, names = append(rows, *m), append(names, b.Name+fmt.Sprint(b.Owner))
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
		return err
	})
	for i, m := range rows {
		c, err := st.Content(m.Blob)
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := io.ReadAll(c.Reader())
		if err != nil {
			continue
		}
		sum := sha256.Sum256(b)
		switch {
		case want[names[i]][sum]:
			placed++
		case known[sum]:
			elsewhere++
		case !strings.Contains(m.Flags.Words, rescueMark):
			t.Errorf("message %d of mailbox %s is not as it was stored, and is not marked: %.300q", m.UID, names[i], b)
		}
	}
	return placed, elsewhere
}

// spoil damages a file as cards do, and says what may be lost: a part of the file.
func spoil(dice *rand.Rand, b []byte, kind string) []byte {
	pages := len(b) / 4096
	page := func() []byte { at := dice.IntN(pages) * 4096; return b[at : at+4096] }
	switch kind {
	case "bit":
		b[dice.IntN(len(b))] ^= 1 << dice.IntN(8)
	case "8 bits":
		for range 8 {
			b[dice.IntN(len(b))] ^= 1 << dice.IntN(8)
		}
	case "page zeroed":
		clear(page())
	case "page random":
		p := page()
		for i := range p {
			p[i] = byte(dice.Uint32())
		}
	case "64 KiB zeroed":
		at := dice.IntN(pages/16) * 65536
		clear(b[at : at+65536])
	case "pages swapped":
		x, y := page(), page()
		was := append([]byte(nil), x...)
		copy(x, y)
		copy(y, was)
	case "page is a copy of another":
		x, y := page(), page()
		copy(x, y)
	case "header bit":
		b[dice.IntN(100)] ^= 1 << dice.IntN(8)
	case "first page zeroed":
		clear(b[:4096])
	case "truncated":
		return b[:len(b)/10+dice.IntN(len(b)*9/10)]
	}
	return b
}

// What is rescued of files that are damaged in all the ways in which cards damage them: nearly all that was not hit itself, in its mailbox.
func TestRescue(t *testing.T) {
	t.Parallel()
	mails, rounds := 400, 4
	if testing.Short() {
		mails, rounds = 200, 1
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	want := rescueFile(t, path, mails, 1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(7, 7))
	for _, x := range []struct {
		kind string
		most float64 // part of the mails that may be lost at each damage
	}{{"none", 0}, {"bit", 0.02}, {"8 bits", 0.1}, {"page zeroed", 0.25}, {"page random", 0.25}, {"64 KiB zeroed", 0.5}, {"pages swapped", 0.5},
		{"page is a copy of another", 0.25}, {"header bit", 0}, {"first page zeroed", 0}, {"truncated", 1}} {
		sum, other := 0, 0
		for round := range rounds {
			broken := spoil(dice, append([]byte(nil), whole...), x.kind)
			from, to := filepath.Join(dir, "broken.db"), filepath.Join(dir, fmt.Sprintf("%s %d.db", x.kind, round))
			os.WriteFile(from, broken, 0o600)
			r, err := Rescue(from, to, nil)
			if err != nil {
				t.Fatalf("%s: %v", x.kind, err)
			}
			placed, elsewhere := rescuedWhole(t, to, want)
			sum, other = sum+placed, other+elsewhere
			if lost := mails - placed - elsewhere; float64(lost) > x.most*float64(mails)*1.0 {
				t.Errorf("%s: %d of %d are lost; %+v", x.kind, lost, mails, *r)
			}
			if b, _ := os.ReadFile(from); string(b) != string(broken) {
				t.Fatal("the damaged file was changed")
			}
			if left, _ := filepath.Glob(from + "-*"); len(left) > 0 {
				t.Fatalf("beside the damaged file: %v", left)
			}
			os.Remove(to)
		}
		t.Logf("%-26s %5d of %5d mails whole and in their mailboxes, %d elsewhere", x.kind, sum, mails*rounds, other)
	}
}

// recoverFiles is how many files TestRescueAgainstRecover damages. SQLITE3 names a sqlite3 that has .recover: Debian's lacks the table
// that it reads pages by (SQLITE_ENABLE_DBPAGE_VTAB).
var recoverFiles = flag.Int("recover", 6, "how many files TestRescueAgainstRecover damages")

// A rescue brings back at least what SQLite's .recover does of the same damaged file, and says of what is not as it was stored that it
// is damaged.
func TestRescueAgainstRecover(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "it drives another program")
	}
	sqlite := recoverer(t)
	mails := 200
	if *recoverFiles > 10 {
		mails = 2000
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	want := rescueFile(t, path, mails, 2)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := map[[32]byte]bool{}
	for _, sums := range want {
		for sum := range sums {
			known[sum] = true
		}
	}
	kinds := []string{"page zeroed", "truncated", "8 bits", "64 KiB zeroed", "page random", "bit", "pages swapped", "page is a copy of another", "truncated", "page zeroed"}
	dice := rand.New(rand.NewPCG(11, 11))
	ours, theirs, all := 0, 0, 0
	for n := range *recoverFiles {
		kind := kinds[n%len(kinds)]
		from, to, rec := filepath.Join(dir, "broken.db"), filepath.Join(dir, fmt.Sprintf("ours%d.db", n)), filepath.Join(dir, fmt.Sprintf("theirs%d.db", n))
		os.WriteFile(from, spoil(dice, append([]byte(nil), whole...), kind), 0o600)
		if _, err := Rescue(from, to, nil); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		placed, elsewhere := rescuedWhole(t, to, want)
		theirOnes := recovered(t, sqlite, from, rec, known)
		ours, theirs, all = ours+placed+elsewhere, theirs+theirOnes, all+mails
		t.Logf("%2d %-26s rescue %4d and %d elsewhere, .recover %4d, of %d", n, kind, placed, elsewhere, theirOnes, mails)
		if placed+elsewhere < theirOnes {
			t.Errorf("%d, %s: the rescue has %d of %d mails whole, .recover %d", n, kind, placed+elsewhere, mails, theirOnes)
		}
		os.Remove(to)
		os.Remove(rec)
	}
	t.Logf("%d files: rescue %d of %d mails whole, .recover %d", *recoverFiles, ours, all, theirs)
}

// recoverer names a sqlite3 that has .recover.
func recoverer(t *testing.T) string {
	name := os.Getenv("SQLITE3")
	if name == "" {
		name = "sqlite3"
	}
	probe := exec.Command(name, filepath.Join(t.TempDir(), "probe.db"), "CREATE TABLE t(a); INSERT INTO t VALUES('probe');", ".recover")
	if out, err := probe.CombinedOutput(); err != nil || !strings.Contains(string(out), "'probe'") {
		skip(t, "no sqlite3 that has .recover (SQLITE3 would name one): ", err, " ", string(out[max(0, len(out)-100):]))
	}
	return name
}

// recovered has sqlite3 bring back a damaged file, and counts the mails that are whole in what it wrote.
func recovered(t *testing.T, sqlite, from, to string, known map[[32]byte]bool) int {
	t.Helper()
	out := exec.Command(sqlite, from, ".recover")
	in := exec.Command(sqlite, to)
	pipe, err := out.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in.Stdin = pipe
	if err := out.Start(); err != nil {
		t.Fatal(err)
	}
	in.Run() // what it can't make of its own output is its loss
	out.Wait()
	db, err := sql.Open("sqlite", to)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	k := newPacker()
	found, err := db.Query(`SELECT id,codec,head FROM blobs WHERE id IN (SELECT blob FROM messages WHERE NOT gone) ORDER BY id`)
	if err != nil {
		return 0 // no such table
	}
	defer found.Close()
	good := map[[32]byte]bool{}
	for found.Next() {
		var id, codec int64
		var text []byte
		if found.Scan(&id, &codec, &text) != nil {
			continue
		}
		if codec == codecPiece {
			text, _ = k.open(text, placeOfHead(BlobID(id)), headMax)
		}
		chunks, err := db.Query(`SELECT id,data FROM chunks WHERE id BETWEEN ? AND ? ORDER BY id`, id<<chunkBits, id<<chunkBits|(1<<chunkBits-1))
		if err != nil {
			continue
		}
		for chunks.Next() {
			var place int64
			var data []byte
			if chunks.Scan(&place, &data) == nil {
				if codec == codecPiece {
					data, _ = k.open(data, place, chunkSize)
				}
				text = append(text, data...)
			}
		}
		chunks.Close()
		if sum := sha256.Sum256(text); known[sum] {
			good[sum] = true
		}
	}
	return len(good)
}

// A rescue reads the log, too, and refuses to write over anything.
func TestRescueLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, inbox := addTestUser(t, st, "ann")
	for i := range 30 {
		appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\nbody", i), Flags{})
	}
	from := storedAfter(t, path, t.TempDir())
	to := filepath.Join(dir, "new.db")
	r, err := Rescue(from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sumTaken(r) != 30 {
		t.Errorf("%+v", r)
	}
	if _, err := Rescue(from, to, nil); err == nil {
		t.Error("the new file was replaced")
	}
}

func sumTaken(r *Rescued) (n int64) {
	for _, b := range r.Boxes {
		n += b.Taken
	}
	return n
}

// An export leaves out what can't be read, says so, and has all else.
func TestExportDamaged(t *testing.T) {
	t.Parallel()
	c := newTestCommand(t, "")
	path := filepath.Join(c.dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	_, inbox := addTestUser(t, st, "ann")
	for i := range 30 {
		appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\nbody %d of a mail\r\n", i, i), Flags{})
	}
	mustWrite(t, st, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM chunks WHERE id>>14 IN (SELECT blob FROM messages WHERE mailbox=? AND uid IN (3,7))`, inbox.ID)
		return err
	})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(c.dir, "export")
	c.want(1, "28 messages of INBOX|2 messages could not be read|postino rescue", "", "export", "ann@home.arpa", out)
	files, _ := filepath.Glob(filepath.Join(out, "*INBOX.mbox"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	b, _ := os.ReadFile(files[0])
	if n := strings.Count(string(b), "\nSubject: "); n != 28 || !strings.Contains(string(b), "body 29 of a mail") {
		t.Errorf("%d messages in the mbox file", n)
	}
}

// The verb rescue says what it brought back, and what it names next works.
func TestVerbRescue(t *testing.T) {
	t.Parallel()
	c := newTestCommand(t, "")
	path := filepath.Join(c.dir, "mail.db")
	rescueFile(t, path, 40, 3)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[18] ^= 4 // which SQLite does not open
	os.WriteFile(path, b, 0o600)
	fresh := filepath.Join(c.dir, "new.db")
	c.want(2, "usage", "", "rescue", path)
	c.want(1, "no such file", "", "rescue", filepath.Join(c.dir, "none"), fresh)
	c.want(0, "20 messages of ann@home.arpa INBOX|has 40 messages|postino restore", "", "rescue", path, fresh)
	c.want(1, "name a new file", "", "rescue", path, fresh)
	c.want(0, "40 messages", "", "restore", fresh)
	c.want(0, "ann@home.arpa|bob@home.arpa", "", "user", "list")
}
