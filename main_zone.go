// The verb check with a domain: what the DNS has of it, with a light for each record.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// checkedRecord is a record in `check DOMAIN -json`.
type checkedRecord struct {
	Light string   `json:"light"` // good, fair, poor, dim
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Value string   `json:"value"`
	Found []string `json:"found"`
	Text  string   `json:"text"`
}

// silentError is a DNS that does not answer; the exit status says so.
type silentError struct{ error }

// checkDomain asks the DNS about a domain of ours. It fails if a light is red, and otherwise if nobody could be asked.
func (c *command) checkDomain(name string) error {
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	domain, ok := webDomainASCII(cfg, name)
	if !ok {
		return fmt.Errorf("%s is none of our domains (%s); `postino domain add` makes it one", name, strings.Join(cfg.DomainsNow(), ", "))
	}
	t, err := LoadTLS(cfg, st, c.logger())
	if err != nil {
		return err
	}
	z, err := webNewZone(cfg, st, t, NewResolver(cfg.DNS.Servers, cfg.DNS.TrustAD), domain)
	if err != nil {
		return err
	}
	all, alive := z.check(context.Background())
	list, red := []checkedRecord{}, 0
	words := map[webLit]string{webGreen: "ok", webAmber: "better", webRed: "BAD", webGrey: "-"}
	for _, r := range all {
		text := ""
		if r.Text != "" {
			text = fmt.Sprintf(r.Text, r.Args...)
		}
		if r.Light == webRed {
			red++
		}
		list = append(list, checkedRecord{string(r.Light), r.Name, r.Kind, r.Value, append([]string{}, r.Found...), text})
		if c.json {
			continue
		}
		var lines strings.Builder
		fmt.Fprintf(&lines, "%-6s  %-5s %s  %s\n", words[r.Light], r.Kind, r.Name, text)
		if r.Light != webGreen && r.Value != "" {
			fmt.Fprintf(&lines, "        put in: %s\n", r.Line())
		}
		if r.Light != webGreen {
			for _, f := range r.Found {
				fmt.Fprintf(&lines, "        there is: %s\n", f)
			}
		}
		err := writePlain(c.out, strings.NewReader(lines.String()))
		if err != nil {
			return err
		}
	}
	if c.json {
		err := c.printJSON(list)
		if err != nil {
			return err
		}
	}
	switch {
	case !publicName(domain):
		if !c.json {
			fmt.Fprintf(c.out, "%s means something in this network only, and needs no DNS\n", domain)
		}
		return nil
	case !alive:
		return silentError{errors.New("no DNS server answers: the records above are what must be there")}
	case red > 0:
		return fmt.Errorf("%d record(s) above keep mail of %s from working as it should", red, domain)
	}
	return nil
}
