// The store's clock, for boards that have none: time never runs backwards, whatever the system says.
package main

import (
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

// clock yields the latest of the system's time, the last persisted time and the time of the build, and from a moment
// on never less than it said before. A board without a clock chip starts in 1970; a wrong time that was persisted
// (a jump to the future) is followed only by the monotonic clock until the system catches up.
type clock struct {
	mu      sync.Mutex
	system  func() time.Time
	floor   time.Time // what it was at least
	since   time.Time // when floor was taken, with a monotonic reading
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
	floor := s.built
	var v []byte
	if err := s.w.QueryRowContext(noCancel, `SELECT value FROM settings WHERE key='clock'`).Scan(&v); err == nil {
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && time.Unix(n, 0).After(floor) {
			floor = time.Unix(n, 0)
		}
	}
	s.clock = clock{system: s.opt.Now, floor: floor, since: time.Now()}
	if s.readOnly != nil || !s.opt.Service {
		return nil
	}
	_, err := s.w.ExecContext(noCancel, `INSERT OR REPLACE INTO settings(key,value) VALUES('clean','0')`)
	return err
}

// Now is the time that is stored and shown. Use time.Now only for durations.
func (s *Store) Now() time.Time {
	c := &s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	sys := c.system()
	if least := c.floor.Add(time.Since(c.since)); sys.Before(least) {
		return least.Round(0)
	}
	c.floor, c.since = sys.Round(0), time.Now()
	return sys.Round(0)
}

// ClockTrusted says whether the system's clock is at least not older than this program and the file.
func (s *Store) ClockTrusted() bool {
	return !s.opt.Now().Before(s.Now().Add(-time.Minute))
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
	_, err := tx.exec(`INSERT OR REPLACE INTO settings(key,value) VALUES('clock',?)`, now.Unix())
	return err
}
