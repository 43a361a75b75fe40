// APPEND: messages that come in over IMAP.
package main

import (
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

const imapAppendMax = 100 // messages of one APPEND

// cmdAppend is APPEND (RFC 9051 §6.3.12), of several messages at once if asked (RFC 3502): all or none.
//
//	append = "APPEND" SP mailbox 1*(SP [flag-list SP] [date-time SP] literal)
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
	defer c.srv.store.Announce()()
	for p.err == nil && (len(all) == 0 || p.rest != "") {
		if len(all) == imapAppendMax {
			p.refuse(imapNo("LIMIT", "Too many messages in one command"))
			break
		}
		all = append(all, p.appendMessage())
	}
	if err := p.end(); err != nil {
		return err
	}
	uids, err := c.appendAll(m, all)
	if err != nil {
		return err
	}
	c.code = fmt.Sprintf("APPENDUID %d %s", m.UIDValidity, imapSet(uids))
	return nil
}

// appendTo finds the mailbox before the client sends its message. TRYCREATE tells it what would help (RFC 9051 §6.3.12).
func (c *imapConn) appendTo(p *imapParser, name string) (m Mailbox, err error) {
	if p.err != nil {
		return m, p.err
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
func (p *imapParser) appendMessage() (a imapAppend) {
	st := p.c.srv.store
	a.internal, a.spool = st.Now(), st.NewSpool(int64(p.c.srv.cfg.Limits.Message))
	p.space()
	if p.next("(") {
		a.flags = p.flags()
		p.space()
	}
	if p.next(`"`) {
		a.internal = p.datetime()
		p.space()
	}
	n, sync, _ := p.literalSize()
	if p.err != nil {
		return a
	}
	switch err := st.Room(n); {
	case n == 0: // how a client gives up (RFC 3502 §6.3.11)
		p.refuse(imapNo("", "A message can't be empty"))
	case n > int64(p.c.srv.cfg.Limits.Message):
		p.refuse(imapNo("TOOBIG", fmt.Sprintf("Messages may have at most %d octets", p.c.srv.cfg.Limits.Message)))
	case err != nil:
		p.refuse(err)
	default:
		p.readLiteral(a.spool, n, sync)
	}
	return a
}

// appendAll stores the messages in one transaction.
func (c *imapConn) appendAll(m Mailbox, all []imapAppend) (uids []UID, err error) {
	err = c.srv.store.Write(func(tx *Tx) error {
		uids = uids[:0]
		if _, err := tx.MailboxByID(m.ID); err != nil {
			return imapNo("TRYCREATE", "The mailbox is gone")
		}
		for _, a := range all {
			b, err := tx.AddBlob(a.spool)
			if err != nil {
				return err
			}
			msg, err := tx.Append(m, b, a.flags, a.internal)
			if err != nil {
				return err
			}
			uids = append(uids, msg.UID)
		}
		return c.dropFlags(tx, m, uids)
	})
	return uids, err
}
