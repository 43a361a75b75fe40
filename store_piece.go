// Pieces: how octets of content and of the text index are stored, compressed where that pays and with a sum.
package main

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A piece is stored as
//
//	8 octets  the sum of what follows and of the piece's place in the file, so that one in the place of another is found, too
//	1 octet   its kind: bits of pieceZstd, pieceTwoSums, pieceLines
//	varint    of pieceZstd and pieceLines: how many octets it stands for
//	3 varints of pieceLines: see base64Lines
//	the rest  the octets, or a frame of zstd (RFC 8878) of them with the dictionary of store_piece.txt
//
// Every new piece has pieceTwoSums; those from before the step pieceKinds of the schema have another sum. With pieceLines, lines of base64 among the octets are stored as the octets that they stand for.
// Content with codecRaw is from before there were pieces: its octets are stored as they are, and their sums are in content_sums. A negative
// codec is content that is being rewritten: its chunks below minus that number are pieces.
const (
	codecRaw   = 0
	codecPiece = 1

	pieceZstd    = 1
	pieceTwoSums = 2
	pieceLines   = 4

	pieceStart  = sumSize + 1
	pieceLeast  = 64       // octets that are compressed, at least
	pieceSmall  = 1 << 10  // octets up to which letters are not given codes: a table of codes for each takes most of the time that opening takes
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
	binary.LittleEndian.PutUint64(p.stored, placedSum(p.stored[sumSize], p.sum, place))
	return p.stored
}

// pieceSum is the sum of a piece of a kind, without its place: of new pieces two of 32 bits by polynomials without a common factor, for which processors have
// instructions. Together they find what one of 64 bits by the product of both finds, which is all damage of up to 64 bits in a row.
func pieceSum(kind byte, b []byte) uint64 {
	if kind&pieceTwoSums == 0 {
		return contentSum(b)
	}
	return uint64(crc32.Checksum(b, castagnoli))<<32 | uint64(crc32.ChecksumIEEE(b))
}

func placedSum(kind byte, sum uint64, place int64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(place))
	if kind&pieceTwoSums == 0 {
		return crc64.Update(sum, sumTable, b[:])
	}
	return uint64(crc32.Update(uint32(sum>>32), castagnoli, b[:]))<<32 | uint64(crc32.Update(uint32(sum), crc32.IEEETable, b[:]))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The places of the pieces of content.
func placeOfHead(id BlobID) int64           { return -2 * int64(id) }
func placeOfTree(id BlobID) int64           { return -2*int64(id) - 1 }
func placeOfChunk(id BlobID, k int64) int64 { return int64(id)<<chunkBits | k }

// chunkIsPiece says whether the kth chunk of content with a codec is a piece.
func chunkIsPiece(codec, k int64) bool { return codec == codecPiece || (codec < 0 && k < -codec) }

// packer makes pieces and opens them. Its memory, some MB, is taken when it is first used.
type packer struct {
	encoder func() (*zstd.Encoder, error)
	quick   func() (*zstd.Encoder, error) // for small pieces
	decoder func() (*zstd.Decoder, error)
	base64  func() *base64Table
	scratch sync.Pool // of *[]byte with room for a piece
}

func newPacker() *packer {
	words := []byte(strings.ReplaceAll(pieceText, "\n", "\r\n"))
	coders := min(pieceCoders, runtime.GOMAXPROCS(0))
	encoder := func(more ...zstd.EOption) func() (*zstd.Encoder, error) {
		return sync.OnceValues(func() (*zstd.Encoder, error) {
			return zstd.NewWriter(nil, append(more, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(pieceWindow), zstd.WithEncoderCRC(false),
				zstd.WithEncoderConcurrency(coders), zstd.WithLowerEncoderMem(true), zstd.WithEncoderDictRaw(pieceWords, words))...)
		})
	}
	return &packer{
		encoder: encoder(zstd.WithAllLitEntropyCompression(true)),
		quick:   encoder(zstd.WithNoEntropyCompression(true)),
		decoder: sync.OnceValues(func() (*zstd.Decoder, error) {
			return zstd.NewReader(nil, zstd.WithDecoderConcurrency(coders), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(pieceWindow),
				zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderDictRaw(pieceWords, words))
		}),
		base64:  sync.OnceValue(newBase64Table),
		scratch: sync.Pool{New: func() any { b := make([]byte, 0, chunkSize+pieceStart+4*binary.MaxVarintLen64); return &b }},
	}
}

// pack makes a piece of at most pieceMost octets, of which it keeps a copy. What is not stored as it is, is opened once more and compared: a fault in the compressor
// costs room and not mail. It waits while pieceCoders others are at it.
func (k *packer) pack(octets []byte) (piece, error) {
	if len(octets) > pieceMost {
		return piece{}, fmt.Errorf("a piece of %d octets: %w", len(octets), ErrTooBig)
	}
	hold := k.scratch.Get().(*[]byte)
	defer k.scratch.Put(hold)
	stored := append((*hold)[:0], make([]byte, sumSize)...)
	packed, err := k.packOctets(stored, octets)
	if err != nil {
		return piece{}, err
	}
	if packed == nil {
		packed = append(append(stored, pieceTwoSums), octets...)
	}
	if cap(packed) <= 2*chunkSize {
		*hold = packed
	}
	p := piece{stored: append(make([]byte, 0, len(packed)), packed...)}
	p.sum = pieceSum(pieceTwoSums, p.stored[sumSize:])
	return p, nil
}

