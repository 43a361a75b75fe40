package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestBrowser leads a real browser through the pages: testdata/browser/flow.mjs. It needs Chromium, Node and
// `npm ci --prefix testdata/browser`. Pictures for people to look at go to the folder that SCREENSHOTS names.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		skip(t, "the browser test takes a minute")
	}
	chromium := ""
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); name != "" && err == nil {
			chromium = p
			break
		}
	}
	node, err := exec.LookPath("node")
	if _, merr := os.Stat("testdata/browser/node_modules/playwright-core"); chromium == "" || err != nil || merr != nil {
		skip(t, "NO BROWSER TEST WAS RUN. It needs chromium, node and `npm ci --prefix testdata/browser`.")
	}
	t.Parallel() // it waits most of the time
	s := startServer(t, append(webListen, `http = [":8080"]`, `https = [":8443"]`)...)
	err = s.store.Write(func(tx *Tx) error { // a first start has no users
		all, err := tx.Users()
		for _, u := range all {
			if err == nil {
				err = tx.RemoveUser(u.ID)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	links, err := webSetupLinks(s.cfg, s.store)
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.addr["http"]
	_, code, _ := strings.Cut(links[0], "#")
	out := os.Getenv("SCREENSHOTS")
	if out == "" {
		out = t.TempDir()
	}
	cmd := exec.Command(node, "testdata/browser/flow.mjs", base, base+"/setup#"+code, out, "testdata/html", "testdata/browser")
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium)
	b, err := cmd.CombinedOutput()
	t.Logf("%s", b)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(b)), "ok") {
		t.Fatal("the browser found something: ", err)
	}
}

// TestWebLynx logs in, reads and writes with a browser that knows neither scripts nor style sheets.
func TestWebLynx(t *testing.T) {
	lynx, err := exec.LookPath("lynx")
	if err != nil {
		skip(t, "lynx is not installed")
	}
	s := startServer(t)
	s.put(t, "ann", "INBOX", "From: Rose <rose@home.arpa>\nSubject: Sunday lunch\n\nfirst line\nsecond line\n", 0)
	base := "http://" + s.addr["http"]
	var script strings.Builder
	press := func(keys ...string) {
		for _, k := range keys {
			fmt.Fprintf(&script, "key %s\n", k)
		}
	}
	text := func(words string) {
		for _, c := range words {
			press(strings.ReplaceAll(string(c), " ", "<space>"))
		}
	}
	look := func(words string) { press("/"); text(words); press("^J") }
	text("ann")
	press("Down Arrow")
	text("secret")
	press("Down Arrow", "Down Arrow", "^J")
	look("Sunday lunch")
	press("Down Arrow", "Right Arrow", "g", "^U") // beside its box
	text(base + "/compose?to=bob&subject=Yes&body=We+come.")
	press("^J")
	look("Send")
	press("^J", "Q", "y")
	dir := t.TempDir()
	for name, content := range map[string]string{"keys": script.String(), "cfg": "INFOSECS:0\nMESSAGESECS:0\nALERTSECS:0\nNO_PAUSE:TRUE\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(lynx, "-cfg="+filepath.Join(dir, "cfg"), "-accept_all_cookies", "-cmd_script="+filepath.Join(dir, "keys"), base+"/login")
	cmd.Env = append(os.Environ(), "TERM=vt100", "HOME="+dir, "LC_ALL=C.UTF-8")
	kill := time.AfterFunc(testPatience, func() { cmd.Process.Kill() })
	b, err := cmd.CombinedOutput()
	kill.Stop()
	if err != nil {
		t.Fatalf("lynx: %v %.500q", err, b)
	}
	if _, f := s.in(t, "ann", "INBOX"); f.Bits&FlagSeen == 0 {
		t.Errorf("the message was not opened: %.500q", b[max(len(b)-500, 0):])
	}
	s.hurry(t)
	bob := newWebClient(t, s).login("bob")
	bob.waitFor("/mail", `class="subj">Yes<`)
	ann := newWebClient(t, s).login("ann")
	ann.get(ann.find(`href="(/box/\d+/\d+)`))
	ann.want("first line<br>second line<br>")
}

// BenchmarkWebList is the server's time for pages of a mailbox of 100,000 messages: B/page is what goes over the wire. A
// search is measured both made anew and with its result at hand, as for its second page or the way back from a message.
func BenchmarkWebList(b *testing.B) {
	s := benchServer(b)
	c := newWebClient(b, s).login("ann")
	box := c.find(`href="(/box/\d+)"`)
	run := func(name, path string, anew bool) {
		b.Run(name, func(b *testing.B) {
			size := 0
			c.raw(path)
			for b.Loop() {
				if anew {
					s.web.found = webNewCache[string, webResult](webMaxSearches)
				}
				size = len(c.raw(path))
			}
			if c.code != http.StatusOK {
				b.Fatal(path, c.code)
			}
			b.ReportMetric(float64(size), "B/page")
		})
	}
	lists := [][2]string{{"first", box}, {"middle", box + "?n=50000"}, {"last", box + "?n=99950"}}
	for _, p := range lists {
		run(p[0], p[1], false)
	}
	b.Run("unseen", func(b *testing.B) { // pages that nobody has looked at before
		next := 99_000
		for b.Loop() {
			if c.raw(fmt.Sprintf("%s?n=%d", box, next)); c.code != http.StatusOK {
				b.Fatal(c.code)
			}
			if next -= webPageSize; next < webPageSize {
				next = 99_000
			}
		}
	})
	for _, p := range [][2]string{{"unread", "is:unread"}, {"rare", "xyzzyneedle"}, {"common", "meeting"}} {
		run(p[0], box+"?q="+p[1], true)
		run(p[0]+"/again", box+"?q="+p[1], false)
	}
	run("message", box+"/50000", false)
	c.get(box)
	c.post("/threads", "back", box)
	for _, p := range lists {
		run("conversations/"+p[0], p[1], false)
	}
	run("conversation", box+"/99990", false)
}

// TestWebWeight holds what a browser has to fetch for its first list of mail, and the script alone.
func TestWebWeight(t *testing.T) {
	s := startServer(t)
	w := newBenchWriter()
	for i := range webPageSize + 5 {
		s.put(t, "ann", "INBOX", strings.ReplaceAll(string(w.mail(i)), "\r\n", "\n"), 0)
	}
	c := newWebClient(t, s).login("ann")
	page := c.page
	if n := strings.Count(page, `class="mail unread"`); n != webPageSize {
		t.Fatalf("%d messages on the page", n)
	}
	total := len(c.raw(c.at))
	for _, m := range regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		n := len(c.raw(m[1]))
		if c.code != http.StatusOK {
			t.Errorf("%s: %d", m[1], c.code)
		}
		total += n
		if strings.Contains(m[1], ".js") && len(s.web.static["script.js"].plain) >= 32<<10 {
			t.Errorf("the script has %d octets, over the wire %d", len(s.web.static["script.js"].plain), n)
		}
	}
	t.Logf("%d octets for the first list", total)
	if total >= 60<<10 {
		t.Errorf("the first list weighs %d octets", total)
	}
	c.raw(c.at)
	if got := c.head.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("the page came with Content-Encoding %q", got)
	}
}

