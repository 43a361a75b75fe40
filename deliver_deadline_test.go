package main

import (
	"testing"
	"time"
)

func TestQueueVerdict(t *testing.T) {
	now := time.Date(2027, 1, 10, 0, 0, 0, 0, time.UTC)
	usual := queuePolicy{warn: 4 * time.Hour, giveUp: 72 * time.Hour, warnTries: 3, giveUpTries: 20}
	patient := usual
	patient.patient = true
	for name, c := range map[string]struct {
		policy queuePolicy
		age    time.Duration // of the message
		by     string        // "R" or "N": its own time
		left   time.Duration // until that
		rcpt   QueueRcpt
		want   queueVerdict
		next   time.Duration // until the deadline; 0 none
	}{
		"new":                      {usual, 0, "", 0, QueueRcpt{}, verdictKeep, 4 * time.Hour},
		"late, too few tries":      {usual, 5 * time.Hour, "", 0, QueueRcpt{Recipient: Recipient{}, Tries: 2}, verdictKeep, queueLookPause},
		"late, next try is far":    {usual, 5 * time.Hour, "", 0, QueueRcpt{Tries: 2, Next: now.Add(time.Hour)}, verdictKeep, time.Hour},
		"late":                     {usual, 4 * time.Hour, "", 0, QueueRcpt{Tries: 3}, verdictWarn, queueLookPause},
		"late, and told":           {usual, 5 * time.Hour, "", 0, QueueRcpt{Tries: 9, Warned: true}, verdictKeep, 67 * time.Hour},
		"late, behind a rare link": {patient, 5 * time.Hour, "", 0, QueueRcpt{Tries: 9}, verdictKeep, 67 * time.Hour},
		"old, too few tries":       {usual, 99 * time.Hour, "", 0, QueueRcpt{Tries: 19, Warned: true}, verdictKeep, queueLookPause},
		"old":                      {usual, 72 * time.Hour, "", 0, QueueRcpt{Tries: 20, Warned: true}, verdictFail, queueLookPause},
		"old, never told":          {usual, 72 * time.Hour, "", 0, QueueRcpt{Tries: 20}, verdictFail, queueLookPause},
		"old, by a clock's jump":   {usual, 57 * 365 * 24 * time.Hour, "", 0, QueueRcpt{}, verdictKeep, queueLookPause},
		"old, behind a rare link":  {patient, 99 * time.Hour, "", 0, QueueRcpt{Tries: 20}, verdictFail, queueLookPause},
		"held":                     {usual, 99 * time.Hour, "R", -time.Hour, QueueRcpt{Tries: 20, Hold: true}, verdictKeep, 0},
		"in time, to be returned":  {usual, 0, "R", time.Hour, QueueRcpt{}, verdictKeep, time.Hour},
		"overdue, to be returned":  {usual, 0, "R", 0, QueueRcpt{}, verdictFail, queueLookPause},
		"overdue, told, returned":  {usual, 0, "R", 0, QueueRcpt{Warned: true}, verdictFail, queueLookPause},
		"overdue, to be told":      {usual, 0, "N", -time.Second, QueueRcpt{}, verdictWarn, queueLookPause},
		"overdue and told":         {usual, time.Hour, "N", -time.Second, QueueRcpt{Warned: true}, verdictKeep, 71 * time.Hour},
		"overdue, rare link":       {patient, 0, "N", -time.Second, QueueRcpt{}, verdictWarn, queueLookPause},
		"not yet begun (HOLDFOR)":  {usual, -24 * time.Hour, "", 0, QueueRcpt{Next: now.Add(24 * time.Hour)}, verdictKeep, 28 * time.Hour},
	} {
		q := QueueItem{Since: now.Add(-c.age)}
		if c.by != "" {
			q.ByMode, q.Due = c.by, now.Add(c.left)
		}
		if got := c.policy.verdict(&q, &c.rcpt, now); got != c.want {
			t.Errorf("%s: verdict %d, not %d", name, got, c.want)
		}
		next := c.policy.deadline(&q, &c.rcpt, now)
		if c.next == 0 {
			if !next.IsZero() {
				t.Errorf("%s: a deadline at %v", name, next)
			}
			continue
		}
		if got := next.Sub(now); got != c.next {
			t.Errorf("%s: the next deadline is in %v, not in %v", name, got, c.next)
		}
		// No verdict changes between now and the deadline.
		for step := time.Duration(0); step < c.next && c.want == verdictKeep; step += c.next/7 + 1 {
			if got := c.policy.verdict(&q, &c.rcpt, now.Add(step)); got != verdictKeep && c.next != queueLookPause {
				t.Errorf("%s: verdict %d before the deadline", name, got)
			}
		}
	}
}
