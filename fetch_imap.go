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

// imap is an IMAP session (RFC 3501, RFC 9051). It returns how many messages it took or passed over.
//
// What is remembered of an account are names: "validity:uid" is the last message that was seen to, "delete validity:uid sum" one
// that is here and is yet to be deleted there, "again validity:uid tries" one that could not be had and is asked for again,
// "stuck validity:uid times" one during which the connection ended.
func (c *fetchConn) imap() (int, error) {
	if err := c.imapLogin(); err != nil {
		return 0, err
	}
	box, err := c.imapSelect()
	if err != nil {
		return 0, err
	}
	uids, err := c.imapNew(box)
	if err != nil {
		return 0, err
	}
	n, err := c.imapTakeAll(box, append(box.again, uids...))
	if err != nil && !errors.Is(err, ErrQuota) {
		return n, err
	}
	if err := errors.Join(err, c.imapDeleteRest(box)); err != nil {
		return n, err
	}
	_, err = c.imapCommand("LOGOUT", fetchWanted{})
	return n, err
}

// imapLogin greets, makes the connection secret and logs in.
func (c *fetchConn) imapLogin() error {
	c.answers.begin()
	greeting, err := c.answers.rest()
	if err != nil || !strings.HasPrefix(strings.ToUpper(greeting), "* OK") {
		return errors.Join(err, &fetchRefusal{smtpPrintable([]byte(greeting))})
	}
	if c.f.TLS == "starttls" || (c.f.TLS == "" && !c.f.implicitTLS()) {
		if _, err := c.imapCommand("STARTTLS", fetchWanted{}); err != nil {
			return fmt.Errorf("the password is not sent without TLS (tls = \"none\" would): %w", err)
		}
		if err := c.startTLS(); err != nil {
			return err
		}
	}
	if _, err := c.imapCommand("LOGIN "+fetchQuote(c.f.User)+" "+fetchQuote(c.password), fetchWanted{}); err != nil {
		return err
	}
	// NetEase (163.com, 126.com) refuses to open a mailbox for programs that do not say who they are (RFC 2971).
	var no *fetchRefusal
	_, err = c.imapCommand(`ID ("name" "Postino")`, fetchWanted{})
	if err != nil && !errors.As(err, &no) {
		return err
	}
	return nil
}

// fetchBox is the mailbox that is open at the other side, and what is remembered of it.
type fetchBox struct {
	validity int64
	last     int64 // the UID up to which all messages were seen to
	again    []int64
	tries    map[int64]int
	stuckAt  int64          // the UID at which the connection ended last time
	stuck    int            // how often it has, one time after the other
	here     []int64        // came in this session, and is to be deleted there
	marked   map[int64]bool // what this session has marked as deleted there
}

const (
	fetchDelete = "delete " // as in "delete validity:uid sum"
	fetchAgain  = "again "
	fetchStuck  = "stuck "

	fetchTries = 3  // times that a message is asked for which the server does not give
	fetchEnds  = 10 // times that the connection may end at one message before that is passed over
)

func (b *fetchBox) name(uid int64) string { return fmt.Sprintf("%d:%d", b.validity, uid) }

