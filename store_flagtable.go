// Flag tables: the flags of whole mailboxes in memory, so that neither a list of them nor a search for them reads the file.
package main

import (
	"errors"
	"sync"
	"time"
)

// flagTable has the flags that the messages of a mailbox had at a modseq, tombstones included. The file stays the truth: before
// a table is used, it is brought up to date with what has changed since, of which the mailbox's highest modseq tells.
type flagTable struct {
	mu     sync.Mutex // held while it is read or brought up to date, never while anybody is waited for
	first  UID        // there is none below
	bits   []uint16   // FlagBits of each UID from first on, with flagTableGone and flagTableWords, or flagTableNone
	modseq ModSeq     // 0 before it is filled

	used   time.Time // under Store.mu, as octets is
	octets int64
}

const (
	flagTableWords = 1 << 14 // it has keywords beside the bits, which only its row tells
	flagTableGone  = 1 << 15
	flagTableBits  = 14 // that are there for FlagBits
	flagTableEach  = 2  // octets for a UID, of a message that is there or was once

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

// of returns what the table has of a UID.
func (t *flagTable) of(u UID) uint16 {
	if u < t.first || int64(u-t.first) >= int64(len(t.bits)) {
		return flagTableNone
	}
	return t.bits[u-t.first]
}

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
	for i, u := range uids {
		bits[i] = t.of(u)
		if bits[i] != flagTableNone && bits[i]&flagTableWords != 0 {
			return false, nil
		}
	}
	return true, nil
}

// updateFlagTable brings a table up to date. ErrNotFound for a deleted mailbox, errListFull for one that is too large.
func (tx *Tx) updateFlagTable(id MailboxID, t *flagTable) error {
	var highest, pruned ModSeq
	var next UID
	err := tx.one(`SELECT highestmodseq,pruned,uidnext FROM mailboxes WHERE id=? AND owner IS NOT NULL`, []any{id}, &highest, &pruned, &next)
	if err != nil || (t.modseq != 0 && highest <= t.modseq) {
		return err
	}
	if pruned > t.modseq { // tombstones are forgotten of which it has not heard
		t.modseq = 0
	}
	const columns = `SELECT uid,flags,gone,keywords IS NOT NULL FROM messages`
	query, args := columns+` WHERE mailbox=?`, []any{id}
	if t.modseq != 0 {
		from, err := tx.cameAfter(id, t.modseq)
		if err != nil {
			return err
		}
		query = columns + ` INDEXED BY messages_modseq WHERE mailbox=?1 AND modseq>?2 AND modseq<>arrived UNION ALL ` + columns + ` WHERE mailbox=?1 AND uid>=?3`
		args = []any{id, t.modseq, from}
	} else {
		t.first, t.bits = next, nil
		err = tx.one(`SELECT uid FROM messages WHERE mailbox=? ORDER BY uid LIMIT 1`, []any{id}, &t.first)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	size := int(next - t.first)
	if int64(size)*flagTableEach > tx.s.gates.flags {
		t.modseq = 0
		return errListFull
	}
	for known := len(t.bits); known < size; known++ {
		if known == 0 {
			t.bits = make([]uint16, 0, size)
		}
		t.bits = append(t.bits, flagTableNone)
	}
	err = tx.eachRow(query, args, func(row *dbStmt) error {
		b := uint16(row.int(1))
		if row.int(2) != 0 {
			b |= flagTableGone
		}
		if row.int(3) != 0 {
			b |= flagTableWords
		}
		at := row.int(0) - int64(t.first)
		if at < 0 || at >= int64(size) { // no program of ours writes such a row
			return errListFull
		}
		t.bits[at] = b
		return nil
	})
	if err != nil { // it may be half done
		t.modseq = 0
		return err
	}
	t.modseq = highest
	return nil
}

// knownFlags calls fn with the flag table of a mailbox if there is one that is as new as the transaction, and says whether it has. It waits for nobody:
// who has a table waits for readers.
func (tx *Tx) knownFlags(id MailboxID, now ModSeq, fn func(t *flagTable)) bool {
	tx.s.mu.Lock()
	t := tx.s.flags[id]
	tx.s.mu.Unlock()
	if t == nil || !t.mu.TryLock() {
		return false
	}
	defer t.mu.Unlock()
	if t.modseq == 0 || tx.updateFlagTable(id, t) != nil || t.modseq > now {
		return false
	}
	fn(t)
	return true
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
	t.octets = int64(cap(t.bits)) * flagTableEach
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
