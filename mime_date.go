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

// ParseDate reads a date in any of the forms that mail has had: with or without weekday, seconds and zone, years of two
// or three digits, named zones, comments between the parts, 2-Jan-2006, 17.07.2012, the asctime order, ISO 8601, dots
// in the time, months in the languages of Europe. A zone in digits counts more than a name beside it. A missing or
// unknown zone is UTC; a wrong weekday is ignored; a wrong day, hour or minute is an error.
func ParseDate(s string) (time.Time, error) {
	var d dateParts
	s = unfold(s)
	if len(s) > 200 {
		s = s[:200]
	}
	if strings.Contains(s, "年") {
		s = chineseDate.Replace(s)
	}
	for range 20 {
		s = strings.TrimLeft(skipCFWS(s), ", \t")
		if s == "" || s[0] == '(' {
			break
		}
		end := strings.IndexAny(s, " \t,(")
		if end < 0 {
			end = len(s)
		}
		d.token(strings.TrimRight(s[:end], "."))
		s = s[end:]
	}
	return d.time()
}

// chineseDate makes 2025-8-5 PM 3:04 of 2025年8月5日 下午3:04.
var chineseDate = strings.NewReplacer("年", "-", "月", "-", "日", " ", "上午", " AM ", "下午", " PM ")

// dateParts is what the tokens of a date have said so far; 0 and "" are: nothing yet.
type dateParts struct {
	day, month, year int
	early            bool   // the month came before any number: it may have been a weekday
	clock            string // digits and colons
	pm, am           bool
	offset           int  // seconds east of UTC
	digits           bool // the offset was said in digits
	bad              bool
}

// whole says whether day, month and year are known.
func (d *dateParts) whole() bool { return d.day > 0 && d.month > 0 && d.year > 0 }

// token takes the next blank-separated token for what it looks like.
func (d *dateParts) token(t string) {
	switch {
	case t == "":
	case strings.Contains(t, ":"):
		d.time8601(t)
	case t[0] == '+' || t[0] == '-':
		d.zone(t)
	case isBasic8601(t):
		d.token(t[:4] + "-" + t[4:6] + "-" + t[6:8])
		if clock := strings.TrimLeft(t[8:], "Tt"); len(clock) >= 4 {
			d.time8601(clock[:2] + ":" + clock[2:4] + withColon(clock[4:]))
		}
	case d.whole() && d.clock == "" && isDotted(t, "."):
		d.clock = strings.ReplaceAll(t, ".", ":")
	case isDotted(t, ".") || isDotted(t, "/") || strings.Count(t, "-") == 2: // 17.07.2012, 2012/07/17, 2-Jan-2006 or 2006-01-02
		d.date(strings.FieldsFunc(t, func(r rune) bool { return r == '.' || r == '/' || r == '-' }), strings.Contains(t, "/"))
	default:
		d.part(t)
	}
}

// isBasic8601 says whether t is a date of eight digits, with a time behind it or not.
func isBasic8601(t string) bool {
	digits := 0
	for digits < len(t) && isDigit(t[digits]) {
		digits++
	}
	return digits == 14 || (digits == 8 && (len(t) == 8 || t[8] == 'T' || t[8] == 't'))
}

