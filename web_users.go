// The administrator's pages of users.
package main

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// webUsers is the list of users.
type webUsers struct {
	webTabs
	Users  []webUserRow
	Domain string
	Min    int
	Error  string
	Name   string
	Shown  string // the name that letters carry
}

type webUserRow struct {
	User
	Used, Messages int64
	Devices        int
	Second         bool
}

func (q *webReq) getUsers() error { return q.usersPage(http.StatusOK, webUsers{}) }

func (q *webReq) usersPage(status int, p webUsers) error {
	p.Tab, p.Domain, p.Min = "users", q.s.cfg.DomainsNow()[0], passwordLeast
	err := q.s.store.Read(func(tx *Tx) error {
		p.Users = nil
		all, err := tx.Users()
		for _, u := range all {
			r := webUserRow{User: u}
			if err == nil {
				r.Used, r.Messages, err = tx.Used(u.ID)
			}
			p.Users = append(p.Users, r)
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.status(status, "admin-users", "Users", p)
}

// postUsers makes a user.
func (q *webReq) postUsers() error {
	f := q.r.PostForm
	name := strings.TrimSpace(f.Get("name"))
	again := func(text string) error {
		return q.usersPage(http.StatusUnprocessableEntity, webUsers{Name: name, Shown: webClean(f.Get("shown")), Error: q.lang.T(text)})
	}
	full := name
	if !strings.Contains(full, "@") {
		full += "@" + q.s.cfg.DomainsNow()[0]
	}
	a, err := ParseAddr(full)
	switch {
	case err != nil || name == "":
		return again("This name can't be used in an address. Use letters, digits, dots and dashes.")
	case !slices.Contains(q.s.cfg.DomainsNow(), a.Domain):
		return again("This domain does not live here. The page of domains adds it.")
	case PasswordFault(f.Get("password"), a, passwordLeast) != "":
		return again(PasswordFault(f.Get("password"), a, passwordLeast))
	}
	quota, err := webMegabytes(f.Get("quota"))
	if err == nil {
		err = q.fits(webMost{"shown", 200})
	}
	if err == nil && f.Get("admin") != "" {
		err = q.checkOwn()
	}
	if err != nil {
		return err
	}
	secret, err := q.s.auth.Secret(f.Get("password"))
	if err != nil {
		return err
	}
	err = q.s.store.Write(func(tx *Tx) error {
		u, err := tx.AddUser(a, secret, f.Get("admin") != "")
		if err == nil {
			u.Quota = quota
			err = tx.UpdateUser(u)
		}
		if err == nil {
			err = webNameUser(tx, u, f.Get("shown"))
		}
		return err
	})
	if errors.Is(err, ErrExists) {
		return again("That address is taken already.")
	}
	if err != nil {
		return err
	}
	q.log.Info("user added", "user", a.Key(), "by", q.user.Name)
	q.say("%s can log in now.", a.Key())
	return q.redirect("/admin/users")
}

// webNameUser gives a new user the name that letters carry, if there is one.
func webNameUser(tx *Tx, u User, name string) error {
	name = strings.TrimSpace(webClean(name))
	if name == "" {
		return nil
	}
	return tx.SetPreference(u.ID, PrefIdentity, []webIdentity{{Name: name, Address: u.Name}})
}

// webMegabytes reads a quota: megabytes, nothing for none.
func webMegabytes(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<30 {
		return 0, webFault(http.StatusUnprocessableEntity, "The quota is a number of megabytes, or empty for none.")
	}
	return n << 20, nil
}

// webUserPage is the page of one user.
type webUserPage struct {
	webTabs
	webUserRow
	Min   int
	Error string
	Self  bool
}

// QuotaMB is the quota as the form has it.
func (p webUserPage) QuotaMB() int64 { return p.Quota >> 20 }

func (q *webReq) userPage(status int, fault string) error {
	p := webUserPage{webTabs: webTabs{"users"}, Min: passwordLeast, Error: fault}
	id := webID[UserID](q.r.PathValue("id"))
	err := q.s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByID(id)
		if err != nil {
			return err
		}
		p.User = u
		p.Used, p.Messages, err = tx.Used(id)
		if err != nil {
			return err
		}
		p.Second, err = tx.HasPreference(id, PrefTOTP)
		if err != nil {
			return err
		}
		devices, err := tx.AppPasswords(id)
		p.Devices = len(devices)
		return err
	})
	if err != nil {
		return err
	}
	p.Self = p.ID == q.user.ID
	return q.status(status, "admin-user", p.Name, p)
}

func (q *webReq) getUser() error { return q.userPage(http.StatusOK, "") }

// postUser changes a user. Nobody can take the administration away from themselves, so that one is always left.
func (q *webReq) postUser() error {
	f := q.r.PostForm
	id := webID[UserID](q.r.PathValue("id"))
	do := f.Get("do")
	if id == q.user.ID && (do == "remove" || (do == "save" && (f.Get("admin") == "" || f.Get("disabled") != ""))) {
		return q.userPage(http.StatusUnprocessableEntity, q.lang.T("You can't do this to yourself: nobody would be left to undo it."))
	}
	if err := q.mayChange(id, do); err != nil {
		return err
	}
	secret := ""
	if do == "password" {
		u, err := read(q.s.store, func(tx *Tx) (User, error) { return tx.UserByID(id) })
		if err != nil {
			return err
		}
		own, err := ParseAddr(u.Name)
		if err != nil {
			return err
		}
		if fault := PasswordFault(f.Get("password"), own, passwordLeast); fault != "" {
			return q.userPage(http.StatusUnprocessableEntity, q.lang.T(fault))
		}
		secret, err = q.s.auth.Secret(f.Get("password"))
		if err != nil {
			return err
		}
	}
	if do == "remove" && f.Get("sure") == "" {
		return q.page("confirm", "Are you sure?", webConfirm{Question: q.lang.T("Remove this user with all mail? This can't be undone."), Button: q.lang.T("Remove"),
			Action: q.r.URL.Path, Back: q.r.URL.Path, Fields: [][2]string{{"do", "remove"}, {"sure", "1"}}})
	}
	var u User
	err := q.s.store.Write(func(tx *Tx) error {
		var err error
		u, err = tx.UserByID(id)
		if err != nil {
			return err
		}
		return q.changeUser(tx, u, do, secret)
	})
	if err != nil {
		return err
	}
	q.log.Info("user changed", "user", u.Name, "what", do, "by", q.user.Name)
	q.say("Saved.")
	if do == "remove" {
		return q.redirect("/admin/users")
	}
	return q.redirect(q.r.URL.Path)
}

// mayChange asks an administrator for the own password before another one is made, and before their own is replaced without
// the one before; their own second factor is turned off in the settings, where a code is asked for.
func (q *webReq) mayChange(id UserID, do string) error {
	switch {
	case id == q.user.ID && do == "second":
		return webFault(http.StatusUnprocessableEntity, "Change it on the page of your own settings.")
	case id == q.user.ID && do == "password":
		return q.checkOwn()
	case do == "save" && q.r.PostForm.Get("admin") != "":
		u, err := read(q.s.store, func(tx *Tx) (User, error) { return tx.UserByID(id) })
		if err != nil || u.Admin {
			return err
		}
		return q.checkOwn()
	}
	return nil
}

func (q *webReq) changeUser(tx *Tx, u User, do, secret string) error {
	f := q.r.PostForm
	switch do {
	case "save":
		quota, err := webMegabytes(f.Get("quota"))
		if err != nil {
			return err
		}
		u.Admin, u.Disabled, u.Quota = f.Get("admin") != "", f.Get("disabled") != "", quota
		if err := tx.UpdateUser(u); err != nil || !u.Disabled {
			return err
		}
		return endLogins(tx, u.ID, EndDisabled, nil)
	case "password":
		u.Secret = secret
		if err := tx.UpdateUser(u); err != nil {
			return err
		}
		return endLogins(tx, u.ID, EndReset, q.session.Hash)
	case "second":
		if err := tx.SetPreference(u.ID, PrefTOTP, nil); err != nil {
			return err
		}
		return endLogins(tx, u.ID, EndFactorOff, q.session.Hash)
	case "logout":
		return endLogins(tx, u.ID, EndEverywhere, q.session.Hash)
	case "remove":
		return tx.RemoveUser(u.ID)
	}
	return webErrDo
}
