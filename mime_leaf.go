// What a person gets to see of a message: the fate of every leaf of its tree.
package main

import (
	"bytes"
	"cmp"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// Fate is what becomes of a leaf when a person reads the message.
type Fate int

const (
	LeafShown       Fate = iota + 1 // a text to read
	LeafPicture                     // a picture inside an HTML text that is shown
	LeafFile                        // offered as a file
	LeafAlternative                 // says the same as something that is shown
	LeafSignature                   // is the signature over something that is shown
)

// Leaf is a part that holds no other parts, or a message inside the message, which is one leaf: its inside is read by
// asking Parts[0] for its own leaves.
type Leaf struct {
	Path []int // the IMAP part number below the message that was asked; nil of a text that stands outside of all parts
	Part *Part
	Fate Fate
	Used bool // a shown HTML text names it as a picture; so may a LeafFile that was sent as an attachment
}

// Reading is how a person reads a message.
type Reading struct {
	Plain bool // the plain text where there is HTML too

	// Uses returns the content ids (without brackets) of the pictures that are really shown with an HTML text. nil
	// stands for HTMLUses.
	Uses func(text *Part) map[string]bool
}

const (
	maxShownTexts = 200      // texts of one message that are shown one below the other; later ones are files
	maxEmptyLooks = 100      // texts of one message that are looked into to see whether they say anything
	maxEmptyText  = 8 << 10  // octets of a text that may turn out to say nothing
	maxBeside     = 64 << 10 // octets outside of the parts of a multipart that may be a text
	maxHTMLUses   = 2 << 20  // octets of an HTML text in which pictures are looked for
	maxHTMLTags   = 40_000   // and tags
)

// Leaves gives every leaf of the message p exactly one fate, in the order of the message. r reads the message; where it
// is nil only the tree is looked at: then every picture beside HTML counts as used, and no text as empty.
//
// All texts are shown that are not named or marked as files: those of a multipart/mixed one below the other, of a
// multipart/alternative the best. What cannot be shown is a file. The work is that of reading the shown HTML once.
func (p *Part) Leaves(r io.ReaderAt, how Reading) []Leaf {
	w := leafWalker{r: r, how: how, texts: map[*Part]textKinds{}}
	w.learn(p)
	if p.IsMultipart() {
		w.multipart(p, nil, false)
	} else {
		w.leaf(p, []int{1}, false)
	}
	w.settle()
	return w.leaves
}

// leafWalker collects leaves in the order of the message.
type leafWalker struct {
	r       io.ReaderAt
	how     Reading
	texts   map[*Part]textKinds // what is in each part
	leaves  []Leaf
	hidden  []bool // of each leaf: it lies in an alternative that was not chosen
	related []bool // of each leaf: it is a part of a multipart/related that is not the root
	before  *Part  // the text ahead of all parts
	shown   int
	looks   int
}

func (w *leafWalker) part(p *Part, path []int, hidden bool) {
	if p.IsMultipart() {
		w.multipart(p, path, hidden)
		return
	}
	w.leaf(p, slices.Clone(path), hidden)
}

func (w *leafWalker) multipart(p *Part, path []int, hidden bool) {
	chosen := -1
	if p.Subtype == "alternative" {
		chosen = w.choose(p)
	}
	var root *Part
	if p.Subtype == "related" {
		root = w.relatedRoot(p)
	}
	if !hidden && w.shown == 0 {
		w.before = cmp.Or(w.before, w.beside(p.BodyOff, p.Parts[0].HeaderOff))
	}
	for i, c := range p.Parts {
		first := len(w.leaves)
		w.part(c, append(path, i+1), hidden || (chosen >= 0 && i != chosen))
		if c.isSignature(p) {
			w.leaves[first].Fate = LeafSignature
		}
		if root != nil && c != root {
			for k := first; k < len(w.leaves); k++ {
				w.related[k] = true
			}
		}
	}
	end := p.Parts[len(p.Parts)-1]
	if behind := w.behind(p, end.BodyOff+end.BodyLen); behind != nil && !hidden {
		w.add(Leaf{Part: behind, Fate: LeafShown})
	}
}

func (w *leafWalker) leaf(p *Part, path []int, hidden bool) {
	fate := LeafFile
	switch {
	case !p.isReadable() || p.isAttached():
	case hidden:
		fate = LeafAlternative
	case w.shown < maxShownTexts:
		fate = LeafShown
		w.shown++
	}
	w.add(Leaf{Path: path, Part: p, Fate: fate})
	w.hidden[len(w.hidden)-1] = hidden
}

func (w *leafWalker) add(l Leaf) {
	w.leaves = append(w.leaves, l)
	w.hidden, w.related = append(w.hidden, false), append(w.related, false)
}

// beside is the text that stands between from and to, outside of all parts, with a delimiter as its last line: nil when it
// is no more than what programs without MIME are told there (RFC 2046 §5.1.1).
func (w *leafWalker) beside(from, to int64) *Part {
	text := w.outside(from, to)
	i := bytes.LastIndexByte(bytes.TrimRight(text, "\r\n"), '\n')
	return besideText(text[:max(i, 0)], from)
}

// behind is the text behind the last part of a multipart, such as the footer of a list that knows no MIME.
func (w *leafWalker) behind(p *Part, from int64) *Part {
	text := w.outside(from, p.BodyOff+p.BodyLen)
	i := bytes.Index(text, []byte("--"+p.Param("boundary")+"--"))
	if i < 0 {
		return nil
	}
	_, rest, _ := bytes.Cut(text[i:], []byte("\n"))
	return besideText(rest, from+int64(len(text)-len(rest)))
}

// outside reads what is outside of the parts, as far as it is no longer than a text that may be.
func (w *leafWalker) outside(from, to int64) []byte {
	if w.r == nil || to-from < 4 || to-from > maxBeside || w.looks >= maxEmptyLooks {
		return nil
	}
	w.looks++
	b := make([]byte, to-from)
	n, _ := w.r.ReadAt(b, from)
	return b[:n]
}

// besideText makes a part of a text outside of the parts, if it is one for people.
func besideText(b []byte, off int64) *Part {
	words := false
	for line := range bytes.Lines(b) {
		words = words || (!bytes.HasPrefix(line, []byte("--")) && bytes.ContainsFunc(line, unicode.IsLetter))
	}
	lower := bytes.ToLower(b)
	if !words || bytes.Contains(lower, []byte("mime")) || bytes.Contains(lower, []byte("multi-part")) || bytes.Contains(lower, []byte("multipart")) {
		return nil
	}
	return &Part{Type: "text", Subtype: "plain", Encoding: "8bit", HeaderOff: off, BodyOff: off, BodyLen: int64(len(b)), Has8bit: !isASCIIBytes(b)}
}

// choose returns which child of a multipart/alternative is read; -1 when none has a text, and then all are files. The
// sender puts the best last (RFC 2046 §5.1.4), but some programs send an empty text there.
func (w *leafWalker) choose(p *Part) int {
	chosen, best := -1, 0
	for i, c := range p.Parts {
		rank := w.texts[c].rank(w.how.Plain)
		if rank > 0 && !w.saysNothing(c) {
			rank += 10
		}
		if rank >= best && rank > 0 {
			chosen, best = i, rank
		}
	}
	return chosen
}

// textKinds says which kinds of text to read are in a part, files, signatures and messages inside not counted.
type textKinds struct{ html, plain, other bool }

func (k textKinds) any() bool { return k.html || k.plain || k.other }

// learn finds out what is in p, once for all of its parts: what is nested deep is asked about on each level.
func (w *leafWalker) learn(p *Part) textKinds {
	var k textKinds
	switch {
	case p.IsMultipart():
		for _, c := range p.Parts {
			in := w.learn(c)
			if !c.isSignature(p) {
				k = textKinds{k.html || in.html, k.plain || in.plain, k.other || in.other}
			}
		}
	case p.isReadable() && !p.isAttached():
		k = textKinds{html: p.Subtype == "html", plain: p.Subtype == "plain"}
		k.other = !k.html && !k.plain
	}
	w.texts[p] = k
	return k
}

// rank is how good the texts in a part are for a reader; 0 when there are none.
func (k textKinds) rank(plain bool) int {
	switch {
	case k.html && plain:
		return 1
	case k.html:
		return 3
	case k.plain:
		return 2 + rankPlain(plain)
	case k.other:
		return 1 + rankPlain(plain)
	}
	return 0
}

func rankPlain(plain bool) int {
	if plain {
		return 1
	}
	return 0
}

// relatedRoot is the part that the others of a multipart/related belong to: the one that start names (RFC 2387 §3.2), with
// or without the brackets; else the first of the type that is said; else the first. One without a text is passed over
// where another has one: the names are often wrong, and some programs put the pictures first.
func (w *leafWalker) relatedRoot(p *Part) *Part {
	start, typ := strings.Trim(strings.TrimSpace(p.Param("start")), "<> "), strings.ToLower(p.Param("type"))
	var byType, byText *Part
	for _, c := range p.Parts {
		switch {
		case !w.texts[c].any():
		case start != "" && c.ContentID() == start:
			return c
		case byType == nil && typ == c.Type+"/"+c.Subtype:
			byType = c
		case byText == nil:
			byText = c
		}
	}
	return cmp.Or(byType, byText, p.Parts[0])
}

// saysNothing says whether the part is one text, of blanks only. HTML with a picture says something.
func (w *leafWalker) saysNothing(p *Part) bool {
	if p.IsMultipart() || w.r == nil || p.BodyLen > maxEmptyText || w.looks >= maxEmptyLooks {
		return false
	}
	w.looks++
	if p.Subtype == "html" {
		b, err := io.ReadAll(p.Text(w.r))
		if err != nil || bytes.Contains(bytes.ToLower(b), []byte("<img")) {
			return false
		}
	}
	b, err := io.ReadAll(p.PlainText(w.r))
	return err == nil && strings.Trim(string(b), " \t\r\n\u00a0\ufeff\u200b") == ""
}

// settle decides what could not be said before the whole message was seen: which files are pictures of an HTML text.
func (w *leafWalker) settle() {
	if w.shown == 0 && w.before != nil {
		w.add(Leaf{Part: w.before, Fate: LeafShown})
	} else if w.shown == 0 {
		w.showNamed()
	}
	used, usedHidden := w.uses()
	taken := map[string]bool{} // ids that a picture before has
	for i := range w.leaves {
		l := &w.leaves[i]
		id := l.Part.ContentID()
		if l.Fate != LeafFile || id == "" {
			continue
		}
		named := false
		if w.r == nil {
			l.Used = w.related[i] && l.Part.Disp != "attachment" && l.Part.mayBePicture()
		} else if !taken[id] && (used[id] || (usedHidden[id] && w.hidden[i])) {
			named = l.Part.Picture(w.r) != ""
			taken[id] = named
			l.Used = named && used[id]
		}
		l.settle(named)
	}
}

// settle gives a file that HTML names as a picture its fate. One that was sent as an attachment stays a file too.
func (l *Leaf) settle(named bool) {
	switch {
	case l.Part.Disp == "attachment":
	case l.Used:
		l.Fate = LeafPicture
	case named:
		l.Fate = LeafAlternative
	}
}

// showNamed makes the first text the one to read although it has a file's name: some programs name the body.
func (w *leafWalker) showNamed() {
	for i := range w.leaves {
		l := &w.leaves[i]
		if l.Fate == LeafFile && l.Part.Disp != "attachment" && (l.Part.Is("text", "plain") || l.Part.Is("text", "html")) {
			l.Fate = LeafShown
			return
		}
	}
}

// uses collects the content ids that the HTML texts name: those that are shown, and those that are not.
func (w *leafWalker) uses() (used, hidden map[string]bool) {
	used, hidden = map[string]bool{}, map[string]bool{}
	if w.r == nil || !slices.ContainsFunc(w.leaves, func(l Leaf) bool { return l.Fate == LeafFile && l.Part.ID != "" }) {
		return used, hidden
	}
	for _, l := range w.leaves {
		ids := used
		switch {
		case !l.Part.Is("text", "html"), l.Fate != LeafShown && l.Fate != LeafAlternative:
			continue
		case l.Fate == LeafAlternative:
			ids = hidden
		}
		var found map[string]bool
		if w.how.Uses != nil && l.Fate == LeafShown {
			found = w.how.Uses(l.Part)
		} else {
			found = l.Part.HTMLUses(w.r)
		}
		for id := range found {
			ids[id] = true
		}
	}
	return used, hidden
}

// HTMLUses returns the content ids (RFC 2392, without brackets) of the pictures that an HTML text names in its
// elements. It looks at the first 2 MiB.
func (p *Part) HTMLUses(r io.ReaderAt) map[string]bool {
	ids := map[string]bool{}
	z := html.NewTokenizer(io.LimitReader(p.Text(r), maxHTMLUses))
	z.SetMaxBuf(maxHTMLUses)
	skip := 0 // depth of what is never shown
	for range maxHTMLTags {
		tt := z.Next()
		if tt == html.ErrorToken {
			break
		}
		if tt != html.StartTagToken && tt != html.EndTagToken && tt != html.SelfClosingTagToken {
			continue
		}
		name, more := z.TagName()
		switch string(name) {
		case "template":
			if tt == html.StartTagToken {
				skip++
			} else if tt == html.EndTagToken {
				skip = max(skip-1, 0)
			}
		case "img", "image", "input":
			for more && skip == 0 {
				var key, value []byte
				key, value, more = z.TagAttr()
				if string(key) == "src" && hasPrefixFold(strings.TrimSpace(string(value)), "cid:") {
					ids[cleanContentID(strings.TrimSpace(string(value))[len("cid:"):])] = true
				}
			}
		}
	}
	delete(ids, "")
	return ids
}

// cleanContentID is the id in a cid: address, its percent signs undone.
func cleanContentID(s string) string {
	id, err := url.PathUnescape(s)
	if err != nil {
		id = s
	}
	return strings.Trim(strings.TrimSpace(id), "<>")
}

// ContentID is the part's Content-ID without brackets and blanks; "" for none.
func (p *Part) ContentID() string { return strings.Trim(strings.TrimSpace(p.ID), "<> ") }

// dataTexts are the subtypes of text that programs read and people open as files. All others are texts to read.
var dataTexts = map[string]bool{
	"calendar": true, "x-vcalendar": true, "vcard": true, "x-vcard": true, "directory": true, "csv": true, "comma-separated-values": true,
	"tab-separated-values": true, "rfc822-headers": true, "rtf": true, "css": true, "javascript": true, "ecmascript": true, "x-amp-html": true,
	"xml": true, "xml-external-parsed-entity": true, "vbscript": true, "x-python": true, "x-sh": true, "x-opml": true,
}

// isReadable says whether the part is a text for people, by its type.
func (p *Part) isReadable() bool { return p.Type == "text" && !dataTexts[p.Subtype] }

// PlainText is the decoded text of a text part for reading as plain text, in UTF-8: HTML, text/enriched and
// text/richtext without their markup.
func (p *Part) PlainText(r io.ReaderAt) io.Reader {
	text := p.Text(r)
	switch {
	case p.Type != "text":
	case p.Subtype == "html":
		return HTMLText(text)
	case p.Subtype == "enriched":
		return EnrichedText(text)
	case p.Subtype == "richtext":
		return RichText(text)
	}
	return text
}
