// Letters that are kept: saved as one writes, and discarded.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// keepLetter stores the form's fields and files. A new letter gets its row, and brings the attachments of what it answers
// or forwards along.
func (q *webReq) keepLetter(f *webForm) (*Letter, error) {
	id, _ := strconv.ParseInt(f.Get("id"), 10, 64)
	l := &Letter{User: q.user.ID}
	if id != 0 {
		err := q.s.store.Read(func(tx *Tx) (err error) { *l, err = tx.Letter(q.user.ID, id); return err })
		if err != nil {
			return nil, err
		}
		if !l.Due.IsZero() {
			return nil, webFault(http.StatusConflict, "This letter is on its way already.")
		}
	}
	var w webLetter
	if l.Fields != nil {
		if err := json.Unmarshal(l.Fields, &w); err != nil {
			return nil, err
		}
	}
	w.fill(f)
	var err error
	l.Fields, err = json.Marshal(w)
	if err != nil {
		return nil, err
	}
	var adds []LetterFile
	var spools []*Spool
	if id == 0 {
		adds, spools, err = q.bring(l, &w, f)
		if err != nil {
			return nil, err
		}
	}
	defer func() {
		for _, sp := range spools[:max(len(spools)-len(f.files), 0)] {
			if sp != nil {
				sp.Close()
			}
		}
	}()
	for _, u := range f.files {
		adds, spools = append(adds, LetterFile{Name: u.name, Type: u.kind, Size: u.size}), append(spools, u.body)
	}
	return l, q.storeLetter(l, adds, spools)
}

// storeLetter writes the letter and what is added to it. Files with a nil spool are content that is stored already.
func (q *webReq) storeLetter(l *Letter, adds []LetterFile, spools []*Spool) error {
	var total int64
	for _, f := range l.Files {
		total += f.Size
	}
	for _, f := range adds {
		total += f.Size
	}
	if total > q.fileLimit() {
		return webFault(http.StatusRequestEntityTooLarge, "The attachments are too big together.")
	}
	for _, sp := range spools {
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
		for i, f := range adds {
			if spools[i] != nil {
				b, err := tx.AddBlob(spools[i])
				if err != nil {
					return err
				}
				f.Blob = b.ID
			}
			if err := tx.AddLetterFile(l.ID, f); err != nil {
				return err
			}
		}
		full, err := tx.Letter(l.User, l.ID)
		*l = full
		return err
	})
}

// fill takes the fields over. Line ends become single; what a person typed into one line stays one line.
func (w *webLetter) fill(f *webForm) {
	line := func(name string) string { return strings.TrimSpace(webClean(f.Get(name))) }
	w.From, w.To, w.Cc, w.Bcc, w.Subject = line("from"), line("to"), line("cc"), line("bcc"), line("subject")
	w.Text, w.HTML = strings.ReplaceAll(f.Get("text"), "\r\n", "\n"), ""
	if f.Get("rich") == "1" {
		w.HTML = webSanitize(f.Get("html"), webHTMLView{Inline: func(string) string { return "" }})
	}
	if s := f.Get("source"); s != "" {
		w.Source, w.Kind = s, f.Get("kind")
	}
	if ids := MessageIDs(webClean(f.Get("inreplyto"))); len(ids) > 0 {
		w.InReplyTo, w.References = ids[0], MessageIDs(webClean(strings.Join(f.Values["references"], " ")))
	}
}

// bring gathers what a new letter takes over from its source: the ticked attachments, or the whole message. For a draft
// of another program it also takes over its place in Drafts.
func (q *webReq) bring(l *Letter, w *webLetter, f *webForm) (adds []LetterFile, spools []*Spool, err error) {
	if w.Source == "" {
		return nil, nil, nil
	}
	m, err := q.keyed(w.Source)
	if errors.Is(err, ErrNotFound) {
		return nil, nil, nil // it was deleted meanwhile: the letter can do without
	}
	if err != nil {
		return nil, nil, err
	}
	if f.Get("draft") == w.Source {
		l.Mailbox, l.UID, w.Source = m.Box.ID, m.M.UID, ""
	}
	for _, keep := range f.Values["keep"] {
		if keep == "whole" {
			adds = append(adds, LetterFile{Name: webSubjectFile(m.Subject), Type: "message/rfc822", Size: m.M.Size, Blob: m.M.Blob})
			spools = append(spools, nil)
			continue
		}
		p := m.content.Tree().Find(webPath(keep))
		if p == nil || p.IsMultipart() {
			continue
		}
		sp := q.s.store.NewSpool(q.fileLimit() + int64(len(webFileHeader)))
		spools = append(spools, sp)
		if _, err := sp.Write([]byte(webFileHeader)); err != nil {
			return adds, spools, err
		}
		n, err := io.Copy(sp, p.Decoded(m.content))
		if err != nil {
			return adds, spools, err
		}
		adds = append(adds, LetterFile{Name: webFileName(p), Type: p.Type + "/" + p.Subtype, Size: n})
	}
	return adds, spools, nil
}

// autoSaved answers the script, which asks for this while somebody writes. The draft that other programs see is written
// anew each time only while it is small: a card wears out.
func (q *webReq) autoSaved(l *Letter, f *webForm) error {
	var total int64
	for _, x := range l.Files {
		total += x.Size
	}
	if l.UID == 0 || total <= webSmallDraft {
		var w webLetter
		if err := json.Unmarshal(l.Fields, &w); err != nil {
			return err
		}
		if err := q.saveDraft(l, &w); err != nil {
			return err
		}
	}
	type file struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
		Size string `json:"size"`
	}
	answer := struct {
		ID    int64  `json:"id"`
		Files []file `json:"files"`
		Saved string `json:"saved"`
	}{ID: l.ID, Files: []file{}, Saved: q.lang.F("Saved at %s", q.s.store.Now().Local().Format("15:04"))}
	for _, x := range l.Files {
		answer.Files = append(answer.Files, file{x.ID, x.Name, q.lang.Size(x.Size)})
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
	id, _ := strconv.ParseInt(f.Get("id"), 10, 64)
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
	q.say("The draft was thrown away.")
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
