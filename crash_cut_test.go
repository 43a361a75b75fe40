package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	cutCount = flag.Int("cuts", 60, "how many power cuts TestPowerCuts replays")
	cutSeed  = flag.Uint64("cutseed", 1, "what its dice begin with")
)

// cutOp is something that the program did to its files, or an answer that it gave.
type cutOp struct {
	start, end int    // lines of the trace; end is after all of them if it never came back
	kind       string // pwrite64, ftruncate, sync or ack
	file       string // mail.db or mail.db-wal
	data       []byte
	off        int64
}

// cutMail is what may be known of a message: what became of it in this order, and the answers that said so.
type cutMail struct {
	body   string
	states []string // "" before it is there; "INBOX", "Box", "Box flagged", "Moved", "gone"
	acks   []string // acks[i] says that states[i+1] is reached
}

// TestPowerCuts records what the appliance writes and flushes under load, with strace, and what it answers. Then it makes the files as a disk may have
// them that loses power at some moment: what was flushed is there, of what came later anything may be: all, nothing, a part in any order, torn
// pages. From each, everything that was answered by then must come back whole. With a disk that lies about its flushes mail must be lost, or this
// test sees nothing. `make powercuts` replays 10,000.
func TestPowerCuts(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		skip(t, "no strace to record writes with")
	}
	if os.Getenv("TEST_EXEC") != "" {
		skip(t, "what runs the program does writes of its own")
	}
	t.Parallel()
	r := &cutRecording{t: t, dir: t.TempDir(), mails: map[string]*cutMail{}}
	r.record()
	copied := 0
	for _, op := range r.ops {
		if op.kind == "pwrite64" && op.file == "mail.db" {
			copied++
		}
	}
	if copied == 0 {
		t.Error("the log was not copied into the file while this was recorded")
	}
	began := time.Now()
	bad, most := r.replay(*cutCount, *cutSeed, false)
	t.Logf("%d writes and flushes, %d of them in the file, %d answers; %d cuts with up to %d writes under way, %d bad; %v", len(r.ops)-len(r.acks), copied, len(r.acks), *cutCount, most, bad, time.Since(began).Round(time.Second))
	lied, _ := r.replay(max(*cutCount/10, 20), *cutSeed, true)
	if lied == 0 {
		t.Error("with a disk that lies about its flushes nothing was lost: this test sees nothing")
	}
	t.Logf("with a disk that lies about its flushes %d of %d cuts are bad", lied, max(*cutCount/10, 20))
}

type cutRecording struct {
	t     *testing.T
	dir   string
	mu    sync.Mutex
	mails map[string]*cutMail // by Message-ID
	ops   []cutOp
	acks  []string          // in the order in which they were given
	files map[string][]byte // as they were when the recording began
}

func (r *cutRecording) path(name string) string { return filepath.Join(r.dir, name) }

