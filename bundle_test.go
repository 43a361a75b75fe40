package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestBundle carries mail from one appliance to another as a file, twice, and brings the receipt back.
func TestBundle(t *testing.T) {
	p := newPeer(t, nil)
	a := newQueueTest(t, p)
	a.cfg.Routes = map[string]Route{"far.arpa": {Hosts: []string{p.addr()}, Intermittent: true}, ".": {Hosts: []string{p.addr()}, Intermittent: true}}
	b := startServer(t, `domains = ["far.arpa", "home.arpa"]`)
	b.write(t, func(tx *Tx) error { return tx.AddAlias("x@far.arpa", "bob@home.arpa") })
	a.submit("ann@home.arpa", "x@far.arpa", "no@far.arpa", "y@other.example")
	a.submit("ann@home.arpa", "x@far.arpa")
	a.step()

	var file, again bytes.Buffer
	if n, err := a.exportBundle("far.arpa", &file); n != 2 || err != nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	if n, err := a.exportBundle("far.arpa", &again); n != 2 || err != nil {
		t.Fatalf("again %d messages, %v", n, err)
	}
	a.write(t, func(tx *Tx) error { _, err := tx.QueueAsk("far.arpa"); return err })
	a.step()
	if p.count("RCPT") != 0 {
		t.Errorf("what is in the bundle went out: %q", p.said())
	}

	for cut := 1; cut < file.Len(); cut += 7 {
		if res, err := b.importBundle(bytes.NewReader(file.Bytes()[:cut])); !errors.Is(err, errBundle) {
			t.Fatalf("cut at %d: %+v, %v", cut, res, err)
		}
	}
	damaged := bytes.Replace(file.Bytes(), []byte("hi\r\n"), []byte("ho\r\n"), 1)
	if res, err := b.importBundle(bytes.NewReader(damaged)); !errors.Is(err, errBundleSum) {
		t.Fatalf("damaged: %+v, %v", res, err)
	}
	if n := len(b.inbox(t, "bob@home.arpa")); n != 0 {
		t.Fatalf("bob got %d messages of damaged bundles", n)
	}

	res, err := b.importBundle(bytes.NewReader(file.Bytes()))
	if err != nil || res.Taken != 2 || res.Known != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if res, err := b.importBundle(bytes.NewReader(again.Bytes())); err != nil || res.Taken != 0 || res.Known != 2 {
		t.Fatalf("again %+v, %v", res, err)
	}
	got := b.inbox(t, "bob@home.arpa")
	if len(got) != 2 || !strings.Contains(got[0], "\r\n.dot\r\n") || !strings.Contains(got[0], "via bundle") {
		t.Errorf("bob got %q", got)
	}
	// ann@home.arpa lives there, too, in this test: the report about no@far.arpa.
	if box := b.inbox(t, "ann@home.arpa"); len(box) != 1 || !strings.Contains(box[0], "Final-Recipient: rfc822; no@far.arpa") {
		t.Errorf("reports %q", box)
	}

	if _, err := a.importBundle(strings.NewReader(strings.Replace(res.Receipt, "a", "b", 1))); !errors.Is(err, errBundleSum) {
		t.Errorf("forged receipt: %v", err)
	}
	back, err := a.importBundle(strings.NewReader(res.Receipt))
	if err != nil || back.Confirmed != 2 {
		t.Errorf("receipt: %+v, %v", back, err)
	}
	items := a.queue()
	if len(items) != 1 || len(items[0].Rcpts) != 1 || items[0].Rcpts[0].Address != "y@other.example" {
		t.Errorf("queue %+v", items)
	}
}

// TestBundleRelease gives up on a bundle: its mail goes by the link again.
func TestBundleRelease(t *testing.T) {
	p := newPeer(t, nil)
	a := newQueueTest(t, p)
	a.submit("ann@home.arpa", "x@far.arpa")
	var file bytes.Buffer
	if n, err := a.exportBundle("far.arpa", &file); n != 1 || err != nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	a.step()
	a.wantQueue(1)
	a.write(t, func(tx *Tx) error { _, err := tx.QueueHold("far.arpa", false); return err })
	a.step()
	a.wantQueue(0)
	if n := fmt.Sprint(p.count("RCPT")); n != "1" {
		t.Errorf("sent %s times", n)
	}
}
