package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
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
	c.want(1, "is there already|user passwd", "secret\n", "user", "add", "ANN@home.arpa")
	c.want(1, "none of our domains|postino domain add", "x\n", "user", "add", "ann@example.org")
	c.want(0, "ann@home.arpa|administrator|bob@home.arpa", "", "user", "list")
	c.want(0, "", "another\n", "user", "passwd", "bob@home.arpa")
	c.want(1, "no user carl@home.arpa|user list", "x\n", "user", "passwd", "carl")
	c.want(0, "", "", "alias", "add", "info@home.arpa", "ann@home.arpa", "x@example.org")
	c.want(0, "", "", "alias", "add", "@home.arpa", "bob")
	c.want(2, "name of a mailbox", "", "import", "ann", "-mailbox", "", c.dir)
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
	c.want(0, "", "", "shared", "quota", "500MB")
	c.want(0, "of 500 MB used", "", "shared", "list")
	c.want(2, "usage:", "", "shared", "quota", "much")
	c.want(1, "no folder Shared/Fam|shared list", "", "shared", "rm", "Fam")
	c.want(0, "", "", "shared", "rm", "Family")
	c.want(0, "integrity|clock|certificate for|http 127.0.0.1:0: free", "", "check")
}

// What is missing or wrong is said in one line that names what to do next, and nothing is done by half.
func TestVerbsWrong(t *testing.T) {
	c := newTestCommand(t, "")
	c.want(0, "", "secret\n", "user", "add", "ann")
	c.want(0, "", "", "alias", "add", "info", "ann")
	c.want(0, "", "", "shared", "add", "Family")
	for _, v := range []struct {
		status      int
		words, args string
	}{
		{2, "-fly|postino help", "-fly"},
		{2, "usage:", "serve now"}, {2, "usage:", "version now"}, {2, "usage:", "check now then"}, {2, "usage:", "setup-link now"},
		{2, "usage:", "user list ann"}, {2, "usage:", "user fly ann"}, {1, "is an alias|alias rm info@home.arpa", "user add info"},
		{2, "usage:", "alias"}, {2, "usage:", "alias list ann"}, {2, "usage:", "alias add info"}, {2, "usage:", "alias fly info"},
		{1, "is a user", "alias add ann info"}, {0, "nobody has nix@home.arpa yet; `postino user add`", "alias add team nix"}, {0, "", "alias rm team"},
		{2, "usage:", "shared list x"}, {2, "usage:", "shared add"}, {1, "the folder Shared/Family exists already; `postino shared list`", "shared add Family"},
		{2, "usage:", "queue"}, {2, "usage:", "queue fly"}, {2, "usage:", "queue list a b"}, {0, "Nothing is waiting", "queue list"},
		{2, "queue list", "queue show"}, {1, "queue list", "queue show 1"}, {2, "queue flush", "queue retry"}, {1, "queue list", "queue hold 1"},
		{2, "queue export DOMAIN FILE", "queue export"}, {2, "queue export DOMAIN FILE", "queue export lab2.arpa"},
		{2, "queue import FILE", "queue import"}, {2, "usage:", "queue import a b"}, {1, "no such file", "queue import none"},
		{2, "queue sent ID|DOMAIN", "queue sent"}, {1, "nothing waits for lab2.arpa; `postino queue list`", "queue export lab2.arpa " + c.dir + "/b"},
		{2, "usage:", "import ann"}, {1, "no such file", "import ann none"}, {2, "usage:", "export ann"},
		{1, "name a new folder", "export ann " + c.dir}, {1, "name a new folder", "export ann " + c.dir + "/none/x"},
		{2, "usage:", "backup"}, {1, "folder that is there", "backup " + c.dir + "/none/x"}, {1, "name a new file", "backup " + c.conf},
		{2, "-f needs a value|usage:", "sendmail -f"}, {1, "no recipients", "sendmail"}, {2, "is no address", "sendmail @"},
	} {
		stdin := ""
		if strings.HasPrefix(v.args, "user add") {
			stdin = "secret\n"
		}
		out := c.want(v.status, v.words, stdin, strings.Fields(v.args)...)
		if v.status == 1 && strings.Count(out, "\n") != 1 {
			t.Errorf("postino %s: more than a line: %q", v.args, out)
		}
	}
	if out := c.want(1, "no password|stdin", "", "user", "add", "bob"); strings.Count(out, "\n") != 1 {
		t.Errorf("more than a line: %q", out)
	}
	c.want(0, `"address": "info@home.arpa"|"ann@home.arpa"`, "", "-json", "alias", "list")
	c.want(0, `"name": "Shared/Family"|"messages": 0`, "", "-json", "shared", "list")
	c.want(0, "", "", "alias", "rm", "info")
	c.want(0, "[]", "", "-json", "alias", "list")
}

