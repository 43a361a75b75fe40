package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/unicode"
)

// imported is what came of an import: "Mailbox: subject (flags)" of each message, in their order.
func imported(t testing.TB, st *Store, user string) []string {
	t.Helper()
	var all []string
	err := st.Read(func(tx *Tx) error {
		all = all[:0]
		u, err := tx.UserByName(user)
		if err != nil {
			return err
		}
		boxes, err := tx.Mailboxes(u.ID)
		if err != nil {
			return err
		}
		for _, m := range boxes {
			err := tx.Messages(m.ID, 1, ^UID(0), func(x *Message) error {
				if x.Gone {
					return nil
				}
				c, err := tx.Content(x.Blob)
				if err != nil {
					return err
				}
				all = append(all, fmt.Sprintf("%s: %s %s", m.Name, c.Header().Get("Subject"), x.Flags))
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// skipped is how many were left out, for all reasons.
func (im *importer) skipped() int {
	n := 0
	for _, s := range im.skips {
		n += s.Count
	}
	return n
}

// importTest imports text into ann's INBOX and returns the importer.
func importTest(t testing.TB, s *testServer, text string) *importer {
	t.Helper()
	im := &importer{st: s.store, limit: 1 << 20, labels: true}
	defer im.close()
	err := s.store.Read(func(tx *Tx) error {
		var err error
		im.user, err = tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		im.box, err = tx.MailboxByName(im.user.ID, "INBOX")
		return err
	})
	if err == nil {
		err = im.read(bufio.NewReaderSize(strings.NewReader(text), mboxLine), importSource{name: "file"})
	}
	if err == nil {
		err = im.flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// TestMboxFromLines: each shape of a From line begins a message, and text that looks like one does not.
func TestMboxFromLines(t *testing.T) {
	for _, line := range []string{
		"From ann@a.example Thu Jan  1 10:00:00 2026", "From ann at a.example  Thu Jan  1 10:00:00 2026", "From - Thu Jan 01 10:00:00 2026",
		"From a@a.example Thu Jan  1 10:00 2026", "From a@a.example 2026-01-01 10:00:00", "From a@a.example 2026-01-01T10:00:00+01:00",
		"From 1712345678901234567@xxx Thu Jan 01 10:00:00 +0000 2026", "From ???@??? Thu Jan 01 10:00:00 2026", "From MAILER-DAEMON Thu Jan  1 10:00:00 2026",
		"From a@a.example Thu Jan  1 10:00:00 2026 +0100", "From a@a.example Thu Jan  1 10:00:00 CET 2026", "From a@a.example Thu Jan  1 10:00:00 MET DST 2026",
		"From a@a.example Thu, 1 Jan 2026 10:00:00 +0100", "From uucp!ann Thu Jan  1 10:00:00 2026 remote from uucp", `From "Ann B"@a.example Thu Jan  1 10:00:00 2026`,
		"From a@a.example Thu Jan  1 10:00:00.123 2026", "From ann Thu Jan  1 10:00:00 2026", "From a@a.example 1/1/2026 10:00", "From a@a.example Do Jan  1 10:00:00 2026",
		"From a@a.example  Jan 1 10:00:00 2026", "From a@a.example 1 Jan 2026 10:00", "From a@a.example", "From ", "From =?utf-8?q?x?= <a@a.example> Thu Jan  1 10:00:00 2026",
	} {
		s := startServer(t)
		im := importTest(t, s, line+"\nSubject: one\n\nbody\n\n"+line+"\nSubject: two\n\nbody\n")
		if got := imported(t, s.store, "ann@home.arpa"); len(got) != 2 || im.skipped() != 0 {
			t.Errorf("%q: %q, skipped %v", line, got, im.skips)
		}
	}
	for _, body := range []string{
		"para\n\nFrom my side nothing\n\nend", "para\n\nFrom Monday, 5 January on we open at 10:00\n\nend", "para\nFrom a@a.example Thu Jan  1 10:00:00 2026\ntext",
		"para\n\nFrom a@a.example Thu Jan  1 10:00:00 2026 I was away\nSubject to change", "para\n\nFrom 2026 on\nNote: this is text\n", "para\n\nFrom here 10:00\nplace: Rome",
		"para\n\n>From a@a.example Thu Jan  1 10:00:00 2026\nSubject: quoted\n", "> From a@a.example Thu Jan  1 10:00:00 2026\n> Subject: quoted",
	} {
		s := startServer(t)
		importTest(t, s, "From a@a.example Thu Jan  1 10:00:00 2026\nSubject: one\n\n"+body+"\n\nFrom a@a.example Thu Jan  1 10:00:00 2026\nSubject: two\n\nx\n")
		if got := imported(t, s.store, "ann@home.arpa"); len(got) != 2 {
			t.Errorf("%q splits: %q", body, got)
		}
	}
}

// TestImportFacts: what mail programs note in an mbox becomes flags, keywords and mailboxes; what they had deleted stays out.
func TestImportFacts(t *testing.T) {
	const from = "From - Thu Jan 01 10:00:00 2026\n"
	for _, c := range []struct{ header, want, skipped string }{
		{"Status: RO\nX-Status: AF\nX-Keywords: work $Forwarded\nSubject: x", `INBOX: x (\Seen \Answered \Flagged $Forwarded work)`, ""},
		{"X-Mozilla-Status: 1003\nX-Mozilla-Status2: 00000000\nX-Mozilla-Keys: $label1 todo                \nSubject: x", `INBOX: x (\Seen \Answered $Forwarded $label1 todo)`, ""},
		{"X-Mozilla-Status: 0009\nSubject: gone", "", "compacted"},
		{"X-Mozilla-Status: 000d\nX-Mozilla-Keys: \n a b\nSubject: gone", "", "compacted"},
		{"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2", "", "own data"},
		{"Subject: Re: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA", `INBOX: Re: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA ()`, ""},
		{"X-Gmail-Labels: Inbox,Opened,Starred,Important\nSubject: x", `INBOX: x (\Seen \Flagged $Important)`, ""},
		{"X-Gmail-Labels: Archived,Unread,=?UTF-8?Q?B=C3=BCcher/Alt?=,\n \"a,b\"\nSubject: x", `Bücher/Alt: x (a,b)`, ""},
		{"X-Gmail-Labels: Sent,Opened\nSubject: x", `Sent: x (\Seen)`, ""},
		{"X-Gmail-Labels: Spam,work\nSubject: x", `Junk: x (\Seen)`, ""},
		{"X-Gmail-Labels: Category Updates,Opened\nSubject: x", `Archive: x (\Seen)`, ""},
	} {
		s := startServer(t)
		im := importTest(t, s, from+c.header+"\n\nbody\n")
		got := strings.Join(imported(t, s.store, "ann@home.arpa"), "; ")
		why := ""
		if len(im.skips) > 0 {
			why = im.skips[0].Why
		}
		if got != c.want || !strings.Contains(why, c.skipped) || (c.skipped == "") != (why == "") {
			t.Errorf("%q: %q, skipped %q", c.header, got, why)
		}
	}
}

// TestImportKinds: mail is taken in each form that it comes in, and what is no mail is refused with a sentence.
func TestImportKinds(t *testing.T) {
	const mail = "Subject: x\nTo: a@b\n\nbody\n"
	long := "From a@b Thu Jan  1 10:00:00 2026\n" + mail + "\nFrom a@b Thu Jan  1 10:00:00 2026\nSubject: long\n\n" + strings.Repeat("y\n", 1<<20) + "\nFrom a@b Thu Jan  1 10:00:00 2026\nSubject: last\n\nz\n"
	for _, c := range []struct {
		name, text, skipped string
		count               int
	}{
		{"message", mail, "", 1}, {"with a byte order mark", "\ufeff" + mail, "", 1}, {"blank lines", "\r\n\n" + mail, "", 1}, {"empty", "", "", 0},
		{"only blank lines", "\n\n\n", "", 0}, {"folded", "Received: from x\n\tby y; Thu, 1 Jan 2026 10:00:00 +0000\n" + mail, "", 1},
		{"emlx", fmt.Sprintf("%-10d\n%s<?xml version=\"1.0\"?><plist><dict><key>date-received</key><integer>1767261600</integer><key>flags</key><integer>17</integer></dict></plist>", len(mail), mail), "", 1},
		{"emlx cut off", "999999\n" + mail, "cut off", 0}, {"number and text", "42\nis the answer\n", importNoMail, 0},
		{"pst", "!BDN\x00\x01rest", "Outlook", 0}, {"zip", "PK\x03\x04rest", "zip", 0}, {"binary", "\x7fELF\x02\x01\x01\x00\x00", importNoMail, 0},
		{"text", "Dear diary,\nFrom: the beginning: it rained.\n", importNoMail, 0}, {"a list", "3 V1 N5 Gabc\n1 :1767261600.M1P1.host\n", importNoMail, 0},
		{"fields of something else", "Name: x\nVersion: 1\n\ntext\n", importNoMail, 0}, {"vCard", "BEGIN:VCARD\nVERSION:3.0\nEND:VCARD\n", "contacts", 0},
		{"From and text", "From the beginning\nit rained.\n", importNoMail, 0}, {"too big in the middle", long, "bigger than", 2},
	} {
		s := startServer(t)
		im := importTest(t, s, c.text)
		why := ""
		if len(im.skips) > 0 {
			why = im.skips[0].Why
		}
		if im.count != c.count || !strings.Contains(why, c.skipped) || (c.skipped == "") != (why == "") {
			t.Errorf("%s: %d taken, skipped %q", c.name, im.count, why)
		}
	}
}

// TestImportTrees imports folders as mail programs leave them: Maildir in its three layouts, Thunderbird, Apple Mail, MH, plain.
func TestImportTrees(t *testing.T) {
	m := func(subject string) string {
		return "Subject: " + subject + "\nDate: Thu, 1 Jan 2026 10:00:00 +0100\n\nbody\n"
	}
	box := func(subjects ...string) string {
		all := ""
		for _, s := range subjects {
			all += "From - Thu Jan 01 10:00:00 2026\n" + m(s) + "\n"
		}
		return all
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"Maildir++", map[string]string{
			"cur/1767261600.M1P1.host,S=1:2,FRSa": m("a"), "cur/1767261601.M1P1.host;2,S": m("b"), "new/1767261603.M1P1.host": m("c"), "tmp/1767261604.x": m("no"),
			"cur/1767261605.odd:2,": "no header at all\n", "dovecot-keywords": "0 work\n", "dovecot-uidlist": "3 V1\n1 :x\n", "subscriptions": "Sent\n", ".DS_Store": "\x00",
			".Sub.Deep/cur/1767261606.x:2,S": m("d"), ".Sub.Deep/maildirfolder": "", ".Entw&APw-rfe/new/1767261607.x": m("e"), ".Sent/cur/1767261608.x:2,S": m("f"),
		}, []string{`Entwürfe: e ()`, `INBOX: a (\Seen \Answered \Flagged work)`, `INBOX: b (\Seen)`, `INBOX:  ()`, `INBOX: c ()`, `Sent: f (\Seen)`, `Sub/Deep: d (\Seen)`}},
		{"nested Maildir", map[string]string{"cur/1.x:2,": m("a"), "Work/cur/2.x:2,": m("b"), "Work/2025/new/3.x": m("c")}, []string{"INBOX: a ()", "Work: b ()", "Work/2025: c ()"}},
		{"Thunderbird", map[string]string{"Inbox": box("a", "b"), "Inbox.msf": "// <!-- <mdb:mork:z v=\"1.4\"/> -->", "Inbox.sbd/Work": box("c"), "Archives.sbd/2025": box("d"), "Archives": "",
			"Templates": "", "filterlog.html": "<html>"}, []string{"Archive/2025: d ()", "INBOX: a ()", "INBOX: b ()", "INBOX/Work: c ()"}},
		{"Apple Mail", map[string]string{"Work.mbox/0ABCDEF0-1234-1234-1234-123456789ABC/Data/1/Messages/17.emlx": fmt.Sprintf("%d\n%s<plist><key>flags</key><integer>1</integer></plist>", len(m("a")), m("a")),
			"Work.mbox/0ABCDEF0-1234-1234-1234-123456789ABC/Data/Messages/18.partial.emlx": "9\nx", "Old.mbox/mbox": box("b"), "Old.mbox/table_of_contents": "\x00\x01"},
			[]string{"Old: b ()", `Work: a (\Seen)`}},
		{"MH", map[string]string{"1": m("a"), "2": m("b"), ".mh_sequences": "cur: 1\n", "work/1": m("c")}, []string{"INBOX: a ()", "INBOX: b ()", "work: c ()"}},
		{"plain", map[string]string{"one.eml": m("a"), "sub/deep/two.eml": m("b"), "sub/readme.txt": "hello\n"}, []string{"INBOX: a ()", "sub/deep: b ()"}},
		{"damaged headers", map[string]string{"blanks.eml": strings.Repeat(" ", 300) + "\n \t\r\n" + m("a"), "odd.eml": "Subject: b\n: <any@attack.example>\n\nbody\n",
			"list.txt": "Subject: maths\nChapter one\n\nbody\n"}, []string{"INBOX: a ()", "INBOX: b ()"}},
		{"hidden", map[string]string{".one.eml": m("a"), "._one.eml": "\x00\x05\x16\x07", ".DS_Store": "\x00", "x.msf": "//"}, []string{"INBOX: a ()"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := newTestCommand(t, "")
			cmd.want(0, "", "a quiet harbour\n", "user", "add", "ann@home.arpa")
			root := filepath.Join(cmd.dir, "tree")
			for name, text := range c.files {
				p := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			words := fmt.Sprintf("%d messages", len(c.want))
			if c.name == "hidden" {
				words += "|2 left out: hidden|1 left out: Thunderbird"
			}
			cmd.want(0, words, "", "import", "ann@home.arpa", root)
			st, err := OpenStore(filepath.Join(cmd.dir, "mail.db"), StoreOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if got := imported(t, st, "ann@home.arpa"); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestImportDates: a message is as old as it says itself, or as its Maildir says, and not as the copy of its file.
func TestImportDates(t *testing.T) {
	for text, want := range map[string]string{
		"Received: from x\n\tby y; Thu, 1 Jan 2026 10:00:00 +0000\nReceived: by z; Fri, 2 Jan 2015 10:00:00 +0000\nDate: Wed, 31 Dec 2025 10:00:00 +0000\n\n": "2026-01-01T10:00:00Z",
		"Date: Wed, 31 Dec 2025 10:00:00 +0000\nSubject: x\n\n":        "2025-12-31T10:00:00Z",
		"Received: no date\nDate: Wed, 31 Dec 2025 10:00:00 +0000\n\n": "2025-12-31T10:00:00Z",
	} {
		if got := arrivalOf(ParseHeader([]byte(text))).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// FuzzImport: whatever a file holds, an import ends, and what it took is in the mailbox, message by message, and comes again out
// of its own export.
func FuzzImport(f *testing.F) {
	for _, s := range []string{"From a@b Thu Jan  1 10:00:00 2026\nSubject: x\n\nbody\n\nFrom b@b Thu Jan  1 10:00:00 2026\nSubject: y\n\n>From z\n", "Subject: x\n\nbody",
		"12\nSubject: x\n\n<plist>", "\ufeff\n\nFrom - \nX-Mozilla-Status: 0008\n\n", "From a\nX-Gmail-Labels: =?utf-8?q?a/../b?=,\"\n\n"} {
		f.Add([]byte(s))
	}
	s := startServer(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		before := len(imported(t, s.store, "ann@home.arpa"))
		im := importTest(t, s, string(text))
		after := imported(t, s.store, "ann@home.arpa")
		if len(after)-before != im.count {
			t.Fatalf("%d said, %d there", im.count, len(after)-before)
		}
		var out bytes.Buffer
		n, err := exportBox(s.store, im.box, &out)
		if err != nil {
			t.Fatal(err)
		}
		again := &importer{st: s.store, limit: 1 << 20, user: im.user, box: im.box}
		defer again.close()
		if err := again.mbox(bufio.NewReaderSize(&out, mboxLine), importSource{}); err != nil {
			t.Fatal(err)
		}
		if got := len(again.pending) + again.count + again.skipped(); got != n {
			t.Fatalf("%d exported, %d read again", n, got)
		}
		err = s.store.Write(func(tx *Tx) error {
			boxes, err := tx.Mailboxes(im.user.ID)
			if err != nil {
				return err
			}
			for _, m := range boxes {
				uids, _, err := tx.UIDs(m.ID, nil)
				if err != nil {
					return err
				}
				if _, err := tx.Expunge(m, uids); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestImportWays: mail as old programs wrote it is read, and what only looks like mail is not.
func TestImportWays(t *testing.T) {
	box := "From a@a.example Thu Jan  1 10:00:00 2026\nFrom: a@a.example\nSubject: one\n\nbody\n\nFrom a@a.example Thu Jan  1 10:00:00 2026\nSubject: two\n\nbody\n"
	wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(box)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want int
		why  string
	}{
		"CR":                                 {strings.ReplaceAll(box, "\n", "\r"), 2, ""},
		"UTF-16":                             {wide, 2, ""},
		"one mail, CR":                       {"From: a@a.example\rSubject: one\r\rbody\r", 1, ""},
		"a long field behind each From line": {strings.Repeat("From a@a.example\nReceived: from x by y "+strings.Repeat("z", 2*mboxLookout)+"\nSubject: one\n\nbody\n\n", 2), 2, ""},
		"no body, a long field":              {strings.Repeat("From a@a.example Thu Jan  1 10:00:00 2026\nReceived: from x by y "+strings.Repeat("z", 2*mboxLookout)+"\nSubject: one\n\n", 2), 2, ""},
		"one field, no body":                 {"Subject: one\n\n", 1, ""},
		"MMDF":                               {"\x01\x01\x01\x01\nFrom: a@a.example\n\nbody\n\x01\x01\x01\x01\n", 0, "MMDF"},
		"Babyl":                              {"BABYL OPTIONS: -*- rmail -*-\nVersion: 5\n\x1f\f\n1,,\nSubject: x\n\nbody\n\x1f", 0, "Babyl"},
		"YAML":                               {"name: x\nsubject: y\n", 0, importNoMail},
		"only a header":                      {"From: a@a.example\nSubject: one\n", 1, ""},
	} {
		s := startServer(t)
		im := importTest(t, s, c.text)
		if im.count != c.want || im.skipped() != min(1, len(c.why)) || (c.why != "" && !strings.Contains(im.skips[0].Why, c.why)) {
			t.Errorf("%s: %d messages, skipped %v", name, im.count, im.skips)
		}
	}
}
