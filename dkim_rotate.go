// The next DKIM keys of a domain: made, published by people, and then in the place of the old ones.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// What keeps keys from being rotated.
var (
	errDKIMNoKeys      = errors.New("it has no keys yet")
	errDKIMUnpublished = errors.New("publish it, wait until the old answer is forgotten, and rotate again")
)

// NextDKIMKeys makes the next keys, or lets them sign once their records are published. The old ones stay one round longer, for mail
// that is on its way.
func NextDKIMKeys(ctx context.Context, dns Resolver, keys []DKIMKey, domain string) ([]DKIMKey, error) {
	if len(keys) == 0 {
		return nil, errDKIMNoKeys
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
	a, err := dns.Ask(ctx, name, dnsmessage.TypeTXT)
	if err != nil && !dnsNotFound(err) {
		return nil
	}
	if !k.among(a.TXT()) {
		return fmt.Errorf("the DNS does not have the record of %s yet; %w", name, errDKIMUnpublished)
	}
	return nil
}

// among says whether one of the texts is the key's record, as far as it matters.
func (k DKIMKey) among(texts []string) bool {
	want, err := k.Record()
	if err != nil {
		return false
	}
	_, key, _ := strings.Cut(want, "p=")
	for _, t := range texts {
		if strings.Contains(dkimSqueeze(t), "p="+key) {
			return true
		}
	}
	return false
}
