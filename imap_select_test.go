package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// TestImapKeywordsFull: a mailbox that has as many keywords as it can does not say that more can be made, and again once it can.
func TestImapKeywordsFull(t *testing.T) {
	s := startServer(t)
	c := newModelClient(t, s, "")
	for i := range maxKeywords / maxMsgKeywords {
		if got := c.do("APPEND INBOX (%s) {1+}\r\nx", words(string(rune('a'+i)), maxMsgKeywords)); !strings.HasPrefix(got, "OK") {
			t.Fatal(got)
		}
	}
	more := func() bool {
		t.Helper()
		c.log = nil
		c.do("SELECT INBOX")
		all := strings.Join(c.log, "\n")
		if !strings.Contains(all, "[PERMANENTFLAGS (") {
			t.Fatal(all)
		}
		return strings.Contains(all, `\*)]`)
	}
	if more() {
		t.Error("a full mailbox says that more keywords can be made")
	}
	if got := c.do("APPEND INBOX (new) {1+}\r\nx"); !strings.HasPrefix(got, "NO [LIMIT]") {
		t.Error(got)
	}
	if got := c.do("UID STORE 1 -FLAGS.SILENT (a000)"); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
	if !more() {
		t.Error("there is room, and nobody says so")
	}
}

// TestImapLostSessions: a session that ends without LOGOUT gives its mailbox back, however it ends: what is expunged does not keep its content
// for those who are not there any more, and their memory is free again.
func TestImapLostSessions(t *testing.T) {
	s := startServer(t)
	s.put(t, "bob", "INBOX", "Subject: x\n\nx\n", 0)
	open := func() int {
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		return len(s.store.views)
	}
	for _, end := range []string{"", "\r\n", "b IDLE\r\n", "b LOGOUT\r\n", strings.Repeat("x\r\n", imapBadMax), strings.Repeat("y", 1<<20), "b FETCH 1 BODY.PEEK[]\r\n", "b APPEND INBOX {100}\r\nx"} {
		nc, err := net.Dial("tcp", s.addr["imap"])
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(nc)
		io.WriteString(nc, "l LOGIN bob secret\r\na SELECT INBOX\r\n")
		for l := ""; !strings.HasPrefix(l, "a "); {
			l, err = r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
		}
		if open() != 1 {
			t.Fatalf("%d views are open", open())
		}
		io.WriteString(nc, end)
		nc.Close()
		waitFor(t, "the view of a session that ended with "+end[:min(len(end), 20)], func() bool { return open() == 0 })
	}
}
