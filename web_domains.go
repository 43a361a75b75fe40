// The administrator's page of domains: which live here, the keys that sign their mail, and the public CA.
package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

const webDNSWait = 5 * time.Second // for the DNS to say whether a key is published

func webDomainRoutes() []webRoute {
	return []webRoute{
		{"GET /admin/domains", webAdmin, (*webReq).getDomains},
		{"POST /admin/domains", webAdmin, (*webReq).postDomains},
	}
}

// webDomain is a domain of ours.
type webDomain struct {
	Name   string
	ASCII  string
	Public bool // it may mean something on the internet
	Keys   []DKIMKey
}

// Signs says whether a key signs the domain's mail.
func (d webDomain) Signs() bool {
	return slices.ContainsFunc(d.Keys, func(k DKIMKey) bool { return k.State == DKIMActive })
}

// Next says whether keys wait for their records.
func (d webDomain) Next() bool {
	return slices.ContainsFunc(d.Keys, func(k DKIMKey) bool { return k.State == DKIMNext })
}

// webDomainsPage is the page.
type webDomainsPage struct {
	webTabs
	Domains []webDomain
	Error   string
	Name    string // that could not be added
	ACME    ACME
	Names   string // of ACME, with blanks
	Status  ACMEStatus
	Until   time.Time // of the public CA's certificate; zero for none
	From    string
	Has     []string // the names in it
	Files   bool     // certificates come from files
	Ways    []string
}

func (q *webReq) getDomains() error {
	return q.domainsPage(http.StatusOK, webDomainsPage{ACME: q.s.cfg.ACMENow()})
}

func (q *webReq) domainsPage(status int, p webDomainsPage) error {
	p.Tab, p.Status, p.Files = "domains", q.s.tls.ACMEStatus(), q.s.cfg.TLS.Cert != ""
	p.Names, p.Ways = strings.Join(p.ACME.Names, " "), []string{ACMEALPN, ACMEHTTP, ACMEPersist}
	if leaf := q.s.tls.Public(); leaf != nil {
		p.Until, p.From, p.Has = leaf.NotAfter, leaf.Issuer.CommonName, leaf.DNSNames
	}
	for _, name := range q.s.cfg.DomainsNow() {
		d := webDomain{Name: name}
		var err error
		d.ASCII, err = DomainToASCII(name)
		if err != nil {
			return err
		}
		d.Public = publicName(d.ASCII)
		d.Keys, err = read(q.s.store, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys(d.ASCII) })
		if err != nil {
			return err
		}
		p.Domains = append(p.Domains, d)
	}
	return q.status(status, "admin-domains", "Domains", p)
}

func (q *webReq) postDomains() error {
	f := q.r.PostForm
	name := webCut(strings.TrimSpace(webClean(f.Get("domain"))), 255)
	switch f.Get("do") {
	case "add":
		return q.addDomain(name)
	case "remove":
		return q.removeDomain(name)
	case "make", "rotate":
		return q.domainKeys(name, f.Get("do") == "rotate")
	case "ca":
		return q.saveCA()
	case "now":
		q.s.tls.AskACME()
		q.say("The CA is being asked. Load this page again in a minute.")
		return q.redirect("/admin/domains")
	}
	return webErrDo
}

// againDomains shows the page with what could not be done.
func (q *webReq) againDomains(p webDomainsPage, text string, args ...any) error {
	if p.ACME.Directory == "" {
		p.ACME = q.s.cfg.ACMENow()
	}
	p.Error = q.lang.F(text, args...)
	return q.domainsPage(http.StatusUnprocessableEntity, p)
}

// domainFault says why mail.toml was not changed.
func (q *webReq) domainFault(name string, err error) error {
	p := webDomainsPage{Name: name}
	switch {
	case errors.Is(err, errDomainHere):
		return q.againDomains(p, "%s lives here already.", name)
	case errors.Is(err, errDomainGone):
		return q.againDomains(p, "%s does not live here.", name)
	case errors.Is(err, errDomainLast):
		return q.againDomains(p, "%s is the only domain, and there must be one.", name)
	case errors.Is(err, errDomainInUse):
		return q.againDomains(p, "People or aliases have addresses in %s. Remove those first.", name)
	}
	return q.againDomains(p, "Nothing was changed: %s", err)
}

func (q *webReq) addDomain(name string) error {
	d, err := q.s.cfg.AddDomain(name)
	if err != nil {
		return q.domainFault(name, err)
	}
	q.s.tls.AskAgain()
	q.log.Info("domain added", "domain", d, "by", q.user.Name)
	q.say("Mail for %s is taken in now.", d)
	return q.redirect("/admin/domains")
}

func (q *webReq) removeDomain(name string) error {
	if q.r.PostForm.Get("sure") == "" {
		return q.page("confirm", "Are you sure?", webConfirm{Question: q.lang.F("Take no more mail for %s?", name), Button: q.lang.T("Remove"),
			Action: "/admin/domains", Back: "/admin/domains", Fields: [][2]string{{"domain", name}, {"do", "remove"}, {"sure", "1"}}})
	}
	err := q.s.cfg.RemoveDomain(q.s.store, name)
	if err != nil {
		return q.domainFault(name, err)
	}
	q.log.Info("domain removed", "domain", name, "by", q.user.Name)
	q.say("Mail for %s is not taken in any more.", name)
	return q.redirect("/admin/domains")
}

// domainKeys makes the first keys of a domain, or the next ones, or has those sign whose records are published.
func (q *webReq) domainKeys(name string, rotate bool) error {
	ascii, err := DomainToASCII(name)
	if err != nil || !slices.Contains(q.s.cfg.DomainsNow(), name) || !publicName(ascii) {
		return ErrNotFound
	}
	keys, err := read(q.s.store, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys(ascii) })
	if err != nil {
		return err
	}
	switch {
	case rotate:
		ctx, cancel := context.WithTimeout(q.r.Context(), webDNSWait)
		defer cancel()
		keys, err = NextDKIMKeys(ctx, q.s.dns, keys, ascii)
	case len(keys) == 0:
		keys, err = NewDKIMKeys(1, DKIMActive)
	}
	if errors.Is(err, errDKIMUnpublished) {
		return q.againDomains(webDomainsPage{}, "The DNS does not have the records of the next keys yet: they are on the DNS page. Publish them, wait an hour, and try again.")
	}
	if err != nil {
		return err
	}
	err = q.s.store.Write(func(tx *Tx) error { return tx.SetDKIMKeys(ascii, keys) })
	if err != nil {
		return err
	}
	q.log.Info("DKIM keys", "domain", ascii, "by", q.user.Name)
	return q.redirect("/admin/dns?domain=" + webEscape(ascii))
}

// saveCA writes what is asked of the public CA into mail.toml.
func (q *webReq) saveCA() error {
	f := q.r.PostForm
	a := ACME{Directory: webCut(strings.TrimSpace(webClean(f.Get("directory"))), 300), Contact: webCut(strings.TrimSpace(webClean(f.Get("contact"))), 300),
		Challenge: f.Get("challenge")}
	for _, n := range strings.FieldsFunc(webCut(webClean(f.Get("names")), 4000), func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\r' }) {
		a.Names = append(a.Names, strings.ToLower(n))
	}
	err := q.s.cfg.SetACME(a)
	if err != nil {
		return q.againDomains(webDomainsPage{ACME: a}, "Nothing was changed: %s", err)
	}
	q.s.tls.AskAgain()
	q.log.Info("public CA", "directory", a.Directory, "by", q.user.Name)
	q.say("Saved.")
	return q.redirect("/admin/domains")
}
