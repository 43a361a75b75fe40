package main

import (
	"strings"
	"testing"
)

func TestParseAddr(t *testing.T) {
	long := strings.Repeat("a", 65)
	for in, want := range map[string]Addr{
		"ann@example.com":                {"ann", "example.com"},
		"Ann@EXAMPLE.Com":                {"Ann", "example.com"},
		"ann+shop@lab.lan":               {"ann+shop", "lab.lan"},
		"root@pi":                        {"root", "pi"},
		"a@my_host.local":                {"a", "my_host.local"},
		"a@192.168.1.5":                  {"a", "192.168.1.5"},
		"a@[192.168.1.5]":                {"a", "[192.168.1.5]"},
		"a@[IPv6:FE80:0::1]":             {"a", "[IPv6:fe80::1]"},
		"a@[ipv6:::1]":                   {"a", "[IPv6:::1]"},
		"a@[2001:db8::1]":                {"a", "[IPv6:2001:db8::1]"},
		`"a b"@c`:                        {"a b", "c"},
		`"a\"\\b"@c`:                     {`a"\b`, "c"},
		`"ann"@c`:                        {"ann", "c"},
		`""@c`:                           {"", "c"},
		`"a@b"@c`:                        {"a@b", "c"},
		`"a..b"@c`:                       {"a..b", "c"},
		"!#$%&'*+-/=?^_`{|}~@c":          {"!#$%&'*+-/=?^_`{|}~", "c"},
		"用户@例子.测试":                       {"用户", "例子.测试"},
		"user@xn--fsqu00a.xn--0zwm56d":   {"user", "例子.测试"},
		"user@XN--FSQU00A.xn--0zwm56d":   {"user", "例子.测试"},
		"user@Bücher.example":            {"user", "bücher.example"},
		"user@faß.de":                    {"user", "faß.de"},
		"user@xn--zzzzzz-.example":       {},
		"user@xn--99999999.example":      {"user", "xn--99999999.example"},
		long + "@example.com":            {long, "example.com"},
		"":                               {},
		"ann":                            {},
		"@c":                             {},
		"a@":                             {},
		"a b@c":                          {},
		".a@c":                           {},
		"a.@c":                           {},
		"a..b@c":                         {},
		"a@b@c":                          {},
		"a@b c":                          {},
		"a@-b":                           {},
		"a@b-":                           {},
		"a@b..c":                         {},
		"a@b.":                           {},
		"a@b.c/d":                        {},
		`"a@c`:                           {},
		`"a"b@c`:                         {},
		`"a\`:                            {},
		"a@[1.2.3]":                      {},
		"a@[1.2.3.4":                     {},
		"a@[1.2.3.4]x":                   {},
		"a@[IPv6:1.2.3.4]":               {},
		"a@[IPv6:fe80::1%eth0]":          {},
		"a@[tag:x]":                      {},
		"a\r\n@c":                        {},
		"a\x00@c":                        {},
		"\"a\tb\"@c":                     {},
		"a\u0085@c":                      {},
		"a\u2028@c":                      {},
		"a\xff@c":                        {},
		"a@" + strings.Repeat("b", 64):   {},
		"a@" + strings.Repeat("b.", 130): {},
		strings.Repeat("a", 253) + "@c":  {},
	} {
		got, err := ParseAddr(in)
		if got != want || (err == nil) != (want != Addr{}) {
			t.Errorf("ParseAddr(%q) = %q, %v; want %q", in, got, err, want)
		}
		if err == nil {
			if again, err := ParseAddr(got.String()); err != nil || again != got {
				t.Errorf("%q: %q does not parse back: %q %v", in, got.String(), again, err)
			}
		}
	}
}

func TestParsePath(t *testing.T) {
	type result struct {
		path, rest string
	}
	for in, want := range map[string]result{
		"<>":                                     {"<>", ""},
		"<> BODY=8BITMIME":                       {"<>", " BODY=8BITMIME"},
		"< >":                                    {"<>", ""},
		" <a@b> SIZE=1":                          {"<a@b>", " SIZE=1"},
		"< a@b >":                                {"<a@b>", ""},
		"a@b SIZE=1":                             {"<a@b>", " SIZE=1"},
		"a@b":                                    {"<a@b>", ""},
		`"a b"@c X=1`:                            {`<"a b"@c>`, " X=1"},
		"<postmaster>":                           {"<postmaster>", ""},
		"<Postmaster>":                           {"<Postmaster>", ""},
		"<@a,@b:user@c>":                         {"<user@c>", ""},
		"<@a, @b:user@c>":                        {"<user@c>", ""},
		"<@[IPv6:::1],@b:user@[IPv6:::2]>":       {"<user@[IPv6:::2]>", ""},
		`<"a>b"@c>x`:                             {`<"a>b"@c>`, "x"},
		`<"\">"@c>`:                              {`<"\">"@c>`, ""},
		"<a@xn--bcher-kva.example> SMTPUTF8":     {"<a@bücher.example>", " SMTPUTF8"},
		"":                                       {},
		"  ":                                     {},
		"<":                                      {},
		"<a@b":                                   {},
		"<a>":                                    {},
		"<a@b\r\n>":                              {},
		"<@a>":                                   {},
		"<@a,b:c@d>":                             {},
		"<@a b:c@d>":                             {},
		"<a@b,c@d>":                              {},
		"<a@b> <c@d>":                            {"<a@b>", " <c@d>"},
		"<<a@b>>":                                {},
		"<a@" + strings.Repeat("b.", 150) + "c>": {},
	} {
		a, rest, err := ParsePath(in)
		if want == (result{}) {
			if err == nil {
				t.Errorf("ParsePath(%q) = %q; want an error", in, a)
			}
			continue
		}
		if err != nil || a.Path() != want.path || rest != want.rest {
			t.Errorf("ParsePath(%q) = %q, %q, %v; want %q", in, a.Path(), rest, err, want)
		}
	}
}

func TestAddrForms(t *testing.T) {
	for in, want := range map[string]string{ // "" is: no ASCII form
		"ann@example.com": "<ann@example.com>",
		"ann@例子.测试":       "<ann@xn--fsqu00a.xn--0zwm56d>",
		"用户@example.com":  "",
		`"a b"@[1.2.3.4]`: `<"a b"@[1.2.3.4]>`,
	} {
		a, err := ParseAddr(in)
		if err != nil {
			t.Fatal(in, err)
		}
		if got, ok := a.ASCIIPath(); got != want || ok != (want != "") || a.IsASCII() != ok {
			t.Errorf("%s: ASCIIPath %q %v", in, got, ok)
		}
	}
	key := func(s string) string {
		a, err := ParseAddr(s)
		if err != nil {
			t.Fatal(s, err)
		}
		return a.Key()
	}
	for a, b := range map[string]string{
		"Ann@Example.COM":     "ann@example.com",
		`"ANN"@x`:             "ann@x",
		"JOSE\u0301@x":        "jos\u00e9@x",
		"a@BU\u0308CHER.test": "a@xn--bcher-kva.test",
	} {
		if key(a) != key(b) {
			t.Errorf("Key(%q) = %q, Key(%q) = %q", a, key(a), b, key(b))
		}
	}
	if ip, ok := (Addr{"a", "[IPv6:fe80::1]"}).IP(); !ok || ip.String() != "fe80::1" {
		t.Errorf("IP = %v %v", ip, ok)
	}
	if _, ok := (Addr{"a", "b"}).IP(); ok {
		t.Error("a name is not a literal")
	}
	if _, err := ParseAddr(strings.Repeat("a", 65) + "@b"); err != nil {
		t.Errorf("a local part over the minimum of 64: %v", err)
	}
}
