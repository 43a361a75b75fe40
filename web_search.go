// Search on the pages: what people type becomes what the store is asked for.
package main

import (
	"strings"
)

// search finds messages in one folder, or with 0 in all folders but Junk and Trash.
func (q *webReq) search(id MailboxID, text string) (hits []webHit, hint string, err error) {
	var boxes []Mailbox
	err = q.s.store.Read(func(tx *Tx) error {
		boxes, hits = boxes[:0], hits[:0]
		folders, err := q.folders(tx)
		if err != nil {
			return err
		}
		for _, f := range folders {
			if id == f.ID || id == 0 && f.Special != `\Junk` && f.Special != `\Trash` {
				boxes = append(boxes, f.Mailbox)
			}
		}
		for _, m := range boxes {
			msgs, err := tx.Newest(m.ID, ^UID(0), 2000)
			if err != nil {
				return err
			}
			for _, x := range msgs {
				c, err := tx.Content(x.Blob)
				if err != nil {
					return err
				}
				h := c.Header()
				if strings.Contains(strings.ToLower(h.Text("Subject")+" "+h.Text("From")+" "+h.Text("To")), strings.ToLower(text)) {
					hits = append(hits, webHit{m, x})
				}
			}
		}
		return nil
	})
	return hits, "", err
}
