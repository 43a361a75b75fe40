// The configuration: mail.toml becomes a Config, and what is wrong with it names the key and the line.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/BurntSushi/toml"
)

// Config is mail.toml, checked, with defaults filled in. It never changes while the appliance runs, but for what DomainsNow and ACMENow
// say: that follows the file (Adopt).
type Config struct {
	Hostname string   `toml:"hostname"`
	Domains  []string `toml:"domains"` // as Addr.Domain, the first is the default for names without one; at the start, see DomainsNow
	Database string   `toml:"database"`

	Listen struct {
		SMTP        []string `toml:"smtp"`
		Submission  []string `toml:"submission"`
		Submissions []string `toml:"submissions"`
		LMTP        []string `toml:"lmtp"`
		Sendmail    []string `toml:"sendmail"`
		POP3        []string `toml:"pop3"`
		POP3S       []string `toml:"pop3s"`
		IMAP        []string `toml:"imap"`
		IMAPS       []string `toml:"imaps"`
		Sieve       []string `toml:"sieve"`
		HTTP        []string `toml:"http"`
		HTTPS       []string `toml:"https"`
	} `toml:"listen"`

	TLS struct {
		Cert string `toml:"cert"`
		Key  string `toml:"key"`
		ACME
	} `toml:"tls"`

	Auth struct {
		Plaintext []Network `toml:"plaintext"`
	} `toml:"auth"`

	HTTP struct {
		Proxies []Network `toml:"proxies"` // whose X-Forwarded-For and PROXY headers are believed
	} `toml:"http"`

	MDNS struct {
		Enabled bool `toml:"enabled"`
	} `toml:"mdns"`

	Relay struct {
		Networks []Network `toml:"networks"`
	} `toml:"relay"`

	Outbound struct {
		Mode         string `toml:"mode"`
		Smarthost    string `toml:"smarthost"`
		User         string `toml:"user"`
		PasswordFile string `toml:"password_file"`
		AnyCert      bool   `toml:"any_cert"` // the smarthost's certificate is not checked
	} `toml:"outbound"`

	SMTP struct {
		LocalSenders   string   `toml:"local_senders"`   // what becomes of mail under our addresses from those who did not log in
		CheckSenders   string   `toml:"check_senders"`   // what becomes of mail from the internet that its domain disowns
		TrustedSealers []string `toml:"trusted_sealers"` // domains whose ARC seals are believed
		MTASTS         string   `toml:"mta_sts"`         // the mode of our own policy for those who send here, "" for none
		DMARCReports   bool     `toml:"dmarc_reports"`   // domains that ask for it hear how mail under their names was judged
		TLSReports     bool     `toml:"tls_reports"`     // domains that ask for it hear how TLS to their hosts went
	} `toml:"smtp"`

	DNS struct {
		Servers []string `toml:"servers"`  // host:port; none are the machine's own
		TrustAD bool     `toml:"trust_ad"` // what they say of DNSSEC is believed wherever they are
	} `toml:"dns"`

	Routes map[string]Route `toml:"routes"`

	SendingDevices []SendingDevice `toml:"device"`
	Fetch          []Fetch         `toml:"fetch"`

	Queue struct {
		Retry    Duration `toml:"retry"`
		RetryMax Duration `toml:"retry_max"`
		Warn     Duration `toml:"warn"`
		GiveUp   Duration `toml:"give_up"`
	} `toml:"queue"`

	Search struct {
		Index bool `toml:"index"` // keep decoded text in the file, so that searching it is quick
	} `toml:"search"`

	Limits Limits `toml:"limits"`

	file  string // "" in a test
	stamp string // of the file when it was read
	dir   string // of the file; relative paths in it start here
	live  atomic.Pointer[configLive]
}

