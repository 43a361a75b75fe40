// Languages: texts, numbers, sizes and times as people read them.
package main

import (
	"fmt"
	"html/template"
	"time"
)

// webLang is a language with its templates, parsed when somebody first asks for it. Each request has a copy, with the zone
// of who reads.
type webLang struct {
	Code  string // one of webLanguages
	words map[string]string
	tmpl  *template.Template
	zone  *time.Location
	now   func() time.Time
}

// T translates a text, which is its own key in English.
func (l *webLang) T(text string) string {
	if t, ok := l.words[text]; ok {
		return t
	}
	return text
}

// F translates and fills in.
func (l *webLang) F(text string, args ...any) string { return fmt.Sprintf(l.T(text), args...) }

// Reason is why mail waits or came back, as far as it is in our words.
func (l *webLang) Reason(text string) string {
	if l.Code == "zh" {
		return reasonChinese(text)
	}
	return text
}

// NextTry says when mail is tried next: a time to come, or now.
func (l *webLang) NextTry(at time.Time) string {
	if l.now == nil || !at.After(l.now()) {
		return l.T("being tried now")
	}
	return l.F("next try %s", l.Stamp(at))
}

// N translates with a number: one for 1, many for the rest, both with %s for the number.
func (l *webLang) N(n int64, one, many string) string {
	if n == 1 {
		return l.F(one, "1")
	}
	return l.F(many, webNumber(n))
}

// webNumber groups digits: 12,345.
func webNumber(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size is a number of octets for people.
func (l *webLang) Size(n int64) string {
	switch {
	case n < 1000:
		return l.F("%d bytes", n)
	case n < 1000<<10:
		return fmt.Sprintf("%.0f KB", max(float64(n)/1024, 1))
	case n < 1000<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GB", float64(n)/(1<<30))
}
