package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// unpackBlock makes a block what it was before there were pieces.
func (tx *Tx) unpackBlock(id int64) error {
	b := block{first: BlobID(id)}
	err := tx.one(`SELECT heads,text FROM search WHERE id=?`, []any{id}, &b.heads, &b.text)
	if err != nil {
		return err
	}
	heads, text, err := tx.openTexts(&b, b.heads, b.text, codecPiece)
	if err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE search SET heads=?,text=?,codec=0 WHERE id=?`, heads, text, id)
	return err
}

// TestIndexAgrees sees that every search finds the same with the index, with a part of it, and without, also when
// messages have been deleted.
func TestIndexAgrees(t *testing.T) {
	t.Parallel()
	st, err := OpenStore(t.TempDir()+"/mail.db", StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var inbox Mailbox
	w := newBenchWriter()
	fill := func(from, to int) {
		err := st.Write(func(tx *Tx) error {
			for i := from; i < to; i++ {
				sp := st.NewSpool(1 << 20)
				sp.Write(w.mail(i))
				b, err := tx.AddBlob(sp)
				if err == nil {
					_, err = tx.Append(inbox, b, Flags{}, time.Unix(int64(i), 0))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = st.Write(func(tx *Tx) error {
		u, err := tx.AddUser(Addr{"ann", "home.arpa"}, testSecret(), false)
		if err == nil {
			inbox, err = tx.MailboxByName(u.ID, "INBOX")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	queries := []*Query{}
	text := func(op QueryOp, field, s string) *Query { return &Query{Op: op, Field: field, Text: s} }
	for _, s := range []string{"meeting", "xyzzyneedle", "qqq", "q", "ba", "一丁", "MEETING IS", "example.org", ""} {
		queries = append(queries, text(QueryBody, "", s), text(QueryText, "", s), text(QueryHeader, "From", s), text(QueryHeader, "Subject", s),
			text(QueryHeader, "DKIM-Signature", s), &Query{Op: QueryNot, Kids: []*Query{text(QueryBody, "", s)}},
			&Query{Op: QueryOr, Kids: []*Query{text(QueryBody, "", s), text(QueryHeader, "To", "nobody")}},
			&Query{Op: QueryAnd, Kids: []*Query{text(QueryText, "", s), {Op: QueryInternal, Lo: 100, Hi: 300}}})
	}
	if testing.Short() { // every third: the lists repeat after eight, so each kind and each word stays
		every := queries[:0]
		for i := 0; i < len(queries); i += 3 {
			every = append(every, queries[i])
		}
		queries = every
	}
	queries = append(queries, &Query{Op: QuerySent, Lo: 1704067200, Hi: 1704067200}, text(QueryHeader, "X-None", ""), text(QueryHeader, "References", ""))
	answers := func() (all [][]UID) {
		var uids []UID
		if err := st.Read(func(tx *Tx) (err error) { uids, _, err = tx.UIDs(inbox.ID, nil); return err }); err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			var got []UID
			err := st.Search(inbox.ID, uids, q, func(f []Found) error {
				for _, m := range f {
					got = append(got, m.UID)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, got)
		}
		return all
	}
	compare := func(what string, got, want [][]UID) {
		t.Helper()
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%s: %+v finds %d, not %d", what, *queries[i], len(got[i]), len(want[i]))
			}
		}
	}
	fill(0, 300)
	before := answers()
	if len(before[0]) == 0 || len(before[0]) == 300 {
		t.Fatalf("%d messages have meetings", len(before[0]))
	}
	if err := st.Index(); err != nil {
		t.Fatal(err)
	}
	compare("with the index", answers(), before)
	mustWrite(t, st, func(tx *Tx) error {
		blocks, err := tx.ints(`SELECT id FROM search ORDER BY id`)
		if err != nil || len(blocks) < 4 {
			return fmt.Errorf("%d blocks, %w", len(blocks), err)
		}
		if _, err := tx.exec(`UPDATE search SET text=substr(text,1,50)||x'00'||substr(text,52) WHERE id=?`, blocks[0]); err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE search SET heads=substr(heads,2) WHERE id=?`, blocks[1]); err != nil {
			return err
		}
		return tx.unpackBlock(blocks[2])
	})
	compare("with damaged blocks, and one from before there were pieces", answers(), before)

	fill(300, 330)
	some := answers()
	st.opt.NoIndex = true
	if err := st.Index(); err != nil {
		t.Fatal(err)
	}
	compare("a part and nothing", some, answers())
	st.opt.NoIndex = false
	if err := st.Index(); err != nil {
		t.Fatal(err)
	}

	err = st.Write(func(tx *Tx) error {
		var odd []UID
		for u := UID(1); u < 330; u++ {
			if u%8 != 1 {
				odd = append(odd, u)
			}
		}
		_, err := tx.Expunge(inbox, odd)
		return err
	})
	if err == nil {
		err = st.Collect()
	}
	if err != nil {
		t.Fatal(err)
	}
	var blocks, texts int64
	err = st.Read(func(tx *Tx) error {
		return tx.one(`SELECT count(*), coalesce(sum(length(text)+length(heads)),0) FROM search`, nil, &blocks, &texts)
	})
	if err != nil || blocks < 2 || blocks > 8 || texts > 500_000 {
		t.Errorf("%d blocks with %d octets are left, %v", blocks, texts, err)
	}
	packed := answers()
	st.opt.NoIndex = true
	if err := st.Index(); err != nil {
		t.Fatal(err)
	}
	compare("packed", packed, answers())
}

