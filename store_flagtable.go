// Flag tables: the flags of whole mailboxes in memory, so that neither a list of them nor a search for them reads the file.
package main

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// flagTable has the flags that the messages of a mailbox had at a modseq, tombstones included. The file stays the truth: before
// a table is used, it is brought up to date with what has changed since, of which the mailbox's highest modseq tells.
type flagTable struct {
	mu     sync.Mutex // held while it is read or brought up to date, never while anybody is waited for
	uids   []UID      // sorted
	bits   []uint16   // FlagBits of each, with flagTableGone and flagTableWords
	modseq ModSeq     // 0 before it is filled

	used   time.Time // under Store.mu, as octets is
	octets int64
}

const (
	flagTableWords = 1 << 14 // it has keywords beside the bits, which only its row tells
	flagTableGone  = 1 << 15
	flagTableBits  = 14 // that are there for FlagBits
	flagTableEach  = 6  // octets for a message

	flagTableLasts = 5 * time.Minute // after it was used last
)

// listFlags is List for WantFlags: it fills in UID, Gone and the bits of Flags. What it can't tell, because a message has
// keywords or there is no memory for the table, it leaves to the file.
func (s *Store) listFlags(id MailboxID, uids []UID, fn func(*Listed) error) error {
	var bits [listRows]uint16
	for len(uids) > 0 {
		some := uids[:min(len(uids), listRows)]
		uids = uids[len(some):]
		known, err := s.flagsOf(id, some, bits[:])
		if err != nil {
			return err
		}
		if !known {
			if err := s.List(id, some, WantBrief, fn); err != nil {
				return err
			}
			continue
		}
		var m Listed
		for i, u := range some {
			if bits[i] == flagTableNone {
				continue
			}
			m = Listed{Message: Message{UID: u, Flags: Flags{Bits: FlagBits(bits[i] & (1<<flagTableBits - 1))}, Gone: bits[i]&flagTableGone != 0}}
			if err := fn(&m); err != nil {
				return err
			}
		}
	}
	return nil
}

// flagTableNone stands for a message that is not there.
const flagTableNone = 1<<16 - 1

// flagsOf looks sorted UIDs up, and says whether the table knows all that is to be known of them.
func (s *Store) flagsOf(id MailboxID, uids []UID, bits []uint16) (bool, error) {
	t := s.flagTable(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	err := s.Read(func(tx *Tx) error { return tx.updateFlagTable(id, t) })
	if errors.Is(err, ErrNotFound) || errors.Is(err, errListFull) { // the mailbox is being cleared away, or is too large
		s.dropFlagTable(id)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !s.holdFlagTable(id, t) {
		return false, nil
	}
	at := 0
	for i, u := range uids {
		if at >= len(t.uids) || t.uids[at] != u {
			next, _ := slices.BinarySearch(t.uids[min(at, len(t.uids)):], u)
			at += next
		}
		if at >= len(t.uids) || t.uids[at] != u {
			bits[i] = flagTableNone
			continue
		}
		bits[i] = t.bits[at]
		if bits[i]&flagTableWords != 0 {
			return false, nil
		}
		at++
	}
	return true, nil
}

// updateFlagTable brings a table up to date. ErrNotFound for a deleted mailbox, errListFull for one that is too large.
func (tx *Tx) updateFlagTable(id MailboxID, t *flagTable) error {
	var highest ModSeq
	var exists int64
	err := tx.one(`SELECT highestmodseq,n_exists FROM mailboxes WHERE id=? AND owner IS NOT NULL`, []any{id}, &highest, &exists)
	if err != nil || (t.modseq != 0 && highest <= t.modseq) {
		return err
	}
	most := tx.s.gates.flags / flagTableEach
	if exists > most {
		return errListFull
	}
	query := `SELECT uid,flags,gone,keywords IS NOT NULL FROM messages WHERE mailbox=? AND modseq>? ORDER BY uid`
	if t.modseq != 0 {
		query = `SELECT uid,flags,gone,keywords IS NOT NULL FROM messages INDEXED BY messages_modseq WHERE mailbox=? AND modseq>? ORDER BY uid`
	} else {
		t.uids, t.bits = make([]UID, 0, exists), make([]uint16, 0, exists)
	}
	at := 0
	err = tx.eachRow(query, []any{id, t.modseq}, func(row *dbStmt) error {
		u, b := UID(row.int(0)), uint16(row.int(1))
		if row.int(2) != 0 {
			b |= flagTableGone
		}
		if row.int(3) != 0 {
			b |= flagTableWords
		}
		if n := len(t.uids); n == 0 || t.uids[n-1] < u {
			if int64(n) >= most {
				return errListFull
			}
			t.uids, t.bits = append(t.uids, u), append(t.bits, b)
			return nil
		}
		k, found := slices.BinarySearch(t.uids[at:], u)
		at += k
		if found {
			t.bits[at] = b
			return nil
		}
		t.uids, t.bits = slices.Insert(t.uids, at, u), slices.Insert(t.bits, at, b)
		return nil
	})
	if err != nil { // it may be half done
		t.modseq = 0
		return err
	}
	t.modseq = highest
	return nil
}

// flagTable is the table of a mailbox, perhaps an empty one.
func (s *Store) flagTable(id MailboxID) *flagTable {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.flags[id]
	if t == nil {
		t = &flagTable{}
		s.flags[id] = t
	}
	t.used = time.Now()
	return t
}

// holdFlagTable counts the memory of a table that has been brought up to date, and drops those that were used longest ago to make
// room for it. It says whether the table is still the mailbox's.
func (s *Store) holdFlagTable(id MailboxID, t *flagTable) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flags[id] != t {
		return false
	}
	t.octets = int64(cap(t.uids))*4 + int64(cap(t.bits))*2
	var all int64
	for _, x := range s.flags {
		all += x.octets
	}
	for all > s.gates.flags && len(s.flags) > 1 {
		oldest := id
		for k, x := range s.flags {
			if k != id && (oldest == id || x.used.Before(s.flags[oldest].used)) {
				oldest = k
			}
		}
		all -= s.flags[oldest].octets
		delete(s.flags, oldest)
	}
	return true
}

func (s *Store) dropFlagTable(id MailboxID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flags, id)
}

// forgetFlags drops the tables that nobody has used for a while.
func (s *Store) forgetFlags(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.flags {
		if now.Sub(t.used) > flagTableLasts {
			delete(s.flags, id)
		}
	}
}
