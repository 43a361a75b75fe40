package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// zoned has the browser tell its time zone, as the script does.
func (c *webClient) zoned(name string) *webClient {
	c.c.Jar.SetCookies(mustURL(c.t.(*testing.T), c.base), []*http.Cookie{{Name: webZoneCookie, Value: name, Path: "/"}})
	return c
}

// TestWebZone reads and writes in other zones than the server's: times on pages, in quotes, in searches and for sending later.
func TestWebZone(t *testing.T) {
	s := startServer(t)
	at := time.Date(2015, 3, 31, 23, 30, 0, 0, time.UTC) // the next day in Shanghai, the day before in Honolulu
	mail := "From: bob@home.arpa\nTo: ann@home.arpa\nSubject: night\nDate: " + at.Format(time.RFC1123Z) + "\n\nhi\n"
	uid := s.putAt(t, "ann", "INBOX", mail, at)
	ann := newWebClient(t, s).login("ann")
	list := ann.at
	key := ann.find(`name="m" value="([0-9.]+)"`)
	href := fmt.Sprintf("%s/%d", list, uid)
	for _, x := range []struct{ zone, short, long, day, other string }{
		{"Asia/Shanghai", "1 Apr 2015", "Wednesday, 1 April 2015, 07:30 UTC&#43;8", "2015-04-01", "2015-03-31"},
		{"Pacific/Honolulu", "31 Mar 2015", "Tuesday, 31 March 2015, 13:30 UTC-10", "2015-03-31", "2015-04-01"},
		{"Asia/Kathmandu", "1 Apr 2015", "Wednesday, 1 April 2015, 05:15 UTC&#43;5:45", "2015-04-01", "2015-03-31"},
		{"Nowhere/../etc/passwd", at.Local().Format("2 Jan 2006"), at.Local().Format("Monday, 2 January 2006, 15:04"), at.Local().Format(time.DateOnly), "1999-01-01"},
	} {
		ann.zoned(x.zone)
		ann.get(list)
		ann.want(">" + x.short + "</time>")
		ann.get(href)
		ann.want(x.long)
		ann.get("/compose?reply=" + key)
		ann.want("On " + x.long)
		ann.get(list + "?q=on:" + x.day)
		ann.want(`class="subj">night`)
		ann.get(list + "?q=on:" + x.other)
		ann.want("Nothing was found.")
	}
	ann.zoned("Asia/Shanghai")
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	when := s.store.Now().In(shanghai).Add(2 * time.Hour).Truncate(time.Minute)
	ann.get("/compose")
	ann.want(`min="` + s.store.Now().In(shanghai).Format("2006-01-02T15"))
	ann.letter(nil, "to", "bob", "subject", "later", "text", "x", "when", when.Format("2006-01-02T15:04"), "do", "later")
	ann.want(when.Format("15:04") + " UTC&#43;8")
	letters, err := read(s.store, func(tx *Tx) ([]Letter, error) {
		due, _, err := tx.DueLetters(s.store.Now().Add(24*time.Hour), 10)
		return due, err
	})
	if err != nil || len(letters) != 1 || !letters[0].Due.Equal(when) {
		t.Errorf("to be sent at %v: %v, want %v", letters, err, when)
	}
	ann.get("/settings")
	ann.press("/settings/zone", "zone", "America/New_York") // stronger than the browser
	ann.get(href)
	ann.want("Tuesday, 31 March 2015, 19:30 UTC-4")
	ann.get("/settings")
	ann.post("/settings/zone", "zone", "../../etc/passwd")
	if ann.code != http.StatusUnprocessableEntity {
		t.Errorf("a zone that is none: %d", ann.code)
	}
	ann.press("/settings/zone", "zone", "")
	ann.get(href)
	ann.want("07:30 UTC&#43;8")
}

// TestWebZonesBounded names more zones than are kept.
func TestWebZonesBounded(t *testing.T) {
	a := startServer(t).web
	for _, name := range append(webZones, "", "Local", "local", "/etc/passwd", "Europe/../../x", strings.Repeat("A", 100)) {
		if a.zoneNamed(name) == nil != !strings.Contains(strings.Join(webZones, " "), name) && name != "" {
			t.Errorf("%q: %v", name, a.zoneNamed(name))
		}
	}
	if n := len(a.zones.all); n > webMaxZones {
		t.Errorf("%d zones are kept", n)
	}
}
