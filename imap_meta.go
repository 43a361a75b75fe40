// METADATA: annotations of mailboxes and of the server (RFC 5464).
package main

import (
	"errors"
	"fmt"
	"strings"
)

// imapMetaMax is how many entries one command may name.
const imapMetaMax = 200

// imapMetaTarget is what a METADATA command is about: a mailbox, or the server for the name "".
type imapMetaTarget struct {
	name  string
	id    MailboxID
	owner UserID
}

// metaTarget finds the mailbox. Its annotations are for those who may look it up and do something with its mail (RFC 5464
// §3.3).
func (c *imapConn) metaTarget(tx *Tx, name string) (imapMetaTarget, error) {
	if name == "" {
		return imapMetaTarget{owner: SharedOwner}, nil
	}
	m, err := c.mailboxAs(tx, name, RightLookup)
	if err != nil {
		return imapMetaTarget{}, err
	}
	have, err := tx.RightsOf(c.user, m)
	if err == nil && have&(RightRead|RightSeen|RightWrite|RightInsert|RightPost) == 0 {
		err = imapNo("NOPERM", "You lack the right \"r\" on this mailbox")
	}
	return imapMetaTarget{name, m.ID, m.Owner}, err
}

// metaMailbox reads a mailbox's name, or "" for the server.
func (p *imapParser) metaMailbox() string {
	if p.take(`""`) {
		return ""
	}
	return p.mailboxName()
}

// metaEntry reads an entry's name (RFC 5464 §3.2), which is told in lower case.
func (p *imapParser) metaEntry() string {
	name := strings.ToLower(p.astring())
	bad := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '*' || r == '%' })
	if p.err == nil && (bad || (!strings.HasPrefix(name, "/private") && !strings.HasPrefix(name, "/shared")) ||
		strings.HasSuffix(name, "/") || strings.Contains(name, "//")) {
		p.fail("Bad entry name %.50q", name)
	}
	return name
}

// imapGetMeta is one GETMETADATA command.
type imapGetMeta struct {
	entries []string
	maxSize int64 // of a value that is told, negative for no limit
	depth   int   // levels below the entries: 0, 1, or -1 for all
	longest int64 // of those that were not
}

// cmdGetMetadata is GETMETADATA (RFC 5464 §4.2). Options are also taken behind the mailbox, where the RFC's examples have
// them.
//
//	getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries
func (c *imapConn) cmdGetMetadata(p *imapParser) error {
	g := &imapGetMeta{maxSize: -1}
	p.space()
	if p.next("(") {
		g.options(p)
		p.space()
	}
	name := p.metaMailbox()
	p.space()
	if rest := strings.ToUpper(p.rest); strings.HasPrefix(rest, "(MAXSIZE ") || strings.HasPrefix(rest, "(DEPTH ") {
		g.options(p)
		p.space()
	}
	if p.next("(") {
		p.list(func() { g.entries = append(g.entries, p.metaEntry()) })
	} else {
		for more := true; more && p.err == nil; more = p.take(" ") { // the RFC's examples have several without parentheses
			g.entries = append(g.entries, p.metaEntry())
		}
	}
	if len(g.entries) == 0 || len(g.entries) > imapMetaMax {
		p.fail("Between 1 and %d entries, please", imapMetaMax)
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := g.run(c, name); err != nil {
		return err
	}
	if g.longest > 0 {
		c.code = fmt.Sprintf("METADATA LONGENTRIES %d", g.longest)
	}
	return nil
}

func (g *imapGetMeta) options(p *imapParser) {
	p.list(func() {
		switch {
		case p.take("MAXSIZE "):
			g.maxSize = int64(p.number())
		case p.take("DEPTH 0"):
			g.depth = 0
		case p.take("DEPTH 1"):
			g.depth = 1
		case p.take("DEPTH infinity"):
			g.depth = -1
		default:
			p.fail("Unknown option %.20q", p.rest)
		}
	})
}

// run finds the mailbox and tells its values.
func (g *imapGetMeta) run(c *imapConn, name string) error {
	t, err := read(c.srv.store, func(tx *Tx) (imapMetaTarget, error) { return c.metaTarget(tx, name) })
	if err != nil {
		return err
	}
	return g.show(c, name, t.id)
}

// show tells the values one by one, as together they may be large. Entries that were asked for and are not there are NIL.
func (g *imapGetMeta) show(c *imapConn, name string, id MailboxID) error {
	all, err := read(c.srv.store, func(tx *Tx) ([]Annotation, error) { return tx.Annotations(id, c.user.ID, 0) })
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, a := range all {
		if a.Gone || !g.wants(a.Entry) {
			continue
		}
		there[a.Entry] = true
		if err := g.tell(c, name, a); err != nil {
			return err
		}
	}
	for _, e := range g.entries {
		if !there[e] {
			c.putMetadata(name, e, nil)
		}
	}
	return nil
}

func (g *imapGetMeta) tell(c *imapConn, name string, a Annotation) error {
	value, err := read(c.srv.store, func(tx *Tx) ([]byte, error) { return tx.AnnotationValue(a) })
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case g.maxSize >= 0 && int64(len(value)) > g.maxSize:
		g.longest = max(g.longest, int64(len(value)))
		return nil
	}
	if value == nil {
		value = []byte{}
	}
	c.putMetadata(name, a.Entry, value)
	return nil
}

