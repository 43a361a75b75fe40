// News: who is woken by which commit.
package main

import (
	"time"
)

// Watch returns a channel of capacity one that receives after any commit that changed the mail of one of the users (or
// the queue, for QueueTopic). It carries no news: look at the file.
func (s *Store) Watch(topics ...UserID) (wake <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range topics {
		if s.watchers[t] == nil {
			s.watchers[t] = map[chan struct{}]bool{}
		}
		s.watchers[t][ch] = true
	}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, t := range topics {
			delete(s.watchers[t], ch)
			if len(s.watchers[t]) == 0 {
				delete(s.watchers, t)
			}
		}
	}
}

func (s *Store) wake(topics map[UserID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range topics {
		wakeAll(s.watchers[t])
	}
}

func wakeAll(chans map[chan struct{}]bool) {
	for ch := range chans {
		select {
		case ch <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
}

// every calls fn each time the interval has passed, until the store is closed.
func (s *Store) every(interval time.Duration, fn func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
			fn()
		}
	}
}

// pollOthers looks for what others have written to the file.
func (s *Store) pollOthers() { s.every(dataVersion, s.noticeOthers) }

// noticeOthers wakes everybody when another process (a command line verb) has written to the file since it was called last, or since
// the file was opened.
func (s *Store) noticeOthers() {
	changed := false
	err := s.onWriter(func(c *dbConn) error {
		before := s.others
		err := s.seeOthers(c)
		changed = changed || s.others != before
		return err
	})
	if err != nil || !changed {
		return
	}
	s.dirty.Store(true)
	s.contentAdded.Store(true)
	s.usersChanged.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, chans := range s.watchers {
		wakeAll(chans)
	}
}

// seeOthers notes how often others have written to the file: a version is of one connection's view, and the writer's own commits do
// not change it for itself.
func (s *Store) seeOthers(c *dbConn) error {
	return c.one(`PRAGMA data_version`, nil, &s.others)
}
