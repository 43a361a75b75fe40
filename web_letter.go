// Letters that are kept: saved as one writes, and discarded.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// webErrSent answers for a letter that is no longer there.
var webErrSent = webFault(http.StatusGone, "This letter was sent or discarded meanwhile. What you have written is a new one, and has not been sent.")

// keepLetter stores the form's fields and files. A new letter gets its row, and brings the attachments of what it answers
// or forwards along.
func (q *webReq) keepLetter(f *webForm) (*Letter, error) {
	id := webID[int64](f.Get("id"))
	l := &Letter{User: q.user.ID}
	if id != 0 {
		stored, err := read(q.s.store, func(tx *Tx) (Letter, error) { return tx.Letter(q.user.ID, id) })
		if errors.Is(err, ErrNotFound) {
			return nil, webErrSent
		}
		if err != nil {
			return nil, err
		}
		l = &stored
		if !l.Due.IsZero() {
			return nil, webFault(http.StatusConflict, "This letter is on its way already.")
		}
	}
	w, err := webFieldsOf(l)
	if err != nil {
		return nil, err
	}
	w.fill(f)
	if f.Get("rich") == "1" {
		w.HTML = webSanitize(f.Get("html"), webHTMLView{Pictures: true, Own: true, Inline: q.pictureOf(l)}).Body
	}
	var adds webAdditions
	defer adds.close()
	if id == 0 {
		if err := q.inherit(&adds, l, &w, f); err != nil {
			return nil, err
		}
	}
	l.Fields, err = json.Marshal(w)
	if err != nil {
		return nil, err
	}
	for _, u := range f.files {
		adds.files, adds.spools = append(adds.files, LetterFile{Name: u.name, Type: u.kind, Size: u.size, ContentID: u.inline, Blob: u.stored}), append(adds.spools, u.body)
	}
	return l, q.storeLetter(l, adds)
}

// webAdditions are files that a letter gets. One with a nil spool is content that is stored already.
type webAdditions struct {
	files  []LetterFile
	spools []*Spool
	copies []*Spool // those of spools that nobody else closes
}

func (a *webAdditions) close() {
	for _, sp := range a.copies {
		sp.Close()
	}
}

// pictureOf turns the address of a picture that a letter's HTML shows on our page into the Content-ID that the letter has
// for it; "" if it is no picture of the letter's or its source's.
func (q *webReq) pictureOf(l *Letter) func(src string) string {
	return func(src string) string {
		src, _, _ = strings.Cut(strings.TrimPrefix(src, q.site()), "?")
		part := strings.Split(src, "/")
		switch {
		case len(part) == 5 && part[1] == "compose" && part[2] == "picture":
			for _, x := range l.Files {
				if part[3] == strconv.FormatInt(l.ID, 10) && part[4] == strconv.FormatInt(x.ID, 10) && x.ContentID != "" {
					return "cid:" + x.ContentID
				}
			}
		case len(part) == 5 && part[1] == "inline":
			if blob := webID[BlobID](part[2]); q.mayInline(part[4], blob, part[3]) {
				return "cid:" + q.pictureID(blob, part[3])
			}
		}
		return ""
	}
}

// storeLetter writes the letter and what is added to it.
func (q *webReq) storeLetter(l *Letter, adds webAdditions) error {
	var total int64
	for _, f := range l.Files {
		total += f.Size
	}
	for _, f := range adds.files {
		total += f.Size
	}
	if total > q.fileLimit() {
		return webFault(http.StatusRequestEntityTooLarge, "The attachments are too big together.")
	}
	for _, sp := range adds.spools {
		if sp != nil {
			if err := q.s.store.Stage(sp); err != nil {
				return err
			}
		}
	}
	before := *l
	return q.s.store.Write(func(tx *Tx) error {
		*l = before
		if err := tx.SaveLetter(l); err != nil {
			return err
		}
		for i, f := range adds.files {
			if adds.spools[i] != nil {
				b, err := tx.AddBlob(adds.spools[i])
				if err != nil {
					return err
				}
				f.Blob = b.ID
			}
			if err := tx.AddLetterFile(l, f); err != nil {
				return err
			}
		}
		full, err := tx.Letter(l.User, l.ID)
		*l = full
		return err
	})
}

// fill takes the fields over. Line ends become single; what a person typed into one line stays one line.
func (w *webFields) fill(f *webForm) {
	line := func(name string) string { return strings.TrimSpace(webClean(f.Get(name))) }
	w.From, w.ReplyTo, w.Subject = line("from"), line("replyto"), line("subject")
	w.To, w.Cc, w.Bcc = line("to"), line("cc"), line("bcc")
	w.Text, w.HTML = strings.ReplaceAll(f.Get("text"), "\r\n", "\n"), ""
	if s := f.Get("source"); s != "" {
		w.Source, w.Kind = s, f.Get("kind")
	}
	if ids := MessageIDs(webClean(f.Get("inreplyto"))); len(ids) > 0 {
		w.InReplyTo, w.References = ids[0], MessageIDs(webClean(strings.Join(f.Values["references"], " ")))
	}
}

