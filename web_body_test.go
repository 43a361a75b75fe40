package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	xhtml "golang.org/x/net/html"
)

// webPNG is a picture of one pixel with a word behind it, so that one can be told from another.
func webPNG(word string) string {
	const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	b, _ := base64.StdEncoding.DecodeString(pixel)
	return base64.StdEncoding.EncodeToString(append(b, word...))
}

// webMail makes a multipart message: each part is a header block, an empty line and a body.
func webMail(subtype string, parts ...string) string {
	b := "From: Bob <bob@home.arpa>\nTo: ann@home.arpa\nSubject: parts\nMIME-Version: 1.0\n" + webParts(subtype, "top", parts...)
	return b
}

func webParts(subtype, boundary string, parts ...string) string {
	return "Content-Type: multipart/" + subtype + "; boundary=" + boundary + "\n\n--" + boundary + "\n" + strings.Join(parts, "\n--"+boundary+"\n") + "\n--" + boundary + "--\n"
}

// webCorpus are mails whose parts are laid out in every way that programs do it.
func webCorpus(t *testing.T) map[string]string {
	t.Helper()
	const text, rich = "Content-Type: text/plain\n\n", "Content-Type: text/html\n\n"
	picture := func(kind, id, word string) string {
		return "Content-Type: " + kind + "\nContent-ID: <" + id + ">\nContent-Transfer-Encoding: base64\n\n" + webPNG(word)
	}
	pdf := "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment; filename=a.pdf\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString([]byte("%PDF words of a file"))
	all := map[string]string{
		"text, picture, text":      webMail("mixed", text+"first words", picture("image/png", "x@y", "one"), text+"second words"),
		"letter and footer":        webMail("mixed", webParts("alternative", "alt", text+"the letter in plain words", rich+"<p>the letter in plain words</p>"), text+"footer of the list"),
		"letter and disclaimer":    webMail("mixed", text+"the real letter", rich+"<p>a disclaimer</p>"),
		"related with a file":      webMail("related", rich+"<p>see the file</p>", pdf),
		"related, unused picture":  webMail("related", rich+"<p>no picture here</p>", picture("image/png", "u@x", "unused")),
		"related, used picture":    webMail("related", rich+`<p>look</p><img src="cid:u@x"><p>there</p>`, picture("image/jpg", "u@x", "used")),
		"picture without a type":   webMail("related", rich+`<p>look</p><img src='CID:u%40x'>`, picture("application/octet-stream; name=x.png", "u@x", "used")),
		"picture first":            webMail(`related; start="<root@x>"`, picture("image/png", "u@x", "used"), "Content-ID: <root@x>\n"+rich+`<p>root</p><img src="cid:u@x">`),
		"root misnamed":            webMail(`related; start=root@x`, picture("image/png", "u@x", "used"), "Content-ID: <root@x>\n"+rich+`<p>root</p><img src="cid:u@x">`),
		"enriched":                 webMail("mixed", "Content-Type: text/enriched\n\n<bold>enriched</bold> words"),
		"another text":             webMail("mixed", "Content-Type: text/x-strange\n\nstrange words", text+"plain words"),
		"calendar":                 webMail("alternative", text+"come to lunch", "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nEND:VCALENDAR"),
		"picture by location":      webMail("related", rich+`<p>words</p><img src="pic/a.png">`, "Content-Location: pic/a.png\n"+picture("image/png", "", "located")),
		"signed":                   webMail("signed", text+"signed words", "Content-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----"),
		"a message inside":         webMail("mixed", text+"see below", "Content-Type: message/rfc822\n\nSubject: inner\n\ninner words"),
		"two pictures with one id": webMail("related", rich+`<p>words</p><img src="cid:u@x">`, picture("image/png", "u@x", "first"), picture("image/png", "u@x", "second")),
		"hidden picture":           webMail("related", rich+`<p>words</p><!-- <img src="cid:u@x"> --><template><img src="cid:u@x"></template>`, picture("image/png", "u@x", "hidden")),
		"not a picture":            webMail("related", rich+`<p>words</p><img src="cid:u@x">`, "Content-Type: image/png\nContent-ID: <u@x>\n\n<svg onload=x>"),
		"html, text, html":         webMail("mixed", rich+"<b>one word</b>", text+"two words", rich+"<style>p{color:red}</style><p>three words</p>"),
		"everything":               webMail("mixed", webParts("related", "rel", webParts("alternative", "alt", text+"letter words", rich+`<p>letter words</p><img src="cid:u@x">`), picture("image/pjpeg", "u@x", "used"), picture("image/png", "v@x", "unused")), text+"footer words", pdf),
	}
	for _, name := range []string{"testdata/mime/*.eml", "testdata/web/*.eml"} {
		files, _ := filepath.Glob(name)
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(f)] = strings.ReplaceAll(string(b), "\r\n", "\n")
		}
	}
	return all
}

