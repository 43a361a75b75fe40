// IMAP: the connection, the tables of commands and capabilities, and the commands that need no mailbox.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// imapState is where a connection stands (RFC 9051 §3); a command's row names all states in which it may be given.
type imapState uint8

const (
	imapNotAuth imapState = 1 << iota
	imapAuth
	imapSelected
	imapLogout   imapState = 0
	imapLoggedIn           = imapAuth | imapSelected
	imapAny                = imapNotAuth | imapLoggedIn
)

const (
	imapLineBefore = 32 << 10         // octets of a command line before login: ID may take nearly all of it (RFC 2971 §3.3)
	imapLineAfter  = 64 << 10         // and after
	imapIdle       = 30 * time.Minute // until an idle client is logged out (RFC 9051 §5.4 wants at least that)
	imapBadMax     = 10               // commands in a row that can't be understood
	imapIDMax      = 500              // octets of what a client says of itself that are logged
)

// imapCommand is one row of the command table. While a command that uses sequence numbers runs, the client must not be
// told of expunges (RFC 9051 §7.5.1).
type imapCommand struct {
	run     func(*imapConn, *imapParser) error
	states  imapState
	usesSeq bool
}

// imapCommands is every command there is. The UID forms are rows of their own because they differ in usesSeq.
var imapCommands = map[string]imapCommand{
	"CAPABILITY": {run: (*imapConn).cmdCapability, states: imapAny},
	"NOOP":       {run: (*imapConn).cmdNoop, states: imapAny},
	"LOGOUT":     {run: (*imapConn).cmdLogout, states: imapAny},
	"ID":         {run: (*imapConn).cmdID, states: imapAny},

	"STARTTLS":     {run: (*imapConn).cmdStartTLS, states: imapNotAuth},
	"LOGIN":        {run: (*imapConn).cmdLogin, states: imapNotAuth},
	"AUTHENTICATE": {run: (*imapConn).cmdAuthenticate, states: imapNotAuth},

	"UNAUTHENTICATE": {run: (*imapConn).cmdUnauthenticate, states: imapLoggedIn},

	"ENABLE":      {run: (*imapConn).cmdEnable, states: imapLoggedIn},
	"SELECT":      {run: (*imapConn).cmdSelect, states: imapLoggedIn},
	"EXAMINE":     {run: (*imapConn).cmdExamine, states: imapLoggedIn},
	"CREATE":      {run: (*imapConn).cmdCreate, states: imapLoggedIn},
	"DELETE":      {run: (*imapConn).cmdDelete, states: imapLoggedIn},
	"RENAME":      {run: (*imapConn).cmdRename, states: imapLoggedIn},
	"SUBSCRIBE":   {run: (*imapConn).cmdSubscribe, states: imapLoggedIn},
	"UNSUBSCRIBE": {run: (*imapConn).cmdUnsubscribe, states: imapLoggedIn},
	"LIST":        {run: (*imapConn).cmdList, states: imapLoggedIn},
	"LSUB":        {run: (*imapConn).cmdLsub, states: imapLoggedIn},
	"XLIST":       {run: (*imapConn).cmdXlist, states: imapLoggedIn},
	"NAMESPACE":   {run: (*imapConn).cmdNamespace, states: imapLoggedIn},
	"STATUS":      {run: (*imapConn).cmdStatus, states: imapLoggedIn},
	"APPEND":      {run: (*imapConn).cmdAppend, states: imapLoggedIn},
	"SETACL":      {run: (*imapConn).cmdSetACL, states: imapLoggedIn},
	"DELETEACL":   {run: (*imapConn).cmdDeleteACL, states: imapLoggedIn},
	"GETACL":      {run: (*imapConn).cmdGetACL, states: imapLoggedIn},
	"LISTRIGHTS":  {run: (*imapConn).cmdListRights, states: imapLoggedIn},
	"MYRIGHTS":    {run: (*imapConn).cmdMyRights, states: imapLoggedIn},

	"GETMETADATA":  {run: (*imapConn).cmdGetMetadata, states: imapLoggedIn},
	"SETMETADATA":  {run: (*imapConn).cmdSetMetadata, states: imapLoggedIn},
	"GETQUOTA":     {run: (*imapConn).cmdGetQuota, states: imapLoggedIn},
	"GETQUOTAROOT": {run: (*imapConn).cmdGetQuotaRoot, states: imapLoggedIn},
	"IDLE":         {run: (*imapConn).cmdIdle, states: imapLoggedIn},
	"NOTIFY":       {run: (*imapConn).cmdNotify, states: imapLoggedIn},

	"CHECK":       {run: (*imapConn).cmdNoop, states: imapSelected},
	"CLOSE":       {run: (*imapConn).cmdClose, states: imapSelected},
	"UNSELECT":    {run: (*imapConn).cmdUnselect, states: imapSelected},
	"EXPUNGE":     {run: (*imapConn).cmdExpunge, states: imapSelected},
	"UID EXPUNGE": {run: (*imapConn).cmdExpunge, states: imapSelected},
	"STORE":       {run: (*imapConn).cmdStore, states: imapSelected, usesSeq: true},
	"UID STORE":   {run: (*imapConn).cmdStore, states: imapSelected},
	"COPY":        {run: (*imapConn).cmdCopy, states: imapSelected},
	"UID COPY":    {run: (*imapConn).cmdCopy, states: imapSelected},
	"REPLACE":     {run: (*imapConn).cmdReplace, states: imapSelected},
	"UID REPLACE": {run: (*imapConn).cmdReplace, states: imapSelected},
	"MOVE":        {run: (*imapConn).cmdMove, states: imapSelected},
	"UID MOVE":    {run: (*imapConn).cmdMove, states: imapSelected},

	"FETCH":      {run: (*imapConn).cmdFetch, states: imapSelected, usesSeq: true},
	"SEARCH":     {run: (*imapConn).cmdSearch, states: imapSelected, usesSeq: true},
	"SORT":       {run: (*imapConn).cmdSort, states: imapSelected, usesSeq: true},
	"THREAD":     {run: (*imapConn).cmdThread, states: imapSelected, usesSeq: true},
	"FILTER":     {run: (*imapConn).cmdFilter, states: imapSelected, usesSeq: true},
	"UID FILTER": {run: (*imapConn).cmdFilter, states: imapSelected},
	"UID FETCH":  {run: (*imapConn).cmdFetch, states: imapSelected},
	"UID SEARCH": {run: (*imapConn).cmdSearch, states: imapSelected},
	"UID SORT":   {run: (*imapConn).cmdSort, states: imapSelected},
	"UID THREAD": {run: (*imapConn).cmdThread, states: imapSelected},

	"ESEARCH":      {run: (*imapConn).cmdMultiSearch, states: imapLoggedIn},
	"CANCELUPDATE": {run: (*imapConn).cmdCancelUpdate, states: imapSelected},
}

