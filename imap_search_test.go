package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/htmlindex"
)

// charsetMail is a mail as programs of that charset write it: words of the header in encoded words (B), the body in the
// charset, 8-bit, base64 or quoted-printable.
func charsetMail(tb testing.TB, charset, cte, subject, body string) string {
	tb.Helper()
	enc, err := htmlindex.Get(charset)
	if err != nil {
		tb.Fatal(err)
	}
	code := func(s string) string {
		b, err := enc.NewEncoder().String(s)
		if err != nil {
			tb.Fatalf("%s: %q: %v", charset, s, err)
		}
		return b
	}
	text := code(body)
	switch cte {
	case "base64":
		text = base64.StdEncoding.EncodeToString([]byte(text))
		for i := 60; i < len(text); i += 62 {
			text = text[:i] + "\r\n" + text[i:]
		}
	case "quoted-printable":
		var sb strings.Builder
		w := quotedprintable.NewWriter(&sb)
		w.Write([]byte(text))
		w.Close()
		text = sb.String()
	}
	return fmt.Sprintf("From: =?%s?B?%s?= <x@example.org>\nSubject: =?%s?B?%s?=\nMIME-Version: 1.0\nContent-Type: text/plain; charset=%s\nContent-Transfer-Encoding: %s\n\n%s\n",
		charset, base64.StdEncoding.EncodeToString([]byte(code(subject))), charset, base64.StdEncoding.EncodeToString([]byte(code(subject))), charset, cte, text)
}