// webLineWords are the words of each line of a text, without what layout does to them.
func webLineWords(s string) []string {
	var all []string
	for _, line := range strings.Split(s, "\n") {
		var b strings.Builder
		for _, r := range line {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				b.WriteRune(unicode.ToLower(r))
			}
		}
		if b.Len() > 0 {
			all = append(all, b.String())
		}
	}
	return all
}

// webLacks is the first of a text's lines that is not among words, "" if all are; they mostly come in their order.
func webLacks(words string, lines []string) string {
	at := 0
	for _, line := range lines {
		if i := strings.Index(words[at:], line); i >= 0 {
			at += i + len(line)
		} else if !strings.Contains(words, line) {
			return line
		}
	}
	return ""
}

// webOwnWords are words that a page puts into the text of a mail: over a quote that is folded away, and behind a link that leads elsewhere.
var webOwnWords = regexp.MustCompile(`<details class="fold"(?: open)?><summary>[^<]*</summary>|<span class="leads">[^<]*</span>`)

// webAllWords are the words of a page that stand in its mail, tags left out.
func webAllWords(page string) string {
	var b strings.Builder
	z := xhtml.NewTokenizer(strings.NewReader(webOwnWords.ReplaceAllString(page, "")))
	for tt := z.Next(); tt != xhtml.ErrorToken; tt = z.Next() {
		if tt == xhtml.TextToken {
			for _, r := range string(z.Text()) {
				if unicode.IsLetter(r) || unicode.IsDigit(r) {
					b.WriteRune(unicode.ToLower(r))
				}
			}
		}
	}
	return b.String()
}

// webFormFields are the fields of the letter on a page, as a browser without scripts sends them.
func webFormFields(t *testing.T, page string) []string {
	t.Helper()
	doc, err := xhtml.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	attr := func(n *xhtml.Node, name string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == name {
				return a.Val, true
			}
		}
		return "", false
	}
	var walk func(n *xhtml.Node, in bool)
	walk = func(n *xhtml.Node, in bool) {
		if n.Type == xhtml.ElementNode {
			id, _ := attr(n, "id")
			in = in || id == "letter"
			name, named := attr(n, "name")
			kind, _ := attr(n, "type")
			value, _ := attr(n, "value")
			_, checked := attr(n, "checked")
			switch {
			case !in || !named || name == "csrf":
			case n.Data == "input" && kind != "file" && (kind != "checkbox" || checked):
				fields = append(fields, name, value)
			case n.Data == "textarea" && n.FirstChild != nil:
				fields = append(fields, name, strings.TrimPrefix(n.FirstChild.Data, "\n"))
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, in)
		}
	}
	walk(doc, false)
	return fields
}

func webFieldOf(fields []string, name string) string {
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == name {
			return fields[i+1]
		}
	}
	return ""
}

// webContents are the decoded contents of all parts of a message, messages inside included as they are.
func webContents(raw string) string {
	r := strings.NewReader(raw)
	m := NewMIMEReader()
	io.Copy(m, strings.NewReader(raw))
	root := m.Tree()
	var b strings.Builder
	root.Walk(func(_ []int, p *Part) bool {
		if !p.IsMultipart() {
			io.Copy(&b, p.Decoded(r))
		}
		return true
	})
	return b.String()
}

// webPartWords are the words of all texts of a message.
func webPartWords(raw string) string {
	r := strings.NewReader(raw)
	var b strings.Builder
	parseMIME([]byte(raw)).Walk(func(_ []int, p *Part) bool {
		if p.Type == "text" {
			text, _ := io.ReadAll(p.PlainText(r))
			b.WriteString(webAllWords(html.EscapeString(string(text))))
		}
		return true
	})
	return b.String()
}

// TestWebNothingVanishes sees for every mail that there is that each of its parts is shown, offered as a file, or says the same
// as one that is: on the page, on paper, in an answer (texts), in a forward and in a draft that is gone on with.
func TestWebNothingVanishes(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	ann.get("/mail")
	drafts := ann.find(`href="/box/(\d+)"[^>]*>\s*<svg[^>]*i-draft`)
	for name, raw := range webCorpus(t) {
		t.Run(name, func(t *testing.T) { checkNothingVanishes(t, s, ann, box, drafts, raw) })
	}
}

