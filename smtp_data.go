// A mail transaction: MAIL, RCPT, and the content by DATA or BDAT.
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

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
	{errRefused, 550, "5.7.1"},
	{errLocalSender, 550, "5.7.1"},
	{errSRSOnly, 550, "5.7.1"},
	{errDisowned, 550, "5.7.1"},
	{errNeverFits, 552, "5.2.3"},
	{ErrTooBig, 552, "5.3.4"},
	{ErrQuota, 452, "4.2.2"},
	{ErrQueueFull, 452, "4.3.1"},
	{errSentMuch, 452, "4.7.1"},
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
	return &smtpIncoming{spool: c.srv.store.NewIncoming(int64(c.srv.cfg.Limits.Message))}
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
		return c.noRecipient()
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

// noRecipient is the answer to content for nobody; LMTP has another one (RFC 2033 §4.2).
func (c *smtpConn) noRecipient() smtpReply {
	if c.role == smtpLMTP {
		return smtpReply{503, "5.5.1 There is no valid recipient"}
	}
	return smtpReply{554, "5.5.1 There is no valid recipient"}
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
	if len(f) == 0 || len(f) > 2 || (len(f) == 2 && !strings.EqualFold(f[1], "LAST")) {
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
		refuse = c.noRecipient()
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
	if r.code == 250 { // who brings mail may err now and then
		c.bad, c.refused = 0, 0
	}
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
	if r := c.stillIn(); r.code != 0 { // the content may have taken long
		return r
	}
	m.Body, m.Trace = in.spool, c.trace()
	if m.Stranger {
		err := c.srv.judge(m, MailPeer{c.remote, c.helo})
		if err != nil {
			c.log.Info("message refused", "msg", m.ID, "from", m.From, "remote", c.remote, "err", err)
			return c.fault(err)
		}
	}
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
	if c.role == smtpLocal {
		return fmt.Sprintf("%s\r\n\tby %s with %s", c.local.trace(), c.srv.asciiHost(), with)
	}
	from := c.remote.String()
	if c.remote.Is6() {
		from = "IPv6:" + from
	}
	return fmt.Sprintf("from %s ([%s])\r\n\tby %s with %s", c.helo, from, c.srv.asciiHost(), with)
}
