package main

import (
	"errors"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

// A message that is forwarded goes on under an address of ours, and a report to that finds whoever sent it, over one forwarder and
// over two; nothing else can be sent there.
func TestSRS(t *testing.T) {
	p := newPeer(t, nil)
	first := newQueueTest(t, p)
	first.cfg.Domains = []string{"home.arpa", "example.org"}
	first.write(t, func(tx *Tx) error { return tx.AddAlias("ann@example.org", "ann@far.example", "bob@home.arpa") })
	take := func(qt *queueTest, from, to string) error {
		sp := qt.store.NewSpool(1 << 20)
		defer sp.Close()
		sp.Write(crlf("From: eve@example.com\nSubject: x\n\nx\n"))
		m := &Mail{Body: sp, Stranger: true}
		if from != "" {
			m.From, _ = ParseAddr(from)
		}
		a, err := ParseAddr(to)
		if err != nil {
			t.Fatal(err)
		}
		m.To = rcptsTo(a)
		return qt.accept(m)
	}
	last := func() string { // the sender that the peer heard last
		all := p.said()
		for i := len(all) - 1; i >= 0; i-- {
			if from, ok := strings.CutPrefix(all[i], "MAIL FROM:<"); ok {
				from, _, _ = strings.Cut(from, ">")
				return from
			}
		}
		return "nothing"
	}
	if err := take(first, "Eve+Tag@example.com", "ann@example.org"); err != nil {
		t.Fatal(err)
	}
	first.step()
	srs := last()
	if !strings.HasPrefix(srs, "SRS0=") || !strings.HasSuffix(srs, "=example.com=Eve+Tag@example.org") {
		t.Fatalf("the sender is %s", srs)
	}
	if n := len(first.inbox(t, "bob@home.arpa")); n != 1 {
		t.Errorf("%d copies stayed", n)
	}

	// the second forwarder, of an appliance of its own
	second := newQueueTest(t, p)
	second.cfg.Domains = []string{"far.example"}
	second.write(t, func(tx *Tx) error { return tx.AddAlias("ann@far.example", "ann@third.example") })
	if err := take(second, srs, "ann@far.example"); err != nil {
		t.Fatal(err)
	}
	second.step()
	srs1 := last()
	if !strings.HasPrefix(srs1, "SRS1=") || !strings.Contains(srs1, "=example.org==") || !strings.HasSuffix(srs1, "@far.example") {
		t.Fatalf("the second sender is %s", srs1)
	}
	third, err := second.srsForward(mustAddr(t, strings.Replace(srs1, "far.example", "x.example", 1)), "far.example") // a third keeps the first
	if err != nil || !strings.Contains(third.Local, "=example.org==") || strings.Contains(third.Local, "x.example") {
		t.Errorf("over three: %v %v", third, err)
	}

	// reports come back: to the second, which sends them to the first, which sends them to eve
	if err := take(second, "", strings.ToLower(srs1)); err != nil {
		t.Fatal(err)
	}
	items := second.queue()
	if len(items) != 1 || !strings.EqualFold(items[0].Rcpts[0].Addr.String(), srs) {
		t.Fatalf("the report goes to %+v, not %s", items, srs)
	}
	if err := take(first, "", items[0].Rcpts[0].Addr.String()); err != nil {
		t.Fatal(err)
	}
	first.step()
	if n := p.count("RCPT TO:<eve+tag@example.com>"); n != 1 || last() != "" {
		t.Errorf("the report did not come back: %q", p.said())
	}

	for _, bad := range []string{strings.Replace(srs, "example.com", "example.net", 1), "SRS0=aaaaaaaa" + srs[13:], "SRS0=x@example.org", "SRS1=x@example.org", "srs0+@example.org",
		"SRS0=======@example.org", "SRS1=aaaaaaaa==@example.org"} {
		if _, err := first.resolve(mustAddr(t, bad)); !errors.Is(err, errNoUser) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	c, err := smtp.Dial(first.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("spammer@example.net"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(srs); err == nil || !strings.Contains(err.Error(), "for delivery reports") {
		t.Errorf("mail with a sender: %v", err)
	}
	first.forward(40 * 24 * time.Hour)
	if _, err := first.resolve(mustAddr(t, srs)); !errors.Is(err, errNoUser) {
		t.Errorf("after forty days: %v", err)
	}

	// a clock that learns the time forgets nothing
	fresh, err := first.srsForward(Addr{"eve", "example.com"}, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	first.wrong(400 * 24 * time.Hour)
	if r, err := first.resolve(fresh); err != nil || r.remote[0].String() != "eve@example.com" {
		t.Errorf("after a jump of the clock: %v", err)
	}

	// what needs none has none
	for _, q := range []QueueItem{
		{SMTPEnvelope: SMTPEnvelope{From: Addr{"eve", "example.com"}}, Rcpts: []QueueRcpt{{Recipient: Recipient{Addr: Addr{"x", "far.example"}}}}},
		{SMTPEnvelope: SMTPEnvelope{From: Addr{"bob", "home.arpa"}}, Rcpts: []QueueRcpt{{Recipient: Recipient{Addr: Addr{"x", "far.example"}}, Forwarded: true}}},
		{SMTPEnvelope: SMTPEnvelope{From: Addr{"eve", "example.com"}}, Rcpts: []QueueRcpt{{Recipient: Recipient{Addr: Addr{"x", "lab.internal"}}, Forwarded: true}}},
		{SMTPEnvelope: SMTPEnvelope{From: Addr{strings.Repeat("x", 190), "example.com"}}, Rcpts: []QueueRcpt{{Recipient: Recipient{Addr: Addr{"x", "far.example"}}, Forwarded: true}}},
		{Rcpts: []QueueRcpt{{Recipient: Recipient{Addr: Addr{"x", "far.example"}}, Forwarded: true}}},
	} {
		if got := first.srsSender(&q); got != q.From {
			t.Errorf("%v to %v: %v", q.From, q.Rcpts[0].Addr, got)
		}
	}
	first.cfg.Domains = []string{"home.arpa"}
	q := QueueItem{SMTPEnvelope: SMTPEnvelope{From: Addr{"eve", "example.com"}}, Rcpts: []QueueRcpt{{Recipient: Recipient{Addr: Addr{"x", "far.example"}}, Forwarded: true}}}
	if got := first.srsSender(&q); got != q.From {
		t.Errorf("without a domain that others can answer to: %v", got)
	}
}
