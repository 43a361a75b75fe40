package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// What came by mail can be sent on whoever wrote it; what somebody has put into a mailbox by themselves only if it is their own, or they could
// have anybody seem to write.
func TestWebRedirectFrom(t *testing.T) {
	s := startServer(t)
	ic := dialIMAP(t, s, "ann@home.arpa")
	forged := func(from string) string { return "From: " + from + "\r\nSubject: forged\r\n\r\nx\r\n" }
	ann := newWebClient(t, s).login("ann")
	send := func(box string, uid UID) int {
		m := s.folder(t, "ann", box)
		ann.get("/mail")
		ann.post("/redirect", "m", fmt.Sprintf("%d.%d", m.ID, uid), "to", "bob@home.arpa")
		return ann.code
	}
	for i, c := range []struct {
		from string
		want int
	}{{"boss@bank.test", 422}, {"Bob <bob@home.arpa>", 422}, {"ann@home.arpa", 200}, {"ann@home.arpa\r\nFrom: bob@home.arpa", 422}} {
		raw := forged(c.from)
		ic.ok(fmt.Sprintf("APPEND Archive {%d+}\r\n%s", len(raw), raw))
		if got := send("Archive", UID(i+1)); got != c.want {
			t.Errorf("%s: %d", c.from, got)
		}
	}
	ic.ok("SELECT Archive")
	ic.ok("COPY 1 Junk")
	if got := send("Junk", 1); got != 422 {
		t.Errorf("after a copy: %d", got)
	}
	if !strings.Contains(ann.page, "Forward this message instead.") {
		t.Error("no words for it")
	}
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "boss@bank.test")}, To: rcptsTo(mustAddr(t, "ann@home.arpa")), Body: s.store.NewSpool(4 << 20)}
	defer m.Body.Close()
	io.WriteString(m.Body, forged("boss@bank.test"))
	if err := s.accept(m); err != nil {
		t.Fatal(err)
	}
	if got := send("INBOX", 1); got != 200 {
		t.Errorf("what came by mail: %d", got)
	}
	if n := len(s.inbox(t, "bob@home.arpa")); n != 2 {
		t.Errorf("bob has %d messages", n)
	}
}
