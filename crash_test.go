package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain doubles as the program that TestCrash and others start and kill.
func TestMain(m *testing.M) {
	if args := os.Getenv("POSTINO_TEST_ARGS"); args != "" {
		c := &command{in: os.Stdin, out: os.Stdout, err: os.Stderr}
		os.Exit(c.run(strings.Split(args, "\n")))
	}
	code := m.Run()
	saySkipped()
	if code == 0 && sayMissing() {
		code = 1
	}
	os.Exit(code)
}

// selfCommand runs this test binary as the program. TEST_EXEC is what can run it, such as qemu-arm-static.
func selfCommand(args ...string) *exec.Cmd {
	self := append(strings.Fields(os.Getenv("TEST_EXEC")), os.Args[0])
	cmd := exec.Command(self[0], self[1:]...)
	cmd.Env = append(os.Environ(), "POSTINO_TEST_ARGS="+strings.Join(args, "\n"))
	return cmd
}

// dialogue sends lines and wants a reply that begins with the given code for each.
func dialogue(nc net.Conn, r *bufio.Reader, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != "" {
			if _, err := fmt.Fprintf(nc, "%s\r\n", pairs[i]); err != nil {
				return err
			}
		}
		for {
			nc.SetReadDeadline(time.Now().Add(testPatience))
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, pairs[i+1]) {
				return fmt.Errorf("%q got %q", pairs[i], line)
			}
			if len(line) < 4 || line[3] != '-' {
				break
			}
		}
	}
	return nil
}

