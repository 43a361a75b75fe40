package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
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
		stored := append(make([]byte, sumSize), pieceZstd)
		stored = append(binary.AppendUvarint(stored, says), bomb...)
		p := piece{stored: stored, sum: contentSum(stored[sumSize:])}
		got, err := k.open(p.at(1), 1, chunkSize)
		if !errors.Is(err, ErrContentDamaged) || len(got) > 0 {
			t.Errorf("a bomb that says %d: %d octets, %v", says, len(got), err)
		}
	}
	unknown := piece{stored: append(make([]byte, sumSize), 9, 1, 2, 3)}
	unknown.sum = contentSum(unknown.stored[sumSize:])
	if _, err := k.open(unknown.at(1), 1, chunkSize); !errors.Is(err, ErrContentDamaged) {
		t.Errorf("a kind of a later time: %v", err)
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
	for _, octets := range [][]byte{nil, []byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("text "), 1000)} {
		p, err := k.pack(octets)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.stored[sumSize:])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		p := piece{stored: append(make([]byte, sumSize), rest...), sum: contentSum(rest)}
		got, err := k.open(p.at(5), 5, chunkSize)
		if (err == nil) == errors.Is(err, ErrContentDamaged) || len(got) > chunkSize || cap(got) > max(chunkSize, len(rest)+pieceStart+64) {
			t.Errorf("%d octets, room for %d, %v", len(got), cap(got), err)
		}
		p, err = k.pack(rest)
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.open(p.at(6), 6, int64(len(rest)))
		if err != nil || !bytes.Equal(again, rest) {
			t.Errorf("%q came back as %q, %v", rest, again, err)
		}
	})
}
