package main

import (
	"bytes"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func openTestStore(tb testing.TB, opt StoreOptions) *Store {
	tb.Helper()
	st, err := OpenStore(filepath.Join(tb.TempDir(), "mail.db"), opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { st.Close() })
	return st
}

func mustWrite(tb testing.TB, st *Store, fn func(*Tx) error) {
	tb.Helper()
	if err := st.Write(fn); err != nil {
		tb.Fatal(err)
	}
}

func mustRead(tb testing.TB, st *Store, fn func(*Tx) error) {
	tb.Helper()
	if err := st.Read(fn); err != nil {
		tb.Fatal(err)
	}
}

// addTestUser makes a user and returns the INBOX.
func addTestUser(tb testing.TB, st *Store, local string) (u User, inbox Mailbox) {
	tb.Helper()
	mustWrite(tb, st, func(tx *Tx) (err error) {
		u, err = tx.AddUser(Addr{local, "home.arpa"}, "", false)
		if err != nil {
			return err
		}
		inbox, err = tx.MailboxByName(u.ID, "INBOX")
		return err
	})
	return u, inbox
}

func spoolOf(tb testing.TB, st *Store, text string) *Spool {
	tb.Helper()
	sp := st.NewSpool(100 << 20)
	if _, err := io.WriteString(sp, text); err != nil {
		tb.Fatal(err)
	}
	return sp
}

func appendText(tb testing.TB, st *Store, m Mailbox, text string, f Flags) (row Message) {
	tb.Helper()
	sp := spoolOf(tb, st, text)
	defer sp.Close()
	mustWrite(tb, st, func(tx *Tx) error {
		b, err := tx.AddBlob(sp)
		if err == nil {
			row, err = tx.Append(m, b, f, tx.s.Now())
		}
		return err
	})
	return row
}

// Content comes back as it went in, from memory and from a spool file, whole and in parts, with fields put in front.
func TestContent(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	for _, size := range []int{0, 1, 1000, chunkSize - 1, chunkSize, chunkSize + 1, spoolMemory, spoolMemory + 1, 3 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = "abcdefghijklmnopqrstuvwxyz\n"[(i*7+i/100)%27]
		}
		text := "Subject: x\r\n\r\n" + string(body)
		sp := spoolOf(t, st, text)
		sp.Prepend([]byte("Received: y\r\n"))
		text = "Received: y\r\n" + text
		var row Message
		mustWrite(t, st, func(tx *Tx) error {
			b, err := tx.AddBlob(sp)
			if err == nil {
				row, err = tx.Append(inbox, b, Flags{}, st.Now())
			}
			return err
		})
		sp.Close()
		c, err := st.Content(row.Blob)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c.Reader())
		if err != nil || string(got) != text {
			t.Fatalf("size %d: %d octets back, %v", size, len(got), err)
		}
		if want := "Received: y\r\nSubject: x\r\n\r\n"; string(c.Head) != want || c.HeadLen != int64(len(want)) {
			t.Errorf("size %d: head %q", size, c.Head)
		}
		for range 50 {
			off, n := rand.IntN(len(text)), rand.IntN(100_000)
			p := make([]byte, n)
			k, err := c.ReadAt(p, int64(off))
			if want := text[off:min(off+n, len(text))]; string(p[:k]) != want || (err != nil && err != io.EOF) {
				t.Fatalf("size %d: ReadAt(%d, %d) = %d octets, %v", size, n, off, k, err)
			}
		}
	}
}

