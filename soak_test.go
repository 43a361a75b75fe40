package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var soakTime = flag.Duration("soak", 8*time.Second, "how long TestSoak goes on")

// soak is an appliance under a mixed load that is killed again and again, and what its clients were told.
type soak struct {
	t      *testing.T
	dir    string
	config string
	addr   map[string]string // of each service
	cmd    *exec.Cmd
	group  string // a memory group to run in, "" for none
	stop   atomic.Bool
	serial atomic.Int64

	mu    sync.Mutex
	acked map[string]string // Message-ID, or the subject of a letter → how it was handed in
}

// TestSoak: SMTP in, a queue to a peer that refuses every eleventh message for now, IMAP, POP3 and web mail at once, a backup
// now and then, and a kill every few seconds. What was acknowledged is there afterwards: once if it is local, at least once if the
// peer had it; and each backup holds all that was acknowledged before it began. `make soak` does it for ten minutes.
func TestSoak(t *testing.T) {
	if testing.Short() {
		skip(t, "it takes its time, and TestCrash is its smaller sister")
	}
	period := min(20*time.Second, *soakTime/3)
	peer := newPeer(t, nil)
	var sunk atomic.Int64
	peer.answer = func(l string) string {
		if strings.HasPrefix(l, "MAIL FROM") && sunk.Add(1)%11 == 0 {
			return "451 4.3.0 later"
		}
		return ""
	}
	s := newSoak(t, peer.addr())
	began, kills, backups := time.Now(), 0, 0
	for time.Since(began) < *soakTime {
		s.start()
		s.stop.Store(false)
		var wg sync.WaitGroup
		for _, work := range []func(string) error{s.smtp, s.smtp, s.smtp, s.remote, s.remote, s.imap, s.pop3, s.web} {
			wg.Go(func() {
				for !s.stop.Load() {
					if work(s.name()) != nil {
						time.Sleep(20 * time.Millisecond) // killed, or told to wait
					}
				}
			})
		}
		end := time.Now().Add(period)
		if kills%3 == 0 {
			s.backup(backups)
			backups++
		}
		time.Sleep(time.Until(end))
		if kills == 0 {
			waitFor(t, "mail of all kinds", func() bool { return len(s.kinds()) == 4 })
		}
		s.stop.Store(true)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		kills++
		wg.Wait()
	}
	s.start()
	s.settle()
	s.cmd.Process.Signal(os.Interrupt)
	s.cmd.Wait()
	s.count(peer, kills)
	t.Logf("%d kills, %d backups, %d acknowledged", kills, backups, len(s.acked))
}

func newSoak(t *testing.T, peer string) *soak {
	dir := t.TempDir()
	s := &soak{t: t, dir: dir, config: filepath.Join(dir, "mail.toml"), addr: map[string]string{}, acked: map[string]string{}}
	text := fmt.Sprintf("[mdns]\nenabled = false\n[listen]\nsmtp = [\"127.0.0.1:0\"]\nimap = [\"127.0.0.1:0\"]\npop3 = [\"127.0.0.1:0\"]\nhttp = [\"127.0.0.1:0\"]\n"+
		"[relay]\nnetworks = [\"127.0.0.0/8\"]\n[limits]\nmessages_day = 1000000\n[queue]\nretry = \"1s\"\nretry_max = \"1s\"\n[routes]\n\"sink.test\" = %q\n", peer)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob", "carl"} {
		add := selfCommand("-config", s.config, "user", "add", name+"@home.arpa")
		add.Stdin = strings.NewReader("secret words\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return s
}

// start runs the appliance and reads where it listens.
func (s *soak) start() {
	s.t.Helper()
	s.cmd = selfCommand("-config", s.config, "serve")
	if testing.Verbose() {
		log, err := os.Create(filepath.Join(os.TempDir(), "postino-soak.log"))
		if err == nil {
			s.cmd.Stderr = log
		}
	}
	if s.group != "" {
		s.cmd.Path = "/bin/sh"
		s.cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(s.group, "cgroup.procs")}, s.cmd.Args...)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd := s.cmd
	s.t.Cleanup(func() { // of a test that has failed
		s.stop.Store(true)
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for n := 0; n < 4 && lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 {
			s.addr[f[0]] = f[1]
			n++
		}
	}
	if s.addr["http"] == "" {
		s.t.Fatal("the appliance did not say where it listens")
	}
	go io.Copy(io.Discard, out)
}

func (s *soak) name() string { return fmt.Sprintf("<%d@soak.test>", s.serial.Add(1)) }

func (s *soak) note(id, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked[id] = how
}

func (s *soak) dial(service string) (net.Conn, *bufio.Reader, error) {
	nc, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		return nil, nil, err
	}
	nc.SetDeadline(time.Now().Add(testPatience))
	return nc, bufio.NewReader(nc), nil
}

