// Routes: where mail goes without the DNS, and links that are not always up.
package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Route is where mail for a domain goes without asking the DNS.
type Route struct {
	Hosts        []string // host:port, tried in order
	Intermittent bool     // the link is up now and then: only tried in the window or when somebody asks (ETRN, queue retry)
	Window       Window   // of an intermittent route; zero is on demand only
	BundleKey    string   // secret that the two labs share: it proves who made a bundle
	Caller       string   // login of the board that calls and gets its mail over its own connection (ATRN), "" none
}

// Window is a time of day, in the machine's time zone; it may go over midnight.
type Window struct{ From, To time.Duration }

// parseWindow reads "02:00-04:00".
func parseWindow(s string) (Window, error) {
	from, to, ok := strings.Cut(s, "-")
	start, startErr := timeOfDay(from)
	end, endErr := timeOfDay(to)
	if !ok || startErr != nil || endErr != nil || start == end {
		return Window{}, fmt.Errorf("%q is no window; write \"02:00-04:00\"", s)
	}
	return Window{start, end}, nil
}

// timeOfDay reads "02:00".
func timeOfDay(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", strings.TrimSpace(s))
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

// Next says when the window is open: now (the answer is now itself), or from when on; never for the zero Window (zero time).
func (w Window) Next(now time.Time) time.Time {
	if w == (Window{}) {
		return time.Time{}
	}
	h, m, s := now.Clock()
	at := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second
	open := at >= w.From && at < w.To
	if w.To < w.From {
		open = at >= w.From || at < w.To
	}
	if open {
		return now
	}
	wait := w.From - at
	if wait < 0 {
		wait += 24 * time.Hour
	}
	return now.Add(wait)
}

// UnmarshalTOML takes "host:port", a list of them, or a table {hosts, intermittent, window, caller, bundle_key}.
func (r *Route) UnmarshalTOML(v any) error {
	var err error
	switch v := v.(type) {
	case map[string]any:
		err = r.table(v)
	default:
		r.Hosts, err = routeHosts(v)
	}
	if err != nil || len(r.Hosts) > 0 || r.Caller != "" {
		return err
	}
	r.Intermittent = true
	if r.BundleKey == "" { // with a key its mail goes by bundle
		return errors.New("a route needs a host, a caller or a bundle_key")
	}
	return nil
}

func routeHosts(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		var hosts []string
		for _, h := range v {
			s, ok := h.(string)
			if !ok {
				return nil, fmt.Errorf("a route is \"host:port\" or a list of them, not %v", h)
			}
			hosts = append(hosts, s)
		}
		return hosts, nil
	}
	return nil, fmt.Errorf("a route is \"host:port\", a list of them or a table, not %v", v)
}

func (r *Route) table(t map[string]any) error {
	for key, v := range t {
		if err := r.set(key, v); err != nil {
			return err
		}
	}
	return nil
}

// set takes one key of the table.
func (r *Route) set(key string, v any) error {
	var ok bool
	var err error
	switch key {
	case "hosts":
		r.Hosts, err = routeHosts(v)
		return err
	case "intermittent":
		r.Intermittent, ok = v.(bool)
	case "caller":
		r.Caller, ok = v.(string)
		r.Intermittent = r.Intermittent || ok
	case "bundle_key":
		r.BundleKey, ok = v.(string)
	case "window":
		if s, text := v.(string); text {
			r.Window, err = parseWindow(s)
			r.Intermittent = true
			return err
		}
	default:
		return fmt.Errorf("a route has no key %q; it has hosts, intermittent, window, caller and bundle_key (and a domain with a dot needs quotes)", key)
	}
	if !ok {
		return fmt.Errorf("the route's %s can't be %v", key, v)
	}
	return nil
}

// routeHostPort adds the port that is usual; "" when it is no host at all.
func routeHostPort(s, port string) string {
	if host, p, err := net.SplitHostPort(s); err == nil {
		if host == "" || !isPort(p) {
			return ""
		}
		return s
	}
	bare := strings.Trim(s, "[]")
	if _, err := netip.ParseAddr(bare); bare == "" || (err != nil && strings.ContainsAny(bare, " /:")) {
		return ""
	}
	return net.JoinHostPort(bare, port)
}

// String is the same for routes that can share a connection.
func (r Route) String() string {
	text := strings.Join(r.Hosts, " ")
	if r.Intermittent {
		text += fmt.Sprintf(" intermittent %s-%s", r.Window.From, r.Window.To)
	}
	if r.Caller != "" {
		text += " caller " + r.Caller
	}
	return text
}

// fault says what is wrong with a route, or "".
func (r Route) fault() string {
	for _, h := range r.Hosts {
		if _, _, err := net.SplitHostPort(h); err != nil && routeHostPort(h, "25") != "" {
			return fmt.Sprintf("%q needs a port; write %q", h, routeHostPort(h, "25"))
		} else if routeHostPort(h, "25") == "" {
			return fmt.Sprintf("%q is no host:port, such as \"192.0.2.7:25\"", h)
		}
	}
	if r.Caller != "" {
		if _, err := ParseAddr(r.Caller); err != nil {
			return fmt.Sprintf("the caller %q is nobody who could log in; write a user's whole address", r.Caller)
		}
	}
	return ""
}
