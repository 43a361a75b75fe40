// Junk: what each person's earlier judgements say of a stranger's message, and how those are learned.
package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	junkCut     = 0.99             // the score from which a message is junk
	junkPeople  = 50               // recipients of a message for whom it is weighed
	junkEvery   = 30 * time.Second // between looks for what is to be learned
	junkKeep    = time.Hour        // at the latest, what was learned is stored
	junkBatch   = 32               // messages learned, and it is stored at once
	junkRead    = 24 * time.Hour   // in INBOX, and read, and a message was good
	junkStep    = 200              // of those, looked at at once
	junkTold    = 5                // words that are said to be why
	junkIdleFor = 10 * time.Minute // after which a model leaves memory
)

// weighJunk leaves in m.junk for which of its recipients a message is junk, and why. Mail of those who have logged in, of our devices and of
// ourselves is nobody's junk.
func (s *Server) weighJunk(m *Mail) error {
	m.junk = nil
	if m.Login != nil || m.Report || m.Local != "" || !m.Sender.IsZero() || m.Body == nil {
		return nil
	}
	people := map[UserID]User{}
	for i := range m.To {
		for _, u := range m.To[i].resolved.users {
			if len(people) < junkPeople {
				people[u.ID] = u
			}
		}
	}
	w := junkScales{s: s, m: m}
	for _, u := range people {
		why, err := w.weigh(u)
		if err != nil {
			return err
		}
		if why != "" {
			if m.junk == nil {
				m.junk = map[UserID]string{}
			}
			m.junk[u.ID] = why
		}
	}
	return nil
}

// junkFor says why a message is junk for somebody, "" if it is not, or if their script has said where it goes.
func (p *placement) junkFor(u User) string {
	f := p.m.filtered[u.ID]
	if f != nil && (f.outcome.keep == nil || len(f.stores()) > 1) {
		return ""
	}
	return p.m.junk[u.ID]
}

// junkScales weighs one message for several people.
type junkScales struct {
	s      *Server
	m      *Mail
	header Header
	words  []JunkWord
}

// weigh says why a message is junk for somebody, "" if it is not.
func (w *junkScales) weigh(u User) (string, error) {
	off, err := read(w.s.store, func(tx *Tx) (bool, error) { return tx.HasPreference(u.ID, PrefJunkOff) })
	if err != nil || off {
		return "", err
	}
	if w.m.Verdict != nil {
		for _, r := range w.m.Verdict.Results {
			if r.Method == "dmarc" && r.Result == resultFail && r.prop("policy.dmarc") == dmarcQuarantine {
				return "sender " + r.prop("header.from"), nil
			}
		}
	}
	ready, err := w.s.junk.ready(w.s.store, u.ID)
	if err != nil || !ready {
		return "", err
	}
	if err := w.read(); err != nil {
		return "", err
	}
	known, err := w.known(u)
	if err != nil || known {
		return "", err
	}
	score, most, err := w.s.junk.score(w.s.store, u.ID, w.words)
	if err != nil {
		return "", err
	}
	if score < junkCut {
		return "", nil
	}
	var told []string
	for _, x := range most {
		if !strings.Contains(x.Text, ":") && len(told) < junkTold {
			told = append(told, x.Text)
		}
	}
	return "words " + strings.Join(told, " "), nil
}

// read finds the words, once for all.
func (w *junkScales) read() error {
	if w.words != nil {
		return nil
	}
	head, err := w.m.Body.Head()
	if err != nil {
		return err
	}
	w.header = ParseHeader(head)
	w.words = JunkWords(w.m.Body.Tree(), w.m.Body, w.header)
	return nil
}

// known says whether the sender is in somebody's address book, or somebody they have written to.
func (w *junkScales) known(u User) (bool, error) {
	for _, x := range ParseAddressList(w.header.Get("From")) {
		a, err := x.Addr()
		if err != nil {
			continue
		}
		c, err := read(w.s.store, func(tx *Tx) (Contact, error) { return tx.Contact(u.ID, a.Key()) })
		if err == nil && (c.Kept || c.Times > 0) {
			return true, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	return false, nil
}

// learnJunk learns from what people do with their messages, until the server stops.
func (s *Server) learnJunk() {
	tick := time.NewTicker(junkEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop.Done():
			return
		case <-tick.C:
		}
		if err := s.learnAllJunk(); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReadOnly) {
			s.crew.Complain("learning about junk", err)
		}
	}
}

func (s *Server) learnAllJunk() error {
	people, err := read(s.store, (*Tx).LessonsWait)
	if err != nil {
		return err
	}
	for _, user := range people {
		if err := s.learnJunkOf(user); err != nil {
			return err
		}
	}
	s.junk.mu.Lock()
	defer s.junk.mu.Unlock()
	for id, m := range s.junk.minds {
		if len(m.learned) == 0 && time.Since(m.used) > junkIdleFor {
			delete(s.junk.minds, id)
		}
	}
	return nil
}