// A closure that fails is rolled back alone, one that panics too, and the others of its batch are committed.
func TestGroupCommit(t *testing.T) {
	st := openTestStore(t, StoreOptions{CommitDelay: 2 * time.Millisecond})
	_, inbox := addTestUser(t, st, "ann")
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			sp := spoolOf(t, st, fmt.Sprintf("Subject: %d\r\n\r\n", i))
			defer sp.Close()
			err := st.Write(func(tx *Tx) error {
				b, err := tx.AddBlob(sp)
				if err != nil {
					return err
				}
				if _, err := tx.Append(inbox, b, Flags{}, st.Now()); err != nil {
					return err
				}
				switch i % 10 {
				case 3:
					return boom
				case 7:
					panic("bang")
				}
				return nil
			})
			if bad := i%10 == 3 || i%10 == 7; bad != (err != nil) || (i%10 == 3 && !errors.Is(err, boom)) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	var uids []UID
	mustRead(t, st, func(tx *Tx) (err error) { uids, _, err = tx.UIDs(inbox.ID, nil); return err })
	if len(uids) != 160 || uids[159] != 160 {
		t.Errorf("%d messages, last UID %d", len(uids), uids[len(uids)-1])
	}
	checkStore(t, st)
}

// Writes go on while readers hold snapshots, and a reader sees nothing that came after its snapshot.
func TestSnapshot(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	mustRead(t, st, func(tx *Tx) error {
		before, _, err := tx.UIDs(inbox.ID, nil)
		appendText(t, st, inbox, "Subject: x\r\n\r\n", Flags{})
		after, _, err2 := tx.UIDs(inbox.ID, nil)
		if len(before) != 0 || len(after) != 0 {
			t.Errorf("a snapshot changed: %v, %v", before, after)
		}
		return errors.Join(err, err2)
	})
}

// Watchers are woken after the commit, never before, and only those of the users it changed.
func TestWatch(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	ann, inbox := addTestUser(t, st, "ann")
	bob, _ := addTestUser(t, st, "bob")
	wakeAnn, stop := st.Watch(ann.ID)
	defer stop()
	wakeBob, stop2 := st.Watch(bob.ID)
	defer stop2()
	appendText(t, st, inbox, "Subject: x\r\n\r\n", Flags{})
	select {
	case <-wakeAnn:
	case <-time.After(testPatience):
		t.Error("nobody was woken")
	}
	select {
	case <-wakeBob:
		t.Error("somebody else was woken")
	default:
	}
}

// checkStore compares everything that is kept twice: counts with rows, references with referrers, and the pages.
func checkStore(tb testing.TB, st *Store) {
	tb.Helper()
	faults, err := st.IntegrityCheck()
	if err != nil || len(faults) > 0 {
		tb.Errorf("integrity: %v %v", faults, err)
	}
	queries := map[string]string{
		"mailbox counts": `SELECT m.id FROM mailboxes m LEFT JOIN (SELECT mailbox, count(*) n, sum(flags&1=0) unseen, sum(flags&8<>0) deleted,
			sum(size) bytes, max(uid) top, max(modseq) mod FROM messages WHERE gone=0 GROUP BY mailbox) x ON x.mailbox=m.id
			WHERE m.owner IS NOT NULL AND (m.n_exists<>coalesce(x.n,0) OR m.n_unseen<>coalesce(x.unseen,0) OR m.n_deleted<>coalesce(x.deleted,0)
			OR m.bytes<>coalesce(x.bytes,0) OR m.uidnext<=coalesce(x.top,0) OR m.highestmodseq<coalesce(x.mod,0))`,
		"modseq above the owner's": `SELECT m.id FROM mailboxes m JOIN users u ON u.id=m.owner WHERE m.highestmodseq>u.modseq`,
		"arrivals that do not grow with the UIDs": `SELECT uid FROM (SELECT uid,modseq,arrived,lag(arrived) OVER (PARTITION BY mailbox ORDER BY uid) AS before FROM messages)
			WHERE arrived<before OR arrived>modseq`,
		"content without chunks": `SELECT id FROM blobs b WHERE NOT EXISTS(SELECT 1 FROM refs WHERE blob=b.id AND n=0) AND
			CASE codec WHEN 0 THEN size>length(head)+(SELECT coalesce(sum(length(data)),0) FROM chunks WHERE id BETWEEN b.id<<14 AND b.id<<14|16383)
			ELSE (size-min(headlen,65536)+65535)/65536>(SELECT count(*) FROM chunks WHERE id BETWEEN b.id<<14 AND b.id<<14|16383) END`,
		"lost content":           `SELECT uid FROM messages WHERE blob<>0 AND blob NOT IN (SELECT id FROM blobs)`,
		"chunks without content": `SELECT id FROM chunks WHERE id>>14 NOT IN (SELECT id FROM blobs)`,
		"counts without content": `SELECT blob FROM refs WHERE blob NOT IN (SELECT id FROM blobs)`,
	}
	mustRead(tb, st, func(tx *Tx) error {
		for what, q := range queries {
			ids, err := tx.ints(q)
			if err != nil || len(ids) > 0 {
				tb.Errorf("%s: %v %v", what, ids, err)
			}
		}
		refs, err := tx.ints(blobRefFaults)
		if err != nil || len(refs) > 0 {
			tb.Errorf("references: %v %v", refs, err)
		}
		return nil
	})
}

