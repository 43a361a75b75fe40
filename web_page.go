// Pages: templates in two languages, and what every page shows around its own content.
package main

import (
	"bytes"
	"crypto/sha256"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// language gives a language with its templates; English for one that is not there.
func (a *webApp) language(code string) *webLang {
	if !slices.Contains(webLanguages, code) {
		code = webLanguages[0]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.pages[code]; l != nil {
		return l
	}
	l := &webLang{Code: code, zone: time.Local, now: a.s.store.Now}
	if code == "zh" {
		l.words = webChinese()
	}
	l.tmpl = template.Must(a.templates(l))
	a.pages[code] = l
	return l
}

// webIndent is what makes templates readable. Browsers need none of it.
var webIndent = regexp.MustCompile(`(?m)^[ \t]+`)

// templates parses web/*.html for a language, without the indentation: a page of fifty rows has several KB of it.
func (a *webApp) templates(l *webLang) (*template.Template, error) {
	all := template.New("").Funcs(a.functions(l))
	names, err := fs.Glob(webFiles, "web/*.html")
	for _, name := range names {
		var text []byte
		text, err = webFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		_, err = all.New(path.Base(name)).Parse(webIndent.ReplaceAllString(string(text), ""))
		if err != nil {
			return nil, err
		}
	}
	return all, err
}

// functions are what templates can call.
func (a *webApp) functions(l *webLang) template.FuncMap {
	return template.FuncMap{
		"t": l.T, "f": l.F, "n": func(n any, one, many string) string { return l.N(webInt(n), one, many) },
		"size":   func(n any) string { return l.Size(webInt(n)) },
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"num":    func(n any) string { return webNumber(webInt(n)) },
		"icon":   webIcon,
		"static": func(name string) string { return "/static/" + name + "?" + a.version },
		"lang":   func() string { return map[string]string{"en": "en", "zh": "zh-Hans"}[l.Code] },
		"letter": webInitial, "tint": webTint,
		"dict": func(kv ...any) map[string]any {
			m := map[string]any{}
			for i := 0; i+1 < len(kv); i += 2 {
				m[kv[i].(string)] = kv[i+1]
			}
			return m
		},
		"folder": func(m Mailbox) string { return l.folderName(m) },
		"bar":    webBar,
	}
}

// webBar is how full a bar is, in steps of five percent: a class, because pages have no inline styles.
func webBar(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(part*20/whole, 20)) * 5
}

func webInt(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case UID:
		return int64(n)
	}
	return 0
}

// webInitial is the letter in a sender's circle.
func webInitial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "@"
}

// webTint picks one of eight colours for a sender, always the same one.
func webTint(address string) int { return int(sha256.Sum256([]byte(strings.ToLower(address)))[0] % 8) }

// folderName shows the folders that everybody has in the reader's language.
func (l *webLang) folderName(m Mailbox) string {
	if m.Name == "INBOX" {
		return l.T("Inbox")
	}
	if m.Owner == SharedOwner {
		return m.Name
	}
	if m.Special != "" && !strings.Contains(m.Name, "/") {
		return l.T(m.Name)
	}
	return path.Base(m.Name)
}

// webPage is what the frame of every page needs. D is the page's own.
type webPage struct {
	Title, Kind string // Kind is the template's name
	User        User
	CSRF        string
	Theme       string
	L           *webLang // the reader's: times are written by its methods
	Zone        string   // chosen in the settings; "" follows the browser
	Here        string   // this page's address, for forms that come back to it
	Note        *webNote
	Folders     []webFolder
	Box         MailboxID // the folder that is open
	Query       string
	Waiting     int // letters that wait to be sent
	Used, Quota int64
	Hostname    string
	Keys        bool // shortcuts are on
	D           any
}

// webFolder is an entry of the list of folders.
type webFolder struct {
	Mailbox
	Icon   string
	Open   bool
	Shared bool
	Depth  int
}

func (q *webReq) page(kind, title string, d any) error {
	return q.status(http.StatusOK, kind, title, d)
}

