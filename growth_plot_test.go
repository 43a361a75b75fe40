package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	growColumns = 4
	growWide    = 250 // of a plot, with what is around it
	growHigh    = 170
)

// say logs the rows as a table.
func (g *growth) say() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| what | %s |\n| --- |%s\n", strings.Join(g.sizes, " | "), strings.Repeat(" --- |", len(g.sizes)))
	for _, r := range g.rows {
		var values []string
		for _, v := range r.values {
			values = append(values, growNumber(v))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", strings.TrimSuffix(r.name+", "+r.unit, ", "), strings.Join(values, " | "))
	}
	g.t.Log(b.String())
}

// growNumber writes three digits, or all in front of the point.
func growNumber(v float64) string {
	digits := 0
	if v > 0 {
		digits = max(0, 2-int(math.Floor(math.Log10(v))))
	}
	s := strconv.FormatFloat(v, 'f', min(digits, 3), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// draw is an SVG with a plot for each row that was measured at all sizes, in the colours of whoever looks at it.
func (g *growth) draw() string {
	var plots []*growRow
	for _, r := range g.rows {
		if r.name != "messages" && r.name != "the file" {
			plots = append(plots, r)
		}
	}
	wide, high := growColumns*growWide, (len(plots)+growColumns-1)/growColumns*growHigh+24
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", wide, high, wide, high)
	b.WriteString("<style>text{fill:#555}.t{fill:#111}.l{stroke:#1a6fb5;stroke-width:2;fill:none}.p{fill:#1a6fb5}.a{stroke:#bbb;fill:none}" +
		".b{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#aaa}.t{fill:#eee}.b{fill:#111}.a{stroke:#555}}</style>\n")
	fmt.Fprintf(&b, `<rect class="b" width="%d" height="%d"/>`+"\n", wide, high)
	for i, r := range plots {
		g.plot(&b, r, i%growColumns*growWide, i/growColumns*growHigh)
	}
	var marks []string
	for i, size := range g.sizes {
		marks = append(marks, fmt.Sprintf("%d: %s", i+1, growSize(size)))
	}
	fmt.Fprintf(&b, `<text x="12" y="%d">%s</text>`+"\n</svg>\n", high-8, strings.Join(marks, " · "))
	return b.String()
}

// growSize is a size in words.
func growSize(size string) string {
	if strings.HasSuffix(size, "GB") {
		return "a file of " + size
	}
	return size + " messages"
}

// plot draws a row with its corner at a place: each size a point, with its value beside it; what is nothing lies on the line below.
func (g *growth) plot(b *strings.Builder, r *growRow, x, y int) {
	top, bottom, left, right := float64(y+44), float64(y+growHigh-30), float64(x+24), float64(x+growWide-46)
	most := 0.0
	for _, v := range r.values {
		most = max(most, v)
	}
	if most == 0 {
		most = 1
	}
	fmt.Fprintf(b, `<text class="t" x="%d" y="%d">%s</text><text x="%d" y="%d">%s</text>`+"\n", x+12, y+18, growEscape(r.name), x+12, y+32, r.unit)
	fmt.Fprintf(b, `<path class="a" d="M%.0f %.0fV%.0fH%.0f"/>`, left, top, bottom, right+30)
	var line strings.Builder
	for i, v := range r.values {
		px, py := left+8, bottom-(bottom-top)*v/most
		if len(r.values) > 1 {
			px += (right - left - 8) * float64(i) / float64(len(r.values)-1)
		}
		fmt.Fprintf(&line, "%c%.1f %.1f", "ML"[min(i, 1)], px, py)
		fmt.Fprintf(b, `<circle class="p" cx="%.1f" cy="%.1f" r="3"/><text x="%.1f" y="%.1f">%s</text><text x="%.1f" y="%.1f" text-anchor="middle">%d</text>`,
			px, py, px+5, py-5, growNumber(v), px, bottom+14, i+1)
	}
	fmt.Fprintf(b, `<path class="l" d="%s"/>`+"\n", line.String())
}

func growEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
