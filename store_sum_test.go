package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// spoilContent changes one octet of what is stored, where it says.
func spoilContent(t *testing.T, st *Store, query string, args ...any) {
	t.Helper()
	mustWrite(t, st, func(tx *Tx) error {
		n, err := tx.exec(query, args...)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d rows", n)
		}
		return err
	})
}

// unpackContent makes content up to an ID what it was before there were pieces, with its sums.
func (tx *Tx) unpackContent(upto BlobID) error {
	ids, err := tx.ints(`SELECT id FROM blobs WHERE id<=? AND codec<>0`, upto)
	for _, n := range ids {
		if err != nil {
			break
		}
		id := BlobID(n)
		var r storedContent
		err = tx.one(`SELECT size,headlen,codec,head,tree FROM blobs WHERE id=?`, []any{id}, &r.size, &r.headLen, &r.codec, &r.head, &r.tree)
		if err != nil {
			return err
		}
		c := r.open(tx.s, id)
		tree, err := c.openTree()
		if err != nil {
			return err
		}
		_, err = tx.exec(`UPDATE blobs SET codec=0,head=?,tree=? WHERE id=?`, c.Head, tree, id)
		for k := int64(0); err == nil && c.headHere()+k*chunkSize < c.Size; k++ {
			place := placeOfChunk(id, k)
			c.at, c.chunkCodec, c.chunkGood = k, r.codec, false
			err = tx.one(`SELECT data FROM chunks WHERE id=?`, []any{place}, &c.chunk)
			if err == nil {
				err = c.checkChunk()
			}
			if err == nil {
				_, err = tx.exec(`UPDATE chunks SET data=? WHERE id=?`, c.chunk, place)
			}
		}
		if err == nil {
			err = tx.sumAgain(id)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// One octet that a card has changed, wherever it is, is found when it is read, by the check, and nothing of it is given out as if it were right.
func TestContentSums(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	texts := []string{"one\n", "two\n", strings.Repeat("three three three\n", 20000), "four\n"} // the third is staged or in many chunks
	for i, x := range texts {
		s.put(t, "ann", "INBOX", fmt.Sprintf("Subject: mail %d\n\n%s", i+1, x), FlagSeen)
	}
	if damaged, err := s.store.DamagedContent(nil); err != nil || len(damaged) != 0 {
		t.Fatalf("%v, %v", damaged, err)
	}
	blobs := map[UID]BlobID{}
	var inbox Mailbox
	mustRead(t, s.store, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			inbox, err = tx.MailboxByName(u.ID, "INBOX")
		}
		if err != nil {
			return err
		}
		return tx.Messages(inbox.ID, 1, ^UID(0), func(m *Message) error { blobs[m.UID] = m.Blob; return nil })
	})
	spoilContent(t, s.store, `UPDATE chunks SET data=substr(data,1,9)||CAST('twp' AS BLOB)||substr(data,13) WHERE id=?`, int64(blobs[2])<<chunkBits)
	spoilContent(t, s.store, `UPDATE chunks SET data=substr(data,1,1000)||x'00'||substr(data,1002) WHERE id=?`, int64(blobs[3])<<chunkBits|3)
	spoilContent(t, s.store, `UPDATE blobs SET head=substr(head,1,20)||x'00'||substr(head,22) WHERE id=?`, blobs[4])
	for uid, want := range map[UID]error{1: nil, 2: ErrContentDamaged, 3: ErrContentDamaged, 4: ErrContentDamaged} {
		c, err := s.store.Content(blobs[uid])
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(c.Reader())
		if !errors.Is(err, want) {
			t.Errorf("reading message %d: %v", uid, err)
		}
	}
	damaged, err := s.store.DamagedContent(nil)
	if err != nil || len(damaged) != 3 || damaged[0].UID != 2 || damaged[0].Mailbox != "INBOX" || damaged[0].User != "ann@home.arpa" {
		t.Errorf("%+v, %v", damaged, err)
	}
	c := dialIMAP(t, s, "ann@home.arpa")
	c.ok("SELECT INBOX")
	got, tagged := c.do("FETCH 1,2,4 BODY[]")
	if len(got) != 1 || !strings.Contains(got[0], "one") || !strings.HasPrefix(tagged, "NO [CORRUPTION] 2 of") {
		t.Errorf("%q, %q", got, tagged)
	}
	if got, tagged := c.do("FETCH 1:* (UID FLAGS ENVELOPE)"); len(got) != 3 || !strings.HasPrefix(tagged, "NO [CORRUPTION] 1 of") {
		t.Errorf("%q, %q", got, tagged)
	}
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`href="(/box/\d+)"`)
	for uid, want := range map[int]int{1: 200, 2: 503, 3: 503, 4: 503} {
		ann.get(fmt.Sprintf("%s/%d", box, uid))
		if ann.code != want || (want == 503) != strings.Contains(ann.page, "damaged on the disk") {
			t.Errorf("the page of message %d: %d, %.300s", uid, ann.code, ann.page)
		}
	}
	for _, what := range []string{"/eml", "/source", "/print"} {
		if ann.get(fmt.Sprintf("%s/2%s", box, what)); ann.code != 503 {
			t.Errorf("%s of a damaged message: %d", what, ann.code)
		}
	}
	for _, command := range []string{"FETCH 1:* (UID FLAGS)", "SORT (SUBJECT) UTF-8 ALL", "SEARCH SUBJECT mail"} {
		if _, tagged := c.do(command); !strings.HasPrefix(tagged, "OK") {
			t.Errorf("%s: %q", command, tagged)
		}
	}
}

