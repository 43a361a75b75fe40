package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// fates writes the leaves of a message as "1 shown, 2.1 file".
func fates(leaves []Leaf) string {
	var all []string
	for _, l := range leaves {
		s := strings.Trim(strings.ReplaceAll(fmt.Sprint(l.Path), " ", "."), "[]") + " "
		s += [...]string{"nothing", "shown", "picture", "file", "alternative", "signature"}[l.Fate]
		if l.Used && l.Fate == LeafFile {
			s += " used"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// leafMail makes a message of bracketed parts: "mixed(text/plain; image/png#id=DATA)". A leaf is
// type[#content-id][!disposition][@filename][=body]; blanks around it don't count. A bar ends a parameter of a
// multipart.
func leafMail(s string) []byte {
	var b bytes.Buffer
	n := 0
	leafPart(&b, strings.TrimSpace(s), &n)
	return crlf(b.String())
}

func leafPart(b *bytes.Buffer, s string, n *int) {
	if name, rest, ok := strings.Cut(s, "("); ok && strings.HasSuffix(rest, ")") && !strings.ContainsAny(name, "=#@") || ok && strings.Contains(name, "|") {
		*n++
		boundary := fmt.Sprintf("b%d", *n)
		name, params, _ := strings.Cut(name, "|")
		if params != "" {
			params = "; " + params
		}
		if strings.Contains(name, "/") { // message/rfc822(...)
			fmt.Fprintf(b, "Content-Type: %s\n\n", name)
			leafPart(b, strings.TrimSuffix(rest, ")"), n)
			return
		}
		fmt.Fprintf(b, "Content-Type: multipart/%s; boundary=%s%s\n\n", name, boundary, params)
		depth, start := 0, 0
		rest = strings.TrimSuffix(rest, ")") + ";"
		for i, c := range rest {
			switch {
			case c == '(':
				depth++
			case c == ')':
				depth--
			case c == ';' && depth == 0:
				fmt.Fprintf(b, "--%s\n", boundary)
				leafPart(b, strings.TrimSpace(rest[start:i]), n)
				b.WriteString("\n")
				start = i + 1
			}
		}
		fmt.Fprintf(b, "--%s--\n", boundary)
		return
	}
	s, body, _ := strings.Cut(s, "=")
	s, file, named := strings.Cut(s, "@")
	s, disp, _ := strings.Cut(s, "!")
	typ, id, _ := strings.Cut(s, "#")
	fmt.Fprintf(b, "Content-Type: %s\n", typ)
	if id != "" {
		fmt.Fprintf(b, "Content-ID: <%s>\n", id)
	}
	if disp != "" || named {
		if disp == "" {
			disp = "inline"
		}
		if named {
			disp += "; filename=\"" + file + "\""
		}
		fmt.Fprintf(b, "Content-Disposition: %s\n", disp)
	}
	if octets := leafPictures[body]; octets != "" {
		fmt.Fprintf(b, "Content-Transfer-Encoding: base64\n")
		body = base64.StdEncoding.EncodeToString([]byte(octets))
	}
	fmt.Fprintf(b, "\n%s\n", body)
}

// leafPictures are bodies that a part of a leafMail can name: the first octets of pictures.
var leafPictures = map[string]string{
	"PNG": "\x89PNG\r\n\x1a\n0000", "JPEG": "\xff\xd8\xff\xe0", "GIF": "GIF89a00", "WEBP": "RIFF0000WEBP",
	"AVIF": "\x00\x00\x00\x1cftypavif", "BMP": "BM" + strings.Repeat("0", 12) + "\x28\x00\x00\x00",
}

// TestLeaves has for each shape of message what a person gets to see of it.
func TestLeaves(t *testing.T) {
	for _, c := range []struct{ mail, want string }{
		{"text/plain=a", "1 shown"},
		{"text/html=a", "1 shown"},
		{"application/pdf=a", "1 file"},
		{"text/calendar=BEGIN:VCALENDAR", "1 file"},
		// Several texts.
		{"mixed(text/plain=a; image/png!attachment@p.png=x; text/plain=b)", "1 shown, 2 file, 3 shown"},
		{"mixed(alternative(text/plain=a; text/html=b); text/plain=footer)", "1.1 alternative, 1.2 shown, 2 shown"},
		{"mixed(text/plain=a; text/html=b)", "1 shown, 2 shown"},
		{"mixed(text/html=a; text/html=b; text/plain=c)", "1 shown, 2 shown, 3 shown"},
		{"mixed(text/plain=a; mixed(text/plain=b; mixed(text/plain=c)))", "1 shown, 2.1 shown, 2.2.1 shown"},
		{"parallel(text/plain=a; text/plain=b)", "1 shown, 2 shown"},
		{"x-strange(text/plain=a; application/pdf=b; text/plain=c)", "1 shown, 2 file, 3 shown"},
		{"mixed(text/plain=a; text/plain@log.txt=b)", "1 shown, 2 file"},
		{"mixed(text/plain=a; text/plain!attachment=b)", "1 shown, 2 file"},
		{"mixed(text/plain@body.txt=a; image/png@p.png=b)", "1 shown, 2 file"},
		{"mixed(application/pdf@a.pdf=a; text/html@body.html=b)", "1 file, 2 shown"},
		{"mixed(text/plain!attachment@a.txt=a; text/html!attachment@b.html=b)", "1 file, 2 file"},
		{"mixed(text/enriched=a; text/richtext=b; text/x-odd=c; text/markdown=d)", "1 shown, 2 shown, 3 shown, 4 shown"},
		{"mixed(text/plain=a; text/vcard=b; text/csv=c; text/rtf=d; text/xml=e)", "1 shown, 2 file, 3 file, 4 file, 5 file"},
		// Alternatives.
		{"alternative(text/plain=a; text/html=b)", "1 alternative, 2 shown"},
		{"alternative(text/html=b; text/plain=a)", "1 shown, 2 alternative"},
		{"alternative(text/plain=a; text/html=<p> <br> </p>)", "1 shown, 2 alternative"},
		{"alternative(text/plain=a; text/html=<p><img src=cid:x></p>)", "1 alternative, 2 shown"},
		{"alternative(text/plain=a; text/enriched=b)", "1 shown, 2 alternative"},
		{"alternative(text/enriched=a; text/html=b)", "1 alternative, 2 shown"},
		{"alternative(text/plain=a; text/html=b; text/calendar=c)", "1 alternative, 2 shown, 3 file"},
		{"alternative(text/calendar=a; application/pdf=b)", "1 file, 2 file"},
		{"alternative(text/plain=a; mixed(text/html=b; application/pdf=c; text/html=d))", "1 alternative, 2.1 shown, 2.2 file, 2.3 shown"},
		{"alternative(mixed(text/plain=a; application/pdf=c); text/html=b)", "1.1 alternative, 1.2 file, 2 shown"},
		{"alternative(text/plain=a; text/html=b; application/pdf@c.pdf=c)", "1 alternative, 2 shown, 3 file"},
		{"alternative(text/plain=a; text/x-amp-html=b; text/html=c)", "1 alternative, 2 file, 3 shown"},
		{"alternative(text/plain=a; text/watch-html=b; text/html=c)", "1 alternative, 2 alternative, 3 shown"},
		{"alternative(text/plain=a; text/plain=b)", "1 alternative, 2 shown"},
		// Related.
		{"related(text/html=<img src='cid:p'>; image/png#p=PNG)", "1 shown, 2 picture"},
		{"related(text/html=<IMG SRC=\"CID:p\">; image/png#p=PNG)", "1 shown, 2 picture"},
		{"related(text/html=no tag; image/png#p=PNG)", "1 shown, 2 file"},
		{"related(text/html=<!-- <img src=cid:p> -->; image/png#p=PNG)", "1 shown, 2 file"},
		{"related(text/html=<style><img src=cid:p></style>; image/png#p=PNG)", "1 shown, 2 file"},
		{"related(text/html=<svg><img src=cid:p></svg>; image/png#p=PNG)", "1 shown, 2 picture"},
		{"related(text/html=<template><img src=cid:p></template>; image/png#p=PNG)", "1 shown, 2 file"},
		{"related(text/html=<a href=cid:p>x</a>; image/png#p=PNG)", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; application/pdf#p@a.pdf=%PDF)", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; application/vnd.ms-excel#x@a.xlsx=PK)", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; text/calendar#p=BEGIN:VCALENDAR)", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; message/rfc822(text/plain=in))", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; image/svg+xml#p=<svg>)", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; image/png#p!attachment@p.png=PNG)", "1 shown, 2 file used"},
		{"related(text/html=<img src=cid:p>; image/png#p=PNG; image/png#p=PNG)", "1 shown, 2 picture, 3 file"},
		{"related(text/html=<img src=cid:p>; text/plain=beside)", "1 shown, 2 shown"},
		{"related(text/html=a; text/html#x=b)", "1 shown, 2 shown"},
		{"mixed(text/html=<img src=cid:p>; image/png#p=PNG)", "1 shown, 2 picture"},
		{"related(image/png#p=PNG; text/html=<img src=cid:p>)", "1 picture, 2 shown"},
		{"related|start=q; type=\"text/html\"(image/png#p=PNG; text/html#q=<img src=cid:p>)", "1 picture, 2 shown"},
		{"related|start=\"<p>\"(image/png#p=PNG; text/html#q=<img src=cid:p>)", "1 picture, 2 shown"},
		{"related|start=\"<none>\"(image/png#p=PNG; alternative(text/plain=a; text/html=<img src=cid:p>))", "1 picture, 2.1 alternative, 2.2 shown"},
		{"alternative(text/plain=a; related(text/html=<img src=cid:p>; image/png#p=PNG; image/png#q=PNG))",
			"1 alternative, 2.1 shown, 2.2 picture, 2.3 file"},
		// Pictures by what is in them.
		{"related(text/html=<img src=cid:p>; image/jpg#p=JPEG)", "1 shown, 2 picture"},
		{"related(text/html=<img src=cid:p>; image/pjpeg#p=JPEG)", "1 shown, 2 picture"},
		{"related(text/html=<img src=cid:p>; image/x-png#p=PNG)", "1 shown, 2 picture"},
		{"related(text/html=<img src=cid:p>; image/bmp#p=BMP)", "1 shown, 2 picture"},
		{"related(text/html=<img src=cid:p>; application/octet-stream#p=GIF)", "1 shown, 2 picture"},
		{"related(text/html=<img src=cid:p>; image/*#p=WEBP)", "1 shown, 2 picture"},
		{"related(text/html=<img src=cid:p>; image/png#p=<script>)", "1 shown, 2 file"},
		{"related(text/html=<img src=cid:p>; image/tiff#p=II*)", "1 shown, 2 file"},
		// Signatures, reports, digests, ciphers.
		{"signed(text/plain=a; application/pgp-signature=b)", "1 shown, 2 signature"},
		{"signed(mixed(text/plain=a; application/pdf=c); application/pkcs7-signature@smime.p7s=b)", "1.1 shown, 1.2 file, 2 signature"},
		{"signed(text/plain=a; text/plain=footer of a list)", "1 shown, 2 shown"},
		{"signed(text/plain=a; application/pgp-signature=b; text/plain=footer)", "1 shown, 2 signature, 3 shown"},
		{"signed(text/plain=a; message/rfc822(text/plain=b))", "1 shown, 2 file"},
		{"mixed(text/plain=a; application/pgp-signature=b)", "1 shown, 2 file"},
		{"report(text/plain=a; message/delivery-status=b; text/rfc822-headers=c)", "1 shown, 2 file, 3 file"},
		{"report(alternative(text/plain=a; text/html=b); message/delivery-status=c; message/rfc822(text/plain=d))",
			"1.1 alternative, 1.2 shown, 2 file, 3 file"},
		{"digest(message/rfc822(text/plain=a); message/rfc822(text/plain=b))", "1 file, 2 file"},
		{"encrypted(application/pgp-encrypted=a; application/octet-stream=b)", "1 file, 2 file"},
		{"appledouble(application/applefile=a; image/png=b)", "1 file, 2 file"},
		{"mixed(text/plain=a; message/rfc822(mixed(text/plain=b; application/pdf=c)))", "1 shown, 2 file"},
		{"mixed(text/plain=a; message/external-body=b; message/partial=c)", "1 shown, 2 file, 3 file"},
	} {
		msg := leafMail(c.mail)
		p := parseMIME(msg)
		leaves := p.Leaves(bytes.NewReader(msg), Reading{})
		if got := fates(leaves); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.mail, got, c.want)
		}
		if err := checkLeaves(p, msg); err != nil {
			t.Errorf("%s: %v", c.mail, err)
		}
	}
}

// TestLeavesPlain: the plain text is asked for, and nothing but its other form goes away with the HTML.
func TestLeavesPlain(t *testing.T) {
	for _, c := range []struct{ mail, want string }{
		{"alternative(text/plain=a; text/html=b)", "1 shown, 2 alternative"},
		{"alternative(text/plain=a; related(text/html=<img src=cid:p>; image/png#p=PNG; image/png#q=PNG; application/pdf#r=x))",
			"1 shown, 2.1 alternative, 2.2 alternative, 2.3 file, 2.4 file"},
		{"alternative(text/plain=a; mixed(text/html=b; application/pdf=c))", "1 shown, 2.1 alternative, 2.2 file"},
		{"text/html=b", "1 shown"},
		{"mixed(text/plain=a; text/html=b)", "1 shown, 2 shown"},
		{"alternative(text/plain= ; text/html=b)", "1 alternative, 2 shown"},
		{"alternative(text/html=b; text/enriched=a)", "1 alternative, 2 shown"},
	} {
		msg := leafMail(c.mail)
		if got := fates(parseMIME(msg).Leaves(bytes.NewReader(msg), Reading{Plain: true})); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.mail, got, c.want)
		}
	}
}

