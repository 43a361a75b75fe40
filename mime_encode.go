// Messages we author: plain or HTML, with files, streamed.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Draft is a message to be written: what web mail, reports and the command line author.
//
// Whatever a user typed may be put in: a CR, LF or NUL in a value for the header is an
// error that names the field, so no field can be smuggled in.
type Draft struct {
	From, Sender         *Address
	ReplyTo, To, Cc, Bcc []Address // Bcc is written only when KeepBcc (drafts)
	KeepBcc              bool
	Subject              string
	Date                 time.Time
	MessageID            string // with angle brackets; "" for a new one in From's domain
	InReplyTo            string
	References           []string
	Extra                []Field
	Text, HTML           string // UTF-8; HTML "" for plain only, Text "" is made from HTML
	Flowed               bool   // format=flowed text
	Report               string // report-type: the message is a multipart/report (RFC 6522), its attachments the report
	Attachments          []Attachment
}

// Attachment is a file of a Draft. Open may be called more than once.
//
// Type may have parameters; "" is application/octet-stream. An Inline file with a
// ContentID (without brackets) belongs to the HTML, which names it as cid:ContentID.
// message/rfc822 and other message types are written as they are, because they may not be
// encoded (RFC 2046 §5.2); other types in base64.
type Attachment struct {
	Name, Type, ContentID string
	Inline                bool
	Size                  int64 // octets; only a hint for readers, 0 for unknown
	Open                  func() (io.ReadCloser, error)
}

// NewMessageID makes a fresh message id with its angle brackets (RFC 5322 §3.6.4).
func NewMessageID(domain string) string {
	if d, err := DomainToASCII(domain); err == nil && d != "" {
		domain = d
	}
	return "<" + strings.ToLower(rand.Text()) + "@" + domain + ">"
}

// WriteTo writes the message with CRLF line ends. It checks every header value before the
// first octet, and reads the attachments one after the other without keeping them. The
// result is 7-bit unless a message/rfc822 attachment or a local part is not.
func (d *Draft) WriteTo(w io.Writer) (int64, error) {
	header, err := d.header()
	if err != nil {
		return 0, err
	}
	body, err := d.body()
	if err != nil {
		return 0, err
	}
	buf := bufio.NewWriter(w)
	out := &lineWriter{w: buf}
	out.str(header)
	if err := body.write(out); err != nil {
		return out.n, err
	}
	if err := buf.Flush(); err != nil {
		return out.n, err
	}
	return out.n, out.err
}

// header writes the fields that are not about MIME parts.
func (d *Draft) header() (string, error) {
	if d.From == nil {
		return "", errors.New("no From address")
	}
	if d.Date.IsZero() {
		return "", errors.New("no Date")
	}
	h := draftHeader{}
	h.addresses("From", []Address{*d.From})
	if d.Sender != nil && *d.Sender != *d.From {
		h.addresses("Sender", []Address{*d.Sender})
	}
	h.addresses("Reply-To", d.ReplyTo)
	h.addresses("To", d.To)
	h.addresses("Cc", d.Cc)
	if len(d.To)+len(d.Cc) == 0 && !d.KeepBcc {
		h.b.WriteString("To: undisclosed-recipients:;\r\n")
	}
	if d.KeepBcc {
		h.addresses("Bcc", d.Bcc)
	}
	h.text("Subject", d.Subject)
	h.text("Date", FormatDate(d.Date))
	id := d.MessageID
	if id == "" {
		id = NewMessageID(d.From.Domain)
	}
	h.ids("Message-ID", id)
	if h.clean("In-Reply-To", d.InReplyTo) {
		h.ids("In-Reply-To", MessageIDs(d.InReplyTo)...)
	}
	h.ids("References", d.References...)
	for _, f := range d.Extra {
		h.extra(f)
	}
	h.text("MIME-Version", "1.0")
	return h.b.String(), h.err
}

// draftHeader collects fields and keeps the first error.
type draftHeader struct {
	b   strings.Builder
	err error
}

