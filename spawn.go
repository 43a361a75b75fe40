// Goroutines: each of them is started here, and a fault in one stays there.
package main

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

const (
	crewPause    = time.Second     // before a background job that ended in a panic runs again; doubled each time
	crewMaxPause = 5 * time.Minute // at most
	crewCalm     = time.Hour       // a job that ran for so long has its short pause back
)

// Crew starts all goroutines of the appliance and counts the panics in them, by the names that the code gives. A panic ends
// what the goroutine was doing and nothing else. layout_test.go sees that no goroutine is started by anything else.
type Crew struct {
	log    *slog.Logger
	inject atomic.Pointer[func(name string)] // a test's: called in front of what Keep, Result and Guard run under a name, and may panic

	mu     sync.Mutex
	faults map[string]*Fault

	complaints map[string]*complaint // by kind, see Complain
}

// Fault is what is known of the panics under one name.
type Fault struct {
	Name  string
	Count int64
	Last  time.Time // by the system clock
	Text  string    // of the last one
}

// PanicError is a panic as an error.
type PanicError struct {
	Name  string
	Value any
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("a fault in Postino (%s): %v", e.Name, e.Value)
}

// NewCrew returns a crew that logs to log. inject is for tests; nil otherwise.
func NewCrew(log *slog.Logger, inject func(name string)) *Crew {
	c := &Crew{log: log, faults: map[string]*Fault{}, complaints: map[string]*complaint{}}
	c.setInject(inject)
	return c
}

// setInject changes what NewCrew was given; nil is nothing.
func (c *Crew) setInject(fn func(name string)) {
	if fn == nil {
		c.inject.Store(nil)
		return
	}
	c.inject.Store(&fn)
}

// Go runs fn in a goroutine of wg, or of none if wg is nil. What fn must undo in any case it defers: after a panic it does not
// run again.
func (c *Crew) Go(wg *sync.WaitGroup, name string, fn func()) {
	if wg != nil {
		wg.Add(1)
	}
	go func() {
		if wg != nil {
			defer wg.Done()
		}
		defer func() {
			if p := recover(); p != nil {
				c.Caught(name, p)
			}
		}()
		fn()
	}()
}

// After runs fn in a goroutine once d has passed, unless the timer is stopped before. A panic ends that alone.
func (c *Crew) After(d time.Duration, name string, fn func()) *time.Timer {
	return time.AfterFunc(d, func() {
		defer func() {
			if p := recover(); p != nil {
				c.Caught(name, p)
			}
		}()
		fn()
	})
}

// Keep runs fn in a goroutine of wg as Go does, and again after each panic, with pauses that grow from crewPause to
// crewMaxPause, until fn returns or stop is closed. It is for jobs that must go on as long as the appliance does.
func (c *Crew) Keep(wg *sync.WaitGroup, name string, stop <-chan struct{}, fn func()) {
	if wg != nil {
		wg.Add(1)
	}
	go func() {
		if wg != nil {
			defer wg.Done()
		}
		pause := crewPause
		for {
			began := time.Now()
			err := c.Guard(name, func() error { fn(); return nil })
			if err == nil {
				return
			}
			if time.Since(began) > crewCalm {
				pause = crewPause
			}
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, crewMaxPause)
		}
	}()
}

// Result runs fn in a goroutine and returns a channel that receives what became of it, once: fn's error, or a *PanicError.
// Nobody has to read it.
func (c *Crew) Result(name string, fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Guard(name, fn) }()
	return done
}

// Guard runs fn and returns its error, or its panic as a *PanicError.
func (c *Crew) Guard(name string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.Caught(name, p)
		}
	}()
	if inject := c.inject.Load(); inject != nil {
		(*inject)(name)
	}
	return fn()
}

// Caught counts and logs a panic that somebody else recovered from, and returns it as an error.
func (c *Crew) Caught(name string, p any) error {
	err := &PanicError{Name: name, Value: p}
	c.log.Error("panic", "in", name, "err", p, "stack", string(debug.Stack()))
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.faults[name]
	if f == nil {
		f = &Fault{Name: name}
		c.faults[name] = f
	}
	f.Count++
	f.Last, f.Text = time.Now(), fmt.Sprint(p)
	return err
}

// Faults returns what panicked so far, by name.
func (c *Crew) Faults() []Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Fault, 0, len(c.faults))
	for _, f := range c.faults {
		all = append(all, *f)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}
