// Reports on TLS to us that other servers send (RFC 8460): reading them.
package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	heardLong  = 200     // octets of a text that are kept
	heardRows  = 100     // lines of a report that are kept; the rest is one more
	heardSize  = 4 << 20 // octets of a report without its compression
	heardCount = 1 << 40 // messages or sessions that nobody has in a day
)

// errHeard is why a report is not read.
var errHeard = errors.New("the report makes no sense")

// tlsReport is a report as RFC 8460 §4.4 has it.
type tlsReport struct {
	Org     string          `json:"organization-name"`
	Range   tlsReportRange  `json:"date-range"`
	Contact string          `json:"contact-info"`
	ID      string          `json:"report-id"`
	Of      []tlsReportItem `json:"policies"`
}

type tlsReportRange struct {
	From  time.Time `json:"start-datetime"`
	Until time.Time `json:"end-datetime"`
}

// tlsReportItem is what was seen of one policy.
type tlsReportItem struct {
	Policy struct {
		Type   string   `json:"policy-type"`
		Text   []string `json:"policy-string,omitempty"`
		Domain string   `json:"policy-domain"`
		MX     any      `json:"mx-host,omitempty"` // a list, and in the RFC's own example one name
	} `json:"policy"`
	Summary struct {
		Good int64 `json:"total-successful-session-count"`
		Bad  int64 `json:"total-failure-session-count"`
	} `json:"summary"`
	Failures []tlsReportFailure `json:"failure-details,omitempty"`
}

type tlsReportFailure struct {
	Result string `json:"result-type"`
	From   string `json:"sending-mta-ip,omitempty"`
	Host   string `json:"receiving-mx-hostname,omitempty"`
	To     string `json:"receiving-ip,omitempty"`
	Count  int64  `json:"failed-session-count"`
	More   string `json:"additional-information,omitempty"`
	Reason string `json:"failure-reason-code,omitempty"`
}

// readTLSReport reads a report, compressed or not, and returns what it says of each domain that is ours. Whatever is in it, it costs
// no more than heardSize.
func readTLSReport(r io.Reader, own func(domain string) bool) ([]HeardReport, error) {
	b, err := heardText(r)
	if err != nil {
		return nil, err
	}
	var t tlsReport
	err = json.Unmarshal(b, &t)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHeard, err)
	}
	if t.ID == "" || t.Range.Until.Before(t.Range.From) || !heardTime(t.Range.From) || !heardTime(t.Range.Until) {
		return nil, fmt.Errorf("%w: its name or its times", errHeard)
	}
	var all []HeardReport
	at := map[string]int{}
	for _, p := range t.Of {
		domain, err := ParseDomain(p.Policy.Domain)
		if err != nil || !own(domain) {
			continue
		}
		i, ok := at[domain]
		if !ok {
			i = len(all)
			at[domain] = i
			all = append(all, HeardReport{Kind: HeardTLS, Domain: domain, Ref: heardWords(t.ID), From: t.Range.From, Until: t.Range.Until})
		}
		err = all[i].addTLS(p)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// addTLS adds what was seen of one policy.
func (r *HeardReport) addTLS(p tlsReportItem) error {
	if p.Summary.Good > 0 {
		err := r.add(HeardRow{Count: p.Summary.Good, Good: true, What: p.Policy.Type})
		if err != nil {
			return err
		}
	}
	rest := p.Summary.Bad
	for _, f := range p.Failures {
		who := f.Host
		if who == "" {
			who = f.To
		}
		words := []string{p.Policy.Type, f.Result}
		for _, w := range []string{f.Reason, f.More} {
			if w != "" {
				words = append(words, w)
			}
		}
		err := r.add(HeardRow{Who: who, Count: f.Count, What: strings.Join(words, ", ")})
		if err != nil {
			return err
		}
		rest -= f.Count
	}
	if rest > 0 {
		return r.add(HeardRow{Count: rest, What: p.Policy.Type})
	}
	return nil
}

// add adds a line and counts it. Beyond heardRows the good and the bad are one line each.
func (r *HeardReport) add(row HeardRow) error {
	if row.Count < 0 || row.Count > heardCount {
		return fmt.Errorf("%w: it counts %d", errHeard, row.Count)
	}
	if row.Good {
		r.Good += row.Count
	} else {
		r.Bad += row.Count
	}
	row.Who, row.What = heardWords(row.Who), heardWords(row.What)
	if len(r.Rows) < heardRows {
		r.Rows = append(r.Rows, row)
		return nil
	}
	for i := heardRows; i < len(r.Rows); i++ {
		if r.Rows[i].Good == row.Good {
			r.Rows[i].Count += row.Count
			return nil
		}
	}
	r.Rows = append(r.Rows, HeardRow{Who: "…", Count: row.Count, Good: row.Good})
	return nil
}

// heardText is a report without its compression, whatever its type says.
func heardText(r io.Reader) ([]byte, error) {
	br := bufio.NewReader(r)
	r = br
	magic, _ := br.Peek(2)
	if string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errHeard, err)
		}
		r = z
	}
	return heardRead(r)
}

// heardRead is all of r, if that is not too much.
func heardRead(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, heardSize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHeard, err)
	}
	if len(b) > heardSize {
		return nil, fmt.Errorf("%w: it has more than %d octets", errHeard, heardSize)
	}
	return b, nil
}

// heardTime says whether a time can be that of a report.
func heardTime(t time.Time) bool { return t.Year() > 2000 && t.Year() < 3000 }

// heardWords makes one short line of a text that anybody may have written.
func heardWords(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || (r >= 0x2028 && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return ' '
		}
		return r
	}, s)
	if len(s) > heardLong {
		s = strings.ToValidUTF8(s[:heardLong], "")
	}
	return strings.TrimSpace(s)
}
