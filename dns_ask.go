// Questions that Go's resolver does not ask: for any kind of record, with what the answer says of DNSSEC.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TypeTLSA is the kind of TLSA records (RFC 6698 §7.1), which dnsmessage has no name for.
const TypeTLSA dnsmessage.Type = 52

const (
	dnsTry     = 2 * time.Second // for one server to answer one question
	dnsRounds  = 2               // times that each server is asked
	dnsPacket  = 1232            // octets of an answer by UDP that come through everywhere unfragmented (RFC 9715 §3.2)
	dnsAliases = 8               // CNAMEs that are followed in an answer
	dnsLong    = 16 << 10        // octets of an answer by TCP; a stranger's nameserver could send 64 KiB, which take megabytes when they are read
	dnsRecords = 256             // of an answer, for the same reason
	dnsServers = 3               // of resolv.conf that are asked, as everybody does
	dnsReload  = 5 * time.Second // between looks at resolv.conf
	dnsConfig  = "/etc/resolv.conf"
)

// DNSAnswer is what the DNS said to one question.
type DNSAnswer struct {
	Records []dnsmessage.Resource // of the kind that was asked for, behind CNAMEs if there are any; none if the name has none
	Name    string                // whose they are: the name that was asked for, or what its CNAMEs lead to; with the dot at its end
	TTL     time.Duration         // the least of all that was used; 0 without records
	Secure  bool                  // a resolver that we trust says that DNSSEC proves it (AD, RFC 6840 §5.8)
}

// TXT are the texts of the answer's TXT records, each with its strings joined.
func (a DNSAnswer) TXT() []string {
	var all []string
	for _, r := range a.Records {
		if b, ok := r.Body.(*dnsmessage.TXTResource); ok {
			all = append(all, strings.Join(b.TXT, ""))
		}
	}
	return all
}

// MX are the hosts of the answer's MX records as they stand there.
func (a DNSAnswer) MX() []*net.MX {
	var all []*net.MX
	for _, r := range a.Records {
		if b, ok := r.Body.(*dnsmessage.MXResource); ok {
			all = append(all, &net.MX{Host: b.MX.String(), Pref: b.Pref})
		}
	}
	return all
}

// Addrs are the addresses of the answer's A and AAAA records.
func (a DNSAnswer) Addrs() []netip.Addr {
	var all []netip.Addr
	for _, r := range a.Records {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			all = append(all, netip.AddrFrom4(b.A))
		case *dnsmessage.AAAAResource:
			all = append(all, netip.AddrFrom16(b.AAAA).Unmap())
		}
	}
	return all
}

// PTR are the names of the answer's PTR records, with the dot at their end.
func (a DNSAnswer) PTR() []string {
	var all []string
	for _, r := range a.Records {
		if b, ok := r.Body.(*dnsmessage.PTRResource); ok {
			all = append(all, b.PTR.String())
		}
	}
	return all
}

// TLSARecord is what a TLSA record says of a certificate (RFC 6698 §2.1).
type TLSARecord struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// TLSA are the answer's TLSA records that can be read. They mean nothing unless the answer is Secure.
func (a DNSAnswer) TLSA() []TLSARecord {
	var all []TLSARecord
	for _, r := range a.Records {
		b, ok := r.Body.(*dnsmessage.UnknownResource)
		if ok && b.Type == TypeTLSA && len(b.Data) > 3 {
			all = append(all, TLSARecord{b.Data[0], b.Data[1], b.Data[2], b.Data[3:]})
		}
	}
	return all
}

// dnsStub asks the DNS servers of the machine itself, or those that it was given.
type dnsStub struct {
	given   []string // host:port; none reads file
	trustAD bool     // as in dnsConf, whatever file says
	file    string   // resolv.conf

	mu     sync.Mutex
	looked time.Time // when file was read
	conf   dnsConf
}

// dnsConf is what matters to us of a resolv.conf.
type dnsConf struct {
	servers []string // host:port
	trustAD bool     // what they say of DNSSEC is believed though they are elsewhere (resolv.conf(5))
}