// Limits are the [limits] keys; other limits are constants beside what they limit.
type Limits struct {
	Message       Size `toml:"message"`        // octets of one message
	Recipients    int  `toml:"recipients"`     // of one message
	Connections   int  `toml:"connections"`    // in all
	PerAddress    int  `toml:"per_address"`    // connections of one address (or /64) that are not logged in
	PerUser       int  `toml:"per_user"`       // connections of one person who is
	Received      int  `toml:"received"`       // Received fields before a message is taken for a loop
	LoginsMinute  int  `toml:"logins_minute"`  // different wrong passwords of one address in a minute, then they wait
	LoginsDay     int  `toml:"logins_day"`     // and in a day
	QueueMessages int  `toml:"queue_messages"` // waiting in the queue, beside reports
	QueuePerson   int  `toml:"queue_person"`   // of them, one person's or one device's
	QueueStranger int  `toml:"queue_stranger"` // of them, from one network of people who don't log in
	QueueReports  int  `toml:"queue_reports"`  // delivery reports waiting in the queue
	MessagesDay   int  `toml:"messages_day"`   // that one person may send in a day
	RecipientsDay int  `toml:"recipients_day"` // of all of them together
	IMAPMessages  int  `toml:"imap_messages"`  // that one IMAP command works on
}

// The values of [outbound] mode.
const (
	OutboundDirect    = "direct"
	OutboundSmarthost = "smarthost"
	OutboundNone      = "none"
)

// The values of [smtp] check_senders.
const (
	CheckReject = "reject" // refused, where the domain asks for it
	CheckMark   = "mark"   // shown
	CheckOff    = "off"    // nobody is asked
)

// The values of [smtp] local_senders.
const (
	LocalLogin = "login" // refused
	LocalMark  = "mark"  // shown
	LocalAny   = "any"   // nothing
)

// Duration is written as "3m", "4h", "3d".
type Duration time.Duration

func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 10_000 {
			return fmt.Errorf("%q is no duration; write 90s, 3m, 4h or 3d", s)
		}
		*d = Duration(n * 24 * float64(time.Hour))
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration; write 90s, 3m, 4h or 3d", s)
	}
	*d = Duration(v)
	return nil
}

// Size is written as octets or as "50MB" (powers of 1024).
type Size int64

func (z *Size) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		*z = Size(v)
		return nil
	case string:
		s, unit := strings.ToUpper(strings.TrimSpace(v)), int64(1)
		for i, u := range []string{"KB", "MB", "GB"} {
			if t, ok := strings.CutSuffix(s, u); ok {
				s, unit = strings.TrimSpace(t), 1<<(10*(i+1))
			}
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n <= 1<<40/unit {
			*z = Size(n * unit)
			return nil
		}
	}
	return fmt.Errorf("%v is no size; write 50MB or a number of octets", v)
}

// Network is an address or a range in CIDR form. IPv4 ranges hold for IPv4-mapped IPv6 addresses too.
type Network struct{ netip.Prefix }

