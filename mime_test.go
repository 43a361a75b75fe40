package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var updateTrees = flag.Bool("update", false, "write the golden trees of testdata/mime anew")

// crlf gives text from a test or a file the line ends of mail.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func parseMIME(b []byte) *Part {
	m := NewMIMEReader()
	m.Write(b)
	return m.Tree()
}

// dumpTree writes a tree for people: for each part its IMAP number and what was learned.
func dumpTree(p *Part) string {
	var b strings.Builder
	p.Walk(func(path []int, p *Part) bool {
		num := strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]")
		fmt.Fprintf(&b, "%-6s%s/%s %s %d+%d %d+%d lines=%d%s", num, p.Type, p.Subtype, p.Encoding,
			p.HeaderOff, p.HeaderLen, p.BodyOff, p.BodyLen, p.Lines, dumpFlags(p))
		for _, x := range []struct{ name, value string }{
			{"id", p.ID}, {"desc", p.Desc}, {"md5", p.MD5}, {"disp", p.Disp}, {"loc", p.Location}, {"lang", strings.Join(p.Lang, ",")},
		} {
			if x.value != "" {
				fmt.Fprintf(&b, " %s=%q", x.name, x.value)
			}
		}
		b.WriteString("\n")
		for _, x := range p.Params {
			fmt.Fprintf(&b, "      ; %s=%q\n", x.Name, x.Value)
		}
		for _, x := range p.DispParams {
			fmt.Fprintf(&b, "      d %s=%q\n", x.Name, x.Value)
		}
		if e := p.Envelope; e != nil {
			fmt.Fprintf(&b, "      envelope %q\n", *e)
			in := p.Parts[0]
			fmt.Fprintf(&b, "      message %d+%d %d+%d\n", in.HeaderOff, in.HeaderLen, in.BodyOff, in.BodyLen)
		}
		return true
	})
	return b.String()
}

func dumpFlags(p *Part) string {
	s := ""
	for i, on := range []bool{p.Has8bit, p.HasNUL, p.LongLine, p.BareCR, p.BareLF, p.Header8bit, p.HeaderUgly, p.Opaque} {
		if on {
			s += " " + []string{"8bit", "NUL", "long", "CR", "LF", "header8bit", "headerugly", "opaque"}[i]
		}
	}
	return s
}

// checkTree holds a tree against the promises made at Part.
func checkTree(p *Part, size int64) error {
	if p.HeaderOff != 0 || p.BodyOff+p.BodyLen != size {
		return fmt.Errorf("the root is not the message")
	}
	return checkPart(p, 1)
}

func checkPart(p *Part, depth int) error {
	message := p.Is("message", "rfc822") || p.Is("message", "global")
	switch {
	case p.BodyOff != p.HeaderOff+p.HeaderLen || p.HeaderLen < 0 || p.BodyLen < 0 || p.Lines < 0 || p.Lines > p.BodyLen:
		return fmt.Errorf("bad numbers %d+%d %d+%d %d", p.HeaderOff, p.HeaderLen, p.BodyOff, p.BodyLen, p.Lines)
	case (p.Type == "multipart" || message) != (len(p.Parts) > 0), message != (p.Envelope != nil):
		return fmt.Errorf("%s/%s with %d parts, envelope %v", p.Type, p.Subtype, len(p.Parts), p.Envelope != nil)
	case message && (len(p.Parts) != 1 || p.Parts[0].HeaderOff != p.BodyOff || p.Parts[0].HeaderLen+p.Parts[0].BodyLen != p.BodyLen):
		return fmt.Errorf("the inner message is not the body")
	case depth > maxMIMEDepth+1:
		return fmt.Errorf("too deep")
	case !isMIMEToken(p.Type) || !isMIMEToken(p.Subtype) || !isMIMEToken(p.Encoding):
		return fmt.Errorf("bad label %q %q %q", p.Type, p.Subtype, p.Encoding)
	}
	at := p.BodyOff
	for _, c := range p.Parts {
		if c.HeaderOff < at {
			return fmt.Errorf("part at %d overlaps what ends at %d", c.HeaderOff, at)
		}
		if err := checkPart(c, depth+1); err != nil {
			return err
		}
		if at = c.BodyOff + c.BodyLen; at > p.BodyOff+p.BodyLen {
			return fmt.Errorf("part ends at %d, outside its parent", at)
		}
	}
	return nil
}

