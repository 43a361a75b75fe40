// What failed logins lead to: they are counted, and who is over a limit waits. A right password is never refused.
package main

import (
	"crypto/sha256"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	firstDelay = 250 * time.Millisecond // before a failure is answered, doubled for each one in the same minute
	maxDelay   = 5 * time.Second
	rateDelay  = time.Second // before the answer to a login that is not even tried

	slowFirst   = 5 * time.Second // what a login over a limit waits before it is tried; doubled for each multiple of the limit
	slowMost    = 20 * time.Second
	slowAtOnce  = 16 // logins that wait so, in all
	slowNetwork = 4  // of one IPv4 address or /48
	slowLane    = 3  // for one name

	wideLimit     = 4   // times the limits of an address: for a /48, and for one account from anywhere
	maxFailedName = 320 // octets of a name that failures are counted against; no user's is longer
)

// A guess that was made before teaches an attacker nothing, but a phone with an old password makes it all day long, and whoever
// shares its address shall not have to wait for that: only different guesses count against a network or an account, repetitions
// against the name from that address alone, and not for the day.
//
// Who is over a limit is tried all the same, one after the other and slowly, so that nobody can lock anybody out. A person who
// logs in from where they have logged in before (see Auth.places) is not touched by what others do: failures for that account
// from that place are counted by themselves.

// loginOrigin is where a login comes from.
type loginOrigin struct {
	addr    netip.Addr
	browser string // proof that somebody has logged in with this browser before, see Auth.browserProof; "" none
}

func (o loginOrigin) place() netip.Prefix { return networkOf(o.addr) }

// networkOf is what counts as one place: an IPv4 address, the /64 that an IPv6 host can roam in, or the whole of a link-local
// address, of which a house full of machines has one /64. Loopback is no exception: a tunnel may end there.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	if a.Is6() && !a.IsLinkLocalUnicast() {
		return netPrefix(a, 64)
	}
	return netPrefix(a, a.BitLen())
}

// house is what one person may have all of: an IPv4 address or the /48 that a provider gives to a customer.
func (o loginOrigin) house() netip.Prefix {
	a := o.addr.Unmap()
	if a.Is6() && !a.IsLinkLocalUnicast() {
		return netPrefix(a, 48)
	}
	return netPrefix(a, a.BitLen())
}

// netPrefix is Addr.Prefix for addresses with a zone, too.
func netPrefix(a netip.Addr, bits int) netip.Prefix {
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// loginScope is one key that failures count against, with its limits.
type loginScope struct {
	key         uint64
	minute, day int
}

// loginTry is one try to log in, and what it counts against.
type loginTry struct {
	name   string // as Auth.loginKey
	origin loginOrigin
	known  bool
	scopes []loginScope
	again  uint64 // the key of repetitions
}

// loginsMost is more than anybody tries, and wideLimit times it is a number of 32 bits.
const loginsMost = 1 << 20

// newTry gathers what a try for a name counts against. account says whether failures also count against the account.
func (a *Auth) newTry(origin loginOrigin, name string, account bool) *loginTry {
	key, _ := a.loginKey(name)
	key = key[:min(len(key), maxFailedName)]
	t := &loginTry{name: key, origin: origin, known: a.wasHere(origin, key)}
	addr := origin.addr.Unmap().String()
	minute, day := min(a.cfg.Limits.LoginsMinute, loginsMost), min(a.cfg.Limits.LoginsDay, loginsMost)
	t.again = a.scopeKey("again", addr, key)
	if t.known {
		place := origin.place().String()
		if a.browserIs(origin.browser, key) {
			place = origin.browser
		}
		t.scopes = []loginScope{{a.scopeKey("known", place, key), minute, day}}
		return t
	}
	t.scopes = []loginScope{{a.scopeKey("address", addr), minute, day}}
	if p := origin.place(); !p.IsSingleIP() {
		t.scopes = append(t.scopes, loginScope{a.scopeKey("place", p.String()), minute, day},
			loginScope{a.scopeKey("house", origin.house().String()), wideLimit * minute, wideLimit * day})
	}
	if account {
		t.scopes = append(t.scopes, loginScope{a.scopeKey("account", key), wideLimit * minute, wideLimit * day})
	}
	return t
}

func (a *Auth) scopeKey(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0)
	}
	return h.Sum64()
}

// loginCounts counts failures under any number of keys in one place of fixed size: a count-min sketch. Other keys may make a
// count too high, never too low, and nothing that strangers do makes it forget.
type loginCounts struct {
	window time.Duration
	cells  [3][8192]loginCell
}

type loginCell struct{ n, since uint32 } // since: seconds since Auth.began

func (c *loginCounts) cell(row int, key uint64) *loginCell {
	return &c.cells[row][(key>>(20*row))%uint64(len(c.cells[row]))]
}

func (c *loginCounts) live(cell *loginCell, now uint32) bool {
	return time.Duration(now-cell.since)*time.Second < c.window
}

// of returns how many failures there were in the window.
func (c *loginCounts) of(key uint64, now uint32) int {
	n := ^uint32(0)
	for row := range c.cells {
		cell := c.cell(row, key)
		if !c.live(cell, now) {
			return 0
		}
		n = min(n, cell.n)
	}
	return int(n)
}

func (c *loginCounts) add(key uint64, now uint32) {
	for row := range c.cells {
		cell := c.cell(row, key)
		if !c.live(cell, now) {
			*cell = loginCell{since: now}
		}
		cell.n++
	}
}

