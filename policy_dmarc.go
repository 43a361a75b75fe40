// DMARC (RFC 9989): what the domain in From wants done with mail that it does not stand for. Records of RFC 7489 are read, too.
package main

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dmarcSteps = 8    // names that a tree walk asks about (RFC 9989 §4.10)
	dmarcSize  = 8192 // octets of a record that are read
	dmarcFroms = 4    // domains in From that are looked at
)

// Policies of a domain.
const (
	dmarcNothing    = "none"
	dmarcQuarantine = "quarantine"
	dmarcReject     = "reject"
)

// dmarcRecord is a policy record.
type dmarcRecord struct {
	domain     string // where it was found
	p, sp, np  string
	dkimStrict bool
	spfStrict  bool
	testing    bool     // t=y, or pct below 100 as RFC 7489 had it: one step milder
	psd        string   // y, n or u
	rua        []string // addresses for reports, see dmarcAddresses
	void       bool     // its policy makes no sense, and nobody can be told: the domain has none (RFC 9989 §4.10.1)
}

// parseDMARC reads a record (RFC 9989 §4.7); nil if it is none. Unknown tags are passed over, and so are values that make no sense (§4.8).
func parseDMARC(text, domain string) *dmarcRecord {
	first, rest, _ := strings.Cut(text, ";")
	name, value, _ := strings.Cut(first, "=")
	if len(text) > dmarcSize || dkimTrim(name) != "v" || dkimTrim(value) != "DMARC1" {
		return nil
	}
	r := &dmarcRecord{domain: domain, psd: "u"}
	policy := func(v string) string {
		if v != dmarcNothing && v != dmarcQuarantine && v != dmarcReject {
			r.void = true
			return ""
		}
		return v
	}
	for one := range strings.SplitSeq(rest, ";") {
		name, raw, _ := strings.Cut(one, "=")
		value = strings.ToLower(dkimTrim(raw))
		switch strings.ToLower(dkimTrim(name)) {
		case "p":
			r.p = policy(value)
		case "sp":
			r.sp = policy(value)
		case "np":
			r.np = policy(value)
		case "adkim":
			r.dkimStrict = value == "s"
		case "aspf":
			r.spfStrict = value == "s"
		case "t":
			r.testing = r.testing || value == "y"
		case "pct": // RFC 9989 §A.6 has t= instead; who still writes it is not ready for all of it
			r.testing = r.testing || (value != "100" && value != "")
		case "psd":
			if value == "y" || value == "n" {
				r.psd = value
			}
		case "rua":
			r.rua = dmarcAddresses(raw)
		}
	}
	if r.void || r.p == "" { // without p= it is none (RFC 9989 §4.7), with nonsense in it too if somebody can be told (§4.10.1)
		r.void = r.void && len(r.rua) == 0
		r.p, r.sp, r.np = dmarcNothing, "", ""
	}
	return r
}

// destinations are the addresses that want reports about a record's domain: those of its own organization, and others as far as they say
// so themselves (RFC 9990 §4). again says that some could not be asked.
func (w *dmarcWalker) destinations(r *dmarcRecord) (to []Addr, again bool) {
	w.temp = false
	home := w.organization(r.domain)
	for _, text := range r.rua {
		a, err := ParseAddr(text)
		if err != nil {
			continue
		}
		host, err := DomainToASCII(a.Domain)
		if err != nil || w.skip(host) {
			continue
		}
		if w.organization(host) == home {
			to = append(to, a)
			continue
		}
		wants, err := w.wants(r.domain, host, a)
		again = again || err != nil
		to = append(to, wants...)
	}
	slices.SortFunc(to, func(a, b Addr) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(to), again || w.temp
}

// wants are the addresses at a host of others that take reports about a domain, one that its record names or others of the same host.
func (w *dmarcWalker) wants(domain, host string, named Addr) ([]Addr, error) {
	a, err := w.dns.Ask(w.ctx, domain+"._report._dmarc."+host, dnsmessage.TypeTXT)
	if dnsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, text := range a.TXT() {
		r := parseDMARC(text, host)
		if r == nil {
			continue
		}
		if len(r.rua) == 0 {
			return []Addr{named}, nil
		}
		var all []Addr
		for _, other := range r.rua {
			o, err := ParseAddr(other)
			at, bad := DomainToASCII(o.Domain)
			if err != nil || bad != nil || at != host {
				return nil, nil
			}
			all = append(all, o)
		}
		return all, nil
	}
	return nil, nil
}

const dmarcRUA = 4 // addresses of a record that reports go to

// dmarcAddresses are the mail addresses of a list of URIs (RFC 9989 §4.6); others are passed over, and so is a size behind a "!" (§4.8).
func dmarcAddresses(list string) []string {
	var all []string
	for one := range strings.SplitSeq(list, ",") {
		one, _, _ = strings.Cut(dkimTrim(one), "!")
		u, err := url.Parse(one)
		if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
			continue
		}
		to, err := url.PathUnescape(u.Opaque)
		if err != nil {
			continue
		}
		a, err := ParseAddr(to)
		if err == nil && a.Domain != "" && !strings.HasPrefix(a.Domain, "[") && len(all) < dmarcRUA {
			all = append(all, a.String())
		}
	}
	return all
}

