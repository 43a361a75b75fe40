// Header fields: splitting, encoded words, RFC 2231, address lists, dates, charsets, base subject.
package main

import (
	"io"
	"time"
)

// Field is one header field. Value is everything after the colon, folding kept, without the final line end.
type Field struct{ Name, Value string }

// Header is a header block in its order.
type Header []Field

func ParseHeader(b []byte) Header           { return nil }
func (h Header) Get(name string) string     { return "" } // unfolded, trimmed, raw; first of that name
func (h Header) All(name string) []string   { return nil }
func (h Header) Text(name string) string    { return "" } // Get, encoded words and raw charsets decoded to UTF-8
func DecodeWords(s string) string           { return s }
func EncodeWords(s string) string           { return s }
func ParseDate(s string) (time.Time, error) { return time.Time{}, nil }
func FormatDate(t time.Time) string         { return "" }
func BaseSubject(s string) (string, bool)   { return s, false }
func MessageIDs(s string) []string          { return nil }

// Address is one entry of an address list. A group is a start (Domain "", Local its name), its members, and an
// end (all empty), as RFC 9051 §7.5.2 lists them.
type Address struct{ Name, Local, Domain string }

func ParseAddressList(s string) []Address { return nil }
func (a Address) String() string          { return "" }

// Envelope is RFC 9051 §2.3.5; strings are raw (encoded words not decoded).
type Envelope struct {
	Date, Subject                      string
	From, Sender, ReplyTo, To, Cc, Bcc []Address
	InReplyTo, MessageID               string
}

func ParseEnvelope(h Header) *Envelope { return nil }

// CharsetReader decodes r to UTF-8; unknown charsets decode as windows-1252, invalid input becomes U+FFFD.
func CharsetReader(charset string, r io.Reader) io.Reader { return r }
func KnownCharset(charset string) bool                    { return true }
