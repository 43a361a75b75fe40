// The verbs that carry whole mailboxes in and out: import, export, backup.
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

// The verbs queue export, import and sent: mail that travels as a file.

// bundle runs one of them. They need the server's delivery, and work beside a running one.
func (c *command) bundle(args []string) error {
	want := 2
	if args[0] == "export" {
		want = 3
	}
	if len(args) != want {
		return usageError{"queue export DOMAIN FILE, queue import FILE, or queue sent ID|DOMAIN"}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	s, err := NewServer(cfg, st, c.logger())
	if err != nil {
		return err
	}
	switch args[0] {
	case "export":
		return c.bundleExport(s, strings.ToLower(args[1]), args[2])
	case "import":
		return c.bundleImport(s, args[1])
	}
	var keys []string
	if err := st.Read(func(tx *Tx) error { keys, err = tx.BundleKeys(strings.ToLower(args[1])); return err }); err != nil {
		return err
	}
	n, err := s.bundleSent(keys)
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing of %s is in a bundle; `postino queue list` shows what is", args[1])
	}
	if err == nil {
		fmt.Fprintf(c.out, "%d messages are marked as arrived.\n", n)
	}
	return err
}

// bundleExport writes the file under another name first, so that a stick that is full leaves no half a bundle behind.
func (c *command) bundleExport(s *Server, domain, path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already; name a new file", path)
	}
	tmp := path + ".part"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	n, err := s.exportBundle(domain, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w; what was to go is held until `postino queue release %s`", err, domain)
	}
	if n == 0 {
		return fmt.Errorf("nothing waits for %s; `postino queue list` shows what waits, and for whom", domain)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%d messages for %s are in %s, and held here until its receipt comes back (or `postino queue sent %s`).\n", n, domain, path, domain)
	return nil
}

func (c *command) bundleImport(s *Server, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	res, err := s.importBundle(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if res.Receipt == "" {
		fmt.Fprintf(c.out, "%d messages have arrived and are off the queue.\n", res.Confirmed)
		return nil
	}
	if err := os.WriteFile(path+".receipt", []byte(res.Receipt), 0o600); err != nil {
		return fmt.Errorf("the mail is taken, but the receipt: %w", err)
	}
	fmt.Fprintf(c.out, "%d messages taken, %d had been before. Carry %s.receipt back and import it there.\n", res.Taken, res.Known, path)
	return nil
}
