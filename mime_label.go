// Charset labels: what mailers write, and which charset it means.
package main

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// maxCharsetLabel is the longest charset name looked up; IANA's longest has 45 octets.
const maxCharsetLabel = 64

// asciiLabels say nothing about octets above 127, or nothing at all.
var asciiLabels = map[string]bool{"us-ascii": true, "ascii": true}

// charsetAliases has labels as squeezeLabel leaves them and the charset that they mean. It is looked at first where the
// Encoding standard of the web, whose index comes next, does not know the label or means something else. GB 2312 and
// GBK are read as GB 18030, which holds both.
var charsetAliases = func() map[string]string {
	all := map[string]string{}
	for name, labels := range map[string]string{
		"utf-8": "utf8 utf8mb3 utf8mb4 utf8mac utf8hfs utf8n utf8bom utf8sig unicode11utf8 unicodeutf8 cp65001 " +
			"al32utf8 utf8utf8",
		"cesu-8":   "cesu8",
		"johab":    "johab cp1361 ksc56011992johab ksx1001johab",
		"utf-7":    "utf7 unicode11utf7 unicode20utf7 cp65000",
		"utf-16":   "utf16 unicode ucs2 iso10646 iso10646ucs2 csunicode",
		"utf-16le": "ucs2le cp1200",
		"utf-16be": "ucs2be cp1201",
		"utf-32":   "utf32 ucs4 iso10646ucs4",
		"utf-32be": "utf32be ucs4be",
		"utf-32le": "utf32le ucs4le",
		"gb18030": "gb2312 gb231280 gb23121980 gb gbk gb18030 gb180302000 gb180302005 gb180302022 cngb cngb12345 " +
			"euccn chinese simplifiedchinese gbk2312 gb12345 cp936 cp1386 cp20936 cp51936 cp54936 isoir58 zhcn",
		"hz-gb-2312": "hz hzgb hzgb2312 cp52936",
		"big5": "big5 big5hkscs big5hkscs2004 big5eten big5et cnbig5 xbig5 eten cp950 cp951 chinesebig5 " +
			"traditionalchinese big5tw big5uao zhtw",
		"shift_jis": "shiftjis sjis sjiswin sjisopen sjismac mssjis mskanji cp932 cp943 cp31j shiftjis2004 " +
			"shiftjisx0213 pck",
		"euc-jp": "eucjp eucjpwin eucjpms eucjis2004 cp51932 cp20932 ujis eucjpopen",
		"iso-2022-jp": "jis jis7 iso2022jp iso2022jp1 iso2022jp2 iso2022jp3 iso2022jp2004 iso2022jpms cp50220 " +
			"cp50221 cp50222 jisencoding",
		"euc-kr": "ksc5601 ksc56011987 ksc56011989 ksc56011992 ksx1001 euckr uhc korean cp949 cp51949 cp1363 " +
			"isoir149",
		"iso-2022-kr":      "iso2022kr cp50225",
		"iso-2022-cn":      "iso2022cn iso2022cnext cp50227",
		"x-mac-ce":         "macce maccentraleurope maccentraleuropean maccentraleurroman cp10029",
		"x-mac-greek":      "macgreek cp10006",
		"x-mac-turkish":    "macturkish cp10081",
		"x-mac-croatian":   "maccroatian cp10082",
		"x-mac-romanian":   "macromanian macromania cp10010",
		"x-mac-icelandic":  "maciceland macicelandic cp10079",
		"viscii":           "viscii viscii11 viscii111 csviscii",
		"tcvn5712-1":       "tcvn tcvn5712 tcvn57121 tcvn571211993",
		"armscii-8":        "armscii8 armscii",
		"koi8-t":           "koi8t",
		"ptcp154":          "ptcp154 pt154 cp154 cyrillicasian",
		"georgian-ps":      "georgianps",
		"georgian-academy": "georgianacademy",
		"windows-1252":     "latin1 l1 ansi msansi western cp819",
		"windows-1250":     "msee",
		"windows-1251":     "mscyrl",
		"windows-1253":     "msgreek",
		"windows-1254":     "msturk latin5 turkish",
		"windows-1255":     "mshebr",
		"windows-1256":     "msarab",
		"windows-1257":     "winbaltrim msbaltic",
		"windows-874":      "tis620 tis6202533 iso885911",
		"koi8-r":           "koi8 koi8r koi cp20866 cp878",
		"koi8-u":           "koi8u koi8ru cp21866",
		"macintosh":        "mac macroman macintosh cp10000 applemacintosh macosroman",
		"x-mac-cyrillic":   "maccyrillic macukrainian macukraine cp10007 cp10017",
		"iso-8859-8-i":     "iso88598i logical",
		"iso-8859-8":       "iso88598e visual hebrew",
		"iso-8859-2":       "latin2",
		"iso-8859-3":       "latin3",
		"iso-8859-4":       "latin4",
		"iso-8859-10":      "latin6",
		"iso-8859-13":      "latin7",
		"iso-8859-14":      "latin8",
		"iso-8859-15":      "latin9 latin0",
		"iso-8859-16":      "latin10",
		"iso-8859-5":       "cyrillic",
		"iso-8859-6":       "arabic",
		"iso-8859-7":       "greek greek8",
	} {
		for _, label := range strings.Fields(labels) {
			all[label] = name
		}
	}
	return all
}()

