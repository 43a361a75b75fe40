package main

import (
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
