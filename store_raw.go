// A database file read without SQLite, page by page, as far as it can be read: for files that SQLite refuses.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
)

const (
	rawSample  = 2000    // places that are looked at to guess the size of a page, where the header does not say it
	rawOldPage = 4096    // octets of a page of files that were made before they were smaller
	rawRecord  = 1 << 21 // octets of a row, at most: none of ours is longer
	rawColumns = 64      // of a row, at most
)

// rawFile is a damaged file with the pages that its log has for it.
type rawFile struct {
	f      *os.File
	log    *os.File
	logged map[uint32]int64 // where in the log a page is
	size   int              // of a page
	pages  uint32
	bad    int // pages that could not be read
}

// openRaw opens a file with its log, if that was written for it.
func openRaw(path string) (*rawFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &rawFile{f: f, size: guessPage(f), logged: map[uint32]int64{}}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	head := make([]byte, 100)
	if _, err := f.ReadAt(head, 0); err == nil && headerFault(head) == "" {
		r.size = int(binary.BigEndian.Uint16(head[16:]))
		if r.size == 1 {
			r.size = 65536
		}
	}
	r.pages = uint32(fi.Size() / int64(r.size))
	foreign, err := foreignLog(path)
	if foreign || err != nil {
		return r, nil
	}
	l, err := readLog(path+"-wal", nil)
	if err != nil || len(l.frames) == 0 || l.pageSize != r.size {
		return r, nil
	}
	r.log, err = os.Open(path + "-wal")
	if err != nil {
		return r, nil
	}
	for _, frame := range l.frames {
		r.logged[frame.page] = frame.offset
		r.pages = max(r.pages, frame.page)
	}
	return r, nil
}

// guessPage says how many octets a page has by what is found where only the smaller pages begin.
func guessPage(f *os.File) int {
	p, found, looked := make([]byte, filePage), 0, 0
	for at := int64(filePage); looked < rawSample; at += 2 * filePage {
		if _, err := f.ReadAt(p, at); err != nil {
			break
		}
		looked++
		kind, cells, _ := rawCells(2, p)
		count, first := int(binary.BigEndian.Uint16(p[3:])), int(binary.BigEndian.Uint16(p[5:]))
		if kind != 0 && count > 0 && len(cells) == count && first >= 8+2*count && first < len(p) && slices.Min(cells) >= first {
			found++
		}
	}
	if found*50 > looked {
		return filePage
	}
	return rawOldPage
}

func (r *rawFile) close() {
	r.f.Close()
	if r.log != nil {
		r.log.Close()
	}
}

// page reads a page; nil if it is not there or can't be read.
func (r *rawFile) page(n uint32) []byte {
	if n == 0 || n > r.pages {
		return nil
	}
	f, at := r.f, int64(n-1)*int64(r.size)
	if off, ok := r.logged[n]; ok {
		f, at = r.log, off
	}
	p := make([]byte, r.size)
	if _, err := f.ReadAt(p, at); err != nil {
		r.bad++
		return nil
	}
	return p
}

// Kinds of pages of a b-tree.
const (
	rawInnerKeys = 0x02 // of an index or a table WITHOUT ROWID, with rows of its own
	rawInner     = 0x05 // of a table
	rawLeafKeys  = 0x0a
	rawLeaf      = 0x0d
)

// rawCells says of which kind a page is, 0 if it is none of a b-tree, and lists where its cells are. What comes third is
// the last child of an inner page.
func rawCells(n uint32, p []byte) (byte, []int, uint32) {
	at := 0
	if n == 1 {
		at = 100
	}
	if len(p) < at+12 {
		return 0, nil, 0
	}
	kind := p[at]
	first := at + 8
	var right uint32
	switch kind {
	case rawInnerKeys, rawInner:
		first = at + 12
		right = binary.BigEndian.Uint32(p[at+8:])
	case rawLeafKeys, rawLeaf:
	default:
		return 0, nil, 0
	}
	var cells []int
	count := int(binary.BigEndian.Uint16(p[at+3:]))
	for i := 0; i < count && first+2*i+2 <= len(p); i++ {
		if cell := int(binary.BigEndian.Uint16(p[first+2*i:])); cell >= first && cell < len(p) {
			cells = append(cells, cell)
		}
	}
	return kind, cells, right
}

