package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// countingDNS counts the questions that are asked, and keeps their names.
type countingDNS struct {
	testDNS
	asked atomic.Int64
}

func (d *countingDNS) Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	if name != "." {
		d.asked.Add(1)
	}
	return d.testDNS.Ask(ctx, name, kind)
}

const policyTestZone = `
	example.org TXT v=spf1 ip4:192.0.2.1 -all
	_dmarc.example.org TXT v=DMARC1; p=reject; sp=quarantine; np=reject
	sub.example.org A 192.0.2.7
	soft.example TXT v=spf1 ip4:192.0.2.1 ~all
	_dmarc.soft.example TXT v=DMARC1; p=quarantine
	trying.example TXT v=spf1 -all
	_dmarc.trying.example TXT v=DMARC1; p=reject; t=y
	old.example TXT v=spf1 -all
	_dmarc.old.example TXT v=DMARC1; p=reject; pct=20; ri=86400; fo=1; rf=afrf
	strict.example TXT v=spf1 ip4:192.0.2.1 -all
	bounce.strict.example TXT v=spf1 ip4:192.0.2.1 -all
	_dmarc.strict.example TXT v=DMARC1; p=reject; aspf=s; adkim=s
	plain.example TXT v=spf1 ip4:192.0.2.1 -all
	list.example TXT v=spf1 ip4:192.0.2.1 -all
	1.2.0.192.in-addr.arpa PTR mx.example.org
	mx.example.org A 192.0.2.1
	two.example TXT v=spf1 -all
	two.example TXT v=spf1 +all
	_dmarc.twice.example TXT v=DMARC1; p=reject
	_dmarc.twice.example TXT v=DMARC1; p=none
	_dmarc.bad.example TXT v=DMARC1; p=never
	_dmarc.badrua.example TXT v=DMARC1; p=never; rua=mailto:x@bad.example
	huge.example TXT v=spf1 ` // a text of 60 KB and -all follow

func policyTest(t *testing.T, config ...string) (*testServer, *countingDNS) {
	_, keys := dkimTestKeys()
	s := startServer(t, config...)
	dns := &countingDNS{testDNS: testDNS{zone: newTestZone(t, policyTestZone+strings.Repeat("ip4:10.0.0.1 ", 5000)+"-all\n"+keys)}}
	s.dns = dns
	return s, dns
}

// judged judges a message and returns its verdict as Authentication-Results has it, without line ends.
func judged(t *testing.T, s *testServer, addr, from, msg string) (string, error) {
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
	if m.Verdict == nil {
		return "", err
	}
	return strings.ReplaceAll(m.Verdict.Field("mx.home.arpa"), "\r\n\t", " "), err
}