// clean says whether the value may go into a header, and sets the error when not.
func (h *draftHeader) clean(name, value string) bool {
	if err := checkHeaderValue(value); err != nil && h.err == nil {
		h.err = fmt.Errorf("%s: %w", name, err)
	}
	return h.err == nil
}

// checkHeaderValue refuses what could end a field or a line.
func checkHeaderValue(s string) error {
	if i := strings.IndexAny(s, "\r\n\x00"); i >= 0 {
		return fmt.Errorf("control character %U is not allowed", s[i])
	}
	return nil
}

func (h *draftHeader) text(name, value string) {
	if h.clean(name, value) && (value != "" || name == "Subject") {
		h.b.WriteString(foldText(name, EncodeWords(value)))
	}
}

func (h *draftHeader) addresses(name string, list []Address) {
	for _, a := range list {
		if !h.clean(name, a.Name) || !h.clean(name, a.Local) {
			return
		}
		if _, err := a.Addr(); err != nil && a.Domain != "" {
			h.err = fmt.Errorf("%s: %w", name, err)
			return
		}
	}
	if len(list) > 0 {
		h.b.WriteString(foldAddresses(name, list))
	}
}

// ids writes message ids, each in brackets.
func (h *draftHeader) ids(name string, ids ...string) {
	if len(ids) == 0 {
		return
	}
	pieces := make([]string, len(ids))
	for i, id := range ids {
		if !h.clean(name, id) {
			return
		}
		id = strings.Trim(id, "<> ")
		if id == "" || len(id) > maxToken || strings.ContainsAny(id, " \t<>") || !isPrintableASCII(id) {
			h.err = fmt.Errorf("%s: %q is not a message id", name, clip(ids[i]))
			return
		}
		pieces[i] = "<" + id + ">"
	}
	h.b.WriteString(foldField(name, pieces...))
}

// extra writes a field of the caller's, but none that Draft has its own place for.
func (h *draftHeader) extra(f Field) {
	if !isFieldName(f.Name) || len(f.Name) > foldColumn {
		h.err = fmt.Errorf("%q is not a field name", clip(f.Name))
		return
	}
	switch strings.ToLower(f.Name) {
	case "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to",
		"references", "mime-version", "content-type", "content-transfer-encoding", "content-disposition":
		h.err = fmt.Errorf("%s: not allowed as an extra field", f.Name)
		return
	}
	h.text(f.Name, f.Value)
}

// draftPart is a part to be written: its own header fields, and either parts or a body.
type draftPart struct {
	fields   string
	boundary string
	parts    []*draftPart
	body     func(*lineWriter) error
	tidy     bool // what is written ends in a line end that belongs to nothing
}

func (p *draftPart) write(w *lineWriter) error {
	w.str(p.fields)
	w.str("\r\n")
	if p.parts == nil {
		return p.body(w)
	}
	for _, c := range p.parts {
		w.str("--" + p.boundary + "\r\n")
		if err := c.write(w); err != nil {
			return err
		}
		if !c.tidy {
			w.str("\r\n")
		}
	}
	w.str("--" + p.boundary + "--\r\n")
	return w.err
}

// draftMultipart joins parts; one alone stays alone. The boundary is random: it cannot
// occur in what it separates.
func draftMultipart(subtype string, params []Param, parts ...*draftPart) *draftPart {
	if len(parts) == 1 && subtype != "report" {
		return parts[0]
	}
	boundary := "=_" + rand.Text()
	params = append(params, Param{"boundary", boundary})
	return &draftPart{fields: contentType("multipart/"+subtype, params), boundary: boundary, parts: parts, tidy: true}
}

// contentType writes a Content-Type field.
func contentType(media string, params []Param) string {
	return paramField("Content-Type", media, params)
}

// paramField writes a value with its parameters.
func paramField(name, value string, params []Param) string {
	pieces := []string{value}
	for _, p := range params {
		for _, piece := range formatParam(p) {
			pieces[len(pieces)-1] += ";"
			pieces = append(pieces, strings.Split(piece, " ")...)
		}
	}
	return foldField(name, pieces...)
}

