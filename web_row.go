// Rows of lists: who, what and when.
package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// webPerson is an address as it is shown.
type webPerson struct{ Name, Address string }

// Label is what to call a person where there is room for one thing: the name, or the address where there is none. A name
// that holds an address other than the person's own has that behind it: anybody can write anything into a name.
func (p webPerson) Label() string {
	switch {
	case p.Name == "":
		return p.Address
	case webNamesOther(p.Name, p.Address):
		return p.Name + " <" + p.Address + ">"
	}
	return p.Name
}

// webNamesOther says whether a name holds a mail address that is not the one given.
func webNamesOther(name, address string) bool {
	name = strings.ToLower(norm.NFKC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, name)))
	return strings.Contains(name, "@") && strings.Trim(name, " '\"<>()") != strings.ToLower(address)
}

// webPeople turns an address list into what is shown: names decoded, groups flattened.
func webPeople(list []Address) []webPerson {
	var all []webPerson
	for _, a := range list {
		if a.Domain == "" {
			continue
		}
		addr := Address{Local: a.Local, Domain: a.Domain}.String()
		switch {
		case a.Domain == missingDomain && a.Local == missingLocal:
			addr = ""
		case a.Domain == missingDomain:
			addr = a.Local
		}
		all = append(all, webPerson{webClean(a.DisplayName()), webClean(strings.Trim(addr, "<>"))})
		if len(all) == webMaxPeople {
			break
		}
	}
	return all
}

// webSummary is what a list shows of a message's content. Content never changes, so it is kept by the content's ID.
type webSummary struct {
	From    webPerson
	To      string // names of the recipients, for Sent and Drafts
	Subject string
	Snippet string
	Date    time.Time
	Clip    bool
	ID      string // Message-ID
}

// webCache keeps the last things that were put into it, as many as its ring is long.
type webCache[K comparable, V any] struct {
	mu   sync.Mutex
	all  map[K]*V
	ring []K
	next int
}

func webNewCache[K comparable, V any](most int) *webCache[K, V] {
	return &webCache[K, V]{all: map[K]*V{}, ring: make([]K, most)}
}

func (c *webCache[K, V]) get(key K) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[key]
}

func (c *webCache[K, V]) put(key K, v *V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.all[key]; !ok {
		delete(c.all, c.ring[c.next])
		c.ring[c.next] = key
		c.next = (c.next + 1) % len(c.ring)
	}
	c.all[key] = v
}

// shrink forgets what was put in first, but for one, as long as all that is left is too much.
func (c *webCache[K, V]) shrink(tooMuch func(all []*V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.ring {
		if len(c.all) < 2 || !tooMuch(slices.Collect(maps.Values(c.all))) {
			return
		}
		delete(c.all, c.ring[(c.next+i)%len(c.ring)])
	}
}

// webRow is a line of a list.
type webRow struct {
	Box Mailbox
	M   Message
	*webSummary
	Who                        string // whom the line names: the sender, or in Sent and Drafts the recipients
	Key                        string // "box.uid", with commas for a conversation
	Href                       string
	Count                      int // messages of the conversation
	Unread                     bool
	Flagged                    bool
	Open                       bool
	When                       string // it came, in the reader's zone
	Answered, Forwarded, Draft bool
}

// summaries reads what is not in memory yet. Content is opened in one transaction and read after it.
func (q *webReq) summaries(rows []*webRow) error {
	var open []*Content
	var todo []*webRow
	err := q.s.store.Read(func(tx *Tx) error {
		open, todo = open[:0], todo[:0]
		for _, r := range rows {
			r.webSummary = q.rows.get(r.M.Blob)
			if r.webSummary != nil {
				continue
			}
			c, err := tx.Content(r.M.Blob)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			open, todo = append(open, c), append(todo, r)
		}
		return nil
	})
	for i, r := range todo {
		if open[i] == nil {
			r.webSummary = &webSummary{Date: r.M.Internal}
			continue
		}
		r.webSummary = webSummarize(open[i])
		q.rows.put(r.M.Blob, r.webSummary)
	}
	return err
}

func webSummarize(c *Content) *webSummary {
	h := c.Header()
	e := ParseEnvelope(h)
	s := &webSummary{Subject: webCut(webClean(h.Text("Subject")), webMaxSubject), ID: e.MessageID}
	if p := webPeople(e.From); len(p) > 0 {
		s.From = p[0]
	}
	var to []string
	for i, p := range webPeople(append(append(e.To[:len(e.To):len(e.To)], e.Cc...), e.Bcc...)) {
		if i == 4 {
			to = append(to, "…")
			break
		}
		to = append(to, p.Label())
	}
	s.To = strings.Join(to, ", ")
	s.Date, _ = ParseDate(e.Date)
	tree := c.Tree()
	s.Clip = len(tree.Attachments()) > 0
	s.Snippet = webClean(Preview(tree, c, webSnippet))
	return s
}

// fill adds what follows from the message's row and its summary.
func (r *webRow) fill(l *webLang) {
	r.When = l.Short(r.M.Internal)
	f := r.M.Flags.Bits
	r.Unread = r.Unread || f&FlagSeen == 0
	r.Flagged = r.Flagged || f&FlagFlagged != 0
	r.Answered, r.Forwarded, r.Draft = f&FlagAnswered != 0, f&FlagForwarded != 0, f&FlagDraft != 0
	if r.Who == "" {
		r.Who = r.From.Label()
		if r.Box.Special == `\Sent` || r.Box.Special == `\Drafts` || r.Draft {
			r.Who = r.To
		}
	}
	if r.Key == "" {
		r.Key = webKey(r.Box.ID, r.M.UID)
	}
	if r.Href == "" {
		r.Href = webHref(r.Box.ID, r.M.UID)
	}
}

// Anchor is the row's place on its page.
func (r *webRow) Anchor() string { return webAnchor(r.Box.ID, r.M.UID) }

func webAnchor(box MailboxID, uid UID) string { return fmt.Sprintf("m-%d-%d", box, uid) }

func webKey(box MailboxID, uid UID) string { return fmt.Sprintf("%d.%d", box, uid) }

func webHref(box MailboxID, uid UID) string { return fmt.Sprintf("/box/%d/%d", box, uid) }