// imapCapability is one row of the capability table: a name, the RFC that says what it means, and the states in which
// it is announced; when and value are for those that depend on the connection.
type imapCapability struct {
	name   string
	rfc    int
	states imapState
	when   func(*imapConn) bool
	value  func(*imapConn) string // follows the name and "="
}

var imapCapabilities = []imapCapability{
	{name: "IMAP4rev1", rfc: 3501, states: imapAny},
	{name: "IMAP4rev2", rfc: 9051, states: imapAny},
	{name: "SASL-IR", rfc: 4959, states: imapNotAuth},
	{name: "STARTTLS", rfc: 3501, states: imapNotAuth, when: func(c *imapConn) bool { return !c.secure }},
	{name: "LOGINDISABLED", rfc: 3501, states: imapNotAuth, when: func(c *imapConn) bool { return !c.mayLogIn() }},
	{name: "AUTH=SCRAM-SHA-256-PLUS", rfc: 7677, states: imapNotAuth, when: func(c *imapConn) bool { return c.loginFrom().binding != nil }},
	{name: "AUTH=SCRAM-SHA-256", rfc: 7677, states: imapNotAuth},
	{name: "AUTH=PLAIN", rfc: 4616, states: imapNotAuth, when: func(c *imapConn) bool { return c.mayLogIn() }},
	{name: "LITERAL+", rfc: 7888, states: imapAny},
	{name: "ID", rfc: 2971, states: imapAny},
	{name: "ENABLE", rfc: 5161, states: imapAny},
	{name: "IDLE", rfc: 2177, states: imapAny},
	{name: "NAMESPACE", rfc: 2342, states: imapLoggedIn},
	{name: "CHILDREN", rfc: 3348, states: imapLoggedIn},
	{name: "SPECIAL-USE", rfc: 6154, states: imapLoggedIn},
	{name: "UNSELECT", rfc: 3691, states: imapLoggedIn},
	{name: "OBJECTID", rfc: 8474, states: imapLoggedIn},
	{name: "BINARY", rfc: 3516, states: imapLoggedIn},
	{name: "UIDPLUS", rfc: 4315, states: imapLoggedIn},
	{name: "MOVE", rfc: 6851, states: imapLoggedIn},
	{name: "CONDSTORE", rfc: 7162, states: imapLoggedIn},
	{name: "QRESYNC", rfc: 7162, states: imapLoggedIn},
	{name: "UIDONLY", rfc: 9586, states: imapLoggedIn},
	{name: "UTF8=ACCEPT", rfc: 6855, states: imapLoggedIn},
	{name: "LIST-EXTENDED", rfc: 5258, states: imapLoggedIn},
	{name: "ACL", rfc: 4314, states: imapLoggedIn},
	{name: "RIGHTS", rfc: 4314, states: imapLoggedIn, value: func(*imapConn) string { return "texk" }},
	{name: "LIST-MYRIGHTS", rfc: 8440, states: imapLoggedIn},
	{name: "QUOTA", rfc: 9208, states: imapLoggedIn},
	{name: "QUOTA=RES-STORAGE", rfc: 9208, states: imapLoggedIn},
	{name: "QUOTA=RES-MESSAGE", rfc: 9208, states: imapLoggedIn},
	{name: "STATUS=SIZE", rfc: 8438, states: imapLoggedIn},
	{name: "APPENDLIMIT", rfc: 7889, states: imapLoggedIn, value: func(c *imapConn) string { return fmt.Sprint(int64(c.srv.cfg.Limits.Message)) }},
	{name: "LIST-STATUS", rfc: 5819, states: imapLoggedIn},
	{name: "CREATE-SPECIAL-USE", rfc: 6154, states: imapLoggedIn},
	{name: "XLIST", rfc: 6154, states: imapLoggedIn},
	{name: "MULTIAPPEND", rfc: 3502, states: imapLoggedIn},
	{name: "METADATA", rfc: 5464, states: imapLoggedIn},
	{name: "LIST-METADATA", rfc: 9590, states: imapLoggedIn},
	{name: "NOTIFY", rfc: 5465, states: imapLoggedIn},
	{name: "CATENATE", rfc: 4469, states: imapLoggedIn},
	{name: "URL-PARTIAL", rfc: 5550, states: imapLoggedIn},
	{name: "MESSAGELIMIT", rfc: 9738, states: imapLoggedIn, value: imapMessageLimit}, // FETCH, SEARCH, STORE, MOVE, UID EXPUNGE
	{name: "SAVELIMIT", rfc: 9738, states: imapLoggedIn, value: imapSaveLimit},       // COPY, APPEND
	{name: "REPLACE", rfc: 8508, states: imapLoggedIn},
	{name: "UNAUTHENTICATE", rfc: 8437, states: imapLoggedIn},
	{name: "ESEARCH", rfc: 4731, states: imapLoggedIn},
	{name: "SEARCHRES", rfc: 5182, states: imapLoggedIn},
	{name: "WITHIN", rfc: 5032, states: imapLoggedIn},
	{name: "PARTIAL", rfc: 9394, states: imapLoggedIn},
	{name: "FILTER=SIEVE", states: imapLoggedIn}, // draft-bosch-imap-filter-sieve-00
	{name: "SORT", rfc: 5256, states: imapLoggedIn},
	{name: "SORT=DISPLAY", rfc: 5957, states: imapLoggedIn},
	{name: "ESORT", rfc: 5267, states: imapLoggedIn},
	{name: "CONTEXT=SEARCH", rfc: 5267, states: imapLoggedIn},
	{name: "MULTISEARCH", rfc: 7377, states: imapLoggedIn},
	{name: "INPROGRESS", rfc: 9585, states: imapLoggedIn},
	{name: "THREAD=ORDEREDSUBJECT", rfc: 5256, states: imapLoggedIn},
	{name: "THREAD=REFERENCES", rfc: 5256, states: imapLoggedIn},
	{name: "THREAD=REFS", rfc: 5256, states: imapLoggedIn},
	{name: "I18NLEVEL=1", rfc: 5255, states: imapLoggedIn},
	{name: "PREVIEW", rfc: 8970, states: imapLoggedIn},
	{name: "SAVEDATE", rfc: 8514, states: imapLoggedIn},
}

