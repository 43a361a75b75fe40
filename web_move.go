// Moving in and out: the export of all mail, and imports.
package main

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// getExport sends one folder as an mbox file, or all of them in an archive, made while it is sent.
func (q *webReq) getExport() error {
	v := q.r.URL.Query().Get("box")
	boxes, err := read(q.s.store, q.folders)
	if err != nil {
		return err
	}
	if v != "" {
		i := slices.IndexFunc(boxes, func(f webFolder) bool { return f.ID == webID[MailboxID](v) })
		if i < 0 {
			return ErrNotFound
		}
		q.attachmentHeaders(exportName(i, boxes[i].Name), "application/mbox")
		return q.pipe("export", func(w io.Writer) error {
			_, err := exportBox(q.s.store, boxes[i].Mailbox, w)
			return err
		})
	}
	q.attachmentHeaders(strings.ReplaceAll(q.user.Name, "@", "-at-")+".zip", "application/zip")
	return q.pipe("export", func(w io.Writer) error { return webExport(w, q.s.store, boxes) })
}

func webExport(w io.Writer, st *Store, boxes []webFolder) error {
	z := zip.NewWriter(w)
	left := "" // what the archive lacks, for whoever opens it
	for i, b := range boxes {
		f, err := z.CreateHeader(&zip.FileHeader{Name: exportName(i, b.Name), Method: zip.Deflate, Modified: st.Now()})
		if err != nil {
			return err
		}
		_, err = exportBox(st, b.Mailbox, f)
		var unreadable *unreadableError
		if errors.As(err, &unreadable) {
			left += b.Name + ": " + err.Error() + "\r\n"
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if left != "" {
		f, err := z.Create("unreadable.txt")
		if err == nil {
			_, err = io.WriteString(f, left)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// postImport reads an mbox file, a message, or an archive of such into a folder. mbox files are taken apart while they
// come.
func (q *webReq) postImport() error {
	f := url.Values{}
	im := &importer{st: q.s.store, user: q.user, limit: int64(q.s.cfg.Limits.Message)}
	defer im.close()
	err := q.readParts(f, webMaxImport, func(p *multipart.Part) error {
		box, err := read(q.s.store, func(tx *Tx) (Mailbox, error) {
			m, _, err := q.access(tx, webID[MailboxID](f.Get("box")), RightInsert)
			return m, err
		})
		if err != nil {
			return err
		}
		im.box = box
		return q.importFile(im, webFileName(p.FileName()), p)
	})
	if err != nil {
		return err
	}
	if im.box.ID == 0 {
		return webFault(http.StatusBadRequest, "Choose a file to import.")
	}
	if err := im.flush(); err != nil {
		return err
	}
	if im.count == 0 && len(im.skips) > 0 {
		return webFault(http.StatusUnprocessableEntity, q.lang.T("This is no mail. An mbox file, .eml files or an archive of them can be imported.")+" "+im.skips[0].Why)
	}
	q.sayCount(int64(im.count), "%s message imported.", "%s messages imported.")
	return q.redirect(fmt.Sprintf("/box/%d", im.box.ID))
}

// webListing reads an archive: not more than so many octets before all is set, because its list of files is kept in memory.
type webListing struct {
	io.ReaderAt
	left int
	all  bool
}

func (l *webListing) ReadAt(p []byte, off int64) (int, error) {
	if !l.all {
		l.left -= len(p)
		if l.left < 0 {
			return 0, ErrTooBig
		}
	}
	return l.ReaderAt.ReadAt(p, off)
}

func (q *webReq) importFile(im *importer, name string, r io.Reader) error {
	if !strings.EqualFold(path.Ext(name), ".zip") {
		return im.read(bufio.NewReaderSize(r, mboxLine), importSource{name: name, flags: Flags{Bits: FlagSeen}})
	}
	sp := q.s.store.NewIncoming(webMaxArchive)
	defer sp.Close()
	if _, err := io.Copy(sp, r); err != nil {
		return err
	}
	list := &webListing{ReaderAt: sp, left: webMaxListing}
	z, err := zip.NewReader(list, sp.Size())
	list.all = true
	if err != nil {
		return webFault(http.StatusBadRequest, "This archive can't be read.")
	}
	for _, f := range z.File {
		if f.FileInfo().IsDir() || strings.HasPrefix(path.Base(f.Name), ".") {
			continue
		}
		if err := im.archived(f, importSource{name: f.Name, flags: maildirFlags(path.Base(f.Name), nil), mail: maildirInfo(path.Base(f.Name)) != ""}); err != nil {
			return err
		}
	}
	return nil
}
