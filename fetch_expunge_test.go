package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeBox is a mailbox of an IMAP server that somebody else wrote, with messages by UID.
type fakeBox struct {
	t    *testing.T
	addr string

	mu       sync.Mutex
	mail     map[int64]string
	marked   map[int64]bool // \Deleted
	validity int
	caps     string
	answer   map[string]string // by the beginning of a command; "" hangs up
	before   func(cmd string)  // a command is obeyed
	gone     []string          // mail that was expunged
	said     []string
}

func newFakeBox(t *testing.T, mail int) *fakeBox {
	b := &fakeBox{t: t, mail: map[int64]string{}, marked: map[int64]bool{}, validity: 77, caps: "IMAP4rev1 UIDPLUS", answer: map[string]string{}}
	for n := range mail {
		b.mail[int64(n+1)] = fakeMessage(n+1, "")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b.addr = l.Addr().String()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(nc)
		}
	}()
	return b
}

func (b *fakeBox) serve(nc net.Conn) {
	defer nc.Close()
	fmt.Fprint(nc, "* OK\r\n")
	for sc := bufio.NewScanner(nc); sc.Scan(); {
		tag, cmd, _ := strings.Cut(sc.Text(), " ")
		b.mu.Lock()
		answer := b.obey(tag, cmd)
		b.mu.Unlock()
		if _, err := io.WriteString(nc, answer); err != nil || answer == "" {
			return
		}
	}
}

func (b *fakeBox) obey(tag, cmd string) string {
	b.said = append(b.said, cmd)
	if b.before != nil {
		b.before(cmd)
	}
	for prefix, answer := range b.answer {
		if strings.HasPrefix(cmd, prefix) {
			return strings.ReplaceAll(answer, "TAG", tag)
		}
	}
	ok := tag + " OK\r\n"
	f := strings.Fields(cmd + " . . .")
	uids := fakeSet(f[2])
	out := ""
	switch f[0] + " " + f[1] {
	case "CAPABILITY .":
		return "* CAPABILITY " + b.caps + "\r\n" + ok
	case `SELECT "INBOX"`:
		return fmt.Sprintf("* OK [UIDVALIDITY %d] x\r\n", b.validity) + ok
	case "UID SEARCH":
		out = "* SEARCH"
		var from int64 = 1
		fmt.Sscanf(cmd, "UID SEARCH UID %d:*", &from)
		for _, uid := range slices.Sorted(maps.Keys(b.mail)) {
			if uid >= from && (f[2] != "DELETED" || b.marked[uid]) {
				out += fmt.Sprint(" ", uid)
			}
		}
		return out + "\r\n" + ok
	case "UID FETCH":
		name := "BODY[]"
		if strings.Contains(cmd, "]<0.") {
			name = "BODY[]<0>"
		}
		for _, uid := range uids {
			if m := b.mail[uid]; m != "" {
				out += fmt.Sprintf("* 1 FETCH (UID %d %s {%d}\r\n%s)\r\n", uid, name, len(m), m)
			}
		}
		return out + ok
	case "UID STORE":
		for _, uid := range uids {
			b.marked[uid] = b.mail[uid] != ""
		}
	case "UID EXPUNGE":
		b.expunge(uids)
	case "EXPUNGE .":
		b.expunge(slices.Collect(maps.Keys(b.mail)))
	}
	return ok
}

func (b *fakeBox) expunge(uids []int64) {
	for _, uid := range uids {
		if b.marked[uid] && b.mail[uid] != "" {
			b.gone = append(b.gone, b.mail[uid])
			delete(b.mail, uid)
			delete(b.marked, uid)
		}
	}
}

// fakeSet reads a set of UIDs.
func fakeSet(set string) (uids []int64) {
	for _, word := range strings.Split(set, ",") {
		var from, to int64
		if n, _ := fmt.Sscanf(word, "%d:%d", &from, &to); n == 1 {
			to = from
		}
		for uid := from; uid <= to && uid > 0; uid++ {
			uids = append(uids, uid)
		}
	}
	return uids
}

