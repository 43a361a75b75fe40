// Moving in: mail out of files becomes messages of a user's mailboxes, many for each commit.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	importBatch = 100      // messages that share a commit, at most
	importBytes = 4 << 20  // octets that share a commit, about
	importLook  = 4 << 10  // octets that show what a file is
	importSkips = 50       // reasons that are told apart
	emlxEnd     = 64 << 10 // octets of Apple's list behind a message
)

// importer appends messages to the mailboxes of one user. The caller sets st, user, limit and box, calls read for each file,
// flush at the end, and close in any case. What is no mail, or can't be taken, is skipped and counted with its reason: an error
// of read or flush is one that ends the import, such as a full disk.
type importer struct {
	st     *Store
	user   User
	limit  int64   // octets of a message
	box    Mailbox // for what names no other
	labels bool    // Gmail's labels choose mailboxes

	tell  func(n int) // called after each message that was stored; nil is nobody
	count int         // messages stored
	skips []importSkip

	boxes   map[string]Mailbox
	pending []importItem
	bytes   int64
	bare    []string // those of the last batch whose keywords stayed away
}

// importSkip is what was left out for one reason.
type importSkip struct {
	Why   string
	Count int
	First string // the name of the first file
}

// importSource is where mail comes from, and what is known of it beside its octets.
type importSource struct {
	name  string    // of the file, for people
	box   string    // mailbox, "" for the importer's
	date  time.Time // when it arrived; zero if only the message knows
	flags Flags
	mail  bool // it is a message, whatever it looks like (a Maildir's cur and new)
}

type importItem struct {
	spool *Spool
	box   string
	flags Flags
	date  time.Time
	name  string
	facts []byte // the fields of a mail program's notes, which are not in the spool
}

// skip counts something that was left out.
func (im *importer) skip(name, why string) {
	i := slices.IndexFunc(im.skips, func(s importSkip) bool { return s.Why == why })
	if i < 0 {
		if len(im.skips) == importSkips {
			why = "other reasons"
		}
		im.skips = append(im.skips, importSkip{Why: why, First: name})
		i = len(im.skips) - 1
	}
	im.skips[i].Count++
}

// close drops what an import that failed has not stored.
func (im *importer) close() {
	for _, it := range im.pending {
		it.spool.Close()
	}
	im.pending = nil
}

// What files are that are no mail, by their first octets, and what their owner can do.
var importForeign = []struct{ magic, why string }{
	{"!BDN", "an Outlook archive (.pst, .ost): add the account here to Outlook by IMAP and drag the folders over, or convert it with readpst -r"},
	{"\xd0\xcf\x11\xe0", "an Outlook message (.msg) or an Office file: save it as .eml"},
	{"\xcf\xad\x12\xfe", "an Outlook Express folder (.dbx): convert it to mbox first"},
	{"PK\x03\x04", "a zip archive that holds no mail, or is inside another archive: unpack it first"},
	{"\x1f\x8b", "compressed (.gz): unpack it first"},
	{"BZh", "compressed (.bz2): unpack it first"},
	{"\xfd7zXZ", "compressed (.xz): unpack it first"},
	{"7z\xbc\xaf", "a 7-Zip archive: unpack it first"},
	{"Rar!", "a RAR archive: unpack it first"},
	{"SQLite format 3", "a database of another program"},
	{"BEGIN:VCARD", "an address book: the page of contacts takes it"},
	{"BEGIN:VCALENDAR", "a calendar"},
	{"\x01\x01\x01\x01", "an MMDF folder: convert it to mbox first"},
	{"BABYL OPTIONS", "a Babyl folder of Rmail: convert it to mbox first"},
}

const importNoMail = "no mail: it has no header"

// read takes the messages out of a file: an mbox, one message as it was sent, or one as Apple Mail keeps it (.emlx).
func (im *importer) read(r *bufio.Reader, src importSource) error {
	if err := skipBlanks(r); err != nil {
		return err
	}
	start, err := r.Peek(importLook)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	if len(start) == 0 { // an empty folder, as mbox has it
		return nil
	}
	if text := plainLines(r, start); text != nil {
		return im.read(bufio.NewReaderSize(text, mboxLine), src)
	}
	for _, f := range importForeign {
		if bytes.HasPrefix(start, []byte(f.magic)) {
			im.skip(src.name, f.why)
			return nil
		}
	}
	first, rest, _ := bytes.Cut(start, []byte("\n"))
	switch {
	case bytes.HasPrefix(start, []byte("From ")) && (isFieldLine(rest) || !mboxDate(string(first)).IsZero()):
		return im.mbox(r, src)
	case emlxLine.Match(first) && looksLikeMail(rest, 2):
		return im.emlx(r, src)
	case src.mail && bytes.IndexByte(start, 0) < 0, looksLikeMailFile(start):
		return im.message(r, src)
	case strings.EqualFold(filepath.Ext(src.name), ".eml") && looksLikeMail(start, 1): // its name says so, too
		return im.message(r, src)
	}
	im.skip(src.name, importNoMail)
	return nil
}

