// ManageSieve (RFC 5804): the connection, the tables of commands and capabilities, and people's scripts.
package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// manageState is where a session stands (RFC 5804 §1.8).
type manageState uint8

const (
	manageNobody manageState = 1 << iota // the client has to say who it is
	manageIn
	manageOver manageState = 0
	manageAny              = manageNobody | manageIn
)

const (
	manageLineMax = 8 << 10
	manageIdle    = 30 * time.Minute // RFC 5804 §1.2 wants as much
	manageBadMax  = 10               // commands in a row that made no sense
	manageSkipMax = 4 << 20          // octets of a script that is too long, which are read all the same
	manageArgs    = 3                // strings of one command
)

// manageCommand is one row of the command table. form has a letter for each argument: n a script's name, s a string, c a script's
// content, # a number; those behind ? may be missing.
type manageCommand struct {
	run    func(*manageConn, []manageArg) error
	states manageState
	form   string
}

// manageCommands is every command there is.
var manageCommands = map[string]manageCommand{
	"CAPABILITY": {(*manageConn).cmdCapability, manageAny, ""},
	"NOOP":       {(*manageConn).cmdNoop, manageAny, "?s"},
	"LOGOUT":     {(*manageConn).cmdLogout, manageAny, ""},

	"STARTTLS":     {(*manageConn).cmdStartTLS, manageNobody, ""},
	"AUTHENTICATE": {(*manageConn).cmdAuthenticate, manageNobody, "s?s"},

	"UNAUTHENTICATE": {(*manageConn).cmdUnauthenticate, manageIn, ""},
	"HAVESPACE":      {(*manageConn).cmdHaveSpace, manageIn, "n#"},
	"PUTSCRIPT":      {(*manageConn).cmdPutScript, manageIn, "nc"},
	"CHECKSCRIPT":    {(*manageConn).cmdCheckScript, manageIn, "c"},
	"LISTSCRIPTS":    {(*manageConn).cmdListScripts, manageIn, ""},
	"SETACTIVE":      {(*manageConn).cmdSetActive, manageIn, "s"},
	"GETSCRIPT":      {(*manageConn).cmdGetScript, manageIn, "n"},
	"DELETESCRIPT":   {(*manageConn).cmdDeleteScript, manageIn, "n"},
	"RENAMESCRIPT":   {(*manageConn).cmdRenameScript, manageIn, "nn"},
}

// manageCapability is one row of what CAPABILITY lists (RFC 5804 §1.7). when and value are for those that depend on the connection.
type manageCapability struct {
	name  string
	when  func(*manageConn) bool
	value func(*manageConn) string // follows the name
}

var manageCapabilities = []manageCapability{
	{name: "IMPLEMENTATION", value: func(*manageConn) string { return "Postino" }},
	{name: "SIEVE", value: func(*manageConn) string { return manageExtensions() }},
	{name: "SASL", when: (*manageConn).isNobody, value: func(c *manageConn) string { return strings.Join(c.loginFrom().Mechanisms(), " ") }},
	{name: "STARTTLS", when: func(c *manageConn) bool { return !c.secure && c.isNobody() }},
	{name: "NOTIFY", value: func(*manageConn) string { return "mailto" }},
	{name: "MAXREDIRECTS", value: func(*manageConn) string { return strconv.Itoa(sieveMaxSends) }},
	{name: "OWNER", when: func(c *manageConn) bool { return !c.isNobody() }, value: func(c *manageConn) string { return c.user.Name }},
	{name: "UNAUTHENTICATE"},
	{name: "VERSION", value: func(*manageConn) string { return "1.0" }},
}

func manageExtensions() string {
	var names []string
	for _, x := range sieveExtensions {
		names = append(names, x.name)
	}
	return strings.Join(names, " ")
}

// manageArg is an argument of a command: a number, or a string. tooLong is a string that was passed over.
type manageArg struct {
	text    string
	number  int64
	isNum   bool
	tooLong bool
}

// manageConn is one client. All its fields belong to the goroutine that serves it.
type manageConn struct {
	*conn
	state manageState
	bad   int // commands in a row that made no sense
	user  User
	watch loginWatch
}

