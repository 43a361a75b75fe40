// STORE, EXPUNGE, COPY, MOVE: what changes messages of the selected mailbox.
package main

import (
	"errors"
	"fmt"
	"slices"
)

// imapWriteStep is how many messages one transaction changes, so that nobody else has to wait long. Between the steps of a
// large command the client hears what is done so far.
const imapWriteStep = 250

// mayWrite refuses changes in a mailbox that was opened with EXAMINE.
func (c *imapConn) mayWrite() error {
	if c.readonly {
		return imapNo("READ-ONLY", "The mailbox was opened with EXAMINE")
	}
	return nil
}

// mayExpunge refuses what needs the right to expunge.
func (c *imapConn) mayExpunge() error {
	if c.rights&RightExpunge == 0 {
		return imapNo("NOPERM", "You lack the right \"e\" on this mailbox")
	}
	return c.mayWrite()
}

// cmdStore is STORE and UID STORE (RFC 9051 §6.4.6), with UNCHANGEDSINCE (RFC 7162 §3.1.3).
//
//	store           = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP number64 ")"] SP store-att-flags
//	store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
func (c *imapConn) cmdStore(p *imapParser) error {
	p.space()
	uids := c.limit(p.set())
	p.space()
	change := FlagChange{Op: '=', Unchanged: -1}
	if p.take("(") {
		p.need("UNCHANGEDSINCE ")
		change.Unchanged = ModSeq(p.number64())
		p.need(") ")
	}
	if p.take("+") {
		change.Op = '+'
	} else if p.take("-") {
		change.Op = '-'
	}
	p.need("FLAGS")
	silent := p.take(".SILENT")
	p.space()
	change.Flags = p.flags()
	if err := p.end(); err != nil {
		return err
	}
	if err := c.mayWrite(); err != nil {
		return err
	}
	if err := c.mayStore(&change); err != nil {
		return err
	}
	if change.Unchanged >= 0 {
		c.enableCondstore()
	}
	return c.store(uids, change, silent)
}

// mayStore limits a change to the flags that the client may touch. It is refused when that leaves nothing (RFC 4314 §4).
func (c *imapConn) mayStore(change *FlagChange) error {
	change.May = c.rights & (RightSeen | RightTrash | RightWrite)
	asked := change.Flags
	if change.Op == '=' && asked == (Flags{}) {
		asked.Bits = ^FlagBits(0)
	}
	if change.May == 0 || asked != (Flags{}) && change.May.touch(Flags{}, asked) == (Flags{}) {
		return imapNo("NOPERM", "You may not change these flags")
	}
	return nil
}

// store changes flags in steps. After each, sync shows what it did.
func (c *imapConn) store(uids []UID, change FlagChange, silent bool) error {
	var modified []UID
	for step := range slices.Chunk(uids, imapWriteStep) {
		change.Known = c.seen
		var res FlagResult
		err := c.srv.store.Write(func(tx *Tx) (err error) { res, err = tx.SetFlags(c.mbox, step, change); return err })
		if err != nil {
			return err
		}
		if silent {
			c.silent, c.stale = res.ModSeq, res.Stale
		} else {
			c.echo = res.Same
		}
		if c.notify.frozen() || c.notify.quiet() && !silent {
			c.echo = step
		}
		if err := c.sync(false); err != nil {
			return err
		}
		modified = append(modified, res.Modified...)
	}
	if len(modified) > 0 {
		c.code, c.text = "MODIFIED "+c.modifiedSet(modified), "Some messages had changed"
	}
	return nil
}

// modifiedSet names messages as the command did: by UID, or by sequence number.
func (c *imapConn) modifiedSet(uids []UID) string {
	if c.uid {
		return imapSet(uids)
	}
	nums := make([]UID, 0, len(uids))
	for _, u := range uids {
		if n, ok := c.seq(u); ok {
			nums = append(nums, UID(n))
		}
	}
	return imapSet(nums)
}

// dropFlags takes away from new messages the flags that the client may not set there (RFC 4314 §4).
func (c *imapConn) dropFlags(tx *Tx, to Mailbox, uids []UID) error {
	have, err := tx.RightsOf(c.user, to)
	if not := ^have & (RightSeen | RightTrash | RightWrite); err == nil && not != 0 {
		_, err = tx.SetFlags(to, uids, FlagChange{Op: '=', Unchanged: -1, May: not})
	}
	return err
}

