// Octets without a label: which charset they look like.
package main

import (
	"cmp"
	"strings"
	"unicode/utf8"
)

// guessCharset names the charset that octets without a label look like, such as a subject, the name of a file or a text
// that an old program wrote raw; "" when that is nothing known, and then windows-1252 is as good as any.
//
// It tells by where the common characters lie: Chinese, Korean and Japanese in rows of pairs from the first half of
// their tables, other languages by their letters (mime_letters.go). What is short may be wrong: two words of Chinese
// can be one of Russian.
func guessCharset(s string) string {
	pair, most := "", 0
	for _, c := range pairCharsets {
		if score := c.score(s); score > most {
			pair, most = c.name, score
		}
	}
	letters := bestAlphabet(s)
	mean := letters.mean()
	switch {
	case most > 300 && pair != "euc-kr": // kana
		return pair
	case pair == "" && mean > 0 && (!letters.alone || letters.octets > 2):
		return letters.charset
	case pair == "":
		return ""
	case letters.alone && mean >= alphabetSure && letters.octets > shortGuess:
		return letters.charset
	case letters.alone && mean >= alphabetSure+0.1 && letters.octets > 4 && (pair != "gb18030" || most < 300):
		return letters.charset
	case !letters.alone && mean >= alphabetSure && countLetters(s) > letters.octets:
		return letters.charset
	}
	return pair
}

// sniffCharset is the label of a text that begins with head, or a better one: a byte order mark counts more, as it does
// on the web; what is labelled utf-8 and has hardly a character of it, or is labelled otherwise and is nothing but UTF-8, was
// labelled by a program that did not know; and without a label the octets tell.
func sniffCharset(label string, head []byte) string {
	name := charsetName(label)
	if wide := wideCharset(name, head); wide != "" {
		return wide
	}
	if isWide(name) || isStateful(label) {
		return label
	}
	if name == "" {
		if escaped := escapedCharset(string(head)); escaped != "" {
			return escaped
		}
	}
	if isASCIIBytes(head) {
		return label
	}
	wrong, chars := countUTF8(head)
	switch {
	case wrong > 0 && name == "utf-8" && hasHalves(head): // Java and Oracle call it UTF-8
		return "cesu-8"
	case wrong == 0 && (name == "" || chars > 3):
		return "utf-8"
	case name == "" && chars > 2*wrong: // damaged
		return label
	case name == "", name == "utf-8" && wrong > chars:
		return cmp.Or(guessCharset(string(head)), label)
	}
	return label
}

// countUTF8 counts the octets that are no UTF-8, but for a character that is cut off at the end, and the characters of more
// than one octet.
func countUTF8(b []byte) (wrong, chars int) {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case n > 1:
			chars++
		case r == utf8.RuneError && utf8.FullRune(b):
			wrong++
		}
		b = b[n:]
	}
	return wrong, chars
}

// wideCharset finds UTF-16: by its byte order mark, or, where the label says UTF-16 without saying which, by where the
// zeros of ASCII are. "" is neither.
func wideCharset(name string, head []byte) string {
	mark := string(head[:min(len(head), 2)])
	if len(head) > 3 && head[2] == 0 && head[3] == 0 { // UTF-32
		return ""
	}
	switch {
	case (mark == "\xff\xfe" || mark == "\xfe\xff") && !strings.HasPrefix(name, "utf-32"):
		return "utf-16"
	case name != "utf-16" && name != "utf-16le":
		return ""
	}
	zeros := [2]int{}
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	switch {
	case zeros[0] > zeros[1]:
		return "utf-16be"
	case zeros[1] > zeros[0]:
		return "utf-16le"
	}
	return ""
}

// shortGuess is how many octets all of which are common in Chinese may be Russian by chance: then they are Chinese.
const shortGuess = 20

// alphabetSure is the mean mark of letters that makes pairs of them unlikely.
const alphabetSure = 0.6

// countLetters counts the ASCII letters.
func countLetters(s string) int {
	n := 0
	for i := range len(s) {
		if c := s[i] | 0x20; 'a' <= c && c <= 'z' {
			n++
		}
	}
	return n
}

