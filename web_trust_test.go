package main

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// The page of a message says who vouches for its sender, in both languages, and nothing of mail that nobody asked about.
func TestWebTrust(t *testing.T) {
	s, _ := policyTest(t, "[smtp]", "check_senders = \"mark\"", "local_senders = \"mark\"")
	take := func(addr, from, header string) {
		t.Helper()
		sp := s.store.NewSpool(1 << 20)
		defer sp.Close()
		sp.Write(crlf(header + "\nSubject: x\n\nbody\n"))
		a, err := ParseAddr(from)
		if err != nil {
			t.Fatal(err)
		}
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: a}, To: rcptsTo(Addr{"ann", "home.arpa"}), Body: sp, Stranger: true, Trace: "from x by mx.home.arpa with SMTP"}
		if err := s.judge(m, MailPeer{netip.MustParseAddr(addr), "x"}); err != nil {
			t.Fatal(err)
		}
		if err := s.accept(m); err != nil {
			t.Fatal(err)
		}
	}
	w := newWebClient(t, s).login("ann")
	for i, c := range []struct{ addr, from, header, en, zh string }{
		{"192.0.2.1", "a@example.org", "From: a@example.org", "example.org vouches for this sender", "example.org 为此发件人作保"},
		{"192.0.2.1", "a@plain.example", "From: a@plain.example", "plain.example vouches for this sender", "plain.example 为此发件人作保"},
		{"192.0.2.9", "a@example.org", "From: a@example.org", "example.org does not vouch for this message", "example.org 不承认这封邮件"},
		{"192.0.2.9", "a@nothing.example", "From: a@nothing.example", "Nobody vouches for this sender", "无人为此发件人作保"},
		{"192.0.2.1", "a@plain.example", "From: \"bob@home.arpa\" <a@plain.example>", "The sender looks like somebody here, and is not", "发件人看似本机用户，其实不是"},
		{"192.168.1.2", "a@plain.example", "From: bob@home.arpa", "This says that it is from somebody here, but who wrote it had not logged in", "此邮件自称来自本机用户，但写信人并未登录"},
		{"192.168.1.2", "a@plain.example", "Authentication-Results: mx.home.arpa; dmarc=pass header.from=plain.example policy.by=plain.example\nFrom: a@plain.example", "", ""},
	} {
		take(c.addr, c.from, c.header)
		href := webHref(s.folder(t, "ann", "INBOX").ID, UID(i+1))
		for lang, want := range map[string]string{"en": c.en, "zh": c.zh} {
			r, err := http.NewRequest("GET", w.base+href, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Language", lang)
			page := w.do(r)
			at := strings.Index(page, `<p class="trust`)
			if want == "" {
				if at >= 0 {
					t.Errorf("%s: %.200s", c.header, page[at:])
				}
				continue
			}
			if at < 0 || !strings.Contains(page[at:min(len(page), at+700)], want) {
				t.Errorf("%s: no %q in the page", c.header, want)
			}
		}
	}
}
