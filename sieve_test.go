package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const sieveTestMail = "Return-Path: <sales@shop.example>\r\nReceived: from x\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <j+news@Shop.Example>, b@x.example\r\nTo: Ann <ann+lists@home.arpa>\r\n" +
	"Subject: Offer 42 of the week\r\nDate: Tue, 28 Apr 2026 23:30:00 -0500\r\nMessage-ID: <1@shop.example>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>cheap &amp; good</p>\r\n" +
	"--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n--b--\r\n"

// say is an outcome in short.
func (out *sieveOutcome) say() string {
	var all []string
	for _, a := range append(slices.Clone(out.actions), func() []sieveAction {
		if out.keep == nil {
			return nil
		}
		k := *out.keep
		k.kind = "(keep)"
		return []sieveAction{k}
	}()...) {
		text := a.kind
		if a.target != "" {
			text += " " + a.target
		}
		if len(a.flags) > 0 {
			text += " [" + strings.Join(a.flags, " ") + "]"
		}
		if a.kind == "reject" || a.kind == "notify" {
			text += " " + a.text
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func sieveTestRun(t testing.TB, source string) (sieveOutcome, error) {
	t.Helper()
	script, faults := sieveCompile(source)
	if len(faults) > 0 {
		t.Fatalf("%s\n%v", source, faults[0])
	}
	mail := sieveMailOf(sieveTestMail)
	mail.from, mail.to, mail.orig = "sales@shop.example", "ann+lists@home.arpa", "ann+lists@home.arpa"
	world := &sieveWorld{now: time.Date(2026, 4, 29, 12, 0, 0, 0, time.UTC), zone: time.UTC, mailbox: func(name string) bool { return name == "Lists" },
		seen: func(key string) bool { return false }}
	return sieveExecute(script, mail, world)
}

// TestSieve runs scripts for one mail. Each test of the language stands here with what it must and must not match.
func TestSieve(t *testing.T) {
	all := `require ["fileinto","envelope","variables","imap4flags","relational","comparator-i;ascii-numeric","comparator-i;unicode-casemap","subaddress","copy",` +
		`"body","date","index","editheader","reject","vacation","mailbox","duplicate","regex","environment","enotify","mime","foreverypart","extracttext","ihave","encoded-character"];` + "\n"
	for _, x := range []struct{ script, want string }{
		{``, "(keep)"},
		{`discard;`, ""},
		{`keep; keep;`, "keep"},
		{`stop; discard;`, "(keep)"},
		{`fileinto "Lists"; fileinto "Lists";`, "fileinto Lists"},
		{`fileinto :copy "Lists"; redirect :copy "b@x.example";`, "fileinto Lists, redirect b@x.example, (keep)"},
		{`if false {discard;} elsif true {keep;} elsif true {discard;} else {discard;}`, "keep"},
		{`if not allof(true, anyof(false, true)) {discard;} else {fileinto "A";}`, "fileinto A"},
		{`if header :contains "subject" "WEEK" {discard;}`, ""},
		{`if header :contains :comparator "i;octet" "subject" "WEEK" {discard;}`, "(keep)"},
		{`if header :is :comparator "i;unicode-casemap" "from" "JÜRGEN <j+news@shop.example>, b@x.example" {discard;}`, ""},
		{`if header :matches "subject" "offer * of the *" {fileinto "${1}-${2}";}`, "fileinto 42-week"},
		{`if header :matches "subject" "*?" {fileinto "${2}";}`, "fileinto k"},
		{`if header :regex "subject" "([0-9]+) of" {fileinto "${1}";}`, "fileinto 42"},
		{`if header :matches "subject" "Offer \\*" {discard;}`, "(keep)"},
		{`if address :user "from" "j" {discard;}`, ""},
		{`if address :detail "from" "news" {discard;}`, ""},
		{`if address :domain :is "from" "x.example" {discard;}`, ""},
		{`if address :count "eq" :comparator "i;ascii-numeric" "from" "2" {discard;}`, ""},
		{`if address :index 2 :localpart "from" "b" {discard;}`, "(keep)"},
		{`if envelope :all "from" "sales@shop.example" {discard;}`, ""},
		{`if envelope :detail "to" "lists" {discard;}`, ""},
		{`if exists ["from","x-none"] {discard;}`, "(keep)"},
		{`if size :over 100K {discard;} elsif size :under 2K {fileinto "small";}`, "fileinto small"},
		{`if body :contains "cheap & good" {discard;}`, ""},
		{`if body :raw :contains "&amp;" {discard;}`, ""},
		{`if body :content "application" :contains "hello" {discard;}`, ""},
		{`if date :zone "+0000" "date" "weekday" "3" {discard;}`, ""},
		{`if date :originalzone "date" "weekday" "2" {discard;}`, ""},
		{`if currentdate :value "ge" "date" "2026-04-29" {discard;}`, ""},
		{`if date "date" "julian" "61159" {discard;}`, ""},
		{`set "a" "x"; set :upper "b" "${a}y${none}"; fileinto "${b}";`, "fileinto XY"},
		{`set :length "n" "Grüße"; fileinto "${n}";`, "fileinto 5"},
		{`set :quotewildcard "q" "a*b"; fileinto "${q}";`, `fileinto a\*b`},
		{`set "a" "1"; if string :value "gt" :comparator "i;ascii-numeric" "${a}0" "9" {discard;}`, ""},
		{`fileinto "${unicode: 40}${hex: 41 42}";`, "fileinto @AB"},
		{`addflag ["\\Seen", "$Work $work"]; removeflag "\\seen"; keep;`, "keep [$Work]"},
		{`setflag "v" "\\Flagged"; fileinto :flags "${v}" "A";`, `fileinto A [\Flagged]`},
		{`addflag "a"; if hasflag :contains "A" {fileinto "B";}`, "fileinto B [a]"},
		{`reject "no";`, "reject no"},
		{`if mailboxexists "Lists" {fileinto "Lists";}`, "fileinto Lists"},
		{`if duplicate {discard;}`, "(keep)"},
		{`if environment "name" "x" {discard;}`, "(keep)"},
		{`if header :mime :anychild :contenttype "content-type" "application/pdf" {discard;}`, ""},
		{`if header :mime :anychild :param "filename" "content-disposition" "a.pdf" {discard;}`, ""},
		{`foreverypart { if header :mime :type "content-type" "text" { extracttext :first 5 "t"; break; } } fileinto "${t}";`, "fileinto cheap"},
		{`notify :message "hi" "mailto:a@b.example?subject=x";`, "notify a@b.example hi, (keep)"},
		{`if ihave "none" {none "x";} else {discard;}`, ""},
		{`vacation :days 3 "away"; fileinto "A";`, "vacation, fileinto A"},
		{`addheader "X-A" "1"; if header "x-a" "1" {deleteheader "Subject";} if not exists "subject" {discard;}`, ""},
	} {
		out, err := sieveTestRun(t, all+x.script)
		if got := out.say(); got != x.want || err != nil {
			t.Errorf("%s\n got %q, %v\nwant %q", x.script, got, err, x.want)
		}
	}
}

// TestSieveFaults holds that what makes no sense is said with its line and column.
func TestSieveFaults(t *testing.T) {
	for _, x := range []struct{ script, want string }{
		{"keep", "line 1, column 5: a semicolon or a block is expected here, and not the end"},
		{"keep;\r\n  bogus;", "line 2, column 3: unknown command \"bogus\""},
		{"fileinto \"x\";", `line 1, column 1: the command fileinto needs require "fileinto"`},
		{"require \"none\";", `line 1, column 9: there is no extension "none" here`},
		{"keep; require \"copy\";", "line 1, column 7: require must stand before all other commands"},
		{"if header \"a\" {}", "line 1, column 4: header takes a list of strings and a list of strings, and not a string"},
		{"if header :is :contains \"a\" \"b\" {}", "line 1, column 15: the tags :is and :contains exclude each other"},
		{"/* no end", "line 1, column 1: this comment has no end"},
		{"# grün\n\"grün\" x", "line 2, column 1: a command is expected here, and not a string"},
		{"redirect \"nobody\";", "line 1, column 10: "},
		{"require \"regex\"; if header :regex \"a\" \"(\" {}", "line 1, column 39: bad regular expression: missing closing ): `(?si)(`"},
		{"else {}", "line 1, column 1: else must follow if or elsif"},
		{"if size 10 {}", "line 1, column 4: size needs :over or :under"},
		{"require \"x\" 9999999999999999999999G;", "line 1, column 13: the number 9999999999999999999999G is too big"},
		{strings.Repeat("if true {", 40) + strings.Repeat("}", 40), "line 1, column 298: too many levels"},
		{"text:\nx", "line 1, column 1: text: has no end"},
		{"keep;\n\xff", "line 2, column 1: this is not UTF-8"},
	} {
		_, faults := sieveCompile(x.script)
		if len(faults) == 0 || !strings.HasPrefix(faults[0].Error(), x.want) {
			t.Errorf("%q: %v\nwant %s", x.script, faults, x.want)
		}
	}
	for _, x := range []struct{ script, want string }{
		{`require "reject"; keep; reject "x";`, "line 1, column 25: reject can't be used together with keep"},
		{`require ["variables","fileinto"]; fileinto "${x}";`, "line 1, column 35: the mailbox has no name"},
		{`require "include"; include "none";`, `line 1, column 20: there is no script "none"`},
	} {
		out, err := sieveTestRun(t, x.script)
		if err == nil || err.Error() != x.want || out.say() != "(keep)" {
			t.Errorf("%q: %v, %q", x.script, err, out.say())
		}
	}
}

// TestSieveRunaway holds that no script works for long: matching, regular expressions, loops and variables that grow.
func TestSieveRunaway(t *testing.T) {
	for _, script := range []string{
		strings.Repeat(`if body :raw :matches "*a*b*c*d*e*f*g*h*" {stop;}`+"\n", 200),
		strings.Repeat(`if body :raw :regex "(x+x+)+y" {stop;}`+"\n", 200),
		`set "a" "0123456789012345678901234567890123456789";` + strings.Repeat(`set "a" "${a}${a}${a}${a}${a}${a}${a}${a}";`, 3000),
		"foreverypart {" + strings.Repeat(`if header :mime :anychild :contains "x" "y" {stop;}`, 4000) + "}",
	} {
		compiled, faults := sieveCompile(`require ["body","regex","variables","mime","foreverypart"];` + "\n" + script)
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		mail := sieveMailOf("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n"+strings.Repeat("xxxabcdefg ", 400)+"\r\n", 200) + "--b--\r\n")
		begun := time.Now()
		out, err := sieveExecute(compiled, mail, &sieveWorld{now: begun})
		if err == nil || err.Error() != "the script works too long" || out.say() != "(keep)" {
			t.Errorf("%.60s: %v, %q", script, err, out.say())
		}
		t.Logf("%.40s: %v, work %d", script, time.Since(begun), out.work)
	}
}

// TestSieveEdits writes changed mails: each is a mail that reads as it should, and the one that came is as it was.
func TestSieveEdits(t *testing.T) {
	for _, x := range []struct{ script, want string }{
		{`addheader "X-Long" "` + strings.Repeat("word ", 40) + `";`, "X-Long: word word"},
		{`deleteheader "received"; deleteheader "subject";`, "Received: from x\r\nFrom"},
		{`foreverypart { if header :mime :contenttype "content-type" "application/pdf" { replace "It is gone: grün"; } }`, "--b\r\nContent-Type: text/plain; charset=utf-8\r\n"},
		{`replace :subject "New" "Only this";`, "Subject: New\r\n"},
		{`enclose :subject "Look" "See below";`, "multipart/mixed; boundary=\"=_"},
	} {
		script, faults := sieveCompile(`require ["editheader","foreverypart","mime","replace","enclose"];` + x.script)
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		mail := sieveMailOf(sieveTestMail)
		out, err := sieveExecute(script, mail, &sieveWorld{})
		if err != nil || out.keep == nil || out.keep.content == nil {
			t.Fatalf("%s: %v", x.script, err)
		}
		var b bytes.Buffer
		if err := out.keep.content.writeTo(&b, mail); err != nil {
			t.Fatal(err)
		}
		if int64(b.Len()) != out.keep.content.size(mail) || !strings.Contains(b.String(), x.want) {
			t.Errorf("%s: %d octets, said to be %d:\n%s", x.script, b.Len(), out.keep.content.size(mail), b.String())
		}
		if again := sieveMailOf(b.String()); again.tree.Type != "multipart" && !strings.Contains(x.script, "Only") {
			t.Errorf("%s: it is a %s now:\n%s", x.script, again.tree.Type, b.String())
		}
	}
}

// TestSieveRules writes rules as a script and reads them again; what the page can't show is no rule.
func TestSieveRules(t *testing.T) {
	rules := []sieveRule{
		{Tests: []sieveRuleTest{{Field: "from", Op: "is", Value: `a "b" \ c`}, {Field: "to", Op: "contains", Value: "x", Not: true}}, Folder: "F12", Name: "A/B", Read: true, Star: true},
		{Any: true, Tests: []sieveRuleTest{{Field: "size", Value: "100"}, {Field: "clip"}, {Field: "list-id", Op: "matches", Value: "*x*"}, {Field: "body", Op: "regex", Value: "a+"}}, Label: "Work", Redirect: "b@x.example", Keep: true, On: true},
		{Tests: []sieveRuleTest{{Field: "subject", Op: "contains", Value: "${1}"}}, Reject: "no, thanks"},
		{Tests: []sieveRuleTest{{Field: "size", Value: "1", Not: true}}, Discard: true},
	}
	source := sieveWriteRules(rules)
	if _, faults := sieveCompile(source); len(faults) > 0 {
		t.Fatalf("%v\n%s", faults[0], source)
	}
	got, ok := sieveReadRules(source)
	if !ok || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", rules) {
		t.Errorf("read again:\n%+v\nwritten:\n%+v", got, rules)
	}
	for _, change := range []string{"\r\n", "# mine\r\n", "keep;\r\n", `if true {stop;}`} {
		if _, ok := sieveReadRules(source + change); ok {
			t.Errorf("%q behind it, and it is still the page's", change)
		}
	}
}

func FuzzSieveCompile(f *testing.F) {
	f.Add(`require ["fileinto","variables"]; if anyof (not header :matches "a" "*b?", size :over 10K) { fileinto "x${1}"; } else { stop; }`)
	f.Add("require \"vacation\"; vacation :mime text:\r\nContent-Type: text/plain\r\n\r\n..x\r\n.\r\n;")
	f.Add("require [\"encoded-character\"]; redirect \"${unicode:40}${hex: 4 5}\"; /* x */ # y")
	f.Add(sieveWriteRules([]sieveRule{{Tests: []sieveRuleTest{{Field: "from", Op: "is", Value: "a"}}, Folder: "F1", Name: "A"}}))
	f.Fuzz(func(t *testing.T, source string) {
		_, faults := sieveCompile(source)
		for _, x := range faults {
			if x.line < 1 || x.col < 1 {
				t.Errorf("%v has no place", x)
			}
		}
		if rules, ok := sieveReadRules(source); ok && sieveWriteRules(rules) != source {
			t.Error("the rules are others")
		}
	})
}

func FuzzSieveRun(f *testing.F) {
	f.Add("subject", "*a?b*", "x${1}", sieveTestMail)
	f.Add("from", "(a|b)+", "${global.x}", "From: a\r\n\r\nx")
	f.Add("x", `\*[`, "2026-01-01", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--")
	f.Fuzz(func(t *testing.T, name, pattern, value, raw string) {
		if len(raw) > 64<<10 {
			return
		}
		q := sieveStringOf
		source := `require ["fileinto","variables","regex","body","mime","foreverypart","extracttext","replace","editheader","date","enclose","imap4flags","subaddress","relational","vacation","enotify"];` +
			`if header :matches ` + q(name) + ` ` + q(pattern) + ` {fileinto ` + q(value) + `;}
			set "p" ` + q(pattern) + `; if header :regex ` + q(name) + ` "${p}" {addflag "${0}";}
			if address :detail :contains "from" ` + q(value) + ` {keep;}
			if body :text :contains ` + q(value) + ` {keep;}
			if date "date" "iso8601" ` + q(value) + ` {keep;}
			foreverypart { extracttext "t"; if header :mime :param "name" "content-type" ` + q(value) + ` {replace "${t}";} }
			deleteheader :matches ` + q("x-"+name) + ` ` + q(pattern) + `; addheader "X-Y" ` + q(value) + `;
			vacation :subject "${t}" "${p}"; enclose "${t}"; keep;`
		script, faults := sieveCompile(source)
		if len(faults) > 0 {
			return
		}
		mail := sieveMailOf(raw)
		out, _ := sieveExecute(script, mail, &sieveWorld{})
		if out.work > 2*sieveMaxWork {
			t.Errorf("work %d", out.work)
		}
		for _, a := range out.actions {
			if a.content != nil {
				var b bytes.Buffer
				if err := a.content.writeTo(&b, mail); err != nil || int64(b.Len()) != a.content.size(mail) {
					t.Errorf("%v, %d octets of %d", err, b.Len(), a.content.size(mail))
				}
			}
		}
	})
}
