// FETCH: the table of items, and messages on their way to the client.
package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// imapFetchItem is one row of the table of what FETCH can show: how much of the message it needs, whether showing it sets
// \Seen, and how it is written. One without put needs a section, and is written by putSection.
type imapFetchItem struct {
	want Want
	seen bool
	put  func(*imapConn, *Listed, *imapWish) error

	section string   // what is shown of the message, in the words of a section
	label   string   // name in the answer, if it is not the name asked for
	binary  bool     // without its transfer encoding (RFC 3516)
	args    imapArgs // what follows the name
}

// imapArgs says what follows an item's name.
type imapArgs uint8

const (
	imapArgNone    imapArgs = iota
	imapArgSection          // a section in brackets
	imapArgOptions          // perhaps a list of words in parentheses
)

// imapFetchItems is every item that may be asked for. ALL, FAST and FULL stand for several (imapFetchMacros).
var imapFetchItems = map[string]*imapFetchItem{
	"UID":           {put: (*imapConn).fetchUID},
	"FLAGS":         {put: (*imapConn).fetchFlags},
	"INTERNALDATE":  {put: (*imapConn).fetchInternal, want: WantRow},
	"RFC822.SIZE":   {put: (*imapConn).fetchSize, want: WantRow},
	"MODSEQ":        {put: (*imapConn).fetchModSeq, want: WantBrief},  // RFC 7162 §3.1.4.2
	"SAVEDATE":      {put: (*imapConn).fetchSaved, want: WantRow},     // RFC 8514 §4.2
	"EMAILID":       {put: (*imapConn).fetchEmailID, want: WantBrief}, // RFC 8474 §5.1
	"THREADID":      {put: (*imapConn).fetchThreadID, want: WantRow},  // RFC 8474 §5.2
	"ENVELOPE":      {put: (*imapConn).fetchEnvelope, want: WantHead},
	"BODY":          {put: (*imapConn).fetchStructure, want: WantTree},
	"BODYSTRUCTURE": {put: (*imapConn).fetchStructure, want: WantTree},
	"PREVIEW":       {put: (*imapConn).fetchPreview, want: WantBody, args: imapArgOptions}, // RFC 8970 §3
	"SNIPPET":       {put: (*imapConn).fetchPreview, want: WantBody, args: imapArgOptions}, // its name in older clients

	"BODY[":        {args: imapArgSection, label: "BODY", seen: true},
	"BODY.PEEK[":   {args: imapArgSection, label: "BODY"},
	"BINARY[":      {args: imapArgSection, label: "BINARY", binary: true, seen: true}, // RFC 3516 §4.2
	"BINARY.PEEK[": {args: imapArgSection, label: "BINARY", binary: true},
	"BINARY.SIZE[": {args: imapArgSection, label: "BINARY.SIZE", binary: true, put: (*imapConn).fetchBinarySize, want: WantTree},

	// The names of IMAP2, which some clients and scripts still use. Outlook asks for RFC822.PEEK.
	"RFC822":           {seen: true},
	"RFC822.PEEK":      {label: "RFC822"},
	"RFC822.HEADER":    {section: "HEADER"},
	"RFC822.TEXT":      {section: "TEXT", seen: true},
	"RFC822.TEXT.PEEK": {section: "TEXT", label: "RFC822.TEXT"},
}

// imapFetchMacros stand alone, not in a list (RFC 9051 §6.4.5).
var imapFetchMacros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// imapWish is an item that the client has asked for.
type imapWish struct {
	*imapFetchItem
	name    string // as the answer names it
	section imapSection
}

const (
	imapWishMax   = 100     // items of one FETCH
	imapSeenBytes = 4 << 20 // octets that are announced as \Seen in one step, and then sent
	imapFetchStep = 2000    // UIDs that are listed at a time
)

// imapFetch is one FETCH command.
type imapFetch struct {
	c     *imapConn
	uids  []UID
	set   string // the set as the client wrote it
	items []imapWish
	told  []imapWish // items, and what goes with them when the message has just become \Seen
	want  Want
	seen  bool // an item sets \Seen

	since    ModSeq // CHANGEDSINCE, negative for none
	vanished bool   // and what was expunged since, too
	partial  *imapPartial

	step    int    // messages that get \Seen at a time, at most; it follows from how long the last ones took
	marked  ModSeq // what setting \Seen gave
	lost    int    // messages whose content is gone
	damaged int    // messages whose content is not as it was stored
	unknown bool   // a message was left out because BINARY could not undo its encoding
	words   string // the last message's keywords, which the client has been told of
	buf     []byte
}

