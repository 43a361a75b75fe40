// The store's clock, for boards that have none: time never runs backwards, whatever the system says.
package main

import (
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clock yields the latest of the system's time, the last persisted time and the time of the build, and from a moment
// on never less than it said before. A board without a clock chip starts in 1970; a wrong time that was persisted
// (a jump to the future) is followed only by the monotonic clock until the system catches up.
//
// What the system jumps ahead is added up in jumped, so that ages can be counted without: all of it while this program
// runs, and what a stop took when the time before it or after it was not the system's.
type clock struct {
	mu      sync.Mutex
	floor   time.Time     // what it was at least
	since   time.Duration // when floor was taken, by Uptime
	jumped  time.Duration
	written time.Time // the last time that is in the file
}

// buildTime is the moment of the commit this program was built from, or of this release.
func buildTime() time.Time {
	t := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "vcs.time" {
				if v, err := time.Parse(time.RFC3339, s.Value); err == nil && v.After(t) {
					t = v
				}
			}
		}
	}
	return t
}

func (s *Store) startClock() error {
	s.built = buildTime()
	start := time.Now()
	if s.opt.Uptime == nil {
		s.opt.Uptime = func() time.Duration { return time.Since(start) }
	}
	floor := s.built
	var v []byte
	if err := s.w.QueryRowContext(noCancel, `SELECT value FROM settings WHERE key='clock'`).Scan(&v); err == nil {
		text, sure := strings.CutPrefix(string(v), "=")
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && time.Unix(n, 0).After(floor) {
			floor = time.Unix(n, 0)
		}
		if sys := s.opt.Now().Round(0); sure && sys.After(floor) {
			floor = sys
		}
	}
	s.clock = clock{floor: floor, since: s.opt.Uptime()}
	return nil
}

// Now is the time that is stored and shown. Use time.Now only for durations.
func (s *Store) Now() time.Time {
	c := &s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	sys, up := s.opt.Now().Round(0), s.opt.Uptime()
	least := c.floor.Add(up - c.since).Round(0)
	if sys.Before(least) {
		return least
	}
	if ahead := sys.Sub(least); ahead > clockStep {
		c.jumped += ahead
	}
	c.floor, c.since = sys, up
	return sys
}

// Jumped is how far Now has run ahead of the time that has passed, since the file was opened.
func (s *Store) Jumped() time.Duration {
	s.Now()
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	return s.clock.jumped
}

// ClockTrusted says whether the system's clock is at least not older than this program and the file.
func (s *Store) ClockTrusted() bool {
	return !s.opt.Now().Before(s.Now().Add(-time.Minute))
}

// clockText is a time as it is written down: with "=" when it is the system's.
func (s *Store) clockText(now time.Time) string {
	if s.ClockTrusted() {
		return "=" + strconv.FormatInt(now.Unix(), 10)
	}
	return strconv.FormatInt(now.Unix(), 10)
}

// persistClock writes the time down when the last one written is old, in a transaction that writes something anyway.
func (tx *Tx) persistClock() error {
	c := &tx.s.clock
	now := tx.s.Now()
	c.mu.Lock()
	due := now.Sub(c.written) >= clockEvery || now.Before(c.written)
	if due {
		c.written = now
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	_, err := tx.exec(`INSERT OR REPLACE INTO settings(key,value) VALUES('clock',?)`, tx.s.clockText(now))
	return err
}
