package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestScriptDelivery lets scripts file, flag, copy, edit and throw away, and looks at what people have then.
func TestScriptDelivery(t *testing.T) {
	s := startServer(t)
	s.setScript(t, "ann", `require ["fileinto","copy","imap4flags","mailbox","editheader","special-use","variables","include","duplicate"];
if duplicate { discard; stop; }
if header :contains "subject" "list" { fileinto :create :flags ["\\Seen", "$News"] "Lists/News"; }
elsif header :contains "subject" "both" { addheader "X-Seen" "yes"; fileinto :copy "Archive"; }
elsif header :contains "subject" "junk" { fileinto :specialuse "\\Junk" "No such"; }
elsif header :contains "subject" "away" { discard; }
elsif header :matches "subject" "to *" { set "n" "${1}"; fileinto "${n}"; }
elsif header :contains "subject" "other" { include :optional "none"; include "second"; }`)
	err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			err = tx.PutScript(u.ID, "second", `require "imap4flags"; addflag "\\Flagged"; keep;`)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(subject string) {
		t.Helper()
		s.mail(t, "x@lab.arpa", "ann@home.arpa", "From: x@lab.arpa\nTo: ann@home.arpa\nSubject: "+subject+"\nMessage-ID: <"+strings.ReplaceAll(subject, " ", ".")+"@x>\n\nx\n")
	}
	for _, x := range []string{"list", "list", "both", "junk", "away", "to Trash", "other"} {
		send(x)
	}
	if n, f := s.in(t, "ann", "Lists/News"); n != 1 || f.String() != `(\Seen $News)` {
		t.Errorf("%d in Lists/News, %v", n, f)
	}
	for box, want := range map[string]int64{"INBOX": 2, "Archive": 1, "Junk": 1, "Trash": 1} {
		if n, _ := s.in(t, "ann", box); n != want {
			t.Errorf("%d in %s, want %d", n, box, want)
		}
	}
	if _, f := s.in(t, "ann", "INBOX"); f.Bits != FlagFlagged {
		t.Errorf("%v for what the included script keeps", f)
	}
	c := dialIMAP(t, s, "ann@home.arpa")
	c.ok("SELECT Archive")
	got, _ := c.do("FETCH 1 BODY.PEEK[]")
	if text := strings.Join(got, "\n"); !strings.Contains(text, "X-Seen: yes") || !strings.Contains(text, "Return-Path: <x@lab.arpa>") {
		t.Errorf("the changed message: %s", text)
	}
	checkStore(t, s.store)
}

// TestScriptFault keeps mail in the inbox when a script fails, and tells its owner once a day.
func TestScriptFault(t *testing.T) {
	s := startServer(t)
	s.setScript(t, "ann", "require [\"fileinto\",\"variables\"];\r\n\r\n  fileinto \"${none}\";")
	for range 3 {
		s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: x\n\nx\n")
	}
	if n, _ := s.in(t, "ann", "INBOX"); n != 4 {
		t.Errorf("%d in the inbox, want 3 and one that says why", n)
	}
	c := dialIMAP(t, s, "ann@home.arpa")
	c.ok("SELECT INBOX")
	got, _ := c.do("FETCH 1:* BINARY.PEEK[1]")
	if text := strings.Join(got, "\n"); strings.Count(text, "line 3, column 3: the mailbox has no name") != 1 {
		t.Errorf("what ann is told: %s", text)
	}
	s.setScript(t, "ann", "require \"fileinto\"; fileinto \"No such\";")
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "Subject: x\n\nx\n")
	if n, _ := s.in(t, "ann", "INBOX"); n != 5 {
		t.Errorf("%d in the inbox after one for a mailbox that is not there", n)
	}
}

