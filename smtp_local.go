// The sendmail socket: programs of this machine hand mail in, under the name of the user who runs them.
package main

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// smtpLocalUser is the user of this machine at the other end of the sendmail socket. root, and whoever runs the appliance, may
// send under any name; the others under their own here, and under names of other domains.
type smtpLocalUser struct {
	uid  int
	name string
	any  bool
}

// localUser finds out who is at the other end of the socket; false if the system does not say.
func (c *smtpConn) localUser() (smtpLocalUser, bool) {
	uid, known := peerUID(c.raw)
	if !known {
		return smtpLocalUser{}, false
	}
	l := smtpLocalUser{uid: uid, name: "uid" + strconv.Itoa(uid), any: uid == 0 || uid == os.Getuid()}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		l.name = u.Username
	}
	return l, true
}

// localSender refuses the address of somebody else here. An address of ours that nobody has becomes the postmaster's, so that
// there is somebody to hear what became of the mail: cron runs under many names that have no mailbox.
func (c *smtpConn) localSender(m *Mail) smtpReply {
	if !c.local.any {
		m.Local = c.local.name
	}
	if m.From.IsZero() {
		return smtpReply{}
	}
	ok, err := c.srv.mayWrite(m, m.From)
	if err != nil {
		return c.fault(err)
	}
	if !ok {
		c.log.Info("foreign sender", "from", m.From, "user", c.local.name)
		return smtpReply{550, "5.7.1 " + smtpClean(m.From.Path()) + " is not an address of " + smtpClean(c.local.name)}
	}
	m.From, err = c.srv.heardBy(m.From)
	if err != nil {
		return c.fault(err)
	}
	return smtpReply{}
}

// heardBy is an address, or the postmaster's if it is one of ours that nobody has.
func (s *Server) heardBy(a Addr) (Addr, error) {
	if !s.isLocal(a.Domain) {
		return a, nil
	}
	_, err := s.resolve(a)
	if errors.Is(err, errNoUser) {
		return Addr{"postmaster", s.cfg.DomainsNow()[0]}, nil
	}
	return a, err
}

// smtpLocalName says what Received says of such a client.
func (l smtpLocalUser) trace() string {
	return "from userid " + strconv.Itoa(l.uid) + " (" + strings.ToValidUTF8(l.name, "?") + ")"
}
