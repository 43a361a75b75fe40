// Writing: the page with the form of a letter, drafts that are gone on with, and what its buttons do.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	webMaxField    = 1 << 20   // octets of one field of the form
	webMaxFields   = 200       // fields of it
	webFieldRoom   = 4 << 20   // octets of all fields together
	webSmallDraft  = 256 << 10 // octets of attachments up to which every automatic save writes the draft anew
	webMaxQuoted   = 200_000   // octets of a text that is quoted in an answer
	webRecallTime  = 10 * time.Second
	webFormRoom    = 8 << 20 // octets of a form beside its files
	webFileHeader  = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	webMaxSchedule = 366 * 24 * time.Hour
)

func webComposeRoutes() []webRoute {
	return []webRoute{
		{"GET /compose", webLoggedIn, (*webReq).getCompose},
		{"POST /compose", webLoggedIn | webWithFiles | webLate, (*webReq).postCompose},
		{"GET /compose/picture/{letter}/{file}", webLoggedIn, (*webReq).getLetterPicture},
		{"POST /compose/recall", webLoggedIn, (*webReq).postRecall},
		{"POST /redirect", webLoggedIn, (*webReq).postRedirect},
		{"POST /unsubscribe", webLoggedIn, (*webReq).postUnsubscribe},
		{"GET /outbox", webLoggedIn, (*webReq).getOutbox},
		{"POST /outbox", webLoggedIn, (*webReq).postOutbox},
	}
}

// webFields is a letter as it is being written: what its fields hold, as typed.
type webFields struct {
	From       string   `json:"from,omitempty"` // one of the user's addresses
	ReplyTo    string   `json:"replyto,omitempty"`
	To         string   `json:"to,omitempty"`
	Cc         string   `json:"cc,omitempty"`
	Bcc        string   `json:"bcc,omitempty"`
	Subject    string   `json:"subject,omitempty"`
	Text       string   `json:"text,omitempty"`
	HTML       string   `json:"html,omitempty"` // with formatting; Text is then not used
	InReplyTo  string   `json:"inreplyto,omitempty"`
	References []string `json:"references,omitempty"`
	Source     string   `json:"source,omitempty"` // "box.uid" of what is answered or forwarded
	Kind       string   `json:"kind,omitempty"`   // "reply" or "forward"
}

// webFieldsOf are the fields of a letter that is stored.
func webFieldsOf(l *Letter) (webFields, error) {
	var w webFields
	if l.Fields == nil {
		return w, nil
	}
	err := json.Unmarshal(l.Fields, &w)
	return w, err
}

// webCompose is the page of the form.
type webCompose struct {
	webFields
	ID       int64
	Draft    string // "box.uid" of a draft from another program that this continues
	Files    []LetterFile
	Keep     []webFile // attachments of the source that come along
	From     []webIdentity
	Error    string
	Title    string
	Limit    int64 // octets that attachments may have together
	Now, Max string
	Fault    string
	Redirect string
}

// webIdentity is a name and an address that a user writes under.
type webIdentity struct {
	Name, Address, Signature string
}

// Full is the identity as an address field shows it.
func (i webIdentity) Full() string { return webPlain(i.Name, i.Address) }

