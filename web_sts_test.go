package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// Our own policy is at mta-sts.DOMAIN for the domains that others know, and nowhere else.
func TestWebSTS(t *testing.T) {
	t.Parallel()
	s := startServer(t, `domains = ["home.arpa", "example.org", "bücher.example"]`, "[smtp]", `mta_sts = "enforce"`)
	get := func(host string) (int, string, string) {
		r, err := http.NewRequest("GET", "http://"+s.addr["http"]+"/.well-known/mta-sts.txt", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, res.Header.Get("Content-Type"), string(b)
	}
	const want = "version: STSv1\r\nmode: enforce\r\nmx: mx.home.arpa\r\nmax_age: 1209600\r\n"
	for host, code := range map[string]int{"mta-sts.example.org": 200, "MTA-STS.example.org:443": 200, "mta-sts.xn--bcher-kva.example": 200, "example.org": 404,
		"mta-sts.home.arpa": 421, "mta-sts.other.example": 421, "localhost": 404} {
		got, kind, text := get(host)
		if got != code || (code == 200 && (text != want || kind != "text/plain; charset=utf-8")) {
			t.Errorf("%s: %d %s %q", host, got, kind, text)
		}
	}
	p, err := parseSTS(want)
	if err != nil || !p.names("mx.home.arpa") {
		t.Errorf("which nobody can read: %v", err)
	}
	all, err := webDNSRecords(s.cfg, s.store, s.tls)
	if err != nil {
		t.Fatal(err)
	}
	records := strings.Join(all, "\n") // to a host that means something to others
	for _, want := range []string{"mta-sts.example.org. CNAME mail.example.org.", `_mta-sts.example.org. TXT "v=STSv1; id=` + webSTSID(s.cfg) + `"`, `_smtp._tls.example.org. TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"`} {
		if !strings.Contains(records, want) {
			t.Errorf("no %s in\n%s", want, records)
		}
	}
	if strings.Contains(records, "mta-sts.home.arpa") {
		t.Error("home.arpa is nobody's in the internet")
	}
	if !s.tls.hasName("mta-sts.example.org") {
		t.Error("the certificate is not for the policy's host")
	}
	fresh := *defaultConfig()
	fresh.Domains = []string{"new.example"}
	s.cfg.Adopt(&fresh)
	if code, _, _ := get("mta-sts.new.example"); code != 200 {
		t.Errorf("a domain that came later: %d", code)
	}
	off := startServer(t, `domains = ["example.org"]`)
	s = off
	if code, _, _ := get("mta-sts.example.org"); code != 421 {
		t.Errorf("switched off: %d", code)
	}
}
