// CATENATE: new messages from parts that are here (RFC 4469), named by URLs (RFC 5092).
package main

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// catenate reads one part of CATENATE and adds it to the spool: text, or what is stored here already.
//
//	cat-part = "TEXT" SP literal / "URL" SP astring
func (p *imapParser) catenate(sp *Spool) {
	if p.take("TEXT ") {
		p.messageLiteral(sp)
		return
	}
	p.need("URL ")
	address := p.astring()
	if p.err != nil {
		return
	}
	if err := p.c.copyURL(sp, address); err != nil {
		var ie *imapError
		if errors.As(err, &ie) {
			err = imapNo("BADURL "+imapText(strings.ReplaceAll(address, "]", "%5D")), ie.text)
		}
		p.refuse(err)
	}
}

// copyURL adds to the spool what an IMAP URL names. Only messages here can be named, by a URL that begins with a slash
// (RFC 5092 §11), of all a message or a section, and a part of that (URL-PARTIAL, RFC 5550).
func (c *imapConn) copyURL(sp *Spool, address string) error {
	u, err := imapParseURL(c, address)
	if err != nil {
		return err
	}
	var msg Message
	content, err := read(c.srv.store, func(tx *Tx) (*Content, error) {
		m, err := c.mailboxAs(tx, u.mailbox, RightRead)
		if err != nil {
			return nil, err
		}
		if u.validity != 0 && u.validity != int64(m.UIDValidity) {
			return nil, imapNo("", "The mailbox has another UIDVALIDITY")
		}
		msg, err = tx.Message(m.ID, u.uid)
		if err != nil {
			return nil, imapNo("", "There is no such message")
		}
		return tx.Content(msg.Blob)
	})
	if err == nil && msg.Form&FormBinary != 0 { // the client knows it as BODYSTRUCTURE describes it
		content, err = content.WithoutBinary()
	}
	if err != nil {
		return err
	}
	defer content.Close()
	o, ok := u.section.open(content, true)
	if !ok {
		return imapNo("", "The message has no such section")
	}
	return o.each(func(some []byte) error {
		_, err := sp.Write(some)
		return err
	})
}

// imapURL is what an IMAP URL names.
type imapURL struct {
	mailbox  string
	validity int64 // 0 if it does not say
	uid      UID
	section  imapSection
}

// imapParseURL reads "/" mailbox [";UIDVALIDITY=" n] "/;UID=" n ["/;SECTION=" section] ["/;PARTIAL=" offset ["." length]]
// (RFC 5092 §11). Names are in UTF-8, with what is special in percents.
func imapParseURL(c *imapConn, s string) (imapURL, error) {
	var u imapURL
	bad := imapNo("", "This URL does not name a message here")
	path, ok := strings.CutPrefix(s, "/")
	at := strings.Index(strings.ToUpper(path), "/;UID=")
	if !ok || at < 0 || !u.readName(path[:at]) || !u.readFields(c, path[at:]) {
		return u, bad
	}
	return u, nil
}

// readName reads the mailbox, and its UIDVALIDITY if it is named.
func (u *imapURL) readName(name string) bool {
	if i := strings.Index(strings.ToUpper(name), ";UIDVALIDITY="); i >= 0 {
		n, err := strconv.ParseInt(name[i+len(";UIDVALIDITY="):], 10, 64)
		if err != nil {
			return false
		}
		u.validity = n
		name = name[:i]
	}
	name, err := url.PathUnescape(name)
	u.mailbox = CanonicalName(name)
	return err == nil && utf8.ValidString(name)
}

// readFields reads what follows the mailbox.
func (u *imapURL) readFields(c *imapConn, fields string) bool {
	section, partial := "", ""
	for _, f := range strings.Split(fields, "/;")[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch strings.ToUpper(key) {
		case "UID":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return false
			}
			u.uid = UID(n)
		case "SECTION":
			section = value
		case "PARTIAL":
			if !strings.Contains(value, ".") {
				value += "." + strconv.FormatInt(1<<62, 10)
			}
			partial = "<" + value + ">"
		default:
			return false
		}
	}
	section, err := url.PathUnescape(section)
	if err != nil {
		return false
	}
	p := &imapParser{c: c, rest: section + "]" + partial}
	u.section = p.section()
	return p.end() == nil
}
