// Figures for monitoring: Prometheus' text format, and whether the appliance is alive.
package main

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"
)

const webSettingMetrics = "metrics_token"

func webMetricsRoutes() []webRoute {
	return []webRoute{
		{"GET /metrics", webPublic, (*webReq).getMetrics},
		{"GET /healthz", webPublic, (*webReq).getHealth},
	}
}

// metricsToken is what a monitor from another machine must show; it is made when somebody first looks at it.
func (q *webReq) metricsToken() (string, error) {
	v, err := read(q.s.store, func(tx *Tx) ([]byte, error) { return tx.Setting(webSettingMetrics) })
	if !errors.Is(err, ErrNotFound) {
		return string(v), err
	}
	made := webToken()
	v, err = write(q.s.store, func(tx *Tx) ([]byte, error) {
		v, err := tx.Setting(webSettingMetrics)
		if errors.Is(err, ErrNotFound) {
			v = []byte(made)
			err = tx.SetSetting(webSettingMetrics, v)
		}
		return v, err
	})
	if errors.Is(err, ErrReadOnly) || errors.Is(err, ErrDiskFull) {
		return "", nil
	}
	return string(v), err
}

// ownMachine says whether somebody on this machine asks, and no proxy there for others: one that is not in [http] proxies gives
// itself away by what it adds, or by the name that it was asked for.
func (q *webReq) ownMachine() bool {
	if !q.remote.IsLoopback() {
		return false
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if q.r.Header.Get(name) != "" {
			return false
		}
	}
	host := q.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || (err == nil && a.IsLoopback())
}

// getMetrics answers this machine, and whoever has the token.
func (q *webReq) getMetrics() error {
	if !q.ownMachine() {
		want, err := read(q.s.store, func(tx *Tx) ([]byte, error) { return tx.Setting(webSettingMetrics) })
		got, ok := strings.CutPrefix(q.r.Header.Get("Authorization"), "Bearer ")
		if err != nil || !ok || subtle.ConstantTimeCompare([]byte(got), want) != 1 {
			return ErrNotFound
		}
	}
	st, err := q.s.store.Stat()
	if err != nil {
		return err
	}
	queued, waiting := 0, 0
	err = q.s.store.Read(func(tx *Tx) error {
		n, err := tx.QueueLength()
		if err != nil {
			return err
		}
		ways, err := tx.Destinations()
		queued, waiting = n, len(ways)
		return err
	})
	if err != nil {
		return err
	}
	q.s.mu.Lock()
	conns := len(q.s.conns)
	q.s.mu.Unlock()
	looked := q.s.store.Looked()
	var b strings.Builder
	for _, m := range []struct {
		name, kind, help string
		value            int64
	}{
		{"users", "gauge", "People who have mail here.", st.Users},
		{"mailboxes", "gauge", "Mailboxes of everybody.", st.Mailboxes},
		{"messages", "gauge", "Messages in them.", st.Messages},
		{"message_bytes", "gauge", "Octets of those messages.", st.Bytes},
		{"file_bytes", "gauge", "Octets of the database file.", st.File},
		{"wal_bytes", "gauge", "Octets of its write-ahead log.", st.WAL},
		{"disk_free_bytes", "gauge", "Octets free on its disk.", st.DiskFree},
		{"queue_messages", "gauge", "Messages waiting to go out.", int64(queued)},
		{"queue_destinations", "gauge", "Domains that they wait for.", int64(waiting)},
		{"sent_total", "counter", "Recipients elsewhere that took mail since the start.", q.s.went.Load()},
		{"bounced_total", "counter", "Recipients elsewhere that refused mail for good, or were given up, since the start.", q.s.refused.Load()},
		{"connections", "gauge", "Connections of the mail protocols.", int64(conns)},
		{"event_streams", "gauge", "Browsers that listen for news.", q.streams.count()},
		{"goroutines", "gauge", "Goroutines.", int64(runtime.NumGoroutine())},
		{"memory_bytes", "gauge", "Octets of resident memory.", webResident()},
		{"written_bytes_total", "counter", "Octets written to disks since the start.", webWritten()},
		{"start_time_seconds", "gauge", "When the appliance was started.", q.s.store.Now().Add(-time.Since(q.started)).Unix()},
		{"damaged", "gauge", "1 if the file may only be read.", webFlag(q.s.store.Damaged() != nil)},
		{"damaged_messages", "gauge", "Messages found damaged when the whole file was looked through last.", looked.Messages},
		{"damaged_tables", "gauge", "Faults found in tables and indexes then.", int64(len(looked.Tables))},
		{"looked_through_seconds", "gauge", "When that was done; 0 while the first one is under way.", max(looked.Done.Unix(), 0)},
		{"writable", "gauge", "1 if the last commit worked.", webFlag(q.s.store.Writable() == nil)},
		{"clock_trusted", "gauge", "1 if the clock is not older than the mail.", webFlag(q.s.store.ClockTrusted())},
	} {
		fmt.Fprintf(&b, "# HELP postino_%s %s\n# TYPE postino_%s %s\npostino_%s %d\n", m.name, m.help, m.name, m.kind, m.name, m.value)
	}
	b.WriteString("# HELP postino_faults_total Panics that were caught, by where.\n# TYPE postino_faults_total counter\n")
	for _, f := range q.s.crew.Faults() {
		fmt.Fprintf(&b, "postino_faults_total{in=%q} %d\n", f.Name, f.Count)
	}
	q.send(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", []byte(b.String()))
	return nil
}

func webFlag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

// getHealth is for whatever watches or restarts the appliance: it reads the file and says in a word whether mail can be read and stored.
func (q *webReq) getHealth() error {
	_, err := read(q.s.store, (*Tx).Users)
	text := "ok"
	switch damaged := q.s.store.Damaged(); {
	case q.s.store.Unreadable() != nil || err != nil:
		text = "unreadable"
	case errors.Is(damaged, errChecking):
		text = "checking"
	case damaged != nil && q.s.store.CanBeWritten() != nil: // the file is well, and can't be written
		text = "read-only"
	case damaged != nil:
		text = "damaged"
	case errors.Is(q.s.store.Writable(), ErrDiskFull) || q.s.store.Room(0) != nil:
		text = "full"
	case q.s.store.Writable() != nil:
		text = "read-only"
	}
	status := http.StatusOK
	if text != "ok" {
		status = http.StatusServiceUnavailable
	}
	q.send(status, "text/plain; charset=utf-8", []byte(text+"\n"))
	return nil
}
