// Styles of HTML mail: style sheets and style attributes, read as a browser reads them and written anew from what is allowed.
package main

import (
	"slices"
	"strings"
)

const (
	webMaxSheet     = 256 << 10      // octets of a mail's style sheets that are read
	webMaxRules     = 4000           // of its style rules that are kept
	webMaxValue     = 200            // octets of one property's value
	webMaxSelector  = 200            // octets of one selector
	webMaxClasses   = 20             // classes of one element that are kept
	webMaxNumber    = 9999           // the largest number in a style
	webStyleClass   = "mail"         // of the element that a mail's style sheet holds for
	webLetterScope  = ".m-forwarded" // of the style sheets of what a letter forwards
	webClassPrefix  = "m-"           // of every class and id of a mail, so that none is one of ours
	webMaxMediaDeep = 2              // @media in @media
)

// webStyleKind is what a property may have besides words, colours and numbers that are not negative.
type webStyleKind int

const (
	webPlainStyle  webStyleKind = iota
	webColourStyle              // it gives the mail colours of its own
	webFontStyle                // names in quotes
	webBelowZero                // negative numbers
)

// webStyles are the properties that may stay. None of them fetches anything or takes an element out of its place: position,
// z-index, transform and negative margins could paint over what is around the mail.
var webStyles = map[string]webStyleKind{
	"background": webColourStyle, "background-color": webColourStyle, "color": webColourStyle,
	"font": webFontStyle, "font-family": webFontStyle, "letter-spacing": webBelowZero, "word-spacing": webBelowZero,
	"border": 0, "border-bottom": 0, "border-bottom-color": 0, "border-bottom-left-radius": 0, "border-bottom-right-radius": 0,
	"border-bottom-style": 0, "border-bottom-width": 0, "border-collapse": 0, "border-color": 0, "border-left": 0, "border-left-color": 0,
	"border-left-style": 0, "border-left-width": 0, "border-radius": 0, "border-right": 0, "border-right-color": 0, "border-right-style": 0,
	"border-right-width": 0, "border-spacing": 0, "border-style": 0, "border-top": 0, "border-top-color": 0, "border-top-left-radius": 0,
	"border-top-right-radius": 0, "border-top-style": 0, "border-top-width": 0, "border-width": 0, "box-sizing": 0, "caption-side": 0,
	"clear": 0, "direction": 0, "display": 0, "empty-cells": 0, "float": 0, "font-size": 0, "font-style": 0, "font-variant": 0, "font-weight": 0,
	"height": 0, "line-height": 0, "list-style": 0, "list-style-position": 0, "list-style-type": 0, "margin": 0, "margin-bottom": 0,
	"margin-left": 0, "margin-right": 0, "margin-top": 0, "max-height": 0, "max-width": 0, "min-height": 0, "min-width": 0,
	"overflow-wrap": 0, "padding": 0, "padding-bottom": 0, "padding-left": 0, "padding-right": 0, "padding-top": 0, "page-break-after": 0,
	"page-break-before": 0, "page-break-inside": 0, "table-layout": 0, "text-align": 0, "text-decoration": 0, "text-indent": 0,
	"text-transform": 0, "vertical-align": 0, "visibility": 0, "white-space": 0, "width": 0, "word-break": 0, "word-wrap": 0,
}

// webUnits are the units of lengths. Those of the window's height are not among them: the frame is as high as the mail,
// and the mail would be as high as the frame.
var webUnits = []string{"", "%", "px", "pt", "em", "rem", "ex", "ch", "in", "cm", "mm", "pc", "vw"}

// webStyler writes styles anew. What it writes consists of the names in its tables, words of letters, digits and "-",
// numbers, and the marks that it puts between them; so it holds no "<" and nothing that a browser could read otherwise.
type webStyler struct {
	out     *strings.Builder
	scope   string // in front of every selector; "" is for none
	letter  bool   // what is written may come back to be read again, with the scope in it
	rules   int
	colours bool              // some colour was kept
	seen    map[string]string // style attributes that were read before: most repeat
}

