package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

const dripping = "250 x…" // a line of which the octets come one by one

// silentHost accepts connections and says what lines has, one for each command, and then nothing any more.
func silentHost(t *testing.T, lines ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				buf := make([]byte, 1000)
				for _, line := range lines {
					if line == dripping {
						fmt.Fprint(c, "250 ")
						drip(c)
						return
					}
					fmt.Fprintf(c, "%s\r\n", line)
					if _, err := c.Read(buf); err != nil {
						return
					}
				}
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// drip sends octets one by one, as slowly as makes a whole line late, until the other side has had enough.
func drip(c net.Conn) {
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Forty hosts that accept connections and fall silent, at once or later, or say a reply octet by octet, don't keep a good one waiting.
func TestQueueSilentHosts(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.q.hurry = 50 * time.Millisecond
	kinds := [][]string{nil, {"220 hello"}, {"220 hello", "250 hello"}, {"220 hello", "250 hello", "250 ok"}, {"220-hello"}, {dripping},
		{"220 hello", dripping}, {"220 hello", "250 hello", dripping}}
	for i := range 40 {
		domain := fmt.Sprintf("silent%d.example", i)
		qt.cfg.Routes[domain] = Route{Hosts: []string{silentHost(t, kinds[i%len(kinds)]...)}}
		qt.submit("ann@home.arpa", "x@"+domain)
	}
	qt.forward(time.Second)
	qt.q.pass()
	qt.submit("ann@home.arpa", "x@good.example")
	waitFor(t, "the good host to get its mail", func() bool {
		var failed bool
		mustRead(t, qt.store, func(tx *Tx) error {
			all, err := tx.Destinations()
			failed = slices.ContainsFunc(all, func(d Destination) bool { return d.Domain == "good.example" && d.Failures > 0 })
			return err
		})
		if failed { // on a machine that was busy for as long as hurry it is silent like the others
			qt.write(t, func(tx *Tx) error { _, err := tx.QueueRetry("good.example"); return err })
		}
		qt.q.pass()
		return len(p.received()) > 0
	})
	// The peer has the mail before the queue has noted its answer.
	key := qt.nextHop("good.example").key
	waitFor(t, "a host that took mail to be remembered", func() bool {
		qt.q.mu.Lock()
		defer qt.q.mu.Unlock()
		_, proven := qt.q.proven[key]
		return proven
	})
	qt.cancel()
}

// Places are kept for next hops that took mail lately, and for people here.
func TestQueuePlacesKept(t *testing.T) {
	qt := newQueueTest(t, newPeer(t, nil))
	for i := range queueParallel {
		place := hopPlace{unproven: true}
		if !qt.q.full(place) {
			qt.q.busy[fmt.Sprint(i)] = place
		}
	}
	if n := len(qt.q.busy); n != queueUnproven {
		t.Errorf("%d next hops that have never taken mail are served at once", n)
	}
	if qt.q.full(hopPlace{}) || !qt.q.full(hopPlace{unproven: true}) || qt.q.full(hopPlace{failing: true}) {
		t.Error("no place is kept")
	}
	for i := range 2000 {
		qt.q.took(fmt.Sprint("hop ", i))
	}
	if n := len(qt.q.proven); n != queuePauses {
		t.Errorf("%d next hops are remembered", n)
	}
	if !strings.HasPrefix(qt.nextHop("home.arpa").key, "local") {
		t.Error("people here are no next hop of their own")
	}
}
