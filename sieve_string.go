// Sieve's strings: encoded characters (RFC 5228 §2.4.2.4), variables and what set makes of them (RFC 5229).
package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	sieveMaxVariables = 128      // of one script; RFC 5229 §6 wants as many
	sieveMaxVariable  = 64 << 10 // octets of one
	sieveMaxName      = 64       // characters of a variable's name
	sieveMaxMatches   = 32       // ${0} and those that follow; RFC 5229 §6 wants ${9} at least
)

// sievePiece is a text or a variable: its name in small letters, or match for ${1}.
type sievePiece struct {
	text  string
	name  string
	match int // -1 unless it is a number
}

// pieces works through a string of the script: first encoded characters, then variables.
func (c *sieveCompiler) pieces(s *sieveString) {
	if !strings.Contains(s.text, "${") {
		return
	}
	if c.needs["encoded-character"] {
		text, bad := sieveEncoded(s.text)
		if bad != "" {
			c.fault(s.sievePos, "%s is no character", sieveQuote(bad))
		}
		s.text = text
	}
	if c.needs["variables"] {
		c.variables(s)
	}
}

// sieveEncoded replaces ${hex: …} and ${unicode: …}. What is not quite like that stays as it is; bad is a number that no character has.
func sieveEncoded(s string) (out, bad string) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			return b.String() + s, bad
		}
		b.WriteString(s[:i])
		s = s[i:]
		text, n, wrong := sieveEncodedAt(s)
		if wrong != "" {
			bad = wrong
		}
		if n == 0 {
			text, n = "$", 1
		}
		b.WriteString(text)
		s = s[n:]
	}
}

// sieveEncodedAt is what the beginning of s stands for, and how long that is: 0 if it is nothing of the kind.
func sieveEncodedAt(s string) (text string, n int, bad string) {
	body, _, ok := strings.Cut(s[2:], "}")
	kind, list, colon := strings.Cut(body, ":")
	kind = strings.ToLower(kind)
	if !ok || !colon || (kind != "hex" && kind != "unicode") {
		return "", 0, ""
	}
	words := strings.Fields(list)
	var b strings.Builder
	for _, w := range words {
		x, err := strconv.ParseUint(w, 16, 32)
		switch {
		case strings.Trim(w, "0123456789abcdefABCDEF") != "" || (kind == "hex" && len(w) > 2):
			return "", 0, ""
		case kind == "hex":
			b.WriteByte(byte(x))
		case err != nil || x > unicode.MaxRune || (x >= 0xd800 && x < 0xe000):
			bad = w
		default:
			b.WriteRune(rune(x))
		}
	}
	if len(words) == 0 {
		return "", 0, ""
	}
	return b.String(), len(body) + 3, bad
}

// variables finds ${name} in a string (RFC 5229 §3).
func (c *sieveCompiler) variables(s *sieveString) {
	var parts []sievePiece
	rest, from, found := s.text, 0, false
	for {
		i := strings.Index(rest[from:], "${")
		if i < 0 {
			break
		}
		i += from
		name, _, ok := strings.Cut(rest[i+2:], "}")
		name = strings.ToLower(name)
		if !ok || !sieveIsVariable(name) {
			from = i + 2
			continue
		}
		p := sievePiece{name: name, match: -1}
		if isDigit(name[0]) {
			n, err := strconv.Atoi(name)
			if err != nil || n >= sieveMaxMatches {
				c.fault(s.sievePos, "there is no ${%s}: the last one is ${%d}", clip(name), sieveMaxMatches-1)
			}
			p.match = n
		}
		if space, _, ok := strings.Cut(name, "."); ok && !c.namespace(space) {
			c.fault(s.sievePos, "there are no variables %s.…", clip(space))
		}
		if len(name) > sieveMaxName {
			c.fault(s.sievePos, "the name of this variable is too long")
		}
		if i > 0 {
			parts = append(parts, sievePiece{text: rest[:i], match: -1})
		}
		parts = append(parts, p)
		rest, from, found = rest[i+len(name)+3:], 0, true
	}
	if !found {
		return
	}
	if rest != "" {
		parts = append(parts, sievePiece{text: rest, match: -1})
	}
	s.parts = parts
}

// namespace says whether there are variables whose names begin so: global ones, once include is required (RFC 6609 §3.4.2).
func (c *sieveCompiler) namespace(space string) bool { return space == "global" && c.needs["include"] }

// sieveIsVariable knows the name of a variable: identifiers with dots between, or a number.
func sieveIsVariable(name string) bool {
	if name == "" {
		return false
	}
	if isDigit(name[0]) {
		return strings.Trim(name, "0123456789") == ""
	}
	for word := range strings.SplitSeq(name, ".") {
		if !sieveIsIdentifier(word) && (word == "" || strings.Trim(word, "0123456789") != "") {
			return false
		}
	}
	return true
}

func sieveIsIdentifier(s string) bool {
	return s != "" && !isDigit(s[0]) && !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf || !sieveIsWord(byte(r)) })
}

