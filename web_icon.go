// Icons: our own drawings of one or two strokes, put into the pages as they are needed.
package main

import (
	"html/template"
)

// webIcons are paths on a grid of 24, drawn with round strokes.
var webIcons = map[string]string{
	"menu":    "M4 7h16M4 12h16M4 17h16",
	"search":  "M11 4a7 7 0 1 0 0 14a7 7 0 1 0 0-14M16.5 16.5L20 20",
	"pen":     "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
	"inbox":   "M4 13l3-8h10l3 8v6H4zM4 13h5a3 3 0 0 0 6 0h5",
	"draft":   "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h4",
	"sent":    "M4 12L20 4l-6 16-3-7zM11 13l9-9",
	"archive": "M4 5h16v4H4zM5 9v10h14V9M10 13h4",
	"junk":    "M12 3l8 3v6c0 5-4 8-8 9c-4-1-8-4-8-9V6zM9 9l6 6M15 9l-6 6",
	"trash":   "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
	"folder":  "M4 6h6l2 2h8v11H4z",
	"shared":  "M4 6h6l2 2h8v11H4zM9.5 16a2.5 2 0 0 1 5 0M12 10.5a1.5 1.5 0 1 0 0 3a1.5 1.5 0 1 0 0-3",
	"clock":   "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16M12 8v4l3 2",
	"star":    "M12 4l2.4 5.2 5.6.6-4.2 3.8 1.2 5.6L12 16.4 7 19.2l1.2-5.6L4 9.8l5.6-.6z",
	"clip":    "M8 12l6-6a3 3 0 0 1 4.5 4.5l-8 8a5 5 0 0 1-7-7l7.5-7.5",
	"reply":   "M10 6l-6 5 6 5v-3c5 0 8 1 10 5c0-6-4-9-10-9z",
	"all":     "M8 6l-5 5 5 5M13 6l-5 5 5 5v-3c4 0 6 1 8 5c0-6-3-9-8-9z",
	"forward": "M14 6l6 5-6 5v-3c-5 0-8 1-10 5c0-6 4-9 10-9z",
	"more":    "M5 12h.01M12 12h.01M19 12h.01",
	"read":    "M4 10l8-6 8 6v9H4zM4 10l8 5 8-5",
	"unread":  "M4 6h16v12H4zM4 7l8 6 8-6",
	"move":    "M4 6h6l2 2h8v11H4zM9 13h6M13 10.5l2.5 2.5-2.5 2.5",
	"copy":    "M8 8h12v12H8zM16 8V4H4v12h4",
	"back":    "M14 6l-6 6 6 6",
	"next":    "M10 6l6 6-6 6",
	"down":    "M6 10l6 6 6-6",
	"print":   "M7 9V4h10v5M7 17H4V9h16v8h-3M7 14h10v6H7z",
	"save":    "M12 4v11M7 11l5 5 5-5M4 20h16",
	"upload":  "M12 16V5M7 9l5-5 5 5M4 20h16",
	"code":    "M9 7l-5 5 5 5M15 7l5 5-5 5",
	"people":  "M9 5a3 3 0 1 0 0 6a3 3 0 1 0 0-6M3 19a6 6 0 0 1 12 0M16 5.5a3 3 0 0 1 0 5M17 13.500a6 6 0 0 1 4 5.5",
	"person":  "M12 4a4 4 0 1 0 0 8a4 4 0 1 0 0-8M4 20a8 7 0 0 1 16 0",
	"gear":    "M12 9a3 3 0 1 0 0 6a3 3 0 1 0 0-6M12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.200 2.200M16.200 16.200l2.200 2.200M18.400 5.600l-2.200 2.200M7.800 16.200l-2.200 2.200",
	"shield":  "M12 3l8 3v6c0 5-4 8-8 9c-4-1-8-4-8-9V6zM9 12l2 2 4-4",
	"image":   "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 8.500h.01",
	"globe":   "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16M4 12h16M12 4c3 3 3 13 0 16c-3-3-3-13 0-16",
	"moon":    "M19 14a8 8 0 0 1-9-10a8 8 0 1 0 9 10z",
	"exit":    "M14 4H5v16h9M10 12h10M17 9l3 3-3 3",
	"plus":    "M12 5v14M5 12h14",
	"close":   "M6 6l12 12M18 6L6 18",
	"check":   "M5 13l4 4L19 7",
	"warn":    "M12 4l9 16H3zM12 10v4M12 17h.01",
	"undo":    "M8 5L4 9l4 4M4 9h10a5 5 0 0 1 0 10h-4",
	"refresh": "M20 12a8 8 0 1 1-2.500-5.800M20 4v4h-4",
	"phone":   "M7 3h10v18H7zM11 18h2",
	"threads": "M4 5h13v8H8l-4 3zM20 9v10l-3-2h-6",
	"bold":    "M8 5h5a3.500 3.500 0 0 1 0 7H8zM8 12h6a3.500 3.500 0 0 1 0 7H8z",
	"italic":  "M10 5h8M6 19h8M14 5l-4 14",
	"bullets": "M9 6h11M9 12h11M9 18h11M4.500 6h.01M4.500 12h.01M4.500 18h.01",
	"quote":   "M5 7h5v6c0 2-1 3-3 4M14 7h5v6c0 2-1 3-3 4",
	"link":    "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
	"keys":    "M3 7h18v11H3zM7 11h.01M12 11h.01M17 11h.01M8 15h8",
	"disk":    "M5 5h14l1 14H4zM4 14h16M16 17h.01",
	"list":    "M5 6h14M5 12h14M5 18h9",
	"help":    "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16M9.500 10a2.500 2.500 0 1 1 3.500 2.300c-.700.300-1 .700-1 1.700M12 16.500h.01",
}

// webIcon draws an icon. It says nothing to a screen reader: the words beside it do.
func webIcon(name string) template.HTML {
	return template.HTML(`<svg class="i i-` + name + `" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="` + webIcons[name] + `"/></svg>`)
}
