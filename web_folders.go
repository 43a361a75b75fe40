// Folders: made, renamed, removed.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

func (q *webReq) getFolders() error { return q.page("folders", "Folders", nil) }

// postFolders makes, renames, empties and deletes folders.
func (q *webReq) postFolders() error {
	f := q.r.PostForm
	id, name := webMailboxID(f.Get("box")), strings.TrimSpace(f.Get("name"))
	do := f.Get("do")
	if do == "empty" || do == "remove" {
		return q.dropFolder(do, id, f)
	}
	err := q.s.store.Write(func(tx *Tx) error {
		if do == "create" {
			return webMakeFolder(tx, q.user.ID, name)
		}
		m, _, err := q.access(tx, id, RightDelete)
		if err != nil {
			return err
		}
		return webRenameFolder(tx, m, name)
	})
	if err != nil {
		return err
	}
	return q.redirect("/folders")
}

// webMakeFolder makes a folder and those it is in.
func webMakeFolder(tx *Tx, user UserID, name string) error {
	if strings.EqualFold(name, "INBOX") {
		return ErrExists
	}
	for i := 0; i < len(name); i++ {
		if name[i] != '/' {
			continue
		}
		if _, err := tx.CreateMailbox(user, name[:i], ""); err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	if _, err := tx.CreateMailbox(user, name, ""); err != nil {
		return err
	}
	return tx.Subscribe(user, name)
}

// webRenameFolder renames a folder with all that is in it. The inbox stays.
func webRenameFolder(tx *Tx, m Mailbox, name string) error {
	if m.Name == "INBOX" || strings.EqualFold(name, "INBOX") || strings.HasPrefix(name, m.Name+"/") {
		return ErrMailboxName
	}
	all, err := tx.Mailboxes(m.Owner)
	if err != nil {
		return err
	}
	for _, b := range all {
		if b.Name != m.Name && !strings.HasPrefix(b.Name, m.Name+"/") {
			continue
		}
		to := name + strings.TrimPrefix(b.Name, m.Name)
		if err := tx.RenameMailbox(b, to); err != nil {
			return err
		}
		if err := tx.Unsubscribe(m.Owner, b.Name); err != nil {
			return err
		}
		if err := tx.Subscribe(m.Owner, to); err != nil {
			return err
		}
	}
	return nil
}

// dropFolder empties or removes a folder, after asking.
func (q *webReq) dropFolder(do string, id MailboxID, f url.Values) error {
	var m Mailbox
	if err := q.s.store.Read(func(tx *Tx) (err error) { m, _, err = q.access(tx, id, RightDelete); return err }); err != nil {
		return err
	}
	if do == "remove" && (m.Name == "INBOX" || m.Special != "") {
		return webFault(http.StatusBadRequest, "This folder is needed and can't be removed.")
	}
	if f.Get("sure") == "" {
		p := webConfirm{Question: q.lang.F("Remove the folder %s with everything in it? This can't be undone.", q.lang.folderName(m)),
			Button: q.lang.T("Remove folder"), Action: "/folders", Back: "/folders",
			Fields: [][2]string{{"do", do}, {"box", fmt.Sprint(id)}, {"sure", "1"}}}
		if do == "empty" {
			p.Question = q.lang.F("Delete everything in %s for good? This can't be undone.", q.lang.folderName(m))
			p.Button = q.lang.T("Delete for good")
		}
		return q.page("confirm", "Are you sure?", p)
	}
	if do == "empty" {
		c := webChosen{}
		if err := q.chooseAll(c, id, ""); err != nil {
			return err
		}
		return q.purge(c, url.Values{"sure": {"1"}}, "/folders")
	}
	err := q.s.store.Write(func(tx *Tx) error {
		all, err := tx.Mailboxes(m.Owner)
		for _, b := range all {
			if err == nil && b.ID != m.ID && strings.HasPrefix(b.Name, m.Name+"/") {
				return webFault(http.StatusBadRequest, "There are other folders inside this one. Remove them first.")
			}
		}
		if err == nil {
			err = tx.DeleteMailbox(m)
		}
		if err == nil {
			err = tx.Unsubscribe(q.user.ID, m.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.redirect("/folders")
}
