package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// addMail puts messages into a user's INBOX as they are.
func addMail(tb testing.TB, st *Store, user string, messages ...string) {
	tb.Helper()
	for _, m := range messages {
		sp := st.NewSpool(1 << 30)
		defer sp.Close()
		if _, err := io.WriteString(sp, m); err != nil {
			tb.Fatal(err)
		}
		err := st.Write(func(tx *Tx) error {
			u, err := tx.UserByName(user)
			if err != nil {
				return err
			}
			box, err := tx.MailboxByName(u.ID, "INBOX")
			if err != nil {
				return err
			}
			b, err := tx.AddBlob(sp)
			if err == nil {
				_, err = tx.Append(box, b, Flags{}, st.Now())
			}
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// popClient is a POP3 client of a few lines.
type popClient struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

func dialPOP3(tb testing.TB, s *testServer) *popClient {
	tb.Helper()
	nc, err := net.Dial("tcp", s.addr["pop3"])
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(testPatience))
	c := &popClient{nc, bufio.NewReader(nc), tb}
	c.status()
	return c
}

// status reads a line.
func (c *popClient) status() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, line)
	}
	return strings.TrimRight(line, "\r\n")
}

func (c *popClient) do(format string, a ...any) string {
	c.t.Helper()
	fmt.Fprintf(c, format+"\r\n", a...)
	return c.status()
}

func (c *popClient) must(format string, a ...any) string {
	c.t.Helper()
	got := c.do(format, a...)
	if !strings.HasPrefix(got, "+OK") {
		c.t.Fatalf(format+": %s", append(a, got)...)
	}
	return got
}

