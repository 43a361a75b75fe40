package main

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A fault of ours while one message is handed over costs that message its try; after the second one it is held, across a
// restart in between, and everything else goes on.
func TestQueueFaultHeld(t *testing.T) {
	p := newPeer(t, nil)
	qt := &queueTest{t: t}
	path := filepath.Join(t.TempDir(), "mail.db")
	qt.start(path, p)
	// "bad" is the message with an 8-bit body: the fault stands for one in its conversion.
	n := 0
	panics := func(name string) {
		if name == "queued message" {
			n++
			if n == 2 {
				panic("injected")
			}
		}
	}
	qt.crew.setInject(panics)
	var ids []string
	for i := range 4 {
		ids = append(ids, qt.submit("ann@home.arpa", fmt.Sprintf("x%d@far.example", i)))
	}
	qt.step()
	items := qt.queue()
	if len(items) != 1 || items[0].Name != ids[1] || items[0].Rcpts[0].Tries != 1 || items[0].Rcpts[0].Hold || items[0].Rcpts[0].Error != "internal error" {
		t.Fatalf("after the first fault: %+v", items)
	}
	qt.Shutdown()
	if err := qt.store.Close(); err != nil {
		t.Fatal(err)
	}
	qt.start(path, p)
	n = 1
	qt.crew.setInject(panics)
	qt.forward(time.Hour)
	qt.step()
	items = qt.queue()
	if len(items) != 1 || !items[0].Rcpts[0].Hold || !strings.HasPrefix(items[0].Rcpts[0].Error, "held: a fault in Postino") {
		t.Fatalf("after the second fault: %+v", items)
	}
	qt.crew.setInject(nil)
	qt.forward(100 * time.Hour) // it is held for as long as it takes
	qt.step()
	qt.submit("ann@home.arpa", "y@far.example")
	qt.step()
	qt.wantQueue(1)
	if _, err := write(qt.store, func(tx *Tx) (int, error) { return tx.QueueHold(ids[1], false) }); err != nil {
		t.Fatal(err)
	}
	qt.step()
	qt.wantQueue(0)
	if got := len(p.received()); got != 5 {
		t.Errorf("%d mails came", got)
	}
}

// A fault of ours outside of a message is a failed try of the destination.
func TestQueueFaultDestination(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.crew.setInject(func(name string) {
		if name == "destination" {
			panic("injected")
		}
	})
	qt.submit("ann@home.arpa", "x@far.example")
	for range 3 {
		qt.step()
	}
	if got := qt.destinationError(t); got != "internal error" || p.connections() != 0 {
		t.Errorf("error %q, %d connections", got, p.connections())
	}
	if faults := qt.crew.Faults(); len(faults) != 1 || faults[0].Count != 1 {
		t.Errorf("it was tried again at once: %+v", faults)
	}
	qt.crew.setInject(nil)
	qt.forward(time.Hour)
	qt.step()
	qt.wantQueue(0)
}