// A folder that is not there, or a file that is none, is said with what to change.
func TestDatabaseErrors(t *testing.T) {
	for database, words := range map[string]string{"none/mail.db": "make the folder|database in mail.toml", ".": "database in mail.toml names a file"} {
		for _, verb := range []string{"serve", "setup-link"} {
			newTestCommand(t, "database = \""+database+"\"\n[listen]\nimap = [\"127.0.0.1:0\"]\n").want(1, words, "", verb)
		}
	}
}

// Only one appliance runs on a file, on whatever ports.
func TestServeTwice(t *testing.T) {
	c := newTestCommand(t, "[listen]\nimap = [\"127.0.0.1:0\"]\n")
	lock, err := serveLock(filepath.Join(c.dir, "mail.db"))
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	c.want(1, "in use by another postino (process "+strconv.Itoa(os.Getpid())+")|stop that", "", "serve")
	c.want(0, "", "", "user", "list")
	lock.Close()
	if lock, err = serveLock(filepath.Join(c.dir, "mail.db")); err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	lock.Close()
}

// check tries what it can without sending anything: it finds passwords that are not there, and says how routes work.
func TestCheckWords(t *testing.T) {
	c := newTestCommand(t, `[outbound]
mode = "none"
smarthost = "smtp.example.org:587"
[smtp]
mta_sts = "enforce"
[routes]
"lab2.arpa" = { hosts = ["192.0.2.7:25"], window = "22:00-04:30" }
"lab3.arpa" = { bundle_key = "words" }
[[fetch]]
protocol = "pop3"
server = "pop.example.org"
user = "ann"
password_file = "ann.password"
to = "ann@home.arpa"
`)
	c.want(1, "BAD   fetch|ann.password|lab2.arpa goes to 192.0.2.7:25 between 22:00 and 04:30|lab3.arpa waits for `postino queue export`|mode = \"smarthost\"|mta_sts = \"enforce\", and the certificate is of the private CA|"+
		"keep mail from working", "", "check")
	os.WriteFile(filepath.Join(c.dir, "ann.password"), []byte("secret\n"), 0o600)
	os.Chmod(filepath.Join(c.dir, "mail.db"), 0o644)
	c.want(0, "ok    fetch|chmod 600", "", "check")
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
		"hostname = \"x\"\ncolour = 1\n":                                       `line 2: unknown key "colour"`,
		"[queue]\nretry = \"3 minutes\"\n":                                     `line 2: |retry|write 90s`,
		"[limits]\n\nmessage = \"big\"\n":                                      `line 3: |message|50MB`,
		"[listen]\nsmtp = \":25\"\n":                                           `line 2|smtp`,
		"domains = []\n":                                                       `line 1: |domains|at least one`,
		"[relay]\nnetworks = [\"0.0.0.0/0\"]\n":                                `line 2: |relay.networks|whole world`,
		"[auth]\nplaintext = [\"my lan\"]\n":                                   `line 2: |plaintext|192.168.1.0/24`,
		"[smtp]\nlocal_senders = \"no\"\n":                                     `line 2: |smtp.local_senders|login, mark, any`,
		"[smtp]\ncheck_senders = \"no\"\n":                                     `line 2: |smtp.check_senders|reject, mark, off`,
		"[smtp]\nmta_sts = \"on\"\n":                                           `line 2: |smtp.mta_sts|enforce, testing, none`,
		"[dns]\nservers = [\"dns.example\"]\n":                                 `line 2: |dns.servers|127.0.0.1`,
		"[tls]\nacme = \"http://ca.example\"\n":                                `line 2: |tls.acme|letsencrypt`,
		"[tls]\nacme = \"letsencrypt\"\ncert = \"a\"\nkey = \"b\"\n":           `line 2: |tls.acme|leave out one`,
		"[tls]\nacme_contact = \"me\"\n":                                       `line 2: |tls.acme_contact|no address`,
		"[tls]\nacme_challenge = \"dns-01\"\n":                                 `line 2: |tls.acme_challenge|dns-persist-01`,
		"[tls]\nacme_names = [\"board.local\"]\n":                              `line 2: |tls.acme_names|private CA`,
		"[outbound]\nmode = \"smart\"\n":                                       `line 2: |outbound.mode|direct, smarthost, none`,
		"[outbound]\nmode = \"smarthost\"\n":                                   `outbound.smarthost`,
		"[tls]\ncert = \"a.pem\"\n":                                            `line 2: |tls.cert|both`,
		"[routes]\n\"lab2.arpa\" = \"192.0.2.7\"\n":                            `line 2: |lab2.arpa|port`,
		"hostname = \"x\n":                                                     `line 1: `,
		"[limits]\nconnections = 0\n":                                          `line 2: |limits.connections`,
		"hostname = 5\n":                                                       `line 1: |hostname|text in quotes`,
		"hostname = \"my pc\"\n":                                               `line 1: |hostname|machine's name`,
		"\ndomains = \"home.arpa\"\n":                                          `line 2: |domains|a list`,
		"database = \"\"\n":                                                    `line 1: |database|mail.db`,
		"[mdns]\nenabled = 1\n":                                                `line 2: |mdns.enabled|true or false`,
		"[limits]\nrecipients = \"many\"\n":                                    `line 2: |limits.recipients|whole number`,
		"[listen]\npop3 = [\"2110\"]\n":                                        `line 2: |listen.pop3|":2525"`,
		"[listen]\npop3 = [\":70000\"]\n":                                      `line 2: |listen.pop3|":2525"`,
		"[listen]\nsmtp=[\":1\"]\nimap=[\":1\"]\n":                             `line 3: |listen.imap|taken by smtp`,
		"[outbound]\nmode = \"smarthost\"\nsmarthost = \":25\"\n":              `line 3: |outbound.smarthost|host:port`,
		"[outbound]\nmode = \"smarthost\"\nsmarthost = \"s\"\nuser = \"u\"\n":  `line 1: |outbound.password_file|file of its own`,
		"[routes] # a = b\n\"lab2.arpa\" = \":25\"\n":                          `line 2: |lab2.arpa|host:port`,
		"[routes]\n\"lab2.arpa\" = \"h:x\"\n":                                  `line 2: |lab2.arpa|host:port`,
		"[routes]\n\"lab2.arpa\" = \"::1\"\n":                                  `line 2: |lab2.arpa|write "[::1]:25"`,
		"[routes]\n\"lab 2\" = \"h:25\"\n":                                     `line 2: |lab 2|no domain`,
		"[routes]\n\"home.arpa\" = \"h:25\"\n":                                 `line 2: |home.arpa|in domains`,
		"[routes]\nlab2.arpa = \"h:25\"\n":                                     `line 2: |needs quotes`,
		"[routes]\n\"lab2.arpa\" = \"h:25\"\n\"LAB2.arpa\" = \"h:25\"\n":       `lab2.arpa|two routes`,
		"[routes]\n\"lab2.arpa\" = { caller = \"a b\" }\n":                     `line 2: |lab2.arpa|caller "a b"`,
		"[queue]\ngive_up = \"0s\"\n":                                          `line 2: |queue.give_up|above zero`,
		"[[device]]\nnetwork = \"10.0.0.1\"\n[[device]] # two\nname = \"x\"\n": `line 3: |device.network|192.168.1.20`,
		"[[device]]\nrate = 1\nnetwork = \"10.0.0.1\"\n[[device]]\nnetwork = \"10.0.0.2\"\nrate = -1\n": `line 6: |device.rate`,
		"[[fetch]]\nprotocol = \"pop3\"\n": `line 1: |fetch.server|pop.example.org:995`,
		"[[fetch]]\nprotocol = \"pop3\"\nserver = \"h\"\nuser = \"u\"\npassword_file = \"p\"\nto = \"ann@else.arpa\"\n": `line 6: |fetch.to|ann@home.arpa`,
		"[[fetch]]\nprotocol = \"etrn\"\nserver = \"h\"\ndomains = [\"a b\"]\n":                                         `line 4: |fetch.domains|no domain`,
	} {
		c := newTestCommand(t, config)
		c.want(2, "mail.toml|"+words, "", "serve")
	}
	c := newTestCommand(t, "")
	c.conf += ".not"
	c.want(2, "is not there|-config", "", "serve")
}

