// What a message's page shows of its parts: texts, pictures inside them, and files. Print, answers and forwards take the same.
package main

import (
	"cmp"
	"errors"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strings"
)

const (
	webMaxFiles   = 1000      // files of a message that are listed
	webMaxThumb   = 8 << 20   // octets of a picture that is shown small beside its name
	webSafeKept   = 16        // HTML texts that are kept sanitised for their frames
	webMaxSafe    = 512 << 10 // octets of one that is kept
	webMaxInlines = 1000      // parts of a message that are looked at for pictures of its HTML
)

// webLeaf is a part of a message that holds no others, and what becomes of it.
type webLeaf struct {
	Leaf
	At string // its place, counted from the whole message
}

// webFile is an attachment in a list.
type webFile struct {
	Name, Kind string
	Size       int64
	Href       string
	Path       string
	Picture    string // the address of a picture that a browser can show small
	Message    string // the address of a forwarded message's page
}

// webText is one text of a message, ready to be shown.
type webText struct {
	Mail  bool // the sender's own HTML
	Body  template.HTML
	Style template.CSS
	Cut   bool // it is longer than what is shown
}

// webSafeKey names a sanitised HTML text. The addresses of its pictures are good for one session and some hours.
type webSafeKey struct {
	session  string
	turn     int64
	blob     BlobID
	at       string
	pictures bool
}

// readLeaves finds out what becomes of every part of the message, in the form that the reader wants.
func (q *webReq) readLeaves(m *webMessage) error {
	if m.leaves != nil {
		return nil
	}
	wanted, err := q.picturesWanted(m)
	if err != nil {
		return err
	}
	m.Pictures = wanted
	var fault error
	how := Reading{Plain: m.Plain, Uses: func(p *Part) map[string]bool {
		safe, err := q.safe(m, p)
		fault = cmp.Or(fault, err)
		return safe.Used
	}}
	for _, l := range m.root.Leaves(m.content, how) {
		if l.Fate == LeafShown && l.Part.Is("text", "html") {
			hidden, err := q.hidesAll(m, l.Part)
			fault = cmp.Or(fault, err)
			if hidden {
				l.Fate = LeafFile
			}
		}
		m.leaves = append(m.leaves, webLeaf{l, m.place(l.Path)})
	}
	for _, l := range m.leaves {
		m.Both = m.Both || (l.Fate == LeafAlternative && l.Part.Type == "text")
	}
	return fault
}

// webHiding is what a page may consist of that is not shown here.
var webHiding = []string{"<frame", "<iframe", "<object", "<embed", "<script", "<svg", "<video", "<audio", "<input", "<select", "<textarea", "<!--"}

// hidesAll says whether an HTML text has something in it, and nothing that is shown here: frames of other pages, or what a
// comment without an end has swallowed. It is a file then.
func (q *webReq) hidesAll(m *webMessage, p *Part) (bool, error) {
	safe, err := q.safe(m, p)
	if err != nil || len(safe.Body) > maxEmptyText || strings.Contains(safe.Body, "<img") {
		return false, err
	}
	words, err := io.ReadAll(HTMLText(strings.NewReader(safe.Body)))
	if err != nil || strings.Trim(string(words), " \t\r\n\u00a0\ufeff\u200b") != "" {
		return false, err
	}
	text, err := webReadText(p, m.content, webMaxHTML)
	text = strings.ToLower(text)
	return slices.ContainsFunc(webHiding, func(tag string) bool { return strings.Contains(text, tag) }), err
}

// place is where a part is, counted from the whole message.
func (m *webMessage) place(path []int) string { return webJoinPlace(m.inside, webPathText(path)) }

// texts are the leaves to be read, in order.
func (m *webMessage) texts() []webLeaf {
	return slices.Collect(func(yield func(webLeaf) bool) {
		for _, l := range m.leaves {
			if l.Fate == LeafShown && !yield(l) {
				return
			}
		}
	})
}

