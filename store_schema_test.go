package main

import (
	"compress/gzip"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oldFile is a file as the first schema had it, brought forward by the steps up to one of them. It was written by the program of that time:
// two people, an alias, a shared folder, mail with flags, a copy, an expunged message, a draft, and a message that waits in the queue. From step 12 on
// it is what the program of that step made of it, with `postino compact`: all content and index in the pieces of that time.
func oldFile(t *testing.T, step int) string {
	t.Helper()
	made := 1
	if step >= 12 {
		made = 12
	}
	f, err := os.Open(fmt.Sprintf("testdata/schema/%d.db.gz", made))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mail.db")
	os.WriteFile(path, b, 0o600)
	db, err := sql.Open("sqlite", storeDSN(path, openWriting...))
	if err != nil {
		t.Fatal(err)
	}
	for i := made; i < step; i++ {
		if _, err := db.Exec(migrations[i]); err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
	}
	if _, err := db.Exec(fmt.Sprintf(`PRAGMA user_version=%d`, step)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A file that any step of the schema has left opens with today's program, with all of its mail.
func TestOldFiles(t *testing.T) {
	t.Parallel()
	for step := 1; step <= len(migrations); step++ {
		path := oldFile(t, step)
		s := openServer(t, path, StoreOptions{}) // whose queue does not run
		var version, application int
		var queued []QueueItem
		mustRead(t, s.store, func(tx *Tx) error {
			err := tx.one(`SELECT user_version,application_id FROM pragma_user_version,pragma_application_id`, nil, &version, &application)
			if err == nil {
				queued, err = tx.Queue("")
			}
			return err
		})
		if version != len(migrations) || application != applicationID {
			t.Errorf("from step %d: schema %d, application %x", step, version, application)
		}
		if len(queued) != 1 || len(queued[0].Rcpts) != 1 || queued[0].Rcpts[0].Addr.String() != "x@lab2.arpa" {
			t.Errorf("from step %d: the queue is %+v", step, queued)
		}
		c := dialIMAP(t, s, "ann@home.arpa")
		c.ok("SELECT INBOX")
		got, tagged := c.do("UID FETCH 1:* (FLAGS BODY.PEEK[])")
		all := strings.Join(got, "\n")
		if len(got) != 5 || !strings.HasPrefix(tagged, "OK") {
			t.Errorf("from step %d: %d messages, %s", step, len(got), tagged)
		}
		for _, want := range []string{`UID 1 FLAGS (\Seen $Work)`, "the text of mail 0", "the text of mail 4", "Grüße", "0123456789abcdef0123456789abcdef"} {
			if !strings.Contains(all, want) {
				t.Errorf("from step %d: no %q in the inbox", step, want)
			}
		}
		for box, n := range map[string]int{"Archive": 1, "Drafts": 1, "Projects/One": 0} {
			c.ok("SELECT " + box)
			if _, tagged := c.do("NOOP"); !strings.HasPrefix(tagged, "OK") {
				t.Error(tagged)
			}
			got, _ := c.do("UID SEARCH RETURN (COUNT) ALL")
			if len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf("COUNT %d", n)) {
				t.Errorf("from step %d: %s: %q", step, box, got)
			}
		}
		c.ok("SELECT INBOX")
		c.ok(`STORE 1 +FLAGS (\Flagged)`)
		if err := s.store.Collect(); err != nil {
			t.Error(err)
		}
		if damaged, err := s.store.DamagedContent(nil); len(damaged) > 0 || err != nil {
			t.Errorf("from step %d: %v, %v", step, damaged, err)
		}
		checkStore(t, s.store)
		if err := s.store.Backup(filepath.Join(t.TempDir(), "b.db")); err != nil {
			t.Error(err)
		}
	}
}

// A file whose version can't be is left alone, and nothing panics; nor does another program's, a newer one's or one that is no database.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	run := func(name, query string, want error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "mail.db")
		if name == "ours" {
			path = oldFile(t, len(migrations))
		}
		db, err := sql.Open("sqlite", storeDSN(path, "_journal_mode=DELETE"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
		db.Close()
		before := fileSum(t, path)
		if st, err := OpenStore(path, StoreOptions{}); err == nil && st.Damaged() == nil {
			t.Errorf("%s was opened by a verb", query)
			st.Close()
		}
		st, err := OpenStore(path, StoreOptions{Service: true, StandIn: true})
		if err != nil {
			t.Errorf("%s: %v", query, err)
			return
		}
		if err := st.Damaged(); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("%s: %v", query, err)
		}
		if err := st.Write(func(*Tx) error { return nil }); err == nil {
			t.Errorf("%s: it was written to", query)
		}
		st.Close()
		if fileSum(t, path) != before {
			t.Errorf("%s: the file was changed", query)
		}
	}
	run("ours", `PRAGMA user_version=-1`, errHeader)
	run("ours", fmt.Sprintf(`PRAGMA user_version=%d`, len(migrations)+1), errNewer)
	run("other", `CREATE TABLE users(id INTEGER PRIMARY KEY, x); INSERT INTO users VALUES(1,'keep me')`, errNotOurs)
	run("other", `CREATE TABLE moz_places(id INTEGER PRIMARY KEY, x)`, errNotOurs)
}