// cmdFetch is FETCH and UID FETCH (RFC 9051 §6.4.5, RFC 7162 §3.1.4, RFC 9394).
//
//	fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
//	        [SP "(" fetch-modifier *(SP fetch-modifier) ")"]
func (c *imapConn) cmdFetch(p *imapParser) error {
	f := &imapFetch{c: c, since: -1, step: stepFirst}
	p.space()
	f.set = p.rest
	f.uids = p.set()
	f.set = f.set[:len(f.set)-len(p.rest)]
	p.space()
	f.readItems(p)
	if p.take(" ") {
		p.list(func() { f.readModifier(p) })
	}
	if f.vanished && (f.since < 0 || !c.uid || !c.qresync) {
		p.fail("VANISHED needs UID FETCH, CHANGEDSINCE and QRESYNC")
	}
	if err := p.end(); err != nil {
		return err
	}
	f.arrange()
	if err := f.narrow(); err != nil {
		return err
	}
	if err := f.run(); err != nil {
		return err
	}
	if f.unknown {
		return imapNo("UNKNOWN-CTE", "The transfer encoding is not known")
	}
	if f.damaged > 0 {
		return imapNo("CORRUPTION", fmt.Sprintf("%d of the messages are damaged on the server's disk and were left out", f.damaged))
	}
	if f.lost > 0 { // not NO, which would say that nothing came (RFC 9738)
		c.code, c.text = "EXPUNGEISSUED", fmt.Sprintf("%d of the messages are no longer there", f.lost)
	}
	return nil
}

// readUnasked reads the items, in parentheses, of messages that will be told of without being asked for, by NOTIFY and UPDATE.
func (p *imapParser) readUnasked() *imapFetch {
	f := &imapFetch{c: p.c, since: -1}
	f.readItems(p)
	f.arrange()
	return f
}

// tell sends messages that nobody has just asked for.
func (f *imapFetch) tell(uids []UID) error {
	if f == nil || len(uids) == 0 {
		return nil
	}
	defer func() { f.c.lists = imapLists{} }() // the command may be IDLE
	return f.send(uids)
}

// readItems reads a macro, an item, or a list of items.
func (f *imapFetch) readItems(p *imapParser) {
	if p.next("(") {
		p.list(func() { f.readItem(p, f.itemName(p)) })
		if len(f.items) == 0 {
			p.fail("The list of FETCH items is empty")
		}
		return
	}
	name := f.itemName(p)
	macro, ok := imapFetchMacros[name]
	if !ok {
		f.readItem(p, name)
		return
	}
	for _, name := range macro {
		f.readItem(p, name)
	}
}

// itemName reads an item's name in capitals, with the bracket that follows it.
func (f *imapFetch) itemName(p *imapParser) string {
	name := p.span("a FETCH item", func(b byte) bool {
		return b == '.' || ('0' <= b && b <= '9') || ('A' <= b&^0x20 && b&^0x20 <= 'Z')
	})
	if p.take("[") {
		name += "["
	}
	return strings.ToUpper(name)
}

// readItem reads what follows an item's name.
func (f *imapFetch) readItem(p *imapParser, name string) {
	it := imapFetchItems[name]
	switch {
	case it == nil && p.err == nil:
		p.fail("Unknown FETCH item %.30q", name)
		return
	case len(f.items) == imapWishMax:
		p.fail("Too many FETCH items")
	}
	if p.err != nil {
		return
	}
	w := imapWish{imapFetchItem: it, name: name, section: imapSection{text: it.section}}
	if it.label != "" {
		w.name = it.label
	}
	switch it.args {
	case imapArgSection:
		w.section = p.section()
		if it.binary && w.section.text != "" {
			p.fail("BINARY takes part numbers only")
		}
		w.name += w.section.String()
	case imapArgOptions:
		if p.take(" (") || p.take("(") { // PREVIEW (LAZY): it is never so much work that it could not be done at once
			p.atom()
			p.need(")")
		}
	}
	f.items = append(f.items, w)
}

