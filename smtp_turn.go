// Mail for those who call: ETRN has the queue tried, ATRN turns the connection round.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func (c *smtpConn) offerEtrn() string {
	if c.role == smtpLMTP {
		return ""
	}
	return "ETRN"
}

// smtpEtrnEvery is how often the queue of a domain is tried because somebody says so.
const smtpEtrnEvery = 5 * time.Minute

// ETRN (RFC 1985): the queue for a domain is tried now, over its route and not over this connection. A try costs us and the card
// something, so only those may ask for it who log in, and the machine that the route leads to; never while the route's window
// is shut, and once in smtpEtrnEvery. With "@" the domains beneath are meant too; named queues ("#") do not exist here.
//
//	etrn = "ETRN" SP [ "@" / "#" ] node-name CRLF
func (c *smtpConn) cmdEtrn(arg string) smtpReply {
	name, below := strings.CutPrefix(strings.TrimSpace(arg), "@")
	switch {
	case c.role == smtpLMTP:
		return smtpReply{502, "5.5.1 Nothing goes out from here"}
	case c.helo == "":
		return smtpReply{503, "5.5.1 Say EHLO first"}
	case c.mail != nil:
		return smtpReply{503, "5.5.1 Not inside a mail transaction"}
	case strings.HasPrefix(name, "#"):
		return smtpReply{458, "4.5.4 Queues have no names here, only domains"}
	}
	domain, err := ParseDomain(name)
	if err != nil {
		return smtpReply{501, "5.5.4 " + smtpClean(err.Error())}
	}
	if !c.mayAsk(domain) && !below {
		return smtpReply{459, "5.7.1 The queue for " + smtpClean(domain) + " is not yours to start"}
	}
	n, refused, err := c.askQueue(domain, below)
	switch {
	case err != nil:
		return c.fault(err)
	case n == 0 && refused != "":
		return smtpReply{458, "4.7.1 " + refused}
	case n == 0:
		return smtpReply{251, "2.0.0 No messages wait for " + smtpClean(domain)}
	}
	c.log.Info("ETRN", "domain", domain, "remote", c.remote, "messages", n)
	return smtpReply{253, fmt.Sprintf("2.0.0 %d messages for %s are tried now", n, smtpClean(domain))}
}

// askQueue has what waits for a domain tried, and for those beneath it, and counts the messages. The text says why some are not.
func (c *smtpConn) askQueue(domain string, below bool) (int, string, error) {
	waiting, err := read(c.srv.store, (*Tx).Destinations)
	if err != nil {
		return 0, "", err
	}
	var ask []string
	refused := ""
	for _, d := range waiting {
		if (d.Domain != domain && !(below && strings.HasSuffix(d.Domain, "."+domain))) || !c.mayAsk(d.Domain) {
			continue
		}
		why := c.srv.askRefused(d.Domain)
		if why != "" {
			refused = why
			continue
		}
		ask = append(ask, d.Domain)
	}
	if len(ask) == 0 {
		return 0, refused, nil
	}
	n, err := write(c.srv.store, func(tx *Tx) (int, error) {
		all := 0
		for _, d := range ask {
			k, err := tx.QueueAsk(d)
			if err != nil {
				return 0, err
			}
			all += k
		}
		return all, nil
	})
	return n, refused, err
}

