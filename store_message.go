// Messages in mailboxes: append, flags, copy, move, expunge, and what changed.
package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Message is a mailbox's row for a message: all but its content.
type Message struct {
	UID      UID
	ModSeq   ModSeq
	Flags    Flags
	Gone     bool   // expunged: a tombstone, kept for those who have not been told
	Blob     BlobID // 0 when a tombstone's content is no longer needed
	Size     int64
	Internal time.Time // INTERNALDATE
	Saved    time.Time // when it came into this mailbox (RFC 8514)
	Thread   int64     // the same for all messages of a conversation, 0 unknown
	Form     Form
}

const (
	messageColumns = `uid,modseq,flags,keywords,gone,blob,size,internal,saved,thread,form`
	maxTombstones  = 20_000 // remembered for each mailbox, so that QRESYNC stays short
)

// messageColumnCount is how many messageColumns there are, and messageBriefCount how many of them readBrief reads.
const (
	messageColumnCount = 11
	messageBriefCount  = 6
)

// readBrief reads the first of messageColumns. Keywords that are those in words share its memory.
func (m *Message) readBrief(row *dbStmt, words *string) {
	m.UID, m.ModSeq, m.Flags.Bits, m.Gone, m.Blob = UID(row.int(0)), ModSeq(row.int(1)), FlagBits(row.int(2)), row.int(4) != 0, BlobID(row.int(5))
	w := row.octets(3)
	if string(w) != *words {
		*words = string(w)
	}
	m.Flags.Words = *words
}

// readRest reads the others.
func (m *Message) readRest(row *dbStmt) {
	m.Size, m.Internal, m.Saved, m.Thread, m.Form = row.int(6), time.Unix(row.int(7), 0), time.Unix(row.int(8), 0), row.int(9), Form(row.int(10))
}

// values are what an INSERT stores in messageColumns.
func (m *Message) values() []any {
	return []any{int64(m.UID), int64(m.ModSeq), int64(m.Flags.Bits), nullWords(m.Flags.Words), m.Gone, int64(m.Blob), m.Size, m.Internal.Unix(), m.Saved.Unix(),
		m.Thread, int64(m.Form)}
}

// eachMessage calls fn for every row of a query for messageColumns. Each Message is only fn's to keep by copying.
func (tx *Tx) eachMessage(query string, args []any, fn func(*Message) error) error {
	words := ""
	var m Message
	return tx.eachRow(query, args, func(row *dbStmt) error {
		m.readBrief(row, &words)
		m.readRest(row)
		return fn(&m)
	})
}

// account is what a transaction knows of a user whose mail it changes.
type account struct {
	modseq  ModSeq // of the changes
	limited bool   // by a quota
}

// bump gives the user's next modseq. All changes of one transaction share it, and the user's watchers will be woken.
func (tx *Tx) bump(user UserID) (ModSeq, error) {
	a, err := tx.account(user)
	return a.modseq, err
}

func (tx *Tx) account(user UserID) (account, error) {
	a, ok := tx.changed[user]
	if ok {
		return a, nil
	}
	err := tx.one(`UPDATE users SET modseq=modseq+1 WHERE id=? RETURNING modseq,quota<>0 OR quota_messages<>0 OR id=?`, []any{user, SharedOwner}, &a.modseq, &a.limited)
	if err != nil {
		return a, fmt.Errorf("modseq of user %d: %w", user, err)
	}
	tx.changed[user] = a
	tx.Touch(user)
	return a, nil
}

// ModSeqs lists the modseqs after since that messages of a mailbox have. One that a later change has replaced is not among
// them, but the later one is.
func (tx *Tx) ModSeqs(id MailboxID, since ModSeq) ([]int64, error) {
	from, err := tx.cameAfter(id, since)
	if err != nil {
		return nil, err
	}
	return tx.ints(`SELECT modseq FROM messages INDEXED BY messages_modseq WHERE mailbox=?1 AND modseq>?2 AND modseq<>arrived
		UNION SELECT modseq FROM messages WHERE mailbox=?1 AND uid>=?3`, id, since, from)
}

