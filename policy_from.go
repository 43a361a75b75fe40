// Who a message says that it is from, in all the ways in which that can be written so that a person believes it.
package main

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// senderClaim is how much a message's header looks like one of our own people's.
type senderClaim int

const (
	claimNone  senderClaim = iota
	claimLooks             // it looks so to somebody who does not look closely: a name, a subdomain, letters that are alike
	claimLocal             // an address in it is one of ours
)

const claimMost = 200 // domains of a field that are looked at; a field with more of them looks like everything

// claimFields are the fields that say who somebody is (RFC 5322 §3.6.2, §3.6.6).
var claimFields = map[string]bool{"from": true, "sender": true, "resent-from": true, "resent-sender": true}

// claimChecker knows what is ours.
type claimChecker struct {
	own     func(domain string) bool // a domain as ParseDomain gives it, or a literal
	domains []string                 // ours, as ParseDomain gives them
}

// header says what a whole header claims, and the address or domain that does so.
func (c claimChecker) header(header string) (senderClaim, string) {
	most, who := claimNone, ""
	for rest := header; rest != ""; {
		var raw string
		raw, rest = cutField(rest)
		if isBlankLine(raw) {
			break
		}
		name, value, _ := strings.Cut(raw, ":")
		if !claimFields[strings.ToLower(strings.TrimSpace(withoutControls(name)))] {
			continue
		}
		claim, by := c.field(withoutControls(value))
		if claim > most {
			most, who = claim, by
		}
	}
	return most, who
}

// withoutControls is a text without the octets that some programs pass over: NUL and its like, and line ends.
func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if (r < ' ' && r != '\t') || r == 0x7F {
			return -1
		}
		return r
	}, s)
}

// field says what the value of one field claims.
func (c claimChecker) field(value string) (senderClaim, string) {
	w := claimWalk{c: c, seen: map[string]bool{}}
	for _, a := range ParseAddressList(value) {
		if a.Domain != "" {
			w.domain(a.Domain, claimLocal)
		}
	}
	for _, d := range domainsIn(bareText(value)) {
		w.domain(d, claimLocal)
	}
	for _, d := range domainsIn(norm.NFKC.String(DecodeWords(value))) {
		w.domain(d, claimLooks)
	}
	return w.most, w.who
}

// claimWalk looks at the domains of a field, each once.
type claimWalk struct {
	c    claimChecker
	seen map[string]bool
	most senderClaim
	who  string
}

// domain takes one into account; strong is what it claims if it is ours.
func (w *claimWalk) domain(d string, strong senderClaim) {
	d = strings.Trim(d, ".")
	key := d + string(rune('0'+strong))
	if d == "" || w.seen[key] {
		return
	}
	w.seen[key] = true
	claim := claimLooks
	if len(w.seen) <= claimMost {
		claim = w.c.domain(d, strong)
	}
	if claim > w.most {
		w.most, w.who = claim, d
	}
}

func (c claimChecker) domain(d string, strong senderClaim) senderClaim {
	parsed, err := ParseDomain(d)
	if err == nil && c.own(parsed) {
		return strong
	}
	if err != nil {
		parsed = strings.ToLower(d)
	}
	shape := nameShape(parsed)
	for _, own := range c.domains {
		if strings.HasSuffix(parsed, "."+own) || strings.HasPrefix(parsed, own+".") || shape == nameShape(own) {
			return claimLooks
		}
	}
	return claimNone
}

// bareText is a field's value without quoted strings, comments and encoded words, which are names and not addresses.
func bareText(s string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (quoted || depth > 0):
			i++
		case quoted:
			quoted = c != '"'
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '"':
			quoted = true
		case strings.HasPrefix(s[i:], "=?"):
			end := strings.Index(s[i:], "?=")
			if end < 0 {
				return b.String()
			}
			i += end + 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// domainsIn lists what stands behind each @ of a text, up to what can't be in a domain.
func domainsIn(s string) []string {
	var all []string
	for {
		i := strings.IndexByte(s, '@')
		if i < 0 || len(all) > claimMost {
			return all
		}
		s = strings.TrimLeft(s[i+1:], " \t")
		end := strings.IndexAny(s, " \t<>,;:()\"@\\")
		if strings.HasPrefix(s, "[") {
			end = strings.IndexByte(s, ']') + 1
		}
		if end < 0 {
			end = len(s)
		}
		d := s[:min(end, maxDomain*4)]
		if d != "" {
			all = append(all, d)
		}
	}
}

// shapes are letters of other scripts, and others of ours, that look like a Latin one in most fonts.
var shapes = strings.NewReplacer(
	"а", "a", "ɑ", "a", "α", "a", "Ь", "b", "с", "c", "ϲ", "c", "ԁ", "d", "ɗ", "d", "е", "e", "ҽ", "e", "ε", "e", "ɡ", "g", "һ", "h", "н", "h",
	"і", "i", "ι", "i", "ı", "i", "ɩ", "i", "ј", "j", "κ", "k", "к", "k", "ӏ", "l", "ⅼ", "l", "1", "l", "м", "m", "ո", "n", "п", "n", "η", "n",
	"о", "o", "ο", "o", "օ", "o", "0", "o", "р", "p", "ρ", "p", "ԛ", "q", "г", "r", "ѕ", "s", "т", "t", "τ", "t", "ս", "u", "υ", "u", "μ", "u",
	"ν", "v", "ѵ", "v", "ѡ", "w", "ԝ", "w", "ω", "w", "х", "x", "χ", "x", "у", "y", "γ", "y", "ʏ", "y", "ᴢ", "z", "rn", "m", "vv", "w", "cl", "d")

// nameShape is a domain as the eye sees it: names with one shape are easily taken for each other.
func nameShape(domain string) string {
	s := norm.NFKD.String(strings.ToLower(domain))
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
	return shapes.Replace(s)
}
