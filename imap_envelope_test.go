package main

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// An envelope that is written in one pass over a plain header is what ParseEnvelope would have made, whatever the header; and most are plain.
func TestIMAPPlainEnvelope(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mime/*.eml")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	heads := [][]byte{nil, []byte("\r\n"), []byte("From: a@b"), []byte("From: a@b\rTo: c@d\r\r"), []byte("Subject: one\r\n two\r\n\tthree\r\nFROM: A <a@b>\r\nfrom: c@d\r\nTo: x\r\nTo: y\r\n\r\n"),
		[]byte("Date : today\r\nSender:\r\nReply-To: ;\r\nFrom: \"A \\\"B\\\" C\" <a@b>, d@e (F)\r\nCc: friends: g@h, i@j;\r\nBcc: nobody\r\nIn-Reply-To: <1@x>\r\n <2@x>\r\nMessage-ID: <3@x>\r\n\r\n")}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		heads = append(heads, append(bytes.Clone(head), "\r\n\r\n"...))
	}
	plain := 0
	r := rand.New(rand.NewPCG(3, 4))
	for i, head := range heads {
		plain += imapSameEnvelope(t, head)
		for range 200 { // damaged somewhere, or with a part of another one
			odd := bytes.Clone(head)
			for range 1 + r.IntN(3) {
				if len(odd) == 0 {
					break
				}
				at := r.IntN(len(odd))
				switch r.IntN(3) {
				case 0:
					odd[at] = "\r\n :\x00\x80\",;<>@("[r.IntN(13)]
				case 1:
					odd = append(odd[:at:at], odd[at+1:]...)
				default:
					other := heads[r.IntN(len(heads))]
					from := r.IntN(len(other) + 1)
					odd = append(append(odd[:at:at], other[from:min(from+60, len(other))]...), odd[at:]...)
				}
			}
			imapSameEnvelope(t, odd)
		}
		if t.Failed() {
			t.Fatalf("header %d", i)
		}
	}
	if plain*3 < len(files) {
		t.Errorf("only %d of %d headers are plain", plain, len(files))
	}
}

// imapSameEnvelope compares both ways of writing an envelope, twice with what is remembered. It returns 1 if the header is plain.
func imapSameEnvelope(t *testing.T, head []byte) int {
	t.Helper()
	e, plain := imapPlainEnvelope(string(head))
	if !plain {
		return 0
	}
	c := &imapConn{conn: &conn{}}
	say := func(fn func()) string {
		var b bytes.Buffer
		c.w = bufio.NewWriter(&b)
		fn()
		c.w.Flush()
		return b.String()
	}
	want := say(func() { c.putEnvelope(ParseEnvelope(ParseHeader(head))) })
	for range 2 {
		if got := say(func() { c.putPlainEnvelope(&e) }); got != want {
			t.Errorf("of %q\n%s instead of\n%s", head, got, want)
		}
	}
	return 1
}

// What is remembered of lists of addresses has a limit, however many and however long they are.
func TestIMAPListsBounded(t *testing.T) {
	t.Parallel()
	c := &imapConn{conn: &conn{w: bufio.NewWriter(&bytes.Buffer{})}}
	for i := range 8000 {
		field := string(bytes.Repeat([]byte("a"), i%2000)) + "@example.org"
		want := `((NIL NIL "` + field[:i%2000] + `" "example.org"))`
		got := c.lists.of(c, field)
		if i%2000 > 0 && i%2000 < 64 && got != want {
			t.Fatalf("%s instead of %s", got, want)
		}
		n := 0
		for k, v := range c.lists.known {
			n += len(k) + len(v)
			if len(k)+len(v) > imapListsLong {
				t.Fatalf("%d octets are remembered of one list", len(k)+len(v))
			}
		}
		if i%500 == 0 && (n > imapListsMost || n != c.lists.octets) {
			t.Fatalf("%d octets are remembered, and %d counted", n, c.lists.octets)
		}
	}
}