// blobRefFaults finds content whose count of references is not what refers to it.
const blobRefFaults = `SELECT id FROM blobs b WHERE coalesce((SELECT n FROM refs WHERE blob=b.id),1)<>(SELECT count(*) FROM messages WHERE blob=b.id)
	+(SELECT count(*) FROM queue WHERE blob=b.id)+(SELECT count(*) FROM letter_files WHERE blob=b.id)`

// Append, flags, copy, move and expunge keep the counts, and Changes tells each change once.
func TestMessages(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	ann, inbox := addTestUser(t, st, "ann")
	_, bobs := addTestUser(t, st, "bob")
	var trash Mailbox
	mustRead(t, st, func(tx *Tx) (err error) { trash, err = tx.MailboxBySpecial(ann.ID, `\Trash`); return err })
	for i := range 10 {
		appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\nbody", i), Flags{})
	}
	changes := func(m Mailbox, since ModSeq) (now ModSeq, said string) {
		var b strings.Builder
		mustRead(t, st, func(tx *Tx) (err error) {
			b.Reset()
			now, err = tx.Changes(m.ID, since, 0, func(x *Message) error {
				fmt.Fprintf(&b, "%d%s", x.UID, x.Flags)
				if x.Gone {
					b.WriteString("gone")
				}
				b.WriteByte(' ')
				return nil
			})
			return err
		})
		return now, strings.TrimSpace(b.String())
	}
	now, _ := changes(inbox, 0)
	var res FlagResult
	mustWrite(t, st, func(tx *Tx) (err error) {
		res, err = tx.SetFlags(inbox, []UID{1, 2, 3, 99}, FlagChange{Op: '+', Flags: Flags{FlagSeen, "blue"}, Unchanged: -1, Known: now})
		return err
	})
	if !slices.Equal(res.Missing, []UID{99}) || res.Stale != nil || res.Modified != nil {
		t.Errorf("SetFlags: %+v", res)
	}
	now2, said := changes(inbox, now)
	if want := `1(\Seen blue) 2(\Seen blue) 3(\Seen blue)`; said != want || now2 != res.ModSeq {
		t.Errorf("changes %q at %d, want %q at %d", said, now2, want, res.ModSeq)
	}
	mustWrite(t, st, func(tx *Tx) (err error) {
		res, err = tx.SetFlags(inbox, []UID{3, 4}, FlagChange{Op: '=', Flags: Flags{Bits: FlagDeleted}, Unchanged: now, Known: now})
		return err
	})
	if !slices.Equal(res.Modified, []UID{3}) {
		t.Errorf("UNCHANGEDSINCE: %+v", res)
	}
	var gone, src, dst []UID
	mustWrite(t, st, func(tx *Tx) (err error) { gone, err = tx.ExpungeDeleted(inbox, nil); return err })
	if !slices.Equal(gone, []UID{4}) {
		t.Errorf("expunged %v", gone)
	}
	mustWrite(t, st, func(tx *Tx) (err error) { src, dst, err = tx.Move(inbox, []UID{1, 4, 5}, trash); return err })
	if !slices.Equal(src, []UID{1, 5}) || !slices.Equal(dst, []UID{1, 2}) {
		t.Errorf("moved %v to %v", src, dst)
	}
	mustWrite(t, st, func(tx *Tx) (err error) { src, dst, err = tx.Copy(inbox, []UID{2, 6}, bobs); return err })
	if !slices.Equal(src, []UID{2, 6}) || !slices.Equal(dst, []UID{1, 2}) {
		t.Errorf("copied %v to %v", src, dst)
	}
	if _, said := changes(inbox, now2); said != `1(\Seen blue)gone 4(\Deleted)gone 5()gone` {
		t.Errorf("changes %q", said)
	}
	if _, said := changes(bobs, 0); said != `1(\Seen blue) 2()` {
		t.Errorf("bob's: %q", said)
	}
	checkStore(t, st)
}

