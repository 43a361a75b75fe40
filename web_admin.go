// Administration: how the machine is, users, aliases, shared folders, the queue, the log, backups, DNS.
package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	webLogShown    = 400
	webQueueShown  = 200
	webBouncesMany = 5                   // and a tenth of all: the overview says so
	webCertWarn    = 14 * 24 * time.Hour // before a certificate ends
)

func webAdminRoutes() []webRoute {
	return []webRoute{
		{"GET /admin", webAdmin, (*webReq).getAdmin},
		{"GET /admin/users", webAdmin, (*webReq).getUsers},
		{"POST /admin/users", webAdmin, (*webReq).postUsers},
		{"GET /admin/users/{id}", webAdmin, (*webReq).getUser},
		{"POST /admin/users/{id}", webAdmin, (*webReq).postUser},
		{"GET /admin/aliases", webAdmin, (*webReq).getAliases},
		{"POST /admin/aliases", webAdmin, (*webReq).postAliases},
		{"GET /admin/shared", webAdmin, (*webReq).getShared},
		{"POST /admin/shared", webAdmin, (*webReq).postShared},
		{"GET /admin/queue", webAdmin, (*webReq).getQueue},
		{"POST /admin/queue", webAdmin, (*webReq).postQueue},
		{"GET /admin/log", webAdmin, (*webReq).getLog},
		{"POST /admin/backup", webAdmin, (*webReq).postBackup},
		{"GET /admin/devices", webAdmin, (*webReq).getAllDevices},
		{"POST /admin/devices", webAdmin, (*webReq).postAllDevices},
		{"GET /admin/dns", webAdmin, (*webReq).getDNS},
		{"GET /admin/reports", webAdmin, (*webReq).getReports},
	}
}

// webAdminTabs are the pages of the administration.
var webAdminTabs = [][2]string{{"", "Overview"}, {"users", "Users"}, {"aliases", "Aliases"}, {"shared", "Shared folders"}, {"domains", "Domains"},
	{"queue", "Queue"}, {"devices", "Devices"}, {"log", "Log"}, {"dns", "DNS"}, {"reports", "Reports"}}

// webTabs shows them, with the one that is open.
type webTabs struct{ Tab string }

// Tabs lists the tabs for the template.
func (webTabs) Tabs() [][2]string { return webAdminTabs }

// webLight is one line of the overview: how something is, in words.
type webLight struct {
	Good bool
	Text string
}

// webOverview is the first page.
type webOverview struct {
	webTabs
	Lights    []webLight
	Stat      StoreStat
	Memory    int64 // resident octets
	Written   int64 // octets written to disks since the start
	Up        time.Duration
	Conns     int
	Queue     int
	Version   string
	Domains   []string
	Listeners [][2]string
	CertUntil time.Time
	CertFrom  string
	Token     string
}

// FileSize is what the file takes on the disk, with what is not yet written back into it.
func (o webOverview) FileSize() int64 { return o.Stat.File + o.Stat.WAL }