func (b *fakeBox) with(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn()
}

// count is how many commands with a beginning came.
func (b *fakeBox) count(prefix string) (n int) {
	b.with(func() {
		for _, cmd := range b.said {
			if strings.HasPrefix(cmd, prefix) {
				n++
			}
		}
	})
	return n
}

// left are the UIDs that are there.
func (b *fakeBox) left() (uids []int64) {
	b.with(func() { uids = slices.Sorted(maps.Keys(b.mail)) })
	return uids
}

// check holds what was deleted there against what is here.
func (b *fakeBox) check(have map[string]int) {
	b.t.Helper()
	b.with(func() {
		for _, m := range b.gone {
			if id := ParseHeader([]byte(m)).Get("Message-ID"); have[id] != 1 {
				b.t.Errorf("%s is deleted there and is here %d times", id, have[id])
			}
		}
		for id, n := range have {
			if n != 1 {
				b.t.Errorf("%s came %d times", id, n)
			}
		}
	})
}

func (b *fakeBox) account(t *testing.T) *Fetch {
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("secret"), 0o600)
	return &Fetch{Protocol: "imap", Server: b.addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Mailbox: "INBOX", Delete: true}
}

// TestFetchExpunge takes mail off servers that do not let it go as one would wish: nothing goes that is not here whole, nothing
// comes twice, new mail comes all the same, and what could not be deleted is deleted once that is possible.
func TestFetchExpunge(t *testing.T) {
	const no = "TAG NO [NOPERM] not yours\r\n"
	for _, c := range []struct {
		name  string
		caps  string
		first map[string]string // answers in the first session
		then  func(b *fakeBox)  // between the first session and the second, when a message 9 has come
		left  []int64           // after the second one
		at3   []int64           // and after a third, to which nothing is refused
		check func(b *fakeBox) string
	}{
		{name: "UIDPLUS"},
		{name: "rev2", caps: "IMAP4rev2"},
		{name: "no UIDPLUS", caps: "IMAP4rev1", check: func(b *fakeBox) string { return fmt.Sprint("UID EXPUNGE ", b.count("UID EXPUNGE")) }},
		{name: "CAPABILITY refused", first: map[string]string{"CAPABILITY": "TAG BAD\r\n"}},
		{name: "UID EXPUNGE unknown", first: map[string]string{"UID EXPUNGE": "TAG BAD\r\n"}},
		{name: "EXPUNGE refused", first: map[string]string{"UID EXPUNGE": no, "EXPUNGE": no}},
		{name: "STORE refused", first: map[string]string{"UID STORE": no}},
		{name: "cut at STORE", first: map[string]string{"UID STORE": ""}},
		{name: "cut at EXPUNGE", first: map[string]string{"UID EXPUNGE": ""}},
		{name: "always refused", then: func(b *fakeBox) {}, first: map[string]string{"UID EXPUNGE": no, "EXPUNGE": no}, left: []int64{1, 2, 3, 9}},
		{name: "always cut at EXPUNGE", then: func(b *fakeBox) {}, first: map[string]string{"UID EXPUNGE": ""}, left: []int64{1, 2, 3, 9}},
		{name: "others marked", caps: "IMAP4rev1", first: map[string]string{"UID FETCH 2 ": "TAG NO not now\r\n"}, then: func(b *fakeBox) {
			b.marked[2] = true
			b.answer = map[string]string{"UID FETCH 2 ": "TAG NO not now\r\n", "UID EXPUNGE": "TAG BAD\r\n"}
		}, left: []int64{2, 9}, at3: []int64{}},
		{name: "renumbered", first: map[string]string{"UID EXPUNGE": ""}, then: func(b *fakeBox) {
			b.answer = map[string]string{}
			b.mail = map[int64]string{1: fakeMessage(2, ""), 2: fakeMessage(3, ""), 3: fakeMessage(100, ""), 9: b.mail[9]}
			b.marked = map[int64]bool{}
		}, left: []int64{1, 2, 3}, at3: []int64{1, 2, 3}},
		{name: "another UIDVALIDITY", first: map[string]string{"UID EXPUNGE": ""}, then: func(b *fakeBox) {
			b.answer = map[string]string{}
			b.validity = 78
			b.mail = map[int64]string{1: fakeMessage(100, ""), 2: fakeMessage(101, ""), 9: b.mail[9]}
			b.marked = map[int64]bool{}
		}, left: nil},
		{name: "gone meanwhile", first: map[string]string{"UID EXPUNGE": ""}, then: func(b *fakeBox) {
			b.answer = map[string]string{}
			delete(b.mail, 1)
		}, left: nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := startServer(t)
			b := newFakeBox(t, 3)
			if c.caps != "" {
				b.caps = c.caps
			}
			if c.first != nil {
				b.answer = c.first
			}
			f := b.account(t)
			here.fetch(f)
			b.with(func() {
				b.mail[9] = fakeMessage(9, "")
				if c.then != nil {
					c.then(b)
				} else {
					b.answer = map[string]string{}
				}
			})
			here.fetch(f)
			if left := b.left(); !slices.Equal(left, c.left) {
				t.Errorf("left there: %v, want %v; said %q", left, c.left, b.said)
			}
			have := storedIDs(t, here.store)
			if have["<m9@far.example>"] != 1 {
				t.Errorf("new mail did not come: %v", have)
			}
			b.check(have)
			b.with(func() { b.answer = map[string]string{} })
			if _, err := here.fetch(f); err != nil {
				t.Error(err)
			}
			here.fetch(f)
			if left := b.left(); !slices.Equal(left, c.at3) {
				t.Errorf("left there in the end: %v, want %v", left, c.at3)
			}
			b.check(storedIDs(t, here.store))
			if c.check != nil {
				if got := c.check(b); got != "UID EXPUNGE 0" {
					t.Error(got)
				}
			}
		})
	}
}