// webMailsAtOnce is how many mails go to one person: there is a limit of letters, and two are written of each.
const webMailsAtOnce = 100

// TestWebMails does the same with every mail in a folder of .eml files, which MAILS names: a corpus of real ones that is not ours
// to give away.
func TestWebMails(t *testing.T) {
	folder := os.Getenv("MAILS")
	if folder == "" {
		skip(t, "a folder of mails (.eml), named by MAILS")
	}
	var s *testServer
	var ann *webClient
	var box, drafts string
	mails, failed := 0, 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".eml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if mails%webMailsAtOnce == 0 {
			s = startServer(t)
			ann = newWebClient(t, s).login("ann")
			box = ann.find(`/box/(\d+)`)
			ann.get("/mail")
			drafts = ann.find(`href="/box/(\d+)"[^>]*>\s*<svg[^>]*i-draft`)
		}
		mails++
		if !t.Run(filepath.Base(path), func(t *testing.T) {
			checkNothingVanishes(t, s, ann, box, drafts, strings.ReplaceAll(string(raw), "\r\n", "\n"))
		}) {
			failed++
		}
		return nil
	})
	t.Logf("%d mails, %d of which something vanishes; %v", mails, failed, err)
}

// checkNothingVanishes puts a mail into ann's inbox and her drafts.
func checkNothingVanishes(t *testing.T, s *testServer, ann *webClient, box, drafts, raw string) {
	ann.t = t
	uid := s.put(t, "ann", "INBOX", raw, 0)
	key := fmt.Sprintf("%s.%d", box, uid)
	at := fmt.Sprintf("/box/%s/%d", box, uid)
	ann.get(at)
	page := ann.page
	shown := page
	if m := regexp.MustCompile(`<iframe[^>]*src="([^"]+)"`).FindStringSubmatch(page); m != nil {
		shown += ann.get(html.UnescapeString(m[1]))
	}
	pictures := map[string]bool{}
	for _, m := range regexp.MustCompile(`src="(/inline/[^"]+)"`).FindAllStringSubmatch(shown, -1) {
		pictures[ann.get(m[1])] = true
	}
	print := ann.get(at + "/print")
	answer := webFieldOf(webFormFields(t, ann.get("/compose?reply="+key)), "text")
	forward := webFormFields(t, ann.get("/compose?forward="+key))
	ann.get("/mail")
	duid := s.put(t, "ann", "Drafts", raw, FlagDraft|FlagSeen)
	draft := webFormFields(t, ann.get(fmt.Sprintf("/compose?draft=%s.%d", drafts, duid)))

	c, err := s.contentOf(box, uid)
	if err != nil {
		t.Fatal(err)
	}
	some, place := false, ""
	var files []string
	var texts [][]string
	root := c.Tree()
	leaves := root.Leaves(c, Reading{})
	if r, err := root.Signed(c); err == nil && root.MayBeSigned() { // what was signed is what is read
		m := NewMIMEReader()
		inner, _ := io.ReadAll(r)
		m.Write(inner)
		c.spool, c.Size = s.store.NewSpool(1<<20), int64(len(inner))
		c.spool.Write(inner)
		leaves = m.Tree().Leaves(c, Reading{})
		place = "1s"
	}
	both := slices.ContainsFunc(leaves, func(l Leaf) bool { return l.Fate == LeafAlternative && l.Part.Type == "text" })
	for _, l := range leaves {
		some = some || l.Fate == LeafShown || l.Fate == LeafFile
		b, _ := io.ReadAll(l.Part.Decoded(c))
		path := place + webPathText(l.Path)
		switch l.Fate {
		case LeafShown:
			text, _ := io.ReadAll(l.Part.PlainText(c))
			lines := webLineWords(string(text))
			texts = append(texts, lines)
			for what, in := range map[string]string{"page": shown, "print": print, "answer": html.EscapeString(answer),
				"forward": html.EscapeString(webFieldOf(forward, "text")), "draft": html.EscapeString(webFieldOf(draft, "text"))} {
				if what == "answer" && both || strings.Contains(in, "[…]") || len(text) > webMaxText { // it may quote the plain form, or say that there is more
					continue
				}
				in = webAllWords(in)
				if lacks := webLacks(in, lines); lacks != "" {
					t.Errorf("the %s lacks of the text %s: %.80q in %.300q", what, path, lacks, in)
				}
			}
		case LeafPicture:
			if !pictures[string(b)] {
				t.Errorf("the picture %s is not shown", path)
			}
		case LeafFile:
			files = append(files, string(b))
			if !strings.Contains(page, at+"/part/"+path+`"`) || ann.get(at+"/part/"+path) != string(b) {
				t.Errorf("%s, %s/%s, is not offered as a file", path, l.Part.Type, l.Part.Subtype)
			}
		case LeafAlternative, LeafSignature:
		default:
			t.Errorf("%s has no fate", path)
		}
		if l.Fate == LeafFile || l.Fate == LeafPicture {
			for what, form := range map[string][]string{"forward": forward, "draft": draft} {
				if !strings.Contains(strings.Join(form, "\x00"), "keep\x00"+path) && !strings.Contains(strings.Join(form, "\x00"), "keep\x00whole") {
					t.Errorf("the %s does not keep %s", what, path)
				}
			}
		}
	}
	if !some {
		t.Error("there is nothing")
	}
	// And what is saved and sent has it all.
	ann.get("/compose")
	if webFieldOf(draft, "draft") != "" { // else it is too long for a form, and the original stays
		ann.letter(nil, append(draft, "do", "save")...)
		if ann.code >= 400 {
			t.Fatalf("the draft is not saved: %d", ann.code)
		}
	}
	saved := s.newest(t, "ann", "Drafts")
	ann.get("/compose?forward=" + key)
	ann.letter(nil, append(forward, "to", "ann@home.arpa", "do", "save")...)
	if ann.code >= 400 {
		t.Fatalf("the forward is not saved: %d", ann.code)
	}
	sent := s.newest(t, "ann", "Drafts")
	for what, raw := range map[string]string{"draft": saved, "forward": sent} {
		all := webContents(raw)
		for _, f := range files {
			if !strings.Contains(strings.ReplaceAll(all, "\r\n", "\n"), strings.ReplaceAll(strings.TrimRight(f, "\r\n"), "\r\n", "\n")) {
				t.Errorf("the saved %s lost a file: %.60q", what, f)
			}
		}
		for _, lines := range texts {
			if lacks := webLacks(webAllWords(html.EscapeString(all)), lines); lacks != "" && webLacks(webPartWords(raw), lines) != "" {
				t.Errorf("the saved %s lost of a text %.80q", what, lacks)
			}
		}
	}
}