// kinds counts what was acknowledged, by how it was handed in.
func (s *soak) kinds() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := map[string]int{}
	for _, how := range s.acked {
		by[how]++
	}
	return by
}

func soakMail(id string) string {
	return "From: b@soak.test\r\nTo: ann@home.arpa\r\nSubject: soak\r\nMessage-ID: " + id + "\r\n\r\n" + strings.Repeat("words and words\r\n", rand.IntN(400))
}

// submit sends one message by SMTP.
func (s *soak) submit(id, to, how string) error {
	nc, r, err := s.dial("smtp")
	if err != nil {
		return err
	}
	defer nc.Close()
	err = dialogue(nc, r, "", "220", "EHLO soak.test", "250", "MAIL FROM:<b@soak.test>", "250", "RCPT TO:<"+to+">", "250", "DATA", "354", soakMail(id)+".", "250")
	if err == nil {
		s.note(id, how)
	}
	return err
}

func (s *soak) smtp(id string) error   { return s.submit(id, "ann@home.arpa", "smtp") }
func (s *soak) remote(id string) error { return s.submit(id, "x@sink.test", "queue") }

// imap appends a message, reads it back and marks it.
func (s *soak) imap(id string) error {
	nc, r, err := s.dial("imap")
	if err != nil {
		return err
	}
	defer nc.Close()
	mail := soakMail(id)
	until := func(tag string) error {
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(l, tag+" "); ok {
				if !strings.HasPrefix(rest, "OK") {
					return fmt.Errorf("%q", l)
				}
				return nil
			}
		}
	}
	fmt.Fprintf(nc, "a LOGIN bob \"secret words\"\r\nb APPEND INBOX {%d+}\r\n%s\r\n", len(mail), mail)
	if err := until("a"); err != nil {
		return err
	}
	if err := until("b"); err != nil {
		return err
	}
	s.note(id, "append")
	fmt.Fprintf(nc, "c SELECT INBOX\r\nd FETCH * (FLAGS BODY.PEEK[HEADER])\r\ne STORE * +FLAGS (\\Seen)\r\nf LOGOUT\r\n")
	return until("f")
}

// pop3 reads ann's newest message to its end.
func (s *soak) pop3(string) error {
	nc, r, err := s.dial("pop3")
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := dialogue(nc, r, "", "+OK", "USER ann", "+OK", "PASS secret words", "+OK"); err != nil {
		return err
	}
	fmt.Fprint(nc, "RETR 1\r\n")
	for l := ""; l != ".\r\n"; {
		l, err = r.ReadString('\n')
		if err != nil || strings.HasPrefix(l, "-ERR") {
			return fmt.Errorf("%q %v", l, err)
		}
	}
	return dialogue(nc, r, "QUIT", "+OK")
}

