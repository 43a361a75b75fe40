// The address book, and vCards in and out.
package main

import (
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

const webMaxCards = 64 << 20 // octets of an imported vCard file; phones put photos into it

func webContactRoutes() []webRoute {
	return []webRoute{
		{"GET /contacts", webLoggedIn, (*webReq).getContacts},
		{"POST /contacts", webLoggedIn, (*webReq).postContacts},
		{"GET /contacts/export", webLoggedIn, (*webReq).getCards},
		{"POST /contacts/import", webLoggedIn | webWithFiles, (*webReq).postCards},
	}
}

// webContacts is the page of the address book.
type webContacts struct {
	All  []Contact
	Edit Contact
}

func (q *webReq) getContacts() error {
	var p webContacts
	edit := q.r.URL.Query().Get("edit")
	err := q.s.store.Read(func(tx *Tx) error {
		var err error
		p.All, err = tx.Contacts(q.user.ID)
		if err != nil || edit == "" {
			return err
		}
		p.Edit, err = tx.Contact(q.user.ID, edit)
		return err
	})
	if err != nil {
		return err
	}
	return q.page("contacts", "Address book", p)
}

func (q *webReq) postContacts() error {
	f := q.r.PostForm
	if err := q.fits(webMost{"name", 200}, webMost{"phone", 50}, webMost{"note", 500}); err != nil {
		return err
	}
	line := func(name string) string { return strings.TrimSpace(webClean(f.Get(name))) }
	a, err := ParseAddr(line("address"))
	if err != nil {
		return webFault(http.StatusUnprocessableEntity, "That is no address.")
	}
	switch f.Get("do") {
	case "add":
		c := Contact{Address: a.Key(), Name: line("name"), Phone: line("phone"), Note: line("note")}
		err = q.s.store.Write(func(tx *Tx) error { return tx.KeepContact(q.user.ID, c) })
	case "remove":
		err = q.s.store.Write(func(tx *Tx) error { return tx.ForgetContact(q.user.ID, a.Key()) })
	default:
		return webErrDo
	}
	if err != nil {
		return err
	}
	if f.Get("back") != "" {
		q.say("Added to the address book.")
		return q.redirect(webLocal(f.Get("back")))
	}
	return q.redirect("/contacts")
}

// getCards exports the address book as vCards of version 4 (RFC 6350).
func (q *webReq) getCards() error {
	all, err := read(q.s.store, func(tx *Tx) ([]Contact, error) { return tx.Contacts(q.user.ID) })
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, c := range all {
		name := c.Name
		if name == "" {
			name = c.Address
		}
		b.WriteString("BEGIN:VCARD\r\nVERSION:4.0\r\n")
		for _, f := range [][2]string{{"FN", name}, {"EMAIL", c.Address}, {"TEL", c.Phone}, {"NOTE", c.Note}} {
			if f[1] != "" {
				b.WriteString(webFoldCard(f[0] + ":" + webCardText.Replace(f[1])))
			}
		}
		b.WriteString("END:VCARD\r\n")
	}
	q.attachmentHeaders("contacts.vcf", "text/vcard; charset=utf-8")
	return q.stream(strings.NewReader(b.String()))
}

// webCardText escapes a value (RFC 6350 §3.4).
var webCardText = strings.NewReplacer(`\`, `\\`, ",", `\,`, ";", `\;`, "\n", `\n`, "\r", "")

// webFoldCard folds a line at 75 octets, never inside a character (RFC 6350 §3.2).
func webFoldCard(line string) string {
	var b strings.Builder
	n := 0
	for _, r := range line {
		k := len(string(r))
		if n+k > 75 {
			b.WriteString("\r\n ")
			n = 1
		}
		b.WriteRune(r)
		n += k
	}
	return b.String() + "\r\n"
}

func (q *webReq) postCards() error {
	var all []Contact
	var without int
	err := q.readParts(url.Values{}, webMaxCards, func(p *multipart.Part) error {
		var err error
		all, without, err = webCards(p)
		if errors.Is(err, ErrTooMany) {
			return err
		}
		if err != nil || len(all)+without == 0 {
			return webFault(http.StatusUnprocessableEntity, "This file can't be read.")
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = q.s.store.KeepContacts(q.user.ID, all)
	if err != nil {
		return err
	}
	text := q.lang.N(int64(len(all)), "%s address imported.", "%s addresses imported.")
	if without > 0 {
		text += " " + q.lang.N(int64(without), "%s card has no mail address and was left out.", "%s cards have no mail address and were left out.")
	}
	q.note(&webNote{Text: text})
	return q.redirect("/contacts")
}
