package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// forgedFroms are the ways to write a header that makes people believe that it is from ann@home.arpa (or from ann@例子.测试), with
// what has to become of them: true is refused, false marked.
var forgedFroms = []struct {
	name, header string
	refused      bool
}{
	{"plain", "From: ann@home.arpa", true},
	{"with a name", "From: Ann <ann@home.arpa>", true},
	{"case", "FROM: Ann <Ann@HOME.Arpa>", true},
	{"trailing dot", "From: ann@home.arpa.", true},
	{"a second From", "From: eve@example.com\nFrom: ann@home.arpa", true},
	{"two in one", "From: eve@example.com, ann@home.arpa", true},
	{"a group", "From: friends: eve@example.com, ann@home.arpa;", true},
	{"source route", "From: <@example.com:ann@home.arpa>", true},
	{"quoted local part", "From: \"ann\"@home.arpa", true},
	{"comments", "From: ann(x)@(y)home.arpa (z)", true},
	{"bare in front of another", "From: ann@home.arpa <eve@example.com>", true},
	{"NUL inside", "From: ann@home\x00.arpa", true},
	{"folded", "From:\n  Ann\n <ann@home.arpa>", true},
	{"behind 64 KiB", "From: " + strings.Repeat("x\n ", 30_000) + "<ann@home.arpa>", true},
	{"a blank before the colon", "From : ann@home.arpa", true},
	{"Sender", "From: eve@example.com\nSender: ann@home.arpa", true},
	{"Resent-From", "From: eve@example.com\nResent-From: ann@home.arpa", true},
	{"host name", "From: ann@mx.home.arpa", true},
	{"literal", "From: ann@[127.0.0.1]", true},
	{"U-labels", "From: ann@例子.测试", true},
	{"A-labels", "From: ann@xn--fsqu00a.xn--0zwm56d", true},
	{"wide letters", "From: ann@ｈｏｍｅ.arpa", true},
	{"wide dot", "From: ann@home。arpa", true},
	{"in the name", "From: \"ann@home.arpa\" <eve@example.com>", false},
	{"in an encoded word", "From: =?utf-8?q?ann=40home.arpa?= <eve@example.com>", false},
	{"in base64", "From: =?utf-8?b?YW5uQGhvbWUuYXJwYQ==?= <eve@example.com>", false},
	{"in a comment", "From: eve@example.com (ann@home.arpa)", false},
	{"wide @ in the name", "From: \"ann＠home.arpa\" <eve@example.com>", false},
	{"subdomain", "From: ann@mail.home.arpa", false},
	{"in front of another domain", "From: ann@home.arpa.example.com", false},
	{"Cyrillic", "From: ann@hоme.arpa", false},
	{"Cyrillic in A-labels", "From: ann@xn--hme-sed.arpa", false},
	{"rn for m", "From: ann@horne.arpa", false},
	{"an accent", "From: ann@hóme.arpa", false},
	{"thousands of others in front", "From: " + strings.Repeat("a@b, ", 50) + manyFroms(5000) + "eve@example.com", false},
}

func manyFroms(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x@d%d.example, ", i)
	}
	return b.String()
}