// packOctets appends the kind and what goes with it, or returns nil if the octets are better stored as they are.
func (k *packer) packOctets(stored, octets []byte) ([]byte, error) {
	if len(octets) < pieceLeast {
		return nil, nil
	}
	hold := k.scratch.Get().(*[]byte)
	defer k.scratch.Put(hold)
	start := len(stored)
	lines, found := findBase64(octets)
	rest := octets
	if found {
		rest, found = lines.take((*hold)[:0], octets)
	}
	var err error
	if found {
		stored = lines.append(append(stored, pieceTwoSums|pieceLines), len(octets))
		stored, err = k.compress(stored, start, rest)
	} else {
		stored = binary.AppendUvarint(append(stored, pieceTwoSums), uint64(len(octets)))
		stored, err = k.compress(stored, start, octets)
	}
	if err != nil || len(stored)-start > len(octets)-len(octets)/pieceGain {
		return nil, err
	}
	again, err := k.unpack((*hold)[:0], stored[start:], int64(len(octets)))
	if err != nil || string(again) != string(octets) {
		return nil, nil
	}
	return stored, nil
}

// compress appends octets to a piece whose kind is at start: a frame of them, if that is worth it, which the kind then says.
func (k *packer) compress(stored []byte, start int, octets []byte) ([]byte, error) {
	encoder := k.encoder
	if len(octets) <= pieceSmall {
		encoder = k.quick
	}
	z, err := encoder()
	if err != nil {
		return nil, err
	}
	before := len(stored)
	stored = z.EncodeAll(octets, stored)
	if len(stored)-before > len(octets)-len(octets)/pieceGain {
		return append(stored[:before], octets...), nil
	}
	stored[start] |= pieceZstd
	return stored, nil
}

// open returns the octets that a stored piece stands for, at most so many. What is not as it was stored, at its place, is ErrContentDamaged. The result may be a
// part of stored.
func (k *packer) open(stored []byte, place, most int64) ([]byte, error) {
	return k.openInto(nil, stored, place, most)
}

// openInto is open with memory that is used if there is enough of it.
func (k *packer) openInto(dst, stored []byte, place, most int64) ([]byte, error) {
	if len(stored) < pieceStart {
		return nil, ErrContentDamaged
	}
	kind := stored[sumSize]
	if binary.LittleEndian.Uint64(stored) != placedSum(kind, pieceSum(kind, stored[sumSize:]), place) {
		return nil, ErrContentDamaged
	}
	return k.unpack(dst, stored[sumSize:], most)
}

// unpack is openInto for what follows the sum. It never makes more octets than the piece says, and needs room for them in dst or makes it.
func (k *packer) unpack(dst, packed []byte, most int64) ([]byte, error) {
	kind, rest := packed[0], packed[1:]
	switch kind &^ pieceTwoSums {
	case 0:
		if int64(len(rest)) > most {
			return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(rest), most)
		}
		return rest, nil
	case pieceZstd, pieceLines, pieceLines | pieceZstd:
	default:
		return nil, fmt.Errorf("%w: a piece of kind %d", ErrContentDamaged, kind)
	}
	n, size := binary.Uvarint(rest)
	if size <= 0 || n > uint64(most) {
		return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, n, most)
	}
	if kind&pieceLines == 0 {
		return k.decompress(dst, rest[size:], int(n))
	}
	lines, rest, err := readBase64(rest[size:], int(n))
	if err != nil {
		return nil, err
	}
	if kind&pieceZstd != 0 {
		hold := k.scratch.Get().(*[]byte)
		defer k.scratch.Put(hold)
		rest, err = k.decompress((*hold)[:0], rest, lines.left(int(n)))
		if err != nil {
			return nil, err
		}
	}
	if len(rest) != lines.left(int(n)) {
		return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(rest), lines.left(int(n)))
	}
	if cap(dst) < int(n) {
		dst = make([]byte, 0, n)
	}
	return lines.put(dst[:0:n], rest, k.base64()), nil
}

// decompress opens a frame of n octets, with room for them in dst or some that it makes.
func (k *packer) decompress(dst, frame []byte, n int) ([]byte, error) {
	if cap(dst) < n {
		dst = make([]byte, 0, n)
	}
	z, err := k.decoder()
	if err != nil {
		return nil, err
	}
	octets, err := z.DecodeAll(frame, dst[:0:n])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContentDamaged, err)
	}
	if len(octets) != n {
		return nil, fmt.Errorf("%w: %d octets instead of %d", ErrContentDamaged, len(octets), n)
	}
	return octets, nil
}
