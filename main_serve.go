// The verb serve: the appliance from start to stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	memoryLimit = 96 << 20 // of Go's heap, unless GOMEMLIMIT says otherwise; page caches come on top
	gcPercent   = 50
)

func (c *command) serve(args []string) error {
	if len(args) > 0 {
		return usageError{}
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := slog.New(newLogRing(c.logger().Handler()))
	st, err := OpenStore(cfg.Path(cfg.Database), StoreOptions{Log: log, Service: true, NoIndex: !cfg.Search.Index})
	if err != nil {
		return err
	}
	defer st.Close()
	s, err := NewServer(cfg, st, log)
	if err != nil {
		return err
	}
	if err := c.listen(s); err != nil {
		s.Shutdown()
		return err
	}
	s.runQueue()
	s.runFetch()
	s.wg.Go(s.runMDNS)
	if err := c.welcome(s); err != nil {
		s.Shutdown()
		return err
	}
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	notifySystemd("READY=1")
	sig := <-stop
	log.Info("stopping", "signal", sig.String())
	notifySystemd("STOPPING=1")
	go func() { // a second one does not wait
		<-stop
		os.Exit(1)
	}()
	s.Shutdown()
	return st.Close()
}

// listen opens all listeners, or none: an address that can't be had is an error that says what to do about it.
func (c *command) listen(s *Server) error {
	var open []net.Listener
	var start []func()
	add := func(name string, addrs []string, run func(net.Listener)) error {
		for _, addr := range addrs {
			l, err := openListener(s.cfg, name, addr)
			if err != nil {
				return err
			}
			open = append(open, l)
			start = append(start, func() { run(l) })
			fmt.Fprintf(c.out, "%-12s %s\n", name, l.Addr())
		}
		return nil
	}
	var err error
	for i := range services {
		svc := &services[i]
		if err == nil {
			err = add(svc.name, svc.listen(s.cfg), func(l net.Listener) { s.serve(l, svc) })
		}
	}
	site := s.webHandler()
	if err == nil {
		err = add("http", s.cfg.Listen.HTTP, func(l net.Listener) { s.serveHTTP(site, l, false) })
	}
	if err == nil {
		err = add("https", s.cfg.Listen.HTTPS, func(l net.Listener) { s.serveHTTP(site, l, true) })
	}
	if err == nil && len(open) == 0 {
		err = configError{errors.New("[listen] names no address at all; mail.toml shows how")}
	}
	if err != nil {
		for _, l := range open {
			l.Close()
		}
		return err
	}
	for i, f := range start {
		l := open[i]
		s.wg.Go(f)
		s.wg.Go(func() { <-s.stop.Done(); l.Close() })
	}
	return nil
}

// welcome prints the set-up link while there is nobody who could log in.
func (c *command) welcome(s *Server) error {
	var users []User
	if err := s.store.Read(func(tx *Tx) (err error) { users, err = tx.Users(); return err }); err != nil || len(users) > 0 {
		return err
	}
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nThere are no users yet. Open this page, once, to make the first one:\n\n    %s\n\n", strings.Join(links, "\n or "))
	return nil
}

func openListener(cfg *Config, name, addr string) (net.Listener, error) {
	network := "tcp"
	if strings.Contains(addr, "/") {
		network, addr = "unix", cfg.Path(addr)
		os.Remove(addr) // left by a run that was killed; a running one would hold the ports as well
	}
	l, err := net.Listen(network, addr)
	switch {
	case err == nil:
		if network == "unix" {
			os.Chmod(addr, 0o660)
		}
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s can't listen on %s: %s has it; stop that, or change [listen] %s in mail.toml", name, addr, holder(addr), name)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s can't listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE; use a higher port in [listen] %s", name, addr, name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s can't listen on %s: no interface has that address; change [listen] %s in mail.toml", name, addr, name)
	}
	return nil, fmt.Errorf("%s can't listen on %s: %w; change [listen] %s in mail.toml", name, addr, err, name)
}

// holder names the process that listens on the address's port, as far as /proc tells.
func holder(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil {
		return "another process"
	}
	want := fmt.Sprintf(":%04X", n)
	inodes := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(file)
		for _, line := range strings.Split(string(text), "\n") {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], want) { // 0A is LISTEN
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && inodes[link] {
			pid := strings.Split(fd, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "another process"
}

// notifySystemd tells the service manager, if one is listening, how the start or the stop goes.
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	nc, err := net.Dial("unixgram", path)
	if err != nil {
		return
	}
	defer nc.Close()
	nc.Write([]byte(state))
}

// The verb check: what is wrong, or may go wrong, in words.

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
		if err == nil {
			say("tls", nil, certWords(t))
		} else {
			say("tls", err, "")
		}
	}
	c.checkMount(path, note)
	c.checkPorts(cfg, note)
	note("dns", "nothing is needed in a house; where the domain has a DNS, put in:")
	for _, r := range webDNSRecords(cfg) {
		note("dns", r)
	}
	c.checkOutbound(cfg, note)
	if faults > 0 {
		return fmt.Errorf("%d faults", faults)
	}
	return nil
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
	return fmt.Sprintf("certificate for %s until %s", strings.Join(names, " "), cert.NotAfter.Format(time.DateOnly))
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
			if err != nil {
				note("port", fmt.Sprintf("%s %s: in use by %s", name, addr, holder(addr)))
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