// A fault while a report is written costs the report and nothing else; one at a deadline puts that off.
func TestQueueFaultReport(t *testing.T) {
	p := newPeer(t, func(l string) string {
		if strings.HasPrefix(l, "RCPT") {
			return "550 5.1.1 no"
		}
		return ""
	})
	qt := newQueueTest(t, p)
	qt.crew.setInject(func(name string) {
		if name == "report" || name == "queue deadline" {
			panic("injected")
		}
	})
	qt.submit("ann@home.arpa", "x@far.example")
	qt.step()
	qt.wantQueue(0)
	if n := len(qt.inbox(t, "ann@home.arpa")); n != 0 {
		t.Errorf("%d reports", n)
	}
	p.mu.Lock()
	p.answer = func(l string) string { return map[bool]string{true: "cut"}[l == "<connect>"] }
	p.mu.Unlock()
	qt.submit("ann@home.arpa", "x@far.example")
	for range 60 {
		qt.step()
		qt.forward(6 * time.Minute)
	}
	qt.wantQueue(1)
	qt.crew.setInject(nil)
	for range 12 {
		qt.step()
		qt.forward(6 * time.Minute)
	}
	if n := len(qt.inbox(t, "ann@home.arpa")); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// Nothing goes out that can't be noted: when the file can't be written, what has gone out is not repeated, nothing more goes,
// and there is no loop; when it can again, all goes on and nothing comes twice.
func TestQueueReadOnly(t *testing.T) {
	var qt *queueTest
	var p *peer
	p = newPeer(t, func(l string) string {
		if l == "<data>" && len(p.mails) == 3 {
			queryOnly(t, qt.store, "1")
		}
		return ""
	})
	qt = newQueueTest(t, p, "[queue]", `retry = "1s"`, `retry_max = "1s"`)
	writableAgain(t, qt.store)
	for range 10 {
		qt.submit("ann@home.arpa", "x@far.example")
	}
	for range 20 {
		qt.step()
		qt.forward(10 * time.Minute)
	}
	if got := len(p.received()); got != 3 {
		t.Errorf("%d mails went out, not 3", got)
	}
	if n := p.connections(); n != 1 {
		t.Errorf("%d connections: %q", n, p.said())
	}
	if wait, waits := qt.q.pass(); !waits || wait <= 0 {
		t.Errorf("the next look comes after %v, %v", wait, waits)
	}
	queryOnly(t, qt.store, "0")
	waitFor(t, "all to go out", func() bool {
		qt.forward(10 * time.Minute)
		qt.step()
		return len(qt.queue()) == 0
	})
	if got := len(p.received()); got != 10 {
		t.Errorf("%d mails came, not 10", got)
	}
}

// The same when the failure of a try can't be noted: the next hop is left alone all the same.
func TestQueueReadOnlyFailing(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	p.mu.Lock()
	p.answer = func(l string) string {
		if l == "<connect>" {
			queryOnly(t, qt.store, "1")
			return "cut"
		}
		return ""
	}
	p.mu.Unlock()
	writableAgain(t, qt.store)
	qt.submit("ann@home.arpa", "x@far.example")
	for range 50 {
		qt.step()
		qt.forward(10 * time.Minute)
	}
	if n := p.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A file that could not be written when the queue was started has nothing sent from it.
func TestQueueReadOnlyStart(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "x@far.example")
	writableAgain(t, qt.store)
	queryOnly(t, qt.store, "1")
	for range 20 {
		qt.step()
		qt.forward(10 * time.Minute)
	}
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A file from before deadlines were kept has them after the first look.
func TestQueueDeadlineStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
	_, err = db.Exec(schema1 + fmt.Sprintf(`
		INSERT INTO blobs(id,size,headlen,head,tree) VALUES(1,0,0,x'',x'');
		INSERT INTO queue(id,name,blob,size,thread,form,sender,created,since) VALUES(1,'old',1,0,0,0,'',%d,%d);
		INSERT INTO destinations(domain,next,failures,attempts) VALUES('far.example',%d,9,9);
		INSERT INTO recipients(item,address,domain,next,warned) VALUES(1,'x@far.example','far.example',%d,1);
		PRAGMA user_version=1`, since, since, since+90000, since))
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	qt := &queueTest{t: t}
	qt.start(path, newPeer(t, nil))
	qt.step()
	items := qt.queue()
	want := time.Unix(since, 0).Add(time.Duration(qt.cfg.Queue.GiveUp))
	if len(items) != 1 || !items[0].Deadline.Equal(want) || items[0].Rcpts[0].Tries != 9 {
		t.Errorf("queue %+v, deadline not %v", items, want)
	}
}

// writableAgain has the file writable again at the end of the test.
func writableAgain(t *testing.T, st *Store) { t.Cleanup(func() { queryOnly(t, st, "0") }) }

// Who asks for mail at the moment when it is put off, for its link or with others of a dead host, gets it.
func TestQueueAskedMeanwhile(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.cfg.Routes = map[string]Route{"ask.example": {Hosts: []string{p.addr()}, Intermittent: true}, ".": {Hosts: []string{p.addr()}}}
	for domain, wait := range map[string]time.Duration{"ask.example": 0, "far.example": time.Hour} {
		qt.submit("ann@home.arpa", "x@"+domain)
		due, err := read(qt.store, func(tx *Tx) ([]Destination, error) {
			due, _, err := tx.DueDestinations(tx.s.Now())
			return due, err
		})
		if err != nil || len(due) != 1 || due[0].Domain != domain {
			t.Fatal(due, err)
		}
		qt.write(t, func(tx *Tx) error { _, err := tx.QueueAsk(domain); return err })
		qt.q.visit(newHopGroup(qt.nextHop(domain), due), wait) // as the runner saw it before
		qt.step()
		qt.wantQueue(0)
	}
	if n := len(p.received()); n != 2 {
		t.Errorf("%d mails came", n)
	}
}

// Tries that somebody asked for bring the end of a message that waits for an intermittent link no nearer.
func TestQueueAskedTries(t *testing.T) {
	p := newPeer(t, func(l string) string { return map[bool]string{true: "cut"}[l == "<connect>"] })
	qt := newQueueTest(t, p)
	qt.cfg.Routes = map[string]Route{"ask.example": {Hosts: []string{p.addr()}, Intermittent: true}}
	qt.submit("ann@home.arpa", "x@ask.example")
	for range 3 * queueTries {
		qt.write(t, func(tx *Tx) error { _, err := tx.QueueAsk("ask.example"); return err })
		qt.step()
		qt.forward(2 * time.Hour)
	}
	qt.step()
	if p.connections() != 3*queueTries {
		t.Errorf("%d connections", p.connections())
	}
	qt.wantQueue(1)
	if n := len(qt.inbox(t, "ann@home.arpa")); n != 0 {
		t.Errorf("%d reports", n)
	}
}