// readModifier reads a fetch-modifier.
func (f *imapFetch) readModifier(p *imapParser) {
	switch name := strings.ToUpper(p.atom()); name {
	case "CHANGEDSINCE":
		p.space()
		f.since = ModSeq(p.number64())
	case "VANISHED":
		f.vanished = true
	case "PARTIAL":
		p.space()
		f.partial = p.partial()
	default:
		p.fail("Unknown FETCH modifier %.30q", name)
	}
}

// arrange adds the items that go without saying. The UID comes first: clients that get bodies before they know whose they
// are mix them up. All others stay in the order asked for.
func (f *imapFetch) arrange() {
	c := f.c
	if c.uid && !c.uidonly {
		f.items = slices.DeleteFunc(f.items, func(w imapWish) bool { return w.name == "UID" })
		f.items = imapWishFirst(f.items, "UID")
	}
	if f.since >= 0 && !imapWishes(f.items, "MODSEQ") { // RFC 7162 §3.1.4.1
		f.items = append(f.items, imapWish{imapFetchItem: imapFetchItems["MODSEQ"], name: "MODSEQ"})
	}
	if imapWishes(f.items, "MODSEQ") {
		c.enableCondstore()
	}
	for i := range f.items {
		it := &f.items[i]
		f.want = max(f.want, it.want)
		switch {
		case it.put != nil:
		case it.binary:
			f.want = max(f.want, WantTree)
		default:
			f.want = max(f.want, it.section.want())
		}
		f.seen = f.seen || it.seen
	}
	// A client that has enabled CONDSTORE or QRESYNC gets with any flags what it needs to keep them (RFC 7162 §3.1.4, §3.2.4).
	f.told = imapWishFirst(f.items, "FLAGS")
	if c.condstore {
		f.told = imapWishFirst(f.told, "MODSEQ")
	}
	if (c.uid && !c.uidonly) || c.qresync {
		f.told = imapWishFirst(slices.DeleteFunc(slices.Clone(f.told), func(w imapWish) bool { return w.name == "UID" }), "UID")
	}
}

func imapWishes(items []imapWish, name string) bool {
	return slices.ContainsFunc(items, func(w imapWish) bool { return w.name == name })
}

// imapWishFirst puts an item in front of the others unless it is among them.
func imapWishFirst(items []imapWish, name string) []imapWish {
	if imapWishes(items, name) {
		return items
	}
	return append([]imapWish{{imapFetchItem: imapFetchItems[name], name: name}}, items...)
}

// narrow leaves those messages that the modifiers ask for, and tells of the vanished ones. Of a page those are left that have
// changed: a client that watches a window does not want the changes of others (RFC 9394 §3.4).
func (f *imapFetch) narrow() error {
	c := f.c
	if f.partial != nil {
		f.uids = f.partial.of(f.uids)
		if err := c.mayTake(f.uids); err != nil {
			return err
		}
	}
	if f.since >= 0 {
		left, err := read(c.srv.store, f.changed)
		if err != nil {
			return err
		}
		f.uids = left
	}
	f.uids = c.takeHighest(f.uids)
	if !f.vanished || f.set == "$" {
		return nil
	}
	known := (&imapParser{c: c, rest: f.set}).ranges(^uint32(0))
	gone, err := c.vanishedSince(f.since, known, 0)
	if err == nil {
		c.putVanished("(EARLIER) ", gone)
	}
	return err
}

// changed lists those of the messages that have changed since.
func (f *imapFetch) changed(tx *Tx) ([]UID, error) {
	var left []UID
	rest := f.uids
	_, err := tx.Changes(f.c.mbox.ID, f.since, 0, func(m *Message) error {
		i, ok := slices.BinarySearch(rest, m.UID)
		rest = rest[i:]
		if ok {
			left = append(left, m.UID)
		}
		return nil
	})
	return left, err
}

