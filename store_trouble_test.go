package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// queryOnly has the writer's connection refuse to write, as a file does that has become read-only.
func queryOnly(t *testing.T, st *Store, on string) {
	t.Helper()
	onWriter(t, st, `PRAGMA query_only=`+on)
}

// A file that can't be written says so without a try, and again when it can.
func TestWritable(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{})
	if err := st.Writable(); err != nil {
		t.Fatal(err)
	}
	if err := st.ProveWritable(); err != nil {
		t.Fatal(err)
	}
	queryOnly(t, st, "1")
	if err := st.ProveWritable(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("ProveWritable on a read-only file: %v", err)
	}
	if err := st.Writable(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Writable after a commit that failed: %v", err)
	}
	if err := st.Write(func(*Tx) error { return errors.New("the closure's own") }); err == nil || st.Writable() == nil {
		t.Error("a closure that failed has made the file writable")
	}
	queryOnly(t, st, "0")
	waitFor(t, "somebody to try again", func() bool { return st.Writable() == nil })
	if err := st.Damaged(); err != nil {
		t.Errorf("a commit that failed is no damage: %v", err)
	}
}

// A closure that the disk refuses while it shares the commit of another one, which works, counts as a failure all the same.
func TestWritableShared(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{})
	for range 8 { // so many that the writer waits for more than one
		defer st.Announce()()
	}
	begun, first, second := make(chan struct{}), make(chan error), make(chan error)
	go func() {
		first <- st.Write(func(tx *Tx) error {
			err := tx.SetSetting("a", []byte("1"))
			close(begun)
			for len(st.jobs) == 0 {
				time.Sleep(time.Millisecond)
			}
			return err
		})
	}()
	<-begun
	go func() {
		second <- st.Write(func(tx *Tx) error {
			_, err := tx.exec(`PRAGMA query_only=1`)
			return errors.Join(err, tx.SetSetting("b", []byte("1")))
		})
	}()
	if err := <-first; err != nil {
		t.Errorf("what was written before: %v", err)
	}
	if err := <-second; !errors.Is(err, ErrReadOnly) {
		t.Errorf("what came afterwards: %v", err)
	}
	if err := st.Writable(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Writable: %v", err)
	}
}

// What is complained of again and again is one line of log a minute for each kind.
func TestComplain(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	c := NewCrew(slog.New(slog.NewTextHandler(&b, nil)), nil)
	for range 1000 {
		c.Complain("one thing", ErrReadOnly)
		c.Complain("another", ErrDiskFull)
	}
	if n := strings.Count(b.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
	now := time.Now()
	if silent, due := c.complaintDue("one thing", now.Add(complainEvery)); !due || silent != 999 {
		t.Errorf("after a minute: %v, %d left out", due, silent)
	}
	if _, due := c.complaintDue("one thing", now.Add(complainEvery+time.Second)); due {
		t.Error("a second later there was another one")
	}
}

// onWriter runs SQL on the writer's connection.
func onWriter(t *testing.T, st *Store, script string) {
	t.Helper()
	if err := st.onWriter(func(c *dbConn) error { return c.run(script) }); err != nil {
		t.Fatal(err)
	}
}