// pairCharset is a charset of two octets, the first above 127.
type pairCharset struct {
	name  string
	pair  func(lead, trail byte) int // 3 a common character, 1 a rare one, 0 none that there is
	alone func(c byte) bool          // an octet above 127 that is a character of its own
}

func inRange(c, from, to byte) bool { return c >= from && c <= to }

func never(byte) bool { return false }

var pairCharsets = []pairCharset{
	{"gb18030", func(lead, trail byte) int {
		switch {
		case !inRange(trail, 0x40, 0xfe) || trail == 0x7f:
			return 0
		case inRange(lead, 0xb0, 0xd7) && trail >= 0xa1, lead == 0xa3 && trail >= 0xa1, lead == 0xa1 && inRange(trail, 0xa1, 0xbf):
			return 3
		case inRange(lead, 0x81, 0xfe):
			return 1
		}
		return 0
	}, never},
	{"big5", func(lead, trail byte) int {
		switch {
		case !inRange(trail, 0x40, 0x7e) && !inRange(trail, 0xa1, 0xfe):
			return 0
		case inRange(lead, 0xa4, 0xc6), lead == 0xa1:
			return 3
		case inRange(lead, 0xc9, 0xf9), inRange(lead, 0xa2, 0xa3):
			return 1
		}
		return 0
	}, never},
	{"euc-kr", func(lead, trail byte) int {
		switch {
		case !inRange(trail, 0xa1, 0xfe):
			return 0
		case inRange(lead, 0xb0, 0xc8):
			return 3
		case inRange(lead, 0xa1, 0xfd):
			return 1
		}
		return 0
	}, never},
	{"euc-jp", func(lead, trail byte) int {
		switch {
		case lead == 0x8e && inRange(trail, 0xa1, 0xdf):
			return 1
		case !inRange(trail, 0xa1, 0xfe):
			return 0
		case lead == 0xa4 && trail <= 0xf3, lead == 0xa5 && trail <= 0xf6:
			return 4 // kana, which no other language has there
		case inRange(lead, 0xb0, 0xcf):
			return 2
		case inRange(lead, 0xa1, 0xf4):
			return 1
		}
		return 0
	}, never},
	{"shift_jis", func(lead, trail byte) int {
		switch {
		case !inRange(trail, 0x40, 0xfc) || trail == 0x7f:
			return 0
		case lead == 0x82 && inRange(trail, 0x9f, 0xf1), lead == 0x83 && inRange(trail, 0x40, 0x96), lead == 0x81 && inRange(trail, 0x40, 0x7c):
			return 4
		case inRange(lead, 0x88, 0x97):
			return 3
		case inRange(lead, 0x81, 0x9f), inRange(lead, 0xe0, 0xea):
			return 1
		}
		return 0
	}, func(c byte) bool { return inRange(c, 0xa1, 0xdf) }},
}

// score is how well the octets fit: 0 when one of them cannot be, or most would be rare characters, or pairs of a
// letter of the West and one of ASCII.
func (c pairCharset) score(s string) int {
	sum, chars, high := 0, 0, 0
	for i := 0; i < len(s); i++ {
		if s[i] < 0x80 {
			continue
		}
		chars++
		if i+1 < len(s) {
			if n := c.pair(s[i], s[i+1]); n > 0 {
				sum += n
				i++
				if s[i] >= 0x80 {
					high++
				}
				continue
			}
		}
		if !c.alone(s[i]) {
			return 0
		}
		sum++
	}
	all := sum == 3*chars && c.name == "big5" // half of whose second octets are ASCII
	if sum <= 2*chars || chars < 2 || (2*high < chars && (!all || 4*high < chars)) {
		return 0
	}
	if c.name == "euc-kr" && sum == 3*chars && (chars > 5 || (chars > 2 && strings.IndexByte(s, ' ') > 0)) {
		return 301 // Chinese would not be in the first half of its own first half
	}
	return 100 * sum / chars
}
