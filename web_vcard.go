// vCards of any version, as phones and programs write them.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	webCardLine = 16 << 10 // octets that are kept of a property; a photo is longer, and nobody asks for it
	webCardLook = 2 << 10  // octets that show how the lines end
	webCardMost = 20_000   // cards in a file
	webCardMail = 100      // addresses of a card
)

// webCards reads vCards (RFC 6350, RFC 2426, and version 2.1 of the Versit consortium): the name, the addresses, the first
// telephone number and the note of each. A card makes a contact for each of its addresses; those that have none are counted. It
// fails with ErrTooMany as soon as there are more contacts than an address book can have.
func webCards(r io.Reader) ([]Contact, int, error) {
	var all []Contact
	without := 0
	lines := &webCardLines{r: bufio.NewReader(webCardText8(r))}
	var c webCard
	for n := 0; n < webCardMost; {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		name, value := webCardProperty(line)
		switch name {
		case "BEGIN":
			c = webCard{}
			n++
		case "END":
			found := c.contacts()
			all = append(all, found...)
			if len(all) > maxContacts {
				return nil, 0, fmt.Errorf("%w contacts in the file", ErrTooMany)
			}
			if len(found) == 0 {
				without++
			}
			c = webCard{}
		default:
			c.take(name, value)
		}
	}
	return all, without, nil
}

// webCardText8 turns UTF-16, as some programs write it, into UTF-8, and takes off a byte order mark.
func webCardText8(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	start, _ := b.Peek(3)
	switch {
	case len(start) > 1 && (start[0] == 0xff && start[1] == 0xfe):
		b.Discard(2)
		return CharsetReader("utf-16le", b)
	case len(start) > 1 && (start[0] == 0xfe && start[1] == 0xff):
		b.Discard(2)
		return CharsetReader("utf-16be", b)
	case len(start) > 1 && start[0] == 'B' && start[1] == 0:
		return CharsetReader("utf-16le", b)
	case len(start) > 1 && start[0] == 0 && start[1] == 'B':
		return CharsetReader("utf-16be", b)
	case string(start) == "\ufeff":
		b.Discard(3)
	}
	head, _ := b.Peek(webCardLook)
	if bytes.IndexByte(head, '\n') < 0 && bytes.IndexByte(head, '\r') >= 0 {
		return &bareCRs{b}
	}
	return b
}

// webCardLines puts folded lines together.
type webCardLines struct {
	r    *bufio.Reader
	held string
	read bool // held has a line
}

