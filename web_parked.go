// Letters that come from a page of before: their writer was logged out, or has logged in anew since. They are put aside until the
// same person asks for them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	webMaxParked  = 8               // letters put aside, in all; the oldest makes room
	webOwnParked  = 2               // of one person
	webParkedTime = time.Hour       // for their writers to log in
	webParkedSize = 2 * webFormRoom // octets of a letter's fields, as they are put aside
)

// webParked is a letter that waits for its writer. Nothing of it is in the database; it is gone after an hour, and with the program.
type webParked struct {
	ticket string
	user   UserID
	fields *Spool // url.Values in JSON
	files  []webUpload
	until  time.Time
}

func (p *webParked) close() {
	p.fields.Close()
	(&webForm{files: p.files}).close()
}

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

// park puts a letter aside, and leads to where its writer gets it back, which is behind the login. It takes the form's files over.
func (q *webReq) park(f *webForm) error {
	user, err := q.writer(f.Values)
	if err != nil {
		return err
	}
	if f.Get("do") == "discard" {
		return q.redirect("/mail")
	}
	p := &webParked{ticket: webToken(), user: user, fields: q.s.store.NewSpool(webParkedSize), until: time.Now().Add(webParkedTime)}
	if err := json.NewEncoder(p.fields).Encode(f.Values); err != nil {
		p.close()
		return err
	}
	p.files, f.files = f.files, nil
	q.keepParked(p)
	return q.redirect("/compose?kept=" + p.ticket)
}

// keepParked makes room for a letter and puts it aside.
func (a *webApp) keepParked(p *webParked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := 0
	for i := len(a.parked) - 1; i >= 0; i-- {
		x := a.parked[i]
		if x.user == p.user {
			own++
		}
		if (x.user == p.user && own >= webOwnParked) || (i == 0 && len(a.parked) >= webMaxParked) {
			x.close()
			a.parked = slices.Delete(a.parked, i, i+1)
		}
	}
	a.parked = append(a.parked, p)
}

// dropParked closes the letters that nobody has come for.
func (a *webApp) dropParked() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parked = slices.DeleteFunc(a.parked, func(p *webParked) bool {
		late := time.Now().After(p.until)
		if late {
			p.close()
		}
		return late
	})
}

// takeParked gives a letter that was put aside to its writer; nil if it is no longer there, or somebody else's.
func (a *webApp) takeParked(user UserID, ticket string) *webParked {
	a.dropParked()
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.parked, func(p *webParked) bool { return p.ticket == ticket && p.user == user })
	if i < 0 {
		return nil
	}
	p := a.parked[i]
	a.parked = slices.Delete(a.parked, i, i+1)
	return p
}

// continueParked makes a draft of a letter that was put aside, and shows it. It is not sent: a form without its token sends nothing.
func (q *webReq) continueParked(ticket string) error {
	p := q.takeParked(q.user.ID, ticket)
	if p == nil {
		q.sayBad("The letter that was put aside is no longer there, or it is somebody else's.")
		return q.redirect("/mail")
	}
	l, err := q.keepOld(p)
	if err != nil {
		q.keepParked(p)
		return err
	}
	p.close()
	if err := q.saveDraft(l); err != nil {
		return err
	}
	q.say("You had been logged out. Here is your letter; it has not been sent yet.")
	return q.redirect(fmt.Sprintf("/compose?id=%d", l.ID))
}

// keepOld stores a letter that was put aside.
func (q *webReq) keepOld(p *webParked) (*Letter, error) {
	f := &webForm{files: p.files}
	if err := json.NewDecoder(io.NewSectionReader(p.fields, 0, p.fields.Size())).Decode(&f.Values); err != nil {
		return nil, err
	}
	l, err := q.keepLetter(f)
	if errors.Is(err, webErrSent) { // it is gone, and what was written since is not to be lost
		f.Del("id")
		l, err = q.keepLetter(f)
	}
	return l, err
}
