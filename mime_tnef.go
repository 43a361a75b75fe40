// TNEF: the files in Outlook's winmail.dat, by the public description MS-OXTNEF.
package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Limits of what is taken from one winmail.dat. What is beyond is left alone; the whole is still a file.
const (
	maxTNEFFiles = 500
	maxTNEFName  = 4 << 10 // octets of a name or a type
	maxTNEFText  = 1 << 20 // of a text
	maxTNEFDepth = 4       // messages inside each other
	maxTNEFSteps = 100_000 // attributes and properties
)

// TNEF is what is in a winmail.dat for people.
type TNEF struct {
	Subject string
	Text    string // the body as plain text; "" for none
	HTML    string
	Files   []TNEFFile
}

// TNEFFile is a file in a winmail.dat, those of messages inside it and the formatted body ("message.rtf") too.
type TNEFFile struct {
	Name, Type, ContentID string
	Size                  int64 // octets
	off                   int64 // where it begins in the decoded part
	compressed            bool  // as MS-OXRTFCP has it; Size is what comes out
}

var errTNEF = errors.New("no TNEF")

// IsTNEF says whether the part is a winmail.dat by its labels.
func (p *Part) IsTNEF() bool {
	return p.Is("application", "ms-tnef") || p.Is("application", "vnd.ms-tnef") ||
		(p.Type == "application" && strings.EqualFold(p.Filename(), "winmail.dat"))
}

// TNEF reads what is in a winmail.dat: once over the part, with little more memory than what it returns. A damaged one
// gives what was found before the damage, and an error where that is nothing.
func (p *Part) TNEF(r io.ReaderAt) (*TNEF, error) {
	t := &tnefReader{src: bufio.NewReaderSize(p.Decoded(r), 32<<10), end: 1 << 40}
	out := &TNEF{}
	if !t.stream(out, 0) {
		return nil, fmt.Errorf("%w: %v", errTNEF, t.err)
	}
	return out, nil
}

// Open reads the file out of the part that it was found in.
func (f TNEFFile) Open(p *Part, r io.ReaderAt) (io.Reader, error) {
	src := p.Decoded(r)
	if _, err := io.CopyN(io.Discard, src, f.off); err != nil {
		return nil, fmt.Errorf("winmail.dat: %w", err)
	}
	if f.compressed {
		return io.LimitReader(newRTFReader(src), f.Size), nil
	}
	return io.LimitReader(src, f.Size), nil
}

// tnefReader reads little-endian numbers up to an end and keeps the first error.
type tnefReader struct {
	src      *bufio.Reader
	pos, end int64
	steps    int
	err      error
	charset  string // of strings that are not Unicode
}

func (t *tnefReader) number(size int) uint32 {
	var b [4]byte
	if t.err == nil && t.pos+int64(size) > t.end {
		t.err = errTNEF
	}
	if t.err == nil {
		_, t.err = io.ReadFull(t.src, b[:size])
		t.pos += int64(size)
	}
	if t.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b[:])
}

// to passes over what is left before an offset.
func (t *tnefReader) to(off int64) {
	if t.err != nil {
		return
	}
	if off < t.pos || off > t.end {
		t.err = errTNEF
		return
	}
	n, err := io.CopyN(io.Discard, t.src, off-t.pos)
	t.pos += n
	t.err = err
}

// octets reads n octets, of which it returns at most so many.
func (t *tnefReader) octets(n int64, most int) []byte {
	if t.err != nil || n > t.end-t.pos {
		t.err = errors.Join(t.err, errTNEF)
		return nil
	}
	b := make([]byte, min(n, int64(most)))
	k, err := io.ReadFull(t.src, b)
	t.pos += int64(k)
	t.err = err
	t.to(t.pos + n - int64(k))
	return b[:k]
}

// step says whether another attribute or property may be read.
func (t *tnefReader) step() bool {
	t.steps++
	return t.err == nil && t.steps <= maxTNEFSteps
}

const tnefSignature = 0x223e9f78

