// HTML mail made harmless: an allow-list of elements, attributes and styles, before the browser's own sandbox.
package main

import (
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

// webElements are the elements that may stay of an HTML mail.
var webElements = func() map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields("a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del " +
		"details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark ol p pre q rp rt ruby s samp " +
		"section small span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr") {
		all[name] = true
	}
	return all
}()

// webPolicy is what may stay of an HTML mail. There is no script, style element, form, frame, object, SVG or MathML, only the words in them: of
// Roundcube's cross-site scripting reports most came through those. Styles, classes and the addresses of pictures pass it
// as they are: webShown, which reads what comes out, writes them anew from lists of its own.
var webPolicy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	for name := range webElements {
		p.AllowElements(name)
	}
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
	p.AllowAttrs("style", "class", "id").Globally()
	p.AllowURLSchemes("http", "https", "mailto", "tel", "cid", "data")
	p.AllowURLSchemeWithCustomPolicy("data", func(u *url.URL) bool { return webDataPicture.MatchString(u.Opaque) })
	p.AllowRelativeURLs(true) // webShown takes those of links away, and those of pictures that are not in the message
	p.RequireParseableURLs(true)
	p.AllowElementsContent("script", "style", "title", "iframe", "object", "frame", "frameset", "noframes", "noscript", "noembed") // webRead has left out what is not shown
	return p
})

// webDataPicture is a picture inside a data: address, of the kinds that can hold nothing but pixels.
var webDataPicture = regexp.MustCompile(`^image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=%]*$`)

// webHTMLView is how one HTML body is to be shown.
type webHTMLView struct {
	Pictures bool                    // remote pictures too
	Inline   func(src string) string // where a picture with this cid:, Content-Location or other address is to be had here, or ""
	Scope    string                  // of the body's style sheets; "" leaves them out
	Own      bool                    // it is for a letter of the reader's own: links are not marked, and sheets, for webLetterScope, are in the body
}

// webSafe is an HTML body made harmless, without html, head and body around it.
type webSafe struct {
	Style   string // its style sheets
	Body    string
	Cut     bool            // it is longer than what is shown
	Colours bool            // it has colours of its own
	Remote  bool            // it has pictures elsewhere, shown or not
	Used    map[string]bool // Content-IDs of pictures that were found in the message
}

// webSanitize makes an HTML body harmless.
func webSanitize(body string, v webHTMLView) webSafe {
	body, cut := webBounded(body)
	st := &webStyler{scope: v.Scope, out: &strings.Builder{}}
	if v.Own {
		st.scope, st.letter = webLetterScope, true
	}
	around, text := webRead(body, st)
	clean := webPolicy().Sanitize(around + text)
	shown := webShown{view: v, styles: st, used: map[string]bool{}}
	shown.read(clean)
	if around != "" {
		shown.out.WriteString("</div>")
	}
	style, text := st.out.String(), shown.out.String()
	if v.Own && style != "" { // behind the text: in front of it a parser would take it for the head's
		style, text = "", text+"<style>"+style+"</style>"
	}
	return webSafe{Style: style, Body: text, Cut: cut, Colours: st.colours, Remote: shown.remote, Used: shown.used}
}

// webBounded cuts a body off after webMaxHTML octets or webMaxNodes tags, and says whether it did.
func webBounded(body string) (string, bool) {
	cut := false
	if len(body) > webMaxHTML {
		body, cut = strings.ToValidUTF8(body[:webMaxHTML], ""), true
	}
	n := 0
	for i := 0; i < len(body); i++ {
		if body[i] == '<' {
			n++
			if n > webMaxNodes {
				return body[:i], true
			}
		}
	}
	return body, cut
}

// webShown goes over sanitised HTML once more: pictures of the message get addresses, remote ones are held back unless
// asked for, styles and classes are written anew, and links open outside, without a referrer, and say where they lead when
// their text says otherwise.
type webShown struct {
	view   webHTMLView
	styles *webStyler
	out    strings.Builder
	link   *webLinkText // the link at hand
	remote bool
	used   map[string]bool
}