// line reads one line; of a very long one the beginning.
func (l *webCardLines) line() (string, error) {
	if l.read {
		l.read = false
		return l.held, nil
	}
	var text []byte
	for {
		piece, err := l.r.ReadSlice('\n')
		if len(text) < webCardLine {
			text = append(text, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && len(text) == 0 {
			return "", err
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
}

// next reads a property: lines that begin with a blank go on with the one before, and so does, in quoted-printable, what stands
// behind a "=" at the end of a line.
func (l *webCardLines) next() (string, error) {
	line, err := l.line()
	if err != nil {
		return "", err
	}
	head, _, _ := strings.Cut(strings.ToUpper(line), ":")
	quoted := strings.Contains(head, "QUOTED-PRINTABLE")
	for {
		next, err := l.line()
		if errors.Is(err, io.EOF) {
			return line, nil
		}
		if err != nil {
			return "", err
		}
		soft := quoted && strings.HasSuffix(line, "=")
		folded := strings.HasPrefix(next, " ") || strings.HasPrefix(next, "\t")
		if !soft && !folded {
			l.held, l.read = next, true
			return line, nil
		}
		if len(line) > webCardLine {
			continue
		}
		switch {
		case soft:
			line = strings.TrimSuffix(line, "=") + strings.TrimLeft(next, " \t")
		default:
			line += next[1:]
		}
	}
}

// webCardProperty takes a property apart: its name in capitals, without a group such as "item1.", and its value as text.
func webCardProperty(line string) (name, value string) {
	at := webCardColon(line)
	if at < 0 {
		return "", ""
	}
	prop, value := line[:at], line[at+1:]
	name, params, _ := strings.Cut(prop, ";")
	if _, tail, grouped := strings.Cut(name, "."); grouped {
		name = tail
	}
	charset := ""
	for _, p := range strings.Split(params, ";") {
		if key, v, _ := strings.Cut(p, "="); strings.EqualFold(key, "CHARSET") {
			charset = strings.Trim(v, `"`)
		}
	}
	if strings.Contains(strings.ToUpper(params), "QUOTED-PRINTABLE") {
		b, _ := io.ReadAll(quotedprintable.NewReader(strings.NewReader(value))) // as far as it goes
		value = string(b)
	}
	if webCardBase64.MatchString(params) {
		if b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), "")); err == nil {
			value = string(b)
		}
	}
	return strings.ToUpper(strings.TrimSpace(name)), decodeBytes(charset, []byte(value))
}

// webCardBase64 finds the encoding that photos have, and texts of some phones.
var webCardBase64 = regexp.MustCompile(`(?i)(^|;)(ENCODING=)?"?(BASE64|B)"?(;|$)`)

// webCardColon finds the colon behind the parameters, which may have one in quotation marks.
func webCardColon(line string) int {
	quoted := false
	for i, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ':' && !quoted:
			return i
		}
	}
	return strings.IndexByte(line, ':')
}

// webCard is a card being read.
type webCard struct {
	contact Contact
	parts   string // the name in its parts, for cards without FN
	nick    string
	mails   []string
}

func (c *webCard) take(name, value string) {
	switch name {
	case "FN":
		c.contact.Name = webCardValue(value, 200)
	case "N":
		c.parts = webCardName(value)
	case "NICKNAME", "ORG":
		if c.nick == "" {
			c.nick = webCardValue(strings.ReplaceAll(value, ";", " "), 200)
		}
	case "EMAIL":
		if len(c.mails) == webCardMail {
			return
		}
		c.mails = append(c.mails, strings.TrimPrefix(strings.TrimSpace(webUnescapeCard(value)), "mailto:"))
	case "TEL":
		if c.contact.Phone == "" {
			c.contact.Phone = webCardValue(strings.TrimPrefix(value, "tel:"), 50)
		}
	case "NOTE":
		c.contact.Note = webCardValue(value, 500)
	}
}

// contacts are what comes of a card.
func (c *webCard) contacts() []Contact {
	one := c.contact
	for _, name := range []string{c.parts, c.nick} {
		if one.Name == "" {
			one.Name = name
		}
	}
	var all []Contact
	for _, m := range c.mails {
		if a, err := ParseAddr(m); err == nil {
			one.Address = a.Key()
			all = append(all, one)
		}
	}
	return all
}

func webUnescapeCard(s string) string {
	return strings.NewReplacer(`\n`, " ", `\N`, " ", `\,`, ",", `\;`, ";", `\:`, ":", `\\`, `\`).Replace(s)
}

// webCardValue is a value on one line, of so many characters at most, as the form takes them. What has more ends in "…".
func webCardValue(s string, most int) string {
	s = strings.TrimSpace(webClean(webUnescapeCard(s)))
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// webCardName makes a name of the parts of N: family; given; further; before; after.
func webCardName(value string) string {
	var parts []string
	escaped := false
	var part strings.Builder
	for _, r := range value + ";" {
		switch {
		case escaped:
			part.WriteByte('\\')
			part.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == ';':
			parts = append(parts, webCardValue(part.String(), 100))
			part.Reset()
		default:
			part.WriteRune(r)
		}
	}
	parts = append(parts, "", "", "", "")
	family, given, further, before, after := parts[0], parts[1], parts[2], parts[3], parts[4]
	return strings.Join(strings.Fields(strings.Join([]string{before, given, further, family, after}, " ")), " ")
}
