// Octets of one octet each without a label: which alphabet and language their letters fit.
package main

import (
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/encoding"
)

// language is what people write in, for telling charsets apart.
type language struct {
	charsets []string // in which it is written, the most usual first
	common   string   // lower-case letters beyond ASCII that its texts are full of
	rare     string   // others that it has
	alone    bool     // its alphabet is not the Latin one
}

var languages = []language{
	{charsets: []string{"windows-1252"}, common: "éèàçêôùâî", rare: "ûëïœæÿüñá"},                             // French
	{charsets: []string{"windows-1252"}, common: "äöüß", rare: "éàèáç"},                                      // German
	{charsets: []string{"windows-1252"}, common: "áéíóúñ", rare: "üç¿¡ºª"},                                   // Spanish
	{charsets: []string{"windows-1252"}, common: "ãçáéíóõêú", rare: "âôàüºª"},                                // Portuguese
	{charsets: []string{"windows-1252"}, common: "àèéìòù", rare: "îóíáú"},                                    // Italian
	{charsets: []string{"windows-1252"}, common: "åäöøæ", rare: "éüèóàëï"},                                   // Swedish, Danish, Norwegian, Finnish, Dutch
	{charsets: []string{"iso-8859-2", "windows-1250", "ibm852"}, common: "ąćęłóśżńź", rare: "éöü"},           // Polish
	{charsets: []string{"iso-8859-2", "windows-1250", "ibm852"}, common: "áčěéířšýžůú", rare: "ďňťóľĺŕôäöü"}, // Czech, Slovak
	{charsets: []string{"iso-8859-2", "windows-1250", "ibm852"}, common: "áéíóöőúüű", rare: ""},              // Hungarian
	{charsets: []string{"iso-8859-2", "windows-1250"}, common: "čšžćđ", rare: "éáíóú"},                       // Croatian, Slovene, Bosnian
	{charsets: []string{"iso-8859-2", "windows-1250"}, common: "ăâîşţșț", rare: "é"},                         // Romanian
	{charsets: []string{"windows-1254"}, common: "ığşçöü", rare: "âîû"},                                      // Turkish
	{charsets: []string{"windows-1252"}, common: "áðéíóúýþæö", rare: ""},                                     // Icelandic
	{charsets: []string{"windows-1257", "iso-8859-4"}, common: "āčēģīķļņšūž", rare: "ōŗėęįųąõäöü"},           // Latvian, Lithuanian, Estonian
	{charsets: []string{"windows-1251", "koi8-r", "iso-8859-5", "ibm866", "x-mac-cyrillic"}, common: "оеаинтсрвлкмдпуяыь", rare: "гзбчйхжшюцщэфъё", alone: true},
	{charsets: []string{"windows-1251", "koi8-u", "iso-8859-5"}, common: "оаинтвесрілкдумпя", rare: "зьбгйчхжцїюєфшщґ", alone: true},
	{charsets: []string{"windows-1253", "iso-8859-7"}, common: "αοιετσνηυρπκμλςωάίόέή", rare: "γδχθφύβώξζψϊϋΐΰ", alone: true},
	{charsets: []string{"windows-1255", "iso-8859-8"}, common: "יוהלאתמרבשנםע", rare: "דחכקפצגזסטךןףץ", alone: true},
	{charsets: []string{"windows-1256", "iso-8859-6"}, common: "اليمنرتوبعةدسفهك", rare: "أإآقحجشصضطثخذزظغءىئؤ،؟", alone: true},
	{charsets: []string{"windows-874"}, common: "านรอกเงมยลวดทสต", rare: "ะปบคหแจพชขใไโผถธฐณศษซฉญภฟฝฮำิีึืุู็่้๊๋์ๆฯฎฏฑฒฬฆั๐๑๒๓๔๕๖๗๘๙", alone: true},
}

// neutralSigns stand between letters in any language.
const neutralSigns = "\u00a0“”„‘’‚«»‹›–—…•·°§€£©®™×±½¼¹²³№"

// finalLetters stand at the end of a word.
const finalLetters = "ςךםןףץ"

