package main

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMIMEBodyInHeader reads mails whose header and body have no empty line between them, or one with blanks in it.
func TestMIMEBodyInHeader(t *testing.T) {
	const part = "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
	for in, want := range map[string]string{
		"Subject: a\nJust words.\n\nMore of them.\n":                                                                             "text/plain Just words.\n\nMore of them.\n",
		"Subject: a\n \nJust words.\n\nMore.\n":                                                                                  "text/plain Just words.\n\nMore.\n",
		"Subject: a\n\t\nJust words.\nTime: ten.\n\nMore.\n":                                                                     "text/plain Just words.\nTime: ten.\n\nMore.\n",
		"Subject: a\njunk here\nDate: x\n\nBody.\n":                                                                              "text/plain Body.\n",
		">From ann\nSubject: a\n\nBody.\n":                                                                                       "text/plain Body.\n",
		"Words.\n\nMore.\n":                                                                                                      "text/plain Words.\n\nMore.\n",
		"Subject: a\nContent-Type: text/plain;\ncharset=utf-8\n\nBody.\n":                                                        "text/plain Body.\n",
		part + "Content-Type: text/plain\nIn article: <a@b> she\nwrites\n\n> this\n--b--\n":                                      "text/plain In article: <a@b> she\nwrites\n\n> this",
		part + "Content-Type: application/x\nContent-Transfer-Encoding: base64\nQUJD\nREVG\n\n--b--\n":                           "application/x ABCDEF",
		part + "Content-Type: application/x\nContent-Transfer-Encoding: base64;\nname=x\n\nQUJD\n--b--\n":                        "application/x ABC",
		"Content-Type: multipart/mixed; boundary=b\n \n--b\nContent-Type: text/html\n\n<p>a\n--b--\n":                            "text/html <p>a",
		"Content-Type: multipart/mixed; boundary=b\n--b\nContent-Type: text/html\n\n<p>a\n--b--\n":                               "text/html <p>a",
		"Content-Type: multipart/mixed; boundary=b\n--c\nMIME-Version: 1.0\n\n--b\n\na\n--b--\n":                                 "text/plain a",
		part + "Content-Type: multipart/alternative; boundary=c\n--c\n\none\n--c--\n--b\n\ntwo\n--b--\n":                         "text/plain one|text/plain two",
		"Content-Type: multipart/mixed; boundary=B\n\nfor old programs\n--b\nContent-Type: text/html\n\n<p>a\n--b\n\nc\n--b--\n": "text/html <p>a|text/plain c",
		"Content-Type: multipart/mixed; boundary=b\n\n--x\nno header\n--b\n\nc\n--b--\n":                                         "text/plain c",
		part + "Content-Type: message/rfc822\n\nSubject: in\nWords.\n\nMore.\n--b--\n":                                           "text/plain Words.\n\nMore.",
		part + "Content-Type: message/delivery-status\nReporting-MTA: x\nodd\n\nFinal-Recipient: y\n--b--":                       "message/delivery-status Final-Recipient: y",
	} {
		for _, raw := range []string{in, string(crlf(in))} {
			root := parseMIME([]byte(raw))
			if err := checkTree(root, int64(len(raw))); err != nil {
				t.Errorf("%q: %v", raw, err)
			}
			var got []string
			root.Walk(func(_ []int, p *Part) bool {
				if !p.IsMultipart() && !p.IsMessage() {
					b, _ := io.ReadAll(p.Decoded(strings.NewReader(raw)))
					got = append(got, p.Type+"/"+p.Subtype+" "+strings.ReplaceAll(string(b), "\r\n", "\n"))
					if n := strings.Count(string(b), "\n"); p.Encoding == "7bit" && p.Lines != int64(n) && p.Lines != int64(n+1) {
						t.Errorf("%q: %d lines of %q", raw, p.Lines, b)
					}
				}
				return true
			})
			if s := strings.Join(got, "|"); s != want {
				t.Errorf("%q:\n%q\n%q", raw, s, want)
			}
		}
	}
}

