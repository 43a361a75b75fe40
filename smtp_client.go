// The SMTP client: one connection to one host, which carries many messages. It trusts nothing that the peer says.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// How long a peer may take (RFC 5321 §4.5.3.2), and how much it may say.
const (
	smtpGreetingTime = 5 * time.Minute
	smtpCommandTime  = 5 * time.Minute
	smtpDataTime     = 2 * time.Minute  // for the 354
	smtpBlockTime    = 3 * time.Minute  // to take what fills a buffer
	smtpEndTime      = 10 * time.Minute // for the reply to the final dot
	smtpQuitTime     = 5 * time.Second  // we are done, and only being polite
	smtpStopTime     = 3 * time.Second  // for everything, once the server is stopping

	smtpReplyLine  = 4096 // octets of one line of a reply
	smtpReplyLines = 100  // lines of one reply
	smtpReplyText  = 2000 // octets of a reply that are kept
)

// What can go wrong with a peer beside its refusals and the network.
var (
	smtpErrReply    = errors.New("the server's reply makes no sense")
	smtpErrInjected = errors.New("the server sent something in front of the TLS handshake")
	smtpErrTLS      = errors.New("TLS failed")
	smtpErrPassword = errors.New("the password is not sent without TLS and a certificate that can be checked")
	smtpErrNoAuth   = errors.New("the server offers no way to log in that is known here")
)

// smtpRefusal is a reply that ends the conversation, and what it replied to.
type smtpRefusal struct {
	to    string
	reply smtpReply
}

func (e *smtpRefusal) Error() string { return "after " + e.to + ": " + e.reply.String() }

// smtpClient is a connection to a server. It belongs to one goroutine.
type smtpClient struct {
	nc       net.Conn
	r        *bufio.Reader
	w        *bufio.Writer
	stop     context.Context
	now      func() time.Time  // the store's
	host     string            // the peer as it is named in reports
	name     string            // ours
	ext      map[string]string // what EHLO offered, keyword in capitals → its parameters
	secure   bool              // TLS is on
	verified bool              // … with a certificate that names the host, or that the DNS names
	proved   bool              // the host is the one that is meant: the administrator or the domain says so
	weak     error             // what its certificate does not show that is only tried out
	roots    *x509.CertPool    // as in Server
	release  func() bool
	crowded  func() bool   // as in hopAddr
	hurry    time.Duration // as in hopAddr
	mails    int           // transactions so far

	// sender is the envelope sender under which a message goes; nil leaves it.
	sender func(q *QueueItem) Addr
	// sign returns the signatures that go in front of a message, which write writes; see Server.smtpSign. nil is none.
	sign func(q *QueueItem, write func(io.Writer) error) string
}

// smtpDial connects to a host, greets it, begins TLS as far as the hop asks for it, and logs in if it needs to. When
// opportunistic TLS fails, it goes on without in a new connection, as RFC 7435 §3 has it.
func (s *Server) smtpDial(h hopAddr) (*smtpClient, error) {
	if h.fault != nil {
		return nil, h.fault
	}
	c, err := s.smtpSession(h, h.tls != hopPlain)
	if errors.Is(err, smtpErrTLS) && h.tls == hopTLSMaybe {
		s.log.Info("tls failed, going on without", "host", h.host, "err", err)
		c, err = s.smtpSession(h, false)
	}
	return c, err
}

