package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stateOf asks all protocols for the words that they have for the state of the file.
type stateOf struct {
	smtp, selected, body, seen, pop, login, health string
}

func askState(t *testing.T, s *testServer) (x stateOf) {
	t.Helper()
	nc, r, _ := dialService(t, s, "smtp")
	ask := func(r *bufio.Reader, line string) string {
		nc.Write([]byte(line + "\r\n"))
		for {
			got, err := r.ReadString('\n')
			if err != nil || len(got) < 4 || got[3] != '-' {
				return strings.TrimSpace(got)
			}
		}
	}
	ask(r, "EHLO test")
	x.smtp = ask(r, "MAIL FROM:<b@test>")
	nc, r, _ = dialService(t, s, "imap")
	tagged := func(line string) string {
		nc.Write([]byte("a " + line + "\r\n"))
		all := ""
		for {
			got, err := r.ReadString('\n')
			all += got
			if err != nil || strings.HasPrefix(got, "a ") {
				return strings.TrimSpace(all)
			}
		}
	}
	last := func(text string) string {
		lines := strings.Split(text, "\n")
		return strings.TrimSpace(lines[len(lines)-1])
	}
	x.selected = last(tagged("LOGIN ann@home.arpa secret"))
	if strings.HasPrefix(x.selected, "a OK") {
		x.selected = last(tagged("SELECT INBOX"))
		x.body = tagged("FETCH 1 BODY[]")
		x.seen = last(tagged(`STORE 1 +FLAGS (\Flagged)`))
	}
	nc, r, _ = dialService(t, s, "pop3")
	ask(r, "USER ann@home.arpa")
	x.pop = ask(r, "PASS secret")
	if strings.HasPrefix(x.pop, "+OK") {
		x.pop = ask(r, "RETR 1")
	}
	c := newWebClient(t, s)
	c.get("/healthz")
	x.health = strings.TrimSpace(c.page)
	if c.get("/login"); c.code == http.StatusOK {
		c.post("/login", "name", "ann@home.arpa", "password", "secret")
	}
	x.login = c.page
	return x
}

func (x stateOf) reads(t *testing.T) {
	t.Helper()
	for _, w := range [][3]string{{"SMTP", x.smtp, "451 4.3.0 Mail can't be stored here just now, try again later"}, {"SELECT", x.selected, "a OK [READ-ONLY]"},
		{"FETCH", x.body, "the text of a mail"}, {"STORE", x.seen, "a NO [READ-ONLY]"}, {"RETR", x.pop, "+OK"}, {"the inbox", x.login, "a mail to be read"}} {
		if !strings.Contains(w[1], w[2]) {
			t.Errorf("%s: %.500q has no %q", w[0], w[1], w[2])
		}
	}
}

// On a file that can't be written any more mail is read in every way, and refused with words that say it will pass.
func TestReadOnlyNow(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.put(t, "ann", "INBOX", "Subject: a mail to be read\n\nthe text of a mail\n", 0)
	queryOnly(t, s.store, "1")
	if err := s.store.ProveWritable(); err == nil {
		t.Fatal("the file can be written")
	}
	x := askState(t, s)
	x.reads(t)
	if x.health != "read-only" {
		t.Errorf("healthz: %s", x.health)
	}
	queryOnly(t, s.store, "0")
	if err := s.store.prove(); err != nil {
		t.Error(err)
	}
	if x := askState(t, s); x.health != "ok" || !strings.HasPrefix(x.smtp, "250") || !strings.Contains(x.selected, "READ-WRITE") {
		t.Errorf("when it can be written again: %+v", x)
	}
}

