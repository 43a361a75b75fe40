// The header of a message on its way in: the fields that it gets here, those that are checked, and those that are made harmless.
package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// addFields puts the fields that a message gets here in front of it: Return-Path for its local readers (it is left out
// again on the way out, RFC 5321 §4.4), Received, and what a submitted message lacks (RFC 6409 §8).
func (s *Server) addFields(m *Mail) error {
	head, err := m.Body.Head()
	if err == nil && !startsHeader(head) {
		if err = m.Body.BodyOnly(); err == nil {
			head, err = m.Body.Head()
		}
	}
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	tree := m.Body.Tree()
	if tree.HeaderLen > maxHeaderBlock {
		return errHeaderSize
	}
	tree.Walk(func(_ []int, p *Part) bool {
		if p.Has8bit {
			m.Flags |= Mail8Bit
		}
		return true
	})
	header, err := wholeHeader(m.Body, head)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	if m.Flags&MailRequireTLS == 0 && wantsAnyTLS(header) {
		m.Flags |= MailAnyTLS
	}
	if !m.Report {
		err = s.hideVerdicts(m.Body, header)
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	received := ParseHeader(head).All("Received")
	if len(received) >= s.cfg.Limits.Received || s.goesRound(received, m.To) {
		return errMailLoop
	}
	if m.Submitted {
		err = s.checkFrom(m, header)
		if err != nil {
			return err
		}
	}
	has := filledFields(header)
	if !m.Sender.IsZero() {
		err = hideFrom(m.Body, header)
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		has["from"] = false
	}
	m.Body.Prepend(s.ownFields(m, has))
	return nil
}

// fromHidden is a name of the same length as From.
const fromHidden = "Said"

// hideFrom renames all From fields: who a message is from is known, and what they say may be anything.
func hideFrom(sp *Spool, header string) error {
	return eachField(header, func(at int, name, _ string) error {
		if !strings.EqualFold(name, "From") {
			return nil
		}
		return sp.Overwrite(int64(at), []byte(fromHidden))
	})
}

// ownFields are the fields that go in front of a message which has some already.
func (s *Server) ownFields(m *Mail, has map[string]bool) []byte {
	now := s.store.Now()
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: %s\r\n", m.From.Path())
	if m.Verdict != nil {
		b.WriteString(m.Verdict.Field(s.asciiHost()))
	}
	if m.Trace != "" {
		fmt.Fprintf(&b, "Received: %s id %s", m.Trace, m.ID)
		if len(m.To) == 1 {
			fmt.Fprintf(&b, "\r\n\tfor %s", m.To[0].Addr.Path())
		}
		fmt.Fprintf(&b, "; %s\r\n", FormatDate(now))
	}
	if !has["message-id"] {
		fmt.Fprintf(&b, "Message-ID: <%s@%s>\r\n", m.ID, s.asciiHost())
	}
	if !m.Submitted {
		return b.Bytes()
	}
	if !has["date"] {
		fmt.Fprintf(&b, "Date: %s\r\n", FormatDate(now))
	}
	if !has["from"] {
		fmt.Fprintf(&b, "From: %s\r\n", s.submitter(m))
	}
	if !has["to"] && !has["cc"] && !has["bcc"] {
		b.WriteString("To: undisclosed-recipients:;\r\n")
	}
	return b.Bytes()
}

// maxRounds is how many of our Received fields for its one recipient a message may have; with more of them it is in a loop. People
// who send it on by hand make some.
const maxRounds = 3

// goesRound says whether a message with one recipient has come here for them too often already: two people who forward to each
// other, and keep a copy, would get it again with each round until all hops are used up.
func (s *Server) goesRound(received []string, to []Rcpt) bool {
	if len(received) < maxRounds || len(to) != 1 {
		return false
	}
	n, by, who := 0, "by "+s.asciiHost()+" with ", "for "+to[0].Addr.Path()+";"
	for _, r := range received {
		if strings.Contains(r, by) && strings.Contains(r, who) {
			n++
		}
	}
	return n >= maxRounds
}

// startsHeader says whether a message begins with a header field, an empty header, or the "From " line that some programs
// leave in front of it.
func startsHeader(head []byte) bool {
	if bytes.HasPrefix(head, []byte("\r\n")) || bytes.HasPrefix(head, []byte("From ")) || bytes.HasPrefix(head, []byte(">From ")) {
		return true
	}
	name, _, ok := bytes.Cut(head, []byte(":"))
	for _, b := range bytes.TrimRight(name, " \t") {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return ok && len(name) > 0
}

// asciiHost is our name as every peer may see it.
func (s *Server) asciiHost() string {
	if h, err := DomainToASCII(s.cfg.Hostname); err == nil {
		return h
	}
	return s.cfg.Hostname
}

// submitter is who a message without From is from.
func (s *Server) submitter(m *Mail) Addr {
	if !m.Sender.IsZero() {
		return m.Sender
	}
	if m.From.IsZero() && m.Login != nil {
		if a, err := ParseAddr(m.Login.Name); err == nil {
			return a
		}
	}
	if m.From.IsZero() {
		return Addr{"postmaster", s.cfg.DomainsNow()[0]}
	}
	return m.From
}

// checkFrom sees that somebody who logged in writes under addresses of their own: in one From field, wherever in the header it
// stands, that names at least one person. h is the whole header.
func (s *Server) checkFrom(m *Mail, header string) error {
	if m.Login == nil && m.Local == "" {
		return nil
	}
	fields, people := 0, 0
	err := eachField(header, func(_ int, name, value string) error {
		if !strings.EqualFold(name, "From") || strings.TrimSpace(value) == "" {
			return nil
		}
		fields++
		for _, e := range ParseAddressList(value) {
			if e.Domain == "" {
				continue // a group's name or its end: those in it count
			}
			people++
			a, err := ParseAddr(e.Local + "@" + e.Domain)
			if err != nil {
				return errNotSender
			}
			ok, err := s.mayWrite(m, a)
			if err == nil && !ok {
				err = fmt.Errorf("%w: %s", errNotSender, a)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case fields > 1:
		return errFromTwice
	case fields == 1 && people == 0:
		return errFromNobody
	}
	return nil
}

// mayWrite says whether whoever submitted a message may write under an address.
func (s *Server) mayWrite(m *Mail, a Addr) (bool, error) {
	switch {
	case m.Login != nil:
		return s.owns(*m.Login, a)
	case m.Local != "" && s.isLocal(a.Domain):
		return strings.EqualFold(s.canonical(a).Local, m.Local), nil
	}
	return true, nil
}

// wholeHeader is all of a message's header block, which is at most maxHeaderBlock.
func wholeHeader(sp *Spool, head []byte) (string, error) {
	size := sp.Tree().HeaderLen
	if size <= int64(len(head)) {
		return string(head), nil
	}
	b := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(sp, 0, size), b)
	return string(b), err
}

// eachField calls fn for every field of a header block, however many there are, with the offset at which its name begins, until
// fn returns an error.
func eachField(header string, fn func(at int, name, value string) error) error {
	at := 0
	for rest := header; rest != ""; {
		var raw string
		raw, rest = cutField(rest)
		if isBlankLine(raw) {
			break
		}
		name, value, ok := splitField(raw)
		if ok {
			err := fn(at, name, strings.TrimRight(value, "\r\n"))
			if err != nil {
				return err
			}
		}
		at += len(raw)
	}
	return nil
}

// filledFields are those of the fields that a message should have, by their names in small letters, that say something in a header.
func filledFields(header string) map[string]bool {
	has := map[string]bool{}
	eachField(header, func(_ int, name, value string) error {
		switch name = strings.ToLower(name); name {
		case "message-id", "date", "from", "to", "cc", "bcc":
			has[name] = has[name] || strings.TrimSpace(value) != ""
		}
		return nil
	})
	return has
}

// wantsAnyTLS says whether a message is to go even where TLS is not what the domain asks for (RFC 8689 §3).
func wantsAnyTLS(header string) bool {
	no, other := false, false
	eachField(header, func(_ int, name, value string) error {
		if strings.EqualFold(name, "TLS-Required") {
			is := strings.EqualFold(strings.TrimSpace(value), "No")
			no, other = no || is, other || !is
		}
		return nil
	})
	return no && !other
}

// The name of fields with the verdicts of a mail server on a message, and one of the same length that says nothing.
const (
	verdictField  = "Authentication-Results"
	verdictHidden = "X-Untrusted-Auth-Claim"
)

// hideVerdicts renames fields that came with the message and claim to be verdicts of this machine (RFC 8601 §5): programs here
// would believe them.
func (s *Server) hideVerdicts(sp *Spool, header string) error {
	return eachField(header, func(at int, name, value string) error {
		if !strings.EqualFold(name, verdictField) || !s.isOwnName(verdictBy(value)) {
			return nil
		}
		return sp.Overwrite(int64(at), []byte(verdictHidden))
	})
}

// verdictBy is who a verdict claims to be from: the first word, without comments and quotes.
func verdictBy(value string) string {
	var b strings.Builder
	depth := 0
	for _, r := range value {
		switch {
		case r == '(':
			depth++
		case r == ')' && depth > 0:
			depth--
		case (r == ';' || r == '/') && depth == 0:
			return strings.TrimSpace(b.String())
		case depth > 0 || r == '"' || r == '\\':
		case strings.ContainsRune(" \t\r\n", r) && strings.TrimSpace(b.String()) != "":
			return strings.TrimSpace(b.String())
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// isOwnName says whether a name is one of this machine's or its domains'.
func (s *Server) isOwnName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	ascii, err := DomainToASCII(name)
	if err == nil {
		name = ascii
	}
	for _, own := range append([]string{s.asciiHost(), s.cfg.Hostname}, s.cfg.DomainsNow()...) {
		o, err := DomainToASCII(own)
		if err != nil {
			o = own
		}
		if strings.EqualFold(name, o) {
			return true
		}
	}
	return false
}

// returnPathLen is the length of the Return-Path field that begins a stored message: it is for those who read the
// message here, and is left out when it goes on (RFC 5321 §4.4).
func returnPathLen(head []byte) int64 {
	const name = "return-path:"
	if len(head) < len(name) || !strings.EqualFold(string(head[:len(name)]), name) {
		return 0
	}
	for i := 0; i < len(head); i++ {
		if head[i] == '\n' && (i+1 == len(head) || (head[i+1] != ' ' && head[i+1] != '\t')) {
			return int64(i + 1)
		}
	}
	return 0
}
