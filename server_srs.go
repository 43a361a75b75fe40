// The secret with which addresses for reports are made (SRS).
package main

import (
	"crypto/rand"
	"errors"
	"sync"
)

const settingSRS = "srs_key"

// srsRing keeps the key.
type srsRing struct {
	mu  sync.Mutex
	key []byte
}

// srsKey is the secret in the file, made when it is first needed.
func (s *Server) srsKey() ([]byte, error) {
	s.srs.mu.Lock()
	defer s.srs.mu.Unlock()
	if s.srs.key != nil {
		return s.srs.key, nil
	}
	key, err := read(s.store, func(tx *Tx) ([]byte, error) { return tx.Setting(settingSRS) })
	if errors.Is(err, ErrNotFound) {
		key, err = write(s.store, func(tx *Tx) ([]byte, error) {
			have, err := tx.Setting(settingSRS)
			if err == nil || !errors.Is(err, ErrNotFound) { // another process was faster
				return have, err
			}
			made := make([]byte, 32)
			rand.Read(made)
			return made, tx.SetSetting(settingSRS, made)
		})
	}
	if err == nil {
		s.srs.key = key
	}
	return key, err
}
