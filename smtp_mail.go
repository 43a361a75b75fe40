// MAIL and RCPT: the envelope, and who may say what in it.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	smtpBlock    = 64 << 10 // octets of content that must come within smtpIdle
	smtpDrain    = 4        // times the message limit that is read and thrown away before we hang up
	smtpChunkMax = 1 << 40  // the size of a BDAT chunk that is still a number
)

// MAIL (RFC 5321 §4.1.1.2), with the parameters SIZE (RFC 1870 §6.1), BODY (RFC 6152 §2, RFC 3030 §3), SMTPUTF8 (RFC 6531
// §3.4), RET and ENVID (RFC 3461 §4), BY (RFC 2852), REQUIRETLS (RFC 8689 §2) and AUTH (RFC 4954 §5).
//
//	mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
func (c *smtpConn) cmdMail(arg string) smtpReply {
	switch {
	case c.helo == "":
		return smtpReply{503, "5.5.1 Say EHLO first"}
	case c.mail != nil:
		return smtpReply{503, "5.5.1 The last mail is not finished; RSET forgets it"}
	case c.role == smtpSubmit && !c.trusted():
		return smtpReply{530, "5.7.0 Log in first"}
	}
	from, params, r := c.path(arg, "FROM:")
	if r.code != 0 {
		return r
	}
	if twice := paramTwice(params); twice != "" {
		return smtpReply{501, "5.5.4 " + smtpClean(twice) + " stands there twice"}
	}
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: from}, Login: c.user, Submitted: c.trusted(), EachAlone: c.role == smtpLMTP, Stranger: c.stranger()}
	if m.Stranger {
		m.Account = strangerAccount + networkOf(c.remote).String()
	}
	size := int64(-1)
	for _, p := range params {
		if r := c.mailParam(m, p, &size); r.code != 0 {
			return r
		}
	}
	if r := c.checkSender(m, size); r.code != 0 {
		return r
	}
	if c.device != nil {
		if !c.srv.deviceMay(c.device) {
			c.log.Warn("device sends too much", "device", c.device.Name, "rate", c.device.Rate)
			return smtpReply{452, fmt.Sprintf("4.7.1 More than %d messages an hour", c.device.Rate)}
		}
		c.fromDevice(m)
	}
	m.ID = newMailID()
	c.mail, c.size = m, max(size, 1)
	if c.lull == nil || !c.lull.Stop() {
		c.coming = c.srv.store.Announce()
	}
	return smtpReply{250, "2.1.0 " + from.Path() + " OK"}
}

// trusted says whether the client may send to other domains: it has logged in, it is a device, or its network is one of
// [relay].
func (c *smtpConn) trusted() bool {
	return c.role == smtpLocal || (c.role != smtpLMTP && (c.user != nil || c.device != nil || contains(c.srv.cfg.Relay.Networks, c.remote)))
}

// stranger says whether nobody vouches for what the client says: it is neither trusted nor a server in front of this one. A
// stranger is not offered DSN: who gives an address that is somebody else's could have any number of reports sent there.
func (c *smtpConn) stranger() bool { return c.role != smtpLMTP && !c.trusted() }

func (c *smtpConn) offerDSN() string {
	if c.stranger() {
		return ""
	}
	return "DSN"
}

// fromDevice makes a message one of the device's: its sender in the envelope and in the header, and a line for `postino check`.
func (c *smtpConn) fromDevice(m *Mail) {
	d := c.device
	if a, err := ParseAddr(d.Sender); err == nil {
		m.From, m.Sender, m.Login = a, a, nil
		m.Account = "device " + d.Name
	}
	m.Also = func(tx *Tx, _ Blob) error {
		n, _, err := tx.SendingUse(d.Name)
		if err != nil {
			return err
		}
		return tx.SetSetting("device "+d.Name, fmt.Appendf(nil, "%d %d", n+1, tx.s.Now().Unix()))
	}
}

// path is smtpPath for a client. For those who may send anywhere a name without a domain is one of ours: old scanners know none.
func (c *smtpConn) path(arg, word string) (Addr, []string, smtpReply) {
	if c.trusted() {
		return smtpPath(arg, word, c.srv.cfg.DomainsNow()[0])
	}
	return smtpPath(arg, word, "")
}

