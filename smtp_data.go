// A mail transaction: MAIL, RCPT, and the content by DATA or BDAT.
package main

import (
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
	from, params, r := smtpPath(arg, "FROM:")
	if r.code != 0 {
		return r
	}
	m := &Mail{From: from, Login: c.user, Submitted: c.trusted(), EachAlone: c.role == smtpLMTP}
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
	return c.role != smtpLMTP && (c.user != nil || c.device != nil || contains(c.srv.cfg.Relay.Networks, c.remote))
}

// fromDevice makes a message one of the device's: its sender, and a line for `postino check`.
func (c *smtpConn) fromDevice(m *Mail) {
	d := c.device
	if a, err := ParseAddr(d.Sender); err == nil {
		m.From, m.Login = a, nil
	}
	m.Also = func(tx *Tx, _ Blob) error {
		n, _, err := tx.DeviceUse(d.Name)
		if err != nil {
			return err
		}
		return tx.SetSetting("device "+d.Name, fmt.Appendf(nil, "%d %d", n+1, tx.s.Now().Unix()))
	}
}

// smtpPath parses what MAIL and RCPT have in common.
func smtpPath(arg, word string) (a Addr, params []string, r smtpReply) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return Addr{}, nil, smtpReply{501, "5.5.4 Write it as " + word + "<name@domain>"}
	}
	a, rest, err := ParsePath(arg[len(word):])
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

// mailParam takes one parameter of MAIL.
func (c *smtpConn) mailParam(m *Mail, p string, size *int64) smtpReply {
	key, value, _ := strings.Cut(p, "=")
	switch strings.ToUpper(key) {
	case "SIZE":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return smtpReply{501, "5.5.4 SIZE is a number"}
		}
		*size = int64(n)
	case "BODY":
		switch strings.ToUpper(value) {
		case "7BIT":
		case "8BITMIME":
			m.Flags |= Mail8Bit
		case "BINARYMIME":
			m.Flags |= Mail8Bit | MailBinary
		default:
			return smtpReply{501, "5.5.4 BODY is 7BIT, 8BITMIME or BINARYMIME"}
		}
	case "SMTPUTF8":
		if value != "" {
			return smtpReply{501, "5.5.4 SMTPUTF8 takes no value"}
		}
		m.Flags |= MailUTF8
	case "RET":
		if m.Ret = strings.ToUpper(value); m.Ret != "FULL" && m.Ret != "HDRS" {
			return smtpReply{501, "5.5.4 RET is FULL or HDRS"}
		}
	case "ENVID":
		if s, ok := decodeXtext(value); !ok || s == "" || len(value) > maxEnvID {
			return smtpReply{501, "5.5.4 ENVID is xtext of at most 100 octets"}
		}
		m.EnvID = value
	case "BY":
		return c.deliverBy(m, value)
	case "HOLDFOR", "HOLDUNTIL":
		return c.hold(m, strings.ToUpper(key), value)
	case "REQUIRETLS":
		if value != "" || !c.secure {
			return smtpReply{501, "5.5.4 REQUIRETLS takes no value, and a connection with TLS"}
		}
		m.Flags |= MailRequireTLS
	case "AUTH":
		// Who the sender was at another server (RFC 4954 §5): nothing here depends on it.
	default:
		return smtpReply{555, "5.5.4 The parameter " + smtpClean(key) + " is not known here"}
	}
	return smtpReply{}
}

// deliverBy takes the parameter of DELIVERBY (RFC 2852): so many seconds, and R to return the message then or N to tell
// the sender; T asks for a trace, which delivery reports give anyhow.
func (c *smtpConn) deliverBy(m *Mail, value string) smtpReply {
	due, mode, ok := smtpBy(value)
	if !ok || mode == "R" && due <= 0 {
		return smtpReply{501, "5.5.4 Write it as BY=seconds;R or BY=seconds;N"}
	}
	m.Due, m.ByMode = c.srv.store.Now().Add(due), mode
	return smtpReply{}
}

