// Icons: our own drawings of one or two strokes, put into the pages as they are needed, from web/icons.svg.
package main

import (
	"html/template"
	"regexp"
	"sync"
)

// webIcons are paths on a grid of 24, drawn with round strokes, by the id of their symbol.
var webIcons = sync.OnceValue(func() map[string]string {
	text, err := webFiles.ReadFile("web/icons.svg")
	if err != nil {
		panic(err) // it is embedded
	}
	icons := map[string]string{}
	for _, m := range regexp.MustCompile(`<symbol id="([a-z]+)"[^>]*>(.*)</symbol>`).FindAllStringSubmatch(string(text), -1) {
		icons[m[1]] = m[2]
	}
	return icons
})

// webIcon draws an icon. It says nothing to a screen reader: the words beside it do.
func webIcon(name string) template.HTML {
	return template.HTML(`<svg class="i i-` + name + `" viewBox="0 0 24 24" aria-hidden="true" focusable="false">` + webIcons()[name] + `</svg>`)
}
