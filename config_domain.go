// Domains that come and go while the appliance runs: they are in mail.toml, and whoever changes it there, by hand, page or verb, is heard.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const configLook = 2 * time.Second // between looks whether mail.toml has changed

// What keeps a domain from being added or removed.
var (
	errDomainHere  = errors.New("it is one of our domains already")
	errDomainGone  = errors.New("it is none of our domains")
	errDomainLast  = errors.New("it is the only domain, and there must be one")
	errDomainInUse = errors.New("people or aliases have addresses in it; remove or rename those first")
)

// AddDomain adds a domain to mail.toml and returns it in the form that addresses have.
func (c *Config) AddDomain(name string) (string, error) {
	a, err := ParseAddr("x@" + strings.TrimSpace(name))
	if err != nil || strings.HasPrefix(a.Domain, "[") {
		return "", fmt.Errorf("%q is no domain; write one such as \"example.org\"", name)
	}
	all := c.DomainsNow()
	if slices.Contains(all, a.Domain) {
		return a.Domain, errDomainHere
	}
	return a.Domain, c.SetDomains(append(slices.Clone(all), a.Domain))
}

// RemoveDomain takes a domain out of mail.toml in which nobody has an address any more. Its DKIM keys stay in the file.
func (c *Config) RemoveDomain(store *Store, name string) error {
	d, err := ParseDomain(strings.TrimSpace(name))
	all := c.DomainsNow()
	switch {
	case err != nil || !slices.Contains(all, d):
		return errDomainGone
	case len(all) == 1:
		return errDomainLast
	}
	used, err := read(store, func(tx *Tx) (bool, error) { return domainInUse(tx, d) })
	if err != nil {
		return err
	}
	if used && d != c.Hostname {
		return errDomainInUse
	}
	return c.SetDomains(slices.DeleteFunc(slices.Clone(all), func(x string) bool { return x == d }))
}

// domainInUse says whether somebody has an address in a domain.
func domainInUse(tx *Tx, domain string) (bool, error) {
	users, err := tx.Users()
	if err != nil {
		return false, err
	}
	for _, u := range users {
		masks, err := tx.Masks(u.ID)
		if err != nil || strings.HasSuffix(u.Name, "@"+domain) {
			return true, err
		}
		if slices.ContainsFunc(masks, func(m Mask) bool { return strings.HasSuffix(m.Address, "@"+domain) }) {
			return true, nil
		}
	}
	aliases, err := tx.Aliases()
	return slices.ContainsFunc(aliases, func(a Alias) bool { return strings.HasSuffix(a.Address, "@"+domain) }), err
}

// configStamp is what tells one state of the file from another.
func configStamp(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	inode := uint64(0)
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		inode = uint64(sys.Ino)
	}
	return fmt.Sprint(st.ModTime().UnixNano(), " ", st.Size(), " ", inode)
}

// Follow takes over what may change, whenever the file has changed or wake says to look, until stop is closed. fn is called then with true
// if something is different now, and with what is wrong if the file can't be used: all stays as it is then.
func (c *Config) Follow(stop <-chan struct{}, wake <-chan os.Signal, fn func(changed bool, err error)) {
	if c.file == "" {
		return
	}
	tick := time.NewTicker(configLook)
	defer tick.Stop()
	seen := c.stamp
	for {
		again := false
		select {
		case <-stop:
			return
		case <-wake:
			again = true
		case <-tick.C:
		}
		stamp := configStamp(c.file)
		if stamp == "" || (stamp == seen && !again) {
			continue
		}
		seen = stamp
		fresh, err := LoadConfig(c.file)
		if err != nil {
			fn(false, err)
			continue
		}
		fn(c.Adopt(fresh), nil)
	}
}