// askRefused says why the queue of a domain is not tried although it was asked for, and else notes that it is: "".
func (s *Server) askRefused(domain string) string {
	now := s.store.Now().Local()
	if w := s.cfg.Routes[domain].Window; w != (Window{}) && w.Next(now).After(now) {
		return "Its window is shut"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, at := range s.askedFor {
		if time.Since(at) >= smtpEtrnEvery {
			delete(s.askedFor, d)
		}
	}
	if _, lately := s.askedFor[domain]; lately {
		return "It was asked for a moment ago"
	}
	s.askedFor[domain] = time.Now()
	return ""
}

// mayAsk says whether the client may have the queue of a domain tried: it has logged in, or it is the host of the domain's route.
func (c *smtpConn) mayAsk(domain string) bool {
	if c.trusted() {
		return true
	}
	return slices.ContainsFunc(c.srv.cfg.Routes[domain].Hosts, func(host string) bool {
		h, _, err := net.SplitHostPort(host)
		a, aerr := netip.ParseAddr(h)
		return err == nil && aerr == nil && a.Unmap().WithZone("") == c.remote.WithZone("")
	})
}

func (c *smtpConn) offerAtrn() string {
	if c.role == smtpLMTP || !slices.ContainsFunc(c.srv.routes(), func(r Route) bool { return r.Caller != "" }) {
		return ""
	}
	return "ATRN"
}

func (s *Server) routes() []Route {
	var all []Route
	for _, r := range s.cfg.Routes {
		all = append(all, r)
	}
	return all
}

// ATRN (RFC 2645): whoever logged in as a route's caller gets the mail for its domains over this connection, on
// which we are the client from then on.
//
//	atrn = "ATRN" [ SP domain *( "," domain ) ] CRLF
func (c *smtpConn) cmdAtrn(arg string) smtpReply {
	switch {
	case c.offerAtrn() == "":
		return smtpReply{502, "5.5.1 Nobody's mail waits here to be called for"}
	case c.user == nil:
		return smtpReply{530, "5.7.0 Log in first"}
	case c.mail != nil:
		return smtpReply{503, "5.5.1 Not inside a mail transaction"}
	}
	var mine []string
	for d, r := range c.srv.cfg.Routes {
		if a, err := ParseAddr(r.Caller); err == nil && a.Key() == c.user.Name {
			mine = append(mine, d)
		}
	}
	slices.Sort(mine)
	if arg != "" {
		for _, d := range strings.Split(arg, ",") {
			if d, err := ParseDomain(strings.TrimSpace(d)); err != nil || !slices.Contains(mine, d) {
				return smtpReply{450, "4.7.1 That is no domain of yours"}
			}
		}
		mine = strings.Split(strings.ToLower(strings.ReplaceAll(arg, " ", "")), ",")
	}
	n := 0
	err := c.srv.store.Write(func(tx *Tx) error {
		n = 0
		for _, d := range mine {
			k, err := tx.QueueReady(d)
			if err != nil {
				return err
			}
			n += k
		}
		return nil
	})
	if err != nil {
		return c.fault(err)
	}
	if n == 0 {
		return smtpReply{453, "4.0.0 You have no mail"}
	}
	c.turnRound(mine, n)
	return smtpReply{}
}

// turnRound says so, and gives the connection to the queue. It ends with the mail.
func (c *smtpConn) turnRound(domains []string, n int) {
	c.quit = true
	c.reply(smtpReply{250, fmt.Sprintf("2.0.0 %d messages wait, your turn", n)})
	c.srv.mu.Lock()
	turn := c.srv.turn
	c.srv.mu.Unlock()
	if c.w.Flush() != nil || turn == nil {
		return
	}
	c.net.SetDeadline(time.Time{})
	c.log.Info("ATRN", "domains", strings.Join(domains, " "), "remote", c.remote, "messages", n)
	if !turn(c.net, c.helo, domains) {
		c.log.Info("ATRN", "err", "the mail is on its way by another connection")
	}
}

// serveTurned is the other end of ATRN: we have called, and are the server on the connection now.
func (s *Server) serveTurned(nc net.Conn, secure bool) {
	c := &conn{srv: s, net: nc, raw: nc, svc: &service{name: "smtp"}, id: s.serial.Add(1), remote: remoteAddr(nc), started: time.Now(), secure: secure}
	c.log = s.log.With("conn", c.id, "proto", "atrn")
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	defer c.close()
	c.r, c.w = bufio.NewReader(c), bufio.NewWriter(c)
	s.serveSMTP(c)
	c.w.Flush()
}
