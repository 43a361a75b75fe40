package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"
)

func convert(t *testing.T, hop PeerCan, msg []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := hop.Convert(&b, parseMIME(msg), bytes.NewReader(msg)); err != nil {
		t.Fatalf("%v\n%q", err, msg)
	}
	return b.Bytes()
}

// checkHop says what in the message the hop would not take, by looking at each octet.
func checkHop(hop PeerCan, msg []byte) error {
	lines := strings.Split(string(msg), "\r\n")
	inHeader := true
	for _, line := range lines {
		if line == "" {
			inHeader = false
		}
		eight := hop.EightBit && !inHeader || hop.UTF8
		switch {
		case strings.ContainsAny(line, "\r\n"):
			return fmt.Errorf("bare CR or LF in %q", line)
		case strings.Contains(line, "\x00"):
			return fmt.Errorf("NUL in %q", line)
		case len(line) > maxLine:
			return fmt.Errorf("line of %d", len(line))
		case !eight && !isASCII(line):
			return fmt.Errorf("8-bit line %q", line)
		}
	}
	return nil
}

// content is what a reader sees of a message: the decoded fields and the decoded leaves, text in UTF-8, other leaves as
// octets.
func content(msg []byte) string {
	var b strings.Builder
	r := bytes.NewReader(msg)
	fields := func(p *Part) {
		head, _ := io.ReadAll(p.RawHeader(r))
		h := ParseHeader(head)
		for _, f := range h {
			switch strings.ToLower(f.Name) {
			case "content-type", "content-transfer-encoding", "mime-version":
			case "from", "to", "cc":
				for _, a := range ParseAddressList(decodeRaw(h.Get(f.Name), h.charset())) {
					fmt.Fprintf(&b, "%s: %s|%s@%s\n", f.Name, a.DisplayName(), DecodeWords(a.Local), DomainToUnicode(a.Domain))
				}
			case "content-disposition":
				fmt.Fprintf(&b, "%s %q\n", p.Disp, p.DispParams)
			default:
				fmt.Fprintf(&b, "%s: %s\n", f.Name, strings.Join(strings.Fields(h.Text(f.Name)), " "))
			}
		}
	}
	var walk func(p *Part)
	walk = func(p *Part) {
		fields(p)
		subtype := p.Subtype
		if p.IsMessage() {
			subtype = "message"
		}
		fmt.Fprintf(&b, "%s/%s %q\n", p.Type, subtype, p.Param("name"))
		for _, c := range p.Parts {
			walk(c)
		}
		if len(p.Parts) > 0 {
			return
		}
		body := p.Decoded(r)
		if p.Type == "text" {
			body = p.Text(r)
		}
		text, _ := io.ReadAll(body)
		if p.Type == "text" && !p.isEncoded() && p.Encoding != "binary" && !isWide(p.Param("charset")) {
			text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		}
		fmt.Fprintf(&b, "%q\n", text)
	}
	walk(parseMIME(msg))
	return b.String()
}

