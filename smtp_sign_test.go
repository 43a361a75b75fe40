package main

import (
	"slices"
	"strings"
	"testing"
)

// dkimTestMake gives a domain keys and returns the zone with their records.
func dkimTestMake(t *testing.T, s *Server, domain string) testZone {
	t.Helper()
	keys := dkimTestPair()
	if err := s.store.Write(func(tx *Tx) error { return tx.SetDKIMKeys(domain, keys) }); err != nil {
		t.Fatal(err)
	}
	zone := testZone{}
	for _, k := range keys {
		r, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		zone.add(t, k.Selector+"._domainkey."+domain+" TXT "+r)
	}
	return zone
}

// What leaves for the internet is signed in the form in which it leaves, whatever the next host takes, by DATA and by BDAT; so are
// reports. What goes to a route by name or was written elsewhere is not.
func TestSignedMail(t *testing.T) {
	for _, ehlo := range []string{"PIPELINING\nSIZE 1000000", "8BITMIME\nSIZE 1000000", "8BITMIME\nSMTPUTF8\nCHUNKING\nBINARYMIME\nSIZE 1000000"} {
		p := newPeer(t, func(line string) string {
			if strings.Contains(line, "RCPT TO:<nobody@") {
				return "550 5.1.1 nobody"
			}
			return ""
		})
		p.ehlo = ehlo
		qt := newQueueTest(t, p, "\"lab2.arpa\" = \""+p.addr()+"\"")
		qt.cfg.Domains = []string{"home.arpa", "example.org"}
		zone := dkimTestMake(t, qt.Server, "example.org")
		stranger := false
		send := func(to Addr, text string) string {
			t.Helper()
			before := len(p.received())
			sp := qt.store.NewSpool(1 << 20)
			defer sp.Close()
			sp.Write(crlf(text))
			m := &Mail{SMTPEnvelope: SMTPEnvelope{From: Addr{"ann", "example.org"}, Flags: MailUTF8}, To: rcptsTo(to), Body: sp, Submitted: !stranger}
			if stranger {
				m.Account = strangerAccount + "192.0.2.0/24"
			}
			if err := qt.accept(m); err != nil {
				t.Fatal(err)
			}
			qt.step()
			all := p.received()
			if len(all) != before+1 {
				t.Fatalf("%d mails, not %d", len(all), before+1)
			}
			msg := all[before]
			if !p.offers("CHUNKING") {
				msg = strings.ReplaceAll("\r\n"+msg, "\r\n.", "\r\n")[2:]
			}
			return msg
		}
		text := "From: Ann <ann@example.org>\nTo: bob@example.net\nSubject: Grüße\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n.\nzwei\n"
		msg := send(Addr{"bob", "example.net"}, text)
		if got := dkimWords(dkimCheck(t, zone, []byte(msg))); got != "pass pass" {
			t.Errorf("%q: %s\n%s", ehlo, got, msg)
		}
		stranger = true
		if msg := send(Addr{"bob", "example.net"}, text); strings.Contains(msg, "DKIM-Signature") {
			t.Errorf("what a stranger wrote under our name is signed:\n%s", msg)
		}
		report := &Report{Action: ActionFailed, To: Addr{"eve", "example.net"}, Arrived: qt.store.Now(), Header: crlf("Subject: x\n\n"),
			Rcpts: []ReportRcpt{{Final: Addr{"nobody", "example.org"}, Status: "5.1.1"}}}
		m, err := qt.makeReport(report, "x", "", 0)
		if err == nil {
			err = qt.store.Write(func(tx *Tx) error { _, err := qt.place(tx, m); return err })
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Body.Close()
		qt.step()
		all := p.received()
		last := all[len(all)-1]
		if !p.offers("CHUNKING") {
			last = strings.ReplaceAll("\r\n"+last, "\r\n.", "\r\n")[2:]
		}
		if got := dkimWords(dkimCheck(t, zone, []byte(last))); got != "pass pass" {
			t.Errorf("%q: the report: %s\n%s", ehlo, got, last)
		}
		if msg := send(Addr{"bob", "lab2.arpa"}, text); strings.Contains(msg, "DKIM-Signature") {
			t.Errorf("a lab's mail is signed:\n%s", msg)
		}
		if msg := send(Addr{"bob", "example.net"}, strings.Replace(text, "example.org", "example.com", 1)); strings.Contains(msg, "DKIM-Signature") {
			t.Errorf("others' mail is signed:\n%s", msg)
		}
	}
}

func (p *peer) offers(ext string) bool { return slices.Contains(strings.Split(p.ehlo, "\n"), ext) }