// smtpBy parses the value of BY.
//
//	by-value = [ "+" / "-" ] 1*9DIGIT ";" ( "N" / "R" ) [ "T" ]
func smtpBy(value string) (due time.Duration, mode string, ok bool) {
	secs, mode, _ := strings.Cut(value, ";")
	mode = strings.TrimSuffix(strings.ToUpper(mode), "T")
	n, err := strconv.ParseInt(secs, 10, 32)
	return time.Duration(n) * time.Second, mode, err == nil && max(n, -n) < 1e9 && (mode == "R" || mode == "N")
}

// smtpMaxHold is how long a submitted message may ask to be held back.
const smtpMaxHold = 30 * 24 * time.Hour

// hold takes the parameters of FUTURERELEASE (RFC 4865): so many seconds, or until a date and time.
func (c *smtpConn) hold(m *Mail, key, value string) smtpReply {
	now := c.srv.store.Now()
	if c.offerHold() == "" {
		return smtpReply{555, "5.5.4 The parameter " + key + " is for those who log in"}
	}
	if !m.Hold.IsZero() {
		return smtpReply{501, "5.5.4 HOLDFOR and HOLDUNTIL go together with nothing"}
	}
	var err error
	if key == "HOLDFOR" {
		var n uint64
		n, err = strconv.ParseUint(value, 10, 31)
		m.Hold = now.Add(time.Duration(n) * time.Second)
	} else {
		m.Hold, err = time.Parse(time.RFC3339, value)
	}
	if err != nil || m.Hold.Sub(now) > smtpMaxHold {
		return smtpReply{501, "5.5.4 Mail is held for at most 30 days"}
	}
	return smtpReply{}
}

// offerHold is FUTURERELEASE's line (RFC 4865): the most seconds, and the last date.
func (c *smtpConn) offerHold() string {
	if !c.trusted() {
		return ""
	}
	return fmt.Sprintf("FUTURERELEASE %d %s", int64(smtpMaxHold/time.Second), c.srv.store.Now().Add(smtpMaxHold).UTC().Format(time.RFC3339))
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
	if size < 0 {
		size = limit
	}
	if err := c.srv.store.Room(size); err != nil {
		c.log.Warn("no room", "err", err)
		return smtpReply{452, "4.3.1 The disk is nearly full, try again later"}
	}
	if c.user == nil || m.From.IsZero() { // read receipts have no sender (RFC 8098 §3)
		return smtpReply{}
	}
	ok, err := c.srv.owns(*c.user, m.From)
	switch {
	case err != nil:
		return c.fault(err)
	case !ok:
		c.log.Info("foreign sender", "from", m.From)
		return smtpReply{550, "5.7.1 " + smtpClean(m.From.Path()) + " is not an address of yours"}
	}
	return smtpReply{}
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
	to, params, r := smtpPath(arg, "TO:")
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
	rcpt := Rcpt{Addr: to}
	for _, p := range params {
		if r := smtpRcptParam(&rcpt, p); r.code != 0 {
			return r
		}
	}
	var err error
	rcpt.route, err = c.srv.route(to)
	if err != nil {
		c.log.Info("recipient refused", "from", c.mail.From, "rcpt", to, "remote", c.remote, "err", err)
		return c.fault(err)
	}
	if !rcpt.route.local && !c.trusted() {
		c.log.Info("relaying refused", "from", c.mail.From, "rcpt", to, "remote", c.remote)
		return smtpReply{550, "5.7.1 Mail for other domains is only taken from those who log in"}
	}
	if err := c.srv.roomFor(rcpt.route, c.size); err != nil {
		c.log.Info("recipient refused", "from", c.mail.From, "rcpt", to, "remote", c.remote, "err", err)
		return c.fault(err)
	}
	c.mail.To = append(c.mail.To, rcpt)
	return smtpReply{250, "2.1.5 " + smtpClean(to.Path()) + " OK"}
}

