// NOTIFY: news of all mailboxes, as far as the client has asked for them (RFC 5465).
package main

import (
	"slices"
	"strings"
)

// imapEvents are what a client can ask to be notified of (RFC 5465 §5).
type imapEvents uint8

const (
	imapNew imapEvents = 1 << iota
	imapExpunge
	imapFlags
	imapName
	imapSubscription
	imapMetadata
	imapServerMetadata

	imapOfMessages = imapNew | imapExpunge | imapFlags
)

// imapEventNames are the events, lowest bit first.
var imapEventNames = []string{"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange"}

const (
	imapNotifyGroups = 50    // of one NOTIFY
	imapNotifyNames  = 1_000 // in all its groups
)

// imapGroup is one event-group: events of some mailboxes.
type imapGroup struct {
	kind   string // PERSONAL, SUBSCRIBED, SUBTREE, MAILBOXES, or "" for all
	names  []string
	events imapEvents
}

// imapNotify is what a client wants to hear of, and what it has heard of the mailboxes that are not selected.
//
// The database is the log here, too: whenever a mailbox of an owner in watch changes, the rows of all mailboxes are
// compared with what the client was told last. That is some dozens of rows, and a client that hears everything once
// misses nothing however fast things change.
type imapNotify struct {
	passive  bool // ENABLE METADATA: only at the end of commands, and nothing else changes
	selected imapEvents
	delayed  bool       // SELECTED-DELAYED: expunges wait for a command that allows them
	fetch    *imapFetch // what to tell of new messages, nil for flags
	groups   []imapGroup

	known map[MailboxID]imapKnown
	subs  map[string]bool
	meta  map[UserID]ModSeq // annotations are told up to here, by owner
	watch []UserID
	wake  <-chan struct{}
	woken bool // wake has been received and not yet looked into
	stop  func()
}

// imapKnown is what the client was told of a mailbox.
type imapKnown struct {
	name    string
	highest ModSeq
	uidNext UID
	exists  int64
	unseen  int64
}

