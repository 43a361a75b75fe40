// Replies and forwards: what a new letter takes over from the message it answers.
package main

import (
	"io"
	"slices"
	"strings"
)

// webField writes people into an address field.
func webField(list []webPerson) string {
	var all []string
	for _, p := range list {
		all = append(all, webPlain(p.Name, p.Address))
	}
	return strings.Join(all, ", ")
}

// quotable is a message's text as lines without flowing, at most webMaxQuoted octets.
func (q *webReq) quotable(m *webMessage) (string, error) {
	if p := m.root.TextPart("plain"); p != nil {
		text, err := webReadText(p, m.content, webMaxQuoted)
		var b strings.Builder
		for _, ln := range webLines(text, strings.EqualFold(p.Param("format"), "flowed"), strings.EqualFold(p.Param("delsp"), "yes")) {
			b.WriteString(strings.Repeat(">", ln.depth))
			if ln.depth > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(ln.text)
			b.WriteByte('\n')
		}
		return b.String(), err
	}
	p := m.root.TextPart("html")
	if p == nil {
		return "", nil
	}
	b, err := io.ReadAll(io.LimitReader(HTMLText(p.Text(m.content)), webMaxQuoted))
	return strings.ToValidUTF8(string(b), "\ufffd"), err
}

// answer fills the form for a reply (RFC 5322 §3.6.2, §3.6.4): to Reply-To or From, or for a letter of one's own to those
// it went to; with all, a copy to everybody else.
func (q *webReq) answer(c *webCompose, key string, all bool) error {
	m, err := q.keyed(key)
	if err != nil {
		return err
	}
	c.Title, c.Source, c.Kind = "Reply", key, "reply"
	own := q.ownIn(c, m)
	to := m.ReplyTo
	if len(to) == 0 {
		to = m.From
	}
	if own(m.Sender()) && len(m.ReplyTo) == 0 && len(m.To) > 0 {
		to = m.To
	}
	seen := map[string]bool{}
	first := func(p webPerson) bool {
		k := strings.ToLower(p.Address)
		was := seen[k]
		seen[k] = true
		return !was
	}
	c.To = webField(webOnly(to, first))
	if all {
		c.Title = "Reply to all"
		c.Cc = webField(webOnly(slices.Concat(m.To, m.Cc), func(p webPerson) bool { return !own(p) && first(p) }))
	}
	c.Subject = m.Subject
	if _, re := BaseSubject(m.Subject); !re || !strings.HasPrefix(strings.ToLower(m.Subject), "re") {
		c.Subject = "Re: " + m.Subject
	}
	c.follow(m)
	text, err := q.quotable(m)
	if err != nil {
		return err
	}
	c.Text = c.signature()
	c.Text = "\n" + c.Text + "\n\n" + q.lang.F("On %s, %s wrote:", q.lang.Long(m.Date), m.Sender().Label()) + "\n" + webQuoted(text)
	return nil
}

func webOnly(list []webPerson, keep func(webPerson) bool) (kept []webPerson) {
	for _, p := range list {
		if keep(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// ownIn says which addresses are the user's, and answers from the one that the message came to.
func (q *webReq) ownIn(c *webCompose, m *webMessage) func(webPerson) bool {
	own := func(p webPerson) bool {
		if strings.EqualFold(p.Address, q.user.Name) {
			return true
		}
		return slices.ContainsFunc(c.From, func(i webIdentity) bool { return strings.EqualFold(i.Address, p.Address) })
	}
	for _, p := range slices.Concat(m.To, m.Cc, m.From) {
		for _, i := range c.From {
			if strings.EqualFold(i.Address, p.Address) {
				c.webLetter.From = i.Address
				return own
			}
		}
	}
	return own
}

// follow makes the letter a part of the message's conversation.
func (c *webCompose) follow(m *webMessage) {
	ids := MessageIDs(m.header.Get("Message-ID"))
	if len(ids) == 0 {
		return
	}
	refs := MessageIDs(m.header.Get("References"))
	if len(refs) == 0 {
		refs = MessageIDs(m.header.Get("In-Reply-To"))
	}
	if len(refs) > 50 { // the first one names the conversation, the last ones place the letter in it
		refs = append(refs[:1:1], refs[len(refs)-49:]...)
	}
	c.InReplyTo, c.References = ids[0], append(refs, ids[0])
}

// webQuoted puts "> " in front of every line.
func webQuoted(text string) string {
	var b strings.Builder
	for _, ln := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(ln, ">") || ln == "" {
			b.WriteString(">" + ln + "\n")
		} else {
			b.WriteString("> " + ln + "\n")
		}
	}
	return b.String()
}

// forward fills the form with a message to hand on: its text and its attachments, or the whole as one attachment.
func (q *webReq) forward(c *webCompose, key string, whole bool) error {
	m, err := q.keyed(key)
	if err != nil {
		return err
	}
	c.Title, c.Source, c.Kind = "Forward", key, "forward"
	c.Subject = m.Subject
	if !strings.HasPrefix(strings.ToLower(m.Subject), "fwd:") {
		c.Subject = "Fwd: " + m.Subject
	}
	c.Text = "\n" + c.signature()
	if whole {
		c.Keep = []webFile{{Name: webSubjectFile(m.Subject), Path: "whole", Size: m.M.Size}}
		return nil
	}
	text, err := q.quotable(m)
	if err != nil {
		return err
	}
	c.Keep = m.Files
	var b strings.Builder
	b.WriteString("\n\n---------- " + q.lang.T("Forwarded message") + " ----------\n")
	for _, f := range [][2]string{{"From", webField(m.From)}, {"Date", q.lang.Long(m.Date)}, {"Subject", m.Subject}, {"To", webField(m.To)}, {"Copy", webField(m.Cc)}} {
		if f[1] != "" {
			b.WriteString(q.lang.T(f[0]) + ": " + f[1] + "\n")
		}
	}
	c.Text += b.String() + "\n" + text
	return nil
}

func webSubjectFile(subject string) string {
	s := strings.Trim(webCut(strings.NewReplacer("/", "-", `\`, "-").Replace(subject), 80), " .")
	if s == "" {
		s = "message"
	}
	return s + ".eml"
}