// body lays the parts out: files beside the text, and pictures beside the HTML that shows
// them (RFC 2046 §5.1.3, §5.1.4, RFC 2387).
func (d *Draft) body() (*draftPart, error) {
	var inline, files []*draftPart
	for i := range d.Attachments {
		a := &d.Attachments[i]
		p, err := a.part(d.Report != "")
		if err != nil {
			return nil, err
		}
		if a.Inline && a.ContentID != "" && d.HTML != "" {
			inline = append(inline, p)
		} else {
			files = append(files, p)
		}
	}
	text := d.Text
	if text == "" && d.HTML != "" {
		b, err := io.ReadAll(HTMLText(strings.NewReader(d.HTML)))
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	body := draftText("plain", text, d.Flowed)
	if d.HTML != "" {
		html := draftMultipart("related", []Param{{"type", "text/html"}},
			append([]*draftPart{draftText("html", d.HTML, false)}, inline...)...)
		body = draftMultipart("alternative", nil, body, html)
	}
	parts := append([]*draftPart{body}, files...)
	if d.Report != "" {
		if !isMIMEToken(d.Report) {
			return nil, fmt.Errorf("%q is not a report type", clip(d.Report))
		}
		return draftMultipart("report", []Param{{"report-type", d.Report}}, parts...), nil
	}
	return draftMultipart("mixed", nil, parts...), nil
}

// part checks an attachment's header. In a report, files without a name are parts to read:
// text that stays text.
func (a *Attachment) part(report bool) (*draftPart, error) {
	media := a.Type
	if media == "" {
		media = "application/octet-stream"
	}
	typ, subtype, params, ok := parseMediaType(media)
	if !ok || typ == "multipart" || checkHeaderValue(media) != nil {
		return nil, fmt.Errorf("Content-Type: %q cannot be attached", clip(media))
	}
	if err := checkHeaderValue(a.Name); err != nil {
		return nil, fmt.Errorf("file name: %w", err)
	}
	p := &draftPart{}
	encoding := "base64"
	if typ == "message" || report && typ == "text" {
		var err error
		if encoding, err = a.plainEncoding(typ == "message"); err != nil {
			return nil, err
		}
		if encoding == "base64" && typ == "message" {
			typ, subtype = "application", "octet-stream"
		}
	}
	if a.Name != "" {
		params = append(params, Param{"name", a.Name})
	}
	p.fields = contentType(typ+"/"+subtype, params) + foldField("Content-Transfer-Encoding", encoding)
	if a.Name != "" || a.Inline || typ != "message" && !report {
		p.fields += a.disposition()
	}
	if a.ContentID != "" {
		id := strings.Trim(a.ContentID, "<>")
		if id == "" || len(id) > maxToken || !isPrintableASCII(id) || strings.ContainsAny(id, " <>") {
			return nil, fmt.Errorf("Content-ID: %q is not a content id", clip(a.ContentID))
		}
		p.fields += foldField("Content-ID", "<"+id+">")
	}
	p.body = func(w *lineWriter) error { return a.write(w, encoding) }
	p.tidy = encoding == "base64"
	return p, nil
}

func (a *Attachment) disposition() string {
	disp := "attachment"
	if a.Inline {
		disp = "inline"
	}
	var params []Param
	if a.Name != "" {
		params = append(params, Param{"filename", a.Name})
	}
	if a.Size > 0 {
		params = append(params, Param{"size", strconv.FormatInt(a.Size, 10)})
	}
	return paramField("Content-Disposition", disp, params)
}

// plainEncoding reads the file once to see whether it can go as lines of text. What has
// NULs or overlong lines cannot.
func (a *Attachment) plainEncoding(message bool) (string, error) {
	r, err := a.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	var m measure
	if _, err := io.Copy(&crlfWriter{w: &m}, r); err != nil {
		return "", fmt.Errorf("read %s: %w", a.Name, err)
	}
	switch {
	case m.odd || m.longest > maxLine, m.high && !message:
		return "base64", nil
	case m.high:
		return "8bit", nil
	}
	return "7bit", nil
}

// write copies the file into the message.
func (a *Attachment) write(w *lineWriter, encoding string) error {
	r, err := a.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if encoding == "base64" {
		err = writeBase64(w, r)
	} else {
		_, err = io.Copy(&crlfWriter{w: w}, r)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", a.Name, err)
	}
	return nil
}

// draftText is a text part in the encoding that suits it: 7bit when it can be, else
// quoted-printable or base64, whichever is shorter.
func draftText(subtype, text string, flowed bool) *draftPart {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	params := []Param{{"charset", "utf-8"}}
	if flowed {
		text = flowText(text)
		params = append(params, Param{"format", "flowed"})
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	text = strings.ReplaceAll(text, "\n", "\r\n")
	var m measure
	io.WriteString(&m, text)
	encoding := "7bit"
	if m.high || m.longest > maxLine {
		encoding = shorterEncoding(strings.NewReader(text), m.n)
	}
	return &draftPart{
		tidy:   encoding == "base64",
		fields: contentType("text/"+subtype, params) + foldField("Content-Transfer-Encoding", encoding),
		body: func(w *lineWriter) error {
			switch encoding {
			case "quoted-printable":
				return writeQP(w, strings.NewReader(text), true)
			case "base64":
				return writeBase64(w, strings.NewReader(text))
			}
			w.str(text)
			return w.err
		},
	}
}

// shorterEncoding reads n octets of text and says which encoding makes less of them.
func shorterEncoding(r io.Reader, n int64) string {
	qp := &lineWriter{w: io.Discard}
	writeQP(qp, r, true)
	if base64Size(n) < qp.n {
		return "base64"
	}
	return "quoted-printable"
}

// flowColumn is where flowed lines break; RFC 3676 §4.2 wants them under 79 with the space.
const flowColumn = 72

// flowText writes text as format=flowed (RFC 3676 §4): a line that ends in a space goes on
// in the next one. Lines the user ended stay ended, quoted lines keep their depth, and
// lines that begin with a space or "From " are stuffed with one.
func flowText(text string) string {
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		if line != "-- " { // the signature separator keeps its space (§4.3)
			line = strings.TrimRight(line, " ")
		}
		depth, rest := quoteDepth(line)
		flowLine(&b, strings.Repeat(">", depth), rest)
	}
	return b.String()
}

// quoteDepth counts the quote marks, "> >" as well as ">>", and takes them off with the
// space behind them.
func quoteDepth(line string) (depth int, rest string) {
	for rest = line; ; {
		switch {
		case strings.HasPrefix(rest, ">"):
			depth, rest = depth+1, rest[1:]
		case depth > 0 && strings.HasPrefix(rest, " >"):
			rest = rest[1:]
		case depth > 0:
			return depth, strings.TrimPrefix(rest, " ")
		default:
			return 0, line
		}
	}
}

// flowLine writes one paragraph at its quote depth.
func flowLine(b *strings.Builder, quote, text string) {
	for {
		room := max(flowColumn-len(quote), 20)
		cut := 0
		if len(text) > room {
			if cut = strings.LastIndexByte(text[:room], ' ') + 1; cut == 0 {
				cut = strings.IndexByte(text, ' ') + 1
			}
			if strings.TrimRight(text[cut:], " ") == "" {
				cut = 0
			}
		}
		line := text
		if cut > 0 {
			line = text[:cut]
		}
		b.WriteString(quote)
		if line != "" && (quote != "" || line[0] == ' ' || line[0] == '>' || strings.HasPrefix(line, "From ")) {
			b.WriteByte(' ')
		}
		b.WriteString(line)
		if cut == 0 {
			return
		}
		b.WriteByte('\n')
		text = text[cut:]
	}
}

// Transfer encodings on the way out, and the folding of header fields.

// foldColumn is where a header line should end (RFC 5322 §2.1.1 says 78; a line with an
// encoded word has 76, RFC 2047 §2).
const foldColumn = 76

// foldField writes a header field with its line end, folded between the pieces. No line is
// blank, so no reader takes one for the end of the header.
func foldField(name string, pieces ...string) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte(':')
	col := len(name) + 1
	for _, p := range pieces {
		if col+1+len(p) > foldColumn && p != "" && col > 1 {
			b.WriteString("\r\n")
			col = 0
		}
		b.WriteByte(' ')
		b.WriteString(p)
		col += 1 + len(p)
	}
	b.WriteString("\r\n")
	return b.String()
}