// corpus is mail as people's programs send it, in all the charsets.
func corpus() map[string][]byte {
	latin := func(s string) string { return s } // octets are written as \x
	part := func(head, body string) string { return head + "\n\n" + body }
	mixed := func(parts ...string) string {
		return "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npreamble \xe9\n--b\n" + strings.Join(parts, "\n--b\n") + "\n--b--\nepilogue \xff\n"
	}
	msgs := map[string]string{
		"gbk":          "Subject: \xc4\xe3\xba\xc3\nContent-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: 8bit\n\n\xc4\xe3\xba\xc3\xa3\xac\xca\xc0\xbd\xe7\n",
		"big5":         "From: \"\xa4\xfd\" <wang@x.tw>\nContent-Type: text/plain; charset=Big5\n\n\xa7\x41\xa6\x6e\n",
		"iso-2022-jp":  "Subject: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=\nContent-Type: text/plain; charset=ISO-2022-JP\n\n\x1b$B$3$s\x1b(B\n",
		"koi8-r":       "Subject: =?KOI8-R?B?8NLJ18XU?=\nContent-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n\xf0\xd2\xc9\xd7\xc5\xd4\n",
		"utf-8":        "Subject: 你好 =?utf-8?q?caf=C3=A9?= 世界\nTo: 张三 <zhang@例子.测试>, \"Müller, Jörg\" <j@x>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n你好\n",
		"unlabelled":   "Subject: x\n\ncaf\xc3\xa9\n",
		"unlabelled 1": "Subject: x\n\ncaf\xe9\n",
		"us-ascii":     "Content-Type: text/plain; charset=us-ascii; format=flowed\n\ncaf\xc3\xa9\n",
		"html":         "Content-Type: text/html; charset=windows-1251\nContent-Transfer-Encoding: 8bit\n\n<p>\xcf\xf0\xe8\xe2\xe5\xf2</p>\n",
		"binary":       mixed(part("Content-Type: image/png\nContent-Transfer-Encoding: binary", "\x89PNG\r\n\x1a\n\x00\x00\xff--c\n"), part("", "text")),
		"long lines":   "Content-Type: text/plain\n\n" + strings.Repeat("long ", 500) + "\n.\nFrom me\n",
		"long base64":  "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("QUJD", 1000) + "\n",
		"dirty qp":     "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nraw é and =C3=A9 soft=\n break\n",
		"utf-16":       "Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: binary\n\na\x00\r\x00\n\x00-N\n\x00",
		"nul":          "Content-Type: text/plain\n\na\x00b\n",
		"file names":   mixed(part("Content-Type: application/pdf; name=\"报告.pdf\"\nContent-Disposition: attachment; filename=\"报告.pdf\"\nContent-Transfer-Encoding: base64", "QUJD"), part("Content-Type: text/plain", "ok é")),
		"nested":       mixed(part("Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit", "Subject: 内\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n内 text\n"), part("Content-Type: text/html; charset=utf-8", "<b>é</b>")),
		"global":       mixed(part("Content-Type: message/global", "From: 用户 <ann@x>\nSubject: 全球\n\n球\n")),
		"digest":       "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: é\n\nbody é\n--d--\n",
		"alternative":  "Content-Type: multipart/alternative; boundary=\"=_a b\"\n\n--=_a b\nContent-Type: text/plain; charset=utf-8\n\nnaïve\n--=_a b\nContent-Type: text/html; charset=iso-8859-1\n\n<p>na\xefve\n--=_a b--\n",
		"dashes":       mixed(part("Content-Type: text/plain; charset=utf-8", "é\n-- \nsig\n=2D-b\n"+strings.Repeat("-", 200)), "\n--\n"),
		"dsn":          "Content-Type: multipart/report; report-type=delivery-status; boundary=r\n\n--r\n\nétat\n--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nAction: failed\nDiagnostic-Code: smtp; 550 inconnu é\n--r--\n",
		"global dsn":   "Content-Type: multipart/report; boundary=r\n\n--r\n\nx\n--r\nContent-Type: message/global-delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: utf-8; 用户@x\n--r--\n",
		"unknown cte":  "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: utf8\n\né\n",
		"no parts":     "Content-Type: multipart/mixed\n\né\n",
		"long header":  "Subject: " + strings.Repeat("word ", 400) + "\nReferences: " + strings.Repeat("<a@b> ", 400) + "\nX-Blob: " + strings.Repeat("x", 3000) + "\n\nbody\n",
		"junk header":  "Subject: x\nthis is no field é\n\nbody\n",
		"no header":    "\né\n",
		"no body":      "Subject: é\n",
		"no blank":     "Subject: x\nMIME-Version: 1.0\nétat: raw é\nline é\n",
		"received":     "Received: from h\xe9 by x; Mon, 1 Jan 2024 00:00:00 +0000\nComments: é\n\nbody",
		"group":        "To: équipe: a@b, 用户 <c@例子.测试>;, d@e\n\nbody\n",
	}
	all := map[string][]byte{}
	for name, m := range msgs {
		all[name] = crlf(latin(m))
	}
	all["bare lf"] = []byte("Subject: x\nContent-Type: text/plain\n\nstored\nwith LF\n")
	all["bare lf 8bit"] = []byte("Subject: é\nContent-Type: text/plain; charset=utf-8\n\nstored é\nwith LF\n")
	all["bare cr"] = []byte("Subject: a\rb\r\n\r\nold\rMac\r\n")
	return all
}

// lossy messages do not survive as they are: octets of no known charset, a line that is no field, a word too long for a
// line, raw text in a body of fields.
var lossy = map[string]bool{"unlabelled 1": true, "junk header": true, "long header": true, "dsn": true}

// firstDiff is the first line in which two texts differ.
func firstDiff(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			from := 0
			for from < min(len(a[i]), len(b[i])) && a[i][from] == b[i][from] {
				from++
			}
			from = max(0, from-40)
			return fmt.Sprintf("line %d is\n…%.200q\nand was\n…%.200q", i, a[i][from:], b[i][from:])
		}
	}
	return fmt.Sprintf("%d lines, and was %d", len(a), len(b))
}

