// Bundles: queued mail as a file, for a link that is somebody's pocket (batch SMTP, RFC 2442).
package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A bundle is a message of type application/batch-SMTP: what an SMTP client would say for each message, with a NOOP
// before QUIT that holds the checksum of all lines before it. A message is known by a key, the hash of its envelope and
// content, so that a bundle that is exported or imported twice delivers once. What is in a bundle is held in the queue
// until the receipt that the import makes comes back, or `postino queue sent` says that it arrived.
//
// Content that has no lines goes by BDAT (RFC 3030 §2). BY is the time that was left when the bundle was made, which
// a NOOP says.
const (
	bundleType    = "application/batch-SMTP"
	bundleMade    = "NOOP made:"
	bundleFrom    = "NOOP from:" // whose file it was made from, and for which domain
	bundleReceipt = "Postino-Receipt: "
	bundleLine    = 8 << 10 // octets of a command
	bundleRcpts   = 1000    // recipients of one message
)

// What is wrong with a bundle.
var (
	errBundle    = errors.New("this is no bundle, or it is damaged; nothing of it was taken")
	errBundleSum = fmt.Errorf("%w: the checksum is wrong", errBundle)
	errBundleEnd = fmt.Errorf("%w: it ends too early", errBundle)
	errBundleKey = fmt.Errorf("%w: it was not made with a bundle_key that [routes] has here", errBundle)
	errBundleOwn = fmt.Errorf("%w: it was made here, for somebody else", errBundle)
	errBundleFor = fmt.Errorf("%w: the receipt is for another machine", errBundle)
	errBundleNew = fmt.Errorf("%w: it was made with a bundle_key, and [routes] has none here", errBundle)
)

// bundleSums is what proves that a bundle or a receipt is whole, "NOOP sha256:" or "sha256:" and a checksum; or, where
// [routes] has keys, that it was made by somebody who has the key, "hmac-sha256:".
//
// Only files with such a proof are taken where there is any key: without one, whoever holds the stick is trusted.
type bundleSums struct {
	plain hash.Hash
	keys  []string
	keyed []hash.Hash
}

const bundleSum, bundleMAC = "sha256:", "hmac-sha256:"

func newBundleSums(keys []string) *bundleSums {
	b := &bundleSums{plain: sha256.New(), keys: keys}
	for _, k := range keys {
		b.keyed = append(b.keyed, hmac.New(sha256.New, []byte(k)))
	}
	return b
}

func (b *bundleSums) Write(p []byte) (int, error) {
	b.plain.Write(p)
	for _, h := range b.keyed {
		h.Write(p)
	}
	return len(p), nil
}

// proof is the word for what was written, with the first key if there is one.
func (b *bundleSums) proof() string {
	if len(b.keyed) > 0 {
		return bundleMAC + hex.EncodeToString(b.keyed[0].Sum(nil))
	}
	return bundleSum + hex.EncodeToString(b.plain.Sum(nil))
}

// check compares somebody's proof and returns the key that it was made with, "" for none.
func (b *bundleSums) check(proof string) (key string, err error) {
	mac, keyed := strings.CutPrefix(proof, bundleMAC)
	for i, h := range b.keyed {
		if keyed && hmac.Equal([]byte(mac), []byte(hex.EncodeToString(h.Sum(nil)))) {
			return b.keys[i], nil
		}
	}
	switch {
	case len(b.keys) > 0:
		return "", errBundleKey
	case keyed:
		return "", errBundleNew
	case proof != bundleSum+hex.EncodeToString(b.plain.Sum(nil)):
		return "", errBundleSum
	}
	return "", nil
}

// bundleKeys are all keys of [routes]; one domain's alone come first.
func (s *Server) bundleKeys(domain string) []string {
	r, ok := s.cfg.Routes[domain]
	if !ok {
		r = s.cfg.Routes["."]
	}
	var keys []string
	if r.BundleKey != "" {
		keys = append(keys, r.BundleKey)
	}
	if domain != "" {
		return keys
	}
	for _, r := range s.routes() {
		if r.BundleKey != "" && !slices.Contains(keys, r.BundleKey) {
			keys = append(keys, r.BundleKey)
		}
	}
	return keys
}