// cmdExpunge is EXPUNGE (RFC 9051 §6.4.3) and UID EXPUNGE (§6.4.9). The client hears of its expunges before the tagged OK;
// some believe that there were none otherwise.
//
//	expunge     = "EXPUNGE"
//	uid-expunge = "UID" SP "EXPUNGE" SP sequence-set
func (c *imapConn) cmdExpunge(p *imapParser) error {
	var uids []UID
	if c.uid {
		p.space()
		uids = c.limit(append([]UID{}, p.set()...))
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := c.mayExpunge(); err != nil {
		return err
	}
	before := c.highest
	err := c.expunge(c.mbox, uids, true)
	c.codeModSeq(before)
	return err
}

// expunge removes the messages of m that are marked \Deleted, all of them or those of uids, in steps. With tell the client
// hears of each step at once.
func (c *imapConn) expunge(m Mailbox, uids []UID, tell bool) error {
	if uids == nil {
		err := c.srv.store.Read(func(tx *Tx) (err error) { uids, err = tx.Deleted(m.ID); return err })
		if err != nil {
			return err
		}
	}
	for step := range slices.Chunk(uids, imapWriteStep) {
		var gone []UID
		err := c.srv.store.Write(func(tx *Tx) (err error) { gone, err = tx.Expunge(m, step, false); return err })
		if err == nil && tell {
			c.removed = gone
			err = c.sync(true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cmdCopy is COPY and UID COPY (RFC 9051 §6.4.7). All is copied or nothing: when a later step fails, what the steps before
// it copied goes again.
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
	src, dst, err := c.transfer(uids, to, (*Tx).Copy)
	if err != nil {
		return errors.Join(err, c.takeBack(to, dst))
	}
	if len(src) > 0 {
		c.code = fmt.Sprintf("COPYUID %d %s %s", to.UIDValidity, imapSet(src), imapSet(dst))
	}
	return nil
}

// takeBack removes what was copied by a command that failed.
func (c *imapConn) takeBack(m Mailbox, uids []UID) error {
	for step := range slices.Chunk(uids, imapWriteStep) {
		if err := c.srv.store.Write(func(tx *Tx) error { _, err := tx.Expunge(m, step, true); return err }); err != nil {
			return err
		}
	}
	return nil
}

// cmdMove is MOVE and UID MOVE (RFC 9051 §6.4.8, RFC 6851). COPYUID comes before the expunges, so that a client can match
// them.
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
	before := c.highest
	for step := range slices.Chunk(c.limit(uids), imapWriteStep) {
		src, dst, err := c.transfer(step, to, (*Tx).Move)
		if err != nil {
			return err
		}
		if len(src) > 0 {
			c.putf("* OK [COPYUID %d %s %s] Moved\r\n", to.UIDValidity, imapSet(src), imapSet(dst))
		}
		c.removed = src
		if err := c.sync(true); err != nil {
			return err
		}
	}
	c.codeModSeq(before)
	return nil
}

// codeModSeq puts the new HIGHESTMODSEQ into the tagged OK of what expunged something (RFC 7162 §3.2.7, RFC 6851 §4.5).
func (c *imapConn) codeModSeq(before ModSeq) {
	if c.qresync && c.highest != before {
		c.code = fmt.Sprintf("HIGHESTMODSEQ %d", c.highest)
	}
}

func (c *imapConn) copyArguments(p *imapParser) (uids []UID, to Mailbox, err error) {
	p.space()
	uids = p.set()
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return nil, to, err
	}
	to, err = c.findToAdd(name)
	return uids, to, err
}

// transfer copies or moves messages in steps. The answers pair up.
func (c *imapConn) transfer(uids []UID, to Mailbox, how func(tx *Tx, from Mailbox, uids []UID, to Mailbox) ([]UID, []UID, error)) (src, dst []UID, err error) {
	for step := range slices.Chunk(uids, imapWriteStep) {
		var s, d []UID
		err := c.srv.store.Write(func(tx *Tx) (err error) {
			if s, d, err = how(tx, c.mbox, step, to); err != nil {
				return err
			}
			return c.dropFlags(tx, to, d)
		})
		if err != nil {
			return src, dst, err
		}
		src, dst = append(src, s...), append(dst, d...)
	}
	return src, dst, nil
}
