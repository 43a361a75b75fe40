// The verb sendmail: mail from programs on this machine.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
)

// sendmailArgs are the flags that programs call sendmail with, as far as they mean anything here.
type sendmailArgs struct {
	from    string
	header  bool // -t: recipients are in the header
	noDots  bool // -i: a dot alone does not end the message
	targets []string
}

// parseSendmail takes the historical flags, joined to their values or not; those about delivery modes mean nothing.
func parseSendmail(args []string) (a sendmailArgs, err error) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		value := func() string {
			if len(arg) > 2 {
				return arg[2:]
			}
			i++
			if i < len(args) {
				return args[i]
			}
			err = usageError{arg + " needs a value"}
			return ""
		}
		switch {
		case arg == "--":
			a.targets = append(a.targets, args[i+1:]...)
			return a, err
		case !strings.HasPrefix(arg, "-"):
			a.targets = append(a.targets, arg)
		case arg == "-t":
			a.header = true
		case arg == "-i", arg == "-oi":
			a.noDots = true
		case arg == "-ti", arg == "-it":
			a.header, a.noDots = true, true
		case strings.HasPrefix(arg, "-f"), strings.HasPrefix(arg, "-r"):
			a.from = strings.Trim(value(), "<>")
			if a.from == "" {
				a.from = "<>"
			}
		case strings.HasPrefix(arg, "-F"), strings.HasPrefix(arg, "-B"), strings.HasPrefix(arg, "-N"),
			strings.HasPrefix(arg, "-R"), strings.HasPrefix(arg, "-V"):
			value()
		case strings.HasPrefix(arg, "-o"), arg == "-bm", arg == "-v", arg == "-G", arg == "-U":
		default:
			return a, usageError{fmt.Sprintf("%s is nothing I know", arg)}
		}
	}
	return a, err
}

// sendmail takes a message from stdin and hands it in, whether the server runs or not.
func (c *command) sendmail(args []string) error {
	a, err := parseSendmail(args)
	if err != nil {
		return err
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	m := &Mail{Submitted: true, Body: st.NewSpool(int64(cfg.Limits.Message))}
	defer m.Body.Close()
	m.From, err = sendmailFrom(cfg, a.from)
	if err != nil {
		return err
	}
	to, err := readSendmail(c.lines, m.Body, a)
	if err != nil {
		return err
	}
	for _, t := range append(a.targets, to...) {
		addr, err := address(cfg, t)
		if err != nil {
			return err
		}
		m.To = append(m.To, Rcpt{Recipient: Recipient{Addr: addr}})
	}
	if len(m.To) == 0 {
		return errors.New("the message has no recipients: name them, or use -t and a To field")
	}
	s, err := NewServer(cfg, st, c.logger())
	if err != nil {
		return err
	}
	defer s.Shutdown()
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

// sendmailFrom is the reverse path: -f, or whoever runs the program at this host.
func sendmailFrom(cfg *Config, from string) (Addr, error) {
	if from == "<>" {
		return Addr{}, nil
	}
	if from == "" {
		from = "postmaster"
		if u, err := user.Current(); err == nil && u.Username != "" {
			from = u.Username
		}
		from += "@" + cfg.Hostname
	}
	return address(cfg, from)
}

// readSendmail copies the message into the spool with CRLFs and without Bcc, and returns the recipients that its header
// names, if it is asked for them.
func readSendmail(r *bufio.Reader, sp *Spool, a sendmailArgs) (to []string, err error) {
	var head bytes.Buffer
	w := &crlfWriter{w: sp}
	inHead, dot, bcc := true, false, false
	for !dot {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		text := bytes.TrimRight(line, "\r\n")
		switch {
		case !a.noDots && string(text) == ".":
			dot = true
			continue
		case inHead && len(text) == 0:
			inHead = false
		case inHead:
			if head.Len() > maxHeaderBlock {
				return nil, errHeaderSize
			}
			head.Write(line)
			if line[0] != ' ' && line[0] != '\t' {
				bcc = len(text) >= 4 && strings.EqualFold(string(text[:4]), "bcc:")
			}
		}
		if !(inHead && bcc) {
			if _, werr := w.Write(line); werr != nil {
				return nil, werr
			}
		}
		if err == io.EOF {
			break
		}
	}
	if !a.header {
		return nil, nil
	}
	h := ParseHeader(head.Bytes())
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, f := range h.All(name) {
			for _, addr := range ParseAddressList(f) {
				if addr.Domain != "" || addr.Local != "" {
					to = append(to, addr.Local+"@"+addr.Domain)
				}
			}
		}
	}
	return to, nil
}