// plainLines turns UTF-16 with its mark into UTF-8, and CRs, where there is no LF, into line ends, as old programs of Windows and
// Macintosh wrote them. nil is what needs nothing of that.
func plainLines(r io.Reader, start []byte) io.Reader {
	switch {
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return CharsetReader("utf-16", r)
	case bytes.IndexByte(start, '\n') < 0 && bytes.IndexByte(start, '\r') >= 0:
		return &bareCRs{r}
	}
	return nil
}

// bareCRs makes LFs of CRs.
type bareCRs struct{ r io.Reader }

func (c *bareCRs) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// skipBlanks passes over a byte order mark and lines without anything but blanks in front of the first message.
func skipBlanks(r *bufio.Reader) error {
	if mark, _ := r.Peek(3); string(mark) == "\ufeff" {
		r.Discard(3)
	}
	for {
		line, err := r.Peek(importLook)
		if len(line) == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		n := bytes.IndexByte(line, '\n') + 1
		if n == 0 && errors.Is(err, io.EOF) {
			n = len(line)
		}
		if n == 0 || len(bytes.TrimLeft(line[:n], " \t\r\n")) > 0 {
			return nil
		}
		r.Discard(n)
	}
}

// mailFields are fields one of which each mail has, and other files with "Name: value" at their beginning have not.
var mailFields = []string{"from", "to", "cc", "bcc", "subject", "date", "message-id", "received", "return-path", "mime-version", "content-type", "sender",
	"reply-to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-from", "in-reply-to", "references", "x-mozilla-status", "x-gmail-labels",
	"x-apparently-to", "resent-from", "status", "x-uid", "x-mailer", "dkim-signature", "arc-seal", "authentication-results"}

// isFieldLine says whether the first line is a header field.
func isFieldLine(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && isFieldName(strings.TrimRight(string(name), " \t"))
}

// looksLikeMail says whether octets begin with a header that mail has: fields, one of them mail's own; or so many of mail's own, and then
// a line that is no field, as damaged mail has it. They may be cut off anywhere.
func looksLikeMail(b []byte, enough int) bool {
	known := 0
	for n := 0; len(b) > 0; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		b = rest
		line = bytes.TrimRight(line, "\r")
		switch {
		case len(line) == 0:
			return known > 0
		case n > 0 && (line[0] == ' ' || line[0] == '\t'):
		case n > 0 && bytes.HasPrefix(line, []byte(">From ")):
		case isFieldLine(line):
			name, _, _ := strings.Cut(string(line), ":")
			if slices.Contains(mailFields, strings.ToLower(strings.TrimRight(name, " \t"))) {
				known++
			}
		case !whole: // cut off
		default:
			return known >= enough
		}
	}
	return known > 0
}

// looksLikeMailFile says so of the beginning of a file. One that ends without an empty line must have as many fields as damaged mail.
func looksLikeMailFile(start []byte) bool {
	if len(start) < importLook {
		start = append(bytes.Clone(start), '.', '\n')
		if start[len(start)-3] != '\n' {
			start = slices.Insert(start, len(start)-2, '\n')
		}
	}
	return looksLikeMail(start, 2)
}

// message takes a file that is one message.
func (im *importer) message(r io.Reader, src importSource) error {
	sp := im.st.NewIncoming(im.limit)
	_, err := io.Copy(&crlfWriter{w: sp}, r)
	if errors.Is(err, ErrTooBig) {
		sp.Close()
		im.skip(src.name, im.tooBig())
		return nil
	}
	if err != nil {
		sp.Close()
		return err
	}
	return im.add(importItem{spool: sp, box: src.box, date: src.date, flags: src.flags, name: src.name})
}

func (im *importer) tooBig() string {
	return fmt.Sprintf("bigger than the %d MB that a message may have here ([limits] message)", im.limit>>20)
}

var (
	emlxLine  = regexp.MustCompile(`^[0-9]+ *\r?$`)
	emlxFlags = regexp.MustCompile(`<key>flags</key>\s*<integer>([0-9]+)</integer>`)
	emlxDate  = regexp.MustCompile(`<key>date-received</key>\s*<(?:integer|real)>([0-9]+)`)
)

