// COPY and MOVE: messages that go to another mailbox.
package main

import (
	"fmt"
)

// cmdCopy is COPY and UID COPY (RFC 9051 §6.4.7). All is copied or nothing, also when the power fails in between.
//
//	copy = "COPY" SP sequence-set SP mailbox
func (c *imapConn) cmdCopy(p *imapParser) error {
	uids, to, err := c.copyArguments(p)
	if err == nil {
		err = c.mayTake(uids)
	}
	if err != nil {
		return err
	}
	src, dst, err := c.srv.store.CopyAll(c.mbox, uids, to, func(tx *Tx, dst []UID) error {
		c.noteOwn(tx)
		return c.dropFlags(tx, to, dst)
	})
	if err == nil && len(src) > 0 {
		c.code = fmt.Sprintf("COPYUID %d %s %s", to.UIDValidity, imapSet(src), imapSet(dst))
	}
	return err
}

// cmdMove is MOVE and UID MOVE (RFC 9051 §6.4.8, RFC 6851). Each message is in one of the two mailboxes at any moment and
// never in both; a command that fails in between has moved some and left the others (RFC 6851 §3.3). COPYUID comes before the
// expunges, so that a client can match them.
//
//	move = "MOVE" SP sequence-set SP mailbox
func (c *imapConn) cmdMove(p *imapParser) error {
	uids, to, err := c.copyArguments(p)
	if err == nil {
		err = c.mayExpunge()
	}
	if err != nil {
		return err
	}
	uids = c.takeHighest(uids)
	if err := c.srv.store.MoveFits(c.mbox, uids, to); err != nil {
		return err
	}
	before := c.highest
	var src, dst []UID
	err = c.srv.store.InSteps(uids, func(tx *Tx, step []UID) error {
		var err error
		src, dst, err = tx.Move(c.mbox, step, to)
		if err != nil {
			return err
		}
		c.noteOwn(tx)
		return c.dropFlags(tx, to, dst)
	}, func([]UID) error {
		if len(src) > 0 {
			c.putf("* OK [COPYUID %d %s %s] Moved\r\n", to.UIDValidity, imapSet(src), imapSet(dst))
		}
		c.effects.removed = src
		return c.sync()
	})
	c.codeModSeq(before)
	return err
}

// codeModSeq puts the new HIGHESTMODSEQ into the tagged OK of what expunged something (RFC 7162 §3.2.7, RFC 6851 §4.5).
func (c *imapConn) codeModSeq(before ModSeq) {
	if c.qresync && c.highest != before {
		c.code = fmt.Sprintf("HIGHESTMODSEQ %d", c.highest)
	}
}

func (c *imapConn) copyArguments(p *imapParser) ([]UID, Mailbox, error) {
	p.space()
	uids := p.set()
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return nil, Mailbox{}, err
	}
	to, err := c.findToAdd(name)
	return uids, to, err
}
