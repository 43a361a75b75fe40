// FILTER: a Sieve script over messages that are there already (FILTER=SIEVE, draft-bosch-imap-filter-sieve-00).
package main

import (
	"errors"
	"fmt"
)

// cmdFilter is FILTER and UID FILTER: the active script, one of the user's others, or one that comes with the command, over the messages
// of a mailbox of the user's own that a search finds. What a script would send is not sent.
//
//	filter = "FILTER" SP "SIEVE" SP ("DELIVERY" / "PERSONAL" SP astring / "GLOBAL" SP astring / "SCRIPT" SP string)
//	         [SP "CHARSET" SP charset] SP search-key *(SP search-key)
func (c *imapConn) cmdFilter(p *imapParser) error {
	p.space()
	p.need("SIEVE ")
	kind, text := p.atom(), ""
	switch kind {
	case "PERSONAL", "GLOBAL":
		p.space()
		text = p.astring()
	case "SCRIPT":
		p.space()
		text = p.string()
	case "DELIVERY":
	default:
		p.fail("DELIVERY, PERSONAL, GLOBAL or SCRIPT")
	}
	s := &imapSearch{c: c, name: "FILTER"}
	p.space()
	s.readProgram(p, false)
	if err := p.end(); err != nil {
		return err
	}
	script, err := c.filterScript(kind, text)
	var fault *sieveFault
	if errors.As(err, &fault) {
		c.w.WriteString("* FILTER")
		c.filterFault("", fault)
		return imapNo("", "The script makes no sense")
	}
	if err == nil && c.mbox.Owner != c.user.ID {
		err = imapNo("NOPERM", "Filters are for mailboxes of your own")
	}
	if err == nil {
		err = c.mayExpunge()
	}
	if err != nil {
		return err
	}
	found, _, err := s.run()
	if err != nil {
		return err
	}
	_, err = c.srv.applyScript(c.user, c.mbox, found, script, c.filtered)
	return err
}

// filtered tells what became of one message.
func (c *imapConn) filtered(uid UID, fault error) {
	n, ok := c.seq(uid)
	if !ok || c.uidonly { // RFC 9586: no sequence numbers
		return
	}
	id := ""
	if c.uid {
		id = fmt.Sprintf(" UID %d", uid)
	}
	c.putf("* %d FILTERED", n)
	c.filterFault(id, fault)
}

// filterFault ends a response: the tag, the UID, and what was wrong.
func (c *imapConn) filterFault(id string, fault error) {
	c.w.WriteString(" (TAG ")
	c.putString(c.tag)
	c.w.WriteString(")" + id)
	if fault == nil {
		c.w.WriteString(" OK\r\n")
		return
	}
	c.w.WriteString(" ERRORS ")
	c.putString(fault.Error())
	c.w.WriteString("\r\n")
}

// filterScript is the script that a command names. There are no global ones.
func (c *imapConn) filterScript(kind, text string) (*sieveScript, error) {
	if kind == "SCRIPT" {
		script, faults := sieveCompile(text)
		if len(faults) > 0 {
			return nil, faults[0]
		}
		return script, nil
	}
	found, err := read(c.srv.store, func(tx *Tx) (Script, error) {
		switch kind {
		case "PERSONAL":
			return tx.Script(c.user.ID, text)
		case "DELIVERY":
			return tx.ActiveScript(c.user.ID)
		}
		return Script{}, ErrNotFound
	})
	if errors.Is(err, ErrNotFound) {
		err = imapNo("NONEXISTENT", "There is no such script")
	}
	if err != nil {
		return nil, err
	}
	return c.srv.scripts.get(found.ID, found.Source)
}