// emlx takes a message of Apple Mail: its length in a line of its own, the message, and a list of properties.
func (im *importer) emlx(r *bufio.Reader, src importSource) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		im.skip(src.name, importNoMail)
		return nil
	}
	sp := im.st.NewIncoming(im.limit)
	n, err := io.Copy(&crlfWriter{w: sp}, io.LimitReader(r, size))
	if errors.Is(err, ErrTooBig) {
		sp.Close()
		im.skip(src.name, im.tooBig())
		return nil
	}
	if err != nil {
		sp.Close()
		return err
	}
	if n < size {
		sp.Close()
		im.skip(src.name, "a message that is cut off")
		return nil
	}
	list, err := io.ReadAll(io.LimitReader(r, emlxEnd))
	if err != nil {
		sp.Close()
		return err
	}
	it := importItem{spool: sp, box: src.box, date: src.date, flags: src.flags, name: src.name}
	if m := emlxFlags.FindSubmatch(list); m != nil {
		bits, _ := strconv.ParseUint(string(m[1]), 10, 64)
		for i, f := range map[int]FlagBits{0: FlagSeen, 1: FlagDeleted, 2: FlagAnswered, 4: FlagFlagged, 6: FlagDraft, 8: FlagForwarded} {
			if bits&(1<<i) != 0 {
				it.flags.Bits |= f
			}
		}
	}
	if m := emlxDate.FindSubmatch(list); m != nil {
		at, _ := strconv.ParseInt(string(m[1]), 10, 64)
		it.date = time.Unix(at, 0)
	}
	return im.add(it)
}

// importFacts are what other programs note in the header of a message.
type importFacts struct {
	flags  Flags
	drop   string // why the message is left out
	box    string
	labels bool
}

// facts reads the fields that Thunderbird, mutt, UW-IMAP and Gmail leave in the messages of their files.
func (im *importer) facts(h Header) importFacts {
	f := importFacts{flags: mboxFlags(strings.Join(h.All("Status"), "") + strings.Join(h.All("X-Status"), ""))}
	word := func(name string) {
		if with, ok := f.flags.ParseFlag(name); ok {
			f.flags = with
		}
	}
	if h.Has("X-IMAP") || h.Has("X-IMAPbase") {
		if strings.Contains(h.Get("Subject"), "FOLDER INTERNAL DATA") {
			f.drop = "a folder's own data of a mail program"
		}
	}
	if bits, err := strconv.ParseUint(strings.TrimSpace(h.Get("X-Mozilla-Status")), 16, 32); err == nil {
		if bits&8 != 0 {
			f.drop = "deleted in Thunderbird, whose folder was not compacted"
		}
		for bit, flag := range map[uint64]FlagBits{1: FlagSeen, 2: FlagAnswered, 4: FlagFlagged, 0x1000: FlagForwarded} {
			if bits&bit != 0 {
				f.flags.Bits |= flag
			}
		}
	}
	for _, field := range []string{"X-Mozilla-Keys", "X-Keywords"} {
		for _, name := range strings.Fields(strings.ReplaceAll(h.Get(field), ",", " ")) {
			word(name)
		}
	}
	if h.Has("X-Gmail-Labels") {
		f.labels = true
		f.gmail(strings.Join(strings.Fields(h.Text("X-Gmail-Labels")), " "), word)
	}
	return f
}

// Gmail's own labels: mailboxes and flags that they stand for. "Opened" and the categories are none.
var (
	gmailBoxes  = map[string]string{"inbox": "INBOX", "sent": "Sent", "drafts": "Drafts", "draft": "Drafts", "spam": "Junk", "trash": "Trash", "bin": "Trash", "archived": "Archive"}
	gmailIgnore = []string{"opened", "unread", "important", "starred", "chat", "chats", "muted"}
)

// gmail reads labels: the first of one's own is the mailbox, the others are keywords as far as they can be.
func (f *importFacts) gmail(labels string, word func(string)) {
	system := ""
	f.flags.Bits |= FlagSeen
	for _, label := range splitLabels(labels) {
		key := strings.ToLower(label)
		box, known := gmailBoxes[key]
		switch {
		case key == "unread":
			f.flags.Bits &^= FlagSeen
		case key == "starred":
			f.flags.Bits |= FlagFlagged
		case key == "important":
			word("$Important")
		case known && (system == "" || box == "INBOX"):
			system = box
		case known, slices.Contains(gmailIgnore, key), strings.HasPrefix(key, "category "):
		default:
			if f.box == "" {
				f.box = label
				continue
			}
			word(strings.Map(keywordRune, label))
		}
	}
	if f.box == "" || system == "Trash" || system == "Junk" {
		f.box = system
	}
	if f.box == "" {
		f.box = "Archive"
	}
}