// smtpPath parses what MAIL and RCPT have in common: the address and the parameters, or the reply that refuses them. domain is
// that of names without one; "" is none.
func smtpPath(arg, word, domain string) (Addr, []string, smtpReply) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return Addr{}, nil, smtpReply{501, "5.5.4 Write it as " + word + "<name@domain>"}
	}
	a, rest, err := ParsePathIn(arg[len(word):], domain)
	if err != nil {
		return Addr{}, nil, smtpReply{501, "5.1.7 " + smtpClean(err.Error())}
	}
	if rest != "" && rest[0] != ' ' {
		return Addr{}, nil, smtpReply{501, "5.5.4 There must be a space behind the address"}
	}
	return a, strings.Fields(rest), smtpReply{}
}

// smtpClean makes a text fit for a reply: one line of ASCII, of bounded length.
func smtpClean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 400)]
}

// mailParam takes one parameter of MAIL: SIZE and AUTH, which end here, or one of envelopeParams.
func (c *smtpConn) mailParam(m *Mail, p string, size *int64) smtpReply {
	key, value, _ := strings.Cut(p, "=")
	switch key = strings.ToUpper(key); key {
	case "SIZE":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return smtpReply{501, "5.5.4 SIZE is a number"}
		}
		*size = int64(n)
		return smtpReply{}
	case "AUTH": // who the sender was at another server (RFC 4954 §5): nothing here depends on it
		return smtpReply{}
	case "HOLDFOR", "HOLDUNTIL":
		if c.offerHold() == "" {
			return smtpReply{555, "5.5.4 The parameter " + key + " is for those who log in"}
		}
	case "REQUIRETLS":
		if !c.secure {
			return smtpReply{501, "5.5.4 REQUIRETLS takes no value, and a connection with TLS"}
		}
	}
	now := c.srv.store.Now()
	known, err := m.takeParam(p, now)
	if err == nil && key == "BY" && m.ByMode == "R" && !m.Due.After(now) {
		err = errBy
	}
	return smtpParamReply(key, known, err)
}

// smtpParamReply is the answer to a parameter: zero for one that was taken.
func smtpParamReply(key string, known bool, err error) smtpReply {
	switch {
	case !known:
		return smtpReply{555, "5.5.4 The parameter " + smtpClean(key) + " is not known here"}
	case err != nil:
		return smtpReply{501, "5.5.4 " + err.Error()}
	}
	return smtpReply{}
}

// offerHold is FUTURERELEASE's line (RFC 4865): the most seconds, and the last date.
func (c *smtpConn) offerHold() string {
	if !c.trusted() {
		return ""
	}
	return fmt.Sprintf("FUTURERELEASE %d %s", int64(maxHold/time.Second), c.srv.store.Now().Add(maxHold).UTC().Format(time.RFC3339))
}

// checkSender refuses a sender or a size that can't be taken.
func (c *smtpConn) checkSender(m *Mail, size int64) smtpReply {
	limit := int64(c.srv.cfg.Limits.Message)
	switch {
	case size > limit:
		return smtpReply{552, fmt.Sprintf("5.3.4 Messages of more than %d octets are not taken", limit)}
	case !m.From.IsASCII() && m.Flags&MailUTF8 == 0:
		return smtpReply{550, "5.6.7 This address needs the parameter SMTPUTF8"}
	}
	if err := c.srv.store.Writable(); err != nil { // better than at the end of the content
		c.srv.crew.Complain("smtp: mail is put off", err)
		return c.fault(err)
	}
	if err := c.srv.store.Room(max(size, 0)); err != nil { // one whose size is not said asks as it comes
		c.srv.crew.Complain("smtp: no room", err)
		return c.fault(err)
	}
	if c.role == smtpLocal {
		return c.localSender(m)
	}
	if c.stranger() {
		return c.strangeSender(m)
	}
	if c.user == nil {
		return smtpReply{}
	}
	if m.From.IsZero() { // read receipts have no sender (RFC 8098 §3)
		return c.share(1)
	}
	ok, err := c.srv.owns(*c.user, m.From)
	switch {
	case err != nil:
		return c.fault(err)
	case !ok:
		c.log.Info("foreign sender", "from", m.From)
		return smtpReply{550, "5.7.1 " + smtpClean(m.From.Path()) + " is not an address of yours"}
	}
	return c.share(1)
}

// share is the answer to somebody who logged in and wants to write to so many recipients: zero while they may.
func (c *smtpConn) share(recipients int) smtpReply {
	var err error
	c.left, err = c.srv.askShare(*c.user, recipients)
	if err != nil {
		return c.fault(err)
	}
	return smtpReply{}
}

