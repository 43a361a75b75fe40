// Mailbox names on the wire: modified UTF-7, UTF-8, and INBOX in any case.
package main

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// mailboxName reads a mailbox's name: mUTF-7 (RFC 3501 §5.1.3), or UTF-8 once that is enabled. The answer is in NFC, with
// INBOX in capitals.
func (p *imapParser) mailboxName() string {
	name, err := p.c.decodeName(p.astring())
	if err != nil && p.err == nil {
		p.refuse(err)
	}
	return name
}

func (c *imapConn) decodeName(s string) (string, error) {
	if !c.utf8 && strings.Contains(s, "&") {
		var ok bool
		s, ok = imapDecodeName(s)
		if !ok {
			return "", imapNo("CANNOT", "The mailbox name is not valid modified UTF-7")
		}
	}
	if !utf8.ValidString(s) {
		return "", imapNo("CANNOT", "The mailbox name is not valid UTF-8")
	}
	return imapCanonical(s), nil
}

// imapCanonical writes INBOX in capitals, and the addresses of other users small.
func imapCanonical(name string) string {
	name = norm.NFC.String(name)
	if first, rest, _ := strings.Cut(name, "/"); first == OthersRoot && rest != "" {
		who, local, more := strings.Cut(rest, "/")
		if more {
			local = "/" + CanonicalName(local)
		}
		return first + "/" + strings.ToLower(who) + local
	}
	return CanonicalName(name)
}

// imapBase64 is the alphabet of modified UTF-7: "," instead of "/", no padding, and no stray bits at the end.
var imapBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// imapDecodeName decodes modified UTF-7 (RFC 3501 §5.1.3) and refuses all spellings but the one that imapEncodeName
// gives.
func imapDecodeName(s string) (string, bool) {
	var sb strings.Builder
	for rest := s; rest != ""; {
		plain, shifted, found := strings.Cut(rest, "&")
		sb.WriteString(plain)
		if !found {
			break
		}
		code, after, closed := strings.Cut(shifted, "-")
		if !closed {
			return "", false
		}
		rest = after
		if code == "" {
			sb.WriteByte('&')
			continue
		}
		b, err := imapBase64.DecodeString(code)
		if err != nil || len(b)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
		}
		sb.WriteString(string(utf16.Decode(units)))
	}
	name := sb.String()
	return name, imapEncodeName(name) == s
}

// imapEncodeName encodes UTF-8 as modified UTF-7.
func imapEncodeName(name string) string {
	var sb strings.Builder
	for rest := name; rest != ""; {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < ' ' || r > '~' || r == '&' })
		if i < 0 {
			sb.WriteString(rest)
			break
		}
		sb.WriteString(rest[:i])
		rest = rest[i:]
		if rest[0] == '&' {
			sb.WriteString("&-")
			rest = rest[1:]
			continue
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return ' ' <= r && r <= '~' })
		if n < 0 {
			n = len(rest)
		}
		var b []byte
		for _, u := range utf16.Encode([]rune(rest[:n])) {
			b = append(b, byte(u>>8), byte(u))
		}
		sb.WriteString("&" + imapBase64.EncodeToString(b) + "-")
		rest = rest[n:]
	}
	return sb.String()
}
