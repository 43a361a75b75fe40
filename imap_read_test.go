package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// imapClient speaks IMAP for tests: a command at a time, the answer as one string.
type imapClient struct {
	tb testing.TB
	net.Conn
	r *bufio.Reader
	n int
}

func dialIMAP(tb testing.TB, s *testServer, user string) *imapClient {
	tb.Helper()
	nc, err := net.Dial("tcp", s.addr["imap"])
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	c := &imapClient{tb: tb, Conn: nc, r: bufio.NewReaderSize(nc, 64<<10)}
	c.line()
	c.ok("LOGIN " + user + " secret")
	return c
}

// line reads a line with the literals in it.
func (c *imapClient) line() string {
	c.tb.Helper()
	var sb strings.Builder
	for {
		c.SetReadDeadline(time.Now().Add(testPatience))
		l, err := c.r.ReadString('\n')
		sb.WriteString(l)
		if err != nil {
			c.tb.Fatalf("read: %v after %q", err, sb.String())
		}
		i := strings.LastIndexByte(l, '{')
		if i < 0 || !strings.HasSuffix(l, "}\r\n") {
			return sb.String()
		}
		n, err := strconv.Atoi(l[i+1 : len(l)-3])
		if err != nil {
			return sb.String()
		}
		if _, err := io.CopyN(&sb, c.r, int64(n)); err != nil {
			c.tb.Fatal(err)
		}
	}
}

// do sends a command and returns the untagged lines and the tagged one.
func (c *imapClient) do(command string) (untagged []string, tagged string) {
	c.tb.Helper()
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	if _, err := io.WriteString(c, tag+" "+command+"\r\n"); err != nil {
		c.tb.Fatal(err)
	}
	for {
		l := c.line()
		if rest, ok := strings.CutPrefix(l, tag+" "); ok {
			return untagged, strings.TrimSuffix(rest, "\r\n")
		}
		untagged = append(untagged, strings.TrimSuffix(l, "\r\n"))
	}
}

// ok is do for a command that must succeed.
func (c *imapClient) ok(command string) []string {
	c.tb.Helper()
	untagged, tagged := c.do(command)
	if !strings.HasPrefix(tagged, "OK") {
		c.tb.Fatalf("%.200s: %s", command, tagged)
	}
	return untagged
}

// is checks the untagged lines of a command that must succeed.
func (c *imapClient) is(command string, want ...string) {
	c.tb.Helper()
	got := c.ok(command)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		c.tb.Errorf("%s\n got  %q\n want %q", command, got, want)
	}
}

// putMail puts messages into a user's mailbox without any protocol. Bare LFs in them become CRLF.
func putMail(tb testing.TB, s *testServer, user, box string, mails ...string) {
	tb.Helper()
	for i, text := range mails {
		sp := s.store.NewSpool(100 << 20)
		io.WriteString(sp, strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n"))
		err := s.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName(user + "@home.arpa")
			if err != nil {
				return err
			}
			m, err := tx.MailboxByName(u.ID, box)
			if err != nil {
				return err
			}
			b, err := tx.AddBlob(sp)
			if err != nil {
				return err
			}
			_, err = tx.Append(m, b, Flags{}, time.Date(2026, 3, 1+i, 10, 0, 0, 0, time.UTC))
			return err
		})
		sp.Close()
		if err != nil {
			tb.Fatal(err)
		}
	}
}