// wants says whether an entry was asked for, by itself or as one below (RFC 5464 §4.2.2).
func (g *imapGetMeta) wants(entry string) bool {
	for _, e := range g.entries {
		if entry == e {
			return true
		}
		if below, ok := strings.CutPrefix(entry, e+"/"); ok && (g.depth < 0 || (g.depth == 1 && !strings.Contains(below, "/"))) {
			return true
		}
	}
	return false
}

// putMetadata writes one value: a string, or a literal8 if it has NULs.
func (c *imapConn) putMetadata(name, entry string, value []byte) {
	c.putf("* METADATA ")
	c.putMailbox(name)
	c.putf(" (")
	c.putAstring(entry)
	c.putf(" ")
	switch {
	case value == nil:
		c.putf("NIL")
	case strings.IndexByte(string(value), 0) >= 0:
		c.putLiteral8(value)
	default:
		c.putString(string(value))
	}
	c.putf(")\r\n")
}

// cmdSetMetadata is SETMETADATA (RFC 5464 §4.3): all values or none.
//
//	setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")"
func (c *imapConn) cmdSetMetadata(p *imapParser) error {
	p.space()
	name := p.metaMailbox()
	p.space()
	var entries []string
	var values [][]byte
	p.list(func() {
		entries = append(entries, p.metaEntry())
		p.space()
		values = append(values, p.metaValue())
	})
	if len(entries) == 0 || len(entries) > imapMetaMax {
		p.fail("Between 1 and %d entries, please", imapMetaMax)
	}
	if err := p.end(); err != nil {
		return err
	}
	err := c.write(func(tx *Tx) error {
		t, err := c.metaTarget(tx, name)
		if err != nil {
			return err
		}
		for i, e := range entries {
			if err := c.setAnnotation(tx, t, e, values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, ErrTooBig):
		err = imapNo(fmt.Sprintf("METADATA MAXSIZE %d", maxAnnotation), "The value is too big")
	case errors.Is(err, ErrTooMany):
		err = imapNo("METADATA TOOMANY", "There are too many entries")
	}
	return err
}

// setAnnotation sets one value. What all users of the appliance see is for administrators.
func (c *imapConn) setAnnotation(tx *Tx, t imapMetaTarget, entry string, value []byte) error {
	a := Annotation{Mailbox: t.id, Entry: entry}
	owner := t.owner
	if strings.HasPrefix(entry, "/private/") {
		a.User = c.user.ID
		owner = c.user.ID
	} else if t.id == 0 && !c.user.Admin {
		return imapNo("NOPERM", "Only an administrator may set what belongs to the server")
	}
	return tx.SetAnnotation(owner, a, value)
}

// metaValue reads nstring / literal8; nil is NIL.
func (p *imapParser) metaValue() []byte {
	if p.take("NIL") {
		return nil
	}
	if p.next("~") {
		return append([]byte{}, p.literal8()...)
	}
	return append([]byte{}, p.string()...)
}
