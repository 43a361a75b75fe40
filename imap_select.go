// The selected mailbox: what the client knows of it, SELECT, EXAMINE, CLOSE and UNSELECT.
package main

import (
	"errors"
	"slices"
	"strings"
)

// imapView is what a client knows of the mailbox it has selected. It costs a quarter of an octet a message (imapUIDs).
//
// seen and gone are modseqs: the client has been told of all new messages and flags up to seen, and of all expunges up
// to gone. They differ because during a command that uses sequence numbers everything but expunges may be told (RFC 9051
// §7.5.1). Until it is told, a message is still there for its client: the tombstone answers FETCH, and view keeps its
// content.
type imapView struct {
	mbox           Mailbox // as it was at SELECT
	rights         Rights  // what the client may do with it
	readonly       bool
	uids           imapUIDs // sequence number - 1 → UID
	seen           ModSeq
	gone           ModSeq
	highest        ModSeq // of what the client was told
	pendingExpunge bool   // an EXPUNGE waits for a command in which it may be sent (RFC 9051 §7.5.1)
	hinted         ModSeq // value of highest when HIGHESTMODSEQ was last sent with the lower value gone
	view           *View
	words          string      // keywords that FLAGS has named
	full           bool        // the mailbox can't have more of them
	recent         []imapRange // UIDs that are \Recent in this session only
	saved          imapUIDs    // the result of the last search with RETURN (SAVE) (RFC 5182)
	contexts       []*imapContext
	shown          imapTextual
}

// imapErrGone ends a session whose selected mailbox is deleted, or not the client's to read any more.
var imapErrGone = errors.New("the selected mailbox is gone")

const (
	imapSyncStep  = 10_000 // changes that sync holds in memory at a time
	imapRecentMax = 1_000  // ranges of \Recent messages
	imapVanishMax = 1_000  // ranges in one VANISHED line
)

// imapViewSize is the most that a session's list of a mailbox takes, in octets (see imapUIDs).
func imapViewSize(m Mailbox) int64 { return 16 * min(m.Exists, int64(m.UIDNext)/64+1) }

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
	// Before the list is read, so that nothing of it loses its content.
	view, err := c.srv.store.View(c.user.ID, m.ID, imapViewSize(m), 0)
	if err != nil {
		return err
	}
	v := imapView{view: view}
	var unseen UID
	err = c.srv.store.Read(func(tx *Tx) error {
		var err error
		v.mbox, err = tx.MailboxByID(m.ID)
		if err != nil {
			return err
		}
		v.rights, err = tx.RightsOf(c.user, v.mbox)
		if err != nil {
			return err
		}
		v.full, err = tx.KeywordsFull(v.mbox)
		if err != nil {
			return err
		}
		v.seen, err = tx.EachUID(m.ID, v.uids.add)
		if err != nil || v.mbox.Unseen == 0 {
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
	v.readonly = readonly || v.rights&imapRightsWrite == 0 || errors.Is(c.srv.store.Writable(), ErrReadOnly)
	v.gone, v.highest = v.seen, v.mbox.HighestModSeq
	c.opened = true
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
	c.putf("* %d EXISTS\r\n", c.uids.len())
	c.takeRecent()
	if !c.rev2 {
		c.putf("* %d RECENT\r\n", c.countRecent())
	}
	if i, ok := c.uids.find(unseen); ok && !c.rev2 && !c.uidonly {
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
// keywords; Thunderbird stores its tags only then. A mailbox that has as many as it can does not say it.
func (c *imapConn) putFlags() {
	c.words = c.mbox.Keywords
	all := strings.Join(append(slices.Clone(flagNames), strings.Fields(c.words)...), " ")
	c.putf("* FLAGS (%s)\r\n", all)
	switch may := c.rights.touch(Flags{}, Flags{Bits: 1<<len(flagNames) - 1, Words: c.words}); {
	case c.readonly:
		c.putf("* OK [PERMANENTFLAGS ()] Read-only\r\n")
	case c.rights&RightWrite != 0 && !c.full:
		c.putf("* OK [PERMANENTFLAGS (%s \\*)] Limited\r\n", strings.Join(may.Names(), " "))
	default:
		c.putf("* OK [PERMANENTFLAGS %s] Limited\r\n", may)
	}
}

// unselect forgets the selected mailbox without a word. A connection that was lost is in no state of having one any more, and gives it back all
// the same: as long as a view is open, what others expunge keeps its content.
func (c *imapConn) unselect() {
	if c.view == nil {
		return
	}
	c.view.Close()
	c.shown.close()
	c.imapView = imapView{}
	if c.state == imapSelected {
		c.state = imapAuth
	}
	if c.notify != nil {
		c.notify.woken = true // what it has not been told of the mailbox
	}
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
	return c.expunge(m, nil, func([]UID) error { return nil })
}

// cmdUnselect is UNSELECT (RFC 9051 §6.4.2).
func (c *imapConn) cmdUnselect(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.unselect()
	return nil
}