func TestFold(t *testing.T) {
	for _, test := range []struct{ a, b string }{
		{"Hello", "hELLO"}, {"É", "e\u0301"}, {"ａｂｃ", "ABC"}, {"ΑΎΡΙΟ", "αύριο"}, {"ЁЛКА", "ёлка"}, {"ﬁ", "FI"}, {"ǆ", "Ǆ"}, {"한글", "한글"},
	} {
		a, b := Fold(nil, test.a), Fold(nil, test.b)
		if !bytes.Equal(a, b) {
			t.Errorf("%q folds to %q, %q to %q", test.a, a, test.b, b)
		}
	}
	if got := string(Fold(nil, "中文 straße \xff")); got != "中文 STRAßE \ufffd" {
		t.Errorf("%q", got)
	}
	// Whatever the pieces that it is read in, the folded text is the same.
	long := bytes.Repeat([]byte("aé中😀"), 5000)
	for _, size := range []int{1, 7, 4096} {
		f := newFoldReader(&slowReader{long, size}, foldBuffer)
		var got []byte
		for {
			piece, err := f.next()
			if err == io.EOF {
				break
			}
			got = append(got, piece...)
		}
		if !bytes.Equal(got, Fold(nil, long)) {
			t.Errorf("in pieces of %d: %d octets, want %d", size, len(got), len(Fold(nil, long)))
		}
	}
}

// A phrase is found wherever its lines were broken, and Chinese words are whole across a line end.
func TestFoldBlanks(t *testing.T) {
	for text, want := range map[string]string{
		"a b": "A B", "a \t b": "A B", "a\r\nb": "A B", "a \r\n\r\n b": "A B", "中\r\n文": "中文", "中 文": "中 文", "中\n\n文": "中 文",
		"中\r\na": "中 A", "かな\nカナ": "かなカナ", "한\n글": "한 글", " a ": " A ", "": "", " ": " ", "a\u00a0b": "A B", "\r\n中": " 中",
	} {
		if got := string(foldPhrase(nil, text)); got != string(Fold(nil, want)) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if got := string(foldPhrase([]byte("X: "), text)); got != "X: "+string(Fold(nil, want)) {
			t.Errorf("%q after a name: %q", text, got)
		}
		f := newFoldReader(&slowReader{[]byte(text + "!"), 1}, int64(len(text)))
		f.in = make([]byte, 0, 4) // pieces of one character
		var got []byte
		for {
			piece, err := f.next()
			if err == io.EOF {
				break
			}
			got = append(got, piece...)
		}
		if string(got) != string(foldPhrase(nil, text+"!")) {
			t.Errorf("%q in pieces: %q", text, got)
		}
	}
}

type slowReader struct {
	b []byte
	n int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.n, len(p))], r.b)
	r.b = r.b[n:]
	return n, nil
}

