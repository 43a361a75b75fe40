// Bundles: queued mail as a file, for a link that is somebody's pocket (batch SMTP, RFC 2442).
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// A bundle is a message of type application/batch-SMTP: what an SMTP client would say for each message, with a NOOP
// before QUIT that holds the checksum of all lines before it. A message is known by a key, the hash of its envelope and
// content, so that a bundle that is exported or imported twice delivers once. What is in a bundle is held in the queue
// until the receipt that the import makes comes back, or `postino queue sent` says that it arrived.
const (
	bundleType    = "application/batch-SMTP"
	bundleSum     = "NOOP sha256:"
	bundleReceipt = "Postino-Receipt: "
	bundleLine    = 8 << 10 // octets of a command
	bundleRcpts   = 1000    // recipients of one message
)

// What is wrong with a bundle.
var (
	errBundle    = errors.New("this is no bundle, or it is damaged; nothing of it was taken")
	errBundleSum = fmt.Errorf("%w: the checksum is wrong", errBundle)
	errBundleEnd = fmt.Errorf("%w: it ends too early", errBundle)
)

// bundleKey names a message by its commands and its content.
func bundleKey(lines []string, content hash.Hash) string {
	h := sha256.New()
	for _, l := range lines {
		io.WriteString(h, l+"\n")
	}
	h.Write(content.Sum(nil))
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// exportBundle writes everything that waits for a domain and holds it in the queue. It is held before it is written: a
// crash in between loses nothing, and nothing goes twice.
func (s *Server) exportBundle(domain string, w io.Writer) (n int, err error) {
	sum := sha256.New()
	bw := bufio.NewWriter(w)
	fmt.Fprintf(bw, "Subject: Mail for %s\r\nFrom: postmaster@%s\r\nDate: %s\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
		domain, s.asciiHost(), FormatDate(s.store.Now()), bundleType)
	out := bufio.NewWriter(io.MultiWriter(bw, sum))
	fmt.Fprintf(out, "EHLO %s\r\n", s.asciiHost())
	for after := int64(0); ; n++ {
		var q QueueItem
		err := s.store.Read(func(tx *Tx) (err error) { q, err = tx.BundleNext(domain, after); return err })
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err == nil {
			err = s.exportOne(out, &q)
		}
		if err != nil {
			return n, err
		}
		after = q.ID
	}
	if err := out.Flush(); err != nil {
		return n, err
	}
	fmt.Fprintf(bw, "%s%x\r\nQUIT\r\n", bundleSum, sum.Sum(nil))
	return n, bw.Flush()
}

func (s *Server) exportOne(out *bufio.Writer, q *QueueItem) error {
	content, err := s.store.Content(q.Blob.ID)
	if err != nil {
		return err
	}
	skip := returnPathLen(content.Head)
	body := func() io.Reader { return io.NewSectionReader(content, skip, content.Size-skip) }
	lines := bundleEnvelope(q)
	h := sha256.New()
	d := smtpDotWriter{w: bufio.NewWriter(h)} // hashed as it will be read back: dots, line ends and all
	if _, err = io.Copy(&d, body()); err == nil {
		err = d.end()
	}
	if err == nil {
		err = d.w.Flush()
	}
	if err != nil {
		return err
	}
	key := bundleKey(lines, h)
	text := "in a bundle since " + s.store.Now().UTC().Format("2006-01-02 15:04") + ", waits for the receipt"
	if err := s.store.Write(func(tx *Tx) error { return tx.BundleMark(q.Rcpts, key, text) }); err != nil {
		return err
	}
	s.log.Info("exported", "msg", q.Name, "from", q.From, "rcpts", len(q.Rcpts), "key", key)
	for _, l := range append(lines, "DATA") {
		out.WriteString(l + "\r\n")
	}
	d = smtpDotWriter{w: out}
	if _, err := io.Copy(&d, body()); err != nil {
		return err
	}
	return d.end()
}

// bundleEnvelope is what stands before DATA.
func bundleEnvelope(q *QueueItem) []string {
	from := "<>"
	if !q.From.IsZero() {
		from = q.From.Path()
	}
	mail := "MAIL FROM:" + from
	for _, p := range []struct {
		on   bool
		text string
	}{{q.Flags&Mail8Bit != 0, " BODY=8BITMIME"}, {q.Flags&MailUTF8 != 0, " SMTPUTF8"}, {q.Ret != "", " RET=" + q.Ret}, {q.EnvID != "", " ENVID=" + q.EnvID}} {
		if p.on {
			mail += p.text
		}
	}
	lines := []string{mail}
	for _, r := range q.Rcpts {
		l := "RCPT TO:" + r.Addr.Path()
		if r.Notify != 0 {
			l += " NOTIFY=" + notifyText(r.Notify)
		}
		if r.ORcpt != "" {
			l += " ORCPT=" + r.ORcpt
		}
		lines = append(lines, l)
	}
	return lines
}

// bundleReader reads a bundle. Its mail function gets each message; the spool is closed behind it.
type bundleReader struct {
	s     *Server
	r     *bufio.Reader
	sum   hash.Hash
	host  string
	lines []string // MAIL and RCPT of the message in hand
	mail  func(m *Mail, key string) error
}

func (b *bundleReader) line() (string, error) {
	l, err := b.r.ReadSlice('\n')
	if err != nil {
		return "", errBundleEnd
	}
	if !strings.HasPrefix(string(l), bundleSum) {
		b.sum.Write(l)
	}
	text, ok := strings.CutSuffix(string(l), "\r\n")
	if !ok {
		return "", fmt.Errorf("%w: a line without CRLF", errBundle)
	}
	return text, nil
}

// run reads the whole file.
func (b *bundleReader) run(r io.Reader) error {
	b.r, b.sum = bufio.NewReaderSize(r, bundleLine), sha256.New()
	var head []byte
	for {
		l, err := b.r.ReadSlice('\n')
		if err != nil || len(head) > bundleLine {
			return errBundle
		}
		if len(bytes.TrimRight(l, "\r\n")) == 0 {
			break
		}
		head = append(head, l...)
	}
	if !strings.EqualFold(ParseHeader(head).Get("Content-Type"), bundleType) {
		return errBundle
	}
	for {
		line, err := b.line()
		if err != nil {
			return err
		}
		if end, err := b.command(line); end || err != nil {
			return err
		}
	}
}

func (b *bundleReader) command(line string) (end bool, err error) {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		b.host = smtpClean(arg)
	case "MAIL":
		b.lines = []string{line}
	case "RCPT":
		if b.lines = append(b.lines, line); len(b.lines) > bundleRcpts {
			return false, fmt.Errorf("%w: too many recipients", errBundle)
		}
	case "DATA":
		return false, b.data()
	case "NOOP":
		if want, ok := strings.CutPrefix(line, bundleSum); ok && want != hex.EncodeToString(b.sum.Sum(nil)) {
			return false, errBundleSum
		} else if ok {
			_, err := b.line() // QUIT
			return true, err
		}
	default:
		return false, fmt.Errorf("%w: %q", errBundle, smtpClean(line))
	}
	return false, nil
}

