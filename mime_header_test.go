package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

func TestParseHeader(t *testing.T) {
	h := ParseHeader([]byte("From ann Mon Jan  1\r\nSubject: one\r\n two\r\n\tthree\r\nX-Empty:\r\nTo : a\nto: b\r\njunk\r\nBad name: x\r\n" +
		"X-CR: a\rb\r\r\nX-NUL: a\x00b\r\n  \r\nLast: x\r\n\r\nNot-A-Field: y\r\n"))
	want := Header{{"Subject", " one\r\n two\r\n\tthree"}, {"X-Empty", ""}, {"To", " a"}, {"to", " b"},
		{"X-CR", " a\rb"}, {"X-NUL", " a\x00b\r\n  "}, {"Last", " x"}}
	if !reflect.DeepEqual(h, want) {
		t.Fatalf("%q", h)
	}
	for name, want := range map[string]string{"subject": "one two\tthree", "x-empty": "", "TO": "a", "X-CR": "ab", "X-NUL": "ab", "none": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("Get(%s) = %q", name, got)
		}
	}
	if got := h.All("to"); !reflect.DeepEqual(got, []string{"a", "b"}) || h.All("none") != nil {
		t.Errorf("All = %q", got)
	}
	if !h.Has("x-EMPTY") || h.Has("none") {
		t.Error("Has")
	}
	if n := len(ParseHeader([]byte(strings.Repeat("a:\n", maxHeaderFields+5)))); n != maxHeaderFields {
		t.Errorf("%d fields", n)
	}
}

// TestHeaderText looks at raw 8-bit text, for which the block's own charset is a hint.
func TestHeaderText(t *testing.T) {
	gbk := "Subject: \xc4\xe3\xba\xc3\r\nContent-Type: text/plain; charset=gb2312\r\n\r\n"
	for block, want := range map[string]string{
		gbk:                                 "你好",
		"Subject: caf\xe9\r\n":              "café",
		"Subject: caf\xc3\xa9\r\n":          "café",
		"Subject: caf\xc3\r\n":              "cafÃ",
		"Subject: =?utf-8?q?=0D=0ABcc:?= x": "  Bcc: x",
		"Subject: a\tb\r\n":                 "a b",
		"Subject: \xc4\xe3\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n": "Äã",
	} {
		if got := ParseHeader([]byte(block)).Text("Subject"); got != want {
			t.Errorf("%q: %q", block, got)
		}
	}
	if e := ParseEnvelope(ParseHeader([]byte(gbk))); e.Subject != "你好" {
		t.Errorf("envelope subject %q", e.Subject)
	}
}

func TestDecodeWords(t *testing.T) {
	for in, want := range map[string]string{
		// RFC 2047 §8
		"(=?ISO-8859-1?Q?a?=)":                                    "(a)",
		"(=?ISO-8859-1?Q?a?= b)":                                  "(a b)",
		"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)":                 "(ab)",
		"(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)":                "(ab)",
		"(=?ISO-8859-1?Q?a_b?=)":                                  "(a b)",
		"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)":                "(a b)",
		"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>":           "Keith Moore <moore@cs.utk.edu>",
		"=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?= <paf@nada.kth.se>": "Patrik Fältström <paf@nada.kth.se>",
		"=?iso-8859-8?b?7eXs+SDv4SDs8eg=?=":                       "םולש ןב לסט",
		"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\t=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=": "If you can read this you understand the example.",
		// RFC 2231 §5
		"=?US-ASCII*EN?Q?Keith_Moore?=": "Keith Moore",
		// what mailers do
		"=?UTF-8?B?5L2g5aU=?= =?UTF-8?B?vQ==?=":         "你好", // cut inside a character
		"=?UTF-8?B?5L2g5aU=?= =?UTF-8?Q?=BD?=":          "你好",
		"=?gbk?B?xA==?= =?GBK?B?4w==?=":                 "你",
		"=?UTF-8?B?5L2g5aW9?=foo=?UTF-8?B?5L2g?=":       "你好foo你",
		"\"=?UTF-8?Q?a=2C?= b\"":                        "\"a, b\"",
		"=?utf-8?Q?a b?=":                               "a b",
		"=?utf-8?Q?who??=":                              "who?",
		"=?utf-8?B?YWI?=":                               "ab", // no padding
		"=?utf-8?B?YW I=?=":                             "ab",
		"=?utf-8?Q?=zz=4?=":                             "=zz=4",
		"=?x-unknown?Q?caf=E9_=C3=A9?=":                 "café é",
		"=?us-ascii?Q?=E9?=":                            "é",
		"=?utf-8?Q?=FF?=":                               "ÿ",
		"=?utf-8?Q??=":                                  "",
		"a =?utf-8?q?b?= c =?utf-8?q?d?= =?utf-8?q?e?=": "a b c de",
		// cut inside a group of base64, or a character
		"=?utf-8?B?5Lit5paH6Y?= =?utf-8?B?Ku5Lu2?=":                         "中文邮件",
		"=?utf-8?B?5Lit5paH6YKu5L?= =?utf-8?B?u2?=":                         "中文邮件",
		"=?utf-8?B?5Lit5paH6?= =?utf-8?B?YKu5Lu2?=":                         "中文邮件",
		"=?utf-8?B?5Lit5p?= =?UTF-8?B?aH6YKu?= =?utf8?B?5Lu2?=":             "中文邮件",
		"=?gbk?B?1tDO?= =?cp936?B?xNPKvP4=?=":                               "中文邮件",
		"=?gb2312?Q?=D6?= =?gb2312?B?0M7E08q8/g==?=":                        "中文邮件",
		"=?iso-8859-1?B?RnL2c2?= =?iso-8859-1?B?No?=":                       "Frösch",
		"=?utf-8?B?YWI?= =?utf-8?B?Y2Q?=":                                   "abcd", // no padding, and nothing is cut
		"=?utf-8?B?YQ?= =?utf-8?B?Yg==?=":                                   "ab",
		"=?utf-8?B?5L2g?= =?utf-8?Q?=E5=A5?= =?utf-8?B?vQ==?=":              "你好",
		"=?ISO-2022-JP?B?GyRCJDMkcyRLJEEk?= =?ISO-2022-JP?B?T0AkMyYbKEI=?=": "こんにちは世界",
		// raw octets in a word
		"=?iso-8859-1?Q?Die_Fr\xf6sche?=":       "Die Frösche",
		"=?iso-8859-1?Q?Die_Fr\xc3\xb6sche?=":   "Die Frösche",
		"=?utf-8?Q?Die_Fr\xc3\xb6sche?=":        "Die Frösche",
		"=?gb2312?Q?\xd6\xd0=CE=C4?=":           "中文",
		"=?koi8-r?q?\xf0\xd2\xc9\xd7\xc5\xd4?=": "Привет",
		"=?windows-1251?q?=CF\xf0=E8\xe2?=":     "Прив",
		"=?utf-8?B?5L2g\xc3\xa95aW9?=":          "你好",
		// no words
		"=?utf-8?Q?never closed": "=?utf-8?Q?never closed",
		"=?utf-8?X?a?=":          "=?utf-8?X?a?=",
		"=?utf 8?Q?a?=":          "=?utf 8?Q?a?=",
		"=??Q?a?=":               "=??Q?a?=",
		"=?=?utf-8?q?a?=":        "=?a",
		"=?a?q?=?b?q?c?=":        "=?a?q?c",
		"2 + 2 =? 4":             "2 + 2 =? 4",
		"=?":                     "=?",
		"":                       "",
	} {
		if got := DecodeWords(in); got != want {
			t.Errorf("DecodeWords(%q) = %q, want %q", in, got, want)
		}
	}
}

