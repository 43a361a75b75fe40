// Masked addresses: a person makes, labels, switches and forgets them.
package main

import (
	"net/http"
	"slices"
	"strings"
)

// webMasksPage is the tab of masked addresses.
type webMasksPage struct {
	webSettings
	Masks []Mask
}

func (q *webReq) masksPage(tx *Tx, head webSettings) (webMasksPage, error) {
	masks, err := tx.Masks(q.user.ID)
	return webMasksPage{head, masks}, err
}

func (q *webReq) postMasks() error {
	f := q.r.PostForm
	if err := q.fits(webMost{"label", 100}); err != nil {
		return err
	}
	m := Mask{Address: f.Get("address"), Label: strings.TrimSpace(webClean(f.Get("label")))}
	switch f.Get("do") {
	case "make":
		return q.makeMask(m.Label)
	case "keep":
		m.Off = f.Get("on") == ""
		if err := q.s.store.Write(func(tx *Tx) error { return tx.SetMask(q.user.ID, m) }); err != nil {
			return err
		}
		q.say("Saved.")
	case "drop":
		if err := q.s.store.Write(func(tx *Tx) error { return tx.RemoveMask(q.user.ID, m.Address) }); err != nil {
			return err
		}
		q.log.Info("masked address removed", "user", q.user.Name, "address", m.Address)
		q.say("%s is gone. Mail to it comes back to its senders.", m.Address)
	default:
		return webErrDo
	}
	return q.redirect("/settings/masks")
}

func (q *webReq) makeMask(label string) error {
	if label == "" {
		return q.settings(http.StatusUnprocessableEntity, "masks", q.lang.T("Say what the address is for."))
	}
	own, err := ParseAddr(q.user.Name)
	if err != nil {
		return err
	}
	var m Mask
	err = q.s.store.Write(func(tx *Tx) error {
		var err error
		m, err = tx.AddMask(q.user.ID, own.Domain, label)
		return err
	})
	if err != nil {
		return err
	}
	q.log.Info("masked address made", "user", q.user.Name, "address", m.Address)
	q.say("%s is yours now.", m.Address)
	return q.redirect("/settings/masks")
}

// senders are the names and addresses under which a user may write: the identities, then the masked addresses that are on, which
// tell nothing of the user.
func (tx *Tx) senders(u User) ([]webIdentity, error) {
	all, err := tx.identities(u)
	if err != nil {
		return nil, err
	}
	masks, err := tx.Masks(u.ID)
	for _, m := range masks {
		known := slices.ContainsFunc(all, func(i webIdentity) bool { return i.Address == m.Address })
		if !m.Off && !known {
			all = append(all, webIdentity{Address: m.Address})
		}
	}
	return all, err
}
