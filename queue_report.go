// Once a day: how TLS to the hosts of a domain went is told to those domains that ask for it (RFC 8460).
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	tlsEvery  = 10 * time.Minute // between looks at what is to be stored, renewed or told
	tlsSpread = 4 * time.Hour    // over which reports are spread after the day's end (RFC 8460 §4.1)
	tlsBudget = 30 * time.Second // for all questions about one report
	tlsDays   = 2                // days after which a report that could not be made or brought is given up
	tlsRound  = 200              // domains that are told in one go
)

// runReports stores what was counted about TLS, renews policies of other domains and sends reports, until the server stops.
func (s *Server) runReports() {
	s.crew.Keep(&s.wg, "tls reports", s.stop.Done(), func() {
		delay := rand.N(tlsSpread)
		tick := time.NewTicker(tlsEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-s.stop.Done():
				s.storeTLS()
				s.storeJudged()
				return
			}
			s.storeTLS()
			s.storeJudged()
			err := s.renewPolicies(s.stop)
			if err == nil {
				err = s.tellTLS(s.stop, delay)
			}
			if err == nil {
				err = s.tellJudged(s.stop, delay)
			}
			if err != nil && s.stop.Err() == nil {
				s.crew.Complain("reports to other domains", err)
			}
		}
	})
}

// storeTLS stores what was counted, if anything was: all of some minutes in one commit.
func (s *Server) storeTLS() {
	counts := s.tally.take()
	if len(counts) == 0 {
		return
	}
	err := s.store.Write(func(tx *Tx) error { return tx.CountTLS(counts) })
	if err != nil {
		s.tally.back(counts)
		s.crew.Complain("what was counted about TLS is not stored", err)
	}
}

// tellTLS sends the reports of the days that are over, delay after their end. Nothing is asked where nothing was counted.
func (s *Server) tellTLS(ctx context.Context, delay time.Duration) error {
	return s.tell(ctx, delay, (*Tx).TLSToTell, s.tellDomain, (*Tx).ForgetTLS)
}

// tell goes through the days that are over, delay after their end, and the domains that next finds in them. What was told, or can't be
// told for tlsDays, is forgotten.
func (s *Server) tell(ctx context.Context, delay time.Duration, next func(*Tx, int64, int64, string) (int64, string, error),
	one func(ctx context.Context, day int64, domain string) error, forget func(*Tx, int64, string) error) error {
	now := s.store.Now()
	if !s.store.ClockTrusted() {
		return nil
	}
	today := now.Add(-delay).Unix() / tlsSecDay
	var day int64
	domain := ""
	for range tlsRound {
		err := s.store.Read(func(tx *Tx) error {
			var err error
			day, domain, err = next(tx, today, day, domain)
			return err
		})
		if err != nil || domain == "" || ctx.Err() != nil {
			return err
		}
		told := one(ctx, day, domain)
		if told != nil {
			s.log.Info("no report", "domain", domain, "err", told)
		}
		if told == nil || today-day > tlsDays {
			err = s.store.Write(func(tx *Tx) error { return forget(tx, day, domain) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// errNotTold is why a report waits.
var errNotTold = errors.New("the report could not be brought yet")

// tellDomain sends one report if the domain wants it. After an error it may be tried again.
func (s *Server) tellDomain(ctx context.Context, day int64, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, tlsBudget)
	defer cancel()
	if !s.health.answers(ctx, s.dns) {
		return errNotTold
	}
	a, err := s.dns.Ask(ctx, "_smtp._tls."+domain, dnsmessage.TypeTXT)
	if dnsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotTold, err)
	}
	mail, posts := tlsWanted(a.TXT())
	if len(mail)+len(posts) == 0 {
		return nil
	}
	counts, err := read(s.store, func(tx *Tx) (map[TLSCount]int64, error) { return tx.TLSCounts(day, domain) })
	if err != nil {
		return err
	}
	text, hosts := s.tlsPolicies(ctx, domain)
	r := newTLSReport(counts, text, hosts, s.tally.sender())
	ascii, err := DomainToASCII(s.publicDomain())
	if err != nil {
		return err
	}
	r.Org, r.Contact, r.ID = ascii, "postmaster@"+ascii, newMailID()+"@"+ascii
	packed, err := r.packed()
	if err != nil {
		return err
	}
	brought := false
	for _, p := range posts {
		err = s.postTLS(ctx, p, packed)
		brought = brought || err == nil
	}
	if len(mail) > 0 {
		err = s.mailTLS(r, domain, mail, packed, func(tx *Tx, _ Blob) error { return tx.ForgetTLS(day, domain) })
		brought = brought || err == nil
	}
	if brought {
		return nil
	}
	return fmt.Errorf("%w: %w", errNotTold, err)
}

// tlsPolicies are the texts and hosts of a domain's policies as they are now, by their kinds.
func (s *Server) tlsPolicies(ctx context.Context, domain string) (text, hosts map[string][]string) {
	text, hosts = map[string][]string{}, map[string][]string{}
	_, p, err := s.stsKnown(domain, s.store.Now())
	if err == nil && p != nil {
		text[tlsBySTS] = strings.Split(strings.TrimSuffix(p.String(), "\r\n"), "\r\n")
		hosts[tlsBySTS] = p.Hosts
	}
	mail, err := mailHosts(ctx, s.dns, domain, s.asciiHost())
	if err != nil || !mail.Secure {
		return text, hosts
	}
	for _, host := range mail.Hosts {
		d, err := askDANE(ctx, s.dns, domain, host)
		if err != nil || d == nil {
			continue
		}
		for _, r := range d.records {
			if len(text[tlsByDNS]) < stsHosts {
				text[tlsByDNS] = append(text[tlsByDNS], fmt.Sprintf("_25._tcp.%s. IN TLSA %d %d %d %X", d.base, r.Usage, r.Selector, r.Matching, r.Data))
			}
		}
	}
	return text, hosts
}

// postTLS brings a report by https (RFC 8460 §5.4).
func (s *Server) postTLS(ctx context.Context, place string, packed []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, place, bytes.NewReader(packed))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/tlsrpt+gzip")
	res, err := s.worldClient().Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.CopyN(io.Discard, res.Body, stsSize)
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", r.URL.Host, res.Status)
	}
	return nil
}

