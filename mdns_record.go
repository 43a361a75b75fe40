// The records of the responder, and which of them answer a question.
package main

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// mdnsRecord is a record that we may send. Only shared ones may others have, too.
type mdnsRecord struct {
	name   string
	body   dnsmessage.ResourceBody
	kind   dnsmessage.Type
	ttl    uint32
	shared bool
}

// mdnsAll is the name under which all kinds of services are listed (RFC 6763 §9).
const mdnsAll = "_services._dns-sd._udp.local."

// instance is the service's name as people read it. A dot would end a label.
func (m *mdns) instance(kind string) string { return "Mail on " + m.host + "." + kind + ".local." }

// records are all that we say on a link: its own addresses, and the services. m.mu is held.
func (m *mdns) records(l *mdnsLink) []mdnsRecord {
	var all []mdnsRecord
	host := m.host + ".local."
	if m.hostOurs {
		for _, p := range l.addrs {
			switch a := p.Addr(); {
			case a.Is4():
				all = append(all, mdnsRecord{host, &dnsmessage.AResource{A: a.As4()}, dnsmessage.TypeA, mdnsHostTTL, false})
			case a.Is6():
				all = append(all, mdnsRecord{host, &dnsmessage.AAAAResource{AAAA: a.As16()}, dnsmessage.TypeAAAA, mdnsHostTTL, false})
			}
		}
	}
	for _, s := range m.services {
		kind, inst := s.kind+".local.", m.instance(s.kind)
		txt := s.txt
		if len(txt) == 0 {
			txt = []string{""} // a TXT record is never empty (RFC 6763 §6.1)
		}
		all = append(all,
			mdnsRecord{mdnsAll, &dnsmessage.PTRResource{PTR: mdnsName(kind)}, dnsmessage.TypePTR, mdnsOtherTTL, true},
			mdnsRecord{kind, &dnsmessage.PTRResource{PTR: mdnsName(inst)}, dnsmessage.TypePTR, mdnsOtherTTL, true},
			mdnsRecord{inst, &dnsmessage.SRVResource{Port: s.port, Target: mdnsName(host)}, dnsmessage.TypeSRV, mdnsHostTTL, false},
			mdnsRecord{inst, &dnsmessage.TXTResource{TXT: txt}, dnsmessage.TypeTXT, mdnsOtherTTL, false})
	}
	return all
}

// mdnsName is a name that we made ourselves and know to fit.
func mdnsName(s string) dnsmessage.Name {
	n, err := dnsmessage.NewName(s)
	if err != nil {
		return dnsmessage.Name{}
	}
	return n
}

// mdnsReply collects records for a packet.
type mdnsReply struct {
	id       uint16
	legacy   *dnsmessage.Question // of an asker that knows only ordinary DNS; it gets its question back
	bye      bool
	answers  []mdnsRecord
	extras   []mdnsRecord
	question []dnsmessage.Question // of a probe
	authors  []mdnsRecord          // and what it wants to have
}

func (b *mdnsReply) add(r mdnsRecord) {
	if !mdnsHas(b.answers, r) {
		b.answers = append(b.answers, r)
	}
}

func mdnsHas(list []mdnsRecord, r mdnsRecord) bool {
	for _, x := range list {
		if x.kind == r.kind && strings.EqualFold(x.name, r.name) && mdnsSame(x.body, r.body) {
			return true
		}
	}
	return false
}

// mdnsSame compares two bodies by how they print, which shows all of them.
func mdnsSame(a, b dnsmessage.ResourceBody) bool {
	return strings.EqualFold(a.GoString(), b.GoString())
}

