// Delivery reports (RFC 3464): for people on top, in English and in Chinese, and for programs beneath.
package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// ReportAction is what became of a recipient (RFC 3464 §2.3.3).
type ReportAction string

const (
	ActionFailed    ReportAction = "failed"
	ActionDelayed   ReportAction = "delayed"
	ActionDelivered ReportAction = "delivered"
	ActionRelayed   ReportAction = "relayed"
	ActionExpanded  ReportAction = "expanded"
)

// Report is a delivery report to be written. All its recipients share the action.
type Report struct {
	Action  ReportAction
	MTA     string // our name
	From    Addr   // who signs it: an address of ours
	To      Addr
	ID      string // of the report itself, for Message-ID
	Date    time.Time
	Arrived time.Time // when we took the message
	EnvID   string    // the sender's envelope id, decoded; "" none
	Rcpts   []ReportRcpt

	Message *io.SectionReader // the message the report is about; only read if Whole
	Header  []byte            // its header block
	Whole   bool              // return all of it and not only the header
	UTF8    bool              // it is an internationalized message (RFC 6531)
}

// ReportRcpt is one recipient of the message that the report is about.
type ReportRcpt struct {
	Final    Addr
	Original string // ORCPT, decoded, as "type;address"; "" none
	Status   string // enhanced status code, such as 5.1.1
	Remote   string // the host that said so; "" it was us
	Said     string // its words, or ours when Remote is ""
	Last     time.Time
	Until    time.Time // delayed: when we give up
}

// redact takes out of a report what tells others what its message was about: all of it but what its sender knows it by.
func (r *Report) redact() {
	h := ParseHeader(r.Header)
	r.Whole, r.Header = false, nil
	for _, name := range []string{"Message-ID", "Date"} {
		if v := strings.TrimSpace(h.Get(name)); v != "" && isASCII(v) {
			r.Header = append(r.Header, foldField(name, v)...)
		}
	}
	r.Header = append(r.Header, "\r\n"...)
}

// reportWords are a report's sentences for people.
type reportWords struct{ subject, what, whatZh string }

var reportTexts = map[ReportAction]reportWords{
	ActionFailed: {"Not delivered",
		"Your message could not be delivered to:", "您的邮件未能送达以下收件人："},
	ActionDelayed: {"Delayed",
		"Your message has not reached these people yet. You need not send it again: it is tried until %s.", "您的邮件尚未送达以下收件人。无需重发，系统会一直尝试到 %s。"},
	ActionDelivered: {"Delivered",
		"Your message was put into the mailbox of:", "您的邮件已送达以下收件人的邮箱："},
	ActionRelayed: {"Handed on",
		"Your message was handed to a server that sends no reports, and nothing more will be heard from here. It was meant for:", "您的邮件已转交给一台不发送回执的服务器，此后不会再有通知。收件人："},
	ActionExpanded: {"Delivered to a list",
		"Your message was sent on to everybody behind this address:", "您的邮件已转发给该地址代表的所有收件人："},
}

// WriteTo writes the report as a message: multipart/report with a text, the delivery status, and the message or its
// header (RFC 6522 §3). Lines end with CRLF.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	h := ParseHeader(r.Header)
	subject := reportTexts[r.Action].subject
	if s := reportLine(h.Text("Subject")); s != "" {
		subject += ": " + s
	}
	d := Draft{From: &Address{Name: "Postino", Local: r.From.Local, Domain: r.From.Domain}, To: []Address{r.to()}, Subject: subject,
		Date: r.Date, MessageID: "<" + r.ID + "@" + r.MTA + ">", Extra: []Field{{"Auto-Submitted", "auto-replied"}}, // RFC 3834 §5
		Text: r.text(), Report: "delivery-status", Attachments: []Attachment{r.status(), r.returned()}}
	if ids := MessageIDs(h.Get("Message-ID")); len(ids) > 0 && isMessageID(ids[0]) {
		d.InReplyTo, d.References = ids[0], ids[:1]
	}
	return d.WriteTo(w)
}

// to is the sender's address as its server can read it.
func (r *Report) to() Address {
	a := r.To
	if path, ok := a.ASCIIPath(); ok && !r.UTF8 {
		if ascii, _, err := ParsePath(path); err == nil {
			a = ascii
		}
	}
	return Address{Local: a.Local, Domain: a.Domain}
}

// text is the part for people.
func (r *Report) text() string {
	t := reportTexts[r.Action]
	until := ""
	for _, rc := range r.Rcpts {
		if !rc.Until.IsZero() {
			until = rc.Until.Format("2006-01-02 15:04 MST")
		}
	}
	var b strings.Builder
	r.writeWords(&b, func(s string) string { return s }, t.what, until, "%s said: %s", "Reason: %s", "The message is attached.", "Its header is attached.")
	b.WriteString("\n----\n\n")
	r.writeWords(&b, reasonChinese, t.whatZh, until, "%s 的答复：%s", "原因：%s", "原邮件附后。", "原邮件的信头附后。")
	return b.String()
}

