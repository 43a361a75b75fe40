// IDLE: news as it happens (RFC 2177).
package main

import (
	"strings"
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
			if err := c.sync(true); err != nil {
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