// cameAfter is the UID from which on all messages of a mailbox have come after a modseq; those below were there. The newest are looked at
// first, in steps that become longer.
func (tx *Tx) cameAfter(id MailboxID, since ModSeq) (UID, error) {
	var next int64
	err := tx.one(`SELECT uidnext FROM mailboxes WHERE id=?`, []any{id}, &next)
	below, from := int64(0), next // below is known to have been there
	for step := int64(1); err == nil && below+1 < from; step *= 2 {
		look := (below + 1 + from) / 2
		if below == 0 {
			look = max(from-step, 1)
		}
		var uid int64
		var arrived ModSeq
		err = tx.one(`SELECT uid,arrived FROM messages WHERE mailbox=? AND uid>=? ORDER BY uid LIMIT 1`, []any{id, look}, &uid, &arrived)
		switch {
		case errors.Is(err, ErrNotFound):
			from, err = look, nil
		case err == nil && (uid >= from || arrived > since):
			from = look
		case err == nil:
			below = uid
		}
	}
	return UID(from), err
}

// Append puts content into a mailbox. ErrQuota when its owner has no room; ErrTooMany or ErrKeyword when the mailbox can't have
// the keywords.
func (tx *Tx) Append(m Mailbox, b Blob, f Flags, internal time.Time) (Message, error) {
	a, err := tx.account(m.Owner)
	if err == nil && a.limited {
		err = tx.Room(m.Owner, b.Size, 1)
	}
	if err != nil {
		return Message{}, err
	}
	return tx.add(m, b, f, internal)
}

// add is Append without asking for room.
func (tx *Tx) add(m Mailbox, b Blob, f Flags, internal time.Time) (Message, error) {
	if err := tx.refer(b.ID); err != nil {
		return Message{}, err
	}
	rows := []Message{{Flags: f, Blob: b.ID, Size: b.Size, Internal: internal, Saved: tx.s.Now(), Thread: b.Thread, Form: b.Form}}
	if b.Shown > 0 {
		rows[0].Size, rows[0].Form = b.Shown, b.Form|FormSized
	}
	err := tx.insert(m, rows)
	return rows[0], err
}

// insert gives the rows UIDs that follow each other and a modseq in m and counts them. The references to their content
// are taken already.
func (tx *Tx) insert(m Mailbox, rows []Message) error {
	mod, err := tx.bump(m.Owner)
	if err != nil {
		return err
	}
	var unseen, deleted, bytes int64
	words := ""
	for i := range rows {
		r := &rows[i]
		if err := checkMessageWords(r.Flags.Words); err != nil {
			return err
		}
		words = mergeWords(words, r.Flags.Words)
		u, d := counts(r.Flags)
		unseen, deleted, bytes = unseen+u, deleted+d, bytes+r.Size
	}
	if err := tx.addKeywords(m, words); err != nil {
		return err
	}
	var first int64
	err = tx.one(`UPDATE mailboxes SET uidnext=uidnext+?, highestmodseq=?, n_exists=n_exists+?, n_unseen=n_unseen+?,
		n_deleted=n_deleted+?, bytes=bytes+? WHERE id=? AND owner IS NOT NULL RETURNING uidnext-?`,
		[]any{len(rows), mod, len(rows), unseen, deleted, bytes, m.ID, len(rows)}, &first)
	if err != nil {
		return fmt.Errorf("append to mailbox %d: %w", m.ID, err)
	}
	if first+int64(len(rows)) >= 1<<32 { // UIDNEXT has to be a number of 32 bits, too
		return fmt.Errorf("mailbox %d has no more UIDs: %w", m.ID, ErrQuota)
	}
	query := insertInto("messages", messageColumns+`,mailbox,arrived`)
	for i := range rows {
		r := &rows[i]
		r.UID, r.ModSeq = UID(first)+UID(i), mod
		if _, err := tx.exec(query, append(r.values(), int64(m.ID), int64(mod))...); err != nil {
			return err
		}
	}
	tx.s.noteRecent(m.ID, UID(first))
	return nil
}

