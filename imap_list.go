// LIST and its variants: which names there are, and what is known of each.
package main

import (
	"cmp"
	"slices"
	"strings"
)

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
func (l *imapList) entries() ([]imapEntry, error) {
	c := l.c
	var own []Mailbox
	var shared []SharedMailbox
	var subs []string
	err := c.srv.store.Read(func(tx *Tx) error {
		var err error
		own, err = tx.Mailboxes(c.user.ID)
		if err != nil {
			return err
		}
		shared, err = tx.SharedMailboxes(c.user)
		if err != nil {
			return err
		}
		subs, err = tx.Subscriptions(c.user.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []imapEntry
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
		return SharedRoot + "/" + m.Name
	}
	return OthersRoot + "/" + m.OwnerName + "/" + m.Name
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
	if use := l.specialUse(e); use != "" {
		a = append(a, use)
	}
	return strings.Join(a, " ")
}

// specialUse is the special use of a mailbox of the user's own, in the words of the command.
func (l *imapList) specialUse(e imapEntry) string {
	switch {
	case e.box == nil || e.box.Owner != l.c.user.ID:
		return ""
	case l.verb == "XLIST" && e.name == "INBOX":
		return `\Inbox`
	case l.verb == "XLIST" && e.box.Special == `\Junk`:
		return `\Spam`
	}
	return e.box.Special
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
