// The verbs queue export, import and sent: mail that travels as a file.
package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// bundle runs one of them. They need the server's delivery, and work beside a running one.
func (c *command) bundle(args []string) error {
	want := 2
	if args[0] == "export" {
		want = 3
	}
	if len(args) != want {
		return usageError{"queue export DOMAIN FILE, queue import FILE, or queue sent ID|DOMAIN"}
	}
	cfg, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	s, err := NewServer(cfg, st, c.logger())
	if err != nil {
		return err
	}
	switch args[0] {
	case "export":
		return c.bundleExport(s, strings.ToLower(args[1]), args[2])
	case "import":
		return c.bundleImport(s, args[1])
	}
	var keys []string
	if err := st.Read(func(tx *Tx) error { keys, err = tx.BundleKeys(strings.ToLower(args[1])); return err }); err != nil {
		return err
	}
	n, err := s.bundleSent(keys)
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing of %s is in a bundle; `postino queue list` shows what is", args[1])
	}
	if err == nil {
		fmt.Fprintf(c.out, "%d messages are marked as arrived.\n", n)
	}
	return err
}

// bundleExport writes everything that waits for a domain into a new file.
func (c *command) bundleExport(s *Server, domain, path string) error {
	n := 0
	err := writePart(path, false, func(w io.Writer) error {
		var err error
		n, err = s.exportBundle(domain, w)
		if err == nil && n == 0 {
			err = errBundleNothing
		}
		return err
	})
	switch {
	case errors.Is(err, errBundleNothing):
		return fmt.Errorf("nothing waits for %s; `postino queue list` shows what waits, and for whom", domain)
	case err != nil && n > 0:
		return fmt.Errorf("%w; what was to go is held until `postino queue release %s`", err, domain)
	case err != nil:
		return err
	}
	fmt.Fprintf(c.out, "%d messages for %s are in %s, and held here until its receipt comes back (or `postino queue sent %s`).\n", n, domain, path, domain)
	return nil
}

var errBundleNothing = errors.New("nothing waits")

// bundleImport takes a bundle or a receipt in, and writes the receipt of a bundle beside it.
func (c *command) bundleImport(s *Server, path string) error {
	f, err := openPlain(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := freeName(path+".receipt", true); err != nil {
		return err
	}
	res, err := s.importBundle(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if res.Receipt == "" {
		fmt.Fprintf(c.out, "%d messages have arrived and are off the queue.\n", res.Confirmed)
		return nil
	}
	err = writePart(path+".receipt", true, func(w io.Writer) error {
		_, err := io.WriteString(w, res.Receipt)
		return err
	})
	if err != nil {
		return fmt.Errorf("the mail is taken, but the receipt: %w", err)
	}
	fmt.Fprintf(c.out, "%d messages taken, %d had been before. Carry %s.receipt back and import it there.\n", res.Taken, res.Known, path)
	return nil
}
