// text/enriched (RFC 1896) and text/richtext (RFC 1341) as plain text.
package main

import (
	"bufio"
	"io"
	"strings"
)

// EnrichedText reads text/enriched in UTF-8 and gives its text (RFC 1896): commands in "<>" and their parameters left
// out, "<<" a "<"; one line end is a blank, and n of them are n-1. It streams.
func EnrichedText(r io.Reader) io.Reader {
	return &enrichedReader{src: bufio.NewReader(r), breaks: true}
}

// RichText is the same for text/richtext (RFC 1341 §7.1.3): line ends are blanks, <nl> is one, <lt> is "<", and
// comments are left out.
func RichText(r io.Reader) io.Reader { return &enrichedReader{src: bufio.NewReader(r)} }

// maxEnrichedName is the longest name of a command (RFC 1896: 60).
const maxEnrichedName = 60

// enrichedReader is a little machine over octets; it keeps the name of one command.
type enrichedReader struct {
	src    *bufio.Reader
	breaks bool // text/enriched: double line ends count, "<<" is one
	nofill int  // depth of commands inside which line ends stand
	skip   int  // depth of commands whose content is for programs
	ends   int  // line ends in a row
	buf    []byte
	out    []byte
	err    error
}

func (e *enrichedReader) Read(p []byte) (int, error) {
	for len(e.out) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.buf = e.buf[:0]
		for len(e.buf) < bodyBuffer && e.err == nil {
			e.step()
		}
		e.out = e.buf
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

// step takes one octet or one command.
func (e *enrichedReader) step() {
	c, err := e.src.ReadByte()
	if err != nil {
		e.err = err
		return
	}
	switch {
	case c == '\r':
	case c == '\n':
		e.lineEnd()
	case c != '<':
		e.text(c)
	default:
		if next, _ := e.src.Peek(1); e.breaks && len(next) > 0 && next[0] == '<' {
			e.src.Discard(1)
			e.text('<')
			return
		}
		e.command()
	}
}

func (e *enrichedReader) text(c byte) {
	e.ends = 0
	if e.skip == 0 {
		e.buf = append(e.buf, c)
	}
}

// lineEnd writes a blank for the first of a row of line ends and a line end for each of the others.
func (e *enrichedReader) lineEnd() {
	e.ends++
	switch {
	case e.skip > 0:
	case e.nofill > 0, e.breaks && e.ends > 1:
		e.buf = append(e.buf, '\n')
	default:
		e.buf = append(e.buf, ' ')
	}
}

// command reads what follows a "<". What has no end, or is no name, is text.
func (e *enrichedReader) command() {
	head, _ := e.src.Peek(maxEnrichedName + 2)
	end := strings.IndexByte(string(head), '>')
	if end < 0 {
		e.text('<')
		return
	}
	name, closing := strings.CutPrefix(strings.ToLower(string(head[:end])), "/")
	if strings.IndexFunc(name, func(r rune) bool { return r > '~' || !(isAlnum(byte(r)) || r == '-') }) >= 0 {
		e.text('<')
		return
	}
	e.src.Discard(end + 1)
	switch name {
	case "param", "comment":
		e.skip = depth(e.skip, closing)
	case "nofill", "verbatim":
		e.nofill = depth(e.nofill, closing)
	case "lt":
		e.text('<')
	case "nl", "np", "paragraph":
		if e.skip == 0 && !closing {
			e.buf = append(e.buf, '\n')
		}
	}
}
