// Fetching: mail from people's accounts elsewhere (POP3, IMAP), and calls for a domain's mail (ETRN, ATRN).
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	fetchTime    = 2 * time.Minute // for an answer, or for 64 KB of one
	fetchLine    = 64 << 10        // octets of an answer's line
	fetchMost    = 500             // messages in one go; the rest comes with the next
	fetchMaxWait = 6 * time.Hour   // between looks at an account that fails
	fetchList    = 100_000         // messages listed in an account
)

// fetchRefusal is a server's no.
type fetchRefusal struct{ text string }

func (e *fetchRefusal) Error() string { return "the server says: " + e.text }

// runFetch starts a goroutine for each entry of [[fetch]]. They end when the server stops.
func (s *Server) runFetch() {
	for i := range s.cfg.Fetch {
		f := &s.cfg.Fetch[i]
		s.wg.Go(func() { s.fetchAgain(f) })
	}
}

// fetchAgain looks at an account now and then, less often while that fails.
func (s *Server) fetchAgain(f *Fetch) {
	every := time.Duration(f.Every)
	for wait := time.Duration(0); ; {
		select {
		case <-time.After(wait):
		case <-s.stop.Done():
			return
		}
		n, err := s.fetch(f)
		switch {
		case s.stop.Err() != nil:
			return
		case err != nil:
			wait = min(max(2*wait, every), max(fetchMaxWait, every))
			s.log.Warn("fetch", "account", f.Name(), "messages", n, "next", wait, "err", err)
		default:
			wait = every
			if n > 0 {
				s.log.Info("fetched", "account", f.Name(), "messages", n)
			}
			if n == fetchMost {
				wait = time.Second
			}
		}
	}
}

// fetch looks at an account once and returns how many messages it brought.
func (s *Server) fetch(f *Fetch) (n int, err error) {
	switch f.Protocol {
	case "etrn", "atrn":
		return 0, s.fetchCall(f)
	}
	c, err := s.fetchDial(f)
	if err != nil {
		return 0, err
	}
	defer c.close()
	if f.Protocol == "pop3" {
		return c.pop3()
	}
	return c.imap()
}

// fetchConn is a connection to somebody's server. It belongs to one goroutine.
type fetchConn struct {
	s        *Server
	f        *Fetch
	nc       net.Conn
	r        *bufio.Reader
	password string
	release  func() bool
	tag      int // IMAP
}

func (s *Server) fetchDial(f *Fetch) (*fetchConn, error) {
	password, err := os.ReadFile(s.cfg.Path(f.PasswordFile))
	if err != nil {
		return nil, err
	}
	nc, err := s.dial(s.stop, "tcp", f.Server)
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(password), "\n")
	c := &fetchConn{s: s, f: f, nc: nc, password: strings.TrimRight(line, "\r")}
	c.release = context.AfterFunc(s.stop, func() { c.nc.Close() })
	c.r = bufio.NewReaderSize(c, fetchLine)
	if f.implicitTLS() {
		if err := c.startTLS(); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// implicitTLS goes by the port when the entry does not say (RFC 8314 §3).
func (f *Fetch) implicitTLS() bool {
	_, port, _ := net.SplitHostPort(f.Server)
	return f.TLS == "tls" || f.TLS == "" && (port == "993" || port == "995" || port == "465")
}

func (c *fetchConn) startTLS() error {
	if c.r.Buffered() > 0 {
		return errors.New("the server sent something in front of the TLS handshake")
	}
	host, _, _ := net.SplitHostPort(c.f.Server)
	tc := tls.Client(c.nc, &tls.Config{ServerName: host, InsecureSkipVerify: c.f.AnyCert, MinVersion: tls.VersionTLS12})
	c.nc.SetDeadline(time.Now().Add(fetchTime))
	if err := tc.HandshakeContext(c.s.stop); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.nc = tc
	c.r.Reset(c)
	return nil
}

// Read is the buffer's way to the network.
func (c *fetchConn) Read(p []byte) (int, error) {
	c.nc.SetDeadline(time.Now().Add(fetchTime))
	return c.nc.Read(p)
}

func (c *fetchConn) close() {
	c.release()
	c.nc.Close()
}

func (c *fetchConn) say(line string) error {
	c.nc.SetDeadline(time.Now().Add(fetchTime))
	_, err := io.WriteString(c.nc, line+"\r\n")
	return err
}

func (c *fetchConn) line() (string, error) {
	l, err := c.r.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(l), "\r\n"), err
}