func TestPolicy(t *testing.T) {
	s, _ := policyTest(t, "[routes]", "\"lab2.arpa\" = \"198.51.100.9:25\"")
	keys, _ := dkimTestKeys()
	mail := func(from string) string { return string(crlf("From: " + from + "\nSubject: x\n\nbody\n")) }
	signed := string(dkimSignedMail(t, crlf("From: ann@example.org\nSubject: x\n\nbody\n"), keys...))
	for _, c := range []struct {
		name, addr, from, msg string
		words                 string // all of them are in the verdict; "" wants none
		refused               bool
	}{
		{"SPF", "192.0.2.1", "ann@example.org", mail("ann@example.org"),
			"iprev=pass policy.iprev=192.0.2.1 policy.name=mx.example.org|spf=pass smtp.mailfrom=ann@example.org|dkim=none|dmarc=pass header.from=example.org policy.dmarc=reject policy.by=example.org", false},
		{"DKIM", "192.0.2.9", "eve@plain.example", signed, "iprev=fail|spf=fail|dkim=pass header.d=example.org header.s=postino1 |header.s=postino1e|dmarc=pass", false},
		{"neither", "192.0.2.9", "ann@example.org", mail("ann@example.org"), "", true},
		{"SPF of another domain", "192.0.2.1", "ann@plain.example", mail("ann@example.org"), "", true},
		{"no sender", "192.0.2.1", "", mail("ann@example.org"), "spf=none smtp.helo=mx.example.org", true},
		{"broken signature", "192.0.2.9", "ann@example.org", strings.Replace(signed, "body", "bodies", 1), "", true},
		{"subdomain, sp=", "192.0.2.9", "ann@example.org", mail("ann@sub.example.org"), "dmarc=fail header.from=sub.example.org policy.dmarc=quarantine", false},
		{"subdomain that is not there, np=", "192.0.2.9", "ann@example.org", mail("ann@gone.example.org"), "", true},
		{"subdomain, aligned with its organization", "192.0.2.1", "ann@example.org", mail("ann@sub.example.org"), "dmarc=pass", false},
		{"p=quarantine", "192.0.2.9", "a@soft.example", mail("a@soft.example"), "spf=softfail|dmarc=fail header.from=soft.example policy.dmarc=quarantine", false},
		{"t=y", "192.0.2.9", "a@trying.example", mail("a@trying.example"), "dmarc=fail header.from=trying.example policy.dmarc=quarantine", false},
		{"RFC 7489's pct", "192.0.2.9", "a@old.example", mail("a@old.example"), "dmarc=fail header.from=old.example policy.dmarc=quarantine", false},
		{"strict", "192.0.2.1", "a@bounce.strict.example", mail("a@strict.example"), "", true},
		{"strict and the same", "192.0.2.1", "a@strict.example", mail("a@strict.example"), "dmarc=pass", false},
		{"no policy, vouched for", "192.0.2.1", "a@plain.example", mail("a@plain.example"), "spf=pass|dmarc=none header.from=plain.example policy.by=plain.example", false},
		{"no policy, nobody vouches", "192.0.2.9", "a@plain.example", mail("b@nothing.example"), "spf=fail|dmarc=none header.from=nothing.example", false},
		{"two SPF records", "192.0.2.1", "a@two.example", mail("a@two.example"), "spf=permerror", false},
		{"two DMARC records", "192.0.2.9", "a@twice.example", mail("a@twice.example"), "dmarc=none", false},
		{"a policy of nonsense", "192.0.2.9", "a@bad.example", mail("a@bad.example"), "dmarc=none", false},
		{"… with reports", "192.0.2.9", "a@badrua.example", mail("a@badrua.example"), "dmarc=fail header.from=badrua.example policy.dmarc=none", false},
		{"SPF of 60 KB", "192.0.2.9", "a@huge.example", mail("a@huge.example"), "spf=fail", false},
		{"the DNS fails", "192.0.2.9", "a@servfail.example", mail("ann@example.org"), "", true},
		{"the DNS fails for a signature of others", "192.0.2.9", "a@plain.example", string(dkimSignedMail(t, crlf("From: ann@example.org\n\nx\n"), dkimSigner{"plain.example", "servfail", keys[0].key})), "", true},
		{"the DNS fails for its own", "192.0.2.9", "a@plain.example", string(dkimSignedMail(t, crlf("From: ann@example.org\n\nx\n"), dkimSigner{"example.org", "servfail", keys[0].key})), "dkim=temperror|dmarc=temperror", false},
		{"two in From, one of them forged", "192.0.2.1", "a@plain.example", mail("a@plain.example, ann@example.org"), "", true},
		{"a list", "192.0.2.1", "bounce@list.example", "List-Id: The list <talk.list.example>\r\n" + mail("ann@example.org"), "dmarc=fail header.from=example.org policy.dmarc=reject", false},
		{"somebody who says they are a list", "192.0.2.9", "bounce@list.example", "List-Id: The list <talk.list.example>\r\n" + mail("ann@example.org"), "", true},
		{"no From", "192.0.2.9", "ann@example.org", "Subject: x\r\n\r\nx\r\n", "spf=fail", false},
		{"no header", "192.0.2.9", "ann@example.org", "\r\nx\r\n", "spf=fail", false},
		{"a letter of a lab", "192.0.2.9", "x@lab2.arpa", mail("x@lab2.arpa"), "spf=none smtp.mailfrom=x@lab2.arpa", false},
		{"the lab's host", "198.51.100.9", "ann@example.org", mail("ann@example.org"), "", false},
		{"somebody at home", "192.168.1.7", "ann@example.org", mail("ann@example.org"), "", false},
		{"carrier's network", "100.64.0.9", "ann@example.org", mail("ann@example.org"), "", false},
	} {
		got, err := judged(t, s, c.addr, c.from, c.msg)
		if c.refused != errors.Is(err, errDisowned) || (!c.refused && err != nil) {
			t.Errorf("%s: %v\n%s", c.name, err, got)
			continue
		}
		if c.words == "" && got != "" {
			t.Errorf("%s: %s", c.name, got)
		}
		for _, w := range strings.Split(c.words, "|") {
			if !c.refused && !strings.Contains(got, w) {
				t.Errorf("%s: no %q in %s", c.name, w, got)
			}
		}
	}
	mark, _ := policyTest(t, "[smtp]", "check_senders = \"mark\"")
	if got, err := judged(t, mark, "192.0.2.9", "ann@example.org", mail("ann@example.org")); err != nil || !strings.Contains(got, "dmarc=fail header.from=example.org policy.dmarc=reject") {
		t.Errorf("mark: %v %s", err, got)
	}
	off, dns := policyTest(t, "[smtp]", "check_senders = \"off\"")
	if got, err := judged(t, off, "192.0.2.9", "ann@example.org", mail("ann@example.org")); err != nil || got != "" || dns.asked.Load() != 0 {
		t.Errorf("off: %v %s, %d questions", err, got, dns.asked.Load())
	}
	home, dns := policyTest(t)
	judged(t, home, "192.168.1.7", "ann@example.org", mail("ann@example.org"))
	if dns.asked.Load() != 0 {
		t.Errorf("%d questions about somebody at home", dns.asked.Load())
	}
}

