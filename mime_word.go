// Encoded words: text of the world in header fields (RFC 2047).
package main

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// DecodeWords decodes the encoded words of an unfolded value (RFC 2047) and any raw 8-bit text to UTF-8 without control
// characters.
//
// It is as lenient as people's mail needs: words may touch other text or stand in quotes, be too long, hold blanks or
// question marks, lack padding, name a language (RFC 2231 §5). Neighbouring words of one charset are joined before
// decoding, because some mailers cut inside a multibyte character.
func DecodeWords(s string) string { return decodeWords(s, "") }

func decodeWords(s, fallback string) string {
	var (
		out   strings.Builder
		run   []encodedWord // words not yet decoded, all in one charset
		start int           // of the plain text since the last word
		pos   int           // where to look for the next word
	)
	for {
		i := strings.Index(s[pos:], "=?")
		if i < 0 {
			break
		}
		i += pos
		word, n := scanWord(s[i:])
		if n == 0 {
			pos = i + 2
			continue
		}
		// Blanks between two words are not shown (RFC 2047 §6.2).
		gap := s[start:i]
		apart := start == 0 || strings.Trim(gap, " \t\r\n") != ""
		if len(run) > 0 && (apart || !run[0].sameCharset(word)) {
			out.WriteString(decodeRun(run))
			run = run[:0]
		}
		if apart {
			out.WriteString(decodeRaw(gap, fallback))
		}
		run = append(run, word)
		start, pos = i+n, i+n
	}
	if start == 0 {
		return cleanText(decodeRaw(s, fallback))
	}
	out.WriteString(decodeRun(run))
	out.WriteString(decodeRaw(s[start:], fallback))
	return cleanText(out.String())
}

// sameCharset says whether the octets of w and x may be joined.
func (w encodedWord) sameCharset(x encodedWord) bool {
	return strings.EqualFold(w.charset, x.charset) || (charsetName(w.charset) != "" && charsetName(w.charset) == charsetName(x.charset))
}

// decodeRun decodes neighbouring words of one charset. Their octets are joined first. Where a word of base64 ends
// inside a group of four, either its padding is missing or the next word goes on with the group: what makes fewer wrong
// characters is right, and bits that are left over are lost in the first case.
func decodeRun(run []encodedWord) string {
	charset := run[0].charset
	data, lost := joinWords(run, false)
	if charsetName(charset) == "utf-8" && len(run) == 1 && hasNoUTF8(data) {
		return decodeRaw(string(data), "")
	}
	text := decodeBytes(charset, data)
	if !lost {
		return text
	}
	data, _ = joinWords(run, true)
	other := decodeBytes(charset, data)
	if n, k := strings.Count(text, "\uFFFD"), strings.Count(other, "\uFFFD"); k < n || (k == n && lost) {
		return other
	}
	return text
}

// hasNoUTF8 says whether octets above 127 are there and no character of UTF-8 is made of them.
func hasNoUTF8(b []byte) bool {
	odd := false
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			odd = true
		case n > 1:
			return false
		}
		b = b[n:]
	}
	return odd
}

// joinWords decodes the words' encodings. through goes on with a group of base64 in the next word; true says that
// without it bits were left over that are not zero, or too few for an octet.
func joinWords(run []encodedWord, through bool) ([]byte, bool) {
	var data []byte
	lost := false
	var d base64Decoder
	for i, w := range run {
		if !w.base64 {
			data = w.decode(data)
			d = base64Decoder{}
			continue
		}
		data = d.decode(data, []byte(w.text))
		if goesOn := i+1 < len(run) && run[i+1].base64; goesOn && (d.nbits == 6 || (d.nbits > 0 && d.bits&(1<<d.nbits-1) != 0)) {
			lost = true
		}
		if !through {
			d = base64Decoder{}
		}
	}
	return data, lost
}

// cleanText replaces control characters by spaces, so that no decoded value can break a line of whatever shows it.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7F && r < 0xA0) || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}

