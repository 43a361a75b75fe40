package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// partsMail is a message of many empty parts.
func partsMail(n int) []byte {
	return []byte("Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", n) + "--b--\r\n")
}

// TestComingMemory: two hundred half-sent messages of any kind take no more memory than the budget and what each has in any case.
func TestComingMemory(t *testing.T) {
	const spools, budget = 200, 4 << 20
	st := openTestStore(t, StoreOptions{Coming: budget})
	for name, text := range map[string][]byte{
		"text":   bytes.Repeat([]byte(strings.Repeat("y", 76)+"\r\n"), 3000),
		"parts":  partsMail(9000),
		"header": bytes.Repeat([]byte("X-Field: y\r\n"), 20_000),
		"params": []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: text/plain"+strings.Repeat("; a=b", 60)+"\r\n\r\n", 600)),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var all []*Spool
		for range spools {
			sp := st.NewSpool(1 << 20)
			for p := text[:min(len(text), 250_000)]; len(p) > 0; p = p[min(len(p), 4096):] {
				if _, err := sp.Write(p[:min(len(p), 4096)]); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, sp)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		most := int64(2*budget + spools*(comingTree+comingContent+24<<10))
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most {
			t.Errorf("%s: %d half-sent messages hold %d octets, more than %d", name, spools, grown, most)
		}
		for _, sp := range all {
			sp.Close()
		}
		if n := st.coming.used.Load(); n != 0 {
			t.Errorf("%s: %d octets of the budget are not given back", name, n)
		}
	}
}

// TestComingWhole: a message that found no room while it came is the same as one that did, once it is here.
func TestComingWhole(t *testing.T) {
	st := openTestStore(t, StoreOptions{Coming: 1 << 20})
	st.coming.used.Add(1 << 20) // others have it all
	defer st.coming.used.Add(-1 << 20)
	for _, n := range []int{10, 200, 3000} {
		text := partsMail(n)
		sp := st.NewSpool(1 << 20)
		if _, err := sp.Write(text); err != nil {
			t.Fatal(err)
		}
		if got := len(sp.Tree().Parts); got != n {
			t.Errorf("%d parts of %d", got, n)
		}
		body := make([]byte, sp.Size())
		if _, err := sp.ReadAt(body, 0); err != nil || !bytes.Equal(body, text) {
			t.Errorf("%d parts: the content is not the same, %v", n, err)
		}
		sp.Close()
	}
	if len(st.coming.turn) != 0 {
		t.Error("the turn to read again was not given back")
	}
}

// TestMemoryRoom finds the least of what machine and control groups allow.
func TestMemoryRoom(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {nil, 0},
		"machine":       {map[string]string{"proc/meminfo": "MemTotal:         491520 kB\nMemFree: 1 kB\n"}, 480 << 20},
		"version 2": {map[string]string{"proc/meminfo": "MemTotal:         491520 kB\n", "proc/self/cgroup": "0::/system.slice/postino.service\n",
			"sys/fs/cgroup/system.slice/postino.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "67108864\n"}, 64 << 20},
		"version 1": {map[string]string{"proc/self/cgroup": "9:cpu:/\n4:memory:/relma\n", "sys/fs/cgroup/memory/relma/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 64 << 20},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := memoryRoom(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	for room, want := range map[int64]int64{0: 96 << 20, 64 << 20: 36 << 20, 16 << 20: 24 << 20, 512 << 20: 96 << 20} {
		if got := memoryFor(room); got != want {
			t.Errorf("of %s: %d", fmt.Sprint(room), got)
		}
	}
}

// TestComingGivenBack: whatever becomes of a mail, it gives its part of the budget back.
func TestComingGivenBack(t *testing.T) {
	s := startServer(t)
	mail := "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", 100) + "--b--\r\n"
	for name, lines := range map[string]string{
		"taken":   "MAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<ann@home.arpa>\r\nDATA\r\n\x00" + mail + ".\r\nQUIT\r\n",
		"refused": "MAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<ann@home.arpa>\r\nDATA\r\n\x00" + mail + "a\rb\r\n.\r\nQUIT\r\n",
		"cut":     "MAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<ann@home.arpa>\r\nDATA\r\n\x00" + mail,
		"chunks":  fmt.Sprintf("MAIL FROM:<x@elsewhere.example>\r\nRCPT TO:<ann@home.arpa>\r\nBDAT %d\r\n%sRSET\r\nQUIT\r\n", len(mail), mail),
	} {
		nc, r, _ := dialService(t, s, "smtp")
		fmt.Fprint(nc, "EHLO x\r\n")
		for line := ""; !strings.HasPrefix(line, "250 "); {
			line, _ = r.ReadString('\n')
		}
		first, rest, two := strings.Cut(lines, "\x00")
		fmt.Fprint(nc, first)
		for two {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(name, err)
			}
			two = !strings.HasPrefix(line, "354")
		}
		fmt.Fprint(nc, rest)
		if name == "cut" {
			nc.Close()
		}
		io.Copy(io.Discard, r)
		nc.Close()
	}
	nc, r, _ := dialService(t, s, "imap")
	fmt.Fprintf(nc, "a LOGIN ann secret\r\nb APPEND INBOX {%d+}\r\n%s\r\nc APPEND Nowhere {%d+}\r\n%s\r\nd LOGOUT\r\n", len(mail), mail, len(mail), mail)
	io.Copy(io.Discard, r)
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	ann.letter(map[string]string{"a.txt": "x"}, "to", "bob", "subject", "x", "text", "x", "do", "send")
	s.hurry(t)
	s.waitInbox(t, "bob@home.arpa", 1)
	waitFor(t, "the budget to be given back", func() bool { return s.store.coming.used.Load() == 0 })
}
