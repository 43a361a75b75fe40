// HTML mail made harmless: an allow-list of elements, attributes and styles, before the browser's own sandbox.
package main

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
)

const (
	webMaxHTML  = 2 << 20 // octets of an HTML body that are shown
	webMaxNodes = 50_000  // tags of one; what comes after is left out
)

// webPolicy is what may stay of an HTML mail. There is no script, style element, form, frame, object, SVG or MathML: of
// Roundcube's cross-site scripting reports most came through those. Remote pictures are allowed here and held back by
// webShown and by the page's Content-Security-Policy.
var webPolicy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center",
		"cite", "code", "col", "colgroup", "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font",
		"footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "ol", "p",
		"pre", "q", "rp", "rt", "ruby", "s", "samp", "section", "small", "span", "strike", "strong", "sub", "summary", "sup",
		"table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var", "wbr")
	p.AllowNoAttrs().OnElements("a", "font", "span", "img", "bdo", "time")
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("src", "alt").OnElements("img")
	p.AllowAttrs("dir").Matching(regexp.MustCompile(`(?i)^(?:ltr|rtl|auto)$`)).Globally()
	p.AllowAttrs("lang").Matching(regexp.MustCompile(`^[A-Za-z0-9-]{1,20}$`)).Globally()
	p.AllowAttrs("title").Globally()
	number := regexp.MustCompile(`^[0-9]{1,4}%?$`)
	p.AllowAttrs("width", "height", "border", "cellpadding", "cellspacing", "hspace", "vspace").Matching(number).
		OnElements("img", "table", "td", "th", "tr", "col", "colgroup", "hr", "tbody", "thead")
	p.AllowAttrs("colspan", "rowspan", "span", "start", "value").Matching(regexp.MustCompile(`^[0-9]{1,3}$`)).
		OnElements("td", "th", "col", "colgroup", "ol", "li")
	word := regexp.MustCompile(`(?i)^[a-z]{1,12}$`)
	p.AllowAttrs("align", "valign").Matching(word).OnElements("table", "td", "th", "tr", "div", "p", "img", "hr", "h1", "h2", "h3", "h4",
		"h5", "h6", "tbody", "thead", "caption", "col", "colgroup")
	color := regexp.MustCompile(`(?i)^(?:#?[0-9a-f]{3,8}|[a-z]{1,24})$`)
	p.AllowAttrs("bgcolor").Matching(color).OnElements("table", "td", "th", "tr", "div", "tbody", "thead")
	p.AllowAttrs("color").Matching(color).OnElements("font")
	p.AllowAttrs("size").Matching(regexp.MustCompile(`^[+-]?[0-9]$`)).OnElements("font")
	p.AllowAttrs("face").Matching(regexp.MustCompile(`^[A-Za-z0-9 ,'-]{1,100}$`)).OnElements("font")
	p.AllowAttrs("type").Matching(word).OnElements("ul", "ol")
	p.AllowStyles(webStyles...).MatchingHandler(webStyleValue).Globally()
	p.AllowURLSchemes("http", "https", "mailto", "tel", "cid", "data")
	p.AllowURLSchemeWithCustomPolicy("data", func(u *url.URL) bool { return webDataPicture.MatchString(u.Opaque) })
	p.AllowRelativeURLs(false)
	p.RequireParseableURLs(true)
	p.SkipElementsContent("svg", "math", "template", "noembed", "noframes", "xmp", "plaintext", "select", "textarea", "video", "audio", "canvas")
	return p
})

// webDataPicture is a picture inside a data: address, of the kinds that can hold nothing but pixels.
var webDataPicture = regexp.MustCompile(`^image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=%]*$`)

// webStyles are the properties that may stay in style attributes. None of them takes an element out of its place: position,
// z-index and negative margins could paint over our own page if it were not in a frame.
var webStyles = []string{
	"background-color", "border", "border-bottom", "border-bottom-color", "border-bottom-style", "border-bottom-width", "border-collapse",
	"border-color", "border-left", "border-radius", "border-right", "border-spacing", "border-style", "border-top", "border-width", "clear",
	"color", "direction", "display", "float", "font", "font-family", "font-size", "font-style", "font-weight", "height", "letter-spacing",
	"line-height", "list-style-type", "margin", "margin-bottom", "margin-left", "margin-right", "margin-top", "max-height", "max-width",
	"min-height", "min-width", "padding", "padding-bottom", "padding-left", "padding-right", "padding-top", "table-layout", "text-align",
	"text-decoration", "text-indent", "text-transform", "vertical-align", "white-space", "width", "word-break", "overflow-wrap", "word-wrap",
}

