// Answers of somebody else's IMAP server, read piece by piece: none has to fit into memory.
package main

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

const (
	fetchWord    = 4 << 10  // octets of one word or quoted string; a body in quotes may have fetchLine
	fetchAnswers = 16 << 20 // octets of all answers to one command, without literals: 300,000 UIDs are 3 MB
	fetchNesting = 20       // parentheses in parentheses
	fetchSwallow = 1 << 30  // octets of literals in the answers to one command, wanted or not
)

var errFetchAnswer = errors.New("an answer that makes no sense")

// fetchReader reads the words of answers. left is what the server may still say to this command, swallow what it may send in
// literals: a server that talks without end costs its account and not the memory.
type fetchReader struct {
	r       *bufio.Reader
	left    int64
	swallow int64
}

// fetchToken is a word of an answer.
type fetchToken struct {
	kind byte   // 'a' an atom, '"' a quoted string, '{' a literal whose octets are still to be read, '(', ')', '\n' the end
	text string // of an atom or a quoted string
	size int64  // of a literal
}

// begin starts the answers to a new command.
func (f *fetchReader) begin() {
	f.left, f.swallow = fetchAnswers, fetchSwallow
}

func (f *fetchReader) octet() (byte, error) {
	f.left--
	if f.left < 0 {
		return 0, errors.New("the answer is too long")
	}
	b, err := f.r.ReadByte()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// next reads the next token. Blanks in front of it are passed over.
func (f *fetchReader) next() (fetchToken, error) {
	b, err := f.octet()
	for err == nil && (b == ' ' || b == '\r' || b == '\t') {
		b, err = f.octet()
	}
	switch {
	case err != nil:
		return fetchToken{}, err
	case b == '\n', b == '(', b == ')':
		return fetchToken{kind: b}, nil
	case b == '"':
		return f.quoted()
	case b == '{':
		return f.literal()
	}
	return f.atom(b)
}

// quoted reads the rest of a quoted string. Some servers put line ends into one; they are kept.
func (f *fetchReader) quoted() (fetchToken, error) {
	var text strings.Builder
	for {
		b, err := f.octet()
		if err != nil {
			return fetchToken{}, err
		}
		if b == '"' {
			return fetchToken{kind: '"', text: text.String()}, nil
		}
		if b == '\\' {
			b, err = f.octet()
			if err != nil {
				return fetchToken{}, err
			}
		}
		if text.Len() >= fetchLine {
			return fetchToken{}, errFetchAnswer
		}
		text.WriteByte(b)
	}
}

// literal reads the head of a literal; "{12+}" is taken, too.
func (f *fetchReader) literal() (fetchToken, error) {
	var digits strings.Builder
	for {
		b, err := f.octet()
		if err != nil {
			return fetchToken{}, err
		}
		if b == '}' {
			break
		}
		if digits.Len() > 20 {
			return fetchToken{}, errFetchAnswer
		}
		digits.WriteByte(b)
	}
	size, err := strconv.ParseInt(strings.TrimRight(digits.String(), "+"), 10, 64)
	if err != nil || size < 0 {
		return fetchToken{}, errFetchAnswer
	}
	b, err := f.octet()
	if err == nil && b == '\r' {
		b, err = f.octet()
	}
	if err == nil && b != '\n' {
		err = errFetchAnswer
	}
	return fetchToken{kind: '{', size: size}, err
}

// atom reads the rest of an atom. What is in brackets belongs to it, with its blanks: BODY[HEADER.FIELDS (TO)].
func (f *fetchReader) atom(first byte) (fetchToken, error) {
	text := []byte{first}
	open := first == '['
	for {
		b, err := f.octet()
		if err != nil {
			return fetchToken{}, err
		}
		end := b == '\n' || (!open && (b == ' ' || b == '\r' || b == '\t' || b == '(' || b == ')'))
		if end {
			f.left++
			return fetchToken{kind: 'a', text: string(text)}, f.r.UnreadByte()
		}
		if len(text) >= fetchWord {
			return fetchToken{}, errFetchAnswer
		}
		switch b {
		case '[':
			open = true
		case ']':
			open = false
		}
		text = append(text, b)
	}
}

// skip passes over the value that begins with t.
func (f *fetchReader) skip(t fetchToken) error {
	for depth := 0; ; {
		switch t.kind {
		case '{':
			if err := f.discard(t.size); err != nil {
				return err
			}
		case '(':
			depth++
		case ')':
			depth--
		case '\n':
			return errFetchAnswer
		}
		if depth <= 0 {
			return nil
		}
		if depth > fetchNesting {
			return errFetchAnswer
		}
		var err error
		t, err = f.next()
		if err != nil {
			return err
		}
	}
}

// discard reads a literal that nobody wants.
func (f *fetchReader) discard(size int64) error {
	f.swallow -= size
	if f.swallow < 0 {
		return errFetchSwallow
	}
	_, err := io.CopyN(io.Discard, f.r, size)
	return err
}

var errFetchSwallow = errors.New("the server sends more than anybody wants")

// rest reads what is left of a line and returns its beginning. A literal in it is passed over, and the line goes on behind it.
func (f *fetchReader) rest() (string, error) {
	var text strings.Builder
	tail := make([]byte, 0, 24) // the end of the line, for a literal
	for {
		b, err := f.octet()
		if err != nil {
			return "", err
		}
		if b != '\n' {
			if text.Len() < fetchWord {
				text.WriteByte(b)
			}
			if len(tail) == cap(tail) {
				tail = append(tail[:0], tail[1:]...)
			}
			tail = append(tail, b)
			continue
		}
		line := strings.TrimRight(string(tail), "\r")
		open := strings.LastIndexByte(line, '{')
		if open < 0 || !strings.HasSuffix(line, "}") {
			return strings.TrimRight(text.String(), "\r"), nil
		}
		size, err := strconv.ParseInt(strings.TrimRight(line[open+1:len(line)-1], "+"), 10, 64)
		if err != nil || size < 0 {
			return strings.TrimRight(text.String(), "\r"), nil
		}
		if err := f.discard(size); err != nil {
			return "", err
		}
		tail = tail[:0]
	}
}

// fetchedItem is what a server said of one message.
type fetchedItem struct {
	uid   int64
	flags []string
	date  time.Time
	body  bool   // there was one, and it is in spool
	part  bool   // of it only the beginning
	spool *Spool // nil without a body; the caller closes it
	err   error  // why the spool does not hold all of it: ErrTooBig
}

// item reads the list of a FETCH answer. A body goes into a spool of newSpool.
func (f *fetchReader) item(newSpool func() *Spool) (fetchedItem, error) {
	var m fetchedItem
	t, err := f.next()
	if err != nil || t.kind != '(' {
		return m, errors.Join(err, errFetchAnswer)
	}
	for {
		name, err := f.next()
		if err != nil || name.kind == ')' {
			return m, err
		}
		if name.kind != 'a' {
			return m, errFetchAnswer
		}
		value, err := f.next()
		if err == nil {
			err = f.value(&m, strings.ToUpper(name.text), value, newSpool)
		}
		if err != nil {
			return m, err
		}
	}
}

// value reads the value of one item of a FETCH answer, which begins with t.
func (f *fetchReader) value(m *fetchedItem, name string, t fetchToken, newSpool func() *Spool) error {
	switch {
	case name == "UID" && t.kind == 'a':
		var err error
		m.uid, err = strconv.ParseInt(t.text, 10, 64)
		return err
	case name == "INTERNALDATE" && t.kind == '"':
		date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", t.text)
		if err == nil {
			m.date = date
		}
		return nil // without it the mail has today's
	case name == "FLAGS" && t.kind == '(':
		return f.flags(m)
	case name == "BODY[]<0>":
		m.part = true
		return f.body(m, t, newSpool)
	case name == "BODY[]", name == "BODY.PEEK[]", name == "RFC822", name == "RFC822.PEEK":
		return f.body(m, t, newSpool)
	}
	return f.skip(t)
}

func (f *fetchReader) flags(m *fetchedItem) error {
	for {
		t, err := f.next()
		if err != nil || t.kind == ')' {
			return err
		}
		if t.kind != 'a' {
			return errFetchAnswer
		}
		if len(m.flags) < maxMsgKeywords {
			m.flags = append(m.flags, t.text)
		}
	}
}

// body reads a message. NIL is none, and so is an empty one: no message is empty.
func (f *fetchReader) body(m *fetchedItem, t fetchToken, newSpool func() *Spool) error {
	if m.spool != nil {
		return f.skip(t) // a second one
	}
	switch t.kind {
	case '"':
		if t.text == "" {
			return nil
		}
		m.body, m.spool = true, newSpool()
		_, m.err = m.spool.Write([]byte(t.text))
		return nil
	case '{':
		if t.size == 0 {
			return nil
		}
		f.swallow -= t.size
		if f.swallow < 0 {
			return errFetchSwallow
		}
		m.body, m.spool = true, newSpool()
		keep := &fetchSpool{Spool: m.spool}
		_, err := io.CopyN(keep, f.r, t.size)
		m.err = keep.err
		return err
	}
	return f.skip(t)
}

// fetchSpool keeps what fits and swallows the rest, so that the answer is read to its end.
type fetchSpool struct {
	*Spool
	err error
}

func (f *fetchSpool) Write(p []byte) (int, error) {
	if f.err == nil {
		_, f.err = f.Spool.Write(p)
	}
	return len(p), nil
}
