// The outbox: letters that wait, and what became of those that were sent.
package main

import (
	"errors"
)

// webOutbox lists letters that wait, and mail of the user's that is still in the queue.
type webOutbox struct {
	Letters []webWaiting
	Queue   []webQueued
}

type webWaiting struct {
	Letter
	W webFields
}

// webQueued is a message of the user's in the queue.
type webQueued struct {
	QueueItem
	Subject string
}

func (q *webReq) getOutbox() error {
	var p webOutbox
	var items []QueueItem
	err := q.s.store.Read(func(tx *Tx) error {
		p = webOutbox{}
		letters, err := tx.WaitingLetters(q.user.ID)
		if err != nil {
			return err
		}
		for _, l := range letters {
			w, err := webFieldsOf(&l)
			if err != nil {
				return err
			}
			p.Letters = append(p.Letters, webWaiting{l, w})
		}
		items, err = tx.QueuePage(q.user.Name, webQueueShown)
		return err
	})
	if err != nil {
		return err
	}
	p.Queue = q.queued(items)
	return q.page("outbox", "Waiting to be sent", p)
}

// queued reads the subjects of what waits in the queue.
func (q *webReq) queued(items []QueueItem) []webQueued {
	var all []webQueued
	for _, it := range items {
		x := webQueued{QueueItem: it}
		if c, err := q.s.store.Content(it.Blob.ID); err == nil {
			x.Subject = webClean(c.Header().Text("Subject"))
		}
		all = append(all, x)
	}
	return all
}

// postOutbox sends a waiting letter now.
func (q *webReq) postOutbox() error {
	id := webID[int64](q.r.PostForm.Get("id"))
	err := q.s.store.Write(func(tx *Tx) error {
		l, err := tx.Letter(q.user.ID, id)
		if err != nil {
			return err
		}
		l.Due, l.Fault = tx.s.Now(), ""
		return tx.SaveLetter(&l)
	})
	if errors.Is(err, ErrNotFound) {
		q.sayBad("This letter was sent or discarded meanwhile.")
		return q.redirect("/outbox")
	}
	if err != nil {
		return err
	}
	q.wakeSender()
	q.say("Sending …")
	return q.redirect("/mail")
}

// deliveries tells what became of a letter of ours: "delivered at 10:32", "waiting, next try 10:35", "came back".
func (q *webReq) deliveries(m *webMessage) ([]webDelivery, error) {
	var sent []Sent
	waiting := map[string]QueueRcpt{}
	err := q.s.store.Read(func(tx *Tx) error {
		found, err := tx.SentOf(q.user.ID, m.M.Blob)
		if err != nil || len(found) == 0 {
			return err
		}
		sent = found
		items, err := tx.Queue(sent[0].Mail)
		for _, it := range items {
			for _, r := range it.Rcpts {
				waiting[r.Addr.String()] = r
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []webDelivery
	for _, s := range sent {
		r, inQueue := waiting[s.Rcpt]
		d := webDelivery{To: s.Rcpt}
		d.State, d.Text = q.became(s, r, inQueue)
		if s.Said != "" {
			d.Text += " (" + webCut(webClean(q.lang.Reason(s.Said)), 200) + ")"
		} else if inQueue && r.Error != "" {
			d.Text += " (" + webCut(webClean(q.lang.Reason(r.Error)), 200) + ")"
		}
		all = append(all, d)
	}
	return all, nil
}

// became tells what became of a letter for one recipient, who may still be in the queue.
func (q *webReq) became(s Sent, r QueueRcpt, inQueue bool) (state, text string) {
	switch {
	case s.State == SentDelivered:
		return "delivered", q.lang.F("delivered, %s", q.lang.Stamp(s.At))
	case s.State == SentFailed:
		return "failed", q.lang.F("could not be delivered, %s", q.lang.Stamp(s.At))
	case inQueue && r.Hold:
		return "waiting", q.lang.T("on hold")
	case inQueue && r.Error != "":
		return "waiting", q.lang.NextTry(r.Next)
	case inQueue:
		return "waiting", q.lang.T("on its way")
	}
	return "waiting", q.lang.T("taken out of the queue")
}

// webDelivery is what became of a letter of ours for one recipient.
type webDelivery struct{ To, State, Text string }