// TestScriptRedirect sends mail on to people here, whose scripts are asked as well, and elsewhere; a circle ends in an inbox.
func TestScriptRedirect(t *testing.T) {
	s := openServer(t, t.TempDir()+"/mail.db", StoreOptions{}, "[routes]", `"lab2.arpa" = "127.0.0.1:9"`)
	s.setScript(t, "ann", `require ["copy","editheader"]; redirect :copy "bob@home.arpa"; redirect "x@lab2.arpa"; addheader "X-Edited" "1"; redirect "y@lab2.arpa";`)
	s.setScript(t, "bob", `require "fileinto"; fileinto "Archive";`)
	s.mail(t, "z@lab.arpa", "ann@home.arpa", "Subject: 1\n\nx\n")
	if a, _ := s.in(t, "ann", "INBOX"); a != 0 {
		t.Errorf("ann has %d", a)
	}
	if b, _ := s.in(t, "bob", "Archive"); b != 1 {
		t.Errorf("bob has %d", b)
	}
	var queued []string
	mustRead(t, s.store, func(tx *Tx) error {
		all, err := tx.Queue("")
		for _, q := range all {
			for _, r := range q.Rcpts {
				queued = append(queued, r.Addr.String())
			}
		}
		return err
	})
	if got := strings.Join(queued, " "); got != "x@lab2.arpa y@lab2.arpa" && got != "y@lab2.arpa x@lab2.arpa" {
		t.Errorf("in the queue: %s", got)
	}
	s.setScript(t, "ann", `redirect "bob@home.arpa";`)
	s.setScript(t, "bob", `redirect "ann@home.arpa";`)
	s.mail(t, "z@lab.arpa", "ann@home.arpa", "Subject: 2\n\nx\n")
	a, _ := s.in(t, "ann", "INBOX")
	b, _ := s.in(t, "bob", "INBOX")
	if a+b != 1 {
		t.Errorf("a circle: ann has %d, bob %d", a, b)
	}
	s.setScript(t, "ann", `redirect "nobody@home.arpa";`)
	s.mail(t, "z@lab.arpa", "ann@home.arpa", "Subject: 3\n\nx\n")
	if n, _ := s.in(t, "ann", "INBOX"); n < 2 {
		t.Errorf("ann has %d after redirecting to nobody", n)
	}
	checkStore(t, s.store)
}

// TestScriptReject refuses mail of strangers while they wait, and tells others by a report.
func TestScriptReject(t *testing.T) {
	s := startServer(t)
	s.setScript(t, "ann", `require "reject"; if header :contains "subject" "no" { reject "Not here, please"; }`)
	nc, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &wireConn{nc, bufio.NewReader(nc)}
	p := &wirePlay{t: t, s: s, conns: map[string]*wireConn{"a": c}, vars: map[string]string{}}
	for _, l := range []string{"a <* 220", "a -> EHLO x", "a <* 250 ", "a -> MAIL FROM:<z@lab.arpa>", "a <* 250", "a -> RCPT TO:<ann@home.arpa>", "a <* 250", "a -> DATA", "a <* 354",
		`a => "Subject: no\r\n\r\nx\r\n.\r\n"`, "a <- 550 5.7.1 Not here, please"} {
		p.where = l
		p.line(l)
	}
	s.mail(t, "bob@home.arpa", "ann@home.arpa", "Subject: no\n\nx\n")
	if n, _ := s.in(t, "ann", "INBOX"); n != 0 {
		t.Errorf("ann has %d", n)
	}
	bob := newWebClient(t, s).login("bob")
	bob.get(bob.find(`href="(/box/\d+/\d+)`) + "/source")
	bob.want("Not here, please", "5.7.1")
	s.mail(t, "", "ann@home.arpa", "Subject: no\n\nx\n")
}

