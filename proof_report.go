// Reports on TLS to the hosts of others (RFC 8460): what they look like, and who wants them.
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// tlsWanted are the places that a domain wants reports at, none if it wants none (RFC 8460 §3): addresses, and URLs of https.
func tlsWanted(texts []string) (mail []Addr, posts []string) {
	found := ""
	n := 0
	for _, text := range texts {
		first, rest, _ := strings.Cut(text, ";")
		if strings.TrimSpace(first) == "v=TLSRPTv1" {
			found = rest
			n++
		}
	}
	if n != 1 {
		return nil, nil
	}
	for _, field := range strings.Split(found, ";") {
		name, value, _ := strings.Cut(field, "=")
		if strings.TrimSpace(name) != "rua" {
			continue
		}
		for _, place := range strings.Split(value, ",") {
			u, err := url.Parse(strings.TrimSpace(place))
			if err != nil || len(mail)+len(posts) >= tlsPlaces {
				continue
			}
			switch u.Scheme {
			case "mailto":
				text, err := url.PathUnescape(u.Opaque)
				a, aerr := ParseAddr(text)
				if err == nil && aerr == nil {
					mail = append(mail, a)
				}
			case "https":
				if u.Host != "" && u.User == nil && (u.Port() == "" || u.Port() == "443") {
					posts = append(posts, u.String())
				}
			}
		}
	}
	return mail, posts
}

// tlsPlaces is to how many places a report goes.
const tlsPlaces = 4

// newTLSReport makes a report of what was counted of a domain on a day. text and hosts are of its policies, by their kinds.
func newTLSReport(counts map[TLSCount]int64, text, hosts map[string][]string, from string) *tlsReport {
	r := &tlsReport{}
	items := map[string]*tlsReportItem{}
	for c, n := range counts {
		r.Range.From = time.Unix(c.Day*tlsSecDay, 0).UTC()
		r.Range.Until = r.Range.From.Add((tlsSecDay - 1) * time.Second)
		item := items[c.Policy]
		if item == nil {
			item = &tlsReportItem{}
			item.Policy.Type, item.Policy.Domain, item.Policy.Text = c.Policy, c.Domain, text[c.Policy]
			if len(hosts[c.Policy]) > 0 {
				item.Policy.MX = hosts[c.Policy]
			}
			items[c.Policy] = item
		}
		if c.Result == "" {
			item.Summary.Good += n
			continue
		}
		item.Summary.Bad += n
		item.Failures = append(item.Failures, tlsReportFailure{Result: c.Result, From: from, Host: c.Host, To: c.Address, Count: n})
	}
	for _, item := range items {
		slices.SortFunc(item.Failures, func(a, b tlsReportFailure) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Result+a.Host+a.To, b.Result+b.Host+b.To))
		})
		r.Of = append(r.Of, *item)
	}
	slices.SortFunc(r.Of, func(a, b tlsReportItem) int { return cmp.Compare(a.Policy.Type, b.Policy.Type) })
	return r
}

// packed is the report as it is sent.
func (r *tlsReport) packed() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := json.NewEncoder(z).Encode(r)
	if err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
