package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"
)

// tnefAttr writes an attribute.
func tnefAttr(level byte, id uint32, data string) string {
	b := append([]byte{level}, binary.LittleEndian.AppendUint32(nil, id)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	sum := uint16(0)
	for _, c := range []byte(data) {
		sum += uint16(c)
	}
	return string(binary.LittleEndian.AppendUint16(append(b, data...), sum))
}

// tnefProp writes a property of variable length, padded to four octets; with a name where the id says so.
func tnefProp(id, kind uint16, value string) string {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, id)
	if id >= mapiNamed {
		b = append(b, "0123456789abcdef\x01\x00\x00\x00\x06\x00\x00\x00a\x00b\x00\x00\x00\x00\x00"...)
	}
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, value...)
	return string(b) + strings.Repeat("\x00", (4-len(value)%4)%4)
}

func tnefProps(props ...string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(props)))) + strings.Join(props, "")
}

func utf16LE(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

const (
	tnefHead = "\x78\x9f\x3e\x22\x01\x00"
	// rtfHello is the example of MS-OXRTFCP §3.1.
	rtfHello = "\x2d\x00\x00\x00\x2b\x00\x00\x00\x4c\x5a\x46\x75\xf1\xc5\xc7\xa7\x03\x00\x0a\x00\x72\x63\x70\x67\x31\x32\x35\x42" +
		"\x32\x0a\xf3\x20\x68\x65\x6c\x09\x00\x20\x62\x77\x05\xb0\x6c\x64\x7d\x0a\x80\x0f\xa0"
)

// tnefSample has a body in each form, a file with an old name and a long one, one that only has properties, and a message.
func tnefSample() string {
	fixed := "\x03\x00\x05\x37\x01\x00\x00\x00" // PidTagAttachMethod
	inner := tnefHead + tnefAttr(1, tnefSubject, "inner\x00") + tnefAttr(2, tnefRendering, "") + tnefAttr(2, tnefTitle, "deep.txt\x00") + tnefAttr(2, tnefData, "DEEP")
	return tnefHead +
		tnefAttr(1, tnefCodepage, "\xa8\x03\x00\x00\x00\x00\x00\x00") + // 936
		tnefAttr(1, tnefSubject, "\xd6\xd0\xce\xc4\x00") +
		tnefAttr(1, tnefBody, "BODY\x00") +
		tnefAttr(1, tnefProperties, tnefProps(tnefProp(0x1013, mapiBinary, "<p>HTML</p>"), tnefProp(0x8001, mapiUnicode, utf16LE("named")),
			"\x03\x10\x01\x66\x02\x00\x00\x00aaaabbbb", tnefProp(0x1009, mapiBinary, rtfHello))) +
		tnefAttr(2, tnefRendering, "12345678901234") +
		tnefAttr(2, tnefTitle, "REPORT~1.PDF\x00") +
		tnefAttr(2, tnefData, "%PDF-data") +
		tnefAttr(2, tnefAttachment, tnefProps(fixed, tnefProp(0x3707, mapiUnicode, utf16LE("报告 2025.pdf")), tnefProp(0x370e, mapiString8, "application/pdf\x00"),
			tnefProp(0x3712, mapiUnicode, utf16LE("<c@x>")))) +
		tnefAttr(2, tnefRendering, "") +
		tnefAttr(2, tnefAttachment, tnefProps(tnefProp(0x3701, mapiBinary, "xyz"), tnefProp(0x3704, mapiString8, "b.bin\x00"))) +
		tnefAttr(2, tnefRendering, "") +
		tnefAttr(2, tnefAttachment, tnefProps(tnefProp(0x3001, mapiString8, "a message\x00"), tnefProp(0x3701, mapiObject, "0123456789abcdef"+inner), tnefProp(0x370e, mapiString8, "x/y\x00")))
}

func tnefPart(b string) (*Part, *strings.Reader) {
	return &Part{Type: "application", Subtype: "ms-tnef", Encoding: "binary", BodyLen: int64(len(b))}, strings.NewReader(b)
}

func TestTNEF(t *testing.T) {
	p, r := tnefPart(tnefSample())
	x, err := p.TNEF(r)
	if err != nil || x.Subject != "中文" || x.Text != "BODY" || x.HTML != "<p>HTML</p>" {
		t.Fatalf("%+v %v", x, err)
	}
	var got []string
	for _, f := range x.Files {
		in, err := f.Open(p, r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil || int64(len(b)) != f.Size {
			t.Errorf("%s: %d octets of %d, %v", f.Name, len(b), f.Size, err)
		}
		got = append(got, fmt.Sprintf("%s|%s|%s|%.20q", f.Name, f.Type, f.ContentID, b))
	}
	want := []string{
		`message.rtf|application/rtf||"{\\rtf1\\ansi\\ansicpg1"`, `报告 2025.pdf|application/pdf|c@x|"%PDF-data"`, `b.bin|||"xyz"`,
		`a message.dat|application/ms-tnef||"x\x9f>\"\x01\x00\x01\x04\x80\x01\x00\x06\x00\x00\x00inner"`, `deep.txt|||"DEEP"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b, err := io.ReadAll(newRTFReader(strings.NewReader(rtfHello)))
	if err != nil || string(b) != "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := io.ReadAll(newRTFReader(strings.NewReader("0000" + "\x03\x00\x00\x00MELA0000abc"))); err != nil || string(b) != "abc" {
		t.Errorf("%q %v", b, err)
	}
}

// TestTNEFDamaged: what comes before the damage is kept, no length is believed, and what is no TNEF says so.
func TestTNEFDamaged(t *testing.T) {
	whole := tnefSample()
	for n := range len(whole) {
		p, r := tnefPart(whole[:n])
		x, err := p.TNEF(r)
		if (err == nil) != (n >= len(tnefHead)) {
			t.Fatalf("cut at %d: %v %v", n, x, err)
		}
	}
	for _, in := range []string{"", "not TNEF at all", "\x78\x9f\x3e"} {
		p, r := tnefPart(in)
		if _, err := p.TNEF(r); err == nil {
			t.Errorf("%q is TNEF", in)
		}
	}
	many := tnefHead + strings.Repeat(tnefAttr(2, tnefRendering, ""), 5000)
	p, r := tnefPart(many)
	if x, err := p.TNEF(r); err != nil || len(x.Files) != maxTNEFFiles {
		t.Error(err)
	}
	deep := tnefHead
	for range 50 {
		deep = tnefHead + tnefAttr(2, tnefRendering, "") + tnefAttr(2, tnefAttachment, tnefProps(tnefProp(0x3701, mapiObject, "0123456789abcdef"+deep)))
	}
	p, r = tnefPart(deep)
	if x, err := p.TNEF(r); err != nil || len(x.Files) != maxTNEFDepth+1 {
		t.Errorf("%d %v", len(x.Files), err)
	}
}

func FuzzTNEF(f *testing.F) {
	f.Add([]byte(tnefSample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, r := tnefPart(string(b))
		x, err := p.TNEF(r)
		if err != nil {
			return
		}
		for _, file := range x.Files {
			in, err := file.Open(p, r)
			if err != nil {
				continue
			}
			if n, _ := io.Copy(io.Discard, io.LimitReader(in, 1<<20)); n > file.Size || (!file.compressed && n > int64(len(b))) {
				t.Fatalf("%+v: %d octets", file, n)
			}
		}
		if bytes.Contains([]byte(x.Subject), []byte{0}) {
			t.Fatal("a NUL in the subject")
		}
	})
}
