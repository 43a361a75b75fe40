// Aggregate reports of DMARC (RFC 9990): who sends mail under a domain's name, and how that was checked.
package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

const dmarcRecords = 50_000 // of a report that are read

// dmarcReport is a report as RFC 9990, appendix A has it, but for its records.
type dmarcReport struct {
	XMLName xml.Name    `xml:"feedback"`
	NS      string      `xml:"xmlns,attr,omitempty"`
	Version string      `xml:"version"`
	Meta    dmarcMeta   `xml:"report_metadata"`
	Policy  dmarcPolicy `xml:"policy_published"`
	Of      []dmarcRow  `xml:"record"`
}

type dmarcMeta struct {
	Org       string `xml:"org_name"`
	Contact   string `xml:"email"`
	ID        string `xml:"report_id"`
	From      int64  `xml:"date_range>begin"`
	Until     int64  `xml:"date_range>end"`
	Generator string `xml:"generator,omitempty"`
}

type dmarcPolicy struct {
	Domain string `xml:"domain"`
	How    string `xml:"discovery_method,omitempty"`
	P      string `xml:"p"`
	SP     string `xml:"sp,omitempty"`
	NP     string `xml:"np,omitempty"`
	DKIM   string `xml:"adkim,omitempty"`
	SPF    string `xml:"aspf,omitempty"`
	Test   string `xml:"testing,omitempty"`
}

// dmarcRow is a record: messages of one address that were judged alike.
type dmarcRow struct {
	Addr     string        `xml:"row>source_ip"`
	Count    int64         `xml:"row>count"`
	Did      string        `xml:"row>policy_evaluated>disposition"`
	DKIM     string        `xml:"row>policy_evaluated>dkim"`
	SPF      string        `xml:"row>policy_evaluated>spf"`
	Reason   []dmarcReason `xml:"row>policy_evaluated>reason"`
	Envelope string        `xml:"identifiers>envelope_from"`
	From     string        `xml:"identifiers>header_from"`
	Keys     []dmarcKey    `xml:"auth_results>dkim"`
	Senders  []dmarcSender `xml:"auth_results>spf"`
}

type dmarcReason struct {
	Type string `xml:"type"`
	Text string `xml:"comment,omitempty"`
}

type dmarcKey struct {
	Domain   string `xml:"domain"`
	Selector string `xml:"selector"`
	Result   string `xml:"result"`
}

type dmarcSender struct {
	Domain string `xml:"domain"`
	Scope  string `xml:"scope,omitempty"`
	Result string `xml:"result"`
}

// isDMARCReport says whether a part's file has the name that a report's has (RFC 9990 §3.5.2).
func isDMARCReport(p *Part) bool {
	name := strings.ToLower(p.Filename())
	if strings.Count(name, "!") < 3 {
		return false
	}
	for _, end := range []string{".xml", ".xml.gz", ".zip", ".gz"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// readDMARCReport reads a report, compressed or not, and returns what it says of a domain that is ours. Whatever is in it, it costs no more
// than heardSize before and after it is unpacked.
func readDMARCReport(r io.Reader, own func(domain string) bool) ([]HeardReport, error) {
	b, err := heardText(r)
	if err == nil && bytes.HasPrefix(b, []byte("PK\x03\x04")) {
		b, err = unzipReport(b)
	}
	if err != nil {
		return nil, err
	}
	report := HeardReport{Kind: HeardDMARC}
	var meta dmarcMeta
	var policy dmarcPolicy
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // names and numbers; words of other letters are marred
	depth, rows := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errHeard, err)
		}
		start, ok := token.(xml.StartElement)
		if _, end := token.(xml.EndElement); end {
			depth--
		}
		if !ok {
			continue
		}
		if depth == 0 && start.Name.Local != "feedback" {
			return nil, fmt.Errorf("%w: it is no feedback", errHeard)
		}
		if depth == 0 {
			depth++
			continue
		}
		switch start.Name.Local {
		case "report_metadata":
			err = d.DecodeElement(&meta, &start)
		case "policy_published":
			err = d.DecodeElement(&policy, &start)
		case "record":
			rows++
			if rows > dmarcRecords {
				return nil, fmt.Errorf("%w: it has more than %d records", errHeard, dmarcRecords)
			}
			var row dmarcRow
			err = d.DecodeElement(&row, &start)
			if err == nil {
				err = report.add(row.heard())
			}
		default:
			err = d.Skip()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errHeard, err)
		}
	}
	report.Ref, report.From, report.Until = heardWords(meta.ID), time.Unix(meta.From, 0), time.Unix(meta.Until, 0)
	report.Domain, err = ParseDomain(strings.TrimSpace(policy.Domain))
	if err != nil || report.Ref == "" || report.Until.Before(report.From) || !heardTime(report.From) || !heardTime(report.Until) || rows == 0 {
		return nil, fmt.Errorf("%w: its name, its domain or its times", errHeard)
	}
	if !own(report.Domain) {
		return nil, nil
	}
	return []HeardReport{report}, nil
}

// heard is a record as it is shown: good is what DMARC passes.
func (r dmarcRow) heard() HeardRow {
	words := []string{"DKIM " + r.DKIM, "SPF " + r.SPF, r.Did}
	for _, k := range r.Reason {
		words = append(words, k.Type)
	}
	from := r.From
	if r.Envelope != "" && r.Envelope != r.From {
		from += " (" + r.Envelope + ")"
	}
	return HeardRow{Who: strings.TrimSpace(r.Addr), Count: r.Count, Good: r.DKIM == "pass" || r.SPF == "pass", What: strings.Join(append(words, from), ", ")}
}

// unzipReport is the first XML file of an archive, as RFC 7489's reporters send it.
func unzipReport(b []byte) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHeard, err)
	}
	for _, f := range z.File {
		if !strings.EqualFold(path.Ext(f.Name), ".xml") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errHeard, err)
		}
		defer r.Close()
		return heardRead(r)
	}
	return nil, fmt.Errorf("%w: no XML in the archive", errHeard)
}

// packed is the report as it is sent.
func (r *dmarcReport) packed() ([]byte, error) {
	r.NS, r.Version = "urn:ietf:params:xml:ns:dmarc-2.0", "1.0"
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, xml.Header)
	err := xml.NewEncoder(z).Encode(r)
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}
