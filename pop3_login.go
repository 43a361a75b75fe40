// The way into a maildrop: STLS, USER, PASS and AUTH, and its lock.
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// cmdStls begins TLS; what was said before is forgotten (RFC 2595 §4). "STLS"
func (c *popConn) cmdStls(string) error {
	switch {
	case c.secure:
		return popNo("", "TLS is active already")
	case c.utf8: // RFC 6856 §2.1
		return popNo("", "STLS must come before UTF8")
	}
	c.ok("Begin TLS")
	if err := c.w.Flush(); err != nil {
		return popErrLost
	}
	if err := c.startTLS(); err != nil {
		c.log.Info("tls", "remote", c.remote, "err", err)
		return popErrLost
	}
	c.name = ""
	return nil
}

// cmdUTF8 lets UTF-8 into headers (RFC 6856 §2). "UTF8"
func (c *popConn) cmdUTF8(string) error {
	c.utf8 = true
	c.ok("UTF-8 it is")
	return nil
}

// cmdUser names the maildrop; nobody learns here whether it exists (RFC 1939 §7). "USER name"
func (c *popConn) cmdUser(name string) error {
	switch {
	case !c.mayLogIn():
		return ErrAuthPrivacy
	case name == "":
		return popNo("", "USER needs a name")
	}
	c.name = name
	c.ok("And the password?")
	return nil
}

// cmdPass logs in; the password is the rest of the line with all its spaces (RFC 1939 §7). "PASS string"
func (c *popConn) cmdPass(password string) error {
	name := c.name
	c.name = ""
	switch {
	case !c.mayLogIn():
		return ErrAuthPrivacy
	case name == "":
		return popNo("", "USER comes before PASS")
	}
	u, err := c.srv.auth.Password(c.remote, name, password)
	return c.loginResult(u, err)
}

// cmdAuth logs in by SASL (RFC 5034 §4). Without an argument it lists the mechanisms, as Outlook asks.
// "AUTH mechanism [initial-response]"
func (c *popConn) cmdAuth(arg string) error {
	mech, initial, _ := strings.Cut(arg, " ")
	if mech == "" {
		c.ok("Mechanisms follow")
		fmt.Fprintf(c.w, "%s\r\n.\r\n", strings.Join(c.saslFrom().Mechanisms(), "\r\n"))
		return nil
	}
	u, err := c.srv.auth.Login(c.saslFrom(), mech, initial, func(challenge string) (string, error) {
		fmt.Fprintf(c.w, "+ %s\r\n", challenge)
		if c.w.Flush() != nil {
			return "", popErrLost
		}
		line, err := c.nextLine()
		switch {
		case err == errLineTooLong:
			err = popNo("", "Line too long")
		case err != nil:
			err = fmt.Errorf("%w: %w", popErrLost, err)
		}
		return line, err
	})
	return c.loginResult(u, err)
}

// saslFrom is the connection as the mechanisms see it.
func (c *popConn) saslFrom() loginFrom {
	from := c.loginFrom()
	from.shy = true
	return from
}

// loginResult opens the maildrop of who has logged in.
func (c *popConn) loginResult(u User, err error) error {
	if err == nil && c.loggedIn(u.ID) != nil {
		err = popNo("SYS/TEMP", "Too many connections of yours at once")
	}
	if err == nil {
		err = c.openMaildrop(u)
	}
	if err != nil {
		if !errors.Is(err, popErrLost) {
			c.log.Info("login failed", "remote", c.remote, "err", err)
		}
		return err
	}
	c.log.Info("login", "user", u.Name, "remote", c.remote, "messages", len(c.drop))
	c.ok("%d messages", len(c.drop))
	return nil
}

// openMaildrop locks the user's INBOX against other POP3 sessions and lists it (RFC 1939 §4). IMAP goes on beside.
func (c *popConn) openMaildrop(u User) error {
	c.srv.mu.Lock()
	busy := c.srv.busy[u.ID]
	c.srv.busy[u.ID] = true
	c.srv.mu.Unlock()
	if busy {
		return popNo("IN-USE", "Another session has this maildrop open")
	}
	var err error
	c.box, err = read(c.srv.store, func(tx *Tx) (Mailbox, error) { return tx.MailboxByName(u.ID, "INBOX") })
	if err == nil {
		// From before the list on, so that nothing in it can lose its content.
		c.view, err = c.srv.store.View(u.ID, c.box.ID, popViewEach*c.box.Exists, 0)
	}
	if err == nil {
		err = c.list(u)
	}
	if err != nil {
		if c.view != nil {
			c.view.Close()
			c.view = nil
		}
		c.srv.mu.Lock()
		delete(c.srv.busy, u.ID)
		c.srv.mu.Unlock()
		return fmt.Errorf("open the maildrop of %s: %w", u.Name, err)
	}
	c.user, c.state = u, popTrans
	return nil
}

// list reads the maildrop.
func (c *popConn) list(u User) error {
	return c.srv.store.Read(func(tx *Tx) error {
		now, err := tx.modseqOf(c.box.ID)
		if err != nil {
			return err
		}
		c.drop = make([]popMessage, 0, c.box.Exists)
		err = tx.Messages(c.box.ID, 1, ^UID(0), func(m *Message) error {
			if !m.Gone {
				x := popMessage{uid: m.UID, size: uint32(m.Size), odd: c.needsWork(m)}
				if x.odd {
					c.recall(&x, m.Blob)
				}
				c.drop = append(c.drop, x)
			}
			return nil
		})
		c.view.Told(now)
		return err
	})
}

// message finds the message that a command names.
func (c *popConn) message(arg string) (*popMessage, int, error) {
	n, err := strconv.Atoi(arg)
	switch {
	case arg == "":
		return nil, 0, popNo("", "Which message?")
	case err != nil || arg[0] == '+' || n < 1 || n > len(c.drop):
		return nil, 0, popNo("", "No such message")
	case c.drop[n-1].deleted:
		return nil, 0, popNo("", "That message is deleted")
	}
	return &c.drop[n-1], n, nil
}