// TestFetchExpungeMany deletes in sets, and no set goes before all of it is committed.
func TestFetchExpungeMany(t *testing.T) {
	here := startServer(t)
	b := newFakeBox(t, 2*fetchSet+50)
	delete(b.mail, 7) // a hole in the UIDs
	b.before = func(cmd string) {
		set, ok := strings.CutPrefix(cmd, "UID STORE ")
		if !ok {
			return
		}
		set, _, _ = strings.Cut(set, " ")
		have := storedIDs(t, here.store)
		for _, uid := range fakeSet(set) {
			if id := fmt.Sprintf("<m%d@far.example>", uid); uid == 7 || have[id] != 1 {
				t.Errorf("%s is to be deleted and is here %d times", id, have[id])
			}
		}
	}
	here.mustFetch(t, b.account(t), 2*fetchSet+49)
	if left := b.left(); len(left) != 0 {
		t.Errorf("left there: %v", left)
	}
	if stores, expunges := b.count("UID STORE"), b.count("UID EXPUNGE"); stores != 3 || expunges != 3 {
		t.Errorf("%d STORE, %d EXPUNGE", stores, expunges)
	}
	b.check(storedIDs(t, here.store))
	if known := here.fetched(t, b.account(t)); len(known) != 1 {
		t.Errorf("remembered %v", known)
	}
}

