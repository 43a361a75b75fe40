// Fetching: mail from people's accounts elsewhere (POP3, IMAP), and calls for a domain's mail (ETRN, ATRN).
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const (
	fetchTime    = 2 * time.Minute // for an answer, or for a block of one
	fetchBlock   = 64 << 10        // octets
	fetchLine    = 64 << 10        // octets of an answer's line
	fetchMost    = 500             // messages in one go; the rest comes with the next
	fetchMaxWait = 6 * time.Hour   // between looks at an account that fails
	fetchFull    = 3               // messages in a row that have no room here, and the rest waits
)

// fetchRefusal is a server's no.
type fetchRefusal struct{ text string }

func (e *fetchRefusal) Error() string { return "the server says: " + e.text }

// runFetch starts a goroutine for each entry of [[fetch]]. They end when the server stops.
func (s *Server) runFetch() {
	for i := range s.cfg.Fetch {
		f := &s.cfg.Fetch[i]
		s.crew.Keep(&s.wg, "fetch", s.stop.Done(), func() { s.fetchAgain(f) })
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
func (s *Server) fetch(f *Fetch) (int, error) {
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
	answers  fetchReader // IMAP
	tag      int         // IMAP

	patience time.Duration // fetchTime but in tests
	block    int           // octets that came since wait

	bare            bool // the last line ended in a bare LF
	plus, plusAsked bool // IMAP: whether there is UID EXPUNGE
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
	c := &fetchConn{s: s, f: f, nc: nc, password: strings.TrimRight(line, "\r"), patience: fetchTime}
	c.wait()
	c.release = context.AfterFunc(s.stop, func() { c.nc.Close() })
	c.r = bufio.NewReaderSize(c, fetchLine)
	c.answers.r = c.r
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
	return f.TLS == "tls" || (f.TLS == "" && (port == "993" || port == "995" || port == "465"))
}

func (c *fetchConn) startTLS() error {
	if c.r.Buffered() > 0 {
		return errors.New("the server sent something in front of the TLS handshake")
	}
	host, _, _ := net.SplitHostPort(c.f.Server)
	tc := tls.Client(c.nc, &tls.Config{ServerName: host, InsecureSkipVerify: c.f.AnyCert, MinVersion: tls.VersionTLS12})
	c.wait()
	if err := tc.HandshakeContext(c.s.stop); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.nc = tc
	c.wait()
	c.r.Reset(c)
	return nil
}

// Read is the buffer's way to the network.
func (c *fetchConn) Read(p []byte) (int, error) {
	if c.block >= fetchBlock {
		c.wait()
	}
	n, err := c.nc.Read(p)
	c.block += n
	return n, err
}

// wait gives the server some time from now on, in which its whole answer or a block of it must come: one that sends an octet now and
// then would never end.
func (c *fetchConn) wait() {
	c.block = 0
	c.nc.SetDeadline(time.Now().Add(c.patience))
}

func (c *fetchConn) close() {
	c.release()
	c.nc.Close()
}

func (c *fetchConn) say(line string) error {
	c.wait()
	_, err := io.WriteString(c.nc, line+"\r\n")
	return err
}

func (c *fetchConn) line() (string, error) {
	l, err := c.r.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	c.bare = !bytes.HasSuffix(l, []byte("\r\n"))
	return strings.TrimRight(string(l), "\r\n"), err
}

// take delivers a message that was fetched, with its flags and its date, and remembers its name on the server in the same
// transaction: nothing comes twice, and nothing is lost when the connection or the power is cut.
func (c *fetchConn) take(got fetchedItem, remember func(tx *Tx) error) error {
	sp := got.spool
	to, err := ParseAddr(c.f.To)
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(c.f.Server)
	m := &Mail{To: rcptsTo(to), Body: sp, Arrived: got.date, Marks: fetchMarks(got.flags), Also: func(tx *Tx, _ Blob) error { return remember(tx) },
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

// fetchMarks are the flags that a message keeps. \Deleted and \Recent are the other mailbox's affair, and a keyword that is
// none here is left out.
func fetchMarks(names []string) Flags {
	var f Flags
	for _, name := range names {
		if strings.EqualFold(name, `\Deleted`) || strings.EqualFold(name, `\Recent`) {
			continue
		}
		if with, ok := f.ParseFlag(name); ok {
			f = with
		}
	}
	return f
}

// fetchNever says whether a message was refused for what it is: it will not be taken another time either.
func fetchNever(err error) bool {
	for _, never := range []error{errMailLoop, errHeaderSize, errNeverFits, ErrTooBig} {
		if errors.Is(err, never) {
			return true
		}
	}
	return false
}

// leftThere tells whoever the mail is for, once, that a message was left where it is, and why. sp has what came of it; nil is
// nothing. remember runs in the transaction that stores the notice.
func (c *fetchConn) leftThere(sp *Spool, uid string, why error, remember func(tx *Tx) error) error {
	to, err := ParseAddr(c.f.To)
	if err != nil {
		return err
	}
	c.s.log.Warn("message left there", "account", c.f.Name(), "uid", uid, "rcpt", to, "err", why)
	var h Header
	if sp != nil {
		head, err := sp.Head()
		if err != nil {
			return err
		}
		h = ParseHeader(head)
	}
	domain := to.Domain
	if domain == "" {
		domain = c.s.cfg.DomainsNow()[0]
	}
	d := &Draft{From: &Address{Name: "Postmaster", Local: "postmaster", Domain: domain}, To: []Address{{Local: to.Local, Domain: to.Domain}},
		Subject: "A message could not be fetched 有一封邮件未能收取", Date: c.s.store.Now(),
		Extra: []Field{{Name: "Auto-Submitted", Value: "auto-generated"}},
		Text: fmt.Sprintf("This message stays at %s, account %s, number %s:\n此邮件仍留在 %s 的帐户 %s 中，编号 %s：\n\n    %s\n    %s\n    %s\n\nReason 原因: %s\n",
			c.f.Server, c.f.User, uid, c.f.Server, c.f.User, uid, fetchClean(h.Text("From")), fetchClean(h.Text("Subject")), fetchClean(h.Text("Date")),
			fetchClean(c.reason(why)))}
	note := c.s.store.NewSpool(maxHeaderBlock)
	defer note.Close()
	if _, err := d.WriteTo(note); err != nil {
		return err
	}
	m := &Mail{To: rcptsTo(to), Body: note, Report: true, Also: func(tx *Tx, _ Blob) error { return remember(tx) }}
	return c.s.accept(m)
}

// reason says in words why a message was left.
func (c *fetchConn) reason(why error) string {
	if errors.Is(why, ErrTooBig) {
		mb := int64(c.s.cfg.Limits.Message) >> 20
		return fmt.Sprintf("it has more than %d MB 邮件超过 %d MB", mb, mb)
	}
	return why.Error()
}

// fetchClean keeps a field of somebody's message on one line of reasonable length.
func fetchClean(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

// fetchCall asks a server for the mail of our domains: over its route to us (ETRN, RFC 1985), or on this connection
// (ATRN, RFC 2645), on which we are the server from then on.
func (s *Server) fetchCall(f *Fetch) error {
	h := hopAddr{host: f.Server, addr: f.Server, user: f.User, verify: f.User != "" && !f.AnyCert}
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
