package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// noise is octets that nothing makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	chacha := rand.NewChaCha8([32]byte{7})
	chacha.Read(b)
	return b
}

// Pieces come back as they were, take less room where that can be, and one that is damaged, cut short or in the place of another is refused.
func TestPieces(t *testing.T) {
	t.Parallel()
	k := newPacker()
	for name, octets := range map[string][]byte{
		"nothing":  {},
		"short":    []byte("Hi\r\n"),
		"text":     []byte(strings.Repeat("From: a person\r\nTo: somebody else, who reads this\r\n", 40)),
		"zeros":    make([]byte, chunkSize),
		"noise":    noise(chunkSize),
		"base64":   []byte(base64.StdEncoding.EncodeToString(noise(chunkSize * 3 / 4))),
		"most":     bytes.Repeat([]byte("0123456789abcdef"), pieceMost/16),
		"one less": noise(pieceLeast - 1),
	} {
		p, err := k.pack(octets)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		stored := bytes.Clone(p.at(77))
		got, err := k.open(stored, 77, int64(len(octets)))
		if err != nil || !bytes.Equal(got, octets) {
			t.Errorf("%s: %d octets, %v", name, len(got), err)
		}
		if most := len(octets) + pieceStart; len(stored) > most {
			t.Errorf("%s: %d octets are stored as %d", name, len(octets), len(stored))
		}
		if name == "base64" && len(stored) > len(octets)*78/100 {
			t.Errorf("base64 of %d octets is stored as %d", len(octets), len(stored))
		}
		if name == "text" && len(stored) > len(octets)/10 {
			t.Errorf("text of %d octets is stored as %d", len(octets), len(stored))
		}
		for what, bad := range map[string][]byte{"cut": stored[:len(stored)-1], "empty": nil, "longer": append(bytes.Clone(stored), 0)} {
			if _, err := k.open(bad, 77, pieceMost); !errors.Is(err, ErrContentDamaged) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if _, err := k.open(stored, 78, pieceMost); !errors.Is(err, ErrContentDamaged) {
			t.Errorf("%s in another place: %v", name, err)
		}
		if len(octets) > 0 {
			if _, err := k.open(stored, 77, int64(len(octets)-1)); !errors.Is(err, ErrContentDamaged) {
				t.Errorf("%s where there is less room: %v", name, err)
			}
		}
		for range 50 {
			at := rand.IntN(len(stored))
			bad := bytes.Clone(stored)
			bad[at] ^= 1 << rand.IntN(8)
			if _, err := k.open(bad, 77, pieceMost); !errors.Is(err, ErrContentDamaged) {
				t.Errorf("%s with octet %d changed: %v", name, at, err)
			}
		}
	}
	if _, err := k.pack(make([]byte, pieceMost+1)); !errors.Is(err, ErrTooBig) {
		t.Error(err)
	}
}

// What the sum does not tell, because somebody has made the piece so, never takes more memory than the piece may stand for.
func TestPieceBombs(t *testing.T) {
	t.Parallel()
	k := newPacker()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := z.EncodeAll(make([]byte, 64<<20), nil)
	for _, says := range []uint64{0, 100, chunkSize, pieceMost, 64 << 20, 1 << 62} {
		for _, start := range [][]byte{{pieceZstd}, {pieceZstd | pieceTwoSums}, {pieceZstd | pieceTwoSums | pieceLines}} {
			stored := binary.AppendUvarint(append(make([]byte, sumSize), start...), says)
			if start[0]&pieceLines != 0 {
				stored = append(stored, 0, 1, 20)
			}
			got, err := openMade(k, append(stored, bomb...)[sumSize:])
			if !errors.Is(err, ErrContentDamaged) || len(got) > 0 {
				t.Errorf("a bomb of kind %d that says %d: %d octets, %v", start[0], says, len(got), err)
			}
		}
	}
	for _, kind := range []byte{8, 9, pieceTwoSums | 8, 255} {
		if _, err := openMade(k, []byte{kind, 1, 2, 3}); !errors.Is(err, ErrContentDamaged) {
			t.Errorf("kind %d, of a later time: %v", kind, err)
		}
	}
	for _, lines := range [][]uint64{{100, 0, 1, 0}, {100, 0, 1, 1 << 62}, {100, 0, 1 << 62, 19}, {100, 1 << 62, 1, 19}, {100, 30, 1, 19}, {100, 0, 2, 19}, {100, 23, 1, 19}, {100}} {
		made := []byte{pieceTwoSums | pieceLines}
		for _, v := range lines {
			made = binary.AppendUvarint(made, v)
		}
		if got, err := openMade(k, append(made, make([]byte, 60)...)); !errors.Is(err, ErrContentDamaged) {
			t.Errorf("lines %d: %d octets, %v", lines, len(got), err)
		}
	}
}

// openMade opens a piece with the right sum, whatever it is.
func openMade(k *packer, packed []byte) ([]byte, error) {
	p := piece{stored: append(make([]byte, sumSize), packed...), sum: pieceSum(packed[0], packed)}
	return k.open(p.at(5), 5, chunkSize)
}

// Lines of base64 take three quarters of their room or less, wherever they stand among other text, and come back with whatever else there is.
func TestPieceBase64(t *testing.T) {
	t.Parallel()
	k := newPacker()
	broken := func(octets []byte, width int, end string) string {
		var sb strings.Builder
		for letters := base64.StdEncoding.EncodeToString(octets); letters != ""; {
			n := min(width, len(letters))
			sb.WriteString(letters[:n] + end)
			letters = letters[n:]
		}
		return sb.String()
	}
	picture := noise(40_000)
	text := []byte(strings.Repeat("some words of a text that can be made smaller\n", 700))
	for name, c := range map[string]struct {
		octets string
		most   int // octets as it is stored, for each 1000
		lines  bool
	}{
		"a picture":            {broken(picture, 76, "\r\n"), 734, true},
		"lines of 60":          {broken(picture, 60, "\r\n"), 728, true},
		"cut anywhere":         {broken(picture, 76, "\r\n")[37:50_001], 736, true},
		"between others":       {"--b\r\nContent-Type: image/jpeg\r\n\r\n" + broken(picture, 76, "\r\n") + "--b--\r\n", 736, true},
		"a text":               {broken(text, 76, "\r\n"), 30, true},
		"LF alone":             {broken(picture, 76, "\n"), 780, false},
		"one long line":        {broken(picture, 1<<20, "\r\n"), 780, false},
		"lines of odd lengths": {broken(picture, 75, "\r\n"), 780, false},
		"no base64":            {strings.Repeat("a line with as many letters as one, but blanks\r\n", 500), 50, false},
		"letters of another":   {strings.Repeat(strings.Repeat("_-", 38)+"\r\n", 100), 50, false},
		"padding in each line": {strings.Repeat(strings.Repeat("AAAA", 18)+"AAA=\r\n", 100), 50, false},
		"few lines":            {broken(picture[:57*3], 76, "\r\n"), 1050, false},
	} {
		p, err := k.pack([]byte(c.octets))
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.open(p.at(3), 3, int64(len(c.octets)))
		if err != nil || string(got) != c.octets {
			t.Errorf("%s: %d octets, %v", name, len(got), err)
		}
		if len(p.stored)*1000 > len(c.octets)*c.most || (p.stored[sumSize]&pieceLines != 0) != c.lines {
			t.Errorf("%s: %d octets are stored as %d, kind %d", name, len(c.octets), len(p.stored), p.stored[sumSize])
		}
	}
}

// Pieces from before there were two sums are read, and their damage is found.
func TestPiecesFromBefore(t *testing.T) {
	t.Parallel()
	k := newPacker()
	text := []byte(strings.Repeat("some words of a text\r\n", 100))
	z, err := k.encoder()
	if err != nil {
		t.Fatal(err)
	}
	for kind, packed := range map[byte][]byte{0: append([]byte{0}, text...), pieceZstd: z.EncodeAll(text, binary.AppendUvarint([]byte{pieceZstd}, uint64(len(text))))} {
		p := piece{stored: append(make([]byte, sumSize), packed...), sum: contentSum(packed)}
		stored := bytes.Clone(p.at(9))
		if want := crc64.Update(contentSum(packed), crc64.MakeTable(crc64.ECMA), []byte{9, 0, 0, 0, 0, 0, 0, 0}); binary.LittleEndian.Uint64(stored) != want {
			t.Errorf("kind %d has another sum than before", kind)
		}
		if got, err := k.open(stored, 9, chunkSize); err != nil || !bytes.Equal(got, text) {
			t.Errorf("kind %d: %d octets, %v", kind, len(got), err)
		}
		for at := range stored {
			for bit := range 8 {
				stored[at] ^= 1 << bit
				if _, err := k.open(stored, 9, chunkSize); !errors.Is(err, ErrContentDamaged) {
					t.Errorf("kind %d with bit %d of octet %d changed: %v", kind, bit, at, err)
				}
				stored[at] ^= 1 << bit
			}
		}
	}
}

// The dictionary is what it was when mail was first stored with it: a changed one makes all of that unreadable.
func TestPieceWords(t *testing.T) {
	t.Parallel()
	if got, want := fmt.Sprintf("%016x", contentSum([]byte(pieceText))), "f468ab09ba4c0b0d"; got != want {
		t.Errorf("store_piece.txt has the sum %s and must have %s: it may not be changed", got, want)
	}
}

// Content of all sizes around the borders of its pieces comes back octet for octet, whole and from anywhere, staged or not.
func TestPackedContent(t *testing.T) {
	t.Parallel()
	st := openTestStore(t, StoreOptions{Service: true})
	_, inbox := addTestUser(t, st, "ann")
	var texts []string
	for _, head := range []int{30, headMax - 1, headMax, headMax + 1, headMax + chunkSize} {
		for _, body := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, stageLeast + 1} {
			text := "Subject: " + strings.Repeat("x", head-13) + "\r\n\r\n" + strings.Repeat("some text\r\n", body/11) + string(noise(body%11))
			appendText(t, st, inbox, text, Flags{})
			texts = append(texts, text)
		}
	}
	at := 0
	var uids []UID
	mustRead(t, st, func(tx *Tx) (err error) { uids, _, err = tx.UIDs(inbox.ID, nil); return err })
	err := st.List(inbox.ID, uids, WantBody, func(m *Listed) error {
		text := texts[at]
		at++
		got, err := io.ReadAll(m.Content.Reader())
		if err != nil || string(got) != text {
			t.Errorf("message %d of %d octets: %d octets, %v", m.UID, len(text), len(got), err)
		}
		for range 20 {
			off := rand.IntN(len(text))
			part := make([]byte, 1+rand.IntN(min(len(text)-off, 3*chunkSize)))
			if _, err := m.Content.ReadAt(part, int64(off)); err != nil || string(part) != text[off:off+len(part)] {
				t.Errorf("message %d, %d octets from %d on: %v", m.UID, len(part), off, err)
			}
		}
		return nil
	})
	if err != nil || at != len(texts) {
		t.Errorf("%d messages, %v", at, err)
	}
	var raw int
	mustRead(t, st, func(tx *Tx) error { return tx.one(`SELECT count(*) FROM blobs WHERE codec<>1`, nil, &raw) })
	if raw != 0 {
		t.Errorf("%d pieces of content are stored as they are", raw)
	}
	checkStore(t, st)
}

// Whatever is found in a file in the place of a piece, opening it ends with its octets or an error, within its bounds.
func FuzzPiece(f *testing.F) {
	k := newPacker()
	for _, octets := range [][]byte{nil, []byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("text "), 1000), bytes.Repeat([]byte(strings.Repeat("abcd", 19)+"\r\n"), 20)} {
		p, err := k.pack(octets)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.stored[sumSize:])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		if len(rest) == 0 {
			return
		}
		got, err := openMade(k, rest)
		if (err == nil) == errors.Is(err, ErrContentDamaged) || len(got) > chunkSize || cap(got) > max(chunkSize, len(rest)+pieceStart+64) {
			t.Errorf("%d octets, room for %d, %v", len(got), cap(got), err)
		}
		p, err := k.pack(rest)
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.open(p.at(6), 6, int64(len(rest)))
		if err != nil || !bytes.Equal(again, rest) {
			t.Errorf("%q came back as %q, %v", rest, again, err)
		}
	})
}
