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
	Used    int64
	Limit   int64
	SetMB   int64 // 0: nobody has set the limit
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
	{"may read, add and delete", RightsShared},
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
	err := q.s.store.Read(func(tx *Tx) error {
		var err error
		p.Folders = nil
		p.Users, err = tx.Users()
		if err != nil {
			return err
		}
		var set bool
		p.Limit, p.Used, set, err = tx.SharedQuota()
		if err != nil {
			return err
		}
		p.SetMB = 0
		if set {
			p.SetMB = p.Limit >> 20
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
	id := webID[MailboxID](f.Get("box"))
	var err error
	switch f.Get("do") {
	case "create":
		err = q.s.store.Write(func(tx *Tx) error {
			_, err := tx.CreateShared(strings.TrimSpace(f.Get("name")))
			return err
		})
	case "remove":
		err = q.s.store.Write(func(tx *Tx) error {
			m, err := webSharedBox(tx, id)
			if err == nil && m.Exists > 0 {
				err = webFault(http.StatusUnprocessableEntity, "There is mail in this folder. Move or delete it first.")
			}
			if err == nil {
				err = tx.DeleteMailbox(m)
			}
			return err
		})
	case "quota":
		var quota int64
		quota, err = webMegabytes(f.Get("quota"))
		if err == nil {
			err = q.s.store.Write(func(tx *Tx) error { return tx.SetSharedQuota(quota) })
		}
	case "rights":
		if f.Get("level") != "" && webLevelRights(f.Get("level")) == 0 {
			return webErrDo
		}
		err = q.s.store.Write(func(tx *Tx) error {
			m, err := webSharedBox(tx, id)
			if err == nil {
				err = tx.SetACL(m, ACLEntry{f.Get("who"), webLevelRights(f.Get("level"))})
			}
			return err
		})
	default:
		return webErrDo
	}
	if err != nil {
		return err
	}
	return q.redirect("/admin/shared")
}

// webSharedBox finds a folder that belongs to everybody.
func webSharedBox(tx *Tx, id MailboxID) (Mailbox, error) {
	m, err := tx.MailboxByID(id)
	if err == nil && m.Owner != SharedOwner {
		err = ErrNotFound
	}
	return m, err
}

// webLevelRights are the rights of one of webLevels, none for an unknown one.
func webLevelRights(name string) Rights {
	for _, l := range webLevels {
		if l.name == name {
			return l.rights
		}
	}
	return 0
}
