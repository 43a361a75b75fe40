// How Sieve compares: comparators (RFC 4790, 5051), match types (RFC 5228 §2.7.1, 5231, regex) and what a match leaves behind.
package main

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// sieveComparator is one of the four comparators.
type sieveComparator uint8

const (
	sieveASCIICase sieveComparator = iota // the default (RFC 5228 §2.7.3)
	sieveOctet
	sieveNumeric
	sieveUnicode
)

var sieveComparators = map[string]sieveComparator{
	"i;ascii-casemap": sieveASCIICase, "i;octet": sieveOctet, "i;ascii-numeric": sieveNumeric, "i;unicode-casemap": sieveUnicode,
}

// sieveMaxRegexp is how long a regular expression may be.
const sieveMaxRegexp = 1 << 10

// What comparing costs, in units of work, for each octet: measured on amd64, where a unit is about a nanosecond.
const (
	sieveCostText   = 2
	sieveCostFold   = 8
	sieveCostRegexp = 30 // and one more for each four octets of the expression
)

// sieveMatch is how a test compares.
type sieveMatch struct {
	kind    string // is, contains, matches, regex, count, value
	rel     string // gt, ge, lt, le, eq, ne
	cmp     sieveComparator
	folded  []string // the keys, if they are constant
	regexps []*regexp.Regexp
}

// checkMatch makes the match of a test. Its keys are its last argument.
func (c *sieveCompiler) checkMatch(n *sieveNode) {
	m := &sieveMatch{kind: "is"}
	n.match = m
	for _, kind := range []string{"contains", "matches", "regex", "count", "value"} {
		a := n.tags[kind]
		if a == nil {
			continue
		}
		m.kind = kind
		if kind == "count" || kind == "value" {
			m.rel = strings.ToLower(strings.Join(a.consts, ""))
			if len(m.rel) != 2 || !strings.Contains("gt ge lt le eq ne", m.rel) {
				c.fault(a.sievePos, ":%s needs gt, ge, lt, le, eq or ne", kind)
			}
		}
	}
	if a := n.tags["comparator"]; a != nil {
		name := strings.Join(a.consts, "")
		cmp, ok := sieveComparators[name]
		switch {
		case !ok:
			c.fault(a.sievePos, "there is no comparator %s", sieveQuote(name))
			return
		case cmp != sieveASCIICase && cmp != sieveOctet && !c.needs["comparator-"+name]: // RFC 5228 §2.7.3
			c.fault(a.sievePos, "the comparator %s needs require %s", name, sieveQuote("comparator-"+name))
		case cmp == sieveNumeric && (m.kind == "contains" || m.kind == "matches" || m.kind == "regex"):
			c.fault(a.sievePos, "the comparator %s can't be used with :%s", name, m.kind)
		}
		m.cmp = cmp
	}
	if len(n.pos) == 0 {
		return
	}
	keys := n.pos[len(n.pos)-1]
	if m.kind == "regex" {
		c.checkRegexps(m, keys)
		return
	}
	if keys.consts == nil {
		return
	}
	for _, k := range keys.consts {
		m.folded = append(m.folded, m.cmp.fold(k))
	}
}

// checkRegexps compiles constant expressions; all others wait until they are known.
func (c *sieveCompiler) checkRegexps(m *sieveMatch, keys *sieveArg) {
	for _, s := range keys.strs {
		if s.parts != nil {
			m.regexps = nil
			return
		}
		re, err := m.compile(s.text)
		if err != "" {
			c.fault(s.sievePos, "%s", err)
			return
		}
		m.regexps = append(m.regexps, re)
	}
}

