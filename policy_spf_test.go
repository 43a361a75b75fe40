package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// spfPart is a part of the openspf test suite for RFC 7208: testdata/spf/rfc7208.json is its YAML (BSD licence) as JSON, without the words on
// each case.
type spfPart struct {
	Description string
	Tests       map[string]spfCase
	Zonedata    map[string][]any
}

type spfCase struct {
	Helo, Host, Mailfrom string
	Result               []string
}

func spfSuite(t *testing.T) []spfPart {
	b, err := os.ReadFile("testdata/spf/rfc7208.json")
	if err != nil {
		t.Fatal(err)
	}
	var suite []spfPart
	if err := json.Unmarshal(b, &suite); err != nil {
		t.Fatal(err)
	}
	return suite
}

// sender is the case's sender; zero without one.
func (c spfCase) sender() Addr {
	local, domain, ok := strings.Cut(c.Mailfrom, "@")
	if !ok && c.Mailfrom != "" {
		return Addr{"postmaster", c.Mailfrom}
	}
	return Addr{local, domain}
}

func TestSPFSuite(t *testing.T) {
	n := 0
	for _, part := range spfSuite(t) {
		zone := spfTestZone(t, part.Zonedata)
		for name, c := range part.Tests {
			got := checkSPF(t.Context(), zone, netip.MustParseAddr(c.Host).Unmap(), c.Helo, c.sender(), func(string) bool { return false })
			n++
			if !slices.Contains(c.Result, got.result) {
				t.Errorf("%s, %s: %s, not %v (%s)", part.Description, name, got.result, c.Result, got.why)
			}
		}
	}
	if n != 203 {
		t.Errorf("%d cases", n)
	}
}

// TestSPFPython compares with Debian's python3-spf, which asks a nameserver of the same zones.
func TestSPFPython(t *testing.T) {
	python := debianPython(t, "spf, dns.resolver")
	type one struct{ Name, Helo, Host, Mailfrom string }
	type part struct {
		Port  string
		Tests []one
	}
	var parts []part
	ours := map[string]string{}
	for _, p := range spfSuite(t) {
		zone := spfTestZone(t, p.Zonedata)
		ns := newTestNameserver(t, zone.zone)
		ns.changes(func(m *dnsmessage.Message) {
			q := m.Questions[0]
			_, err := zone.Ask(t.Context(), q.Name.String(), q.Type)
			if err != nil && !dnsNotFound(err) {
				m.Answers, m.RCode = nil, dnsmessage.RCodeServerFailure
			}
		})
		_, port, _ := strings.Cut(ns.addr, ":")
		next := part{Port: port}
		for name, c := range p.Tests {
			next.Tests = append(next.Tests, one{p.Description + ", " + name, c.Helo, c.Host, c.Mailfrom})
			ours[p.Description+", "+name] = checkSPF(t.Context(), zone, netip.MustParseAddr(c.Host).Unmap(), c.Helo, c.sender(), func(string) bool { return false }).result
		}
		parts = append(parts, next)
	}
	b, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	f := filepath.Join(t.TempDir(), "suite")
	if err := os.WriteFile(f, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-W", "ignore", "-c", `
import spf, dns.resolver, json, sys
r = {}
for part in json.load(open(sys.argv[1])):
    res = dns.resolver.Resolver(configure=False)
    res.nameservers, res.port = ["127.0.0.1"], int(part["Port"])
    dns.resolver.default_resolver = res
    for t in part["Tests"]:
        q = spf.query(i=t["Host"], s=t["Mailfrom"], h=t["Helo"], strict=True)
        q.set_default_explanation("x")
        r[t["Name"]] = q.check()[0]
print(json.dumps(r))`, f).Output()
	if err != nil {
		t.Fatalf("python3-spf: %v %s", err, out)
	}
	var theirs map[string]string
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	for name, got := range ours {
		why, known := spfPythonDiffers[name]
		if (theirs[name] != got) != known {
			t.Errorf("%s: we say %s, python3-spf %s; known: %q", name, got, theirs[name], why)
		}
	}
}

// spfPythonDiffers are the cases in which python3-spf says something else, and why.
var spfPythonDiffers = map[string]string{
	"Selecting records, multispf1": "two records that are the same are one to its DNS library; the suite allows both",
}

// spfZone is a zone of the suite, in which some questions have no answer.
type spfZone struct {
	testDNS
	silent map[string]bool
}

func (z *spfZone) Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	key := strings.ToLower(strings.TrimSuffix(name, "."))
	if z.silent[key] && len(z.zone[key+"."]) == 0 {
		return DNSAnswer{}, dnsError(name, false)
	}
	a, err := z.zone.ask(name, kind, false)
	if err == nil && len(a.Records) == 0 && z.silent[key] {
		return DNSAnswer{}, dnsError(name, false)
	}
	return a, err
}

func spfTestZone(t *testing.T, data map[string][]any) *spfZone {
	z := &spfZone{testDNS: testDNS{zone: testZone{}}, silent: map[string]bool{}}
	for name, records := range data {
		txt := false
		for _, r := range records {
			if m, ok := r.(map[string]any); ok && m["TXT"] != nil {
				txt = true
			}
		}
		for _, r := range records {
			m, ok := r.(map[string]any)
			if !ok {
				z.silent[strings.ToLower(name)] = true
				continue
			}
			for kind, v := range m {
				text := fmt.Sprint(v)
				if l, ok := v.([]any); ok && kind != "MX" {
					text = ""
					for _, s := range l {
						text += fmt.Sprint(s)
					}
				} else if ok {
					text = fmt.Sprintf("%v %v", l[0], l[1])
				}
				switch {
				case kind == "TIMEOUT", kind == "CNAMELOOP":
					z.silent[strings.ToLower(name)] = true
					continue
				case kind == "SPF" && txt, text == "NONE", kind == "MX" && strings.HasSuffix(text, " "):
					continue
				case kind == "SPF":
					kind = "TXT"
				}
				z.put(t, name, kind, text)
			}
		}
	}
	return z
}

func (z *spfZone) put(t *testing.T, name, kind, text string) {
	n, err := dnsmessage.NewName(strings.ToLower(name) + ".")
	if err != nil {
		return
	}
	if kind == "TXT" {
		z.zone[n.String()] = append(z.zone[n.String()], dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: n, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.TXTResource{TXT: dnsStrings(text)}})
		return
	}
	if strings.Contains(name, " ") { // as macros can make them; the lines of a zone have other words for blanks
		z.zone[n.String()] = append(z.zone[n.String()], dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(text).As4()}})
		return
	}
	z.zone.add(t, name+" "+kind+" "+text)
}