func (c *manageConn) isNobody() bool { return c.state != manageIn }

// manageError is a failure that the client should hear about: its response code (RFC 5804 §1.3), or "", and its text.
type manageError struct{ code, text string }

func (e *manageError) Error() string { return e.text }

func manageNo(code, text string) error { return &manageError{code, text} }

// manageStoreErrors turns what the lower rungs fail with into words.
var manageStoreErrors = []struct {
	err error
	say *manageError
}{
	{ErrAuthRate, &manageError{"TRYLATER", "Too many failed logins, wait a while"}},
	{ErrAuthPrivacy, &manageError{"ENCRYPT-NEEDED", "Passwords need TLS here: use STARTTLS first"}},
	{ErrAuthCancelled, &manageError{"", "Login cancelled"}},
	{ErrAuthSyntax, &manageError{"", "Malformed login"}},
	{ErrMechanism, &manageError{"", "No such mechanism, see CAPABILITY"}},
	{ErrAuth, &manageError{"", "Wrong name or password"}},
	{ErrScriptActive, &manageError{"ACTIVE", "The script is active"}},
	{ErrNotFound, &manageError{"NONEXISTENT", "There is no script of that name"}},
	{ErrExists, &manageError{"ALREADYEXISTS", "There is a script of that name already"}},
	{ErrTooBig, &manageError{"QUOTA/MAXSIZE", "The script is too long"}},
	{ErrTooMany, &manageError{"QUOTA/MAXSCRIPTS", "There are too many scripts"}},
	{ErrQuota, &manageError{"QUOTA", "The scripts take too much room together"}},
	{ErrUnreadable, &manageError{"TRYLATER", "The server can't open its file; the administrator has to look"}},
	{ErrReadOnly, &manageError{"TRYLATER", "The scripts can only be read just now"}},
	{ErrDiskFull, &manageError{"TRYLATER", "The disk is full"}},
	{ErrBusy, &manageError{"TRYLATER", "Too much is being done at the same time"}},
}

// manageErrLost ends a connection without a word.
var manageErrLost = errors.New("connection lost")

// serveManageSieve is one connection. The greeting is the list of capabilities (RFC 5804 §1.7).
func (s *Server) serveManageSieve(nc *conn) {
	c := &manageConn{conn: nc, state: manageNobody}
	c.capabilities()
	c.ok("", s.cfg.Hostname+" ready")
	for c.w.Flush() == nil && c.state != manageOver {
		err := c.command()
		if err != nil {
			c.bye(err)
		}
	}
}

// bye ends the session because of err.
func (c *manageConn) bye(err error) {
	switch {
	case errors.Is(err, errLineTooLong):
		c.say("BYE", "", "Line too long")
	case errors.Is(err, errStopping):
		c.say("BYE", "TRYLATER", "The server is being stopped")
	case errors.Is(err, errIdle):
		c.say("BYE", "", "Idle for too long")
	case errors.Is(err, manageErrLost), errors.Is(err, io.EOF):
	default:
		c.log.Info("connection", "err", err)
	}
	c.state = manageOver
}

// say writes a response (RFC 5804 §1.3). Text of more than a line is a literal.
func (c *manageConn) say(word, code, text string) {
	if code != "" {
		word += " (" + code + ")"
	}
	fmt.Fprintf(c.w, "%s %s\r\n", word, manageString(text))
}

func (c *manageConn) ok(code, text string) { c.say("OK", code, text) }

// manageString writes a string, as a literal if it can't be quoted (RFC 5804 §4).
func manageString(s string) string {
	if len(s) > 1000 || strings.ContainsAny(s, "\r\n\x00") {
		return fmt.Sprintf("{%d}\r\n%s", len(s), s)
	}
	return sieveStringOf(s)
}

// until is how long the client may take for what comes next. One that has not logged in has a minute for all of it.
func (c *manageConn) until() time.Duration {
	if c.isNobody() {
		return loginTimeout - time.Since(c.started)
	}
	return manageIdle
}

