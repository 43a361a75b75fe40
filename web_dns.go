// What must be in the DNS for a domain of ours, for the page, for zone files and for `postino check`.
package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// webLit is how well something is.
type webLit string

const (
	webGreen webLit = "good"
	webAmber webLit = "fair" // it works, or is not needed by all, and could be better
	webRed   webLit = "poor" // mail is lost or not believed
	webGrey  webLit = "dim"  // nobody knows, or nobody needs it
)

// webRecord is a record that a zone must have, or why it is better without, and what was found.
type webRecord struct {
	Name  string // without the dot at its end
	Kind  string
	Value string // as providers' forms want it; "" where it must be known elsewhere
	Light webLit
	Text  string // English, a key of the words
	Args  []any
	Found []string

	judge func(*webDNSZone, *webRecord) // asks the DNS, and says what is so
}

// lit sets the light, and the sentence beside it.
func (r *webRecord) lit(light webLit, text string, args ...any) {
	r.Light, r.Text, r.Args = light, text, args
}

// Line is the record as zone files have it.
func (r webRecord) Line() string {
	value := r.Value
	if r.Kind == "TXT" {
		value = ""
		for rest := r.Value; rest != ""; {
			n := min(len(rest), 255)
			value += fmt.Sprintf(" %q", rest[:n])
			rest = rest[n:]
		}
	}
	return r.Name + ". " + r.Kind + " " + strings.TrimSpace(value)
}

// Shown is the name that people write into a provider's form, where the domain is left out.
func (r webRecord) Shown(domain string) string {
	if r.Name == domain {
		return "@"
	}
	return strings.TrimSuffix(r.Name, "."+domain)
}

// webDomainASCII is a domain of ours in A-labels, however it is written. ok is false for others.
func webDomainASCII(cfg *Config, name string) (string, bool) {
	for _, d := range cfg.DomainsNow() {
		ascii, err := DomainToASCII(d)
		if err == nil && (strings.EqualFold(name, d) || strings.EqualFold(name, ascii)) {
			return ascii, true
		}
	}
	return "", false
}

// webMailHost is the host that a domain's mail goes to: this machine, or if its name means nothing on the internet the one that
// it should have.
func webMailHost(cfg *Config, domain string) (host string, ours bool) {
	host, err := DomainToASCII(cfg.Hostname)
	if err == nil && (publicName(host) || !publicName(domain)) {
		return host, true
	}
	return "mail." + domain, false
}

// webPublicAddrs are those of the machine's addresses that the internet can reach.
func webPublicAddrs(all []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return !webIsPublic(a) })
}

func webIsPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !slices.ContainsFunc(caNetworks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// webPort is the port of a listener that others can reach, "" for none.
func webPort(addrs []string) string {
	for _, a := range addrs {
		host, p, err := net.SplitHostPort(a)
		ip, ierr := netip.ParseAddr(host)
		if err == nil && p != "0" && host != "localhost" && (ierr != nil || !ip.IsLoopback()) {
			return p
		}
	}
	return ""
}

// records lists what a domain's zone must have, the most important first. Of a name that only this network knows, and that no multicast
// answers for, those that a router's own DNS may have.
func (z *webDNSZone) records() []*webRecord {
	d, host := z.domain, z.host
	var all []*webRecord
	add := func(name, kind, value string, judge func(*webDNSZone, *webRecord)) {
		all = append(all, &webRecord{Name: name, Kind: kind, Value: value, Light: webGrey, judge: judge})
	}
	if strings.HasSuffix("."+d, ".local") || (!publicName(d) && strings.HasSuffix("."+host, ".local")) { // names that no DNS may have (RFC 6762 §3)
		return nil
	}
	if !publicName(d) {
		add(d, "MX", "10 "+host+".", nil)
		add("autoconfig."+d, "CNAME", host+".", nil)
		z.services(add)
		return all
	}
	addrs := webPublicAddrs(z.tls.addrs())
	four, six := "", ""
	for _, a := range addrs {
		if a.Is4() && four == "" {
			four = a.String()
		} else if !a.Is4() && six == "" {
			six = a.String()
		}
	}
	add(host, "A", four, (*webDNSZone).judgeHost)
	if six != "" {
		add(host, "AAAA", six, (*webDNSZone).judgeHost6)
	}
	add(d, "MX", "10 "+host+".", (*webDNSZone).judgeMX)
	add(host, "PTR", "", (*webDNSZone).judgePTR)
	if len(addrs) > 0 {
		all[len(all)-1].Name, all[len(all)-1].Value = strings.TrimSuffix(webReverse(addrs[0]), "."), host+"."
	}
	add(d, "TXT", "v=spf1 mx -all", (*webDNSZone).judgeSPF)
	for _, k := range z.keys {
		text, err := k.Record()
		if err == nil {
			add(k.Selector+"._domainkey."+d, "TXT", text, func(z *webDNSZone, r *webRecord) { z.judgeDKIM(r, k) })
		}
	}
	if len(z.keys) == 0 {
		add("postino1._domainkey."+d, "TXT", "", nil)
		all[len(all)-1].lit(webRed, "There are no keys yet: make them on the page of domains, or by `postino dkim %s make`.", d)
	}
	add("_dmarc."+d, "TXT", "v=DMARC1; p=none; rua=mailto:postmaster@"+d, (*webDNSZone).judgeDMARC)
	if z.cfg.servesSTS(d) {
		add("mta-sts."+d, "CNAME", host+".", (*webDNSZone).judgeAlias)
		add("_mta-sts."+d, "TXT", "v=STSv1; id="+webSTSID(z.cfg), (*webDNSZone).judgeSTS)
	}
	add("_smtp._tls."+d, "TXT", "v=TLSRPTv1; rua=mailto:postmaster@"+d, (*webDNSZone).judgeTLSRPT)
	if leaf := z.leaf(); leaf != nil {
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		value := "3 1 1 " + hex.EncodeToString(sum[:])
		if z.cfg.ACMENow().Directory != "" && z.tls.Public() == nil {
			value = "" // of a key that will not be shown for long
		}
		add("_25._tcp."+host, "TLSA", value, (*webDNSZone).judgeTLSA)
	}
	z.certificates(add)
	z.services(add)
	add("autoconfig."+d, "CNAME", host+".", (*webDNSZone).judgeAlias)
	add("autodiscover."+d, "CNAME", host+".", (*webDNSZone).judgeAlias)
	return all
}

// leaf is the certificate that other mail servers see.
func (z *webDNSZone) leaf() *x509.Certificate {
	if leaf := z.tls.Public(); leaf != nil && leaf.VerifyHostname(z.host) == nil {
		return leaf
	}
	return z.tls.Leaf()
}

// certificates are the records about public CAs.
func (z *webDNSZone) certificates(add func(string, string, string, func(*webDNSZone, *webRecord))) {
	if z.cfg.ACMENow().Directory == "" {
		add(z.domain, "CAA", "", (*webDNSZone).judgeCAA)
		return
	}
	st := z.tls.ACMEStatus()
	if st.Method == ACMEPersist {
		for _, n := range z.tls.acmeNames() {
			if n.name != z.domain && !strings.HasSuffix(n.name, "."+z.domain) && n.name != z.host {
				continue
			}
			owner, text, ok := st.Account.PersistRecord(n.name, n.wide)
			if !ok {
				owner = "_validation-persist." + n.name
			}
			add(owner, "TXT", text, func(z *webDNSZone, r *webRecord) { z.judgePersist(r, st.Account, n) })
		}
	}
	issuer := ""
	if len(st.Account.Issuers) > 0 {
		issuer = `0 issue "` + st.Account.Issuers[0] + `"`
	}
	add(z.domain, "CAA", issuer, (*webDNSZone).judgeCAA)
}

// services are where programs find their servers (RFC 6186 §3.4, and RFC 8314 §5.1 for the names of those under TLS, which come first).
func (z *webDNSZone) services(add func(string, string, string, func(*webDNSZone, *webRecord))) {
	l := z.cfg.Listen
	for _, s := range []struct {
		name, first string
		addrs       []string
	}{{"_submissions", "0 1", l.Submissions}, {"_imaps", "0 1", l.IMAPS}, {"_pop3s", "10 1", l.POP3S}, {"_submission", "10 1", l.Submission},
		{"_imap", "10 1", l.IMAP}, {"_pop3", "20 1", l.POP3}, {"_sieve", "0 1", l.Sieve}} {
		if port := webPort(s.addrs); port != "" {
			add(s.name+"._tcp."+z.domain, "SRV", s.first+" "+port+" "+z.host+".", (*webDNSZone).judgeSRV)
		}
	}
}

// webDNSRecords are the records of all our domains, as zone files have them.
func webDNSRecords(cfg *Config, store *Store, t *TLS) ([]string, error) {
	var all []string
	for _, d := range cfg.DomainsNow() {
		z, err := webNewZone(cfg, store, t, nil, d)
		if err != nil {
			return nil, err
		}
		for _, r := range z.records() {
			if r.Value != "" && r.Kind != "PTR" {
				all = append(all, r.Line())
			}
		}
	}
	return all, nil
}

// webKinds are numbers of kinds of records that dnsmessage has no name for.
const webTypeCAA dnsmessage.Type = 257

// webDNSPage is what the DNS has of a domain, and what it must have.
type webDNSPage struct {
	webTabs
	Domains []webDomain
	Domain  webDomain
	Records []webShownRecord
	Silent  bool // no DNS answers
	Zone    string
}

// webShownRecord is a record in the reader's language.
type webShownRecord struct {
	*webRecord
	Says  string
	Label string // under which a provider's form has it
}

// Icon stands for the light, for those who see no colours.
func (r *webRecord) Icon() string {
	return map[webLit]string{webGreen: "check", webAmber: "warn", webRed: "close", webGrey: "help"}[r.Light]
}

// getDNS asks the DNS about one of our domains.
func (q *webReq) getDNS() error {
	p := webDNSPage{webTabs: webTabs{"dns"}}
	want := q.r.URL.Query().Get("domain")
	for _, name := range q.s.cfg.DomainsNow() {
		ascii, err := DomainToASCII(name)
		if err != nil {
			continue
		}
		d := webDomain{Name: name, ASCII: ascii, Public: publicName(ascii)}
		p.Domains = append(p.Domains, d)
		if p.Domain.Name == "" || ascii == want || (want == "" && d.Public && !p.Domain.Public) {
			p.Domain = d
		}
	}
	if want != "" && p.Domain.ASCII != want {
		return ErrNotFound
	}
	z, err := webNewZone(q.s.cfg, q.s.store, q.s.tls, q.s.dns, p.Domain.Name)
	if err != nil {
		return err
	}
	var all []*webRecord
	if p.Domain.Public {
		alive := false
		all, alive = z.check(q.r.Context())
		p.Silent = !alive
	} else {
		all = z.records()
	}
	var zone strings.Builder
	for _, r := range all {
		says := ""
		if r.Text != "" {
			says = q.lang.F(r.Text, r.Args...)
		}
		p.Records = append(p.Records, webShownRecord{r, says, r.Shown(z.domain)})
		if r.Value != "" && r.Kind != "PTR" {
			zone.WriteString(r.Line() + "\n")
		}
	}
	p.Zone = zone.String()
	return q.page("admin-dns", "DNS", p)
}