// samples are the messages of testdata/mime with CRLF line ends.
func samples(t testing.TB) map[string][]byte {
	files, err := filepath.Glob("testdata/mime/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[f] = crlf(string(b))
	}
	return all
}

func TestMIMETrees(t *testing.T) {
	for file, msg := range samples(t) {
		tree := parseMIME(msg)
		if err := checkTree(tree, int64(len(msg))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		got := dumpTree(tree)
		golden := strings.TrimSuffix(file, ".eml") + ".tree"
		if *updateTrees {
			os.WriteFile(golden, []byte(got), 0o644)
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\n%swant\n%s", file, err, got, want)
		}
	}
}

// TestMIMEPieces cuts the samples anywhere: how the octets arrive must not matter.
func TestMIMEPieces(t *testing.T) {
	for file, msg := range samples(t) {
		for _, msg := range [][]byte{msg, bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n"))} {
			want := dumpTree(parseMIME(msg))
			for _, size := range []int{1, 2, 3, 7, 64} {
				m := NewMIMEReader()
				for rest := msg; len(rest) > 0; {
					n := min(size, len(rest))
					m.Write(rest[:n])
					rest = rest[n:]
				}
				if got := dumpTree(m.Tree()); got != want {
					t.Errorf("%s in pieces of %d:\n%swant\n%s", file, size, got, want)
				}
			}
		}
	}
}

// TestMIMEBareLF wants the same tree from stored mail with Unix line ends, offsets apart.
func TestMIMEBareLF(t *testing.T) {
	shape := func(p *Part) (s string) {
		p.Walk(func(path []int, p *Part) bool {
			s += fmt.Sprintln(path, p.Type, p.Subtype, p.Lines, p.Params)
			return true
		})
		return s
	}
	for file, msg := range samples(t) {
		lf := parseMIME(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")))
		if got, want := shape(lf), shape(parseMIME(msg)); got != want {
			t.Errorf("%s:\n%swant\n%s", file, got, want)
		}
	}
}

func TestMIMELimits(t *testing.T) {
	many := 100_000
	if testing.Short() {
		many = 2 * maxMIMEParts
	}
	deep := func(n int, head string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, head+"\n", i)
		}
		return b.String() + "\nbottom\n"
	}
	count := func(p *Part) (n, depth int) {
		var walk func(p *Part, d int)
		walk = func(p *Part, d int) {
			n++
			depth = max(depth, d)
			for _, c := range p.Parts {
				walk(c, d+1)
			}
		}
		walk(p, 1)
		return n, depth
	}
	for name, x := range map[string]struct {
		msg          string
		parts, depth int
	}{
		"multiparts": {deep(many, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%[1]d"), 100, 100},
		"messages":   {deep(many, "Content-Type: message/rfc822\nX: %d\n"), 100, 100},
		"parts":      {"Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n", 10*many), maxMIMEParts, 2},
		"closed": {"Content-Type: multipart/mixed; boundary=b\n\n" +
			strings.Repeat("--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n--c--\n", many), maxMIMEParts, 3},
		"ends":     {"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + strings.Repeat("--b--\n", many), 2, 2},
		"boundary": {"Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 501) + "\n\n--" + strings.Repeat("b", 501) + "\n", 1, 1},
	} {
		msg := crlf(x.msg)
		p := parseMIME(msg)
		parts, depth := count(p)
		if parts != x.parts || depth != x.depth {
			t.Errorf("%s: %d parts, depth %d; want %d, %d", name, parts, depth, x.parts, x.depth)
		}
		if err := checkTree(p, int64(len(msg))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if q, err := UnmarshalPart(p.Marshal()); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%s: not the same after Marshal: %v", name, err)
		}
	}
}

// TestMIMEMemory feeds 64 MB of the worst and looks at what is kept.
func TestMIMEMemory(t *testing.T) {
	for name, unit := range map[string]string{
		"one line":    "x",
		"one header":  "X: y\r\n",
		"long dashes": "-",
		"params":      "; a=b",
		"parts":       "--b\r\nContent-ID: " + strings.Repeat("i", 60000) + "\r\n\r\n",
	} {
		size := 64 << 20
		if testing.Short() {
			size = 16 << 20
		}
		m := NewMIMEReader()
		io.WriteString(m, "Content-Type: multipart/mixed; boundary=b\r\n")
		if unit[0] == '-' {
			io.WriteString(m, "\r\n")
		}
		chunk := []byte(strings.Repeat(unit, 1+(64<<10)/len(unit)))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for n := 0; n < size; n += len(chunk) {
			m.Write(chunk)
		}
		p := m.Tree()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("%s: %d octets kept", name, grown)
		}
		runtime.KeepAlive(m)
		runtime.KeepAlive(p)
	}
}

// linear says whether work on n and on 8n units takes processor time in proportion, that of its own thread: the
// collector and tests beside it compute, too. A quadratic algorithm takes 64 times as long; noise is what the bound of
// 40 and the retries are for.
func linear(t *testing.T, name string, n int, work func(n int)) {
	t.Helper()
	if testing.Short() { // emulated, or watched for races, large allocations cost far more than small ones
		work(n)
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	measure := func(n int) time.Duration {
		best := time.Hour
		for range 3 {
			start := cpuTime(cpuThread)
			work(n)
			best = min(best, cpuTime(cpuThread)-start)
		}
		return max(best, 500*time.Microsecond)
	}
	var small, large time.Duration
	for range 10 {
		if small, large = measure(n), measure(8*n); large < 40*small {
			return
		}
	}
	t.Errorf("%s: %v for %d, %v for %d", name, small, n, large, 8*n)
}

func TestMIMELinear(t *testing.T) {
	deep := ""
	for i := range 99 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=%s%03d\n\n--%[1]s%03[2]d\n", strings.Repeat("b", 200), i)
	}
	for name, unit := range map[string]string{
		"dashes":     "--\n",
		"almost":     "--" + strings.Repeat("b", 200) + "\n",
		"header":     "\nX: y\n",
		"empty":      "\n",
		"short":      "x\n",
		"no newline": "xxxxxxxx",
	} {
		linear(t, name, 5000, func(n int) { parseMIME([]byte(deep + "\n" + strings.Repeat(unit, n))) })
	}
	linear(t, "parts", 1000, func(n int) {
		parseMIME([]byte("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: a/b\n\nx\n", n))).Marshal()
	})
}

func TestMarshal(t *testing.T) {
	for file, msg := range samples(t) {
		p := parseMIME(msg)
		b := p.Marshal()
		q, err := UnmarshalPart(b)
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%s: %v\n%swant\n%s", file, err, dumpTree(q), dumpTree(p))
		}
		for i := range b { // cut short and flipped: an error, or a tree that keeps its promises
			if _, err := UnmarshalPart(b[:i]); err == nil {
				t.Errorf("%s: no error for the first %d of %d octets", file, i, len(b))
			}
			bad := bytes.Clone(b)
			bad[i] ^= 0x55
			if q, err := UnmarshalPart(bad); err == nil && q.BodyOff+q.BodyLen > 1<<62 {
				t.Errorf("%s: flip at %d: bad tree", file, i)
			}
		}
	}
	if n := len(parseMIME(crlf("Subject: x\n\nbody\n")).Marshal()); n > 16 {
		t.Errorf("the smallest tree takes %d octets", n)
	}
}