func nullWords(words string) any {
	if words == "" {
		return nil
	}
	return words
}

func counts(f Flags) (unseen, deleted int64) {
	if f.Bits&FlagSeen == 0 {
		unseen = 1
	}
	if f.Bits&FlagDeleted != 0 {
		deleted = 1
	}
	return unseen, deleted
}

// noteRecent remembers a mailbox's first new message since the start, for TakeRecent.
func (s *Store) noteRecent(id MailboxID, uid UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.recent[id]; !ok {
		s.recent[id] = uid
	}
}

// UIDs lists the messages of a mailbox in order, appended to buf, and the modseq the answer is current to.
func (tx *Tx) UIDs(id MailboxID, buf []UID) ([]UID, ModSeq, error) {
	uids := buf[:0]
	now, err := tx.EachUID(id, func(u UID) { uids = append(uids, u) })
	if err != nil {
		return nil, 0, err
	}
	return uids, now, nil
}

// EachUID calls fn for the messages of a mailbox in order, and returns the modseq this is current to. No row is read of a mailbox that
// has lost no message, or whose flags are known.
func (tx *Tx) EachUID(id MailboxID, fn func(UID)) (ModSeq, error) {
	now, err := tx.modseqOf(id)
	if err != nil {
		return 0, err
	}
	var exists int64
	var next UID
	err = tx.one(`SELECT n_exists,uidnext FROM mailboxes WHERE id=?`, []any{id}, &exists, &next)
	if err != nil {
		return 0, err
	}
	if exists == int64(next)-1 {
		for u := UID(1); u < next; u++ {
			fn(u)
		}
		return now, nil
	}
	known := tx.knownFlags(id, now, func(t *flagTable) {
		for i, b := range t.bits {
			if b != flagTableNone && b&flagTableGone == 0 {
				fn(t.first + UID(i))
			}
		}
	})
	if known {
		return now, nil
	}
	err = tx.eachRow(`SELECT uid FROM messages WHERE mailbox=? AND NOT gone ORDER BY uid`, []any{id}, func(row *dbStmt) error {
		fn(UID(row.int(0)))
		return nil
	})
	return now, err
}

// FirstUnseen is the lowest UID of a message that is not \Seen, 0 if all are.
func (tx *Tx) FirstUnseen(id MailboxID) (UID, error) {
	now, err := tx.modseqOf(id)
	if err != nil {
		return 0, err
	}
	var u UID
	known := tx.knownFlags(id, now, func(t *flagTable) {
		at := slices.IndexFunc(t.bits, func(b uint16) bool {
			return b != flagTableNone && b&flagTableGone == 0 && FlagBits(b&(1<<flagTableBits-1))&FlagSeen == 0
		})
		if at >= 0 {
			u = t.first + UID(at)
		}
	})
	if known {
		return u, nil
	}
	err = tx.one(`SELECT uid FROM messages WHERE mailbox=? AND NOT gone AND flags&?=0 ORDER BY uid LIMIT 1`, []any{id, FlagSeen}, &u)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return u, err
}

// Deleted lists the messages of a mailbox that are marked \Deleted.
func (tx *Tx) Deleted(id MailboxID) ([]UID, error) {
	return column[UID](tx, `SELECT uid FROM messages WHERE mailbox=? AND NOT gone AND flags&?<>0 ORDER BY uid`, id, FlagDeleted)
}