func (s *Server) smtpSession(h hopAddr, useTLS bool) (*smtpClient, error) {
	nc, err := s.dial(s.stop, "tcp", h.addr)
	if err != nil {
		return nil, err
	}
	c := &smtpClient{nc: nc, stop: s.stop, now: s.store.Now, host: h.host, name: s.asciiHost(), crowded: h.crowded, hurry: h.hurry, sender: s.srsSender, sign: s.smtpSign,
		roots: s.roots, proved: h.named || (h.proof != nil && h.proof.proved)}
	c.release = context.AfterFunc(s.stop, func() { nc.SetDeadline(time.Now().Add(smtpStopTime)) })
	err = c.open(h, useTLS)
	if useTLS && h.proof != nil {
		s.smtpCount(h, c, err)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// smtpCount counts how TLS went with a host, if it came that far.
func (s *Server) smtpCount(h hopAddr, c *smtpClient, err error) {
	n := TLSCount{Domain: h.proof.domain, Policy: h.proof.kind()}
	switch {
	case errors.Is(err, smtpErrTLS):
		n.Result = tlsResult(err)
	case c.weak != nil:
		n.Result = tlsResult(c.weak)
	case err == nil && !c.secure:
		n.Result = tlsNotOffered
	case !c.secure:
		return
	}
	if n.Result != "" {
		n.Host = h.host
		n.Address, _, _ = net.SplitHostPort(h.addr)
	}
	s.tally.sentFrom(c.nc.LocalAddr())
	s.countTLS(n)
}

// smtpTurned takes over a connection whose other side has asked for its mail and is the server from now on.
func (s *Server) smtpTurned(nc net.Conn, host string) (*smtpClient, error) {
	_, secure := nc.(*tls.Conn) // a login has proved who is there
	c := &smtpClient{nc: nc, stop: s.stop, now: s.store.Now, host: host, name: s.asciiHost(), sender: s.srsSender, sign: s.smtpSign, secure: secure, verified: secure, proved: true}
	c.release = context.AfterFunc(s.stop, func() { nc.SetDeadline(time.Now().Add(smtpStopTime)) })
	c.buffers()
	r, err := c.read(smtpGreetingTime)
	if err == nil && r.code != 220 {
		err = &smtpRefusal{"ATRN", r}
	}
	if err == nil {
		err = c.hello()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *smtpClient) open(h hopAddr, useTLS bool) error {
	c.buffers()
	if useTLS && h.tls == hopTLSFirst {
		if err := c.startTLS(h); err != nil {
			return err
		}
	}
	r, err := c.read(smtpGreetingTime)
	if err != nil {
		return err
	}
	if r.code != 220 {
		return &smtpRefusal{"connecting", r}
	}
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.upgrade(h, useTLS); err != nil {
		return err
	}
	if h.user == "" {
		return nil
	}
	return c.login(h)
}

// upgrade begins TLS by STARTTLS when it is offered (RFC 3207), and forgets what the peer said before.
func (c *smtpClient) upgrade(h hopAddr, useTLS bool) error {
	_, offered := c.ext["STARTTLS"]
	switch {
	case !useTLS || c.secure:
		return nil
	case !offered && h.tls == hopTLSMust:
		return fmt.Errorf("%w: %s %w", smtpErrTLS, h.host, errNoSTARTTLS)
	case !offered:
		return nil
	}
	r, err := c.command(smtpCommandTime, "STARTTLS")
	if err != nil {
		return err
	}
	if r.code != 220 {
		return fmt.Errorf("%w: %s", smtpErrTLS, r)
	}
	if c.r.Buffered() > 0 {
		return smtpErrInjected
	}
	if err := c.startTLS(h); err != nil {
		return err
	}
	return c.hello()
}

// startTLS shakes hands. A certificate is only looked at where it matters: mail between servers is encrypted with
// whoever answers, because the alternative is plain text (RFC 7435). Old versions are better than none, too.
func (c *smtpClient) startTLS(h hopAddr) error {
	name, _, _ := net.SplitHostPort(h.addr)
	if net.ParseIP(h.host) == nil {
		name = strings.TrimSuffix(h.host, ".")
	}
	cfg := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}
	if h.verify {
		cfg.MinVersion, cfg.InsecureSkipVerify, cfg.RootCAs = tls.VersionTLS12, false, c.roots
	}
	if h.proof.strict() {
		cfg.MinVersion = tls.VersionTLS12
	}
	if h.proof != nil && h.proof.dane != nil {
		cfg.ServerName = h.proof.dane.base
	}
	tc := tls.Client(c.nc, cfg)
	c.deadline(smtpCommandTime)
	if c.isCrowded() {
		c.deadline(c.hurry)
	}
	if err := tc.HandshakeContext(c.stop); err != nil {
		return fmt.Errorf("%w: %w", smtpErrTLS, err)
	}
	c.nc, c.secure, c.verified = tc, true, h.verify
	c.buffers()
	if h.proof == nil {
		return nil
	}
	return c.prove(h.proof, tc.ConnectionState().PeerCertificates)
}

// prove looks at what a host has to show.
func (c *smtpClient) prove(p *hostProof, certs []*x509.Certificate) error {
	var err error
	switch {
	case p.dane != nil:
		err = p.dane.check(certs, c.now())
		c.verified = err == nil && len(p.dane.records) > 0
	case p.sts != nil:
		err = p.checkSTS(certs, c.host, c.roots, c.now())
		c.verified = err == nil
	}
	if err != nil && !p.strict() {
		c.weak = err
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", smtpErrTLS, err)
	}
	return nil
}

// verify looks at the peer's certificate after all, for a message that must not go to anybody else.
func (c *smtpClient) verify() bool {
	tc, ok := c.nc.(*tls.Conn)
	if !ok || c.verified {
		return ok
	}
	err := checkChain(tc.ConnectionState().PeerCertificates, strings.Trim(c.host, "[]"), c.roots, c.now())
	c.verified = err == nil
	return c.verified
}

// buffers starts reading and writing anew, at first and after a TLS handshake.
func (c *smtpClient) buffers() {
	c.r, c.w = bufio.NewReaderSize(c.nc, smtpReplyLine), bufio.NewWriter(smtpTimedWriter{c})
}

// smtpTimedWriter gives the peer some minutes for each full buffer, and less where others wait for the connection's place.
type smtpTimedWriter struct{ c *smtpClient }

func (t smtpTimedWriter) Write(p []byte) (int, error) {
	t.c.deadline(smtpBlockTime)
	if t.c.isCrowded() {
		t.c.deadline(t.c.hurry)
	}
	return t.c.nc.Write(p)
}

// deadline limits all that is read and written from now on. When the server is stopping there is little time.
func (c *smtpClient) deadline(d time.Duration) {
	c.nc.SetDeadline(time.Now().Add(d))
	if c.stop.Err() != nil {
		c.nc.SetDeadline(time.Now().Add(min(d, smtpStopTime)))
	}
}

// close ends the connection without another word.
func (c *smtpClient) close() {
	c.release()
	c.nc.Close()
}

// quit says goodbye, and does not insist on an answer.
func (c *smtpClient) quit() {
	c.command(smtpQuitTime, "QUIT")
	c.close()
}

// hello sends EHLO, and HELO to a peer that does not know it (RFC 5321 §3.2).
func (c *smtpClient) hello() error {
	c.ext = map[string]string{}
	r, err := c.command(smtpCommandTime, "EHLO "+c.name)
	if err != nil {
		return err
	}
	if r.code >= 500 {
		r, err = c.command(smtpCommandTime, "HELO "+c.name)
		if err != nil {
			return err
		}
		if r.code != 250 {
			return &smtpRefusal{"HELO", r}
		}
		return nil
	}
	if r.code != 250 {
		return &smtpRefusal{"EHLO", r}
	}
	lines := strings.Split(r.text, "\n")
	for _, l := range lines[1:] {
		key, params, _ := strings.Cut(l, " ")
		if k, p, ok := strings.Cut(key, "="); ok && strings.EqualFold(k, "AUTH") { // the old form "AUTH=LOGIN"
			key, params = k, p+" "+params
		}
		key = strings.ToUpper(key)
		c.ext[key] = strings.TrimSpace(c.ext[key] + " " + params)
	}
	return nil
}

// offers says whether the peer has an extension that may be used on this connection: REQUIRETLS is for TLS only (RFC 8689 §2).
func (c *smtpClient) offers(name string) bool {
	_, ok := c.ext[name]
	return ok && (name != "REQUIRETLS" || c.secure)
}

// limit is one of the peer's LIMITS (RFC 9422 §4); 0 is none.
func (c *smtpClient) limit(name string) int {
	for _, l := range strings.Fields(c.ext["LIMITS"]) {
		key, value, _ := strings.Cut(l, "=")
		if n, err := strconv.Atoi(value); err == nil && n > 0 && strings.EqualFold(key, name) {
			return n
		}
	}
	return 0
}

// login proves who we are to a smarthost. PLAIN and LOGIN show the password, so they need TLS.
func (c *smtpClient) login(h hopAddr) error {
	if !c.secure || (h.verify && !c.verified) {
		return smtpErrPassword
	}
	offered := strings.Fields(strings.ToUpper(c.ext["AUTH"]))
	b64 := base64.StdEncoding.EncodeToString
	var steps []string
	for _, mech := range offered {
		switch {
		case mech == "PLAIN":
			steps = []string{"AUTH PLAIN " + b64([]byte("\x00"+h.user+"\x00"+h.password))}
		case mech == "LOGIN" && steps == nil:
			steps = []string{"AUTH LOGIN", b64([]byte(h.user)), b64([]byte(h.password))}
		}
	}
	if steps == nil {
		return smtpErrNoAuth
	}
	for _, s := range steps {
		r, err := c.command(smtpCommandTime, s)
		switch {
		case err != nil:
			return err
		case r.code == 235:
			return nil
		case r.code != 334:
			return &smtpRefusal{"AUTH", r}
		}
	}
	return smtpErrReply
}

// inTurn is an error when the peer has said more than it was asked: what it says next would be taken for the answer to
// something else, and a refusal for a receipt. A goodbye may come at any time (RFC 5321 §3.8).
func (c *smtpClient) inTurn() error {
	n := c.r.Buffered()
	if n == 0 {
		return nil
	}
	if b, _ := c.r.Peek(min(n, 3)); string(b) == "421" {
		return nil
	}
	return fmt.Errorf("%w: it speaks out of turn", smtpErrReply)
}

// command sends a line and reads the reply.
func (c *smtpClient) command(d time.Duration, line string) (smtpReply, error) {
	if err := c.inTurn(); err != nil {
		return smtpReply{}, err
	}
	c.w.WriteString(line)
	c.w.WriteString("\r\n")
	if err := c.w.Flush(); err != nil {
		return smtpReply{}, err
	}
	return c.read(d)
}

// smtpPatience is how long a reply may take to its last octet. Where others wait for this connection's place a host that is silent, or says its
// reply octet by octet, has less time: that is looked at now and then.
type smtpPatience struct {
	end  time.Time
	look time.Time // zero is never
}

// patience begins with a command. The reply to the content is waited for in any case: that it has not come does not mean that the
// message has not.
func (c *smtpClient) patience(d time.Duration) *smtpPatience {
	p := &smtpPatience{end: time.Now().Add(d)}
	if c.crowded != nil && d != smtpEndTime {
		p.look = time.Now().Add(c.hurry)
	}
	return p
}

// more waits until so many octets of a reply have come.
func (c *smtpClient) more(p *smtpPatience, n int) error {
	for {
		left := time.Until(p.end)
		piece := left
		if !p.look.IsZero() {
			piece = min(left, time.Until(p.look))
		}
		if piece <= 0 && left > 0 {
			if c.isCrowded() {
				return os.ErrDeadlineExceeded
			}
			p.look = time.Now().Add(c.hurry)
			continue
		}
		c.deadline(piece)
		_, err := c.r.Peek(n)
		var ne net.Error
		slow := errors.As(err, &ne) && ne.Timeout()
		if slow && piece < left && c.stop.Err() == nil {
			continue
		}
		c.deadline(time.Until(p.end))
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
}

// line reads a line of a reply, which is good until the next one is read.
func (c *smtpClient) line(p *smtpPatience) ([]byte, error) {
	for {
		b, _ := c.r.Peek(c.r.Buffered())
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			c.r.Discard(i + 1)
			return b[:i+1], nil
		}
		if len(b) >= smtpReplyLine {
			return nil, fmt.Errorf("%w: a line of more than %d octets", smtpErrReply, smtpReplyLine)
		}
		if err := c.more(p, len(b)+1); err != nil {
			return nil, err
		}
	}
}

func (c *smtpClient) isCrowded() bool { return c.crowded != nil && c.crowded() }

// read reads one whole reply within d. A 421 is the peer's goodbye whatever it answers (RFC 5321 §3.8), and an error.
func (c *smtpClient) read(d time.Duration) (smtpReply, error) {
	var r smtpReply
	patience := c.patience(d)
	var text []byte
	for n := 0; ; n++ {
		if n >= smtpReplyLines {
			return r, fmt.Errorf("%w: more than %d lines", smtpErrReply, smtpReplyLines)
		}
		line, err := c.line(patience)
		if err != nil {
			return r, err
		}
		code, rest, more, err := smtpParseLine(bytes.TrimRight(line, "\r\n"))
		if err != nil {
			return r, err
		}
		if n > 0 && code != r.code {
			return r, fmt.Errorf("%w: it changes from %d to %d", smtpErrReply, r.code, code)
		}
		r.code = code
		if n > 0 && len(text) < smtpReplyText {
			text = append(text, '\n')
		}
		text = append(text, rest[:min(len(rest), max(0, smtpReplyText-len(text)))]...)
		if !more {
			break
		}
	}
	r.text = smtpPrintable(text)
	if r.code == 421 {
		return r, &smtpRefusal{"a command", r}
	}
	return r, nil
}

// smtpParseLine takes one line of a reply apart (RFC 5321 §4.2): its code, its text, and whether another line follows.
//
//	Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
func smtpParseLine(line []byte) (int, []byte, bool, error) {
	if len(line) < 3 {
		return 0, nil, false, fmt.Errorf("%w: %q", smtpErrReply, line)
	}
	code, err := strconv.Atoi(string(line[:3]))
	if err != nil || code < 200 || code > 599 || (len(line) > 3 && line[3] != ' ' && line[3] != '-') {
		return 0, nil, false, fmt.Errorf("%w: %q", smtpErrReply, line[:min(len(line), 80)])
	}
	if len(line) == 3 {
		return code, nil, false, nil
	}
	return code, line[4:], line[3] == '-', nil
}

// enhanced is the reply's enhanced status code (RFC 2034), or what its first digit says when it has none.
func (r smtpReply) enhanced() string {
	word, _, _ := strings.Cut(r.text, " ")
	class := strconv.Itoa(r.code / 100)
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != class {
		return class + ".0.0"
	}
	for _, p := range parts {
		if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 999 || len(p) > 3 {
			return class + ".0.0"
		}
	}
	return word
}

// smtpPrintable makes a peer's words fit for a log and a report.
func smtpPrintable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if (r != '\n' && r < ' ') || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, string(b))
}