// Hostile headers cost a bounded number of questions.
func TestPolicyBounds(t *testing.T) {
	s, dns := policyTest(t)
	sig := "DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; c=relaxed/relaxed; b=AAAA\r\n"
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, sig, i)
	}
	for i := range 50 {
		fmt.Fprintf(&b, "ARC-Seal: i=%d; a=rsa-sha256; d=a%d.example; s=s; cv=pass; b=AAAA\r\n", i+1, i)
	}
	froms := "From: " + manyFroms(2000) + "x@y.example\r\n"
	got, err := judged(t, s, "192.0.2.9", "a@a.b.c.d.e.f.g.h.i.j.k.example", b.String()[:900_000/2]+"\r\n"+froms+"\r\n")
	if err != nil || strings.Count(got, "dkim=") > dkimMost {
		t.Errorf("%v %.500s", err, got)
	}
	if n := dns.asked.Load(); n > 100 {
		t.Errorf("%d questions because of one message", n)
	}
}

func TestDMARCAddresses(t *testing.T) {
	for list, want := range map[string]string{
		"mailto:a@b.example": "[a@b.example]", "MAILTO:a@b.example!10m , mailto:c%2Bd@e.example": "[a@b.example c+d@e.example]", "": "[]", "https://x/": "[]",
		"mailto:a@b.example?subject=x": "[a@b.example]", "mailto:a@b%0d%0aBcc:x@y": "[]", "mailto:a@[127.0.0.1]": "[]", "a@b.example": "[]",
		strings.Repeat("mailto:a@b.example,", 2000): "[a@b.example a@b.example a@b.example a@b.example]",
	} {
		if got := fmt.Sprint(dmarcAddresses(list)); got != want {
			t.Errorf("%.80s: %s, not %s", list, got, want)
		}
	}
}

