package main

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMIME holds any octets against all that the tree promises, and converts them.
func FuzzMIME(f *testing.F) {
	for _, msg := range samples(f) {
		f.Add(msg)
		f.Add(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\r")))
	}
	for _, msg := range corpus() {
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		p := parseMIME(msg)
		if err := checkTree(p, int64(len(msg))); err != nil {
			t.Fatal(err)
		}
		if q, err := UnmarshalPart(p.Marshal()); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("not the same after Marshal: %v\n%s%s", err, dumpTree(p), dumpTree(q))
		}
		m := NewMIMEReader()
		for i := range msg {
			m.Write(msg[i : i+1])
		}
		if got, want := dumpTree(m.Tree()), dumpTree(p); got != want {
			t.Fatalf("octet by octet\n%swant\n%s", got, want)
		}
		r := bytes.NewReader(msg)
		p.Walk(func(path []int, p *Part) bool {
			for _, s := range partStrings(p) {
				if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
					t.Fatalf("%q in the tree", s)
				}
			}
			for _, body := range []io.Reader{p.Decoded(r), p.Text(r), HTMLText(p.Text(r))} {
				if _, err := io.Copy(io.Discard, body); err != nil {
					t.Fatal(err)
				}
			}
			return true
		})
		if s := Preview(p, r, 50); !utf8.ValidString(s) || utf8.RuneCountInString(s) > 50 || strings.ContainsAny(s, "\r\n\x00") {
			t.Fatalf("preview %q", s)
		}
		p.Attachments()
		fuzzConvert(t, msg, p)
	})
}

// partStrings is all text that a part has learned, but for boundaries, which are octets.
func partStrings(p *Part) []string {
	all := append([]string{p.Type, p.Subtype, p.Encoding, p.Disp, p.ID, p.Desc, p.MD5, p.Location}, p.Lang...)
	for _, x := range append(p.Params[:len(p.Params):len(p.Params)], p.DispParams...) {
		if all = append(all, x.Name); x.Name != "boundary" {
			all = append(all, x.Value)
		}
	}
	if e := p.Envelope; e != nil {
		all = append(all, e.Date, e.Subject, e.InReplyTo, e.MessageID)
		for _, list := range [][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
			for _, a := range list {
				all = append(all, a.Name, a.Local, a.Domain)
			}
		}
	}
	return all
}

// fuzzConvert wants what each next hop takes, well-formed lines, and the same parts.
func fuzzConvert(t *testing.T, msg []byte, p *Part) {
	shape := func(p *Part) (s string) {
		p.Walk(func(path []int, p *Part) bool {
			s += string(rune('0'+len(path))) + p.Type + "/" + strings.Replace(p.Subtype, "global", "rfc822", 1) + " "
			return true
		})
		return s
	}
	for _, hop := range []PeerCan{{}, {EightBit: true}, {EightBit: true, Binary: true}, {EightBit: true, UTF8: true}} {
		var b bytes.Buffer
		err := hop.Convert(&b, p, bytes.NewReader(msg))
		if errors.Is(err, ErrNotConvertible) && b.Len() == 0 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := checkHop(hop, b.Bytes()); err != nil && hop == (PeerCan{}) {
			t.Fatalf("%v\n%q", err, b.Bytes())
		}
		q := parseMIME(b.Bytes())
		if !hop.Takes(q) {
			t.Fatalf("%+v does not take %s%q", hop, dumpTree(q), b.Bytes())
		}
		if got, want := shape(q), shape(p); got != want {
			t.Fatalf("%+v: the tree was\n%s and is\n%s\n%q", hop, want, got, b.Bytes())
		}
	}
}

// FuzzHeader reads any octets as a header block and as every kind of value.
func FuzzHeader(f *testing.F) {
	for in := range charsetWords {
		f.Add([]byte("Subject: " + in))
	}
	f.Add([]byte("To: Ann <a@b>, g: \"c d\"@e (x);\r\nContent-Type: a/b; c*0*=utf-8''%41; c*1=d\r\nDate: 1 Jan 99 00:00 EST\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := ParseHeader(b)
		ParseEnvelope(h)
		for _, f := range h {
			if !isFieldName(f.Name) {
				t.Fatalf("field name %q", f.Name)
			}
			fuzzValue(t, unfold(f.Value))
			if s := h.Text(f.Name); !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("Text(%s) = %q", f.Name, s)
			}
		}
	})
}

