// The verb compact: what is stored from before there was compression takes less room.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const compactSay = 2 * time.Second // between two lines of progress

func (c *command) compact(args []string) error {
	if len(args) > 0 {
		return usageError{}
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)
	said, ended := time.Now(), false
	done, err := st.Compact(func(now Compacted) bool {
		select {
		case <-stop:
			ended = true
		default:
		}
		if time.Since(said) >= compactSay {
			said = time.Now()
			fmt.Fprintf(c.out, "%d of %d messages, %d MB became %d MB\n", now.Seen, now.All, now.Before>>20, now.After>>20)
		}
		return !ended
	})
	for _, m := range done.Damaged {
		fmt.Fprintf(c.out, "left as it is: message %d in %s of %s is damaged: %v\n", m.UID, m.Mailbox, m.User, m.Why)
	}
	if err != nil {
		return err
	}
	stat, err := st.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%d messages were made compact, %d KB became %d KB; so were %d blocks of the search index. Of the file's %d MB %d are free for new mail.\n",
		done.Changed, done.Before>>10, done.After>>10, done.Blocks, stat.File>>20, stat.FileFree>>20)
	if ended {
		fmt.Fprintln(c.out, "Stopped; `postino compact` goes on from there.")
	}
	return nil
}
