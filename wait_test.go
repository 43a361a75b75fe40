package main

import (
	"testing"
	"time"
)

// testPatience is what a test gives up after: so much that only a fault needs it, even on a board's processor, or an emulated one,
// that a whole suite shares. Deadlines of connections are this too; a shorter time in a test needs a reason beside it.
const testPatience = 2 * time.Minute

// waitFor returns once done says true, and fails the test if that takes testPatience. done is asked every 5 ms, from the test's own goroutine.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(testPatience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", testPatience, what)
		}
	}
}
