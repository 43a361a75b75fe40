// How much one person may send in a day: whoever has got hold of a password can do no more with it.
package main

import (
	"errors"
	"fmt"
	"time"
)

// errSentMuch says that somebody has sent as much as [limits] messages_day or recipients_day allow. It is a *sentMuch.
var errSentMuch = errors.New("as much was sent as one person may send in a day")

type sentMuch struct {
	Sending
	left int64 // recipients that one more message may have
}

func (e *sentMuch) Error() string {
	words := "no more"
	if e.left > 0 {
		words = fmt.Sprintf("for %d more recipients", e.left)
	}
	return fmt.Sprintf("You have sent %d messages to %d recipients since %s, and may send %s until %s", e.Messages, e.Recipients,
		e.Since.Format("15:04"), words, e.Until().Format("2006-01-02 15:04 -0700"))
}

func (e *sentMuch) Is(target error) bool { return target == errSentMuch }

// mayShare says whether somebody may send one more message to so many recipients: a *sentMuch if not. An alias counts as one
// recipient, however many it leads to, because an administrator made it; those who live here count like others. Mail that goes out by
// itself (forwards, automatic answers, reports) does not count.
func (s *Server) mayShare(tx *Tx, u User, recipients int) (Sending, error) {
	x, err := tx.Sending(u.ID)
	if err != nil {
		return x, err
	}
	most, many := int64(s.cfg.Limits.MessagesDay), int64(s.cfg.Limits.RecipientsDay)
	if x.Messages >= most || x.Recipients+int64(recipients) > many {
		e := &sentMuch{Sending: x}
		if x.Messages < most {
			e.left = max(many-x.Recipients, 0)
		}
		s.crew.Complain("somebody sends too much", e, "user", u.Name)
		return x, e
	}
	return x, nil
}

// countShare is mayShare in the transaction that takes a message in, which counts then.
func (s *Server) countShare(tx *Tx, m *Mail) error {
	if m.Login == nil {
		return nil
	}
	x, err := s.mayShare(tx, *m.Login, len(m.To))
	if err != nil {
		return err
	}
	x.Messages++
	x.Recipients += int64(len(m.To))
	return tx.NoteSending(m.Login.ID, x)
}

// askShare asks before the content has come, and in a transaction of its own. It returns how many recipients may be written to.
func (s *Server) askShare(u User, recipients int) (int64, error) {
	x, err := read(s.store, func(tx *Tx) (Sending, error) { return s.mayShare(tx, u, recipients) })
	return int64(s.cfg.Limits.RecipientsDay) - x.Recipients, err
}

// shareUntil is when somebody may send more whom an error of accept says that it was too much; zero if it says something else.
func shareUntil(err error) time.Time {
	var much *sentMuch
	if errors.As(err, &much) {
		return much.Until()
	}
	return time.Time{}
}
