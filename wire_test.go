package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// testServer runs a whole appliance on loopback ports in a temporary folder. Its users are ann and bob @home.arpa, and
// everybody's password is "secret".
type testServer struct {
	*Server
	addr map[string]string // service → address
	path string            // of the database
	web  *webApp
}

var testSecret = sync.OnceValue(func() string {
	s, err := MakeSecret("secret", 4096)
	if err != nil {
		panic(err)
	}
	return s
})

// testFile is a database as it is after the first start: tables, a CA and a certificate for mx.home.arpa, ann and bob.
// Making it costs more than most tests do with it, and seconds where they are emulated or watched for races.
var testFile = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "postino")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "mail.db")
	st, err := OpenStore(path, StoreOptions{})
	if err != nil {
		return nil, err
	}
	cfg, err := parseConfig("hostname = \"mx.home.arpa\"")
	if err == nil {
		_, err = LoadTLS(cfg, st, slog.New(slog.DiscardHandler))
	}
	if err == nil {
		err = addTestUsers(st)
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// addTestUsers adds ann and bob, if they are not there, and sees that names that are not there cost as little.
func addTestUsers(st *Store) error {
	if st.Damaged() != nil {
		return nil
	}
	return st.Write(func(tx *Tx) error {
		for _, name := range []string{"ann", "bob"} {
			if _, err := tx.UserByName(name + "@home.arpa"); err == nil {
				continue
			}
			if _, err := tx.AddUser(Addr{name, "home.arpa"}, testSecret(), false); err != nil {
				return err
			}
		}
		return tx.SetSetting(settingIterations, []byte("4096"))
	})
}

func startServer(tb testing.TB, config ...string) *testServer {
	tb.Helper()
	return startServerOn(tb, filepath.Join(tb.TempDir(), "mail.db"), StoreOptions{}, config...)
}

// startServerOn starts a server on a file that may be there already.
func startServerOn(tb testing.TB, path string, opt StoreOptions, config ...string) *testServer {
	tb.Helper()
	s := openServer(tb, path, opt, config...)
	s.runQueue()
	return s
}

// openServer is startServerOn without a running queue.
func openServer(tb testing.TB, path string, opt StoreOptions, config ...string) *testServer {
	tb.Helper()
	cfg, err := parseConfig("hostname = \"mx.home.arpa\"\n" + strings.Join(config, "\n"))
	if err != nil {
		tb.Fatal(err)
	}
	opt.Service, opt.NoIndex = true, !cfg.Search.Index
	_, missing := os.Stat(path)
	if missing != nil && (opt.Now == nil || opt.Now().After(time.Now())) { // the file knows when it was made
		content, err := testFile()
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	st, err := OpenStore(path, opt)
	if err != nil {
		tb.Fatal(err)
	}
	s := &testServer{addr: map[string]string{}, path: path}
	if s.Server, err = NewServer(cfg, st, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatal(err)
	}
	if err := addTestUsers(st); err != nil {
		tb.Fatal(err)
	}
	for i := range services {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		s.addr[services[i].name] = l.Addr().String()
		go s.serve(l, &services[i])
		tb.Cleanup(func() { l.Close() })
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.addr["http"] = l.Addr().String()
	s.web = s.newWeb()
	s.web.entered = webEntered.note
	s.wg.Go(func() { s.serveHTTP(s.web, l, false) })
	tb.Cleanup(func() {
		s.Shutdown()
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// TestWire plays every testdata/wire/*.txt against a server of its own. The lines of a transcript are:
//
//	config TEXT      a line of mail.toml for this server
//	open a imap      open a connection called a to a service
//	a -> TEXT        send TEXT and CRLF
//	a => "TEXT"      send a Go string as it is
//	a <- TEXT        the next line is TEXT
//	a <~ REGEXP      the next line matches; (?P<name>…) binds $name
//	a <* TEXT        skip lines up to one that begins with TEXT
//	a <eof           the server closes the connection
//	a fill N         send N octets of text in short lines
//	a tls            begin TLS
func TestWire(t *testing.T) {
	files, _ := filepath.Glob("testdata/wire/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			playWire(t, f)
		})
	}
}

type wireConn struct {
	net.Conn
	r *bufio.Reader
}

type wirePlay struct {
	t     *testing.T
	s     *testServer
	conns map[string]*wireConn
	vars  map[string]string
	where string
}

func playWire(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# ") {
		t.Errorf("%s does not begin with what it shows", file)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > 60 {
		t.Errorf("%s has %d lines; make it two", file, len(lines))
	}
	var config []string
	for _, l := range lines {
		if c, ok := strings.CutPrefix(l, "config "); ok {
			config = append(config, c)
		}
	}
	p := &wirePlay{t: t, s: startServer(t, config...), conns: map[string]*wireConn{}, vars: map[string]string{}}
	for i, l := range lines {
		if l == "" || strings.HasPrefix(l, "#") || strings.HasPrefix(l, "config ") {
			continue
		}
		p.where = fmt.Sprintf("%s:%d: %s", file, i+1, l)
		p.line(l)
	}
}

func (p *wirePlay) fail(format string, a ...any) {
	p.t.Helper()
	p.t.Fatalf("%s\n\t%s", p.where, fmt.Sprintf(format, a...))
}

func (p *wirePlay) line(l string) {
	f := strings.SplitN(l, " ", 3)
	if len(f) < 2 {
		p.fail("what is that?")
	}
	if f[0] == "open" {
		p.open(f[1], f[2])
		return
	}
	c := p.conns[f[0]]
	if c == nil {
		p.fail("%s is not open", f[0])
	}
	text := ""
	if len(f) > 2 {
		text = f[2]
	}
	for k, v := range p.vars {
		text = strings.ReplaceAll(text, "$"+k, v)
	}
	switch f[1] {
	case "->":
		fmt.Fprintf(c, "%s\r\n", text)
	case "=>":
		raw, err := strconv.Unquote(text)
		if err != nil {
			p.fail("%v", err)
		}
		io.WriteString(c, raw)
	case "fill":
		n, err := strconv.Atoi(text)
		if err != nil {
			p.fail("%v", err)
		}
		line := strings.Repeat("x", 62) + "\r\n"
		io.WriteString(c, strings.Repeat(line, n/len(line)+1)[:n])
	case "<-":
		if got := p.read(c); got != text {
			p.fail("got %q", got)
		}
	case "<~":
		p.match(p.read(c), text)
	case "<*":
		for got := p.read(c); !strings.HasPrefix(got, text); got = p.read(c) {
		}
	case "<eof":
		c.SetReadDeadline(time.Now().Add(testPatience))
		if rest, err := c.r.ReadString('\n'); err == nil || rest != "" {
			p.fail("got %q, %v", rest, err)
		}
	case "tls":
		tc := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
		p.conns[f[0]] = &wireConn{tc, bufio.NewReader(tc)}
	default:
		p.fail("what is %q?", f[1])
	}
}

func (p *wirePlay) open(name, service string) {
	nc, err := net.Dial("tcp", p.s.addr[service])
	if err != nil {
		p.fail("%v", err)
	}
	p.t.Cleanup(func() { nc.Close() })
	for _, svc := range services {
		if svc.name == service && svc.tls {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		}
	}
	p.conns[name] = &wireConn{nc, bufio.NewReader(nc)}
}

func (p *wirePlay) read(c *wireConn) string {
	p.t.Helper()
	c.SetReadDeadline(time.Now().Add(testPatience))
	got, err := c.r.ReadString('\n')
	if err != nil {
		p.fail("read: %v (after %q)", err, got)
	}
	if !strings.HasSuffix(got, "\r\n") {
		p.fail("line without CRLF: %q", got)
	}
	return strings.TrimSuffix(got, "\r\n")
}

func (p *wirePlay) match(got, pattern string) {
	p.t.Helper()
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		p.fail("%v", err)
	}
	m := re.FindStringSubmatch(got)
	if m == nil {
		p.fail("got %q", got)
	}
	for i, name := range re.SubexpNames() {
		if name != "" {
			p.vars[name] = m[i]
		}
	}
}