func TestMailKeys(t *testing.T) {
	h := ParseHeader([]byte("Date: Mon, 2 Mar 2026 23:30:00 -0800\r\nFrom: \"Zoë\" <z.x@example.org>\r\nTo: friends: bob@home.arpa;\r\n" +
		"Subject: Re: [list] =?utf-8?Q?Caf=C3=A9?= (fwd)\r\nMessage-ID: <1@x>\r\nReferences: <a@x> <b@x>\r\n\r\n"))
	k := mailKeys(h)
	var got MailKeys
	if !got.parse(k.append(nil)) || fmt.Sprint(got) != fmt.Sprint(*k) {
		t.Errorf("%v is read back as %v", *k, got)
	}
	if k.Day != time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).Unix() || k.Sent != k.Day+31*3600+1800 || !k.Reply ||
		string(k.Subject) != string(Fold(nil, "café")) || string(k.From) != "Z.X" || string(k.To) != "FRIENDS" ||
		string(k.ShowFrom) != string(Fold(nil, "Zoë")) || string(k.ShowTo) != "FRIENDS" || len(k.Refs) != 2 || k.ID != idHash("<1@x>") {
		t.Errorf("%+v", *k)
	}
	for n := range 2 * keySubject {
		k = mailKeys(ParseHeader(append([]byte("Subject: "), bytes.Repeat([]byte("x"), n)...)))
		if !got.parse(k.append(nil)) || string(got.Subject) != string(k.Subject) || len(k.Subject) != min(n, keySubject) {
			t.Fatalf("a subject of %d octets is read back as %q", n, got.Subject)
		}
	}
	empty := mailKeys(nil)
	if !got.parse(empty.append(nil)) || got.Day != noDay || got.ID != 0 || len(got.Refs) != 0 {
		t.Errorf("%+v", got)
	}
}

// FuzzIndexReader sees that damaged columns of the index are read without harm.
func FuzzIndexReader(f *testing.F) {
	w := &indexWriter{}
	for i := range 3 {
		w.entries = append(w.entries, indexEntry{blob: BlobID(10 + i), head: 5, body: 7, cut: i == 1, keys: mailKeys(nil).append(nil)})
	}
	f.Add(w.keys())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := indexReader{keys: b}
		var k MailKeys
		for n := 0; r.next(); n++ {
			if r.head < 0 || r.body < 0 || r.headEnd < r.head || r.bodyEnd < r.body || n > len(b) {
				t.Fatalf("texts end at %d and %d", r.headEnd, r.bodyEnd)
			}
			k.parse(r.indexEntry.keys)
		}
		gramsHave(b, []uint64{1, 2, 3})
	})
}