// letterScore is how the octets fit a language in a charset.
type letterScore struct {
	charset string
	alone   bool
	sum     float64 // of marks, from -2 to 1 for each octet
	letters int     // octets above 127 that are its letters
	octets  int     // octets above 127 that are no neutral signs
}

func (s letterScore) mean() float64 { return s.sum / float64(max(s.octets, 1)) }

// alphabets are the upper halves of the charsets of languages, and the mark of each octet for each language.
var alphabets = sync.OnceValue(func() (all []alphabet) {
	for _, l := range languages {
		marks := map[rune]float64{}
		for _, r := range l.rare {
			marks[r] = 0.5
		}
		for _, r := range l.common {
			marks[r] = 1
		}
		for _, r := range neutralSigns {
			marks[r] = 0
		}
		for i, name := range l.charsets {
			a := alphabet{charset: name, alone: l.alone, less: float64(i) * 0.01}
			for c := range a.upper {
				r := upperHalf(name, byte(c+128))
				mark, ok := marks[unicode.ToLower(r)]
				switch {
				case ok && mark == 0:
					a.neutral[c] = true
				case !ok:
					mark = -2
				}
				a.upper[c], a.marks[c] = r, mark
			}
			all = append(all, a)
		}
	}
	return all
})

type alphabet struct {
	charset string
	alone   bool
	less    float64 // what it has to be better by than a more usual charset
	upper   [128]rune
	marks   [128]float64
	neutral [128]bool
}

// upperHalf is the character that an octet above 127 is in a charset.
func upperHalf(name string, c byte) rune {
	if page := codePages[name]; page != nil {
		return page[c-128]
	}
	b, err := charsetEncoding(name).NewDecoder().Bytes([]byte{c})
	for _, r := range string(b) {
		if err == nil {
			return r
		}
	}
	return encoding.ASCIISub
}

// fits scores the octets of s as a text of this alphabet. Words have one alphabet, and capitals in front or everywhere.
func (a *alphabet) fits(s string) letterScore {
	score := letterScore{charset: a.charset, alone: a.alone}
	before, small, big := rune(0), 0, 0 // before is of the same word
	for i := range len(s) {
		c := s[i]
		if c < 0x80 {
			latin := ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z')
			if latin && a.alone && before >= 0x80 {
				score.sum -= 0.5
			}
			if latin && !a.alone && 'A' <= c && c <= 'Z' && before >= 0x80 && unicode.IsLower(before) {
				score.sum -= 0.5
			}
			before = 0
			if latin {
				before = rune(c)
			}
			continue
		}
		if a.neutral[c-128] {
			before = 0
			continue
		}
		r := a.upper[c-128]
		mark := a.marks[c-128]
		switch {
		case mark > 0 && a.alone && before != 0 && before < 0x80: // behind a Latin letter
			mark = -0.5
		case mark > 0 && unicode.IsUpper(r) && unicode.IsLower(before):
			mark = -1
		case mark > 0 && unicode.Is(unicode.Mn, r) && before < 0x80: // a vowel or tone of Thai above nothing
			mark = -2
		case mark > 0 && i+1 < len(s) && s[i+1] >= 0x80 && !a.neutral[s[i+1]-128] && strings.ContainsRune(finalLetters, r):
			mark = -1
		case mark < 0 && unicode.IsLetter(r):
			mark = -1
		}
		if unicode.IsUpper(r) {
			big++
		} else if unicode.IsLower(r) {
			small++
		}
		score.octets++
		score.sum += mark
		if mark > 0 {
			score.letters++
		}
		before = r
	}
	if a.alone && big > 0 && small == 0 { // rather another alphabet, without capitals
		score.sum *= 0.7
	}
	score.sum -= a.less * float64(score.octets)
	return score
}

// bestAlphabet is the charset of one octet a character, and the language, that the octets fit best.
func bestAlphabet(s string) letterScore {
	var best letterScore
	all := alphabets()
	for i := range all {
		if score := all[i].fits(s); i == 0 || score.sum > best.sum {
			best = score
		}
	}
	return best
}