// foldText is foldField for an ASCII value that may be folded at each space.
func foldText(name, value string) string {
	return foldField(name, strings.Split(value, " ")...)
}

// foldAddresses is foldField for a list: between its entries, and inside a long one.
func foldAddresses(name string, list []Address) string {
	return foldText(name, FormatAddressList(list))
}

// lineWriter counts octets and keeps the first error, so that its users write straight on.
type lineWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.n += int64(n)
	w.err = err
	return n, err
}

func (w *lineWriter) str(s string) { io.WriteString(w, s) }

// qpWriter writes quoted-printable (RFC 2045 §6.7) in lines of at most 76 columns. What
// could look like something else at the start of a line is encoded too: "--" a boundary,
// "." the end of DATA, "From " an mbox separator.
type qpWriter struct {
	w       io.Writer
	text    bool // CRLF and bare LF are line ends; else every CR and LF but CRLF is encoded
	pending []byte
	line    []byte // output, whole lines and the one in hand
	start   int    // of the line in hand in line
	err     error
}

// qpAhead is how many octets must be known to write the next one.
const qpAhead = 5

func (q *qpWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && q.err == nil {
		take := min(len(p), bodyBuffer)
		q.pending = append(q.pending, p[:take]...)
		p = p[take:]
		q.encode(qpAhead)
	}
	return n, q.err
}

