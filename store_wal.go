// The WAL: what is committed goes there first, and is copied into the database later.
package main

const (
	walFull = 4 << 20   // octets of pages in the WAL from which on it is copied
	walRest = 400 << 10 // of which the writer itself copies the last ones, at most
	walHuge = 32 << 20  // and from here on it does all of it, however long that takes
)

// tendWAL has the WAL copied into the database when it is full, in the writer after a commit. SQLite begins it anew with
// the first commit that finds all of it copied, so the writer does the rest that came in while the checkpointer was busy.
func (s *Store) tendWAL() {
	s.countFree()
	var busy, frames, done int
	tx := Tx{s: s, c: s.w}
	if err := tx.one(`PRAGMA wal_checkpoint(NOOP)`, nil, &busy, &frames, &done); err != nil || s.octets(frames) < walFull || frames == done {
		return
	}
	switch left := frames - done; {
	case s.octets(frames) >= walHuge:
		s.checkpoint.Lock() // the mail must not grow the WAL faster than it can be copied
	case s.octets(left) > walRest || !s.checkpoint.TryLock():
		s.askForCheckpoint()
		return
	}
	defer s.checkpoint.Unlock()
	if err := tx.one(`PRAGMA wal_checkpoint(PASSIVE)`, nil, &busy, &frames, &done); err != nil {
		s.crew.Complain("store checkpoint", err)
	}
}

// octets is how much so many pages hold.
func (s *Store) octets(pages int) int64 { return int64(pages) * s.pageSize }

// askForCheckpoint has the checkpointer copy the WAL soon.
func (s *Store) askForCheckpoint() {
	select {
	case s.walDue <- struct{}{}:
	default:
	}
}

// checkpointer copies the WAL into the database while the writer goes on writing to its end.
func (s *Store) checkpointer() {
	for {
		select {
		case <-s.quit:
			return
		case <-s.walDue:
		}
		s.checkpoint.Lock()
		var busy, frames, done int
		err := (&Tx{s: s, c: s.ck}).one(`PRAGMA wal_checkpoint(PASSIVE)`, nil, &busy, &frames, &done)
		s.checkpoint.Unlock()
		if err != nil {
			s.crew.Complain("store checkpoint", err)
		}
	}
}

// waitForCheckpoint waits until the WAL is not being copied. Whoever writes a lot waits here, so that little more comes in
// meanwhile and others, who do not, are not held up by the rest.
func (s *Store) waitForCheckpoint() {
	s.checkpoint.Lock()
	defer s.checkpoint.Unlock()
}
