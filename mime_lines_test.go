// Messages whose lines end in CRs.
package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestMIMECRLines: a message with CRs and no LF at all has the tree, the fields and the texts of the same one with LFs, where each
// octet stands; one LF anywhere, and a CR is data.
func TestMIMECRLines(t *testing.T) {
	for file, msg := range samples(t) {
		lf := bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n"))
		if bytes.IndexByte(lf, '\r') >= 0 {
			continue
		}
		cr := bytes.ReplaceAll(lf, []byte("\n"), []byte("\r"))
		want, m := parseMIME(lf), NewMIMEReader()
		for i := range cr { // however it arrives
			m.Write(cr[i : i+1])
		}
		got := m.Tree()
		stored, err := UnmarshalPart(got.Marshal())
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if a, b := dumpTree(want), dumpTree(stored); strings.ReplaceAll(a, "LF", "CR") != b {
			t.Errorf("%s:\n%s\nwith CRs:\n%s", file, a, b)
		}
		if a, b := ParseHeader(lf[:want.HeaderLen]), ParseHeader(cr[:got.HeaderLen]); a.Text("Subject") != b.Text("Subject") || len(a) != len(b) {
			t.Errorf("%s: %d fields, with CRs %d", file, len(a), len(b))
		}
		var texts []string
		want.Walk(func(_ []int, p *Part) bool {
			if p.Type == "text" {
				b, _ := io.ReadAll(p.Text(bytes.NewReader(lf)))
				texts = append(texts, string(b))
			}
			return true
		})
		stored.Walk(func(path []int, p *Part) bool {
			if p.Type == "text" {
				b, _ := io.ReadAll(p.Text(bytes.NewReader(cr)))
				if string(b) != texts[0] {
					t.Errorf("%s %v: %q, with CRs %q", file, path, texts[0], b)
				}
				texts = texts[1:]
			}
			return true
		})
	}
	for _, mixed := range []string{"Subject: a\rTo: b\r\r\nx", "Subject: a\rTo: b\r\rx\r\n", "Subject: a\rTo: b\n\nx"} {
		if p := parseMIME([]byte(mixed)); p.CRLines || ParseHeader([]byte(mixed)[:p.HeaderLen]).Has("To") {
			t.Errorf("%q: CRs are line ends", mixed)
		}
	}
}
