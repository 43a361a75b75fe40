package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// goodZone is what the DNS must have for example.org, as a server's own records say it.
func goodZone(t *testing.T, z *webDNSZone) testZone {
	t.Helper()
	zone := newTestZone(t, "example.org TXT something else\n7.2.0.192.in-addr.arpa PTR mail.example.org")
	for _, r := range z.records() {
		switch {
		case r.Value == "" || r.Kind == "PTR":
		case r.Kind == "SRV":
			f := strings.Fields(r.Value)
			name := dnsmessage.MustNewName(r.Name + ".")
			port, err := netip.ParseAddrPort("127.0.0.1:" + f[2])
			if err != nil {
				t.Fatal(err)
			}
			zone[r.Name+"."] = append(zone[r.Name+"."], dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET, TTL: 300},
				Body: &dnsmessage.SRVResource{Weight: 1, Port: port.Port(), Target: dnsmessage.MustNewName(f[3])}})
		case r.Kind == "CAA":
			zone.caa(r.Name, `letsencrypt.org`)
		default:
			zone.add(t, r.Name+" "+r.Kind+" "+r.Value)
		}
	}
	return zone
}

// caa adds a CAA record that lets one CA sign.
func (z testZone) caa(name, ca string) {
	data := append([]byte{0, 5}, "issue"+ca...)
	z[name+"."] = append(z[name+"."], dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name + "."), Type: webTypeCAA, Class: dnsmessage.ClassINET, TTL: 300},
		Body: &dnsmessage.UnknownResource{Type: webTypeCAA, Data: data}})
}

// without takes records out of a zone: those of a name whose kind is named, or all.
func (z testZone) without(name string, kind dnsmessage.Type) testZone {
	var left []dnsmessage.Resource
	for _, r := range z[name+"."] {
		if r.Header.Type != kind && kind != dnsmessage.TypeALL {
			left = append(left, r)
		}
	}
	z[name+"."] = left
	if len(left) == 0 {
		delete(z, name+".")
	}
	return z
}

