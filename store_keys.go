// Sort keys: what sorting and threading compare of a message, from the index or from its header block.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	keySubject = 255      // octets of a base subject that sorting compares
	keyAddress = 64       // and of an address or name
	maxRefs    = 100      // References that are kept: the first, which is the conversation's, and the last ones
	noDay      = -1 << 62 // the Day of a message without a Date that can be read
)

// MailKeys is what sorting and threading compare of a message (RFC 5256 §3), texts folded.
type MailKeys struct {
	Sent     int64  // seconds, of the Date field; 0 if there is none that can be read
	Day      int64  // midnight UTC of the day it names; noDay without one
	Subject  []byte // base subject
	Reply    bool   // the subject says that it is a reply or forward
	From     []byte // left half of the first address
	To, Cc   []byte
	ShowFrom []byte // name of the first address, or the address (RFC 5957 §3)
	ShowTo   []byte
	ID       uint64   // of Message-ID, hashed; 0 if there is none
	Refs     []uint64 // of References, else of In-Reply-To
}

// keyed is a message of which the keys are looked for.
type keyed struct {
	Message
	keys []byte // as they are kept
}

// MailKeys calls fn with the messages of uids, which must be sorted, and their keys, in order. Of the message fn has what
// WantKeys reads; it runs outside of any transaction, must not wait for anybody, and the keys are its until it returns. Of most
// messages nothing is read but the index; memory is bounded by a slice of them. ErrBusy.
func (s *Store) MailKeys(box MailboxID, uids []UID, fn func(*Message, *MailKeys) error) error {
	for slice := range slices.Chunk(uids, searchSlice) {
		if err := s.sliceKeys(box, slice, fn); err != nil {
			return err
		}
	}
	return nil
}

// sliceKeys is MailKeys for a slice.
func (s *Store) sliceKeys(box MailboxID, uids []UID, fn func(*Message, *MailKeys) error) error {
	release, err := s.gates.work.Take(0, keysWork, gateWait)
	if err != nil {
		return err
	}
	defer release()
	rows := make([]keyed, 0, len(uids))
	err = s.List(box, uids, WantKeys, func(m *Listed) error {
		rows = append(rows, keyed{Message: m.Message})
		return nil
	})
	if err == nil {
		err = s.indexWhatIsRead(len(rows), func(i int) BlobID { return rows[i].Blob })
	}
	if err == nil {
		err = s.readKeys(box, rows)
	}
	if err != nil {
		return err
	}
	var k MailKeys
	for i := range rows {
		if !k.parse(rows[i].keys) {
			continue // its content is gone
		}
		if err := fn(&rows[i].Message, &k); err != nil {
			return err
		}
	}
	return nil
}