// send carries a message. The replies are for its recipients, in order; an error says that the connection is of no use
// any more, and then the replies so far are what is known: a code of 0 is not known.
func (c *smtpClient) send(m *smtpOut) ([]smtpReply, error) {
	c.mails++
	replies := make([]smtpReply, len(m.rcpts))
	data, err := c.envelope(m, replies)
	if err != nil {
		return smtpForget(replies), err
	}
	accepted := 0
	for _, r := range replies {
		if r.code/100 == 2 {
			accepted++
		}
	}
	var last smtpReply
	switch {
	case data.code == 354 && accepted == 0: // it takes the DATA that was pipelined behind refused recipients (RFC 2920 §3.1)
		c.w.WriteString(".\r\n")
		if err := c.w.Flush(); err != nil {
			return replies, err
		}
		if _, err := c.read(smtpEndTime); err != nil {
			return replies, err
		}
	case data.code == 354 || (m.bdat >= 0 && accepted > 0):
		if m.ready != nil {
			err = m.ready()
		}
		if err == nil {
			err = c.inTurn()
		}
		if err == nil {
			last, err = c.content(m)
		}
		if err != nil {
			return smtpForget(replies), err
		}
	case data.code/100 == 2: // a reply too many before it: who knows what that one is to
		return smtpForget(replies), fmt.Errorf("%w: %d to DATA", smtpErrReply, data.code)
	default:
		last = data
	}
	for i := range replies {
		if replies[i].code/100 == 2 {
			replies[i] = last
		}
	}
	if last.code/100 == 2 {
		return replies, nil
	}
	_, err = c.command(smtpCommandTime, "RSET")
	return replies, err
}

