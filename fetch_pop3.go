// Fetching by POP3: the messages whose unique ids were not seen before.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/textproto"
	"strings"
)

const (
	fetchListed = 300_000 // messages of an account that are looked at
	fetchUID    = 70      // octets of a unique id (RFC 1939 §7); a longer one is hashed
	fetchSome   = 500     // ids that are looked up together
)

// fetchBig stands before the name of a POP3 message that will not be fetched again and is never deleted there: it is too big,
// or goes round in circles.
const fetchBig = "!"

// pop3 is a POP3 session (RFC 1939): what UIDL names and was not fetched before is fetched. It returns how many messages it
// took.
//
// The names that are remembered are unique ids, with "!" in front for a message that was left for good, "again tries id" for
// one that the server did not give, and "delete id sum" beside the id of one that is here and is to be deleted there.
func (c *fetchConn) pop3() (int, error) {
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
	for _, cmd := range []string{"USER " + c.f.User, "PASS " + c.password} {
		if _, err := c.popReply(cmd); err != nil {
			return 0, err
		}
	}
	list, err := c.popNew()
	if err != nil {
		return 0, err
	}
	n, err := c.popTakeAll(list.todo)
	if err != nil {
		return n, err
	}
	_, err = c.popReply("QUIT") // deletes now
	if err == nil {
		err = c.popForget(list.seen)
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
	switch {
	case err != nil:
		return l, err
	case strings.HasPrefix(l, "-ERR"):
		return l, &fetchRefusal{smtpPrintable([]byte(l))}
	case !strings.HasPrefix(l, "+OK"): // who knows whose answer that is
		return l, fmt.Errorf("%w: %q", errFetchAnswer, smtpPrintable([]byte(l)))
	}
	return l, nil
}

// popBody reads the message behind RETR or TOP into w, up to the line with nothing but a dot. Octets stay what they are; a bare LF
// becomes CRLF.
func (c *fetchConn) popBody(w io.Writer) error {
	before := "\r\n" // what the piece before ended with: "" is the middle of a line
	var last byte
	for total := int64(0); total < fetchSwallow; {
		l, err := c.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return popCut(err)
		}
		if c.popEnds(l, before) {
			return nil
		}
		total += int64(len(l))
		stuffed := l[0] == '.' && (before == "\r\n" || (before == "\n" && c.bare))
		before = popEnd(l, last)
		last = l[len(l)-1]
		if stuffed {
			l = l[1:]
		}
		if before == "\n" {
			l = append(bytes.Clone(l[:len(l)-1]), "\r\n"...)
		}
		if _, err := w.Write(l); err != nil {
			return err
		}
	}
	return errFetchSwallow
}

// popEnds says whether a line is the end of a message. A dot between bare LFs may be text: it is the end where the server ends its
// own lines so, or if nothing stands behind it.
func (c *fetchConn) popEnds(line []byte, before string) bool {
	text := string(line)
	if before == "" || (text != ".\r\n" && text != ".\n") {
		return false
	}
	return c.bare || (before == "\r\n" && text == ".\r\n") || c.r.Buffered() == 0
}

// popEnd is what a piece ends with: CRLF, LF or nothing. last is the octet in front of it.
func popEnd(piece []byte, last byte) string {
	switch {
	case piece[len(piece)-1] != '\n':
		return ""
	case bytes.HasSuffix(piece, []byte("\r\n")), len(piece) == 1 && last == '\r':
		return "\r\n"
	}
	return "\n"
}

// popCut is what the end of a connection is in the middle of a message.
func popCut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// popStart keeps the beginning of what is written.
type popStart struct{ bytes.Buffer }

func (s *popStart) Write(p []byte) (int, error) {
	s.Buffer.Write(p[:min(len(p), fetchStart-s.Len())])
	return len(p), nil
}

// popListed is a message of the maildrop. here: it was fetched before, and is only to be deleted there.
type popListed struct {
	number, uid string
	here        bool
	tries       int
}

// popList is what is to be done, and a set of all names there, as hashes: the names of a large maildrop need not fit into memory.
type popList struct {
	todo []popListed
	seen map[uint64]bool
}

func popHash(uid string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, uid)
	return h.Sum64()
}