// sheet reads a style sheet and adds what may stay to out.
func (s *webStyler) sheet(css string) {
	if len(css) > webMaxSheet {
		css = css[:webMaxSheet]
	}
	if s.out == nil {
		s.out = &strings.Builder{}
	}
	s.rulesOf(&webCSSReader{s: css}, 0)
}

// attribute is what may stay of a style attribute.
func (s *webStyler) attribute(css string) string {
	if len(css) > webMaxSheet {
		return ""
	}
	if was, ok := s.seen[css]; ok {
		return was
	}
	style := s.declarations(&webCSSReader{s: css})
	if s.seen == nil {
		s.seen = map[string]string{}
	}
	s.seen[css] = style
	return style
}

// rulesOf reads rules to the end, or to the brace that ends the block around them.
func (s *webStyler) rulesOf(r *webCSSReader, deep int) {
	for {
		t := r.next()
		switch t.kind {
		case webCSSEnd:
			return
		case '}':
			if deep > 0 {
				return
			}
		case ' ', ';', webCSSComment:
		case '@':
			s.atRule(r, t.text, deep)
		default:
			s.rule(r, t)
		}
	}
}

// atRule keeps @media with what is in it, and passes over all others: @import and @font-face fetch.
func (s *webStyler) atRule(r *webCSSReader, name string, deep int) {
	prelude, end := r.until(webCSSToken{}, '{', ';')
	if end != '{' {
		return
	}
	query, ok := webMediaQuery(prelude)
	if name != "media" || !ok || deep >= webMaxMediaDeep {
		r.skipBlock()
		return
	}
	outside := s.out
	s.out = &strings.Builder{}
	s.rulesOf(r, deep+1)
	inside := s.out.String()
	s.out = outside
	if inside != "" {
		s.out.WriteString("@media " + query + "{" + inside + "}")
	}
}

// rule reads one rule; first is its first token.
func (s *webStyler) rule(r *webCSSReader, first webCSSToken) {
	prelude, end := r.until(first, '{', 0)
	if end != '{' {
		return
	}
	style := s.declarations(r)
	if style == "" || s.rules >= webMaxRules {
		return
	}
	selectors := webSelectors(prelude, s.scope)
	if s.letter {
		selectors = webOnceScoped(selectors, s.scope)
	}
	if selectors == "" {
		return
	}
	s.rules++
	s.out.WriteString(selectors + "{" + style + "}")
}

// declarations reads properties and values to the end, or past the brace that ends them.
func (s *webStyler) declarations(r *webCSSReader) string {
	var b strings.Builder
	for {
		t := r.next()
		switch t.kind {
		case webCSSEnd, '}':
			return b.String()
		case ' ', ';', webCSSComment:
			continue
		}
		value, end := r.until(t, ';', '}')
		if d := s.declaration(value); d != "" {
			if b.Len() > 0 {
				b.WriteByte(';')
			}
			b.WriteString(d)
		}
		if end != ';' {
			return b.String()
		}
	}
}

// declaration is "name:value", or "" if it may not stay.
func (s *webStyler) declaration(t []webCSSToken) string {
	if len(t) == 0 || t[0].kind != webCSSName {
		return ""
	}
	name := strings.ToLower(t[0].text)
	kind, known := webStyles[name]
	t = webCSSTrim(t[1:])
	if !known || len(t) == 0 || t[0].kind != ':' {
		return ""
	}
	t = webCSSTrim(t[1:])
	important := ""
	if n := len(t); n >= 2 && t[n-1].kind == webCSSName && strings.EqualFold(t[n-1].text, "important") {
		rest := webCSSTrim(t[:n-1])
		if len(rest) > 0 && rest[len(rest)-1].kind == '!' {
			t, important = webCSSTrim(rest[:len(rest)-1]), " !important"
		}
	}
	value, ok := webStyleValue(t, kind)
	if !ok || value == "" || len(value) > webMaxValue {
		return ""
	}
	if kind == webColourStyle && !slices.Contains([]string{"inherit", "initial", "transparent", "none", "unset"}, value) {
		s.colours = true
	}
	return name + ":" + value + important
}