// mailTLS sends a report by mail (RFC 8460 §5.3): from nobody, so that nothing comes back, and signed as all mail is that leaves.
// also runs with it in one commit.
func (s *Server) mailTLS(r *tlsReport, domain string, to []Addr, packed []byte, also func(*Tx, Blob) error) error {
	name := fmt.Sprintf("%s!%s!%d!%d.json.gz", r.Org, domain, r.Range.From.Unix(), r.Range.Until.Unix())
	head := fmt.Sprintf("Subject: Report Domain: %s Submitter: %s\r\n\tReport-ID: <%s>\r\n", domain, r.Org, r.ID) +
		fmt.Sprintf("TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\nTLS-Required: No\r\n", domain, r.Org)
	words := fmt.Sprintf("How TLS from %s to the hosts that take mail for %s went, from %s to %s.", r.Org, domain, r.Range.From.Format(time.RFC3339), r.Range.Until.Format(time.RFC3339))
	return s.mailReport(reportMail{r.Contact, r.ID, head, `report; report-type="tlsrpt"`, words, "application/tlsrpt+gzip", name, packed, also}, to)
}

// reportMail is what a report by mail is made of.
type reportMail struct {
	from, id, head, multipart, words string
	kind, name                       string // of the file
	packed                           []byte
	also                             func(*Tx, Blob) error // runs in the commit that sends it; nil is nothing
}

// mailReport sends a report by mail, from nobody, so that nothing comes back.
func (s *Server) mailReport(r reportMail, to []Addr) error {
	bound := newMailID()
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: ", r.from)
	for i, a := range to {
		if i > 0 {
			b.WriteString(",\r\n\t")
		}
		b.WriteString(a.String())
	}
	fmt.Fprintf(&b, "\r\nDate: %s\r\nMessage-ID: <%s>\r\n%s", FormatDate(s.store.Now()), r.id, r.head)
	fmt.Fprintf(&b, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary=\"%s\"\r\n\r\n", r.multipart, bound)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain\r\n\r\n%s\r\n", bound, r.words)
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n\tfilename=\"%s\"\r\n\r\n", bound, r.kind, r.name)
	for text := base64.StdEncoding.EncodeToString(r.packed); text != ""; {
		n := min(len(text), 76)
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	fmt.Fprintf(&b, "--%s--\r\n", bound)
	m := &Mail{To: rcptsTo(to...), Body: s.store.NewSpool(int64(b.Len()) + 1<<20), Report: true, Also: r.also}
	defer m.Body.Close()
	_, err := m.Body.Write(b.Bytes())
	if err != nil {
		return err
	}
	for i := range m.To {
		m.To[i].Notify = NotifyNever
	}
	return s.accept(m)
}
