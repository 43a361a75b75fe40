// Where an address leads: the people here, through aliases and forwarding, and addresses elsewhere; and what the rules of those
// people do with a message: filters and the automatic answer.
package main

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxAliasDepth   = 10   // alias of an alias of …
	maxAliasTargets = 1000 // different recipients that one address may stand for
)

// resolved is what became of an address: people here, and addresses elsewhere.
type resolved struct {
	local   bool // the address itself is one of ours
	users   []User
	rules   map[UserID]*Rules // of those users who have any
	remote  []Addr
	aliased bool
	reports bool // the address is one that was made for reports (SRS): mail with a sender has nothing to seek there
}

// resolve finds out where an address leads. Its errors are errNoUser and its neighbours; all others are the store's.
func (s *Server) resolve(a Addr) (*resolved, error) {
	r := &resolved{local: s.isLocal(a.Domain)}
	if !r.local {
		r.remote = []Addr{a}
		return r, s.reachable(a)
	}
	known, now, ok := s.store.Known(a)
	if ok {
		r.users = []User{known}
		return r, nil
	}
	if isSRS(a.Local) {
		to, err := s.srsReverse(a.Local)
		if err != nil {
			return nil, err
		}
		r.reports, a = true, to
	}
	w := aliasWalk{s: s, r: r, seen: map[string]bool{}}
	if err := s.store.Read(func(tx *Tx) error { return w.walk(tx, a, 0) }); err != nil {
		return nil, err
	}
	if len(r.users)+len(r.remote) == 0 {
		if w.err == nil {
			w.err = errAliasLoop
		}
		return nil, w.err
	}
	if len(r.users) == 1 && len(r.rules)+len(r.remote) == 0 && !r.aliased && !r.reports {
		s.store.Remember(a, r.users[0], now)
	}
	return r, nil
}

// isLocal says whether mail for the domain lives here: our domains, our host name, no domain (only <postmaster> has
// none), and the literals of our own addresses (RFC 5321 §4.1.3).
func (s *Server) isLocal(domain string) bool {
	if domain == "" || s.cfg.Local(domain) {
		return true
	}
	ip, ok := LiteralIP(domain)
	if !ok {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		s.log.Warn("own addresses", "err", err)
	}
	for _, o := range own {
		if p, err := netip.ParsePrefix(o.String()); err == nil && p.Addr().Unmap() == ip.Unmap() {
			return true
		}
	}
	return false
}

// isForeign says whether a domain is one of the internet's, about which others can ask the DNS: it is neither ours nor one of [routes]
// by name, and means something outside of this network.
func (s *Server) isForeign(domain string) bool {
	domain = strings.ToLower(domain)
	_, routed := s.cfg.Routes[domain]
	return domain != "" && !routed && !strings.HasPrefix(domain, "[") && !lanName(domain) && !s.isLocal(domain)
}

// reachable refuses addresses that no route and no [outbound] mode leads to.
func (s *Server) reachable(a Addr) error {
	if s.cfg.Outbound.Mode != OutboundNone {
		return nil
	}
	if _, ok := s.cfg.Routes[a.Domain]; ok {
		return nil
	}
	if _, ok := s.cfg.Routes["."]; ok {
		return nil
	}
	return errForeign
}

// aliasWalk follows an address through the aliases, each address once.
type aliasWalk struct {
	s    *Server
	r    *resolved
	seen map[string]bool
	err  error // why the last address led nowhere
}

