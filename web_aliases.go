// The administrator's page of aliases.
package main

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// webAliases is the page of aliases.
type webAliases struct {
	webTabs
	Aliases []Alias
	Error   string
	Address string
	Targets string
	Domain  string
}

func (q *webReq) getAliases() error {
	return q.aliasesPage(http.StatusOK, webAliases{})
}

func (q *webReq) aliasesPage(status int, p webAliases) error {
	aliases, err := read(q.s.store, (*Tx).Aliases)
	if err != nil {
		return err
	}
	p.Tab, p.Domain = "aliases", q.s.cfg.DomainsNow()[0]
	p.Aliases = aliases
	return q.status(status, "admin-aliases", "Aliases", p)
}

func (q *webReq) postAliases() error {
	f := q.r.PostForm
	p := webAliases{Address: strings.TrimSpace(webClean(f.Get("address"))), Targets: webClean(f.Get("targets"))}
	switch f.Get("do") {
	case "add":
		return q.addAlias(p)
	case "remove":
		if err := q.s.store.Write(func(tx *Tx) error { return tx.RemoveAlias(p.Address) }); err != nil {
			return err
		}
		q.log.Info("alias removed", "alias", p.Address, "by", q.user.Name)
		return q.redirect("/admin/aliases")
	}
	return webErrDo
}

func (q *webReq) addAlias(p webAliases) error {
	again := func(text string, args ...any) error {
		p.Error = q.lang.F(text, args...)
		return q.aliasesPage(http.StatusUnprocessableEntity, p)
	}
	key, domain := "", ""
	if d, ok := strings.CutPrefix(p.Address, "@"); ok {
		if a, err := ParseAddr("x@" + d); err == nil {
			key, domain = "@"+a.Domain, a.Domain
		}
	} else {
		full := p.Address
		if !strings.Contains(full, "@") {
			full += "@" + q.s.cfg.DomainsNow()[0]
		}
		if a, err := ParseAddr(full); err == nil {
			key, domain = a.Key(), a.Domain
		}
	}
	switch {
	case key == "":
		return again("%s is no mail address.", p.Address)
	case !slices.Contains(q.s.cfg.DomainsNow(), domain):
		return again("This domain does not live here. The page of domains adds it.")
	}
	list, bad := q.addresses(p.Targets)
	if bad != "" {
		return again("%s is no mail address.", bad)
	}
	if len(list) == 0 {
		return again("Write the addresses that it stands for.")
	}
	var targets []string
	to, fault := q.reachable(list)
	if fault != "" {
		p.Error = fault
		return q.aliasesPage(http.StatusUnprocessableEntity, p)
	}
	for _, a := range to {
		targets = append(targets, a.Key())
	}
	err := q.s.store.Write(func(tx *Tx) error { return tx.AddAlias(key, targets...) })
	if errors.Is(err, ErrExists) {
		return again("That address is taken already.")
	}
	if err != nil {
		return err
	}
	q.log.Info("alias added", "alias", key, "by", q.user.Name)
	return q.redirect("/admin/aliases")
}
