// Bodies: the octets of a part, undone from their transfer encoding and charset, streaming.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"strings"

	"golang.org/x/text/transform"
)

// Raw is the part's body as it stands in the message.
func (p *Part) Raw(r io.ReaderAt) io.Reader { return io.NewSectionReader(r, p.BodyOff, p.BodyLen) }

// RawHeader is the part's header block with its final empty line.
func (p *Part) RawHeader(r io.ReaderAt) io.Reader {
	return io.NewSectionReader(r, p.HeaderOff, p.HeaderLen)
}

// KnownEncoding says whether Decoded undoes the part's Content-Transfer-Encoding. IMAP's BINARY answers [UNKNOWN-CTE]
// when not (RFC 9051 §7.1).
func (p *Part) KnownEncoding() bool {
	switch p.transfer() {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable", "uuencode", "yenc":
		return true
	}
	return false
}

// isEncoded says whether the body is in an encoding for 7-bit transport.
func (p *Part) isEncoded() bool {
	switch p.transfer() {
	case "base64", "quoted-printable", "uuencode", "yenc":
		return true
	}
	return false
}

// transfer is the Content-Transfer-Encoding that the label means: mailers write those of RFC 2045 in several ways, and
// some that are older.
func (p *Part) transfer() string {
	switch p.Encoding {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		return p.Encoding
	}
	switch strings.TrimPrefix(squeezeLabel(p.Encoding), "x") {
	case "base64", "b64":
		return "base64"
	case "quotedprintable", "qp", "quotedprintible", "quoteprintable":
		return "quoted-printable"
	case "uuencode", "uuencoded", "uue", "uu", "binhex", "binhex40", "macbinhex40":
		return "uuencode"
	case "yenc", "yencode":
		return "yenc"
	}
	return p.Encoding
}

// Decoded is the body without its Content-Transfer-Encoding (RFC 2045 §6). It reads whatever is there: octets outside
// the base64 alphabet are skipped, wrong quoted-printable stays as it is, an unknown encoding is raw. It fails only
// where r fails.
func (p *Part) Decoded(r io.ReaderAt) io.Reader {
	switch p.transfer() {
	case "base64":
		return &base64Reader{src: p.lined(r)}
	case "quoted-printable":
		return &qpReader{src: bufio.NewReader(p.lined(r))}
	case "uuencode", "yenc":
		return newOldReader(p.lined(r), p.lined(r))
	}
	return p.Raw(r)
}

// lined is the raw body with line ends that decoders know.
func (p *Part) lined(r io.ReaderAt) io.Reader {
	if p.CRLines {
		r = crReader{r}
	}
	return p.Raw(r)
}

// crReader is a message of which LFs are read for CRs.
type crReader struct{ src io.ReaderAt }

