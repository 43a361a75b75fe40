// The server: listeners, connections and their limits, start and stop.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	writeTimeout = 2 * time.Minute  // for a client to take what fills one buffer
	loginTimeout = 60 * time.Second // for a client to log in, over all its commands; on port 25 nobody has to
	stopTimeout  = 5 * time.Second  // for connections to end when the server stops
	acceptPause  = 5 * time.Millisecond
	acceptMax    = time.Second // between tries to accept when file descriptors have run out
)

// Server is the appliance. There are no mutable package variables: a test runs as many as it likes.
type Server struct {
	cfg   *Config
	store *Store
	log   *slog.Logger
	crew  *Crew
	auth  *Auth
	tls   *TLS
	dial  func(ctx context.Context, network, addr string) (net.Conn, error) // how the queue reaches other servers
	dns   Resolver
	ring  *dkimRing

	world     func(ctx context.Context, network, addr string) (net.Conn, error) // how servers of the internet are reached that are asked by https
	roots     *x509.CertPool                                                    // who is believed about other servers' names; nil is whom the machine believes
	stsFailed stsFailures
	tally     tlsTally
	judged    countTally[DMARCCount] // mail under the names of others

	scripts  sieveCache
	partners partnerNames
	srs      srsRing
	health   dnsHealth
	answers  *dnsCache

	stop    context.Context // done when the server is stopping
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	serial  atomic.Int64
	mu      sync.Mutex
	conns   map[*conn]bool
	waiting map[netip.Prefix]int // connections of a network that are not logged in
	people  map[UserID]int       // connections of somebody who is
	junk    junkTaught
	busy    map[UserID]bool // maildrops that a POP3 session has locked
	sent    sentSizes
	told    atomic.Int64 // octets of IMAP commands that are held in memory, see imapParser.hold

	went, refused atomic.Int64 // recipients elsewhere that took mail, and that did not for good, since the start

	askedFor map[string]time.Time // when a domain's queue was asked for (ETRN); guarded by mu

	devices map[string]*sendingUse // how much each [[device]] may send just now; guarded by mu

	// turn sends what waits for the domains over nc, which the other side opened (ATRN), and returns when that is done. It
	// returns false and sends nothing if another connection is carrying that mail. nil until the queue runs; guarded by mu.
	turn func(nc net.Conn, host string, domains []string) bool

	recent *logMemory // the last lines of log
	floods *logFloods
}

// sendingUse is a bucket that fills with the device's rate and holds a tenth of an hour's messages at least.
type sendingUse struct {
	left float64
	at   time.Time
}

// deviceMay counts a message of a device and says whether it is within its rate.
func (s *Server) deviceMay(d *SendingDevice) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	most, now := max(float64(d.Rate)/10, 1), time.Now()
	if s.devices == nil {
		s.devices = map[string]*sendingUse{}
	}
	u := s.devices[d.Name]
	if u == nil {
		u = &sendingUse{left: most, at: now}
		s.devices[d.Name] = u
	}
	u.left, u.at = min(most, u.left+now.Sub(u.at).Hours()*float64(d.Rate)), now
	if u.left < 1 {
		return false
	}
	u.left--
	return true
}

// service is one kind of listener; the table of them is in main.go.
type service struct {
	name   string // its key in [listen]
	listen func(*Config) []string
	tls    bool // from the first octet on
	handle func(*Server, *conn)
	full   string // what a client hears when there are too many, without CRLF
}

// NewServer puts the appliance together; nothing listens yet.
func NewServer(cfg *Config, store *Store, log *slog.Logger) (*Server, error) {
	ring, ok := log.Handler().(*logRing)
	if !ok {
		ring = newLogRing(log.Handler())
		log = slog.New(ring)
	}
	t, err := LoadTLS(cfg, store, log)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, store: store, log: log, crew: store.crew, auth: NewAuth(cfg, store), tls: t, dns: NewResolver(cfg.DNS.Servers, cfg.DNS.TrustAD),
		ring: &dkimRing{store: store}, health: dnsHealth{crew: store.crew}, answers: newDNSCache(store.crew),
		dial:  (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		world: (&net.Dialer{Timeout: 10 * time.Second, Control: onlyPublic}).DialContext,
		junk:  junkTaught{minds: map[UserID]*junkMind{}}, conns: map[*conn]bool{}, askedFor: map[string]time.Time{}, waiting: map[netip.Prefix]int{}, people: map[UserID]int{}, busy: map[UserID]bool{},
		recent: ring.mem, floods: newLogFloods(),
	}
	s.stop, s.cancel = context.WithCancel(context.Background())
	s.auth.stop = s.stop.Done()
	return s, nil
}