// readKeys fills in the keys: from the blocks of the index, and where there is none, from the header.
func (s *Store) readKeys(box MailboxID, rows []keyed) error {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(rows[a].Blob, rows[b].Blob) })
	ids := make([]BlobID, len(rows))
	for i, at := range order {
		ids[i] = rows[at].Blob
	}
	err := s.Read(func(tx *Tx) error {
		return tx.blockKeys(ids, func(b *block, lo, hi int) error {
			r := indexReader{keys: bytes.Clone(b.keys)}
			for i := lo; i < hi && r.next(); {
				for i < hi && ids[i] < r.blob {
					i++
				}
				for ; i < hi && ids[i] == r.blob; i++ {
					rows[order[i]].keys = r.indexEntry.keys
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	var missing []UID
	for i := range rows {
		if rows[i].keys == nil {
			missing = append(missing, rows[i].UID)
		}
	}
	at := 0
	return s.List(box, missing, WantHead, func(m *Listed) error {
		for rows[at].UID != m.UID {
			at++
		}
		if m.Content == nil {
			return nil
		}
		h, err := m.Content.WholeHeader()
		rows[at].keys = mailKeys(h).append(nil)
		if errors.Is(err, ErrContentDamaged) { // it has no keys, and the others are sorted all the same
			err = nil
		}
		return err
	})
}

// mailKeys finds what sorting compares in a header block.
func mailKeys(h Header) *MailKeys {
	k := &MailKeys{Day: noDay}
	if t, err := ParseDate(h.Get("Date")); err == nil {
		k.Sent, k.Day = t.Unix(), mailDay(h)
	}
	subject, reply := BaseSubject(string(Fold(nil, h.Text("Subject"))))
	k.Subject, k.Reply = sortKey(subject, keySubject), reply
	k.From, k.ShowFrom = addressKeys(h.Readable("From"))
	k.To, k.ShowTo = addressKeys(h.Readable("To"))
	k.Cc, _ = addressKeys(h.Readable("Cc"))
	if ids := MessageIDs(h.Get("Message-ID")); len(ids) > 0 {
		k.ID = idHash(ids[0])
	}
	refs := MessageIDs(h.Get("References"))
	if len(refs) == 0 {
		refs = MessageIDs(h.Get("In-Reply-To"))
		refs = refs[:min(1, len(refs))]
	}
	if len(refs) > maxRefs {
		refs = append(refs[:1:1], refs[len(refs)-maxRefs+1:]...)
	}
	for _, id := range refs {
		k.Refs = append(k.Refs, idHash(id))
	}
	return k
}

// mailDay is midnight UTC of the day that the Date field names, whatever its time and zone (RFC 9051 §6.4.4 SENTON), or
// noDay.
func mailDay(h Header) int64 {
	t, err := ParseDate(h.Get("Date"))
	if err != nil {
		return noDay
	}
	y, mon, d := t.Date()
	return time.Date(y, mon, d, 0, 0, 0, 0, time.UTC).Unix()
}

// sortKey is the first octets of a key, in whole characters and without NUL.
func sortKey(s string, most int) []byte {
	if n := most; len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return []byte(s)
}

// addressKeys are the left half and the name of the first address of a list (RFC 5256 §3 FROM, RFC 5957 §3). A group's name
// stands where other addresses have their left half (RFC 9051 §7.5.2), and has nothing else to show.
func addressKeys(field string) (local, show []byte) {
	list := ParseAddressList(field)
	if len(list) == 0 {
		return nil, nil
	}
	first, name := list[0].Local, list[0].DisplayName()
	if list[0].IsGroupStart() {
		first = DecodeWords(first)
		name = first
	} else if name == "" {
		name = first + "@" + list[0].Domain
	}
	return sortKey(string(Fold(nil, first)), keyAddress), sortKey(string(Fold(nil, name)), keyAddress)
}

// idHash is a message id in eight octets; two of a mailbox are the same by chance once in 10^19 pairs. Never 0.
func idHash(id string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, id)
	return max(h.Sum64(), 1)
}

// append writes the keys as they are kept.
func (k *MailKeys) append(b []byte) []byte {
	kind := byte(0)
	if k.Day != noDay { // the day is that of Sent in UTC, or a neighbour
		kind = byte(2 + k.Day/86400 - floorDay(k.Sent))
	}
	if k.Reply {
		kind |= 1 << 2
	}
	b = binary.AppendVarint(append(b, kind), k.Sent)
	for _, s := range [...][]byte{k.Subject, k.From, k.To, k.Cc, k.ShowFrom, k.ShowTo} {
		b = append(append(b, byte(len(s))), s...)
	}
	b = binary.LittleEndian.AppendUint64(b, k.ID)
	b = append(b, byte(len(k.Refs)))
	for _, r := range k.Refs {
		b = binary.LittleEndian.AppendUint64(b, r)
	}
	return b
}

// floorDay is the number of the day in UTC.
func floorDay(sec int64) int64 {
	d := sec / 86400
	if sec%86400 < 0 {
		d--
	}
	return d
}

// parse reads what append wrote; the texts lie in b. It says whether b was whole.
func (k *MailKeys) parse(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	kind := b[0]
	sent, n := binary.Varint(b[1:])
	if n <= 0 {
		return false
	}
	b = b[1+n:]
	*k = MailKeys{Sent: sent, Day: noDay, Reply: kind&4 != 0, Refs: k.Refs[:0]}
	if kind&3 != 0 {
		k.Day = (floorDay(sent) + int64(kind&3) - 2) * 86400
	}
	for _, s := range [...]*[]byte{&k.Subject, &k.From, &k.To, &k.Cc, &k.ShowFrom, &k.ShowTo} {
		if len(b) == 0 || len(b) <= int(b[0]) {
			return false
		}
		end := 1 + int(b[0]) // which a byte can't always hold
		*s, b = b[1:end:end], b[end:]
	}
	if len(b) < 9 || len(b) != 9+8*int(b[8]) {
		return false
	}
	k.ID = binary.LittleEndian.Uint64(b)
	for b = b[9:]; len(b) > 0; b = b[8:] {
		k.Refs = append(k.Refs, binary.LittleEndian.Uint64(b))
	}
	return true
}