// A file on a card that was mounted read-only is served for reading, after a stop as after a kill.
func TestReadOnlyCard(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		dir := tmpfs(t, 64<<20)
		path := filepath.Join(dir, "mail.db")
		made := filepath.Join(t.TempDir(), "mail.db")
		s := startServerOn(t, made, StoreOptions{})
		s.put(t, "ann", "INBOX", "Subject: a mail to be read\n\nthe text of a mail\n", 0)
		if killed {
			storedAfter(t, made, dir)
			if out, err := exec.Command("cp", made+"-shm", path+"-shm").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		} else {
			storedAfter(t, made, dir)
			st, err := OpenStore(path, StoreOptions{Service: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: %v: %s", err, out)
		}
		s = startServerOn(t, path, StoreOptions{})
		x := askState(t, s)
		x.reads(t)
		if x.health != "read-only" {
			t.Errorf("healthz: %s", x.health)
		}
	}
}

// A file that can't be opened at all is left as it is; every port answers, and no password is said to be wrong.
func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mail.db")
	text := strings.Repeat("this is no database\n", 1000)
	os.WriteFile(path, []byte(text), 0o600)
	s := startServerOn(t, path, StoreOptions{StandIn: true})
	x := askState(t, s)
	for _, w := range [][3]string{{"SMTP", x.smtp, "451"}, {"LOGIN", x.selected, "a NO [UNAVAILABLE]"}, {"PASS", x.pop, "-ERR [SYS/PERM]"},
		{"the page", x.login, "can&#39;t be opened"}, {"healthz", x.health, "unreadable"}} {
		if !strings.Contains(w[1], w[2]) {
			t.Errorf("%s: %.500q has no %q", w[0], w[1], w[2])
		}
	}
	s.Shutdown()
	s.store.Close()
	if b, _ := os.ReadFile(path); string(b) != text {
		t.Error("the file was changed")
	}
	if left, _ := filepath.Glob(path + "-*"); len(left) > 0 {
		t.Errorf("beside the file: %v", left)
	}
}

// Somebody with a second factor reads their mail while the file can't be written, and a code is good once all the same: then, and afterwards.
func TestSecondFactorReadOnly(t *testing.T) {
	t.Parallel()
	at := time.Now()
	s := startServerOn(t, filepath.Join(t.TempDir(), "mail.db"), StoreOptions{Now: func() time.Time { return at }})
	s.put(t, "ann", "INBOX", "Subject: a mail to be read\n\nthe text of a mail\n", 0)
	factor := webTOTP{Secret: webNewSecret()}
	spare := factor.spareCodes()
	s.setRule(t, "ann", PrefTOTP, factor)
	step := at.Unix() / webCodeStep
	code := func(i int64) string {
		c, err := webCode(factor.Secret, step+i)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	try := func(what, code string, want bool) {
		t.Helper()
		c := newWebClient(t, s)
		c.get("/login")
		c.post("/login", "name", "ann@home.arpa", "password", "secret")
		c.post("/login/code", "code", code)
		if got := strings.Contains(c.page, "a mail to be read"); got != want {
			t.Errorf("%s: %v, %d at %s", what, got, c.code, c.at)
		}
	}
	queryOnly(t, s.store, "1")
	if err := s.store.ProveWritable(); err == nil {
		t.Fatal("the file can be written")
	}
	try("a code", code(-1), true)
	try("the same", code(-1), false)
	try("the next", code(0), true)
	try("the one before", code(-1), false)
	try("on paper", spare[0], true)
	try("the same", spare[0], false)
	queryOnly(t, s.store, "0")
	if err := s.store.prove(); err != nil {
		t.Fatal(err)
	}
	try("the same when it can be written", code(0), false)
	try("on paper when it can be written", spare[0], false)
	try("a new one", code(1), true)
	kept, err := read(s.store, func(tx *Tx) (webTOTP, error) {
		var kept webTOTP
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			err = tx.Preference(u.ID, PrefTOTP, &kept)
		}
		return kept, err
	})
	if err != nil || kept.Last != step+1 || len(kept.Spare) != webSpareCodes-1 || len(s.web.usedUp) != 0 {
		t.Errorf("kept %d, %d on paper, %v", kept.Last-step, len(kept.Spare), err)
	}
}

// After a kill the ports are open while the file is being checked; whoever connects waits for a small one to be whole, and hears of nothing.
func TestPortsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := filepath.Join(t.TempDir(), "mail.db")
	s := startServerOn(t, made, StoreOptions{})
	s.put(t, "ann", "INBOX", "Subject: a mail to be read\n\nthe text of a mail\n", 0)
	storedAfter(t, made, dir)
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true, AtOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the check", func() bool { st.AwaitCheck(); return st.Writable() == nil })
	err = st.Close()
	if err != nil {
		t.Fatal(err)
	}
	st.AwaitCheck() // of a file that was closed meanwhile it says nothing
}