// webStyleValue writes a value anew. It is false if there is anything in it but what its kind of property may have.
func webStyleValue(t []webCSSToken, kind webStyleKind) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		x := t[i]
		switch {
		case x.kind == ' ' || x.kind == webCSSComment:
			if b.Len() > 0 && !strings.HasSuffix(b.String(), " ") {
				b.WriteByte(' ')
			}
		case x.kind == webCSSFunction:
			n := slices.IndexFunc(t[i:], func(x webCSSToken) bool { return x.kind == ')' })
			if n < 0 {
				return "", false
			}
			colour, ok := webColour(x.text, t[i+1:i+n])
			if !ok {
				return "", false
			}
			b.WriteString(colour)
			i += n
		default:
			word, ok := webStyleWord(x, kind)
			if !ok {
				return "", false
			}
			b.WriteString(word)
		}
	}
	return strings.TrimSpace(b.String()), true
}

// webStyleWord writes one token of a value anew.
func webStyleWord(x webCSSToken, kind webStyleKind) (string, bool) {
	switch x.kind {
	case webCSSName:
		return x.text, webCSSIsIdent(x.text)
	case webCSSNumber:
		return x.text + x.unit, x.plainNumber(kind == webBelowZero)
	case '#':
		return "#" + x.text, webCSSIsHex(x.text)
	case ',', '/':
		return string(x.kind), true
	case webCSSString:
		return "'" + x.text + "'", kind == webFontStyle && webCSSIsFontName(x.text)
	}
	return "", false
}

// webColour is a colour written as a function: the only kind of function that may be in a value.
func webColour(name string, t []webCSSToken) (string, bool) {
	name = strings.ToLower(name)
	if !slices.Contains([]string{"rgb", "rgba", "hsl", "hsla"}, name) {
		return "", false
	}
	var b strings.Builder
	b.WriteString(name + "(")
	for _, x := range t {
		switch {
		case x.kind == ' ' || x.kind == webCSSComment:
			b.WriteByte(' ')
		case x.kind == webCSSNumber && x.plainNumber(false):
			b.WriteString(x.text + x.unit)
		case x.kind == ',' || x.kind == '/':
			b.WriteByte(x.kind)
		default:
			return "", false
		}
	}
	return b.String() + ")", true
}

// webMediaFeatures are what @media may ask for: nothing of them is told to anybody.
var webMediaFeatures = []string{"max-width", "min-width", "max-device-width", "min-device-width", "prefers-color-scheme", "orientation"}

// webMediaQuery writes the condition of @media anew.
func webMediaQuery(t []webCSSToken) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		x := t[i]
		switch {
		case x.kind == ' ' || x.kind == webCSSComment:
			b.WriteByte(' ')
		case x.kind == ',':
			b.WriteByte(',')
		case x.kind == webCSSName && slices.Contains([]string{"and", "or", "not", "only", "all", "screen", "print"}, strings.ToLower(x.text)):
			b.WriteString(strings.ToLower(x.text))
		case x.kind == '(':
			n := slices.IndexFunc(t[i:], func(x webCSSToken) bool { return x.kind == ')' })
			if n < 0 {
				return "", false
			}
			feature, ok := webMediaFeature(t[i+1 : i+n])
			if !ok {
				return "", false
			}
			b.WriteString(feature)
			i += n
		default:
			return "", false
		}
	}
	query := strings.TrimSpace(b.String())
	return query, query != "" && len(query) <= webMaxValue
}

