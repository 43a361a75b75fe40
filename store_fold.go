// Folding: text as search and sorting compare it, without regard to case and to how accents are written.
package main

import (
	"io"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold appends s as the collation i;unicode-casemap compares it (RFC 5051 §2): each character in its title case, and then
// taken apart as Unicode's compatibility decomposition says, so that "É", "é" and "e" with an accent are one, and so are
// full-width and plain letters. Octets that are no UTF-8 become U+FFFD.
func Fold[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if 'a' <= b && b <= 'z' {
				b -= 'a' - 'A'
			}
			dst = append(dst, b)
			i++
			continue
		}
		r, n := decodeRune(s[i:])
		dst = foldRune(dst, r)
		i += n
	}
	return dst
}

func decodeRune[T string | []byte](s T) (rune, int) {
	var buf [utf8.UTFMax]byte
	return utf8.DecodeRune(buf[:copy(buf[:], s)])
}

// foldRune takes one character apart. Nothing changes in the large blocks of ideographs, which are passed quickly.
func foldRune(dst []byte, r rune) []byte {
	if r >= 0x3400 && r < 0xa000 {
		return utf8.AppendRune(dst, r)
	}
	r = unicode.ToTitle(r)
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], r)
	if d := norm.NFKD.Properties(buf[:n]).Decomposition(); d != nil {
		// Some characters decompose to small letters (the full-width ones do not, but U+2100 does).
		for i := 0; i < len(d); {
			r, n := utf8.DecodeRune(d[i:])
			dst = utf8.AppendRune(dst, unicode.ToTitle(r))
			i += n
		}
		return dst
	}
	return append(dst, buf[:n]...)
}

// foldPhrase is Fold with its blanks joined, for what is looked for and the fields it is looked for in.
func foldPhrase(dst []byte, s string) []byte {
	var j blankJoiner
	from := len(dst)
	dst = Fold(append(dst, ' '), s) // the blank is room for one that is put off
	return dst[:from+len(j.join(dst[from:], true))]
}

// blankJoiner makes one blank of blanks and line ends that follow each other, so that a phrase is found wherever its lines
// were broken; RFC 9051 §6.4.4 leaves that to the server. A single line end between ideographs or kana is no blank at all.
type blankJoiner struct {
	blank bool // there was one that is not written yet
	lines int  // line ends in it
	last  byte // the first octet of the last character
}

// join joins blanks in folded text that comes in pieces and begins with one octet of room. The answer is in the same place.
func (j *blankJoiner) join(b []byte, end bool) []byte {
	wide := func(lead byte) bool { return lead >= 0xe3 && lead <= 0xe9 } // U+3000 to U+9FFF
	n := 0
	for _, c := range b[1:] {
		if c <= ' ' && (c == ' ' || (c >= '\t' && c <= '\r')) {
			j.blank = true
			if c == '\n' {
				j.lines++
			}
			continue
		}
		if j.blank {
			if j.lines != 1 || !wide(j.last) || !wide(c) {
				b[n] = ' '
				n++
			}
			j.blank, j.lines = false, 0
		}
		if c < utf8.RuneSelf || c >= 0xc0 {
			j.last = c
		}
		b[n] = c
		n++
	}
	if end && j.blank {
		b[n] = ' '
		n++
	}
	return b[:n]
}

// foldReader folds what it reads from text in UTF-8, and joins its blanks.
type foldReader struct {
	src    io.Reader
	in     []byte // read, not yet folded: from off on
	off    int
	out    []byte
	blanks blankJoiner
	done   error
}

const (
	foldBuffer = 16 << 10
	foldLeast  = 64
)

// newFoldReader folds text of about so many octets; there may be more.
func newFoldReader(src io.Reader, about int64) *foldReader {
	return &foldReader{src: src, in: make([]byte, 0, min(about+foldLeast, foldBuffer))}
}

// next returns the next piece of folded text, which is good until the call after; io.EOF at the end.
func (f *foldReader) next() ([]byte, error) {
	if f.done != nil {
		return nil, f.done
	}
	kept := copy(f.in[:cap(f.in)], f.in[f.off:])
	n, err := io.ReadFull(f.src, f.in[kept:cap(f.in)])
	f.in, f.off = f.in[:kept+n], kept+n
	if err != nil {
		f.done = io.EOF
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			f.done = err
		}
	} else {
		// A character that the buffer cuts waits for its other half.
		for back := 1; back < utf8.UTFMax && back <= len(f.in); back++ {
			if b := f.in[len(f.in)-back]; utf8.RuneStart(b) {
				if !utf8.FullRune(f.in[len(f.in)-back:]) {
					f.off = len(f.in) - back
				}
				break
			}
		}
	}
	f.out = Fold(append(f.out[:0], ' '), f.in[:f.off])
	return f.blanks.join(f.out, false), nil
}