// rawVarint reads a number as SQLite writes it, and how long it is: 0 if it is not whole.
func rawVarint(b []byte) (uint64, int) {
	var v uint64
	for i := 0; i < 9 && i < len(b); i++ {
		if i == 8 {
			return v<<8 | uint64(b[i]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

var errRaw = errors.New("the row is damaged")

// row reads the row of a cell: its rowid, in a table that has them, and its columns. A child page comes first on inner pages, which is
// none of the row.
func (r *rawFile) row(p []byte, kind byte, at int) (int64, []any, error) {
	if kind == rawInnerKeys {
		at += 4
	}
	if at >= len(p) {
		return 0, nil, errRaw
	}
	length, n := rawVarint(p[at:])
	at += n
	if n == 0 || length > rawRecord || at >= len(p) {
		return 0, nil, errRaw
	}
	var rowid int64
	if kind == rawLeaf {
		id, n := rawVarint(p[at:])
		if n == 0 {
			return 0, nil, errRaw
		}
		rowid, at = int64(id), at+n
	}
	payload, err := r.payload(p, kind, at, int(length))
	if err != nil {
		return rowid, nil, err
	}
	columns, err := rawRow(payload)
	return rowid, columns, err
}

// payload puts a row together from its page and the pages that it runs over to.
func (r *rawFile) payload(p []byte, kind byte, at, length int) ([]byte, error) {
	most := r.size - 35
	if kind != rawLeaf {
		most = (r.size-12)*64/255 - 23
	}
	here := length
	if length > most {
		least := (r.size-12)*32/255 - 23
		here = least + (length-least)%(r.size-4)
		if here > most {
			here = least
		}
	}
	if at+here > len(p) {
		return nil, errRaw
	}
	if here == length {
		return p[at : at+here], nil
	}
	if at+here+4 > len(p) {
		return nil, errRaw
	}
	all := append(make([]byte, 0, length), p[at:at+here]...)
	next := binary.BigEndian.Uint32(p[at+here:])
	for len(all) < length {
		over := r.page(next)
		if over == nil {
			return nil, errRaw
		}
		next = binary.BigEndian.Uint32(over)
		all = append(all, over[4:4+min(r.size-4, length-len(all))]...)
	}
	return all, nil
}

// rawRow takes a row apart.
func rawRow(b []byte) ([]any, error) {
	head, n := rawVarint(b)
	if n == 0 || head > uint64(len(b)) || head < uint64(n) {
		return nil, errRaw
	}
	types, body := b[n:head], b[head:]
	var columns []any
	for len(types) > 0 {
		t, n := rawVarint(types)
		if n == 0 || len(columns) == rawColumns {
			return nil, errRaw
		}
		types = types[n:]
		size := []uint64{0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0}[min(t, 11)]
		if t >= 12 {
			size = (t - 12) / 2
		}
		if size > uint64(len(body)) || t == 10 || t == 11 {
			return nil, errRaw
		}
		columns = append(columns, rawValue(t, body[:size]))
		body = body[size:]
	}
	if len(body) > 0 || len(columns) == 0 {
		return nil, errRaw
	}
	return columns, nil
}

// rawValue is a column: nil, int64, float64, string or []byte.
func rawValue(t uint64, b []byte) any {
	switch {
	case t == 0:
		return nil
	case t == 8 || t == 9:
		return int64(t - 8)
	case t == 7:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	case t < 7:
		v := int64(int8(b[0]))
		for _, c := range b[1:] {
			v = v<<8 | int64(c)
		}
		return v
	case t%2 == 0:
		return bytes.Clone(b)
	}
	return string(b)
}

// tree calls fn for each page of the b-tree with a root, once; seen has those that were met before. What can't be read is left out.
func (r *rawFile) tree(root uint32, seen map[uint32]bool, fn func(n uint32)) {
	for todo := []uint32{root}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[n] {
			continue
		}
		p := r.page(n)
		kind, cells, right := rawCells(n, p)
		if kind == 0 {
			continue
		}
		seen[n] = true
		fn(n)
		if kind != rawInner && kind != rawInnerKeys {
			continue
		}
		todo = append(todo, right)
		for _, at := range cells {
			if at+4 <= len(p) {
				todo = append(todo, binary.BigEndian.Uint32(p[at:]))
			}
		}
	}
}

// free lists the pages that are not in use, as far as the file says: what is on them was deleted.
func (r *rawFile) free() map[uint32]bool {
	all := map[uint32]bool{}
	first := r.page(1)
	if first == nil {
		return all
	}
	for next := binary.BigEndian.Uint32(first[32:]); next != 0 && !all[next]; {
		p := r.page(next)
		if p == nil {
			break
		}
		all[next] = true
		count := binary.BigEndian.Uint32(p[4:])
		for i := uint32(0); i < count && 8+4*i+4 <= uint32(len(p)); i++ {
			all[binary.BigEndian.Uint32(p[8+4*i:])] = true
		}
		next = binary.BigEndian.Uint32(p)
	}
	return all
}

// rawTable is a table or an index of the file.
type rawTable struct {
	name, sql string
	index     bool
	root      uint32
}

// schema lists the tables and indexes, as far as the pages that say so can be read.
func (r *rawFile) schema(seen map[uint32]bool) []rawTable {
	var all []rawTable
	r.tree(1, seen, func(n uint32) {
		p := r.page(n)
		kind, cells, _ := rawCells(n, p)
		if kind != rawLeaf {
			return
		}
		for _, at := range cells {
			_, c, err := r.row(p, kind, at)
			if err != nil || len(c) != 5 {
				continue
			}
			typ, _ := c[0].(string)
			name, _ := c[1].(string)
			root, _ := c[3].(int64)
			text, _ := c[4].(string)
			if (typ == "table" || typ == "index") && root > 1 && root <= int64(r.pages) {
				all = append(all, rawTable{name, text, typ == "index", uint32(root)})
			}
		}
	})
	return all
}

// withoutRowid says whether the rows of a table are in the b-tree of its key.
func (t rawTable) withoutRowid() bool {
	return strings.HasSuffix(strings.ToUpper(strings.TrimSpace(t.sql)), "WITHOUT ROWID")
}
