// What Sieve changes about a mail: its header (RFC 5293), its parts (RFC 5703). The mail that came stays as it is; an action takes
// along what the mail was when it was asked for.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	sieveMaxAdded = 64 // fields that a script adds to one mail
	sieveMaxField = 8 << 10
	sieveMaxPart  = 64 << 10 // octets of a text that replaces a part
)

// sieveEdit is a mail with changes: another header, and pieces of its content in the place of others. It is never changed itself.
type sieveEdit struct {
	header  Header
	splices []sieveSplice // in the order of their places, which are those of the mail that came
	body    []byte        // in the place of the whole body, if it is not nil
	inner   *sieveEdit    // and the mail that is enclosed behind it, with the end of the multipart
	ending  []byte
}

// sieveSplice is what stands between two offsets now.
type sieveSplice struct {
	from, to int64
	text     []byte
}

// writeTo writes the mail as it is now.
func (e *sieveEdit) writeTo(w io.Writer, m *sieveMail) error {
	var b bytes.Buffer
	for _, f := range e.header {
		b.WriteString(f.Name + ":" + f.Value + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(e.body)
	_, err := w.Write(b.Bytes())
	if err != nil {
		return err
	}
	if e.inner != nil {
		err = e.inner.writeTo(w, m)
		if err == nil {
			_, err = w.Write(e.ending)
		}
	}
	if err != nil || e.body != nil {
		return err
	}
	at := m.tree.BodyOff
	for _, s := range e.splices {
		_, err = io.Copy(w, io.NewSectionReader(m.r, at, s.from-at))
		if err == nil {
			_, err = w.Write(s.text)
		}
		if err != nil {
			return err
		}
		at = s.to
	}
	_, err = io.Copy(w, io.NewSectionReader(m.r, at, m.size-at))
	return err
}

// size is how many octets writeTo writes.
func (e *sieveEdit) size(m *sieveMail) int64 {
	n := int64(2 + len(e.body))
	for _, f := range e.header {
		n += int64(len(f.Name) + 1 + len(f.Value) + 2)
	}
	if e.inner != nil {
		n += e.inner.size(m) + int64(len(e.ending))
	}
	if e.body != nil {
		return n
	}
	n += m.size - m.tree.BodyOff
	for _, s := range e.splices {
		n += int64(len(s.text)) - (s.to - s.from)
	}
	return n
}

// change makes a new edit from what the mail is now.
func (r *sieveRun) change(fn func(*sieveEdit)) {
	next := sieveEdit{header: slices.Clone(r.header)}
	if r.content != nil {
		next = *r.content
		next.header = slices.Clone(r.header)
		next.splices = slices.Clone(r.content.splices)
	}
	fn(&next)
	r.content, r.header, r.cached = &next, next.header, nil
}

// sieveProtected are fields that scripts leave alone: what says how the mail came here, and what keeps it from going round in
// circles (RFC 5293 §7).
func sieveProtected(name string) bool {
	return slices.Contains([]string{"received", "auto-submitted", "return-path"}, strings.ToLower(name))
}

func (c *sieveCompiler) checkHeader(n *sieveNode) {
	s := n.pos[0].strs[0]
	if s.parts == nil && !isFieldName(s.text) {
		c.fault(s.sievePos, "%s can't be the name of a header field", sieveQuote(s.text))
	}
	if n.name == "addheader" {
		return
	}
	switch {
	case n.tags["last"] != nil && n.tags["index"] == nil:
		c.fault(n.sievePos, "the tag :last needs :index")
	case n.tags["index"] != nil && n.tags["index"].num < 1:
		c.fault(n.sievePos, ":index counts from 1")
	}
	if len(n.pos) == 1 {
		for _, t := range []string{"is", "contains", "matches", "regex", "count", "value", "comparator"} {
			if n.tags[t] != nil {
				c.fault(n.sievePos, "the tag :%s needs a value to compare with", t)
			}
		}
	}
}

// runAddHeader adds a field at the top, or at the end (RFC 5293 §4).
func (r *sieveRun) runAddHeader(n *sieveNode) error {
	name, value := r.str(n.pos[0]), strings.TrimSpace(r.str(n.pos[1]))
	err := r.spend(int64(len(r.header)*4 + len(value)))
	if err != nil {
		return err
	}
	switch {
	case !isFieldName(name) || len(name) > 70:
		return &sieveFault{n.sievePos, sieveQuote(name) + " can't be the name of a header field"}
	case len(value) > sieveMaxField:
		return &sieveFault{n.sievePos, "the value of the field is too long"}
	case len(r.header)-len(r.mail.header) >= sieveMaxAdded:
		return &sieveFault{n.sievePos, "too many fields are added"}
	case sieveProtected(name) && !strings.EqualFold(name, "auto-submitted"):
		return nil
	}
	value = strings.Join(strings.FieldsFunc(value, func(c rune) bool { return c == '\r' || c == '\n' || c == 0 }), " ")
	f := Field{name, strings.TrimSuffix(strings.TrimPrefix(foldText(name, value), name+":"), "\r\n")}
	r.change(func(e *sieveEdit) {
		if n.tags["last"] != nil {
			e.header = append(e.header, f)
		} else {
			e.header = append(Header{f}, e.header...)
		}
	})
	return nil
}

// runDeleteHeader deletes fields of a name, all or those with a value (RFC 5293 §5).
func (r *sieveRun) runDeleteHeader(n *sieveNode) error {
	name := r.str(n.pos[0])
	if sieveProtected(name) {
		return nil
	}
	err := r.spend(int64(len(r.header)) * 8)
	if err != nil {
		return err
	}
	var at []int // where the fields of that name stand
	for i, f := range r.header {
		if strings.EqualFold(f.Name, name) {
			at = append(at, i)
		}
	}
	if a := n.tags["index"]; a != nil {
		i := a.num - 1
		if n.tags["last"] != nil {
			i = int64(len(at)) - a.num
		}
		if i < 0 || i >= int64(len(at)) {
			return nil
		}
		at = at[i : i+1]
	}
	gone := map[int]bool{}
	for _, i := range at {
		if len(n.pos) == 2 {
			v := DecodeWords(unfold(r.header[i].Value))
			ok, err := r.matches(n, []string{v})
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		gone[i] = true
	}
	if len(gone) == 0 {
		return nil
	}
	r.change(func(e *sieveEdit) {
		i := -1
		e.header = slices.DeleteFunc(e.header, func(Field) bool {
			i++
			return gone[i]
		})
	})
	return nil
}

// runForEvery runs its block for each part of the message, the message first, or of the part around it (RFC 5703 §3.1).
func (r *sieveRun) runForEvery(n *sieveNode) error {
	top, outer, depth := r.mail.tree, r.part, r.loops
	if outer != nil {
		top = outer
	}
	if depth >= sieveMaxLoops {
		return &sieveFault{n.sievePos, "too many loops in loops"}
	}
	r.loops++
	defer func() { r.part, r.loops = outer, depth }()
	parts := sieveParts(top)
	if outer != nil {
		parts = parts[1:]
	}
	for _, p := range parts {
		err := r.spend(200)
		if err != nil {
			return err
		}
		r.part = p
		err = r.nodes(n.block)
		if left, ok := err.(*sieveBreak); ok && (left.name == "" || left.name == n.nameOf()) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sieveMaxLoops is how many foreverypart may stand in each other.
const sieveMaxLoops = 4

func (r *sieveRun) runBreak(n *sieveNode) error { return &sieveBreak{n.nameOf()} }

func (c *sieveCompiler) checkExtract(n *sieveNode) {
	c.checkVariableName(n.pos[0].strs[0])
	if len(c.loops) == 0 {
		c.fault(n.sievePos, "extracttext must stand in a foreverypart")
	}
}

// runExtract puts the text of the part into a variable (RFC 5703 §7).
func (r *sieveRun) runExtract(n *sieveNode) error {
	p, text := r.part, ""
	if p != nil && p.Type == "text" {
		most := int64(sieveMaxVariable)
		if a := n.tags["first"]; a != nil {
			most = min(most, a.num*4)
		}
		var err error
		text, err = r.readText(io.LimitReader(p.PlainText(r.mail.r), most), min(p.BodyLen, most), 20)
		if err != nil {
			return err
		}
		text = strings.ToValidUTF8(text, "\ufffd")
		if a := n.tags["first"]; a != nil {
			runes := []rune(text)
			text = string(runes[:min(int64(len(runes)), a.num)])
		}
	}
	v, err := r.modified(n, text)
	if err != nil {
		return err
	}
	return r.setVariable(n, n.pos[0].strs[0].text, v)
}

// sieveTextPart is a text as a MIME part: the fields of its header, and its body. With mime the text is such a part itself; false if
// it is none.
func sieveTextPart(text string, mime bool) (Header, []byte, bool) {
	if !mime {
		var b bytes.Buffer
		p := draftText("plain", text, false)
		err := p.write(&lineWriter{w: &b})
		head, body, ok := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
		return ParseHeader(append(head, "\r\n"...)), body, ok && err == nil
	}
	head, body, ok := strings.Cut(text, "\r\n\r\n")
	if after, none := strings.CutPrefix(text, "\r\n"); none {
		head, body, ok = "", after, true
	}
	h := ParseHeader([]byte(head + "\r\n"))
	h = slices.DeleteFunc(h, func(f Field) bool { return !strings.HasPrefix(strings.ToLower(f.Name), "content-") })
	return h, []byte(body), ok
}

// sieveIsPart knows the fields that say what the body is.
func sieveIsPart(f Field) bool {
	return strings.HasPrefix(strings.ToLower(f.Name), "content-") || strings.EqualFold(f.Name, "MIME-Version")
}

// runReplace puts a text in the place of the part that is looked at, or of the message's body (RFC 5703 §5).
func (r *sieveRun) runReplace(n *sieveNode) error {
	text := r.str(n.pos[0])
	h, body, ok := sieveTextPart(text, n.tags["mime"] != nil)
	switch {
	case len(text) > sieveMaxPart:
		return &sieveFault{n.sievePos, "the text is too long"}
	case !ok:
		return &sieveFault{n.sievePos, "with :mime the text must be a part: header fields, an empty line, a body"}
	}
	p := r.part
	if p == nil || p == r.mail.tree {
		r.change(func(e *sieveEdit) {
			e.header = append(slices.DeleteFunc(e.header, sieveIsPart), Field{"MIME-Version", " 1.0"})
			e.header = append(e.header, h...)
			e.body, e.inner = body, nil
			for name, tag := range map[string]string{"Subject": "subject", "From": "from"} {
				if a := n.tags[tag]; a != nil {
					e.header = sieveWith(e.header, name, r.str(a))
				}
			}
		})
		return nil
	}
	var b bytes.Buffer
	for _, f := range h {
		fmt.Fprintf(&b, "%s:%s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
	b.Write(bytes.TrimSuffix(body, []byte("\r\n")))
	s := sieveSplice{p.HeaderOff, p.BodyOff + p.BodyLen, b.Bytes()}
	r.change(func(e *sieveEdit) {
		e.splices = slices.DeleteFunc(e.splices, func(x sieveSplice) bool { return x.from >= s.from && x.to <= s.to })
		if slices.ContainsFunc(e.splices, func(x sieveSplice) bool { return x.from <= s.from && x.to >= s.to }) {
			return // what is around it is gone already
		}
		e.splices = append(e.splices, s)
		slices.SortFunc(e.splices, func(a, b sieveSplice) int { return cmp.Compare(a.from, b.from) })
	})
	return nil
}

// sieveWith is a header with one field of that name.
func sieveWith(h Header, name, value string) Header {
	h = slices.DeleteFunc(h, func(f Field) bool { return strings.EqualFold(f.Name, name) })
	value = strings.Join(strings.FieldsFunc(sieveCut(value, 1000), func(c rune) bool { return c == '\r' || c == '\n' || c == 0 }), " ")
	return append(h, Field{name, strings.TrimSuffix(strings.TrimPrefix(foldText(name, value), name+":"), "\r\n")})
}

// runEnclose makes the mail a part of a new one, behind a text (RFC 5703 §6).
func (r *sieveRun) runEnclose(n *sieveNode) error {
	text := r.str(n.pos[0])
	if len(text) > sieveMaxPart {
		return &sieveFault{n.sievePos, "the text is too long"}
	}
	if r.content != nil && r.content.inner != nil {
		return &sieveFault{n.sievePos, "enclose may be used once only"}
	}
	h, body, _ := sieveTextPart(text, false)
	inner := r.content
	if inner == nil {
		inner = &sieveEdit{header: r.header}
	}
	boundary := strings.TrimPrefix(sieveKey("", text, r.header.Get("Message-ID")), " ")
	var b bytes.Buffer
	fmt.Fprintf(&b, "--=_%s\r\n", boundary)
	for _, f := range h {
		fmt.Fprintf(&b, "%s:%s\r\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\r\n%s\r\n--=_%s\r\nContent-Type: message/rfc822\r\n\r\n", body, boundary)
	keep := []string{"return-path", "received", "from", "to", "cc", "date", "message-id", "auto-submitted"}
	for _, name := range r.strings(n.tags["headers"]) {
		keep = append(keep, strings.ToLower(name))
	}
	r.change(func(e *sieveEdit) {
		e.header = slices.DeleteFunc(e.header, func(f Field) bool {
			return sieveIsPart(f) || (!slices.Contains(keep, strings.ToLower(f.Name)) && !strings.EqualFold(f.Name, "subject"))
		})
		if a := n.tags["subject"]; a != nil {
			e.header = sieveWith(e.header, "Subject", r.str(a))
		}
		e.header = append(e.header, Field{"MIME-Version", " 1.0"}, Field{"Content-Type", ` multipart/mixed; boundary="=_` + boundary + `"`})
		e.body, e.inner, e.splices = b.Bytes(), inner, nil
		e.ending = []byte("\r\n--=_" + boundary + "--\r\n")
	})
	return nil
}
