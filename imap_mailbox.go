// The tree of mailboxes: CREATE, DELETE, RENAME, subscriptions, STATUS. LIST is in imap_list.go.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// imapSpecials are the special uses that a mailbox can be created for (RFC 6154 §2). \All and \Flagged would be views of
// other mailboxes, which there are none of.
var imapSpecials = []string{`\Archive`, `\Drafts`, `\Junk`, `\Sent`, `\Trash`}

// cmdCreate is CREATE (RFC 9051 §6.3.4), with a special use (RFC 6154 §3). Missing parents are made, too. New mailboxes are
// subscribed: Thunderbird shows no others.
//
//	create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]
func (c *imapConn) cmdCreate(p *imapParser) error {
	p.space()
	name := strings.TrimSuffix(p.mailboxName(), "/") // a client may say that it wants to make children
	special := ""
	if p.take(" ") {
		special = p.createUse()
	}
	if err := p.end(); err != nil {
		return err
	}
	var m Mailbox
	err := c.writeName(func(tx *Tx) (err error) {
		if m, err = c.create(tx, name); err == nil && special != "" {
			err = c.setSpecial(tx, m, special)
		}
		return err
	}, name)
	if err == nil {
		c.code = fmt.Sprintf("MAILBOXID (F%d)", m.ID) // RFC 8474 §4.1
	}
	return err
}

