// The selected mailbox as one client knows it: SELECT, sync, IDLE, CLOSE.
package main

import (
	"errors"
	"slices"
	"strings"
)

// imapView is what a client knows of the mailbox it has selected. It costs four octets a message.
//
// seen and gone are modseqs: the client has been told of all new messages and flags up to seen, and of all expunges up
// to gone. They differ because during a command that uses sequence numbers everything but expunges may be told (RFC 9051
// §7.5.1). Until it is told, a message is still there for its client: the tombstone answers FETCH, and view keeps its
// content.
type imapView struct {
	mbox     Mailbox // as it was at SELECT
	readonly bool
	uids     []UID // sequence number - 1 → UID
	seen     ModSeq
	gone     ModSeq
	highest  ModSeq // of what the client was told
	view     *View
	words    string      // keywords that FLAGS has named
	recent   []imapRange // UIDs that are \Recent in this session only
	saved    []UID       // the result of the last search with RETURN (SAVE) (RFC 5182)

	silent ModSeq // of our own STORE.SILENT
	stale  []UID  // messages in it that others had changed, too
	echo   []UID  // messages that a STORE left as they were and has to show all the same
}

// imapErrGone ends a session whose selected mailbox is deleted.
var imapErrGone = errors.New("the selected mailbox was deleted")

const (
	imapSyncStep  = 20_000 // changes that sync holds in memory at a time
	imapRecentMax = 1_000  // ranges of \Recent messages
	imapVanishMax = 1_000  // ranges in one VANISHED line
)

// cmdSelect is SELECT (RFC 9051 §6.3.2).
//
//	select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]
func (c *imapConn) cmdSelect(p *imapParser) error { return c.selectMailbox(p, false) }

// cmdExamine is EXAMINE (RFC 9051 §6.3.3): SELECT, but nothing may be changed.
func (c *imapConn) cmdExamine(p *imapParser) error { return c.selectMailbox(p, true) }

func (c *imapConn) selectMailbox(p *imapParser, readonly bool) error {
	p.space()
	name := p.mailboxName()
	if p.take(" ") {
		p.list(func() {
			p.need("CONDSTORE")
			c.condstore = c.condstore || p.err == nil
		})
	}
	if err := p.end(); err != nil {
		return err
	}
	if c.state == imapSelected {
		c.unselect()
		c.putf("* OK [CLOSED] The previous mailbox is closed\r\n")
	}
	m, err := c.find(name, RightRead)
	if err != nil {
		return err
	}
	view := c.srv.store.View(m.ID, 0) // before the list is read, so that nothing of it loses its content
	v := imapView{readonly: readonly, view: view}
	var unseen UID
	err = c.srv.store.Read(func(tx *Tx) (err error) {
		if v.mbox, err = tx.MailboxByID(m.ID); err != nil {
			return err
		}
		if v.uids, v.seen, err = tx.UIDs(m.ID, nil); err != nil || v.mbox.Unseen == 0 {
			return err
		}
		unseen, err = tx.FirstUnseen(m.ID)
		return err
	})
	if err != nil {
		view.Close()
		return err
	}
	view.Told(v.seen)
	v.gone, v.highest = v.seen, v.mbox.HighestModSeq
	c.imapView, c.state = v, imapSelected
	c.showMailbox(unseen)
	return nil
}

