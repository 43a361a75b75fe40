// The verb serve: the appliance from start to stop.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
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
	lock, err := serveLock(cfg.Path(cfg.Database))
	if err != nil {
		return err
	}
	defer lock.Close()
	st, err := openDatabase(cfg, StoreOptions{Log: log, Service: true, NoIndex: !cfg.Search.Index})
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

// serveLock lets only one appliance run on a file: two would both send what is in its queue. The lock is on a file beside
// it, because a process that closes the database a second time drops SQLite's own locks; the kernel frees it when the
// process ends, however it ends. nil where no such file can be made: opening the database says why.
func serveLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+"-lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		f.Close()
		return nil, fmt.Errorf("%s is in use by another postino (process %s); stop that, or change database and [listen] in mail.toml", path, pid)
	}
	f.Truncate(0)
	f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return f, nil
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
	if err != nil {
		return nil, listenFault(name, addr, err)
	}
	if network == "unix" {
		os.Chmod(addr, 0o660)
	}
	return l, nil
}

// listenFault says why an address can't be had, and what to do.
func listenFault(name, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s can't listen on %s: %s has it; stop that, or change [listen] %s in mail.toml", name, addr, holder(addr), name)
	case errors.Is(err, syscall.EACCES) && strings.Contains(addr, "/"):
		return fmt.Errorf("%s can't listen on %s: this user may not make files in its folder; change [listen] %s in mail.toml", name, addr, name)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s can't listen on %s: its folder is not there; make it, or change [listen] %s in mail.toml", name, addr, name)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s can't listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE; use a higher port in [listen] %s", name, addr, name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s can't listen on %s: no interface has that address; change [listen] %s in mail.toml", name, addr, name)
	}
	return fmt.Errorf("%s can't listen on %s: %w; change [listen] %s in mail.toml", name, addr, err, name)
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
		for i := range cfg.Fetch {
			say("fetch", checkPassword(cfg, cfg.Fetch[i].PasswordFile), cfg.Fetch[i].Name())
		}
		if cfg.Outbound.Mode == OutboundSmarthost {
			say("smarthost", checkPassword(cfg, cfg.Outbound.PasswordFile), cfg.Outbound.Smarthost)
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
		return fmt.Errorf("%d thing(s) above keep mail from working", faults)
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
		if _, err := NewResolver().LookupMX(ctx, "example.com"); err != nil {
			note("outbound", fmt.Sprintf("mail to other domains is sent directly, but the DNS does not answer (%v); our domains and [routes] need none", err))
			return
		}
		note("outbound", "mail to other domains is sent directly; the DNS answers")
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
