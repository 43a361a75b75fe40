// Whole mailboxes in and out: mbox files taken apart and written, many messages for each commit.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	mboxLine    = 64 << 10 // longest piece of a line handled at once
	mboxFrom    = 1000     // octets of a From line, at most
	mboxFacts   = 64 << 10 // octets of a message's Status fields and the like
	mboxLookout = 200      // octets of the line after a From line that show whether it is a header's
)

// mboxReader takes an mbox file apart: messages begin with a From line, ">From " loses a ">" (mboxrd), the empty line at the end
// is not the message's, and the fields in which mail programs keep flags and keywords are no part of it.
type mboxReader struct {
	im    *importer
	src   importSource
	r     *bufio.Reader
	item  *importItem
	out   *crlfWriter
	large bool // the message has more than the limit
	n     int  // messages begun
	head  bool // still in the header block
	drops bool // the field in hand is left out
	held  bool // an empty line that is written when something follows it
	start bool // at the start of a line
}

// mbox reads an mbox file to its end.
func (im *importer) mbox(r *bufio.Reader, src importSource) error {
	m := &mboxReader{im: im, src: src, r: r, start: true, held: true}
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if err := m.piece(line); err != nil {
				m.drop()
				return fmt.Errorf("message %d: %w", m.n, err)
			}
		}
		if err == io.EOF {
			return m.finish()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			m.drop()
			return err
		}
	}
}

// drop gives up the message in hand.
func (m *mboxReader) drop() {
	if m.item != nil {
		m.item.spool.Close()
		m.item = nil
	}
}

// begins says whether a line begins a message, and when that arrived. A line that could be text somebody forgot to quote must
// have a date that can be read, and a header behind it; the line before it must be empty, or the header one of a mail.
func (m *mboxReader) begins(line []byte) (time.Time, bool) {
	if !bytes.HasPrefix(line, []byte("From ")) || len(line) > mboxFrom {
		return time.Time{}, false
	}
	text := string(line) // looking ahead moves what the line is a part of
	next, _ := m.r.Peek(mboxLookout)
	date := mboxDate(text)
	header := isFieldLine(next) || bytes.HasPrefix(next, []byte(">From "))
	switch {
	case m.item == nil:
		return date, true
	case m.held && !date.IsZero():
		return date, header || len(bytes.TrimLeft(next, "\r\n")) < len(next) || len(next) == 0
	case m.held:
		return date, header && looksLikeMail(next, 2) && mboxSender(text)
	}
	return date, !date.IsZero() && isFieldLine(next) && looksLikeMail(next, 2)
}

// mboxSender says whether a From line without a date that can be read has a sender, and digits for a date.
func mboxSender(line string) bool {
	f := strings.Fields(line)
	if len(f) < 3 {
		return len(f) == 1 || strings.Contains(f[1], "@")
	}
	named := f[1] == "-" || strings.ContainsAny(f[1], "@!") || f[1] == strings.ToUpper(f[1])
	return named && strings.ContainsAny(strings.Join(f[2:], ""), "0123456789")
}

// piece handles a line, or a part of a very long one. line is not valid any more when it returns.
func (m *mboxReader) piece(line []byte) error {
	start := m.start
	m.start = line[len(line)-1] == '\n'
	if start && bytes.HasPrefix(line, []byte("From ")) {
		line = bytes.Clone(line)
		if date, yes := m.begins(line); yes {
			return m.begin(date)
		}
	}
	if m.item == nil {
		return nil
	}
	empty := start && len(bytes.TrimRight(line, "\r\n")) == 0
	if m.head && !empty {
		if start {
			m.drops = m.leavesOut(line)
		}
		if m.drops {
			if len(m.item.facts) < mboxFacts {
				m.item.facts = append(m.item.facts, line...)
			}
			return nil
		}
	}
	if m.held {
		if err := m.write([]byte("\n")); err != nil {
			return err
		}
	}
	m.held = empty && !m.head
	m.head = m.head && !empty
	if m.held {
		return nil
	}
	if start && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		line = line[1:]
	}
	return m.write(line)
}