// Close writes what is pending. A body that does not end in a line end gets none.
func (q *qpWriter) Close() error {
	q.encode(0)
	q.flush()
	return q.err
}

// encode writes the pending octets of which more than ahead are known to follow.
func (q *qpWriter) encode(ahead int) {
	in := q.pending
	i := 0
	for i < len(in)-ahead {
		i += q.octet(in[i:])
	}
	q.pending = append(q.pending[:0], in[i:]...)
	if len(q.line) >= bodyBuffer {
		q.flush()
	}
}

func (q *qpWriter) flush() {
	if q.err == nil {
		_, q.err = q.w.Write(q.line)
	}
	q.start -= len(q.line)
	q.line = q.line[:0]
}

// octet encodes the first octet of in, or its first line end, and says how many it took.
func (q *qpWriter) octet(in []byte) int {
	c := in[0]
	switch {
	case c == '\r' && len(in) > 1 && in[1] == '\n':
		q.breakLine("\r\n")
		return 2
	case c == '\n' && q.text:
		q.breakLine("\r\n")
		return 1
	case c == ' ' || c == '\t':
		q.put(in, len(in) == 1 || in[1] == '\r' || in[1] == '\n')
	default:
		q.put(in, c < ' ' || c > '~' || c == '=')
	}
	return 1
}

// startsOddly says whether a line that begins so needs its first octet encoded.
func startsOddly(in []byte) bool {
	return in[0] == '.' || in[0] == '-' && len(in) > 1 && in[1] == '-' || in[0] == 'F' && strings.HasPrefix(string(in[:min(5, len(in))]), "From ")
}

// put writes the first octet of in, on a new line when this one is full.
func (q *qpWriter) put(in []byte, encoded bool) {
	size := 1
	if encoded {
		size = 3
	}
	if len(q.line)-q.start+size > 75 {
		q.breakLine("=\r\n")
	}
	c := in[0]
	if encoded || len(q.line) == q.start && startsOddly(in) {
		q.line = append(q.line, '=', hexDigits[c>>4], hexDigits[c&15])
		return
	}
	q.line = append(q.line, c)
}