// imapSelect opens the mailbox and looks up how far we were. Under another UIDVALIDITY the UIDs mean nothing any more, and
// everything is new (RFC 9051 §2.3.1.1).
func (c *fetchConn) imapSelect() (*fetchBox, error) {
	b := &fetchBox{tries: map[int64]int{}, marked: map[int64]bool{}}
	said := func(text string) {
		_, rest, ok := strings.Cut(strings.ToUpper(text), "[UIDVALIDITY ")
		if ok {
			num, _, _ := strings.Cut(rest, "]")
			b.validity, _ = strconv.ParseInt(strings.TrimSpace(num), 10, 64)
		}
	}
	status, err := c.imapCommand("SELECT "+fetchQuote(imapEncodeName(c.f.Mailbox)), fetchWanted{text: said})
	if err != nil {
		return nil, err
	}
	said(status)
	if b.validity == 0 {
		return nil, &fetchRefusal{"no UIDVALIDITY"}
	}
	return b, c.s.store.Read(func(tx *Tx) error {
		err := tx.EachFetched(c.f.Name(), fmt.Sprintf("%d:", b.validity), func(name string) error {
			_, uid := fetchNumbers(name)
			b.last = max(b.last, uid)
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.EachFetched(c.f.Name(), fmt.Sprintf("%s%d:", fetchStuck, b.validity), func(name string) error {
			name, times, _ := strings.Cut(strings.TrimPrefix(name, fetchStuck), " ")
			_, b.stuckAt = fetchNumbers(name)
			b.stuck, _ = strconv.Atoi(times)
			return nil
		})
		if err != nil {
			return err
		}
		b.again = b.again[:0]
		return tx.EachFetched(c.f.Name(), fmt.Sprintf("%s%d:", fetchAgain, b.validity), func(name string) error {
			name, tries, _ := strings.Cut(strings.TrimPrefix(name, fetchAgain), " ")
			_, uid := fetchNumbers(name)
			if len(b.again) < fetchMost {
				b.again = append(b.again, uid)
				b.tries[uid], _ = strconv.Atoi(tries)
			}
			return nil
		})
	})
}

// fetchNumbers reads "validity:uid".
func fetchNumbers(name string) (validity, uid int64) {
	v, u, _ := strings.Cut(name, ":")
	validity, _ = strconv.ParseInt(v, 10, 64)
	uid, _ = strconv.ParseInt(u, 10, 64)
	return validity, uid
}

// imapNew asks which messages came since, and keeps the first fetchMost of them, however many there are.
func (c *fetchConn) imapNew(b *fetchBox) ([]int64, error) {
	var uids []int64
	found := func(uid int64) {
		if uid <= b.last { // "n:*" finds the last message even when its UID is below n
			return
		}
		at, there := slices.BinarySearch(uids, uid)
		if there || at >= fetchMost {
			return
		}
		uids = slices.Insert(uids, at, uid)
		uids = uids[:min(len(uids), fetchMost)]
	}
	_, err := c.imapCommand(fmt.Sprintf("UID SEARCH UID %d:*", b.last+1), fetchWanted{found: found})
	return uids, err
}

// imapTakeAll fetches messages one after the other. One that can't be had is passed over; a mailbox here that is full ends it
// soon, for what comes after will not fit either.
func (c *fetchConn) imapTakeAll(b *fetchBox, uids []int64) (int, error) {
	n, full := 0, error(nil)
	refused := 0 // in a row, for want of room
	for _, uid := range uids {
		if c.s.stop.Err() != nil || refused >= fetchFull {
			break
		}
		var taken bool
		err := c.s.crew.Guard("fetch message", func() error {
			var err error
			taken, err = c.imapTake(b, uid)
			return err
		})
		var fault *PanicError
		if errors.As(err, &fault) {
			return n, errors.Join(err, c.imapPass(b, uid, nil, fault)) // what is still to be read of the answer is unknown
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
		n++
		if taken && c.f.Delete {
			b.here = append(b.here, uid)
		}
		if len(b.here) == fetchSet {
			if err := c.imapDeleteHere(b); err != nil {
				return n, err
			}
		}
	}
	return n, errors.Join(full, c.imapDeleteHere(b))
}

// imapTake fetches one message. false: it stays there, and imapPass has seen to it.
func (c *fetchConn) imapTake(b *fetchBox, uid int64) (bool, error) {
	var m fetchedItem
	keep := func(got fetchedItem) {
		if got.spool == nil || m.spool != nil || got.part || (got.uid != 0 && got.uid != uid) {
			if got.spool != nil {
				got.spool.Close()
			}
			return
		}
		m = got
	}
	defer func() {
		if m.spool != nil {
			m.spool.Close()
		}
	}()
	_, err := c.imapCommand(fmt.Sprintf("UID FETCH %d (UID FLAGS INTERNALDATE BODY.PEEK[])", uid), fetchWanted{item: keep})
	var no *fetchRefusal
	switch {
	case errors.As(err, &no):
		return false, c.imapPass(b, uid, nil, no)
	case errors.Is(err, errFetchSwallow):
		return false, errors.Join(err, c.imapPass(b, uid, nil, ErrTooBig)) // the connection ends with it
	case errors.Is(err, errFetchAnswer):
		return false, errors.Join(err, c.imapPass(b, uid, nil, err)) // and here
	case err != nil && c.s.stop.Err() == nil:
		return false, errors.Join(err, c.imapEnded(b, uid, err))
	case err != nil:
		return false, err
	case !m.body:
		return false, c.imapPass(b, uid, nil, &fetchRefusal{"it is not there, or empty"})
	case m.err != nil:
		return false, c.imapPass(b, uid, m.spool, m.err)
	}
	return c.imapKeep(b, uid, m)
}

// imapKeep takes in a message that has been fetched. false: it stays there, as imapTake says.
func (c *fetchConn) imapKeep(b *fetchBox, uid int64, m fetchedItem) (bool, error) {
	remember := func(tx *Tx) error { return c.imapRemember(tx, b, uid) }
	if c.f.Delete {
		sum, err := fetchSum(io.NewSectionReader(m.spool, 0, m.spool.Size()))
		if err != nil {
			return false, err
		}
		remember = func(tx *Tx) error {
			return errors.Join(c.imapRemember(tx, b, uid), tx.SetFetched(c.f.Name(), fetchDelete+b.name(uid)+" "+sum))
		}
	}
	err := c.take(m, remember)
	switch {
	case fetchNever(err):
		return false, c.imapPass(b, uid, m.spool, err)
	case errors.Is(err, ErrQuota):
		return false, errors.Join(err, c.s.store.Write(func(tx *Tx) error { return c.imapLater(tx, b, uid, b.tries[uid]) }))
	}
	return err == nil, err
}

// imapEnded notes that the connection ended while a message was fetched. If it always does, the message is passed over.
func (c *fetchConn) imapEnded(b *fetchBox, uid int64, why error) error {
	times := 1
	if b.stuckAt == uid {
		times += b.stuck
	}
	if times >= fetchEnds {
		return c.imapPass(b, uid, nil, why)
	}
	return c.s.store.Write(func(tx *Tx) error {
		if err := c.forgetAll(tx, fetchStuck); err != nil {
			return err
		}
		return tx.SetFetched(c.f.Name(), fmt.Sprintf("%s%s %d", fetchStuck, b.name(uid), times))
	})
}

// forgetAll forgets the names with a prefix.
func (c *fetchConn) forgetAll(tx *Tx, prefix string) error {
	var old []string
	err := tx.EachFetched(c.f.Name(), prefix, func(name string) error {
		old = append(old, name)
		return nil
	})
	for _, name := range old {
		err = errors.Join(err, tx.ForgetFetched(c.f.Name(), name))
	}
	return err
}

// imapRemember notes that a message has been seen to.
func (c *fetchConn) imapRemember(tx *Tx, b *fetchBox, uid int64) error {
	account := c.f.Name()
	var old []string // earlier last messages, of other mailboxes too
	err := tx.EachFetched(account, "", func(name string) error {
		validity, last := fetchNumbers(name)
		if validity == 0 {
			return errNothing // numbers come first
		}
		if validity != b.validity || last < uid {
			old = append(old, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := tx.ForgetFetched(account, name); err != nil {
			return err
		}
	}
	if err := c.forgetAll(tx, fetchStuck); err != nil {
		return err
	}
	if err := c.forgetAll(tx, fmt.Sprintf("%s%s ", fetchAgain, b.name(uid))); err != nil {
		return err
	}
	return tx.SetFetched(account, b.name(max(uid, b.last)))
}

// imapLater has a message asked for again in the next session.
func (c *fetchConn) imapLater(tx *Tx, b *fetchBox, uid int64, tries int) error {
	if err := c.imapRemember(tx, b, uid); err != nil {
		return err
	}
	return tx.SetFetched(c.f.Name(), fmt.Sprintf("%s%s %d", fetchAgain, b.name(uid), tries))
}

// imapPass passes a message over: it stays where it is and the next one comes. A message that the server did not give is asked
// for again in the next sessions, fetchTries times in all. When a message is given up, the person is told, once.
func (c *fetchConn) imapPass(b *fetchBox, uid int64, sp *Spool, why error) error {
	tries := b.tries[uid] + 1
	again := sp == nil && tries < fetchTries && !errors.Is(why, ErrTooBig)
	if again {
		c.s.log.Warn("fetch", "account", c.f.Name(), "uid", uid, "tries", tries, "err", why)
		return c.s.store.Write(func(tx *Tx) error { return c.imapLater(tx, b, uid, tries) })
	}
	return c.leftThere(sp, strconv.FormatInt(uid, 10), why, func(tx *Tx) error { return c.imapRemember(tx, b, uid) })
}

// fetchQuote makes a quoted string; names and passwords with line ends are refused by imapCommand.
func fetchQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// fetchWanted is what a command wants to hear; nil is nothing.
type fetchWanted struct {
	text  func(string)      // of each untagged OK and CAPABILITY
	found func(uid int64)   // each number of SEARCH
	item  func(fetchedItem) // each FETCH; it closes the spool
}

// imapCommand sends a command and reads its answers to the end. It returns the text of the tagged OK; NO and BAD are a
// *fetchRefusal.
func (c *fetchConn) imapCommand(cmd string, want fetchWanted) (string, error) {
	if strings.ContainsAny(cmd, "\r\n\x00") {
		return "", errors.New("a name or password with a line end")
	}
	c.tag++
	tag := fmt.Sprintf("f%d", c.tag)
	if err := c.say(tag + " " + cmd); err != nil {
		return "", err
	}
	c.answers.begin()
	for {
		t, err := c.answers.next()
		if err != nil {
			return "", err
		}
		switch {
		case t.kind == 'a' && t.text == tag:
			return c.imapStatus()
		case t.kind == 'a' && t.text == "*":
			err = c.imapUntagged(want)
		case t.kind != '\n':
			_, err = c.answers.rest()
		}
		if err != nil {
			return "", err
		}
	}
}

// imapStatus reads the end of a command.
func (c *fetchConn) imapStatus() (string, error) {
	text, err := c.answers.rest()
	if err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	word, _, _ := strings.Cut(text, " ")
	if !strings.EqualFold(word, "OK") {
		return "", &fetchRefusal{smtpPrintable([]byte(text))}
	}
	return text, nil
}

// imapUntagged reads an answer behind its star.
func (c *fetchConn) imapUntagged(want fetchWanted) error {
	t, err := c.answers.next()
	if err != nil || t.kind == '\n' {
		return err
	}
	word := strings.ToUpper(t.text)
	switch {
	case word == "SEARCH" && want.found != nil:
		return c.imapFound(want.found)
	case (word == "OK" || word == "CAPABILITY") && want.text != nil:
		text, err := c.answers.rest()
		want.text(text)
		return err
	case strings.Trim(word, "0123456789") != "" || want.item == nil:
		_, err := c.answers.rest()
		return err
	}
	t, err = c.answers.next()
	if err != nil || t.kind == '\n' {
		return err
	}
	if !strings.EqualFold(t.text, "FETCH") {
		_, err := c.answers.rest()
		return err
	}
	m, err := c.answers.item(func() *Spool { return c.s.store.NewIncoming(int64(c.s.cfg.Limits.Message)) })
	if err != nil {
		if m.spool != nil {
			m.spool.Close()
		}
		return err
	}
	want.item(m)
	_, err = c.answers.rest()
	return err
}

// imapFound reads the numbers of a SEARCH answer. What is no number (MODSEQ in parentheses) is passed over.
func (c *fetchConn) imapFound(found func(int64)) error {
	for {
		t, err := c.answers.next()
		if err != nil || t.kind == '\n' {
			return err
		}
		if t.kind != 'a' {
			if err := c.answers.skip(t); err != nil {
				return err
			}
			continue
		}
		if uid, err := strconv.ParseInt(t.text, 10, 64); err == nil {
			found(uid)
		}
	}
}
