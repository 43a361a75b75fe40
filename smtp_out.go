// What a message says to the next host: its envelope in the words that this host knows, and its content in a form that it takes.
package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// smtpOut is one message for one transaction.
type smtpOut struct {
	mail  string   // the whole MAIL command
	rcpts []string // the whole RCPT commands
	to    []QueueRcpt
	body  func(w io.Writer) error
	bdat  int64        // the octets that body writes, when it goes by BDAT; -1 goes by DATA
	ready func() error // waits until the content may go; nil does not
}

// smtpFault is why one recipient's mail can't go to this host; the texts end up in reports.
type smtpFault struct {
	rcpt   QueueRcpt
	status string
	said   string
}

// prepare turns a queue item into a transaction for this peer. Recipients that can't be had here come back as faults.
func (c *smtpClient) prepare(q *QueueItem, content *Content) (*smtpOut, []smtpFault) {
	sender := q.From
	if c.sender != nil {
		sender = c.sender(q)
	}
	from, ok := c.path(sender)
	if !ok {
		return &smtpOut{}, smtpAll(q.Rcpts, "5.6.7", "the sender's address has letters beyond ASCII, and "+c.host+" does not know them (SMTPUTF8)")
	}
	m := &smtpOut{bdat: -1}
	var faults []smtpFault
	utf8 := !isASCII(from)
	for _, r := range q.Rcpts {
		to, ok := c.path(r.Addr)
		if !ok {
			faults = append(faults, smtpFault{r, "5.6.7", "the address has letters beyond ASCII, and " + c.host + " does not know them (SMTPUTF8)"})
			continue
		}
		utf8 = utf8 || !isASCII(to)
		line := "RCPT TO:" + to
		if c.offers("DSN") {
			line += r.says()
		}
		m.rcpts = append(m.rcpts, line)
		m.to = append(m.to, r)
	}
	body, err := c.form(m, q, content, utf8)
	if err != nil {
		return &smtpOut{}, append(faults, smtpAll(m.to, smtpStatus(err), err.Error())...)
	}
	err = c.returnable(q)
	if err != nil {
		return &smtpOut{}, append(faults, smtpAll(m.to, "5.3.3", err.Error())...)
	}
	m.mail = "MAIL FROM:" + from + body + q.saysTo(c.offers, c.now())
	return m, faults
}

func smtpAll(rcpts []QueueRcpt, status, said string) []smtpFault {
	var all []smtpFault
	for _, r := range rcpts {
		all = append(all, smtpFault{r, status, said})
	}
	return all
}

// What keeps a message from going to a host at all.
var (
	smtpErrSize       = errors.New("the message is too big for the server")
	smtpErrRequireTLS = errors.New("the sender asks for checked TLS all the way (REQUIRETLS)")
)

func smtpStatus(err error) string {
	switch {
	case errors.Is(err, ErrNotConvertible):
		return "5.6.2"
	case errors.Is(err, smtpErrSize):
		return "5.3.4"
	}
	return "5.7.30"
}

// form decides in what form the content goes: as it is by BDAT or DATA, or converted to what the peer takes (RFC 6152
// §3). What is in the message counts, not what was said of it. It returns the parameters of MAIL that say so.
func (c *smtpClient) form(m *smtpOut, q *QueueItem, content *Content, utf8 bool) (string, error) {
	skip := returnPathLen(content.Head)
	size := content.Size - skip
	src := io.NewSectionReader(content, skip, size)
	tree := content.Tree()
	tree.Shift(-skip)
	defer tree.Shift(skip)
	err := c.requireTLS(q)
	if err != nil {
		return "", err
	}
	hop, binary := c.can(utf8 || (q.Flags&MailUTF8 != 0 && !(PeerCan{EightBit: true, Binary: true}).Takes(tree)))
	params := ""
	if hop.UTF8 {
		params = " SMTPUTF8"
	}
	switch {
	case hop.Takes(tree):
		if !(PeerCan{UTF8: true}).Takes(tree) || (hop.UTF8 && hop.EightBit) {
			params += " BODY=8BITMIME"
		}
		if c.offers("CHUNKING") {
			m.bdat = size
		}
	case binary.Takes(tree):
		params += " BODY=BINARYMIME"
		m.bdat = size
	default:
		if err := hop.check(tree); err != nil {
			return "", err
		}
		if hop.EightBit {
			params += " BODY=8BITMIME"
		}
		m.body = func(w io.Writer) error {
			tree.Shift(-skip)
			defer tree.Shift(skip)
			return hop.Convert(w, tree, src)
		}
		tree.Shift(skip)
		c.signed(m, q)
		tree.Shift(-skip)
		return params, nil
	}
	m.body = func(w io.Writer) error { _, err := io.Copy(w, io.NewSectionReader(content, skip, size)); return err }
	size += c.signed(m, q)
	announced, err := c.announce(size)
	if err != nil {
		return "", err
	}
	if m.bdat >= 0 {
		m.bdat = size
	}
	return params + announced, nil
}