func TestForgedFrom(t *testing.T) {
	s := startServer(t)
	s.cfg.Domains = []string{"home.arpa", "例子.测试"}
	mark := startServer(t, "[smtp]", "local_senders = \"mark\"")
	mark.cfg.Domains = s.cfg.Domains
	peer := MailPeer{netip.MustParseAddr("192.168.1.9"), "x"}
	judge := func(s *testServer, header string) (*Verdict, error) {
		sp := s.store.NewSpool(1 << 22)
		defer sp.Close()
		sp.Write(crlf(header + "\nSubject: x\n\nbody\n"))
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: Addr{"eve", "example.com"}}, To: rcptsTo(Addr{"bob", "home.arpa"}), Body: sp, Stranger: true}
		err := s.judge(m, peer)
		return m.Verdict, err
	}
	for _, f := range forgedFroms {
		v, err := judge(s, f.header)
		if f.refused != (err != nil) || (err == nil && v == nil) {
			t.Errorf("%s: refused %v, verdict %v", f.name, err, v)
		}
		v, err = judge(mark, f.header)
		if err != nil || v == nil {
			t.Errorf("%s, to be marked: %v, %v", f.name, err, v)
			continue
		}
		r, ok := v.get(methodLocal)
		if want := map[bool]string{true: resultFail, false: resultWeak}[f.refused]; !ok || r.Result != want {
			t.Errorf("%s: marked %+v, not %s", f.name, v, want)
		}
	}
	for _, h := range []string{"From: eve@example.com", "From: \"Ann\" <ann@example.com>", "From: ann@arpa", "From: a@myhome.arpa", "To: ann@home.arpa\nFrom: x@example.com",
		"Subject: ann@home.arpa", "From:", "X-From: ann@home.arpa", "From: \"Home Arpa\" <x@y.example>", "From: undisclosed:;"} {
		v, err := judge(s, h)
		if err != nil || v != nil {
			t.Errorf("%q: %v %v", h, err, v)
		}
	}
	// A route's partner brings our people's mail, and what was sent from here with our signature may come back.
	route := startServer(t, "[routes]", "\"lab2.arpa\" = [\"192.168.1.9:25\", \"board.example:25\"]")
	route.dns = &testDNS{hosts: map[string][]string{"board.example": {"192.168.1.10"}}}
	for _, a := range []string{"192.168.1.9", "192.168.1.10"} {
		peer.Addr = netip.MustParseAddr(a)
		if _, err := judge(route, "From: ann@home.arpa"); err != nil {
			t.Errorf("the partner %s: %v", a, err)
		}
	}
	peer.Addr = netip.MustParseAddr("192.168.1.11")
	if _, err := judge(route, "From: ann@home.arpa"); err == nil {
		t.Error("anybody is a partner")
	}
	s.cfg.Domains = append(s.cfg.Domains, "example.org")
	dkimTestMake(t, s.Server, "example.org")
	keys, err := s.ring.signers("example.org")
	if err != nil {
		t.Fatal(err)
	}
	signed := string(dkimSignedMail(t, crlf("From: ann@example.org\nSubject: x\n\nbody\n"), keys...))
	signed = strings.TrimSuffix(signed, "\r\nSubject: x\r\n\r\nbody\r\n")
	if _, err := judge(s, strings.ReplaceAll(signed, "\r\n", "\n")); err != nil {
		t.Errorf("what we signed does not come back: %v", err)
	}
	if _, err := judge(s, strings.ReplaceAll(signed, "\r\n", "\n")+"\nFrom: ann@home.arpa"); err == nil {
		t.Error("a signature of one domain speaks for another")
	}
}

// The field is read as it was written, and only above the first Received.
func TestVerdictField(t *testing.T) {
	v := &Verdict{}
	v.add("spf", resultPass, "", "smtp.mailfrom", "ann@example.org", "smtp.helo", "")
	v.add("dkim", resultFail, "the \"body\"\r\nwas changed", "header.d", "example.org", "header.b", "ab/+=")
	v.add(methodLocal, resultWeak, strings.Repeat("x", 1000), "header.from", "a b;c=d")
	text := v.Field("mx.home.arpa")
	for line := range strings.Lines(text) {
		if len(line) > 998 || !isASCII(line) {
			t.Errorf("line %q", line)
		}
	}
	own := func(h string) bool { return h == "mx.home.arpa" }
	got := storedVerdict(ParseHeader([]byte("Return-Path: <x@y>\r\n"+text+"Received: x\r\n\r\n")), own)
	v.Results[1].Reason, v.Results[2].Reason = "the 'body'??was changed", strings.Repeat("x", authLong)
	if !reflect.DeepEqual(got, v) {
		t.Errorf("got  %+v\nwant %+v", got, v)
	}
	for _, h := range []string{"Received: x\r\n" + text, "Authentication-Results: other.example; spf=pass\r\n", "Subject: x\r\n"} {
		if got := storedVerdict(ParseHeader([]byte(h+"\r\n")), own); got != nil {
			t.Errorf("%q: %+v", h, got)
		}
	}
	if got := storedVerdict(ParseHeader([]byte("Authentication-Results: mx.home.arpa; none\r\n\r\n")), own); got == nil || len(got.Results) != 0 {
		t.Errorf("none: %+v", got)
	}
}