func imapMessageLimit(c *imapConn) string { return fmt.Sprint(c.srv.cfg.Limits.IMAPMessages) }

// imapSaveLimit is what APPEND takes; COPY takes as many as other commands.
func imapSaveLimit(c *imapConn) string { return fmt.Sprint(c.appendLimit()) }

// imapRun is the command that runs, and what it leaves for its end.
type imapRun struct {
	tag     string
	uid     bool   // it began with UID
	code    string // response code of the tagged OK, without brackets
	text    string // and its text, "done" if empty
	rest    UID    // the lowest message that was worked on, if there were too many for one command
	opened  bool   // it has selected the mailbox: there is no news yet, and the client knows no UIDs that could vanish
	effects imapEffects
	lists   imapLists
}

// imapConn is one client. All its fields belong to the goroutine that serves it.
type imapConn struct {
	*conn
	state imapState
	user  User
	watch loginWatch // whether the login still holds
	bad   int        // commands in a row that could not be understood

	imapRun

	// What the client has enabled (RFC 5161).
	condstore bool // MODSEQ in every FETCH (RFC 7162 §3.1)
	qresync   bool // VANISHED for EXPUNGE (RFC 7162 §3.2)
	utf8      bool // UTF-8 in mailbox names and headers (RFC 6855)
	uidonly   bool // no sequence numbers at all (RFC 9586)
	rev2      bool // IMAP4rev2 (RFC 9051)

	wake  <-chan struct{} // receives when the user's mail or the user has changed
	stops []func()        // what to give back at logout

	notify *imapNotify        // what the client wants to hear of, nil for what RFC 9051 says
	own    map[imapStamp]bool // what it did itself since it was last told of other mailboxes (see noteOwn)
	named  []string           // and to which names of mailboxes
	imapView
}

