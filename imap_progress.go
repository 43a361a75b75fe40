// INPROGRESS: word of commands that take long (RFC 9585).
package main

import (
	"errors"
	"strings"
	"time"
)

// imapProgress tells a waiting client from time to time how far a command has come (RFC 9585), so that neither it nor a
// router on the way takes the connection for dead; and it notices when nobody waits any more.
type imapProgress struct {
	c           *imapConn
	text        string
	done, total int
	told        time.Time
	looked      time.Time
}

const (
	imapProgressEvery = 10 * time.Second // between words to the client
	imapHangUpEvery   = time.Second      // between looks whether it is still there
)

// progress begins a command that works on so many messages.
func (c *imapConn) progress(total int) *imapProgress {
	now := time.Now()
	return &imapProgress{c: c, text: "Still at it", total: total, told: now, looked: now}
}

// progressReading is progress for a command that asks the search index for what is in messages. It says so if the index lacks much.
func (c *imapConn) progressReading(total int) *imapProgress {
	p := c.progress(total)
	if c.srv.store.IndexBehind() {
		p.text = "Reading what the search index has not got yet"
	}
	return p
}

// step says that more messages are done, at a time. An error means that the command should stop.
func (p *imapProgress) step(more int, now time.Time) error {
	p.done = min(p.done+more, p.total)
	if now.Sub(p.looked) >= imapHangUpEvery {
		p.looked = now
		if err := p.c.hungUp(); err != nil {
			return err
		}
	}
	if now.Sub(p.told) < imapProgressEvery || p.done >= p.total { // the goal must be above what is done (RFC 9585 §4)
		return nil
	}
	p.told = now
	tag := "NIL"
	if !strings.ContainsAny(p.c.tag, `]"\`) {
		tag = `"` + p.c.tag + `"`
	}
	p.c.putf("* OK [INPROGRESS (%s %d %d)] %s\r\n", tag, p.done, p.total, p.text)
	return p.c.w.Flush()
}

// hungUp returns an error if the client is gone, or the server is stopping. It takes a millisecond when nothing is wrong.
func (c *imapConn) hungUp() error {
	if c.r.Buffered() > 0 {
		return nil
	}
	c.net.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.r.Peek(1); err != nil && !errors.Is(err, errIdle) {
		return errors.Join(imapErrLost, err)
	}
	return nil
}