func (q *qpWriter) breakLine(end string) {
	q.line = append(q.line, end...)
	q.start = len(q.line)
}

// writeQP writes all of r as quoted-printable.
func writeQP(w io.Writer, r io.Reader, text bool) error {
	q := &qpWriter{w: w, text: text}
	if _, err := io.Copy(struct{ io.Writer }{q}, r); err != nil {
		return err
	}
	return q.Close()
}

// base64Line is how many octets make a line of 76 columns.
const base64Line = 57

// writeBase64 writes all of r as base64 in lines of 76 columns, the last with its line end.
func writeBase64(w io.Writer, r io.Reader) error {
	const lines = 64
	var in [base64Line * lines]byte
	var out [(76 + 2) * lines]byte
	for {
		n, err := io.ReadFull(r, in[:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		size := 0
		for off := 0; off < n; off += base64Line {
			piece := in[off:min(off+base64Line, n)]
			base64.StdEncoding.Encode(out[size:], piece)
			size += base64.StdEncoding.EncodedLen(len(piece))
			size += copy(out[size:], "\r\n")
		}
		if _, werr := w.Write(out[:size]); werr != nil {
			return werr
		}
		if err != nil {
			return nil
		}
	}
}

// base64Size is how much writeBase64 writes for n octets.
func base64Size(n int64) int64 {
	return (n+2)/3*4 + (n+base64Line-1)/base64Line*2
}

// crlfWriter makes every line end CRLF: bare LFs, and bare CRs too.
type crlfWriter struct {
	w   io.Writer
	cr  bool // the last octet was a CR, whose LF is written already
	buf []byte
}

func (c *crlfWriter) Write(p []byte) (int, error) {
	c.buf = c.buf[:0]
	for _, b := range p {
		switch {
		case b == '\r', b == '\n' && !c.cr:
			c.buf = append(c.buf, "\r\n"...)
		case b != '\n':
			c.buf = append(c.buf, b)
		}
		c.cr = b == '\r'
	}
	if _, err := c.w.Write(c.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// measure is an io.Writer that learns what is needed to choose an encoding.
type measure struct {
	n       int64 // octets
	line    int64 // octets of the line in hand
	longest int64
	high    bool // an octet above 127
	odd     bool // a NUL, or a CR or LF outside CRLF
	lastCR  bool
	invalid bool   // not UTF-8
	rest    []byte // the beginning of a character
}

func (m *measure) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	for _, c := range p {
		if m.lastCR != (c == '\n') {
			m.odd = true
		}
		m.lastCR = c == '\r'
		switch {
		case c == '\n':
			m.line = 0
			continue
		case c == 0:
			m.odd = true
		case c >= utf8.RuneSelf:
			m.high = true
		}
		if c != '\r' {
			m.line++
			m.longest = max(m.longest, m.line)
		}
	}
	m.checkUTF8(p)
	return len(p), nil
}

// checkUTF8 goes on over the edges of the pieces.
func (m *measure) checkUTF8(p []byte) {
	if m.invalid || !m.high {
		return
	}
	for len(m.rest) > 0 && len(p) > 0 && !utf8.FullRune(m.rest) {
		m.rest, p = append(m.rest, p[0]), p[1:]
	}
	if len(m.rest) > 0 && !utf8.FullRune(m.rest) {
		return
	}
	m.invalid = !utf8.Valid(m.rest)
	cut := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if c := p[len(p)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(p[len(p)-back:]) {
				cut = len(p) - back
			}
			break
		}
	}
	m.invalid = m.invalid || !utf8.Valid(p[:cut])
	m.rest = append(m.rest[:0], p[cut:]...)
}

// isUTF8 says whether all that was written is valid UTF-8. A last character cut short is not.
func (m *measure) isUTF8() bool { return !m.invalid && len(m.rest) == 0 }