// imapError is a failure that the client should hear about. Any other error of a command is ours.
type imapError struct{ status, code, text string }

func (e *imapError) Error() string { return e.status + " " + e.text }

func imapNo(code, text string) error { return &imapError{"NO", code, text} }
func imapBad(text string) error      { return &imapError{"BAD", "", text} }

// imapStoreErrors is what the client hears when the lower rungs fail with an error that is no fault of ours (RFC 5530,
// RFC 9051 §7.1). An empty text is the error's own.
var imapStoreErrors = []struct {
	err        error
	code, text string
}{
	{ErrNotFound, "NONEXISTENT", "It is not there (any more)"},
	{ErrExists, "ALREADYEXISTS", "There is such a mailbox already"},
	{ErrQuota, "OVERQUOTA", "Not enough room; delete some messages"},
	{ErrTooBig, "TOOBIG", "The message is too big"},
	{ErrTooMany, "LIMIT", ""},
	{ErrKeyword, "CANNOT", ""},
	{ErrBusy, "UNAVAILABLE", "Too much is being done at the same time, try again later"},
	{ErrDiskFull, "UNAVAILABLE", "The server's disk is full"},
	{ErrContentDamaged, "CORRUPTION", "The message is damaged on the server's disk"},
	{ErrUnreadable, "UNAVAILABLE", "The server can't open its file; the administrator has to look"},
	{ErrReadOnly, "UNAVAILABLE", "The server's file can't be written to"},
	{ErrClosed, "UNAVAILABLE", "The server is being stopped"},
	{syscall.ENOSPC, "UNAVAILABLE", "The server's disk is full"},
	{syscall.EMFILE, "UNAVAILABLE", "The server has too many files open, try again later"},
	{syscall.ENFILE, "UNAVAILABLE", "The server has too many files open, try again later"},
	{ErrInbox, "CANNOT", "INBOX can't be deleted or renamed"},
	{ErrOtherOwner, "CANNOT", "A mailbox can't change its owner; create one there and move the messages"},
	{ErrIntoItself, "CANNOT", "A mailbox can't become its own child"},
	{ErrMailboxName, "CANNOT", ""},
	{ErrAuth, "AUTHENTICATIONFAILED", "Wrong name or password"},
	{ErrAuthRate, "UNAVAILABLE", "Too many failed logins, wait a while"},
	{ErrAuthPrivacy, "PRIVACYREQUIRED", "Use STARTTLS first"},
	{ErrMechanism, "CANNOT", "There is no such mechanism"},
}

