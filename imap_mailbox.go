// The tree of mailboxes: LIST, CREATE, DELETE, RENAME, subscriptions, STATUS, NAMESPACE.
package main

// find looks a mailbox up by the name that the client gives it.
func (c *imapConn) find(name string) (m Mailbox, err error) {
	err = c.srv.store.Read(func(tx *Tx) (err error) { m, err = tx.MailboxByName(c.user.ID, name); return err })
	return m, err
}