// requireTLS is an error for a message that is to go over checked TLS only, where this host can't be known for the one that is meant, or
// does not take such mail (RFC 8689 §4.2.1). What nobody sent, such as a report, is not thrown away for it (§5).
func (c *smtpClient) requireTLS(q *QueueItem) error {
	switch {
	case q.Flags&MailRequireTLS == 0 || q.From.IsZero():
		return nil
	case !c.proved:
		return fmt.Errorf("%w, and neither DNSSEC nor MTA-STS proves that %s takes this domain's mail", smtpErrRequireTLS, c.host)
	case !c.verify() || !c.offers("REQUIRETLS"):
		return fmt.Errorf("%w, which %s does not offer", smtpErrRequireTLS, c.host)
	}
	return nil
}

// signed puts signatures in front of what m's body writes, and returns how many octets they have. They are made from what leaves: all
// that is converted is converted by then.
func (c *smtpClient) signed(m *smtpOut, q *QueueItem) int64 {
	if c.sign == nil {
		return 0
	}
	body := m.body
	fields := c.sign(q, body)
	if fields == "" {
		return 0
	}
	m.body = func(w io.Writer) error {
		_, err := io.WriteString(w, fields)
		if err != nil {
			return err
		}
		return body(w)
	}
	return int64(len(fields))
}

// can is what the peer takes without BINARYMIME and with it. utf8 says that the message is of the kind that SMTPUTF8 is for.
func (c *smtpClient) can(utf8 bool) (plain, binary PeerCan) {
	plain = PeerCan{EightBit: c.offers("8BITMIME"), UTF8: utf8 && c.offers("SMTPUTF8")}
	binary = plain
	binary.Binary = c.offers("BINARYMIME") && c.offers("CHUNKING")
	return plain, binary
}

// announce is MAIL's parameter about a size, empty for a peer that does not ask for it (RFC 1870).
func (c *smtpClient) announce(size int64) (string, error) {
	limit, err := strconv.ParseInt(c.ext["SIZE"], 10, 64)
	if err != nil {
		return "", nil
	}
	if limit > 0 && size > limit {
		return "", fmt.Errorf("%w: it has %d octets, and %s takes at most %d", smtpErrSize, size, c.host, limit)
	}
	return fmt.Sprintf(" SIZE=%d", size), nil
}

// path is an address as this peer can read it: false when its local part needs SMTPUTF8 and the peer does not have it
// (RFC 6531 §3.2). A domain can always be said in A-labels.
func (c *smtpClient) path(a Addr) (string, bool) {
	if a.IsZero() {
		return "<>", true
	}
	if c.offers("SMTPUTF8") && !isASCII(a.Local) {
		return a.Path(), true
	}
	return a.ASCIIPath()
}

// returnable is an error for a message that is to be given back if it is late, where the server would not do that (RFC 2852).
func (c *smtpClient) returnable(q *QueueItem) error {
	if q.Due.IsZero() || q.ByMode != "R" || c.offers("DELIVERBY") {
		return nil
	}
	return fmt.Errorf("the message is to be returned if it is late, and %s does not know how (DELIVERBY)", c.host)
}
