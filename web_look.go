// How a person wants the pages: language, colours, conversations or single messages.
package main

import (
	"slices"
	"strings"
	"time"
)

const webLookLifetime = 365 * 24 * time.Hour // of the cookies that remember it before login

// webLanguages are those that the pages speak, the first one where nothing else was asked for.
var webLanguages = []string{"en", "zh"}

// webThemes are the colours that can be chosen.
var webThemes = []string{"auto", "light", "dark"}

// webLook is what a user has chosen; empty is the default.
type webLook struct {
	Lang    string `json:"lang,omitempty"`
	Theme   string `json:"theme,omitempty"`
	Threads bool   `json:"threads,omitempty"`
	Zone    string `json:"zone,omitempty"`  // a name of the time zone database
	Order   string `json:"order,omitempty"` // of webOrderNames
}

// order is the order of lists.
func (l webLook) order() string {
	for _, o := range webOrderNames {
		if o[0] == l.Order {
			return l.Order
		}
	}
	return webOrderNames[0][0]
}

// look is what the user has chosen, or this browser before login. It is read once for a request.
func (q *webReq) look() webLook {
	if q.looked != nil {
		return *q.looked
	}
	l := webLook{Lang: q.cookie("lang"), Theme: q.cookie("theme")}
	if q.user.ID != 0 {
		if err := q.s.store.Read(func(tx *Tx) error { return tx.Preference(q.user.ID, PrefLook, &l) }); err != nil {
			q.log.Error("preferences", "user", q.user.Name, "err", err)
		}
	}
	q.looked = &l
	return l
}

// keepLook stores what the user has chosen. Before login only cookies keep it.
func (q *webReq) keepLook(l webLook) error {
	q.looked = nil
	if q.user.ID == 0 {
		return nil
	}
	return q.s.store.Write(func(tx *Tx) error { return tx.SetPreference(q.user.ID, PrefLook, l) })
}

// postLook switches the language or the colours, for this browser and for the user.
func (q *webReq) postLook() error {
	f := q.r.PostForm
	look := q.look()
	if (f.Has("lang") && !slices.Contains(webLanguages, f.Get("lang"))) || (f.Has("theme") && !slices.Contains(webThemes, f.Get("theme"))) {
		return webErrDo
	}
	if l := f.Get("lang"); slices.Contains(webLanguages, l) {
		look.Lang = l
		q.setCookie("lang", l, webLookLifetime)
	}
	if t := f.Get("theme"); slices.Contains(webThemes, t) {
		look.Theme = t
		q.setCookie("theme", t, webLookLifetime)
	}
	if err := q.keepLook(look); err != nil {
		return err
	}
	return q.redirect(webLocal(f.Get("to")))
}

// postThreads switches between single messages and conversations.
func (q *webReq) postThreads() error {
	look := q.look()
	look.Threads = !look.Threads
	if err := q.keepLook(look); err != nil {
		return err
	}
	return q.redirect(webLocal(q.r.PostForm.Get("back")))
}

// postOrder changes the order of lists.
func (q *webReq) postOrder() error {
	look := q.look()
	look.Order = q.r.PostForm.Get("order")
	if look.Order != look.order() {
		return webErrDo
	}
	if err := q.keepLook(look); err != nil {
		return err
	}
	return q.redirect(webLocal(q.r.PostForm.Get("back")))
}

// languageWanted is the language that was chosen, else the first that the browser asks for and we have.
func (q *webReq) languageWanted() string {
	if l := q.look().Lang; l != "" {
		return l
	}
	for _, part := range strings.Split(q.r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		for _, have := range webLanguages {
			if tag == have || strings.HasPrefix(tag, have+"-") {
				return have
			}
		}
	}
	return webLanguages[0]
}
