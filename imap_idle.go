// IDLE and the wait for news: whichever comes first, something to tell or the client's next word (RFC 2177).
package main

import (
	"strings"
	"time"
)

// cmdIdle is IDLE (RFC 9051 §6.3.13). A client may send its next commands in the same packet as DONE (iOS does); they
// stay in the buffer. A line that is not DONE is refused, and the connection goes on.
//
//	idle = "IDLE" CRLF "DONE"
func (c *imapConn) cmdIdle(p *imapParser) error {
	if err := p.end(); err != nil {
		return err
	}
	c.putf("+ idling\r\n")
	err := c.await(imapIdle, func() error {
		if c.state == imapSelected {
			if err := c.sync(); err != nil {
				return err
			}
		}
		return c.news()
	})
	if err != nil {
		return err
	}
	line, err := c.nextLine()
	if err == nil && !strings.EqualFold(strings.TrimRight(line, " "), "DONE") {
		err = imapBad("Expected DONE")
	}
	return err
}

// watchMailbox is woken when the selected mailbox changes, if its changes do not wake the user anyway.
func (c *imapConn) watchMailbox() (wake <-chan struct{}, stop func()) {
	if c.state != imapSelected || c.mbox.Owner == c.user.ID {
		return nil, func() {}
	}
	return c.srv.store.Watch(c.mbox.Owner)
}

// await waits until the client has sent something, and tells the news that come in between.
func (c *imapConn) await(d time.Duration, tell func() error) error {
	if c.r.Buffered() > 0 {
		return nil // the news come at the end of the next command
	}
	c.wait(d)
	ready := c.srv.crew.Result("imap waits", func() error {
		_, err := c.r.Peek(1)
		return err
	})
	selected, stop := c.watchMailbox()
	defer stop()
	for {
		err := tell()
		if err == nil {
			err = c.w.Flush()
		}
		if err != nil {
			return err
		}
		var notified <-chan struct{}
		if c.notify != nil {
			notified = c.notify.wake
		}
		select {
		case <-selected:
		case <-notified:
			c.notify.woken = true
		case <-c.wake:
			if err := c.userNow(); err != nil {
				return err
			}
		case err := <-ready:
			return err
		}
	}
}
