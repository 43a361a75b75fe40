// Octets without a label: which charset they look like.
package main

// guessCharset names the charset that a short text of octets without a label looks like, such as a subject or the name
// of a file that an old program wrote raw; "" when that is nothing known, and then windows-1252 is as good as any.
//
// It tells by where the common characters lie: Chinese, Korean and Japanese in rows of pairs from the first half of
// their tables, Russian in rows of letters. The letters of the West stand alone among ASCII.
func guessCharset(s string) string {
	best, most := "", 0
	for _, c := range pairCharsets {
		if score := c.score(s); score > most {
			best, most = c.name, score
		}
	}
	short := best == "gb18030" && most == 300 && len(s) <= shortGuess // for which Russian is as likely by its octets
	switch {
	case looksCP1251(s):
		return "windows-1251"
	case !short && looksKOI8(s):
		return "koi8-r"
	}
	return best
}

// shortGuess is how many octets all of which are common in Chinese may be Russian by chance: then they are Chinese.
const shortGuess = 20

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
	if sum <= 2*chars || chars < 2 || 2*high < chars {
		return 0
	}
	return 100 * sum / chars
}

// looksRussian says whether the octets are words of Cyrillic letters: long rows, capital letters in front or everywhere.
func looksRussian(s string, lower, upper func(c byte) bool) bool {
	longest, small := 0, false
	for i := 0; i < len(s); i++ {
		start, lowers := i, 0
		for ; i < len(s) && s[i] >= 0x80; i++ {
			switch {
			case lower(s[i]):
				lowers++
			case upper(s[i]) && lowers == 0:
			default:
				return false
			}
		}
		if lowers > 0 && i-start-lowers > 1 { // a word in both, and more than the first letter is a capital
			return false
		}
		longest, small = max(longest, i-start), small || lowers > 0
	}
	return longest >= 4 && small
}

func looksKOI8(s string) bool {
	lower := func(c byte) bool { return inRange(c, 0xc0, 0xdf) || c == 0xa3 }
	upper := func(c byte) bool { return inRange(c, 0xe0, 0xff) || c == 0xb3 }
	return looksRussian(s, lower, upper)
}

func looksCP1251(s string) bool {
	lower := func(c byte) bool { return inRange(c, 0xe0, 0xff) || c == 0xb8 }
	upper := func(c byte) bool { return inRange(c, 0xc0, 0xdf) || c == 0xa8 }
	return looksRussian(s, lower, upper)
}