// webLinkBlocks are elements at whose ends a link's text is looked at: browsers end a line there, and no link that was
// left open goes unmarked.
var webLinkBlocks = map[string]bool{"address": true, "article": true, "blockquote": true, "center": true, "dd": true, "div": true, "dl": true,
	"dt": true, "h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "li": true, "ol": true, "p": true, "section": true,
	"table": true, "td": true, "th": true, "tr": true, "ul": true}

func (s *webShown) read(clean string) {
	z := html.NewTokenizer(strings.NewReader(clean))
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			s.endLink()
			return
		}
		t := z.Token()
		switch {
		case tt == html.TextToken:
			s.link.add(t.Data)
		case tt == html.EndTagToken && t.Data == "a":
			s.endLink()
		case tt == html.EndTagToken && webLinkBlocks[t.Data]:
			s.mark()
		case tt == html.StartTagToken || tt == html.SelfClosingTagToken:
			s.tag(&t)
		}
		s.out.WriteString(t.String())
	}
}

// tag writes the attributes of a tag anew.
func (s *webShown) tag(t *html.Token) {
	var kept []html.Attribute
	for _, a := range t.Attr {
		switch a.Key {
		case "style":
			a.Val = s.styles.attribute(a.Val)
		case "class":
			a.Val = webClasses(a.Val)
		case "id":
			a.Val = webPrefixed("", a.Val)
		case "bgcolor", "color":
			s.styles.colours = true
		case "dir":
			s.link.turn(strings.EqualFold(a.Val, "rtl"))
		}
		if a.Val != "" || (a.Key != "style" && a.Key != "class" && a.Key != "id") {
			kept = append(kept, a)
		}
	}
	t.Attr = kept
	switch {
	case t.Data == "a":
		s.endLink()
		address := webAttr(*t, "href")
		if !webLinkAddress.MatchString(address) { // such as cid: and data:, which are for pictures
			t.Attr = webWithout(t.Attr, "href")
		} else {
			s.link = &webLinkText{address: address}
			s.link.add(webAttr(*t, "title") + " ")
		}
		t.Attr = append(webWithout(t.Attr, "target", "rel"), html.Attribute{Key: "target", Val: "_blank"},
			html.Attribute{Key: "rel", Val: "noopener noreferrer nofollow"})
	case t.Data == "img":
		s.link.add(" " + webAttr(*t, "alt") + " ")
		t.Attr = s.picture(t.Attr)
	case t.Data == "br" || webLinkBlocks[t.Data]:
		s.link.add(" ")
	}
}

// endLink marks the link at hand, if it lies, and ends it.
func (s *webShown) endLink() {
	s.mark()
	s.link = nil
}

// mark says where the link at hand leads, once, if its text so far names another place.
func (s *webShown) mark() {
	if s.link == nil || s.link.marked || s.view.Own {
		return
	}
	if host := s.link.leads(); host != "" {
		s.link.marked = true
		s.out.WriteString(` <span class="leads">[→ ` + html.EscapeString(host) + `]</span>`)
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
func (s *webShown) picture(attrs []html.Attribute) []html.Attribute {
	src := strings.TrimSpace(webAttr(html.Token{Attr: attrs}, "src"))
	attrs = webWithout(attrs, "src")
	if !slices.ContainsFunc(attrs, func(a html.Attribute) bool { return a.Key == "alt" }) { // a reader would spell the address out
		attrs = append(attrs, html.Attribute{Key: "alt"})
	}
	lower := strings.ToLower(src)
	remote := strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
	at := s.view.Inline(src)
	switch {
	case at != "":
		if strings.HasPrefix(lower, "cid:") {
			s.used[cleanContentID(src[len("cid:"):])] = true
		}
		attrs = append(attrs, html.Attribute{Key: "src", Val: at})
	case strings.HasPrefix(lower, "data:image/"):
		attrs = append(attrs, html.Attribute{Key: "src", Val: src})
	case remote && s.view.Pictures:
		attrs = append(attrs, html.Attribute{Key: "src", Val: src}, html.Attribute{Key: "referrerpolicy", Val: "no-referrer"})
	}
	s.remote = s.remote || (remote && at == "")
	return attrs
}
