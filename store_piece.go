// Pieces: how octets of content and of the text index are stored, compressed where that pays and with a sum.
package main

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A piece is stored as
//
//	8 octets  the sum of what follows and of the piece's place in the file, so that one in the place of another is found, too
//	1 octet   pieceRaw or pieceZstd
//	varint    of pieceZstd: how many octets it stands for
//	the rest  the octets themselves, or a frame of zstd (RFC 8878) with the dictionary of store_piece.txt
//
// Content with codecRaw is from before there were pieces: its octets are stored as they are, and their sums are in content_sums. A negative
// codec is content that is being rewritten: its chunks below minus that number are pieces.
const (
	codecRaw   = 0
	codecPiece = 1

	pieceRaw  = 0
	pieceZstd = 1

	pieceStart  = sumSize + 1
	pieceLeast  = 64       // octets that are compressed, at least
	pieceGain   = 32       // the part of them, as a divisor, that must be saved
	pieceWindow = 64 << 10 // octets that the compressor looks back, which bounds what reading takes, too
	pieceCoders = 2        // pieces that are compressed at the same time, and that are opened, at most
	pieceMost   = 1 << 20  // octets that any piece stands for
	pieceWords  = 1        // the dictionary's number in the frames
)

// pieceText is the dictionary: what mail of all kinds has in common, what is most frequent last. It must never change, for nothing could be read any
// more (TestPieceWords); a better one needs a kind of its own beside pieceZstd.
//
//go:embed store_piece.txt
var pieceText string

// piece is what is stored for some octets, but for its place.
type piece struct {
	stored []byte // with room for the sum in front
	sum    uint64 // of what follows
}

// at makes the piece one for a place, and returns what is to be stored. It may be called again for another one.
func (p piece) at(place int64) []byte {
	binary.LittleEndian.PutUint64(p.stored, placedSum(p.sum, place))
	return p.stored
}

func placedSum(sum uint64, place int64) uint64 {
	return crc64.Update(sum, sumTable, binary.LittleEndian.AppendUint64(nil, uint64(place)))
}

// The places of the pieces of content.
func placeOfHead(id BlobID) int64           { return -2 * int64(id) }
func placeOfTree(id BlobID) int64           { return -2*int64(id) - 1 }
func placeOfChunk(id BlobID, k int64) int64 { return int64(id)<<chunkBits | k }

// chunkIsPiece says whether the kth chunk of content with a codec is a piece.
func chunkIsPiece(codec, k int64) bool { return codec == codecPiece || (codec < 0 && k < -codec) }

// packer makes pieces and opens them. Its memory, some MB, is taken when it is first used.
type packer struct {
	encoder func() (*zstd.Encoder, error)
	decoder func() (*zstd.Decoder, error)
	scratch sync.Pool // of *[]byte with room for a piece
}

func newPacker() *packer {
	words := []byte(strings.ReplaceAll(pieceText, "\n", "\r\n"))
	coders := min(pieceCoders, runtime.GOMAXPROCS(0))
	return &packer{
		encoder: sync.OnceValues(func() (*zstd.Encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(pieceWindow), zstd.WithEncoderCRC(false),
				zstd.WithEncoderConcurrency(coders), zstd.WithLowerEncoderMem(true), zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderDictRaw(pieceWords, words))
		}),
		decoder: sync.OnceValues(func() (*zstd.Decoder, error) {
			return zstd.NewReader(nil, zstd.WithDecoderConcurrency(coders), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(pieceWindow),
				zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderDictRaw(pieceWords, words))
		}),
		scratch: sync.Pool{New: func() any { b := make([]byte, 0, chunkSize+pieceStart+binary.MaxVarintLen64); return &b }},
	}
}

// pack makes a piece of at most pieceMost octets, of which it keeps a copy. What was compressed is opened once more and compared: a fault in the compressor
// costs room and not mail. It waits while pieceCoders others are at it.
func (k *packer) pack(octets []byte) (piece, error) {
	if len(octets) > pieceMost {
		return piece{}, fmt.Errorf("a piece of %d octets: %w", len(octets), ErrTooBig)
	}
	hold := k.scratch.Get().(*[]byte)
	defer k.scratch.Put(hold)
	stored := append((*hold)[:0], make([]byte, sumSize)...)
	packed, err := k.compress(stored, octets)
	if err != nil {
		return piece{}, err
	}
	if packed == nil {
		packed = append(append(stored, pieceRaw), octets...)
	}
	if cap(packed) <= 2*chunkSize {
		*hold = packed
	}
	p := piece{stored: append(make([]byte, 0, len(packed)), packed...)}
	p.sum = contentSum(p.stored[sumSize:])
	return p, nil
}

// compress appends the kind and the frame, or returns nil if that is not worth it.
func (k *packer) compress(stored, octets []byte) ([]byte, error) {
	if len(octets) < pieceLeast {
		return nil, nil
	}
	z, err := k.encoder()
	if err != nil {
		return nil, err
	}
	start := len(stored)
	stored = binary.AppendUvarint(append(stored, pieceZstd), uint64(len(octets)))
	stored = z.EncodeAll(octets, stored)
	if len(stored)-start > len(octets)-len(octets)/pieceGain {
		return nil, nil
	}
	hold := k.scratch.Get().(*[]byte)
	defer k.scratch.Put(hold)
	again, err := k.decompress((*hold)[:0], stored[start:])
	if err != nil || string(again) != string(octets) {
		return nil, nil
	}
	return stored, nil
}

// open returns the octets that a stored piece stands for, at most so many. What is not as it was stored, at its place, is ErrContentDamaged. The result may be a
// part of stored.
func (k *packer) open(stored []byte, place, most int64) ([]byte, error) {
	return k.openInto(nil, stored, place, most)
}

// openInto is open with memory that is used if there is enough of it.
func (k *packer) openInto(dst, stored []byte, place, most int64) ([]byte, error) {
	if len(stored) < pieceStart || binary.LittleEndian.Uint64(stored) != placedSum(contentSum(stored[sumSize:]), place) {
		return nil, ErrContentDamaged
	}
	rest := stored[pieceStart:]
	switch stored[sumSize] {
	case pieceRaw:
		if int64(len(rest)) > most {
			return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(rest), most)
		}
		return rest, nil
	case pieceZstd:
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(most) {
			return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, n, most)
		}
		return k.decompress(dst, stored[sumSize:])
	}
	return nil, fmt.Errorf("%w: a piece of kind %d", ErrContentDamaged, stored[sumSize])
}

// decompress undoes compress. It never makes more octets than the piece says, and needs room for them in dst or makes it.
func (k *packer) decompress(dst, packed []byte) ([]byte, error) {
	n, size := binary.Uvarint(packed[1:])
	if uint64(cap(dst)) < n {
		dst = make([]byte, 0, n)
	}
	z, err := k.decoder()
	if err != nil {
		return nil, err
	}
	octets, err := z.DecodeAll(packed[1+size:], dst[:0:n])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContentDamaged, err)
	}
	if uint64(len(octets)) != n {
		return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(octets), n)
	}
	return octets, nil
}