func TestShift(t *testing.T) {
	const prefix = "Received: from a by b;\r\n\tnow\r\nX-Y: z\r\n"
	for file, msg := range samples(t) {
		if bytes.HasPrefix(msg, []byte("\r\n")) {
			continue // fields in front of an empty header change what is header
		}
		p := parseMIME(msg)
		p.Shift(int64(len(prefix)))
		if got, want := dumpTree(p), dumpTree(parseMIME(append([]byte(prefix), msg...))); got != want {
			t.Errorf("%s:\n%swant\n%s", file, got, want)
		}
	}
}

func sampleTree(t *testing.T, name string) (*Part, *bytes.Reader) {
	t.Helper()
	b, err := os.ReadFile("testdata/mime/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	msg := crlf(string(b))
	return parseMIME(msg), bytes.NewReader(msg)
}

// TestFind holds the part numbers against Walk, and the cases that RFC 9051 §6.4.5.1 makes.
func TestFind(t *testing.T) {
	for file, msg := range samples(t) {
		root := parseMIME(msg)
		root.Walk(func(path []int, p *Part) bool {
			if root.Find(path) != p {
				t.Errorf("%s: Find(%v) is not what Walk gave", file, path)
			}
			for _, next := range []int{0, -1, len(p.Parts) + 2} {
				if root.Find(append(path, next)) != nil {
					t.Errorf("%s: Find(%v) of nothing", file, append(path, next))
				}
			}
			return true
		})
	}
	fwd, _ := sampleTree(t, "forwarded")
	plain, _ := sampleTree(t, "plain")
	inner := fwd.Parts[1].Parts[0]
	for _, x := range []struct {
		root *Part
		path []int
		want *Part
	}{
		{plain, nil, plain}, {plain, []int{1}, plain}, {plain, []int{1, 1}, nil}, {plain, []int{2}, nil},
		{fwd, nil, fwd}, {fwd, []int{2}, fwd.Parts[1]}, {fwd, []int{1, 1}, nil},
		{fwd, []int{2, 1}, inner.Parts[0]}, {fwd, []int{2, 2}, inner.Parts[1]},
		{fwd, []int{2, 2, 1}, inner.Parts[1].Parts[0]}, {fwd, []int{2, 2, 1, 1}, nil}, {fwd, []int{2, 3}, nil},
	} {
		if got := x.root.Find(x.path); got != x.want {
			t.Errorf("Find(%v) = %+v", x.path, got)
		}
	}
	// A message whose own type is message/rfc822: 1 is its body, 1.1 that of the message inside.
	p := parseMIME(crlf("Content-Type: message/rfc822\n\nSubject: in\n\nbody\n"))
	if p.Find([]int{1}) != p || p.Find([]int{1, 1}) != p.Parts[0] || p.Find([]int{1, 1, 1}) != nil {
		t.Error("part numbers of a message/rfc822 root")
	}
}

func TestTextPartAndAttachments(t *testing.T) {
	number := func(root, p *Part) (num string) {
		root.Walk(func(path []int, q *Part) bool {
			if p == q {
				num = strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]")
			}
			return true
		})
		return num
	}
	for name, want := range map[string][3]string{ // text/plain, text/html, attachments
		"plain":           {"1", "", ""},
		"apple-mail":      {"1", "2.1", "2.2"},
		"outlook-related": {"1.1.1", "1.1.2", "2 3"},
		"forwarded":       {"1", "", "2"},
		"signed":          {"1", "", ""},
		"encrypted":       {"", "", "1 2"},
		"report":          {"1", "", "2 3"},
		"digest":          {"2", "", "1 3"},
		"fields":          {"", "1", ""}, // its name makes it no file: there is nothing else to read
		"bad-types":       {"1", "", "5 6"},
		"rfc2049-complex": {"1", "", "3.1 3.2 5"},
	} {
		root, _ := sampleTree(t, name)
		var list []string
		for _, p := range root.Attachments() {
			list = append(list, number(root, p))
		}
		got := [3]string{number(root, root.TextPart("plain")), number(root, root.TextPart("html")), strings.Join(list, " ")}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	cal := parseMIME(crlf("Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n"))
	if len(cal.Attachments()) != 1 {
		t.Error("a message that is an invitation has nothing to open")
	}
}

func TestFilename(t *testing.T) {
	for head, want := range map[string]string{
		`Content-Disposition: attachment; filename="a.txt"`:            "a.txt",
		`Content-Type: text/plain; name=b.txt`:                         "b.txt",
		`Content-Disposition: attachment; filename="C:\\dir\\c.txt"`:   "c.txt",
		`Content-Disposition: attachment; filename="../../etc/passwd"`: "passwd",
		`Content-Disposition: attachment; filename=".."`:               "",
		`Content-Disposition: attachment; filename="a` + "\t" + `b"`:   "a b",
		`Content-Disposition: attachment; filename*=utf-8''%0D%0Ax`:    "x",
	} {
		if got := parseMIME(crlf(head + "\n\n")).Filename(); got != want {
			t.Errorf("%s: %q", head, got)
		}
	}
}

// TestMIMEWithin: a reader with little room keeps little and stays a tree; one with enough is not poorer than any.
func TestMIMEWithin(t *testing.T) {
	mails := samples(t)
	mails["parts"] = crlf("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", maxMIMEParts))
	mails["params"] = crlf("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: a/b"+strings.Repeat("; a=b", 60)+"\n\n", 3000))
	mails["header"] = crlf("Content-Type: multipart/mixed; boundary=b\n" + strings.Repeat("X: y\n", 100000))
	for name, msg := range mails {
		for _, most := range []int64{0, 1000, 20_000, 1 << 30} {
			left := most
			m := NewMIMEReaderWithin(func(n int64) bool {
				if n > left {
					return false
				}
				left -= n
				return true
			})
			m.Write(msg)
			tree := m.Tree()
			if err := checkTree(tree, int64(len(msg))); err != nil {
				t.Errorf("%s within %d: %v", name, most, err)
			}
			if m.Held() != most-left {
				t.Errorf("%s: held %d of %d", name, m.Held(), most-left)
			}
			whole := dumpTree(tree) == dumpTree(parseMIME(msg))
			if most == 1<<30 && (!whole || m.Refused()) || !whole && !m.Refused() {
				t.Errorf("%s within %d: refused %v, the same %v", name, most, m.Refused(), whole)
			}
		}
	}
}

