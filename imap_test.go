package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestImapNames(t *testing.T) {
	for name, want := range map[string]string{
		"INBOX": "INBOX", "": "", "&": "&-", "a&b": "a&-b", "台北": "&U,BTFw-", "日本語/x": "&ZeVnLIqe-/x",
		"😀": "&2D3eAA-", "é": "&AOk-", "a é b": "a &AOk- b", "é&é": "&AOk-&-&AOk-", "~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
	} {
		if got := imapEncodeName(name); got != want {
			t.Errorf("encode %q: %q, want %q", name, got, want)
		}
		if got, ok := imapDecodeName(want); !ok || got != name {
			t.Errorf("decode %q: %q, %v", want, got, ok)
		}
	}
	for _, bad := range []string{"&", "&U", "a&b", "&AEE-", "&U,BTFw-&ZeVnLIqe-", "&U,BTFx-", "&2D0-", "&AOl-x&", "&AOk=-", "&AOk/-", "\xff", "é"} {
		if got, ok := imapDecodeName(bad); ok {
			t.Errorf("decode %q: %q", bad, got)
		}
	}
}

func TestImapMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b/c", true}, {"%", "a", true}, {"%", "a/b", false}, {"a/%", "a/b", true}, {"a/%", "a", false},
		{"*/c", "a/b/c", true}, {"%/c", "a/b/c", false}, {"%/%/c", "a/b/c", true}, {"a*c%e", "abcde", true},
		{"a*c%e", "abc/e", false}, {"*c%e", "c/ce", true}, {"%b%/c", "abb/c", true}, {"", "", true}, {"a", "A", false},
		{"**%%", "x/y", true}, {"%*", "x/y", true}, {"x%", "x/y", false},
		{strings.Repeat("*a", 40) + "b", strings.Repeat("a", 900), false},
	} {
		if got := imapMatch(c.pattern, c.name); got != c.want {
			t.Errorf("%.20s ~ %.20s: %v", c.pattern, c.name, got)
		}
	}
}

func TestImapSets(t *testing.T) {
	c := &imapConn{}
	c.uids = imapUIDsOf([]UID{2, 3, 5, 8, 13})
	for _, e := range []struct {
		set  string
		uid  bool
		want string // as a set, or the error
	}{
		{"1", false, "2"}, {"1:*", false, "2:3,5,8,13"}, {"*", false, "13"}, {"5,1:2,2", false, "2:3,13"}, {"4:2", false, "3,5,8"},
		{"6", false, "BAD There is no message 6"}, {"0", false, "BAD 0 in a set"}, {"1:99", false, "BAD There is no message 99"},
		{"1:*", true, "2:3,5,8,13"}, {"4", true, ""}, {"4:7", true, "5"}, {"14:*", true, "13"}, {"99:100", true, ""},
		{"*:9", true, "13"}, {"4294967295", true, ""}, {"4294967296", true, `BAD Bad number "4294967296"`}, {"1:3,3:8", true, "2:3,5,8"},
		{"", true, `BAD Expected a number at ""`}, {"1,", true, `BAD Expected a number at ""`}, {"1:", true, `BAD Expected a number at ""`},
	} {
		p := &imapParser{c: c, rest: e.set}
		got := imapSet(p.setOf(e.uid))
		if err := p.end(); err != nil {
			got = err.Error()
		}
		if got != e.want {
			t.Errorf("%s (uid %v): %q, want %q", e.set, e.uid, got, e.want)
		}
	}
}