// body fills in the texts and the files, or that there is HTML to show in a frame. A message with HTML has all its texts
// in the frame, one below the other.
func (q *webReq) body(m *webMessage) error {
	if err := q.readLeaves(m); err != nil {
		return err
	}
	m.Files = q.files(m)
	for _, f := range m.Files {
		m.FileSize += f.Size
	}
	m.Events = q.events(m)
	texts := m.texts()
	m.HTML = slices.ContainsFunc(texts, func(l webLeaf) bool { return l.Part.Is("text", "html") })
	if !m.HTML {
		shown, err := q.shownTexts(m)
		m.Texts = shown
		return err
	}
	for _, l := range texts {
		text, err := webReadText(l.Part, m.content, webMaxHTML)
		if err != nil {
			return err
		}
		if !l.Part.Is("text", "html") {
			text = strings.ReplaceAll(template.HTMLEscapeString(text), "\n", "<br>")
		}
		wide, narrow := webHeight(text)
		m.Height, m.Narrow = min(m.Height+wide, webFrameMost), min(m.Narrow+narrow, webFrameMost)
		if l.Part.Is("text", "html") {
			safe, err := q.safe(m, l.Part)
			if err != nil {
				return err
			}
			m.Remote = m.Remote || safe.Remote
		}
	}
	return nil
}

// Frame is the address of the frame with the message's HTML.
func (m *webMessage) Frame() string {
	v := url.Values{}
	if m.At != "" {
		v.Set("at", m.At)
	}
	if m.Pictures {
		v.Set("pictures", "1")
	}
	if m.Plain {
		v.Set("as", "text")
	}
	if len(v) == 0 {
		return m.Href + "/html"
	}
	return m.Href + "/html?" + v.Encode()
}

// shownTexts makes the texts ready to be shown.
func (q *webReq) shownTexts(m *webMessage) ([]webText, error) {
	var all []webText
	for _, l := range m.texts() {
		if l.Part.Is("text", "html") {
			safe, err := q.safe(m, l.Part)
			if err != nil {
				return all, err
			}
			all = append(all, webText{Mail: true, Cut: safe.Cut, Style: template.CSS(safe.Style), Body: template.HTML(safe.Body)})
			continue
		}
		text, err := webReadText(l.Part, m.content, webMaxText)
		if err != nil {
			return all, err
		}
		t := webText{Cut: len(text) >= webMaxText}
		t.Body = webTextHTML(text, webIsFlowed(l.Part), strings.EqualFold(l.Part.Param("delsp"), "yes"), q.lang)
		if t.Body != "" {
			all = append(all, t)
		}
	}
	if text := q.tnefText(m); len(all) == 0 && text != "" {
		all = append(all, webText{Body: webTextHTML(text, false, false, q.lang)})
	}
	return all, nil
}

func webIsFlowed(p *Part) bool {
	return p.Is("text", "plain") && strings.EqualFold(p.Param("format"), "flowed")
}

// webReadText reads a text part as UTF-8, at most limit octets of it: HTML as HTML, all others as plain text. What can't be
// decoded is shown as far as it goes; what is damaged on the disk is an error, for a page without its text would say that there is none.
func webReadText(p *Part, c *Content, limit int64) (string, error) {
	r := p.PlainText(c)
	if p.Is("text", "html") {
		r = p.Text(c)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit))
	if errors.Is(err, ErrContentDamaged) || (len(b) == 0 && errors.Is(err, ErrClosed)) {
		return "", err
	}
	return strings.ToValidUTF8(string(b), "\ufffd"), nil
}

// safe is an HTML text of the message made harmless. What was sanitised last is kept: the page asks for it, and then its
// frame.
func (q *webReq) safe(m *webMessage, p *Part) (webSafe, error) {
	key := webSafeKey{session: q.session.Name(), turn: q.inlineTurn(), blob: m.content.ID, pictures: m.Pictures}
	m.root.Walk(func(path []int, x *Part) bool {
		if x == p {
			key.at = m.place(path)
		}
		return !x.IsMessage()
	})
	if kept := q.sanitised.get(key); kept != nil {
		return *kept, nil
	}
	text, err := webReadText(p, m.content, webMaxHTML+1)
	if err != nil {
		return webSafe{}, err
	}
	safe := webSanitize(text, webHTMLView{Pictures: m.Pictures, Scope: webScope, Inline: q.inlinePictures(m)})
	if len(safe.Style)+len(safe.Body) <= webMaxSafe {
		q.sanitised.put(key, &safe)
	}
	return safe, nil
}

