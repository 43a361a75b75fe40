// The verb shared: folders of everybody.
package main

import (
	"errors"
	"fmt"
	"strings"
)

// sharedQuota limits what the shared folders take together.
func (c *command) sharedQuota(text string) error {
	var size Size
	if err := size.UnmarshalTOML(text); err != nil {
		return usageError{err.Error()}
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	return st.Write(func(tx *Tx) error { return tx.SetSharedQuota(int64(size)) })
}

// listedFolder is a folder in `shared list -json`.
type listedFolder struct {
	Name     string `json:"name"`
	Messages int64  `json:"messages"`
}

// shared makes folders that everybody here sees as Shared/NAME: all may read, write and file mail there, and an
// administrator may do the rest.
func (c *command) shared(args []string) error {
	if len(args) == 0 || (args[0] == "list") != (len(args) == 1) || len(args) > 2 {
		return usageError{}
	}
	if args[0] == "quota" {
		return c.sharedQuota(args[1])
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	switch args[0] {
	case "list":
		boxes, err := read(st, func(tx *Tx) ([]Mailbox, error) { return tx.Mailboxes(SharedOwner) })
		if err == nil && c.json {
			list := []listedFolder{}
			for _, m := range boxes {
				list = append(list, listedFolder{"Shared/" + m.Name, int64(m.Exists)})
			}
			return c.printJSON(list)
		}
		for _, m := range boxes {
			fmt.Fprintf(c.out, "Shared/%-32s %7d messages\n", m.Name, m.Exists)
		}
		if err != nil {
			return err
		}
		return st.Read(func(tx *Tx) error {
			limit, used, _, err := tx.SharedQuota()
			fmt.Fprintf(c.out, "%d of %d MB used\n", used>>20, limit>>20)
			return err
		})
	case "add":
		err := st.Write(func(tx *Tx) error {
			_, err := tx.CreateShared(args[1])
			return err
		})
		if errors.Is(err, ErrExists) {
			return fmt.Errorf("the folder Shared/%s exists already; `postino shared list` shows what there is", args[1])
		}
		return err
	case "rm":
		err := st.Write(func(tx *Tx) error {
			m, err := tx.MailboxByName(SharedOwner, args[1])
			if err != nil {
				return err
			}
			if m.Exists > 0 {
				return fmt.Errorf("there are %d messages in Shared/%s; move or delete them first", m.Exists, m.Name)
			}
			return tx.DeleteMailbox(m)
		})
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("there is no folder Shared/%s; `postino shared list` shows what there is", args[1])
		}
		return err
	}
	return usageError{fmt.Sprintf("`shared %s` is nothing I know", strings.Join(args, " "))}
}