// learnJunkOf learns what somebody has taught, and stores it when that is enough.
func (s *Server) learnJunkOf(user UserID) error {
	var lessons []Lesson
	var inbox MailboxID
	var state JunkState
	err := s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByID(user)
		if err != nil {
			return err
		}
		inbox = u.Inbox
		lessons, err = tx.Lessons(user)
		if err != nil {
			return err
		}
		state, err = tx.JunkState(user)
		return err
	})
	if err != nil {
		return err
	}
	s.junk.mu.Lock()
	known := s.junk.minds[user] != nil
	s.junk.mu.Unlock()
	junk := known || state.Junk > 0 || slices.ContainsFunc(lessons, func(l Lesson) bool { return l.Junk })
	if !junk {
		return nil // whoever has never called anything junk needs no model: the lessons wait
	}
	s.junk.mu.Lock()
	mind, err := s.junk.mind(s.store, user, true)
	s.junk.mu.Unlock()
	if err != nil {
		return err
	}
	read, seen, err := s.readMail(inbox, mind.seen)
	if err != nil {
		return err
	}
	for _, l := range lessons {
		if err := s.learnLesson(user, mind, l, false); err != nil {
			return err
		}
	}
	for _, l := range read {
		if err := s.learnLesson(user, mind, l, true); err != nil {
			return err
		}
	}
	mind.seen = max(mind.seen, seen)
	return s.keepMind(user, mind)
}

// readMail makes lessons of what has been in an INBOX for a day and was read: it was good.
func (s *Server) readMail(inbox MailboxID, above UID) ([]Lesson, UID, error) {
	var lessons []Lesson
	last := above
	err := s.store.Read(func(tx *Tx) error {
		lessons = nil
		seen, blobs, err := tx.ReadSince(inbox, above, tx.s.Now().Add(-junkRead), junkStep)
		last = seen
		for _, b := range blobs {
			lessons = append(lessons, Lesson{b, false, tx.s.Now()})
		}
		return err
	})
	return lessons, last, err
}

// learnLesson has a model learn one lesson, unless it has. A weak one counts only where nothing else was learned of the message.
func (s *Server) learnLesson(user UserID, mind *junkMind, l Lesson, weak bool) error {
	before, known := mind.learned[l.Blob]
	if !known {
		junk, err := read(s.store, func(tx *Tx) (bool, error) { return tx.Learned(user, l.Blob) })
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		before.Junk, known = junk, err == nil
	}
	if known && (weak || before.Junk == l.Junk) {
		s.junk.mu.Lock()
		defer s.junk.mu.Unlock()
		if !weak {
			mind.note(l)
		}
		return nil
	}
	words, err := s.wordsOf(l.Blob)
	if err != nil {
		return err
	}
	s.junk.mu.Lock()
	defer s.junk.mu.Unlock()
	mind.note(l)
	if known {
		mind.model.Learn(words, before.Junk, -1)
	}
	mind.model.Learn(words, l.Junk, 1)
	return nil
}

// wordsOf reads the words of stored content; nil if it is gone or can't be read.
func (s *Server) wordsOf(blob BlobID) ([]JunkWord, error) {
	c, err := s.store.Content(blob)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrContentDamaged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return JunkWords(c.Tree(), c, c.Header()), nil
}

// keepMind stores a model that has learned enough, or long enough ago.
func (s *Server) keepMind(user UserID, mind *junkMind) error {
	s.junk.mu.Lock()
	defer s.junk.mu.Unlock()
	mind.used = time.Now()
	if len(mind.learned) == 0 || (len(mind.learned) < junkBatch && time.Since(mind.since) < junkKeep) {
		return nil
	}
	done := make([]Lesson, 0, len(mind.learned))
	for _, l := range mind.learned {
		done = append(done, l)
	}
	slices.SortFunc(done, func(a, b Lesson) int { return cmp.Compare(a.Blob, b.Blob) })
	state := JunkState{Good: int64(mind.model.Messages[0]), Junk: int64(mind.model.Messages[1]), Seen: mind.seen, Model: mind.model.Octets()}
	err := s.store.Write(func(tx *Tx) error { return tx.KeepJunkState(user, state, done) })
	if err == nil {
		clear(mind.learned)
	}
	return err
}

// forgetJunk forgets all that somebody has taught.
func (s *Server) forgetJunk(user UserID) error {
	s.junk.mu.Lock()
	defer s.junk.mu.Unlock()
	delete(s.junk.minds, user)
	return s.store.Write(func(tx *Tx) error { return tx.ForgetJunk(user) })
}
