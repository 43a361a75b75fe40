// The SMTP server: other servers on port 25, people's programs on 587 and 465, LMTP.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	smtpIdle       = 5 * time.Minute      // between commands, and for each 64 KB of content (RFC 5321 §4.5.3.2)
	smtpBarren     = 30 * time.Minute     // a stranger who sends no content for so long is hung up on, whatever else they say
	smtpLine       = 8 << 10              // octets of a command before login
	smtpLineUser   = 64 << 10             // and after
	smtpMaxBad     = 10                   // commands that make no sense before we hang up
	smtpMaxRefused = 100                  // senders and recipients refused before we hang up
	smtpMaxAuth    = 3                    // failed logins before we hang up
	smtpLull       = 2 * time.Millisecond // after a transaction, for another one to follow
	smtpMaxHelo    = 255                  // octets of a client's name
)

// smtpReply is one reply, ours or a peer's. Lines of the text are divided by "\n"; ours begin with an enhanced status
// code (RFC 2034) where the reply has one.
type smtpReply struct {
	code int
	text string
}

func (r smtpReply) String() string {
	return strconv.Itoa(r.code) + " " + strings.ReplaceAll(r.text, "\n", " ")
}

// smtpRole is what a port is for.
type smtpRole int

const (
	smtpMX     smtpRole = iota // mail for us from anybody
	smtpSubmit                 // mail from our people to anybody
	smtpLMTP                   // mail for us from a server in front of this one (RFC 2033)
	smtpLocal                  // mail from programs of this machine to anybody
)

// smtpConn is one client's connection.
type smtpConn struct {
	*conn
	role     smtpRole
	helo     string         // the client's name, "" before HELO
	esmtp    bool           // it said EHLO or LHLO
	user     *User          // who logged in
	watch    loginWatch     // whether that still holds
	local    smtpLocalUser  // who it is, on the sendmail socket
	device   *SendingDevice // which of [[device]] it is, nil none
	mail     *Mail          // the transaction, from MAIL to the end of the content
	coming   func()         // takes back the announcement of the write that the transaction ends with
	lull     *time.Timer    // does so when no other transaction follows at once
	size     int64          // what MAIL said of it, 1 if nothing
	left     int64          // recipients that the user may still write to today
	bdat     *smtpIncoming
	brought  time.Time // when content came last
	bad      int
	refused  int
	putOff   bool // the last MAIL has got a 4xx
	failures int  // of AUTH
	quit     bool
}

// smtpCommand is one verb.
type smtpCommand struct {
	name string
	run  func(*smtpConn, string) smtpReply
	last bool // nothing may be pipelined behind it (RFC 2920 §3.1)
}

// smtpCommands is every verb we know. HELP's text names them too.
var smtpCommands = []smtpCommand{
	{"HELO", (*smtpConn).cmdHelo, true},
	{"EHLO", (*smtpConn).cmdEhlo, true},
	{"LHLO", (*smtpConn).cmdLhlo, true},
	{"STARTTLS", (*smtpConn).cmdStartTLS, true},
	{"AUTH", (*smtpConn).cmdAuth, true},
	{"MAIL", (*smtpConn).cmdMail, false},
	{"RCPT", (*smtpConn).cmdRcpt, false},
	{"DATA", (*smtpConn).cmdData, true},
	{"BDAT", (*smtpConn).cmdBdat, false},
	{"ETRN", (*smtpConn).cmdEtrn, false},
	{"ATRN", (*smtpConn).cmdAtrn, true},
	{"RSET", (*smtpConn).cmdRset, false},
	{"NOOP", (*smtpConn).cmdNoop, false},
	{"VRFY", (*smtpConn).cmdVrfy, false},
	{"EXPN", (*smtpConn).cmdExpn, false},
	{"HELP", (*smtpConn).cmdHelp, false},
	{"QUIT", (*smtpConn).cmdQuit, false},
}

const smtpHelp = "2.0.0 Commands: HELO EHLO LHLO STARTTLS AUTH MAIL RCPT DATA BDAT ETRN ATRN RSET NOOP VRFY EXPN HELP QUIT"

// smtpExtension is a line of the answer to EHLO. line returns "" where it is not offered.
type smtpExtension struct {
	name string
	rfc  int
	line func(*smtpConn) string
}

func smtpAlways(text string) func(*smtpConn) string { return func(*smtpConn) string { return text } }

