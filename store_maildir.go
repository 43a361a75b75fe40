// Maildir: what the names of its files say, on every system.
package main

import (
	"strconv"
	"strings"
	"time"
)

// maildirInfo finds the flags at the end of a Maildir file's name, ":2,FRS". Where a colon can't be in a name, programs write a
// semicolon, an exclamation mark, a dash or an underscore.
func maildirInfo(name string) string {
	i := strings.LastIndex(name, "2,")
	if i < 1 || !strings.ContainsRune(":;!-_\uf022", lastRune(name[:i])) {
		return ""
	}
	return name[i+2:]
}

func lastRune(s string) rune {
	r := []rune(s)
	return r[len(r)-1]
}

// maildirFlags reads the flags of a Maildir file's name. Small letters are keywords, by the names that the folder's
// dovecot-keywords file gives them: words has the name of "a" first.
func maildirFlags(name string, words []string) Flags {
	var f Flags
	for _, c := range maildirInfo(name) {
		switch {
		case c >= 'a' && int(c-'a') < len(words):
			if with, ok := f.ParseFlag(words[c-'a']); ok {
				f = with
			}
		case c == 'S':
			f.Bits |= FlagSeen
		case c == 'R':
			f.Bits |= FlagAnswered
		case c == 'F':
			f.Bits |= FlagFlagged
		case c == 'T':
			f.Bits |= FlagDeleted
		case c == 'D':
			f.Bits |= FlagDraft
		case c == 'P':
			f.Bits |= FlagForwarded
		}
	}
	return f
}

// maildirDate is when a message was delivered: a Maildir file's name begins with the seconds since 1970. Zero for other names.
func maildirDate(name string) time.Time {
	digits, _, ok := strings.Cut(name, ".")
	sec, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || sec < 1e8 || sec > 1e11 {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}

// maildirWords reads a dovecot-keywords file: "0 work" names the letter a.
func maildirWords(text string) []string {
	words := make([]string, 26)
	for _, line := range strings.Split(text, "\n") {
		number, word, ok := strings.Cut(strings.TrimSpace(line), " ")
		i, err := strconv.Atoi(number)
		if ok && err == nil && i >= 0 && i < len(words) {
			words[i] = word
		}
	}
	return words
}
