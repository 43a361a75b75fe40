// Johab (KS X 1001 annex 3, code page 1361): Korean, in which a syllable is the five bits of each of its letters. And CESU-8 (Unicode
// Technical Report 26): UTF-8 whose characters beyond the first 65,536 are two halves of UTF-16.
package main

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/transform"
)

// The letters that five bits stand for, by the order in which Unicode counts them from 1; 0 is none of these.
const (
	johabFirst  = "\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	johabMiddle = "\x00\x00\x00\x01\x02\x03\x04\x05\x00\x00\x06\x07\x08\x09\x0a\x0b\x00\x00\x0c\x0d\x0e\x0f\x10\x11\x00\x00\x12\x13\x14\x15\x00\x00"
	johabLast   = "\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x00\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x00\x00"
	johabFill   = 1 // for a first or last letter that is not there
	johabFill2  = 2 // for a middle one
)

var (
	johabAlone     = []rune("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ")         // first letters that stand alone
	johabLastAlone = []rune("ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ") // last ones
)

// johabSyllable is the character of two octets below the signs; RuneError for none.
func johabSyllable(code uint16) rune {
	a, b, c := code>>10&31, code>>5&31, code&31
	first, middle, last := rune(johabFirst[a]), rune(johabMiddle[b]), rune(johabLast[c])
	switch {
	case first > 0 && middle > 0 && (last > 0 || c == johabFill):
		return 0xac00 + ((first-1)*21+middle-1)*28 + last
	case first > 0 && b == johabFill2 && c == johabFill:
		return johabAlone[first-1]
	case a == johabFill && middle > 0 && c == johabFill:
		return 0x314f + middle - 1
	case a == johabFill && b == johabFill2 && last > 0:
		return johabLastAlone[last-1]
	}
	return utf8.RuneError
}

// johabSign is the character of two octets that stand for a place in KS X 1001: signs and Chinese characters.
func johabSign(lead, trail byte) rune {
	column := int(trail) - 0x31
	if trail >= 0x91 {
		column = int(trail) - 0x43
	}
	row := 2 * (int(lead) - 0xd9)
	if lead >= 0xe0 {
		row = 2*int(lead) - 0x197
	}
	if trail < 0x31 || (trail > 0x7e && trail < 0x91) || trail > 0xfe || lead > 0xf9 || lead == 0xdf {
		return utf8.RuneError
	}
	row, column = row+column/94, column%94
	b, err := korean.EUCKR.NewDecoder().Bytes([]byte{byte(row + 0xa1), byte(column + 0xa1)})
	r, _ := utf8.DecodeRune(b)
	if err != nil {
		return utf8.RuneError
	}
	return r
}

// johabDecoder reads Johab.
type johabDecoder struct{ transform.NopResetter }

func (johabDecoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		r, n := rune(src[nSrc]), 1
		if r >= utf8.RuneSelf {
			if !atEOF && nSrc+1 == len(src) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			r = utf8.RuneError
			if nSrc+1 < len(src) && src[nSrc+1] > ' ' {
				lead, trail := src[nSrc], src[nSrc+1]
				n, r = 2, johabSyllable(uint16(lead)<<8|uint16(trail))
				if lead >= 0xd9 {
					r = johabSign(lead, trail)
				}
			}
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// halvesDecoder joins halves of UTF-16 that stand in UTF-8, and passes all else.
type halvesDecoder struct{ transform.NopResetter }

const halves = 6 // octets of two of them

func (halvesDecoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		rest := src[nSrc:]
		if rest[0] == 0xed && !atEOF && len(rest) < halves {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if r := twoHalves(rest); r != utf8.RuneError {
			nDst += utf8.EncodeRune(dst[nDst:], r)
			nSrc += halves
			continue
		}
		dst[nDst] = rest[0]
		nDst++
		nSrc++
	}
	return nDst, nSrc, nil
}

// twoHalves is the character whose halves b begins with, RuneError for none.
func twoHalves(b []byte) rune {
	if len(b) < halves || b[0] != 0xed || b[3] != 0xed {
		return utf8.RuneError
	}
	half := func(b []byte) rune { return 0xd000 | rune(b[1]&0x3f)<<6 | rune(b[2]&0x3f) }
	return utf16.DecodeRune(half(b), half(b[3:]))
}

// hasHalves says whether text in UTF-8 has a character in two halves.
func hasHalves(b []byte) bool {
	for {
		i := bytes.IndexByte(b, 0xed)
		if i < 0 {
			return false
		}
		b = b[i:]
		if twoHalves(b) != utf8.RuneError {
			return true
		}
		b = b[1:]
	}
}
