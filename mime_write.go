// Messages we author: plain or HTML, with files, streamed.
package main

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Draft is a message to be written: what web mail, reports and the command line author.
//
// Whatever a user typed may be put in: a CR, LF or NUL in a value for the header is an error that names the field, so
// no field can be smuggled in.
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
// Type may have parameters; "" is application/octet-stream. An Inline file with a ContentID (without brackets) belongs
// to the HTML, which names it as cid:ContentID. message/rfc822 and other message types are written as they are, because
// they may not be encoded (RFC 2046 §5.2); other types in base64.
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

// WriteTo writes the message with CRLF line ends. It checks every header value before the first octet, and reads the
// attachments one after the other without keeping them. The result is 7-bit unless a message/rfc822 attachment or a
// local part is not.
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
		if !isMessageID(id) {
			h.err = fmt.Errorf("%s: %q is not a message id", name, clip(ids[i]))
			return
		}
		pieces[i] = "<" + strings.Trim(id, "<> ") + ">"
	}
	h.b.WriteString(foldField(name, pieces...))
}

// isMessageID says whether ids writes it.
func isMessageID(id string) bool {
	id = strings.Trim(id, "<> ")
	return id != "" && len(id) <= maxToken && !strings.ContainsAny(id, " \t<>") && isPrintableASCII(id)
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

// draftMultipart joins parts; one alone stays alone. The boundary is random: it cannot occur in what it separates.
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

// body lays the parts out: files beside the text, and pictures beside the HTML that shows them (RFC 2046 §5.1.3,
// §5.1.4, RFC 2387).
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

// part checks an attachment's header. In a report, files without a name are parts to read: text that stays text.
func (a *Attachment) part(report bool) (*draftPart, error) {
	typ, subtype, params, err := a.mediaType()
	if err != nil {
		return nil, err
	}
	encoding := "base64"
	if typ == "message" || (report && typ == "text") {
		encoding, err = a.plainEncoding(typ == "message" || subtype == "rfc822-headers")
		if err != nil {
			return nil, err
		}
	}
	if encoding == "base64" && typ == "message" {
		typ, subtype = "application", "octet-stream"
	}
	if a.Name != "" {
		params = append(params, Param{"name", a.Name})
	}
	p := &draftPart{tidy: encoding == "base64", body: func(w *lineWriter) error { return a.write(w, encoding) }}
	p.fields = contentType(typ+"/"+subtype, params) + foldField("Content-Transfer-Encoding", encoding)
	if a.Name != "" || a.Inline || (typ != "message" && !report) {
		p.fields += a.disposition()
	}
	if a.ContentID != "" {
		id := strings.Trim(a.ContentID, "<>")
		if !isContentID(id) {
			return nil, fmt.Errorf("Content-ID: %q is not a content id", clip(a.ContentID))
		}
		p.fields += foldField("Content-ID", "<"+id+">")
	}
	return p, nil
}

// mediaType checks what the attachment says of itself. A multipart cannot be attached: its boundary could be ours.
func (a *Attachment) mediaType() (typ, subtype string, params []Param, err error) {
	media := cmp.Or(a.Type, "application/octet-stream")
	typ, subtype, params, ok := parseMediaType(media)
	if !ok || typ == "multipart" || checkHeaderValue(media) != nil {
		return "", "", nil, fmt.Errorf("Content-Type: %q cannot be attached", clip(media))
	}
	if err := checkHeaderValue(a.Name); err != nil {
		return "", "", nil, fmt.Errorf("file name: %w", err)
	}
	return typ, subtype, params, nil
}

// isContentID says whether the id, without brackets, can stand in a field and in a cid: address.
func isContentID(id string) bool {
	return id != "" && len(id) <= maxToken && isPrintableASCII(id) && !strings.ContainsAny(id, " <>")
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

// plainEncoding reads the file once to see whether it can go as lines of text. What has NULs or overlong lines cannot.
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

// draftText is a text part in the encoding that suits it: 7bit when it can be, else quoted-printable or base64,
// whichever is shorter.
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

// flowText writes text as format=flowed (RFC 3676 §4): a line that ends in a space goes on in the next one. Lines the
// user ended stay ended, quoted lines keep their depth, and lines that begin with a space or "From " are stuffed with
// one.
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

// quoteDepth counts the quote marks, "> >" as well as ">>", and takes them off with the space behind them.
func quoteDepth(line string) (int, string) {
	depth := 0
	for rest := line; ; {
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
			cut = strings.LastIndexByte(text[:room], ' ') + 1
			if cut == 0 {
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