// TestLeavesBeside shows what stands outside of all parts, unless it is for programs without MIME.
func TestLeavesBeside(t *testing.T) {
	const head, part = "Content-Type: multipart/mixed; boundary=b\n\n", "--b\n\nletter\n"
	for in, want := range map[string]string{
		head + "This is a multi-part message in MIME format.\n\n" + part + "--b--\n":                             "letter",
		head + "Not a standard sentence.\n" + part + "--b--\n":                                                   "letter",
		head + "The letter itself.\n--b\nContent-Type: image/png\n\nPNG\n--b--\n":                                "(file)|The letter itself.",
		head + part + "--b--\n\n____\nThis list knows no parts.\n":                                               "letter|\n____\nThis list knows no parts.\n",
		head + part + "--b--\n\n--\n----\n":                                                                      "letter",
		head + part + "--b--\n--b\nContent-Type: text/plain\n\na part behind the end\n--b--\n":                   "letter|a part behind the end",
		head + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nin\n--c--\nfooter\n--b\n\nout\n--b--\n": "in|footer|out",
		head + "--b\n--b--\nThe end.\n":                                                                          "|The end.\n",
	} {
		r := strings.NewReader(in)
		var got []string
		for _, l := range parseMIME([]byte(in)).Leaves(r, Reading{}) {
			b, _ := io.ReadAll(l.Part.Text(r))
			if l.Fate != LeafShown {
				b = []byte("(file)")
			}
			got = append(got, string(b))
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%q:\n%q\n%q", in, s, want)
		}
	}
}

// TestMIMETransfer reads bodies in encodings older than MIME's, labels that are written oddly, and labels that are wrong.
func TestMIMETransfer(t *testing.T) {
	uu := "before\n\nbegin 644 a b.bin\n#86)C\n!9```\n`\nend\nbehind\n"
	long := strings.Repeat("Grüße aus dem Süden. ", 1000)
	for _, c := range []struct{ field, body, text string }{
		{"x-uuencode", uu, "abcd"},
		{"X-UUE", uu, "abcd"},
		{"uuencode", "no file here\n", "no file here\n"},
		{"x-uuencode", "begin-base64 644 x\nYWJj\nZA==\n====\n", "abcd"},
		{"x-yencode", "=ybegin line=128 size=5 name=x\n\x8b\x8c\x8d\x3d\x53\x8e\n=yend size=5\n", "abc\xe9d"},
		{"Base-64", "YWJj\n", "abc"},
		{"quoted_printable", "a=62c\n", "abc\n"},
		{"\"base64\"", "YWJj\n", "abc"},
		{"base64", "YWJj\nYWJj\n_______\nlist footer\nof two lines\n", "abcabc_______\nlist footer\nof two lines\n"},
		{"base64", "Only words, and a few.\n", "Only words, and a few.\n"},
		{"base64", "ONEWORDALONE\n", "ONEWORDALONE\n"},
		{"base64", "Hello\n\nthis is not what it says\n", "Hello\n\nthis is not what it says\n"},
		{"base64", "R3LDvMOfZSBhdXMg*ZGVtIFPDvGRlbi4=\n", "Grüße aus dem Süden."},
		{"base64", string(appendBase64(nil, []byte(long))), long},
		{"x-odd", "as it is\n", "as it is\n"},
	} {
		raw := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: " + c.field + "\n\n" + c.body
		p := parseMIME([]byte(raw))
		b, err := io.ReadAll(p.Text(strings.NewReader(raw)))
		if c.field == "x-yencode" {
			b, err = io.ReadAll(p.Decoded(strings.NewReader(raw)))
		}
		if string(b) != c.text || err != nil {
			t.Errorf("%s %.60q: %.60q %v", c.field, c.body, b, err)
		}
	}
}

// appendBase64 writes lines of base64.
func appendBase64(dst, b []byte) []byte {
	var out bytes.Buffer
	writeBase64(&lineWriter{w: &out}, bytes.NewReader(b))
	return append(dst, out.Bytes()...)
}

