// The administrator's page of the queue.
package main

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
	err := q.s.store.Read(func(tx *Tx) error {
		ways, err := tx.Destinations()
		if err != nil {
			return err
		}
		p.Ways = ways
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
	var change func(tx *Tx) (int, error)
	switch do {
	case "retry": // of everything, if match is ""
		change = func(tx *Tx) (int, error) { return tx.QueueRetry(match) }
	case "hold":
		change = func(tx *Tx) (int, error) { return tx.QueueHold(match, true) }
	case "release":
		change = func(tx *Tx) (int, error) { return tx.QueueHold(match, false) }
	case "rm":
		if f.Get("sure") == "" {
			return q.page("confirm", "Are you sure?", webConfirm{
				Question: q.lang.T("Take this out of the queue? Nobody will be told, and it will not arrive."), Button: q.lang.T("Remove"),
				Action: "/admin/queue", Back: "/admin/queue", Fields: [][2]string{{"do", "rm"}, {"match", match}, {"sure", "1"}}})
		}
		change = func(tx *Tx) (int, error) { return tx.QueueRemove(match) }
	}
	if change == nil || (match == "" && do != "retry") {
		return webErrDo
	}
	n, err := write(q.s.store, change)
	if err != nil {
		return err
	}
	q.log.Info("queue changed", "what", do, "match", match, "n", n, "by", q.user.Name)
	q.sayCount(int64(n), "Done for %s message.", "Done for %s messages.")
	return q.redirect("/admin/queue")
}
