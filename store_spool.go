// Spools: messages on their way in, in memory or in an unlinked temporary file.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Form is what whoever sends a message must know before it looks into it: whether it can go out as it is, and whether it came by mail.
type Form uint8

const (
	FormLines      Form = 1 << iota // perhaps not CRLF lines with an empty one after the header
	FormHeader8Bit                  // octets above 127 in a header block, the message's own or a part's
	FormBinary                      // parts that have to be encoded for whoever does not take binary (Content.WithoutBinary)
	FormBrought                     // put into the mailbox by somebody, by APPEND or an import: whatever its header says, nobody sent it here
	FormSized                       // the size of a message with FormBinary is that of Content.WithoutBinary
)

const spoolAsks = 64 << 10 // octets after which an incoming spool asks for room again

// Spool collects a message on its way in, in memory and then in an unlinked temporary file beside the database. Its
// MIME tree is learned in passing.
type Spool struct {
	s      *Store
	limit  int64
	asks   bool // it asks for room on the disk as it grows
	prefix []byte
	mem    []byte
	charge int64 // octets of mem, as the budget has them
	closed bool
	tried  bool   // the tree was learned again, or could not be
	done   func() // gives the turn back in which it was
	file   *os.File
	filed  int64 // octets in the file, as the store counts them
	size   int64
	mime   *MIMEReader
	tree   *Part
	row    *blobRow        // what Stage has found out about the content
	packed map[int64]piece // chunks that packAhead has made
	buf    []byte          // for reading chunks from the file
	staged Blob            // set by Stage: the content is in the database already
}

// NewSpool makes a spool for a message of at most limit octets.
func (s *Store) NewSpool(limit int64) *Spool {
	sp := &Spool{s: s, limit: limit}
	sp.mime = NewMIMEReaderWithin(sp.room)
	return sp
}

// NewIncoming makes a spool for what comes from outside, nobody knows how much: it keeps the disk's reserve as it grows (Store.Room).
func (s *Store) NewIncoming(limit int64) *Spool {
	sp := s.NewSpool(limit)
	sp.asks = true
	return sp
}

// Write adds content. ErrTooBig past the limit, ErrDiskFull where the disk has no room for it; what was written before stays.
func (sp *Spool) Write(p []byte) (int, error) {
	size := sp.size + int64(len(p))
	if size > sp.limit {
		return 0, ErrTooBig
	}
	if sp.asks && size/spoolAsks != sp.size/spoolAsks {
		if err := sp.s.RoomFromSpool(size); err != nil {
			return 0, err
		}
	}
	if sp.file == nil && !sp.inMemory(int64(len(p))) {
		f, err := os.CreateTemp(filepath.Dir(sp.s.path), ".spool-*")
		if err != nil {
			return 0, spoolError(err)
		}
		os.Remove(f.Name())
		sp.file = f
		if _, err := f.Write(sp.mem); err != nil {
			return 0, spoolError(err)
		}
		sp.onDisk(int64(len(sp.mem)))
		sp.mem = nil
		sp.s.coming.give(sp.charge)
		sp.charge = 0
	}
	if sp.file != nil {
		if _, err := sp.file.Write(p); err != nil {
			return 0, spoolError(err)
		}
		sp.onDisk(int64(len(p)))
	} else {
		sp.mem = append(sp.mem, p...)
	}
	sp.size += int64(len(p))
	return sp.mime.Write(p)
}

// spoolError says what kept a spool's file from being written.
func spoolError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: spool: %w", ErrDiskFull, err)
	}
	return fmt.Errorf("spool: %w", err)
}

// onDisk counts octets of an incoming spool that are in its file.
func (sp *Spool) onDisk(n int64) {
	if sp.asks {
		sp.filed += n
		sp.s.spooled.Add(n)
	}
}

// room is the MIME reader's question whether the tree may grow.
func (sp *Spool) room(octets int64) bool {
	held := int64(0)
	if sp.mime != nil {
		held = sp.mime.Held()
	}
	return sp.s.coming.take(held, octets, comingTree)
}

// inMemory says whether n octets more of content may stay in memory.
func (sp *Spool) inMemory(n int64) bool {
	if int64(len(sp.mem))+n > spoolMemory || !sp.s.coming.take(sp.charge, n, comingContent) {
		return false
	}
	sp.charge += n
	return true
}

// Prepend puts whole header fields in front of the message, after all content is written.
func (sp *Spool) Prepend(fields []byte) {
	tree := sp.Tree()
	sp.row = nil
	sp.dropPacked()
	tree.Shift(int64(len(fields)))
	tree.Header8bit = tree.Header8bit || bytes.ContainsFunc(fields, func(r rune) bool { return r > 0x7f })
	sp.prefix = append(append([]byte(nil), fields...), sp.prefix...)
}

