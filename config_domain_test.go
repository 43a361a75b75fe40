package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestConfigSet changes values in texts of all kinds: what people wrote around them stays.
func TestConfigSet(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "domains = [\"a\", \"b\"]\n",
		"domains = [\"x\"]   # mine\n": "domains = [\"a\", \"b\"]   # mine\n",
		"hostname = \"x\"\r\n":         "domains = [\"a\", \"b\"]\r\nhostname = \"x\"\r\n",
		"domains = [ # these\n\"]\", # and\n'#',\n] # end\nhostname=1": "domains = [\"a\", \"b\"] # end\nhostname=1",
		"# domains = [\"no\"]\nx = '''\ndomains = 5\n'''\n":            "domains = [\"a\", \"b\"]\n# domains = [\"no\"]\nx = '''\ndomains = 5\n'''\n",
		"[fetch]\ndomains = [\"x\"]\n":                                 "domains = [\"a\", \"b\"]\n[fetch]\ndomains = [\"x\"]\n",
		"domains = [\"x\\\"]\"]":                                       "domains = [\"a\", \"b\"]",
	} {
		got := configSet(text, configChange{"", "domains", `["a", "b"]`})
		if got != want {
			t.Errorf("%q became\n%q, not\n%q", text, got, want)
		}
		if configSet(got, configChange{"", "domains", `["a", "b"]`}) != got {
			t.Errorf("%q changes each time", text)
		}
	}
	for text, want := range map[string]string{
		"a = 1":                       "a = 1\n\n[tls]\nacme = \"x\"\n",
		"[tls] # t\ncert = \"\"\n[b]": "[tls] # t\nacme = \"x\"\ncert = \"\"\n[b]",
		"[tls]":                       "[tls]\nacme = \"x\"\n",
		"[ tls ]\nacme=\"old\"#c\n":   "[ tls ]\nacme= \"x\"#c\n",
	} {
		if got := configSet(text, configChange{"tls", "acme", `"x"`}); got != want {
			t.Errorf("%q became\n%q, not\n%q", text, got, want)
		}
	}
}

// FuzzConfigSet changes any text: if that can be read afterwards, it says what was meant, and all other lines are as they were.
func FuzzConfigSet(f *testing.F) {
	sample, err := os.ReadFile("mail.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample))
	for _, s := range []string{"tls.acme = \"\"", "tls = { acme = \"\" }", "[tls]\nacme = \"\"\"\nx\"\"\"", "domains = ['a'", "[[device]]\nname = \"[tls]\"", "\"domains\" = []\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x := configChange{"tls", "acme_contact", `"a@b.example"`}
		got := configSet(text, x)
		if len(got) > 2*len(text)+100 && !strings.Contains(text, "acme_contact") {
			t.Errorf("%q became %q", text, got)
		}
		if configSet(got, x) != got && strings.Count(got, "\n[") < 1 {
			fresh, err := parseConfig(got)
			if err == nil && !fresh.says(x) {
				t.Logf("refused: %q", got)
			}
		}
	})
}

// TestDomainVerb adds and removes a domain beside an appliance that runs: it takes the mail at once, and people's comments stay.
func TestDomainVerb(t *testing.T) {
	s := startServer(t, `domains = ["home.arpa"]`)
	dir := filepath.Dir(s.path)
	c := &testCommand{t, dir, filepath.Join(dir, "mail.toml")}
	text := "hostname = \"mx.home.arpa\"\n# the family's\ndomains = [\"home.arpa\"] # and no others\n[routes]\n\"lab.arpa\" = \"127.0.0.1:1\"\n"
	if err := os.WriteFile(c.conf, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	s.cfg.file = c.conf
	hup := make(chan os.Signal, 1)
	s.followConfig(hup)
	takes := func(domain string) bool {
		return spawnTalk(s.addr["smtp"], "", "220 ", "HELO x", "250 ", "MAIL FROM:<b@out.example>", "250 ", "RCPT TO:<postmaster@"+domain+">", "250 ")
	}
	if takes("example.org") {
		t.Fatal("mail for example.org is taken in before it is ours")
	}
	c.want(0, "example.org is in |dkim example.org make", "", "domain", "add", "Example.ORG")
	got, err := os.ReadFile(c.conf)
	if err != nil || string(got) != strings.Replace(text, `["home.arpa"]`, `["home.arpa", "example.org"]`, 1) {
		t.Errorf("%v\n%s", err, got)
	}
	if st, err := os.Stat(c.conf); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	waitFor(t, "the appliance to take mail for example.org", func() bool { return takes("example.org") })
	c.want(0, "home.arpa\nexample.org\n", "", "domain", "list")
	c.want(1, "already", "", "domain", "add", "example.org")
	c.want(1, "no domain", "", "domain", "add", "a b")
	c.want(1, "lab.arpa|it is in domains", "", "domain", "add", "lab.arpa")
	c.want(1, "addresses in it", "", "domain", "rm", "home.arpa")
	c.want(1, "none of our domains", "", "domain", "rm", "other.org")
	c.want(2, "usage", "", "domain", "add")
	c.want(2, "nothing I know", "", "domain", "paint", "x")
	c.want(0, "", "", "domain", "rm", "example.org")
	waitFor(t, "the appliance to take none any more", func() bool { return !takes("example.org") })
	c.want(1, "the only domain", "", "domain", "rm", "home.arpa")
	if err := os.WriteFile(c.conf, []byte("domains = [\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	hup <- syscall.SIGHUP
	waitFor(t, "words about the file", func() bool { return len(s.recent.recent("all stays as it was", 10)) > 0 })
	if !takes("home.arpa") {
		t.Error("a file that can't be read has taken the domain away")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".mail-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestConfigWriteRefused: what people wrote in another way is left to them, and a folder that can't be written says what to write.
func TestConfigWriteRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.toml")
	for text, want := range map[string]string{
		"tls.acme = \"\"\n":       "can't be used",
		"tls = { cert = \"\" }\n": "can't be used",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := LoadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		err = cfg.SetACME(ACME{Directory: "letsencrypt"})
		now, _ := os.ReadFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || string(now) != text {
			t.Errorf("%q: %v, and it is %q", text, err, now)
		}
	}
	cfg := mustConfig(t, "")
	if err := cfg.SetDomains([]string{"a.example"}); err == nil {
		t.Error("a configuration without a file was written")
	}
	if os.Getuid() == 0 {
		return // who may write everywhere
	}
	os.WriteFile(path, []byte("\n"), 0o600)
	os.Chmod(filepath.Dir(path), 0o500)
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	err = cfg.SetDomains([]string{"a.example"})
	if err == nil || !strings.Contains(err.Error(), "write there: domains = ") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
