// Whole mailboxes in and out: mbox files taken apart and written, many messages for each commit.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	importBatch = 100      // messages that share a commit, at most
	importBytes = 4 << 20  // octets that share a commit, about
	mboxLine    = 64 << 10 // longest piece of a line handled at once
)

// importer appends messages to one mailbox, many for each commit.
type importer struct {
	st      *Store
	limit   int64
	box     Mailbox
	pending []importItem
	bytes   int64
	count   int
	tell    func(n int)
}

type importItem struct {
	spool *Spool
	flags Flags
	date  time.Time
}

// maildirFlags reads the flags from the end of a Maildir file's name (":2,FRS").
func maildirFlags(name string) (f Flags) {
	_, info, _ := strings.Cut(name, ":2,")
	for i, c := range "SRFTD" {
		if strings.ContainsRune(info, c) {
			f.Bits |= []FlagBits{FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft}[i]
		}
	}
	if strings.ContainsRune(info, 'P') {
		f.Bits |= FlagForwarded
	}
	return f
}

// mboxReader takes an mbox file apart: messages begin with a "From " line after an empty line, ">From " loses a ">"
// (mboxrd), the empty line at the end is not the message's, and Status and X-Status become flags.
type mboxReader struct {
	im     *importer
	item   *importItem
	out    *crlfWriter
	status string // of the Status fields
	head   bool   // still in the header block
	held   bool   // an empty line that is written when something follows it
	start  bool   // at the start of a line
}

// read imports an mbox file, or one message with the date and flags it is said to have.
func (im *importer) read(r *bufio.Reader, date time.Time, flags Flags) error {
	switch start, err := r.Peek(5); {
	case len(start) == 0 && err == io.EOF: // an empty folder, as mbox has it
		return nil
	case string(start) == "From ":
		return im.mbox(r)
	}
	item := importItem{spool: im.st.NewSpool(im.limit), date: date, flags: flags}
	if _, err := io.Copy(&crlfWriter{w: item.spool}, r); err != nil {
		item.spool.Close()
		return err
	}
	return im.add(item)
}

func (im *importer) mbox(r *bufio.Reader) error {
	m := &mboxReader{im: im, start: true, held: true}
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if err := m.piece(line); err != nil {
				return fmt.Errorf("message %d: %w", im.count+len(im.pending)+1, err)
			}
		}
		if err == io.EOF {
			return m.finish()
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// piece handles a line, or a part of a very long one.
func (m *mboxReader) piece(line []byte) error {
	start := m.start
	m.start = line[len(line)-1] == '\n'
	if start && m.held && bytes.HasPrefix(line, []byte("From ")) && (m.item == nil || !mboxDate(string(line)).IsZero()) {
		if err := m.finish(); err != nil {
			return err
		}
		m.item = &importItem{spool: m.im.st.NewSpool(m.im.limit), date: mboxDate(string(line))}
		m.out, m.status, m.head, m.held = &crlfWriter{w: m.item.spool}, "", true, false
		return nil
	}
	if m.item == nil {
		return nil
	}
	empty := start && len(bytes.TrimRight(line, "\r\n")) == 0
	if m.head && start {
		name, value, _ := strings.Cut(string(line), ":")
		if strings.EqualFold(name, "Status") || strings.EqualFold(name, "X-Status") {
			m.status += value
			return nil
		}
	}
	if m.held {
		if _, err := m.out.Write([]byte("\n")); err != nil {
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
	_, err := m.out.Write(line)
	return err
}

func (m *mboxReader) finish() error {
	if m.item == nil {
		return nil
	}
	m.item.flags = mboxFlags(m.status)
	item := *m.item
	m.item = nil
	return m.im.add(item)
}

// mboxDate reads the date of a From line, which is local time as asctime writes it, or with a zone. A line without one
// is text that somebody forgot to quote.
func mboxDate(line string) time.Time {
	f := strings.Fields(line)
	if len(f) < 7 {
		return time.Time{}
	}
	date := strings.Join(f[3:], " ")
	for _, layout := range []string{"Jan 2 15:04:05 2006", "Jan 2 15:04:05 MST 2006", "Jan 2 15:04:05 -0700 2006", "Jan 2 15:04:05 2006 -0700"} {
		if t, err := time.ParseInLocation(layout, date, time.Local); err == nil {
			return t
		}
	}
	return time.Time{}
}

// mboxFlags reads the Status and X-Status fields that mbox programs keep flags in.
func mboxFlags(s string) (f Flags) {
	for i, c := range "RAFDT" {
		if strings.ContainsRune(s, c) {
			f.Bits |= []FlagBits{FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft}[i]
		}
	}
	return f
}

func (im *importer) add(item importItem) error {
	if item.date.IsZero() {
		head, err := item.spool.Head()
		if err != nil {
			return err
		}
		item.date, err = ParseDate(ParseHeader(head).Get("Date"))
		if err != nil {
			item.date = im.st.Now()
		}
	}
	im.pending = append(im.pending, item)
	im.bytes += item.spool.Size()
	if len(im.pending) < importBatch && im.bytes < importBytes {
		return nil
	}
	return im.flush()
}

// addPending adds what waits to the mailbox.
func (im *importer) addPending(tx *Tx) error {
	for _, it := range im.pending {
		b, err := tx.AddBlob(it.spool)
		if err != nil {
			return err
		}
		if _, err := tx.Append(im.box, b, it.flags, it.date); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) flush() error {
	err := im.st.Room(im.bytes)
	if err == nil {
		err = im.st.Write(im.addPending)
	}
	for _, it := range im.pending {
		it.spool.Close()
		if err == nil {
			im.count++
			im.tell(im.count)
		}
	}
	im.pending, im.bytes = nil, 0
	return err
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

// exportBox writes a mailbox as mboxrd: LF line ends, lines that begin like a From line get another ">".
func exportBox(st *Store, m Mailbox, out io.Writer) (n int, err error) {
	w := bufio.NewWriterSize(out, mboxLine)
	for next := UID(1); next != 0; {
		var rows []Message
		err := st.Read(func(tx *Tx) error {
			return tx.Messages(m.ID, next, ^UID(0), func(x *Message) error {
				if !x.Gone {
					rows = append(rows, *x)
				}
				if len(rows) == importBatch {
					return io.EOF
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		next = 0
		for _, r := range rows {
			if err := exportMessage(st, w, r); err != nil {
				return n, fmt.Errorf("message %d: %w", r.UID, err)
			}
			n, next = n+1, r.UID+1
		}
	}
	return n, w.Flush()
}

func exportMessage(st *Store, w *bufio.Writer, m Message) error {
	c, err := st.Content(m.Blob)
	if err == nil && m.Form&FormBinary != 0 { // which an mbox can't hold: its line ends are LF
		c, err = c.WithoutBinary()
	}
	if err != nil {
		return err
	}
	defer c.Close()
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
	return w.WriteByte('\n')
}

// archived imports a file of an archive. Whatever the archive says of its size, each message has the limit.
func (im *importer) archived(f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	defer r.Close()
	if err := im.read(bufio.NewReaderSize(r, mboxLine), f.Modified, maildirFlags(f.Name)); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	return nil
}
