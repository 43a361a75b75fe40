// The verb alias.
package main

import (
	"errors"
	"fmt"
	"strings"
)

func (c *command) alias(args []string) error {
	if len(args) == 0 || (args[0] == "list") != (len(args) == 1) || (args[0] == "add" && len(args) < 3) {
		return usageError{}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	if args[0] == "list" {
		return c.aliasList(st)
	}
	name, err := aliasName(cfg, args[1])
	if err != nil {
		return err
	}
	var targets []string
	for _, t := range args[2:] {
		a, err := address(cfg, t)
		if err != nil {
			return err
		}
		targets = append(targets, a.Key())
	}
	switch args[0] {
	case "add":
		err := st.Write(func(tx *Tx) error { return tx.AddAlias(name, targets...) })
		if errors.Is(err, ErrExists) {
			return fmt.Errorf("%s is a user; `postino user rm` first, or make a filter in web mail that sends copies on", name)
		}
		if err != nil {
			return err
		}
		return c.aliasNowhere(cfg, st, targets)
	case "rm":
		err := st.Write(func(tx *Tx) error { return tx.RemoveAlias(name, targets...) })
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("there is no such alias; `postino alias list` shows what there is")
		}
		return err
	}
	return usageError{fmt.Sprintf("`alias %s` is nothing I know", strings.Join(args, " "))}
}

// aliasNowhere says which targets lead to nobody yet: the alias is there all the same, for the user may be made next.
func (c *command) aliasNowhere(cfg *Config, st *Store, targets []string) error {
	return st.Read(func(tx *Tx) error {
		for _, t := range targets {
			_, domain, _ := strings.Cut(t, "@")
			if !cfg.Local(domain) {
				continue
			}
			to, err := tx.AliasTargets(t)
			if err == nil && len(to) == 0 {
				to, err = tx.AliasTargets("@" + domain)
			}
			if err == nil && len(to) == 0 {
				_, err = tx.UserByName(t)
			}
			switch {
			case errors.Is(err, ErrNotFound):
				fmt.Fprintf(c.err, "postino alias: nobody has %s yet; `postino user add` makes the user\n", t)
			case err != nil:
				return err
			}
		}
		return nil
	})
}

// aliasName is an address of a domain of ours, or "@domain".
func aliasName(cfg *Config, s string) (string, error) {
	catchAll := strings.HasPrefix(s, "@")
	if catchAll {
		s = "x" + s
	}
	a, err := address(cfg, s)
	if err != nil {
		return "", err
	}
	if !cfg.Local(a.Domain) {
		return "", fmt.Errorf("%s is none of our domains (%s); `postino domain add` makes it one", a.Domain, strings.Join(cfg.DomainsNow(), ", "))
	}
	if catchAll {
		return "@" + a.Domain, nil
	}
	return a.Key(), nil
}

// listedAlias is an alias in `alias list -json`.
type listedAlias struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}

func (c *command) aliasList(st *Store) error {
	all, err := read(st, (*Tx).Aliases)
	if err != nil {
		return err
	}
	if c.json {
		list := []listedAlias{}
		for _, a := range all {
			list = append(list, listedAlias(a))
		}
		return c.printJSON(list)
	}
	for _, a := range all {
		fmt.Fprintf(c.out, "%-32s %s\n", a.Address, strings.Join(a.Targets, " "))
	}
	return nil
}