// TestFetchExpungeKill kills the appliance while it deletes, at each kind of command.
func TestFetchExpungeKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "mail.toml")
	b := newFakeBox(t, 2*fetchSet+50)
	all := len(b.mail)
	os.WriteFile(filepath.Join(dir, "password"), []byte("secret\n"), 0o600)
	os.WriteFile(config, fmt.Appendf(nil, "[mdns]\nenabled = false\n[listen]\nsmtp = [\"127.0.0.1:0\"]\n[[fetch]]\nprotocol = \"imap\"\nserver = %q\ntls = \"none\"\nuser = \"ann\"\npassword_file = \"password\"\nto = \"ann@home.arpa\"\ndelete = true\n", b.addr), 0o600)
	add := selfCommand("-config", config, "user", "add", "ann@home.arpa")
	add.Stdin = strings.NewReader("secret\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, at := range []string{"UID FETCH 30 ", "UID STORE", "UID EXPUNGE", "UID FETCH 240 ", "LOGOUT"} {
		cmd := selfCommand("-config", config, "serve")
		reached := false
		b.with(func() {
			b.before = func(said string) {
				if strings.HasPrefix(said, at) {
					cmd.Process.Kill()
					reached = true
					b.before = nil
				}
			}
		})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the appliance to say "+at, func() (done bool) {
			b.with(func() { done = reached })
			return done
		})
		cmd.Wait()
	}
	if left := b.left(); len(left) != 0 {
		t.Errorf("left there: %v", left)
	}
	st, err := OpenStore(filepath.Join(dir, "mail.db"), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	have := storedIDs(t, st)
	if len(have) != all {
		t.Errorf("%d of %d are here", len(have), all)
	}
	b.check(have)
}

// TestFetchPOPRenumbered: an id that a POP3 server gives to another message, after a session that could not delete, is not
// believed; and a DELE that is refused keeps nothing else back.
func TestFetchPOPRenumbered(t *testing.T) {
	for _, top := range []bool{true, false} {
		here := startServer(t)
		var mu sync.Mutex
		box, marked := []int{1, 2, 3}, map[int]bool{}
		deaf, refuse := true, ""
		addr, _ := fetchFake(t, "+OK\r\n", func(line string) string {
			mu.Lock()
			defer mu.Unlock()
			cmd, rest, _ := strings.Cut(line, " ")
			n := 0
			fmt.Sscan(rest, &n)
			switch {
			case cmd == "UIDL":
				out := "+OK\r\n"
				for i := range box {
					out += fmt.Sprintf("%d %d\r\n", i+1, i+1)
				}
				return out + ".\r\n"
			case cmd == "TOP" && top:
				return "+OK\r\n" + strings.TrimSuffix(fakeMessage(box[n-1], ""), "Hello\r\n") + ".\r\n"
			case cmd == "TOP", line == refuse:
				return "-ERR no\r\n"
			case cmd == "RETR":
				return "+OK\r\n" + fakeMessage(box[n-1], "") + ".\r\n"
			case cmd == "DELE":
				marked[box[n-1]] = true
			case cmd == "QUIT" && deaf:
				clear(marked)
				return ""
			case cmd == "QUIT":
				for id := range marked {
					if have := storedIDs(t, here.store)[fmt.Sprintf("<m%d@far.example>", id)]; have == 0 {
						t.Errorf("message %d is deleted there and is here %d times", id, have)
					}
				}
				box = slices.DeleteFunc(box, func(id int) bool { return marked[id] })
				clear(marked)
			}
			return "+OK\r\n"
		})
		pass := filepath.Join(t.TempDir(), "password")
		os.WriteFile(pass, []byte("secret"), 0o600)
		f := &Fetch{Protocol: "pop3", Server: addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Delete: true}
		if n, err := here.fetch(f); n != 3 || err == nil {
			t.Errorf("the session that is cut: %d, %v", n, err)
		}
		mu.Lock()
		box, deaf = []int{1, 3, 4}, false // somebody took 2 away, and all have new numbers
		mu.Unlock()
		here.fetch(f)
		here.fetch(f)
		mu.Lock()
		box, refuse = []int{5, 6}, "DELE 1"
		mu.Unlock()
		here.fetch(f)
		mu.Lock()
		refuse = ""
		mu.Unlock()
		here.mustFetch(t, f, 0)
		mu.Lock()
		if len(box) > 0 {
			t.Errorf("left there: %v", box)
		}
		mu.Unlock()
		have := storedIDs(t, here.store)
		for _, id := range []int{1, 2, 4, 5, 6} {
			if n := have[fmt.Sprintf("<m%d@far.example>", id)]; n != 1 {
				t.Errorf("message %d is here %d times", id, n)
			}
		}
	}
}