// showMailbox writes what SELECT answers with, in the order of RFC 9051 §6.3.2.
func (c *imapConn) showMailbox(unseen UID) {
	c.putFlags()
	c.putf("* %d EXISTS\r\n", len(c.uids))
	c.takeRecent()
	if !c.rev2 {
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
	if i, ok := slices.BinarySearch(c.uids, unseen); ok && !c.rev2 {
		c.putf("* OK [UNSEEN %d] First unseen\r\n", i+1)
	}
	c.putf("* OK [UIDVALIDITY %d] UIDs valid\r\n", c.mbox.UIDValidity)
	c.putf("* OK [UIDNEXT %d] Predicted next UID\r\n", c.mbox.UIDNext)
	c.putf("* OK [HIGHESTMODSEQ %d] Highest\r\n", c.mbox.HighestModSeq)
	c.code = "READ-WRITE"
	if c.readonly {
		c.code = "READ-ONLY"
	}
}

// putFlags names the flags that are in use and those the client may set for good. "\*" says that it may make up
// keywords; Thunderbird stores its tags only then.
func (c *imapConn) putFlags() {
	c.words = c.mbox.Keywords
	all := strings.Join(append(slices.Clone(flagNames), strings.Fields(c.words)...), " ")
	c.putf("* FLAGS (%s)\r\n", all)
	if c.readonly {
		c.putf("* OK [PERMANENTFLAGS ()] Read-only\r\n")
	} else {
		c.putf("* OK [PERMANENTFLAGS (%s \\*)] Limited\r\n", all)
	}
}

// takeRecent makes new messages \Recent for this session and no other (RFC 3501 §2.3.2). EXAMINE takes none away.
func (c *imapConn) takeRecent() {
	if len(c.uids) == 0 || c.rev2 {
		return
	}
	next := c.uids[len(c.uids)-1] + 1
	first := next
	if c.readonly {
		first = c.srv.store.FirstRecent(c.mbox.ID, next)
	} else {
		first = c.srv.store.TakeRecent(c.mbox.ID, next)
	}
	if first >= next {
		return
	}
	if n := len(c.recent); n > 0 && c.recent[n-1].hi+1 >= uint32(first) {
		c.recent[n-1].hi = uint32(next - 1)
	} else {
		c.recent = append(c.recent, imapRange{uint32(first), uint32(next - 1)})
	}
	if len(c.recent) > imapRecentMax {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
}

func (c *imapConn) countRecent() (n int) {
	for _, r := range c.recent {
		lo, _ := slices.BinarySearch(c.uids, UID(r.lo))
		hi, found := slices.BinarySearch(c.uids, UID(r.hi))
		if n += hi - lo; found {
			n++
		}
	}
	return n
}

// isRecent says whether the message is \Recent in this session.
func (c *imapConn) isRecent(u UID) bool {
	return slices.ContainsFunc(c.recent, func(r imapRange) bool { return r.lo <= uint32(u) && uint32(u) <= r.hi })
}

// flagList is a message's flags as FETCH shows them.
func (c *imapConn) flagList(u UID, f Flags) string {
	s := f.String()
	if c.rev2 || !c.isRecent(u) {
		return s
	}
	return strings.Replace(strings.Replace(s, ")", ` \Recent)`, 1), "( ", "(", 1)
}

// seq is the sequence number of a message that the client knows.
func (c *imapConn) seq(u UID) (n int, ok bool) {
	i, ok := slices.BinarySearch(c.uids, u)
	return i + 1, ok
}

// unselect forgets the selected mailbox without a word.
func (c *imapConn) unselect() {
	if c.state != imapSelected {
		return
	}
	c.view.Close()
	c.imapView, c.state = imapView{}, imapAuth
}

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
			c.tellGone(changed)
		}
		c.tellNew(changed)
		if err := c.tellFlags(changed); err != nil {
			return err
		}
		if more = full; more {
			after = changed[len(changed)-1].uid
		}
	}
	c.seen, c.silent, c.stale, c.echo = now, 0, nil, nil
	if mayExpunge {
		c.gone = now
		c.view.Told(now)
	}
	return nil
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
			if m.UID > after {
				*changed = append(*changed, imapChange{m.UID, m.ModSeq, m.Flags, m.Gone})
			}
			return nil
		}
		if now, err = tx.Changes(c.mbox.ID, since, add); err != nil {
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

// tellGone writes the expunges and takes them out of uids, which is one pass however many they are.
func (c *imapConn) tellGone(changed []imapChange) {
	kept, from := 0, 0 // uids[:kept] stay, uids[from:] are still to be looked at
	for _, m := range changed {
		if !m.gone {
			continue
		}
		i, ok := slices.BinarySearch(c.uids[from:], m.uid)
		kept += copy(c.uids[kept:], c.uids[from:from+i])
		if from += i; ok {
			from++
			c.putf("* %d EXPUNGE\r\n", kept+1)
		}
		c.highest = max(c.highest, m.modseq)
	}
	if from != kept {
		kept += copy(c.uids[kept:], c.uids[from:])
		c.uids = c.uids[:kept]
	}
}

// tellNew writes EXISTS if there are new messages. Without any it must not be written, not even after an EXPUNGE: Apple
// Mail asks again and again for what it takes to be new.
func (c *imapConn) tellNew(changed []imapChange) {
	known := len(c.uids)
	for _, m := range changed {
		if !m.gone && (len(c.uids) == 0 || m.uid > c.uids[len(c.uids)-1]) {
			c.uids = append(c.uids, m.uid)
		}
	}
	if len(c.uids) == known {
		return
	}
	c.putf("* %d EXISTS\r\n", len(c.uids))
	if !c.rev2 {
		c.takeRecent()
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
}

// tellFlags writes a FETCH for every message with news, new ones included, so that a client need not ask.
func (c *imapConn) tellFlags(changed []imapChange) error {
	for _, m := range changed {
		echo := slices.Contains(c.echo, m.uid)
		n, ok := c.seq(m.uid)
		if m.gone || !ok || m.modseq <= c.seen && !echo {
			continue
		}
		c.highest = max(c.highest, m.modseq)
		if err := c.tellWords(m.flags.Words); err != nil {
			return err
		}
		if m.modseq == c.silent && !slices.Contains(c.stale, m.uid) {
			if c.condstore { // the client needs to know the modseq that it caused (RFC 7162 §3.1.3)
				c.putf("* %d FETCH (UID %d MODSEQ (%d))\r\n", n, m.uid, m.modseq)
			}
			continue
		}
		c.putf("* %d FETCH (UID %d FLAGS %s", n, m.uid, c.flagList(m.uid, m.flags))
		if c.condstore {
			c.putf(" MODSEQ (%d)", m.modseq)
		}
		c.putf(")\r\n")
	}
	return nil
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

// cmdIdle is IDLE (RFC 9051 §6.3.13). A client may send its next commands in the same packet as DONE (iOS does); they
// stay in the buffer. A line that is not DONE is refused, and the connection goes on.
//
//	idle = "IDLE" CRLF "DONE"
func (c *imapConn) cmdIdle(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	c.putf("+ idling\r\n")
	go func() {
		line, err := c.conn.line(imapLineAfter, imapIdle)
		done <- result{line, err}
	}()
	wake, stop := c.watchMailbox()
	defer stop()
	for {
		if c.state == imapSelected {
			if err := c.sync(true); err != nil {
				return err
			}
		}
		if err := c.w.Flush(); err != nil {
			return err
		}
		select {
		case <-wake:
		case <-c.wake:
			if err := c.userNow(); err != nil {
				return err
			}
		case r := <-done:
			if r.err != nil {
				return r.err
			}
			if !strings.EqualFold(strings.TrimRight(r.line, " "), "DONE") {
				return imapBad("Expected DONE")
			}
			return nil
		}
	}
}

// watchMailbox is woken when the selected mailbox changes, if its changes do not wake the user anyway.
func (c *imapConn) watchMailbox() (wake <-chan struct{}, stop func()) {
	if c.state != imapSelected || c.mbox.Owner == c.user.ID {
		return nil, func() {}
	}
	return c.srv.store.Watch(c.mbox.Owner)
}

// cmdClose is CLOSE (RFC 9051 §6.4.1): the messages marked \Deleted go without a word, then the mailbox is left.
func (c *imapConn) cmdClose(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	m, readonly := c.mbox, c.readonly
	c.unselect()
	if readonly {
		return nil
	}
	return c.expunge(m, nil, false)
}

// cmdUnselect is UNSELECT (RFC 9051 §6.4.2).
func (c *imapConn) cmdUnselect(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.unselect()
	return nil
}