func (n *Network) UnmarshalText(b []byte) error {
	s := string(b)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil {
			return fmt.Errorf("%q is no address or network; write 192.168.1.0/24 or ::1", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	n.Prefix = p.Masked()
	return nil
}

// contains says whether the address is in one of the networks.
func contains(nets []Network, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Local says whether mail for the domain lives here.
func (c *Config) Local(domain string) bool {
	for _, d := range c.DomainsNow() {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return strings.EqualFold(domain, c.Hostname)
}

// defaultConfig is what a missing key means; the sample mail.toml says the same in words.
func defaultConfig() *Config {
	c := &Config{Domains: []string{"home.arpa"}, Database: "mail.db"}
	c.Auth.Plaintext = []Network{{netip.MustParsePrefix("127.0.0.0/8")}, {netip.MustParsePrefix("::1/128")}}
	c.MDNS.Enabled = true
	c.Outbound.Mode = OutboundDirect
	c.SMTP.LocalSenders, c.SMTP.CheckSenders, c.SMTP.TrustedSealers = LocalLogin, CheckReject, []string{"google.com", "microsoft.com"}
	c.SMTP.DMARCReports = true
	c.SMTP.TLSReports = true
	c.Search.Index = true
	c.Queue.Retry, c.Queue.RetryMax = Duration(3*time.Minute), Duration(time.Hour)
	c.Queue.Warn, c.Queue.GiveUp = Duration(4*time.Hour), Duration(3*24*time.Hour)
	c.Limits = Limits{Message: 50 << 20, Recipients: 1000, Connections: 200, PerAddress: 20, PerUser: 50, Received: 50,
		LoginsMinute: 10, LoginsDay: 50, QueueMessages: 100_000, QueuePerson: 10_000, QueueStranger: 1000, QueueReports: 2000, MessagesDay: 500, RecipientsDay: 2000, IMAPMessages: 1_000_000}
	return c
}

// LoadConfig reads the file. An error names the file, the line and the key.
func LoadConfig(path string) (*Config, error) {
	stamp := configStamp(path)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there; start in the folder that has it, or name it with -config", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; make it a file that this user may read, or name another with -config", err)
	}
	c, err := parseConfig(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.file, c.dir, c.stamp = path, filepath.Dir(path), stamp
	return c, nil
}

// Path makes a path of the configuration absolute or relative to the working directory.
func (c *Config) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

func parseConfig(text string) (*Config, error) {
	c := defaultConfig()
	md, err := toml.Decode(text, c)
	if err != nil {
		return nil, tomlFault(text, err)
	}
	for _, k := range md.Undecoded() {
		return nil, fmt.Errorf("line %d: unknown key %q", keyLine(text, k, 0), k.String())
	}
	if err := c.check(); err != nil {
		var ke *keyError
		if errors.As(err, &ke) {
			return nil, fmt.Errorf("line %d: %w", keyLine(text, ke.key, ke.entry), err)
		}
		return nil, err
	}
	return c, nil
}

// tomlFault puts into words what the decoder says: it knows Go's types, and the reader knows TOML's.
func tomlFault(text string, err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		// A value of the wrong type: `toml: line 4 (last key "hostname"): incompatible types: TOML value has type int64; …`
		m := regexp.MustCompile(`line (\d+) \(last key "(.*)"\): .*destination has type (\w+)$`).FindStringSubmatch(err.Error())
		if m == nil {
			return err
		}
		want := map[string]string{"string": `text in quotes`, "slice": `a list, such as ["one", "two"]`, "boolean": "true or false",
			"integer": "a whole number"}[m[3]]
		if want == "" {
			want = m[3]
		}
		return fmt.Errorf("line %s: key %q: this must be %s", m[1], m[2], want)
	}
	line, msg := pe.Position.Line, pe.Message
	if msg == "" {
		msg = pe.Error()
		if _, rest, ok := strings.Cut(msg, ": "); ok {
			msg = rest
		}
	}
	if pe.LastKey != "" && !strings.Contains(msg, pe.LastKey) {
		msg = fmt.Sprintf("key %q: %s", pe.LastKey, msg)
	}
	if line == 0 { // of a table that the text does not open, as in `lab2.arpa = …`
		line = keyLine(text, strings.Split(pe.LastKey, "."), 0)
	}
	return fmt.Errorf("line %d: %s", line, msg)
}

// keyError is a value that is well-formed and still wrong.
type keyError struct {
	key   toml.Key
	text  string
	entry int // of [[device]] or [[fetch]], from 0
}

func (e *keyError) Error() string { return fmt.Sprintf("key %q: %s", e.key.String(), e.text) }

func keyFault(key, format string, a ...any) error {
	return &keyError{key: strings.Split(key, "."), text: fmt.Sprintf(format, a...)}
}

// ofEntry says in which of several [[device]] or [[fetch]] the fault is.
func ofEntry(n int, err error) error {
	var ke *keyError
	if errors.As(err, &ke) {
		ke.entry = n
	}
	return err
}

// keyLine finds the line on which a key stands, by its table (the entry-th of that name) and its last name; the table's
// own line, or 1, if it does not stand there.
func keyLine(text string, key toml.Key, entry int) int {
	table, want := strings.Join(key[:len(key)-1], "."), key[len(key)-1]
	header := regexp.MustCompile(`^\[+\s*([^\]]*?)\s*\]+\s*(#.*)?$`)
	here, nth, found := "", 0, 1
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if m := header.FindStringSubmatch(line); m != nil {
			here = strings.Trim(m[1], `"`)
			if here == key.String() {
				return i + 1
			}
			if here == table {
				nth++
				if nth-1 == entry {
					found = i + 1
				}
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		name = strings.Trim(name, " \t\"'")
		if !ok || here != table || (here != "" && nth-1 != entry) {
			continue
		}
		if name == want || strings.HasPrefix(name, want+".") {
			return i + 1
		}
	}
	return found
}

// check fills in what depends on the machine and refuses what can't work.
func (c *Config) check() error {
	for _, part := range []func() error{c.checkNames, c.checkListen, c.checkLimits, c.checkNetworks, c.checkDevices, c.checkDNS, c.checkOutbound} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// checkNames fills in the host's name and brings the domains into the form that addresses have.
func (c *Config) checkNames() error {
	if c.Hostname == "" {
		h, err := os.Hostname()
		if err != nil || h == "" {
			h = "postino"
		}
		if !strings.Contains(h, ".") {
			h += ".local"
		}
		c.Hostname = strings.ToLower(h)
	} else if h, err := ParseDomain(c.Hostname); err != nil || strings.HasPrefix(h, "[") {
		return keyFault("hostname", "%q can't be a machine's name; write one such as \"mail.home.arpa\"", c.Hostname)
	}
	if len(c.Domains) == 0 {
		return keyFault("domains", "name at least one domain, such as \"home.arpa\"")
	}
	for i, d := range c.Domains {
		a, err := ParseAddr("x@" + d)
		if err != nil {
			return keyFault("domains", "%q is no domain: %v", d, err)
		}
		c.Domains[i] = a.Domain
	}
	if c.Database == "" {
		return keyFault("database", "name the file that everything is kept in, such as \"mail.db\"")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return keyFault("tls.cert", "cert and key go together: name both or neither")
	}
	return c.checkACME()
}

// checkLimits refuses times and limits with which nothing would get through.
func (c *Config) checkLimits() error {
	if c.Queue.Warn <= 0 || c.Queue.GiveUp <= 0 {
		return keyFault("queue.give_up", "warn and give_up must be above zero")
	}
	if c.Queue.Retry <= 0 || c.Queue.RetryMax < c.Queue.Retry {
		return keyFault("queue.retry", "retry must be above zero and retry_max not below it")
	}
	if c.Limits.Message < 64<<10 || c.Limits.Message > 1<<30 {
		return keyFault("limits.message", "between 64KB and 1GB")
	}
	for _, l := range []struct {
		key string
		n   int
	}{{"recipients", c.Limits.Recipients}, {"connections", c.Limits.Connections}, {"per_address", c.Limits.PerAddress},
		{"per_user", c.Limits.PerUser},
		{"received", c.Limits.Received}, {"logins_minute", c.Limits.LoginsMinute}, {"logins_day", c.Limits.LoginsDay},
		{"queue_messages", c.Limits.QueueMessages}, {"queue_person", c.Limits.QueuePerson}, {"queue_stranger", c.Limits.QueueStranger},
		{"queue_reports", c.Limits.QueueReports}, {"messages_day", c.Limits.MessagesDay}, {"recipients_day", c.Limits.RecipientsDay},
		{"imap_messages", c.Limits.IMAPMessages}} {
		if l.n < 1 {
			return keyFault("limits."+l.key, "must be at least 1")
		}
	}
	return nil
}

// checkNetworks refuses to trust everybody.
func (c *Config) checkNetworks() error {
	if m := c.SMTP.LocalSenders; m != LocalLogin && m != LocalMark && m != LocalAny {
		return keyFault("smtp.local_senders", "%q is none of login, mark, any", m)
	}
	if m := c.SMTP.CheckSenders; m != CheckReject && m != CheckMark && m != CheckOff {
		return keyFault("smtp.check_senders", "%q is none of reject, mark, off", m)
	}
	if m := c.SMTP.MTASTS; m != "" && m != "enforce" && m != "testing" && m != "none" {
		return keyFault("smtp.mta_sts", "%q is none of enforce, testing, none; leave it empty for no policy", m)
	}
	for _, n := range c.HTTP.Proxies {
		if n.Bits() == 0 {
			return keyFault("http.proxies", "%s would let the whole world say where it comes from", n)
		}
	}
	for _, n := range c.Relay.Networks {
		if n.Bits() == 0 {
			return keyFault("relay.networks", "%s would let the whole world send through this machine", n)
		}
	}
	return nil
}

// checkListen refuses addresses that nobody could listen on, and one that is named twice.
func (c *Config) checkListen() error {
	l, used := &c.Listen, map[string]string{}
	for _, s := range []struct {
		key   string
		addrs []string
	}{{"smtp", l.SMTP}, {"submission", l.Submission}, {"submissions", l.Submissions}, {"lmtp", l.LMTP}, {"sendmail", l.Sendmail}, {"pop3", l.POP3},
		{"pop3s", l.POP3S}, {"imap", l.IMAP}, {"imaps", l.IMAPS}, {"sieve", l.Sieve}, {"http", l.HTTP}, {"https", l.HTTPS}} {
		for _, a := range s.addrs {
			if _, port, err := net.SplitHostPort(a); !strings.Contains(a, "/") && (err != nil || !isPort(port)) {
				return keyFault("listen."+s.key, "%q is no address to listen on; write \":2525\", \"127.0.0.1:2525\" or a path with a / for a socket", a)
			}
			if s.key == "sendmail" && !strings.Contains(a, "/") {
				return keyFault("listen.sendmail", "%q is no path; write one with a / such as \"/run/postino/sendmail\"", a)
			}
			if other := used[a]; other != "" && !strings.HasSuffix(a, ":0") {
				return keyFault("listen."+s.key, "%s is taken by %s above; each needs a port of its own", a, other)
			}
			used[a] = s.key
		}
	}
	return nil
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n < 1<<16
}

func (c *Config) checkOutbound() error {
	switch c.Outbound.Mode {
	case OutboundDirect, OutboundNone:
	case OutboundSmarthost:
		if c.Outbound.Smarthost == "" {
			return keyFault("outbound.smarthost", "mode \"smarthost\" needs a host, such as \"smtp.example.org:587\"")
		}
		if routeHostPort(c.Outbound.Smarthost, "587") == "" {
			return keyFault("outbound.smarthost", "%q is no host:port; write \"smtp.example.org:587\"", c.Outbound.Smarthost)
		}
		if c.Outbound.User != "" && c.Outbound.PasswordFile == "" {
			return keyFault("outbound.password_file", "the password of %q goes into a file of its own; name it", c.Outbound.User)
		}
	default:
		return keyFault("outbound.mode", "%q is none of direct, smarthost, none", c.Outbound.Mode)
	}
	return c.checkRoutes()
}

// checkDNS completes the addresses of DNS servers with their port. Names won't do: somebody would have to look them up.
func (c *Config) checkDNS() error {
	for i, s := range c.DNS.Servers {
		a, err := netip.ParseAddr(s)
		if err == nil {
			s = netip.AddrPortFrom(a, 53).String()
		}
		ap, err := netip.ParseAddrPort(s)
		if err != nil || ap.Port() == 0 {
			return keyFault("dns.servers", "%q is no address of a server; write one such as \"127.0.0.1\" or \"127.0.0.1:5353\"", s)
		}
		c.DNS.Servers[i] = ap.String()
	}
	return nil
}

// checkRoutes brings the domains into the form that addresses have.
func (c *Config) checkRoutes() error {
	routes := make(map[string]Route, len(c.Routes))
	for _, name := range slices.Sorted(maps.Keys(c.Routes)) {
		fault := func(text string) error { return &keyError{key: toml.Key{"routes", name}, text: text} }
		r, d := c.Routes[name], name
		if name != "." {
			var err error
			d, err = ParseDomain(name)
			if err != nil {
				return fault("this is no domain; write one such as \"lab2.arpa\", or \".\" for all the rest")
			}
		}
		if c.Local(d) {
			return fault("mail for it stays here, because it is in domains; take it out of one of the two")
		}
		if _, twice := routes[d]; twice {
			return fault("this domain has two routes")
		}
		if text := r.fault(); text != "" {
			return fault(text)
		}
		routes[d] = r
	}
	if c.Routes != nil {
		c.Routes = routes
	}
	return nil
}
