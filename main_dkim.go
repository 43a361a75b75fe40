// The verb dkim: keys that sign a domain's mail, and the DNS records with which others check it.
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

func (c *command) dkim(args []string) error {
	if len(args) == 0 || len(args) > 2 {
		return usageError{}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	domain, err := dkimDomain(cfg, args[0])
	if err != nil {
		return err
	}
	what := "show"
	if len(args) == 2 {
		what = args[1]
	}
	keys, err := read(st, func(tx *Tx) ([]DKIMKey, error) { return tx.DKIMKeys(domain) })
	if err != nil {
		return err
	}
	switch what {
	case "show":
		return c.dkimShow(domain, keys)
	case "make":
		if len(keys) > 0 {
			return fmt.Errorf("%s has keys; `postino dkim %s rotate` makes new ones", domain, domain)
		}
		keys, err = NewDKIMKeys(1, DKIMActive)
	case "rotate":
		keys, err = c.dkimRotate(cfg, domain, keys)
	default:
		return usageError{fmt.Sprintf("`dkim %s` is nothing I know", strings.Join(args, " "))}
	}
	if err != nil {
		return err
	}
	err = st.Write(func(tx *Tx) error { return tx.SetDKIMKeys(domain, keys) })
	if err != nil {
		return err
	}
	return c.dkimShow(domain, keys)
}

// dkimDomain is a domain of ours that others can ask the DNS about, in A-labels.
func dkimDomain(cfg *Config, name string) (string, error) {
	d, err := ParseDomain(name)
	if err != nil || !slices.Contains(cfg.DomainsNow(), d) {
		return "", fmt.Errorf("%s is none of our domains (%s); add it to domains in mail.toml", name, strings.Join(cfg.DomainsNow(), ", "))
	}
	d, err = DomainToASCII(d)
	if err != nil {
		return "", err
	}
	if lanName(d) {
		return "", fmt.Errorf("%s means something in this network only: nobody elsewhere could look its record up, so its mail is not signed", d)
	}
	return d, nil
}

// dkimRotate makes the next keys, or lets them sign once their records are published. The old ones stay one round longer, for mail
// that is on its way.
func (c *command) dkimRotate(cfg *Config, domain string, keys []DKIMKey) ([]DKIMKey, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no keys; `postino dkim %s make` makes the first ones", domain, domain)
	}
	var next []DKIMKey
	most := 0
	for _, k := range keys {
		var n int
		fmt.Sscanf(k.Selector, "postino%d", &n)
		most = max(most, n)
		if k.State == DKIMNext {
			next = append(next, k)
		}
	}
	if len(next) == 0 {
		made, err := NewDKIMKeys(most+1, DKIMNext)
		return append(keys, made...), err
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkDNS)
	defer cancel()
	dns := NewResolver(cfg.DNS.Servers, cfg.DNS.TrustAD)
	var all []DKIMKey
	for _, k := range keys {
		switch k.State {
		case DKIMOld:
			continue
		case DKIMActive:
			k.State = DKIMOld
		case DKIMNext:
			err := dkimPublished(ctx, dns, k, domain)
			if err != nil {
				return nil, err
			}
			k.State = DKIMActive
		}
		all = append(all, k)
	}
	return all, nil
}

// dkimPublished is an error if the DNS answers, and not with a key's record. Where no DNS answers, the administrator is believed.
func dkimPublished(ctx context.Context, dns Resolver, k DKIMKey, domain string) error {
	name := k.Selector + "._domainkey." + domain
	want, err := k.Record()
	if err != nil {
		return err
	}
	a, err := dns.Ask(ctx, name, dnsmessage.TypeTXT)
	if err != nil && !dnsNotFound(err) {
		return nil
	}
	_, key, _ := strings.Cut(want, "p=")
	for _, t := range a.TXT() {
		if strings.Contains(dkimSqueeze(t), "p="+key) {
			return nil
		}
	}
	return fmt.Errorf("the DNS does not have the record of %s yet; publish it, wait until the old answer is forgotten, and rotate again", name)
}

// dkimShown is a key in `dkim -json`.
type dkimShown struct {
	State  string `json:"state"`
	Name   string `json:"name"`
	Record string `json:"record"`
}

// dkimShow prints the records to publish. A text of more than 255 octets is cut into strings, as zone files want it.
func (c *command) dkimShow(domain string, keys []DKIMKey) error {
	list := []dkimShown{}
	for _, k := range keys {
		r, err := k.Record()
		if err != nil {
			return err
		}
		list = append(list, dkimShown{k.State, k.Selector + "._domainkey." + domain, r})
	}
	if c.json {
		return c.printJSON(list)
	}
	if len(list) == 0 {
		fmt.Fprintf(c.out, "%s has no keys, and its mail is not signed; `postino dkim %s make` makes them\n", domain, domain)
		return nil
	}
	words := map[string]string{DKIMActive: "signs", DKIMNext: "is to sign next: publish it, and `rotate` again", DKIMOld: "has signed: keep it for a week"}
	for _, k := range list {
		fmt.Fprintf(c.out, "; %s\n%s. TXT", words[k.State], k.Name)
		for rest := k.Record; rest != ""; {
			n := min(len(rest), 255)
			fmt.Fprintf(c.out, " %q", rest[:n])
			rest = rest[n:]
		}
		fmt.Fprintln(c.out)
	}
	return nil
}