// inlinePictures returns a function that finds the address of a picture in the message, by its Content-ID (RFC 2392) or
// Content-Location (RFC 2557): "" if it isn't there or is no picture that browsers may show.
func (q *webReq) inlinePictures(m *webMessage) func(src string) string {
	type candidate struct {
		part *Part
		at   string
	}
	known := map[string]candidate{}
	note := func(name string, p *Part, at string) {
		if _, taken := known[name]; name != "" && !taken && len(known) < webMaxInlines {
			known[name] = candidate{p, at}
		}
	}
	m.root.Walk(func(path []int, p *Part) bool {
		if p.Type != "text" && (p.ID != "" || p.Location != "") {
			at := m.place(path)
			if id := p.ContentID(); id != "" {
				note("cid:"+id, p, at)
			}
			note(strings.TrimSpace(p.Location), p, at)
		}
		return !p.IsMessage()
	})
	return func(src string) string {
		src = strings.TrimSpace(src)
		if len(src) > 4 && strings.EqualFold(src[:4], "cid:") {
			src = "cid:" + cleanContentID(src[4:])
		}
		c := known[src]
		if c.part == nil || c.part.Picture(m.content) == "" {
			return ""
		}
		return q.inlineAddress(m.content.ID, c.at)
	}
}

// files lists what is offered as files.
func (q *webReq) files(m *webMessage) []webFile {
	var all []webFile
	for _, l := range m.leaves {
		if l.Fate == LeafShown && l.Path != nil && l.Part.Is("text", "plain") {
			all = append(all, q.textFiles(m, l)...)
		}
		if l.Fate != LeafFile {
			continue
		}
		if len(all) >= webMaxFiles {
			m.MoreFiles++
			continue
		}
		all = append(all, q.file(m, l.At, l.Part))
		if l.Part.IsTNEF() {
			all = append(all, q.tnefFiles(m, l)...)
		}
		if l.Part.IsBinHex() {
			all = append(all, q.textFiles(m, l)...)
		}
	}
	return all
}

// inherited lists what a forwarded message or a continued draft brings along: files, and the pictures of its HTML.
func (q *webReq) inherited(m *webMessage) []webFile {
	var all []webFile
	for _, l := range m.leaves {
		if (l.Fate == LeafFile || l.Fate == LeafPicture) && len(all) < webMaxFiles {
			all = append(all, q.file(m, l.At, l.Part))
		}
	}
	return all
}

// wholeFile is the message as a file that goes with another.
func (m *webMessage) wholeFile() webFile {
	return webFile{Name: webSubjectName(m.Subject, "message", ".eml"), Path: "whole", Size: m.stored.Size}
}

func (q *webReq) file(m *webMessage, path string, p *Part) webFile {
	f := webFile{Name: webPartName(p), Kind: p.Type + "/" + p.Subtype, Size: p.BodyLen, Path: path, Href: m.Href + "/part/" + path}
	if p.Opaque && f.Name == "file" && webHoldsMessage(p, m.content) {
		f.Name = "message.eml"
	}
	if p.transfer() == "base64" {
		f.Size = p.BodyLen / 78 * 57 // lines of 76 and CRLF
		if p.BodyLen < 78 {
			f.Size = p.BodyLen * 3 / 4
		}
	}
	if f.Size <= webMaxThumb && p.mayBePicture() && p.Picture(m.content) != "" {
		f.Picture = q.inlineAddress(m.content.ID, path)
	}
	switch {
	case p.IsMessage():
		f.Message = m.Href + "?at=" + path
	case p.MayBeSigned(), webHoldsMessage(p, m.content):
		if _, _, err := q.find(m.stored, path+webInSigned); err == nil {
			f.Message = m.Href + "?at=" + path + webInSigned
		}
	}
	return f
}
