// How much memory something takes, while goroutines of other tests may still be at work.
package main

import (
	"runtime"
	"testing"
	"time"
)

// heapPeak runs fn and says how much more than before was alive on the heap meanwhile.
func heapPeak(fn func()) (most int64) {
	alive := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, done := alive(), make(chan bool)
	go func() { fn(); close(done) }()
	for {
		most = max(most, alive()-before)
		select {
		case <-done:
			return most
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// allocatesLess fails the test if fn allocates more than so many octets, garbage included, each of three times: whatever else the
// process does counts, too.
func allocatesLess(t *testing.T, most uint64, what string, fn func()) {
	t.Helper()
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
		if least <= most {
			return
		}
	}
	t.Errorf("%s allocates %d octets, more than %d", what, least, most)
}
