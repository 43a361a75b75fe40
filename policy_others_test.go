package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// policyMails are messages from example.org and others, by what they are, with where they come from.
func policyMails(t *testing.T) []policyMail {
	keys, _ := dkimTestKeys()
	mail := func(from string) string {
		return string(crlf("From: " + from + "\nSubject: x\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nbody\n"))
	}
	signed := func(domain, from string) string {
		return string(dkimSignedMail(t, []byte(mail(from)), dkimSigner{domain, keys[0].selector, keys[0].key}))
	}
	return []policyMail{
		{"SPF", "192.0.2.1", "ann@example.org", mail("ann@example.org")},
		{"DKIM", "192.0.2.9", "eve@plain.example", signed("example.org", "ann@example.org")},
		{"DKIM and SPF", "192.0.2.1", "ann@example.org", signed("example.org", "ann@example.org")},
		{"neither", "192.0.2.9", "ann@example.org", mail("ann@example.org")},
		{"SPF of another domain", "192.0.2.1", "ann@plain.example", mail("ann@example.org")},
		{"DKIM of another domain", "192.0.2.9", "ann@plain.example", signed("plain.example", "ann@example.org")},
		{"broken signature", "192.0.2.9", "ann@example.org", strings.Replace(signed("example.org", "ann@example.org"), "body", "bodies", 1)},
		{"subdomain, by sp=", "192.0.2.9", "a@sub.example.org", mail("ann@sub.example.org")},
		{"subdomain, aligned by SPF", "192.0.2.1", "ann@example.org", mail("ann@sub.example.org")},
		{"subdomain, aligned by DKIM", "192.0.2.9", "ann@plain.example", signed("example.org", "ann@sub.example.org")},
		{"quarantine", "192.0.2.9", "a@soft.example", mail("a@soft.example")},
		{"softfail is no pass", "192.0.2.9", "a@soft.example", mail("a@soft.example")},
		{"strict", "192.0.2.1", "a@bounce.strict.example", mail("a@strict.example")},
		{"strict and the same", "192.0.2.1", "a@strict.example", mail("a@strict.example")},
		{"strict DKIM below", "192.0.2.9", "a@plain.example", signed("strict.example", "a@strict.example")},
		{"no policy", "192.0.2.1", "a@plain.example", mail("a@plain.example")},
		{"no policy, nobody", "192.0.2.9", "a@plain.example", mail("b@nothing.example")},
		{"two records", "192.0.2.9", "a@twice.example", mail("a@twice.example")},
		{"null sender", "192.0.2.1", "", mail("ann@mx.example.org")},
		{"a name in quotes", "192.0.2.1", "ann@example.org", mail("\"ann@soft.example, x\" <ann@example.org>")},
		{"a group", "192.0.2.1", "ann@example.org", mail("us: ann@example.org;")},
		{"capitals", "192.0.2.1", "ann@example.org", mail("ann@EXAMPLE.org")},
		{"folded", "192.0.2.1", "ann@example.org", mail("Ann\n <ann@example.org>")},
	}
}

type policyMail struct{ name, addr, from, msg string }

// TestAuthresPython: what we write into Authentication-Results is what Debian's python3-authres reads there.
func TestAuthresPython(t *testing.T) {
	python := debianPython(t, "authres")
	s, _ := policyTest(t, "[smtp]", "check_senders = \"mark\"", "local_senders = \"mark\"")
	var all []*Verdict
	for _, m := range policyMails(t) {
		all = append(all, policyVerdict(t, s, m.addr, m.from, m.msg))
	}
	all = append(all,
		policyVerdict(t, s, "192.0.2.9", "ann@home.arpa", "From: ann@home.arpa\r\n\r\nx\r\n"),
		policyVerdict(t, s, "2001:db8::1", "x@例子.example", "From: \"x\" <用户@例子.example>\r\n\r\nx\r\n"),
		policyVerdict(t, s, "192.0.2.9", `"a b\"c;=()"@two.example`, "From: x@[192.0.2.9], y@two.example, z@plain.example\r\n\r\nx\r\n"),
		policyVerdict(t, s, "192.0.2.9", "x@list.example", arcSealed(t, "From: a@strict.example\r\nSubject: x\r\n\r\nbody\r\n", "spf=pass")))
	odd := &Verdict{}
	odd.add("dkim", resultFail, "the \"body\" \\ was;changed=(x)", "header.b", "ab/+=", "header.s", strings.Repeat("s", 300)) // one in quotes in front of others is lost on authres 1.2
	odd.add("dkim", resultFail, "", "header.d", "ex(am)ple.org")
	all = append(all, odd, &Verdict{})
	f := filepath.Join(t.TempDir(), "fields")
	var fields []string
	for _, v := range all {
		fields = append(fields, v.Field("mx.home.arpa"))
	}
	b, _ := json.Marshal(fields)
	if err := os.WriteFile(f, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `
import authres, json, sys
all = []
for f in json.load(open(sys.argv[1])):
    h = authres.AuthenticationResultsHeader.parse(f.rstrip("\r\n"))
    assert h.authserv_id == "mx.home.arpa", f
    all.append([[r.method, r.result, r.reason or ""] + [p.type + "." + p.name + "=" + p.value for p in r.properties] for r in h.results if r.method])
print(json.dumps(all))`, f).CombinedOutput()
	if err != nil {
		t.Fatalf("python3-authres: %v\n%s", err, out)
	}
	var theirs [][][]string
	if err := json.Unmarshal(out, &theirs); err != nil || len(theirs) != len(all) {
		t.Fatalf("%v %s", err, out)
	}
	for i := range all {
		var ours [][]string
		for _, r := range parseVerdict(strings.TrimPrefix(unfold(fields[i]), "Authentication-Results: mx.home.arpa")).Results {
			one := []string{r.Method, r.Result, r.Reason}
			for _, p := range r.Props {
				one = append(one, p.Name+"="+p.Value)
			}
			ours = append(ours, one)
		}
		if fmt.Sprint(ours) != fmt.Sprint(theirs[i]) {
			t.Errorf("%s\nwe read      %q\nthey read    %q", fields[i], ours, theirs[i])
		}
	}
}

