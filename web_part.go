// Parts of messages on their way out: attachments, all of them as one archive, pictures, source.
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
)

const webMaxPicture = 32 << 20 // octets of a part that is served as a picture

// attachmentHeaders makes a browser save what follows and never show it, whatever it is. The name goes out in the two
// forms of RFC 6266 §4.3.
func (q *webReq) attachmentHeaders(name, kind string) {
	h := q.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", webDisposition(webSavedName(name)))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
}

func webDisposition(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i]; (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + b.String()
}

// webSafeKind is the type that an attachment is sent with: a few that do nothing, and for all else unnamed octets.
func webSafeKind(kind string) string {
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/zip", "audio/mpeg", "video/mp4", "text/plain":
		return kind
	}
	return "application/octet-stream"
}

// stream copies to the browser in pieces, each with a time limit of its own.
func (q *webReq) stream(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			webSoon(q.w)
			if _, err := q.w.Write(buf[:n]); err != nil {
				return nil // the browser has gone
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			q.log.Error("download", "path", q.r.URL.Path, "user", q.user.Name, "err", err)
			panic(http.ErrAbortHandler) // the only way to tell a browser that what it has is not whole
		}
	}
}

// getPart sends the file at a place of a message.
func (q *webReq) getPart() error {
	m, err := q.open()
	if err == nil {
		err = m.stored.Sound(0, m.stored.Size) // what is damaged is better known before it is saved as a file
	}
	if err != nil {
		return err
	}
	f, err := q.packed(m, q.r.PathValue("path"))
	if err != nil {
		return err
	}
	q.attachmentHeaders(f.name, webSafeKind(f.kind))
	return q.stream(f.body)
}

// getInline serves a picture of a message to its frame.
func (q *webReq) getInline() error {
	n := webID[BlobID](q.r.PathValue("blob"))
	at := q.r.PathValue("path")
	if !q.mayInline(q.r.PathValue("mac"), n, at) {
		return ErrNotFound
	}
	c, err := q.s.store.Content(n)
	if err != nil {
		return err
	}
	c, p, err := q.find(c, at)
	if err != nil {
		return err
	}
	if p == nil || p.BodyLen > webMaxPicture {
		return ErrNotFound
	}
	return q.picture(p.Picture(c), p.Decoded(c))
}

// picture sends a picture. Its kind was told by its octets: whatever it is called, nothing else leaves by this door.
func (q *webReq) picture(kind string, r io.Reader) error {
	if kind == "" {
		return ErrNotFound
	}
	h := q.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, max-age=600") // not for those who sit here later
	return q.stream(r)
}

// getZip sends all attachments in one archive, made while it is sent. Nothing is compressed: most files are already.
func (q *webReq) getZip() error {
	m, err := q.open()
	if err == nil {
		err = m.stored.Sound(0, m.stored.Size)
	}
	if err != nil {
		return err
	}
	q.describe(m)
	if err := q.body(m); err != nil {
		return err
	}
	if len(m.Files) == 0 {
		return ErrNotFound
	}
	q.attachmentHeaders(webSubjectName(m.Subject, "attachments", ".zip"), "application/zip")
	return q.pipe("attachments", func(w io.Writer) error { return q.zip(w, m) })
}

// pipe sends what write makes while it is made. A browser that goes away ends write with an error at its next piece.
func (q *webReq) pipe(name string, write func(io.Writer) error) error {
	pr, pw := io.Pipe()
	defer pr.Close()
	q.s.crew.Go(nil, name, func() {
		err := q.s.crew.Guard(name, func() error { return write(pw) })
		pw.CloseWithError(err)
	})
	return q.stream(pr)
}

func (q *webReq) zip(w io.Writer, m *webMessage) error {
	z := zip.NewWriter(w)
	taken := map[string]bool{}
	for _, f := range m.Files {
		file, err := q.packed(m, f.Path)
		if err != nil {
			return err
		}
		out, err := z.CreateHeader(&zip.FileHeader{Name: webFreeName(webSavedName(f.Name), taken), Method: zip.Store, Modified: m.Date})
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, file.body); err != nil {
			return err
		}
	}
	return z.Close()
}

// webFreeName is the name, with a number if it is taken.
func webFreeName(name string, taken map[string]bool) string {
	ext := path.Ext(name)
	free := name
	for i := 2; taken[strings.ToLower(free)]; i++ {
		free = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, ext), i, ext)
	}
	taken[strings.ToLower(free)] = true
	return free
}

func (q *webReq) getEML() error {
	m, err := q.open()
	if err != nil {
		return err
	}
	err = m.stored.Sound(0, m.stored.Size)
	if err != nil {
		return err
	}
	r := m.whole()
	q.attachmentHeaders(webSubjectName(m.header.Text("Subject"), "message", ".eml"), "message/rfc822")
	q.w.Header().Set("Content-Length", fmt.Sprint(r.Size()))
	return q.stream(r)
}

// whole is the message, or the one inside it that was asked for.
func (m *webMessage) whole() *io.SectionReader {
	if m.At == "" {
		return m.stored.Reader()
	}
	return io.NewSectionReader(m.content, m.root.HeaderOff, m.root.HeaderLen+m.root.BodyLen)
}

// getSource shows the message as it came, as text that no browser takes for anything else.
func (q *webReq) getSource() error {
	m, err := q.open()
	if err == nil {
		err = m.stored.Sound(0, m.stored.Size)
	}
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"}))
	q.w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	return q.stream(m.whole())
}

func (q *webReq) getHeader() error {
	m, err := q.open()
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	q.w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	return q.stream(io.NewSectionReader(m.content, m.root.HeaderOff, m.root.HeaderLen))
}