// inherit adds what a new letter takes over from its source: the ticked attachments and pictures, or the whole message. A
// draft of another program gives up its place in Drafts too.
func (q *webReq) inherit(adds *webAdditions, l *Letter, w *webFields, f *webForm) error {
	keep := f.Values["keep"]
	if w.Source == "" {
		return nil
	}
	m, err := q.keyed(w.Source)
	if errors.Is(err, ErrNotFound) && len(keep) > 0 {
		return webFault(http.StatusConflict, "The message that the attachments come from is no longer there. Untick them to go on without.")
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.Get("draft") == w.Source {
		l.Mailbox, l.UID, w.Source = m.Box.ID, m.M.UID, ""
	}
	for _, at := range keep {
		if at == "whole" {
			adds.files = append(adds.files, LetterFile{Name: webSubjectName(m.Subject, "message", ".eml"), Type: "message/rfc822", Size: m.stored.Size, Blob: m.M.Blob})
			adds.spools = append(adds.spools, nil)
			continue
		}
		c, p, err := q.find(m.stored, at)
		if err != nil || p == nil || p.IsMultipart() {
			return cmp.Or(err, ErrNotFound)
		}
		if err := q.inheritPart(adds, c, p, at, w.HTML); err != nil {
			return err
		}
	}
	return nil
}

// inheritPart copies one part of a message for a letter. A picture that the letter's HTML shows keeps its place in it.
func (q *webReq) inheritPart(adds *webAdditions, c *Content, p *Part, at, text string) error {
	sp := q.s.store.NewSpool(q.fileLimit() + int64(len(webFileHeader)))
	adds.copies = append(adds.copies, sp)
	if _, err := sp.Write([]byte(webFileHeader)); err != nil {
		return err
	}
	n, err := io.Copy(sp, p.Decoded(c))
	if err != nil {
		return err
	}
	file := LetterFile{Name: webPartName(p), Type: p.Type + "/" + p.Subtype, Size: n}
	if id := q.pictureID(c.ID, at); strings.Contains(text, "cid:"+id) {
		file.ContentID = id
	}
	if kind := p.Picture(c); kind != "" {
		file.Type = kind
	}
	adds.files, adds.spools = append(adds.files, file), append(adds.spools, sp)
	return nil
}

// webLetterPicture is the address of a picture of a letter, on the page on which it is written.
func webLetterPicture(letter, file int64) string {
	return fmt.Sprintf("/compose/picture/%d/%d", letter, file)
}

// getLetterPicture serves a picture of a letter to the page on which it is written.
func (q *webReq) getLetterPicture() error {
	letter := webID[int64](q.r.PathValue("letter"))
	file := webID[int64](q.r.PathValue("file"))
	l, err := read(q.s.store, func(tx *Tx) (Letter, error) { return tx.Letter(q.user.ID, letter) })
	if err != nil {
		return err
	}
	for _, f := range l.Files {
		if f.ID != file {
			continue
		}
		c, err := q.s.store.Content(f.Blob)
		if err != nil {
			return err
		}
		r := io.NewSectionReader(c, c.Size-f.Size, f.Size)
		head := make([]byte, min(f.Size, pictureHead))
		if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return q.picture(pictureType(head), r)
	}
	return ErrNotFound
}

// autoSaved answers the script, which asks for this while somebody writes. The draft that other programs see is written
// anew each time only while it is small: a card wears out.
func (q *webReq) autoSaved(l *Letter, f *webForm) error {
	var total int64
	for _, x := range l.Files {
		total += x.Size
	}
	if l.UID == 0 || total <= webSmallDraft {
		if err := q.saveDraft(l); err != nil {
			return err
		}
	}
	type file struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
		Size string `json:"size"`
	}
	answer := struct {
		ID      int64  `json:"id"`
		Files   []file `json:"files"`
		Saved   string `json:"saved"`
		Picture string `json:"picture,omitempty"` // the address of one that was put into the text
	}{ID: l.ID, Files: []file{}, Saved: q.lang.F("Saved at %s", q.lang.here(q.s.store.Now()).Format("15:04"))}
	for _, x := range l.Files {
		answer.Files = append(answer.Files, file{x.ID, x.Name, q.lang.Size(x.Size)})
		if len(f.files) > 0 && x.ContentID != "" && x.ContentID == f.files[0].inline {
			answer.Picture = webLetterPicture(l.ID, x.ID)
		}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	q.send(http.StatusOK, "application/json", b)
	return nil
}

// discard throws a letter away, with its copy in Drafts.
func (q *webReq) discard(f *webForm) error {
	id := webID[int64](f.Get("id"))
	if id == 0 {
		return q.redirect("/mail")
	}
	err := q.s.store.Write(func(tx *Tx) error {
		l, err := tx.Letter(q.user.ID, id)
		if err != nil {
			return err
		}
		if err := webDropDraft(tx, &l); err != nil {
			return err
		}
		return tx.RemoveLetter(q.user.ID, id)
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	q.say("The draft was discarded.")
	return q.redirect("/mail")
}

// webDropDraft removes a letter's copy in Drafts, if it is still there.
func webDropDraft(tx *Tx, l *Letter) error {
	if l.UID == 0 {
		return nil
	}
	m, err := tx.MailboxByID(l.Mailbox)
	if err == nil && m.Owner == l.User {
		_, err = tx.Expunge(m, []UID{l.UID})
	}
	l.UID, l.Mailbox = 0, 0
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return err
}
