// MTA-STS: what a domain says by https of the hosts that take its mail (RFC 8461).
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	stsHosts  = 64                         // names in a policy
	stsMaxAge = 31_557_600 * time.Second   // RFC 8461 §3.2
	stsSize   = 64 << 10                   // octets of a policy as it comes (§3.3)
	stsAgain  = 5 * time.Minute            // before one is tried again that could not be fetched (§3.3)
	stsTried  = 1000                       // domains of which that is remembered
	stsPath   = "/.well-known/mta-sts.txt" // at the host mta-sts.DOMAIN
)

// The modes of a policy.
const (
	stsEnforce = "enforce" // mail waits rather than going to another host, or one without a good certificate
	stsTesting = "testing" // it goes, and what is wrong is reported
	stsNone    = "none"    // as without a policy
)

// errSTS is why a policy, or the record that tells of one, is none.
var errSTS = errors.New("the policy makes no sense")

// STSPolicy is a domain's policy.
type STSPolicy struct {
	Mode   string
	Hosts  []string // in small letters; "*." in front stands for one label
	MaxAge time.Duration
}

// stsRecord is the id in the record that tells of a policy, "" if there is none, or more than one (RFC 8461 §3.1).
func stsRecord(texts []string) string {
	id, n := "", 0
	for _, text := range texts {
		first, rest, _ := strings.Cut(text, ";")
		if strings.TrimSpace(first) != "v=STSv1" {
			continue
		}
		n++
		for _, field := range strings.Split(rest, ";") {
			name, value, ok := strings.Cut(field, "=")
			if ok && strings.TrimSpace(name) == "id" {
				id = strings.TrimSpace(value)
			}
		}
	}
	if n != 1 || len(id) > 32 || !stsWord(id, "") {
		return ""
	}
	return id
}

// stsWord says whether a text is made of letters and digits of ASCII, and of more.
func stsWord(s, more string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}

// parseSTS reads a policy (RFC 8461 §3.2). Of fields that are there twice the first counts, but for mx; unknown ones do not.
func parseSTS(text string) (*STSPolicy, error) {
	fields := map[string]string{}
	p := &STSPolicy{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.Trim(name, " \t\r\n"), strings.Trim(value, " \t\r\n")
		if !ok {
			continue
		}
		if name != "mx" {
			if _, twice := fields[name]; !twice {
				fields[name] = value
			}
			continue
		}
		host, err := stsHost(value)
		if err != nil {
			return nil, err
		}
		p.Hosts = append(p.Hosts, host)
	}
	p.Mode = fields["mode"]
	age, err := strconv.ParseUint(fields["max_age"], 10, 64)
	switch {
	case fields["version"] != "STSv1":
		return nil, fmt.Errorf("%w: its version is none that is known", errSTS)
	case p.Mode != stsEnforce && p.Mode != stsTesting && p.Mode != stsNone:
		return nil, fmt.Errorf("%w: its mode is none of enforce, testing, none", errSTS)
	case err != nil || len(fields["max_age"]) > 10:
		return nil, fmt.Errorf("%w: its max_age is no number of seconds", errSTS)
	case len(p.Hosts) == 0 && p.Mode != stsNone:
		return nil, fmt.Errorf("%w: it names no hosts", errSTS)
	case len(p.Hosts) > stsHosts:
		return nil, fmt.Errorf("%w: it names more than %d hosts", errSTS, stsHosts)
	}
	p.MaxAge = min(time.Duration(min(age, uint64(stsMaxAge/time.Second)))*time.Second, stsMaxAge)
	return p, nil
}

// stsHost reads the name or pattern of a host.
func stsHost(s string) (string, error) {
	rest, wild := strings.CutPrefix(s, "*.")
	ascii, err := DomainToASCII(strings.TrimSuffix(rest, "."))
	if err != nil || ascii == "" || len(s) > 255 || !stsWord(ascii, "-._") {
		return "", fmt.Errorf("%w: an mx is no name of a host", errSTS)
	}
	ascii = strings.ToLower(ascii)
	if wild {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// String is the policy as it is stored, served and reported: the lines of RFC 8461 §3.2.
func (p *STSPolicy) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\r\nmode: %s\r\n", p.Mode)
	for _, h := range p.Hosts {
		fmt.Fprintf(&b, "mx: %s\r\n", h)
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", p.MaxAge/time.Second)
	return b.String()
}

// names says whether a host is one of those that the policy names (RFC 8461 §4.1).
func (p *STSPolicy) names(host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, h := range p.Hosts {
		suffix, wild := strings.CutPrefix(h, "*.")
		if h == host || (wild && suffix == parent) {
			return true
		}
	}
	return false
}

// stsFailures remembers which policies could not be fetched, so that not each message waits for that again.
type stsFailures struct {
	mu    sync.Mutex
	until map[string]time.Time // by the monotonic clock
}

func (f *stsFailures) note(domain string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil || len(f.until) >= stsTried {
		f.until = map[string]time.Time{}
	}
	f.until[domain] = time.Now().Add(stsAgain)
}

func (f *stsFailures) lately(domain string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.until[domain])
}
