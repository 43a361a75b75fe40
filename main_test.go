package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testCommand runs verbs with a configuration in a temporary folder.
type testCommand struct {
	t    *testing.T
	dir  string
	conf string
}

func newTestCommand(t *testing.T, config string) *testCommand {
	dir := t.TempDir()
	c := &testCommand{t, dir, filepath.Join(dir, "mail.toml")}
	if err := os.WriteFile(c.conf, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// run returns the exit status and everything that was printed.
func (c *testCommand) run(stdin string, args ...string) (int, string) {
	c.t.Helper()
	var out bytes.Buffer
	status := (&command{in: strings.NewReader(stdin), out: &out, err: &out}).run(append([]string{"-config", c.conf}, args...))
	return status, out.String()
}

// want runs a verb and checks its status and that the output has all of the words.
func (c *testCommand) want(status int, words, stdin string, args ...string) string {
	c.t.Helper()
	got, out := c.run(stdin, args...)
	if got != status {
		c.t.Errorf("postino %s: status %d, want %d: %s", strings.Join(args, " "), got, status, out)
	}
	for _, w := range strings.Split(words, "|") {
		if !strings.Contains(out, w) {
			c.t.Errorf("postino %s: no %q in %q", strings.Join(args, " "), w, out)
		}
	}
	return out
}

func TestVerbs(t *testing.T) {
	c := newTestCommand(t, "[listen]\nhttp = [\"127.0.0.1:0\"]\n")
	c.want(0, "postino", "", "version")
	c.want(0, "postino serve|backup", "", "help")
	c.want(2, `no verb "fly"|postino help`, "", "fly")
	c.want(2, "usage: postino", "", "user")
	c.want(2, "usage: postino", "", "user", "add")
	c.want(2, "is no address", "", "user", "add", "a b@home.arpa")
	c.want(1, "no password", "", "user", "add", "ann@home.arpa")
	c.want(0, "may administer", "secret\n", "user", "add", "ann@home.arpa")
	c.want(0, "", "secret\n", "user", "add", "bob")
	c.want(1, "is there already|user passwd", "x\n", "user", "add", "ANN@home.arpa")
	c.want(1, "none of our domains|mail.toml", "x\n", "user", "add", "ann@example.org")
	c.want(0, "ann@home.arpa|administrator|bob@home.arpa", "", "user", "list")
	c.want(0, "", "other\n", "user", "passwd", "bob@home.arpa")
	c.want(1, "no user carl@home.arpa|user list", "x\n", "user", "passwd", "carl")
	c.want(0, "", "", "alias", "add", "info@home.arpa", "ann@home.arpa", "x@example.org")
	c.want(0, "", "", "alias", "add", "@home.arpa", "bob")
	c.want(1, "is a user", "", "alias", "add", "ann@home.arpa", "bob")
	c.want(1, "none of our domains", "", "alias", "add", "a@example.org", "bob")
	c.want(0, "info@home.arpa|ann@home.arpa x@example.org|@home.arpa", "", "alias", "list")
	c.want(0, "", "", "alias", "rm", "info@home.arpa", "x@example.org")
	c.want(1, "no such alias", "", "alias", "rm", "nix@home.arpa")
	c.want(0, "", "", "user", "rm", "bob@home.arpa")
	c.want(1, "no user", "", "user", "rm", "bob@home.arpa")
	var users []struct{ Address string }
	_, out := c.run("", "-json", "user", "list")
	if err := json.Unmarshal([]byte(out), &users); err != nil || len(users) != 1 || users[0].Address != "ann@home.arpa" {
		t.Errorf("user list -json: %v %s", err, out)
	}
	c.want(0, "", "", "user", "quota", "ann", "500MB")
	c.want(2, "50MB", "", "user", "quota", "ann", "much")
	c.want(1, "no user", "", "user", "quota", "carl", "0")
	c.want(0, "", "", "shared", "add", "Family")
	c.want(1, "exists", "", "shared", "add", "Family")
	c.want(0, "Shared/Family", "", "shared", "list")
	c.want(1, "no folder Shared/Fam|shared list", "", "shared", "rm", "Fam")
	c.want(0, "", "", "shared", "rm", "Family")
	c.want(0, "integrity|clock|certificate for|http 127.0.0.1:0: free", "", "check")
}

// What comes out of export goes in with import, flags, dates and lines that begin with From too.
func TestImportExport(t *testing.T) {
	c := newTestCommand(t, "")
	c.want(0, "", "secret\n", "user", "add", "ann@home.arpa")
	c.want(0, "", "secret\n", "user", "add", "bob@home.arpa")
	mbox := "From x Tue Nov 24 10:00:00 2026\nStatus: RO\nX-Status: F\nSubject: one\n\nFrom here\n\nFrom nowhere\n>From there\n\n" +
		"From x Tue Nov 24 11:00:00 2026\r\nSubject: two\r\n\r\n>From quoted\r\n>>From twice\r\n\r\n"
	file := filepath.Join(c.dir, "in.mbox")
	os.WriteFile(file, []byte(mbox), 0o600)
	eml := filepath.Join(c.dir, "tree", "cur")
	os.MkdirAll(eml, 0o700)
	os.WriteFile(filepath.Join(eml, "1:2,FS"), []byte("Subject: three\n\nx\n"), 0o600)
	c.want(0, "2 messages", "", "import", "ann@home.arpa", file)
	c.want(0, "1 messages|Old/Mail", "", "import", "ann@home.arpa", "-mailbox", "Old/Mail", filepath.Join(c.dir, "tree"))
	c.want(1, "no user", "", "import", "carl@home.arpa", file)
	out1 := filepath.Join(c.dir, "out1")
	c.want(0, "2 messages of INBOX|1 messages of Old/Mail", "", "export", "ann@home.arpa", out1)
	c.want(1, "exists", "", "export", "ann@home.arpa", out1)
	first, err := os.ReadFile(filepath.Join(out1, "003-INBOX.mbox"))
	if err != nil {
		names, _ := filepath.Glob(out1 + "/*INBOX*")
		t.Fatal(err, names)
	}
	for _, want := range []string{"Status: RO\n", "X-Status: F\n", "\n>From here\n", "\n>From there\n", "\n>From quoted\n", "\n>>From twice\n"} {
		if !strings.Contains(string(first), want) {
			t.Errorf("no %q in %s", want, first)
		}
	}
	c.want(0, "2 messages", "", "import", "bob@home.arpa", filepath.Join(out1, "003-INBOX.mbox"))
	out2 := filepath.Join(c.dir, "out2")
	c.want(0, "", "", "export", "bob@home.arpa", out2)
	second, err := os.ReadFile(filepath.Join(out2, "003-INBOX.mbox"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("once:\n%s\ntwice:\n%s", first, second)
	}
	c.want(0, "whole copy", "", "backup", filepath.Join(c.dir, "b.db"))
	c.want(1, "exists", "", "backup", filepath.Join(c.dir, "b.db"))
}

// A configuration that can't work exits with 2 and names file, line and key.
func TestConfigErrors(t *testing.T) {
	for config, words := range map[string]string{
		"hostname = \"x\"\ncolour = 1\n":            `line 2: unknown key "colour"`,
		"[queue]\nretry = \"3 minutes\"\n":          `line 2: |retry|write 90s`,
		"[limits]\n\nmessage = \"big\"\n":           `line 3: |message|50MB`,
		"[listen]\nsmtp = \":25\"\n":                `line 2|smtp`,
		"domains = []\n":                            `line 1: |domains|at least one`,
		"[relay]\nnetworks = [\"0.0.0.0/0\"]\n":     `line 2: |relay.networks|whole world`,
		"[auth]\nplaintext = [\"my lan\"]\n":        `line 2: |plaintext|192.168.1.0/24`,
		"[outbound]\nmode = \"smart\"\n":            `line 2: |outbound.mode|direct, smarthost, none`,
		"[outbound]\nmode = \"smarthost\"\n":        `outbound.smarthost`,
		"[tls]\ncert = \"a.pem\"\n":                 `line 2: |tls.cert|both`,
		"[routes]\n\"lab2.arpa\" = \"192.0.2.7\"\n": `line 2: |lab2.arpa|port`,
		"hostname = \"x\n":                          `line 1: `,
		"[limits]\nconnections = 0\n":               `line 2: |limits.connections`,
	} {
		c := newTestCommand(t, config)
		c.want(2, "mail.toml|"+words, "", "serve")
	}
	c := newTestCommand(t, "")
	c.conf += ".not"
	c.want(2, "is not there|-config", "", "serve")
}

// The sample in the repository is the manual: it parses, and what it says is what a missing key means.
func TestSampleConfig(t *testing.T) {
	sample, err := LoadConfig("mail.toml")
	if err != nil {
		t.Fatal(err)
	}
	empty, err := parseConfig("")
	if err != nil {
		t.Fatal(err)
	}
	empty.Listen, empty.dir = sample.Listen, sample.dir
	a, _ := json.Marshal(sample)
	b, _ := json.Marshal(empty)
	for _, none := range []string{"{}", "[]"} {
		a = bytes.ReplaceAll(a, []byte(`:`+none), []byte(`:null`))
	}
	if !bytes.Equal(a, b) {
		t.Errorf("the sample says\n%s\nand the defaults are\n%s", a, b)
	}
}

// A port that is taken is named, with who has it and which key to change.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := newTestCommand(t, "[listen]\nimap = [\""+l.Addr().String()+"\"]\n")
	c.want(1, l.Addr().String()+"|(process |[listen] imap", "", "serve")
}