// dmarcWalker finds records and organizational domains. Each name is asked about once.
type dmarcWalker struct {
	ctx  context.Context
	dns  Resolver
	skip func(domain string) bool
	have map[string]dmarcAnswer
	temp bool // a question had no answer: what was found may not be all
}

type dmarcAnswer struct {
	record *dmarcRecord
	temp   bool
}

// record is the record at one name; nil without one, or with several (RFC 9989 §4.10).
func (w *dmarcWalker) record(domain string) *dmarcRecord {
	a, ok := w.have[domain]
	if !ok {
		a = w.ask(domain)
		if w.have == nil {
			w.have = map[string]dmarcAnswer{}
		}
		w.have[domain] = a
	}
	w.temp = w.temp || a.temp
	return a.record
}

func (w *dmarcWalker) ask(domain string) dmarcAnswer {
	if w.skip(domain) {
		return dmarcAnswer{}
	}
	ans, err := w.dns.Ask(w.ctx, "_dmarc."+domain, dnsmessage.TypeTXT)
	if err != nil {
		return dmarcAnswer{temp: !dnsNotFound(err)}
	}
	var found *dmarcRecord
	for _, t := range ans.TXT() {
		r := parseDMARC(t, domain)
		if r != nil && found != nil {
			return dmarcAnswer{}
		}
		if r != nil {
			found = r
		}
	}
	return dmarcAnswer{record: found}
}

// walk lists the good records from a domain up to its top, the domain's own first, as far as one says that nothing above it matters
// (RFC 9989 §4.10). It asks about at most dmarcSteps names.
func (w *dmarcWalker) walk(domain string) []*dmarcRecord {
	var all []*dmarcRecord
	at, labels := domain, strings.Split(domain, ".")
	for range dmarcSteps {
		r := w.record(at)
		if r != nil && !r.void {
			all = append(all, r)
			if r.psd != "u" {
				return all
			}
		}
		if len(labels) <= 1 {
			return all
		}
		labels = labels[max(1, len(labels)-dmarcSteps+1):]
		at = strings.Join(labels, ".")
	}
	return all
}

// organization is the organizational domain of a domain (RFC 9989 §4.10.2).
func (w *dmarcWalker) organization(domain string) string {
	all := w.walk(domain)
	for _, r := range all {
		if r.psd == "n" {
			return r.domain
		}
		if r.psd == "y" && r.domain != domain { // the domain one label below
			below := strings.TrimSuffix(domain, "."+r.domain)
			return below[strings.LastIndexByte(below, '.')+1:] + "." + r.domain
		}
	}
	if len(all) == 0 {
		return domain
	}
	return slices.MinFunc(all, func(a, b *dmarcRecord) int { return strings.Count(a.domain, ".") - strings.Count(b.domain, ".") }).domain
}

