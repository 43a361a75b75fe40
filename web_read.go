// One message: its page, its print view, and the conversation around it.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	webMaxTalk  = 60 // messages of a conversation that are listed
	webMaxWhole = 12 // of which so many are shown in full
)

// webMessage is a message as its page shows it.
type webMessage struct {
	Box  Mailbox
	M    Message
	Href string // of the message; for one inside another also with its place
	At   string // the place of a message inside another, such as "2.1"; "" for the message itself

	Subject                                     string
	From                                        []webPerson
	ReplyTo                                     []webPerson
	To                                          []webPerson
	Cc                                          []webPerson
	Bcc                                         []webPerson
	Resent                                      []webPerson // who sent it on, unchanged (RFC 5322 §3.6.6)
	Date                                        time.Time
	DateText                                    string // the Date field where it can't be understood
	Texts                                       []webText
	HTML                                        bool // the texts are in a frame, because there is HTML among them
	Plain                                       bool // the reader wants the plain text where there is HTML too
	Both                                        bool // there is another form of a text
	Height, Narrow                              int  // of the HTML's frame, and on a phone
	Remote                                      bool // the HTML has pictures elsewhere
	Pictures                                    bool // and they are shown
	Events                                      []webEvent
	Files                                       []webFile
	FileSize                                    int64
	MoreFiles                                   int // that are not listed
	Open                                        bool
	Snippet                                     string
	Lists                                       webListFields
	Trust                                       *webTrust // nil says nothing
	Junk                                        *webJunk  // why it was put into Junk; nil says nothing
	Flagged, Unread, Draft, Answered, Forwarded bool

	stored  *Content // the whole message
	content *Content // what root is in: the same, or what was signed
	inside  string   // the place of root
	root    *Part
	header  Header
	leaves  []webLeaf
}

// Sender is the first From address.
func (m *webMessage) Sender() webPerson {
	if len(m.From) > 0 {
		return m.From[0]
	}
	return webPerson{}
}

// Key names the message in forms.
func (m *webMessage) Key() string { return webKey(m.Box.ID, m.M.UID) }

// open finds the message that the address names, and for "at" one inside it.
func (q *webReq) open() (*webMessage, error) {
	return q.openMessage(webID[MailboxID](q.r.PathValue("box")), webUID(q.r.PathValue("uid")), q.r.URL.Query().Get("at"))
}

func (q *webReq) openMessage(box MailboxID, uid UID, at string) (*webMessage, error) {
	m, err := read(q.s.store, func(tx *Tx) (*webMessage, error) {
		b, err := q.mailbox(tx, box)
		if err != nil {
			return nil, err
		}
		row, err := tx.Message(box, uid)
		if err != nil {
			return nil, err
		}
		c, err := tx.Content(row.Blob)
		return &webMessage{At: at, Box: b, M: row, content: c}, err
	})
	if err == nil {
		err = m.content.checkHead()
	}
	if err != nil {
		return nil, err
	}
	m.Href = webHref(box, uid)
	m.stored, m.inside = m.content, at
	m.root, m.header = m.content.Tree(), m.content.Header()
	m.Plain = q.r.URL.Query().Get("as") == "text"
	if at == "" {
		q.openSigned(m)
		return m, nil
	}
	c, p, err := q.find(m.stored, at)
	switch {
	case err != nil:
		return nil, err
	case p == nil || (!p.IsMessage() && !strings.HasSuffix(at, webInSigned)):
		return nil, ErrNotFound
	case !p.IsMessage(): // what was signed; its header is that of the message around it
		m.content, m.root = c, p
		return m, nil
	}
	m.content, m.root = c, p.Parts[0]
	head := make([]byte, min(m.root.HeaderLen, headMax))
	if _, err := io.ReadFull(io.NewSectionReader(m.content, m.root.HeaderOff, int64(len(head))), head); err != nil {
		return nil, err
	}
	m.header = ParseHeader(head)
	q.openSigned(m)
	return m, nil
}

// webPath reads the place of a part: "2.1".
func webPath(s string) []int {
	var path []int
	for _, f := range strings.Split(s, ".") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 || len(path) > maxMIMEDepth {
			return nil
		}
		path = append(path, n)
	}
	return path
}

func webPathText(path []int) string {
	s := make([]string, len(path))
	for i, n := range path {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, ".")
}

