// Junk on the pages: why a message was put there, and what the reader's judgements count for.
package main

import (
	"strings"
)

// webJunk is why a message was put into Junk.
type webJunk struct {
	Kind string // words, sender
	What string // words as people read them, or the domain in From
}

// whyJunk reads why a message was put into Junk; nil if it was put there by hand, or is elsewhere.
func (q *webReq) whyJunk(m *webMessage) (*webJunk, error) {
	if m.Box.Special != `\Junk` || m.At != "" {
		return nil, nil
	}
	why, err := read(q.s.store, func(tx *Tx) (string, error) { return tx.JunkNote(m.Box.ID, m.M.UID) })
	kind, what, ok := strings.Cut(why, " ")
	if err != nil || !ok {
		return nil, err
	}
	return &webJunk{kind, webClean(strings.ReplaceAll(what, " ", ", "))}, nil
}

// postJunk switches somebody's junk filter, or forgets what it was taught.
func (q *webReq) postJunk() error {
	f := q.r.PostForm
	switch f.Get("do") {
	case "keep":
		var off any
		if f.Get("on") == "" {
			off = true
		}
		return q.keep("rules", PrefJunkOff, off)
	case "forget":
		if err := q.s.forgetJunk(q.user.ID); err != nil {
			return err
		}
		q.say("Forgotten.")
		return q.redirect("/settings/rules")
	}
	return webErrDo
}
