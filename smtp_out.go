// What a message says to the next host: its envelope in the words that this host knows.
package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// smtpFault is what one recipient's mail can't do with this host; the texts end up in reports.
type smtpFault struct {
	rcpt   QueueRcpt
	status string
	said   string
}

// prepare turns a queue item into a transaction for this peer. Recipients that can't be had here come back as faults.
func (c *smtpClient) prepare(q *QueueItem, content *Content) (*smtpOut, []smtpFault) {
	skip := returnPathLen(content.Head)
	size := content.Size - skip
	if limit, err := strconv.ParseInt(c.ext["SIZE"], 10, 64); err == nil && limit > 0 && size > limit {
		return &smtpOut{}, smtpAll(q.Rcpts, "5.3.4", fmt.Sprintf("the message has %d octets and %s takes at most %d", size, c.host, limit))
	}
	from, ok := c.path(q.From)
	if !ok {
		return &smtpOut{}, smtpAll(q.Rcpts, "5.6.7", "the sender's address has letters beyond ASCII, which "+c.host+" does not know (SMTPUTF8)")
	}
	m := &smtpOut{mail: "MAIL FROM:" + from + c.mailParams(q, size)}
	var faults []smtpFault
	for _, r := range q.Rcpts {
		to, ok := c.path(r.Addr)
		if !ok {
			faults = append(faults, smtpFault{r, "5.6.7", "the address has letters beyond ASCII, which " + c.host + " does not know (SMTPUTF8)"})
			continue
		}
		m.rcpts, m.to = append(m.rcpts, "RCPT TO:"+to), append(m.to, r)
	}
	m.body = func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(content, skip, size))
		return err
	}
	return m, faults
}

func smtpAll(rcpts []QueueRcpt, status, said string) (all []smtpFault) {
	for _, r := range rcpts {
		all = append(all, smtpFault{r, status, said})
	}
	return all
}

// path is an address as this peer can read it: false when its local part needs SMTPUTF8 and the peer does not have it.
func (c *smtpClient) path(a Addr) (string, bool) {
	if a.IsZero() {
		return "<>", true
	}
	if c.offers("SMTPUTF8") && !isASCII(a.Local) {
		return a.Path(), true
	}
	return a.ASCIIPath()
}

// mailParams are the parameters of MAIL that the peer has offered to understand.
func (c *smtpClient) mailParams(q *QueueItem, size int64) string {
	var b strings.Builder
	if c.offers("SIZE") {
		fmt.Fprintf(&b, " SIZE=%d", size)
	}
	if c.offers("8BITMIME") && q.Flags&Mail8Bit != 0 {
		b.WriteString(" BODY=8BITMIME")
	}
	if c.offers("SMTPUTF8") && q.Flags&MailUTF8 != 0 {
		b.WriteString(" SMTPUTF8")
	}
	return b.String()
}