// record runs the program under strace and gives it mail.
func (r *cutRecording) record() {
	t := r.t
	config := "hostname = \"mx.home.arpa\"\n[mdns]\nenabled = false\n[listen]\nsmtp = [\"127.0.0.1:0\"]\nimap = [\"127.0.0.1:0\"]\n"
	if err := os.WriteFile(r.path("mail.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := OpenStore(r.path("mail.db"), StoreOptions{})
	if err == nil {
		err = addTestUsers(st)
	}
	if err == nil {
		err = st.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := selfCommand("-config", r.path("mail.toml"), "serve")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	s := &testServer{addr: map[string]string{}}
	for sc := bufio.NewScanner(out); s.addr["imap"] == "" && sc.Scan(); {
		if f := strings.Fields(sc.Text()); len(f) == 2 {
			s.addr[f[0]] = f[1]
		}
	}
	if s.addr["imap"] == "" {
		t.Fatal("the program did not say where it listens")
	}
	if err := cutDeliver(s, "<first@cut>", "first\r\n", nil); err != nil { // what the first delivery alone does is over
		t.Fatal(err)
	}
	tracer := exec.Command("strace", "-f", "-y", "-xx", "-s", "8200", "-o", r.path("trace"), "-e", "trace=pwrite64,write,ftruncate,fsync,fdatasync", "-p", strconv.Itoa(cmd.Process.Pid))
	said, err := tracer.StderrPipe()
	if err == nil {
		err = tracer.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "attached") {
		skip(t, "strace may not be used here: "+lines.Text())
	}
	go io.Copy(io.Discard, said)
	r.quiet()
	r.files = map[string][]byte{}
	for _, name := range []string{"mail.db", "mail.db-wal"} {
		r.files[name], err = os.ReadFile(r.path(name))
		if err != nil {
			t.Fatal(err)
		}
	}
	r.load(s)
	r.quiet()
	tracer.Process.Signal(os.Interrupt)
	tracer.Wait()
	if err := r.parse(); err != nil {
		t.Fatal(err)
	}
}

// quiet waits until the log has not changed for a moment: an appliance that nobody asks for anything writes nothing.
func (r *cutRecording) quiet() {
	last, same := "", 0
	waitFor(r.t, "a second in which nothing is written", func() bool {
		b, _ := os.ReadFile(r.path("mail.db-wal"))
		now := fmt.Sprint(contentSum(b))
		same++
		if now != last {
			last, same = now, 0
		}
		return same > 100
	})
}

// cutDeliver sends a message to ann and tells by which answer it was taken.
func cutDeliver(s *testServer, id, body string, taken func(answer string)) error {
	nc, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		return err
	}
	defer nc.Close()
	rd := bufio.NewReader(nc)
	err = dialogue(nc, rd, "", "220", "EHLO test.home.arpa", "250", "MAIL FROM:<b@test.home.arpa>", "250", "RCPT TO:<ann@home.arpa>", "250", "DATA", "354")
	if err != nil {
		return err
	}
	nc.SetDeadline(time.Now().Add(testPatience))
	fmt.Fprintf(nc, "Message-ID: %s\r\n\r\n%s.\r\n", id, body)
	line, err := rd.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "250 2.0.0 Taken as ") {
		err = fmt.Errorf("got %q", line)
	}
	if err == nil && taken != nil {
		taken(strings.TrimSpace(line))
	}
	return err
}

// cutBody is text that compresses well, or base64 that does not.
func cutBody(d *rand.Rand) string {
	if d.IntN(8) > 0 {
		return strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 1+d.IntN(200)) + fmt.Sprint(d.Uint64()) + "\r\n"
	}
	raw := make([]byte, d.IntN(90_000))
	for i := range raw {
		raw[i] = byte(d.Uint32())
	}
	return benchBase64(string(raw))
}

func (r *cutRecording) add(id string, m *cutMail) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails[id] = m
}

// load has four clients deliver and one work on its own mailboxes, each operation with an answer of its own.
func (r *cutRecording) load(s *testServer) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			d := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 90 {
				id := fmt.Sprintf("<s%d.%d@cut>", w, i)
				m := &cutMail{body: cutBody(d), states: []string{"", "INBOX"}}
				r.add(id, m)
				if err := cutDeliver(s, id, m.body, func(answer string) { m.acks = []string{answer} }); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		c := dialIMAP(r.t, s, "bob")
		for _, box := range []string{"Box", "Moved"} {
			c.ok("CREATE " + box)
		}
		c.ok("SELECT Box")
		d := rand.New(rand.NewPCG(9, 1))
		for i := range 70 {
			id := fmt.Sprintf("<i%d@cut>", i)
			m := &cutMail{body: cutBody(d), states: []string{""}}
			r.add(id, m)
			does := func(state, command string) {
				c.ok(command)
				m.states, m.acks = append(m.states, state), append(m.acks, fmt.Sprintf("t%d OK", c.n))
			}
			does("Box", "APPEND Box "+lit("Message-ID: "+id+"\r\n\r\n"+m.body))
			does("Box flagged", `STORE * +FLAGS (\Flagged)`)
			if i%3 > 0 {
				does("Moved", "MOVE * Moved")
				continue
			}
			c.ok(`STORE * +FLAGS (\Deleted)`)
			does("gone", "EXPUNGE")
		}
	})
	wg.Wait()
}

