// ACL: what others may do with a mailbox, and what this client may (RFC 4314).
package main

import (
	"errors"
	"slices"
	"strings"
)

// imapRightsText writes rights with the old c and d for clients of RFC 2086 (RFC 4314 §2.1.1).
func imapRightsText(r Rights) string {
	s := r.String()
	if r&(RightCreate|RightDelete) != 0 {
		s += "c"
	}
	if r&(RightTrash|RightExpunge) != 0 {
		s += "d"
	}
	return s
}

// identifier reads whose rights are meant: "anyone", an address, or the local part of one in the first domain. Negative
// rights, which RFC 4314 §2 allows a server not to have, are refused.
func (p *imapParser) identifier() string {
	who := strings.ToLower(p.astring())
	switch {
	case who == anyone || p.err != nil:
	case strings.HasPrefix(who, "-"):
		p.refuse(imapNo("CANNOT", "There are no negative rights here"))
	case !strings.Contains(who, "@"):
		who += "@" + p.c.srv.cfg.DomainsNow()[0]
	}
	return who
}

// aclEntry reads SP mailbox SP identifier.
func (p *imapParser) aclEntry() (name, who string) {
	p.space()
	name = p.mailboxName()
	p.space()
	return name, p.identifier()
}

// cmdSetACL is SETACL (RFC 4314 §3.1).
//
//	setacl = "SETACL" SP mailbox SP identifier SP ["+" / "-"] rights
func (c *imapConn) cmdSetACL(p *imapParser) error {
	name, who := p.aclEntry()
	p.space()
	text := p.astring()
	if err := p.end(); err != nil {
		return err
	}
	op := text[:min(len(text), 1)]
	rights, ok := ParseRights(strings.TrimLeft(text, "+-"))
	if !ok {
		return imapBad("Unknown right") // RFC 4314 §3.1
	}
	return c.changeACL(name, who, func(have Rights) Rights {
		switch op {
		case "+":
			return have | rights
		case "-":
			return have &^ rights
		}
		return rights
	})
}

// cmdDeleteACL is DELETEACL (RFC 4314 §3.2).
//
//	deleteacl = "DELETEACL" SP mailbox SP identifier
func (c *imapConn) cmdDeleteACL(p *imapParser) error {
	name, who := p.aclEntry()
	if err := p.end(); err != nil {
		return err
	}
	return c.changeACL(name, who, func(Rights) Rights { return 0 })
}

// changeACL changes one entry. An owner's rights can't be changed.
func (c *imapConn) changeACL(name, who string, change func(Rights) Rights) error {
	return c.srv.store.Write(func(tx *Tx) error {
		m, err := c.mailboxAs(tx, name, RightAdmin)
		if err != nil {
			return err
		}
		if owner, err := tx.UserByID(m.Owner); err == nil && owner.Name == who {
			return imapNo("CANNOT", "An owner has all rights, always")
		}
		list, err := tx.ACL(m.ID)
		if err != nil {
			return err
		}
		e := ACLEntry{Who: who}
		if i := slices.IndexFunc(list, func(e ACLEntry) bool { return e.Who == who }); i >= 0 {
			e = list[i]
		}
		e.Rights = change(e.Rights)
		err = tx.SetACL(m, e)
		if errors.Is(err, ErrNotFound) {
			err = imapNo("NONEXISTENT", "There is no user "+imapText(who))
		}
		return err
	})
}

// cmdGetACL is GETACL (RFC 4314 §3.3).
//
//	getacl = "GETACL" SP mailbox
func (c *imapConn) cmdGetACL(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return err
	}
	var list []ACLEntry
	err := c.srv.store.Read(func(tx *Tx) error {
		m, err := c.mailboxAs(tx, name, RightAdmin)
		if err != nil {
			return err
		}
		list, err = tx.ACL(m.ID)
		if err != nil {
			return err
		}
		if owner, err := tx.UserByID(m.Owner); err == nil {
			list = slices.Insert(list, 0, ACLEntry{owner.Name, RightsAll})
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.putf("* ACL ")
	c.putMailbox(name)
	for _, e := range list {
		c.putf(" ")
		c.putString(e.Who)
		c.putf(" %s", imapRightsText(e.Rights))
	}
	c.putf("\r\n")
	return nil
}

// cmdListRights is LISTRIGHTS (RFC 4314 §3.4): an owner has all rights, all others can be given each one.
//
//	listrights = "LISTRIGHTS" SP mailbox SP identifier
func (c *imapConn) cmdListRights(p *imapParser) error {
	name, who := p.aclEntry()
	if err := p.end(); err != nil {
		return err
	}
	rights := `"" ` + strings.Join(strings.Split(imapRightsText(RightsAll), ""), " ")
	err := c.srv.store.Read(func(tx *Tx) error {
		m, err := c.mailboxAs(tx, name, RightAdmin)
		if err != nil {
			return err
		}
		if owner, err := tx.UserByID(m.Owner); err == nil && owner.Name == who {
			rights = imapRightsText(RightsAll)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.putf("* LISTRIGHTS ")
	c.putMailbox(name)
	c.putf(" ")
	c.putString(who)
	c.putf(" %s\r\n", rights)
	return nil
}

// cmdMyRights is MYRIGHTS (RFC 4314 §3.5).
//
//	myrights = "MYRIGHTS" SP mailbox
func (c *imapConn) cmdMyRights(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return err
	}
	var have Rights
	err := c.srv.store.Read(func(tx *Tx) error {
		m, err := c.mailboxAs(tx, name, 0)
		if err == nil {
			have, err = tx.RightsOf(c.user, m)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.putMyRights(name, have)
	return nil
}

func (c *imapConn) putMyRights(name string, have Rights) {
	c.putf("* MYRIGHTS ")
	c.putMailbox(name)
	c.putf(" %s\r\n", imapRightsText(have))
}

// mayWrite refuses changes in a mailbox that was opened with EXAMINE.
func (c *imapConn) mayWrite() error {
	if c.readonly {
		return imapNo("READ-ONLY", "The mailbox is open for reading only")
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

// dropFlags takes away from new messages the flags that the client may not set there (RFC 4314 §4).
func (c *imapConn) dropFlags(tx *Tx, to Mailbox, uids []UID) error {
	have, err := tx.RightsOf(c.user, to)
	if not := ^have & (RightSeen | RightTrash | RightWrite); err == nil && not != 0 {
		_, err = tx.SetFlags(to, uids, FlagChange{Op: '=', Unchanged: -1, May: not})
	}
	return err
}