// TestScriptReplies answers once in the script's time, never beside the settings page's answer, and notifies.
func TestScriptReplies(t *testing.T) {
	s := startServer(t)
	s.setRule(t, "ann", PrefVacation, Vacation{On: true, Subject: "Page", Text: "From the page."})
	s.setScript(t, "ann", `require ["vacation","enotify"]; vacation :days 1 :subject "Script" :from "bob@home.arpa" "From the script."; `+
		`notify :message "You have mail" "mailto:bob@home.arpa?x-tag=1";`)
	for range 2 {
		s.mail(t, "bob@home.arpa", "ann@home.arpa", "From: bob@home.arpa\nTo: ann@home.arpa\nSubject: Hi\n\nx\n")
	}
	s.mail(t, "bob@home.arpa", "ann@home.arpa", "From: bob@home.arpa\nTo: ann@home.arpa\nSubject: Hi\nAuto-Submitted: auto-generated\n\nx\n")
	c := dialIMAP(t, s, "bob@home.arpa")
	c.ok("SELECT INBOX")
	got, _ := c.do("FETCH 1:* BODY.PEEK[]")
	text := strings.Join(got, "\n")
	for want, n := range map[string]int{"Subject: Script": 1, "Subject: Page": 0, "Subject: You have mail": 2, "From the script.": 1, "X-tag: 1": 2, "auto-notified; owner-email": 2,
		"From: ann@home.arpa": 3, "Auto-Submitted: auto-replied": 1} {
		if have := strings.Count(text, want); have != n {
			t.Errorf("%d × %q, want %d", have, want, n)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestScriptFilters presses the buttons of the filters page.
func TestScriptFilters(t *testing.T) {
	s := startServer(t)
	for i := range 3 {
		s.mail(t, "bob@home.arpa", "ann@home.arpa", fmt.Sprintf("From: Bob <bob@home.arpa>\nTo: ann@home.arpa\nSubject: old %d\n\nx\n", i))
	}
	ann := newWebClient(t, s).login("ann")
	ann.get(ann.find(`href="(/box/\d+/\d+)`))
	ann.get(strings.ReplaceAll(ann.find(`href="(/settings/rules\?sender=[^"#]*)`), "&amp;", "&"))
	ann.want(`value="bob@home.arpa"`)
	archive := fmt.Sprint(s.folder(t, "ann", "Archive").ID)
	ann.press("/settings/filters", "do", "add", "field", "from", "op", "contains", "value", "bob", "field", "subject", "op", "not-is", "value", "old 1", "folder", archive, "read", "1", "label", "Work")
	ann.get("/settings/rules?edit=0")
	ann.want("Work", `value="not-is" selected`)
	ann.press("/settings/filters", "do", "change", "n", "0", "field", "from", "op", "contains", "value", "bob", "field", "subject", "op", "not-is", "value", "old 2", "folder", archive, "star", "1")
	ann.press("/settings/filters", "do", "apply", "n", "0")
	if !strings.Contains(ann.page, "The filter was applied to 2 messages.") {
		t.Error(ann.find(`(?s)<main(.{800})`))
	}
	s.wantIn(t, "ann", "Archive", 2)
	s.wantIn(t, "ann", "INBOX", 1)
	if _, f := s.in(t, "ann", "Archive"); f.Bits&FlagFlagged == 0 {
		t.Errorf("flags %v", f)
	}
	ann.post("/settings/filters", "do", "add", "field", "from", "op", "is", "value", "x", "redirect", "bob@home.arpa")
	if ann.code != 403 && ann.code != 422 {
		t.Errorf("a forward without the password: %d", ann.code)
	}
	ann.get("/settings/script")
	ann.post("/settings/script", "do", "save", "name", "mine", "source", "keep;\nbogus;")
	ann.want("line 2, column 1: unknown command", "bogus;")
	ann.press("/settings/script", "do", "save", "name", "mine", "source", "discard;")
	s.mail(t, "bob@home.arpa", "ann@home.arpa", "Subject: x\n\nx\n")
	s.wantIn(t, "ann", "INBOX", 1)
	ann.get("/settings/rules")
	ann.want("“mine”")
	ann.get("/settings/script?name=filters")
	ann.want("The filters page keeps its rules here.")
	ann.press("/settings/script", "do", "off", "name", "mine")
	ann.press("/settings/script", "do", "use", "name", "filters")
	ann.press("/settings/script", "do", "drop", "name", "mine")
	ann.get("/settings/rules")
	ann.want("old 2")
}

// BenchmarkScript delivers a mail to somebody without a script and with one of 200 lines.
func BenchmarkScript(b *testing.B) {
	var script strings.Builder
	script.WriteString(`require ["fileinto","imap4flags","regex","variables","body"];` + "\r\n")
	for i := range 66 {
		fmt.Fprintf(&script, "if anyof (header :contains \"subject\" \"word%d\", address :is \"from\" \"x%d@lab.arpa\") {\r\n  fileinto \"Archive\"; stop;\r\n}\r\n", i, i)
	}
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("script=%v", with), func(b *testing.B) {
			s := startServer(b)
			if with {
				err := s.store.Write(func(tx *Tx) error {
					u, err := tx.UserByName("ann@home.arpa")
					if err == nil {
						err = tx.PutScript(u.ID, "x", script.String())
					}
					if err == nil {
						err = tx.ActivateScript(u.ID, "x")
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			to, _ := ParseAddr("ann@home.arpa")
			from, _ := ParseAddr("z@lab.arpa")
			begun := cpuTime(syscall.RUSAGE_SELF)
			for b.Loop() {
				sp := s.store.NewSpool(1 << 20)
				sp.Write([]byte(benchMail))
				if err := s.accept(&Mail{SMTPEnvelope: SMTPEnvelope{From: from}, To: rcptsTo(to), Body: sp}); err != nil {
					b.Fatal(err)
				}
				sp.Close()
			}
			b.ReportMetric(float64((cpuTime(syscall.RUSAGE_SELF)-begun)/time.Microsecond)/float64(b.N), "cpu-µs/op")
		})
	}
}

// TestScriptFromFilters opens a file from before there were scripts: its filters are rules that the page can read, in their order.
func TestScriptFromFilters(t *testing.T) {
	step := slices.Index(migrations, scriptSchema)
	path := oldFile(t, step)
	db, err := sql.Open("sqlite", storeDSN(path, openWriting...))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO preferences(user,key,value) SELECT u.id,'filters',json_array(
		json_object('from','a "b" \ c','to','x','folder',(SELECT id FROM mailboxes WHERE owner=u.id AND name='Archive'),'read',json('true')),
		json_object('subject','s','clip',json('true'),'star',json('true'),'folder',99999),
		json_object('clip',json('true'))) FROM users u WHERE u.name='ann@home.arpa'`)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openServer(t, path, StoreOptions{})
	archive := fmt.Sprintf("F%d", s.folder(t, "ann", "Archive").ID)
	want := []sieveRule{
		{Tests: []sieveRuleTest{{Field: "from", Op: "contains", Value: `a "b" \ c`}, {Field: "to", Op: "contains", Value: "x"}}, Folder: archive, Name: "Archive", Read: true},
		{Tests: []sieveRuleTest{{Field: "subject", Op: "contains", Value: "s"}, {Field: "clip"}}, Star: true},
		{Tests: []sieveRuleTest{{Field: "clip"}}},
	}
	var script Script
	mustRead(t, s.store, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			script, err = tx.ActiveScript(u.ID)
		}
		return err
	})
	rules, ok := sieveReadRules(script.Source)
	if !ok || fmt.Sprintf("%+v", rules) != fmt.Sprintf("%+v", want) {
		t.Errorf("%v %+v\nfrom\n%s", ok, rules, script.Source)
	}
	s.mail(t, "x@lab.arpa", "ann@home.arpa", "From: \"A \\\"B\\\" \\\\ C\" <x@lab.arpa>\nTo: x@y.example\nSubject: q\n\nx\n")
}
