// Fetching by IMAP: the messages of a mailbox whose UIDs are above the last one that was fetched.
package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// imap is an IMAP session (RFC 3501, RFC 9051).
func (c *fetchConn) imap() (n int, err error) {
	if l, err := c.line(); err != nil || !strings.HasPrefix(l, "* OK") {
		return 0, errors.Join(err, &fetchRefusal{smtpPrintable([]byte(l))})
	}
	if c.f.TLS == "starttls" || (c.f.TLS == "" && !c.f.implicitTLS()) {
		if _, err := c.imapCommand("STARTTLS", nil); err != nil {
			return 0, fmt.Errorf("the password is not sent without TLS (tls = \"none\" would): %w", err)
		}
		if err := c.startTLS(); err != nil {
			return 0, err
		}
	}
	if _, err := c.imapCommand("LOGIN "+imapFetchQuote(c.f.User)+" "+imapFetchQuote(c.password), nil); err != nil {
		return 0, err
	}
	answers, err := c.imapCommand("SELECT "+imapFetchQuote(c.f.Mailbox), nil)
	if err != nil {
		return 0, err
	}
	validity, last, err := c.imapCursor(answers)
	if err != nil {
		return 0, err
	}
	answers, err = c.imapCommand(fmt.Sprintf("UID SEARCH UID %d:*", last+1), nil)
	if err != nil {
		return 0, err
	}
	uids := imapFound(answers, last)
	if err := c.imapDeleteRest(validity); err != nil {
		return 0, err
	}
	for _, uid := range uids[:min(len(uids), fetchMost)] {
		if c.s.stop.Err() != nil {
			break
		}
		taken, err := c.imapFetch(validity, uid)
		if err == nil && taken && c.f.Delete {
			err = c.imapDelete(validity, uid)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	_, err = c.imapCommand("LOGOUT", nil)
	return n, err
}

// imapFetchQuote makes a quoted string; names and passwords with line ends are refused by imapCommand.
func imapFetchQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// imapCommand sends a command and returns the untagged answers, literals left out. literal, if there is one, gets the
// content of the first literal of each answer.
func (c *fetchConn) imapCommand(cmd string, literal io.Writer) (answers []string, err error) {
	if strings.ContainsAny(cmd, "\r\n") {
		return nil, errors.New("a name or password with a line end")
	}
	c.tag++
	tag := fmt.Sprintf("f%d ", c.tag)
	if err := c.say(tag + cmd); err != nil {
		return nil, err
	}
	for {
		l, err := c.imapAnswer(literal)
		if err != nil {
			return nil, err
		}
		if rest, ok := strings.CutPrefix(l, tag); ok {
			if word, _, _ := strings.Cut(rest, " "); !strings.EqualFold(word, "OK") {
				return nil, &fetchRefusal{smtpPrintable([]byte(rest))}
			}
			return answers, nil
		}
		if len(answers) < fetchList {
			answers = append(answers, l)
		}
	}
}

// imapAnswer reads one answer with its literals.
func (c *fetchConn) imapAnswer(literal io.Writer) (string, error) {
	var all strings.Builder
	for {
		l, err := c.line()
		if err != nil || all.Len() > fetchLine {
			return "", errors.Join(err, errors.New("an answer is too long"))
		}
		all.WriteString(l)
		open := strings.LastIndexByte(l, '{')
		if open < 0 || !strings.HasSuffix(l, "}") {
			return all.String(), nil
		}
		size, err := strconv.ParseInt(strings.TrimSuffix(l[open+1:], "}"), 10, 64)
		if err != nil || size < 0 {
			return all.String(), nil
		}
		to := io.Discard
		if literal != nil {
			to, literal = literal, nil
		}
		if err := c.imapLiteral(to, size); err != nil {
			return "", err
		}
	}
}

// imapLiteral reads a literal to its end, also when it can't be kept; the writer remembers what went wrong.
func (c *fetchConn) imapLiteral(to io.Writer, size int64) error {
	_, err := io.CopyN(to, c.r, size)
	return err
}

// imapCursor reads UIDVALIDITY out of SELECT's answers and looks up how far we were; under another UIDVALIDITY the UIDs
// mean nothing any more, and everything is new (RFC 9051 §2.3.1.1).
func (c *fetchConn) imapCursor(answers []string) (validity, last int64, err error) {
	for _, a := range answers {
		if _, rest, ok := strings.Cut(strings.ToUpper(a), "[UIDVALIDITY "); ok {
			num, _, _ := strings.Cut(rest, "]")
			validity, err = strconv.ParseInt(num, 10, 64)
		}
	}
	if err != nil || validity == 0 {
		return 0, 0, &fetchRefusal{"no UIDVALIDITY"}
	}
	var known map[string]bool
	err = c.s.store.Read(func(tx *Tx) (err error) { known, err = tx.Fetched(c.f.Name()); return err })
	for k := range known {
		var v, l int64
		if n, _ := fmt.Sscanf(k, "%d:%d", &v, &l); n == 2 && v == validity {
			last = max(last, l)
		}
	}
	return validity, last, err
}

// imapFound reads SEARCH's answers. "n:*" finds the last message even when its UID is below n.
func imapFound(answers []string, last int64) (uids []int64) {
	for _, a := range answers {
		f := strings.Fields(a)
		if len(f) < 2 || !strings.EqualFold(f[1], "SEARCH") {
			continue
		}
		for _, w := range f[2:] {
			if u, err := strconv.ParseInt(w, 10, 64); err == nil && u > last {
				uids = append(uids, u)
			}
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

// fetchSpool keeps what fits and swallows the rest, so that the answer is read to its end.
type fetchSpool struct {
	*Spool
	err error
}

func (f *fetchSpool) Write(p []byte) (int, error) {
	if f.err == nil {
		_, f.err = f.Spool.Write(p)
	}
	return len(p), nil
}

// imapFetch fetches one message. false: it is bigger than messages may be here, or gone, and is passed over.
func (c *fetchConn) imapFetch(validity, uid int64) (taken bool, err error) {
	sp := &fetchSpool{Spool: c.s.store.NewSpool(int64(c.s.cfg.Limits.Message))}
	defer sp.Close()
	answers, err := c.imapCommand(fmt.Sprintf("UID FETCH %d (UID BODY.PEEK[])", uid), sp)
	if err != nil {
		return false, err
	}
	remember := func(tx *Tx) error {
		known, err := tx.Fetched(c.f.Name())
		if err != nil {
			return err
		}
		for k := range known {
			if strings.HasPrefix(k, fetchDelete) {
				continue
			}
			if err := tx.ForgetFetched(c.f.Name(), k); err != nil {
				return err
			}
		}
		if err := tx.SetFetched(c.f.Name(), fmt.Sprintf("%d:%d", validity, uid)); err != nil || !c.f.Delete || sp.err != nil {
			return err
		}
		return tx.SetFetched(c.f.Name(), fmt.Sprintf("%s%d:%d", fetchDelete, validity, uid))
	}
	got := slices.ContainsFunc(answers, func(a string) bool { return strings.Contains(strings.ToUpper(a), "BODY[]") })
	switch {
	case errors.Is(sp.err, ErrTooBig):
		return false, c.tooBig(sp.Spool, fmt.Sprint(uid), remember)
	case !got:
		c.s.log.Warn("fetch", "account", c.f.Name(), "uid", uid, "err", "the message is gone")
		return false, c.s.store.Write(remember)
	case sp.err != nil:
		return false, sp.err
	}
	return true, c.take(sp.Spool, remember)
}

// fetchDelete stands before the name of an IMAP message that is here and is yet to be deleted there.
const fetchDelete = "delete "

// imapDeleteRest deletes what the last session brought and could not delete any more.
func (c *fetchConn) imapDeleteRest(validity int64) error {
	var known map[string]bool
	err := c.s.store.Read(func(tx *Tx) (err error) { known, err = tx.Fetched(c.f.Name()); return err })
	for k := range known {
		var v, uid int64
		rest, ok := strings.CutPrefix(k, fetchDelete)
		if n, _ := fmt.Sscanf(rest, "%d:%d", &v, &uid); err != nil || !ok || n != 2 {
			continue
		}
		if v == validity && c.f.Delete {
			err = c.imapDelete(v, uid)
		} else { // another mailbox now, or somebody wants it left there
			err = c.s.store.Write(func(tx *Tx) error { return tx.ForgetFetched(c.f.Name(), k) })
		}
	}
	return err
}

// imapDelete takes a message off the server: with UIDPLUS only it, without what others have marked as deleted, too.
func (c *fetchConn) imapDelete(validity, uid int64) error {
	if _, err := c.imapCommand(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid), nil); err != nil {
		return err
	}
	_, err := c.imapCommand(fmt.Sprintf("UID EXPUNGE %d", uid), nil)
	var no *fetchRefusal
	if errors.As(err, &no) {
		_, err = c.imapCommand("EXPUNGE", nil)
	}
	if err != nil {
		return err
	}
	return c.s.store.Write(func(tx *Tx) error {
		return tx.ForgetFetched(c.f.Name(), fmt.Sprintf("%s%d:%d", fetchDelete, validity, uid))
	})
}
