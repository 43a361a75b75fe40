// Filters: rules on a page, which are a script, and scripts as their owners have written them.
package main

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	webFilterTests = 3 // tests that the form of a filter has
	webMaxApplied  = 5_000
	webScriptName  = "filters" // the script of the page
)

// webFilters is what the page has of filters.
type webFilters struct {
	Own   string // the script of one's own that is active, instead of the page's
	List  []webFilter
	Edit  webFilter // what the form shows
	N     int       // the number of the filter that it changes, -1 for a new one
	Tests []sieveRuleTest
	Ops   []string
	Known []string // fields to choose from
}

// webFilter is a filter with its number and the name of its folder.
type webFilter struct {
	sieveRule
	N      int
	Folder MailboxID
	Name   string
}

// filters are the filters for the page; a new one is filled in from what the address asks for.
func (q *webReq) filters(tx *Tx, targets []webFolder) (webFilters, error) {
	p := webFilters{N: -1, Ops: []string{"contains", "is", "matches", "regex"}, Known: []string{"from", "to", "subject", "body", "size", "clip", "list-id"}}
	rules, own, err := q.filterRules(tx)
	if err != nil {
		return p, err
	}
	p.Own = own
	for i, r := range rules {
		x := webFilter{sieveRule: r, N: i, Name: r.Name}
		if r.Folder != "" {
			x.Folder, _ = mailboxIDOf(r.Folder)
			j := slices.IndexFunc(targets, func(t webFolder) bool { return t.ID == x.Folder })
			if j >= 0 {
				x.Name = q.lang.folderName(targets[j].Mailbox)
			}
		}
		p.List = append(p.List, x)
	}
	query := q.r.URL.Query()
	n, err := strconv.Atoi(query.Get("edit"))
	if err == nil && n >= 0 && n < len(p.List) {
		p.N, p.Edit = n, p.List[n]
	} else if from := webClean(query.Get("sender")); from != "" {
		p.Edit.Tests = []sieveRuleTest{{Field: "from", Op: "contains", Value: from}}
	}
	p.Tests = slices.Clone(p.Edit.Tests)
	for _, t := range p.Tests {
		if !slices.Contains(p.Known, t.Field) {
			p.Known = append(p.Known, t.Field)
		}
	}
	for len(p.Tests) < webFilterTests {
		p.Tests = append(p.Tests, sieveRuleTest{Field: []string{"from", "to", "subject"}[len(p.Tests)], Op: "contains"})
	}
	return p, nil
}

// filterRules reads the active script as rules. If it is none of the page's, own is its name.
func (q *webReq) filterRules(tx *Tx) (rules []sieveRule, own string, err error) {
	script, err := tx.ActiveScript(q.user.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, "", nil
	case err != nil:
		return nil, "", err
	}
	rules, ok := sieveReadRules(script.Source)
	if !ok {
		return nil, script.Name, nil
	}
	return rules, "", nil
}

// postFilters adds a filter, changes or removes one, moves one up, or applies one to the mail that is in the inbox already.
func (q *webReq) postFilters() error {
	f := q.r.PostForm
	var own string
	rules, err := read(q.s.store, func(tx *Tx) (rules []sieveRule, err error) {
		rules, own, err = q.filterRules(tx)
		return rules, err
	})
	if err != nil {
		return err
	}
	if own != "" {
		return q.settings(http.StatusConflict, "rules", q.lang.T("A script of your own is active."))
	}
	n := int(webID[int64](f.Get("n"))) // counted from 0
	do := f.Get("do")
	if do != "add" && (n < 0 || n >= len(rules) || f.Get("n") == "") {
		if !slices.Contains([]string{"change", "drop", "up", "apply"}, do) {
			return webErrDo
		}
		return ErrNotFound
	}
	switch do {
	case "add", "change":
		r, fault, err := q.formFilter()
		if err != nil {
			return err
		}
		if fault != "" {
			return q.settings(http.StatusUnprocessableEntity, "rules", fault)
		}
		if r.Redirect != "" && !slices.ContainsFunc(rules, func(x sieveRule) bool { return x.Redirect == r.Redirect }) {
			if err := q.checkOwn(); err != nil {
				return err
			}
		}
		if do == "add" {
			rules = append(rules, r)
		} else {
			rules[n] = r
		}
	case "drop":
		rules = slices.Delete(rules, n, n+1)
	case "up":
		if n > 0 {
			rules[n-1], rules[n] = rules[n], rules[n-1]
		}
	case "apply":
		return q.applyFilter(rules[n])
	default:
		return webErrDo
	}
	return q.keepFilters(rules)
}

