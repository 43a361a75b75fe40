// The words of the pages in Chinese, from web/zh.txt.
package main

import (
	"fmt"
	"strings"
	"sync"
)

// webChinese is the table of words. English texts are their own keys, so a text that is missing appears in English;
// TestWebWords sees that none is.
var webChinese = sync.OnceValue(func() map[string]string {
	text, err := webFiles.ReadFile("web/zh.txt")
	if err != nil {
		panic(err) // it is embedded
	}
	words, _ := webReadWords(string(text))
	return words
})

// webReadWords reads lines of the form English, tab, translation. Empty lines, and those that begin with "# ", divide
// the table for people. What is wrong in other lines is returned, and they are left out.
func webReadWords(text string) (map[string]string, []error) {
	words := map[string]string{}
	var faults []error
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		english, other, ok := strings.Cut(line, "\t")
		if !ok || english == "" || other == "" || strings.Contains(other, "\t") || strings.TrimSpace(line) != line {
			faults = append(faults, fmt.Errorf("line %d is not English, one tab, translation: %q", i+1, line))
			continue
		}
		if _, twice := words[english]; twice {
			faults = append(faults, fmt.Errorf("line %d: %q is there already", i+1, english))
		}
		words[english] = other
	}
	return words, faults
}