// take delivers a message that was fetched, and remembers its name on the server in the same transaction: nothing comes
// twice, and nothing is lost when the connection or the power is cut.
func (c *fetchConn) take(sp *Spool, remember func(tx *Tx) error) error {
	to, err := ParseAddr(c.f.To)
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(c.f.Server)
	m := &Mail{To: []Rcpt{{Addr: to}}, Body: sp, Also: func(tx *Tx, _ Blob) error { return remember(tx) },
		Trace: fmt.Sprintf("from %s by %s\r\n\twith %s", strings.Trim(host, "[]"), c.s.asciiHost(), strings.ToUpper(c.f.Protocol))}
	head, err := sp.Head()
	if err != nil {
		return err
	}
	if from, _, err := ParsePath(ParseHeader(head).Get("Return-Path")); err == nil {
		m.From = from
	}
	if err := c.s.accept(m); err != nil {
		return fmt.Errorf("deliver to %s: %w", to, err)
	}
	c.s.log.Info("message taken", "msg", m.ID, "from", m.From, "rcpt", to, "size", sp.Size(), "account", c.f.Name())
	return nil
}

// fetchCall asks a server for the mail of our domains: over its route to us (ETRN, RFC 1985), or on this connection
// (ATRN, RFC 2645), on which we are the server from then on.
func (s *Server) fetchCall(f *Fetch) error {
	h := hop{host: f.Server, addr: f.Server, user: f.User, verify: f.User != "" && !f.AnyCert}
	if host, _, err := net.SplitHostPort(f.Server); err == nil {
		h.host = host
	}
	switch {
	case f.implicitTLS():
		h.tls = hopTLSFirst
	case f.TLS == "none":
		h.tls = hopPlain
	case f.User != "":
		h.tls = hopTLSMust
	}
	if f.User != "" {
		b, err := os.ReadFile(s.cfg.Path(f.PasswordFile))
		if err != nil {
			return err
		}
		h.password, _, _ = strings.Cut(strings.TrimRight(string(b), "\r\n"), "\n")
	}
	c, err := s.smtpDial(h)
	if err != nil {
		return err
	}
	if f.Protocol == "atrn" {
		return s.fetchTurned(c, f)
	}
	defer c.quit()
	for _, d := range f.Domains {
		r, err := c.command(smtpCommandTime, "ETRN "+d)
		if err != nil {
			return err
		}
		if r.code/100 != 2 {
			return &fetchRefusal{r.String()}
		}
	}
	return nil
}

func (s *Server) fetchTurned(c *smtpClient, f *Fetch) error {
	defer c.close()
	r, err := c.command(smtpCommandTime, "ATRN "+strings.Join(f.Domains, ","))
	switch {
	case err != nil:
		return err
	case r.code == 453: // no mail
		c.command(smtpQuitTime, "QUIT")
		return nil
	case r.code != 250:
		return &fetchRefusal{r.String()}
	case c.r.Buffered() > 0:
		return &fetchRefusal{"it speaks before its turn"}
	}
	s.serveTurned(c.nc, c.secure)
	return nil
}

