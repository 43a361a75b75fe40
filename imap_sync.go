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

// imapEffects is what the command that runs has itself done to the selected mailbox, so that sync tells it in the right form.
// It lives until the sync at the command's end, or at the end of one of its steps.
type imapEffects struct {
	silent  ModSeq   // of a STORE.SILENT, whose flags are not told back
	stale   []UID    // messages in it that others had changed, too: told all the same
	shown   []ModSeq // of FETCHes that set \Seen and said so, sorted
	echo    []UID    // messages that a STORE has to show whether or not it changed them
	stored  []UID    // messages that it has to show even if somebody has expunged them since, sorted
	removed []UID    // messages that it expunged
}

// sync tells the client all that happened to the selected mailbox since it was last told. Only sync writes EXISTS, EXPUNGE
// and unsolicited FETCH. Commands change the store and return; their own effects come back to the client from here, in the
// order of the commits and mixed with everybody else's. When there is nothing to say it is one small query.
func (c *imapConn) sync() error {
	if c.notify.frozen() {
		return c.syncOwn()
	}
	now, err := c.eachChange(min(c.seen, c.gone), func(changed []imapChange) error {
		c.contextsLose(changed)
		c.tellGone(changed)
		return c.tellThere(changed)
	})
	if err != nil {
		return err
	}
	c.pendingExpunge = false
	c.gone = now
	c.view.Told(now)
	c.synced(now)
	return nil
}

// syncButExpunges is sync for a command that uses sequence numbers: expunges wait for the next one that does not, or else
// the client would take the numbers in its answer for other messages (RFC 9051 §7.5.1).
func (c *imapConn) syncButExpunges() error {
	if c.notify.frozen() {
		return c.syncOwn()
	}
	now, err := c.eachChange(c.seen, func(changed []imapChange) error {
		c.pendingExpunge = c.pendingExpunge || c.loses(changed)
		return c.tellThere(changed)
	})
	if err != nil {
		return err
	}
	c.synced(now)
	c.hint()
	return nil
}

// eachChange gives tell what changed after since, so much at a time, and returns the modseq that this is current to. What
// changes between two steps is told twice rather than never: the first step's modseq counts.
func (c *imapConn) eachChange(since ModSeq, tell func([]imapChange) error) (ModSeq, error) {
	var now ModSeq
	after := UID(0)
	for first := true; ; first = false {
		step, err := c.changes(since, after)
		if err == nil {
			err = tell(step.list)
		}
		if err != nil {
			return now, err
		}
		if first {
			now = step.now
		}
		if !step.more {
			return now, nil
		}
		after = step.list[len(step.list)-1].uid
	}
}

// synced notes how far the client has been told of new messages and flags.
func (c *imapConn) synced(now ModSeq) {
	c.effects = imapEffects{}
	c.seen = now
	c.highest = min(c.highest, now)
}

// tellThere tells of the changed messages that are still there, the new ones first.
func (c *imapConn) tellThere(changed []imapChange) error {
	before := c.uids.last()
	arrived := c.tellNew(changed)
	if err := c.tellFlags(changed, before); err != nil {
		return err
	}
	if c.notify != nil {
		if err := c.notify.fetch.tell(arrived); err != nil {
			return err
		}
	}
	return c.contextsFollow(changed)
}