// runCertificates gets certificates from the public CA of [tls] acme, as long as there is one.
func (s *Server) runCertificates() {
	s.crew.Keep(&s.wg, "certificates", s.stop.Done(), func() { s.tls.RunACME(s.stop, func() Resolver { return s.dns }) })
}

// followConfig takes over what may change in mail.toml while the appliance runs (Config.Follow).
func (s *Server) followConfig(wake <-chan os.Signal) {
	s.crew.Keep(&s.wg, "configuration", s.stop.Done(), func() {
		s.cfg.Follow(s.stop.Done(), wake, func(changed bool, err error) {
			if err != nil {
				s.log.Error("mail.toml has changed and can't be used; all stays as it was", "err", err)
				return
			}
			s.log.Info("mail.toml has changed: domains and [tls] acme hold from now on, all else from the next start on", "domains", s.cfg.DomainsNow())
			if changed {
				s.tls.AskAgain()
			}
		})
	})
}

// conn is what every line protocol shares: buffers, limits, TLS, deadlines. It belongs to one goroutine. Writes go to
// w and are flushed once for each command; w keeps the first error.
type conn struct {
	srv     *Server
	net     net.Conn
	raw     net.Conn // what net was before TLS
	r       *bufio.Reader
	w       *bufio.Writer
	log     *slog.Logger
	svc     *service
	id      int64
	remote  netip.Addr   // without zone, IPv4 as IPv4
	from    netip.Prefix // what it counts against before login
	secure  bool         // TLS, or a UNIX socket
	started time.Time
	counted bool      // among waiting; guarded by srv.mu
	person  UserID    // among people, 0 not; guarded by srv.mu
	asked   time.Time // when the client was last asked for something; guarded by srv.mu
	dropped bool      // another one has its place; guarded by srv.mu
}

// What conn.line can fail with, beside io errors.
var (
	errLineTooLong = errors.New("line too long")
	errIdle        = errors.New("idle for too long")
	errStopping    = errors.New("the server is stopping")
	errInjected    = errors.New("octets in front of the TLS handshake")
)

// serve accepts connections until the listener is closed.
func (s *Server) serve(l net.Listener, svc *service) {
	pause := acceptPause
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			s.receive(nc, svc)
		case s.stop.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, most likely: waiting helps, spinning does not
			s.log.Warn("accept", "service", svc.name, "err", err)
			time.Sleep(pause)
			pause = min(2*pause, acceptMax)
		}
	}
}

// receive admits a connection, and finds out first for whom it is if a proxy has made it.
func (s *Server) receive(nc net.Conn, svc *service) {
	if !s.isProxy(remoteAddr(nc)) {
		s.admit(nc, svc)
		return
	}
	s.crew.Go(nil, "connection", func() {
		client, err := behindProxy(nc)
		if err != nil {
			s.crew.Complain("proxy", err, "proto", svc.name, "remote", remoteAddr(nc))
			nc.Close()
			return
		}
		s.admit(client, svc)
	})
}

// admit starts a connection, or turns it away when there are too many.
func (s *Server) admit(nc net.Conn, svc *service) {
	c := &conn{srv: s, net: nc, raw: nc, svc: svc, id: s.serial.Add(1), remote: remoteAddr(nc), started: time.Now()}
	c.from = networkOf(c.remote)
	c.asked = c.started
	c.log = slog.New(s.floods.of(s.log.Handler(), c.from)).With("conn", c.id, "proto", svc.name)
	c.secure = svc.tls || nc.LocalAddr().Network() == "unix"
	if !s.enter(c) {
		c.log.Warn("too many connections", "remote", c.remote)
		if !svc.tls && svc.full != "" {
			nc.SetWriteDeadline(time.Now().Add(time.Second))
			io.WriteString(nc, svc.full+"\r\n")
		}
		nc.Close()
		return
	}
	s.crew.Go(nil, "connection", func() {
		defer s.wg.Done()
		defer c.close()
		if svc.tls {
			if err := c.handshake(); err != nil {
				c.log.Info("tls", "remote", c.remote, "err", err)
				return
			}
		}
		s.store.AwaitCheck()
		c.r, c.w = bufio.NewReader(c), bufio.NewWriter(c)
		s.crew.Guard("conversation", func() error { svc.handle(s, c); return nil })
		c.w.Flush()
	})
}

