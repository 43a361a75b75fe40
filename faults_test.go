package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// load runs clients of all kinds until stop is called, which waits for them.
func (s *soak) load() (stop func()) {
	s.stop.Store(false)
	var wg sync.WaitGroup
	for _, work := range []func(string) error{s.smtp, s.smtp, s.remote, s.imap, s.pop3, s.web} {
		wg.Go(func() {
			for !s.stop.Load() {
				if work(s.name()) != nil {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return func() {
		s.stop.Store(true)
		wg.Wait()
	}
}

func (s *soak) acknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

// TestInjectedErrors has the kernel refuse what the appliance asks for on its file, under load: writes and flushes of the log and of
// the database, and reads. Nothing that was acknowledged is lost, the appliance does not end, and it takes mail again without a
// restart when the disk does.
func TestInjectedErrors(t *testing.T) {
	if testing.Short() {
		skip(t, "it needs its time under load")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		skip(t, "no strace to inject errors with")
	}
	kinds := []struct{ file, calls, fault string }{
		{"-wal", "pwrite64", "EIO"}, {"-wal", "fdatasync,fsync", "EIO"}, {"", "pwrite64", "ENOSPC"}, {"", "pread64", "EIO"},
	}
	if *soakTime > time.Minute { // `make faults`
		kinds = append(kinds, []struct{ file, calls, fault string }{
			{"-wal", "pwrite64", "ENOSPC"}, {"-wal", "pwrite64", "EROFS"}, {"-wal", "pread64", "EIO"}, {"", "fdatasync,fsync", "EIO"},
			{"-wal", "pwrite64", "EDQUOT"}, {"", "pwrite64", "EROFS"}, {"-shm", "pwrite64", "EIO"},
		}...)
	}
	peer := newPeer(t, nil)
	s := newSoak(t, peer.addr())
	s.start()
	for _, k := range kinds {
		what := fmt.Sprintf("%s of mail.db%s: %s", k.calls, k.file, k.fault)
		stop := s.load()
		before := s.acknowledged()
		waitFor(t, what+": mail before", func() bool { return s.acknowledged() > before+5 })
		tracer := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-p", strconv.Itoa(s.cmd.Process.Pid), "-P", filepath.Join(s.dir, "mail.db"+k.file),
			"-e", "trace="+k.calls, "-e", "inject="+k.calls+":error="+k.fault)
		if err := tracer.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		tracer.Process.Signal(os.Interrupt)
		tracer.Wait()
		during := s.acknowledged()
		waitFor(t, what+": mail again", func() bool { return s.acknowledged() > during+5 })
		stop()
		t.Logf("%s: %d acknowledged so far", what, s.acknowledged())
	}
	s.settle()
	s.cmd.Process.Signal(os.Interrupt)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the appliance ended with %v", err)
	}
	s.count(peer, len(kinds))
}

// TestMemoryGroup runs the appliance in a memory group of 64 MiB, and has strangers and people ask for much at once. It may be slow or
// refuse, but it is there afterwards, and takes mail.
func TestMemoryGroup(t *testing.T) {
	if testing.Short() {
		skip(t, "it needs its time under load")
	}
	group, err := newMemoryGroup(t, 64<<20)
	if err != nil {
		skip(t, "no memory group can be made here: ", err)
	}
	peer := newPeer(t, nil)
	s := newSoak(t, peer.addr())
	s.group = group
	s.start()
	parts := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", 10_000)
	var wg sync.WaitGroup
	for range 120 { // half-sent messages of 10,000 empty parts
		wg.Go(func() {
			nc, r, err := s.dial("smtp")
			if err != nil {
				return
			}
			defer nc.Close()
			if dialogue(nc, r, "", "220", "EHLO x", "250", "MAIL FROM:<x@y.test>", "250", "RCPT TO:<ann@home.arpa>", "250", "DATA", "354") == nil {
				nc.Write([]byte(parts))
				time.Sleep(3 * time.Second)
			}
		})
	}
	big := soakMail(s.name()) + strings.Repeat(strings.Repeat("y", 76)+"\r\n", 2600)
	for range 60 { // APPENDs of 200 KB at once
		wg.Go(func() {
			nc, r, err := s.dial("imap")
			if err != nil {
				return
			}
			defer nc.Close()
			fmt.Fprintf(nc, "a LOGIN bob \"secret words\"\r\nb APPEND INBOX {%d+}\r\n%s\r\n", len(big), big)
			for l := ""; !strings.HasPrefix(l, "b "); {
				l, err = r.ReadString('\n')
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	stop := s.load()
	before := s.acknowledged()
	waitFor(t, "it to take mail after all that", func() bool { return s.acknowledged() > before+20 })
	stop()
	s.settle()
	s.cmd.Process.Signal(os.Interrupt)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the appliance ended with %v: killed for its memory?", err)
	}
	s.count(peer, 1)
}

// newMemoryGroup makes a control group with a limit, of version 2 or 1, that ends with the test.
func newMemoryGroup(t *testing.T, limit int) (string, error) {
	var err error
	for _, v := range []struct{ root, key string }{{"/sys/fs/cgroup", "memory.max"}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}} {
		group := filepath.Join(v.root, fmt.Sprintf("postino-test-%d", os.Getpid()))
		if err = os.Mkdir(group, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(group) })
		err = putInto(filepath.Join(group, v.key), strconv.Itoa(limit))
		if err == nil {
			err = putInto(filepath.Join(group, "cgroup.procs"), "") // is it there?
		}
		if err == nil {
			return group, nil
		}
		os.Remove(group)
	}
	return "", err
}

// putInto writes to a file that must be there.
func putInto(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
