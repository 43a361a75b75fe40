package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// damagedMail puts three messages into ann's inbox, of which the second is longer than a chunk and damaged in a later one, and returns their contents.
func damagedMail(t *testing.T, s *testServer) []BlobID {
	t.Helper()
	long := strings.Repeat("three three three\n", 20000)
	inside := "Subject: outer\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nshort\n--b\nContent-Type: application/x\nContent-Disposition: attachment; filename=f.bin\n\n" +
		long + "\n--b--\n"
	for _, x := range []string{"Subject: one\n\none\n", inside, "Subject: three\n\n" + long} {
		s.put(t, "ann", "INBOX", x, FlagSeen)
	}
	var blobs []BlobID
	mustRead(t, s.store, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		inbox, err := tx.MailboxByName(u.ID, "INBOX")
		if err != nil {
			return err
		}
		return tx.Messages(inbox.ID, 1, ^UID(0), func(m *Message) error { blobs = append(blobs, m.Blob); return nil })
	})
	spoilContent(t, s.store, `UPDATE chunks SET data=substr(data,1,length(data)-1)||x'07' WHERE id=?`, int64(blobs[1])<<chunkBits|3)
	return blobs
}

// A message whose later chunk is damaged is not begun: the client hears so in words, on a connection that goes on, and has all of it that can be
// read if it asks for less than all.
func TestDamagedLater(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	damagedMail(t, s)
	c := dialIMAP(t, s, "ann@home.arpa")
	c.ok("SELECT INBOX")
	for _, x := range []struct {
		command string
		answers int
		damaged bool
	}{
		{"FETCH 1:3 BODY.PEEK[]", 2, true}, {"FETCH 1:3 BODY.PEEK[TEXT]", 2, true}, {"FETCH 2 BODY.PEEK[2]", 0, true}, {"FETCH 2 BINARY.PEEK[2]", 0, true},
		{"FETCH 2 BINARY.SIZE[2]", 0, true}, {"FETCH 2 BODY.PEEK[]<200000.100>", 0, true}, {"FETCH 2 (UID RFC822.SIZE BODY.PEEK[])", 0, true},
		{"FETCH 2 BODY.PEEK[]<0.1000>", 1, false}, {"FETCH 2 BODY.PEEK[]<10000000.100>", 1, false}, {"FETCH 2 BODY.PEEK[1]", 1, false},
		{"FETCH 2 BODY.PEEK[HEADER]", 1, false}, {"FETCH 2 BODY.PEEK[2.MIME]", 1, false}, {"FETCH 1:3 (ENVELOPE BODYSTRUCTURE)", 3, false}, {"FETCH 1:3 PREVIEW", 3, false},
		{"FETCH 1,3 BODY.PEEK[]", 2, false}, {"FETCH 1,3 BODY.PEEK[]", 2, false},
	} {
		got, tagged := c.do(x.command)
		if len(got) != x.answers || strings.HasPrefix(tagged, "NO [CORRUPTION] 1 of") != x.damaged {
			t.Errorf("%s: %d answers, %s", x.command, len(got), tagged)
		}
	}
	nc, r, _ := dialService(t, s, "pop3")
	ask := func(line string) string {
		nc.Write([]byte(line + "\r\n"))
		got, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return got
	}
	ask("USER ann@home.arpa")
	ask("PASS secret")
	if got := ask("RETR 2"); !strings.HasPrefix(got, "-ERR [SYS/PERM] The message is damaged") {
		t.Errorf("RETR: %.100q", got)
	}
	if got := ask("TOP 2 100000"); !strings.HasPrefix(got, "-ERR [SYS/PERM]") {
		t.Errorf("TOP: %.100q", got)
	}
	if got := ask("TOP 2 2"); !strings.HasPrefix(got, "+OK") {
		t.Errorf("TOP: %.100q", got)
	}
	ann := newWebClient(t, s).login("ann")
	box := s.folder(t, "ann", "INBOX").ID
	for path, want := range map[string]int{"/1/eml": http.StatusOK, "/2/eml": http.StatusServiceUnavailable, "/2/source": http.StatusServiceUnavailable,
		"/2/part/2": http.StatusServiceUnavailable, "/3/eml": http.StatusOK} {
		ann.get(fmt.Sprintf("/box/%d%s", box, path))
		if ann.code != want {
			t.Errorf("%s: %d", path, ann.code)
		}
	}
}

// Mail in the queue that the card has damaged is given back with that reason, and never sent in part; what is behind it goes.
func TestDamagedQueued(t *testing.T) {
	t.Parallel()
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.submit("ann@home.arpa", "x@far.example")
	spoilContent(t, qt.store, `UPDATE chunks SET data=substr(data,1,length(data)-1)||x'07' WHERE id=?`, int64(qt.queue()[0].Blob.ID)<<chunkBits)
	qt.submit("ann@home.arpa", "y@far.example")
	qt.step()
	qt.wantQueue(0)
	if got := p.received(); len(got) != 1 {
		t.Errorf("the peer got %d messages", len(got))
	}
	if in := qt.inbox(t, "ann@home.arpa"); len(in) != 1 || !strings.Contains(in[0], "the message was damaged on this machine's disk") {
		t.Errorf("ann got %q", in)
	}
}
