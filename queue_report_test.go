package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Who wants reports, and where (RFC 8460 §3 and its examples).
func TestTLSWanted(t *testing.T) {
	for text, want := range map[string]string{
		"v=TLSRPTv1;rua=mailto:reports@example.com":                                       "[reports@example.com] []",
		"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt":                         "[] [https://reporting.example.com/v1/tlsrpt]",
		"v=TLSRPTv1; x=y; rua=mailto:a%2Bb@example.com, https://r.example/?x=1%2C2,ftp:x": "[a+b@example.com] [https://r.example/?x=1%2C2]",
		"v=TLSRPTv1; rua=http://r.example/":                                               "[] []",
		"v=TLSRPTv1; rua=https://a@r.example/,https://r.example:22/":                      "[] []",
		"v=TLSRPTv2; rua=mailto:reports@example.com":                                      "[] []",
		"v=TLSRPTv1": "[] []",
		"v=TLSRPTv1; rua=" + strings.Repeat("mailto:a@b.example,", 1000): "[a@b.example a@b.example a@b.example a@b.example] []",
	} {
		mail, posts := tlsWanted([]string{"v=spf1 -all", text})
		if got := fmt.Sprint(mail, posts); got != want {
			t.Errorf("%.60s: %s", text, got)
		}
	}
	if mail, _ := tlsWanted([]string{"v=TLSRPTv1;rua=mailto:a@example.com", "v=TLSRPTv1;rua=mailto:b@example.com"}); len(mail) > 0 {
		t.Errorf("two records: %v", mail)
	}
}

