// The verb rescue: what can be read of a damaged file, in a new one.
package main

import (
	"fmt"
)

func (c *command) rescue(args []string) error {
	if len(args) != 2 {
		return usageError{}
	}
	if err := rescueSource(args[0]); err != nil {
		return err
	}
	r, err := Rescue(args[0], args[1], c.logger())
	if err != nil {
		return err
	}
	var taken, cut, changed, lost int64
	for _, b := range r.Boxes {
		taken, cut, changed, lost = taken+b.Taken, cut+b.Cut, changed+b.Changed, lost+b.Lost
		if b.Taken+b.Lost > 0 {
			fmt.Fprintf(c.out, "%7d messages of %s %s%s\n", b.Taken, b.User, b.Name, rescueWords(b))
		}
	}
	fmt.Fprintf(c.out, "%s has %d messages: %d of them end too early, %d were in no mailbox any more and are in lost+found. Of %d messages nothing but their place was found.\n",
		args[1], taken, cut, r.Found, lost)
	if cut+changed > 0 {
		fmt.Fprintf(c.out, "%d of them are whole, but not as they were stored. Those and the ones that end too early have a star and the keyword %s.\n", changed, rescueMark)
	}
	if r.Unproven > 0 {
		fmt.Fprintf(c.out, "Of %d nothing says whether they are as they were stored: their sums are lost, or are of before there were any.\n", r.Unproven)
	}
	if r.Broken > 0 || r.Unread > 0 {
		fmt.Fprintf(c.out, "Of %d pages %d could not be read; %d rows could not be made out.\n", r.Pages, r.Unread, r.Broken)
	}
	fmt.Fprintf(c.out, "Look at it with `postino check` and a configuration that names it, then put it in place with `postino restore %s`.\n", args[1])
	if taken == 0 {
		return fmt.Errorf("no message was found in %s", args[0])
	}
	return nil
}

func rescueWords(b RescuedBox) string {
	words := ""
	for _, x := range []struct {
		n    int64
		what string
	}{{b.Cut, "end too early"}, {b.Changed, "are not as they were stored"}, {b.Lost, "are lost"}} {
		if x.n > 0 {
			words += fmt.Sprintf(", %d %s", x.n, x.what)
		}
	}
	return words
}
