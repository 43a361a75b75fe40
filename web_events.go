// News for open pages: server-sent events from the store's Watch.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	webBeat       = 25 * time.Second       // between signs of life on a quiet stream
	webCalm       = 400 * time.Millisecond // between two events, however much happens
	webLater      = 10 * time.Minute       // after which a page comes back whose stream had to make room
	webMaxOffered = 8                      // contacts offered while somebody types an address
	webMaxNamed   = 300                    // users up to which everybody's name is looked at for that
)

func webEventRoutes() []webRoute {
	return []webRoute{
		{"GET /events", webLoggedIn, (*webReq).getEvents},
		{"GET /people", webLoggedIn, (*webReq).getPeople},
	}
}

// webNews is what an event says: the folders' numbers, and the newest message that came into the inbox.
type webNews struct {
	Folders []webNewsFolder `json:"folders"`
	New     *webNewsMail    `json:"new,omitempty"`
}

type webNewsFolder struct {
	ID     MailboxID `json:"id"`
	Unseen int64     `json:"unseen"`
	Exists int64     `json:"exists"`
	ModSeq ModSeq    `json:"modseq"`
}

type webNewsMail struct {
	From    string `json:"from"`
	Subject string `json:"subject"`
	Href    string `json:"href"`
	Said    string `json:"said"` // the whole as one sentence, for screen readers
}

// getEvents keeps the connection and writes an event after every commit that touched the user's mail (HTML, server-sent
// events). It ends when the session does.
func (q *webReq) getEvents() error {
	ctx, end := context.WithCancel(q.r.Context())
	defer end()
	stream := &webStream{q.user.ID, end}
	q.streams.join(stream)
	defer q.streams.leave(stream)
	wake, stop := q.s.store.Watch(q.user.ID)
	defer stop()
	h := q.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	ctl := http.NewResponseController(q.w)
	write := func(text string) bool {
		webSoon(q.w)
		if _, err := q.w.Write([]byte(text)); err != nil {
			return false
		}
		return ctl.Flush() == nil
	}
	last, next, err := q.news(0)
	if err != nil {
		return err
	}
	if !write("retry: 5000\n\n" + last) {
		return nil
	}
	beat := time.NewTicker(webBeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			if q.r.Context().Err() == nil { // it made room for another
				write(fmt.Sprintf("retry: %d\n\n", webLater.Milliseconds()))
			}
			return nil
		case <-q.s.stop.Done():
			return nil
		case <-beat.C:
			if !q.stillIn() || !write(": alive\n\n") {
				return nil
			}
		case <-wake:
			event, n, err := q.news(next)
			if err != nil || !q.stillIn() {
				return nil // the browser comes back, and hears then what is wrong
			}
			next = n
			if event != last && !write(event) {
				return nil
			}
			last = event
			time.Sleep(webCalm)
		}
	}
}

// stillIn says whether the session has not been ended meanwhile.
func (q *webReq) stillIn() bool {
	return q.s.store.Read(func(tx *Tx) error { _, _, err := tx.WebSession(q.session.Hash); return err }) == nil
}

// news makes an event, and tells the UID that the inbox's next message will have. since is what that was at the last one, 0 at
// first.
func (q *webReq) news(since UID) (string, UID, error) {
	var n webNews
	var row *webRow
	var next UID
	err := q.s.store.Read(func(tx *Tx) error {
		folders, err := q.folders(tx)
		if err != nil {
			return err
		}
		for _, f := range folders {
			n.Folders = append(n.Folders, webNewsFolder{f.ID, f.Unseen, f.Exists, f.HighestModSeq})
			if f.Name != "INBOX" || f.Owner != q.user.ID {
				continue
			}
			next = f.UIDNext
			if since == 0 || f.UIDNext <= since {
				continue
			}
			msgs, err := tx.Newest(f.ID, ^UID(0), 1)
			if err != nil {
				return err
			}
			if len(msgs) > 0 && msgs[0].UID >= since && msgs[0].Flags.Bits&FlagSeen == 0 {
				row = &webRow{Box: f.Mailbox, M: msgs[0]}
			}
		}
		return nil
	})
	if err != nil {
		return "", 0, err
	}
	if row != nil {
		if err := q.summaries([]*webRow{row}); err != nil {
			return "", 0, err
		}
		n.New = &webNewsMail{From: row.From.Label(), Subject: row.Subject, Href: webHref(row.Box.ID, row.M.UID),
			Said: q.lang.F("New mail from %s: %s", row.From.Label(), row.Subject)}
	}
	b, err := json.Marshal(n)
	if err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("event: mail\ndata: %s\n\n", b), next, nil
}
