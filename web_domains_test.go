package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWebDomains adds and removes domains on the page, makes and rotates keys, and names a public CA, all of it while the appliance runs.
func TestWebDomains(t *testing.T) {
	s := startServer(t, `domains = ["home.arpa"]`)
	conf := filepath.Join(filepath.Dir(s.path), "mail.toml")
	if err := os.WriteFile(conf, []byte("domains = [\"home.arpa\"] # ours\n\n[tls]\n# nothing yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cfg.file = conf
	dns := &testDNS{}
	s.dns = dns
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	act := func(want int, fields ...string) {
		t.Helper()
		ann.get("/admin/domains")
		if ann.post("/admin/domains", fields...); ann.code != want {
			t.Errorf("%q: %d %.500s", fields, ann.code, ann.page)
		}
	}
	act(200, "do", "add", "domain", "Example.org")
	ann.want("Mail for example.org is taken in now.", "<b>example.org</b>", "not signed", "<b>home.arpa</b>", "in this network only")
	act(422, "do", "add", "domain", "example.org")
	ann.want("lives here already")
	act(422, "do", "add", "domain", "not a domain")
	act(422, "do", "remove", "domain", "home.arpa", "sure", "1")
	ann.want("People or aliases have addresses in home.arpa")
	act(422, "do", "remove", "domain", "far.example", "sure", "1")
	ann.want("does not live here")
	act(400, "do", "paint")
	ann.get("/admin/aliases")
	if ann.post("/admin/aliases", "do", "add", "address", "info@example.org", "targets", "ann"); ann.code != 200 {
		t.Errorf("an alias in the new domain: %d", ann.code)
	}
	ann.get("/admin/aliases")
	ann.post("/admin/aliases", "do", "remove", "address", "info@example.org")

	act(404, "do", "make", "domain", "home.arpa")
	act(200, "do", "make", "domain", "example.org")
	keys := func() (all []string) {
		list, err := read(s.store, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys("example.org") })
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			all = append(all, k.Selector+" "+k.State)
		}
		return all
	}
	if got := strings.Join(keys(), ", "); got != "postino1 active, postino1e active" {
		t.Errorf("keys: %s", got)
	}
	act(200, "do", "rotate", "domain", "example.org")
	act(422, "do", "rotate", "domain", "example.org")
	ann.want("does not have the records of the next keys yet")
	dns.zone = testZone{}
	list, _ := read(s.store, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys("example.org") })
	for _, k := range list {
		r, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		dns.zone.add(t, k.Selector+"._domainkey.example.org TXT "+r)
	}
	act(200, "do", "rotate", "domain", "example.org")
	if got := strings.Join(keys(), ", "); got != "postino1 old, postino1e old, postino2 active, postino2e active" {
		t.Errorf("keys: %s", got)
	}

	act(422, "do", "ca", "directory", "http://ca.example")
	ann.want("https address of a directory")
	act(200, "do", "ca", "directory", "https://ca.example/dir", "contact", "ann@example.org", "names", "www.example.org, Chat.example.org", "challenge", "dns-persist-01")
	ann.want(`value="https://ca.example/dir"`, "no certificate from it yet", "www.example.org chat.example.org")
	text, err := os.ReadFile(conf)
	if err != nil || !strings.Contains(string(text), "domains = [\"home.arpa\", \"example.org\"] # ours") || !strings.Contains(string(text), "# nothing yet") || s.cfg.ACMENow().Contact != "ann@example.org" {
		t.Errorf("%v\n%s", err, text)
	}
	act(200, "do", "now")
	ann.want("The CA is being asked.")
	act(200, "do", "remove", "domain", "example.org")
	ann.want("Take no more mail for example.org?")
	act(200, "do", "remove", "domain", "example.org", "sure", "1")
	ann.want("not taken in any more")
	act(422, "do", "remove", "domain", "home.arpa", "sure", "1")
	ann.want("the only domain")
}