func TestDMARCWalk(t *testing.T) {
	zone := newTestZone(t, `
		_dmarc.example.com TXT v=DMARC1; p=none
		_dmarc.mail.example.com TXT v=DMARC1; p=reject
		_dmarc.giant.bank.example TXT v=DMARC1; p=quarantine; sp=reject
		_dmarc.bank.example TXT v=DMARC1; p=reject; psd=y
		_dmarc.own.example.com TXT v=DMARC1; p=none; psd=n
		_dmarc.tld TXT v=DMARC1; p=reject; psd=y; np=quarantine`)
	var asked []string
	w := &dmarcWalker{ctx: t.Context(), dns: &testDNS{zone: zone}, skip: func(d string) bool { asked = append(asked, d); return false }}
	for _, c := range []struct{ domain, org, policy string }{
		{"example.com", "example.com", "none"}, {"mail.example.com", "example.com", "reject"}, {"x.mail.example.com", "example.com", "none"},
		{"giant.bank.example", "giant.bank.example", "quarantine"}, {"mail.giant.bank.example", "giant.bank.example", "reject"}, {"mega.bank.example", "mega.bank.example", "reject"},
		{"a.own.example.com", "own.example.com", "none"}, {"nothing.example.net", "nothing.example.net", ""}, {"new.tld", "new.tld", "quarantine"},
	} {
		w.have = nil
		_, want := w.policy(c.domain)
		if org := w.organization(c.domain); org != c.org || want != c.policy {
			t.Errorf("%s: organization %s, policy %q; not %s, %q", c.domain, org, want, c.org, c.policy)
		}
	}
	// A record that says psd=y for its own domain ends the walk there (§4.10, step 2). One whose policy makes no sense is none unless
	// somebody can be told (§4.10.1), and what is above it does not count for its domain. Without p= it is p=none (§4.7).
	w = &dmarcWalker{ctx: t.Context(), skip: func(string) bool { return false }, dns: &testDNS{zone: newTestZone(t, `
		_dmarc.top TXT v=DMARC1; p=reject
		_dmarc.suffix.top TXT v=DMARC1; p=quarantine; psd=y
		_dmarc.void.top TXT v=DMARC1; p=never
		_dmarc.told.top TXT v=DMARC1; p=reject; sp=never; rua=mailto:x@told.top!10m
		_dmarc.url.top TXT v=DMARC1; p=never; rua=https://told.top/x, mailto:, mailto:nobody
		_dmarc.plain.top TXT v=DMARC1; psd=n`)}}
	for _, c := range []struct{ domain, org, policy string }{
		{"suffix.top", "suffix.top", "quarantine"}, {"a.suffix.top", "a.suffix.top", "quarantine"}, {"void.top", "top", ""}, {"told.top", "top", "none"},
		{"url.top", "top", ""}, {"plain.top", "plain.top", "none"}, {"x.void.top", "top", "reject"},
	} {
		_, want := w.policy(c.domain)
		if org := w.organization(c.domain); org != c.org || want != c.policy {
			t.Errorf("%s: organization %s, policy %q; not %s, %q", c.domain, org, want, c.org, c.policy)
		}
	}
	w = &dmarcWalker{ctx: t.Context(), dns: &testDNS{zone: zone}, skip: func(d string) bool { asked = append(asked, d); return false }}
	asked = nil
	w.walk("a.b.c.d.e.f.g.h.i.j.mail.example.net") // RFC 9989 §4.10
	if got := strings.Join(asked, " "); got != "a.b.c.d.e.f.g.h.i.j.mail.example.net g.h.i.j.mail.example.net h.i.j.mail.example.net i.j.mail.example.net j.mail.example.net mail.example.net example.net net" {
		t.Errorf("asked %s", got)
	}
}

// arcSealed puts one more ARC set in front of a message, as a server of example.org would.
func arcSealed(t *testing.T, msg, results string) string {
	t.Helper()
	keys, _ := dkimTestKeys()
	header, body, _ := strings.Cut(msg, "\r\n\r\n")
	fields := dkimFields(header + "\r\n")
	sets, why := arcSets(fields)
	if why != "" {
		t.Fatal(why)
	}
	i, cv := len(sets)+1, resultPass
	if i == 1 {
		cv = resultNone
	}
	h := newDKIMBody(true)
	io.WriteString(h, body)
	sum, _ := h.end()
	aar := fmt.Sprintf("ARC-Authentication-Results: i=%d; mx.example.org; %s\r\n", i, results)
	ams := fmt.Sprintf("ARC-Message-Signature: i=%d; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=postino1; h=from:subject; bh=%s; b=\r\n", i, base64.StdEncoding.EncodeToString(sum))
	seal := fmt.Sprintf("ARC-Seal: i=%d; a=rsa-sha256; d=example.org; s=postino1; cv=%s; b=\r\n", i, cv)
	sign := func(f string, write func(io.Writer)) string {
		h := newDKIMBody(false) // only for its hash
		h.sum.Reset()
		write(h.sum)
		sig, err := dkimSeal(keys[0].key, [32]byte(h.sum.Sum(nil)))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(f, "\r\n") + base64.StdEncoding.EncodeToString(sig) + "\r\n"
	}
	ams = sign(ams, func(w io.Writer) {
		newDKIMPicker(fields).hashFields(w, []string{"from", "subject"}, true)
		io.WriteString(w, strings.TrimSuffix(canonField(ams, true), "\r\n"))
	})
	seal = sign(seal, func(w io.Writer) {
		for _, s := range sets {
			io.WriteString(w, canonField(s.results.raw, true)+canonField(s.message.raw, true)+canonField(s.seal.raw, true))
		}
		io.WriteString(w, canonField(aar, true)+canonField(ams, true)+strings.TrimSuffix(canonField(seal, true), "\r\n"))
	})
	return seal + ams + aar + msg
}