// TestWebMemory sends 50 MB up as an attachment and takes it down again, alone and in an archive, while somebody watches
// the heap.
func TestWebMemory(t *testing.T) {
	if testing.Short() {
		skip(t, "it moves 200 MB")
	}
	const size, flat = 50 << 20, 16 << 20
	s := startServer(t, "[limits]", `message = "100MB"`)
	ann := newWebClient(t, s).login("ann")
	ann.get("/compose")
	live := func() uint64 { // what the last collection has found in use: garbage depends on when it is collected
		m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(m)
		return m[0].Value.Uint64()
	}
	runtime.GC()
	before := live()
	var peak atomic.Uint64
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				peak.Store(max(peak.Load(), live()))
			}
		}
	}()
	check := func(what string) {
		t.Helper()
		t.Logf("%s: %d KB more than before at most", what, (int64(peak.Load())-int64(before))>>10)
		if peak.Swap(0) > before+flat {
			t.Errorf("%s takes more than %d MB", what, flat>>20)
		}
	}
	ann.letterFile("big.bin", webNoise(size), "to", "bob@home.arpa", "subject", "big", "text", "x", "do", "attach")
	ann.want("big.bin")
	check("upload")
	ann.letter(nil, "id", ann.find(`name="id" value="(\d+)"`), "to", "bob@home.arpa", "subject", "big", "text", "x", "do", "send")
	s.hurry(t)
	bob := newWebClient(t, s).login("bob")
	bob.waitFor("/mail", `class="subj">big`)
	check("sending")
	href := bob.find(`href="(/box/\d+/\d+)`)
	bob.get(href)
	for _, path := range []string{bob.find(`class="file" href="([^"]+)"`), href + "/all.zip", href + "/eml"} {
		res, err := bob.c.Get(bob.base + path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || n < size {
			t.Errorf("%s: %d octets, %v", path, n, err)
		}
		check(path)
	}
}

// webNoise is n octets that look like a file.
func webNoise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{1}), n)
}

// raw gets a page as a browser would, compressed.
func (c *webClient) raw(path string) []byte {
	c.t.Helper()
	r, err := http.NewRequest("GET", c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Encoding", "gzip")
	return []byte(c.do(r))
}