// web logs in, sends a letter to ann and logs out.
func (s *soak) web(id string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	c := &http.Client{Jar: jar, Timeout: testPatience}
	base := "http://" + s.addr["http"]
	read := func(res *http.Response, err error) (string, error) {
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode >= 400 {
			err = fmt.Errorf("%d", res.StatusCode)
		}
		return string(b), err
	}
	token := func(page string) string {
		m := webTokenField.FindStringSubmatch(page)
		if m == nil {
			return ""
		}
		return m[1]
	}
	page, err := read(c.Get(base + "/login"))
	if err == nil {
		_, err = read(c.PostForm(base+"/login", url.Values{"csrf": {token(page)}, "name": {"carl"}, "password": {"secret words"}}))
	}
	if err != nil {
		return err
	}
	page, err = read(c.Get(base + "/compose"))
	if err != nil {
		return err
	}
	_, err = read(c.PostForm(base+"/compose", url.Values{"csrf": {token(page)}, "do": {"send"}, "to": {"ann@home.arpa"}, "subject": {id}, "text": {"a letter"}}))
	if err == nil {
		s.note(id, "letter")
	}
	time.Sleep(100 * time.Millisecond) // nobody writes faster
	return err
}

// backup makes one beside the running appliance. It must hold all that was acknowledged before.
func (s *soak) backup(n int) {
	s.mu.Lock()
	before := map[string]string{}
	for id, how := range s.acked {
		before[id] = how
	}
	s.mu.Unlock()
	file := filepath.Join(s.dir, fmt.Sprintf("backup%d.db", n))
	if out, err := selfCommand("-config", s.config, "backup", file).CombinedOutput(); err != nil {
		s.t.Errorf("backup: %v: %s", err, out)
		return
	}
	st, err := OpenStore(file, StoreOptions{})
	if err != nil {
		s.t.Errorf("the backup: %v", err)
		return
	}
	defer st.Close()
	have := storedIDs(s.t, st)
	for id, how := range before {
		if (how == "smtp" || how == "append") && have[id] != 1 {
			s.t.Errorf("%s by %s was acknowledged before the backup, which has it %d times", id, how, have[id])
		}
	}
}

// settle waits until nothing waits in the queue any more, nor in the outbox, where letters can be called back for a while.
func (s *soak) settle() {
	s.t.Helper()
	st, err := OpenStore(filepath.Join(s.dir, "mail.db"), StoreOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer st.Close()
	waitFor(s.t, "queue and outbox to be empty", func() bool {
		var queue int
		var letters []Letter
		err := st.Read(func(tx *Tx) error {
			var err, err2 error
			queue, err = tx.QueueLength()
			letters, _, err2 = tx.DueLetters(st.Now().Add(time.Hour), 1)
			return errors.Join(err, err2)
		})
		return err == nil && queue+len(letters) == 0
	})
}

// count compares what was acknowledged with what is there.
func (s *soak) count(peer *peer, kills int) {
	st, err := OpenStore(filepath.Join(s.dir, "mail.db"), StoreOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer st.Close()
	checkStore(s.t, st)
	have := storedIDs(s.t, st)
	letters := map[string]int{}
	for _, one := range imported(s.t, st, "ann@home.arpa") {
		if _, rest, ok := strings.Cut(one, ": <"); ok {
			letters["<"+strings.Fields(rest)[0]]++
		}
	}
	sent := map[string]int{}
	for _, m := range peer.received() {
		sent[ParseHeader([]byte(m)).Get("Message-ID")]++
	}
	lost, twice, by := 0, 0, s.kinds()
	for id, how := range s.acked {
		n := have[id]
		switch how {
		case "queue":
			n = sent[id]
		case "letter":
			n = letters[id]
		}
		switch {
		case n == 0:
			lost++
			s.t.Errorf("%s by %s was acknowledged and is lost", id, how)
		case n > 1 && how == "queue":
			twice += n - 1
		case n > 1:
			s.t.Errorf("%s by %s is there %d times", id, how, n)
		}
	}
	if twice > kills*queueConns {
		s.t.Errorf("%d messages went twice in %d kills", twice, kills)
	}
	for _, how := range []string{"smtp", "queue", "append", "letter"} {
		if by[how] == 0 {
			s.t.Errorf("nothing was acknowledged by %s", how)
		}
	}
	s.t.Logf("acknowledged %v, lost %d, %d went twice", by, lost, twice)
}
