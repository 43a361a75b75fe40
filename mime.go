// MIME: bytes become a tree of parts with offsets, learned while they stream past.
package main

import "io"

// Part is one node of a message's MIME tree (RFC 2045). Offsets count octets from the start of the message.
type Part struct {
	HeaderOff, HeaderLen int64 // the header block with its final empty line
	BodyOff, BodyLen     int64
	Lines                int64 // CRLFs in the body (and one for an unfinished last line)

	Type, Subtype string // lower case; text/plain unless said otherwise
	Params        []Param
	ID, Desc      string // Content-ID, Content-Description, raw
	Encoding      string // Content-Transfer-Encoding, lower case; "7bit" unless said
	MD5           string
	Disp          string // Content-Disposition, lower case; "" none
	DispParams    []Param
	Lang          []string
	Location      string
	Has8bit       bool // an octet above 127 was seen in the body (of a leaf)
	HasNUL        bool
	LongLine      bool // a line over 998 octets was seen

	Envelope *Envelope // of the message inside, for message/rfc822 and message/global
	Parts    []*Part   // of a multipart; the one inner message of a message/rfc822
}

// Param is one parameter of Content-Type or Content-Disposition, name in lower case, RFC 2231 continuations
// joined and decoded to UTF-8.
type Param struct{ Name, Value string }

// MIMEReader is an io.Writer that learns the tree of the message written to it.
type MIMEReader struct{}

func NewMIMEReader() *MIMEReader                       { return nil }
func (m *MIMEReader) Write(p []byte) (int, error)      { return len(p), nil }
func (m *MIMEReader) Tree() *Part                      { return nil }
func (p *Part) Param(name string) string               { return "" }
func (p *Part) Filename() string                       { return "" }
func (p *Part) Shift(n int64)                          {}
func (p *Part) Find(path []int) *Part                  { return nil }
func (p *Part) Walk(fn func(path []int, p *Part) bool) {}
func (p *Part) Marshal() []byte                        { return nil }
func UnmarshalPart(b []byte) (*Part, error)            { return nil, nil }
func (p *Part) Raw(r io.ReaderAt) io.Reader            { return nil }
func (p *Part) Decoded(r io.ReaderAt) io.Reader        { return nil }
func (p *Part) Text(r io.ReaderAt) io.Reader           { return nil }
func (p *Part) TextPart(subtype string) *Part          { return nil }
func (p *Part) Attachments() []*Part                   { return nil }
func Preview(p *Part, r io.ReaderAt, n int) string     { return "" }