// TestFetchPOPOctets: what a POP3 server sends is kept octet for octet, wherever it is cut into pieces, and what looks like the end
// of a message and is none does not end it: nothing may be deleted of which half is here.
func TestFetchPOPOctets(t *testing.T) {
	head := "From: ann@far.example\r\nSubject: x\r\n\r\n"
	long := strings.Repeat("y", fetchLine-len(head)-1)
	for name, c := range map[string]struct{ sent, want string }{
		"bare CR":          {"a\rb\r\r\nc\r\n", ""},
		"stuffed":          {"..\r\n...x\r\n.y\r\n", ".\r\n..x\r\ny\r\n"},
		"a dot in bare LF": {"one\n.\ntwo\r\n", "one\r\n.\r\ntwo\r\n"},
		"a dot in bare CR": {"one\r.\rtwo\r\n", ""},
		"a dot and CR":     {"one\r\n..\r\r\ntwo\r\n", "one\r\n.\r\r\ntwo\r\n"},
		"bare LF":          {"one\ntwo\n", "one\r\ntwo\r\n"},
		"NUL":              {"a\x00b\r\n", ""},
		"CR and LF apart":  {long + "\r\n.." + long + "\r\n", long + "\r\n." + long + "\r\n"},
		"a dot in a line":  {long + "z.\r\n", ""},
	} {
		here := startServer(t)
		addr, heard := fetchFake(t, "+OK\r\n", func(line string) string {
			switch line {
			case "UIDL":
				return "+OK\r\n1 a\r\n.\r\n"
			case "RETR 1":
				return "+OK\r\n" + head + c.sent + ".\r\n"
			}
			return "+OK\r\n"
		})
		pass := filepath.Join(t.TempDir(), "password")
		os.WriteFile(pass, []byte("secret"), 0o600)
		f := &Fetch{Protocol: "pop3", Server: addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Delete: true}
		n, err := here.fetch(f)
		want := c.want
		if want == "" {
			want = c.sent
		}
		box := here.inbox(t, "bob@home.arpa")
		if n != 1 || err != nil || len(box) != 1 || !strings.HasSuffix(box[0], "\r\n"+head+want) {
			t.Errorf("%s: %d, %v, bob has %.300q", name, n, err, box)
		}
		if !strings.Contains(heard(), "DELE 1\n") {
			t.Errorf("%s: not deleted there", name)
		}
	}
}

// TestFetchPOPAstray: an answer that is none ends the session, for the next one may be another message's.
func TestFetchPOPAstray(t *testing.T) {
	here := startServer(t)
	addr, heard := fetchFake(t, "+OK\r\n", func(line string) string {
		switch line {
		case "UIDL":
			return "+OK\r\n1 a\r\n2 b\r\n.\r\n"
		case "RETR 1":
			return "+OK\r\n" + fakeMessage(1, "") + ".\r\nwhat stands behind\r\n.\r\n"
		case "RETR 2":
			return "+OK\r\n" + fakeMessage(2, "") + ".\r\n"
		}
		return "+OK\r\n"
	})
	pass := filepath.Join(t.TempDir(), "password")
	os.WriteFile(pass, []byte("secret"), 0o600)
	f := &Fetch{Protocol: "pop3", Server: addr, TLS: "none", User: "ann", PasswordFile: pass, To: "bob@home.arpa", Delete: true}
	if n, err := here.fetch(f); n != 1 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	if strings.Contains(heard(), "QUIT") {
		t.Error("the session went on to its end")
	}
}
