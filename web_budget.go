// Budgets of the pages: memory for forms and places for event streams, so that nobody takes them from the others.
package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
)

const (
	webMaxForm          = 1 << 20  // octets of a form without files
	webMaxStrangersForm = 16 << 10 // octets of one of somebody who is not logged in
	webFormsRoom        = 16 << 20 // octets of all forms that are in memory
	webOwnFormsRoom     = 6 << 20  // octets of one person's
	webMaxStreams       = 50       // browsers that listen for news at the same time
	webMaxOwnStreams    = 12       // of one person
)

// webBudget counts the octets of forms that are in memory, in all and for each person.
type webBudget struct {
	mu  sync.Mutex
	all int64
	own map[UserID]int64
}

// take says whether there is room for n more octets of a person, and counts them.
func (b *webBudget) take(u UserID, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all+n > webFormsRoom || b.own[u]+n > webOwnFormsRoom {
		return false
	}
	b.all += n
	b.own[u] += n
	return true
}

func (b *webBudget) give(u UserID, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all -= n
	b.own[u] -= n
	if b.own[u] <= 0 {
		delete(b.own, u)
	}
}

// counted reads from r what the request will hold in memory. Where the budget has no room for it, reading fails with an
// answer for the browser. Strangers share one person's part.
func (q *webReq) counted(r io.Reader) io.Reader { return &webCounted{q, r} }

type webCounted struct {
	q *webReq
	r io.Reader
}

func (c *webCounted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if n == 0 {
		return n, err
	}
	if !c.q.forms.take(c.q.user.ID, int64(n)) {
		return 0, webFault(http.StatusServiceUnavailable, "Too many forms are being sent. Try again in a moment.")
	}
	c.q.room += int64(n)
	return n, err
}

// giveRoom ends what a request has counted.
func (q *webReq) giveRoom() {
	if q.room > 0 {
		q.forms.give(q.user.ID, q.room)
		q.room = 0
	}
}

// webStreams are the browsers that listen for news, the oldest first.
type webStreams struct {
	mu  sync.Mutex
	all []*webStream
}

type webStream struct {
	user UserID
	end  context.CancelFunc
}

// join adds a stream. When a person has too many, their oldest ends; when all have, the oldest of whoever has the most: a
// page that is forgotten in some tab makes room for the one that is looked at. The caller calls leave when it is over.
func (s *webStreams) join(x *webStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
	count, most := map[UserID]int{}, 0
	for _, o := range s.all {
		count[o.user]++
		most = max(most, count[o.user])
	}
	i := -1
	switch {
	case count[x.user] > webMaxOwnStreams:
		i = slices.IndexFunc(s.all, func(o *webStream) bool { return o.user == x.user })
	case len(s.all) > webMaxStreams:
		i = slices.IndexFunc(s.all, func(o *webStream) bool { return count[o.user] == most })
	default:
		return
	}
	s.all[i].end()
	s.all = slices.Delete(s.all, i, i+1)
}

func (s *webStreams) leave(x *webStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(o *webStream) bool { return o == x })
}

func (s *webStreams) count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.all))
}