func webMediaFeature(t []webCSSToken) (string, bool) {
	t = webCSSSolid(t)
	if len(t) != 3 || t[0].kind != webCSSName || t[1].kind != ':' || !slices.Contains(webMediaFeatures, strings.ToLower(t[0].text)) {
		return "", false
	}
	switch v := t[2]; {
	case v.kind == webCSSNumber && v.plainNumber(false):
		return "(" + strings.ToLower(t[0].text) + ":" + v.text + v.unit + ")", true
	case v.kind == webCSSName && webCSSIsIdent(v.text):
		return "(" + strings.ToLower(t[0].text) + ":" + v.text + ")", true
	}
	return "", false
}

// webStates are the pseudo-classes that a selector may have.
var webStates = []string{"hover", "link", "visited", "active", "focus", "first-child", "last-child", "only-child", "first-of-type", "last-of-type", "empty"}

// webSelectors writes a list of selectors anew, each behind the scope, those without what can't stay. Classes and ids get
// their prefix. A selector for the whole page is one for the scope.
func webSelectors(t []webCSSToken, scope string) string {
	var all []string
	for len(t) > 0 {
		n := slices.IndexFunc(t, func(x webCSSToken) bool { return x.kind == ',' })
		one := t
		if n >= 0 {
			one, t = t[:n], t[n+1:]
		} else {
			t = nil
		}
		if s, ok := webSelector(webCSSTrim(one), scope); ok && len(s) <= webMaxSelector && len(all) < 50 {
			all = append(all, s)
		}
	}
	return strings.Join(all, ",")
}

func webSelector(t []webCSSToken, scope string) (string, bool) {
	var steps []string // compounds with the combinator in front of each
	combinator := ""
	for len(t) > 0 {
		compound, rest, ok := webReadCompound(t)
		if !ok {
			return "", false
		}
		switch text, ok := compound.write(); {
		case compound.whole() && len(steps) == 0: // html, body: the scope stands for them
		case compound.whole() || !ok:
			return "", false
		default:
			steps = append(steps, combinator+text)
		}
		combinator, t, ok = webCombinator(rest)
		if !ok {
			return "", false
		}
		if len(steps) == 0 {
			combinator = ""
		}
	}
	switch {
	case len(steps) == 0:
		return scope, scope != ""
	case scope == "":
		return strings.Join(steps, ""), true
	}
	return scope + " " + strings.Join(steps, ""), true
}

// webUnmarked keeps rules of a mail away from what marks links that lie.
const webUnmarked = ":not(:where(.leads))"

// webOnceScoped takes away a scope that was there before, and what keeps rules from marks: in a letter there are none.
func webOnceScoped(selectors, scope string) string {
	all := strings.Split(strings.ReplaceAll(selectors, webUnmarked, ""), ",")
	for i, s := range all {
		rest, twice := strings.CutPrefix(s, scope+" "+scope)
		if twice && (rest == "" || rest[0] == ' ') {
			all[i] = scope + rest
		}
	}
	return strings.Join(all, ",")
}

// webCombinator reads what is between two compounds.
func webCombinator(t []webCSSToken) (string, []webCSSToken, bool) {
	blank := len(t) > 0 && (t[0].kind == ' ' || t[0].kind == webCSSComment)
	t = webCSSTrim(t)
	if len(t) == 0 {
		return "", nil, true
	}
	if k := t[0].kind; k == '>' || k == '+' || k == '~' {
		t = webCSSTrim(t[1:])
		return string(k), t, len(t) > 0
	}
	return " ", t, blank
}

// webCompound is an element with its classes: "td.x:hover".
type webCompound struct {
	element string   // "*" for any
	parts   []string // ".x", ":hover"
}

// webReadCompound reads a compound and returns what is behind it. It is false if a part can't stay, or if there is none at all.
func webReadCompound(t []webCSSToken) (webCompound, []webCSSToken, bool) {
	c := webCompound{element: "*"}
	before := len(t)
	if len(t) > 0 && t[0].kind == webCSSName {
		c.element = strings.ToLower(t[0].text)
		t = t[1:]
	} else if len(t) > 0 && t[0].kind == '*' {
		t = t[1:]
	}
	for len(t) > 0 && strings.IndexByte(".#[:&|", t[0].kind) >= 0 {
		part, rest := webSelectorPart(t)
		if part == "" {
			return webCompound{}, nil, false
		}
		c.parts = append(c.parts, part)
		t = rest
	}
	return c, t, len(t) < before
}

