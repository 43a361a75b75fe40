// Settings: names and signatures, rules, password, second factor, sessions, and mailboxes in and out.
package main

import (
	"cmp"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	webMaxIdentities = 20
	webMaxSignature  = 10_000   // characters of a signature
	webMaxAway       = 50_000   // characters of an automatic answer
	webMaxShown      = 1_000    // senders whose pictures are always shown
	webMaxImport     = 16 << 30 // octets of an import
	webMaxArchive    = 4 << 30  // octets of an imported archive, which needs a copy on the disk
	webMaxListing    = 8 << 20  // octets of an archive's list of files, which takes some five times that in memory
)

func webSettingsRoutes() []webRoute {
	return []webRoute{
		{"GET /settings", webLoggedIn, (*webReq).getSettings},
		{"GET /settings/{part}", webLoggedIn, (*webReq).getSettings},
		{"POST /settings/zone", webLoggedIn, (*webReq).postZone},
		{"POST /settings/identities", webLoggedIn, (*webReq).postIdentities},
		{"POST /settings/masks", webLoggedIn, (*webReq).postMasks},
		{"POST /settings/forward", webLoggedIn, (*webReq).postForward},
		{"POST /settings/vacation", webLoggedIn, (*webReq).postVacation},
		{"POST /settings/filters", webLoggedIn, (*webReq).postFilters},
		{"POST /settings/script", webLoggedIn, (*webReq).postScript},
		{"POST /settings/junk", webLoggedIn, (*webReq).postJunk},
		{"POST /settings/password", webLoggedIn, (*webReq).postPassword},
		{"POST /settings/totp", webLoggedIn, (*webReq).postTOTP},
		{"POST /settings/sessions", webLoggedIn, (*webReq).postSessions},
		{"POST /settings/pictures", webLoggedIn, (*webReq).postForgetPictures},
		{"GET /settings/export", webLoggedIn, (*webReq).getExport},
		{"POST /settings/import", webLoggedIn | webWithFiles, (*webReq).postImport},
	}
}

// webSettings is what every page of the settings has.
type webSettings struct {
	Part  string // which tab it is
	Error string // what was wrong with the form that came
}

// webGeneralPage is the first tab: how the pages look, and names to write under.
type webGeneralPage struct {
	webSettings
	Identities []webIdentity
	Zones      []string // to choose from
	Now        string   // in the reader's zone
}

// webRulesPage is the tab of what happens to new mail.
type webRulesPage struct {
	webSettings
	Forward  string // addresses, as they are typed
	Keep     bool   // a copy of what is forwarded
	Vacation Vacation
	Filters  webFilters
	Targets  []webFolder
	JunkOff  bool
	Taught   JunkState
}

// webSecurityPage is the tab of the password, the second factor and the browsers that are logged in.
type webSecurityPage struct {
	webSettings
	Min      int  // characters of a password
	TOTP     bool // the second factor is on
	Sessions []WebSession
	Current  string   // this browser's session
	Pictures []string // senders whose pictures are shown
}

// webDataPage is the tab of import and export.
type webDataPage struct {
	webSettings
	Targets []webFolder
}

// webTOTPPage is where a second factor is set up: first Secret and QR, then Spare.
type webTOTPPage struct {
	Secret string
	QR     template.URL
	Spare  []string // codes to be kept on paper, shown once
	Error  string
}

func (q *webReq) getSettings() error {
	return q.settings(http.StatusOK, cmp.Or(q.r.PathValue("part"), "general"), "")
}

