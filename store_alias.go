// Aliases, and whom a plain local address is known to lead to.
package main

import (
	"errors"
	"fmt"
	"strings"
)

// maxKnown is how many addresses are remembered.
const maxKnown = 1_000

// Known returns whom an address was found to lead to, if no user, alias or preference has changed since: mail comes for the
// same few people again and again, and asking the file is a third of a session's computing for a message. What another process
// changes counts within dataVersion. What is not known is to be looked up and given to Remember, with the number
// beside it.
func (s *Store) Known(a Addr) (User, int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.usersChanged.Load()
	if now != s.knownAt {
		return User{}, now, false
	}
	u, ok := s.known[a]
	return u, now, ok
}

// Remember keeps in mind whom an address leads to, as it was when Known returned that number.
func (s *Store) Remember(a Addr, u User, number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number < s.knownAt {
		return
	}
	if number > s.knownAt || len(s.known) >= maxKnown {
		s.knownAt, s.known = number, map[Addr]User{}
	}
	s.known[a] = u
}

// Alias is an address that stands for others. "@domain" catches what no user or alias of the domain has.
type Alias struct {
	Address string
	Targets []string // addresses, local or remote
}

// AliasTargets returns what the address stands for; none if it is no alias.
func (tx *Tx) AliasTargets(address string) ([]string, error) {
	return column[string](tx, `SELECT target FROM aliases WHERE address=? ORDER BY target`, address)
}

// Aliases lists all aliases, by address.
func (tx *Tx) Aliases() ([]Alias, error) {
	var all []Alias
	err := tx.each(`SELECT address,target FROM aliases ORDER BY address,target`, nil, func(scan func(...any) error) error {
		var a, t string
		if err := scan(&a, &t); err != nil {
			return err
		}
		if n := len(all); n > 0 && all[n-1].Address == a {
			all[n-1].Targets = append(all[n-1].Targets, t)
		} else {
			all = append(all, Alias{a, []string{t}})
		}
		return nil
	})
	return all, err
}

// AddAlias adds targets to an alias, which it makes if need be. ErrExists if the address is a user's, or masks one.
func (tx *Tx) AddAlias(address string, targets ...string) error {
	if !strings.HasPrefix(address, "@") {
		if _, err := tx.UserByName(address); !errors.Is(err, ErrNotFound) {
			return errors.Join(err, fmt.Errorf("%s is a user: %w", address, ErrExists))
		}
		if _, _, err := tx.Masked(address); !errors.Is(err, ErrNotFound) {
			return errors.Join(err, fmt.Errorf("%s is somebody's masked address: %w", address, ErrExists))
		}
	}
	tx.usersChanged = true
	for _, t := range targets {
		if _, err := tx.exec(`INSERT OR IGNORE INTO aliases(address,target) VALUES(?,?)`, address, t); err != nil {
			return err
		}
	}
	return nil
}

// RemoveAlias removes the given targets from an alias, or the whole alias when none are given. ErrNotFound if there is
// none of them.
func (tx *Tx) RemoveAlias(address string, targets ...string) error {
	tx.usersChanged = true
	if len(targets) == 0 {
		return tx.changeOne(`DELETE FROM aliases WHERE address=?`, address)
	}
	var removed int64
	for _, t := range targets {
		n, err := tx.exec(`DELETE FROM aliases WHERE address=? AND target=?`, address, t)
		if err != nil {
			return err
		}
		removed += n
	}
	if removed == 0 {
		return ErrNotFound
	}
	return nil
}