func TestARC(t *testing.T) {
	s, _ := policyTest(t, "[smtp]", "trusted_sealers = [\"example.org\"]")
	msg := string(crlf("From: a@strict.example\nSubject: x\n\nbody\n"))
	one := arcSealed(t, msg, "dmarc=pass header.from=strict.example; spf=pass")
	three := arcSealed(t, arcSealed(t, one, "dmarc=fail header.from=strict.example; arc=pass"), "dkim=pass header.d=strict.example")
	check := func(name, msg, want string, refused bool) {
		t.Helper()
		got, err := judged(t, s, "192.0.2.9", "x@plain.example", msg)
		if refused != (err != nil) || (!refused && !strings.Contains(got, want)) {
			t.Errorf("%s: %v, %s", name, err, got)
		}
	}
	check("one set", one, "arc=pass header.d=example.org", false)
	check("three sets", three, "arc=pass", false)
	check("changed body", strings.Replace(one, "body", "bodies", 1), "", true)
	check("changed results", strings.Replace(one, "dmarc=pass", "dmarc=pass ", 1)+"x", "", true)
	check("results of a forger", strings.Replace(arcSealed(t, msg, "dmarc=fail header.from=strict.example"), "dmarc=fail", "dmarc=pass", 1), "", true)
	check("the sealer did not believe it", arcSealed(t, msg, "dmarc=fail header.from=strict.example"), "", true)
	check("for another domain", arcSealed(t, msg, "dmarc=pass header.from=example.net"), "", true)
	check("a missing set", strings.Replace(three, "ARC-Seal: i=2", "X-Seal: i=2", 1), "", true)
	check("a set twice", one[:strings.Index(one, "From:")]+one, "", true)
	check("number 51", strings.Replace(one, "i=1", "i=51", 3), "", true)
	s.cfg.SMTP.TrustedSealers = nil
	check("a sealer whom nobody trusts", one, "", true)

	python := debianPython(t, "dkim")
	f := filepath.Join(t.TempDir(), "mail")
	_, keys := dkimTestKeys()
	os.WriteFile(f, []byte(three), 0o600)
	os.WriteFile(f+".zone", []byte(keys), 0o600)
	out, err := exec.Command(python, "-c", `
import dkim, sys
zone = {}
for line in open(sys.argv[1] + ".zone"):
    name, _, text = line.rstrip("\n").split(" ", 2)
    zone[name + "."] = text.encode()
print(dkim.arc_verify(open(sys.argv[1], "rb").read(), dnsfunc=lambda n, timeout=5: zone.get(n.decode() if isinstance(n, bytes) else n))[0].decode())
`, f).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "pass" {
		t.Errorf("python3-dkim on our chain: %v %s", err, out)
	}
}

