// Binary parts for whoever can't take them: encoded, and all else left as it is.
package main

import (
	"io"
)

// HasBinary says whether a leaf of the message holds octets that only a program which takes binary gets whole: a NUL,
// or bare CRs and LFs where they are no line ends. Of content that was stored it is said by its Form.
func (p *Part) HasBinary() bool {
	for _, c := range p.Parts {
		if c.HasBinary() {
			return true
		}
	}
	if len(p.Parts) > 0 {
		return false
	}
	return p.HasNUL || (p.Encoding == "binary" && p.Type != "text" && (p.BareLF || p.BareCR))
}

// EncodeBinary writes the message with such leaves in base64 or quoted-printable, labelled so (RFC 3516 §6), whatever
// they are signed by: somebody is going to read them. Nothing else is changed but bare LFs, which become CRLFs, and
// with utf8 false raw text in headers. ErrNotConvertible comes before the first octet is written: the message has more
// structure than its tree knows.
func EncodeBinary(w io.Writer, p *Part, r io.ReaderAt, utf8 bool) error {
	return PeerCan{EightBit: true, UTF8: utf8, reader: true}.Convert(w, p, r)
}
