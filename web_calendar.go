// Invitations: what a mail's calendar file says, in words. Answering them is for calendar programs, which get the file.
package main

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	webMaxCalendar = 512 << 10 // octets of a calendar file that are read
	webMaxEvents   = 20        // events of a message that are shown
	webMaxGuests   = 30        // people of one event that are listed
	webMaxOnsets   = 200       // changes of the clock that a calendar file may describe
)

// webEvent is an event as the page shows it.
type webEvent struct {
	Summary, Location, Text string
	Organizer               string
	Guests                  []string
	Start, End              time.Time
	Day                     bool   // it has days and no times; End is the last day
	Floating                string // the zone that its times are in where that isn't known: they are shown as they are
	Repeats                 bool
	Cancelled               bool
	When                    string // for the reader
}

// webLineOf is one property of a calendar (RFC 5545 §3.1).
type webLineOf struct {
	name   string
	params map[string]string
	value  string
}

// When is when an event is, in the reader's zone: a day, a time, or from one to the other.
func (l *webLang) When(e webEvent) string {
	own := *l
	if e.Day || e.Floating != "" {
		own.zone = time.UTC // as it is written
	}
	one := func(t time.Time) string {
		text := own.Long(t)
		if e.Day {
			day, _, _ := strings.Cut(text, t.Format(" 15:04"))
			return strings.TrimRight(day, ", ")
		}
		if e.Floating != "" {
			text = strings.TrimSuffix(text, " UTC")
		}
		return text
	}
	switch {
	case e.Start.IsZero():
		return ""
	case e.End.IsZero():
		return one(e.Start)
	case !e.Day && webSameDay(own.here(e.Start), own.here(e.End)):
		return one(e.Start) + " – " + own.here(e.End).Format("15:04")
	}
	return one(e.Start) + " – " + one(e.End)
}

// events are those of the message's calendar files, each once.
func (q *webReq) events(m *webMessage) []webEvent {
	var all []webEvent
	seen := map[string]bool{}
	for _, l := range m.leaves {
		calendar := l.Part.Is("text", "calendar") || l.Part.Is("text", "x-vcalendar") || l.Part.Is("application", "ics")
		if !calendar || l.Fate == LeafSignature {
			continue
		}
		r := l.Part.Decoded(m.content)
		if l.Part.Type == "text" {
			r = l.Part.Text(m.content)
		}
		for _, e := range webCalendar(r) {
			key := e.Summary + "\x00" + e.Start.String() + "\x00" + e.End.String()
			if !seen[key] && len(all) < webMaxEvents {
				seen[key] = true
				e.When = q.lang.When(e)
				all = append(all, e)
			}
		}
	}
	return all
}

// webCalendar reads a calendar file and returns its events. What it doesn't understand it passes over.
func webCalendar(r io.Reader) []webEvent {
	c := webCalendarReader{zones: map[string]*webZone{}}
	for _, l := range webCalendarLines(r) {
		c.take(l)
	}
	if c.cancelled {
		for i := range c.all {
			c.all[i].Cancelled = true
		}
	}
	return c.all
}

// webCalendarReader is what is known of a calendar file after some of its lines.
type webCalendarReader struct {
	open      []string    // the components around the next line
	event     []webLineOf // of the event at hand
	zone      *webZone    // the one at hand
	zones     map[string]*webZone
	all       []webEvent
	cancelled bool
}

// take reads one line.
func (c *webCalendarReader) take(l webLineOf) {
	inside := ""
	if len(c.open) > 0 {
		inside = c.open[len(c.open)-1]
	}
	isEvent := inside == "VEVENT" || inside == "VTODO"
	switch {
	case l.name == "BEGIN" && len(c.open) < webMaxOnsets:
		c.begin(strings.ToUpper(l.value))
	case l.name == "END":
		c.end(isEvent)
	case inside == "VTIMEZONE" && l.name == "TZID":
		c.zones[l.value] = c.zone
	case inside == "STANDARD" || inside == "DAYLIGHT":
		c.zone.learn(l)
	case isEvent:
		c.event = append(c.event, l)
	case inside == "VCALENDAR" && l.name == "METHOD" && strings.EqualFold(l.value, "CANCEL"):
		c.cancelled = true
	}
}

// begin goes into a component.
func (c *webCalendarReader) begin(component string) {
	c.open = append(c.open, component)
	switch component {
	case "VEVENT", "VTODO":
		c.event = nil
	case "VTIMEZONE":
		c.zone = &webZone{}
	case "STANDARD", "DAYLIGHT":
		if c.zone != nil && len(c.zone.onsets) < webMaxOnsets {
			c.zone.onsets = append(c.zone.onsets, webOnset{})
		}
	}
}

