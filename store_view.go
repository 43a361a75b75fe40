// Views: what sessions know of a mailbox, and which messages are \Recent.
package main

// FirstRecent is the UID from which on messages up to before next would be given as \Recent to the next session.
func (s *Store) FirstRecent(id MailboxID, next UID) UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, ok := s.recent[id]; ok {
		return first
	}
	return next
}

// TakeRecent makes the messages from the returned UID up to before next \Recent in the calling session and in no
// other (RFC 3501 §2.3.2). It is kept in memory: after a restart nothing that was there is recent.
func (s *Store) TakeRecent(id MailboxID, next UID) UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, ok := s.recent[id]
	if !ok {
		first = next
	}
	s.recent[id] = max(first, next)
	return first
}

// Recent counts for STATUS what the next session to select the mailbox would be given as \Recent.
func (s *Store) Recent(m Mailbox) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, ok := s.recent[m.ID]
	if !ok {
		return 0
	}
	return min(int64(m.UIDNext)-int64(first), m.Exists)
}

// View is a session's hold on a mailbox: tombstones that it has not told its client of keep their content.
type View struct {
	s       *Store
	mailbox MailboxID
	told    ModSeq
	release func() // gives back the memory of the session's list
}

// View registers a session of somebody that is about to list a mailbox in so many octets of memory, and knows its expunges up to
// told. It must be closed. ErrBusy when sessions hold too much already.
func (s *Store) View(who UserID, id MailboxID, octets int64, told ModSeq) (*View, error) {
	release, err := s.holdView(who, octets)
	if err != nil {
		return nil, err
	}
	v := &View{s, id, told, release}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views[v] = true
	return v, nil
}

// Told says that the client has now heard of all expunges up to mod.
func (v *View) Told(mod ModSeq) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if v.told == mod {
		return
	}
	v.told = mod
	v.s.dirty.Store(true)
}

// Close gives up the hold. It may be called twice.
func (v *View) Close() {
	v.release()
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	delete(v.s.views, v)
	v.s.dirty.Store(true)
}

// toldAll returns the modseq up to which every session on the mailbox has told its client of expunges.
func (s *Store) toldAll(id MailboxID) ModSeq {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := ModSeq(1<<63 - 1)
	for v := range s.views {
		if v.mailbox == id {
			least = min(least, v.told)
		}
	}
	return least
}