// lit is a string as a non-synchronizing literal.
func lit(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

func TestSearchCharsets(t *testing.T) {
	s := startServer(t)
	for i, m := range []struct{ charset, cte, subject, body, part string }{
		{"gbk", "8bit", "会议通知", "明天下午三点开会，请准时参加。", "下午"},
		{"gb18030", "base64", "报销单", "附件是上个月的报销单，请查收。", "报销"},
		{"big5", "quoted-printable", "聚餐", "週末一起吃飯，地點在火車站。", "火車站"},
		{"iso-2022-jp", "7bit", "打ち合わせ", "来週の会議は火曜日です。よろしくお願いします。", "火曜日"},
		{"shift_jis", "base64", "請求書", "請求書を添付しました。", "添付"},
		{"euc-kr", "8bit", "안녕하세요", "내일 회의가 있습니다.", "회의"},
		{"koi8-r", "quoted-printable", "Привет", "Завтра в десять часов утра", "ЗАВТРА"},
		{"windows-1251", "8bit", "Отчёт", "Годовой отчёт готов", "ОТЧЁТ"},
		{"windows-1252", "quoted-printable", "Café", "Déjà vu à la crème brûlée", "CRÈME"},
		{"windows-1250", "8bit", "Žluťoučký", "Příliš žluťoučký kůň", "kůň"},
		{"iso-8859-7", "base64", "Καλημέρα", "Τα λέμε αύριο", "ΑΎΡΙΟ"},
		{"utf-8", "base64", "日程", "Straße и 日程 ①", "日程"},
	} {
		putMail(t, s, "ann", "INBOX", charsetMail(t, m.charset, m.cte, m.subject, m.body))
		c := dialIMAP(t, s, "ann")
		c.ok("SELECT INBOX")
		want := fmt.Sprintf("* SEARCH %d", i+1)
		c.is("SEARCH CHARSET UTF-8 SUBJECT "+lit(m.subject), want)
		c.is("SEARCH CHARSET UTF-8 FROM "+lit(strings.ToLower(m.subject)), want)
		c.is("SEARCH BODY "+lit(m.part), want)
		c.is("SEARCH CHARSET UTF-8 TEXT "+lit(m.subject), want)
		c.is("SEARCH CHARSET UTF-8 NOT BODY "+lit(m.part)+" BODY "+lit(m.part), "* SEARCH")
		enc, _ := htmlindex.Get(m.charset)
		if own, err := enc.NewEncoder().String(m.part); err == nil && m.charset != "iso-2022-jp" {
			c.is("SEARCH CHARSET "+m.charset+" BODY "+lit(own), want)
		}
		c.Close()
	}
}

func TestSearchKeys(t *testing.T) {
	s := startServer(t)
	html := "From: carl@example.org\nTo: list@example.org\nSubject: [list] big\nDate: Mon, 2 Mar 2026 23:30:00 -0800\nContent-Type: text/html; charset=utf-8\n\n" +
		"<html><style>secret{}</style><b>Pay</b>ment of &euro;&nbsp;5 &#20320;&#22909;" + strings.Repeat("<p>line</p>\n", 500) + "END"
	putMail(t, s, "ann", "INBOX", fetchPlain, fetchNested, html)
	c := dialIMAP(t, s, "ann")
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS (\Answered $Forwarded shop)`)
	c.ok(`STORE 3 +FLAGS (\Seen \Deleted \Flagged \Draft)`)
	for _, test := range []struct{ keys, want string }{
		{"ALL", "1 2 3"}, {"2", "2"}, {"1,3", "1 3"}, {"*", "3"}, {"UID 2:*", "2 3"}, {"UID 9", ""}, {"NOT 2", "1 3"},
		{"ANSWERED", "1"}, {"UNANSWERED", "2 3"}, {"DELETED", "3"}, {"UNDELETED", "1 2"}, {"DRAFT", "3"}, {"UNDRAFT", "1 2"},
		{"FLAGGED", "3"}, {"UNFLAGGED", "1 2"}, {"SEEN", "3"}, {"UNSEEN", "1 2"}, {"RECENT", "1 2 3"}, {"OLD", ""}, {"NEW", "1 2"},
		{"KEYWORD $forwarded", "1"}, {"KEYWORD SHOP", "1"}, {"UNKEYWORD shop", "2 3"}, {"KEYWORD other", ""},
		{"FROM ann", "1 2"}, {"TO bob@home", "1"}, {"CC x", ""}, {"BCC x", ""}, {"SUBJECT INNER", ""}, {"SUBJECT outer", "2"},
		{"HEADER Message-ID <1@", "1"}, {`HEADER Content-Type ""`, "2 3"}, {`HEADER X-None ""`, ""}, {`SUBJECT ""`, "1 2 3"},
		{"BODY bye", "1"}, {"BODY carl", "2"}, {"BODY forwarded", "2"}, {"BODY preamble", ""}, {"BODY plain", "2"}, {`BODY ""`, "1 2 3"},
		{"BODY payment", "3"}, {"BODY secret", ""}, {"BODY " + lit("你好"), "3"}, {"BODY " + lit("€"), "3"}, {"BODY lineEND", ""}, {"BODY END", "3"},
		{"BODY " + lit("图.png"), "2"}, {"TEXT carl", "2 3"}, {"TEXT list@example", "3"}, {"TEXT inner", "2"},
		{"LARGER 500", "2 3"}, {"SMALLER 161", "1"}, {"SMALLER 160", ""},
		{"ON 1-Mar-2026", "1"}, {"BEFORE 1-Mar-2026", ""}, {"SINCE 1-Mar-2026", "1 2 3"}, {`SINCE "2-Mar-2026"`, "2 3"},
		{"SENTON 1-Mar-2026", "1"}, {"SENTON 2-Mar-2026", "3"}, {"SENTBEFORE 2-Mar-2026", "1"}, {"SENTSINCE 1-Mar-2026", "1 3"},
		{"OLDER 60", "1 2 3"}, {"YOUNGER 60", ""}, {"SAVEDSINCE 1-Jan-2026", "1 2 3"}, {"SAVEDBEFORE 1-Jan-2026", ""}, {"SAVEDATESUPPORTED", "1 2 3"},
		{"EMAILID M1", "1"}, {"EMAILID X1", ""}, {"THREADID T0", ""},
		{"OR BODY bye DELETED", "1 3"}, {"OR (FROM ann BODY bye) (SUBJECT big)", "1 3"}, {"NOT (OR SEEN ANSWERED)", "2"},
		{"NOT BODY bye", "2 3"}, {"NOT TEXT list", "1 2"}, {"BODY bye NOT SUBJECT x SMALLER 300", "1"}, {"OR OR 1 2 3", "1 2 3"},
	} {
		c.is("SEARCH "+test.keys, strings.TrimSuffix("* SEARCH "+test.want, " "))
	}
	c.is("UID SEARCH RETURN () UNSEEN", `* ESEARCH (TAG "t`+fmt.Sprint(c.n+1)+`") UID ALL 1:2`)
	c.is("SEARCH RETURN (MIN MAX COUNT) ALL", `* ESEARCH (TAG "t`+fmt.Sprint(c.n+1)+`") MIN 1 MAX 3 COUNT 3`)
	c.is("SEARCH RETURN (MIN MAX COUNT ALL) KEYWORD x", `* ESEARCH (TAG "t`+fmt.Sprint(c.n+1)+`") COUNT 0`)
	c.is("SEARCH RETURN (PARTIAL -1:-2) ALL", `* ESEARCH (TAG "t`+fmt.Sprint(c.n+1)+`") PARTIAL (-1:-2 2:3)`)
	c.is("SEARCH RETURN (SAVE) FROM ann")
	c.is("SEARCH $", "* SEARCH 1 2")
	c.is("FETCH $ UID", "* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)")
	c.is("SEARCH MODSEQ 6", "* OK [HIGHESTMODSEQ 7] Flags are told with MODSEQ now", "* SEARCH 1 3 (MODSEQ 7)")
	c.is(`SEARCH MODSEQ "/flags/\\draft" all 7 2`, "* SEARCH")
	for bad, status := range map[string]string{"SEARCH": "BAD", "SEARCH XYZ": "BAD", "SEARCH 0": "BAD", "SEARCH CHARSET X-NONE ALL": "NO [BADCHARSET (", "SEARCH FROM": "BAD",
		"SEARCH OR SEEN": "BAD", "SEARCH (SEEN": "BAD", "SEARCH RETURN (X) ALL": "BAD", "SEARCH " + strings.Repeat("NOT ", 60) + "SEEN": "BAD",
		"SEARCH" + strings.Repeat(" BODY x", 101): "NO [LIMIT]"} {
		if _, tagged := c.do(bad); !strings.HasPrefix(tagged, status) {
			t.Errorf("%.40s: %s", bad, tagged)
		}
		c.ok("NOOP")
	}
}

func TestSearchMailboxes(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "INBOX", fetchPlain, fetchPlain)
	putMail(t, s, "ann", "Archive", fetchNested, fetchPlain, fetchPlain)
	putMail(t, s, "ann", "Trash", fetchPlain)
	putMail(t, s, "bob", "INBOX", fetchPlain)
	c := dialIMAP(t, s, "ann")
	c.ok("CREATE Archive/2025/May")
	c.ok("UNSUBSCRIBE Trash")
	find := func(command, want string) {
		t.Helper()
		var got []string
		for _, l := range c.ok(command) {
			l = strings.TrimPrefix(l, fmt.Sprintf(`* ESEARCH (TAG "t%d" MAILBOX "`, c.n))
			box, rest, _ := strings.Cut(l, `" UIDVALIDITY `)
			_, rest, _ = strings.Cut(rest, ") ")
			got = append(got, box+" "+rest)
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: got %q", command, got)
		}
	}
	find("ESEARCH IN (personal) BODY bye", "INBOX UID ALL 1:2; Archive UID ALL 2:3; Trash UID ALL 1")
	find("ESEARCH IN (mailboxes (Trash Nowhere INBOX)) RETURN (COUNT MIN) FROM ann", "INBOX UID MIN 1 COUNT 2; Trash UID MIN 1 COUNT 1")
	find("ESEARCH IN (subtree Archive) UID *", "Archive UID ALL 3")
	find("ESEARCH IN (subscribed) UID 2:* BODY bye", "INBOX UID ALL 2; Archive UID ALL 2:3")
	find("ESEARCH IN (inboxes subtree-one Archive) RETURN (COUNT) NOT SUBJECT outer", "INBOX UID COUNT 2; Archive UID COUNT 2")
	find(`ESEARCH IN (mailboxes "Other Users/bob@home.arpa/INBOX") ALL`, "")
	find("ESEARCH IN (personal) RECENT", "")
	c.ok("SELECT Archive")
	find("ESEARCH 1", "Archive UID ALL 1")
	find("ESEARCH IN (selected) RETURN (SAVE ALL) 2:*", "Archive UID ALL 2:3")
	c.is("SEARCH $", "* SEARCH 2 3")
	find("ESEARCH IN (personal) RECENT", "Archive UID ALL 1:3")
	for _, bad := range []string{"ESEARCH IN () ALL", "ESEARCH IN (everything) ALL", "ESEARCH IN (personal) 1", "ESEARCH IN (personal) RETURN (SAVE) ALL",
		"ESEARCH IN (personal)", "ESEARCH IN (mailboxes) ALL"} {
		if _, tagged := c.do(bad); !strings.HasPrefix(tagged, "BAD") {
			t.Errorf("%s: %s", bad, tagged)
		}
	}
	c.ok("UNSELECT")
	if _, tagged := c.do("ESEARCH ALL"); !strings.HasPrefix(tagged, "BAD") {
		t.Errorf("nothing is selected: %s", tagged)
	}
}

