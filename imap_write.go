// IMAP's grammar as a client reads it: strings, literals, names and sets.
package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

func (c *imapConn) putf(format string, a ...any) { fmt.Fprintf(c.w, format, a...) }

// putString writes a quoted string where that is possible, else a literal.
func (c *imapConn) putString(s string) {
	if !c.quotable(s) {
		c.putf("{%d}\r\n", len(s))
		c.w.WriteString(s)
		return
	}
	c.w.WriteByte('"')
	for strings.IndexByte(s, '"') >= 0 || strings.IndexByte(s, '\\') >= 0 {
		i := strings.IndexAny(s, `"\`)
		c.w.WriteString(s[:i])
		c.w.WriteByte('\\')
		c.w.WriteByte(s[i])
		s = s[i+1:]
	}
	c.w.WriteString(s)
	c.w.WriteByte('"')
}

// imapQuoteMax is the longest string that is sent in quotes; some clients limit their line length.
const imapQuoteMax = 1000

// quotable says whether s may stand in quotes: UTF-8 may once the client has enabled it (RFC 9051 §9 QUOTED-CHAR).
func (c *imapConn) quotable(s string) bool {
	if len(s) > imapQuoteMax {
		return false
	}
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] == '\r' || s[i] == '\n' || s[i] == 0 {
			return false
		}
		ascii = ascii && s[i] < 0x80
	}
	return ascii || (c.utf8 && utf8.ValidString(s))
}

// putNString writes a string, or NIL for "".
func (c *imapConn) putNString(s string) {
	if s == "" {
		c.w.WriteString("NIL")
		return
	}
	c.putString(s)
}

// putAstring writes an atom where that is possible, else a string.
func (c *imapConn) putAstring(s string) {
	for i := range len(s) {
		if !imapAtomChar(s[i]) || s[i] >= 0x80 {
			c.putString(s)
			return
		}
	}
	if s == "" || strings.EqualFold(s, "NIL") {
		c.putString(s)
		return
	}
	c.w.WriteString(s)
}

// putLiteral8 writes a literal of octets that may contain NUL: "~{n}" (RFC 3516 §4.2, RFC 9051 §9 literal8).
func (c *imapConn) putLiteral8(b []byte) {
	c.putf("~{%d}\r\n", len(b))
	c.w.Write(b)
}

// putMailbox writes a mailbox's name as mUTF-7, or as UTF-8 once that is enabled. It is always in quotes: some clients
// misread names in literals.
func (c *imapConn) putMailbox(name string) {
	if !c.utf8 {
		name = imapEncodeName(name)
	}
	c.w.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`)
}

// imapSet writes sorted numbers as a sequence set with exact ranges.
func imapSet(uids []UID) string {
	var sb strings.Builder
	for i := 0; i < len(uids); {
		j := i
		for j+1 < len(uids) && uids[j+1] == uids[j]+1 {
			j++
		}
		if i > 0 {
			sb.WriteByte(',')
		}
		sb.WriteString(strconv.FormatUint(uint64(uids[i]), 10))
		if j > i {
			sb.WriteString(":" + strconv.FormatUint(uint64(uids[j]), 10))
		}
		i = j + 1
	}
	return sb.String()
}
