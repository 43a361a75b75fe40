// Times in the zone of who reads them.
package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // small systems have no database of zones
)

const (
	webMaxZones   = 32             // zones kept in memory, a few KB each
	webZoneCookie = "postino-zone" // set by the script: the browser's zone. It is no secret, and script.js can't write the others
)

// webZoneName is what a name in the database looks like. Others are not looked for on the disk.
var webZoneName = regexp.MustCompile(`^[A-Za-z]+(/[A-Za-z0-9_+-]+){0,2}$`)

// webZones are offered by the form; each zone of the database can be typed.
var webZones = []string{"UTC", "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "America/Argentina/Buenos_Aires", "America/Bogota",
	"America/Chicago", "America/Denver", "America/Halifax", "America/Los_Angeles", "America/Mexico_City", "America/New_York", "America/Sao_Paulo",
	"America/Toronto", "Asia/Bangkok", "Asia/Dhaka", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Karachi", "Asia/Kolkata", "Asia/Manila",
	"Asia/Seoul", "Asia/Shanghai", "Asia/Singapore", "Asia/Taipei", "Asia/Tehran", "Asia/Tokyo", "Asia/Urumqi", "Australia/Perth", "Australia/Sydney",
	"Europe/Athens", "Europe/Berlin", "Europe/Istanbul", "Europe/Lisbon", "Europe/London", "Europe/Madrid", "Europe/Moscow", "Europe/Paris",
	"Europe/Rome", "Europe/Zurich", "Pacific/Auckland", "Pacific/Honolulu"}

// zoneNamed finds a zone of the database, nil for what is none.
func (a *webApp) zoneNamed(name string) *time.Location {
	if len(name) > 64 || !webZoneName.MatchString(name) || strings.EqualFold(name, "local") {
		return nil
	}
	if known := a.zones.get(name); known != nil {
		return known
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	a.zones.put(name, z)
	return z
}

// zone is where the reader's clock hangs: what the settings say, else the browser's, else the server's.
func (q *webReq) zone() *time.Location {
	name := q.look().Zone
	if c, err := q.r.Cookie(webZoneCookie); err == nil && name == "" {
		name = strings.ReplaceAll(c.Value, "%2F", "/")
	}
	if z := q.zoneNamed(name); z != nil {
		return z
	}
	return time.Local
}

// postZone keeps the reader's zone; none means the browser's.
func (q *webReq) postZone() error {
	look := q.look()
	look.Zone = strings.TrimSpace(q.r.PostForm.Get("zone"))
	if look.Zone != "" && q.zoneNamed(look.Zone) == nil {
		return q.settings(http.StatusUnprocessableEntity, "general", q.lang.T("That is no time zone. Their names are like Europe/Rome."))
	}
	if err := q.keepLook(look); err != nil {
		return err
	}
	q.say("Saved.")
	return q.redirect("/settings")
}

// here is a time in the reader's zone.
func (l *webLang) here(t time.Time) time.Time { return t.In(l.zone) }

func webSameDay(a, b time.Time) bool { return a.YearDay() == b.YearDay() && a.Year() == b.Year() }

// Short is a time as a list shows it: the time today, the day this year, the date before.
func (l *webLang) Short(t time.Time) string {
	t = l.here(t)
	if webSameDay(t, l.here(l.now())) {
		return t.Format("15:04")
	}
	return l.Day(t)
}

// Day is the day of a time, with the year if it is another one.
func (l *webLang) Day(t time.Time) string {
	t = l.here(t)
	thisYear := t.Year() == l.here(l.now()).Year()
	switch {
	case thisYear && l.Code == "zh":
		return t.Format("1月2日")
	case thisYear:
		return t.Format("2 Jan")
	case l.Code == "zh":
		return t.Format("2006年1月2日")
	}
	return t.Format("2 Jan 2006")
}

// Long is a time in full, with its zone: a letter that quotes it is read elsewhere.
func (l *webLang) Long(t time.Time) string {
	t = l.here(t)
	if l.Code == "zh" {
		return t.Format("2006年1月2日 ") + "星期" + []string{"日", "一", "二", "三", "四", "五", "六"}[t.Weekday()] + t.Format(" 15:04 ") + webOffset(t)
	}
	return t.Format("Monday, 2 January 2006, 15:04 ") + webOffset(t)
}

// Stamp is a time to the minute, with the day if it is not today.
func (l *webLang) Stamp(t time.Time) string {
	t = l.here(t)
	if webSameDay(t, l.here(l.now())) {
		return t.Format("15:04")
	}
	return l.Day(t) + t.Format(" 15:04")
}

// Input is a time as the fields of forms have it, in the reader's zone; parseInput reads it.
func (l *webLang) Input(t time.Time) string { return l.here(t).Format("2006-01-02T15:04") }

func (l *webLang) parseInput(s string) (time.Time, error) {
	return time.ParseInLocation("2006-01-02T15:04", s, l.zone)
}

// webOffset is how far a time's zone is from UTC, as people write it: UTC, UTC+1, UTC+5:30.
func webOffset(t time.Time) string {
	_, s := t.Zone()
	sign := "+"
	if s < 0 {
		sign, s = "-", -s
	}
	switch h, m := s/3600, s%3600/60; {
	case s == 0:
		return "UTC"
	case m == 0:
		return fmt.Sprintf("UTC%s%d", sign, h)
	default:
		return fmt.Sprintf("UTC%s%d:%02d", sign, h, m)
	}
}
