// Replies and forwards: what a new letter takes over from the message it answers.
package main

import (
	"cmp"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// webField writes people into an address field.
func webField(list []webPerson) string {
	var all []string
	for _, p := range list {
		all = append(all, webPlain(p.Name, p.Address))
	}
	return strings.Join(all, ", ")
}

// quotable is what was read of a message as lines without flowing, at most limit octets, and whether there is more. Where
// there is HTML, its plain form is taken if that says the same: it is laid out by a person, and not by us.
func (q *webReq) quotable(m *webMessage, limit int) (string, bool, error) {
	if err := q.readLeaves(m); err != nil {
		return "", false, err
	}
	text, cut, err := q.plainTexts(m, limit)
	if err != nil || !m.Both || m.Plain {
		return text, cut, err
	}
	plain := &webMessage{At: m.At, Href: m.Href, M: m.M, Plain: true, stored: m.stored, content: m.content, inside: m.inside, root: m.root, header: m.header, From: m.From}
	if err := q.readLeaves(plain); err != nil {
		return "", false, err
	}
	other, otherCut, err := q.plainTexts(plain, limit)
	if err != nil {
		return "", false, err
	}
	if webSaysSame(other, text) {
		return other, otherCut, nil
	}
	return text, cut, nil
}

// webSaysSame says whether nine in ten words of what was read are in the other form as well.
func webSaysSame(other, read string) bool {
	words := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	has := map[string]bool{}
	for _, w := range words(other) {
		has[w] = true
	}
	all := words(read)
	found := 0
	for _, w := range all {
		if has[w] {
			found++
		}
	}
	return found*10 >= len(all)*9
}

// plainTexts are the texts that are shown, one below the other, as plain text, and whether there is more than limit octets.
func (q *webReq) plainTexts(m *webMessage, limit int) (string, bool, error) {
	var b strings.Builder
	cut := false
	for _, l := range m.texts() {
		r := io.LimitReader(l.Part.PlainText(m.content), int64(max(limit-b.Len(), 0))+1)
		octets, err := io.ReadAll(r)
		if err != nil && len(octets) == 0 && errors.Is(err, ErrClosed) {
			return "", false, err
		}
		if len(octets) > limit-b.Len() {
			octets, cut = octets[:max(limit-b.Len(), 0)], true
		}
		one := strings.ToValidUTF8(string(octets), "\ufffd")
		if strings.TrimSpace(one) == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		webWriteLines(&b, one, webIsFlowed(l.Part), strings.EqualFold(l.Part.Param("delsp"), "yes"))
	}
	return b.String(), cut, nil
}

// webWriteLines writes text with each paragraph on one line.
func webWriteLines(b *strings.Builder, text string, flowed, delSp bool) {
	for _, ln := range webLines(text, flowed, delSp) {
		b.WriteString(strings.Repeat(">", ln.depth))
		if ln.depth > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(ln.text)
		b.WriteByte('\n')
	}
}

// formatted are the texts that are shown as one HTML text for a letter, "" if there is no HTML among them. Pictures
// elsewhere stay in it: our pages' policy keeps them from being fetched while one writes.
func (q *webReq) formatted(m *webMessage) (string, error) {
	if err := q.readLeaves(m); err != nil {
		return "", err
	}
	if !slices.ContainsFunc(m.texts(), func(l webLeaf) bool { return l.Part.Is("text", "html") }) {
		return "", nil
	}
	var b strings.Builder
	for _, l := range m.texts() {
		text, err := webReadText(l.Part, m.content, webMaxHTML)
		if err != nil {
			return "", err
		}
		if !l.Part.Is("text", "html") {
			b.WriteString("<div>" + strings.ReplaceAll(html.EscapeString(text), "\n", "<br>") + "</div>")
			continue
		}
		safe := webSanitize(text, webHTMLView{Pictures: true, Own: true, Inline: q.inlinePictures(m)})
		b.WriteString("<div>" + safe.Body + "</div>")
	}
	return b.String(), nil
}

// webAnswer says whom a reply is for.
type webAnswer int

const (
	webToSender webAnswer = iota
	webToAll
	webToList
)

// webAnswerTo reads whom the page was asked to answer.
func webAnswerTo(v url.Values) webAnswer {
	switch {
	case v.Get("all") != "":
		return webToAll
	case v.Get("list") != "":
		return webToList
	}
	return webToSender
}

// answer fills the form for a reply (RFC 5322 §3.6.2, §3.6.4).
func (q *webReq) answer(c *webCompose, key string, whom webAnswer) error {
	m, err := q.keyed(key)
	if err != nil {
		return err
	}
	c.Title, c.Source, c.Kind = "Reply", key, "reply"
	own := q.ownIn(c, m)
	to := webAnswered(m, own)
	list := m.Lists.Post
	switch {
	case whom == webToList && list != "":
		to = []webPerson{{Address: list}}
	case whom == webToAll && list != "" && !own(m.Sender()):
		to = webOnly(slices.Concat(to, m.ReplyTo), func(webPerson) bool { return true })
	}
	seen := map[string]bool{}
	first := func(p webPerson) bool {
		k := strings.ToLower(p.Address)
		was := seen[k]
		seen[k] = true
		return !was
	}
	c.To = webField(webOnly(to, first))
	if whom == webToAll {
		c.Title = "Reply to all"
		c.Cc = webField(webOnly(slices.Concat(m.To, m.Cc), func(p webPerson) bool { return !own(p) && first(p) }))
	}
	c.Subject = m.Subject
	if _, re := BaseSubject(m.Subject); !re || !strings.HasPrefix(strings.ToLower(m.Subject), "re") {
		c.Subject = "Re: " + m.Subject
	}
	c.follow(m)
	text, cut, err := q.quotable(m, webMaxQuoted)
	if err != nil {
		return err
	}
	text += webCutMark(cut)
	c.Text = c.signature()
	c.Text = "\n" + c.Text + "\n\n" + q.lang.F("On %s, %s wrote:", q.lang.Long(m.Date), m.Sender().Label()) + "\n" + webQuoted(text)
	return nil
}

// webAnswered is whom a reply goes to: Reply-To, or From where there is none, or it was a list that put its own address
// there: that would send to all what was meant for one. A letter of one's own goes once more to those it went to.
func webAnswered(m *webMessage, own func(webPerson) bool) []webPerson {
	list := m.Lists.Post
	toList := list != "" && len(m.ReplyTo) == 1 && strings.EqualFold(m.ReplyTo[0].Address, list)
	switch {
	case own(m.Sender()) && len(m.To) > 0:
		return m.To
	case own(m.Sender()) && len(m.Cc) > 0:
		return m.Cc
	case len(m.ReplyTo) > 0 && (!toList || len(m.From) == 0):
		return m.ReplyTo
	}
	return m.From
}

func webOnly(list []webPerson, keep func(webPerson) bool) []webPerson {
	var kept []webPerson
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
				c.webFields.From = i.Address
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
		c.Keep = []webFile{m.wholeFile()}
		return nil
	}
	c.Keep = q.inherited(m)
	if len(c.Keep) > maxLetterFiles {
		c.Keep = []webFile{m.wholeFile()} // a letter can't hold them one by one
	}
	var head []string
	for _, f := range [][2]string{{"From", webField(m.From)}, {"Date", q.lang.Long(m.Date)}, {"Subject", m.Subject}, {"To", webField(m.To)}, {"Cc", webField(m.Cc)}} {
		if f[1] != "" {
			head = append(head, q.lang.T(f[0])+": "+f[1])
		}
	}
	line := "---------- " + q.lang.T("Forwarded message") + " ----------"
	rich, err := q.formatted(m)
	if err != nil {
		return err
	}
	if rich != "" && len(rich) <= webMaxField-webForwardRoom {
		c.HTML = webLinesHTML(c.Text) + "<div><br></div>" + webLinesHTML(line+"\n"+strings.Join(head, "\n")) + `<div><br></div><div class="` + webLetterScope[1:] + `">` + rich + "</div>"
		return nil
	}
	text, cut, err := q.quotable(m, webMaxQuoted)
	if err != nil {
		return err
	}
	if cut {
		c.Keep = append(c.Keep, m.wholeFile())
	}
	text += webCutMark(cut)
	c.Text += "\n\n" + line + "\n" + strings.Join(head, "\n") + "\n\n" + text
	return nil
}

// webCutMark is what stands for the rest of a text that is too long for an answer.
func webCutMark(cut bool) string {
	if cut {
		return "\n[…]\n"
	}
	return ""
}

// webForwardRoom is what remains for words of one's own, in octets, where a forwarded message keeps its formatting.
const webForwardRoom = 100_000

// webLinesHTML are lines of plain text as HTML.
func webLinesHTML(text string) string {
	var b strings.Builder
	for _, line := range strings.Split(text, "\n") {
		b.WriteString("<div>" + cmp.Or(html.EscapeString(line), "<br>") + "</div>")
	}
	return b.String()
}