var webStyleText = regexp.MustCompile(`^[A-Za-z0-9 #.,%'"+_-]*$`)

// webColorFunction is the only kind of function that may be in a style's value.
var webColorFunction = regexp.MustCompile(`(?i)\b(?:rgb|rgba|hsl|hsla)\([0-9 .,%/]*\)`)

// webStyleValue lets through words, numbers and colours. url(), var(), attr(), escapes, comments and everything else that
// could fetch, read or hide something has a character that is not among those of webStyleText.
func webStyleValue(v string) bool {
	v = webColorFunction.ReplaceAllString(v, "c")
	return len(v) <= 200 && webStyleText.MatchString(v) && !strings.Contains(strings.ReplaceAll(v, " ", ""), ":-") && !strings.HasPrefix(strings.TrimSpace(v), "-")
}

// webHTMLView is how one HTML body is to be shown.
type webHTMLView struct {
	Pictures bool                    // remote pictures too
	Inline   func(cid string) string // the address of a picture in the message, or ""
}

// webSanitize makes an HTML body harmless and returns it without html, head and body around it.
func webSanitize(body string, v webHTMLView) string {
	if len(body) > webMaxHTML {
		body = strings.ToValidUTF8(body[:webMaxHTML], "")
	}
	return webShown(webPolicy().Sanitize(webBounded(body)), v)
}

// webBounded cuts a body off after webMaxNodes tags.
func webBounded(body string) string {
	n := 0
	for i := 0; i < len(body); i++ {
		if body[i] == '<' {
			n++
			if n > webMaxNodes {
				return body[:i]
			}
		}
	}
	return body
}

// webShown goes over sanitised HTML once more: pictures of the message get addresses, remote ones are held back unless
// asked for, and links open outside, without a referrer, and say where they lead when their text says otherwise.
func webShown(clean string, v webHTMLView) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(clean))
	var link, text string
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			return b.String()
		}
		t := z.Token()
		switch {
		case tt == html.TextToken && link != "" && len(text) < 300:
			text += t.Data
		case t.Data == "a" && tt != html.EndTagToken:
			link, text = webAttr(t, "href"), ""
			if !webLinkAddress.MatchString(link) { // such as cid: and data:, which are for pictures
				link, t.Attr = "", webWithout(t.Attr, "href")
			}
			t.Attr = append(webWithout(t.Attr, "target", "rel"), html.Attribute{Key: "target", Val: "_blank"},
				html.Attribute{Key: "rel", Val: "noopener noreferrer nofollow"})
		case t.Data == "a" && tt == html.EndTagToken:
			if host := webMismatch(link, text); link != "" && host != "" {
				b.WriteString(` <span class="leads">[→ ` + html.EscapeString(host) + `]</span>`)
			}
			link = ""
		case t.Data == "img":
			t.Attr = v.picture(t.Attr)
		}
		b.WriteString(t.String())
	}
}

// webLinkAddress is where links of a mail may lead.
var webLinkAddress = regexp.MustCompile(`(?i)^\s*(?:https?://|mailto:|tel:)`)