// TestMIMEHeld: what a reader says it holds is about what it holds.
func TestMIMEHeld(t *testing.T) {
	msg := crlf("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", maxMIMEParts-1))
	var grown, said int64
	for range 3 { // others of the process may hold something new, too
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := NewMIMEReaderWithin(func(int64) bool { return true })
		m.Write(msg)
		p := m.Tree()
		runtime.GC()
		runtime.ReadMemStats(&after)
		grown, said = int64(after.HeapAlloc)-int64(before.HeapAlloc), m.Held()
		runtime.KeepAlive(m)
		runtime.KeepAlive(p)
		if grown <= said*5/4+64<<10 {
			return
		}
	}
	t.Errorf("%d octets grown, %d said", grown, said)
}

// TestBoundaries: one that should have been quoted is found as its sender writes it below.
func TestBoundaries(t *testing.T) {
	for field, boundary := range map[string]string{
		`boundary=--=_NextPart_(0001)_x`:  "--=_NextPart_(0001)_x",
		`boundary=foo bar`:                "foo bar",
		`boundary=foo bar; charset=utf-8`: "foo bar",
		`boundary=foo (a comment)`:        "foo",
		`boundary=foo(a comment)`:         "foo",
		`boundary=foo charset=utf-8`:      "foo",
		`boundary='foo'`:                  "foo",
		`boundary='foo' `:                 "'foo'",
		`boundary="foo bar"`:              "foo bar",
		`boundary="foo (bar)"; x=y`:       "foo (bar)",
		`boundary="foo`:                   "foo",
		`boundary = foo@bar:1/2?3`:        "foo@bar:1/2?3",
		`boundary==_foo`:                  "=_foo",
		`boundary*0=fo; boundary*1=o`:     "foo",
	} {
		msg := crlf("Content-Type: multipart/mixed; " + field + "\n\n--" + boundary + "\nContent-Type: text/plain\n\na\n--" + boundary + "\n\nb\n--" + boundary + "--\nend\n")
		p := parseMIME(msg)
		if len(p.Parts) != 2 || p.Param("boundary") != boundary || checkTree(p, int64(len(msg))) != nil {
			t.Errorf("%s: %s", field, dumpTree(p))
		}
	}
	// A quoted one is what it is.
	p := parseMIME(crlf("Content-Type: multipart/mixed; boundary=\"foo bar\"\n\n--foo\n\n--foo bar\n\na\n--foo bar--\n"))
	if len(p.Parts) != 1 {
		t.Error(dumpTree(p))
	}
}

