// Who the client is: STARTTLS, LOGIN, AUTHENTICATE and UNAUTHENTICATE.
package main

import (
	"errors"
	"time"
)

// cmdStartTLS is STARTTLS (RFC 9051 §6.2.1). The client forgets what it was told before.
func (c *imapConn) cmdStartTLS(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	if c.secure {
		return imapBad("TLS is on already")
	}
	c.putf("%s OK Begin TLS now\r\n", c.tag)
	if err := c.w.Flush(); err != nil {
		return err
	}
	if err := c.startTLS(); err != nil {
		c.log.Info("tls", "remote", c.remote, "err", err)
		return imapErrLost
	}
	return imapErrAnswered
}

// imapErrAnswered says that the command has written its tagged response itself.
var imapErrAnswered = errors.New("answered already")

// cmdLogin is LOGIN (RFC 9051 §6.2.3).
//
//	login = "LOGIN" SP astring SP astring
func (c *imapConn) cmdLogin(p *imapParser) error {
	p.space()
	name := p.astring()
	p.space()
	password := p.astring()
	if err := p.end(); err != nil {
		return err
	}
	if !c.mayLogIn() {
		return imapNo("PRIVACYREQUIRED", "Use STARTTLS first")
	}
	u, err := c.srv.auth.Password(c.remote, name, password)
	return c.login(u, err)
}

// cmdAuthenticate is AUTHENTICATE (RFC 9051 §6.2.2), with an initial response if the client has one (RFC 4959).
//
//	authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] *(CRLF base64)
func (c *imapConn) cmdAuthenticate(p *imapParser) error {
	p.space()
	mech, initial := p.atom(), ""
	if p.take(" ") {
		initial = p.span("base64", func(b byte) bool { return b > ' ' })
	}
	if err := p.end(); err != nil {
		return err
	}
	u, err := c.srv.auth.Login(c.loginFrom(), mech, initial, func(challenge string) (string, error) {
		c.putf("+ %s\r\n", challenge)
		if err := c.w.Flush(); err != nil {
			return "", err
		}
		return c.nextLine()
	})
	return c.login(u, err)
}

// login is what every mechanism ends with.
func (c *imapConn) login(u User, err error) error {
	if err != nil {
		c.log.Info("imap login failed", "remote", c.remote, "err", err)
		return err
	}
	if err := c.loggedIn(u.ID); err != nil {
		return imapNo("LIMIT", "Too many connections of yours at once")
	}
	c.user, c.state = u, imapAuth
	wake, stop := c.srv.store.Watch(u.ID)
	c.wake, c.stops = wake, append(c.stops, stop)
	c.log.Info("imap login", "user", u.Name, "remote", c.remote)
	c.code = "CAPABILITY " + c.capabilities() // saves the client a command (RFC 9051 §6.2.2)
	c.text = "Logged in"
	return nil
}

// cmdUnauthenticate is UNAUTHENTICATE (RFC 8437): as if the client had just connected.
//
//	unauthenticate = "UNAUTHENTICATE"
func (c *imapConn) cmdUnauthenticate(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.end()
	c.started = time.Now()
	*c = imapConn{conn: c.conn, state: imapNotAuth, imapRun: imapRun{tag: c.tag}}
	return nil
}
