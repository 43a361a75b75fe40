package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestGate: no more than its size is through at the same time, everybody gets through who waits, and one who takes all that one
// may have does not keep others waiting.
func TestGate(t *testing.T) {
	g := newGate(1000)
	var now, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			n := int64(1 + i*7%400)
			release, err := g.Take(UserID(i%3), n, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), now.Add(n)))
			if now.Load() > 1000 {
				t.Errorf("%d are through", now.Load())
			}
			time.Sleep(time.Duration(i%5) * 100 * time.Microsecond)
			now.Add(-n)
			release()
			release()
		}()
	}
	wg.Wait()
	if g.free != 1000 || len(g.held) != 0 || len(g.waiting) != 0 || most.Load() < 500 {
		t.Errorf("%d free, held %v, %d wait; %d at most", g.free, g.held, len(g.waiting), most.Load())
	}
	greedy, err := g.Take(1, 5000, 0) // which is as much as one may have
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Take(1, 1, time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("more for the same: %v", err)
	}
	waits := make(chan error)
	go func() {
		release, err := g.Take(1, 1, time.Minute)
		if err == nil {
			release()
		}
		waits <- err
	}()
	for { // until it waits
		g.mu.Lock()
		n := len(g.waiting)
		g.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	other, err := g.Take(2, 500, time.Minute)
	if err != nil {
		t.Errorf("another: %v", err)
	}
	if _, err := g.Take(3, 1, 0); !errors.Is(err, ErrBusy) {
		t.Errorf("it is full: %v", err)
	}
	greedy()
	if err := <-waits; err != nil {
		t.Error(err)
	}
	other()
	if g.free != 1000 {
		t.Errorf("%d free", g.free)
	}
}

// TestGateViews: sessions hold so much of large mailboxes together, more is refused until one is left, and small ones always open.
func TestGateViews(t *testing.T) {
	st := openTestStore(t, StoreOptions{Memory: 10 << 20})
	_, inbox := addTestUser(t, st, "ann")
	var views []*View
	for {
		v, err := st.View(UserID(10+len(views)), inbox.ID, 200_000, 0)
		if errors.Is(err, ErrBusy) {
			break
		}
		if err != nil || len(views) > 100 {
			t.Fatal(err, len(views))
		}
		views = append(views, v)
	}
	if want := (10 << 20) / gateViews / 200_000; len(views) != want {
		t.Errorf("%d views, not %d", len(views), want)
	}
	if v, err := st.View(9, inbox.ID, viewFree, 0); err != nil {
		t.Error(err)
	} else {
		v.Close()
	}
	views[0].Close()
	views[0].Close()
	v, err := st.View(9, inbox.ID, 200_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	for _, v := range views {
		v.Close()
	}
	if g := st.gates.views; g.free != g.size {
		t.Errorf("%d of %d free", g.free, g.size)
	}
}

// TestGateSearch: searches that have to wait for each other find what they would alone, and one that waits too long says so.
func TestGateSearch(t *testing.T) {
	st := openTestStore(t, StoreOptions{Memory: 24 << 20})
	_, inbox := addTestUser(t, st, "ann")
	var uids []UID
	for i := range 30 {
		uids = append(uids, appendText(t, st, inbox, fmt.Sprintf("Subject: number %d\r\n\r\nbody", i), Flags{}).UID)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			n := 0
			err := st.Search(inbox.ID, uids, &Query{Op: QueryText, Text: "number"}, func(f []Found) error {
				n += len(f)
				return nil
			})
			if err != nil || n != len(uids) {
				t.Errorf("%d found: %v", n, err)
			}
			n = 0
			err = st.MailKeys(inbox.ID, uids, func(*Message, *MailKeys) error {
				n++
				return nil
			})
			if err != nil || n != len(uids) {
				t.Errorf("%d keys: %v", n, err)
			}
		}()
	}
	wg.Wait()
	if g := st.gates.work; g.free != g.size {
		t.Errorf("%d of %d free", g.free, g.size)
	}
}

// TestListShares: the more read at the same time, the smaller is what each holds, and all get everything.
func TestListShares(t *testing.T) {
	st := openTestStore(t, StoreOptions{Memory: 8 << 20})
	_, inbox := addTestUser(t, st, "ann")
	var uids []UID
	for i := range 300 {
		uids = append(uids, appendText(t, st, inbox, fmt.Sprintf("Subject: %d\r\n\r\nbody", i), Flags{}).UID)
	}
	batch, end := st.gates.beginList()
	alone := batch()
	end()
	var wg sync.WaitGroup
	var reading, looked sync.WaitGroup
	reading.Add(40)
	looked.Add(40)
	for range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			n := 0
			err := st.List(inbox.ID, uids, WantBody, func(m *Listed) error {
				if n == 0 {
					reading.Done()
					reading.Wait() // all forty are at work
					if got := st.gates.lists / (2 * st.gates.count(0)); got > int64(alone)/30 {
						t.Errorf("a batch has %d, alone %d", got, alone)
					}
					looked.Done()
					looked.Wait()
				}
				n++
				return nil
			})
			if err != nil || n != len(uids) {
				t.Errorf("%d listed: %v", n, err)
			}
		}()
	}
	wg.Wait()
	if st.gates.count(0) != 0 {
		t.Errorf("%d are still reading", st.gates.count(0))
	}
}
