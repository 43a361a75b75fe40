package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// benchMessages is how many messages the mailbox of the benchmarks has.
const benchMessages = 100_000

// benchFile is a database with ann's INBOX of benchMessages, made once for a run of the tests. Set POSTINO_BENCH_DIR to a
// folder to have it kept there for the next run.
var benchFile = sync.OnceValues(func() (string, error) {
	dir := os.Getenv("POSTINO_BENCH_DIR")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "postino-bench-"); err != nil {
			return "", err
		}
	}
	path := filepath.Join(dir, "bench.db")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, benchFill(path)
})

func benchFill(path string) error {
	st, err := OpenStore(path+".new", StoreOptions{})
	if err != nil {
		return err
	}
	var inbox Mailbox
	err = st.Write(func(tx *Tx) error {
		u, err := tx.AddUser(Addr{"ann", "home.arpa"}, testSecret(), false)
		if err == nil {
			inbox, err = tx.MailboxByName(u.ID, "INBOX")
		}
		return err
	})
	w := newBenchWriter()
	for n := 0; n < benchMessages && err == nil; n += 500 {
		var spools []*Spool
		for i := n; i < n+500; i++ {
			sp := st.NewSpool(1 << 20)
			sp.Write(w.mail(i))
			spools = append(spools, sp)
		}
		err = st.Write(func(tx *Tx) error {
			for i, sp := range spools {
				b, err := tx.AddBlob(sp)
				if err != nil {
					return err
				}
				f := Flags{}
				if (n+i)%3 > 0 {
					f.Bits = FlagSeen
				}
				if _, err := tx.Append(inbox, b, f, time.Date(2024, 1, 1, 0, n+i, 0, 0, time.UTC)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = st.Index()
	}
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	os.Rename(path+".new-wal", path+"-wal")
	return os.Rename(path+".new", path)
}

// benchWriter writes mail that looks like people's: short and long, in threads, some of it HTML or Chinese.
type benchWriter struct {
	r     *rand.Rand
	words []string
	zipf  *rand.Zipf
	ids   []string
	subj  []string
}

func newBenchWriter() *benchWriter {
	w := &benchWriter{r: rand.New(rand.NewPCG(1, 2))}
	syllables := strings.Fields("ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu al en ir on us tri sta pre con ver men der che ing")
	for range 20_000 {
		var sb strings.Builder
		for range 2 + w.r.IntN(3) {
			sb.WriteString(syllables[w.r.IntN(len(syllables))])
		}
		w.words = append(w.words, sb.String())
	}
	w.zipf = rand.NewZipf(w.r, 1.1, 10, uint64(len(w.words)-1))
	return w
}

func (w *benchWriter) text(n int) string {
	var sb strings.Builder
	for line := 0; sb.Len() < n; {
		word := w.words[w.zipf.Uint64()]
		sb.WriteString(word)
		if line += len(word) + 1; line > 70 {
			sb.WriteString("\r\n")
			line = 0
		} else {
			sb.WriteByte(' ')
		}
	}
	return sb.String()
}

func (w *benchWriter) chinese(n int) string {
	var sb strings.Builder
	for range n {
		sb.WriteRune(rune(0x4e00 + w.r.ExpFloat64()*300))
	}
	return sb.String()
}

// mail writes the ith message. "meeting" is in six of ten bodies, "xyzzyneedle" and "稀有" in three messages each.
func (w *benchWriter) mail(i int) []byte {
	var b bytes.Buffer
	id := fmt.Sprintf("<%d.%x@mail%d.example.org>", i, w.r.Uint64(), w.r.IntN(50))
	subject, refs := strings.TrimSpace(strings.ReplaceAll(w.text(30), "\r\n", " ")), ""
	if i > 100 && w.r.IntN(10) < 6 {
		j := i - 1 - w.r.IntN(100)
		subject, refs = "Re: "+w.subj[j], "In-Reply-To: "+w.ids[j]+"\r\nReferences: "+w.ids[max(0, j-7)]+"\r\n "+w.ids[j]+"\r\n"
		w.subj = append(w.subj, w.subj[j])
	} else {
		w.subj = append(w.subj, subject)
	}
	w.ids = append(w.ids, id)
	sender := w.words[w.r.IntN(2000)]
	fmt.Fprintf(&b, "Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.home.arpa with ESMTPS id %x\r\n\tfor <ann@home.arpa>; Mon, 1 Jan 2024 00:00:00 +0000\r\n", w.r.Uint64())
	sig := make([]byte, 180)
	for k := range sig {
		sig[k] = byte(w.r.Uint32())
	}
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=a;\r\n\tb=%s\r\n", base64.StdEncoding.EncodeToString(sig))
	fmt.Fprintf(&b, "From: %s %s <%s@example.org>\r\nTo: Ann <ann@home.arpa>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: %s\r\n%s",
		strings.ToUpper(sender[:1])+sender[1:], w.words[i%5000], sender, subject, FormatDate(time.Date(2024, 1, 1, 0, i+w.r.IntN(3000), 0, 0, time.UTC)), id, refs)
	b.WriteString("MIME-Version: 1.0\r\n")
	body := w.text(200 + int(w.r.ExpFloat64()*2000))
	if i%10 < 6 {
		body += "\r\nThe meeting is as agreed.\r\n"
	}
	if i%(benchMessages/3) == 500 {
		body += "\r\nxyzzyneedle 稀有\r\n"
	}
	switch {
	case i%20 == 1:
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n", benchBase64(w.chinese(300+w.r.IntN(500))+body))
	case i%10 == 3:
		html := "<html><body><p>" + strings.ReplaceAll(body, "\r\n", "<br>\r\n") + "</p><img src=\"cid:x\"></body></html>\r\n"
		fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=b%d\r\n\r\n--b%d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n--b%d\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%s\r\n--b%d--\r\n", i, i, body, i, html, i)
	case i%50 == 7:
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n--b%d\r\nContent-Type: application/pdf; name=\"%s.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--b%d--\r\n",
			i, i, body, i, sender, benchBase64(strings.Repeat(string(sig), 100)), i)
	default:
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", body)
	}
	return b.Bytes()
}

func benchBase64(s string) string {
	var sb strings.Builder
	for code := base64.StdEncoding.EncodeToString([]byte(s)); code != ""; {
		n := min(76, len(code))
		sb.WriteString(code[:n] + "\r\n")
		code = code[n:]
	}
	return sb.String()
}

// benchServer runs a server on a copy of the file, so that a benchmark may change it.
func benchServer(b *testing.B) *testServer {
	b.Helper()
	from, err := benchFile()
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "mail.db")
	for _, ext := range []string{"", "-wal"} {
		if err := copyFile(path+ext, from+ext); err != nil && !os.IsNotExist(err) {
			b.Fatal(err)
		}
	}
	return startServerOn(b, path, StoreOptions{})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err = io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync() // or the first commit would have to wait for all of it
}

// BenchmarkIMAP measures commands on a mailbox of 100,000 messages over a loopback socket.
func BenchmarkIMAP(b *testing.B) {
	s := benchServer(b)
	c := dialIMAP(b, s, "ann")
	c.ok("SELECT INBOX")
	for _, bench := range []struct{ name, command string }{
		{"Select", "SELECT INBOX"},
		{"SyncNothing", "NOOP"},
		{"FetchFlags", "FETCH 1:* (UID FLAGS)"},
		{"FetchEnvelopes", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"},
		{"FetchBodies", "FETCH 1:* BODY.PEEK[]"},
		{"SearchUnseen", "SEARCH UNSEEN"},
		{"SearchSubject", "SEARCH SUBJECT veralgu"},
		{"SearchFrom", "SEARCH FROM example.org"},
		{"SearchSent", "SEARCH SENTSINCE 10-Feb-2024"},
		{"SearchBodyRare", "SEARCH BODY xyzzyneedle"},
		{"SearchBodyNone", "SEARCH BODY qqqqqq"},
		{"SearchBodyCommon", "SEARCH BODY meeting"},
		{"SearchBodyChinese", "SEARCH BODY " + lit("稀有")},
		{"SearchTextRare", "SEARCH TEXT xyzzyneedle"},
		{"SearchTwoLetters", "SEARCH BODY qq"},
		{"SortSubject", "SORT (SUBJECT) UTF-8 ALL"},
		{"SortArrival", "SORT (REVERSE ARRIVAL) UTF-8 ALL"},
		{"SortFromDate", "SORT (FROM DATE) UTF-8 ALL"},
		{"ThreadReferences", "THREAD REFERENCES UTF-8 ALL"},
		{"ThreadRefs", "THREAD REFS UTF-8 ALL"},
		{"ThreadSubject", "THREAD ORDEREDSUBJECT UTF-8 ALL"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var n int64
			cpu := cpuTime(cpuProcess)
			for b.Loop() {
				n += c.drain(bench.command)
			}
			b.ReportMetric(float64((cpuTime(cpuProcess)-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.SetBytes(n / int64(b.N))
		})
	}
}

const cpuProcess, cpuThread = syscall.RUSAGE_SELF, 1 // the second is Linux's RUSAGE_THREAD

// cpuTime is what the process or thread has computed, which other work on the machine disturbs less than the clock.
func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// drain sends a command, reads its answer without keeping it, and returns the octets read.
func (c *imapClient) drain(command string) (n int64) {
	c.tb.Helper()
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	io.WriteString(c, tag+command+"\r\n")
	c.SetReadDeadline(time.Now().Add(10 * time.Minute))
	start := true
	for {
		l, err := c.r.ReadSlice('\n')
		n += int64(len(l))
		if err != nil && !strings.Contains(err.Error(), "buffer full") {
			c.tb.Fatal(err)
		}
		if start && bytes.HasPrefix(l, []byte(tag)) {
			if !bytes.HasPrefix(l, []byte(tag+"OK")) {
				c.tb.Fatalf("%s: %s", command, l)
			}
			return n
		}
		start = err == nil
	}
}

// BenchmarkIMAPChange measures commands that change all of a mailbox of 100,000 messages, and how long somebody else's
// commits have to wait meanwhile; OnlyRead says how long they wait when nobody changes anything.
func BenchmarkIMAPChange(b *testing.B) {
	for _, bench := range []struct{ name, first, command string }{
		{"OnlyRead", "", "FETCH 1:* BODY.PEEK[TEXT]"},
		{"Append20MB", "", "APPEND INBOX " + lit("Subject: big\r\n\r\n"+strings.Repeat("All work and no play, says the report.\r\n", 20<<20/40))},
		{"StoreFlags", "", `STORE 1:* +FLAGS (\Flagged)`},
		{"StoreSilent", "", `STORE 1:* +FLAGS.SILENT (\Flagged)`},
		{"Copy", "", "COPY 1:* Archive"},
		{"Move", "", "MOVE 1:* Archive"},
		{"Expunge", `STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE"},
		{"FetchSeen", "", "FETCH 1:* BODY[HEADER.FIELDS (SUBJECT)]"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var worst time.Duration
			for range b.N {
				b.StopTimer()
				s := benchServer(b)
				c := dialIMAP(b, s, "ann")
				c.ok("SELECT INBOX")
				if bench.first != "" {
					c.drain(bench.first)
				}
				stop := benchOthers(b, s)
				b.StartTimer()
				c.drain(bench.command)
				b.StopTimer()
				worst = max(worst, stop())
				c.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-wait-ms")
		})
	}
}

// benchOthers has bob change a flag over and over, and returns what ends that and says how long he had to wait at worst.
func benchOthers(b *testing.B, s *testServer) func() time.Duration {
	putMail(b, s, "bob", "INBOX", fetchPlain)
	var inbox Mailbox
	err := s.store.Read(func(tx *Tx) error {
		u, err := tx.UserByName("bob@home.arpa")
		if err == nil {
			inbox, err = tx.MailboxByName(u.ID, "INBOX")
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan time.Duration)
	go func() {
		var worst time.Duration
		for i := 0; ; i++ {
			select {
			case <-quit:
				done <- worst
				return
			case <-time.After(5 * time.Millisecond):
			}
			began := time.Now()
			err := s.store.Write(func(tx *Tx) error {
				_, err := tx.SetFlags(inbox, []UID{1}, FlagChange{Op: "+-"[i%2], Flags: Flags{Bits: FlagFlagged}, Unchanged: -1})
				return err
			})
			if err != nil {
				b.Error(err)
			}
			worst = max(worst, time.Since(began))
		}
	}()
	return func() time.Duration { close(quit); return <-done }
}

// BenchmarkIMAPIdle measures what a connection costs that waits in IDLE, and how long a wake-up of a thousand takes that
// have nothing to say.
func BenchmarkIMAPIdle(b *testing.B) {
	const conns = 1000
	s := startServer(b, "[limits]", "connections = 2000", "per_address = 2000", "per_user = 2000")
	putMail(b, s, "ann", "INBOX", fetchPlain)
	before := benchHeap()
	for range conns {
		c := dialIMAP(b, s, "ann")
		c.r = bufio.NewReaderSize(c, 16) // what the client needs is not to be counted
		c.ok("SELECT INBOX")
		fmt.Fprintf(c, "i IDLE\r\n")
		for l := c.line(); !strings.HasPrefix(l, "+"); l = c.line() {
		}
	}
	b.ReportMetric(float64(benchHeap()-before)/conns/1024, "KiB/conn")
	var u User
	s.store.Read(func(tx *Tx) (err error) { u, err = tx.UserByName("ann@home.arpa"); return err })
	b.ResetTimer()
	cpu := cpuTime(cpuProcess)
	for range b.N {
		s.store.Write(func(tx *Tx) error { tx.Touch(u.ID); return nil })
		time.Sleep(50 * time.Millisecond) // they all look, and find nothing
	}
	b.ReportMetric(float64((cpuTime(cpuProcess)-cpu).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(benchHeap()-before)/conns/1024, "KiB/conn")
}

// livePeak runs something and returns by how much more was alive in the heap at the worst moment. Garbage is collected all
// the time for that, so that it does not depend on when the collector would have come.
func livePeak(run func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(2))
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	read := func() int64 { metrics.Read(live); return int64(live[0].Value.Uint64()) }
	for range 2 {
		runtime.GC()
	}
	before, done := read(), make(chan struct{})
	go func() { run(); close(done) }()
	for peak := before; ; {
		select {
		case <-done:
			return max(peak, read()) - before
		case <-time.After(100 * time.Microsecond):
			peak = max(peak, read())
		}
	}
}

// TestIMAPMemory sees that no command's memory grows with the mailbox by more than a few octets a message. Each command is
// run on a mailbox and on one of five times the size, and the difference counts: what a command needs in any case, for the
// batches and slices in which everything is read, is no growth.
func TestIMAPMemory(t *testing.T) {
	if testing.Short() || os.Getenv("TEST_EXEC") != "" {
		skip(t, "takes long")
	}
	if stop := "gcstoptheworld=1"; os.Getenv("GODEBUG") != stop { // or what is made while garbage is collected would count as alive
		cmd := exec.Command(os.Args[0], "-test.run=^TestIMAPMemory$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG="+stop)
		out, err := cmd.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Error(err)
		}
		return
	}
	sizes := [2]int64{5_000, 25_000}
	boxes := [2]string{"small", "large"}
	s := startServer(t)
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		for _, name := range boxes {
			for _, name := range []string{name, name + "-copy"} {
				if err == nil {
					_, err = tx.CreateMailbox(u.ID, name, "")
				}
			}
		}
		return err
	})
	var validity [2]uint32
	for at, box := range boxes {
		validity[at] = fillMail(t, s, "ann", box, int(sizes[at]), func(i int) string {
			who := fmt.Sprintf("Person %d <p%d@example.org>", i%97, i%97)
			return sortMail(i%28, who, who, fmt.Sprintf("Re: what person %d says of number %d", i%97, i), fmt.Sprint(i), fmt.Sprint(i/2), fmt.Sprint(i-i%7))
		}).UIDValidity
	}
	if err := s.store.Index(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		first, command string // %s is the mailbox
		most           int64  // octets a message
		once           bool   // another time, there would be nothing left to do
	}{
		{"", "SELECT %s", 4, false}, // a quarter for the view (imapUIDs)
		{"", "SELECT %s (QRESYNC (VALIDITY 1))", 48, false},
		{"SELECT %s", "NOOP", 4, false},
		{"SELECT %s", "FETCH 1:* (UID FLAGS)", 20, false},
		{"SELECT %s", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", 24, false},
		{"SELECT %s", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)", 24, false},
		{"SELECT %s", "FETCH 1:* BODY[HEADER.FIELDS (SUBJECT)]", 40, true},
		{"SELECT %s", "SEARCH ALL", 24, false},
		{"SELECT %s", "SEARCH RETURN (SAVE ALL) BODY x", 40, false},
		{"SELECT %s", "SORT (SUBJECT) UTF-8 ALL", 40, false},
		{"SELECT %s", "SORT (REVERSE FROM DATE CC) UTF-8 ALL", 40, false},
		{"SELECT %s", "THREAD REFERENCES UTF-8 ALL", 60, false},
		{"SELECT %s", "THREAD REFS UTF-8 ALL", 60, false},
		{"SELECT %s", "THREAD ORDEREDSUBJECT UTF-8 ALL", 60, false},
		{"SELECT %s", "STORE 1:* FLAGS (\\Flagged)", 24, false},
		{"SELECT %s", "COPY 1:* %s-copy", 40, false},
		{"SELECT %s", "STORE 1:* +FLAGS.SILENT (\\Deleted)", 24, false},
		{"SELECT %s", "EXPUNGE", 24, true},
		{"SELECT %s-copy", "MOVE 1:* %s", 24, true},
	} {
		var grown int64
		for range 4 { // what happens to be alive differs
			var peak [2]int64
			for at, box := range boxes {
				c := dialIMAP(t, s, "ann")
				c.ok("ENABLE QRESYNC")
				if test.first != "" {
					c.drain(strings.ReplaceAll(test.first, "%s", box))
				}
				command := strings.NewReplacer("%s", box, "VALIDITY", fmt.Sprint(validity[at])).Replace(test.command)
				peak[at] = livePeak(func() { c.drain(command) })
				c.Close()
			}
			if grown = (peak[1] - peak[0]) / (sizes[1] - sizes[0]); grown <= test.most || test.once {
				break
			}
			t.Logf("%s: %d octets", test.command, peak)
		}
		t.Logf("%s: %d octets a message", test.command, grown)
		if grown > test.most {
			t.Errorf("%s takes %d octets a message, %d would be right", test.command, grown, test.most)
		}
	}
}

// benchHeap is the memory in use, stacks included.
func benchHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
