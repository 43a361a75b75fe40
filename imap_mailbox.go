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
	err := c.writeName(func(tx *Tx) error {
		var err error
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
func (p *imapParser) createUse() string {
	special := ""
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
func (c *imapConn) create(tx *Tx, name string) (Mailbox, error) {
	at, err := c.place(tx, name)
	if err != nil {
		return Mailbox{}, imapNameError(name, err)
	}
	return tx.CreateTree(c.user, at)
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
	var m Mailbox
	err := c.writeName(func(tx *Tx) error {
		at, err := c.place(tx, name)
		if err == nil {
			m, err = tx.DeleteAlone(c.user, at)
		}
		return imapNameError(name, err)
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
	if err != nil {
		return imapNameError(to, err)
	}
	return imapNameError(from, tx.RenameTree(c.user, src, dst))
}

// renameInbox moves all messages of INBOX to a new mailbox, in steps (RFC 9051 §6.3.6). Children of INBOX stay.
func (c *imapConn) renameInbox(to string) error {
	var inbox, dst Mailbox
	var uids []UID
	err := c.writeName(func(tx *Tx) error {
		var err error
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
func (c *imapConn) cmdSubscribe(p *imapParser) error { return c.changeSubscription(p, (*Tx).Subscribe) }

// cmdUnsubscribe is UNSUBSCRIBE (RFC 9051 §6.3.8).
//
//	unsubscribe = "UNSUBSCRIBE" SP mailbox
func (c *imapConn) cmdUnsubscribe(p *imapParser) error {
	return c.changeSubscription(p, (*Tx).Unsubscribe)
}

func (c *imapConn) changeSubscription(p *imapParser, change func(tx *Tx, user UserID, name string) error) error {
	p.space()
	name := strings.TrimSuffix(p.mailboxName(), "/")
	if err := p.end(); err != nil {
		return err
	}
	return c.writeName(func(tx *Tx) error { return change(tx, c.user.ID, name) }, name)
}