// withColon puts a colon before the seconds of a time in the basic form of ISO 8601.
func withColon(s string) string {
	if len(s) >= 2 && isDigit(s[0]) && isDigit(s[1]) {
		return ":" + s
	}
	return s
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isDotted says whether t is two or three numbers of at most four digits with that sign between them.
func isDotted(t, sign string) bool {
	fields := strings.Split(t, sign)
	for _, f := range fields {
		if f == "" || len(f) > 4 || strings.Trim(f, "0123456789") != "" {
			return false
		}
	}
	return len(fields) == 3 || (len(fields) == 2 && sign == "." && len(fields[1]) == 2)
}

// date takes the three parts of a date in one token. With slashes the month comes first, if it can be one: programs
// that write so are American.
func (d *dateParts) date(parts []string, slashes bool) {
	if d.whole() || len(parts) != 3 {
		return
	}
	if first, err := strconv.Atoi(parts[0]); slashes && err == nil && len(parts[0]) <= 2 && first <= 12 {
		parts[0], parts[1] = parts[1], parts[0]
	}
	if strings.Trim(parts[1], "0123456789") == "" && len(parts[0]) <= 2 { // day, month, year, all in digits
		n, _ := strconv.Atoi(parts[1])
		d.setMonth(n)
		d.part(parts[0])
		d.part(parts[2])
		return
	}
	for _, part := range parts {
		d.part(part)
	}
}

func (d *dateParts) setMonth(n int) {
	d.month = n
	d.bad = d.bad || n < 1 || n > 12
}

// part takes a number or a name.
func (d *dateParts) part(t string) {
	t = strings.TrimLeft(strings.TrimRight(t, "."), "'")
	n, err := strconv.Atoi(cutOrdinal(t))
	month := monthNumber(t)
	switch {
	case err == nil && n >= 0:
		d.number(n, len(cutOrdinal(t)))
	case month > 0 && (d.month == 0 || d.early):
		d.early = d.day == 0 && d.year == 0 && d.month == 0
		d.month = month
	case isHalfOfDay(t):
		d.zone(t)
	case d.clock != "":
		d.zone(t)
	}
}

// cutOrdinal takes the letters off 1st, 2nd, 3rd and 4th.
func cutOrdinal(t string) string {
	if n := len(t) - 2; n > 0 && isDigit(t[n-1]) {
		switch strings.ToLower(t[n:]) {
		case "st", "nd", "rd", "th":
			return t[:n]
		}
	}
	return t
}

func isHalfOfDay(t string) bool {
	t = strings.ReplaceAll(t, ".", "")
	return strings.EqualFold(t, "am") || strings.EqualFold(t, "pm")
}

// number is a day, a month (only in ISO 8601, where the year comes first) or a year.
func (d *dateParts) number(n, digits int) {
	switch {
	case (digits >= 3 && d.year == 0) || (digits == 2 && d.year == 0 && d.day > 0 && d.month > 0):
		d.year = fullYear(n, digits)
	case digits > 2:
	case d.month == 0 && d.year > 0 && d.day == 0:
		d.setMonth(n)
	case d.day == 0:
		d.day = n
		d.bad = d.bad || n == 0
	}
}

// fullYear applies RFC 5322 §4.3: 00-49 is this century, 50-99 the last, three digits count from 1900.
func fullYear(n, digits int) int {
	switch {
	case digits == 2 && n < 50:
		return 2000 + n
	case digits <= 3:
		return 1900 + n
	}
	return n
}

// time8601 takes hh:mm[:ss[.fraction]] with what may stick to it: a date and "T" before, a zone after.
func (d *dateParts) time8601(t string) {
	if i := strings.IndexAny(t, "Tt"); i > 0 && strings.Count(t[:i], "-") == 2 {
		d.token(t[:i])
		t = t[i+1:]
	}
	i := 0
	for i < len(t) && (isDigit(t[i]) || t[i] == ':' || t[i] == '.') {
		i++
	}
	if d.clock == "" {
		d.clock = t[:i]
	}
	if i < len(t) {
		d.zone(strings.Replace(t[i:], ":", "", 1))
	}
}

// zone takes +hhmm, a name, or both, as in "GMT+0100". What is said in digits stands.
func (d *dateParts) zone(t string) {
	if i := strings.IndexAny(t, "+-"); i > 0 {
		t = t[i:]
	}
	if t[0] == '+' || t[0] == '-' {
		n, err := strconv.Atoi(t[1:])
		if err != nil || len(t) > 5 || d.digits {
			return
		}
		if len(t) <= 3 {
			n *= 100
		}
		d.digits = true
		d.offset = (n/100*60 + n%100) * 60
		if t[0] == '-' {
			d.offset = -d.offset
		}
		return
	}
	switch name := strings.ToUpper(strings.ReplaceAll(t, ".", "")); name {
	case "AM":
		d.am = true
	case "PM":
		d.pm = true
	default:
		if hours, ok := zoneHours[name]; ok && !d.digits {
			d.offset = hours * 3600
		}
	}
}

// zoneHours knows the names of RFC 5322 §4.3 and a few that are clear without a country. The single letters of the
// military count as UTC, because RFC 822 had their signs wrong.
var zoneHours = map[string]int{
	"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "WET": 0,
	"EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8,
	"CET": 1, "MET": 1, "WEST": 1, "BST": 1, "CEST": 2, "MEST": 2, "EET": 2, "EEST": 3, "MSK": 3,
	"HKT": 8, "SGT": 8, "JST": 9, "KST": 9,
}

// monthNames has the months as they begin in English, and where those differ in the other languages of Europe that mail
// programs write them in. Every prefix of three letters or more counts, but for the names of a weekday in any of them.
var monthNames = [13][]string{
	1:  {"january", "janvier", "januar", "jänner", "enero", "gennaio", "janeiro", "styczeń", "январь", "января"},
	2:  {"february", "février", "fevrier", "februar", "febrero", "febbraio", "fevereiro", "luty", "февраль", "февраля"},
	3:  {"march", "mars", "märz", "maerz", "mrz", "marzo", "março", "marco", "maart", "mrt", "marzec", "март", "марта"},
	4:  {"april", "avril", "abril", "aprile", "kwiecień", "апрель", "апреля"},
	5:  {"may", "mai", "mayo", "maggio", "maio", "mei", "maj", "май", "мая"},
	6:  {"june", "juin", "juni", "junio", "giugno", "junho", "czerwiec", "июнь", "июня"},
	7:  {"july", "juillet", "juli", "julio", "luglio", "julho", "lipiec", "июль", "июля"},
	8:  {"august", "août", "aout", "agosto", "augustus", "sierpień", "август", "августа"},
	9:  {"september", "septembre", "septiembre", "settembre", "setembro", "wrzesień", "сентябрь", "сентября"},
	10: {"october", "octobre", "oktober", "octubre", "ottobre", "outubro", "październik", "октябрь", "октября"},
	11: {"november", "novembre", "noviembre", "novembro", "listopad", "ноябрь", "ноября"},
	12: {"december", "décembre", "decembre", "dezember", "desember", "diciembre", "dicembre", "dezembro", "grudzień",
		"декабрь", "декабря"},
}

// monthNumber knows a month by the beginning of its name, at least three letters of it. "mar" is March, and Tuesday in
// three languages: dateParts goes by where it stands.
func monthNumber(t string) int {
	t = strings.ToLower(t)
	if len(t) < 3 {
		return 0
	}
	for n, names := range monthNames {
		for _, name := range names {
			if strings.HasPrefix(name, t) {
				return n
			}
		}
	}
	if t == "sept" {
		return 9
	}
	return 0
}

// time puts the parts together and checks them.
func (d *dateParts) time() (time.Time, error) {
	if d.bad || !d.whole() || d.year > 9999 || d.offset < -24*3600 || d.offset > 24*3600 {
		return time.Time{}, errDate
	}
	hour, minute, second, err := d.readClock()
	if err != nil {
		return time.Time{}, err
	}
	zone := time.UTC
	if d.offset != 0 {
		zone = time.FixedZone("", d.offset)
	}
	t := time.Date(d.year, time.Month(d.month), d.day, hour, minute, 0, 0, zone)
	if t.Day() != d.day {
		return time.Time{}, errDate
	}
	return t.Add(time.Duration(second) * time.Second), nil
}

// readClock reads the time of the day; none is midnight.
func (d *dateParts) readClock() (hour, minute, second int, err error) {
	if d.clock == "" {
		return 0, 0, 0, nil
	}
	parts := strings.Split(d.clock, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, 0, 0, errDate
	}
	var hms [3]int
	for i, p := range parts {
		p, _, _ = strings.Cut(p, ".")
		hms[i], err = strconv.Atoi(p)
		if err != nil || len(p) > 2 {
			return 0, 0, 0, errDate
		}
	}
	hour, minute, second = hms[0], hms[1], min(hms[2], 60) // a leap second
	switch {
	case d.pm && hour < 12:
		hour += 12
	case d.am && hour == 12:
		hour = 0
	}
	if hour > 23 || minute > 59 {
		return 0, 0, 0, errDate
	}
	return hour, minute, second, nil
}