func remoteAddr(nc net.Conn) netip.Addr {
	if ap, err := netip.ParseAddrPort(nc.RemoteAddr().String()); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	return netip.IPv6Loopback() // a UNIX socket
}

func (c *conn) close() {
	c.net.Close()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.leave()
	delete(c.srv.conns, c)
}

// Read and Write are the buffers' way to the network.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.net.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = errIdle
		if c.srv.stop.Err() != nil {
			err = errStopping
		}
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
	return c.net.Write(p)
}

// wait gives the client so long to send what is read next.
func (c *conn) wait(d time.Duration) {
	now := time.Now()
	until := now.Add(d)
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.asked = now
	if c.srv.stop.Err() != nil {
		until = time.Now()
	}
	c.net.SetReadDeadline(until)
}

// line reads a line of at most that many octets without its line end, and takes a bare LF for one. The whole line must come
// within d. After errLineTooLong the line has been read to its end, as long as it ends within 64 times the maximum.
func (c *conn) line(most int, d time.Duration) (string, error) {
	c.wait(d)
	var long []byte
	for {
		part, err := c.r.ReadSlice('\n')
		if err == nil && long == nil {
			if len(part) > most+2 {
				return "", errLineTooLong
			}
			return strings.TrimSuffix(strings.TrimSuffix(string(part), "\n"), "\r"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) && err != nil {
			return "", err
		}
		long = append(long, part...)
		if len(long) > most+2 {
			if err == nil {
				return "", errLineTooLong
			}
			return "", c.skipLine(64 * most)
		}
		if err == nil {
			return strings.TrimSuffix(strings.TrimSuffix(string(long), "\n"), "\r"), nil
		}
	}
}

// skipLine drops the rest of a line that is too long, up to that many octets.
func (c *conn) skipLine(most int) error {
	for n := 0; n < most; {
		part, err := c.r.ReadSlice('\n')
		if err == nil {
			return errLineTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		n += len(part)
	}
	return fmt.Errorf("%w, without end", errLineTooLong)
}

// isHTTP knows the first line of a browser that was led to this port to have it say a mail protocol's commands: it is cut off there.
func isHTTP(line string) bool {
	verb, _, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "HOST:":
		return true
	}
	return false
}

func (c *conn) handshake() error {
	cfg := c.srv.tls.MailConfig(c.svc.name)
	if d := c.srv.cfg.sendingDevice(c.remote); d != nil && d.OldTLS {
		cfg = c.srv.tls.OldConfig(cfg)
	}
	tc := tls.Server(c.net, cfg)
	tc.SetDeadline(time.Now().Add(loginTimeout))
	ctx, cancel := context.WithTimeout(c.srv.stop, loginTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	tc.SetDeadline(time.Time{})
	c.net, c.secure = tc, true
	return nil
}

// startTLS begins TLS after the client has been told to go ahead. Octets that the client sent before are an attack or a
// mistake, and end the connection: they would be taken for encrypted ones (CVE-2011-0411).
func (c *conn) startTLS() error {
	if c.r.Buffered() > 0 {
		return errInjected
	}
	if err := c.handshake(); err != nil {
		return err
	}
	c.r.Reset(c)
	c.w.Reset(c)
	return nil
}

// mayLogIn says whether passwords may cross this connection: under TLS, from a [auth] plaintext network, or from a device.
func (c *conn) mayLogIn() bool {
	return c.secure || contains(c.srv.cfg.Auth.Plaintext, c.remote) || c.srv.cfg.sendingDevice(c.remote) != nil
}

// binding is the channel binding tls-exporter (RFC 9266 §2), nil without TLS 1.3.
func (c *conn) binding() []byte {
	tc, ok := c.net.(*tls.Conn)
	if !ok {
		return nil
	}
	st := tc.ConnectionState()
	if st.Version < tls.VersionTLS13 {
		return nil
	}
	b, err := st.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return b
}

// loginFrom is what the SASL mechanisms have to know of the connection; SMTP sets login.
func (c *conn) loginFrom() loginFrom {
	return loginFrom{addr: c.remote, plain: c.mayLogIn(), binding: c.binding()}
}

// Shutdown stops accepting, asks every connection to end, and waits for them and for the background work.
func (s *Server) Shutdown() {
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.raw.SetReadDeadline(time.Now())
	}
	s.mu.Unlock()
	done := s.crew.Result("shutdown", func() error { s.wg.Wait(); return nil })
	select {
	case <-done:
		return
	case <-time.After(stopTimeout):
	}
	s.mu.Lock()
	for c := range s.conns {
		c.raw.Close()
	}
	s.mu.Unlock()
	<-done
}
