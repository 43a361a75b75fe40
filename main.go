// Command postino is a mail appliance: SMTP, POP3, IMAP and web mail in one binary and one file.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/term"
)

const (
	busySMTP  = "421 4.7.0 Too many connections, try again later"
	busyPOP   = "-ERR [SYS/TEMP] Too many connections, try again later"
	busySieve = `BYE (TRYLATER) "Too many connections, try again later"`
	busyIMAP  = "* BYE [UNAVAILABLE] Too many connections, try again later"
)

// services is every kind of listener the appliance has.
var services = []service{
	{name: "smtp", listen: func(c *Config) []string { return c.Listen.SMTP }, handle: (*Server).serveSMTP, full: busySMTP},
	{name: "submission", listen: func(c *Config) []string { return c.Listen.Submission }, handle: (*Server).serveSMTP, full: busySMTP},
	{name: "submissions", listen: func(c *Config) []string { return c.Listen.Submissions }, handle: (*Server).serveSMTP, tls: true},
	{name: "lmtp", listen: func(c *Config) []string { return c.Listen.LMTP }, handle: (*Server).serveSMTP, full: busySMTP},
	{name: "sendmail", listen: func(c *Config) []string { return c.Listen.Sendmail }, handle: (*Server).serveSMTP, full: busySMTP},
	{name: "pop3", listen: func(c *Config) []string { return c.Listen.POP3 }, handle: (*Server).servePOP3, full: busyPOP},
	{name: "pop3s", listen: func(c *Config) []string { return c.Listen.POP3S }, handle: (*Server).servePOP3, tls: true},
	{name: "imap", listen: func(c *Config) []string { return c.Listen.IMAP }, handle: (*Server).serveIMAP, full: busyIMAP},
	{name: "sieve", listen: func(c *Config) []string { return c.Listen.Sieve }, handle: (*Server).serveManageSieve, full: busySieve},
	{name: "imaps", listen: func(c *Config) []string { return c.Listen.IMAPS }, handle: (*Server).serveIMAP, tls: true},
}

// verb is one thing that the command line can do.
type verb struct {
	name, args, help string
	run              func(*command, []string) error
}

// verbs is the command line. The first is what happens without one.
func verbs() []verb {
	return []verb{
		{"serve", "", "run the appliance", (*command).serve},
		{"user", "add|passwd|rm|list|quota ADDRESS [SIZE]", "people who have mail here; a password is asked for, or is a line on stdin", (*command).user},
		{"alias", "add|rm|list ADDRESS [TARGET...]", "addresses that stand for others; @domain catches the rest", (*command).alias},
		{"shared", "add|rm|list|quota NAME|SIZE", "folders that everybody here shares; together they take half of the disk, or SIZE", (*command).shared},
		{"domain", "add|rm|list [DOMAIN]", "domains whose mail lives here; a running postino takes it over", (*command).domain},
		{"dkim", "DOMAIN [show|make|rotate]", "keys that sign a domain's mail, and the DNS records for them", (*command).dkim},
		{"queue", "list|show|retry|hold|release|rm|flush|export|import|sent [ID|DOMAIN] [FILE]", "what waits to go out; export, import and sent carry it as a file", (*command).queue},
		{"sendmail", "[-t] [-i] [-f FROM] [TO...]", "hand a message in, from stdin; also when called as sendmail", (*command).sendmail},
		{"import", "ADDRESS [-mailbox NAME] PATH", "read an mbox file, a Maildir or .eml files into a mailbox", (*command).importMail},
		{"export", "ADDRESS PATH", "write every mailbox as an mbox file into a new folder", (*command).exportMail},
		{"backup", "FILE", "a consistent copy of the database, also while the server runs", (*command).backup},
		{"restore", "FILE", "put a backup in the place of the database, which is kept under another name; stop postino first", (*command).restore},
		{"rescue", "FILE NEW", "bring back into a new file what can be read of a damaged one", (*command).rescue},
		{"compact", "", "store mail from before there was compression in less room, also while the server runs; Ctrl-C ends it, and again goes on", (*command).compact},
		{"check", "[DOMAIN]", "look at the file, the configuration, ports, TLS, clock and disk; or at what the DNS has of a domain", (*command).check},
		{"setup-link", "", "a fresh one-time link to the page that makes an administrator", (*command).setupLink},
		{"clock", "[reset]", "which time is gone by; reset goes back to the system's after a wrong jump ahead", (*command).clock},
		{"version", "", "say which version this is", (*command).version},
	}
}

// command is one run of the program, so that tests can run it too.
type command struct {
	in       io.Reader
	out, err io.Writer
	config   string
	json     bool
	lines    *bufio.Reader // of in
}

// What a verb can fail with beside plain errors: wrong usage, and a configuration that can't be used, exit with 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

type configError struct{ error }

