// The last lines of the log, kept in memory for the administration page: a card is worn by logs that nobody reads.
package main

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	logLines = 1000 // that are remembered
	logLine  = 500  // octets of one of them
)

// LogLine is a remembered line.
type LogLine struct {
	At    time.Time
	Level slog.Level
	Text  string
}

// logRing hands every record on to another handler and remembers the last ones from level Info on.
type logRing struct {
	next  slog.Handler
	attrs string // of With, as text
	mem   *logMemory
}

type logMemory struct {
	mu    sync.Mutex
	lines []LogLine
	at    int
}

func newLogRing(next slog.Handler) *logRing { return &logRing{next: next, mem: &logMemory{}} }

func (r *logRing) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || r.next.Enabled(ctx, l)
}

func (r *logRing) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Level >= slog.LevelInfo {
		var b strings.Builder
		b.WriteString(rec.Message)
		b.WriteString(r.attrs)
		rec.Attrs(func(a slog.Attr) bool { b.WriteString(logAttr(a)); return b.Len() < logLine })
		r.mem.add(LogLine{rec.Time, rec.Level, b.String()})
	}
	if !r.next.Enabled(ctx, rec.Level) {
		return nil
	}
	return r.next.Handle(ctx, rec)
}

func logAttr(a slog.Attr) string { return " " + a.Key + "=" + a.Value.String() }

func (r *logRing) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *r
	for _, a := range attrs {
		with.attrs += logAttr(a)
	}
	with.next = r.next.WithAttrs(attrs)
	return &with
}

func (r *logRing) WithGroup(name string) slog.Handler {
	with := *r
	with.next = r.next.WithGroup(name)
	return &with
}

func (m *logMemory) add(l LogLine) {
	if len(l.Text) > logLine {
		l.Text = strings.ToValidUTF8(l.Text[:logLine], "") + "…"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.lines) < logLines {
		m.lines = append(m.lines, l)
		return
	}
	m.lines[m.at] = l
	m.at = (m.at + 1) % logLines
}

// recent lists what is remembered and contains the text, the newest first, at most n lines.
func (m *logMemory) recent(text string, n int) []LogLine {
	m.mu.Lock()
	defer m.mu.Unlock()
	text = strings.ToLower(text)
	var all []LogLine
	for i := range m.lines {
		l := m.lines[(m.at+len(m.lines)-1-i)%len(m.lines)]
		if text == "" || strings.Contains(strings.ToLower(l.Text), text) {
			all = append(all, l)
			if len(all) == n {
				break
			}
		}
	}
	return all
}

const (
	floodLines = 300 // lines of log that one network may cause in a minute
	floodSlots = 512 // networks are counted in so many places; those that share one share its lines
)

// logFloods keeps strangers from filling the log: beyond floodLines a minute what a network causes is left out, but for mail that
// was taken.
type logFloods struct {
	mu    sync.Mutex
	seed  maphash.Seed
	slots [floodSlots]struct {
		minute int64
		lines  int
	}
}

func newLogFloods() *logFloods { return &logFloods{seed: maphash.MakeSeed()} }

// due counts a line of a network. It says whether the line may be written, and whether it is the last one that may.
func (f *logFloods) due(network netip.Prefix, now time.Time) (ok, last bool) {
	slot := &f.slots[maphash.Comparable(f.seed, network)%floodSlots]
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := now.Unix() / 60; m != slot.minute {
		slot.minute, slot.lines = m, 0
	}
	slot.lines++
	return slot.lines <= floodLines, slot.lines == floodLines
}

// of returns a handler for what a network causes.
func (f *logFloods) of(next slog.Handler, network netip.Prefix) slog.Handler {
	return &floodHandler{Handler: next, floods: f, network: network}
}

type floodHandler struct {
	slog.Handler
	floods  *logFloods
	network netip.Prefix
}

func (h *floodHandler) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Message == "message taken" {
		return h.Handler.Handle(ctx, rec)
	}
	ok, last := h.floods.due(h.network, time.Now())
	if !ok {
		return nil
	}
	if last {
		rec.AddAttrs(slog.Bool("more of this network is left out for a minute", true))
	}
	return h.Handler.Handle(ctx, rec)
}

func (h *floodHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &floodHandler{h.Handler.WithAttrs(attrs), h.floods, h.network}
}

func (h *floodHandler) WithGroup(name string) slog.Handler {
	return &floodHandler{h.Handler.WithGroup(name), h.floods, h.network}
}
