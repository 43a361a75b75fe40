// POP3: all of it, from the greeting to the deletions after QUIT.
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
	popLineMax = 8 << 10          // octets of a line; RFC 2449 §4 knows 255, but names, passwords and SASL may be longer
	popIdle    = 10 * time.Minute // until an idle client is cut off, without deleting (RFC 1939 §3)
	popBadMax  = 10               // commands in a row that made no sense
	popSizes   = 10_000           // sizes remembered beyond the session that found them out
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
	{name: "SASL", rfc: 5034, value: func(c *popConn) string { return strings.Join(c.loginFrom().Mechanisms(), " ") }},
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
	{ErrReadOnly, &popError{"SYS/PERM", "The mail store is damaged and can only be read"}},
	{ErrDiskFull, &popError{"SYS/TEMP", "The disk is full"}},
	{ErrNotFound, &popError{"SYS/PERM", "The message is gone"}},
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
	if c.bad++; c.bad >= popBadMax {
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
func (c *popConn) update() (deleted int, err error) {
	var marked []UID
	for i := range c.drop {
		if c.drop[i].deleted {
			marked = append(marked, c.drop[i].uid)
		}
	}
	err = c.srv.store.InSteps(marked, func(tx *Tx, step []UID) error {
		_, err := tx.Expunge(c.box, step, true)
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

// cmdRetr sends a message (RFC 1939 §5). It does not mark it as seen: a program that fetches in the background and
// leaves mail here would make it all look read to the phone and on the web page. "RETR msg"
func (c *popConn) cmdRetr(arg string) error {
	m, _, err := c.message(arg)
	if err != nil {
		return err
	}
	size, err := c.size(m)
	if err != nil {
		return err
	}
	content, err := c.content(m)
	if err != nil {
		return err
	}
	c.ok("%d octets", size)
	c.fetch++
	return c.send(content, -1)
}

// cmdTop sends the header and the first lines of the body, and reads no more than that (RFC 1939 §7). "TOP msg n"
func (c *popConn) cmdTop(arg string) error {
	arg, count, _ := strings.Cut(arg, " ")
	m, _, err := c.message(arg)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 0 {
		return popNo("", "TOP needs a message and a number of lines")
	}
	content, err := c.content(m)
	if err != nil {
		return err
	}
	c.ok("The top follows")
	return c.send(content, n)
}

// needsWork says whether a message can't be sent octet for octet as it is stored.
func (c *popConn) needsWork(m *Message) bool {
	return m.Form&FormLines != 0 || m.Form&FormHeader8Bit != 0 && !c.utf8
}

// content opens a message. What was expunged since login is still there.
func (c *popConn) content(m *popMessage) (content *Content, err error) {
	err = c.srv.store.Read(func(tx *Tx) error {
		var row Message
		err := tx.Messages(c.box.ID, m.uid, m.uid, func(x *Message) error { row = *x; return nil })
		if err == nil && row.Blob == 0 {
			err = ErrNotFound
		}
		if err == nil {
			content, err = tx.Content(row.Blob)
		}
		return err
	})
	return content, err
}

// sizeKey is what the size of such a message is remembered under. Content never changes.
func (c *popConn) sizeKey(id BlobID) int64 {
	key := int64(id) << 1
	if c.utf8 {
		key |= 1
	}
	return key
}

// recall fills in a size that was found out before.
func (c *popConn) recall(m *popMessage, id BlobID) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if n, ok := c.srv.sent[c.sizeKey(id)]; ok {
		m.size, m.odd = uint32(n), false
	}
}

// size is what RETR will send. Nearly always that is what the store says. A message that has to be repaired or converted
// on its way out is sent to nobody first, so that both numbers come from the same code. The number is remembered, because
// a client that leaves its mail here asks for all of them every few minutes.
func (c *popConn) size(m *popMessage) (int64, error) {
	if !m.odd {
		return int64(m.size), nil
	}
	content, err := c.content(m)
	if err != nil {
		return 0, err
	}
	lines := &popLines{w: io.Discard, top: -1}
	if err := c.render(lines, content); err != nil {
		return 0, err
	}
	m.size, m.odd = uint32(lines.n), false
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if len(c.srv.sent) >= popSizes {
		clear(c.srv.sent)
	}
	c.srv.sent[c.sizeKey(content.ID)] = lines.n
	return lines.n, nil
}

// send sends a message as a multi-line response, or its top lines. There is no way to take it back: when the content
// can't be read to its end, the connection is cut, or the client would take the piece for the whole.
func (c *popConn) send(content *Content, top int64) error {
	err := c.render(&popLines{w: c.w, top: top, stuff: true}, content)
	if err != nil {
		c.log.Error("send message", "user", c.user.Name, "err", err)
		return popErrLost
	}
	fmt.Fprint(c.w, ".\r\n")
	return nil
}

// render writes a message in the form in which this client gets it. Without UTF8 its headers become ASCII, as
// RFC 6856 asks; bodies have always been sent with eight bits. What can't be converted is sent as it is.
func (c *popConn) render(to *popLines, content *Content) error {
	err := ErrNotConvertible
	if tree := content.Tree(); !c.utf8 && tree.Any8bitHeader() {
		err = NextHop{EightBit: true, Binary: true}.Convert(to, tree, content)
	}
	if errors.Is(err, ErrNotConvertible) {
		_, err = io.Copy(to, content.Reader())
	}
	if err == nil {
		err = to.finish()
	}
	if errors.Is(err, popErrEnough) {
		err = nil
	}
	return err
}

// popErrEnough ends the writing when TOP has what it wants.
var popErrEnough = errors.New("enough lines")

// popLines makes lines of a message on its way to a client: every line end becomes CRLF and every NUL an "?", which
// Outlook can bear. A last line is ended, and a header too, because old programs hang without the empty line. That
// makes "a bare LF, a dot and a bare LF" a line that is stuffed, and not the end of a response for a lenient client.
type popLines struct {
	w     io.Writer
	stuff bool  // double the first dot of a line (RFC 1939 §3)
	top   int64 // lines of the body wanted, negative for all
	n     int64 // octets so far, not counting stuffed dots

	inLine, inBody bool
	empty          bool // the line so far is a CR and nothing else
	last           byte // of the line so far
	lines          int64
}

func (l *popLines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.inBody && l.top >= 0 && l.lines >= l.top {
			return n - len(p), popErrEnough
		}
		i := bytes.IndexByte(p, '\n')
		piece := p
		if i >= 0 {
			piece = p[:i]
		}
		if err := l.text(piece); err != nil {
			return n - len(p), err
		}
		if i < 0 {
			break
		}
		if err := l.endLine(); err != nil {
			return n - len(p), err
		}
		p = p[i+1:]
	}
	return n, nil
}

// text writes a piece of a line without its LF.
func (l *popLines) text(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if !l.inLine && p[0] == '.' && l.stuff {
		if _, err := io.WriteString(l.w, "."); err != nil {
			return err
		}
	}
	l.empty = !l.inLine && len(p) == 1 && p[0] == '\r'
	l.inLine, l.last = true, p[len(p)-1]
	if bytes.IndexByte(p, 0) >= 0 {
		p = bytes.ReplaceAll(p, []byte{0}, []byte("?"))
	}
	l.n += int64(len(p))
	_, err := l.w.Write(p)
	return err
}

// endLine writes what is missing of a CRLF.
func (l *popLines) endLine() error {
	end := "\r\n"
	if l.inLine && l.last == '\r' {
		end = "\n"
	}
	switch {
	case l.inBody:
		l.lines++
	case !l.inLine || l.empty:
		l.inBody = true
	}
	l.inLine = false
	l.n += int64(len(end))
	_, err := io.WriteString(l.w, end)
	return err
}

// finish ends the last line and the header, if the message did not.
func (l *popLines) finish() error {
	if l.inLine {
		l.last, l.empty = 0, false // a CR at the very end is no line end
		if err := l.endLine(); err != nil {
			return err
		}
	}
	if !l.inBody {
		return l.endLine()
	}
	return nil
}
