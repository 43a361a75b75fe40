// SRS: the envelope sender of what is forwarded to the internet becomes an address of ours, so that SPF holds there, and reports to it
// come back to whoever sent the message.
//
//	SRS0=hash=day=domain=local@ours            stands for local@domain
//	SRS1=hash=first==hash=day=domain=local@ours for an SRS0 address of the forwarder called first, which knows what it means
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"
)

const (
	srsHash  = 8  // characters of a hash: 40 bits, of which nobody has more guesses than connections let through
	srsDays  = 30 // that an address is good for; queues keep a message for less
	srsCycle = 1 << 10
	srsMost  = 200 // octets of a local part that is made; a longer sender stays what it is
)

// srsCode writes hashes and days in characters that survive a change of case.
var srsCode = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// errSRSOnly refuses mail with a sender to such an address: reports have none.
var errSRSOnly = errors.New("this address is for delivery reports, which have no sender")

// srsMAC is the hash over what stands behind it, whatever the case of its letters: some servers change that.
func srsMAC(key []byte, text string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(strings.ToLower(text)))
	return srsCode.EncodeToString(m.Sum(nil))[:srsHash]
}

// srsDay is a day as an address has it: two characters, which begin again after srsCycle days.
func srsDay(t time.Time) string {
	const code = "abcdefghijklmnopqrstuvwxyz234567"
	n := int(t.Unix() / (24 * 60 * 60) % srsCycle)
	return string([]byte{code[n>>5], code[n&31]})
}

// isSRS says whether a local part looks like one of these, whoever made it.
func isSRS(local string) bool {
	return len(local) > 5 && (strings.EqualFold(local[:4], "SRS0") || strings.EqualFold(local[:4], "SRS1")) && strings.ContainsRune("=+-", rune(local[4]))
}

// srsSender is the envelope sender under which a message goes to recipients: the sender's own address, or one of ours that leads there,
// where somebody of the internet wrote it and it is forwarded to the internet.
func (s *Server) srsSender(q *QueueItem) Addr {
	if q.From.IsZero() || !s.isForeign(q.From.Domain) {
		return q.From
	}
	forwarded := false
	for _, r := range q.Rcpts {
		forwarded = forwarded || (r.Forwarded && s.isForeign(r.Addr.Domain))
	}
	ours := s.publicDomain()
	if !forwarded || ours == "" {
		return q.From
	}
	a, err := s.srsForward(q.From, ours)
	if err != nil {
		s.crew.Complain("SRS: a sender is not rewritten", err, "msg", q.Name)
		return q.From
	}
	return a
}

// publicDomain is the first of our domains that means something elsewhere, "" if none does.
func (s *Server) publicDomain() string {
	for _, d := range s.cfg.DomainsNow() {
		if !lanName(d) {
			return d
		}
	}
	return ""
}

// srsForward is an address of ours that leads to a.
func (s *Server) srsForward(a Addr, ours string) (Addr, error) {
	key, err := s.srsKey()
	if err != nil {
		return a, err
	}
	domain, err := DomainToASCII(a.Domain)
	if err != nil {
		return a, err
	}
	rest, kind := srsDay(s.store.Now())+"="+domain+"="+a.Local, "SRS0="
	if isSRS(a.Local) {
		kind = "SRS1="
		rest = domain + "=" + a.Local[4:] // with the sign behind SRS0, whichever it is
		if strings.EqualFold(a.Local[:4], "SRS1") {
			_, inner, ok := strings.Cut(a.Local[5:], "=") // the forwarder before took us to the first one already
			if ok {
				rest = inner
			}
		}
	}
	made := Addr{kind + srsMAC(key, rest) + "=" + rest, ours}
	if len(made.Local) > srsMost {
		return a, nil
	}
	return made, nil
}

// srsReverse is what an address of ours leads to: errNoUser if it was not made here, or too long ago.
func (s *Server) srsReverse(local string) (Addr, error) {
	key, err := s.srsKey()
	if err != nil {
		return Addr{}, err
	}
	hash, rest, ok := strings.Cut(local[5:], "=")
	if !ok || !hmac.Equal([]byte(strings.ToLower(hash)), []byte(srsMAC(key, rest))) {
		return Addr{}, errNoUser
	}
	if strings.EqualFold(local[:4], "SRS1") {
		domain, inner, ok := strings.Cut(rest, "=")
		d, err := ParseDomain(domain)
		if !ok || err != nil {
			return Addr{}, errNoUser
		}
		return Addr{"SRS0" + inner, d}, nil
	}
	day, rest, ok := strings.Cut(rest, "=")
	domain, name, ok2 := strings.Cut(rest, "=")
	d, err := ParseDomain(domain)
	if !ok || !ok2 || err != nil || !s.srsFresh(strings.ToLower(day)) {
		return Addr{}, errNoUser
	}
	return Addr{name, d}, nil
}

// srsFresh says whether a day is not too long ago, by our clock or by the one that we had before it jumped.
func (s *Server) srsFresh(day string) bool {
	now := s.store.Now()
	for _, t := range []time.Time{now, now.Add(-s.store.Jumped())} {
		for back := -1; back <= srsDays; back++ {
			if srsDay(t.AddDate(0, 0, -back)) == day {
				return true
			}
		}
	}
	return false
}
