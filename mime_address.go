// Address lists and envelopes: RFC 5322 §3.4 with its obsolete syntax, and what people send.
package main

import (
	"strings"
)

// What stands in for a half that an address in a header lacks, so that no entry is mistaken for the mark of a group.
// ".invalid" can never be delivered to (RFC 2606 §2).
const (
	missingLocal  = "unknown"
	missingDomain = "missing.invalid"
)

// Address is one entry of an address list. A group is a start (Domain "", Local its name), its members, and an end (all
// empty), as RFC 9051 §7.5.2 lists them.
//
// From a header, Name is as it was written there but without quotes: use DisplayName. In a Draft, Name is plain text.
// Local has no quoting; Domain is as written.
type Address struct{ Name, Local, Domain string }

// IsGroupStart says whether a opens a group, whose name is a.Local.
func (a Address) IsGroupStart() bool { return a.Domain == "" && a.Local != "" }

// IsGroupEnd says whether a closes a group.
func (a Address) IsGroupEnd() bool { return a.Domain == "" && a.Local == "" }

// DisplayName is the name in UTF-8, encoded words decoded, without control characters.
func (a Address) DisplayName() string { return DecodeWords(a.Name) }

// Addr is the mail address, checked; an error for a group mark or what cannot be mailed to.
func (a Address) Addr() (Addr, error) {
	d, err := ParseDomain(a.Domain)
	if err != nil {
		return Addr{}, err
	}
	return ParseAddr(Addr{a.Local, d}.String())
}

// String writes the address for a header field: the name as atoms, quoted or in encoded words, the domain in A-labels
// unless the local part needs UTF-8 anyway (RFC 6532). A group start is "name:", a group end ";".
func (a Address) String() string {
	switch {
	case a.IsGroupEnd():
		return ";"
	case a.IsGroupStart():
		return formatPhrase(DecodeWords(a.Local)) + ":"
	case a.Name == "":
		return a.spec()
	}
	return formatPhrase(a.DisplayName()) + " <" + a.spec() + ">"
}

func (a Address) spec() string {
	domain := a.Domain
	if isASCII(a.Local) {
		if d, err := DomainToASCII(domain); err == nil {
			domain = d
		}
	}
	return quoteLocal(a.Local) + "@" + domain
}

// formatPhrase writes a display name (RFC 5322 §3.2.5 phrase).
func formatPhrase(name string) string {
	name = strings.Trim(name, " \t")
	if !isPrintableASCII(name) || strings.Contains(name, "=?") || len(name) > maxToken {
		return encodePhrase(name)
	}
	for _, word := range strings.Split(name, " ") {
		if !isAtom(word) {
			return quoteString(name)
		}
	}
	return name
}

// FormatAddressList writes a list for a header field, without folding.
func FormatAddressList(list []Address) string { return strings.Join(formatAddresses(list), " ") }

// formatAddresses is the list in pieces between which a line may be folded, with the commas that RFC 5322 §3.4 wants:
// none beside the marks of a group.
func formatAddresses(list []Address) []string {
	pieces := make([]string, 0, len(list))
	for i, a := range list {
		s := a.String()
		if i+1 < len(list) && !a.IsGroupStart() && !list[i+1].IsGroupEnd() {
			s += ","
		}
		pieces = append(pieces, s)
	}
	return pieces
}

// ParseAddressList reads the value of From, To and their like. It gives up on nothing: what is no address is skipped,
// or kept with a half that says so. Time is linear in len(s).
func ParseAddressList(s string) []Address {
	p := addressParser{s: unfold(s)}
	for p.next() {
	}
	p.endItem()
	if p.inGroup {
		p.out = append(p.out, Address{})
	}
	return p.out
}

// addressToken is a word, a quoted string, a domain literal, or one of the specials.
type addressToken struct {
	kind byte   // 'w' word, 'q' quoted string, or the special itself: '<', ',', ':' or '@'
	text string // without quotes
	gap  bool   // blanks or a comment before it
}

// addressParser cuts a list into tokens and the tokens into items. Each octet is looked at a fixed number of times:
// once it is known that no quote (comment, bracket) closes any more, none is searched for again.
type addressParser struct {
	s       string
	pos     int
	gap     bool
	noQuote bool // no '"' from here on is ever closed
	noParen bool
	noClose bool // the same for ']'

	tokens  []addressToken // of the item in hand
	angle   int            // index in tokens of its '<', plus one; 0 for none
	closed  bool           // the '>' was seen
	at      bool           // an '@' is among the tokens
	comment string         // the item's last comment: the name in the style of 1982
	inGroup bool
	out     []Address
}

