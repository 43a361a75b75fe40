package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestWebCalendar reads invitations as programs write them.
func TestWebCalendar(t *testing.T) {
	berlin, _ := time.LoadLocation("Europe/Berlin")
	l := &webLang{Code: "en", zone: berlin, now: time.Now}
	const outlook = `BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
`
	for _, x := range []struct{ lines, what, when string }{
		{"DTSTART:20261201T170000Z\nDTEND:20261201T180000Z\nSUMMARY:Tea\\, and\n  cake", "Tea, and cake", "Tuesday, 1 December 2026, 18:00 UTC+1 – 19:00"},
		{"DTSTART;TZID=W. Europe Standard Time:20260701T100000\nDURATION:PT1H30M", "", "Wednesday, 1 July 2026, 10:00 UTC+2 – 11:30"},
		{"DTSTART;TZID=\"W. Europe Standard Time\":20261201T100000", "", "Tuesday, 1 December 2026, 10:00 UTC+1"},
		{"DTSTART;TZID=W. Europe Standard Time:20261025T020000", "", "Sunday, 25 October 2026, 02:00 UTC+2"},
		{"DTSTART;TZID=America/New_York:20261201T100000", "", "Tuesday, 1 December 2026, 16:00 UTC+1"},
		{"DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227", "", "Thursday, 24 December 2026 – Saturday, 26 December 2026"},
		{"DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261225", "", "Thursday, 24 December 2026"},
		{"DTSTART;TZID=Nowhere/At all:20261224T100000", "", "Thursday, 24 December 2026, 10:00"},
		{"DTSTART;TZID=../../etc/passwd:20261224T100000", "", "Thursday, 24 December 2026, 10:00"},
		{"DTSTART:20261224T100000", "", "Thursday, 24 December 2026, 10:00"},
		{"DTSTART:nonsense", "", ""},
		{"", "", ""},
	} {
		all := webCalendar(strings.NewReader(strings.ReplaceAll("BEGIN:VCALENDAR\n"+outlook+"BEGIN:VEVENT\n"+x.lines+"\nBEGIN:VALARM\nSUMMARY:no\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")))
		if len(all) != 1 || all[0].Summary != x.what || l.When(all[0]) != x.when {
			t.Errorf("%s\nis %+v\nat %s", x.lines, all, l.When(all[0]))
		}
	}
	for _, broken := range []string{"", "BEGIN:VEVENT\nEND:VEVENT", "END:VEVENT", strings.Repeat("BEGIN:VEVENT\n", 100_000), "BEGIN:STANDARD\nDTSTART:x", "BEGIN:VEVENT\nSUMMARY" + strings.Repeat(";A=\"", 10_000),
		"BEGIN:VTIMEZONE\nEND:VTIMEZONE\nBEGIN:VTIMEZONE\nTZID:x\nEND:VTIMEZONE\nBEGIN:VEVENT\nDTSTART;TZID=x:20260101T000000\nEND:VEVENT"} {
		if n := len(webCalendar(strings.NewReader(broken))); n > webMaxEvents {
			t.Errorf("%d events", n)
		}
	}
}

// TestWebInvitation opens a mail that is an invitation and nothing else: it is readable, and the file is offered.
func TestWebInvitation(t *testing.T) {
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "Subject: lunch\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:Lunch <b>\nDTSTART:20261201T120000Z\n"+
		"LOCATION:The café\nORGANIZER;CN=Bob:mailto:bob@home.arpa\nATTENDEE;CN=\"Ann: \"\"x\":MAILTO:ann@home.arpa\nRRULE:FREQ=WEEKLY\nEND:VEVENT\nEND:VCALENDAR\n", 0)
	ann := newWebClient(t, s).login("ann")
	at := fmt.Sprintf("/box/%s/%d", ann.find(`/box/(\d+)`), uid)
	for _, page := range []string{at, at + "/print"} {
		ann.get(page)
		ann.want("Lunch &lt;b&gt;", "1 December 2026", "The café", "Bob &lt;bob@home.arpa&gt;", "repeats")
	}
	ann.get(at)
	ann.want("invitation.ics")
	if strings.Contains(ann.page, "This message has no text") {
		t.Error("it is said to have no text")
	}
}