// end leaves a component, which may be an event.
func (c *webCalendarReader) end(isEvent bool) {
	if len(c.open) > 0 {
		c.open = c.open[:len(c.open)-1]
	}
	if isEvent && len(c.all) < webMaxEvents {
		c.all = append(c.all, webEventOf(c.event, c.zones))
	}
}

// webCalendarLines are the unfolded lines of a calendar.
func webCalendarLines(r io.Reader) []webLineOf {
	var all []webLineOf
	var text strings.Builder
	add := func() {
		if l, ok := webCalendarLine(text.String()); ok {
			all = append(all, l)
		}
		text.Reset()
	}
	s := bufio.NewScanner(io.LimitReader(r, webMaxCalendar))
	s.Buffer(nil, webMaxCalendar)
	for s.Scan() {
		line := strings.ToValidUTF8(strings.TrimSuffix(s.Text(), "\r"), "\ufffd")
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			text.WriteString(line[1:])
			continue
		}
		add()
		text.WriteString(line)
	}
	add()
	return all
}

// webCalendarLine divides a line into its name, parameters and value. Quotes keep ":" and ";" together.
func webCalendarLine(s string) (webLineOf, bool) {
	l := webLineOf{params: map[string]string{}}
	quoted := false
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';' || c == ':':
			piece := s[start:i]
			if l.name == "" {
				l.name = strings.ToUpper(strings.TrimSpace(piece))
			} else if k, v, ok := strings.Cut(piece, "="); ok {
				l.params[strings.ToUpper(k)] = strings.Trim(v, `"`)
			}
			start = i + 1
			if c == ':' {
				l.value = strings.TrimSpace(s[start:])
				return l, l.name != ""
			}
		}
	}
	return l, false
}

// webEventOf makes an event of its lines.
func webEventOf(lines []webLineOf, zones map[string]*webZone) webEvent {
	var e webEvent
	var length time.Duration
	for _, l := range lines {
		switch l.name {
		case "SUMMARY":
			e.Summary = webCalendarText(l.value, 300)
		case "LOCATION":
			e.Location = webCalendarText(l.value, 300)
		case "DESCRIPTION":
			e.Text = webCalendarText(l.value, 4000)
		case "ORGANIZER":
			e.Organizer = webGuest(l)
		case "ATTENDEE":
			if len(e.Guests) < webMaxGuests {
				e.Guests = append(e.Guests, webGuest(l))
			}
		case "DTSTART":
			e.Start, e.Day, e.Floating = webCalendarTime(l, zones)
		case "DTEND", "DUE":
			e.End, _, _ = webCalendarTime(l, zones)
		case "DURATION":
			length = webCalendarLength(l.value)
		case "RRULE", "RDATE":
			e.Repeats = true
		case "STATUS":
			e.Cancelled = e.Cancelled || strings.EqualFold(l.value, "CANCELLED")
		}
	}
	if e.End.IsZero() && length > 0 {
		e.End = e.Start.Add(length)
	}
	if e.Day && e.End.After(e.Start) { // DTEND is the day after the last one (§3.6.1)
		e.End = e.End.AddDate(0, 0, -1)
	}
	if !e.End.After(e.Start) {
		e.End = time.Time{}
	}
	return e
}