// TestWebDNS gives the DNS a zone in which all is right, and then breaks one record after the other: each has its light and its words.
func TestWebDNS(t *testing.T) {
	s := startServer(t, `domains = ["home.arpa", "example.org"]`, "[listen]", `submissions = [":465"]`, `imaps = [":993"]`, "[smtp]", `mta_sts = "testing"`)
	s.cfg.Hostname = "mail.example.org"
	s.tls.addrs = func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.7")}
	}
	keys, err := NewDKIMKeys(1, DKIMActive)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, func(tx *Tx) error { return tx.SetDKIMKeys("example.org", keys) })
	s.tls.public = testPair(t, s.store.Now(), s.store.Now().AddDate(0, 3, 0), "example.org", "*.example.org")
	s.cfg.Adopt(&Config{Domains: s.cfg.Domains, TLS: s.cfg.TLS})
	s.cfg.live.Load().acme = ACME{Directory: "https://ca.example/dir", Challenge: ACMEHTTP}
	if err := s.tls.keepAccount(acmeAccount{Directory: "https://ca.example/dir", Issuers: []string{"letsencrypt.org"}}); err != nil {
		t.Fatal(err)
	}
	check := func(dns Resolver) map[string]*webRecord {
		t.Helper()
		z, err := webNewZone(s.cfg, s.store, s.tls, dns, "example.org")
		if err != nil {
			t.Fatal(err)
		}
		all, alive := z.check(t.Context())
		if !alive {
			t.Fatal("the DNS is not alive")
		}
		by := map[string]*webRecord{}
		for _, r := range all {
			by[r.Kind+" "+r.Shown("example.org")] = r
		}
		return by
	}
	z, err := webNewZone(s.cfg, s.store, s.tls, nil, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	good := func() testZone { return goodZone(t, z) }
	all := check(&testDNS{zone: good()})
	if len(all) < 16 {
		t.Errorf("only %d records", len(all))
	}
	for name, r := range all {
		if r.Light != webGreen {
			t.Errorf("%s: %s, %s %q", name, r.Light, r.Text, r.Found)
		}
	}
	for _, c := range []struct {
		what, record string
		zone         testZone
		light        webLit
		text         string
	}{
		{"nothing", "A mail", testZone{}, webRed, "Nobody finds"},
		{"a private address", "A mail", with(t, good().without("mail.example.org", dnsmessage.TypeA), "mail.example.org A 192.168.1.5"), webRed, "can't be reached"},
		{"another address", "A mail", with(t, good().without("mail.example.org", dnsmessage.TypeA), "mail.example.org A 198.51.100.1"), webAmber, "no address of this machine"},
		{"no MX", "MX @", good().without("example.org", dnsmessage.TypeMX), webRed, "does not come here"},
		{"another MX", "MX @", with(t, good().without("example.org", dnsmessage.TypeMX), "example.org MX 5 mx.elsewhere.example"), webRed, "other hosts"},
		{"another MX before", "MX @", with(t, good(), "example.org MX 5 mx.elsewhere.example"), webAmber, "asked first"},
		{"no name", "PTR 7.2.0.192.in-addr.arpa", good().without("7.2.0.192.in-addr.arpa", dnsmessage.TypePTR), webRed, "has no name"},
		{"another name", "PTR 7.2.0.192.in-addr.arpa", with(t, good().without("7.2.0.192.in-addr.arpa", dnsmessage.TypePTR), "7.2.0.192.in-addr.arpa PTR dsl-7.provider.example"), webAmber, "another name"},
		{"no SPF", "TXT @", good().without("example.org", dnsmessage.TypeTXT), webRed, "forger"},
		{"two SPF", "TXT @", with(t, good(), "example.org TXT v=spf1 -all"), webRed, "several"},
		{"SPF of others", "TXT @", with(t, good().without("example.org", dnsmessage.TypeTXT), "example.org TXT v=spf1 ip4:198.51.100.1 -all"), webRed, "disowned"},
		{"SPF that can't be read", "TXT @", with(t, good().without("example.org", dnsmessage.TypeTXT), "example.org TXT v=spf1 ip4:nonsense -all"), webRed, "can't be read"},
		{"no DKIM", "TXT postino1._domainkey", good().without("postino1._domainkey.example.org", dnsmessage.TypeALL), webRed, "nobody can check"},
		{"another DKIM key", "TXT postino1e._domainkey", with(t, good().without("postino1e._domainkey.example.org", dnsmessage.TypeALL), "postino1e._domainkey.example.org TXT v=DKIM1; k=ed25519; p=AAAA"), webRed, "Another key"},
		{"no DMARC", "TXT _dmarc", good().without("_dmarc.example.org", dnsmessage.TypeALL), webRed, "big mail houses"},
		{"DMARC that rejects", "TXT _dmarc", with(t, good().without("_dmarc.example.org", dnsmessage.TypeALL), "_dmarc.example.org TXT v=DMARC1; p=reject"), webGreen, "Forged mail"},
		{"no policy host", "CNAME mta-sts", good().without("mta-sts.example.org", dnsmessage.TypeALL), webRed, "find nobody"},
		{"an old policy", "TXT _mta-sts", with(t, good().without("_mta-sts.example.org", dnsmessage.TypeALL), "_mta-sts.example.org TXT v=STSv1; id=1"), webAmber, "changed"},
		{"no policy", "TXT _mta-sts", good().without("_mta-sts.example.org", dnsmessage.TypeALL), webRed, "Nobody asks"},
		{"no reports", "TXT _smtp._tls", good().without("_smtp._tls.example.org", dnsmessage.TypeALL), webAmber, "With it"},
		{"no TLSA", "TLSA _25._tcp.mail", good().without("_25._tcp.mail.example.org", dnsmessage.TypeALL), webGrey, "Nobody needs it"},
		{"another TLSA", "TLSA _25._tcp.mail", with(t, good().without("_25._tcp.mail.example.org", dnsmessage.TypeALL), "_25._tcp.mail.example.org TLSA 3 1 1 00ff"), webRed, "another key"},
		{"no SRV", "SRV _imaps._tcp", good().without("_imaps._tcp.example.org", dnsmessage.TypeALL), webAmber, "by themselves"},
		{"no autoconfig", "CNAME autoconfig", good().without("autoconfig.example.org", dnsmessage.TypeALL), webAmber, "set themselves up"},
		{"autoconfig elsewhere", "CNAME autodiscover", with(t, good().without("autodiscover.example.org", dnsmessage.TypeALL), "autodiscover.example.org A 198.51.100.1"), webAmber, "another machine"},
		{"no CAA", "CAA @", good().without("example.org", webTypeCAA), webGrey, "Every CA"},
	} {
		r := check(&testDNS{zone: c.zone})[c.record]
		if r == nil || r.Light != c.light || !strings.Contains(r.Text, c.text) {
			t.Errorf("%s: %+v, not %s with %q", c.what, r, c.light, c.text)
		}
	}
	other := good().without("example.org", webTypeCAA)
	other.caa("example.org", "elsewhere.example")
	if r := check(&testDNS{zone: other})["CAA @"]; r.Light != webRed || !strings.Contains(r.Text, "may not sign") {
		t.Errorf("another CA: %+v", r)
	}
	s.cfg.Hostname = "postino.local"
	if r := check(&testDNS{zone: good()})["A mail"]; r.Light != webRed || !strings.Contains(r.Text, "calls itself") {
		t.Errorf("a machine in .local: %+v", r)
	}
	s.cfg.Hostname = "mail.example.org"
	leaf, sum := s.tls.Public(), "" // the record is about the certificate that is shown
	h := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	sum = hex.EncodeToString(h[:])
	if got := all["TLSA _25._tcp.mail"].Value; got != "3 1 1 "+sum {
		t.Errorf("TLSA %s, not %s", got, sum)
	}

	s.dns = &testDNS{zone: good()}
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	ann.get("/admin/dns")
	ann.want("<h2>example.org</h2>", "Mail for the domain comes to this machine.", "v=spf1 mx -all", `class="light good"`, "data-copy", "mail.example.org. A 192.0.2.7", "A new sender")
	ann.get("/admin/dns?domain=home.arpa")
	ann.want("in this network only", "_imaps._tcp.home.arpa. SRV 0 1 993 mail.example.org.")
	if ann.get("/admin/dns?domain=far.example"); ann.code != 404 {
		t.Errorf("somebody else's domain: %d", ann.code)
	}
	s.dns = silentDNS{}
	ann.get("/admin/dns?domain=example.org")
	ann.want("No DNS server answers this machine just now", "v=spf1 mx -all", `class="light dim"`)
}

