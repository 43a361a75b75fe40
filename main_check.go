// The verb check: what is wrong, or may go wrong, in words.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const checkDNS = 3 * time.Second // for the DNS to answer at all

func checkDevice(st *Store, name string) (n int64, last time.Time, err error) {
	err = st.Read(func(tx *Tx) (err error) { n, last, err = tx.DeviceUse(name); return err })
	return n, last, err
}

// check prints a line for each thing it looked at and fails if one of them keeps mail from working.
func (c *command) check(args []string) error {
	if len(args) > 0 {
		return usageError{}
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	faults := 0
	say := func(what string, err error, fine string) {
		if err != nil {
			faults++
			fmt.Fprintf(c.out, "BAD   %-14s %v\n", what, err)
			return
		}
		fmt.Fprintf(c.out, "ok    %-14s %s\n", what, fine)
	}
	note := func(what, text string) { fmt.Fprintf(c.out, "note  %-14s %s\n", what, text) }

	say("configuration", nil, fmt.Sprintf("%s, domains %s", cfg.Hostname, strings.Join(cfg.Domains, ", ")))
	path := cfg.Path(cfg.Database)
	_, st, err := c.open()
	say("file", err, path)
	if err == nil {
		defer st.Close()
		bad, err := st.IntegrityCheck()
		if err == nil && len(bad) > 0 {
			err = fmt.Errorf("%s is damaged: %s; rescue the mail with `postino export`, then restore a backup", path, strings.Join(bad, "; "))
		}
		say("integrity", err, "every page and index read")
		say("disk", st.Room(int64(cfg.Limits.Message)), "room for mail")
		if !st.ClockTrusted() {
			note("clock", fmt.Sprintf("the system says %s, which is before this program was built or last ran; %s is used", time.Now().Format(time.DateTime), st.Now().Format(time.DateTime)))
		} else {
			say("clock", nil, st.Now().Format(time.RFC1123Z))
		}
		for _, d := range cfg.Devices {
			n, last, err := checkDevice(st, d.Name)
			say("device", err, fmt.Sprintf("%s: %d messages, the last at %s", d.Name, n, last.Format(time.DateTime)))
		}
		t, err := LoadTLS(cfg, st, c.logger())
		say("tls", err, "")
		if err == nil {
			c.checkCert(t, note)
		}
	}
	c.checkMount(path, note)
	c.checkPorts(cfg, note)
	c.checkOutbound(cfg, note)
	if faults > 0 {
		return fmt.Errorf("%d faults", faults)
	}
	return nil
}

func (c *command) checkCert(t *TLS, note func(string, string)) {
	cert := t.Leaf()
	if cert == nil {
		return
	}
	var ips []string
	for _, ip := range cert.IPAddresses {
		ips = append(ips, ip.String())
	}
	note("tls", fmt.Sprintf("certificate for %s until %s", strings.Join(append(cert.DNSNames, ips...), " "), cert.NotAfter.Format(time.DateOnly)))
}

// checkMount warns of what makes a flush a lie: a card mounted with barriers off, or a file system in memory.
func (c *command) checkMount(path string, note func(string, string)) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &fs); err == nil && fs.Type == 0x01021994 {
		note("disk", "the database is on a tmpfs: it is gone when the power is")
	}
	abs, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return
	}
	mounts, _ := os.ReadFile("/proc/mounts")
	best := ""
	options := ""
	for _, line := range strings.Split(string(mounts), "\n") {
		f := strings.Fields(line)
		if len(f) > 3 && (f[1] == "/" || abs == f[1] || strings.HasPrefix(abs, f[1]+"/")) && len(f[1]) >= len(best) {
			best, options = f[1], f[3]
		}
	}
	for _, bad := range []string{"nobarrier", "barrier=0", "data=writeback"} {
		if strings.Contains(","+options+",", ","+bad+",") {
			note("disk", fmt.Sprintf("%s is mounted with %s: a power cut can lose acknowledged mail or the whole file; mount it without", best, bad))
		}
	}
}

func (c *command) checkPorts(cfg *Config, note func(string, string)) {
	for i := range services {
		for _, addr := range services[i].listen(cfg) {
			if strings.Contains(addr, "/") {
				continue
			}
			l, err := net.Listen("tcp", addr)
			if err != nil {
				note("port", fmt.Sprintf("%s %s: in use by %s", services[i].name, addr, holder(addr)))
				continue
			}
			l.Close()
			note("port", fmt.Sprintf("%s %s: free", services[i].name, addr))
		}
	}
}

func (c *command) checkOutbound(cfg *Config, note func(string, string)) {
	for d, r := range cfg.Routes {
		note("route", fmt.Sprintf("%s goes to %s", d, strings.Join(r.Hosts, ", ")))
	}
	switch cfg.Outbound.Mode {
	case OutboundNone:
		note("outbound", "mail to other domains is refused")
	case OutboundSmarthost:
		note("outbound", "mail to other domains goes through "+cfg.Outbound.Smarthost)
	default:
		ctx, cancel := context.WithTimeout(context.Background(), checkDNS)
		defer cancel()
		if _, err := NewResolver().LookupMX(ctx, "example.com"); err != nil {
			note("outbound", fmt.Sprintf("mail to other domains is sent directly, but the DNS does not answer (%v); our domains and [routes] need none", err))
			return
		}
		note("outbound", "mail to other domains is sent directly; the DNS answers")
	}
}