// next takes one token off the text; false at the end.
func (p *addressParser) next() bool {
	if p.pos >= len(p.s) {
		return false
	}
	c := p.s[p.pos]
	switch {
	case c == ' ' || c == '\t':
		p.pos++
		p.gap = true
		return true
	case c == '(' && p.readComment(), c == '"' && p.readQuoted(), c == '[' && p.readLiteral():
		return true
	case strings.IndexByte(`<>,;:@`, c) >= 0:
		p.pos++
		p.special(c)
		return true
	}
	p.readWord()
	return true
}

func (p *addressParser) add(kind byte, text string) {
	p.tokens = append(p.tokens, addressToken{kind, text, p.gap})
	p.gap = false
}

func (p *addressParser) readComment() bool {
	if p.noParen {
		return false
	}
	n := commentLen(p.s[p.pos:])
	if n == 0 {
		p.noParen = true
		return false
	}
	p.comment = unquote(p.s[p.pos+1 : p.pos+n-1])
	p.pos += n
	p.gap = true
	return true
}

func (p *addressParser) readQuoted() bool {
	if p.noQuote {
		return false
	}
	n := quotedLen(p.s[p.pos:])
	if n == 0 {
		p.noQuote = true
		return false
	}
	p.startItem()
	p.add('q', unquote(p.s[p.pos+1:p.pos+n-1]))
	p.pos += n
	return true
}

func (p *addressParser) readLiteral() bool {
	if p.noClose {
		return false
	}
	n := strings.IndexByte(p.s[p.pos:], ']') + 1
	if n == 0 {
		p.noClose = true
		return false
	}
	p.startItem()
	p.add('w', p.s[p.pos:p.pos+n])
	p.pos += n
	return true
}

// readWord takes an atom with its dots, or an encoded word, whose commas and the like are its own (they should be
// encoded, and often are not).
func (p *addressParser) readWord() {
	p.startItem()
	start := p.pos
	for p.pos < len(p.s) {
		if strings.HasPrefix(p.s[p.pos:], "=?") {
			if _, n := scanWord(p.s[p.pos:]); n > 0 {
				p.pos += n
				continue
			}
		}
		if p.pos > start && strings.IndexByte(" \t<>,;:@\"([", p.s[p.pos]) >= 0 {
			break
		}
		p.pos++
	}
	p.add('w', p.s[start:p.pos])
}

// startItem ends a finished "name <address>" when more text follows it without a comma.
func (p *addressParser) startItem() {
	if p.closed {
		p.endItem()
	}
}

func (p *addressParser) special(c byte) {
	switch c {
	case ',':
		if p.angle > 0 && !p.closed && p.isRoute() {
			p.add(c, ",")
			return
		}
		p.endItem()
	case ';':
		p.endItem()
		if p.inGroup {
			p.inGroup = false
			p.out = append(p.out, Address{})
		}
	case ':':
		p.colon()
	case '<':
		if p.angle > 0 && !p.closed && len(p.tokens) == p.angle { // "<<a@b>>"
			return
		}
		if p.angle > 0 {
			p.endItem()
		}
		p.add(c, "<")
		p.angle = len(p.tokens)
	case '>':
		p.closed = p.angle > 0
	case '@':
		p.startItem()
		p.add(c, "@")
		p.at = true
	}
}

// isRoute says whether what stands after the "<" began as a source route.
func (p *addressParser) isRoute() bool {
	return len(p.tokens) > p.angle && p.tokens[p.angle].kind == '@'
}

// colon ends a source route or an address, opens a group, or is just text.
func (p *addressParser) colon() {
	switch {
	case p.closed: // "<a@b>:<c@d>"
		p.endItem()
		return
	case p.angle > 0 && p.isRoute():
		p.tokens = p.tokens[:p.angle]
		return
	case p.angle > 0:
		p.add(':', ":")
		return
	}
	name := ""
	if !p.inGroup && !p.at {
		name = joinTokens(p.tokens)
	}
	switch {
	case isScheme(name):
		p.tokens = p.tokens[:0]
	case name == "":
		p.add(':', ":")
	default:
		p.inGroup = true
		p.out = append(p.out, Address{Local: name})
		p.reset()
	}
}