// UpText is the time since the start in words.
func (o webOverview) UpText() string {
	d := o.Up.Round(time.Minute)
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

func (q *webReq) getAdmin() error {
	stat, err := q.s.store.Stat()
	if err != nil {
		return err
	}
	o := webOverview{Stat: stat, Up: time.Since(q.started), Domains: q.s.cfg.DomainsNow(), Memory: webResident(), Written: webWritten(), Version: runtime.Version()}
	o.Queue, err = read(q.s.store, (*Tx).QueueLength)
	if err != nil {
		return err
	}
	q.s.mu.Lock()
	o.Conns = len(q.s.conns)
	q.s.mu.Unlock()
	l := q.s.cfg.Listen
	for _, x := range []struct {
		name  string
		addrs []string
	}{{"SMTP", l.SMTP}, {"Submission", l.Submission}, {"Submissions", l.Submissions}, {"LMTP", l.LMTP}, {"IMAP", l.IMAP}, {"IMAPS", l.IMAPS},
		{"POP3", l.POP3}, {"POP3S", l.POP3S}, {"HTTP", l.HTTP}, {"HTTPS", l.HTTPS}} {
		if len(x.addrs) > 0 {
			o.Listeners = append(o.Listeners, [2]string{x.name, strings.Join(x.addrs, ", ")})
		}
	}
	if leaf := q.s.tls.Leaf(); leaf != nil {
		o.CertUntil, o.CertFrom = leaf.NotAfter, leaf.Issuer.CommonName
	}
	if leaf := q.s.tls.Public(); leaf != nil {
		o.CertUntil, o.CertFrom = leaf.NotAfter, leaf.Issuer.CommonName
	}
	o.Token, err = q.metricsToken()
	if err != nil {
		return err
	}
	o.Lights = q.lights(o)
	return q.page("admin", "Administration", o)
}

// lights says in words what is well and what is not.
func (q *webReq) lights(o webOverview) []webLight {
	var all []webLight
	say := func(good bool, yes, no string) {
		text := yes
		if !good {
			text = no
		}
		all = append(all, webLight{good, q.lang.T(text)})
	}
	say(q.s.store.Writable() == nil, "The mail file is whole.", "The mail file can only be read: mail is neither taken in nor sent. The log says why.")
	if l := q.s.store.Looked(); l.Messages > 0 || len(l.Tables) > 0 {
		say(false, "", "Something in the mail file is damaged: the log has it, and `postino check` names the messages.")
	}
	say(q.s.store.Room(0) == nil, "There is room on the disk.", "The disk is nearly full: no mail is taken in until something is deleted.")
	say(q.s.store.ClockTrusted(), "The clock is right, as far as can be told.", "The clock is older than the mail: set it, or connect to a network with the time.")
	say(o.CertUntil.IsZero() || o.CertUntil.Sub(q.s.store.Now()) > webCertWarn, "The certificate is valid.", "The certificate ends soon.")
	say(q.oldest() < time.Duration(q.s.cfg.Queue.Warn), "No mail waits for long.", "Some mail waits for a long time: see the queue.")
	if sent, bounced := q.s.went.Load(), q.s.refused.Load(); bounced >= webBouncesMany && bounced > (sent+bounced)/10 {
		all = append(all, webLight{false, q.lang.F("Of %d recipients elsewhere since the start %d were refused: others may take this machine for a spammer. The log says by whom and why, the DNS page what is missing.",
			sent+bounced, bounced)})
	}
	for _, f := range q.s.crew.Faults() {
		all = append(all, webLight{false, q.lang.F("A fault in Postino, in %s: %d since the start, the last one %s. The log has more: please report it.",
			f.Name, f.Count, q.lang.Stamp(f.Last))})
	}
	return all
}

// oldest is how long the oldest message has been in the queue.
func (q *webReq) oldest() time.Duration {
	items, err := read(q.s.store, func(tx *Tx) ([]QueueItem, error) { return tx.QueuePage("", 1) })
	if err != nil {
		q.log.Error("queue", "err", err)
	}
	if len(items) == 0 {
		return 0
	}
	return q.s.store.Now().Sub(items[0].Created)
}

// webResident is the memory that the process occupies, as Linux tells it; elsewhere what Go has taken.
func webResident() int64 {
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n * int64(os.Getpagesize())
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// webWritten is how much the process has caused to be written to disks since it was started, 0 where nobody knows.
func webWritten() int64 {
	b, _ := os.ReadFile("/proc/self/io")
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}

// webLogPage is the end of the log.
type webLogPage struct {
	webTabs
	Text  string
	Lines []LogLine
}

// Bad says whether a line is about something that went wrong.
func (webLogPage) Bad(l LogLine) bool { return l.Level >= slog.LevelWarn }

func (q *webReq) getLog() error {
	text := webCut(q.r.URL.Query().Get("text"), 100)
	return q.page("admin-log", "Log", webLogPage{webTabs{"log"}, text, q.s.recent.recent(text, webLogShown)})
}

// postBackup makes a consistent copy of the file beside it and sends that, to an administrator who knows their password: all
// mail and all keys but that of the private CA are in it. Everything goes on meanwhile.
func (q *webReq) postBackup() error {
	if err := q.checkOwn(); err != nil {
		return err
	}
	st, err := q.s.store.Stat()
	if err != nil {
		return err
	}
	if err := q.s.store.Room(st.File); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(q.s.cfg.Path(q.s.cfg.Database)), backupTemporary)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	settings, err := settingsAway(q.s.store)
	if err != nil {
		return err
	}
	keys, err := dkimKeyNames(q.s.store)
	if err != nil {
		return err
	}
	for _, name := range keys {
		settings[name] = []byte{}
	}
	file := filepath.Join(dir, "mail.db")
	if err := q.s.store.BackupWith(file, settings); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	q.log.Info("backup downloaded", "user", q.user.Name, "size", fi.Size())
	q.attachmentHeaders("postino-"+q.s.store.Now().Format("2006-01-02-1504")+".db", "application/octet-stream")
	q.w.Header().Set("Content-Length", fmt.Sprint(fi.Size()))
	return q.stream(f)
}

// webAllDevices lists what sends mail or reads it with a password of its own, or without one.
type webAllDevices struct {
	webTabs
	AppPasswords []webUserPassword
	Sending      []SendingDevice
	Networks     []Network // that may send without login
	Plain        []Network // that may log in without TLS
}

// webUserPassword is an app password and whose it is.
type webUserPassword struct {
	AppPassword
	User User
}

func (q *webReq) getAllDevices() error {
	p := webAllDevices{webTabs: webTabs{"devices"}, Sending: slices.Clone(q.s.cfg.SendingDevices), Networks: q.s.cfg.Relay.Networks, Plain: q.s.cfg.Auth.Plaintext}
	for i := range p.Sending {
		p.Sending[i].Rate = cmp.Or(p.Sending[i].Rate, deviceRate)
	}
	err := q.s.store.Read(func(tx *Tx) error {
		p.AppPasswords = nil
		users, err := tx.Users()
		for _, u := range users {
			all, err := tx.AppPasswords(u.ID)
			if err != nil {
				return err
			}
			for _, d := range all {
				p.AppPasswords = append(p.AppPasswords, webUserPassword{d, u})
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return q.page("admin-devices", "Devices", p)
}

func (q *webReq) postAllDevices() error {
	f := q.r.PostForm
	err := q.s.store.Write(func(tx *Tx) error {
		return tx.RemoveAppPassword(webID[UserID](f.Get("user")), webID[int64](f.Get("id")))
	})
	if err != nil {
		return err
	}
	q.say("The password is void now.")
	return q.redirect("/admin/devices")
}
