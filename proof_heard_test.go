package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// tlsReportExample is the report of RFC 8460, appendix B.
const tlsReportExample = `{
	"organization-name": "Company-X",
	"date-range": { "start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z" },
	"contact-info": "sts-reporting@company-x.example",
	"report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
	"policies": [{
	"policy": { "policy-type": "sts",
		"policy-string": ["version: STSv1","mode: testing", "mx: *.mail.company-y.example","max_age: 86400"],
		"policy-domain": "company-y.example", "mx-host": "*.mail.company-y.example" },
	"summary": { "total-successful-session-count": 5326, "total-failure-session-count": 303 },
	"failure-details": [{ "result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
		"receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100
	}, { "result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1",
		"receiving-mx-hostname": "mx2.mail.company-y.example", "receiving-ip": "203.0.113.56", "failed-session-count": 200,
		"additional-information": "https://reports.company-x.example/report_info ? id = 5065427 c - 23 d3# StarttlsNotSupported "
	}, { "result-type": "validation-failure", "sending-mta-ip": "198.51.100.62", "receiving-ip": "203.0.113.58",
		"receiving-mx-hostname": "mx-backup.mail.company-y.example", "failed-session-count": 3,
		"failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
	}]
	}]
}`

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

// Reports are read as they come, and what can't be one is none, whatever it costs its sender.
func TestTLSReport(t *testing.T) {
	own := func(d string) bool { return d == "company-y.example" }
	for _, text := range []string{tlsReportExample, gzipped(tlsReportExample)} {
		all, err := readTLSReport(strings.NewReader(text), own)
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %+v", err, all)
		}
		r := all[0]
		if r.Domain != "company-y.example" || r.Good != 5326 || r.Bad != 303 || len(r.Rows) != 4 || r.Ref != "5065427c-23d3-47ca-b6e0-946ea0e8c4be" {
			t.Errorf("%+v", r)
		}
		if got, want := fmt.Sprint(r.Rows[3]), "{mx-backup.mail.company-y.example 3 false sts, validation-failure, X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED}"; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	all, err := readTLSReport(strings.NewReader(tlsReportExample), func(string) bool { return false })
	if err != nil || len(all) > 0 {
		t.Errorf("of nobody here: %v %+v", err, all)
	}
	many := strings.Replace(tlsReportExample, `"failure-details": [`, `"failure-details": [`+strings.Repeat(`{"result-type":"x`+"\\u0000\\u202e"+strings.Repeat("y", 500)+`","failed-session-count":1},`, 5000), 1)
	all, err = readTLSReport(strings.NewReader(many), own)
	if err != nil || len(all) != 1 || len(all[0].Rows) != heardRows+1 || all[0].Bad != 5303 || len(all[0].Rows[5].What) > heardLong || strings.ContainsAny(all[0].Rows[5].What, "\x00\u202e") {
		t.Errorf("5,000 lines: %v %d", err, len(all))
	}
	for name, text := range map[string]string{"nothing": "", "cut short": tlsReportExample[:300], "cut short gzip": gzipped(tlsReportExample)[:100],
		"a bomb": gzipped(`{"x":"` + strings.Repeat("x", 100<<20) + `"}`), "deep": strings.Repeat("[", 1<<20), "minus": strings.Replace(tlsReportExample, ": 100", ": -100", 1),
		"overflow": strings.Replace(tlsReportExample, "5326", "9223372036854775807", 1), "no id": strings.Replace(tlsReportExample, `"report-id"`, `"x"`, 1),
		"year 9": strings.Replace(tlsReportExample, "2016-04-01T00", "0009-04-01T00", 1)} {
		if all, err := readTLSReport(strings.NewReader(text), own); !errors.Is(err, errHeard) {
			t.Errorf("%s: %v, %+v", name, err, all)
		}
	}
}

func FuzzTLSReport(f *testing.F) {
	f.Add([]byte(tlsReportExample))
	f.Add([]byte(gzipped(tlsReportExample)))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readTLSReport(bytes.NewReader(b), func(string) bool { return true })
		for _, r := range all {
			if err == nil && (len(r.Rows) > heardRows+2 || r.Good < 0 || r.Bad < 0) {
				t.Errorf("%+v", r)
			}
		}
	})
}