// isScheme says whether the word before a colon says only that an address follows.
func isScheme(s string) bool {
	return strings.EqualFold(s, "mailto") || strings.EqualFold(s, "smtp") || strings.EqualFold(s, "email")
}

func (p *addressParser) reset() {
	p.tokens, p.angle, p.closed, p.at, p.comment, p.gap = p.tokens[:0], 0, false, false, "", false
}

// endItem makes the tokens in hand an address, or several where only blanks part them.
func (p *addressParser) endItem() {
	defer p.reset()
	if p.angle > 0 {
		spec := p.tokens[p.angle:]
		name := joinTokens(p.tokens[:p.angle-1])
		if name == "" {
			name = p.comment
		}
		if len(spec) > 0 || name != "" { // not "<>"
			p.pushSpec(name, spec)
		}
		return
	}
	tokens := p.tokens
	for len(tokens) > 0 {
		tokens = p.bareItem(tokens)
	}
}

// pushSpec makes an address of what stands in brackets.
func (p *addressParser) pushSpec(name string, spec []addressToken) {
	if len(spec) > 2 && spec[1].kind == ':' && isScheme(spec[0].text) {
		spec = spec[2:]
		last := &spec[len(spec)-1]
		last.text, _, _ = strings.Cut(last.text, "?") // the subject and other things that a link has
	}
	spec = unquoteSpec(spec)
	at := indexAt(spec)
	if at < 0 {
		at = len(spec)
	}
	p.pushHalves(name, spec[:at], spec[min(at+1, len(spec)):], spec)
}

// pushHalves makes an address of the tokens on both sides of the "@". Halves that are in pieces are never put together:
// that would make up an address that nobody wrote. Then all is shown as text that cannot be answered.
func (p *addressParser) pushHalves(name string, local, domain, all []addressToken) {
	if isOnePiece(local, true) && isOnePiece(domain, false) {
		p.push(name, joinTight(local), joinTight(domain))
		return
	}
	if name == "" {
		name = joinTokens(all)
	}
	p.push(name, "", "")
}

// isOnePiece says whether the tokens are a local part or a domain without blanks inside, but for those around a dot
// that obsolete syntax has (RFC 5322 §4.4).
func isOnePiece(tokens []addressToken, quotes bool) bool {
	for i, t := range tokens {
		switch {
		case t.kind != 'w' && !(quotes && t.kind == 'q'), t.kind == 'w' && strings.ContainsAny(t.text, ")\\>"):
			return false
		case i > 0 && !joined(tokens[i-1], t):
			return false
		}
	}
	return true
}

// unquoteSpec takes quotes off a whole address: <'a@b'> and <"a@b">.
func unquoteSpec(spec []addressToken) []addressToken {
	n := len(spec)
	switch {
	case n == 1 && spec[0].kind == 'q' && strings.Count(spec[0].text, "@") == 1:
		local, domain, _ := strings.Cut(spec[0].text, "@")
		if isDotString(local) && domain != "" {
			return []addressToken{{kind: 'w', text: local}, {kind: '@', text: "@"}, {kind: 'w', text: domain}}
		}
	case n > 1 && strings.HasPrefix(spec[0].text, "'") && strings.HasSuffix(spec[n-1].text, "'"):
		spec[0].text = spec[0].text[1:]
		spec[n-1].text = strings.TrimSuffix(spec[n-1].text, "'")
	}
	return spec
}

// bareItem reads "name local@domain" without brackets and returns the tokens after it.
func (p *addressParser) bareItem(tokens []addressToken) []addressToken {
	at := 0
	for at < len(tokens) && tokens[at].kind != '@' {
		at++
	}
	if at == len(tokens) {
		p.bareWords(tokens)
		return nil
	}
	from, end := extent(tokens, at)
	last := indexAt(tokens[:end])
	name := joinTokens(tokens[:from])
	if name == ":" || isScheme(strings.TrimSuffix(name, ":")) {
		name = ""
	}
	if name == "" {
		name = p.comment
	}
	if from < last || last+1 < end {
		spec := unquoteSpec(tokens[from:end])
		p.pushHalves(name, spec[:last-from], spec[last-from+1:], spec)
	}
	return tokens[end:]
}