// TestCrash delivers mail while the appliance is killed again and again. A message that was answered 250 must be
// there exactly once, whatever came after.
func TestCrash(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "mail.toml")
	os.WriteFile(config, []byte("[mdns]\nenabled = false\n[listen]\nsmtp = [\"127.0.0.1:0\"]\n[limits]\nper_address = 100\n"), 0o600)
	add := selfCommand("-config", config, "user", "add", "ann@home.arpa")
	add.Stdin = strings.NewReader("secret\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	acked, asked := map[string]bool{}, 0
	var mu sync.Mutex
	for round := range rounds {
		before := len(acked)
		cmd := selfCommand("-config", config, "serve")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if testing.Verbose() == false {
			cmd.Stderr = nil
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr := ""
		for sc := bufio.NewScanner(out); addr == "" && sc.Scan(); {
			if f := strings.Fields(sc.Text()); len(f) == 2 && f[0] == "smtp" {
				addr = f[1]
			}
		}
		if addr == "" {
			t.Fatal("the program did not say where it listens")
		}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer nc.Close()
				r := bufio.NewReader(nc)
				if dialogue(nc, r, "", "220", "EHLO test.home.arpa", "250") != nil {
					return
				}
				for i := 0; ; i++ {
					id := fmt.Sprintf("<%d.%d.%d@test>", round, w, i)
					if dialogue(nc, r, "MAIL FROM:<b@test.home.arpa>", "250", "RCPT TO:<ann@home.arpa>", "250", "DATA", "354") != nil {
						return
					}
					mu.Lock()
					asked++
					mu.Unlock()
					if dialogue(nc, r, "From: b@test.home.arpa\r\nTo: ann@home.arpa\r\nMessage-ID: "+id+"\r\n\r\n"+strings.Repeat("x", rand.IntN(5000)%900)+"\r\n.", "250") != nil {
						return
					}
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
			})
		}
		waitFor(t, "mail to be taken", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(acked) > before
		})
		time.Sleep(rand.N(400 * time.Millisecond))
		cmd.Process.Kill()
		cmd.Wait()
		wg.Wait()
	}
	st, err := OpenStore(filepath.Join(dir, "mail.db"), StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	checkStore(t, st)
	have := storedIDs(t, st)
	for id := range acked {
		if have[id] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", id, have[id])
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d sent, %d acknowledged, %d stored", asked, len(acked), len(have))
}

// TestCrashQueue kills the appliance again and again while it hands its queue over. Nothing is lost; what the peer took
// and the queue forgot never goes again; and each kill leaves at most one message for each connection in doubt, between
// the peer's 250 and the commit, which goes twice.
func TestCrashQueue(t *testing.T) {
	t.Parallel()
	messages, kills := 1500, 8
	if testing.Short() {
		messages, kills = 300, 2
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	p := newPeer(t, nil)
	p.answer = func(l string) string {
		if l == "<data>" && rand.IntN(10) == 0 {
			p.mu.Unlock()
			time.Sleep(rand.N(5 * time.Millisecond))
			p.mu.Lock()
		}
		return ""
	}
	config := filepath.Join(dir, "mail.toml")
	os.WriteFile(config, fmt.Appendf(nil, "[mdns]\nenabled = false\n[listen]\nsmtp = [\"127.0.0.1:0\"]\n[queue]\nretry = \"1s\"\nretry_max = \"1s\"\n[routes]\n\".\" = %q\n", p.addr()), 0o600)
	waiting := func() map[string]bool { // the messages that are still in the queue
		st, err := OpenStore(path, StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		names := map[string]bool{}
		mustRead(t, st, func(tx *Tx) error {
			items, err := tx.Queue("")
			for _, q := range items {
				names[q.Name] = true
			}
			return err
		})
		return names
	}
	t.Run("fill", func(t *testing.T) { fillQueue(t, openServer(t, path, StoreOptions{}), messages) })
	all := waiting()
	if len(all) != messages {
		t.Fatalf("%d messages in the queue", len(all))
	}
	sent, repeats := map[string]int{}, 0 // what came of those that the queue has forgotten
	for round := 0; ; round++ {
		cmd := selfCommand("-config", config, "serve")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		enough := len(p.received()) + rand.IntN(messages/kills)
		for end := time.Now().Add(testPatience); time.Now().Before(end); time.Sleep(rand.N(2 * time.Millisecond)) {
			if round < kills && len(p.received()) > enough || round >= kills && len(p.received())-repeats >= messages {
				break
			}
		}
		if round >= kills {
			waitFor(t, "the queue to be empty", func() bool { return len(waiting()) == 0 })
		}
		cmd.Process.Kill()
		cmd.Wait()
		waitFor(t, "what was on its way when it died", func() bool { return p.connected() == 0 })
		came := map[string]int{}
		for _, m := range p.received() {
			id, _, _ := strings.Cut(strings.TrimPrefix(ParseHeader([]byte(m)).Get("Message-ID"), "<"), "@")
			came[id]++
		}
		left, doubt := waiting(), 0
		for id, n := range came {
			switch before, done := sent[id]; {
			case done && n != before:
				t.Errorf("%s went again after it was off the queue", id)
			case left[id]:
				doubt++
			default:
				sent[id] = n
			}
		}
		if repeats = len(p.received()) - len(came); doubt > queueConns || repeats > (round+1)*queueConns {
			t.Errorf("after kill %d: %d messages in doubt, %d repeated", round+1, doubt, repeats)
		}
		for id := range all {
			if !left[id] && came[id] == 0 {
				t.Errorf("%s is lost", id)
			}
		}
		t.Logf("kill %d: %d came, %d repeated, %d left, %d in doubt", round+1, len(came), repeats, len(left), doubt)
		if len(left) == 0 || round > kills {
			break
		}
	}
	if len(waiting()) > 0 || len(sent) != messages {
		t.Errorf("%d messages are left, %d came", len(waiting()), len(sent))
	}
}

// storedIDs counts the Message-IDs in all of a store's INBOXes.
func storedIDs(t *testing.T, st *Store) map[string]int {
	have := map[string]int{}
	mustRead(t, st, func(tx *Tx) error {
		users, err := tx.Users()
		for _, u := range users {
			inbox, err := tx.MailboxByName(u.ID, "INBOX")
			if err != nil {
				return err
			}
			var blobs []BlobID
			err = tx.Messages(inbox.ID, 1, ^UID(0), func(m *Message) error { blobs = append(blobs, m.Blob); return nil })
			if err != nil {
				return err
			}
			for _, b := range blobs {
				c, err := tx.Content(b)
				if err != nil {
					return err
				}
				have[c.Header().Get("Message-ID")]++
			}
		}
		return err
	})
	return have
}

// TestPowerCut cuts the WAL after every frame, and in the middle of frames, as a power cut may, and opens what is left:
// every transaction that was acknowledged before the cut is whole, none is half there, and UIDs go on from where they were.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{Service: true}) // which makes a log of full length
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, inbox := addTestUser(t, st, "ann")
	base := walFrames(t, path+"-wal")
	type ack struct{ frames, messages int }
	var acks []ack
	messages := 0
	for i := range 12 {
		mustWrite(t, st, func(tx *Tx) error { // two in one transaction: both or none
			for k := range 2 {
				sp := spoolOf(t, st, fmt.Sprintf("Message-ID: <%d.%d@test>\r\n\r\n%s", i, k, strings.Repeat("y", 100+i*1500)))
				defer sp.Close()
				b, err := tx.AddBlob(sp)
				if err != nil {
					return err
				}
				if _, err := tx.Append(inbox, b, Flags{}, st.Now()); err != nil {
					return err
				}
			}
			return nil
		})
		messages += 2
		acks = append(acks, ack{walFrames(t, path+"-wal"), messages})
	}
	wal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	// Another process copies the database: closing a second descriptor here would drop this process's locks.
	copied := filepath.Join(dir, "copy.db")
	if out, err := exec.Command("cp", path, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	db, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	last, frame := acks[len(acks)-1].frames, frameSize(wal)
	step := 1
	if testing.Short() {
		step = 7
	}
	for frames := base; frames <= last; frames += step {
		for _, torn := range []int{0, []int{24, 24 + 1 + rand.IntN(frame-30)}[frames%2]} {
			cut := append([]byte(nil), wal[:32+frames*frame+torn]...)
			want := 0
			for _, a := range acks {
				if a.frames <= frames {
					want = a.messages
				}
			}
			checkCut(t, db, cut, len(wal), inbox, want, fmt.Sprintf("%d frames and %d octets", frames, torn))
		}
	}
}

// checkCut opens a database and a log of which the first octets are given, and the others zeros up to its size.
func checkCut(t *testing.T, db, wal []byte, size int, inbox Mailbox, want int, what string) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "mail.db")
	os.WriteFile(path, db, 0o600)
	os.WriteFile(path+"-wal", wal, 0o600)
	os.Truncate(path+"-wal", int64(size))
	st, err := OpenStore(path, StoreOptions{Readers: 1})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer st.Close()
	var uids []UID
	mustRead(t, st, func(tx *Tx) (err error) { uids, _, err = tx.UIDs(inbox.ID, nil); return err })
	// The next transaction may be there too, whole: the file's own notes come behind one before its frames are counted.
	if n := len(uids); n < want || n > want+2 || n%2 != 0 {
		t.Errorf("%s: %d messages, want %d", what, n, want)
	}
	if row := appendText(t, st, inbox, "Message-ID: <new@test>\r\n\r\n", Flags{}); row.UID != UID(len(uids)+1) {
		t.Errorf("%s: the next UID is %d", what, row.UID)
	}
	checkStore(t, st)
}

// frameSize is the size of a frame of a WAL: its header and a page.
func frameSize(wal []byte) int { return 24 + int(binary.BigEndian.Uint32(wal[8:])) }

// walFrames counts the frames of the WAL's current run: those that carry the salt of its header.
func walFrames(t *testing.T, path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	salt := binary.BigEndian.Uint64(b[16:])
	n := 0
	frame := frameSize(b)
	for off := 32; off+frame <= len(b) && binary.BigEndian.Uint64(b[off+8:]) == salt; off += frame {
		n++
	}
	return n
}