func (c crReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.src.ReadAt(p, off)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// Text is the decoded body in UTF-8, by the charset parameter; line ends stay, but CRs of a message without LFs. Unlabelled text is UTF-8 where that is
// valid and windows-1252 where not; HTML may name its charset in a meta element. Lines that are no base64 although they
// should be are text: a list's footer behind it, or all of it where the label is wrong.
func (p *Part) Text(r io.ReaderAt) io.Reader {
	body := p.Decoded(r)
	if !p.isEncoded() {
		body = p.lined(r)
	}
	if b, ok := body.(*base64Reader); ok && !isWide(p.Param("charset")) {
		b.text = true
	}
	if p.BodyLen <= smallText { // many small parts are not worth a buffer each
		b, err := io.ReadAll(body)
		if err != nil {
			return io.MultiReader(bytes.NewReader(b), errorReader{err})
		}
		if out, _, err := transform.Bytes(charsetDecoder(p.textCharset(b)), b); err == nil {
			return bytes.NewReader(out)
		}
		body = bytes.NewReader(b)
	}
	br := bufio.NewReaderSize(body, guessWindow)
	head, _ := br.Peek(guessWindow)
	return CharsetReader(p.textCharset(head), br)
}

// textCharset is the charset of a text that begins with head: what its label or HTML says, unless the octets say that it
// can't be that.
func (p *Part) textCharset(head []byte) string {
	charset := p.Param("charset")
	if p.Type == "text" && p.Subtype == "html" && !KnownCharset(charset) {
		charset = metaCharset(head[:min(len(head), metaWindow)])
	}
	return sniffCharset(charset, head)
}

// smallText is the length of a body that is decoded at once.
const smallText = metaWindow

// errorReader fails.
type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// guessWindow is how many octets of a text tell its charset.
const guessWindow = 8 << 10

// metaWindow is how far into a document the HTML standard looks for a charset.
const metaWindow = 1024

// metaCharset finds what follows "charset=" in the first octets of an HTML document.
func metaCharset(head []byte) string {
	head = bytes.ToLower(head)
	for {
		i := bytes.Index(head, []byte("charset"))
		if i < 0 {
			return ""
		}
		head = bytes.TrimLeft(head[i+len("charset"):], " \t")
		if !bytes.HasPrefix(head, []byte("=")) {
			continue
		}
		value := bytes.TrimLeft(head[1:], " \t\"'")
		if i := bytes.IndexAny(value, " \t\"'/>;"); i >= 0 {
			value = value[:i]
		}
		if label := string(value); KnownCharset(label) && !isWide(label) {
			return label
		}
	}
}

// base64Values has the value of each base64 octet, 64 for "=" and 65 for anything else.
var base64Values = func() [256]byte {
	var t [256]byte
	for i := range t {
		t[i] = 65
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") {
		t[c] = byte(i)
	}
	return t
}()

// base64Decoder takes base64 in any pieces. Padding ends a group, and another stream may follow it: some mailers encode
// in blocks and join the results.
type base64Decoder struct {
	bits  uint32
	nbits uint // not yet given out; always below 8 between octets
}

// decode appends what src says to dst.
func (d *base64Decoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		if d.nbits == 0 { // whole groups of four, the usual case
			for ; i+4 <= len(src); i += 4 {
				a, b, c, e := base64Values[src[i]], base64Values[src[i+1]], base64Values[src[i+2]], base64Values[src[i+3]]
				if (a|b|c|e)&64 != 0 {
					break
				}
				dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
			}
			if i == len(src) {
				break
			}
		}
		v := base64Values[src[i]]
		if v > 63 {
			if v == 64 {
				d.bits, d.nbits = 0, 0
			}
			continue
		}
		d.bits, d.nbits = d.bits<<6|uint32(v), d.nbits+6
		if d.nbits >= 8 {
			d.nbits -= 8
			dst = append(dst, byte(d.bits>>d.nbits))
		}
	}
	return dst
}

// base64Reader decodes base64 as it is read.
type base64Reader struct {
	src   io.Reader
	text  bool // a line that is no base64 stays as it is, and so do those behind it
	plain bool // such a line was seen
	begun bool // something was decoded
	dec   base64Decoder
	in    [bodyBuffer]byte
	held  int // octets of in that are kept from the read before: the beginning of a line
	buf   []byte
	out   []byte // decoded, not yet read
	err   error
}

const bodyBuffer = 4096 // octets taken from a body at once

func (b *base64Reader) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		var n int
		n, b.err = b.src.Read(b.in[b.held:])
		b.buf = b.take(b.in[:b.held+n])
		b.out = b.buf
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// take decodes octets, and keeps of them what can only be told from text with more.
func (b *base64Reader) take(in []byte) []byte {
	b.held = 0
	if !b.text {
		return b.dec.decode(b.buf[:0], in)
	}
	out, all := b.buf[:0], in
	for len(in) > 0 && !b.plain {
		i := bytes.IndexByte(in, '\n') + 1
		if i == 0 && b.err == nil && len(in) < bodyBuffer/2 {
			b.held = len(in)
			break
		}
		if i == 0 {
			i = len(in)
		}
		b.plain = !isBase64Line(in[:i])
		if b.plain {
			break
		}
		out = b.dec.decode(out, in[:i])
		in = in[i:]
	}
	if !b.begun && isNoise(out) {
		b.plain, b.held = true, 0
		return append(out[:0], all...)
	}
	b.begun = b.begun || len(out) > 0
	if b.plain {
		return append(out, in...)
	}
	copy(b.in[:], in)
	return out
}

