// Whose mailbox a name leads to: namespaces (RFC 2342).
package main

import (
	"errors"
	"fmt"
	"strings"
)

// imapRightsWrite are the rights of which any makes a selected mailbox READ-WRITE (RFC 4314 §5.2).
const imapRightsWrite = RightSeen | RightWrite | RightTrash | RightInsert | RightExpunge

// imapErrNamespace is for names that are only there to hold others.
func imapErrNamespace(name string) error {
	return imapNo("CANNOT", fmt.Sprintf("%s only holds other mailboxes", imapText(name)))
}

// place finds whose mailbox a name is. An unknown user's is as unknown as a mailbox that nobody made.
func (c *imapConn) place(tx *Tx, name string) (Place, error) {
	first, rest, _ := strings.Cut(name, "/")
	if first == SharedRoot || first == OthersRoot {
		if _, err := tx.MailboxByName(c.user.ID, name); err == nil {
			first = "" // the user's own, which was imported under such a name
		}
	}
	switch first {
	default:
		return Place{Owner: c.user.ID, Name: name}, nil
	case SharedRoot:
		if rest == "" {
			return Place{}, imapErrNamespace(name)
		}
		return Place{SharedOwner, rest, SharedRoot + "/"}, nil
	case OthersRoot:
		who, local, _ := strings.Cut(rest, "/")
		if local == "" {
			return Place{}, imapErrNamespace(name)
		}
		u, err := tx.UserByName(strings.ToLower(who))
		return Place{u.ID, CanonicalName(local), OthersRoot + "/" + who + "/"}, err
	}
}

// mailboxAs finds the mailbox of that name if the client may see it and has all rights of need; otherwise what is
// missing is named. One that it may not see does not exist.
func (c *imapConn) mailboxAs(tx *Tx, name string, need Rights) (Mailbox, error) {
	at, err := c.place(tx, name)
	if err != nil {
		return Mailbox{}, imapNameError(name, err)
	}
	m, err := tx.MailboxAs(c.user, at, need)
	return m, imapNameError(name, err)
}

// find is mailboxAs in a transaction of its own.
func (c *imapConn) find(name string, need Rights) (Mailbox, error) {
	return read(c.srv.store, func(tx *Tx) (Mailbox, error) { return c.mailboxAs(tx, name, need) })
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
	c.putf("* NAMESPACE ((\"\" \"/\")) ((\"%s/\" \"/\")) ((\"%s/\" \"/\"))\r\n", OthersRoot, SharedRoot)
	return nil
}
