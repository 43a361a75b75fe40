// Parameters of Content-Type and Content-Disposition: RFC 2045 syntax, RFC 2231 values.
package main

import (
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxParams is how many parameters of one field are read, continuations counted.
const maxParams = 100

// Param is one parameter of Content-Type or Content-Disposition, name in lower case, RFC 2231 continuations joined and
// decoded to UTF-8.
type Param struct{ Name, Value string }

// ASCII is the parameter as 7-bit headers and IMAP clients without UTF-8 can have it: a value that is not ASCII gets
// the name "name*" and the extended form of RFC 2231 §4.
func (p Param) ASCII() Param {
	if isPrintableASCII(p.Value) {
		return p
	}
	return Param{p.Name + "*", "utf-8''" + percentEncode(p.Value)}
}

// findParam is the value of the parameter of that (lower case) name, or "".
func findParam(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// parseMediaType reads a Content-Type value (RFC 2045 §5.1), names in lower case; false when there is no type/subtype,
// and then §5.2 wants text/plain.
func parseMediaType(s string) (typ, subtype string, params []Param, ok bool) {
	return parseMediaTypeIn(s, "")
}

// parseMediaTypeIn is parseMediaType where raw octets may be in the charset of the rest of the message.
func parseMediaTypeIn(s, charset string) (typ, subtype string, params []Param, ok bool) {
	typ, s = cutToken(skipCFWS(s), "/;")
	s = skipCFWS(s)
	if strings.HasPrefix(s, "/") {
		subtype, s = cutToken(skipCFWS(s[1:]), ";")
	}
	typ, subtype = strings.ToLower(typ), strings.ToLower(subtype)
	params = parseParams(s, charset)
	return typ, subtype, params, isMIMEToken(typ) && isMIMEToken(subtype)
}

// parseDisposition reads a Content-Disposition value (RFC 2183 §2), as loosely as it is written: the type may be
// missing or quoted, and end in a comma or colon. Raw octets may be in the charset of the rest of the message.
func parseDisposition(s, charset string) (string, []Param) {
	s = skipCFWS(s)
	disp, rest := cutToken(s, ";,:=")
	if after := strings.TrimLeft(rest, " \t"); strings.HasPrefix(after, "=") && disp != "" { // a parameter comes first
		return "", parseParams(s, charset)
	}
	disp = strings.ToLower(strings.Trim(disp, `"'`))
	if !isMIMEToken(disp) {
		disp = ""
	}
	return disp, parseParams(strings.TrimLeft(rest, " \t,:="), charset)
}

// cutToken takes what is before a blank, a comment or one of the ends off s.
func cutToken(s, ends string) (token, rest string) {
	if i := strings.IndexAny(s, " \t("+ends); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// isMIMEToken is token of RFC 2045 §5.1.
func isMIMEToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7F || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}

// skipCFWS drops blanks and comments from the front (RFC 5322 §3.2.2).
func skipCFWS(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if !strings.HasPrefix(s, "(") {
			return s
		}
		n := commentLen(s)
		if n == 0 {
			return s
		}
		s = s[n:]
	}
}

// commentLen is the length of the comment at the start of s, nested ones included; 0 when it is never closed.
func commentLen(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// quotedLen is the length of the quoted string at the start of s with its quotes; 0 when it is never closed.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// unquote is the content of a quoted string or comment without its two ends.
func unquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// quoteString writes s as a quoted string (RFC 5322 §3.2.4).
func quoteString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// rawParam is a parameter as it stands in the field, its name taken apart by RFC 2231.
type rawParam struct {
	name     string // lower case, without stars
	section  int    // of a continuation; -1 for a parameter in one piece
	extended bool   // percent-encoded, the first section with charset'language'
	value    string
}

// parseParams reads parameters in the order of their first appearance. It takes what real mailers send: missing
// semicolons, blanks around "=", names and boundaries with blanks or raw 8-bit text and no quotes, quotes never closed
// or inside quotes, encoded words in quotes and in sections. charset is what raw octets may be in.
func parseParams(s, charset string) []Param {
	raw := scanParams(unfold(s))
	if len(raw) == 0 {
		return nil
	}
	params := make([]Param, 0, len(raw))
	seen := map[string]bool{}
	for _, r := range raw {
		if !seen[r.name] {
			seen[r.name] = true
			params = append(params, Param{r.name, paramValue(raw, r.name, charset)})
		}
	}
	return params
}

// scanParams cuts the field at its semicolons (or blanks) and equal signs.
func scanParams(s string) []rawParam {
	var raw []rawParam
	for range 2 * maxParams { // junk counts too: each round may look at all that is left
		s = strings.TrimLeft(skipCFWS(s), "; \t")
		if s == "" || len(raw) == maxParams {
			break
		}
		i := strings.IndexAny(s[1:], "=; \t") + 1
		if i == 0 {
			break
		}
		name, rest := s[:i], strings.TrimLeft(s[i:], " \t")
		if !strings.HasPrefix(rest, "=") {
			s = rest
			continue
		}
		r := newRawParam(name)
		r.value, s = scanParamValue(strings.TrimLeft(rest[1:], " \t"), r.name)
		if isMIMEToken(r.name) && !strings.Contains(r.name, "*") {
			raw = append(raw, r)
		}
	}
	return raw
}

// scanParamValue reads a value and returns what follows it. Names of files and boundaries may have unquoted blanks,
// nothing else has.
func scanParamValue(s, name string) (value, rest string) {
	isName := name == "filename" || name == "name"
	if strings.HasPrefix(s, `"`) {
		n := quotedLen(s)
		if isName {
			n = looseQuotedLen(s)
		}
		if n > 0 && isName && isWindowsPath(s[1:n-1]) {
			return strings.ReplaceAll(s[1:n-1], `\"`, `"`), s[n:]
		}
		if n > 0 {
			return unquote(s[1 : n-1]), s[n:]
		}
		return unquote(s[1:]), "" // never closed
	}
	value, rest, _ = strings.Cut(s, ";")
	value = strings.TrimRight(value, " \t")
	if isName {
		if n := len(value); n > 1 && value[0] == '\'' && value[n-1] == '\'' {
			value = value[1 : n-1]
		}
		return value, rest
	}
	if name == "boundary" && !strings.Contains(value, "=") {
		return value, rest
	}
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		return value[:i], s[i:]
	}
	if i := strings.IndexByte(value, '('); i >= 0 && name != "boundary" {
		return value[:i], s[i:]
	}
	return value, rest
}

// isWindowsPath says whether a quoted name is a path whose backslashes were not quoted, as Outlook Express and Internet
// Explorer wrote them.
func isWindowsPath(s string) bool {
	return len(s) > 3 && s[1] == ':' && s[2] == '\\' && !strings.Contains(s, `\\`)
}

// looseQuotedLen is quotedLen for the name of a file, in which some programs leave quotes as they are: the one that
// closes is the first that a semicolon, another parameter or nothing follows.
func looseQuotedLen(s string) int {
	end := quotedLen(s)
	semicolon := strings.IndexByte(s[end:], ';')
	if semicolon < 0 {
		semicolon = len(s)
	} else {
		semicolon += end
	}
	for n := end; n > 0 && n < len(s); {
		rest := strings.TrimLeft(s[n:], " \t")
		if rest == "" || rest[0] == ';' || rest[0] == '(' || startsParam(rest) {
			return n
		}
		more := strings.IndexByte(s[n:semicolon], '"')
		if more < 0 {
			return end
		}
		n += more + 1
		if n == len(s) {
			return n
		}
	}
	return end
}

// startsParam says whether s begins with a name and "=".
func startsParam(s string) bool {
	name, _, ok := strings.Cut(s[:min(len(s), 80)], "=")
	return ok && isMIMEToken(strings.TrimRight(name, " \t"))
}

// newRawParam takes name*, name*0 and name*0* apart.
func newRawParam(name string) rawParam {
	r := rawParam{name: strings.ToLower(name), section: -1}
	r.name, r.extended = strings.CutSuffix(r.name, "*")
	if base, num, ok := strings.Cut(r.name, "*"); ok {
		if n, err := strconv.Atoi(num); err == nil && n >= 0 {
			r.name, r.section = base, n
		}
	}
	return r
}

// paramValue puts the value of a name together. The extended form wins over continuations, and these over the plain
// form, which is there for old readers.
func paramValue(raw []rawParam, name, charset string) string {
	var plain *rawParam
	var sections []rawParam
	for i, r := range raw {
		switch {
		case r.name != name:
		case r.section >= 0:
			sections = append(sections, r)
		case r.extended:
			return joinSections([]rawParam{r}, charset)
		case plain == nil:
			plain = &raw[i]
		}
	}
	if sections != nil {
		sort.SliceStable(sections, func(i, j int) bool { return sections[i].section < sections[j].section })
		return joinSections(sections, charset)
	}
	if name == "boundary" { // compared as octets
		return plain.value
	}
	return decodeWords(plain.value, charset)
}

// joinSections decodes RFC 2231 §3 and §4: sections in order, repeated ones dropped, up to the first gap. Some programs
// put encoded words into sections, or into an extended value; what was percent-encoded is never taken for one.
func joinSections(sections []rawParam, fallback string) string {
	var data []byte
	charset, next, encoded := "", sections[0].section, false
	for i, r := range sections {
		if r.section != next {
			if r.section < next {
				continue
			}
			break
		}
		next++
		if !r.extended {
			data = append(data, r.value...)
			continue
		}
		v := r.value
		if i == 0 {
			charset, v = cutExtended(v)
		}
		encoded = encoded || strings.Contains(v, "%")
		data = percentDecode(data, v)
	}
	switch {
	case !encoded && strings.Contains(string(data), "=?"):
		return decodeWords(string(data), fallback)
	case charset == "" && !utf8.Valid(data):
		return cleanText(decodeRaw(string(data), fallback))
	}
	return cleanText(decodeBytes(charset, data))
}

// cutExtended takes charset'language' off an extended value. Where the language and its quote are forgotten, the
// charset must be one that we know.
func cutExtended(v string) (charset, value string) {
	cs, tail, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	if _, text, ok := strings.Cut(tail, "'"); ok {
		return cs, text
	}
	if KnownCharset(cs) {
		return cs, tail
	}
	return "", v
}

func percentDecode(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return b
}

func percentEncode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		writePercent(&b, s[i])
	}
	return b.String()
}

