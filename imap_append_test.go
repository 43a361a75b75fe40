package main

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAppendNoFile appends what needs a temporary file when none can be made: the client hears so and goes on.
func TestAppendNoFile(t *testing.T) {
	s := startServer(t)
	c := dialIMAP(t, s, "ann")
	c.ok("NOOP")
	path := s.store.path
	s.store.path = filepath.Join(t.TempDir(), "gone", "mail.db")
	fmt.Fprintf(c, "big APPEND INBOX {%d+}\r\n", 2*spoolMemory)
	io.WriteString(c, strings.Repeat("x", 2*spoolMemory)+"\r\n")
	if l := c.line(); !strings.HasPrefix(l, "big NO ") {
		t.Errorf("APPEND: %s", l)
	}
	s.store.path = path
	c.ok("APPEND INBOX {2+}\r\nhi")

	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC} {
		err = fmt.Errorf("spool: %w", &fs.PathError{Op: "open", Path: ".spool", Err: err})
		got := (&imapConn{}).clientError("APPEND", err)
		if imapFatal(err) || got == nil || got.code != "UNAVAILABLE" {
			t.Errorf("%v: fatal %v, %v", err, imapFatal(err), got)
		}
	}
}