// isNoise says whether octets are no text in any charset: they are what comes out where words are taken for base64.
func isNoise(b []byte) bool {
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) { // UTF-16, whatever the label says
		return false
	}
	controls := 0
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b && c != 0x0e && c != 0x0f {
			controls++
		}
	}
	return controls*16 > len(b)
}

// isBase64Line says whether a line may be base64, damaged perhaps. Words have blanks between them, and other signs.
func isBase64Line(line []byte) bool {
	odd := 0
	line = bytes.TrimSpace(line)
	for _, c := range line {
		if base64Values[c] > 64 {
			odd++
		}
	}
	return odd*12 <= len(line)
}

// qpReader decodes quoted-printable (RFC 2045 §6.7) as it is read. A wrong "=" stays as it is; blanks at the end of a
// line are dropped as rule 3 says; a bare CR is data.
type qpReader struct {
	src *bufio.Reader
	buf []byte
	out []byte // decoded, not yet read
	err error
}

func (q *qpReader) Read(p []byte) (int, error) {
	for len(q.out) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		line, last := q.line()
		q.buf = decodeQPLine(q.buf[:0], line, last)
		q.out = q.buf
		q.src.Discard(len(line)) // it was just peeked
	}
	n := copy(p, q.out)
	q.out = q.out[n:]
	return n, nil
}

// line peeks at the next line with its end, a piece of an overlong one, or the rest, and says whether it is the last.
func (q *qpReader) line() ([]byte, bool) {
	line, _ := q.src.Peek(q.src.Buffered())
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		return line[:i+1], false
	}
	line, q.err = q.src.Peek(q.src.Size())
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		q.err = nil
		return line[:i+1], false
	}
	if q.err != nil {
		return line, true
	}
	return line[:len(line)-openEnd(line)], false
}

// openEnd says how many octets at the end of a piece may get another meaning by what follows: half an escape, blanks
// before a line end. A piece of nothing else is taken as it is, or reading would not go on.
func openEnd(piece []byte) int {
	n := len(piece) - len(bytes.TrimRight(piece, " \t\r"))
	if i := bytes.LastIndexByte(piece, '='); i >= 0 && i >= len(piece)-n-3 {
		n = len(piece) - i
	}
	if n == len(piece) {
		return 0
	}
	return n
}

// decodeQPLine decodes one line with its end, a piece of one, or (last) the end of the body.
func decodeQPLine(dst, line []byte, last bool) []byte {
	text := bytes.TrimSuffix(line, []byte("\n"))
	if len(text) < len(line) {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	eol := line[len(text):]
	if len(eol) > 0 || last {
		text = bytes.TrimRight(text, " \t")
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '=' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			dst = append(dst, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
		case c == '=' && i == len(text)-1: // a soft line break, or the end of the body
			return dst
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, eol...)
}

// Filename is the name that the part's sender gave the file: of Content-Disposition, else of Content-Type, without any
// path; "" when there is none. It is for people and for a download's name; Postino never opens a file by it.
func (p *Part) Filename() string {
	name := findParam(p.DispParams, "filename")
	if name == "" {
		name = findParam(p.Params, "name")
	}
	if name == "" { // written where it should not be
		name = cmp.Or(findParam(p.DispParams, "name"), findParam(p.Params, "filename"))
	}
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	return strings.Trim(name, " .")
}