// keepFilters stores the rules as the active script. What it says must be what is read again.
func (q *webReq) keepFilters(rules []sieveRule) error {
	source := sieveWriteRules(rules)
	if _, faults := sieveCompile(source); len(faults) > 0 {
		return q.settings(http.StatusUnprocessableEntity, "rules", q.lang.F("This can't be a filter: %s", faults[0].text))
	}
	if _, ok := sieveReadRules(source); !ok || len(rules) > sieveMaxRules {
		return ErrQuota
	}
	err := q.s.store.Write(func(tx *Tx) error {
		name := webScriptName
		active, err := tx.ActiveScript(q.user.ID)
		switch {
		case err == nil:
			name = active.Name
		case !errors.Is(err, ErrNotFound):
			return err
		default: // a script of that name may be somebody's own, which is not active
			old, err := tx.Script(q.user.ID, name)
			if _, ok := sieveReadRules(old.Source); err == nil && !ok {
				name += " 2"
			}
		}
		if err := tx.PutScript(q.user.ID, name, source); err != nil {
			return err
		}
		return tx.ActivateScript(q.user.ID, name)
	})
	if err != nil {
		return err
	}
	q.say("Saved.")
	return q.redirect("/settings/rules")
}

// formFilter is a filter as it was filled in, or what is wrong with it.
func (q *webReq) formFilter() (r sieveRule, fault string, err error) {
	f := q.r.PostForm
	err = q.fits(webMost{"value", 200}, webMost{"label", 50}, webMost{"redirect", 250}, webMost{"reject", 1000}, webMost{"field", 70})
	if err != nil {
		return r, "", err
	}
	line := func(name string) string { return strings.TrimSpace(webClean(f.Get(name))) }
	r = sieveRule{Any: f.Get("any") != "", Copy: f.Get("copy") != "", Read: f.Get("read") != "", Star: f.Get("star") != "", Label: line("label"),
		Keep: f.Get("keepcopy") != "", Reject: line("reject"), Discard: f.Get("discard") != "", On: f.Get("on") != ""}
	for i, field := range f["field"] {
		t := sieveRuleTest{Field: strings.ToLower(strings.TrimSpace(webClean(field)))}
		if i >= len(f["op"]) || i >= len(f["value"]) || i >= 10 {
			return r, "", webErrDo
		}
		t.Op, t.Value = f["op"][i], strings.TrimSpace(webClean(f["value"][i]))
		if not, ok := strings.CutPrefix(t.Op, "not-"); ok {
			t.Op, t.Not = not, true
		}
		switch {
		case !slices.Contains([]string{"contains", "is", "matches", "regex"}, t.Op) || (!isFieldName(t.Field) && t.Field != ""):
			return r, "", webErrDo
		case t.Field == "clip":
			t.Op, t.Value = "", ""
		case t.Value == "":
			continue
		case t.Field == "size":
			n, err := strconv.ParseUint(t.Value, 10, 24)
			if err != nil {
				return r, q.lang.T("The size is a number of kilobytes."), nil
			}
			t.Op, t.Value = "", strconv.FormatUint(n, 10)
		}
		r.Tests = append(r.Tests, t)
	}
	if len(r.Tests) == 0 {
		return r, q.lang.T("Say which messages the filter is for."), nil
	}
	return q.filterActions(r)
}

// filterActions takes what the form says that is to be done.
func (q *webReq) filterActions(r sieveRule) (sieveRule, string, error) {
	if r.Label != "" && !ValidKeyword(r.Label) {
		return r, q.lang.T("A label is one word without special characters."), nil
	}
	id := webID[MailboxID](q.r.PostForm.Get("folder"))
	if id != 0 {
		m, err := read(q.s.store, func(tx *Tx) (Mailbox, error) { return tx.MailboxByID(id) })
		if err == nil && m.Owner != q.user.ID {
			err = ErrNotFound
		}
		if err != nil {
			return r, "", err
		}
		r.Folder, r.Name = "F"+strconv.FormatInt(int64(id), 10), m.Name
	}
	if to := webClean(q.r.PostForm.Get("redirect")); strings.TrimSpace(to) != "" {
		list, bad := q.addresses(to)
		reach, fault := q.reachable(list)
		switch {
		case bad != "":
			return r, q.lang.F("%s is no mail address.", bad), nil
		case fault != "":
			return r, fault, nil
		case len(reach) != 1:
			return r, q.lang.T("One address, please."), nil
		}
		r.Redirect = reach[0].Key()
	}
	if r.Reject != "" && (r.Folder != "" || r.Redirect != "") {
		return r, q.lang.T("A message that is refused can't go anywhere else."), nil
	}
	return r, "", nil
}

