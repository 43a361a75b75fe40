package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Content and index from before there were pieces become pieces in steps, which may be ended at any of them; what somebody has open meanwhile is read on,
// and what is damaged stays as it is and is named.
func TestCompact(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	dice := rand.New(rand.NewPCG(3, 4))
	texts := map[BlobID]string{}
	for i := range 300 {
		text := wearMail(dice, i)
		switch {
		case i%100 == 50:
			text += strings.Repeat(text, 400) // of more than one step
		case i%20 == 0:
			text += strings.Repeat(text, 30) // of several chunks
		}
		m := appendText(t, st, inbox, text, Flags{})
		texts[m.Blob] = text
	}
	if err := st.Index(); err != nil {
		t.Fatal(err)
	}
	var packed, unpacked int64
	size := `SELECT (SELECT sum(length(head)+length(tree)) FROM blobs)+(SELECT sum(length(data)) FROM chunks)+(SELECT sum(length(heads)+length(text)) FROM search)`
	mustWrite(t, st, func(tx *Tx) error {
		err := tx.one(size, nil, &packed)
		if err == nil {
			err = tx.unpackContent(299) // the last one stays as it is
		}
		blocks, berr := tx.ints(`SELECT id FROM search`)
		for _, id := range blocks {
			if berr == nil {
				berr = tx.unpackBlock(id)
			}
		}
		return errors.Join(err, berr, tx.one(size, nil, &unpacked))
	})
	if unpacked < 2*packed {
		t.Fatalf("%d octets in pieces, %d without", packed, unpacked)
	}
	spoilContent(t, st, `UPDATE chunks SET data=CAST(substr(data,1,10)||'!'||substr(data,12) AS BLOB) WHERE id=?`, placeOfChunk(7, 0))

	open := map[BlobID]*Content{}
	for id := range texts {
		c, err := st.Content(id)
		if err != nil {
			t.Fatal(err)
		}
		open[id] = c
	}
	readAll := func() {
		t.Helper()
		for id, c := range open {
			b, err := io.ReadAll(c.Reader())
			if id == 7 {
				if !errors.Is(err, ErrContentDamaged) {
					t.Errorf("the damaged one: %v", err)
				}
			} else if err != nil || string(b) != texts[id] {
				t.Errorf("content %d of %d octets: %d octets, %v", id, len(texts[id]), len(b), err)
			}
		}
	}
	var all Compacted
	rounds := 0
	for ended := true; ended; rounds++ {
		steps := 0
		ended = false
		done, err := st.Compact(func(Compacted) bool {
			steps++
			ended = steps > 2*rounds
			return !ended
		})
		if err != nil || len(done.Damaged) != 1 || done.Damaged[0].UID != 7 {
			if err != nil || done.Seen > 100 {
				t.Fatalf("%+v, %v", done, err)
			}
		}
		all.Changed, all.Blocks, all.Before, all.After = all.Changed+done.Changed, all.Blocks+done.Blocks, all.Before+done.Before, all.After+done.After
		if rounds%3 == 0 {
			readAll()
		}
	}
	readAll()
	if all.Changed != 298 || all.Blocks == 0 || all.After >= all.Before/2 || rounds < 4 {
		t.Errorf("in %d rounds: %+v", rounds, all)
	}
	var left []int64
	var now int64
	mustRead(t, st, func(tx *Tx) error {
		var err error
		left, err = tx.ints(`SELECT id FROM blobs WHERE codec<>1 UNION ALL SELECT blob FROM content_sums UNION ALL SELECT -id FROM search WHERE codec<>1`)
		return errors.Join(err, tx.one(size, nil, &now))
	})
	if len(left) != 2 || left[0] != 7 || left[1] != 7 || now > packed+5000 {
		t.Errorf("%v are left; %d octets are stored, and %d were before", left, now, packed)
	}
	checkStore(t, st)
	if damaged, err := st.DamagedContent(nil); err != nil || len(damaged) != 1 {
		t.Errorf("%v, %v", damaged, err)
	}
}

// The verb says what it has done, and does nothing a second time.
func TestVerbCompact(t *testing.T) {
	t.Parallel()
	c := newTestCommand(t, "domains = [\"home.arpa\"]\n")
	c.want(2, "usage", "", "compact", "all")
	c.want(0, "ann@home.arpa", "secret12\n", "user", "add", "ann@home.arpa")
	mbox := filepath.Join(c.dir, "mbox")
	os.WriteFile(mbox, []byte("From x Thu Jan  1 00:00:00 2026\nSubject: x\n\n"+strings.Repeat("text of it\n", 1000)), 0o600)
	c.want(0, "1 message", "", "import", "ann@home.arpa", mbox)
	st, err := OpenStore(filepath.Join(c.dir, "mail.db"), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, st, func(tx *Tx) error { return tx.unpackContent(1) })
	st.Close()
	c.want(0, "1 messages were made compact, 11 KB became 0 KB", "", "compact")
	c.want(0, "0 messages were made compact", "", "compact")
}
