// Places: who may have how many connections, and who makes room for whom.
package main

import (
	"errors"
	"net/netip"
	"time"
)

const (
	roomSpare    = 50          // connections that may still be ending while others have their places
	roomStranger = 10          // one of so many places can't be taken by those who are logged in: port 25 is open to newcomers
	roomSilent   = time.Minute // a person's connection that was silent for so long makes room for a new one of theirs
)

// errTooManyOwn says that somebody has as many connections as one person may have, and that all of them are busy.
var errTooManyOwn = errors.New("too many connections of one person")

// enter gives a new connection a place among those that are not logged in, or says that there is none.
func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop.Err() != nil || s.waiting[c.from] >= s.cfg.Limits.PerAddress || !s.makeRoom(c.from) {
		return false
	}
	s.conns[c] = true
	s.waiting[c.from]++
	c.counted = true
	s.wg.Add(1)
	return true
}

// makeRoom says whether there is a place for one more connection. When all are taken, the network with the most
// connections that are not logged in loses the one that was silent for longest, as long as it has no fewer of them than
// the newcomer's: whoever opens many and says nothing, or one octet a second, is in nobody's way but his own. s.mu is held.
func (s *Server) makeRoom(from netip.Prefix) bool {
	limit, going := s.cfg.Limits.Connections, 0
	if len(s.conns) < limit {
		return true
	}
	var out *conn
	for c := range s.conns {
		switch {
		case c.dropped:
			going++
		case !c.counted:
		case out == nil, s.waiting[c.from] > s.waiting[out.from],
			s.waiting[c.from] == s.waiting[out.from] && c.asked.Before(out.asked):
			out = c
		}
	}
	switch {
	case len(s.conns)-going < limit:
		return true
	case going >= roomSpare || out == nil || out.from == from || s.waiting[out.from] < s.waiting[from]:
		return false
	}
	s.drop(out)
	return true
}

// drop ends a connection for another one. s.mu is held.
func (s *Server) drop(c *conn) {
	c.log.Warn("connection dropped for another one", "remote", c.remote)
	c.dropped = true
	c.raw.Close()
}

// loggedIn takes the connection out of those that count against its network and counts it for its user. errTooManyOwn if the user
// has [limits] per_user already and none of them has been silent for a while; else the most silent one goes. So it does, of the
// user with the most, when those who are logged in have taken all places but some.
func (c *conn) loggedIn(user UserID) error {
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.people[user]
	if c.person == user {
		own--
	}
	if own >= s.cfg.Limits.PerUser {
		out := s.silent(func(x *conn) bool { return x.person == user && x != c })
		if out == nil || time.Since(out.asked) < roomSilent {
			return errTooManyOwn
		}
		s.drop(out)
	}
	c.leave()
	c.person = user
	s.people[user]++
	in, most := 0, 0
	for x := range s.conns {
		if x.person != 0 && !x.dropped {
			in++
			most = max(most, s.people[x.person])
		}
	}
	if limit := s.cfg.Limits.Connections; in > limit-max(limit/roomStranger, 1) {
		if out := s.silent(func(x *conn) bool { return x.person != 0 && s.people[x.person] == most && x != c }); out != nil {
			s.drop(out)
		}
	}
	return nil
}

// silent finds the connection that was silent for longest among those that may go; nil if none may. s.mu is held.
func (s *Server) silent(may func(*conn) bool) *conn {
	var out *conn
	for c := range s.conns {
		if !c.dropped && may(c) && (out == nil || c.asked.Before(out.asked)) {
			out = c
		}
	}
	return out
}

// leave takes the connection out of all counts. s.mu is held.
func (c *conn) leave() {
	s := c.srv
	if c.counted {
		c.counted = false
		s.waiting[c.from]--
		if s.waiting[c.from] <= 0 {
			delete(s.waiting, c.from)
		}
	}
	if c.person != 0 {
		s.people[c.person]--
		if s.people[c.person] <= 0 {
			delete(s.people, c.person)
		}
		c.person = 0
	}
}