// imapErrLost ends a connection without a word: nobody is listening, or nothing that follows could be understood.
var imapErrLost = errors.New("connection lost")

// imapErrUserGone ends a session whose user was removed, disabled or given another password.
var imapErrUserGone = errors.New("the user may not be logged in any more")

// serveIMAP is one connection from greeting to BYE.
func (s *Server) serveIMAP(nc *conn) {
	c := &imapConn{conn: nc, state: imapNotAuth}
	defer c.end()
	c.putf("* OK [CAPABILITY %s] %s ready\r\n", c.capabilities(), s.cfg.Hostname)
	for c.w.Flush() == nil && c.state != imapLogout {
		line, err := c.nextCommand()
		if err == nil && c.state == imapNotAuth && isHTTP(line) && strings.Contains(line, "HTTP/") {
			err = imapErrLost
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
func (c *imapConn) end() {
	c.unselect()
	if c.notify != nil {
		c.notify.stop()
	}
	for _, f := range c.stops {
		f()
	}
	c.stops = nil
}

// nextCommand reads the first line of a command. A client that has asked for it hears news while it is silent.
func (c *imapConn) nextCommand() (string, error) {
	if c.notify != nil && !c.notify.passive {
		err := c.await(imapIdle, c.tellUnasked)
		if err != nil {
			return "", err
		}
	}
	return c.nextLine()
}

// tellUnasked tells a client that has given NOTIFY what is new, in the selected mailbox and elsewhere.
func (c *imapConn) tellUnasked() error {
	var err error
	switch {
	case c.state != imapSelected || c.notify.frozen():
	case c.notify.delayed:
		err = c.syncButExpunges()
	default:
		err = c.sync()
	}
	if err != nil {
		return err
	}
	return c.news()
}

// nextLine reads a line: the first one of a command, or the next one after a literal.
func (c *imapConn) nextLine() (string, error) {
	limit := imapLineAfter
	if c.state == imapNotAuth {
		limit = imapLineBefore
	}
	line, err := c.conn.line(limit, c.timeLimit(imapIdle))
	return strings.TrimRight(line, " "), err // some clients end commands with a blank
}

// timeLimit is how long to wait for the client; one that has not logged in has one time for all it does.
func (c *imapConn) timeLimit(d time.Duration) time.Duration {
	if c.state == imapNotAuth {
		return min(d, loginTimeout-time.Since(c.started))
	}
	return d
}

// bye is the last word to a client whose connection can't go on because of err, and does nothing for one whose can.
func (c *imapConn) bye(err error) {
	switch {
	case err == errLineTooLong: // its end was found
		c.putf("* BAD Line too long\r\n")
		c.bad++
		if c.bad < imapBadMax {
			return
		}
		c.putf("* BYE Too many bad commands\r\n")
	case errors.Is(err, errLineTooLong):
		c.putf("* BYE Line too long\r\n")
	case errors.Is(err, errIdle):
		c.putf("* BYE Autologout, idle for too long\r\n")
	case errors.Is(err, errStopping):
		c.putf("* BYE [UNAVAILABLE] The server is being stopped\r\n")
	case errors.Is(err, imapErrUserGone):
		c.putf("* BYE [CLIENTBUG] Please log in again\r\n")
	case errors.Is(err, imapErrGone):
		c.putf("* BYE The selected mailbox is gone\r\n")
	case errors.Is(err, imapErrLost), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	default:
		c.log.Info("imap connection", "user", c.user.Name, "err", err)
	}
	c.state = imapLogout
}

// command runs one command and writes everything there is to say, the tagged response last. An error means that the
// connection can't go on.
func (c *imapConn) command(line string) error {
	p := &imapParser{c: c, line: line, rest: line}
	defer p.letGo()
	c.imapRun = imapRun{}
	c.tag = p.tag()
	name := p.commandName()
	cmd := imapCommands[name]
	err := p.err
	if err == nil {
		err = c.mayRun(name)
	}
	if err == nil {
		if err := c.stillIn(); err != nil {
			return err
		}
		err = cmd.run(c, p)
	}
	switch {
	case err == imapErrAnswered:
		return nil
	case err != nil && imapFatal(err):
		return err
	}
	if lost := p.drain(); lost != nil {
		return lost
	}
	if err := c.checkUser(); err != nil {
		return err
	}
	if err := c.syncAfter(cmd); err != nil {
		return err
	}
	if err := c.news(); err != nil {
		return err
	}
	return c.answer(name, err)
}

// mayRun refuses a command that there is not, or that may not be given now.
func (c *imapConn) mayRun(name string) error {
	cmd, known := imapCommands[name]
	switch {
	case !known:
		return imapBad("Unknown command")
	case cmd.states&c.state == 0:
		return c.notNow(cmd.states)
	case c.uidonly && (cmd.usesSeq || name == "COPY" || name == "MOVE" || name == "REPLACE"):
		return &imapError{"BAD", "UIDREQUIRED", "Sequence numbers are switched off"} // RFC 9586
	}
	return nil
}

// syncAfter tells at the end of a command what is new in the selected mailbox, as far as that may be told then.
func (c *imapConn) syncAfter(cmd imapCommand) error {
	switch {
	case c.state != imapSelected || c.opened:
		return nil
	case cmd.usesSeq:
		return c.syncButExpunges()
	}
	return c.sync()
}

// notNow says why a command can't be given in the connection's state.
func (c *imapConn) notNow(states imapState) error {
	switch {
	case c.state == imapNotAuth:
		return imapBad("Not now: log in first")
	case states == imapNotAuth:
		return imapBad("Not now: you are logged in already")
	}
	return imapBad("Not now: no mailbox is selected")
}

// answer writes the tagged response. It turns the errors of the store into what the client should hear; any other
// error is logged, and the client hears that it is not at fault.
func (c *imapConn) answer(name string, err error) error {
	if err == nil {
		c.bad = 0
		if limit := fmt.Sprintf("MESSAGELIMIT %d %d", c.srv.cfg.Limits.IMAPMessages, c.rest); c.rest != 0 && c.code != "" {
			c.putf("* NO [%s] There were more messages\r\n", limit) // RFC 9738 §3.1
		} else if c.rest != 0 {
			c.code, c.text = limit, "There were more messages"
		}
		c.putf("%s OK %s%s\r\n", c.tag, imapCode(c.code), cmp.Or(c.text, "done"))
		return nil
	}
	ie := c.clientError(name, err)
	if ie == nil {
		return err
	}
	c.putf("%s %s %s%s\r\n", c.tag, ie.status, imapCode(ie.code), ie.text)
	if ie.status != "BAD" {
		c.bad = 0
		return nil
	}
	c.bad++
	if c.bad >= imapBadMax {
		c.putf("* BYE Too many bad commands\r\n")
		c.state = imapLogout
	}
	return nil
}

// imapFatal says that the connection can't go on after err.
func imapFatal(err error) bool {
	var network net.Error
	for _, e := range []error{imapErrLost, imapErrUserGone, imapErrGone, errIdle, errStopping, errLineTooLong, errInjected,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	var file *fs.PathError // what a file of ours fails with looks like a network's error
	return errors.As(err, &network) && !errors.As(err, &file)
}

// clientError is err in the client's words, nil if the connection is lost.
func (c *imapConn) clientError(name string, err error) *imapError {
	var ie *imapError
	if errors.As(err, &ie) {
		return ie
	}
	if imapFatal(err) {
		return nil
	}
	var lacks *RightsError
	if errors.As(err, &lacks) {
		return &imapError{"NO", "NOPERM", fmt.Sprintf("You lack the right %q %s", lacks.Lacks.String(), lacks.Where)}
	}
	for _, e := range imapStoreErrors {
		if errors.Is(err, e.err) {
			return &imapError{"NO", e.code, cmp.Or(e.text, imapText(err.Error()))}
		}
	}
	if errors.Is(err, ErrAuthCancelled) || errors.Is(err, ErrAuthSyntax) {
		return &imapError{"BAD", "", imapText(err.Error())} // RFC 9051 §6.2.2
	}
	c.log.Error("imap command", "cmd", name, "user", c.user.Name, "err", err)
	return &imapError{"NO", "SERVERBUG", "Internal error; the administrator finds it in the log"}
}

// takeHighest keeps the highest UIDs of those that are too many for one command (RFC 9738), and notes it, so that the
// tagged OK says how far the command came.
func (c *imapConn) takeHighest(uids []UID) []UID {
	if over := len(uids) - c.srv.cfg.Limits.IMAPMessages; over > 0 {
		uids = uids[over:]
		c.rest = uids[0]
	}
	return uids
}

// mayTake refuses what has to be done to all messages or none when they are too many.
func (c *imapConn) mayTake(uids []UID) error {
	if over := len(uids) - c.srv.cfg.Limits.IMAPMessages; over > 0 {
		return imapNo(fmt.Sprintf("MESSAGELIMIT %d %d", c.srv.cfg.Limits.IMAPMessages, uids[over]), "Too many messages for one command")
	}
	return nil
}

func imapCode(code string) string {
	if code == "" {
		return ""
	}
	return "[" + code + "] "
}

// imapText makes human-readable text fit for a response line.
func imapText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// stillIn ends the session before a command if the login has been ended, or the right to read another's mailbox that is selected. The
// wake stays for checkUser and IDLE.
func (c *imapConn) stillIn() error {
	if c.state == imapNotAuth {
		return nil
	}
	if _, err := c.watch.look(c.srv.store, c.user); errors.Is(err, errLoginEnded) {
		return imapErrUserGone
	} else if err != nil {
		return err
	}
	if c.state == imapSelected && c.mbox.Owner != c.user.ID && len(c.wake) > 0 {
		return c.userNow()
	}
	return nil
}

// checkUser ends the session when it was woken and the user may not be logged in any more.
func (c *imapConn) checkUser() error {
	select {
	case <-c.wake:
		return c.userNow()
	default:
		return nil
	}
}

// userNow looks again whether the user may be logged in, and what the user may do with the selected mailbox.
func (c *imapConn) userNow() error {
	now, err := read(c.srv.store, func(tx *Tx) (User, error) {
		now, err := stillIn(tx, c.user)
		if err == nil && c.state == imapSelected {
			c.rights, err = tx.RightsOf(now, c.mbox)
		}
		return now, err
	})
	if errors.Is(err, errLoginEnded) {
		return imapErrUserGone
	}
	if err == nil && c.state == imapSelected && c.rights&RightRead == 0 {
		return imapErrGone
	}
	c.user = now
	return err
}

// capabilities lists what is announced in the connection's state.
func (c *imapConn) capabilities() string {
	var names []string
	for _, r := range imapCapabilities {
		if r.states&c.state == 0 || (r.when != nil && !r.when(c)) {
			continue
		}
		if r.value != nil {
			names = append(names, r.name+"="+r.value(c))
		} else {
			names = append(names, r.name)
		}
	}
	return strings.Join(names, " ")
}

// cmdCapability is CAPABILITY (RFC 9051 §6.1.1).
//
//	capability = "CAPABILITY"
func (c *imapConn) cmdCapability(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.putf("* CAPABILITY %s\r\n", c.capabilities())
	return nil
}

// cmdNoop is NOOP and CHECK (RFC 9051 §6.1.2, RFC 3501 §6.4.1): whatever there is to say, sync says at the end of any
// command.
func (c *imapConn) cmdNoop(p *imapParser) error { return p.end() }

// cmdLogout is LOGOUT (RFC 9051 §6.1.3).
func (c *imapConn) cmdLogout(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.putf("* BYE Goodbye\r\n")
	c.unselect()
	c.state = imapLogout
	return nil
}

// cmdID is ID (RFC 2971 §3.1). It is taken in every state, because iOS sends it before login.
//
//	id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)
func (c *imapConn) cmdID(p *imapParser) error {
	p.space()
	var said []string
	if !p.take("NIL") {
		p.list(func() {
			key := p.astring()
			p.space()
			said = append(said, key+"="+strconv.Quote(p.nstring()))
		})
	}
	if err := p.end(); err != nil {
		return err
	}
	id := strings.Join(said, " ")
	c.log.Info("imap client", "user", c.user.Name, "id", id[:min(len(id), imapIDMax)])
	c.putf("* ID (\"name\" \"Postino\")\r\n")
	return nil
}

// cmdEnable is ENABLE (RFC 9051 §6.3.1).
//
//	enable = "ENABLE" 1*(SP capability)
func (c *imapConn) cmdEnable(p *imapParser) error {
	var on []string
	for p.err == nil && (len(on) == 0 || p.rest != "") {
		p.space()
		on = append(on, strings.ToUpper(p.astring()))
	}
	if err := p.end(); err != nil {
		return err
	}
	var said []string
	for _, name := range on {
		if c.enable(name) {
			said = append(said, strings.Replace(name, "REV", "rev", 1)) // IMAP4rev2
		}
	}
	c.putf("* ENABLED%s\r\n", strings.Join(append([]string{""}, said...), " "))
	return nil
}

// enable switches a feature on and says whether it exists.
func (c *imapConn) enable(name string) bool {
	switch name {
	case "CONDSTORE":
		c.enableCondstore()
	case "QRESYNC": // which includes CONDSTORE (RFC 7162 §3.2.3)
		c.enableCondstore()
		c.qresync = true
	case "UIDONLY":
		c.uidonly = true
	case "METADATA", "METADATA-SERVER": // RFC 5464 §4.4.2
		if c.notify != nil && !c.notify.passive {
			break // NOTIFY says what it wants
		}
		n := &imapNotify{passive: true, groups: []imapGroup{{events: imapMetadata | imapServerMetadata}}}
		c.setNotify(n)
		if name == "METADATA-SERVER" {
			n.groups[0].events = imapServerMetadata
		}
		if _, err := n.look(c); err != nil {
			c.log.Error("imap enable", "user", c.user.Name, "err", err)
		}
	case "UTF8=ACCEPT":
		c.utf8 = true
	case "IMAP4REV2":
		c.rev2, c.utf8 = true, true
	default:
		return false
	}
	return true
}

// enableCondstore is what every CONDSTORE enabling command does (RFC 7162 §3.1): from now on each FETCH has MODSEQ. A
// client that does so in a mailbox is told where it stands.
func (c *imapConn) enableCondstore() {
	if !c.condstore && c.state == imapSelected {
		c.putf("* OK [HIGHESTMODSEQ %d] Flags are told with MODSEQ now\r\n", c.highest)
	}
	c.condstore = true
}