// strangeSender refuses one of our addresses to somebody who did not log in, before the content comes; what the header says is
// judged when it is there.
func (c *smtpConn) strangeSender(m *Mail) smtpReply {
	if m.From.IsZero() || c.srv.cfg.SMTP.LocalSenders != LocalLogin || !c.srv.isLocal(m.From.Domain) {
		return smtpReply{}
	}
	ctx, cancel := context.WithTimeout(c.srv.stop, policyBudget)
	defer cancel()
	if c.srv.isPartner(ctx, c.remote) {
		return smtpReply{}
	}
	c.log.Info("sender refused", "from", m.From, "remote", c.remote, "err", errLocalSender)
	return c.fault(fmt.Errorf("%w: %s", errLocalSender, m.From))
}

// RCPT (RFC 5321 §4.1.1.3), with NOTIFY and ORCPT (RFC 3461 §4).
//
//	rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
func (c *smtpConn) cmdRcpt(arg string) smtpReply {
	if c.mail == nil {
		return smtpReply{503, "5.5.1 Say MAIL first"}
	}
	if c.bdat != nil {
		return smtpReply{503, "5.5.1 The content has begun"}
	}
	to, params, r := c.path(arg, "TO:")
	switch {
	case r.code != 0:
		return r
	case to.IsZero():
		return smtpReply{501, "5.1.3 A recipient needs an address"}
	case len(c.mail.To) >= c.srv.cfg.Limits.Recipients:
		return smtpReply{452, fmt.Sprintf("4.5.3 More than %d recipients: send the rest by themselves", c.srv.cfg.Limits.Recipients)}
	case !to.IsASCII() && c.mail.Flags&MailUTF8 == 0:
		return smtpReply{553, "5.6.7 This address needs the parameter SMTPUTF8"}
	}
	rcpt := Rcpt{Recipient: Recipient{Addr: to}}
	if n := len(c.mail.To) + 1; c.mail.Login != nil && int64(n) > c.left {
		r = c.share(n)
	}
	if r.code == 0 {
		r = c.rcptParams(&rcpt, params)
	}
	if r.code != 0 {
		return r
	}
	var err error
	rcpt.resolved, err = c.srv.resolve(to)
	if err != nil {
		c.log.Info("recipient refused", "from", c.mail.From, "rcpt", to, "remote", c.remote, "err", err)
		return c.fault(err)
	}
	if rcpt.resolved.reports && !c.mail.From.IsZero() {
		c.log.Info("recipient refused", "from", c.mail.From, "rcpt", to, "remote", c.remote, "err", errSRSOnly)
		return c.fault(errSRSOnly)
	}
	if !rcpt.resolved.local && !c.trusted() {
		c.log.Info("relaying refused", "from", c.mail.From, "rcpt", to, "remote", c.remote)
		return smtpReply{550, "5.7.1 Mail for other domains is only taken from those who log in"}
	}
	if err := c.srv.roomFor(rcpt.resolved, c.size); err != nil {
		c.log.Info("recipient refused", "from", c.mail.From, "rcpt", to, "remote", c.remote, "err", err)
		return c.fault(err)
	}
	c.mail.To = append(c.mail.To, rcpt)
	return smtpReply{250, "2.1.5 " + smtpClean(to.Path()) + " OK"}
}

// rcptParams takes the parameters of RCPT. A stranger's wish for a report of success was not offered, and is not heard.
func (c *smtpConn) rcptParams(rcpt *Rcpt, params []string) smtpReply {
	if twice := paramTwice(params); twice != "" {
		return smtpReply{501, "5.5.4 " + smtpClean(twice) + " stands there twice"}
	}
	for _, p := range params {
		known, err := rcpt.takeParam(p)
		key, _, _ := strings.Cut(p, "=")
		if r := smtpParamReply(key, known, err); r.code != 0 {
			return r
		}
	}
	if c.stranger() && rcpt.Notify&NotifySuccess != 0 {
		rcpt.Notify &^= NotifySuccess
		if rcpt.Notify == 0 {
			rcpt.Notify = NotifyNever
		}
	}
	return smtpReply{}
}

// fault turns an error of routing or of the store into words for the client.
func (c *smtpConn) fault(err error) smtpReply {
	switch { // strangers need not know where the file is and what SQLite thinks of it
	case errors.Is(err, ErrDiskFull):
		return smtpReply{452, "4.3.1 The disk is nearly full, try again later"}
	case errors.Is(err, ErrReadOnly):
		return smtpReply{451, "4.3.0 Mail can't be stored here just now, try again later"}
	}
	for _, f := range smtpFaults {
		if errors.Is(err, f.err) {
			return smtpReply{f.code, f.enhanced + " " + smtpClean(err.Error())}
		}
	}
	c.log.Error("smtp", "err", err)
	return smtpReply{451, "4.3.0 Something is wrong here, try again later"}
}
