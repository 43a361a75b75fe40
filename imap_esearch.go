// ESEARCH: one search over several mailboxes (RFC 7377).
package main

import (
	"errors"
	"slices"
	"strings"
)

// imapScope is where a search over several mailboxes looks.
type imapScope struct {
	selected bool
	personal bool // all of the user's own
	inboxes  bool // those that mail is delivered to
	subbed   bool // what the user is subscribed to
	trees    []imapScopeTree
}

// imapScopeTree is a mailbox with those below it, some levels deep.
type imapScopeTree struct {
	name   string
	levels int // 0 only itself, 1 its children, -1 all
}

// imapScopeMax is how many mailboxes a scope may name.
const imapScopeMax = 1000

// scope reads source-mbox = filter-mailboxes *(SP filter-mailboxes), as NOTIFY has them (RFC 5465 §6), without the closing
// parenthesis.
func (p *imapParser) scope() *imapScope {
	s := &imapScope{}
	for more := true; more && p.err == nil; more = p.take(" ") {
		switch kind := strings.ToUpper(p.atom()); kind {
		case "SELECTED":
			s.selected = true
		case "INBOXES":
			s.inboxes = true
		case "PERSONAL":
			s.personal = true
		case "SUBSCRIBED":
			s.subbed = true
		case "MAILBOXES":
			s.readTrees(p, 0)
		case "SUBTREE":
			s.readTrees(p, -1)
		case "SUBTREE-ONE":
			s.readTrees(p, 1)
		default:
			p.fail("Unknown mailbox filter %.30q", kind)
		}
	}
	return s
}

// readTrees reads SP one-or-more-mailbox.
func (s *imapScope) readTrees(p *imapParser, levels int) {
	p.space()
	add := func() {
		s.trees = append(s.trees, imapScopeTree{p.mailboxName(), levels})
		if len(s.trees) > imapScopeMax {
			p.fail("Too many mailboxes")
		}
	}
	if p.next("(") {
		p.list(add)
	} else {
		add()
	}
}

// onlySelected says whether nothing but the selected mailbox is searched.
func (s *imapScope) onlySelected() bool {
	return s.selected && !s.personal && !s.inboxes && !s.subbed && len(s.trees) == 0
}

// has says whether a mailbox belongs to the scope.
func (s *imapScope) has(e *imapEntry, c *imapConn) bool {
	own := e.box.Owner == c.user.ID
	switch {
	case s.selected && c.state == imapSelected && e.box.ID == c.mbox.ID, s.personal && own, s.subbed && e.subscribed,
		s.inboxes && own && (e.name == "INBOX" || e.box.Special == `\Junk`):
		return true
	}
	return slices.ContainsFunc(s.trees, func(t imapScopeTree) bool {
		if e.name == t.name {
			return true
		}
		below, ok := strings.CutPrefix(e.name, t.name+"/")
		return ok && (t.levels < 0 || (t.levels == 1 && !strings.Contains(below, "/")))
	})
}

// cmdMultiSearch is ESEARCH (RFC 7377 §2). Mailboxes that are not there or have no results are passed over in silence.
//
//	esearch = "ESEARCH" [SP "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"] [SP search-return-opts] SP search-program
func (c *imapConn) cmdMultiSearch(p *imapParser) error {
	c.uid = true
	s := &imapSearch{c: c, name: "SEARCH", scope: &imapScope{selected: true}}
	p.space()
	if p.take("IN (") {
		s.scope = p.scope()
		p.need(") ")
	}
	s.returns.read(p)
	if !s.returns.extended {
		s.returns = imapReturn{extended: true, all: true}
	}
	s.readProgram(p, false)
	switch {
	case s.scope.selected && c.state != imapSelected:
		p.fail("No mailbox is selected")
	case (s.returns.save || s.returns.update) && !s.scope.onlySelected():
		p.fail("SAVE and UPDATE are for the selected mailbox only")
	}
	err := p.end()
	if s.scope.onlySelected() && (s.returns.save || s.returns.update) {
		s.bind(c.mbox, c.uids.all())
		s.mailbox = &c.mbox
		return s.answer(err, nil)
	}
	if err != nil {
		return err
	}
	return s.everywhere()
}

// everywhere searches one mailbox after the other.
func (s *imapSearch) everywhere() error {
	entries, err := (&imapList{c: s.c}).entries()
	if err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		if e.box == nil || e.rights&RightRead == 0 || !s.scope.has(e, s.c) {
			continue
		}
		if err := s.in(e); err != nil {
			return err
		}
	}
	return nil
}

// in searches one mailbox. Of the selected one that is what the client knows of it.
func (s *imapSearch) in(e *imapEntry) error {
	c := s.c
	box := *e.box
	box.Name = e.name
	var uids []UID
	if c.state == imapSelected && box.ID == c.mbox.ID {
		uids = c.uids.all()
	} else {
		var err error
		uids, err = read(c.srv.store, func(tx *Tx) ([]UID, error) {
			uids, _, err := tx.UIDs(box.ID, nil)
			return uids, err
		})
		if errors.Is(err, ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
	}
	s.bind(box, uids)
	found, highest, err := s.run()
	if err == nil && len(found) > 0 {
		s.mailbox = &box
		s.tell(found, highest)
		err = c.w.Flush()
	}
	return err
}

// bind settles what the keys mean in a mailbox: which UIDs its sets are.
func (s *imapSearch) bind(box Mailbox, uids []UID) {
	s.box, s.uids = box, uids
	for _, fn := range s.perBox {
		fn()
	}
}