func webAttr(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func webWithout(attrs []html.Attribute, names ...string) []html.Attribute {
	var kept []html.Attribute
	for _, a := range attrs {
		drop := false
		for _, n := range names {
			drop = drop || a.Key == n
		}
		if !drop {
			kept = append(kept, a)
		}
	}
	return kept
}

// picture rewrites the address of a picture, or takes it away.
func (v webHTMLView) picture(attrs []html.Attribute) []html.Attribute {
	src := webAttr(html.Token{Attr: attrs}, "src")
	attrs = webWithout(attrs, "src")
	if !slices.ContainsFunc(attrs, func(a html.Attribute) bool { return a.Key == "alt" }) { // a reader would spell the address out
		attrs = append(attrs, html.Attribute{Key: "alt"})
	}
	lower := strings.ToLower(src)
	switch {
	case strings.HasPrefix(lower, "cid:"):
		cid, err := url.PathUnescape(src[4:])
		if err != nil {
			cid = src[4:]
		}
		if at := v.Inline(cid); at != "" {
			attrs = append(attrs, html.Attribute{Key: "src", Val: at})
		}
	case strings.HasPrefix(lower, "data:image/"):
		attrs = append(attrs, html.Attribute{Key: "src", Val: src})
	case v.Pictures && (strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")):
		attrs = append(attrs, html.Attribute{Key: "src", Val: src}, html.Attribute{Key: "referrerpolicy", Val: "no-referrer"})
	}
	return attrs
}

// webMismatch returns where a link leads when its text looks like the address of another host: the oldest trick there is.
func webMismatch(link, text string) string {
	u, err := url.Parse(strings.TrimSpace(link))
	text = strings.TrimSpace(text)
	if err != nil || u.Host == "" || strings.ContainsAny(text, " \n") || !strings.Contains(text, ".") {
		return ""
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	shown, err := url.Parse(text)
	if err != nil || shown.Hostname() == "" || !webHostName.MatchString(shown.Hostname()) {
		return ""
	}
	a, b := strings.TrimPrefix(strings.ToLower(u.Hostname()), "www."), strings.TrimPrefix(strings.ToLower(shown.Hostname()), "www.")
	if a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a) {
		return ""
	}
	if ascii, err := DomainToASCII(a); err == nil {
		return ascii
	}
	return a
}

var webHostName = regexp.MustCompile(`(?i)^[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,24}$`)

// webFacts is what is known of an HTML body without showing it.
type webFacts struct {
	Remote         bool // it has pictures elsewhere
	Height, Narrow int  // about how many pixels it takes, and on a phone: the frame can't be measured from outside
}

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

// webHTMLFacts goes over an HTML body once.
func webHTMLFacts(body string) webFacts {
	if len(body) > webMaxHTML {
		body = body[:webMaxHTML]
	}
	var f webFacts
	var m webMeasure
	z := html.NewTokenizer(strings.NewReader(body))
	skip := ""
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			break
		}
		name, hasAttr := z.TagName()
		tag := " " + string(name) + " "
		switch {
		case tt == html.TextToken && skip == "":
			m.text(z.Text())
		case tt == html.EndTagToken && tag == skip:
			skip = ""
		case tt != html.StartTagToken && tt != html.SelfClosingTagToken && tt != html.EndTagToken:
		case tag == " br ":
			m.flush(true)
		case strings.Contains(" p h1 h2 h3 ul ol blockquote pre hr ", tag):
			m.flush(false)
			if tt == html.StartTagToken {
				m.add(webBlockMargin)
				m.add(webPadding(z, hasAttr))
			}
			if strings.HasPrefix(tag, " h") {
				m.add(webBlockMargin)
			}
		case strings.Contains(" div tr li table section article header footer h4 h5 h6 dd dt ", tag):
			m.flush(false)
			if tt == html.StartTagToken {
				m.add(webPadding(z, hasAttr))
			}
		case strings.Contains(" style script title template ", tag) && tt == html.StartTagToken:
			skip = tag
		case tag == " img " && hasAttr:
			h, remote := webPictureFacts(z)
			f.Remote = f.Remote || remote
			m.add(h)
		}
	}
	m.flush(false)
	fit := func(h int) int { return min(max(h+h/10+2*webLineHeight, webFrameLeast), webFrameMost) }
	f.Height, f.Narrow = fit(m.wide), fit(m.narrow+m.narrow/8)
	return f
}

var webPaddingText = regexp.MustCompile(`padding(?:-top|-bottom)?:\s*([0-9]{1,2})px`)

// webPadding is the room inside a block above and below its text, as its attributes have it.
func webPadding(z *html.Tokenizer, more bool) (pixels int) {
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

// webPictureFacts reads the attributes of an img tag.
func webPictureFacts(z *html.Tokenizer) (height int, remote bool) {
	height = 60
	for {
		k, v, more := z.TagAttr()
		switch string(k) {
		case "src":
			s := strings.ToLower(strings.TrimSpace(string(v)))
			remote = strings.HasPrefix(s, "http:") || strings.HasPrefix(s, "https:")
		case "height":
			fmt.Sscanf(string(v), "%d", &height)
			height = min(max(height, 0), 1000)
		}
		if !more {
			return height, remote
		}
	}
}