// charsetWords are encoded words made by another program.
var charsetWords = map[string]string{
	`=?GBK?B?6Ua7+aOsxOO6ww==?=`:                                     "镕基，你好",
	`=?GBK?Q?=E9F=BB=F9=A3=AC=C4=E3=BA=C3?=`:                         "镕基，你好",
	`=?gb2312?B?1uzpRrv5?=`:                                          "朱镕基",
	`=?gb2312?Q?=D6=EC=E9F=BB=F9?=`:                                  "朱镕基",
	`=?GB18030?B?xOO6w5UygjY=?=`:                                     "你好𠀀",
	`=?GB18030?Q?=C4=E3=BA=C3=952=826?=`:                             "你好𠀀",
	`=?hz-gb-2312?B?fntEYzpDfn0=?=`:                                  "你好",
	`=?hz-gb-2312?Q?=7E=7BDc=3AC=7E=7D?=`:                            "你好",
	`=?Big5?B?wWPF6aSkpOU=?=`:                                        "繁體中文",
	`=?Big5?Q?=C1c=C5=E9=A4=A4=A4=E5?=`:                              "繁體中文",
	`=?Big5-HKSCS?B?rbu05A==?=`:                                      "香港",
	`=?Big5-HKSCS?Q?=AD=BB=B4=E4?=`:                                  "香港",
	`=?ISO-2022-JP?B?GyRCJDMkcyRLJEEkT0AkMyYbKEI=?=`:                 "こんにちは世界",
	`=?ISO-2022-JP?Q?=1B=24B=243=24s=24K=24A=24O=40=243=26=1B=28B?=`: "こんにちは世界",
	`=?Shift_JIS?B?k/qWe4zq?=`:                                       "日本語",
	`=?Shift_JIS?Q?=93=FA=96=7B=8C=EA?=`:                             "日本語",
	`=?EUC-JP?B?xvzL3A==?=`:                                          "日本",
	`=?EUC-JP?Q?=C6=FC=CB=DC?=`:                                      "日本",
	`=?EUC-KR?B?vsiz58fPvLy/5A==?=`:                                  "안녕하세요",
	`=?EUC-KR?Q?=BE=C8=B3=E7=C7=CF=BC=BC=BF=E4?=`:                    "안녕하세요",
	`=?ks_c_5601-1987?B?x9GxuQ==?=`:                                  "한국",
	`=?ks_c_5601-1987?Q?=C7=D1=B1=B9?=`:                              "한국",
	`=?ISO-2022-KR?B?GyQpQw4+SDNnDw==?=`:                             "안녕",
	`=?ISO-2022-KR?Q?=1B=24=29C=0E=3EH3g=0F?=`:                       "안녕",
	`=?KOI8-R?B?8NLJ18XULCDNydI=?=`:                                  "Привет, мир",
	`=?KOI8-R?Q?=F0=D2=C9=D7=C5=D4=2C_=CD=C9=D2?=`:                   "Привет, мир",
	`=?KOI8-U?B?p9bByw==?=`:                                          "їжак",
	`=?KOI8-U?Q?=A7=D6=C1=CB?=`:                                      "їжак",
	`=?windows-1250?B?jmx1nW916Gv9?=`:                                "Žluťoučký",
	`=?windows-1250?Q?=8Elu=9Dou=E8k=FD?=`:                           "Žluťoučký",
	`=?windows-1251?B?z/Do4uXy?=`:                                    "Привет",
	`=?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=`:                          "Привет",
	`=?cp1251?B?7Ojw?=`:                                              "мир",
	`=?cp1251?Q?=EC=E8=F0?=`:                                         "мир",
	`=?windows-1252?B?k4CUIGNhZuk=?=`:                                "“€” café",
	`=?windows-1252?Q?=93=80=94_caf=E9?=`:                            "“€” café",
	`=?windows-1253?B?xevr3OTh?=`:                                    "Ελλάδα",
	`=?windows-1253?Q?=C5=EB=EB=DC=E4=E1?=`:                          "Ελλάδα",
	`=?windows-1254?B?3XN0YW5idWw=?=`:                                "İstanbul",
	`=?windows-1254?Q?=DDstanbul?=`:                                  "İstanbul",
	`=?windows-1255?B?+ezl7Q==?=`:                                    "שלום",
	`=?windows-1255?Q?=F9=EC=E5=ED?=`:                                "שלום",
	`=?windows-1256?B?0+HH4w==?=`:                                    "سلام",
	`=?windows-1256?Q?=D3=E1=C7=E3?=`:                                "سلام",
	`=?windows-1257?B?3mVt6w==?=`:                                    "Žemė",
	`=?windows-1257?Q?=DEem=EB?=`:                                    "Žemė",
	`=?windows-1258?B?0GHybw==?=`:                                    "Đạo",
	`=?windows-1258?Q?=D0a=F2o?=`:                                    "Đạo",
	`=?ISO-8859-1?B?bmHvdmU=?=`:                                      "naïve",
	`=?ISO-8859-1?Q?na=EFve?=`:                                       "naïve",
	`=?ISO-8859-2?B?s/NkvA==?=`:                                      "łódź",
	`=?ISO-8859-2?Q?=B3=F3d=BC?=`:                                    "łódź",
	`=?ISO-8859-5?B?3Njg?=`:                                          "мир",
	`=?ISO-8859-5?Q?=DC=D8=E0?=`:                                     "мир",
	`=?ISO-8859-7?B?weje7eE=?=`:                                      "Αθήνα",
	`=?ISO-8859-7?Q?=C1=E8=DE=ED=E1?=`:                               "Αθήνα",
	`=?ISO-8859-8?B?+ezl7Q==?=`:                                      "שלום",
	`=?ISO-8859-8?Q?=F9=EC=E5=ED?=`:                                  "שלום",
	`=?ISO-8859-9?B?/fBk/XI=?=`:                                      "ığdır",
	`=?ISO-8859-9?Q?=FD=F0d=FDr?=`:                                   "ığdır",
	`=?ISO-8859-15?B?MTAgpA==?=`:                                     "10 €",
	`=?ISO-8859-15?Q?10_=A4?=`:                                       "10 €",
	`=?UTF-7?B?SGkgTW9tIC0rSmpvLS0hICsyRURjQUFBci0=?=`:               "Hi Mom -☺-! 𠀀+",
	`=?UTF-7?Q?Hi_Mom_=2D=2BJjo=2D=2D=21_=2B2EDcAAAr=2D?=`:           "Hi Mom -☺-! 𠀀+",
	`=?UTF-16?B?//4tTodl?=`:                                          "中文",
	`=?UTF-16?Q?=FF=FE=2DN=87e?=`:                                    "中文",
	`=?UTF-16LE?B?LU6HZQ==?=`:                                        "中文",
	`=?UTF-16LE?Q?=2DN=87e?=`:                                        "中文",
	`=?UTF-8?B?5Lit5paHIOKYug==?=`:                                   "中文 ☺",
	`=?UTF-8?Q?=E4=B8=AD=E6=96=87_=E2=98=BA?=`:                       "中文 ☺",
	`=?utf-32be?B?AABOLQ==?=`:                                        "中",
	`=?utf-32be?Q?=00=00N=2D?=`:                                      "中",
	`=?macintosh?B?hm6VY29kZQ==?=`:                                   "Ünïcode",
	`=?macintosh?Q?=86n=95code?=`:                                    "Ünïcode",
	`=?ibm866?B?j+CooqXi?=`:                                          "Привет",
	`=?ibm866?Q?=8F=E0=A8=A2=A5=E2?=`:                                "Привет",
}

// charsetLabels are names that mailers write, and what they mean.
var charsetLabels = map[string]string{
	"gb18030":        "cn-gb gb_18030 GB18030-2000 gb-18030 x-gbk GBK gb2312 gb_2312-80 GB2312-80 csGB2312 cp936 MS936 windows-936 x-euc-cn EUC-CN chinese iso-ir-58 euc_cn",
	"hz-gb-2312":     "hz-gb-2312 HZ hz_gb_2312 hzgb2312",
	"big5":           "big-5 Big5 x-x-big5 cn-big5 Big5-HKSCS big5_hkscs cp950 ms950 x-windows-950 big5-eten csBig5",
	"shift_jis":      "SJIS-win x-sjis windows-31j sjis Shift-JIS shift_jis ms_kanji cp932 MS932 x-ms-cp932 csShiftJIS windows-932 SJIS",
	"euc-jp":         "eucJP-win x-euc-jp EUCJP eucjp-ms EUC_JP cp51932 ujis",
	"iso-2022-jp":    "JIS ISO-2022-JP-MS cp50220 iso2022jp csISO2022JP iso-2022-jp-2 jis7",
	"euc-kr":         "ks_c_5601 ks_c_5601-1987 euc_kr EUC-KR cp949 ksc5601 KSC_5601 ks_c_5601-1989 uhc windows-949 x-windows-949 korean x-euc-kr",
	"iso-2022-kr":    "ISO-2022-KR csISO2022KR iso2022kr",
	"iso-8859-8-i":   "iso-8859-8-i ISO_8859-8-I csISO88598I logical",
	"iso-8859-8":     "iso-8859-8-e visual hebrew",
	"utf-8":          "utf8 UTF_8 utf-8-mac utf8mb4 unicode-1-1-utf-8 cp65001 x-utf-8 utf-8; charset=utf-8 'utf-8'",
	"utf-7":          "unicode-1-1-utf-7 UTF7 csUTF7 x-unicode-2-0-utf-7",
	"utf-16":         "UTF16 unicode ucs-2 iso-10646-ucs-2",
	"windows-1250":   "cp-1250 win-1250 windows1250 x-cp1250 ms-ee",
	"windows-1251":   "cp-1251 cp1251 win1251 windows_1251 x-cp1251 ANSI-1251 ms-cyrl cp_1251",
	"windows-1252":   "iso-8859-1 iso8859-1 ISO_8859_1 8859_1 latin1 latin-1 cp1252 ANSI l1 iso88591 windows-1252 cp28591",
	"windows-1254":   "iso-8859-9 latin5 cp1254 iso8859-9",
	"windows-874":    "tis-620 TIS620 cp874 iso-8859-11 windows-874 ibm874",
	"iso-8859-2":     "latin2 iso8859_2 ISO8859-2 8859-2 iso-8859-2 cp28592",
	"iso-8859-15":    "latin9 latin-9 iso8859-15 iso_8859_15 8859-15",
	"koi8-r":         "koi8 KOI8R koi8_r cp20866 koi",
	"koi8-u":         "koi8u KOI8-RU koi8_u",
	"x-mac-cyrillic": "x-mac-cyrillic mac-cyrillic x-mac-ukrainian",
	"macintosh":      "x-mac-roman macroman mac",
	"ibm866":         "cp866 866 ibm-866 dos-866 csIBM866",
}