// encodedWord is =?charset?encoding?text?= taken apart.
type encodedWord struct {
	charset string
	base64  bool
	text    string
}

// trustRaw takes raw octets in a word, where there should be none, for UTF-8 if they are that and nothing else is
// encoded in it: somebody between has made UTF-8 of the whole header.
func (w *encodedWord) trustRaw() {
	if w.base64 || isASCII(w.text) || !utf8.ValidString(w.text) {
		return
	}
	for i := 0; i+2 < len(w.text); i++ {
		if w.text[i] == '=' && w.text[i+1] >= '8' {
			return
		}
	}
	w.charset = "utf-8"
}

// decodeAround makes valid UTF-8 of a value and leaves its encoded words to be decoded by others: raw octets between
// them are decoded as decodeRaw does it, and those in them, which have the charset of the word, are encoded as they
// should have been. So every octet is decoded once, whoever does it.
func decodeAround(s, fallback string) string {
	if isPlain(s) {
		return s
	}
	var out strings.Builder
	start := 0 // of what is not written yet
	for pos := 0; ; {
		i := strings.Index(s[pos:], "=?")
		if i < 0 {
			break
		}
		i += pos
		word, n := scanWord(s[i:])
		pos = i + max(n, 2)
		if n == 0 || isASCII(s[i:i+n]) {
			continue
		}
		out.WriteString(decodeRaw(s[start:i], fallback))
		out.WriteString(word.ascii())
		start = i + n
	}
	out.WriteString(decodeRaw(s[start:], fallback))
	return out.String()
}