// writePercent writes one octet in attribute-char of RFC 2231 §7 or as %XX.
func writePercent(b *strings.Builder, c byte) {
	if isAttributeChar(c) {
		b.WriteByte(c)
		return
	}
	b.WriteByte('%')
	b.WriteByte(hexDigits[c>>4])
	b.WriteByte(hexDigits[c&15])
}

func isAttributeChar(c byte) bool {
	return c > ' ' && c < 0x7F && strings.IndexByte(`()<>@,;:\"/[]?=*'%`, c) < 0
}

// maxSection is the room for one section of a parameter, so that ` name*10*=value;` stays within a line of 78 columns.
const maxSection = 50

// formatParam writes a parameter for a header, in one piece or several parameters. A short ASCII value is a token or a
// quoted string, unless it looks like an encoded word. Any other goes by RFC 2231, in sections when it is long. Only
// the old "name" of Content-Type has encoded words in its quotes: RFC 2047 §5 forbids that, but it is what readers
// without RFC 2231 know.
func formatParam(p Param) []string {
	p.Value = strings.ToValidUTF8(p.Value, "\uFFFD")
	if p.Name == "name" && (!isPrintableASCII(p.Value) || strings.Contains(p.Value, "=?")) {
		var words strings.Builder
		writeWords(&words, p.Value)
		return []string{`name="` + words.String() + `"`}
	}
	if isPrintableASCII(p.Value) && len(p.Value) <= maxSection && !strings.Contains(p.Value, "=?") {
		if isMIMEToken(p.Value) && !strings.ContainsAny(p.Value, "*'%") { // RFC 2231 made these special
			return []string{p.Name + "=" + p.Value}
		}
		return []string{p.Name + "=" + quoteString(p.Value)}
	}
	enc := "utf-8''" + percentEncode(p.Value)
	if len(enc) <= maxSection {
		return []string{p.Name + "*=" + enc}
	}
	var pieces []string
	section := "utf-8''"
	end := func() {
		pieces = append(pieces, p.Name+"*"+strconv.Itoa(len(pieces))+"*="+section)
		section = ""
	}
	for _, r := range p.Value { // whole characters, for readers that decode each section alone
		c := percentEncode(string(r))
		if len(section)+len(c) > maxSection {
			end()
		}
		section += c
	}
	end()
	return pieces
}