// strings are the values of an argument.
func (r *sieveRun) strings(a *sieveArg) []string {
	if a == nil {
		return nil
	}
	if a.consts != nil {
		return a.consts
	}
	all := make([]string, 0, len(a.strs))
	for i := range a.strs {
		all = append(all, r.text(&a.strs[i]))
	}
	return all
}

// str is the value of an argument that is one string; "" without it.
func (r *sieveRun) str(a *sieveArg) string {
	if a == nil {
		return ""
	}
	if len(a.consts) > 0 {
		return a.consts[0]
	}
	return strings.Join(r.strings(a), "")
}

// text is a string with its variables filled in, cut where it is longer than a variable may be.
func (r *sieveRun) text(s *sieveString) string {
	if s.parts == nil {
		return s.text
	}
	var b strings.Builder
	for _, p := range s.parts {
		switch {
		case p.match >= 0 && p.match < len(r.match):
			b.WriteString(r.match[p.match])
		case p.match >= 0:
		case p.name != "":
			b.WriteString(r.variable(p.name))
		default:
			b.WriteString(p.text)
		}
		if b.Len() > sieveMaxVariable {
			break
		}
	}
	r.work += int64(b.Len())
	return sieveCut(b.String(), sieveMaxVariable)
}

// sieveCut is at most n octets of s, which end with a character.
func sieveCut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (r *sieveRun) variable(name string) string {
	if g, ok := strings.CutPrefix(name, "global."); ok {
		return r.globals[g]
	}
	if r.shared[name] {
		return r.globals[name]
	}
	return r.vars[name]
}

// setVariable gives a variable a value. There can't be too many of them, because a script names each.
func (r *sieveRun) setVariable(n *sieveNode, name, value string) error {
	name = strings.ToLower(name)
	to := r.vars
	if g, ok := strings.CutPrefix(name, "global."); ok {
		name, to = g, r.globals
	} else if r.shared[name] {
		to = r.globals
	}
	if _, ok := to[name]; !ok && len(to) >= sieveMaxVariables {
		return &sieveFault{n.sievePos, "too many variables"}
	}
	to[name] = sieveCut(value, sieveMaxVariable)
	return nil
}

// checkVariable sees that set can set what it names.
func (c *sieveCompiler) checkVariable(n *sieveNode) {
	a := n.pos[0]
	c.checkVariableName(a.strs[0])
}

func (c *sieveCompiler) checkVariableName(s sieveString) {
	name := strings.ToLower(s.text)
	space, base, dotted := strings.Cut(name, ".")
	if !dotted {
		base = name
	}
	switch {
	case s.parts != nil || !sieveIsIdentifier(base) || (dotted && !c.namespace(space)):
		c.fault(s.sievePos, "%s can't be the name of a variable", sieveQuote(s.text))
	case len(name) > sieveMaxName:
		c.fault(s.sievePos, "the name of this variable is too long")
	}
}

// runSet sets a variable (RFC 5229 §4).
func (r *sieveRun) runSet(n *sieveNode) error {
	value, err := r.modified(n, r.str(n.pos[1]))
	if err != nil {
		return err
	}
	return r.setVariable(n, n.pos[0].strs[0].text, value)
}

// modified applies the modifiers of a set, the highest precedence first (RFC 5229 §4.1).
func (r *sieveRun) modified(n *sieveNode, v string) (string, error) {
	err := r.spend(int64(len(v)) * 4)
	if err != nil {
		return "", err
	}
	switch {
	case n.tags["lower"] != nil:
		v = sieveLower(v)
	case n.tags["upper"] != nil:
		v = strings.Map(sieveUpper, v)
	}
	switch {
	case v == "":
	case n.tags["lowerfirst"] != nil:
		v = sieveLower(v[:1]) + v[1:]
	case n.tags["upperfirst"] != nil && v[0] >= 'a' && v[0] <= 'z':
		v = string(v[0]-'a'+'A') + v[1:]
	}
	switch {
	case n.tags["quotewildcard"] != nil:
		v = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `\`, `\\`).Replace(v)
	case n.tags["quoteregex"] != nil:
		v = regexp.QuoteMeta(v)
	}
	if n.tags["encodeurl"] != nil {
		v = sieveEncodeURL(v)
	}
	if n.tags["length"] != nil {
		v = strconv.Itoa(utf8.RuneCountInString(v))
	}
	return v, nil
}

func sieveUpper(c rune) rune {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// sieveEncodeURL leaves what RFC 3986 §2.3 calls unreserved (RFC 5435 §6).
func sieveEncodeURL(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isAlnum(c) || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		if b.Len() > sieveMaxVariable {
			break
		}
	}
	return b.String()
}

// askString compares texts, variables in them (RFC 5229 §5). An empty one is not counted.
func (r *sieveRun) askString(n *sieveNode) (bool, error) {
	values := r.strings(n.pos[0])
	if n.match.kind == "count" {
		values = slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "" })
	}
	return r.matches(n, values)
}
