package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"
)

// TestSigned opens what programs sign without a second part: in DER, and in pieces of unknown length as programs that
// stream write it.
func TestSigned(t *testing.T) {
	for _, name := range []string{"signed-opaque", "signed-opaque-stream"} {
		p, r := sampleTree(t, name)
		if !p.MayBeSigned() {
			t.Errorf("%s does not look signed", name)
		}
		in, err := p.Signed(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		msg, err := io.ReadAll(in)
		tree := parseMIME(msg)
		if err != nil || fates(tree.Leaves(bytes.NewReader(msg), Reading{})) != "1 shown, 2 file" {
			t.Errorf("%s: %v %q", name, err, msg)
		}
		text, err := io.ReadAll(tree.TextPart("plain").Text(bytes.NewReader(msg)))
		if err != nil || string(text) != "Words that were signed." {
			t.Errorf("%s: %v %q", name, err, text)
		}
	}
	p, r := sampleTree(t, "enveloped")
	if _, err := p.Signed(r); p.MayBeSigned() || err == nil {
		t.Error("a cipher was taken for a signed message", err)
	}
}

// TestSignedForms tries what BER allows and what it does not.
func TestSignedForms(t *testing.T) {
	const (
		head = "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
		open = head + "\xa0\x80"
	)
	for _, c := range []struct{ in, want, err string }{
		{open + "\x04\x05hello\x00\x00", "hello", ""},
		{open + "\x04\x81\x05hello", "hello", ""},
		{open + "\x04\x84\x00\x00\x00\x05hello", "hello", ""},
		{open + "\x24\x80\x04\x02he\x04\x00\x04\x03llo\x00\x00\x00\x00", "hello", ""},
		{open + "\x24\x09\x04\x02he\x04\x03llo\x00\x00", "hello", ""},
		{open + "\x24\x80\x24\x80\x04\x02he\x00\x00\x24\x05\x04\x03llo\x00\x00", "hello", ""},
		{strings.Replace(open, "\x31\x00", "\x31\x80\x30\x80\x06\x01\x01\x00\x00\x00\x00", 1) + "\x04\x05hello", "hello", ""},
		{open + "\x04\x06hello", "hello", "unexpected EOF"},
		{open + "\x24\x80\x04\x02he\x02\x01\x00", "he", "damaged ASN.1"},
		{open + strings.Repeat("\x24\x80", 100), "", "damaged ASN.1"},
		{head + "\x00\x00", "", "no signed message"}, // a signature over something elsewhere
		{open + "\x04\x89\x01\x01\x01\x01\x01\x01\x01\x01\x01", "", "no signed message"},
		{strings.Replace(open, "\x07\x02", "\x07\x03", 1), "", "no signed message"},
		{strings.Replace(open, "\x31\x00", strings.Repeat("\x31\x80", 100), 1), "", "no signed message"},
		{"", "", "no signed message"},
		{"\x30\x82", "", "no signed message"},
	} {
		msg := "Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(c.in))
		r, err := parseMIME([]byte(msg)).Signed(strings.NewReader(msg))
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if string(got) != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: %q %v, want %q %s", c.in, got, err, c.want, c.err)
		}
	}
}

func FuzzSigned(f *testing.F) {
	for _, name := range []string{"signed-opaque", "signed-opaque-stream", "enveloped"} {
		msg := samples(f)["testdata/mime/"+name+".eml"]
		b, err := io.ReadAll(parseMIME(msg).Decoded(bytes.NewReader(msg)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &Part{Type: "application", Subtype: "pkcs7-mime", Encoding: "binary", BodyLen: int64(len(b))}
		if r, err := p.Signed(bytes.NewReader(b)); err == nil {
			if got, _ := io.ReadAll(r); len(got) > len(b) {
				t.Fatalf("%d octets out of %d", len(got), len(b))
			}
		}
	})
}
