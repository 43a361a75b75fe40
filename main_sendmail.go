// The verb sendmail: mail from programs on this machine.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"
)

// sendmailArgs are the flags that programs call sendmail with, as far as they mean anything here.
type sendmailArgs struct {
	from    string
	header  bool // -t: recipients are in the header
	noDots  bool // -i: a dot alone does not end the message
	targets []string
}

// sendmailValued are the flags with a value, of which -f and -r mean something here; sendmailIdle are those without one that
// mean nothing, -e with its letter.
var (
	sendmailValued = []string{"-f", "-r", "-F", "-B", "-N", "-R", "-V", "-L", "-O", "-X", "-h", "-p"}
	sendmailIdle   = []string{"-bm", "-v", "-G", "-U", "-n", "-m", "-s", "-em", "-ep", "-ee", "-eq", "-ew", "-Am", "-Ac"}
)

// parseSendmail takes the historical flags, joined to their values or not; those about delivery modes mean nothing.
func parseSendmail(args []string) (sendmailArgs, error) {
	var a sendmailArgs
	for i := 0; i < len(args); i++ {
		arg := args[i]
		value := ""
		flag := arg[:min(len(arg), 2)]
		valued := slices.Contains(sendmailValued, flag)
		if valued {
			value = arg[2:]
		}
		if valued && value == "" {
			i++
			if i == len(args) {
				return a, usageError{arg + " needs a value"}
			}
			value = args[i]
		}
		switch {
		case arg == "--":
			a.targets = append(a.targets, args[i+1:]...)
			return a, nil
		case !strings.HasPrefix(arg, "-"):
			a.targets = append(a.targets, arg)
		case arg == "-t":
			a.header = true
		case arg == "-i", arg == "-oi":
			a.noDots = true
		case arg == "-ti", arg == "-it":
			a.header, a.noDots = true, true
		case flag == "-f", flag == "-r":
			a.from = strings.Trim(value, "<>")
			if a.from == "" {
				a.from = "<>"
			}
		case valued, flag == "-o", slices.Contains(sendmailIdle, arg):
		default:
			return a, usageError{fmt.Sprintf("%s is nothing I know", arg)}
		}
	}
	return a, nil
}