var (
	cutCall   = regexp.MustCompile(`^(\d+) +(pwrite64|write|ftruncate|fsync|fdatasync)\(\d+<([^>]*)>(?:, (.*?))?(?:\) += (-?\d+).*| <unfinished \.\.\.>)$`)
	cutResume = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+)`)
	cutAck    = regexp.MustCompile(`(?m)^(250 2\.0\.0 Taken as \S+|t\d+ OK)`)
)

// parse reads the trace. Its lines are in the order in which calls began and came back.
func (r *cutRecording) parse() error {
	f, err := os.Open(r.path("trace"))
	if err != nil {
		return err
	}
	defer f.Close()
	open := map[string]int{} // by thread: its call that has not come back
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for line := 0; sc.Scan(); line++ {
		if m := cutResume.FindStringSubmatch(sc.Text()); m != nil {
			if at, ok := open[m[1]]; ok {
				r.ops[at].end = line
				delete(open, m[1])
			}
			continue
		}
		m := cutCall.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		name := string(cutBytes(m[3]))
		op := cutOp{start: line, end: line, kind: m[2], file: filepath.Base(name)}
		ours := strings.HasPrefix(name, "/") && (op.file == "mail.db" || op.file == "mail.db-wal")
		switch {
		case op.kind == "write" && (strings.HasPrefix(name, "TCP") || strings.HasPrefix(name, "socket")):
			op.kind, op.data = "ack", cutBytes(m[4])
			if !cutAck.Match(op.data) {
				continue
			}
			r.acks = append(r.acks, cutAck.FindAllString(string(op.data), -1)...)
		case !ours:
			continue
		case op.kind == "pwrite64":
			args := strings.Split(m[4][strings.LastIndexByte(m[4], '"')+1:], ", ")
			op.data = cutBytes(m[4])
			n, _ := strconv.Atoi(args[1])
			op.off, err = strconv.ParseInt(args[2], 10, 64)
			if err != nil || n != len(op.data) {
				return fmt.Errorf("%d octets of %d were recorded: %.200s", len(op.data), n, sc.Text())
			}
		case op.kind == "ftruncate":
			op.off, err = strconv.ParseInt(m[4], 10, 64)
			if err != nil {
				return err
			}
		case op.kind == "fsync" || op.kind == "fdatasync":
			op.kind = "sync"
		default:
			return fmt.Errorf("a file of ours is written in a way that is not followed: %.200s", sc.Text())
		}
		if strings.HasSuffix(sc.Text(), "<unfinished ...>") {
			op.end = int(^uint(0) >> 1)
			open[m[1]] = len(r.ops)
		}
		r.ops = append(r.ops, op)
	}
	return sc.Err()
}

// cutBytes undoes strace's \x41\x42, in quotes or bare.
func cutBytes(arg string) []byte {
	if from, to := strings.IndexByte(arg, '"'), strings.LastIndexByte(arg, '"'); from >= 0 && to > from {
		arg = arg[from+1 : to]
	}
	b := make([]byte, 0, len(arg)/4)
	for i := 0; i+4 <= len(arg); i += 4 {
		n, _ := strconv.ParseUint(arg[i+2:i+4], 16, 8)
		b = append(b, byte(n))
	}
	return b
}

// apply does a write to a file in memory; sectors says of each 512 octets whether they came to the disk, nil is all.
func (op *cutOp) apply(files map[string][]byte, sectors func() bool) {
	b := files[op.file]
	if op.kind == "ftruncate" {
		b = append(b, make([]byte, max(0, int(op.off)-len(b)))...)[:op.off]
		files[op.file] = b
		return
	}
	end := op.off + int64(len(op.data))
	b = append(b, make([]byte, max(0, int(end)-len(b)))...)
	for off := op.off; off < end; {
		next := min(off/512*512+512, end)
		if sectors == nil || sectors() {
			copy(b[off:next], op.data[off-op.off:])
		}
		off = next
	}
	files[op.file] = b
}

// replay cuts the power so many times and returns how often something was wrong, and how many writes were under way at most.
func (r *cutRecording) replay(cuts int, seed uint64, lies bool) (bad, most int) {
	d := rand.New(rand.NewPCG(seed, 7))
	last := r.ops[len(r.ops)-1].start
	var at []int
	for i := range cuts {
		if i%2 > 0 { // just after an answer
			at = append(at, r.ackLine(d))
			continue
		}
		at = append(at, d.IntN(last+1))
	}
	slices.Sort(at)
	files := map[string][]byte{}
	for name, b := range r.files {
		files[name] = bytes.Clone(b)
	}
	var pending []*cutOp
	answered := map[string]bool{}
	next := 0
	for _, cut := range at {
		for ; next < len(r.ops) && r.ops[next].start <= cut; next++ {
			op := &r.ops[next]
			switch op.kind {
			case "ack":
				for _, a := range cutAck.FindAllString(string(op.data), -1) {
					answered[a] = true
				}
			case "sync":
				if lies || op.end > cut { // not back yet: looked at again below
					if !lies && op.end < int(^uint(0)>>1) {
						pending = append(pending, op)
					}
					continue
				}
				pending = cutFlush(files, pending, op)
			default:
				pending = append(pending, op)
			}
		}
		for i := 0; i < len(pending); i++ { // flushes that have come back since
			if op := pending[i]; op.kind == "sync" && op.end <= cut {
				pending = cutFlush(files, slices.Delete(pending, i, i+1), op)
				i = -1
			}
		}
		most = max(most, len(pending))
		if faults := r.check(cutDisk(files, pending, d), answered, !lies); len(faults) > 0 {
			if bad++; !lies && bad <= 5 {
				r.t.Errorf("cut at line %d with %d answers: %s", cut, len(answered), strings.Join(faults[:min(len(faults), 4)], "; "))
			}
		}
	}
	return bad, most
}

// ackLine is the line of some answer.
func (r *cutRecording) ackLine(d *rand.Rand) int {
	for {
		if op := r.ops[d.IntN(len(r.ops))]; op.kind == "ack" {
			return op.start
		}
	}
}

// cutFlush makes last what had been written to a file before a flush of it began, and returns what is still under way.
func cutFlush(files map[string][]byte, pending []*cutOp, sync *cutOp) []*cutOp {
	var left []*cutOp
	for _, op := range pending {
		if op.kind != "sync" && op.file == sync.file && op.end < sync.start {
			op.apply(files, nil)
		} else {
			left = append(left, op)
		}
	}
	return left
}

// cutDisk is what a disk may have of files and of writes that were under way.
func cutDisk(files map[string][]byte, pending []*cutOp, d *rand.Rand) map[string][]byte {
	disk := map[string][]byte{}
	for name, b := range files {
		disk[name] = bytes.Clone(b)
	}
	how, upto := d.IntN(6), d.IntN(len(pending)+1)
	for i, op := range pending {
		switch {
		case op.kind == "sync", how == 0, how == 1 && i >= upto, how == 2 && d.IntN(2) > 0, how == 3 && i == upto: // nothing, the first ones, any, all but one
		case how == 4:
			op.apply(disk, func() bool { return d.IntN(2) > 0 })
		default:
			op.apply(disk, nil)
		}
	}
	return disk
}

// check opens what the power cut has left, as the appliance does, and says what of the answers is not so.
func (r *cutRecording) check(disk map[string][]byte, answered map[string]bool, sound bool) (faults []string) {
	base := r.dir
	if fi, err := os.Stat("/dev/shm"); err == nil && fi.IsDir() {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "postino-cut-")
	if err != nil {
		r.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "mail.db")
	for name, b := range disk {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	st, err := OpenStore(path, StoreOptions{Alone: true, Readers: 1})
	if err != nil {
		return []string{err.Error()}
	}
	defer st.Close()
	have := map[string]string{} // Message-ID → state
	err = st.Read(func(tx *Tx) error {
		users, err := tx.Users()
		if err != nil {
			return err
		}
		for _, u := range users {
			boxes, err := tx.Mailboxes(u.ID)
			if err != nil {
				return err
			}
			for _, box := range boxes {
				err := tx.Messages(box.ID, 1, ^UID(0), func(m *Message) error {
					if m.Gone {
						return nil
					}
					c, err := tx.Content(m.Blob)
					if err != nil {
						return err
					}
					id := c.Header().Get("Message-ID")
					if have[id] != "" {
						faults = append(faults, id+" is there twice")
					}
					have[id] = box.Name
					if m.Flags.Bits&FlagFlagged != 0 && box.Name == "Box" {
						have[id] += " flagged"
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return append(faults, err.Error())
	}
	for _, id := range slices.Sorted(maps.Keys(r.mails)) {
		m := r.mails[id]
		reached := 0
		for i, a := range m.acks {
			if answered[a] {
				reached = i + 1
			}
		}
		may := m.states[reached:min(reached+2, len(m.states))]
		now := have[id]
		if now == "" && slices.Contains(may, "gone") {
			now = "gone"
		}
		if !slices.Contains(may, now) {
			faults = append(faults, fmt.Sprintf("%s is %q and may be %q", id, now, may))
		}
	}
	if sound {
		checkStore(r.t, st)
		faults = append(faults, r.checkBodies(st)...)
	}
	return faults
}

// checkBodies reads all content and compares it with what was sent.
func (r *cutRecording) checkBodies(st *Store) (faults []string) {
	var blobs []BlobID
	mustRead(r.t, st, func(tx *Tx) (err error) { blobs, err = column[BlobID](tx, `SELECT id FROM blobs`); return err })
	for _, b := range blobs {
		c, err := st.Content(b)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		text, err := io.ReadAll(c.Reader())
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		if m := r.mails[c.Header().Get("Message-ID")]; m != nil && !strings.HasSuffix(string(text), "\r\n\r\n"+m.body) {
			faults = append(faults, fmt.Sprintf("content %d is not what was sent", b))
		}
	}
	return faults
}
