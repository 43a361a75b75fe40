// Base64 in pieces: its lines are stored as the octets that they stand for, which are three quarters of it and can be compressed.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// base64Lines says where in some octets there are lines of base64, all of one length and each with CRLF. In a piece it is three varints.
type base64Lines struct {
	before int // octets in front of them
	count  int
	groups int // of four letters in a line
}

const (
	base64Least  = 4   // lines that are taken, at least
	base64Short  = 10  // groups of a line, at least
	base64Longer = 240 // and at most
)

// findBase64 finds the longest run of lines that may be base64: take finds out whether they are.
func findBase64(octets []byte) (base64Lines, bool) {
	var best, run base64Lines
	for at := 0; at < len(octets); {
		n := bytes.IndexByte(octets[at:], '\n') + 1
		if n == 0 {
			break
		}
		groups := (n - 2) / 4
		switch {
		case n%4 != 2 || octets[at+n-2] != '\r' || groups < base64Short || groups > base64Longer:
			run = base64Lines{}
		case run.groups == groups:
			run.count++
		default:
			run = base64Lines{before: at, count: 1, groups: groups}
		}
		if run.octets() > best.octets() {
			best = run
		}
		at += n
	}
	return best, best.count >= base64Least
}

// octets is how many octets the lines have.
func (l base64Lines) octets() int { return l.count * (4*l.groups + 2) }

// left is how many octets n become when the lines are taken out of them.
func (l base64Lines) left(n int) int { return n - l.count*(l.groups+2) }

// take appends the octets with what the lines stand for in their place, and says whether they are base64.
func (l base64Lines) take(dst, octets []byte) ([]byte, bool) {
	dst = append(dst, octets[:l.before]...)
	rest := octets[l.before:]
	for range l.count {
		var err error
		had := len(dst)
		dst, err = base64.StdEncoding.AppendDecode(dst, rest[:4*l.groups])
		if err != nil || len(dst)-had != 3*l.groups {
			return nil, false
		}
		rest = rest[4*l.groups+2:]
	}
	return append(dst, rest...), true
}

// append is what a piece for n octets has in front of them.
func (l base64Lines) append(stored []byte, n int) []byte {
	for _, v := range []int{n, l.before, l.count, l.groups} {
		stored = binary.AppendUvarint(stored, uint64(v))
	}
	return stored
}

// readBase64 reads what append wrote behind n. The lines are within n octets.
func readBase64(stored []byte, n int) (base64Lines, []byte, error) {
	var v [3]int
	for i := range v {
		x, size := binary.Uvarint(stored)
		if size <= 0 || x > uint64(n) {
			return base64Lines{}, nil, fmt.Errorf("%w: lines of base64 cut short", ErrContentDamaged)
		}
		v[i], stored = int(x), stored[size:]
	}
	l := base64Lines{before: v[0], count: v[1], groups: v[2]}
	if l.groups < 1 || l.groups > base64Longer || l.count > n/(4*l.groups+2) || l.before > n-l.octets() {
		return base64Lines{}, nil, fmt.Errorf("%w: %d lines of %d behind %d of %d octets", ErrContentDamaged, l.count, l.groups, l.before, n)
	}
	return l, stored, nil
}

// put appends what take was given to dst, which must have room for it.
func (l base64Lines) put(dst, taken []byte, table *base64Table) []byte {
	dst = append(dst, taken[:l.before]...)
	taken = taken[l.before:]
	for range l.count {
		at := len(dst)
		dst = dst[:at+4*l.groups+2]
		table.encode(dst[at:], taken[:3*l.groups])
		copy(dst[at+4*l.groups:], "\r\n")
		taken = taken[3*l.groups:]
	}
	return append(dst, taken...)
}

// base64Table has two letters for each twelve bits: half of the work of one for each six.
type base64Table [1 << 12]uint16

func newBase64Table() *base64Table {
	t := &base64Table{}
	for i := range t {
		t[i] = binary.LittleEndian.Uint16(base64.StdEncoding.AppendEncode(nil, []byte{byte(i >> 4), byte(i << 4), 0}))
	}
	return t
}

// encode writes the letters of octets, which must be a multiple of three, to dst.
func (t *base64Table) encode(dst, octets []byte) {
	for len(octets) >= 6 && len(dst) >= 8 {
		v := uint64(octets[0])<<40 | uint64(octets[1])<<32 | uint64(octets[2])<<24 | uint64(octets[3])<<16 | uint64(octets[4])<<8 | uint64(octets[5])
		binary.LittleEndian.PutUint64(dst, uint64(t[v>>36])|uint64(t[v>>24&0xfff])<<16|uint64(t[v>>12&0xfff])<<32|uint64(t[v&0xfff])<<48)
		octets, dst = octets[6:], dst[8:]
	}
	if len(octets) >= 3 && len(dst) >= 4 {
		v := uint32(octets[0])<<16 | uint32(octets[1])<<8 | uint32(octets[2])
		binary.LittleEndian.PutUint32(dst, uint32(t[v>>12])|uint32(t[v&0xfff])<<16)
	}
}