// TestRawNames: names of files in raw octets are read in the charset that the message's text has, or else by what they
// look like; and so are the subjects of messages inside and out.
func TestRawNames(t *testing.T) {
	for _, c := range []struct{ charset, raw, want string }{
		{"gb2312", "\xb1\xa8\xb8\xe6.pdf", "报告.pdf"},
		{"gbk", "\xd6\xd0.pdf", "中.pdf"},
		{"big5", "\xb3\xf8\xa7i.pdf", "報告.pdf"},
		{"shift_jis", "\x95\xf1\x8d\x90.pdf", "報告.pdf"},
		{"koi8-r", "\xef\xd4\xde\xc5\xd4.pdf", "Отчет.pdf"},
		{"windows-1251", "\xce\xf2\xf7\xe5\xf2.pdf", "Отчет.pdf"},
		{"euc-kr", "\xba\xb8\xb0\xed\xbc\xad.pdf", "보고서.pdf"},
		{"iso-8859-2", "\xb3\xf3d\xbc.pdf", "łódź.pdf"},
		{"utf-8", "\xb1\xa8\xb8\xe6.pdf", "报告.pdf"},
		{"us-ascii", "\xef\xd4\xde\xc5\xd4.pdf", "Отчет.pdf"},
		{"utf-8", "\xe6\x8a\xa5.pdf", "报.pdf"},
		{"gb2312", "\xe6\x8a\xa5.pdf", "报.pdf"},
		{"utf-8", "caf\xe9.pdf", "café.pdf"},
	} {
		for _, field := range []string{"Content-Disposition: attachment; filename=\"%s\"", "Content-Disposition: attachment; filename=%s", "Content-Type: a/b; name=\"%s\"", "Content-Disposition: filename=%s"} {
			msg := crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=" + c.charset + "\n\nx\n--b\n" + fmt.Sprintf(field, c.raw) + "\n\nx\n--b--\n")
			if got := parseMIME(msg).Parts[1].Filename(); got != c.want {
				t.Errorf("%s %q: %q, want %q", c.charset, c.raw, got, c.want)
			}
		}
	}
}