// TestImapGone compares tellGone's single pass with taking messages out one by one.
func TestImapGone(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := newImapTester()
		var want []UID
		var changed []imapChange
		var lines []string
		for u := UID(1); u < 40; u++ {
			if r.IntN(3) > 0 {
				c.uids.add(u)
			}
			if r.IntN(3) == 0 {
				changed = append(changed, imapChange{uid: u, gone: r.IntN(2) == 0})
			}
		}
		want = c.uids.all()
		for _, m := range changed {
			if i := slices.Index(want, m.uid); i >= 0 && m.gone {
				want = slices.Delete(want, i, i+1)
				lines = append(lines, "* "+imapSet([]UID{UID(i + 1)})+" EXPUNGE\r\n")
			}
		}
		c.tellGone(changed)
		if !slices.Equal(c.uids.all(), want) {
			t.Errorf("seed %d: %v, want %v", seed, c.uids.all(), want)
		}
		if got := c.said(); got != strings.Join(lines, "") {
			t.Errorf("seed %d: said %q, want %q", seed, got, lines)
		}
	}
}

// TestImapStoredGone has messages expunged between a STORE's commit and its answer: what it stored is told all the same.
func TestImapStoredGone(t *testing.T) {
	c := newImapTester()
	c.rev2, c.uids = true, imapUIDsOf([]UID{1, 2, 3})
	c.effects.stored = []UID{2}
	seen := Flags{Bits: FlagSeen}
	if err := c.tellFlags([]imapChange{{1, 9, seen, true}, {2, 9, seen, true}, {3, 8, seen, false}}, 3); err != nil {
		t.Fatal(err)
	}
	want := "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 3 FETCH (UID 3 FLAGS (\\Seen))\r\n"
	if got := c.said(); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

// imapTester is a connection without a network, for what only writes.
type imapTester struct {
	*imapConn
	out *strings.Builder
}

func newImapTester() imapTester {
	var sb strings.Builder
	return imapTester{&imapConn{conn: &conn{w: bufio.NewWriter(&sb)}, imapView: imapView{}}, &sb}
}

func (c imapTester) said() string {
	c.w.Flush()
	return c.out.String()
}

// TestImapCapabilities holds the table to its word: every extension names its RFC, and a transcript names the extension.
func TestImapCapabilities(t *testing.T) {
	var all strings.Builder
	files, _ := filepath.Glob("testdata/wire/imap-*.txt")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for _, r := range imapCapabilities {
		if (r.rfc < 2000 && r.name != "FILTER=SIEVE") || r.states == 0 { // which is a draft
			t.Errorf("%s: RFC %d, states %b", r.name, r.rfc, r.states)
		}
		if !strings.Contains(all.String(), r.name) {
			t.Errorf("no transcript names %s", r.name)
		}
	}
}

// newModelClient is a client for a test that says what it wants.
func newModelClient(t testing.TB, s *testServer, enable string) *modelClient {
	c := &modelClient{t: t, addr: s.addr["imap"], kind: modelKind{name: t.Name(), enable: enable, qresync: enable == "QRESYNC"},
		r: rand.New(rand.NewPCG(1, 2)), keep: true}
	c.connect()
	t.Cleanup(func() { c.Close() })
	return c
}

// TestImapQuota sets limits of octets and of messages, and runs into both.
func TestImapQuota(t *testing.T) {
	s := startServer(t)
	limit := func(octets, messages int64) {
		err := s.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			u.Quota, u.Messages = octets, messages
			return tx.UpdateUser(u)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := newModelClient(t, s, "")
	said := func(cmd, want string) {
		t.Helper()
		if got := c.do("%s", cmd); !strings.HasPrefix(got, want) {
			t.Errorf("%.40s: %s, want %s", cmd, got, want)
		}
	}
	limit(10<<10, 0)
	said("APPEND INBOX {6000+}\r\n"+strings.Repeat("x", 6000), "OK")
	said("APPEND INBOX {6000+}\r\n"+strings.Repeat("x", 6000), "NO [OVERQUOTA]")
	said("SELECT INBOX", "OK")
	said("COPY 1 Sent", "NO [OVERQUOTA]")
	said("REPLACE 1 INBOX {6000+}\r\n"+strings.Repeat("y", 6000), "OK")
	c.log = nil
	said("GETQUOTAROOT INBOX", "OK")
	if got := strings.Join(c.log, "|"); got != `* QUOTAROOT "INBOX" ""|* QUOTA "" (STORAGE 6 10)` {
		t.Error(got)
	}
	limit(0, 2)
	said("COPY 1 Sent", "OK [COPYUID")
	said("MOVE 1 Sent", "OK")
	said("APPEND INBOX {1+}\r\nx", "NO [OVERQUOTA]")
	c.log = nil
	said(`GETQUOTA ""`, "OK")
	if got := strings.Join(c.log, "|"); got != `* QUOTA "" (MESSAGE 2 2)` {
		t.Error(got)
	}
}

// TestImapResyncNews has messages change and go while SELECT with QRESYNC tells what happened before: the client learns all
// UIDs that EXISTS counted, with no modseq from later, and no news before the tagged OK.
func TestImapResyncNews(t *testing.T) {
	s := startServer(t)
	m := newModelClient(t, s, "QRESYNC")
	for range 3 {
		m.do("APPEND INBOX {1+}\r\nx")
	}
	c := newImapTester()
	c.srv, c.qresync, c.condstore = s.Server, true, true
	err := s.store.Read(func(tx *Tx) (err error) {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			c.mbox, err = tx.MailboxByName(u.ID, "INBOX")
		}
		if err == nil {
			c.seen, err = tx.EachUID(c.mbox.ID, c.uids.add)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.sel("INBOX")
	m.do("UID STORE 1 +FLAGS (\\Deleted)")
	m.do("EXPUNGE")
	m.do("UID STORE 2 +FLAGS (tea)")
	m.do("APPEND INBOX {1+}\r\nx")
	if err := c.resync(&imapResync{modseq: c.seen - 3}); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`\* (FLAGS|OK) .*\r\n`).ReplaceAllString(c.said(), "$1 ")
	want := fmt.Sprintf("* 1 FETCH (UID 1 FLAGS (\\Deleted) MODSEQ (%[1]d))\r\nFLAGS OK * 2 FETCH (UID 2 FLAGS (tea) MODSEQ (%[1]d))\r\n"+
		"* 3 FETCH (UID 3 FLAGS () MODSEQ (%[1]d))\r\n", c.seen)
	if got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

// TestImapOnlyOwn: a message that somebody else put into a mailbox is news, although its flags have changed again since the
// mailbox was read, and although the client did something itself meanwhile.
func TestImapOnlyOwn(t *testing.T) {
	s := startServer(t)
	m := newModelClient(t, s, "CONDSTORE")
	c := newImapTester()
	c.srv = s.Server
	read := func() (box Mailbox) {
		mustRead(t, s.store, func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err == nil {
				box, err = tx.MailboxByName(u.ID, "INBOX")
			}
			return err
		})
		return box
	}
	before := read()
	c.own = map[imapStamp]bool{{before.Owner, before.HighestModSeq}: true}
	m.do("APPEND INBOX {1+}\r\nx")
	after := read()
	only := func(want bool, what string) {
		if got, err := c.onlyOwn(&after, before.HighestModSeq); got != want || err != nil {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	only(false, "somebody else's")
	c.own[imapStamp{after.Owner, after.HighestModSeq}] = true
	only(true, "its own")
	delete(c.own, imapStamp{after.Owner, after.HighestModSeq})
	m.sel("INBOX")
	m.do("UID STORE 1 +FLAGS (tea)")
	only(false, "somebody else's, changed since")
}

// TestImapPruned lets a client come back after its expunges have been forgotten: it is told all UIDs that are not there
// (RFC 7162 §3.2.5.2).
func TestImapPruned(t *testing.T) {
	s := startServer(t)
	c := newModelClient(t, s, "QRESYNC")
	for range 20 {
		c.do("APPEND INBOX {1+}\r\nx")
	}
	c.sel("INBOX")
	validity, before := c.validity, c.highest
	c.do("UID STORE 3:5,9,19:20 +FLAGS.SILENT (\\Deleted)")
	c.do("EXPUNGE")
	after := c.highest
	c.do("UID STORE 7 +FLAGS.SILENT (\\Seen)")
	err := s.store.Write(func(tx *Tx) error {
		n, _ := strconv.Atoi(after)
		if _, err := tx.exec(`DELETE FROM messages WHERE gone=1`); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE mailboxes SET pruned=? WHERE name='INBOX'`, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct{ param, want string }{
		{before, "* VANISHED (EARLIER) 3:5,9,19:20"},
		{before + " 1:10", "* VANISHED (EARLIER) 3:5,9"},
		{before + " 1:100", "* VANISHED (EARLIER) 3:5,9,19:20"},
		{before + " 1:20 (1:2,4 1:2,7)", "* VANISHED (EARLIER) 9,19:20"},
		{before + " 1:20 (1:4 1:4)", "* VANISHED (EARLIER) 3:5,9,19:20"},
		{after, ""},
	} {
		c.do("UNSELECT")
		c.log = nil
		c.do("SELECT INBOX (QRESYNC (%s %s))", validity, e.param)
		got := ""
		for _, l := range c.log {
			if strings.Contains(l, "VANISHED") {
				got = l
			}
		}
		if got != e.want {
			t.Errorf("%s: %q, want %q", e.param, got, e.want)
		}
		if !strings.Contains(strings.Join(c.log, "|"), `FETCH (UID 7 FLAGS (\Seen`) {
			t.Errorf("%s: does not hear of UID 7: %v", e.param, c.log)
		}
	}
}

// TestImapUserGone ends the sessions of a user who is removed, disabled or given another password.
func TestImapUserGone(t *testing.T) {
	for name, change := range map[string]func(*Tx, User) error{
		"removed":  func(tx *Tx, u User) error { return tx.RemoveUser(u.ID) },
		"disabled": func(tx *Tx, u User) error { u.Disabled = true; return tx.UpdateUser(u) },
		"password": func(tx *Tx, u User) error { u.Secret = "SCRAM-SHA-256$4096:eA==$eA==:eA=="; return tx.UpdateUser(u) },
	} {
		s := startServer(t)
		idle, quiet := newModelClient(t, s, ""), newModelClient(t, s, "")
		idle.do("SELECT INBOX")
		fmt.Fprintf(idle, "i IDLE\r\n")
		idle.line("IDLE")
		err := s.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			return change(tx, u)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := idle.line("IDLE"); !strings.HasPrefix(got, "* BYE") {
			t.Errorf("%s: idle hears %q", name, got)
		}
		fmt.Fprintf(quiet, "q NOOP\r\n")
		if got := quiet.line("NOOP"); !strings.HasPrefix(got, "* BYE") {
			t.Errorf("%s: quiet hears %q", name, got)
		}
	}
}

// TestImapMany changes more messages than one step of sync or of a transaction holds. A session must hear of each change
// once, and of nothing else.
func TestImapMany(t *testing.T) {
	t.Parallel()
	many := imapSyncStep + 2*stepMost + 7
	if testing.Short() {
		many = 2*stepMost + 7
	}
	s := startServer(t)
	idle, c := newModelClient(t, s, ""), newModelClient(t, s, "QRESYNC")
	idle.keep, c.keep = false, false
	idle.do("SELECT INBOX")
	c.do("SELECT INBOX")
	fillMailbox(t, s, many)
	idle.do("NOOP")
	if len(idle.msgs) != many {
		t.Fatalf("%d messages", len(idle.msgs))
	}
	c.do("UID FETCH 1:* (UID FLAGS)")
	c.do("UID STORE 1:* +FLAGS.SILENT (\\Flagged)")
	c.do("UID STORE 2:%d +FLAGS.SILENT (\\Deleted)", many)
	idle.do("NOOP")
	for i, m := range idle.msgs {
		if want := []string{`\Flagged`, `\Deleted \Flagged`}[min(i, 1)]; m.uid != i+1 || m.flags != want {
			t.Fatalf("message %d is %v", i+1, m)
		}
	}
	if got := c.do("UID COPY 1:* Archive"); !strings.HasPrefix(got, "OK [COPYUID") || !strings.Contains(got, fmt.Sprintf(" 1:%d 1:%d]", many, many)) {
		t.Error(got)
	}
	c.do("EXPUNGE")
	idle.do("NOOP")
	if len(idle.msgs) != 1 || len(c.msgs) != 1 {
		t.Errorf("%d and %d messages are left", len(idle.msgs), len(c.msgs))
	}
}

// fillMailbox puts n small messages into ann's INBOX.
func fillMailbox(t testing.TB, s *testServer, n int) {
	sp := s.store.NewSpool(1 << 10)
	defer sp.Close()
	sp.Write([]byte("Subject: x\r\n\r\nx\r\n"))
	var blob Blob
	for i := 0; i < n; i += stepMost {
		err := s.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName("ann@home.arpa")
			if err != nil {
				return err
			}
			m, err := tx.MailboxByName(u.ID, "INBOX")
			if err != nil {
				return err
			}
			if i == 0 {
				if blob, err = tx.AddBlob(sp); err != nil {
					return err
				}
			}
			for range min(stepMost, n-i) {
				if _, err := tx.Append(m, blob, Flags{}, s.store.Now()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestImapLiterals refuses what is too big without losing its place in the conversation.
func TestImapLiterals(t *testing.T) {
	s := startServer(t, "[limits]", `message = "64KB"`)
	c := newModelClient(t, s, "")
	id := `ID ("k0" "` + strings.Repeat("v", 1024) + `"`
	for i := 1; i < 30; i++ {
		id += fmt.Sprintf(` "%s" "%s"`, strings.Repeat("k", 28)+fmt.Sprintf("%02d", i), strings.Repeat("v", 1024))
	}
	nc, r, _ := dialService(t, s, "imap")
	fmt.Fprintf(nc, "i %s)\r\n", id)
	if got, _ := r.ReadString('\n'); !strings.HasPrefix(got, "* ID (") { // as long as one may be (RFC 2971 §3.3)
		t.Error(got)
	}
	big := strings.Repeat("x", 100_000)
	var words strings.Builder // sorting them in, one by one, took a minute
	for i := range 9000 {
		fmt.Fprintf(&words, " k%d", i)
	}
	for cmd, want := range map[string]string{
		`LIST "" "` + strings.Repeat("a*", imapWild) + `x"`:                                                 "BAD Too many patterns",
		"APPEND INBOX {100000+}\r\n" + big:                                                                  "NO [TOOBIG]",
		"APPEND Nowhere {100000+}\r\n" + big + " {2+}\r\nhi":                                                "NO [TRYCREATE]",
		"CREATE {102401+}\r\n" + big + strings.Repeat("x", 2401):                                            "NO [TOOBIG]",
		"APPEND INBOX CATENATE (TEXT {60000+}\r\n" + big[:60000] + " TEXT {60000+}\r\n" + big[:60000] + ")": "NO [TOOBIG]",
		"SEARCH " + strings.Repeat("OR ALL ", 100):                                                          "BAD",
		"APPEND INBOX (k" + words.String() + ") {2}":                                                        "BAD Too many flags",
	} {
		c.n++
		fmt.Fprintf(c, "x%d %s\r\n", c.n, cmd)
		if got := c.line("literal"); !strings.HasPrefix(got, fmt.Sprintf("x%d %s", c.n, want)) {
			t.Errorf("%.30s: %s, want %s", cmd, got, want)
		}
		c.do("NOOP")
	}
	fmt.Fprintf(c, "l NOOP %s\r\n", strings.Repeat("x", imapLineAfter))
	if got := c.line("long"); got != "* BAD Line too long" {
		t.Error(got)
	}
	c.do("NOOP")
}

// TestImapAppendMany appends more in one command than memory may hold, and more than one transaction takes, while the
// collector and the index run: all of it or, when the client goes away or the quota ends, nothing.
func TestImapAppendMany(t *testing.T) {
	size := 20_000
	if testing.Short() {
		size = 8000 // 320 of them are still more than may be held
	}
	s := startServer(t)
	c := newModelClient(t, s, "")
	command := func(n, size int) string {
		var sb strings.Builder
		sb.WriteString("APPEND INBOX")
		for i := range n {
			text := fmt.Sprintf("Subject: %d\r\n\r\nnumber%d\r\n%s", i, i, strings.Repeat("all work and no play\r\n", size/22))
			fmt.Fprintf(&sb, " {%d+}\r\n%s", len(text), text)
		}
		return sb.String()
	}
	quit, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			if err := errors.Join(s.store.Collect(), s.store.Index()); err != nil {
				t.Error(err)
			}
		}
	}()
	const many = 5 * stepFirst
	if got := c.do("%s", command(many, size)); !strings.HasPrefix(got, "OK [APPENDUID") {
		t.Errorf("%d messages: %s", many, got)
	}
	if got := c.do("%s", command(2, 3<<20)); !strings.HasPrefix(got, "OK [APPENDUID") {
		t.Errorf("two big ones: %s", got)
	}
	c.do("SELECT INBOX")
	if len(c.msgs) != many+2 {
		t.Errorf("%d messages", len(c.msgs))
	}
	for uid, want := range map[int]int{1: 0, many: many - 1, many + 2: 1} {
		c.log = nil
		c.do("UID SEARCH BODY number%d SUBJECT %d UID %d", want, want, uid)
		if got := strings.Join(c.log, "\n"); got != fmt.Sprintf("* SEARCH %d", uid) {
			t.Errorf("message %d: %s", uid, got)
		}
	}
	var big Message
	mustRead(t, s.store, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		inbox, err := tx.MailboxByName(u.ID, "INBOX")
		if err == nil {
			big, err = tx.Message(inbox.ID, many+2)
		}
		return err
	})
	content, err := s.store.Content(big.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(content.Reader()); err != nil || !strings.HasSuffix(command(2, 3<<20), string(b)) {
		t.Errorf("the big one has %d octets: %v", len(b), err)
	}
	gone := newModelClient(t, s, "")
	text := command(many, size)
	fmt.Fprintf(gone, "x %s", text[:len(text)/2])
	gone.Close()
	if err := s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			u.Messages = 2 * many
			err = tx.UpdateUser(u)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := c.do("%s", text); !strings.HasPrefix(got, "NO [OVERQUOTA]") {
		t.Errorf("over quota: %s", got)
	}
	c.do("NOOP")
	if len(c.msgs) != many+2 {
		t.Errorf("%d messages in the end", len(c.msgs))
	}
	close(quit)
	<-done
	waitFor(t, "content that nobody refers to to be gone, as the client is", func() bool {
		if err := s.store.Collect(); err != nil {
			t.Fatal(err)
		}
		var free []int64
		mustRead(t, s.store, func(tx *Tx) (err error) { free, err = tx.ints(`SELECT blob FROM refs WHERE n=0`); return err })
		return len(free) <= 1 // the newest one keeps the counter
	})
	checkStore(t, s.store)
}

// imaptestDiffers is what Dovecot's imaptest expects otherwise, by test and command; HACKING.md says why.
var imaptestDiffers = map[string]string{
	"fetch-envelope": `fetch 1:\* envelope`,
	"listext":        `list "" .*% return \(children subscribed\)|list \(subscribed recursivematch\) .*test[28].*`,
	"subscribe":      `lsub "" .*%`,
	"notify":         `notify set status \(mailboxes .* \(Message(New|Expunge)\)\)`, // imaptest's own newer tests ask as we do
}

// TestImaptest runs the scripted tests and then the stress of Dovecot's imaptest: IMAPTEST names the program, which no
// distribution has, and IMAPTEST_TESTS the folder of its tests.
func TestImaptest(t *testing.T) {
	bin, scripts := os.Getenv("IMAPTEST"), os.Getenv("IMAPTEST_TESTS")
	if bin == "" || scripts == "" || testing.Short() {
		skip(t, "imaptest, the program and the folder of its tests named by IMAPTEST and IMAPTEST_TESTS, and no -short")
	}
	s := startServer(t, "[limits]", "per_address = 100")
	_, port, _ := net.SplitHostPort(s.addr["imap"])
	mbox := filepath.Join(t.TempDir(), "mbox")
	var b strings.Builder
	for i := range 200 { // it follows messages by their ids
		fmt.Fprintf(&b, "From x@y  Fri Feb 22 17:06:23 2008\r\nFrom: a%d@y\r\nDate: Fri, 22 Feb 2008 17:06:23 +0200\r\nSubject: s%d\r\nMessage-ID: <%d@y>\r\n\r\n%s\r\n",
			i%7, i%9, i, strings.Repeat("some words\r\n", 1+i%50))
	}
	if err := os.WriteFile(mbox, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		args = append([]string{"user=ann@home.arpa", "pass=secret", "host=127.0.0.1", "port=" + port, "mbox=" + mbox}, args...)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Errorf("%s: %v", args, err)
		}
		return string(out)
	}
	imaptestScripts(t, run, scripts)
	for _, mix := range []string{"", "own_flags expunge=5 logout=1"} {
		out := run(append(strings.Fields(mix), "clients=20", "secs=10")...)
		if faults := regexp.MustCompile(`(?m)^(Error|Panic|Fatal).*`).FindAllString(out, 10); len(faults) > 0 || !strings.Contains(out, "Totals:") {
			t.Errorf("stress %q: %.2000s", mix, strings.Join(faults, "\n"))
		}
		sum := 0
		for _, n := range strings.Fields(out[strings.LastIndex(out, "%")+1:]) {
			k, _ := strconv.Atoi(n)
			sum += k
		}
		t.Logf("stress %q: %d commands a second", mix, sum/10)
	}
}

// imaptestScripts runs the scripted tests, but for those that this imaptest can't read.
func imaptestScripts(t *testing.T, run func(...string) string, scripts string) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(scripts)); err != nil {
		t.Fatal(err)
	}
	out := ""
	for range 10 {
		out = run("test=" + dir)
		bad := regexp.MustCompile(`(?m)^Error: ` + regexp.QuoteMeta(dir) + `/(\S+) line .*`).FindStringSubmatch(out)
		if bad == nil {
			break
		}
		t.Log("SKIPPED: imaptest can't read its own test: ", bad[0])
		os.Remove(filepath.Join(dir, bad[1]))
	}
	sum := regexp.MustCompile(`(?m)^\d+ test groups: .*`).FindString(out)
	if t.Log(sum); sum == "" {
		t.Fatalf("imaptest says %.2000s", out)
	}
	files, _ := filepath.Glob(dir + "/*")
	for _, f := range files { // imaptest doesn't say which tests it skips
		b, _ := os.ReadFile(f)
		for _, needs := range regexp.MustCompile(`(?m)\Acapabilities: (.*)$`).FindAllStringSubmatch(string(b), 1) {
			for _, name := range strings.Fields(needs[1]) {
				if !slices.ContainsFunc(imapCapabilities, func(r imapCapability) bool { return strings.EqualFold(r.name, name) }) {
					t.Logf("SKIPPED: %s needs %s", filepath.Base(f), name)
				}
			}
		}
	}
	failed := regexp.MustCompile(`(?ms)^\*\*\* Test (\S+) command (.*?)\n\n`).FindAllStringSubmatch(out+"\n\n", -1)
	for _, f := range failed {
		want, ok := imaptestDiffers[f[1]]
		known := ok && regexp.MustCompile(`(?m)^ - Command.*?: (`+want+`)$`).MatchString(f[2])
		if known {
			t.Logf("differs as HACKING.md says: %s, command %.60q", f[1], f[2])
		} else {
			t.Errorf("%s", f[0])
		}
	}
}
