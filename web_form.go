// The form of a letter, with its files, as it comes from the browser.
package main

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// webForm is the form of a letter as it came: fields, and files in spools.
type webForm struct {
	url.Values
	files []webUpload
}

type webUpload struct {
	name, kind string
	size       int64
	inline     string // the Content-ID of a picture that the letter's HTML will show
	body       *Spool
	stored     BlobID // of content that is in the file already, and has no body
}

func (f *webForm) close() {
	for _, u := range f.files {
		if u.body != nil {
			u.body.Close()
		}
	}
}

// readForm reads the form of a letter; its files go straight to spools.
func (q *webReq) readForm() (*webForm, error) {
	f := &webForm{Values: url.Values{}}
	if !strings.HasPrefix(q.r.Header.Get("Content-Type"), "multipart/") {
		f.Values = q.r.PostForm
		return f, nil
	}
	limit := q.fileLimit()
	return f, q.readParts(f.Values, limit+webFormRoom, func(p *multipart.Part) error { return q.readFile(f, p, limit) })
}

// readParts reads a form with files piece by piece, at most limit octets: fields into f, and files by keep. The token, and the
// writer of a letter, come before the files, so that nothing of a forged form is kept.
func (q *webReq) readParts(f url.Values, limit int64, keep func(p *multipart.Part) error) error {
	q.r.PostForm = f
	q.r.Body = http.MaxBytesReader(q.w, &webPatient{ctl: http.NewResponseController(q.w), body: q.r.Body}, limit)
	mr, err := q.r.MultipartReader()
	if err != nil {
		return webFault(http.StatusBadRequest, "This form can't be read.")
	}
	room := webFieldRoom
	for n := 0; ; n++ {
		p, err := mr.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return q.checkParts(f)
		case err != nil:
			return webFormError(err)
		case n > webMaxFields:
			return webFault(http.StatusBadRequest, "This form can't be read.")
		case p.FileName() != "":
			if err = q.checkParts(f); err == nil {
				err = keep(p)
			}
		default:
			var b []byte
			b, err = io.ReadAll(q.counted(io.LimitReader(p, int64(min(webMaxField, room)+1))))
			if len(b) > min(webMaxField, room) {
				err = ErrTooBig
			}
			room -= len(b)
			if p.FormName() != "files" {
				f.Add(p.FormName(), strings.ToValidUTF8(string(b), "\ufffd"))
			}
		}
		if err != nil {
			return webFormError(err)
		}
	}
}

// webFormError is what to say of a form that could not be read to its end.
func webFormError(err error) error {
	var big *http.MaxBytesError
	var bad textproto.ProtocolError
	switch {
	case errors.As(err, &big):
		return ErrTooBig
	case errors.As(err, &bad):
		return webFault(http.StatusBadRequest, "This form can't be read.")
	}
	return err
}

// readFile reads an attachment into a spool.
func (q *webReq) readFile(f *webForm, p *multipart.Part, limit int64) error {
	if len(f.files) >= maxLetterFiles {
		return ErrQuota
	}
	if err := q.s.store.Room(0); err != nil {
		return err
	}
	u := webUpload{name: cmp.Or(webFileName(p.FileName()), "file"), kind: "application/octet-stream", body: q.s.store.NewIncoming(limit + int64(len(webFileHeader)))}
	f.files = append(f.files, u)
	if kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type")); err == nil && !strings.HasPrefix(kind, "multipart/") && !strings.HasPrefix(kind, "message/") {
		u.kind = kind
	}
	if _, err := u.body.Write([]byte(webFileHeader)); err != nil {
		return err
	}
	n, err := q.fill(u.body, p)
	u.size = n
	if err == nil && f.Get("inline") != "" {
		err = u.picture()
	}
	f.files[len(f.files)-1] = u
	return err
}

// picture gives an upload a Content-ID, if it is a picture of a kind that is shown.
func (u *webUpload) picture() error {
	head := make([]byte, min(u.size, pictureHead))
	if _, err := u.body.ReadAt(head, int64(len(webFileHeader))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if kind := pictureType(head); kind != "" {
		u.kind, u.inline = kind, webToken()[:20]+"@postino"
	}
	return nil
}

// webPatient is a body of which each block has some time to come, and not the whole: lines are slow. A browser that sends an octet now and
// then ends.
type webPatient struct {
	ctl  *http.ResponseController
	body io.ReadCloser
	n    int64 // octets that came
	next int64 // when so many have come there is time for another block
}

func (p *webPatient) Read(b []byte) (int, error) {
	if p.n >= p.next {
		p.next = p.n + webStallBlock
		p.ctl.SetReadDeadline(time.Now().Add(webStallTimeout))
	}
	n, err := p.body.Read(b)
	p.n += int64(n)
	return n, err
}

func (p *webPatient) Close() error { return p.body.Close() }

// fill copies an upload into its spool and counts its octets.
func (q *webReq) fill(w io.Writer, r io.Reader) (int64, error) {
	n := int64(0)
	buf := make([]byte, 32<<10)
	for {
		k, err := r.Read(buf)
		if k > 0 {
			if _, werr := w.Write(buf[:k]); werr != nil {
				return n, werr
			}
			n += int64(k)
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