// ascii writes the word without raw octets: in base64 they mean nothing.
func (w encodedWord) ascii() string {
	var b strings.Builder
	kind := "?q?"
	if w.base64 {
		kind = "?b?"
	}
	b.WriteString("=?" + decodeRaw(w.charset, "") + kind)
	for i := range len(w.text) {
		switch c := w.text[i]; {
		case c < utf8.RuneSelf:
			b.WriteByte(c)
		case !w.base64:
			b.WriteByte('=')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	b.WriteString("?=")
	return b.String()
}

// scanWord reads the encoded word at the start of s and its length; 0 when there is none. It never looks past the next
// "=?", which keeps decodeWords linear.
func scanWord(s string) (encodedWord, int) {
	var w encodedWord
	charset, rest, ok := strings.Cut(s[2:min(len(s), 2+maxCharsetLabel+16)], "?")
	if !ok || charset == "" || strings.ContainsAny(charset, " \t\"(),:;<>@[]=") {
		return w, 0
	}
	w.charset, _, _ = strings.Cut(charset, "*")
	at := 2 + len(charset) + 1
	if len(rest) < 2 || rest[1] != '?' {
		return w, 0
	}
	switch rest[0] {
	case 'b', 'B':
		w.base64 = true
	case 'q', 'Q':
	default:
		return w, 0
	}
	at += 2
	for i := at; i < len(s); i++ {
		if s[i] != '?' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '=' {
			w.text = s[at:i]
			w.trustRaw()
			return w, i + 2
		}
		if s[i-1] == '=' && i > at {
			break
		}
	}
	return w, 0
}

// decode appends the word's octets to b.
func (w encodedWord) decode(b []byte) []byte {
	if w.base64 {
		var d base64Decoder
		return d.decode(b, []byte(w.text))
	}
	for i := 0; i < len(w.text); i++ {
		switch c := w.text[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(w.text) && isHex(w.text[i+1]) && isHex(w.text[i+2]):
			b = append(b, unhex(w.text[i+1])<<4|unhex(w.text[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return b
}

// RFC 2047 §2 allows an encoded word 75 octets and its line 76. Ours are shorter, so that the first one fits beside the
// field's name.
const (
	maxWord      = 62
	maxToken     = 900 // octets of a blank-free token left bare; longer ones could not be folded under 998
	utf8WordHead = "=?utf-8?"
)

// EncodeWords makes s ASCII for an unstructured field (RFC 2047 §5 (1)): each run of words that need it becomes encoded
// words of at most 75 octets, cut between characters, Q unless B is much shorter. CR, LF and NUL come out encoded. Text
// that needs nothing is returned as it is.
func EncodeWords(s string) string {
	return encodeTokens(s, func(token string) bool {
		return len(token) > maxToken || strings.Contains(token, "=?") || !isPrintableASCII(token)
	})
}

// encodePhrase is EncodeWords for a display name (RFC 2047 §5 (3)), where the words left bare must be atoms.
func encodePhrase(s string) string {
	return encodeTokens(s, func(token string) bool { return len(token) > maxToken || !isAtom(token) })
}

func isPrintableASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

// isAtom says whether s may stand in a phrase without quotes, and is not mistaken for an encoded word.
func isAtom(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || !isAtext(s[i]) {
			return false
		}
	}
	return s != "" && !strings.Contains(s, "=?")
}

// encodeTokens encodes the runs of blank-separated tokens that need it. The blanks inside a run go into the words,
// because those between words vanish.
func encodeTokens(s string, needs func(string) bool) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	var b strings.Builder
	runStart, runEnd := -1, 0 // of the run in hand
	done := 0                 // s[:done] is written
	endRun := func() {
		if runStart >= 0 {
			b.WriteString(s[done:runStart])
			writeWords(&b, s[runStart:runEnd])
			runStart, done = -1, runEnd
		}
	}
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		end := i
		for end < len(s) && s[end] != ' ' && s[end] != '\t' {
			end++
		}
		switch {
		case !needs(s[i:end]):
			endRun()
		case runStart < 0:
			runStart, runEnd = i, end
		default:
			runEnd = end
		}
		i = end
	}
	endRun()
	b.WriteString(s[done:])
	return b.String()
}

// writeWords writes valid UTF-8 as encoded words with a space between them.
func writeWords(b *strings.Builder, s string) {
	const room = maxWord - len(utf8WordHead) - len("q??=")
	useB := 3*base64.StdEncoding.EncodedLen(len(s)) < 2*qWordLen(s) // Q can be read by people
	for first := true; s != ""; first = false {
		if !first {
			b.WriteByte(' ')
		}
		n := wordCut(s, room, useB)
		b.WriteString(utf8WordHead)
		if useB {
			b.WriteString("b?")
			b.WriteString(base64.StdEncoding.EncodeToString([]byte(s[:n])))
		} else {
			b.WriteString("q?")
			for i := 0; i < n; i++ {
				writeQ(b, s[i])
			}
		}
		b.WriteString("?=")
		s = s[n:]
	}
}

// wordCut is how many octets of s fit one word, whole characters only.
func wordCut(s string, room int, useB bool) int {
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		if (useB && base64.StdEncoding.EncodedLen(n+size) > room) || (!useB && qWordLen(s[:n+size]) > room) {
			break
		}
		n += size
	}
	return n
}

func qWordLen(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		n++
		if s[i] != ' ' && !isQSafe(s[i]) {
			n += 2
		}
	}
	return n
}

// isQSafe says which octets stand for themselves in the Q encoding, the phrase's rule for all contexts (RFC 2047 §5
// (3)).
func isQSafe(c byte) bool {
	return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || strings.IndexByte("!*+-/", c) >= 0
}

const hexDigits = "0123456789ABCDEF"

func writeQ(b *strings.Builder, c byte) {
	switch {
	case c == ' ':
		b.WriteByte('_')
	case isQSafe(c):
		b.WriteByte(c)
	default:
		b.WriteByte('=')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
}

func isHex(c byte) bool {
	return ('0' <= c && c <= '9') || ('a' <= c && c <= 'f') || ('A' <= c && c <= 'F')
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
