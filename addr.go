// SMTP paths and mail addresses: parse, print, compare, IDNA.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Sizes of RFC 5321 §4.5.3.1, in octets. The section calls them minimums that everybody must accept and asks for as few
// limits as possible. Local parts of list software (VERP, SRS) are longer in practice, so an overlong local part is
// accepted; the path and the domain are hard limits.
const (
	maxDomain = 255
	maxPath   = 256
	maxLabel  = 63 // of a domain name, in its A-label form (RFC 1035 §2.3.4)
)

// Addr is a mail address (RFC 5321 §4.1.2 Mailbox). The zero Addr is the null path <>.
//
// Parsing gives every address one spelling: quotes that are not needed are dropped, the domain is in lower case with
// U-labels, and an address literal has its canonical text. ParseAddr(a.String()) gives back a.
type Addr struct {
	Local  string // without quoting, as the sender wrote it; may be UTF-8 (RFC 6531)
	Domain string // lower case, U-labels, or an address literal with its brackets; "" only for <> and <postmaster>
}

// String is the address without angle brackets, its local part quoted when it must be. It is "" for the null path and
// "postmaster" for the postmaster without a domain.
func (a Addr) String() string {
	if a.Domain == "" {
		return a.Local
	}
	return quoteLocal(a.Local) + "@" + a.Domain
}

// Path is the address in angle brackets, UTF-8 where it has to be. To a peer without SMTPUTF8 send ASCIIPath.
func (a Addr) Path() string { return "<" + a.String() + ">" }

// ASCIIPath is the path for a peer without SMTPUTF8, the domain in A-labels; false when the local part is not ASCII,
// because then no such form exists (RFC 6530 §8).
func (a Addr) ASCIIPath() (string, bool) {
	if !isASCII(a.Local) {
		return "", false
	}
	d, err := DomainToASCII(a.Domain)
	if err != nil {
		return "", false
	}
	a.Domain = d
	return a.Path(), true
}

// IsZero says whether a is the null path.
func (a Addr) IsZero() bool { return a == Addr{} }

// Key is the form under which addresses are stored and compared: both halves in lower case, NFC. Domains are so
// already.
func (a Addr) Key() string {
	a.Local = norm.NFC.String(strings.ToLower(norm.NFC.String(a.Local)))
	return a.String()
}

// IsASCII says whether the address can be sent without SMTPUTF8 (the domain may become A-labels).
func (a Addr) IsASCII() bool {
	_, ok := a.ASCIIPath()
	return ok
}

// IP is the address in an address-literal domain; false for a name.
func (a Addr) IP() (netip.Addr, bool) { return LiteralIP(a.Domain) }

// LiteralIP reads an address literal in the form ParseDomain gives; false for a name.
func LiteralIP(domain string) (netip.Addr, bool) {
	if !strings.HasPrefix(domain, "[") || !strings.HasSuffix(domain, "]") {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(strings.TrimPrefix(domain[1:len(domain)-1], "IPv6:"))
	return ip, err == nil
}

// ParseAddr reads a whole string as a Mailbox (RFC 5321 §4.1.2, RFC 6531 §3.3), without angle brackets. The error says
// in a few words what is wrong.
func ParseAddr(s string) (Addr, error) { return parseAddr(s, false) }

// parseAddr is ParseAddr; loose takes dots where no dot-string has them, as telephones' addresses do ("a..b@", "a.@"). They are
// written with quotes from then on, which is the same mailbox.
func parseAddr(s string, loose bool) (Addr, error) {
	if err := checkAddrText(s); err != nil {
		return Addr{}, err
	}
	a, rest, err := parseMailbox(s, loose)
	if err == nil && rest != "" {
		err = fmt.Errorf("unexpected %q after the address", clip(rest))
	}
	if err != nil {
		return Addr{}, err
	}
	return a, nil
}

// ParsePath reads a forward or reverse path at the start of s and returns what follows it.
//
// Grammar (RFC 5321 §4.1.2): Path = "<" [ A-d-l ":" ] Mailbox ">", also "<>" and "<postmaster>". The source route A-d-l
// is dropped, as the RFC's appendix C allows. Old devices leave a space after the colon of MAIL FROM:, pad the
// brackets, or leave them out; then the path ends at the first space. Dots at the wrong places of a local part are taken.
func ParsePath(s string) (Addr, string, error) { return ParsePathIn(s, "") }

// ParsePathIn is ParsePath for a client whose names without a domain are in one of ours; "" is none.
func ParsePathIn(s, domain string) (Addr, string, error) {
	s = strings.TrimLeft(s, " ")
	path, rest, err := cutPath(s)
	if err != nil {
		return Addr{}, "", err
	}
	if err := checkAddrText(path); err != nil {
		return Addr{}, "", err
	}
	if path == "" {
		return Addr{}, rest, nil
	}
	path, err = dropRoute(path)
	if err != nil {
		return Addr{}, "", err
	}
	if strings.EqualFold(path, "postmaster") {
		return Addr{Local: path}, rest, nil
	}
	if domain != "" && !strings.Contains(path, "@") {
		path += "@" + domain
	}
	if !strings.HasSuffix(path, "@.") {
		path = strings.TrimSuffix(path, ".") // the root of the DNS, which some programs write
	}
	a, err := parseAddr(path, true)
	if err != nil {
		return Addr{}, "", err
	}
	return a, rest, nil
}

// cutPath separates the path from what follows. A ">" or a space inside a quoted local part does not end it.
func cutPath(s string) (path, rest string, err error) {
	open := strings.HasPrefix(s, "<")
	end := byte(' ')
	if open {
		s, end = s[1:], '>'
	}
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == end && !quoted && open:
			return strings.Trim(s[:i], " "), s[i+1:], nil
		case c == end && !quoted:
			return s[:i], s[i:], nil
		}
	}
	if open {
		return "", "", errors.New("no closing > in the path")
	}
	if s == "" {
		return "", "", errors.New("no path")
	}
	return s, "", nil
}

