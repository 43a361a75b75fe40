package main

import (
	"fmt"
	"strings"
	"testing"
)

const fetchPlain = "From: Ann <ann@home.arpa>\nTo: bob@home.arpa\nSubject: =?utf-8?B?5L2g5aW9?=\nMessage-ID: <1@home.arpa>\nDate: Sun, 1 Mar 2026 10:00:00 +0100\n\nHello Bob\nBye\n"

const fetchNested = `From: ann@home.arpa
Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b1

preamble
--b1
Content-Type: text/plain; charset=utf-8
Content-Language: en, de
Content-MD5: Q2hlY2s=

first
--b1
Content-Type: message/rfc822
Content-Description: forwarded

From: carl@example.org
Subject: inner
Content-Type: multipart/alternative; boundary=b2

--b2

plain
--b2
Content-Type: text/html

<p>html
--b2--
--b1
Content-Type: image/png; name*=utf-8''%E5%9B%BE.png
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''%E5%9B%BE.png
Content-ID: <pic@x>
Content-Location: http://example.org/pic

AAEC
--b1--
`

func TestFetchItems(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "INBOX", fetchPlain, fetchNested)
	c := dialIMAP(t, s, "ann")
	c.ok("SELECT INBOX")

	c.is("FETCH 1 FAST", `* 1 FETCH (FLAGS (\Recent) INTERNALDATE "01-Mar-2026 10:00:00 +0000" RFC822.SIZE 160)`)
	env := `ENVELOPE ("Sun, 1 Mar 2026 10:00:00 +0100" "=?utf-8?B?5L2g5aW9?=" (("Ann" NIL "ann" "home.arpa")) (("Ann" NIL "ann" "home.arpa")) (("Ann" NIL "ann" "home.arpa")) ((NIL NIL "bob" "home.arpa")) NIL NIL NIL "<1@home.arpa>")`
	c.is("FETCH 1 ENVELOPE", "* 1 FETCH ("+env+")")
	c.is("FETCH 1 (BODY UID)", `* 1 FETCH (BODY ("text" "plain" NIL NIL NIL "7bit" 16 2) UID 1)`)
	c.is("UID FETCH 1 (FLAGS UID)", `* 1 FETCH (UID 1 FLAGS (\Recent))`)
	c.is("UID FETCH 1:2 MODSEQ", "* OK [HIGHESTMODSEQ 4] Flags are told with MODSEQ now", "* 1 FETCH (UID 1 MODSEQ (3))", "* 2 FETCH (UID 2 MODSEQ (4))")
	c.is("FETCH 2 BODYSTRUCTURE", `* 2 FETCH (BODYSTRUCTURE (`+
		`("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 1 "Q2hlY2s=" NIL ("en" "de") NIL)`+
		`("message" "rfc822" NIL NIL "forwarded" "7bit" 155 (NIL "inner" ((NIL NIL "carl" "example.org")) ((NIL NIL "carl" "example.org")) ((NIL NIL "carl" "example.org")) NIL NIL NIL NIL NIL) `+
		`(("text" "plain" NIL NIL NIL "7bit" 5 1 NIL NIL NIL NIL)("text" "html" NIL NIL NIL "7bit" 7 1 NIL NIL NIL NIL) "alternative" ("boundary" "b2") NIL NIL NIL) 12 NIL NIL NIL NIL)`+
		`("image" "png" ("name*" "utf-8''%E5%9B%BE.png") "<pic@x>" NIL "base64" 4 NIL ("attachment" ("filename*" "utf-8''%E5%9B%BE.png")) NIL "http://example.org/pic") `+
		`"mixed" ("boundary" "b1") NIL NIL NIL))`)
	for _, bad := range []string{"FETCH 1 X", "FETCH 1 (FAST)", "FETCH 1 ()", "FETCH 1 BODY[1.X]", "FETCH 1 BODY[MIME]", "FETCH 1 BODY[0]", "FETCH 1 BODY[HEADER.FIELDS ()]",
		"FETCH 1 BODY[", "FETCH 1 BODY[]<1>", "FETCH 1 BINARY[HEADER]", "FETCH 3 FLAGS", "FETCH 1 FLAGS (CHANGEDSINCE)", "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", "UID FETCH 1 FLAGS (PARTIAL 0:1)"} {
		if _, tagged := c.do(bad); !strings.HasPrefix(tagged, "BAD") {
			t.Errorf("%s: %s", bad, tagged)
		}
		c.ok("NOOP")
	}
}

