// Form controls of HTML mail as text: nobody can fill a mail's form in here, but what it says is read, printed, answered and handed on.
package main

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// webInstead are the tags around what is there for readers without scripts, frames and plug-ins, as this one is; and those of frames,
// which have no end, so that all behind one would go with it.
var webInstead = regexp.MustCompile(`(?i)</?(?:no(?:script|frames|embed)|frame(?:set)?)\b[^<>]*>`)

// webUnseen are elements whose content no browser shows. A tokenizer takes that of all but the last as one text.
var webUnseen = map[string]bool{"script": true, "style": true, "title": true, "iframe": true, "template": true}

// webTakes are elements that another one stands for: their form stays, and none of what they can do.
var webTakes = map[string]string{"form": "div", "fieldset": "div", "legend": "div", "dialog": "div", "search": "div", "nav": "div",
	"hgroup": "div", "menu": "ul", "dir": "ul", "listing": "pre"}

// webVerbatim are elements in which all is text.
var webVerbatim = map[string]bool{"textarea": true, "xmp": true, "plaintext": true}

// webReader reads a body before anything is taken from it: see webRead.
type webReader struct {
	styles  *webStyler
	around  string
	out     strings.Builder
	options int // in the list at hand
	unseen  int // depth of templates
}

// webRead divides a body: its style sheets go to st; the attributes of its body tag come back as a div to put in front; the text is what
// stays, with controls as text and without what is never shown. Ends without a beginning are left out: the allow-list counts them.
func webRead(body string, st *webStyler) (around, text string) {
	body = webInstead.ReplaceAllString(body, "")
	r := webReader{styles: st}
	z := html.NewTokenizer(strings.NewReader(body))
	for {
		tt := z.Next()
		if tt == html.ErrorToken {
			return r.around, r.out.String()
		}
		raw := string(z.Raw())
		if tt == html.TextToken || tt == html.CommentToken || tt == html.DoctypeToken {
			r.write(raw)
			continue
		}
		r.tag(z, z.Token(), raw)
	}
}

func (r *webReader) write(s string) {
	if r.unseen == 0 {
		r.out.WriteString(s)
	}
}

// tag takes a tag, and the content behind it if that is one text.
func (r *webReader) tag(z *html.Tokenizer, t html.Token, raw string) {
	begins := t.Type != html.EndTagToken // these have no short form
	instead := webTakes[t.Data]
	switch {
	case t.Data == "template":
		r.template(begins)
	case webUnseen[t.Data] && begins:
		r.skip(z, t)
	case webUnseen[t.Data]:
	case webVerbatim[t.Data] && begins:
		r.literal(z)
	case webVerbatim[t.Data]:
	case instead != "":
		t.Data = instead
		r.write(t.String())
	case t.Data == "select" || t.Data == "datalist":
		r.options = 0
		r.write(" ")
	case t.Data == "option" && begins:
		r.write(HTMLOption(r.options))
		r.options++
		r.write(html.EscapeString(HTMLControl(t)))
	case t.Data == "input" && strings.EqualFold(webAttr(t, "type"), "image") && webAttr(t, "src") != "":
		t.Type, t.Data = html.StartTagToken, "img"
		r.write(t.String())
	case (t.Data == "input" || t.Data == "optgroup") && begins:
		r.write(html.EscapeString(HTMLControl(t)))
	case t.Data == "button" || t.Data == "option" || t.Data == "optgroup":
		r.write(" ")
	case t.Data == "body" && begins && r.around == "" && len(t.Attr) > 0:
		t.Data = "div"
		r.around = t.String()
	default:
		r.write(raw)
	}
}

// template counts templates, which may hold each other.
func (r *webReader) template(begins bool) {
	switch {
	case begins:
		r.unseen++
	case r.unseen > 0:
		r.unseen--
	}
}

// skip leaves the content of an element out, and reads what is a style sheet.
func (r *webReader) skip(z *html.Tokenizer, t html.Token) {
	if z.Next() != html.TextToken || t.Data != "style" || r.styles.scope == "" || r.unseen > 0 {
		return
	}
	css := string(z.Raw())
	if media := webAttr(t, "media"); media != "" {
		css = "@media " + media + "{" + css + "}"
	}
	r.styles.sheet(css)
}

// literal writes the content of an element in which all is text.
func (r *webReader) literal(z *html.Tokenizer) {
	r.write("<pre>")
	if z.Next() == html.TextToken {
		r.write(html.EscapeString(z.Token().Data))
	}
	r.write("</pre>")
}
