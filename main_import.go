// The verb import: mail of other programs, in files and folders.
package main

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// importTree is where the files of an import come from.
type importTree struct {
	*importer
	root string
	base string // the mailbox for what is at the root; what is in folders goes to mailboxes inside, or beside INBOX
}

func (c *command) importMail(args []string) error {
	name := "INBOX"
	chosen := len(args) == 4 && args[1] == "-mailbox"
	if chosen {
		name, args = args[2], []string{args[0], args[3]}
	}
	if len(args) != 2 {
		return usageError{}
	}
	if name == "" {
		return usageError{"-mailbox needs the name of a mailbox"}
	}
	cfg, st, addr, err := c.openFor(args[0])
	if err != nil {
		return err
	}
	defer st.Close()
	im := &importer{st: st, limit: int64(cfg.Limits.Message), labels: !chosen, tell: func(n int) {
		if n%1000 == 0 {
			fmt.Fprintf(c.err, "%d messages\n", n)
		}
	}}
	defer im.close()
	im.user, err = read(st, func(tx *Tx) (User, error) { return tx.UserByName(addr.Key()) })
	if err != nil {
		return userFault(addr, err)
	}
	im.box, err = im.mailbox(name)
	if err != nil {
		return userFault(addr, err)
	}
	im.boxes = nil // made with the mailbox that is theirs
	t := &importTree{importer: im, root: args[1], base: CanonicalName(name)}
	err = t.path()
	if err == nil {
		err = im.flush()
	}
	if err != nil && im.count == 0 && len(im.skips) == 0 {
		return err
	}
	return errors.Join(err, c.importReport(im, name, addr))
}

// importReport says what was taken and what was not. It fails if there was something, and nothing of it was mail.
func (c *command) importReport(im *importer, name string, addr Addr) error {
	where := "are in " + name
	if len(im.boxes) > 2 || (len(im.boxes) == 2 && im.boxes[CanonicalName(name)].ID == 0) {
		where = fmt.Sprintf("are in %d mailboxes", len(im.boxes)-1)
	}
	fmt.Fprintf(c.out, "%d messages %s of %s now.\n", im.count, where, addr)
	for _, s := range im.skips {
		fmt.Fprintf(c.err, "%d left out: %s (%q)\n", s.Count, s.Why, s.First)
	}
	if im.count == 0 && len(im.skips) > 0 {
		return errors.New("there was no mail in it")
	}
	return nil
}

// path imports the root: a file, a Maildir, or a tree of folders with mbox, .eml and .emlx files.
func (t *importTree) path() error {
	fi, err := os.Stat(t.root)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return t.file(t.root, "")
	}
	return t.folder(t.root, nil)
}

// folder imports a folder and those inside. names are the mailboxes that it is in.
func (t *importTree) folder(dir string, names []string) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	maildir := slices.ContainsFunc(all, func(e fs.DirEntry) bool { return e.IsDir() && (e.Name() == "cur" || e.Name() == "new") })
	if maildir {
		if err := t.maildir(dir, names); err != nil {
			return err
		}
	}
	for _, e := range all {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && maildir && slices.Contains([]string{"cur", "new", "tmp"}, e.Name()):
		case e.IsDir():
			err = t.folder(path, append(slices.Clone(names), folderNames(path, maildir)...))
		case maildir: // the mail programs' own lists
		case e.Type().IsRegular():
			err = t.file(path, t.mailboxOf(append(slices.Clone(names), mboxNames(path)...)))
		default:
			t.skip(path, "neither a file nor a folder")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Folders that mail programs have for themselves, and that are no mailbox.
var (
	importInner = regexp.MustCompile(`^(Data|Messages|MailData|[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27})$`)
	importGone  = regexp.MustCompile(`^[,#][0-9]+$`)                        // MH's name for what is deleted
	importData  = regexp.MustCompile(`[/\\]Data([/\\][0-9]+)*[/\\][0-9]+$`) // Apple Mail divides its messages by number
)

// folderNames are the mailboxes that a folder's name stands for. In a Maildir ".Sub.Folder" is Folder in Sub; Thunderbird keeps
// what is inside a mailbox in NAME.sbd, Apple Mail in NAME.mbox.
func folderNames(path string, maildir bool) []string {
	name := filepath.Base(path)
	if rest, dotted := strings.CutPrefix(name, "."); maildir && dotted {
		var names []string
		for _, level := range strings.Split(rest, ".") {
			names = append(names, folderName(level))
		}
		return names
	}
	if importInner.MatchString(name) || importData.MatchString(path) {
		return nil
	}
	for _, end := range []string{".sbd", ".mbox", ".imapmbox", ".mbx"} {
		name = strings.TrimSuffix(name, end)
	}
	return []string{folderName(name)}
}

// folderName reads a name in modified UTF-7, as servers write them.
func folderName(name string) string {
	if decoded, ok := imapDecodeName(name); ok {
		name = decoded
	}
	return strings.Trim(strings.ReplaceAll(name, "/", "-"), " .")
}

// mboxNames is the mailbox that a file in a tree stands for: an mbox file has a name, a file with one message has none.
func mboxNames(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil // the import will say so
	}
	defer f.Close()
	start := make([]byte, 5)
	if n, _ := io.ReadFull(f, start); n < 5 || string(start) != "From " {
		return nil
	}
	name := filepath.Base(path)
	for _, end := range []string{".mbox", ".mbx"} {
		name = strings.TrimSuffix(name, end)
	}
	if name == "mbox" || strings.EqualFold(filepath.Ext(name), ".eml") {
		return nil // Apple Mail's "mbox" has its folder's name
	}
	return []string{folderName(name)}
}