// contentOf is the content of a message.
func (s *testServer) contentOf(box string, uid UID) (*Content, error) {
	return read(s.store, func(tx *Tx) (*Content, error) {
		m, err := tx.Message(webID[MailboxID](box), uid)
		if err != nil {
			return nil, err
		}
		return tx.Content(m.Blob)
	})
}

// newest is the message that came into a mailbox last, as it is.
func (s *testServer) newest(t *testing.T, user, box string) string {
	t.Helper()
	c, err := read(s.store, func(tx *Tx) (*Content, error) {
		u, err := tx.UserByName(user + "@home.arpa")
		if err != nil {
			return nil, err
		}
		mb, err := tx.MailboxByName(u.ID, box)
		if err != nil {
			return nil, err
		}
		list, err := tx.Newest(mb.ID, 1<<30, 1)
		if err != nil || len(list) == 0 {
			return nil, fmt.Errorf("%s is empty: %w", box, err)
		}
		return tx.Content(list[0].Blob)
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	io.Copy(&b, c.Reader())
	return b.String()
}

// TestWebForwardStyles forwards a mail with style sheets: what may stay of them goes along, for that mail only, and is the same after it
// was saved, read again as a draft, and sent.
func TestWebForwardStyles(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	uid := s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: blue\nMIME-Version: 1.0\nContent-Type: text/html\n\n<html><head><style>@import url(http://x.example/a.css);"+
		"body, p { color: #123456 } td.x, #y span:hover { padding: 2px; position: fixed } * { font-size: 12px }</style><style media='screen and (max-width:600px)'>.x > b { background: url(http://x.example/); "+
		"width: 50% }</style></head><body><table><tr><td class='x'>cell</td></tr></table></body></html>\n", 0)
	const want = "<style>.m-forwarded,.m-forwarded p{color:#123456}.m-forwarded td.m-x,.m-forwarded #m-y span:hover{padding:2px}.m-forwarded *{font-size:12px}" +
		"@media screen and (max-width:600px){.m-forwarded .m-x>b{width:50%}}</style>"
	check := func(where, html string) {
		t.Helper()
		if strings.Count(html, "<style") != 1 || !strings.Contains(html, want) || strings.HasPrefix(html, "<style") {
			t.Errorf("%s: %s\nwithout %s", where, html, want)
		}
		if !regexp.MustCompile(`<div class="m-forwarded">.*<td class="m-x">cell`).MatchString(html) {
			t.Errorf("%s: nothing is forwarded in %s", where, html)
		}
	}
	again := func(how ...string) []string {
		form, fields := webFormFields(t, ann.page), []string{"rich", "1"}
		for i := 0; i < len(form); i += 2 {
			if form[i] != "rich" && form[i] != "to" {
				fields = append(fields, form[i], form[i+1])
			}
		}
		return append(fields, how...)
	}
	ann.get(fmt.Sprintf("/compose?forward=%s.%d", box, uid))
	check("the form", webFieldOf(webFormFields(t, ann.page), "html"))
	ann.letter(nil, again("to", "bob@home.arpa", "do", "save")...)
	check("the saved letter", webFieldOf(webFormFields(t, ann.page), "html"))
	drafts := s.folder(t, "ann", "Drafts")
	ann.get(fmt.Sprintf("/compose?draft=%d.%d", drafts.ID, drafts.UIDNext-1))
	check("the draft", webFieldOf(webFormFields(t, ann.page), "html"))
	ann.letter(nil, again("to", "bob@home.arpa", "do", "send")...)
	s.hurry(t)
	waitFor(t, "the letter", func() bool { return s.folder(t, "bob", "INBOX").Exists == 1 && s.folder(t, "ann", "Sent").Exists == 1 })
	for _, letter := range []string{s.newest(t, "ann", "Sent"), s.newest(t, "bob", "INBOX")} {
		tree, r := parseMIME([]byte(letter)), strings.NewReader(letter)
		part := tree.TextPart("html")
		if part == nil {
			t.Fatalf("no HTML in %s", letter)
		}
		sent, _ := io.ReadAll(part.Text(r))
		check("the sent letter", string(sent))
		plain, _ := io.ReadAll(tree.TextPart("plain").Text(r))
		if strings.Contains(string(plain), "padding") {
			t.Errorf("the plain text has the sheet: %s", plain)
		}
	}
}

// TestWebForwardFormatted forwards a mail with a picture as the script does: the formatting stays, and the picture in it.
func TestWebForwardFormatted(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	uid := s.put(t, "ann", "INBOX", webCorpus(t)["everything"], 0)
	form := webFormFields(t, ann.get(fmt.Sprintf("/compose?forward=%s.%d", box, uid)))
	rich := webFieldOf(form, "html")
	picture := regexp.MustCompile(`src="(/inline/[^"]+)"`).FindStringSubmatch(rich)
	if picture == nil {
		t.Fatalf("no picture in %s", rich)
	}
	var fields []string
	for i := 0; i < len(form); i += 2 {
		if form[i] != "rich" && form[i] != "to" {
			fields = append(fields, form[i], form[i+1])
		}
	}
	fields = append(fields, "rich", "1", "to", "bob@home.arpa")
	ann.letter(nil, append(fields, "do", "save")...)
	for range 2 { // and once more, as it is opened again
		again := webFormFields(t, ann.page)
		if !regexp.MustCompile(`src="/compose/picture/\d+/\d+"`).MatchString(webFieldOf(again, "html")) {
			t.Fatalf("the letter's picture is not shown: %s", webFieldOf(again, "html"))
		}
		at := regexp.MustCompile(`src="(/compose/picture/\d+/\d+)"`).FindStringSubmatch(webFieldOf(again, "html"))[1]
		page := ann.page
		if got := ann.get(at); !strings.HasSuffix(got, "used") || ann.head.Get("Content-Type") != "image/png" {
			t.Errorf("%s: %d %s", at, ann.code, ann.head.Get("Content-Type"))
		}
		bob := newWebClient(t, s).login("bob")
		if bob.get(at); bob.code != 404 {
			t.Errorf("another one gets the picture: %d", bob.code)
		}
		ann.page = page
		var fields []string
		for i := 0; i < len(again); i += 2 {
			if again[i] != "rich" {
				fields = append(fields, again[i], again[i+1])
			}
		}
		ann.letter(nil, append(fields, "rich", "1", "do", "save")...)
	}
	raw := s.newest(t, "ann", "Drafts")
	m := NewMIMEReader()
	io.WriteString(m, raw)
	r := strings.NewReader(raw)
	used := 0
	for _, l := range m.Tree().Leaves(r, Reading{}) {
		if l.Fate == LeafPicture {
			used++
		}
	}
	if used != 1 || !strings.Contains(raw, "multipart/related") || strings.Contains(raw, "/inline/") || strings.Contains(raw, "/compose/picture") {
		t.Errorf("%d pictures in the letter's text:\n%s", used, raw)
	}
}

// TestWebInside opens what is inside of parts, and offers what HTML hides.
func TestWebInside(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	many := make([]string, maxLetterFiles+1)
	for i := range many {
		many[i] = fmt.Sprintf("Content-Type: application/x; name=f%d\n\nx", i)
	}
	for i, c := range []struct {
		raw  string
		want []string
		at   string // a page or a file, and what is in it
		has  string
	}{
		{webMail("mixed", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"+b64("Subject: in\nFrom: a@x.example\n\ninner words")),
			[]string{"message.eml"}, "?at=1s", "inner words"},
		{"Content-Type: text/plain\n\nbefore\nbegin 644 cat.bin\n#0V%T\n`\nend\nbehind\n", []string{"cat.bin", "behind"}, "/part/1u0", "Cat"},
		{"Content-Type: text/html\n\n<frameset><frame src=https://x.example/><noframes>no frames here</noframes></frameset>", nil, "/html", "no frames here"},
		{"Content-Type: text/html\n\n<html><!-- all of it", []string{"text.html"}, "/part/1", "all of it"},
		{"Content-Type: text/html\n\n<noscript>without scripts</noscript>", nil, "/html", "without scripts"},
		{webMail("mixed", many...), []string{fmt.Sprint("f", maxLetterFiles)}, "/part/1", "x"},
	} {
		uid := s.put(t, "ann", "INBOX", c.raw, 0)
		at := fmt.Sprintf("/box/%s/%d", box, uid)
		ann.get(at)
		ann.want(c.want...)
		if got := ann.get(at + c.at); ann.code != 200 || !strings.Contains(got, c.has) {
			t.Errorf("%d: %s: %d %.200q", i, c.at, ann.code, got)
		}
	}
	uid := s.put(t, "ann", "INBOX", webMail("mixed", many...), 0)
	if form := webFormFields(t, ann.get(fmt.Sprintf("/compose?forward=%s.%d", box, uid))); webFieldOf(form, "keep") != "whole" {
		t.Error("a message with more files than a letter holds is not forwarded as a whole")
	}
}

// TestWebWinmail offers the files in a winmail.dat beside it.
func TestWebWinmail(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	uid := s.put(t, "ann", "INBOX", "Subject: x\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"+
		base64.StdEncoding.EncodeToString([]byte(tnefSample())), 0)
	ann.get(fmt.Sprintf("/box/%s/%d", box, uid))
	page := ann.page
	inner := regexp.MustCompile(`href="(/box/[^"]*t\d+)"`).FindAllStringSubmatch(page, -1)
	ann.want("winmail.dat", "报告 2025.pdf", "deep.txt", `<div class="text">BODY<br>`)
	for _, m := range inner {
		if ann.get(m[1]); ann.code != 200 || ann.page == "" {
			t.Errorf("%s: %d", m[1], ann.code)
		}
	}
	for _, wrong := range []string{"t99", "t-1", "tx", "s", "s1", "ss"} {
		if ann.get(strings.TrimRight(inner[0][1], "0123456789")[:len(strings.TrimRight(inner[0][1], "0123456789"))-1] + wrong); ann.code != 404 {
			t.Errorf("%s: %d", wrong, ann.code)
		}
	}
}

// TestWebMailto reads addresses that begin a letter (RFC 6068).
func TestWebMailto(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	for link, want := range map[string][4]string{
		"mailto:bob+tag@home.arpa?subject=1+1%20is%202&cc=eve+x@home.arpa":      {"bob+tag@home.arpa", "eve+x@home.arpa", "1+1 is 2", ""},
		"MAILTO:a@x.example,%20b@x.example?To=c@x.example&BODY=one%0D%0Atwo":    {"a@x.example, b@x.example, c@x.example", "", "", "one\ntwo"},
		"mailto:?to=a%2Bb@x.example&subject=100%&bcc=d@x.example&attach=/etc/x": {"a+b@x.example", "", "100%", ""},
		"mailto:%22not%40me%22@x.example?subject=caf%C3%A9":                     {`"not@me"@x.example`, "", "café", ""},
	} {
		for _, query := range []string{url.QueryEscape(link), link} {
			f := webFormFields(t, ann.get("/compose?to="+strings.ReplaceAll(query, "#", "%23")))
			got := [4]string{webFieldOf(f, "to"), webFieldOf(f, "cc"), webFieldOf(f, "subject"), strings.TrimSpace(webFieldOf(f, "text"))}
			if got != want {
				t.Errorf("%s became %q", query, got)
			}
		}
	}
}

// TestWebListFields reads the fields of mailing lists in the ways that they are written.
func TestWebListFields(t *testing.T) {
	for head, want := range map[string]webListFields{
		"List-Unsubscribe: <https://a.example/u?ids=1,2,3>":                                            {Leave: "https://a.example/u?ids=1,2,3"},
		"List-Unsubscribe: <https://a.example/very/long\r\n ?x=1>":                                     {Leave: "https://a.example/very/long?x=1"},
		"List-Unsubscribe: <mailto:u@a.example>, <https://a.example/u>":                                {Leave: "/compose?to=mailto%3Au%40a.example"},
		"List-Unsubscribe: (comment) <ftp://x>,\r\n <http://a.example/u>":                              {Leave: "http://a.example/u"},
		"List-Unsubscribe: https://a.example/u,v, mailto:x@a.example":                                  {Leave: "https://a.example/u,v"},
		"List-Unsubscribe: <javascript:alert(1)>":                                                      {},
		"List-Unsubscribe: <https://a.example/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click": {Leave: "https://a.example/u", OneClick: "https://a.example/u"},
		"List-Unsubscribe: <http://a.example/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click":  {Leave: "http://a.example/u"},
		"List-Post: <mailto:list+x@a.example> (moderated)":                                             {Post: "list+x@a.example"},
		"List-Post: NO": {},
	} {
		if got := webListOf(ParseHeader([]byte(head + "\r\n\r\n"))); got != want {
			t.Errorf("%s gave %+v", head, got)
		}
	}
}

// TestWebAnswerTo sees whom an answer goes to: the sender and not the list that put itself into Reply-To, and never
// oneself in place of those one wrote to.
func TestWebAnswerTo(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	const list = "List-Post: <mailto:l@list.example>\n"
	for _, x := range []struct{ head, query, to, cc string }{
		{"From: Bob <bob@x.example>\nTo: ann@home.arpa\n", "", "Bob <bob@x.example>", ""},
		{"From: Bob <bob@x.example>\nReply-To: r@x.example\nTo: ann@home.arpa\n", "", "r@x.example", ""},
		{"From: Bob <bob@x.example>\nReply-To: l@list.example\nTo: l@list.example\n" + list, "", "Bob <bob@x.example>", ""},
		{"From: Bob <bob@x.example>\nReply-To: l@list.example\nTo: l@list.example\n" + list, "&list=1", "l@list.example", ""},
		{"From: Bob <bob@x.example>\nReply-To: l@list.example\nTo: l@list.example, ann@home.arpa\n" + list, "&all=1", "Bob <bob@x.example>, l@list.example", ""},
		{"From: ann@home.arpa\nReply-To: ann@home.arpa\nTo: bob@x.example\nCc: c@x.example\n", "", "bob@x.example", ""},
		{"From: ann@home.arpa\nTo: bob@x.example\nCc: c@x.example\n", "&all=1", "bob@x.example", "c@x.example"},
		{"From: ann@home.arpa\nTo: ann@home.arpa\n", "", "ann@home.arpa", ""},
	} {
		uid := s.put(t, "ann", "INBOX", x.head+"Subject: x\n\nx\n", 0)
		f := webFormFields(t, ann.get(fmt.Sprintf("/compose?reply=%s.%d%s", box, uid, x.query)))
		if webFieldOf(f, "to") != x.to || webFieldOf(f, "cc") != x.cc {
			t.Errorf("%q%s: to %q, cc %q", x.head, x.query, webFieldOf(f, "to"), webFieldOf(f, "cc"))
		}
	}
}

// TestWebNames sees that a name cannot pass for another's address.
func TestWebNames(t *testing.T) {
	for _, x := range [][3]string{
		{"Ann", "ann@x.example", "Ann"},
		{"", "ann@x.example", "ann@x.example"},
		{"ann@x.example", "Ann@x.example", "ann@x.example"},
		{"boss@bank.test", "evil@evil.test", "boss@bank.test <evil@evil.test>"},
		{"My Bank <security@bank.test>", "evil@evil.test", "My Bank <security@bank.test> <evil@evil.test>"},
		{"boss＠bank.test", "evil@evil.test", "boss＠bank.test <evil@evil.test>"},
	} {
		if got := (webPerson{x[0], x[1]}).Label(); got != x[2] {
			t.Errorf("%q of %s is called %q", x[0], x[1], got)
		}
	}
}

// TestWebFileNames sees that names of files are harmless where they are saved, and themselves where they are shown.
func TestWebFileNames(t *testing.T) {
	for in, want := range map[string][2]string{
		"a.txt": {"a.txt", "a.txt"}, `C:\x\a.txt`: {"a.txt", "a.txt"}, "../../etc/passwd": {"passwd", "passwd"}, "=?a?=.pdf": {"=?a?=.pdf", "=_a_=.pdf"},
		"C:name": {"C:name", "C_name"}, "con.txt": {"con.txt", "_con.txt"}, "exe\u202egpj": {"exegpj", "exegpj"}, " . ": {"", ""}, "a\r\nb": {"a  b", "a  b"},
	} {
		shown := webFileName(in)
		if saved := webSavedName(shown); shown != want[0] || saved != want[1] {
			t.Errorf("%q is shown as %q and saved as %q", in, shown, saved)
		}
	}
}

// TestWebClosedMailbox sees that a letter of somebody whose mailbox was closed is not sent when it is due, and waits with a
// reason.
func TestWebClosedMailbox(t *testing.T) {
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(nil, "to", "bob@home.arpa", "subject", "too late", "text", "x", "do", "send")
	u, err := read(s.store, func(tx *Tx) (User, error) { return tx.UserByName("ann@home.arpa") })
	if err != nil {
		t.Fatal(err)
	}
	l, err := write(s.store, func(tx *Tx) (Letter, error) {
		all, err := tx.WaitingLetters(u.ID)
		if err != nil || len(all) != 1 {
			return Letter{}, fmt.Errorf("%d letters wait: %w", len(all), err)
		}
		u.Disabled = true
		return all[0], tx.UpdateUser(u)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.web.dispatch(l)
	l, err = read(s.store, func(tx *Tx) (Letter, error) { return tx.Letter(u.ID, l.ID) })
	if err != nil || l.Fault != webReason(webErrClosed) || !l.Due.IsZero() {
		t.Errorf("the letter: %v, %+v", err, l)
	}
}

// TestWebResent shows who sent a message on.
func TestWebResent(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "Resent-From: Bob <bob@home.arpa>\nFrom: boss@bank.test\nSubject: x\n\nx\n", 0)
	ann := newWebClient(t, s).login("ann")
	ann.get(fmt.Sprintf("/box/%s/%d", ann.find(`/box/(\d+)`), uid))
	ann.want(`<p class="resent">Sent on unchanged by`, "bob@home.arpa")
}

// TestWebUnsubscribe asks no address that is not one of the internet's, whoever names it.
func TestWebUnsubscribe(t *testing.T) {
	for address, want := range map[string]bool{
		"9.9.9.9": true, "2620:fe::fe": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.1.1": false, "169.254.1.1": false, "::1": false, "fe80::1": false, "fd00::1": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "2002:a00:1::": false,
		"::7f00:1": false, "::ffff:0:a00:1": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is public: %v", address, got)
		}
	}
	s := startServer(t)
	ann := newWebClient(t, s).login("ann")
	box := ann.find(`/box/(\d+)`)
	for _, address := range []string{"https://127.0.0.1/u", "https://localhost/u", "https://user@127.0.0.1/", "https://127.0.0.1:8443/u", "https://[::1]/u"} {
		uid := s.put(t, "ann", "INBOX", "Subject: list\nList-Unsubscribe: <"+address+">\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n\nx\n", 0)
		ann.get(fmt.Sprintf("/box/%s/%d", box, uid))
		ann.want("Unsubscribe now")
		ann.post("/unsubscribe", "m", fmt.Sprintf("%s.%d", box, uid))
		ann.want("did not take it")
	}
}

// TestWebPrintQuotes: on paper nothing can be opened, so the print page folds no quote away.
func TestWebPrintQuotes(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "Subject: x\n\nBob wrote:\n"+strings.Repeat("> quoted\n", 2*webFoldQuote)+"\nYes.\n", 0)
	ann := newWebClient(t, s).login("ann")
	at := fmt.Sprintf("/box/%s/%d", ann.find(`/box/(\d+)`), uid)
	if page := ann.get(at); !strings.Contains(page, webFold) {
		t.Errorf("the page folds no quote: %s", page)
	}
	if paper := ann.get(at + "/print"); strings.Contains(paper, webFold) || !strings.Contains(paper, "quoted") {
		t.Errorf("the print page folds a quote: %s", paper)
	}
}
