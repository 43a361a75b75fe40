// The verbs that carry whole mailboxes in and out: import, export, backup.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

func (c *command) importMail(args []string) error {
	name := "INBOX"
	if len(args) == 4 && args[1] == "-mailbox" {
		name, args = args[2], []string{args[0], args[3]}
	}
	if len(args) != 2 {
		return usageError{}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	addr, err := address(cfg, args[0])
	if err != nil {
		return err
	}
	im := &importer{st: st, limit: int64(cfg.Limits.Message), tell: func(n int) {
		if n%1000 == 0 {
			fmt.Fprintf(c.err, "%d messages\n", n)
		}
	}}
	if err := im.openBox(addr, name); err != nil {
		return err
	}
	if err := im.path(args[1]); err != nil {
		return fmt.Errorf("after %d messages: %w", im.count, err)
	}
	if err := im.flush(); err != nil {
		return fmt.Errorf("after %d messages: %w", im.count, err)
	}
	fmt.Fprintf(c.out, "%d messages are in %s of %s now.\n", im.count, name, addr)
	return nil
}

// openBox finds the mailbox, or makes it and subscribes to it: Thunderbird shows nothing else.
func (im *importer) openBox(addr Addr, name string) error {
	if strings.EqualFold(name, "INBOX") {
		name = "INBOX"
	}
	return userFault(addr, im.st.Write(func(tx *Tx) error {
		u, err := tx.UserByName(addr.Key())
		if err != nil {
			return err
		}
		im.box, err = tx.MailboxByName(u.ID, name)
		if errors.Is(err, ErrNotFound) {
			if im.box, err = tx.CreateMailbox(u.ID, name, ""); err == nil {
				err = tx.Subscribe(u.ID, name, true)
			}
		}
		return err
	}))
}

// path imports a file or a folder: a Maildir (it has cur and new), or any tree of .eml and mbox files.
func (im *importer) path(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return im.file(path)
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "tmp":
			return fs.SkipDir // of a Maildir: half-written
		case d.Type().IsRegular():
			return im.file(p)
		}
		return nil
	})
}

func (im *importer) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, mboxLine)
	if start, _ := r.Peek(5); string(start) == "From " {
		return im.mbox(path, r)
	}
	item := importItem{spool: im.st.NewSpool(im.limit), date: fi.ModTime(), flags: maildirFlags(filepath.Base(path))}
	if _, err := io.Copy(&crlfWriter{w: item.spool}, r); err != nil {
		item.spool.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return im.add(item)
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

func (im *importer) mbox(path string, r *bufio.Reader) error {
	m := &mboxReader{im: im, start: true, held: true}
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if err := m.piece(line); err != nil {
				return fmt.Errorf("%s: message %d: %w", path, im.count+len(im.pending)+1, err)
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
		if item.date, err = ParseDate(ParseHeader(head).Get("Date")); err != nil {
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

func (im *importer) flush() error {
	err := im.st.Write(func(tx *Tx) error {
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
	})
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

func (c *command) exportMail(args []string) error {
	if len(args) != 2 {
		return usageError{}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	addr, err := address(cfg, args[0])
	if err != nil {
		return err
	}
	var boxes []Mailbox
	err = userFault(addr, st.Read(func(tx *Tx) error {
		u, err := tx.UserByName(addr.Key())
		if err == nil {
			boxes, err = tx.Mailboxes(u.ID)
		}
		return err
	}))
	if err != nil {
		return err
	}
	if err := os.Mkdir(args[1], 0o700); err != nil {
		return err
	}
	for i, m := range boxes {
		n, err := exportBox(st, m, filepath.Join(args[1], exportName(i, m.Name)))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		fmt.Fprintf(c.out, "%7d messages of %s in %s\n", n, m.Name, exportName(i, m.Name))
	}
	return nil
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
func exportBox(st *Store, m Mailbox, path string) (n int, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, mboxLine)
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
	return n, errors.Join(w.Flush(), f.Sync(), f.Close())
}

func exportMessage(st *Store, w *bufio.Writer, m Message) error {
	c, err := st.Content(m.Blob)
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
	r := bufio.NewReaderSize(c.Reader(), mboxLine)
	start := true
	for {
		line, err := r.ReadSlice('\n')
		if start && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			w.WriteByte('>')
		}
		if k := len(line); k > 0 {
			if start = line[k-1] == '\n'; start {
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

func (c *command) backup(args []string) error {
	if len(args) != 1 {
		return usageError{}
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.Backup(args[0]); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is a whole copy; to go back to it, stop postino and put it in place of the database, without -wal and -shm.\n", args[0])
	return nil
}