// run sends the messages, and takes their UIDs from a set: a client that reads slowly, or not at all, is no reason to hold a
// list of all.
func (f *imapFetch) run() error {
	seen, err := f.maySee()
	if err != nil {
		return err
	}
	all := imapUIDsOf(f.uids)
	f.uids = nil
	for at := 0; at < all.len(); at += imapFetchStep {
		f.uids = all.appendTo(f.uids[:0], at, min(at+imapFetchStep, all.len()))
		if seen {
			err = f.markAndSend(f.uids)
		} else {
			err = f.send(f.uids)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// markAndSend sets \Seen for some messages at a time, and then sends them: the other way round the client would hear of \Seen
// only after the command, in a second FETCH for each message, and a crash in between would leave unread what it has.
func (f *imapFetch) markAndSend(uids []UID) error {
	for len(uids) > 0 {
		group, unseen, err := f.group(uids)
		if err != nil {
			return err
		}
		f.marked = 0
		if len(unseen) > 0 {
			err = f.markSeen(unseen)
			if err != nil && !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrDiskFull) { // mail can be read all the same
				return err
			}
		}
		if err := f.send(group); err != nil {
			return err
		}
		uids = uids[len(group):]
	}
	return nil
}

// maySee says whether the command is to set \Seen: it has to be asked for, and allowed (RFC 4314 §4).
func (f *imapFetch) maySee() (bool, error) {
	if !f.seen || f.c.readonly || f.c.srv.store.Writable() != nil {
		return false, nil
	}
	have, err := read(f.c.srv.store, func(tx *Tx) (Rights, error) { return tx.RightsOf(f.c.user, f.c.mbox) })
	return have&RightSeen != 0, err
}

// group returns the next messages that are to be sent in one step, and those of them that are not \Seen. They are few enough
// to get it in one short transaction, and so one modseq; and not so large that a lost connection leaves many octets marked
// that the client never saw.
func (f *imapFetch) group(uids []UID) (group, unseen []UID, err error) {
	var size int64
	n := min(len(uids), f.step, listRows)
	err = f.c.srv.store.List(f.c.mbox.ID, uids[:n], WantRow, func(m *Listed) error {
		if size > 0 && size+m.Size > imapSeenBytes {
			n, _ = slices.BinarySearch(uids[:n], m.UID)
			return errListFull
		}
		size += m.Size
		if !m.Gone && m.Flags.Bits&FlagSeen == 0 {
			unseen = append(unseen, m.UID)
		}
		return nil
	})
	if errors.Is(err, errListFull) {
		err = nil
	}
	return uids[:n], unseen, err
}

// markSeen sets \Seen, in one step of which others' commits do not have to wait for long. What they changed in the same
// messages is told with it.
func (f *imapFetch) markSeen(uids []UID) error {
	var res FlagResult
	var err error
	f.step, err = f.c.srv.store.Step(f.step, uids, func(tx *Tx, step []UID) error {
		var err error
		res, err = tx.SetFlags(f.c.mbox, step, FlagChange{Op: '+', Flags: Flags{Bits: FlagSeen}, Unchanged: -1, Known: f.c.seen})
		return err
	})
	f.marked = res.ModSeq
	if err == nil && f.marked != 0 {
		f.c.effects.shown = append(f.c.effects.shown, f.marked)
	}
	return err
}

// send writes a FETCH response for each message.
func (f *imapFetch) send(uids []UID) error {
	return f.c.srv.store.List(f.c.mbox.ID, uids, f.want, func(m *Listed) error {
		if f.want > WantRow && m.Content == nil {
			f.lost++
			return nil
		}
		err := f.sound(m)
		switch {
		case errors.Is(err, ErrNotFound):
			f.lost++
			return nil
		case errors.Is(err, ErrContentDamaged): // the others come all the same
			f.damaged++
			f.c.srv.crew.Complain("imap: a message is damaged", err, "user", f.c.user.Name, "mailbox", f.c.mbox.Name, "uid", m.UID)
			return nil
		case err != nil:
			return err
		case f.undecodable(m):
			return nil
		}
		return f.message(m)
	})
}

// sound checks what the items are made of before anything is said of the message: a literal's length can't be taken back.
func (f *imapFetch) sound(m *Listed) error {
	if f.want <= WantRow {
		return nil
	}
	err := m.Content.Ready(f.want)
	if err == nil && f.want > WantHead && m.Form&FormBinary != 0 { // all of it is encoded again
		err = m.Content.Sound(0, m.Content.Size)
	}
	for i := range f.items {
		if err != nil {
			return err
		}
		err = f.items[i].sound(m.Content)
	}
	return err
}

// message writes one response:
//
//	message-data = nz-number SP ("FETCH" SP msg-att), or with UIDONLY (RFC 9586) uniqueid SP "UIDFETCH" SP msg-att
func (f *imapFetch) message(m *Listed) error {
	c := f.c
	if m.Flags.Words != f.words { // no keyword is used before FLAGS has named it (RFC 9051 §7.3.5)
		if err := c.tellWords(m.Flags.Words); err != nil {
			return err
		}
		f.words = m.Flags.Words
	}
	w := c.w
	w.WriteString("* ")
	if c.uidonly {
		c.putInt(int64(m.UID))
		w.WriteString(" UIDFETCH (")
	} else {
		n, _ := c.seq(m.UID)
		c.putInt(int64(n))
		w.WriteString(" FETCH (")
	}
	items := f.items
	if f.marked != 0 && m.ModSeq == f.marked {
		items = f.told
	}
	for i := range items {
		if i > 0 {
			w.WriteByte(' ')
		}
		if err := f.putItem(m, &items[i]); err != nil {
			return err
		}
	}
	if _, err := w.WriteString(")\r\n"); err != nil {
		return imapErrLost
	}
	return nil
}

func (f *imapFetch) putItem(m *Listed, it *imapWish) error {
	f.c.w.WriteString(it.name)
	f.c.w.WriteByte(' ')
	switch {
	case it.put != nil:
		return it.put(f.c, m, it)
	case it.binary:
		return f.putBinary(m.Content, it)
	}
	return f.putSection(m, it)
}

func (c *imapConn) fetchUID(m *Listed, _ *imapWish) error { c.putInt(int64(m.UID)); return nil }

func (c *imapConn) fetchFlags(m *Listed, _ *imapWish) error {
	c.w.Write(m.Flags.appendList(c.w.AvailableBuffer(), !c.rev2 && c.isRecent(m.UID)))
	return nil
}

func (c *imapConn) fetchInternal(m *Listed, _ *imapWish) error {
	c.putDate(m.Internal)
	return nil
}

// putDate writes date-time (RFC 9051 §9), in UTC.
func (c *imapConn) putDate(t time.Time) {
	c.w.Write(t.UTC().AppendFormat(c.w.AvailableBuffer(), `"02-Jan-2006 15:04:05 -0700"`))
}

// fetchSize writes the size of what BODY[] gives.
func (c *imapConn) fetchSize(m *Listed, _ *imapWish) error {
	size := m.Size
	if m.Form&FormBinary != 0 && m.Form&FormSized == 0 { // from before that was known, and not yet looked at (sizeOld)
		var err error
		size, err = c.textualSize(m)
		if err != nil {
			return c.unreadable(err)
		}
	}
	c.putInt(size)
	return nil
}

// unreadable ends the connection: part of an answer is on its way, and the rest can't be read.
func (c *imapConn) unreadable(err error) error {
	c.log.Error("imap fetch", "user", c.user.Name, "err", err)
	return imapErrLost
}

func (c *imapConn) fetchModSeq(m *Listed, _ *imapWish) error {
	c.w.WriteByte('(')
	c.putInt(int64(m.ModSeq))
	c.w.WriteByte(')')
	return nil
}

func (c *imapConn) fetchSaved(m *Listed, _ *imapWish) error {
	c.putDate(m.Saved)
	return nil
}

// fetchEmailID writes an id that all copies of a message share.
func (c *imapConn) fetchEmailID(m *Listed, _ *imapWish) error {
	c.putf("(M%d)", m.Blob)
	return nil
}

func (c *imapConn) fetchThreadID(m *Listed, _ *imapWish) error {
	if m.Thread == 0 {
		c.w.WriteString("NIL")
		return nil
	}
	c.putf("(T%x)", m.Thread)
	return nil
}

func (c *imapConn) fetchStructure(m *Listed, it *imapWish) error {
	content, err := c.textual(m.Form, m.Content)
	if err != nil {
		return c.unreadable(err)
	}
	if it.name == "BODY" {
		c.putBody(content.Tree())
	} else {
		c.putBodyStructure(content.Tree())
	}
	return nil
}

// imapPreviewMax is the length of a preview in characters (RFC 8970 §3.1).
const imapPreviewMax = 200

// fetchPreview writes the beginning of what the message says. It may be in UTF-8 whatever the client has enabled.
func (c *imapConn) fetchPreview(m *Listed, it *imapWish) error {
	s := Preview(m.Content.Tree(), m.Content, imapPreviewMax)
	if it.name == "SNIPPET" {
		c.w.WriteString("(FUZZY ")
		defer c.w.WriteByte(')')
	}
	c.putString(s)
	return nil
}
