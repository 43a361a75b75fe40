// QUOTA: how much room a user has (RFC 9208).
package main

import (
	"errors"
	"fmt"
	"strings"
)

// cmdGetQuota is GETQUOTA (RFC 9208 §4.1.2). There is one quota root, "", which all of a user's mailboxes belong to.
//
//	getquota = "GETQUOTA" SP quota-root-name
func (c *imapConn) cmdGetQuota(p *imapParser) error {
	p.space()
	root := p.astring()
	if err := p.end(); err != nil {
		return err
	}
	if root != "" {
		return imapNo("NONEXISTENT", "There is no such quota root")
	}
	return c.putQuota()
}

// cmdGetQuotaRoot is GETQUOTAROOT (RFC 9208 §4.1.3), of a mailbox that need not exist. What is not the client's own counts
// against somebody else's quota, which is none of its business. Without a limit no root is named: Thunderbird shows a bar for
// any.
//
//	getquotaroot = "GETQUOTAROOT" SP mailbox
func (c *imapConn) cmdGetQuotaRoot(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return err
	}
	var at Place
	u, err := read(c.srv.store, func(tx *Tx) (User, error) {
		var err error
		at, err = c.place(tx, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return User{}, err
		}
		return tx.UserByID(c.user.ID)
	})
	if err != nil {
		return err
	}
	c.putf("* QUOTAROOT ")
	c.putMailbox(name)
	if at.Owner != u.ID || (u.Quota == 0 && u.Messages == 0) {
		c.putf("\r\n")
		return nil
	}
	c.putf(" \"\"\r\n")
	return c.putQuota()
}

// putQuota writes what is used of the user's quota; storage counts in units of 1024 octets (RFC 9208 §5.1). Without a limit
// the list is empty.
func (c *imapConn) putQuota() error {
	var bytes, messages int64
	var u User
	err := c.srv.store.Read(func(tx *Tx) error {
		var err error
		u, err = tx.UserByID(c.user.ID)
		if err != nil {
			return err
		}
		bytes, messages, err = tx.Used(u.ID)
		return err
	})
	if err != nil {
		return err
	}
	var list []string
	if u.Quota > 0 {
		list = append(list, fmt.Sprintf("STORAGE %d %d", (bytes+1023)/1024, u.Quota/1024))
	}
	if u.Messages > 0 {
		list = append(list, fmt.Sprintf("MESSAGE %d %d", messages, u.Messages))
	}
	c.putf("* QUOTA \"\" (%s)\r\n", strings.Join(list, " "))
	return nil
}
