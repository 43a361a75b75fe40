// The verbs import and export: whole mailboxes in and out.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

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
			im.box, err = tx.CreateMailbox(u.ID, name, "")
			if err == nil {
				err = tx.Subscribe(u.ID, name)
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