// data reads a message's content.
func (b *bundleReader) data() error {
	in := &smtpIncoming{spool: b.s.store.NewSpool(int64(b.s.cfg.Limits.Message))}
	defer in.spool.Close()
	content := sha256.New()
	d := smtpDots{in: in, start: true}
	for end := smtpNoEnd; end != smtpTrueEnd; {
		if _, err := b.r.Peek(1); err != nil || end == smtpFalseEnd {
			return errBundleEnd
		}
		p, _ := b.r.Peek(b.r.Buffered())
		var n int
		n, end = d.feed(p)
		b.sum.Write(p[:n])
		content.Write(p[:n])
		b.r.Discard(n)
	}
	if in.err != nil || in.bare {
		return errors.Join(errBundle, in.err)
	}
	m, err := bundleMail(b.lines)
	if err != nil {
		return fmt.Errorf("%w: %w", errBundle, err)
	}
	key := bundleKey(b.lines, content)
	b.lines = nil
	if b.mail == nil {
		return nil
	}
	m.Body = in.spool
	m.Trace = fmt.Sprintf("from %s by %s\r\n\tvia bundle with SMTP", b.host, b.s.asciiHost())
	return b.mail(m, key)
}

// bundleMail parses an envelope.
func bundleMail(lines []string) (*Mail, error) {
	if len(lines) < 2 {
		return nil, errors.New("a message without recipients")
	}
	from, params, r := smtpPath(strings.TrimPrefix(lines[0], "MAIL "), "FROM:")
	m := &Mail{From: from}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		switch key {
		case "BODY":
			m.Flags |= Mail8Bit
		case "SMTPUTF8":
			m.Flags |= MailUTF8
		case "RET":
			m.Ret = value
		case "ENVID":
			m.EnvID = value
		}
	}
	for _, l := range lines[1:] {
		to, params, rr := smtpPath(strings.TrimPrefix(l, "RCPT "), "TO:")
		rcpt := Rcpt{Addr: to}
		for _, p := range params {
			if rr.code == 0 {
				rr = smtpRcptParam(&rcpt, p)
			}
		}
		if rr.code != 0 {
			r = rr
		}
		m.To = append(m.To, rcpt)
	}
	if r.code != 0 {
		return nil, errors.New(r.text)
	}
	return m, nil
}

