// Fetching by POP3: the messages whose unique ids were not seen before.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
)

// pop3 is a POP3 session (RFC 1939): what UIDL names and was not fetched before is fetched.
func (c *fetchConn) pop3() (n int, err error) {
	if _, err := c.popReply(""); err != nil {
		return 0, err
	}
	if c.f.TLS == "starttls" || (c.f.TLS == "" && !c.f.implicitTLS()) {
		if _, err := c.popReply("STLS"); err != nil {
			return 0, fmt.Errorf("the password is not sent without TLS (tls = \"none\" would): %w", err)
		}
		if err := c.startTLS(); err != nil {
			return 0, err
		}
	}
	for _, cmd := range []string{"USER " + c.f.User, "PASS " + c.password, "UIDL"} {
		if _, err := c.popReply(cmd); err != nil {
			return 0, err
		}
	}
	list, err := c.popList()
	if err != nil {
		return 0, err
	}
	var known map[string]bool
	err = c.s.store.Read(func(tx *Tx) (err error) { known, err = tx.Fetched(c.f.Name()); return err })
	if err != nil {
		return 0, err
	}
	for _, m := range list {
		if known[fetchBig+m.uid] {
			continue
		}
		if !known[m.uid] {
			if n >= fetchMost || c.s.stop.Err() != nil {
				break
			}
			ok, err := c.popRetr(m.number, m.uid)
			if err != nil {
				return n, err
			}
			if !ok {
				continue
			}
			n++
		}
		if c.f.Delete {
			if _, err := c.popReply("DELE " + m.number); err != nil {
				return n, err
			}
		}
	}
	_, err = c.popReply("QUIT") // deletes now
	if err == nil {
		err = c.popForget(list, known)
	}
	return n, err
}

// popReply sends a command and reads its status line; "" only reads.
func (c *fetchConn) popReply(cmd string) (string, error) {
	if cmd != "" {
		if strings.ContainsAny(cmd, "\r\n") {
			return "", errors.New("a name or password with a line end")
		}
		if err := c.say(cmd); err != nil {
			return "", err
		}
	}
	l, err := c.line()
	if err == nil && !strings.HasPrefix(l, "+OK") {
		err = &fetchRefusal{smtpPrintable([]byte(l))}
	}
	return l, err
}

type popListed struct{ number, uid string }

// popList reads UIDL's answer (RFC 1939 §7).
func (c *fetchConn) popList() (list []popListed, err error) {
	for {
		l, err := c.line()
		if err != nil {
			return nil, err
		}
		if l == "." {
			return list, nil
		}
		number, uid, ok := strings.Cut(l, " ")
		if !ok || len(list) >= fetchList || strings.Trim(number, "0123456789") != "" || number == "" {
			return nil, &fetchRefusal{"a list that makes no sense: " + smtpPrintable([]byte(l))}
		}
		list = append(list, popListed{number, strings.TrimSpace(uid)})
	}
}

// popRetr fetches one message. false: the server does not give it, or it is bigger than messages may be here; it stays
// where it is.
func (c *fetchConn) popRetr(number, uid string) (bool, error) {
	var no *fetchRefusal
	if _, err := c.popReply("RETR " + number); errors.As(err, &no) {
		c.s.log.Warn("fetch", "account", c.f.Name(), "uid", uid, "err", err)
		return false, nil // the others must not wait for it
	} else if err != nil {
		return false, err
	}
	sp := c.s.store.NewSpool(int64(c.s.cfg.Limits.Message))
	defer sp.Close()
	body := textproto.NewReader(c.r).DotReader()
	_, err := io.Copy(&crlfWriter{w: sp}, body)
	if errors.Is(err, ErrTooBig) {
		_, err = io.Copy(io.Discard, body)
		if err == nil {
			err = c.tooBig(sp, uid, func(tx *Tx) error { return tx.SetFetched(c.f.Name(), fetchBig+uid) })
		}
		return false, err
	}
	if err != nil {
		return false, err
	}
	return true, c.take(sp, func(tx *Tx) error { return tx.SetFetched(c.f.Name(), uid) })
}

// fetchBig stands before the name of a POP3 message that is too big: it is not fetched again and never deleted there.
const fetchBig = "!"

// tooBig tells whoever the mail is for, once, that a message was left where it is.
func (c *fetchConn) tooBig(sp *Spool, uid string, remember func(tx *Tx) error) error {
	to, err := ParseAddr(c.f.To)
	if err != nil {
		return err
	}
	head, err := sp.Head()
	if err != nil {
		return err
	}
	h, host, mb := ParseHeader(head), c.f.Server, int64(c.s.cfg.Limits.Message)>>20
	c.s.log.Warn("message too big, left there", "account", c.f.Name(), "uid", uid, "rcpt", to)
	note := c.s.store.NewSpool(maxHeaderBlock)
	defer note.Close()
	w := &crlfWriter{w: note}
	fmt.Fprintf(w, "From: Postmaster <postmaster@%s>\nTo: <%s>\nSubject: %s\nDate: %s\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"+
		"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n", c.s.cfg.Domains[0], to,
		EncodeWords("A message was too big to be fetched 有一封邮件太大，未能收取"), FormatDate(c.s.store.Now()))
	fmt.Fprintf(w, "This message has more than %d MB and was left at %s, account %s:\n此邮件超过 %d MB，仍留在 %s 的帐户 %s 中：\n\n    %s\n    %s\n    %s\n", mb, host, c.f.User,
		mb, host, c.f.User, fetchClean(h.Text("From")), fetchClean(h.Text("Subject")), fetchClean(h.Text("Date")))
	m := &Mail{To: rcptsTo(to), Body: note, Report: true, Also: func(tx *Tx, _ Blob) error { return remember(tx) }}
	return c.s.accept(m)
}

// fetchClean keeps a field of somebody's message on one line of reasonable length.
func fetchClean(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
}

// popForget forgets the names of messages that are no longer on the server.
func (c *fetchConn) popForget(list []popListed, known map[string]bool) error {
	for _, m := range list {
		delete(known, m.uid)
		delete(known, fetchBig+m.uid)
	}
	if len(known) == 0 {
		return nil
	}
	return c.s.store.Write(func(tx *Tx) error {
		for uid := range known {
			if err := tx.ForgetFetched(c.f.Name(), uid); err != nil {
				return err
			}
		}
		return nil
	})
}