func TestTo7Bit(t *testing.T) {
	for name, msg := range corpus() {
		for _, hop := range []PeerCan{{}, {EightBit: true}, {UTF8: true, EightBit: true}, {UTF8: true, EightBit: true, Binary: true}} {
			p := parseMIME(msg)
			got := convert(t, hop, msg)
			if hop.Takes(p) {
				if !bytes.Equal(got, msg) {
					t.Errorf("%s to %+v: changed without need:\n%s", name, hop, got)
				}
				continue
			}
			q := parseMIME(got)
			if !hop.Takes(q) {
				t.Errorf("%s to %+v: still not taken: %s\n%q", name, hop, dumpTree(q), got)
			}
			if err := checkHop(hop, got); err != nil && !hop.EightBit {
				t.Errorf("%s to %+v: %v\n%s", name, hop, err, got)
			}
			if again := convert(t, hop, got); !bytes.Equal(again, got) {
				t.Errorf("%s to %+v: not the same again", name, hop)
			}
			if before, after := content(msg), content(got); before != after && !lossy[name] {
				t.Errorf("%s to %+v: %s", name, hop, firstDiff(after, before))
			}
		}
	}
}

// TestTo7BitLabels looks at what the header says afterwards. TestTo7BitNestedHeader: raw text in the header of a
// multipart message inside another.
func TestTo7BitNestedHeader(t *testing.T) {
	msg := crlf("Content-Type: message/rfc822\n\nSubject: é\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: é\n\nbody é\n--b--\n")
	p := parseMIME(msg)
	old := PeerCan{EightBit: true, Binary: true}
	if old.Takes(p) || !p.Any8bitHeader() || !(PeerCan{EightBit: true, UTF8: true}).Takes(p) {
		t.Error("the inner headers were not seen")
	}
	got := string(convert(t, old, msg))
	if q := parseMIME([]byte(got)); q.Any8bitHeader() || !q.Has8bit || !strings.Contains(got, "Content-Description: =?utf-8?q?=C3=A9?=") {
		t.Errorf("%s", got)
	}
}

func TestTo7BitLabels(t *testing.T) {
	all := corpus()
	for name, want := range map[string][]string{
		"gbk":          {"Subject: =?utf-8?b?5L2g5aW9?=\r\n", "charset=gb2312", "Content-Transfer-Encoding: "},
		"unlabelled":   {"Content-Type: text/plain; charset=utf-8\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", "MIME-Version: 1.0\r\n"},
		"unlabelled 1": {"charset=unknown-8bit\r\n", "caf=E9"},
		"us-ascii":     {"format=flowed; charset=utf-8\r\n"},
		"binary":       {"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n", "Content-Transfer-Encoding: base64", "preamble ?", "epilogue ?"},
		"global":       {"Content-Type: message/rfc822\r\n", "Subject: =?utf-8?"},
		"utf-8":        {"<zhang@xn--fsqu00a.xn--0zwm56d>", "Content-Transfer-Encoding: base64"},
		"file names":   {"filename*=utf-8''%E6%8A%A5%E5%91%8A.pdf", `name="=?utf-8?`},
		"nested":       {"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n"},
		"dsn":          {"Diagnostic-Code: smtp; 550 inconnu =?utf-8?q?=C3=A9?=\r\n"},
		"no parts":     {"Content-Type: text/plain; charset=utf-8\r\n"},
		"group":        {"a@b, =?utf-8?b?55So5oi3?= <c@xn--fsqu00a.xn--0zwm56d> ;, d@e"},
	} {
		got := string(convert(t, PeerCan{}, all[name]))
		flat := strings.ReplaceAll(got, "\r\n ", " ")
		for _, s := range want {
			if !strings.Contains(got, s) && !strings.Contains(flat, s) {
				t.Errorf("%s: no %q in\n%s", name, s, got)
			}
		}
	}
	got := string(convert(t, PeerCan{}, crlf("To: 用户@例子.测试, x: 李@y.z;\nBcc: a\n\n")))
	if back := ParseAddressList(ParseHeader([]byte(got)).Get("To")); !isASCII(got) || len(back) != 5 || DecodeWords(back[0].Local) != "用户@例子.测试" ||
		back[3].DisplayName() != "李@y.z" {
		t.Errorf("%q\n%s", back, got)
	}
}

