// Charsets: from whatever label a mailer wrote to UTF-8, streaming.
package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// CharsetReader decodes r to UTF-8; unknown charsets decode as windows-1252, invalid input becomes U+FFFD.
//
// No label, us-ascii and unknown labels are taken as UTF-8 where the octets are valid UTF-8, and as windows-1252 where
// not: that is what unlabelled mail is in practice.
func CharsetReader(charset string, r io.Reader) io.Reader {
	return transform.NewReader(r, charsetDecoder(charset))
}

// KnownCharset says whether the label names a charset we decode as such.
func KnownCharset(charset string) bool {
	name := charsetName(charset)
	return name != "" || asciiLabels[cleanLabel(charset)]
}

// decodeBytes is CharsetReader for a few octets at hand.
func decodeBytes(charset string, b []byte) string {
	if utf8.Valid(b) && ((isASCIIBytes(b) && !isStateful(charset)) || strings.EqualFold(charset, "utf-8")) {
		return string(b)
	}
	out, _, err := transform.Bytes(charsetDecoder(charset), b)
	if err != nil { // our decoders replace what is wrong; only a bug comes here
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

// decodeRaw makes UTF-8 of octets that carry no label of their own: valid UTF-8 stays; else it is the charset that the
// rest of the message uses, if they can be that; else what they look like.
func decodeRaw(s, fallback string) string {
	if isPlain(s) {
		return s
	}
	if name := escapedCharset(s); name != "" {
		return decodeBytes(name, []byte(s))
	}
	if utf8.ValidString(s) {
		return s
	}
	if wrong, chars := countUTF8([]byte(s)); chars > 2*wrong { // damaged, or cut
		return decodeBytes("", []byte(s))
	}
	name := charsetName(fallback)
	for _, name := range append([]string{name}, sisterCharsets[name]...) {
		if name == "" || name == "utf-8" {
			break
		}
		text := decodeBytes(name, []byte(s))
		if !strings.ContainsRune(text, utf8.RuneError) {
			return text
		}
	}
	return decodeBytes(guessCharset(s), []byte(s))
}

// sisterCharsets are those in which a program writes raw octets that labels its texts with the 7-bit one.
var sisterCharsets = map[string][]string{"iso-2022-jp": {"euc-jp", "shift_jis"}, "iso-2022-kr": {"euc-kr"}, "hz-gb-2312": {"gb18030"}}

// isPlain says whether s is ASCII that means itself.
func isPlain(s string) bool { return isASCII(s) && strings.IndexByte(s, 0x1b) < 0 }

// escapedCharset names the 7-bit charset whose escape sequences are in s (RFC 1468, 1557, 1922); "" for none.
func escapedCharset(s string) string {
	for rest := s; ; {
		i := strings.IndexByte(rest, 0x1b)
		if i < 0 {
			return ""
		}
		rest = rest[i+1:]
		switch {
		case strings.HasPrefix(rest, "$B"), strings.HasPrefix(rest, "$@"), strings.HasPrefix(rest, "$(D"), strings.HasPrefix(rest, "(J"), strings.HasPrefix(rest, "(I"):
			return "iso-2022-jp"
		case strings.HasPrefix(rest, "$)C"):
			return "iso-2022-kr"
		case strings.HasPrefix(rest, "$)A"):
			return "iso-2022-cn"
		}
	}
}

// isStateful says whether ASCII octets may mean other characters: the 7-bit charsets and the wide ones.
func isStateful(charset string) bool {
	switch name := charsetName(charset); name {
	case "utf-7", "hz-gb-2312":
		return true
	default:
		return strings.HasPrefix(name, "iso-2022-") || isWide(name)
	}
}

// isWide says whether the charset's text holds NULs and octets that only look like line ends, so that it must be
// carried as binary.
func isWide(charset string) bool {
	name := charsetName(charset)
	return strings.HasPrefix(name, "utf-16") || strings.HasPrefix(name, "utf-32")
}

func charsetDecoder(charset string) transform.Transformer {
	name := charsetName(charset)
	switch name {
	case "":
		return guessDecoder{}
	case "utf-7":
		return &utf7Decoder{}
	case "johab":
		return johabDecoder{}
	case "cesu-8":
		return transform.Chain(halvesDecoder{}, unicode.UTF8BOM.NewDecoder())
	case "iso-2022-kr":
		return transform.Chain(&shiftedPairs{designator: "\x1b$)C"}, korean.EUCKR.NewDecoder())
	case "iso-2022-cn": // of its sets only GB 2312, in which all that is mailed is written
		return transform.Chain(&shiftedPairs{designator: "\x1b$)A"}, simplifiedchinese.GBK.NewDecoder())
	}
	if upper := codePages[name]; upper != nil {
		return codePageDecoder{upper: upper}
	}
	return charsetEncoding(name).NewDecoder()
}

// guessDecoder passes valid UTF-8 and takes every other octet as windows-1252.
type guessDecoder struct{ transform.NopResetter }

func (guessDecoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		r, n := rune(src[nSrc]), 1
		if r >= utf8.RuneSelf {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			r, n = utf8.DecodeRune(src[nSrc:])
			if r == utf8.RuneError && n == 1 {
				r = charmap.Windows1252.DecodeByte(src[nSrc])
			}
		}
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// utf7Decoder reads UTF-7 (RFC 2152): "+" opens UTF-16BE in base64, "-" or any octet outside the alphabet closes it,
// "+-" is a plus.
type utf7Decoder struct {
	shifted, empty bool // inside base64; nothing read there yet
	bits           uint32
	nbits          uint
	high           rune // a high surrogate waits for its other half
}

func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if nDst+2*utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.octet(dst[nDst:], src[nSrc])
	}
	if atEOF && d.high != 0 {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		d.high = 0
		nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
	}
	return nDst, nSrc, nil
}

// octet takes one octet and writes at most two runes.
func (d *utf7Decoder) octet(dst []byte, c byte) int {
	if !d.shifted {
		switch {
		case c == '+':
			d.shifted, d.empty = true, true
			return 0
		case c >= utf8.RuneSelf:
			return utf8.EncodeRune(dst, utf8.RuneError)
		}
		dst[0] = c
		return 1
	}
	if v := base64Values[c]; v < 64 {
		d.empty = false
		d.bits, d.nbits = d.bits<<6|uint32(v), d.nbits+6
		if d.nbits < 16 {
			return 0
		}
		d.nbits -= 16
		return d.unit(dst, rune(d.bits>>d.nbits&0xFFFF))
	}
	n, empty := 0, d.empty
	if d.high != 0 {
		n = utf8.EncodeRune(dst, utf8.RuneError)
	}
	*d = utf7Decoder{}
	switch {
	case c == '-' && empty:
		dst[n] = '+'
		return n + 1
	case c == '-':
		return n
	}
	return n + d.octet(dst[n:], c)
}

// unit takes one UTF-16 code unit.
func (d *utf7Decoder) unit(dst []byte, u rune) int {
	if d.high != 0 {
		r := utf16.DecodeRune(d.high, u)
		d.high = 0
		if r != utf8.RuneError {
			return utf8.EncodeRune(dst, r)
		}
		n := utf8.EncodeRune(dst, r)
		return n + d.unit(dst[n:], u)
	}
	if u >= 0xD800 && u < 0xDC00 {
		d.high = u
		return 0
	}
	return utf8.EncodeRune(dst, u) // a lone low half becomes U+FFFD
}

// shiftedPairs turns ISO-2022-KR (RFC 1557) into EUC-KR and ISO-2022-CN (RFC 1922) into EUC-CN: between SO and SI each
// octet has its high bit set; the designator, ESC $ ) C or A, is dropped.
type shiftedPairs struct {
	designator string
	shifted    bool
}

func (d *shiftedPairs) Reset() { d.shifted = false }

func (d *shiftedPairs) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	const so, si = 0x0E, 0x0F
	designator := d.designator
	for nSrc < len(src) {
		rest := src[nSrc:]
		switch c := rest[0]; {
		case bytes.HasPrefix(rest, []byte(designator)):
			nSrc += len(designator)
			continue
		case !atEOF && len(rest) < len(designator) && strings.HasPrefix(designator, string(rest)):
			return nDst, nSrc, transform.ErrShortSrc
		case c == so || c == si:
			d.shifted = c == so
			nSrc++
			continue
		case nDst == len(dst):
			return nDst, nSrc, transform.ErrShortDst
		case c == '\n': // the RFC says that a line ends in ASCII
			d.shifted = false
		}
		dst[nDst] = rest[0]
		if d.shifted && rest[0] > ' ' {
			dst[nDst] |= 0x80
		}
		nDst++
		nSrc++
	}
	return nDst, nSrc, nil
}

func isASCIIBytes(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