var smtpExtensions = []smtpExtension{
	{"PIPELINING", 2920, smtpAlways("PIPELINING")},
	{"SIZE", 1870, func(c *smtpConn) string { return fmt.Sprintf("SIZE %d", c.srv.cfg.Limits.Message) }},
	{"8BITMIME", 6152, smtpAlways("8BITMIME")},
	{"SMTPUTF8", 6531, smtpAlways("SMTPUTF8")},
	{"ENHANCEDSTATUSCODES", 2034, smtpAlways("ENHANCEDSTATUSCODES")},
	{"CHUNKING", 3030, smtpAlways("CHUNKING")},
	{"BINARYMIME", 3030, smtpAlways("BINARYMIME")},
	{"DSN", 3461, (*smtpConn).offerDSN},
	{"DELIVERBY", 2852, smtpAlways("DELIVERBY")},
	{"REQUIRETLS", 8689, func(c *smtpConn) string { return map[bool]string{true: "REQUIRETLS"}[c.secure] }},
	{"FUTURERELEASE", 4865, (*smtpConn).offerHold},
	{"LIMITS", 9422, func(c *smtpConn) string { return fmt.Sprintf("LIMITS RCPTMAX=%d", c.srv.cfg.Limits.Recipients) }},
	{"ETRN", 1985, (*smtpConn).offerEtrn},
	{"ATRN", 2645, (*smtpConn).offerAtrn},
	{"STARTTLS", 3207, (*smtpConn).offerTLS},
	{"AUTH", 4954, (*smtpConn).offerAuth},
	{"HELP", 5321, smtpAlways("HELP")},
}

// serveSMTP talks to one client until either has had enough.
func (s *Server) serveSMTP(nc *conn) {
	c := &smtpConn{conn: nc}
	switch nc.svc.name {
	case "submission", "submissions":
		c.role = smtpSubmit
	case "lmtp":
		c.role = smtpLMTP
	case "sendmail":
		var known bool
		c.local, known = c.localUser()
		c.role = smtpLocal
		if !known {
			c.role = smtpSubmit // who does not say who he is has to log in
		}
	}
	if c.role != smtpLMTP && c.role != smtpLocal {
		c.device = s.cfg.sendingDevice(nc.remote)
	}
	defer c.reset()
	proto := "ESMTP"
	if c.role == smtpLMTP {
		proto = "LMTP"
	}
	c.reply(smtpReply{220, s.asciiHost() + " " + proto + " Postino"})
	for !c.quit {
		if c.w.Flush() != nil {
			return
		}
		c.command()
	}
}

// command reads one command and answers it. Replies to pipelined commands leave together: nothing is flushed while
// another whole command waits in the buffer (RFC 2920 §3.2).
func (c *smtpConn) command() {
	for more := true; more && !c.quit; more = c.pending() {
		line, err := c.line(c.maxLine(), c.patience())
		if err != nil {
			c.lineFault(err)
			continue
		}
		c.reply(c.dispatch(line))
	}
}

func (c *smtpConn) maxLine() int {
	if c.user != nil {
		return smtpLineUser
	}
	return smtpLine
}

// patience returns how long to wait for the next command: smtpIdle for those who may send anywhere and for LMTP; before a
// login on a submission port what is left of loginTimeout; for a stranger no more than what is left of smtpBarren since the
// connection began or content came.
func (c *smtpConn) patience() time.Duration {
	switch {
	case c.trusted() || c.role == smtpLMTP:
		return smtpIdle
	case c.role == smtpSubmit:
		return min(smtpIdle, loginTimeout-time.Since(c.started))
	case c.brought.After(c.started):
		return min(smtpIdle, smtpBarren-time.Since(c.brought))
	}
	return min(smtpIdle, smtpBarren-time.Since(c.started))
}

