package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// skippedTests are the tests that this run left out, with the reason of each.
var skippedTests struct {
	mu  sync.Mutex
	all []string
}

// skip leaves a test out, as t.Skip does. TestMain says so at the end, also without -v.
func skip(t testing.TB, why ...any) {
	t.Helper()
	skippedTests.mu.Lock()
	skippedTests.all = append(skippedTests.all, t.Name()+": "+strings.TrimSpace(fmt.Sprint(why...)))
	skippedTests.mu.Unlock()
	t.Skip(why...)
}

// saySkipped prints what was left out and why. `go test` shows that; `go test ./...` only if something failed, or with -v.
func saySkipped() {
	skippedTests.mu.Lock()
	defer skippedTests.mu.Unlock()
	if len(skippedTests.all) == 0 {
		return
	}
	slices.Sort(skippedTests.all)
	fmt.Fprintf(os.Stderr, "%d tests were skipped:\n  %s\n", len(skippedTests.all), strings.Join(skippedTests.all, "\n  "))
}

// sayMissing prints the routes and buttons of the pages that no test has entered, and returns whether there are any. It can
// only know after a run of all tests.
func sayMissing() bool {
	for _, part := range []string{"test.run", "test.skip", "test.list", "test.bench", "test.fuzz"} {
		if f := flag.Lookup(part); f != nil && f.Value.String() != "" {
			return false
		}
	}
	missing := webEntered.missing()
	if len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: no test has entered\n  %s\n", strings.Join(missing, "\n  "))
	}
	return len(missing) > 0
}
