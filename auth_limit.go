// What failed logins lead to: limits by network, and pauses.
package main

import (
	"crypto/sha256"
	"net/netip"
	"time"
)

// failures are the failed logins of one network. A guess that was made before teaches an attacker nothing, but a phone
// with an old password makes it all day long, and whoever shares its address (behind a router, or by IPv6 its /64) shall
// not have to wait for that: repetitions count against the name alone, and not for the day.
type failures struct {
	minute, day           int // different guesses since the times below
	minuteStart, dayStart time.Time
	guesses               [8]failedGuess // the last different ones
	next                  int            // where the next one goes
}

type failedGuess struct {
	guess uint64 // of its mac
	name  string // as Auth.loginKey
	again int    // repetitions in this minute
}

// loginNetwork is what failures count against: an IPv4 address, or the /64 that an IPv6 host can roam in. Loopback is
// no exception: a web server or a tunnel may stand there for the whole world.
func loginNetwork(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

func (f *failures) roll(now time.Time) {
	if now.Sub(f.minuteStart) >= time.Minute {
		f.minute, f.minuteStart = 0, now
		for i := range f.guesses {
			f.guesses[i].again = 0
		}
	}
	if now.Sub(f.dayStart) >= 24*time.Hour {
		f.day, f.dayStart = 0, now
	}
}

// inMinute counts what stands against a name.
func (f *failures) inMinute(key string) int {
	n := f.minute
	for _, g := range f.guesses {
		if g.name == key {
			n += g.again
		}
	}
	return n
}

// mayTry says whether the network has failures left for the name.
func (a *Auth) mayTry(network netip.Prefix, name string) bool {
	key, _ := a.loginKey(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.failing[network]
	if f == nil {
		return true
	}
	f.roll(a.now())
	return f.inMinute(key) < a.cfg.Limits.LoginsMinute && f.day < a.cfg.Limits.LoginsDay
}

// failed counts a failure and waits before it may be answered. guess tells repetitions; 0 is never one.
func (a *Auth) failed(network netip.Prefix, name string, guess uint64) {
	a.pause(a.count(network, name, guess))
}

// Guess is for secrets other than passwords, such as the code of a second factor: try says whether it was right. It is not
// called for a network that has no failures left, and a wrong guess counts like a wrong password. Guesses for a name take
// turns, so that many at once are not more than one after the other. ErrAuth, ErrAuthRate, or what try says.
func (a *Auth) Guess(from netip.Addr, name string, try func() (bool, error)) error {
	network := loginNetwork(from)
	delay, err := a.guess(network, name, try)
	a.pause(delay)
	return err
}

func (a *Auth) guess(network netip.Prefix, name string, try func() (bool, error)) (time.Duration, error) {
	turn := &a.turns[sha256.Sum256([]byte(name))[0]%byte(len(a.turns))]
	turn.Lock()
	defer turn.Unlock()
	if !a.mayTry(network, name) {
		return rateDelay, authError(name, ErrAuthRate)
	}
	ok, err := try()
	if err == nil && !ok {
		return a.count(network, name, 0), authError(name, ErrAuth)
	}
	return 0, err
}

// count notes a failure and returns how long its answer has to wait.
func (a *Auth) count(network netip.Prefix, name string, guess uint64) time.Duration {
	key, _ := a.loginKey(name)
	a.mu.Lock()
	now := a.now()
	f := a.failing[network]
	if f == nil {
		a.forgetFailures(now)
		f = &failures{minuteStart: now, dayStart: now}
		a.failing[network] = f
	}
	f.roll(now)
	if !f.again(guess) {
		f.minute++
		f.day++
		f.guesses[f.next] = failedGuess{guess: guess, name: key[:min(len(key), maxFailedName)]}
		f.next = (f.next + 1) % len(f.guesses)
	}
	delay := failureDelay(f.inMinute(key))
	a.mu.Unlock()
	return delay
}

// again counts a repetition, if it is one.
func (f *failures) again(guess uint64) bool {
	for i := range f.guesses {
		if guess != 0 && f.guesses[i].guess == guess {
			f.guesses[i].again++
			return true
		}
	}
	return false
}

// forgetFailures makes room for one more network. a.mu is held.
func (a *Auth) forgetFailures(now time.Time) {
	if len(a.failing) < maxFailing {
		return
	}
	var oldest netip.Prefix
	for p, f := range a.failing {
		if now.Sub(f.dayStart) >= 24*time.Hour {
			delete(a.failing, p)
		} else if o := a.failing[oldest]; o == nil || f.minuteStart.Before(o.minuteStart) {
			oldest = p
		}
	}
	if len(a.failing) >= maxFailing {
		delete(a.failing, oldest)
	}
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
