// The verb check: what is wrong, or may go wrong, in words.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const checkDNS = 3 * time.Second // for the DNS to answer at all

// checkDevice looks how many messages a device has sent, and when the last one.
func checkDevice(st *Store, name string) (int64, time.Time, error) {
	var n int64
	var last time.Time
	err := st.Read(func(tx *Tx) error {
		var err error
		n, last, err = tx.SendingUse(name)
		return err
	})
	return n, last, err
}

// checkPassword looks whether a file with a password, if one is named, can be read.
func checkPassword(cfg *Config, file string) error {
	if file == "" {
		return nil
	}
	b, err := os.ReadFile(cfg.Path(file))
	if err == nil && strings.TrimSpace(string(b)) == "" {
		err = fmt.Errorf("%s has no password in its first line", cfg.Path(file))
	}
	return err
}

// check prints a line for each thing it looked at and fails if one of them keeps mail from working.
func (c *command) check(args []string) error {
	if len(args) > 1 {
		return usageError{}
	}
	if len(args) == 1 {
		return c.checkDomain(args[0])
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

	say("configuration", nil, fmt.Sprintf("%s, domains %s", cfg.Hostname, strings.Join(cfg.DomainsNow(), ", ")))
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
		c.checkContent(st, say)
		say("disk", st.Room(0), "room for mail")
		if err := st.Room(int64(cfg.Limits.Message)); err != nil && st.Room(0) == nil {
			note("disk", fmt.Sprintf("there is no room for a message of [limits] message (%d MB), which is put off: %v", cfg.Limits.Message/1e6, err))
		}
		if !st.ClockTrusted() {
			note("clock", fmt.Sprintf("the system says %s, which is before this program was built or last ran; %s is used; `postino clock` says more", time.Now().Format(time.DateTime), st.Now().Format(time.DateTime)))
		} else {
			say("clock", nil, st.Now().Format(time.RFC1123Z))
		}
		for i := range cfg.Fetch {
			say("fetch", checkPassword(cfg, cfg.Fetch[i].PasswordFile), cfg.Fetch[i].Name())
		}
		if cfg.Outbound.Mode == OutboundSmarthost {
			say("smarthost", checkPassword(cfg, cfg.Outbound.PasswordFile), cfg.Outbound.Smarthost)
		}
		for _, d := range cfg.SendingDevices {
			n, last, err := checkDevice(st, d.Name)
			say("device", err, fmt.Sprintf("%s: %d messages, the last at %s", d.Name, n, last.Format(time.DateTime)))
		}
		t, err := LoadTLS(cfg, st, c.logger())
		if err == nil {
			say("tls", nil, certWords(t))
			c.checkACME(t, note)
			c.checkRecords(cfg, st, t, note)
		} else {
			say("tls", err, "")
		}
	}
	checkMode(path, note)
	c.checkMount(path, note)
	c.checkPorts(cfg, note)
	c.checkOutbound(cfg, note)
	c.checkPolicy(cfg, note)
	if faults > 0 {
		return fmt.Errorf("%d thing(s) above keep mail from working", faults)
	}
	return nil
}

// checkContent reads all content and names the messages of which it is damaged.
func (c *command) checkContent(st *Store, say func(string, error, string)) {
	damaged, err := st.DamagedContent(nil)
	for _, m := range damaged {
		say("message", fmt.Errorf("%s, %s, UID %d: %w; delete it, or put it back from a backup", m.User, m.Mailbox, m.UID, m.Why), "")
	}
	if err != nil || len(damaged) == 0 {
		say("content", err, "as it was stored")
	}
}

// certWords says for which names the certificate is, and how long.
func certWords(t *TLS) string {
	cert := t.Leaf()
	if cert == nil {
		return "no certificate"
	}
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	words := fmt.Sprintf("certificate for %s until %s", strings.Join(names, " "), cert.NotAfter.Format(time.DateOnly))
	if root := t.Fingerprint(); root != "" {
		words += ", of the private CA with the SHA-256 fingerprint " + root
	}
	return words
}

// checkACME says how things are with the public CA, if there is one.
func (c *command) checkACME(t *TLS, note func(string, string)) {
	if t.cfg.ACMENow().Directory == "" {
		return
	}
	st := t.ACMEStatus()
	if leaf := t.Public(); leaf != nil {
		note("tls", fmt.Sprintf("certificate of %s for %s until %s", leaf.Issuer.CommonName, strings.Join(leaf.DNSNames, " "), leaf.NotAfter.Format(time.DateOnly)))
	} else {
		note("tls", "no certificate yet from "+t.cfg.ACMENow().URL()+", which is asked for one by "+st.Method)
	}
	if st.Error != "" {
		note("tls", "the last try: "+st.Error)
	}
}