// webPlain writes an address for a text field: the name is not encoded, and quoted when it must be.
func webPlain(name, address string) string {
	if name == "" {
		return address
	}
	if strings.ContainsAny(name, `()<>[]:;@\,."`) {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name + " <" + address + ">"
}

// identities are those the user has made, or the one that everybody has.
func (tx *Tx) identities(u User) ([]webIdentity, error) {
	var all []webIdentity
	err := tx.Preference(u.ID, PrefIdentity, &all)
	if len(all) == 0 {
		all = []webIdentity{{Address: u.Name}}
	}
	return all, err
}

func (q *webReq) identities() ([]webIdentity, error) {
	return read(q.s.store, func(tx *Tx) ([]webIdentity, error) { return tx.identities(q.user) })
}

func (q *webReq) senders() ([]webIdentity, error) {
	return read(q.s.store, func(tx *Tx) ([]webIdentity, error) { return tx.senders(q.user) })
}

// fileLimit is what attachments may have together, so that the letter fits into [limits] message in base64.
func (q *webReq) fileLimit() int64 { return int64(q.s.cfg.Limits.Message)/78*57 - 64<<10 }

// getCompose shows an empty form, or one for an answer, a forward, a draft or a mailto: link. Nothing is stored yet.
func (q *webReq) getCompose() error {
	v := q.r.URL.Query()
	from, err := q.senders()
	if err != nil {
		return err
	}
	c := webCompose{Title: "New message", From: from}
	c.webFields.From = c.From[0].Address
	switch {
	case v.Get("kept") != "":
		return q.continueParked(v.Get("kept"))
	case v.Get("id") != "":
		err = q.continueLetter(&c, v.Get("id"))
	case v.Get("draft") != "":
		err = q.continueDraft(&c, v.Get("draft"))
	case v.Get("reply") != "":
		err = q.answer(&c, v.Get("reply"), webAnswerTo(v))
	case v.Get("forward") != "":
		err = q.forward(&c, v.Get("forward"), v.Get("whole") != "")
	case v.Get("redirect") != "":
		return q.redirectPage(&c, v.Get("redirect"))
	default:
		if link := webMailtoQuery(q.r.URL); link != "" {
			c.mailto(link)
		} else {
			c.To, c.Cc, c.Bcc = v.Get("to"), v.Get("cc"), v.Get("bcc")
			c.Subject, c.Text = v.Get("subject"), v.Get("body")
		}
		c.Text += c.signature()
	}
	if err != nil {
		return err
	}
	return q.composePage(http.StatusOK, &c)
}

// webWritePolicy is for the page on which letters are written: the editor shows text with styles of its own.
var webWritePolicy = strings.Replace(webPagePolicy, "style-src 'self'", "style-src 'self' 'unsafe-inline'", 1)

func (q *webReq) composePage(status int, c *webCompose) error {
	q.w.Header().Set("Content-Security-Policy", webWritePolicy)
	c.Limit = q.fileLimit()
	now := q.s.store.Now()
	c.Now, c.Max = q.lang.Input(now), q.lang.Input(now.Add(webMaxSchedule))
	c.Subject, c.To, c.Cc, c.Bcc = webClean(c.Subject), webClean(c.To), webClean(c.Cc), webClean(c.Bcc)
	return q.status(status, "compose", c.Title, c)
}

// signature is what a new letter ends with: the one of the identity it is from.
func (c *webCompose) signature() string {
	for _, i := range c.From {
		if i.Address == c.webFields.From && strings.TrimSpace(i.Signature) != "" {
			return "\n\n-- \n" + strings.TrimRight(i.Signature, "\n")
		}
	}
	return ""
}

// continueLetter goes on with a letter that was stored before.
func (q *webReq) continueLetter(c *webCompose, id string) error {
	n := webID[int64](id)
	l, err := read(q.s.store, func(tx *Tx) (Letter, error) { return tx.Letter(q.user.ID, n) })
	if err != nil {
		return err
	}
	return c.take(l)
}

// take fills the form with a letter. Its pictures get addresses where this user's browser finds them.
func (c *webCompose) take(l Letter) error {
	c.ID, c.Files, c.Fault = l.ID, l.Files, l.Fault
	w, err := webFieldsOf(&l)
	if err != nil {
		return err
	}
	c.webFields = w
	if c.HTML != "" {
		c.HTML = webSanitize(c.HTML, webHTMLView{Pictures: true, Own: true, Inline: func(src string) string {
			for _, f := range l.Files {
				if f.ContentID != "" && src == "cid:"+f.ContentID {
					return webLetterPicture(l.ID, f.ID)
				}
			}
			return ""
		}}).Body
	}
	return nil
}

// keyed opens the message that a form names.
func (q *webReq) keyed(key string) (*webMessage, error) {
	box, uid, _ := strings.Cut(key, ".")
	m, err := q.openMessage(webID[MailboxID](box), webUID(uid), "")
	if err == nil {
		q.describe(m)
		err = q.readLeaves(m)
	}
	return m, err
}

// continueDraft goes on with a message in Drafts: our own, or one that another program has put there.
func (q *webReq) continueDraft(c *webCompose, key string) error {
	m, err := q.keyed(key)
	if err != nil {
		return err
	}
	l, err := read(q.s.store, func(tx *Tx) (Letter, error) { return tx.LetterOf(q.user.ID, m.Box.ID, m.M.UID) })
	if err == nil {
		return c.take(l)
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	c.Draft, c.Source, c.Keep = key, key, q.inherited(m)
	c.To, c.Cc, c.Bcc, c.ReplyTo, c.Subject = webField(m.To), webField(m.Cc), webField(m.Bcc), webField(m.ReplyTo), m.Subject
	for _, i := range c.From {
		if strings.EqualFold(i.Address, m.Sender().Address) {
			c.webFields.From = i.Address
		}
	}
	c.InReplyTo, c.References = m.header.Get("In-Reply-To"), MessageIDs(m.header.Get("References"))
	text, cut, err := q.plainTexts(m, webMaxField)
	if err != nil {
		return err
	}
	c.HTML, err = q.formatted(m)
	if err != nil {
		return err
	}
	if c.HTML == "" {
		c.Text = text
	}
	if cut || len(c.HTML) > webMaxField || len(m.Files) > len(c.Keep) || len(c.Keep) > maxLetterFiles {
		c.Draft = "" // the original stays in Drafts, because this form can't hold all of it
		c.Error = q.lang.T("This draft is too long to be changed here as a whole. What you write is a new one; the original stays in Drafts.")
	}
	return nil
}

// postCompose saves, attaches and sends. Every button saves first, so that nothing that was typed is ever lost.
func (q *webReq) postCompose() error {
	f, err := q.readForm()
	defer f.close()
	if err != nil {
		return err
	}
	if q.user.ID == 0 || q.checkToken(f.Get("csrf")) != nil {
		return q.park(f)
	}
	do := f.Get("do")
	dropped, drop := strings.CutPrefix(do, "drop:")
	switch do {
	case "discard":
		return q.discard(f)
	case "auto", "save", "send", "later", "attach":
	default:
		if !drop {
			return webErrDo
		}
	}
	l, err := q.keepLetter(f)
	if errors.Is(err, webErrSent) && do != "auto" {
		return q.keepNew(f)
	}
	if err != nil {
		return err
	}
	if do == "auto" {
		return q.autoSaved(l, f)
	}
	var c webCompose
	if err := c.take(*l); err != nil {
		return err
	}
	c.From, err = q.senders()
	if err != nil {
		return err
	}
	c.Title = "New message"
	switch {
	case do == "send" || do == "later":
		return q.sendLetter(l, &c, f)
	case do == "save":
		if err := q.saveDraft(l); err != nil {
			return err
		}
		q.say("Saved in Drafts.")
		return q.redirect(fmt.Sprintf("/compose?id=%d", l.ID))
	case drop:
		if err := q.s.store.Write(func(tx *Tx) error { return tx.RemoveLetterFile(l.ID, webID[int64](dropped)) }); err != nil {
			return err
		}
	}
	if l.UID == 0 { // without a script this is the first time that it is kept
		if err := q.saveDraft(l); err != nil {
			return err
		}
	}
	return q.redirect(fmt.Sprintf("/compose?id=%d", l.ID))
}

// keepNew keeps what was written in a letter that is gone as a new one, and says so.
func (q *webReq) keepNew(f *webForm) error {
	f.Del("id")
	l, err := q.keepLetter(f)
	if err == nil {
		err = q.saveDraft(l)
	}
	if err != nil {
		return err
	}
	q.sayBad(webErrSent.Error())
	return q.redirect(fmt.Sprintf("/compose?id=%d", l.ID))
}

// Sender is the address that the letter is from: the page's own From is the list of all.
func (c *webCompose) Sender() string { return c.webFields.From }

// Shown is what the plain text field holds: of a letter with formatting, its text.
func (c *webCompose) Shown() string {
	if c.HTML == "" {
		return c.Text
	}
	b, _ := io.ReadAll(HTMLText(strings.NewReader(c.HTML)))
	return string(b)
}