// dropRoute cuts a source route "@a,@b:" off the path, after a look at its syntax.
func dropRoute(path string) (string, error) {
	if !strings.HasPrefix(path, "@") {
		return path, nil
	}
	route, mailbox, ok := cutRoute(path)
	if !ok {
		return "", errors.New("source route without a colon")
	}
	for _, hop := range strings.Split(route, ",") {
		d, ok := strings.CutPrefix(strings.Trim(hop, " "), "@")
		if !ok {
			return "", fmt.Errorf("bad source route %q", clip(route))
		}
		if _, err := ParseDomain(d); err != nil {
			return "", err
		}
	}
	return mailbox, nil
}

// cutRoute splits at the colon that ends the route; the colons of an IPv6 literal do not.
func cutRoute(path string) (route, mailbox string, ok bool) {
	literal := false
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '[':
			literal = true
		case ']':
			literal = false
		case ':':
			if !literal {
				return path[:i], path[i+1:], true
			}
		}
	}
	return "", "", false
}

// checkAddrText refuses what no address may hold: controls (also the C1 ones), invalid UTF-8, line and paragraph
// separators, and more octets than a path has.
func checkAddrText(s string) error {
	if len(s) > maxPath-2 {
		return fmt.Errorf("address of %d octets, over the path limit of %d", len(s), maxPath)
	}
	if !utf8.ValidString(s) {
		return errors.New("address is not valid UTF-8")
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("control character %U in the address", r)
		}
	}
	return nil
}

// parseMailbox reads Local-part "@" ( Domain / address-literal ), and returns what is behind it.
func parseMailbox(s string, loose bool) (Addr, string, error) {
	local, rest, err := parseLocal(s, loose)
	if err != nil {
		return Addr{}, "", err
	}
	if !strings.HasPrefix(rest, "@") {
		if rest == "" {
			return Addr{}, "", errors.New("no @domain in the address")
		}
		return Addr{}, "", fmt.Errorf("unexpected %q in the local part", clip(rest))
	}
	domain := rest[1:]
	end := strings.IndexAny(domain, " <>()\",;")
	if end < 0 {
		end = len(domain)
	}
	d, err := ParseDomain(domain[:end])
	if err != nil {
		return Addr{}, "", err
	}
	a := Addr{Local: local, Domain: d}
	if n := len(a.Path()); n > maxPath { // an A-label may be shorter than its U-label
		return Addr{}, "", fmt.Errorf("address of %d octets, over the path limit of %d", n, maxPath)
	}
	return a, domain[end:], nil
}

// parseLocal reads Dot-string or Quoted-string and returns the content.
func parseLocal(s string, loose bool) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return parseQuotedLocal(s)
	}
	i := 0
	for i < len(s) && (isAtext(s[i]) || s[i] == '.') {
		i++
	}
	local = s[:i]
	switch {
	case local == "":
		return "", "", errors.New("no local part before the @")
	case !loose && !isDotString(local):
		return "", "", fmt.Errorf("misplaced dot in the local part %q", clip(local))
	}
	return local, s[i:], nil
}

// parseQuotedLocal reads Quoted-string: printable ASCII, spaces and UTF-8; a backslash takes the next character as it
// is.
func parseQuotedLocal(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) || s[i] >= utf8.RuneSelf {
				return "", "", errors.New("bad \\ in the quoted local part")
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("no closing quote in the local part")
}