// heardMail is a report as it comes by mail.
func heardMail(from, kind, data string) string {
	return string(crlf(fmt.Sprintf(`From: %s
To: postmaster@home.arpa
Subject: Report Domain: home.arpa
TLS-Report-Domain: home.arpa
Message-ID: <%x@example.org>
Content-Type: multipart/report; report-type="tlsrpt"; boundary="b"

--b
Content-Type: text/plain

A report.
--b
Content-Type: %s
Content-Transfer-Encoding: base64

%s
--b--
`, from, len(data), kind, base64.StdEncoding.EncodeToString([]byte(data)))))
}

// What a report says is on the page if its domain stands for it, once however often it comes, and those of many do not push out the others'.
func TestHeard(t *testing.T) {
	s, _ := policyTest(t)
	s.admin(t, "ann")
	text := strings.ReplaceAll(tlsReportExample, "company-y.example", "home.arpa")
	bring := func(addr, from, msg string) {
		t.Helper()
		sp := s.store.NewSpool(1 << 24)
		defer sp.Close()
		sp.Write([]byte(msg))
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, from)}, To: rcptsTo(mustAddr(t, "ann@home.arpa")), Body: sp, Stranger: true}
		if err := s.judge(m, MailPeer{netip.MustParseAddr(addr), "mx.example.org"}); err != nil {
			t.Fatal(err)
		}
		if err := s.accept(m); err != nil {
			t.Fatal(err)
		}
	}
	ann := newWebClient(t, s).login("ann")
	bring("192.0.2.9", "a@soft.example", heardMail("a@soft.example", "application/tlsrpt+json", text)) // which soft.example does not stand for
	ann.get("/admin/reports")
	ann.want("Nothing yet.")
	for range 2 {
		bring("192.0.2.1", "a@example.org", heardMail("a@example.org", "application/tlsrpt+gzip", gzipped(text)))
	}
	bring("192.0.2.1", "a@example.org", heardMail("a@example.org", "application/tlsrpt+gzip", gzipped(text)[:99]))
	ann.get("/admin/reports")
	ann.want("example.org", "5,326 good", "303 bad", "mx1.mail.home.arpa", "sts, certificate-expired")
	report := strings.ReplaceAll(dmarcReportExample, "<domain>example.com", "<domain>home.arpa")
	bring("192.0.2.1", "a@example.org", heardMail("a@example.org", "application/gzip; name=\"example.org!home.arpa!1780272000!1780358399.xml.gz\"", gzipped(report)))
	bring("192.0.2.1", "a@example.org", heardMail("a@example.org", "application/gzip; name=\"photos.gz\"", gzipped(report)))
	ann.get("/admin/reports")
	ann.want("123 good", "4 bad", "192.0.2.123", "DKIM pass, SPF fail, pass")
	if n := strings.Count(ann.page, "<details>"); n != 2 {
		t.Errorf("%d reports", n)
	}
	n, _ := s.in(t, "ann", "INBOX")
	if junk, _ := s.in(t, "ann", "Junk"); n != 5 || junk != 1 { // soft.example asks for that
		t.Errorf("%d and %d of 6 messages came", n, junk)
	}
	s.write(t, func(tx *Tx) error {
		for i := range heardMost + 100 {
			r := HeardReport{Kind: HeardTLS, Domain: "home.arpa", Org: "many.example", Ref: fmt.Sprint(i), Until: s.store.Now()}
			if err := tx.KeepHeard(r); err != nil {
				return err
			}
		}
		return nil
	})
	all, err := read(s.store, func(tx *Tx) ([]HeardReport, error) { return tx.Heard(HeardTLS, 10000) })
	if err != nil || len(all) != heardMost || all[len(all)-1].Org != "example.org" {
		t.Errorf("%v: %d reports, the last one of %s", err, len(all), all[len(all)-1].Org)
	}
}
