// STORE, EXPUNGE, COPY, MOVE: what changes messages of the selected mailbox.
package main

import "slices"

// imapWriteStep is how many messages one transaction changes, so that nobody else has to wait long.
const imapWriteStep = 500

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
		err := c.srv.store.Write(func(tx *Tx) error { _, err := tx.Expunge(m, step, false); return err })
		if err == nil && tell {
			err = c.sync(true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