// Domains of routes are compared as those of addresses are, however they are written.
func TestRouteNames(t *testing.T) {
	cfg, err := parseConfig("[routes]\n\"LAB2.Arpa\" = \"h:25\"\n\"xn--mnchen-3ya.arpa\" = \"h:25\"\n\".\" = \"h:25\"\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"lab2.arpa", "münchen.arpa", "."} {
		if _, ok := cfg.Routes[d]; !ok {
			t.Errorf("no route for %s in %v", d, cfg.Routes)
		}
	}
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

// FuzzConfig reads anything as mail.toml. An error names a line of the text; what is taken can work: ports are ports, and
// domains of routes are found as those of addresses are.
func FuzzConfig(f *testing.F) {
	sample, err := os.ReadFile("mail.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample))
	f.Add(regexp.MustCompile(`(?m)^# ([\w"\[])`).ReplaceAllString(string(sample), "$1")) // with all that it shows
	for _, text := range []string{"[routes]\nlab2.arpa = \"h:25\"\n", "hostname = 5\n", "[[device]]\n[[device]]\nrate = -1\n", "[[fetch]]\nprotocol = \"etrn\"\nserver = \"::1\"\ndomains = [\"x\"]",
		"[listen]\nsmtp = [\":x\"]", "[limits]\nmessage = \"9GB\"", "[queue]\nretry = \"1e9d\"", "a = [\n", "\"\" = 1", "[routes]\n\"LAB\" = { hosts = \"h:1\", window = \"23:00-01:00\" }"} {
		f.Add(text)
	}
	line := regexp.MustCompile(`^line (\d+): `)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig(text)
		if err != nil {
			m := line.FindStringSubmatch(err.Error())
			if m == nil {
				t.Fatalf("%q: no line in %q", text, err)
			}
			if n, _ := strconv.Atoi(m[1]); n < 1 || n > strings.Count(text, "\n")+1 {
				t.Fatalf("%q: %q", text, err)
			}
			return
		}
		for d, r := range c.Routes {
			if a, err := ParseAddr("x@" + d); d != "." && (err != nil || a.Domain != d) {
				t.Fatalf("%q: a route for %q", text, d)
			}
			for _, h := range r.Hosts {
				if _, _, err := net.SplitHostPort(h); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
			}
		}
		for _, f := range c.Fetch {
			if _, _, err := net.SplitHostPort(f.Server); err != nil || f.Every <= 0 {
				t.Fatalf("%q: %+v", text, f)
			}
		}
	})
}

