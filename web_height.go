// How high HTML mail becomes, guessed from its text: for browsers without scripts. With them the page measures it.
package main

import (
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

const (
	webLineHeight  = 24 // pixels, as webFrameStyle has it
	webLineWide    = 84 // Latin letters in a line beside the list of a desktop
	webLineNarrow  = 38 // and on a phone
	webFrameLeast  = 100
	webFrameMost   = 6000
	webBlockMargin = 16 // above a paragraph or a heading
)

// webMeasure adds up how high text becomes.
type webMeasure struct {
	units        int // half widths of the characters in the block at hand: a Latin letter has one, a Chinese one two
	wide, narrow int
}

func (m *webMeasure) text(s []byte) {
	space := true
	for _, r := range string(s) {
		if was := space; r == ' ' || r == '\n' || r == '\t' || r == '\r' || r == '\u00a0' {
			space = true
			if !was {
				m.units++
			}
			continue
		}
		space = false
		m.units++
		if r >= wideFrom {
			m.units++
		}
	}
}

// flush ends the block at hand. An empty one takes room only if blank says so.
func (m *webMeasure) flush(blank bool) {
	if m.units == 0 && !blank {
		return
	}
	m.wide += webLineHeight * max(1, (m.units+webLineWide-1)/webLineWide)
	m.narrow += webLineHeight * max(1, (m.units+webLineNarrow-1)/webLineNarrow)
	m.units = 0
}

func (m *webMeasure) add(pixels int) { m.wide, m.narrow = m.wide+pixels, m.narrow+pixels }

// webBlocks are the elements that begin a line, with the pixels above them; webNoText those whose text is not shown.
var (
	webBlocks = map[string]int{"div": 0, "tr": 0, "li": 0, "table": 0, "section": 0, "article": 0, "header": 0, "footer": 0, "h4": 0, "h5": 0,
		"h6": 0, "dd": 0, "dt": 0, "p": webBlockMargin, "ul": webBlockMargin, "ol": webBlockMargin, "blockquote": webBlockMargin,
		"pre": webBlockMargin, "hr": webBlockMargin, "h1": 2 * webBlockMargin, "h2": 2 * webBlockMargin, "h3": 2 * webBlockMargin}
	webNoText = map[string]bool{"style": true, "script": true, "title": true, "template": true}
)

// webHeight is about how many pixels an HTML body takes beside the list of a desktop, and on a phone.
func webHeight(body string) (wide, narrow int) {
	if len(body) > webMaxHTML {
		body = body[:webMaxHTML]
	}
	var m webMeasure
	z := html.NewTokenizer(strings.NewReader(body))
	skip := ""
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			break
		}
		if tt == html.TextToken && skip == "" {
			m.text(z.Text())
			continue
		}
		name, more := z.TagName()
		tag := string(name)
		begins := tt == html.StartTagToken || tt == html.SelfClosingTagToken
		switch {
		case webNoText[tag] && begins:
			skip = tag
		case tag == skip:
			skip = ""
		default:
			m.tag(z, tag, begins, more)
		}
	}
	m.flush(false)
	fit := func(h int) int { return min(max(h+h/10+2*webLineHeight, webFrameLeast), webFrameMost) }
	return fit(m.wide), fit(m.narrow + m.narrow/8)
}

// tag adds what a tag takes by itself.
func (m *webMeasure) tag(z *html.Tokenizer, name string, begins, more bool) {
	above, block := webBlocks[name]
	switch {
	case name == "br":
		m.flush(true)
	case name == "img" && more:
		m.add(webPictureHeight(z))
	case block:
		m.flush(false)
		if begins {
			m.add(above + webPadding(z, more))
		}
	}
}

var webPaddingText = regexp.MustCompile(`padding(?:-top|-bottom)?:\s*([0-9]{1,2})px`)

// webPadding is the room inside a block above and below its text, as its attributes have it.
func webPadding(z *html.Tokenizer, more bool) int {
	pixels := 0
	for more {
		var k, v []byte
		k, v, more = z.TagAttr()
		switch string(k) {
		case "cellpadding":
			n := 0
			fmt.Sscanf(string(v), "%d", &n)
			pixels += 2 * min(max(n, 0), 50)
		case "style":
			if x := webPaddingText.FindSubmatch(v); x != nil {
				n := 0
				fmt.Sscanf(string(x[1]), "%d", &n)
				pixels += 2 * n
			}
		}
	}
	return pixels
}

// webPictureHeight reads the attributes of an img tag.
func webPictureHeight(z *html.Tokenizer) int {
	height := 60
	for {
		k, v, more := z.TagAttr()
		if string(k) == "height" {
			fmt.Sscanf(string(v), "%d", &height)
			height = min(max(height, 0), 1000)
		}
		if !more {
			return height
		}
	}
}