func TestFetchSections(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "INBOX", fetchPlain, fetchNested)
	c := dialIMAP(t, s, "ann")
	c.ok("EXAMINE INBOX")
	inner := "From: carl@example.org\nSubject: inner\nContent-Type: multipart/alternative; boundary=b2\n\n"
	for _, test := range []struct {
		seq        int
		item, want string
	}{
		{1, "BODY[]", fetchPlain},
		{1, "RFC822", fetchPlain},
		{1, "RFC822.PEEK", fetchPlain},
		{1, "BODY[HEADER]", fetchPlain[:strings.Index(fetchPlain, "\n\n")+2]},
		{1, "RFC822.HEADER", fetchPlain[:strings.Index(fetchPlain, "\n\n")+2]},
		{1, "BODY[TEXT]", "Hello Bob\nBye\n"},
		{1, "RFC822.TEXT", "Hello Bob\nBye\n"},
		{1, "BODY[1]", "Hello Bob\nBye\n"},
		{1, "BODY[1.1]", "NIL"},
		{1, "BODY[2]", "NIL"},
		{1, "BODY[]<0.5>", "From:"},
		{1, "BODY[TEXT]<6.3>", "Bob"},
		{1, "BODY[TEXT]<11.100>", "Bye\n"},
		{1, "BODY[TEXT]<16.100>", ""},
		{1, "BODY[TEXT]<99999999999.100>", ""},
		{1, "BODY[HEADER.FIELDS (To FROM)]", "From: Ann <ann@home.arpa>\nTo: bob@home.arpa\n\n"},
		{1, "BODY[HEADER.FIELDS (X)]", "\n"},
		{1, "BODY[HEADER.FIELDS.NOT (To Subject Message-ID Date)]", "From: Ann <ann@home.arpa>\n\n"},
		{2, "BODY[1]", "first"},
		{2, "BODY[1.MIME]", "Content-Type: text/plain; charset=utf-8\nContent-Language: en, de\nContent-MD5: Q2hlY2s=\n\n"},
		{2, "BODY[1.HEADER]", "NIL"},
		{2, "BODY[2.MIME]", "Content-Type: message/rfc822\nContent-Description: forwarded\n\n"},
		{2, "BODY[2.HEADER]", inner},
		{2, "BODY[2.HEADER.FIELDS (SUBJECT)]", "Subject: inner\n\n"},
		{2, "BODY[2.TEXT]", "--b2\n\nplain\n--b2\nContent-Type: text/html\n\n<p>html\n--b2--"},
		{2, "BODY[2.1]", "plain"},
		{2, "BODY[2.2]", "<p>html"},
		{2, "BODY[2.2.MIME]", "Content-Type: text/html\n\n"},
		{2, "BODY[3]", "AAEC"},
		{2, "BODY[3]<1.2>", "AE"},
		{2, "BODY[4]", "NIL"},
		{2, "BODY[1.1]", "NIL"},
		{2, "BINARY[1]", "first"},
		{2, "BINARY.SIZE[3]", "3"},
	} {
		crlf := strings.ReplaceAll(test.want, "\n", "\r\n")
		value := fmt.Sprintf("{%d}\r\n%s", len(crlf), crlf)
		switch {
		case crlf == "":
			value = `""`
		case crlf == "NIL" || strings.HasPrefix(test.item, "BINARY.SIZE"):
			value = crlf
		}
		label := test.item
		if i := strings.Index(label, "."); i > 0 && strings.HasPrefix(label, "BODY[") && strings.HasSuffix(label, ">") {
			label = label[:strings.LastIndex(label, ".")] + ">"
		}
		if label == "RFC822.PEEK" {
			label = "RFC822"
		}
		c.is(fmt.Sprintf("FETCH %d %s", test.seq, test.item), fmt.Sprintf("* %d FETCH (%s %s)", test.seq, label, value))
	}
}

