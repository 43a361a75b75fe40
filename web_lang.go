// Languages: texts, numbers, sizes and times as people read them.
package main

import (
	"fmt"
	"html/template"
	"time"
)

// webLang is a language with its templates, parsed when somebody first asks for it.
type webLang struct {
	Code  string // as in the lang attribute
	words map[string]string
	tmpl  *template.Template
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

// Short is a time as a list shows it: the time today, the day this year, the date before.
func (l *webLang) Short(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	zh := l.Code == "zh"
	switch {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return t.Format("15:04")
	case t.Year() == now.Year() && zh:
		return t.Format("1月2日")
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	case zh:
		return t.Format("2006年1月2日")
	}
	return t.Format("2 Jan 2006")
}

// Long is a time in full.
func (l *webLang) Long(t time.Time) string {
	t = t.Local()
	if l.Code == "zh" {
		return t.Format("2006年1月2日 ") + "星期" + []string{"日", "一", "二", "三", "四", "五", "六"}[t.Weekday()] + t.Format(" 15:04")
	}
	return t.Format("Monday, 2 January 2006, 15:04")
}

// Stamp is a time to the minute, with the day if it is not today.
func (l *webLang) Stamp(t time.Time) string {
	t = t.Local()
	if now := time.Now(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04")
	}
	return l.Short(t, t.Add(48*time.Hour)) + t.Format(" 15:04")
}