// checkRecords says what belongs into the DNS, where there is one.
func (c *command) checkRecords(cfg *Config, st *Store, t *TLS, note func(string, string)) {
	all, err := webDNSRecords(cfg, st, t)
	if err != nil || len(all) == 0 {
		return
	}
	note("dns", "nothing is needed in a house; where the domain has a DNS, put in (`postino check DOMAIN` asks what is there):")
	for _, r := range all {
		note("dns", r)
	}
}

// checkMode warns of a file that others may read: everybody's mail and secrets are in it.
func checkMode(path string, note func(string, string)) {
	fi, err := os.Stat(path)
	if err == nil && fi.Mode().Perm()&0o077 != 0 {
		note("file", fmt.Sprintf("others on this machine may read or write it (%v): chmod 600 %s", fi.Mode().Perm(), path))
	}
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
	look := func(name string, addrs []string) {
		for _, addr := range addrs {
			if strings.Contains(addr, "/") { // a socket in a folder
				continue
			}
			l, err := net.Listen("tcp", addr)
			if errors.Is(err, syscall.EADDRINUSE) {
				note("port", fmt.Sprintf("%s %s: in use by %s", name, addr, holder(addr)))
				continue
			}
			if err != nil {
				note("port", listenFault(name, addr, err).Error())
				continue
			}
			l.Close()
			note("port", fmt.Sprintf("%s %s: free", name, addr))
		}
	}
	for i := range services {
		look(services[i].name, services[i].listen(cfg))
	}
	look("http", cfg.Listen.HTTP)
	look("https", cfg.Listen.HTTPS)
}

func (c *command) checkOutbound(cfg *Config, note func(string, string)) {
	for _, d := range slices.Sorted(maps.Keys(cfg.Routes)) {
		note("route", d+" "+routeWords(cfg.Routes[d]))
	}
	if cfg.Outbound.Smarthost != "" && cfg.Outbound.Mode != OutboundSmarthost {
		note("outbound", "the smarthost that mail.toml names is not used; mode = \"smarthost\" does that")
	}
	switch cfg.Outbound.Mode {
	case OutboundNone:
		note("outbound", "mail to other domains is refused")
	case OutboundSmarthost:
		note("outbound", "mail to other domains goes through "+cfg.Outbound.Smarthost)
	default:
		ctx, cancel := context.WithTimeout(context.Background(), checkDNS)
		defer cancel()
		a, err := NewResolver(cfg.DNS.Servers, cfg.DNS.TrustAD).Ask(ctx, "example.com", dnsmessage.TypeMX)
		if err != nil && !dnsNotFound(err) {
			note("outbound", fmt.Sprintf("mail to other domains is sent directly, but the DNS does not answer (%v); our domains and [routes] need none", err))
			return
		}
		note("outbound", "mail to other domains is sent directly; the DNS answers"+dnssecWords(a))
	}
}

// dnssecWords says whether what the resolver proves is of use, by its answer about a domain that is signed.
func dnssecWords(a DNSAnswer) string {
	if a.Secure {
		return ", and proves what it says (DANE)"
	}
	return ", and proves nothing (no DANE): it does not check DNSSEC, or is not on this machine"
}

// checkPolicy warns of a policy that keeps everybody's mail away.
func (c *command) checkPolicy(cfg *Config, note func(string, string)) {
	if m := cfg.SMTP.MTASTS; (m == stsEnforce || m == stsTesting) && cfg.TLS.Cert == "" && cfg.ACMENow().Directory == "" {
		note("smtp", fmt.Sprintf("mta_sts = %q, and the certificate is of the private CA, which nobody outside trusts: who keeps to the policy sends nothing", m))
	}
}

// routeWords says how a route's mail leaves.
func routeWords(r Route) string {
	text := "goes to " + strings.Join(r.Hosts, ", ")
	if len(r.Hosts) == 0 {
		text = "waits for `postino queue export`"
	}
	switch {
	case r.Caller != "":
		text += ", or waits until " + r.Caller + " calls"
	case r.Window != Window{}:
		from, to := time.Time{}.Add(r.Window.From), time.Time{}.Add(r.Window.To)
		text += fmt.Sprintf(" between %s and %s", from.Format("15:04"), to.Format("15:04"))
	case r.Intermittent && len(r.Hosts) > 0:
		text += ", when it says ETRN or `postino queue retry` is run"
	}
	return text
}