// keywordRune makes a label's character one that a keyword may have.
func keywordRune(r rune) rune {
	if r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) {
		return '_'
	}
	return r
}

// splitLabels divides at commas that are not within quotation marks.
func splitLabels(s string) []string {
	var all []string
	var one strings.Builder
	quoted := false
	for _, r := range s + "," {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			if label := strings.TrimSpace(one.String()); label != "" {
				all = append(all, label)
			}
			one.Reset()
		default:
			one.WriteRune(r)
		}
	}
	return all
}

// add takes a message that is whole, stores a batch when it is full, and has spool closed in any case.
func (im *importer) add(it importItem) error {
	head, err := it.spool.Head()
	if err != nil {
		it.spool.Close()
		return err
	}
	h := ParseHeader(head)
	facts := im.facts(slices.Concat(ParseHeader(it.facts), h))
	if facts.drop != "" {
		it.spool.Close()
		im.skip(it.name, facts.drop)
		return nil
	}
	it.flags = it.flags.With(facts.flags)
	if facts.labels {
		it.flags.Bits = it.flags.Bits&^FlagSeen | facts.flags.Bits
		if im.labels {
			it.box = facts.box
		}
	}
	if it.date.IsZero() {
		it.date = arrivalOf(h)
	}
	if it.date.IsZero() {
		it.date = im.st.Now()
	}
	im.pending = append(im.pending, it)
	im.bytes += it.spool.Size()
	if len(im.pending) < importBatch && im.bytes < importBytes {
		return nil
	}
	return im.flush()
}

// arrivalOf is when a message arrived, as its topmost Received says, or was written.
func arrivalOf(h Header) time.Time {
	_, date, ok := strings.Cut(h.Get("Received"), ";")
	if t, err := ParseDate(strings.TrimSpace(date)); ok && err == nil {
		return t
	}
	t, _ := ParseDate(h.Get("Date"))
	return t
}

// flush stores what has been read so far.
func (im *importer) flush() error {
	defer im.close()
	size := im.bytes
	im.bytes = 0
	for _, it := range im.pending {
		if _, err := im.mailbox(it.box); err != nil {
			return err
		}
	}
	if err := im.st.Room(size); err != nil {
		return err
	}
	if err := im.st.Write(im.addPending); err != nil {
		return err
	}
	for _, name := range im.bare {
		im.skip(name, "keywords only, of messages that were taken: more than a mailbox can have, or such as none can")
	}
	for range im.pending {
		im.count++
		if im.tell != nil {
			im.tell(im.count)
		}
	}
	return nil
}

// addPending adds what waits to its mailboxes.
func (im *importer) addPending(tx *Tx) error {
	im.bare = im.bare[:0]
	for _, it := range im.pending {
		b, err := tx.AddBlob(it.spool)
		if err != nil {
			return err
		}
		b.Form |= FormBrought
		_, whole, err := tx.AppendAnyway(im.boxes[it.box], b, it.flags, it.date)
		if err != nil {
			return err
		}
		if !whole {
			im.bare = append(im.bare, it.name)
		}
	}
	return nil
}

// mailbox finds a mailbox, or makes it and subscribes to it: Thunderbird shows nothing else. A name that no mailbox can have
// leads to the importer's own.
func (im *importer) mailbox(name string) (Mailbox, error) {
	if im.boxes == nil {
		im.boxes = map[string]Mailbox{"": im.box}
	}
	if m, ok := im.boxes[name]; ok {
		return m, nil
	}
	canonical := CanonicalName(name)
	m, err := write(im.st, func(tx *Tx) (Mailbox, error) {
		m, err := tx.MailboxByName(im.user.ID, canonical)
		if errors.Is(err, ErrNotFound) {
			return tx.CreateTree(im.user, Place{Owner: im.user.ID, Name: canonical})
		}
		return m, err
	})
	if errors.Is(err, ErrMailboxName) {
		im.skip(name, "not left out, but put into "+im.box.Name+": no mailbox can have that name")
		m, err = im.box, nil
	}
	if err == nil {
		im.boxes[name] = m
	}
	return m, err
}

// archived imports a file of an archive. Whatever the archive says of its size, each message has the limit.
func (im *importer) archived(f *zip.File, src importSource) error {
	r, err := f.Open()
	if err != nil {
		im.skip(f.Name, "damaged in the archive")
		return nil
	}
	defer r.Close()
	err = im.read(bufio.NewReaderSize(r, mboxLine), src)
	if errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) {
		im.skip(f.Name, "damaged in the archive")
		return nil
	}
	return err
}