// TestMIMETextFiles finds files that old programs put into the text.
func TestMIMETextFiles(t *testing.T) {
	body := "Words.\nbegin the day\nbegin 644\nbegin 644 one.bin\n#86)C\n!9```\n`\nend\nbetween\nbegin 0755 two\n\nend\n" +
		"=ybegin line=128 size=3 name=three x.jpg\n\x8b\x8c\x8d\n=yend size=3\nbegin 666 cut\n#86)C\nno such line, for it is much longer than it says\nbehind\n"
	raw := "Content-Type: text/plain; charset=iso-8859-1\n\n" + body
	p, r := parseMIME([]byte(raw)), strings.NewReader(raw)
	var got []string
	for _, f := range p.TextFiles(r) {
		b, err := io.ReadAll(f.Open(p, r))
		if int64(len(b)) != f.Size || err != nil {
			t.Errorf("%s: %d octets, not %d; %v", f.Name, len(b), f.Size, err)
		}
		got = append(got, f.Name+" "+string(b))
	}
	if want := []string{"one.bin abcd", "three x.jpg abc", "cut abc"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if b, _ := io.ReadAll(p.Text(r)); !strings.HasSuffix(string(b), "behind\n") || !strings.HasPrefix(string(b), "Words.\n") {
		t.Errorf("the text is cut: %q", b)
	}
}

// TestHeaderUnfolded joins the lines of a field that have lost the blanks in front of them.
func TestHeaderUnfolded(t *testing.T) {
	for in, want := range map[string]string{
		"Content-Disposition: attachment;\nfilename=\"x y.pdf\"\n":       "x y.pdf",
		"Content-Disposition: attachment;\njunk\nX-Other: a\n":           "",
		"Content-Type: application/pdf;\r\nname=x.pdf\r\nX-A: b\r\n":     "x.pdf",
		`Content-Disposition: attachment; filename="C:\Users\ann\x.pdf"`: "x.pdf",
		`Content-Disposition: attachment; filename="a\"b.pdf"`:           `a"b.pdf`,
	} {
		if got := parseMIME([]byte(in + "\n\n")).Filename(); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestBinHex opens a file of a Macintosh, as a part of its own and inside a text.
func TestBinHex(t *testing.T) {
	hqx := "(This file must be converted with BinHex 4.0)\n" +
		"\n" +
		":#BCLG@jR,R4iG!\"849K8G(4iG!#3\"5`!!!!$F10)C@aXEb\"QFQpY)'%J6@&M)*!\n" +
		"!)#'3&#\"PEQ30N!#a8N96U!%:\n"
	const want = "Übung.txt Hello from a Mac \x90 !!!!!!!!!!!!!!!!!!!! end\r"
	for _, head := range []string{"Content-Type: application/mac-binhex40; name=x.hqx\n\n", "\nWords in front\n", "Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n"} {
		raw := head + hqx + "behind\n"
		p, r := parseMIME([]byte(raw)), strings.NewReader(raw)
		files := p.TextFiles(r)
		if len(files) != 1 {
			t.Errorf("%q: %d files", head, len(files))
			continue
		}
		b, err := io.ReadAll(files[0].Open(p, r))
		if got := files[0].Name + " " + string(b); got != want || err != nil || files[0].Size != int64(len(b)) {
			t.Errorf("%q: %q %v", head, got, err)
		}
	}
	for _, raw := range []string{"\n(This file must be converted with BinHex 4.0)\nit says\n", "\n(This file must be converted with BinHex 4.0)\n\n:#BCL\n"} {
		if files := parseMIME([]byte(raw)).TextFiles(strings.NewReader(raw)); len(files) != 0 {
			t.Errorf("%q: %v", raw, files)
		}
	}
}

// TestWebBinHex: the page of such a mail offers the file as it was, beside what came.
func TestWebBinHex(t *testing.T) {
	s := startServer(t)
	raw, err := os.ReadFile("testdata/web/macintosh.eml")
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "ann", "INBOX", string(raw), 0)
	ann := newWebClient(t, s).login("ann")
	ann.get(ann.find(`href="(/box/\d+/\d+)"`))
	ann.want("대한민국 漢字", "old.hqx", "Übung.txt")
	if b := ann.get(ann.find(`href="(/box/[^"]*/part/2u0)"`)); b != "Hello from a Mac \x90 !!!!!!!!!!!!!!!!!!!! end\r" {
		t.Errorf("%q", b)
	}
}
