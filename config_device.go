// Old devices, which send without login, and mail that is fetched from elsewhere.
package main

import (
	"fmt"
	"net/netip"
	"time"
)

// OldDevice is a printer, a camera or another program that can't log in or can't do today's TLS.
type OldDevice struct {
	Name    string  `toml:"name"`    // for the log and `postino check`
	Network Network `toml:"network"` // where it is: an address, or a network of many like it
	Sender  string  `toml:"sender"`  // all its mail is from here; "" leaves what it says
	OldTLS  bool    `toml:"old_tls"` // TLS 1.0 and ciphers of its time are good enough for it
	Rate    int     `toml:"rate"`    // messages an hour; 0 is deviceRate
}

// deviceRate is how many messages a device may send in an hour when its entry does not say.
const deviceRate = 300

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

// device is the entry for an address, or nil.
func (c *Config) device(a netip.Addr) *OldDevice {
	for i := range c.Devices {
		if contains([]Network{c.Devices[i].Network}, a) {
			return &c.Devices[i]
		}
	}
	return nil
}

func (c *Config) checkDevices() error {
	for i := range c.Devices {
		d := &c.Devices[i]
		switch {
		case !d.Network.IsValid():
			return keyFault("device.network", "a device needs an address, such as \"192.168.1.20\"")
		case d.Network.Bits() == 0:
			return keyFault("device.network", "%s would let the whole world send through this machine", d.Network)
		case d.Rate < 0:
			return keyFault("device.rate", "can't be below zero")
		}
		if d.Sender != "" {
			a, err := ParseAddr(d.Sender)
			if err != nil {
				return keyFault("device.sender", "%q is no address: %v", d.Sender, err)
			}
			d.Sender = a.String()
		}
		if d.Name == "" {
			d.Name = d.Network.String()
		}
		if d.Rate == 0 {
			d.Rate = deviceRate
		}
	}
	for i := range c.Fetch {
		if err := c.Fetch[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// check fills in what an entry of [[fetch]] does not say.
func (f *Fetch) check() error {
	ports := map[string]string{"pop3": "110", "imap": "143", "etrn": "25", "atrn": "366"}
	if ports[f.Protocol] == "" {
		return keyFault("fetch.protocol", "%q is none of pop3, imap, etrn, atrn", f.Protocol)
	}
	h := routeHostPort(f.Server, ports[f.Protocol])
	if h == "" {
		return keyFault("fetch.server", "%q is no host:port", f.Server)
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
		if _, err := ParseAddr(f.To); err != nil {
			return keyFault("fetch.to", "%q is no address here", f.To)
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