func TestNotConvertible(t *testing.T) {
	signed := func(inner string) []byte {
		return crlf("Subject: é\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/signed; boundary=s\n\n--s\n" + inner + "\n--s\nContent-Type: application/pgp-signature\n\nxyz\n--s--\n--o--\n")
	}
	deep := ""
	for i := range 120 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%[1]d\n", i)
	}
	for name, msg := range map[string][]byte{
		"signed":      signed("\né"),
		"header":      signed("Subject: é\n\nx"),
		"long":        signed("\n" + strings.Repeat("x", 999)),
		"nul":         signed("\n\x00"),
		"deep":        crlf(deep + "\né\n"),
		"parts":       crlf("Content-Type: multipart/mixed; boundary=b\n" + strings.Repeat("\n--b\n", 10010) + "\né\n"),
		"boundary":    crlf("Content-Type: multipart/mixed; boundary=\"é\"\n\n--é\n\nx\n--é--\n"),
		"header size": crlf("X: " + strings.Repeat("é\n ", maxPartHeader/4) + "\n\nx\n"),
	} {
		var b bytes.Buffer
		if err := (PeerCan{}).Convert(&b, parseMIME(msg), bytes.NewReader(msg)); !errors.Is(err, ErrNotConvertible) || b.Len() > 0 {
			t.Errorf("%s: %v, %d octets written", name, err, b.Len())
		}
	}
	// What is signed and 7-bit stays as it is, while the rest is converted.
	inner := "Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n7-bit  \nFrom me"
	msg := signed(inner)
	if got := convert(t, PeerCan{}, msg); !bytes.Contains(got, crlf("\n--s\n"+inner+"\n--s\n")) || !isASCIIBytes(got) {
		t.Errorf("%s", got)
	}
	if err := (PeerCan{EightBit: true}).Convert(io.Discard, parseMIME(signed("\né")), bytes.NewReader(signed("\né"))); err != nil {
		t.Errorf("an 8-bit signature to an 8-bit hop: %v", err)
	}
}

// TestTo7BitRandom builds messages of random parts and wants the content to survive.
func TestTo7BitRandom(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		msg := crlf(randomMessage(r, 0))
		got := convert(t, PeerCan{}, msg)
		if err := checkHop(PeerCan{}, got); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if before, after := content(msg), content(got); before != after {
			t.Errorf("seed %d: %s", seed, firstDiff(after, before))
		}
	}
}

func randomMessage(r *rand.Rand, depth int) string {
	pick := func(s ...string) string { return s[r.Intn(len(s))] }
	head := pick("", "Subject: "+oneLine(randomText(r, 8))+"\n", "X-A: b\n") + pick("", "Content-Description: é 中 x\n")
	if kind := r.Intn(4); kind == 0 && depth < 4 {
		b := fmt.Sprintf("b%d", depth)
		s := head + "Content-Type: multipart/" + pick("mixed", "alternative", "digest") + "; boundary=" + b + "\n" + pick("", "Content-Transfer-Encoding: 8bit\n") + "\n"
		for range 1 + r.Intn(3) {
			s += "--" + b + "\n" + randomMessage(r, depth+1) + "\n"
		}
		return s + "--" + b + "--\n"
	} else if kind == 1 && depth < 4 {
		return head + "Content-Type: message/" + pick("rfc822", "global") + "\n\n" + randomMessage(r, depth+1)
	}
	head += pick("Content-Type: text/plain; charset=utf-8\n", "Content-Type: text/html; charset=\"utf-8\"\n", "Content-Type: text/plain\n") +
		pick("", "Content-Transfer-Encoding: 8bit\n", "Content-Transfer-Encoding: quoted-printable\n")
	body := strings.NewReplacer("\u0301", "x", "--", "-").Replace(randomText(r, 40))
	return head + "\n" + body
}

// TestTo7BitMemory converts 50 MB and counts what is allocated.
func TestTo7BitMemory(t *testing.T) {
	head := crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n")
	line := crlf(strings.Repeat("Grüße aus Köln ", 5) + "\n")
	size := 50 << 20
	if testing.Short() {
		size = 8 << 20
	}
	msg := append(bytes.Clone(head), bytes.Repeat(line, size/len(line))...)
	msg = append(msg, crlf("\n--b--\n")...)
	p := parseMIME(msg)
	allocatesLess(t, 1<<20, "the conversion", func() {
		if err := (PeerCan{}).Convert(io.Discard, p, bytes.NewReader(msg)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTo7BitErrors(t *testing.T) {
	msg := corpus()["nested"]
	p := parseMIME(msg)
	var whole bytes.Buffer
	PeerCan{}.Convert(&whole, p, bytes.NewReader(msg))
	if err := (PeerCan{}).Convert(&failWriter{n: 10}, p, bytes.NewReader(msg)); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
	broken := errors.New("the disk is gone")
	for at := range int64(len(msg)) {
		if err := (PeerCan{}).Convert(io.Discard, p, brokenReader{bytes.NewReader(msg), at, broken}); !errors.Is(err, broken) {
			t.Errorf("a failure at %d of %d: %v", at, len(msg), err)
		}
	}
}

// brokenReader fails for every read that touches the octet at.
type brokenReader struct {
	r   io.ReaderAt
	at  int64
	err error
}

func (b brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.at && b.at < off+int64(len(p)) {
		n, _ := b.r.ReadAt(p[:b.at-off], off)
		return n, b.err
	}
	return b.r.ReadAt(p, off)
}
