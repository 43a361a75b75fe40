package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnssecTest is Debian's nsd with zones of our own, the first two signed, behind Debian's unbound, which checks them.
type dnssecTest struct {
	dir      string
	resolver string // 127.0.0.1:PORT
	trusts   []string
}

// dnssecZone is the beginning of each zone.
const dnssecZone = `$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A 127.0.0.1
`

// sign makes a zone's keys and signs it; the signed file is returned, and the key is one that unbound trusts.
func (d *dnssecTest) sign(t *testing.T, zone, text string) string {
	t.Helper()
	run := func(name string, args ...string) string {
		c := exec.Command(debianProgram(t, name), args...)
		c.Dir = d.dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	os.WriteFile(filepath.Join(d.dir, zone), []byte("$ORIGIN "+zone+".\n"+dnssecZone+text), 0o600)
	key := run("ldns-keygen", "-k", "-a", "ECDSAP256SHA256", zone)
	run("ldns-signzone", zone, key)
	d.trusts = append(d.trusts, filepath.Join(d.dir, key+".key"))
	return filepath.Join(d.dir, zone+".signed")
}

// start runs both servers and waits until they answer.
func (d *dnssecTest) start(t *testing.T, zones map[string]string) {
	t.Helper()
	name, resolver := freePort(t), freePort(t)
	d.resolver = "127.0.0.1:" + resolver
	conf := fmt.Sprintf("server:\n ip-address: 127.0.0.1@%s\n username: \"\"\n chroot: \"\"\n zonesdir: %q\n pidfile: \"\"\n database: \"\"\n xfrdfile: %q\n zonelistfile: %q\n xfrdir: %q\n server-count: 1\n cookie-secret-file: %q\n"+
		"remote-control:\n control-enable: no\n", name, d.dir, filepath.Join(d.dir, "xfrd"), filepath.Join(d.dir, "zones"), d.dir, filepath.Join(d.dir, "cookie"))
	conf = regexp.MustCompile(` cookie-secret-file.*\n`).ReplaceAllString(conf, "")
	cache := fmt.Sprintf("server:\n interface: 127.0.0.1@%s\n username: \"\"\n chroot: \"\"\n directory: %q\n pidfile: \"\"\n do-daemonize: no\n use-syslog: no\n logfile: \"\"\n"+
		" do-not-query-localhost: no\n do-ip6: no\n module-config: \"validator iterator\"\n num-threads: 1\n qname-minimisation: no\n", resolver, d.dir)
	for _, k := range d.trusts {
		cache += fmt.Sprintf(" trust-anchor-file: %q\n", k)
	}
	cache += "remote-control:\n control-enable: no\n"
	for zone, file := range zones {
		conf += fmt.Sprintf("zone:\n name: %q\n zonefile: %q\n", zone, file)
		cache += fmt.Sprintf("stub-zone:\n name: %q\n stub-addr: 127.0.0.1@%s\n", zone, name)
	}
	for program, text := range map[string]string{"nsd": conf, "unbound": cache} {
		file := filepath.Join(d.dir, program+".conf")
		os.WriteFile(file, []byte(text), 0o600)
		c := exec.Command(debianProgram(t, program), "-d", "-c", file)
		var out strings.Builder
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c.Process.Signal(os.Interrupt)
			c.Wait()
			if t.Failed() {
				t.Logf("%s: %s", program, out.String())
			}
		})
	}
	r := NewResolver([]string{d.resolver}, false)
	waitFor(t, "the name servers answer", func() bool {
		a, err := r.Ask(t.Context(), "example.org", dnsmessage.TypeMX)
		return err == nil && len(a.Records) > 0
	})
}

