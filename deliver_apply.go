// A script on mail that is there already: the page's filters, and IMAP's FILTER.
package main

import (
	"slices"
	"strings"
)

// applied is what a script makes of a message in a mailbox.
type applied struct {
	flags   Flags
	boxes   []MailboxID // copies go there
	gone    bool        // it does not stay
	discard bool        // and goes to the trash, because it goes nowhere else
}

// applyScript runs a script over messages of a user's own mailbox, does with them what it says as far as that is about mailboxes and
// flags, and returns how many it touched. A message for which the script fails stays as it is; so do those that it would refuse. told,
// unless it is nil, hears how each went.
func (s *Server) applyScript(u User, box Mailbox, uids []UID, script *sieveScript, told func(UID, error)) (int64, error) {
	what := map[UID]applied{}
	var touched []UID
	err := s.store.List(box.ID, uids, WantTree, func(m *Listed) error {
		if m.Gone || m.Content == nil {
			return nil
		}
		out, err := s.scriptOn(u, m, script)
		if told != nil {
			told(m.UID, err)
		}
		if err != nil {
			s.log.Info("script on a message", "user", u.Name, "err", err)
			return nil
		}
		a, err := s.plan(u, box, &out)
		if err == nil && (len(a.boxes) > 0 || a.gone || a.flags != (Flags{})) {
			what[m.UID] = a
			touched = append(touched, m.UID)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	done := int64(0)
	err = s.store.InSteps(touched, func(tx *Tx, step []UID) error {
		for _, uid := range step {
			if err := applyTo(tx, u, box, uid, what[uid]); err != nil {
				return err
			}
		}
		return nil
	}, func(step []UID) error {
		done += int64(len(step))
		return nil
	})
	return done, err
}

// scriptOn runs a script for a message that is stored.
func (s *Server) scriptOn(u User, m *Listed, script *sieveScript) (sieveOutcome, error) {
	header, err := m.Content.WholeHeader()
	if err != nil {
		return sieveOutcome{}, err
	}
	mail := &sieveMail{tree: m.Content.Tree(), r: m.Content, size: m.Size, header: header, to: u.Name, orig: u.Name}
	if path := header.Get("Return-Path"); path != "" {
		mail.from = strings.Trim(path, "<> ")
	}
	var out sieveOutcome
	err = s.crew.Guard("script of "+u.Name, func() error {
		out, err = sieveExecute(script, mail, s.sieveWorld(nil, u))
		return err
	})
	return out, err
}

// plan turns an outcome into what is to be done in mailboxes.
func (s *Server) plan(u User, box Mailbox, out *sieveOutcome) (applied, error) {
	var a applied
	stays, sends := out.keep != nil, false
	if out.keep != nil {
		a.flags = flagsNamed(out.keep.flags)
	}
	for i := range out.actions {
		x := &out.actions[i]
		switch x.kind {
		case "keep":
			a.flags = a.flags.With(flagsNamed(x.flags))
			stays = true
		case "fileinto":
			a.flags = a.flags.With(flagsNamed(x.flags))
			find := func(tx *Tx) (Mailbox, error) {
				m, _, err := mailboxOf(tx, u, x)
				return m, err
			}
			var to Mailbox
			var err error
			if x.create {
				to, err = write(s.store, find)
			} else {
				to, err = read(s.store, find)
			}
			if err != nil {
				return a, err
			}
			if to.ID == box.ID {
				stays = true
			} else if !slices.Contains(a.boxes, to.ID) {
				a.boxes = append(a.boxes, to.ID)
			}
		default:
			sends = true
		}
	}
	a.gone = !stays && (len(a.boxes) > 0 || !sends)
	a.discard = a.gone && len(a.boxes) == 0
	return a, nil
}

func flagsNamed(names []string) Flags {
	var f Flags
	for _, name := range names {
		if g, ok := (Flags{}).ParseFlag(name); ok {
			f = f.With(g)
		}
	}
	return f
}

// applyTo does it to one message. What a script discards can be found in the trash.
func applyTo(tx *Tx, u User, box Mailbox, uid UID, a applied) error {
	one := []UID{uid}
	if a.flags != (Flags{}) {
		if _, err := tx.SetFlags(box, one, FlagChange{Op: '+', Flags: a.flags, Unchanged: -1, Known: 1 << 62}); err != nil {
			return err
		}
	}
	if a.discard {
		trash, err := tx.MailboxBySpecial(u.ID, `\Trash`)
		if err != nil {
			return err
		}
		a.boxes = []MailboxID{trash.ID}
	}
	for i, id := range a.boxes {
		to, err := tx.MailboxByID(id)
		if err != nil {
			return err
		}
		if a.gone && i == len(a.boxes)-1 {
			_, _, err = tx.Move(box, one, to)
		} else {
			_, _, err = tx.Copy(box, one, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
