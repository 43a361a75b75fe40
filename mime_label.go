// Charset labels: what mailers write, and which charset it means.
package main

import (
	"strconv"
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
// Encoding standard of the web, whose index comes next, does not know the label or means something else. GB 2312 and GBK
// are read as GB 18030, which holds both.
var charsetAliases = map[string]string{
	"utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8", "utf8mac": "utf-8", "utf8hfs": "utf-8", "utf8n": "utf-8", "utf8bom": "utf-8",
	"utf8sig": "utf-8", "unicode11utf8": "utf-8", "unicodeutf8": "utf-8", "cp65001": "utf-8", "al32utf8": "utf-8",
	"utf7": "utf-7", "unicode11utf7": "utf-7", "unicode20utf7": "utf-7", "cp65000": "utf-7",
	"utf16": "utf-16", "unicode": "utf-16", "ucs2": "utf-16", "iso10646": "utf-16", "iso10646ucs2": "utf-16", "csunicode": "utf-16",
	"ucs2le": "utf-16le", "ucs2be": "utf-16be", "cp1200": "utf-16le", "cp1201": "utf-16be",
	"utf32": "utf-32", "ucs4": "utf-32", "iso10646ucs4": "utf-32", "utf32be": "utf-32be", "utf32le": "utf-32le", "ucs4be": "utf-32be", "ucs4le": "utf-32le",

	"gb2312": "gb18030", "gb231280": "gb18030", "gb23121980": "gb18030", "gb": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "gb180302000": "gb18030",
	"gb180302005": "gb18030", "gb180302022": "gb18030", "cngb": "gb18030", "cngb12345": "gb18030", "euccn": "gb18030", "chinese": "gb18030", "simplifiedchinese": "gb18030",
	"cp936": "gb18030", "cp1386": "gb18030", "cp20936": "gb18030", "cp51936": "gb18030", "cp54936": "gb18030", "isoir58": "gb18030", "zhcn": "gb18030",
	"hz": "hz-gb-2312", "hzgb": "hz-gb-2312", "hzgb2312": "hz-gb-2312", "cp52936": "hz-gb-2312",
	"big5": "big5", "big5hkscs": "big5", "big5hkscs2004": "big5", "big5eten": "big5", "big5et": "big5", "cnbig5": "big5", "xbig5": "big5", "eten": "big5", "cp950": "big5",
	"cp951": "big5", "chinesebig5": "big5", "traditionalchinese": "big5", "big5tw": "big5", "big5uao": "big5", "zhtw": "big5",

	"shiftjis": "shift_jis", "sjis": "shift_jis", "sjiswin": "shift_jis", "sjisopen": "shift_jis", "sjismac": "shift_jis", "mssjis": "shift_jis", "mskanji": "shift_jis",
	"cp932": "shift_jis", "cp943": "shift_jis", "cp31j": "shift_jis", "shiftjis2004": "shift_jis", "shiftjisx0213": "shift_jis", "pck": "shift_jis",
	"eucjp": "euc-jp", "eucjpwin": "euc-jp", "eucjpms": "euc-jp", "eucjis2004": "euc-jp", "cp51932": "euc-jp", "cp20932": "euc-jp", "ujis": "euc-jp", "eucjpopen": "euc-jp",
	"jis": "iso-2022-jp", "jis7": "iso-2022-jp", "iso2022jp": "iso-2022-jp", "iso2022jp1": "iso-2022-jp", "iso2022jp2": "iso-2022-jp", "iso2022jp3": "iso-2022-jp",
	"iso2022jp2004": "iso-2022-jp", "iso2022jpms": "iso-2022-jp", "cp50220": "iso-2022-jp", "cp50221": "iso-2022-jp", "cp50222": "iso-2022-jp", "jisencoding": "iso-2022-jp",
	"ksc5601": "euc-kr", "ksc56011987": "euc-kr", "ksc56011989": "euc-kr", "ksc56011992": "euc-kr", "ksx1001": "euc-kr", "euckr": "euc-kr", "uhc": "euc-kr", "korean": "euc-kr",
	"cp949": "euc-kr", "cp51949": "euc-kr", "cp1363": "euc-kr", "isoir149": "euc-kr", "iso2022kr": "iso-2022-kr", "cp50225": "iso-2022-kr",

	"latin1": "windows-1252", "l1": "windows-1252", "ansi": "windows-1252", "msansi": "windows-1252", "western": "windows-1252", "cp819": "windows-1252",
	"msee": "windows-1250", "mscyrl": "windows-1251", "msgreek": "windows-1253", "msturk": "windows-1254", "mshebr": "windows-1255", "msarab": "windows-1256",
	"winbaltrim": "windows-1257", "msbaltic": "windows-1257", "tis620": "windows-874", "tis6202533": "windows-874", "iso885911": "windows-874",
	"koi8": "koi8-r", "koi8r": "koi8-r", "koi": "koi8-r", "cp20866": "koi8-r", "cp878": "koi8-r", "koi8u": "koi8-u", "koi8ru": "koi8-u", "cp21866": "koi8-u",
	"mac": "macintosh", "macroman": "macintosh", "macintosh": "macintosh", "cp10000": "macintosh", "applemacintosh": "macintosh", "macosroman": "macintosh",
	"maccyrillic": "x-mac-cyrillic", "macukrainian": "x-mac-cyrillic", "macukraine": "x-mac-cyrillic", "cp10007": "x-mac-cyrillic", "cp10017": "x-mac-cyrillic",
	"iso88598i": "iso-8859-8-i", "iso88598e": "iso-8859-8", "logical": "iso-8859-8-i", "visual": "iso-8859-8",
	"latin2": "iso-8859-2", "latin3": "iso-8859-3", "latin4": "iso-8859-4", "latin5": "windows-1254", "latin6": "iso-8859-10", "latin7": "iso-8859-13",
	"latin8": "iso-8859-14", "latin9": "iso-8859-15", "latin0": "iso-8859-15", "latin10": "iso-8859-16",
	"cyrillic": "iso-8859-5", "arabic": "iso-8859-6", "greek": "iso-8859-7", "greek8": "iso-8859-7", "hebrew": "iso-8859-8", "turkish": "windows-1254",
}

// vendorPrefixes stand before the number of a code page.
var vendorPrefixes = []string{"windows", "win", "microsoftcp", "mswin", "mscp", "ms", "ibm", "codepage", "ansi", "dos", "oem", "cp"}

// cleanLabel undoes what mailers do to charset names: case, quotes, blanks, the word charset, what stands behind them.
func cleanLabel(label string) string {
	label = strings.ToLower(strings.Trim(label, " \t'\"<>;,"))
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
// The web's index comes before IANA's, because it maps each label to the superset that mailers really write: iso-8859-1 to
// windows-1252, and so on.
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
	for _, prefix := range []string{"iso8859", "8859", "cp2859", "cp"} {
		digits, ok := strings.CutPrefix(squeezed, prefix)
		n, err := strconv.Atoi(digits)
		if !ok || err != nil {
			continue
		}
		switch {
		case prefix == "cp" && ((n >= 1250 && n <= 1258) || n == 874):
			return "windows-" + digits
		case prefix == "cp" && n == 866:
			return "ibm866"
		case prefix != "cp" && n == 1:
			return "windows-1252"
		case prefix != "cp" && n == 9:
			return "windows-1254"
		case prefix != "cp" && n >= 2 && n <= 16 && n != 11 && n != 12:
			return "iso-8859-" + strconv.Itoa(n)
		}
	}
	return ""
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