func TestSearchContext(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "INBOX", fetchPlain, fetchNested, fetchPlain)
	c, d := dialIMAP(t, s, "ann"), dialIMAP(t, s, "ann")
	c.ok("SELECT INBOX")
	d.ok("SELECT INBOX")
	c.is("UID SEARCH RETURN (UPDATE COUNT) FLAGGED", `* ESEARCH (TAG "t3") UID COUNT 0`)
	c.is("SEARCH RETURN (ALL UPDATE CONTEXT) BODY bye UNDELETED", `* ESEARCH (TAG "t4") ALL 1,3`)
	d.ok(`STORE 1:2 +FLAGS (\Flagged)`)
	d.ok(`STORE 3 +FLAGS (\Deleted)`)
	putMail(t, s, "ann", "INBOX", fetchPlain)
	got := strings.Join(c.ok("NOOP"), "\n")
	for _, want := range []string{`* ESEARCH (TAG "t3") UID ADDTO (0 1:2)`, "* ESEARCH (TAG \"t4\") REMOVEFROM (0 3)\n* ESEARCH (TAG \"t4\") ADDTO (0 4)"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	d.ok(`STORE 1:2 -FLAGS (\Flagged)`)
	d.ok(`STORE 1 +FLAGS (\Deleted)`)
	d.ok("EXPUNGE")
	got = strings.Join(c.ok("NOOP"), "\n")
	for _, want := range []string{`* ESEARCH (TAG "t3") UID REMOVEFROM (0 1)`, "* ESEARCH (TAG \"t4\") REMOVEFROM (0 1)\n* 1 EXPUNGE", `* ESEARCH (TAG "t3") UID REMOVEFROM (0 2)`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	c.ok(`CANCELUPDATE "t4"`)
	d.ok(`STORE 2 +FLAGS (\Deleted)`)
	if got := strings.Join(c.ok("NOOP"), "\n"); strings.Contains(got, "ESEARCH") {
		t.Errorf("after CANCELUPDATE: %s", got)
	}
	if got := c.ok("SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL"); !strings.HasPrefix(got[0], "* NO [NOUPDATE ") {
		t.Errorf("%q", got)
	}
	for range imapContextMax - 1 {
		c.ok("SEARCH RETURN (UPDATE) ALL")
	}
	if got := c.ok("SEARCH RETURN (UPDATE) ALL"); !strings.HasPrefix(got[0], "* NO [NOUPDATE ") {
		t.Errorf("%q", got)
	}
	fmt.Fprintf(c, "t3 SEARCH RETURN (UPDATE) ALL\r\n")
	if l := c.line(); !strings.HasPrefix(l, "t3 BAD") {
		t.Errorf("tag used again: %q", l)
	}
}

// TestSearchProgress sees when the client hears how far a search is, and that a search ends when nobody waits for it.
func TestSearchProgress(t *testing.T) {
	s := startServer(t)
	here, there := net.Pipe()
	var sent bytes.Buffer
	c := &imapConn{conn: &conn{srv: s.Server, net: there, w: bufio.NewWriter(&sent)}, imapRun: imapRun{tag: "a1"}}
	c.r = bufio.NewReader(c.conn)
	p := c.progress(5000)
	now := time.Now()
	for i := range 25 {
		if err := p.step(200, now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	want := "* OK [INPROGRESS (\"a1\" 2200 5000)] Still at it\r\n* OK [INPROGRESS (\"a1\" 4200 5000)] Still at it\r\n"
	if err := p.step(200, now.Add(time.Minute)); err != nil || sent.String() != want { // at the goal nothing is told
		t.Errorf("got %q, %v", sent.String(), err)
	}
	here.Close()
	if err := p.step(200, now.Add(time.Hour)); !errors.Is(err, imapErrLost) {
		t.Errorf("after the client has gone: %v", err)
	}
}

// TestSearchSmallParts searches a new message of very many parts: a buffer for each would cost more than all that is in them.
func TestSearchSmallParts(t *testing.T) {
	s := startServer(t)
	for _, part := range []string{"\r\n", "\r\nx\r\n", "Content-Type: text/html\r\n\r\n<p>x\r\n", "Content-Type: text/plain; charset=gbk\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C4=E3\r\n"} {
		mail := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n"+part, 9000) + "--b--\r\n"
		sp := s.store.NewSpool(10 << 20)
		io.WriteString(sp, mail)
		var id BlobID
		s.write(t, func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			box, err := tx.MailboxByName(u.ID, "INBOX")
			if err != nil {
				return err
			}
			b, err := tx.AddBlob(sp)
			if err != nil {
				return err
			}
			id = b.ID
			_, err = tx.Append(box, b, Flags{}, s.store.Now())
			return err
		})
		sp.Close()
		content, err := s.store.Content(id)
		if err != nil {
			t.Fatal(err)
		}
		content.Tree()
		allocatesLess(t, 9000*8<<10, fmt.Sprintf("%q", part), func() {
			if err := bodyText(content, func([]byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		})
	}
}
