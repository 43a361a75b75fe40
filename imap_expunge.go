// EXPUNGE: messages marked \Deleted go for good.
package main

// cmdExpunge is EXPUNGE (RFC 9051 §6.4.3) and UID EXPUNGE (§6.4.9). The client hears of its expunges before the tagged OK;
// some believe that there were none otherwise.
//
//	expunge     = "EXPUNGE"
//	uid-expunge = "UID" SP "EXPUNGE" SP sequence-set
func (c *imapConn) cmdExpunge(p *imapParser) error {
	var uids []UID
	if c.uid {
		p.space()
		uids = c.takeHighest(append([]UID{}, p.set()...))
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := c.mayExpunge(); err != nil {
		return err
	}
	before := c.highest
	err := c.expunge(c.mbox, uids, func(gone []UID) error {
		c.effects.removed = gone
		return c.sync()
	})
	c.codeModSeq(before)
	return err
}

// expunge removes the messages of m that are marked \Deleted, all of them or those of uids, in steps. told gets what
// each step has removed, once it is committed.
func (c *imapConn) expunge(m Mailbox, uids []UID, told func([]UID) error) error {
	if uids == nil {
		var err error
		uids, err = read(c.srv.store, func(tx *Tx) ([]UID, error) { return tx.Deleted(m.ID) })
		if err != nil {
			return err
		}
	}
	var gone []UID
	return c.srv.store.InSteps(uids, func(tx *Tx, step []UID) error {
		var err error
		gone, err = tx.ExpungeDeleted(m, step)
		c.noteOwn(tx)
		return err
	}, func([]UID) error { return told(gone) })
}
