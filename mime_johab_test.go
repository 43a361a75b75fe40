package main

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// TestJohab decodes what Python's codec of that name writes, and CESU-8, by its label and as what calls itself UTF-8.
func TestJohab(t *testing.T) {
	for _, x := range []struct{ charset, octets, want string }{
		{"johab", "\x94\x81\xd0\x65\xa3\xa5\x8a\x82 \xf7\xd3\xf1\xae \xd9\x69 \x88\x41\x84\x61 \xa6\xca abc\\", "대한민국 漢字 ☆ ㄱㅏ 뷁 abc\\"},
		{"x-Johab", "\x88\x61\xd3\xbd\xff", "가힣\ufffd"},
		{"cp1361", "\x88", "\ufffd"},
		{"CESU-8", "a\xed\xa0\xbd\xed\xb8\x80b \xe4\xbd\xa0 \xf0\x9f\x98\x80", "a😀b 你 😀"},
		{"utf-8", "a\xed\xa0\xbd\xed\xb8\x80b \xe4\xbd\xa0", "a😀b 你"},
		{"cesu-8", "\xed\xa0\xbd", "\ufffd\ufffd\ufffd"},
	} {
		msg := []byte("Content-Type: text/plain; charset=\"" + x.charset + "\"\r\n\r\n" + x.octets)
		p := parseMIME(msg)
		for _, r := range []io.Reader{p.Text(bytes.NewReader(msg)), CharsetReader(sniffCharset(x.charset, []byte(x.octets)), iotest.OneByteReader(bytes.NewReader([]byte(x.octets))))} {
			got, err := io.ReadAll(r)
			if err != nil || string(got) != x.want {
				t.Errorf("%s %q: %q %v, want %q", x.charset, x.octets, got, err, x.want)
			}
		}
	}
}
