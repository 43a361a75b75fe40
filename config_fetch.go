// Accounts elsewhere whose mail is fetched.
package main

import (
	"fmt"
	"time"
)

// Fetch is a person's account elsewhere whose mail is brought here, or a server that is called for a domain's mail.
type Fetch struct {
	Protocol     string   `toml:"protocol"`      // pop3, imap, etrn or atrn
	Server       string   `toml:"server"`        // host:port
	TLS          string   `toml:"tls"`           // "tls" from the first octet on, "starttls", "none"; "" by the port
	AnyCert      bool     `toml:"any_cert"`      // the server's certificate is not checked
	User         string   `toml:"user"`          // login there
	PasswordFile string   `toml:"password_file"` // its first line is the password
	Mailbox      string   `toml:"mailbox"`       // imap: which one; INBOX if not said
	To           string   `toml:"to"`            // address here that gets the mail
	Every        Duration `toml:"every"`         // between looks; 15m if not said
	Delete       bool     `toml:"delete"`        // take the mail off the server once it is here
	Domains      []string `toml:"domains"`       // etrn, atrn: whose mail is asked for
}

const fetchEvery = 15 * time.Minute

// check fills in what an entry of [[fetch]] does not say.
func (f *Fetch) check(c *Config) error {
	ports := map[string]string{"pop3": "110", "imap": "143", "etrn": "25", "atrn": "366"}
	if ports[f.Protocol] == "" {
		return keyFault("fetch.protocol", "%q is none of pop3, imap, etrn, atrn", f.Protocol)
	}
	h := routeHostPort(f.Server, ports[f.Protocol])
	if h == "" {
		return keyFault("fetch.server", "%q is no host:port, such as \"pop.example.org:995\"", f.Server)
	}
	f.Server = h
	ask := f.Protocol == "etrn" || f.Protocol == "atrn"
	switch {
	case ask && len(f.Domains) == 0:
		return keyFault("fetch.domains", "say whose mail is asked for")
	case !ask && f.User == "":
		return keyFault("fetch.user", "say who logs in there")
	case f.User != "" && f.PasswordFile == "":
		return keyFault("fetch.password_file", "the password goes into a file of its own")
	}
	if !ask {
		if a, err := ParseAddr(f.To); err != nil || !c.Local(a.Domain) {
			return keyFault("fetch.to", "%q is no address here; say who gets the mail, such as \"ann@%s\"", f.To, c.Domains[0])
		}
	}
	for _, d := range f.Domains {
		if _, err := ParseDomain(d); err != nil {
			return keyFault("fetch.domains", "%q is no domain: %v", d, err)
		}
	}
	switch f.TLS {
	case "", "tls", "starttls", "none":
	default:
		return keyFault("fetch.tls", "%q is none of tls, starttls, none", f.TLS)
	}
	if f.Mailbox == "" {
		f.Mailbox = "INBOX"
	}
	if f.Every == 0 {
		f.Every = Duration(fetchEvery)
	}
	return nil
}

// Name is how an account is called in the log, and where it is remembered what was fetched.
func (f *Fetch) Name() string {
	return fmt.Sprintf("%s://%s@%s/%s", f.Protocol, f.User, f.Server, f.Mailbox)
}
