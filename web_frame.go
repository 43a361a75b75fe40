// HTML mail in its frame: the policy, the page inside, and the addresses of its pictures.
package main

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// webFramePolicy is for a mail's own HTML: nothing runs, nothing is fetched but pictures, no form is sent. allow-same-origin
// lets our page measure the frame; without allow-scripts nothing in the frame can make use of it, and default-src 'none'
// says so once more. The policy holds even when somebody opens the address outside our frame.
const webFramePolicy = "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox; default-src 'none'; script-src 'none'; " +
	"style-src 'unsafe-inline'; img-src data: 'self' %s; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

// frameHeaders set the policy, with remote pictures if the reader asked for them.
func (q *webReq) frameHeaders(pictures bool) {
	remote := ""
	if pictures {
		remote = "http: https:"
	}
	h := q.w.Header()
	h.Set("Content-Security-Policy", fmt.Sprintf(webFramePolicy, remote))
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Referrer-Policy", "no-referrer")
}

// webScope is the element around a mail's HTML, and the scope of its style sheets. It is one that no mail can end: an
// applet is unknown to browsers except to their parsers, for which no end tag inside reaches past it.
const webScope = "applet.mail"

// webFrame is the inside of the frame.
type webFrame struct {
	Subject string
	Look    string // "light", "dark", or "auto" as the browser has it
	Texts   []webText
}

// getHTML is the inside of the frame.
func (q *webReq) getHTML() error {
	m, err := q.open()
	if err != nil {
		return err
	}
	q.describe(m)
	if err := q.readLeaves(m); err != nil {
		return err
	}
	f := webFrame{Subject: m.Subject, Look: "light"}
	f.Texts, err = q.shownTexts(m)
	if err != nil {
		return err
	}
	if len(f.Texts) == 0 {
		return ErrNotFound
	}
	colours, err := q.hasColours(m)
	if err != nil {
		return err
	}
	if !colours { // mails are written for white paper; one without colours can be read on dark as well
		f.Look = cmp.Or(q.look().Theme, "auto")
	}
	q.frameHeaders(m.Pictures)
	return q.bare("mail-frame", f)
}

// hasColours says whether the sender gave the message colours.
func (q *webReq) hasColours(m *webMessage) (bool, error) {
	for _, l := range m.texts() {
		if !l.Part.Is("text", "html") {
			continue
		}
		safe, err := q.safe(m, l.Part)
		if err != nil || safe.Colours {
			return true, err
		}
	}
	return false, nil
}

// bare sends a page without anything of ours around it.
func (q *webReq) bare(kind string, d any) error {
	var b bytes.Buffer
	if err := q.lang.tmpl.ExecuteTemplate(&b, kind, d); err != nil {
		return err
	}
	q.send(http.StatusOK, "text/html; charset=utf-8", b.Bytes())
	return nil
}

// webInlineTime is how long the address of an inline picture is good for at least, and half of how long at most.
const webInlineTime = 12 * time.Hour

// inlineAddress makes the address of a picture inside a message. The address carries the session that it was made for and a
// proof of its own: it is good as long as that session, for a day at most, also for a frame that sends no cookies.
func (q *webReq) inlineAddress(blob BlobID, path string) string {
	return fmt.Sprintf("/inline/%d/%s/%s", blob, path, q.inlineProof(q.session.Name(), q.inlineTurn(), blob, path))
}

// inlineTurn numbers the stretches of webInlineTime. An address stays the same within one, so that browsers keep the picture.
func (a *webApp) inlineTurn() int64 { return a.s.store.Now().Unix() / int64(webInlineTime/time.Second) }

func (a *webApp) inlineProof(session string, turn int64, blob BlobID, path string) string {
	mac := hmac.New(sha256.New, a.key)
	fmt.Fprintf(mac, "inline %s %d %d %s", session, turn, blob, path)
	return session + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// mayInline says whether a proof is one of ours, of this turn or the last, and its session goes on.
func (a *webApp) mayInline(proof string, blob BlobID, path string) bool {
	session, _, _ := strings.Cut(proof, ".")
	turn := a.inlineTurn()
	if !hmac.Equal([]byte(proof), []byte(a.inlineProof(session, turn, blob, path))) &&
		!hmac.Equal([]byte(proof), []byte(a.inlineProof(session, turn-1, blob, path))) {
		return false
	}
	return a.s.store.Read(func(tx *Tx) error { return tx.FindWebSession(session) }) == nil
}

// pictureID is the Content-ID that a picture of a message gets in the letter that takes it over.
func (a *webApp) pictureID(blob BlobID, at string) string {
	mac := hmac.New(sha256.New, a.key)
	fmt.Fprintf(mac, "picture %d %s", blob, at)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]) + "@postino"
}
