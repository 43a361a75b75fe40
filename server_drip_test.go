package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// A line of a client's, and an answer of a server that mail is fetched from, must come whole in the time that there is for it: octets that come
// one by one give it no more.
func TestDrippingPeers(t *testing.T) {
	s := startServer(t)
	dripping := func() net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		go drip(theirs)
		return ours
	}
	c := &conn{srv: s.Server, net: dripping()}
	c.r = bufio.NewReader(c)
	if _, err := c.line(1<<20, 100*time.Millisecond); !errors.Is(err, errIdle) {
		t.Errorf("a client: %v", err)
	}
	f := &fetchConn{s: s.Server, nc: dripping(), patience: 100 * time.Millisecond}
	f.r = bufio.NewReaderSize(f, fetchLine)
	f.answers.r = f.r
	f.wait()
	if _, err := f.line(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server's line: %v", err)
	}
	f.nc = dripping()
	f.r.Reset(f)
	f.answers.begin()
	f.wait()
	var err error
	for err == nil {
		_, err = f.answers.next()
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server's answer: %v", err)
	}
}

// webGiven counts how often a request was given more time.
type webGiven struct {
	*httptest.ResponseRecorder
	times int
}

func (w *webGiven) SetReadDeadline(time.Time) error { w.times++; return nil }

// byOctet reads one octet at a time.
type byOctet struct{ io.Reader }

func (r byOctet) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }

// An upload has more time with each block, and not with each octet.
func TestDrippingUpload(t *testing.T) {
	w := &webGiven{ResponseRecorder: httptest.NewRecorder()}
	p := &webPatient{ctl: http.NewResponseController(w), body: io.NopCloser(byOctet{io.LimitReader(zeros{}, 2*webStallBlock)})}
	n, err := io.Copy(io.Discard, p)
	if n != 2*webStallBlock || err != nil || w.times != 3 {
		t.Errorf("%d octets, %v: it was given time %d times, not 3", n, err, w.times)
	}
}
