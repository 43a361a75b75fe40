// RETR and TOP: messages on their way out, line by line.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

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
	return c.content(m, WantBody, func(l *Listed) error {
		err := l.Content.Sound(0, l.Content.Size)
		if err != nil {
			return err
		}
		c.ok("%d octets", size)
		c.fetch++
		return c.send(l, -1)
	})
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
	return c.content(m, WantTree, func(l *Listed) error {
		err := l.Content.Sound(0, popTopOctets(l.Content, n))
		if err != nil {
			return err
		}
		c.ok("The top follows")
		return c.send(l, n)
	})
}

// popTopOctets is how much of a message its top may need, if its lines are as long as lines may be (RFC 5322 §2.1.1). What goes beyond
// that is checked while it is sent.
func popTopOctets(content *Content, lines int64) int64 {
	if lines > content.Size {
		return content.Size
	}
	return content.HeadLen + 1000*lines
}

// needsWork says whether a message can't be sent octet for octet as it is stored.
func (c *popConn) needsWork(m *Message) bool {
	return m.Form&(FormLines|FormBinary) != 0 || (m.Form&FormHeader8Bit != 0 && !c.utf8)
}

// content calls fn with a message, of which so much has been read; it is fn's until it returns. What was expunged since login is
// still there.
func (c *popConn) content(m *popMessage, want Want, fn func(*Listed) error) error {
	found := false
	err := c.srv.store.List(c.box.ID, []UID{m.uid}, want, func(l *Listed) error {
		if l.Content == nil {
			return nil
		}
		found = true
		return fn(l)
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	return err
}

// sentForm is the form in which this client gets content.
func (c *popConn) sentForm(id BlobID) sentForm { return sentForm{id: id, lines: true, ascii: !c.utf8} }

// recall fills in a size that was found out before.
func (c *popConn) recall(m *popMessage, id BlobID) {
	if n, ok := c.srv.sent.get(c.sentForm(id)); ok {
		m.size, m.odd = uint32(n), false
	}
}

// size is what RETR will send. Nearly always that is what the store says. A message that has to be repaired or converted
// on its way out is sent to nobody first, so that both numbers come from the same code.
func (c *popConn) size(m *popMessage) (int64, error) {
	if !m.odd {
		return int64(m.size), nil
	}
	lines := &popLines{w: io.Discard, top: -1}
	err := c.content(m, WantBody, func(l *Listed) error {
		err := c.render(lines, l.Content)
		if err == nil {
			c.srv.sent.put(c.sentForm(l.Content.ID), lines.n)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	m.size, m.odd = uint32(lines.n), false
	return lines.n, nil
}

// send sends a message as a multi-line response, or its top lines. There is no way to take it back: when the content
// can't be read to its end, the connection is cut, or the client would take the piece for the whole.
func (c *popConn) send(l *Listed, top int64) error {
	var err error
	if top < 0 && !c.needsWork(&l.Message) {
		err = c.sendPlain(l.Content)
	} else {
		err = c.render(&popLines{w: c.w, top: top, stuff: true}, l.Content)
	}
	if err != nil {
		c.log.Error("send message", "user", c.user.Name, "err", err)
		return popErrLost
	}
	fmt.Fprint(c.w, ".\r\n")
	return nil
}

// sendPlain sends a message that has only CRLF for line ends, as it is but for the dots at the beginning of lines. It is far
// quicker than looking at each line.
func (c *popConn) sendPlain(content *Content) error {
	begins := true
	return content.Each(0, content.Size, func(some []byte) error {
		if bytes.IndexByte(some, 0) >= 0 {
			some = bytes.ReplaceAll(some, []byte{0}, []byte("?"))
		}
		if begins && some[0] == '.' {
			c.w.WriteByte('.')
		}
		begins = some[len(some)-1] == '\n'
		for {
			i := bytes.Index(some, []byte("\n."))
			if i < 0 {
				break
			}
			c.w.Write(some[:i+2])
			c.w.WriteByte('.')
			some = some[i+2:]
		}
		_, err := c.w.Write(some)
		return err
	})
}

// render writes a message in the form in which this client gets it. Without UTF8 its headers become ASCII, as
// RFC 6856 asks; bodies have always been sent with eight bits, but binary parts have to be encoded, since POP3 sends lines.
// What can't be converted is sent as it is.
func (c *popConn) render(to *popLines, content *Content) error {
	err := ErrNotConvertible
	switch tree := content.Tree(); {
	case tree.HasBinary():
		err = EncodeBinary(to, tree, content, c.utf8)
	case !c.utf8 && tree.Any8bitHeader():
		err = PeerCan{EightBit: true, Binary: true}.Convert(to, tree, content)
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
