// Staged content: written in steps ahead of the transaction that refers to it.
package main

const (
	stageLeast = 1 << 20   // octets from which on content is staged
	stageStep  = 512 << 10 // octets in one transaction of that
)

// Stage does what can be done ahead of the transaction that AddBlob is called in: it puts together what AddBlob stores beside
// the content, compresses that, and stores large content in steps, so that nobody has to wait for all of it. Call it when the message is
// complete, before Write, and close the spool in any case: what is staged and never added is cleared away then. A verb beside
// the appliance does not stage: the appliance's collector would not know that the content is still wanted.
func (s *Store) Stage(sp *Spool) error {
	if sp.staged.ID != 0 {
		return nil
	}
	row, err := sp.describe()
	if err != nil {
		return err
	}
	if sp.Size() < stageLeast || !s.opt.Service {
		return sp.packAhead(row.headHere, min(sp.Size(), stageLeast))
	}
	return s.stage(sp)
}

// StageAhead stages content of any size and gives its memory and file back. It is for messages that are many, of which the
// transaction that adds them is far off.
func (s *Store) StageAhead(sp *Spool) error {
	err := s.stage(sp)
	if err == nil {
		err = sp.forget()
	}
	return err
}

func (s *Store) stage(sp *Spool) error {
	var b Blob
	var at int64
	err := s.Write(func(tx *Tx) error {
		s.unstage(b.ID) // of an attempt that had to be repeated
		var err error
		b, at, err = tx.addHead(sp)
		if err == nil {
			s.holdStaged(b.ID) // before the commit: then the collector may see it
		}
		return err
	})
	for at < b.Size && err == nil {
		from, end := at, min(at+stageStep, b.Size)
		err = sp.packAhead(from, end)
		s.waitForCheckpoint()
		if err == nil {
			at, err = write(s, func(tx *Tx) (int64, error) { return tx.addChunks(sp, b, from, end) })
		}
		sp.dropPacked()
	}
	if err != nil {
		s.unstage(b.ID)
		return err
	}
	sp.staged = b
	return nil
}

// holdStaged keeps the collector and the index away from content without references, until unstage.
func (s *Store) holdStaged(id BlobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[id] = true
}

func (s *Store) unstage(id BlobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.staged, id)
	s.dirty.Store(true)
}

// isStaged says whether content without references is waiting for one.
func (s *Store) isStaged(id BlobID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.staged[id]
}

// firstStaged is the lowest ID of content that waits for a reference; the text index must not go past it.
func (s *Store) firstStaged() BlobID {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := BlobID(1<<63 - 1)
	for id := range s.staged {
		least = min(least, id)
	}
	return least
}
