package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"reflect"
	"strings"
	"testing"
	"time"
)

// file is an attachment with that content.
func file(name, typ, content string) Attachment {
	return Attachment{Name: name, Type: typ, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func ann() Draft {
	return Draft{From: &Address{"Ann", "ann", "example.com"}, To: []Address{{"", "bob", "example.org"}},
		Subject: "x", Date: time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("", 8*3600)), MessageID: "<1@example.com>"}
}

func writeDraft(t *testing.T, d *Draft) ([]byte, *Part) {
	t.Helper()
	var b bytes.Buffer
	n, err := d.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo: %d of %d, %v", n, b.Len(), err)
	}
	for _, line := range strings.SplitAfter(b.String(), "\n") {
		if text := strings.TrimSuffix(line, "\r\n"); strings.ContainsAny(text, "\r\n") || len(text) > maxLine {
			t.Errorf("bad line %q", line)
		}
	}
	return b.Bytes(), parseMIME(b.Bytes())
}

// TestDraftPlain shows the whole of the simplest message.
func TestDraftPlain(t *testing.T) {
	d := ann()
	d.Cc = []Address{{"", "team", ""}, {"张三", "zhang", "例子.测试"}, {}}
	d.Sender, d.ReplyTo = &Address{"", "sec", "example.com"}, []Address{{"", "re", "example.com"}}
	d.InReplyTo, d.References = "<0@example.com>", []string{"<a@x>", "0@example.com"}
	d.Bcc = []Address{{"", "secret", "example.com"}}
	d.Extra = []Field{{"X-Mailer", "Postino 中"}}
	d.Text = "Hello\nFrom here\n.\n"
	got, tree := writeDraft(t, &d)
	want := `From: Ann <ann@example.com>
Sender: sec@example.com
Reply-To: re@example.com
To: bob@example.org
Cc: team: =?utf-8?b?5byg5LiJ?= <zhang@xn--fsqu00a.xn--0zwm56d> ;
Subject: x
Date: Thu, 29 Feb 2024 12:00:00 +0800
Message-ID: <1@example.com>
In-Reply-To: <0@example.com>
References: <a@x> <0@example.com>
X-Mailer: Postino =?utf-8?b?5Lit?=
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

Hello
From here
.
`
	if string(got) != string(crlf(want)) {
		t.Errorf("got\n%s", got)
	}
	if !(PeerCan{}).Takes(tree) {
		t.Error("not 7-bit")
	}
	d.KeepBcc = true
	if got, _ := writeDraft(t, &d); !bytes.Contains(got, []byte("\r\nBcc: secret@example.com\r\n")) {
		t.Errorf("no Bcc in a draft:\n%s", got)
	}
	d.KeepBcc, d.To, d.Cc, d.MessageID = false, nil, nil, ""
	got, _ = writeDraft(t, &d)
	h := ParseHeader(got)
	if h.Get("To") != "undisclosed-recipients:;" || !strings.HasSuffix(h.Get("Message-ID"), "@example.com>") {
		t.Errorf("got\n%s", got)
	}
}

