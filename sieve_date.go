// Sieve's dates (RFC 5260): a field's, or now's, in parts.
package main

import (
	"strconv"
	"strings"
	"time"
)

func (c *sieveCompiler) checkDate(n *sieveNode) {
	if a := n.tags["zone"]; a != nil && a.consts != nil {
		if _, ok := sieveZone(a.consts[0]); !ok {
			c.fault(a.sievePos, "%s is no time zone: + or - and four digits are wanted", sieveQuote(a.consts[0]))
		}
	}
	if n.tags["last"] != nil && n.tags["index"] == nil {
		c.fault(n.sievePos, "the tag :last needs :index")
	}
}

// sieveZone reads +0100.
func sieveZone(s string) (*time.Location, bool) {
	if len(s) != 5 || (s[0] != '+' && s[0] != '-') {
		return nil, false
	}
	n, err := strconv.ParseUint(s[1:], 10, 16)
	if err != nil || n > 9959 || n%100 > 59 {
		return nil, false
	}
	seconds := int(n/100*3600 + n%100*60)
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds), true
}

// inZone puts a time into the zone of the test: a named one, its own, or the reader's.
func (r *sieveRun) inZone(n *sieveNode, t time.Time) time.Time {
	if a := n.tags["zone"]; a != nil {
		if z, ok := sieveZone(r.str(a)); ok {
			return t.In(z)
		}
	}
	if n.tags["originalzone"] != nil || r.world.zone == nil {
		return t
	}
	return t.In(r.world.zone)
}

// askDate compares a part of a date in a header field (RFC 5260 §4). A field without a date is not there.
func (r *sieveRun) askDate(n *sieveNode) (bool, error) {
	values, err := r.fields(n, []string{r.str(n.pos[0])})
	if err != nil {
		return false, err
	}
	var parts []string
	for _, v := range sieveIndexed(n, values) {
		if i := strings.LastIndexByte(v, ';'); i >= 0 { // Received has it behind the last semicolon
			v = v[i+1:]
		}
		err = r.spend(500)
		if err != nil {
			return false, err
		}
		t, bad := ParseDate(v)
		if bad != nil {
			continue
		}
		part, ok := sieveDatePart(r.inZone(n, t), r.str(n.pos[1]))
		if ok {
			parts = append(parts, part)
		}
	}
	return r.matches(n, parts)
}

// askCurrentDate compares a part of now (RFC 5260 §5).
func (r *sieveRun) askCurrentDate(n *sieveNode) (bool, error) {
	now := r.world.now
	if r.world.zone != nil {
		now = now.In(r.world.zone)
	}
	part, ok := sieveDatePart(r.inZone(n, now), r.str(n.pos[0]))
	if !ok {
		return false, nil
	}
	return r.matches(n, []string{part})
}

// sieveDatePart is one of RFC 5260 §4.2; false if there is none of that name.
func sieveDatePart(t time.Time, part string) (string, bool) {
	layout := map[string]string{
		"year": "2006", "month": "01", "day": "02", "date": "2006-01-02", "hour": "15", "minute": "04", "second": "05", "time": "15:04:05",
		"iso8601": "2006-01-02T15:04:05-07:00", "std11": "Mon, 02 Jan 2006 15:04:05 -0700", "zone": "-0700",
	}[strings.ToLower(part)]
	switch {
	case layout != "":
		return t.Format(layout), true
	case strings.EqualFold(part, "julian"): // the modified Julian day, which begins at midnight of the zone
		_, offset := t.Zone()
		days := t.Unix() + int64(offset)
		days = (days - (days%86400+86400)%86400) / 86400
		return strconv.FormatInt(days+40587, 10), true
	case strings.EqualFold(part, "weekday"):
		return strconv.Itoa(int(t.Weekday())), true
	}
	return "", false
}
