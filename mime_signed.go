// Opaque-signed S/MIME: the message inside application/pkcs7-mime, without a look at the signature.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// MayBeSigned says whether the part is, by its labels, S/MIME that wraps what it signs (RFC 8551 §3.5.2). What is encrypted
// too, or holds certificates only, says so in smime-type; where that is missing, only Signed can tell.
func (p *Part) MayBeSigned() bool {
	switch {
	case p.Is("application", "pkcs7-mime"), p.Is("application", "x-pkcs7-mime"):
	case p.Is("application", "octet-stream") && strings.EqualFold(path.Ext(p.Filename()), ".p7m"):
	default:
		return false
	}
	kind := strings.ToLower(p.Param("smime-type"))
	return kind == "" || kind == "signed-data" || kind == "signed-receipt"
}

// errNotSigned is Signed's error for a part that is something else.
var errNotSigned = errors.New("no signed message")

// Signed reads the MIME entity inside a part for which MayBeSigned holds; the signature is not checked. It streams, in
// linear time and with a few KiB of memory: give it to a MIMEReader or a Spool. The error comes at once where the part
// is no signed-data of CMS (RFC 5652 §5.1) with its content inside, and from Read where it is damaged further on.
//
// The grammar is BER, because programs that stream write lengths that are not known yet and strings in pieces, which
// encoding/asn1 does not read.
func (p *Part) Signed(r io.ReaderAt) (io.Reader, error) {
	b := &berReader{src: bufio.NewReader(p.Decoded(r))}
	b.enter(berSequence) // ContentInfo
	kind := b.octets(berOID)
	if b.err == nil && !bytes.Equal(kind, oidSignedData) {
		return nil, errNotSigned
	}
	b.enter(berContext0)
	b.enter(berSequence) // SignedData
	b.skip()             // version
	b.skip()             // digestAlgorithms
	b.enter(berSequence) // EncapsulatedContentInfo
	b.octets(berOID)
	b.enter(berContext0)
	tag, n := b.header()
	if b.err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSigned, b.err)
	}
	if tag != berOctets && tag != berOctets|berConstructed { // certificates only
		return nil, errNotSigned
	}
	s := &berString{b: b}
	s.open(tag, n)
	return s, nil
}

// oidSignedData is 1.2.840.113549.1.7.2.
var oidSignedData = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02}

const (
	berOctets      = 0x04
	berOID         = 0x06
	berSequence    = 0x30
	berContext0    = 0xa0
	berConstructed = 0x20
	berIndefinite  = -1 // the length of what ends in two zero octets
	berDepth       = 16 // of values inside each other that are passed over, and of strings in pieces
	berMost        = 1 << 40
)

var errBER = errors.New("damaged ASN.1")

// berReader reads the tags and lengths of BER (X.690 §8.1) and keeps the first error.
type berReader struct {
	src *bufio.Reader
	pos int64
	err error
}

func (b *berReader) octet() byte {
	if b.err != nil {
		return 0
	}
	c, err := b.src.ReadByte()
	if err != nil {
		b.fail(err)
	}
	b.pos++
	return c
}

func (b *berReader) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.err == nil {
		b.err = err
	}
}

// header reads a tag of one octet, which all that CMS uses are, and a length.
func (b *berReader) header() (byte, int64) {
	tag := b.octet()
	size := b.octet()
	switch {
	case tag&0x1f == 0x1f, size > 0x80+8:
		b.fail(errBER)
	case size == 0x80 && tag&berConstructed != 0:
		return tag, berIndefinite
	case size < 0x80:
		return tag, int64(size)
	}
	var n int64
	for range size & 0x7f {
		n = n<<8 | int64(b.octet())
		if n > berMost {
			b.fail(errBER)
			return tag, 0
		}
	}
	return tag, n
}

// enter reads the header of a value that holds others.
func (b *berReader) enter(want byte) {
	if tag, _ := b.header(); tag != want {
		b.fail(errBER)
	}
}

// octets reads a short value.
func (b *berReader) octets(want byte) []byte {
	tag, n := b.header()
	if tag != want || n < 0 || n > 64 {
		b.fail(errBER)
		return nil
	}
	v := make([]byte, n)
	for i := range v {
		v[i] = b.octet()
	}
	return v
}

// skip passes over one value, whatever is in it.
func (b *berReader) skip() {
	open := 0 // values of unknown length
	for b.err == nil {
		tag, n := b.header()
		switch {
		case n == berIndefinite && open < berDepth:
			open++
			continue
		case n == berIndefinite:
			b.fail(errBER)
		case tag == 0 && n == 0 && open > 0:
			open--
		default:
			k, err := io.CopyN(io.Discard, b.src, n)
			b.pos += k
			if err != nil {
				b.fail(err)
			}
		}
		if open == 0 {
			return
		}
	}
}

// berString reads an OCTET STRING, in one piece or in pieces (X.690 §8.7).
type berString struct {
	b    *berReader
	ends []int64 // of the open strings that hold pieces; berIndefinite for an unknown end
	left int64   // of the piece in hand
}

func (s *berString) open(tag byte, n int64) {
	switch {
	case tag == berOctets:
		s.left = n
	case tag != berOctets|berConstructed || len(s.ends) == berDepth:
		s.b.fail(errBER)
	case n == berIndefinite:
		s.ends = append(s.ends, n)
	default:
		s.ends = append(s.ends, s.b.pos+n)
	}
}

// next finds the next piece; false at the end of the string.
func (s *berString) next() bool {
	for s.left == 0 && s.b.err == nil {
		for len(s.ends) > 0 && s.ends[len(s.ends)-1] == s.b.pos {
			s.ends = s.ends[:len(s.ends)-1]
		}
		if len(s.ends) == 0 {
			return false
		}
		tag, n := s.b.header()
		if tag == 0 && n == 0 && s.ends[len(s.ends)-1] == berIndefinite {
			s.ends = s.ends[:len(s.ends)-1]
			continue
		}
		s.open(tag, n)
	}
	return s.b.err == nil
}

func (s *berString) Read(p []byte) (int, error) {
	if !s.next() {
		if s.b.err != nil {
			return 0, s.b.err
		}
		return 0, io.EOF
	}
	n, err := s.b.src.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.b.pos += int64(n)
	if err != nil {
		s.b.fail(err)
		if n == 0 {
			return 0, s.b.err
		}
	}
	return n, nil
}
