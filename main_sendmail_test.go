package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSendmailHeader: with -t a name without a domain is one of ours, as on the command line, and what is no address is refused
// instead of lost.
func TestSendmailHeader(t *testing.T) {
	c := newTestCommand(t, "")
	c.want(0, "", "a quiet harbour\n", "user", "add", "ann@home.arpa")
	c.want(0, "", "a quiet harbour\n", "user", "add", "bob@home.arpa")
	for mail, want := range map[string]string{
		"To: ann\nCc: \"B\" <bob>, Ann <ann@home.arpa>\nSubject: x\n\nhi\n": "ann bob",
		"To: a group: ann, bob;\nSubject: x\n\nhi\n":                        "ann bob",
		"Bcc: bob\nTo: undisclosed-recipients:;\nSubject: x\n\nhi\n":        "bob",
		"To: root\nSubject: cron\n\nhi\n":                                   "ann",
		"To: ann, @@@\nSubject: x\n\nhi\n":                                  "! is no address",
		"To: ann, Bob Without\nSubject: x\n\nhi\n":                          "! is no address",
		"Subject: x\n\nhi\n":                                                "! no recipients",
		"To: nobody-here\nSubject: x\n\nhi\n":                               "! no such mailbox",
	} {
		before := c.inboxes(t)
		if words, refused := strings.CutPrefix(want, "! "); refused {
			c.want(1, words, mail, "sendmail", "-t")
			if after := c.inboxes(t); after != before {
				t.Errorf("%q: refused, and there is mail all the same: %v, %v before", mail, after, before)
			}
			continue
		}
		c.want(0, "", mail, "sendmail", "-t", "-i")
		after := c.inboxes(t)
		for i, who := range []string{"ann", "bob"} {
			got := after[i] > before[i]
			if got != strings.Contains(want, who) {
				t.Errorf("%q: %s got it: %v", mail, who, got)
			}
		}
	}
}