// applyFilter does to the mail of the inbox what one filter says.
func (q *webReq) applyFilter(r sieveRule) error {
	script, faults := sieveCompile(sieveWriteRules([]sieveRule{r}))
	if len(faults) > 0 {
		return faults[0]
	}
	box := Mailbox{}
	uids, err := read(q.s.store, func(tx *Tx) ([]UID, error) {
		var err error
		box, err = tx.MailboxByID(q.user.Inbox)
		if err != nil {
			return nil, err
		}
		rows, err := tx.Newest(box.ID, ^UID(0), webMaxApplied)
		var uids []UID
		for _, m := range rows {
			uids = append(uids, m.UID)
		}
		slices.Sort(uids)
		return uids, err
	})
	if err != nil {
		return err
	}
	n, err := q.s.applyScript(q.user, box, uids, script, nil)
	if err != nil {
		return err
	}
	q.sayCount(n, "The filter was applied to one message.", "The filter was applied to %s messages.")
	return q.redirect("/settings/rules")
}

// webScriptPage is the page of scripts as text.
type webScriptPage struct {
	webSettings
	Scripts []Script
	Name    string
	Source  string
	Faults  []string
}

func (q *webReq) scriptPage(tx *Tx, head webSettings) (webScriptPage, error) {
	p := webScriptPage{webSettings: head}
	var err error
	p.Scripts, err = tx.Scripts(q.user.ID)
	want, given := q.r.URL.Query()["name"]
	for _, s := range p.Scripts {
		if (given && s.Name == want[0]) || (!given && s.Active) {
			p.Name, p.Source = s.Name, s.Source
		}
	}
	return p, err
}

// postScript stores a script, makes one the active one or none, or deletes one.
func (q *webReq) postScript() error {
	f := q.r.PostForm
	name, source := strings.TrimSpace(webClean(f.Get("name"))), strings.ReplaceAll(strings.ReplaceAll(f.Get("source"), "\r\n", "\n"), "\n", "\r\n")
	var err error
	switch f.Get("do") {
	case "save":
		if name == "" || len(name) > maxScriptName {
			return q.settings(http.StatusUnprocessableEntity, "script", q.lang.T("The script needs a name."))
		}
		_, faults := sieveCompile(source)
		if len(faults) > 0 {
			p, err := read(q.s.store, func(tx *Tx) (webScriptPage, error) {
				return q.scriptPage(tx, webSettings{"script", q.lang.T("The script has faults and was not saved.")})
			})
			if err != nil {
				return err
			}
			p.Name, p.Source = name, source
			for _, x := range faults {
				p.Faults = append(p.Faults, x.Error())
			}
			return q.status(http.StatusUnprocessableEntity, "settings-script", "Settings", p)
		}
		if sieveSends(source) { // it outlasts the session, as a forward does
			if err := q.checkOwn(); err != nil {
				return err
			}
		}
		err = q.s.store.Write(func(tx *Tx) error {
			if err := tx.PutScript(q.user.ID, name, source); err != nil {
				return err
			}
			return tx.ActivateScript(q.user.ID, name)
		})
	case "use":
		err = q.s.store.Write(func(tx *Tx) error { return tx.ActivateScript(q.user.ID, name) })
	case "off":
		err = q.s.store.Write(func(tx *Tx) error { return tx.ActivateScript(q.user.ID, "") })
	case "drop":
		err = q.s.store.Write(func(tx *Tx) error { return tx.DeleteScript(q.user.ID, name) })
	default:
		return webErrDo
	}
	if errors.Is(err, ErrScriptActive) {
		return q.settings(http.StatusConflict, "script", q.lang.T("The script is in use. Turn it off first."))
	}
	if err != nil {
		return err
	}
	q.say("Saved.")
	return q.redirect("/settings/script")
}