// Ask asks for the records of one kind of a full name. No records and no error: the name is there and has none of this kind. Errors
// are *net.DNSError: IsNotFound says that there is no such name, and all others pass. What the answer holds is bounded by
// dnsLong and dnsRecords.
func (d *dnsStub) Ask(ctx context.Context, name string, kind dnsmessage.Type) (DNSAnswer, error) {
	full := strings.TrimSuffix(name, ".") + "."
	q, err := dnsmessage.NewName(full)
	if err == nil {
		_, err = dnsQuestion(0, q, kind, true)
	}
	if err != nil {
		return DNSAnswer{}, &net.DNSError{Err: "no name that the DNS can have", Name: name, IsNotFound: true}
	}
	conf := d.config()
	if len(conf.servers) == 0 {
		return DNSAnswer{}, &net.DNSError{Err: "this machine knows no DNS server", Name: name, IsTemporary: true}
	}
	var fault error
	for range dnsRounds {
		for _, server := range conf.servers {
			if ctx.Err() != nil {
				break
			}
			m, err := dnsExchange(ctx, server, q, kind)
			if err == nil {
				err = dnsRefusal(m.RCode)
			}
			if err == nil {
				return dnsRead(m, q, kind, conf.trusts(server))
			}
			fault = fmt.Errorf("%s: %w", server, err)
		}
	}
	if fault == nil {
		fault = ctx.Err()
	}
	var ne net.Error
	timeout := errors.Is(fault, context.DeadlineExceeded) || (errors.As(fault, &ne) && ne.Timeout())
	return DNSAnswer{}, &net.DNSError{Err: fault.Error(), UnwrapErr: fault, Name: name, IsTemporary: true, IsTimeout: timeout}
}

// config is the servers to ask. The file is looked at now and then: networks come and go.
func (d *dnsStub) config() dnsConf {
	if len(d.given) > 0 {
		return dnsConf{servers: d.given, trustAD: d.trustAD}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.looked.IsZero() && time.Since(d.looked) < dnsReload {
		return d.conf
	}
	d.looked = time.Now()
	text, err := os.ReadFile(d.file)
	if err == nil {
		d.conf = parseResolvConf(string(text))
		d.conf.trustAD = d.conf.trustAD || d.trustAD
	}
	return d.conf
}

func parseResolvConf(text string) dnsConf {
	var c dnsConf
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "nameserver" && len(c.servers) < dnsServers:
			if a, err := netip.ParseAddr(f[1]); err == nil {
				c.servers = append(c.servers, net.JoinHostPort(a.String(), "53"))
			}
		case f[0] == "options":
			for _, o := range f[1:] {
				c.trustAD = c.trustAD || o == "trust-ad"
			}
		}
	}
	return c
}

// trusts says whether a server is believed about DNSSEC: it is on this machine, or the machine's administrator says so. Between
// any other and us somebody may sit and write what they like.
func (c dnsConf) trusts(server string) bool {
	a, err := netip.ParseAddrPort(server)
	return c.trustAD || (err == nil && a.Addr().IsLoopback())
}

// dnsExchange puts one question to one server: by UDP, by TCP if the answer is too long for that, and without EDNS if the server
// does not know it.
func dnsExchange(ctx context.Context, server string, name dnsmessage.Name, kind dnsmessage.Type) (*dnsmessage.Message, error) {
	m, err := dnsTalk(ctx, "udp", server, name, kind, true)
	if err == nil && m.RCode == dnsmessage.RCodeFormatError {
		m, err = dnsTalk(ctx, "udp", server, name, kind, false)
	}
	if err == nil && m.Truncated {
		m, err = dnsTalk(ctx, "tcp", server, name, kind, true)
	}
	return m, err
}

// dnsRefusal is the error of an answer that answers nothing.
func dnsRefusal(code dnsmessage.RCode) error {
	if code == dnsmessage.RCodeSuccess || code == dnsmessage.RCodeNameError {
		return nil
	}
	return fmt.Errorf("the server answers %s", strings.TrimPrefix(code.String(), "RCode"))
}