// Keys are made, shown with their records, and rotated once the DNS has the next ones.
func TestVerbDKIM(t *testing.T) {
	ns := newTestNameserver(t, testZone{})
	c := newTestCommand(t, "domains = [\"home.arpa\", \"example.org\"]\n[dns]\nservers = [\""+ns.addr+"\"]\n")
	c.want(2, "usage: postino", "", "dkim")
	c.want(1, "none of our domains", "", "dkim", "example.net")
	c.want(1, "this network only", "", "dkim", "home.arpa")
	c.want(0, "no keys|`postino dkim example.org make`", "", "dkim", "example.org")
	c.want(1, "make", "", "dkim", "example.org", "rotate")
	c.want(2, "nothing I know", "", "dkim", "example.org", "fly")
	c.want(0, `; signs|postino1._domainkey.example.org. TXT "v=DKIM1; k=rsa; p=MII|" "|postino1e._domainkey.example.org. TXT "v=DKIM1; k=ed25519; p=`, "", "dkim", "example.org", "make")
	c.want(1, "has keys|rotate", "", "dkim", "example.org", "make")
	c.want(0, "; signs|is to sign next|postino2._domainkey", "", "dkim", "example.org", "rotate")
	c.want(1, "does not have the record of postino2._domainkey.example.org", "", "dkim", "example.org", "rotate")
	_, out := c.run("", "-json", "dkim", "example.org")
	var list []dkimShown
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 4 {
		t.Fatalf("%v: %s", err, out)
	}
	ns.mu.Lock()
	for _, k := range list {
		ns.zone.add(t, k.Name+" TXT "+k.Record)
	}
	ns.mu.Unlock()
	c.want(0, "; has signed|postino1e|; signs\npostino2.", "", "dkim", "example.org", "rotate")
	if testing.Short() { // RSA takes its time
		return
	}
	c.want(0, "postino3", "", "dkim", "example.org", "rotate")
	ns.changes(func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }) // no DNS: the administrator is believed
	if out := c.want(0, "; signs\npostino3.", "", "dkim", "example.org", "rotate"); strings.Contains(out, "postino1") {
		t.Errorf("two rounds later the first keys are still there:\n%s", out)
	}
}