// leavesOut says whether a line of the header is a mail program's note, or goes on with one.
func (m *mboxReader) leavesOut(line []byte) bool {
	if line[0] == ' ' || line[0] == '\t' {
		return m.drops
	}
	name, _, _ := strings.Cut(string(line), ":")
	switch strings.ToLower(name) {
	case "status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase", "x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys":
		return true
	}
	return false
}

func (m *mboxReader) write(b []byte) error {
	if m.large {
		return nil
	}
	_, err := m.out.Write(b)
	if errors.Is(err, ErrTooBig) {
		m.large = true
		return nil
	}
	return err
}

func (m *mboxReader) begin(date time.Time) error {
	if err := m.finish(); err != nil {
		return err
	}
	m.n++
	m.item = &importItem{spool: m.im.st.NewIncoming(m.im.limit), box: m.src.box, flags: m.src.flags, date: date, name: fmt.Sprintf("%s, message %d", m.src.name, m.n)}
	m.out = &crlfWriter{w: m.item.spool}
	m.large, m.head, m.drops, m.held = false, true, false, false
	return nil
}

// finish hands over the message in hand.
func (m *mboxReader) finish() error {
	if m.item == nil {
		return nil
	}
	item := *m.item
	m.item = nil
	if m.large {
		item.spool.Close()
		m.im.skip(item.name, m.im.tooBig())
		return nil
	}
	return m.im.add(item)
}

// mboxLayouts are the dates of From lines: asctime's, with or without seconds and a zone, ISO 8601, and those of mail.
var mboxLayouts = []string{
	"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04 2006", "Mon Jan 2 15:04:05 MST 2006", "Mon Jan 2 15:04 MST 2006", "Mon Jan 2 15:04:05 -0700 2006",
	"Mon Jan 2 15:04 -0700 2006", "Mon Jan 2 15:04:05 2006 -0700", "Mon Jan 2 15:04:05 2006 MST", "Mon Jan 2 15:04 2006 -0700", "Jan 2 15:04:05 2006",
	"Jan 2 15:04 2006", "Mon Jan 2 2006 15:04:05", "Mon Jan 2 15:04:05.000 2006", "Mon Jan 2 3:04:05 PM 2006",
	"2006-01-02 15:04:05", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05 -07:00", "2006-01-02 15:04", "2006-01-02T15:04:05",
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05-0700", "2006/01/02 15:04:05",
	"Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04", "2 Jan 2006 15:04:05 -0700",
	"2 Jan 2006 15:04:05", "2 Jan 2006 15:04", "2 Jan 06 15:04", "Mon Jan 2 15:04:05 06",
}

