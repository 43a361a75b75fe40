// Dates of header fields: RFC 5322 §3.3 and §4.3, and the forms that scripts and devices write.
package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// FormatDate writes t for a Date field (RFC 5322 §3.3).
func FormatDate(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }

var errDate = errors.New("no date that can be read")

// ParseDate reads a date in any of the forms that mail has had: with or without weekday,
// seconds and zone, years of two or three digits, named zones, comments between the parts,
// 2-Jan-2006, the asctime order and ISO 8601. A missing or unknown zone is UTC; a wrong
// weekday is ignored; a wrong day, hour or minute is an error.
func ParseDate(s string) (time.Time, error) {
	var d dateParts
	s = unfold(s)
	if len(s) > 200 {
		s = s[:200]
	}
	for i := 0; i < 20; i++ {
		s = strings.TrimLeft(skipCFWS(s), ", \t")
		if s == "" || s[0] == '(' {
			break
		}
		end := strings.IndexAny(s, " \t,(")
		if end < 0 {
			end = len(s)
		}
		d.token(s[:end])
		s = s[end:]
	}
	return d.time()
}

// dateParts is what the tokens of a date have said so far; -1 and 0 are: nothing yet.
type dateParts struct {
	day, month, year int
	clock            string // digits and colons
	pm, am           bool
	offset           int // seconds east of UTC
	bad              bool
}

// token takes the next blank-separated token for what it looks like.
func (d *dateParts) token(t string) {
	switch {
	case strings.Contains(t, ":"):
		d.time8601(t)
	case t[0] == '+' || t[0] == '-':
		d.zone(t)
	case strings.Count(t, "-") == 2: // 2-Jan-2006 or 2006-01-02
		for _, part := range strings.Split(t, "-") {
			d.part(part)
		}
	default:
		d.part(t)
	}
}

// part takes a number or a name.
func (d *dateParts) part(t string) {
	n, err := strconv.Atoi(t)
	switch {
	case err == nil && n >= 0:
		d.number(n, len(t))
	case d.month == 0 && monthNumber(t) > 0:
		d.month = monthNumber(t)
	case d.clock != "":
		d.zone(t)
	}
}

// number is a day, a month (only in ISO 8601, where the year comes first) or a year.
func (d *dateParts) number(n, digits int) {
	switch {
	case (digits >= 3 && d.year == 0) || (digits == 2 && d.year == 0 && d.day > 0 && d.month > 0):
		d.year = fullYear(n, digits)
	case digits > 2:
	case d.month == 0 && d.year > 0 && d.day == 0:
		d.month = n
		d.bad = d.bad || n < 1 || n > 12
	case d.day == 0:
		d.day = n
		d.bad = d.bad || n == 0
	}
}

// fullYear applies RFC 5322 §4.3: 00-49 is this century, 50-99 the last, three digits
// count from 1900.
func fullYear(n, digits int) int {
	switch {
	case digits == 2 && n < 50:
		return 2000 + n
	case digits <= 3:
		return 1900 + n
	}
	return n
}

// time8601 takes hh:mm[:ss[.fraction]] with what may stick to it: a date and "T" before, a
// zone after.
func (d *dateParts) time8601(t string) {
	if date, clock, ok := strings.Cut(t, "T"); ok && strings.Count(date, "-") == 2 {
		d.token(date)
		t = clock
	}
	i := 0
	for i < len(t) && ((t[i] >= '0' && t[i] <= '9') || t[i] == ':' || t[i] == '.') {
		i++
	}
	if d.clock == "" {
		d.clock = t[:i]
	}
	if i < len(t) {
		d.zone(strings.Replace(t[i:], ":", "", 1))
	}
}

// zone takes +hhmm, a name, or both, as in "GMT+0100".
func (d *dateParts) zone(t string) {
	if i := strings.IndexAny(t, "+-"); i > 0 {
		t = t[i:]
	}
	if t[0] == '+' || t[0] == '-' {
		n, err := strconv.Atoi(t[1:])
		if err != nil || len(t) > 5 {
			return
		}
		if len(t) <= 3 {
			n *= 100
		}
		d.offset = (n/100*60 + n%100) * 60
		if t[0] == '-' {
			d.offset = -d.offset
		}
		return
	}
	switch strings.ToUpper(t) {
	case "AM":
		d.am = true
	case "PM":
		d.pm = true
	default:
		if hours, ok := zoneHours(t); ok {
			d.offset = hours * 3600
		}
	}
}

// zoneHours knows the names of RFC 5322 §4.3 and a few that are clear without a country.
// The single letters of the military count as UTC, because RFC 822 had their signs wrong.
func zoneHours(name string) (int, bool) {
	switch strings.ToUpper(name) {
	case "UT", "UTC", "GMT", "Z", "WET":
		return 0, true
	case "EDT":
		return -4, true
	case "EST", "CDT":
		return -5, true
	case "CST", "MDT":
		return -6, true
	case "MST", "PDT":
		return -7, true
	case "PST":
		return -8, true
	case "CET", "MET", "WEST", "BST":
		return 1, true
	case "CEST", "MEST", "EET":
		return 2, true
	case "EEST", "MSK":
		return 3, true
	case "HKT", "SGT":
		return 8, true
	case "JST", "KST":
		return 9, true
	}
	return 0, false
}

// monthNumber knows a month by its first three letters.
func monthNumber(t string) int {
	if len(t) < 3 {
		return 0
	}
	i := strings.Index("jan feb mar apr may jun jul aug sep oct nov dec", strings.ToLower(t[:3]))
	if i < 0 || i%4 != 0 {
		return 0
	}
	return i/4 + 1
}

// time puts the parts together and checks them.
func (d *dateParts) time() (time.Time, error) {
	if d.bad || d.day == 0 || d.month == 0 || d.year == 0 || d.year > 9999 || d.offset < -24*3600 || d.offset > 24*3600 {
		return time.Time{}, errDate
	}
	var hms [3]int
	if d.clock != "" {
		parts := strings.Split(d.clock, ":")
		if len(parts) < 2 || len(parts) > 3 {
			return time.Time{}, errDate
		}
		for i, p := range parts {
			p, _, _ = strings.Cut(p, ".")
			n, err := strconv.Atoi(p)
			if err != nil || len(p) > 2 {
				return time.Time{}, errDate
			}
			hms[i] = n
		}
	}
	switch {
	case d.pm && hms[0] < 12:
		hms[0] += 12
	case d.am && hms[0] == 12:
		hms[0] = 0
	}
	hms[2] = min(hms[2], 60) // a leap second
	if hms[0] > 23 || hms[1] > 59 {
		return time.Time{}, errDate
	}
	zone := time.UTC
	if d.offset != 0 {
		zone = time.FixedZone("", d.offset)
	}
	t := time.Date(d.year, time.Month(d.month), d.day, hms[0], hms[1], 0, 0, zone)
	if t.Day() != d.day {
		return time.Time{}, errDate
	}
	return t.Add(time.Duration(hms[2]) * time.Second), nil
}
