// How to set up phones and mail programs, and the passwords for them.
package main

import (
	"bytes"
	"encoding/pem"
	"html/template"
	"net/http"
	"strings"
)

// webGuide is what people need to set up their devices.
type webGuide struct {
	Servers []webServer
	Profile string // the address of Apple's profile
	QR      template.URL
	Root    bool // the certificate is from the server's own root
	RootQR  template.URL
	Finger  string
}

// webDevices is a page with the guide on it.
type webDevices struct {
	Guide   webGuide
	Devices []AppPassword
	New     string // a password that was just made
}

// site is this site's address as the browser called it.
func (q *webReq) site() string {
	scheme := "http://"
	if q.secure() {
		scheme = "https://"
	}
	return scheme + q.r.Host
}

func (q *webReq) guide() (webGuide, error) {
	g := webGuide{Servers: q.servers(), Profile: "/apple.mobileconfig"}
	if q.user.ID != 0 {
		g.Profile += "?address=" + webEscape(q.user.Name)
		code, err := q.code(q.site() + g.Profile)
		if err != nil {
			return webGuide{}, err
		}
		g.QR = code
	}
	if root := q.s.tls.RootPEM(); root != nil {
		code, err := q.code(q.site() + "/root.crt")
		if err != nil {
			return webGuide{}, err
		}
		g.Root, g.RootQR = true, code
		g.Finger = q.s.tls.Fingerprint()
	}
	return g, nil
}

const webMaxCodes = 32 // QR codes kept in memory, some 2 KB each

// code draws a QR code for a page that anybody may open, or takes the one that was drawn before.
func (q *webReq) code(text string) (template.URL, error) {
	if known := q.codes.get(text); known != nil {
		return *known, nil
	}
	qr, err := webQRCode(text)
	if err == nil {
		q.codes.put(text, &qr)
	}
	return qr, err
}

func (q *webReq) guidePage(kind, title string, p webDevices) error {
	guide, err := q.guide()
	if err != nil {
		return err
	}
	p.Guide = guide
	return q.page(kind, title, p)
}

func (q *webReq) getHelp() error    { return q.guidePage("help", "Help", webDevices{}) }
func (q *webReq) getWelcome() error { return q.guidePage("welcome", "Welcome", webDevices{}) }

func (q *webReq) getDevices() error { return q.devices("") }

func (q *webReq) devices(password string) error {
	all, err := read(q.s.store, func(tx *Tx) ([]AppPassword, error) { return tx.AppPasswords(q.user.ID) })
	if err != nil {
		return err
	}
	p := webDevices{New: password, Devices: all}
	return q.guidePage("devices", "Phones and programs", p)
}

// postDevices makes an app password, which is shown this once, or takes one back.
func (q *webReq) postDevices() error {
	f := q.r.PostForm
	switch f.Get("do") {
	case "add":
		return q.addAppPassword(f.Get("name"))
	case "drop":
		id := webID[int64](f.Get("id"))
		if err := q.s.store.Write(func(tx *Tx) error { return tx.RemoveAppPassword(q.user.ID, id) }); err != nil {
			return err
		}
		q.say("The password is void now.")
		return q.redirect("/devices")
	}
	return webErrDo
}

func (q *webReq) addAppPassword(name string) error {
	if err := q.fits(webMost{"name", 60}); err != nil {
		return err
	}
	name = strings.TrimSpace(webClean(name))
	if name == "" {
		return webFault(http.StatusUnprocessableEntity, "The device needs a name.")
	}
	if err := q.checkOwn(); err != nil {
		return err
	}
	password, secret := NewAppPassword()
	if err := q.s.store.Write(func(tx *Tx) error { return tx.AddAppPassword(q.user.ID, name, secret) }); err != nil {
		return err
	}
	q.log.Info("app password made", "user", q.user.Name, "device", name)
	return q.devices(password)
}

// getRoot hands the root certificate out, in the form that phones install when it is opened.
func (q *webReq) getRoot() error {
	block, _ := pem.Decode(q.s.tls.RootPEM())
	if block == nil {
		return ErrNotFound
	}
	q.attachmentHeaders("root.crt", "application/x-x509-ca-cert")
	return q.stream(bytes.NewReader(block.Bytes))
}
