// SPF records as their domains publish them (RFC 7208 §12): read strictly and whole before anything in them is asked about.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// spfRecord is a record whose syntax is right.
type spfRecord struct {
	terms    []spfTerm
	redirect spfSpec // nil for none
}

// spfTerm is a mechanism.
type spfTerm struct {
	result string // what a match means
	kind   string // all, include, a, mx, ptr, ip4, ip6 or exists
	spec   spfSpec
	bits4  int // of an address that have to be the same: a and mx
	bits6  int
	net    netip.Prefix // ip4 and ip6
}

// spfSpec is a domain in which macros may stand, in pieces.
type spfSpec []spfPiece

// spfPiece is a text, or a macro if it has a letter.
type spfPiece struct {
	text    string
	letter  byte // in small letters
	escape  bool // it was a capital
	keep    int  // parts from the right; 0 are all
	reverse bool
	split   string // at these characters
}

var errSPF = errors.New("the SPF record")

// isSPF says whether a text is a record of this version (RFC 7208 §4.5).
func isSPF(text string) bool {
	version, _, _ := strings.Cut(text, " ")
	return strings.EqualFold(version, "v=spf1")
}

var spfQualifiers = map[byte]string{'+': resultPass, '-': resultFail, '~': "softfail", '?': resultPlain}

// parseSPF reads a record that isSPF. A fault anywhere is one of all of it (RFC 7208 §4.6).
func parseSPF(text string) (*spfRecord, error) {
	r := &spfRecord{}
	seen := map[string]bool{}
	for word := range strings.SplitSeq(text[len("v=spf1"):], " ") {
		if word == "" {
			continue
		}
		name, value, ok := strings.Cut(word, "=")
		if ok && isSPFName(name) {
			err := r.modifier(strings.ToLower(name), value, seen)
			if err != nil {
				return nil, fmt.Errorf("%w: %.40q: %w", errSPF, word, err)
			}
			continue
		}
		t, err := parseSPFTerm(word)
		if err != nil {
			return nil, fmt.Errorf("%w: %.40q: %w", errSPF, word, err)
		}
		r.terms = append(r.terms, t)
	}
	return r, nil
}

var (
	errSPFTwice   = errors.New("it stands there twice")
	errSPFUnknown = errors.New("there is no such mechanism")
	errSPFDomain  = errors.New("it has no domain that can be one")
	errSPFBits    = errors.New("that is no network")
	errSPFMore    = errors.New("there is something behind it")
	errSPFMacro   = errors.New("there is no such macro")
)