// status renders a page with a status other than 200.
func (q *webReq) status(code int, kind, title string, d any) error {
	p := webPage{Title: q.lang.T(title), Kind: kind, User: q.user, CSRF: q.formToken(), Theme: q.look().Theme, L: q.lang, Zone: q.look().Zone,
		Here: q.r.URL.RequestURI(), Hostname: q.s.cfg.Hostname, D: d, Keys: true}
	if q.r.Method != http.MethodGet {
		p.Here = "/"
	}
	if b, ok := d.(webInBox); ok {
		p.Box, p.Query = b.inBox()
	}
	if q.user.ID != 0 {
		if err := q.frame(&p); err != nil {
			q.log.Error("page frame", "user", q.user.Name, "err", err)
		}
	}
	if q.visitor && q.r.Method == http.MethodGet { // and not what a script sent behind the back of a page with another token
		q.setCookie("visit", q.token, 0)
	}
	var b bytes.Buffer
	if err := q.lang.tmpl.ExecuteTemplate(&b, kind, p); err != nil {
		q.log.Error("template", "page", kind, "err", err)
		http.Error(q.w, "Internal error", http.StatusInternalServerError)
		return nil
	}
	q.send(code, "text/html; charset=utf-8", b.Bytes())
	return nil
}

// webInBox is a page's content that is about one folder: inBox says which, 0 for none, and what is searched for in it.
type webInBox interface{ inBox() (MailboxID, string) }

// frame fills in what is around the content for somebody who is logged in.
func (q *webReq) frame(p *webPage) error {
	if d := q.r.Header.Get("Sec-Fetch-Dest"); d == "" || d == "document" { // and not what the script fetches for a page
		p.Note = q.takeNote()
	}
	return q.s.store.Read(func(tx *Tx) error {
		folders, err := q.folders(tx)
		if err != nil {
			return err
		}
		for i := range folders {
			folders[i].Open = folders[i].ID == p.Box
		}
		p.Folders = folders
		letters, err := tx.WaitingLetters(q.user.ID)
		if err != nil {
			return err
		}
		p.Waiting, p.Quota = len(letters), q.user.Quota
		p.Used, _, err = tx.Used(q.user.ID)
		return err
	})
}

// webFolderOrder puts the folders that everybody has first, each with its icon.
var webFolderOrder = []struct{ special, icon string }{
	{"INBOX", "inbox"}, {`\Drafts`, "draft"}, {`\Sent`, "sent"}, {`\Archive`, "archive"}, {`\Junk`, "junk"}, {`\Trash`, "trash"},
}

// folders lists what the user may see: special folders first, then the others, then those that belong to everybody.
func (q *webReq) folders(tx *Tx) ([]webFolder, error) {
	boxes, err := tx.Mailboxes(q.user.ID)
	if err != nil {
		return nil, err
	}
	var all []webFolder
	taken := map[MailboxID]bool{}
	for _, o := range webFolderOrder {
		for _, m := range boxes {
			if !taken[m.ID] && (m.Special == o.special || o.special == m.Name) {
				taken[m.ID] = true
				all = append(all, webFolder{Mailbox: m, Icon: o.icon, Depth: strings.Count(m.Name, "/")})
			}
		}
	}
	for _, m := range boxes {
		if !taken[m.ID] {
			all = append(all, webFolder{Mailbox: m, Icon: "folder", Depth: min(strings.Count(m.Name, "/"), 5)})
		}
	}
	shared, err := tx.SharedMailboxes(q.user)
	for _, m := range shared {
		if m.Rights&RightRead == 0 {
			continue
		}
		if m.OwnerName != "" {
			local, _, _ := strings.Cut(m.OwnerName, "@")
			m.Name = local + "/" + m.Name
		}
		m.Special = "" // another's Trash is not mine
		all = append(all, webFolder{Mailbox: m.Mailbox, Icon: "shared", Shared: true})
	}
	return all, err
}

// webClean makes text from mail harmless to show in one line: no control characters, and none that turn the direction
// of writing around, with which "gpj.exe" is made to look like another name.
func webClean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError,
			r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return -1
		}
		return r
	}, s)
}