// TestIndexDamaged sees that content which can't be read spoils neither the index nor the search of what can.
func TestIndexDamaged(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "INBOX", "Subject: one\n\ntea\n", "Subject: two\n\ntea\n", "Subject: three\n\ntea\n")
	err := s.store.Write(func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM chunks WHERE id=?`, 2<<chunkBits)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dialIMAP(t, s, "ann")
	c.ok("SELECT INBOX")
	for range 2 {
		c.is("SEARCH BODY tea", "* SEARCH 1 3")
		c.is("SEARCH SUBJECT two", "* SEARCH 2")
		c.is("SORT (SUBJECT) UTF-8 ALL", "* SORT 1 3 2")
		fillIndex(t, s)
	}
}

// TestIndexFault: a message whose text can't be made is passed over and noted, those after it are indexed, and a search still
// finds what is in it.
func TestIndexFault(t *testing.T) {
	var n atomic.Int64
	st := openTestStore(t, StoreOptions{Inject: func(name string) {
		if name == "index message" && n.Add(1) == 3 {
			panic("injected")
		}
	}})
	_, inbox := addTestUser(t, st, "ann")
	var uids []UID
	for i := range 40 {
		text := fmt.Sprintf("Subject: number%d\r\n\r\nword%d %s", i, i, strings.Repeat("filling of it ", 500))
		uids = append(uids, appendText(t, st, inbox, text, Flags{}).UID)
	}
	if err := st.Index(); err != nil {
		t.Fatal(err)
	}
	last, err := read(st, (*Tx).indexEnd)
	if err != nil || last < 30 {
		t.Errorf("the index ends at %d: %v", last, err)
	}
	faults := st.crew.Faults()
	if len(faults) != 1 || faults[0].Name != "index message" || faults[0].Count != 1 {
		t.Errorf("noted: %+v", faults)
	}
	for _, word := range []string{"word1 ", "word2 ", "number2", "word20 "} {
		var found []Found
		err := st.Search(inbox.ID, uids, &Query{Op: QueryText, Text: word}, func(f []Found) error {
			found = append(found, f...)
			return nil
		})
		if err != nil || len(found) == 0 {
			t.Errorf("%q: %d found, %v", word, len(found), err)
		}
	}
}

// TestSearchFault: a message that a search falls over does not spoil it for all others.
func TestSearchFault(t *testing.T) {
	var n atomic.Int64
	st := openTestStore(t, StoreOptions{Inject: func(name string) {
		if name == "search message" && n.Add(1) == 2 {
			panic("injected")
		}
	}})
	_, inbox := addTestUser(t, st, "ann")
	var uids []UID
	for range 5 {
		uids = append(uids, appendText(t, st, inbox, "Subject: x\r\n\r\nword", Flags{}).UID)
	}
	var found []Found
	err := st.Search(inbox.ID, uids, &Query{Op: QueryBody, Text: "word"}, func(f []Found) error {
		found = append(found, f...)
		return nil
	})
	if err != nil || len(found) != 4 {
		t.Errorf("%d found: %v", len(found), err)
	}
}

// TestIndexWhatIsRead searches and sorts mail that the index has not got: the answers are right, and it is indexed by that, so that
// nothing is read as it lies in the mail a second time, a fault in the first try or not. Who has only a small part of it reads just that.
func TestIndexWhatIsRead(t *testing.T) {
	t.Parallel()
	const mails = 2500
	put := func(st *Store, inbox Mailbox, from, to int) {
		text := strings.Repeat("All work and no play makes Jack a dull boy. ", 10)
		mustWrite(t, st, func(tx *Tx) error {
			for i := from; i < to; i++ {
				sp := spoolOf(t, st, fmt.Sprintf("Subject: number %d\r\n\r\n%s needle%d.\r\n", i, text, i%100))
				defer sp.Close()
				b, err := tx.AddBlob(sp)
				if err != nil {
					return err
				}
				if _, err := tx.Append(inbox, b, Flags{}, st.Now()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	lacks := func(st *Store) int64 {
		n, err := st.indexLacks()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := func(st *Store, inbox Mailbox) (uids []UID) {
		mustRead(t, st, func(tx *Tx) (err error) { uids, _, err = tx.UIDs(inbox.ID, nil); return err })
		return uids
	}
	for _, test := range []struct {
		name string
		work func(st *Store, inbox Mailbox) (int, error)
		want int
	}{
		{"search", func(st *Store, inbox Mailbox) (n int, err error) {
			err = st.Search(inbox.ID, all(st, inbox), &Query{Op: QueryBody, Text: "needle7."}, func(f []Found) error { n += len(f); return nil })
			return n, err
		}, mails / 100},
		{"sort", func(st *Store, inbox Mailbox) (n int, err error) {
			err = st.MailKeys(inbox.ID, all(st, inbox), func(*Message, *MailKeys) error { n++; return nil })
			return n, err
		}, mails},
		{"newest first", func(st *Store, inbox Mailbox) (int, error) {
			return 0, st.IndexFor(mails, time.Now().Add(testPatience))
		}, 0},
	} {
		var fell atomic.Bool
		st := openTestStore(t, StoreOptions{Inject: func(name string) {
			if name == "index block" && fell.CompareAndSwap(false, true) {
				panic("injected")
			}
		}})
		_, inbox := addTestUser(t, st, "ann")
		_, other := addTestUser(t, st, "bob")
		for i := 0; i < mails; i += 500 {
			put(st, inbox, i, i+500)
		}
		if before := lacks(st); before != mails || !st.IndexBehind() {
			t.Fatalf("the index lacks %d before", before)
		}
		for range 2 {
			if n, err := test.work(st, inbox); err != nil || n != test.want {
				t.Errorf("%s: %d, %v", test.name, n, err)
			}
		}
		if st.IndexBehind() || !fell.Load() {
			t.Errorf("after %s the index lacks %d", test.name, lacks(st))
		}
		put(st, other, 0, 300)
		for i := 0; i < mails; i += 500 {
			put(st, inbox, i, i+500)
		}
		before := lacks(st)
		if _, err := test.work(st, other); err != nil {
			t.Error(err)
		}
		if after := lacks(st); test.name != "newest first" && after < before-mails/2 {
			t.Errorf("%s of a few messages indexed those of somebody else: %d are left of %d", test.name, after, before)
		}
		checkStore(t, st)
	}
}
