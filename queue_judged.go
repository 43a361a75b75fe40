// Once a day: how mail under their names was judged here is told to those domains that ask for it (RFC 9990).
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// storeJudged stores what was counted, if anything was: all of some minutes in one commit.
func (s *Server) storeJudged() {
	counts := s.judged.take()
	if len(counts) == 0 {
		return
	}
	err := s.store.Write(func(tx *Tx) error { return tx.CountDMARC(counts) })
	if err != nil {
		s.judged.back(counts)
		s.crew.Complain("what was counted about senders is not stored", err)
	}
}

// tellJudged sends the reports of the days that are over, delay after their end.
func (s *Server) tellJudged(ctx context.Context, delay time.Duration) error {
	return s.tell(ctx, delay, (*Tx).DMARCToTell, s.tellPolicy, (*Tx).ForgetDMARC)
}

// tellPolicy sends one report if the domain wants it still. After an error it may be tried again.
func (s *Server) tellPolicy(ctx context.Context, day int64, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, tlsBudget)
	defer cancel()
	if !s.health.answers(ctx, s.dns) {
		return errNotTold
	}
	ascii, err := DomainToASCII(s.publicDomain())
	if err != nil {
		return err
	}
	keys, err := s.ring.signers(ascii)
	if err != nil || len(keys) == 0 { // a report has to pass DMARC itself (RFC 9990 §3.5.2)
		return err
	}
	w := &dmarcWalker{ctx: ctx, dns: s.dns, skip: func(d string) bool { return !s.isForeign(d) }}
	record := w.record(domain)
	if w.temp {
		return errNotTold
	}
	if record == nil || record.void || len(record.rua) == 0 {
		return nil
	}
	to, again := w.destinations(record)
	if len(to) == 0 && again {
		return errNotTold
	}
	if len(to) == 0 {
		return nil
	}
	r := dmarcReport{Meta: dmarcMeta{Org: ascii, Contact: "postmaster@" + ascii, ID: newMailID() + "@" + ascii, From: day * tlsSecDay, Until: (day+1)*tlsSecDay - 1,
		Generator: "Postino"}, Policy: record.published()}
	err = s.store.Read(func(tx *Tx) error {
		counts, times, err := tx.DMARCCounts(day, domain)
		for i, c := range counts {
			var row dmarcRow
			if json.Unmarshal([]byte(c.Seen), &row) == nil {
				row.Addr, row.Count = c.Address, times[i]
				r.Of = append(r.Of, row)
			}
		}
		return err
	})
	if err != nil || len(r.Of) == 0 {
		return err
	}
	packed, err := r.packed()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s!%s!%d!%d.xml.gz", ascii, domain, r.Meta.From, r.Meta.Until)
	head := fmt.Sprintf("Subject: Report Domain: %s\r\n\tSubmitter: %s\r\n\tReport-ID: <%s>\r\n", domain, ascii, r.Meta.ID)
	words := fmt.Sprintf("How mail under the names of %s was judged at %s, from %s to %s.", domain, ascii,
		time.Unix(r.Meta.From, 0).UTC().Format(time.RFC3339), time.Unix(r.Meta.Until, 0).UTC().Format(time.RFC3339))
	return s.mailReport(reportMail{r.Meta.Contact, r.Meta.ID, head, "mixed", words, "application/gzip", name, packed, nil}, to)
}

// published is a record as a report names it.
func (r *dmarcRecord) published() dmarcPolicy {
	strict := map[bool]string{true: "s", false: "r"}
	return dmarcPolicy{Domain: r.domain, How: "treewalk", P: r.p, SP: r.sp, NP: r.np, DKIM: strict[r.dkimStrict], SPF: strict[r.spfStrict],
		Test: map[bool]string{true: "y", false: "n"}[r.testing]}
}