// TestSendmailForms: the flags and headers with which programs call sendmail.
func TestSendmailForms(t *testing.T) {
	c := newTestCommand(t, "")
	c.want(0, "", "a quiet harbour\n", "user", "add", "ann@home.arpa")
	c.want(0, "", "a quiet harbour\n", "user", "add", "bob@home.arpa")
	for _, x := range []struct {
		args, mail, want string // who gets it
		never            string // what nobody reads
	}{
		{"-t", "To: ann\nBcc : bob\nSubject: x\n\nhi\n", "ann bob", "bob"},
		{"-t", "To: ann\nBCC: x <bob>,\n\tann\nSubject: x\n\nhi\n", "ann bob", "bob"},
		{"-t", "Resent-From: x\nResent-To: bob\nTo: ann\nSubject: x\n\nhi\n", "bob", ""},
		{"-t", "Resent-To: bob\nResent-To: ann\nTo: x@far.example\nSubject: x\n\nhi\n", "bob", ""},
		{"-t", "Resent-Bcc: bob\nResent-Cc: ann\nTo: x@far.example\nSubject: x\n\nhi\n", "ann bob", "bob"},
		{"-t", "From ann Thu Jan  1 10:00:00 2026\nTo: ann\nSubject: x\n\nhi\n", "ann", "10:00:00 2026"},
		{"ann", ">From ann Thu Jan  1 10:00:00 2026\nSubject: x\n\nhi\n", "ann", "10:00:00 2026"},
		{"-t", "To: ann\r\nSubject: x\r\n\r\nhi\r\n", "ann", ""},
		{"-FCronDaemon -i -odi -oem -oi -t -f root", "To: ann\nSubject: x\n\n.\nhi\n", "ann", ""},
		{"-i -m -em -t", "To: ann\nSubject: x\n\nhi\n", "ann", ""},
		{"-n -s -L tag -O QueueDirectory=/x -h 3 -t", "To: ann\nSubject: x\n\nhi\n", "ann", ""},
		{"-bm -- ann bob", "Subject: x\n\nhi\n", "ann bob", ""},
		{"ann,bob", "Subject: x\n\nhi\n", "ann bob", ""},
		{"<bob@home.arpa>", "Subject: x\n\nhi\n", "bob", ""},
		{"ann", "Subject: x\n\nhi\n.\nwhat stands behind\n", "ann", "what stands"},
		{"ann", "only text\n", "ann", ""},
		{"ann", "Subject: x\n\nno end", "ann", ""},
	} {
		before := c.inboxes(t)
		c.want(0, "", x.mail, append([]string{"sendmail"}, strings.Fields(x.args)...)...)
		after := c.inboxes(t)
		for i, who := range []string{"ann", "bob"} {
			want := int64(0)
			if strings.Contains(x.want, who) {
				want = 1
			}
			if after[i] != before[i]+want {
				t.Errorf("%s %q: %s has %d more, want %d", x.args, x.mail, who, after[i]-before[i], want)
			}
		}
		if x.never == "" {
			continue
		}
		st, err := OpenStore(filepath.Join(c.dir, "mail.db"), StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := &testServer{Server: &Server{store: st}}
		box := s.inbox(t, strings.Fields(x.want)[0]+"@home.arpa")
		_, text, _ := strings.Cut(box[len(box)-1], "\r\nFrom: ")
		if strings.Contains(text, x.never) || strings.Contains(strings.ToLower(text), "bcc") {
			t.Errorf("%s %q: all may read %q", x.args, x.mail, text)
		}
		st.Close()
	}
	c.want(1, "is no address", "Subject: x\n\nhi\n", "sendmail", "ann, @@@")
}

// inboxes counts the mail of ann and bob.
func (c *testCommand) inboxes(t *testing.T) (n [2]int64) {
	t.Helper()
	st, err := OpenStore(filepath.Join(c.dir, "mail.db"), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = st.Read(func(tx *Tx) error {
		for i, name := range []string{"ann@home.arpa", "bob@home.arpa"} {
			u, err := tx.UserByName(name)
			if err != nil {
				return err
			}
			m, err := tx.MailboxByName(u.ID, "INBOX")
			if err != nil {
				return err
			}
			n[i] = m.Exists
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// socketTalk says the lines of its input to a socket and prints the replies. Lines of content begin with "+" and have none.
const socketTalk = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rwb")
def reply():
    while True:
        line = f.readline().decode()
        print(line, end="")
        if line[3:4] != "-":
            return
reply()
for line in sys.stdin.read().splitlines():
    f.write(line.lstrip("+").encode() + b"\r\n")
    f.flush()
    if not line.startswith("+"):
        reply()
`

// TestSendmailSocket: every user of the machine can hand mail in while the appliance runs, under their own name only, and the
// report of what can't be delivered finds somebody.
func TestSendmailSocket(t *testing.T) {
	s := startServer(t)
	dir, err := os.MkdirTemp("", "p") // a socket's path may not be long
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	path := filepath.Join(dir, "s")
	s.cfg.Listen.Sendmail = []string{path}
	l, err := openListener(s.cfg, "sendmail", path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range services {
		if services[i].name == "sendmail" {
			s.crew.Go(&s.wg, "listener", func() { s.serve(l, &services[i]) })
		}
	}
	defer l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o666 {
		t.Errorf("the socket is %v, %v", fi.Mode(), err)
	}
	conf := filepath.Join(dir, "mail.toml")
	os.WriteFile(conf, []byte("hostname = \"mx.home.arpa\"\ndomains = [\"home.arpa\"]\ndatabase = \"/nowhere/mail.db\"\n[listen]\nsendmail = [\""+path+"\"]\n"), 0o644)
	send := func(mail string, args ...string) error {
		c := newTestCommand(t, "")
		c.conf = conf
		status, words := c.run(mail, append([]string{"sendmail"}, args...)...)
		if status != 0 {
			return errors.New(words)
		}
		return nil
	}
	if err := send("To: bob\nSubject: by socket\n\n.dot\n", "-t", "-i"); err != nil {
		t.Fatal(err)
	}
	got := s.inbox(t, "bob@home.arpa")
	if len(got) != 1 || !strings.Contains(got[0], "Subject: by socket\r\n") || !strings.Contains(got[0], "\r\n.dot\r\n") || !strings.Contains(got[0], "from userid ") {
		t.Fatalf("bob has %q", got)
	}
	if err := send("Subject: x\n\nhi\n", "nobody-here@home.arpa", "bob"); err == nil || !strings.Contains(err.Error(), "no such mailbox") {
		t.Errorf("a recipient that is not there: %v", err)
	}
	if n := len(s.inbox(t, "bob@home.arpa")); n != 2 {
		t.Errorf("bob has %d", n)
	}
	if os.Getuid() != 0 {
		skip(t, "only root can be somebody else")
	}
	talk := func(lines ...string) string {
		cmd := exec.Command("/usr/bin/python3", "-c", socketTalk, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			skip(t, fmt.Sprintf("nobody can talk to a socket here: %v %s", err, out))
		}
		return string(out)
	}
	out := talk("EHLO x", "MAIL FROM:<ann@home.arpa>", "MAIL FROM:<nobody@home.arpa>", "RCPT TO:<bob@home.arpa>", "DATA", "+Subject: from nobody", "+", "+x", ".",
		"MAIL FROM:<nobody@home.arpa>", "RCPT TO:<bob@home.arpa>", "DATA", "+From: ann@home.arpa", "+Subject: forged", "+", "+x", ".", "QUIT")
	if !strings.Contains(out, "550 5.7.1 <ann@home.arpa> is not an address of nobody") || strings.Count(out, "250 2.0.0") != 1 || !strings.Contains(out, "the From field names somebody else") {
		t.Errorf("nobody heard:\n%s", out)
	}
	got = s.inbox(t, "bob@home.arpa")
	if last := got[len(got)-1]; !strings.Contains(last, "Return-Path: <postmaster@home.arpa>") {
		t.Errorf("reports about this would reach nobody: %q", last)
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		io.WriteString(nc, "QUIT\r\n")
		nc.Close()
	}
}