// hint tells a client that has heard of modseqs above that of an expunge which is held back from it where it stands. If the
// connection broke now and it came back with the highest of them, it would never hear of that expunge (RFC 7162 §3.2.5).
func (c *imapConn) hint() {
	if c.qresync && c.pendingExpunge && c.highest > c.gone && c.highest != c.hinted {
		c.putf("* OK [HIGHESTMODSEQ %d] Expunges since are still to be told\r\n", c.gone)
		c.hinted = c.highest
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

// imapChanges is one step of what changed in a mailbox.
type imapChanges struct {
	list []imapChange
	now  ModSeq // what the list is current to
	more bool   // there is more above the last one
}

// changes lists what changed after since among the messages with UIDs above after, and at the end the messages of echo.
func (c *imapConn) changes(since ModSeq, after UID) (imapChanges, error) {
	step, err := read(c.srv.store, func(tx *Tx) (imapChanges, error) {
		var step imapChanges
		var err error
		step.now, err = tx.Changes(c.mbox.ID, since, after, func(m *Message) error {
			if len(step.list) >= imapSyncStep {
				return imapErrFull
			}
			step.list = append(step.list, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
			return nil
		})
		if errors.Is(err, imapErrFull) {
			step.more = true
			return step, nil
		}
		for _, u := range c.effects.echo {
			if err != nil {
				return step, err
			}
			var m Message
			m, err = tx.Message(c.mbox.ID, u)
			switch {
			case err == nil:
				step.list = append(step.list, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
			case errors.Is(err, ErrNotFound):
				err = nil
			}
		}
		return step, err
	})
	if errors.Is(err, ErrNotFound) {
		err = imapErrGone
	}
	return step, err
}

// tellGone writes the expunges and takes them out of uids. The size of the mailbox changes, so RECENT follows if it does, too
// (RFC 3501 §7.3.2).
func (c *imapConn) tellGone(changed []imapChange) {
	var gone []UID
	var vanished []imapRange
	recent := false
	for _, m := range changed {
		if !m.gone {
			continue
		}
		n, known := c.seq(m.uid)
		twice := len(gone) > 0 && m.uid <= gone[len(gone)-1] // as echo has it, too
		if known && !twice {
			recent = recent || c.isRecent(m.uid)
			if c.qresync || c.uidonly {
				vanished = imapAddRange(vanished, imapRange{uint32(m.uid), uint32(m.uid)})
			} else {
				c.putf("* %d EXPUNGE\r\n", n-len(gone))
			}
			gone = append(gone, m.uid)
		}
		c.highest = max(c.highest, m.modseq)
	}
	c.uids.remove(gone)
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
// It returns the messages of which NOTIFY has asked for more. Not among them are those that the client itself put there (RFC
// 5465 §5.2).
func (c *imapConn) tellNew(changed []imapChange) []UID {
	known := c.uids.len()
	var arrived []UID
	for _, m := range changed {
		if m.gone || m.uid <= c.uids.last() {
			continue
		}
		c.uids.add(m.uid)
		if c.notify != nil && c.notify.fetch != nil && !c.notify.passive && !c.own[imapStamp{c.mbox.Owner, m.modseq}] {
			arrived = append(arrived, m.uid)
		}
	}
	if c.uids.len() == known {
		return nil
	}
	c.putf("* %d EXISTS\r\n", c.uids.len())
	if !c.rev2 {
		c.takeRecent()
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
	return arrived
}

// syncOwn is sync for a client that wants no news: it hears what it does itself, and all else stays to be told.
func (c *imapConn) syncOwn() error {
	mine := slices.Concat(c.effects.echo, c.effects.removed)
	slices.Sort(mine)
	changed, err := read(c.srv.store, func(tx *Tx) ([]imapChange, error) {
		var changed []imapChange
		for _, u := range slices.Compact(mine) {
			err := tx.Messages(c.mbox.ID, u, u, func(m *Message) error {
				if !m.Gone || slices.Contains(c.effects.removed, u) {
					changed = append(changed, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		_, err := tx.MailboxByID(c.mbox.ID)
		return changed, err
	})
	if errors.Is(err, ErrNotFound) {
		return imapErrGone
	}
	if err == nil {
		c.tellGone(changed)
		err = c.tellFlags(changed, c.uids.last())
	}
	c.effects = imapEffects{}
	return err
}

// tellFlags writes a FETCH for every message with news up to the last one that the client knew before. Of new messages it hears
// by EXISTS alone: clients ask for what they need of them, and a FETCH that they did not ask for, amid the answer to a UID FETCH
// or a SEARCH, makes Delta Chat drop the connection.
func (c *imapConn) tellFlags(changed []imapChange, last UID) error {
	for _, m := range changed {
		n, news := c.isNews(m)
		if !news || m.uid > last {
			continue
		}
		c.highest = max(c.highest, m.modseq)
		if !c.wantsFlags(m) {
			continue
		}
		if err := c.tellWords(m.flags.Words); err != nil {
			return err
		}
		switch {
		case m.modseq != c.effects.silent || slices.Contains(c.effects.stale, m.uid):
			c.tellOne(n, m)
		case c.condstore: // the client needs to know the modseq that it caused (RFC 7162 §3.1.3)
			c.beginFetch(n, m.uid)
			c.putf("MODSEQ (%d))\r\n", m.modseq)
		}
	}
	return nil
}

// isNews says whether the client knows the message and has not heard of this change, and its sequence number. What is gone
// is no news of flags, unless STORE has to show it.
func (c *imapConn) isNews(m imapChange) (int, bool) {
	n, known := c.seq(m.uid)
	_, stored := slices.BinarySearch(c.effects.stored, m.uid)
	return n, known && (m.modseq > c.seen || slices.Contains(c.effects.echo, m.uid)) && (!m.gone || stored)
}

// wantsFlags says whether the client is to hear of this change of flags: not if its FETCH has said so, nor if it wants no
// news of flags and did not cause them.
func (c *imapConn) wantsFlags(m imapChange) bool {
	_, shown := slices.BinarySearch(c.effects.shown, m.modseq)
	return !shown && (!c.notify.quiet() || m.modseq == c.effects.silent || slices.Contains(c.effects.echo, m.uid))
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
		if err != nil {
			return err
		}
		c.mbox.Keywords = m.Keywords
		c.full, err = tx.KeywordsFull(m)
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