// createUse reads the parameters of CREATE. Of several uses, which RFC 6154 lets a server refuse, one is enough.
func (p *imapParser) createUse() (special string) {
	p.enter()
	p.need("USE (")
	for p.err == nil && !p.take(")") {
		p.take(" ")
		p.need(`\`)
		use := `\` + p.atom()
		i := slices.IndexFunc(imapSpecials, func(s string) bool { return strings.EqualFold(s, use) })
		if i < 0 || special != "" {
			p.refuse(imapNo("USEATTR", "A mailbox can have one special use, and not this one")) // RFC 6154 §3
			return ""
		}
		special = imapSpecials[i]
	}
	p.need(")")
	p.depth--
	return special
}

// setSpecial gives m its special use. Clients take the first mailbox that has one, so no two may.
func (c *imapConn) setSpecial(tx *Tx, m Mailbox, special string) error {
	if m.Owner != c.user.ID {
		return imapNo("USEATTR", "Only your own mailboxes can have a special use")
	}
	if old, err := tx.MailboxBySpecial(m.Owner, special); err == nil {
		return imapNo("USEATTR", imapText(old.Name)+" has this special use already")
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	return tx.SetSpecial(m, special)
}

// create makes a mailbox and the parents that it lacks.
func (c *imapConn) create(tx *Tx, name string) (m Mailbox, err error) {
	at, err := c.place(tx, name)
	if err != nil {
		return m, imapNameError(name, err)
	}
	if err := c.mayCreate(tx, at); err != nil {
		return m, err
	}
	if err := CheckMailboxName(name); err != nil {
		return m, err
	}
	for i := range len(at.local) + 1 {
		if i < len(at.local) && at.local[i] != '/' {
			continue
		}
		m, err = tx.MailboxByName(at.owner, at.local[:i])
		switch {
		case err == nil && i == len(at.local):
			return m, imapNo("ALREADYEXISTS", "There is such a mailbox already")
		case errors.Is(err, ErrNotFound):
			m, err = c.createOne(tx, at, at.local[:i])
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

// mayCreate asks for the right to make children of the nearest mailbox above. At the top of Shared/ only administrators
// have it.
func (c *imapConn) mayCreate(tx *Tx, at imapPlace) error {
	if at.owner == c.user.ID || at.owner == SharedOwner && c.user.Admin {
		return nil
	}
	for name := parentName(at.local); name != ""; name = parentName(name) {
		m, err := tx.MailboxByName(at.owner, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if have, err := tx.RightsOf(c.user, m); err != nil || have&RightCreate != 0 {
			return err
		}
		break
	}
	return imapNo("NOPERM", "You lack the right \"k\" there")
}

// createOne makes one mailbox and subscribes the user to it. In others' namespaces the entries of the mailbox above hold
// for it, and its maker may do all with it. A new top of Shared/ is everybody's.
func (c *imapConn) createOne(tx *Tx, at imapPlace, local string) (Mailbox, error) {
	m, err := tx.CreateMailbox(at.owner, local, "")
	if errors.Is(err, ErrQuota) {
		err = imapNo("LIMIT", "There are too many mailboxes")
	}
	if err == nil {
		err = tx.InheritACL(m)
	}
	if err == nil && at.owner == SharedOwner && parentName(local) == "" {
		err = tx.SetACL(m, ACLEntry{anyone, RightsAll &^ (RightDelete | RightAdmin)})
	}
	if err == nil && at.owner != c.user.ID {
		err = tx.SetACL(m, ACLEntry{c.user.Name, RightsAll})
	}
	if err == nil {
		err = c.subscribe(tx, at.prefix+local, true)
	}
	return m, err
}

// cmdDelete is DELETE (RFC 9051 §6.3.5). Children stay where they are, and the name lives on as one that only holds them.
//
//	delete = "DELETE" SP mailbox
func (c *imapConn) cmdDelete(p *imapParser) error {
	p.space()
	name := p.mailboxName()
	if err := p.end(); err != nil {
		return err
	}
	if name == "INBOX" {
		return imapNo("CANNOT", "INBOX can't be deleted")
	}
	var m Mailbox
	err := c.writeName(func(tx *Tx) (err error) {
		if m, err = c.mailboxAs(tx, name, RightDelete); err != nil {
			return err
		}
		if m.Name == "INBOX" {
			return imapNo("CANNOT", "INBOX can't be deleted")
		}
		return tx.DeleteMailbox(m)
	}, name)
	if err == nil && c.state == imapSelected && c.mbox.ID == m.ID {
		c.unselect()
		c.putf("* OK [CLOSED] The selected mailbox is deleted\r\n")
	}
	return err
}

// cmdRename is RENAME (RFC 9051 §6.3.6). Children go along. Renaming INBOX moves its messages to a new mailbox.
//
//	rename = "RENAME" SP mailbox SP mailbox
func (c *imapConn) cmdRename(p *imapParser) error {
	p.space()
	from := p.mailboxName()
	p.space()
	to := strings.TrimSuffix(p.mailboxName(), "/")
	if err := p.end(); err != nil {
		return err
	}
	if from == "INBOX" {
		return c.renameInbox(to)
	}
	return c.writeName(func(tx *Tx) error { return c.rename(tx, from, to) }, from, to)
}

// rename renames a mailbox and all below it, also when the name itself only holds others.
func (c *imapConn) rename(tx *Tx, from, to string) error {
	src, err := c.place(tx, from)
	if err != nil {
		return imapNameError(from, err)
	}
	dst, err := c.place(tx, to)
	switch {
	case err != nil:
		return imapNameError(to, err)
	case src.owner != dst.owner:
		return imapNo("CANNOT", "A mailbox can't change its owner; create one there and move the messages")
	case strings.HasPrefix(dst.local+"/", src.local+"/"):
		return imapNo("CANNOT", "A mailbox can't become its own child")
	}
	if _, err := tx.MailboxByName(dst.owner, dst.local); err == nil {
		return imapNo("ALREADYEXISTS", "There is such a mailbox already")
	}
	if err := c.mayCreate(tx, dst); err != nil {
		return err
	}
	all, err := tx.Mailboxes(src.owner)
	if err != nil {
		return err
	}
	found := false
	for _, m := range all {
		if rest, ok := strings.CutPrefix(m.Name+"/", src.local+"/"); ok {
			if err := c.renameOne(tx, m, src, imapPlace{dst.owner, strings.TrimSuffix(dst.local+"/"+rest, "/"), dst.prefix}); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return imapNameError(from, ErrNotFound)
	}
	return c.createParents(tx, dst)
}

// renameOne renames one mailbox, and the user's subscription with it.
func (c *imapConn) renameOne(tx *Tx, m Mailbox, src, dst imapPlace) error {
	have, err := tx.RightsOf(c.user, m)
	if err != nil {
		return err
	}
	if have&RightDelete == 0 {
		return imapNo("NOPERM", "You lack the right \"x\" on "+imapText(m.Name))
	}
	if err := tx.RenameMailbox(m, dst.local); err != nil {
		return err
	}
	names, err := tx.Subscriptions(c.user.ID)
	if err != nil || !slices.Contains(names, src.prefix+m.Name) {
		return err
	}
	if err := tx.Subscribe(c.user.ID, src.prefix+m.Name, false); err != nil {
		return err
	}
	return c.subscribe(tx, dst.prefix+dst.local, true)
}

// createParents makes the mailboxes above at that do not exist.
func (c *imapConn) createParents(tx *Tx, at imapPlace) error {
	parent := parentName(at.local)
	if parent == "" {
		return nil
	}
	if _, err := tx.MailboxByName(at.owner, parent); !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err := c.create(tx, at.prefix+parent)
	return err
}

// renameInbox moves all messages of INBOX to a new mailbox, in steps (RFC 9051 §6.3.6). Children of INBOX stay.
func (c *imapConn) renameInbox(to string) error {
	var inbox, dst Mailbox
	var uids []UID
	err := c.writeName(func(tx *Tx) (err error) {
		if inbox, err = tx.MailboxByName(c.user.ID, "INBOX"); err != nil {
			return err
		}
		if dst, err = c.create(tx, to); err != nil {
			return err
		}
		uids, _, err = tx.UIDs(inbox.ID, nil)
		return err
	}, "INBOX", to)
	if err != nil {
		return err
	}
	return c.srv.store.InSteps(uids, func(tx *Tx, step []UID) error {
		_, _, err := tx.Move(inbox, step, dst)
		c.note(tx)
		return err
	}, nil)
}

// cmdSubscribe is SUBSCRIBE (RFC 9051 §6.3.7). The mailbox need not exist.
//
//	subscribe = "SUBSCRIBE" SP mailbox
func (c *imapConn) cmdSubscribe(p *imapParser) error { return c.changeSubscription(p, true) }

// cmdUnsubscribe is UNSUBSCRIBE (RFC 9051 §6.3.8).
//
//	unsubscribe = "UNSUBSCRIBE" SP mailbox
func (c *imapConn) cmdUnsubscribe(p *imapParser) error { return c.changeSubscription(p, false) }

func (c *imapConn) changeSubscription(p *imapParser, on bool) error {
	p.space()
	name := strings.TrimSuffix(p.mailboxName(), "/")
	if err := p.end(); err != nil {
		return err
	}
	return c.writeName(func(tx *Tx) error { return c.subscribe(tx, name, on) }, name)
}

func (c *imapConn) subscribe(tx *Tx, name string, on bool) error {
	err := tx.Subscribe(c.user.ID, name, on)
	if errors.Is(err, ErrQuota) {
		return imapNo("LIMIT", "There are too many subscriptions")
	}
	return err
}

// imapList is one LIST, LSUB or XLIST command (RFC 9051 §6.3.9, RFC 5258).
type imapList struct {
	c        *imapConn
	verb     string // what its responses begin with
	extended bool   // the client knows the attributes of RFC 5258
	patterns []string

	// Selection: which names.
	subscribed bool // only those that are subscribed, whether they exist or not
	special    bool // only those with a special use
	recursive  bool // and those that have such below them

	// Return: what is told of them.
	showSubscribed bool
	myRights       bool
	status         []string
	meta           []string
}

// imapEntry is a name that LIST may show. One without a mailbox only holds others, or is only subscribed.
type imapEntry struct {
	name       string
	box        *Mailbox
	rights     Rights
	subscribed bool
}

const (
	imapPatterns = 100  // of one LIST
	imapWild     = 2000 // octets of them from the first wildcard on: twice the longest name
)

// cmdList is LIST (RFC 9051 §6.3.9).
//
//	list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]
func (c *imapConn) cmdList(p *imapParser) error {
	l := &imapList{c: c, verb: "LIST"}
	p.space()
	if p.next("(") {
		l.extended = true
		p.list(func() { l.selectOption(p) })
		p.space()
		if l.recursive && !l.subscribed && !l.special {
			p.fail("RECURSIVEMATCH needs something to match") // RFC 5258 §3.1
		}
	}
	l.readPatterns(p)
	if p.take(" ") {
		p.need("RETURN ")
		l.extended = true
		p.list(func() { l.returnOption(p) })
	}
	if err := p.end(); err != nil {
		return err
	}
	return l.run()
}

// cmdLsub is LSUB (RFC 3501 §6.3.9). It shows special uses as well: Outlook looks for them here.
//
//	lsub = "LSUB" SP mailbox SP list-mailbox
func (c *imapConn) cmdLsub(p *imapParser) error {
	l := &imapList{c: c, verb: "LSUB", subscribed: true}
	p.space()
	l.readPatterns(p)
	if err := p.end(); err != nil {
		return err
	}
	return l.run()
}

// cmdXlist is XLIST, the forerunner of SPECIAL-USE that older versions of Outlook ask for.
//
//	xlist = "XLIST" SP mailbox SP list-mailbox
func (c *imapConn) cmdXlist(p *imapParser) error {
	l := &imapList{c: c, verb: "XLIST"}
	p.space()
	l.readPatterns(p)
	if err := p.end(); err != nil {
		return err
	}
	return l.run()
}

func (l *imapList) selectOption(p *imapParser) {
	switch name := strings.ToUpper(p.atom()); name {
	case "SUBSCRIBED":
		l.subscribed, l.showSubscribed = true, true
	case "RECURSIVEMATCH":
		l.recursive = true
	case "SPECIAL-USE":
		l.special = true
	case "REMOTE": // there are none
	default:
		p.fail("Unknown option %.30q", name)
	}
}

func (l *imapList) returnOption(p *imapParser) {
	switch name := strings.ToUpper(p.atom()); name {
	case "SUBSCRIBED":
		l.showSubscribed = true
	case "CHILDREN", "SPECIAL-USE": // told anyway: macOS, iOS and Outlook need them and never ask
	case "MYRIGHTS": // RFC 8440
		l.myRights = true
	case "METADATA": // RFC 9590
		p.space()
		p.list(func() { l.meta = append(l.meta, p.metaEntry()) })
	case "STATUS": // RFC 5819
		p.space()
		l.status = p.statusItems()
	default:
		p.fail("Unknown option %.30q", name)
	}
}

// readPatterns reads the reference and the patterns. The reference is just put in front.
func (l *imapList) readPatterns(p *imapParser) {
	ref := p.astring()
	p.space()
	wild := 0
	one := func() {
		name := p.pattern()
		if name != "" {
			name = ref + name
		}
		if i := strings.IndexAny(name, "*%"); i >= 0 { // each octet of these is compared with each of a name
			wild += len(name) - i
		}
		if len(l.patterns) >= imapPatterns || wild > imapWild {
			p.fail("Too many patterns")
		}
		if decoded, err := p.c.decodeName(name); err == nil { // no mailbox has a name that can't be read
			l.patterns = append(l.patterns, decoded)
		}
	}
	if p.next("(") {
		p.list(one)
	} else {
		one()
	}
}

// pattern reads list-mailbox: an atom in which wildcards are allowed, or a string.
func (p *imapParser) pattern() string {
	if p.next(`"{`) {
		return p.string()
	}
	return p.span("a pattern", func(b byte) bool { return imapAtomChar(b) || b == ']' || b == '%' || b == '*' })
}

// run reads all names in one transaction and then writes the answers.
func (l *imapList) run() error {
	if len(l.patterns) == 1 && l.patterns[0] == "" { // asks for the hierarchy's delimiter
		l.c.putf("* %s (\\Noselect) \"/\" \"\"\r\n", l.verb)
		return nil
	}
	entries, err := l.entries()
	if err != nil {
		return err
	}
	return l.walk(entries)
}

// entries lists the names that have mailboxes, and with SUBSCRIBED the others that are subscribed; in the order of the
// tree, so that the children of a name follow it directly.
func (l *imapList) entries() (all []imapEntry, err error) {
	c := l.c
	var own []Mailbox
	var shared []SharedMailbox
	var subs []string
	err = c.srv.store.Read(func(tx *Tx) (err error) {
		if own, err = tx.Mailboxes(c.user.ID); err != nil {
			return err
		}
		if shared, err = tx.SharedMailboxes(c.user); err != nil {
			return err
		}
		subs, err = tx.Subscriptions(c.user.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range own {
		all = append(all, imapEntry{name: own[i].Name, box: &own[i], rights: RightsAll})
	}
	for i := range shared {
		all = append(all, imapEntry{name: imapSharedName(&shared[i]), box: &shared[i].Mailbox, rights: shared[i].Rights})
	}
	slices.SortFunc(all, imapByTree)
	exist := len(all)
	for _, s := range subs {
		if i, ok := slices.BinarySearchFunc(all[:exist], imapEntry{name: s}, imapByTree); ok {
			all[i].subscribed = true
		} else if l.subscribed {
			all = append(all, imapEntry{name: s, subscribed: true})
		}
	}
	slices.SortFunc(all, imapByTree)
	return all, nil
}

// imapSharedName is another owner's mailbox as this client names it.
func imapSharedName(m *SharedMailbox) string {
	if m.OwnerName == "" {
		return imapShared + "/" + m.Name
	}
	return imapOthers + "/" + m.OwnerName + "/" + m.Name
}

// imapByTree orders names so that children follow their parent, INBOX first.
func imapByTree(a, b imapEntry) int {
	if a.name == b.name {
		return 0
	}
	if x, y := imapUnder(a.name, "INBOX"), imapUnder(b.name, "INBOX"); x != y {
		if x {
			return -1
		}
		return 1
	}
	for i := range min(len(a.name), len(b.name)) {
		switch x, y := a.name[i], b.name[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a.name), len(b.name))
}

// imapUnder says whether name is parent or below it.
func imapUnder(name, parent string) bool {
	return strings.HasPrefix(name, parent) && (len(name) == len(parent) || name[len(parent)] == '/')
}

// walk shows every entry, and the names above them that have no mailbox themselves, each before its children.
func (l *imapList) walk(all []imapEntry) error {
	last := ""
	for i, e := range all {
		for j := range len(e.name) {
			if e.name[j] == '/' && !imapUnder(last, e.name[:j]) {
				if err := l.show(imapEntry{name: e.name[:j]}, all[i:]); err != nil {
					return err
				}
			}
		}
		last = e.name
		if err := l.show(e, all[i+1:]); err != nil {
			return err
		}
	}
	return nil
}

// show writes one name if it matches a pattern and is selected. below begins with the entries under it, if there are any.
func (l *imapList) show(e imapEntry, below []imapEntry) error {
	if !l.matches(e.name) {
		return nil
	}
	n := 0
	for n < len(below) && imapUnder(below[n].name, e.name) {
		n++
	}
	below = below[:n]
	info := "" // what there is below it that was selected (RFC 5258 §3.5)
	if l.recursive && slices.ContainsFunc(below, l.selects) {
		info = ` ("CHILDINFO" ("SUBSCRIBED"))`
		if !l.subscribed {
			info = ` ("CHILDINFO" ("SPECIAL-USE"))`
		}
	}
	if !l.selects(e) && info == "" {
		// LSUB "%" shows a name that is not subscribed when names below it are and the pattern does not reach them.
		if l.verb != "LSUB" || !slices.ContainsFunc(below, func(b imapEntry) bool { return b.subscribed && !l.matches(b.name) }) {
			return nil
		}
		e = imapEntry{name: e.name}
	}
	children := slices.ContainsFunc(below, func(b imapEntry) bool { return b.box != nil })
	l.c.putf("* %s (%s) \"/\" ", l.verb, l.attributes(e, children))
	l.c.putMailbox(e.name)
	l.c.putf("%s\r\n", info)
	return l.extra(&e)
}

// extra writes what else was asked for of a mailbox, right behind its name.
func (l *imapList) extra(e *imapEntry) error {
	if e.box == nil {
		return nil
	}
	if l.myRights {
		l.c.putMyRights(e.name, e.rights)
	}
	if e.rights&RightRead == 0 {
		return nil
	}
	if len(l.status) > 0 {
		l.c.putStatus(e.name, e.box, l.status)
	}
	if len(l.meta) > 0 {
		return (&imapGetMeta{entries: l.meta, maxSize: -1}).show(l.c, e.name, e.box.ID)
	}
	return nil
}

func (l *imapList) matches(name string) bool {
	return slices.ContainsFunc(l.patterns, func(p string) bool { return imapMatch(p, name) })
}

// selects says whether the selection options want the entry itself.
func (l *imapList) selects(e imapEntry) bool {
	if l.special && (e.box == nil || e.box.Special == "") {
		return false
	}
	return e.subscribed || !l.subscribed
}

// attributes are the name attributes (RFC 9051 §7.3.1). Special uses are always told, as macOS and iOS never ask.
func (l *imapList) attributes(e imapEntry, children bool) string {
	var a []string
	switch {
	case e.box == nil && l.extended:
		a = append(a, `\NonExistent`) // implies \Noselect (RFC 5258 §3)
	case e.box == nil && l.verb == "LIST":
		a = append(a, `\NonExistent`, `\Noselect`)
	case e.box == nil || e.rights&RightRead == 0:
		a = append(a, `\Noselect`)
	}
	if l.showSubscribed && e.subscribed {
		a = append(a, `\Subscribed`)
	}
	if children {
		a = append(a, `\HasChildren`)
	} else {
		a = append(a, `\HasNoChildren`)
	}
	if e.box != nil && e.box.Owner == l.c.user.ID {
		switch {
		case l.verb == "XLIST" && e.name == "INBOX":
			a = append(a, `\Inbox`)
		case l.verb == "XLIST" && e.box.Special == `\Junk`:
			a = append(a, `\Spam`)
		case e.box.Special != "":
			a = append(a, e.box.Special)
		}
	}
	return strings.Join(a, " ")
}

// imapMatch says whether a name matches a pattern, in which "*" stands for anything and "%" for anything without "/"
// (RFC 9051 §6.3.9). It takes time in proportion to the product of their lengths, whatever the pattern.
func imapMatch(pattern, name string) bool {
	if i := strings.IndexAny(pattern, "*%"); i < 0 || !strings.HasPrefix(name, pattern[:i]) {
		return pattern == name
	}
	// at[j] says that pattern[:j] matches what was read of the name.
	at, next := make([]bool, len(pattern)+1), make([]bool, len(pattern)+1)
	at[0] = true
	for i := 0; ; i++ {
		for j := range len(pattern) {
			if at[j] && (pattern[j] == '*' || pattern[j] == '%') {
				at[j+1] = true
			}
		}
		if i == len(name) {
			return at[len(pattern)]
		}
		clear(next)
		for j := range len(pattern) {
			switch b := pattern[j]; {
			case !at[j]:
			case b == '*', b == '%' && name[i] != '/':
				next[j] = true
			case b == name[i]:
				next[j+1] = true
			}
		}
		at, next = next, at
	}
}
