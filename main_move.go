// The verb export: whole mailboxes out.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

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
	left := 0
	for i, m := range boxes {
		n, err := exportFile(st, m, filepath.Join(args[1], exportName(i, m.Name)))
		var unreadable *unreadableError
		if errors.As(err, &unreadable) {
			left += unreadable.messages
			fmt.Fprintf(c.err, "%s: %v\n", m.Name, err)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		fmt.Fprintf(c.out, "%7d messages of %s in %s\n", n, m.Name, exportName(i, m.Name))
	}
	if left > 0 {
		return fmt.Errorf("%d messages could not be read and were left out; `postino rescue` brings back more", left)
	}
	return nil
}

func exportFile(st *Store, m Mailbox, path string) (int, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := exportBox(st, m, f)
	return n, errors.Join(err, f.Sync(), f.Close())
}
