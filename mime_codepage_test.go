package main

import (
	"testing"
)

// TestCodePages decodes one word in each code page of our own, as iconv and Python write it.
func TestCodePages(t *testing.T) {
	for label, c := range map[string][2]string{
		"cp737":                 {"\x84\xa2\xa2\x98\x9b\x98", "Ελλαδα"},
		"CP857":                 {"I\xa7d\x8dr", "Iğdır"},
		"ibm869":                {"\xa8\xe5\xe5\x9b\xdd\xd6", "Ελλάδα"},
		"x-mac-ce":              {"\xfd\x97\xb8w", "żółw"},
		"x-mac-greek":           {"\xb6\xec\xec\xc0\xe4\xe1", "Ελλάδα"},
		"x-mac-turkish":         {"I\xdbd\xddr", "Iğdır"},
		"VISCII":                {"Vi\xaet Nam \xd0\xa4t", "Việt Nam Đất"},
		"TCVN-5712":             {"Vi\xd6t Nam", "Việt Nam"},
		"armscii-8":             {"\xb2", "Ա"},
		"iso-2022-cn":           {"\x1b$)A\x0eVPND\x0f ok", "中文 ok"},
		"iso-2022-kr":           {"\x1b$)C\x0eGQ19>n\x0f", "한국어"},
		"x-mac-centraleurroman": {"\xfd\x97\xb8w", "żółw"},
	} {
		if got := decodeBytes(label, []byte(c[0])); got != c[1] {
			t.Errorf("%s: %q", label, got)
		}
	}
	for name, upper := range codePages {
		if len(upper) != 128 || charsetName(name) != name {
			t.Errorf("%s: %d characters, and its label means %q", name, len(upper), charsetName(name))
		}
	}
}

// TestDecodeRawEscaped reads headers that old Japanese, Korean and Chinese programs write raw.
func TestDecodeRawEscaped(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b$BF|K\\8l$N7oL>\x1b(B":                         "日本語の件名",
		"Re: \x1b$BF|K\\8l\x1b(B ok":                        "Re: 日本語 ok",
		"\x1b$)C\x0eGQ19>n\x0f":                             "한국어",
		"\x1b$)A\x0eVPND\x0f":                               "中文",
		"no \x1b[1m such thing":                             "no  [1m such thing",
		"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= \x1b$B8l\x1b(B": "日本 語",
	} {
		h := ParseHeader([]byte("Subject: " + in + "\r\n"))
		if got := h.Text("Subject"); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := decodeRaw("\xca\xf3\xb9\xf0\xbd\xf1.pdf", "iso-2022-jp"); got != "報告書.pdf" {
		t.Errorf("raw EUC-JP beside ISO-2022-JP: %q", got)
	}
}