// pending says whether a whole line has come already.
func (c *smtpConn) pending() bool {
	b, _ := c.r.Peek(c.r.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// lineFault answers for a line that could not be read.
func (c *smtpConn) lineFault(err error) {
	switch {
	case err == errLineTooLong:
		c.reply(c.nonsense(smtpReply{500, "5.5.2 That line is too long"}))
		return
	case errors.Is(err, errIdle):
		c.reply(smtpReply{421, "4.4.2 " + c.srv.asciiHost() + " Nothing came for too long, closing"})
	case errors.Is(err, errStopping):
		c.reply(smtpReply{421, "4.3.2 " + c.srv.asciiHost() + " Closing down, try again soon"})
	case errors.Is(err, errLineTooLong):
		c.reply(smtpReply{500, "5.5.2 That line has no end"})
	}
	c.quit = true
}

// dispatch runs one command line.
func (c *smtpConn) dispatch(line string) smtpReply {
	if r := c.stillIn(); r.code != 0 {
		return r
	}
	verb, arg, blank := strings.Cut(line, " ")
	verb = strings.ToUpper(strings.TrimRight(verb, "\t"))
	if isHTTP(line) {
		c.quit = true
		return smtpReply{502, "5.7.0 This is a mail server, not a web server"}
	}
	for _, cmd := range smtpCommands {
		if cmd.name != verb {
			continue
		}
		if c.r.Buffered() > 0 && ((cmd.last && verb != "STARTTLS") || (!c.esmtp && verb != "QUIT")) {
			c.quit = true
			c.log.Info("pipelining without leave", "remote", c.remote, "command", verb)
			return smtpReply{554, "5.5.0 You spoke before it was your turn"}
		}
		c.log.Debug("command", "verb", verb)
		arg = strings.TrimLeft(arg, " ")
		if arg == "" && blank && (verb == "HELO" || verb == "EHLO") { // a device that has no name: its address stands for it
			arg = "[" + c.remote.String() + "]"
		}
		return c.judge(verb, cmd.run(c, arg))
	}
	return c.nonsense(smtpReply{500, "5.5.1 There is no such command; HELP lists them"})
}

// stillIn ends the connection of somebody whose login has been ended meanwhile.
func (c *smtpConn) stillIn() smtpReply {
	if c.user == nil {
		return smtpReply{}
	}
	now, err := c.watch.look(c.srv.store, *c.user)
	switch {
	case errors.Is(err, errLoginEnded):
		c.quit = true
		c.log.Info("login ended", "remote", c.remote)
		return smtpReply{421, "4.7.0 " + c.srv.asciiHost() + " You have been logged out"}
	case err != nil:
		return c.fault(err)
	}
	c.user = &now
	return smtpReply{}
}

// judge counts what went wrong and ends the connection when it is too much. What a client has sent behind a MAIL that was put
// off, before it could know that (RFC 2920), is no fault of its own.
func (c *smtpConn) judge(verb string, r smtpReply) smtpReply {
	if verb == "MAIL" || r.code < 300 {
		c.putOff = verb == "MAIL" && r.code >= 400 && r.code < 500
	}
	switch {
	case c.putOff && r.code == 503 && (verb == "RCPT" || verb == "DATA" || verb == "BDAT"):
	case (r.code >= 500 && r.code <= 504) || r.code == 555:
		return c.nonsense(r)
	case r.code >= 550 && r.code <= 553:
		c.refused++
		if c.refused >= smtpMaxRefused {
			return c.enough()
		}
	}
	return r
}

func (c *smtpConn) nonsense(r smtpReply) smtpReply {
	c.bad++
	if c.bad >= smtpMaxBad {
		return c.enough()
	}
	return r
}

func (c *smtpConn) enough() smtpReply {
	c.quit = true
	c.log.Info("too many errors", "remote", c.remote)
	return smtpReply{421, "4.7.0 " + c.srv.asciiHost() + " Too many errors, goodbye"}
}

// reply writes a reply into the buffer; a code of 0 writes nothing.
func (c *smtpConn) reply(r smtpReply) {
	if r.code == 0 {
		return
	}
	lines := strings.Split(r.text, "\n")
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		fmt.Fprintf(c.w, "%d%s%s\r\n", r.code, sep, l)
	}
}

// reset ends the transaction, if there is one.
func (c *smtpConn) reset() {
	if c.bdat != nil {
		c.bdat.close()
		c.bdat = nil
	}
	if c.mail != nil {
		c.lull = c.srv.crew.After(smtpLull, "mail that was announced", c.coming)
	}
	c.mail = nil
}

// HELO (RFC 5321 §4.1.1.1)
//
//	helo = "HELO" SP Domain CRLF
func (c *smtpConn) cmdHelo(arg string) smtpReply {
	if c.role == smtpLMTP {
		return smtpReply{500, "5.5.1 This is LMTP: say LHLO"}
	}
	if r, ok := c.greet(arg); !ok {
		return r
	}
	c.esmtp = false
	return smtpReply{250, c.srv.asciiHost()}
}

// EHLO (RFC 5321 §4.1.1.1)
//
//	ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
func (c *smtpConn) cmdEhlo(arg string) smtpReply {
	if c.role == smtpLMTP {
		return smtpReply{500, "5.5.1 This is LMTP: say LHLO"}
	}
	return c.extended(arg)
}

// LHLO (RFC 2033 §4.1): EHLO's place in LMTP.
//
//	lhlo = "LHLO" SP Domain CRLF
func (c *smtpConn) cmdLhlo(arg string) smtpReply {
	if c.role != smtpLMTP {
		return smtpReply{500, "5.5.1 This is SMTP: say EHLO"}
	}
	return c.extended(arg)
}

func (c *smtpConn) extended(arg string) smtpReply {
	if r, ok := c.greet(arg); !ok {
		return r
	}
	c.esmtp = true
	lines := []string{c.srv.asciiHost() + " greets " + c.helo}
	for _, x := range smtpExtensions {
		if l := x.line(c); l != "" {
			lines = append(lines, l)
		}
	}
	return smtpReply{250, strings.Join(lines, "\n")}
}

// greet remembers the client's name. Old devices say anything there, so anything is taken, and made harmless: the name
// is shown in Received and in the log, and nothing depends on it.
func (c *smtpConn) greet(arg string) (smtpReply, bool) {
	name, _, _ := strings.Cut(strings.TrimSpace(arg), " ")
	if name == "" || len(name) > smtpMaxHelo {
		return smtpReply{501, "5.5.4 Say your name after it, as in EHLO client.example"}, false
	}
	c.reset()
	c.helo = strings.Map(func(r rune) rune {
		if r > 0x7f || r <= ' ' || strings.ContainsRune(`()<>\",;@`, r) || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	return smtpReply{}, true
}

func (c *smtpConn) offerTLS() string {
	if c.secure {
		return ""
	}
	return "STARTTLS"
}

// STARTTLS (RFC 3207 §4). All that the client said before is forgotten (§4.2), its name too.
//
//	starttls = "STARTTLS" CRLF
func (c *smtpConn) cmdStartTLS(arg string) smtpReply {
	switch {
	case arg != "":
		return smtpReply{501, "5.5.4 STARTTLS takes no argument"}
	case c.secure:
		return smtpReply{503, "5.5.1 TLS is on already"}
	case c.r.Buffered() > 0:
		c.quit = true
		c.log.Warn("octets behind STARTTLS", "remote", c.remote)
		return smtpReply{554, "5.5.0 You spoke before it was your turn"}
	}
	c.reply(smtpReply{220, "2.0.0 Go ahead with TLS"})
	if c.w.Flush() != nil {
		c.quit = true
		return smtpReply{}
	}
	if err := c.startTLS(); err != nil {
		c.log.Info("tls", "remote", c.remote, "err", err)
		c.quit = true
		return smtpReply{}
	}
	c.reset()
	c.helo, c.esmtp, c.user = "", false, nil
	return smtpReply{}
}

// RSET (RFC 5321 §4.1.1.5)
//
//	rset = "RSET" CRLF
func (c *smtpConn) cmdRset(string) smtpReply { c.reset(); return smtpReply{250, "2.0.0 Forgotten"} }

// NOOP (RFC 5321 §4.1.1.9)
//
//	noop = "NOOP" [ SP String ] CRLF
func (c *smtpConn) cmdNoop(string) smtpReply { return smtpReply{250, "2.0.0 OK"} }

// VRFY (RFC 5321 §4.1.1.6). Who has mail here is not told to anybody who asks; 252 is the answer that leaves it open
// (RFC 5321 §3.5.3).
//
//	vrfy = "VRFY" SP String CRLF
func (c *smtpConn) cmdVrfy(arg string) smtpReply {
	if arg == "" {
		return smtpReply{501, "5.5.4 Whom?"}
	}
	return smtpReply{252, "2.5.2 Send some mail, and I'll try"}
}

// EXPN (RFC 5321 §4.1.1.7) tells who is behind an alias: not here.
//
//	expn = "EXPN" SP String CRLF
func (c *smtpConn) cmdExpn(string) smtpReply {
	return smtpReply{502, "5.5.1 Lists are not shown here"}
}

// HELP (RFC 5321 §4.1.1.8)
//
//	help = "HELP" [ SP String ] CRLF
func (c *smtpConn) cmdHelp(string) smtpReply { return smtpReply{214, smtpHelp} }

// QUIT (RFC 5321 §4.1.1.10)
//
//	quit = "QUIT" CRLF
func (c *smtpConn) cmdQuit(string) smtpReply {
	c.quit = true
	return smtpReply{221, "2.0.0 " + c.srv.asciiHost() + " Goodbye"}
}
