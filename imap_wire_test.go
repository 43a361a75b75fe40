package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestImapHeld has many sessions stop within long commands: what they hold together is limited, others are told to try again,
// short commands go on, and all is given back.
func TestImapHeld(t *testing.T) {
	s := startServer(t, "[limits]", "connections = 300", "per_address = 300")
	long := func(n int) string {
		var sb strings.Builder
		sb.WriteString("SEARCH OR BODY x BODY y")
		for range n {
			fmt.Fprintf(&sb, " HEADER X {%d+}\r\n%s", imapLiteralMax, strings.Repeat("y", imapLiteralMax))
		}
		return sb.String()
	}
	var open []*imapClient
	const each = 9*imapLiteralMax - imapHeldFree
	for n := range int64(imapHeldAll / (9*imapLiteralMax + 1000)) {
		c := dialIMAP(t, s, "ann")
		c.ok("SELECT INBOX")
		fmt.Fprintf(c, "a %s HEADER X {1+}\r\n", long(9))
		for s.told.Load() < (n+1)*each {
			time.Sleep(time.Millisecond)
		}
		open = append(open, c)
	}
	c := dialIMAP(t, s, "ann")
	c.ok("SELECT INBOX")
	if _, tagged := c.do(long(9)); !strings.HasPrefix(tagged, "NO [UNAVAILABLE]") {
		t.Errorf("SEARCH: %s", tagged)
	}
	c.ok("SEARCH TEXT {2+}\r\nhi")
	for _, c := range open {
		c.Close()
	}
	for s.told.Load() != 0 {
		c.ok("NOOP")
	}
	c.ok(long(3))
}