// TestLeavesUses: the page knows better than HTMLUses which pictures it shows.
func TestLeavesUses(t *testing.T) {
	msg := leafMail("related(text/html=<img src=cid:p>; image/png#p=PNG; image/png#q=PNG)")
	how := Reading{Uses: func(*Part) map[string]bool { return map[string]bool{"q": true} }}
	if got := fates(parseMIME(msg).Leaves(bytes.NewReader(msg), how)); got != "1 shown, 2 file, 3 picture" {
		t.Error(got)
	}
}

// checkLeaves holds the leaves of a message against what is promised: each once, each with a fate that something backs.
func checkLeaves(p *Part, msg []byte) error {
	var want []string
	p.Walk(func(path []int, q *Part) bool {
		if !q.IsMultipart() {
			want = append(want, fmt.Sprint(path))
			return false // a message inside is one leaf
		}
		return true
	})
	for _, how := range []Reading{{}, {Plain: true}} {
		for _, r := range []io.ReaderAt{bytes.NewReader(msg), nil} {
			leaves := p.Leaves(r, how)
			var got []string
			count := map[Fate]int{}
			for _, l := range leaves {
				if l.Path == nil && r != nil && l.Fate == LeafShown && l.Part.Type == "text" { // outside of the parts
					count[l.Fate]++
					continue
				}
				got = append(got, fmt.Sprint(l.Path))
				count[l.Fate]++
				if p.Find(l.Path) != l.Part {
					return fmt.Errorf("%v is not the path of its part", l.Path)
				}
				switch {
				case l.Fate < LeafShown || l.Fate > LeafSignature:
					return fmt.Errorf("%v: fate %d", l.Path, l.Fate)
				case l.Fate == LeafShown && l.Part.Type != "text":
					return fmt.Errorf("%v: shown, but no text", l.Path)
				case l.Fate == LeafPicture && r != nil && l.Part.Picture(r) == "":
					return fmt.Errorf("%v: a picture, but none by its octets", l.Path)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("leaves %v, want %v", got, want)
			}
			if count[LeafShown] == 0 && count[LeafAlternative]+count[LeafPicture] > 0 {
				return fmt.Errorf("alternatives of nothing: %s", fates(leaves))
			}
		}
	}
	return nil
}

// TestLeavesOfSamples holds every mail in testdata against the promises.
func TestLeavesOfSamples(t *testing.T) {
	all := samples(t)
	for i, msg := range corpus() {
		all[fmt.Sprint("corpus ", i)] = msg
	}
	for name, msg := range all {
		p := parseMIME(msg)
		err := checkLeaves(p, msg)
		p.Walk(func(_ []int, q *Part) bool {
			if err == nil && q.IsMessage() {
				err = checkLeaves(q.Parts[0], msg)
			}
			return true
		})
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
}

// TestLeavesMany: what is beyond the limit of texts is a file, and a message of nothing but texts is still told whole.
func TestLeavesMany(t *testing.T) {
	msg := leafMail("mixed(" + strings.Repeat("text/plain=a;", maxShownTexts+5) + "text/plain=z)")
	leaves := parseMIME(msg).Leaves(bytes.NewReader(msg), Reading{})
	if n := len(leaves); n != maxShownTexts+6 || leaves[maxShownTexts-1].Fate != LeafShown || leaves[maxShownTexts].Fate != LeafFile {
		t.Errorf("%d leaves", n)
	}
}

// TestLeavesLinear: multiparts inside each other cost no more than their number, whatever they are.
func TestLeavesLinear(t *testing.T) {
	deep := ""
	for i := range maxMIMEDepth - 2 {
		deep += fmt.Sprintf("Content-Type: multipart/%s; boundary=d%d\n\n--d%[2]d\n", [...]string{"related", "alternative", "signed", "mixed"}[i%4], i)
	}
	for name, unit := range map[string]string{
		"files":    "--b\nContent-Type: application/pdf\nContent-ID: <p>\n\n",
		"texts":    "--b\n\nx\n",
		"html":     "--b\nContent-Type: text/html\n\n<img src=cid:p>\n",
		"pictures": "--b\nContent-Type: image/png\nContent-ID: <p>\n\n",
	} {
		linear(t, name, 1000, func(n int) {
			msg := []byte(deep + "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat(unit, n))
			p := parseMIME(msg)
			p.Leaves(bytes.NewReader(msg), Reading{})
			p.Leaves(nil, Reading{Plain: true})
			p.TextPart("html")
			p.Attachments()
		})
	}
}

func TestHTMLUses(t *testing.T) {
	msg := crlf("Content-Type: text/html\n\n<img src=\"cid:a%40b\"><IMG alt=x src = ' CID:c ' ><img src=cid:><img src=http://x/y><img src=cid:d/><template><img src=cid:e></template><input type=image src=cid:f>\n")
	got := parseMIME(msg).HTMLUses(bytes.NewReader(msg))
	if len(got) != 4 || !got["a@b"] || !got["c"] || !got["d/"] || !got["f"] {
		t.Errorf("%v", got)
	}
}

func TestEnrichedText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<bold>HELLO</bold> words", "HELLO words"},
		{"a\nb\n\nc\n\n\nd", "a b \nc \n\nd"},
		{"a << b <color><param>red</param>c</color>", "a < b c"},
		{"<nofill>a\nb</nofill>", "a\nb"},
		{"3 < 4 and <x y> and <", "3 < 4 and <x y> and <"},
		{"<FontFamily><Param>Times</Param>x</FontFamily>", "x"},
	} {
		got, err := io.ReadAll(EnrichedText(strings.NewReader(c.in)))
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"<bold>a</bold><nl>b<lt>c", "a\nb<c"},
		{"a\nb<comment>no</comment><paragraph>c</paragraph>", "a b\nc"},
	} {
		got, err := io.ReadAll(RichText(strings.NewReader(c.in)))
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestPictureType(t *testing.T) {
	for kind, head := range leafPictures {
		if got := pictureType([]byte(head)); got != "image/"+strings.ToLower(kind) {
			t.Errorf("%s: %q", kind, got)
		}
	}
	for _, head := range []string{"BM and other words of a text", "<svg>", "", "%PDF", "II*\x00", "RIFF0000WAVE"} {
		if got := pictureType([]byte(head)); got != "" {
			t.Errorf("%q: %q", head, got)
		}
	}
}

// FuzzLeaves: each leaf of any octets has a fate, and reading it fails nowhere.
func FuzzLeaves(f *testing.F) {
	for _, msg := range samples(f) {
		f.Add(msg)
	}
	for _, s := range []string{
		"mixed(text/plain=a; text/enriched=<b>x</b>; text/richtext=<nl>)",
		"alternative(text/plain=a; related(text/html=<img src=cid:p>; image/png#p=PNG))",
		"signed(text/plain=a; application/pgp-signature=b)",
	} {
		f.Add(leafMail(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		p := parseMIME(msg)
		if err := checkLeaves(p, msg); err != nil {
			t.Fatalf("%v\n%s", err, dumpTree(p))
		}
		for _, l := range p.Leaves(bytes.NewReader(msg), Reading{}) {
			b, err := io.ReadAll(l.Part.PlainText(bytes.NewReader(msg)))
			if err != nil || (l.Part.Type == "text" && !utf8.Valid(b)) {
				t.Fatalf("%v: %v %q", l.Path, err, b)
			}
		}
	})
}