// modseqOf returns the owner's modseq; a deleted mailbox is ErrNotFound.
func (tx *Tx) modseqOf(id MailboxID) (ModSeq, error) {
	var now ModSeq
	err := tx.one(`SELECT u.modseq FROM mailboxes m JOIN users u ON u.id=m.owner WHERE m.id=?`, []any{id}, &now)
	return now, err
}

// ModSeq is how far the changes of a user's mail have come.
func (tx *Tx) ModSeq(user UserID) (ModSeq, error) {
	var now ModSeq
	err := tx.one(`SELECT modseq FROM users WHERE id=?`, []any{user}, &now)
	return now, err
}

// Changes calls fn for every message with a UID above after that changed after since, tombstones included, in UID order, and
// returns the modseq the answer is current to. Each Message is only fn's to keep by copying.
func (tx *Tx) Changes(id MailboxID, since ModSeq, after UID, fn func(*Message) error) (ModSeq, error) {
	var owner, highest ModSeq
	err := tx.one(`SELECT u.modseq, m.highestmodseq FROM mailboxes m JOIN users u ON u.id=m.owner WHERE m.id=?`, []any{id}, &owner, &highest)
	if err != nil || highest <= since {
		return owner, err
	}
	from, err := tx.cameAfter(id, since)
	if err == nil && after < from-1 {
		err = tx.eachMessage(`SELECT `+messageColumns+` FROM messages INDEXED BY messages_modseq
			WHERE mailbox=? AND modseq>? AND modseq<>arrived AND uid>? AND uid<? ORDER BY uid`, []any{id, since, after, from}, fn)
	}
	if err == nil {
		err = tx.eachMessage(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND uid>=? AND uid>? ORDER BY uid`, []any{id, from, after}, fn)
	}
	return owner, err
}

// Messages calls fn for the messages with UIDs from lo to hi in order, tombstones included.
func (tx *Tx) Messages(id MailboxID, lo, hi UID, fn func(*Message) error) error {
	return tx.eachMessage(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND uid BETWEEN ? AND ? ORDER BY uid`,
		[]any{id, lo, hi}, fn)
}

// Message returns one message; a tombstone is ErrNotFound.
func (tx *Tx) Message(id MailboxID, uid UID) (Message, error) {
	found, err := tx.list(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND uid=? AND NOT gone`, id, uid)
	if err != nil {
		return Message{}, err
	}
	if len(found) == 0 {
		return Message{}, ErrNotFound
	}
	return found[0], nil
}

// FlagChange is what SetFlags does.
type FlagChange struct {
	Op        byte   // '+' add, '-' remove, '=' replace
	Flags     Flags  // for '=', bits and words not in Flags are cleared
	Unchanged ModSeq // leave alone what changed after this (RFC 7162 §3.1.3); negative: no condition
	Known     ModSeq // the caller's last look: what others changed after it is returned as Stale
	May       Rights // of RightSeen, RightTrash and RightWrite: which flags may be touched; 0 is all
}

// FlagResult is what came of it.
type FlagResult struct {
	ModSeq   ModSeq // what the changed messages have now
	Modified []UID  // left alone because of Unchanged
	Stale    []UID  // changed by others after Known, and now perhaps by us
	Same     []UID  // had those flags already
	Missing  []UID  // expunged or never there
}

// admitKeywords makes sure that the mailbox knows the words, if a message may have them.
func (tx *Tx) admitKeywords(m Mailbox, words string) error {
	if err := checkMessageWords(words); err != nil {
		return err
	}
	return tx.addKeywords(m, words)
}

// of says which flags the change gives to a message, and whether those are others than it has. What is worth a word goes into res.
func (c FlagChange) of(row Message, res *FlagResult) (Flags, bool) {
	if c.Unchanged >= 0 && row.ModSeq > c.Unchanged {
		res.Modified = append(res.Modified, row.UID)
		return row.Flags, false
	}
	if row.ModSeq > c.Known {
		res.Stale = append(res.Stale, row.UID)
	}
	f := c.May.touch(row.Flags, c.apply(row.Flags))
	if f == row.Flags {
		res.Same = append(res.Same, row.UID)
	}
	return f, f != row.Flags
}

// SetFlags changes flags of the given messages. Hand it at most some thousand UIDs at a time: others wait meanwhile. ErrTooMany
// or ErrKeyword when the mailbox or a message can't have the keywords; then the transaction must be rolled back.
func (tx *Tx) SetFlags(m Mailbox, uids []UID, c FlagChange) (FlagResult, error) {
	if c.Op != '-' && (c.May == 0 || c.May&RightWrite != 0) {
		if err := tx.admitKeywords(m, c.Flags.Words); err != nil {
			return FlagResult{}, err
		}
	}
	rows, missing, err := tx.rows(m, uids)
	if err != nil {
		return FlagResult{}, err
	}
	res := FlagResult{Missing: missing}
	var unseen, deleted, changed int64
	for _, row := range rows {
		f, changes := c.of(row, &res)
		if !changes {
			continue
		}
		if c.Op == '+' {
			if err := checkMessageWords(f.Words); err != nil {
				return res, err
			}
		}
		if f.Words != row.Flags.Words || (f.Bits^row.Flags.Bits)&(FlagJunk|FlagNotJunk) != 0 {
			err = tx.teachFlags(m, row, f)
			if err != nil {
				return res, err
			}
		}
		changed++
		if changed == 1 {
			res.ModSeq, err = tx.bump(m.Owner)
			if err != nil {
				return res, err
			}
		}
		if _, err := tx.exec(`UPDATE messages SET flags=?, keywords=?, modseq=? WHERE mailbox=? AND uid=?`,
			f.Bits, nullWords(f.Words), res.ModSeq, m.ID, row.UID); err != nil {
			return res, err
		}
		u0, d0 := counts(row.Flags)
		u1, d1 := counts(f)
		unseen, deleted = unseen+u1-u0, deleted+d1-d0
	}
	if changed == 0 {
		return res, nil
	}
	_, err = tx.exec(`UPDATE mailboxes SET highestmodseq=?, n_unseen=n_unseen+?, n_deleted=n_deleted+? WHERE id=?`, res.ModSeq, unseen, deleted, m.ID)
	return res, err
}

func (c FlagChange) apply(f Flags) Flags {
	switch c.Op {
	case '+':
		return f.With(c.Flags)
	case '-':
		return f.Without(c.Flags)
	}
	return c.Flags
}

// Expunge turns the messages of uids (nil is the whole mailbox) into tombstones, and returns the UIDs that are gone now. Hand
// it at most some thousand UIDs at a time, as SetFlags.
func (tx *Tx) Expunge(m Mailbox, uids []UID) ([]UID, error) {
	rows, err := tx.present(m, uids)
	if err != nil {
		return nil, err
	}
	return tx.bury(m, rows)
}

// ExpungeDeleted is Expunge for those of uids that are marked \Deleted.
func (tx *Tx) ExpungeDeleted(m Mailbox, uids []UID) ([]UID, error) {
	rows, err := tx.present(m, uids)
	if err != nil {
		return nil, err
	}
	return tx.bury(m, slices.DeleteFunc(rows, func(r Message) bool { return r.Flags.Bits&FlagDeleted == 0 }))
}

// present reads the messages of uids that are there; nil is the whole mailbox.
func (tx *Tx) present(m Mailbox, uids []UID) ([]Message, error) {
	if uids == nil {
		return tx.list(`SELECT `+messageColumns+` FROM messages WHERE mailbox=? AND NOT gone ORDER BY uid`, m.ID)
	}
	rows, _, err := tx.rows(m, uids)
	return rows, err
}

// bury makes tombstones of the rows and returns their UIDs.
func (tx *Tx) bury(m Mailbox, rows []Message) ([]UID, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	mod, err := tx.bump(m.Owner)
	if err != nil {
		return nil, err
	}
	gone := make([]UID, 0, len(rows))
	var unseen, deleted, bytes int64
	for _, r := range rows {
		if _, err := tx.exec(`UPDATE messages SET gone=1, modseq=? WHERE mailbox=? AND uid=?`, mod, m.ID, r.UID); err != nil {
			return nil, err
		}
		u, d := counts(r.Flags)
		unseen, deleted, bytes = unseen+u, deleted+d, bytes+r.Size
		gone = append(gone, r.UID)
	}
	_, err = tx.exec(`UPDATE mailboxes SET highestmodseq=?, n_exists=n_exists-?, n_unseen=n_unseen-?, n_deleted=n_deleted-?, bytes=bytes-? WHERE id=?`,
		mod, len(rows), unseen, deleted, bytes, m.ID)
	return gone, err
}

// Copy copies messages with their flags and dates. The answers pair up; messages that are not there are left out.
func (tx *Tx) Copy(from Mailbox, uids []UID, to Mailbox) (src, dst []UID, err error) {
	rows, _, err := tx.rows(from, uids)
	if err != nil {
		return nil, nil, err
	}
	var bytes int64
	for _, r := range rows {
		bytes += r.Size
	}
	if err := tx.Room(to.Owner, bytes, int64(len(rows))); err != nil {
		return nil, nil, err
	}
	return tx.copyRows(rows, to)
}

// Move copies messages and expunges them in one step (RFC 6851). The answers pair up.
func (tx *Tx) Move(from Mailbox, uids []UID, to Mailbox) (src, dst []UID, err error) {
	rows, _, err := tx.rows(from, uids)
	if err != nil || len(rows) == 0 {
		return nil, nil, err
	}
	if to.Owner != from.Owner {
		var bytes int64
		for _, r := range rows {
			bytes += r.Size
		}
		if err := tx.Room(to.Owner, bytes, int64(len(rows))); err != nil {
			return nil, nil, err
		}
	}
	src, dst, err = tx.copyRows(rows, to)
	if err != nil {
		return nil, nil, err
	}
	_, err = tx.bury(from, rows)
	return src, dst, err
}

// rows reads the messages that are there, in the order of their UIDs, and names those that are not.
func (tx *Tx) rows(m Mailbox, uids []UID) ([]Message, []UID, error) {
	if !slices.IsSorted(uids) {
		uids = slices.Sorted(slices.Values(uids))
	}
	l := listing{s: tx.s, box: m.ID, want: WantRow}
	var b listBatch
	rows := make([]Message, 0, len(uids))
	for left := uids; len(left) > 0; left = b.left {
		if err := l.read(tx, &b, left, listBytes); err != nil {
			return nil, nil, err
		}
		for i := range b.list {
			if !b.list[i].Gone {
				rows = append(rows, b.list[i].Message)
			}
		}
	}
	var missing []UID
	i := 0
	for _, u := range uids {
		if i < len(rows) && rows[i].UID == u {
			i++
		} else if i == 0 || rows[i-1].UID != u { // a number that comes twice
			missing = append(missing, u)
		}
	}
	return rows, missing, nil
}

func (tx *Tx) copyRows(rows []Message, to Mailbox) (src, dst []UID, err error) {
	if len(rows) == 0 {
		return nil, nil, nil
	}
	copies := slices.Clone(rows)
	for i := range copies {
		c := &copies[i]
		c.Saved = tx.s.Now()
		if err := tx.share(c.Blob); err != nil {
			return nil, nil, err
		}
	}
	if err := tx.insert(to, copies); err != nil {
		return nil, nil, err
	}
	if err := tx.teachMove(rows, to); err != nil {
		return nil, nil, err
	}
	for i := range rows {
		src, dst = append(src, rows[i].UID), append(dst, copies[i].UID)
	}
	return src, dst, nil
}
