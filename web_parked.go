// Letters that come from a page of before: their writer was logged out, or has logged in anew since. They are put aside until the
// same person asks for them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// webErrOldForm is a form from before this login, or from another site.
var webErrOldForm = webFault(http.StatusForbidden, "This form is out of date. Go back, reload the page and try again.")

// webErrOut answers a form of somebody who is not logged in.
var webErrOut = webFault(http.StatusUnauthorized, "Please log in again.")

// checkParts looks at the first fields of a form with files: its token, or else whether it is a letter that may be put aside.
func (q *webReq) checkParts(f url.Values) error {
	err := q.checkToken(f.Get("csrf"))
	if err == nil || !q.late {
		return err
	}
	_, err = q.writer(f)
	return err
}

// writer is the person that a letter's page was made for. This browser proves with a cookie, which other sites' forms can't bring
// along, that this person has logged in with it last; so strangers can put nothing aside.
func (q *webReq) writer(f url.Values) (UserID, error) {
	id := webID[UserID](f.Get("writer"))
	u, err := read(q.s.store, func(tx *Tx) (User, error) { return tx.UserByID(id) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	known := err == nil && q.s.auth.browserIs(q.cookie("known"), u.Name)
	switch {
	case known && (q.user.ID == 0 || q.user.ID == id):
		return id, nil
	case q.user.ID == 0:
		return 0, webErrOut
	}
	return 0, webErrOldForm
}

// park puts a letter aside in the file, and leads to where its writer gets it back, which is behind the login.
func (q *webReq) park(f *webForm) error {
	user, err := q.writer(f.Values)
	if err != nil {
		return err
	}
	if f.Get("do") == "discard" {
		return q.redirect("/mail")
	}
	l := &Letter{User: user}
	l.Fields, err = json.Marshal(f.Values)
	if err != nil {
		return err
	}
	for _, u := range f.files {
		if err := q.s.store.Stage(u.body); err != nil {
			return err
		}
	}
	ticket := webToken()
	err = q.s.store.Write(func(tx *Tx) error {
		l.Files = nil
		for _, u := range f.files {
			b, err := tx.AddBlob(u.body)
			if err != nil {
				return err
			}
			l.Files = append(l.Files, LetterFile{Name: u.name, Type: u.kind, Size: u.size, ContentID: u.inline, Blob: b.ID})
		}
		return tx.Park(l, ticket)
	})
	if err != nil {
		return err
	}
	return q.redirect("/compose?kept=" + ticket)
}

// continueParked makes a draft of a letter that was put aside, and shows it. It is not sent: a form without its token sends nothing.
func (q *webReq) continueParked(ticket string) error {
	parked, err := read(q.s.store, func(tx *Tx) (Letter, error) { return tx.Parked(q.user.ID, ticket) })
	if errors.Is(err, ErrNotFound) {
		q.sayBad("The letter that was put aside is no longer there, or it is somebody else's.")
		return q.redirect("/mail")
	}
	if err != nil {
		return err
	}
	l, err := q.keepOld(&parked)
	if err != nil {
		return err
	}
	err = q.s.store.Write(func(tx *Tx) error { return tx.RemoveLetter(parked.User, parked.ID) })
	if err != nil {
		return err
	}
	if err := q.saveDraft(l); err != nil {
		return err
	}
	q.say("You had been logged out. Here is your letter; it has not been sent yet.")
	return q.redirect(fmt.Sprintf("/compose?id=%d", l.ID))
}

// keepOld stores a letter that was put aside.
func (q *webReq) keepOld(parked *Letter) (*Letter, error) {
	f := &webForm{}
	if err := json.Unmarshal(parked.Fields, &f.Values); err != nil {
		return nil, err
	}
	for _, x := range parked.Files {
		f.files = append(f.files, webUpload{name: x.Name, kind: x.Type, size: x.Size, inline: x.ContentID, stored: x.Blob})
	}
	l, err := q.keepLetter(f)
	if errors.Is(err, webErrSent) { // it is gone, and what was written since is not to be lost
		f.Del("id")
		l, err = q.keepLetter(f)
	}
	return l, err
}