// quoteLocal writes a local part so that parseLocal reads it back.
func quoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(local); i++ {
		if local[i] == '"' || local[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isDotString says whether s is atoms joined by single dots.
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '.' && !isAtext(s[i]) {
			return false
		}
	}
	return true
}

// isAtext is atext of RFC 5322 §3.2.3, with UTF-8 as RFC 6531 §3.3 and RFC 6532 §3.2 add it.
func isAtext(c byte) bool {
	return c >= utf8.RuneSelf || ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// ParseDomain gives a domain name or address literal its one spelling: lower case with U-labels, or canonical text in
// brackets. Names need no dot and may hold underscores: machine names on a LAN do. A name that looks like an IPv4
// address is left a name; a device that forgets the brackets means the address.
func ParseDomain(s string) (string, error) {
	if err := checkAddrText(s); err != nil {
		return "", err
	}
	if s == "" {
		return "", errors.New("no domain after the @")
	}
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	ascii, err := DomainToASCII(s)
	if err != nil {
		return "", err
	}
	return DomainToUnicode(ascii), nil
}

// parseLiteral reads "[" IPv4 "]" or "[IPv6:" IPv6 "]" (RFC 5321 §4.1.3). A bare IPv6 address in brackets is meant the
// same way. No other tag has ever been registered.
func parseLiteral(s string) (string, error) {
	text, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", errors.New("no closing ] in the address literal")
	}
	v6 := false
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text, v6 = text[5:], true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" || (v6 && ip.Is4()) {
		return "", fmt.Errorf("bad address literal %q", clip(s))
	}
	if ip.Is4() {
		return "[" + ip.String() + "]", nil
	}
	return "[IPv6:" + ip.String() + "]", nil
}

// domainProfile maps and checks names as a look-up does (RFC 5891 §5, UTS 46, not transitional). Its ASCII rules are
// off because we check ASCII labels ourselves.
var domainProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

// DomainToASCII turns a domain name into lower case A-labels and checks its syntax and length; address literals and ""
// pass as they are.
func DomainToASCII(d string) (string, error) {
	if d == "" || d[0] == '[' {
		return d, nil
	}
	ascii := strings.ToLower(d)
	if !isASCII(d) {
		var err error
		ascii, err = domainProfile.ToASCII(d)
		if err != nil {
			return "", fmt.Errorf("%q is not a domain name", clip(d))
		}
	}
	if len(ascii) > maxDomain {
		return "", fmt.Errorf("domain of %d octets, over %d", len(ascii), maxDomain)
	}
	for _, label := range strings.Split(ascii, ".") {
		if len(label) > maxLabel {
			return "", fmt.Errorf("domain label of %d octets, over %d", len(label), maxLabel)
		}
		if !isHostLabel(label) {
			return "", fmt.Errorf("%q is not a domain name", clip(d))
		}
	}
	return ascii, nil
}

// isHostLabel is sub-domain of RFC 5321 §4.1.2, in lower case, with the underscores that real names have.
func isHostLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// DomainToUnicode turns A-labels into U-labels. A label that does not decode, or whose decoded form would not encode to
// the same label, stays as it is: so the way back is always open, and no two names look like one.
func DomainToUnicode(d string) string {
	if !strings.Contains(d, "xn--") {
		return d
	}
	labels := strings.Split(d, ".")
	for i, label := range labels {
		if !strings.HasPrefix(label, "xn--") {
			continue
		}
		u, err := domainProfile.ToUnicode(label)
		if err != nil || isASCII(u) || checkAddrText(u) != nil {
			continue
		}
		if back, err := domainProfile.ToASCII(u); err == nil && back == label {
			labels[i] = u
		}
	}
	u := strings.Join(labels, ".")
	if back, err := DomainToASCII(u); err != nil || back != d {
		return d // valid labels that are not valid together (the Bidi rule, RFC 5893)
	}
	return u
}

// isASCII says whether s has only octets below 128.
func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// clip shortens a sender's words for an error message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// lanName says whether a name means something on the local network only: no MX is asked for, and that it is not there
// passes. A name without a dot is one, and what ends in .local (RFC 6762 §3), .internal, .lan or home.arpa (RFC 8375).
func lanName(name string) bool {
	for _, top := range []string{"local", "internal", "lan", "home.arpa"} {
		if strings.HasSuffix("."+name, "."+top) {
			return true
		}
	}
	return !strings.Contains(name, ".")
}

// publicName says whether a name in A-labels may mean something on the internet: a CA that everybody trusts signs for such ones only.
func publicName(name string) bool {
	for _, top := range []string{"arpa", "test", "invalid", "localhost", "onion"} { // RFC 6761, RFC 7686; .example is for documents, and for our tests
		if strings.HasSuffix("."+name, "."+top) {
			return false
		}
	}
	return !lanName(name) && !strings.ContainsAny(name, "[]*: ")
}