// What went well and what did not is counted by day, and told once to those who ask, by mail and by https; and to nobody else.
func TestTLSReports(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, stsTestRecord, func(ca *testCA) tls.Certificate { return ca.pair("mx.example.org") })
	p.names.insecure = true
	p.policy = stsTestPolicy("enforce", "mx.example.org")
	p.far.write(t, func(tx *Tx) error {
		_, err := tx.AddUser(mustAddr(t, "tls@example.org"), testSecret(), false)
		return err
	})
	bad := newTestCA(t).pool()
	good := p.Server.roots
	for i := range 5 {
		p.Server.roots = good
		p.stsPolicy(t.Context(), "example.org") // by whose certificate all is well
		if i > 2 {
			p.Server.roots = bad
		}
		got := p.goes(t)
		if (got == "") != (i <= 2) {
			t.Fatalf("%d: %q", i, got)
		}
		p.forward(time.Hour)
		p.storeTLS()
	}
	p.Server.roots = good
	asked := func() (n int) {
		for _, name := range p.names.asked {
			if strings.HasPrefix(name, "_smtp._tls.") {
				n++
			}
		}
		return n
	}
	tell := func() {
		t.Helper()
		p.Server.health.good = time.Now()
		if err := p.tellTLS(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	tell()
	if asked() > 0 {
		t.Error("the day is not over")
	}
	p.forward(24 * time.Hour)
	p.names.fail = []string{"_smtp._tls."}
	tell()
	p.names.fail = nil
	p.wrong(-400 * 24 * time.Hour)
	tell()
	p.wrong(0)
	if asked() != 1 {
		t.Errorf("%d questions: the first has no answer, and then nobody knows which day it is", asked())
	}
	zone := proofZone + "_smtp._tls.example.org TXT v=TLSRPTv1; rua=mailto:tls@example.org,https://mta-sts.example.org/tls"
	p.names.zone = newTestZone(t, zone)
	var posted []byte
	p.serve = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && r.URL.Path == "/tls" && r.Header.Get("Content-Type") == "application/tlsrpt+gzip" {
			posted, _ = io.ReadAll(r.Body)
		}
	}
	tell()
	tell() // once only
	p.step()
	p.wantQueue(0)
	box := p.far.inbox(t, "tls@example.org")
	report := box[len(box)-1]
	for _, want := range []string{"\r\nFrom: postmaster@sender.example\r\n", "\r\nSubject: Report Domain: example.org Submitter: sender.example\r\n\tReport-ID: <",
		"\r\nTLS-Report-Domain: example.org\r\nTLS-Report-Submitter: sender.example\r\nTLS-Required: No\r\n", `multipart/report; report-type="tlsrpt"`,
		`filename="sender.example!example.org!1798761600!1798847999.json.gz"`, "Return-Path: <>\r\n"} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	if n := strings.Count(strings.Join(box, ""), "TLS-Report-Domain"); n != 1 {
		t.Errorf("%d reports", n)
	}
	_, text, _ := strings.Cut(report, ".json.gz\"\r\n\r\n")
	text, _, _ = strings.Cut(text, "\r\n--")
	packed, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\r\n", ""))
	if err != nil || !bytes.Equal(packed, posted) {
		t.Errorf("%v: %d octets by mail, %d by https", err, len(packed), len(posted))
	}
	plain, err := heardText(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain = regexp.MustCompile(`"report-id":"[a-z0-9]{10}@`).ReplaceAll(plain, []byte(`"report-id":"ID@`))
	want := `{"organization-name":"sender.example","date-range":{"start-datetime":"2027-01-01T00:00:00Z","end-datetime":"2027-01-01T23:59:59Z"},` +
		`"contact-info":"postmaster@sender.example","report-id":"ID@sender.example","policies":[{"policy":{"policy-type":"sts",` +
		`"policy-string":["version: STSv1","mode: enforce","mx: mx.example.org","max_age: 604800"],"policy-domain":"example.org","mx-host":["mx.example.org"]},` +
		`"summary":{"total-successful-session-count":3,"total-failure-session-count":2},"failure-details":[{"result-type":"certificate-not-trusted",` +
		`"receiving-mx-hostname":"mx.example.org","receiving-ip":"192.0.2.1","failed-session-count":2}]}]}`
	if string(bytes.TrimSpace(plain)) != want {
		t.Errorf("got  %s\nwant %s", plain, want)
	}
	all, err := readTLSReport(bytes.NewReader(packed), func(d string) bool { return d == "example.org" })
	if err != nil || len(all) != 1 || all[0].Good != 3 || all[0].Bad != 2 {
		t.Errorf("as it is read here: %v %+v", err, all)
	}
	before := asked()
	p.storeTLS()
	p.forward(48 * time.Hour)
	tell()
	if asked() != before+1 { // of the report itself, which went there
		t.Errorf("%d questions", asked()-before)
	}
}

// Counts are bounded, and nothing is written where nothing was counted.
func TestTLSCounts(t *testing.T) {
	t.Parallel()
	s := startServer(t, `domains = ["sender.example"]`)
	for i := range tallyMost + 100 {
		s.countTLS(TLSCount{Domain: fmt.Sprint("x", i), Policy: tlsByNone})
	}
	for i := range 300 {
		s.countTLS(TLSCount{Domain: "x1", Policy: tlsByNone, Host: fmt.Sprint("mx", i), Result: tlsNotOffered})
	}
	if n := len(s.tally.counts); n != tallyMost {
		t.Errorf("%d counts in memory", n)
	}
	s.storeTLS()
	for i := range 300 {
		s.countTLS(TLSCount{Domain: "x1", Policy: tlsByNone, Host: fmt.Sprint("mx", i), Result: tlsNotOffered})
	}
	s.storeTLS()
	counts := func(query string) (n int) {
		mustRead(t, s.store, func(tx *Tx) error { return tx.one(query, nil, &n) })
		return n
	}
	if n := counts(`SELECT count(*) FROM tls_counts WHERE domain='x1'`); n != tlsOfDay {
		t.Errorf("%d counts of one domain", n)
	}
	before := counts(`SELECT count(*) FROM tls_counts`)
	s.countTLS(TLSCount{Domain: "x1", Policy: tlsByNone})
	s.storeTLS()
	s.storeTLS()
	if n := counts(`SELECT n FROM tls_counts WHERE domain='x1' AND result=''`); n != 2 || counts(`SELECT count(*) FROM tls_counts`) != before {
		t.Errorf("counted %d times", n)
	}
	lan := startServer(t)
	lan.countTLS(TLSCount{Domain: "x1", Policy: tlsByNone})
	if len(lan.tally.counts) > 0 {
		t.Error("who has no domain in the internet has nobody to report to")
	}
}

// The report's own form is what others' programs read.
func TestTLSReportForm(t *testing.T) {
	counts := map[TLSCount]int64{}
	for i := range 50 {
		counts[TLSCount{20000, "example.org", tlsByDNS, fmt.Sprint("mx", i), "192.0.2.1", tlsInvalid}] = 1
	}
	counts[TLSCount{20000, "example.org", tlsByNone, "", "", ""}] = 7
	r := newTLSReport(counts, nil, nil, "198.51.100.1")
	r.ID = "x"
	packed, err := r.packed()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := heardText(bytes.NewReader(packed))
	var back map[string]any
	if err != nil || json.Unmarshal(plain, &back) != nil {
		t.Fatal(err)
	}
	all, err := readTLSReport(bytes.NewReader(packed), func(string) bool { return true })
	if err != nil || len(all) != 1 || all[0].Good != 7 || all[0].Bad != 50 {
		t.Errorf("%v %+v", err, all)
	}
}