// mboxDate reads the date of a From line, which is local time unless it has a zone. It stands behind a sender of one or more
// words, and "remote from somewhere" may stand behind it. Zero is none: text that somebody forgot to quote.
func mboxDate(line string) time.Time {
	f := strings.Fields(line)
	for i := range f {
		if i > 3 && f[i] == "remote" && i+1 < len(f) && f[i+1] == "from" {
			f = f[:i]
			break
		}
	}
	for first := 1; first < len(f); first++ {
		date := strings.Join(f[first:], " ")
		for _, layout := range mboxLayouts {
			if t, err := time.ParseInLocation(layout, date, time.Local); err == nil {
				return t
			}
		}
		// "MET DST": two words for the zone
		if n := len(f); first+6 < n && len(f[n-2]) == 3 && strings.ToUpper(f[n-2]) == "DST" {
			short := append(slices.Clone(f[first:n-2]), f[n-1])
			if t, err := time.ParseInLocation("Mon Jan 2 15:04:05 MST 2006", strings.Join(short, " "), time.Local); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// mboxFlags reads the Status and X-Status fields that mbox programs keep flags in.
func mboxFlags(s string) Flags {
	var f Flags
	for i, c := range "RAFDT" {
		if strings.ContainsRune(s, c) {
			f.Bits |= []FlagBits{FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft}[i]
		}
	}
	return f
}

// exportName makes a file name that can't leave its folder, whatever the mailbox is called.
func exportName(i int, mailbox string) string {
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == ':' || r < ' ' || strings.ContainsRune(`*?"<>|`, r) {
			return '_'
		}
		return r
	}, mailbox)
	if len(safe) > 100 {
		safe = strings.ToValidUTF8(safe[:100], "")
	}
	return fmt.Sprintf("%03d-%s.mbox", i+1, strings.TrimLeft(safe, "."))
}

// unreadableError is what an export ends with that had to leave messages out, and has all others.
type unreadableError struct {
	messages int   // left out, as far as can be told
	first    error // why the first of them was
}

func (e *unreadableError) Error() string {
	return fmt.Sprintf("%d messages can't be read and were left out, the first because of: %v", e.messages, e.first)
}

func (e *unreadableError) Unwrap() error { return e.first }

const exportGap = 16 // UIDs that are passed over where the list of messages can't be read

// exportBox writes a mailbox as mboxrd: LF line ends, lines that begin like a From line get another ">". It returns how many
// messages there are in it. What can't be read is left out and counted: then the error is an *unreadableError, and all else is there.
func exportBox(st *Store, m Mailbox, out io.Writer) (int, error) {
	w := bufio.NewWriterSize(out, mboxLine)
	left := &unreadableError{}
	n := 0
	for next := UID(1); next != 0; {
		batch, err := exportBatch(st, m, next)
		if err != nil && (errors.Is(err, ErrClosed) || (len(batch) == 0 && next >= m.UIDNext)) {
			return n, err
		}
		from := next
		next = 0
		for _, r := range batch {
			next = r.UID + 1
			err := exportMessage(st, w, r)
			if errors.Is(err, errExportOut) {
				return n, err
			}
			if err != nil {
				left.add(1, fmt.Errorf("message %d: %w", r.UID, err))
				continue
			}
			n++
		}
		if err != nil && len(batch) == 0 {
			left.add(0, err)
			next = from + exportGap
		}
	}
	if err := w.Flush(); err != nil || left.first == nil {
		return n, err
	}
	left.messages = max(left.messages, int(m.Exists)-n)
	return n, left
}

func (e *unreadableError) add(messages int, err error) {
	e.messages += messages
	if e.first == nil {
		e.first = err
	}
}

// exportBatch lists some messages. What comes before an error is good.
func exportBatch(st *Store, m Mailbox, next UID) ([]Message, error) {
	var batch []Message
	err := st.Read(func(tx *Tx) error {
		return tx.Messages(m.ID, next, ^UID(0), func(x *Message) error {
			if !x.Gone {
				batch = append(batch, *x)
			}
			if len(batch) == importBatch {
				return io.EOF
			}
			return nil
		})
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return batch, err
}

// errExportOut is why nothing more can be written.
var errExportOut = errors.New("writing the file")

func exportMessage(st *Store, w *bufio.Writer, m Message) error {
	c, err := st.Content(m.Blob)
	if err == nil && m.Form&FormBinary != 0 { // which an mbox can't hold: its line ends are LF
		c, err = c.WithoutBinary()
	}
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(io.Discard, c.Reader()) // all of it or nothing
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From MAILER-DAEMON %s\n", m.Internal.Format(time.ANSIC))
	status := ""
	for i, b := range []FlagBits{FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft} {
		if m.Flags.Bits&b != 0 {
			status += "AFDT"[i : i+1]
		}
	}
	if m.Flags.Bits&FlagSeen != 0 {
		w.WriteString("Status: RO\n")
	}
	if status != "" {
		fmt.Fprintf(w, "X-Status: %s\n", status)
	}
	keywords := slices.DeleteFunc(m.Flags.Names(), func(name string) bool { return name[0] == '\\' })
	if len(keywords) > 0 {
		fmt.Fprintf(w, "X-Keywords: %s\n", strings.Join(keywords, " "))
	}
	r := bufio.NewReaderSize(c.Reader(), mboxLine)
	start := true
	for {
		line, err := r.ReadSlice('\n')
		if start && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			w.WriteByte('>')
		}
		if k := len(line); k > 0 {
			start = line[k-1] == '\n'
			if start {
				line = append(bytes.TrimRight(line, "\r\n"), '\n')
			}
			w.Write(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	if !start {
		w.WriteByte('\n')
	}
	err = w.WriteByte('\n') // the first fault stays
	if err != nil {
		return fmt.Errorf("%w: %w", errExportOut, err)
	}
	return nil
}
