// The administrator's page of the queue.
package main

import (
	"net/http"
)

// webQueuePage is the page of what waits to go out.
type webQueuePage struct {
	webTabs
	Items []webQueued
	Ways  []Destination
	Total int
}

func (q *webReq) getQueue() error {
	p := webQueuePage{webTabs: webTabs{"queue"}}
	var items []QueueItem
	err := q.s.store.Read(func(tx *Tx) (err error) {
		p.Ways, err = tx.Destinations()
		if err != nil {
			return err
		}
		p.Total, err = tx.QueueLength()
		if err != nil {
			return err
		}
		items, err = tx.QueuePage("", webQueueShown)
		return err
	})
	if err != nil {
		return err
	}
	p.Items = q.queued(items)
	return q.page("admin-queue", "Queue", p)
}

func (q *webReq) postQueue() error {
	f := q.r.PostForm
	match, do := f.Get("match"), f.Get("do")
	if do == "rm" && f.Get("sure") == "" {
		return q.page("confirm", "Are you sure?", webConfirm{Question: q.lang.T("Take this out of the queue? Nobody will be told, and it will not arrive."),
			Button: q.lang.T("Remove"), Action: "/admin/queue", Back: "/admin/queue", Fields: [][2]string{{"do", "rm"}, {"match", match}, {"sure", "1"}}})
	}
	if match == "" && do != "retry" {
		return webFault(http.StatusBadRequest, "That button is not known here.")
	}
	n := 0
	err := q.s.store.Write(func(tx *Tx) (err error) {
		switch do {
		case "retry":
			n, err = tx.QueueRetry(match)
		case "hold", "release":
			n, err = tx.QueueHold(match, do == "hold")
		case "rm":
			n, err = tx.QueueRemove(match)
		}
		return err
	})
	if err != nil {
		return err
	}
	q.log.Info("queue changed", "what", do, "match", match, "n", n, "by", q.user.Name)
	q.note(&webNote{Text: q.lang.N(int64(n), "Done for %s message.", "Done for %s messages.")})
	return q.redirect("/admin/queue")
}