// command reads and runs one command. Its errors end the connection.
func (c *manageConn) command() error {
	line, err := c.line(manageLineMax, c.until())
	if err != nil {
		return err
	}
	if c.isNobody() && isHTTP(line) {
		return manageErrLost
	}
	verb, rest, _ := strings.Cut(line, " ")
	cmd, known := manageCommands[strings.ToUpper(verb)]
	args, err := c.arguments(rest)
	var me *manageError
	if err != nil && !errors.As(err, &me) {
		return err
	}
	switch {
	case err != nil:
	case !known:
		err = manageNo("", "No such command")
	case cmd.states&c.state == 0 && c.isNobody():
		err = manageNo("", "Authenticate first")
	case cmd.states&c.state == 0:
		err = manageNo("", "You are logged in already")
	default:
		err = cmd.fits(args)
	}
	if err != nil {
		c.fault(err)
		c.bad++
		if c.bad >= manageBadMax {
			c.say("BYE", "", "Too many bad commands")
			c.state = manageOver
		}
		return nil
	}
	c.bad = 0
	if c.state == manageIn {
		now, err := c.watch.look(c.srv.store, c.user)
		if errors.Is(err, errLoginEnded) {
			c.say("BYE", "", "You have been logged out")
			return manageErrLost
		}
		if err != nil {
			return c.fault(err)
		}
		c.user = now
	}
	return c.fault(cmd.run(c, args))
}

// fits sees that the arguments are what the command takes.
func (cmd manageCommand) fits(args []manageArg) error {
	want, optional, _ := strings.Cut(cmd.form, "?")
	if len(args) < len(want) || len(args) > len(want)+len(optional) {
		return manageNo("", "Wrong number of arguments")
	}
	for i, a := range args {
		kind := (want + optional)[i]
		switch {
		case a.isNum != (kind == '#'):
			return manageNo("", "An argument is of the wrong kind")
		case a.tooLong && kind == 'c':
			return ErrTooBig
		case a.tooLong || (kind == 'n' && !sieveIsScriptName(a.text)):
			return manageNo("", "That can't be a script's name")
		}
	}
	return nil
}

// arguments reads what follows the command: strings in quotes or as literals, which go on with the next line, and numbers (RFC 5804 §4).
func (c *manageConn) arguments(rest string) ([]manageArg, error) {
	var args []manageArg
	var bad error
	for {
		rest = strings.TrimLeft(rest, " ")
		if rest == "" {
			return args, bad
		}
		var a manageArg
		var err error
		switch {
		case rest[0] == '"':
			a.text, rest, err = manageQuoted(rest)
		case rest[0] == '{':
			a, rest, err = c.literal(rest)
		default:
			word, more, _ := strings.Cut(rest, " ")
			a.isNum, rest = true, more
			a.number, err = strconv.ParseInt(word, 10, 64)
			if err != nil || word[0] == '+' || word[0] == '-' {
				return args, manageNo("", "A string must be in quotes")
			}
		}
		if err != nil {
			return nil, err
		}
		args = append(args, a)
		if len(args) > manageArgs {
			bad = manageNo("", "Too many arguments")
			args = args[:manageArgs]
		}
	}
}

// manageQuoted takes a quoted string off the front of a line.
func manageQuoted(line string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '"':
			return b.String(), line[i+1:], nil
		case ch == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case ch == 0:
			return "", "", manageNo("", "NUL in a string")
		default:
			b.WriteByte(ch)
		}
	}
	return "", "", manageNo("", "A string has no end")
}

// literal reads the octets that follow the line, and the line behind them. One that is too long is passed over, within bounds.
func (c *manageConn) literal(head string) (a manageArg, rest string, err error) {
	count, ok := strings.CutSuffix(strings.TrimPrefix(head, "{"), "}")
	count = strings.TrimSuffix(count, "+")
	n, err := strconv.ParseUint(count, 10, 63)
	most := int64(maxScriptSize)
	if c.isNobody() {
		most = manageLineMax
	}
	switch {
	case !ok || err != nil:
		return a, "", manageNo("", "A literal is {number+} at the end of the line")
	case int64(n) > manageSkipMax || (int64(n) > most && c.isNobody()):
		return a, "", manageErrLost
	}
	c.wait(c.until())
	if int64(n) > most {
		a.tooLong = true
		_, err = io.CopyN(io.Discard, c.r, int64(n))
	} else {
		b := make([]byte, n)
		_, err = io.ReadFull(c.r, b)
		a.text = string(b)
	}
	if err != nil {
		return a, "", err
	}
	rest, err = c.line(manageLineMax, c.until())
	return a, rest, err
}