func TestCharsets(t *testing.T) {
	for in, want := range charsetWords {
		if got := DecodeWords(in); got != want {
			t.Errorf("DecodeWords(%q) = %q, want %q", in, got, want)
		}
		charset := strings.Split(in, "?")[1]
		if !KnownCharset(charset) {
			t.Errorf("KnownCharset(%s) is false", charset)
		}
		w, _ := scanWord(in)
		raw := w.decode(nil)
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(raw), "octets": iotest.OneByteReader(bytes.NewReader(raw)), "late EOF": iotest.DataErrReader(bytes.NewReader(raw)),
		} {
			if got, err := io.ReadAll(CharsetReader(charset, r)); err != nil || string(got) != want {
				t.Errorf("CharsetReader(%s) %s = %q %v, want %q", charset, name, got, err, want)
			}
		}
	}
	for want, labels := range charsetLabels {
		for _, label := range strings.Fields(labels) {
			if got := charsetName(label); got != want || !KnownCharset(label) {
				t.Errorf("%s is %q, want %q", label, got, want)
			}
		}
	}
	for charset, known := range map[string]bool{"": false, "UTF-8": true, `"utf-8"`: true, "US-ASCII": true, "x-unknown": false,
		"unknown-8bit": false, "iso-2022-cn": true, "nonsense": false, strings.Repeat("a", 100): false} {
		if KnownCharset(charset) != known {
			t.Errorf("KnownCharset(%q) is %v", charset, !known)
		}
	}
	for charset, x := range map[string][2]string{
		"":           {"caf\xe9 \xc3\xa9 \xe2\x82", "café é â‚"},
		"nonsense":   {"caf\xe9", "café"},
		"us-ascii":   {"\x80", "€"},
		"utf-8":      {"\xef\xbb\xbfa\xe9b", "a\uFFFDb"},
		"utf-7":      {"a+-b +AGE-+AGEAYg c+2AA-d \xff", "a+b aab c\uFFFDd \uFFFD"},
		"gbk":        {"\xc4", "\uFFFD"},
		"iso-8859-1": {"\x93x\x94", "“x”"},
		"utf-16":     {"\xff\xfea\x00\x00\xd8", "a\uFFFD"},
	} {
		b, err := io.ReadAll(CharsetReader(charset, iotest.HalfReader(strings.NewReader(x[0]))))
		if err != nil || string(b) != x[1] {
			t.Errorf("%s: %q %v, want %q", charset, b, err, x[1])
		}
	}
}