// sendmail takes a message from stdin and hands it in, whether the server runs or not.
func (c *command) sendmail(args []string) error {
	a, err := parseSendmail(args)
	if err != nil {
		return err
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if nc := dialSendmail(cfg); nc != nil {
		defer nc.Close()
		return c.sendmailThrough(cfg, nc, a)
	}
	st, err := openDatabase(cfg, StoreOptions{Log: c.logger(), Readers: 2})
	if err != nil {
		return err
	}
	defer st.Close()
	m := &Mail{Submitted: true, Body: st.NewIncoming(int64(cfg.Limits.Message))}
	defer m.Body.Close()
	m.From, err = sendmailFrom(cfg, a.from)
	if err != nil {
		return err
	}
	to, err := readSendmail(cfg, c.lines, m.Body, a)
	if err != nil {
		return err
	}
	for _, addr := range to {
		m.To = append(m.To, Rcpt{Recipient: Recipient{Addr: addr}})
	}
	s, err := NewServer(cfg, st, c.logger())
	if err != nil {
		return err
	}
	defer s.Shutdown()
	m.From, err = s.heardBy(m.From)
	if err != nil {
		return err
	}
	m.Trace = fmt.Sprintf("from userid %d by %s", os.Getuid(), cfg.Hostname)
	if err := s.accept(m); err != nil {
		return err
	}
	for _, r := range m.To {
		if r.Err != nil {
			return fmt.Errorf("%s: %w", r.Addr, r.Err)
		}
	}
	return nil
}

// dialSendmail calls the running appliance's socket, by which every user of this machine can hand mail in; nil if there is none.
func dialSendmail(cfg *Config) net.Conn {
	for _, path := range cfg.Listen.Sendmail {
		if nc, err := net.DialTimeout("unix", cfg.Path(path), sendmailDial); err == nil {
			return nc
		}
	}
	return nil
}

const (
	sendmailDial = 5 * time.Second
	sendmailTime = 5 * time.Minute // for the appliance to answer
)

// sendmailThrough hands the message in through the appliance's socket. A recipient that is refused is an error; the others get it.
func (c *command) sendmailThrough(cfg *Config, nc net.Conn, a sendmailArgs) error {
	from, err := sendmailFrom(cfg, a.from)
	if err != nil {
		return err
	}
	body, err := os.CreateTemp("", "postino-*")
	if err != nil {
		return err
	}
	defer body.Close()
	os.Remove(body.Name())
	to, err := readSendmail(cfg, c.lines, body, a)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	nc.SetDeadline(time.Now().Add(sendmailTime))
	t := sendmailTalk{textproto.NewConn(nc)}
	refused, err := t.envelope(from, to)
	if err != nil {
		return err
	}
	if err := t.say(354, "DATA"); err != nil {
		return err
	}
	w := t.DotWriter()
	if _, err := io.Copy(w, body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return errors.Join(t.say(250, ""), refused)
}

// sendmailTalk is the conversation with the appliance.
type sendmailTalk struct{ *textproto.Conn }

// say says a line, unless it is empty, and hears the answer; one with another code is an error in the appliance's words.
func (t sendmailTalk) say(code int, format string, args ...any) error {
	if format != "" {
		if err := t.PrintfLine(format, args...); err != nil {
			return err
		}
	}
	_, text, err := t.ReadResponse(code)
	var no *textproto.Error
	if errors.As(err, &no) {
		return errors.New(text)
	}
	return err
}

// envelope says who the mail is from and for. refused is about the recipients who are refused while others are taken.
func (t sendmailTalk) envelope(from Addr, to []Addr) (refused, err error) {
	if err := t.say(2, ""); err != nil { // the greeting
		return nil, err
	}
	options := ""
	if !from.IsASCII() || slices.ContainsFunc(to, func(a Addr) bool { return !a.IsASCII() }) {
		options = " SMTPUTF8"
	}
	for _, step := range []string{"EHLO localhost", "MAIL FROM:<" + from.String() + "> BODY=8BITMIME" + options} {
		if err := t.say(2, "%s", step); err != nil {
			return nil, err
		}
	}
	var faults []error
	for _, addr := range to {
		if err := t.say(2, "RCPT TO:<%s>", addr); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", addr, err))
		}
	}
	if len(faults) == len(to) {
		return nil, errors.Join(faults...)
	}
	return errors.Join(faults...), nil
}

// sendmailFrom is the reverse path: -f, or whoever runs the program, in the first of our domains, where reports can reach them.
func sendmailFrom(cfg *Config, from string) (Addr, error) {
	if from == "<>" {
		return Addr{}, nil
	}
	if from == "" {
		from = "postmaster"
		if u, err := user.Current(); err == nil && u.Username != "" {
			from = u.Username
		}
	}
	return address(cfg, from)
}

// readSendmail copies the message to out with CRLFs and without Bcc, and returns its recipients: those of the command line, and
// with -t those that its header names. A name without a domain is in the first of ours, in both places. What is no address is an
// error: nobody would ever hear that it got no mail.
func readSendmail(cfg *Config, r *bufio.Reader, out io.Writer, a sendmailArgs) ([]Addr, error) {
	head, err := copySendmail(r, out, a)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, target := range a.targets {
		if !strings.ContainsAny(target, ",<") {
			names = append(names, target)
			continue
		}
		names, err = sendmailList(names, "the command line", target)
		if err != nil {
			return nil, err
		}
	}
	if a.header {
		found, err := sendmailNames(ParseHeader(head))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	var to []Addr
	for _, name := range names {
		addr, err := address(cfg, name)
		if err != nil {
			return nil, err
		}
		to = append(to, addr)
	}
	if len(to) == 0 {
		return nil, errors.New("the message has no recipients: name them, or use -t and a To field")
	}
	return to, nil
}

// sendmailNames are the recipients that a header names. Of a message that is sent again they are those of the last time, which
// stands first (RFC 5322 §3.6.6): who had it before does not get it once more.
func sendmailNames(h Header) ([]string, error) {
	again := h.Has("Resent-To") || h.Has("Resent-Cc") || h.Has("Resent-Bcc")
	var names []string
	for _, field := range []string{"To", "Cc", "Bcc"} {
		values := h.All(field)
		if again {
			field = "Resent-" + field
			values = h.All(field)
			values = values[:min(len(values), 1)]
		}
		for _, value := range values {
			var err error
			names, err = sendmailList(names, field, value)
			if err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// sendmailList adds the addresses of a list to names. where is what people call the place of the list.
func sendmailList(names []string, where, list string) ([]string, error) {
	for _, addr := range ParseAddressList(list) {
		switch {
		case addr.IsGroupStart(), addr.IsGroupEnd():
		case addr.Local == missingLocal || addr.Local == "":
			return nil, fmt.Errorf("%q in %s is no address", strings.TrimSpace(addr.Name), where)
		case addr.Domain == missingDomain || addr.Domain == "":
			names = append(names, addr.Local)
		default:
			names = append(names, addr.Local+"@"+addr.Domain)
		}
	}
	return names, nil
}

// copySendmail copies a message and returns its header.
func copySendmail(r *bufio.Reader, out io.Writer, a sendmailArgs) ([]byte, error) {
	var head sendmailHead
	w := &crlfWriter{w: out}
	for {
		line, end := r.ReadBytes('\n')
		if end != nil && end != io.EOF {
			return nil, end
		}
		if !a.noDots && string(bytes.TrimRight(line, "\r\n")) == "." {
			return head.text.Bytes(), nil
		}
		keep, err := head.add(line)
		if err == nil && keep {
			_, err = w.Write(line)
		}
		if err != nil {
			return nil, err
		}
		if end != nil {
			return head.text.Bytes(), nil
		}
	}
}

// sendmailHead gathers a message's header while its lines go by.
type sendmailHead struct {
	text  bytes.Buffer
	begun bool
	ended bool
	bcc   bool // the line belongs to a Bcc field
}

// add takes a line of the message, and says whether others may see it.
func (h *sendmailHead) add(line []byte) (bool, error) {
	text := bytes.TrimRight(line, "\r\n")
	first := !h.begun
	h.begun = true
	if first && (bytes.HasPrefix(text, []byte("From ")) || bytes.HasPrefix(text, []byte(">From "))) {
		return false, nil // of an mbox: what formail and its like leave in front
	}
	if h.ended || len(text) == 0 {
		h.ended = true
		return true, nil
	}
	if h.text.Len() > maxHeaderBlock {
		return false, errHeaderSize
	}
	h.text.Write(line)
	if line[0] != ' ' && line[0] != '\t' {
		name, _, _ := strings.Cut(string(text), ":")
		name = strings.TrimRight(name, " \t")
		h.bcc = strings.EqualFold(name, "Bcc") || strings.EqualFold(name, "Resent-Bcc")
	}
	return !h.bcc, nil
}
