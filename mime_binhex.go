// BinHex 4.0 (RFC 1741): the Macintosh's files in lines of text, as a part of their own or inside a text.
package main

import (
	"encoding/binary"
	"strings"
)

// binHexLetters stand for six bits each.
const binHexLetters = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

const (
	binHexBegin  = "(This file must be converted with BinHex" // the line in front of a file
	binHexRepeat = 0x90                                       // what comes next says how often the octet before is there
	binHexFixed  = 22                                         // octets of the header beside the name
)

// binHex decodes the data fork of a file; the resource fork is for Macintoshes of then only.
type binHex struct {
	begun   bool // the colon in front was read
	bits    uint32
	nbits   uint
	last    byte
	repeats bool
	head    []byte
	left    int64 // octets of the data fork
}

// line decodes a line, appends what is in the file to dst, and says whether it was the last line.
func (d *binHex) line(dst, text []byte) ([]byte, bool) {
	if !d.begun {
		if len(text) == 0 {
			return dst, false
		}
		if text[0] != ':' {
			return dst, true
		}
		d.begun, text = true, text[1:]
	}
	for _, c := range text {
		v := strings.IndexByte(binHexLetters, c)
		if v < 0 && (c == ' ' || c == '\t') {
			continue
		}
		if v < 0 { // a colon, or what is no such file
			return dst, true
		}
		d.bits, d.nbits = d.bits<<6|uint32(v), d.nbits+6
		if d.nbits < 8 {
			continue
		}
		d.nbits -= 8
		dst = d.octet(dst, byte(d.bits>>d.nbits))
		if d.whole() && d.left == 0 {
			return dst, true
		}
	}
	return dst, false
}

// octet undoes repetitions.
func (d *binHex) octet(dst []byte, b byte) []byte {
	switch {
	case d.repeats && b == 0:
		d.repeats = false
		return d.put(dst, binHexRepeat)
	case d.repeats:
		d.repeats = false
		for range b - 1 {
			dst = d.put(dst, d.last)
		}
		return dst
	case b == binHexRepeat:
		d.repeats = true
		return dst
	}
	return d.put(dst, b)
}

// put takes an octet of the header or the data fork.
func (d *binHex) put(dst []byte, b byte) []byte {
	d.last = b
	if d.whole() {
		if d.left > 0 {
			d.left--
			dst = append(dst, b)
		}
		return dst
	}
	d.head = append(d.head, b)
	if d.whole() {
		d.left = int64(binary.BigEndian.Uint32(d.head[int(d.head[0])+12:]))
	}
	return dst
}

// whole says whether all of the header is known.
func (d *binHex) whole() bool { return len(d.head) > 0 && len(d.head) == int(d.head[0])+binHexFixed }

// name is the file's name, as far as it is known.
func (d *binHex) name() string {
	if !d.whole() {
		return ""
	}
	return decodeBytes("macintosh", d.head[1:1+int(d.head[0])])
}

// IsBinHex says whether the part is a file in BinHex.
func (p *Part) IsBinHex() bool {
	switch p.Subtype {
	case "mac-binhex40", "mac-binhex", "x-binhex40", "x-binhex", "binhex":
		return p.Type == "application"
	}
	return !p.IsMultipart() && !p.IsMessage() && strings.HasSuffix(strings.ToLower(p.Filename()), ".hqx")
}
