// The first words of a message, for lists.
package main

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// previewWindow is how many octets of a body, still encoded, a preview looks at.
const previewWindow = 128 << 10

// previewTexts is how many texts are tried until one says something.
const previewTexts = 4

// Preview is the beginning of what the message says, at most n characters on one line, as RFC 8970 wants it: text/plain
// before other texts, blanks collapsed, quoted text and the signature left out if something else remains. It is valid
// UTF-8 without control characters; "" when there is no text. Work is bounded whatever the size of the body.
func Preview(p *Part, r io.ReaderAt, n int) string {
	texts := p.previewTexts()
	for _, t := range texts[:min(len(texts), previewTexts)] {
		head := *t
		head.BodyLen = min(head.BodyLen, previewWindow)
		b, _ := io.ReadAll(head.PlainText(r)) // a preview of what can be read
		if s := previewLine(string(b), n); s != "" {
			return s
		}
	}
	return ""
}

// previewTexts are the texts to read, the plain ones first.
func (p *Part) previewTexts() []*Part {
	var plain, others []*Part
	for _, l := range p.Leaves(nil, Reading{}) {
		switch {
		case l.Fate != LeafShown && l.Fate != LeafAlternative:
		case l.Part.Subtype == "plain":
			plain = append(plain, l.Part)
		default:
			others = append(others, l.Part)
		}
	}
	return append(plain, others...)
}

// previewLine collapses text to one line of at most n characters.
func previewLine(text string, n int) string {
	if s := collapse(unquotedText(text), n); s != "" {
		return s
	}
	return collapse(text, n)
}

// unquotedText drops quoted lines, the line that introduces them ("On Monday Ann wrote:"), and all from the signature
// or the copy of an original message on.
func unquotedText(text string) string {
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ">"):
			for len(kept) > 0 && kept[len(kept)-1] == "" {
				kept = kept[:len(kept)-1]
			}
			if n := len(kept); n > 0 && (strings.HasSuffix(kept[n-1], ":") || strings.HasSuffix(kept[n-1], "：")) {
				kept = kept[:n-1]
			}
			continue
		case line == "-- ", strings.HasPrefix(trimmed, "-----Original"):
			return strings.Join(kept, " ")
		}
		kept = append(kept, trimmed)
	}
	return strings.Join(kept, " ")
}

// collapse makes one line of the first n characters: blanks become one space, and what has no width (newsletters pad
// their previews with it) or controls is left out. A character is never parted from its accents.
func collapse(text string, n int) string {
	var b strings.Builder
	count, start, blank := 0, 0, false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || r == '\u00A0':
			blank = b.Len() > 0
			continue
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != '\u200D',
			r == '\u034F', r == '\u2800':
			continue
		}
		if !unicode.Is(unicode.M, r) {
			start = b.Len() // of a character with all that modifies it
		}
		width := 1
		if blank {
			width = 2
		}
		if count+width > n {
			if unicode.Is(unicode.M, r) {
				return strings.TrimRight(b.String()[:start], " ")
			}
			break
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteRune(r)
		count += width
	}
	return b.String()
}
