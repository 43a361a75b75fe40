// Log lines that would come again and again: one a minute for each kind.
package main

import "time"

const complainEvery = time.Minute // between two log lines of one kind

// complaint is what is known of the log lines of one kind.
type complaint struct {
	last   time.Time // when one was written
	silent int64     // how many were not, since then
}

// Complain logs an error under a kind, a text that the code gives and never a stranger, at most once a minute: a card that can't
// be written to must not be worn by the log that says so. The next line says how many were left out.
func (c *Crew) Complain(kind string, err error, args ...any) {
	silent, due := c.complaintDue(kind, time.Now())
	if !due {
		return
	}
	args = append(args, "err", err)
	if silent > 0 {
		args = append(args, "more", silent)
	}
	c.log.Error(kind, args...)
}

// complaintDue counts a line of this kind and says how many were held back before it, and whether it is to be written.
func (c *Crew) complaintDue(kind string, now time.Time) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.complaints[kind]
	if x == nil {
		x = &complaint{}
		c.complaints[kind] = x
	}
	if !x.last.IsZero() && now.Sub(x.last) < complainEvery {
		x.silent++
		return 0, false
	}
	silent := x.silent
	x.last, x.silent = now, 0
	return silent, true
}