// Content from before there were sums gets its own in the background, once, and is then checked like all other.
func TestContentSumsLater(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	for i := range 30 {
		appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("z", i*9000)), Flags{})
	}
	mustWrite(t, st, func(tx *Tx) error {
		err := tx.unpackContent(20)
		if err == nil {
			_, err = tx.exec(`DELETE FROM content_sums`)
		}
		if err == nil {
			err = tx.SetSetting(settingSumsUpto, []byte("20"))
		}
		return err
	})
	if err := st.Collect(); err != nil {
		t.Fatal(err)
	}
	var without, upto int
	mustRead(t, st, func(tx *Tx) error {
		err := tx.one(`SELECT count(*) FROM blobs WHERE codec=0 AND id NOT IN (SELECT blob FROM content_sums)`, nil, &without)
		if err == nil {
			err = tx.one(`SELECT count(*) FROM settings WHERE key=?`, []any{settingSumsUpto}, &upto)
		}
		return err
	})
	if without != 0 || upto != 0 {
		t.Errorf("%d without sums, %d still to do", without, upto)
	}
	if damaged, err := st.DamagedContent(nil); err != nil || len(damaged) != 0 {
		t.Fatalf("%v, %v", damaged, err)
	}
	spoilContent(t, st, `UPDATE chunks SET data=substr(data,1,10)||x'00'||substr(data,12) WHERE id=?`, 5<<chunkBits)
	if damaged, err := st.DamagedContent(nil); err != nil || len(damaged) != 1 {
		t.Errorf("%v, %v", damaged, err)
	}
}

// The look through the file after the start finds an index that does not fit its table, which a look at content alone does not, and the page of figures
// says so; a whole file has nothing.
func TestLookThrough(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.put(t, "ann", "INBOX", "Subject: x\n\nx\n", FlagSeen)
	waitFor(t, "the first look", func() bool { return !s.store.Looked().Done.IsZero() })
	if l := s.store.Looked(); l.Messages != 0 || len(l.Tables) != 0 {
		t.Errorf("a whole file: %+v", l)
	}
	onWriter(t, s.store, `PRAGMA writable_schema=ON`)
	onWriter(t, s.store, `UPDATE sqlite_schema SET sql='CREATE INDEX messages_modseq ON messages(mailbox,uid)' WHERE name='messages_modseq'`)
	onWriter(t, s.store, `PRAGMA writable_schema=RESET`)
	if bad := s.store.lookAtTables(); len(bad) == 0 || !strings.Contains(bad[0], "messages_modseq") {
		t.Errorf("%q", bad)
	}
}