// A tombstone keeps its content as long as a session has not told its client, and no longer.
func TestTombstones(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	row := appendText(t, st, inbox, "Subject: x\r\n\r\nbody", Flags{Bits: FlagDeleted})
	appendText(t, st, inbox, "Subject: y\r\n\r\nbody", Flags{})
	v, err := st.View(inbox.Owner, inbox.ID, 0, row.ModSeq)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, st, func(tx *Tx) error { _, err := tx.ExpungeDeleted(inbox, nil); return err })
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Content(row.Blob); err != nil {
		t.Errorf("content was cleared away under a session: %v", err)
	}
	v.Told(row.ModSeq + 10)
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Content(row.Blob); !errors.Is(err, ErrNotFound) {
		t.Errorf("content is still there: %v", err)
	}
	v.Close()
	checkStore(t, st)
}

// A deleted mailbox and a removed user leave nothing behind, and IDs and UIDVALIDITY are not used again.
func TestRemoval(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	ann, inbox := addTestUser(t, st, "ann")
	var blobs int64
	for range 200 {
		appendText(t, st, inbox, "Subject: x\r\n\r\nbody", Flags{})
	}
	mustWrite(t, st, func(tx *Tx) error { return tx.RemoveUser(ann.ID) })
	_, again := addTestUser(t, st, "ann")
	if again.ID == inbox.ID || again.UIDValidity <= inbox.UIDValidity {
		t.Errorf("INBOX was %d/%d and is now %d/%d", inbox.ID, inbox.UIDValidity, again.ID, again.UIDValidity)
	}
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	mustRead(t, st, func(tx *Tx) error { return tx.one(`SELECT count(*) FROM blobs`, nil, &blobs) })
	if blobs != 1 { // the newest row keeps the counter
		t.Errorf("%d blobs are left", blobs)
	}
	if row := appendText(t, st, again, "Subject: z\r\n\r\n", Flags{}); row.Blob != 201 {
		t.Errorf("content got number %d", row.Blob)
	}
	checkStore(t, st)
}

// TestTakeBackLate has the collector look at what a command has added, and remove it when the command has ended well.
func TestTakeBackLate(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	ann, inbox := addTestUser(t, st, "ann")
	var to Mailbox
	var uids []UID
	for range 3 * stepFirst {
		uids = append(uids, appendText(t, st, inbox, "Subject: x\r\n\r\nx\r\n", Flags{}).UID)
	}
	mustRead(t, st, func(tx *Tx) (err error) { to, err = tx.MailboxBySpecial(ann.ID, `\Archive`); return err })
	var seen []unfinishedPart
	steps := 0
	_, dst, err := st.CopyAll(inbox, uids, to, func(*Tx, []UID) (err error) {
		steps++
		if steps == 2 {
			seen, err = st.unfinished()
		}
		return err
	})
	if err != nil || len(dst) != len(uids) || len(seen) != 1 {
		t.Fatalf("%d copies in %d steps, saw %v: %v", len(dst), steps, seen, err)
	}
	for _, p := range seen {
		if err := st.takeBackPart(p); err != nil {
			t.Fatal(err)
		}
	}
	var here []UID
	mustRead(t, st, func(tx *Tx) (err error) { here, _, err = tx.UIDs(to.ID, nil); return err })
	if len(here) != len(uids) {
		t.Errorf("%d of %d copies are left", len(here), len(uids))
	}
	checkStore(t, st)
}

