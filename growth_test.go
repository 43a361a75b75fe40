package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	growSizes = flag.String("grow", "", "how many messages TestGrowth measures at, such as 10000,100000,1000000; the last may be a size of the file, such as 20GB")
	growDir   = flag.String("growdir", "", "the folder for TestGrowth's file, which is kept there for the next run")
)

// growRow is what TestGrowth measures once for each size of the file.
type growRow struct {
	name, unit string
	values     []float64
}

// growth is a file that grows, and what was measured of it.
type growth struct {
	t     *testing.T
	dir   string
	rows  []*growRow
	sizes []string
	s     *testServer // the addresses of the program
	cmd   *exec.Cmd
	words *benchWriter
}

// TestGrowth measures what a person waits for while a file grows from 10,000 messages to a million and more, each time with a fresh
// process, and draws it: testdata/growth.svg, a plot for each row. It takes half an hour and the disk that it fills: `make grow`.
func TestGrowth(t *testing.T) {
	if *growSizes == "" {
		skip(t, "a file grows to a million messages with `make grow` only")
	}
	g := &growth{t: t, dir: *growDir, words: newBenchWriter()}
	if g.dir == "" {
		g.dir = t.TempDir()
	}
	config := "hostname = \"mx.home.arpa\"\n[mdns]\nenabled = false\n[limits]\nper_address = 200\n[listen]\n"
	for _, name := range []string{"smtp", "imap", "http"} {
		config += fmt.Sprintf("%s = [\"127.0.0.1:0\"]\n", name)
	}
	if err := os.WriteFile(g.path("mail.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range strings.Split(*growSizes, ",") {
		messages, err := strconv.Atoi(size)
		if err == nil {
			g.fill(messages, 0)
			g.sizes = append(g.sizes, size)
		} else {
			octets, err := growOctets(size)
			if err != nil {
				t.Fatal(err)
			}
			g.fill(0, octets)
			g.sizes = append(g.sizes, size)
		}
		g.measure()
	}
	g.say()
	if err := os.WriteFile("testdata/growth.svg", []byte(g.draw()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// growOctets reads "20GB".
func growOctets(size string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(size, "GB"), 10, 64)
	return n * 1e9, err
}

func (g *growth) path(name string) string { return filepath.Join(g.dir, name) }

// fill brings ann's INBOX to so many small messages, or the file to so many octets by large attachments, and indexes them.
func (g *growth) fill(messages int, octets int64) {
	st, err := OpenStore(g.path("mail.db"), StoreOptions{})
	if err == nil {
		err = addTestUsers(st)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	defer st.Close()
	inbox := growInbox(g.t, st)
	began := time.Now()
	for n := int(inbox.UIDNext) - 1; ; {
		fi, err := os.Stat(g.path("mail.db"))
		if err != nil {
			g.t.Fatal(err)
		}
		if n >= messages && fi.Size() >= octets {
			break
		}
		var spools []*Spool
		batch := 500
		if octets > 0 {
			batch = 4
		}
		for i := range batch {
			sp := st.NewSpool(64 << 20)
			if octets > 0 {
				sp.Write(growLarge(g.mail(n+i), n+i))
			} else {
				sp.Write(g.mail(n + i))
			}
			spools = append(spools, sp)
		}
		mustWrite(g.t, st, func(tx *Tx) error {
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
		for _, sp := range spools {
			sp.Close()
		}
		n += len(spools)
	}
	filled := time.Since(began)
	if err := st.Index(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Logf("filled in %v, indexed in %v", filled.Round(time.Second), (time.Since(began) - filled).Round(time.Second))
}

func growInbox(t *testing.T, st *Store) (inbox Mailbox) {
	mustRead(t, st, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err == nil {
			inbox, err = tx.MailboxByName(u.ID, "INBOX")
		}
		return err
	})
	return inbox
}

// mail is a small message, in a conversation of five. "xyzzyneedle" is in the 500th, and then in every 400,000th.
func (g *growth) mail(i int) []byte {
	w := g.words
	var b strings.Builder
	sender := w.words[w.r.IntN(2000)]
	fmt.Fprintf(&b, "From: %s <%s@example.org>\r\nTo: Ann <ann@home.arpa>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d@grow.example.org>\r\n", w.words[i%5000], sender,
		strings.ReplaceAll(strings.TrimSpace(w.text(20)), "\r\n", " "), FormatDate(time.Date(2024, 1, 1, 0, i, 0, 0, time.UTC)), i)
	if i%5 > 0 {
		fmt.Fprintf(&b, "References: <%d@grow.example.org>\r\n", i-i%5)
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n")
	b.WriteString(w.text(300 + int(w.r.ExpFloat64()*600)))
	if i%400_000 == 500 {
		b.WriteString("\r\nxyzzyneedle\r\n")
	}
	return []byte(b.String())
}

// growLarge adds a file of some 5 MB to a message, which no compressor makes smaller than base64 is.
func growLarge(mail []byte, i int) []byte {
	r := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	raw := make([]byte, 4<<20)
	r.Read(raw)
	const plain = "Content-Type: text/plain; charset=utf-8\r\n\r\n"
	head, body, _ := strings.Cut(string(mail), plain)
	return []byte(head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + plain + body +
		"\r\n--b\r\nContent-Type: application/octet-stream; name=photo.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n" + benchBase64(string(raw)) + "\r\n--b--\r\n")
}

// start runs the program on the file, and returns what passed until it said that it listens, greeted somebody, and took mail.
func (g *growth) start() (listening, greeted, takes time.Duration) {
	if program := os.Getenv("POSTINO"); program != "" {
		g.cmd = exec.Command(program, "-config", g.path("mail.toml"), "serve")
	} else {
		g.cmd = selfCommand("-config", g.path("mail.toml"), "serve")
	}
	g.cmd.Stderr = os.Stderr
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	began := time.Now()
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { g.stop(true) })
	g.s = &testServer{addr: map[string]string{}}
	for sc := bufio.NewScanner(out); g.s.addr["http"] == "" && sc.Scan(); {
		if f := strings.Fields(sc.Text()); len(f) == 2 {
			g.s.addr[f[0]] = f[1]
		}
	}
	listening = time.Since(began)
	go io.Copy(io.Discard, out)
	nc, r, _ := dialService(g.t, g.s, "smtp")
	greeted = time.Since(began)
	defer nc.Close()
	if err := dialogue(nc, r, "EHLO test.home.arpa", "250"); err != nil {
		g.t.Fatal(err)
	}
	waitFor(g.t, "mail to be taken", func() bool {
		return dialogue(nc, r, "RSET", "250", "MAIL FROM:<b@test.home.arpa>", "250") == nil
	})
	return listening, greeted, time.Since(began)
}

func (g *growth) stop(kill bool) {
	if kill {
		g.cmd.Process.Kill()
	} else {
		g.cmd.Process.Signal(os.Interrupt)
	}
	g.cmd.Wait()
}

// forget takes the file out of the kernel's cache.
func (g *growth) forget() {
	for _, ext := range []string{"", "-wal"} {
		exec.Command("dd", "of="+g.path("mail.db")+ext, "oflag=nocache", "conv=notrunc,fdatasync", "count=0").Run()
	}
}

func (g *growth) note(name, unit string, value float64) {
	i := slices.IndexFunc(g.rows, func(r *growRow) bool { return r.name == name })
	if i < 0 {
		g.rows = append(g.rows, &growRow{name: name, unit: unit})
		i = len(g.rows) - 1
	}
	g.rows[i].values = append(g.rows[i].values, value)
}

func growMedian(n int, fn func()) float64 {
	var all []time.Duration
	for range n {
		began := time.Now()
		fn()
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return growMS(all[n/2])
}

func growMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// rss is the program's memory in MiB.
func (g *growth) rss() float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	var kib float64
	fmt.Sscan(after, &kib)
	return kib / 1024
}

// measure fills a column.
func (g *growth) measure() {
	g.forget()
	cold, _, _ := g.start()
	g.stop(false)
	warm, _, _ := g.start()
	g.note("idle: RSS", "MiB", g.rss())
	g.note("start to listening", "ms", growMS(warm))
	g.note("the same, nothing cached", "ms", growMS(cold))
	c := dialIMAP(g.t, g.s, "ann")
	exists := 0
	for _, l := range c.ok("SELECT INBOX") {
		if strings.HasSuffix(l, " EXISTS") {
			fmt.Sscanf(l, "* %d", &exists)
		}
	}
	g.note("messages", "", float64(exists))
	fi, err := os.Stat(g.path("mail.db"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.note("the file", "GB", float64(fi.Size())/1e9)
	drain := func(n int, command string) float64 { return growMedian(n, func() { c.drain(command) }) }
	g.note("SELECT", "ms", drain(5, "SELECT INBOX"))
	last := fmt.Sprintf("FETCH %d:* ", max(1, exists-99))
	g.note("FETCH of the last 100: flags", "ms", drain(21, last+"(UID FLAGS)"))
	g.note("FETCH of the last 100: envelopes", "ms", drain(21, last+"(UID ENVELOPE BODYSTRUCTURE)"))
	g.note("FETCH 1:* (UID FLAGS), a message", "µs", 1000*drain(3, "FETCH 1:* (UID FLAGS)")/float64(exists))
	one := func() { c.drain(fmt.Sprintf("FETCH %d BODY.PEEK[HEADER]", 1+rand.IntN(exists))) }
	g.note("one header at random", "ms", growMedian(201, one))
	if fi.Size()/int64(exists) < 100<<10 {
		one = func() { c.drain(fmt.Sprintf("FETCH %d BODY.PEEK[]", 1+rand.IntN(exists))) }
		g.note("one body at random", "ms", growMedian(201, one))
	} else {
		one = func() { c.drain(fmt.Sprintf("FETCH %d BODY.PEEK[]<0.4096>", 1+rand.IntN(exists))) }
		g.note("one body at random", "ms", growMedian(201, one))
	}
	g.note("STORE of one flag", "ms", growMedian(51, func() { c.drain(fmt.Sprintf(`STORE %d +FLAGS (\Flagged)`, 1+rand.IntN(exists))) }))
	g.note("SEARCH UNSEEN, a message", "µs", 1000*drain(3, "SEARCH UNSEEN")/float64(exists))
	g.note("SEARCH TEXT of a rare word", "ms", drain(3, "SEARCH TEXT xyzzyneedle"))
	g.note("the same, a message", "µs", 1000*drain(3, "SEARCH TEXT xyzzyneedle")/float64(exists))
	w := newWebClient(g.t, g.s).login("ann")
	box := w.find(`href="(/box/\d+)"`)
	w.raw(box)
	g.note("web: first page of the list", "ms", growMedian(21, func() { w.raw(box) }))
	g.note("web: a page in the middle", "ms", growMedian(21, func() { w.raw(fmt.Sprintf("%s?n=%d", box, exists/2+rand.IntN(exists/4)/50*50)) }))
	g.note("web: a search for a rare word", "ms", growMedian(1, func() { w.raw(box + "?q=xyzzyneedle") }))
	g.note("accepts a second, 16 clients", "/s", g.accepts(4000))
	g.note("after all of this: RSS", "MiB", g.rss())
	g.stop(true)
	listening, greeted, takes := g.start()
	g.note("after kill -9: listening", "ms", growMS(listening))
	g.note("after kill -9: the first greeting", "ms", growMS(greeted))
	g.note("after kill -9: mail is taken", "ms", growMS(takes))
	g.stop(true)
	g.forget()
	listening, greeted, takes = g.start()
	g.note("after kill -9, nothing cached: listening", "ms", growMS(listening))
	g.note("after kill -9, nothing cached: the first greeting", "ms", growMS(greeted))
	g.note("after kill -9, nothing cached: mail is taken", "ms", growMS(takes))
	g.stop(false)
}

// accepts delivers small messages over sixteen connections.
func (g *growth) accepts(n int64) float64 {
	var left atomic.Int64
	left.Store(n)
	var wg sync.WaitGroup
	text := string(g.mail(1))
	began := time.Now()
	for range 16 {
		wg.Go(func() {
			nc, err := net.Dial("tcp", g.s.addr["smtp"])
			if err != nil {
				g.t.Error(err)
				return
			}
			defer nc.Close()
			r := bufio.NewReader(nc)
			err = dialogue(nc, r, "", "220", "EHLO bench.home.arpa", "250")
			for err == nil && left.Add(-1) >= 0 {
				err = dialogue(nc, r, "MAIL FROM:<bob@lab2.arpa>\r\nRCPT TO:<bob@home.arpa>\r\nDATA", "250", "", "250", "", "354", text+"\r\n.", "250")
			}
			if err != nil {
				g.t.Error(err)
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds()
}
