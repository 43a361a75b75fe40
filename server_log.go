// The last lines of the log, kept in memory for the administration page: a card is worn by logs that nobody reads.
package main

import (
	"context"
	"log/slog"
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
func (m *logMemory) recent(text string, n int) (all []LogLine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text = strings.ToLower(text)
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
