// The verbs that carry mail: queue, sendmail, import, export and backup.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// sendmailArgs are the flags that programs call sendmail with, as far as they mean anything here.
type sendmailArgs struct {
	from    string
	header  bool // -t: recipients are in the header
	noDots  bool // -i: a dot alone does not end the message
	targets []string
}

// parseSendmail takes the historical flags, joined to their values or not; those about delivery modes mean nothing.
func parseSendmail(args []string) (a sendmailArgs, err error) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		value := func() string {
			if len(arg) > 2 {
				return arg[2:]
			}
			if i++; i < len(args) {
				return args[i]
			}
			err = usageError{arg + " needs a value"}
			return ""
		}
		switch {
		case arg == "--":
			a.targets = append(a.targets, args[i+1:]...)
			return a, err
		case !strings.HasPrefix(arg, "-"):
			a.targets = append(a.targets, arg)
		case arg == "-t":
			a.header = true
		case arg == "-i", arg == "-oi":
			a.noDots = true
		case arg == "-ti", arg == "-it":
			a.header, a.noDots = true, true
		case strings.HasPrefix(arg, "-f"), strings.HasPrefix(arg, "-r"):
			a.from = strings.Trim(value(), "<>")
			if a.from == "" {
				a.from = "<>"
			}
		case strings.HasPrefix(arg, "-F"), strings.HasPrefix(arg, "-B"), strings.HasPrefix(arg, "-N"),
			strings.HasPrefix(arg, "-R"), strings.HasPrefix(arg, "-V"):
			value()
		case strings.HasPrefix(arg, "-o"), arg == "-bm", arg == "-v", arg == "-G", arg == "-U":
		default:
			return a, usageError{fmt.Sprintf("%s is nothing I know", arg)}
		}
	}
	return a, err
}

// sendmail takes a message from stdin and hands it in, whether the server runs or not.
func (c *command) sendmail(args []string) error {
	a, err := parseSendmail(args)
	if err != nil {
		return err
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	m := &Mail{Submitted: true, Body: st.NewSpool(int64(cfg.Limits.Message))}
	defer m.Body.Close()
	if m.From, err = sendmailFrom(cfg, a.from); err != nil {
		return err
	}
	to, err := readSendmail(c.lines, m.Body, a)
	if err != nil {
		return err
	}
	for _, t := range append(a.targets, to...) {
		addr, err := address(cfg, t)
		if err != nil {
			return err
		}
		m.To = append(m.To, Rcpt{Addr: addr})
	}
	if len(m.To) == 0 {
		return errors.New("the message has no recipients: name them, or use -t and a To field")
	}
	s, err := NewServer(cfg, st, c.logger())
	if err != nil {
		return err
	}
	defer s.Shutdown()
	m.Trace = fmt.Sprintf("from userid %d by %s", os.Getuid(), cfg.Hostname)
	if err := s.accept(m); err != nil {
		return err
	}
	for _, r := range m.To {
		if r.Err != nil {
			return fmt.Errorf("%s: %w", r.Addr, r.Err)
		}
	}
	return nil
}

// sendmailFrom is the reverse path: -f, or whoever runs the program at this host.
func sendmailFrom(cfg *Config, from string) (Addr, error) {
	if from == "<>" {
		return Addr{}, nil
	}
	if from == "" {
		from = "postmaster"
		if u, err := user.Current(); err == nil && u.Username != "" {
			from = u.Username
		}
		from += "@" + cfg.Hostname
	}
	return address(cfg, from)
}

// readSendmail copies the message into the spool with CRLFs and without Bcc, and returns the recipients that its header
// names, if it is asked for them.
func readSendmail(r *bufio.Reader, sp *Spool, a sendmailArgs) (to []string, err error) {
	var head bytes.Buffer
	w := &crlfWriter{w: sp}
	inHead, dot, bcc := true, false, false
	for !dot {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case !a.noDots && string(text) == ".":
			dot = true
			continue
		case inHead && len(text) == 0:
			inHead = false
		case inHead:
			if head.Len() > maxHeaderBlock {
				return nil, errHeaderSize
			}
			head.Write(line)
			if line[0] != ' ' && line[0] != '\t' {
				bcc = len(text) >= 4 && strings.EqualFold(string(text[:4]), "bcc:")
			}
		}
		if !(inHead && bcc) {
			if _, werr := w.Write(line); werr != nil {
				return nil, werr
			}
		}
		if err == io.EOF {
			break
		}
	}
	if !a.header {
		return nil, nil
	}
	h := ParseHeader(head.Bytes())
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, f := range h.All(name) {
			for _, addr := range ParseAddressList(f) {
				if addr.Domain != "" || addr.Local != "" {
					to = append(to, addr.Local+"@"+addr.Domain)
				}
			}
		}
	}
	return to, nil
}

func (c *command) importMail(args []string) error {
	name := "INBOX"
	if len(args) == 4 && args[1] == "-mailbox" {
		name, args = args[2], []string{args[0], args[3]}
	}
	if len(args) != 2 {
		return usageError{}
	}
	cfg, st, addr, err := c.openFor(args[0])
	if err != nil {
		return err
	}
	defer st.Close()
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
	if err := im.read(r, fi.ModTime(), maildirFlags(filepath.Base(path))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (c *command) exportMail(args []string) error {
	if len(args) != 2 {
		return usageError{}
	}
	_, st, addr, err := c.openFor(args[0])
	if err != nil {
		return err
	}
	defer st.Close()
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
		return fmt.Errorf("%w; name a new folder, in one that is there", err)
	}
	for i, m := range boxes {
		n, err := exportFile(st, m, filepath.Join(args[1], exportName(i, m.Name)))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		fmt.Fprintf(c.out, "%7d messages of %s in %s\n", n, m.Name, exportName(i, m.Name))
	}
	return nil
}

func exportFile(st *Store, m Mailbox, path string) (n int, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	n, err = exportBox(st, m, f)
	return n, errors.Join(err, f.Sync(), f.Close())
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
	if _, err := os.Stat(filepath.Dir(args[0])); err != nil {
		return fmt.Errorf("%w; name a file in a folder that is there", err)
	}
	if err := st.Backup(args[0]); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is a whole copy; to go back to it, stop postino and put it in place of the database, without -wal and -shm.\n", args[0])
	return nil
}