// fault says what a command failed with. It returns what ends the connection.
func (c *manageConn) fault(err error) error {
	var me *manageError
	if err == nil || errors.Is(err, manageErrLost) || errors.Is(err, io.EOF) {
		return err
	}
	if !errors.As(err, &me) {
		for _, e := range manageStoreErrors {
			if me == nil && errors.Is(err, e.err) {
				me = e.say
			}
		}
	}
	if me == nil {
		c.log.Error("command", "user", c.user.Name, "err", err)
		me = &manageError{"TRYLATER", "Something went wrong here, it is in the log"}
	}
	c.say("NO", me.code, me.text)
	return nil
}

func (c *manageConn) capabilities() {
	for _, k := range manageCapabilities {
		switch {
		case k.when != nil && !k.when(c):
		case k.value == nil:
			fmt.Fprintf(c.w, "%q\r\n", k.name)
		default:
			fmt.Fprintf(c.w, "%q %s\r\n", k.name, manageString(k.value(c)))
		}
	}
}

// cmdCapability lists what the server can do (RFC 5804 §2.4).
func (c *manageConn) cmdCapability([]manageArg) error {
	c.capabilities()
	c.ok("", "That is all")
	return nil
}

// cmdNoop does nothing, and says a tag back (RFC 5804 §2.13).
func (c *manageConn) cmdNoop(args []manageArg) error {
	code := ""
	if len(args) > 0 {
		code = "TAG " + manageString(args[0].text)
	}
	c.ok(code, "Still here")
	return nil
}

// cmdLogout ends the session (RFC 5804 §2.3).
func (c *manageConn) cmdLogout([]manageArg) error {
	c.ok("", "Goodbye")
	c.state = manageOver
	return nil
}

// cmdStartTLS begins TLS; the capabilities are said anew (RFC 5804 §2.2).
func (c *manageConn) cmdStartTLS([]manageArg) error {
	if c.secure {
		return manageNo("", "TLS is on already")
	}
	c.ok("", "Begin TLS now")
	if c.w.Flush() != nil {
		return manageErrLost
	}
	if err := c.startTLS(); err != nil {
		c.log.Info("tls", "remote", c.remote, "err", err)
		return manageErrLost
	}
	c.capabilities()
	c.ok("", "TLS is on")
	return nil
}

// cmdAuthenticate logs in by SASL (RFC 5804 §2.1): challenges and responses are strings.
func (c *manageConn) cmdAuthenticate(args []manageArg) error {
	initial := ""
	if len(args) == 2 {
		initial = args[1].text
		if initial == "" {
			initial = "="
		}
	}
	u, err := c.srv.auth.Login(c.loginFrom(), args[0].text, initial, func(challenge string) (string, error) {
		fmt.Fprintf(c.w, "%s\r\n", manageString(challenge))
		if c.w.Flush() != nil {
			return "", manageErrLost
		}
		line, err := c.line(manageLineMax, c.until())
		if err != nil {
			return "", fmt.Errorf("%w: %w", manageErrLost, err)
		}
		said, err := c.arguments(line)
		var me *manageError
		if err != nil && !errors.As(err, &me) {
			return "", fmt.Errorf("%w: %w", manageErrLost, err)
		}
		if err != nil || len(said) != 1 || said[0].isNum {
			return "", manageNo("", "A response is one string")
		}
		return said[0].text, nil
	})
	if err == nil && c.loggedIn(u.ID) != nil {
		err = manageNo("TRYLATER", "Too many connections of yours at once")
	}
	if err != nil {
		if !errors.Is(err, manageErrLost) {
			c.log.Info("login failed", "remote", c.remote, "err", err)
		}
		return err
	}
	c.user, c.state = u, manageIn
	c.log.Info("login", "user", u.Name, "remote", c.remote)
	c.ok("", "Logged in")
	return nil
}

