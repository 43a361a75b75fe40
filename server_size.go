// Sizes of messages that are not sent as they are stored: found out by writing them once, and remembered.
package main

import (
	"sync"
)

// sentForm is content in the form in which a client gets it.
type sentForm struct {
	id      BlobID
	lines   bool // as POP3 has it, in lines
	ascii   bool // with ASCII headers
	encoded bool // without binary parts
}

// sentSizes remembers sizes beyond the session that found them out: a client that leaves its mail here asks for all of them
// every few minutes. Content never changes. The zero value is ready.
type sentSizes struct {
	mu    sync.Mutex
	sizes map[sentForm]int64
}

// sentSizesMax is how many are remembered; all are forgotten when there would be more.
const sentSizesMax = 10_000

func (s *sentSizes) get(f sentForm) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.sizes[f]
	return n, ok
}

func (s *sentSizes) put(f sentForm, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sizes == nil || len(s.sizes) >= sentSizesMax {
		s.sizes = map[sentForm]int64{}
	}
	s.sizes[f] = n
}
