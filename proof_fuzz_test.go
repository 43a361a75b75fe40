package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzSTS: a policy that is taken has bounds, and is the same when it is written and read again; records of all kinds are read.
func FuzzSTS(f *testing.F) {
	f.Add("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n")
	f.Add("version: STSv1\nmode: none\nmax_age: 86400\nmx: bücher.example.\n")
	f.Add("v=STSv1; id=20160831085700Z;")
	f.Add("v=TLSRPTv1; rua=mailto:reports%2Bx@example.com,https://r.example/v1?x=1")
	f.Fuzz(func(t *testing.T, text string) {
		if id := stsRecord([]string{text}); len(id) > 32 {
			t.Errorf("id %q", id)
		}
		mail, posts := tlsWanted([]string{text})
		if len(mail)+len(posts) > tlsPlaces {
			t.Errorf("%v %v", mail, posts)
		}
		for _, p := range posts {
			if !strings.HasPrefix(p, "https://") {
				t.Errorf("%q", p)
			}
		}
		p, err := parseSTS(text)
		if err != nil {
			return
		}
		if len(p.Hosts) > stsHosts || p.MaxAge < 0 || p.MaxAge > stsMaxAge {
			t.Errorf("%+v", p)
		}
		again, err := parseSTS(p.String())
		if err != nil || again.Mode != p.Mode || again.MaxAge != p.MaxAge || !slices.Equal(again.Hosts, p.Hosts) {
			t.Errorf("%q became %q: %v", text, p, err)
		}
		for _, h := range p.Hosts {
			host := strings.Replace(h, "*.", "x.", 1)
			if !p.names(host) {
				t.Errorf("%q does not name %q", p, host)
			}
		}
	})
}

// FuzzTLSA: whatever a name server answers, a certificate passes only if a record of the host's own is of it.
func FuzzTLSA(f *testing.F) {
	ca := newTestCA(f)
	pair := ca.pair("mx.example.org")
	other := newTestCA(f).pair("mx.example.org").Leaf
	name := dnsmessage.MustNewName("_25._tcp.mx.example.org.")
	packet := func(records ...TLSARecord) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{Response: true, AuthenticData: true}, Questions: []dnsmessage.Question{{Name: name, Type: TypeTLSA, Class: dnsmessage.ClassINET}}}
		for _, r := range records {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: TypeTLSA, Class: dnsmessage.ClassINET, TTL: 300},
				Body: &dnsmessage.UnknownResource{Type: TypeTLSA, Data: append([]byte{r.Usage, r.Selector, r.Matching}, r.Data...)}})
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	key, whole := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo), sha512.Sum512(pair.Leaf.Raw)
	f.Add(packet(TLSARecord{3, 1, 1, key[:]}))
	f.Add(packet(TLSARecord{3, 0, 2, whole[:]}, TLSARecord{3, 0, 1, key[:]}))
	f.Add(packet(TLSARecord{2, 0, 0, ca.cert.Raw}, TLSARecord{1, 1, 1, key[:]}))
	f.Add(packet())
	now := time.Now()
	f.Fuzz(func(t *testing.T, b []byte) {
		var m dnsmessage.Message
		if m.Unpack(b) != nil {
			return
		}
		a, err := dnsRead(&m, name, TypeTLSA, true)
		if err != nil {
			return
		}
		p := &daneProof{records: daneUsable(a.TLSA()), names: []string{"mx.example.org"}}
		if len(p.records) == 0 {
			return
		}
		named := false
		for _, r := range p.records {
			named = named || bytes.Contains(r.Data, key[:]) || bytes.Contains(r.Data, whole[:]) || bytes.HasPrefix(pair.Leaf.Raw, r.Data) || bytes.HasPrefix(pair.Leaf.RawSubjectPublicKeyInfo, r.Data) || r.Usage == daneTA
		}
		if err := p.check([]*x509.Certificate{pair.Leaf, ca.cert}, now); err == nil && !named {
			t.Errorf("passed by %+v", p.records)
		}
		if err := p.check([]*x509.Certificate{other}, now); err == nil {
			t.Errorf("another's passed by %+v", p.records)
		}
	})
}
