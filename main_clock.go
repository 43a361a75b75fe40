// The verb clock: what time the appliance goes by, and back to the system's.
package main

import (
	"fmt"
	"time"
)

func (c *command) clock(args []string) error {
	if len(args) > 1 || (len(args) == 1 && args[0] != "reset") {
		return usageError{}
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	if len(args) == 0 {
		c.showClock(st)
		return nil
	}
	if st.opt.Now().Before(st.built) {
		return fmt.Errorf("the system says %s, which is before this program was built: set the system's clock first", st.opt.Now().Format(time.DateTime))
	}
	err = st.Write((*Tx).AskClockReset)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Postino goes by the system's clock, %s, within two minutes, or from its next start.\n", st.opt.Now().Format(time.DateTime))
	return nil
}

// showClock says which clocks there are.
func (c *command) showClock(st *Store) {
	sync := "synchronised"
	if !st.opt.synchronised() {
		sync = "set by nobody, as far as the kernel knows"
	}
	fmt.Fprintf(c.out, "%-9s %s, %s\n", "system", st.opt.Now().Format(time.DateTime), sync)
	fmt.Fprintf(c.out, "%-9s %s\n", "postino", st.Now().Format(time.DateTime))
	if !st.ClockTrusted() {
		fmt.Fprintln(c.out, "The system's clock is behind the time of the last mail or of this program, and is not gone by. If it is right, run `postino clock reset`;")
		fmt.Fprintln(c.out, "when it has been synchronised and has not jumped for a day, that happens by itself.")
	}
}