// webCalendarText undoes the escapes of a text (§3.3.11).
func webCalendarText(s string, limit int) string {
	s = strings.NewReplacer(`\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(s)
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = webClean(lines[i])
	}
	return webCut(strings.TrimSpace(strings.Join(lines, "\n")), limit)
}

// webGuest is somebody of an event: name and address.
func webGuest(l webLineOf) string {
	address := l.value
	if hasPrefixFold(address, "mailto:") {
		address = address[len("mailto:"):]
	}
	return webCut(webClean(webPlain(l.params["CN"], address)), 200)
}

// webCalendarTime reads a date or a time (§3.3.4, §3.3.5). It says whether it is a whole day, and names a zone that is not known.
func webCalendarTime(l webLineOf, zones map[string]*webZone) (time.Time, bool, string) {
	if t, err := time.Parse("20060102", l.value); err == nil {
		return t, true, ""
	}
	if t, err := time.Parse("20060102T150405Z", l.value); err == nil {
		return t, false, ""
	}
	t, err := time.Parse("20060102T150405", l.value)
	if err != nil {
		return time.Time{}, false, ""
	}
	id := l.params["TZID"]
	if z := zones[id]; z != nil && len(z.onsets) > 0 {
		return t.Add(-z.offset(t)), false, ""
	}
	if at, err := time.LoadLocation(id); err == nil && id != "" && id != "Local" {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, at), false, ""
	}
	if id == "" {
		id = "-"
	}
	return t, false, webCut(webClean(id), 60)
}

// webCalendarLength reads a duration (§3.3.6): "P1DT2H".
func webCalendarLength(s string) time.Duration {
	var d time.Duration
	n := 0
	for _, c := range strings.TrimPrefix(strings.TrimPrefix(s, "+"), "P") {
		units := map[rune]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
		switch {
		case c >= '0' && c <= '9' && n < 100_000:
			n = n*10 + int(c-'0')
		case c == 'T':
		case units[c] != 0:
			d += time.Duration(n) * units[c]
			n = 0
		default:
			return 0
		}
	}
	return d
}

// webZone is a time zone as a calendar describes it (§3.6.5).
type webZone struct{ onsets []webOnset }

// webOnset is a change of the clock: once, or every year on such a day of a month.
type webOnset struct {
	at     time.Time // the first one, by the clock before it
	offset time.Duration
	yearly bool
	month  time.Month
	nth    int // which one of the days in the month; negative from its end, 0 for the date of at
	day    time.Weekday
}

// learn takes a property of the onset that was begun last.
func (z *webZone) learn(l webLineOf) {
	if z == nil || len(z.onsets) == 0 {
		return
	}
	o := &z.onsets[len(z.onsets)-1]
	switch l.name {
	case "DTSTART":
		o.at, _ = time.Parse("20060102T150405", l.value)
	case "TZOFFSETTO":
		o.offset = webClockOffset(l.value)
	case "RRULE":
		for _, part := range strings.Split(strings.ToUpper(l.value), ";") {
			k, v, _ := strings.Cut(part, "=")
			switch k {
			case "FREQ":
				o.yearly = v == "YEARLY"
			case "BYMONTH":
				n, _ := strconv.Atoi(v)
				o.month = time.Month(n)
			case "BYDAY":
				o.nth, o.day = webNthDay(v)
			}
		}
	}
}

// webClockOffset reads "+0200".
func webClockOffset(s string) time.Duration {
	n, err := strconv.Atoi(strings.TrimLeft(s, "+-"))
	if err != nil || len(s) < 5 {
		return 0
	}
	if len(s) >= 7 { // with seconds
		n /= 100
	}
	d := time.Duration(n/100)*time.Hour + time.Duration(n%100)*time.Minute
	if s[0] == '-' {
		return -d
	}
	return d
}

// webNthDay reads "-1SU": the last Sunday.
func webNthDay(s string) (int, time.Weekday) {
	if len(s) < 3 {
		return 0, 0
	}
	n, err := strconv.Atoi(s[:len(s)-2])
	day := strings.Index("SUMOTUWETHFRSA", s[len(s)-2:])
	if err != nil || day < 0 || day%2 != 0 {
		return 0, 0
	}
	return n, time.Weekday(day / 2)
}

// in is when the clock changes in a year.
func (o webOnset) in(year int) time.Time {
	clock := time.Duration(o.at.Hour())*time.Hour + time.Duration(o.at.Minute())*time.Minute
	month := o.month
	if month == 0 {
		month = o.at.Month()
	}
	switch {
	case o.nth > 0:
		first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
		return first.AddDate(0, 0, (int(o.day-first.Weekday())+7)%7+7*(o.nth-1)).Add(clock)
	case o.nth < 0:
		last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
		return last.AddDate(0, 0, -((int(last.Weekday()-o.day)+7)%7)+7*(o.nth+1)).Add(clock)
	}
	return time.Date(year, month, o.at.Day(), 0, 0, 0, 0, time.UTC).Add(clock)
}

// offset is how far the zone's clock is ahead of UTC when it shows t: by the last change before.
func (z *webZone) offset(t time.Time) time.Duration {
	var last time.Time
	offset := z.onsets[0].offset
	for _, o := range z.onsets {
		for _, year := range []int{t.Year() - 1, t.Year()} {
			at := o.at
			if o.yearly {
				at = o.in(year)
			}
			if !at.After(t) && !at.Before(last) && !o.at.After(t) {
				last, offset = at, o.offset
			}
		}
	}
	return offset
}
