// POP3: the connection, the tables of commands and capabilities, and the maildrop from its list to the deletions after QUIT.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// popState is where a session stands (RFC 1939 §3). The update state has no name here: QUIT does its work.
type popState uint8

const (
	popAuth popState = 1 << iota // the client has to say who it is
	popTrans
	popOver popState = 0
	popAny           = popAuth | popTrans
)

const (
	popLineMax  = 8 << 10          // octets of a line; RFC 2449 §4 knows 255, but names, passwords and SASL may be longer
	popIdle     = 10 * time.Minute // until an idle client is cut off, without deleting (RFC 1939 §3)
	popBadMax   = 10               // commands in a row that made no sense
	popViewEach = 12               // octets of a message that a session holds
)

// popCommand is one row of the command table.
type popCommand struct {
	run    func(*popConn, string) error
	states popState
	args   int // arguments it can take; -1 takes the rest of the line as it is
}

// popCommands is every command there is. APOP is not: it needs passwords that can be read (RFC 1939 §7).
var popCommands = map[string]popCommand{
	"CAPA": {(*popConn).cmdCapa, popAny, 0},
	"LANG": {(*popConn).cmdLang, popAny, 1},
	"QUIT": {(*popConn).cmdQuit, popAny, 0},

	"STLS": {(*popConn).cmdStls, popAuth, 0},
	"UTF8": {(*popConn).cmdUTF8, popAuth, 0},
	"USER": {(*popConn).cmdUser, popAuth, 1},
	"PASS": {(*popConn).cmdPass, popAuth, -1},
	"AUTH": {(*popConn).cmdAuth, popAuth, 2},

	"STAT": {(*popConn).cmdStat, popTrans, 0},
	"LIST": {(*popConn).cmdList, popTrans, 1},
	"UIDL": {(*popConn).cmdUidl, popTrans, 1},
	"RETR": {(*popConn).cmdRetr, popTrans, 1},
	"TOP":  {(*popConn).cmdTop, popTrans, 2},
	"DELE": {(*popConn).cmdDele, popTrans, 1},
	"RSET": {(*popConn).cmdRset, popTrans, 0},
	"NOOP": {(*popConn).cmdNoop, popTrans, 0},
}

// popCapability is one row of what CAPA lists. when and value are for those that depend on the connection.
type popCapability struct {
	name  string
	rfc   int
	when  func(*popConn) bool
	value func(*popConn) string // follows the name
}

var popCapabilities = []popCapability{
	{name: "TOP", rfc: 2449},
	{name: "UIDL", rfc: 2449},
	{name: "SASL", rfc: 5034, value: func(c *popConn) string { return strings.Join(c.saslFrom().Mechanisms(), " ") }},
	{name: "USER", rfc: 2449, when: func(c *popConn) bool { return c.mayLogIn() }},
	{name: "STLS", rfc: 2595, when: func(c *popConn) bool { return !c.secure }},
	{name: "RESP-CODES", rfc: 2449},
	{name: "AUTH-RESP-CODE", rfc: 3206},
	{name: "PIPELINING", rfc: 2449},
	{name: "EXPIRE", rfc: 2449, value: func(*popConn) string { return "NEVER" }},
	{name: "UTF8", rfc: 6856, value: func(*popConn) string { return "USER" }},
	{name: "LANG", rfc: 6856},
	{name: "IMPLEMENTATION", rfc: 2449, value: func(*popConn) string { return "Postino" }},
}

// popConn is one client. All its fields belong to the goroutine that serves it.
//
// The maildrop is the user's INBOX as it was at login: its messages keep their numbers and can be fetched to the end of
// the session, whatever IMAP does to them meanwhile. Only one session may have a maildrop open, and only QUIT deletes.
type popConn struct {
	*conn
	state popState
	bad   int    // commands in a row that made no sense
	lang  string // "en" or "zh"
	utf8  bool   // the client takes UTF-8 in headers (RFC 6856 §2)
	name  string // what USER said

	user  User
	watch loginWatch
	box   Mailbox
	view  *View // keeps the content of what is expunged meanwhile
	drop  []popMessage
	fetch int // messages sent
}

// popMessage is one message of the maildrop, kept small because there may be very many.
type popMessage struct {
	uid     UID
	size    uint32 // octets that RETR sends, not counting dot-stuffing; a message is never over 1 GiB
	odd     bool   // size is still to be found out
	deleted bool
}

// popError is a failure that the client should hear about: its response code (RFC 2449 §8), or "", and its text.
type popError struct{ code, text string }

func (e *popError) Error() string { return e.text }

func popNo(code, text string) error { return &popError{code, text} }

