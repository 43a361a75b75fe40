package main

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// A wrong jump ahead is not for ever: the system's clock is believed again when it has been synchronised and has not jumped for a day, and
// at once when somebody says so. Nothing else sets the time back.
func TestClockBelieved(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	var up, wrong atomic.Int64
	var synced atomic.Bool
	opt := StoreOptions{Service: true, Uptime: func() time.Duration { return time.Duration(up.Load()) }, Synchronised: synced.Load,
		Now: func() time.Time { return begin.Add(time.Duration(up.Load() + wrong.Load())) }}
	st := openTestStore(t, opt)
	_, inbox := addTestUser(t, st, "ann")
	years := 30 * 365 * 24 * time.Hour
	wrong.Store(int64(years))
	appendText(t, st, inbox, "Subject: x\r\n\r\n", Flags{})
	if st.Now().Year() < 2056 {
		t.Fatalf("it is %v", st.Now())
	}
	mustWrite(t, st, func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO destinations(domain,next) VALUES('far.test',?)`, st.Now().Add(time.Hour).Unix())
		return err
	})
	wrong.Store(0)
	look := func(d time.Duration) {
		t.Helper()
		for end := up.Load() + int64(d); up.Load() < end; {
			up.Add(int64(time.Hour))
			if err := st.lookAtClock(); err != nil {
				t.Fatal(err)
			}
		}
	}
	look(48 * time.Hour)
	if st.Now().Year() < 2056 || st.ClockTrusted() {
		t.Errorf("a clock that nobody sets was believed: %v", st.Now())
	}
	synced.Store(true)
	look(23 * time.Hour)
	wrong.Store(int64(time.Hour)) // it jumps once more
	look(23 * time.Hour)
	if st.Now().Year() < 2056 {
		t.Errorf("a clock that jumped was believed: %v", st.Now())
	}
	look(3 * time.Hour)
	if got, want := st.Now(), opt.Now(); got.Sub(want).Abs() > time.Minute || !st.ClockTrusted() {
		t.Errorf("it is %v, and the system says %v", got, want)
	}
	var next int64
	mustRead(t, st, func(tx *Tx) error { return tx.one(`SELECT next FROM destinations WHERE domain='far.test'`, nil, &next) })
	if next > st.Now().Unix() {
		t.Errorf("what waits is due at %v", time.Unix(next, 0))
	}

	wrong.Store(int64(years))
	st.Now()
	wrong.Store(0)
	mustWrite(t, st, (*Tx).AskClockReset) // as the verb does
	if err := st.lookAtClock(); err != nil {
		t.Fatal(err)
	}
	if got, want := st.Now(), opt.Now(); got.Sub(want).Abs() > time.Minute {
		t.Errorf("after a reset it is %v, and the system says %v", got, want)
	}
	up.Add(int64(time.Hour))
	if row := appendText(t, st, inbox, "Subject: y\r\n\r\n", Flags{}); row.UID != 2 {
		t.Errorf("UID %d", row.UID)
	}
}

// The verb shows the clocks, and what it asks for is done by the next appliance as well.
func TestVerbClock(t *testing.T) {
	t.Parallel()
	c := newTestCommand(t, "")
	path := filepath.Join(c.dir, "mail.db")
	ahead := StoreOptions{Service: true, Now: func() time.Time { return time.Now().AddDate(30, 0, 0) }}
	st, err := OpenStore(path, ahead)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, st, func(tx *Tx) error { return tx.SetSetting("x", []byte("y")) })
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	c.want(0, "system|postino|clock reset", "", "clock")
	c.want(2, "usage", "", "clock", "set")
	c.want(0, "goes by the system's clock", "", "clock", "reset")
	st, err = OpenStore(path, StoreOptions{Service: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if time.Until(st.Now()).Abs() > time.Minute {
		t.Errorf("it is %v", st.Now())
	}
}
