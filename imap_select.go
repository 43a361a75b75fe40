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
	rights   Rights  // what the client may do with it
	readonly bool
	uids     []UID // sequence number - 1 → UID
	seen     ModSeq
	gone     ModSeq
	highest  ModSeq // of what the client was told
	held     bool   // somebody has expunged what the client could not be told of yet
	lowered  ModSeq // highest when the client was last told to go by gone
	fresh    bool   // this command has just opened it: there is no news yet, and the client knows no UIDs that could vanish
	view     *View
	words    string      // keywords that FLAGS has named
	recent   []imapRange // UIDs that are \Recent in this session only
	saved    []UID       // the result of the last search with RETURN (SAVE) (RFC 5182)
	contexts []*imapContext

	silent ModSeq   // of our own STORE.SILENT
	stale  []UID    // messages in it that others had changed, too
	shown  []ModSeq // of our own FETCHes that set \Seen and said so, sorted
	echo   []UID    // messages that a STORE has to show whether or not it changed them
	stored []UID    // messages that it has to show even if somebody has expunged them since

	removed []UID // messages that our own command expunged
}

// imapErrGone ends a session whose selected mailbox is deleted, or not the client's to read any more.
var imapErrGone = errors.New("the selected mailbox is gone")

const (
	imapSyncStep  = 10_000 // changes that sync holds in memory at a time
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
	var q *imapResync
	condstore := false
	if p.take(" ") {
		p.list(func() {
			if p.take("CONDSTORE") {
				condstore = true
				return
			}
			q = p.resync()
		})
	}
	if err := p.end(); err != nil {
		return err
	}
	c.condstore = c.condstore || condstore
	if c.state == imapSelected {
		c.unselect()
		c.putf("* OK [CLOSED] The previous mailbox is closed\r\n")
	}
	m, err := c.find(name, RightRead)
	if err != nil {
		return err
	}
	view := c.srv.store.View(m.ID, 0) // before the list is read, so that nothing of it loses its content
	v := imapView{view: view}
	var unseen UID
	err = c.srv.store.Read(func(tx *Tx) (err error) {
		if v.mbox, err = tx.MailboxByID(m.ID); err != nil {
			return err
		}
		if v.rights, err = tx.RightsOf(c.user, v.mbox); err != nil {
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
	v.readonly = readonly || v.rights&imapRightsWrite == 0
	v.gone, v.highest = v.seen, v.mbox.HighestModSeq
	v.fresh = true
	c.imapView, c.state = v, imapSelected
	c.showMailbox(name, unseen)
	if q != nil && q.validity == v.mbox.UIDValidity {
		return c.resync(q)
	}
	return nil
}

// showMailbox writes what SELECT answers with, in the order of RFC 9051 §6.3.2.
func (c *imapConn) showMailbox(name string, unseen UID) {
	c.putFlags()
	c.putf("* %d EXISTS\r\n", len(c.uids))
	c.takeRecent()
	if !c.rev2 {
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
	if i, ok := slices.BinarySearch(c.uids, unseen); ok && !c.rev2 && !c.uidonly {
		c.putf("* OK [UNSEEN %d] First unseen\r\n", i+1)
	}
	c.putf("* OK [UIDVALIDITY %d] UIDs valid\r\n", c.mbox.UIDValidity)
	c.putf("* OK [UIDNEXT %d] Predicted next UID\r\n", c.mbox.UIDNext)
	c.putf("* OK [HIGHESTMODSEQ %d] Highest\r\n", c.mbox.HighestModSeq)
	c.putf("* OK [MAILBOXID (F%d)] Lasting name\r\n", c.mbox.ID) // RFC 8474 §4.2
	if c.rev2 {
		c.putf("* LIST () \"/\" ")
		c.putMailbox(name)
		c.putf("\r\n")
	}
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
	switch may := c.rights.touch(Flags{}, Flags{Bits: 1<<len(flagNames) - 1, Words: c.words}); {
	case c.readonly:
		c.putf("* OK [PERMANENTFLAGS ()] Read-only\r\n")
	case c.rights&RightWrite != 0:
		c.putf("* OK [PERMANENTFLAGS (%s \\*)] Limited\r\n", strings.Join(may.Names(), " "))
	default:
		c.putf("* OK [PERMANENTFLAGS %s] Limited\r\n", may)
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
	if c.notify != nil {
		c.notify.woken = true // what it has not been told of the mailbox
	}
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
		if more = full; more {
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
		if now, err = tx.Changes(c.mbox.ID, since, after, add); err != nil {
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
		if from += i; ok {
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
		if !ok || m.modseq <= c.seen && !echo {
			continue
		}
		if _, stored := slices.BinarySearch(c.stored, m.uid); m.gone && !stored {
			continue
		}
		c.highest = max(c.highest, m.modseq)
		_, isQuiet := slices.BinarySearch(quiet, m.uid)
		_, isShown := slices.BinarySearch(c.shown, m.modseq)
		if isQuiet || isShown || c.notify.quiet() && !echo && m.modseq != c.silent {
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

// cmdClose is CLOSE (RFC 9051 §6.4.1): the messages marked \Deleted go without a word, then the mailbox is left.
func (c *imapConn) cmdClose(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	m, may := c.mbox, !c.readonly && c.rights&RightExpunge != 0
	c.unselect()
	if !may { // not an error (RFC 4314 §4)
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
