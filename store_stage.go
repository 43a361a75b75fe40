// Staged content: written in steps ahead of the transaction that refers to it.
package main

const (
	stageLeast = 1 << 20   // octets from which on content is staged
	stageStep  = 512 << 10 // octets in one transaction of that
)

// Stage does what can be done ahead of the transaction that AddBlob is called in: it puts together what AddBlob stores beside
// the content, and stores large content in steps, so that nobody has to wait for all of it. Call it when the message is complete, before Write. What is staged and never added is cleared away. A verb
// beside the appliance does not stage: the appliance's collector would not know that the content is still wanted.
func (s *Store) Stage(sp *Spool) error {
	if sp.staged.ID != 0 {
		return nil
	}
	if _, err := sp.describe(); err != nil || sp.Size() < stageLeast || !s.opt.Service {
		return err
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
	err := s.Write(func(tx *Tx) (err error) {
		s.setStaged(b.ID, false) // of an attempt that had to be repeated
		b, at, err = tx.addHead(sp)
		if err == nil {
			s.setStaged(b.ID, true) // before the commit: then the collector may see it
		}
		return err
	})
	for at < b.Size && err == nil {
		s.waitForCheckpoint()
		var next int64
		err = s.Write(func(tx *Tx) (err error) {
			next, err = tx.addChunks(sp, b, at, min(at+stageStep, b.Size))
			return err
		})
		at = next
	}
	if err != nil {
		s.setStaged(b.ID, false)
		return err
	}
	sp.staged = b
	return nil
}

func (s *Store) setStaged(id BlobID, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.staged[id] = true
	} else {
		delete(s.staged, id)
		s.dirty.Store(true)
	}
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
