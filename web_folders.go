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
	id, name := webID[MailboxID](f.Get("box")), strings.TrimSpace(f.Get("name"))
	var err error
	switch do := f.Get("do"); do {
	case "create":
		_, err = write(q.s.store, func(tx *Tx) (Mailbox, error) {
			return tx.CreateTree(q.user, Place{Owner: q.user.ID, Name: name})
		})
	case "rename":
		err = q.renameFolder(id, name)
	case "empty", "remove":
		return q.dropFolder(do, id, f)
	default:
		return webErrDo
	}
	if err != nil {
		return err
	}
	return q.redirect("/folders")
}

// renameFolder renames a folder with all that is in it. Somebody else's stays theirs.
func (q *webReq) renameFolder(id MailboxID, name string) error {
	return q.s.store.Write(func(tx *Tx) error {
		m, _, err := q.access(tx, id, RightDelete)
		if err != nil {
			return err
		}
		from, err := tx.PlaceOf(q.user, m)
		if err != nil {
			return err
		}
		return tx.RenameTree(q.user, from, Place{from.Owner, name, from.Prefix})
	})
}

// dropFolder empties or removes a folder, after asking.
func (q *webReq) dropFolder(do string, id MailboxID, f url.Values) error {
	m, err := read(q.s.store, func(tx *Tx) (Mailbox, error) {
		m, _, err := q.access(tx, id, RightDelete)
		return m, err
	})
	if err != nil {
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
	err = q.s.store.Write(func(tx *Tx) error {
		at, err := tx.PlaceOf(q.user, m)
		if err != nil {
			return err
		}
		return tx.DeleteLeaf(q.user, at)
	})
	if errors.Is(err, ErrChildren) {
		return webFault(http.StatusBadRequest, "There are other folders inside this one. Remove them first.")
	}
	if err != nil {
		return err
	}
	return q.redirect("/folders")
}
