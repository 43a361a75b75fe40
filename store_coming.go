// The budget for mail that is still coming: how much memory all spools together may hold.
package main

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	comingDefault = 16 << 20        // octets, where StoreOptions says nothing
	comingTree    = 24 << 10        // of a spool's tree, which it may have in any case: some 75 parts
	comingContent = 16 << 10        // of a spool's content in memory, the same
	comingShare   = 8               // the part of the budget that one spool may have beyond these
	comingWait    = 5 * time.Second // for a turn to learn a tree again that found no room
)

// comingBudget counts what spools hold. A message that has come whole and whose tree had no room is read again, one such message
// at a time: so a tree is poorer than its message only if another one takes too long.
type comingBudget struct {
	most int64
	used atomic.Int64
	turn chan struct{} // has room for the one that reads again
}

func newComingBudget(most int64) *comingBudget {
	if most <= 0 {
		most = comingDefault
	}
	return &comingBudget{most: most, turn: make(chan struct{}, 1)}
}

// take asks for n octets more for somebody who has own already, of which free are theirs in any case.
func (b *comingBudget) take(own, n, free int64) bool {
	if own+n > free && (own+n > b.most/comingShare || b.used.Load()+n > b.most) {
		return false
	}
	b.used.Add(n)
	return true
}

func (b *comingBudget) give(n int64) { b.used.Add(-n) }

// again waits for the turn of a message that is read once more. What it returns must be called when its tree is not needed any
// more; nil means that there was no turn.
func (b *comingBudget) again() func() {
	t := time.NewTimer(comingWait)
	defer t.Stop()
	select {
	case b.turn <- struct{}{}:
		return sync.OnceFunc(func() { <-b.turn })
	case <-t.C:
		return nil
	}
}