// describe fills in what the page shows of header, flags and attachments.
func (q *webReq) describe(m *webMessage) {
	e := ParseEnvelope(m.header)
	m.Subject = webCut(webClean(m.header.Text("Subject")), 4*webMaxSubject)
	m.From, m.To = webPeople(e.From), webPeople(e.To)
	if m.header.Get("Reply-To") != "" { // the envelope repeats From where there is none
		m.ReplyTo = webPeople(e.ReplyTo)
	}
	m.Cc, m.Bcc = webPeople(e.Cc), webPeople(e.Bcc)
	m.Resent = webPeople(ParseAddressList(m.header.Get("Resent-From")))
	date, err := ParseDate(e.Date)
	m.Date = date
	if err != nil {
		m.Date, m.DateText = m.M.Internal, webCut(webClean(e.Date), 100)
	}
	f := m.M.Flags.Bits
	m.Flagged, m.Unread, m.Draft = f&FlagFlagged != 0, f&FlagSeen == 0, f&FlagDraft != 0
	m.Answered, m.Forwarded = f&FlagAnswered != 0, f&FlagForwarded != 0
	m.Lists = webListOf(m.header)
	m.Trust = q.trustOf(m)
}

// picturesWanted says whether remote pictures are shown: for this once, or always from this sender.
func (q *webReq) picturesWanted(m *webMessage) (bool, error) {
	if q.r.URL.Query().Get("pictures") == "1" {
		return true, nil
	}
	var from []string
	err := q.s.store.Read(func(tx *Tx) error { return tx.Preference(q.user.ID, PrefPictures, &from) })
	return slices.Contains(from, strings.ToLower(m.Sender().Address)), err
}

// webReading is the page of a message.
type webReading struct {
	*webMessage
	Talk   []*webMessage // the conversation, oldest first; nil if the message is alone
	List   webList       // beside it on a wide screen
	Back   string        // to the list, at the message's row
	After  string        // to the list, at the row that follows: for when the message is gone from it
	All    string        // keys of the messages in this folder that the buttons are for
	Whole  bool          // they are for the conversation, in other folders too
	Newer  string
	Older  string
	Report []webDelivery // what became of a letter of ours
	Query  string
}

func (r webReading) inBox() (MailboxID, string) { return r.Box.ID, r.Query }

func (q *webReq) getMessage() error {
	m, err := q.open()
	if err != nil {
		return err
	}
	q.describe(m)
	if m.At == "" && m.Draft && q.r.URL.Query().Get("view") == "" {
		return q.redirect("/compose?draft=" + m.Key())
	}
	if err := q.body(m); err != nil {
		return err
	}
	m.Junk, err = q.whyJunk(m)
	if err != nil {
		return err
	}
	m.Open = true
	if m.At == "" && m.Unread && q.isRead() {
		_, err := q.setFlags(webChosen{m.Box.ID: {m.M.UID}}, webFlags('+', FlagSeen), 0)
		if err != nil && !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrDiskFull) {
			return err
		}
	}
	p := webReading{webMessage: m, Query: q.r.URL.Query().Get("q"), Back: fmt.Sprintf("/box/%d", m.Box.ID)}
	if m.At == "" {
		if err := q.around(&p); err != nil {
			return err
		}
	}
	title := m.Subject
	if title == "" {
		title = q.lang.T("(no subject)")
	}
	return q.page("read", title, p)
}

// webPrint is the page to print a message from, with its HTML as a part of the page.
type webPrint struct {
	*webMessage
	Shown []webText
}

func (q *webReq) getPrint() error {
	m, err := q.open()
	if err != nil {
		return err
	}
	q.describe(m)
	if err := q.body(m); err != nil {
		return err
	}
	p := webPrint{webMessage: m}
	p.Shown, err = q.shownTexts(m)
	if err != nil {
		return err
	}
	for i := range p.Shown {
		if !p.Shown[i].Mail {
			p.Shown[i].Body = webUnfold(p.Shown[i].Body)
		}
	}
	q.frameHeaders(m.Pictures)
	return q.page("print", m.Subject, p)
}

// postPictures remembers a sender whose remote pictures are always shown.
func (q *webReq) postPictures() error {
	f := q.r.PostForm
	from := strings.ToLower(strings.TrimSpace(f.Get("from")))
	if from == "" || len(from) > maxPath {
		return webFault(http.StatusBadRequest, "That is no address.")
	}
	err := q.s.store.Write(func(tx *Tx) error {
		var all []string
		if err := tx.Preference(q.user.ID, PrefPictures, &all); err != nil {
			return err
		}
		if !slices.Contains(all, from) {
			all = append(all, from)
		}
		if len(all) > webMaxShown {
			return ErrTooMany
		}
		return tx.SetPreference(q.user.ID, PrefPictures, all)
	})
	if err != nil {
		return err
	}
	return q.redirect(webLocal(f.Get("back")))
}

// Message is the message that the page was asked for.
func (r webReading) Message() *webMessage { return r.webMessage }
