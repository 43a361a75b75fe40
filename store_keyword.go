// Keywords of mailboxes: each mailbox lists those that its messages have, and there can be so many of them.
package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	maxKeywords      = 400     // different keywords in one mailbox
	maxKeywordOctets = 8 << 10 // and all of them together
	maxMsgKeywords   = 50      // keywords of one message beside the bits
)

// ErrKeyword is for a new keyword that could not be written in an answer.
var ErrKeyword = errors.New("a keyword can only have characters of an IMAP atom, without 8-bit ones")

// ValidKeyword says whether a new keyword may be made: an atom of RFC 9051 §9, so without 8-bit characters. One that a message
// or a mailbox has already stays good.
func ValidKeyword(w string) bool {
	return w != "" && len(w) <= maxKeyword && strings.IndexFunc(w, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	}) < 0
}

// KeywordsFull says whether a mailbox can't have more keywords than are in use.
func (tx *Tx) KeywordsFull(m Mailbox) (bool, error) {
	if keywordsFit(m.Keywords + " x") {
		return false, nil
	}
	used, err := tx.usedKeywords(m.ID, "")
	return err == nil && !keywordsFit(used+" x"), err
}

func keywordsFit(words string) bool {
	return countWords(words) <= maxKeywords && len(words) <= maxKeywordOctets
}

// addKeywords makes sure that the mailbox lists the words, which its caller gives to messages in the same transaction. Where it
// has too many, those that no message has any more make room. ErrTooMany, ErrKeyword: then nothing has changed.
func (tx *Tx) addKeywords(m Mailbox, words string) error {
	if words == "" {
		return nil
	}
	var have string
	if err := tx.one(`SELECT keywords FROM mailboxes WHERE id=?`, []any{m.ID}, &have); err != nil {
		return err
	}
	all := mergeWords(have, words)
	if all == have {
		return nil
	}
	for w := range strings.FieldsSeq(Flags{Words: words}.Without(Flags{Words: have}).Words) {
		if !ValidKeyword(w) {
			return ErrKeyword
		}
	}
	if !keywordsFit(all) {
		used, err := tx.usedKeywords(m.ID, words)
		if err != nil {
			return err
		}
		if !keywordsFit(used) {
			return fmt.Errorf("%w keywords in this mailbox: it can have %d", ErrTooMany, maxKeywords)
		}
		all = used
	}
	_, err := tx.exec(`UPDATE mailboxes SET keywords=? WHERE id=?`, all, m.ID)
	return err
}

// usedKeywords are the words and those that messages of a mailbox have. It ends as soon as they are too many, which is soon
// where most are in use.
func (tx *Tx) usedKeywords(id MailboxID, words string) (string, error) {
	used := map[string]string{} // in small letters → as it is written
	octets := 0
	add := func(words string) {
		for w := range strings.FieldsSeq(words) {
			if key := strings.ToLower(w); used[key] == "" {
				used[key] = w
				octets += len(w) + 1
			}
		}
	}
	add(words)
	err := tx.each(`SELECT DISTINCT keywords FROM messages WHERE mailbox=? AND NOT gone AND keywords IS NOT NULL`, []any{id}, func(scan func(...any) error) error {
		var w string
		if err := scan(&w); err != nil {
			return err
		}
		add(w)
		if len(used) > maxKeywords || octets > maxKeywordOctets {
			return errListFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errListFull) {
		return "", err
	}
	all := make([]string, 0, len(used))
	for _, w := range used {
		all = append(all, w)
	}
	return mergeWords("", strings.Join(all, " ")), nil
}

// checkMessageWords returns ErrTooMany for more keywords than a message can have.
func checkMessageWords(words string) error {
	if countWords(words) > maxMsgKeywords {
		return fmt.Errorf("%w keywords on one message: it can have %d", ErrTooMany, maxMsgKeywords)
	}
	return nil
}

// FlagsFit looks beforehand whether all the messages can have the keywords of a change that takes several steps, so that it
// does not fail after some of them.
func (s *Store) FlagsFit(m Mailbox, uids []UID, c FlagChange) error {
	if c.Op != '+' || c.Flags.Words == "" || len(uids) <= stepFirst {
		return nil // it fails in its first step, if it does
	}
	return s.List(m.ID, uids, WantBrief, func(l *Listed) error {
		if l.Gone {
			return nil
		}
		return checkMessageWords(c.apply(l.Flags).Words)
	})
}

// wordsFit looks beforehand whether a mailbox can have the keywords of messages that are to come in several steps.
func (tx *Tx) wordsFit(to Mailbox, words string) error {
	var have string
	if err := tx.one(`SELECT keywords FROM mailboxes WHERE id=?`, []any{to.ID}, &have); err != nil {
		return err
	}
	if keywordsFit(mergeWords(have, words)) {
		return nil
	}
	all, err := tx.usedKeywords(to.ID, words)
	if err == nil && !keywordsFit(all) {
		err = fmt.Errorf("%w keywords in mailbox %s: it can have %d", ErrTooMany, to.Name, maxKeywords)
	}
	return err
}

// AppendAnyway is Append for mail that is worth more than its keywords, such as what is imported or fetched: if the mailbox can't
// have them they stay away, and it says false.
func (tx *Tx) AppendAnyway(m Mailbox, b Blob, f Flags, internal time.Time) (added Message, whole bool, err error) {
	err = checkMessageWords(f.Words)
	if err == nil {
		err = tx.addKeywords(m, f.Words)
	}
	whole = err == nil
	switch {
	case errors.Is(err, ErrTooMany), errors.Is(err, ErrKeyword):
		f.Words = ""
	case err != nil:
		return Message{}, false, err
	}
	added, err = tx.Append(m, b, f, internal)
	return added, whole, err
}