// extent is where the address around the "@" begins and ends. A dot and a blank in front of a local part end a name: "Dr. ann@a.example".
func extent(tokens []addressToken, at int) (from, end int) {
	from = at
	for from > 0 && tokens[from-1].kind != ':' && (from == at || !tokens[from].gap) {
		from--
	}
	end = at + 1
	for end < len(tokens) && (tokens[end-1].kind == '@' || joined(tokens[end-1], tokens[end])) {
		end++
	}
	return from, end
}

// bareWords is an item without any "@": one word is a local part as cron writes it, more are a name.
func (p *addressParser) bareWords(tokens []addressToken) {
	text := joinTokens(tokens)
	switch {
	case len(tokens) == 1 && tokens[0].kind == 'w' && isDotString(text):
		p.push(p.comment, text, "")
	case text != "":
		p.push(text, "", "")
	}
}

// push adds an address. A domain alone is no address that anybody could be asked at: it is shown as the name.
func (p *addressParser) push(name, local, domain string) {
	if local == "" {
		if name == "" && domain != "" {
			name = "@" + domain
		}
		local, domain = missingLocal, ""
	}
	if domain == "" {
		domain = missingDomain
	}
	p.out = append(p.out, Address{name, local, domain})
}

// joined says whether b continues the local part or domain that a belongs to: they touch, or a dot joins them over
// blanks (obs-domain, RFC 5322 §4.4).
func joined(a, b addressToken) bool {
	return !b.gap || (a.kind == 'w' && strings.HasSuffix(a.text, ".")) || (b.kind == 'w' && strings.HasPrefix(b.text, "."))
}

// indexAt is the last "@" outside quotes; -1 without one.
func indexAt(tokens []addressToken) int {
	for i := len(tokens) - 1; i >= 0; i-- {
		if tokens[i].kind == '@' {
			return i
		}
	}
	return -1
}

// joinTokens makes a phrase: one space where there were blanks.
func joinTokens(tokens []addressToken) string {
	if len(tokens) == 1 {
		return tokens[0].text
	}
	var b strings.Builder
	for i, t := range tokens {
		if t.gap && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return strings.Trim(b.String(), " \t")
}

// joinTight makes a local part or domain: no blanks.
func joinTight(tokens []addressToken) string {
	if len(tokens) == 1 {
		return tokens[0].text
	}
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

// Envelope is RFC 9051 §2.3.5; strings are raw (encoded words not decoded) but valid UTF-8: 8-bit text that is
// something else has been decoded as Header.Text does it.
type Envelope struct {
	Date, Subject                      string
	From, Sender, ReplyTo, To, Cc, Bcc []Address
	InReplyTo, MessageID               string
}

// ParseEnvelope reads the envelope out of a header block. A missing Sender or Reply-To is the From, as RFC 9051 §7.5.2
// demands. Several To, Cc or Bcc fields are one list.
func ParseEnvelope(h Header) *Envelope {
	fields := h.envelopeFields()
	text := func(name string) string {
		if v := fields[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	list := func(name string) []Address { return ParseAddressList(strings.Join(fields[name], ", ")) }
	e := &Envelope{
		Date: text("date"), Subject: text("subject"),
		From: ParseAddressList(text("from")), Sender: ParseAddressList(text("sender")),
		ReplyTo: ParseAddressList(text("reply-to")),
		To:      list("to"), Cc: list("cc"), Bcc: list("bcc"),
		InReplyTo: text("in-reply-to"), MessageID: text("message-id"),
	}
	if len(e.Sender) == 0 {
		e.Sender = e.From
	}
	if len(e.ReplyTo) == 0 {
		e.ReplyTo = e.From
	}
	return e
}

// envelopeFields collects the values that an envelope is made of in one pass.
func (h Header) envelopeFields() map[string][]string {
	fields := make(map[string][]string, 10)
	charset, asked := "", false
	for _, f := range h {
		if len(f.Name) > len("in-reply-to") {
			continue
		}
		switch name := strings.ToLower(f.Name); name {
		case "date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id":
			v := unfold(f.Value)
			if !isASCII(v) {
				if !asked {
					charset, asked = h.charset(), true
				}
				v = decodeAround(v, charset)
			}
			fields[name] = append(fields[name], v)
		}
	}
	return fields
}