// cmdNotify is NOTIFY (RFC 5465 §3.1).
//
//	notify = "NOTIFY" SP ("SET" [SP "STATUS"] 1*(SP event-group) / "NONE")
func (c *imapConn) cmdNotify(p *imapParser) error {
	p.space()
	n := &imapNotify{}
	status := false
	if !p.take("NONE") {
		p.need("SET")
		status = p.take(" STATUS")
		for p.err == nil && (len(n.groups) == 0 || p.rest != "") {
			p.space()
			n.readGroup(c, p)
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	if err := c.catchUp(len(n.groups) > 0); err != nil {
		return err
	}
	c.setNotify(n)
	entries, err := n.look(c)
	if err != nil {
		return err
	}
	n.tellAccess(c, entries)
	if status {
		n.tellAllStatus(c, entries)
	}
	return nil
}

// catchUp tells of the selected mailbox all that an earlier NOTIFY has kept back: NOTIFY SET is a NOOP, too (RFC 5465 §3.1).
func (c *imapConn) catchUp(set bool) error {
	if !set || c.state != imapSelected {
		return nil
	}
	old := c.notify
	c.notify = nil
	err := c.sync()
	c.notify = old
	return err
}

// imapStamp is the modseq of one transaction, of those of one owner.
type imapStamp struct {
	owner  UserID
	modseq ModSeq
}

// noteOwn records the modseqs of tx, so that NOTIFY does not report what this session has done itself (RFC 5465 §5).
func (c *imapConn) noteOwn(tx *Tx) {
	if c.notify == nil {
		return
	}
	if c.own == nil {
		c.own = map[imapStamp]bool{}
	}
	for owner, a := range tx.changed {
		c.own[imapStamp{owner, a.modseq}] = true
	}
}

// write is Store.Write for what the client does itself.
func (c *imapConn) write(fn func(*Tx) error) error {
	return c.srv.store.Write(func(tx *Tx) error {
		err := fn(tx)
		if err == nil { // or else its modseq will be somebody else's
			c.noteOwn(tx)
		}
		return err
	})
}

// writeName is write for changes to names.
func (c *imapConn) writeName(fn func(*Tx) error, names ...string) error {
	err := c.write(fn)
	if err == nil {
		c.named = append(c.named, names...)
	}
	return err
}

// didName says whether the client itself has just made, removed, renamed or subscribed to the name, one above or below it.
func (c *imapConn) didName(name string) bool {
	return slices.ContainsFunc(c.named, func(own string) bool { return imapUnder(name, own) || imapUnder(own, name) })
}

// setNotify replaces what the client wants to hear of.
func (c *imapConn) setNotify(n *imapNotify) {
	if c.notify != nil {
		c.notify.stop()
	}
	c.notify = n
	n.stop = func() {}
	n.groups = slices.DeleteFunc(n.groups, func(g imapGroup) bool { return g.kind == "SELECTED" })
}

// readGroup reads an event-group.
//
//	event-group = "(" ("SELECTED" / "SELECTED-DELAYED" / "INBOXES" / "PERSONAL" / "SUBSCRIBED" / ("SUBTREE" / "MAILBOXES") SP
//	              (mailbox / "(" mailbox *(SP mailbox) ")")) SP ("(" event *(SP event) ")" / "NONE") ")"
func (n *imapNotify) readGroup(c *imapConn, p *imapParser) {
	p.enter()
	g := imapGroup{kind: strings.ToUpper(p.atom())}
	names := 0
	for _, old := range n.groups {
		names += len(old.names)
	}
	one := func() {
		names++
		if names > imapNotifyNames {
			p.refuse(imapNo("NOTIFICATIONOVERFLOW", "Too many mailboxes"))
		}
		g.names = append(g.names, p.mailboxName())
	}
	switch g.kind {
	case "SELECTED", "SELECTED-DELAYED":
		if slices.ContainsFunc(n.groups, func(g imapGroup) bool { return g.kind == "SELECTED" }) {
			p.fail("SELECTED is given twice")
		}
		n.delayed = g.kind == "SELECTED-DELAYED"
		g.kind = "SELECTED"
	case "INBOXES": // mail may be filtered into any mailbox
		g.kind = "PERSONAL"
	case "PERSONAL", "SUBSCRIBED":
	case "SUBTREE", "MAILBOXES":
		p.space()
		if p.next("(") {
			p.list(one)
		} else {
			one()
		}
	default:
		p.fail("Unknown mailboxes %.30q", g.kind)
	}
	p.space()
	n.readEvents(c, p, &g)
	p.need(")")
	p.depth--
	if len(n.groups) >= imapNotifyGroups {
		p.refuse(imapNo("NOTIFICATIONOVERFLOW", "Too many groups"))
	}
	if g.kind == "SELECTED" {
		n.selected = g.events
	}
	n.groups = append(n.groups, g)
}

// readEvents reads the events of a group. New messages and expunges belong together, and changes of flags to both.
func (n *imapNotify) readEvents(c *imapConn, p *imapParser, g *imapGroup) {
	if p.take("NONE") {
		return
	}
	p.list(func() {
		name := p.atom()
		i := slices.IndexFunc(imapEventNames, func(e string) bool { return strings.EqualFold(e, name) })
		if i < 0 {
			if p.err == nil {
				p.refuse(imapNo("BADEVENT ("+strings.Join(imapEventNames, " ")+")", "There is no such event")) // RFC 5465 §3.1
			}
			return
		}
		g.events |= 1 << i
		if imapEvents(1<<i) == imapNew && strings.HasPrefix(p.rest, " (") {
			p.space()
			if g.kind != "SELECTED" {
				p.fail("FETCH items are only for SELECTED")
			}
			n.fetch = p.readUnasked()
		}
	})
	both := g.events & (imapNew | imapExpunge)
	switch {
	case both != 0 && both != imapNew|imapExpunge, g.events&imapFlags != 0 && both == 0:
		p.fail("MessageNew and MessageExpunge go together")
	case g.kind == "SELECTED" && g.events&^imapOfMessages != 0:
		p.fail("SELECTED is only for messages")
	case g.events == 0:
		p.fail("No events are named")
	}
}

// wants says which events a mailbox's entry is watched for.
func (n *imapNotify) wants(c *imapConn, e *imapEntry) imapEvents {
	var all imapEvents
	for _, g := range n.groups {
		in := false
		switch g.kind {
		case "":
			in = true
		case "PERSONAL":
			in = !strings.HasPrefix(e.name, SharedRoot+"/") && !strings.HasPrefix(e.name, OthersRoot+"/")
		case "SUBSCRIBED":
			in = e.subscribed
		case "SUBTREE":
			in = slices.ContainsFunc(g.names, func(top string) bool { return imapUnder(e.name, top) })
		case "MAILBOXES":
			in = slices.Contains(g.names, e.name)
		}
		if in {
			all |= g.events
		}
	}
	if e.box != nil && e.rights&RightRead == 0 {
		all &^= imapOfMessages | imapMetadata
	}
	if e.box != nil && c.state == imapSelected && e.box.ID == c.mbox.ID && !n.passive {
		all &^= imapOfMessages // those are SELECTED's
	}
	return all
}

// frozen says that the client wants no news of messages in the selected mailbox: it hears only what it does itself.
func (n *imapNotify) frozen() bool {
	return n != nil && !n.passive && n.selected&imapNew == 0
}

// quiet says that the client wants no news of flags in the selected mailbox.
func (n *imapNotify) quiet() bool {
	return n != nil && !n.passive && n.selected&imapFlags == 0
}

// look reads all names and remembers them as told. It watches all owners from now on.
func (n *imapNotify) look(c *imapConn) ([]imapEntry, error) {
	if len(n.groups) == 0 {
		return nil, nil
	}
	if err := n.watchOwners(c); err != nil {
		return nil, err
	}
	entries, err := (&imapList{c: c, subscribed: true}).entries()
	if err != nil {
		return nil, err
	}
	n.markTold(c, entries)
	n.meta, err = n.modseqs(c)
	return entries, err
}

// markTold stores the entries as what the client knows. Of the selected mailbox that is only what sync has sent; the rest is
// reported when it is left.
func (n *imapNotify) markTold(c *imapConn, entries []imapEntry) {
	n.known, n.subs = map[MailboxID]imapKnown{}, map[string]bool{}
	for _, e := range entries {
		if e.subscribed {
			n.subs[e.name] = true
		}
		if m := e.box; m != nil {
			k := imapKnown{e.name, m.HighestModSeq, m.UIDNext, m.Exists, m.Unseen}
			if c.state == imapSelected && m.ID == c.mbox.ID && !n.passive {
				k = imapKnown{e.name, min(c.seen, c.gone), 0, int64(c.uids.len()), -1}
			}
			n.known[m.ID] = k
		}
	}
}

// watchOwners watches the user, whom mailboxes of others may be shared with, and the owners of those that are.
func (n *imapNotify) watchOwners(c *imapConn) error {
	watch := []UserID{c.user.ID, SharedOwner}
	err := c.srv.store.Read(func(tx *Tx) error {
		watch = watch[:2]
		shared, err := tx.SharedMailboxes(c.user)
		for _, m := range shared {
			if !slices.Contains(watch, m.Owner) {
				watch = append(watch, m.Owner)
			}
		}
		return err
	})
	if err != nil || slices.Equal(watch, n.watch) {
		return err
	}
	n.stop()
	n.watch = watch
	n.wake, n.stop = c.srv.store.Watch(watch...)
	return nil
}

// modseqs reads how far the changes of all owners have come.
func (n *imapNotify) modseqs(c *imapConn) (map[UserID]ModSeq, error) {
	return read(c.srv.store, func(tx *Tx) (map[UserID]ModSeq, error) {
		all := map[UserID]ModSeq{}
		for _, u := range n.watch {
			now, err := tx.ModSeq(u)
			if err != nil {
				return nil, err
			}
			all[u] = now
		}
		return all, nil
	})
}

// news tells what happened to the mailboxes that are not selected, if anything did.
func (c *imapConn) news() error {
	defer func() { c.own, c.named = nil, nil }()
	n := c.notify
	if n == nil || len(n.groups) == 0 {
		return nil
	}
	select {
	case <-n.wake:
	default:
		if !n.woken {
			return nil
		}
	}
	n.woken = false
	if err := n.watchOwners(c); err != nil {
		return err
	}
	entries, err := (&imapList{c: c, subscribed: true}).entries()
	if err != nil {
		return err
	}
	n.tellNames(c, entries)
	for i := range entries {
		if err := n.tellStatus(c, &entries[i]); err != nil {
			return err
		}
	}
	n.markTold(c, entries)
	return n.tellMeta(c, entries)
}

// tellNames writes a LIST for every name that was made, removed, renamed, subscribed or unsubscribed (RFC 5465 §5.4, §5.5).
func (n *imapNotify) tellNames(c *imapConn, entries []imapEntry) {
	t := &imapNames{n: n, c: c, entries: entries, told: map[string]bool{}}
	here := map[MailboxID]bool{}
	subscribed := map[string]bool{}
	for i := range entries {
		e := &entries[i]
		if e.subscribed {
			subscribed[e.name] = true
		}
		if e.box != nil {
			here[e.box.ID] = true
		}
		t.compare(e)
	}
	for id, old := range n.known {
		if !here[id] && n.wants(c, &imapEntry{name: old.name, subscribed: n.subs[old.name]})&imapName != 0 {
			t.tell(old.name, "")
			t.tell(parentName(old.name), "")
		}
	}
	for name := range n.subs {
		if !subscribed[name] && n.wants(c, &imapEntry{name: name, subscribed: true})&imapSubscription != 0 {
			t.tell(name, "")
		}
	}
}

// imapNames is one telling of names.
type imapNames struct {
	n       *imapNotify
	c       *imapConn
	entries []imapEntry
	told    map[string]bool
}

// compare tells of a name that is not what the client knows.
func (t *imapNames) compare(e *imapEntry) {
	n := t.n
	wants := n.wants(t.c, e)
	if e.box == nil {
		if wants&imapSubscription != 0 && !n.subs[e.name] {
			t.tell(e.name, "")
		}
		return
	}
	old, known := n.known[e.box.ID]
	switch {
	case wants&imapName != 0 && !known:
		t.tell(e.name, "")
		t.tell(parentName(e.name), "")
	case wants&imapName != 0 && old.name != e.name && !n.movedAlong(old.name, e, t.entries):
		t.tell(e.name, old.name)
	case wants&imapSubscription != 0 && n.subs[e.name] != e.subscribed:
		t.tell(e.name, "")
	}
}

// movedAlong says that a mailbox was renamed because the one above it was, which is told instead.
func (n *imapNotify) movedAlong(old string, e *imapEntry, entries []imapEntry) bool {
	parent, was := parentName(e.name), parentName(old)
	if parent == "" || was == "" || e.name[len(parent):] != old[len(was):] {
		return false
	}
	return slices.ContainsFunc(entries, func(up imapEntry) bool {
		return up.name == parent && up.box != nil && n.known[up.box.ID].name == was && was != parent
	})
}

// tell writes one LIST, once for each name.
func (t *imapNames) tell(name, old string) {
	c := t.c
	if name == "" || t.told[name] || c.didName(name) {
		return
	}
	t.told[name] = true
	l := &imapList{c: c, verb: "LIST", showSubscribed: true}
	e, below := imapEntry{name: name}, false
	for _, x := range t.entries {
		if x.name == name {
			e = x
		}
		below = below || (x.box != nil && x.name != name && imapUnder(x.name, name))
	}
	c.putf("* LIST (%s) \"/\" ", l.attributes(e, below))
	c.putMailbox(name)
	if old != "" {
		c.putf(" (\"OLDNAME\" (")
		c.putMailbox(old)
		c.putf("))")
	}
	c.putf("\r\n")
}

// tellStatus writes a STATUS for a mailbox whose messages have changed (RFC 5465 §5.1-5.3).
func (n *imapNotify) tellStatus(c *imapConn, e *imapEntry) error {
	if e.box == nil {
		return nil
	}
	old, known := n.known[e.box.ID]
	wants := n.wants(c, e)
	if !known || old.highest == e.box.HighestModSeq || wants&imapOfMessages == 0 {
		return nil
	}
	if mine, err := c.onlyOwn(e.box, old.highest); err != nil || mine {
		return err
	}
	var items []string
	switch {
	case old.exists != e.box.Exists || old.uidNext != e.box.UIDNext:
		items = []string{"UIDNEXT", "MESSAGES"}
	case wants&imapFlags == 0 || (old.unseen == e.box.Unseen && !c.condstore):
		return nil
	default:
		items = []string{"UIDVALIDITY"}
	}
	if old.unseen != e.box.Unseen && wants&imapFlags != 0 {
		items = append(items, "UNSEEN")
	}
	if c.condstore {
		items = append(items, "HIGHESTMODSEQ")
	}
	c.putStatus(e.name, e.box, items)
	return nil
}

// onlyOwn says whether the client itself made all changes to the messages of m after since. It asks for what came after m was
// read, too: a change that somebody else has made meanwhile may hide one that is in m and not told.
func (c *imapConn) onlyOwn(m *Mailbox, since ModSeq) (bool, error) {
	if len(c.own) == 0 {
		return false, nil
	}
	mods, err := read(c.srv.store, func(tx *Tx) ([]int64, error) { return tx.ModSeqs(m.ID, since) })
	foreign := slices.ContainsFunc(mods, func(mod int64) bool { return !c.own[imapStamp{m.Owner, ModSeq(mod)}] })
	return err == nil && len(mods) > 0 && !foreign, err
}

// tellAllStatus answers NOTIFY SET STATUS: where all watched mailboxes stand (RFC 5465 §3.1).
func (n *imapNotify) tellAllStatus(c *imapConn, entries []imapEntry) {
	for i := range entries {
		e := &entries[i]
		if e.box == nil || n.wants(c, e)&imapOfMessages == 0 {
			continue
		}
		items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
		if n.wants(c, e)&imapFlags != 0 {
			items = append(items, "HIGHESTMODSEQ")
		}
		c.putStatus(e.name, e.box, items)
	}
}

// tellAccess names the mailboxes that the client asked for and can see, but may not read (RFC 5465 §3.1).
func (n *imapNotify) tellAccess(c *imapConn, entries []imapEntry) {
	for _, e := range entries {
		asked := slices.ContainsFunc(n.groups, func(g imapGroup) bool { return slices.Contains(g.names, e.name) })
		if asked && e.box != nil && e.rights&RightRead == 0 {
			c.putf("* LIST (\\NoAccess) \"/\" ")
			c.putMailbox(e.name)
			c.putf("\r\n")
		}
	}
}

// tellMeta names the annotations that have changed (RFC 5465 §5.6, §5.7; RFC 5464 §4.4.2).
func (n *imapNotify) tellMeta(c *imapConn, entries []imapEntry) error {
	var all imapEvents
	for _, g := range n.groups {
		all |= g.events
	}
	if all&(imapMetadata|imapServerMetadata) == 0 {
		return nil
	}
	now, err := n.modseqs(c)
	if err != nil {
		return err
	}
	if all&imapServerMetadata != 0 {
		entries = append(slices.Clone(entries), imapEntry{box: &Mailbox{Owner: SharedOwner}})
	}
	for i := range entries {
		e := &entries[i]
		same := e.box == nil || (now[e.box.Owner] == n.meta[e.box.Owner] && now[c.user.ID] == n.meta[c.user.ID])
		if same || (e.name != "" && n.wants(c, e)&imapMetadata == 0) {
			continue
		}
		if err := n.tellAnnotations(c, e, now); err != nil {
			return err
		}
	}
	n.meta = now
	return nil
}

// tellAnnotations names those of one mailbox that have changed up to now, but for what the client has done itself.
func (n *imapNotify) tellAnnotations(c *imapConn, e *imapEntry, now map[UserID]ModSeq) error {
	changed, err := read(c.srv.store, func(tx *Tx) ([]Annotation, error) { return tx.Annotations(e.box.ID, c.user.ID, 0) })
	if err != nil {
		return err
	}
	changed = slices.DeleteFunc(changed, func(a Annotation) bool {
		owner := e.box.Owner
		if a.User != 0 {
			owner = a.User
		}
		return a.ModSeq <= n.meta[owner] || a.ModSeq > now[owner] || // the latter is told next time
			c.own[imapStamp{owner, a.ModSeq}]
	})
	if len(changed) == 0 {
		return nil
	}
	c.putf("* METADATA ")
	c.putMailbox(e.name)
	for _, a := range changed {
		c.putf(" ")
		c.putAstring(a.Entry)
	}
	c.putf("\r\n")
	return nil
}