func fuzzValue(t *testing.T, v string) {
	text := DecodeWords(v)
	if enc := EncodeWords(text); !isPrintableASCII(enc) || DecodeWords(enc) != text {
		t.Fatalf("EncodeWords(%q) = %q, back %q", text, enc, DecodeWords(enc))
	}
	if field := foldText("X", EncodeWords(text)); strings.Join(strings.Fields(ParseHeader([]byte(field)).Text("X")), " ") != strings.Join(strings.Fields(text), " ") {
		t.Fatalf("folded %q", field)
	}
	list := ParseAddressList(v)
	open := false
	for _, a := range list {
		if a.IsGroupStart() && open || a.IsGroupEnd() && !open {
			t.Fatalf("groups of %q: %q", v, list)
		}
		open = a.IsGroupStart() || open && !a.IsGroupEnd()
	}
	if s := foldAddresses7Bit("To", list); isPrintableASCII(v) && !isASCII(s) || len(ParseHeader([]byte(s))) != 1 {
		t.Fatalf("%q", s)
	}
	if _, _, params, ok := parseMediaType(v); ok && len(params) > 0 {
		typ, _, back, _ := parseMediaType(ParseHeader([]byte(contentType("a/b", params))).Get("Content-Type"))
		for i := range params {
			params[i].Value = strings.Join(strings.Fields(params[i].Value), " ")
		}
		for i := range back {
			back[i].Value = strings.Join(strings.Fields(back[i].Value), " ")
		}
		if typ != "a" || !reflect.DeepEqual(back, params) {
			t.Fatalf("parameters %q came back as %q from %q", params, back, contentType("a/b", params))
		}
	}
	if d, err := ParseDate(v); err == nil {
		if again, err := ParseDate(FormatDate(d)); err != nil || !again.Equal(d) {
			t.Fatalf("date %v came back as %v %v", d, again, err)
		}
	}
	if base, _ := BaseSubject(v); !utf8.ValidString(base) {
		t.Fatalf("base subject %q", base)
	}
	for _, id := range MessageIDs(v) {
		if len(id) < 3 || id[0] != '<' || id[len(id)-1] != '>' || strings.ContainsAny(id[1:len(id)-1], "<> \t") {
			t.Fatalf("id %q", id)
		}
	}
}

// FuzzAddr: what is accepted prints as something that reads as the same address, and holds nothing that could end an
// SMTP command.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"<a@b>", " <\"a b\"@c> X", "<@a,@b:c@[IPv6:::1]>", "<用户@例子.测试>", "<a@xn--fsqu00a.test>", "<>", "<postmaster>", "a@b SIZE=1",
		"<a@BU\u0308CHER.test>", "<a@xn--a.xn--b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, rest, err := ParsePath(s)
		if err != nil {
			return
		}
		if !strings.HasSuffix(s, rest) || strings.ContainsAny(a.Path(), "\r\n\x00") || !utf8.ValidString(a.Path()) {
			t.Fatalf("%q: path %q, rest %q", s, a.Path(), rest)
		}
		if b, rest, err := ParsePath(a.Path()); err != nil || b != a || rest != "" {
			t.Fatalf("%q: %q came back as %q, %q, %v", s, a, b, rest, err)
		}
		if path, ok := a.ASCIIPath(); ok {
			if b, _, err := ParsePath(path); !isASCII(path) || err != nil || b != a {
				t.Fatalf("%q: ASCII %q came back as %q, %v", s, path, b, err)
			}
		}
		if a.Domain == "" {
			return
		}
		key, err := ParseAddr(a.Key())
		if err != nil || key.Key() != a.Key() {
			t.Fatalf("%q: key %q is %q, %v", s, a.Key(), key.Key(), err)
		}
	})
}

// FuzzDraft: whatever a person types, the message is well formed and says just that.
func FuzzDraft(f *testing.F) {
	f.Add("Subject", "Ann", "text\n", "<p>html", "name.txt", "X: y", true)
	f.Add("你好\r\nBcc: x", "Ann \"B\" <c>", "> quoted\nFrom x\n.\n--\n-- \n", "", "报告; a=\"b\".pdf", "\x00", false)
	f.Fuzz(func(t *testing.T, subject, name, text, html, filename, extra string, flowed bool) {
		d := ann()
		d.Subject, d.From.Name, d.Text, d.HTML, d.Flowed = subject, name, text, html, flowed
		d.Extra = []Field{{"X-Extra", extra}}
		d.Attachments = []Attachment{file(filename, "", text)}
		var b bytes.Buffer
		if _, err := d.WriteTo(&b); err != nil {
			if b.Len() > 0 || !strings.ContainsAny(subject+name+filename+extra, "\r\n\x00") {
				t.Fatalf("%v after %d octets", err, b.Len())
			}
			return
		}
		if err := checkHop(PeerCan{}, b.Bytes()); err != nil {
			t.Fatal(err)
		}
		p, h := parseMIME(b.Bytes()), ParseHeader(b.Bytes())
		if want := 7 + min(len(extra), 1); len(h) != want {
			t.Fatalf("%d fields, not %d: %q", len(h), want, h)
		}
		same := func(what, got, want string) {
			norm := func(s string) string {
				return strings.Join(strings.Fields(cleanText(strings.ToValidUTF8(s, "\uFFFD"))), " ")
			}
			if norm(got) != norm(want) {
				t.Fatalf("%s %q, was %q\n%s", what, got, want, b.String())
			}
		}
		same("subject", h.Text("Subject"), subject)
		same("extra", h.Text("X-Extra"), extra)
		from := ParseAddressList(h.Get("From"))
		if len(from) != 1 || from[0].Domain != "example.com" {
			t.Fatalf("from %q", from)
		}
		same("name", from[0].DisplayName(), DecodeWords(name))
		files := p.Attachments()
		if len(files) != 1 {
			t.Fatalf("%d files", len(files))
		}
		same("file name", findParam(files[0].DispParams, "filename"), filename)
		if got := readPart(t, files[0], b.Bytes()); got != text {
			t.Fatalf("file %q, was %q", got, text)
		}
	})
}