// popStoreErrors turns what the lower rungs fail with into words.
var popStoreErrors = []struct {
	err error
	say *popError
}{
	{ErrAuthRate, &popError{"SYS/TEMP", "Too many failed logins, wait a while"}},
	{ErrAuthPrivacy, &popError{"", "Passwords need TLS here: use STLS first, or port 995"}},
	{ErrAuthCancelled, &popError{"", "Login cancelled"}},
	{ErrAuthSyntax, &popError{"", "Malformed login"}},
	{ErrMechanism, &popError{"", "No such mechanism, see CAPA"}},
	{ErrAuth, &popError{"AUTH", "Wrong name or password"}},
	{ErrContentDamaged, &popError{"SYS/PERM", "The message is damaged on the server's disk"}},
	{ErrUnreadable, &popError{"SYS/PERM", "The server can't open its file; the administrator has to look"}},
	{ErrReadOnly, &popError{"SYS/TEMP", "The mail can only be read just now"}},
	{ErrDiskFull, &popError{"SYS/TEMP", "The disk is full"}},
	{ErrNotFound, &popError{"SYS/PERM", "The message is gone"}},
	{ErrBusy, &popError{"SYS/TEMP", "Too much is being done at the same time, try again later"}},
}

// popErrLost ends a connection without a word: what follows would be taken for part of a message.
var popErrLost = errors.New("connection lost")

// servePOP3 is one connection. The greeting has no "<...>" in it, which would offer APOP.
func (s *Server) servePOP3(nc *conn) {
	c := &popConn{conn: nc, state: popAuth, lang: "en"}
	defer c.end()
	c.ok("%s ready", s.cfg.Hostname)
	for c.flush() == nil && c.state != popOver {
		line, err := c.nextLine()
		if err == nil && isHTTP(line) && strings.Contains(line, "HTTP/") { // RFC 1939 knows none of these words
			err = popErrLost
		}
		if err == nil {
			err = c.command(line)
		}
		if err != nil {
			c.bye(err)
		}
	}
}

// end gives back what the session holds.
func (c *popConn) end() {
	if c.view == nil {
		return
	}
	c.view.Close()
	c.view, c.drop = nil, nil
	c.srv.mu.Lock()
	delete(c.srv.busy, c.user.ID)
	c.srv.mu.Unlock()
	c.log.Info("logout", "user", c.user.Name, "fetched", c.fetch)
}

// nextLine reads a command. A client that has not logged in has a minute for all of them.
func (c *popConn) nextLine() (string, error) {
	d := popIdle
	if c.state == popAuth {
		d = loginTimeout - time.Since(c.started)
	}
	return c.line(popLineMax, d)
}

// flush sends the answers, but not while a further command has come already (RFC 2449 §6.6 PIPELINING).
func (c *popConn) flush() error {
	if n := c.r.Buffered(); n > 0 && c.state != popOver {
		if b, _ := c.r.Peek(n); bytes.IndexByte(b, '\n') >= 0 {
			return nil
		}
	}
	return c.w.Flush()
}

// bye ends the session because of err, if it can't go on after it.
func (c *popConn) bye(err error) {
	switch {
	case err == errLineTooLong: // its end was found
		c.no("", "Line too long")
		c.badCommand()
		return
	case errors.Is(err, errLineTooLong):
		c.no("", "Line too long")
	case errors.Is(err, errStopping):
		c.no("SYS/TEMP", "The server is being stopped")
	case errors.Is(err, errIdle), errors.Is(err, popErrLost), errors.Is(err, io.EOF): // RFC 1939 §3: without any response
	default:
		c.log.Info("connection", "err", err)
	}
	c.state = popOver
}

// command runs one command line: keyword, SP, arguments (RFC 1939 §3). Its errors end the connection.
func (c *popConn) command(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	cmd, known := popCommands[strings.ToUpper(verb)]
	if cmd.args >= 0 {
		rest = strings.Join(strings.Fields(rest), " ")
	}
	if c.state == popTrans {
		if _, err := c.watch.look(c.srv.store, c.user); errors.Is(err, errLoginEnded) { // QUIT deletes nothing either
			c.no("AUTH", "You have been logged out")
			return popErrLost
		} else if err != nil {
			return c.fault(err)
		}
	}
	var err error
	switch {
	case strings.ContainsRune(line, 0):
		err = popNo("", "NUL in a command")
	case !known:
		err = popNo("", "No such command")
	case cmd.states&c.state == 0 && c.state == popAuth:
		err = popNo("", "Log in first")
	case cmd.states&c.state == 0:
		err = popNo("", "You are logged in already")
	case cmd.args >= 0 && len(strings.Fields(rest)) > cmd.args:
		err = popNo("", "Too many arguments")
	default:
		c.bad = 0
		return c.fault(cmd.run(c, rest))
	}
	c.fault(err)
	c.badCommand()
	return nil
}

// badCommand counts, and ends the session of a client that speaks something else.
func (c *popConn) badCommand() {
	c.bad++
	if c.bad >= popBadMax {
		c.no("", "Too many bad commands")
		c.state = popOver
	}
}

// fault says what a command failed with. It returns what ends the connection.
func (c *popConn) fault(err error) error {
	var pe *popError
	if err == nil || errors.Is(err, popErrLost) {
		return err
	}
	if !errors.As(err, &pe) {
		for _, e := range popStoreErrors {
			if pe == nil && errors.Is(err, e.err) {
				pe = e.say
			}
		}
	}
	if pe == nil {
		c.log.Error("command", "user", c.user.Name, "err", err)
		pe = &popError{"SYS/TEMP", "Something went wrong here, it is in the log"}
	}
	c.no(pe.code, pe.text)
	return nil
}