// settings shows one part, with an error in it if there is one.
func (q *webReq) settings(status int, part, fault string) error {
	head := webSettings{part, fault}
	var page any
	var err error
	switch part {
	case "general":
		p := webGeneralPage{webSettings: head, Zones: webZones, Now: q.lang.Long(q.s.store.Now())}
		p.Identities, err = q.identities()
		page = p
	case "rules":
		page, err = read(q.s.store, func(tx *Tx) (webRulesPage, error) { return q.rulesPage(tx, head) })
	case "script":
		page, err = read(q.s.store, func(tx *Tx) (webScriptPage, error) { return q.scriptPage(tx, head) })
	case "security":
		page, err = read(q.s.store, func(tx *Tx) (webSecurityPage, error) { return q.securityPage(tx, head) })
	case "masks":
		page, err = read(q.s.store, func(tx *Tx) (webMasksPage, error) { return q.masksPage(tx, head) })
	case "data":
		p := webDataPage{webSettings: head}
		p.Targets, err = read(q.s.store, q.folders)
		page = p
	default:
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return q.status(status, "settings-"+part, "Settings", page)
}

func (q *webReq) rulesPage(tx *Tx, head webSettings) (webRulesPage, error) {
	p := webRulesPage{webSettings: head}
	rules, err := tx.Rules(q.user.ID)
	if err != nil {
		return p, err
	}
	p.JunkOff, err = tx.HasPreference(q.user.ID, PrefJunkOff)
	if err != nil {
		return p, err
	}
	p.Taught, err = tx.JunkState(q.user.ID)
	if err != nil {
		return p, err
	}
	p.Targets, err = q.folders(tx)
	if err == nil && rules != nil {
		p.Forward, p.Keep, p.Vacation = strings.Join(rules.Forward.To, ", "), rules.Forward.Keep, rules.Vacation
	}
	if err == nil {
		p.Filters, err = q.filters(tx, p.Targets)
	}
	return p, err
}

func (q *webReq) securityPage(tx *Tx, head webSettings) (webSecurityPage, error) {
	second, err := tx.HasPreference(q.user.ID, PrefTOTP)
	p := webSecurityPage{webSettings: head, Current: q.session.Name(), Min: passwordLeast, TOTP: second}
	if err != nil {
		return p, err
	}
	err = tx.Preference(q.user.ID, PrefPictures, &p.Pictures)
	if err != nil {
		return p, err
	}
	p.Sessions, err = tx.WebSessions(q.user.ID)
	return p, err
}

// keep stores a preference and comes back to its part.
func (q *webReq) keep(part, key string, v any) error {
	if err := q.s.store.Write(func(tx *Tx) error { return tx.SetPreference(q.user.ID, key, v) }); err != nil {
		return err
	}
	q.say("Saved.")
	return q.redirect("/settings/" + part)
}

// webMost is a field and how many characters it may have.
type webMost struct {
	field string
	most  int
}

// fits sees that no field of the form is longer than it may be. A field that is cut in silence would be worse than one that is refused.
func (q *webReq) fits(all ...webMost) error {
	for _, m := range all {
		for _, v := range q.r.PostForm[m.field] {
			if utf8.RuneCountInString(strings.ReplaceAll(v, "\r\n", "\n")) > m.most {
				return webFault(http.StatusUnprocessableEntity, "What you have written is too long for its field. Nothing was changed.")
			}
		}
	}
	return nil
}

// postIdentities takes the list of names, addresses and signatures. An address must lead to the user.
func (q *webReq) postIdentities() error {
	f := q.r.PostForm
	if err := q.fits(webMost{"name", 200}, webMost{"signature", webMaxSignature}); err != nil {
		return err
	}
	had, err := q.identities()
	if err != nil {
		return err
	}
	var all []webIdentity
	for i, text := range f["address"] {
		if i >= len(f["name"]) || i >= len(f["signature"]) {
			return webErrDo
		}
		text = strings.TrimSpace(webClean(text))
		x := webIdentity{strings.TrimSpace(webClean(f["name"][i])), text, strings.ReplaceAll(f["signature"][i], "\r\n", "\n")}
		if text == "" {
			if x.Name+strings.TrimSpace(x.Signature) != "" && i >= len(had) { // one that was there is removed like that
				return q.settings(http.StatusUnprocessableEntity, "general", q.lang.T("That is no address."))
			}
			continue
		}
		if len(all) == webMaxIdentities {
			return ErrTooMany
		}
		a, err := ParseAddr(text)
		if err != nil {
			return q.settings(http.StatusUnprocessableEntity, "general", q.lang.F("%s is no mail address.", text))
		}
		ok, err := q.s.owns(q.user, a)
		if err != nil {
			return err
		}
		if !ok {
			return q.settings(http.StatusUnprocessableEntity, "general", q.lang.F("%s is not yours. The administrator can make it an alias of yours.", text))
		}
		x.Address = a.Key()
		all = append(all, x)
	}
	if len(all) == 0 {
		return q.keep("general", PrefIdentity, nil)
	}
	return q.keep("general", PrefIdentity, all)
}

func (q *webReq) postForward() error {
	list, bad := q.addresses(webClean(q.r.PostForm.Get("to")))
	f := Forward{Keep: q.r.PostForm.Get("keep") != ""}
	to, fault := q.reachable(list)
	for _, a := range to {
		if a.Key() != q.user.Name {
			f.To = append(f.To, a.Key())
		}
	}
	switch {
	case bad != "":
		fault = q.lang.F("%s is no mail address.", bad)
	case len(f.To) > maxForwards:
		fault = q.lang.F("That are too many addresses; %d are allowed.", maxForwards)
	}
	if fault != "" {
		return q.settings(http.StatusUnprocessableEntity, "rules", fault)
	}
	var had Forward
	if err := q.s.store.Read(func(tx *Tx) error { return tx.Preference(q.user.ID, PrefForward, &had) }); err != nil {
		return err
	}
	if slices.ContainsFunc(f.To, func(a string) bool { return !slices.Contains(had.To, a) }) {
		if err := q.checkOwn(); err != nil {
			return err
		}
	}
	if len(f.To) == 0 {
		return q.keep("rules", PrefForward, nil)
	}
	return q.keep("rules", PrefForward, f)
}

func (q *webReq) postVacation() error {
	f := q.r.PostForm
	if err := q.fits(webMost{"subject", 200}, webMost{"text", webMaxAway}); err != nil {
		return err
	}
	v := Vacation{On: f.Get("on") != "", Subject: strings.TrimSpace(webClean(f.Get("subject"))),
		Text: strings.ReplaceAll(f.Get("text"), "\r\n", "\n"), From: f.Get("from"), Until: f.Get("until")}
	if z := q.zone(); z != time.Local {
		v.Zone = z.String()
	}
	for _, d := range []string{v.From, v.Until} {
		if _, err := time.Parse(time.DateOnly, d); d != "" && err != nil {
			return q.settings(http.StatusUnprocessableEntity, "rules", q.lang.T("That is no date."))
		}
	}
	if v.From != "" && v.Until != "" && v.Until < v.From {
		return q.settings(http.StatusUnprocessableEntity, "rules", q.lang.T("It would end before it begins."))
	}
	if v.On && strings.TrimSpace(v.Text) == "" {
		return q.settings(http.StatusUnprocessableEntity, "rules", q.lang.T("Write what the answer shall say."))
	}
	if err := q.s.store.Write(func(tx *Tx) error { return tx.ForgetAnswered(q.user.ID) }); err != nil {
		return err
	}
	return q.keep("rules", PrefVacation, v)
}

// postPassword changes the password for somebody who knows the old one, and ends all other sessions.
func (q *webReq) postPassword() error {
	f := q.r.PostForm
	again := func(text string) error {
		return q.settings(http.StatusUnprocessableEntity, "security", q.lang.T(text))
	}
	next := f.Get("password")
	own, err := ParseAddr(q.user.Name)
	if err != nil {
		return err
	}
	switch fault := PasswordFault(next, own, passwordLeast); {
	case fault != "":
		return again(fault)
	case next != f.Get("again"):
		return again("The two passwords are not the same.")
	}
	if err := q.checkOwn(); err != nil {
		return q.wrongOwn(err)
	}
	secret, err := q.s.auth.Secret(next)
	if err != nil {
		return err
	}
	why := EndOwnPassword
	if f.Get("apps") != "" {
		why = EndOwnAll
	}
	err = q.s.store.Write(func(tx *Tx) error {
		u, err := tx.UserByID(q.user.ID)
		if err != nil {
			return err
		}
		u.Secret = secret
		if err := tx.UpdateUser(u); err != nil {
			return err
		}
		return endLogins(tx, u.ID, why, q.session.Hash)
	})
	if err != nil {
		return err
	}
	q.log.Info("password changed", "user", q.user.Name, "remote", q.remote)
	q.say("The password is changed. All other browsers are logged out.")
	return q.redirect("/settings/security")
}

// wrongOwn shows what checkOwn found on the page of the form.
func (q *webReq) wrongOwn(err error) error {
	var we *webError
	if errors.As(err, &we) {
		return q.settings(we.status, "security", q.lang.T(we.text))
	}
	return err
}

// postTOTP turns the second factor on, in two steps, or off.
func (q *webReq) postTOTP() error {
	f := q.r.PostForm
	switch f.Get("do") {
	case "start":
		return q.totpPage(webNewSecret(), "")
	case "confirm":
		return q.confirmTOTP()
	case "off":
		if err := q.checkFactor(); err != nil {
			return q.wrongOwn(err)
		}
		err := q.s.store.Write(func(tx *Tx) error { return webSetFactor(tx, q.user.ID, nil, q.session.Hash) })
		if err != nil {
			return err
		}
		q.log.Info("second factor off", "user", q.user.Name)
		q.say("Saved.")
		return q.redirect("/settings/security")
	}
	return webErrDo
}

// confirmTOTP turns a new second factor on, for somebody who has shown that the app has it. One that is on already is not
// replaced: it has to be turned off first, which takes a code of it.
func (q *webReq) confirmTOTP() error {
	f := q.r.PostForm
	t := webTOTP{Secret: f.Get("secret")}
	step, ok, err := t.match(f.Get("code"), q.s.store.Now())
	if err != nil || !webGoodSecret(t.Secret) {
		return webFault(http.StatusBadRequest, "This form can't be read.")
	}
	if !ok {
		return q.totpPage(t.Secret, q.lang.T("That code is wrong."))
	}
	if err := q.checkOwn(); err != nil {
		return q.wrongOwn(err)
	}
	t.Last = step
	codes := t.spareCodes()
	err = q.s.store.Write(func(tx *Tx) error {
		on, err := tx.HasPreference(q.user.ID, PrefTOTP)
		if err == nil && on {
			err = ErrExists
		}
		if err != nil {
			return err
		}
		return webSetFactor(tx, q.user.ID, &t, q.session.Hash)
	})
	if err != nil {
		return err
	}
	q.log.Info("second factor on", "user", q.user.Name)
	return q.page("totp", "Second factor", webTOTPPage{Spare: codes})
}

func (q *webReq) totpPage(secret, fault string) error {
	qr, err := webQRCode(webKeyAddress(q.s.cfg.Hostname, q.user.Name, secret))
	if err != nil {
		return err
	}
	return q.page("totp", "Second factor", webTOTPPage{Secret: secret, QR: qr, Error: fault})
}

// postSessions logs one browser out, or all but this one.
func (q *webReq) postSessions() error {
	name := q.r.PostForm.Get("end")
	found := name == "all"
	err := q.s.store.Write(func(tx *Tx) error {
		if name == "all" {
			return endLogins(tx, q.user.ID, EndElsewhere, q.session.Hash)
		}
		all, err := tx.WebSessions(q.user.ID)
		for _, w := range all {
			if err == nil && w.Name() == name {
				err, found = tx.EndWebSession(w.Hash), true
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if !found {
		q.sayBad("That browser was logged out already.")
		return q.redirect("/settings/security")
	}
	q.say("Logged out there.")
	return q.redirect("/settings/security")
}

func (q *webReq) postForgetPictures() error { return q.keep("security", PrefPictures, nil) }
