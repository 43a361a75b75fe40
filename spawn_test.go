package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// spawnOutside are the names that mail that comes in, is read and goes out does not enter, and why, or where they are tried.
var spawnOutside = map[string]string{
	"fetch": "needs a server to fetch from", "fetch message": "the same", "mdns": "needs multicast", "mdns reader": "the same",
	"listener": "main's, which tests do without", "certificates": "needs a public CA: TestACME", "configuration": "needs a mail.toml: TestDomainVerb", "junk": "main's, too: TestJunk",
	"shutdown": "when all ends", "http shutdown": "the same",
	"imap waits": "needs IDLE", "store checker": "only of a file that was not closed",
	"queue deadline": "the same",
	"report":         "needs a message that is given up", "outcome": "needs a next hop that takes mail", "storing an outcome": "the same",
	"queued message": "TestQueueFaultHeld", "store waiting to write": "only of a file that can't be written",
	"index message": "TestIndexFault", "search message": "TestSearchFault", "index block": "TestIndexWhatIsRead", "content": "TestContentFault", "checking a sender": "TestPolicyFault",
	"heard report": "needs a report from a domain that stands for it",
}

// spawnNames finds the names under which the crew runs something: true for those that Keep starts.
func spawnNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "spawn.go" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fn, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Keep", "Result", "Guard"}, fn.Sel.Name) {
				return true
			}
			for _, a := range call.Args[:min(2, len(call.Args))] {
				if l, ok := a.(*ast.BasicLit); ok && l.Kind == token.STRING {
					name, _ := strconv.Unquote(l.Value)
					names[name] = names[name] || fn.Sel.Name == "Keep"
				}
			}
			return true
		})
	}
	return names
}

// TestSpawnPanics: a panic under each name that the crew knows ends what was being done and nothing else: mail comes in, is read,
// and goes out as far as it can.
func TestSpawnPanics(t *testing.T) {
	if os.Getenv("TEST_EXEC") != "" {
		skip(t, "a server for each name takes too long under emulation")
	}
	names := spawnNames(t)
	if len(names) < 20 {
		t.Fatalf("only %d names were found", len(names))
	}
	for name := range spawnOutside {
		if _, ok := names[name]; !ok {
			t.Errorf("%q is nowhere run", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if spawnOutside[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) { spawnPanic(t, name, names[name]) })
	}
}

// spawnPanic has a server fall over one name, once: from the start for what is kept, or else when it runs.
func spawnPanic(t *testing.T, name string, kept bool) {
	var armed, fallen atomic.Bool
	armed.Store(kept)
	s := startServerOn(t, filepath.Join(t.TempDir(), "mail.db"), StoreOptions{Inject: func(n string) {
		if n == name && armed.CompareAndSwap(true, false) {
			fallen.Store(true)
			panic("injected")
		}
	}}, `[routes]`, `"far.test" = "127.0.0.1:1"`, `[relay]`, `networks = ["127.0.0.0/8"]`)
	armed.Store(!fallen.Load())
	end := time.Now().Add(testPatience)
	for done := 0; done < 2; {
		if time.Now().After(end) {
			t.Fatalf("it does not go on: fallen %v, inbox %d, queue %d", fallen.Load(), len(s.inbox(t, "ann@home.arpa")), s.waiting())
		}
		time.Sleep(10 * time.Millisecond)
		if !spawnMail(s, "ann@home.arpa") || !spawnMail(s, "x@far.test") || !spawnRead(s) || !spawnTried(s) {
			continue
		}
		if fallen.Load() {
			done++ // and once more after it
		}
	}
	faults := s.crew.Faults()
	if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Name == name && f.Count == 1 }) {
		t.Errorf("noted: %+v", faults)
	}
}

// spawnTalk says lines and reads an answer to each, and says whether all were the ones that begin as they should.
func spawnTalk(addr string, lines ...string) bool {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(testPatience))
	r := bufio.NewReader(nc)
	for i := 0; i < len(lines); i += 2 {
		if lines[i] != "" {
			fmt.Fprintf(nc, "%s\r\n", lines[i])
		}
		for {
			got, err := r.ReadString('\n')
			if err != nil {
				return false
			}
			if strings.HasPrefix(got, lines[i+1]) {
				break
			}
			if !strings.HasPrefix(got, "*") {
				return false
			}
		}
	}
	return true
}

func spawnMail(s *testServer, to string) bool {
	return spawnTalk(s.addr["smtp"], "", "220 ", "HELO x", "250 ", "MAIL FROM:<b@out.test>", "250 ", "RCPT TO:<"+to+">", "250 ", "DATA", "354 ",
		"Subject: x\r\n\r\nword\r\n.", "250 ", "QUIT", "221 ")
}

func spawnRead(s *testServer) bool {
	return spawnTalk(s.addr["imap"], "", "* OK", "1 LOGIN ann secret", "1 OK", "2 SELECT INBOX", "2 OK", `3 SEARCH TEXT word`, "3 OK", "4 FETCH 1 RFC822.SIZE", "4 OK")
}

// spawnTried says whether the queue has tried a next hop, or waits to do it again.
func spawnTried(s *testServer) bool {
	items, err := read(s.store, func(tx *Tx) ([]Destination, error) { return tx.Destinations() })
	return err == nil && slices.ContainsFunc(items, func(d Destination) bool { return d.Failures > 0 || d.Error != "" })
}