// policy is the record that applies to a domain in From, and what it asks for (RFC 9989 §4.10.1); nil without one.
func (w *dmarcWalker) policy(domain string) (*dmarcRecord, string) {
	r := w.record(domain)
	if r != nil && r.void {
		return nil, ""
	}
	if r != nil {
		return r, r.p
	}
	all := w.walk(domain)
	if len(all) == 0 {
		return nil, ""
	}
	org := w.organization(domain)
	r = w.record(org)
	if r == nil || r.void { // nothing at the organization itself: what is above it
		r = all[len(all)-1]
	}
	want := r.p
	if r.sp != "" {
		want = r.sp
	}
	if r.np != "" && !w.exists(domain) {
		want = r.np
	}
	return r, want
}

// exists says whether there is such a name (RFC 9989 §3.2.13). In doubt there is.
func (w *dmarcWalker) exists(domain string) bool {
	_, err := w.dns.Ask(w.ctx, domain, dnsmessage.TypeA)
	return !dnsNotFound(err)
}

// aligned says whether an authenticated domain stands for one in From (RFC 9989 §3.2.10, §4.10.2).
func (w *dmarcWalker) aligned(from, domain string, strict bool) bool {
	if from == domain {
		return true
	}
	if strict || (!strings.HasSuffix(from, "."+topOf(domain)) && !strings.HasSuffix(domain, "."+topOf(from))) {
		return false
	}
	return w.organization(from) == w.organization(domain)
}

// topOf is the last label: two domains without a common one need no walk.
func topOf(domain string) string { return domain[strings.LastIndexByte(domain, '.')+1:] }

// dmarcResult is what came of DMARC.
type dmarcResult struct {
	result string // pass, fail, none, temperror
	policy string // what the domain asks for, after t=
	from   string // the domain in From
	by     string // the domain that stands for it: SPF's, or DKIM's d=

	record    *dmarcRecord // nil without one
	dkim, spf bool         // which of them stand for it
}

// checkDMARC judges by what SPF and DKIM found. from is a domain in From, in A-labels and small letters.
func (w *dmarcWalker) checkDMARC(from string, spf spfResult, dkim []dkimResult) dmarcResult {
	r := dmarcResult{result: resultNone, from: from}
	w.temp = false
	record, want := w.policy(from)
	if record == nil && w.temp {
		r.result = resultTemp
		return r
	}
	spfStrict, dkimStrict := false, false
	if record != nil {
		spfStrict, dkimStrict = record.spfStrict, record.dkimStrict
	}
	temp := spf.result == resultTemp && w.aligned(from, spf.domain, spfStrict) // what would not count anyway leaves no doubt
	for _, d := range dkim {
		switch {
		case d.result == resultPass && !d.testing && w.aligned(from, d.domain, dkimStrict):
			r.by, r.dkim = d.domain, true
		case d.result == resultTemp:
			temp = temp || w.aligned(from, d.domain, dkimStrict)
		}
	}
	r.record = record
	if (r.by == "" || (record != nil && len(record.rua) > 0)) && spf.result == resultPass && w.aligned(from, spf.domain, spfStrict) {
		r.spf = true
		r.by = cmp.Or(r.by, spf.domain)
	}
	switch {
	case record == nil:
		return r
	case r.by != "":
		r.result = resultPass
	case temp || w.temp:
		r.result = resultTemp
	default:
		r.result = resultFail
	}
	r.policy = want
	if record.testing { // RFC 9989 §4.7: one step milder
		r.policy = map[string]string{dmarcReject: dmarcQuarantine}[want]
		if r.policy == "" {
			r.policy = dmarcNothing
		}
	}
	return r
}

// fromDomains are the different domains of the From fields of a header, in A-labels, at most dmarcFroms of them.
func fromDomains(fields []dkimField) []string {
	var all []string
	for _, f := range fields {
		if f.name != "from" {
			continue
		}
		for _, a := range ParseAddressList(f.value()) {
			if len(all) >= dmarcFroms {
				return all
			}
			full, err := a.Addr()
			if err != nil {
				continue
			}
			d, err := DomainToASCII(full.Domain)
			if err == nil && !slices.Contains(all, d) {
				all = append(all, d)
			}
		}
	}
	return all
}
