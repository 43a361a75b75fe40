// Proxies: whose word on the client's address counts.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	proxyWait = time.Second // for the header of a proxy, which sends it at once; then it is a client on the proxy's machine
	proxyLine = 107         // octets of a header of version 1 at most, as its specification says
	proxyMost = 2048        // octets of one of version 2 that we read
)

// proxySignature begins a header of version 2.
var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

var errProxyHeader = errors.New("no valid header of the PROXY protocol")

// proxiedConn is a connection whose client is not the other end.
type proxiedConn struct {
	net.Conn
	r    *bufio.Reader
	from net.Addr
}

func (c *proxiedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *proxiedConn) RemoteAddr() net.Addr       { return c.from }

// isProxy says whether an address is one of [http] proxies.
func (s *Server) isProxy(a netip.Addr) bool { return contains(s.cfg.HTTP.Proxies, a) }

// behindProxy reads the header of the PROXY protocol, version 1 or 2 (haproxy's proxy-protocol.txt), from a connection of a proxy,
// and returns the connection as one of the client. Without a header it is the proxy's own.
func behindProxy(nc net.Conn) (net.Conn, error) {
	c := &proxiedConn{Conn: nc, r: bufio.NewReaderSize(nc, proxyMost+16), from: nc.RemoteAddr()}
	nc.SetReadDeadline(time.Now().Add(proxyWait))
	defer nc.SetReadDeadline(time.Time{})
	first, err := c.r.Peek(1)
	switch {
	case err != nil && len(first) == 0:
		var slow net.Error
		if errors.As(err, &slow) && slow.Timeout() { // a program on the proxy's machine, waiting for our greeting
			return c, nil
		}
		return nil, err
	case first[0] == 'P':
		return c, c.version1()
	case first[0] == proxySignature[0]:
		return c, c.version2()
	}
	return c, nil
}

// version1 reads "PROXY TCP4 source destination sourceport destinationport". A command that begins with a P is none.
func (c *proxiedConn) version1() error {
	if head, err := c.r.Peek(6); err != nil || string(head) != "PROXY " {
		return nil
	}
	line, err := c.r.ReadString('\n')
	if err != nil || len(line) > proxyLine {
		return errProxyHeader
	}
	f := strings.Fields(line)
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return nil
	}
	if len(f) != 6 || (f[1] != "TCP4" && f[1] != "TCP6") {
		return errProxyHeader
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(f[2], f[4]))
	if err != nil {
		return errProxyHeader
	}
	c.from = net.TCPAddrFromAddrPort(a)
	return nil
}

// version2 reads the binary header: signature, version and command, family, length, addresses.
func (c *proxiedConn) version2() error {
	head, err := c.r.Peek(16)
	if err != nil || !bytes.HasPrefix(head, proxySignature) || head[12]>>4 != 2 {
		return errProxyHeader
	}
	n := 16 + int(binary.BigEndian.Uint16(head[14:]))
	if n > proxyMost {
		return errProxyHeader
	}
	all, err := c.r.Peek(n)
	if err != nil {
		return errProxyHeader
	}
	body := all[16:]
	switch proxied := head[12]&15 == 1; {
	case proxied && head[13] == 0x11 && len(body) >= 12:
		a, _ := netip.AddrFromSlice(body[:4])
		c.from = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, binary.BigEndian.Uint16(body[8:])))
	case proxied && head[13] == 0x21 && len(body) >= 36:
		a, _ := netip.AddrFromSlice(body[:16])
		c.from = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, binary.BigEndian.Uint16(body[32:])))
	}
	c.r.Discard(n)
	return nil
}

// forwardedFor finds the client of a request in X-Forwarded-For, to which each proxy adds the address that it saw at the end: the
// last one that is no proxy of ours. from is who sent the request.
func (s *Server) forwardedFor(from netip.Addr, fields []string) netip.Addr {
	if !s.isProxy(from) {
		return from
	}
	all := strings.Split(strings.Join(fields, ","), ",")
	for i := len(all) - 1; i >= 0; i-- {
		text := strings.TrimSpace(all[i])
		a, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			ap, perr := netip.ParseAddrPort(text)
			if perr != nil {
				return from
			}
			a = ap.Addr()
		}
		from = a.Unmap().WithZone("")
		if !s.isProxy(from) {
			return from
		}
	}
	return from
}
