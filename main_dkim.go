// The verb dkim: keys that sign a domain's mail, and the DNS records with which others check it.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
		return "", fmt.Errorf("%s is none of our domains (%s); `postino domain add` makes it one", name, strings.Join(cfg.DomainsNow(), ", "))
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

// dkimRotate is NextDKIMKeys in the words of the verb.
func (c *command) dkimRotate(cfg *Config, domain string, keys []DKIMKey) ([]DKIMKey, error) {
	ctx, cancel := context.WithTimeout(context.Background(), checkDNS)
	defer cancel()
	all, err := NextDKIMKeys(ctx, NewResolver(cfg.DNS.Servers, cfg.DNS.TrustAD), keys, domain)
	if errors.Is(err, errDKIMNoKeys) {
		return nil, fmt.Errorf("%s has no keys; `postino dkim %s make` makes the first ones", domain, domain)
	}
	return all, err
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