// CopyAll leaves nothing behind when a step fails, when the power does, and when there is no room.
func TestCopyAll(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	ann, inbox := addTestUser(t, st, "ann")
	var to Mailbox
	var uids []UID
	for range 3 * stepFirst {
		uids = append(uids, appendText(t, st, inbox, "Subject: x\r\n\r\nx\r\n", Flags{}).UID)
	}
	mustRead(t, st, func(tx *Tx) (err error) { to, err = tx.MailboxBySpecial(ann.ID, `\Archive`); return err })
	mine := appendText(t, st, to, "Subject: mine\r\n\r\n", Flags{})
	left := func(st *Store, what string) {
		t.Helper()
		var here []UID
		var notes []int64
		mustRead(t, st, func(tx *Tx) (err error) {
			here, _, err = tx.UIDs(to.ID, nil)
			if err == nil {
				notes, err = tx.ints(`SELECT lo FROM unfinished`)
			}
			return err
		})
		if len(here) != 1 || here[0] != mine.UID || len(notes) > 0 {
			t.Errorf("%s: %v stay, %v are unfinished", what, here, notes)
		}
		checkStore(t, st)
	}
	broken := errors.New("broken")
	dir, steps := t.TempDir(), 0
	copied := func(tx *Tx, dst []UID) error {
		steps++
		if steps == 1 {
			return nil
		}
		for _, ext := range []string{"", "-wal"} { // what a power cut leaves at this moment
			if out, err := exec.Command("cp", st.path+ext, filepath.Join(dir, "mail.db"+ext)).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
		return broken
	}
	if _, _, err := st.CopyAll(inbox, uids, to, copied); !errors.Is(err, broken) {
		t.Errorf("a step that fails: %v", err)
	}
	left(st, "after an error")

	cut, err := OpenStore(filepath.Join(dir, "mail.db"), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, cut, func(tx *Tx) error {
		if uids, _, err := tx.UIDs(to.ID, nil); err != nil || len(uids) != 1+stepFirst {
			t.Errorf("the power cut came at the wrong moment: %d %v", len(uids), err)
		}
		return nil
	})
	cut.Close()
	cut, err = OpenStore(filepath.Join(dir, "mail.db"), StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	left(cut, "after a power cut")

	mustWrite(t, st, func(tx *Tx) error { ann.Messages = 5 * stepFirst; return tx.UpdateUser(ann) })
	if _, _, err := st.CopyAll(inbox, uids, to, copied); !errors.Is(err, ErrQuota) {
		t.Errorf("over quota: %v", err)
	}
	left(st, "over quota")
	mustWrite(t, st, func(tx *Tx) error { ann.Messages = 0; return tx.UpdateUser(ann) })
	src, dst, err := st.CopyAll(inbox, uids, to, func(*Tx, []UID) error { return nil })
	if err != nil || len(src) != len(uids) || len(dst) != len(uids) {
		t.Errorf("copied %d to %d: %v", len(src), len(dst), err)
	}
	mustRead(t, st, func(tx *Tx) error {
		if notes, err := tx.ints(`SELECT lo FROM unfinished`); err != nil || len(notes) > 0 {
			t.Errorf("unfinished when all is done: %v %v", notes, err)
		}
		return nil
	})
	checkStore(t, st)
}

// A quota is kept by append, copy and move between owners, and a move within one owner is free.
func TestQuota(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	ann, inbox := addTestUser(t, st, "ann")
	text := "Subject: x\r\n\r\n" + strings.Repeat("y", 600)
	appendText(t, st, inbox, text, Flags{})
	mustWrite(t, st, func(tx *Tx) error {
		u, err := tx.UserByID(ann.ID)
		u.Quota = 1000
		return errors.Join(err, tx.UpdateUser(u))
	})
	err := st.Write(func(tx *Tx) error { _, _, err := tx.Copy(inbox, []UID{1}, inbox); return err })
	if !errors.Is(err, ErrQuota) {
		t.Errorf("copy: %v", err)
	}
	mustWrite(t, st, func(tx *Tx) error {
		trash, err := tx.MailboxByName(ann.ID, "Trash")
		if err == nil {
			_, _, err = tx.Move(inbox, []UID{1}, trash)
		}
		return err
	})
	checkStore(t, st)
}

// The clock is the latest of the system's, the file's and the build's, and never goes back.
func TestClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	system := time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
	var mu sync.Mutex
	set := func(t time.Time) { mu.Lock(); system = t; mu.Unlock() }
	opt := StoreOptions{Service: true, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return system }}
	open := func() *Store {
		st, err := OpenStore(path, opt)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open()
	if st.Now().Before(buildTime()) || st.ClockTrusted() {
		t.Errorf("1970: %v, trusted %v", st.Now(), st.ClockTrusted())
	}
	later := buildTime().AddDate(1, 0, 0)
	set(later)
	if !st.Now().Equal(later) || !st.ClockTrusted() {
		t.Errorf("synchronised: %v", st.Now())
	}
	set(later.Add(-time.Hour))
	if st.Now().Before(later) {
		t.Errorf("went back to %v", st.Now())
	}
	st.Close()
	set(time.Unix(0, 0))
	st = open()
	if st.Now().Before(later.Truncate(time.Second)) {
		t.Errorf("after a restart in 1970: %v", st.Now())
	}
	st.Close()
}

// When the disk is full writing fails with ErrDiskFull, nothing is lost, and deleting still works.
func TestDiskFull(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	text := "Subject: x\r\n\r\n"
	for len(text) < 16_000 { // what can't be compressed to nothing
		text += crand.Text() + "\r\n"
	}
	row := appendText(t, st, inbox, text, Flags{Bits: FlagDeleted})
	if err := st.onWriter(func(c *dbConn) error {
		var pages int
		return c.one(`PRAGMA max_page_count=160`, nil, &pages)
	}); err != nil {
		t.Fatal(err)
	}
	n, err := 1, error(nil)
	for ; err == nil && n < 1000; n++ {
		sp := spoolOf(t, st, text)
		err = st.Write(func(tx *Tx) error {
			b, err := tx.AddBlob(sp)
			if err == nil {
				_, err = tx.Append(inbox, b, Flags{}, st.Now())
			}
			return err
		})
	}
	if !errors.Is(err, ErrDiskFull) {
		t.Fatalf("after %d messages: %v", n, err)
	}
	c, err := st.Content(row.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c.Reader()); string(got) != text {
		t.Errorf("the first message: %d octets, %v", len(got), err)
	}
	mustWrite(t, st, func(tx *Tx) error { _, err := tx.Expunge(inbox, nil); return err })
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	appendText(t, st, inbox, text, Flags{})
	checkStore(t, st)
}

// A damaged file is not written to; what can be read is read.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	_, inbox := addTestUser(t, st, "ann")
	for i := range 50 {
		appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("z", 9000)), Flags{})
	}
	mustWrite(t, st, func(tx *Tx) error { return tx.SetSetting("clean", []byte("0")) })
	if err := st.onWriter(func(c *dbConn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	st.Close()
	st, _ = OpenStore(path, StoreOptions{})
	mustWrite(t, st, func(tx *Tx) error { return tx.SetSetting("clean", []byte("0")) })
	onWriter(t, st, `PRAGMA wal_checkpoint(TRUNCATE)`)
	st.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)/2/4096*4096:], bytes.Repeat([]byte{0xff}, 4096))
	os.WriteFile(path, b, 0o600)
	st, err = OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if st.Damaged() == nil {
		t.Fatal("the damage was not found")
	}
	if err := st.Write(func(*Tx) error { return nil }); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Write: %v", err)
	}
	mustRead(t, st, func(tx *Tx) error { _, err := tx.Users(); return err })
}

