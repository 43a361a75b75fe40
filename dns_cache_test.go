package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// cacheDNS answers every question in its own way.
type cacheDNS struct {
	testDNS
	asked  atomic.Int64
	mu     sync.Mutex
	answer func(name string) (DNSAnswer, error)
}

func (d *cacheDNS) answers(answer func(name string) (DNSAnswer, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

func (d *cacheDNS) Ask(_ context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	d.mu.Lock()
	answer := d.answer
	d.mu.Unlock()
	d.asked.Add(1)
	return answer(name)
}

func cacheAnswer(text string, ttl time.Duration) DNSAnswer {
	return DNSAnswer{TTL: ttl, Secure: true, Records: []dnsmessage.Resource{{Body: &dnsmessage.TXTResource{TXT: dnsStrings(text)}}}}
}

// Answers are remembered for their TTL and no longer than dnsKeep, "no" for a minute, and failures not at all; whoever makes us ask has a
// part of a memory that has an end, by answers and by octets.
func TestDNSCache(t *testing.T) {
	dns := &cacheDNS{}
	c := newDNSCache(NewCrew(slog.New(slog.DiscardHandler), nil))
	ask := func(owner, name string) (DNSAnswer, error) {
		return dnsRemembering{dns, c, owner}.Ask(t.Context(), name, dnsmessage.TypeTXT)
	}
	for _, k := range []struct {
		name  string
		a     DNSAnswer
		err   error
		keeps time.Duration
	}{
		{"day", cacheAnswer("x", 24*time.Hour), nil, dnsKeep},
		{"second", cacheAnswer("x", time.Second), nil, time.Second},
		{"at once", cacheAnswer("x", 0), nil, 0},
		{"long", cacheAnswer(strings.Repeat("x", dnsKeptOne), time.Hour), nil, 0},
		{"none of its kind", DNSAnswer{}, nil, dnsKeepNone},
		{"no name", DNSAnswer{}, dnsError("x", true), dnsKeepNone},
		{"no answer", DNSAnswer{}, dnsError("x", false), 0},
	} {
		dns.answers(func(string) (DNSAnswer, error) { return k.a, k.err })
		dns.asked.Store(0)
		for range 3 {
			a, err := ask("a", k.name+".example")
			if !errors.Is(err, k.err) || len(a.Records) != len(k.a.Records) {
				t.Errorf("%s: %v %v", k.name, a, err)
			}
			if a.Secure && dns.asked.Load() == 1 && k.keeps > 0 {
				t.Errorf("%s: what is remembered speaks of DNSSEC", k.name)
			}
		}
		if n := dns.asked.Load(); (n == 1) != (k.keeps > 0) {
			t.Errorf("%s: asked %d times", k.name, n)
		}
		c.mu.Lock()
		if el := c.have[dnsKey{k.name + ".example", dnsmessage.TypeTXT}]; el != nil {
			e := el.Value.(*dnsEntry)
			if left := time.Until(e.until); left > k.keeps || left < k.keeps-time.Minute {
				t.Errorf("%s is remembered for %v", k.name, left)
			}
			e.until = time.Now().Add(-time.Second)
		}
		c.mu.Unlock()
		dns.asked.Store(0)
		if ask("a", k.name+".example"); dns.asked.Load() != 1 {
			t.Errorf("%s: remembered for ever", k.name)
		}
	}
	// One stranger with any number of names has an eighth, and does not push out what others' mail made us ask.
	dns.answers(func(string) (DNSAnswer, error) { return cacheAnswer(strings.Repeat("x", 1000), time.Hour), nil })
	ask("good", "good.example")
	for i := range 20_000 {
		ask("bad", fmt.Sprintf("d%d.example", i))
	}
	dns.asked.Store(0)
	if ask("good", "GOOD.example."); dns.asked.Load() != 0 || c.owners["bad"] > dnsKeptSize/dnsKeptOwner {
		t.Errorf("a stranger fills %d octets", c.owners["bad"])
	}
	for i := range 40_000 {
		ask(fmt.Sprint(i%1000), fmt.Sprintf("e%d.example", i))
	}
	for i := range 10_000 {
		dns.answers(func(string) (DNSAnswer, error) { return DNSAnswer{}, dnsError("x", true) })
		ask(fmt.Sprint(i%1000), fmt.Sprintf("f%d.example", i))
	}
	sum := 0
	for _, n := range c.owners {
		sum += n
	}
	if len(c.have) > dnsKept || c.size > dnsKeptSize || sum != c.size || c.order.Len() != len(c.have) || len(c.asking) != 0 {
		t.Errorf("%d answers, %d octets, %d by owner, %d in order, %d asked", len(c.have), c.size, sum, c.order.Len(), len(c.asking))
	}
	// The same question at the same time is asked once.
	release := make(chan struct{})
	dns.asked.Store(0)
	dns.answers(func(string) (DNSAnswer, error) { <-release; return cacheAnswer("x", time.Hour), nil })
	done := make(chan error)
	for range 10 {
		go func() { _, err := ask("a", "same.example"); done <- err }()
	}
	waitFor(t, "the question is asked", func() bool { return dns.asked.Load() == 1 })
	close(release)
	for range 10 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := dns.asked.Load(); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	// Whoever waits for another's question does not wait longer than they may.
	dns.answers(func(string) (DNSAnswer, error) { <-t.Context().Done(); return DNSAnswer{}, context.Canceled })
	go ask("a", "never.example")
	waitFor(t, "the question is asked", func() bool { return dns.asked.Load() == 2 })
	dns.answers(func(string) (DNSAnswer, error) { return DNSAnswer{}, context.Canceled })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (dnsRemembering{dns, c, "a"}).Ask(ctx, "never.example", dnsmessage.TypeTXT); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What a nameserver answers, or who answers in its place, costs a bounded number of questions and a bounded amount of memory, and
// refuses no mail of which nothing is known to be wrong.
func TestHostileDNS(t *testing.T) {
	_, keys := dkimTestKeys()
	signers, _ := dkimTestKeys()
	msg := string(dkimSignedMail(t, crlf("From: ann@example.org\nSubject: x\n\nbody\n"), signers...))
	zone := "\nexample.org TXT v=spf1 include:a.example.org include:b.example.org mx a:c.example.org exists:%{l}.d.example.org -all\n_dmarc.example.org TXT v=DMARC1; p=reject\n" + keys
	name, _ := dnsmessage.NewName("loop.example.org.")
	for _, c := range []struct {
		name   string
		change func(*dnsmessage.Message)
		want   string // of the verdict; "" refuses
	}{
		{"another id", func(m *dnsmessage.Message) { m.ID++ }, "temperror"},
		{"another question", func(m *dnsmessage.Message) { m.Questions[0].Name = name }, "temperror"},
		{"no question", func(m *dnsmessage.Message) { m.Questions = nil }, "temperror"},
		{"a question", func(m *dnsmessage.Message) { m.Response = false }, "temperror"},
		{"truncated, by TCP too", func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil }, "dmarc=none"},
		{"refused", func(m *dnsmessage.Message) { m.RCode, m.Answers = dnsmessage.RCodeRefused, nil }, "temperror"},
		{"nothing exists", func(m *dnsmessage.Message) { m.RCode, m.Answers = dnsmessage.RCodeNameError, nil }, "dmarc=none"},
		{"CNAMEs in a circle", func(m *dnsmessage.Message) {
			q := m.Questions[0].Name
			m.RCode, m.Answers = dnsmessage.RCodeSuccess, []dnsmessage.Resource{
				{Header: dnsmessage.ResourceHeader{Name: q, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeCNAME}, Body: &dnsmessage.CNAMEResource{CNAME: name}},
				{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeCNAME}, Body: &dnsmessage.CNAMEResource{CNAME: q}}}
		}, "temperror"},
		{"answers of 60 KB", func(m *dnsmessage.Message) {
			var txt []string
			for range 235 {
				txt = append(txt, strings.Repeat("v=DMARC1; p=reject; ", 12))
			}
			m.RCode, m.Answers = dnsmessage.RCodeSuccess, []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, Type: m.Questions[0].Type},
				Body: &dnsmessage.TXTResource{TXT: txt}}}
			if m.Questions[0].Type != dnsmessage.TypeTXT {
				m.Answers = nil
			}
		}, "temperror"},
		{"1,500 records of policy", func(m *dnsmessage.Message) {
			m.RCode, m.Answers = dnsmessage.RCodeSuccess, nil
			for range 1500 {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeTXT},
					Body: &dnsmessage.TXTResource{TXT: []string{"v=DMARC1; p=reject"}}})
			}
		}, "temperror"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := newTestNameserver(t, newTestZone(t, zone))
			s := startServer(t, "[dns]", "servers = [\""+ns.addr+"\"]")
			waitFor(t, "the resolver is known to answer", func() bool { return s.health.answers(t.Context(), s.dns) })
			ns.changes(c.change)
			ns.asked.Store(0)
			s.dns = dnsHasty{s.dns}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := judged(t, s, "192.0.2.9", "ann@example.org", msg)
			runtime.ReadMemStats(&after)
			if err != nil || !strings.Contains(got, c.want) || strings.Contains(got, "dmarc=pass") {
				t.Errorf("%v %s", err, got)
			}
			n, used := ns.asked.Load(), after.TotalAlloc-before.TotalAlloc
			t.Logf("%d questions, %d KB", n, used>>10)
			if n > 150 || used > 100<<20 { // most of it is the nameserver's, which packs its answers in this process
				t.Errorf("%d questions, %d octets", n, used)
			}
		})
	}
}

