// Command postino is a mail appliance: SMTP, POP3, IMAP and web mail in one binary and one file.
package main

// services is every kind of listener the appliance has.
var services = []service{
	{name: "smtp", listen: func(c *Config) []string { return c.Listen.SMTP }, handle: (*Server).serveSMTP, full: "421 4.7.0 Too many connections, try again later"},
	{name: "submission", listen: func(c *Config) []string { return c.Listen.Submission }, handle: (*Server).serveSMTP, full: "421 4.7.0 Too many connections, try again later"},
	{name: "submissions", listen: func(c *Config) []string { return c.Listen.Submissions }, handle: (*Server).serveSMTP, tls: true},
	{name: "lmtp", listen: func(c *Config) []string { return c.Listen.LMTP }, handle: (*Server).serveSMTP, full: "421 4.7.0 Too many connections, try again later"},
	{name: "pop3", listen: func(c *Config) []string { return c.Listen.POP3 }, handle: (*Server).servePOP3, full: "-ERR [SYS/TEMP] Too many connections, try again later"},
	{name: "pop3s", listen: func(c *Config) []string { return c.Listen.POP3S }, handle: (*Server).servePOP3, tls: true},
	{name: "imap", listen: func(c *Config) []string { return c.Listen.IMAP }, handle: (*Server).serveIMAP, full: "* BYE [UNAVAILABLE] Too many connections, try again later"},
	{name: "imaps", listen: func(c *Config) []string { return c.Listen.IMAPS }, handle: (*Server).serveIMAP, tls: true},
}

func main() {}