// body reads a multi-line response to its end and takes the dot-stuffing away.
func (c *popClient) body() string {
	c.t.Helper()
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "\r\n") {
			c.t.Fatalf("line %q, %v", line, err)
		}
		if line == ".\r\n" {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (c *popClient) login() {
	c.t.Helper()
	c.must("USER ann")
	c.must("PASS secret")
}

// TestPopOctets fetches mail of every form, and compares what LIST, RETR and STAT say with what comes.
func TestPopOctets(t *testing.T) {
	s := startServer(t)
	mail := []string{
		"Subject: a\r\n\r\nplain\r\n", "Subject: a\n\nbare\nLF\n", "", "\r\n", "\n", ".", "\r", "no header", "Subject: a\r\n", "Subject: a",
		"Subject: a\r\n\r\n", "Subject: a\r\n\r\n.\r\n..\r\n.", "Subject: a\r\n\r\nend\r", "Subject: a\r\n\r\na\x00b\r\n", "Subject: a\r\n\r\na\rb\r\n",
		"Subject: \xe6\x97\xa9\r\n\r\n\xe6\x97\xa9\r\n", "Subject: \xe6\x97\xa9\n\n\xe6\x97\xa9", "Subject: \xff\xfe\r\n\r\n\x00\r\n",
		"Subject: a\r\n\r\n" + strings.Repeat("x", 200_000) + "\r\n",
		"Subject: a\r\n\r\n" + strings.Repeat(".\r\n\n", 60_000),
		"X: " + strings.Repeat("y", 100_000) + "\r\n\r\nlong header\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=\"\xe6\x97\xa9.txt\"\r\n\r\n\xe6\x97\xa9\r\n--b--\r\n",
	}
	addMail(t, s.store, "ann@home.arpa", mail...)
	for _, utf8 := range []bool{false, true} {
		c := dialPOP3(t, s)
		if utf8 {
			c.must("UTF8")
		}
		c.login()
		c.must("LIST")
		list := strings.Split(c.body(), "\r\n")
		var total int64
		for i, m := range mail {
			octets, ok := strings.CutPrefix(list[i], fmt.Sprint(i+1, " "))
			if !ok {
				t.Fatalf("LIST: %q", list[i])
			}
			size, _ := strconv.ParseInt(octets, 10, 64)
			total += size
			if said := c.must("RETR %d", i+1); said != fmt.Sprintf("+OK %d octets", size) {
				t.Errorf("message %d: LIST says %d, RETR %q", i+1, size, said)
			}
			got := c.body()
			if int64(len(got)) != size {
				t.Errorf("message %d: %d octets and not %d", i+1, len(got), size)
			}
			odd := strings.ContainsFunc(strings.ReplaceAll(m, "\r\n", ""), func(r rune) bool { return r == '\n' || r == 0 || r > 0x7f })
			if !odd && strings.HasSuffix(m, "\r\n") && strings.Contains(m, "\r\n\r\n") && got != m {
				t.Errorf("message %d is not what was stored", i+1)
			}
			if head, _, _ := strings.Cut(got, "\r\n\r\n"); !utf8 && strings.ContainsFunc(head, func(r rune) bool { return r > 0x7f }) {
				t.Errorf("message %d: header %q without UTF8", i+1, head)
			}
			c.must("TOP %d 3", i+1)
			if top := c.body(); !strings.HasPrefix(got, top) || !strings.Contains(top, "\r\n\r\n") && top != "\r\n" {
				t.Errorf("message %d: TOP is no beginning of it, or has no header", i+1)
			}
		}
		if said := c.must("STAT"); said != fmt.Sprintf("+OK %d %d", len(mail), total) {
			t.Errorf("STAT: %q", said)
		}
		c.must("QUIT")
	}
}

// popRender sends a message through popLines in pieces.
func popRender(tb testing.TB, m []byte, piece int, stuff bool) ([]byte, int64) {
	tb.Helper()
	var b bytes.Buffer
	l := &popLines{w: &b, top: -1, stuff: stuff}
	for rest := m; len(rest) > 0; {
		n := min(piece, len(rest))
		if _, err := l.Write(rest[:n]); err != nil {
			tb.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := l.finish(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), l.n
}

// FuzzPopLines checks what makes lines of a message: its result is always whole lines without one that would end the
// response, it does not depend on where writes are cut, and mail whose form is good goes through untouched.
func FuzzPopLines(f *testing.F) {
	for _, m := range []string{"", "a", "a\r\n\r\nb\r\n", ".\n.\r\n.\r.\n", "a: b\n\n.\n", "a: b\r\n\r\n\r", "\x00.\r\n", "a: \xff\r\n\r\n"} {
		f.Add([]byte(m), 1)
	}
	st, err := OpenStore(f.TempDir()+"/mail.db", StoreOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { st.Close() })
	f.Fuzz(func(t *testing.T, m []byte, piece int) {
		lines, n := popRender(t, m, len(m)+1, false)
		if int64(len(lines)) != n {
			t.Errorf("%d octets counted, %d written", n, len(lines))
		}
		if !bytes.HasSuffix(lines, []byte("\r\n")) || bytes.Contains(bytes.ReplaceAll(lines, []byte("\r\n"), nil), []byte("\n")) || bytes.IndexByte(lines, 0) >= 0 {
			t.Errorf("%q are no lines", lines)
		}
		if again, _ := popRender(t, lines, max(piece, 1), false); !bytes.Equal(again, lines) {
			t.Errorf("%q again becomes %q", lines, again)
		}
		stuffed, n2 := popRender(t, m, max(piece, 1), true)
		if n2 != n || bytes.HasPrefix(stuffed, []byte(".\r\n")) || bytes.Contains(stuffed, []byte("\n.\r\n")) {
			t.Errorf("stuffed %q of %d octets, not %d", stuffed, n2, n)
		}
		if un := bytes.ReplaceAll(append([]byte("\n"), stuffed...), []byte("\n.."), []byte("\n.")); !bytes.Equal(un[1:], lines) {
			t.Errorf("unstuffed %q is not %q", un[1:], lines)
		}
		sp := st.NewSpool(1 << 20)
		if _, err := sp.Write(m); err != nil {
			t.Skip(err)
		}
		form, err := sp.form()
		if err != nil {
			t.Fatal(err)
		}
		if form&FormLines == 0 && n != int64(len(m)) {
			t.Errorf("form %d, and %d octets become %d", form, len(m), n)
		}
	})
}

// TestPopUpdate deletes more messages than fit into one transaction, and not those between them.
func TestPopUpdate(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const n = 2*stepMost + 7
	batch := make([]string, n)
	for i := range batch {
		batch[i] = fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i+1)
	}
	addMail(t, s.store, "ann@home.arpa", batch...)
	c := dialPOP3(t, s)
	c.login()
	w := bufio.NewWriter(c)
	for i := 1; i <= n; i++ {
		if i%100 != 0 {
			fmt.Fprintf(w, "DELE %d\r\n", i)
		}
	}
	w.Flush()
	for i := 1; i <= n; i++ {
		if i%100 != 0 {
			c.status()
		}
	}
	if got := c.do("QUIT"); got != fmt.Sprintf("+OK %d messages deleted, goodbye", n-n/100) {
		t.Errorf("QUIT: %s", got)
	}
	c = dialPOP3(t, s)
	c.login()
	c.must("UIDL")
	for i, line := range strings.Split(strings.TrimSpace(c.body()), "\r\n") {
		if !strings.HasSuffix(line, fmt.Sprintf(".%d", (i+1)*100)) {
			t.Errorf("left over: %s", line)
		}
	}
}

// TestPopStop checks that a server that is stopped in the middle of a session says so and deletes nothing.
func TestPopStop(t *testing.T) {
	s := startServer(t)
	addMail(t, s.store, "ann@home.arpa", "Subject: a\r\n\r\nb\r\n")
	c := dialPOP3(t, s)
	c.login()
	c.must("DELE 1")
	go s.Shutdown()
	if got := c.status(); got != "-ERR [SYS/TEMP] The server is being stopped" {
		t.Error(got)
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Error(err)
	}
	err := s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		box, err := tx.MailboxByName(u.ID, "INBOX")
		if box.Exists != 1 {
			t.Errorf("%d messages", box.Exists)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPopDamaged checks that a message whose content can't be read is never taken for a whole one, and that TOP reads no
// more than it needs: it is refused before anything of it is sent, and when the card changes it afterwards, the connection is cut.
func TestPopDamaged(t *testing.T) {
	s := startServer(t)
	for range 2 {
		addMail(t, s.store, "ann@home.arpa", "Subject: a\r\n\r\nline\r\n"+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 5000))
	}
	c := dialPOP3(t, s)
	c.login()
	c.must("RETR 1")
	c.body()
	err := s.store.Write(func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM chunks WHERE id&? >= 2`, 1<<chunkBits-1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.must("TOP 2 10")
	if top := c.body(); !strings.HasPrefix(top, "Subject: a\r\n\r\nline\r\nxxx") {
		t.Errorf("TOP: %.80q", top)
	}
	if got := c.do("RETR 2"); got != "-ERR [SYS/PERM] The message is damaged on the server's disk" {
		t.Errorf("RETR: %q", got)
	}
	c.must("RETR 1")
	rest, err := io.ReadAll(c.r)
	if err != nil || strings.HasSuffix(string(rest), "\r\n.\r\n") || len(rest) < 2*chunkSize {
		t.Errorf("%d octets, %v, and then %q", len(rest), err, rest[max(0, len(rest)-10):])
	}
}

// TestPopSizeMemory checks that a size found out in one session is not found out again in the next, and that sessions
// with UTF8 and without have their own.
func TestPopSizeMemory(t *testing.T) {
	s := startServer(t)
	addMail(t, s.store, "ann@home.arpa", "Subject: \xe6\x97\xa9\n\nbody\n")
	var sizes []string
	for i := range 4 {
		c := dialPOP3(t, s)
		if i%2 == 1 {
			c.must("UTF8")
		}
		c.login()
		sizes = append(sizes, c.must("LIST 1"))
		c.must("QUIT")
		if n := len(s.sent.sizes); n != min(i+1, 2) {
			t.Errorf("after session %d: %d sizes in memory", i, n)
		}
	}
	if sizes[0] != sizes[2] || sizes[1] != sizes[3] || sizes[1] != "+OK 1 22" || sizes[0] == sizes[1] {
		t.Errorf("sizes %q", sizes)
	}
}

// TestPopIdle checks that an idle client is cut off without a word and without deleting (RFC 1939 §3).
func TestPopIdle(t *testing.T) {
	s := startServer(t)
	addMail(t, s.store, "ann@home.arpa", "Subject: a\r\n\r\nb\r\n")
	c := dialPOP3(t, s)
	c.login()
	c.must("DELE 1")
	done := make(chan bool)
	go func() { // ten minutes are over, as soon as the server has begun to wait
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			s.mu.Lock()
			for conn := range s.conns {
				conn.net.SetReadDeadline(time.Now())
			}
			s.mu.Unlock()
		}
	}()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	close(done)
	c = dialPOP3(t, s)
	c.login()
	if got := c.must("STAT"); !strings.HasPrefix(got, "+OK 1 ") {
		t.Error(got)
	}
}

// TestPopLongLine checks that a line which is too long is dropped, and one without end ends the connection.
func TestPopLongLine(t *testing.T) {
	s := startServer(t)
	c := dialPOP3(t, s)
	if got := c.do("USER %s", strings.Repeat("x", popLineMax)); got != "-ERR Line too long" {
		t.Error(got)
	}
	if got := c.do("AUTH PLAIN"); got != "+ " {
		t.Error(got)
	}
	if got := c.do("%s", strings.Repeat("x", popLineMax+1)); got != "-ERR Line too long" {
		t.Error(got)
	}
	c.login()
	go func() {
		for range 1000 {
			if _, err := io.WriteString(c, strings.Repeat("x", 64<<10)); err != nil {
				return
			}
		}
	}()
	if got := c.status(); got != "-ERR Line too long" {
		t.Error(got)
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

// TestPopLock has many clients fight for one maildrop: each gets in, one after the other, and can come back as soon as it
// has read the answer to QUIT.
func TestPopLock(t *testing.T) {
	s := startServer(t)
	addMail(t, s.store, "ann@home.arpa", "Subject: a\r\n\r\nb\r\n")
	var inside sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5 {
				c := dialPOP3(t, s)
				for {
					c.do("USER ann")
					got := c.do("PASS secret")
					if got == "+OK 1 messages" {
						break
					}
					if !strings.HasPrefix(got, "-ERR [IN-USE]") {
						t.Errorf("login: %s", got)
						return
					}
					time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
				}
				if !inside.TryLock() {
					t.Error("two sessions have the maildrop")
					return
				}
				c.do("RETR 1")
				c.body()
				inside.Unlock()
				if got := c.do("QUIT"); got != "+OK Goodbye" {
					t.Error(got)
				}
			}
		}()
	}
	wg.Wait()
	c := dialPOP3(t, s)
	c.login()
	c.must("QUIT")
	c = dialPOP3(t, s)
	c.login() // at once
}

// TestPopChinese checks that every text of ours has a translation, and that no translation is of a text that is gone.
func TestPopChinese(t *testing.T) {
	used := map[string]bool{}
	text := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, _ := strconv.Unquote(lit.Value)
			used[s] = true
		}
	}
	look := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch fn := n.Fun.(type) {
			case *ast.SelectorExpr:
				switch fn.Sel.Name {
				case "ok", "say":
					text(n.Args[0])
				case "no":
					text(n.Args[1])
				}
			case *ast.Ident:
				if fn.Name == "popNo" {
					text(n.Args[1])
				}
			}
		case *ast.CompositeLit:
			if id, ok := n.Type.(*ast.Ident); ok && id.Name == "popError" && len(n.Elts) == 2 {
				text(n.Elts[1])
			}
		}
		return true
	}
	files, _ := filepath.Glob("pop3*.go")
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, look)
	}
	for s := range used {
		if zh := popChinese[s]; zh == "" || strings.Count(zh, "%") != strings.Count(s, "%") {
			t.Errorf("%q is in Chinese %q", s, zh)
		}
	}
	for s := range popChinese {
		if !used[s] {
			t.Errorf("nobody says %q", s)
		}
	}
}

// popStates are what FuzzPOP3 says before its line.
var popStates = []string{"", "USER ann\r\n", "UTF8\r\nLANG zh\r\n", "AUTH PLAIN\r\n", "AUTH SCRAM-SHA-256\r\nbiwsbj1hbm4scj1hYmM=\r\n",
	"USER ann\r\nPASS secret\r\n", "UTF8\r\nUSER ann\r\nPASS secret\r\nDELE 1\r\n"}

// FuzzPOP3 says a line in each state. Whatever it is, the server answers in whole lines, ends when the client does,
// gives the maildrop back, and deletes nothing without QUIT.
func FuzzPOP3(f *testing.F) {
	for verb := range popCommands {
		f.Add([]byte(verb))
		f.Add([]byte(verb + " 1 2 3"))
	}
	for _, line := range []string{"TOP 1 1\r\nRETR 2", "\x00", "*", "=", "AGFubgBzZWNyZXQ=", "RETR 99999999999999999999", "LIST -1", strings.Repeat("x", 20000), "AUTH PLAIN AGFubgBzZWNyZXQ=\nSTAT"} {
		f.Add([]byte(line))
	}
	s := startServer(f, "[limits]\nlogins_minute = 1000000000\nlogins_day = 1000000000\nper_address = 150")
	s.auth.stop = noDelay()
	addMail(f, s.store, "ann@home.arpa", "Subject: \xe6\x97\xa9\n\n.\n", "Subject: two\r\n\r\n.\r\n", "")
	f.Fuzz(func(t *testing.T, line []byte) {
		upper := bytes.ToUpper(line)
		if bytes.Contains(upper, []byte("QUIT")) || bytes.Contains(upper, []byte("STLS")) {
			t.Skip("says goodbye")
		}
		for _, before := range popStates {
			popFuzzOne(t, s, before+string(line)+"\r\n")
		}
	})
}

func popFuzzOne(t *testing.T, s *testServer, text string) {
	nc, err := net.Dial("tcp", s.addr["pop3"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testPatience))
	io.WriteString(nc, text)
	nc.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(nc)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("%q: %v", text, err)
	}
	if err == nil && !bytes.HasSuffix(answer, []byte("\r\n")) {
		t.Errorf("%q: %q", text, answer)
	}
	waitFor(t, fmt.Sprintf("the maildrop to be free after %q", text), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.busy) == 0
	})
	err = s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		box, err := tx.MailboxByName(u.ID, "INBOX")
		if box.Exists != 3 {
			t.Errorf("%q: %d messages are left", text, box.Exists)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