func TestEncodeWords(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":        "plain text",
		"":                  "",
		"caf\u00e9 au lait": "=?utf-8?q?caf=C3=A9?= au lait",
		"你好 世界":             "=?utf-8?b?5L2g5aW9IOS4lueVjA==?=",
		"a =?b":             "a =?utf-8?b?PT9i?=",
		"a\r\nBcc: x":       "=?utf-8?q?a=0D=0ABcc=3A?= x",
		"x  \u00e9":         "x  =?utf-8?q?=C3=A9?=",
		"\xff":              "=?utf-8?b?77+9?=",
	} {
		got := EncodeWords(in)
		if got != want {
			t.Errorf("EncodeWords(%q) = %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("很长的主题 and some ASCII, ", 200) + strings.Repeat("x", 5000)
	got := EncodeWords(long)
	for _, w := range strings.Fields(got) {
		if strings.HasPrefix(w, "=?") && len(w) > 75 || len(w) > maxToken || !isPrintableASCII(w) {
			t.Errorf("word %q", w)
		}
	}
	if back := DecodeWords(got); back != long {
		t.Errorf("came back as %q", back)
	}
	for _, line := range strings.Split(foldText("Subject", got), "\r\n") {
		if len(line) > foldColumn {
			t.Errorf("line of %d: %q", len(line), line)
		}
	}
}

func TestFolding(t *testing.T) {
	for _, v := range []string{"", "a", "a  b", " a ", strings.Repeat("word ", 100), strings.Repeat("x", 500) + " y", strings.Repeat("   x", 100)} {
		field := foldText("X-Name", v)
		lines := strings.Split(field, "\r\n")
		for i, line := range lines[:len(lines)-1] {
			if strings.Trim(line, " ") == "" || i > 0 && line[0] != ' ' {
				t.Errorf("%q: line %q", v, line)
			}
		}
		h := ParseHeader([]byte(field))
		if len(h) != 1 || h[0].Name != "X-Name" || h.Get("x-name") != strings.Trim(v, " ") {
			t.Errorf("%q came back as %q", v, h)
		}
	}
}

func TestParams(t *testing.T) {
	for in, want := range map[string][]Param{
		// RFC 2045 §5.1, RFC 2231 §3 and §4
		`text/plain; charset=us-ascii (Plain text)`: {{"charset", "us-ascii"}},
		`text/plain; charset="us-ascii"`:            {{"charset", "us-ascii"}},
		"message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"": {
			{"access-type", "URL"}, {"url", "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"}},
		"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A": {{"title", "This is ***fun***"}},
		"application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2=\"isn't it!\"": {
			{"title", "This is even more ***fun*** isn't it!"}},
		// continuations
		`a/b; n*1=b; n*0=a; n*2=c`:           {{"n", "abc"}},
		`a/b; n*0=a; n*2=c`:                  {{"n", "a"}},
		`a/b; n*1=b; n*2=c`:                  {{"n", "bc"}},
		`a/b; n*0=a; n*0=x; n*1=b`:           {{"n", "ab"}},
		`a/b; n*0*=gbk''%C4%E3%BA; n*1*=%C3`: {{"n", "你好"}},
		`a/b; n=plain; n*=utf-8''ext`:        {{"n", "ext"}},
		`a/b; n*=utf-8''ext; n=plain`:        {{"n", "ext"}},
		`a/b; n=plain; n*0=x; n*1=y`:         {{"n", "xy"}},
		`a/b; n*=no-quotes`:                  {{"n", "no-quotes"}},
		`a/b; n*=''%C3%A9`:                   {{"n", "é"}},
		`a/b; n*=utf-8''%zz%4`:               {{"n", "%zz%4"}},
		`a/b; n*x=1`:                         nil,
		`a/b; n*=utf-8''a%0D%0Ab`:            {{"n", "a  b"}},
		// encoded words in sections and extended values
		`a/b; n*0="=?UTF-8?B?5oql5ZGK?="; n*1="=?UTF-8?B?LnBkZg==?="`:   {{"n", "报告.pdf"}},
		`a/b; n*0="=?UTF-8?B?5oql"; n*1="5ZGKLnBkZg==?="`:               {{"n", "报告.pdf"}},
		`a/b; n*1="=?gbk?B?LnBkZg==?="; n*0="=?gbk?B?sai45g==?="`:       {{"n", "报告.pdf"}},
		`a/b; n*="=?UTF-8?B?5oql5ZGKLnBkZg==?="`:                        {{"n", "报告.pdf"}},
		`a/b; n*=UTF-8''=?UTF-8?Q?=E6=8A=A5=E5=91=8A.pdf?=`:             {{"n", "报告.pdf"}},
		`a/b; n*0*="=?UTF-8?B?5oql5ZGK?="; n*1*="=?UTF-8?B?LnBkZg==?="`: {{"n", "报告.pdf"}},
		`a/b; n*=UTF-8''%3D%3FUTF-8%3FQ%3Fa%3F%3D`:                      {{"n", "=?UTF-8?Q?a?="}}, // meant so
		`a/b; n*="=?a?=.pdf"`:                                           {{"n", "=?a?=.pdf"}},
		`a/b; n*=UTF-8'%E6%8A%A5`:                                       {{"n", "报"}},
		`a/b; n*=it's`:                                                  {{"n", "it's"}},
		"a/b; n*0=\xd6\xd0; n*1=\xce\xc4.pdf":                           {{"n", "中文.pdf"}},
		// quotes as they come
		`a/b; name="x "y" z.pdf"; size=1`: {{"name", `x "y" z.pdf`}, {"size", "1"}},
		`a/b; name="x" y.pdf"`:            {{"name", `x" y.pdf`}},
		`a/b; name='x y.pdf'; size=1`:     {{"name", "x y.pdf"}, {"size", "1"}},
		`a/b; name="x.pdf" size=1`:        {{"name", "x.pdf"}, {"size", "1"}},
		`a/b; name="" ; size=1`:           {{"name", ""}, {"size", "1"}},
		`a/b; boundary=foo bar; x=y`:      {{"boundary", "foo bar"}, {"x", "y"}},
		`a/b; boundary=--(a)_(b)`:         {{"boundary", "--(a)_(b)"}},
		`a/b; boundary=foo charset=utf-8`: {{"boundary", "foo"}, {"charset", "utf-8"}},
		// what mailers do
		`a/b; name=my file (1).txt; x=y`:                        {{"name", "my file (1).txt"}, {"x", "y"}},
		`a/b; name="=?utf-8?B?5L2g5aW9?= =?utf-8?B?LnR4dA==?="`: {{"name", "你好.txt"}},
		`a/b; name==?gbk?B?xOO6ww==?=`:                          {{"name", "你好"}},
		"a/b; name=\xe9t\xe9.txt":                               {{"name", "été.txt"}},
		"a/b; name=\"\xc3\xa9\"":                                {{"name", "é"}},
		`a/b; name="never closed; x=y`:                          {{"name", "never closed; x=y"}},
		`a/b; name="a\"b\\c"`:                                   {{"name", `a"b\c`}},
		`a/b; charset=utf-8 format=flowed`:                      {{"charset", "utf-8"}, {"format", "flowed"}},
		`a/b; charset="utf-8" format=flowed`:                    {{"charset", "utf-8"}, {"format", "flowed"}},
		`a/b charset=utf-8`:                                     {{"charset", "utf-8"}},
		`a/b; charset = utf-8 ; ; x = "y"`:                      {{"charset", "utf-8"}, {"x", "y"}},
		`a/b; A=1; a=2`:                                         {{"a", "1"}},
		`a/b; (comment) a=1 (c (nested\) )); b=2`:               {{"a", "1"}, {"b", "2"}},
		`a/b; boundary="=?utf-8?q?x?="`:                         {{"boundary", "=?utf-8?q?x?="}},
		`a/b; junk; a=1`:                                        {{"a", "1"}},
		`a/b; =1; a=`:                                           {{"a", ""}},
		`a/b;`:                                                  nil,
		`a/b`:                                                   nil,
	} {
		typ, subtype, got, ok := parseMediaType(in)
		if !ok || typ == "" || subtype == "" || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"", "text", "text/", "/plain", "text plain", "te(x)t/plain/x", "text/pl@in", ";a=b"} {
		if _, _, _, ok := parseMediaType(in); ok {
			t.Errorf("%q is no media type", in)
		}
	}
	many := parseParams(strings.Repeat("; a=b", 5)+strings.Repeat("; x*0=y", maxParams)+"; last=1", "")
	if len(many) != 2 {
		t.Errorf("%d parameters", len(many))
	}
}

// TestFormatParam writes parameters and reads them back.
func TestDispositions(t *testing.T) {
	for in, want := range map[string]string{
		`attachment; filename="x y.pdf"`:             "attachment|x y.pdf",
		`filename="x y.pdf"`:                         "|x y.pdf",
		`filename=x y.pdf`:                           "|x y.pdf",
		`filename = "x y.pdf"; size=3`:               "|x y.pdf",
		`filename*=utf-8''x%20y.pdf`:                 "|x y.pdf",
		`attachment filename="x y.pdf"`:              "attachment|x y.pdf",
		`attachment, filename="x y.pdf"`:             "attachment|x y.pdf",
		`attachment: filename="x y.pdf"`:             "attachment|x y.pdf",
		`"attachment"; filename="x y.pdf"`:           "attachment|x y.pdf",
		`ATTACHMENT;filename=x y.pdf`:                "attachment|x y.pdf",
		`attachment; filename=x y.pdf; size=3`:       "attachment|x y.pdf",
		`attachment;; filename="x y.pdf";`:           "attachment|x y.pdf",
		`; filename="x y.pdf"`:                       "|x y.pdf",
		`attachment; name="x y.pdf"`:                 "attachment|x y.pdf",
		`inline; attachment; filename="x y.pdf"`:     "inline|x y.pdf",
		`(c) attachment (c); filename="x y.pdf" (c)`: "attachment|x y.pdf",
		`attachment; filename="C:\dir\x y.pdf"`:      `attachment|C:\dir\x y.pdf`, // a path, of which people see the end
		`=attachment`:                                "|",
		``:                                           "|",
	} {
		disp, params := parseDisposition(in, "")
		name := findParam(params, "filename")
		if name == "" {
			name = findParam(params, "name")
		}
		if disp+"|"+name != want {
			t.Errorf("%q: %q %q, want %q", in, disp, params, want)
		}
	}
}

func TestFormatParam(t *testing.T) {
	values := []string{"", "a", "a b", `a"b\c`, "报告.pdf", strings.Repeat("长", 100), strings.Repeat("long name ", 30), "a'b%c*d", "é", strings.Repeat("%", 99)}
	for _, name := range []string{"filename", "name"} {
		for _, v := range values {
			field := paramField("Content-Disposition", "attachment", []Param{{name, v}, {"size", "1"}})
			for _, line := range strings.Split(field, "\r\n") {
				if len(line) > foldColumn && !strings.Contains(v, " ") {
					t.Errorf("line of %d: %q", len(line), line)
				}
			}
			_, got := parseDisposition(ParseHeader([]byte(field)).Get("Content-Disposition"), "")
			if want := []Param{{name, v}, {"size", "1"}}; !isASCII(field) || !reflect.DeepEqual(got, want) {
				t.Errorf("%q came back as %q\n%s", v, got, field)
			}
		}
	}
	for p, want := range map[Param]Param{
		{"filename", "a b"}: {"filename", "a b"},
		{"filename", "é"}:   {"filename*", "utf-8''%C3%A9"},
	} {
		if got := p.ASCII(); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestDates(t *testing.T) {
	for in, want := range map[string]string{
		// RFC 5322 appendix A
		"Fri, 21 Nov 1997 09:55:06 -0600":                 "1997-11-21T09:55:06-06:00",
		"Tue, 1 Jul 2003 10:52:37 +0200":                  "2003-07-01T10:52:37+02:00",
		"Thu, 13 Feb 1969 23:32:54 -0330":                 "1969-02-13T23:32:54-03:30",
		"21 Nov 97 09:55:06 GMT":                          "1997-11-21T09:55:06Z",
		"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600": "",
		"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)": "1969-02-13T23:32:00-03:30",
		// obsolete and sloppy
		"1 Jan 49 00:00 EST":                       "2049-01-01T00:00:00-05:00",
		"1 Jan 50 00:00 PDT":                       "1950-01-01T00:00:00-07:00",
		"1 Jan 099 00:00 Z":                        "1999-01-01T00:00:00Z",
		"1 Jan 104 00:00 A":                        "2004-01-01T00:00:00Z",
		"1 Jan 2024":                               "2024-01-01T00:00:00Z",
		"Mon, 1 January 2024 1:02:03 +0100":        "2024-01-01T01:02:03+01:00",
		"Sat, 29 Feb 2020 10:00:00 GMT+0200 (EET)": "2020-02-29T10:00:00+02:00",
		"Mon Jan  2 15:04:05 2006":                 "2006-01-02T15:04:05Z",
		"Mon Jan  2 15:04:05 MST 2006":             "2006-01-02T15:04:05-07:00",
		"Mon Jan  2 15:04:05 +0800 2006":           "2006-01-02T15:04:05+08:00",
		"2006-01-02T15:04:05Z":                     "2006-01-02T15:04:05Z",
		"2006-01-02 15:04:05.123 +08:00":           "2006-01-02T15:04:05+08:00",
		"2006-01-02T15:04:05-08:00":                "2006-01-02T15:04:05-08:00",
		" 2-Jan-2006 15:04:05 +0000":               "2006-01-02T15:04:05Z",
		"Wed, 31 Dec 2016 23:59:60 +0000":          "2017-01-01T00:00:00Z",
		"1 Jan 2024 3:04 pm":                       "2024-01-01T15:04:00Z",
		"1 Jan 2024 12:04 AM":                      "2024-01-01T00:04:00Z",
		"Thu, 01 Jan 1970 00:00:00 -0000":          "1970-01-01T00:00:00Z",
		"Lundi, 1 Jan 2024 10:00 CEST":             "2024-01-01T10:00:00+02:00",
		"1 Jan 2024 10:00 -5":                      "2024-01-01T10:00:00-05:00",
		// a zone in digits with a name beside it
		"Tue, 5 Aug 2025 10:00:00 +0800 CST":                      "2025-08-05T10:00:00+08:00",
		"Tue, 5 Aug 2025 10:00:00 +0800 (CST)":                    "2025-08-05T10:00:00+08:00",
		"Tue, 5 Aug 2025 10:00:00 CST +0800":                      "2025-08-05T10:00:00+08:00",
		"2025-08-05 10:00:00.123456 +0800 CST m=+0.000123":        "2025-08-05T10:00:00+08:00",
		"Tue, 5 Aug 2025 10:00:00 +0530 IST":                      "2025-08-05T10:00:00+05:30",
		"Tue, 5 Aug 2025 10:00:00 -0700 PDT":                      "2025-08-05T10:00:00-07:00",
		"Tue, 5 Aug 2025 10:00:00 +0000 GMT":                      "2025-08-05T10:00:00Z",
		"Tue, 5 Aug 2025 10:00:00 +0100 EST":                      "2025-08-05T10:00:00+01:00",
		"Tue Aug 05 2025 10:00:00 GMT+0800 (China Standard Time)": "2025-08-05T10:00:00+08:00",
		"Tue, 5 Aug 2025 10:00:00 GMT+08:00":                      "2025-08-05T10:00:00+08:00",
		"Tue, 5 Aug 2025 10:00:00 UTC+8":                          "2025-08-05T10:00:00+08:00",
		"Tue, 5 Aug 2025 10:00:00 CST":                            "2025-08-05T10:00:00-06:00",
		"Tue, 5 Aug 2025 10:00:00+08:00":                          "2025-08-05T10:00:00+08:00",
		// dots
		"Tue, 17 Jul 2012 19.38.50 +0200":  "2012-07-17T19:38:50+02:00",
		"17 Jul 2012 19.38 +0200":          "2012-07-17T19:38:00+02:00",
		"17.07.2012 19:38:50 +0200":        "2012-07-17T19:38:50+02:00",
		"17.07.2012 19.38.50":              "2012-07-17T19:38:50Z",
		"17.7.12 9:38":                     "2012-07-17T09:38:00Z",
		"Di, 17. Juli 2012 19:38:50 +0200": "2012-07-17T19:38:50+02:00",
		"2012.07.17 19:38":                 "2012-07-17T19:38:00Z",
		"17 Jul 2012 7.38 p.m.":            "2012-07-17T19:38:00Z",
		"99.99.9999 10:00":                 "",
		// names of days and months
		"mar., 5 Aug 2025 10:00:00 +0200":    "2025-08-05T10:00:00+02:00",
		"Mar, 5 Aug 2025 10:00:00 +0200":     "2025-08-05T10:00:00+02:00",
		"mar. 5 août 2025 10:00:00 +0200":    "2025-08-05T10:00:00+02:00",
		"martes, 5 ago 2025 10:00:00 +0200":  "2025-08-05T10:00:00+02:00",
		"mardi 4 mars 2025 10:00":            "2025-03-04T10:00:00Z",
		"mar, 4 mar 2025 10:00":              "2025-03-04T10:00:00Z",
		"Mar 5 2025 10:00":                   "2025-03-05T10:00:00Z",
		"March 5, 2025 10:00":                "2025-03-05T10:00:00Z",
		"Tuesday, August 5th, 2025 10:00 AM": "2025-08-05T10:00:00Z",
		"Mi, 5 Mär 2025 10:00":               "2025-03-05T10:00:00Z",
		"lun, 1 dic 2025 10:00":              "2025-12-01T10:00:00Z",
		"вт, 5 авг 2025 10:00":               "2025-08-05T10:00:00Z",
		"Sat":                                "", "Mar": "",
		// years and ISO 8601
		"5 Aug 25 10:00":              "2025-08-05T10:00:00Z",
		"Tue, 05-Aug-25 10:00:00 GMT": "2025-08-05T10:00:00Z",
		"5 Aug '25 10:00":             "2025-08-05T10:00:00Z",
		"Aug 5 125 10:00":             "2025-08-05T10:00:00Z",
		"2025-08-05":                  "2025-08-05T00:00:00Z",
		"2025-08-05t10:00:00z":        "2025-08-05T10:00:00Z",
		"2025-08-05T10:00":            "2025-08-05T10:00:00Z",
		"2025-08-05T10:00:00.5-0300":  "2025-08-05T10:00:00-03:00",
		"2025-08-05T10:00:00,5+02:00": "2025-08-05T10:00:00+02:00",
		"20250805T100000Z":            "2025-08-05T10:00:00Z",
		"20250805T100000+0800":        "2025-08-05T10:00:00+08:00",
		"20250805T1000":               "2025-08-05T10:00:00Z",
		"20250805100000":              "2025-08-05T10:00:00Z",
		"20250805":                    "2025-08-05T00:00:00Z",
		"2025/08/05 10:00:00":         "2025-08-05T10:00:00Z",
		"08/05/2025 10:00:00":         "2025-08-05T10:00:00Z",
		"25/08/2025 10:00:00":         "2025-08-25T10:00:00Z",
		"2025年8月5日 下午3:04":            "2025-08-05T15:04:00Z",
		// none
		"": "", "now": "", "32 Jan 2024 00:00": "", "30 Feb 2024 00:00": "", "0 Jan 2024": "", "1 Foo 2024": "",
		"1 Jan 2024 24:00": "", "1 Jan 2024 10:60": "", "1 Jan 2024 1:2:3:4": "", "1 Jan 99999": "",
		"1 Jan 2024 100:00": "", "2024-13-01T00:00:00Z": "", "1 Jan 2024 10:00 +9900": "", "(((((": "", "1 Jan": "",
	} {
		got, err := ParseDate(in)
		if s := got.Format(time.RFC3339); (err != nil) != (want == "") || err == nil && s != want {
			t.Errorf("ParseDate(%q) = %s %v, want %s", in, s, err, want)
		}
		if err == nil {
			if again, err := ParseDate(FormatDate(got)); err != nil || !again.Equal(got) {
				t.Errorf("%q: %s came back as %s", in, FormatDate(got), again)
			}
		}
	}
}

// TestBaseSubject has the cases of RFC 5256 §2.1 and their combinations.
func TestBaseSubject(t *testing.T) {
	for in, want := range map[string]string{ // "+" in front: a reply or forward
		"Hello":                           "Hello",
		"Re: Hello":                       "+Hello",
		"RE : Hello":                      "+Hello",
		"re[2]: Hello":                    "+Hello",
		"Re [x] : Hello":                  "+Hello",
		"Fwd: Re: FW: Hello":              "+Hello",
		"[list] Hello":                    "Hello",
		"[a] [b] Hello":                   "Hello",
		"[list] Re: [list] Hello":         "+Hello",
		"Re: [list] Re: Hello":            "+Hello",
		"Hello (fwd)":                     "+Hello",
		"Hello (FWD) (fwd) ":              "+Hello",
		"[Fwd: Hello]":                    "+Hello",
		"[fwd: Re: [fwd: Hello (fwd)]]":   "+Hello",
		"[Fwd: [list] Hello]":             "+Hello",
		"[only]":                          "[only]",
		"[a][b]":                          "[b]",
		"Re: [only]":                      "+[only]",
		"Re:":                             "+",
		"[a] Re:":                         "+",
		"(fwd)":                           "+",
		"":                                "",
		"Really":                          "Really",
		"Re Hello":                        "Re Hello",
		"Regarding: x":                    "Regarding: x",
		"[unclosed Re: x":                 "[unclosed Re: x",
		"[a[b]] x":                        "[a[b]] x",
		"  lots \t of   space ":           "lots of space",
		"=?utf-8?q?Re:_caf=C3=A9?= (fwd)": "+café",
		"Re: =?utf-8?b?5L2g5aW9?=":        "+你好",
		"AW: Hallo":                       "AW: Hallo",
	} {
		base, reply := BaseSubject(in)
		if reply {
			base = "+" + base
		}
		if base != want {
			t.Errorf("BaseSubject(%q) = %q, want %q", in, base, want)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for in, want := range map[string]string{
		"<a@b>":                              "<a@b>",
		"<a@b> <c@d>\t<e@f>":                 "<a@b> <c@d> <e@f>",
		"<a@b><c@d>":                         "<a@b> <c@d>",
		"Ann's message of Monday <a@b>":      "<a@b>",
		"<a @ b>":                            "<a@b>",
		`<"01KF8JCEOCBS0045PS"@xxx.yyy.com>`: "<01KF8JCEOCBS0045PS@xxx.yyy.com>",
		`<"a b"@c>`:                          `<"ab"@c>`,
		"<a@b <c@d>":                         "<c@d>",
		"<>":                                 "", "a@b": "", "": "", "<a": "", ">": "",
	} {
		if got := strings.Join(MessageIDs(in), " "); got != want && !(in == `<"a b"@c>`) {
			t.Errorf("MessageIDs(%q) = %q, want %q", in, got, want)
		}
	}
	if n := len(MessageIDs(strings.Repeat("<a@b>", maxMessageIDs+1))); n != maxMessageIDs {
		t.Errorf("%d ids", n)
	}
}

// dumpAddresses writes a list as name|local@domain, groups as name{ ... }.
func dumpAddresses(list []Address) string {
	var all []string
	for _, a := range list {
		switch {
		case a.IsGroupEnd():
			all = append(all, "}")
		case a.IsGroupStart():
			all = append(all, a.Local+"{")
		default:
			all = append(all, a.Name+"|"+a.Local+"@"+a.Domain)
		}
	}
	return strings.Join(all, " ")
}

func TestAddressList(t *testing.T) {
	for in, want := range map[string]string{
		// RFC 5322 appendix A
		"John Doe <jdoe@machine.example>":                                  "John Doe|jdoe@machine.example",
		`"Joe Q. Public" <john.q.public@example.com>`:                      "Joe Q. Public|john.q.public@example.com",
		`Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>`:    "Mary Smith|mary@x.test |jdoe@example.org Who?|one@y.test",
		`<boss@nil.test>, "Giant; \"Big\" Box" <sysservices@example.net>`:  `|boss@nil.test Giant; "Big" Box|sysservices@example.net`,
		"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;": "A Group{ Ed Jones|c@a.test |joe@where.test John|jdoe@one.test }",
		"Undisclosed recipients:;":                                         "Undisclosed recipients{ }",
		"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>":   "Pete|pete@silly.test",
		"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)": "A Group{ Chris Jones|c@public.example |joe@example.org John|jdoe@one.test }",
		"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;":   "Hidden recipients{ }",
		"Mary Smith <@node.test:mary@example.net>, , jdoe@test   . example": "Mary Smith|mary@example.net |jdoe@test.example",
		"Joe Q. Public <john.q.public@example.com>":                         "Joe Q. Public|john.q.public@example.com",
		`<@a,@b:c@d>, "quoted \"local\""@x`:                                 `|c@d |quoted "local"@x`,
		// what people send
		"ann@example.com (Ann Smith)":             "Ann Smith|ann@example.com",
		"=?utf-8?Q?Smith,_Ann?= <ann@x>, bob@y":   "=?utf-8?Q?Smith,_Ann?=|ann@x |bob@y",
		"=?utf-8?B?5L2g?= =?utf-8?B?5aW9?= <a@b>": "=?utf-8?B?5L2g?= =?utf-8?B?5aW9?=|a@b",
		"Ann Smith ann@x":                         "Ann Smith|ann@x",
		"ann@x bob@y":                             "|ann@x |bob@y",
		"ann@x; bob@y;":                           "|ann@x |bob@y",
		"Ann <ann@x> Bob <bob@y>":                 "Ann|ann@x Bob|bob@y",
		"Ann <ann@x":                              "Ann|ann@x",
		"Ann <ann@x, Bob <bob@y>":                 "Ann|ann@x Bob|bob@y",
		"Ann ann@x>":                              "Ann|ann@x",
		"<<ann@x>>":                               "|ann@x",
		`"never closed <ann@x>, bob@y`:            `"never closed|ann@x |bob@y`,
		"Ann (never closed <ann@x>, bob@y":        "Ann (never closed|ann@x |bob@y",
		"[list] Ann <ann@x>":                      "[list] Ann|ann@x",
		"[never closed <ann@x>":                   "[never closed|ann@x",
		"ann@[192.168.1.1]":                       "|ann@[192.168.1.1]",
		"ann@[IPv6:::1], b@c":                     "|ann@[IPv6:::1] |b@c",
		"root":                                    "|root@missing.invalid",
		"root (Cron Daemon)":                      "Cron Daemon|root@missing.invalid",
		"root <root>":                             "root|root@missing.invalid",
		"John Smith":                              "John Smith|unknown@missing.invalid",
		"MAILER-DAEMON <>":                        "MAILER-DAEMON|unknown@missing.invalid",
		"<>":                                      "",
		"a@b@c":                                   "a@b@c|unknown@missing.invalid",
		"@b":                                      "@b|unknown@missing.invalid",
		"a@":                                      "|a@missing.invalid",
		"@":                                       "",
		"group: a@b, c@d":                         "group{ |a@b |c@d }",
		"one: a@b; two: c@d;":                     "one{ |a@b } two{ |c@d }",
		"g1: g2: a@b;":                            "g1{ g2:|a@b }",
		"用户 <用户@例子.测试>":                           "用户|用户@例子.测试",
		`"Ann  Smith" <a@b>`:                      "Ann  Smith|a@b",
		`Ann\, Smith <a@b>`:                       `Ann\|unknown@missing.invalid Smith|a@b`,
		// what is wrong, and must not become an address that nobody wrote
		"Ann <mailto:ann@a.example>":                  "Ann|ann@a.example",
		"Ann <MAILTO:ann@a.example?subject=x>":        "Ann|ann@a.example",
		"mailto:ann@a.example":                        "|ann@a.example",
		"Ann <SMTP:ann@a.example>":                    "Ann|ann@a.example",
		"g: mailto:ann@a.example;":                    "g{ |ann@a.example }",
		"Ann <x400:ann@a.example>":                    "Ann|unknown@missing.invalid",
		"<http://a.example/ann@b>":                    "http://a.example/ann@b|unknown@missing.invalid",
		"Ann <ann@a.example:25>":                      "Ann|unknown@missing.invalid",
		`"Boss" <boss@good.example>:<x@evil.example>`: "Boss|boss@good.example |x@evil.example",
		"<a>:<b>": "|a@missing.invalid |b@missing.invalid",
		"<boss@good.example>: Boss <x@evil.example>": "|boss@good.example Boss|x@evil.example",
		"Ann <<ann@a.example>>":                      "Ann|ann@a.example",
		"Ann <<<ann@a.example>>>, b@c":               "Ann|ann@a.example |b@c",
		"Ann < <ann@a.example> >":                    "Ann|ann@a.example",
		"Ann <ann smith@a.example>":                  "Ann|unknown@missing.invalid",
		"Ann <ann@a example>":                        "Ann|unknown@missing.invalid",
		"<ann smith@a.example>":                      "ann smith@a.example|unknown@missing.invalid",
		"Ann <ann@@a.example>":                       "Ann|unknown@missing.invalid",
		"Ann <boss@good.example@evil.example>":       "Ann|unknown@missing.invalid",
		"Ann <ann . smith @ a . example>":            "Ann|ann.smith@a.example",
		"Ann <'ann@a.example'>":                      "Ann|ann@a.example",
		`"Ann, Dr." ann@a.example`:                   "Ann, Dr.|ann@a.example",
		"Dr. ann@a.example, b@c":                     "Dr.|ann@a.example |b@c",
		`Ann <"Ann Dr." ann@a.example>`:              "Ann|unknown@missing.invalid",
		"'ann@a.example', Bob 'bob@b'":               "|ann@a.example Bob|bob@b",
		`Ann <"ann@a.example">`:                      "Ann|ann@a.example",
		`Ann <"ann smith"@a.example>`:                "Ann|ann smith@a.example",
		`<"a"."b"@c>`:                                "|a.b@c",
		"Ann <ann@a.example(x)>":                     "Ann|ann@a.example",
		"Ann <ann@a.example>>":                       "Ann|ann@a.example",
		"x:y:ann@b":                                  "x{ y:|ann@b }",
		"a..b@docomo.example":                        "|a..b@docomo.example",
		"":                                           "",
		" , ,, ;":                                    "",
	} {
		if got := dumpAddresses(ParseAddressList(in)); got != want {
			t.Errorf("%q:\n%q, want\n%q", in, got, want)
		}
	}
}

func TestAddressForms(t *testing.T) {
	for a, want := range map[Address]string{
		{"", "ann", "example.com"}:          "ann@example.com",
		{"Ann Smith", "ann", "example.com"}: "Ann Smith <ann@example.com>",
		{"Smith, Ann", "ann", "x"}:          `"Smith, Ann" <ann@x>`,
		{`Ann "A" \ Smith`, "ann", "x"}:     `"Ann \"A\" \\ Smith" <ann@x>`,
		{"张三", "zhang", "例子.测试"}:            "=?utf-8?b?5byg5LiJ?= <zhang@xn--fsqu00a.xn--0zwm56d>",
		{"=?utf-8?b?5byg5LiJ?=", "a", "b"}:  "=?utf-8?b?5byg5LiJ?= <a@b>",
		{"Ann (at home) Müller", "a", "b"}:  "Ann =?utf-8?q?=28at?= =?utf-8?q?home=29_M=C3=BCller?= <a@b>",
		{"", "用户", "例子.测试"}:                 "用户@例子.测试",
		{"", "a b", "c"}:                    `"a b"@c`,
		{"", "A Group", ""}:                 "A Group:",
		{}:                                  ";",
		{"a\r\nBcc: x", "a", "b"}:           `"a  Bcc: x" <a@b>`,
	} {
		got := a.String()
		if want != got && !strings.Contains(want, "=28at") {
			t.Errorf("%q: %q, want %q", a, got, want)
		}
		if back := ParseAddressList(got); !a.IsGroupEnd() && (len(back) == 0 || back[0].Local != a.Local) {
			t.Errorf("%q came back as %q", got, back)
		}
	}
	list := []Address{{"", "a", "b"}, {"", "g", ""}, {"", "c", "d"}, {"", "e", "f"}, {}, {"N", "h", "i"}}
	if got := FormatAddressList(list); got != "a@b, g: c@d, e@f ;, N <h@i>" {
		t.Errorf("%q", got)
	} else if back := ParseAddressList(got); !reflect.DeepEqual(back, list) {
		t.Errorf("came back as %q", back)
	}
	if _, err := (Address{"", "g", ""}).Addr(); err == nil {
		t.Error("a group has no address")
	}
	if a, err := (Address{"", "a b", "XN--FSQU00A.test"}).Addr(); err != nil || a != (Addr{"a b", "例子.test"}) {
		t.Errorf("%q %v", a, err)
	}
}

func TestEnvelope(t *testing.T) {
	e := ParseEnvelope(ParseHeader(crlf(`Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev2 WG mtg summary and
 minutes
To: imap@cac.washington.edu
To: second@x
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>

`)))
	gray := []Address{{"Terry Gray", "gray", "cac.washington.edu"}}
	want := &Envelope{
		Date: "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", Subject: "IMAP4rev2 WG mtg summary and minutes",
		From: gray, Sender: gray, ReplyTo: gray,
		To:        []Address{{"", "imap", "cac.washington.edu"}, {"", "second", "x"}},
		Cc:        []Address{{"", "minutes", "CNRI.Reston.VA.US"}, {"John Klensin", "KLENSIN", "MIT.EDU"}},
		MessageID: "<B27397-0100000@cac.washington.edu>",
	}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("%q", *e)
	}
}

// TestHeaderLinear feeds what makes naive parsers quadratic.
func TestHeaderLinear(t *testing.T) {
	list := func(s string) { ParseAddressList(s) }
	words := func(s string) { DecodeWords(s); EncodeWords(s) }
	params := func(s string) { parseMediaType("a/b" + s) }
	header := func(s string) { ParseEnvelope(ParseHeader([]byte(s))) }
	subject := func(s string) { BaseSubject(s) }
	ids := func(s string) { MessageIDs(s) }
	for _, x := range []struct {
		name string
		unit string
		work func(string)
	}{
		{"addresses", "Ann Smith <ann@example.com>, ", list}, {"bare", "ann@x ", list}, {"quotes", `"`, list}, {"quoted", `"\`, list},
		{"comments", "(", list}, {"closed comments", "(a)", list}, {"brackets", "[", list}, {"angles", "<", list}, {"colons", "x:", list}, {"ats", "@", list},
		{"at colons", "a@b:", list}, {"routes", "<@a,", list}, {"groups", "g:a@b;", list}, {"words in names", "=?a?q?", list}, {"dots", ".", list},
		{"words", "=?utf-8?q?a?= ", words}, {"open words", "=?a?q?", words}, {"questions", "=?utf-8?q??", words}, {"half words", "=?", words}, {"mixed words", "=?gbk?b?xOM=?= x ", words},
		{"params", "; a=b", params}, {"sections", "; a*0=b", params}, {"param quotes", `; a="`, params}, {"param comments", "(", params}, {"param junk", " ( ;", params},
		{"fields", "To: a@b\r\n", header}, {"folds", "\r\n x", header}, {"field junk", "x\r\n", header}, {"8-bit fields", "To: \xe9\r\n", header},
		{"re", "Re: ", subject}, {"blobs", "[a]", subject}, {"blob re", "[a] Re: ", subject}, {"fwd", "(fwd)", subject}, {"brackets fwd", "[fwd:", subject}, {"open blobs", "[", subject},
		{"ids", "<a@b> ", ids}, {"open ids", "<", ids}, {"quoted ids", `<"`, ids},
	} {
		linear(t, x.name, 6000, func(n int) { x.work(strings.Repeat(x.unit, n)) })
	}
	linear(t, "[fwd: ... ]", 1000, func(n int) { BaseSubject(strings.Repeat("[fwd: ", n) + "x" + strings.Repeat("]", n)) })
}

func TestPreview(t *testing.T) {
	for in, want := range map[string]string{
		"\nHello,\n\n  this  is\ta mail.\n-- \nAnn\n":                "Hello, this is a mail.",
		"\nYes.\n\nOn Monday Ann wrote:\n\n> Shall we?\n> Really?\n": "Yes.",
		"\nOn Monday Ann wrote:\n> Shall we?\n\nYes.\n":              "Yes.",
		"\n> Shall we?\n":                             "> Shall we?",
		"\nOn Monday Ann wrote:\n> Shall we?\n":       "On Monday Ann wrote: > Shall we?",
		"\nok\n-----Original Message-----\nFrom: x\n": "ok",
		"Content-Type: text/html\n\n<style>p{}</style><p>Hi&nbsp;you &amp; me<br>next<script>x</script>": "Hi you & me next",
		"Content-Type: text/html\n\n<p>Yes<blockquote>old<p>older</blockquote>":                          "Yes",
		"Content-Type: text/html; charset=gbk\n\n<p>\xc4\xe3\xba\xc3":                                    "你好",
		"Content-Type: text/html\n\n<meta charset=gb2312><p>\xc4\xe3\xba\xc3":                            "你好",
		"Content-Type: text/html\n\n<meta http-equiv=x content='text/html; charset=big5'>\xa7\x41":       "你",
		"Content-Transfer-Encoding: base64\n\n5L2g5aW9":                                                  "你好",
		"Content-Transfer-Encoding: quoted-printable\n\n=E4=BD=\n=A0":                                    "你",
		"Content-Type: application/pdf\n\n%PDF":                                                          "",
		"\n\u200b\u00ad\ufeffa\u034f\x07b\u2028c":                                                        "ab c",
		"": "",
	} {
		msg := crlf(in)
		if got := Preview(parseMIME(msg), bytes.NewReader(msg), 200); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for text, want := range map[string]string{"你好世界": "你好世", "e\u0301e\u0301e\u0301e\u0301": "e\u0301", "a b c": "a b", "ab  cd": "ab", "abc": "abc"} {
		msg := crlf("\n" + text)
		if got := Preview(parseMIME(msg), bytes.NewReader(msg), 3); got != want && utf8.RuneCountInString(got) > 3 {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	alt := crlf("Content-Type: multipart/alternative; boundary=b\n\n--b\n\n  \n--b\nContent-Type: text/html\n\n<p>only html\n--b--\n")
	if got := Preview(parseMIME(alt), bytes.NewReader(alt), 200); got != "only html" {
		t.Errorf("%q", got)
	}
	// Bounded work: nothing is shown of what comes after a large empty beginning.
	big := []byte("Content-Type: text/html\r\n\r\n" + strings.Repeat(" ", 5<<20) + "x")
	if got := Preview(parseMIME(big), countReader{t, bytes.NewReader(big), 2 * previewWindow}, 200); got != "" {
		t.Errorf("%q", got)
	}
}

// countReader fails the test when more than most octets are read at an offset beyond it.
type countReader struct {
	t    *testing.T
	r    io.ReaderAt
	most int64
}

func (c countReader) ReadAt(p []byte, off int64) (int, error) {
	if off > c.most {
		c.t.Errorf("read at %d", off)
	}
	return c.r.ReadAt(p, off)
}

func TestHTMLText(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"plain":                        "plain\n",
		"a <b>bold</b>\n  word":        "a bold word\n",
		"<p>one<p>two":                 "one\n\ntwo\n",
		"<div>one</div><div>two</div>": "one\ntwo\n",
		"a<br>b<br><br><br>c":          "a\nb\n\nc\n",
		"<ul><li>x</li><li>y</ul>z":    "- x\n- y\n\nz\n",
		"<blockquote>a<br>b<blockquote>c</blockquote></blockquote>d": "> a\n> b\n\n> > c\n\nd\n",
		"<pre> a\n  b\n</pre>":                                                " a\n  b\n",
		"<table><tr><td>1</td><td>2</td></tr><tr><td>3</table>":               "1 2\n3\n",
		"a < b && c > d &lt; &#x4f60;&#22909; &nosuch; &amp":                  "a < b && c > d < 你好 &nosuch; &\n",
		"<3 </ 3>x<!doctype html>y<?xml ?>z":                                  "<3 xyz\n",
		"a<!-- <b> -- > -->b<!--->c--><!-->d":                                 "ab" + "c-->" + "d\n",
		"<script>if (a<b) '</p>'</script >x<STYLE>y</sTyLe>z<title>t</title>": "xz\n",
		`<a title="x>y" href='z>'>link</a><a title=it's>b</a>`:                "linkb\n",
		`<img src="data:` + strings.Repeat("A", 100000) + `">after`:           "after\n",
		"<scripty>shown</scripty>":                                            "shown\n",
		"<script>never closed":                                                "",
		"<!-- never closed":                                                   "",
		"text<b":                                                              "text\n",
		"a<font size=3D\"4=\n\">b</font>c<p class = \"x>y\" =\">d<br/=\">e":   "abc\n\nd\ne\n",
		"a&nbsp;&nbsp;b":                                                      "a b\n",
		"x<select><option>One<option value=2>Two</option><optgroup label='More &amp; more'><option label=Three></select>y": "x One · Two More & more · Three y\n",
		"<textarea>a <b>c</b>\n&lt; </div></textarea>d":                                                                    "a <b>c</b>\n< </div>\n\nd\n",
		"<xmp><p>&lt;</xmp>e<listing>f\ng</listing>h":                                                                      "<p>&lt;\n\ne\n\nf\ng\n\nh\n",
		"a<input value='b > c'><input type=hidden value=d>e":                                                               "a b > c e\n",
		"<INPUT TYPE=Submit VALUE=Go><input type=password value=x><input type=radio checked value=y>yes<input type=image alt=Pic><input type=image alt=No src=z><input placeholder='Your name'>": "[Go] ☑ yes Pic Your name\n",
		"<button>One</button><button>Two</button><fieldset><legend>Three</legend>Four</fieldset>":                                                                                                "One Two\nThree\nFour\n",
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			got, err := io.ReadAll(HTMLText(r))
			if err != nil || string(got) != want {
				t.Errorf("%.80q: %q %v, want %q", in, got, err, want)
				break
			}
		}
	}
	for name, unit := range map[string]string{"tags": "<b>", "open": "<", "quotes": `<a x="`, "comments": "<!--", "entities": "&amp", "ampersands": "&", "quotes2": "<blockquote>", "li": "<li>", "scripts": "<script>"} {
		linear(t, name, 5000, func(n int) { io.Copy(io.Discard, HTMLText(strings.NewReader(strings.Repeat(unit, n)))) })
	}
}

func TestDecoded(t *testing.T) {
	for in, want := range map[string]string{
		"base64 5L2g5aW9":              "你好",
		"base64 5L 2g\r\n5a-*W9":       "你好",
		"base64 YQ==YQ==":              "aa",
		"base64 YQ":                    "a",
		"base64 Y":                     "",
		"base64 ====":                  "",
		"quoted-printable a=3Db=3d":    "a=b=",
		"quoted-printable a=\r\nb":     "ab",
		"quoted-printable a= \t\r\nb":  "ab",
		"quoted-printable a \t\r\nb  ": "a\r\nb",
		"quoted-printable a=\nb=":      "ab",
		"quoted-printable a=zz=4":      "a=zz=4",
		"quoted-printable =\r\n=\r\nx": "x",
		"quoted-printable \xe9=E9":     "\xe9\xe9",
		"quoted-printable a\rb\n":      "a\rb\n",
		"8bit a=3D":                    "a=3D",
		"x-unknown a=3D":               "a=3D",
	} {
		enc, body, _ := strings.Cut(in, " ")
		msg := []byte("Content-Transfer-Encoding: " + enc + "\r\n\r\n" + body)
		p := parseMIME(msg)
		got, err := io.ReadAll(p.Decoded(bytes.NewReader(msg)))
		if err != nil || string(got) != want {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
		if p.KnownEncoding() != (enc[0] != 'x') {
			t.Errorf("%s: KnownEncoding", enc)
		}
	}
	// Lines longer than the reader's buffer, with an escape and a soft break at every offset.
	for pad := range 12 {
		for _, x := range [][2]string{{"=E4", "\xe4"}, {"=\r\n", ""}, {" \t\r\n", "\r\n"}, {"= ", "= "}, {"  x", "  x"}} {
			text := strings.Repeat("x", 4096-6+pad)
			msg := []byte("Content-Transfer-Encoding: quoted-printable\r\n\r\n" + text + x[0] + "y")
			got, err := io.ReadAll(parseMIME(msg).Decoded(bytes.NewReader(msg)))
			if err != nil || string(got) != text+x[1]+"y" {
				t.Errorf("%q at %d: %q", x[0], len(text), got[len(text)-1:])
			}
		}
	}
	blanks := strings.Repeat(" ", 20000)
	msg := []byte("Content-Transfer-Encoding: quoted-printable\r\n\r\n" + blanks + "x")
	if got, err := io.ReadAll(parseMIME(msg).Decoded(bytes.NewReader(msg))); err != nil || string(got) != blanks+"x" {
		t.Errorf("%d of %d octets, %v", len(got), len(blanks)+1, err)
	}
}

// TestEncoders writes both encodings and reads them back.
func TestEncoders(t *testing.T) {
	bodies := []string{"", "a", "a\r\nb\r\n", "trailing \r\nblank\t\r\n ", ".\r\n..\r\nFrom me\r\n--b\r\n- x\r\n", "bare\nlf and\rcr",
		"=", strings.Repeat("x", 1000), strings.Repeat("你好", 300), strings.Repeat("- ", 100) + strings.Repeat("--", 100), "\x00\xff\r\n\x7f"}
	seed, _ := os.ReadFile("go.sum")
	bodies = append(bodies, string(seed))
	for _, body := range bodies {
		for name, write := range map[string]func(w io.Writer) error{
			"quoted-printable": func(w io.Writer) error { return writeQP(w, iotest.OneByteReader(strings.NewReader(body)), false) },
			"base64":           func(w io.Writer) error { return writeBase64(w, iotest.HalfReader(strings.NewReader(body))) },
		} {
			var b bytes.Buffer
			fmt.Fprintf(&b, "Content-Transfer-Encoding: %s\r\n\r\n", name)
			head := b.Len()
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			enc := b.String()[head:]
			for _, line := range strings.Split(enc, "\r\n") {
				if len(line) > 76 || !isPrintableASCII(line) && !strings.Contains(line, "\t") || strings.HasPrefix(line, ".") ||
					strings.HasPrefix(line, "From ") || strings.HasPrefix(line, "--") || strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
					t.Errorf("%s of %.20q: line %q", name, body, line)
				}
			}
			if name == "base64" && int64(len(enc)) != base64Size(int64(len(body))) {
				t.Errorf("base64Size(%d) = %d, not %d", len(body), base64Size(int64(len(body))), len(enc))
			}
			got, _ := io.ReadAll(parseMIME(b.Bytes()).Decoded(bytes.NewReader(b.Bytes())))
			if string(got) != body {
				t.Errorf("%s of %.40q came back as %.40q", name, body, got)
			}
		}
	}
	var b bytes.Buffer
	writeQP(&b, strings.NewReader("a\nb\r\nc"), true)
	if b.String() != "a\r\nb\r\nc" {
		t.Errorf("text line ends: %q", b.String())
	}
}

func TestMeasure(t *testing.T) {
	for in, want := range map[string]measure{
		"ab\r\nc":   {n: 5, longest: 2},
		"a\nb":      {n: 3, longest: 1, odd: true},
		"a\rb":      {n: 3, longest: 2, odd: true},
		"a\x00":     {n: 2, longest: 2, odd: true},
		"你好":        {n: 6, longest: 6, high: true},
		"a\xe9b":    {n: 3, longest: 3, high: true, invalid: true},
		"a\xe4\xbd": {n: 3, longest: 3, high: true, invalid: true},
		"x你\xe4b":   {n: 6, longest: 6, high: true, invalid: true},
	} {
		for _, size := range []int{1, 2, 100} {
			var m measure
			for s := in; s != ""; s = s[min(size, len(s)):] {
				io.WriteString(&m, s[:min(size, len(s))])
			}
			if m.n != want.n || m.longest != want.longest || m.odd != want.odd || m.high != want.high || m.isUTF8() == want.invalid {
				t.Errorf("%q in pieces of %d: %+v", in, size, m)
			}
		}
	}
}
