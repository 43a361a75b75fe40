// Sending devices: printers and cameras that hand in mail without a login.
package main

import (
	"net/netip"
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
		if err := c.Devices[i].check(); err != nil {
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
func (d *OldDevice) check() error {
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
