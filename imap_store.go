// STORE: flags of messages in the selected mailbox.
package main

import (
	"slices"
)

// cmdStore is STORE and UID STORE (RFC 9051 §6.4.6), with UNCHANGEDSINCE (RFC 7162 §3.1.3).
//
//	store           = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP number64 ")"] SP store-att-flags
//	store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
func (c *imapConn) cmdStore(p *imapParser) error {
	p.space()
	uids := c.takeHighest(p.set())
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
	if err := c.srv.store.FlagsFit(c.mbox, uids, change); err != nil {
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
	if change.May == 0 || (asked != (Flags{}) && change.May.touch(Flags{}, asked) == (Flags{})) {
		return imapNo("NOPERM", "You may not change these flags")
	}
	return nil
}

// store changes flags in steps. After each, sync shows what it did. A client that counts in sequence numbers and waits for
// FETCH is told if messages are gone that it still knows of (RFC 2180 §4.2); UIDs that are not there are no error (RFC 9051 §6.4.9).
func (c *imapConn) store(uids []UID, change FlagChange, silent bool) error {
	var modified []UID
	var res FlagResult
	missing := false
	err := c.srv.store.InSteps(uids, func(tx *Tx, step []UID) error {
		var err error
		change.Known = c.seen
		res, err = tx.SetFlags(c.mbox, step, change)
		return err
	}, func(step []UID) error {
		if silent {
			c.effects.silent, c.effects.stale = res.ModSeq, res.Stale
		} else {
			c.effects.echo, c.effects.stored = res.Same, imapWithout(step, res.Missing)
		}
		if c.notify.frozen() || (c.notify.quiet() && !silent) {
			c.effects.echo = step
		}
		modified = append(modified, res.Modified...)
		missing = missing || len(res.Missing) > 0
		return c.syncButExpunges()
	})
	switch {
	case err != nil:
	case len(modified) > 0:
		c.code, c.text = "MODIFIED "+c.modifiedSet(modified), "Some messages had changed"
	case missing && !silent && !c.uid:
		err = imapNo("EXPUNGEISSUED", "Some of the messages have been deleted")
	}
	return err
}

// imapWithout is a sorted list without those of another.
func imapWithout(uids, not []UID) []UID {
	if len(not) == 0 {
		return uids
	}
	return slices.DeleteFunc(slices.Clone(uids), func(u UID) bool {
		_, is := slices.BinarySearch(not, u)
		return is
	})
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