// TestFetchSeen sees that a fetched body sets \Seen, that the same answer says so and sync does not say it again, and
// that what another session changed meanwhile is told with it.
func TestFetchSeen(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "Archive", fetchPlain, fetchNested, fetchPlain)
	c, d := dialIMAP(t, s, "ann"), dialIMAP(t, s, "ann")
	c.ok("SELECT Archive")
	d.ok("EXAMINE Archive")
	d.is("FETCH 1 BODY[1]<0.1>", "* 1 FETCH (BODY[1]<0> {1}\r\nH)")
	c.is("FETCH 1 BODY.PEEK[1]<0.1>", "* 1 FETCH (BODY[1]<0> {1}\r\nH)")
	c.is("FETCH 1 FLAGS", `* 1 FETCH (FLAGS (\Recent))`)
	c.is("FETCH 1 BODY[1]<0.1>", "* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[1]<0> {1}\r\nH)")
	c.is("FETCH 1 BODY[1]<0.1>", "* 1 FETCH (BODY[1]<0> {1}\r\nH)")
	c.is("UID FETCH 2:3 (BODY[1]<0.1> FLAGS)", "* 2 FETCH (UID 2 BODY[1]<0> {1}\r\nf FLAGS (\\Seen \\Recent))", "* 3 FETCH (UID 3 BODY[1]<0> {1}\r\nH FLAGS (\\Seen \\Recent))")
	d.is("NOOP", "* 1 FETCH (UID 1 FLAGS (\\Seen))", "* 2 FETCH (UID 2 FLAGS (\\Seen))", "* 3 FETCH (UID 3 FLAGS (\\Seen))")
	c.is("FETCH 1:3 FLAGS (CHANGEDSINCE 6)", "* OK [HIGHESTMODSEQ 7] Flags are told with MODSEQ now",
		"* 2 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (7))", "* 3 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (7))")
	c.is("UID FETCH 1:* UID (PARTIAL -1:-2)", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)")
	c.is("UID FETCH 1:* UID (PARTIAL 1:1)", "* 1 FETCH (UID 1)")
	c.is("UID FETCH 1:* UID (PARTIAL 4:9)")
}

// TestFetchVanished sees what the extensions without sequence numbers make of FETCH.
func TestFetchVanished(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "Archive", fetchPlain, fetchPlain, fetchPlain, fetchPlain)
	c := dialIMAP(t, s, "ann")
	c.ok("ENABLE QRESYNC")
	c.ok("SELECT Archive")
	c.ok(`STORE 2,3 +FLAGS (\Deleted)`)
	c.is("EXPUNGE", "* VANISHED 2:3", "* 2 RECENT")
	c.is("UID FETCH 1:* FLAGS (CHANGEDSINCE 5 VANISHED)", "* VANISHED (EARLIER) 2:3", "* 2 FETCH (UID 4 FLAGS (\\Recent) MODSEQ (6))")
	c.is("UID FETCH 3 FLAGS (CHANGEDSINCE 1 VANISHED)", "* VANISHED (EARLIER) 3")
	c.ok("ENABLE UIDONLY")
	c.is("UID FETCH 4 (BODY[TEXT]<0.1> UID)", "* 4 UIDFETCH (UID 4 MODSEQ (9) FLAGS (\\Seen \\Recent) BODY[TEXT]<0> {1}\r\nH)")
	c.is("UID FETCH 1 RFC822.SIZE", "* 1 UIDFETCH (RFC822.SIZE 160)")
	for _, bad := range []string{"FETCH 1 FLAGS", "SEARCH ALL", "UID SEARCH 1"} {
		if _, tagged := c.do(bad); !strings.HasPrefix(tagged, "BAD [UIDREQUIRED]") {
			t.Errorf("%s: %s", bad, tagged)
		}
	}
}

