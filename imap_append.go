// APPEND: messages that come in over IMAP.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// imapAppend is one message of an APPEND command.
type imapAppend struct {
	flags    Flags
	internal time.Time
	spool    *Spool
}

const (
	imapAppendMax  = 10_000  // messages of one APPEND
	imapAppendHeld = 2 << 20 // octets of messages that wait in memory and files; more go to the database at once
	imapCatMax     = 1000    // parts of one CATENATE
)

// cmdAppend is APPEND (RFC 9051 §6.3.12), of several messages at once if asked (RFC 3502): all or none.
//
//	append         = "APPEND" SP mailbox 1*append-message
//	append-message = SP [flag-list SP] [date-time SP] (literal / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")")
func (c *imapConn) cmdAppend(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	var all []imapAppend
	defer func() {
		for _, a := range all {
			a.spool.Close()
		}
	}()
	m, err := c.appendTo(p, name)
	if err != nil && p.err == nil {
		p.refuse(err)
	}
	var held, total int64
	for p.err == nil && (len(all) == 0 || p.rest != "") {
		if most := c.appendLimit(); len(all) == most {
			p.refuse(imapNo(fmt.Sprintf("MESSAGELIMIT %d", most), "Too many messages for one command")) // RFC 9738
			break
		}
		a := p.appendMessage()
		all = append(all, a)
		if p.err == nil {
			held, total = held+a.spool.Size(), total+a.spool.Size()
			held = p.stageAppend(m, a.spool, held, total, len(all))
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	uids, err := c.appendAll(m, all, 0)
	if err != nil {
		return err
	}
	c.code = fmt.Sprintf("APPENDUID %d %s", m.UIDValidity, imapSet(uids))
	return nil
}

// appendLimit is how many messages one APPEND may add.
func (c *imapConn) appendLimit() int { return min(imapAppendMax, c.srv.cfg.Limits.IMAPMessages) }

// stageAppend stores a message ahead of the others of its command when they are too big together, so that it does not
// take memory, and looks whether all so far have room. It returns how much waits.
func (p *imapParser) stageAppend(m Mailbox, sp *Spool, held, total int64, count int) int64 {
	st := p.c.srv.store
	if held < imapAppendHeld || count == 1 {
		return held
	}
	err := st.Read(func(tx *Tx) error { return tx.Room(m.Owner, total, int64(count)) })
	if err == nil {
		err = st.StageAhead(sp)
	}
	if err != nil {
		p.refuse(err)
	}
	return held - sp.Size()
}

// appendTo finds the mailbox before the client sends its message. TRYCREATE tells it what would help (RFC 9051 §6.3.12).
func (c *imapConn) appendTo(p *imapParser, name string) (Mailbox, error) {
	if p.err != nil {
		return Mailbox{}, p.err
	}
	return c.findToAdd(name)
}

// findToAdd finds a mailbox that messages shall be added to.
func (c *imapConn) findToAdd(name string) (Mailbox, error) {
	m, err := c.find(name, RightInsert)
	var ie *imapError
	if errors.As(err, &ie) && ie.code == "NONEXISTENT" {
		ie.code = "TRYCREATE"
	}
	return m, err
}

// appendMessage reads one message of APPEND into a spool.
func (p *imapParser) appendMessage() imapAppend {
	st := p.c.srv.store
	a := imapAppend{internal: st.Now(), spool: st.NewIncoming(int64(p.c.srv.cfg.Limits.Message))}
	p.space()
	if p.next("(") {
		a.flags = p.flags()
		p.space()
	}
	if p.next(`"`) {
		a.internal = p.datetime()
		p.space()
	}
	switch {
	case p.take("CATENATE "): // RFC 4469 §4
		parts := 0
		p.list(func() {
			parts++
			if parts > imapCatMax {
				p.refuse(imapNo("LIMIT", "Too many parts"))
			}
			p.catenate(a.spool)
		})
	case p.take("UTF8 ("): // RFC 6855 §4
		if !p.c.utf8 {
			p.fail("Say ENABLE UTF8=ACCEPT first")
		}
		p.messageLiteral(a.spool)
		p.need(")")
	default:
		p.messageLiteral(a.spool)
	}
	if p.err == nil && a.spool.Size() == 0 {
		p.refuse(imapNo("", "A message can't be empty"))
	}
	return a
}

// messageLiteral reads a literal into the spool. One that is too big is refused before it is sent.
func (p *imapParser) messageLiteral(sp *Spool) {
	n, sync, _ := p.literalSize()
	if p.err != nil {
		return
	}
	limit := int64(p.c.srv.cfg.Limits.Message)
	switch err := p.c.srv.store.Room(n); {
	case n == 0: // how a client gives up (RFC 3502 §6.3.11)
		p.refuse(imapNo("", "A message can't be empty"))
	case sp.Size()+n > limit:
		p.refuse(imapNo("TOOBIG", fmt.Sprintf("Messages may have at most %d octets", limit)))
	case err != nil:
		p.refuse(err)
	default:
		p.readLiteral(sp, n, sync)
	}
}

// cmdReplace is REPLACE and UID REPLACE (RFC 8508 §3): APPEND, and the old message goes in the same step.
//
//	replace = "REPLACE" SP seq-number SP mailbox append-message
func (c *imapConn) cmdReplace(p *imapParser) error {
	p.space()
	old := p.set()
	p.space()
	name := p.mailboxName()
	m, err := c.appendTo(p, name)
	if err == nil && len(old) != 1 {
		err = imapNo("NONEXISTENT", "There is no such message")
	}
	if err == nil {
		err = c.mayExpunge()
	}
	if err != nil && p.err == nil {
		p.refuse(err)
	}
	var a imapAppend
	if p.err == nil {
		a = p.appendMessage()
		defer a.spool.Close()
	}
	if err := p.end(); err != nil {
		return err
	}
	uids, err := c.appendAll(m, []imapAppend{a}, old[0])
	if err != nil {
		return err
	}
	c.putf("* OK [APPENDUID %d %s] The new message\r\n", m.UIDValidity, imapSet(uids))
	before := c.highest
	c.effects.removed = old
	err = c.sync()
	c.codeModSeq(before)
	return err
}

// appendAll stores the messages, all or none. With old that message of the selected mailbox goes first, so that only what
// is added counts against a quota.
func (c *imapConn) appendAll(m Mailbox, all []imapAppend, old UID) ([]UID, error) {
	work := make([]UID, len(all)) // places in all
	for i := range all {
		work[i] = UID(i)
		if err := c.srv.store.Stage(all[i].spool); err != nil {
			return nil, err
		}
	}
	var uids, added []UID
	err := c.srv.store.AllOrNone(work, m, func(tx *Tx, step []UID) ([]UID, error) {
		added = nil
		if _, err := tx.MailboxByID(m.ID); err != nil {
			return nil, imapNo("TRYCREATE", "The mailbox is gone")
		}
		if old != 0 {
			if gone, err := tx.Expunge(c.mbox, []UID{old}); err != nil || len(gone) == 0 {
				return nil, cmp.Or(err, imapNo("NONEXISTENT", "The message is gone"))
			}
		}
		for _, i := range step {
			b, err := tx.AddBlob(all[i].spool)
			if err != nil {
				return nil, err
			}
			b.Form |= FormBrought
			msg, err := tx.Append(m, b, all[i].flags, all[i].internal)
			if err != nil {
				return nil, err
			}
			added = append(added, msg.UID)
		}
		c.noteOwn(tx)
		return added, c.dropFlags(tx, m, added)
	}, func() { uids = append(uids, added...) })
	return uids, err
}