// smtpRcptParam takes one parameter of RCPT (RFC 3461 §4).
func smtpRcptParam(rcpt *Rcpt, p string) smtpReply {
	key, value, _ := strings.Cut(p, "=")
	switch strings.ToUpper(key) {
	case "NOTIFY":
		var ok bool
		if rcpt.Notify, ok = parseNotify(value); !ok {
			return smtpReply{501, "5.5.4 NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY"}
		}
	case "ORCPT":
		if !checkORcpt(value) {
			return smtpReply{501, "5.5.4 ORCPT is a type, a semicolon, and an address as xtext"}
		}
		rcpt.ORcpt = value
	default:
		return smtpReply{555, "5.5.4 The parameter " + smtpClean(key) + " is not known here"}
	}
	return smtpReply{}
}

// fault turns an error of routing or of the store into words for the client.
func (c *smtpConn) fault(err error) smtpReply {
	for _, f := range smtpFaults {
		if errors.Is(err, f.err) {
			return smtpReply{f.code, f.enhanced + " " + smtpClean(err.Error())}
		}
	}
	c.log.Error("smtp", "err", err)
	return smtpReply{451, "4.3.0 Something is wrong here, try again later"}
}

var smtpFaults = []struct {
	err      error
	code     int
	enhanced string
}{
	{errNoUser, 550, "5.1.1"},
	{errDisabled, 550, "5.2.1"},
	{errForeign, 550, "5.4.4"},
	{errAliasLoop, 550, "5.4.6"},
	{errAliasMany, 550, "5.2.4"},
	{errMailLoop, 554, "5.4.6"},
	{errHeaderSize, 552, "5.3.4"},
	{errNotSender, 550, "5.7.1"},
	{errNeverFits, 552, "5.2.3"},
	{ErrTooBig, 552, "5.3.4"},
	{ErrQuota, 452, "4.2.2"},
	{ErrDiskFull, 452, "4.3.1"},
	{ErrQueueFull, 452, "4.3.1"},
	{ErrReadOnly, 451, "4.3.0"},
}

// smtpIncoming is content on its way in.
type smtpIncoming struct {
	spool  *Spool
	err    error // why the rest is thrown away
	size   int64 // octets that came, the thrown away ones too
	cr     bool  // the last octet was a CR
	bare   bool  // a CR or LF came alone
	closed bool
}

func (c *smtpConn) incoming() *smtpIncoming {
	return &smtpIncoming{spool: c.srv.store.NewSpool(int64(c.srv.cfg.Limits.Message))}
}

// write takes content. It never fails: what can't be kept is counted and thrown away until the end of the message,
// because the client goes on sending and the rest must not be read as commands.
func (in *smtpIncoming) write(p []byte) {
	in.size += int64(len(p))
	if in.err == nil {
		_, in.err = in.spool.Write(p)
	}
}

func (in *smtpIncoming) close() {
	if !in.closed {
		in.closed = true
		in.spool.Close()
	}
}

// DATA (RFC 5321 §4.1.1.4)
//
//	data = "DATA" CRLF
func (c *smtpConn) cmdData(arg string) smtpReply {
	switch {
	case arg != "":
		return smtpReply{501, "5.5.4 DATA takes no argument"}
	case c.mail == nil:
		return smtpReply{503, "5.5.1 Say MAIL first"}
	case c.bdat != nil || c.mail.Flags&MailBinary != 0: // RFC 3030 §3
		return smtpReply{503, "5.5.1 This message comes by BDAT"}
	case len(c.mail.To) == 0:
		return smtpReply{554, "5.5.1 There is no valid recipient"}
	}
	in := c.incoming()
	defer in.close()
	c.reply(smtpReply{354, "Go ahead, and end with a dot on a line by itself"})
	if c.w.Flush() != nil {
		c.quit = true
		return smtpReply{}
	}
	if r := c.readDots(in); r.code != 0 || c.quit { // cut short is no message: the client sends it again
		return r
	}
	return c.finish(in)
}

