// The address book, and vCards in and out.
package main

import (
	"bufio"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/url"
	"strings"
)

const webMaxCards = 4 << 20 // octets of an imported vCard file

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
	err := q.s.store.Read(func(tx *Tx) (err error) {
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
	line := func(name string, most int) string { return webCut(strings.TrimSpace(webClean(f.Get(name))), most) }
	a, err := ParseAddr(line("address", 300))
	if err != nil {
		return webFault(http.StatusUnprocessableEntity, "That is no address.")
	}
	switch f.Get("do") {
	case "add":
		c := Contact{Address: a.Key(), Name: line("name", 200), Phone: line("phone", 50), Note: line("note", 500)}
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
	var all []Contact
	if err := q.s.store.Read(func(tx *Tx) (err error) { all, err = tx.Contacts(q.user.ID); return err }); err != nil {
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

// webCards reads vCards of any version: the name, the addresses, the first telephone number and the note of each.
func webCards(r io.Reader) (all []Contact, err error) {
	var c Contact
	var mails []string
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	var lines []string
	for s.Scan() {
		ln := strings.TrimSuffix(s.Text(), "\r")
		if n := len(lines); n > 0 && (strings.HasPrefix(ln, " ") || strings.HasPrefix(ln, "\t")) {
			lines[n-1] += ln[1:]
		} else {
			lines = append(lines, ln)
		}
	}
	for _, ln := range lines {
		prop, value, _ := strings.Cut(ln, ":")
		name, params, _ := strings.Cut(strings.ToUpper(prop), ";")
		if _, tail, ok := strings.Cut(name, "."); ok { // a group, such as item1.EMAIL
			name = tail
		}
		if strings.Contains(params, "QUOTED-PRINTABLE") { // vCard 2.1
			b, _ := io.ReadAll(quotedprintable.NewReader(strings.NewReader(value))) // as far as it goes
			value = strings.ToValidUTF8(string(b), "\ufffd")
		}
		value = strings.NewReplacer(`\n`, " ", `\N`, " ", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(value)
		switch name {
		case "BEGIN":
			c, mails = Contact{}, nil
		case "FN":
			c.Name = webCut(strings.TrimSpace(webClean(value)), 200)
		case "EMAIL":
			mails = append(mails, strings.TrimPrefix(strings.TrimSpace(value), "mailto:"))
		case "TEL":
			if c.Phone == "" {
				c.Phone = webCut(strings.TrimPrefix(webClean(value), "tel:"), 50)
			}
		case "NOTE":
			c.Note = webCut(webClean(value), 500)
		case "END":
			for _, m := range mails {
				if a, err := ParseAddr(m); err == nil {
					c.Address = a.Key()
					all = append(all, c)
				}
			}
		}
	}
	return all, s.Err()
}

func (q *webReq) postCards() error {
	var all []Contact
	err := q.readParts(url.Values{}, webMaxCards, func(p *multipart.Part) (err error) {
		all, err = webCards(p)
		if err != nil {
			err = webFault(http.StatusUnprocessableEntity, "This file can't be read.")
		}
		return err
	})
	if err != nil {
		return err
	}
	err = q.s.store.Write(func(tx *Tx) error {
		for _, c := range all {
			if err := tx.KeepContact(q.user.ID, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.sayCount(int64(len(all)), "%s address imported.", "%s addresses imported.")
	return q.redirect("/contacts")
}
