// Links that lie: their text names one place, and they lead to another. The oldest trick there is.
package main

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const webMaxLinkText = 2000 // octets of a link's text that are looked at

// webLinkText is a link of a mail and the text that a reader sees of it.
type webLinkText struct {
	address string
	text    strings.Builder
	turned  bool // a part of the text is written from right to left
	marked  bool
}

// add takes more text. A nil link takes none. Blanks become one, and what cannot be seen is left out: with it inside, a
// host's name would not look like one.
func (l *webLinkText) add(s string) {
	if l == nil {
		return
	}
	for _, r := range s {
		switch {
		case l.text.Len() >= webMaxLinkText:
			return
		case unicode.IsSpace(r):
			if !strings.HasSuffix(l.text.String(), " ") {
				l.text.WriteByte(' ')
			}
		case r == '\u202e' || r == '\u202b' || r == '\u2067':
			l.turned = true
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Mn, r) && r >= 0xfe00, unicode.IsControl(r), r == '\u034f', r == '\u115f', r == '\u3164':
		default:
			l.text.WriteRune(r)
		}
	}
}

// turn notes that what comes next is written from right to left.
func (l *webLinkText) turn(rtl bool) {
	if l != nil {
		l.turned = l.turned || rtl
	}
}

// webNamedHost finds what looks like the address of a host: after a scheme, or a name with dots. What follows it up to a
// blank belongs to it.
var webNamedHost = regexp.MustCompile(`(?i)(?:[a-z][a-z0-9+.-]{1,10}:/{1,3}([^\s/?#\\<>"']+)|((?:[\p{L}\p{M}\p{N}_-]+\.)+[\p{L}\p{M}0-9-]{2,24}))(?:[:/?#\\][^\s<>"']*)?`)

// webFileEndings end names of files that are shown in links. No domain ends in one of them.
var webFileEndings = strings.Fields("pdf doc docx xls xlsx ppt pptx odt ods txt csv jpg jpeg png gif html htm ics eml mp3 js json xml exe")

// leads returns where the link leads if its text names another host, else "".
func (l *webLinkText) leads() string {
	own := webLinkHost(l.address)
	if own == "" {
		return ""
	}
	text := norm.NFKC.String(strings.NewReplacer("。", ".", "．", ".", "｡", ".", "․", ".", "⁄", "/", "∕", "/").Replace(l.text.String()))
	texts := []string{text}
	if tight := strings.ReplaceAll(text, " ", ""); tight != text && len(tight) < 100 && webOnlyHost.MatchString(tight) {
		texts = append(texts, tight)
	}
	if l.turned {
		runes := []rune(text)
		slices.Reverse(runes)
		texts = append(texts, string(runes))
	}
	for _, t := range texts {
		for _, m := range webNamedHost.FindAllStringSubmatch(t, 20) {
			if webIsLie(m[1], m[2], own) {
				return own
			}
		}
	}
	return ""
}

// webOnlyHost is a text that is the name of a host and nothing else.
var webOnlyHost = regexp.MustCompile(`(?i)^(?:https?://)?(?:[\p{L}\p{M}\p{N}_-]+\.)+[\p{L}\p{M}]{2,24}/?$`)

// webIsLie says whether a text that was found in a link names another host than the link's own. authority is what stood
// behind a scheme, bare a name without one.
func webIsLie(authority, bare, own string) bool {
	shown := bare
	if authority != "" {
		if i := strings.LastIndexByte(authority, '@'); i >= 0 { // "https://bank.example@evil.example": neither may be another
			if strings.Contains(authority[:i], ".") && webIsLie("", authority[:i], own) {
				return true
			}
			authority = authority[i+1:]
		}
		shown, _, _ = strings.Cut(authority, ":")
	}
	shown = webHostASCII(shown)
	last := shown[strings.LastIndexByte(shown, '.')+1:]
	if _, err := netip.ParseAddr(shown); err == nil {
		return shown != own
	}
	if shown == "" || (authority == "" && (slices.Contains(webFileEndings, last) || strings.Trim(last, "0123456789") == "")) {
		return false
	}
	return !webSameHost(shown, own)
}

// webSameHost says whether a link to own keeps the promise of shown: the same host, or one below it. A host above it is
// somebody else's where people have hosts below one (co.uk, github.io), and so is one below such a short name.
func webSameHost(shown, own string) bool {
	shown, own = strings.TrimPrefix(shown, "www."), strings.TrimPrefix(own, "www.")
	if shown == own {
		return true
	}
	first, rest, _ := strings.Cut(shown, ".")
	public := (len(first) <= 3 && len(rest) == 2) || slices.Contains(webSharedDomains, shown)
	return strings.HasSuffix(own, "."+shown) && !public
}

// webSharedDomains are some under which anybody can have a name.
var webSharedDomains = strings.Fields("github.io gitlab.io blogspot.com wordpress.com netlify.app vercel.app pages.dev workers.dev web.app firebaseapp.com herokuapp.com azurewebsites.net cloudfront.net amazonaws.com weebly.com wixsite.com")

// webLinkHost is the host that an address leads to, in ASCII: of a mail address, its domain.
func webLinkHost(address string) string {
	address = strings.TrimSpace(address)
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.Scheme == "mailto" {
		to, _, _ := strings.Cut(u.Opaque, ",")
		to, err = url.PathUnescape(to)
		if err != nil {
			return ""
		}
		return webHostASCII(to[strings.LastIndexByte(to, '@')+1:])
	}
	return webHostASCII(u.Hostname())
}

func webHostASCII(host string) string {
	host = strings.Trim(strings.ToLower(host), ".")
	if ascii, err := DomainToASCII(host); err == nil {
		return ascii
	}
	return host
}
