// Taking mail off somebody else's server once it is here, and nothing else.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	fetchSet    = 100      // messages that are deleted by one command: 1,100 octets of UIDs
	fetchSummed = 8 << 10  // octets of a message that tell it from others
	fetchStart  = 16 << 10 // octets that are asked for to have as many
)

var (
	errFetchMarked = errors.New("the server has no UIDPLUS, and others have marked messages there as deleted")
	errFetchOther  = errors.New("it is another message now")
)

// fetchSum tells a message from others: by its header, and no more than fetchSummed octets of it. CRs do not count, for servers
// change them.
func fetchSum(r io.Reader) (string, error) {
	in := bufio.NewReader(r)
	sum := sha256.New()
	last := byte('\n')
	for n := 0; n < fetchSummed; {
		b, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if b == '\r' {
			continue
		}
		if b == '\n' && last == '\n' {
			break
		}
		sum.Write([]byte{b})
		last = b
		n++
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// fetchUIDs writes UIDs in order as a set: "1:3,7". A range holds nothing but them.
func fetchUIDs(uids []int64) string {
	var set strings.Builder
	for i := 0; i < len(uids); {
		end := i
		for end+1 < len(uids) && uids[end+1] == uids[end]+1 {
			end++
		}
		if i > 0 {
			set.WriteByte(',')
		}
		fmt.Fprint(&set, uids[i])
		if end > i {
			fmt.Fprintf(&set, ":%d", uids[end])
		}
		i = end + 1
	}
	return set.String()
}

// imapDeleteHere deletes what came in this session.
func (c *fetchConn) imapDeleteHere(b *fetchBox) error {
	here := b.here
	b.here = nil
	_, err := c.imapDelete(b, here)
	return err
}

// imapDeleteRest deletes what earlier sessions brought and could not delete any more. Each message is looked at first: some
// servers give the UIDs of messages that are gone to others.
func (c *fetchConn) imapDeleteRest(b *fetchBox) error {
	rest := map[int64]string{} // their sums
	var uids []int64
	var void []string // of another mailbox now, or somebody wants them left there
	err := c.s.store.Read(func(tx *Tx) error {
		clear(rest)
		uids, void = uids[:0], void[:0]
		return tx.EachFetched(c.f.Name(), fetchDelete, func(name string) error {
			number, sum, _ := strings.Cut(strings.TrimPrefix(name, fetchDelete), " ")
			validity, uid := fetchNumbers(number)
			switch {
			case validity != b.validity || !c.f.Delete:
				void = append(void, name)
			case len(uids) < fetchMost && !b.marked[uid]:
				rest[uid] = sum
				uids = append(uids, uid)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := c.forgetNames(void); err != nil {
		return err
	}
	slices.Sort(uids)
	for set := range slices.Chunk(uids, fetchSet) {
		same, err := c.imapSame(b, set, rest)
		if err != nil {
			return err
		}
		done, err := c.imapDelete(b, same)
		if !done || err != nil {
			return err
		}
	}
	return nil
}

// forgetNames forgets names that are remembered of the account.
func (c *fetchConn) forgetNames(names []string) error {
	if len(names) == 0 {
		return nil
	}
	return c.s.store.Write(func(tx *Tx) error {
		for _, name := range names {
			if err := tx.ForgetFetched(c.f.Name(), name); err != nil {
				return err
			}
		}
		return nil
	})
}

// imapSame returns those of a set of messages that are still what sums says. The others are forgotten: they stay there, or
// are gone.
func (c *fetchConn) imapSame(b *fetchBox, set []int64, sums map[int64]string) ([]int64, error) {
	var same []int64
	var failed error
	look := func(got fetchedItem) {
		if got.spool == nil {
			return
		}
		defer got.spool.Close()
		sum, err := fetchSum(io.NewSectionReader(got.spool, 0, got.spool.Size()))
		failed = errors.Join(failed, err)
		switch {
		case !slices.Contains(set, got.uid) || slices.Contains(same, got.uid):
		case sum == sums[got.uid]:
			same = append(same, got.uid)
		default:
			c.s.log.Warn("message left there", "account", c.f.Name(), "uid", got.uid, "err", errFetchOther)
		}
	}
	_, err := c.imapCommand(fmt.Sprintf("UID FETCH %s (UID BODY.PEEK[]<0.%d>)", fetchUIDs(set), fetchStart), fetchWanted{item: look})
	var no *fetchRefusal
	if errors.As(err, &no) {
		c.s.log.Warn("fetch", "account", c.f.Name(), "err", err)
		return nil, nil
	}
	err = errors.Join(err, failed)
	if err != nil {
		return nil, err
	}
	slices.Sort(same)
	others := slices.DeleteFunc(slices.Clone(set), func(uid int64) bool { return slices.Contains(same, uid) })
	return same, c.imapForget(b, others)
}

// imapForget forgets that messages are to be deleted.
func (c *fetchConn) imapForget(b *fetchBox, uids []int64) error {
	if len(uids) == 0 {
		return nil
	}
	return c.s.store.Write(func(tx *Tx) error {
		for _, uid := range uids {
			if err := c.forgetAll(tx, fetchDelete+b.name(uid)+" "); err != nil {
				return err
			}
		}
		return nil
	})
}

// imapDelete takes messages off the server, at most fetchSet, in the order of their UIDs. All of them must be stored here whole,
// with a note that they are to be deleted. false: the server will not; they stay there, perhaps marked, and are noted.
func (c *fetchConn) imapDelete(b *fetchBox, uids []int64) (bool, error) {
	if len(uids) == 0 {
		return true, nil
	}
	err := c.imapExpunge(b, uids)
	var no *fetchRefusal
	if errors.As(err, &no) || errors.Is(err, errFetchMarked) {
		c.s.log.Warn("messages left there", "account", c.f.Name(), "messages", len(uids), "err", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, c.imapForget(b, uids)
}

// imapExpunge marks messages as deleted and expunges them. With UIDPLUS (RFC 4315) they alone go; without, EXPUNGE is said only
// where nothing else is marked, for what others have marked may be nowhere here.
func (c *fetchConn) imapExpunge(b *fetchBox, uids []int64) error {
	set := fetchUIDs(uids)
	if _, err := c.imapCommand("UID STORE "+set+` +FLAGS.SILENT (\Deleted)`, fetchWanted{}); err != nil {
		return err
	}
	for _, uid := range uids {
		b.marked[uid] = true
	}
	plus, err := c.imapUIDPlus()
	if err != nil {
		return err
	}
	if plus {
		_, err := c.imapCommand("UID EXPUNGE "+set, fetchWanted{})
		var no *fetchRefusal
		if !errors.As(err, &no) {
			return err
		}
	}
	others := false
	_, err = c.imapCommand("UID SEARCH DELETED", fetchWanted{found: func(uid int64) { others = others || !b.marked[uid] }})
	if err != nil {
		return err
	}
	if others {
		return errFetchMarked
	}
	_, err = c.imapCommand("EXPUNGE", fetchWanted{})
	return err
}

// imapUIDPlus asks, once, whether the server knows UID EXPUNGE. IMAP4rev2 has it, too.
func (c *fetchConn) imapUIDPlus() (bool, error) {
	if c.plusAsked {
		return c.plus, nil
	}
	said := func(text string) {
		words := strings.Fields(strings.ToUpper(text))
		c.plus = c.plus || slices.Contains(words, "UIDPLUS") || slices.Contains(words, "IMAP4REV2")
	}
	_, err := c.imapCommand("CAPABILITY", fetchWanted{text: said})
	var no *fetchRefusal
	if err != nil && !errors.As(err, &no) {
		return false, err
	}
	c.plusAsked = true
	return c.plus, nil
}