// compile makes an expression: Go's syntax, which has what POSIX has but back references, and its longest match. Its time is linear in
// the text. It returns what is wrong in words.
func (m *sieveMatch) compile(pattern string) (*regexp.Regexp, string) {
	if len(pattern) > sieveMaxRegexp {
		return nil, "the regular expression is too long"
	}
	flags := "(?s)"
	if m.cmp != sieveOctet {
		flags = "(?si)"
	}
	re, err := regexp.Compile(flags + pattern)
	if err != nil {
		return nil, "bad regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	re.Longest()
	return re, ""
}

// fold maps a text so that what the comparator takes for equal is equal.
func (cmp sieveComparator) fold(s string) string {
	switch cmp {
	case sieveASCIICase:
		return sieveLower(s)
	case sieveUnicode:
		if isASCII(s) {
			return sieveLower(s)
		}
		return strings.Map(sieveTitle, norm.NFKD.String(strings.Map(sieveTitle, s))) // RFC 5051 §2
	}
	return s
}

// sieveTitle is a letter in title case; ASCII is folded the other way by fold, which is the same for comparing.
func sieveTitle(r rune) rune { return unicode.ToLower(unicode.ToTitle(r)) }

// sieveLower maps A to Z only.
func sieveLower(s string) string {
	i := 0
	for i < len(s) && (s[i] < 'A' || s[i] > 'Z') {
		i++
	}
	if i == len(s) {
		return s
	}
	b := []byte(s)
	for ; i < len(b); i++ {
		if b[i] >= 'A' && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// compare orders two texts that are folded already.
func (cmp sieveComparator) compare(a, b string) int {
	if cmp != sieveNumeric {
		return strings.Compare(a, b)
	}
	x, y := sieveDigits(a), sieveDigits(b)
	switch { // what does not begin with a digit is infinity (RFC 4790 §9.1.1)
	case x == "" && y == "":
		return 0
	case x == "":
		return 1
	case y == "":
		return -1
	case len(x) != len(y):
		return len(x) - len(y)
	}
	return strings.Compare(x, y)
}

// sieveDigits is the number at the beginning of s without zeros in front, "" without any.
func sieveDigits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 {
		return ""
	}
	d := strings.TrimLeft(s[:n], "0")
	if d == "" {
		d = "0"
	}
	return d
}

func sieveRelation(rel string, order int) bool {
	switch rel {
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	case "ne":
		return order != 0
	}
	return order == 0
}

// keys are what a test compares with.
func (r *sieveRun) keys(n *sieveNode) (keys, folded []string) {
	a := n.pos[len(n.pos)-1]
	keys = r.strings(a)
	if n.match.folded != nil {
		return keys, n.match.folded
	}
	folded = make([]string, 0, len(keys))
	for _, k := range keys {
		folded = append(folded, n.match.cmp.fold(k))
	}
	return keys, folded
}

// matches says whether one of the values matches one of the test's keys. :count compares how many values there are.
func (r *sieveRun) matches(n *sieveNode, values []string) (bool, error) {
	m := n.match
	if m.kind == "count" {
		_, folded := r.keys(n)
		count := strconv.Itoa(len(values))
		for _, k := range folded { // a text and the default comparator compare numbers here, too (RFC 5231 §4.2)
			if sieveRelation(m.rel, sieveNumeric.compare(count, k)) {
				return true, nil
			}
		}
		return false, nil
	}
	if m.kind == "regex" {
		return r.matchesRegexp(n, values)
	}
	keys, folded := r.keys(n)
	for _, v := range values {
		fv := m.cmp.fold(v)
		if err := r.spend(int64(len(v)) * sieveCostFold); err != nil {
			return false, err
		}
		for i, k := range folded {
			ok, err := r.matchOne(m, v, fv, keys[i], k)
			if ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

func (r *sieveRun) matchOne(m *sieveMatch, v, fv, key, k string) (bool, error) {
	err := r.spend(int64(len(v)+len(key))*sieveCostText + 10)
	if err != nil {
		return false, err
	}
	switch m.kind {
	case "contains":
		return strings.Contains(fv, k), nil
	case "matches":
		spans, ok, err := r.glob(m.cmp, key, v)
		if ok && r.script.needs["variables"] {
			r.matched(v, spans)
		}
		return ok, err
	case "value":
		return sieveRelation(m.rel, m.cmp.compare(fv, k)), nil
	}
	return m.cmp.compare(fv, k) == 0, nil
}

// matched keeps what a match leaves behind: pairs of offsets, the whole first (RFC 5229 §3.2).
func (r *sieveRun) matched(v string, spans []int) {
	r.match = r.match[:0:0]
	for i := 0; i+1 < len(spans) && len(r.match) < sieveMaxMatches; i += 2 {
		text := ""
		if spans[i] >= 0 {
			text = v[spans[i]:spans[i+1]]
		}
		r.match = append(r.match, text)
	}
}

// glob matches with * and ? (RFC 5228 §2.7.1). It returns the offsets of the whole and of what each wildcard stands for; each takes as
// little as it can, from the left.
func (r *sieveRun) glob(cmp sieveComparator, pattern, v string) ([]int, bool, error) {
	type mark struct{ p, v, spans int } // where the last * was, how far it reaches
	spans := make([]int, 2, 8)
	spans[1] = len(v)
	var star mark
	have := false
	p, i := 0, 0
	for steps := int64(1); ; steps++ {
		if steps&0xfff == 0 {
			err := r.spend(0x1000 * 4)
			if err != nil {
				return nil, false, err
			}
		}
		if p < len(pattern) && pattern[p] == '*' {
			spans = append(spans, i, i)
			p++
			star, have = mark{p, i, len(spans)}, true
			continue
		}
		if p == len(pattern) && i == len(v) {
			return spans, true, nil
		}
		if p < len(pattern) && i < len(v) {
			size := cmp.width(v[i:])
			if pattern[p] == '?' {
				spans = append(spans, i, i+size)
				p++
				i += size
				continue
			}
			q := p
			if pattern[q] == '\\' && q+1 < len(pattern) {
				q++
			}
			wide := cmp.width(pattern[q:])
			if cmp.same(pattern[q:q+wide], v[i:i+size]) {
				p = q + wide
				i += size
				continue
			}
		}
		if !have || star.v == len(v) {
			return nil, false, nil
		}
		star.v += cmp.width(v[star.v:])
		p, i, spans = star.p, star.v, spans[:star.spans]
		spans[star.spans-1] = i
	}
}

// width is how many octets the first character of s has.
func (cmp sieveComparator) width(s string) int {
	if cmp == sieveOctet || s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// same compares two characters.
func (cmp sieveComparator) same(a, b string) bool {
	if a == b {
		return true
	}
	if len(a) == 1 && len(b) == 1 {
		x, y := a[0]|0x20, b[0]|0x20
		return cmp != sieveOctet && x == y && x >= 'a' && x <= 'z'
	}
	return cmp == sieveUnicode && cmp.fold(a) == cmp.fold(b)
}

func (r *sieveRun) matchesRegexp(n *sieveNode, values []string) (bool, error) {
	m := n.match
	keys := r.strings(n.pos[len(n.pos)-1])
	for _, v := range values {
		for i, k := range keys {
			err := r.spend(int64(len(v)) * int64(sieveCostRegexp+len(k)/4))
			if err != nil {
				return false, err
			}
			var re *regexp.Regexp
			if m.regexps != nil {
				re = m.regexps[i]
			} else {
				re, err = r.regexp(n, k)
			}
			if err != nil {
				return false, err
			}
			if re == nil {
				continue
			}
			spans := re.FindStringSubmatchIndex(v)
			if spans == nil {
				continue
			}
			if r.script.needs["variables"] {
				r.matched(v, spans)
			}
			return true, nil
		}
	}
	return false, nil
}

// regexp compiles an expression with a variable in it, which costs. nil is one that can't be, and matches nothing.
func (r *sieveRun) regexp(n *sieveNode, pattern string) (*regexp.Regexp, error) {
	err := r.spend(int64(len(pattern)) * 1000)
	if err != nil {
		return nil, err
	}
	re, _ := n.match.compile(pattern)
	return re, nil
}
