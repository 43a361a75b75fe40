// Ending: what a change of somebody's credentials puts an end to.
package main

import "errors"

// Ending is something that happens to a person's credentials.
type Ending int

const (
	EndOwnPassword Ending = iota // they have changed their own password
	EndOwnAll                    // … and asked for all app passwords to go
	EndReset                     // somebody else gave them a password: an administrator, a verb, a set-up link
	EndFactorOn                  // a second factor was turned on or replaced
	EndFactorOff                 // or off, by whomever
	EndDisabled                  // they were locked by an administrator
	EndElsewhere                 // they have logged all other browsers out
	EndEverywhere                // an administrator has logged them out
)

// endingRule is what one Ending does. Browsers, their event streams and the addresses of inline pictures end together,
// because all three hang on the session; the one that asked is spared. Sessions of IMAP, POP3 and SMTP end before their
// next command. What is not named here stays.
type endingRule struct {
	browsers bool // all but the one that asked
	programs bool // open connections of mail programs; those whose password still holds may log in again
	apps     bool // app passwords
	letters  bool // letters that wait to be sent are drafts again
}

// endingRules is the table. HACKING.md has it in words, with what needs no rule: a person who is removed, an app password
// that is taken back, and a disabled person's letters, which wait until the account is open again.
var endingRules = map[Ending]endingRule{
	EndOwnPassword: {browsers: true, programs: true},
	EndOwnAll:      {browsers: true, programs: true, apps: true},
	EndReset:       {browsers: true, programs: true, apps: true, letters: true},
	EndFactorOn:    {browsers: true, programs: true},
	EndFactorOff:   {browsers: true, programs: true},
	EndDisabled:    {browsers: true, programs: true},
	EndElsewhere:   {browsers: true},
	EndEverywhere:  {browsers: true, programs: true},
}

// endLogins ends what why ends for a user. Call it in the transaction that changes the credentials. spare is the hash of the
// browser's session that asked, nil for none.
func endLogins(tx *Tx, user UserID, why Ending, spare []byte) error {
	rule := endingRules[why]
	for _, part := range []struct {
		due bool
		end func() error
	}{
		{rule.browsers, func() error { return tx.EndWebSessions(user, spare) }},
		{rule.programs, func() error { return tx.EndPrograms(user) }},
		{rule.apps, func() error { return tx.RemoveAppPasswords(user) }},
		{rule.letters, func() error { return tx.RecallLetters(user) }},
	} {
		if !part.due {
			continue
		}
		if err := part.end(); err != nil {
			return err
		}
	}
	return nil
}

// errLoginEnded says that a session's credentials hold no more.
var errLoginEnded = errors.New("the login has been ended")

// stillIn returns a user as the file has them now, for a session that began with u. errLoginEnded if nothing more may be done
// in that session: they are gone or disabled, their logins were ended, or the app password was taken back.
func stillIn(tx *Tx, u User) (User, error) {
	now, err := tx.UserByID(u.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return u, errLoginEnded
	case err != nil:
		return u, err
	case now.Disabled || now.Epoch != u.Epoch:
		return u, errLoginEnded
	}
	now.App = u.App
	if u.App == 0 {
		return now, nil
	}
	apps, err := tx.AppPasswords(u.ID)
	if err != nil {
		return u, err
	}
	for _, p := range apps {
		if p.ID == u.App {
			return now, nil
		}
	}
	return u, errLoginEnded
}

// loginWatch is a session's eye on its own credentials. It belongs to the session's goroutine.
type loginWatch struct {
	looked int64 // Store.usersChanged at the last look, 0 never
}

// look returns the user as they are now, or errLoginEnded. It costs nothing while nobody's credentials have changed, so every
// command begins with it. What a verb beside the server changes is known within a second (dataVersion).
func (w *loginWatch) look(s *Store, u User) (User, error) {
	changes := s.usersChanged.Load() + 1
	if changes == w.looked {
		return u, nil
	}
	now, err := read(s, func(tx *Tx) (User, error) { return stillIn(tx, u) })
	if err == nil {
		w.looked = changes
	}
	return now, err
}