// dnsTalk sends a question and waits for its answer, at most dnsTry.
func dnsTalk(ctx context.Context, network, server string, name dnsmessage.Name, kind dnsmessage.Type, edns bool) (*dnsmessage.Message, error) {
	id := uint16(rand.Uint32())
	packet, err := dnsQuestion(id, name, kind, edns)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTry)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	_, err = nc.Write(packet)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		b, err := dnsReceive(nc, network, buf)
		if err != nil {
			return nil, err
		}
		var m dnsmessage.Message
		err = dnsUnpack(&m, b)
		if err == nil && m.ID == id && m.Response && len(m.Questions) == 1 && m.Questions[0].Type == kind &&
			strings.EqualFold(m.Questions[0].Name.String(), name.String()) {
			return &m, nil
		}
		if network == "tcp" {
			return nil, errors.New("the server answers something else")
		} // by UDP anybody may have sent it: the server's own may still come
	}
}

var errDNSLong = errors.New("the answer is too long")

// dnsUnpack reads a message that has no more records than are worth it.
func dnsUnpack(m *dnsmessage.Message, b []byte) error {
	if len(b) < 12 {
		return io.ErrUnexpectedEOF
	}
	n := 0
	for i := 6; i < 12; i += 2 {
		n += int(binary.BigEndian.Uint16(b[i:]))
	}
	if n > dnsRecords {
		return errDNSLong
	}
	return m.Unpack(b)
}

// dnsReceive reads one message.
func dnsReceive(nc net.Conn, network string, buf []byte) ([]byte, error) {
	if network != "tcp" {
		n, err := nc.Read(buf)
		return buf[:n], err
	}
	_, err := io.ReadFull(nc, buf[:2])
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n > dnsLong {
		return nil, errDNSLong
	}
	b := make([]byte, n)
	_, err = io.ReadFull(nc, b)
	return b, err
}

// dnsQuestion is a question with AD, which asks for what the server knows of DNSSEC (RFC 6840 §5.7).
func dnsQuestion(id uint16, name dnsmessage.Name, kind dnsmessage.Type, edns bool) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true, AuthenticData: true},
		Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}}}
	if edns {
		var h dnsmessage.ResourceHeader
		err := h.SetEDNS0(dnsPacket, dnsmessage.RCodeSuccess, false)
		if err != nil {
			return nil, err
		}
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	return m.Pack()
}

// dnsRead takes the records that were asked for out of an answer, behind a bounded number of CNAMEs.
func dnsRead(m *dnsmessage.Message, name dnsmessage.Name, kind dnsmessage.Type, trusted bool) (DNSAnswer, error) {
	a := DNSAnswer{Name: name.String(), Secure: trusted && m.AuthenticData}
	if m.RCode == dnsmessage.RCodeNameError {
		return a, &net.DNSError{Err: "no such name", Name: name.String(), IsNotFound: true}
	}
	least := uint32(1<<32 - 1)
	for range dnsAliases {
		next := ""
		for _, r := range m.Answers {
			if r.Header.Class != dnsmessage.ClassINET || !strings.EqualFold(r.Header.Name.String(), a.Name) {
				continue
			}
			alias, ok := r.Body.(*dnsmessage.CNAMEResource)
			switch {
			case r.Header.Type == kind:
				a.Records = append(a.Records, r)
				least = min(least, r.Header.TTL)
			case ok:
				next = alias.CNAME.String()
				least = min(least, r.Header.TTL)
			}
		}
		if len(a.Records) > 0 {
			a.TTL = time.Duration(least) * time.Second
			return a, nil
		}
		if next == "" || strings.EqualFold(next, a.Name) {
			return a, nil
		}
		a.Name = next
	}
	return DNSAnswer{}, &net.DNSError{Err: "its CNAMEs lead nowhere", Name: name.String(), IsTemporary: true}
}