func (c *popConn) ok(text string, a ...any) { fmt.Fprintf(c.w, "+OK %s\r\n", c.say(text, a...)) }

func (c *popConn) no(code, text string) {
	if code != "" {
		code = "[" + code + "] "
	}
	fmt.Fprintf(c.w, "-ERR %s%s\r\n", code, c.say(text))
}

// cmdCapa lists what the server can do (RFC 2449 §5). "CAPA"
func (c *popConn) cmdCapa(string) error {
	c.ok("Capabilities follow")
	for _, k := range popCapabilities {
		if k.when != nil && !k.when(c) {
			continue
		}
		line := k.name
		if k.value != nil {
			line += " " + k.value(c)
		}
		fmt.Fprintf(c.w, "%s\r\n", line)
	}
	fmt.Fprint(c.w, ".\r\n")
	return nil
}

// cmdStat counts what is not deleted (RFC 1939 §5). "STAT"
func (c *popConn) cmdStat(string) error {
	count, octets := 0, int64(0)
	for i := range c.drop {
		if m := &c.drop[i]; !m.deleted {
			size, err := c.size(m)
			if err != nil {
				return err
			}
			count++
			octets += size
		}
	}
	fmt.Fprintf(c.w, "+OK %d %d\r\n", count, octets)
	return nil
}

// cmdList gives sizes in octets (RFC 1939 §5). "LIST [msg]"
func (c *popConn) cmdList(arg string) error {
	return c.scan(arg, func(m *popMessage) (string, error) {
		size, err := c.size(m)
		return strconv.FormatInt(size, 10), err
	})
}

// cmdUidl gives names that a message keeps for ever and that no other one ever gets: 21 characters at most, of the 70
// that RFC 1939 §7 allows. "UIDL [msg]"
func (c *popConn) cmdUidl(arg string) error {
	return c.scan(arg, func(m *popMessage) (string, error) {
		return fmt.Sprintf("%d.%d", c.box.UIDValidity, m.uid), nil
	})
}

// scan is what LIST and UIDL have in common. All that can fail is done before the first line is sent.
func (c *popConn) scan(arg string, item func(*popMessage) (string, error)) error {
	if arg != "" {
		m, n, err := c.message(arg)
		if err != nil {
			return err
		}
		text, err := item(m)
		if err == nil {
			fmt.Fprintf(c.w, "+OK %d %s\r\n", n, text)
		}
		return err
	}
	count := 0
	for i := range c.drop {
		if m := &c.drop[i]; !m.deleted {
			count++
			if _, err := item(m); err != nil {
				return err
			}
		}
	}
	c.ok("%d messages", count)
	for i := range c.drop {
		if m := &c.drop[i]; !m.deleted {
			text, _ := item(m)
			fmt.Fprintf(c.w, "%d %s\r\n", i+1, text)
		}
	}
	fmt.Fprint(c.w, ".\r\n")
	return nil
}

// cmdDele marks a message; it is deleted after QUIT (RFC 1939 §5). "DELE msg"
func (c *popConn) cmdDele(arg string) error {
	m, n, err := c.message(arg)
	if err != nil {
		return err
	}
	m.deleted = true
	c.ok("Message %d will be deleted", n)
	return nil
}

// cmdRset takes all marks away (RFC 1939 §5). "RSET"
func (c *popConn) cmdRset(string) error {
	for i := range c.drop {
		c.drop[i].deleted = false
	}
	c.ok("%d messages", len(c.drop))
	return nil
}

// cmdNoop does nothing (RFC 1939 §5). "NOOP"
func (c *popConn) cmdNoop(string) error {
	c.ok("Still here")
	return nil
}

// cmdQuit deletes what is marked and ends the session (RFC 1939 §6). The lock is given up before the answer: a client
// may come back at once. "QUIT"
func (c *popConn) cmdQuit(string) error {
	deleted, err := c.update()
	c.end()
	c.state = popOver
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if deleted > 0 {
		c.ok("%d messages deleted, goodbye", deleted)
	} else {
		c.ok("Goodbye")
	}
	return nil
}

// update deletes the marked messages in steps. Those that somebody else has expunged meanwhile are gone already.
func (c *popConn) update() (int, error) {
	var marked []UID
	for i := range c.drop {
		if c.drop[i].deleted {
			marked = append(marked, c.drop[i].uid)
		}
	}
	deleted := 0
	err := c.srv.store.InSteps(marked, func(tx *Tx, step []UID) error {
		_, err := tx.Expunge(c.box, step)
		return err
	}, func(step []UID) error {
		deleted += len(step)
		return nil
	})
	if err != nil {
		return deleted, err
	}
	if deleted > 0 {
		c.log.Info("deleted", "user", c.user.Name, "messages", deleted)
	}
	return deleted, nil
}
