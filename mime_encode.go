// Transfer encodings on the way out, and the folding of header fields.
package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"
)

// foldColumn is where a header line should end (RFC 5322 §2.1.1 says 78; a line with an encoded word has 76, RFC 2047
// §2).
const foldColumn = 76

// foldField writes a header field with its line end, folded between the pieces. No line is blank, so no reader takes
// one for the end of the header.
func foldField(name string, pieces ...string) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte(':')
	col := len(name) + 1
	for _, p := range pieces {
		if col+1+len(p) > foldColumn && p != "" && col > 1 {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteByte(' ')
		b.WriteString(p)
		col += 1 + len(p)
	}
	b.WriteString("\r\n")
	return b.String()
}

// foldText is foldField for an ASCII value that may be folded at each space.
func foldText(name, value string) string {
	return foldField(name, strings.Split(value, " ")...)
}

// foldAddresses is foldField for a list: between its entries, and inside a long one.
func foldAddresses(name string, list []Address) string {
	return foldText(name, FormatAddressList(list))
}

// lineWriter counts octets and keeps the first error, so that its users write straight on.
type lineWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.err = err
	return n, err
}

func (w *lineWriter) str(s string) { io.WriteString(w, s) }

// qpWriter writes quoted-printable (RFC 2045 §6.7) in lines of at most 76 columns. What could look like something else
// at the start of a line is encoded too: "--" a boundary, "." the end of DATA, "From " an mbox separator.
type qpWriter struct {
	w       io.Writer
	text    bool // CRLF and bare LF are line ends; else every CR and LF but CRLF is encoded
	pending []byte
	line    []byte // output, whole lines and the one in hand
	start   int    // of the line in hand in line
	err     error
}

// qpAhead is how many octets must be known to write the next one.
const qpAhead = 5

func (q *qpWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && q.err == nil {
		take := min(len(p), bodyBuffer)
		q.pending = append(q.pending, p[:take]...)
		p = p[take:]
		q.encode(qpAhead)
	}
	return n, q.err
}

// Close writes what is pending. A body that does not end in a line end gets none.
func (q *qpWriter) Close() error {
	q.encode(0)
	q.flush()
	return q.err
}

// encode writes the pending octets of which more than ahead are known to follow.
func (q *qpWriter) encode(ahead int) {
	in := q.pending
	i := 0
	for i < len(in)-ahead {
		i += q.octet(in[i:])
	}
	q.pending = append(q.pending[:0], in[i:]...)
	if len(q.line) >= bodyBuffer {
		q.flush()
	}
}

func (q *qpWriter) flush() {
	if q.err == nil {
		_, q.err = q.w.Write(q.line)
	}
	q.start -= len(q.line)
	q.line = q.line[:0]
}

// octet encodes the first octet of in, or its first line end, and says how many it took.
func (q *qpWriter) octet(in []byte) int {
	c := in[0]
	switch {
	case c == '\r' && len(in) > 1 && in[1] == '\n':
		q.breakLine("\r\n")
		return 2
	case c == '\n' && q.text:
		q.breakLine("\r\n")
		return 1
	case c == ' ' || c == '\t':
		q.put(in, len(in) == 1 || in[1] == '\r' || in[1] == '\n')
	default:
		q.put(in, c < ' ' || c > '~' || c == '=')
	}
	return 1
}

// startsOddly says whether a line that begins so needs its first octet encoded.
func startsOddly(in []byte) bool {
	return in[0] == '.' || bytes.HasPrefix(in, []byte("--")) || bytes.HasPrefix(in, []byte("From "))
}

// put writes the first octet of in, on a new line when this one is full.
func (q *qpWriter) put(in []byte, encoded bool) {
	size := 1
	if encoded {
		size = 3
	}
	if len(q.line)-q.start+size > 75 {
		q.breakLine("=\r\n")
	}
	c := in[0]
	if encoded || (len(q.line) == q.start && startsOddly(in)) {
		q.line = append(q.line, '=', hexDigits[c>>4], hexDigits[c&15])
		return
	}
	q.line = append(q.line, c)
}