// bundleKey names a message by its commands and its content. BY is left out: it is another one in each bundle.
func bundleKey(lines []string, content hash.Hash) string {
	h := sha256.New()
	for _, l := range lines {
		words := slices.DeleteFunc(strings.Split(l, " "), func(w string) bool { return strings.HasPrefix(w, "BY=") })
		io.WriteString(h, strings.Join(words, " ")+"\n")
	}
	h.Write(content.Sum(nil))
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// exportBundle writes everything that waits for a domain and holds it in the queue. It is held before it is written: a
// crash in between loses nothing, and nothing goes twice. It counts the messages.
func (s *Server) exportBundle(domain string, w io.Writer) (int, error) {
	sum := newBundleSums(s.bundleKeys(domain))
	bw := bufio.NewWriter(w)
	fmt.Fprintf(bw, "Subject: Mail for %s\r\nFrom: postmaster@%s\r\nDate: %s\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
		domain, s.asciiHost(), FormatDate(s.store.Now()), bundleType)
	out := bufio.NewWriter(io.MultiWriter(bw, sum))
	origin, err := write(s.store, (*Tx).BundleOrigin)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "EHLO %s\r\n%s%s\r\n%s%s for:%s\r\n", s.asciiHost(), bundleMade, s.store.Now().UTC().Format(time.RFC3339), bundleFrom, origin, domain)
	n := 0
	for after := int64(0); ; n++ {
		q, err := read(s.store, func(tx *Tx) (QueueItem, error) { return tx.BundleNext(domain, s.store.Now(), after) })
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
	fmt.Fprintf(bw, "NOOP %s\r\nQUIT\r\n", sum.proof())
	return n, bw.Flush()
}

func (s *Server) exportOne(out *bufio.Writer, q *QueueItem) error {
	content, err := s.store.Content(q.Blob.ID)
	if err != nil {
		return err
	}
	skip := returnPathLen(content.Head)
	tree := content.Tree()
	tree.Shift(-skip)
	binary := !(PeerCan{EightBit: true, UTF8: true}).Takes(tree)
	tree.Shift(skip)
	body := func(w *bufio.Writer) error {
		src := io.NewSectionReader(content, skip, content.Size-skip)
		if binary {
			_, err := io.Copy(w, src)
			return err
		}
		d := smtpDotWriter{w: w}
		if _, err := io.Copy(&d, src); err != nil {
			return err
		}
		return d.end()
	}
	data := "DATA"
	q.Flags &^= MailBinary
	if binary {
		q.Flags |= MailBinary
		data = fmt.Sprintf("BDAT %d LAST", content.Size-skip)
	}
	lines := bundleEnvelope(q, s.store.Now())
	h := sha256.New() // of the content as it will be read back: dots, line ends and all
	hw := bufio.NewWriter(h)
	if err = body(hw); err == nil {
		err = hw.Flush()
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
	for _, l := range append(lines, data) {
		out.WriteString(l + "\r\n")
	}
	return body(out)
}

// bundleEnvelope is what stands before DATA. Nothing that the sender asked for is left out.
func bundleEnvelope(q *QueueItem, now time.Time) []string {
	lines := []string{q.says(now)}
	for _, r := range q.Rcpts {
		lines = append(lines, "RCPT TO:"+r.Addr.Path()+r.says())
	}
	return lines
}

// bundleReader reads a bundle. Its mail function gets each message; the spool is closed behind it.
type bundleReader struct {
	s     *Server
	r     *bufio.Reader
	sum   *bundleSums
	key   string    // of [routes], that it was made with
	made  time.Time // by the clock of whoever made it
	host  string
	from  string   // the origin of whoever made it; "" in bundles of older programs
	lines []string // MAIL and RCPT of the message in hand
	mail  func(m *Mail, key string) error
}

func (b *bundleReader) line() (string, error) {
	l, err := b.r.ReadSlice('\n')
	if err != nil {
		return "", errBundleEnd
	}
	if !bundleProof(string(l)) {
		b.sum.Write(l)
	}
	text, ok := strings.CutSuffix(string(l), "\r\n")
	if !ok {
		return "", fmt.Errorf("%w: a line without CRLF", errBundle)
	}
	return text, nil
}

// bundleProof says whether a line is the last but one.
func bundleProof(line string) bool {
	return strings.HasPrefix(line, "NOOP "+bundleSum) || strings.HasPrefix(line, "NOOP "+bundleMAC)
}

// run reads the whole file.
func (b *bundleReader) run(r io.Reader) error {
	b.r, b.sum = bufio.NewReaderSize(r, bundleLine), newBundleSums(b.s.bundleKeys(""))
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
	kind, _, _ := strings.Cut(ParseHeader(head).Get("Content-Type"), ";") // others may say required-extensions
	if !strings.EqualFold(strings.TrimSpace(kind), bundleType) {
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

// command follows one line, and says whether it was the last one.
func (b *bundleReader) command(line string) (bool, error) {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		b.host = smtpClean(arg)
	case "MAIL":
		b.lines = []string{line}
	case "RCPT":
		b.lines = append(b.lines, line)
		if len(b.lines) > bundleRcpts {
			return false, fmt.Errorf("%w: too many recipients", errBundle)
		}
	case "DATA":
		return false, b.content(b.data)
	case "BDAT":
		return false, b.content(func(in *smtpIncoming, key io.Writer) error { return b.chunk(in, key, arg) })
	case "NOOP":
		if made, ok := strings.CutPrefix(line, bundleMade); ok {
			b.made, _ = time.Parse(time.RFC3339, made)
		} else if from, ok := strings.CutPrefix(line, bundleFrom); ok {
			b.from, _, _ = strings.Cut(from, " ")
		} else if bundleProof(line) {
			return true, b.end(arg)
		}
	default:
		return false, fmt.Errorf("%w: %q", errBundle, smtpClean(line))
	}
	return false, nil
}

// end checks the proof at the end, notes its key, and reads what is behind it.
func (b *bundleReader) end(proof string) error {
	key, err := b.sum.check(proof)
	b.key = key
	if err != nil {
		return err
	}
	_, err = b.line() // QUIT
	return err
}

// content reads a message's content by read, which writes what the key is made of too.
func (b *bundleReader) content(read func(in *smtpIncoming, key io.Writer) error) error {
	in := &smtpIncoming{spool: b.s.store.NewIncoming(int64(b.s.cfg.Limits.Message))}
	defer in.spool.Close()
	content := sha256.New()
	if err := read(in, content); err != nil {
		return err
	}
	if in.err != nil {
		return fmt.Errorf("%w: %w", errBundle, in.err)
	}
	m, err := b.envelope()
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

// data reads lines up to the dot.
func (b *bundleReader) data(in *smtpIncoming, key io.Writer) error {
	d := smtpDots{in: in, start: true}
	for end := smtpNoEnd; end != smtpTrueEnd; {
		if _, err := b.r.Peek(1); err != nil || end == smtpFalseEnd {
			return errBundleEnd
		}
		p, _ := b.r.Peek(b.r.Buffered())
		var n int
		n, end = d.feed(p)
		b.sum.Write(p[:n])
		key.Write(p[:n])
		b.r.Discard(n)
	}
	if in.bare {
		return fmt.Errorf("%w: a line without CRLF", errBundle)
	}
	return nil
}

// chunk reads so many octets.
func (b *bundleReader) chunk(in *smtpIncoming, key io.Writer, arg string) error {
	size, err := strconv.ParseUint(strings.TrimSuffix(arg, " LAST"), 10, 62)
	if err != nil || !strings.HasSuffix(arg, " LAST") {
		return fmt.Errorf("%w: BDAT %s", errBundle, smtpClean(arg))
	}
	buf := make([]byte, bundleLine)
	for left := int64(size); left > 0; {
		n, err := b.r.Read(buf[:min(left, bundleLine)])
		if n == 0 && err != nil {
			return errBundleEnd
		}
		left -= int64(n)
		in.write(buf[:n])
		b.sum.Write(buf[:n])
		key.Write(buf[:n])
	}
	return nil
}

// envelope parses MAIL and RCPT. Parameters that are not known here are passed over.
func (b *bundleReader) envelope() (*Mail, error) {
	if len(b.lines) < 2 {
		return nil, errors.New("a message without recipients")
	}
	from, params, r := smtpPath(strings.TrimPrefix(b.lines[0], "MAIL "), "FROM:", "")
	if r.code != 0 {
		return nil, errors.New(r.text)
	}
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: from}}
	for _, p := range params {
		if _, err := m.takeParam(p, b.sent()); err != nil {
			return nil, err
		}
	}
	for _, l := range b.lines[1:] {
		to, params, r := smtpPath(strings.TrimPrefix(l, "RCPT "), "TO:", "")
		if r.code != 0 {
			return nil, errors.New(r.text)
		}
		rcpt := Recipient{Addr: to}
		for _, p := range params {
			if _, err := rcpt.takeParam(p); err != nil {
				return nil, err
			}
		}
		m.To = append(m.To, Rcpt{Recipient: rcpt})
	}
	return m, nil
}

// sent is when the bundle was made, by our clock: now, if the two clocks seem to have nothing in common.
func (b *bundleReader) sent() time.Time {
	now := b.s.store.Now()
	if way := now.Sub(b.made); way > 0 && way < bundleTravel {
		return now.Add(-way)
	}
	return now
}

// bundleTravel is how long a bundle may have been on its way, as the clocks say it, for that to be believed.
const bundleTravel = 90 * 24 * time.Hour

// bundleResult is what an import did.
type bundleResult struct {
	Taken, Known int    // messages delivered or queued now, and such as had been before
	Receipt      string // for the origin
	Confirmed    int    // of a receipt: messages that are off the queue now
}

// importBundle takes a bundle or a receipt in. It is read once, into a copy of our own: what is checked is what is taken, whatever
// the stick says the second time. Nothing of a damaged or forged file is taken.
func (s *Server) importBundle(from io.Reader) (bundleResult, error) {
	var res bundleResult
	r, err := s.store.copyAside(from)
	if err == nil {
		res, err = s.importCopy(r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		s.log.Warn("bundle", "taken", res.Taken, "err", err)
	}
	return res, err
}

func (s *Server) importCopy(r io.ReadSeeker) (bundleResult, error) {
	var res bundleResult
	head := make([]byte, len(bundleReceipt))
	if _, err := io.ReadFull(r, head); err != nil {
		return res, errBundle
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return res, err
	}
	origin, err := write(s.store, (*Tx).BundleOrigin)
	if err != nil {
		return res, err
	}
	if string(head) == bundleReceipt {
		return s.importReceipt(r, origin)
	}
	b := &bundleReader{s: s}
	if err := b.run(r); err != nil {
		return res, err
	}
	if b.from == origin {
		return res, errBundleOwn
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
	res.Receipt = strings.TrimRight(bundleReceipt+b.host+" "+b.from, " ") + "\n" + strings.Join(keys, "\n")
	sum := newBundleSums(nil)
	if b.key != "" {
		sum = newBundleSums([]string{b.key})
	}
	io.WriteString(sum, res.Receipt)
	res.Receipt += "\n" + sum.proof() + "\n"
	return res, nil
}

// importRcpts leaves a message with the recipients who exist, and returns the report about the others.
func (s *Server) importRcpts(m *Mail) (*Report, error) {
	rep := &Report{Action: ActionFailed, To: m.From, EnvID: envID(m.EnvID), Arrived: s.store.Now()}
	good, late := m.To[:0], m.ByMode == "R" && !m.Due.After(s.store.Now())
	for _, r := range m.To {
		found, err := s.resolve(r.Addr)
		r.resolved = found
		if err == nil && late {
			err = errLate
		}
		if err == nil {
			good = append(good, r)
			continue
		}
		status := queueStatus(err)
		if !strings.HasPrefix(status, "5") {
			return nil, err
		}
		if wantsReport(r.Notify, ActionFailed) {
			rep.Rcpts = append(rep.Rcpts, ReportRcpt{Final: r.Addr, Original: originalRecipient(r.ORcpt), Status: status, Said: err.Error()})
		}
	}
	m.To = good
	return rep, nil
}

// importOne takes one message in, and says whether it had been before; recipients that don't exist are reported to the sender
// from here.
func (s *Server) importOne(m *Mail, key string) (bool, error) {
	rep, err := s.importRcpts(m)
	if err != nil {
		return false, err
	}
	var report *Mail
	if len(rep.Rcpts) > 0 && !m.From.IsZero() {
		rep.Header, err = m.Body.Head()
		if err != nil {
			return false, err
		}
		report, err = s.makeReport(rep, key, "", m.Flags)
		if err != nil {
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

// importReceipt takes off the queue what has arrived. origin is ours: a receipt says for whom it is.
func (s *Server) importReceipt(r io.Reader, origin string) (bundleResult, error) {
	var res bundleResult
	b, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err != nil {
		return res, err
	}
	text := strings.TrimRight(strings.ReplaceAll(string(b), "\r", ""), "\n")
	end := strings.LastIndexByte(text, '\n')
	if end < 0 {
		return res, errBundleSum
	}
	sum := newBundleSums(s.bundleKeys(""))
	io.WriteString(sum, text[:end])
	if _, err := sum.check(text[end+1:]); err != nil {
		return res, err
	}
	lines := strings.Split(text[:end], "\n")
	words := strings.Fields(lines[0])
	if len(words) > 2 && words[2] != origin {
		return res, errBundleFor
	}
	res.Confirmed, err = s.bundleSent(lines[1:])
	return res, err
}

// bundleSent settles messages of bundles as delivered, and counts them.
func (s *Server) bundleSent(keys []string) (int, error) {
	j := &queueJob{s: s}
	n := 0
	for _, key := range keys {
		q, err := read(s.store, func(tx *Tx) (QueueItem, error) { return tx.Bundled(key) })
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		var out []outcome
		for _, r := range q.Rcpts {
			out = append(out, outcome{rcpt: r, action: ActionRelayed, status: "2.0.0", said: "arrived by bundle", dsn: true})
		}
		if err := j.record(&q, out); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
