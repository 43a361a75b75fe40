// Sync: all that a client is told of the selected mailbox, by EXISTS, EXPUNGE or VANISHED, and FETCH with flags.
package main

import (
	"errors"
	"slices"
)

// imapChange is what sync needs to know of a changed message.
type imapChange struct {
	uid    UID
	modseq ModSeq
	flags  Flags
	gone   bool
}

// sync tells the client all that happened to the selected mailbox since it was last told. Only sync writes EXISTS, EXPUNGE
// and unsolicited FETCH. Commands change the store and return; their own effects come back to the client from here, in the
// order of the commits and mixed with everybody else's. When there is nothing to say it is one small query.
func (c *imapConn) sync(mayExpunge bool) error {
	if c.notify.frozen() {
		return c.syncOwn()
	}
	since := c.seen
	if mayExpunge {
		since = min(c.seen, c.gone)
	}
	var now ModSeq
	for after, more := UID(0), true; more; {
		var changed []imapChange
		at, full, err := c.changes(since, after, &changed)
		if err != nil {
			return err
		}
		// What changes between two steps is told twice rather than never: the first step's modseq counts.
		if now == 0 {
			now = at
		}
		if mayExpunge {
			c.contextsLose(changed)
			c.tellGone(changed)
		}
		c.held = !mayExpunge && (c.held || c.loses(changed))
		fresh, own := c.tellNew(changed)
		quiet := slices.Concat(fresh, own)
		slices.Sort(quiet)
		if err := c.tellFlags(changed, quiet); err != nil {
			return err
		}
		if err := c.tellFresh(fresh); err != nil {
			return err
		}
		if err := c.contextsFollow(changed); err != nil {
			return err
		}
		more = full
		if more {
			after = changed[len(changed)-1].uid
		}
	}
	c.forget()
	c.seen = now
	c.highest = min(c.highest, now)
	if mayExpunge {
		c.gone = now
		c.view.Told(now)
	}
	c.lower()
	return nil
}

// lower tells a client that has heard of modseqs above that of an expunge which is held back from it where it stands. If the
// connection broke now and it came back with the highest of them, it would never hear of that expunge (RFC 7162 §3.2.5).
func (c *imapConn) lower() {
	if c.qresync && c.held && c.highest > c.gone && c.highest != c.lowered {
		c.putf("* OK [HIGHESTMODSEQ %d] Expunges since are still to be told\r\n", c.gone)
		c.lowered = c.highest
	}
}

// loses says whether messages that the client knows are gone.
func (c *imapConn) loses(changed []imapChange) bool {
	return slices.ContainsFunc(changed, func(m imapChange) bool {
		_, ok := c.seq(m.uid)
		return m.gone && ok
	})
}

// imapErrFull stops a query whose answers fill the memory they may have.
var imapErrFull = errors.New("enough for one step")