// cmdUnauthenticate is as if the client had just connected (RFC 5804 §2.14.1).
func (c *manageConn) cmdUnauthenticate([]manageArg) error {
	c.started = time.Now()
	*c = manageConn{conn: c.conn, state: manageNobody}
	c.ok("", "Logged out")
	return nil
}

// cmdHaveSpace says whether a script of that size could be stored (RFC 5804 §2.5).
func (c *manageConn) cmdHaveSpace(args []manageArg) error {
	err := c.srv.store.Read(func(tx *Tx) error { return tx.ScriptRoom(c.user.ID, args[0].text, args[1].number) })
	if err == nil {
		c.ok("", "There is room")
	}
	return err
}

// checked refuses a script that makes no sense, with all that is wrong with it.
func (c *manageConn) checked(source string) error {
	_, faults := sieveCompile(source)
	if len(faults) == 0 {
		return nil
	}
	var all []string
	for _, f := range faults {
		all = append(all, f.Error())
	}
	return manageNo("", strings.Join(all, "\r\n"))
}

// cmdPutScript stores a script that makes sense (RFC 5804 §2.6).
func (c *manageConn) cmdPutScript(args []manageArg) error {
	name, source := args[0].text, args[1].text
	if err := c.checked(source); err != nil {
		return err
	}
	err := c.srv.store.Write(func(tx *Tx) error { return tx.PutScript(c.user.ID, name, source) })
	if err == nil {
		c.log.Info("script stored", "user", c.user.Name, "size", len(source))
		c.ok("", "Stored")
	}
	return err
}

// cmdCheckScript says whether a script makes sense (RFC 5804 §2.12).
func (c *manageConn) cmdCheckScript(args []manageArg) error {
	err := c.checked(args[0].text)
	if err == nil {
		c.ok("", "The script makes sense")
	}
	return err
}

// cmdListScripts lists the scripts and marks the active one (RFC 5804 §2.7).
func (c *manageConn) cmdListScripts([]manageArg) error {
	all, err := read(c.srv.store, func(tx *Tx) ([]Script, error) { return tx.Scripts(c.user.ID) })
	if err != nil {
		return err
	}
	for _, s := range all {
		active := ""
		if s.Active {
			active = " ACTIVE"
		}
		fmt.Fprintf(c.w, "%s%s\r\n", manageString(s.Name), active)
	}
	c.ok("", "That is all")
	return nil
}

// cmdSetActive makes a script the active one, or none for the empty name (RFC 5804 §2.8).
func (c *manageConn) cmdSetActive(args []manageArg) error {
	err := c.srv.store.Write(func(tx *Tx) error { return tx.ActivateScript(c.user.ID, args[0].text) })
	if err == nil {
		c.ok("", "Done")
	}
	return err
}

// cmdGetScript sends a script (RFC 5804 §2.9).
func (c *manageConn) cmdGetScript(args []manageArg) error {
	s, err := read(c.srv.store, func(tx *Tx) (Script, error) { return tx.Script(c.user.ID, args[0].text) })
	if err != nil {
		return err
	}
	fmt.Fprintf(c.w, "{%d}\r\n%s\r\n", len(s.Source), s.Source)
	c.ok("", "That is all")
	return nil
}

// cmdDeleteScript forgets a script that is not active (RFC 5804 §2.10).
func (c *manageConn) cmdDeleteScript(args []manageArg) error {
	err := c.srv.store.Write(func(tx *Tx) error { return tx.DeleteScript(c.user.ID, args[0].text) })
	if err == nil {
		c.ok("", "Deleted")
	}
	return err
}

// cmdRenameScript gives a script another name, and it stays active if it was (RFC 5804 §2.11.1).
func (c *manageConn) cmdRenameScript(args []manageArg) error {
	err := c.srv.store.Write(func(tx *Tx) error { return tx.RenameScript(c.user.ID, args[0].text, args[1].text) })
	if err == nil {
		c.ok("", "Renamed")
	}
	return err
}
