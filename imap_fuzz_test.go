package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// fuzzStates are what a client says before the fuzzed text, one for each state that the server can be in.
var fuzzStates = []string{
	"",
	"s1 LOGIN ann secret\r\n",
	"s1 LOGIN ann secret\r\ns2 SELECT INBOX\r\n",
	"s1 LOGIN ann secret\r\ns2 ENABLE QRESYNC IMAP4rev2\r\ns3 EXAMINE INBOX\r\n",
	"s1 LOGIN ann secret\r\ns2 ENABLE UIDONLY UTF8=ACCEPT\r\ns3 SELECT INBOX\r\n",
	"s1 LOGIN ann secret\r\ns2 SELECT INBOX\r\ns3 NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MailboxName))\r\n",
	"s1 LOGIN ann secret\r\ns2 SELECT INBOX\r\ns3 IDLE\r\n",
}

// FuzzIMAP gives the server any text in any state. It must neither crash nor hang, must keep to lines, and must be there for
// the next client.
func FuzzIMAP(f *testing.F) {
	for name := range imapCommands {
		for state := range fuzzStates {
			f.Add(uint8(state), "a "+name+"\r\n")
		}
	}
	for _, line := range []string{
		"a LOGIN {3}\r\nann {6+}\r\nsecret\r\n", "a SELECT INBOX (QRESYNC (1 1 1:* (1:* 1:*)))\r\n", "DONE\r\na NOOP\r\n",
		"a APPEND INBOX (\\Seen x) \"24-Nov-2026 12:00:00 +0100\" {2+}\r\nhi\r\n", "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% *) RETURN (STATUS (MESSAGES))\r\n",
		"a APPEND INBOX CATENATE (URL \"/INBOX;UIDVALIDITY=1/;UID=1/;SECTION=1.MIME/;PARTIAL=1.2\" TEXT {1+}\r\nx)\r\n",
		"a STORE 1:* (UNCHANGEDSINCE 1) -FLAGS.SILENT (\\Deleted)\r\n", "a UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (To)]<1.2>) (CHANGEDSINCE 1 VANISHED)\r\n",
		"a RENAME INBOX \"&U,BTFw-\"\r\n", "a UID MOVE $ Trash\r\n", "a SETACL INBOX bob +lrswipkxte\r\n", "a NOTIFY SET STATUS (SUBTREE (INBOX x) (MessageNew MessageExpunge FlagChange))\r\n",
		"a GETMETADATA (DEPTH 1 MAXSIZE 3) \"\" (/private /shared)\r\n", "a SETMETADATA INBOX (/private/x ~{1+}\r\n\x00 /private/y NIL)\r\n",
		"a SEARCH RETURN (SAVE COUNT) CHARSET utf-8 (OR NOT TEXT x 1:* UID $)\r\n", "a UID REPLACE 1 INBOX {1+}\r\nx\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n",
		"a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbm4scj14\r\n", "a ID (\"a\" NIL \"b\" {1+}\r\nc)\r\n", "a CREATE x (USE (\\Archive))\r\n", "{9999999999999999999+}\r\n",
	} {
		for state := range fuzzStates {
			f.Add(uint8(state), line)
		}
	}
	s := startServer(f, "[limits]", "message = \"64KB\"", "logins_minute = 1000000", "logins_day = 100000000")
	f.Fuzz(func(t *testing.T, state uint8, text string) {
		if len(text) > 64<<10 {
			return
		}
		nc, err := net.Dial("tcp", s.addr["imap"])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(testPatience))
		prologue := fuzzStates[int(state)%len(fuzzStates)]
		go func() {
			io.WriteString(nc, prologue+text)
			nc.(*net.TCPConn).CloseWrite()
		}()
		fuzzAnswers(t, nc)
		if state%16 == 0 { // it is there for the next one
			c := &modelClient{t: t, addr: s.addr["imap"], kind: modelKind{name: "next"}}
			c.connect()
			if got := c.do("NOOP"); got != "OK done" {
				t.Errorf("the next client hears %q", got)
			}
			c.Close()
		}
	})
}

// fuzzAnswers reads all answers: lines that end with CRLF and begin as lines do, and the literals in them.
func fuzzAnswers(t *testing.T, nc net.Conn) {
	r := bufio.NewReader(nc)
	inside := false
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "reset") {
				return
			}
			t.Fatalf("%v after %q", err, line)
		}
		if !strings.HasSuffix(line, "\r\n") {
			t.Fatalf("line without CRLF: %q", line)
		}
		if !inside && line[0] < '!' {
			t.Fatalf("what is %q?", line)
		}
		if strings.Contains(line, "SERVERBUG") {
			t.Fatalf("%q", line)
		}
		var n int
		m := modelLiteral.FindStringSubmatch(strings.TrimSuffix(line, "\r\n"))
		if inside = m != nil; inside {
			fmt.Sscan(m[1], &n)
			if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
				t.Fatalf("literal of %d: %v", n, err)
			}
		}
	}
}