// bundleResult is what an import did.
type bundleResult struct {
	Taken, Known int    // messages delivered or queued now, and such as had been before
	Receipt      string // for the origin
	Confirmed    int    // of a receipt: messages that are off the queue now
}

// importBundle takes a bundle or a receipt in. It reads it twice: nothing of a damaged file is taken.
func (s *Server) importBundle(r io.ReadSeeker) (res bundleResult, err error) {
	head := make([]byte, len(bundleReceipt))
	if _, err := io.ReadFull(r, head); err != nil {
		return res, errBundle
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return res, err
	}
	if string(head) == bundleReceipt {
		return s.importReceipt(r)
	}
	b := &bundleReader{s: s}
	if err := b.run(r); err != nil {
		return res, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return res, err
	}
	var keys []string
	b.mail = func(m *Mail, key string) error {
		known, err := s.importOne(m, key)
		if err != nil {
			return err
		}
		keys = append(keys, key)
		if known {
			res.Known++
		} else {
			res.Taken++
		}
		return nil
	}
	if err := b.run(r); err != nil {
		return res, err
	}
	res.Receipt = bundleReceipt + b.host + "\n" + strings.Join(keys, "\n")
	res.Receipt += fmt.Sprintf("\nsha256:%x\n", sha256.Sum256([]byte(res.Receipt)))
	return res, nil
}

// importOne takes one message in, unless it has been; recipients that don't exist are reported to the sender from here.
func (s *Server) importOne(m *Mail, key string) (known bool, err error) {
	rep := &Report{Action: ActionFailed, To: m.From, EnvID: envID(m.EnvID), Arrived: s.store.Now(), UTF8: m.Flags&MailUTF8 != 0, Eight: m.Flags&Mail8Bit != 0}
	good := m.To[:0]
	for _, r := range m.To {
		if r.route, err = s.route(r.Addr); err == nil {
			good = append(good, r)
			continue
		}
		status := queueStatus(err)
		if !strings.HasPrefix(status, "5") {
			return false, err
		}
		if wantsReport(r.Notify, ActionFailed) {
			rep.Rcpts = append(rep.Rcpts, ReportRcpt{Final: r.Addr, Original: originalRecipient(r.ORcpt), Status: status, Said: err.Error()})
		}
	}
	m.To = good
	var report *Mail
	if len(rep.Rcpts) > 0 && !m.From.IsZero() {
		if rep.Header, err = m.Body.Head(); err != nil {
			return false, err
		}
		if report, err = s.makeReport(rep, key); err != nil {
			return false, err
		}
	}
	m.Also = func(tx *Tx, _ Blob) error {
		err := tx.BundleSeen(key)
		if err == nil && report != nil {
			_, err = s.place(tx, report)
		}
		return err
	}
	if len(m.To) > 0 {
		err = s.accept(m)
	} else {
		err = s.store.Write(func(tx *Tx) error { return m.Also(tx, Blob{}) })
	}
	if errors.Is(err, ErrExists) {
		return true, nil
	}
	s.log.Info("imported", "msg", m.ID, "from", m.From, "rcpts", len(m.To), "key", key, "err", err)
	return false, err
}

// importReceipt takes off the queue what has arrived.
func (s *Server) importReceipt(r io.Reader) (res bundleResult, err error) {
	b, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err != nil {
		return res, err
	}
	text, sum, ok := strings.Cut(strings.TrimRight(strings.ReplaceAll(string(b), "\r", ""), "\n"), "\nsha256:")
	if want := sha256.Sum256([]byte(text)); !ok || sum != hex.EncodeToString(want[:]) {
		return res, errBundleSum
	}
	res.Confirmed, err = s.bundleSent(strings.Split(text, "\n")[1:])
	return res, err
}

// bundleSent settles messages of bundles as delivered.
func (s *Server) bundleSent(keys []string) (n int, err error) {
	j := &queueJob{s: s}
	for _, key := range keys {
		var q QueueItem
		err := s.store.Read(func(tx *Tx) (err error) { q, err = tx.Bundled(key); return err })
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		var out []outcome
		domains := map[string]bool{}
		for _, r := range q.Rcpts {
			out = append(out, outcome{rcpt: r, action: ActionRelayed, status: "2.0.0", said: "arrived by bundle", dsn: true})
			domains[r.Addr.Domain] = true
		}
		if err := j.settle(&q, out); err != nil {
			return n, err
		}
		for d := range domains {
			if err := s.store.Write(func(tx *Tx) error { return tx.tidyDestinations([]string{d}) }); err != nil {
				return n, err
			}
		}
		n++
	}
	return n, nil
}