// whole says whether it means the whole page: html, body, :root.
func (c webCompound) whole() bool {
	if c.element != "html" && c.element != "body" && (c.element != "*" || len(c.parts) == 0) {
		return false
	}
	return !slices.ContainsFunc(c.parts, func(part string) bool { return part != ":root" })
}

// write writes one that does not mean the whole page. It is false if its element is none of those that mails may have.
func (c webCompound) write() (string, bool) {
	parts := strings.Join(c.parts, "")
	switch {
	case c.element == "*" && parts != "" && parts[0] != ':':
		return parts, true
	case c.element == "*" || c.element == "span": // what marks a link that lies is a span, and not the mail's to change
		return c.element + webUnmarked + parts, true
	}
	return c.element + parts, webElements[c.element]
}

// webSelectorPart reads one class, id, state or attribute, and returns what is behind it. It is "" if it can't stay.
func webSelectorPart(t []webCSSToken) (string, []webCSSToken) {
	switch t[0].kind {
	case '.':
		if len(t) > 1 && t[1].kind == webCSSName {
			return webPrefixed(".", t[1].text), t[2:]
		}
	case '#':
		return webPrefixed("#", t[0].text), t[1:]
	case '[':
		end := slices.IndexFunc(t, func(x webCSSToken) bool { return x.kind == ']' })
		if end >= 0 {
			return webAttributePart(webCSSSolid(t[1:end])), t[end+1:]
		}
	case ':':
		return webStatePart(t)
	}
	return "", nil
}

// webStatePart is a pseudo-class, with what is behind it.
func webStatePart(t []webCSSToken) (string, []webCSSToken) {
	if len(t) < 2 {
		return "", nil
	}
	name := strings.ToLower(t[1].text)
	switch {
	case t[1].kind == webCSSName && (name == "root" || slices.Contains(webStates, name)):
		return ":" + name, t[2:]
	case t[1].kind == webCSSFunction && name == "nth-child" && len(t) > 3 && t[3].kind == ')':
		which := t[2].text + t[2].unit
		if (t[2].kind == webCSSName || t[2].kind == webCSSNumber) && webCSSIsWord(which) {
			return ":nth-child(" + which + ")", t[4:]
		}
	}
	return "", nil
}

// webAttributePart is [class=x] or [class~=x], with which mails ask for a class; nothing else that is in brackets stays.
func webAttributePart(t []webCSSToken) string {
	if len(t) == 4 && t[1].kind == '~' {
		t = slices.Delete(slices.Clone(t), 1, 2)
	}
	if len(t) != 3 || t[0].kind != webCSSName || t[1].kind != '=' || (t[2].kind != webCSSName && t[2].kind != webCSSString) {
		return ""
	}
	switch strings.ToLower(t[0].text) {
	case "class":
		return webPrefixed(".", t[2].text)
	case "id":
		return webPrefixed("#", t[2].text)
	}
	return ""
}

// webPrefixed is a class or id of a mail under a name that is none of ours, "" if it can't have one.
func webPrefixed(mark, name string) string {
	if len(name) == 0 || len(name) > 80 || !webCSSIsWord(name) {
		return ""
	}
	if !strings.HasPrefix(name, webClassPrefix) {
		name = webClassPrefix + name
	}
	return mark + name
}

// webClasses are the classes of a class attribute under their new names.
func webClasses(value string) string {
	var all []string
	for _, c := range strings.Fields(value) {
		name := webPrefixed("", c)
		if name != "" && len(all) < webMaxClasses {
			all = append(all, name)
		}
	}
	return strings.Join(all, " ")
}
