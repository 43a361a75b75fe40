// uuencode, yEnc and where BinHex begins: transfer encodings from before MIME, as the label of a part and as files inside a text.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"strconv"
	"strings"
)

// Limits of what is looked for in one text.
const (
	maxTextFiles    = 100  // files in it
	maxTextFileName = 500  // octets of a name
	maxOldLine      = 4096 // octets of a line that is looked at; yEnc's have 128, or 256 for some programs
)

// TextFile is a file inside a text. Its octets are part of the text, too: whoever shows the text shows them.
type TextFile struct {
	Name string
	Size int64 // octets
	off  int64 // of its first line in the decoded part
}

// TextFiles lists the files inside a text part, in order: what stands between "begin 644 name" and "end" (POSIX
// uuencode, its base64 form too), between "=ybegin" and "=yend" (yEnc 1.3), and behind the line that BinHex 4.0 has in front. It reads the part once.
func (p *Part) TextFiles(r io.ReaderAt) []TextFile {
	lines := &oldLines{src: bufio.NewReaderSize(p.Decoded(r), maxOldLine)}
	var all []TextFile
	var d oldDecoder
	for len(all) < maxTextFiles {
		off := lines.off
		line, err := lines.next()
		if d.kind == 0 && d.begin(line) {
			all = append(all, TextFile{Name: d.name, off: off})
		} else if d.kind != 0 {
			f := &all[len(all)-1]
			out, over := d.line(line)
			f.Size, f.Name = f.Size+int64(len(out)), d.name
			if over || err != nil {
				if f.Size == 0 {
					all = all[:len(all)-1] // words that begin like a file
				}
				d = oldDecoder{}
			}
		}
		if err != nil {
			break
		}
	}
	return all
}

// Open reads the file out of the part that it was found in.
func (f TextFile) Open(p *Part, r io.ReaderAt) io.Reader {
	src := p.Decoded(r)
	if _, err := io.CopyN(io.Discard, src, f.off); err != nil {
		return errorReader{err}
	}
	return newOldReader(src, nil)
}

// oldLines reads lines with their ends, or pieces of overlong ones, and counts octets.
type oldLines struct {
	src *bufio.Reader
	off int64
}

func (l *oldLines) next() ([]byte, error) {
	line, err := l.src.ReadSlice('\n')
	l.off += int64(len(line))
	if err == bufio.ErrBufferFull {
		err = nil
	}
	return line, err
}

// oldReader decodes the first file in what it reads.
type oldReader struct {
	lines oldLines
	raw   io.Reader // what is read where there is no file; nil for nothing
	dec   oldDecoder
	out   []byte
	err   error
}

func newOldReader(src, raw io.Reader) *oldReader {
	return &oldReader{lines: oldLines{src: bufio.NewReaderSize(src, maxOldLine)}, raw: raw}
}

func (o *oldReader) Read(p []byte) (int, error) {
	for len(o.out) == 0 {
		if o.err != nil {
			return 0, o.err
		}
		line, err := o.lines.next()
		o.err = err
		switch {
		case o.dec.kind != 0:
			out, over := o.dec.line(line)
			o.out = out
			if over {
				o.err = io.EOF
			}
		case o.dec.begin(line):
		case err == io.EOF && o.raw != nil:
			o.err = nil
			return o.raw.Read(p)
		}
		if o.dec.kind == 0 && err == io.EOF {
			return 0, io.EOF
		}
	}
	n := copy(p, o.out)
	o.out = o.out[n:]
	return n, nil
}

// oldDecoder decodes one file, line by line.
type oldDecoder struct {
	kind byte // 'u', 'b' (uuencode's base64), 'y', 'h' (BinHex); 0 before the file
	name string
	b64  base64Decoder
	esc  bool // yEnc: the line before ended in "="
	hex  binHex
	buf  []byte
}

// begin looks at a line outside of files, and says whether one begins behind it.
func (d *oldDecoder) begin(line []byte) bool {
	if len(line) == 0 || (line[0] != 'b' && line[0] != '=' && line[0] != '(') {
		return false
	}
	s := strings.TrimRight(string(line), "\r\n")
	if strings.HasPrefix(s, binHexBegin) {
		d.kind, d.name = 'h', "file"
		return true
	}
	if rest, ok := strings.CutPrefix(s, "=ybegin "); ok {
		_, name, _ := strings.Cut(rest, "name=")
		d.kind, d.name = 'y', name
		return strings.Contains(rest, "line=") && strings.Contains(rest, "size=")
	}
	kind := byte('u')
	rest, ok := strings.CutPrefix(s, "begin ")
	if !ok {
		rest, ok = strings.CutPrefix(s, "begin-base64 ")
		kind = 'b'
	}
	mode, name, _ := strings.Cut(rest, " ")
	if _, err := strconv.ParseUint(mode, 8, 16); !ok || err != nil || len(mode) < 3 || len(mode) > 4 || name == "" || len(name) > maxTextFileName {
		return false
	}
	d.kind, d.name = kind, strings.TrimSpace(name)
	return true
}

// line decodes a line of the file, and says whether it is its last. What is good until the next call is returned.
func (d *oldDecoder) line(line []byte) (out []byte, over bool) {
	text := bytes.TrimRight(line, "\r\n")
	d.buf = d.buf[:0]
	switch d.kind {
	case 'y':
		return d.yenc(text)
	case 'h':
		d.buf, over = d.hex.line(d.buf, text)
		d.name = cmp.Or(d.hex.name(), d.name)
		return d.buf, over
	case 'b':
		d.buf = d.b64.decode(d.buf, text)
		return d.buf, string(text) == "===="
	}
	if len(text) == 0 {
		return nil, false
	}
	if string(text) == "end" {
		return nil, true
	}
	n := int(text[0]-' ') & 63
	if text[0] < ' ' || text[0] > '`' || (len(text)-1)*3 > (n+6)*4+3 { // no such line: the file is cut short
		return nil, true
	}
	d.buf = decodeUU(d.buf, text[1:], n)
	return d.buf, false
}

// decodeUU appends the n octets that a line of uuencode stands for; blanks at its end may be lost.
func decodeUU(dst, src []byte, n int) []byte {
	at := func(i int) byte {
		if i < len(src) {
			return (src[i] - ' ') & 63
		}
		return 0
	}
	for i := 0; n > 0; i += 4 {
		three := [3]byte{at(i)<<2 | at(i+1)>>4, at(i+1)<<4 | at(i+2)>>2, at(i+2)<<6 | at(i+3)}
		dst = append(dst, three[:min(n, 3)]...)
		n -= 3
	}
	return dst
}

func (d *oldDecoder) yenc(text []byte) (out []byte, over bool) {
	switch {
	case bytes.HasPrefix(text, []byte("=yend")):
		return nil, true
	case bytes.HasPrefix(text, []byte("=ypart ")):
		return nil, false
	}
	for _, c := range text {
		switch {
		case d.esc:
			d.esc = false
			d.buf = append(d.buf, c-64-42)
		case c == '=':
			d.esc = true
		default:
			d.buf = append(d.buf, c-42)
		}
	}
	return d.buf, false
}
