// ENVELOPE: the fields of a header block that lists of mail show.
package main

import (
	"bufio"
	"bytes"
	"strings"
)

// fetchEnvelope writes the envelope of a message. Most headers are plain, and one pass over their fields is enough.
func (c *imapConn) fetchEnvelope(m *Listed, _ *imapWish) error {
	if m.Content.HeadLen <= headMax {
		e, ok := imapPlainEnvelope(string(m.Content.Head))
		if ok {
			c.putPlainEnvelope(&e)
			return nil
		}
	}
	h, err := m.Content.WholeHeader()
	if err != nil {
		return c.unreadable(err)
	}
	c.putEnvelope(ParseEnvelope(h))
	return nil
}

// The fields of an envelope, in its order.
const (
	imapDate = iota
	imapSubject
	imapFrom
	imapSender
	imapReplyTo
	imapTo
	imapCc
	imapBcc
	imapInReplyTo
	imapMessageID
	imapEnvelopeCount
)

var imapEnvelopeNames = [imapEnvelopeCount]string{"Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"}

// imapPlain has the values of an envelope's fields, unfolded.
type imapPlain [imapEnvelopeCount]string

// imapPlainEnvelope reads the fields of a header block in which nothing has to be mended, decoded or put together. ParseEnvelope knows the
// others, and says the same of these (TestIMAPPlainEnvelope).
func imapPlainEnvelope(head string) (e imapPlain, plain bool) {
	var have [imapEnvelopeCount]bool
	for range maxHeaderFields {
		var raw string
		raw, head = cutField(head)
		if raw == "" || isBlankLine(raw) {
			return e, true
		}
		name, value, ok := splitField(raw)
		if !ok || raw[len(raw)-1] != '\n' {
			return e, false
		}
		i := imapEnvelopeField(name)
		if i < 0 {
			continue
		}
		value = unfold(strings.TrimRight(value, "\r\n"))
		switch {
		case !isASCII(value), have[i] && (i == imapTo || i == imapCc || i == imapBcc):
			return e, false
		case !have[i]:
			e[i], have[i] = value, true
		}
	}
	return e, false
}

// imapEnvelopeField is which field of an envelope has that name; -1 for none.
func imapEnvelopeField(name string) int {
	for i, n := range &imapEnvelopeNames {
		if len(n) == len(name) && n[0]|0x20 == name[0]|0x20 && strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}

// putPlainEnvelope is putEnvelope. A missing Sender or Reply-To is the From.
func (c *imapConn) putPlainEnvelope(e *imapPlain) {
	w := c.w
	w.WriteByte('(')
	c.putText(e[imapDate])
	w.WriteByte(' ')
	c.putText(e[imapSubject])
	from := c.lists.of(c, e[imapFrom])
	for i := imapFrom; i <= imapBcc; i++ {
		w.WriteByte(' ')
		list := c.lists.of(c, e[i])
		if list == imapNil && i <= imapReplyTo {
			list = from
		}
		w.WriteString(list)
	}
	w.WriteByte(' ')
	c.putText(e[imapInReplyTo])
	w.WriteByte(' ')
	c.putText(e[imapMessageID])
	w.WriteByte(')')
}

const imapNil = "NIL"

// imapLists remembers during a command what lists of addresses become: who mail is from and to is nearly always somebody who was met before.
type imapLists struct {
	known  map[string]string
	octets int
}

const (
	imapListsMost = 64 << 10 // octets that are remembered
	imapListsLong = 1 << 10  // and of one
)

// of is a list of addresses, as it stands in a field, in the form in which the connection gets it.
func (l *imapLists) of(c *imapConn, field string) string {
	if field == "" {
		return imapNil
	}
	if list, ok := l.known[field]; ok {
		return list
	}
	var b bytes.Buffer
	w := c.w
	c.w = bufio.NewWriterSize(&b, 256)
	c.putAddresses(ParseAddressList(field))
	c.w.Flush()
	c.w = w
	list := b.String()
	n := len(field) + len(list)
	if n > imapListsLong {
		return list
	}
	if l.known == nil || l.octets+n > imapListsMost {
		l.known, l.octets = map[string]string{}, 0
	}
	l.known[strings.Clone(field)] = list
	l.octets += n
	return list
}

// putEnvelope writes an envelope (RFC 9051 §7.5.2):
//
//	envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc SP
//	           env-in-reply-to SP env-message-id ")"
func (c *imapConn) putEnvelope(e *Envelope) {
	c.w.WriteByte('(')
	c.putText(e.Date)
	c.w.WriteByte(' ')
	c.putText(e.Subject)
	for _, list := range [...][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		c.w.WriteByte(' ')
		c.putAddresses(list)
	}
	c.w.WriteByte(' ')
	c.putText(e.InReplyTo)
	c.w.WriteByte(' ')
	c.putText(e.MessageID)
	c.w.WriteByte(')')
}

// putAddresses writes "(" 1*address ")" or NIL. The marks of a group have a NIL host, so nothing else may have one.
//
//	address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
func (c *imapConn) putAddresses(list []Address) {
	if len(list) == 0 {
		c.w.WriteString("NIL")
		return
	}
	c.w.WriteByte('(')
	for _, a := range list {
		if !c.utf8 && !isASCII(a.Local) && a.Domain != "" {
			// Nobody without UTF-8 could answer to it: an empty group whose name shows it (RFC 6857).
			c.putAddress(Address{Local: strings.TrimSpace(a.DisplayName() + " " + a.Local + "@" + a.Domain)})
			c.putAddress(Address{})
			continue
		}
		c.putAddress(a)
	}
	c.w.WriteByte(')')
}

func (c *imapConn) putAddress(a Address) {
	c.w.WriteByte('(')
	c.putText(a.Name)
	c.w.WriteString(" NIL ")
	c.putText(a.Local)
	c.w.WriteByte(' ')
	c.putNString(c.domain(a.Domain))
	c.w.WriteByte(')')
}

// domain is a domain as the client can have it: with A-labels unless it has enabled UTF-8.
func (c *imapConn) domain(d string) string {
	if c.utf8 || isASCII(d) {
		return d
	}
	if a, err := DomainToASCII(d); err == nil {
		return a
	}
	return EncodeWords(d)
}