// Attributes (MS-OXTNEF §2.1.3.1), type and id together.
const (
	tnefSubject     = 0x00018004
	tnefBody        = 0x0002800c
	tnefData        = 0x0006800f
	tnefTitle       = 0x00018010
	tnefRendering   = 0x00069002 // begins an attachment
	tnefProperties  = 0x00069003 // of the message
	tnefAttachment  = 0x00069005 // properties of the attachment in hand
	tnefCodepage    = 0x00069007
	tnefLevelFile   = 2
	tnefInnerHeader = 16 // octets before the stream of a message inside: a GUID
)

// stream reads one TNEF stream up to t.end; false is something else.
func (t *tnefReader) stream(out *TNEF, depth int) bool {
	signature := t.number(4)
	t.number(2) // a key that nobody uses
	if signature != tnefSignature || t.err != nil {
		t.err = errors.Join(t.err, errTNEF)
		return false
	}
	file := -1 // the attachment in hand
	for t.step() && t.pos < t.end {
		level := t.number(1)
		id := t.number(4)
		next := int64(t.number(4))
		if t.err != nil || next > t.end-t.pos {
			break
		}
		next += t.pos
		if id == tnefRendering && level == tnefLevelFile {
			if !out.add(TNEFFile{}) {
				break
			}
			file = len(out.Files) - 1
		}
		t.attribute(id, next, out, file, depth)
		t.to(next)
		t.number(2) // a sum
	}
	return true
}

// add appends a file, unless there are too many.
func (t *TNEF) add(f TNEFFile) bool {
	if len(t.Files) == maxTNEFFiles {
		return false
	}
	t.Files = append(t.Files, f)
	return true
}

// attribute reads one attribute that ends at next, and leaves what it does not need. file is the attachment in hand, or -1.
func (t *tnefReader) attribute(id uint32, next int64, out *TNEF, file, depth int) {
	n := next - t.pos
	if file >= 0 {
		switch f := &out.Files[file]; id {
		case tnefTitle:
			f.Name = t.text(n, maxTNEFName)
		case tnefData:
			f.off, f.Size = t.pos, n
		case tnefAttachment:
			t.attachment(next, out, file, depth)
		}
		return
	}
	switch id {
	case tnefCodepage:
		t.charset = fmt.Sprintf("cp%d", t.number(4))
	case tnefSubject:
		out.Subject = t.text(n, maxTNEFName)
	case tnefBody:
		out.Text = t.text(n, maxTNEFText)
	case tnefProperties:
		t.properties(next, func(id, kind uint32, n int64) { t.messageProperty(id, kind, n, out) })
	}
}

// text reads a string of the stream's code page.
func (t *tnefReader) text(n int64, most int) string {
	return tnefString(decodeBytes(t.charset, t.octets(n, most)))
}

// tnefString cuts a string off at its NUL.
func tnefString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// Kinds of property values (MS-OXCDATA §2.11.1).
const (
	mapiString8 = 0x001e
	mapiUnicode = 0x001f
	mapiBinary  = 0x0102
	mapiObject  = 0x000d
	mapiMany    = 0x1000
	mapiNamed   = 0x8000 // ids from here on have names
)

// mapiSizes is the room of values of a fixed size; others have their length in front.
var mapiSizes = map[uint32]int64{
	0x0001: 4, 0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000a: 4, 0x000b: 4, 0x0014: 8, 0x0040: 8, 0x0048: 16,
}

// properties reads a list of properties that ends at next and gives those with a length to fn, which reads or leaves n
// octets.
func (t *tnefReader) properties(next int64, fn func(id, kind uint32, n int64)) {
	for count := t.number(4); count > 0 && t.step() && t.pos < next; count-- {
		kind := t.number(2)
		id := t.number(2)
		if id >= mapiNamed {
			t.to(t.pos + 16)
			if t.number(4) == 0 {
				t.number(4)
			} else {
				n := int64(t.number(4))
				t.to(t.pos + (n+3)/4*4)
			}
		}
		size, fixed := mapiSizes[kind&^mapiMany]
		values := uint32(1)
		if kind&mapiMany != 0 || !fixed {
			values = t.number(4)
		}
		for ; values > 0 && t.step() && t.pos < next; values-- {
			if fixed {
				t.to(t.pos + size)
				continue
			}
			n := int64(t.number(4))
			if t.err != nil || n > next-t.pos {
				t.to(next)
				return
			}
			end := t.pos + n
			fn(id, kind, n)
			t.to(min(end+(4-n%4)%4, next))
		}
	}
}