// TestDNSSEC sends mail by what Debian's name servers say: what they prove is believed, and what does not hold is not.
func TestDNSSEC(t *testing.T) {
	for _, p := range []string{"nsd", "unbound", "ldns-keygen", "ldns-signzone"} {
		debianProgram(t, p)
	}
	var pair tls.Certificate
	far := newProofTest(t, "", func(ca *testCA) tls.Certificate { pair = foreignPair("x.example")(ca); return pair }).far
	other := newTestCA(t).pair("x.example").Leaf
	tlsa := func(host string, right bool) string {
		c := pair.Leaf
		if !right {
			c = other
		}
		return strings.Replace(strings.TrimSuffix(tlsaOf(host, 3, 1, 1, c), "\n"), " TLSA", " IN TLSA", 1) + "\n"
	}
	d := &dnssecTest{dir: t.TempDir()}
	mx := func(host string) string { return "@ MX 10 " + host + "\nmx A 192.0.2.1\n" }
	in := func(zone string, right bool) string {
		return strings.Replace(tlsa("mx."+zone, right), "mx."+zone, "mx."+zone+".", 1)
	}
	zones := map[string]string{}
	zones["example.org"] = d.sign(t, "example.org", mx("mx")+in("example.org", true)+
		"wrong A 192.0.2.1\n"+strings.Replace(tlsa("wrong.example.org", false), "wrong.example.org", "wrong.example.org.", 1)+
		"alias CNAME mx\n")
	zones["wrong.example"] = d.sign(t, "wrong.example", mx("wrong.example.org."))
	zones["alias.example"] = d.sign(t, "alias.example", mx("alias.example.org."))
	zones["bogus.example"] = d.sign(t, "bogus.example", mx("mx")+in("bogus.example", true))
	text, err := os.ReadFile(zones["bogus.example"]) // as somebody would write it who has no key
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^_25\._tcp\.mx\.bogus\.example\.\s.*\bTLSA\s+3 1 1 `)
	at := line.FindIndex(text)
	if at == nil {
		t.Fatalf("no TLSA record in\n%s", text)
	}
	copy(text[at[1]:], "00000000")
	os.WriteFile(zones["bogus.example"], text, 0o600)
	plain := filepath.Join(d.dir, "plain")
	os.WriteFile(plain, []byte("$ORIGIN plain.example.\n"+dnssecZone+mx("mx")+in("plain.example", false)), 0o600)
	zones["plain.example"] = plain
	elsewhere := filepath.Join(d.dir, "elsewhere")
	os.WriteFile(elsewhere, []byte("$ORIGIN elsewhere.example.\n"+dnssecZone+"@ MX 10 wrong.example.org.\n"), 0o600)
	zones["elsewhere.example"] = elsewhere
	d.start(t, zones)

	qt := newQueueTest(t, newPeer(t, nil))
	qt.cfg.Routes = nil
	qt.Server.dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", far.addr["smtp"]) }
	for _, c := range []struct {
		domain string
		trust  bool
		want   string
		dane   bool
	}{
		{"example.org", true, "", true},
		{"wrong.example", true, "is none of those that the DNS names (DANE)", true},
		{"alias.example", true, "", true},
		{"bogus.example", true, "DNS: ", false},
		{"plain.example", true, "", false},     // nothing is signed
		{"elsewhere.example", true, "", false}, // signed hosts of a domain that is not
		{"wrong.example", false, "", false},    // nobody says that the resolver is to be believed
	} {
		r := NewResolver([]string{d.resolver}, false)
		if !c.trust {
			stub := r.(*lanResolver).Resolver.(dnsBoth).dnsStub
			stub.given = nil
			stub.file = filepath.Join(d.dir, "none")
			stub.conf, stub.looked = dnsConf{servers: []string{strings.Replace(d.resolver, "127.0.0.1", "localhost", 1)}}, time.Now().Add(time.Hour)
		}
		qt.Server.dns = r
		hops, err := qt.hops(t.Context(), qt.nextHop(c.domain), c.domain)
		if err != nil {
			if c.want == "" || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s: %v", c.domain, err)
			}
			continue
		}
		if len(hops) != 1 || (hops[0].proof.dane != nil) != c.dane {
			t.Errorf("%s: %+v", c.domain, hops)
			continue
		}
		client, err := qt.smtpDial(hops[0])
		if err == nil {
			if c.want != "" || !client.secure || client.verified != c.dane {
				t.Errorf("%s: connected, TLS %v, checked %v", c.domain, client.secure, client.verified)
			}
			client.quit()
			continue
		}
		if c.want == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.domain, err)
		}
	}
}
