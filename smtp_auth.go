// AUTH (RFC 4954).
package main

import (
	"errors"
	"strings"
)

func (c *smtpConn) offerAuth() string {
	if c.role == smtpLMTP || c.user != nil {
		return ""
	}
	return "AUTH " + strings.Join(c.saslFrom().Mechanisms(), " ")
}

// saslFrom is the connection as the mechanisms see it; LOGIN is only known here.
func (c *smtpConn) saslFrom() loginFrom {
	from := c.loginFrom()
	from.login, from.shy = true, true
	return from
}

// AUTH (RFC 4954 §4)
//
//	auth = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) CRLF
func (c *smtpConn) cmdAuth(arg string) smtpReply {
	mech, initial, _ := strings.Cut(arg, " ")
	switch {
	case c.role == smtpLMTP:
		return smtpReply{502, "5.5.1 Nobody logs in here"}
	case c.user != nil:
		return smtpReply{503, "5.5.1 You are logged in already"}
	case c.mail != nil:
		return smtpReply{503, "5.5.1 Not inside a mail transaction"}
	case c.helo == "":
		return smtpReply{503, "5.5.1 Say EHLO first"}
	case mech == "":
		return smtpReply{501, "5.5.4 Name a mechanism, as in AUTH PLAIN"}
	}
	u, err := c.srv.auth.Login(c.saslFrom(), mech, initial, c.ask)
	switch {
	case err == nil:
		if c.loggedIn(u.ID) != nil {
			c.quit = true
			return smtpReply{421, "4.7.0 Too many connections of yours at once"}
		}
		c.user, c.watch = &u, loginWatch{}
		c.log = c.log.With("user", u.Name)
		return smtpReply{235, "2.7.0 Welcome"}
	case errors.Is(err, ErrAuth):
		c.log.Info("login failed", "remote", c.remote, "err", err)
		c.failures++
		if c.failures >= smtpMaxAuth {
			return c.enough()
		}
		return smtpReply{535, "5.7.8 Wrong name or password"}
	case errors.Is(err, ErrAuthRate):
		c.quit = true
		return smtpReply{421, "4.7.0 Too many failed logins, wait a while"}
	case errors.Is(err, ErrAuthPrivacy):
		return smtpReply{538, "5.7.11 Passwords are only taken over TLS: say STARTTLS first"}
	case errors.Is(err, ErrAuthCancelled):
		return smtpReply{501, "5.7.0 Login cancelled"}
	case errors.Is(err, ErrAuthSyntax):
		return smtpReply{501, "5.5.2 That is no valid answer for this mechanism"}
	case errors.Is(err, ErrMechanism):
		return smtpReply{504, "5.5.4 That mechanism is not offered here"}
	case errors.Is(err, smtpErrAnswer):
		return smtpReply{}
	}
	c.log.Error("login", "err", err)
	return smtpReply{454, "4.7.0 The login can't be checked just now"}
}

// smtpErrAnswer says that a client's answer could not be read, and that it has been told.
var smtpErrAnswer = errors.New("no answer")

// ask sends a challenge and reads the answer, both base64.
func (c *smtpConn) ask(challenge string) (string, error) {
	c.reply(smtpReply{334, challenge})
	if c.w.Flush() != nil {
		c.quit = true
		return "", smtpErrAnswer
	}
	line, err := c.line(c.maxLine(), c.patience())
	if err != nil {
		c.lineFault(err)
		return "", smtpErrAnswer
	}
	return line, nil
}