// An answer with too many records is not read, however short they are.
func TestDNSUnpack(t *testing.T) {
	b := append(make([]byte, 12), bytes.Repeat([]byte{0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0}, dnsRecords+1)...)
	binary.BigEndian.PutUint16(b[6:], dnsRecords+1)
	var m dnsmessage.Message
	if err := dnsUnpack(&m, b); !errors.Is(err, errDNSLong) || m.Answers != nil {
		t.Errorf("%v, %d answers", err, len(m.Answers))
	}
	for i := range 13 {
		if err := dnsUnpack(&m, b[:i]); err == nil {
			t.Errorf("%d octets are an answer", i)
		}
	}
}

// dnsHasty waits for no answer longer than a moment.
type dnsHasty struct{ Resolver }

func (d dnsHasty) Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	return d.Resolver.Ask(ctx, name, kind)
}

// TestPolicyForms: the longest forms of everything that a message and the DNS can bring together are judged at the cost of their sum.
func TestPolicyForms(t *testing.T) {
	s, dns := policyTest(t)
	big := strings.Repeat("x", 60_000)
	for i := range 12 {
		dns.zone.add(t, fmt.Sprintf("s%d._domainkey.d.example TXT v=DKIM1; n=%s; p=", i, big))
	}
	dns.zone.add(t, "d.example TXT v=spf1 "+strings.Repeat("include:d.example ", 3000)+"-all")
	dns.zone.add(t, "_dmarc.d.example TXT v=DMARC1; p=reject; "+strings.Repeat("x=y; ", 12_000))
	sig := ""
	for i := range 12 {
		sig += fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; d=d.example; s=s%d; h=from; c=relaxed/relaxed; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=%s\r\n", i, strings.Repeat("A", 7000))
	}
	v := policyVerdict(t, s, "192.0.2.9", "x@d.example", sig+"From: x@d.example\r\n\r\n")
	if spf, _ := v.get("spf"); spf.Result != resultPerm {
		t.Errorf("%+v", v)
	}
	if n := dns.asked.Load(); n > 60 {
		t.Errorf("%d questions", n)
	}
}