// loginLimits is the memory of failures. Auth.mu guards it.
type loginLimits struct {
	minute, day loginCounts
	guesses     [4096]uint64 // the last different guesses, each in the place that its hash gives it
	waiting     int          // logins over a limit
	networks    map[netip.Prefix]int
	lanes       map[string]*loginLane
}

// loginLane lets logins over a limit through one after the other.
type loginLane struct {
	turn    sync.Mutex
	waiting int
}

func newLoginLimits() *loginLimits {
	return &loginLimits{minute: loginCounts{window: time.Minute}, day: loginCounts{window: 24 * time.Hour},
		networks: map[netip.Prefix]int{}, lanes: map[string]*loginLane{}}
}

// uptime is the time of the counts, which begins above 0: a cell that was never used is not of this moment.
func (a *Auth) uptime() uint32 {
	return uint32((a.now().Sub(a.began) + 48*time.Hour) / time.Second)
}

// over says how many times over its limits a try is: 0 within all of them.
func (a *Auth) over(t *loginTry) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.overNow(t)
}

func (a *Auth) overNow(t *loginTry) int {
	now, most := a.uptime(), 0
	again := a.limits.minute.of(t.again, now)
	for _, s := range t.scopes {
		most = max(most, (a.limits.minute.of(s.key, now)+again)/s.minute, a.limits.day.of(s.key, now)/s.day)
		again = 0 // they count against the address, which comes first
	}
	return most
}

// failed counts a failure and waits before it may be answered. guess tells repetitions; 0 is never one.
func (a *Auth) failed(t *loginTry, guess uint64) { a.pause(a.count(t, guess)) }

// count notes a failure and returns how long its answer has to wait. Of a try that is over a limit only the counts that are over
// grow, so that whoever has much address space fills the memory with no more than its first failures.
func (a *Auth) count(t *loginTry, guess uint64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.uptime()
	if guess != 0 {
		slot := &a.limits.guesses[guess%uint64(len(a.limits.guesses))]
		if *slot == guess {
			a.limits.minute.add(t.again, now)
			return failureDelay(a.limits.minute.of(t.again, now) + a.limits.minute.of(t.scopes[0].key, now))
		}
		*slot = guess
	}
	over := a.overNow(t) > 0
	for _, s := range t.scopes {
		if n, d := a.limits.minute.of(s.key, now), a.limits.day.of(s.key, now); over && n < s.minute && d < s.day {
			continue
		}
		a.limits.minute.add(s.key, now)
		a.limits.day.add(s.key, now)
	}
	return failureDelay(a.limits.minute.of(t.again, now) + a.limits.minute.of(t.scopes[0].key, now))
}

// slowly waits for the turn of a try that is over its limits, and then as long as it is far over them. The caller must call done
// when the try is over. ErrAuthRate if too many wait already.
func (a *Auth) slowly(t *loginTry) (done func(), err error) {
	house, name := t.origin.house(), "stranger "+t.name
	if t.known {
		name = "known " + t.origin.place().String() + t.origin.browser + " " + t.name
	}
	l := a.limits
	a.mu.Lock()
	lane := l.lanes[name]
	if l.waiting >= slowAtOnce || l.networks[house] >= slowNetwork || (lane != nil && lane.waiting >= slowLane) {
		a.mu.Unlock()
		a.pause(rateDelay)
		return nil, authError(t.name, ErrAuthRate)
	}
	if lane == nil {
		lane = &loginLane{}
		l.lanes[name] = lane
	}
	lane.waiting++
	l.waiting++
	l.networks[house]++
	a.mu.Unlock()
	lane.turn.Lock()
	if over := a.over(t); over > 0 {
		a.pause(min(slowFirst<<min(over-1, 4), slowMost))
	}
	return func() {
		lane.turn.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		lane.waiting--
		l.waiting--
		l.networks[house]--
		if lane.waiting == 0 {
			delete(l.lanes, name)
		}
		if l.networks[house] == 0 {
			delete(l.networks, house)
		}
	}, nil
}

// Guess is for secrets other than passwords, such as the code of a second factor: try says whether it was right. There are few
// of them that could be right, so it is not called when the account or the network has no failures left; failures from where the
// person has been before are counted by themselves. Guesses for a name take turns, so that many at once are not more than one
// after the other. name "" is nobody's: only the network counts. ErrAuth, ErrAuthRate, or what try says.
func (a *Auth) Guess(origin loginOrigin, name string, try func() (bool, error)) error {
	t := a.newTry(origin, name, name != "")
	delay, err := a.guess(t, try)
	a.pause(delay)
	return err
}

func (a *Auth) guess(t *loginTry, try func() (bool, error)) (time.Duration, error) {
	turn := &a.turns[sha256.Sum256([]byte(t.name))[0]%byte(len(a.turns))]
	turn.Lock()
	defer turn.Unlock()
	if a.over(t) > 0 {
		return rateDelay, authError(t.name, ErrAuthRate)
	}
	ok, err := try()
	if err == nil && !ok {
		return a.count(t, 0), authError(t.name, ErrAuth)
	}
	return 0, err
}

func failureDelay(n int) time.Duration {
	return min(firstDelay<<min(max(n-1, 0), 10), maxDelay)
}

func (a *Auth) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-a.stop:
	}
}