// pack writes the packet; nil if there is nothing to say.
func (b *mdnsReply) pack() []byte {
	if len(b.answers)+len(b.question) == 0 {
		return nil
	}
	h := dnsmessage.Header{ID: b.id, Response: len(b.question) == 0, Authoritative: len(b.question) == 0}
	msg := dnsmessage.Message{Header: h, Questions: b.question}
	if b.legacy != nil {
		msg.Questions = []dnsmessage.Question{*b.legacy}
	}
	for _, part := range []struct {
		from []mdnsRecord
		to   *[]dnsmessage.Resource
	}{{b.answers, &msg.Answers}, {b.authors, &msg.Authorities}, {b.extras, &msg.Additionals}} {
		for _, r := range part.from {
			*part.to = append(*part.to, b.resource(r, part.to == &msg.Authorities))
		}
	}
	out, err := msg.Pack()
	if err != nil || len(out) > mdnsMaxPacket {
		return nil
	}
	return out
}

func (b *mdnsReply) resource(r mdnsRecord, probe bool) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: mdnsName(r.name), Type: r.kind, Class: dnsmessage.ClassINET, TTL: r.ttl}
	switch {
	case b.bye:
		h.TTL = 0
	case b.legacy != nil:
		h.TTL = mdnsLegacyTTL
	}
	if !r.shared && b.legacy == nil && !probe {
		h.Class |= mdnsFlush
	}
	return dnsmessage.Resource{Header: h, Body: r.body}
}

// probe asks for anything under our name, and says what we want to put there (RFC 6762 §8.1). m.mu is held.
func (m *mdns) probe(l *mdnsLink) []byte {
	host := m.host + ".local."
	b := mdnsReply{question: []dnsmessage.Question{{Name: mdnsName(host), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET | mdnsUnicast}}}
	for _, r := range m.records(l) {
		if r.name == host {
			b.authors = append(b.authors, r)
		}
	}
	return b.pack()
}

// respond reads a packet that came over the link and returns what to say to it, whether to the asker alone, and whether
// others may answer as well. m.mu is held.
func (m *mdns) respond(l *mdnsLink, port uint16, packet []byte) (reply []byte, unicast, shared bool) {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.OpCode != 0 || h.RCode != dnsmessage.RCodeSuccess {
		return nil, false, false
	}
	questions, err := p.AllQuestions()
	if err != nil {
		return nil, false, false
	}
	if h.Response {
		m.hear(&p, l)
		return nil, false, false
	}
	known, _ := p.AllAnswers() // what the asker has already (RFC 6762 §7.1)
	if m.probing {
		m.breakTie(&p, questions, l)
	}
	b := mdnsReply{}
	legacy := port != mdnsPort
	if legacy {
		if len(questions) != 1 {
			return nil, false, false
		}
		q := questions[0]
		b.id, b.legacy = h.ID, &q
	}
	unicast = true
	all := m.records(l)
	for _, q := range questions {
		if m.answers(&b, all, q, known) && q.Class&mdnsUnicast == 0 {
			unicast = false
		}
	}
	for _, r := range b.answers {
		shared = shared || r.shared
	}
	b.help(all)
	return b.pack(), unicast || legacy, shared
}

// answers adds those of all that answer a question and that the asker does not know, and says whether there were any. While
// the name is probed for there are none: it is not ours yet.
func (m *mdns) answers(b *mdnsReply, all []mdnsRecord, q dnsmessage.Question, known []dnsmessage.Resource) bool {
	if c := q.Class &^ mdnsUnicast; m.probing || (c != dnsmessage.ClassINET && c != dnsmessage.ClassANY) {
		return false
	}
	name, found := q.Name.String(), false
	for _, r := range all {
		if !strings.EqualFold(r.name, name) || (q.Type != dnsmessage.TypeALL && q.Type != r.kind) || mdnsKnown(known, r) {
			continue
		}
		b.add(r)
		found = true
	}
	return found
}

// mdnsKnown says whether the asker has the record, with at least half of its life left.
func mdnsKnown(known []dnsmessage.Resource, r mdnsRecord) bool {
	for _, k := range known {
		if k.Header.Type == r.kind && k.Header.TTL >= r.ttl/2 && strings.EqualFold(k.Header.Name.String(), r.name) && mdnsSame(k.Body, r.body) {
			return true
		}
	}
	return false
}