func main() {
	if filepath.Base(os.Args[0]) == "sendmail" {
		os.Args = append([]string{os.Args[0], "sendmail"}, os.Args[1:]...)
	}
	c := &command{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(c.run(os.Args[1:]))
}

// run does what the arguments say and returns the exit status: 0, 1 (failed), 2 (usage or configuration) or 3 (no DNS answers).
func (c *command) run(args []string) int {
	flags := flag.NewFlagSet("postino", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.config, "config", "", "")
	flags.BoolVar(&c.json, "json", false, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			c.usage(c.out)
			return 0
		}
		fmt.Fprintf(c.err, "postino: %v; `postino help` shows what there is\n", err)
		return 2
	}
	c.lines = bufio.NewReader(c.in)
	args = flags.Args()
	if len(args) == 0 {
		args = []string{"serve"}
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			return c.status(v, v.run(c, args[1:]))
		}
	}
	if args[0] == "help" {
		c.usage(c.out)
		return 0
	}
	fmt.Fprintf(c.err, "postino: there is no verb %q; `postino help` lists them\n", args[0])
	return 2
}

// status says what a verb failed with, in words that no terminal obeys: they may repeat names of files, or what a script hands on.
func (c *command) status(v verb, err error) int {
	var ue usageError
	var ce configError
	var se silentError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &se):
		writePlain(c.err, strings.NewReader(fmt.Sprintf("postino %s: %v\n", v.name, err)))
		return 3
	case errors.As(err, &ue):
		if ue.text != "" {
			writePlain(c.err, strings.NewReader(fmt.Sprintf("postino %s: %s\n", v.name, ue.text)))
		}
		fmt.Fprintf(c.err, "usage: postino [-config mail.toml] %s %s\n", v.name, v.args)
		return 2
	case errors.As(err, &ce):
		writePlain(c.err, strings.NewReader(fmt.Sprintf("postino: %v\n", err)))
		return 2
	}
	writePlain(c.err, strings.NewReader(fmt.Sprintf("postino %s: %v\n", v.name, err)))
	return 1
}

func (c *command) usage(w io.Writer) {
	fmt.Fprint(w, "Postino is a mail appliance in one binary and one file.\n\n")
	for _, v := range verbs() {
		line := v.name + " " + v.args
		if len(line) > 44 {
			line += "\n" + strings.Repeat(" ", 54)
		}
		fmt.Fprintf(w, "  postino %-44s %s\n", line, v.help)
	}
	fmt.Fprint(w, "\n  -config FILE   instead of mail.toml here or /etc/postino/mail.toml\n  -json          lists as JSON\n")
}

// load reads the configuration: the one named, or mail.toml here, or the one in /etc.
func (c *command) load() (*Config, error) {
	path := c.config
	if path == "" {
		path = "mail.toml"
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat("/etc/postino/mail.toml"); err == nil {
				path = "/etc/postino/mail.toml"
			}
		}
	}
	cfg, err := LoadConfig(path)
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

// open is for verbs beside the appliance: the file must not be checked or marked by them.
func (c *command) open() (*Config, *Store, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, nil, err
	}
	st, err := openDatabase(cfg, StoreOptions{Log: c.logger(), Readers: 2})
	return cfg, st, err
}

// openDatabase opens the one file; an error says what to do about it.
func openDatabase(cfg *Config, opt StoreOptions) (*Store, error) {
	path := cfg.Path(cfg.Database)
	if !opt.Service {
		release, alone := aloneOn(path)
		defer release()
		opt.Alone = alone
	}
	st, err := OpenStore(path, opt)
	dir := filepath.Dir(path)
	switch {
	case err == nil:
		return st, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w; run this as the user who owns the file, who must be able to write in %s too, or change database in mail.toml", err, dir)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w; make the folder %s, or change database in mail.toml", err, dir)
	}
	if fi, serr := os.Stat(path); serr == nil && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%w; database in mail.toml names a file", err)
	}
	return nil, err
}

// openFor opens what a verb for one address works on.
func (c *command) openFor(arg string) (*Config, *Store, Addr, error) {
	cfg, st, err := c.open()
	if err != nil {
		return nil, nil, Addr{}, err
	}
	addr, err := address(cfg, arg)
	if err != nil {
		st.Close()
		return nil, nil, Addr{}, err
	}
	return cfg, st, addr, nil
}

func (c *command) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, nil))
}

// address reads an address argument; one without a domain is in the first of ours.
func address(cfg *Config, s string) (Addr, error) {
	if !strings.Contains(s, "@") {
		s += "@" + cfg.DomainsNow()[0]
	}
	a, err := ParseAddr(s)
	if err != nil {
		return Addr{}, usageError{fmt.Sprintf("%q is no address: %v", s, err)}
	}
	return a, nil
}

// password asks for a new password twice on a terminal, or takes a line of stdin.
func (c *command) password() (string, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := c.lines.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if err != nil && err != io.EOF {
				return "", err
			}
			return "", errors.New("there is no password; give it as a line on stdin, or run this on a terminal")
		}
		return line, nil
	}
	var got [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", err
		}
		got[i] = string(b)
	}
	if got[0] != got[1] {
		return "", errors.New("the two are not the same; nothing was changed")
	}
	if got[0] == "" {
		return "", errors.New("an empty password can't be used; nothing was changed")
	}
	return got[0], nil
}

func (c *command) version(args []string) error {
	if len(args) > 0 {
		return usageError{}
	}
	version := "devel"
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" && bi.Main.Version != "(devel)" {
		version = bi.Main.Version
	}
	fmt.Fprintf(c.out, "postino %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