// readDots reads content until CRLF.CRLF, which only and nothing else ends it (RFC 5321 §4.1.1.4, §2.3.8), and takes the
// stuffed dots out. Servers that took a bare CR or LF for part of the end let one message become two
// (CVE-2023-51764 and others); here such a message is read to its true end and refused. Where a careless server would
// have seen an end, the client may have meant one and be waiting, so it is told at once and the connection ends.
func (c *smtpConn) readDots(in *smtpIncoming) smtpReply {
	d := smtpDots{in: in, start: true}
	limit := smtpDrain * int64(c.srv.cfg.Limits.Message)
	for block := int64(0); ; {
		if in.size >= block {
			c.wait(smtpIdle)
			block = in.size + smtpBlock
		}
		if _, err := c.r.Peek(1); err != nil {
			c.lineFault(err)
			return smtpReply{}
		}
		p, _ := c.r.Peek(c.r.Buffered())
		n, end := d.feed(p)
		c.r.Discard(n)
		switch {
		case end == smtpTrueEnd:
			return smtpReply{}
		case end == smtpFalseEnd:
			c.quit = true
			c.log.Warn("message ended by a bare line end", "remote", c.remote)
			return smtpBare
		case in.size > limit:
			c.quit = true
			return smtpReply{552, "5.3.4 The message is far too big"}
		}
	}
}

var smtpBare = smtpReply{554, "5.5.2 A line ends with a bare CR or LF; the message is refused"}

// smtpEnd is what a piece of content ended with.
type smtpEnd int

const (
	smtpNoEnd    smtpEnd = iota
	smtpTrueEnd          // CRLF.CRLF
	smtpFalseEnd         // a dot on a line by itself, with a bare CR or LF before or after it
)

// smtpDots takes dot-stuffed content apart, wherever the pieces are cut.
type smtpDots struct {
	in    *smtpIncoming
	start bool // the next octet begins a line
	loose bool // … which a bare CR or LF made
	dot   bool // the line so far is one dot, which was not passed on
	cr    bool // the last octet was a CR
}

// feed passes content on and returns how much of p belongs to the message.
func (d *smtpDots) feed(p []byte) (n int, end smtpEnd) {
	from := 0
	for i := 0; i < len(p); i++ {
		b := p[i]
		if b == '\n' && d.cr { // CRLF
			switch {
			case d.dot && d.loose:
				return i + 1, smtpFalseEnd
			case d.dot:
				return i + 1, smtpTrueEnd
			}
			d.cr, d.start, d.loose = false, true, false
			continue
		}
		if b == '\n' || d.cr { // LF without CR, or CR without LF
			d.in.bare = true
			if d.dot {
				return i + 1, smtpFalseEnd
			}
			d.start, d.loose = true, true
		}
		d.cr = b == '\r'
		switch {
		case b == '\n':
		case b == '.' && d.start:
			d.in.write(p[from:i])
			from, d.dot, d.start = i+1, true, false
		case b == '\r' && d.dot:
			from = i + 1
		default:
			d.dot, d.start = false, false
			for !d.cr && i+1 < len(p) && p[i+1] != '\r' && p[i+1] != '\n' {
				i++
			}
		}
	}
	d.in.write(p[from:])
	return len(p), smtpNoEnd
}

// BDAT (RFC 3030 §2): so many octets of content, without dots, and LAST at the last of them. A chunk is read whatever is
// wrong with it, or its octets would be taken for commands.
//
//	bdat = "BDAT" SP chunk-size [ SP "LAST" ] CRLF
func (c *smtpConn) cmdBdat(arg string) smtpReply {
	f := strings.Fields(arg)
	if len(f) == 0 || len(f) > 2 || len(f) == 2 && !strings.EqualFold(f[1], "LAST") {
		c.quit = true // there is no telling how much follows
		return smtpReply{501, "5.5.4 Write it as BDAT octets, or BDAT octets LAST"}
	}
	size, err := strconv.ParseUint(f[0], 10, 63) // without a sign, of which the next server may think otherwise
	if err != nil || size > smtpChunkMax {
		c.quit = true
		return smtpReply{501, "5.5.4 The chunk size is no number"}
	}
	in, refuse := c.bdat, smtpReply{}
	switch {
	case c.mail == nil:
		refuse = smtpReply{503, "5.5.1 Say MAIL first"}
	case len(c.mail.To) == 0:
		refuse = smtpReply{554, "5.5.1 There is no valid recipient"}
	case in == nil:
		in = c.incoming()
		c.bdat = in
	}
	c.brought = time.Now()
	if refuse.code != 0 {
		in = &smtpIncoming{err: smtpErrDropped}
	}
	if r := c.readChunk(in, int64(size)); r.code != 0 || c.quit {
		return r
	}
	switch {
	case refuse.code != 0:
		return refuse
	case len(f) == 2:
		return c.finish(in)
	case in.err != nil:
		return c.fault(in.err)
	}
	return smtpReply{250, fmt.Sprintf("2.0.0 %d octets taken", size)}
}