// messageProperty takes what is for people out of the message's properties.
func (t *tnefReader) messageProperty(id, kind uint32, n int64, out *TNEF) {
	switch id {
	case 0x0037: // PidTagSubject
		out.Subject = t.value(kind, n, maxTNEFName)
	case 0x1000: // PidTagBody
		out.Text = t.value(kind, n, maxTNEFText)
	case 0x1013: // PidTagBodyHtml
		b := t.octets(n, maxTNEFText)
		if kind == mapiUnicode {
			out.HTML = tnefString(utf16String(b))
			return
		}
		charset := metaCharset(b[:min(len(b), metaWindow)])
		if charset == "" {
			charset = t.charset
		}
		out.HTML = tnefString(decodeBytes(charset, b))
	case 0x1009: // PidTagRtfCompressed
		f := TNEFFile{Name: "message.rtf", Type: "application/rtf", off: t.pos, compressed: true}
		t.number(4)
		f.Size = int64(t.number(4))
		if t.err == nil {
			out.add(f)
		}
	}
}

// value reads a string in either form.
func (t *tnefReader) value(kind uint32, n int64, most int) string {
	if kind == mapiUnicode {
		return tnefString(utf16String(t.octets(n, most)))
	}
	return t.text(n, most)
}

// utf16String decodes UTF-16 without a mark.
func utf16String(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// attachment reads the properties of a file. They say it better than the attributes before them.
func (t *tnefReader) attachment(next int64, out *TNEF, file, depth int) {
	var short, long, display string
	message := false
	t.properties(next, func(id, kind uint32, n int64) {
		f := &out.Files[file]
		switch id {
		case 0x3704: // PidTagAttachFilename
			short = t.value(kind, n, maxTNEFName)
		case 0x3707: // PidTagAttachLongFilename
			long = t.value(kind, n, maxTNEFName)
		case 0x3001: // PidTagDisplayName
			display = t.value(kind, n, maxTNEFName)
		case 0x370e: // PidTagAttachMimeTag
			f.Type = t.value(kind, n, maxTNEFName)
		case 0x3712: // PidTagAttachContentId
			f.ContentID = strings.Trim(t.value(kind, n, maxTNEFName), "<> ")
		case 0x3701: // PidTagAttachDataBinary, PidTagAttachDataObject
			f.off, f.Size = t.pos, n
			if kind == mapiObject && n > tnefInnerHeader {
				f.off, f.Size = t.pos+tnefInnerHeader, n-tnefInnerHeader
				message = t.inner(n, out, depth)
			}
		}
	})
	f := &out.Files[file] // the list may have moved
	f.Name = cmp.Or(long, display, short, f.Name)
	if message {
		f.Name, f.Type = f.Name+".dat", "application/ms-tnef"
	}
}

// inner reads the message inside an attachment: its files are files of the whole, and its texts are where it is opened.
// false is another kind of object.
func (t *tnefReader) inner(n int64, out *TNEF, depth int) bool {
	if depth == maxTNEFDepth {
		return false
	}
	end, charset := t.end, t.charset
	t.end = t.pos + n
	t.to(t.pos + tnefInnerHeader)
	in := &TNEF{Files: out.Files}
	message := t.stream(in, depth+1)
	out.Files = in.Files
	t.end, t.charset = end, charset
	if errors.Is(t.err, errTNEF) { // it is no such thing, or damaged: what follows may be well
		t.err = nil
	}
	return message
}
