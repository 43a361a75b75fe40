// HTML mail in its frame: the policy, the style and the pictures.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// webFramePolicy is for a mail's own HTML: nothing runs, nothing is fetched, in a world of its own. The sandbox here
// holds even when somebody opens the address outside our frame.
const webFramePolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; " +
	"img-src data: %s; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

// framePolicy allows pictures of this message, and remote ones if the reader asked for them. 'self' would be nothing,
// because a sandboxed page has no origin, so our address is spelled out.
func (q *webReq) framePolicy(pictures bool) string {
	scheme := "http"
	if q.secure() {
		scheme = "https"
	}
	from := scheme + "://" + q.r.Host + "/inline/"
	if pictures {
		from += " http: https:"
	}
	return fmt.Sprintf(webFramePolicy, from)
}

// getHTML is the inside of the frame.
func (q *webReq) getHTML() error {
	m, err := q.open()
	if err != nil {
		return err
	}
	body, pictures, err := q.safeHTML(m)
	if err != nil {
		return err
	}
	q.frameHeaders(pictures)
	page := `<!doctype html><html><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">` +
		`<meta name="viewport" content="width=device-width, initial-scale=1"><title>` + template.HTMLEscapeString(m.header.Text("Subject")) +
		`</title><style>` + webFrameStyle + `</style></head><body>` + body + `</body></html>`
	q.send(http.StatusOK, "text/html; charset=utf-8", []byte(page))
	return nil
}

// webFrameStyle is what a mail's HTML begins with. Mails are written for white paper, so they get that in the dark too.
const webFrameStyle = `html{color-scheme:light;background:#fff}body{margin:16px;font:16px/1.5 system-ui,sans-serif;color:#1c2024;` +
	`overflow-wrap:anywhere}img{max-width:100%;height:auto}pre{white-space:pre-wrap}table{max-width:100%}blockquote{margin:0 0 0 .5em;` +
	`padding-left:.8em;border-left:3px solid #ccd}.leads{color:#a40;font-size:.85em}`

func (q *webReq) frameHeaders(pictures bool) {
	h := q.w.Header()
	h.Set("Content-Security-Policy", q.framePolicy(pictures))
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Referrer-Policy", "no-referrer")
}

// safeHTML reads and sanitises a message's HTML.
func (q *webReq) safeHTML(m *webMessage) (body string, pictures bool, err error) {
	rich := m.root.TextPart("html")
	if rich == nil {
		return "", false, ErrNotFound
	}
	text, err := webReadText(rich, m.content, webMaxHTML)
	if err != nil {
		return "", false, err
	}
	m.From = webPeople(ParseEnvelope(m.header).From)
	pictures, err = q.picturesWanted(m)
	if err != nil {
		return "", false, err
	}
	cids := q.inlinePictures(m)
	body = webSanitize(text, webHTMLView{Pictures: pictures, Inline: func(cid string) string { return cids[cid] }})
	return body, pictures, nil
}

// inlinePictures maps Content-IDs (RFC 2392) to addresses, for pictures that browsers may show.
func (q *webReq) inlinePictures(m *webMessage) map[string]string {
	cids := map[string]string{}
	m.content.Tree().Walk(func(path []int, p *Part) bool {
		if id := strings.Trim(strings.TrimSpace(p.ID), "<>"); id != "" && webIsPicture(p.Type+"/"+p.Subtype) && cids[id] == "" {
			cids[id] = q.inlineAddress(m.content.ID, webPathText(path))
		}
		return true
	})
	return cids
}

// webInlineTime is how long the address of an inline picture is good for at least, and half of how long at most.
const webInlineTime = 12 * time.Hour

// inlineAddress makes the address of a picture inside a message. A sandboxed frame sends no cookies, so the address carries the
// session that it was made for and a proof of its own: it is good as long as that session, for a day at most.
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
