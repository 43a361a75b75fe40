// Whose mailbox a name leads to: namespaces (RFC 2342).
package main

import (
	"errors"
	"fmt"
	"strings"
)

// The namespaces of mailboxes that are not the user's own. They are names of no mailbox.
const (
	imapShared = "Shared"      // Shared/NAME belongs to nobody in particular
	imapOthers = "Other Users" // Other Users/ADDRESS/NAME belongs to another user
)

// imapRightsKnown are the rights of which any lets the client know that a mailbox is there (RFC 4314 §4).
const imapRightsKnown = RightLookup | RightRead | RightInsert | RightCreate | RightDelete | RightAdmin

// imapRightsWrite are the rights of which any makes a selected mailbox READ-WRITE (RFC 4314 §5.2).
const imapRightsWrite = RightSeen | RightWrite | RightTrash | RightInsert | RightExpunge

// imapPlace is where a name leads: the mailbox need not exist.
type imapPlace struct {
	owner  UserID
	local  string // the name as its owner knows it
	prefix string // what the client puts before it
}

// imapErrNamespace is for names that are only there to hold others.
func imapErrNamespace(name string) error {
	return imapNo("CANNOT", fmt.Sprintf("%s only holds other mailboxes", imapText(name)))
}

// place finds whose mailbox a name is. An unknown user's is as unknown as a mailbox that nobody made.
func (c *imapConn) place(tx *Tx, name string) (imapPlace, error) {
	first, rest, _ := strings.Cut(name, "/")
	if first == imapShared || first == imapOthers {
		if _, err := tx.MailboxByName(c.user.ID, name); err == nil {
			first = "" // the user's own, which was imported under such a name
		}
	}
	switch first {
	default:
		return imapPlace{owner: c.user.ID, local: name}, nil
	case imapShared:
		if rest == "" {
			return imapPlace{}, imapErrNamespace(name)
		}
		return imapPlace{SharedOwner, rest, imapShared + "/"}, nil
	case imapOthers:
		who, local, _ := strings.Cut(rest, "/")
		if local == "" {
			return imapPlace{}, imapErrNamespace(name)
		}
		u, err := tx.UserByName(strings.ToLower(who))
		return imapPlace{u.ID, imapInbox(local), imapOthers + "/" + who + "/"}, err
	}
}

// mailboxAs finds the mailbox of that name if the client may see it and has all rights of need; otherwise what is
// missing is named. One that it may not see does not exist.
func (c *imapConn) mailboxAs(tx *Tx, name string, need Rights) (Mailbox, error) {
	at, err := c.place(tx, name)
	if err != nil {
		return Mailbox{}, imapNameError(name, err)
	}
	m, err := tx.MailboxByName(at.owner, at.local)
	if err != nil {
		return Mailbox{}, imapNameError(name, err)
	}
	have, err := tx.RightsOf(c.user, m)
	switch {
	case err != nil:
		return Mailbox{}, err
	case have&imapRightsKnown == 0:
		return Mailbox{}, imapNameError(name, ErrNotFound)
	case have&need != need:
		return Mailbox{}, imapNo("NOPERM", fmt.Sprintf("You lack the right %q on this mailbox", (need&^have).String()))
	}
	return m, nil
}

// find is mailboxAs in a transaction of its own.
func (c *imapConn) find(name string, need Rights) (m Mailbox, err error) {
	err = c.srv.store.Read(func(tx *Tx) (err error) { m, err = c.mailboxAs(tx, name, need); return err })
	return m, err
}

// imapNameError gives ErrNotFound the mailbox's name.
func imapNameError(name string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return imapNo("NONEXISTENT", "There is no mailbox "+imapText(name))
	}
	return err
}

// cmdNamespace is NAMESPACE (RFC 2342 §5, RFC 9051 §6.3.10).
//
//	namespace = "NAMESPACE"
func (c *imapConn) cmdNamespace(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.putf("* NAMESPACE ((\"\" \"/\")) ((\"%s/\" \"/\")) ((\"%s/\" \"/\"))\r\n", imapOthers, imapShared)
	return nil
}
