package main

import (
	"testing"
	"time"
)

// waitFor returns once done says true, and fails the test if that takes a minute: so much that only a fault needs it, even on a
// board's processor that a whole suite shares. done is asked every 5 ms, from the test's own goroutine.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited a minute for " + what)
		}
	}
}
