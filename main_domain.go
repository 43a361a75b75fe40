// The verb domain: domains whose mail lives here, also while the appliance runs.
package main

import (
	"fmt"
	"strings"
)

func (c *command) domain(args []string) error {
	if len(args) == 0 || len(args) > 2 || (args[0] == "list") != (len(args) == 1) {
		return usageError{}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	switch args[0] {
	case "list":
		if c.json {
			return c.printJSON(cfg.DomainsNow())
		}
		fmt.Fprintln(c.out, strings.Join(cfg.DomainsNow(), "\n"))
		return nil
	case "add":
		d, err := cfg.AddDomain(args[1])
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		fmt.Fprintf(c.out, "%s is in %s now, and a running postino takes its mail within seconds.\n", d, cfg.file)
		if ascii, err := DomainToASCII(d); err == nil && publicName(ascii) {
			fmt.Fprintf(c.out, "`postino dkim %s make` makes keys that sign its mail, and `postino check %s` shows the records that it needs.\n", ascii, ascii)
		}
		return nil
	case "rm":
		first := cfg.DomainsNow()[0]
		err := cfg.RemoveDomain(st, args[1])
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		if now := cfg.DomainsNow()[0]; now != first {
			fmt.Fprintf(c.out, "Names without a domain mean those in %s now.\n", now)
		}
		return nil
	}
	return usageError{fmt.Sprintf("`domain %s` is nothing I know", strings.Join(args, " "))}
}