// A second process's change is noticed without anybody telling.
func TestOtherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mail.db")
	st, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ann, inbox := addTestUser(t, st, "ann")
	wake, stop := st.Watch(ann.ID)
	defer stop()
	select {
	case <-wake:
	default:
	}
	other, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	appendText(t, other, inbox, "Subject: x\r\n\r\n", Flags{})
	select {
	case <-wake:
	case <-time.After(testPatience):
		t.Error("nobody noticed")
	}
}

// A backup is whole while others write, and does not replace a file.
func TestBackup(t *testing.T) {
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	for range 20 {
		appendText(t, st, inbox, "Subject: x\r\n\r\nbody", Flags{})
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := st.Backup(path); err != nil {
		t.Fatal(err)
	}
	if err := st.Backup(path); !errors.Is(err, ErrExists) {
		t.Errorf("a second backup to the same file: %v", err)
	}
	copied, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	checkStore(t, copied)
	mustRead(t, copied, func(tx *Tx) error {
		uids, _, err := tx.UIDs(inbox.ID, nil)
		if len(uids) != 20 {
			t.Errorf("%d messages", len(uids))
		}
		return err
	})
}

// A file of a newer program is refused and not touched.
func TestNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	st, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	onWriter(t, st, fmt.Sprintf(`PRAGMA user_version=%d`, len(migrations)+1))
	st.Close()
	if st, err := OpenStore(path, StoreOptions{}); err == nil {
		st.Close()
		t.Error("it was opened")
	} else if !strings.Contains(err.Error(), "newer postino") {
		t.Error(err)
	}
}

