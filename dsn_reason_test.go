package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// What the system says of a network is told in sentences, in both languages.
func TestReasons(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: err}
	}
	call := func(n syscall.Errno) error { return dial(os.NewSyscallError("connect", n)) }
	for want, errs := range map[string][]error{
		reasonRefused:                    {call(syscall.ECONNREFUSED)},
		reasonHungUp:                     {call(syscall.ECONNRESET), call(syscall.EPIPE), io.ErrUnexpectedEOF, io.EOF},
		reasonNoWay:                      {call(syscall.ENETUNREACH), call(syscall.EHOSTUNREACH)},
		reasonTimeout:                    {call(syscall.ETIMEDOUT), dial(os.ErrDeadlineExceeded), context.DeadlineExceeded},
		reasonUnreachable:                {call(syscall.EADDRNOTAVAIL), call(syscall.EACCES), dial(errors.New("strange"))},
		reasonNoName:                     {dial(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true})},
		"DNS: " + reasonNoDNS:            {fmt.Errorf("DNS: %w", dnsError("x", false))},
		"TLS failed: " + reasonCert:      {fmt.Errorf("%w: %w", smtpErrTLS, x509.UnknownAuthorityError{})},
		"TLS failed: " + reasonHungUp:    {fmt.Errorf("%w: %w", smtpErrTLS, io.EOF)},
		"there is no such domain: x.org": {fmt.Errorf("%w: x.org", errNoDomain)},
		"550 5.1.1 dial tcp":             {errors.New("550 5.1.1 dial tcp")},
	} {
		for _, err := range errs {
			if got := reasonText(err); got != want {
				t.Errorf("%v: %q, not %q", err, got, want)
			}
		}
	}
	for _, err := range []error{errNoUser, errDisabled, errForeign, errAliasLoop, errMailLoop, errCaller, errNeverFits, errLate, errNoDomain, errNullMX, errMXSelf,
		errAway, errInternal, smtpErrTLS, smtpErrReply, smtpErrPassword, smtpErrNoAuth, smtpErrSize, smtpErrRequireTLS} {
		for _, text := range []string{err.Error(), err.Error() + ": x.example"} {
			if zh := reasonChinese(text); zh == text || strings.HasPrefix(zh, "there") {
				t.Errorf("%q is not there in Chinese", text)
			}
		}
	}
	if got := reasonChinese("TLS failed: " + reasonCert); got != "加密连接失败：对方服务器的证书不可信" {
		t.Errorf("got %q", got)
	}
}

// A refused connection is told to people without the system's words, where they see it: the queue, and the report.
func TestReasonsShown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.cfg.Routes = map[string]Route{".": {Hosts: []string{addr}}}
	qt.submit("ann@home.arpa", "x@far.example")
	qt.step()
	if got := qt.destinationError(t); got != reasonRefused {
		t.Errorf("destination: %q", got)
	}
	items := qt.queue()
	if r := items[0].Rcpts[0]; r.Error != reasonRefused || !r.Next.After(qt.store.Now()) {
		t.Errorf("recipient: %q, next try at %v, now it is %v", r.Error, r.Next, qt.store.Now())
	}
}

// What strangers wrote reaches no terminal as anything but text.
func TestWritePlain(t *testing.T) {
	var b strings.Builder
	in := "Subject: \x1b]0;owned\x07\x1b[2J\r\n\tüx 你好 \u202eevil\u2069 \u009b31m\x7f\x00\xff\xfe end\n"
	if err := writePlain(&b, iotest.OneByteReader(strings.NewReader(in))); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	(&command{err: &said}).status(verb{name: "queue"}, errors.New("nothing is called \x1b[31m"))
	if said.String() != "postino queue: nothing is called ?[31m\n" {
		t.Errorf("%q", said.String())
	}
	if want := "Subject: ?]0;owned??[2J\n\tüx 你好 ?evil? ?31m???? end\n"; b.String() != want {
		t.Errorf("%q, not %q", b.String(), want)
	}
}

// A message that can never fit is given back at once; the other recipient has it.
func TestNeverFits(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	qt.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("bob@home.arpa")
		if err != nil {
			return err
		}
		u.Quota = 20
		return tx.UpdateUser(u)
	})
	err := qt.acceptAs(t, "ann@home.arpa", "Subject: x\r\n\r\n"+strings.Repeat("x\r\n", 100))
	if !errors.Is(err, errNeverFits) {
		t.Errorf("alone: %v", err)
	}
	err = qt.bringFor(t, rcptsTo(mustAddr(t, "ann@home.arpa"), mustAddr(t, "bob@home.arpa")), func(m *Mail) { m.From = mustAddr(t, "ann@home.arpa") })
	if err != nil {
		t.Fatal(err)
	}
	qt.step()
	qt.wantQueue(0)
	if box := qt.inbox(t, "ann@home.arpa"); len(box) != 2 || !strings.Contains(box[1], "Status: 5.2.3") {
		t.Errorf("ann has %q", box)
	}
}
