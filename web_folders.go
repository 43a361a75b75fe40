// Folders: made, renamed, removed.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (q *webReq) getFolders() error { return q.page("folders", "Folders", webKeeps) }

// postFolders makes, renames, empties and deletes folders, and sets how long their messages stay.
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
	case "keep":
		return q.keepFolder(id, f)
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

// webKeeps are the days to choose from, after which a folder's messages are deleted.
var webKeeps = []int{0, 7, 30, 90, 365}

// keepFolder sets after how many days the messages of a folder of one's own are deleted. It asks when that means some of today's.
func (q *webReq) keepFolder(id MailboxID, f url.Values) error {
	days, err := strconv.Atoi(f.Get("days"))
	if err != nil || !slices.Contains(webKeeps, days) {
		return webErrDo
	}
	var old []UID
	m, err := read(q.s.store, func(tx *Tx) (Mailbox, error) {
		m, err := tx.MailboxByID(id)
		if err == nil && m.Owner != q.user.ID {
			err = ErrNotFound
		}
		if err != nil || days == 0 {
			return m, err
		}
		old, err = tx.Overdue(m, days, int(m.Exists))
		return m, err
	})
	if err != nil {
		return err
	}
	if len(old) > 0 && f.Get("sure") == "" {
		return q.page("confirm", "Are you sure?", webConfirm{
			Question: q.lang.N(int64(len(old)), "%s message in this folder is older than that, and will be deleted for good within an hour.",
				"%s messages in this folder are older than that, and will be deleted for good within an hour."),
			Button: q.lang.T("Delete for good"), Action: "/folders", Back: "/folders",
			Fields: [][2]string{{"do", "keep"}, {"box", fmt.Sprint(id)}, {"days", fmt.Sprint(days)}, {"sure", "1"}}})
	}
	if err := q.s.store.Write(func(tx *Tx) error { return tx.SetKeep(m, days) }); err != nil {
		return err
	}
	q.say("Saved.")
	return q.redirect("/folders")
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
