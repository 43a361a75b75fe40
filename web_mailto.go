// Addresses that begin a letter: mailto: links, and those that mailing lists give to their readers.
package main

import (
	"cmp"
	"net/url"
	"strings"
)

const (
	webMaxMailto  = 64 << 10 // octets of a mailto: address
	webMaxListURL = 20       // addresses in a field of a list
)

// mailto fills the form from a mailto: address (RFC 6068 §2). Only harmless fields are taken. A "+" is a plus: mail
// addresses have it, and blanks are written %20 (§5).
func (c *webCompose) mailto(s string) {
	if len(s) > webMaxMailto {
		return
	}
	s = s[len("mailto:"):]
	to, fields, _ := strings.Cut(strings.TrimPrefix(s, "//"), "?")
	fields, _, _ = strings.Cut(fields, "#")
	c.To = webPercent(to)
	for _, f := range strings.Split(strings.ReplaceAll(fields, "&amp;", "&"), "&") {
		name, value, _ := strings.Cut(f, "=")
		value = webPercent(value)
		switch strings.ToLower(webPercent(name)) {
		case "to":
			c.To = webJoined(c.To, value)
		case "cc":
			c.Cc = webJoined(c.Cc, value)
		case "bcc":
			c.Bcc = webJoined(c.Bcc, value)
		case "subject":
			c.Subject = value
		case "body":
			c.Text = strings.ReplaceAll(value, "\r\n", "\n")
		case "in-reply-to":
			if ids := MessageIDs(value); len(ids) > 0 {
				c.InReplyTo, c.References = ids[0], ids[:1]
			}
		}
	}
}

func webJoined(list, more string) string { return strings.Trim(list+", "+more, ", ") }

// webPercent undoes percent signs, those that are right.
func webPercent(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return strings.ToValidUTF8(plain, "\ufffd")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

// webMailtoQuery is the mailto: address that a page was asked to write to, "" if it was not. Programs that hand such links
// on do not always encode them: then all that follows belongs to it.
func webMailtoQuery(u *url.URL) string {
	raw, ok := strings.CutPrefix(u.RawQuery, "to=")
	if !ok {
		return ""
	}
	if hasPrefixFold(raw, "mailto:") {
		return raw
	}
	raw, _, _ = strings.Cut(raw, "&")
	if s := webPercent(raw); hasPrefixFold(s, "mailto:") {
		return s
	}
	return ""
}

// webListAddresses reads a field of a list (RFC 2369 §2): addresses in "<>", divided by commas, with blanks and folds
// inside that count for nothing. Lists that leave the brackets out are understood too.
func webListAddresses(field string) []string {
	var all []string
	add := func(s string) {
		s = strings.Join(strings.Fields(s), "")
		if s != "" && len(all) < webMaxListURL {
			all = append(all, s)
		}
	}
	if !strings.Contains(field, "<") {
		for field != "" {
			n := webNextListAddress(field)
			add(strings.Trim(field[:n], ", \t"))
			field = field[n:]
		}
		return all
	}
	for {
		_, after, ok := strings.Cut(field, "<")
		if !ok {
			return all
		}
		inside, rest, _ := strings.Cut(after, ">")
		add(inside)
		field = rest
	}
}

// webNextListAddress is where the next address begins in a list without brackets: behind a comma that a scheme follows.
func webNextListAddress(field string) int {
	for i := 1; i < len(field); i++ {
		rest := strings.TrimLeft(field[i:], ", \t")
		if field[i] == ',' && (hasPrefixFold(rest, "http:") || hasPrefixFold(rest, "https:") || hasPrefixFold(rest, "mailto:")) {
			return i
		}
	}
	return len(field)
}

// webList are the addresses that a mailing list gives to its readers.
type webListFields struct {
	Leave    string // where List-Unsubscribe leads: a page, or our form for a letter
	OneClick string // where a POST unsubscribes without further questions (RFC 8058 §3.1)
	Post     string // the address that letters to the list go to
}

func webListOf(h Header) webListFields {
	var f webListFields
	for _, s := range webListAddresses(h.Text("List-Unsubscribe")) {
		switch {
		case hasPrefixFold(s, "https://") || hasPrefixFold(s, "http://"):
			s = strings.ReplaceAll(s, "&amp;", "&") // copied out of HTML
			f.Leave = cmp.Or(f.Leave, s)
			if f.OneClick == "" && hasPrefixFold(s, "https://") {
				f.OneClick = s
			}
		case hasPrefixFold(s, "mailto:") && f.Leave == "":
			f.Leave = "/compose?to=" + webEscape(s)
		}
	}
	post := strings.Join(strings.Fields(h.Get("List-Unsubscribe-Post")), "")
	if !strings.EqualFold(post, "List-Unsubscribe=One-Click") {
		f.OneClick = ""
	}
	for _, s := range webListAddresses(h.Get("List-Post")) {
		if hasPrefixFold(s, "mailto:") && f.Post == "" {
			var c webCompose
			c.mailto(s)
			f.Post = c.To
		}
	}
	return f
}
