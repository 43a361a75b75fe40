package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// listedFlags is what List says of the flags of UIDs, as text.
func listedFlags(t *testing.T, st *Store, box MailboxID, uids []UID, want Want) string {
	t.Helper()
	all := ""
	err := st.List(box, uids, want, func(m *Listed) error {
		all += fmt.Sprintf("%d%s%v ", m.UID, m.Flags, m.Gone)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A flag table says what the file says, whatever happens to a mailbox, and where it can't the file is asked.
func TestFlagTable(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{})
	_, inbox := addTestUser(t, st, "ann")
	r := rand.New(rand.NewPCG(7, 7))
	var uids []UID
	same := func(what string) {
		t.Helper()
		if a, b := listedFlags(t, st, inbox.ID, uids, WantFlags), listedFlags(t, st, inbox.ID, uids, WantBrief); a != b {
			t.Fatalf("after %s the table says\n%s and the file\n%s", what, a, b)
		}
		var with, without []UID
		var unseen, first UID
		mustRead(t, st, func(tx *Tx) (err error) {
			with, _, err = tx.UIDs(inbox.ID, nil)
			if err == nil {
				unseen, err = tx.FirstUnseen(inbox.ID)
			}
			return err
		})
		mustRead(t, st, func(tx *Tx) (err error) {
			without, err = column[UID](tx, `SELECT uid FROM messages WHERE mailbox=? AND NOT gone ORDER BY uid`, inbox.ID)
			if err == nil {
				err = tx.one(`SELECT coalesce(min(uid),0) FROM messages WHERE mailbox=? AND NOT gone AND flags&?=0`, []any{inbox.ID, FlagSeen}, &first)
			}
			return err
		})
		if !slices.Equal(with, without) || unseen != first {
			t.Fatalf("after %s the messages are %v, the first unseen %d, and not %v and %d", what, with, unseen, without, first)
		}
	}
	for range 60 {
		some := uids
		if len(uids) > 5 {
			at := r.IntN(len(uids) - 4)
			some = uids[at : at+4]
		}
		switch r.IntN(5) {
		case 0, 1:
			uids = append(uids, appendText(t, st, inbox, "Subject: x\r\n\r\ny", Flags{Bits: FlagBits(r.IntN(1 << len(flagNames)))}).UID)
			same("an append")
		case 2:
			change := FlagChange{Op: "+-="[r.IntN(3)], Flags: Flags{Bits: FlagBits(r.IntN(1 << len(flagNames)))}, Unchanged: -1}
			mustWrite(t, st, func(tx *Tx) error { _, err := tx.SetFlags(inbox, some, change); return err })
			same("a change of flags")
		case 3:
			change := FlagChange{Op: "+="[r.IntN(2)], Flags: Flags{Words: "word"}, Unchanged: -1}
			mustWrite(t, st, func(tx *Tx) error { _, err := tx.SetFlags(inbox, some, change); return err })
			same("a keyword")
			mustWrite(t, st, func(tx *Tx) error {
				_, err := tx.SetFlags(inbox, uids, FlagChange{Op: '-', Flags: Flags{Words: "word"}, Unchanged: -1})
				return err
			})
			same("its removal")
		case 4:
			mustWrite(t, st, func(tx *Tx) error { _, err := tx.Expunge(inbox, some[:min(1, len(some))]); return err })
			same("an expunge")
		}
	}
	if st.flags[inbox.ID] == nil || st.flags[inbox.ID].modseq == 0 {
		t.Error("there is no table")
	}
	st.forgetFlags(time.Now().Add(2 * flagTableLasts))
	if len(st.flags) != 0 {
		t.Error("the table is not forgotten")
	}
	st.gates.flags = flagTableEach // one UID
	same("all memory was taken")
	if len(st.flags) != 0 {
		t.Error("there is a table that is too large")
	}
	if len(flagNames) > flagTableBits {
		t.Error("a table has no room for all flags")
	}
}

// Tables have a budget: that of the mailbox that was looked at longest ago makes room.
func TestFlagTableBudget(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{})
	u, inbox := addTestUser(t, st, "ann")
	var other Mailbox
	mustWrite(t, st, func(tx *Tx) error {
		var err error
		other, err = tx.CreateMailbox(u.ID, "Other", "")
		return err
	})
	for _, box := range []Mailbox{inbox, other} {
		for range 20 {
			appendText(t, st, box, "Subject: x\r\n\r\ny", Flags{})
		}
	}
	st.gates.flags = 25 * flagTableEach
	for _, box := range []Mailbox{inbox, other, inbox, other} {
		if got := listedFlags(t, st, box.ID, []UID{3, 20, 21}, WantFlags); got != "3()false 20()false " {
			t.Errorf("flags are %q", got)
		}
		if len(st.flags) != 1 || st.flags[box.ID] == nil {
			t.Errorf("there are tables of %d mailboxes", len(st.flags))
		}
	}
}

// What came and what changed after any modseq is found exactly, whatever happened in between: against a look at all rows.
func TestChangesAfterEach(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	r := rand.New(rand.NewPCG(5, 6))
	check := func() {
		mustRead(t, st, func(tx *Tx) error {
			now, err := tx.modseqOf(inbox.ID)
			for since := ModSeq(-1); err == nil && since <= now; since++ {
				after := UID(r.IntN(40))
				var want, got, mods []int64
				err = tx.eachRow(`SELECT uid,modseq FROM messages WHERE mailbox=? ORDER BY uid`, []any{inbox.ID}, func(row *dbStmt) error {
					if ModSeq(row.int(1)) <= since {
						return nil
					}
					mods = append(mods, row.int(1))
					if UID(row.int(0)) > after {
						want = append(want, row.int(0))
					}
					return nil
				})
				if err != nil {
					return err
				}
				_, err = tx.Changes(inbox.ID, since, after, func(m *Message) error { got = append(got, int64(m.UID)); return nil })
				if !slices.Equal(got, want) {
					t.Errorf("after modseq %d and UID %d: %d instead of %d", since, after, got, want)
				}
				some, err := tx.ModSeqs(inbox.ID, since)
				slices.Sort(mods)
				slices.Sort(some)
				if mods = slices.Compact(mods); err != nil || !slices.Equal(some, mods) {
					t.Errorf("after modseq %d: the modseqs %d instead of %d, %v", since, some, mods, err)
				}
			}
			return err
		})
	}
	check()
	for i := range 60 {
		switch n := r.IntN(6); {
		case n < 3:
			appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\n", i), Flags{})
		default:
			var uids []UID
			mustRead(t, st, func(tx *Tx) (err error) { uids, _, err = tx.UIDs(inbox.ID, nil); return err })
			if len(uids) == 0 {
				continue
			}
			at := r.IntN(len(uids))
			some := uids[at:min(at+1+r.IntN(5), len(uids))]
			mustWrite(t, st, func(tx *Tx) error {
				if n == 5 {
					_, err := tx.Expunge(inbox, some[:1])
					return err
				}
				_, err := tx.SetFlags(inbox, some, FlagChange{Op: "+-"[n-3], Flags: Flags{Bits: FlagFlagged}, Unchanged: -1})
				return err
			})
		}
		check()
	}
	if err := st.Collect(); err != nil {
		t.Error(err)
	}
	check()
	onWriter(t, st, `UPDATE messages SET arrived=0 WHERE uid<12`) // as in a file from before
	check()
	checkStore(t, st)
}