// TestFetchCutShort sees that a message which ends anywhere keeps its structure.
func TestFetchCutShort(t *testing.T) {
	for n := range fetchNested {
		m := NewMIMEReader()
		m.Write([]byte(strings.ReplaceAll(fetchNested[:n], "\n", "\r\n")))
		if _, err := UnmarshalPart(m.Tree().Marshal()); err != nil {
			t.Errorf("after %q: %v", fetchNested[max(n-10, 0):n], err)
		}
	}
}

// TestFetchUTF8 sees what a client gets of raw text in headers, before and after it enables UTF-8.
func TestFetchUTF8(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "Archive", "From: Zoë <zoë@exämple.org>, b@exämple.org\nSubject: Grüße\nX-Plain: a\n  b\nContent-Type: text/plain; charset=utf-8; name=\"ä.txt\"\n\nschön\n")
	c := dialIMAP(t, s, "ann")
	c.ok("EXAMINE Archive")
	from := `((NIL NIL "=?utf-8?q?Zo=C3=AB_zo=C3=AB=40ex=C3=A4mple=2Eorg?=" NIL)(NIL NIL NIL NIL)(NIL NIL "b" "xn--exmple-cua.org"))`
	c.is("FETCH 1 ENVELOPE", `* 1 FETCH (ENVELOPE (NIL "=?utf-8?q?Gr=C3=BC=C3=9Fe?=" `+from+" "+from+" "+from+` NIL NIL NIL NIL NIL))`)
	c.is("FETCH 1 BODY[HEADER.FIELDS (Subject X-Plain)]", "* 1 FETCH (BODY[HEADER.FIELDS (Subject X-Plain)] {57}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-Plain: a\r\n  b\r\n\r\n)")
	for _, l := range c.ok("FETCH 1 (BODYSTRUCTURE BODY[HEADER] BODY[1.MIME])") {
		if !isASCII(l) {
			t.Errorf("not ASCII: %q", l)
		}
	}
	c.ok("ENABLE UTF8=ACCEPT")
	from = `(("Zoë" NIL "zoë" "exämple.org")(NIL NIL "b" "exämple.org"))`
	c.is("FETCH 1 ENVELOPE", `* 1 FETCH (ENVELOPE (NIL "Grüße" `+from+" "+from+" "+from+` NIL NIL NIL NIL NIL))`)
	c.is("FETCH 1 BODY[HEADER.FIELDS (Subject)]", "* 1 FETCH (BODY[HEADER.FIELDS (Subject)] {20}\r\nSubject: Grüße\r\n\r\n)")
	c.is("FETCH 1 BODYSTRUCTURE", `* 1 FETCH (BODYSTRUCTURE ("text" "plain" ("charset" "utf-8" "name" "ä.txt") NIL NIL "7bit" 8 1 NIL NIL NIL NIL))`)
}

func TestReadLimit(t *testing.T) {
	s := startServer(t, "[limits]", "imap_messages = 2")
	putMail(t, s, "ann", "INBOX", fetchPlain, fetchPlain, fetchPlain)
	c := dialIMAP(t, s, "ann")
	c.ok("EXAMINE INBOX")
	for command, want := range map[string]string{
		"UID FETCH 1:3 UID":                 "OK [MESSAGELIMIT 2 2]",
		"UID FETCH 1:2 UID":                 "OK done",
		"UID FETCH 1:* UID (PARTIAL -1:-3)": "NO [MESSAGELIMIT 2",
		"SEARCH ALL":                        "OK [MESSAGELIMIT 2 2]",
		"SORT (DATE) UTF-8 ALL":             "OK done",
		"THREAD REFS UTF-8 ALL":             "OK done",
	} {
		if _, tagged := c.do(command); !strings.HasPrefix(tagged, want) {
			t.Errorf("%s: %s", command, tagged)
		}
	}
	c.is("UID SEARCH ALL", "* SEARCH 2 3")
	c.is("UID SEARCH RETURN (SAVE) ALL")
	c.is("UID SEARCH $", "* SEARCH 2 3")
	c.is("UID SEARCH UIDAFTER 2", "* SEARCH 3")
	c.is("UID SEARCH UIDBEFORE 3", "* SEARCH 1 2")
}
