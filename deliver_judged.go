// What is counted of mail under the names of others, for those of them who ask for reports (RFC 9990).
package main

import (
	"encoding/json"
	"time"
)

const judgedKeys = 3 // signatures that a record of a report names

// countJudged counts a message for the domain whose policy it was judged by: what was done with it, and why that is not what the domain
// asks for. Messages that bring such a report themselves are left out, or two servers would write to each other every day.
func (s *Server) countJudged(m *Mail, peer MailPeer, d dmarcResult, spf spfResult, dkim []dkimResult, did, why string) {
	if !s.cfg.SMTP.DMARCReports || d.record == nil || len(d.record.rua) == 0 || (d.result != resultPass && d.result != resultFail) || s.publicDomain() == "" {
		return
	}
	report := false
	m.Body.Tree().Walk(func(_ []int, p *Part) bool {
		report = report || isDMARCReport(p)
		return !report
	})
	if report {
		return
	}
	row := dmarcRow{Did: did, DKIM: passOrFail(d.dkim), SPF: passOrFail(d.spf), From: d.from}
	switch {
	case why != "":
		row.Reason = []dmarcReason{{Type: why}}
	case d.record.testing && d.result == resultFail:
		row.Reason = []dmarcReason{{Type: "policy_test_mode"}}
	}
	if !spf.helo {
		row.Envelope = spf.domain
	}
	if spf.domain != "" {
		row.Senders = []dmarcSender{{Domain: spf.domain, Scope: "mfrom", Result: spf.result}}
	}
	for _, pass := range []bool{true, false} { // RFC 9990 §3.1.3: those that pass first
		for _, k := range dkim {
			if (k.result == resultPass) == pass && k.domain != "" && len(row.Keys) < judgedKeys {
				row.Keys = append(row.Keys, dmarcKey{k.domain, k.selector, k.result})
			}
		}
	}
	seen, err := json.Marshal(row)
	if err == nil && len(seen) <= judgedLong {
		s.judged.note(DMARCCount{s.store.Now().UTC().Unix() / int64(24*time.Hour/time.Second), d.record.domain, peer.Addr.String(), string(seen)})
	}
}

const judgedLong = 2000 // octets of what was seen; a stranger chooses the names in it

func passOrFail(ok bool) string {
	if ok {
		return resultPass
	}
	return resultFail
}
