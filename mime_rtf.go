// Compressed RTF, as Outlook keeps formatted bodies (MS-OXRTFCP).
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// rtfReader undoes LZFu: a flag octet for eight tokens, each a literal or a reference into the last 4096 octets.
type rtfReader struct {
	src   *bufio.Reader
	plain bool
	dict  [rtfDict]byte
	write int
	flags byte
	bits  int
	ref   int // where the reference in hand goes on
	left  int // octets left of it
	err   error
}

const (
	rtfDict       = 4096
	rtfCompressed = 0x75465a4c // "LZFu"
	rtfPlain      = 0x414c454d // "MELA"
)

// rtfStart is what the dictionary begins with (MS-OXRTFCP §2.1.2.1).
const rtfStart = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

// newRTFReader reads the header: its size, the size of the text, the kind, a sum.
func newRTFReader(r io.Reader) *rtfReader {
	z := &rtfReader{src: bufio.NewReader(r)}
	var head [16]byte
	_, z.err = io.ReadFull(z.src, head[:])
	switch kind := binary.LittleEndian.Uint32(head[8:]); {
	case z.err != nil:
	case kind == rtfPlain:
		z.plain = true
	case kind != rtfCompressed:
		z.err = fmt.Errorf("compressed RTF of unknown kind %x", kind)
	}
	z.write = copy(z.dict[:], rtfStart)
	return z
}

func (z *rtfReader) Read(p []byte) (int, error) {
	if z.err == nil && z.plain {
		return z.src.Read(p)
	}
	n := 0
	for n < len(p) && z.err == nil {
		if z.left == 0 && !z.token(p, &n) {
			continue
		}
		for z.left > 0 && n < len(p) {
			c := z.dict[z.ref%rtfDict]
			z.ref++
			z.left--
			p[n] = z.put(c)
			n++
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, z.err
}

// token reads the next token and says whether it is a reference to copy. A literal goes to p at once.
func (z *rtfReader) token(p []byte, n *int) bool {
	if z.bits == 0 {
		z.flags = z.octet()
		z.bits = 8
	}
	isRef := z.flags&1 != 0
	z.flags >>= 1
	z.bits--
	c := z.octet()
	if !isRef {
		if z.err == nil {
			p[*n] = z.put(c)
			*n++
		}
		return false
	}
	word := int(c)<<8 | int(z.octet())
	z.ref, z.left = word>>4, word&15+2
	if z.err == nil && z.ref == z.write%rtfDict { // a reference to here is the end
		z.err = io.EOF
	}
	if z.err != nil {
		z.left = 0
	}
	return z.left > 0
}

func (z *rtfReader) octet() byte {
	if z.err != nil {
		return 0
	}
	var c byte
	c, z.err = z.src.ReadByte()
	return c
}

func (z *rtfReader) put(c byte) byte {
	z.dict[z.write%rtfDict] = c
	z.write++
	return c
}
