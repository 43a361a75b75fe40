// Sets of UIDs as a session keeps them: 195 sessions may each know 50,000 messages.
package main

import (
	"cmp"
	"math/bits"
	"slices"
)

// imapUIDs is a sorted set of UIDs. An index in it is a sequence number less one. It takes 16 octets for each 64 UIDs of
// which it has one: a quarter of an octet a message where none is missing, and never more than that for each UID that there
// ever was. The zero value is empty. A copy shares its memory: only one of the two may be changed.
type imapUIDs struct {
	blocks []imapUIDBlock // sorted, none of them empty
	n      int
}

// imapUIDBlock is those of 64 neighbouring UIDs that are in the set.
type imapUIDBlock struct {
	base   uint32 // the UIDs divided by 64
	before uint32 // UIDs of the blocks in front
	bits   uint64
}

// imapUIDsOf is the set of a sorted list.
func imapUIDsOf(uids []UID) imapUIDs {
	var s imapUIDs
	for _, u := range uids {
		s.add(u)
	}
	return s
}

func (s *imapUIDs) len() int { return s.n }

// last is the highest UID, 0 if there is none.
func (s *imapUIDs) last() UID {
	if s.n == 0 {
		return 0
	}
	b := s.blocks[len(s.blocks)-1]
	return UID(b.base)<<6 | UID(bits.Len64(b.bits)-1)
}

// add puts in a UID that is above all others.
func (s *imapUIDs) add(u UID) {
	base, bit := uint32(u>>6), uint64(1)<<(u&63)
	if k := len(s.blocks); k > 0 && s.blocks[k-1].base == base {
		s.blocks[k-1].bits |= bit
	} else {
		s.blocks = append(s.blocks, imapUIDBlock{base, uint32(s.n), bit})
	}
	s.n++
}

// find returns where a UID is, or would be, and whether it is there.
func (s *imapUIDs) find(u UID) (int, bool) {
	k, ok := s.block(u)
	if !ok {
		if k == len(s.blocks) {
			return s.n, false
		}
		return int(s.blocks[k].before), false
	}
	b, bit := s.blocks[k], uint64(1)<<(u&63)
	return int(b.before) + bits.OnesCount64(b.bits&(bit-1)), b.bits&bit != 0
}

// block returns where the block of a UID is, or would be.
func (s *imapUIDs) block(u UID) (int, bool) {
	return slices.BinarySearchFunc(s.blocks, uint32(u>>6), func(b imapUIDBlock, base uint32) int { return cmp.Compare(b.base, base) })
}

func (s *imapUIDs) has(u UID) bool {
	_, ok := s.find(u)
	return ok
}

// at is the UID with an index.
func (s *imapUIDs) at(i int) UID {
	one := s.appendTo(make([]UID, 0, 1), i, i+1)
	return one[0]
}

// appendTo appends the UIDs with the indexes from lo to below hi.
func (s *imapUIDs) appendTo(list []UID, lo, hi int) []UID {
	if lo >= hi {
		return list
	}
	k, here := slices.BinarySearchFunc(s.blocks, uint32(lo), func(b imapUIDBlock, i uint32) int { return cmp.Compare(b.before, i) })
	if !here {
		k--
	}
	skip := lo - int(s.blocks[k].before)
	for left := hi - lo; left > 0; k++ {
		rest := s.blocks[k].bits
		for ; rest != 0 && left > 0; rest &= rest - 1 {
			if skip > 0 {
				skip--
				continue
			}
			list = append(list, UID(s.blocks[k].base)<<6|UID(bits.TrailingZeros64(rest)))
			left--
		}
	}
	return list
}

// all lists the UIDs.
func (s *imapUIDs) all() []UID { return s.appendTo(make([]UID, 0, s.n), 0, s.n) }

// insert puts UIDs in, wherever they belong.
func (s *imapUIDs) insert(uids []UID) {
	for _, u := range uids {
		k, ok := s.block(u)
		if !ok {
			s.blocks = slices.Insert(s.blocks, k, imapUIDBlock{base: uint32(u >> 6)})
		}
		s.blocks[k].bits |= 1 << (u & 63)
	}
	s.count()
}

// remove takes UIDs out; some may not be in it.
func (s *imapUIDs) remove(uids []UID) {
	for _, u := range uids {
		if k, ok := s.block(u); ok {
			s.blocks[k].bits &^= 1 << (u & 63)
		}
	}
	s.blocks = slices.DeleteFunc(s.blocks, func(b imapUIDBlock) bool { return b.bits == 0 })
	s.count()
}

// count numbers the blocks anew.
func (s *imapUIDs) count() {
	s.n = 0
	for k := range s.blocks {
		s.blocks[k].before = uint32(s.n)
		s.n += bits.OnesCount64(s.blocks[k].bits)
	}
}
