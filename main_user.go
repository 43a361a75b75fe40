// The verbs for users and aliases.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

func (c *command) user(args []string) error {
	if len(args) == 1 && args[0] == "list" {
		return c.userList()
	}
	if len(args) != 2 && !(len(args) == 3 && args[0] == "quota") {
		return usageError{}
	}
	cfg, st, addr, err := c.openFor(args[1])
	if err != nil {
		return err
	}
	defer st.Close()
	switch args[0] {
	case "add":
		return c.userAdd(cfg, st, addr)
	case "passwd":
		return c.userPasswd(cfg, st, addr)
	case "quota":
		if len(args) != 3 {
			return usageError{"how much? 500MB, or 0 for no limit"}
		}
		var size Size
		if err := size.UnmarshalTOML(args[2]); err != nil {
			return usageError{err.Error()}
		}
		return userFault(addr, st.Write(func(tx *Tx) error {
			u, err := tx.UserByName(addr.Key())
			if err != nil {
				return err
			}
			u.Quota = int64(size)
			return tx.UpdateUser(u)
		}))
	case "rm":
		return userFault(addr, st.Write(func(tx *Tx) error {
			u, err := tx.UserByName(addr.Key())
			if err != nil {
				return err
			}
			return tx.RemoveUser(u.ID)
		}))
	}
	return usageError{fmt.Sprintf("`user %s` is nothing I know", strings.Join(args, " "))}
}

func userFault(addr Addr, err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("there is no user %s; `postino user list` shows who there is", addr)
	}
	return err
}

// userAdd makes a user. The first one may administer the appliance.
func (c *command) userAdd(cfg *Config, st *Store, addr Addr) error {
	if !cfg.Local(addr.Domain) {
		return fmt.Errorf("%s is none of our domains (%s); `postino domain add` makes it one", addr.Domain, strings.Join(cfg.DomainsNow(), ", "))
	}
	secret, err := c.newSecret(cfg, st, addr)
	if err != nil {
		return err
	}
	var u User
	err = st.Write(func(tx *Tx) error {
		all, err := tx.Users()
		if err != nil {
			return err
		}
		u, err = tx.AddUser(addr, secret, len(all) == 0)
		return err
	})
	if errors.Is(err, ErrExists) && st.Read(func(tx *Tx) error { _, err := tx.UserByName(addr.Key()); return err }) != nil {
		return fmt.Errorf("%s is an alias; `postino alias rm %s` first", addr, addr)
	}
	if errors.Is(err, ErrExists) {
		return fmt.Errorf("%s is there already; `postino user passwd` gives a new password", addr)
	}
	if err == nil && u.Admin {
		fmt.Fprintf(c.out, "%s is the first user and may administer the appliance.\n", addr)
	}
	return err
}

// newSecret asks for a new password and returns what is stored for it.
func (c *command) newSecret(cfg *Config, st *Store, addr Addr) (string, error) {
	pw, err := c.password()
	if err != nil {
		return "", err
	}
	if utf8.RuneCountInString(pw) < passwordLeastVerb {
		return "", fmt.Errorf("the password needs at least %d characters", passwordLeastVerb)
	}
	if fault := PasswordFault(pw, addr, passwordLeastVerb); fault != "" {
		return "", errors.New(fault)
	}
	return NewAuth(cfg, st).Secret(pw)
}

func (c *command) userPasswd(cfg *Config, st *Store, addr Addr) error {
	err := st.Read(func(tx *Tx) error { _, err := tx.UserByName(addr.Key()); return err })
	if err != nil {
		return userFault(addr, err)
	}
	secret, err := c.newSecret(cfg, st, addr)
	if err != nil {
		return err
	}
	var apps []AppPassword
	err = st.Write(func(tx *Tx) error {
		u, err := tx.UserByName(addr.Key())
		if err != nil {
			return err
		}
		apps, err = tx.AppPasswords(u.ID)
		if err != nil {
			return err
		}
		u.Secret = secret
		if err := tx.UpdateUser(u); err != nil {
			return err
		}
		return endLogins(tx, u.ID, EndReset, nil)
	})
	if err == nil && len(apps) > 0 {
		fmt.Fprintf(c.out, "%s is logged out everywhere; %d app passwords are void.\n", addr, len(apps))
	}
	return userFault(addr, err)
}

// listedUser is a user in `user list -json`.
type listedUser struct {
	Address  string `json:"address"`
	Admin    bool   `json:"admin"`
	Disabled bool   `json:"disabled"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"`
	Quota    int64  `json:"quota"`
}

func (c *command) userList() error {
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	list := []listedUser{}
	err = st.Read(func(tx *Tx) error {
		users, err := tx.Users()
		for _, u := range users {
			bytes, n, uerr := tx.Used(u.ID)
			err = errors.Join(err, uerr)
			list = append(list, listedUser{u.Name, u.Admin, u.Disabled, n, bytes, u.Quota})
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	for _, u := range list {
		note := ""
		if u.Admin {
			note = "  administrator"
		}
		if u.Disabled {
			note += "  disabled"
		}
		fmt.Fprintf(c.out, "%-32s %7d messages %8.1f MB%s\n", u.Address, u.Messages, float64(u.Bytes)/(1<<20), note)
	}
	return nil
}

func (c *command) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// setupLink prints a link that makes an administrator, also for somebody who has forgotten the password.
func (c *command) setupLink(args []string) error {
	if len(args) > 0 {
		return usageError{}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	links, err := webSetupLinks(cfg, st)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, strings.Join(links, "\n"))
	t, err := LoadTLS(cfg, st, c.logger())
	if err == nil {
		fmt.Fprint(c.out, "\n", fingerprintWords(t))
	}
	return err
}