// popNew reads UIDL's answer (RFC 1939 §7) and keeps the first fetchMost messages that are new, and those that are to be deleted.
// Messages without an id, or with one that another has too, are told apart by their headers.
func (c *fetchConn) popNew() (popList, error) {
	list := popList{seen: map[uint64]bool{}}
	var nameless []string
	_, err := c.popReply("UIDL")
	var no *fetchRefusal
	if errors.As(err, &no) {
		nameless, err = c.popNumbers()
	} else if err == nil {
		nameless, err = c.popIDs(&list)
	}
	if err != nil {
		return list, err
	}
	for _, number := range nameless {
		uid, err := c.popHeaderID(number)
		if errors.As(err, &no) {
			c.s.log.Warn("fetch", "account", c.f.Name(), "number", number, "err", err)
			continue
		}
		if err == nil && !list.seen[popHash(uid)] {
			list.seen[popHash(uid)] = true
			err = c.popSort(&list, []popListed{{number: number, uid: uid}})
		}
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// popIDs reads the list of ids. It returns the numbers of messages that have none of their own.
func (c *fetchConn) popIDs(list *popList) ([]string, error) {
	var some []popListed
	var nameless []string
	for total := 0; ; total++ {
		l, err := c.line()
		if err != nil {
			return nil, err
		}
		if l == "." {
			return nameless, c.popSort(list, some)
		}
		words := strings.Fields(l)
		if len(words) == 0 || len(words) > 2 || strings.Trim(words[0], "0123456789") != "" || total >= fetchListed {
			return nil, &fetchRefusal{"a list that makes no sense: " + smtpPrintable([]byte(l))}
		}
		if len(words) == 1 || list.seen[popHash(words[1])] {
			if len(nameless) < fetchMost {
				nameless = append(nameless, words[0])
			}
			continue
		}
		uid := words[1]
		list.seen[popHash(uid)] = true
		if len(uid) > fetchUID {
			sum := sha256.Sum256([]byte(uid))
			uid = "sha256:" + hex.EncodeToString(sum[:16])
			list.seen[popHash(uid)] = true
		}
		some = append(some, popListed{number: words[0], uid: uid})
		if len(some) == fetchSome {
			if err := c.popSort(list, some); err != nil {
				return nil, err
			}
			some = some[:0]
		}
	}
}

// popSort looks up what is known of messages, and adds what is to be done about them.
func (c *fetchConn) popSort(list *popList, some []popListed) error {
	var names []string
	for _, m := range some {
		names = append(names, m.uid, fetchBig+m.uid)
		for tries := 1; tries <= fetchTries; tries++ {
			names = append(names, popAgain(m.uid, tries))
		}
	}
	known, err := read(c.s.store, func(tx *Tx) (map[string]bool, error) { return tx.Fetched(c.f.Name(), names) })
	if err != nil {
		return err
	}
	for _, m := range some {
		m.here = known[m.uid]
		for tries := 1; tries <= fetchTries; tries++ {
			if known[popAgain(m.uid, tries)] {
				m.tries = tries
			}
		}
		left := known[fetchBig+m.uid] || m.tries >= fetchTries
		wanted := !left && (!m.here || c.f.Delete)
		if wanted && len(list.todo) < fetchMost {
			list.todo = append(list.todo, m)
		}
	}
	return nil
}

func popAgain(uid string, tries int) string { return fmt.Sprintf("%s%d %s", fetchAgain, tries, uid) }

// popNumbers reads LIST, for a server without UIDL.
func (c *fetchConn) popNumbers() ([]string, error) {
	if _, err := c.popReply("LIST"); err != nil {
		var no *fetchRefusal
		if errors.As(err, &no) && strings.Contains(strings.ToLower(no.text), "no mess") {
			return nil, nil
		}
		return nil, err
	}
	var numbers []string
	for {
		l, err := c.line()
		if err != nil || l == "." {
			return numbers, err
		}
		words := strings.Fields(l)
		if len(words) == 0 || strings.Trim(words[0], "0123456789") != "" {
			return nil, &fetchRefusal{"a list that makes no sense: " + smtpPrintable([]byte(l))}
		}
		if len(numbers) < fetchMost {
			numbers = append(numbers, words[0])
		}
	}
}

// popHeaderID makes a name out of a message's header.
func (c *fetchConn) popHeaderID(number string) (string, error) {
	if _, err := c.popReply("TOP " + number + " 0"); err != nil {
		return "", err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(textproto.NewReader(c.r).DotReader(), fetchSwallow))
	if err != nil || n >= fetchSwallow {
		return "", errors.Join(err, io.ErrUnexpectedEOF)
	}
	return "header:" + hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// popTakeAll fetches what is new and deletes what is here, as far as that is wanted. A message that can't be had is passed over.
func (c *fetchConn) popTakeAll(todo []popListed) (int, error) {
	n, full := 0, error(nil)
	refused := 0 // in a row, for want of room
	for _, m := range todo {
		if c.s.stop.Err() != nil || refused >= fetchFull {
			break
		}
		if m.here {
			same, err := c.popSame(m)
			if err != nil {
				return n, err
			}
			m.here = same
		}
		if !m.here {
			var fault *PanicError
			err := c.s.crew.Guard("fetch message", func() error {
				var err error
				m.here, err = c.popTake(m)
				return err
			})
			if errors.As(err, &fault) {
				return n, errors.Join(err, c.popPass(m, nil, fault)) // what is still to be read of the answer is unknown
			}
			if errors.Is(err, ErrQuota) {
				full = err
				refused++
				continue
			}
			if err != nil {
				return n, err
			}
			refused = 0
			if !m.here {
				continue
			}
			n++
		}
		if c.f.Delete {
			_, err := c.popReply("DELE " + m.number)
			var no *fetchRefusal
			if errors.As(err, &no) { // the next ones come all the same
				c.s.log.Warn("message left there", "account", c.f.Name(), "uid", m.uid, "err", err)
				continue
			}
			if err != nil {
				return n, err
			}
		}
	}
	return n, full
}

// popTake fetches one message. false: it stays there, and popPass has seen to it.
func (c *fetchConn) popTake(m popListed) (bool, error) {
	_, err := c.popReply("RETR " + m.number)
	var no *fetchRefusal
	if errors.As(err, &no) {
		return false, c.popPass(m, nil, no)
	}
	if err != nil {
		return false, err
	}
	sp := &fetchSpool{Spool: c.s.store.NewIncoming(int64(c.s.cfg.Limits.Message))}
	defer sp.Close()
	err = c.popBody(sp)
	switch {
	case errors.Is(err, errFetchSwallow):
		return false, errors.Join(err, c.popPass(m, sp.Spool, ErrTooBig)) // the connection ends with it
	case err != nil:
		return false, err
	case sp.err != nil:
		return false, c.popPass(m, sp.Spool, sp.err)
	case sp.Size() == 0:
		return false, c.popPass(m, nil, &fetchRefusal{"the message is empty"})
	}
	sum, err := fetchSum(io.NewSectionReader(sp, 0, sp.Size()))
	if err != nil {
		return false, err
	}
	err = c.take(fetchedItem{spool: sp.Spool}, func(tx *Tx) error {
		if err := c.popForgetTries(tx, m); err != nil {
			return err
		}
		err := tx.SetFetched(c.f.Name(), m.uid)
		if err != nil || !c.f.Delete {
			return err
		}
		return errors.Join(c.forgetAll(tx, fetchDelete+m.uid+" "), tx.SetFetched(c.f.Name(), fetchDelete+m.uid+" "+sum))
	})
	if fetchNever(err) {
		return false, c.popPass(m, sp.Spool, err)
	}
	return err == nil, err
}

// popSame says whether a message that an earlier session brought is the one that has its id now: some servers number the messages
// anew when one is gone. Nothing is known of one that came when it was to stay there, and its id is believed.
func (c *fetchConn) popSame(m popListed) (bool, error) {
	known := ""
	err := c.s.store.Read(func(tx *Tx) error {
		return tx.EachFetched(c.f.Name(), fetchDelete+m.uid+" ", func(name string) error {
			known = name
			return nil
		})
	})
	if err != nil || known == "" {
		return true, err
	}
	_, err = c.popReply("TOP " + m.number + " 0")
	var no *fetchRefusal
	if errors.As(err, &no) { // which not all servers know
		_, err = c.popReply("RETR " + m.number)
	}
	if errors.As(err, &no) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var start popStart
	err = c.popBody(&start)
	if err != nil {
		return false, err
	}
	sum, err := fetchSum(&start)
	if err != nil {
		return false, err
	}
	return known == fetchDelete+m.uid+" "+sum, nil
}

// popPass passes a message over: it stays where it is and the next one comes. One that the server did not give is asked for
// again in the next sessions, fetchTries times in all. When a message is given up, the person is told, once.
func (c *fetchConn) popPass(m popListed, sp *Spool, why error) error {
	tries := m.tries + 1
	remember := func(tx *Tx) error {
		if err := c.popForgetTries(tx, m); err != nil {
			return err
		}
		if sp != nil {
			return tx.SetFetched(c.f.Name(), fetchBig+m.uid)
		}
		return tx.SetFetched(c.f.Name(), popAgain(m.uid, tries))
	}
	if sp == nil && tries < fetchTries {
		c.s.log.Warn("fetch", "account", c.f.Name(), "uid", m.uid, "tries", tries, "err", why)
		return c.s.store.Write(remember)
	}
	return c.leftThere(sp, m.number, why, remember)
}

func (c *fetchConn) popForgetTries(tx *Tx, m popListed) error {
	if m.tries == 0 {
		return nil
	}
	return tx.ForgetFetched(c.f.Name(), popAgain(m.uid, m.tries))
}

// popForget forgets the names of messages that are no longer on the server.
func (c *fetchConn) popForget(seen map[uint64]bool) error {
	var gone []string
	err := c.s.store.Read(func(tx *Tx) error {
		gone = gone[:0]
		return tx.EachFetched(c.f.Name(), "", func(name string) error {
			uid := strings.TrimPrefix(name, fetchBig)
			if rest, ok := strings.CutPrefix(name, fetchAgain); ok {
				_, uid, _ = strings.Cut(rest, " ")
			}
			if rest, ok := strings.CutPrefix(name, fetchDelete); ok {
				uid, _, _ = strings.Cut(rest, " ")
			}
			if !seen[popHash(uid)] && !seen[popHash(name)] && len(gone) < fetchListed {
				gone = append(gone, name)
			}
			return nil
		})
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return c.s.store.Write(func(tx *Tx) error {
		for _, name := range gone {
			if err := tx.ForgetFetched(c.f.Name(), name); err != nil {
				return err
			}
		}
		return nil
	})
}