// TestRawWords: the envelope of a message with raw octets, in encoded words too, is decoded once by whoever reads it.
func TestRawWords(t *testing.T) {
	for raw, want := range map[string]string{
		"=?iso-8859-1?Q?Die_Fr\xf6sche?=":                        "Die Frösche",
		"=?gb2312?Q?\xd6\xd0?= \xce\xc4\xd3\xca\xbc\xfe":         "中 文邮件",
		"=?iso-8859-1?Q?Fr=F6sche?= \xe9 x":                      "Frösche é x",
		"\xd6\xd0\xce\xc4\xd3\xca\xbc\xfe":                       "中文邮件",
		"=?utf-8?Q?Fr\xc3\xb6sche?= \xc3\xa9":                    "Frösche é",
		"=?koi8-r?Q?\xf0\xd2\xc9\xd7\xc5\xd4?= =?koi8-r?Q?=21?=": "Привет!",
		"=?iso-8859-1?Q?Die_Fr\xc3\xb6sche?=":                    "Die Frösche",
	} {
		h := ParseHeader([]byte("Subject: " + raw + "\r\nFrom: " + raw + " <a@b>\r\n\r\n"))
		e := ParseEnvelope(h)
		if got := DecodeWords(e.Subject); got != want || h.Text("Subject") != want || !utf8.ValidString(e.Subject) {
			t.Errorf("%q: subject %q, text %q, want %q", raw, got, h.Text("Subject"), want)
		}
		if len(e.From) != 1 || e.From[0].DisplayName() != want || e.From[0].Domain != "b" {
			t.Errorf("%q: from %q, want %q", raw, e.From, want)
		}
	}
}