// Overwrite replaces octets of the content, which begins at 0, by as many others. It is for the names of header fields: what the tree
// says must stay true. Nothing may have been put in front yet, nor staged.
func (sp *Spool) Overwrite(at int64, with []byte) error {
	at -= int64(len(sp.prefix))
	if at < 0 || at+int64(len(with)) > sp.size || sp.row != nil || sp.staged.ID != 0 {
		return fmt.Errorf("overwrite %d octets at %d of %d", len(with), at, sp.size)
	}
	if sp.file == nil {
		copy(sp.mem[at:], with)
		return nil
	}
	_, err := sp.file.WriteAt(with, at)
	return err
}

// BodyOnly makes the content a body below an empty header: it is a message without any field, as some devices send them.
func (sp *Spool) BodyOnly() error {
	body := io.NewSectionReader(sp, 0, sp.Size())
	sp.s.coming.give(sp.mime.Held())
	sp.mime, sp.tree, sp.row = nil, nil, nil
	sp.dropPacked()
	sp.mime = NewMIMEReaderWithin(sp.room)
	sp.mime.Write([]byte("\r\n"))
	if _, err := io.Copy(sp.mime, body); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	sp.prefix = []byte("\r\n")
	return nil
}

// Size counts the message with what was put in front.
func (sp *Spool) Size() int64 { return int64(len(sp.prefix)) + sp.size }

// Tree is the message's MIME tree; no more content may be written once it is asked for. If it found no room while the message
// came, it is learned again now, from the content.
func (sp *Spool) Tree() *Part {
	if sp.tree != nil {
		return sp.tree
	}
	sp.tree = sp.mime.Tree()
	if !sp.mime.Refused() || sp.tried {
		return sp.tree
	}
	sp.tried = true
	sp.done = sp.s.coming.again()
	if sp.done == nil {
		return sp.tree
	}
	whole := NewMIMEReader()
	if _, err := io.Copy(whole, io.NewSectionReader(sp, 0, sp.Size())); err == nil {
		sp.tree = whole.Tree()
	}
	return sp.tree
}

// ReadAt reads the message with what was put in front.
func (sp *Spool) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(sp.prefix)) {
		n = copy(p, sp.prefix[off:])
	}
	if n == len(p) {
		return n, nil
	}
	rest := off + int64(n) - int64(len(sp.prefix))
	if sp.file != nil {
		k, err := sp.file.ReadAt(p[n:], rest)
		return n + k, err
	}
	if rest < int64(len(sp.mem)) {
		n += copy(p[n:], sp.mem[rest:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// piece returns n octets from off on: a part of the memory, or read into buf, which is made when it is too small.
func (sp *Spool) piece(buf []byte, off, n int64) ([]byte, error) {
	if at := off - int64(len(sp.prefix)); sp.file == nil && at >= 0 && at+n <= int64(len(sp.mem)) {
		return sp.mem[at : at+n], nil
	}
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(io.NewSectionReader(sp, off, n), buf[:n])
	return buf[:n], err
}

// Head returns the top header block, at most the first 64 KiB of it.
func (sp *Spool) Head() ([]byte, error) {
	b := make([]byte, min(sp.Tree().HeaderLen, headMax))
	_, err := io.ReadFull(io.NewSectionReader(sp, 0, int64(len(b))), b)
	return b, err
}

// form looks at what the tree tells, and at how the header and the message end.
func (sp *Spool) form() (Form, error) {
	var f Form
	tree := sp.Tree()
	if tree.Any8bitHeader() {
		f |= FormHeader8Bit
	}
	if tree.HasBinary() {
		f |= FormBinary
	}
	ends := [4]byte{}
	for i, end := range []int64{tree.HeaderLen, sp.Size()} {
		if end >= 4 {
			_, err := io.ReadFull(io.NewSectionReader(sp, end-4, 4), ends[:])
			if err != nil {
				return 0, err
			}
		}
		if text := "\r\n\r\n"[2*i:]; end < 4 || string(ends[2*i:]) != text {
			f |= FormLines
		}
	}
	if tree.BareLF || tree.HeaderUgly {
		f |= FormLines
	}
	return f, nil
}

// Close gives the temporary file back, and content that was staged and that nothing refers to.
func (sp *Spool) Close() error {
	if sp.staged.ID != 0 {
		sp.s.unstage(sp.staged.ID)
	}
	if sp.done != nil {
		sp.done()
	}
	if !sp.closed {
		sp.closed = true
		sp.s.coming.give(sp.mime.Held())
	}
	return sp.forget()
}

// forget gives memory and file back; content that was staged can still be added.
func (sp *Spool) forget() error {
	sp.onDisk(-sp.filed)
	var err error
	if sp.file != nil {
		err = sp.file.Close()
	}
	sp.file, sp.mem, sp.row, sp.buf = nil, nil, nil, nil
	sp.packed = nil
	sp.s.coming.give(sp.charge)
	sp.charge = 0
	return err
}
