// STATUS: the counts of a mailbox, selected or not.
package main

import (
	"fmt"
	"slices"
	"strings"
)

// imapStatusItems is what STATUS and LIST RETURN (STATUS) can ask for. All but DELETED-STORAGE stand in the mailbox's row.
var imapStatusItems = map[string]func(c *imapConn, m *Mailbox) int64{
	"MESSAGES":      func(c *imapConn, m *Mailbox) int64 { return m.Exists },
	"RECENT":        func(c *imapConn, m *Mailbox) int64 { return c.srv.store.Recent(*m) },
	"UIDNEXT":       func(c *imapConn, m *Mailbox) int64 { return int64(m.UIDNext) },
	"UIDVALIDITY":   func(c *imapConn, m *Mailbox) int64 { return int64(m.UIDValidity) },
	"UNSEEN":        func(c *imapConn, m *Mailbox) int64 { return m.Unseen },
	"DELETED":       func(c *imapConn, m *Mailbox) int64 { return m.Deleted },
	"SIZE":          func(c *imapConn, m *Mailbox) int64 { return m.Bytes },                         // RFC 8438
	"HIGHESTMODSEQ": func(c *imapConn, m *Mailbox) int64 { return int64(m.HighestModSeq) },          // RFC 7162 §3.1.7
	"APPENDLIMIT":   func(c *imapConn, m *Mailbox) int64 { return int64(c.srv.cfg.Limits.Message) }, // RFC 7889 §4
	"MAILBOXID":     nil,                                                                            // RFC 8474 §4.3, not a number
	"DELETED-STORAGE": func(c *imapConn, m *Mailbox) int64 { // RFC 9208 §5.1
		n, _ := read(c.srv.store, func(tx *Tx) (int64, error) { return tx.DeletedBytes(*m) })
		return n
	},
}

// statusItems reads the list of what STATUS shall tell.
func (p *imapParser) statusItems() []string {
	var items []string
	p.list(func() {
		name := strings.ToUpper(p.atom())
		if _, ok := imapStatusItems[name]; !ok {
			p.fail("Unknown status item %.30q", name)
		}
		if name == "HIGHESTMODSEQ" {
			p.c.enableCondstore() // RFC 7162 §3.1
		}
		if !slices.Contains(items, name) {
			items = append(items, name)
		}
	})
	return items
}

// cmdStatus is STATUS (RFC 9051 §6.3.11). It costs one row, however large the mailbox.
//
//	status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
func (c *imapConn) cmdStatus(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	if !p.next("(") { // some clients leave the blank out
		p.space()
	}
	items := p.statusItems()
	if err := p.end(); err != nil {
		return err
	}
	m, err := c.find(name, RightRead)
	if err != nil {
		return err
	}
	c.putStatus(name, &m, items)
	return nil
}

func (c *imapConn) putStatus(name string, m *Mailbox, items []string) {
	c.putf("* STATUS ")
	c.putMailbox(name)
	var out []string
	for _, item := range items {
		if item == "MAILBOXID" {
			out = append(out, fmt.Sprintf("MAILBOXID (F%d)", m.ID))
		} else {
			out = append(out, fmt.Sprintf("%s %d", item, imapStatusItems[item](c, m)))
		}
	}
	c.putf(" (%s)\r\n", strings.Join(out, " "))
}