// smtpForget takes back the 2xx that recipients got before the message was lost on its way: only the one that follows the
// content means that it has arrived.
func smtpForget(replies []smtpReply) []smtpReply {
	for i := range replies {
		if replies[i].code/100 == 2 {
			replies[i] = smtpReply{}
		}
	}
	return replies
}

// envelope sends MAIL, RCPT and DATA, in one go where the peer offers PIPELINING (RFC 2920). A refused MAIL is every
// recipient's reply. It returns the reply to DATA; zero if DATA was not said.
func (c *smtpClient) envelope(m *smtpOut, replies []smtpReply) (smtpReply, error) {
	pipelining := c.offers("PIPELINING")
	if err := c.inTurn(); err != nil {
		return smtpReply{}, err
	}
	if pipelining {
		if err := c.pipeline(m); err != nil {
			return smtpReply{}, err
		}
	}
	next := func(d time.Duration, line string) (smtpReply, error) {
		if pipelining {
			return c.read(d)
		}
		return c.command(d, line)
	}
	mail, err := next(smtpCommandTime, m.mail)
	if err != nil {
		return smtpReply{}, err
	}
	accepted := 0
	for i, line := range m.rcpts {
		if mail.code/100 != 2 && !pipelining {
			replies[i] = mail
			continue
		}
		r, err := next(smtpCommandTime, line)
		if err != nil {
			return smtpReply{}, err
		}
		replies[i] = r
		if mail.code/100 != 2 {
			replies[i] = mail
		} else if r.code/100 == 2 {
			accepted++
		}
	}
	if (accepted == 0 && !pipelining) || m.bdat >= 0 {
		return smtpReply{}, nil
	}
	return next(smtpDataTime, "DATA")
}