// isSPFName says whether a text can be the name of a modifier.
func isSPFName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || !strings.ContainsRune("0123456789-_.", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// modifier takes one in. Those that nobody knows are passed over if their macros are right (RFC 7208 §6).
func (r *spfRecord) modifier(name, value string, seen map[string]bool) error {
	if name != "redirect" && name != "exp" {
		_, err := parseSPFMacros(value)
		return err
	}
	if seen[name] {
		return errSPFTwice
	}
	seen[name] = true
	spec, err := parseSPFSpec(value)
	if name == "redirect" {
		r.redirect = spec
	} // an explanation is for the sender's eyes, and we give none
	return err
}

func parseSPFTerm(word string) (spfTerm, error) {
	t := spfTerm{result: resultPass, bits4: 32, bits6: 128}
	if q, ok := spfQualifiers[word[0]]; ok {
		t.result, word = q, word[1:]
	}
	end := strings.IndexAny(word, ":/")
	if end < 0 {
		end = len(word)
	}
	var rest string
	t.kind, rest = strings.ToLower(word[:end]), word[end:]
	domain, given := strings.CutPrefix(rest, ":")
	var err error
	switch t.kind {
	case "all":
		if rest != "" {
			err = errSPFMore
		}
	case "include", "exists":
		t.spec, err = parseSPFSpec(domain)
		if !given {
			err = errSPFDomain
		}
	case "ptr":
		switch {
		case given:
			t.spec, err = parseSPFSpec(domain)
		case rest != "":
			err = errSPFMore
		}
	case "a", "mx":
		domain, t.bits4, t.bits6, err = cutSPFBits(domain)
		switch {
		case err == nil && given:
			t.spec, err = parseSPFSpec(domain)
		case err == nil && domain != "":
			err = errSPFBits
		}
	case "ip4", "ip6":
		t.net, err = parseSPFNet(domain, t.kind == "ip6")
		if !given {
			err = errSPFBits
		}
	default:
		err = errSPFUnknown
	}
	return t, err
}

// cutSPFBits takes the lengths of prefixes off the end: /24, //64 or /24//64.
func cutSPFBits(s string) (rest string, four, six int, err error) {
	four, six = 32, 128
	if i := strings.LastIndex(s, "//"); i >= 0 && isDigits(s[i+2:]) {
		six, err = spfBits(s[i+2:], 128)
		if err != nil {
			return "", 0, 0, err
		}
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '/'); i >= 0 && isDigits(s[i+1:]) {
		four, err = spfBits(s[i+1:], 32)
		s = s[:i]
	}
	return s, four, six, err
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// spfBits is a length without a zero in front.
func spfBits(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n > most || strconv.Itoa(n) != s {
		return 0, errSPFBits
	}
	return n, nil
}

func parseSPFNet(s string, six bool) (netip.Prefix, error) {
	addr, bits, cut := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Is6() != six || ip.Zone() != "" {
		return netip.Prefix{}, errSPFBits
	}
	n := ip.BitLen()
	if cut {
		n, err = spfBits(bits, n)
	}
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(ip, n).Masked(), nil
}

// parseSPFSpec reads a domain-spec: macros and text, and at its end a macro or a top label (RFC 7208 §7.1).
func parseSPFSpec(s string) (spfSpec, error) {
	spec, err := parseSPFMacros(s)
	if err != nil {
		return nil, err
	}
	if len(spec) == 0 {
		return nil, errSPFDomain
	}
	last := spec[len(spec)-1]
	if last.letter != 0 || strings.HasSuffix(s, "%%") || strings.HasSuffix(s, "%_") || strings.HasSuffix(s, "%-") {
		return spec, nil
	}
	text := strings.TrimSuffix(last.text, ".")
	i := strings.LastIndexByte(text, '.')
	if i < 0 || !isSPFTop(text[i+1:]) {
		return nil, errSPFDomain
	}
	return spec, nil
}

// isSPFTop says whether a label can be a top one: letters, digits and hyphens, and not all digits.
func isSPFTop(s string) bool {
	letter := false
	for i := range len(s) {
		c := s[i] | 0x20
		switch {
		case c >= 'a' && c <= 'z', s[i] == '-' && i > 0 && i < len(s)-1:
			letter = true
		case s[i] < '0' || s[i] > '9':
			return false
		}
	}
	return letter
}

// parseSPFMacros takes a macro-string apart.
func parseSPFMacros(s string) (spfSpec, error) {
	var all spfSpec
	text := ""
	flush := func() {
		if text != "" {
			all = append(all, spfPiece{text: text})
			text = ""
		}
	}
	for s != "" {
		end := strings.IndexByte(s, '%')
		if end < 0 {
			end = len(s)
		}
		for i := range end {
			if s[i] <= ' ' || s[i] > '~' {
				return nil, errSPFDomain
			}
		}
		text += s[:end]
		s = s[end:]
		if s == "" {
			break
		}
		simple := map[string]string{"%%": "%", "%_": " ", "%-": "%20"}[s[:min(2, len(s))]]
		if simple != "" {
			text += simple
			s = s[2:]
			continue
		}
		end = strings.IndexByte(s, '}')
		if end < 0 || s[1] != '{' {
			return nil, errSPFMacro
		}
		p, err := parseSPFMacro(s[2:end])
		if err != nil {
			return nil, err
		}
		flush()
		all = append(all, p)
		s = s[end+1:]
	}
	flush()
	return all, nil
}

// parseSPFMacro reads what is between the braces.
func parseSPFMacro(s string) (spfPiece, error) {
	if s == "" || !strings.Contains("slodiphv", strings.ToLower(s[:1])) { // c, r and t are for explanations
		return spfPiece{}, errSPFMacro
	}
	p := spfPiece{letter: s[0] | 0x20, escape: s[0] < 'a', split: "."}
	s = s[1:]
	digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	if digits != "" {
		n, err := strconv.Atoi(digits)
		if err != nil || n == 0 {
			return spfPiece{}, errSPFMacro
		}
		p.keep, s = n, s[len(digits):]
	}
	if s != "" && s[0]|0x20 == 'r' {
		p.reverse, s = true, s[1:]
	}
	if strings.Trim(s, ".-+,/_=") != "" {
		return spfPiece{}, errSPFMacro
	}
	if s != "" {
		p.split = s
	}
	return p, nil
}