// help adds what will be asked next: the services behind pointers, the addresses behind services (RFC 6763 §12).
func (b *mdnsReply) help(all []mdnsRecord) {
	want := map[string]bool{}
	for _, list := range [][]mdnsRecord{b.answers, all} {
		for _, r := range list {
			switch body := r.body.(type) {
			case *dnsmessage.PTRResource:
				if mdnsHas(b.answers, r) && r.name != mdnsAll {
					want[strings.ToLower(body.PTR.String())] = true
				}
			case *dnsmessage.SRVResource:
				if mdnsHas(b.answers, r) || want[strings.ToLower(r.name)] {
					want[strings.ToLower(body.Target.String())] = true
				}
			}
		}
	}
	for _, r := range all {
		if want[strings.ToLower(r.name)] && !mdnsHas(b.answers, r) {
			b.extras = append(b.extras, r)
		}
	}
}

// breakTie sets m.lost if a packet is somebody else's probe for our name and their records win against ours: those that are
// later in the order of their octets do (RFC 6762 §8.2). Our own probe, which comes back to us, is a draw. m.mu is held.
func (m *mdns) breakTie(p *dnsmessage.Parser, questions []dnsmessage.Question, l *mdnsLink) {
	host := m.host + ".local."
	if !slices.ContainsFunc(questions, func(q dnsmessage.Question) bool { return strings.EqualFold(q.Name.String(), host) }) {
		return
	}
	authors, err := p.AllAuthorities()
	if err != nil {
		return
	}
	var theirs, ours []string
	for _, r := range authors {
		if strings.EqualFold(r.Header.Name.String(), host) {
			if m.elsewhere(r.Body) {
				return
			}
			theirs = append(theirs, mdnsOrder(r.Body))
		}
	}
	for _, r := range m.records(l) {
		if r.name == host {
			ours = append(ours, mdnsOrder(r.body))
		}
	}
	slices.Sort(theirs)
	slices.Sort(ours)
	m.lost = m.lost || (len(theirs) > 0 && slices.Compare(ours, theirs) < 0)
}

// mdnsOrder is a record's type and data as octets to be compared.
func mdnsOrder(body dnsmessage.ResourceBody) string {
	switch x := body.(type) {
	case *dnsmessage.AResource:
		return "\x00\x01" + string(x.A[:])
	case *dnsmessage.AAAAResource:
		return "\x00\x1c" + string(x.AAAA[:])
	}
	return "\xff"
}

// hear looks in others' answers for our name with an address that is not ours. While we are probing, the name is theirs;
// later both have to probe again, and one of them will find it taken (RFC 6762 §9).
func (m *mdns) hear(p *dnsmessage.Parser, l *mdnsLink) {
	if !m.hostOurs {
		return
	}
	answers, err := p.AllAnswers()
	if err != nil {
		return
	}
	host := m.host + ".local."
	own := m.records(l)
	for _, a := range answers {
		if !strings.EqualFold(a.Header.Name.String(), host) || a.Header.TTL == 0 {
			continue
		}
		if !mdnsHas(own, mdnsRecord{name: host, kind: a.Header.Type, body: a.Body}) && !m.elsewhere(a.Body) {
			m.conflict = true
			if !m.probing {
				select {
				case m.again <- struct{}{}:
				default:
				}
			}
		}
	}
}

// elsewhere says whether an address is one of ours on another link: our own voice may come back over a bridge.
func (m *mdns) elsewhere(body dnsmessage.ResourceBody) bool {
	for _, l := range m.links {
		for _, p := range l.addrs {
			var b []byte
			switch x := body.(type) {
			case *dnsmessage.AResource:
				b = x.A[:]
			case *dnsmessage.AAAAResource:
				b = x.AAAA[:]
			}
			if a, ok := netip.AddrFromSlice(b); ok && bytes.Equal(a.AsSlice(), p.Addr().AsSlice()) {
				return true
			}
		}
	}
	return false
}