// mailboxOf joins names to that of a mailbox below the base; "" is the base itself.
func (t *importTree) mailboxOf(names []string) string {
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	if len(names) == 0 {
		return ""
	}
	name := strings.Join(names, "/")
	if t.base != "INBOX" {
		return t.base + "/" + name
	}
	special := map[string]string{"sent": "Sent", "drafts": "Drafts", "trash": "Trash", "junk": "Junk", "spam": "Junk", "archives": "Archive", "archive": "Archive",
		"sent messages": "Sent", "deleted messages": "Trash", "sent items": "Sent", "deleted items": "Trash"}
	if own, ok := special[strings.ToLower(names[0])]; ok {
		names[0] = own
	}
	name = CanonicalName(strings.Join(names, "/"))
	if name == "INBOX" {
		return ""
	}
	return name
}

// maildir imports the messages of one Maildir.
func (t *importTree) maildir(dir string, names []string) error {
	list, err := os.ReadFile(filepath.Join(dir, "dovecot-keywords"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.skip(dir, "keywords that can't be read")
	}
	words := maildirWords(string(list))
	for _, sub := range []string{"cur", "new"} {
		all, err := os.ReadDir(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range all {
			path := filepath.Join(dir, sub, e.Name())
			if importHidden(e.Name()) {
				t.skip(path, importWhyHidden)
				continue
			}
			if !e.Type().IsRegular() {
				t.skip(path, "neither a file nor a folder")
				continue
			}
			date := maildirDate(e.Name())
			if fi, err := e.Info(); err == nil && date.IsZero() {
				date = fi.ModTime()
			}
			src := importSource{name: path, box: t.mailboxOf(names), date: date, flags: maildirFlags(e.Name(), words), mail: true}
			if err := t.open(path, src); err != nil {
				return err
			}
		}
	}
	return nil
}

const importWhyHidden = "hidden files, such as .DS_Store"

// importHidden says whether a file is a hidden one that is not named as mail is. "._x.eml" is what macOS knows about x.eml.
func importHidden(base string) bool {
	if !strings.HasPrefix(base, ".") {
		return false
	}
	mail := slices.Contains([]string{".eml", ".emlx", ".mbox"}, strings.ToLower(filepath.Ext(base)))
	return !mail || strings.HasPrefix(base, "._")
}

// file imports a file that is in no Maildir. When its message arrived it must say itself: the file's date is that of a copy.
func (t *importTree) file(path, box string) error {
	if importHidden(filepath.Base(path)) && path != t.root {
		t.skip(path, importWhyHidden)
		return nil
	}
	if strings.EqualFold(filepath.Ext(path), ".msf") {
		t.skip(path, "Thunderbird's indexes, which hold no mail")
		return nil
	}
	if importGone.MatchString(filepath.Base(path)) {
		t.skip(path, "deleted in MH")
		return nil
	}
	if strings.HasSuffix(path, ".partial.emlx") {
		t.skip(path, "messages that Apple Mail has not downloaded whole")
		return nil
	}
	return t.open(path, importSource{name: path, box: box, flags: maildirFlags(filepath.Base(path), nil)})
}

func (t *importTree) open(path string, src importSource) error {
	f, err := os.Open(path)
	if err != nil {
		t.skip(path, "files that can't be opened")
		return nil
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, mboxLine)
	if start, _ := r.Peek(4); string(start) == "PK\x03\x04" {
		return t.archive(f, src)
	}
	if err := t.read(r, src); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// archive imports the files of a zip archive, such as Gmail's Takeout.
func (t *importTree) archive(f *os.File, src importSource) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, fi.Size())
	if err != nil {
		t.skip(src.name, "a damaged archive")
		return nil
	}
	for _, e := range z.File {
		base := filepath.Base(e.Name)
		if e.FileInfo().IsDir() {
			continue
		}
		if importHidden(base) {
			t.skip(e.Name, importWhyHidden)
			continue
		}
		if err := t.archived(e, importSource{name: e.Name, box: src.box, flags: maildirFlags(base, nil), mail: maildirInfo(base) != ""}); err != nil {
			return fmt.Errorf("%s: %w", src.name, err)
		}
	}
	return nil
}
