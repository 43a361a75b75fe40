// The verb serve: the appliance from start to stop.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	lockTries = 10 // to have the file for itself
	lockPause = 100 * time.Millisecond
)

func (c *command) serve(args []string) error {
	if len(args) > 0 {
		return usageError{}
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	heap := setMemory()
	for again := true; again; { // a file that could only be read can be written now
		again, err = c.serveOnce(cfg, heap)
		if err != nil {
			return err
		}
	}
	return nil
}

// serveOnce runs the appliance until it is stopped, or is to begin anew, which it says by true.
func (c *command) serveOnce(cfg *Config, heap int64) (bool, error) {
	log := slog.New(newLogRing(c.logger().Handler()))
	lock, err := serveLock(cfg.Path(cfg.Database))
	if err != nil {
		return false, err
	}
	defer lock.Close()
	st, err := openDatabase(cfg, StoreOptions{Log: log, Service: true, Alone: lock != nil, StandIn: true, AtOnce: true, NoIndex: !cfg.Search.Index, Coming: heap / comingHeap, Memory: heap})
	if err != nil {
		return false, err
	}
	defer st.Close()
	checkMode(cfg.Path(cfg.Database), func(_, text string) { log.Warn("the database", "note", text) })
	s, err := NewServer(cfg, st, log)
	if err != nil {
		return false, err
	}
	if err := c.listen(s); err != nil {
		s.Shutdown()
		return false, err
	}
	st.AwaitCheck() // the ports are open
	s.runQueue()
	s.runFetch()
	s.crew.Keep(&s.wg, "mdns", s.stop.Done(), s.runMDNS)
	s.runCertificates()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	s.followConfig(hup)
	s.crew.Keep(&s.wg, "junk", s.stop.Done(), s.learnJunk)
	if err := c.welcome(s); err != nil {
		s.Shutdown()
		return false, err
	}
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	notifySystemd("READY=1")
	defer signal.Stop(stop)
	select {
	case sig := <-stop:
		log.Info("stopping", "signal", sig.String())
	case <-st.CanBeWritten():
		log.Info("the file can be written again: beginning anew")
		s.Shutdown()
		return true, st.Close()
	}
	notifySystemd("STOPPING=1")
	s.crew.Go(nil, "second signal", func() { // it does not wait
		<-stop
		os.Exit(1)
	})
	s.Shutdown()
	return false, st.Close()
}

// serveLock lets only one appliance run on a file: two would both send what is in its queue. The lock is on a file beside
// it, because a process that closes the database a second time drops SQLite's own locks; the kernel frees it when the
// process ends, however it ends. nil where no such file can be made: opening the database says why.
func serveLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+"-lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s-lock is a link, which nothing of Postino makes; remove it", path)
	}
	if err != nil {
		return nil, nil
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for range lockTries { // a verb beside it holds it for a moment
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
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
		s.crew.Keep(&s.wg, "listener", s.stop.Done(), f)
		s.crew.Go(&s.wg, "listener's end", func() { <-s.stop.Done(); l.Close() })
	}
	return nil
}

// welcome prints the set-up link while there is nobody who could log in.
func (c *command) welcome(s *Server) error {
	users, err := read(s.store, (*Tx).Users)
	if err != nil || len(users) > 0 {
		return err
	}
	if err := s.store.Damaged(); err != nil {
		fmt.Fprintf(c.out, "\n%v\n\n", err)
		return nil
	}
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nThere are no users yet. Open this page within an hour, once, to make the first one:\n\n    %s\n\n%s",
		strings.Join(links, "\n or "), fingerprintWords(s.tls))
	return nil
}

// fingerprintWords says what a browser's warning can be compared with.
func fingerprintWords(t *TLS) string {
	if t.Fingerprint() == "" {
		return ""
	}
	return "The browser does not know this server's own CA yet and warns. The CA's SHA-256 fingerprint is\n\n    " + t.Fingerprint() + "\n\n"
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
		mode := fs.FileMode(0o660)
		if name == "sendmail" { // for everybody on this machine
			mode = 0o666
		}
		os.Chmod(addr, mode)
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
