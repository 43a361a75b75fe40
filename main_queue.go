// The verb queue: what waits, and what an administrator does about it.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

func (c *command) queue(args []string) error {
	if len(args) < 1 || (len(args) > 2 && args[0] != "export") {
		return usageError{}
	}
	match := ""
	if len(args) == 2 {
		match = strings.ToLower(args[1])
	}
	switch args[0] {
	case "export", "import", "sent":
		return c.bundle(args)
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	switch args[0] {
	case "list":
		return c.queueList(st, match)
	case "show":
		if match == "" {
			return usageError{"name a message or a domain; `postino queue list` shows both"}
		}
		return c.queueShow(st, match)
	}
	change, done := queueChange(args[0], match)
	if change == nil {
		return usageError{fmt.Sprintf("`queue %s` is nothing I know", strings.Join(args, " "))}
	}
	if match == "" && args[0] != "flush" {
		return usageError{"name a message or a domain; `postino queue list` shows both, and `postino queue flush` tries all"}
	}
	n, err := write(st, change)
	if err != nil {
		return err
	}
	if n == 0 && match != "" {
		return queueNothing(match)
	}
	fmt.Fprintf(c.out, "%d messages %s.\n", n, done)
	return nil
}

// queueChange is what a word has done to the messages that match, nil for a word that is none, and how to say that it was done.
func queueChange(word, match string) (func(*Tx) (int, error), string) {
	switch word {
	case "retry", "flush":
		return func(tx *Tx) (int, error) { return tx.QueueRetry(match) }, "will be tried now"
	case "hold":
		return func(tx *Tx) (int, error) { return tx.QueueHold(match, true) }, "are held"
	case "release":
		return func(tx *Tx) (int, error) { return tx.QueueHold(match, false) }, "are released"
	case "rm":
		return func(tx *Tx) (int, error) { return tx.QueueRemove(match) }, "were dropped without a report"
	}
	return nil, ""
}

func queueNothing(match string) error {
	return fmt.Errorf("nothing in the queue is called %s or waits for it; `postino queue list` shows what does", match)
}

func (c *command) queueItems(st *Store, match string) ([]QueueItem, error) {
	return read(st, func(tx *Tx) ([]QueueItem, error) { return tx.Queue(match) })
}

func (c *command) queueList(st *Store, match string) error {
	items, err := c.queueItems(st, match)
	if err != nil {
		return err
	}
	if c.json {
		if items == nil {
			items = []QueueItem{}
		}
		return c.printJSON(items)
	}
	if len(items) == 0 {
		fmt.Fprintln(c.out, "Nothing is waiting.")
		return nil
	}
	var b strings.Builder
	for _, q := range items {
		fmt.Fprintf(&b, "%s  %8d octets  since %s  from <%s>\n", q.Name, q.Size, q.Created.Format(time.DateTime), pathText(q.From))
		for _, r := range q.Rcpts {
			fmt.Fprintf(&b, "    to %s: %s\n", r.Addr, queueState(st, r))
		}
	}
	return writePlain(c.out, strings.NewReader(b.String()))
}

// writePlain copies text of strangers to a terminal: whatever the terminal would obey, or would show in another order than it
// stands there, becomes a question mark.
func writePlain(w io.Writer, r io.Reader) error {
	in, out := bufio.NewReader(r), bufio.NewWriter(w)
	for {
		c, size, err := in.ReadRune()
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		switch {
		case c == '\r':
			continue
		case c == utf8.RuneError && size == 1, terminalObeys(c):
			c = '?'
		}
		if _, err := out.WriteRune(c); err != nil {
			return err
		}
	}
}

func pathText(a Addr) string {
	if a.IsZero() {
		return ""
	}
	return a.String()
}

// queueState says in words what a recipient waits for.
func queueState(st *Store, r QueueRcpt) string {
	why := ""
	if r.Error != "" {
		tries := "1 try"
		if r.Tries != 1 {
			tries = fmt.Sprintf("%d tries", r.Tries)
		}
		why = fmt.Sprintf("; %s, the last one: %s", tries, r.Error)
	}
	switch {
	case r.Hold && strings.HasPrefix(r.Error, "in a bundle"):
		return "held: " + r.Error
	case r.Hold && strings.HasPrefix(r.Error, "held: "):
		return r.Error
	case r.Hold:
		return "held until `postino queue release`" + why
	case !r.Next.After(st.Now()):
		return "due now" + why
	}
	return "next try at " + r.Next.Format(time.DateTime) + why
}

// queueShow prints the envelope and the message itself.
func (c *command) queueShow(st *Store, match string) error {
	items, err := c.queueItems(st, match)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return queueNothing(match)
	}
	if err := c.queueList(st, match); err != nil || c.json {
		return err
	}
	for _, q := range items {
		content, err := st.Content(q.Blob.ID)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out)
		if err := writePlain(c.out, content.Reader()); err != nil {
			return err
		}
	}
	return nil
}

// terminalObeys says whether a terminal would take a character for a command, or for one that turns the order of others round.
func terminalObeys(c rune) bool {
	control := unicode.IsControl(c) && c != '\n' && c != '\t'
	return control || unicode.Is(unicode.Bidi_Control, c)
}