func (q *qpWriter) breakLine(end string) {
	q.line = append(q.line, end...)
	q.start = len(q.line)
}

// writeQP writes all of r as quoted-printable.
func writeQP(w io.Writer, r io.Reader, text bool) error {
	q := &qpWriter{w: w, text: text}
	if _, err := io.Copy(struct{ io.Writer }{q}, r); err != nil {
		return err
	}
	return q.Close()
}

// base64Line is how many octets make a line of 76 columns.
const base64Line = 57

// writeBase64 writes all of r as base64 in lines of 76 columns, the last with its line end.
func writeBase64(w io.Writer, r io.Reader) error {
	const lines = 64
	var in [base64Line * lines]byte
	var out [(76 + 2) * lines]byte
	for {
		n, err := io.ReadFull(r, in[:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		size := 0
		for off := 0; off < n; off += base64Line {
			piece := in[off:min(off+base64Line, n)]
			base64.StdEncoding.Encode(out[size:], piece)
			size += base64.StdEncoding.EncodedLen(len(piece))
			size += copy(out[size:], "\r\n")
		}
		if _, werr := w.Write(out[:size]); werr != nil {
			return werr
		}
		if err != nil {
			return nil
		}
	}
}

// base64Size is how much writeBase64 writes for n octets.
func base64Size(n int64) int64 {
	return (n+2)/3*4 + (n+base64Line-1)/base64Line*2
}

// crlfWriter makes every line end CRLF: bare LFs, and bare CRs too.
type crlfWriter struct {
	w   io.Writer
	cr  bool // the last octet was a CR, whose LF is written already
	buf []byte
}

func (c *crlfWriter) Write(p []byte) (int, error) {
	c.buf = c.buf[:0]
	for _, b := range p {
		switch {
		case b == '\r', b == '\n' && !c.cr:
			c.buf = append(c.buf, "\r\n"...)
		case b != '\n':
			c.buf = append(c.buf, b)
		}
		c.cr = b == '\r'
	}
	if _, err := c.w.Write(c.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// measure is an io.Writer that learns what is needed to choose an encoding.
type measure struct {
	n       int64 // octets
	line    int64 // octets of the line in hand
	longest int64
	high    bool // an octet above 127
	odd     bool // a NUL, or a CR or LF outside CRLF
	lastCR  bool
	invalid bool   // not UTF-8
	rest    []byte // the beginning of a character
}

func (m *measure) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	for _, c := range p {
		if m.lastCR != (c == '\n') {
			m.odd = true
		}
		m.lastCR = c == '\r'
		switch {
		case c == '\n':
			m.line = 0
			continue
		case c == 0:
			m.odd = true
		case c >= utf8.RuneSelf:
			m.high = true
		}
		if c != '\r' {
			m.line++
			m.longest = max(m.longest, m.line)
		}
	}
	m.checkUTF8(p)
	return len(p), nil
}

// checkUTF8 goes on over the edges of the pieces.
func (m *measure) checkUTF8(p []byte) {
	if m.invalid || !m.high {
		return
	}
	for len(m.rest) > 0 && len(p) > 0 && !utf8.FullRune(m.rest) {
		m.rest, p = append(m.rest, p[0]), p[1:]
	}
	if len(m.rest) > 0 && !utf8.FullRune(m.rest) {
		return
	}
	m.invalid = !utf8.Valid(m.rest)
	cut := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if c := p[len(p)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(p[len(p)-back:]) {
				cut = len(p) - back
			}
			break
		}
	}
	m.invalid = m.invalid || !utf8.Valid(p[:cut])
	m.rest = append(m.rest[:0], p[cut:]...)
}

// isUTF8 says whether all that was written is valid UTF-8. A last character cut short is not.
func (m *measure) isUTF8() bool { return !m.invalid && len(m.rest) == 0 }
