// The tree of mailboxes: CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// imapSpecials are the special uses that a mailbox can be created for (RFC 6154 §2). \All and \Flagged would be views of
// other mailboxes, which there are none of.
var imapSpecials = []string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`}

// cmdCreate is CREATE (RFC 9051 §6.3.4), with a special use (RFC 6154 §3). Missing parents are made, too. New mailboxes are
// subscribed: Thunderbird shows no others.
//
//	create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]
func (c *imapConn) cmdCreate(p *imapParser) error {
	p.space()
	name := strings.TrimSuffix(p.mailboxName(), "/") // a client may say that it wants to make children
	special := ""
	if p.take(" ") {
		special = p.createUse()
	}
	if err := p.end(); err != nil {
		return err
	}
	var m Mailbox
	err := c.writeName(func(tx *Tx) (err error) {
		m, err = c.create(tx, name)
		if err == nil && special != "" {
			err = c.setSpecial(tx, m, special)
		}
		return err
	}, name)
	if err == nil {
		c.code = fmt.Sprintf("MAILBOXID (F%d)", m.ID) // RFC 8474 §4.1
	}
	return err
}

// createUse reads the parameters of CREATE. Of several uses, which RFC 6154 lets a server refuse, one is enough.
func (p *imapParser) createUse() (special string) {
	p.enter()
	p.need("USE (")
	for p.err == nil && !p.take(")") {
		p.take(" ")
		p.need(`\`)
		use := `\` + p.atom()
		i := slices.IndexFunc(imapSpecials, func(s string) bool { return strings.EqualFold(s, use) })
		if i < 0 || special != "" {
			p.refuse(imapNo("USEATTR", "A mailbox can have one special use, and not this one")) // RFC 6154 §3
			return ""
		}
		special = imapSpecials[i]
	}
	p.need(")")
	p.depth--
	return special
}

// setSpecial gives m its special use. Clients take the first mailbox that has one, so no two may.
func (c *imapConn) setSpecial(tx *Tx, m Mailbox, special string) error {
	if m.Owner != c.user.ID {
		return imapNo("USEATTR", "Only your own mailboxes can have a special use")
	}
	if old, err := tx.MailboxBySpecial(m.Owner, special); err == nil {
		return imapNo("USEATTR", imapText(old.Name)+" has this special use already")
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	return tx.SetSpecial(m, special)
}

// create makes a mailbox and the parents that it lacks.
func (c *imapConn) create(tx *Tx, name string) (m Mailbox, err error) {
	at, err := c.place(tx, name)
	if err != nil {
		return m, imapNameError(name, err)
	}
	if err := c.mayCreate(tx, at); err != nil {
		return m, err
	}
	if err := CheckMailboxName(name); err != nil {
		return m, err
	}
	for i := range len(at.local) + 1 {
		if i < len(at.local) && at.local[i] != '/' {
			continue
		}
		m, err = tx.MailboxByName(at.owner, at.local[:i])
		switch {
		case err == nil && i == len(at.local):
			return m, imapNo("ALREADYEXISTS", "There is such a mailbox already")
		case errors.Is(err, ErrNotFound):
			m, err = c.createOne(tx, at, at.local[:i])
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

// mayCreate asks for the right to make children of the nearest mailbox above. At the top of Shared/ only administrators
// have it.
func (c *imapConn) mayCreate(tx *Tx, at imapPlace) error {
	if at.owner == c.user.ID || (at.owner == SharedOwner && c.user.Admin) {
		return nil
	}
	for name := parentName(at.local); name != ""; name = parentName(name) {
		m, err := tx.MailboxByName(at.owner, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if have, err := tx.RightsOf(c.user, m); err != nil || have&RightCreate != 0 {
			return err
		}
		break
	}
	return imapNo("NOPERM", "You lack the right \"k\" there")
}

// createOne makes one mailbox and subscribes the user to it. In others' namespaces the entries of the mailbox above hold
// for it, and its maker may do all with it. A new top of Shared/ is everybody's.
func (c *imapConn) createOne(tx *Tx, at imapPlace, local string) (Mailbox, error) {
	m, err := tx.CreateMailbox(at.owner, local, "")
	if errors.Is(err, ErrQuota) {
		err = imapNo("LIMIT", "There are too many mailboxes")
	}
	if err == nil {
		err = tx.InheritACL(m)
	}
	if err == nil && at.owner == SharedOwner && parentName(local) == "" {
		err = tx.SetACL(m, ACLEntry{anyone, RightsAll &^ (RightDelete | RightAdmin)})
	}
	if err == nil && at.owner != c.user.ID {
		err = tx.SetACL(m, ACLEntry{c.user.Name, RightsAll})
	}
	if err == nil {
		err = c.subscribe(tx, at.prefix+local)
	}
	return m, err
}

// cmdDelete is DELETE (RFC 9051 §6.3.5). Children stay where they are, and the name lives on as one that only holds them.
//
//	delete = "DELETE" SP mailbox
func (c *imapConn) cmdDelete(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return err
	}
	if name == "INBOX" {
		return imapNo("CANNOT", "INBOX can't be deleted")
	}
	var m Mailbox
	err := c.writeName(func(tx *Tx) (err error) {
		m, err = c.mailboxAs(tx, name, RightDelete)
		if err != nil {
			return err
		}
		if m.Name == "INBOX" {
			return imapNo("CANNOT", "INBOX can't be deleted")
		}
		return tx.DeleteMailbox(m)
	}, name)
	if err == nil && c.state == imapSelected && c.mbox.ID == m.ID {
		c.unselect()
		c.putf("* OK [CLOSED] The selected mailbox is deleted\r\n")
	}
	return err
}

// cmdRename is RENAME (RFC 9051 §6.3.6). Children go along. Renaming INBOX moves its messages to a new mailbox.
//
//	rename = "RENAME" SP mailbox SP mailbox
func (c *imapConn) cmdRename(p *imapParser) error {
	p.space()
	from := p.mailboxName()
	p.space()
	to := strings.TrimSuffix(p.mailboxName(), "/")
	if err := p.end(); err != nil {
		return err
	}
	if from == "INBOX" {
		return c.renameInbox(to)
	}
	return c.writeName(func(tx *Tx) error { return c.rename(tx, from, to) }, from, to)
}

// rename renames a mailbox and all below it, also when the name itself only holds others.
func (c *imapConn) rename(tx *Tx, from, to string) error {
	src, err := c.place(tx, from)
	if err != nil {
		return imapNameError(from, err)
	}
	dst, err := c.place(tx, to)
	switch {
	case err != nil:
		return imapNameError(to, err)
	case src.owner != dst.owner:
		return imapNo("CANNOT", "A mailbox can't change its owner; create one there and move the messages")
	case strings.HasPrefix(dst.local+"/", src.local+"/"):
		return imapNo("CANNOT", "A mailbox can't become its own child")
	}
	if _, err := tx.MailboxByName(dst.owner, dst.local); err == nil {
		return imapNo("ALREADYEXISTS", "There is such a mailbox already")
	}
	if err := c.mayCreate(tx, dst); err != nil {
		return err
	}
	all, err := tx.Mailboxes(src.owner)
	if err != nil {
		return err
	}
	found := false
	for _, m := range all {
		if rest, ok := strings.CutPrefix(m.Name+"/", src.local+"/"); ok {
			if err := c.renameOne(tx, m, src, imapPlace{dst.owner, strings.TrimSuffix(dst.local+"/"+rest, "/"), dst.prefix}); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return imapNameError(from, ErrNotFound)
	}
	return c.createParents(tx, dst)
}

// renameOne renames one mailbox, and the user's subscription with it.
func (c *imapConn) renameOne(tx *Tx, m Mailbox, src, dst imapPlace) error {
	have, err := tx.RightsOf(c.user, m)
	if err != nil {
		return err
	}
	if have&RightDelete == 0 {
		return imapNo("NOPERM", "You lack the right \"x\" on "+imapText(m.Name))
	}
	if err := tx.RenameMailbox(m, dst.local); err != nil {
		return err
	}
	names, err := tx.Subscriptions(c.user.ID)
	if err != nil || !slices.Contains(names, src.prefix+m.Name) {
		return err
	}
	if err := tx.Unsubscribe(c.user.ID, src.prefix+m.Name); err != nil {
		return err
	}
	return c.subscribe(tx, dst.prefix+dst.local)
}

// createParents makes the mailboxes above at that do not exist.
func (c *imapConn) createParents(tx *Tx, at imapPlace) error {
	parent := parentName(at.local)
	if parent == "" {
		return nil
	}
	if _, err := tx.MailboxByName(at.owner, parent); !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err := c.create(tx, at.prefix+parent)
	return err
}

// renameInbox moves all messages of INBOX to a new mailbox, in steps (RFC 9051 §6.3.6). Children of INBOX stay.
func (c *imapConn) renameInbox(to string) error {
	var inbox, dst Mailbox
	var uids []UID
	err := c.writeName(func(tx *Tx) (err error) {
		inbox, err = tx.MailboxByName(c.user.ID, "INBOX")
		if err != nil {
			return err
		}
		dst, err = c.create(tx, to)
		if err != nil {
			return err
		}
		uids, _, err = tx.UIDs(inbox.ID, nil)
		return err
	}, "INBOX", to)
	if err != nil {
		return err
	}
	return c.srv.store.InSteps(uids, func(tx *Tx, step []UID) error {
		_, _, err := tx.Move(inbox, step, dst)
		c.noteOwn(tx)
		return err
	}, nil)
}

// cmdSubscribe is SUBSCRIBE (RFC 9051 §6.3.7). The mailbox need not exist.
//
//	subscribe = "SUBSCRIBE" SP mailbox
func (c *imapConn) cmdSubscribe(p *imapParser) error { return c.changeSubscription(p, c.subscribe) }

// cmdUnsubscribe is UNSUBSCRIBE (RFC 9051 §6.3.8).
//
//	unsubscribe = "UNSUBSCRIBE" SP mailbox
func (c *imapConn) cmdUnsubscribe(p *imapParser) error {
	return c.changeSubscription(p, func(tx *Tx, name string) error { return tx.Unsubscribe(c.user.ID, name) })
}

func (c *imapConn) changeSubscription(p *imapParser, change func(tx *Tx, name string) error) error {
	p.space()
	name := strings.TrimSuffix(p.mailboxName(), "/")
	if err := p.end(); err != nil {
		return err
	}
	return c.writeName(func(tx *Tx) error { return change(tx, name) }, name)
}

func (c *imapConn) subscribe(tx *Tx, name string) error {
	err := tx.Subscribe(c.user.ID, name)
	if errors.Is(err, ErrQuota) {
		return imapNo("LIMIT", "There are too many subscriptions")
	}
	return err
}