// imap is an IMAP session (RFC 3501, RFC 9051).
func (c *fetchConn) imap() (n int, err error) {
	if l, err := c.line(); err != nil || !strings.HasPrefix(l, "* OK") {
		return 0, errors.Join(err, &fetchRefusal{smtpPrintable([]byte(l))})
	}
	if c.f.TLS == "starttls" || c.f.TLS == "" && !c.f.implicitTLS() {
		if _, err := c.imapCommand("STARTTLS", nil); err != nil {
			return 0, fmt.Errorf("the password is not sent without TLS (tls = \"none\" would): %w", err)
		}
		if err := c.startTLS(); err != nil {
			return 0, err
		}
	}
	if _, err := c.imapCommand("LOGIN "+imapFetchQuote(c.f.User)+" "+imapFetchQuote(c.password), nil); err != nil {
		return 0, err
	}
	answers, err := c.imapCommand("SELECT "+imapFetchQuote(c.f.Mailbox), nil)
	if err != nil {
		return 0, err
	}
	validity, last, err := c.imapCursor(answers)
	if err != nil {
		return 0, err
	}
	if answers, err = c.imapCommand(fmt.Sprintf("UID SEARCH UID %d:*", last+1), nil); err != nil {
		return 0, err
	}
	uids := imapFound(answers, last)
	if err := c.imapDeleteRest(validity); err != nil {
		return 0, err
	}
	for _, uid := range uids[:min(len(uids), fetchMost)] {
		if c.s.stop.Err() != nil {
			break
		}
		taken, err := c.imapFetch(validity, uid)
		if err == nil && taken && c.f.Delete {
			err = c.imapDelete(validity, uid)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	_, err = c.imapCommand("LOGOUT", nil)
	return n, err
}

// imapFetchQuote makes a quoted string; names and passwords with line ends are refused by imapCommand.
func imapFetchQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// imapCommand sends a command and returns the untagged answers, literals left out. literal, if there is one, gets the
// content of the first literal of each answer.
func (c *fetchConn) imapCommand(cmd string, literal io.Writer) (answers []string, err error) {
	if strings.ContainsAny(cmd, "\r\n") {
		return nil, errors.New("a name or password with a line end")
	}
	c.tag++
	tag := fmt.Sprintf("f%d ", c.tag)
	if err := c.say(tag + cmd); err != nil {
		return nil, err
	}
	for {
		l, err := c.imapAnswer(literal)
		if err != nil {
			return nil, err
		}
		if rest, ok := strings.CutPrefix(l, tag); ok {
			if word, _, _ := strings.Cut(rest, " "); !strings.EqualFold(word, "OK") {
				return nil, &fetchRefusal{smtpPrintable([]byte(rest))}
			}
			return answers, nil
		}
		if len(answers) < fetchList {
			answers = append(answers, l)
		}
	}
}

// imapAnswer reads one answer with its literals.
func (c *fetchConn) imapAnswer(literal io.Writer) (string, error) {
	var all strings.Builder
	for {
		l, err := c.line()
		if err != nil || all.Len() > fetchLine {
			return "", errors.Join(err, errors.New("an answer is too long"))
		}
		all.WriteString(l)
		open := strings.LastIndexByte(l, '{')
		if open < 0 || !strings.HasSuffix(l, "}") {
			return all.String(), nil
		}
		size, err := strconv.ParseInt(strings.TrimSuffix(l[open+1:], "}"), 10, 64)
		if err != nil || size < 0 {
			return all.String(), nil
		}
		to := io.Discard
		if literal != nil {
			to, literal = literal, nil
		}
		if err := c.imapLiteral(to, size); err != nil {
			return "", err
		}
	}
}

// imapLiteral reads a literal to its end, also when it can't be kept; the writer remembers what went wrong.
func (c *fetchConn) imapLiteral(to io.Writer, size int64) error {
	_, err := io.CopyN(to, c.r, size)
	return err
}

// imapCursor reads UIDVALIDITY out of SELECT's answers and looks up how far we were; under another UIDVALIDITY the UIDs
// mean nothing any more, and everything is new (RFC 9051 §2.3.1.1).
func (c *fetchConn) imapCursor(answers []string) (validity, last int64, err error) {
	for _, a := range answers {
		if _, rest, ok := strings.Cut(strings.ToUpper(a), "[UIDVALIDITY "); ok {
			num, _, _ := strings.Cut(rest, "]")
			validity, err = strconv.ParseInt(num, 10, 64)
		}
	}
	if err != nil || validity == 0 {
		return 0, 0, &fetchRefusal{"no UIDVALIDITY"}
	}
	var known map[string]bool
	err = c.s.store.Read(func(tx *Tx) (err error) { known, err = tx.Fetched(c.f.Name()); return err })
	for k := range known {
		var v, l int64
		if n, _ := fmt.Sscanf(k, "%d:%d", &v, &l); n == 2 && v == validity {
			last = max(last, l)
		}
	}
	return validity, last, err
}

// imapFound reads SEARCH's answers. "n:*" finds the last message even when its UID is below n.
func imapFound(answers []string, last int64) (uids []int64) {
	for _, a := range answers {
		f := strings.Fields(a)
		if len(f) < 2 || !strings.EqualFold(f[1], "SEARCH") {
			continue
		}
		for _, w := range f[2:] {
			if u, err := strconv.ParseInt(w, 10, 64); err == nil && u > last {
				uids = append(uids, u)
			}
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

// fetchSpool keeps what fits and swallows the rest, so that the answer is read to its end.
type fetchSpool struct {
	*Spool
	err error
}

func (f *fetchSpool) Write(p []byte) (int, error) {
	if f.err == nil {
		_, f.err = f.Spool.Write(p)
	}
	return len(p), nil
}

// imapFetch fetches one message. false: it is bigger than messages may be here, or gone, and is passed over.
func (c *fetchConn) imapFetch(validity, uid int64) (taken bool, err error) {
	sp := &fetchSpool{Spool: c.s.store.NewSpool(int64(c.s.cfg.Limits.Message))}
	defer sp.Close()
	answers, err := c.imapCommand(fmt.Sprintf("UID FETCH %d (UID BODY.PEEK[])", uid), sp)
	if err != nil {
		return false, err
	}
	remember := func(tx *Tx) error {
		known, err := tx.Fetched(c.f.Name())
		if err != nil {
			return err
		}
		for k := range known {
			if strings.HasPrefix(k, fetchDelete) {
				continue
			}
			if err := tx.ForgetFetched(c.f.Name(), k); err != nil {
				return err
			}
		}
		if err := tx.SetFetched(c.f.Name(), fmt.Sprintf("%d:%d", validity, uid)); err != nil || !c.f.Delete || sp.err != nil {
			return err
		}
		return tx.SetFetched(c.f.Name(), fmt.Sprintf("%s%d:%d", fetchDelete, validity, uid))
	}
	got := slices.ContainsFunc(answers, func(a string) bool { return strings.Contains(strings.ToUpper(a), "BODY[]") })
	switch {
	case errors.Is(sp.err, ErrTooBig):
		return false, c.tooBig(sp.Spool, fmt.Sprint(uid), remember)
	case !got:
		c.s.log.Warn("fetch", "account", c.f.Name(), "uid", uid, "err", "the message is gone")
		return false, c.s.store.Write(remember)
	case sp.err != nil:
		return false, sp.err
	}
	return true, c.take(sp.Spool, remember)
}

// fetchDelete stands before the name of an IMAP message that is here and is yet to be deleted there.
const fetchDelete = "delete "

// imapDeleteRest deletes what the last session brought and could not delete any more.
func (c *fetchConn) imapDeleteRest(validity int64) error {
	var known map[string]bool
	err := c.s.store.Read(func(tx *Tx) (err error) { known, err = tx.Fetched(c.f.Name()); return err })
	for k := range known {
		var v, uid int64
		rest, ok := strings.CutPrefix(k, fetchDelete)
		if n, _ := fmt.Sscanf(rest, "%d:%d", &v, &uid); err != nil || !ok || n != 2 {
			continue
		}
		if v == validity && c.f.Delete {
			err = c.imapDelete(v, uid)
		} else { // another mailbox now, or somebody wants it left there
			err = c.s.store.Write(func(tx *Tx) error { return tx.ForgetFetched(c.f.Name(), k) })
		}
	}
	return err
}

// imapDelete takes a message off the server: with UIDPLUS only it, without what others have marked as deleted, too.
func (c *fetchConn) imapDelete(validity, uid int64) error {
	if _, err := c.imapCommand(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid), nil); err != nil {
		return err
	}
	_, err := c.imapCommand(fmt.Sprintf("UID EXPUNGE %d", uid), nil)
	var no *fetchRefusal
	if errors.As(err, &no) {
		_, err = c.imapCommand("EXPUNGE", nil)
	}
	if err != nil {
		return err
	}
	return c.s.store.Write(func(tx *Tx) error {
		return tx.ForgetFetched(c.f.Name(), fmt.Sprintf("%s%d:%d", fetchDelete, validity, uid))
	})
}
