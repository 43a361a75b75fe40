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
	var taken, cut, lost int64
	for _, b := range r.Boxes {
		taken, cut, lost = taken+b.Taken, cut+b.Cut, lost+b.Lost
		if b.Taken+b.Lost > 0 {
			fmt.Fprintf(c.out, "%7d messages of %s %s%s\n", b.Taken, b.User, b.Name, rescueWords(b))
		}
	}
	fmt.Fprintf(c.out, "%s has %d messages: %d of them end too early, %d were in no mailbox any more and are in lost+found. Of %d messages nothing but their place was found.\n",
		args[1], taken, cut, r.Found, lost)
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
	switch {
	case b.Lost > 0 && b.Cut > 0:
		return fmt.Sprintf(", %d of them end too early, %d are lost", b.Cut, b.Lost)
	case b.Lost > 0:
		return fmt.Sprintf(", %d are lost", b.Lost)
	case b.Cut > 0:
		return fmt.Sprintf(", %d of them end too early", b.Cut)
	}
	return ""
}
