// The store's clock, for boards that have none: time never runs backwards, whatever the system says.
package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
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
	first   time.Duration // what of it was when the file was opened
	written time.Time     // the last time that is in the file

	steady time.Duration // since when the system's clock is synchronised and has not jumped, by Uptime
	offset time.Time     // what the system's clock said when Uptime was zero, at the last look
}

const (
	clockBelieve = 24 * time.Hour // for which a synchronised clock must not have jumped, to be believed although it is behind ours
	clockLook    = time.Minute    // between looks at that
)

// settingClockReset is written by `postino clock reset` for an appliance that runs: to go by the system's clock at once.
const settingClockReset = "clock_reset"

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
	query := `SELECT value FROM settings WHERE key='clock' AND NOT EXISTS(SELECT 1 FROM settings WHERE key='` + settingClockReset + `')`
	if err := s.w.one(query, nil, &v); err == nil {
		text, sure := strings.CutPrefix(string(v), "=")
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && time.Unix(n, 0).After(floor) {
			floor = time.Unix(n, 0)
		}
		if sys := s.opt.Now().Round(0); sure && sys.After(floor) {
			floor = sys
		}
	}
	up := s.opt.Uptime()
	s.clock = clock{floor: floor, since: up, steady: up}
	s.clock.first = s.Jumped()
	return nil
}

// watchClock looks whether the system's clock is to be believed again although ours is ahead of it: one wrong jump, of a board or of a
// network's time, must not be for ever. It is when it has been synchronised, and has not jumped, for a day, or when somebody says so.
func (s *Store) watchClock() {
	s.every(clockLook, func() {
		if err := s.lookAtClock(); err != nil && !errors.Is(err, ErrClosed) {
			s.crew.Complain("store: the clock", err)
		}
	})
}

func (s *Store) lookAtClock() error {
	_, err := read(s, func(tx *Tx) ([]byte, error) { return tx.Setting(settingClockReset) })
	if err == nil {
		return s.ResetClock()
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if !s.clockSteady() || s.ClockTrusted() {
		return nil
	}
	return s.ResetClock()
}

// clockSteady notes whether the system's clock has jumped, and says whether it has been good for long enough.
func (s *Store) clockSteady() bool {
	c := &s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	up := s.opt.Uptime()
	offset := s.opt.Now().Round(0).Add(-up)
	jumped := offset.Sub(c.offset).Abs() > clockStep
	c.offset = offset
	if jumped || !s.opt.synchronised() {
		c.steady = up
	}
	return up-c.steady >= clockBelieve
}

// synchronised says whether the kernel takes the system's clock for synchronised; some program for the network's time tells it.
func (o *StoreOptions) synchronised() bool {
	if o.Synchronised != nil {
		return o.Synchronised()
	}
	var x syscall.Timex
	state, err := syscall.Adjtimex(&x)
	return err == nil && state != clockError && x.Status&clockUnsynchronised == 0
}

// What adjtimex says of a clock that nobody sets (adjtimex(2)).
const (
	clockError          = 5
	clockUnsynchronised = 0x40
)

// ResetClock goes by the system's clock from now on, though it is behind ours. What waits for a time that is far off now is due anew. The build's time stays the least.
func (s *Store) ResetClock() error {
	sys := s.opt.Now().Round(0)
	if sys.Before(s.built) {
		return fmt.Errorf("the system says %s, which is before this program was built", sys.Format(time.DateTime))
	}
	before := s.Now()
	ahead := before.Sub(sys)
	err := s.Write(func(tx *Tx) error {
		if err := tx.SetSetting(settingClockReset, nil); err != nil || ahead < clockStep {
			return err
		}
		if err := tx.SetSetting("clock", []byte("="+strconv.FormatInt(sys.Unix(), 10))); err != nil {
			return err
		}
		return tx.clockSetBack(sys, ahead)
	})
	if err != nil || ahead < clockStep {
		return err
	}
	c := &s.clock
	c.mu.Lock()
	c.floor, c.since, c.written = sys, s.opt.Uptime(), sys
	c.mu.Unlock()
	s.log.Warn("the clock was ahead and goes by the system's again", "was", before.Format(time.DateTime), "is", sys.Format(time.DateTime))
	return nil
}

// clockSetBack brings the times of what waits back to where they can be reached.
func (tx *Tx) clockSetBack(now time.Time, ahead time.Duration) error {
	sec, back := now.Unix(), int64(ahead/time.Second)
	for _, q := range []string{
		`UPDATE queue SET deadline=CASE WHEN deadline>?1 THEN max(?1,deadline-?2) ELSE deadline END, due=CASE WHEN due>?1 THEN max(?1,due-?2) ELSE due END,
			since=min(since,?1), created=min(created,?1)`,
		`UPDATE destinations SET next=?1 WHERE next>?1+?2/2`,
		`UPDATE recipients SET next=?1 WHERE next>?1+?2/2`,
		`UPDATE letters SET due=?1 WHERE due>?1+?2/2 AND changed>?1`,
	} {
		if _, err := tx.exec(q, sec, back); err != nil {
			return err
		}
	}
	tx.Touch(QueueTopic)
	return nil
}

// AskClockReset has the appliance that runs on the file go by the system's clock, within a minute, or the next that is started.
func (tx *Tx) AskClockReset() error {
	sys := tx.s.opt.Now().Round(0)
	if ahead := tx.s.Now().Sub(sys); ahead >= clockStep {
		if err := tx.clockSetBack(sys, ahead); err != nil {
			return err
		}
	}
	return tx.SetSetting(settingClockReset, []byte("1"))
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

// JumpedSince is Jumped without what a stop took: how far ahead of the time that has passed since the file was opened.
func (s *Store) JumpedSince() time.Duration { return s.Jumped() - s.clock.first }

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
