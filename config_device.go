// Sending devices: printers and cameras that hand in mail without a login.
package main

import (
	"net/netip"
)

// SendingDevice is a printer, a camera or another program that can't log in or can't do today's TLS.
type SendingDevice struct {
	Name    string  `toml:"name"`    // for the log and `postino check`
	Network Network `toml:"network"` // where it is: an address, or a network of many like it
	Sender  string  `toml:"sender"`  // all its mail is from here; "" leaves what it says
	OldTLS  bool    `toml:"old_tls"` // TLS 1.0 and ciphers of its time are good enough for it
	Rate    int     `toml:"rate"`    // messages an hour; 0 is deviceRate
}

// deviceRate is how many messages a device may send in an hour when its entry does not say.
const deviceRate = 300

// sendingDevice is the entry for an address, or nil.
func (c *Config) sendingDevice(a netip.Addr) *SendingDevice {
	for i := range c.SendingDevices {
		if contains([]Network{c.SendingDevices[i].Network}, a) {
			return &c.SendingDevices[i]
		}
	}
	return nil
}

func (c *Config) checkDevices() error {
	for i := range c.SendingDevices {
		if err := c.SendingDevices[i].check(); err != nil {
			return ofEntry(i, err)
		}
	}
	for i := range c.Fetch {
		if err := c.Fetch[i].check(c); err != nil {
			return ofEntry(i, err)
		}
	}
	return nil
}

// check fills in what an entry of [[device]] does not say.
func (d *SendingDevice) check() error {
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
	return nil
}