// writeWords writes the text in one language, into which translate puts our own reasons.
func (r *Report) writeWords(w io.Writer, translate func(string) string, what, until, said, reason, whole, header string) {
	if strings.Contains(what, "%s") {
		what = fmt.Sprintf(what, until)
	}
	fmt.Fprintf(w, "%s\n\n", what)
	for _, rc := range r.Rcpts {
		fmt.Fprintf(w, "    %s\n", rc.Final)
		words := strings.ReplaceAll(rc.Said, "\n", " ")
		switch {
		case words == "":
		case rc.Remote != "":
			fmt.Fprintf(w, "        "+said+"\n", rc.Remote, words)
		default:
			fmt.Fprintf(w, "        "+reason+"\n", translate(words))
		}
	}
	h := ParseHeader(r.Header)
	fmt.Fprintf(w, "\n")
	for _, name := range []string{"Subject", "Date"} {
		if v := h.Text(name); v != "" {
			fmt.Fprintf(w, "%s: %s\n", name, v)
		}
	}
	if r.Whole {
		fmt.Fprintf(w, "%s\n", whole)
	} else {
		fmt.Fprintf(w, "%s\n", header)
	}
}

// status is the part for programs (RFC 3464 §2; with UTF-8 addresses RFC 6533).
func (r *Report) status() Attachment {
	var b strings.Builder
	addrType, a := "rfc822", Attachment{Type: "message/delivery-status"}
	if r.UTF8 {
		addrType, a.Type = "utf-8", "message/global-delivery-status"
	}
	fmt.Fprintf(&b, "Reporting-MTA: dns; %s\r\n", r.MTA)
	if r.EnvID != "" {
		fmt.Fprintf(&b, "Original-Envelope-Id: %s\r\n", reportLine(r.EnvID))
	}
	if !r.Arrived.IsZero() {
		fmt.Fprintf(&b, "Arrival-Date: %s\r\n", FormatDate(r.Arrived))
	}
	for _, rc := range r.Rcpts {
		r.writeRcpt(&b, rc, addrType)
	}
	a.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(b.String())), nil }
	return a
}

func (r *Report) writeRcpt(w io.Writer, rc ReportRcpt, addrType string) {
	fmt.Fprint(w, "\r\n")
	if typ, orig, ok := strings.Cut(rc.Original, ";"); ok {
		fmt.Fprintf(w, "Original-Recipient: %s; %s\r\n", typ, reportLine(orig))
	}
	final := rc.Final.String()
	if path, ok := rc.Final.ASCIIPath(); ok && !r.UTF8 {
		final = strings.Trim(path, "<>")
	}
	fmt.Fprintf(w, "Final-Recipient: %s; %s\r\nAction: %s\r\nStatus: %s\r\n", addrType, final, r.Action, rc.Status)
	if rc.Remote != "" {
		fmt.Fprintf(w, "Remote-MTA: dns; %s\r\n", reportLine(rc.Remote))
		if rc.Said != "" {
			fmt.Fprintf(w, "Diagnostic-Code: smtp; %s\r\n", r.fold(rc.Said))
		}
	} else if rc.Said != "" {
		fmt.Fprintf(w, "Diagnostic-Code: X-Postino; %s\r\n", r.fold(rc.Said))
	}
	if !rc.Last.IsZero() {
		fmt.Fprintf(w, "Last-Attempt-Date: %s\r\n", FormatDate(rc.Last))
	}
	if !rc.Until.IsZero() {
		fmt.Fprintf(w, "Will-Retry-Until: %s\r\n", FormatDate(rc.Until))
	}
}

// returned is the message, or its header.
func (r *Report) returned() Attachment {
	a := Attachment{Type: "text/rfc822-headers"}
	switch {
	case r.Whole && r.UTF8:
		a.Type = "message/global"
	case r.Whole:
		a.Type = "message/rfc822"
	case r.UTF8:
		a.Type = "message/global-headers"
	}
	a.Open = func() (io.ReadCloser, error) {
		if r.Whole {
			return io.NopCloser(io.NewSectionReader(r.Message, 0, r.Message.Size())), nil
		}
		return io.NopCloser(bytes.NewReader(bytes.TrimSuffix(r.Header, []byte("\r\n")))), nil
	}
	return a
}

// reportLine keeps a value on one line: what peers and senders say may hold anything.
func reportLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// fold lays a long text out over lines that fit. Only in a report of an internationalized message it may be UTF-8.
func (r *Report) fold(s string) string {
	if !r.UTF8 {
		s = strings.Map(func(c rune) rune {
			if c > 0x7e {
				return '?'
			}
			return c
		}, s)
	}
	var b strings.Builder
	col := 20
	for _, word := range strings.Fields(reportLine(strings.ReplaceAll(s, "\n", " "))) {
		for len(word) > 500 {
			b.WriteString(word[:500] + "\r\n\t")
			word = word[500:]
		}
		if col+len(word) > 76 && b.Len() > 0 {
			b.WriteString("\r\n\t")
			col = 8
		} else if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		col += len(word) + 1
	}
	return b.String()
}