// The log has its full size before the first commit, keeps it, and a commit does not make it grow. When the appliance has closed the
// file there is none, and the one file is whole; a verb beside a stopped appliance leaves none either.
func TestWALSize(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mail.db")
	size := func() int64 {
		fi, err := os.Stat(path + "-wal")
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	for range 2 {
		st, err := OpenStore(path, StoreOptions{Service: true})
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, st, func(tx *Tx) error { return tx.SetSetting("x", []byte("y")) })
		if size() != walBytes {
			t.Errorf("the log has %d octets", size())
		}
		verb, err := OpenStore(path, StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, verb, func(tx *Tx) error { return tx.SetSetting("x", []byte("z")) })
		if err := verb.Close(); err != nil {
			t.Error(err)
		}
		if size() != walBytes {
			t.Errorf("after a verb beside it the log has %d octets", size())
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if size() != 0 {
			t.Errorf("a closed file has a log of %d octets", size())
		}
		verb, err = OpenStore(path, StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, verb, func(tx *Tx) error { return tx.SetSetting("x", []byte("y")) })
		if err := verb.Close(); err != nil {
			t.Error(err)
		}
		if size() != 0 {
			t.Errorf("a verb left a log of %d octets", size())
		}
	}
}

func TestFlags(t *testing.T) {
	f, ok := Flags{}.ParseFlag(`\seen`)
	f, ok2 := f.ParseFlag("Zebra")
	f, ok3 := f.ParseFlag("apple")
	f, ok4 := f.ParseFlag("ZEBRA")
	f, ok5 := f.ParseFlag("$forwarded")
	if !ok || !ok2 || !ok3 || !ok4 || !ok5 || f.String() != `(\Seen $Forwarded apple Zebra)` {
		t.Errorf("flags %s", f)
	}
	if _, ok := f.ParseFlag(`\Recent`); ok {
		t.Error(`\Recent can be set`)
	}
	if g := f.Without(Flags{FlagSeen, "zebra"}); g.String() != `($Forwarded apple)` || g.With(Flags{FlagSeen, "Zebra"}) != f {
		t.Errorf("flags %s", g)
	}
	if !f.HasWord("APPLE") || f.HasWord("pear") || !f.Has(Flags{Bits: FlagSeen}) {
		t.Error("Has")
	}
}

// Names that are refused, and some that are not.
func TestMailboxName(t *testing.T) {
	for _, bad := range []string{"", "/a", "a/", "a//b", "a*", "100%", "a\x00b", "a\rb", "\u0085", strings.Repeat("x", 1001), strings.Repeat("a/", 32) + "b", "\xff",
		".", "..", "../x", "a/../b", "x/.", "a/" + strings.Repeat("y", 256)} {
		if err := CheckMailboxName(bad); !errors.Is(err, ErrMailboxName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"INBOX", "a/b/c", "...", ".a", "a.", strings.Repeat("y", 255) + "/" + strings.Repeat("z", 255), "家庭/照片", "Ann's \\ box", "a&b"} {
		if err := CheckMailboxName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}