var smtpErrDropped = errors.New("content nobody asked for")

// readChunk reads one chunk. Bare CR and LF in it are noted: they may not go on to the next server as they are.
func (c *smtpConn) readChunk(in *smtpIncoming, size int64) smtpReply {
	limit := smtpDrain * int64(c.srv.cfg.Limits.Message)
	for left := size; left > 0; {
		if (size-left)%smtpBlock == 0 || left == size {
			c.wait(smtpIdle)
		}
		if _, err := c.r.Peek(1); err != nil {
			c.lineFault(err)
			return smtpReply{}
		}
		p, _ := c.r.Peek(int(min(int64(c.r.Buffered()), left, smtpBlock-(size-left)%smtpBlock)))
		in.look(p)
		in.write(p)
		left -= int64(len(p))
		c.r.Discard(len(p))
		if in.size > limit {
			c.quit = true
			return smtpReply{552, "5.3.4 The message is far too big"}
		}
	}
	return smtpReply{}
}

// look notes bare CRs and LFs.
func (in *smtpIncoming) look(p []byte) {
	for _, b := range p {
		if in.cr != (b == '\n') {
			in.bare = true
		}
		in.cr = b == '\r'
	}
}

// finish takes the whole message in and answers for it: once, or in LMTP once for each recipient (RFC 2033 §4.2).
func (c *smtpConn) finish(in *smtpIncoming) smtpReply {
	m := c.mail
	c.bdat, c.brought = nil, time.Now()
	defer c.reset()
	defer in.close()
	r := c.take(m, in)
	if c.role != smtpLMTP {
		return r
	}
	for _, to := range m.To {
		if r.code == 250 && to.Err != nil {
			c.reply(c.fault(to.Err))
			continue
		}
		c.reply(r)
	}
	return smtpReply{}
}

func (c *smtpConn) take(m *Mail, in *smtpIncoming) smtpReply {
	switch {
	case in.err != nil:
		c.log.Info("content refused", "msg", m.ID, "from", m.From, "size", in.size, "err", in.err)
		return c.fault(in.err)
	case (in.bare || in.cr) && c.device == nil && (m.Flags&MailBinary == 0 || in.spool.Tree().HeaderUgly):
		c.log.Info("content refused", "msg", m.ID, "from", m.From, "err", "bare CR or LF")
		return smtpBare
	}
	m.Body, m.Trace = in.spool, c.trace()
	if err := c.srv.accept(m); err != nil {
		c.log.Info("message refused", "msg", m.ID, "from", m.From, "remote", c.remote, "err", err)
		return c.fault(err)
	}
	for _, to := range m.To {
		c.log.Info("message taken", "msg", m.ID, "from", m.From, "rcpt", to.Addr, "size", m.Body.Size(), "remote", c.remote)
	}
	return smtpReply{250, "2.0.0 Taken as " + m.ID}
}

// trace is the beginning of the Received field (RFC 5321 §4.4): the name that the client gave, its address, us, and the
// protocol (RFC 3848, RFC 6531 §4.3).
func (c *smtpConn) trace() string {
	with := "SMTP"
	switch {
	case c.role == smtpLMTP:
		with = "LMTP"
	case c.esmtp:
		with = "ESMTP"
	}
	if c.mail.Flags&MailUTF8 != 0 {
		with = "UTF8" + strings.TrimPrefix(with, "E")
	}
	if c.esmtp && c.secure && c.net.LocalAddr().Network() != "unix" {
		with += "S"
	}
	if c.user != nil {
		with += "A"
	}
	from := c.remote.String()
	if c.remote.Is6() {
		from = "IPv6:" + from
	}
	return fmt.Sprintf("from %s ([%s])\r\n\tby %s with %s", c.helo, from, c.srv.asciiHost(), with)
}