// pipeline says all of the envelope at once.
func (c *smtpClient) pipeline(m *smtpOut) error {
	c.w.WriteString(m.mail + "\r\n")
	for _, r := range m.rcpts {
		c.w.WriteString(r + "\r\n")
	}
	if m.bdat < 0 {
		c.w.WriteString("DATA\r\n")
	}
	return c.w.Flush()
}

// content sends the message and the final dot, and reads what becomes of it. A peer that cuts us short may have said why.
func (c *smtpClient) content(m *smtpOut) (smtpReply, error) {
	var err error
	if m.bdat >= 0 { // RFC 3030 §2: all of it is one chunk
		fmt.Fprintf(c.w, "BDAT %d LAST\r\n", m.bdat)
		err = m.body(c.w)
	} else {
		d := smtpDotWriter{w: c.w}
		if err = m.body(&d); err == nil {
			err = d.end()
		}
	}
	if err == nil {
		err = c.w.Flush()
	}
	var ne net.Error
	if err != nil {
		if errors.As(err, &ne) {
			if r, rerr := c.read(smtpQuitTime); rerr == nil && r.code >= 400 {
				return r, &smtpRefusal{"DATA", r}
			}
		}
		return smtpReply{}, err
	}
	return c.read(smtpEndTime)
}

// smtpDotWriter stuffs dots, and never lets a bare CR or LF out: each becomes CRLF, because some servers would take one
// for the end of a line, or of the message (CVE-2023-51764 and others).
type smtpDotWriter struct {
	w   *bufio.Writer
	mid bool // inside a line
	cr  bool // the last octet was a CR, which is not written yet
}

func (d *smtpDotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if d.cr {
			d.cr = false
			d.w.WriteString("\r\n")
			d.mid = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		switch p[0] {
		case '\r':
			d.cr, p = true, p[1:]
			continue
		case '\n':
			d.cr = true // as if its CR had been there
			continue
		case '.':
			if !d.mid {
				d.w.WriteByte('.')
			}
		}
		d.mid = true
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			end = len(p)
		}
		if cr := bytes.IndexByte(p[:end], '\r'); cr >= 0 {
			end = cr
		}
		if _, err := d.w.Write(p[:end]); err != nil {
			return 0, err
		}
		p = p[end:]
	}
	return n, nil
}

// end finishes the last line and writes the final dot.
func (d *smtpDotWriter) end() error {
	if d.cr || d.mid {
		d.w.WriteString("\r\n")
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