func TestDraftRefuses(t *testing.T) {
	const evil = "x\r\nBcc: evil@example.com"
	for field, change := range map[string]func(d *Draft, s string){
		"From":         func(d *Draft, s string) { d.From.Name = s },
		"To":           func(d *Draft, s string) { d.To[0].Local = s },
		"Cc":           func(d *Draft, s string) { d.Cc = []Address{{"", "a", s}} },
		"Reply-To":     func(d *Draft, s string) { d.ReplyTo = []Address{{s, "a", "b"}} },
		"Sender":       func(d *Draft, s string) { d.Sender = &Address{s, "a", "b"} },
		"Subject":      func(d *Draft, s string) { d.Subject = s },
		"Message-ID":   func(d *Draft, s string) { d.MessageID = s },
		"In-Reply-To":  func(d *Draft, s string) { d.InReplyTo = "<" + s + "@x>" },
		"References":   func(d *Draft, s string) { d.References = []string{s} },
		"X-Y":          func(d *Draft, s string) { d.Extra = []Field{{"X-Y", s}} },
		"field name":   func(d *Draft, s string) { d.Extra = []Field{{s, "y"}} },
		"file name":    func(d *Draft, s string) { d.Attachments = []Attachment{file(s, "", "")} },
		"Content-Type": func(d *Draft, s string) { d.Attachments = []Attachment{file("", "a/b; c="+s, "")} },
		"Content-ID":   func(d *Draft, s string) { d.Attachments = []Attachment{{ContentID: s, Open: file("", "", "").Open}} },
		"report type":  func(d *Draft, s string) { d.Report = s },
	} {
		for _, s := range []string{evil, "a\nb", "a\rb", "a\x00b"} {
			d := ann()
			change(&d, s)
			var b bytes.Buffer
			if _, err := d.WriteTo(&b); err == nil || !strings.Contains(err.Error(), field) || b.Len() > 0 {
				t.Errorf("%s %q: %v, %d octets written", field, s, err, b.Len())
			}
		}
	}
	for name, d := range map[string]Draft{
		"From":            {Date: time.Now()},
		"Date":            {From: &Address{"", "a", "b"}},
		"To":              {From: &Address{"", "a", "b"}, Date: time.Now(), To: []Address{{"", "", "x y"}}},
		"subject":         {From: &Address{"", "a", "b"}, Date: time.Now(), Extra: []Field{{"subject", "again"}}},
		"multipart/mixed": {From: &Address{"", "a", "b"}, Date: time.Now(), Attachments: []Attachment{file("", "multipart/mixed", "")}},
	} {
		if _, err := d.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDraftErrors lets the disk and the network fail.
func TestDraftErrors(t *testing.T) {
	d := ann()
	d.Attachments = []Attachment{{Name: "gone", Open: func() (io.ReadCloser, error) { return nil, errors.New("no such file") }}}
	if _, err := d.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	d.Attachments = []Attachment{file("big", "", strings.Repeat("x", 1<<20))}
	if _, err := d.WriteTo(&failWriter{n: 100000}); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

// failWriter takes n octets and then fails.
type failWriter struct{ n int }

func (f *failWriter) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func readPart(t *testing.T, p *Part, msg []byte) string {
	t.Helper()
	b, err := io.ReadAll(p.Decoded(bytes.NewReader(msg)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDraftStructure(t *testing.T) {
	d := ann()
	d.Text, d.HTML = "text\n", `<p>html <img src="cid:pic@x">`
	pic := file("pic.png", "image/png", "\x89PNG")
	pic.Inline, pic.ContentID = true, "pic@x"
	d.Attachments = []Attachment{file("报告.pdf", "application/pdf", "%PDF\n"), pic,
		file("mail.eml", "message/rfc822", "Subject: in\n\ninner\n"), file("", "", "")}
	msg, tree := writeDraft(t, &d)
	shape := ""
	tree.Walk(func(path []int, p *Part) bool {
		shape += fmt.Sprintln(path, p.Type+"/"+p.Subtype, p.Encoding, p.Disp, p.Filename(), p.ID)
		return true
	})
	want := `[] multipart/mixed 7bit   
[1] multipart/alternative 7bit   
[1 1] text/plain 7bit   
[1 2] multipart/related 7bit   
[1 2 1] text/html 7bit   
[1 2 2] image/png base64 inline pic.png <pic@x>
[2] application/pdf base64 attachment 报告.pdf 
[3] message/rfc822 7bit attachment mail.eml 
[3 1] text/plain 7bit   
[4] application/octet-stream base64 attachment  
`
	if shape != want {
		t.Errorf("got\n%s", shape)
	}
	if got := readPart(t, tree.Find([]int{3, 1}), msg); got != "inner\r\n" {
		t.Errorf("forwarded text %q", got)
	}
	d.HTML, d.Attachments = "", d.Attachments[1:2]
	if _, tree := writeDraft(t, &d); len(tree.Parts) != 2 || tree.Parts[1].Disp != "inline" {
		t.Error("an inline picture without HTML should be a file beside the text")
	}
	d.HTML, d.Text, d.Attachments = "<p>only<blockquote>html</blockquote>", "", nil
	msg, tree = writeDraft(t, &d)
	if got := readPart(t, tree.TextPart("plain"), msg); got != "only\r\n\r\n> html\r\n" {
		t.Errorf("made from HTML: %q", got)
	}
}

// TestDraftReport writes a multipart/report, whose parts must stay readable as text.
func TestDraftReport(t *testing.T) {
	d := ann()
	d.Report, d.Text = "delivery-status", "It failed.\n"
	d.Attachments = []Attachment{file("", "message/delivery-status", "Reporting-MTA: dns; x\n\nAction: failed\n"),
		file("", "text/rfc822-headers", "Subject: x\n")}
	msg, tree := writeDraft(t, &d)
	if tree.Subtype != "report" || tree.Param("report-type") != "delivery-status" || len(tree.Parts) != 3 {
		t.Fatalf("%s", dumpTree(tree))
	}
	for i, want := range []string{"message/delivery-status", "text/rfc822-headers"} {
		p := tree.Parts[i+1]
		if p.Type+"/"+p.Subtype != want || p.Encoding != "7bit" || p.Disp != "" {
			t.Errorf("%s", dumpTree(p))
		}
	}
	if got := readPart(t, tree.Parts[1], msg); got != "Reporting-MTA: dns; x\r\n\r\nAction: failed\r\n" {
		t.Errorf("%q", got)
	}
	d.Attachments = nil
	if _, tree := writeDraft(t, &d); tree.Subtype != "report" {
		t.Error("a report of one part is still a report")
	}
}

// TestDraftMessageParts: message/rfc822 is never encoded; what cannot go as text is a file.
func TestDraftMessageParts(t *testing.T) {
	for content, want := range map[string]string{
		"Subject: x\n\nplain\n":                     "message/rfc822 7bit",
		"Subject: x\r\n\r\ncaf\xc3\xa9\r\n":         "message/rfc822 8bit",
		"Subject: x\n\n" + strings.Repeat("x", 999): "application/octet-stream base64",
		"Subject: x\n\nnul \x00\n":                  "application/octet-stream base64",
	} {
		d := ann()
		d.Attachments = []Attachment{file("m.eml", "message/rfc822", content)}
		_, tree := writeDraft(t, &d)
		p := tree.Parts[1]
		if got := p.Type + "/" + p.Subtype + " " + p.Encoding; got != want {
			t.Errorf("%.40q: %s, want %s", content, got, want)
		}
	}
}

func TestFlowed(t *testing.T) {
	for in, want := range map[string]string{
		"short":                            "short",
		"a\n\nb":                           "a\n\nb",
		"trailing  \nx":                    "trailing\nx",
		" led by a space":                  "  led by a space",
		"From here":                        " From here",
		"> quoted":                         "> quoted",
		"> > old style":                    ">> old style",
		">no space":                        "> no space",
		">> twice\n>":                      ">> twice\n>",
		"-- \nAnn":                         "-- \nAnn",
		strings.Repeat("word ", 20):        strings.Repeat("word ", 14) + "\n" + strings.TrimRight(strings.Repeat("word ", 6), " "),
		strings.Repeat("x", 100) + " y":    strings.Repeat("x", 100) + " \ny",
		"> " + strings.Repeat("word ", 20): "> " + strings.Repeat("word ", 14) + "\n> " + strings.TrimRight(strings.Repeat("word ", 6), " "),
		strings.Repeat("x", 71) + " >y":    strings.Repeat("x", 71) + " \n >y",
	} {
		if got := flowText(in); got != want {
			t.Errorf("flowText(%q) =\n%q, want\n%q", in, got, want)
		}
	}
	d := ann()
	d.Text, d.Flowed = strings.Repeat("word ", 50), true
	if _, tree := writeDraft(t, &d); tree.Param("format") != "flowed" {
		t.Error("not labelled")
	}
}

// randomText is text that is hard to carry: many scripts, odd lines, what looks like syntax.
func randomText(r *rand.Rand, n int) string {
	bits := []string{"hello", " ", "  ", "\n", "\n\n", "你好世界", "é", "\u0301", "🙂", ">", "From ", ".", "--", "-- ", "=", "=?utf-8?q?x?=",
		strings.Repeat("long", 300), "\t", "\"", "\\", "(", "<", ",", ":", "@", "%41", "'", ";", "*", "\u00a0", "&amp;"}
	var b strings.Builder
	for range r.Intn(n + 1) {
		b.WriteString(bits[r.Intn(len(bits))])
	}
	return b.String()
}

// oneLine makes it fit for a header: no line ends, no blanks at the edges.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\u00a0", "")), " ")
}

// TestDraftRoundTrip writes random drafts and reads them back: the same text, files and names.
func TestDraftRoundTrip(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		d := ann()
		d.Subject = oneLine(randomText(r, 12))
		d.From.Name = oneLine(randomText(r, 5))
		for range r.Intn(4) {
			local := oneLine(strings.Map(func(c rune) rune {
				if c >= 128 {
					return 'x'
				}
				return c
			}, randomText(r, 3)))
			if local == "" || len(local) > 100 {
				local = "x"
			}
			d.Cc = append(d.Cc, Address{oneLine(randomText(r, 5)), local, "例子.test"})
		}
		d.Text = randomText(r, 60)
		if r.Intn(2) == 0 {
			d.HTML = "<p>" + randomText(r, 60)
		}
		var contents []string
		for range r.Intn(4) {
			contents = append(contents, randomText(r, 300)+"\x00\r"+string([]byte{byte(r.Intn(256))}))
			d.Attachments = append(d.Attachments, file(oneLine(randomText(r, 8)), []string{"", "text/plain", "image/png; x=\"a b\""}[r.Intn(3)], contents[len(contents)-1]))
		}
		msg, tree := writeDraft(t, &d)
		if err := checkDraft(&d, msg, tree, contents); err != nil {
			t.Errorf("seed %d: %v\n%.2000s", seed, err, msg)
		}
	}
}

func checkDraft(d *Draft, msg []byte, tree *Part, contents []string) error {
	if !(PeerCan{}).Takes(tree) {
		return errors.New("not 7-bit")
	}
	h := ParseHeader(msg)
	if got := h.Text("Subject"); got != d.Subject {
		return fmt.Errorf("subject %q, was %q", got, d.Subject)
	}
	if got := ParseAddressList(h.Get("From")); len(got) != 1 || got[0].DisplayName() != d.From.DisplayName() {
		return fmt.Errorf("from %q, was %q", got, *d.From)
	}
	cc := ParseAddressList(h.Get("Cc"))
	for i := range cc {
		cc[i].Name, cc[i].Domain = cc[i].DisplayName(), DomainToUnicode(cc[i].Domain)
	}
	var want []Address // a name that looks like an encoded word is taken as one
	for _, a := range d.Cc {
		want = append(want, Address{a.DisplayName(), a.Local, a.Domain})
	}
	if !reflect.DeepEqual(cc, want) {
		return fmt.Errorf("cc %#v, was %#v", cc, want)
	}
	for subtype, want := range map[string]string{"plain": d.Text, "html": d.HTML} {
		if want == "" {
			continue
		}
		b, err := io.ReadAll(tree.TextPart(subtype).Text(bytes.NewReader(msg)))
		want = strings.ReplaceAll(strings.TrimSuffix(want, "\n"), "\n", "\r\n") + "\r\n"
		if got := string(b); err != nil || got != want {
			return fmt.Errorf("%s %q %v, was %q", subtype, got, err, want)
		}
	}
	files := tree.Parts
	if len(contents) == 0 {
		return nil
	}
	for i, p := range files[1:] {
		b, err := io.ReadAll(p.Decoded(bytes.NewReader(msg)))
		if err != nil || string(b) != contents[i] {
			return fmt.Errorf("file %d is %q %v, was %q", i, b, err, contents[i])
		}
		if got := findParam(p.DispParams, "filename"); got != d.Attachments[i].Name {
			return fmt.Errorf("file name %q, was %q", got, d.Attachments[i].Name)
		}
	}
	return nil
}

// TestDraftStreams: a large attachment is never in memory.
func TestDraftStreams(t *testing.T) {
	d := ann()
	size := int64(64 << 20)
	if testing.Short() {
		size = 8 << 20
	}
	d.Attachments = []Attachment{{Name: "big", Open: func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, size)), nil }}}
	allocs := testing.AllocsPerRun(1, func() { d.WriteTo(io.Discard) })
	if allocs > 1000 {
		t.Errorf("%v allocations", allocs)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
