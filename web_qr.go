// QR codes (ISO/IEC 18004), just enough to hand an address to a phone: byte mode, error correction M, versions 1 to 20.
package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"html/template"
	"image"
	"image/color"
	"image/png"
)

// What the standard's table 9 says for level M, by version: correction words in each block, and blocks.
var (
	webQRWords  = [...]int{0, 10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26}
	webQRBlocks = [...]int{0, 1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16}
)

// webQR is a code being drawn. fixed marks the modules that are not data: finders, timing, alignment, format, version.
type webQR struct {
	version, size int
	dark, fixed   [][]bool
}

// webQRCode draws a text as a PNG in a data: address.
func webQRCode(text string) (template.URL, error) {
	q, err := webMakeQR([]byte(text))
	if err != nil {
		return "", err
	}
	const scale, quiet = 4, 4
	n := (q.size + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, n, n), color.Palette{color.White, color.Black})
	for y := range n {
		for x := range n {
			i, j := y/scale-quiet, x/scale-quiet
			if i >= 0 && j >= 0 && i < q.size && j < q.size && q.dark[i][j] {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// webQRCapacity is how many words a version has in all, and how many are data.
func webQRCapacity(v int) (all, data int) {
	bits := (16*v+128)*v + 64
	if v >= 2 {
		a := v/7 + 2
		bits -= (25*a-10)*a - 55
		if v >= 7 {
			bits -= 36
		}
	}
	all = bits / 8
	return all, all - webQRWords[v]*webQRBlocks[v]
}

func webMakeQR(text []byte) (*webQR, error) {
	for v := 1; v < len(webQRWords); v++ {
		count := 8
		if v >= 10 {
			count = 16
		}
		if _, data := webQRCapacity(v); 4+count+8*len(text) > 8*data {
			continue
		}
		q := &webQR{version: v, size: 4*v + 17}
		for range q.size {
			q.dark, q.fixed = append(q.dark, make([]bool, q.size)), append(q.fixed, make([]bool, q.size))
		}
		q.patterns()
		q.place(webQRInterleave(webQRData(text, v, count), v))
		q.mask()
		return q, nil
	}
	return nil, errors.New("too long for a QR code")
}

// webQRData is the bit stream: mode, length, text, terminator, padding.
func webQRData(text []byte, v, count int) []byte {
	_, size := webQRCapacity(v)
	out := make([]byte, 0, size)
	n := 0
	put := func(value uint, bits int) {
		for i := bits - 1; i >= 0; i-- {
			if n%8 == 0 {
				out = append(out, 0)
			}
			out[n/8] |= byte(value>>i&1) << (7 - n%8)
			n++
		}
	}
	put(4, 4)
	put(uint(len(text)), count)
	for _, c := range text {
		put(uint(c), 8)
	}
	put(0, min(4, 8*size-n))
	put(0, (8-n%8)%8)
	for pad := byte(0xec); len(out) < size; pad ^= 0xec ^ 0x11 {
		out = append(out, pad)
	}
	return out
}

// webQRInterleave divides the data into blocks, adds the correction words of each, and deals them out in turn.
func webQRInterleave(data []byte, v int) []byte {
	blocks, ec := webQRBlocks[v], webQRWords[v]
	all, _ := webQRCapacity(v)
	short := all/blocks - ec
	longs := all % blocks
	divisor := webQRDivisor(ec)
	var parts, checks [][]byte
	for i := range blocks {
		n := short
		if i >= blocks-longs {
			n++
		}
		parts, checks = append(parts, data[:n]), append(checks, webQRRemainder(data[:n], divisor))
		data = data[n:]
	}
	var out []byte
	for i := range short + 1 {
		for _, p := range parts {
			if i < len(p) {
				out = append(out, p[i])
			}
		}
	}
	for i := range ec {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// webQRMul multiplies in GF(2⁸) modulo x⁸+x⁴+x³+x²+1.
func webQRMul(a, b byte) byte {
	p := byte(0)
	for i := 7; i >= 0; i-- {
		p = p<<1 ^ p>>7*0x1d
		p ^= b >> i & 1 * a
	}
	return p
}

func webQRDivisor(degree int) []byte {
	d := make([]byte, degree)
	d[degree-1] = 1
	root := byte(1)
	for range degree {
		for j := range d {
			d[j] = webQRMul(d[j], root)
			if j+1 < degree {
				d[j] ^= d[j+1]
			}
		}
		root = webQRMul(root, 2)
	}
	return d
}

func webQRRemainder(data, divisor []byte) []byte {
	r := make([]byte, len(divisor))
	for _, b := range data {
		f := b ^ r[0]
		r = append(r[1:], 0)
		for i := range r {
			r[i] ^= webQRMul(divisor[i], f)
		}
	}
	return r
}

func (q *webQR) set(y, x int, dark bool) { q.dark[y][x], q.fixed[y][x] = dark, true }

// patterns draws everything that is not data.
func (q *webQR) patterns() {
	for i := range q.size {
		q.set(6, i, i%2 == 0)
		q.set(i, 6, i%2 == 0)
	}
	for _, c := range [][2]int{{3, 3}, {3, q.size - 4}, {q.size - 4, 3}} {
		q.square(c[0], c[1], 4)
	}
	at := q.alignments()
	for i, y := range at {
		for j, x := range at {
			if !((i == 0 && j == 0) || (i == 0 && j == len(at)-1) || (i == len(at)-1 && j == 0)) {
				q.square(y, x, 2)
			}
		}
	}
	q.format(0)
	if q.version < 7 {
		return
	}
	rem := q.version
	for range 12 {
		rem = rem<<1 ^ rem>>11*0x1f25
	}
	for i := range 18 {
		bit := (q.version<<12|rem)>>i&1 == 1
		q.set(q.size-11+i%3, i/3, bit)
		q.set(i/3, q.size-11+i%3, bit)
	}
}

// square draws rings around a centre: a finder (with its white border) for radius 4, an alignment mark for 2.
func (q *webQR) square(cy, cx, r int) {
	for dy := -r; dy <= r; dy++ {
		for dx := -r; dx <= r; dx++ {
			y, x := cy+dy, cx+dx
			if y < 0 || x < 0 || y >= q.size || x >= q.size {
				continue
			}
			d := max(dy, -dy, dx, -dx)
			q.set(y, x, d != 4 && ((r == 4 && d != 2) || (r == 2 && d != 1)))
		}
	}
}

func (q *webQR) alignments() []int {
	if q.version == 1 {
		return nil
	}
	n := q.version/7 + 2
	step := (q.version*4 + n*2 + 1) / (n*2 - 2) * 2
	at := make([]int, n)
	at[0] = 6
	for i, p := n-1, q.size-7; i > 0; i, p = i-1, p-step {
		at[i] = p
	}
	return at
}

// format writes the level (M is 00) and the mask, twice.
func (q *webQR) format(mask int) {
	rem := mask
	for range 10 {
		rem = rem<<1 ^ rem>>9*0x537
	}
	bits := (mask<<10 | rem) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 == 1 }
	for i := range 6 {
		q.set(i, 8, bit(i))
	}
	q.set(7, 8, bit(6))
	q.set(8, 8, bit(7))
	q.set(8, 7, bit(8))
	for i := 9; i < 15; i++ {
		q.set(8, 14-i, bit(i))
	}
	for i := range 8 {
		q.set(8, q.size-1-i, bit(i))
	}
	for i := 8; i < 15; i++ {
		q.set(q.size-15+i, 8, bit(i))
	}
	q.set(q.size-8, 8, true)
}

// place puts the words in, in columns of two from the right, up and down in turn.
func (q *webQR) place(words []byte) {
	n := 0
	for right := q.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5
		}
		for v := range q.size {
			for j := range 2 {
				x, y := right-j, v
				if (right+1)&2 == 0 {
					y = q.size - 1 - v
				}
				if !q.fixed[y][x] && n < 8*len(words) {
					q.dark[y][x] = words[n/8]>>(7-n%8)&1 == 1
					n++
				}
			}
		}
	}
}

// mask tries the eight masks and keeps the one with the fewest long runs and blocks.
func (q *webQR) mask() {
	best, least := 0, 1<<30
	for m := range 8 {
		q.flip(m)
		q.format(m)
		if p := q.penalty(); p < least {
			best, least = m, p
		}
		q.flip(m)
	}
	q.flip(best)
	q.format(best)
}

func (q *webQR) flip(m int) {
	for y := range q.size {
		for x := range q.size {
			var hit bool
			switch m {
			case 0:
				hit = (x+y)%2 == 0
			case 1:
				hit = y%2 == 0
			case 2:
				hit = x%3 == 0
			case 3:
				hit = (x+y)%3 == 0
			case 4:
				hit = (x/3+y/2)%2 == 0
			case 5:
				hit = x*y%2+x*y%3 == 0
			case 6:
				hit = (x*y%2+x*y%3)%2 == 0
			case 7:
				hit = ((x+y)%2+x*y%3)%2 == 0
			}
			if hit && !q.fixed[y][x] {
				q.dark[y][x] = !q.dark[y][x]
			}
		}
	}
}

// penalty scores runs of one colour and blocks of two by two, which is enough to avoid the masks that readers dislike.
func (q *webQR) penalty() int {
	p := 0
	for i := range q.size {
		rowRun, colRun := 1, 1
		for j := 1; j < q.size; j++ {
			rowRun = webQRRun(&p, rowRun, q.dark[i][j] == q.dark[i][j-1])
			colRun = webQRRun(&p, colRun, q.dark[j][i] == q.dark[j-1][i])
			if i > 0 && q.dark[i][j] == q.dark[i-1][j] && q.dark[i][j] == q.dark[i][j-1] && q.dark[i][j] == q.dark[i-1][j-1] {
				p += 3
			}
		}
	}
	return p
}

func webQRRun(p *int, run int, same bool) int {
	if !same {
		return 1
	}
	run++
	if run == 5 {
		*p += 3
	} else if run > 5 {
		*p++
	}
	return run
}
