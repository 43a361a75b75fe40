// Plain text mail as HTML: flowed lines joined, quotes nested and folded away, addresses made into links.
package main

import (
	"html"
	"html/template"
	"regexp"
	"strings"
)

const (
	webMaxText   = 1 << 20 // octets of a body that are shown
	webMaxQuote  = 8       // levels of quoting that are shown
	webFoldQuote = 6       // quoted lines at which a quote is folded away
)

// webLine is a line of text without its quote marks.
type webLine struct {
	depth int
	text  string
}

// webLines splits a text into lines and takes the quote marks off. Flowed text (RFC 3676 §4) has its lines joined.
func webLines(text string, flowed, delSp bool) []webLine {
	var all []webLine
	joining := false
	for _, raw := range strings.Split(strings.TrimRight(text, "\r\n"), "\n") {
		raw = strings.TrimSuffix(raw, "\r")
		depth := 0
		for depth < len(raw) && raw[depth] == '>' {
			depth++
			if !flowed && depth < len(raw)-1 && raw[depth] == ' ' && raw[depth+1] == '>' {
				raw = raw[:depth] + raw[depth+1:]
			}
		}
		line := raw[depth:]
		if flowed || depth > 0 {
			line = strings.TrimPrefix(line, " ") // space-stuffing
		}
		soft := flowed && strings.HasSuffix(line, " ") && line != "-- "
		if soft && delSp {
			line = strings.TrimSuffix(line, " ")
		}
		if n := len(all); joining && all[n-1].depth == depth && line != "-- " {
			all[n-1].text += line
		} else {
			all = append(all, webLine{min(depth, webMaxQuote), line})
		}
		joining = soft
	}
	return all
}

const webFold = `<details class="fold"><summary>`

// webUnfold opens what webTextHTML has folded away: paper has nothing to press.
func webUnfold(text template.HTML) template.HTML {
	return template.HTML(strings.ReplaceAll(string(text), webFold, `<details class="fold" open><summary>`))
}

// webTextHTML renders plain text. Lines end with an element, for browsers that know no style sheets.
func webTextHTML(text string, flowed, delSp bool, l *webLang) template.HTML {
	lines := webLines(text, flowed, delSp)
	if len(lines) == 1 && strings.TrimSpace(lines[0].text) == "" {
		return ""
	}
	var b strings.Builder
	sig := false
	for len(lines) > 0 {
		run := webQuoteRun(lines)
		switch {
		case run >= webFoldQuote:
			b.WriteString(webFold + html.EscapeString(l.T("Quoted text")) + `</summary>`)
			webQuote(&b, lines[:run])
			b.WriteString(`</details>`)
		case run > 0:
			webQuote(&b, lines[:run])
		default:
			run = 1
			if lines[0].text == "-- " && !sig {
				b.WriteString(`<div class="sig">`)
				sig = true
			}
			webQuote(&b, lines[:1])
		}
		lines = lines[run:]
	}
	if sig {
		b.WriteString("</div>")
	}
	return template.HTML(b.String())
}

// webQuoteRun is how many lines in front are quoted.
func webQuoteRun(lines []webLine) int {
	for i, ln := range lines {
		if ln.depth == 0 {
			return i
		}
	}
	return len(lines)
}

// webQuote writes lines, each at its depth of quoting.
func webQuote(b *strings.Builder, lines []webLine) {
	depth := 0
	for _, ln := range lines {
		for ; depth < ln.depth; depth++ {
			b.WriteString("<blockquote>")
		}
		for ; depth > ln.depth; depth-- {
			b.WriteString("</blockquote>")
		}
		b.WriteString(webLink(ln.text))
		b.WriteString("<br>")
	}
	for ; depth > 0; depth-- {
		b.WriteString("</blockquote>")
	}
}

// webAddressIn finds web and mail addresses in text. The pattern is linear and ends before what cannot be in an address.
var webAddressIn = regexp.MustCompile(`(?i)\b(?:https?://[^\s<>"'（）《》「」，。；、！]+|www\.[a-z0-9-]+\.[^\s<>"'（）《》「」，。；、！]+|[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+)`)

// webLink escapes a line of text and makes links of the addresses in it.
func webLink(line string) string {
	var b strings.Builder
	for line != "" {
		at := webAddressIn.FindStringIndex(line)
		if at == nil {
			break
		}
		b.WriteString(html.EscapeString(line[:at[0]]))
		addr := webTrimAddress(line[at[0]:at[1]])
		line = line[at[0]+len(addr):]
		text := html.EscapeString(addr)
		lower := strings.ToLower(addr)
		switch {
		case strings.HasPrefix(lower, "www."):
			b.WriteString(`<a href="http://` + text + `" target="_blank" rel="noopener noreferrer">` + text + `</a>`)
		case strings.HasPrefix(lower, "http"):
			b.WriteString(`<a href="` + text + `" target="_blank" rel="noopener noreferrer">` + text + `</a>`)
		default:
			b.WriteString(`<a href="/compose?to=` + html.EscapeString(webEscape(addr)) + `">` + text + `</a>`)
		}
	}
	b.WriteString(html.EscapeString(line))
	return b.String()
}

// webTrimAddress leaves out what belongs to the sentence around an address: a full stop, a bracket that was not opened in it.
func webTrimAddress(s string) string {
	for s != "" {
		last := s[len(s)-1]
		switch {
		case strings.IndexByte(".,;:!?'*_", last) >= 0,
			last == ')' && !strings.Contains(s, "("), last == ']' && !strings.Contains(s, "["):
			s = s[:len(s)-1]
			continue
		}
		break
	}
	return s
}
