// The administrator's page of shared folders.
package main

import (
	"net/http"
	"strings"
)

// webSharedPage is the page of folders that belong to everybody.
type webSharedPage struct {
	webTabs
	Folders []webSharedFolder
	Users   []User
	Levels  []string
}

type webSharedFolder struct {
	Mailbox
	ACL []webSharedRight
}

type webSharedRight struct{ Who, Level string }

// webLevels are the rights that the page offers, in words; IMAP programs can set finer ones.
var webLevels = []struct {
	name   string
	rights Rights
}{
	{"may read", RightLookup | RightRead | RightSeen},
	{"may read and add", RightLookup | RightRead | RightSeen | RightInsert | RightPost | RightWrite},
	{"may do everything", RightsAll},
}

func webLevelName(r Rights) string {
	for _, l := range webLevels {
		if l.rights == r {
			return l.name
		}
	}
	return r.String()
}

func (q *webReq) getShared() error {
	p := webSharedPage{webTabs: webTabs{"shared"}}
	for _, l := range webLevels {
		p.Levels = append(p.Levels, l.name)
	}
	err := q.s.store.Read(func(tx *Tx) (err error) {
		p.Folders = nil
		p.Users, err = tx.Users()
		if err != nil {
			return err
		}
		boxes, err := tx.Mailboxes(SharedOwner)
		for _, m := range boxes {
			x := webSharedFolder{Mailbox: m}
			acl, err := tx.ACL(m.ID)
			if err != nil {
				return err
			}
			for _, e := range acl {
				x.ACL = append(x.ACL, webSharedRight{e.Who, webLevelName(e.Rights)})
			}
			p.Folders = append(p.Folders, x)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.page("admin-shared", "Shared folders", p)
}

func (q *webReq) postShared() error {
	f := q.r.PostForm
	err := q.s.store.Write(func(tx *Tx) error {
		if f.Get("do") == "create" {
			m, err := tx.CreateMailbox(SharedOwner, strings.TrimSpace(f.Get("name")), "")
			if err == nil {
				err = tx.SetACL(m, ACLEntry{anyone, webLevels[1].rights})
			}
			return err
		}
		m, err := tx.MailboxByID(webMailboxID(f.Get("box")))
		if err == nil && m.Owner != SharedOwner {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if f.Get("do") == "remove" {
			if m.Exists > 0 {
				return webFault(http.StatusUnprocessableEntity, "There is mail in this folder. Move or delete it first.")
			}
			return tx.DeleteMailbox(m)
		}
		var rights Rights
		for _, l := range webLevels {
			if l.name == f.Get("level") {
				rights = l.rights
			}
		}
		return tx.SetACL(m, ACLEntry{f.Get("who"), rights})
	})
	if err != nil {
		return err
	}
	return q.redirect("/admin/shared")
}