// Where no resolver answers, nothing is different from a machine without checks: the first message waits for one try, the next ones for none.
func TestDeadDNS(t *testing.T) {
	ns := newTestNameserver(t, testZone{})
	ns.mute.Store(true)
	s := startServer(t, "[dns]", "servers = [\""+ns.addr+"\"]")
	msg := string(crlf("From: ann@example.org\nSubject: x\n\nbody\n"))
	for range 3 {
		if got, err := judged(t, s, "192.0.2.9", "ann@example.org", msg); err != nil || got != "" {
			t.Errorf("%v %s", err, got)
		}
	}
	first := ns.asked.Load()
	for range 20 {
		judged(t, s, "192.0.2.9", "ann@example.org", msg)
	}
	if n := ns.asked.Load(); n != first || n > 3 {
		t.Errorf("%d, then %d questions to a resolver that is silent", first, n)
	}
	ns.mute.Store(false)
	s.health.mu.Lock()
	s.health.until = time.Now().Add(-time.Second)
	s.health.mu.Unlock()
	waitFor(t, "the resolver is found alive again", func() bool {
		got, _ := judged(t, s, "192.0.2.9", "ann@example.org", msg)
		return strings.Contains(got, "dmarc=none")
	})
	s.health.doubt()
	ns.mute.Store(true)
	if got, err := judged(t, s, "192.0.2.9", "ann@example.org", msg); err != nil || got != "" {
		t.Errorf("it fell silent: %v %s", err, got)
	}
	none := startServer(t)
	none.dns = NewResolver(nil, false)
	none.dns.(*lanResolver).Resolver = dnsBoth{nil, &dnsStub{file: filepath.Join(t.TempDir(), "none")}}
	if got, err := judged(t, none, "192.0.2.9", "ann@example.org", msg); err != nil || got != "" {
		t.Errorf("no DNS at all: %v %s", err, got)
	}
}

// BenchmarkPolicy takes messages of strangers in, with a resolver on this machine and without checks.
func BenchmarkPolicy(b *testing.B) {
	_, keys := dkimTestKeys()
	ns := newTestNameserver(b, newTestZone(b, strings.TrimSuffix(strings.TrimSpace(policyTestZone), "huge.example TXT v=spf1")+"\n"+keys))
	signers, _ := dkimTestKeys()
	msg := string(dkimSignedMail(b, crlf("From: ann@example.org\nTo: bob@home.arpa\nSubject: x\n\n"+strings.Repeat("A line of text, as they are.\n", 140)), signers[0]))
	for _, mode := range []string{CheckOff, CheckReject} {
		b.Run(mode, func(b *testing.B) {
			s := startServer(b, "[dns]", "servers = [\""+ns.addr+"\"]", "[smtp]", "check_senders = \""+mode+"\"")
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					sp := s.store.NewSpool(1 << 20)
					io.WriteString(sp, msg)
					m := &Mail{SMTPEnvelope: SMTPEnvelope{From: Addr{"ann", "example.org"}}, To: rcptsTo(Addr{"bob", "home.arpa"}), Body: sp, Stranger: true}
					err := s.judge(m, MailPeer{netip.MustParseAddr("192.0.2.1"), "mx.example.org"})
					if err == nil {
						err = s.accept(m)
					}
					sp.Close()
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// TestPolicyFault: a fault of the checks leaves a message without their verdict, takes none away, and the next one is checked.
func TestPolicyFault(t *testing.T) {
	s, _ := policyTest(t)
	var fallen atomic.Bool
	s.crew.setInject(func(name string) {
		if name == "checking a sender" && fallen.CompareAndSwap(false, true) {
			panic("injected")
		}
	})
	const msg = "From: ann@example.org\r\nSubject: x\r\n\r\nbody\r\n"
	got, err := judged(t, s, "192.0.2.1", "ann@example.org", msg)
	if err != nil || !strings.Contains(got, "spf=temperror") || !strings.Contains(got, "dmarc=temperror") {
		t.Errorf("%v: %s", err, got)
	}
	got, err = judged(t, s, "192.0.2.1", "ann@example.org", msg)
	if err != nil || !strings.Contains(got, "dmarc=pass") {
		t.Errorf("afterwards: %v: %s", err, got)
	}
	if faults := s.crew.Faults(); len(faults) != 1 || faults[0].Name != "checking a sender" {
		t.Errorf("noted: %+v", faults)
	}
}

// fallingDNS falls over whatever it is asked.
type fallingDNS struct{ testDNS }

func (fallingDNS) Ask(context.Context, string, dnsmessage.Type) (DNSAnswer, error) {
	panic("injected")
}

// TestDNSHealthFault: a resolver that makes us fall is one that does not answer, until it is tried again.
func TestDNSHealthFault(t *testing.T) {
	s := startServer(t)
	h := &dnsHealth{crew: s.crew}
	if h.answers(t.Context(), &fallingDNS{}) {
		t.Error("it answers")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running != nil || h.until.IsZero() {
		t.Error("the next try never comes")
	}
}