// policyVerdict judges a message that is to be taken.
func policyVerdict(t *testing.T, s *testServer, addr, from, msg string) *Verdict {
	t.Helper()
	sp := s.store.NewSpool(1 << 24)
	defer sp.Close()
	io.WriteString(sp, msg)
	m := &Mail{To: rcptsTo(Addr{"bob", "home.arpa"}), Body: sp, Stranger: true}
	if from != "" {
		a, err := ParseAddr(from)
		if err != nil {
			t.Fatal(err)
		}
		m.From = a
	}
	err := s.judge(m, MailPeer{netip.MustParseAddr(addr), "mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Verdict == nil {
		t.Fatalf("no verdict on %q", msg)
	}
	return m.Verdict
}

// TestOpenDMARC: Debian's opendmarc, which reads our DKIM results, checks SPF itself and asks the same zone, comes to the same verdict, but for the
// cases that are named. It asks only servers of resolv.conf, at port 53: as root it gets a resolv.conf of its own.
func TestOpenDMARC(t *testing.T) {
	program := debianProgram(t, "opendmarc")
	dir := t.TempDir()
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&63, pid>>8&255, 1+pid&127)
	file := func(name, text string) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return f
	}
	resolv := file("resolv.conf", "nameserver "+host+"\n")
	if os.Getuid() != 0 || exec.Command("unshare", "-m", "mount", "--bind", resolv, "/etc/resolv.conf").Run() != nil {
		skip(t, "opendmarc needs a resolv.conf of its own, which root can give it")
	}
	s, dns := policyTest(t, "[smtp]", "check_senders = \"mark\"")
	newTestNameserverAt(t, dns.zone, host+":53")
	conf := file("conf", "AuthservID mx.home.arpa\nTrustedAuthservIDs mx.home.arpa\nIgnoreHosts "+file("ignore", "198.51.100.1\n")+
		"\nPublicSuffixList "+file("suffixes", "org\nexample\n")+"\nSPFIgnoreResults yes\nSPFSelfValidate yes\nSyslog no\n")
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" /etc/resolv.conf && exec "$2" -f -c "$3" -p "local:$4"`, "sh", resolv, program, conf, socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	waitFor(t, "opendmarc listens", func() bool {
		nc, err := net.Dial("unix", socket)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	for _, m := range policyMails(t) {
		v := policyVerdict(t, s, m.addr, m.from, m.msg)
		d, _ := v.get("dmarc")
		v.Results = slices.DeleteFunc(v.Results, func(r AuthResult) bool { return r.Method == "dmarc" })
		out := milter(t, socket, m.addr, m.from, v.Field("mx.home.arpa")+m.msg)
		_, theirs, _ := strings.Cut(out, "dmarc=")
		theirs, _, _ = strings.Cut(theirs, " dis=")
		ours := d.Result + " (p=" + d.prop("policy.dmarc")
		if d.Result == resultNone {
			ours += "none"
		}
		why, known := openDMARCDiffers[m.name]
		if (theirs != ours) != known {
			t.Errorf("%s: we say %s), opendmarc %s); known: %q\n%s", m.name, ours, theirs, why, out)
		}
	}
}

// openDMARCDiffers are the messages on which opendmarc 1.4 has another verdict, and why.
var openDMARCDiffers = map[string]string{
	"strict":      "it does not keep aspf=s: bounce.strict.example is not strict.example (RFC 9989 §3.2.10.2)",
	"two records": "it takes the first of two; all are discarded (RFC 9989 §4.10)",
}

// milter hands a message to a filter as a mail server does, and returns the fields that it adds.
func milter(t *testing.T, socket, addr, from, msg string) string {
	t.Helper()
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	say := func(kind byte, data string) {
		nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1)), kind))
		io.WriteString(nc, data)
	}
	hear := func() (byte, string) {
		var n uint32
		if err := binary.Read(nc, binary.BigEndian, &n); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(nc, b); err != nil {
			t.Fatal(err)
		}
		return b[0], string(b[1:])
	}
	say('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00")
	hear()
	ask := func(kind byte, data string) {
		say(kind, data)
		hear()
	}
	family := "4"
	if strings.Contains(addr, ":") {
		family = "6"
	}
	ask('C', "mx.example.org\x00"+family+"\x00\x19"+addr+"\x00")
	ask('H', "mx.example.org\x00")
	ask('M', "<"+from+">\x00")
	ask('R', "<bob@home.arpa>\x00")
	header, body, _ := strings.Cut(msg, "\r\n\r\n")
	for _, f := range dkimFields(header + "\r\n") {
		name, value, _ := strings.Cut(strings.TrimRight(f.raw, "\r\n"), ":")
		ask('L', name+"\x00"+strings.ReplaceAll(strings.TrimLeft(value, " "), "\r\n", "\n")+"\x00")
	}
	ask('N', "")
	ask('B', body)
	say('E', "")
	added := ""
	for {
		kind, data := hear()
		switch kind {
		case 'h', 'i':
			added += data + "\n"
		case 'a', 'c', 'r', 't':
			return added
		}
	}
}
