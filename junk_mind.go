// Models in memory: those of the people for whom mail comes.
package main

import (
	"sync"
	"time"
)

const (
	junkMinds = 8  // people's models in memory, half a megabyte each
	junkLeast = 20 // messages of each kind that must have been judged before anything is junk
)

// junkMind is one person's model in memory.
type junkMind struct {
	model   *JunkModel
	seen    UID
	learned map[BlobID]Lesson // in the model and not yet stored
	since   time.Time         // of the first of those, by the monotonic clock
	used    time.Time
}

// junkTaught holds the models that were used last.
type junkTaught struct {
	mu    sync.Mutex // held while one is read, used or written
	minds map[UserID]*junkMind
}

// mind returns somebody's model, nil if they have taught nothing. The caller holds j.mu.
func (j *junkTaught) mind(st *Store, user UserID, anew bool) (*junkMind, error) {
	m := j.minds[user]
	if m != nil {
		m.used = time.Now()
		return m, nil
	}
	state, err := read(st, func(tx *Tx) (JunkState, error) { return tx.JunkState(user) })
	if err != nil || (len(state.Model) == 0 && !anew) {
		return nil, err
	}
	model, err := ReadJunkModel(state.Model)
	if err != nil {
		return nil, err
	}
	j.makeRoom()
	m = &junkMind{model: model, seen: state.Seen, learned: map[BlobID]Lesson{}, used: time.Now()}
	j.minds[user] = m
	return m, nil
}

// ready says whether somebody has taught enough.
func (j *junkTaught) ready(st *Store, user UserID) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	m, err := j.mind(st, user, false)
	return m != nil && m.model.Messages[0] >= junkLeast && m.model.Messages[1] >= junkLeast, err
}

// score is JunkModel.Score by somebody's model. The words are found beforehand: nobody waits for another's message to be read.
func (j *junkTaught) score(st *Store, user UserID, words []JunkWord) (float64, []JunkWord, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	m, err := j.mind(st, user, false)
	if err != nil || m == nil { // it was forgotten meanwhile
		return 0, nil, err
	}
	score, most := m.model.Score(words)
	return score, most, nil
}

// makeRoom drops the models that were used longest ago. What they have not stored is learned again.
func (j *junkTaught) makeRoom() {
	for len(j.minds) >= junkMinds {
		oldest := UserID(0)
		for id, m := range j.minds {
			if oldest == 0 || m.used.Before(j.minds[oldest].used) {
				oldest = id
			}
		}
		delete(j.minds, oldest)
	}
}

// note remembers what was learned until it is stored.
func (m *junkMind) note(l Lesson) {
	if len(m.learned) == 0 {
		m.since = time.Now()
	}
	m.learned[l.Blob] = l
}
