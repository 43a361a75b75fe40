package main

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const judgedZone = `example.org TXT v=spf1 ip4:192.0.2.1 -all
_dmarc.example.org TXT v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@example.org!10m,mailto:a@takes.example,mailto:b@silent.example,mailto:c@moves.example,https://example.org/x
_dmarc.takes.example TXT v=DMARC1; p=none
example.org._report._dmarc.takes.example TXT v=DMARC1;
example.org._report._dmarc.moves.example TXT v=DMARC1; rua=mailto:victim@example.com
_dmarc.quiet.example TXT v=DMARC1; p=reject
`

// How mail was judged is counted by day, address and what was seen, and told once, to those who ask and those who say that they may be told.
func TestDMARCReports(t *testing.T) {
	t.Parallel()
	p := newProofTest(t, judgedZone, func(ca *testCA) tls.Certificate { return ca.pair("mx.example.org") })
	dkimTestMake(t, p.Server, "sender.example")
	p.far.write(t, func(tx *Tx) error {
		_, err := tx.AddUser(mustAddr(t, "dmarc@example.org"), testSecret(), false)
		return err
	})
	judge := func(addr, from, msg string) error {
		sp := p.store.NewSpool(1 << 20)
		defer sp.Close()
		io.WriteString(sp, msg)
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, from)}, To: rcptsTo(mustAddr(t, "ann@home.arpa")), Body: sp, Stranger: true}
		return p.judge(m, MailPeer{netip.MustParseAddr(addr), "mx.example.org"})
	}
	const msg = "From: a@example.org\r\nSubject: x\r\n\r\nx\r\n"
	for range 3 {
		if err := judge("192.0.2.1", "a@example.org", msg); err != nil {
			t.Fatal(err)
		}
	}
	if err := judge("192.0.2.9", "eve@evil.example", msg); err == nil {
		t.Error("forged mail is taken")
	}
	judge("192.0.2.9", "eve@evil.example", strings.Replace(msg, "example.org", "sub.example.org", 1))
	judge("192.0.2.9", "eve@quiet.example", strings.Replace(msg, "example.org", "quiet.example", 1))                                                        // asks for none
	judge("192.0.2.1", "a@example.org", "From: a@example.org\r\nContent-Type: application/gzip; name=\"a.example!sender.example!1!2.xml.gz\"\r\n\r\nx\r\n") // brings one
	judge("192.168.0.1", "a@example.org", msg)                                                                                                              // from home
	p.storeJudged()
	p.storeJudged()
	tell := func() {
		t.Helper()
		p.Server.health.good = time.Now()
		if err := p.tellJudged(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		p.step()
	}
	tell()
	if n := len(p.far.inbox(t, "dmarc@example.org")); n != 0 {
		t.Errorf("%d reports on a day that is not over", n)
	}
	p.forward(24 * time.Hour)
	tell()
	tell()
	box := p.far.inbox(t, "dmarc@example.org")
	if len(box) != 1 {
		t.Fatalf("%d reports", len(box))
	}
	report := box[0]
	for _, want := range []string{"\r\nFrom: postmaster@sender.example\r\n", "\r\nTo: a@takes.example,\r\n\tdmarc@example.org\r\n", "Return-Path: <>\r\n", "DKIM-Signature: ", "d=sender.example",
		"\r\nSubject: Report Domain: example.org\r\n\tSubmitter: sender.example\r\n\tReport-ID: <", "\r\nContent-Type: application/gzip\r\n", `filename="sender.example!example.org!1798761600!1798847999.xml.gz"`} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	_, text, _ := strings.Cut(report, ".xml.gz\"\r\n\r\n")
	text, _, _ = strings.Cut(text, "\r\n--")
	packed, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\r\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	all, err := readDMARCReport(strings.NewReader(string(packed)), func(d string) bool { return d == "example.org" })
	if err != nil || len(all) != 1 {
		t.Fatalf("%v %+v", err, all)
	}
	want := "[{192.0.2.1 3 true DKIM fail, SPF pass, pass, example.org} {192.0.2.9 1 false DKIM fail, SPF fail, quarantine, sub.example.org (evil.example)} " +
		"{192.0.2.9 1 false DKIM fail, SPF fail, reject, example.org (evil.example)}]"
	if got := fmt.Sprint(all[0].Rows); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, name := range []string{"silent.example", "moves.example", "example.com"} {
		if strings.Contains(report, name) {
			t.Errorf("%s is told", name)
		}
	}
}

// What a stranger can have counted has an end, in memory and in the file.
func TestDMARCCounts(t *testing.T) {
	s := startServer(t)
	for i := range tallyMost + 100 {
		s.judged.note(DMARCCount{1, fmt.Sprintf("d%d.example", i%10), "192.0.2.1", fmt.Sprint(i)})
	}
	if n := len(s.judged.counts); n != tallyMost {
		t.Errorf("%d counts in memory", n)
	}
	s.storeJudged()
	if err := s.store.Write(func(tx *Tx) error {
		for i := range 100 {
			counts := map[DMARCCount]int64{}
			for j := range 100 {
				counts[DMARCCount{2, fmt.Sprintf("e%d.example", i), "192.0.2.1", fmt.Sprint(j)}] = 1
			}
			if err := tx.CountDMARC(counts); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var n int
	mustRead(t, s.store, func(tx *Tx) error {
		counts, _, err := tx.DMARCCounts(1, "d1.example")
		n = len(counts)
		return err
	})
	if n != dmarcOfDay {
		t.Errorf("%d counts of one domain and day", n)
	}
	mustRead(t, s.store, func(tx *Tx) error { return tx.one(`SELECT count(*) FROM dmarc_counts`, nil, &n) })
	if n != dmarcRows {
		t.Errorf("%d counts in the file", n)
	}
}