// silentDNS never says anything of use.
type silentDNS struct{}

func (silentDNS) LookupHost(context.Context, string) ([]string, error) {
	return nil, dnsError("x", false)
}
func (silentDNS) LookupMX(context.Context, string) ([]*net.MX, error) {
	return nil, dnsError("x", false)
}
func (silentDNS) Ask(context.Context, string, dnsmessage.Type) (DNSAnswer, error) {
	return DNSAnswer{}, dnsError("x", false)
}

// with is a zone with one more record.
func with(t *testing.T, z testZone, line string) testZone {
	t.Helper()
	z.add(t, line)
	return z
}

// TestCheckDomain runs `postino check DOMAIN` where nobody answers: the records are there, and the exit status says so.
func TestCheckDomain(t *testing.T) {
	c := newTestCommand(t, "hostname = \"mail.example.org\"\ndomains = [\"example.org\", \"home.arpa\", \"board.local\"]\n[dns]\nservers = [\"127.0.0.1:9\"]\n[listen]\nimaps = [\":993\"]\n")
	c.want(1, "none of our domains", "", "check", "far.example")
	c.want(2, "usage", "", "check", "a", "b")
	c.want(3, "put in: example.org. MX 10 mail.example.org.|make them on the page|no DNS server answers", "", "check", "example.org")
	c.want(0, "in this network only|_imaps._tcp.home.arpa. SRV", "", "check", "home.arpa")
	_, text := c.run("", "check", "board.local")
	if strings.Contains(text, "MX") {
		t.Errorf("an MX that can't work: %s", text)
	}
	status, text := c.run("", "-json", "check", "example.org")
	list, _, _ := strings.Cut(text, "\npostino check")
	var all []checkedRecord
	if err := json.Unmarshal([]byte(list), &all); err != nil || status != 3 || len(all) < 10 || all[0].Name != "mail.example.org" || all[0].Light != "dim" {
		t.Errorf("%d %v %s", status, err, text)
	}
	if files, _ := filepath.Glob(filepath.Join(c.dir, "*")); len(files) == 0 {
		t.Error("nothing was opened")
	}
}