// vendorPrefixes stand before the number of a code page.
var vendorPrefixes = []string{"windows", "win", "microsoftcp", "mswin", "mscp", "ms", "ibm", "codepage", "ansi", "dos", "oem", "cp"}

// cleanLabel undoes what mailers do to charset names: case, quotes, blanks, the word charset, what stands behind them.
func cleanLabel(label string) string {
	label = strings.ToLower(strings.Trim(label, " \t'\"<>;,\\"))
	label = strings.TrimLeft(strings.TrimPrefix(label, "charset="), " '\"")
	if i := strings.IndexAny(label, " \t;,'\""); i >= 0 {
		label = label[:i]
	}
	if len(label) > maxCharsetLabel {
		return ""
	}
	return label
}

// squeezeLabel leaves only letters and digits of a cleaned label.
func squeezeLabel(label string) string {
	return strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return -1
	}, label)
}

// codePage makes "cp" of every vendor's word for a code page.
func codePage(s string) string {
	for _, prefix := range vendorPrefixes {
		if page, ok := strings.CutPrefix(s, prefix); ok && page != "" && (page[0] >= '0' && page[0] <= '9') {
			return "cp" + page
		}
	}
	return s
}

// charsetName finds the charset that a label means: its name in the Encoding standard or at IANA, in lower case. "" is
// unknown, or a label that says nothing.
//
// The web's index comes before IANA's, because it maps each label to the superset that mailers really write: iso-8859-1
// to windows-1252, and so on.
func charsetName(label string) string {
	label = cleanLabel(label)
	switch label {
	case "", "us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us", "unknown-8bit", "x-unknown", "8bit", "binary", "x-user-defined":
		return ""
	case "utf-8": // nearly always
		return label
	}
	squeezed := squeezeLabel(label)
	for _, s := range []string{squeezed, strings.TrimPrefix(squeezed, "x"), strings.TrimPrefix(squeezed, "cs")} {
		s = codePage(s)
		if name := charsetAliases[s]; name != "" {
			return name
		}
		if name := pageName(s); name != "" {
			return name
		}
	}
	if e, err := htmlindex.Get(label); err == nil {
		if name, err := htmlindex.Name(e); err == nil && name != "replacement" {
			return name
		}
		return ""
	}
	if e, err := ianaindex.MIME.Encoding(label); err == nil && e != nil {
		return label
	}
	if e, err := ianaindex.IANA.Encoding(label); err == nil && e != nil {
		return label
	}
	return ""
}

// pageName is the charset of a squeezed label that ends in a number: a code page of Windows or DOS, or a part of ISO 8859.
func pageName(squeezed string) string {
	for _, prefix := range []string{"iso8859", "8859", "cp2859"} {
		if part := strings.TrimPrefix(squeezed, prefix); part != squeezed && part != "" {
			if len(part) > 1 {
				part = strings.TrimLeft(part, "0")
			}
			return isoParts[part]
		}
	}
	if page, ok := strings.CutPrefix(squeezed, "cp"); ok {
		return pages[page]
	}
	return ""
}

// isoParts are the parts of ISO 8859, in the supersets that the web reads for them.
var isoParts = map[string]string{
	"1": "windows-1252", "2": "iso-8859-2", "3": "iso-8859-3", "4": "iso-8859-4", "5": "iso-8859-5", "6": "iso-8859-6", "7": "iso-8859-7",
	"8": "iso-8859-8", "9": "windows-1254", "10": "iso-8859-10", "11": "windows-874", "13": "iso-8859-13", "14": "iso-8859-14",
	"15": "iso-8859-15", "16": "iso-8859-16",
}

// pages are the code pages of Windows and DOS; those of East Asia are among charsetAliases.
var pages = map[string]string{
	"874": "windows-874", "1250": "windows-1250", "1251": "windows-1251", "1252": "windows-1252", "1253": "windows-1253",
	"1254": "windows-1254", "1255": "windows-1255", "1256": "windows-1256", "1257": "windows-1257", "1258": "windows-1258",
	"866": "ibm866", "437": "ibm437", "850": "ibm850", "852": "ibm852", "855": "ibm855", "858": "ibm00858", "860": "ibm860",
	"862": "ibm862", "737": "ibm737", "775": "ibm775", "857": "ibm857", "861": "ibm861", "864": "ibm864", "869": "ibm869",
	"863": "ibm863", "865": "ibm865", "37": "ibm037", "1047": "ibm1047", "1140": "ibm01140",
}

// charsetEncoding is the encoding of a charset that charsetName gave, but for those that charsetDecoder does itself.
func charsetEncoding(name string) encoding.Encoding {
	switch name {
	case "utf-8":
		return unicode.UTF8BOM
	case "hz-gb-2312": // which the web has given up
		return simplifiedchinese.HZGB2312
	case "utf-16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "utf-32":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	case "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)
	}
	if e, err := htmlindex.Get(name); err == nil {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e
	}
	if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
		return e
	}
	return unicode.UTF8
}