func (w *aliasWalk) walk(tx *Tx, a Addr, depth int) error {
	if !w.s.isLocal(a.Domain) {
		if w.seen[a.Key()] {
			return nil
		}
		w.seen[a.Key()] = true
		if err := w.s.reachable(a); err != nil {
			w.err = err
			return nil
		}
		w.r.remote = append(w.r.remote, a)
		return w.count()
	}
	a = w.s.canonical(a)
	if w.seen[a.Key()] {
		return nil
	}
	w.seen[a.Key()] = true
	u, targets, err := tx.lookup(a)
	switch {
	case errors.Is(err, ErrNotFound):
		return w.nobody(tx, a)
	case err != nil:
		return err
	case len(targets) == 0 && u.Disabled:
		w.err = errDisabled
		return nil
	case len(targets) == 0:
		return w.forward(tx, u, depth)
	case depth >= maxAliasDepth:
		w.err = errAliasLoop
		return nil
	}
	w.r.aliased = true
	for _, t := range targets {
		ta, err := ParseAddr(t)
		if err != nil {
			w.s.log.Warn("alias target", "address", a, "target", t, "err", err)
			continue
		}
		if err := w.walk(tx, ta, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// nobody answers for addresses that no user or alias has. Mail for the postmaster always finds somebody (RFC 5321
// §4.5.1), and so does that for abuse, where others complain (RFC 2142 §2), and for root, to whom the machine's own programs write: the
// first administrator, or the first user.
func (w *aliasWalk) nobody(tx *Tx, a Addr) error {
	if !slices.ContainsFunc([]string{"postmaster", "abuse", "root"}, func(who string) bool { return strings.EqualFold(a.Local, who) }) {
		w.err = errNoUser
		return nil
	}
	all, err := tx.Users()
	if err != nil {
		return err
	}
	for _, u := range all {
		if u.Admin && !u.Disabled {
			return w.user(u, nil)
		}
	}
	for _, u := range all {
		if !u.Disabled {
			return w.user(u, nil)
		}
	}
	w.err = errNoUser
	return nil
}

// forward follows a user's forwarding. The user keeps a copy if they want one, or if it leads nowhere but back to them.
func (w *aliasWalk) forward(tx *Tx, u User, depth int) error {
	if !u.Ruled {
		return w.user(u, nil)
	}
	rules, err := tx.Rules(u.ID)
	if err != nil {
		return err
	}
	if rules == nil || len(rules.Forward.To) == 0 || depth >= maxAliasDepth {
		return w.user(u, rules)
	}
	if rules.Forward.Keep {
		if err := w.user(u, rules); err != nil {
			return err
		}
	}
	before := len(w.r.users) + len(w.r.remote)
	for _, t := range rules.Forward.To {
		a, err := ParseAddr(t)
		if err != nil {
			continue // it was checked when it was set; a rule that makes no sense must not stop mail
		}
		if err := w.walk(tx, a, depth+1); err != nil {
			return err
		}
	}
	if len(w.r.users)+len(w.r.remote) == before && !rules.Forward.Keep {
		return w.user(u, rules)
	}
	return nil
}

func (w *aliasWalk) user(u User, rules *Rules) error {
	for _, have := range w.r.users {
		if have.ID == u.ID {
			return nil
		}
	}
	w.r.users = append(w.r.users, u)
	if rules != nil {
		if w.r.rules == nil {
			w.r.rules = map[UserID]*Rules{}
		}
		w.r.rules[u.ID] = rules
	}
	return w.count()
}

func (w *aliasWalk) count() error {
	if len(w.r.users)+len(w.r.remote) > maxAliasTargets {
		return errAliasMany
	}
	return nil
}

// roomFor says whether the one person that an address stands for can take a message of so many octets. Where there are
// more of them, each is seen to when the message is there.
func (s *Server) roomFor(r *resolved, size int64) error {
	if len(r.users) != 1 || len(r.remote) > 0 {
		return nil
	}
	switch u := r.users[0]; {
	case u.Quota == 0 && u.Messages == 0:
		return nil
	case u.Quota > 0 && size > u.Quota:
		return errNeverFits
	default:
		return s.store.Read(func(tx *Tx) error { return tx.Room(u.ID, size, 1) })
	}
}

// canonical gives a local address one of our domains: our host name and our literals stand for the first one.
func (s *Server) canonical(a Addr) Addr {
	for _, d := range s.cfg.DomainsNow() {
		if a.Domain == d {
			return a
		}
	}
	a.Domain = s.cfg.DomainsNow()[0]
	return a
}

// lookup finds the user or the alias of a local address: as it is, without its +detail, then the domain's catch-all, which gets nothing
// that is for a masked address: ErrNotFound while that is switched off.
func (tx *Tx) lookup(a Addr) (User, []string, error) {
	names := []string{a.Key()}
	if base, _, ok := strings.Cut(a.Local, "+"); ok && base != "" {
		names = append(names, Addr{base, a.Domain}.Key())
	}
	for _, n := range names {
		u, err := tx.UserByName(n)
		if !errors.Is(err, ErrNotFound) {
			return u, nil, err
		}
		targets, err := tx.AliasTargets(n)
		if err != nil || len(targets) > 0 {
			return User{}, targets, err
		}
		u, on, err := tx.Masked(n)
		if err == nil && !on {
			return User{}, nil, ErrNotFound
		}
		if !errors.Is(err, ErrNotFound) {
			return u, nil, err
		}
	}
	targets, err := tx.AliasTargets("@" + a.Domain)
	if err == nil && len(targets) == 0 {
		err = ErrNotFound
	}
	return User{}, targets, err
}

// owns says whether a user may send under an address: their own, with or without +detail, or an alias that leads to them.
func (s *Server) owns(u User, a Addr) (bool, error) {
	if s.isLocal(a.Domain) {
		a = s.canonical(a)
	}
	return read(s.store, func(tx *Tx) (bool, error) { return tx.leadsTo(u, a, 0) })
}

func (tx *Tx) leadsTo(u User, a Addr, depth int) (bool, error) {
	found, targets, err := tx.lookup(a)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil || len(targets) == 0 {
		return found.ID == u.ID, err
	}
	for _, t := range targets {
		ta, err := ParseAddr(t)
		if err != nil || depth >= maxAliasDepth {
			continue
		}
		if ok, err := tx.leadsTo(u, ta, depth+1); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