// changes lists what changed after since among the messages with UIDs above after, and the messages of echo with them.
func (c *imapConn) changes(since ModSeq, after UID, changed *[]imapChange) (now ModSeq, full bool, err error) {
	err = c.srv.store.Read(func(tx *Tx) (err error) {
		*changed = (*changed)[:0]
		add := func(m *Message) error {
			if len(*changed) >= imapSyncStep {
				full = true
				return imapErrFull
			}
			*changed = append(*changed, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
			return nil
		}
		now, err = tx.Changes(c.mbox.ID, since, after, add)
		if err != nil {
			return err
		}
		for _, u := range c.echo {
			if m, err := tx.Message(c.mbox.ID, u); err == nil {
				*changed = append(*changed, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrNotFound):
		err = imapErrGone
	case errors.Is(err, imapErrFull):
		err = nil
	}
	return now, full, err
}

// tellGone writes the expunges and takes them out of uids, which is one pass however many they are. The size of the mailbox
// changes, so RECENT follows if it does, too (RFC 3501 §7.3.2).
func (c *imapConn) tellGone(changed []imapChange) {
	kept, from := 0, 0 // uids[:kept] stay, uids[from:] are still to be looked at
	var vanished []imapRange
	recent := false
	for _, m := range changed {
		if !m.gone {
			continue
		}
		i, ok := slices.BinarySearch(c.uids[from:], m.uid)
		kept += copy(c.uids[kept:], c.uids[from:from+i])
		from += i
		if ok {
			from++
			recent = recent || c.isRecent(m.uid)
			if c.qresync || c.uidonly {
				vanished = imapAddRange(vanished, imapRange{uint32(m.uid), uint32(m.uid)})
			} else {
				c.putf("* %d EXPUNGE\r\n", kept+1)
			}
		}
		c.highest = max(c.highest, m.modseq)
	}
	if from != kept {
		kept += copy(c.uids[kept:], c.uids[from:])
		c.uids = c.uids[:kept]
	}
	c.putVanished("", vanished)
	if recent && !c.rev2 {
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
}

// imapAddRange appends r to sorted ranges; it joins the last one if they touch.
func imapAddRange(set []imapRange, r imapRange) []imapRange {
	if n := len(set); n > 0 && set[n-1].hi+1 >= r.lo {
		set[n-1].hi = max(set[n-1].hi, r.hi)
		return set
	}
	return append(set, r)
}

// putVanished writes which UIDs are gone, in lines that are not too long (RFC 7162 §3.2.10).
func (c *imapConn) putVanished(earlier string, set []imapRange) {
	for lines := range slices.Chunk(set, imapVanishMax) {
		c.putf("* VANISHED %s", earlier)
		for i, r := range lines {
			if i > 0 {
				c.w.WriteByte(',')
			}
			c.putRange(r)
		}
		c.putf("\r\n")
	}
}

func (c *imapConn) putRange(r imapRange) {
	c.putf("%d", r.lo)
	if r.hi > r.lo {
		c.putf(":%d", r.hi)
	}
}

// tellNew writes EXISTS if there are new messages. Without any it must not be written, not even after an EXPUNGE: Apple
// Mail asks again and again for what it takes to be new.
//
// What it returns are those that are to be told as NOTIFY says and not with their flags, and those to be told of with
// EXISTS alone, because the client itself put them there (RFC 5465 §5.2).
func (c *imapConn) tellNew(changed []imapChange) (fresh, own []UID) {
	known := len(c.uids)
	for _, m := range changed {
		if !m.gone && (len(c.uids) == 0 || m.uid > c.uids[len(c.uids)-1]) {
			c.uids = append(c.uids, m.uid)
			switch {
			case c.notify == nil || c.notify.passive:
			case c.own[imapStamp{c.mbox.Owner, m.modseq}]:
				own = append(own, m.uid)
			case c.notify.fetch != nil:
				fresh = append(fresh, m.uid)
			}
		}
	}
	if len(c.uids) == known {
		return nil, nil
	}
	c.putf("* %d EXISTS\r\n", len(c.uids))
	if !c.rev2 {
		c.takeRecent()
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
	return fresh, own
}

// tellFresh writes of new messages what NOTIFY asks for (RFC 5465 §5.2).
func (c *imapConn) tellFresh(fresh []UID) error {
	if len(fresh) == 0 {
		return nil
	}
	c.notify.fetch.at = 0
	return c.notify.fetch.send(fresh)
}

// syncOwn is sync for a client that wants no news: it hears what it does itself, and all else stays to be told.
func (c *imapConn) syncOwn() error {
	var changed []imapChange
	mine := slices.Concat(c.echo, c.removed)
	slices.Sort(mine)
	err := c.srv.store.Read(func(tx *Tx) error {
		changed = changed[:0]
		for _, u := range slices.Compact(mine) {
			err := tx.Messages(c.mbox.ID, u, u, func(m *Message) error {
				if !m.Gone || slices.Contains(c.removed, u) {
					changed = append(changed, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		_, err := tx.MailboxByID(c.mbox.ID)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return imapErrGone
	}
	if err == nil {
		c.tellGone(changed)
		err = c.tellFlags(changed, nil)
	}
	c.forget()
	return err
}

// forget drops what sync had to know of the command that ran.
func (c *imapConn) forget() {
	c.silent, c.stale, c.shown, c.echo, c.stored, c.removed = 0, nil, nil, nil, nil, nil
}

// tellFlags writes a FETCH for every message with news, new ones included, so that a client need not ask; but for those
// of quiet.
func (c *imapConn) tellFlags(changed []imapChange, quiet []UID) error {
	for _, m := range changed {
		echo := slices.Contains(c.echo, m.uid)
		n, ok := c.seq(m.uid)
		if !ok || (m.modseq <= c.seen && !echo) {
			continue
		}
		if _, stored := slices.BinarySearch(c.stored, m.uid); m.gone && !stored {
			continue
		}
		c.highest = max(c.highest, m.modseq)
		_, isQuiet := slices.BinarySearch(quiet, m.uid)
		_, isShown := slices.BinarySearch(c.shown, m.modseq)
		if isQuiet || isShown || (c.notify.quiet() && !echo && m.modseq != c.silent) {
			continue
		}
		if err := c.tellWords(m.flags.Words); err != nil {
			return err
		}
		if m.modseq == c.silent && !slices.Contains(c.stale, m.uid) {
			if c.condstore { // the client needs to know the modseq that it caused (RFC 7162 §3.1.3)
				c.beginFetch(n, m.uid)
				c.putf("MODSEQ (%d))\r\n", m.modseq)
			}
			continue
		}
		c.tellOne(n, m)
	}
	return nil
}

// tellOne writes what there is to say of one message's flags.
func (c *imapConn) tellOne(n int, m imapChange) {
	c.beginFetch(n, m.uid)
	c.putf("FLAGS %s", c.flagList(m.uid, m.flags))
	if c.condstore {
		c.putf(" MODSEQ (%d)", m.modseq)
	}
	c.putf(")\r\n")
}

// beginFetch begins an unsolicited FETCH, which always names the UID; without sequence numbers it is a UIDFETCH (RFC 9586
// §3.3).
func (c *imapConn) beginFetch(n int, u UID) {
	if c.uidonly {
		c.putf("* %d UIDFETCH (", u)
	} else {
		c.putf("* %d FETCH (UID %d ", n, u)
	}
}

// tellWords announces keywords that the mailbox did not have when the client last heard of its flags.
func (c *imapConn) tellWords(words string) error {
	if words == "" || mergeWords(c.words, words) == c.words {
		return nil
	}
	err := c.srv.store.Read(func(tx *Tx) error {
		m, err := tx.MailboxByID(c.mbox.ID)
		c.mbox.Keywords = m.Keywords
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return imapErrGone
	}
	if err == nil {
		c.putFlags()
	}
	return err
}
