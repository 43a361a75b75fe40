package main

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// wearWords are what the mail of TestWear is made of.
var wearWords = strings.Fields(pieceText)

// wearMail is a message of about 4 KB that is like no other.
func wearMail(dice *rand.Rand, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from relay.example.org (relay.example.org [192.0.2.%d]) by mx.example.org; Tue, 24 Nov 2026 08:00:00 +0000\r\n", n%250)
	fmt.Fprintf(&b, "From: Person %d <p%d@example.org>\r\nTo: Ann <ann@home.arpa>\r\nSubject: message %d about %d\r\nMessage-ID: <%d.%d@example.org>\r\n", n%97, n%97, n, dice.Int64(), n, dice.Int64())
	fmt.Fprintf(&b, "Date: Tue, 24 Nov 2026 %02d:%02d:%02d +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", n/3600%24, n/60%60, n%60)
	for line := 0; b.Len() < 4000; {
		w := wearWords[dice.IntN(len(wearWords))]
		if len(w) > 12 {
			w = fmt.Sprint(dice.IntN(10000))
		}
		line += len(w) + 1
		b.WriteString(w)
		if line < 70 {
			b.WriteByte(' ')
			continue
		}
		b.WriteString("\r\n")
		line = 0
	}
	return b.String()
}

// wear counts what is written: the pages in the log by the table or index that they belong to.
type wear struct {
	t     *testing.T
	st    *Store
	inbox Mailbox
	dice  *rand.Rand
	n     int
}

// phase runs fn with an empty log, which must not write so much that it is copied, and returns the KB that it wrote for each of n, log and copy.
func (w *wear) phase(name string, n int, fn func()) float64 {
	w.t.Helper()
	w.copyLog()
	fn()
	l, err := readLog(w.st.path+"-wal", nil)
	if err != nil || w.st.octets(len(l.frames)) >= walFull {
		w.t.Fatalf("%s: %d pages are in the log, %v", name, len(l.frames), err)
	}
	owner := map[uint32]string{1: "(the file's header)"}
	mustRead(w.t, w.st, func(tx *Tx) error {
		return tx.each(`SELECT pageno,name FROM dbstat`, nil, func(scan func(...any) error) error {
			var page uint32
			var table string
			err := scan(&page, &table)
			if page != 1 {
				owner[page] = table
			}
			return err
		})
	})
	pages, distinct := map[string]int{}, map[uint32]bool{}
	for _, f := range l.frames {
		table := owner[f.page]
		if table == "" {
			table = "(free, and maps of pages)"
		}
		pages[table]++
		distinct[f.page] = true
	}
	logged, copied := float64(len(l.frames))/float64(n), float64(len(distinct))/float64(n)
	each := (logged*float64(w.st.pageSize+logFrame) + copied*float64(w.st.pageSize)) / 1000
	w.t.Logf("%-28s %5.2f pages in the log for each, %5.2f copied into the file: %5.1f KB", name, logged, copied, each)
	for _, table := range slices.SortedFunc(maps.Keys(pages), func(a, b string) int { return cmp.Compare(pages[b], pages[a]) }) {
		w.t.Logf("    %-26s %5.2f", table, float64(pages[table])/float64(n))
	}
	return each
}

// copyLog has the log copied and begun anew.
func (w *wear) copyLog() {
	w.t.Helper()
	mustWrite(w.t, w.st, func(tx *Tx) error { return tx.SetSetting("wear", nil) })
	onWriter(w.t, w.st, `PRAGMA wal_checkpoint(RESTART)`)
	mustWrite(w.t, w.st, func(tx *Tx) error { return tx.SetSetting("wear", []byte("x")) }) // so that the log's note is written
}

// deliver delivers so many messages in one commit.
func (w *wear) deliver(batch int) {
	w.t.Helper()
	spools := make([]*Spool, batch)
	for i := range spools {
		w.n++
		spools[i] = spoolOf(w.t, w.st, wearMail(w.dice, w.n))
		if err := w.st.Stage(spools[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	mustWrite(w.t, w.st, func(tx *Tx) error {
		for _, sp := range spools {
			b, err := tx.AddBlob(sp)
			if err == nil {
				_, err = tx.Append(w.inbox, b, Flags{}, time.Unix(int64(w.n), 0))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, sp := range spools {
		sp.Close()
	}
}

// What a message costs a card over its life, in pages: `make wear` prints all of it. More than these bounds is a step back.
func TestWear(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	w := &wear{t: t, st: st, inbox: inbox, dice: rand.New(rand.NewPCG(1, 2))}
	for range 20 {
		w.deliver(20)
	}
	check := func(each, most float64) {
		t.Helper()
		if each > most {
			t.Errorf("%.2f KB for each, and not at most %.2f", each, most)
		}
	}
	check(w.phase("a delivery alone", 50, func() {
		for range 50 {
			w.deliver(1)
		}
	}), 22.5)
	check(w.phase("of 16 in a commit", 160, func() {
		for range 10 {
			w.deliver(16)
		}
	}), 7)
	check(w.phase("of 64 in a commit", 256, func() {
		for range 4 {
			w.deliver(64)
		}
	}), 5.9)
	flag := func(uids ...UID) {
		mustWrite(t, st, func(tx *Tx) error {
			_, err := tx.SetFlags(inbox, uids, FlagChange{Op: '+', Flags: Flags{Bits: FlagSeen}, Unchanged: -1, Known: 1 << 60})
			return err
		})
	}
	check(w.phase("one flag", 50, func() {
		for u := UID(1); u <= 50; u++ {
			flag(u)
		}
	}), 9.5)
	check(w.phase("a flag of 200 at once", 200, func() {
		var uids []UID
		for u := UID(200); u < 400; u++ {
			uids = append(uids, u)
		}
		flag(uids...)
	}), 0.5)
	check(w.phase("expunge, one by one", 50, func() {
		for u := UID(1); u <= 50; u++ {
			mustWrite(t, st, func(tx *Tx) error { _, err := tx.Expunge(inbox, []UID{u}); return err })
		}
	}), 14)
	check(w.phase("clearing away", 50, func() {
		if err := st.Collect(); err != nil {
			t.Error(err)
		}
	}), 3)
	check(w.phase("index", w.n, func() {
		if err := st.Index(); err != nil {
			t.Error(err)
		}
	}), 4.5)
}
